//! How large one quantity of a device usually is: each hour of activity has one vote, so that neither many flows
//! nor huge ones weigh more than the hour in which they were seen.
//!
//! Votes lie in logarithmic bins and fade with a half-life of `HALF_LIFE_HOURS` active hours. What counts as
//! usual follows them in bounded steps.

use super::super::{
    StateError,
    saved::{Saved, Saver},
};

/// Bins, and the width of one in nats: together 25.6 nats, 11 decades.
pub(super) const BINS: usize = 64;
pub(super) const BIN_NATS: f32 = 0.4;
/// Active hours after which a vote counts half.
const HALF_LIFE_HOURS: f32 = 168.0;
/// What is left of a vote after one hour, `2^(-1 / HALF_LIFE_HOURS)`, by the first terms of its series: the same bits
/// everywhere.
pub(super) const FADE: f32 = {
    let rate = std::f32::consts::LN_2 / HALF_LIFE_HOURS;
    1.0 - rate + rate * rate / 2.0
};
/// The limit lies so many spreads above the median; a spread is the way from the median to the quantile below.
const SPREADS: f32 = 4.0;
/// One in five hours may be anything without moving the limit out of the range of the others.
const SPREAD_QUANTILE: f32 = 0.8;
/// What was seen in so many hours is usual however rare they are: more than an attack of two hours can touch.
const TAIL_HOURS: f32 = 3.5;
/// The least that counts as a spread.
const SPREAD_NATS_MIN: f32 = 0.4;
/// The limit moves by no more than this in an active hour, once the device is known: by 2 %.
pub(super) const STEP_NATS: f32 = 0.02;

/// Whether a device is still being learned, or known and judged by what was learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Learning,
    Known,
}

/// Fading votes for one quantity.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Votes {
    bins: [f32; BINS],
    limit: f32,
}

/// `ln(1 + quantity)`.
pub(super) fn nats(quantity: f64) -> f32 {
    quantity.max(0.0).ln_1p() as f32
}

/// The quantity of so many nats.
pub(super) fn quantity(nats: f32) -> f64 {
    f64::from(nats).exp_m1()
}

impl Votes {
    pub(super) const NONE: Self = Self { bins: [0.0; BINS], limit: 0.0 };

    /// Gives one hour's vote. That of a known device is held at its limit: what was unusual is taken for the edge
    /// of the usual, and not for more.
    pub(super) fn vote(&mut self, value: f32, standing: Standing) {
        let value = match standing {
            Standing::Learning => value,
            Standing::Known => value.min(self.limit),
        };
        for bin in &mut self.bins {
            *bin *= FADE;
        }
        let at = ((value / BIN_NATS).max(0.0) as usize).min(BINS - 1);
        if let Some(bin) = self.bins.get_mut(at) {
            *bin += 1.0;
        }
        let target = self.target();
        self.limit = match standing {
            Standing::Learning => target,
            Standing::Known => self.limit + (target - self.limit).clamp(-STEP_NATS, STEP_NATS),
        };
    }

    /// Hours that speak, the older the less.
    pub(super) fn weight(&self) -> f32 {
        self.bins.iter().sum()
    }

    /// What lies above is unusual, in nats.
    pub(super) fn limit(&self) -> f32 {
        self.limit
    }

    fn target(&self) -> f32 {
        let median = self.quantile(0.5);
        let spread = (self.quantile(SPREAD_QUANTILE) - median).max(SPREAD_NATS_MIN);
        (median + SPREADS * spread).max(self.tail())
    }

    /// The end of the highest bin that, with those above it, holds the votes of `TAIL_HOURS`.
    fn tail(&self) -> f32 {
        let mut above = 0.0;
        let reached = self.bins.iter().rposition(|bin| {
            above += bin;
            above >= TAIL_HOURS
        });
        reached.map_or(0.0, |at| (at as f32 + 1.0) * BIN_NATS)
    }

    /// The value that a share of the votes does not exceed, in nats; within a bin as if it were evenly filled.
    pub(super) fn quantile(&self, share: f32) -> f32 {
        let mut left = self.weight() * share;
        for (at, bin) in self.bins.iter().enumerate() {
            if *bin > 0.0 && left <= *bin {
                return (at as f32 + left / bin) * BIN_NATS;
            }
            left -= bin;
        }
        // Rounding may leave a little over: the last filled bin's end.
        let last = self.bins.iter().rposition(|bin| *bin > 0.0);
        last.map_or(0.0, |at| (at as f32 + 1.0) * BIN_NATS)
    }

