//! Port scans (many ports of one target) and sweeps (one port, or ping, on many targets).

use std::hash::BuildHasher;

use foldhash::quality::FixedState;
use ids_common::{flow::FlowKey, wire};

use super::{
    Attempt, Class, Finding, Keyed, Outcome, Probe, Severity, Statement, Subject, address, evidence,
    flood::TRIES_PER_PORT,
    is_group,
    track::{Decayed, DistinctSecs, Run, SEC, score, spoken_count, spoken_secs},
};
use crate::{
    bounded::BoundedMap,
    config::{BehaviourSettings, ScanSettings, SweepSettings},
};

const QUICK_SECS: u64 = 60;
const SLOW_SECS: u64 = 600;
const WINDOWS_SECS: [u64; 2] = [QUICK_SECS, SLOW_SECS];
/// For ports of one target: whoever tries one a minute is seen over an hour, one in five minutes over six.
const PATIENT_SECS: [u64; 2] = [3_600, 21_600];
/// A scan is another one after so long a silence.
const SILENCE_NS: u64 = PATIENT_SECS[0] * SEC;
/// Traceroute sends UDP to ports counted up from here, with a small TTL.
const TRACEROUTE_PORTS: std::ops::RangeInclusive<u16> = 33_434..=33_689;
const TRACEROUTE_TTL_MAX: u8 = 40;
/// Ports below belong to services: a flow from one of them to one above is an answer whose question was not seen.
const SERVICE_PORTS_END: u16 = 1_024;

pub(super) struct Scans {
    hasher: FixedState,
    pairs: BoundedMap<([u8; 16], [u8; 16], Transport), Pair>,
    targets: BoundedMap<[u8; 16], Crowd>,
    services: BoundedMap<([u8; 16], u16, Transport), Tally>,
    sources: BoundedMap<[u8; 16], Scatter>,
    scan: ScanSettings,
    sweep: SweepSettings,
    repeat_ns: u64,
}

/// What is scanned with: thresholds differ, and the two do not mix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Transport {
    Tcp,
    Udp,
    Ping,
    Sctp,
    /// Packets of various IP protocols.
    Protocol,
    /// ICMP requests that no one has a use for but to tell systems apart.
    OddIcmp,
}

/// Things tried, and those of them that came to something.
#[derive(Debug)]
struct Tally {
    tried: DistinctSecs,
    good: DistinctSecs,
    refused: u32,
    silent: u32,
    /// Attempts in vain by kind of probe.
    probes: [u32; PROBES.len()],
    run: Run,
}

/// What one source tried of one target.
#[derive(Debug)]
struct Pair {
    tally: Tally,
    /// The same over hours.
    tried: DistinctSecs,
    good: DistinctSecs,
    /// Attempts in vain, however many of them at one port.
    attempts: Decayed,
}

/// TCP ports of one target that anyone tried in vain, and by whom.
#[derive(Debug)]
struct Crowd {
    ports: DistinctSecs,
    sources: DistinctSecs,
    good: DistinctSecs,
    run: Run,
}

/// A count that has reached its threshold.
struct Excess {
    window_secs: u64,
    tried: f64,
    vain: f64,
    threshold: f64,
}

/// What one source tried of all ports of all targets.
#[derive(Debug)]
struct Scatter {
    tally: Tally,
    targets: DistinctSecs,
}

/// Fewer attempts in a minute than this are no flood, however often they come back to a port.
const FLOOD_ATTEMPTS_MIN: f64 = 150.0;
/// Fewer targets than this are scans of each, not of a block.
const BLOCK_TARGETS_MIN: f64 = 10.0;

/// Packets with flags that no connection has from which a system is being told apart.
const IMPOSSIBLE_MIN: f64 = 3.0;

