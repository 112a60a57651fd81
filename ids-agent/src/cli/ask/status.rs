//! How `status` shows an agent's answer to people: one line for each question they have.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{
    cli::table::{grouped, shown as safe, table},
    http::family::{self, Family},
};

/// The figures of an answer.
struct Figures<'a> {
    series: Vec<(&'a str, BTreeMap<&'a str, &'a str>, f64)>,
}

impl<'a> Figures<'a> {
    fn of(answer: &'a Value) -> Self {
        let series = answer.get("series").and_then(Value::as_array).into_iter().flatten();
        let read = |one: &'a Value| {
            let labels = one.get("labels").and_then(Value::as_object).into_iter().flatten();
            let labels = labels.filter_map(|(name, value)| Some((name.as_str(), value.as_str()?))).collect();
            Some((one.get("name")?.as_str()?, labels, one.get("value")?.as_f64()?))
        };
        Self { series: series.filter_map(read).collect() }
    }

    fn all(&self, family: Family) -> impl Iterator<Item = (&BTreeMap<&'a str, &'a str>, f64)> {
        self.series.iter().filter(move |(name, ..)| *name == family.name).map(|(_, labels, value)| (labels, *value))
    }

    /// The sum over all labels; nothing where there is no such series.
    fn sum(&self, family: Family) -> Option<f64> {
        let mut values = self.all(family).map(|(_, value)| value).peekable();
        values.peek()?;
        Some(values.sum())
    }

    fn count(&self, family: Family) -> String {
        grouped(whole(self.sum(family).unwrap_or(0.0)))
    }
}

/// Counts are whole numbers below 2^53.
fn whole(value: f64) -> u64 {
    value.max(0.0) as u64
}

/// The table.
pub(super) fn shown(answer: &Value) -> String {
    let figures = Figures::of(answer);
    let text = |name: &str| answer.get(name).and_then(Value::as_str).unwrap_or("?");
    let number = |name: &str| answer.get(name).and_then(Value::as_u64).unwrap_or(0);
    let mut rows = table(&["", ""]);
    rows.set_header(Vec::<&str>::new());
    let mut row = |name: &str, value: String| {
        rows.add_row([name.to_owned(), value]);
    };
    row(
        "agent",
        format!(
            "{}, process {}, up {} since {}",
            text("version"),
            number("pid"),
            duration(number("uptime_secs")),
            text("since").split('.').next().unwrap_or_default()
        ),
    );
    let trouble =
        answer.get("fault").and_then(Value::as_str).or_else(|| answer.get("not_ready").and_then(Value::as_str));
    row("health", trouble.map_or_else(|| "every stage makes progress".to_owned(), |trouble| safe(trouble, 200)));
    row("interfaces", interfaces(&figures));
    row(
        "packets",
        format!(
            "{} seen = {} in flows + {} skipped; {} dropped for blocks",
            figures.count(family::PACKETS_SEEN),
            figures.count(family::PACKETS_IN_FLOWS),
            figures.count(family::PACKETS_SKIPPED),
            figures.count(family::PACKETS_BLOCKED)
        ),
    );
    row("losses", losses(&figures));
    row(
        "flows",
        format!(
            "{} now, {} ended, {} judgements",
            figures.count(family::FLOWS_ACTIVE),
            figures.count(family::FLOWS_ENDED),
            figures.count(family::FLOWS_JUDGED)
        ),
    );
    row("alerts", alerts(&figures));
    if let Some(level) = figures.sum(family::BUDGET_LEVEL) {
        row("level", format!("{} of 3", whole(level)));
    }
    if figures.sum(family::COVERAGE).is_some() {
        row("coverage", coverage(&figures));
    }
    row("blocking", blocking(&figures, text("blocking")));
    row("models", models(&figures));
    row("feeds", feeds(&figures));
    rows.to_string()
}

fn interfaces(figures: &Figures<'_>) -> String {
    let place = |labels: &BTreeMap<&str, &str>, value: f64| {
        let label = |name: &str| safe(labels.get(name).copied().unwrap_or("?"), 20);
        let lost = if value > 0.0 { "" } else { " (gone)" };
        format!("{} {} {}{lost}", label("interface"), label("mode"), label("direction"))
    };
    listed(figures.all(family::ATTACHED).map(|(labels, value)| place(labels, value)), "none")
}

/// Everything that means that something was not seen, sampled, judged or written.
fn losses(figures: &Figures<'_>) -> String {
    const LOSSES: [(Family, &str); 6] = [
        (family::SLOTS_LOST_PACKETS, "packets of lost slots"),
        (family::CAPTURE_GAP_PACKETS, "packets passed unseen"),
        (family::TABLE_MISSING, "packets counted nowhere"),
        (family::SAMPLES_LOST, "payload samples"),
        (family::SINK_LINES_DROPPED, "output lines"),
        (family::INFERENCE_FAILED, "flows not judged by a model"),
    ];
    let lost = LOSSES.iter().filter_map(|(family, what)| {
        let value = whole(figures.sum(*family)?);
        (value > 0).then(|| format!("{} {what}", grouped(value)))
    });
    listed(lost, "none")
}

