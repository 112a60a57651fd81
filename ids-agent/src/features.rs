//! Feature vectors: what a flow record, its hosts' windows and its payload say as numbers. Pure.

use crate::{flow::FlowRecord, payload::PayloadFacts};

pub mod window;

use window::WindowFacts;

/// Length of a feature vector.
pub const FEATURES: usize = 1;

/// One flow as numbers, in the order of `SCHEMA`; never NaN, never infinite.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FeatureVector {
    pub values: [f32; FEATURES],
}

/// Computes the feature vector of a record.
pub fn extract(record: &FlowRecord, _window: &WindowFacts, _payload: &PayloadFacts) -> FeatureVector {
    FeatureVector { values: [record.forward.packets as f32] }
}
