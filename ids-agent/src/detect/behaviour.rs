//! Judges hosts by their conduct: scans, sweeps, floods, slow denial of service, password guessing.
//!
//! Each flow is followed from first sight to end, and becomes events: an attempt that came to
//! something or not, growth, an end. The patterns in the files below count such events in bounded,
//! decaying trackers; every threshold is in `rules/behaviour.toml`. Time is the packets' own, so
//! it does not matter how flows are spread over ticks.

use std::{collections::VecDeque, fmt, hash::Hash, net::IpAddr, net::Ipv6Addr};

use foldhash::quality::FixedState;
use ids_common::{flow::FlowKey, wire};

use super::{
    Class, Detector, DetectorStats, Evidence, Finding, Judged, Severity, StateError, Subject, Witness, saved::AxisShift,
};
use crate::{
    bounded::{BoundedMap, Place, Squeeze},
    budget::Effort,
    config::BehaviourSettings,
    flow::{FlowRecord, FlowState},
    payload::{AppProto, PayloadFacts},
};

mod app_dos;
mod beacon;
mod bot;
mod brute_force;
mod device;
mod dns_tunnel;
mod flood;
mod icmp_tunnel;
mod names;
mod scan;
#[cfg(test)]
mod tests;
mod track;

use app_dos::AppDos;
use beacon::Beacons;
use bot::Bots;
use brute_force::BruteForce;
use device::Devices;
use dns_tunnel::DnsTunnel;
use flood::Floods;
use scan::Scans;
use track::Run;

/// Unanswered flows that wait for their grace to pass; beyond it the oldest count as silent early.
const WAITING_MAX: usize = 16_384;

/// What came of a flow's beginning, from worst to best. It can only get better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    /// No packet came back.
    Silent,
    /// RST came back before any payload.
    Refused,
    /// Something came back, but no payload went either way.
    Idle,
    /// Payload went and something came back.
    Engaged,
}

/// How a flow begins, as far as scanning goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Probe {
    Syn,
    /// SYN, and the handshake was completed.
    Connect,
    Fin,
    Null,
    Xmas,
    Ack,
    /// TCP that begins with RST and ACK: the answer to a question that was not seen, or came in fragments.
    Denial,
    /// TCP that begins with SYN and ACK: the consent to a connection that was not seen to be asked for.
    Consent,
    /// TCP that begins in the middle.
    Stray,
    Udp,
    Ping,
    Sctp,
    /// An IP protocol of its own, beside the common ones.
    Protocol,
    /// An ICMP request for timestamp, information or address mask.
    OddIcmp,
    /// Anything else: no one scans so.
    Other,
}

/// A flow whose beginning has come to something.
#[derive(Clone, Copy, Debug)]
struct Attempt {
    key: FlowKey,
    id: u64,
    at_ns: u64,
    probe: Probe,
    outcome: Outcome,
    /// What it was taken for before, where it was taken for worse.
    before: Option<Outcome>,
    /// TCP: the source never acknowledged anything.
    half_open: bool,
    ttl: u8,
    /// UDP: names the first datagram by its size and front, where it is of no known protocol.
    datagram: Option<u64>,
}

/// A flow up for judgement, with what is new about it.
struct Sight<'a> {
    record: &'a FlowRecord,
    payload: &'a PayloadFacts,
    ended: bool,
    /// The mark as it was before.
    before: Option<Mark>,
    mark: Mark,
    forward_packets: u64,
    forward_bytes: u64,
    /// Payload of the answers.
    backward_bytes: u64,
}

