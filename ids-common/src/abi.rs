//! The layout that the kernel program and the agent share, its version, and the assertions that
//! keep both honest.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{
    block::{BlockEntry, BlockKey},
    counter::COUNTERS,
    flow::{FlowKey, FlowSlot},
    limits::{IFINDEX_BUCKETS, WAYS},
    sample::{EvictedSlot, SampleHeader},
};

/// Changes with every change of a shared type or of its meaning. The object carries it in the
/// global `ABI`, and the agent refuses an object or a pinned map of another version.
pub const ABI_VERSION: u32 = 4;

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
    pub sequences: [u64; WAYS],
    pub pad: [u64; 2],
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
    /// Slots begun before this time were told whole by an agent that ended in good order: a packet begins a new one.
    pub handed_over_ns: u64,
    /// Payload packets sampled of each slot; zero turns sampling off.
    pub sample_packets: u32,
    /// Bytes kept of each sampled payload.
    pub sample_bytes: u32,
    /// Payload packets from the beginning of a slot among which any are sampled: the first `sample_packets` whatever they
    /// hold, the others where they begin a message. Not below `sample_packets`.
    pub sample_among: u32,
    pub pad: u32,
    /// Entries of the map `BLOCKS` that name a source alone, and those that name a target too. While both are zero no
    /// packet looks into the map.
    pub block_sources: u32,
    pub block_pairs: u32,
    /// Interface index for the flow key, by `ifindex % IFINDEX_BUCKETS`.
    pub interfaces: [u8; IFINDEX_BUCKETS],
}

/// What an agent leaves to the next one beside pinned maps: the only element of the array map `HANDOVER`, which programs do
/// not read. Words are added at the end and never change their meaning, so that agents of all versions read it.
#[derive(Clone, Copy, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C, align(8))]
pub struct Handover {
    /// `ABI_VERSION` of the maps; zero until they are ready.
    pub abi_version: u64,
    /// Network namespace, by the inode of its file: indices of interfaces mean nothing in another.
    pub namespace: u64,
    /// Of the frames that the programs saw (the first word of every row of `COUNTERS`), how many had been read by the last
    /// sweep.
    pub packets_read: u64,
    /// Packets that no agent saw or read, since the maps were made and before.
    pub gap_packets: u64,
    /// The words of the `HashSecret` that places slots in `FLOWS`.
    pub secret: [u64; 6],
    pub pad: [u64; 6],
}

/// Time and wire length that a test dictates to the programs: the only element of the array map
/// `TEST`, which programs read only where the global `TEST_CLOCK` was set at load.
#[derive(Clone, Copy, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C, align(8))]
pub struct TestWords {
    pub now_ns: u64,
    /// Bytes the frame had on the wire; zero where the frame is whole.
    pub wire_len: u64,
    /// Mask of the random part of a source address, for `ids-bench kernel`.
    pub random_mask: u64,
    pub random_state: u64,
}

