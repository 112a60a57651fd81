//! Floods: more packets or beginnings towards one target than it can be meant to serve, from one source, from
//! many, or bounced off reflectors.

use std::hash::BuildHasher;

use foldhash::quality::FixedState;
use ids_common::{flow::FlowKey, wire};

use super::{
    Attempt, Class, Finding, Keyed, Outcome, Probe, Severity, Sight, Statement, Subject, address, evidence, is_group,
    track::{Decayed, DistinctSecs, Run, SEC, score, spoken_count, spoken_secs},
};
use crate::{
    bounded::BoundedMap,
    config::{BehaviourSettings, FloodSettings},
};

const TAU_SECS: f64 = 10.0;
const WINDOWS_SECS: [u64; 2] = [10, 60];
/// A flood is another one after so long a silence.
const SILENCE_NS: u64 = 30 * SEC;
/// Scans try each port about once, floods come back to it.
const SCAN_PORTS_SHARE: f64 = 0.5;
/// No scanner is so quick that this many UDP ports in ten seconds would be one.
const SCAN_FLOWS_MAX: f64 = 3_000.0;
/// Answers in a row in one flow, of which not one was asked for.
const ANSWERS_MIN: u64 = 20;
/// Share of one source port from which UDP from many hosts is an answer to questions nobody asked.
const REFLECTED_SHARE: f64 = 0.5;

pub(super) struct Floods {
    hasher: FixedState,
    services: BoundedMap<([u8; 16], u16), Service>,
    targets: BoundedMap<([u8; 16], u8), Target>,
    settings: FloodSettings,
    repeat_ns: u64,
}

/// TCP towards one port of a target.
#[derive(Debug)]
struct Service {
    begun: Decayed,
    half_open: Decayed,
    stray: Decayed,
    refused: Decayed,
    sources: DistinctSecs,
    run: Run,
}

/// UDP or ICMP towards a target.
#[derive(Debug)]
struct Target {
    flows: Decayed,
    silent: Decayed,
    /// Packets of flows without an answer; for ICMP all packets.
    packets: Decayed,
    /// Those of them that come from a port of reflectors, in flows of many.
    answers: Decayed,
    bytes: Decayed,
    sources: DistinctSecs,
    ports: DistinctSecs,
    /// The commonest source port by majority vote (Boyer and Moore), and the lead it has.
    port: u16,
    port_lead: f64,
    run: Run,
}

impl Floods {
    pub(super) fn new(settings: &BehaviourSettings, keyed: &Keyed) -> Self {
        Self {
            hasher: keyed.hasher.clone(),
            services: keyed.map(settings.limits.services_max),
            targets: keyed.map(settings.limits.targets_max),
            settings: settings.flood.clone(),
            repeat_ns: settings.limits.repeat_secs.saturating_mul(SEC),
        }
    }

    pub(super) fn evicted(&self) -> u64 {
        self.services.evicted() + self.targets.evicted()
    }

    /// The beginning of a flow has come to something.
    pub(super) fn attempt(&mut self, attempt: &Attempt, findings: &mut Vec<Finding>) {
        if is_group(attempt.key.dst) {
            return;
        }
        match attempt.key.proto {
            wire::PROTO_TCP => self.tcp(attempt, findings),
            wire::PROTO_UDP => self.udp(attempt, findings),
            _ => {}
        }
    }

    fn tcp(&mut self, attempt: &Attempt, findings: &mut Vec<Finding>) {
        let key = &attempt.key;
        let new = || Service {
            begun: Decayed::default(),
            half_open: Decayed::default(),
            stray: Decayed::default(),
            refused: Decayed::default(),
            sources: DistinctSecs::new(WINDOWS_SECS),
            run: Run::new(attempt.at_ns, *key, attempt.id),
        };
        let service = self.services.touch_or_insert(&(key.dst, key.dst_port), new);
        let at_ns = attempt.at_ns;
        // A later and better outcome takes back what was counted.
        let weight = if attempt.before.is_some() { -1.0 } else { 1.0 };
        let counts = match attempt.before {
            None => attempt.outcome != Outcome::Engaged,
            Some(before) => before != Outcome::Engaged && attempt.outcome == Outcome::Engaged,
        };
        if attempt.before.is_none() {
            service.run.go_on(at_ns, SILENCE_NS, *key, attempt.id);
            service.begun.add(at_ns, TAU_SECS, 1.0);
            service.sources.insert(self.hasher.hash_one(key.src), at_ns);
            service.refused.add(at_ns, TAU_SECS, f64::from(u8::from(attempt.outcome == Outcome::Refused)));
        }
        if !counts {
            return;
        }
        match attempt.probe {
            Probe::Syn if attempt.half_open => service.half_open.add(at_ns, TAU_SECS, weight),
            Probe::Fin | Probe::Null | Probe::Xmas | Probe::Ack | Probe::Denial | Probe::Stray => {
                service.stray.add(at_ns, TAU_SECS, weight);
            }
            _ => {}
        }
        findings.extend(tcp_finding(service, attempt, &self.settings, self.repeat_ns));
    }