/// What was seen of a flow before. Each pattern notes here what it has counted of it.
#[derive(Clone, Copy, Debug)]
struct Mark {
    outcome: Option<Outcome>,
    /// The flow's attempt is among the waiting ones, which takes the mark away once its grace has passed.
    waits: bool,
    ended: bool,
    /// How far the flow had got.
    seen_ns: u64,
    forward_packets: u64,
    forward_bytes: u64,
    backward_bytes: u64,
    /// DNS questions and answers counted, sampled and in all, and whether the flow was told as a tunnel.
    asked: u8,
    answers: u8,
    questions: u64,
    tunnel: bool,
    /// Counted as a stalled connection, as a hoarded one, as a web request with credentials.
    stalled: bool,
    hoarded: bool,
    hoarded_mute: bool,
    requested: bool,
    slow_read: bool,
    handshake: bool,
    uploaded: bool,
    tried: bool,
    /// Logins in clear that were counted as failed.
    failures: u8,
}

/// The behaviour witness.
pub struct Behaviour {
    marks: BoundedMap<u64, Mark>,
    /// Over all of its tables.
    squeeze: Squeeze,
    /// Flows without an answer, in the order in which their grace ends.
    waiting: VecDeque<Attempt>,
    grace_ns: u64,
    scans: Scans,
    floods: Floods,
    app_dos: AppDos,
    brute_force: BruteForce,
    dns_tunnel: DnsTunnel,
    bots: Bots,
    beacons: Beacons,
    devices: Devices,
    stats: DetectorStats,
}

impl fmt::Debug for Behaviour {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Behaviour").field("stats", &self.stats).finish_non_exhaustive()
    }
}

impl Behaviour {
    /// `hash_seed` keys tables and sketches: a secret where traffic is live, fixed on replay.
    pub fn new(settings: &BehaviourSettings, hash_seed: u64) -> Self {
        let limits = &settings.limits;
        let squeeze = Squeeze::default();
        let hasher = FixedState::with_seed(hash_seed.rotate_left(17) ^ 0x510e_527f);
        let keyed = Keyed { seed: hash_seed, hasher, squeeze: squeeze.clone() };
        Self {
            marks: keyed.map(limits.flows_max),
            squeeze,
            waiting: VecDeque::new(),
            grace_ns: limits.grace_millis.saturating_mul(1_000_000),
            scans: Scans::new(settings, &keyed),
            floods: Floods::new(settings, &keyed),
            app_dos: AppDos::new(settings, &keyed),
            brute_force: BruteForce::new(settings, &keyed),
            dns_tunnel: DnsTunnel::new(settings, &keyed),
            bots: Bots::new(settings, &keyed),
            beacons: Beacons::new(settings, &keyed),
            devices: Devices::new(settings),
            stats: DetectorStats::default(),
        }
    }

    fn see(&mut self, judged: &Judged<'_>, findings: &mut Vec<Finding>) {
        let record = judged.record;
        let ended = matches!(record.state, FlowState::Ended(_));
        let place = self.marks.place(&record.id);
        let before = place.and_then(|place| self.marks.at(place)).copied();
        let forward = &record.forward;
        let backward_bytes = record.backward.as_ref().map_or(0, |backward| backward.payload_bytes);
        let mut mark = before.unwrap_or(Mark {
            outcome: None,
            waits: false,
            ended: false,
            seen_ns: record.start_ns,
            forward_packets: 0,
            forward_bytes: 0,
            backward_bytes: 0,
            asked: 0,
            answers: 0,
            questions: 0,
            tunnel: false,
            stalled: false,
            hoarded: false,
            hoarded_mute: false,
            requested: false,
            slow_read: false,
            handshake: false,
            uploaded: false,
            tried: false,
            failures: 0,
        });
        let mut sight = Sight {
            record,
            payload: judged.payload,
            ended,
            before,
            forward_packets: forward.packets.saturating_sub(mark.forward_packets),
            forward_bytes: forward.bytes.saturating_sub(mark.forward_bytes),
            backward_bytes: backward_bytes.saturating_sub(mark.backward_bytes),
            mark,
        };
        let outcome = outcome_of(record);
        if let Some(attempt) = self.resolve(&sight, outcome) {
            mark.outcome = Some(attempt.outcome);
            self.tell(&attempt, findings);
        }
        mark.waits |= before.is_none() && mark.outcome.is_none();
        mark.ended = ended;
        mark.seen_ns = record.end_ns;
        mark.forward_packets = forward.packets;
        mark.forward_bytes = forward.bytes;
        mark.backward_bytes = backward_bytes;
        sight.mark = mark;
        self.floods.grow(&sight, findings);
        self.app_dos.see(&mut sight, findings);
        self.brute_force.see(&mut sight, findings);
        self.dns_tunnel.see(&mut sight, findings);
        self.bots.see(&sight, findings);
        self.beacons.see(&sight, findings);
        self.devices.see(&mut sight, outcome, findings);
        icmp_tunnel::see(&mut sight, findings);
        if ended && !mark.waits {
            place.map(|place| self.marks.remove_at(place));
        } else {
            let hint = place.unwrap_or(Place::NOWHERE);
            let (_, noted) = self.marks.touch_or_insert_near(hint, &record.id, || sight.mark);
            *noted = sight.mark;
        }
    }

