//! Follows eve.json while Suricata writes it: through rotation by rename and by copy and truncation, restarts of either
//! side, and names with dates or thread numbers. Reads no clock; what it may read at once is bounded.
//!
//! A file is known by its first bytes, not by its inode: those of deleted files come back, and a copy has another.

use std::{
    collections::VecDeque,
    fs::{self, File, Metadata},
    io,
    os::unix::fs::{FileExt, FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
};

use super::read::{LineStats, Lines};

/// Bytes by which a file is known. The first line of eve.json has a time in microseconds.
const HEAD_BYTES: usize = 256;
/// Bytes before the place of reading that must still stand there.
const TAIL_BYTES: usize = 64;
/// Files read at once, and files remembered after that.
const FILES_MAX: usize = 32;
const FORGOTTEN_AFTER: usize = 64;
const READ_BYTES: usize = 256 << 10;
/// A file that no longer has the followed name is let go after so long without growth: its writer reopens within
/// moments of the rotation.
const LINGER_NS: u64 = 10_000_000_000;

/// Why nothing can be followed now. It is tried again with every poll.
#[derive(Debug, thiserror::Error)]
pub enum EveError {
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} is a {found}, not a file, a FIFO or a socket", path.display())]
    Kind { path: PathBuf, found: &'static str },
}

/// How far one file has been read: what must survive a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvePosition {
    /// The file's first bytes.
    pub head: Vec<u8>,
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
    /// Files taken up, truncations seen, files left unread because too many were.
    pub files: u64,
    pub truncations: u64,
    pub files_refused: u64,
    /// Bytes that stand written and are not read yet.
    pub behind_bytes: u64,
}

