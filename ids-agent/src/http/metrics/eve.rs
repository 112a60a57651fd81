//! Figures of what is read of Suricata. They exist once eve.json is followed.

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use super::{Register, raise, set};
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
    pub(super) fn new(register: &Register<'_>) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            lines: register.counter("ids_eve_lines_total", "Lines of eve.json that were read.")?,
            events: register.counters("ids_eve_events_total", "Lines that were understood.", &["type"])?,
            skipped: register.counters("ids_eve_lines_skipped_total", "Lines that gave no event.", &["reason"])?,
            bytes: register.counters(
                "ids_eve_read_bytes_total",
                "Bytes of eve.json: in lines, in lines that were too long or cut, in empty lines.",
                &["part"],
            )?,
            behind: register.gauge("ids_eve_behind_bytes", "Bytes that stand written and are not read yet.")?,
            lag: register
                .gauge("ids_eve_lag_seconds", "Age of the newest event; negative where its clock is ahead.")?,
            readable: register.gauge("ids_eve_readable", "Whether eve.json could be read when it was last tried.")?,
            rotations: register.counters("ids_eve_rotations_total", "Rotations of eve.json.", &["kind"])?,
            refused: register.counters(
                "ids_eve_refused_total",
                "Files and connections left alone for a while because there were too many.",
                &["what"],
            )?,
            flow_events: register.counters(
                "ids_eve_flow_events_total",
                "Events of flows, by whether they bore a community-id.",
                &["community_id"],
            )?,
            up: register.gauge("ids_suricata_up", "Whether Suricata said anything in the last two minutes.")?,
            uptime: register.gauge("ids_suricata_uptime_seconds", "How long Suricata runs, by its statistics.")?,
            packets: register.gauges(
                "ids_suricata_packets",
                "Packets since Suricata's start, by its statistics.",
                &["fate"],
            )?,
            rules: register.gauges("ids_suricata_rules", "Rules of Suricata, by its statistics.", &["state"])?,
            memory: register
                .gauge("ids_suricata_memory_bytes", "Memory of Suricata's flows and streams, by its statistics.")?,
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
