//! Runs the line beside the things that watch it: signals, the metrics pages, systemd.

use std::{
    io,
    net::TcpListener,
    process,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::{
    runtime,
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
    time::{MissedTickBehavior, interval, timeout},
};

use super::{
    FeedKeeper,
    notify::{CARE_EVERY, Service},
};
use crate::{
    http::{self, Health, Pages},
    sandbox,
    sink::LineQueue,
    supervisor::Roster,
};

/// How long the stages may take to finish their input after a stop was asked for.
pub const DRAIN_DEADLINE: Duration = Duration::from_secs(10);
/// What a shell reports of a program that Ctrl-C ended.
const INTERRUPTED: i32 = 130;

/// Why the line could not be watched, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("cannot start the runtime: {0}; the machine is out of threads or memory")]
    Runtime(io::Error),
    #[error("cannot start thread `line`: {0}; the machine is out of threads or memory")]
    Spawn(io::Error),
    #[error("the line panicked; please report this as a bug")]
    Panicked,
    #[error("stopped, but not in time: {stragglers} still at work after {secs} s; their input is lost")]
    Late { stragglers: String, secs: u64 },
}

/// What SIGHUP asks for.
pub enum Hangup {
    /// The sinks behind these queues open their files again, and feeds are read again.
    Reopen(Vec<Arc<LineQueue>>, Option<FeedKeeper>),
    /// There is nothing to open again: it ends the run.
    Stop,
}

/// What is looked after while the line runs.
pub struct Watch {
    /// Asks the line to come to its end.
    pub ask_stop: Box<dyn Fn()>,
    pub hangup: Hangup,
    /// Done on every SIGHUP that does not end the run: reads anew what may be edited while it runs.
    pub reload: Box<dyn Fn()>,
    /// Whether what was asked for so is done.
    pub reloaded: Box<dyn Fn() -> bool>,
    pub pages: Option<(TcpListener, Arc<Pages>)>,
    /// Progress of a service; a replay has none.
    pub health: Option<Arc<Health>>,
    pub roster: Roster,
    /// Who still works so long after a stop was asked for is a straggler.
    pub deadline: Duration,
}

/// How the line came to its end.
#[derive(Debug)]
pub struct Ended<T> {
    pub result: T,
    /// Whether a signal asked for it.
    pub asked: bool,
}

/// Runs `work` on a thread of its own until it returns. SIGINT and SIGTERM ask it to stop; a second one
/// ends the process at once.
pub fn supervise<T: Send + 'static>(
    watch: Watch,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<Ended<T>, ServeError> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(ServeError::Runtime)?;
    runtime.block_on(async {
        // Before the line starts: a signal must never find nobody.
        let mut signals = Signals::listen().map_err(ServeError::Runtime)?;
        let (done, finished) = oneshot::channel();
        let thread = thread::Builder::new()
            .name("line".to_owned())
            .spawn(move || {
                // Nobody waits any more only when the deadline has passed.
                let _ = done.send(work());
            })
            .map_err(ServeError::Spawn)?;
        // The line's thread has inherited what it is to keep.
        sandbox::surrender();
        let (stop_pages, pages_stopped) = oneshot::channel::<()>();
        let service = Service::new(watch.health, watch.pages.as_ref().map(|(_, pages)| Arc::clone(&pages.metrics)));
        if let Some((listener, pages)) = watch.pages {
            tokio::spawn(http::serve(
                listener,
                pages,
                async {
                    // Also done when the sender is gone.
                    let _ = pages_stopped.await;
                },
                |connection| {
                    tokio::spawn(connection);
                },
            ));
        }
        let ended = attend(
            finished,
            thread,
            &mut signals,
            &watch.ask_stop,
            (&watch.hangup, &watch.reload, &watch.reloaded),
            (&watch.roster, watch.deadline),
            service,
        )
        .await;
        drop(stop_pages);
        ended
    })
}

