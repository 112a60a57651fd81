//! Builds the line from a source to the sinks and runs it. The only module that spawns.
//!
//! ```text
//! source ══▶ engine ──▶ queue ──▶ sink          ══▶ batches, recycled; BATCHES of them in all
//!   thread      thread     (one pair a sink)    ──▶ lines; alert.queue_max of them a sink
//! ```
//!
//! When the engine is slow the source waits for a batch to come back, counted as
//! `engine_queue_full` where it takes longer than `PATIENCE`; live, the ring then fills and counts what it drops. When a sink is slow its
//! queue drops what matters least, counted; on replay the engine waits instead.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel},
    },
    thread,
    time::Duration,
};

use crate::{
    alert::Renderer,
    budget::Effort,
    clock::Stopwatch,
    detect::{
        Detector, DetectorStats, Engine, EngineParts, EngineStats, Finding, Incident, Judged, Judging, ModelInfo,
        Outcome, Severity, Verdict, forward_to_inner,
    },
    evidence::Recorder,
    http::{AttachState, Health, Metrics, QueueGauge, Snapshot},
    kernel::cost::RunTime,
    sandbox,
    sink::{Line, LineQueue, Rank, SinkError},
    source::{Batch, FlowSource, Progress, Totals, blind::Blindness},
    state::StateStore,
    supervisor::{Badge, Roster, StopFlag},
};

mod budget;
mod control;
mod enforce;
mod eve;
mod feeds;
mod keep;
mod notify;
mod renew;
mod serve;
mod sinks;
mod suricata;

pub use budget::{Board, Governing, GovernorParts};
pub use control::{ControlKeeper, Handler, ReloadAsker};
pub use enforce::{AtStop, Done, EnforceHandle, EnforceParts, Enforced, Enforcement, Order};
pub use eve::{EveFollowing, EveParts, EveSettling};
pub use feeds::FeedKeeper;
use keep::Keeping;
pub use renew::RenewalBox;
pub use serve::{DRAIN_DEADLINE, Ended, Hangup, ServeError, Watch, supervise};
pub use sinks::{SinkReport, Sinks};
pub use suricata::{Care, SuricataKeeper};

/// Batches in the line: one being filled, one being judged, one between.
const BATCHES: usize = 3;
/// The parts of a tick follow each other faster than they are judged; a wait for longer is told.
const PATIENCE: Duration = Duration::from_millis(100);

