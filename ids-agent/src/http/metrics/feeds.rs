//! Figures of the feeds of threat intelligence. A feed's name is the operator's, and there are few of them.

use prometheus::{IntCounterVec, IntGaugeVec};

use super::{Register, family, raise, set};
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
            indicators: register.gauges_of(&family::INTEL_INDICATORS)?,
            bytes: register.gauges_of(&family::INTEL_MEMORY_BYTES)?,
            modified: register.gauges_of(&family::INTEL_FEED_MODIFIED_TIMESTAMP_SECONDS)?,
            left_out: register.gauges_of(&family::INTEL_ENTRIES_LEFT_OUT)?,
            loads: register.counters_of(&family::INTEL_LOADS)?,
            refusals: register.counters_of(&family::INTEL_REFUSALS)?,
            hits: register.counters_of(&family::INTEL_HITS)?,
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
