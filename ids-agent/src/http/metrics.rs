//! Prometheus metrics. Names follow its conventions; no label holds an address or free text.

use std::{sync::OnceLock, time::Duration};

use ids_common::counter::{Counter, Skip};
use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
    core::Collector, process_collector::ProcessCollector,
};

use crate::{
    config::Category,
    detect::{Class, ModelInfo, Severity, Witness, intel::Kind},
    intel::FeedStatus,
    sink::{DropReason, SinkStats},
    source::Totals,
    state::StateStats,
};

mod enforce;
mod eve;
mod feeds;
mod join;
mod series;
mod suricata;

pub use enforce::EnforceMetrics;
pub use eve::EveGauge;
use eve::EveMetrics;
use feeds::FeedMetrics;
use join::JoinMetrics;
pub use series::Series;
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
    ring_size: IntGauge,
    ring_used: IntGauge,
    map_bytes: IntGauge,
    model_info: IntGaugeVec,
    devices: IntGaugeVec,
    feeds: FeedMetrics,
    /// Nothing of it shows where nobody follows eve.json.
    eve: OnceLock<EveMetrics>,
    join: JoinMetrics,
    state_written: IntCounter,
    state_lost: IntCounterVec,
    state_bytes: IntGauge,
}

/// Kernel counters by metric name and help text.
const COUNTERS: [(Counter, &str, &str); 13] = [
    (Counter::PacketsSeen, "ids_packets_seen_total", "Frames that reached a program or were read from a file."),
    (Counter::FlowPackets, "ids_packets_in_flows_total", "Packets counted in flows."),
    (Counter::FlowBytes, "ids_bytes_in_flows_total", "Network-layer bytes counted in flows."),
    (
        Counter::SegmentsUnfolded,
        "ids_segments_unfolded_total",
        "Packets that segmentation super-packets stood for, beyond the one seen.",
    ),
    (Counter::SlotsEvicted, "ids_slots_evicted_total", "Slots that left the kernel table to make room."),
    (Counter::SlotsLost, "ids_slots_lost_total", "Evicted slots lost because the ring was full."),
    (Counter::SlotsLostPackets, "ids_slots_lost_packets_total", "Packets in lost slots."),
    (Counter::SlotsLostBytes, "ids_slots_lost_bytes_total", "Bytes in lost slots."),
    (Counter::SamplesSent, "ids_samples_sent_total", "Payload samples sent through the ring."),
    (Counter::SamplesLost, "ids_samples_lost_total", "Payload samples lost because the ring was full."),
    (Counter::TableMissing, "ids_table_missing_total", "Packets counted nowhere because a map lookup failed."),
    (Counter::PacketsBlocked, "ids_packets_blocked_total", "Packets counted in flows and then dropped for a block."),
    (Counter::BytesBlocked, "ids_bytes_blocked_total", "Network-layer bytes of dropped packets."),
];

/// A tick's work lies between microseconds and the tick's length.
const STEP_BUCKETS: [f64; 14] =
    [1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 0.1, 0.5, 2.5];

