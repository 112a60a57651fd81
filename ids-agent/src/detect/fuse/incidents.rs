//! Incidents: findings with the same source, target and class, told once and then summed up.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};
use smallvec::SmallVec;

use super::{FuseStats, confidence};
use crate::{
    detect::{Class, Evidence, Finding, Incident, Severity, Stage, Subject, Witness, WitnessScore},
    eve::{Matched, add_match},
    flow::community_id,
    payload::PayloadFacts,
};

/// What a signature has to be worth to gather evidence for.
const OPENS_FROM: f32 = 0.1;
/// Stands for none: ids are never zero.
const NO_INCIDENT: u64 = 0;
/// Ids of joined incidents that are remembered; flows with an older one name no incident.
const JOINED_MAX: usize = 64;

/// What makes findings one incident. A part is absent where the pattern has many of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    source: Option<[u8; 16]>,
    target: Option<[u8; 16]>,
    class: Class,
}

impl Key {
    fn of(finding: &Finding) -> Self {
        let flow = &finding.exemplar;
        let (source, target) = match finding.subject {
            Subject::Source { src } => (Some(src), None),
            Subject::Target { dst } => (None, Some(dst)),
            Subject::Pair { src, dst } | Subject::Service { src, dst, .. } => (Some(src), Some(dst)),
            Subject::Flow { .. } => match finding.class {
                // Many targets belong to one scan, one tunnel, one strange host.
                Class::PortScan | Class::DnsTunnel | Class::Anomaly => (Some(flow.src), None),
                // Sources of a flood may be forged or thousands.
                Class::Flood | Class::AppDos => (None, Some(flow.dst)),
                Class::Benign
                | Class::BruteForce
                | Class::WebAttack
                | Class::C2
                | Class::Exfiltration
                | Class::Exploit
                | Class::Infiltration => (Some(flow.src), Some(flow.dst)),
            },
        };
        Self { source, target, class: finding.class }
    }

    /// Deterministic, and exact as a JSON number.
    fn id(&self, first_ns: u64) -> u64 {
        let mut hash = Sha256::new();
        hash.update(self.source.unwrap_or([0; 16]));
        hash.update(self.target.unwrap_or([0; 16]));
        hash.update(self.class.name());
        hash.update(first_ns.to_le_bytes());
        let digest: [u8; 32] = hash.finalize().into();
        let mut head = [0; 8];
        head.copy_from_slice(&digest[..8]);
        // Zero stands for no incident.
        (u64::from_le_bytes(head) >> 11).max(1)
    }
}

/// Flows that a witness which looks at single flows must name before anything is told: these
/// classes consist of many flows, and one that looks like theirs is a coincidence.
const fn flows_needed(class: Class) -> u64 {
    match class {
        Class::PortScan | Class::Flood | Class::AppDos | Class::BruteForce | Class::DnsTunnel => 5,
        Class::Anomaly => 3,
        Class::C2 | Class::Infiltration => 2,
        Class::Benign | Class::WebAttack | Class::Exfiltration | Class::Exploit => 1,
    }
}

/// The finding that shows an incident best so far.
struct Exemplar {
    kind: &'static str,
    score: f32,
    severity: Severity,
    subject: Subject,
    key: ids_common::flow::FlowKey,
    flow_id: u64,
    reason: String,
    evidence: Vec<Evidence>,
}

struct Entry {
    id: u64,
    exemplar: Exemplar,
    /// Strongest score of each witness.
    scores: Vec<WitnessScore>,
    severity: Severity,
    first_ns: u64,
    last_ns: u64,
    /// Start of the current deduplication window: the entry's place in `windows`.
    window_ns: u64,
    flows: u64,
    suppressed: u64,
    /// Severity of the last report; `None` while evidence is still gathered.
    told: Option<Severity>,
    /// Ids of incidents that went into this one untold.
    joined: Vec<u64>,
    /// Signatures of Suricata that matched.
    matched: SmallVec<[Matched; 1]>,
}

