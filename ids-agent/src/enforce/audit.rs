//! The audit's lines: one JSON object for each block that is added, refused, removed, taken back, or ends.

use ids_common::block::BlockKey;
use serde::Serialize;

use super::{By, Event, Listed, never::shown};
use crate::clock::{Timestamp, WallOffset};

/// How a block is written, in the audit and in answers of the control socket.
#[derive(Debug, Serialize)]
struct AuditLine<'a> {
    timestamp: String,
    event_type: &'static str,
    action: &'static str,
    dry_run: bool,
    source: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    by: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    spared: Option<&'static str>,
    reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<Cause<'a>>,
    #[serde(skip_serializing_if = "is_zero")]
    offence: u32,
    packets: u64,
    bytes: u64,
}

#[derive(Debug, Serialize)]
struct Cause<'a> {
    incident: u64,
    class: &'a str,
    kind: &'a str,
    severity: u8,
    confidence: f32,
    witnesses: &'a [&'static str],
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(value: &u32) -> bool {
    *value == 0
}

/// Whether anything is really dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    Real,
    Dry,
}

/// One line, line end included.
pub fn line(event: &Event, effect: Effect, offset: WallOffset) -> Vec<u8> {
    use super::Refusal;
    let spared = match event.refusal {
        Some(Refusal::Never(why)) => Some(why.label()),
        Some(_) | None => None,
    };
    let line = AuditLine {
        timestamp: time(offset.wall(event.at_ns)),
        event_type: "block",
        action: event.action.label(),
        dry_run: effect == Effect::Dry,
        source: shown(&event.key.src).to_string(),
        target: target(&event.key),
        by: who(event.by),
        until: event.until_ns.map(|until_ns| time(offset.wall(until_ns))),
        refused: event.refusal.map(Refusal::label),
        spared,
        reason: &event.reason,
        cause: event.cause.as_deref().map(cause),
        offence: event.offence,
        packets: event.packets,
        bytes: event.bytes,
    };
    let mut bytes = serde_json::to_vec(&line).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

/// A block in force, for people and programs that ask.
pub fn listed(block: &Listed, now_ns: u64, offset: WallOffset) -> serde_json::Value {
    serde_json::json!({
        "source": shown(&block.key.src).to_string(),
        "target": target(&block.key),
        "by": who(block.by),
        "since": time(offset.wall(block.entry.placed_ns)),
        "until": time(offset.wall(block.entry.until_ns)),
        "seconds_left": block.entry.until_ns.saturating_sub(now_ns) / 1_000_000_000,
        "packets": block.entry.packets,
        "bytes": block.entry.bytes,
        "offence": block.offence,
        "reason": block.reason,
        "cause": block.cause.as_deref().map(cause),
    })
}

fn cause(proposal: &super::Proposal) -> Cause<'_> {
    Cause {
        incident: proposal.incident,
        class: proposal.class,
        kind: proposal.kind,
        severity: proposal.severity as u8,
        confidence: proposal.confidence,
        witnesses: &proposal.witnesses,
    }
}

fn target(key: &BlockKey) -> Option<String> {
    key.is_pair().then(|| shown(&key.dst).to_string())
}

fn who(by: By) -> String {
    match by {
        By::Verdict => "verdict".to_owned(),
        By::Person(uid) => format!("uid {uid}"),
        By::Agent => "agent".to_owned(),
    }
}

fn time(at: Timestamp) -> String {
    at.rfc3339().to_string()
}
