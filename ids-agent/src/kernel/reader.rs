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
    table::{MappedTable, Pass},
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

    /// Moves what waits in the ring into the batch.
    pub(super) fn drain_ring(&mut self, batch: &mut Batch) {
        let fill = self.ring_fill();
        self.stats.ring_fill_bytes = fill;
        self.stats.ring_fill_max_bytes = self.stats.ring_fill_max_bytes.max(fill);
        // The smallest record takes 80 bytes with its header: more cannot have waited.
        self.ring.drain(self.ring.bytes() as usize / 80, batch);
    }

    fn ring_fill(&self) -> u64 {
        let words = self.ring_positions.words();
        let position = |at: usize| words.get(at).map_or(0, |word| word.load(Ordering::Acquire));
        let read = position(0);
        position(rustix::param::page_size() / WORD).saturating_sub(read)
    }

    /// Brings the batch up to date: everything that packets seen before `now_ns` did is in it, and
    /// some of what later ones did.
    ///
    /// A program that read its clock before `now_ns` has ended by the grace period's end, so the
    /// copies made behind it hold that packet. Only then may the programs overwrite slots last seen
    /// before `now_ns` without sending them. The ring comes last: a slot that made room for one of
    /// the copied is in it.
    pub(super) fn sweep(&mut self, now_ns: u64, state: SlotState, batch: &mut Batch) {
        let vouched = self.await_grace();
        let Pass { copied, busy } = self.table.read_changed(state, &mut batch.slots);
        self.drain_ring(batch);
        if vouched && busy == 0 {
            self.set(offset_of!(Settings, swept_before_ns), now_ns);
        }
        self.stats.sweeps += 1;
        self.stats.slots_copied += copied;
        self.stats.slots_busy += busy;
        batch.now_ns = now_ns;
        batch.totals = self.totals();
        self.order(&mut batch.slots);
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
