//! Reads threat intelligence feeds and keeps them fresh. Knows files; what their indicators mean is in `detect::intel`.
//!
//! A feed is taken whole or not at all: one that cannot be read, is no feed, or has shrunk to a stump is refused,
//! and what was loaded before stays. Feeds are replaced one by one, so that never more than one exists twice.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    clock,
    config::{FeedKind, FeedSettings, IntelSettings},
    detect::intel::{Allowed, Census, Fingerprints, Segment, SegmentBuilder, Shelf, Store},
};

mod columns;
mod files;
mod json;
mod lines;
mod origin;
mod sink;
mod stix;
#[cfg(test)]
mod tests;

use files::Files;
use sink::Sink;

/// Of what a feed holds, so much must make sense.
const SENSIBLE_SHARE_MIN: f64 = 0.5;
/// After so many entries a feed that makes no sense is given up.
const LOOK_AT_MOST: u64 = 10_000;
/// A feed that shrinks to less than this share of what is loaded is a fetch gone wrong.
const SHRUNK_SHARE: f64 = 0.1;
/// Below this many indicators a feed may shrink as it likes.
const SHRUNK_MIN: usize = 20;

/// Stands for the signature of a feed that is not there.
const GONE: u64 = 0;

/// Why a feed is not taken.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("cannot read {}: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{} is a web page, not a feed; look at what was fetched", path.display())]
    WebPage { path: PathBuf },
    #[error("{} is binary; feeds are text, plain or compressed with gzip or zstd", path.display())]
    Binary { path: PathBuf },
    #[error("{} is no sound {}: {reason}", path.display(), kind.name())]
    Malformed { path: PathBuf, kind: FeedKind, reason: String },
    #[error("only {sensible} of {entries} entries make sense; is `kind` right?")]
    Nonsense { sensible: u64, entries: u64 },
    #[error("it holds no indicator")]
    Empty,
    #[error("it shrank from {was} indicators to {now}; remove the feed and add it again if that is meant")]
    Shrunk { was: usize, now: usize },
    #[error("it holds more than {max} {what}")]
    TooLarge { max: u64, what: &'static str },
}

/// Tells what became of feeds that were looked at.
pub fn log(outcomes: &[(String, Outcome)]) {
    for (feed, outcome) in outcomes {
        match outcome {
            Outcome::Unchanged => {}
            Outcome::Loaded { indicators } => tracing::info!(feed, indicators, "feed loaded"),
            Outcome::Refused(refusal) => tracing::warn!(feed, "feed refused: {refusal}; what was loaded before stays"),
        }
    }
}

/// Why feeds cannot be set up at all.
#[derive(Debug, thiserror::Error)]
#[error("intel.allow: {0}")]
pub struct AllowError(String);

/// How a feed stands, for metrics and for the operator.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FeedStatus {
    pub name: String,
    /// Distinct indicators in force.
    pub indicators: u64,
    pub bytes: u64,
    pub modified_unix_secs: u64,
    pub census: Census,
    /// Times it was taken, and refused.
    pub loaded: u64,
    pub refused: u64,
}

/// What becomes of a feed that is looked at.
#[derive(Debug)]
pub enum Outcome {
    Unchanged,
    Loaded { indicators: usize },
    Refused(Refusal),
}

/// Which feeds are read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refresh {
    /// Those whose files have changed.
    Changed,
    All,
}

/// All feeds of the settings.
pub struct Feeds {
    settings: IntelSettings,
    fingerprints: Fingerprints,
    allowed: Arc<Allowed>,
    feeds: Vec<Feed>,
    shelf: Arc<Shelf>,
}

struct Feed {
    settings: FeedSettings,
    /// Of the files when they were last looked at.
    signature: Option<u64>,
    segment: Option<Arc<Segment>>,
    loaded: u64,
    refused: u64,
}

impl fmt::Debug for Feeds {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.feeds.iter().map(|feed| feed.settings.name.as_str()).collect();
        out.debug_struct("Feeds").field("feeds", &names).finish_non_exhaustive()
    }
}

