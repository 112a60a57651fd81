//! What rounds come to: their median, how far they spread, and how noisy they were.

use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

/// Median, lowest and highest of some rounds. `noise` is the distance of the quartiles over the median: what the machine did
/// in a quarter of the rounds does not move it.
pub(crate) fn spread(mut values: Vec<f64>) -> Value {
    values.sort_by(f64::total_cmp);
    let at = |share: usize| values[(values.len() - 1) * share / 4];
    let (median, quartiles) = (at(2), at(3) - at(1));
    let noise = if median == 0.0 { 0.0 } else { quartiles / median.abs() };
    json!({ "median": round(median), "low": round(at(0)), "high": round(at(4)), "noise": round(noise) })
}

/// The same with what the median must stay under.
pub(crate) fn bounded(values: Vec<f64>, bar: f64) -> Value {
    let mut told = spread(values);
    told["bar"] = json!(bar);
    told
}

/// Round by round, so that a slow one slows both.
pub(crate) fn over(ours: &[f64], theirs: &[f64]) -> Vec<f64> {
    ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect()
}

/// Seconds of a CPU that `work` takes on this thread, in the kernel too: what others do on the machine meanwhile is not in them.
pub(crate) fn secs(work: impl FnOnce()) -> f64 {
    let begin = clock_gettime(ClockId::ThreadCPUTime);
    work();
    let end = clock_gettime(ClockId::ThreadCPUTime);
    (end.tv_sec - begin.tv_sec) as f64 + (end.tv_nsec - begin.tv_nsec) as f64 / 1e9
}

/// Four digits are more than a shared machine can tell apart.
fn round(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return 0.0;
    }
    let unit = 10_f64.powi(value.abs().log10().floor() as i32 - 3);
    (value / unit).round() * unit
}
