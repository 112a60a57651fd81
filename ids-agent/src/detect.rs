//! Judges flows: detectors give findings, the engine joins them into verdicts and alerts.
//!
//! Pure: no clock, no I/O, no tasks. The same batches give the same alerts in the same order.

use ids_common::flow::FlowKey;
use serde::Serialize;

use crate::{features::FeatureVector, flow::FlowRecord, payload::PayloadFacts};

/// What a flow, or a host's conduct, is taken for (`docs/detection.md`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    Benign,
    PortScan,
    Flood,
    AppDos,
    BruteForce,
    WebAttack,
    C2,
    DnsTunnel,
    Exfiltration,
    Exploit,
    Infiltration,
    Anomaly,
}

/// Who says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Witness {
    Classifier,
    Anomaly,
    Behaviour,
}

/// EVE's scale: 1 is the highest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    High = 1,
    Medium = 2,
    Low = 3,
    Info = 4,
}

/// What a finding is about. Addresses are network order, IPv4 mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    Flow {
        id: u64,
    },
    Source {
        src: [u8; 16],
    },
    Target {
        dst: [u8; 16],
    },
    Pair {
        src: [u8; 16],
        dst: [u8; 16],
    },
    /// A source that works on one service of one target.
    Service {
        src: [u8; 16],
        dst: [u8; 16],
        dst_port: u16,
        proto: u8,
    },
}

/// One measured value that speaks for a finding, with the range that is normal for it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evidence {
    pub feature: &'static str,
    pub value: f64,
    pub normal_low: f64,
    pub normal_high: f64,
    pub unit: &'static str,
}

/// One witness's statement.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    pub witness: Witness,
    pub class: Class,
    /// Names the pattern within the class, in snake case: `syn_scan`, `ssh`, `spoofed`.
    pub kind: &'static str,
    /// Confidence, 0 to 1.
    pub score: f32,
    pub severity: Severity,
    pub subject: Subject,
    /// The flow that shows it best; alerts carry its addresses and community-id.
    pub exemplar: FlowKey,
    pub exemplar_id: u64,
    pub first_ns: u64,
    pub last_ns: u64,
    /// One plain sentence saying why.
    pub reason: String,
    pub evidence: Vec<Evidence>,
}

/// One flow that is up for judgement in this tick, with all that is known of it.
#[derive(Debug)]
pub struct Judged<'a> {
    pub record: &'a FlowRecord,
    pub features: &'a FeatureVector,
    pub payload: &'a PayloadFacts,
}

/// A witness. It sees every judged flow of a tick in a fixed order, then the tick itself.
pub trait Detector: Send {
    fn witness(&self) -> Witness;

    /// Looks at the flows of one tick and appends what it finds.
    fn judge(&mut self, flows: &[Judged<'_>], now_ns: u64, findings: &mut Vec<Finding>);
}
