//! Hosts that ask for many generated names, most of which do not exist: malware that looks for its master.
//!
//! Pure. One odd name is no evidence, as people choose odd names too. A host is told when it asks for many within
//! minutes, they are a good part of all it asks for, and they fail to resolve; then those queries are told, and no other.

use std::{collections::VecDeque, hash::BuildHasher};

use foldhash::quality::FixedState;
use ids_common::flow::FlowKey;

use super::{Class, Detector, DetectorStats, Evidence, Finding, Judged, Severity, Subject, Witness};
use crate::{
    bounded::BoundedMap,
    flow::FlowRecord,
    payload::{DnsFacts, PayloadFacts},
};

mod names;
#[cfg(test)]
mod tests;

pub use names::{Likeness, Registered, Scorer, ScorerError};

const SEC: u64 = 1_000_000_000;
/// Hosts followed at once, and flows of which is remembered that they were counted.
const HOSTS_MAX: usize = 1_024;
const FLOWS_MAX: usize = 8_192;
/// Distinct domains remembered of a host, and for how long.
const DOMAINS_MAX: usize = 96;
const WINDOW_NS: u64 = 600 * SEC;
/// Queries that wait for their host to be told.
const WAITING_MAX: usize = 48;
/// A host is told from so many generated domains on, ...
const GENERATED_MIN: usize = 8;
/// ... where they are such a share of all, ...
const SHARE_MIN: f64 = 0.4;
/// ... and so many of them were not resolved.
const FAILED_SHARE_MIN: f64 = 0.5;
/// Where every name resolves, as in a captive network, it takes more of them.
const GENERATED_MIN_RESOLVED: usize = 24;
const SHARE_MIN_RESOLVED: f64 = 0.6;
/// A host that was told stays so until it has asked for nothing generated for so long.
const SILENCE_NS: u64 = 900 * SEC;
/// Names of one algorithm are alike: so many of the same length and suffix make a mould.
const MOULD_MIN: usize = 5;

/// What came of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// It does not exist, the server failed, or nobody answered.
    Failed,
    Resolved,
}

/// A domain that a host asked for.
#[derive(Clone, Copy, Debug)]
struct Asked {
    domain: u64,
    at_ns: u64,
    likeness: Likeness,
    answer: Answer,
    /// Length and suffix.
    mould: u64,
}

/// A query whose host is not told yet.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    key: FlowKey,
    id: u64,
    first_ns: u64,
    last_ns: u64,
}

#[derive(Debug, Default)]
struct Host {
    asked: VecDeque<Asked>,
    waiting: VecDeque<Waiting>,
    /// When it last asked for something generated, once it was told.
    told_ns: Option<u64>,
}

/// What a host's queries amount to.
#[derive(Clone, Copy, Debug)]
struct Tally {
    all: usize,
    generated: usize,
    failed: usize,
}

impl Tally {
    fn share(self) -> f64 {
        self.generated as f64 / self.all.max(1) as f64
    }

    fn failed_share(self) -> f64 {
        self.failed as f64 / self.generated.max(1) as f64
    }

    fn tells(self) -> bool {
        (self.generated >= GENERATED_MIN && self.share() >= SHARE_MIN && self.failed_share() >= FAILED_SHARE_MIN)
            || (self.generated >= GENERATED_MIN_RESOLVED && self.share() >= SHARE_MIN_RESOLVED)
    }

    /// 0.8 at the threshold, more with more names.
    fn score(self) -> f32 {
        (1.0 - 0.2 * GENERATED_MIN as f32 / self.generated.max(GENERATED_MIN) as f32).clamp(0.0, 0.98)
    }
}

/// The witness of generated names.
#[derive(Debug)]
pub struct Dga {
    scorer: Scorer,
    hasher: FixedState,
    hosts: BoundedMap<[u8; 16], Host>,
    /// How many names of a flow were counted.
    counted: BoundedMap<u64, usize>,
    stats: DetectorStats,
}

impl Dga {
    /// `hash_seed` keys its tables: a secret where traffic is live.
    pub fn new(scorer: Scorer, hash_seed: u64) -> Self {
        Self {
            scorer,
            hasher: FixedState::with_seed(hash_seed.rotate_left(23) ^ 0x6a09_e667),
            hosts: BoundedMap::new(HOSTS_MAX, hash_seed),
            counted: BoundedMap::new(FLOWS_MAX, hash_seed.rotate_left(7)),
            stats: DetectorStats::default(),
        }
    }

