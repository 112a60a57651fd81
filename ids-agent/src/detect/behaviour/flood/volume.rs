//! Floods over UDP and ICMP: flows and packets without an answer, answers without a question, the same datagram
//! again and again, echoes without a pause.

use std::hash::BuildHasher;

use foldhash::quality::FixedState;
use ids_common::{
    flow::{FlowKey, FlowSlot},
    wire,
};

use super::{
    super::{
        Attempt, Finding, Keyed, Outcome, Probe, Sight, Subject, address, is_inside, probe_of,
        track::{Decayed, DistinctSecs, Run, SEC, spoken_count, spoken_secs},
    },
    Reached, SILENCE_NS, TAU_SECS, WINDOWS_SECS, is_several, spoken_sources, subject_of,
};
use crate::{
    bounded::BoundedMap,
    config::{BehaviourSettings, FloodSettings},
    flow::proto_label,
};

/// Scans try each port about once, floods come back to it.
const SCAN_PORTS_SHARE: f64 = 0.5;
/// No scanner is so quick that this many UDP ports in ten seconds would be one.
const SCAN_FLOWS_MAX: f64 = 3_000.0;
/// Answers in a row in one flow, of which not one was asked for; or one that is longer than any probe.
const ANSWERS_MIN: u64 = 20;
const ANSWER_BYTES_MIN: u64 = 100;
/// Share of one source port from which UDP from many hosts is an answer to questions nobody asked.
const REFLECTED_SHARE: f64 = 0.5;
/// Datagrams looked at before they are called the same.
const ALIKE_MIN: u8 = 3;
/// Network-layer bytes of an echo that carries no data to speak of; longer ones may be a tunnel.
const ECHO_BYTES_MAX: u16 = 128;

pub(super) struct Volumes {
    hasher: FixedState,
    targets: BoundedMap<([u8; 16], u8), Target>,
    echoes: BoundedMap<([u8; 16], [u8; 16]), Echoes>,
    settings: FloodSettings,
    repeat_ns: u64,
}

/// UDP or ICMP towards a target.
#[derive(Debug)]
struct Target {
    flows: Decayed,
    silent: Decayed,
    /// Packets of flows without an answer; for ICMP all packets.
    packets: Decayed,
    /// Those of them that come from a port of reflectors to one that asks.
    answers: Decayed,
    /// Those of them that are the same datagram time after time.
    alike: Decayed,
    bytes: Decayed,
    sources: DistinctSecs,
    ports: DistinctSecs,
    /// The commonest source port by majority vote (Boyer and Moore), and the lead it has.
    port: u16,
    port_lead: f64,
    run: Run,
}

/// Requests for an echo, all of one size, from one source to one target.
#[derive(Debug)]
struct Echoes {
    requests: Decayed,
    run: Run,
}

impl Volumes {
    pub(super) fn new(settings: &BehaviourSettings, keyed: &Keyed) -> Self {
        Self {
            hasher: keyed.hasher.clone(),
            targets: keyed.map(settings.limits.targets_max),
            echoes: keyed.map(settings.limits.targets_max),
            settings: settings.flood.clone(),
            repeat_ns: settings.limits.repeat_secs.saturating_mul(SEC),
        }
    }

    pub(super) fn evicted(&self) -> u64 {
        self.targets.evicted() + self.echoes.evicted()
    }

    /// A flow over UDP, or a protocol without ports, has been answered, or has not.
    pub(super) fn attempt(&mut self, attempt: &Attempt, findings: &mut Vec<Finding>) {
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
        findings.extend(flows_finding(target, attempt, &self.settings, self.repeat_ns));
    }

    /// A flow has grown.
    pub(super) fn grow(&mut self, sight: &Sight<'_>, findings: &mut Vec<Finding>) {
        let record = sight.record;
        let (key, at_ns) = (&record.key, record.end_ns);
        let udp = match key.proto {
            wire::PROTO_UDP if record.backward.as_ref().is_none_or(|backward| backward.packets == 0) => true,
            wire::PROTO_ICMP | wire::PROTO_ICMPV6 => false,
            _ => return,
        };
        let target = self.targets.touch_or_insert(&(key.dst, key.proto), || Target::new(key, record.id, at_ns));
        target.run.go_on(at_ns, SILENCE_NS, *key, record.id);
        // Growth is taken for even over the time since the flow was looked at last.
        let since_ns = sight.before.map_or(record.start_ns, |before| before.seen_ns);
        let weight = even_weight(at_ns.saturating_sub(since_ns) as f64 / SEC as f64 / TAU_SECS);
        let packets = sight.forward_packets as f64 * weight;
        target.packets.add(at_ns, TAU_SECS, packets);
        target.bytes.add(at_ns, TAU_SECS, sight.forward_bytes as f64 * weight);
        if !udp {
            target.sources.insert(self.hasher.hash_one(key.src), at_ns);
            self.echo(sight, packets, findings);
        } else if is_unasked(key, &record.forward) {
            target.answers.add(at_ns, TAU_SECS, packets);
            target.sources.insert(self.hasher.hash_one(key.src), at_ns);
            findings.extend(answers_finding(target, key, &self.settings, self.repeat_ns));
        } else if is_repeated(sight) {
            target.alike.add(at_ns, TAU_SECS, packets);
            target.sources.insert(self.hasher.hash_one(key.src), at_ns);
            findings.extend(alike_finding(target, key, &self.settings, self.repeat_ns));
        }
        if let Some(target) = self.targets.peek_mut(&(key.dst, key.proto)) {
            findings.extend(volume_finding(target, key, &self.settings, self.repeat_ns));
        }
    }

