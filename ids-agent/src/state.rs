//! Keeps the detectors' state over restarts: one file, written whole or not at all, and checked before it is
//! believed. Knows nothing of what the parts hold.
//!
//! ```text
//! magic, 8 bytes │ format, u32 │ time of the source, u64 │ wall time, u64 │ parts, u32
//! each part: length of the name, u32 │ name │ length, u32 │ bytes
//! SHA-256 over all of this, 32 bytes                              numbers are little-endian
//! ```

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::{
    detect::saved::{AxisShift, SavedPart},
    replace::Lasts,
};

/// The state's file within its directory.
pub const FILE: &str = "state.bin";
/// A longer file is not written, and not read.
pub const BYTES_MAX: usize = 32 << 20;
/// More parts than there can be detectors.
const PARTS_MAX: u32 = 64;
const MAGIC: &[u8; 8] = b"IDSSTATE";
const FORMAT: u32 = 1;
const DIGEST_BYTES: usize = 32;
/// Beyond this a wall clock is wrong rather than the state old.
const DOWNTIME_NS_MAX: u64 = 10 * 365 * 86_400 * 1_000_000_000;

/// Everything that is kept, as it was at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateImage {
    /// That moment on the axis of the source, and by the wall clock.
    pub source_ns: u64,
    pub wall_ns: u64,
    pub parts: Vec<SavedPart>,
}

/// Why a file is not taken as state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("it is no state of this agent")]
    Foreign,
    #[error("it is of format {found}, this agent reads {FORMAT}")]
    Future { found: u32 },
    #[error("it is torn or was changed: the checksum does not fit")]
    Torn,
    #[error("it holds more than {BYTES_MAX} bytes")]
    TooLong,
}

/// Why state could not be written.
#[derive(Debug, thiserror::Error)]
pub enum StateWriteError {
    #[error("cannot write {}: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("the state would hold {found} bytes, limit is {BYTES_MAX}")]
    TooLong { found: usize },
}

impl StateImage {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&FORMAT.to_le_bytes());
        out.extend_from_slice(&self.source_ns.to_le_bytes());
        out.extend_from_slice(&self.wall_ns.to_le_bytes());
        out.extend_from_slice(&(self.parts.len() as u32).to_le_bytes());
        for part in &self.parts {
            for field in [part.name.as_bytes(), &part.bytes] {
                out.extend_from_slice(&(field.len() as u32).to_le_bytes());
                out.extend_from_slice(field);
            }
        }
        let digest = Sha256::digest(&out);
        out.extend_from_slice(&digest);
        out
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, Refusal> {
        if bytes.len() > BYTES_MAX {
            return Err(Refusal::TooLong);
        }
        let Some(rest) = bytes.strip_prefix(MAGIC) else {
            // What is cut within the magic was ours.
            return Err(if !bytes.is_empty() && MAGIC.starts_with(bytes) { Refusal::Torn } else { Refusal::Foreign });
        };
        let Some((format, _)) = rest.split_first_chunk::<4>() else { return Err(Refusal::Torn) };
        let format = u32::from_le_bytes(*format);
        if format != FORMAT {
            return Err(Refusal::Future { found: format });
        }
        let Some((body, digest)) = bytes.split_last_chunk::<DIGEST_BYTES>() else { return Err(Refusal::Torn) };
        if Sha256::digest(body).as_slice() != digest {
            return Err(Refusal::Torn);
        }
        // From here on only who can compute a checksum can have made a mistake.
        let mut fields = Fields { rest: body.get(MAGIC.len() + 4..).unwrap_or(&[]) };
        fields.image().ok_or(Refusal::Torn)
    }

    /// How times of this state move onto the axis of a run for which it is `source_now_ns` now. Clocks that were set
    /// back count as no time passed.
    pub fn shift(&self, source_now_ns: u64, wall_now_ns: u64) -> AxisShift {
        let downtime_ns = wall_now_ns.saturating_sub(self.wall_ns).min(DOWNTIME_NS_MAX);
        let signed = |ns: u64| i64::try_from(ns).unwrap_or(i64::MAX);
        AxisShift::by_ns(
            signed(source_now_ns).saturating_sub(signed(downtime_ns)).saturating_sub(signed(self.source_ns)),
        )
    }
}