/// Why the line ended early.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError<E: std::error::Error> {
    #[error(transparent)]
    Source(E),
    #[error(transparent)]
    Sink(#[from] SinkError),
    #[error("cannot start thread `{name}`: {source}; the machine is out of threads or memory")]
    Spawn { name: &'static str, source: io::Error },
    #[error("thread `{name}` panicked; please report this as a bug")]
    Panicked { name: &'static str },
}

/// What a source says of itself beside its batches.
#[derive(Clone, Debug, Default)]
pub struct SourceState {
    pub attached: Vec<AttachState>,
    /// Interfaces that should be seen and are not.
    pub blind: Vec<Blindness>,
    /// Packets of watched interfaces that no agent saw or read.
    pub gap_packets: u64,
    pub ring_bytes: u64,
    pub ring_used_bytes: u64,
    pub map_bytes: u64,
    /// What the kernel programs took, where the kernel counts it.
    pub run_time: RunTime,
}

/// Takes what the engine decided, in order.
pub trait Consumer {
    /// A tick, before what the engine says of it.
    fn tick(&mut self, _batch: &Batch) {}

    fn incident(&mut self, incident: &Incident);

    fn verdict(&mut self, verdict: &Verdict);

    /// The models that judge from now on.
    fn models(&mut self, _models: &[ModelInfo]) {}

    /// New blocks are refused, because so many proposals wait for the enforcer.
    fn blocking_refused(&mut self, _at_ns: u64, _waiting_max: usize) {}

    /// The queues that the consumer feeds, for metrics.
    fn queues(&self) -> Vec<QueueGauge> {
        Vec::new()
    }

    /// What bounded tables behind the consumer let go early.
    fn forgotten(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }
}

/// Where running figures are shown while the line runs.
#[derive(Clone, Debug, Default)]
pub struct Gauges {
    pub metrics: Option<Arc<Metrics>>,
    pub health: Option<Arc<Health>>,
}

/// How a line is watched and stopped.
#[derive(Clone, Debug, Default)]
pub struct Control {
    pub stop: StopFlag,
    pub roster: Roster,
    pub gauges: Gauges,
    /// Other rules, for an engine that goes on.
    pub renewal: RenewalBox,
    /// Where the detectors' state is kept; a replay keeps none.
    pub state: Option<Arc<StateStore>>,
    /// Told what was judged of Suricata's events, where they are followed.
    pub eve: Option<EveSettling>,
    /// How much is given up, and what a governor goes by.
    pub board: Arc<Board>,
}

/// What the line has done by its end.
#[derive(Clone, Debug)]
pub struct LineReport {
    pub totals: Totals,
    pub stats: EngineStats,
    pub batches_sent: u64,
    pub batches_judged: u64,
    pub engine_queue_full: u64,
    /// Whether the source came to its end, rather than being stopped.
    pub complete: bool,
}

/// A tick on its way to the engine.
struct Parcel {
    batch: Batch,
    state: SourceState,
}

/// Runs a source through an engine into a consumer, on the calling thread and one more, until the
/// source ends or a stop is asked for.
pub fn run_line<S>(
    source: &mut S,
    mut observe: impl FnMut(&S) -> SourceState + Send,
    mut engine: Engine,
    consumer: &mut dyn Consumer,
    control: &Control,
) -> Result<LineReport, PipelineError<S::Error>>
where
    S: FlowSource + Send,
{
    let (to_engine, from_source) = sync_channel::<Parcel>(BATCHES);
    let (give_back, recycled) = sync_channel::<Batch>(BATCHES);
    let sent = AtomicU64::new(0);
    let waits = AtomicU64::new(0);
    thread::scope(|scope| {
        let badge = control.roster.enter("engine");
        let reader = {
            let (roster, sent, waits) = (control.roster.clone(), &sent, &waits);
            thread::Builder::new().name("source".to_owned()).spawn_scoped(scope, move || {
                sandbox::hold();
                let badge = roster.enter("source");
                read(source, &mut observe, &to_engine, &recycled, control, [sent, waits], &badge)
            })
        }
        .map_err(|source| PipelineError::Spawn { name: "source", source })?;
        // The source has inherited what it is to keep.
        sandbox::surrender();

        let keeping = control.state.as_ref().map(|store| Keeping::start(scope, store, &control.roster)).transpose();
        let keeping = keeping.map_err(|source| PipelineError::Spawn { name: "state", source })?;
        let (totals, batches_judged) =
            judge(&from_source, &give_back, &mut engine, consumer, (control, &badge), keeping, [&sent, &waits]);
        let complete = match reader.join() {
            Ok(read) => read.map_err(PipelineError::Source)?,
            Err(_) => return Err(PipelineError::Panicked { name: "source" }),
        };
        Ok(LineReport {
            totals,
            stats: engine.stats(),
            batches_sent: sent.load(Ordering::Relaxed),
            batches_judged,
            engine_queue_full: waits.load(Ordering::Relaxed),
            complete,
        })
    })
}

/// Reads batches until the source ends or is stopped; says whether it ended.
fn read<S: FlowSource>(
    source: &mut S,
    observe: &mut impl FnMut(&S) -> SourceState,
    to_engine: &SyncSender<Parcel>,
    recycled: &Receiver<Batch>,
    control: &Control,
    [sent, waits]: [&AtomicU64; 2],
    badge: &Badge,
) -> Result<bool, S::Error> {
    let mut made = 0;
    let mut effort = Effort::default();
    while !control.stop.is_asked() {
        let mut batch = match recycled.try_recv() {
            Ok(batch) => batch,
            Err(TryRecvError::Empty) if made < BATCHES => {
                made += 1;
                Batch::default()
            }
            Err(TryRecvError::Empty) => {
                badge.waits();
                match recycled.recv_timeout(PATIENCE) {
                    Ok(batch) => batch,
                    Err(RecvTimeoutError::Disconnected) => return Ok(false),
                    Err(RecvTimeoutError::Timeout) => {
                        waits.fetch_add(1, Ordering::Relaxed);
                        let Ok(batch) = recycled.recv() else { return Ok(false) };
                        batch
                    }
                }
            }
            Err(TryRecvError::Disconnected) => return Ok(false),
        };
        badge.works();
        let wanted = control.board.effort();
        if wanted != effort {
            effort = wanted;
            source.ease(effort);
        }
        let progress = source.next_batch(&mut batch)?;
        batch.effort = effort;
        let state = observe(source);
        control.board.read(&batch.totals, &state, waits.load(Ordering::Relaxed));
        // There are no more batches than places, so this waits for nobody.
        if to_engine.send(Parcel { batch, state }).is_err() {
            return Ok(false);
        }
        sent.fetch_add(1, Ordering::Relaxed);
        match progress {
            Progress::Part | Progress::Tick => {}
            Progress::End => return Ok(true),
        }
    }
    Ok(false)
}

/// Judges batches until no more come, then what is left.
fn judge(
    from_source: &Receiver<Parcel>,
    give_back: &SyncSender<Batch>,
    engine: &mut Engine,
    consumer: &mut dyn Consumer,
    (control, badge): (&Control, &Badge),
    mut keeping: Option<Keeping>,
    [sent, waits]: [&AtomicU64; 2],
) -> (Totals, u64) {
    let mut outcome = Outcome::default();
    let mut totals = Totals::default();
    let mut state = SourceState::default();
    let mut judged = 0u64;
    for parcel in from_source {
        badge.works();
        let watch = Stopwatch::start();
        control.renewal.take_up(engine, consumer, control.gauges.metrics.as_ref());
        consumer.tick(&parcel.batch);
        engine.absorb(&parcel.batch);
        judge_all(engine, &mut outcome, consumer, control);
        if let Some(metrics) = &control.gauges.metrics {
            metrics.observe_step(watch.elapsed());
        }
        totals = parcel.batch.totals;
        state = parcel.state;
        judged += 1;
        if let Some(eve) = &control.eve {
            eve.judged(parcel.batch.eve_mark, engine.now_ns(), &consumer.queues());
        }
        // The source may be gone already.
        let _ = give_back.send(parcel.batch);
        publish(control, consumer, engine, &totals, &state, [judged, sent.load(Ordering::Relaxed)], waits);
        if let Some(keeping) = &mut keeping {
            keeping.tick(engine);
        }
        badge.waits();
    }
    badge.works();
    engine.end();
    judge_all(engine, &mut outcome, consumer, control);
    if let Some(keeping) = keeping {
        keeping.finish(engine);
    }
    engine.close(&mut outcome);
    deliver(&mut outcome, consumer, control);
    publish(control, consumer, engine, &totals, &state, [judged, judged], waits);
    (totals, judged)
}

/// Judges a tick chunk by chunk, so that what is said of one is gone before the next is said.
fn judge_all(engine: &mut Engine, outcome: &mut Outcome, consumer: &mut dyn Consumer, control: &Control) {
    loop {
        let judging = engine.judge(outcome);
        deliver(outcome, consumer, control);
        match judging {
            Judging::More => {}
            Judging::Done => return,
        }
    }
}

fn deliver(outcome: &mut Outcome, consumer: &mut dyn Consumer, control: &Control) {
    for incident in &outcome.incidents {
        consumer.incident(incident);
        if let Some(metrics) = &control.gauges.metrics {
            metrics.count_alert(incident.class, incident.severity);
        }
    }
    for verdict in &outcome.verdicts {
        consumer.verdict(verdict);
        if let Some(metrics) = &control.gauges.metrics {
            metrics.count_verdict(verdict.class);
        }
    }
    outcome.clear();
}

fn publish(
    control: &Control,
    consumer: &dyn Consumer,
    engine: &Engine,
    totals: &Totals,
    state: &SourceState,
    [judged, sent]: [u64; 2],
    waits: &AtomicU64,
) {
    if let Some(health) = &control.gauges.health {
        health.stepped();
    }
    let Some(metrics) = &control.gauges.metrics else { return };
    let stats = engine.stats();
    control.board.judged(&stats);
    metrics.update(&Snapshot {
        totals: *totals,
        flows_active: stats.flow.active,
        flows_started: stats.flow.started,
        flows_ended: crate::flow::FlowEnd::ALL.iter().map(|end| (end.label(), stats.flow.ended_by(*end))).collect(),
        slots_stale: stats.flow.slots_stale,
        silenced: vec![("allow", stats.fuse.findings_allowed), ("feedback", stats.fuse.findings_by_feedback)],
        forgotten: forgotten(&stats).into_iter().chain(consumer.forgotten()).collect(),
        flows_judged: stats.judged,
        engine_queue_batches: sent.saturating_sub(judged),
        engine_queue_full: waits.load(Ordering::Relaxed),
        queues: consumer.queues(),
        attached: state.attached.clone(),
        gap_packets: state.gap_packets,
        ring_bytes: state.ring_bytes,
        ring_used_bytes: state.ring_used_bytes,
        map_bytes: state.map_bytes,
        detectors: stats.detectors,
        state: control.state.as_ref().map(|store| store.stats()).unwrap_or_default(),
    });
}

/// What bounded tables let go early.
fn forgotten(stats: &EngineStats) -> Vec<(&'static str, u64)> {
    let detectors = stats.detectors.iter().map(|(witness, stats)| (witness.name(), stats.forgotten));
    let mut tables = vec![
        ("evicted_slots", stats.flow.slots_forgotten),
        ("payload_flows", stats.payload.flows_evicted),
        ("payload_bytes", stats.payload.bytes_evicted),
        ("window_sources", stats.window.sources_evicted),
        ("window_targets", stats.window.targets_evicted),
        ("window_pairs", stats.window.pairs_evicted),
        ("window_services", stats.window.services_evicted),
        ("window_marks", stats.window.marks_evicted),
        ("incidents", stats.fuse.incidents_evicted),
        ("verdicts", stats.fuse.verdicts_early),
        ("marks", stats.fuse.marks_evicted),
        ("covers", stats.fuse.covers_evicted),
        ("told_hosts", stats.fuse.hosts_evicted),
        ("exhibits", stats.exhibits_evicted),
    ];
    tables.extend(detectors);
    tables
}

/// Builds an engine whose detectors are timed where there are metrics.
pub fn build_engine(mut parts: EngineParts, metrics: Option<&Arc<Metrics>>) -> Engine {
    if let Some(metrics) = metrics {
        metrics.set_models(parts.detectors.iter().filter_map(|detector| detector.model()).collect::<Vec<_>>().iter());
        parts.detectors = parts
            .detectors
            .into_iter()
            .map(|inner| Box::new(Timed { inner, metrics: Arc::clone(metrics) }) as Box<dyn Detector>)
            .collect();
    }
    Engine::new(parts)
}

/// A detector with a stopwatch: the engine itself knows no clock.
struct Timed {
    inner: Box<dyn Detector>,
    metrics: Arc<Metrics>,
}

impl Detector for Timed {
    forward_to_inner!();

    fn judge(&mut self, flows: &[Judged<'_>], now_ns: u64, findings: &mut Vec<Finding>) {
        let watch = Stopwatch::start();
        self.inner.judge(flows, now_ns, findings);
        if !flows.is_empty() {
            self.metrics.observe_judge(self.inner.witness(), watch.elapsed());
        }
    }

    fn stats(&self) -> DetectorStats {
        self.inner.stats()
    }
}

/// Renders alerts and flow lines into the queues of their sinks.
pub struct Lines {
    renderer: Renderer,
    alerts: Option<Outlet>,
    flows: Option<Outlet>,
    evidence: Option<EvidenceOutlet>,
}

/// Where the documents of alerts go.
pub struct EvidenceOutlet {
    pub recorder: Recorder,
    pub outlet: Outlet,
    /// Alerts whose evidence went to make room.
    pub removed: Arc<AtomicU64>,
}

/// A queue and the name of the sink behind it.
#[derive(Clone, Debug)]
pub struct Outlet {
    pub sink: &'static str,
    pub queue: Arc<LineQueue>,
}

impl Lines {
    pub fn new(renderer: Renderer, alerts: Option<Outlet>, flows: Option<Outlet>) -> Self {
        Self { renderer, alerts, flows, evidence: None }
    }

    pub fn keeps_evidence(&self) -> bool {
        self.evidence.is_some()
    }

    /// Also keeps what alerts rest on.
    pub fn with_evidence(self, evidence: Option<EvidenceOutlet>) -> Self {
        Self { evidence, ..self }
    }
}

impl Consumer for Lines {
    fn incident(&mut self, incident: &Incident) {
        let rank = match incident.severity {
            Severity::High => Rank::High,
            Severity::Medium => Rank::Medium,
            Severity::Low => Rank::Low,
            Severity::Info => Rank::Info,
        };
        if let Some(outlet) = &self.alerts {
            outlet.queue.push(Line { rank, bytes: self.renderer.alert(incident) });
        }
        if let Some(evidence) = &self.evidence {
            evidence.outlet.queue.push(Line { rank, bytes: evidence.recorder.line(incident) });
        }
    }

    fn verdict(&mut self, verdict: &Verdict) {
        if let Some(outlet) = &self.flows {
            outlet.queue.push(Line { rank: Rank::Flow, bytes: self.renderer.flow(verdict) });
        }
    }

    fn models(&mut self, models: &[ModelInfo]) {
        self.renderer.set_models(models);
        if let Some(evidence) = &mut self.evidence {
            evidence.recorder.renderer.set_models(models);
        }
    }

    fn blocking_refused(&mut self, at_ns: u64, waiting_max: usize) {
        if let Some(outlet) = &self.alerts {
            outlet.queue.push(Line { rank: Rank::High, bytes: self.renderer.blocking_refused(at_ns, waiting_max) });
        }
    }

    fn queues(&self) -> Vec<QueueGauge> {
        let evidence = self.evidence.as_ref().map(|evidence| &evidence.outlet);
        let mut outlets: Vec<&Outlet> = self.alerts.iter().chain(&self.flows).chain(evidence).collect();
        outlets.dedup_by_key(|outlet| outlet.sink);
        outlets
            .into_iter()
            .map(|outlet| QueueGauge {
                sink: outlet.sink,
                lines_max: outlet.queue.lines_max(),
                stats: outlet.queue.stats(),
            })
            .collect()
    }

    fn forgotten(&self) -> Vec<(&'static str, u64)> {
        let removed = |evidence: &EvidenceOutlet| ("evidence", evidence.removed.load(Ordering::Relaxed));
        self.evidence.iter().map(removed).collect()
    }
}

#[cfg(test)]
mod tests;
