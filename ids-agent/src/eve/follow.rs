//! Follows eve.json while Suricata writes it: through rotation by rename and by copy and truncation, restarts of either
//! side, and names with dates or thread numbers. Reads no clock; what it may read at once is bounded.
//!
//! A file is known by its first bytes, not by its inode: those of deleted files come back, and a copy has another.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File, Metadata},
    io,
    os::unix::fs::{FileExt, FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::read::{LineStats, Lines};

/// Bytes by which a file is known. The first line of eve.json has a time in microseconds.
const HEAD_BYTES: usize = 256;
/// Bytes before the place of reading that must still stand there.
const TAIL_BYTES: usize = 64;
/// Files read at once, and files remembered after that.
const FILES_MAX: usize = 32;
const LEFT_MAX: usize = 64;
/// Files of the folder that are known to hold nothing new.
const STILL_MAX: usize = 4_096;
const READ_BYTES: usize = 256 << 10;
/// A file that no longer has the followed name is let go after so long without growth: its writer reopens within
/// moments of the rotation.
const LINGER_NS: u64 = 10_000_000_000;

/// Why nothing can be followed now. It is tried again with every poll.
#[derive(Debug, thiserror::Error)]
pub enum EveError {
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} is a {found}, which is not what suricata.eve_filetype says", path.display())]
    Kind { path: PathBuf, found: &'static str },
    #[error("cannot listen on {}: {source}", path.display())]
    Listen { path: PathBuf, source: io::Error },
}

/// How far one file has been read: what must survive a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvePosition {
    /// The file's first bytes.
    pub head: Arc<[u8]>,
    /// End of the last line that was read whole.
    pub offset: u64,
    /// When the file was last written to, then: nanoseconds since 1970.
    pub modified_ns: i64,
}

/// Where to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// Only what is written from now on.
    End,
    /// All that is there.
    Beginning,
    /// Where an earlier run got, as `positions` told.
    After(Vec<EvePosition>),
}

/// Running totals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FollowStats {
    pub lines: LineStats,
    /// Times another file took the name, and times the file was emptied.
    pub renames: u64,
    pub truncations: u64,
    /// Files left unread for a while because too many were read.
    pub files_refused: u64,
    /// Bytes that stand written and are not read yet.
    pub behind_bytes: u64,
}

/// One path and what it was rotated to.
#[derive(Debug)]
pub struct Follower {
    path: PathBuf,
    name: Name,
    /// In the order in which they are read: what was rotated away first.
    files: Vec<Tracked>,
    /// Files that were read and let go, or that a restart left: a copy or a rename of them goes on from there.
    left: Vec<EvePosition>,
    /// Files with nothing new: they are not opened again until they change.
    still: BTreeMap<FileId, Still>,
    /// Which file has the name now.
    current: Option<FileId>,
    looked: bool,
    /// The last look found more files than can be read at once.
    crowded: bool,
    /// Files that are there at the first look are not read from their beginning.
    at_end: bool,
    stats: FollowStats,
    buffer: Vec<u8>,
}

/// Device and inode.
type FileId = (u64, u64);

/// A file as it was when it had nothing new.
#[derive(Clone, Copy, Debug)]
struct Still {
    /// Length and time of the last write.
    stamp: (u64, i64),
    /// Whether what it holds is read elsewhere, in the file that it is a copy of.
    is_copy: bool,
}

/// Which names belong to the followed one: `eve.json.1`, `eve.json-20260101`, `eve-2026-01-01.json`, `eve.3.json`.
#[derive(Debug)]
struct Name {
    whole: String,
    stem: String,
    ending: String,
}

impl Name {
    fn of(path: &Path) -> Self {
        let text =
            |part: Option<&std::ffi::OsStr>| part.map(|part| part.to_string_lossy().into_owned()).unwrap_or_default();
        Self { whole: text(path.file_name()), stem: text(path.file_stem()), ending: text(path.extension()) }
    }

    fn covers(&self, name: &str) -> bool {
        if name == self.whole {
            return true;
        }
        let packed = [".gz", ".xz", ".bz2", ".zst"].iter().any(|ending| name.ends_with(ending));
        let marked = |rest: &str| rest.starts_with(['.', '-']);
        let rotated = name.strip_prefix(&self.whole).is_some_and(marked);
        let dated = name.strip_prefix(&self.stem).is_some_and(marked) && name.ends_with(&format!(".{}", self.ending));
        !packed && (rotated || dated)
    }
}