/// Fields behind the format.
struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    fn image(&mut self) -> Option<StateImage> {
        let (source_ns, wall_ns, count) = (self.u64()?, self.u64()?, self.u32()?);
        if count > PARTS_MAX {
            return None;
        }
        let mut parts = Vec::new();
        for _ in 0..count {
            let name = std::str::from_utf8(self.field()?).ok()?.to_owned();
            parts.push(SavedPart { name, bytes: self.field()?.to_vec() });
        }
        self.rest.is_empty().then_some(StateImage { source_ns, wall_ns, parts })
    }

    fn field(&mut self) -> Option<&'a [u8]> {
        let length = self.u32()? as usize;
        let (field, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(field)
    }

    fn u32(&mut self) -> Option<u32> {
        let (value, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(u32::from_le_bytes(*value))
    }

    fn u64(&mut self) -> Option<u64> {
        let (value, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(u64::from_le_bytes(*value))
    }
}

/// Reads a state file wherever it lies. None where there is no file.
pub fn read(path: &Path) -> io::Result<Option<Result<StateImage, Refusal>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    // One byte too many tells that it is too long.
    file.take(BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    Ok(Some(StateImage::decode(&bytes)))
}

/// Writes `bytes` under `path`, whole or not at all, for its owner alone.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // Addresses of the site's devices are nobody else's business.
    crate::replace::replace(path, 0o600, Lasts::Name, bytes)
}

/// What a store has done since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StateStats {
    pub written: u64,
    /// Times the state could not be written.
    pub failed: u64,
    /// Times it was left out because the one before was still being written.
    pub skipped: u64,
    /// Files that were set aside at the start, and parts that no detector took.
    pub refused: u64,
    /// Length of the file written last.
    pub bytes: u64,
}

/// The directory in which an agent keeps its state, and what became of it.
#[derive(Debug)]
pub struct StateStore {
    path: PathBuf,
    every_ns: u64,
    written: AtomicU64,
    failed: AtomicU64,
    skipped: AtomicU64,
    refused: AtomicU64,
    bytes: AtomicU64,
}

