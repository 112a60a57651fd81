//! The thread that asks the governor, and what the line and it tell each other. It says itself what is not seen: an engine that
//! is behind would say it late.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::{Builder, JoinHandle},
    time::Duration,
};

use ids_common::counter::Counter;

use super::{Outlet, SourceState};
use crate::{
    alert::Renderer,
    budget::{
        Decision, Effort, Governor, Level, NoticeStage, SAMPLE_EVERY_NS, Sample, Sense, Sight, Tables, Visibility,
        machine::Files,
    },
    clock,
    detect::EngineStats,
    http::{BudgetGauge, ManagedMetrics, Metrics},
    kernel::cost::{Counting, RunTime},
    memory, sandbox,
    sink::{Line, Rank},
    source::{Totals, blind::BlindCause},
    supervisor::{Badge, Roster},
};

/// How often it looks at what is seen; each second look is a sample.
const LOOK_EVERY: Duration = Duration::from_nanos(SAMPLE_EVERY_NS / 2);
/// Share of the memory budget beyond which what is free between blocks in use is given back before each sample.
const MEMORY_TIGHT: f64 = 0.75;
/// Of so many samples one measures what the kernel programs cost: measuring costs too.
const MEASURED_OF: u64 = 16;
/// What a packet costs where the kernel does not tell: three times what was measured on the machine of docs/performance.md.
const PACKET_NS_ASSUMED: f64 = 600.0;
/// Fewer packets than this measure nothing.
const RUNS_MEASURED_MIN: u64 = 64;
/// Without a tick judged for so long nothing is judged.
const STALLED_NS: u64 = 4_000_000_000;
/// Suricata takes its time to begin; so does whoever follows it.
const BEGINNING_NS: u64 = 60_000_000_000;
/// A detector that failed is silent until it did not for so long.
const FAILED_NS: u64 = 10_000_000_000;

/// What the threads of the line and the governor's tell each other. Without a governor it stays as it was made.
#[derive(Debug)]
pub struct Board {
    /// From the governor to the source: the level, and halvings of the tables above it.
    effort: AtomicU32,
    began_ns: u64,
    packets: AtomicU64,
    ring_lost: AtomicU64,
    ring_bytes: AtomicU64,
    run_ns: AtomicU64,
    runs: AtomicU64,
    waits: AtomicU64,
    judged_ns: AtomicU64,
    failed: [AtomicU64; Sense::ALL.len()],
    blind: Mutex<Vec<(Arc<str>, BlindCause)>>,
}

impl Default for Board {
    fn default() -> Self {
        Self::fixed(Effort::default())
    }
}

impl Board {
    /// A board that holds an effort from the start.
    pub fn fixed(effort: Effort) -> Self {
        let board = Self {
            effort: AtomicU32::new(0),
            began_ns: clock::boottime_ns(),
            packets: AtomicU64::new(0),
            ring_lost: AtomicU64::new(0),
            ring_bytes: AtomicU64::new(0),
            run_ns: AtomicU64::new(0),
            runs: AtomicU64::new(0),
            waits: AtomicU64::new(0),
            judged_ns: AtomicU64::new(0),
            failed: Default::default(),
            blind: Mutex::default(),
        };
        board.set(effort);
        board
    }

    fn set(&self, effort: Effort) {
        let word = u32::from(effort.level.number()) | u32::from(effort.tables.halvings()) << 8;
        self.effort.store(word, Ordering::Release);
    }

    /// What holds from now on.
    pub fn effort(&self) -> Effort {
        let [level, halvings, ..] = self.effort.load(Ordering::Acquire).to_le_bytes();
        Effort { level: Level::from_number(level).unwrap_or_default(), tables: Tables::halved(halvings) }
    }

    /// The source has read a tick.
    pub(super) fn read(&self, totals: &Totals, state: &SourceState, waits: u64) {
        self.packets.store(totals.counter(Counter::PacketsSeen), Ordering::Relaxed);
        self.ring_lost.store(totals.records_lost(), Ordering::Relaxed);
        self.ring_bytes.store(state.ring_bytes, Ordering::Relaxed);
        self.run_ns.store(state.run_time.ns, Ordering::Relaxed);
        self.runs.store(state.run_time.runs, Ordering::Relaxed);
        self.waits.store(waits, Ordering::Relaxed);
        let mut blind = self.blind.lock().unwrap_or_else(PoisonError::into_inner);
        blind.clear();
        blind.extend(state.blind.iter().map(|blind| (Arc::clone(&blind.interface), blind.cause)));
    }

