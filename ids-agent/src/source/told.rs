//! A capture with what Suricata said of it: events go into the batch of their time. Reads nothing itself.

use crate::{
    budget::Effort,
    eve::{EveDetail, EveEvent},
    source::{Batch, FlowSource, Progress},
};

/// A source, and the events of the same axis that are left.
#[derive(Debug)]
pub struct ToldSource<S> {
    inner: S,
    /// The earliest last.
    events: Vec<EveEvent>,
}

impl<S> ToldSource<S> {
    /// Events in any order: several threads wrote them. They are told by time, and at the same time in an order that does
    /// not depend on who wrote first.
    pub fn new(inner: S, mut events: Vec<EveEvent>) -> Self {
        let rank = |event: &EveEvent| {
            let sid = match &event.detail {
                EveDetail::Alert(alert) => alert.sid,
                EveDetail::Stats(_) | EveDetail::None => 0,
            };
            (event.at_ns, event.tuple, event.kind, sid)
        };
        events.sort_by_key(|event| std::cmp::Reverse(rank(event)));
        Self { inner, events }
    }

    pub fn inner(&self) -> &S {
        &self.inner
    }
}

impl<S: FlowSource> FlowSource for ToldSource<S> {
    type Error = S::Error;

    fn ease(&mut self, effort: Effort) {
        self.inner.ease(effort);
    }

    fn next_batch(&mut self, batch: &mut Batch) -> Result<Progress, S::Error> {
        let progress = self.inner.next_batch(batch)?;
        let is_due = |event: &EveEvent| match progress {
            Progress::Part | Progress::Tick => event.at_ns < batch.now_ns,
            Progress::End => true,
        };
        while self.events.last().is_some_and(is_due) {
            batch.eve.extend(self.events.pop());
        }
        Ok(progress)
    }
}
