//! Queries in PromQL, built from the families that the agent shows: a family or label that does not exist cannot be asked for
//! without a test that says so. Pure.

use crate::http::family::{Family, FamilyKind};

/// What Prometheus calls the agent, and itself adds to every series.
pub const JOB: &str = "ids-agent";
pub(super) const INSTANCE: &str = "instance";
const JOB_LABEL: &str = "job";

/// Families of the client library and of Prometheus itself.
pub(super) mod foreign {
    use super::{Family, FamilyKind};

    const fn gauge(name: &'static str, labels: &'static [&'static str]) -> Family {
        Family { name, kind: FamilyKind::Gauge, labels, help: "" }
    }

    pub(in crate::deploy) const UP: Family = gauge("up", &[]);
    pub(in crate::deploy) const PROCESS_START_TIME_SECONDS: Family = gauge("process_start_time_seconds", &[]);
    pub(in crate::deploy) const PROCESS_RESIDENT_MEMORY_BYTES: Family = gauge("process_resident_memory_bytes", &[]);
    pub(in crate::deploy) const PROCESS_CPU_SECONDS: Family =
        Family { name: "process_cpu_seconds_total", kind: FamilyKind::Counter, labels: &[], help: "" };
    pub(in crate::deploy) const ALERTS: Family = gauge("ALERTS", &["alertname", "alertstate", "severity"]);
}

/// One family, narrowed by its labels.
#[derive(Clone, Debug)]
pub(super) struct Series {
    family: Family,
    matchers: Vec<String>,
    faults: Vec<String>,
}

/// The agents that a rule looks at: all of them.
pub(super) fn all(family: Family) -> Series {
    let mut series = Series { family, matchers: Vec::new(), faults: Vec::new() };
    if !family.name.starts_with("ids_") && !family.name.contains(':') && family.name != foreign::ALERTS.name {
        series.matchers.push(format!("{JOB_LABEL}=\"{JOB}\""));
    }
    series
}

/// The agents that the dashboard's variable `instance` names.
pub(super) fn chosen(family: Family) -> Series {
    let mut series = all(family);
    series.matchers.push(format!("{INSTANCE}=~\"$instance\""));
    series
}

impl Series {
    fn narrowed(mut self, label: &str, operator: &str, value: &str) -> Self {
        if !self.family.labels.contains(&label) {
            self.faults.push(format!("{} has no label `{label}`", self.family.name));
        }
        self.matchers.push(format!("{label}{operator}\"{value}\""));
        self
    }

    pub(super) fn is(self, label: &str, value: &str) -> Self {
        self.narrowed(label, "=", value)
    }

    pub(super) fn like(self, label: &str, pattern: &str) -> Self {
        self.narrowed(label, "=~", pattern)
    }

    fn text(&self, ending: &str) -> String {
        let matchers =
            if self.matchers.is_empty() { String::new() } else { format!("{{{}}}", self.matchers.join(",")) };
        format!("{}{ending}{matchers}", self.family.name)
    }

    fn query(self, text: String, wants: Option<FamilyKind>) -> Query {
        let mut faults = self.faults;
        if wants.is_some_and(|wanted| wanted != self.family.kind) {
            faults.push(format!("{} is a {:?}: `{text}` means nothing", self.family.name, self.family.kind));
        }
        Query { text, joins: false, families: vec![self.family], labels: Vec::new(), faults }
    }

    /// The value as it stands.
    pub(super) fn now(self) -> Query {
        let text = self.text("");
        self.query(text, None)
    }

    /// Of a counter, in each second.
    pub(super) fn rate(self, window: &str) -> Query {
        let text = format!("rate({}[{window}])", self.text(""));
        self.query(text, Some(FamilyKind::Counter))
    }

    /// Of a counter, in all.
    pub(super) fn increase(self, window: &str) -> Query {
        let text = format!("increase({}[{window}])", self.text(""));
        self.query(text, Some(FamilyKind::Counter))
    }

    /// Of a gauge that another program counts with: a fall is its restart.
    pub(super) fn increase_of_gauge(self, window: &str) -> Query {
        let text = format!("increase({}[{window}])", self.text(""));
        self.query(text, Some(FamilyKind::Gauge))
    }

    /// How often a gauge changed.
    pub(super) fn changes(self, window: &str) -> Query {
        let text = format!("changes({}[{window}])", self.text(""));
        self.query(text, Some(FamilyKind::Gauge))
    }

    /// Of a histogram: what so large a share of the observations lie below, by these labels and instance.
    pub(super) fn quantile(self, share: f64, window: &str, by: &[&str]) -> Query {
        let rate = format!("rate({}[{window}])", self.text("_bucket"));
        let by: Vec<&str> = [INSTANCE].into_iter().chain(by.iter().copied()).collect();
        let text = format!("histogram_quantile({share}, sum by ({}, le) ({rate}))", by.join(", "));
        let mut query = self.query(text, Some(FamilyKind::Histogram));
        query.labels.extend(by.iter().map(ToString::to_string));
        query
    }

    /// Whether nothing of it is there at all.
    pub(super) fn absent(self) -> Query {
        let text = format!("absent({})", self.text(""));
        self.query(text, None)
    }
}

/// An expression, and what it rests on.
#[derive(Clone, Debug)]
pub struct Query {
    text: String,
    /// Whether it must stand in brackets to be part of another.
    joins: bool,
    families: Vec<Family>,
    /// What it is grouped or matched by.
    labels: Vec<String>,
    faults: Vec<String>,
}

impl Query {
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Every family that is asked for.
    pub fn families(&self) -> &[Family] {
        &self.families
    }

