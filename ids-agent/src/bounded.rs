//! A hash map with a fixed capacity that lets its idlest entry go, and counts it.
//!
//! Newcomers are on probation until they are touched again: a flood of keys that come once
//! displaces itself, not the entries that live. Holds no domain knowledge.

use std::{
    hash::{BuildHasher, Hash},
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

use foldhash::quality::FixedState;
use hashbrown::HashTable;

const NONE: u32 = u32::MAX;

/// Where an entry stands in a map, for as long as it stays. Another key's entry may stand there later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(u32);

impl Place {
    pub const NOWHERE: Self = Self(NONE);
}

/// Which list an entry is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Probation,
    Proven,
}

#[derive(Debug)]
struct Entry<K, V> {
    key: K,
    value: V,
    standing: Standing,
    newer: u32,
    older: u32,
}

/// A list of entries from the one touched last to the one touched longest ago.
#[derive(Debug)]
struct Recency {
    newest: u32,
    oldest: u32,
    len: usize,
}

impl Recency {
    const EMPTY: Self = Self { newest: NONE, oldest: NONE, len: 0 };
}

/// How many times the bounds of several maps are halved: set in one place, heeded by each map when it next takes an entry in.
#[derive(Clone, Debug, Default)]
pub struct Squeeze {
    halvings: Arc<AtomicU8>,
}

impl Squeeze {
    pub fn set(&self, halvings: u8) {
        self.halvings.store(halvings, Ordering::Relaxed);
    }

    fn halvings(&self) -> u8 {
        self.halvings.load(Ordering::Relaxed)
    }
}

/// A map of at most `entries_max` entries. Its behaviour does not depend on the hash seed.
#[derive(Debug)]
pub struct BoundedMap<K, V> {
    table: HashTable<u32>,
    hasher: FixedState,
    entries: Vec<Option<Entry<K, V>>>,
    free: Vec<u32>,
    probation: Recency,
    proven: Recency,
    entries_max: usize,
    /// The bound before it was halved, and how often it was.
    whole_max: usize,
    halvings: u8,
    squeeze: Option<Squeeze>,
    evicted: u64,
}

/// Fewer free places than this are not worth moving entries for.
const FREE_KEPT: usize = 64;

impl<K: Hash + Eq + Clone, V> BoundedMap<K, V> {
    /// `seed` keys the hash: where peers choose the keys, it has to be a secret.
    pub fn new(entries_max: usize, seed: u64) -> Self {
        Self {
            table: HashTable::new(),
            hasher: FixedState::with_seed(seed),
            entries: Vec::new(),
            free: Vec::new(),
            probation: Recency::EMPTY,
            proven: Recency::EMPTY,
            entries_max: entries_max.clamp(1, NONE as usize - 1),
            whole_max: entries_max.clamp(1, NONE as usize - 1),
            halvings: 0,
            squeeze: None,
            evicted: 0,
        }
    }

    /// The same map under a squeeze that it shares with others.
    pub fn squeezed(self, squeeze: &Squeeze) -> Self {
        Self { squeeze: Some(squeeze.clone()), ..self }
    }

    /// Halves the bound so many times. The idlest entries go, counted, and their memory with them; places of those that
    /// stay are no longer what they were.
    pub fn halve(&mut self, halvings: u8) {
        if self.halvings == halvings {
            return;
        }
        self.halvings = halvings;
        self.entries_max = (self.whole_max >> halvings.min(31)).max(1);
        while self.len() > self.entries_max {
            self.evicted += 1;
            self.take(self.idlest());
        }
        while self.proven.len > self.entries_max - self.entries_max / 4 {
            let idlest = self.proven.oldest;
            self.unlink(idlest);
            self.link(idlest, Standing::Probation);
        }
        self.compact();
    }

    /// Gives back the memory of free places: in place, as a copy would take as much again.
    fn compact(&mut self) {
        if self.free.len() < FREE_KEPT.max(self.len()) {
            return;
        }
        let mut places = vec![NONE; self.entries.len()];
        let mut next = 0;
        for (at, place) in places.iter_mut().enumerate() {
            if self.entries.get(at).is_some_and(Option::is_some) {
                *place = next as u32;
                self.entries.swap(next, at);
                next += 1;
            }
        }
        self.entries.truncate(next);
        self.entries.shrink_to_fit();
        self.free = Vec::new();
        let moved = |at: u32| places.get(at as usize).copied().unwrap_or(NONE);
        for entry in self.entries.iter_mut().flatten() {
            (entry.newer, entry.older) = (moved(entry.newer), moved(entry.older));
        }
        for recency in [&mut self.probation, &mut self.proven] {
            (recency.newest, recency.oldest) = (moved(recency.newest), moved(recency.oldest));
        }
        self.table = HashTable::with_capacity(next);
        for at in 0..next as u32 {
            let Some(hash) = self.entry(at).map(|entry| self.hasher.hash_one(&entry.key)) else { continue };
            self.index(at, hash);
        }
    }

