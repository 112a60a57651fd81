//! Reads the flow table through its mapping: copies the slots that changed, never a torn one. Says
//! nothing about when to read, or what a slot means.

use std::{
    hint,
    mem::offset_of,
    sync::atomic::{AtomicU64, Ordering, fence},
};

use ids_common::{abi::FlowSet, flow::FlowSlot, limits::WAYS};
use zerocopy::transmute;

use super::mapping::Mapping;
use crate::source::{SlotState, SlotUpdate};

const WORD: usize = size_of::<u64>();
const SET_WORDS: usize = size_of::<FlowSet>() / WORD;
const SLOT_WORDS: usize = size_of::<FlowSlot>() / WORD;
const SEQUENCES_AT: usize = offset_of!(FlowSet, sequences) / WORD;
const SLOTS_AT: usize = offset_of!(FlowSet, slots) / WORD;

const _: () = {
    assert!(size_of::<FlowSet>().is_multiple_of(WORD) && size_of::<FlowSlot>().is_multiple_of(WORD));
    assert!(offset_of!(FlowSet, sequences) % WORD == 0 && offset_of!(FlowSet, slots) % WORD == 0);
};

/// Attempts at a slot that is being written before it is left for the next sweep. A program holds a
/// slot for some 50 ns; only a stolen virtual CPU holds one for longer.
const ATTEMPTS_MAX: u32 = 64;

/// The table, and which state of each slot was read last.
#[derive(Debug)]
pub(super) struct MappedTable {
    mapping: Mapping,
    sets_per_cpu: usize,
    /// Sequence of each slot when it was copied last.
    read: Vec<u64>,
}

/// What a pass over the table met, and how far it came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pass {
    pub(super) copied: u64,
    /// Slots left unread because a program kept writing them.
    pub(super) busy: u64,
    next_set: usize,
}

impl MappedTable {
    pub(super) fn new(mapping: Mapping, sets_per_cpu: u32) -> Self {
        let slots = mapping.words().len() / SET_WORDS * WAYS;
        Self { mapping, sets_per_cpu: sets_per_cpu as usize, read: vec![0; slots] }
    }

    /// Appends slots that changed since they were read last: the next of the pass, until `room` of them are filled or a few
    /// more. Says whether that was the last of the table.
    pub(super) fn read_changed(
        &mut self,
        pass: &mut Pass,
        room: usize,
        state: SlotState,
        into: &mut Vec<SlotUpdate>,
    ) -> bool {
        let full = into.len().saturating_add(room);
        let sets = self.mapping.words().chunks_exact(SET_WORDS);
        for (index, (set, read)) in sets.zip(self.read.chunks_exact_mut(WAYS)).enumerate().skip(pass.next_set) {
            if into.len() >= full {
                return false;
            }
            pass.next_set = index + 1;
            let sequences = set.get(SEQUENCES_AT..SEQUENCES_AT + WAYS).unwrap_or(&[]);
            let slots = set.get(SLOTS_AT..).unwrap_or(&[]).chunks_exact(SLOT_WORDS);
            for ((sequence, words), read) in sequences.iter().zip(slots).zip(read) {
                match copy(sequence, words, *read) {
                    Copy::Unchanged => {}
                    Copy::Busy => pass.busy += 1,
                    Copy::Changed { sequence, slot } => {
                        *read = sequence;
                        pass.copied += 1;
                        into.push(SlotUpdate { cpu: (index / self.sets_per_cpu) as u32, state, slot });
                    }
                }
            }
        }
        true
    }
}

enum Copy {
    Unchanged,
    Changed { sequence: u64, slot: FlowSlot },
    Busy,
}

/// Copies a slot if its sequence is even, is not `read`, and stays the same meanwhile.
fn copy(sequence: &AtomicU64, words: &[AtomicU64], read: u64) -> Copy {
    for _ in 0..ATTEMPTS_MAX {
        let before = sequence.load(Ordering::Acquire);
        if before == read {
            return Copy::Unchanged;
        }
        if before % 2 == 1 {
            hint::spin_loop();
            continue;
        }
        let mut copy = [0_u64; SLOT_WORDS];
        for (to, from) in copy.iter_mut().zip(words) {
            *to = from.load(Ordering::Relaxed);
        }
        // Keeps the loads above from moving behind the one below (a sequence lock's reader).
        fence(Ordering::Acquire);
        if sequence.load(Ordering::Relaxed) == before {
            return Copy::Changed { sequence: before, slot: transmute!(copy) };
        }
    }
    Copy::Busy
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words() -> Vec<AtomicU64> {
        (0..SLOT_WORDS as u64).map(AtomicU64::new).collect()
    }

    #[test]
    fn an_even_and_new_sequence_is_copied_once() {
        let sequence = AtomicU64::new(2);
        assert!(matches!(copy(&sequence, &words(), 0), Copy::Changed { sequence: 2, .. }));
        assert!(matches!(copy(&sequence, &words(), 2), Copy::Unchanged));
    }

    #[test]
    fn a_slot_that_stays_odd_is_left_for_later() {
        assert!(matches!(copy(&AtomicU64::new(3), &words(), 2), Copy::Busy));
    }
}