/// Kinds of probe with their names as a scan and as a sweep.
const PROBES: [(Probe, &str, &str); 11] = [
    (Probe::Syn, "syn_scan", "syn_sweep"),
    (Probe::Connect, "connect_scan", "connect_sweep"),
    (Probe::Fin, "fin_scan", "fin_sweep"),
    (Probe::Null, "null_scan", "null_sweep"),
    (Probe::Xmas, "xmas_scan", "xmas_sweep"),
    (Probe::Ack, "ack_scan", "ack_sweep"),
    (Probe::Udp, "udp_scan", "udp_sweep"),
    (Probe::Ping, "ping_scan", "ping_sweep"),
    (Probe::Sctp, "sctp_scan", "sctp_sweep"),
    (Probe::Protocol, "protocol_scan", "protocol_sweep"),
    (Probe::OddIcmp, "os_fingerprint", "os_fingerprint"),
];

impl Scans {
    pub(super) fn new(settings: &BehaviourSettings, keyed: &Keyed) -> Self {
        let limits = &settings.limits;
        Self {
            hasher: keyed.hasher.clone(),
            pairs: keyed.map(limits.pairs_max),
            targets: keyed.map(limits.targets_max),
            services: keyed.map(limits.services_max),
            sources: keyed.map(limits.sources_max),
            scan: settings.scan.clone(),
            sweep: settings.sweep.clone(),
            repeat_ns: settings.limits.repeat_secs.saturating_mul(SEC),
        }
    }

    pub(super) fn evicted(&self) -> u64 {
        self.pairs.evicted() + self.targets.evicted() + self.services.evicted() + self.sources.evicted()
    }

    /// An attempt by which a source may look for ports of the target, and for targets.
    pub(super) fn attempt(&mut self, attempt: &Attempt, findings: &mut Vec<Finding>) {
        self.attempt_on_pair(attempt, findings);
        let Some(transport) = transport_of(attempt) else { return };
        if matches!(transport, Transport::Protocol | Transport::OddIcmp) {
            return;
        }
        let key = &attempt.key;
        let answered = matches!(attempt.outcome, Outcome::Engaged | Outcome::Idle);
        let port = if transport == Transport::Ping { 0 } else { key.dst_port };
        let target = self.hasher.hash_one(key.dst);
        let tally = self.services.touch_or_insert(&(key.src, port, transport), || Tally::new(attempt));
        tally.count(attempt, target, answered);
        findings.extend(horizontal(tally, attempt, transport, &self.sweep, self.repeat_ns));

        if transport == Transport::Tcp {
            let both = self.hasher.hash_one((key.dst, key.dst_port));
            let new = || Scatter { tally: Tally::new(attempt), targets: DistinctSecs::new(WINDOWS_SECS) };
            let scatter = self.sources.touch_or_insert(&key.src, new);
            scatter.tally.count(attempt, both, answered);
            scatter.targets.insert(target, attempt.at_ns);
            findings.extend(scattered(scatter, attempt, &self.sweep, self.repeat_ns));
            self.attempt_of_many(attempt, findings);
        }
    }

    /// The same for ports alone.
    pub(super) fn attempt_on_pair(&mut self, attempt: &Attempt, findings: &mut Vec<Finding>) {
        let question = question_of(attempt);
        let attempt = question.as_ref().unwrap_or(attempt);
        let Some(transport) = transport_of(attempt).filter(|transport| *transport != Transport::Ping) else { return };
        let key = &attempt.key;
        let port = match transport {
            Transport::Protocol => self.hasher.hash_one(key.proto),
            Transport::OddIcmp => self.hasher.hash_one(key.src_port),
            Transport::Tcp | Transport::Udp | Transport::Ping | Transport::Sctp => self.hasher.hash_one(key.dst_port),
        };
        let productive = attempt.outcome == Outcome::Engaged;
        let new = || Pair {
            tally: Tally::new(attempt),
            tried: DistinctSecs::new(PATIENT_SECS),
            good: DistinctSecs::new(PATIENT_SECS),
            attempts: Decayed::default(),
        };
        let pair = self.pairs.touch_or_insert(&(key.src, key.dst, transport), new);
        pair.tally.count(attempt, port, productive);
        let begins_in_vain = attempt.before.is_none() && !productive;
        pair.attempts.add(attempt.at_ns, QUICK_SECS as f64, f64::from(u8::from(begins_in_vain)));
        let counts = if productive { &mut pair.good } else { &mut pair.tried };
        counts.insert(port, attempt.at_ns);
        findings.extend(vertical(pair, attempt, transport, &self.scan, self.repeat_ns));
        findings.extend(impossible(&mut pair.tally, attempt, self.repeat_ns));
    }

