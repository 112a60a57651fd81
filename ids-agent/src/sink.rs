//! Delivers finished lines: a bounded queue, and the sinks behind it. Knows nothing of detection.
//!
//! Conservation: lines offered = lines written + lines dropped, the latter by reason. While a disk is full lines go back to
//! their queue, where the most severe of them wait for room.

use std::{
    collections::VecDeque,
    fmt, io,
    path::PathBuf,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

mod file;
mod stdout;
mod whole;

pub use file::{FileSettings, FileSink};
pub use stdout::StdoutSink;
pub use whole::{WholeFile, WholeSink};

/// Why a sink could not be opened or written.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    #[error("cannot open `{path}` for writing: {source}; check that the directory exists and may be written")]
    Open { path: PathBuf, source: io::Error },
    #[error("cannot write to `{path}`: {source}")]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot move `{path}` into place: {source}")]
    Rename { path: PathBuf, source: io::Error },
}

/// One finished line, line end included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub rank: Rank,
    pub bytes: Vec<u8>,
}

/// How much a line matters when not all can be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    High,
    Medium,
    Low,
    Info,
    /// A flow line: many, and each the least.
    Flow,
}

impl Rank {
    const COUNT: usize = 5;
}

/// Why a line was not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropReason {
    /// The sink was slower than the lines came.
    QueueFull,
    DiskFull,
    /// Any other failure of the sink.
    WriteFailed,
    /// The reader of standard output went away.
    Closed,
    /// The agent stopped before the sink had caught up.
    Stopped,
}

impl DropReason {
    pub const ALL: [Self; 5] = [Self::QueueFull, Self::DiskFull, Self::WriteFailed, Self::Closed, Self::Stopped];

    pub const fn label(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::DiskFull => "disk_full",
            Self::WriteFailed => "write_failed",
            Self::Closed => "closed",
            Self::Stopped => "stopped",
        }
    }

    /// What a failed write means.
    pub(crate) fn of(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => Self::DiskFull,
            io::ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::WriteFailed,
        }
    }
}

/// Running totals of one sink.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SinkStats {
    pub offered: u64,
    pub written: u64,
    pub bytes_written: u64,
    pub dropped: [u64; DropReason::ALL.len()],
    pub rotations: u64,
    /// Lines that wait.
    pub queued: u64,
}

impl SinkStats {
    pub fn dropped_all(&self) -> u64 {
        self.dropped.iter().sum()
    }

    /// Whether every line is accounted for.
    pub fn is_conserved(&self) -> bool {
        self.offered == self.written + self.dropped_all() + self.queued
    }
}

/// What became of the lines given to a sink.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delivery {
    pub written: u64,
    pub bytes_written: u64,
    pub dropped: [u64; DropReason::ALL.len()],
    pub rotations: u64,
    /// Lines at the end, neither written nor dropped: the disk has no room for them now.
    pub unplaced: u64,
}

impl Delivery {
    pub(crate) fn drop_lines(&mut self, reason: DropReason, lines: u64) {
        if let Some(count) = self.dropped.get_mut(reason as usize) {
            *count += lines;
        }
    }
}

/// Where lines end up. Each sink has its own thread, so it may block.
pub trait AlertSink: Send {
    /// Name in metrics and logs.
    fn name(&self) -> &'static str;

    /// Writes whole lines in order; each is either written, counted as dropped, or has no place now.
    fn write(&mut self, lines: &[Line]) -> Delivery;

    /// Opens the target again, after somebody moved it away.
    fn reopen(&mut self) -> Result<(), SinkError>;

    /// Everything was written: makes it last.
    fn finish(&mut self) -> Result<(), SinkError>;
}

/// What a full queue does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// The line that matters least goes, oldest first, and is counted.
    DropLeast,
    /// The producer waits: nothing is lost on replay.
    Wait,
}

