//! The files of a feed: found, named in a fixed order, opened plain or unpacked, and bounded in bytes.

use std::{
    fs::{self, File},
    hash::{BuildHasher, Hasher},
    io::{self, BufRead, BufReader, Cursor, Read},
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use flate2::bufread::MultiGzDecoder;
use foldhash::quality::FixedState;

use super::Refusal;

/// Unpacked bytes read of one feed.
pub(super) const FEED_BYTES_MAX: u64 = 1 << 30;
/// Files of one feed, and how deep its folder is searched.
const FILES_MAX: usize = 20_000;
const DEPTH_MAX: u32 = 6;
/// What the kind of a file is told by.
const HEAD_BYTES: usize = 16 << 10;
/// Endings of files that hold indicators; a folder may hold licences and readmes too.
const ENDINGS: [&str; 13] =
    ["conf", "csv", "dat", "gz", "hosts", "ipset", "json", "list", "lst", "netset", "tsv", "txt", "zst"];

/// A feed's files at one moment.
pub(super) struct Files {
    paths: Vec<PathBuf>,
    signature: u64,
    modified_unix_secs: u64,
}

impl Files {
    /// The file itself, or every file with a fitting name in the folder and below, by name.
    pub(super) fn find(path: &Path) -> Result<Self, Refusal> {
        let unreadable = |path: &Path| {
            let path = path.to_owned();
            move |source| Refusal::Unreadable { path, source }
        };
        let facts = fs::metadata(path).map_err(unreadable(path))?;
        let mut paths = Vec::new();
        if facts.is_dir() {
            collect(path, DEPTH_MAX, &mut paths)?;
            paths.sort();
        } else {
            paths.push(path.to_owned());
        }
        // The seed is of no matter: the signature is compared with itself.
        let mut hasher = FixedState::with_seed(0).build_hasher();
        let mut modified_unix_secs = 0;
        for path in &paths {
            let facts = fs::metadata(path).map_err(unreadable(path))?;
            let modified = facts.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
            let modified = modified.unwrap_or_default();
            modified_unix_secs = modified_unix_secs.max(modified.as_secs());
            hasher.write(path.as_os_str().as_encoded_bytes());
            hasher.write_u128(modified.as_nanos());
            hasher.write_u64(facts.len());
        }
        Ok(Self { paths, signature: hasher.finish(), modified_unix_secs })
    }

    pub(super) fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    /// Changes when a file comes, goes or is written to.
    pub(super) const fn signature(&self) -> u64 {
        self.signature
    }

    pub(super) const fn modified_unix_secs(&self) -> u64 {
        self.modified_unix_secs
    }
}

fn collect(folder: &Path, depth: u32, paths: &mut Vec<PathBuf>) -> Result<(), Refusal> {
    let unreadable = |source| Refusal::Unreadable { path: folder.to_owned(), source };
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let (path, name) = (entry.path(), entry.file_name());
        if name.as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let kind = entry.file_type().map_err(unreadable)?;
        if kind.is_dir() && depth > 0 {
            collect(&path, depth - 1, paths)?;
        } else if kind.is_file() && has_ending(&path) {
            if paths.len() >= FILES_MAX {
                return Err(Refusal::TooLarge { max: FILES_MAX as u64, what: "files" });
            }
            paths.push(path);
        }
    }
    Ok(())
}

fn has_ending(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str()).map(str::to_ascii_lowercase);
    ending.is_some_and(|ending| ENDINGS.contains(&ending.as_str()))
}

/// A file on its way in: unpacked and counted.
pub(super) struct Input<'a> {
    /// The first bytes, which `reader` gives again.
    pub(super) head: Vec<u8>,
    pub(super) reader: BufReader<io::Chain<Cursor<Vec<u8>>, Counted<'a>>>,
}

/// Opens a file; what is read of it, unpacked, is taken off `bytes_left`.
pub(super) fn open<'a>(path: &Path, bytes_left: &'a mut u64) -> io::Result<Input<'a>> {
    let mut file = BufReader::with_capacity(1 << 16, File::open(path)?);
    let magic = file.fill_buf()?;
    let reader: Box<dyn Read> = if magic.starts_with(&[0x1f, 0x8b]) {
        Box::new(MultiGzDecoder::new(file))
    } else if magic.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        Box::new(zstd::stream::read::Decoder::with_buffer(file)?)
    } else {
        Box::new(file)
    };
    let mut counted = Counted { reader, left: bytes_left };
    let mut head = Vec::with_capacity(HEAD_BYTES);
    (&mut counted).take(HEAD_BYTES as u64).read_to_end(&mut head)?;
    let reader = BufReader::with_capacity(1 << 16, Cursor::new(head.clone()).chain(counted));
    Ok(Input { head, reader })
}

/// Ends early, and leaves nothing over, when the bytes are used up.
pub(super) struct Counted<'a> {
    reader: Box<dyn Read>,
    left: &'a mut u64,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let max = usize::try_from(*self.left).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.reader.read(buffer.get_mut(..max).unwrap_or_default())?;
        *self.left -= read as u64;
        Ok(read)
    }
}

/// Longest line of a feed; a longer one is garbage.
const LINE_BYTES_MAX: usize = 8 << 10;

/// Reads lines into one buffer.
pub(super) struct Lines<'a, R> {
    reader: &'a mut R,
    buffer: Vec<u8>,
}

/// A line, or what stands where a line should.
pub(super) enum Line<'a> {
    Text(std::borrow::Cow<'a, str>),
    TooLong,
}

impl<'a, R: BufRead> Lines<'a, R> {
    pub(super) fn new(reader: &'a mut R) -> Self {
        Self { reader, buffer: Vec::new() }
    }

    /// The next line without its end; bytes that are no UTF-8 are replaced.
    pub(super) fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        self.buffer.clear();
        let mut too_long = false;
        loop {
            let available = self.reader.fill_buf()?;
            if available.is_empty() {
                if self.buffer.is_empty() && !too_long {
                    return Ok(None);
                }
                break;
            }
            let (part, ends) = match available.iter().position(|byte| *byte == b'\n') {
                Some(at) => (at + 1, true),
                None => (available.len(), false),
            };
            let room = LINE_BYTES_MAX.saturating_sub(self.buffer.len());
            too_long |= part > room;
            self.buffer.extend_from_slice(available.get(..part.min(room)).unwrap_or_default());
            self.reader.consume(part);
            if ends {
                break;
            }
        }
        if too_long {
            return Ok(Some(Line::TooLong));
        }
        Ok(Some(Line::Text(String::from_utf8_lossy(&self.buffer))))
    }
}
