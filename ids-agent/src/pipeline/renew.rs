//! Other rules on their way to an engine that runs: put down by who reads the configuration, taken up between two ticks.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{SyncSender, sync_channel},
    },
    time::Duration,
};

use super::{Consumer, Timed};
use crate::{
    detect::{Engine, Renewal, Renewed, saved::Restored},
    http::Metrics,
};

/// An engine that works takes up what was put down within a tick.
const TAKEN_WITHIN: Duration = Duration::from_secs(60);

/// What was put down, and whom to tell that it was taken up.
type Waiting = Option<(Renewal, SyncSender<Restored>)>;

/// Where it lies until the engine takes it.
#[derive(Clone, Default)]
pub struct RenewalBox {
    waiting: Arc<Mutex<Waiting>>,
}

impl fmt::Debug for RenewalBox {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("RenewalBox").finish_non_exhaustive()
    }
}

impl RenewalBox {
    /// Puts it down and waits until the engine goes on under it; nothing where it does not in time.
    pub fn put(&self, renewal: Renewal) -> Option<Restored> {
        let (taken, hears) = sync_channel(1);
        *self.lock() = Some((renewal, taken));
        let restored = hears.recv_timeout(TAKEN_WITHIN).ok();
        if restored.is_none() {
            // It must not come into force after it was said that it has not.
            self.lock().take();
        }
        restored
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the engine go on under what lies here, if anything does.
    pub(super) fn take_up(&self, engine: &mut Engine, consumer: &mut dyn Consumer, metrics: Option<&Arc<Metrics>>) {
        let Some((mut renewal, taken)) = self.lock().take() else { return };
        if let Some(metrics) = metrics {
            renewal.detectors = renewal.detectors.into_iter().map(|renewed| timed(renewed, metrics)).collect();
        }
        let restored = engine.renew(renewal);
        let models = engine.models();
        if let Some(metrics) = metrics {
            metrics.set_models(models.iter());
        }
        consumer.models(&models);
        // Whoever put it down may have lost patience.
        let _ = taken.try_send(restored);
    }
}

fn timed(renewed: Renewed, metrics: &Arc<Metrics>) -> Renewed {
    match renewed {
        Renewed::Kept(at) => Renewed::Kept(at),
        Renewed::New(inner) => Renewed::New(Box::new(Timed { inner, metrics: Arc::clone(metrics) })),
    }
}
