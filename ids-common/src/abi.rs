//! The layout that the kernel program and the agent share, its version, and the assertions that
//! keep both honest.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{
    counter::COUNTERS,
    flow::{FlowKey, FlowSlot},
    limits::{IFINDEX_BUCKETS, WAYS},
    sample::{EvictedSlot, SampleHeader},
};

/// Changes with every change of a shared type or of its meaning. The object carries it in the
/// global `ABI`, and the agent refuses an object or a pinned map of another version.
pub const ABI_VERSION: u32 = 1;

/// One set of the flow table: an element of the array map `FLOWS`, at
/// `cpu * sets_per_cpu + (hash & (sets_per_cpu - 1))`.
///
/// Tags and sequence counts fill the first cache line, so that a miss touches nothing else.
#[derive(Clone, Copy, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C, align(8))]
pub struct FlowSet {
    /// Upper half of each key's hash, with bit 0 set; zero is an empty slot.
    pub tags: [u32; WAYS],
    /// Odd while the slot is written; changes with every write.
    pub sequences: [u32; WAYS],
    pub pad: [u64; 4],
    pub slots: [FlowSlot; WAYS],
}

/// A CPU's row of counters: an element of the array map `COUNTERS`.
#[derive(Clone, Copy, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C, align(8))]
pub struct CounterRow {
    pub values: [u64; COUNTERS],
}

/// What the agent may change while the programs run: the only element of the array map `SETTINGS`.
#[derive(Clone, Copy, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C, align(8))]
pub struct Settings {
    /// User space has read the last state of every slot last seen before this time, so such a
    /// slot is overwritten without a trip through the ring.
    pub swept_before_ns: u64,
    /// A direction silent for longer begins a new slot. This is not the flow's idle timeout but
    /// the shortest silence that can end a flow (`closed_linger_secs`), so that no slot spans two
    /// flows; the agent merges the slots of one flow again.
    pub slot_silence_ns: u64,
    /// Payload packets sampled of each slot; zero turns sampling off.
    pub sample_packets: u32,
    /// Bytes kept of each sampled payload.
    pub sample_bytes: u32,
    /// Interface index for the flow key, by `ifindex % IFINDEX_BUCKETS`.
    pub interfaces: [u8; IFINDEX_BUCKETS],
}

const _: () = {
    assert!(size_of::<FlowKey>() == 40);
    assert!(size_of::<FlowSlot>() == 192);
    assert!(core::mem::offset_of!(FlowSlot, bytes) == 64);
    assert!(core::mem::offset_of!(FlowSlot, first_flags) == 128);
    assert!(size_of::<FlowSet>() == 64 + WAYS * 192);
    assert!(core::mem::offset_of!(FlowSet, slots) == 64);
    assert!(size_of::<CounterRow>() == 8 * COUNTERS);
    assert!(size_of::<SampleHeader>() == 72);
    assert!(size_of::<EvictedSlot>() == 200);
    assert!(size_of::<Settings>() == 24 + IFINDEX_BUCKETS);
};
