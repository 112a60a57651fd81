//! Where flow slots and payload samples come from: the kernel's table or a capture file.
//!
//! A source delivers batches, one per tick of its time axis, or several where a flood fills it. All that stands behind a source is
//! the same for both, so live and replay cannot differ but here.

use ids_common::{
    counter::{COUNTERS, COUNTERS_NAMED, Counter, Skip},
    flow::{FlowKey, FlowSlot},
};

use crate::{budget::Effort, eve::EveEvent};

pub mod blind;
pub mod eve;
pub mod live;
pub mod packets;
pub mod pcap;
pub mod told;

/// What a source saw of one slot by the end of a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotState {
    /// The slot is still in the table: its statistics are cumulative since `first_seen_ns`, and a
    /// later batch may bring a newer snapshot of it.
    Open,
    /// The slot left the table: this is its last state.
    Closed,
}

/// One direction's slot in a batch.
#[derive(Clone, Copy, Debug)]
pub struct SlotUpdate {
    /// Partition of the table. Slots of one key on several CPUs are separate and merge in `flow`.
    pub cpu: u32,
    pub state: SlotState,
    pub slot: FlowSlot,
}

/// One sampled payload. Its bytes are `batch.payloads[payload_start..][..captured]`.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    pub key: FlowKey,
    pub seen_ns: u64,
    /// Which record of the key it belongs to.
    pub slot_first_seen_ns: u64,
    /// Payload bytes of the packet on the wire.
    pub payload_len: u32,
    /// Which payload packet of its slot it is, from zero.
    pub index: u32,
    pub payload_start: u32,
    pub captured: u32,
}

/// Everything that changed in one tick. Reused from tick to tick.
#[derive(Debug, Default)]
pub struct Batch {
    /// The tick: every packet seen before it is in this batch or in an earlier one.
    pub now_ns: u64,
    /// How much is given up from this tick on; a capture's batches give up nothing unless asked to.
    pub effort: Effort,
    /// Changed slots. A key and CPU may appear several times, in time order of the slots.
    pub slots: Vec<SlotUpdate>,
    pub samples: Vec<Sample>,
    pub payloads: Vec<u8>,
    /// What Suricata said of flows, in the order it said it; late by seconds or minutes. Times are on the axis of the batch.
    pub eve: Vec<EveEvent>,
    /// How far it was read by then: once the batch is judged, so is all up to here.
    pub eve_mark: u64,
    /// Running totals of the source since it started.
    pub totals: Totals,
}

impl Batch {
    pub fn clear(&mut self) {
        self.slots.clear();
        self.samples.clear();
        self.payloads.clear();
        self.eve.clear();
    }

    pub fn payload(&self, sample: &Sample) -> &[u8] {
        let start = sample.payload_start as usize;
        self.payloads.get(start..start + sample.captured as usize).unwrap_or(&[])
    }
}

/// Counters of a source, summed over CPUs; the layout of a kernel counter row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Totals {
    values: [u64; COUNTERS],
}

impl Default for Totals {
    fn default() -> Self {
        Self { values: [0; COUNTERS] }
    }
}

impl Totals {
    pub fn counter(&self, counter: Counter) -> u64 {
        self.values.get(counter.index()).copied().unwrap_or(0)
    }

    pub fn skipped(&self, skip: Skip) -> u64 {
        self.values.get(skip.index()).copied().unwrap_or(0)
    }

    pub fn skipped_all(&self) -> u64 {
        self.values.iter().skip(COUNTERS_NAMED).sum()
    }

    /// Slots and samples that the ring had no room for.
    pub fn records_lost(&self) -> u64 {
        self.counter(Counter::SlotsLost).saturating_add(self.counter(Counter::SamplesLost))
    }

    pub fn add(&mut self, counter: Counter, by: u64) {
        if let Some(value) = self.values.get_mut(counter.index()) {
            *value += by;
        }
    }

    pub fn add_skip(&mut self, skip: Skip) {
        if let Some(value) = self.values.get_mut(skip.index()) {
            *value += 1;
        }
    }

    /// Adds one CPU's row.
    pub fn add_row(&mut self, row: &[u64; COUNTERS]) {
        for (value, more) in self.values.iter_mut().zip(row) {
            *value += more;
        }
    }
}

/// What `next_batch` has to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The batch holds some of a tick that is too much for one batch: its `now_ns` is still that of the tick before.
    Part,
    /// The batch holds one tick, or the rest of it.
    Tick,
    /// The batch holds the last tick: every slot in it is closed.
    End,
}

/// A live table or a file.
pub trait FlowSource {
    type Error: std::error::Error + Send + Sync + 'static;

    /// Gives up, or takes back, what an effort says of samples and ticks. A capture has been sampled already.
    fn ease(&mut self, _effort: Effort) {}

    /// Clears `batch` and fills it with the next tick, or with the next part of one.
    fn next_batch(&mut self, batch: &mut Batch) -> Result<Progress, Self::Error>;
}
