//! Figures of a Suricata that the agent runs. They exist where there is one.

use prometheus::{Counter, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use super::{Register, family, set};
use crate::suricata::{Release, RuleCounts, Usage};

/// What a managed Suricata shows of itself.
#[derive(Clone, Debug)]
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
            running: register.gauge_of(&family::SURICATA_PROCESS_RUNNING)?,
            answers: register.gauge_of(&family::SURICATA_PROCESS_ANSWERS)?,
            starts: register.counter_of(&family::SURICATA_PROCESS_STARTS)?,
            resident: register.gauge_of(&family::SURICATA_PROCESS_RESIDENT_MEMORY_BYTES)?,
            cpu: register.seconds_of(&family::SURICATA_PROCESS_CPU_SECONDS)?,
            rules: register.gauges_of(&family::SURICATA_RULES_IN_FORCE)?,
            checked: register.gauge_of(&family::SURICATA_RULES_CHECKED_TIMESTAMP_SECONDS)?,
            updates: register.counters_of(&family::SURICATA_RULE_UPDATES)?,
            rotations: register.counter_of(&family::SURICATA_EVE_ROTATED)?,
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

    /// What was shown last: memory, and CPU time since the agent began.
    pub fn usage(&self) -> Usage {
        Usage { resident_bytes: u64::try_from(self.resident.get()).unwrap_or(0), cpu_ns: (self.cpu.get() * 1e9) as u64 }
    }

    pub fn is_running(&self) -> bool {
        self.running.get() != 0
    }

    /// Shows what it answered at its command socket; nothing where it did not.
    pub fn show_answer(&self, rules: Option<RuleCounts>) {
        self.answers.set(i64::from(rules.is_some()));
        let Some(rules) = rules else { return };
        set(&self.rules.with_label_values(&["loaded"]), rules.loaded);
        set(&self.rules.with_label_values(&["failed"]), rules.failed);
    }

    /// Shows when the sources of its rules were fetched, and how many of them a test left out.
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