    fn see(&mut self, record: &FlowRecord, payload: &PayloadFacts, findings: &mut Vec<Finding>) {
        let ended = record.is_ended();
        let before = self.counted.peek(&record.id).copied().unwrap_or(0);
        if ended {
            self.counted.remove(&record.id);
        }
        // An open query is looked at again once its answer is there, or nobody waits for one any more.
        let counted = match (&payload.dns, &payload.tls, &payload.http) {
            (Some(dns), _, _) => match outcome(dns, ended) {
                Some(answer) => names(dns).skip(before).fold(before, |counted, name| {
                    self.ask(record, name, answer, findings);
                    counted + 1
                }),
                None => before,
            },
            (None, _, _) if before > 0 => before,
            (None, Some(tls), _) => tls.sni.as_deref().map_or(0, |name| self.meet(record, name, findings)),
            (None, None, Some(http)) => http.host.as_deref().map_or(0, |name| self.meet(record, name, findings)),
            (None, None, None) => 0,
        };
        if counted > before && !ended {
            *self.counted.touch_or_insert(&record.id, usize::default) = counted;
        }
    }

    /// Counts a query and tells of it where the host looks like it.
    fn ask(&mut self, record: &FlowRecord, name: &str, answer: Answer, findings: &mut Vec<Finding>) {
        let lower = name.to_ascii_lowercase();
        let Some(named) = self.scorer.registered(&lower) else { return };
        let asked = self.asked(&named, record.start_ns, answer);
        let host = self.hosts.touch_or_insert(&record.key.src, Host::default);
        host.note(asked);
        let tally = host.tally(asked.at_ns);
        host.told_ns = match host.told_ns.filter(|told_ns| told_ns.saturating_add(SILENCE_NS) >= asked.at_ns) {
            Some(told_ns) if asked.likeness == Likeness::Generated => Some(told_ns.max(asked.at_ns)),
            None if tally.tells() => Some(asked.at_ns),
            told_ns => told_ns,
        };
        let suspect = host.suspects(&asked);
        if host.told_ns.is_none() {
            if suspect {
                self.stats.abstained += 1;
                host.wait(record);
            }
            return;
        }
        let mut told: Vec<Waiting> = host.waiting.drain(..).collect();
        if suspect {
            told.push(waiting(record));
        }
        findings.extend(told.iter().map(|flow| finding(flow, tally, named.domain)));
    }

    /// A connection that names its peer: told where the name is one of those that its host asks for. One name is counted.
    fn meet(&mut self, record: &FlowRecord, name: &str, findings: &mut Vec<Finding>) -> usize {
        let lower = name.split(':').next().unwrap_or(name).to_ascii_lowercase();
        let Some(named) = self.scorer.registered(&lower) else { return 1 };
        let asked = self.asked(&named, record.start_ns, Answer::Resolved);
        let Some(host) = self.hosts.peek(&record.key.src) else { return 1 };
        let told = host.told_ns.is_some_and(|told_ns| told_ns.saturating_add(SILENCE_NS) >= asked.at_ns);
        if told && host.suspects(&asked) {
            findings.push(finding(&waiting(record), host.tally(asked.at_ns), named.domain));
        }
        1
    }

    fn asked(&self, named: &Registered<'_>, at_ns: u64, answer: Answer) -> Asked {
        Asked {
            domain: self.hasher.hash_one(named.domain),
            at_ns,
            likeness: named.likeness,
            answer,
            mould: self.hasher.hash_one((named.domain.len(), named.suffix)),
        }
    }
}

impl Host {
    /// Remembers a domain once, with what came of it last.
    fn note(&mut self, asked: Asked) {
        let oldest_ns = asked.at_ns.saturating_sub(WINDOW_NS);
        self.asked.retain(|known| known.at_ns >= oldest_ns && known.domain != asked.domain);
        if self.asked.len() >= DOMAINS_MAX {
            self.asked.pop_front();
        }
        self.asked.push_back(asked);
    }

    fn tally(&self, now_ns: u64) -> Tally {
        let recent = || self.asked.iter().filter(|asked| asked.at_ns.saturating_add(WINDOW_NS) >= now_ns);
        let generated = || recent().filter(|asked| asked.likeness == Likeness::Generated);
        Tally {
            all: recent().count(),
            generated: generated().count(),
            failed: generated().filter(|asked| asked.answer == Answer::Failed).count(),
        }
    }

