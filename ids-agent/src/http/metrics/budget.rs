//! Figures of the budget, and of what is seen of all there is to see.

use prometheus::{Gauge, GaugeVec, IntCounterVec, IntGauge, IntGaugeVec};

use super::{Metrics, Register, family, set};
use crate::budget::{Cause, Decision, Limits, Notice, NoticeStage, Sense, Why};

/// What was taken in the last sample.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct BudgetGauge {
    /// In CPUs.
    pub agent_cpus: f64,
    pub kernel_cpus: f64,
    pub suricata_cpus: f64,
    pub memory_bytes: u64,
    /// Nanoseconds that the programs take a packet, and whether that was measured.
    pub packet_ns: f64,
    pub packet_measured: bool,
    pub celsius: Option<f64>,
}

#[derive(Debug)]
pub(super) struct BudgetMetrics {
    level: IntGauge,
    tables: Gauge,
    load: GaugeVec,
    over: IntCounterVec,
    cpus: GaugeVec,
    cpus_limit: Gauge,
    memory: IntGauge,
    memory_limit: IntGauge,
    packet: GaugeVec,
    celsius: Gauge,
    coverage: GaugeVec,
    degraded: IntGaugeVec,
    notices: IntCounterVec,
}

const WHYS: [Why; 5] = [Why::Cpu, Why::Pressure, Why::Heat, Why::Behind, Why::Memory];

impl BudgetMetrics {
    pub(super) fn new(register: &Register<'_>) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            level: register.gauge_of(&family::BUDGET_LEVEL)?,
            tables: register.ratio_of(&family::BUDGET_TABLES_RATIO)?,
            load: register.ratios_of(&family::BUDGET_LOAD_RATIO)?,
            over: register.counters_of(&family::BUDGET_OVER)?,
            cpus: register.ratios_of(&family::BUDGET_CPUS)?,
            cpus_limit: register.ratio_of(&family::BUDGET_LIMIT_CPUS)?,
            memory: register.gauge_of(&family::BUDGET_MEMORY_BYTES)?,
            memory_limit: register.gauge_of(&family::BUDGET_LIMIT_MEMORY_BYTES)?,
            packet: register.ratios_of(&family::BUDGET_PACKET_COST_NANOSECONDS)?,
            celsius: register.ratio_of(&family::BUDGET_TEMPERATURE_CELSIUS)?,
            coverage: register.ratios_of(&family::COVERAGE)?,
            degraded: register.gauges_of(&family::VISIBILITY_DEGRADED)?,
            notices: register.counters_of(&family::VISIBILITY_NOTICES)?,
        };
        for why in WHYS {
            metrics.over.with_label_values(&[why.name()]);
        }
        for cause in Cause::NAMES {
            metrics.degraded.with_label_values(&[cause]);
        }
        for kind in ["degraded", "restored"] {
            metrics.notices.with_label_values(&[kind]);
        }
        metrics.tables.set(1.0);
        Ok(metrics)
    }

    pub(super) fn show_limits(&self, limits: &Limits) {
        self.cpus_limit.set(limits.cpus);
        set(&self.memory_limit, limits.memory_bytes);
        self.tables.set(limits.tables.share());
    }

    pub(super) fn show(&self, decision: &Decision, taken: &BudgetGauge) {
        set(&self.level, u64::from(decision.effort.level.number()));
        self.tables.set(decision.effort.tables.share());
        self.load.with_label_values(&["cpu"]).set(decision.cpu_load);
        self.load.with_label_values(&["memory"]).set(decision.memory_load);
        if let Some(why) = decision.over {
            self.over.with_label_values(&[why.name()]).inc();
        }
        for (by, cpus) in
            [("agent", taken.agent_cpus), ("kernel", taken.kernel_cpus), ("suricata", taken.suricata_cpus)]
        {
            self.cpus.with_label_values(&[by]).set(cpus);
        }
        set(&self.memory, taken.memory_bytes);
        let (source, other) = if taken.packet_measured { ("measured", "assumed") } else { ("assumed", "measured") };
        self.packet.with_label_values(&[source]).set(taken.packet_ns);
        // One of them is there: an assumption is no figure any more once there is a measurement.
        let _ = self.packet.remove_label_values(&[other]);
        self.celsius.set(taken.celsius.unwrap_or(0.0));
    }

    pub(super) fn show_sight(&self, coverage: &[(Sense, f64)], causes: &[Cause]) {
        for (sense, share) in coverage {
            self.coverage.with_label_values(&[sense.name()]).set(*share);
        }
        for name in Cause::NAMES {
            let holds = causes.iter().any(|cause| cause.name() == name);
            self.degraded.with_label_values(&[name]).set(i64::from(holds));
        }
    }

    pub(super) fn count(&self, notice: &Notice) {
        let kind = match notice.stage {
            NoticeStage::Degraded => "degraded",
            NoticeStage::Restored => "restored",
        };
        self.notices.with_label_values(&[kind]).inc();
    }
}

impl Metrics {
    /// Takes over what the budget comes to, once.
    pub fn show_limits(&self, limits: &Limits) {
        self.budget.show_limits(limits);
    }

    /// Takes over what the governor makes of a sample.
    pub fn show_budget(&self, decision: &Decision, taken: &BudgetGauge) {
        self.budget.show(decision, taken);
    }

    /// Takes over how much is seen, and why it is less.
    pub fn show_sight(&self, coverage: &[(Sense, f64)], causes: &[Cause]) {
        self.budget.show_sight(coverage, causes);
    }

    pub fn count_notice(&self, notice: &Notice) {
        self.budget.count(notice);
    }

    /// Whether eve.json could be read when it was last tried; none where it is not followed.
    pub fn eve_is_readable(&self) -> Option<bool> {
        self.eve.get().map(|eve| eve.is_readable())
    }
}