    fn udp(&mut self, attempt: &Attempt, findings: &mut Vec<Finding>) {
        let key = &attempt.key;
        let target =
            self.targets.touch_or_insert(&(key.dst, key.proto), || Target::new(key, attempt.id, attempt.at_ns));
        let at_ns = attempt.at_ns;
        if attempt.before.is_some() {
            target.silent.add(at_ns, TAU_SECS, -1.0);
            return;
        }
        target.flows.add(at_ns, TAU_SECS, 1.0);
        if attempt.outcome != Outcome::Silent {
            return;
        }
        target.run.go_on(at_ns, SILENCE_NS, *key, attempt.id);
        target.silent.add(at_ns, TAU_SECS, 1.0);
        target.sources.insert(self.hasher.hash_one(key.src), at_ns);
        target.ports.insert(self.hasher.hash_one(key.dst_port), at_ns);
        target.vote(key.src_port);
        findings.extend(udp_flows_finding(target, attempt, &self.settings, self.repeat_ns));
    }

    /// A flow has grown.
    pub(super) fn grow(&mut self, sight: &Sight<'_>, findings: &mut Vec<Finding>) {
        let record = sight.record;
        let key = &record.key;
        if sight.forward_packets == 0 || is_group(key.dst) {
            return;
        }
        let threshold = match key.proto {
            wire::PROTO_UDP if record.backward.as_ref().is_none_or(|backward| backward.packets == 0) => {
                self.settings.udp_packets_10s
            }
            wire::PROTO_ICMP | wire::PROTO_ICMPV6 => self.settings.icmp_packets_10s,
            _ => return,
        };
        let at_ns = record.end_ns;
        let target = self.targets.touch_or_insert(&(key.dst, key.proto), || Target::new(key, record.id, at_ns));
        target.run.go_on(at_ns, SILENCE_NS, *key, record.id);
        // Growth over more than the window counts as the part of it that falls into it.
        let spread_secs = (at_ns - record.start_ns) as f64 / SEC as f64;
        let share = if sight.before.is_some() { 1.0 } else { (TAU_SECS / spread_secs.max(TAU_SECS)).min(1.0) };
        target.packets.add(at_ns, TAU_SECS, sight.forward_packets as f64 * share);
        target.bytes.add(at_ns, TAU_SECS, sight.forward_bytes as f64 * share);
        let unasked = key.proto == wire::PROTO_UDP
            && is_reflector(key.src_port)
            && key.dst_port >= 1_024
            && record.forward.packets >= ANSWERS_MIN;
        if unasked {
            target.answers.add(at_ns, TAU_SECS, sight.forward_packets as f64 * share);
            target.sources.insert(self.hasher.hash_one(key.src), at_ns);
            findings.extend(answers_finding(target, key, &self.settings, self.repeat_ns));
        }
        if key.proto != wire::PROTO_UDP {
            target.sources.insert(self.hasher.hash_one(key.src), at_ns);
        }
        findings.extend(volume_finding(target, key, threshold, &self.settings, self.repeat_ns));
    }
}

impl Target {
    fn new(key: &FlowKey, id: u64, at_ns: u64) -> Self {
        Self {
            flows: Decayed::default(),
            silent: Decayed::default(),
            packets: Decayed::default(),
            answers: Decayed::default(),
            bytes: Decayed::default(),
            sources: DistinctSecs::new(WINDOWS_SECS),
            ports: DistinctSecs::new(WINDOWS_SECS),
            port: 0,
            port_lead: 0.0,
            run: Run::new(at_ns, *key, id),
        }
    }

