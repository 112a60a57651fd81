//! Blocking beside the line: the queue from the engine to the enforcer, and the enforcer's thread. What is decided stands
//! in `enforce`.

use std::{
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use ids_common::block::BlockKey;

use super::{Consumer, Outlet};
use crate::{
    clock::{self, WallOffset},
    config::{EnforceSettings, Prefix},
    detect::{Incident, ModelInfo, Verdict},
    enforce::{
        Action, By, Enforcer, Event, Guard, Listed, NeverList, Proposal, Proposed, Refusal,
        audit::{self, Effect},
        forwarding::{Forwarded, Forwarding},
        hosts::HostsSeen,
        propose::{self, propose},
        surroundings::Surroundings,
    },
    http::{EnforceMetrics, QueueGauge},
    sandbox,
    sink::{Line, Rank},
    source::Batch,
    supervisor::{Badge, Roster, StopFlag},
};

/// Proposals and orders that wait for the enforcer; beyond it proposals are refused, counted.
const ASKS_MAX: usize = 256;
/// How often what has ended is cleared away, and forwarding is looked at.
const CARE_EVERY: Duration = Duration::from_millis(200);
/// How often addresses, routes and leases are read again.
const LOOK_EVERY_NS: u64 = 60_000_000_000;
/// How often it is told that new blocks are refused.
const TOLD_FULL_EVERY_NS: u64 = 60_000_000_000;
/// How long an order waits for its answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// What becomes of blocks when the agent stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtStop {
    /// The map goes with the agent.
    End,
    /// The map is pinned: they go on until their time is over.
    Leave,
}

/// What the enforcer is made of.
pub struct EnforceParts {
    pub settings: EnforceSettings,
    /// Networks of the site beside private ones.
    pub home: Vec<Prefix>,
    pub enforcer: Box<dyn Enforcer>,
    pub effect: Effect,
    pub at_stop: AtStop,
    pub audit: Outlet,
    pub metrics: EnforceMetrics,
    pub hash_seed: u64,
}

/// What a person asks for.
#[derive(Debug)]
pub enum Order {
    List,
    Add { key: BlockKey, secs: Option<u64>, uid: u32, reason: String },
    Remove { key: BlockKey, uid: u32 },
}

/// What came of it.
#[derive(Debug)]
pub enum Done {
    Listed(Vec<Listed>),
    Added(Result<(), Refusal>),
    Removed(bool),
}

enum Ask {
    Propose(Box<Proposal>),
    Refuse(Box<Proposal>, Refusal),
    Order(Order, SyncSender<Done>),
    Renew(Box<EnforceSettings>, Vec<Prefix>),
}

struct Shared {
    settings: Mutex<EnforceSettings>,
    forwarding: Mutex<Forwarding>,
    hosts: AtomicUsize,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Speaks to the enforcer.
#[derive(Clone)]
pub struct EnforceHandle {
    asks: SyncSender<Ask>,
    shared: Arc<Shared>,
    effect: Effect,
}

impl EnforceHandle {
    pub const fn effect(&self) -> Effect {
        self.effect
    }

    /// Has an order carried out; nothing where the enforcer is too busy, or gone.
    pub fn order(&self, order: Order) -> Option<Done> {
        let (answer, answered) = sync_channel(1);
        self.asks.try_send(Ask::Order(order, answer)).ok()?;
        answered.recv_timeout(ANSWER_WITHIN).ok()
    }

    /// Other rules from now on; says whether the enforcer hears of it.
    pub fn renew(&self, settings: &EnforceSettings, home: &[Prefix]) -> bool {
        let sent = self.asks.try_send(Ask::Renew(Box::new(settings.clone()), home.to_vec())).is_ok();
        if sent {
            *locked(&self.shared.settings) = settings.clone();
        }
        sent
    }
}

/// The enforcer's thread.
pub struct Enforcement {
    handle: EnforceHandle,
    audit: Outlet,
    metrics: EnforceMetrics,
    stop: StopFlag,
    thread: JoinHandle<()>,
}

impl Enforcement {
    pub fn start(parts: EnforceParts, roster: &Roster) -> io::Result<Self> {
        let (asks, asked) = sync_channel(ASKS_MAX);
        let shared = Arc::new(Shared {
            settings: Mutex::new(parts.settings.clone()),
            forwarding: Mutex::new(Forwarding::new(parts.hash_seed)),
            hosts: AtomicUsize::new(0),
        });
        let handle = EnforceHandle { asks, shared: Arc::clone(&shared), effect: parts.effect };
        let (audit, metrics, stop) = (parts.audit.clone(), parts.metrics.clone(), StopFlag::default());
        let (asked_to_stop, roster) = (stop.clone(), roster.clone());
        let thread = thread::Builder::new().name("enforcer".to_owned()).spawn(move || {
            sandbox::surrender();
            Desk::new(parts, shared).work(&asked, &asked_to_stop, &roster.enter("enforcer"));
        })?;
        Ok(Self { handle, audit, metrics, stop, thread })
    }

