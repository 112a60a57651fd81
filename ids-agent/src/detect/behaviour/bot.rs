//! What infected devices do for their masters: the same datagram to a whole address range, mail to one exchanger after
//! another, the search for devices to infect next.

use std::hash::BuildHasher;

use foldhash::quality::FixedState;
use ids_common::{flow::FlowKey, wire};

use super::{
    Attempt, Class, Finding, Keyed, Outcome, Probe, Severity, Sight, Statement, Subject, address, evidence, is_inside,
    track::{DistinctSecs, Run, SEC, score, spoken_count, spoken_secs},
};
use crate::{
    bounded::BoundedMap,
    config::{BehaviourSettings, BotSettings},
    payload::AppProto,
};

const WINDOWS_SECS: [u64; 2] = [60, 600];
const SILENCE_NS: u64 = 600 * SEC;
/// Where servers hand mail to each other; programs of people hand it in at other ports.
const SMTP: u16 = 25;

/// Where worms of the last ten years look for cameras, routers and set-top boxes: Telnet, its stand-ins, and the services of
/// vendors (Mirai and its kin). Nobody of a house calls strangers there.
const WORM_PORTS: [u16; 7] = [23, 2323, 5555, 7547, 37_215, 52_869, 60_001];

pub(super) struct Bots {
    hasher: FixedState,
    announcers: BoundedMap<([u8; 16], u16, u64), Targets>,
    mailers: BoundedMap<[u8; 16], Targets>,
    recruiters: BoundedMap<[u8; 16], Targets>,
    /// Hosts that took mail in.
    mail_servers: BoundedMap<[u8; 16], ()>,
    settings: BotSettings,
    repeat_ns: u64,
}

/// Hosts that one source sends to.
#[derive(Debug)]
struct Targets {
    tried: DistinctSecs,
    answered: DistinctSecs,
    run: Run,
}

impl Targets {
    fn new(key: &FlowKey, id: u64, at_ns: u64) -> Self {
        let [tried, answered] = std::array::from_fn(|_| DistinctSecs::new(WINDOWS_SECS));
        Self { tried, answered, run: Run::new(at_ns, *key, id) }
    }

    /// Counts an attempt. Tells how many hosts were tried, and how many of them in vain, where that is worth a word.
    fn count(&mut self, attempt: &Attempt, host: u64, in_vain: bool, limit: &Limit) -> Option<(f64, f64)> {
        let at_ns = attempt.at_ns;
        if !in_vain {
            self.answered.insert(host, at_ns);
        }
        if attempt.before.is_some() {
            return None;
        }
        self.run.go_on(at_ns, SILENCE_NS, attempt.key, attempt.id);
        self.tried.insert(host, at_ns);
        let last_ns = self.run.last_ns;
        let tried = self.tried.count(last_ns);
        if tried < limit.targets_60s {
            return None;
        }
        let vain = (tried - self.answered.count(last_ns)).max(0.0);
        let told = vain >= limit.vain_share * tried && self.run.pace.is_due(last_ns, tried, limit.repeat_ns);
        told.then_some((tried, vain))
    }
}

/// From how many targets on a source is told, and the share of them that it must have tried in vain.
struct Limit {
    targets_60s: f64,
    vain_share: f64,
    repeat_ns: u64,
}

impl Bots {
    pub(super) fn new(settings: &BehaviourSettings, keyed: &Keyed) -> Self {
        let limits = &settings.limits;
        Self {
            hasher: keyed.hasher.clone(),
            announcers: keyed.map(limits.services_max),
            mailers: keyed.map(limits.sources_max),
            recruiters: keyed.map(limits.sources_max),
            mail_servers: keyed.map(limits.targets_max),
            settings: settings.bot.clone(),
            repeat_ns: limits.repeat_secs.saturating_mul(SEC),
        }
    }

    pub(super) fn evicted(&self) -> u64 {
        self.announcers.evicted() + self.mailers.evicted() + self.recruiters.evicted() + self.mail_servers.evicted()
    }