impl Feeds {
    /// Sets up the feeds; `refresh` reads them. `hash_seed` keys the fingerprints of indicators.
    pub fn new(settings: &IntelSettings, hash_seed: u64) -> Result<Self, AllowError> {
        let fingerprints = Fingerprints::new(hash_seed);
        let allowed = Arc::new(Allowed::new(&settings.allow, &fingerprints).map_err(AllowError)?);
        let shelf = Arc::new(Shelf::new(Store::new(fingerprints.clone(), Arc::clone(&allowed), Vec::new())));
        let feeds = settings
            .feeds
            .iter()
            .map(|feed| Feed { settings: feed.clone(), signature: None, segment: None, loaded: 0, refused: 0 })
            .collect();
        Ok(Self { settings: settings.clone(), fingerprints, allowed, feeds, shelf })
    }

    /// Where the witness finds the store in force.
    pub fn shelf(&self) -> Arc<Shelf> {
        Arc::clone(&self.shelf)
    }

    /// Reads feeds, one after the other, and puts each in force as soon as it is read.
    pub fn refresh(&mut self, which: Refresh) -> Vec<(String, Outcome)> {
        (0..self.feeds.len()).filter_map(|at| self.refresh_one(at, which)).collect()
    }

    fn refresh_one(&mut self, at: usize, which: Refresh) -> Option<(String, Outcome)> {
        let feed = self.feeds.get_mut(at)?;
        let name = feed.settings.name.clone();
        let outcome = match look(feed, &self.settings, &self.fingerprints, which) {
            Ok(None) => Outcome::Unchanged,
            Ok(Some(segment)) => {
                let indicators = segment.len();
                feed.segment = Some(Arc::new(segment));
                feed.loaded += 1;
                self.put();
                Outcome::Loaded { indicators }
            }
            Err(refusal) => {
                feed.refused += 1;
                Outcome::Refused(refusal)
            }
        };
        Some((name, outcome))
    }

    fn put(&self) {
        let segments = self.feeds.iter().filter_map(|feed| feed.segment.clone()).collect();
        self.shelf.put(Store::new(self.fingerprints.clone(), Arc::clone(&self.allowed), segments));
    }

    pub fn statuses(&self) -> Vec<FeedStatus> {
        let status = |feed: &Feed| FeedStatus {
            name: feed.settings.name.clone(),
            indicators: feed.segment.as_ref().map_or(0, |segment| segment.len() as u64),
            bytes: feed.segment.as_ref().map_or(0, |segment| segment.bytes() as u64),
            modified_unix_secs: feed.segment.as_ref().map_or(0, |segment| segment.modified_unix_secs()),
            census: feed.segment.as_ref().map_or(Census::default(), |segment| *segment.census()),
            loaded: feed.loaded,
            refused: feed.refused,
        };
        self.feeds.iter().map(status).collect()
    }
}

/// Reads the feed anew where that is due. A feed that was refused is not read again before it changes.
fn look(
    feed: &mut Feed,
    settings: &IntelSettings,
    fingerprints: &Fingerprints,
    which: Refresh,
) -> Result<Option<Segment>, Refusal> {
    let files = match Files::find(&feed.settings.path) {
        Ok(files) => files,
        // Told once; it is told again when it was there in between.
        Err(_) if which == Refresh::Changed && feed.signature == Some(GONE) => return Ok(None),
        Err(refusal) => {
            feed.signature = Some(GONE);
            return Err(refusal);
        }
    };
    let signature = files.signature();
    if which == Refresh::Changed && feed.signature == Some(signature) {
        return Ok(None);
    }
    feed.signature = Some(signature);
    let fresh = read(&feed.settings, settings, fingerprints, &files)?;
    if let Some(old) = &feed.segment {
        let (was, now) = (old.len(), fresh.len());
        if was >= SHRUNK_MIN && (now as f64) < was as f64 * SHRUNK_SHARE {
            return Err(Refusal::Shrunk { was, now });
        }
    }
    Ok(Some(fresh))
}

/// Reads one feed by itself.
pub fn read_feed(
    feed: &FeedSettings,
    settings: &IntelSettings,
    fingerprints: &Fingerprints,
) -> Result<Segment, Refusal> {
    read(feed, settings, fingerprints, &Files::find(&feed.path)?)
}

