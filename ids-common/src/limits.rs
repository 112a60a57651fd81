//! Every capacity and bound that kernel and user space must agree on, with assertions between them.

/// Slots in one set of the flow table.
pub const WAYS: usize = 4;
/// Sets in each CPU's partition by default: 4 x 8,192 slots of 192 bytes are 6.5 MiB a CPU.
pub const SETS_PER_CPU_DEFAULT: u32 = 8_192;
/// Bounds of the configurable number of sets per CPU; the number is a power of two.
pub const SETS_PER_CPU_MIN: u32 = 64;
pub const SETS_PER_CPU_MAX: u32 = 1 << 18;

/// Ring buffer size by default. A power of two and a multiple of every page size up to 64 KiB.
pub const RING_BYTES_DEFAULT: u32 = 4 << 20;

/// Interfaces that one agent watches: the flow key holds the index in four bits.
pub const INTERFACES_MAX: usize = 16;
/// Entries of the table from `ifindex % IFINDEX_BUCKETS` to the interface's index.
pub const IFINDEX_BUCKETS: usize = 256;

/// VLAN tags walked before a frame is skipped as `vlan_depth`.
pub const VLAN_TAGS_MAX: usize = 2;
/// IPv6 extension headers walked before a packet is skipped as `ipv6_extensions`.
pub const EXTENSION_HEADERS_MAX: usize = 8;

/// Farthest offset of a header in a frame: link headers, the IPv6 header, and every extension
/// header at its longest.
pub const OFFSET_MAX: usize = 0x7fff;

/// Packets whose size and gap a flow direction keeps one by one.
pub const FIRST_PACKETS: usize = 8;

/// A silence longer than this separates activity from idleness (the CIC convention is 5 s; 1 s
/// also resolves beacons).
pub const IDLE_GAP_NS: u64 = 1_000_000_000;

/// Payload packets sampled of each flow direction, by default and at most.
pub const SAMPLE_PACKETS_DEFAULT: u32 = 3;
pub const SAMPLE_PACKETS_MAX: u32 = 16;
/// Payload packets from the beginning of a slot among which those that begin a message are sampled too, by default and at
/// most.
pub const SAMPLE_HEADS_DEFAULT: u32 = 64;
pub const SAMPLE_HEADS_MAX: u32 = 1_024;
/// Bytes kept of each sampled payload, by default and at most. The kernel reserves ring space in
/// one of these classes, because the verifier wants a constant size.
pub const SAMPLE_CLASSES: [usize; 3] = [128, 512, 1_536];
pub const SAMPLE_BYTES_DEFAULT: u32 = 1_024;
pub const SAMPLE_BYTES_MAX: u32 = 1_536;

/// Sources, and pairs of source and target, blocked at once.
pub const BLOCKS_MAX: u32 = 4_096;

/// A flow direction silent for longer than this starts a new slot when it speaks again: the
/// shortest silence that can end a flow, so that no slot spans two flows.
pub const SLOT_SILENCE_NS_DEFAULT: u64 = 2_000_000_000;

const _: () = {
    assert!(SETS_PER_CPU_DEFAULT.is_power_of_two());
    assert!(SETS_PER_CPU_MIN.is_power_of_two() && SETS_PER_CPU_MAX.is_power_of_two());
    assert!(RING_BYTES_DEFAULT.is_power_of_two() && RING_BYTES_DEFAULT.is_multiple_of(65_536));
    assert!(SAMPLE_CLASSES[SAMPLE_CLASSES.len() - 1] == SAMPLE_BYTES_MAX as usize);
    assert!(SAMPLE_BYTES_DEFAULT <= SAMPLE_BYTES_MAX);
    assert!(SAMPLE_PACKETS_DEFAULT <= SAMPLE_PACKETS_MAX && SAMPLE_HEADS_DEFAULT <= SAMPLE_HEADS_MAX);
    assert!(64 + 40 + EXTENSION_HEADERS_MAX * 2_048 <= OFFSET_MAX && (OFFSET_MAX + 1).is_power_of_two());
    assert!(INTERFACES_MAX <= 16);
    assert!(FIRST_PACKETS == 8);
};
