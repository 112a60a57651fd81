//! Figures of what is read of Suricata. They exist once eve.json is followed.

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use super::{Register, family, raise, set};
use crate::eve::{EveTotals, EveType, Skipped};

/// How the following of eve.json stands.
#[derive(Clone, Copy, Debug)]
pub struct EveGauge<'a> {
    pub totals: &'a EveTotals,
    /// Whether the last look at it went well.
    pub readable: bool,
    /// Now, since 1970.
    pub wall_ns: u64,
}

/// Suricata speaks at least so often where it runs: its `stats` come every 8 s by default, every 30 s from ours.
const SILENCE_NS_MAX: u64 = 120_000_000_000;
const NANOS_PER_SEC: i64 = 1_000_000_000;

#[derive(Debug)]
pub(super) struct EveMetrics {
    lines: IntCounter,
    events: IntCounterVec,
    skipped: IntCounterVec,
    bytes: IntCounterVec,
    behind: IntGauge,
    lag: IntGauge,
    readable: IntGauge,
    rotations: IntCounterVec,
    refused: IntCounterVec,
    flow_events: IntCounterVec,
    up: IntGauge,
    uptime: IntGauge,
    packets: IntGaugeVec,
    rules: IntGaugeVec,
    memory: IntGauge,
}

impl EveMetrics {
    pub(super) fn is_readable(&self) -> bool {
        self.readable.get() != 0
    }

    pub(super) fn new(register: &Register<'_>) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            lines: register.counter_of(&family::EVE_LINES)?,
            events: register.counters_of(&family::EVE_EVENTS)?,
            skipped: register.counters_of(&family::EVE_LINES_SKIPPED)?,
            bytes: register.counters_of(&family::EVE_READ_BYTES)?,
            behind: register.gauge_of(&family::EVE_BEHIND_BYTES)?,
            lag: register.gauge_of(&family::EVE_LAG_SECONDS)?,
            readable: register.gauge_of(&family::EVE_READABLE)?,
            rotations: register.counters_of(&family::EVE_ROTATIONS)?,
            refused: register.counters_of(&family::EVE_REFUSED)?,
            flow_events: register.counters_of(&family::EVE_FLOW_EVENTS)?,
            up: register.gauge_of(&family::SURICATA_UP)?,
            uptime: register.gauge_of(&family::SURICATA_UPTIME_SECONDS)?,
            packets: register.gauges_of(&family::SURICATA_PACKETS)?,
            rules: register.gauges_of(&family::SURICATA_RULES)?,
            memory: register.gauge_of(&family::SURICATA_MEMORY_BYTES)?,
        };
        for kind in EveType::ALL {
            metrics.events.with_label_values(&[kind.label()]);
        }
        for reason in Skipped::ALL {
            metrics.skipped.with_label_values(&[reason.label()]);
        }
        Ok(metrics)
    }

    pub(super) fn show(&self, now: &EveGauge<'_>) {
        let totals = now.totals;
        let input = &totals.input;
        raise(&self.lines, input.lines.lines_all());
        for (kind, total) in EveType::ALL.iter().zip(totals.events) {
            raise(&self.events.with_label_values(&[kind.label()]), total);
        }
        for (reason, total) in Skipped::ALL.iter().zip(totals.skipped) {
            raise(&self.skipped.with_label_values(&[reason.label()]), total);
        }
        let bytes =
            [("lines", input.lines.line_bytes), ("lost", input.lines.lost_bytes), ("empty", input.lines.empty_bytes)];
        for (part, total) in bytes {
            raise(&self.bytes.with_label_values(&[part]), total);
        }
        set(&self.behind, input.behind_bytes);
        if totals.newest_ns > 0 {
            let seconds = |ns: u64| i64::try_from(ns).unwrap_or(i64::MAX) / NANOS_PER_SEC;
            self.lag.set(seconds(now.wall_ns) - seconds(totals.newest_ns));
        }
        self.readable.set(i64::from(now.readable));
        for (kind, total) in [("rename", input.renames), ("truncation", input.truncations)] {
            raise(&self.rotations.with_label_values(&[kind]), total);
        }
        for (what, total) in [("file", input.files_refused), ("connection", totals.connections_refused)] {
            raise(&self.refused.with_label_values(&[what]), total);
        }
        for (held, total) in
            [("yes", totals.with_community_id), ("no", totals.of_flows.saturating_sub(totals.with_community_id))]
        {
            raise(&self.flow_events.with_label_values(&[held]), total);
        }
        let silent_ns = now.wall_ns.saturating_sub(totals.newest_ns);
        self.up.set(i64::from(totals.newest_ns > 0 && silent_ns <= SILENCE_NS_MAX));
        if let Some((_, stats)) = totals.suricata {
            set(&self.uptime, stats.uptime_secs);
            set(&self.packets.with_label_values(&["seen"]), stats.packets);
            set(&self.packets.with_label_values(&["dropped"]), stats.drops);
            set(&self.rules.with_label_values(&["loaded"]), stats.rules_loaded);
            set(&self.rules.with_label_values(&["failed"]), stats.rules_failed);
            set(&self.memory, stats.memory_bytes);
        }
    }
}
