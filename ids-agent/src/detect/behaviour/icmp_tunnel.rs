//! Tunnels through ICMP: echoes that do not give back what was sent, that carry packets, or that carry far more than
//! anyone pings.
//!
//! Looks at one flow at a time and keeps nothing: an echo has to return the very bytes of its request, so a few
//! packets are proof enough.

use ids_common::{flow::FlowSlot, wire};

use super::{Class, Finding, Severity, Sight, Statement, Subject, address, evidence, track::Run};
use crate::payload::ByteFacts;

/// Fewer packets may be a curious ping.
const PACKETS_MIN: u64 = 6;
const ECHO: u16 = 8;
const ECHO_REPLY: u16 = 0;
const ECHO_6: u16 = 128;
const ECHO_REPLY_6: u16 = 129;
/// Network and ICMP headers in front of the payload.
const HEADERS: u16 = 28;
const HEADERS_6: u16 = 48;
/// First bytes that known tunnels write: ptunnel, hans.
const MAGICS: [&[u8]; 3] = [&[0xd5, 0x20, 0x08, 0x80], b"hanc", b"hans"];
/// So much, at such a pace and in such packets, is data: the largest ping of Ethernet is 1,472 bytes a second. What
/// comes quicker than the last is a flood.
const CARRIED_BYTES_MIN: f64 = 100_000.0;
const CARRIED_BYTES_PER_SEC: f64 = 5_000.0;
const CARRIED_PACKET_BYTES: f64 = 128.0;
const CARRIED_PACKETS_PER_SEC_MAX: f64 = 90.0;

/// What is odd about the echoes of a flow.
struct Oddity {
    class: Class,
    kind: &'static str,
    severity: Severity,
    score: f32,
    what: String,
    feature: &'static str,
    value: f64,
    normal_high: f64,
    unit: &'static str,
}

/// Looks at a flow, and notes in its mark that it was told.
pub(super) fn see(sight: &mut Sight<'_>, findings: &mut Vec<Finding>) {
    let record = sight.record;
    let key = &record.key;
    let headers = match (key.proto, key.src_port) {
        (wire::PROTO_ICMP, ECHO | ECHO_REPLY) => HEADERS,
        (wire::PROTO_ICMPV6, ECHO_6 | ECHO_REPLY_6) => HEADERS_6,
        _ => return,
    };
    if sight.mark.tunnel || record.packets() < PACKETS_MIN || key.is_later_fragment() {
        return;
    }
    let Some(odd) = carries_packets(sight, headers).or_else(|| grows(sight)).or_else(|| carries_much(sight)) else {
        return;
    };
    sight.mark.tunnel = true;
    let statement = Statement {
        class: odd.class,
        kind: odd.kind,
        score: odd.score,
        severity: odd.severity,
        subject: Subject::Flow { id: record.id },
        reason: format!(
            "{} and {} exchange {} ICMP echoes that {}",
            address(key.src),
            address(key.dst),
            record.packets(),
            odd.what,
        ),
        evidence: vec![evidence(odd.feature, odd.value, odd.normal_high, odd.unit)],
    };
    let mut run = Run::new(record.start_ns, *key, record.id);
    run.last_ns = record.end_ns;
    findings.push(statement.into_finding(&run));
}

fn carries_packets(sight: &Sight<'_>, headers: u16) -> Option<Oddity> {
    let (record, payload) = (sight.record, sight.payload);
    let inside = is_packet(&payload.forward, &record.forward, headers)
        || record.backward.as_ref().is_some_and(|slot| is_packet(&payload.backward, slot, headers));
    inside.then(|| Oddity {
        class: Class::DnsTunnel,
        kind: "icmp_echo",
        severity: Severity::High,
        score: 0.95,
        what: "carry packets of another protocol".to_owned(),
        feature: "icmp_packets",
        value: record.packets() as f64,
        normal_high: 0.0,
        unit: "packets",
    })
}

/// Whether the first sample begins like an IP packet that fills it, or like a known tunnel.
fn is_packet(bytes: &ByteFacts, slot: &FlowSlot, headers: u16) -> bool {
    let [first, _, high, low, high_6, low_6, ..] = bytes.first;
    let [size, ..] = slot.first_sizes;
    let size = size.saturating_sub(headers);
    let length = match first {
        0x45 => u16::from_be_bytes([high, low]),
        0x60..=0x6f => u16::from_be_bytes([high_6, low_6]).saturating_add(40),
        _ => 0,
    };
    bytes.bytes >= 20 && ((size >= 20 && length == size) || MAGICS.iter().any(|magic| bytes.first.starts_with(magic)))
}

fn grows(sight: &Sight<'_>) -> Option<Oddity> {
    let record = sight.record;
    // A flow that went on while the agent was away may seem to begin with the answer.
    let (requests, replies) = match (&record.forward, record.backward.as_ref()?) {
        (answers, requests) if matches!(record.key.src_port, ECHO_REPLY | ECHO_REPLY_6) => (requests, answers),
        (requests, answers) => (requests, answers),
    };
    (replies.packets >= PACKETS_MIN && replies.len_max > requests.len_max).then(|| Oddity {
        class: Class::DnsTunnel,
        kind: "icmp_echo",
        severity: Severity::High,
        score: 0.8,
        what: format!("give back up to {} bytes where at most {} were sent", replies.len_max, requests.len_max),
        feature: "icmp_reply_bytes_max",
        value: f64::from(replies.len_max),
        normal_high: f64::from(requests.len_max),
        unit: "bytes",
    })
}

fn carries_much(sight: &Sight<'_>) -> Option<Oddity> {
    let forward = &sight.record.forward;
    let (bytes, packets) = (forward.payload_bytes as f64, forward.packets as f64);
    let secs = (forward.last_seen_ns.saturating_sub(forward.first_seen_ns) as f64 / 1e9).max(1.0);
    let much = bytes >= CARRIED_BYTES_MIN && bytes >= CARRIED_BYTES_PER_SEC * secs;
    let odd = much && bytes >= CARRIED_PACKET_BYTES * packets && packets <= CARRIED_PACKETS_PER_SEC_MAX * secs;
    odd.then(|| Oddity {
        class: Class::Exfiltration,
        kind: "icmp_volume",
        severity: Severity::Medium,
        score: 0.7,
        what: format!("carried {:.0} kB out in {secs:.0} s", bytes / 1e3),
        feature: "icmp_payload_bytes",
        value: bytes,
        normal_high: CARRIED_BYTES_MIN,
        unit: "bytes",
    })
}
