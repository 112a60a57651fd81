//! Prometheus metrics. Names follow its conventions; no label holds an address or free text.

use std::{sync::OnceLock, time::Duration};

use ids_common::counter::{Counter, Skip};
use prometheus::{
    Histogram, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry, TextEncoder,
    process_collector::ProcessCollector,
};

use crate::{
    config::Category,
    detect::{Class, ModelInfo, Severity, Witness, intel::Kind},
    intel::FeedStatus,
    sink::{DropReason, SinkStats},
    source::Totals,
    state::StateStats,
};

mod budget;
mod enforce;
mod eve;
pub mod family;
mod feeds;
mod join;
mod register;
mod series;
mod service;
mod suricata;

pub use budget::BudgetGauge;
use budget::BudgetMetrics;
pub use enforce::EnforceMetrics;
pub use eve::EveGauge;
use eve::EveMetrics;
use family::Family;
use feeds::FeedMetrics;
use join::JoinMetrics;
use register::Register;
pub use series::Series;
use service::ServiceMetrics;
pub use suricata::{ManagedMetrics, RuleUpdate};

/// One attached program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachState {
    pub interface: String,
    pub mode: &'static str,
    pub direction: &'static str,
    /// Whether it still sees the interface.
    pub attached: bool,
}

/// How full a sink's queue is, and what it has done.
#[derive(Clone, Copy, Debug)]
pub struct QueueGauge {
    pub sink: &'static str,
    pub lines_max: usize,
    pub stats: SinkStats,
}