fn alerts(figures: &Figures<'_>) -> String {
    let one = |labels: &BTreeMap<&str, &str>, value: f64| {
        let label = |name: &str| safe(labels.get(name).copied().unwrap_or("?"), 20);
        format!("{} {} {}", grouped(whole(value)), label("severity"), label("class"))
    };
    let told = figures.all(family::ALERTS).filter(|(_, value)| *value > 0.0);
    listed(told.map(|(labels, value)| one(labels, value)), "none so far")
}

fn coverage(figures: &Figures<'_>) -> String {
    let partial = figures.all(family::COVERAGE).filter(|(_, value)| *value < 1.0).map(|(labels, value)| {
        let detector = safe(labels.get("detector").copied().unwrap_or("?"), 30);
        format!("{detector} {} %", whole(value * 100.0))
    });
    listed(partial, "every detector sees everything")
}

fn blocking(figures: &Figures<'_>, mode: &str) -> String {
    if figures.sum(family::BLOCKS).is_none() {
        return safe(mode, 20);
    }
    format!(
        "{}: {} in force, {} refused",
        safe(mode, 20),
        figures.count(family::BLOCKS),
        figures.count(family::BLOCK_REFUSED)
    )
}

fn models(figures: &Figures<'_>) -> String {
    let model = |labels: &BTreeMap<&str, &str>| {
        let label = |name: &str| safe(labels.get(name).copied().unwrap_or("?"), 30);
        format!("{} {} ({})", label("name"), label("version"), label("backend"))
    };
    listed(figures.all(family::MODEL_INFO).map(|(labels, _)| model(labels)), "none")
}

fn feeds(figures: &Figures<'_>) -> String {
    let feed = |labels: &BTreeMap<&str, &str>, value: f64| {
        format!("{} {} indicators", safe(labels.get("feed").copied().unwrap_or("?"), 32), grouped(whole(value)))
    };
    listed(figures.all(family::INTEL_INDICATORS).map(|(labels, value)| feed(labels, value)), "none")
}

fn listed(lines: impl Iterator<Item = String>, none: &str) -> String {
    let lines: Vec<String> = lines.collect();
    if lines.is_empty() { none.to_owned() } else { lines.join("\n") }
}

/// `3 d 4 h`, `4 h 5 min`, `5 min 6 s`, `6 s`.
pub(super) fn duration(secs: u64) -> String {
    let (days, hours, minutes) = (secs / 86_400, secs / 3_600 % 24, secs / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{secs} s"),
        (0, 0, _) => format!("{minutes} min {} s", secs % 60),
        (0, _, _) => format!("{hours} h {minutes} min"),
        (_, _, _) => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_take_the_two_units_that_matter() {
        let shown = [6, 306, 14_700, 273_600].map(duration);
        assert_eq!(shown, ["6 s", "5 min 6 s", "4 h 5 min", "3 d 4 h"]);
    }

    #[test]
    fn the_table_answers_from_the_figures_and_names_what_was_lost() {
        let one = |name: &str, labels: Value, value: f64| serde_json::json!({ "name": name, "labels": labels, "value": value });
        let none = serde_json::json!({});
        let answer = serde_json::json!({
            "version": "1.2.3", "pid": 42, "since": "2027-01-31T12:00:00.000000Z", "uptime_secs": 306, "fault": null,
            "not_ready": null, "blocking": "dry run",
            "series": [
                one("ids_attached", serde_json::json!({"interface": "eth0", "mode": "native", "direction": "ingress"}), 1.0),
                one("ids_packets_seen_total", none.clone(), 12_345.0),
                one("ids_samples_lost_total", none.clone(), 7.0),
                one("ids_alerts_total", serde_json::json!({"class": "brute_force", "severity": "high"}), 2.0),
                one("ids_budget_level", none.clone(), 2.0),
                one("ids_coverage", serde_json::json!({"detector": "anomaly"}), 0.25),
                one("ids_coverage", serde_json::json!({"detector": "behaviour"}), 1.0),
                one("ids_blocks", none, 3.0),
            ],
        });
        let text = shown(&answer);
        for part in [
            "1.2.3, process 42, up 5 min 6 s since 2027-01-31T12:00:00",
            "eth0 native ingress",
            "12,345 seen",
            "7 payload samples",
            "2 high brute_force",
            "2 of 3",
            "anomaly 25 %",
            "dry run: 3 in force",
            "every stage makes progress",
        ] {
            assert!(text.contains(part), "`{part}` is not in\n{text}");
        }
        assert!(!text.contains("behaviour"), "what is whole is not listed");
    }
}
