//! Whether the agent works: alive while ticks pass, ready once it sees traffic.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::clock;

/// Ticks come every half second; a stage that has made none for so long is stuck.
const STALL_NS_MAX: u64 = 15_000_000_000;

/// Progress of the line, as times on the boot-time clock.
#[derive(Debug)]
pub struct Health {
    started_ns: u64,
    /// Zero before the first.
    last_step_ns: AtomicU64,
}

impl Health {
    pub fn starting() -> Self {
        Self { started_ns: clock::boottime_ns(), last_step_ns: AtomicU64::new(0) }
    }

    /// The engine has judged a tick.
    pub fn stepped(&self) {
        self.last_step_ns.store(clock::boottime_ns(), Ordering::Relaxed);
    }

    /// Whether every stage made progress lately; if not, what is wrong.
    pub fn fault(&self) -> Option<String> {
        let last_ns = self.last_step_ns.load(Ordering::Relaxed).max(self.started_ns);
        let silent_ns = clock::boottime_ns().saturating_sub(last_ns);
        (silent_ns > STALL_NS_MAX).then(|| format!("no tick was judged for {} s", silent_ns / 1_000_000_000))
    }

    /// Whether the agent sees traffic and judges it; if not, why.
    pub fn not_ready(&self) -> Option<String> {
        if self.last_step_ns.load(Ordering::Relaxed) == 0 {
            return Some("the first tick has not been judged yet".to_owned());
        }
        self.fault()
    }
}