impl StateStore {
    /// A store in `dir`, which must be there, that asks to be written every `every_ns`.
    pub fn open(dir: &Path, every_ns: u64) -> io::Result<Self> {
        if !fs::metadata(dir)?.is_dir() {
            return Err(io::Error::from(io::ErrorKind::NotADirectory));
        }
        // Whether it can be written shows now, not at the end of the run.
        let trial = dir.join(FILE).with_added_extension("partial");
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&trial)?;
        fs::remove_file(&trial)?;
        Ok(Self {
            path: dir.join(FILE),
            every_ns,
            written: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            skipped: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn every_ns(&self) -> u64 {
        self.every_ns
    }

    /// What the last run left. A file that cannot be read as state is set aside as `state.bin.refused`, in place of
    /// the one before: it is evidence, and the agent starts as new.
    pub fn load(&self) -> Option<StateImage> {
        let reason = match read(&self.path) {
            Ok(None) => return None,
            Ok(Some(Ok(image))) => return Some(image),
            Ok(Some(Err(refusal))) => refusal.to_string(),
            Err(error) => error.to_string(),
        };
        self.refused.fetch_add(1, Ordering::Relaxed);
        let aside = self.path.with_added_extension("refused");
        match fs::rename(&self.path, &aside) {
            Ok(()) => tracing::warn!(file = %self.path.display(), aside = %aside.display(), reason, "state set aside"),
            Err(error) => tracing::warn!(file = %self.path.display(), reason, %error, "state is not used"),
        }
        None
    }

    /// Writes the state in place of the one before.
    pub fn write(&self, image: &StateImage) -> Result<(), StateWriteError> {
        let bytes = image.encode();
        let written = if bytes.len() > BYTES_MAX {
            Err(StateWriteError::TooLong { found: bytes.len() })
        } else {
            replace(&self.path, &bytes).map_err(|source| StateWriteError::Write { path: self.path.clone(), source })
        };
        match written {
            Ok(()) => {
                self.written.fetch_add(1, Ordering::Relaxed);
                self.bytes.store(bytes.len() as u64, Ordering::Relaxed);
            }
            Err(_) => drop(self.failed.fetch_add(1, Ordering::Relaxed)),
        }
        written
    }

    /// Counts a moment that was left out, and parts that nobody took.
    pub fn count_skipped(&self) {
        self.skipped.fetch_add(1, Ordering::Relaxed);
    }

    pub fn count_refused(&self, parts: usize) {
        self.refused.fetch_add(parts as u64, Ordering::Relaxed);
    }

    pub fn stats(&self) -> StateStats {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        StateStats {
            written: load(&self.written),
            failed: load(&self.failed),
            skipped: load(&self.skipped),
            refused: load(&self.refused),
            bytes: load(&self.bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed step fails the test")]
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn image() -> StateImage {
        let part = |name: &str, bytes: &[u8]| SavedPart { name: name.to_owned(), bytes: bytes.to_vec() };
        StateImage { source_ns: 500, wall_ns: 10_000, parts: vec![part("a/1", b"first"), part("b/2", b"")] }
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_was_written_is_loaded_and_is_the_owners_alone() {
        let dir = tempfile::tempdir().unwrap();
        let store = StateStore::open(dir.path(), 1).unwrap();
        assert_eq!(store.load(), None);
        store.write(&image()).unwrap();
        let newer = StateImage { source_ns: 501, ..image() };
        store.write(&newer).unwrap();
        assert_eq!(StateStore::open(dir.path(), 1).unwrap().load(), Some(newer));
        assert_eq!(fs::metadata(store.path()).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(names(dir.path()), [FILE]);
        assert_eq!((store.stats().written, store.stats().bytes), (2, image().encode().len() as u64));
    }

    #[test]
    fn a_file_cut_off_or_changed_anywhere_is_refused() {
        let whole = image().encode();
        for length in 0..whole.len() {
            assert!(StateImage::decode(&whole[..length]).is_err(), "{length} bytes");
        }
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 0x10;
            assert!(StateImage::decode(&changed).is_err(), "byte {at}");
        }
        assert_eq!(StateImage::decode(&whole), Ok(image()));
    }

    #[test]
    fn foreign_future_and_torn_files_are_told_apart() {
        let mut future = image().encode();
        future[8] = 9;
        assert_eq!(StateImage::decode(&future), Err(Refusal::Future { found: 9 }));
        assert_eq!(StateImage::decode(b"ELF or anything else"), Err(Refusal::Foreign));
        assert_eq!(StateImage::decode(&image().encode()[..50]), Err(Refusal::Torn));
        assert_eq!(StateImage::decode(&vec![0; BYTES_MAX + 1]), Err(Refusal::TooLong));
    }

    #[test]
    fn lengths_that_lie_are_refused_even_under_a_good_checksum() {
        let mut lying = image().encode();
        lying.truncate(lying.len() - DIGEST_BYTES);
        for at in 28..lying.len() {
            let mut body = lying.clone();
            body[at] = 0xff;
            let digest = Sha256::digest(&body);
            body.extend_from_slice(&digest);
            // Names and bytes may be anything; lengths and counts may not. Either way nothing panics.
            let _ = StateImage::decode(&body);
        }
        lying[28] = 0xff;
        let digest = Sha256::digest(&lying);
        lying.extend_from_slice(&digest);
        assert_eq!(StateImage::decode(&lying), Err(Refusal::Torn));
    }

    #[test]
    fn a_refused_file_is_set_aside_counted_and_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let store = StateStore::open(dir.path(), 1).unwrap();
        fs::write(store.path(), b"garbage").unwrap();
        assert_eq!(store.load(), None);
        assert_eq!(store.stats().refused, 1);
        assert_eq!(names(dir.path()), ["state.bin.refused"]);
        store.write(&image()).unwrap();
        assert_eq!(store.load(), Some(image()));
    }

    #[test]
    fn a_failure_to_write_leaves_the_old_state() {
        let dir = tempfile::tempdir().unwrap();
        let store = StateStore::open(dir.path(), 1).unwrap();
        store.write(&image()).unwrap();
        let part = SavedPart { name: "a/1".to_owned(), bytes: vec![0; BYTES_MAX] };
        assert!(store.write(&StateImage { parts: vec![part], ..image() }).is_err());
        // A directory in the way of the new file.
        fs::create_dir(store.path().with_added_extension("partial")).unwrap();
        assert!(store.write(&image()).is_err());
        assert_eq!(store.load(), Some(image()));
        assert_eq!(store.stats().failed, 2);
    }

    #[test]
    fn a_directory_that_is_not_there_is_an_error_at_once() {
        let dir = tempfile::tempdir().unwrap();
        assert!(StateStore::open(&dir.path().join("missing"), 1).is_err());
        let file = dir.path().join("file");
        fs::write(&file, b"").unwrap();
        assert!(StateStore::open(&file, 1).is_err());
    }

    #[test]
    fn times_move_by_the_wall_clock_over_a_reboot() {
        // Saved 500 ns after boot; 2,000 ns later by the wall clock it is 40 ns after another boot.
        let shift = image().shift(40, 12_000);
        assert_eq!(shift.moved(500), 40 - 2_000);
        // A clock that was set back: no time has passed.
        assert_eq!(image().shift(40, 3).moved(500), 40);
        // A clock that claims an age.
        assert_eq!(image().shift(40, u64::MAX).moved(500), 40 - DOWNTIME_NS_MAX as i64);
    }
}
