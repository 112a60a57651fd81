//! Feature vectors: what a flow record, its hosts' windows and its payload say as numbers. Pure.

use crate::{flow::FlowRecord, payload::PayloadFacts};

pub mod window;

use window::WindowFacts;

/// Length of a feature vector.
pub const FEATURES: usize = 1;

/// Describes one feature.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FeatureSpec {
    pub name: &'static str,
    pub unit: &'static str,
    pub low: f32,
    pub high: f32,
    pub doc: &'static str,
}

/// Every feature, in the order of the vector.
pub static SCHEMA: [FeatureSpec; FEATURES] =
    [FeatureSpec { name: "fwd_packets", unit: "packets", low: 0.0, high: 1e9, doc: "packets of the initiator" }];

/// Names the schema: models fit one only.
pub fn schema_hash() -> &'static str {
    "0"
}

/// One flow as numbers, in the order of `SCHEMA`; never NaN, never infinite.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FeatureVector {
    pub values: [f32; FEATURES],
}

/// Computes the feature vector of a record.
pub fn extract(record: &FlowRecord, _window: &WindowFacts, _payload: &PayloadFacts) -> FeatureVector {
    FeatureVector { values: [record.forward.packets as f32] }
}
