//! Figures of the feeds of threat intelligence. A feed's name is the operator's, and there are few of them.

use prometheus::{IntCounterVec, IntGaugeVec};

use super::{Register, raise, set};
use crate::{config::Category, detect::intel::Kind, intel::FeedStatus};

#[derive(Debug)]
pub(super) struct FeedMetrics {
    indicators: IntGaugeVec,
    bytes: IntGaugeVec,
    modified: IntGaugeVec,
    left_out: IntGaugeVec,
    loads: IntCounterVec,
    refusals: IntCounterVec,
    hits: IntCounterVec,
}

impl FeedMetrics {
    pub(super) fn new(register: &Register<'_>) -> Result<Self, prometheus::Error> {
        Ok(Self {
            indicators: register.gauges("ids_intel_indicators", "Indicators of a feed in force.", &["feed"])?,
            bytes: register.gauges("ids_intel_memory_bytes", "Memory that a feed takes.", &["feed"])?,
            modified: register.gauges(
                "ids_intel_feed_modified_timestamp_seconds",
                "When a feed's newest file was changed.",
                &["feed"],
            )?,
            left_out: register.gauges(
                "ids_intel_entries_left_out",
                "Entries of a feed that are not in force.",
                &["feed", "reason"],
            )?,
            loads: register.counters("ids_intel_loads_total", "Times a feed was taken.", &["feed"])?,
            refusals: register.counters("ids_intel_refusals_total", "Times a feed was refused.", &["feed"])?,
            hits: register.counters(
                "ids_intel_hits_total",
                "Indicators touched, those that are not told included.",
                &["category", "kind"],
            )?,
        })
    }

    pub(super) fn show(&self, feeds: &[FeedStatus], hits: impl Iterator<Item = (Category, Kind, u64)>) {
        for feed in feeds {
            let name = [feed.name.as_str()];
            set(&self.indicators.with_label_values(&name), feed.indicators);
            set(&self.bytes.with_label_values(&name), feed.bytes);
            set(&self.modified.with_label_values(&name), feed.modified_unix_secs);
            raise(&self.loads.with_label_values(&name), feed.loaded);
            raise(&self.refusals.with_label_values(&name), feed.refused);
            let census = &feed.census;
            for (reason, entries) in [
                ("garbage", census.garbage),
                ("unused", census.unused),
                ("too_broad", census.too_broad),
                ("reserved", census.reserved),
                ("harmless", census.harmless),
                ("repeated", census.repeated),
                ("beyond", census.beyond),
            ] {
                set(&self.left_out.with_label_values(&[feed.name.as_str(), reason]), entries);
            }
        }
        for (category, kind, total) in hits {
            raise(&self.hits.with_label_values(&[category.name(), kind.name()]), total);
        }
    }
}
