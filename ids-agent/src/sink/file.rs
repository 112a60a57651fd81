//! Appends lines to a file: whole lines only, rotation by size, reopened on request.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use super::{AlertSink, Delivery, DropReason, Line, SinkError};
use crate::config::Fsync;

/// How a file is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileSettings {
    /// Zero: never rotated by us.
    pub rotate_bytes: u64,
    pub rotate_keep: u32,
    pub fsync: Fsync,
}

/// A file that grows by whole lines.
#[derive(Debug)]
pub struct FileSink {
    name: &'static str,
    path: PathBuf,
    settings: FileSettings,
    file: File,
    /// Bytes of whole lines in the file.
    len_bytes: u64,
    buffer: Vec<u8>,
    failing: bool,
}

impl FileSink {
    pub fn open(name: &'static str, path: &Path, settings: FileSettings) -> Result<Self, SinkError> {
        let (file, len_bytes) = open(path)?;
        Ok(Self { name, path: path.to_owned(), settings, file, len_bytes, buffer: Vec::new(), failing: false })
    }

    /// Moves `alerts.ndjson` to `alerts.ndjson.1`, that to `.2`, and so on; the last falls off.
    fn rotate(&mut self) -> Result<(), SinkError> {
        let rotated = |number: u32| {
            let mut name = self.path.clone().into_os_string();
            name.push(format!(".{number}"));
            PathBuf::from(name)
        };
        for number in (1..self.settings.rotate_keep).rev() {
            // A gap in the numbers is not a fault.
            if let Err(source) = std::fs::rename(rotated(number), rotated(number + 1))
                && source.kind() != io::ErrorKind::NotFound
            {
                return Err(SinkError::Rename { path: rotated(number), source });
            }
        }
        std::fs::rename(&self.path, rotated(1))
            .map_err(|source| SinkError::Rename { path: self.path.clone(), source })?;
        self.reopen()
    }

    /// Writes the buffer, or takes back what a failed write left behind.
    fn write_buffer(&mut self) -> io::Result<()> {
        match self.file.write_all(&self.buffer) {
            Ok(()) => {
                self.len_bytes += self.buffer.len() as u64;
                Ok(())
            }
            Err(error) => {
                // A device or a pipe cannot be cut; its half line is beyond us.
                let _ = self.file.set_len(self.len_bytes);
                Err(error)
            }
        }
    }

    /// Why the lines were not written, if they were not.
    fn deliver(&mut self, lines: &[Line], delivery: &mut Delivery) -> Option<DropReason> {
        if self.settings.rotate_bytes > 0 && self.len_bytes > 0 {
            let coming: u64 = lines.iter().map(|line| line.bytes.len() as u64).sum();
            if self.len_bytes + coming > self.settings.rotate_bytes {
                match self.rotate() {
                    Ok(()) => delivery.rotations += 1,
                    Err(error) => tracing::warn!(%error, "rotation failed; the file grows on"),
                }
            }
        }
        self.buffer.clear();
        for line in lines {
            self.buffer.extend_from_slice(&line.bytes);
        }
        let written = self.write_buffer().and_then(|()| match self.settings.fsync {
            Fsync::Never => Ok(()),
            Fsync::Batch => self.file.sync_data(),
        });
        let count = lines.len() as u64;
        match written {
            Ok(()) => {
                delivery.written += count;
                delivery.bytes_written += self.buffer.len() as u64;
                self.report_health(None);
                None
            }
            Err(error) => {
                self.report_health(Some(&error));
                Some(DropReason::of(&error))
            }
        }
    }

    /// Says once that writing fails, and once that it works again; the counters say how much.
    fn report_health(&mut self, error: Option<&io::Error>) {
        match (error, self.failing) {
            (Some(error), false) => {
                let path = self.path.display();
                match DropReason::of(error) {
                    DropReason::DiskFull => {
                        tracing::error!(%path, %error, "cannot write; the most severe lines wait, others are dropped and counted");
                    }
                    _ => tracing::error!(%path, %error, "cannot write; lines are dropped and counted"),
                }
            }
            (None, true) => tracing::info!(path = %self.path.display(), "writing again"),
            (Some(_), true) | (None, false) => {}
        }
        self.failing = error.is_some();
    }
}

impl AlertSink for FileSink {
    fn name(&self) -> &'static str {
        self.name
    }

    fn write(&mut self, lines: &[Line]) -> Delivery {
        let mut delivery = Delivery::default();
        let limit = if self.settings.rotate_bytes == 0 { u64::MAX } else { self.settings.rotate_bytes };
        // Pieces that fit one file, so that no file passes its size but by a single long line.
        let mut rest = lines;
        while !rest.is_empty() {
            let mut bytes = 0u64;
            let fitting = rest
                .iter()
                .take_while(|line| {
                    bytes += line.bytes.len() as u64;
                    bytes <= limit
                })
                .count()
                .max(1);
            let (piece, later) = rest.split_at(fitting);
            match self.deliver(piece, &mut delivery) {
                Some(DropReason::DiskFull) => {
                    delivery.unplaced = rest.len() as u64;
                    break;
                }
                Some(reason) => delivery.drop_lines(reason, piece.len() as u64),
                None => {}
            }
            rest = later;
        }
        delivery
    }

    fn reopen(&mut self) -> Result<(), SinkError> {
        (self.file, self.len_bytes) = open(&self.path)?;
        Ok(())
    }

    fn finish(&mut self) -> Result<(), SinkError> {
        match self.file.sync_data() {
            // Pipes and devices cannot be synced.
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
            Err(source) => Err(SinkError::Write { path: self.path.clone(), source }),
        }
    }
}

/// Opens for appending, readable by owner and group. A line torn by a crash is cut off first.
fn open(path: &Path) -> Result<(File, u64), SinkError> {
    let fail = |source| SinkError::Open { path: path.to_owned(), source };
    let file = OpenOptions::new().create(true).append(true).mode(0o640).open(path).map_err(fail)?;
    let mut len_bytes = file.metadata().map_err(fail)?.len();
    if len_bytes > 0 && path.is_file() {
        let whole = whole_lines(path, len_bytes).map_err(fail)?;
        if whole < len_bytes {
            file.set_len(whole).map_err(fail)?;
            tracing::warn!(path = %path.display(), torn_bytes = len_bytes - whole, "cut off a torn line");
            len_bytes = whole;
        }
    }
    Ok((file, len_bytes))
}

/// Where the last whole line ends. Looks back over one line of the greatest length we write.
fn whole_lines(path: &Path, len_bytes: u64) -> io::Result<u64> {
    const LINE_BYTES_MAX: u64 = 64 << 10;
    let mut file = File::open(path)?;
    let from = len_bytes.saturating_sub(LINE_BYTES_MAX);
    file.seek(SeekFrom::Start(from))?;
    let mut tail = Vec::new();
    file.take(len_bytes - from).read_to_end(&mut tail)?;
    Ok(match tail.iter().rposition(|byte| *byte == b'\n') {
        Some(at) => from + at as u64 + 1,
        None if from == 0 => 0,
        // Not a file of ours: leave it as it is.
        None => len_bytes,
    })
}