    /// One target, a port or two from each of many sources.
    fn attempt_of_many(&mut self, attempt: &Attempt, findings: &mut Vec<Finding>) {
        let (key, at_ns) = (&attempt.key, attempt.at_ns);
        let new = || Crowd {
            ports: DistinctSecs::new(WINDOWS_SECS),
            sources: DistinctSecs::new(WINDOWS_SECS),
            good: DistinctSecs::new(WINDOWS_SECS),
            run: Run::new(at_ns, *key, attempt.id),
        };
        let crowd = self.targets.touch_or_insert(&key.dst, new);
        let port = self.hasher.hash_one(key.dst_port);
        if attempt.outcome == Outcome::Engaged {
            crowd.good.insert(port, at_ns);
            return;
        }
        if attempt.before.is_some() {
            return;
        }
        crowd.run.go_on(at_ns, SILENCE_NS, *key, attempt.id);
        crowd.ports.insert(port, at_ns);
        crowd.sources.insert(self.hasher.hash_one(key.src), at_ns);
        let last_ns = crowd.run.last_ns;
        let counts = crowd.ports.counts(last_ns).into_iter().zip(crowd.sources.counts(last_ns));
        let thresholds = [self.scan.crowd_ports_60s, self.scan.crowd_ports_600s];
        let mut reached =
            counts.zip(thresholds).zip(crowd.good.counts(last_ns)).filter(|(((ports, sources), threshold), good)| {
                ports >= threshold
                    && *sources >= self.scan.crowd_sources
                    && *good <= (1.0 - self.scan.unproductive_share) * ports
            });
        let Some((((ports, sources), threshold), _)) = reached.next() else { return };
        if !crowd.run.pace.is_due(last_ns, ports, self.repeat_ns) {
            return;
        }
        let reason = format!(
            "{} sources together tried {} ports of {} in vain in {}",
            spoken_count(sources),
            spoken_count(ports),
            address(key.dst),
            spoken_secs(crowd.run.secs().min(SLOW_SECS as f64)),
        );
        let statement = Statement {
            class: Class::PortScan,
            kind: "distributed_scan",
            score: score(ports, threshold),
            severity: Severity::Medium,
            subject: Subject::Target { dst: key.dst },
            reason,
            evidence: vec![
                evidence("ports_without_conversation", ports, threshold, "ports"),
                evidence("sources", sources, self.scan.crowd_sources, "hosts"),
            ],
        };
        findings.push(statement.into_finding(&crowd.run));
    }
}

/// Packets with flags that no connection has (RFC 9293, section 3.10), of two kinds and at least three: how tools tell systems
/// apart by their answers (nmap, "OS detection", probes T2 to T7). Too few to be a scan, and nothing else sends them.
fn impossible(tally: &mut Tally, attempt: &Attempt, repeat_ns: u64) -> Option<Finding> {
    let of = |wanted: Probe| {
        PROBES.iter().zip(tally.probes).filter(|((probe, ..), _)| *probe == wanted).map(|(_, n)| n).sum()
    };
    let [fin, null, xmas]: [u32; 3] = [Probe::Fin, Probe::Null, Probe::Xmas].map(of);
    let count = f64::from(fin + null + xmas);
    let kinds = [fin, null, xmas].iter().filter(|count| **count > 0).count();
    if !matches!(attempt.probe, Probe::Fin | Probe::Null | Probe::Xmas)
        || kinds < 2
        || count < IMPOSSIBLE_MIN
        || !tally.run.pace.is_due(tally.run.last_ns, count, repeat_ns)
    {
        return None;
    }
    let key = &attempt.key;
    let statement = Statement {
        class: Class::PortScan,
        kind: "os_fingerprint",
        score: score(count, IMPOSSIBLE_MIN),
        severity: Severity::Low,
        subject: Subject::Pair { src: key.src, dst: key.dst },
        reason: format!(
            "{} sent {} {} packets with flags that no connection has, of {kinds} kinds",
            address(key.src),
            address(key.dst),
            spoken_count(count),
        ),
        evidence: vec![evidence("impossible_flags", count, IMPOSSIBLE_MIN, "packets")],
    };
    Some(statement.into_finding(&tally.run))
}

