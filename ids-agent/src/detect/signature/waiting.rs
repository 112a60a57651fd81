//! What Suricata said of flows that the agent does not know yet, or no longer. Bounded in number and time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::known::IdHead;

/// One thing that waits for its flow, under up to two names.
#[derive(Debug)]
struct Entry<T> {
    heads: [Option<IdHead>; 2],
    thing: T,
}

#[derive(Debug)]
pub(super) struct Waiting<T> {
    entries: BTreeMap<u64, Entry<T>>,
    by_head: BTreeSet<(IdHead, u64)>,
    /// Until when, in the order of arrival; what left before is passed over.
    until: VecDeque<(u64, u64)>,
    next: u64,
    entries_max: usize,
}

impl<T> Waiting<T> {
    pub(super) fn new(entries_max: usize) -> Self {
        Self { entries: BTreeMap::new(), by_head: BTreeSet::new(), until: VecDeque::new(), next: 0, entries_max }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Puts something in; gives back the oldest where there is no room for both.
    pub(super) fn put(&mut self, heads: [Option<IdHead>; 2], thing: T, until_ns: u64) -> Option<T> {
        let displaced = if self.entries.len() >= self.entries_max { self.pop_oldest() } else { None };
        for head in heads.into_iter().flatten() {
            self.by_head.insert((head, self.next));
        }
        self.entries.insert(self.next, Entry { heads, thing });
        if self.until.len() > self.entries_max.saturating_mul(2) {
            self.until.retain(|(_, at)| self.entries.contains_key(at));
        }
        self.until.push_back((until_ns, self.next));
        self.next += 1;
        displaced
    }

    /// Takes out what waits under a name and is wanted, in the order of arrival.
    pub(super) fn take(&mut self, head: IdHead, mut wanted: impl FnMut(&T) -> bool) -> Vec<T> {
        let found: Vec<u64> = self.by_head.range((head, 0)..=(head, u64::MAX)).map(|(_, at)| *at).collect();
        let is_wanted = |at: &u64| self.entries.get(at).is_some_and(|entry| wanted(&entry.thing));
        let leaving: Vec<u64> = found.into_iter().filter(is_wanted).collect();
        leaving.into_iter().filter_map(|at| self.remove(at)).collect()
    }

    /// Takes out one thing whose time is over.
    pub(super) fn pop_due(&mut self, now_ns: u64) -> Option<T> {
        while let Some((until_ns, at)) = self.until.front().copied() {
            if until_ns > now_ns && self.entries.contains_key(&at) {
                return None;
            }
            self.until.pop_front();
            if let Some(thing) = self.remove(at) {
                return Some(thing);
            }
        }
        None
    }

    fn pop_oldest(&mut self) -> Option<T> {
        let at = *self.entries.first_key_value()?.0;
        self.remove(at)
    }

    fn remove(&mut self, at: u64) -> Option<T> {
        let entry = self.entries.remove(&at)?;
        for head in entry.heads.into_iter().flatten() {
            self.by_head.remove(&(head, at));
        }
        if self.entries.is_empty() {
            self.until.clear();
        }
        Some(entry.thing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_found_under_either_name_once() {
        let mut waiting = Waiting::new(8);
        waiting.put([Some(1), Some(2)], "a", 10);
        waiting.put([Some(1), None], "b", 10);
        assert_eq!(waiting.take(2, |_| true), ["a"]);
        assert_eq!(waiting.take(1, |thing| *thing == "z"), [""; 0]);
        assert_eq!(waiting.take(1, |_| true), ["b"]);
        assert!(waiting.is_empty() && waiting.by_head.is_empty() && waiting.until.is_empty());
    }

    #[test]
    fn time_runs_out_in_the_order_of_arrival() {
        let mut waiting = Waiting::new(8);
        for (thing, until) in [("a", 10), ("b", 20), ("c", 30)] {
            waiting.put([Some(1), None], thing, until);
        }
        assert_eq!(waiting.pop_due(9), None);
        waiting.take(1, |thing| *thing == "a");
        assert_eq!((waiting.pop_due(25), waiting.pop_due(25)), (Some("b"), None));
        assert_eq!(waiting.pop_due(u64::MAX), Some("c"));
    }

    #[test]
    fn the_oldest_makes_room() {
        let mut waiting = Waiting::new(2);
        assert_eq!(waiting.put([Some(1), None], 1, 10), None);
        assert_eq!(waiting.put([Some(2), None], 2, 10), None);
        assert_eq!(waiting.put([Some(3), None], 3, 10), Some(1));
        assert_eq!(waiting.len(), 2);
    }

    #[test]
    fn a_stream_that_always_finds_its_flow_leaves_nothing_behind() {
        let mut waiting = Waiting::new(64);
        waiting.put([Some(0), None], 0, u64::MAX);
        for turn in 1..10_000 {
            waiting.put([Some(turn), None], turn, u64::MAX);
            assert_eq!(waiting.take(turn, |_| true), [turn]);
            assert!(waiting.until.len() <= 2 * 64 + 2);
        }
        assert_eq!((waiting.len(), waiting.by_head.len()), (1, 1));
    }
}
