//! One sweep over the table and the ring, in as many batches as it takes. Which slots are read when is decided here; how, in
//! `table` and `ring`.
//!
//! Everything that packets seen before the sweep's time did is in its batches or in earlier ones, and some of what later ones
//! did. A program that read its clock before that time has ended by the grace period's end, so the copies made behind it hold
//! that packet. Only when all are made may the programs overwrite slots last seen before that time without sending them.
//!
//! The ring comes behind the table: a slot that made room for one of the copied is in it. Where the ring holds more than goes
//! into a batch, the copied slots wait until all of that is handed on, so that the slots of one key are told in their order;
//! and what left the table meanwhile is told by the ring alone.

use std::collections::BTreeSet;

use ids_common::flow::FlowKey;

use super::table::Pass;
use crate::source::{SlotState, SlotUpdate};

/// What `Reader::sweep_on` filled a batch with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Swept {
    /// More of the same sweep comes with the next batch.
    Part,
    Whole,
}

/// A sweep that goes on.
#[derive(Debug)]
pub(crate) struct Sweep {
    pub(super) now_ns: u64,
    pub(super) state: SlotState,
    /// Whether every program that began before has ended.
    pub(super) vouched: bool,
    pub(super) pass: Pass,
    /// Whether the whole table is read.
    pub(super) is_read: bool,
    /// Where the ring's writers were when slots were copied last.
    pub(super) ring_until: u64,
    held: Vec<SlotUpdate>,
    /// Those of the held that were still in the table.
    still_there: BTreeSet<Incarnation>,
}

/// One slot of the table from its beginning to its leaving.
type Incarnation = (FlowKey, u32, u64);

fn incarnation(update: &SlotUpdate) -> Incarnation {
    (update.slot.key, update.cpu, update.slot.first_seen_ns)
}

impl Sweep {
    pub(super) fn new(now_ns: u64, state: SlotState, vouched: bool) -> Self {
        Self {
            now_ns,
            state,
            vouched,
            pass: Pass::default(),
            is_read: false,
            ring_until: 0,
            held: Vec::new(),
            still_there: BTreeSet::new(),
        }
    }

    pub(super) fn holds_back(&self) -> bool {
        !self.held.is_empty()
    }

    pub(super) fn hold_back(&mut self, copied: impl Iterator<Item = SlotUpdate>) {
        self.held.extend(copied);
        self.still_there.extend(self.held.iter().map(incarnation));
    }

    /// Slots that came through the ring since: they are newer than their copies.
    pub(super) fn left_since(&mut self, evicted: &[SlotUpdate]) {
        for update in evicted {
            self.still_there.remove(&incarnation(update));
        }
    }

    /// Appends the held slots that are still in the table.
    pub(super) fn hand_over(&mut self, slots: &mut Vec<SlotUpdate>) {
        let still_there = std::mem::take(&mut self.still_there);
        slots.extend(self.held.drain(..).filter(|update| still_there.contains(&incarnation(update))));
    }
}

#[cfg(test)]
mod tests {
    use ids_common::{
        flow::{Continuity, FlowSlot},
        parse::PacketMeta,
    };

    use super::*;

    fn update(port: u16, first_seen_ns: u64, state: SlotState) -> SlotUpdate {
        let mut meta = PacketMeta::default();
        meta.key.src_port = port;
        SlotUpdate { cpu: 0, state, slot: FlowSlot::begin(&meta, first_seen_ns, Continuity::Continues) }
    }

    #[test]
    fn a_held_slot_that_left_meanwhile_is_told_by_the_ring_alone() {
        let mut sweep = Sweep::new(0, SlotState::Open, true);
        let copied = [update(1, 10, SlotState::Open), update(2, 10, SlotState::Open), update(3, 20, SlotState::Open)];
        sweep.hold_back(copied.into_iter());
        assert!(sweep.holds_back());
        // The first left, and an older slot of the third's key.
        sweep.left_since(&[update(1, 10, SlotState::Closed), update(3, 10, SlotState::Closed)]);
        let mut slots = Vec::new();
        sweep.hand_over(&mut slots);
        assert_eq!(slots.iter().map(|update| update.slot.key.src_port).collect::<Vec<_>>(), [2, 3]);
        assert!(!sweep.holds_back());
    }
}
