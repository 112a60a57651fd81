//! The socket that listens: who may speak, how long a line may be, and how long it may take. One client at a time: each
//! has two seconds to ask and two to read.

use std::{
    fs, io,
    io::{Read as _, Write as _},
    os::unix::{
        fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    net::sockopt::socket_peercred,
    process::geteuid,
};

use super::{Answer, REQUEST_BYTES_MAX, Request};
use crate::clock::Stopwatch;

/// Within this a client has sent its line; within as long again it has read the answer.
const CLIENT_WITHIN: Duration = Duration::from_secs(2);

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    #[error("another agent answers at {}; give this one a control.path of its own", path.display())]
    InUse { path: PathBuf },
    #[error("{} is there and is no socket; remove it, or set control.path", path.display())]
    NotASocket { path: PathBuf },
    #[error("cannot listen at {}: {source}; make its directory writable, or set control.path", path.display())]
    Listen { path: PathBuf, source: io::Error },
}

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    pub uid: u32,
    pub pid: i32,
}

/// A listening socket; its file goes with it.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
    inode: u64,
    /// The group of the file, whose members may speak.
    group: u32,
}

impl Socket {
    /// Takes the place of a socket at which nobody listens any more.
    pub fn open(path: &Path) -> Result<Self, SocketError> {
        let failed = |source| SocketError::Listen { path: path.to_owned(), source };
        if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty() && !dir.exists()) {
            fs::DirBuilder::new().recursive(true).mode(0o755).create(dir).map_err(failed)?;
        }
        match fs::symlink_metadata(path) {
            Err(_) => {}
            Ok(found) if !found.file_type().is_socket() => {
                return Err(SocketError::NotASocket { path: path.to_owned() });
            }
            Ok(_) => match UnixStream::connect(path) {
                Ok(_) => return Err(SocketError::InUse { path: path.to_owned() }),
                Err(_) => fs::remove_file(path).map_err(failed)?,
            },
        }
        let listener = UnixListener::bind(path).map_err(failed)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o660)).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let made = fs::symlink_metadata(path).map_err(failed)?;
        Ok(Self { listener, path: path.to_owned(), inode: made.ino(), group: made.gid() })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Waits for a client, at most so long.
    pub fn wait(&self, at_most: Duration) -> io::Result<Option<UnixStream>> {
        let nanos = i64::from(at_most.subsec_nanos());
        let timeout = Timespec { tv_sec: i64::try_from(at_most.as_secs()).unwrap_or(i64::MAX), tv_nsec: nanos };
        let mut ready = [PollFd::new(&self.listener, PollFlags::IN)];
        if poll(&mut ready, Some(&timeout))? == 0 {
            return Ok(None);
        }
        match self.listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false)?;
                Ok(Some(stream))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Hears one client out and answers.
    pub fn serve(&self, mut stream: UnixStream, handle: &mut dyn FnMut(Request, Peer) -> Answer) -> io::Result<()> {
        let credentials = socket_peercred(&stream)?;
        let peer = Peer { uid: credentials.uid.as_raw(), pid: credentials.pid.as_raw_nonzero().get() };
        // A client that is refused has sent its line first, or it would not hear why.
        let answer = match read_line(&mut stream)? {
            Line::Nothing => return Ok(()),
            _ if !self.may_speak(peer, credentials.gid.as_raw()) => {
                tracing::warn!(uid = peer.uid, "refused at the control socket");
                Answer::refused("not allowed: ask as root, or as the agent's user or group")
            }
            Line::Whole(line) => match serde_json::from_slice::<Request>(&line) {
                Ok(request) => handle(request, peer),
                Err(error) => Answer::refused(format!("not a request: {error}")),
            },
            Line::TooLong => Answer::refused(format!("a request has at most {REQUEST_BYTES_MAX} bytes")),
            Line::TooSlow => Answer::refused("no whole line within two seconds"),
        };
        let mut line = serde_json::to_vec(&answer).map_err(io::Error::other)?;
        line.push(b'\n');
        write_within(&mut stream, &line)
    }

    /// Root, the agent's own user, and members of the file's group.
    fn may_speak(&self, peer: Peer, gid: u32) -> bool {
        peer.uid == 0
            || peer.uid == geteuid().as_raw()
            || gid == self.group
            || groups_of(peer.pid).contains(&self.group)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Another agent may have put its own there.
        if fs::symlink_metadata(&self.path).is_ok_and(|found| found.ino() == self.inode) {
            // A file that stays is taken over by the next agent.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Supplementary groups of a process, as proc(5) has them; none of one that has gone.
fn groups_of(pid: i32) -> Vec<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let groups = status.lines().find_map(|line| line.strip_prefix("Groups:")).unwrap_or_default();
    groups.split_whitespace().filter_map(|group| group.parse().ok()).collect()
}

enum Line {
    Whole(Vec<u8>),
    TooLong,
    TooSlow,
    /// The client left without a word.
    Nothing,
}

fn read_line(stream: &mut UnixStream) -> io::Result<Line> {
    let (watch, mut line, mut some) = (Stopwatch::start(), Vec::new(), [0; 512]);
    loop {
        let Some(left) = left_of(&watch) else { return Ok(Line::TooSlow) };
        stream.set_read_timeout(Some(left))?;
        let read = match stream.read(&mut some) {
            Ok(0) if line.is_empty() => return Ok(Line::Nothing),
            Ok(0) => return Ok(Line::Whole(line)),
            Ok(read) => read,
            Err(error) if is_timeout(&error) => return Ok(Line::TooSlow),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let fresh = some.get(..read).unwrap_or_default();
        let end = fresh.iter().position(|byte| *byte == b'\n');
        line.extend_from_slice(fresh.get(..end.unwrap_or(read)).unwrap_or_default());
        if line.len() >= REQUEST_BYTES_MAX {
            return Ok(Line::TooLong);
        }
        if end.is_some() {
            return Ok(Line::Whole(line));
        }
    }
}

fn write_within(stream: &mut UnixStream, mut bytes: &[u8]) -> io::Result<()> {
    let watch = Stopwatch::start();
    while !bytes.is_empty() {
        let left = left_of(&watch).ok_or(io::ErrorKind::TimedOut)?;
        stream.set_write_timeout(Some(left))?;
        match stream.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// What is left of a client's time; nothing where it is up. A timeout of zero would be none.
fn left_of(watch: &Stopwatch) -> Option<Duration> {
    CLIENT_WITHIN.checked_sub(watch.elapsed()).filter(|left| !left.is_zero())
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