/// What an attempt may scan with; `None` where it is no probe.
fn transport_of(attempt: &Attempt) -> Option<Transport> {
    let key = &attempt.key;
    if is_group(key.dst) || key.src == key.dst {
        return None;
    }
    match attempt.probe {
        Probe::Syn | Probe::Connect => Some(Transport::Tcp),
        // Remains of a connection look like these, but go from a service's port, or come one at a time.
        Probe::Fin | Probe::Null | Probe::Xmas | Probe::Ack => (!is_answer(key)).then_some(Transport::Tcp),
        Probe::Udp => {
            let traceroute = TRACEROUTE_PORTS.contains(&key.dst_port) && attempt.ttl <= TRACEROUTE_TTL_MAX;
            (!traceroute && !is_answer(key)).then_some(Transport::Udp)
        }
        Probe::Ping => Some(Transport::Ping),
        Probe::Sctp => Some(Transport::Sctp),
        Probe::Protocol => Some(Transport::Protocol),
        Probe::OddIcmp => Some(Transport::OddIcmp),
        Probe::Denial | Probe::Consent | Probe::Stray | Probe::Other => None,
    }
}

/// What a service must have been asked that refuses out of the blue. Clients that let go of old connections look the
/// same, but not from a port of a service.
fn question_of(attempt: &Attempt) -> Option<Attempt> {
    let key = &attempt.key;
    let refuses = attempt.probe == Probe::Denial && is_service_port(key.src_port) && key.dst_port >= SERVICE_PORTS_END;
    refuses.then(|| Attempt {
        key: key.reversed(),
        probe: Probe::Syn,
        outcome: Outcome::Refused,
        before: None,
        ..*attempt
    })
}

/// Whether strangers look for a service at a port: the system ports, and those above that worms and scanners of
/// recent years went for (databases, remote desktops, web consoles, routers, cameras, containers).
pub(super) fn is_service_port(port: u16) -> bool {
    const HIGH: [u16; 30] = [
        1433, 1521, 1723, 1883, 2222, 2323, 2375, 3128, 3306, 3389, 4444, 5000, 5060, 5432, 5555, 5800, 5900, 5985,
        6379, 7001, 7547, 8000, 8080, 8081, 8291, 8443, 8888, 9200, 11211, 27017,
    ];
    port < SERVICE_PORTS_END || HIGH.binary_search(&port).is_ok() || matches!(port, 37_215 | 52_869)
}

fn is_answer(key: &FlowKey) -> bool {
    key.src_port < SERVICE_PORTS_END && key.dst_port >= SERVICE_PORTS_END && key.proto != wire::PROTO_ICMP
}

impl Tally {
    fn new(attempt: &Attempt) -> Self {
        Self {
            tried: DistinctSecs::new(WINDOWS_SECS),
            good: DistinctSecs::new(WINDOWS_SECS),
            refused: 0,
            silent: 0,
            probes: [0; PROBES.len()],
            run: Run::new(attempt.at_ns, attempt.key, attempt.id),
        }
    }

    fn count(&mut self, attempt: &Attempt, thing: u64, good: bool) {
        let first_ns = self.run.first_ns;
        self.run.go_on(attempt.at_ns, SILENCE_NS, attempt.key, attempt.id);
        if self.run.first_ns > first_ns {
            *self = Self::new(attempt);
        }
        if good {
            self.good.insert(thing, attempt.at_ns);
        }
        if attempt.before.is_some() {
            return;
        }
        self.tried.insert(thing, attempt.at_ns);
        self.refused += u32::from(attempt.outcome == Outcome::Refused);
        self.silent += u32::from(attempt.outcome == Outcome::Silent);
        for (count, (probe, ..)) in self.probes.iter_mut().zip(&PROBES) {
            *count += u32::from(!good && *probe == attempt.probe);
        }
    }