fn read(
    feed: &FeedSettings,
    settings: &IntelSettings,
    fingerprints: &Fingerprints,
    files: &Files,
) -> Result<Segment, Refusal> {
    let mut builder = SegmentBuilder::new(fingerprints.clone(), settings.indicators_max);
    let now_unix_secs = clock::wall_ns() / 1_000_000_000;
    let mut bytes_left = files::FEED_BYTES_MAX;
    for path in files.paths() {
        let unreadable = |source| Refusal::Unreadable { path: path.clone(), source };
        let mut input = files::open(path, &mut bytes_left).map_err(unreadable)?;
        let kind = kind_of(feed.kind, &input.head, path)?;
        let mut sink = Sink::new(&mut builder, settings, feed, origin::of(feed, path), now_unix_secs);
        match kind {
            FeedKind::List | FeedKind::Ipsum | FeedKind::Hosts => lines::read(&mut input.reader, kind, &mut sink),
            FeedKind::Csv => columns::read(&mut input.reader, &mut sink),
            FeedKind::Fingerprints => json::read(&mut input.reader, &mut sink),
            FeedKind::Auto | FeedKind::Stix => stix::read(&mut input.reader, &mut sink),
        }
        .map_err(|fault| fault.at(path, kind))?;
        drop(input);
        if bytes_left == 0 {
            return Err(Refusal::TooLarge { max: files::FEED_BYTES_MAX, what: "bytes" });
        }
    }
    let census = *builder.census();
    makes_sense(&census)?;
    let segment = builder.build(feed.name.as_str().into(), files.modified_unix_secs());
    if segment.is_empty() { Err(Refusal::Empty) } else { Ok(segment) }
}

fn makes_sense(census: &Census) -> Result<(), Refusal> {
    let (sensible, entries) = (census.sensible(), census.entries);
    if (sensible as f64) < entries as f64 * SENSIBLE_SHARE_MIN {
        return Err(Refusal::Nonsense { sensible, entries });
    }
    Ok(())
}

/// Why one file ends a feed.
#[derive(Debug)]
enum Fault {
    Io(io::Error),
    Malformed(String),
    /// So much garbage came first that the rest is not read.
    Nonsense(Census),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Fault {
    fn at(self, path: &Path, kind: FeedKind) -> Refusal {
        match self {
            Self::Io(source) => Refusal::Unreadable { path: path.to_owned(), source },
            Self::Malformed(reason) => Refusal::Malformed { path: path.to_owned(), kind, reason },
            Self::Nonsense(census) => Refusal::Nonsense { sensible: census.sensible(), entries: census.entries },
        }
    }
}

/// The kind of a file: as configured, else as its first bytes look.
fn kind_of(configured: FeedKind, head: &[u8], path: &Path) -> Result<FeedKind, Refusal> {
    let text = String::from_utf8_lossy(head);
    let text = text.trim_start_matches('\u{feff}').trim_start();
    let begins = |what: &str| text.get(..what.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(what));
    if begins("<!doctype") || begins("<html") || begins("<?xml") || begins("<head") || begins("<body") {
        return Err(Refusal::WebPage { path: path.to_owned() });
    }
    if head.contains(&0) {
        return Err(Refusal::Binary { path: path.to_owned() });
    }
    Ok(match configured {
        FeedKind::Auto => guess(text),
        named => named,
    })
}

fn guess(text: &str) -> FeedKind {
    let is_comment = |line: &&str| line.starts_with(['#', ';', '!']) || line.starts_with("//") || line.is_empty();
    let data: Vec<&str> = text.lines().map(str::trim).filter(|line| !is_comment(line)).take(200).collect();
    if data.first().is_some_and(|line| line.starts_with(['{', '['])) && !text.starts_with("[Adblock") {
        let bundle = text.contains("\"bundle\"") || text.contains("\"spec_version\"");
        return if bundle { FeedKind::Stix } else { FeedKind::Fingerprints };
    }
    let most = |fits: &dyn Fn(&str) -> bool| {
        let fitting = data.iter().filter(|line| fits(line)).count();
        fitting > 0 && fitting * 10 >= data.len() * 8
    };
    if most(&lines::is_ipsum) {
        FeedKind::Ipsum
    } else if most(&lines::is_hosts) {
        FeedKind::Hosts
    } else if most(&|line| line.contains([',', '\t']) && !line.contains("##")) {
        FeedKind::Csv
    } else {
        FeedKind::List
    }
}
