//! Tunnels through ICMP: echoes that do not give back what was sent, or that carry packets.
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
    // A flow that went on while the agent was away may seem to begin with the answer.
    let answers_first = matches!(key.src_port, ECHO_REPLY | ECHO_REPLY_6);
    let (requests, replies) = match (&record.forward, &record.backward) {
        (answers, requests) if answers_first => (requests.as_ref(), Some(answers)),
        (requests, answers) => (Some(requests), answers.as_ref()),
    };
    let inside = carries_packets(&sight.payload.forward, &record.forward, headers)
        || record.backward.as_ref().is_some_and(|slot| carries_packets(&sight.payload.backward, slot, headers));
    let grown = match (requests, replies) {
        (Some(requests), Some(replies)) if replies.packets >= PACKETS_MIN => {
            (replies.len_max > requests.len_max).then_some((requests.len_max, replies.len_max))
        }
        _ => None,
    };
    let (what, feature, value, normal_high) = match grown {
        _ if inside => ("carry packets of another protocol".to_owned(), "icmp_packets", record.packets() as f64, 0.0),
        Some((asked, got)) => (
            format!("give back up to {got} bytes where at most {asked} were sent"),
            "icmp_reply_bytes_max",
            f64::from(got),
            f64::from(asked),
        ),
        None => return,
    };
    sight.mark.tunnel = true;
    let statement = Statement {
        class: Class::DnsTunnel,
        kind: "icmp_echo",
        score: if inside { 0.95 } else { 0.8 },
        severity: Severity::High,
        subject: Subject::Flow { id: record.id },
        reason: format!(
            "{} and {} exchange {} ICMP echoes that {what}",
            address(key.src),
            address(key.dst),
            record.packets(),
        ),
        evidence: vec![evidence(feature, value, normal_high, if inside { "packets" } else { "bytes" })],
    };
    let mut run = Run::new(record.start_ns, *key, record.id);
    run.last_ns = record.end_ns;
    findings.push(statement.into_finding(&run));
}

/// Whether the first sample begins like an IP packet that fills it, or like a known tunnel.
fn carries_packets(bytes: &ByteFacts, slot: &FlowSlot, headers: u16) -> bool {
    let [first, _, length @ .., _, _] = bytes.first;
    let size = slot.first_sizes.first().copied().unwrap_or(0).saturating_sub(headers);
    let [high, low, high_6, low_6] = length;
    let length = match first {
        0x45 => u16::from_be_bytes([high, low]),
        0x60..=0x6f => u16::from_be_bytes([high_6, low_6]).saturating_add(40),
        _ => 0,
    };
    bytes.bytes >= 20 && ((size >= 20 && length == size) || MAGICS.iter().any(|magic| bytes.first.starts_with(magic)))
}
