//! The sinks of a run: a thread and a bounded queue each, ended in good order.

use std::{io, sync::Arc, thread, time::Duration};

use super::Outlet;
use crate::{
    sandbox,
    sink::{AlertSink, LineQueue, Overflow, SinkError, SinkStats, Work},
    supervisor::{Badge, Roster},
};

/// Lines that a sink takes from its queue at once.
const LINES_TAKEN_MAX: usize = 256;
/// How soon lines are tried again for which a disk had no room.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What each sink has done, by name.
pub type SinkReport = Vec<(&'static str, SinkStats)>;

/// The sinks of a run, each on a thread of its own.
#[derive(Default)]
pub struct Sinks {
    running: Vec<RunningSink>,
}

struct RunningSink {
    name: &'static str,
    queue: Arc<LineQueue>,
    thread: thread::JoinHandle<Result<(), SinkError>>,
}

impl Sinks {
    /// Starts a sink's thread; the outlet feeds it.
    pub fn start(
        &mut self,
        sink: Box<dyn AlertSink>,
        lines_max: usize,
        overflow: Overflow,
        roster: &Roster,
    ) -> Result<Outlet, io::Error> {
        let name = sink.name();
        let queue = Arc::new(LineQueue::new(lines_max, overflow));
        let (theirs, roster) = (Arc::clone(&queue), roster.clone());
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
            sandbox::surrender();
            drain(sink, &theirs, &roster.enter(name))
        })?;
        self.running.push(RunningSink { name, queue: Arc::clone(&queue), thread });
        Ok(Outlet { sink: name, queue })
    }

    /// The queues, for those who reopen files.
    pub fn queues(&self) -> Vec<Arc<LineQueue>> {
        self.running.iter().map(|sink| Arc::clone(&sink.queue)).collect()
    }

    /// Lets every sink write what waits, and makes it last. The first failure is returned, after all
    /// have ended.
    pub fn finish(mut self) -> Result<SinkReport, SinkError> {
        let mut stats = Vec::new();
        let mut failure = None;
        for sink in self.running.drain(..) {
            sink.queue.close();
            if let Err(error) = join(sink.name, sink.thread) {
                failure.get_or_insert(error);
            }
            stats.push((sink.name, sink.queue.stats()));
        }
        failure.map_or(Ok(stats), Err)
    }
}

/// Without `finish`, what waits is given up, and files in the making vanish.
impl Drop for Sinks {
    fn drop(&mut self) {
        for sink in &self.running {
            sink.queue.abandon();
        }
        for sink in self.running.drain(..) {
            if let Err(error) = join(sink.name, sink.thread) {
                tracing::error!(sink = sink.name, %error, "given up");
            }
        }
    }
}

fn join(name: &'static str, thread: thread::JoinHandle<Result<(), SinkError>>) -> Result<(), SinkError> {
    thread.join().unwrap_or_else(|_| {
        tracing::error!(sink = name, "sink panicked");
        Ok(())
    })
}

/// Writes what a queue holds until it is closed and empty.
fn drain(mut sink: Box<dyn AlertSink>, queue: &LineQueue, badge: &Badge) -> Result<(), SinkError> {
    let mut lines = Vec::new();
    loop {
        badge.waits();
        let work = queue.take(&mut lines, LINES_TAKEN_MAX);
        badge.works();
        match work {
            Work::Lines => {
                let delivery = sink.write(&lines);
                queue.settle(&delivery);
                let unplaced = usize::try_from(delivery.unplaced).unwrap_or(usize::MAX);
                if unplaced > 0 {
                    badge.waits();
                    queue.retry(lines.drain(lines.len().saturating_sub(unplaced)..), RETRY_AFTER);
                }
            }
            Work::Reopen => match sink.reopen() {
                Ok(()) => tracing::info!(sink = sink.name(), "reopened"),
                Err(error) => tracing::error!(sink = sink.name(), %error, "kept the old file"),
            },
            Work::Done if queue.is_abandoned() => return Ok(()),
            Work::Done => return sink.finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::sink::{Delivery, DropReason, Line, Rank};

    /// Has room for one line a turn, and for none in the first turns.
    struct Narrow {
        full_turns: u32,
        written: Arc<Mutex<Vec<String>>>,
    }

    impl AlertSink for Narrow {
        fn name(&self) -> &'static str {
            "narrow"
        }

        fn write(&mut self, lines: &[Line]) -> Delivery {
            let fits = usize::from(self.full_turns == 0).min(lines.len());
            self.full_turns = self.full_turns.saturating_sub(1);
            let texts = lines[..fits].iter().map(|line| String::from_utf8_lossy(&line.bytes).into_owned());
            self.written.lock().unwrap().extend(texts);
            Delivery { written: fits as u64, unplaced: (lines.len() - fits) as u64, ..Delivery::default() }
        }

        fn reopen(&mut self) -> Result<(), SinkError> {
            Ok(())
        }

        fn finish(&mut self) -> Result<(), SinkError> {
            Ok(())
        }
    }

    #[test]
    fn a_line_waits_for_room_on_a_disk() {
        let written = Arc::default();
        let mut sinks = Sinks::default();
        let narrow = Narrow { full_turns: 1, written: Arc::clone(&written) };
        let outlet = sinks.start(Box::new(narrow), 10, Overflow::DropLeast, &Roster::default()).unwrap();
        outlet.queue.push(Line { rank: Rank::High, bytes: b"first".to_vec() });
        while written.lock().unwrap().is_empty() {
            thread::yield_now();
        }
        // Written long after it was offered; nothing is lost.
        assert_eq!(outlet.queue.stats().dropped_all(), 0);

        let report = sinks.finish().unwrap();
        assert_eq!(*written.lock().unwrap(), ["first"]);
        assert!(report[0].1.is_conserved(), "{}", report[0].1);
        assert_eq!(report[0].1.dropped[DropReason::DiskFull as usize], 0);
    }
}