    /// Whether a name is one of those that make the host suspicious: generated, odd and without an answer, or out
    /// of the same mould as many generated ones.
    fn suspects(&self, asked: &Asked) -> bool {
        let moulded = || {
            let alike = |known: &&Asked| known.likeness == Likeness::Generated && known.mould == asked.mould;
            self.asked.iter().filter(alike).count() >= MOULD_MIN
        };
        match (asked.likeness, asked.answer) {
            (Likeness::Generated, _) | (Likeness::Odd, Answer::Failed) => true,
            (Likeness::Odd, Answer::Resolved) | (Likeness::Ordinary, Answer::Failed) => moulded(),
            (Likeness::Ordinary, Answer::Resolved) => false,
        }
    }

    fn wait(&mut self, record: &FlowRecord) {
        // A socket that asks for one name after another is one flow.
        if self.waiting.back().is_some_and(|waiting| waiting.id == record.id) {
            return;
        }
        if self.waiting.len() >= WAITING_MAX {
            self.waiting.pop_front();
        }
        self.waiting.push_back(waiting(record));
    }
}

/// What came of a flow's queries; none as long as an answer may still come. Of several the answers that were sampled speak for
/// all: names of one algorithm meet with one fate.
fn outcome(dns: &DnsFacts, ended: bool) -> Option<Answer> {
    match dns.rcode {
        Some(_) if dns.responses > 1 && dns.errors * 2 >= dns.responses => Some(Answer::Failed),
        Some(0) if dns.answers > 0 => Some(Answer::Resolved),
        Some(_) => Some(Answer::Failed),
        None if ended => Some(Answer::Failed),
        None => None,
    }
}

/// Every name that a flow asks for, once.
fn names(dns: &DnsFacts) -> impl Iterator<Item = &str> {
    let first = dns.query.as_deref();
    let others = dns.questions.iter().map(|question| &*question.name);
    // The same name is asked for with one type and another.
    let others = others.filter(move |name| first.is_none_or(|first| !first.eq_ignore_ascii_case(name)));
    first.into_iter().chain(others)
}

fn waiting(record: &FlowRecord) -> Waiting {
    Waiting { key: record.key, id: record.id, first_ns: record.start_ns, last_ns: record.end_ns }
}

fn finding(flow: &Waiting, tally: Tally, example: &str) -> Finding {
    let source = std::net::Ipv6Addr::from(flow.key.src).to_canonical();
    let evidence = |feature, value, normal_high, unit| Evidence { feature, value, normal_low: 0.0, normal_high, unit };
    Finding {
        witness: Witness::Payload,
        class: Class::C2,
        kind: "dga",
        score: tally.score(),
        severity: Severity::High,
        subject: Subject::Flow { id: flow.id },
        exemplar: flow.key,
        exemplar_id: flow.id,
        first_ns: flow.first_ns,
        last_ns: flow.last_ns,
        reason: format!(
            "{source} asks for names that an algorithm makes, such as {example}: {} domains within 10 min, {} of them \
             without an answer, out of {} it asked for",
            tally.generated, tally.failed, tally.all,
        ),
        evidence: vec![
            evidence("generated_domains_600s", tally.generated as f64, (GENERATED_MIN - 1) as f64, "domains"),
            evidence("generated_share_600s", tally.share(), SHARE_MIN, "share"),
            evidence("unresolved_share_600s", tally.failed_share(), FAILED_SHARE_MIN, "share"),
        ],
        matched: None,
    }
}

impl Detector for Dga {
    fn witness(&self) -> Witness {
        Witness::Payload
    }

    fn sense(&self) -> crate::budget::Sense {
        crate::budget::Sense::Dga
    }

    fn judge(&mut self, flows: &[Judged<'_>], _now_ns: u64, findings: &mut Vec<Finding>) {
        let before = findings.len();
        for judged in flows {
            self.see(judged.record, judged.payload, findings);
        }
        self.stats.judged += flows.len() as u64;
        self.stats.findings += (findings.len() - before) as u64;
    }

    fn reads_open_features(&self) -> bool {
        false
    }

    fn stats(&self) -> DetectorStats {
        DetectorStats { forgotten: self.hosts.evicted() + self.counted.evicted(), ..self.stats }
    }
}