const _: () = {
    assert!(size_of::<TestWords>() == 32);
    assert!(size_of::<FlowKey>() == 40);
    assert!(size_of::<FlowSlot>() == 192);
    assert!(core::mem::offset_of!(FlowSlot, bytes) == 64);
    assert!(core::mem::offset_of!(FlowSlot, first_flags) == 128);
    assert!(size_of::<FlowSet>() == 64 + WAYS * 192);
    assert!(core::mem::offset_of!(FlowSet, slots) == 64);
    assert!(size_of::<CounterRow>() == 8 * COUNTERS);
    assert!(size_of::<SampleHeader>() == 72);
    assert!(size_of::<EvictedSlot>() == 200);
    assert!(size_of::<BlockKey>() == 32);
    assert!(size_of::<BlockEntry>() == 32);
    assert!(core::mem::offset_of!(Settings, block_sources).is_multiple_of(8));
    assert!(size_of::<Settings>() == 48 + IFINDEX_BUCKETS);
    assert!(size_of::<Handover>() == 128);
};

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that count up, so that a value tells its offset.
    fn ramp<const N: usize>() -> [u8; N] {
        core::array::from_fn(|at| at as u8)
    }

    /// The little-endian values whose bytes count up from `at`.
    fn u16_at(at: u8) -> u16 {
        u16::from_le_bytes([at, at + 1])
    }

    fn u32_at(at: u8) -> u32 {
        u32::from(u16_at(at)) | u32::from(u16_at(at + 2)) << 16
    }

    fn u64_at(at: u8) -> u64 {
        u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32
    }

    fn golden<T: FromBytes + IntoBytes + Immutable, const N: usize>() -> T {
        let bytes = ramp::<N>();
        let value = T::read_from_bytes(&bytes).ok();
        let value = value.unwrap_or_else(|| panic!("{} bytes, not {N}", size_of::<T>()));
        assert!(value.as_bytes() == bytes);
        value
    }

    #[test]
    fn a_flow_key_lies_as_written_down() {
        let key = golden::<FlowKey, 40>();
        assert_eq!((key.src[0], key.src[15], key.dst[0], key.dst[15]), (0, 15, 16, 31));
        assert_eq!((key.src_port, key.dst_port), (u16_at(32), u16_at(34)));
        assert_eq!((key.proto, key.kind, key.vlan), (36, 37, u16_at(38)));
    }

    #[test]
    fn a_flow_slot_lies_as_written_down() {
        let slot = golden::<FlowSlot, 192>();
        assert_eq!(slot.key, golden::<FlowKey, 40>());
        assert_eq!((slot.last_seen_ns, slot.first_seen_ns, slot.packets), (u64_at(40), u64_at(48), u64_at(56)));
        assert_eq!((slot.bytes, slot.payload_bytes), (u64_at(64), u64_at(72)));
        assert_eq!((slot.len_sumsq, slot.gap_sumsq), (u64_at(80), u64_at(88)));
        assert_eq!((slot.gap_min, slot.gap_max), (u32_at(96), u32_at(100)));
        assert_eq!((slot.payload_packets, slot.ack, slot.psh), (u32_at(104), u32_at(108), u32_at(112)));
        assert_eq!((slot.len_min, slot.len_max), (u16_at(116), u16_at(118)));
        assert_eq!((slot.fin, slot.syn, slot.rst), (u16_at(120), u16_at(122), u16_at(124)));
        assert_eq!((slot.ttl_min, slot.ttl_max), (126, 127));
        assert_eq!((slot.first_flags, slot.urg, slot.ece, slot.cwr), (128, 129, 130, 131));
        assert_eq!((slot.first_count, slot.restarted, slot.init_window), (132, 133, u16_at(134)));
        assert_eq!((slot.idle_count, slot.idle_sum, slot.idle_max), (u32_at(136), u32_at(140), u32_at(144)));
        assert_eq!((slot.first_gaps[0], slot.first_gaps[6]), (u32_at(148), u32_at(172)));
        assert_eq!((slot.first_sizes[0], slot.first_sizes[7]), (u16_at(176), u16_at(190)));
    }

    #[test]
    fn a_flow_set_lies_as_written_down() {
        // 832 bytes: the ramp wraps, so only what lies before its end is told apart.
        let set = golden::<FlowSet, { 64 + WAYS * 192 }>();
        assert_eq!((set.tags[0], set.tags[3]), (u32_at(0), u32_at(12)));
        assert_eq!((set.sequences[0], set.sequences[3]), (u64_at(16), u64_at(40)));
        assert_eq!(set.slots[0].key.src[0], 64);
        assert_eq!(set.slots[1].key.src[0], (64 + 192) as u8);
    }

    #[test]
    fn settings_lie_as_written_down() {
        let settings = golden::<Settings, { 48 + IFINDEX_BUCKETS }>();
        assert_eq!((settings.swept_before_ns, settings.slot_silence_ns), (u64_at(0), u64_at(8)));
        assert_eq!(settings.handed_over_ns, u64_at(16));
        assert_eq!((settings.sample_packets, settings.sample_bytes), (u32_at(24), u32_at(28)));
        assert_eq!((settings.sample_among, settings.pad), (u32_at(32), u32_at(36)));
        assert_eq!((settings.block_sources, settings.block_pairs), (u32_at(40), u32_at(44)));
        assert_eq!((settings.interfaces[0], settings.interfaces[255]), (48, 47));
    }

    #[test]
    fn a_handover_lies_as_written_down() {
        let handover = golden::<Handover, 128>();
        assert_eq!((handover.abi_version, handover.namespace), (u64_at(0), u64_at(8)));
        assert_eq!((handover.packets_read, handover.gap_packets), (u64_at(16), u64_at(24)));
        assert_eq!((handover.secret[0], handover.secret[5], handover.pad[0]), (u64_at(32), u64_at(72), u64_at(80)));
    }

    #[test]
    fn ring_records_lie_as_written_down() {
        let sample = golden::<SampleHeader, 72>();
        assert_eq!((sample.kind, sample.captured, sample.key.src[0]), (u32_at(0), u32_at(4), 8));
        assert_eq!((sample.seen_ns, sample.slot_first_seen_ns), (u64_at(48), u64_at(56)));
        assert_eq!((sample.payload_len, sample.index), (u32_at(64), u32_at(68)));
        let evicted = golden::<EvictedSlot, 200>();
        assert_eq!((evicted.kind, evicted.cpu, evicted.slot.key.src[0]), (u32_at(0), u32_at(4), 8));
    }

    #[test]
    fn blocks_lie_as_written_down() {
        let key = golden::<BlockKey, 32>();
        assert_eq!((key.src[0], key.src[15], key.dst[0], key.dst[15]), (0, 15, 16, 31));
        let entry = golden::<BlockEntry, 32>();
        assert_eq!((entry.until_ns, entry.placed_ns), (u64_at(0), u64_at(8)));
        assert_eq!((entry.packets, entry.bytes), (u64_at(16), u64_at(24)));
    }

    #[test]
    fn a_counter_row_is_its_values() {
        let row = golden::<CounterRow, { 8 * COUNTERS }>();
        assert_eq!((row.values[0], row.values[30]), (u64_at(0), u64_at(240)));
    }
}