    /// Says what came of the flow's beginning, if that is settled now and was not, or is better than it was.
    fn resolve(&mut self, sight: &Sight<'_>, outcome: Outcome) -> Option<Attempt> {
        let attempt = || attempt_of(sight, outcome);
        match sight.mark.outcome {
            Some(before) if outcome > before => Some(Attempt { before: Some(before), ..attempt() }),
            Some(_) => None,
            // A refusal is final; so is a conversation; the rest may still come to something.
            None if sight.ended || matches!(outcome, Outcome::Refused | Outcome::Engaged) => Some(attempt()),
            None => {
                if sight.before.is_none() {
                    self.waiting.push_back(attempt());
                }
                None
            }
        }
    }

    /// Counts flows whose grace has passed as what they are by now.
    fn settle_waiting(&mut self, now_ns: u64, findings: &mut Vec<Finding>) {
        while let Some(first) = self.waiting.front() {
            if first.at_ns.saturating_add(self.grace_ns) > now_ns && self.waiting.len() <= WAITING_MAX {
                return;
            }
            let Some(attempt) = self.waiting.pop_front() else { return };
            let place = self.marks.place(&attempt.id).unwrap_or(Place::NOWHERE);
            let settled = match self.marks.at_mut(place) {
                Some(mark) => {
                    let settled = mark.outcome.replace(mark.outcome.unwrap_or(attempt.outcome)).is_some();
                    mark.waits = false;
                    if mark.ended {
                        self.marks.remove_at(place);
                    }
                    settled
                }
                // The mark had to go early, and with it what came later: silence is the likelier thing in a
                // table so full.
                None => false,
            };
            if !settled {
                self.tell(&attempt, findings);
            }
        }
    }

    fn tell(&mut self, attempt: &Attempt, findings: &mut Vec<Finding>) {
        match attempt.datagram {
            Some(datagram) => {
                self.scans.attempt_on_pair(attempt, findings);
                self.bots.announce(attempt, datagram, findings);
            }
            None => {
                self.scans.attempt(attempt, findings);
                self.bots.recruit(attempt, findings);
            }
        }
        self.floods.attempt(attempt, findings);
    }
}

impl Detector for Behaviour {
    fn witness(&self) -> Witness {
        Witness::Behaviour
    }

    fn ease(&mut self, effort: Effort) {
        self.squeeze.set(effort.tables.halvings());
    }

    fn judge(&mut self, flows: &[Judged<'_>], now_ns: u64, findings: &mut Vec<Finding>) {
        let before = findings.len();
        for judged in flows {
            self.see(judged, findings);
        }
        self.settle_waiting(now_ns, findings);
        self.stats.judged += flows.len() as u64;
        self.stats.findings += (findings.len() - before) as u64;
    }

    /// What a device does while something of weight is said of it is not taken for usual.
    fn learn(&mut self, findings: &[Finding]) {
        for finding in findings.iter().filter(|finding| finding.severity <= Severity::Medium) {
            self.devices.taint(finding.exemplar.src);
        }
    }

    fn state_name(&self) -> Option<&'static str> {
        Some(device::STATE)
    }

