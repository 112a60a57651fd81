//! What systemd is told: readiness, signs of life, what is going on. Outside of it nothing happens.

use std::{sync::Arc, time::Duration};

use sd_notify::NotifyState;

use crate::{
    clock::Stopwatch,
    http::{Health, Metrics},
};

/// How often readiness and the watchdog are looked after.
pub(super) const CARE_EVERY: Duration = Duration::from_millis(100);
/// Rounds of care between two status lines.
const STATUS_ROUNDS: u32 = 100;

/// The service as systemd sees it.
pub(super) struct Service {
    health: Option<Arc<Health>>,
    metrics: Option<Arc<Metrics>>,
    ready: bool,
    reloading: bool,
    watchdog: Option<Watchdog>,
    round: u32,
    /// What was wrong when it was last looked.
    fault: Option<String>,
}

struct Watchdog {
    every: Duration,
    fed: Stopwatch,
}

impl Service {
    pub(super) fn new(health: Option<Arc<Health>>, metrics: Option<Arc<Metrics>>) -> Self {
        // A third of the limit: one that comes late is then still in time.
        let watchdog =
            sd_notify::watchdog_enabled().map(|limit| Watchdog { every: limit / 3, fed: Stopwatch::start() });
        Self { health, metrics, ready: false, reloading: false, watchdog, round: 0, fault: None }
    }

    /// To be called every `CARE_EVERY`.
    pub(super) fn care(&mut self, reloaded: &dyn Fn() -> bool) {
        self.end_reload(reloaded);
        let Some(health) = &self.health else { return };
        if !self.ready && health.not_ready().is_none() {
            self.ready = true;
            tell(&[NotifyState::Ready]);
            tracing::info!("ready");
        }
        let fault = health.fault();
        // The watchdog is fed only while every stage gets on with its work.
        if let Some(watchdog) = self.watchdog.as_mut().filter(|watchdog| watchdog.fed.elapsed() >= watchdog.every)
            && fault.is_none()
        {
            watchdog.fed = Stopwatch::start();
            tell(&[NotifyState::Watchdog]);
        }
        self.say(fault);
    }

    /// A fault at once, and otherwise now and then what is going on.
    fn say(&mut self, fault: Option<String>) {
        let began = fault.is_some() && self.fault.is_none();
        if began && let Some(fault) = &fault {
            let fed =
                if self.watchdog.is_some() { "the watchdog is not fed until it does" } else { "there is no watchdog" };
            tracing::error!("{fault}; {fed}");
            tell(&[NotifyState::Status(&format!("stuck: {fault}"))]);
        } else if fault.is_none() && self.fault.is_some() {
            tracing::info!("every stage gets on again");
        }
        if fault.is_none()
            && self.ready
            && self.round.is_multiple_of(STATUS_ROUNDS)
            && let Some(metrics) = &self.metrics
        {
            tell(&[NotifyState::Status(&metrics.status_line())]);
        }
        self.round = self.round.wrapping_add(1);
        self.fault = fault;
    }

    /// Around a reload: systemd 253 and newer want the time at which it began.
    pub(super) fn reloading(&mut self) {
        self.reloading = true;
        match NotifyState::monotonic_usec_now() {
            Ok(now) => tell(&[NotifyState::Reloading, now]),
            Err(_) => tell(&[NotifyState::Reloading]),
        }
    }

    /// The reload is over, well or not; a service that was not ready before is not so now.
    fn end_reload(&mut self, reloaded: &dyn Fn() -> bool) {
        if self.reloading && reloaded() {
            self.reloading = false;
            if self.ready {
                tell(&[NotifyState::Ready]);
            }
        }
    }

    pub(super) fn stopping(&self) {
        tell(&[NotifyState::Stopping, NotifyState::Status("stopping: every stage finishes what it has")]);
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd cannot be told");
    }
}
