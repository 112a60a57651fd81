//! The indicators of one feed: immutable, ten bytes each, looked up within a microsecond.
//!
//! An indicator is kept as a keyed 64-bit fingerprint of its text and a 16-bit tag. The text itself is not
//! kept: whoever looks something up has it. Two of a million indicators share a fingerprint with a probability
//! of one in 37 million; that a name which no feed holds is taken for one of a million, one in 18 million million.

use std::{hash::BuildHasher, sync::Arc};

use foldhash::quality::FixedState;
use hashbrown::HashMap;

use super::{
    indicator::{Indicator, Kind, Unfit},
    ranges::Ranges,
};
use crate::config::Category;

/// Tags that a feed may have; beyond it an indicator takes its category's tag without a family.
const TAGS_MAX: usize = u16::MAX as usize;
/// Longest name of a family kept.
const LABEL_BYTES_MAX: usize = 64;
/// Indicators a bucket of the index holds on average.
const PER_BUCKET: usize = 16;

/// What is known of an indicator.
#[derive(Clone, Debug, PartialEq)]
pub struct Tag {
    pub category: Category,
    /// How far it is believed, 0 to 1, before the kind of the indicator is weighed.
    pub confidence: f32,
    /// Family of malware, tool or list; empty where the feed names none.
    pub label: Arc<str>,
}

/// What was found in a feed, line by line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Lines or entries looked at; comments and empty lines are none.
    pub entries: u64,
    /// Nothing that a feed would hold.
    pub garbage: u64,
    /// Understood, but nothing that can be looked for on the wire.
    pub unused: u64,
    pub too_broad: u64,
    pub reserved: u64,
    /// Named as harmless: the same fingerprint named as bad elsewhere in the feed is dropped.
    pub harmless: u64,
    /// Named before in the same feed.
    pub repeated: u64,
    /// Beyond the bound on indicators.
    pub beyond: u64,
}

impl Census {
    /// Entries that somebody who writes feeds may have meant.
    pub const fn sensible(&self) -> u64 {
        self.entries.saturating_sub(self.garbage)
    }
}

/// Makes fingerprints. Keyed, as peers choose the names that are looked up.
#[derive(Clone, Debug)]
pub struct Fingerprints(FixedState);

impl Fingerprints {
    pub fn new(seed: u64) -> Self {
        Self(FixedState::with_seed(seed))
    }

    pub(super) fn text(&self, kind: Kind, text: &[u8]) -> u64 {
        self.0.hash_one((kind as u8, text))
    }

    pub(super) fn address(&self, address: [u8; 16]) -> u64 {
        self.0.hash_one((Kind::Address as u8, address))
    }

    pub(super) fn address_port(&self, address: [u8; 16], port: u16) -> u64 {
        self.0.hash_one((Kind::AddressPort as u8, address, port))
    }
}

/// Fingerprint, then tag: both big-endian, so that bytes sort as numbers do.
type Entry = [u8; 10];

fn entry(key: u64, tag: u16) -> Entry {
    let mut entry = [0; 10];
    entry[..8].copy_from_slice(&key.to_be_bytes());
    entry[8..].copy_from_slice(&tag.to_be_bytes());
    entry
}