    fn save(&self, _now_ns: u64, out: &mut Vec<u8>) {
        self.devices.save(out);
    }

    fn restore(&mut self, saved: &[u8], shift: AxisShift) -> Result<(), StateError> {
        self.devices.restore(saved, shift)
    }

    fn stats(&self) -> DetectorStats {
        let forgotten = self.marks.evicted()
            + self.scans.evicted()
            + self.floods.evicted()
            + self.app_dos.evicted()
            + self.brute_force.evicted()
            + self.dns_tunnel.evicted()
            + self.bots.evicted()
            + self.beacons.evicted()
            + self.devices.evicted();
        DetectorStats { forgotten, ..self.stats }
    }
}

fn outcome_of(record: &FlowRecord) -> Outcome {
    let forward = &record.forward;
    let Some(backward) = record.backward.as_ref().filter(|backward| backward.packets > 0) else {
        return Outcome::Silent;
    };
    if forward.payload_bytes + backward.payload_bytes > 0 && probe_of(record) != Probe::OddIcmp {
        // Data on a SYN, or on a probe, that is met by RST alone is no conversation.
        let reset = backward.rst > 0 && u64::from(backward.rst) == backward.packets;
        return if reset { Outcome::Refused } else { Outcome::Engaged };
    }
    match record.key.proto {
        wire::PROTO_TCP if backward.rst > 0 && backward.syn == 0 => Outcome::Refused,
        wire::PROTO_TCP => Outcome::Idle,
        // An answer to a fingerprint makes it none the better.
        _ if probe_of(record) == Probe::OddIcmp => Outcome::Idle,
        _ => Outcome::Engaged,
    }
}

fn attempt_of(sight: &Sight<'_>, outcome: Outcome) -> Attempt {
    let record = sight.record;
    let forward = &record.forward;
    Attempt {
        key: record.key,
        id: record.id,
        at_ns: record.start_ns,
        probe: probe_of(record),
        outcome,
        before: None,
        half_open: forward.syn > 0 && forward.ack == 0,
        ttl: forward.ttl_max,
        datagram: datagram_of(sight),
    }
}

/// Scanners ask for services; what no one knows, at a port of no service, is a protocol of its own.
fn datagram_of(sight: &Sight<'_>) -> Option<u64> {
    let (key, bytes) = (&sight.record.key, &sight.payload.forward);
    let unknown = key.proto == wire::PROTO_UDP && sight.payload.app == AppProto::Unknown && bytes.bytes > 0;
    if !unknown || scan::is_service_port(key.dst_port) || key.src_port < 1_024 {
        return None;
    }
    let [size, ..] = sight.record.forward.first_sizes;
    Some(u64::from_be_bytes(bytes.first) ^ u64::from(size).rotate_right(16))
}