    /// The engine has judged a tick.
    pub(super) fn judged(&self, stats: &EngineStats) {
        for (witness, stats) in &stats.detectors {
            if let Some(failed) = self.failed.get(Sense::from(*witness).index()) {
                failed.store(stats.failed, Ordering::Relaxed);
            }
        }
        self.judged_ns.store(clock::boottime_ns(), Ordering::Relaxed);
    }
}

/// What a governor is made of.
pub struct GovernorParts {
    /// None where the budget is off: what is seen is still looked at.
    pub governor: Option<Governor>,
    pub visibility: Visibility,
    pub board: Arc<Board>,
    pub metrics: Arc<Metrics>,
    pub suricata: Option<ManagedMetrics>,
    pub renderer: Renderer,
    pub alerts: Option<Outlet>,
    pub files: Files,
    /// Asked for while the process still might.
    pub counting: Option<Counting>,
}

/// Ends the governor's thread when it goes.
pub struct Governing {
    ask: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Governing {
    pub fn start(parts: GovernorParts, roster: &Roster) -> io::Result<Self> {
        let (ask, asked) = sync_channel(1);
        let roster = roster.clone();
        let thread = Builder::new().name("budget".to_owned()).spawn(move || {
            sandbox::surrender();
            Keeper::new(parts).keep(&asked, &roster.enter("budget"));
        })?;
        Ok(Self { ask: Some(ask), thread: Some(thread) })
    }
}

impl Drop for Governing {
    fn drop(&mut self) {
        // A thread that is asked by nobody ends.
        drop(self.ask.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("thread `budget` panicked; please report this as a bug");
        }
    }
}

struct Keeper {
    parts: GovernorParts,
    meter: Meter,
    decision: Option<Decision>,
    failed: [(u64, Option<u64>); Sense::ALL.len()],
}

impl Keeper {
    fn new(mut parts: GovernorParts) -> Self {
        let meter = Meter { counting: parts.counting.take(), ..Meter::default() };
        if let Some(governor) = &parts.governor {
            parts.metrics.show_limits(governor.limits());
        }
        Self { parts, meter, decision: None, failed: Default::default() }
    }

    fn keep(mut self, asked: &Receiver<()>, badge: &Badge) {
        let mut looks = 0_u64;
        badge.waits();
        while matches!(asked.recv_timeout(LOOK_EVERY), Err(RecvTimeoutError::Timeout)) {
            badge.works();
            let now_ns = clock::boottime_ns();
            if looks.is_multiple_of(2) {
                self.govern(now_ns);
            }
            self.look(now_ns);
            looks += 1;
            badge.waits();
        }
    }

    fn govern(&mut self, now_ns: u64) {
        let Some(governor) = &mut self.parts.governor else { return };
        if self.decision.is_some_and(|decision| decision.memory_load > MEMORY_TIGHT) {
            memory::give_back();
        }
        let (board, files) = (&self.parts.board, &self.parts.files);
        let Some((sample, gauge)) = self.meter.sample(now_ns, board, files, self.parts.suricata.as_ref()) else {
            return;
        };
        let before = governor.effort();
        let decision = governor.step(&sample);
        if decision.effort != before {
            let Effort { level, tables } = decision.effort;
            tracing::info!(
                level = level.number(),
                name = level.name(),
                tables = tables.share(),
                over = decision.over.map(|why| why.name()),
                cpus = sample.cpus(),
                memory_mib = sample.memory_bytes >> 20,
                "effort changed"
            );
            board.set(decision.effort);
        }
        self.parts.metrics.show_budget(&decision, &gauge);
        self.decision = Some(decision);
    }

    fn look(&mut self, now_ns: u64) {
        let sight = self.sight(now_ns);
        let notice = self.parts.visibility.look(&sight);
        let causes = self.parts.visibility.causes(&sight);
        self.parts.metrics.show_sight(&self.parts.visibility.coverage(&sight), &causes);
        let Some(notice) = notice else { return };
        match notice.stage {
            NoticeStage::Degraded => tracing::warn!("visibility degraded: {}", notice.reason),
            NoticeStage::Restored => tracing::info!("visibility restored: {}", notice.reason),
        }
        self.parts.metrics.count_notice(&notice);
        if let Some(outlet) = &self.parts.alerts {
            // What was not seen matters no less than what was.
            outlet.queue.push(Line { rank: Rank::High, bytes: self.parts.renderer.notice(&notice) });
        }
    }

