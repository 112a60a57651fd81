//! Whether the agent works: alive while every stage gets on with what it has, ready once it sees traffic.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::{clock, supervisor::Roster};

/// Progress of the line.
#[derive(Debug)]
pub struct Health {
    roster: Roster,
    stepped: AtomicBool,
}

impl Health {
    /// Of the stages on this roster.
    pub fn starting(roster: &Roster) -> Self {
        Self { roster: roster.clone(), stepped: AtomicBool::new(false) }
    }

    /// The engine has judged a tick.
    pub fn stepped(&self) {
        self.stepped.store(true, Ordering::Relaxed);
    }

    /// Whether every stage got on lately; if not, who did not. A stage that waits for input is well.
    pub fn fault(&self) -> Option<String> {
        let stuck = self.roster.stuck(clock::boottime_ns());
        (!stuck.is_empty()).then(|| stuck.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
    }

    /// Whether the agent sees traffic and judges it; if not, why.
    pub fn not_ready(&self) -> Option<String> {
        if !self.stepped.load(Ordering::Relaxed) {
            return Some("the first tick has not been judged yet".to_owned());
        }
        self.fault()
    }
}