    /// What is wrong with it: a label that no family of it has, a rate of what is no counter.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = self.faults.clone();
        for name in &self.labels {
            let known = [INSTANCE, JOB_LABEL].contains(&name.as_str())
                || self.families.iter().any(|family| family.labels.contains(&name.as_str()));
            if !known {
                faults.push(format!("no family of `{}` has a label `{name}`", self.text));
            }
        }
        faults
    }

    fn part(&self) -> String {
        if self.joins { format!("({})", self.text) } else { self.text.clone() }
    }

    fn with(mut self, text: String, joins: bool) -> Self {
        self.text = text;
        self.joins = joins;
        self
    }

    fn joined(mut self, operator: &str, other: Self) -> Self {
        let text = format!("{} {operator} {}", self.part(), other.part());
        self.families.extend(other.families);
        self.labels.extend(other.labels);
        self.faults.extend(other.faults);
        self.with(text, true)
    }

    fn gathered(mut self, how: &str, by: &[&str]) -> Self {
        self.labels.extend(by.iter().map(ToString::to_string));
        let by = if by.is_empty() { String::new() } else { format!(" by ({})", by.join(", ")) };
        let text = if by.is_empty() { format!("{how}({})", self.text) } else { format!("{how}{by} ({})", self.text) };
        self.with(text, false)
    }

    pub(super) fn sum(self, by: &[&str]) -> Self {
        self.gathered("sum", by)
    }

    pub(super) fn max(self, by: &[&str]) -> Self {
        self.gathered("max", by)
    }

    pub(super) fn min(self, by: &[&str]) -> Self {
        self.gathered("min", by)
    }

    pub(super) fn count(self, by: &[&str]) -> Self {
        self.gathered("count", by)
    }

    pub(super) fn per(self, other: Self) -> Self {
        self.joined("/", other)
    }

    pub(super) fn plus(self, other: Self) -> Self {
        self.joined("+", other)
    }

    pub(super) fn or(self, other: Self) -> Self {
        self.joined("or", other)
    }

    /// Where the other holds for the same agent.
    pub(super) fn where_agent(self, other: Self) -> Self {
        self.joined(&format!("and on ({INSTANCE})"), other)
    }

    fn compared(self, operator: &str, bound: f64) -> Self {
        let text = format!("{} {operator} {bound}", self.part());
        self.with(text, true)
    }

    pub(super) fn above(self, bound: f64) -> Self {
        self.compared(">", bound)
    }

    pub(super) fn below(self, bound: f64) -> Self {
        self.compared("<", bound)
    }

    pub(super) fn equals(self, value: f64) -> Self {
        self.compared("==", value)
    }

    pub(super) fn times(self, factor: f64) -> Self {
        self.compared("*", factor)
    }

    /// Never less than this: keeps a share of nothing from being a division by zero.
    pub(super) fn at_least(self, floor: f64) -> Self {
        let text = format!("clamp_min({}, {floor})", self.text);
        self.with(text, false)
    }

    /// How long ago a time since 1970 was.
    pub(super) fn age(self) -> Self {
        let text = format!("time() - {}", self.part());
        self.with(text, true)
    }

    /// Zero where there is nothing.
    pub(super) fn or_zero(self) -> Self {
        let text = format!("{} or vector(0)", self.part());
        self.with(text, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::family::{self, label};

    #[test]
    fn parts_are_bracketed_where_they_must_be() {
        let lost = all(family::SAMPLES_LOST).rate("5m");
        let sent = all(family::SAMPLES_SENT).rate("5m");
        let share = lost.clone().per(lost.plus(sent).at_least(1.0)).above(0.01);
        assert_eq!(
            share.text(),
            "(rate(ids_samples_lost_total[5m]) / clamp_min(rate(ids_samples_lost_total[5m]) + \
             rate(ids_samples_sent_total[5m]), 1)) > 0.01"
        );
        assert_eq!(share.faults(), Vec::<String>::new());
        assert_eq!(share.families().len(), 3);
    }

    #[test]
    fn a_label_that_a_family_has_not_and_a_rate_of_a_gauge_are_found() {
        assert_eq!(all(family::ALERTS).is(label::WITNESS, "a").now().faults().len(), 1);
        assert_eq!(all(family::ALERTS).rate("5m").sum(&[INSTANCE, label::FEED]).faults().len(), 1);
        assert_eq!(all(family::FLOWS_ACTIVE).rate("5m").faults().len(), 1);
        assert_eq!(all(family::ENGINE_STEP_SECONDS).quantile(0.5, "5m", &[label::WITNESS]).faults().len(), 1);
        assert_eq!(all(family::ALERTS).is(label::CLASS, "a").rate("5m").sum(&[label::SEVERITY]).faults().len(), 0);
    }

    #[test]
    fn figures_of_every_program_are_narrowed_to_the_agent() {
        assert_eq!(all(foreign::UP).now().text(), "up{job=\"ids-agent\"}");
        assert_eq!(chosen(family::FLOWS_ACTIVE).now().text(), "ids_flows_active{instance=~\"$instance\"}");
    }
}
