//! Reads what the programs wrote, and tells them what was read: the sweep. When to sweep is decided by
//! the source.

use std::{
    mem::{self, offset_of},
    sync::atomic::Ordering,
};

use ids_common::{
    abi::{CounterRow, Settings},
    counter::{COUNTERS, SCRATCH},
    limits::IFINDEX_BUCKETS,
};

use super::{
    WORD,
    mapping::Mapping,
    ring::Ring,
    sweep::{Sweep, Swept},
    table::MappedTable,
};
use crate::{
    clock,
    source::{Batch, SlotState, SlotUpdate, Totals},
};

/// How the end of all programs that began before a moment is awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grace {
    /// `membarrier(MEMBARRIER_CMD_GLOBAL)` waits for a grace period, which no program outlives.
    Membarrier,
    /// Nothing runs meanwhile: the reader ran the programs itself.
    NotNeeded,
    /// The kernel has no such call, or forbids it. Then no sweep vouches for old slots, and every
    /// slot that makes room goes through the ring.
    Unavailable,
}

/// What the smallest record of the ring takes, with its header.
const RECORD_BYTES_MIN: usize = 80;

/// What the reader of the table met since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadStats {
    pub sweeps: u64,
    pub slots_copied: u64,
    /// Slots put off to the next sweep because a program kept writing them.
    pub slots_busy: u64,
    /// Ring records of no known kind; always zero, or the object is not ours.
    pub ring_unknown: u64,
    /// Largest fill of the ring met before a drain.
    pub ring_fill_max_bytes: u64,
    /// Fill of the ring met before the latest drain.
    pub ring_fill_bytes: u64,
}

/// The mapped side of the maps.
#[derive(Debug)]
pub(super) struct Reader {
    table: MappedTable,
    counters: Mapping,
    settings: Mapping,
    ring: Ring,
    ring_positions: Mapping,
    grace: Grace,
    stats: ReadStats,
    /// Times and places of slots, and slots in order: kept from sweep to sweep.
    numbers: Vec<(u64, u32)>,
    ordered: Vec<SlotUpdate>,
}

impl Reader {
    pub(super) fn new(
        table: MappedTable,
        counters: Mapping,
        settings: Mapping,
        ring: Ring,
        ring_positions: Mapping,
        grace: Grace,
    ) -> Self {
        Self {
            table,
            counters,
            settings,
            ring,
            ring_positions,
            grace,
            stats: ReadStats::default(),
            numbers: Vec::new(),
            ordered: Vec::new(),
        }
    }

    pub(super) fn stats(&self) -> ReadStats {
        ReadStats { ring_unknown: self.ring.unknown(), ..self.stats }
    }