    fn vote(&mut self, port: u16) {
        if self.port_lead <= 0.0 {
            (self.port, self.port_lead) = (port, 1.0);
        } else {
            self.port_lead += if self.port == port { 1.0 } else { -1.0 };
        }
        // An old majority does not outlive its flood for long.
        self.port_lead = self.port_lead.min(1_000.0);
    }
}

fn tcp_finding(service: &mut Service, attempt: &Attempt, settings: &FloodSettings, repeat_ns: u64) -> Option<Finding> {
    let at_ns = service.run.last_ns;
    // Counts only decay from what they stood at, which is nearly always too little.
    if service.half_open.peak() < settings.half_open_10s
        && service.stray.peak() < settings.stray_10s.min(settings.stray_one_source_10s)
    {
        return None;
    }
    let begun = service.begun.value_at(at_ns, TAU_SECS);
    let half_open = service.half_open.value_at(at_ns, TAU_SECS);
    let stray = service.stray.value_at(at_ns, TAU_SECS);
    let sources = service.sources.count(at_ns);
    let many = sources >= settings.sources_many;
    let stray_threshold = if many { settings.stray_10s } else { settings.stray_one_source_10s };
    let is_half_open = half_open >= settings.half_open_10s && half_open >= settings.half_open_share * begun;
    let (count, threshold, what) = if is_half_open {
        (half_open, settings.half_open_10s, "half-open connections")
    } else if stray >= stray_threshold && stray >= settings.half_open_share * begun {
        (stray, stray_threshold, "packets without a connection")
    } else {
        return None;
    };
    if !service.run.pace.is_due(at_ns, count, repeat_ns) {
        return None;
    }
    let key = &attempt.key;
    let kind = match (is_half_open, many) {
        (true, true) => "spoofed_syn",
        (true, false) => "syn",
        (false, true) => "spoofed_tcp",
        (false, false) => "tcp",
    };
    let refused = service.refused.value_at(at_ns, TAU_SECS);
    let reason = format!(
        "{} of {} got {} {what} from {} in {}; {} were refused",
        port_of(key),
        address(key.dst),
        spoken_count(count.round()),
        spoken_sources(sources, key),
        spoken_secs(service.run.secs().min(TAU_SECS)),
        spoken_count(refused.round()),
    );
    let subject = if many {
        Subject::Target { dst: key.dst }
    } else {
        Subject::Service { src: key.src, dst: key.dst, dst_port: key.dst_port, proto: key.proto }
    };
    let statement = Statement {
        class: Class::Flood,
        kind,
        score: score(count, threshold),
        severity: Severity::High,
        subject,
        reason,
        evidence: vec![
            evidence(if is_half_open { "half_open_10s" } else { "stray_10s" }, count, threshold, "flows"),
            evidence("sources_10s", sources, settings.sources_many, "hosts"),
        ],
    };
    Some(statement.into_finding(&service.run))
}

fn udp_flows_finding(
    target: &mut Target,
    attempt: &Attempt,
    settings: &FloodSettings,
    repeat_ns: u64,
) -> Option<Finding> {
    if target.silent.peak() < settings.udp_flows_10s {
        return None;
    }
    let at_ns = target.run.last_ns;
    let flows = target.flows.value_at(at_ns, TAU_SECS);
    let silent = target.silent.value_at(at_ns, TAU_SECS);
    if silent < settings.udp_flows_10s || silent < settings.udp_silent_share * flows {
        return None;
    }
    let sources = target.sources.count(at_ns);
    let ports = target.ports.count(at_ns);
    let many = sources >= settings.sources_many;
    if !many && ports > SCAN_PORTS_SHARE * silent && silent < SCAN_FLOWS_MAX {
        return None;
    }
    if !target.run.pace.is_due(at_ns, silent, repeat_ns) {
        return None;
    }
    let key = &attempt.key;
    let reflected = many && target.port_lead >= REFLECTED_SHARE * silent.min(1_000.0) * 0.5;
    let bytes = target.bytes.value_at(at_ns, TAU_SECS) / target.packets.value_at(at_ns, TAU_SECS).max(1.0);
    let from = if reflected { format!(", most of them from port {}", target.port) } else { String::new() };
    let reason = format!(
        "{} got {} UDP flows that it did not answer from {} in {}{from}, {bytes:.0} bytes a packet",
        address(key.dst),
        spoken_count(silent.round()),
        spoken_sources(sources, key),
        spoken_secs(target.run.secs().min(TAU_SECS)),
    );
    let statement = Statement {
        class: Class::Flood,
        kind: match (reflected, many) {
            (true, _) => "reflected_udp",
            (false, true) => "spoofed_udp",
            (false, false) => "udp",
        },
        score: score(silent, settings.udp_flows_10s),
        severity: Severity::High,
        subject: subject_of(many, key),
        reason,
        evidence: vec![
            evidence("udp_silent_flows_10s", silent, settings.udp_flows_10s, "flows"),
            evidence("sources_10s", sources, settings.sources_many, "hosts"),
        ],
    };
    Some(statement.into_finding(&target.run))
}

