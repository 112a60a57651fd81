//! Makes metrics and puts them into the registry.

use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, core::Collector,
};

use super::family::Family;

/// A tick's work lies between microseconds and the tick's length.
const STEP_BUCKETS: [f64; 14] =
    [1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 0.1, 0.5, 2.5];

/// Makes metrics and registers them.
pub(super) struct Register<'a> {
    pub(super) registry: &'a Registry,
}

impl Register<'_> {
    pub(super) fn add<C: Collector + Clone + 'static>(&self, collector: C) -> Result<C, prometheus::Error> {
        self.registry.register(Box::new(collector.clone()))?;
        Ok(collector)
    }

    pub(super) fn counter(&self, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
        self.add(IntCounter::new(name, help)?)
    }

    pub(super) fn seconds(&self, name: &str, help: &str) -> Result<prometheus::Counter, prometheus::Error> {
        self.add(prometheus::Counter::with_opts(Opts::new(name, help))?)
    }

    pub(super) fn counters(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, prometheus::Error> {
        self.add(IntCounterVec::new(Opts::new(name, help), labels)?)
    }

    pub(super) fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
        self.add(IntGauge::new(name, help)?)
    }

    pub(super) fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, prometheus::Error> {
        self.add(IntGaugeVec::new(Opts::new(name, help), labels)?)
    }

    pub(super) fn histogram(&self, name: &str, help: &str) -> Result<Histogram, prometheus::Error> {
        self.add(Histogram::with_opts(HistogramOpts::new(name, help).buckets(STEP_BUCKETS.to_vec()))?)
    }

    pub(super) fn histograms(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<HistogramVec, prometheus::Error> {
        let opts = HistogramOpts::new(name, help).buckets(STEP_BUCKETS.to_vec());
        self.add(HistogramVec::new(opts, labels)?)
    }
}

/// The same, of a family that `family` names.
impl Register<'_> {
    pub(super) fn counter_of(&self, family: &Family) -> Result<IntCounter, prometheus::Error> {
        self.counter(family.name, family.help)
    }

    pub(super) fn seconds_of(&self, family: &Family) -> Result<prometheus::Counter, prometheus::Error> {
        self.seconds(family.name, family.help)
    }

    pub(super) fn counters_of(&self, family: &Family) -> Result<IntCounterVec, prometheus::Error> {
        self.counters(family.name, family.help, family.labels)
    }

    pub(super) fn gauge_of(&self, family: &Family) -> Result<IntGauge, prometheus::Error> {
        self.gauge(family.name, family.help)
    }

    pub(super) fn gauges_of(&self, family: &Family) -> Result<IntGaugeVec, prometheus::Error> {
        self.gauges(family.name, family.help, family.labels)
    }

    pub(super) fn ratios_of(&self, family: &Family) -> Result<GaugeVec, prometheus::Error> {
        self.add(GaugeVec::new(Opts::new(family.name, family.help), family.labels)?)
    }

    pub(super) fn ratio_of(&self, family: &Family) -> Result<Gauge, prometheus::Error> {
        self.add(Gauge::with_opts(Opts::new(family.name, family.help))?)
    }

    pub(super) fn histogram_of(&self, family: &Family) -> Result<Histogram, prometheus::Error> {
        self.histogram(family.name, family.help)
    }

    pub(super) fn histograms_of(&self, family: &Family) -> Result<HistogramVec, prometheus::Error> {
        self.histograms(family.name, family.help, family.labels)
    }
}
