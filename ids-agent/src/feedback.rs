//! What people said of alerts: a file of exceptions that the agent reads, and labels for training anew.
//!
//! ```text
//! STATE/feedback.toml            one entry an alert, for people to read and to edit
//! STATE/feedback/labels.ndjson   the judged vectors with what they were said to be
//! ```

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::{
    clock::Timestamp,
    config::{self, AllowEntry, ConfigError, Expiry},
    detect::Class,
    evidence::{Document, Pattern},
    replace::{Lasts, replace},
};

/// The file of exceptions within the state's directory.
pub const FILE: &str = "feedback.toml";
/// The labels within the state's directory.
pub const LABELS: &str = "feedback/labels.ndjson";
/// Alerts with feedback at once.
pub const ENTRIES_MAX: usize = 1_000;
/// Longest note, in characters.
const NOTE_MAX: usize = 300;
/// A longer file is not ours.
const FILE_BYTES_MAX: u64 = 8 << 20;
const LABELS_BYTES_MAX: u64 = 64 << 20;
const NS_PER_DAY: u64 = 86_400_000_000_000;

const HEAD: &str = "\
# What was said of alerts. Written by `ids-agent feedback`, which keeps no comments; may be edited by hand.
# The agent reads it at its start and on SIGHUP. An entry silences what all of its parts match, until it ends.
";

/// Why feedback cannot be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum FeedbackError {
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write {}: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Wrong(#[from] ConfigError),
    #[error("{}: the entry of alert {id} {reason}", path.display())]
    Entry { path: PathBuf, id: String, reason: &'static str },
    #[error(
        "there is feedback on {ENTRIES_MAX} alerts already; remove some with `ids-agent feedback --remove ALERT_ID`"
    )]
    Full,
    #[error("there is no feedback on alert {id}; `ids-agent feedback --list` shows all there is")]
    Unknown { id: String },
    #[error("{} holds more than {max} bytes", path.display())]
    TooLong { path: PathBuf, max: u64 },
}

/// What somebody said of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It was harmless: the same is not told again.
    False,
    /// It was right.
    True,
}

impl Verdict {
    pub const fn name(self) -> &'static str {
        match self {
            Self::False => "false",
            Self::True => "true",
        }
    }
}

/// What was said of one alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    pub id: String,
    pub verdict: Verdict,
    /// When it was said, RFC 3339.
    pub said_at: String,
    #[serde(default)]
    pub note: String,
    /// What it silences; nothing where the alert was right.
    #[serde(default)]
    pub allow: Vec<AllowEntry>,
}

/// The whole file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Feedback {
    #[serde(default)]
    pub alert: Vec<Entry>,
}

