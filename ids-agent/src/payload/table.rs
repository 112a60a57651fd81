//! The samples of live flows, and what was read out of them; bounded in flows and bytes. Formats are read elsewhere.

use std::collections::VecDeque;

use ids_common::flow::FlowKey;
use smallvec::SmallVec;

use super::{
    PayloadFacts, SampledPacket, Spoken, join,
    side::{self, News, Reading, Search, Side},
    spoken,
};
use crate::{
    bounded::BoundedMap,
    config::PayloadSettings,
    flow::FlowRecord,
    source::{Batch, Sample},
};

/// Samples of live flows, and what was read out of them. Bounded in flows and bytes.
#[derive(Debug)]
pub struct PayloadTable {
    /// Directions by their own key. A key in use again has a side for each time.
    sides: BoundedMap<FlowKey, SmallVec<[Side; 1]>>,
    /// Sides in the order of their first sample: the oldest lets go of its bytes first.
    holding: VecDeque<(FlowKey, u64)>,
    /// Keys with new samples in this batch.
    touched: Vec<FlowKey>,
    /// Keys of which this batch brought signs.
    news: Vec<FlowKey>,
    bytes_max: usize,
    bytes_set_max: usize,
    reading: Reading,
    stats: PayloadStats,
}

/// Stretches of a key between silences that are held apart; a connection that ends lingers while the next has begun.
const SIDES_PER_KEY_MAX: usize = 8;

/// Running totals of a `PayloadTable`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PayloadStats {
    /// Flow directions held, and raw bytes held for them.
    pub directions: u64,
    pub bytes: u64,
    /// Samples taken in, and their bytes.
    pub samples: u64,
    pub sample_bytes: u64,
    /// Samples behind a gap, a cut sample or a finished parse: no facts are read out of them. Those that are still
    /// held are looked at for attack patterns.
    pub samples_unread: u64,
    /// Flows forgotten early because the table was full.
    pub flows_evicted: u64,
    /// Directions whose raw bytes were let go early because the table held too many.
    pub bytes_evicted: u64,
}

impl PayloadTable {
    pub fn new(settings: &PayloadSettings) -> Self {
        Self {
            sides: BoundedMap::new(settings.flows_max.saturating_mul(2), settings.hash_seed),
            holding: VecDeque::new(),
            touched: Vec::new(),
            news: Vec::new(),
            bytes_max: settings.bytes_max,
            bytes_set_max: settings.bytes_max,
            reading: Reading { string_bytes_max: settings.string_bytes_max, search: Search::Patterns },
            stats: PayloadStats::default(),
        }
    }

    /// Holds so many halves less than the settings say, and searches as is said.
    pub fn ease(&mut self, halvings: u8, search: Search) {
        self.reading.search = search;
        let bytes_max = self.bytes_set_max >> halvings.min(31);
        let smaller = bytes_max < self.bytes_max;
        self.bytes_max = bytes_max;
        if !smaller {
            return self.sides.halve(halvings);
        }
        self.make_room_for_bytes();
        self.sides.halve(halvings);
        // Those that had to go took bytes with them.
        self.stats.bytes =
            self.sides.by_age().flat_map(|(_, sides, _)| sides).map(|side| side.held_bytes() as u64).sum();
        let sides = &self.sides;
        self.holding.retain(|(key, _)| sides.peek(key).is_some());
        self.holding.shrink_to_fit();
    }

    /// Takes in the samples of a batch.
    pub fn absorb(&mut self, batch: &Batch) {
        for sample in &batch.samples {
            self.take(sample, batch.payload(sample));
        }
        for key in std::mem::take(&mut self.touched) {
            let sides = self.sides.peek_mut(&key).map_or(&mut [][..], |sides| sides.as_mut_slice());
            if side::refresh(sides, &key, self.reading) == News::Signs {
                self.news.push(key);
            }
        }
    }

    /// Directions of which samples since the last call brought signs.
    pub fn take_news(&mut self) -> Vec<FlowKey> {
        std::mem::take(&mut self.news)
    }

