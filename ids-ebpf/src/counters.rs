//! Counts what the programs see, skip and lose, in this CPU's row. Which events exist is decided
//! in `ids_common::counter`.

use ids_common::counter::Counter;

use crate::maps::{Row, counter_row};

/// This CPU's counters.
#[derive(Clone, Copy)]
pub(crate) struct Counters(Row);

impl Counters {
    #[inline(always)]
    pub(crate) fn of_cpu(cpu: u32) -> Option<Self> {
        counter_row(cpu).map(Self)
    }

    /// See `Row::forget`.
    #[inline(always)]
    pub(crate) fn forget(self, value: u64) -> u64 {
        self.0.forget(value)
    }

    #[inline(always)]
    pub(crate) fn add(self, counter: Counter, by: u64) {
        self.0.add(counter.index(), by);
    }

    #[inline(always)]
    pub(crate) fn skip(self, index: usize) {
        self.0.add(index, 1);
    }
}
