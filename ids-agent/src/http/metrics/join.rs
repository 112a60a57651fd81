//! What became of Suricata's alerts. Shown only where Suricata is heard.

use prometheus::{GaugeVec, IntCounterVec, IntGaugeVec, Opts};

use super::{Register, raise, set};
use crate::detect::signature::{JoinStats, Orphan};

#[derive(Debug)]
pub(super) struct JoinMetrics {
    alerts: IntCounterVec,
    orphans: IntCounterVec,
    joined: IntCounterVec,
    told: IntCounterVec,
    apps: IntCounterVec,
    waiting: IntGaugeVec,
    ratio: GaugeVec,
    lag: GaugeVec,
}

impl JoinMetrics {
    pub(super) fn new(register: &Register<'_>) -> Result<Self, prometheus::Error> {
        let floats = |name: &str, help: &str| register.add(GaugeVec::new(Opts::new(name, help), &[])?);
        Ok(Self {
            alerts: register.counters("ids_suricata_alerts_total", "Alerts of Suricata that were heard.", &[])?,
            joined: register.counters(
                "ids_suricata_joined_total",
                "Alerts of Suricata whose flow was found, by what names it.",
                &["by"],
            )?,
            orphans: register.counters(
                "ids_suricata_orphans_total",
                "Alerts of Suricata without a flow, by reason.",
                &["reason"],
            )?,
            told: register.counters(
                "ids_suricata_signatures_total",
                "Signatures of flows: worth telling by themselves, or held back by a threshold.",
                &["what"],
            )?,
            apps: register.counters(
                "ids_suricata_events_total",
                "Events with names, requests and files, by whether their flow was known.",
                &["flow"],
            )?,
            waiting: register.gauges(
                "ids_suricata_waiting_alerts",
                "Alerts of Suricata that wait for their flow.",
                &[],
            )?,
            ratio: floats("ids_suricata_join_ratio", "Share of Suricata's settled alerts whose flow was found.")?,
            lag: floats(
                "ids_suricata_join_lag_seconds",
                "From the packet to the join of the alert that was joined last.",
            )?,
        })
    }

    pub(super) fn show(&self, join: &JoinStats) {
        const NONE: [&str; 0] = [];
        raise(&self.alerts.with_label_values(&NONE), join.alerts);
        for (by, total) in [("community_id", join.joined_by_id), ("tuple", join.joined_by_tuple)] {
            raise(&self.joined.with_label_values(&[by]), total);
        }
        for (reason, total) in Orphan::ALL.iter().zip(join.orphans) {
            raise(&self.orphans.with_label_values(&[reason.label()]), total);
        }
        for (what, total) in [("worth_telling", join.worth_telling), ("below_threshold", join.below_threshold)] {
            raise(&self.told.with_label_values(&[what]), total);
        }
        for (flow, total) in [("known", join.apps_joined), ("unknown", join.apps.saturating_sub(join.apps_joined))] {
            raise(&self.apps.with_label_values(&[flow]), total);
        }
        set(&self.waiting.with_label_values(&NONE), join.waiting);
        self.ratio.with_label_values(&NONE).set(join.join_rate());
        self.lag.with_label_values(&NONE).set(join.lag_ns as f64 / 1e9);
    }
}