    /// Sum of the counters of all CPUs.
    pub(super) fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for words in self.counters.words().chunks_exact(COUNTERS) {
            let mut row = [0; COUNTERS];
            for (value, word) in row.iter_mut().zip(words).take(SCRATCH) {
                *value = word.load(Ordering::Relaxed);
            }
            totals.add_row(&row);
        }
        totals
    }

    /// Moves what waits in the ring into the batch, at most `records_max` records. Says whether more waits.
    pub(super) fn drain_ring(&mut self, records_max: usize, batch: &mut Batch) -> bool {
        let written = self.ring_written();
        self.drain_ring_to(written, records_max, batch)
    }

    /// The same up to a position of the writers. A record that is still being written is not waited for.
    fn drain_ring_to(&mut self, position: u64, records_max: usize, batch: &mut Batch) -> bool {
        let fill = self.ring_fill();
        self.stats.ring_fill_bytes = fill;
        self.stats.ring_fill_max_bytes = self.stats.ring_fill_max_bytes.max(fill);
        let room = records_max.min(self.ring.bytes() as usize / RECORD_BYTES_MIN);
        self.ring.drain(room, batch) == room && self.ring_read() < position
    }

    fn ring_fill(&self) -> u64 {
        self.ring_written().saturating_sub(self.ring_read())
    }

    /// The most records that can wait in the ring now.
    fn records_waiting(&self) -> usize {
        self.ring_fill() as usize / RECORD_BYTES_MIN
    }

    fn ring_read(&self) -> u64 {
        self.ring_position(0)
    }

    fn ring_written(&self) -> u64 {
        self.ring_position(rustix::param::page_size() / WORD)
    }

    fn ring_position(&self, at: usize) -> u64 {
        self.ring_positions.words().get(at).map_or(0, |word| word.load(Ordering::Acquire))
    }

    /// Begins to bring batches up to date; see `Sweep`.
    pub(super) fn begin_sweep(&mut self, now_ns: u64, state: SlotState) -> Sweep {
        Sweep::new(now_ns, state, self.await_grace())
    }

    /// Fills the batch with what comes next of a sweep; says whether that was the last of it. Some `room` slots and
    /// samples, at most half of them from the ring.
    pub(super) fn sweep_on(&mut self, sweep: &mut Sweep, room: usize, batch: &mut Batch) -> Swept {
        let before = batch.slots.len();
        let from_ring = room.div_ceil(2);
        let ring_left = if sweep.holds_back() {
            let left = self.drain_ring_to(sweep.ring_until, from_ring, batch);
            sweep.left_since(batch.slots.get(before..).unwrap_or(&[]));
            if !left {
                sweep.hand_over(&mut batch.slots);
            }
            left
        } else {
            let from_table = room - self.records_waiting().min(from_ring);
            sweep.is_read = self.table.read_changed(&mut sweep.pass, from_table, sweep.state, &mut batch.slots);
            let copied = before..batch.slots.len();
            sweep.ring_until = self.ring_written();
            let left = self.drain_ring_to(sweep.ring_until, from_ring, batch);
            if left {
                sweep.hold_back(batch.slots.drain(copied));
                sweep.left_since(batch.slots.get(before..).unwrap_or(&[]));
            }
            left
        };
        self.complete(batch);
        if ring_left || !sweep.is_read {
            return Swept::Part;
        }
        if sweep.vouched && sweep.pass.busy == 0 {
            self.set(offset_of!(Settings, swept_before_ns), sweep.now_ns);
        }
        self.stats.sweeps += 1;
        self.stats.slots_copied += sweep.pass.copied;
        self.stats.slots_busy += sweep.pass.busy;
        batch.now_ns = sweep.now_ns;
        Swept::Whole
    }

    /// Puts the batch's slots into order, and the counters of now beside them.
    pub(super) fn complete(&mut self, batch: &mut Batch) {
        self.order(&mut batch.slots);
        batch.totals = self.totals();
        // What a flood made them grow by they do not need behind it.
        keep_room_for(&mut batch.slots);
        keep_room_for(&mut batch.samples);
        keep_room_for(&mut batch.payloads);
    }

    /// A whole sweep in one batch.
    pub(super) fn sweep(&mut self, now_ns: u64, state: SlotState, batch: &mut Batch) {
        let mut sweep = self.begin_sweep(now_ns, state);
        while self.sweep_on(&mut sweep, usize::MAX, batch) == Swept::Part {}
    }

    /// Puts slots into time order, and into one order whatever the hash secret was. Slots are large,
    /// so numbers are sorted and each slot is moved once.
    fn order(&mut self, slots: &mut Vec<SlotUpdate>) {
        self.numbers.clear();
        self.numbers.extend((0_u32..).zip(slots.iter()).map(|(at, update)| (update.slot.first_seen_ns, at)));
        let rest = |at: u32| {
            let update = slots.get(at as usize)?;
            Some((&update.slot.key, update.cpu, update.slot.packets, update.state == SlotState::Closed))
        };
        self.numbers.sort_unstable_by(|(a_ns, a), (b_ns, b)| a_ns.cmp(b_ns).then_with(|| rest(*a).cmp(&rest(*b))));
        self.ordered.clear();
        self.ordered.extend(self.numbers.iter().filter_map(|(_, at)| slots.get(*at as usize).copied()));
        mem::swap(slots, &mut self.ordered);
        keep_room_for(&mut self.ordered);
    }

    fn await_grace(&mut self) -> bool {
        match self.grace {
            Grace::NotNeeded => true,
            Grace::Unavailable => false,
            Grace::Membarrier => {
                let done = wait_grace_period();
                if !done {
                    self.grace = Grace::Unavailable;
                }
                done
            }
        }
    }

    /// Waits until every program that runs now has ended.
    pub(super) fn settle(&mut self) {
        if !self.await_grace() {
            // No program runs for longer.
            clock::sleep_until_boottime(clock::boottime_ns() + 10_000_000);
        }
    }

    pub(super) fn setting(&self, at: usize) -> u64 {
        self.settings.words().get(at / WORD).map_or(0, |word| word.load(Ordering::Acquire))
    }

    pub(super) fn set(&self, at: usize, value: u64) {
        if let Some(word) = self.settings.writable_words().and_then(|words| words.get(at / WORD)) {
            word.store(value, Ordering::Release);
        }
    }

    /// Gives `ifindex` its index in flow keys.
    pub(super) fn set_interface(&self, ifindex: u32, index: u8) {
        let at = offset_of!(Settings, interfaces) + ifindex as usize % IFINDEX_BUCKETS;
        let shift = (at % WORD * 8) as u32;
        // The programs read bytes of this word; this process alone writes it.
        if let Some(word) = self.settings.writable_words().and_then(|words| words.get(at / WORD)) {
            let others = word.load(Ordering::Relaxed) & !(0xff << shift);
            word.store(others | u64::from(index) << shift, Ordering::Release);
        }
    }
}

/// Gives back what a vector has far beyond what is in it.
fn keep_room_for<T>(vector: &mut Vec<T>) {
    const SPARE_FACTOR: usize = 8;
    if vector.capacity() > SPARE_FACTOR * vector.len().max(64) {
        vector.shrink_to(2 * vector.len());
    }
}

pub(super) fn probe_grace() -> Grace {
    if wait_grace_period() { Grace::Membarrier } else { Grace::Unavailable }
}

/// Waits until every program that runs now has ended; says whether the kernel did that.
fn wait_grace_period() -> bool {
    // MEMBARRIER_CMD_GLOBAL is synchronize_rcu(), and programs run inside an RCU read section.
    rustix::thread::membarrier(rustix::thread::MembarrierCommand::Global).is_ok()
}

const _: () = {
    assert!(offset_of!(Settings, swept_before_ns) % WORD == 0);
    assert!(offset_of!(Settings, slot_silence_ns) % WORD == 0);
    assert!(offset_of!(Settings, handed_over_ns) % WORD == 0);
    assert!(offset_of!(Settings, sample_packets) % WORD == 0);
    assert!(offset_of!(Settings, sample_bytes) == offset_of!(Settings, sample_packets) + 4);
    assert!(offset_of!(Settings, sample_among) % WORD == 0);
    assert!(offset_of!(Settings, pad) == offset_of!(Settings, sample_among) + 4);
    assert!(size_of::<Settings>().is_multiple_of(WORD));
    assert!(size_of::<CounterRow>() == COUNTERS * WORD);
};
