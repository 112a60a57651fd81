//! A file that appears only when it is complete.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufWriter, Write},
    os::fd::AsRawFd,
    path::{Path, PathBuf},
};

use rustix::fs::{AtFlags, CWD, Mode, OFlags};

use super::{AlertSink, Delivery, DropReason, Line, SinkError};

/// A file in the making. Dropped before `commit`, or killed, it leaves nothing behind.
#[derive(Debug)]
pub struct WholeFile {
    path: PathBuf,
    writing: Option<(Making, BufWriter<File>)>,
}

/// Where the bytes are until the file is complete.
#[derive(Debug)]
enum Making {
    /// In a file without a name, which the kernel removes unless it gets one.
    Unnamed,
    /// Beside its place, where the file system has no unnamed files.
    Beside,
    /// A pipe or a device: moving a file over it would destroy it.
    InPlace,
}

const BUFFER_BYTES: usize = 256 << 10;

impl WholeFile {
    pub fn create(path: &Path) -> Result<Self, SinkError> {
        let fail = |source| SinkError::Open { path: path.to_owned(), source };
        if path.is_dir() {
            return Err(fail(io::Error::from(io::ErrorKind::IsADirectory)));
        }
        let (making, file) = if path.exists() && !path.is_file() {
            (Making::InPlace, OpenOptions::new().write(true).open(path).map_err(fail)?)
        } else if let Ok(unnamed) = open_unnamed(path) {
            (Making::Unnamed, unnamed)
        } else {
            (Making::Beside, File::create(beside(path)).map_err(fail)?)
        };
        Ok(Self { path: path.to_owned(), writing: Some((making, BufWriter::with_capacity(BUFFER_BYTES, file))) })
    }

    /// Moves the complete file into place.
    pub fn commit(&mut self) -> Result<(), SinkError> {
        let Some((making, writer)) = self.writing.take() else { return Ok(()) };
        let path = self.path.clone();
        let file = match writer.into_inner() {
            Ok(file) => file,
            Err(error) => {
                discard(&making, &path);
                return Err(SinkError::Write { path, source: error.into_error() });
            }
        };
        let placed = match making {
            Making::InPlace => Ok(()),
            Making::Beside => std::fs::rename(beside(&path), &path),
            Making::Unnamed => name(&file, &beside(&path)).and_then(|()| std::fs::rename(beside(&path), &path)),
        };
        placed.map_err(|source| {
            discard(&Making::Beside, &path);
            SinkError::Rename { path, source }
        })
    }
}

/// A name in the same directory, for the moment before the file is in its place.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}.partial", std::process::id()));
    PathBuf::from(name)
}

fn open_unnamed(path: &Path) -> io::Result<File> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let file = rustix::fs::open(dir, OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC, Mode::from_raw_mode(0o666))?;
    Ok(File::from(file))
}

/// Gives an unnamed file its name (open(2), O_TMPFILE).
fn name(file: &File, path: &Path) -> io::Result<()> {
    let link = format!("/proc/self/fd/{}", file.as_raw_fd());
    Ok(rustix::fs::linkat(CWD, link, CWD, path, AtFlags::SYMLINK_FOLLOW)?)
}

fn discard(making: &Making, path: &Path) {
    match making {
        // It is gone already, or it cannot be removed: either way nothing more can be done.
        Making::Beside => drop(std::fs::remove_file(beside(path))),
        Making::Unnamed | Making::InPlace => {}
    }
}

impl Write for WholeFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.writing {
            Some((_, writer)) => writer.write(bytes),
            None => Err(io::Error::other("the file is already complete")),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.writing {
            Some((_, writer)) => writer.flush(),
            None => Ok(()),
        }
    }
}

impl Drop for WholeFile {
    fn drop(&mut self) {
        if let Some((making, writer)) = self.writing.take() {
            // Without flushing: the file goes.
            drop(writer.into_parts());
            discard(&making, &self.path);
        }
    }
}

/// Lines into a file that appears when all of them are there.
#[derive(Debug)]
pub struct WholeSink {
    name: &'static str,
    file: WholeFile,
    failed: Option<io::Error>,
}

impl WholeSink {
    pub fn create(name: &'static str, path: &Path) -> Result<Self, SinkError> {
        Ok(Self { name, file: WholeFile::create(path)?, failed: None })
    }
}

impl AlertSink for WholeSink {
    fn name(&self) -> &'static str {
        self.name
    }

    fn write(&mut self, lines: &[Line]) -> Delivery {
        let mut delivery = Delivery::default();
        for line in lines {
            if let Some(error) = &self.failed {
                delivery.drop_lines(DropReason::of(error), 1);
                continue;
            }
            match self.file.write_all(&line.bytes) {
                Ok(()) => {
                    delivery.written += 1;
                    delivery.bytes_written += line.bytes.len() as u64;
                }
                Err(error) => {
                    delivery.drop_lines(DropReason::of(&error), 1);
                    self.failed = Some(error);
                }
            }
        }
        delivery
    }

    fn reopen(&mut self) -> Result<(), SinkError> {
        Ok(())
    }

    fn finish(&mut self) -> Result<(), SinkError> {
        match self.failed.take() {
            Some(source) => Err(SinkError::Write { path: self.file.path.clone(), source }),
            None => self.file.commit(),
        }
    }
}
