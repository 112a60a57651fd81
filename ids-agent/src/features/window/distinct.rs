//! Counts distinct things over a sliding window in a bounded space. Knows no hosts and no ports.
//!
//! Up to `EXACT_MAX` things are kept one by one. Beyond, each thing lights the cell its hash
//! names, and n is read off the share of dark cells (linear counting: Whang, Vander-Zanden and
//! Taylor, 1990). A cell holds the time it was last lit, so one array answers for any window.
//! With 256 cells the standard error is 4 % at 100, 6 % at 400 and 11 % at 1,000; the count ends
//! at about 1,400.

use std::sync::LazyLock;

use smallvec::SmallVec;

const CELLS: usize = 256;
const EXACT_MAX: usize = 32;
/// So many ticks and more from the one to the other, modulo 2^16, mean that the other came first.
const AGE_END: u16 = 0xc000;

/// How many things light so many cells: asked far more often than there are answers.
static ESTIMATES: LazyLock<[f32; CELLS + 1]> = LazyLock::new(|| {
    std::array::from_fn(|lit| {
        // All cells lit says "more than could be told apart"; half a dark cell is the least.
        let dark = if lit == CELLS { 0.5 } else { (CELLS - lit) as f32 };
        CELLS as f32 * (CELLS as f32 / dark).ln()
    })
});

/// Times are ticks modulo 2^16 of an axis of the caller's, a window is at most a quarter of that.
/// A cell not lit for 65,536 ticks may count once more; at five seconds a tick that is 3.8 days.
#[derive(Clone, Debug)]
pub struct Distinct {
    exact: SmallVec<[(u32, u16); 2]>,
    cells: Option<Box<Cells>>,
    windows: [u16; 2],
}

#[derive(Clone, Debug)]
struct Cells {
    /// When each cell was last lit; zero is never.
    lit: [u16; CELLS],
    /// Cells lit within each window before `counted_at`, and then: kept up, so that asking costs nothing.
    counts: [u16; 2],
    counted_at: u16,
}

impl Distinct {
    /// Counts over a short and a long window of so many ticks before the current one.
    pub fn new(windows: [u16; 2]) -> Self {
        Self { exact: SmallVec::new(), cells: None, windows }
    }

    /// Notes a thing by its keyed hash at `tick`.
    pub fn insert(&mut self, hash: u64, tick: u32) {
        let now = stamp(tick);
        let short = (hash >> 32) as u32 ^ hash as u32;
        if let Some(cells) = &mut self.cells {
            cells.light(short, now, self.windows);
            return;
        }
        if let Some((_, last)) = self.exact.iter_mut().find(|(held, _)| *held == short) {
            if is_later(now, *last) {
                *last = now;
            }
            return;
        }
        if self.exact.len() >= EXACT_MAX {
            let [_, long] = self.windows;
            self.exact.retain(|(_, last)| age(now, *last) <= long);
        }
        if self.exact.len() < EXACT_MAX {
            self.exact.push((short, now));
            return;
        }
        let mut cells = Box::new(Cells { lit: [0; CELLS], counts: [0; 2], counted_at: now });
        for (held, last) in self.exact.drain(..) {
            cells.light(held, last, self.windows);
        }
        cells.light(short, now, self.windows);
        self.cells = Some(cells);
    }

    /// How many things were noted within the short and the long window before `tick`, and in it or later.
    pub fn counts(&self, tick: u32) -> [f32; 2] {
        let now = stamp(tick);
        let Some(cells) = &self.cells else {
            let (mut counts, [short, long]) = ([0_u16; 2], self.windows);
            for (_, last) in &self.exact {
                let age = age(now, *last);
                let [in_short, in_long] = &mut counts;
                *in_short += u16::from(age <= short);
                *in_long += u16::from(age <= long);
            }
            return counts.map(f32::from);
        };
        let counts = if cells.counted_at == now { cells.counts } else { cells.count(now, self.windows) };
        counts.map(|lit| ESTIMATES.get(usize::from(lit)).copied().unwrap_or(0.0))
    }

    /// Heap bytes held.
    pub fn heap_bytes(&self) -> usize {
        let exact = if self.exact.spilled() { self.exact.capacity() * size_of::<(u32, u16)>() } else { 0 };
        exact + self.cells.as_ref().map_or(0, |_| size_of::<Cells>())
    }
}

impl Cells {
    fn light(&mut self, hash: u32, now: u16, windows: [u16; 2]) {
        if now != self.counted_at && is_later(now, self.counted_at) {
            self.counts = self.count(now, windows);
            self.counted_at = now;
        }
        // A second mix: the low bits of the hash alone would inherit its weaknesses.
        let mixed = hash.wrapping_mul(0x9e37_79b1) >> 24;
        let Some(cell) = self.lit.get_mut(mixed as usize) else { return };
        if *cell != 0 && !is_later(now, *cell) {
            return;
        }
        for (count, window) in self.counts.iter_mut().zip(windows) {
            let counted = *cell != 0 && age(self.counted_at, *cell) <= window;
            *count += u16::from(!counted && age(self.counted_at, now) <= window);
        }
        *cell = now;
    }

