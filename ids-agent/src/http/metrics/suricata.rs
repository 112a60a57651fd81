//! Figures of a Suricata that the agent runs. They exist where there is one.

use prometheus::{Counter, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use super::{Register, set};
use crate::suricata::{Release, RuleCounts, Usage};

#[derive(Debug)]
pub struct ManagedMetrics {
    running: IntGauge,
    answers: IntGauge,
    starts: IntCounter,
    resident: IntGauge,
    cpu: Counter,
    rules: IntGaugeVec,
    checked: IntGauge,
    updates: IntCounterVec,
    rotations: IntCounter,
}

/// What became of a look at the rules' sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleUpdate {
    New,
    Same,
    Refused,
}

impl RuleUpdate {
    const ALL: [Self; 3] = [Self::New, Self::Same, Self::Refused];

    const fn label(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Same => "same",
            Self::Refused => "refused",
        }
    }
}

impl ManagedMetrics {
    pub(super) fn new(register: &Register<'_>) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            running: register.gauge("ids_suricata_process_running", "Whether the managed Suricata runs.")?,
            answers: register.gauge("ids_suricata_process_answers", "Whether it answers at its command socket.")?,
            starts: register.counter("ids_suricata_process_starts_total", "Times Suricata was started.")?,
            resident: register.gauge("ids_suricata_process_resident_memory_bytes", "Memory that Suricata takes.")?,
            cpu: register.seconds("ids_suricata_process_cpu_seconds_total", "CPU time that Suricata took.")?,
            rules: register.gauges("ids_suricata_rules_in_force", "Rules as Suricata counts them.", &["state"])?,
            checked: register
                .gauge("ids_suricata_rules_checked_timestamp_seconds", "When the rules' sources were last fetched.")?,
            updates: register.counters("ids_suricata_rule_updates_total", "Fetches of the rules.", &["result"])?,
            rotations: register.counter("ids_suricata_eve_rotated_total", "Times its eve.json was rotated.")?,
        };
        for result in RuleUpdate::ALL {
            metrics.updates.with_label_values(&[result.label()]);
        }
        Ok(metrics)
    }

    pub fn started(&self) {
        self.starts.inc();
        self.running.set(1);
    }

    pub fn ended(&self) {
        self.running.set(0);
        self.answers.set(0);
        self.resident.set(0);
    }

    /// What it takes, and how much CPU time that is more than at the last look.
    pub fn show_usage(&self, usage: Usage, cpu_ns: u64) {
        set(&self.resident, usage.resident_bytes);
        #[expect(clippy::cast_precision_loss, reason = "a look apart it is some seconds")]
        self.cpu.inc_by(cpu_ns as f64 / 1e9);
    }

    pub fn show_answer(&self, rules: Option<RuleCounts>) {
        self.answers.set(i64::from(rules.is_some()));
        let Some(rules) = rules else { return };
        set(&self.rules.with_label_values(&["loaded"]), rules.loaded);
        set(&self.rules.with_label_values(&["failed"]), rules.failed);
    }

    pub fn show_release(&self, release: &Release) {
        set(&self.checked, release.checked_unix_secs);
        set(&self.rules.with_label_values(&["left_out"]), release.left_out);
    }

    pub fn count_update(&self, result: RuleUpdate) {
        self.updates.with_label_values(&[result.label()]).inc();
    }

    pub fn count_rotation(&self) {
        self.rotations.inc();
    }
}
