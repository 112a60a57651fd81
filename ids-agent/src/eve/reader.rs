//! Suricata's events from wherever it writes them, each line counted by what became of it.

use std::{fs, io, os::unix::fs::FileTypeExt, path::Path, time::Duration};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{
    event::{EveDetail, EveEvent, EveStats, EveType, Skipped, parse_line},
    follow::{EveError, EvePosition, FollowStats, Follower, Start},
    stream::{Fifo, Socket},
};
use crate::config::EveFiletype;

/// Running totals of all that was read: `lines_all` = events by type + lines skipped by reason, in bytes too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EveTotals {
    pub input: FollowStats,
    /// In the order of `EveType::ALL`.
    pub events: [u64; EveType::ALL.len()],
    /// In the order of `Skipped::ALL`.
    pub skipped: [u64; Skipped::ALL.len()],
    /// Connections that were one too many.
    pub connections_refused: u64,
    /// The newest time that a line bore, since 1970.
    pub newest_ns: u64,
    /// Events of flows, and those that bore a community-id.
    pub of_flows: u64,
    pub with_community_id: u64,
    /// What Suricata said of itself last, and when.
    pub suricata: Option<(u64, EveStats)>,
}

impl EveTotals {
    /// Takes in what became of a line.
    pub fn count(&mut self, read: &Result<EveEvent, Skipped>) {
        match read {
            Ok(event) => {
                raise(&mut self.events, EveType::ALL.iter().position(|kind| *kind == event.kind));
                self.newest_ns = self.newest_ns.max(event.at_ns);
                if event.flow_id != 0 {
                    self.of_flows += 1;
                    self.with_community_id += u64::from(event.community_id.is_some());
                }
                if let EveDetail::Stats(stats) = &event.detail {
                    self.suricata = Some((event.at_ns, *stats));
                }
            }
            Err(reason) => raise(&mut self.skipped, Skipped::ALL.iter().position(|known| known == reason)),
        }
    }

    /// Takes over what the input counted. Lines that never came out whole are skipped lines too.
    pub fn take_input(&mut self, input: FollowStats) {
        for (reason, total) in [(Skipped::TooLong, input.lines.too_long), (Skipped::Cut, input.lines.cut)] {
            if let Some(skipped) = Skipped::ALL.iter().position(|known| *known == reason)
                && let Some(skipped) = self.skipped.get_mut(skipped)
            {
                *skipped = total;
            }
        }
        self.input = input;
    }

    pub fn events_all(&self) -> u64 {
        self.events.iter().sum()
    }

    pub fn skipped_all(&self) -> u64 {
        self.skipped.iter().sum()
    }

    /// Every line that was read is an event or has a reason why it is none.
    pub fn is_conserved(&self) -> bool {
        self.input.lines.lines_all() == self.events_all() + self.skipped_all()
    }
}

fn raise(totals: &mut [u64], at: Option<usize>) {
    if let Some(total) = at.and_then(|at| totals.get_mut(at)) {
        *total += 1;
    }
}

#[derive(Debug)]
enum Input {
    /// A FIFO is one by what stands at the path, so the two are looked for in turn.
    Regular {
        files: Box<Follower>,
        fifo: Fifo,
    },
    Socket(Socket),
}

/// Reads events as they are written.
#[derive(Debug)]
pub struct EveReader {
    input: Input,
    totals: EveTotals,
}

impl EveReader {
    pub fn new(path: &Path, filetype: EveFiletype, start: Start) -> Self {
        let input = match filetype {
            EveFiletype::Regular => {
                Input::Regular { files: Box::new(Follower::new(path, start)), fifo: Fifo::new(path) }
            }
            EveFiletype::UnixStream => Input::Socket(Socket::new(path)),
        };
        Self { input, totals: EveTotals::default() }
    }

    /// Reads what is new, at most about `bytes_max`, and calls `take` with every event. Tells whether there is more.
    pub fn poll(&mut self, now_ns: u64, bytes_max: usize, mut take: impl FnMut(EveEvent)) -> Result<bool, EveError> {
        let totals = &mut self.totals;
        let on_line = |line: &[u8]| {
            let read = parse_line(line);
            totals.count(&read);
            if let Ok(event) = read {
                take(event);
            }
        };
        let more = match &mut self.input {
            Input::Regular { files, fifo } => match fs::metadata(files.path()) {
                Ok(found) if found.file_type().is_fifo() => fifo.poll(bytes_max, on_line),
                Ok(_) => files.poll(now_ns, bytes_max, on_line),
                // What it was renamed to may still have something to say.
                Err(error) if error.kind() == io::ErrorKind::NotFound => files.poll(now_ns, bytes_max, on_line),
                Err(source) => Err(EveError::Read { path: files.path().to_owned(), source }),
            },
            Input::Socket(socket) => socket.poll(bytes_max, on_line),
        };
        self.count_input();
        more
    }

    fn count_input(&mut self) {
        let input = match &self.input {
            Input::Regular { files, fifo } => {
                let mut stats = files.stats();
                stats.lines.add(fifo.stats());
                stats
            }
            Input::Socket(socket) => {
                self.totals.connections_refused = socket.refused();
                FollowStats { lines: socket.stats(), ..FollowStats::default() }
            }
        };
        self.totals.take_input(input);
    }

    /// Waits until there may be something to read, or for so long.
    pub fn wait(&self, longest: Duration) {
        let fds = match &self.input {
            Input::Regular { fifo, .. } => fifo.fds(),
            Input::Socket(socket) => socket.fds(),
        };
        let mut fds: Vec<PollFd<'_>> = fds.into_iter().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
        let timeout = Timespec {
            tv_sec: i64::try_from(longest.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(longest.subsec_nanos()),
        };
        // A signal ends the wait early, which does no harm.
        let _ = poll(&mut fds, Some(&timeout));
    }

    /// Where to go on after a restart; a FIFO and a socket keep nothing.
    pub fn positions(&self) -> Vec<EvePosition> {
        match &self.input {
            Input::Regular { files, .. } => files.positions(),
            Input::Socket(_) => Vec::new(),
        }
    }

    pub fn totals(&self) -> &EveTotals {
        &self.totals
    }
}