/// One path and what it was rotated to.
#[derive(Debug)]
pub struct Follower {
    path: PathBuf,
    name: Name,
    files: Vec<Tracked>,
    /// Files that were read and let go, or that a restart left: a copy or a rename of them goes on from there.
    left: VecDeque<EvePosition>,
    looked: bool,
    /// Files that are there at the first look are not read from their beginning.
    at_end: bool,
    stats: FollowStats,
    buffer: Vec<u8>,
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
    id: (u64, u64),
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
            at_end,
            left: left.into(),
            looked: false,
            stats: FollowStats::default(),
            buffer: Vec::new(),
        }
    }

    /// Reads what is new, at most about `bytes_max`, and calls `take` with every line. Tells whether there is more.
    ///
    /// `now_ns` may be of any clock that does not jump.
    pub fn poll(&mut self, now_ns: u64, bytes_max: usize, mut take: impl FnMut(&[u8])) -> Result<bool, EveError> {
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
                    let was = file.begin_anew(now_ns);
                    self.stats.lines.add(was.1);
                    self.leave(was.0);
                }
                Err(_) => self.drop_file(at),
            }
        }
        self.buffer = buffer;
        self.let_go(now_ns);
        self.stats.behind_bytes = self.files.iter().map(Tracked::behind).sum();
        found?;
        Ok(left_bytes == 0 && self.stats.behind_bytes > 0)
    }

    /// Takes up files that are new.
    fn look(&mut self, now_ns: u64) -> Result<(), EveError> {
        let failed = |source| EveError::Read { path: self.path.clone(), source };
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut found: Vec<(Metadata, PathBuf)> = Vec::new();
        for entry in fs::read_dir(folder).map_err(failed)? {
            let Ok(entry) = entry else { continue };
            if entry.file_name().to_str().is_some_and(|name| self.name.covers(name))
                && let Ok(metadata) = entry.metadata()
                && metadata.is_file()
                && metadata.len() > 0
                && !self.files.iter().any(|file| file.id == id(&metadata))
            {
                found.push((metadata, entry.path()));
            }
        }
        if let Ok(metadata) = fs::metadata(&self.path)
            && !metadata.is_file()
        {
            return Err(EveError::Kind { path: self.path.clone(), found: kind(&metadata) });
        }
        // In the order in which they were last written to.
        found.sort_by_key(|(metadata, path)| (modified_ns(metadata), path.clone()));
        let first = !std::mem::replace(&mut self.looked, true);
        let mut failure = None;
        for (_, path) in found {
            match File::open(&path) {
                Ok(file) => self.take_up(file, first, now_ns),
                // It went away meanwhile, and will be found by its new name.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => failure = Some(EveError::Read { path, source }),
            }
        }
        failure.map_or(Ok(()), Err)
    }

    fn take_up(&mut self, file: File, first: bool, now_ns: u64) {
        let Ok(metadata) = file.metadata() else { return };
        let mut head = vec![0; HEAD_BYTES];
        let Ok(len) = read_at(&file, &mut head, 0) else { return };
        head.truncate(len);
        // Half a line could be the beginning of many files.
        if len < HEAD_BYTES && !head.contains(&b'\n') {
            return;
        }
        // A copy of a file that is being read: what it holds is read there, unless that one is truncated.
        if self.files.iter().any(|known| same_head(&known.head, &head)) {
            return;
        }
        let earlier = self.left.iter().position(|left| same_head(&left.head, &head) && left.offset <= metadata.len());
        let offset = match earlier {
            Some(at) => self.left.get(at).map_or(0, |left| left.offset),
            None if first && self.at_end => metadata.len(),
            None if first && self.is_forgotten(&metadata) => metadata.len(),
            None => 0,
        };
        if self.files.len() >= FILES_MAX {
            self.stats.files_refused += 1;
            return;
        }
        self.stats.files += 1;
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

    /// Whether the file was last written to before all that are remembered: it was read, and forgotten since.
    fn is_forgotten(&self, metadata: &Metadata) -> bool {
        self.left.iter().map(|left| left.modified_ns).min().is_some_and(|oldest_ns| modified_ns(metadata) < oldest_ns)
    }

    fn leave(&mut self, position: EvePosition) {
        self.left.retain(|left| !same_head(&left.head, &position.head));
        self.left.push_back(position);
        if self.left.len() > FORGOTTEN_AFTER {
            self.left.pop_front();
        }
    }

    fn drop_file(&mut self, at: usize) {
        let mut file = self.files.remove(at);
        let position = file.position();
        file.lines.end();
        self.stats.lines.add(file.lines.stats());
        self.leave(position);
    }

    /// Lets go of files that were rotated away and have fallen silent.
    fn let_go(&mut self, now_ns: u64) {
        let current = fs::metadata(&self.path).ok().map(|metadata| id(&metadata));
        let mut at = 0;
        while let Some(file) = self.files.get(at) {
            let silent = now_ns.saturating_sub(file.grew_ns) >= LINGER_NS && file.behind() == 0;
            if silent && current.is_some() && current != Some(file.id) {
                self.drop_file(at);
            } else {
                at += 1;
            }
        }
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
        if !self.stands()? {
            return Ok(Reading::Truncated);
        }
        while *left_bytes > 0 {
            let room = buffer.len().min(*left_bytes);
            let len = read_at(&self.file, &mut buffer[..room], self.offset)?;
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
            head: self.head.clone(),
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

fn id(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

fn modified_ns(metadata: &Metadata) -> i64 {
    metadata.mtime().saturating_mul(1_000_000_000).saturating_add(metadata.mtime_nsec())
}

fn kind(metadata: &Metadata) -> &'static str {
    let kind = metadata.file_type();
    if kind.is_dir() {
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
mod tests {
    use std::{fs::OpenOptions, io::Write};

    use proptest::prelude::*;

    use super::*;

    const SEC: u64 = 1_000_000_000;

    /// A writer of numbered lines and a follower of them.
    struct Rig {
        folder: tempfile::TempDir,
        writer: File,
        written: u64,
        follower: Follower,
        told: Vec<String>,
        now_ns: u64,
    }

    impl Rig {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("eve.json");
            let follower = Follower::new(&path, Start::Beginning);
            Self { writer: open(&path), folder, written: 0, follower, told: Vec::new(), now_ns: 0 }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        fn write(&mut self, lines: u64) {
            for _ in 0..lines {
                writeln!(self.writer, "{{\"line\":{:08}}}", self.written).unwrap();
                self.written += 1;
            }
        }

        fn poll(&mut self) {
            let told = &mut self.told;
            while self
                .follower
                .poll(self.now_ns, 1 << 20, |line| told.push(String::from_utf8_lossy(line).into()))
                .unwrap()
            {}
        }

        /// As logrotate does it by default: names move up by one, and the writer opens the first anew.
        fn rename(&mut self) {
            for number in (1..5).rev() {
                let _missing = fs::rename(
                    self.path(&format!("eve.json.{number}")),
                    self.path(&format!("eve.json.{}", number + 1)),
                );
            }
            fs::rename(self.path("eve.json"), self.path("eve.json.1")).unwrap();
        }

        fn reopen(&mut self) {
            self.writer = open(&self.path("eve.json"));
        }

        fn copy_and_truncate(&mut self) {
            for number in (1..5).rev() {
                let _missing = fs::rename(
                    self.path(&format!("eve.json.{number}")),
                    self.path(&format!("eve.json.{}", number + 1)),
                );
            }
            fs::copy(self.path("eve.json"), self.path("eve.json.1")).unwrap();
            self.writer.set_len(0).unwrap();
        }

        fn restart(&mut self) {
            self.follower = Follower::new(&self.path("eve.json"), Start::After(self.follower.positions()));
        }

        /// Every line once; in order, if they came from one file after the other.
        fn check(&mut self) {
            self.poll();
            self.told.sort();
            let told: Vec<u64> = self.told.iter().filter_map(|line| line.get(8..16)?.parse().ok()).collect();
            let missing: Vec<u64> = (0..self.written).filter(|line| !told.contains(line)).collect();
            let repeated: Vec<&[u64]> = told.windows(2).filter(|pair| pair[0] == pair[1]).collect();
            assert!(missing.is_empty() && repeated.is_empty(), "missing {missing:?}, repeated {repeated:?}");
            assert_eq!(self.told.len() as u64, self.written);
        }
    }

    fn open(path: &Path) -> File {
        OpenOptions::new().create(true).append(true).open(path).unwrap()
    }

    #[test]
    fn lines_come_as_they_are_written_and_halves_wait() {
        let mut rig = Rig::new();
        rig.write(3);
        rig.poll();
        assert_eq!(rig.told.len(), 3);
        rig.writer.write_all(b"{\"line\":").unwrap();
        rig.poll();
        assert_eq!(rig.told.len(), 3);
        rig.writer.write_all(b"00000003}\n").unwrap();
        rig.written += 1;
        rig.check();
    }

    #[test]
    fn what_is_written_to_the_old_file_after_its_rename_is_read_too() {
        let mut rig = Rig::new();
        rig.write(2);
        rig.poll();
        rig.rename();
        rig.write(2);
        rig.poll();
        rig.reopen();
        rig.write(2);
        rig.check();
    }

    #[test]
    fn a_copy_is_not_read_twice_and_what_only_it_has_is_read() {
        let mut rig = Rig::new();
        rig.write(5);
        rig.poll();
        // Seen by nobody before the truncation but in the copy.
        rig.write(5);
        rig.copy_and_truncate();
        rig.write(30);
        rig.poll();
        assert_eq!(rig.follower.stats().truncations, 1);
        rig.check();
    }

    #[test]
    fn a_truncated_file_that_grew_past_its_old_length_is_noticed() {
        let mut rig = Rig::new();
        rig.write(3);
        rig.poll();
        rig.copy_and_truncate();
        rig.write(500);
        rig.check();
    }

    #[test]
    fn a_restart_goes_on_where_it_was_even_if_the_file_was_rotated_meanwhile() {
        let mut rig = Rig::new();
        rig.write(10);
        rig.poll();
        rig.writer.write_all(b"{\"line\":000").unwrap();
        rig.poll();
        rig.writer.write_all(b"00010}\n").unwrap();
        rig.written += 1;
        rig.rename();
        rig.reopen();
        rig.write(10);
        rig.restart();
        rig.check();
    }

    #[test]
    fn a_first_start_begins_at_the_end_and_misses_nothing_from_then_on() {
        let mut rig = Rig::new();
        rig.write(10);
        rig.follower = Follower::new(&rig.path("eve.json"), Start::End);
        rig.poll();
        assert!(rig.told.is_empty());
        rig.written = 0;
        rig.write(4);
        rig.check();
    }

    #[test]
    fn a_file_that_is_not_there_yet_is_waited_for_and_what_is_no_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("eve.json");
        let mut follower = Follower::new(&path, Start::Beginning);
        assert!(!follower.poll(0, 1 << 20, |_| {}).unwrap());
        fs::create_dir(&path).unwrap();
        let error = follower.poll(0, 1 << 20, |_| {}).unwrap_err();
        assert!(error.to_string().contains("directory"), "{error}");
        let mut nowhere = Follower::new(Path::new("/nonexistent/eve.json"), Start::Beginning);
        assert!(nowhere.poll(0, 1 << 20, |_| {}).is_err());
    }

    #[test]
    fn names_of_threads_and_days_belong_to_it_and_packed_ones_do_not() {
        let name = Name::of(Path::new("/var/log/suricata/eve.json"));
        for (other, covered) in [
            ("eve.json", true),
            ("eve.json.1", true),
            ("eve.json-20260101", true),
            ("eve.3.json", true),
            ("eve-2026-01-01.json", true),
            ("eve.json.2.gz", false),
            ("evening.json", false),
            ("stats.log", false),
        ] {
            assert_eq!(name.covers(other), covered, "{other}");
        }
    }

    #[test]
    fn files_that_were_rotated_away_are_let_go_and_their_number_is_bounded() {
        let mut rig = Rig::new();
        for _ in 0..200 {
            rig.write(1);
            rig.poll();
            rig.rename();
            rig.reopen();
            rig.now_ns += LINGER_NS;
            assert!(rig.follower.files.len() <= 8, "{}", rig.follower.files.len());
        }
        rig.check();
        assert!(rig.follower.left.len() <= FORGOTTEN_AFTER);
    }

    #[derive(Clone, Copy, Debug)]
    enum Act {
        Write(u64),
        Poll,
        Rename,
        CopyAndTruncate,
        Restart,
        Wait,
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 400, failure_persistence: None, ..ProptestConfig::default() })]
        // Six hundred rotations in all, and every line exactly once.
        #[test]
        fn a_storm_of_rotations_loses_nothing_and_repeats_nothing(acts in prop::collection::vec(
            prop_oneof![
                4 => (1u64..40).prop_map(Act::Write),
                4 => Just(Act::Poll),
                3 => Just(Act::Rename),
                1 => Just(Act::CopyAndTruncate),
                1 => Just(Act::Restart),
                1 => Just(Act::Wait),
            ], 40..80)
        ) {
            let mut rig = Rig::new();
            let mut unread = 0;
            for act in acts {
                match act {
                    Act::Write(lines) => rig.write(lines),
                    Act::Poll => { rig.poll(); unread = 0; }
                    // Four names are kept: more rotations than that between two looks delete lines unread.
                    Act::Rename if unread < 3 => { rig.write(1); rig.rename(); rig.write(3); rig.reopen(); rig.write(1); unread += 1; }
                    Act::CopyAndTruncate if unread == 0 => { rig.write(1); rig.poll(); rig.write(2); rig.copy_and_truncate(); rig.write(1); rig.poll(); }
                    Act::Rename | Act::CopyAndTruncate => {}
                    Act::Restart => rig.restart(),
                    Act::Wait => rig.now_ns += SEC * 11,
                }
            }
            rig.check();
        }
    }
}