impl Metrics {
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let plain = Register { registry: &registry };
        let mut counters = Vec::with_capacity(COUNTERS.len());
        for (counter, name, help) in COUNTERS {
            counters.push((counter, plain.counter(name, help)?));
        }
        let build = plain.gauges("ids_build_info", "The agent's version; always 1.", &["version"])?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let metrics = Self {
            counters,
            skipped: plain.counters("ids_packets_skipped_total", "Frames not counted in a flow.", &["reason"])?,
            flows_active: plain.gauge("ids_flows_active", "Flows in progress.")?,
            flows_started: plain.counter("ids_flows_started_total", "Flows that began.")?,
            flows_ended: plain.counters("ids_flows_ended_total", "Flows that ended.", &["reason"])?,
            slots_stale: plain.counter(
                "ids_slots_stale_total",
                "Snapshots of slots that were older than what was known, or told of their end a second time.",
            )?,
            forgotten: plain.counters(
                "ids_entries_forgotten_total",
                "Entries that a bounded table let go early.",
                &["table"],
            )?,
            silenced: plain.counters(
                "ids_findings_silenced_total",
                "Findings that raised no alert: on the allow list, or called false by feedback.",
                &["by"],
            )?,
            flows_judged: plain.counter("ids_flows_judged_total", "Judgements of flows; a long flow has several.")?,
            findings: plain.counters("ids_findings_total", "Findings.", &["witness"])?,
            abstained: plain.counters(
                "ids_abstained_total",
                "Flows that looked odd, but not surely enough to say so.",
                &["witness"],
            )?,
            inference_failed: plain.counters(
                "ids_inference_failed_total",
                "Flows not judged because inference failed.",
                &["witness"],
            )?,
            step_seconds: plain.histogram("ids_engine_step_seconds", "Time to judge one tick.")?,
            judge_seconds: plain.histograms(
                "ids_inference_seconds",
                "Time one detector takes for the flows of a tick.",
                &["witness"],
            )?,
            alerts: plain.counters("ids_alerts_total", "Alerts.", &["class", "severity"])?,
            verdicts: plain.counters("ids_verdicts_total", "Ended flows by verdict.", &["class"])?,
            engine_queue: plain.gauge("ids_engine_queue_batches", "Batches that wait for the engine.")?,
            engine_queue_full: plain.counter(
                "ids_engine_queue_full_total",
                "Times the source waited because the engine's queue was full.",
            )?,
            queue_lines: plain.gauges("ids_sink_queue_lines", "Lines that wait for a sink.", &["sink"])?,
            queue_lines_limit: plain.gauges(
                "ids_sink_queue_limit_lines",
                "Lines that may wait for a sink.",
                &["sink"],
            )?,
            sink_offered: plain.counters("ids_sink_lines_offered_total", "Lines given to a sink.", &["sink"])?,
            sink_written: plain.counters("ids_sink_lines_written_total", "Lines a sink has written.", &["sink"])?,
            sink_bytes: plain.counters("ids_sink_written_bytes_total", "Bytes a sink has written.", &["sink"])?,
            sink_dropped: plain.counters(
                "ids_sink_lines_dropped_total",
                "Lines a sink has not written.",
                &["sink", "reason"],
            )?,
            sink_rotations: plain.counters("ids_sink_rotations_total", "Rotations of a file.", &["sink"])?,
            attached: plain.gauges(
                "ids_attached",
                "Whether a program sees an interface.",
                &["interface", "mode", "direction"],
            )?,
            ring_size: plain.gauge("ids_ring_size_bytes", "Size of the ring buffer.")?,
            ring_used: plain.gauge("ids_ring_used_bytes", "Bytes of the ring buffer in use when it was last read.")?,
            map_bytes: plain.gauge("ids_map_memory_bytes", "Memory of all kernel maps.")?,
            model_info: plain.gauges(
                "ids_model_info",
                "Loaded models; always 1.",
                &["name", "version", "sha256", "backend"],
            )?,
            devices: plain.gauges(
                "ids_devices",
                "Devices of the site in each role: being learned, and known by their own past.",
                &["standing"],
            )?,
            state_written: plain.counter("ids_state_written_total", "Times the detectors' state was written.")?,
            state_lost: plain.counters(
                "ids_state_lost_total",
                "State that was not written or not taken back, by reason.",
                &["reason"],
            )?,
            state_bytes: plain.gauge("ids_state_size_bytes", "Length of the state file as last written.")?,
            feeds: FeedMetrics::new(&plain)?,
            eve: OnceLock::new(),
            join: JoinMetrics::new(&plain)?,
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

fn severity_label(severity: Severity) -> &'static str {
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

/// Makes metrics and registers them.
struct Register<'a> {
    registry: &'a Registry,
}

impl Register<'_> {
    fn add<C: Collector + Clone + 'static>(&self, collector: C) -> Result<C, prometheus::Error> {
        self.registry.register(Box::new(collector.clone()))?;
        Ok(collector)
    }

    fn counter(&self, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
        self.add(IntCounter::new(name, help)?)
    }

    fn seconds(&self, name: &str, help: &str) -> Result<prometheus::Counter, prometheus::Error> {
        self.add(prometheus::Counter::with_opts(Opts::new(name, help))?)
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, prometheus::Error> {
        self.add(IntCounterVec::new(Opts::new(name, help), labels)?)
    }

    fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
        self.add(IntGauge::new(name, help)?)
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, prometheus::Error> {
        self.add(IntGaugeVec::new(Opts::new(name, help), labels)?)
    }

    fn histogram(&self, name: &str, help: &str) -> Result<Histogram, prometheus::Error> {
        self.add(Histogram::with_opts(HistogramOpts::new(name, help).buckets(STEP_BUCKETS.to_vec()))?)
    }

    fn histograms(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<prometheus::HistogramVec, prometheus::Error> {
        let opts = HistogramOpts::new(name, help).buckets(STEP_BUCKETS.to_vec());
        self.add(prometheus::HistogramVec::new(opts, labels)?)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed step fails the test")]
    use std::{
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