    fn count(&self, now: u16, windows: [u16; 2]) -> [u16; 2] {
        // `age(now, last) <= window` in one comparison, which compiles to a few vector instructions for all cells.
        const LATER: u16 = AGE_END.wrapping_neg();
        let [short, long] = windows.map(|window| window.saturating_add(LATER));
        let (mut in_short, mut in_long) = (0, 0);
        for last in &self.lit {
            let shifted = now.wrapping_sub(*last).wrapping_add(LATER);
            let is_lit = u16::from(*last != 0);
            in_short += is_lit & u16::from(shifted <= short);
            in_long += is_lit & u16::from(shifted <= long);
        }
        [in_short, in_long]
    }
}

/// A tick in 16 bits, never zero.
fn stamp(tick: u32) -> u16 {
    (tick as u16).max(1)
}

/// Ticks from `last` to `now`; zero where `last` is the later one.
fn age(now: u16, last: u16) -> u16 {
    let ticks = now.wrapping_sub(last);
    if ticks >= AGE_END { 0 } else { ticks }
}

/// The counterpart of `age`: what is so long ago that it counts as ahead is not earlier either.
fn is_later(now: u16, last: u16) -> bool {
    now.wrapping_sub(last) < AGE_END
}

#[cfg(test)]
mod tests {
    use std::hash::BuildHasher;

    use foldhash::quality::FixedState;

    use super::*;

    fn filled(things: u64, tick: u32) -> Distinct {
        let hasher = FixedState::with_seed(3);
        let mut distinct = Distinct::new([2, 12]);
        for thing in 0..things {
            distinct.insert(hasher.hash_one(thing), tick);
            distinct.insert(hasher.hash_one(thing), tick);
        }
        distinct
    }

    #[test]
    fn few_things_are_counted_exactly() {
        for things in 0..=EXACT_MAX as u64 {
            assert_eq!(filled(things, 9).counts(9)[0], things as f32);
        }
    }

    #[test]
    fn many_things_are_counted_within_three_standard_errors() {
        for (things, error) in [(50, 0.04), (100, 0.04), (400, 0.06), (1_000, 0.11)] {
            let counted = f64::from(filled(things, 9).counts(9)[0]);
            assert!((counted / things as f64 - 1.0).abs() < 3.0 * error, "{things} counted as {counted}");
        }
        let most = filled(200_000, 9).counts(9)[0];
        assert!((1_400.0..2_000.0).contains(&most), "{most}");
    }

    #[test]
    fn things_leave_the_window_as_it_moves() {
        for things in [10, 200] {
            let distinct = filled(things, 100);
            assert!(distinct.counts(102)[0] > 0.9 * things as f32);
            assert_eq!(distinct.counts(103)[0], 0.0);
            assert!(distinct.counts(103)[1] > 0.9 * things as f32);
        }
    }

    #[test]
    fn what_comes_back_after_a_day_counts_again() {
        const DAY: u32 = 24 * 3_600 / 5;
        for things in [10, 200] {
            let mut distinct = filled(things, 100);
            let hasher = FixedState::with_seed(3);
            for thing in 0..things {
                distinct.insert(hasher.hash_one(thing), 100 + DAY);
            }
            assert!(distinct.counts(100 + DAY)[0] > 0.9 * things as f32);
        }
    }

    #[test]
    fn what_came_later_than_asked_for_counts() {
        assert_eq!(filled(5, 100).counts(90)[0], 5.0);
    }

    #[test]
    fn the_axis_may_wrap() {
        let distinct = filled(20, 0x1_fffe);
        assert_eq!(distinct.counts(0x2_0001)[1], 20.0);
        assert_eq!(distinct.counts(0x2_0020)[1], 0.0);
    }

    #[test]
    fn counts_kept_up_equal_counts_made_anew() {
        let hasher = FixedState::with_seed(3);
        let mut distinct = Distinct::new([2, 12]);
        for step in 0..4_000u64 {
            // Ticks go up with small steps back and an occasional leap.
            let tick = (step / 40 + step / 900 * 7 + step % 3) as u32;
            distinct.insert(hasher.hash_one(step % 700), tick);
            if let Some(cells) = &distinct.cells {
                assert_eq!(cells.counts, cells.count(cells.counted_at, distinct.windows), "{step}");
            }
        }
    }

    #[test]
    fn space_is_bounded() {
        assert!(filled(100_000, 1).heap_bytes() <= 1_024);
    }
}
