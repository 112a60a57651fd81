//! Every map and global of the programs, behind accessors that keep the rules of sharing: a CPU
//! writes only its own partition, and a slot changes only between two steps of its sequence.
#![expect(unsafe_code, reason = "map memory is shared with user space through raw pointers")]

use core::{
    arch::asm,
    mem::MaybeUninit,
    ptr::{read_volatile, write_volatile},
};

use aya_ebpf::{
    Global,
    bindings::{BPF_F_MMAPABLE, BPF_RB_NO_WAKEUP},
    btf_maps::{Array, HashMap, RingBuf},
    helpers::{bpf_get_smp_processor_id, bpf_ktime_get_boot_ns},
    macros::btf_map,
};
use ids_common::{
    abi::{ABI_VERSION, CounterRow, FlowSet, Handover, Settings, TestWords},
    block::{BlockEntry, BlockKey},
    counter::SCRATCH,
    flow::{Continuity, FlowSlot},
    hash::HashSecret,
    limits::{BLOCKS_MAX, RING_BYTES_DEFAULT, WAYS},
    parse::PacketMeta,
    sample::{EvictedSlot, KIND_SLOT, SampleHeader},
};

use crate::packet::Packet;

const MMAPABLE: usize = BPF_F_MMAPABLE as usize;
const NO_WAKEUP: u64 = BPF_RB_NO_WAKEUP as u64;

/// `sets_per_cpu` sets for each CPU; the loader overrides the number of entries.
#[btf_map]
static FLOWS: Array<FlowSet, 1, MMAPABLE> = Array::new();

/// One row for each CPU; the loader overrides the number of entries.
#[btf_map]
static COUNTERS: Array<CounterRow, 1, MMAPABLE> = Array::new();

#[btf_map]
static SETTINGS: Array<Settings, 1, MMAPABLE> = Array::new();

/// For agents alone.
#[btf_map]
static HANDOVER: Array<Handover, 1, MMAPABLE> = Array::new();

#[btf_map]
static TEST: Array<TestWords, 1, MMAPABLE> = Array::new();

/// The kernel keys its hash by itself.
#[btf_map]
static BLOCKS: HashMap<BlockKey, BlockEntry, { BLOCKS_MAX as usize }> = HashMap::new();

#[btf_map]
static RING: RingBuf<EvictedSlot, { RING_BYTES_DEFAULT as usize }> = RingBuf::new();

/// In a section, and so in a map, of its own, where the loader reads it.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".rodata.abi")]
static ABI: Global<u32> = Global::new(ABI_VERSION);

/// The words of a `HashSecret`, drawn by the loader.
#[unsafe(no_mangle)]
static HASH_SECRET: [Global<u64>; 6] = [const { Global::new(0) }; 6];

/// Sets of one CPU, less one.
#[unsafe(no_mangle)]
static SETS_MASK: Global<u32> = Global::new(0);

/// One where stores may become visible out of order, so that sequence steps must be full barriers.
#[unsafe(no_mangle)]
static SEQUENCE_FENCED: Global<u32> = Global::new(1);

/// One where time and wire length come from `TEST`. The verifier removes the branch otherwise.
#[unsafe(no_mangle)]
static TEST_CLOCK: Global<u32> = Global::new(0);

#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// A value of which the compiler knows nothing, so that checks on it stay for the verifier.
#[inline(always)]
pub(crate) fn opaque(value: u64) -> u64 {
    let mut value = value;
    // SAFETY: the value is moved onto itself. An assembly without an instruction would give two
    // entries of line information to one instruction, which the verifier refuses.
    unsafe { asm!("{0} = {0}", inout(reg) value, options(nomem, nostack, preserves_flags)) };
    value
}

/// Has the compiler take what lies in a place for changed, so that it is read from there from here on.
#[inline(always)]
pub(crate) fn forget_place<T>(place: *mut T) {
    // SAFETY: a register is moved onto itself.
    unsafe { asm!("{0} = {0}", in(reg) place, options(nostack, preserves_flags)) };
}

/// Keeps the compiler from moving memory accesses across.
#[inline(always)]
fn barrier() {
    // SAFETY: no instruction is emitted.
    unsafe { asm!("", options(nostack, preserves_flags)) };
}

#[inline(always)]
pub(crate) fn cpu() -> u32 {
    // SAFETY: the helper has no precondition.
    unsafe { bpf_get_smp_processor_id() }
}

