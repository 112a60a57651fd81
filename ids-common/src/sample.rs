//! What crosses the ring buffer: payload samples and evicted slots, each behind a kind word.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::flow::{FlowKey, FlowSlot};

/// First word of a ring record.
pub const KIND_SAMPLE: u32 = 1;
pub const KIND_SLOT: u32 = 2;

/// Header of a payload sample; `captured` bytes of payload follow, then padding to the class size.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C, align(8))]
pub struct SampleHeader {
    pub kind: u32,
    /// Bytes of payload behind the header.
    pub captured: u32,
    pub key: FlowKey,
    pub seen_ns: u64,
    /// `first_seen_ns` of the slot the packet was counted in: tells records of one key apart.
    pub slot_first_seen_ns: u64,
    /// Payload bytes of the packet.
    pub payload_len: u32,
    /// Which payload packet of its slot this is, from zero.
    pub index: u32,
}

/// A slot that left the table before user space had seen its last state.
#[derive(Clone, Copy, Debug, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C, align(8))]
pub struct EvictedSlot {
    pub kind: u32,
    pub cpu: u32,
    pub slot: FlowSlot,
}