/// What the line publishes after a tick: running totals, and what is so at the moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    pub totals: Totals,
    pub flows_active: u64,
    pub flows_started: u64,
    pub flows_ended: Vec<(&'static str, u64)>,
    /// Snapshots of slots that brought nothing new.
    pub slots_stale: u64,
    /// Entries that bounded tables let go early, by table.
    pub forgotten: Vec<(&'static str, u64)>,
    /// Findings that raised no alert, by what silenced them.
    pub silenced: Vec<(&'static str, u64)>,
    pub flows_judged: u64,
    pub detectors: Vec<(Witness, crate::detect::DetectorStats)>,
    pub engine_queue_batches: u64,
    pub engine_queue_full: u64,
    pub queues: Vec<QueueGauge>,
    pub attached: Vec<AttachState>,
    /// Packets of watched interfaces that no agent saw or read.
    pub gap_packets: u64,
    pub ring_bytes: u64,
    pub ring_used_bytes: u64,
    pub map_bytes: u64,
    pub state: StateStats,
}

/// The registry and what is in it.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    counters: Vec<(Counter, IntCounter)>,
    skipped: IntCounterVec,
    flows_active: IntGauge,
    flows_started: IntCounter,
    flows_ended: IntCounterVec,
    slots_stale: IntCounter,
    forgotten: IntCounterVec,
    silenced: IntCounterVec,
    flows_judged: IntCounter,
    findings: IntCounterVec,
    abstained: IntCounterVec,
    inference_failed: IntCounterVec,
    step_seconds: Histogram,
    judge_seconds: prometheus::HistogramVec,
    alerts: IntCounterVec,
    verdicts: IntCounterVec,
    engine_queue: IntGauge,
    engine_queue_full: IntCounter,
    queue_lines: IntGaugeVec,
    queue_lines_limit: IntGaugeVec,
    sink_offered: IntCounterVec,
    sink_written: IntCounterVec,
    sink_bytes: IntCounterVec,
    sink_dropped: IntCounterVec,
    sink_rotations: IntCounterVec,
    attached: IntGaugeVec,
    gap_packets: IntCounter,
    ring_size: IntGauge,
    ring_used: IntGauge,
    map_bytes: IntGauge,
    model_info: IntGaugeVec,
    devices: IntGaugeVec,
    feeds: FeedMetrics,
    /// Nothing of it shows where nobody follows eve.json.
    eve: OnceLock<EveMetrics>,
    join: JoinMetrics,
    service: ServiceMetrics,
    budget: BudgetMetrics,
    state_written: IntCounter,
    state_lost: IntCounterVec,
    state_bytes: IntGauge,
}

/// Kernel counters by metric name and help text.
const COUNTERS: [(Counter, &Family); 13] = [
    (Counter::PacketsSeen, &family::PACKETS_SEEN),
    (Counter::FlowPackets, &family::PACKETS_IN_FLOWS),
    (Counter::FlowBytes, &family::BYTES_IN_FLOWS),
    (Counter::SegmentsUnfolded, &family::SEGMENTS_UNFOLDED),
    (Counter::SlotsEvicted, &family::SLOTS_EVICTED),
    (Counter::SlotsLost, &family::SLOTS_LOST),
    (Counter::SlotsLostPackets, &family::SLOTS_LOST_PACKETS),
    (Counter::SlotsLostBytes, &family::SLOTS_LOST_BYTES),
    (Counter::SamplesSent, &family::SAMPLES_SENT),
    (Counter::SamplesLost, &family::SAMPLES_LOST),
    (Counter::TableMissing, &family::TABLE_MISSING),
    (Counter::PacketsBlocked, &family::PACKETS_BLOCKED),
    (Counter::BytesBlocked, &family::BYTES_BLOCKED),
];

impl Metrics {
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let plain = Register { registry: &registry };
        let mut counters = Vec::with_capacity(COUNTERS.len());
        for (counter, family) in COUNTERS {
            counters.push((counter, plain.counter_of(family)?));
        }
        let build = plain.gauges_of(&family::BUILD_INFO)?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let metrics = Self {
            counters,
            skipped: plain.counters_of(&family::PACKETS_SKIPPED)?,
            flows_active: plain.gauge_of(&family::FLOWS_ACTIVE)?,
            flows_started: plain.counter_of(&family::FLOWS_STARTED)?,
            flows_ended: plain.counters_of(&family::FLOWS_ENDED)?,
            slots_stale: plain.counter_of(&family::SLOTS_STALE)?,
            forgotten: plain.counters_of(&family::ENTRIES_FORGOTTEN)?,
            silenced: plain.counters_of(&family::FINDINGS_SILENCED)?,
            flows_judged: plain.counter_of(&family::FLOWS_JUDGED)?,
            findings: plain.counters_of(&family::FINDINGS)?,
            abstained: plain.counters_of(&family::ABSTAINED)?,
            inference_failed: plain.counters_of(&family::INFERENCE_FAILED)?,
            step_seconds: plain.histogram_of(&family::ENGINE_STEP_SECONDS)?,
            judge_seconds: plain.histograms_of(&family::INFERENCE_SECONDS)?,
            alerts: plain.counters_of(&family::ALERTS)?,
            verdicts: plain.counters_of(&family::VERDICTS)?,
            engine_queue: plain.gauge_of(&family::ENGINE_QUEUE_BATCHES)?,
            engine_queue_full: plain.counter_of(&family::ENGINE_QUEUE_FULL)?,
            queue_lines: plain.gauges_of(&family::SINK_QUEUE_LINES)?,
            queue_lines_limit: plain.gauges_of(&family::SINK_QUEUE_LIMIT_LINES)?,
            sink_offered: plain.counters_of(&family::SINK_LINES_OFFERED)?,
            sink_written: plain.counters_of(&family::SINK_LINES_WRITTEN)?,
            sink_bytes: plain.counters_of(&family::SINK_WRITTEN_BYTES)?,
            sink_dropped: plain.counters_of(&family::SINK_LINES_DROPPED)?,
            sink_rotations: plain.counters_of(&family::SINK_ROTATIONS)?,
            attached: plain.gauges_of(&family::ATTACHED)?,
            gap_packets: plain.counter_of(&family::CAPTURE_GAP_PACKETS)?,
            ring_size: plain.gauge_of(&family::RING_SIZE_BYTES)?,
            ring_used: plain.gauge_of(&family::RING_USED_BYTES)?,
            map_bytes: plain.gauge_of(&family::MAP_MEMORY_BYTES)?,
            model_info: plain.gauges_of(&family::MODEL_INFO)?,
            devices: plain.gauges_of(&family::DEVICES)?,
            state_written: plain.counter_of(&family::STATE_WRITTEN)?,
            state_lost: plain.counters_of(&family::STATE_LOST)?,
            state_bytes: plain.gauge_of(&family::STATE_SIZE_BYTES)?,
            feeds: FeedMetrics::new(&plain)?,
            eve: OnceLock::new(),
            join: JoinMetrics::new(&plain)?,
            service: ServiceMetrics::new(&plain)?,
            budget: BudgetMetrics::new(&plain)?,
            registry,
        };
        metrics.registry.register(Box::new(ProcessCollector::for_self()))?;
        metrics.show_zeros();
        Ok(metrics)
    }

    /// Labelled series exist from the start, so that rates see the first event.
    fn show_zeros(&self) {
        for skip in Skip::ALL {
            self.skipped.with_label_values(&[skip.label()]);
        }
        for witness in Witness::ALL {
            for family in [&self.findings, &self.abstained, &self.inference_failed] {
                family.with_label_values(&[witness.name()]);
            }
            self.judge_seconds.with_label_values(&[witness.name()]);
        }
        for reason in ["write_failed", "writer_busy", "refused"] {
            self.state_lost.with_label_values(&[reason]);
        }
        for class in Class::ALL {
            self.verdicts.with_label_values(&[class.name()]);
            if class == Class::Benign {
                continue;
            }
            for severity in [Severity::High, Severity::Medium, Severity::Low, Severity::Info] {
                self.alerts.with_label_values(&[class.name(), severity_label(severity)]);
            }
        }
    }

    pub fn set_models<'a>(&self, models: impl IntoIterator<Item = &'a ModelInfo>) {
        // Those that were replaced are gone.
        self.model_info.reset();
        for model in models {
            self.model_info.with_label_values(&[&model.name, &model.version, &model.sha256, model.backend]).set(1);
        }
    }

    /// Figures of a Suricata that the agent runs; without one they do not show. Asked for once.
    pub fn managed_suricata(&self) -> Result<ManagedMetrics, prometheus::Error> {
        ManagedMetrics::new(&Register { registry: &self.registry })
    }

    /// Figures of blocking; where it is off they do not show. Asked for once.
    pub fn enforcement(&self) -> Result<EnforceMetrics, prometheus::Error> {
        EnforceMetrics::new(&Register { registry: &self.registry })
    }

    /// Takes over how the feeds of threat intelligence stand.
    pub fn show_feeds(&self, feeds: &[FeedStatus], hits: impl Iterator<Item = (Category, Kind, u64)>) {
        self.feeds.show(feeds, hits);
    }

    /// Takes over how the following of eve.json stands.
    pub fn show_eve(&self, now: &EveGauge<'_>) {
        if self.eve.get().is_none() {
            match EveMetrics::new(&Register { registry: &self.registry }) {
                // Shown from one thread alone, so nobody else put them there.
                Ok(metrics) => drop(self.eve.set(metrics)),
                Err(error) => return tracing::debug!(%error, "figures of eve.json cannot be shown"),
            }
        }
        if let Some(metrics) = self.eve.get() {
            metrics.show(now);
        }
    }

    pub fn count_alert(&self, class: Class, severity: Severity) {
        self.alerts.with_label_values(&[class.name(), severity_label(severity)]).inc();
    }

    pub fn count_verdict(&self, class: Class) {
        self.verdicts.with_label_values(&[class.name()]).inc();
    }

    pub fn observe_step(&self, took: Duration) {
        self.step_seconds.observe(took.as_secs_f64());
    }

    pub fn observe_judge(&self, witness: Witness, took: Duration) {
        self.judge_seconds.with_label_values(&[witness.name()]).observe(took.as_secs_f64());
    }

    /// Takes over what the line has published. Called from one thread.
    pub fn update(&self, now: &Snapshot) {
        for (counter, metric) in &self.counters {
            raise(metric, now.totals.counter(*counter));
        }
        for skip in Skip::ALL {
            raise(&self.skipped.with_label_values(&[skip.label()]), now.totals.skipped(skip));
        }
        set(&self.flows_active, now.flows_active);
        raise(&self.flows_started, now.flows_started);
        for (reason, total) in &now.flows_ended {
            raise(&self.flows_ended.with_label_values(&[reason]), *total);
        }
        raise(&self.slots_stale, now.slots_stale);
        for (table, total) in &now.forgotten {
            raise(&self.forgotten.with_label_values(&[table]), *total);
        }
        for (by, total) in &now.silenced {
            raise(&self.silenced.with_label_values(&[by]), *total);
        }
        raise(&self.flows_judged, now.flows_judged);
        for (witness, stats) in &now.detectors {
            raise(&self.findings.with_label_values(&[witness.name()]), stats.findings);
            raise(&self.abstained.with_label_values(&[witness.name()]), stats.abstained);
            raise(&self.inference_failed.with_label_values(&[witness.name()]), stats.failed);
            if let Some(join) = &stats.join {
                self.join.show(join);
            }
        }
        let devices =
            |of: fn(&crate::detect::DetectorStats) -> u64| now.detectors.iter().map(|(_, stats)| of(stats)).sum();
        set(&self.devices.with_label_values(&["learning"]), devices(|stats| stats.devices_learning));
        set(&self.devices.with_label_values(&["known"]), devices(|stats| stats.devices_known));
        set(&self.engine_queue, now.engine_queue_batches);
        raise(&self.engine_queue_full, now.engine_queue_full);
        for queue in &now.queues {
            let sink = [queue.sink];
            set(&self.queue_lines.with_label_values(&sink), queue.stats.queued);
            set(&self.queue_lines_limit.with_label_values(&sink), queue.lines_max as u64);
            raise(&self.sink_offered.with_label_values(&sink), queue.stats.offered);
            raise(&self.sink_written.with_label_values(&sink), queue.stats.written);
            raise(&self.sink_bytes.with_label_values(&sink), queue.stats.bytes_written);
            raise(&self.sink_rotations.with_label_values(&sink), queue.stats.rotations);
            for (reason, total) in DropReason::ALL.iter().zip(queue.stats.dropped) {
                raise(&self.sink_dropped.with_label_values(&[queue.sink, reason.label()]), total);
            }
        }
        for place in &now.attached {
            let labels = [place.interface.as_str(), place.mode, place.direction];
            self.attached.with_label_values(&labels).set(i64::from(place.attached));
        }
        raise(&self.gap_packets, now.gap_packets);
        set(&self.ring_size, now.ring_bytes);
        set(&self.ring_used, now.ring_used_bytes);
        set(&self.map_bytes, now.map_bytes);
        raise(&self.state_written, now.state.written);
        let lost =
            [("write_failed", now.state.failed), ("writer_busy", now.state.skipped), ("refused", now.state.refused)];
        for (reason, total) in lost {
            raise(&self.state_lost.with_label_values(&[reason]), total);
        }
        set(&self.state_bytes, now.state.bytes);
    }

    /// The text that Prometheus reads.
    pub fn render(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

/// How a severity is named in labels.
pub const fn severity_label(severity: Severity) -> &'static str {
    match severity {
        Severity::High => "high",
        Severity::Medium => "medium",
        Severity::Low => "low",
        Severity::Info => "info",
    }
}

