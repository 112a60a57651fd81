//! What became of Suricata's alerts. Shown only where Suricata is heard.

use prometheus::{GaugeVec, IntCounterVec, IntGaugeVec};

use super::{Register, family, raise, set};
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
        Ok(Self {
            alerts: register.counters_of(&family::SURICATA_ALERTS)?,
            joined: register.counters_of(&family::SURICATA_JOINED)?,
            orphans: register.counters_of(&family::SURICATA_ORPHANS)?,
            told: register.counters_of(&family::SURICATA_SIGNATURES)?,
            apps: register.counters_of(&family::SURICATA_EVENTS)?,
            waiting: register.gauges_of(&family::SURICATA_WAITING_ALERTS)?,
            ratio: register.ratios_of(&family::SURICATA_JOIN_RATIO)?,
            lag: register.ratios_of(&family::SURICATA_JOIN_LAG_SECONDS)?,
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