pub(super) struct Incidents {
    entries: BTreeMap<Key, Entry>,
    keys: BTreeMap<u64, Key>,
    windows: BTreeSet<(u64, Key)>,
    /// Entries that may have to be reported in this tick.
    touched: BTreeSet<Key>,
    dedup_ns: u64,
    entries_max: usize,
    witnesses: usize,
    stats: FuseStats,
}

impl Incidents {
    pub(super) fn new(dedup_ns: u64, entries_max: usize, witnesses: usize) -> Self {
        Self {
            entries: BTreeMap::new(),
            keys: BTreeMap::new(),
            windows: BTreeSet::new(),
            touched: BTreeSet::new(),
            dedup_ns,
            entries_max: entries_max.max(1),
            witnesses: witnesses.max(1),
            stats: FuseStats::default(),
        }
    }

    /// Another time of deduplication, and so many witnesses at work.
    pub(super) fn renew(&mut self, dedup_ns: u64, witnesses: usize) {
        self.dedup_ns = dedup_ns;
        self.witnesses = witnesses.max(1);
    }

    pub(super) fn add_stats(&self, stats: FuseStats) -> FuseStats {
        FuseStats {
            findings_suppressed: self.stats.findings_suppressed,
            opened: self.stats.opened,
            escalated: self.stats.escalated,
            summaries: self.stats.summaries,
            incidents: self.entries.len() as u64,
            incidents_evicted: self.stats.incidents_evicted,
            ..stats
        }
    }

    /// Puts a finding where it belongs and gives the incident's id. `mark` tells whether the
    /// finding's flow is new to that incident.
    ///
    /// A signature that is worth next to nothing opens none, and is told by no incident: there are thousands of them.
    pub(super) fn fold(&mut self, finding: Finding, now_ns: u64, mark: impl FnOnce(u64) -> bool) -> u64 {
        let key = self.home(&finding);
        if !self.entries.contains_key(&key) {
            if finding.witness == Witness::Signature && finding.score < OPENS_FROM {
                mark(NO_INCIDENT);
                return NO_INCIDENT;
            }
            self.open(key, &finding, now_ns);
        }
        let Some(entry) = self.entries.get_mut(&key) else { return 0 };
        let counts = finding.witness != Witness::Signature || finding.score >= PLAIN_FROM;
        entry.flows += u64::from(mark(entry.id) && counts);
        entry.first_ns = entry.first_ns.min(finding.first_ns);
        entry.last_ns = entry.last_ns.max(finding.last_ns);
        if entry.told.is_some() && counts {
            entry.suppressed += 1;
            self.stats.findings_suppressed += 1;
        }
        add_score(&mut entry.scores, &finding);
        if let Some(matched) = &finding.matched {
            add_match(&mut entry.matched, (**matched).clone());
        }
        entry.severity = severity(entry.severity.min(finding.severity), &entry.scores);
        if finding.class == key.class && shows_better(&finding, &entry.exemplar) {
            entry.exemplar = exemplar(finding);
        }
        self.touched.insert(key);
        entry.id
    }

    pub(super) fn count_flow(&mut self, id: u64) {
        if let Some(entry) = self.keys.get(&id).and_then(|key| self.entries.get_mut(key)) {
            entry.flows += 1;
        }
    }

    /// The id under which this incident was told, if it was; that of another if it went into one.
    pub(super) fn told_id(&self, id: u64) -> Option<u64> {
        let entry = self.keys.get(&id).and_then(|key| self.entries.get(key))?;
        entry.told.map(|_| entry.id)
    }

    /// Makes an incident that was told as severe as it was told.
    pub(super) fn raise(&mut self, id: u64, told: Severity) {
        if let Some(entry) = self.keys.get(&id).and_then(|key| self.entries.get_mut(key)) {
            entry.severity = entry.severity.min(told);
            entry.told = entry.told.map(|earlier| earlier.min(told));
        }
    }

