//! The folder with the evidence: one document and one capture an alert, bounded in number and bytes.
//!
//! A file is written beside its place and renamed, the capture first: a document that is there is whole, and so is what
//! it speaks of. What a crash left half done is removed at the next start.

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, File},
    io::{self, Read as _},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{
    document::{Document, FORMAT},
    pcapng,
};
use crate::{
    config::EvidenceSettings,
    replace::{Lasts, PARTIAL, replace},
    sink::{AlertSink, Delivery, DropReason, Line, SinkError},
};

/// A longer document is not ours.
const DOCUMENT_BYTES_MAX: u64 = 4 << 20;
const DOCUMENT: &str = "json";
const CAPTURE: &str = "pcapng";

/// Why evidence cannot be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    #[error("`{id}` is no alert id; take the 16 hexadecimal digits of `ids.incident` in the alert")]
    Id { id: String },
    #[error("no evidence of alert {id} in {}; it was removed to make room, or kept elsewhere: name the folder with --evidence", dir.display())]
    NotFound { id: String, dir: PathBuf },
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} is no evidence of this agent: {reason}", path.display())]
    Foreign { path: PathBuf, reason: String },
    #[error("cannot keep evidence in {}: {source}", dir.display())]
    Open { dir: PathBuf, source: io::Error },
}

/// Reads the document of an alert; the path is that of its capture, where there is one.
pub fn load(dir: &Path, id: &str) -> Result<(Document, Option<PathBuf>), EvidenceError> {
    let id = id.trim().to_ascii_lowercase();
    if !is_id(&id) {
        return Err(EvidenceError::Id { id: id.chars().take(64).collect() });
    }
    let path = dir.join(format!("{id}.{DOCUMENT}"));
    let document = read(&path)?.ok_or_else(|| EvidenceError::NotFound { id: id.clone(), dir: dir.to_owned() })?;
    let capture = dir.join(format!("{id}.{CAPTURE}"));
    Ok((document, capture.is_file().then_some(capture)))
}

fn read(path: &Path) -> Result<Option<Document>, EvidenceError> {
    let unreadable = |source| EvidenceError::Read { path: path.to_owned(), source };
    let foreign = |reason: String| EvidenceError::Foreign { path: path.to_owned(), reason };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error)),
    };
    let mut bytes = Vec::new();
    file.take(DOCUMENT_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > DOCUMENT_BYTES_MAX {
        return Err(foreign(format!("it holds more than {DOCUMENT_BYTES_MAX} bytes")));
    }
    let document: Document = serde_json::from_slice(&bytes).map_err(|error| foreign(error.to_string()))?;
    match document.format {
        FORMAT => Ok(Some(document)),
        other => Err(foreign(format!("it is of format {other}, this agent reads {FORMAT}"))),
    }
}

