//! Figures of blocking. They exist where it is on.

use prometheus::{IntCounterVec, IntGauge};

use super::{Register, family, set};
use crate::enforce::{Action, Event, Refusal};

/// What blocking shows of itself.
#[derive(Clone, Debug)]
pub struct EnforceMetrics {
    blocks: IntGauge,
    events: IntCounterVec,
    refused: IntCounterVec,
    hosts: IntGauge,
}

impl EnforceMetrics {
    pub(super) fn new(register: &Register<'_>) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            blocks: register.gauge_of(&family::BLOCKS)?,
            events: register.counters_of(&family::BLOCK_EVENTS)?,
            refused: register.counters_of(&family::BLOCK_REFUSED)?,
            hosts: register.gauge_of(&family::BLOCK_HOSTS)?,
        };
        for action in Action::ALL {
            metrics.events.with_label_values(&[action.label()]);
        }
        for reason in Refusal::LABELS {
            metrics.refused.with_label_values(&[reason]);
        }
        Ok(metrics)
    }

    /// Counts what became of a block.
    pub fn count(&self, event: &Event) {
        self.events.with_label_values(&[event.action.label()]).inc();
        if let Some(refusal) = event.refusal {
            self.refused.with_label_values(&[refusal.label()]).inc();
        }
    }

    /// Shows how many blocks are in force, and how many hosts they may be a share of.
    pub fn show(&self, blocks: usize, hosts: usize) {
        set(&self.blocks, blocks as u64);
        set(&self.hosts, hosts as u64);
    }
}
