//! Counts what the programs see, skip and lose, in this CPU's row. Which events exist is decided
//! in `ids_common::counter`.

use ids_common::counter::{Counter, Skip};

use crate::maps::{Row, counter_row};

/// This CPU's counters.
pub(crate) struct Counters(Row);

impl Counters {
    #[inline(always)]
    pub(crate) fn of_cpu(cpu: u32) -> Option<Self> {
        counter_row(cpu).map(Self)
    }

    #[inline(always)]
    pub(crate) fn add(&self, counter: Counter, by: u64) {
        self.0.add(counter.index(), by);
    }

    /// A value that the verifier does not know.
    #[inline(always)]
    pub(crate) fn salt(&self) -> u64 {
        self.0.value(Counter::PacketsSeen.index())
    }

    #[inline(always)]
    pub(crate) fn skip(&self, skip: Skip) {
        self.0.add(skip.index(), 1);
    }
}