    fn take(&mut self, sample: &Sample, payload: &[u8]) {
        self.stats.samples += 1;
        self.stats.sample_bytes += payload.len() as u64;
        if self.sides.peek(&sample.key).is_none()
            && let Some((_, gone)) = self.sides.make_room()
        {
            self.stats.bytes -= gone.iter().map(|side| side.held_bytes() as u64).sum::<u64>();
        }
        let sides = self.sides.touch_or_insert(&sample.key, SmallVec::new);
        let known = sides.iter().position(|side| side.slot_first_seen_ns == sample.slot_first_seen_ns);
        let place = known.unwrap_or_else(|| {
            if sides.len() >= SIDES_PER_KEY_MAX {
                // The first one holds the facts. What the next one said goes on with the one behind it.
                if side::refresh(sides, &sample.key, self.reading) == News::Signs {
                    self.news.push(sample.key);
                }
                let gone = sides.remove(1);
                self.stats.bytes -= gone.held_bytes() as u64;
                if let Some(heir) = sides.get_mut(1) {
                    heir.inherit(gone);
                }
            }
            sides.push(Side::new(sample.slot_first_seen_ns));
            self.holding.push_back((sample.key, sample.slot_first_seen_ns));
            sides.len() - 1
        });
        let Some(side) = sides.get_mut(place) else { return };
        match side.push(sample, payload) {
            None => self.stats.samples_unread += 1,
            Some(pushed) => {
                self.stats.bytes += pushed.bytes as u64;
                self.stats.samples_unread += u64::from(!pushed.read);
                self.touched.push(sample.key);
                self.make_room_for_bytes();
            }
        }
    }

    /// Settles the oldest sides until the bytes held are within their bound.
    fn make_room_for_bytes(&mut self) {
        while self.stats.bytes > self.bytes_max as u64 {
            let Some((key, first_seen_ns)) = self.holding.pop_front() else { return };
            let sides = self.sides.peek_mut(&key).map_or(&mut [][..], |sides| sides.as_mut_slice());
            if side::refresh(sides, &key, self.reading) == News::Signs {
                self.news.push(key);
            }
            for side in sides.iter_mut().filter(|side| side.slot_first_seen_ns == first_seen_ns) {
                let freed = side.settle();
                self.stats.bytes -= freed as u64;
                self.stats.bytes_evicted += u64::from(freed > 0);
            }
        }
        // Sides of ended flows leave their places in the queue behind.
        if self.holding.len() > 2 * self.sides.len() * SIDES_PER_KEY_MAX {
            let sides = &self.sides;
            self.holding.retain(|(key, first_seen_ns)| {
                sides.peek(key).is_some_and(|sides| sides.iter().any(|s| s.slot_first_seen_ns == *first_seen_ns))
            });
        }
    }

    /// What is known of a flow by now.
    pub fn facts(&self, record: &FlowRecord) -> PayloadFacts {
        join(&self.sides_of(record, &record.key), &self.sides_of(record, &record.key.reversed()))
    }

    /// What it speaks and how a login went, as its facts have it.
    pub fn spoken(&self, record: &FlowRecord) -> Spoken {
        let (forward, backward) = (self.sides_of(record, &record.key), self.sides_of(record, &record.key.reversed()));
        if forward.is_empty() && backward.is_empty() { Spoken::default() } else { spoken(&forward, &backward) }
    }

    /// The samples of a flow, both directions; nothing where one has let go of its bytes: half of them would say otherwise.
    pub fn packets(&self, record: &FlowRecord) -> Vec<SampledPacket> {
        let keys = [record.key, record.key.reversed()];
        let of_key = |key| self.sides_of(record, key).into_iter().map(move |side| side.packets(key));
        let packets: Option<Vec<_>> = keys.iter().flat_map(of_key).collect();
        packets.unwrap_or_default().into_iter().flatten().collect()
    }

    /// The sides of the key whose slots lie within the record, in the order of time.
    fn sides_of(&self, record: &FlowRecord, key: &FlowKey) -> SmallVec<[&Side; 2]> {
        if self.sides.is_empty() {
            return SmallVec::new();
        }
        let within = record.start_ns..=record.end_ns;
        let Some(sides) = self.sides.peek(key) else { return SmallVec::new() };
        let mut found: SmallVec<[&Side; 2]> =
            sides.iter().filter(|side| within.contains(&side.slot_first_seen_ns)).collect();
        found.sort_by_key(|side| side.slot_first_seen_ns);
        found
    }

    /// Lets go of an ended flow's samples.
    pub fn forget(&mut self, record: &FlowRecord) {
        if self.sides.is_empty() {
            return;
        }
        for key in [record.key, record.key.reversed()] {
            let Some(sides) = self.sides.peek_mut(&key) else { continue };
            let mut freed = 0;
            sides.retain(|side| {
                let stays = side.slot_first_seen_ns > record.end_ns;
                freed += if stays { 0 } else { side.held_bytes() as u64 };
                stays
            });
            self.stats.bytes -= freed;
            if sides.is_empty() {
                self.sides.remove(&key);
            }
        }
    }

    pub fn stats(&self) -> PayloadStats {
        PayloadStats { directions: self.sides.len() as u64, flows_evicted: self.sides.evicted(), ..self.stats }
    }
}

#[cfg(test)]
mod tests;