    /// A datagram of no known protocol went to a port of no service.
    pub(super) fn announce(&mut self, attempt: &Attempt, datagram: u64, findings: &mut Vec<Finding>) {
        let (key, at_ns) = (&attempt.key, attempt.at_ns);
        let new = || Targets::new(key, attempt.id, at_ns);
        let targets = self.announcers.touch_or_insert(&(key.src, key.dst_port, datagram), new);
        let limit = Limit {
            targets_60s: self.settings.announce_targets_60s,
            vain_share: self.settings.announce_unanswered_share,
            repeat_ns: self.repeat_ns,
        };
        let in_vain = matches!(attempt.outcome, Outcome::Silent);
        let host = self.hasher.hash_one(key.dst);
        let Some((tried, vain)) = targets.count(attempt, host, in_vain, &limit) else { return };
        let threshold = limit.targets_60s;
        let statement = Statement {
            class: Class::C2,
            kind: "announcement",
            score: score(tried, threshold),
            severity: Severity::High,
            subject: Subject::Source { src: key.src },
            reason: format!(
                "{} sent one and the same datagram of no known protocol to UDP port {} of {} hosts in {}; {} of them \
                 did not answer",
                address(key.src),
                key.dst_port,
                spoken_count(tried),
                spoken_secs(targets.run.secs().min(WINDOWS_SECS[0] as f64)),
                spoken_count(vain),
            ),
            evidence: vec![
                evidence("same_datagram_hosts_60s", tried, threshold, "hosts"),
                evidence("hosts_without_answer", vain, threshold, "hosts"),
            ],
        };
        findings.push(statement.into_finding(&targets.run));
    }

    /// A device of the house tried a port of worms on a host outside.
    pub(super) fn recruit(&mut self, attempt: &Attempt, findings: &mut Vec<Finding>) {
        let (key, at_ns) = (&attempt.key, attempt.at_ns);
        let tries = matches!(attempt.probe, Probe::Syn | Probe::Connect) && WORM_PORTS.contains(&key.dst_port);
        if !tries || !is_inside(key.src) || is_inside(key.dst) {
            return;
        }
        let targets = self.recruiters.touch_or_insert(&key.src, || Targets::new(key, attempt.id, at_ns));
        let limit = Limit {
            targets_60s: self.settings.recruit_targets_60s,
            vain_share: self.settings.recruit_unanswered_share,
            repeat_ns: self.repeat_ns,
        };
        let in_vain = matches!(attempt.outcome, Outcome::Silent | Outcome::Refused);
        let host = self.hasher.hash_one(key.dst);
        let Some((tried, vain)) = targets.count(attempt, host, in_vain, &limit) else { return };
        let threshold = limit.targets_60s;
        let statement = Statement {
            class: Class::C2,
            kind: "recruiting",
            score: score(tried, threshold),
            severity: Severity::High,
            subject: Subject::Source { src: key.src },
            reason: format!(
                "{} tried ports that worms of devices try, such as TCP {}, on {} hosts outside in {}; {} of them did \
                 not answer or refused",
                address(key.src),
                key.dst_port,
                spoken_count(tried),
                spoken_secs(targets.run.secs().min(WINDOWS_SECS[0] as f64)),
                spoken_count(vain),
            ),
            evidence: vec![
                evidence("worm_port_hosts_60s", tried, threshold, "hosts"),
                evidence("hosts_without_answer", vain, threshold, "hosts"),
            ],
        };
        findings.push(statement.into_finding(&targets.run));
    }

    /// Looks at a flow for mail that goes from server to server.
    pub(super) fn see(&mut self, sight: &Sight<'_>, findings: &mut Vec<Finding>) {
        let record = sight.record;
        let key = &record.key;
        if key.proto != wire::PROTO_TCP || key.dst_port != SMTP {
            return;
        }
        if sight.payload.app == AppProto::Smtp {
            self.mail_servers.touch_or_insert(&key.dst, || ());
        }
        if sight.before.is_some() || self.mail_servers.peek(&key.src).is_some() {
            return;
        }
        let at_ns = record.start_ns;
        let targets = self.mailers.touch_or_insert(&key.src, || Targets::new(key, record.id, at_ns));
        targets.run.go_on(at_ns, SILENCE_NS, *key, record.id);
        targets.tried.insert(self.hasher.hash_one(key.dst), at_ns);
        let last_ns = targets.run.last_ns;
        let counts = targets.tried.counts(last_ns).into_iter();
        let windows = counts.zip([self.settings.mail_hosts_60s, self.settings.mail_hosts_600s]).zip(WINDOWS_SECS);
        let mut reached = windows.filter(|((tried, threshold), _)| tried >= threshold);
        let Some(((tried, threshold), window_secs)) = reached.next() else { return };
        if !targets.run.pace.is_due(last_ns, tried, self.repeat_ns) {
            return;
        }
        let statement = Statement {
            class: Class::C2,
            kind: "spam",
            score: score(tried, threshold),
            severity: Severity::Medium,
            subject: Subject::Source { src: key.src },
            reason: format!(
                "{} handed mail to {} mail servers in {}, and takes none in itself",
                address(key.src),
                spoken_count(tried),
                spoken_secs(targets.run.secs().min(window_secs as f64)),
            ),
            evidence: vec![evidence("mail_servers_contacted", tried, threshold, "hosts")],
        };
        findings.push(statement.into_finding(&targets.run));
    }
}
