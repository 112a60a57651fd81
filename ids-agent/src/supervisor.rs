//! Who is running, who was asked to stop, who has not, and who makes no progress. Spawns nothing and handles no signal.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::clock;

/// Ticks come every half second, and disks answer sooner: who works on one thing for so long is stuck.
const PATIENCE: Duration = Duration::from_secs(15);

/// Asks everything to stop: once asked, always asked.
#[derive(Clone, Debug, Default)]
pub struct StopFlag {
    asked: Arc<AtomicBool>,
}

impl StopFlag {
    pub fn ask(&self) {
        self.asked.store(true, Ordering::Release);
    }

    pub fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Acquire)
    }
}

/// The tasks that run.
#[derive(Clone, Debug, Default)]
pub struct Roster {
    running: Arc<Mutex<Vec<Arc<Task>>>>,
}

#[derive(Debug)]
struct Task {
    name: &'static str,
    patience: Duration,
    /// When it took up what it works on, on the boot-time clock; zero while it waits for something to do.
    busy_since_ns: AtomicU64,
}

/// Somebody who has work and does not get on with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stuck {
    pub name: &'static str,
    pub secs: u64,
}

impl fmt::Display for Stuck {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "`{}` has made no progress for {} s", self.name, self.secs)
    }
}

impl Roster {
    /// Enters a task; it leaves when the badge is dropped, by return or by panic.
    pub fn enter(&self, name: &'static str) -> Badge {
        self.enter_patient(name, PATIENCE)
    }

    /// Enters a task whose single steps may take `patience`.
    pub fn enter_patient(&self, name: &'static str, patience: Duration) -> Badge {
        let task = Arc::new(Task { name, patience, busy_since_ns: AtomicU64::new(0) });
        self.running.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&task));
        Badge { roster: self.clone(), task }
    }

    /// Who still runs, in the order of arrival.
    pub fn running(&self) -> Vec<&'static str> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).iter().map(|task| task.name).collect()
    }

    /// Who has been at one thing for longer than it may take, the longest first.
    pub fn stuck(&self, now_ns: u64) -> Vec<Stuck> {
        let mut stuck: Vec<Stuck> = Vec::new();
        for task in self.running.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let since_ns = task.busy_since_ns.load(Ordering::Relaxed);
            let busy = Duration::from_nanos(now_ns.saturating_sub(since_ns));
            if since_ns != 0 && busy > task.patience {
                stuck.push(Stuck { name: task.name, secs: busy.as_secs() });
            }
        }
        stuck.sort_by_key(|one| std::cmp::Reverse(one.secs));
        stuck
    }
}

/// Shows that a task runs, and whether it gets on.
#[derive(Debug)]
pub struct Badge {
    roster: Roster,
    task: Arc<Task>,
}

impl Badge {
    /// It has work, and has just got on with it.
    pub fn works(&self) {
        self.task.busy_since_ns.store(clock::boottime_ns(), Ordering::Relaxed);
    }

    /// It waits for input, or for room at somebody else's: whoever holds it up is the one who is stuck.
    pub fn waits(&self) {
        self.task.busy_since_ns.store(0, Ordering::Relaxed);
    }
}

impl Drop for Badge {
    fn drop(&mut self) {
        let mut running = self.roster.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = running.iter().position(|task| Arc::ptr_eq(task, &self.task)) {
            running.remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_leaves_the_roster_even_when_it_panics() {
        let roster = Roster::default();
        let source = roster.enter("source");
        let theirs = roster.clone();
        let ended = std::thread::spawn(move || {
            let _badge = theirs.enter("engine");
            panic!("on purpose");
        })
        .join();
        assert!(ended.is_err());
        assert_eq!(roster.running(), ["source"]);
        drop(source);
        assert!(roster.running().is_empty());
    }

    #[test]
    fn who_works_on_one_thing_for_too_long_is_stuck_and_who_waits_is_not() {
        let roster = Roster::default();
        let (engine, sink, feeds) =
            (roster.enter("engine"), roster.enter("alerts"), roster.enter_patient("feeds", Duration::from_secs(120)));
        let start_ns = clock::boottime_ns();
        for badge in [&engine, &sink, &feeds] {
            badge.works();
        }
        engine.waits();
        let after = |secs: u64| roster.stuck(start_ns + secs * 1_000_000_000);
        assert_eq!(after(10), []);
        assert_eq!(after(60).iter().map(|one| one.name).collect::<Vec<_>>(), ["alerts"]);
        assert_eq!(after(200).len(), 2);
        sink.works();
        assert_eq!(after(10), [], "it has got on");
        drop(feeds);
        drop(sink);
        assert_eq!(after(500), [], "who has gone is not stuck");
    }
}