fn volume_finding(
    target: &mut Target,
    key: &FlowKey,
    threshold: f64,
    settings: &FloodSettings,
    repeat_ns: u64,
) -> Option<Finding> {
    if target.packets.peak() < threshold {
        return None;
    }
    let at_ns = target.run.last_ns;
    let packets = target.packets.value_at(at_ns, TAU_SECS);
    if packets < threshold || !target.run.pace.is_due(at_ns, packets, repeat_ns) {
        return None;
    }
    let sources = target.sources.count(at_ns).max(1.0);
    let many = sources >= settings.sources_many;
    let (kind, name) = match key.proto {
        wire::PROTO_UDP => ("udp_volume", "UDP packets without an answer"),
        _ if many => ("spoofed_icmp", "ICMP packets"),
        _ => ("icmp", "ICMP packets"),
    };
    let reason = format!(
        "{} got {} {name} from {} in {}",
        address(key.dst),
        spoken_count(packets.round()),
        spoken_sources(sources, key),
        spoken_secs(target.run.secs().min(TAU_SECS)),
    );
    let feature = if key.proto == wire::PROTO_UDP { "udp_packets_10s" } else { "icmp_packets_10s" };
    let statement = Statement {
        class: Class::Flood,
        kind,
        score: score(packets, threshold),
        severity: Severity::High,
        subject: subject_of(many, key),
        reason,
        evidence: vec![
            evidence(feature, packets, threshold, "packets"),
            evidence("sources_10s", sources, settings.sources_many, "hosts"),
        ],
    };
    Some(statement.into_finding(&target.run))
}

/// Ports of services that answer more than they are asked, to whoever the question says it is from (TA14-017A).
fn is_reflector(port: u16) -> bool {
    matches!(
        port,
        17 | 19 | 53 | 69 | 111 | 123 | 137 | 161 | 389 | 427 | 500 | 520 | 1900 | 3283 | 3702 | 10001 | 11211 | 47808
    )
}

fn answers_finding(target: &mut Target, key: &FlowKey, settings: &FloodSettings, repeat_ns: u64) -> Option<Finding> {
    let at_ns = target.run.last_ns;
    let answers = target.answers.value_at(at_ns, TAU_SECS);
    if answers < settings.answers_10s || !target.run.pace.is_due(at_ns, answers, repeat_ns) {
        return None;
    }
    let sources = target.sources.count(at_ns).max(1.0);
    let reason = format!(
        "{} got {} answers from port {} of {} in {}, and had asked for none",
        address(key.dst),
        spoken_count(answers.round()),
        key.src_port,
        spoken_sources(sources, key),
        spoken_secs(target.run.secs().min(TAU_SECS)),
    );
    let statement = Statement {
        class: Class::Flood,
        kind: "reflected_udp",
        score: score(answers, settings.answers_10s),
        severity: Severity::High,
        subject: Subject::Target { dst: key.dst },
        reason,
        evidence: vec![evidence("unasked_answers_10s", answers, settings.answers_10s, "packets")],
    };
    Some(statement.into_finding(&target.run))
}

fn subject_of(many: bool, key: &FlowKey) -> Subject {
    if many { Subject::Target { dst: key.dst } } else { Subject::Pair { src: key.src, dst: key.dst } }
}

fn port_of(key: &FlowKey) -> String {
    format!("TCP port {}", key.dst_port)
}

fn spoken_sources(sources: f64, key: &FlowKey) -> String {
    if sources < 1.5 { address(key.src).to_string() } else { format!("{} sources", spoken_count(sources)) }
}