    pub(super) fn save(&self, saver: &mut Saver<'_>) {
        saver.f32(self.limit);
        let filled = self.bins.iter().enumerate().filter(|(_, bin)| **bin > 0.0);
        saver.count(filled.clone().count());
        for (at, bin) in filled {
            saver.u8(at as u8);
            saver.f32(*bin);
        }
    }

    pub(super) fn restore(saved: &mut Saved<'_>) -> Result<Self, StateError> {
        let mut votes = Self { limit: saved.f32()?, ..Self::NONE };
        for _ in 0..saved.count(BINS)? {
            let (at, weight) = (saved.u8()?, saved.f32()?);
            match votes.bins.get_mut(usize::from(at)) {
                Some(bin) if weight >= 0.0 => *bin = weight,
                Some(_) | None => return Err(saved.refuse("a bin is out of range")),
            }
        }
        Ok(votes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn learned(values: &[f32]) -> Votes {
        let mut votes = Votes::NONE;
        for value in values {
            votes.vote(*value, Standing::Learning);
        }
        votes
    }

    #[test]
    fn votes_fade_by_half_over_their_half_life() {
        let mut votes = learned(&[1.0]);
        for _ in 0..HALF_LIFE_HOURS as usize {
            votes.vote(20.0, Standing::Learning);
        }
        let old: f32 = votes.bins[..40].iter().sum();
        assert!((old - 0.5).abs() < 0.001, "{old}");
        // However long it learns, an hour never weighs less than one in 243.
        for _ in 0..10_000 {
            votes.vote(20.0, Standing::Learning);
        }
        assert!(votes.weight() < 243.5, "{}", votes.weight());
    }

    #[test]
    fn quantiles_are_those_of_the_votes_to_within_a_bin() {
        let values: Vec<f32> = (0..100).map(|at| 5.0 + at as f32 * 0.05).collect();
        let votes = learned(&values);
        assert!((votes.quantile(0.5) - 7.5).abs() < 0.6, "{}", votes.quantile(0.5));
        assert!((votes.quantile(0.8) - 9.0).abs() < 0.6);
        assert!(votes.quantile(0.0) <= votes.quantile(0.5) && votes.quantile(1.0) <= 10.4);
        assert_eq!(Votes::NONE.quantile(0.5), 0.0);
    }

    #[test]
    fn nats_and_quantities_are_each_others_inverse() {
        for value in [0.0, 1.0, 1_500.0, 1e9] {
            assert!((quantity(nats(value)) - value).abs() <= value * 1e-4);
        }
    }

    #[test]
    fn what_four_hours_have_shown_is_usual_and_what_three_have_is_not() {
        let mut evenings = vec![5.0; 30];
        evenings.extend([22.0; 3]);
        assert!(learned(&evenings).limit() < 10.0);
        evenings.push(22.0);
        assert!(learned(&evenings).limit() >= 22.0);
    }

    #[test]
    fn a_lasting_change_is_followed_in_the_stated_steps() {
        let mut votes = learned(&[8.0; 48]);
        let before = votes.limit();
        // Ten times as much from now on.
        for _ in 0..100 {
            votes.vote(10.3, Standing::Known);
        }
        let moved = votes.limit() - before;
        assert!(moved > 0.5 && moved <= 100.0 * STEP_NATS + 1e-3, "{moved}");
    }

    proptest! {
        #[test]
        fn what_a_few_hours_say_moves_the_limit_of_a_known_device_by_a_step_each(
            past in prop::collection::vec(0.0f32..25.0, 24..200),
            attack in prop::collection::vec(0.0f32..1e9, 1..6),
        ) {
            let mut votes = learned(&past);
            let before = votes.limit();
            for value in &attack {
                votes.vote(*value, Standing::Known);
            }
            prop_assert!((votes.limit() - before).abs() <= attack.len() as f32 * STEP_NATS + 1e-4);
        }

        #[test]
        fn three_hours_of_attack_while_learning_leave_the_limit_within_reach_of_the_other_hours(
            past in prop::collection::vec(6.0f32..7.0, 24..60),
            attack in prop::collection::vec(0.0f32..1e9, 3),
            at in 0usize..24,
        ) {
            let mut poisoned = past.clone();
            poisoned.splice(at..at, attack);
            // All quantiles that count stay within the range of the clean hours, to within a bin.
            prop_assert!(learned(&poisoned).limit() <= 7.0 + BIN_NATS + SPREADS * (1.0 + 2.0 * BIN_NATS));
        }
    }
}
