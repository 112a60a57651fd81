//! Results of the benches as a table and as JSON, and whether they can be believed.

use std::{collections::BTreeMap, fmt::Write as _};

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

/// Distance of the quartiles over the median beyond which a figure that has a bar says more about the machine than about us.
const NOISE_MAX: f64 = 0.25;

/// One ratio: the median of its rounds, their spread, and what it must stay under or reach, if anything.
struct Ratio {
    median: f64,
    low: f64,
    high: f64,
    noise: f64,
    bar: Option<f64>,
    floor: Option<f64>,
}

impl Ratio {
    fn read(value: &Value) -> Option<Self> {
        if let Some(number) = value.as_f64() {
            return Some(Self { median: number, low: number, high: number, noise: 0.0, bar: None, floor: None });
        }
        let field = |name: &str| value.get(name)?.as_f64();
        let median = field("median")?;
        Some(Self {
            median,
            low: field("low").unwrap_or(median),
            high: field("high").unwrap_or(median),
            noise: field("noise").unwrap_or_default(),
            bar: field("bar"),
            floor: field("floor"),
        })
    }

    fn within(&self) -> bool {
        self.bar.is_none_or(|bar| self.median <= bar) && self.floor.is_none_or(|floor| self.median >= floor)
    }

    fn wanted(&self) -> String {
        match (self.bar, self.floor) {
            (Some(bar), _) => format!("at most {bar}"),
            (None, Some(floor)) => format!("at least {floor}"),
            (None, None) => String::new(),
        }
    }
}

/// The figure of a part that is too noisy to be told, if there is one.
pub(super) fn noise(found: &Value) -> Option<String> {
    let ratios = found["ratios"].as_object()?;
    ratios.iter().find_map(|(name, value)| {
        let ratio = Ratio::read(value)?;
        let matters = ratio.bar.is_some() || ratio.floor.is_some();
        (matters && ratio.noise > NOISE_MAX).then(|| {
            let percent = 100.0 * ratio.noise;
            format!("half of the rounds of `{name}` lie {percent:.0} % apart, {:.0} % at most", 100.0 * NOISE_MAX)
        })
    })
}

#[derive(Default)]
pub(super) struct Results {
    ratios: BTreeMap<(String, String), Ratio>,
    parts: Map<String, Value>,
}

impl Results {
    /// Takes what one bench printed: `ratios` by name, and whatever else it says.
    pub(super) fn add(&mut self, part: &str, found: &Value) -> Result<()> {
        let ratios = found["ratios"].as_object().with_context(|| format!("the bench of {part} gives no `ratios`"))?;
        for (name, value) in ratios {
            let ratio =
                Ratio::read(value).with_context(|| format!("ratio `{name}` of {part} is unreadable: {value}"))?;
            self.ratios.insert((part.to_owned(), name.clone()), ratio);
        }
        self.parts.insert(part.to_owned(), found.clone());
        Ok(())
    }

    pub(super) fn has(&self, part: &str) -> bool {
        self.parts.contains_key(part)
    }

    pub(super) fn all_within(&self) -> bool {
        self.ratios.values().all(Ratio::within)
    }

    /// `ratios` holds medians by one name, `parts` everything with its spread.
    pub(super) fn json(&self) -> Value {
        let ratios: Map<String, Value> =
            self.ratios.iter().map(|((part, name), ratio)| (flat_name(part, name), json!(ratio.median))).collect();
        let missed: Vec<String> = self
            .ratios
            .iter()
            .filter(|(_, ratio)| !ratio.within())
            .map(|((part, name), _)| flat_name(part, name))
            .collect();
        json!({ "ratios": ratios, "missed": missed, "parts": self.parts })
    }

    /// As Markdown, which reads well on a terminal too.
    pub(super) fn table(&self) -> String {
        self.rows(|_| true)
    }

    /// The same of one part.
    pub(super) fn table_of(&self, part: &str) -> String {
        self.rows(|one| one == part)
    }