    /// What stands in the first window in which things tried in vain reach their threshold and share.
    fn exceeds(&self, thresholds: [f64; 2], share_min: f64) -> Option<Excess> {
        let tried = self.tried.counts(self.run.last_ns);
        // No more can be in vain than were tried, which is nearly always too few.
        if tried.iter().zip(&thresholds).all(|(tried, threshold)| tried < threshold) {
            return None;
        }
        let good = self.good.counts(self.run.last_ns);
        let windows = tried.into_iter().zip(good).zip(thresholds.into_iter().zip(WINDOWS_SECS));
        let mut excesses = windows.map(|((tried, good), (threshold, window_secs))| Excess {
            window_secs,
            tried,
            vain: (tried - good).max(0.0),
            threshold,
        });
        excesses.find(|excess| excess.vain >= excess.threshold && excess.vain >= share_min * excess.tried)
    }

    /// The commonest kind of probe, first of equals.
    fn commonest(&self) -> (Probe, &'static str, &'static str) {
        let mut best = (0, PROBES[0]);
        for (count, kind) in self.probes.iter().zip(&PROBES) {
            if *count > best.0 {
                best = (*count, *kind);
            }
        }
        best.1
    }
}

impl Pair {
    /// Whether the source comes back to the same ports so often that it does not look for open ones.
    fn is_flood(&self) -> bool {
        let last_ns = self.tally.run.last_ns;
        let attempts = self.attempts.value_at(last_ns, QUICK_SECS as f64);
        attempts >= FLOOD_ATTEMPTS_MIN && attempts >= TRIES_PER_PORT * self.tally.tried.count(last_ns)
    }

    /// The same as for a tally, over hours.
    fn exceeds_patiently(&self, thresholds: [f64; 2], share_min: f64) -> Option<Excess> {
        let last_ns = self.tally.run.last_ns;
        let windows = self.tried.counts(last_ns).into_iter().zip(self.good.counts(last_ns));
        let excesses = windows.zip(thresholds).zip(PATIENT_SECS).map(|(((vain, good), threshold), window_secs)| {
            Excess { window_secs, tried: vain + good, vain, threshold }
        });
        excesses.into_iter().find(|excess| excess.vain >= excess.threshold && excess.vain >= share_min * excess.tried)
    }
}

fn vertical(
    pair: &mut Pair,
    attempt: &Attempt,
    transport: Transport,
    settings: &ScanSettings,
    repeat_ns: u64,
) -> Option<Finding> {
    let (quick, slow) = match transport {
        Transport::Udp => (settings.udp_ports_60s, settings.udp_ports_600s),
        Transport::Protocol => (settings.protocols_60s, settings.protocols_60s),
        Transport::OddIcmp => (settings.odd_icmp_60s, settings.odd_icmp_60s),
        Transport::Tcp | Transport::Sctp | Transport::Ping => (settings.ports_60s, settings.ports_600s),
    };
    let mut excess = pair.tally.exceeds([quick, slow], settings.unproductive_share);
    if excess.is_none() && transport == Transport::Tcp {
        excess = pair.exceeds_patiently([settings.ports_3600s, settings.ports_21600s], settings.unproductive_share);
    }
    let Excess { window_secs, tried, vain, threshold } = excess?;
    if pair.is_flood() {
        return None;
    }
    let tally = &mut pair.tally;
    if !tally.run.pace.is_due(tally.run.last_ns, vain, repeat_ns) {
        return None;
    }
    let (src, dst) = (attempt.key.src, attempt.key.dst);
    let (_, kind, _) = tally.commonest();
    let (things, severity) = match transport {
        Transport::Protocol => ("IP protocols", Severity::Medium),
        Transport::OddIcmp => ("odd ICMP requests", Severity::Low),
        Transport::Tcp | Transport::Udp | Transport::Sctp | Transport::Ping => ("ports", Severity::Medium),
    };
    let reason = format!(
        "{} tried {} {things} of {} in {}; {} of the attempts were refused, {} met silence",
        address(src),
        spoken_count(tried),
        address(dst),
        spoken_secs(tally.run.secs().min(window_secs as f64)),
        tally.refused,
        tally.silent,
    );
    let statement = Statement {
        class: Class::PortScan,
        kind,
        score: score(vain, threshold),
        severity,
        subject: Subject::Pair { src, dst },
        reason,
        evidence: vec![
            evidence("ports_tried", tried, threshold, things),
            evidence("ports_without_conversation", vain, threshold, things),
        ],
    };
    Some(statement.into_finding(&tally.run))
}

