//! A file that appears only when it is complete: written beside its place, then moved into it.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use super::{AlertSink, Delivery, DropReason, Line, SinkError};

/// A file in the making. Dropped before `finish`, it leaves nothing behind.
#[derive(Debug)]
pub struct WholeFile {
    path: PathBuf,
    writing: Option<(PathBuf, BufWriter<File>)>,
}

impl WholeFile {
    pub fn create(path: &Path) -> Result<Self, SinkError> {
        let fail = |source| SinkError::Open { path: path.to_owned(), source };
        if path.is_dir() {
            return Err(fail(io::Error::from(io::ErrorKind::IsADirectory)));
        }
        // Pipes and devices are written in place: moving a file over them would destroy them.
        let special = path.exists() && !path.is_file();
        let target = if special {
            path.to_owned()
        } else {
            let mut name = path.as_os_str().to_owned();
            name.push(format!(".{}.partial", std::process::id()));
            PathBuf::from(name)
        };
        let file = OpenOptions::new().create(true).write(true).truncate(!special).open(&target).map_err(fail)?;
        Ok(Self { path: path.to_owned(), writing: Some((target, BufWriter::with_capacity(256 << 10, file))) })
    }

    /// Moves the complete file into place.
    pub fn commit(&mut self) -> Result<(), SinkError> {
        let Some((target, writer)) = self.writing.take() else { return Ok(()) };
        let write = |source| SinkError::Write { path: self.path.clone(), source };
        let finished = writer.into_inner().map_err(|error| write(error.into_error())).map(drop);
        let moved = finished.and_then(|()| {
            if target == self.path {
                return Ok(());
            }
            std::fs::rename(&target, &self.path).map_err(|source| SinkError::Rename { path: self.path.clone(), source })
        });
        if moved.is_err() {
            self.discard(&target);
        }
        moved
    }

    fn discard(&self, target: &Path) {
        if target != self.path {
            // It is gone already, or it cannot be removed: either way nothing more can be done.
            let _ = std::fs::remove_file(target);
        }
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
        if let Some((target, writer)) = self.writing.take() {
            // Without flushing: the file goes.
            drop(writer.into_parts());
            self.discard(&target);
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
