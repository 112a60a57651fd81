//! Small trackers that the behaviour detectors are made of. Know no protocol and no pattern.

use ids_common::flow::FlowKey;

use crate::features::window::distinct::Distinct;

pub(super) const SEC: u64 = 1_000_000_000;

/// A count in which an event of age a weighs e^(-a/tau).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Decayed {
    value: f64,
    at_ns: u64,
}

impl Decayed {
    /// Adds events at a time, which may lie a little before the last one.
    pub(super) fn add(&mut self, at_ns: u64, tau_secs: f64, events: f64) {
        if at_ns >= self.at_ns {
            self.value = self.value_at(at_ns, tau_secs) + events;
            self.at_ns = at_ns;
        } else {
            self.value += events * weight(self.at_ns - at_ns, tau_secs);
        }
    }

    /// What the count stood at after its last event: it is never more from then on.
    pub(super) fn peak(&self) -> f64 {
        self.value.max(0.0)
    }

    pub(super) fn value_at(&self, at_ns: u64, tau_secs: f64) -> f64 {
        self.value * weight(at_ns.saturating_sub(self.at_ns), tau_secs)
    }
}

fn weight(age_ns: u64, tau_secs: f64) -> f64 {
    if age_ns == 0 { 1.0 } else { (-(age_ns as f64) / (tau_secs * SEC as f64)).exp() }
}

/// Distinct things over a short and a long window of seconds, in steps of five.
#[derive(Clone, Debug)]
pub(super) struct DistinctSecs(Distinct);

const STEP_SECS: u64 = 5;

impl DistinctSecs {
    pub(super) fn new(windows_secs: [u64; 2]) -> Self {
        Self(Distinct::new(windows_secs.map(|secs| u16::try_from(secs / STEP_SECS).unwrap_or(u16::MAX / 8))))
    }

    pub(super) fn insert(&mut self, hash: u64, at_ns: u64) {
        self.0.insert(hash, step(at_ns));
    }

    /// Over the short and the long window.
    pub(super) fn counts(&self, at_ns: u64) -> [f64; 2] {
        self.0.counts(step(at_ns)).map(f64::from)
    }

    /// Over the short window.
    pub(super) fn count(&self, at_ns: u64) -> f64 {
        let [short, _] = self.counts(at_ns);
        short
    }
}

fn step(at_ns: u64) -> u32 {
    (at_ns / (STEP_SECS * SEC)) as u32
}

/// When something that goes on is told: at once, when it has doubled, and every few seconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    told: Option<(u64, f64)>,
}

impl Pace {
    /// Whether to tell now that the count stands at `count`; if so, notes it.
    pub(super) fn is_due(&mut self, at_ns: u64, count: f64, repeat_ns: u64) -> bool {
        let due =
            self.told.is_none_or(|(told_ns, told)| at_ns >= told_ns.saturating_add(repeat_ns) || count >= 2.0 * told);
        if due {
            self.told = Some((at_ns, count));
        }
        due
    }
}

/// A stretch of related events: when it began, how far it got, and a flow that shows it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    pub(super) first_ns: u64,
    pub(super) last_ns: u64,
    pub(super) exemplar: FlowKey,
    pub(super) exemplar_id: u64,
    pub(super) pace: Pace,
}

impl Run {
    pub(super) fn new(at_ns: u64, exemplar: FlowKey, exemplar_id: u64) -> Self {
        Self { first_ns: at_ns, last_ns: at_ns, exemplar, exemplar_id, pace: Pace::default() }
    }

    /// Goes on with an event, or begins anew after a silence longer than `silence_ns`.
    pub(super) fn go_on(&mut self, at_ns: u64, silence_ns: u64, exemplar: FlowKey, exemplar_id: u64) {
        if at_ns > self.last_ns.saturating_add(silence_ns) {
            *self = Self::new(at_ns, exemplar, exemplar_id);
            return;
        }
        self.first_ns = self.first_ns.min(at_ns);
        if at_ns >= self.last_ns {
            self.last_ns = at_ns;
            (self.exemplar, self.exemplar_id) = (exemplar, exemplar_id);
        }
    }