    fn rows(&self, wanted: impl Fn(&str) -> bool) -> String {
        let mut table =
            String::from("| part | figure | median | lowest to highest round | bar |\n|---|---|---|---|---|\n");
        for ((part, name), ratio) in self.ratios.iter().filter(|((part, _), _)| wanted(part)) {
            let missed = if ratio.within() { "" } else { " **missed**" };
            let name = name.replace('_', " ");
            let [median, low, high] = [ratio.median, ratio.low, ratio.high].map(digits);
            // Writing to a string cannot fail.
            let _infallible =
                writeln!(table, "| {part} | {name} | {median}{missed} | {low} to {high} | {} |", ratio.wanted());
        }
        table
    }
}

/// Memory is told in its unit, whatever part tells it.
fn flat_name(part: &str, name: &str) -> String {
    match (part, name) {
        ("memory", "rss_mib" | "maps_mib") => name.to_owned(),
        _ => format!("{part}_{name}"),
    }
}

/// Three digits that mean something, whatever the size.
fn digits(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 1.0 => format!("{value:.2}"),
        size if size >= 0.01 => format!("{value:.3}"),
        _ => format!("{value:.5}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Results, digits, noise};

    #[test]
    fn a_missed_bar_or_floor_is_told_in_the_table_and_in_the_verdict() -> anyhow::Result<()> {
        let mut results = Results::default();
        results
            .add("kernel", &json!({ "ratios": { "hot": { "median": 3.5, "low": 3.4, "high": 3.9, "bar": 4.0 } } }))?;
        results.add("wire", &json!({ "ratios": { "over_empty": { "median": 0.7, "floor": 0.6 } } }))?;
        assert!(results.all_within());
        results.add("replay", &json!({ "ratios": { "full": { "median": 14.0, "bar": 12.0 } } }))?;
        results.add("wire", &json!({ "ratios": { "over_empty": { "median": 0.5, "floor": 0.6 } } }))?;
        assert!(!results.all_within());
        assert!(results.table().contains("| replay | full | 14.00 **missed** |"));
        assert!(results.table_of("wire").contains("0.500 **missed**") && results.table().contains("at least 0.6"));
        assert!(results.table_of("kernel").contains("hot") && !results.table_of("kernel").contains("replay"));
        assert_eq!(results.json()["missed"], json!(["replay_full", "wire_over_empty"]));
        Ok(())
    }

    #[test]
    fn ratios_have_the_names_that_others_compare_them_by() -> anyhow::Result<()> {
        let mut results = Results::default();
        results.add("kernel", &json!({ "ratios": { "hot_over_empty": { "median": 3.5 } } }))?;
        results.add("memory", &json!({ "ratios": { "rss_mib": 40.0, "rss_peak_of_bound": 1.0 } }))?;
        let told = json!({ "kernel_hot_over_empty": 3.5, "rss_mib": 40.0, "memory_rss_peak_of_bound": 1.0 });
        assert_eq!(results.json()["ratios"], told);
        Ok(())
    }

    #[test]
    fn a_figure_with_a_bar_whose_rounds_lie_far_apart_is_not_believed() {
        let found = |noise: f64| json!({ "ratios": { "hot": { "median": 3.5, "noise": noise, "bar": 4.0 } } });
        assert_eq!(noise(&found(0.2)), None);
        assert!(noise(&found(0.4)).is_some_and(|why| why.contains("hot") && why.contains("40 %")));
        assert_eq!(
            noise(&json!({ "ratios": { "hot": { "median": 3.5, "noise": 0.4 } } })),
            None,
            "nothing hangs on it"
        );
    }

    #[test]
    fn small_figures_keep_their_digits() {
        assert_eq!([digits(0.00412), digits(0.0412), digits(4.12), digits(412.3)], ["0.00412", "0.041", "4.12", "412"]);
    }
}