fn horizontal(
    tally: &mut Tally,
    attempt: &Attempt,
    transport: Transport,
    settings: &SweepSettings,
    repeat_ns: u64,
) -> Option<Finding> {
    let (thresholds, share_min) = match transport {
        Transport::Udp => ([settings.udp_targets_60s, f64::INFINITY], settings.udp_unanswered_share),
        Transport::Tcp if !is_service_port(attempt.key.dst_port) => {
            ([settings.peer_targets_60s, f64::INFINITY], settings.unanswered_share)
        }
        Transport::Tcp | Transport::Ping | Transport::Sctp | Transport::Protocol | Transport::OddIcmp => {
            ([settings.targets_60s, settings.targets_600s], settings.unanswered_share)
        }
    };
    let Excess { window_secs, tried, vain, threshold } = tally.exceeds(thresholds, share_min)?;
    if !tally.run.pace.is_due(tally.run.last_ns, vain, repeat_ns) {
        return None;
    }
    let what = match transport {
        Transport::Ping => "pinged".to_owned(),
        Transport::Tcp => format!("tried TCP port {} of", attempt.key.dst_port),
        Transport::Udp => format!("tried UDP port {} of", attempt.key.dst_port),
        Transport::Sctp => format!("tried SCTP port {} of", attempt.key.dst_port),
        Transport::Protocol | Transport::OddIcmp => "probed".to_owned(),
    };
    let (_, _, kind) = tally.commonest();
    let reason = format!(
        "{} {what} {} hosts in {}; {} of them did not answer or refused",
        address(attempt.key.src),
        spoken_count(tried),
        spoken_secs(tally.run.secs().min(window_secs as f64)),
        spoken_count(vain),
    );
    let statement = Statement {
        class: Class::PortScan,
        kind,
        score: score(vain, threshold),
        severity: Severity::Medium,
        subject: Subject::Source { src: attempt.key.src },
        reason,
        evidence: vec![
            evidence("hosts_tried", tried, threshold, "hosts"),
            evidence("hosts_without_answer", vain, threshold, "hosts"),
        ],
    };
    Some(statement.into_finding(&tally.run))
}

fn scattered(scatter: &mut Scatter, attempt: &Attempt, settings: &SweepSettings, repeat_ns: u64) -> Option<Finding> {
    let Scatter { tally, targets } = scatter;
    // Peers that come and go add up over ten minutes, so there is a quick window alone.
    let thresholds = [settings.scatter_60s, f64::INFINITY];
    let Excess { window_secs, tried, vain, threshold } =
        tally.exceeds(thresholds, settings.scatter_unanswered_share)?;
    let targets = targets.count(tally.run.last_ns);
    if targets < BLOCK_TARGETS_MIN || !tally.run.pace.is_due(tally.run.last_ns, vain, repeat_ns) {
        return None;
    }
    let reason = format!(
        "{} tried {} ports on {} hosts in {}; {} of them did not answer or refused",
        address(attempt.key.src),
        spoken_count(tried),
        spoken_count(targets),
        spoken_secs(tally.run.secs().min(window_secs as f64)),
        spoken_count(vain),
    );
    let statement = Statement {
        class: Class::PortScan,
        kind: "block_scan",
        score: score(vain, threshold),
        severity: Severity::Medium,
        subject: Subject::Source { src: attempt.key.src },
        reason,
        evidence: vec![
            evidence("services_tried", tried, threshold, "services"),
            evidence("services_without_answer", vain, threshold, "services"),
            evidence("hosts_tried", targets, BLOCK_TARGETS_MIN, "hosts"),
        ],
    };
    Some(statement.into_finding(&tally.run))
}
