//! When to look at which flow again: buckets of deadlines as wide as a tick. Does not know flows.

use std::collections::BTreeMap;

/// Deadlines of flows. A flow may stand in several buckets; its owner knows which one counts.
pub(super) struct Expiry {
    width_ns: u64,
    buckets: BTreeMap<u64, Vec<u32>>,
    /// Entries of all buckets.
    entries: usize,
    spare: Vec<Vec<u32>>,
}

/// Emptied buckets kept for reuse, and how many entries they may have room for.
const SPARE_MAX: usize = 16;
const SPARE_ENTRIES_MAX: usize = 1_024;
/// Entries that count for nothing are taken out when there are more than so many a flow, and so many in all.
const ENTRIES_PER_FLOW: usize = 3;
const ENTRIES_MIN: usize = 1_024;

impl Expiry {
    pub(super) fn new(width_ns: u64) -> Self {
        Self { width_ns: width_ns.max(1), buckets: BTreeMap::new(), entries: 0, spare: Vec::new() }
    }

    /// The bucket that holds `deadline_ns`. Never zero.
    pub(super) fn bucket(&self, deadline_ns: u64) -> u64 {
        (deadline_ns / self.width_ns).saturating_add(1)
    }

    pub(super) fn push(&mut self, bucket: u64, flow: u32) {
        self.entries += 1;
        self.buckets.entry(bucket).or_insert_with(|| self.spare.pop().unwrap_or_default()).push(flow);
    }

    /// Takes the next bucket that may hold a deadline before `now_ns`.
    pub(super) fn pop(&mut self, now_ns: u64) -> Option<(u64, Vec<u32>)> {
        let first = self.buckets.first_entry()?;
        if (first.key() - 1).saturating_mul(self.width_ns) >= now_ns {
            return None;
        }
        let (bucket, flows) = first.remove_entry();
        self.entries = self.entries.saturating_sub(flows.len());
        Some((bucket, flows))
    }

    /// Takes out the entries that do not count where there are too many: flows of a flood leave long before their deadlines.
    pub(super) fn bound(&mut self, flows: usize, counts: impl Fn(u64, u32) -> bool) {
        if self.entries <= flows.saturating_mul(ENTRIES_PER_FLOW).max(ENTRIES_MIN) {
            return;
        }
        self.buckets.retain(|&bucket, entries| {
            entries.sort_unstable();
            entries.dedup();
            entries.retain(|&flow| counts(bucket, flow));
            entries.shrink_to_fit();
            !entries.is_empty()
        });
        self.entries = self.buckets.values().map(Vec::len).sum();
    }

    /// Takes back an emptied bucket's memory.
    pub(super) fn recycle(&mut self, mut bucket: Vec<u32>) {
        if self.spare.len() < SPARE_MAX && bucket.capacity() <= SPARE_ENTRIES_MAX {
            bucket.clear();
            self.spare.push(bucket);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_come_in_order_once_they_may_hold_a_passed_deadline() {
        let mut expiry = Expiry::new(500);
        for (flow, deadline) in [(1, 999), (2, 1_000), (3, 499)] {
            expiry.push(expiry.bucket(deadline), flow);
        }
        assert_eq!(expiry.pop(0), None);
        assert_eq!(expiry.pop(1_000), Some((1, vec![3])));
        assert_eq!(expiry.pop(1_000), Some((2, vec![1])));
        assert_eq!(expiry.pop(1_000), None);
        assert_eq!(expiry.pop(1_001), Some((3, vec![2])));
    }

    #[test]
    fn entries_that_do_not_count_are_bounded() {
        let mut expiry = Expiry::new(1);
        for round in 0..10_000 {
            expiry.push(round, (round % 4) as u32);
            // Each flow's latest bucket counts.
            expiry.bound(4, |bucket, _| bucket + 4 > round);
        }
        let left: Vec<_> = std::iter::from_fn(|| expiry.pop(u64::MAX)).collect();
        assert!(left.len() <= ENTRIES_MIN, "{}", left.len());
        let counting: Vec<_> = left.iter().rev().take(4).flat_map(|(_, flows)| flows.clone()).collect();
        assert_eq!(counting, [3, 2, 1, 0]);
    }

    #[test]
    fn the_last_bucket_does_not_overflow() {
        let mut expiry = Expiry::new(1);
        expiry.push(expiry.bucket(u64::MAX), 7);
        assert!(expiry.pop(u64::MAX - 1).is_none());
    }
}
