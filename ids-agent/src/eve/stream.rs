//! eve.json through a FIFO, or through a socket that Suricata connects to. What is not read waits at the writer, which is
//! all the back-pressure there is; nothing is kept over a restart.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Read},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::{
            fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt},
            net::{UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
};

use rustix::fs::OFlags;

use super::{
    follow::{EveError, kind},
    read::{LineStats, Lines},
};

const READ_BYTES: usize = 64 << 10;
/// Connections at once: Suricata opens one for each of its outputs.
const CLIENTS_MAX: usize = 16;
/// Owner and group may connect: Suricata often runs as a user of its own.
const SOCKET_MODE: u32 = 0o660;

/// The reading end of a FIFO.
#[derive(Debug)]
pub(super) struct Fifo {
    path: PathBuf,
    open: Option<(File, (u64, u64))>,
    lines: Lines,
}

impl Fifo {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), open: None, lines: Lines::default() }
    }

    /// Reads what is there, at most `bytes_max`; tells whether there may be more.
    pub(super) fn poll(&mut self, bytes_max: usize, mut take: impl FnMut(&[u8])) -> Result<bool, EveError> {
        let failed = |source| EveError::Read { path: self.path.clone(), source };
        let metadata = fs::metadata(&self.path).map_err(failed)?;
        if !metadata.file_type().is_fifo() {
            return Err(EveError::Kind { path: self.path.clone(), found: kind(&metadata) });
        }
        let id = (metadata.dev(), metadata.ino());
        let file = match self.open.take() {
            Some((file, known)) if known == id => file,
            Some(_) => {
                self.lines.end();
                reading_end(&self.path).map_err(failed)?
            }
            None => reading_end(&self.path).map_err(failed)?,
        };
        let reading = pour(&mut &file, bytes_max, &mut self.lines, &mut take);
        self.open = Some((file, id));
        match reading.map_err(failed)? {
            Pour::Full => Ok(true),
            Pour::Empty => Ok(false),
            Pour::Ended => {
                // No writer is left. Opened anew it waits for the next one; what a writer wrote meanwhile stays, for
                // the old end is closed after the new one is open.
                self.lines.end();
                self.open = Some((reading_end(&self.path).map_err(failed)?, id));
                Ok(false)
            }
        }
    }

    pub(super) fn stats(&self) -> LineStats {
        self.lines.stats()
    }

    pub(super) fn fds(&self) -> Vec<BorrowedFd<'_>> {
        self.open.iter().map(|(file, _)| file.as_fd()).collect()
    }
}

fn reading_end(path: &Path) -> io::Result<File> {
    // Without a writer, a blocking open would wait for one.
    OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits() as i32).open(path)
}

/// The socket on which Suricata's `unix_stream` output is heard.
#[derive(Debug)]
pub(super) struct Socket {
    path: PathBuf,
    listener: Option<(UnixListener, (u64, u64))>,
    clients: Vec<(UnixStream, Lines)>,
    /// What connections counted that are gone.
    done: LineStats,
    refused: u64,
}

impl Socket {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), listener: None, clients: Vec::new(), done: LineStats::default(), refused: 0 }
    }

    /// Reads what is there, at most about `bytes_max`; tells whether there may be more.
    pub(super) fn poll(&mut self, bytes_max: usize, mut take: impl FnMut(&[u8])) -> Result<bool, EveError> {
        let listening = self.listen().and_then(|()| self.accept());
        let mut more = false;
        let share = (bytes_max / self.clients.len().max(1)).max(READ_BYTES);
        let mut at = 0;
        while let Some((client, lines)) = self.clients.get_mut(at) {
            match pour(client, share, lines, &mut take) {
                Ok(Pour::Full) => more = true,
                Ok(Pour::Empty) => {}
                Ok(Pour::Ended) | Err(_) => {
                    lines.end();
                    self.done.add(lines.stats());
                    self.clients.remove(at);
                    continue;
                }
            }
            at += 1;
        }
        listening.map(|()| more)
    }

    /// Makes the socket where it is not there, or not there any more.
    fn listen(&mut self) -> Result<(), EveError> {
        let found = fs::symlink_metadata(&self.path).ok();
        if let (Some((_, ours)), Some(found)) = (&self.listener, &found)
            && *ours == (found.dev(), found.ino())
        {
            return Ok(());
        }
        self.listener = None;
        let failed = |source| EveError::Listen { path: self.path.clone(), source };
        if let Some(found) = found {
            if !found.file_type().is_socket() {
                return Err(EveError::Kind { path: self.path.clone(), found: kind(&found) });
            }
            // What an agent left that was killed; but nobody's socket is taken away who still listens.
            if UnixStream::connect(&self.path).is_ok() {
                return Err(failed(io::Error::from(io::ErrorKind::AddrInUse)));
            }
            fs::remove_file(&self.path).map_err(failed)?;
        }
        let listener = UnixListener::bind(&self.path).map_err(failed)?;
        fs::set_permissions(&self.path, Permissions::from_mode(SOCKET_MODE)).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let made = fs::symlink_metadata(&self.path).map_err(failed)?;
        self.listener = Some((listener, (made.dev(), made.ino())));
        Ok(())
    }

    fn accept(&mut self) -> Result<(), EveError> {
        let failed = |source| EveError::Listen { path: self.path.clone(), source };
        let Some((listener, _)) = &self.listener else { return Ok(()) };
        loop {
            match listener.accept() {
                Ok((client, _)) if self.clients.len() < CLIENTS_MAX => {
                    client.set_nonblocking(true).map_err(failed)?;
                    self.clients.push((client, Lines::default()));
                }
                Ok(_) => self.refused += 1,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(failed(source)),
            }
        }
    }

    pub(super) fn stats(&self) -> LineStats {
        let mut stats = self.done;
        self.clients.iter().for_each(|(_, lines)| stats.add(lines.stats()));
        stats
    }

    pub(super) fn refused(&self) -> u64 {
        self.refused
    }

    pub(super) fn fds(&self) -> Vec<BorrowedFd<'_>> {
        let listener = self.listener.iter().map(|(listener, _)| listener.as_fd());
        listener.chain(self.clients.iter().map(|(client, _)| client.as_fd())).collect()
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Some((_, ours)) = &self.listener
            && fs::symlink_metadata(&self.path).is_ok_and(|found| *ours == (found.dev(), found.ino()))
        {
            // A socket that nobody listens on would be removed at the next start anyway.
            let _ = fs::remove_file(&self.path);
        }
    }
}