    /// No one measures a path or a host's health by so many echoes a second.
    fn echo(&mut self, sight: &Sight<'_>, packets: f64, findings: &mut Vec<Finding>) {
        let record = sight.record;
        let (key, at_ns, forward) = (&record.key, record.end_ns, &record.forward);
        if probe_of(record) != Probe::Ping || !is_uniform(forward) || forward.len_max > ECHO_BYTES_MAX {
            return;
        }
        let new = || Echoes { requests: Decayed::default(), run: Run::new(at_ns, *key, record.id) };
        let echoes = self.echoes.touch_or_insert(&(key.src, key.dst), new);
        echoes.run.go_on(at_ns, SILENCE_NS, *key, record.id);
        echoes.requests.add(at_ns, TAU_SECS, packets);
        let (count, threshold) = (echoes.requests.value_at(at_ns, TAU_SECS), self.settings.echoes_10s);
        if count < threshold || !echoes.run.pace.is_due(at_ns, count, self.repeat_ns) {
            return;
        }
        let reason = format!(
            "{} asked {} for {} echoes in {}",
            address(key.src),
            address(key.dst),
            spoken_count(count.round()),
            spoken_secs(echoes.run.secs().min(TAU_SECS)),
        );
        let reached = Reached {
            kind: "icmp",
            feature: "echoes_10s",
            count,
            threshold,
            unit: "packets",
            sources: 1.0,
            sources_many: self.settings.sources_many,
            subject: Subject::Pair { src: key.src, dst: key.dst },
            reason,
        };
        findings.push(reached.into_finding(&echoes.run));
    }
}

