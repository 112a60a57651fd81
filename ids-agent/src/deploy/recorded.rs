//! What Prometheus computes once and keeps: the few figures that are asked for over weeks. Pure.

use super::query::{INSTANCE, Query, all};
use crate::http::family::{self, Family, FamilyKind, label};

/// A figure that is kept under a name of its own.
#[derive(Clone, Debug)]
pub struct Recorded {
    pub family: Family,
    pub query: Query,
}

const fn kept(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Family {
    Family { name, kind: FamilyKind::Gauge, labels, help }
}

pub(super) const PACKETS_PER_SEC: Family =
    kept("instance:ids_packets_seen:rate5m", &[], "Packets seen in each second.");
pub(super) const LOST_SHARE: Family =
    kept("instance:ids_packets_lost:ratio_rate5m", &[], "Share of the packets that were counted and then lost.");
pub(super) const STEP_P99_SECONDS: Family =
    kept("instance:ids_engine_step_seconds:p99_5m", &[], "What 99 of 100 ticks take at most to judge.");
pub(super) const ALERTS_PER_HOUR: Family =
    kept("instance_class:ids_alerts:increase1h", &[label::CLASS], "Alerts of the last hour.");

pub(super) fn recorded() -> Vec<Recorded> {
    let seen = || all(family::PACKETS_SEEN).rate("5m").sum(&[INSTANCE]);
    let lost = all(family::SLOTS_LOST_PACKETS).rate("5m").sum(&[INSTANCE]);
    vec![
        Recorded { family: PACKETS_PER_SEC, query: seen() },
        Recorded { family: LOST_SHARE, query: lost.per(seen().at_least(1.0)) },
        Recorded { family: STEP_P99_SECONDS, query: all(family::ENGINE_STEP_SECONDS).quantile(0.99, "5m", &[]) },
        Recorded { family: ALERTS_PER_HOUR, query: all(family::ALERTS).increase("1h").sum(&[INSTANCE, label::CLASS]) },
    ]
}