/// Counters only rise: a total is taken over as the difference to what was shown.
fn raise(counter: &IntCounter, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}

fn set(gauge: &IntGauge, value: u64) {
    gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed step fails the test")]
    use std::{
        collections::BTreeSet,
        io::Write,
        process::{Command, Stdio},
    };

    use super::*;
    use crate::suricata::{RuleCounts, Usage};

    fn busy() -> Metrics {
        let metrics = Metrics::new().unwrap();
        let mut totals = Totals::default();
        totals.add(Counter::PacketsSeen, 10);
        totals.add_skip(Skip::Arp);
        let stats = SinkStats { offered: 3, written: 2, dropped: [1, 0, 0, 0, 0], ..SinkStats::default() };
        metrics.update(&Snapshot {
            totals,
            flows_active: 4,
            flows_ended: vec![("fin", 2)],
            forgotten: vec![("hosts", 1)],
            silenced: vec![("feedback", 3)],
            queues: vec![QueueGauge { sink: "alerts", lines_max: 9, stats }],
            attached: vec![AttachState {
                interface: "eth0".into(),
                mode: "native",
                direction: "ingress",
                attached: true,
            }],
            ..Snapshot::default()
        });
        metrics.observe_step(Duration::from_millis(3));
        metrics.observe_judge(Witness::Classifier, Duration::from_micros(40));
        metrics.count_alert(Class::PortScan, Severity::High);
        metrics.set_models([&ModelInfo {
            name: "flow".into(),
            version: "1".into(),
            sha256: "00".into(),
            backend: "tract",
        }]);
        let managed = metrics.managed_suricata().unwrap();
        managed.started();
        managed.show_usage(Usage { resident_bytes: 5, cpu_ns: 0 }, 1_500_000_000);
        managed.show_answer(Some(RuleCounts { loaded: 7, failed: 1 }));
        metrics
    }

    #[test]
    fn totals_are_shown_as_counters_and_never_fall() {
        let metrics = busy();
        metrics.update(&Snapshot::default());
        let text = metrics.render().unwrap();
        for expected in [
            "ids_packets_seen_total 10",
            "ids_packets_skipped_total{reason=\"arp\"} 1",
            "ids_flows_ended_total{reason=\"fin\"} 2",
            "ids_findings_silenced_total{by=\"feedback\"} 3",
            "ids_sink_lines_dropped_total{reason=\"queue_full\",sink=\"alerts\"} 1",
            "ids_attached{direction=\"ingress\",interface=\"eth0\",mode=\"native\"} 1",
            "ids_alerts_total{class=\"port_scan\",severity=\"high\"} 1",
            "ids_inference_seconds_count{witness=\"classifier\"} 1",
            "ids_flows_active 0",
            "ids_suricata_process_cpu_seconds_total 1.5",
            "ids_suricata_rules_in_force{state=\"loaded\"} 7",
            "process_resident_memory_bytes ",
        ] {
            assert!(text.contains(expected), "{expected} is missing in\n{text}");
        }
    }

    #[test]
    fn what_is_shown_is_what_the_families_say() {
        let metrics = busy();
        for shown in metrics.registry.gather().iter().filter(|shown| shown.name().starts_with("ids_")) {
            let family = family::ALL.iter().find(|family| family.name == shown.name());
            let family = family.unwrap_or_else(|| panic!("{} is no family", shown.name()));
            assert_eq!(shown.help(), family.help);
            assert_eq!(
                format!("{:?}", shown.get_field_type()).to_lowercase(),
                format!("{:?}", family.kind).to_lowercase()
            );
            for series in shown.get_metric() {
                let labels: BTreeSet<&str> = series.get_label().iter().map(|label| label.name()).collect();
                assert_eq!(labels, family.labels.iter().copied().collect(), "{}", family.name);
            }
        }
    }

    #[test]
    fn promtool_has_nothing_to_say() {
        let text = busy().render().unwrap();
        let spawned = Command::new("promtool")
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let Ok(mut promtool) = spawned else {
            eprintln!("skipped: promtool is not installed");
            return;
        };
        promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let output = promtool.wait_with_output().unwrap();
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success() && said.trim().is_empty(), "{said}");
    }
}