    pub(super) fn secs(&self) -> f64 {
        (self.last_ns - self.first_ns) as f64 / SEC as f64
    }
}

/// Confidence in a count that has reached its threshold: 0.6 at it, 0.9 at four times it.
pub(super) fn score(count: f64, threshold: f64) -> f32 {
    if count <= 0.0 {
        return 0.0;
    }
    (1.0 - 0.4 * threshold / count).clamp(0.0, 0.99) as f32
}

/// A duration as one says it.
pub(super) fn spoken_secs(secs: f64) -> String {
    match secs {
        secs if secs < 0.95 => "less than a second".to_owned(),
        secs if secs < 120.0 => format!("{secs:.0} s"),
        secs => format!("{:.0} min", secs / 60.0),
    }
}

/// A count as one says it: estimates beyond what is counted exactly are rounded to two digits.
pub(super) fn spoken_count(count: f64) -> String {
    if count < 32.5 {
        return format!("{count:.0}");
    }
    let unit = 10f64.powf(count.log10().floor() - 1.0);
    format!("about {:.0}", (count / unit).round() * unit)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_burst_counts_in_full_and_a_rate_as_rate_times_tau() {
        let mut burst = Decayed::default();
        (0..100).for_each(|_| burst.add(5 * SEC, 10.0, 1.0));
        assert_eq!(burst.value_at(5 * SEC, 10.0), 100.0);
        assert!((burst.value_at(15 * SEC, 10.0) - 36.8).abs() < 0.1);
        let mut steady = Decayed::default();
        (0..2_000).for_each(|n| steady.add(n * SEC / 20, 10.0, 1.0));
        assert!((steady.value_at(100 * SEC, 10.0) - 200.0).abs() < 10.0);
    }

    #[test]
    fn a_run_ends_in_silence_and_keeps_its_latest_flow() {
        let key = |port| crate::fabricated::key([1; 16], port, [2; 16], 80, 6);
        let mut run = Run::new(10 * SEC, key(1), 1);
        run.go_on(12 * SEC, 5 * SEC, key(2), 2);
        run.go_on(11 * SEC, 5 * SEC, key(3), 3);
        assert_eq!((run.first_ns, run.last_ns, run.exemplar_id), (10 * SEC, 12 * SEC, 2));
        run.go_on(18 * SEC, 5 * SEC, key(4), 4);
        assert_eq!((run.first_ns, run.exemplar_id), (18 * SEC, 4));
    }

    #[test]
    fn what_goes_on_is_told_when_it_doubles_or_after_a_while() {
        let mut pace = Pace::default();
        let told: Vec<u32> = (0..100).filter(|n| pace.is_due(0, f64::from(10 + n), 5 * SEC)).collect();
        assert_eq!(told, [0, 10, 30, 70]);
        assert!(!pace.is_due(4 * SEC, 90.0, 5 * SEC));
        assert!(pace.is_due(5 * SEC, 90.0, 5 * SEC));
    }

    #[test]
    fn numbers_read_like_speech() {
        assert_eq!(spoken_count(12.0), "12");
        assert_eq!(spoken_count(412.3), "about 410");
        assert_eq!(spoken_count(1_234.0), "about 1200");
        assert_eq!(spoken_secs(0.07), "less than a second");
        assert_eq!(spoken_secs(8.4), "8 s");
        assert_eq!(spoken_secs(300.0), "5 min");
        assert!((score(12.0, 12.0) - 0.6).abs() < 1e-6 && (score(48.0, 12.0) - 0.9).abs() < 1e-6);
    }

    proptest! {
        #[test]
        fn the_order_of_events_moves_a_decayed_count_by_rounding_alone(times in prop::collection::vec(0u64..30, 1..50)) {
            let (mut given, mut sorted) = (Decayed::default(), Decayed::default());
            times.iter().for_each(|at| given.add(at * SEC, 10.0, 1.0));
            let mut ordered = times.clone();
            ordered.sort_unstable();
            ordered.iter().for_each(|at| sorted.add(at * SEC, 10.0, 1.0));
            let (one, other) = (given.value_at(40 * SEC, 10.0), sorted.value_at(40 * SEC, 10.0));
            prop_assert!((one - other).abs() < 1e-9);
        }
    }
}