#[derive(Debug)]
struct Tracked {
    file: File,
    id: FileId,
    head: Vec<u8>,
    /// The last bytes before `offset`.
    tail: Vec<u8>,
    offset: u64,
    lines: Lines,
    grew_ns: u64,
}

impl Follower {
    pub fn new(path: &Path, start: Start) -> Self {
        let (at_end, left) = match start {
            Start::End => (true, Vec::new()),
            Start::Beginning => (false, Vec::new()),
            Start::After(positions) => (false, positions),
        };
        Self {
            path: path.to_owned(),
            name: Name::of(path),
            files: Vec::new(),
            left,
            still: BTreeMap::new(),
            current: None,
            looked: false,
            crowded: false,
            at_end,
            stats: FollowStats::default(),
            buffer: Vec::new(),
        }
    }

    /// Reads what is new, at most about `bytes_max`, and calls `take` with every line. Tells whether there is more.
    ///
    /// `now_ns` may be of any clock that does not jump.
    pub fn poll(&mut self, now_ns: u64, bytes_max: usize, mut take: impl FnMut(&[u8])) -> Result<bool, EveError> {
        self.crowded = false;
        let found = self.look(now_ns);
        let mut left_bytes = bytes_max;
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.resize(READ_BYTES, 0);
        let mut at = 0;
        while at < self.files.len() {
            let Some(file) = self.files.get_mut(at) else { break };
            match file.read(now_ns, &mut buffer, &mut left_bytes, &mut take) {
                Ok(Reading::Goes) => at += 1,
                Ok(Reading::Truncated) => {
                    self.stats.truncations += 1;
                    let (position, lines) = file.begin_anew(now_ns);
                    self.stats.lines.add(lines);
                    self.leave(position);
                    // A copy of it that was passed over may hold what was not read here.
                    self.still.retain(|_, still| !still.is_copy);
                }
                Err(_) => self.drop_file(at),
            }
        }
        self.buffer = buffer;
        self.let_go(now_ns);
        self.stats.behind_bytes = self.files.iter().map(Tracked::behind).sum();
        found?;
        let progress = left_bytes < bytes_max;
        Ok((left_bytes == 0 && self.stats.behind_bytes > 0) || (self.crowded && progress))
    }