#[inline(always)]
pub(crate) fn now_ns() -> u64 {
    if let Some(words) = test_words() {
        return words.now_ns;
    }
    // SAFETY: the helper has no precondition.
    unsafe { bpf_ktime_get_boot_ns() }
}

/// Wire length of the frame under test, where the test says that it was cut.
#[inline(always)]
pub(crate) fn test_wire_len() -> Option<u32> {
    test_words().map(|words| words.wire_len as u32).filter(|len| *len != 0)
}

#[inline(always)]
fn test_words() -> Option<TestWords> {
    if TEST_CLOCK.load() == 0 {
        return None;
    }
    let words = TEST.get_ptr(0)?;
    // SAFETY: the lookup gave a valid element; the test writes it only between runs.
    Some(unsafe { read_volatile(words) })
}

/// A random IPv4 source address below a mask, in network order; for benches.
#[inline(always)]
pub(crate) fn random_source() -> u32 {
    let Some(words) = TEST.get_ptr_mut(0) else { return 0 };
    // SAFETY: the lookup gave a valid element; a bench runs on one CPU.
    let (state, mask) = unsafe { (&mut (*words).random_state, (*words).random_mask) };
    // The multiplier of Knuth's MMIX generator; its upper half is random enough.
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (0x0a00_0000 | ((*state >> 32) & mask) as u32).to_be()
}

#[inline(always)]
pub(crate) fn hash_secret() -> HashSecret {
    let [a, b, c, d, e, finish] = &HASH_SECRET;
    HashSecret { words: [a.load(), b.load(), c.load(), d.load(), e.load()], finish: finish.load() }
}

/// What user space set, read field by field: it may change between two reads.
pub(crate) struct Tunables(*const Settings);

#[inline(always)]
pub(crate) fn settings() -> Option<Tunables> {
    SETTINGS.get_ptr(0).map(Tunables)
}

impl Tunables {
    #[inline(always)]
    pub(crate) fn swept_before_ns(&self) -> u64 {
        // SAFETY: the lookup gave a valid element of a map that lives as long as the program.
        unsafe { read_volatile(&raw const (*self.0).swept_before_ns) }
    }

    #[inline(always)]
    pub(crate) fn slot_silence_ns(&self) -> u64 {
        // SAFETY: as in `swept_before_ns`.
        unsafe { read_volatile(&raw const (*self.0).slot_silence_ns) }
    }

    #[inline(always)]
    pub(crate) fn handed_over_ns(&self) -> u64 {
        // SAFETY: as in `swept_before_ns`.
        unsafe { read_volatile(&raw const (*self.0).handed_over_ns) }
    }

    #[inline(always)]
    pub(crate) fn sample_packets(&self) -> u32 {
        // SAFETY: as in `swept_before_ns`.
        unsafe { read_volatile(&raw const (*self.0).sample_packets) }
    }

    #[inline(always)]
    pub(crate) fn sample_among(&self) -> u32 {
        // SAFETY: as in `swept_before_ns`.
        unsafe { read_volatile(&raw const (*self.0).sample_among) }
    }

    #[inline(always)]
    pub(crate) fn sample_bytes(&self) -> u32 {
        // SAFETY: as in `swept_before_ns`.
        unsafe { read_volatile(&raw const (*self.0).sample_bytes) }
    }

    /// Whether anything is blocked: sources in the lower half, pairs in the upper.
    #[inline(always)]
    pub(crate) fn blocks(&self) -> u64 {
        // SAFETY: as in `swept_before_ns`; both halves lie in one aligned word.
        unsafe { read_volatile((&raw const (*self.0).block_sources).cast::<u64>()) }
    }

    #[inline(always)]
    pub(crate) fn interface(&self, ifindex: u32) -> u8 {
        let at = opaque(u64::from(ifindex as u8)) as u8;
        // SAFETY: as in `swept_before_ns`; a byte indexes inside the 256 buckets.
        unsafe { read_volatile((&raw const (*self.0).interfaces).cast::<u8>().add(usize::from(at))) }
    }
}

/// Whether an entry of this key holds at `now_ns`; if so the packet is counted in it.
#[inline(always)]
pub(crate) fn blocked(key: &BlockKey, meta: &PacketMeta, now_ns: u64) -> bool {
    let Some(entry) = BLOCKS.get_ptr_mut(key) else { return false };
    // SAFETY: the lookup gave a valid entry, which stays readable while the program runs even if it is removed.
    unsafe {
        if now_ns >= read_volatile(&raw const (*entry).until_ns) {
            return false;
        }
        atomic_add(&raw mut (*entry).packets, u64::from(meta.segments.max(1)));
        atomic_add(&raw mut (*entry).bytes, meta.bytes());
    }
    true
}