    pub fn handle(&self) -> EnforceHandle {
        self.handle.clone()
    }

    /// A consumer that also asks for blocks.
    pub fn around<'a>(&self, inner: &'a mut dyn Consumer) -> Enforced<'a> {
        Enforced {
            inner,
            handle: self.handle.clone(),
            audit: self.audit.clone(),
            metrics: self.metrics.clone(),
            hosts: HostsSeen::default(),
            now_ns: 0,
            told_full_ns: None,
        }
    }

    /// Lets the enforcer do what waits, and ends it.
    pub fn finish(self) {
        self.stop.ask();
        if self.thread.join().is_err() {
            tracing::error!("the enforcer panicked");
        }
    }
}

/// A consumer between the engine and another one: what is told to that one may also lead to a block.
pub struct Enforced<'a> {
    inner: &'a mut dyn Consumer,
    handle: EnforceHandle,
    audit: Outlet,
    metrics: EnforceMetrics,
    hosts: HostsSeen,
    now_ns: u64,
    /// When it was last told that the queue is full.
    told_full_ns: Option<u64>,
}

impl Enforced<'_> {
    fn send(&mut self, ask: Ask) {
        let sent = self.handle.asks.try_send(ask);
        let Err(TrySendError::Full(ask) | TrySendError::Disconnected(ask)) = sent else { return };
        if self.told_full_ns.is_none_or(|told_ns| self.now_ns.saturating_sub(told_ns) >= TOLD_FULL_EVERY_NS) {
            self.told_full_ns = Some(self.now_ns);
            tracing::error!(asks_max = ASKS_MAX, "the enforcer does not keep up: new blocks are refused");
            self.inner.blocking_refused(self.now_ns, ASKS_MAX);
        }
        if let Ask::Propose(proposal) | Ask::Refuse(proposal, _) = ask {
            let key = BlockKey::source(proposal.source);
            let event = Event {
                at_ns: self.now_ns,
                action: Action::Refuse,
                key,
                by: By::Verdict,
                until_ns: None,
                refusal: Some(Refusal::QueueFull),
                reason: format!("{} proposals wait already", ASKS_MAX),
                cause: Some(proposal),
                offence: 0,
                packets: 0,
                bytes: 0,
            };
            tell(&event, self.handle.effect, &self.audit, &self.metrics);
        }
    }
}

impl Consumer for Enforced<'_> {
    fn tick(&mut self, batch: &Batch) {
        self.now_ns = batch.now_ns;
        locked(&self.handle.shared.forwarding).observe(batch);
        self.inner.tick(batch);
    }

    fn incident(&mut self, incident: &Incident) {
        let proposed = propose(incident, &locked(&self.handle.shared.settings));
        match proposed {
            Proposed::Nothing => {}
            Proposed::Block(proposal) => self.send(Ask::Propose(proposal)),
            Proposed::Unproven(proposal) => self.send(Ask::Refuse(proposal, Refusal::Unproven)),
        }
        self.inner.incident(incident);
    }

    fn verdict(&mut self, verdict: &Verdict) {
        let record = &verdict.record;
        if propose::conversed(record) {
            self.hosts.see(record.key.src, self.now_ns);
            self.hosts.see(record.key.dst, self.now_ns);
            self.handle.shared.hosts.store(self.hosts.count(), Ordering::Relaxed);
        }
        self.inner.verdict(verdict);
    }

    fn models(&mut self, models: &[ModelInfo]) {
        self.inner.models(models);
    }

    fn queues(&self) -> Vec<QueueGauge> {
        let audit = QueueGauge {
            sink: self.audit.sink,
            lines_max: self.audit.queue.lines_max(),
            stats: self.audit.queue.stats(),
        };
        self.inner.queues().into_iter().chain([audit]).collect()
    }

    fn forgotten(&self) -> Vec<(&'static str, u64)> {
        self.inner.forgotten().into_iter().chain([("block_hosts", self.hosts.left_out)]).collect()
    }
}

/// The enforcer at work.
struct Desk {
    guard: Guard,
    home: Vec<Prefix>,
    effect: Effect,
    at_stop: AtStop,
    audit: Outlet,
    metrics: EnforceMetrics,
    shared: Arc<Shared>,
    looked_ns: u64,
}