    /// Takes up files that are new.
    fn look(&mut self, now_ns: u64) -> Result<(), EveError> {
        let failed = |source| EveError::Read { path: self.path.clone(), source };
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut found: Vec<(Metadata, PathBuf)> = Vec::new();
        let mut there = BTreeSet::new();
        for entry in fs::read_dir(folder).map_err(failed)? {
            let Ok(entry) = entry else { continue };
            if entry.file_name().to_str().is_some_and(|name| name != self.name.whole && self.name.covers(name))
                && let Ok(metadata) = entry.metadata()
                && metadata.is_file()
            {
                there.insert(id(&metadata));
                found.push((metadata, entry.path()));
            }
        }
        // In the order in which they were last written to.
        found.sort_by_key(|(metadata, path)| (modified_ns(metadata), path.clone()));
        // The name itself may be a link. It comes first: whatever else there is, this one is followed.
        let current = match fs::metadata(&self.path) {
            Ok(metadata) if !metadata.is_file() => {
                return Err(EveError::Kind { path: self.path.clone(), found: kind(&metadata) });
            }
            Ok(metadata) => {
                there.insert(id(&metadata));
                let current = id(&metadata);
                found.insert(0, (metadata, self.path.clone()));
                Some(current)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(source) => return Err(EveError::Read { path: self.path.clone(), source }),
        };
        if current.is_some() && current != self.current {
            self.stats.renames += u64::from(self.current.is_some());
            self.current = current;
        }
        let first = !std::mem::replace(&mut self.looked, true);
        let forgotten_before_ns = self.left.iter().map(|left| left.modified_ns).min().filter(|_| first);
        let mut failure = None;
        self.still.retain(|id, _| there.contains(id));
        for (metadata, path) in found {
            let known = self.still.get(&id(&metadata)).is_some_and(|still| still.stamp == stamp(&metadata));
            if known || metadata.len() == 0 || self.files.iter().any(|file| file.id == id(&metadata)) {
                continue;
            }
            match File::open(&path) {
                Ok(file) => self.take_up(file, first, forgotten_before_ns, now_ns),
                // It went away meanwhile, and will be found by its new name.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => failure = Some(EveError::Read { path, source }),
            }
        }
        self.files.sort_by_key(|file| Some(file.id) == self.current);
        failure.map_or(Ok(()), Err)
    }

    fn take_up(&mut self, file: File, first: bool, forgotten_before_ns: Option<i64>, now_ns: u64) {
        // Of the file that was opened: another may have its name by now.
        let Ok(metadata) = file.metadata() else { return };
        let is_current = self.current == Some(id(&metadata));
        if self.files.iter().any(|known| known.id == id(&metadata)) {
            return;
        }
        let mut head = vec![0; HEAD_BYTES];
        let Ok(len) = read_at(&file, &mut head, 0) else { return };
        head.truncate(len);
        // Half a line could be the beginning of many files.
        if len < HEAD_BYTES && !head.contains(&b'\n') {
            return;
        }
        if let Some(at) = self.files.iter().position(|known| same_head(&known.head, &head)) {
            // A copy of a file that is being read: what it holds is read there, unless that one is truncated.
            if !is_current {
                return self.keep_still(&metadata, true);
            }
            // A copy took the name: it is the one that will grow.
            self.drop_file(at);
        }
        let earlier = self.left.iter().find(|left| same_head(&left.head, &head) && left.offset <= metadata.len());
        let forgotten = forgotten_before_ns.is_some_and(|oldest_ns| modified_ns(&metadata) < oldest_ns);
        let offset = match earlier {
            Some(left) => left.offset,
            None if first && (self.at_end || forgotten) => last_line_end(&file, metadata.len()),
            None => 0,
        };
        if offset >= metadata.len() && !is_current {
            self.leave(EvePosition { head: head.into(), offset, modified_ns: modified_ns(&metadata) });
            return self.keep_still(&metadata, false);
        }
        if self.files.len() >= FILES_MAX && !self.make_room() {
            self.stats.files_refused += 1;
            self.crowded = true;
            return;
        }
        let mut tracked = Tracked {
            file,
            id: id(&metadata),
            head,
            tail: Vec::new(),
            offset,
            lines: Lines::default(),
            grew_ns: now_ns,
        };
        tracked.remember_tail();
        self.files.push(tracked);
    }

    fn leave(&mut self, position: EvePosition) {
        if position.head.is_empty() {
            return;
        }
        self.left.retain(|left| !same_head(&left.head, &position.head));
        self.left.push(position);
        if self.left.len() > LEFT_MAX
            && let Some(oldest) = (0..self.left.len()).min_by_key(|at| self.left.get(*at).map(|left| left.modified_ns))
        {
            self.left.remove(oldest);
        }
    }

    fn keep_still(&mut self, metadata: &Metadata, is_copy: bool) {
        if self.still.len() < STILL_MAX {
            self.still.insert(id(metadata), Still { stamp: stamp(metadata), is_copy });
        }
    }

    /// Lets go of the file that is silent for longest, if any is read to its end.
    fn make_room(&mut self) -> bool {
        let done =
            |file: &Tracked| Some(file.id) != self.current && file.lines.pending_bytes() == 0 && file.behind() == 0;
        let files = self.files.iter().enumerate().filter(|(_, file)| done(file));
        let Some((at, _)) = files.min_by_key(|(_, file)| file.grew_ns) else { return false };
        self.drop_file(at);
        true
    }

    fn drop_file(&mut self, at: usize) {
        let mut file = self.files.remove(at);
        let position = file.position();
        if let Ok(metadata) = file.file.metadata()
            && metadata.len() <= file.offset
        {
            self.keep_still(&metadata, false);
        }
        file.lines.end();
        self.stats.lines.add(file.lines.stats());
        self.leave(position);
    }

    /// Lets go of files that were rotated away and have fallen silent.
    fn let_go(&mut self, now_ns: u64) {
        let mut at = 0;
        while let Some(file) = self.files.get(at) {
            let silent = now_ns.saturating_sub(file.grew_ns) >= LINGER_NS && file.behind() == 0;
            if silent && self.current.is_some() && self.current != Some(file.id) {
                self.drop_file(at);
            } else {
                at += 1;
            }
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where to go on after a restart.
    pub fn positions(&self) -> Vec<EvePosition> {
        self.files.iter().map(Tracked::position).chain(self.left.iter().cloned()).collect()
    }

    pub fn stats(&self) -> FollowStats {
        let mut stats = self.stats;
        for file in &self.files {
            stats.lines.add(file.lines.stats());
        }
        stats
    }
}

enum Reading {
    Goes,
    Truncated,
}

impl Tracked {
    fn read(
        &mut self,
        now_ns: u64,
        buffer: &mut [u8],
        left_bytes: &mut usize,
        take: &mut impl FnMut(&[u8]),
    ) -> io::Result<Reading> {
        while *left_bytes > 0 {
            let room = buffer.len().min(*left_bytes);
            let len = read_at(&self.file, &mut buffer[..room], self.offset)?;
            // Looked at behind the read: what was emptied before it shows now, and what is emptied later was read in time.
            let is_other = self.offset == 0 && !self.head.is_empty() && !same_head(&self.head, &buffer[..len]);
            if is_other || !self.stands()? {
                return Ok(Reading::Truncated);
            }
            if len == 0 {
                break;
            }
            *left_bytes -= len;
            let bytes = &buffer[..len];
            if self.head.len() < HEAD_BYTES && self.head.len() as u64 == self.offset {
                let more = (HEAD_BYTES - self.head.len()).min(len);
                self.head.extend_from_slice(&bytes[..more]);
            }
            self.lines.push(bytes, &mut *take);
            self.offset += len as u64;
            self.grew_ns = now_ns;
            self.tail.extend_from_slice(&bytes[len.saturating_sub(TAIL_BYTES)..]);
            let surplus = self.tail.len().saturating_sub(TAIL_BYTES);
            self.tail.drain(..surplus);
        }
        Ok(Reading::Goes)
    }

    /// Whether what was read still stands where it stood.
    fn stands(&self) -> io::Result<bool> {
        if self.file.metadata()?.len() < self.offset {
            return Ok(false);
        }
        let mut tail = [0; TAIL_BYTES];
        let tail = &mut tail[..self.tail.len()];
        let len = read_at(&self.file, tail, self.offset - self.tail.len() as u64)?;
        Ok(tail[..len] == self.tail)
    }

    fn remember_tail(&mut self) {
        let len = self.offset.min(TAIL_BYTES as u64);
        let mut tail = vec![0; len as usize];
        if read_at(&self.file, &mut tail, self.offset - len).is_ok_and(|read| read as u64 == len) {
            self.tail = tail;
        }
    }

    /// The file was emptied and is written anew. Gives where it stood, and what was counted.
    fn begin_anew(&mut self, now_ns: u64) -> (EvePosition, LineStats) {
        let position = self.position();
        self.lines.end();
        let stats = std::mem::take(&mut self.lines).stats();
        self.head.clear();
        self.tail.clear();
        self.offset = 0;
        self.grew_ns = now_ns;
        (position, stats)
    }

    fn position(&self) -> EvePosition {
        EvePosition {
            head: self.head.as_slice().into(),
            offset: self.offset - self.lines.pending_bytes().min(self.offset),
            modified_ns: self.file.metadata().map_or(0, |metadata| modified_ns(&metadata)),
        }
    }

    fn behind(&self) -> u64 {
        self.file.metadata().map_or(0, |metadata| metadata.len().saturating_sub(self.offset))
    }
}

/// One is the beginning of the other; nothing begins nothing.
fn same_head(one: &[u8], other: &[u8]) -> bool {
    let len = one.len().min(other.len());
    len > 0 && one[..len] == other[..len]
}

fn id(metadata: &Metadata) -> FileId {
    (metadata.dev(), metadata.ino())
}

/// What changes when a file is written to.
fn stamp(metadata: &Metadata) -> (u64, i64) {
    (metadata.len(), modified_ns(metadata))
}

/// The end of the last whole line before `len`; `len` itself where there is none near.
fn last_line_end(file: &File, len: u64) -> u64 {
    let mut tail = vec![0; READ_BYTES];
    let from = len.saturating_sub(tail.len() as u64);
    let read = read_at(file, &mut tail, from).unwrap_or(0);
    let end = tail.get(..read).and_then(|tail| memchr::memrchr(b'\n', tail));
    end.map_or(len, |end| from + end as u64 + 1)
}

fn modified_ns(metadata: &Metadata) -> i64 {
    metadata.mtime().saturating_mul(1_000_000_000).saturating_add(metadata.mtime_nsec())
}

pub(super) fn kind(metadata: &Metadata) -> &'static str {
    let kind = metadata.file_type();
    if kind.is_file() {
        "file"
    } else if kind.is_dir() {
        "directory"
    } else if kind.is_fifo() {
        "FIFO"
    } else if kind.is_socket() {
        "socket"
    } else {
        "device"
    }
}

fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(len) => filled += len,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests;
