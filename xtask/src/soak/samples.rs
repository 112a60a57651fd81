//! What a process held over time: its slope, whether it grows, a table and a plot.

use std::fmt::Write as _;

use crate::chaos::sensor::Holdings;

const MIB: f64 = 1_048_576.0;
const ROWS: usize = 12;
const COLUMNS: usize = 72;

#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    pub(super) secs: f64,
    pub(super) holdings: Holdings,
    pub(super) is_conserved: bool,
}

impl Sample {
    pub(super) fn line(&self) -> String {
        let Holdings { rss_bytes, descriptors, threads } = self.holdings;
        format!("{:.2} MiB, {descriptors} descriptors, {threads} threads", rss_bytes / MIB)
    }
}

/// Samples in the order of time.
#[derive(Debug, Default)]
pub(super) struct Samples {
    all: Vec<Sample>,
}

impl Samples {
    pub(super) fn add(&mut self, sample: Sample) {
        self.all.push(sample);
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn all_conserved(&self) -> bool {
        self.all.iter().all(|sample| sample.is_conserved)
    }

    /// Least squares over the second half.
    pub(super) fn rss_slope_mib_per_hour(&self) -> f64 {
        let half = &self.all[self.all.len() / 2..];
        let count = half.len() as f64;
        let mean = |of: &dyn Fn(&Sample) -> f64| half.iter().map(of).sum::<f64>() / count;
        let (secs, bytes) = (mean(&|sample| sample.secs), mean(&|sample| sample.holdings.rss_bytes));
        let product =
            |of: &dyn Fn(&Sample) -> f64| half.iter().map(|sample| (sample.secs - secs) * of(sample)).sum::<f64>();
        let spread = product(&|sample| sample.secs - secs);
        if spread > 0.0 { product(&|sample| sample.holdings.rss_bytes - bytes) / spread * 3_600.0 / MIB } else { 0.0 }
    }

    /// Whether the last quarter holds more than the second one, by their medians: single requests come and go.
    pub(super) fn grows(&self, of: impl Fn(&Holdings) -> f64) -> bool {
        let quarter = self.all.len() / 4;
        let median = |samples: &[Sample]| {
            let mut values: Vec<f64> = samples.iter().map(|sample| of(&sample.holdings)).collect();
            values.sort_by(f64::total_cmp);
            values.get(values.len() / 2).copied().unwrap_or_default()
        };
        median(&self.all[self.all.len() - quarter..]) > median(&self.all[quarter..2 * quarter])
    }

    /// A dozen of them.
    pub(super) fn table(&self) -> String {
        let mut text = "| after | memory | descriptors | threads |\n|---:|---:|---:|---:|\n".to_owned();
        let step = self.all.len().div_ceil(ROWS).max(1);
        for sample in self.all.iter().rev().step_by(step).collect::<Vec<_>>().into_iter().rev() {
            let Holdings { rss_bytes, descriptors, threads } = sample.holdings;
            let _infallible =
                writeln!(text, "| {:.0} s | {:.2} MiB | {descriptors} | {threads} |", sample.secs, rss_bytes / MIB);
        }
        text
    }

    /// Memory over time, from the least to the most.
    pub(super) fn plot(&self) -> String {
        const HEIGHTS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
        let values: Vec<f64> = self.all.iter().map(|sample| sample.holdings.rss_bytes / MIB).collect();
        let (least, most) =
            values.iter().fold((f64::MAX, f64::MIN), |(least, most), value| (least.min(*value), most.max(*value)));
        let step = values.len().div_ceil(COLUMNS).max(1);
        let bars: String = values
            .chunks(step)
            .map(|some| some.iter().sum::<f64>() / some.len() as f64)
            .map(|value| {
                let height = (1..8_u8).filter(|part| value - least >= (most - least) * f64::from(*part) / 8.0).count();
                HEIGHTS[if most > least { height } else { 0 }]
            })
            .collect();
        format!("{bars}  {least:.1} to {most:.1} MiB")
    }
}

#[cfg(test)]
mod tests {
    use super::{Holdings, MIB, Sample, Samples};

    fn samples(rss_mib: impl Fn(f64) -> f64, descriptors: impl Fn(f64) -> f64) -> Samples {
        let mut samples = Samples::default();
        for number in 0..100 {
            let secs = f64::from(number) * 36.0;
            let holdings = Holdings { rss_bytes: rss_mib(secs) * MIB, descriptors: descriptors(secs), threads: 9.0 };
            samples.add(Sample { secs, holdings, is_conserved: true });
        }
        samples
    }

    #[test]
    fn what_fills_at_first_is_no_slope_and_what_goes_on_growing_is() {
        let filling = samples(|secs| 40.0 + (secs / 60.0).min(20.0), |_| 20.0);
        assert!(filling.rss_slope_mib_per_hour().abs() < 1e-9);
        let growing = samples(|secs| 40.0 + 3.0 * secs / 3_600.0, |_| 20.0);
        assert!((growing.rss_slope_mib_per_hour() - 3.0).abs() < 1e-9);
        assert_eq!(Samples::default().rss_slope_mib_per_hour(), 0.0);
    }

    #[test]
    fn single_requests_are_no_growth_and_a_leak_is() {
        let busy = samples(|_| 40.0, |secs| if (secs as u64).is_multiple_of(360) { 25.0 } else { 20.0 });
        assert!(!busy.grows(|holdings| holdings.descriptors));
        let leaking = samples(|_| 40.0, |secs| 20.0 + (secs / 600.0).floor());
        assert!(leaking.grows(|holdings| holdings.descriptors) && !leaking.grows(|holdings| holdings.threads));
    }

    #[test]
    fn table_and_plot_end_with_the_last_sample() {
        let growing = samples(|secs| 40.0 + secs / 360.0, |_| 20.0);
        assert!(growing.table().ends_with("| 3564 s | 49.90 MiB | 20 | 9 |\n"), "{}", growing.table());
        assert!(
            growing.plot().starts_with('▁') && growing.plot().ends_with("█  40.0 to 49.9 MiB"),
            "{}",
            growing.plot()
        );
    }
}