/// Adds to a word that other CPUs add to. The caller gives a valid, aligned word.
#[inline(always)]
unsafe fn atomic_add(word: *mut u64, by: u64) {
    // SAFETY: the caller's promise.
    unsafe { asm!("lock *(u64 *)({0} + 0) += {1}", in(reg) word, in(reg) by, options(nostack)) };
}

/// The counters of this CPU.
#[derive(Clone, Copy)]
pub(crate) struct Row(*mut CounterRow);

#[inline(always)]
pub(crate) fn counter_row(cpu: u32) -> Option<Row> {
    COUNTERS.get_ptr_mut(cpu).map(Row)
}

impl Row {
    /// The same value, of which the verifier knows nothing more, nor where it came from: it does
    /// not follow values through map memory. Without this it walks what comes behind for every way
    /// in which the value can come about.
    #[inline(always)]
    pub(crate) fn forget(self, value: u64) -> u64 {
        // SAFETY: the lookup gave a valid row, and only this CPU uses its scratch word.
        unsafe {
            let scratch = (&raw mut (*self.0).values).cast::<u64>().add(SCRATCH);
            write_volatile(scratch, value);
            read_volatile(scratch)
        }
    }

    #[inline(always)]
    pub(crate) fn add(self, index: usize, by: u64) {
        // SAFETY: the lookup gave a valid row, and only this CPU writes it.
        let values = unsafe { &mut (*self.0).values };
        if let Some(value) = values.get_mut(index) {
            *value = value.wrapping_add(by);
        }
    }
}

/// One set of this CPU's partition.
pub(crate) struct Set(*mut FlowSet);

#[inline(always)]
pub(crate) fn flow_set(cpu: u32, hash: u64) -> Option<Set> {
    let mask = SETS_MASK.load();
    FLOWS.get_ptr_mut(cpu * (mask + 1) + (hash as u32 & mask)).map(Set)
}

impl Set {
    /// Has the processor fetch the set: reading the clock waits for loads, but not for stores.
    #[inline(always)]
    pub(crate) fn expect(&self) {
        // SAFETY: the lookup gave a valid set, of which only this CPU writes.
        unsafe { write_volatile((&raw mut (*self.0).pad).cast::<u64>(), 0) };
    }

    #[inline(always)]
    pub(crate) fn tag(&self, way: usize) -> u32 {
        // SAFETY: the lookup gave a valid set, and `way` is masked to its ways.
        unsafe { *(&raw const (*self.0).tags).cast::<u32>().add(way & (WAYS - 1)) }
    }

    /// The slot in a way. It does not change while the program runs: only this CPU writes it, and
    /// programs on one CPU do not interrupt each other.
    #[inline(always)]
    pub(crate) fn slot(&self, way: usize) -> &FlowSlot {
        // SAFETY: the lookup gave a valid set, and `way` is masked to its ways.
        unsafe { &*(&raw const (*self.0).slots).cast::<FlowSlot>().add(way & (WAYS - 1)) }
    }

    /// Counts a packet in the slot of a way, which it begins anew where `begins` says how.
    #[inline(always)]
    pub(crate) fn count(&mut self, way: usize, tag: u32, meta: &PacketMeta, now_ns: u64, begins: Option<Continuity>) {
        let (sequence, slot) = self.way(way);
        // SAFETY: the lookup gave a valid set; only this CPU writes it, and user space reads slots
        // between equal and even sequences alone.
        unsafe {
            let before = sequence_opens(sequence);
            let gap_ticks = match begins {
                None => (*slot).advance(meta, now_ns),
                Some(continuity) => {
                    *(&raw mut (*self.0).tags).cast::<u32>().add(way & (WAYS - 1)) = tag;
                    zero_words(slot.cast(), size_of::<FlowSlot>() / size_of::<u64>());
                    (*slot).begin_zeroed(meta, now_ns, continuity);
                    0
                }
            };
            (*slot).count(meta, gap_ticks);
            sequence_closes(sequence, before);
        }
    }

