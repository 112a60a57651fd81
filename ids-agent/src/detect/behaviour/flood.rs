//! Floods: more packets or beginnings towards one target than it can be meant to serve, from one source, from
//! many, or bounced off reflectors.

use ids_common::{flow::FlowKey, wire};

use super::{Attempt, Class, Finding, Keyed, Severity, Sight, Statement, Subject, address, evidence, is_group};
use crate::config::BehaviourSettings;

mod tcp;
mod volume;

use super::track::{Run, SEC, score, spoken_count};

const TAU_SECS: f64 = 10.0;
const WINDOWS_SECS: [u64; 2] = [10, 60];
/// A flood is another one after so long a silence.
const SILENCE_NS: u64 = 30 * SEC;
/// Beginnings on one port from which on they are a flood of it and no search for open ports.
pub(super) const TRIES_PER_PORT: f64 = 8.0;

pub(super) struct Floods {
    tcp: tcp::Beginnings,
    volume: volume::Volumes,
}

impl Floods {
    pub(super) fn new(settings: &BehaviourSettings, keyed: &Keyed) -> Self {
        Self { tcp: tcp::Beginnings::new(settings, keyed), volume: volume::Volumes::new(settings, keyed) }
    }

    pub(super) fn evicted(&self) -> u64 {
        self.tcp.evicted() + self.volume.evicted()
    }

    /// The beginning of a flow has come to something.
    pub(super) fn attempt(&mut self, attempt: &Attempt, findings: &mut Vec<Finding>) {
        if is_group(attempt.key.dst) {
            return;
        }
        match attempt.key.proto {
            wire::PROTO_TCP => self.tcp.attempt(attempt, findings),
            wire::PROTO_ICMP | wire::PROTO_ICMPV6 => {}
            _ => self.volume.attempt(attempt, findings),
        }
    }

    /// A flow has grown.
    pub(super) fn grow(&mut self, sight: &Sight<'_>, findings: &mut Vec<Finding>) {
        if sight.forward_packets > 0 && !is_group(sight.record.key.dst) {
            self.volume.grow(sight, findings);
        }
    }
}

/// A flood that has reached its threshold.
struct Reached {
    kind: &'static str,
    feature: &'static str,
    count: f64,
    threshold: f64,
    unit: &'static str,
    sources: f64,
    sources_many: f64,
    subject: Subject,
    reason: String,
}

impl Reached {
    fn into_finding(self, run: &Run) -> Finding {
        let statement = Statement {
            class: Class::Flood,
            kind: self.kind,
            score: score(self.count, self.threshold),
            severity: Severity::High,
            subject: self.subject,
            reason: self.reason,
            evidence: vec![
                evidence(self.feature, self.count, self.threshold, self.unit),
                evidence("sources_10s", self.sources, self.sources_many, "hosts"),
            ],
        };
        statement.into_finding(run)
    }
}

/// Sources are counted, not kept: where there are several, the flood is their target's.
fn is_several(sources: f64) -> bool {
    sources >= 1.5
}

fn subject_of(sources: f64, key: &FlowKey) -> Subject {
    if is_several(sources) { Subject::Target { dst: key.dst } } else { Subject::Pair { src: key.src, dst: key.dst } }
}

fn spoken_sources(sources: f64, key: &FlowKey) -> String {
    if is_several(sources) { format!("{} sources", spoken_count(sources)) } else { address(key.src).to_string() }
}
