//! Results of the benches as a table and as JSON.

use std::{collections::BTreeMap, fmt::Write as _};

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

/// One ratio: the median of its rounds, their spread, and what it must stay under, if anything.
struct Ratio {
    median: f64,
    low: f64,
    high: f64,
    bar: Option<f64>,
}

impl Ratio {
    fn read(value: &Value) -> Option<Self> {
        if let Some(number) = value.as_f64() {
            return Some(Self { median: number, low: number, high: number, bar: None });
        }
        let field = |names: [&str; 2]| names.iter().find_map(|name| value.get(name)?.as_f64());
        let median = field(["median", "value"])?;
        Some(Self {
            median,
            low: field(["low", "min"]).unwrap_or(median),
            high: field(["high", "max"]).unwrap_or(median),
            bar: field(["bar", "limit"]),
        })
    }

    fn within(&self) -> bool {
        self.bar.is_none_or(|bar| self.median <= bar)
    }
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

    pub(super) fn all_within(&self) -> bool {
        self.ratios.values().all(Ratio::within)
    }

    pub(super) fn json(&self) -> Value {
        let ratios: Map<String, Value> = self
            .ratios
            .iter()
            .map(|((part, name), ratio)| {
                let value =
                    json!({ "median": ratio.median, "low": ratio.low, "high": ratio.high, "bar": ratio.bar, "within": ratio.within() });
                (format!("{part}.{name}"), value)
            })
            .collect();
        json!({ "ratios": ratios, "parts": self.parts })
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
            String::from("| part | ratio | median | lowest to highest round | at most |\n|---|---|---|---|---|\n");
        for ((part, name), ratio) in self.ratios.iter().filter(|((part, _), _)| wanted(part)) {
            let bar = ratio.bar.map_or_else(String::new, |bar| format!("{bar}"));
            let missed = if ratio.within() { "" } else { " **missed**" };
            let name = name.replace('_', " ");
            // Writing to a string cannot fail.
            let _infallible = writeln!(
                table,
                "| {part} | {name} | {:.2}{missed} | {:.2} to {:.2} | {bar} |",
                ratio.median, ratio.low, ratio.high
            );
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Results;

    #[test]
    fn a_missed_bar_is_told_in_the_table_and_in_the_verdict() -> anyhow::Result<()> {
        let mut results = Results::default();
        results
            .add("kernel", &json!({ "ratios": { "hot": { "median": 3.5, "low": 3.4, "high": 3.9, "bar": 4.0 } } }))?;
        assert!(results.all_within());
        results.add("replay", &json!({ "ratios": { "full": { "median": 14.0, "bar": 12.0 } } }))?;
        assert!(!results.all_within());
        assert!(results.table().contains("| replay | full | 14.00 **missed** |"));
        assert!(results.table_of("kernel").contains("hot") && !results.table_of("kernel").contains("replay"));
        assert_eq!(results.json()["ratios"]["kernel.hot"]["within"], json!(true));
        Ok(())
    }
}