    /// Reports what is new or has become more severe.
    pub(super) fn report(&mut self, now_ns: u64, out: &mut Vec<Incident>) {
        let mut touched = std::mem::take(&mut self.touched);
        let joining: Vec<Key> = touched.iter().copied().filter(|key| key.target.is_none()).collect();
        for key in joining {
            if let Some(home) = self.join_counted(key) {
                touched.remove(&key);
                touched.insert(home);
            }
        }
        for key in touched {
            let witnesses = self.witnesses;
            let Some(entry) = self.entries.get_mut(&key) else { continue };
            let stage = match entry.told {
                None if !is_proven(key.class, entry) => continue,
                None => Stage::Opened,
                Some(told) if entry.severity < told => Stage::Escalated,
                Some(_) => continue,
            };
            match stage {
                Stage::Opened => {
                    self.stats.opened += 1;
                    self.windows.remove(&(entry.window_ns, key));
                    entry.window_ns = now_ns;
                    self.windows.insert((now_ns, key));
                }
                Stage::Escalated => self.stats.escalated += 1,
                Stage::Summary => {}
            }
            entry.told = Some(entry.severity);
            out.push(incident(key, entry, stage, witnesses));
            entry.suppressed = 0;
        }
    }

    /// Puts flows of one source that were named one by one, and not told yet, into what was counted of the same source
    /// and class: whichever came first, it is one incident. What is merely unusual goes into anything counted of the source.
    fn join_counted(&mut self, key: Key) -> Option<Key> {
        let single =
            |said: &WitnessScore| matches!(said.witness, Witness::Classifier | Witness::Anomaly) || !said.decides();
        let entry = self.entries.get(&key)?;
        if key.source.is_none() || entry.told.is_some() || !entry.scores.iter().all(single) {
            return None;
        }
        let first = Key { class: Class::Benign, ..key };
        let last = Key { target: Some([u8::MAX; 16]), class: Class::Anomaly, ..key };
        let counted = |(other, entry): &(&Key, &Entry)| {
            (other.class == key.class || key.class == Class::Anomaly)
                && **other != key
                && (entry.told.is_some() || is_proven(other.class, entry))
        };
        let home = self.entries.range(first..=last).find(counted).map(|(other, _)| *other)?;
        let joined = self.entries.remove(&key)?;
        self.windows.remove(&(joined.window_ns, key));
        self.keys.insert(joined.id, home);
        let entry = self.entries.get_mut(&home)?;
        entry.joined.push(joined.id);
        if entry.joined.len() > JOINED_MAX {
            self.keys.remove(&entry.joined.remove(0));
        }
        entry.flows += joined.flows;
        entry.first_ns = entry.first_ns.min(joined.first_ns);
        entry.last_ns = entry.last_ns.max(joined.last_ns);
        joined.scores.into_iter().for_each(|said| strengthen(&mut entry.scores, said));
        joined.matched.into_iter().for_each(|matched| {
            add_match(&mut entry.matched, matched);
        });
        entry.severity = severity(entry.severity.min(joined.severity), &entry.scores);
        Some(home)
    }

    /// Sums up incidents whose deduplication window is over, and forgets those that fell silent.
    pub(super) fn expire(&mut self, now_ns: u64, out: &mut Vec<Incident>) {
        while let Some((window_ns, key)) = self.windows.first().copied()
            && window_ns.saturating_add(self.dedup_ns) <= now_ns
        {
            self.windows.remove(&(window_ns, key));
            if !self.sum_up(key, out) {
                self.forget(key);
            } else if let Some(entry) = self.entries.get_mut(&key) {
                entry.window_ns = now_ns;
                self.windows.insert((now_ns, key));
            }
        }
    }