impl Desk {
    fn new(parts: EnforceParts, shared: Arc<Shared>) -> Self {
        let now_ns = clock::boottime_ns();
        let never = NeverList::new(&parts.settings, &parts.home, &Surroundings::look());
        let guard = Guard::new(parts.settings, never, parts.enforcer, parts.hash_seed, now_ns);
        Self {
            guard,
            home: parts.home,
            effect: parts.effect,
            at_stop: parts.at_stop,
            audit: parts.audit,
            metrics: parts.metrics,
            shared,
            looked_ns: now_ns,
        }
    }

    fn work(mut self, asked: &Receiver<Ask>, stop: &StopFlag, badge: &Badge) {
        loop {
            badge.waits();
            let ask = asked.recv_timeout(CARE_EVERY);
            badge.works();
            let now_ns = clock::boottime_ns();
            let idle = match ask {
                Ok(ask) => {
                    self.take(ask, now_ns);
                    false
                }
                Err(RecvTimeoutError::Timeout) => true,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            self.care(now_ns);
            if idle && stop.is_asked() {
                break;
            }
        }
        if self.at_stop == AtStop::End {
            self.guard.end_all("the agent stops", clock::boottime_ns());
        }
        self.tell();
    }

    fn take(&mut self, ask: Ask, now_ns: u64) {
        let hosts = self.shared.hosts.load(Ordering::Relaxed);
        match ask {
            Ask::Propose(proposal) => self.guard.consider(proposal, hosts, now_ns),
            Ask::Refuse(proposal, refusal) => self.guard.refuse(proposal, refusal, now_ns),
            Ask::Renew(settings, home) => {
                self.home = home;
                let never = NeverList::new(&settings, &self.home, &Surroundings::look());
                self.guard.renew(*settings, never, now_ns);
            }
            Ask::Order(order, answer) => {
                let done = self.carry_out(order, now_ns);
                // Whoever asked may have lost patience.
                let _ = answer.try_send(done);
            }
        }
    }

    fn carry_out(&mut self, order: Order, now_ns: u64) -> Done {
        match order {
            Order::List => Done::Listed(self.guard.list()),
            Order::Add { key, secs, uid, reason } => {
                // What changed a moment ago counts for a person's order too.
                self.look(now_ns);
                let secs = secs.unwrap_or(self.guard.settings().duration_secs);
                Done::Added(self.guard.add(key, secs, uid, reason, now_ns))
            }
            Order::Remove { key, uid } => Done::Removed(self.guard.remove(&key, uid, now_ns)),
        }
    }

    fn look(&mut self, now_ns: u64) {
        self.looked_ns = now_ns;
        let never = NeverList::new(self.guard.settings(), &self.home, &Surroundings::look());
        self.guard.renew_never(never, now_ns);
    }

    fn care(&mut self, now_ns: u64) {
        if now_ns.saturating_sub(self.looked_ns) >= LOOK_EVERY_NS {
            self.look(now_ns);
        }
        self.guard.tick(now_ns);
        for (key, placed_ns) in self.guard.watched() {
            let (secs, share) = (self.guard.settings().rollback_secs, self.guard.settings().rollback_share);
            let after = locked(&self.shared.forwarding).after(&key.src, placed_ns, secs, share);
            match after {
                Forwarded::Waiting => {}
                Forwarded::TooLittle | Forwarded::Well { .. } => self.guard.cleared(&key),
                Forwarded::Suffers { usual, now } => {
                    let reason = format!(
                        "forwarding suffered: {now:.1} directions of others moved a second where {usual:.1} are usual"
                    );
                    tracing::warn!("a block is taken back: {reason}");
                    self.guard.roll_back(&key, reason, now_ns);
                }
            }
        }
        self.tell();
        self.metrics.show(self.guard.len(), self.shared.hosts.load(Ordering::Relaxed));
    }

    fn tell(&mut self) {
        for event in self.guard.take_events() {
            tell(&event, self.effect, &self.audit, &self.metrics);
        }
    }
}

fn tell(event: &Event, effect: Effect, audit: &Outlet, metrics: &EnforceMetrics) {
    metrics.count(event);
    let rank = match event.action {
        Action::Add | Action::Rollback => Rank::High,
        Action::Remove | Action::Adopt | Action::Expire => Rank::Medium,
        Action::Refuse => Rank::Low,
    };
    audit.queue.push(Line { rank, bytes: audit::line(event, effect, WallOffset::of_boottime()) });
}

#[cfg(test)]
mod tests;