    fn sight(&mut self, now_ns: u64) -> Sight {
        let board = &self.parts.board;
        let mut silent = Vec::new();
        for (sense, (known, failed_ns)) in Sense::ALL.into_iter().zip(&mut self.failed) {
            let failed = board.failed.get(sense.index()).map_or(0, |failed| failed.load(Ordering::Relaxed));
            if failed > *known {
                (*known, *failed_ns) = (failed, Some(now_ns));
            }
            if failed_ns.is_some_and(|failed_ns| now_ns.saturating_sub(failed_ns) < FAILED_NS) {
                silent.push(sense);
            }
        }
        if now_ns.saturating_sub(board.began_ns) > BEGINNING_NS {
            let dead = self.parts.suricata.as_ref().is_some_and(|suricata| !suricata.is_running());
            if dead || self.parts.metrics.eve_is_readable() == Some(false) {
                silent.push(Sense::Signature);
            }
        }
        let judged_ns = board.judged_ns.load(Ordering::Relaxed);
        Sight {
            at_ns: now_ns,
            effort: board.effort(),
            why: self.decision.and_then(|decision| decision.over),
            ring_lost: board.ring_lost.load(Ordering::Relaxed),
            silent,
            blind: board.blind.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            stalled: judged_ns > 0 && now_ns.saturating_sub(judged_ns) > STALLED_NS,
        }
    }
}

/// Measures what is taken from one sample to the next.
#[derive(Debug, Default)]
struct Meter {
    before: Option<Before>,
    samples: u64,
    counting: Option<Counting>,
    packet_ns: Option<f64>,
}

/// Running totals at the sample before.
#[derive(Clone, Copy, Debug)]
struct Before {
    at_ns: u64,
    cpu_ns: u64,
    suricata_ns: u64,
    packets: u64,
    waits: u64,
    run: RunTime,
}

impl Meter {
    /// Nothing the first time, as there is nothing to compare with.
    fn sample(
        &mut self,
        now_ns: u64,
        board: &Board,
        files: &Files,
        suricata: Option<&ManagedMetrics>,
    ) -> Option<(Sample, BudgetGauge)> {
        let taken = files.taken()?;
        let suricata = suricata.map(ManagedMetrics::usage);
        let now = Before {
            at_ns: now_ns,
            cpu_ns: taken.cpu_ns,
            suricata_ns: suricata.map_or(0, |usage| usage.cpu_ns),
            packets: board.packets.load(Ordering::Relaxed),
            waits: board.waits.load(Ordering::Relaxed),
            run: RunTime { ns: board.run_ns.load(Ordering::Relaxed), runs: board.runs.load(Ordering::Relaxed) },
        };
        let before = self.before.replace(now)?;
        let runs = now.run.runs.saturating_sub(before.run.runs);
        if runs >= RUNS_MEASURED_MIN {
            self.packet_ns = Some(now.run.ns.saturating_sub(before.run.ns) as f64 / runs as f64);
        }
        self.count_runs();
        let packet_ns = self.packet_ns.unwrap_or(PACKET_NS_ASSUMED);
        let softirq_ns = (now.packets.saturating_sub(before.packets) as f64 * packet_ns) as u64;
        let (agent_ns, suricata_ns) =
            (now.cpu_ns.saturating_sub(before.cpu_ns), now.suricata_ns.saturating_sub(before.suricata_ns));
        let pressure = files.pressure();
        let heat = files.heat();
        // The kernel maps are mapped and so among the resident; the ring's data is mapped twice (see `RingBuf`).
        let own_bytes = taken.resident_bytes.saturating_sub(board.ring_bytes.load(Ordering::Relaxed));
        let sample = Sample {
            at_ns: now_ns,
            over_ns: now_ns.saturating_sub(before.at_ns),
            cpu_ns: agent_ns.saturating_add(suricata_ns),
            softirq_ns,
            memory_bytes: own_bytes.saturating_add(suricata.map_or(0, |usage| usage.resident_bytes)),
            cpu_pressure: pressure.cpu,
            memory_pressure: pressure.memory,
            hot: heat.hot,
            behind: now.waits > before.waits,
        };
        let cpus = |ns: u64| ns as f64 / sample.over_ns.max(1) as f64;
        let gauge = BudgetGauge {
            agent_cpus: cpus(agent_ns),
            kernel_cpus: cpus(softirq_ns),
            suricata_cpus: cpus(suricata_ns),
            memory_bytes: sample.memory_bytes,
            packet_ns,
            packet_measured: self.packet_ns.is_some(),
            celsius: heat.celsius,
        };
        Some((sample, gauge))
    }

    /// Has the kernel count for one sample now and then, and until there was enough to count.
    fn count_runs(&mut self) {
        let wanted = self.packet_ns.is_none() || self.samples.is_multiple_of(MEASURED_OF);
        match (wanted, &self.counting) {
            (true, None) => self.counting = Counting::start(),
            (false, Some(_)) => self.counting = None,
            (true, Some(_)) | (false, None) => {}
        }
        self.samples += 1;
    }
}
