//! When to look at which flow again: buckets of deadlines as wide as a tick. Does not know flows.

use std::collections::BTreeMap;

/// Deadlines of flows. A flow may stand in several buckets; its owner knows which one counts.
pub(super) struct Expiry {
    width_ns: u64,
    buckets: BTreeMap<u64, Vec<u32>>,
    spare: Vec<Vec<u32>>,
}

/// Emptied buckets kept for reuse.
const SPARE_MAX: usize = 16;

impl Expiry {
    pub(super) fn new(width_ns: u64) -> Self {
        Self { width_ns: width_ns.max(1), buckets: BTreeMap::new(), spare: Vec::new() }
    }

    /// The bucket that holds `deadline_ns`. Never zero.
    pub(super) fn bucket(&self, deadline_ns: u64) -> u64 {
        (deadline_ns / self.width_ns).saturating_add(1)
    }

    pub(super) fn push(&mut self, bucket: u64, flow: u32) {
        self.buckets.entry(bucket).or_insert_with(|| self.spare.pop().unwrap_or_default()).push(flow);
    }

    /// Takes the next bucket that may hold a deadline before `now_ns`.
    pub(super) fn pop(&mut self, now_ns: u64) -> Option<(u64, Vec<u32>)> {
        let first = self.buckets.first_entry()?;
        if (first.key() - 1).saturating_mul(self.width_ns) >= now_ns {
            return None;
        }
        Some(first.remove_entry())
    }

    /// Takes back an emptied bucket's memory.
    pub(super) fn recycle(&mut self, mut bucket: Vec<u32>) {
        if self.spare.len() < SPARE_MAX {
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
    fn the_last_bucket_does_not_overflow() {
        let mut expiry = Expiry::new(1);
        expiry.push(expiry.bucket(u64::MAX), 7);
        assert!(expiry.pop(u64::MAX - 1).is_none());
    }
}
