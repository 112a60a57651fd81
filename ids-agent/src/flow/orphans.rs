//! Slots whose flow had to leave a full table, with what the flow held of them, until they cannot grow any more. What comes of
//! such a slot then goes on where the flow ended, and nothing is counted twice. Bounded, with the idlest forgotten first.

use std::collections::VecDeque;

use hashbrown::HashTable;
use ids_common::{
    flow::{FlowKey, FlowSlot},
    hash::{HashSecret, hash},
};

/// A slot in its state at the eviction.
pub(super) struct Orphan {
    cpu: u32,
    pub(super) slot: Box<FlowSlot>,
    /// Names its entry in the queue.
    number: u64,
}

/// Orphans by key, CPU and beginning, and in the order in which they are forgotten.
pub(super) struct Orphans {
    secret: HashSecret,
    by_key: HashTable<Orphan>,
    queue: VecDeque<Waiting>,
    next_number: u64,
}

struct Waiting {
    until_ns: u64,
    key: FlowKey,
    cpu: u32,
    first_seen_ns: u64,
    number: u64,
}

/// Entries of orphans that are gone are taken out of the queue when there are more of them than half of those that count,
/// and so many: most orphans of a flood go within milliseconds, long before their entry is due.
const GONE_MIN: usize = 1_024;

impl Orphans {
    pub(super) fn new(secret: HashSecret) -> Self {
        Self { secret, by_key: HashTable::new(), queue: VecDeque::new(), next_number: 0 }
    }

    /// Takes out what is known of a slot.
    pub(super) fn take(&mut self, key: &FlowKey, cpu: u32, first_seen_ns: u64) -> Option<Orphan> {
        if self.by_key.is_empty() {
            return None;
        }
        let is_it = is_it(key, cpu, first_seen_ns);
        let entry = self.by_key.find_entry(hash(key, &self.secret), is_it).ok()?;
        Some(entry.remove().0)
    }

    /// Puts back what was taken out.
    pub(super) fn put_back(&mut self, orphan: Orphan) {
        let secret = self.secret;
        let hashed = hash(&orphan.slot.key, &secret);
        self.by_key.insert_unique(hashed, orphan, |orphan| hash(&orphan.slot.key, &secret));
    }

    /// Keeps a slot until a time, in place of what was known of it; says how many others had to be forgotten for it.
    pub(super) fn put(&mut self, cpu: u32, slot: FlowSlot, until_ns: u64, orphans_max: usize) -> u64 {
        let (key, first_seen_ns, number) = (slot.key, slot.first_seen_ns, self.next_number);
        self.next_number += 1;
        self.take(&key, cpu, first_seen_ns);
        let mut forgotten = 0;
        while self.by_key.len() >= orphans_max.max(1)
            && let Some(waiting) = self.queue.pop_front()
        {
            forgotten += u64::from(self.forget(&waiting));
        }
        self.put_back(Orphan { cpu, slot: Box::new(slot), number });
        if self.queue.len() > self.by_key.len() + self.by_key.len() / 2 + GONE_MIN {
            let (by_key, secret) = (&self.by_key, &self.secret);
            self.queue.retain(|waiting| {
                let is_it = is_it(&waiting.key, waiting.cpu, waiting.first_seen_ns);
                by_key.find(hash(&waiting.key, secret), is_it).is_some_and(|orphan| orphan.number == waiting.number)
            });
        }
        self.queue.push_back(Waiting { until_ns, key, cpu, first_seen_ns, number });
        forgotten
    }

    /// Forgets those whose time has passed.
    pub(super) fn expire(&mut self, now_ns: u64) {
        while let Some(waiting) = self.queue.pop_front_if(|waiting| waiting.until_ns < now_ns) {
            self.forget(&waiting);
        }
    }

    pub(super) fn clear(&mut self) {
        self.by_key.clear();
        self.queue.clear();
    }

    pub(super) fn shrink(&mut self) {
        let secret = self.secret;
        self.by_key.shrink_to_fit(|orphan| hash(&orphan.slot.key, &secret));
        self.queue.shrink_to_fit();
    }

    /// Whether the entry's orphan was still there; one that was put anew has a later entry.
    fn forget(&mut self, waiting: &Waiting) -> bool {
        let is_it = is_it(&waiting.key, waiting.cpu, waiting.first_seen_ns);
        let found = self
            .by_key
            .find_entry(hash(&waiting.key, &self.secret), |orphan| is_it(orphan) && orphan.number == waiting.number);
        found.map(|entry| entry.remove()).is_ok()
    }
}

fn is_it(key: &FlowKey, cpu: u32, first_seen_ns: u64) -> impl Fn(&Orphan) -> bool {
    move |orphan| orphan.cpu == cpu && orphan.slot.first_seen_ns == first_seen_ns && orphan.slot.key.same(key)
}

#[cfg(test)]
mod tests {
    use ids_common::{flow::Continuity, parse::PacketMeta};

    use super::*;

    fn slot(port: u16) -> FlowSlot {
        let mut meta = PacketMeta::default();
        meta.key.src_port = port;
        FlowSlot::begin(&meta, 7, Continuity::Continues)
    }

    fn has(orphans: &mut Orphans, port: u16) -> bool {
        orphans.take(&slot(port).key, 0, 7).map(|orphan| orphans.put_back(orphan)).is_some()
    }

    #[test]
    fn the_oldest_are_forgotten_when_there_are_too_many_or_their_time_has_passed() {
        let mut orphans = Orphans::new(HashSecret::FIXED);
        let forgotten: u64 = (0..5).map(|port| orphans.put(0, slot(port), u64::from(port), 3)).sum();
        assert_eq!(forgotten, 2);
        assert_eq!([0, 1, 2, 3, 4].map(|port| has(&mut orphans, port)), [false, false, true, true, true]);
        orphans.expire(4);
        assert_eq!([2, 3, 4].map(|port| has(&mut orphans, port)), [false, false, true]);
    }

    #[test]
    fn one_that_is_put_again_lives_by_its_later_entry() {
        let mut orphans = Orphans::new(HashSecret::FIXED);
        orphans.put(0, slot(1), 10, 3);
        orphans.put(0, slot(1), 20, 3);
        orphans.expire(15);
        assert!(has(&mut orphans, 1));
        orphans.expire(21);
        assert!(!has(&mut orphans, 1));
    }

    #[test]
    fn the_queue_is_bounded_by_what_is_there() {
        let mut orphans = Orphans::new(HashSecret::FIXED);
        orphans.put(0, slot(0), u64::MAX, 100);
        for port in 1..=20_000 {
            orphans.put(0, slot(port), u64::MAX, 100);
            orphans.take(&slot(port).key, 0, 7);
        }
        assert!(orphans.queue.len() <= GONE_MIN + 4, "{}", orphans.queue.len());
        assert!(has(&mut orphans, 0));
    }
}