    #[inline(always)]
    fn way(&self, way: usize) -> (*mut u64, *mut FlowSlot) {
        let way = way & (WAYS - 1);
        // SAFETY: the lookup gave a valid set, and `way` is one of its ways.
        unsafe {
            (
                (&raw mut (*self.0).sequences).cast::<u64>().add(way),
                (&raw mut (*self.0).slots).cast::<FlowSlot>().add(way),
            )
        }
    }
}

/// Makes a sequence odd, before any later write is visible. The caller gives a valid word that only
/// this CPU writes.
#[inline(always)]
unsafe fn sequence_opens(sequence: *mut u64) -> u64 {
    // SAFETY: the caller's promise.
    unsafe {
        if SEQUENCE_FENCED.load() != 0 {
            return fenced_increment(sequence);
        }
        let before = read_volatile(sequence);
        write_volatile(sequence, before.wrapping_add(1));
        barrier();
        before
    }
}

/// Makes a sequence even, after all earlier writes are visible. The caller gives the word and what
/// `sequence_opens` gave for it.
#[inline(always)]
unsafe fn sequence_closes(sequence: *mut u64, before: u64) {
    // SAFETY: the caller's promise.
    unsafe {
        if SEQUENCE_FENCED.load() != 0 {
            fenced_increment(sequence);
            return;
        }
        barrier();
        write_volatile(sequence, before.wrapping_add(2));
    }
}

/// Adds one by an instruction that is a full barrier: an atomic operation that fetches
/// (Documentation/atomic_t.txt). The compiler offers none for this target.
#[inline(always)]
unsafe fn fenced_increment(word: *mut u64) -> u64 {
    let mut value = 1_u64;
    // SAFETY: the caller gives a valid, aligned word.
    unsafe {
        asm!("{0} = atomic_fetch_add((u64 *)({1} + 0), {0})", inout(reg) value, in(reg) word, options(nostack));
    }
    value
}

/// Sends a slot's last state; says whether the ring had room.
#[inline(always)]
pub(crate) fn send_slot(cpu: u32, slot: &FlowSlot) -> bool {
    let Some(mut entry) = RING.reserve(0) else { return false };
    let record: *mut EvictedSlot = entry.as_mut_ptr();
    // SAFETY: the reservation has the size and alignment of an EvictedSlot.
    unsafe {
        (&raw mut (*record).kind).write(KIND_SLOT);
        (&raw mut (*record).cpu).write(cpu);
        copy_words(
            (&raw const *slot).cast(),
            (&raw mut (*record).slot).cast(),
            size_of::<FlowSlot>() / size_of::<u64>(),
        );
    }
    entry.submit(NO_WAKEUP);
    true
}

/// Copies words one by one: the compiler would call a byte-wise `memcpy` for more than 128 bytes.
#[inline(always)]
unsafe fn copy_words(from: *const u64, to: *mut u64, words: usize) {
    for at in 0..words {
        // SAFETY: the caller's ranges hold that many words.
        unsafe { write_volatile(to.add(at), read_volatile(from.add(at))) };
    }
}

/// Zeroes words one by one, for the same reason.
#[inline(always)]
unsafe fn zero_words(to: *mut u64, words: usize) {
    for at in 0..words {
        // SAFETY: the caller's range holds that many words.
        unsafe { write_volatile(to.add(at), 0) };
    }
}

#[repr(C)]
struct SampleRecord<const N: usize> {
    header: SampleHeader,
    payload: [MaybeUninit<u8>; N],
}

/// What became of a payload sample.
pub(crate) enum Sent {
    Sent,
    RingFull,
    /// The payload was not where its headers say: nothing to send.
    Unreadable,
}

/// Sends a sample of at most `N` bytes, copied from byte `at` of the packet.
#[inline(always)]
pub(crate) fn send_sample<P: Packet, const N: usize>(packet: &P, at: u32, header: SampleHeader) -> Sent {
    let Some(mut entry) = RING.reserve_untyped::<SampleRecord<N>>(0) else { return Sent::RingFull };
    let record: *mut SampleRecord<N> = entry.as_mut_ptr();
    // SAFETY: the reservation has the size and alignment of the record, and the payload may hold
    // any bytes: the reader looks at the captured ones alone.
    let copied = unsafe {
        (&raw mut (*record).header).write(header);
        packet.copy(at, header.captured, &mut (*record).payload)
    };
    if !copied {
        entry.discard(NO_WAKEUP);
        return Sent::Unreadable;
    }
    entry.submit(NO_WAKEUP);
    Sent::Sent
}
