//! From an entry of a feed to an indicator with a tag: settles category, family and confidence.

use std::collections::HashMap;

use super::{Fault, LOOK_AT_MOST, makes_sense, origin::Origin};
use crate::{
    config::{Category, FeedSettings, IntelSettings},
    detect::intel::{Indicator, SegmentBuilder, Unfit},
};

/// What one entry says of itself. Where it says nothing, file and feed speak.
#[derive(Clone, Copy, Debug)]
pub(super) struct Says<'a> {
    pub(super) category: Option<Category>,
    pub(super) family: &'a str,
    /// How sure the feed itself is, 0 to 1.
    pub(super) sure: f32,
}

impl Says<'_> {
    pub(super) const NOTHING: Says<'static> = Says { category: None, family: "", sure: 1.0 };
}

/// Takes the entries of one file.
pub(super) struct Sink<'a> {
    builder: &'a mut SegmentBuilder,
    settings: &'a IntelSettings,
    feed: &'a FeedSettings,
    origin: Origin,
    now_unix_secs: u64,
    /// Tags asked for last: most files have one.
    tags: HashMap<(Category, u32, String), u16>,
    default_tag: Option<u16>,
}

/// Tags remembered beside the builder's own.
const TAGS_KEPT: usize = 1_024;

impl<'a> Sink<'a> {
    pub(super) fn new(
        builder: &'a mut SegmentBuilder,
        settings: &'a IntelSettings,
        feed: &'a FeedSettings,
        origin: Origin,
        now_unix_secs: u64,
    ) -> Self {
        Self { builder, settings, feed, origin, now_unix_secs, tags: HashMap::new(), default_tag: None }
    }

    pub(super) const fn now_unix_secs(&self) -> u64 {
        self.now_unix_secs
    }

    /// The category of what does not say more of itself: what the operator says goes before what a name
    /// gives away, and a folder that sorts its files before both. A list of nobody knows what is information.
    pub(super) fn category(&self) -> Category {
        let sorted = !self.origin.family.is_empty();
        let (first, second) = if sorted {
            (self.origin.category, self.feed.category)
        } else {
            (self.feed.category, self.origin.category)
        };
        first.or(second).unwrap_or(Category::Reputation)
    }

    /// Whether the operator, or the name of the file, vouches for what stands in it.
    pub(super) const fn is_vouched_for(&self) -> bool {
        self.feed.category.is_some() || self.origin.category.is_some()
    }

    pub(super) fn add(&mut self, text: &str, says: Says<'_>) -> Result<(), Fault> {
        self.take(Indicator::parse(text), says)
    }

    pub(super) fn take(&mut self, read: Result<Indicator, Unfit>, says: Says<'_>) -> Result<(), Fault> {
        let tag = match &read {
            Ok(_) => self.tag(says),
            Err(_) => 0,
        };
        self.builder.take(read, tag);
        self.check()
    }

    pub(super) fn add_harmless(&mut self, indicator: &Indicator) -> Result<(), Fault> {
        self.builder.add_harmless(indicator);
        self.check()
    }

    pub(super) fn add_garbage(&mut self) -> Result<(), Fault> {
        self.builder.add_garbage();
        self.check()
    }

    /// Something that a feed of this kind holds and that cannot be looked for.
    pub(super) fn add_unused(&mut self) -> Result<(), Fault> {
        self.take(Err(Unfit::Unused), Says::NOTHING)
    }

    fn check(&self) -> Result<(), Fault> {
        let census = self.builder.census();
        if census.entries.is_multiple_of(LOOK_AT_MOST) && makes_sense(census).is_err() {
            return Err(Fault::Nonsense(*census));
        }
        Ok(())
    }

    fn tag(&mut self, says: Says<'_>) -> u16 {
        let plain = says.category.is_none() && says.family.is_empty() && says.sure >= 1.0;
        if let Some(tag) = self.default_tag.filter(|_| plain) {
            return tag;
        }
        // What the operator says of a feed holds for all of it.
        let category = match (says.category, self.feed.category) {
            (Some(said), None) => said,
            (_, _) => self.category(),
        };
        let family = if says.family.is_empty() { &self.origin.family } else { says.family };
        let confidence = self.settings.confidence_of(self.feed, category) * says.sure.clamp(0.0, 1.0);
        let key = (category, confidence.to_bits(), family.to_owned());
        if let Some(tag) = self.tags.get(&key) {
            return *tag;
        }
        let tag = self.builder.tag(category, confidence, family);
        if self.tags.len() >= TAGS_KEPT {
            self.tags.clear();
        }
        self.tags.insert(key, tag);
        if plain {
            self.default_tag = Some(tag);
        }
        tag
    }
}
