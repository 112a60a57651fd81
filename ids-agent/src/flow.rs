//! Joins the slots of both directions into flow records. Pure: time comes with the batch.

use ids_common::flow::{FlowKey, FlowSlot};
use serde::Serialize;

/// Why a flow's last record was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FlowEnd {
    /// FIN in both directions.
    Fin,
    /// RST in either direction.
    Rst,
    /// Silence longer than the idle timeout.
    Idle,
    /// A new connection took the same key.
    Reused,
    /// The table of joined flows was full.
    Evicted,
    /// The source ended, or the agent stopped.
    Stopped,
}

/// Whether a record is the flow's last word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FlowState {
    /// A record of a flow that goes on; counts are cumulative.
    Open,
    Ended(FlowEnd),
}

/// A joined flow: cumulative statistics of both directions.
#[derive(Clone, Debug)]
pub struct FlowRecord {
    /// Names the flow within a run and on replay: derived from key and start.
    pub id: u64,
    /// The initiator's direction.
    pub key: FlowKey,
    pub forward: FlowSlot,
    pub backward: Option<FlowSlot>,
    pub start_ns: u64,
    pub end_ns: u64,
    pub state: FlowState,
}