/// A bounded queue between the engine and one sink.
#[derive(Debug)]
pub struct LineQueue {
    state: Mutex<QueueState>,
    changed: Condvar,
    lines_max: usize,
    overflow: Overflow,
}

#[derive(Debug, Default)]
struct QueueState {
    /// One queue a rank; sequence numbers keep the order over all of them, those of lines put back below zero.
    ranks: [VecDeque<(i64, Line)>; Rank::COUNT],
    next: i64,
    put_back: i64,
    queued: usize,
    /// The disk had no room when last tried.
    is_disk_full: bool,
    stats: SinkStats,
    closed: bool,
    abandoned: bool,
    reopen: bool,
}

/// What a sink's thread is to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Work {
    /// Lines are in the buffer.
    Lines,
    Reopen,
    /// The queue is closed and empty.
    Done,
}

impl LineQueue {
    pub fn new(lines_max: usize, overflow: Overflow) -> Self {
        Self { state: Mutex::default(), changed: Condvar::new(), lines_max: lines_max.max(1), overflow }
    }

    /// A panic elsewhere leaves counters that are still true, so a poisoned lock is taken over.
    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Offers a line. It is queued, or something that matters no more than it is dropped and counted.
    pub fn push(&self, line: Line) {
        let mut state = self.lock();
        state.stats.offered += 1;
        while state.queued >= self.lines_max && self.overflow == Overflow::Wait && !state.closed {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.closed {
            state.count_drop(DropReason::Stopped, 1);
            return;
        }
        if state.queued >= self.lines_max && !state.make_room(line.rank) {
            state.count_overflow();
            return;
        }
        state.enqueue(line);
        drop(state);
        self.changed.notify_all();
    }

    /// Waits for work; moves up to `lines_max` lines into `into`, oldest first.
    pub fn take(&self, into: &mut Vec<Line>, lines_max: usize) -> Work {
        into.clear();
        let mut state = self.lock();
        loop {
            if state.reopen {
                state.reopen = false;
                return Work::Reopen;
            }
            if state.queued > 0 {
                state.dequeue(into, lines_max);
                drop(state);
                self.changed.notify_all();
                return Work::Lines;
            }
            if state.closed {
                return Work::Done;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Books what the sink did with lines it had taken.
    pub fn settle(&self, delivery: &Delivery) {
        let mut state = self.lock();
        let stats = &mut state.stats;
        stats.written += delivery.written;
        stats.bytes_written += delivery.bytes_written;
        stats.rotations += delivery.rotations;
        for (total, more) in stats.dropped.iter_mut().zip(delivery.dropped) {
            *total += more;
        }
        state.is_disk_full = delivery.unplaced > 0;
    }

    /// Takes lines back that found no room, in their order and before all others, and waits so long before they are tried
    /// again. The last try of a queue that is closed, and of one that nobody may wait for, was this one.
    pub fn retry(&self, lines: impl DoubleEndedIterator<Item = Line>, after: Duration) {
        let mut state = self.lock();
        if state.closed || self.overflow == Overflow::Wait {
            let lost = u64::try_from(lines.count()).unwrap_or(u64::MAX);
            state.count_drop(DropReason::DiskFull, lost);
            return;
        }
        for line in lines.rev() {
            state.enqueue_first(line);
        }
        while state.queued > self.lines_max && state.make_room(Rank::High) {}
        let waits = |state: &mut QueueState| !state.closed && !state.reopen;
        drop(self.changed.wait_timeout_while(state, after, waits).unwrap_or_else(PoisonError::into_inner));
    }

    pub fn ask_reopen(&self) {
        self.lock().reopen = true;
        self.changed.notify_all();
    }

    /// No more lines will come; those queued are still delivered.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// Gives up the lines that wait: the deadline has passed.
    pub fn abandon(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.abandoned = true;
        let lost = u64::try_from(state.queued).unwrap_or(u64::MAX);
        state.ranks.iter_mut().for_each(VecDeque::clear);
        state.queued = 0;
        state.count_drop(DropReason::Stopped, lost);
        drop(state);
        self.changed.notify_all();
    }

    /// Whether what was written is not to last either.
    pub fn is_abandoned(&self) -> bool {
        self.lock().abandoned
    }

    /// The totals. Lines that the sink holds at the moment count as queued.
    pub fn stats(&self) -> SinkStats {
        let mut stats = self.lock().stats;
        stats.queued = stats.offered.saturating_sub(stats.written + stats.dropped_all());
        stats
    }

    pub fn lines_max(&self) -> usize {
        self.lines_max
    }
}

impl QueueState {
    fn enqueue(&mut self, line: Line) {
        let sequence = self.next;
        self.next += 1;
        if let Some(rank) = self.ranks.get_mut(line.rank as usize) {
            rank.push_back((sequence, line));
            self.queued += 1;
        }
    }

    fn enqueue_first(&mut self, line: Line) {
        self.put_back -= 1;
        if let Some(rank) = self.ranks.get_mut(line.rank as usize) {
            rank.push_front((self.put_back, line));
            self.queued += 1;
        }
    }

    /// Drops the oldest line of the least rank, unless `arriving` matters even less.
    fn make_room(&mut self, arriving: Rank) -> bool {
        let least = self.ranks.iter().rposition(|rank| !rank.is_empty());
        match least {
            Some(least) if least >= arriving as usize => {
                if let Some(rank) = self.ranks.get_mut(least) {
                    rank.pop_front();
                    self.queued -= 1;
                }
                self.count_overflow();
                true
            }
            Some(_) | None => false,
        }
    }

    fn dequeue(&mut self, into: &mut Vec<Line>, lines_max: usize) {
        while into.len() < lines_max {
            let oldest = self.ranks.iter_mut().filter(|rank| !rank.is_empty()).min_by_key(|rank| first(rank));
            let Some((_, line)) = oldest.and_then(VecDeque::pop_front) else { break };
            into.push(line);
            self.queued -= 1;
        }
    }

    /// A line for which the queue has no room, by what holds the queue up.
    fn count_overflow(&mut self) {
        self.count_drop(if self.is_disk_full { DropReason::DiskFull } else { DropReason::QueueFull }, 1);
    }

    fn count_drop(&mut self, reason: DropReason, lines: u64) {
        if let Some(count) = self.stats.dropped.get_mut(reason as usize) {
            *count += lines;
        }
    }
}

fn first(rank: &VecDeque<(i64, Line)>) -> i64 {
    rank.front().map_or(i64::MAX, |(sequence, _)| *sequence)
}

impl fmt::Display for SinkStats {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} offered = {} written + {} dropped", self.offered, self.written, self.dropped_all())?;
        if self.queued > 0 { write!(out, " + {} waiting", self.queued) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod waiting {
    use super::*;

    #[test]
    fn a_waiting_queue_loses_nothing() {
        let queue = LineQueue::new(2, Overflow::Wait);
        let taken = std::thread::scope(|scope| {
            scope.spawn(|| {
                for number in 0..500 {
                    queue.push(Line { rank: Rank::Flow, bytes: format!("{number}").into_bytes() });
                }
                queue.close();
            });
            let (mut all, mut some) = (Vec::new(), Vec::new());
            while queue.take(&mut some, 3) == Work::Lines {
                queue.settle(&Delivery { written: some.len() as u64, ..Delivery::default() });
                all.append(&mut some);
            }
            all
        });
        let texts: Vec<_> = taken.iter().map(|line| String::from_utf8_lossy(&line.bytes).into_owned()).collect();
        assert_eq!(texts, (0..500).map(|n| n.to_string()).collect::<Vec<_>>());
        assert_eq!(queue.stats(), SinkStats { offered: 500, written: 500, ..SinkStats::default() });
    }
}