fn probe_of(record: &FlowRecord) -> Probe {
    use wire::{TCP_ACK, TCP_FIN, TCP_PSH, TCP_RST, TCP_SYN, TCP_URG};
    const ECHO: u16 = 8;
    const ECHO_6: u16 = 128;
    let (key, forward) = (&record.key, &record.forward);
    if key.is_later_fragment() {
        return Probe::Other;
    }
    match key.proto {
        wire::PROTO_TCP => {
            let kinds = TCP_SYN | TCP_ACK | TCP_FIN | TCP_RST | TCP_PSH | TCP_URG;
            match forward.first_flags & kinds {
                flags if flags & (TCP_SYN | TCP_ACK | TCP_RST) == TCP_SYN => {
                    if forward.ack > 0 {
                        Probe::Connect
                    } else {
                        Probe::Syn
                    }
                }
                0 if forward.payload_bytes == 0 => Probe::Null,
                TCP_FIN if forward.payload_bytes == 0 => Probe::Fin,
                flags if flags == TCP_RST | TCP_ACK && forward.payload_bytes == 0 => Probe::Denial,
                flags if flags & (TCP_SYN | TCP_ACK | TCP_RST) == TCP_SYN | TCP_ACK => Probe::Consent,
                flags if flags == TCP_FIN | TCP_PSH | TCP_URG && forward.payload_bytes == 0 => Probe::Xmas,
                TCP_ACK if forward.payload_bytes == 0 && forward.packets <= 2 => Probe::Ack,
                _ => Probe::Stray,
            }
        }
        wire::PROTO_UDP => Probe::Udp,
        wire::PROTO_SCTP => Probe::Sctp,
        wire::PROTO_ICMP if key.src_port == ECHO => Probe::Ping,
        wire::PROTO_ICMPV6 if key.src_port == ECHO_6 => Probe::Ping,
        wire::PROTO_ICMP if matches!(key.src_port, 13 | 15 | 17) => Probe::OddIcmp,
        // Tunnels, routing and multicast management are at home in networks.
        wire::PROTO_ICMP | wire::PROTO_ICMPV6 | wire::PROTO_GRE | 2 | 50 | 51 | 88 | 89 | 103 | 112 => Probe::Other,
        _ => Probe::Protocol,
    }
}

/// The secret that tables and sketches are keyed with.
#[derive(Clone)]
struct Keyed {
    seed: u64,
    hasher: FixedState,
    squeeze: Squeeze,
}

impl Keyed {
    fn map<K: Hash + Eq + Clone, V>(&self, entries_max: usize) -> BoundedMap<K, V> {
        BoundedMap::new(entries_max, self.seed).squeezed(&self.squeeze)
    }
}

/// What a pattern has to say; the rest of a `Finding` comes from its run.
struct Statement {
    class: Class,
    kind: &'static str,
    score: f32,
    severity: Severity,
    subject: Subject,
    reason: String,
    evidence: Vec<Evidence>,
}

impl Statement {
    fn into_finding(self, run: &Run) -> Finding {
        Finding {
            witness: Witness::Behaviour,
            class: self.class,
            kind: self.kind,
            score: self.score,
            severity: self.severity,
            subject: self.subject,
            exemplar: run.exemplar,
            exemplar_id: run.exemplar_id,
            first_ns: run.first_ns,
            last_ns: run.last_ns,
            reason: self.reason,
            evidence: self.evidence,
            matched: None,
        }
    }
}

/// A count that stays below `normal_high` in ordinary traffic.
fn evidence(feature: &'static str, value: f64, normal_high: f64, unit: &'static str) -> Evidence {
    Evidence { feature, value, normal_low: 0.0, normal_high, unit }
}

/// An address as written: IPv4 out of its mapping.
fn address(bytes: [u8; 16]) -> IpAddr {
    Ipv6Addr::from(bytes).to_canonical()
}

/// Whether an address is one of the house: private, shared, link-local or of this host.
pub(super) fn is_inside(bytes: [u8; 16]) -> bool {
    match address(bytes) {
        IpAddr::V4(v4) => {
            let shared = matches!(v4.octets(), [100, 64..=127, ..]);
            v4.is_private() || v4.is_link_local() || v4.is_loopback() || shared
        }
        IpAddr::V6(v6) => v6.is_unique_local() || v6.is_unicast_link_local() || v6.is_loopback(),
    }
}

/// Whether an address stands for many hosts: multicast, or IPv4's limited broadcast.
fn is_group(bytes: [u8; 16]) -> bool {
    match bytes {
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, first, .., last] => first & 0xf0 == 0xe0 || last == 255,
        [first, ..] => first == 0xff,
    }
}
