//! The figures one by one, for whoever asks over the control socket.

use prometheus::proto::MetricType;
use serde::Serialize;
use std::collections::BTreeMap;

use super::Metrics;

/// One series as it stands. Histograms are left to the page.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Series {
    pub name: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

impl Metrics {
    /// All counters and gauges, in the order of their names.
    pub fn series(&self) -> Vec<Series> {
        let mut all = Vec::new();
        for family in self.registry.gather() {
            for metric in family.get_metric() {
                let value = match family.get_field_type() {
                    MetricType::COUNTER => metric.get_counter().get_value(),
                    MetricType::GAUGE => metric.get_gauge().get_value(),
                    MetricType::HISTOGRAM | MetricType::SUMMARY | MetricType::UNTYPED => continue,
                };
                let labels = metric.get_label().iter();
                let labels = labels.map(|label| (label.name().to_owned(), label.value().to_owned())).collect();
                all.push(Series { name: family.name().to_owned(), labels, value });
            }
        }
        all
    }
}