enum Pour {
    /// As much was read as may be.
    Full,
    Empty,
    Ended,
}

fn pour(from: &mut impl Read, bytes_max: usize, lines: &mut Lines, take: &mut impl FnMut(&[u8])) -> io::Result<Pour> {
    let mut buffer = [0; READ_BYTES];
    let mut left = bytes_max;
    while left > 0 {
        let room = buffer.len().min(left);
        let Some(room) = buffer.get_mut(..room) else { break };
        match from.read(room) {
            Ok(0) => return Ok(Pour::Ended),
            Ok(len) => {
                left -= len.min(left);
                lines.push(room.get(..len).unwrap_or(&[]), &mut *take);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Pour::Empty),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Pour::Full)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed step fails the test")]
    use std::io::Write;

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    fn fifo_at(path: &Path) {
        mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    }

    fn text(line: &[u8]) -> String {
        String::from_utf8_lossy(line).into_owned()
    }

    #[test]
    fn writers_of_a_fifo_come_and_go_and_a_half_line_of_the_last_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("eve.json");
        let mut fifo = Fifo::new(&path);
        assert!(fifo.poll(1 << 20, |_| {}).is_err(), "it is not there yet");
        fifo_at(&path);
        let mut told = Vec::new();
        assert!(!fifo.poll(1 << 20, |line| told.push(text(line))).unwrap());
        for round in 0..3 {
            let mut writer = OpenOptions::new().write(true).open(&path).unwrap();
            writeln!(writer, "whole {round}").unwrap();
            write!(writer, "half").unwrap();
            fifo.poll(1 << 20, |line| told.push(text(line))).unwrap();
            drop(writer);
            fifo.poll(1 << 20, |line| told.push(text(line))).unwrap();
        }
        assert_eq!(told, ["whole 0", "whole 1", "whole 2"]);
        let stats = fifo.stats();
        assert_eq!((stats.lines, stats.cut, stats.bytes), (3, 3, stats.bytes_settled()));
    }

    #[test]
    fn what_is_not_read_of_a_fifo_holds_its_writer_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("eve.json");
        fifo_at(&path);
        let mut fifo = Fifo::new(&path);
        fifo.poll(1, |_| {}).unwrap();
        let flags = OFlags::NONBLOCK.bits() as i32;
        let mut writer = OpenOptions::new().write(true).custom_flags(flags).open(&path).unwrap();
        let mut written = 0;
        let error = loop {
            match writer.write(&[b'x'; 1_000]) {
                Ok(len) => written += len,
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        assert!(fifo.poll(10_000, |_| {}).unwrap(), "there is more");
        assert_eq!(fifo.stats().bytes, 10_000);
        while fifo.poll(10_000, |_| {}).unwrap() {}
        assert_eq!(fifo.stats().bytes, written as u64);
    }

    #[test]
    fn suricata_connects_breaks_off_and_connects_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("eve.sock");
        let mut socket = Socket::new(&path);
        let mut told = Vec::new();
        assert!(!socket.poll(1 << 20, |_| {}).unwrap());
        for round in 0..3 {
            let mut suricata = UnixStream::connect(&path).unwrap();
            writeln!(suricata, "line {round}").unwrap();
            write!(suricata, "ha").unwrap();
            drop(suricata);
            socket.poll(1 << 20, |line| told.push(text(line))).unwrap();
        }
        assert_eq!(told, ["line 0", "line 1", "line 2"]);
        assert_eq!((socket.stats().cut, socket.clients.len()), (3, 0));
        drop(socket);
        assert!(!path.exists(), "it is taken away in the end");
    }

    #[test]
    fn a_socket_left_behind_is_replaced_and_one_in_use_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("eve.sock");
        // A listener that is dropped leaves its name.
        drop(UnixListener::bind(&path).unwrap());
        let mut socket = Socket::new(&path);
        assert!(socket.poll(1, |_| {}).is_ok());
        let mut second = Socket::new(&path);
        let error = second.poll(1, |_| {}).unwrap_err().to_string();
        assert!(error.contains("in use"), "{error}");
        drop(second);
        assert!(UnixStream::connect(&path).is_ok(), "the first still listens");
        fs::remove_file(&path).unwrap();
        assert!(socket.poll(1, |_| {}).is_ok());
        assert!(UnixStream::connect(&path).is_ok(), "made anew");
        fs::remove_file(&path).unwrap();
        fs::write(&path, "a file").unwrap();
        assert!(socket.poll(1, |_| {}).unwrap_err().to_string().contains("is a file"));
    }

    #[test]
    fn connections_are_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("eve.sock");
        let mut socket = Socket::new(&path);
        socket.poll(1, |_| {}).unwrap();
        let clients: Vec<UnixStream> = (0..CLIENTS_MAX + 3).map(|_| UnixStream::connect(&path).unwrap()).collect();
        socket.poll(1, |_| {}).unwrap();
        assert_eq!((socket.clients.len(), socket.refused()), (CLIENTS_MAX, 3));
        drop(clients);
    }
}