fn key_of(entry: &Entry) -> u64 {
    let [a, b, c, d, e, f, g, h, _, _] = *entry;
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

fn tag_of(entry: &Entry) -> u16 {
    let [.., a, b] = *entry;
    u16::from_be_bytes([a, b])
}

/// Takes in the indicators of one feed.
#[derive(Debug)]
pub struct SegmentBuilder {
    fingerprints: Fingerprints,
    entries: Vec<Entry>,
    prefixes: Vec<([u8; 16], u8, u16)>,
    harmless: Vec<u64>,
    tags: Vec<Tag>,
    known: HashMap<(Category, u32, Arc<str>), u16>,
    kinds: [u64; 7],
    census: Census,
    indicators_max: usize,
}

impl SegmentBuilder {
    pub fn new(fingerprints: Fingerprints, indicators_max: usize) -> Self {
        Self {
            fingerprints,
            entries: Vec::new(),
            prefixes: Vec::new(),
            harmless: Vec::new(),
            tags: Vec::new(),
            known: HashMap::new(),
            kinds: [0; 7],
            census: Census::default(),
            indicators_max,
        }
    }

    pub const fn census(&self) -> &Census {
        &self.census
    }

    /// The number of a tag, for `add`.
    pub fn tag(&mut self, category: Category, confidence: f32, label: &str) -> u16 {
        let confidence = confidence.clamp(0.0, 1.0);
        let label = plain(label);
        let key = (category, confidence.to_bits(), Arc::clone(&label));
        if let Some(tag) = self.known.get(&key) {
            return *tag;
        }
        let number = self.tags.len();
        if number >= TAGS_MAX - Category::ALL.len() && !label.is_empty() {
            return self.tag(category, category.confidence().min(confidence), "");
        }
        let Ok(tag) = u16::try_from(number) else { return u16::MAX };
        self.tags.push(Tag { category, confidence, label });
        self.known.insert(key, tag);
        tag
    }

    /// Takes in one value of the feed.
    pub fn add(&mut self, text: &str, tag: u16) {
        self.take(Indicator::parse(text), tag);
    }

    pub fn take(&mut self, read: Result<Indicator, Unfit>, tag: u16) {
        self.census.entries += 1;
        match read {
            Ok(indicator) => self.push(&indicator, tag),
            Err(Unfit::Garbage) => self.census.garbage += 1,
            Err(Unfit::Unused) => self.census.unused += 1,
            Err(Unfit::TooBroad) => self.census.too_broad += 1,
            Err(Unfit::Reserved) => self.census.reserved += 1,
        }
    }

    /// Notes that the feed knows something as harmless.
    pub fn add_harmless(&mut self, indicator: &Indicator) {
        self.census.entries += 1;
        self.census.harmless += 1;
        if self.harmless.len() < self.indicators_max
            && let Some(key) = self.key(indicator)
        {
            self.harmless.push(key);
        }
    }

    /// An entry that stands for nothing, such as a row too long to read.
    pub fn add_garbage(&mut self) {
        self.census.entries += 1;
        self.census.garbage += 1;
    }

    fn key(&self, indicator: &Indicator) -> Option<u64> {
        let kind = indicator.kind();
        Some(match indicator {
            Indicator::Domain(text) | Indicator::Url(text) | Indicator::Ja3(text) | Indicator::Ja4(text) => {
                self.fingerprints.text(kind, text.as_bytes())
            }
            Indicator::Address(address) => self.fingerprints.address(*address),
            Indicator::AddressPort(address, port) => self.fingerprints.address_port(*address, *port),
            Indicator::Prefix(..) => return None,
        })
    }

    fn push(&mut self, indicator: &Indicator, tag: u16) {
        if self.entries.len() + self.prefixes.len() >= self.indicators_max {
            self.census.beyond += 1;
            return;
        }
        self.kinds[indicator.kind().index()] += 1;
        match (self.key(indicator), indicator) {
            (Some(key), _) => self.entries.push(entry(key, tag)),
            (None, Indicator::Prefix(address, bits)) => self.prefixes.push((*address, *bits, tag)),
            (None, _) => {}
        }
    }

    /// Sorts in place: no second copy of the indicators ever exists.
    pub fn build(mut self, name: Arc<str>, modified_unix_secs: u64) -> Segment {
        let tags = self.tags.into_boxed_slice();
        // The one that is believed most stands first among those of one fingerprint, and stays.
        let rank = |tag: u16| {
            let confidence = tags.get(usize::from(tag)).map_or(0.0, |tag| tag.confidence);
            (u32::MAX - (confidence * 1e6) as u32, tag)
        };
        self.entries.sort_unstable_by_key(|entry| (key_of(entry), rank(tag_of(entry))));
        let before = self.entries.len();
        self.entries.dedup_by_key(|entry| key_of(entry));
        self.census.repeated = (before - self.entries.len()) as u64;
        self.harmless.sort_unstable();
        self.entries.retain(|entry| self.harmless.binary_search(&key_of(entry)).is_err());
        let entries = self.entries.into_boxed_slice();
        let (starts, shift) = index(&entries);
        let ranges = Ranges::new(self.prefixes);
        Segment {
            name,
            modified_unix_secs,
            entries,
            starts,
            shift,
            ranges,
            tags,
            kinds: self.kinds,
            census: self.census,
        }
    }
}

/// Where the entries of each bucket begin; a bucket is the leading bits of the fingerprint.
fn index(entries: &[Entry]) -> (Box<[u32]>, u32) {
    let buckets = (entries.len() / PER_BUCKET).next_power_of_two().max(2);
    let shift = 64 - buckets.trailing_zeros();
    let mut starts = Vec::with_capacity(buckets + 1);
    let mut at = 0;
    for bucket in 0..buckets as u64 {
        while entries.get(at).is_some_and(|entry| key_of(entry) >> shift < bucket) {
            at += 1;
        }
        starts.push(u32::try_from(at).unwrap_or(u32::MAX));
    }
    starts.push(u32::try_from(entries.len()).unwrap_or(u32::MAX));
    (starts.into_boxed_slice(), shift)
}

/// One feed, ready to be asked.
#[derive(Debug)]
pub struct Segment {
    name: Arc<str>,
    modified_unix_secs: u64,
    entries: Box<[Entry]>,
    starts: Box<[u32]>,
    shift: u32,
    ranges: Ranges,
    tags: Box<[Tag]>,
    kinds: [u64; 7],
    census: Census,
}

impl Segment {
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// When the newest file of the feed was changed, in seconds since the Unix epoch.
    pub const fn modified_unix_secs(&self) -> u64 {
        self.modified_unix_secs
    }

    /// Distinct indicators.
    pub fn len(&self) -> usize {
        self.entries.len() + self.ranges.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub const fn census(&self) -> &Census {
        &self.census
    }

    /// Indicators by kind, as read: those named twice count twice.
    pub fn kinds(&self) -> impl Iterator<Item = (Kind, u64)> + '_ {
        Kind::ALL.into_iter().zip(self.kinds)
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        let labels: usize = self.tags.iter().map(|tag| tag.label.len() + size_of::<Tag>()).sum();
        size_of_val(&*self.entries) + size_of_val(&*self.starts) + self.ranges.bytes() + labels
    }

    pub(super) fn by_key(&self, key: u64) -> Option<&Tag> {
        let bucket = (key >> self.shift) as usize;
        let (start, end) = (*self.starts.get(bucket)?, *self.starts.get(bucket + 1)?);
        let bucket = self.entries.get(start as usize..end as usize)?;
        let at = bucket.binary_search_by_key(&key, key_of).ok()?;
        self.tags.get(usize::from(tag_of(bucket.get(at)?)))
    }

    /// The narrowest prefix around an address, with its length.
    pub(super) fn by_prefix(&self, address: [u8; 16]) -> Option<(&Tag, u8)> {
        let (tag, bits) = self.ranges.find(address)?;
        Some((self.tags.get(usize::from(tag))?, bits))
    }
}

/// A label as alerts may carry it: without control characters, and short.
fn plain(label: &str) -> Arc<str> {
    let mut plain = String::new();
    for character in label.trim().chars().filter(|character| !character.is_control()) {
        if plain.len() + character.len_utf8() > LABEL_BYTES_MAX {
            break;
        }
        plain.push(character);
    }
    plain.into()
}