/// What somebody has to say, with the time.
#[derive(Clone, Debug)]
pub struct Saying {
    pub verdict: Verdict,
    pub note: String,
    pub days: u64,
    pub now: Timestamp,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recorded {
    New(Entry),
    /// The same was said before; nothing was changed.
    Already(Entry),
    /// Something else was said before.
    Replaced(Entry),
}

impl Feedback {
    /// Reads the file; one that is not there holds nothing.
    pub fn load(path: &Path) -> Result<Self, FeedbackError> {
        let failed = |source| FeedbackError::Read { path: path.to_owned(), source };
        match fs::metadata(path) {
            Ok(facts) if facts.len() > FILE_BYTES_MAX => {
                return Err(FeedbackError::TooLong { path: path.to_owned(), max: FILE_BYTES_MAX });
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(failed(error)),
        }
        let feedback: Self = config::parse_table(&fs::read_to_string(path).map_err(failed)?, path)?;
        feedback.check(path)?;
        Ok(feedback)
    }

    /// Edits by hand must not silence more than somebody meant.
    fn check(&self, path: &Path) -> Result<(), FeedbackError> {
        if self.alert.len() > ENTRIES_MAX {
            return Err(FeedbackError::Full);
        }
        for entry in &self.alert {
            let wrong = |reason| FeedbackError::Entry { path: path.to_owned(), id: entry.id.clone(), reason };
            if entry.allow.iter().any(|allow| allow.source.is_none() && allow.target.is_none()) {
                return Err(wrong("names neither source nor target: it would silence everybody"));
            }
            if entry.allow.iter().any(|allow| allow.reason.trim().is_empty()) {
                return Err(wrong("gives no reason"));
            }
            if entry.verdict == Verdict::True && !entry.allow.is_empty() {
                return Err(wrong("says that the alert was right, and silences it"));
            }
        }
        Ok(())
    }

    /// Everything that is silenced.
    pub fn allow(&self) -> Vec<AllowEntry> {
        self.alert.iter().flat_map(|entry| entry.allow.iter().cloned()).collect()
    }

    /// The file's text.
    fn text(&self) -> String {
        let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
        let mut out = HEAD.to_owned();
        for entry in &self.alert {
            out.push_str(&format!(
                "\n[[alert]]\nid = {}\nverdict = {}\nsaid_at = {}\n",
                quoted(&entry.id),
                quoted(entry.verdict.name()),
                quoted(&entry.said_at)
            ));
            if !entry.note.is_empty() {
                out.push_str(&format!("note = {}\n", quoted(&entry.note)));
            }
            for allow in &entry.allow {
                out.push_str("\n  [[alert.allow]]\n");
                let prefixes = [("source", &allow.source), ("target", &allow.target)];
                for (name, prefix) in prefixes {
                    if let Some(prefix) = prefix {
                        out.push_str(&format!("  {name} = {}\n", quoted(&prefix.to_string())));
                    }
                }
                if let Some(port) = allow.target_port {
                    out.push_str(&format!("  target_port = {port}\n"));
                }
                for (name, value) in [("class", &allow.class), ("kind", &allow.kind)] {
                    if let Some(value) = value {
                        out.push_str(&format!("  {name} = {}\n", quoted(value)));
                    }
                }
                // A date and time of TOML, not a string.
                out.push_str(&format!("  until = {}\n", whole_second(allow.until.ns())));
                out.push_str(&format!("  reason = {}\n", quoted(&allow.reason)));
            }
        }
        out
    }
}

/// RFC 3339 without fractions.
fn whole_second(ns: u64) -> String {
    let text = Timestamp::from_unix_ns(ns).rfc3339().to_string();
    text.split('.').next().map_or_else(|| text.clone(), |whole| format!("{whole}Z"))
}

/// Says of an alert whether it was right, and writes that down.
pub fn record(state_dir: &Path, document: &Document, saying: &Saying) -> Result<Recorded, FeedbackError> {
    let path = state_dir.join(FILE);
    let _lock = lock(state_dir)?;
    let mut feedback = Feedback::load(&path)?;
    let entry = entry(document, saying);
    let place = feedback.alert.iter().position(|earlier| earlier.id == entry.id);
    let known = feedback.alert.len();
    let recorded = match place.and_then(|at| feedback.alert.get_mut(at)) {
        Some(earlier) if says_the_same(earlier, &entry, saying.now) => return Ok(Recorded::Already(earlier.clone())),
        Some(earlier) => {
            *earlier = entry.clone();
            Recorded::Replaced(entry)
        }
        None if known >= ENTRIES_MAX => return Err(FeedbackError::Full),
        None => {
            feedback.alert.push(entry.clone());
            Recorded::New(entry)
        }
    };
    // The label first: without the file that names it, it does no harm.
    relabel(state_dir, &document.id, label(document, saying))?;
    write_whole(&path, feedback.text().as_bytes())?;
    Ok(recorded)
}

/// Takes back what was said of an alert.
pub fn remove(state_dir: &Path, id: &str) -> Result<Entry, FeedbackError> {
    let path = state_dir.join(FILE);
    let unknown = || FeedbackError::Unknown { id: id.chars().take(64).collect() };
    // Without a directory there is nothing to lock, and nothing in it.
    if !path.exists() {
        return Err(unknown());
    }
    let _lock = lock(state_dir)?;
    let mut feedback = Feedback::load(&path)?;
    let at = feedback.alert.iter().position(|entry| entry.id == id).ok_or_else(unknown)?;
    let entry = feedback.alert.remove(at);
    write_whole(&path, feedback.text().as_bytes())?;
    relabel(state_dir, id, None)?;
    Ok(entry)
}

fn entry(document: &Document, saying: &Saying) -> Entry {
    let note: String = saying.note.trim().chars().take(NOTE_MAX).collect();
    let allow = match saying.verdict {
        Verdict::True => Vec::new(),
        Verdict::False => silenced(&document.pattern, saying, &document.id, &note),
    };
    Entry { id: document.id.clone(), verdict: saying.verdict, said_at: whole_second(saying.now.unix_ns()), note, allow }
}

/// The same again, while what was silenced still is, for no less long and for the same reason.
fn says_the_same(earlier: &Entry, entry: &Entry, now: Timestamp) -> bool {
    let pattern = |entry: &Entry| {
        let parts = entry.allow.iter().map(|one| AllowEntry { until: Expiry::at_ns(0), ..one.clone() });
        parts.collect::<Vec<_>>()
    };
    let ends = |entry: &Entry| entry.allow.iter().map(|allow| allow.until.ns()).min();
    earlier.verdict == entry.verdict
        && earlier.note == entry.note
        && pattern(earlier) == pattern(entry)
        && match (ends(earlier), ends(entry)) {
            // Saying it once more on the same day prolongs nothing.
            (Some(old), Some(new)) => old > now.unix_ns() && old.abs_diff(new) < NS_PER_DAY,
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        }
}

/// Exactly the alert's pattern: its hosts, its port where it has one, its class, and every kind that spoke for that class.
fn silenced(pattern: &Pattern, saying: &Saying, id: &str, note: &str) -> Vec<AllowEntry> {
    // The text of an address is a prefix of its whole length.
    let host = |address: Option<std::net::IpAddr>| address.and_then(|address| address.to_string().parse().ok());
    let (source, target) = (host(pattern.source), host(pattern.target));
    let until_ns = saying.now.unix_ns().saturating_add(saying.days.saturating_mul(NS_PER_DAY));
    let reason = if note.is_empty() { format!("feedback on {id}") } else { format!("feedback on {id}: {note}") };
    let kinds = pattern.said.iter().filter(|said| said.class == pattern.class);
    let allow = |said: &crate::evidence::Said| AllowEntry {
        source,
        target,
        target_port: pattern.target_port,
        class: Some(said.class.name().to_owned()),
        // A signature is named by its id alone: what it is taken for may change with its rule.
        kind: said.sid.is_none().then(|| said.kind.clone()),
        sid: said.sid,
        // Written to the second, so that it is read back as it is.
        until: Expiry::at_ns(until_ns - until_ns % 1_000_000_000),
        reason: reason.clone(),
    };
    // A pattern without hosts would silence everybody.
    if source.is_none() && target.is_none() { Vec::new() } else { kinds.map(allow).collect() }
}

/// A vector with what it was said to be: one line of the labels.
#[derive(Debug, Serialize, Deserialize)]
struct Label {
    id: String,
    verdict: Verdict,
    /// `benign` where the alert was false.
    class: Class,
    kind: String,
    said_at: String,
    note: String,
    schema_hash: String,
    agent_version: String,
    features: BTreeMap<String, f64>,
}

fn label(document: &Document, saying: &Saying) -> Option<Label> {
    let exhibit = document.exhibit.as_ref()?;
    Some(Label {
        id: document.id.clone(),
        verdict: saying.verdict,
        class: match saying.verdict {
            Verdict::False => Class::Benign,
            Verdict::True => document.pattern.class,
        },
        kind: document.pattern.kind.clone(),
        said_at: whole_second(saying.now.unix_ns()),
        note: saying.note.trim().chars().take(NOTE_MAX).collect(),
        schema_hash: exhibit.schema_hash.clone(),
        agent_version: exhibit.agent_version.clone(),
        features: exhibit.features.clone(),
    })
}

/// Replaces the alert's line; lines that are not ours stay as they are.
fn relabel(state_dir: &Path, id: &str, label: Option<Label>) -> Result<(), FeedbackError> {
    #[derive(Deserialize)]
    struct Named {
        id: String,
    }
    let path = state_dir.join(LABELS);
    let failed = |source| FeedbackError::Write { path: path.clone(), source };
    if size(&path) > LABELS_BYTES_MAX {
        return Err(FeedbackError::TooLong { path, max: LABELS_BYTES_MAX });
    }
    let earlier = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound && label.is_none() => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(source) => return Err(FeedbackError::Read { path, source }),
    };
    let of_another = |line: &&str| serde_json::from_str::<Named>(line).map_or(true, |named| named.id != id);
    let mut text: String = earlier.lines().filter(of_another).map(|line| format!("{line}\n")).collect();
    if let Some(label) = &label {
        text.push_str(&String::from_utf8_lossy(&crate::alert::json::line(label)));
    }
    if let Some(dir) = path.parent() {
        match DirBuilder::new().mode(0o750).create(dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(error)),
            Ok(()) | Err(_) => {}
        }
    }
    write_whole(&path, text.as_bytes())
}

fn size(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |facts| facts.len())
}

/// Lets one at a time change the files; the lock ends with the process, however it ends.
fn lock(state_dir: &Path) -> Result<File, FeedbackError> {
    let failed = |source| FeedbackError::Write { path: state_dir.to_owned(), source };
    let dir = File::open(state_dir).map_err(failed)?;
    flock(&dir, FlockOperation::LockExclusive).map_err(|error| failed(error.into()))?;
    Ok(dir)
}

/// The agent may read at any time.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), FeedbackError> {
    replace(path, 0o640, Lasts::Name, bytes).map_err(|source| FeedbackError::Write { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests;
