//! Who is running, who was asked to stop, and who has not. Spawns nothing and handles no signal.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

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

/// The names of the tasks that run.
#[derive(Clone, Debug, Default)]
pub struct Roster {
    running: Arc<Mutex<Vec<&'static str>>>,
}

impl Roster {
    /// Enters a task; it leaves when the badge is dropped, by return or by panic.
    pub fn enter(&self, name: &'static str) -> Badge {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).push(name);
        Badge { roster: self.clone(), name }
    }

    /// Who still runs, in the order of arrival.
    pub fn running(&self) -> Vec<&'static str> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Shows that a task runs.
#[derive(Debug)]
pub struct Badge {
    roster: Roster,
    name: &'static str,
}

impl Drop for Badge {
    fn drop(&mut self) {
        let mut running = self.roster.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = running.iter().position(|name| *name == self.name) {
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
}