impl Target {
    fn new(key: &FlowKey, id: u64, at_ns: u64) -> Self {
        Self {
            flows: Decayed::default(),
            silent: Decayed::default(),
            packets: Decayed::default(),
            answers: Decayed::default(),
            alike: Decayed::default(),
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

/// The mean weight of events spread evenly over a stretch of so many decay times that ends now.
fn even_weight(decay_times: f64) -> f64 {
    if decay_times < 1e-6 { 1.0 } else { (1.0 - (-decay_times).exp()) / decay_times }
}

fn is_uniform(slot: &FlowSlot) -> bool {
    slot.len_min == slot.len_max
}

/// Whether a flow is one datagram time after time, as far as can be told from sizes and samples.
fn is_repeated(sight: &Sight<'_>) -> bool {
    let forward = &sight.record.forward;
    is_uniform(forward) && (forward.payload_bytes == 0 || sight.payload.forward.alike >= ALIKE_MIN)
}

/// An answer in a flow that holds no question. Probes from such a port are short and few.
fn is_unasked(key: &FlowKey, forward: &FlowSlot) -> bool {
    let long = forward.payload_bytes >= ANSWER_BYTES_MIN * forward.packets.max(1);
    is_reflector(key.src_port)
        && key.dst_port >= 1_024
        && (long || forward.packets >= ANSWERS_MIN)
        && !(is_asked_of_all(key.src_port) && is_inside(key.src))
}

/// Services that hosts of one network ask for by a message to all, which names none of those who answer.
fn is_asked_of_all(port: u16) -> bool {
    matches!(port, 137 | 427 | 1900 | 3702 | 5353 | 5683 | 10001 | 32414 | 37810 | 47808)
}

/// Ports of services that answer more than they are asked, to whoever the question says it is from (TA14-017A).
fn is_reflector(port: u16) -> bool {
    matches!(
        port,
        17 | 19
            | 53
            | 69
            | 111
            | 123
            | 137
            | 161
            | 389
            | 427
            | 500
            | 520
            | 1434
            | 1900
            | 3283
            | 3702
            | 5353
            | 5683
            | 10001
            | 11211
            | 27960
            | 32414
            | 37810
            | 47808
    )
}

fn flows_finding(target: &mut Target, attempt: &Attempt, settings: &FloodSettings, repeat_ns: u64) -> Option<Finding> {
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
    let key = &attempt.key;
    let udp = key.proto == wire::PROTO_UDP;
    if !many && (!udp || (ports > SCAN_PORTS_SHARE * silent && silent < SCAN_FLOWS_MAX)) {
        return None;
    }
    if !target.run.pace.is_due(at_ns, silent, repeat_ns) {
        return None;
    }
    let reflected = many && udp && target.port_lead >= REFLECTED_SHARE * silent.min(1_000.0) * 0.5;
    let bytes = target.bytes.value_at(at_ns, TAU_SECS) / target.packets.value_at(at_ns, TAU_SECS).max(1.0);
    let size = if udp { format!(", {bytes:.0} bytes a packet") } else { String::new() };
    let from = if reflected { format!(", most of them from port {}", target.port) } else { String::new() };
    let reason = format!(
        "{} got {} {} flows that it did not answer from {} in {}{from}{size}",
        address(key.dst),
        spoken_count(silent.round()),
        proto_label(key.proto),
        spoken_sources(sources, key),
        spoken_secs(target.run.secs().min(TAU_SECS)),
    );
    let reached = Reached {
        kind: match (reflected, many) {
            (true, _) => "reflected_udp",
            (false, true) if !udp => "spoofed_ip",
            (false, true) => "spoofed_udp",
            (false, false) => "udp",
        },
        feature: "udp_silent_flows_10s",
        count: silent,
        threshold: settings.udp_flows_10s,
        unit: "flows",
        sources,
        sources_many: settings.sources_many,
        subject: subject_of(sources, key),
        reason,
    };
    Some(reached.into_finding(&target.run))
}

fn volume_finding(target: &mut Target, key: &FlowKey, settings: &FloodSettings, repeat_ns: u64) -> Option<Finding> {
    let udp = key.proto == wire::PROTO_UDP;
    let threshold = if udp { settings.udp_packets_10s } else { settings.icmp_packets_10s };
    if target.packets.peak() < threshold {
        return None;
    }
    let at_ns = target.run.last_ns;
    let packets = target.packets.value_at(at_ns, TAU_SECS);
    if packets < threshold || !target.run.pace.is_due(at_ns, packets, repeat_ns) {
        return None;
    }
    let sources = target.sources.count(at_ns).max(1.0);
    let (kind, name) = match key.proto {
        wire::PROTO_UDP => ("udp_volume", "UDP packets without an answer"),
        _ if sources >= settings.sources_many => ("spoofed_icmp", "ICMP packets"),
        _ => ("icmp", "ICMP packets"),
    };
    let reason = format!(
        "{} got {} {name} from {} in {}",
        address(key.dst),
        spoken_count(packets.round()),
        spoken_sources(sources, key),
        spoken_secs(target.run.secs().min(TAU_SECS)),
    );
    let reached = Reached {
        kind,
        feature: if udp { "udp_packets_10s" } else { "icmp_packets_10s" },
        count: packets,
        threshold,
        unit: "packets",
        sources,
        sources_many: settings.sources_many,
        subject: subject_of(sources, key),
        reason,
    };
    Some(reached.into_finding(&target.run))
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
    let reached = Reached {
        kind: "reflected_udp",
        feature: "unasked_answers_10s",
        count: answers,
        threshold: settings.answers_10s,
        unit: "packets",
        sources,
        sources_many: settings.sources_many,
        subject: Subject::Target { dst: key.dst },
        reason,
    };
    Some(reached.into_finding(&target.run))
}

fn alike_finding(target: &mut Target, key: &FlowKey, settings: &FloodSettings, repeat_ns: u64) -> Option<Finding> {
    let at_ns = target.run.last_ns;
    let alike = target.alike.value_at(at_ns, TAU_SECS);
    if alike < settings.udp_alike_10s || !target.run.pace.is_due(at_ns, alike, repeat_ns) {
        return None;
    }
    let sources = target.sources.count(at_ns).max(1.0);
    let reason = format!(
        "{} got one and the same datagram {} times from {} in {}, and did not answer",
        address(key.dst),
        spoken_count(alike.round()),
        spoken_sources(sources, key),
        spoken_secs(target.run.secs().min(TAU_SECS)),
    );
    let reached = Reached {
        kind: "udp_repeated",
        feature: "udp_alike_10s",
        count: alike,
        threshold: settings.udp_alike_10s,
        unit: "packets",
        sources,
        sources_many: settings.sources_many,
        subject: if is_several(sources) {
            Subject::Target { dst: key.dst }
        } else {
            Subject::Service { src: key.src, dst: key.dst, dst_port: key.dst_port, proto: key.proto }
        },
        reason,
    };
    Some(reached.into_finding(&target.run))
}
