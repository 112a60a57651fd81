//! Bytes of a capture: a file or standard input, unpacked on the fly. Knows no capture format.

use std::{
    fs::File,
    io::{self, Cursor, Read},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::CaptureError;

/// Bytes read at once. Larger blocks gain nothing, smaller ones cost system calls.
const CHUNK_BYTES: usize = 1 << 20;
/// Longest stretch that a format may ask to see at once: no record is longer.
pub(super) const RECORD_BYTES_MAX: usize = 64 << 20;

const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// A window that slides over the unpacked bytes.
pub(super) struct Input {
    inner: Box<dyn Read + Send>,
    packed: bool,
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    /// Unpacked bytes before `start`.
    offset: u64,
    read: Arc<AtomicU64>,
    /// Why there are no more bytes, once there are none.
    over: Option<Over>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Over {
    Ended,
    /// The compressed stream is cut or damaged; what came before stands.
    Damaged(String),
}

impl Input {
    pub(super) fn open(path: &Path) -> Result<Self, CaptureError> {
        if path.as_os_str() == "-" {
            return Self::new(Box::new(io::stdin()), "standard input");
        }
        let name = path.display().to_string();
        let failed = |source| CaptureError::Open { name: name.clone(), source };
        let file = File::open(path).map_err(failed)?;
        if file.metadata().map_err(failed)?.is_dir() {
            return Err(CaptureError::Directory { name });
        }
        Self::new(Box::new(file), &name)
    }

    pub(super) fn new(input: Box<dyn Read + Send>, name: &str) -> Result<Self, CaptureError> {
        let read = Arc::new(AtomicU64::new(0));
        let mut counted = Counted { inner: input, read: Arc::clone(&read) };
        let mut magic = Vec::with_capacity(4);
        let failed = |source| CaptureError::Read { name: name.to_owned(), offset: 0, source };
        (&mut counted).take(4).read_to_end(&mut magic).map_err(failed)?;
        let plain = Cursor::new(magic.clone()).chain(counted);
        let (inner, packed): (Box<dyn Read + Send>, bool) = if magic.starts_with(&GZIP) {
            // The decoder sees large blocks rather than single bytes.
            (Box::new(flate2::bufread::MultiGzDecoder::new(io::BufReader::with_capacity(1 << 16, plain))), true)
        } else if magic.starts_with(&ZSTD) {
            (Box::new(zstd::stream::read::Decoder::new(plain).map_err(failed)?), true)
        } else {
            (Box::new(plain), false)
        };
        Ok(Self { inner, packed, bytes: vec![0; CHUNK_BYTES], start: 0, end: 0, offset: 0, read, over: None })
    }

    /// Bytes taken from the file so far, packed as they stand there.
    pub(super) fn position(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// Unpacked bytes consumed so far.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Why there are no more bytes, once `fill` has fallen short.
    pub(super) fn over(&self) -> Option<&Over> {
        self.over.as_ref()
    }

    /// What is in sight.
    #[inline]
    pub(super) fn window(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or(&[])
    }

    #[inline]
    pub(super) fn consume(&mut self, count: usize) {
        let count = count.min(self.end - self.start);
        self.start += count;
        self.offset += count as u64;
    }

    /// Brings `count` bytes into sight; false where the input ends before.
    #[inline]
    pub(super) fn fill(&mut self, count: usize) -> io::Result<bool> {
        if self.end - self.start >= count {
            return Ok(true);
        }
        self.read_more(count)
    }

    #[cold]
    fn read_more(&mut self, count: usize) -> io::Result<bool> {
        if count > RECORD_BYTES_MAX {
            return Ok(false);
        }
        self.bytes.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        while self.end < count && self.over.is_none() {
            // A record's claimed length is believed only as far as its bytes arrive.
            if self.end == self.bytes.len() {
                self.bytes.resize(count.min(self.bytes.len() * 2), 0);
            }
            match self.inner.read(&mut self.bytes[self.end..]) {
                Ok(0) => self.over = Some(Over::Ended),
                Ok(read) => self.end += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if self.packed => self.over = Some(Over::Damaged(error.to_string())),
                Err(error) => return Err(error),
            }
        }
        Ok(self.end >= count)
    }
}

/// Counts what passes, for a progress bar.
struct Counted {
    inner: Box<dyn Read + Send>,
    read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(into)?;
        self.read.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}
