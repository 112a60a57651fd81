//! What rounds come to: their median, how far they spread, and how noisy they were. As the bench programs tell it.

use serde_json::{Value, json};

pub(super) fn spread(mut rounds: Vec<f64>) -> Value {
    if rounds.is_empty() {
        return Value::Null;
    }
    rounds.sort_by(f64::total_cmp);
    let at = |share: usize| rounds[(rounds.len() - 1) * share / 4];
    let median = at(2);
    let noise = if median == 0.0 { 0.0 } else { (at(3) - at(1)) / median.abs() };
    json!({ "median": median, "low": at(0), "high": at(4), "noise": noise })
}

/// With what the median must stay under.
pub(super) fn at_most(rounds: Vec<f64>, bar: f64) -> Value {
    with(rounds, "bar", bar)
}

/// With what the median must reach.
pub(super) fn at_least(rounds: Vec<f64>, floor: f64) -> Value {
    with(rounds, "floor", floor)
}

fn with(rounds: Vec<f64>, name: &str, value: f64) -> Value {
    let mut told = spread(rounds);
    if told.is_object() {
        told[name] = json!(value);
    }
    told
}

/// Round by round, so that a slow one slows both.
pub(super) fn over(ours: &[f64], theirs: &[f64]) -> Vec<f64> {
    ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect()
}

/// The smallest of which a share of all is no larger.
pub(super) fn percentile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = (values.len() as f64 * share).ceil() as usize;
    values.get(at.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::{percentile, spread};

    #[test]
    fn a_round_that_something_disturbed_moves_neither_median_nor_noise() {
        let told = spread(vec![1.0, 1.01, 9.0, 0.99, 1.0]);
        assert_eq!(told["median"], 1.0);
        assert_eq!(told["high"], 9.0);
        assert!(told["noise"].as_f64().is_some_and(|noise| noise < 0.02), "{told}");
    }

    #[test]
    fn the_99th_percentile_of_a_hundred_is_the_last_but_one() {
        let mut values: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!(percentile(&mut values, 0.99), 99.0);
        assert_eq!(percentile(&mut values, 0.5), 50.0);
    }
}