/// 16 lower-case hexadecimal digits: also what makes it safe as a file name.
pub(super) fn is_id(id: &str) -> bool {
    id.len() == 16 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Keeps documents as they come.
#[derive(Debug)]
pub struct EvidenceSink {
    dir: PathBuf,
    bytes_max: u64,
    keep: usize,
    /// Alerts in the order of their last report, with their bytes.
    order: BTreeMap<u64, String>,
    kept: BTreeMap<String, Kept>,
    next: u64,
    bytes: u64,
    removed: Arc<AtomicU64>,
}

#[derive(Clone, Copy, Debug)]
struct Kept {
    place: u64,
    bytes: u64,
}

impl EvidenceSink {
    /// Opens the folder, makes it where only it is missing, and takes stock of what is there.
    pub fn open(dir: &Path, settings: &EvidenceSettings) -> Result<Self, EvidenceError> {
        let failed = |source| EvidenceError::Open { dir: dir.to_owned(), source };
        // Samples may hold what people typed, so the folder is for its owner and group alone.
        match DirBuilder::new().mode(0o750).create(dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(error)),
            Ok(()) | Err(_) => {}
        }
        let mut sink = Self {
            dir: dir.to_owned(),
            bytes_max: settings.max_mib.saturating_mul(1 << 20),
            keep: settings.keep,
            order: BTreeMap::new(),
            kept: BTreeMap::new(),
            next: 0,
            bytes: 0,
            removed: Arc::default(),
        };
        sink.take_stock().map_err(failed)?;
        sink.make_room(0);
        Ok(sink)
    }

    /// Alerts whose evidence went to make room.
    pub fn removed(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.removed)
    }

    fn take_stock(&mut self) -> io::Result<()> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            if Path::new(name).extension().is_some_and(|end| end == PARTIAL) {
                // Left by a crash; it may be gone by now.
                let _ = fs::remove_file(entry.path());
                continue;
            }
            let Some((id, kind)) = name.split_once('.').filter(|(id, _)| is_id(id)) else { continue };
            match kind {
                DOCUMENT => found.push((entry.metadata()?.modified().ok(), id.to_owned())),
                CAPTURE if !self.path(id, DOCUMENT).exists() => drop(fs::remove_file(entry.path())),
                _ => {}
            }
        }
        found.sort();
        for (_, id) in found {
            let bytes = [DOCUMENT, CAPTURE].iter().map(|kind| size(&self.path(&id, kind))).sum();
            self.enter(id, bytes);
        }
        Ok(())
    }

    fn path(&self, id: &str, kind: &str) -> PathBuf {
        self.dir.join(format!("{id}.{kind}"))
    }

    fn enter(&mut self, id: String, bytes: u64) {
        self.strike(&id);
        self.order.insert(self.next, id.clone());
        self.kept.insert(id, Kept { place: self.next, bytes });
        self.next += 1;
        self.bytes += bytes;
    }

    fn strike(&mut self, id: &str) {
        if let Some(kept) = self.kept.remove(id) {
            self.order.remove(&kept.place);
            self.bytes = self.bytes.saturating_sub(kept.bytes);
        }
    }

    /// Removes the oldest until `more` bytes and one more alert fit, where `more` is not zero.
    fn make_room(&mut self, more: u64) {
        let alerts = usize::from(more > 0);
        while self.kept.len() + alerts > self.keep || self.bytes.saturating_add(more) > self.bytes_max {
            let Some((_, oldest)) = self.order.first_key_value().map(|(place, id)| (*place, id.clone())) else {
                return;
            };
            for kind in [DOCUMENT, CAPTURE] {
                // Somebody may have removed it already.
                let _ = fs::remove_file(self.path(&oldest, kind));
            }
            self.strike(&oldest);
            self.removed.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Writes one alert's files; gives their bytes.
    fn keep(&mut self, line: &[u8]) -> io::Result<u64> {
        let document: Document = serde_json::from_slice(line)?;
        if !is_id(&document.id) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "no alert id"));
        }
        let id = document.id.clone();
        let path = self.path(&id, DOCUMENT);
        // What cannot be read any more is written anew.
        let document = match read(&path) {
            Ok(Some(earlier)) => document.after(earlier),
            Ok(None) | Err(_) => document,
        };
        let capture = document
            .exhibit
            .as_ref()
            .filter(|exhibit| !exhibit.packets.is_empty())
            .map(|exhibit| pcapng::capture(&exhibit.key(), &exhibit.samples()));
        let text = crate::alert::json::line(&document);
        let bytes = text.len() as u64 + capture.as_ref().map_or(0, |capture| capture.len() as u64);
        if bytes > self.bytes_max || self.keep == 0 {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        self.strike(&id);
        self.make_room(bytes);
        let written =
            capture.map_or(Ok(()), |capture| put(&self.path(&id, CAPTURE), &capture)).and_then(|()| put(&path, &text));
        // What is there is counted, whatever came of it.
        let there = [DOCUMENT, CAPTURE].iter().map(|kind| size(&self.path(&id, kind))).sum();
        if there > 0 {
            self.enter(id, there);
        }
        written.map(|()| bytes)
    }
}

/// After a crash the evidence of the last alert may be missing, and is whole where it is there.
fn put(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace(path, 0o640, Lasts::Bytes, bytes)
}

fn size(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |facts| facts.len())
}

impl AlertSink for EvidenceSink {
    fn name(&self) -> &'static str {
        "evidence"
    }

    fn write(&mut self, lines: &[Line]) -> Delivery {
        let mut delivery = Delivery::default();
        for line in lines {
            match self.keep(&line.bytes) {
                Ok(bytes) => {
                    delivery.written += 1;
                    delivery.bytes_written += bytes;
                }
                Err(error) => delivery.drop_lines(DropReason::of(&error), 1),
            }
        }
        delivery
    }

    /// The folder may have been emptied or filled by somebody.
    fn reopen(&mut self) -> Result<(), SinkError> {
        self.order.clear();
        self.kept.clear();
        self.bytes = 0;
        self.take_stock().map_err(|source| SinkError::Open { path: self.dir.clone(), source })
    }

    fn finish(&mut self) -> Result<(), SinkError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