    pub fn len(&self) -> usize {
        self.probation.len + self.proven.len
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Entries that had to go because the map was full.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Looks without touching.
    pub fn peek(&self, key: &K) -> Option<&V> {
        self.at(self.place(key)?)
    }

    /// Changes without touching.
    pub fn peek_mut(&mut self, key: &K) -> Option<&mut V> {
        self.at_mut(self.place(key)?)
    }

    pub fn place(&self, key: &K) -> Option<Place> {
        let hash = self.hasher.hash_one(key);
        self.table.find(hash, |&at| self.entry(at).is_some_and(|entry| entry.key == *key)).map(|&at| Place(at))
    }

    /// The place of `key`, which is looked for at `hint` first: far cheaper than elsewhere.
    pub fn place_near(&self, hint: Place, key: &K) -> Option<Place> {
        let Place(at) = hint;
        if self.entry(at).is_some_and(|entry| entry.key == *key) { Some(hint) } else { self.place(key) }
    }

    pub fn at(&self, Place(at): Place) -> Option<&V> {
        self.entry(at).map(|entry| &entry.value)
    }

    pub fn at_mut(&mut self, Place(at): Place) -> Option<&mut V> {
        self.entries.get_mut(at as usize)?.as_mut().map(|entry| &mut entry.value)
    }

    /// The entry of `key`, touched, or made by `make` at the cost of the idlest one.
    pub fn touch_or_insert(&mut self, key: &K, make: impl FnOnce() -> V) -> &mut V {
        let (_, value) = self.touch_or_insert_near(Place::NOWHERE, key, make);
        value
    }

    /// The same, with its place, which is looked for at `hint` first.
    pub fn touch_or_insert_near(&mut self, hint: Place, key: &K, make: impl FnOnce() -> V) -> (Place, &mut V) {
        let Place(at) = match self.place_near(hint, key) {
            Some(place) => {
                self.touch(place);
                place
            }
            None => {
                if let Some(halvings) = self.squeeze.as_ref().map(Squeeze::halvings) {
                    self.halve(halvings);
                }
                self.make_room();
                self.insert_new(key.clone(), make())
            }
        };
        match self.entries.get_mut(at as usize) {
            Some(Some(entry)) => (Place(at), &mut entry.value),
            // `place_near` and `insert_new` return places of entries alone.
            _ => unreachable!("a place in the index without an entry"),
        }
    }

    /// Lets the idlest entry go if the map is full, counted. The proven are safe while anyone is on probation.
    pub fn make_room(&mut self) -> Option<(K, V)> {
        if self.len() < self.entries_max {
            return None;
        }
        self.evicted += 1;
        self.take(self.idlest())
    }

    pub fn remove(&mut self, key: &K) -> Option<V> {
        self.remove_at(self.place(key)?)
    }

    pub fn remove_at(&mut self, Place(at): Place) -> Option<V> {
        self.take(at).map(|(_, value)| value)
    }

    /// Removes the entry touched longest ago, if `leave` says so of it.
    pub fn pop_idlest_if(&mut self, leave: impl FnOnce(&K, &V) -> bool) -> Option<(K, V)> {
        let at = self.idlest();
        let entry = self.entry(at)?;
        if !leave(&entry.key, &entry.value) {
            return None;
        }
        self.take(at)
    }

    /// All entries from the idlest to the liveliest, each with whether it is proven.
    pub fn by_age(&self) -> impl Iterator<Item = (&K, &V, bool)> {
        let list = |from: u32, proven: bool| {
            let next = move |entry: &&Entry<K, V>| self.entry(entry.newer);
            std::iter::successors(self.entry(from), next).map(move |entry| (&entry.key, &entry.value, proven))
        };
        list(self.probation.oldest, false).chain(list(self.proven.oldest, true))
    }

    /// Puts in what `by_age` gave, in its order: the map then lets go as the other would have.
    pub fn refill(&mut self, entries: impl IntoIterator<Item = (K, V, bool)>) {
        let mut proven = Vec::new();
        for (key, value, is_proven) in entries {
            if is_proven {
                proven.push(key.clone());
            }
            self.touch_or_insert(&key, || value);
        }
        for place in proven.iter().filter_map(|key| self.place(key)).collect::<Vec<_>>() {
            self.touch(place);
        }
    }

    fn idlest(&self) -> u32 {
        if self.probation.oldest != NONE { self.probation.oldest } else { self.proven.oldest }
    }

    fn entry(&self, at: u32) -> Option<&Entry<K, V>> {
        self.entries.get(at as usize)?.as_ref()
    }

    fn insert_new(&mut self, key: K, value: V) -> Place {
        let at = self.put(Entry { key, value, standing: Standing::Probation, newer: NONE, older: NONE });
        self.link(at, Standing::Probation);
        Place(at)
    }

    /// Finds a place for an entry, which is in no list yet.
    fn put(&mut self, entry: Entry<K, V>) -> u32 {
        let hash = self.hasher.hash_one(&entry.key);
        let at = match self.free.pop() {
            Some(at) => {
                if let Some(place) = self.entries.get_mut(at as usize) {
                    *place = Some(entry);
                }
                at
            }
            None => {
                self.entries.push(Some(entry));
                (self.entries.len() - 1) as u32
            }
        };
        self.index(at, hash);
        at
    }

    /// Makes the entry at a place found by its key, whose hash is given.
    fn index(&mut self, at: u32, hash: u64) {
        let (entries, hasher) = (&self.entries, &self.hasher);
        self.table.insert_unique(hash, at, |&at| match entries.get(at as usize) {
            Some(Some(entry)) => hasher.hash_one(&entry.key),
            _ => 0,
        });
    }

    fn take(&mut self, at: u32) -> Option<(K, V)> {
        let hash = self.hasher.hash_one(&self.entry(at)?.key);
        if let Ok(found) = self.table.find_entry(hash, |&found| found == at) {
            found.remove();
        }
        self.unlink(at);
        let entry = self.entries.get_mut(at as usize)?.take()?;
        self.free.push(at);
        Some((entry.key, entry.value))
    }

    fn touch(&mut self, Place(at): Place) {
        if self.proven.newest == at {
            return;
        }
        self.unlink(at);
        self.link(at, Standing::Proven);
        // A quarter stays open for newcomers, or none could ever prove itself.
        if self.proven.len > self.entries_max - self.entries_max / 4 {
            let idlest = self.proven.oldest;
            self.unlink(idlest);
            self.link(idlest, Standing::Probation);
        }
    }

    fn recency(&mut self, standing: Standing) -> &mut Recency {
        match standing {
            Standing::Probation => &mut self.probation,
            Standing::Proven => &mut self.proven,
        }
    }

    fn link(&mut self, at: u32, standing: Standing) {
        let recency = self.recency(standing);
        let next = recency.newest;
        recency.newest = at;
        recency.len += 1;
        if next == NONE {
            recency.oldest = at;
        } else if let Some(Some(entry)) = self.entries.get_mut(next as usize) {
            entry.newer = at;
        }
        if let Some(Some(entry)) = self.entries.get_mut(at as usize) {
            entry.standing = standing;
            entry.newer = NONE;
            entry.older = next;
        }
    }

    fn unlink(&mut self, at: u32) {
        let Some((newer, older, standing)) = self.entry(at).map(|entry| (entry.newer, entry.older, entry.standing))
        else {
            return;
        };
        if let Some(Some(entry)) = self.entries.get_mut(newer as usize) {
            entry.older = older;
        }
        if let Some(Some(entry)) = self.entries.get_mut(older as usize) {
            entry.newer = newer;
        }
        let recency = self.recency(standing);
        recency.len -= 1;
        if newer == NONE {
            recency.newest = older;
        }
        if older == NONE {
            recency.oldest = newer;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_that_come_once_displace_each_other_only() {
        let mut map = BoundedMap::new(8, 1);
        for _ in 0..2 {
            for key in 0..4u64 {
                map.touch_or_insert(&key, || key);
            }
        }
        for flood in 100..10_000u64 {
            map.touch_or_insert(&flood, || flood);
        }
        assert_eq!((0..4u64).filter(|key| map.peek(key).is_some()).count(), 4);
        assert_eq!(map.len(), 8);
        assert_eq!(map.evicted(), 9_900 - 4);
    }

    #[test]
    fn newcomers_can_prove_themselves_in_a_full_map() {
        let mut map = BoundedMap::new(4, 1);
        for key in [0u32, 1, 2, 3, 0, 1, 2, 3, 9, 9] {
            map.touch_or_insert(&key, || key);
        }
        assert!(map.peek(&9).is_some());
        assert_eq!(map.len(), 4);
    }

    #[test]
    fn the_idlest_leaves_when_told_to() {
        let mut map = BoundedMap::new(4, 1);
        map.touch_or_insert(&1u32, || "a");
        map.touch_or_insert(&2u32, || "b");
        assert_eq!(map.pop_idlest_if(|_, value| *value == "z"), None);
        assert_eq!(map.pop_idlest_if(|_, _| true), Some((1, "a")));
        assert_eq!(map.len(), 1);
    }

    #[test]
    fn a_halved_map_lets_the_idlest_go_and_takes_them_in_again_when_it_is_whole() {
        let mut map = BoundedMap::new(1_024, 1);
        for key in (0..1_024u64).chain(0..16) {
            map.touch_or_insert(&key, || key);
        }
        map.halve(4);
        assert_eq!((map.len(), map.evicted()), (64, 960));
        assert!((0..16u64).all(|key| map.peek(&key) == Some(&key)), "the proven stay");
        assert!(map.entries.capacity() < 200, "memory is given back: {}", map.entries.capacity());
        for key in 5_000..5_100u64 {
            map.touch_or_insert(&key, || key);
        }
        assert_eq!(map.len(), 64);
        map.halve(0);
        for key in 6_000..7_000u64 {
            map.touch_or_insert(&key, || key);
        }
        assert_eq!(map.len(), 1_024);
        assert!((0..16u64).all(|key| map.peek(&key) == Some(&key)));
    }

    #[test]
    fn maps_under_one_squeeze_shrink_when_they_take_something_in() {
        let squeeze = Squeeze::default();
        let mut map = BoundedMap::new(256, 1).squeezed(&squeeze);
        (0..256u32).for_each(|key| *map.touch_or_insert(&key, || 0) += 1);
        squeeze.set(2);
        assert_eq!(map.len(), 256);
        map.touch_or_insert(&999, || 0);
        assert_eq!(map.len(), 64);
    }

    proptest! {
        #[test]
        fn a_map_that_was_halved_and_made_whole_goes_on_like_one_that_holds_the_same(
            before in prop::collection::vec(0u16..400, 0..600),
            halvings in 0u8..5,
            after in prop::collection::vec(0u16..400, 0..200),
        ) {
            let mut one = BoundedMap::new(256, 0);
            for key in &before {
                one.touch_or_insert(key, || u32::from(*key));
            }
            one.halve(halvings);
            prop_assert!(one.len() <= 256 >> halvings);
            let mut other = BoundedMap::new(256, 9);
            other.halve(halvings);
            other.refill(one.by_age().map(|(key, value, proven)| (*key, *value, proven)));
            for key in &after {
                one.touch_or_insert(key, || 0);
                other.touch_or_insert(key, || 0);
                prop_assert!(one.by_age().eq(other.by_age()));
            }
        }

        #[test]
        fn a_refilled_map_goes_on_like_the_one_it_came_from(
            before in prop::collection::vec(0u16..40, 0..200),
            after in prop::collection::vec(0u16..40, 0..200),
        ) {
            let mut one = BoundedMap::new(16, 0);
            for key in &before {
                one.touch_or_insert(key, || u32::from(*key));
            }
            let mut other = BoundedMap::new(16, 9);
            other.refill(one.by_age().map(|(key, value, proven)| (*key, *value, proven)));
            prop_assert_eq!(other.evicted(), 0);
            for key in &after {
                one.touch_or_insert(key, || 0);
                other.touch_or_insert(key, || 0);
                prop_assert!(one.by_age().eq(other.by_age()));
            }
        }

        #[test]
        fn a_map_that_is_not_full_behaves_like_any_map(steps in prop::collection::vec((0u8..4, 0u16..40, any::<u32>()), 0..300)) {
            let mut ours = BoundedMap::new(64, 7);
            let mut model = BTreeMap::new();
            for (step, key, value) in steps {
                match step {
                    0 => prop_assert_eq!(ours.remove(&key), model.remove(&key)),
                    1 => prop_assert_eq!(ours.peek(&key), model.get(&key)),
                    _ => prop_assert_eq!(*ours.touch_or_insert(&key, || value), *model.entry(key).or_insert(value)),
                }
                prop_assert_eq!(ours.len(), model.len());
            }
            prop_assert_eq!(ours.evicted(), 0);
        }

        #[test]
        fn the_seed_does_not_show(keys in prop::collection::vec(0u16..60, 0..400), seed: u64) {
            let mut one = BoundedMap::new(16, 0);
            let mut other = BoundedMap::new(16, seed);
            for key in &keys {
                one.touch_or_insert(key, || ());
                other.touch_or_insert(key, || ());
            }
            for key in 0..60 {
                prop_assert_eq!(one.peek(&key).is_some(), other.peek(&key).is_some());
            }
        }
    }
}