    pub(super) fn finish(&mut self, _now_ns: u64, out: &mut Vec<Incident>) {
        while let Some((window_ns, key)) = self.windows.first().copied() {
            self.windows.remove(&(window_ns, key));
            self.sum_up(key, out);
        }
    }

    /// The told incident a finding belongs to, the broadest first; else the one it would open. What is found
    /// about one flow also belongs to what was told of its two hosts.
    fn home(&self, finding: &Finding) -> Key {
        let key = Key::of(finding);
        let flow = &finding.exemplar;
        if finding.class == Class::Anomaly {
            return self.explained_by(flow).unwrap_or(key);
        }
        let source = Key { source: key.source.or(Some(flow.src)), target: None, ..key };
        let target = Key { source: None, target: key.target.or(Some(flow.dst)), ..key };
        let pair = Key { source: Some(flow.src), target: Some(flow.dst), ..key };
        let homes: &[Key] = match finding.subject {
            Subject::Flow { .. } => &[source, target, pair],
            Subject::Pair { .. } | Subject::Service { .. } => &[source, target],
            Subject::Source { .. } | Subject::Target { .. } => &[],
        };
        let told = |key: &&Key| self.entries.get(key).is_some_and(|entry| entry.told.is_some());
        homes.iter().find(told).copied().unwrap_or(key)
    }

    /// What is unusual about a flow is explained by a told incident of its hosts.
    fn explained_by(&self, flow: &ids_common::flow::FlowKey) -> Option<Key> {
        let (source, target) = (Some(flow.src), Some(flow.dst));
        let pairs = [(source, None), (source, target), (None, target)];
        pairs.into_iter().find_map(|(source, target)| {
            let first = Key { source, target, class: Class::Benign };
            let last = Key { source, target, class: Class::Infiltration };
            self.entries.range(first..=last).find(|(_, entry)| entry.told.is_some()).map(|(key, _)| *key)
        })
    }

    fn open(&mut self, key: Key, finding: &Finding, now_ns: u64) {
        if self.entries.len() >= self.entries_max
            && let Some((_, oldest)) = self.windows.first().copied()
        {
            self.forget(oldest);
            self.stats.incidents_evicted += 1;
        }
        // What a line of eve.json opens is named after the line alone: an agent that reads it again, and knows nothing of its
        // flow any more, gives it the same id.
        let named_ns = if finding.witness == Witness::Signature { finding.last_ns } else { finding.first_ns };
        let id = key.id(named_ns);
        let entry = Entry {
            id,
            exemplar: exemplar(finding.clone()),
            scores: Vec::new(),
            severity: finding.severity,
            first_ns: finding.first_ns,
            last_ns: finding.last_ns,
            window_ns: now_ns,
            flows: 0,
            suppressed: 0,
            told: None,
            joined: Vec::new(),
            matched: SmallVec::new(),
        };
        self.entries.insert(key, entry);
        self.keys.insert(id, key);
        self.windows.insert((now_ns, key));
    }

    fn sum_up(&mut self, key: Key, out: &mut Vec<Incident>) -> bool {
        let Some(entry) = self.entries.get_mut(&key) else { return false };
        if entry.told.is_none() || entry.suppressed == 0 {
            return false;
        }
        self.stats.summaries += 1;
        out.push(incident(key, entry, Stage::Summary, self.witnesses));
        entry.suppressed = 0;
        true
    }

    fn forget(&mut self, key: Key) {
        if let Some(entry) = self.entries.remove(&key) {
            self.windows.remove(&(entry.window_ns, key));
            self.keys.remove(&entry.id);
            entry.joined.iter().for_each(|id| {
                self.keys.remove(id);
            });
        }
    }
}

/// The score from which a witness that looks at content or at lists proves an incident alone.
const PLAIN_FROM: f32 = 0.5;