/// Waits for the end of the line, and does what signals ask for meanwhile.
async fn attend<T>(
    mut finished: oneshot::Receiver<T>,
    thread: JoinHandle<()>,
    signals: &mut Signals,
    ask_stop: &dyn Fn(),
    (hangup, reload, reloaded): (&Hangup, &dyn Fn(), &dyn Fn() -> bool),
    (roster, deadline): (&Roster, Duration),
    mut service: Service,
) -> Result<Ended<T>, ServeError> {
    let mut care = interval(CARE_EVERY);
    care.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            result = &mut finished => return collect(result, thread, false),
            _ = care.tick() => service.care(reloaded),
            asked = signals.next() => match (asked, hangup) {
                (Asked::Stop, _) | (Asked::Hangup, Hangup::Stop) => break,
                (Asked::Hangup, Hangup::Reopen(queues, feeds)) => {
                    service.reloading();
                    queues.iter().for_each(|queue| queue.ask_reopen());
                    feeds.iter().for_each(FeedKeeper::ask_reload);
                    reload();
                }
            },
        }
    }
    tracing::info!("stopping");
    service.stopping();
    ask_stop();
    loop {
        tokio::select! {
            ended = timeout(deadline, &mut finished) => return match ended {
                Ok(result) => collect(result, thread, true),
                Err(_) => Err(ServeError::Late {
                    stragglers: roster.running().join(", "),
                    secs: deadline.as_secs(),
                }),
            },
            asked = signals.next() => if asked == Asked::Stop {
                tracing::warn!("stopped at once; what was on its way is lost");
                process::exit(INTERRUPTED);
            },
        }
    }
}

fn collect<T>(
    result: Result<T, oneshot::error::RecvError>,
    thread: JoinHandle<()>,
    asked: bool,
) -> Result<Ended<T>, ServeError> {
    let joined = thread.join();
    match (result, joined) {
        (Ok(result), Ok(())) => Ok(Ended { result, asked }),
        (Ok(_) | Err(_), _) => Err(ServeError::Panicked),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    Stop,
    Hangup,
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.interrupt.recv() => Asked::Stop,
            _ = self.terminate.recv() => Asked::Stop,
            _ = self.hangup.recv() => Asked::Hangup,
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::{Signal, getpid, kill_process};

    use super::*;
    use crate::supervisor::StopFlag;

    fn watch(stop: &StopFlag, roster: &Roster) -> Watch {
        let stop = stop.clone();
        Watch {
            ask_stop: Box::new(move || stop.ask()),
            hangup: Hangup::Stop,
            reload: Box::new(|| {}),
            reloaded: Box::new(|| true),
            pages: None,
            health: None,
            roster: roster.clone(),
            deadline: Duration::from_millis(200),
        }
    }

    /// Works until it is asked to stop, or for `patience` after that. Asks by a signal, as a user does.
    fn interrupted(patience: Duration) -> Result<Ended<&'static str>, ServeError> {
        let (stop, roster) = (StopFlag::default(), Roster::default());
        let (asked, badge) = (stop.clone(), roster.clone());
        supervise(watch(&stop, &roster), move || {
            let _badge = badge.enter("engine");
            let sent = kill_process(getpid(), Signal::TERM);
            while sent.is_ok() && !asked.is_asked() {
                thread::yield_now();
            }
            thread::sleep(patience);
            "done"
        })
    }

    #[test]
    fn a_stop_lets_the_line_come_to_its_end() {
        let ended = interrupted(Duration::ZERO);
        assert!(matches!(ended, Ok(Ended { result: "done", asked: true })), "{ended:?}");
    }

    #[test]
    fn a_hangup_reads_anew_what_may_be_edited_and_the_line_goes_on() {
        let (stop, roster) = (StopFlag::default(), Roster::default());
        let reloaded = StopFlag::default();
        let mut watch = watch(&stop, &roster);
        watch.hangup = Hangup::Reopen(Vec::new(), None);
        let flag = reloaded.clone();
        watch.reload = Box::new(move || flag.ask());
        let ended = supervise(watch, move || {
            let sent = kill_process(getpid(), Signal::HUP);
            while sent.is_ok() && !reloaded.is_asked() {
                thread::yield_now();
            }
            "went on"
        });
        assert!(matches!(ended, Ok(Ended { result: "went on", asked: false })), "{ended:?}");
    }

    #[test]
    fn a_straggler_is_named_at_the_deadline() {
        let ended = interrupted(Duration::from_secs(3));
        assert!(matches!(&ended, Err(ServeError::Late { stragglers, .. }) if stragglers == "engine"), "{ended:?}");
    }

    #[test]
    fn a_panic_in_the_line_is_an_error() {
        let ended = supervise(watch(&StopFlag::default(), &Roster::default()), || panic!("on purpose"));
        assert!(matches!(ended, Err::<Ended<()>, _>(ServeError::Panicked)));
    }
}