/// Whether enough was seen to tell: a pattern over many flows, plain evidence, or enough flows.
fn is_proven(class: Class, entry: &Entry) -> bool {
    let proves = |said: &&WitnessScore| match said.witness {
        // It counted many flows already.
        Witness::Behaviour => true,
        Witness::Payload | Witness::Intel | Witness::Signature => said.score >= PLAIN_FROM,
        Witness::Classifier | Witness::Anomaly => false,
    };
    let proven = entry.scores.iter().filter(|said| said.class == class).any(|said| proves(&said));
    proven || (entry.flows >= flows_needed(class) && entry.scores.iter().any(WitnessScore::decides))
}

fn add_score(scores: &mut Vec<WitnessScore>, finding: &Finding) {
    let said =
        WitnessScore { witness: finding.witness, class: finding.class, kind: finding.kind, score: finding.score };
    strengthen(scores, said);
}

fn strengthen(scores: &mut Vec<WitnessScore>, said: WitnessScore) {
    match scores.iter_mut().find(|earlier| earlier.witness == said.witness && earlier.class == said.class) {
        Some(earlier) if earlier.score >= said.score => {}
        Some(earlier) => *earlier = said,
        None => {
            scores.push(said);
            scores.sort_by_key(|said| (said.witness, said.class));
        }
    }
}

/// Two witnesses that agree on the class raise a low severity to medium.
fn severity(found: Severity, scores: &[WitnessScore]) -> Severity {
    let named = |witness| scores.iter().any(|said| said.witness == witness && said.decides());
    let others_than_suricata = scores.iter().any(|said| !matches!(said.witness, Witness::Signature | Witness::Anomaly));
    match found {
        Severity::Low if named(Witness::Behaviour) && named(Witness::Classifier) => Severity::Medium,
        Severity::Low if named(Witness::Signature) && others_than_suricata => Severity::Medium,
        Severity::High | Severity::Medium | Severity::Low | Severity::Info => found,
    }
}

/// The more severe, then the one that counted flows, then the explained, then the surer one.
fn shows_better(finding: &Finding, than: &Exemplar) -> bool {
    let window = |subject: &Subject| !matches!(subject, Subject::Flow { .. });
    let new = (finding.severity, !window(&finding.subject), finding.evidence.is_empty());
    let old = (than.severity, !window(&than.subject), than.evidence.is_empty());
    new < old || (new == old && finding.score > than.score)
}

fn exemplar(finding: Finding) -> Exemplar {
    Exemplar {
        kind: finding.kind,
        score: finding.score,
        severity: finding.severity,
        subject: finding.subject,
        key: finding.exemplar,
        flow_id: finding.exemplar_id,
        reason: finding.reason,
        evidence: finding.evidence,
    }
}

fn incident(key: Key, entry: &Entry, stage: Stage, witnesses: usize) -> Incident {
    let named = Witness::ALL.into_iter().filter(|witness| entry.scores.iter().any(|said| said.witness == *witness));
    let reason = match stage {
        Stage::Opened | Stage::Escalated => entry.exemplar.reason.clone(),
        Stage::Summary => format!(
            "{} further findings about it in the meantime, {} flows in all; first: {}",
            entry.suppressed, entry.flows, entry.exemplar.reason
        ),
    };
    Incident {
        id: entry.id,
        stage,
        class: key.class,
        kind: entry.exemplar.kind,
        score: confidence(&entry.scores, key.class),
        agreement: named.count() as f32 / witnesses as f32,
        severity: entry.severity,
        subject: entry.exemplar.subject,
        source: key.source,
        target: key.target,
        key: entry.exemplar.key,
        flow_id: entry.exemplar.flow_id,
        community_id: community_id(&entry.exemplar.key),
        record: None,
        payload: PayloadFacts::default(),
        reason,
        evidence: entry.exemplar.evidence.clone(),
        witnesses: entry.scores.clone(),
        first_ns: entry.first_ns,
        last_ns: entry.last_ns,
        suppressed: entry.suppressed,
        flows: entry.flows,
        matched: entry.matched.clone(),
        exhibit: None,
    }
}
