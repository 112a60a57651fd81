//! Looks after a Suricata on threads of their own: started, watched, started again, and ended with the agent. Whatever
//! becomes of it, detection goes on.
//!
//! ```text
//! suricata ── starts ──▶ process ── console ──▶ suricata-log
//!    │ └── once a second: alive? answers? eve.json too long? rules due?
//!    └── rules, now and then: fetch, test, put in force, reload
//! ```

use std::{
    fs, io,
    io::{BufRead, BufReader, PipeReader, Read},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, TryRecvError, channel, sync_channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use rustix::process::Signal;

use crate::{
    clock::{self, Stopwatch},
    http::{ManagedMetrics, RuleUpdate},
    supervisor::Roster,
    suricata::{
        Commands, Launch, LogLine, LogTail, PID, Plan, Release, RulesStore, Running, SOCKET, Sources, TestWith,
        Updated, Usage, is_there, log_line, reload_or_rollback, signal,
    },
};

/// How often it is looked after.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often it is asked at its socket, in looks.
const ASK_EVERY_LOOKS: u32 = 5;
/// How long an answer may take; taking rules anew holds up all others.
const ANSWER_PATIENCE: Duration = Duration::from_secs(2);
/// Without an answer for so long it hangs. Starting and taking rules anew are well within it.
const HANGS_AFTER: Duration = Duration::from_secs(240);
/// How long it may take to write what it has and end.
const END_DEADLINE: Duration = Duration::from_secs(6);
/// Waits between two starts, each twice the one before.
const BACKOFF_MIN: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(60);
/// Whoever ran so long starts again without waiting longer than the first time.
const STEADY_AFTER: Duration = Duration::from_secs(120);
/// Longest line of its console that is read as one.
const LINE_BYTES_MAX: u64 = 64 << 10;

/// A Suricata to look after.
pub struct Care {
    pub launch: Launch,
    /// Written out before every start; absent where the operator has a file of his own.
    pub plan: Option<Plan>,
    pub store: RulesStore,
    pub sources: Sources,
    /// Fetches the rules so often; never where it is zero.
    pub update_secs: u64,
    /// The eve.json that is rotated beyond so many bytes; absent where that is not ours to do.
    pub rotate: Option<(PathBuf, u64)>,
    pub metrics: ManagedMetrics,
}

/// Ends what it looks after when it goes.
pub struct SuricataKeeper {
    metrics: ManagedMetrics,
    ask: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl SuricataKeeper {
    pub fn start(care: Care, roster: Roster) -> io::Result<Self> {
        let (ask, asked) = sync_channel(1);
        let metrics = care.metrics.clone();
        let care = Arc::new(care);
        let thread = thread::Builder::new().name("suricata".to_owned()).spawn(move || {
            let _badge = roster.enter("suricata");
            keep(&care, &asked);
        })?;
        Ok(Self { metrics, ask: Some(ask), thread: Some(thread) })
    }

    /// What it takes, as it is shown.
    pub fn meter(&self) -> ManagedMetrics {
        self.metrics.clone()
    }

    /// What asks it to end, from wherever that is decided.
    pub fn stopper(&self) -> impl Fn() + use<> {
        let ask = self.ask.clone();
        move || {
            if let Some(ask) = &ask {
                // Full means that it is asked already.
                let _ = ask.try_send(());
            }
        }
    }

    /// Waits until Suricata has ended.
    pub fn finish(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if let Some(ask) = self.ask.take() {
            let _ = ask.try_send(());
        }
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("thread `suricata` panicked; please report this as a bug");
        }
    }
}

impl Drop for SuricataKeeper {
    fn drop(&mut self) {
        self.end();
    }
}

/// How a time with Suricata came to its end.
enum Over {
    Asked,
    Died { after: Duration },
}

fn keep(care: &Arc<Care>, asked: &Receiver<()>) {
    let mut backoff = BACKOFF_MIN;
    // The same message every minute tells nothing more.
    let mut told = String::new();
    loop {
        end_orphan(&care.launch);
        match prepare(care).and_then(|()| care.launch.start().map_err(|error| error.to_string())) {
            Ok((running, said)) => match attend(care, running, said, asked) {
                Over::Asked => return,
                Over::Died { after } if after >= STEADY_AFTER => backoff = BACKOFF_MIN,
                Over::Died { .. } => {}
            },
            Err(error) if error != told => {
                tracing::error!("Suricata does not run: {error}; detection goes on without it, and it is tried again");
                told = error;
            }
            Err(_) => {}
        }
        if !matches!(asked.recv_timeout(backoff), Err(RecvTimeoutError::Timeout)) {
            return;
        }
        backoff = (backoff * 2).min(BACKOFF_MAX);
    }
}

/// Ends what an agent that was killed has left behind.
fn end_orphan(launch: &Launch) {
    let Some(pid) = launch.orphan() else { return };
    tracing::warn!(pid = pid.as_raw_nonzero(), "a Suricata was left behind by an agent that was killed; it is ended");
    signal(pid, Signal::TERM);
    let watch = Stopwatch::start();
    while is_there(pid) && watch.elapsed() < END_DEADLINE {
        thread::sleep(Duration::from_millis(50));
    }
    if launch.orphan() == Some(pid) {
        signal(pid, Signal::KILL);
    }
}

/// Everything that a start needs on disk.
fn prepare(care: &Care) -> Result<(), String> {
    let launch = &care.launch;
    let failed = |what: &Path, error: io::Error| format!("cannot write {}: {error}", what.display());
    fs::create_dir_all(&launch.run_dir).map_err(|error| failed(&launch.run_dir, error))?;
    if let Some(plan) = &care.plan {
        fs::write(&launch.yaml, plan.render()).map_err(|error| failed(&launch.yaml, error))?;
    }
    // A socket of the last run would be asked in vain, and its process number may be somebody else's by now.
    for left in [SOCKET, PID] {
        let _ = fs::remove_file(launch.run_dir.join(left));
    }
    if care.store.current().is_none() {
        let test = TestWith { program: &launch.program, yaml: &launch.yaml };
        match care.store.begin(&care.sources, &test, unix_secs()) {
            Ok(updated) => tracing::info!(
                rules = updated.release().rules,
                "Suricata begins with the local rules; `ids-agent rules update` fetches more"
            ),
            Err(error) => tracing::warn!("Suricata begins without rules: {error}"),
        }
    }
    if let Some(release) = care.store.current() {
        care.metrics.show_release(&release);
    }
    Ok(())
}

fn unix_secs() -> u64 {
    clock::wall_ns() / 1_000_000_000
}

/// Is with a Suricata until it ends.
fn attend(care: &Arc<Care>, mut running: Running, said: PipeReader, asked: &Receiver<()>) -> Over {
    let watch = Stopwatch::start();
    let pid = running.pid().as_raw_nonzero();
    let held = running.held();
    tracing::info!(pid, cpus = held.cpus, memory = held.memory, nice = held.nice, "Suricata started");
    care.metrics.started();
    let tail = Arc::new(Mutex::new(LogTail::default()));
    let listener = listen(said, Arc::clone(&tail));
    let over = {
        let mut visit = Visit {
            care,
            commands: None,
            answered: Stopwatch::start(),
            ready: false,
            usage: Usage::default(),
            updating: None,
            tried: None,
        };
        visit.watch(&mut running, asked)
    };
    let over = match over {
        None => {
            end(&mut running);
            tracing::info!(pid, "Suricata ended");
            Over::Asked
        }
        Some(cause) => {
            // It writes its reasons before it ends, and they are read until it has.
            drop(running);
            drop(listener.map(JoinHandle::join));
            let errors = tail.lock().unwrap_or_else(PoisonError::into_inner).told();
            let after = watch.elapsed();
            tracing::error!(pid, ran_secs = after.as_secs(), %errors, "Suricata {cause}; it is started again");
            Over::Died { after }
        }
    };
    care.metrics.ended();
    over
}

/// Reads its console until it is closed; what a person should see goes into the log.
fn listen(said: PipeReader, tail: Arc<Mutex<LogTail>>) -> Option<JoinHandle<()>> {
    let read = move || {
        let mut said = BufReader::new(said);
        let mut line = Vec::new();
        while matches!(said.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line), Ok(read) if read > 0) {
            let text = String::from_utf8_lossy(&line);
            let parsed = log_line(&text);
            match parsed {
                LogLine::Error(text) => tracing::warn!(suricata = text),
                LogLine::Warning(text) | LogLine::Other(text) => tracing::debug!(suricata = text),
            }
            tail.lock().unwrap_or_else(PoisonError::into_inner).note(parsed);
            line.clear();
        }
    };
    let spawned = thread::Builder::new().name("suricata-log".to_owned()).spawn(read);
    // Its console is then closed, which it survives.
    spawned.map_err(|error| tracing::warn!(%error, "thread `suricata-log` cannot be started")).ok()
}

/// Asks it to end, and ends it where it does not.
fn end(running: &mut Running) {
    running.ask_end();
    if matches!(running.wait(END_DEADLINE), Ok(Some(_)) | Err(_)) {
        return;
    }
    let secs = END_DEADLINE.as_secs();
    tracing::warn!(pid = running.pid().as_raw_nonzero(), secs, "Suricata did not end in time and was killed");
    // Then it has ended in this moment.
    let _ = running.kill();
}

/// One process, from its start to its end.
struct Visit<'a> {
    care: &'a Arc<Care>,
    commands: Option<Commands>,
    /// Since it last answered.
    answered: Stopwatch,
    ready: bool,
    usage: Usage,
    updating: Option<Receiver<Option<Release>>>,
    /// Since rules were last fetched in this run, well or not.
    tried: Option<Stopwatch>,
}

impl Visit<'_> {
    /// Looks after it until it ends (tells why), or until the agent does.
    fn watch(&mut self, running: &mut Running, asked: &Receiver<()>) -> Option<String> {
        let mut looks = 0_u32;
        loop {
            match asked.recv_timeout(LOOK_EVERY) {
                Ok(()) | Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => {}
            }
            match running.ended() {
                Ok(None) => {}
                Ok(Some(ending)) => return Some(format!("ended by itself with {ending}")),
                Err(error) => return Some(format!("cannot be looked after: {error}")),
            }
            if let Some(usage) = running.usage() {
                let more_ns = usage.cpu_ns.saturating_sub(self.usage.cpu_ns);
                self.care.metrics.show_usage(usage, more_ns);
                self.usage = usage;
            }
            if looks.is_multiple_of(ASK_EVERY_LOOKS) && self.is_hung() {
                return Some(format!("did not answer for {} s", HANGS_AFTER.as_secs()));
            }
            self.rotate();
            self.update();
            looks = looks.wrapping_add(1);
        }
    }

    /// Asks how it is.
    fn is_hung(&mut self) -> bool {
        let socket = self.care.launch.run_dir.join(SOCKET);
        // Rules that are being taken hold up the answer.
        if self.commands.is_none() {
            self.commands = Commands::connect(&socket, ANSWER_PATIENCE).ok();
        }
        let counts = self.commands.as_mut().and_then(|commands| commands.rule_counts().ok());
        self.care.metrics.show_answer(counts);
        match counts {
            Some(counts) => {
                if !self.ready {
                    tracing::info!(rules = counts.loaded, failed = counts.failed, "Suricata is ready");
                    self.ready = true;
                }
                self.answered = Stopwatch::start();
            }
            None => self.commands = None,
        }
        self.answered.elapsed() > HANGS_AFTER
    }

    /// Keeps eve.json from filling the memory that it is in. One predecessor stays: whoever follows the file has it open.
    fn rotate(&mut self) {
        let Some((eve, bytes_max)) = &self.care.rotate else { return };
        if fs::metadata(eve).map_or(0, |found| found.len()) < *bytes_max {
            return;
        }
        let Some(commands) = &mut self.commands else { return };
        let mut before = eve.as_os_str().to_owned();
        before.push(".1");
        if let Err(error) = fs::rename(eve, &before) {
            tracing::warn!(%error, "eve.json cannot be rotated");
            return;
        }
        match commands.reopen_files() {
            Ok(()) => self.care.metrics.count_rotation(),
            Err(error) => {
                // Where it was, it goes on being written and is tried again.
                let _ = fs::rename(&before, eve);
                tracing::debug!(%error, "eve.json is not rotated");
                self.commands = None;
            }
        }
    }

    /// Fetches rules when they are due, on a thread of its own: a test of them takes long.
    fn update(&mut self) {
        if let Some(updating) = &self.updating {
            match updating.try_recv() {
                Ok(release) => release.iter().for_each(|release| self.care.metrics.show_release(release)),
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Disconnected) => {}
            }
            self.updating = None;
            self.tried = Some(Stopwatch::start());
        }
        let every_secs = self.care.update_secs;
        if every_secs == 0 || !self.ready {
            return;
        }
        let age_secs = self.care.store.current().filter(|release| !release.sources.is_empty());
        let age_secs = age_secs.map_or(u64::MAX, |release| unix_secs().saturating_sub(release.checked_unix_secs));
        // After a failure it is tried again in the time that is left of an hour, or of the interval.
        let waits = self.tried.is_some_and(|tried| tried.elapsed().as_secs() < every_secs.min(3_600));
        if age_secs < every_secs || waits {
            return;
        }
        let (tell, told) = channel();
        match update_aside(self.care, tell) {
            Ok(()) => self.updating = Some(told),
            Err(error) => tracing::warn!(%error, "thread `rules` cannot be started"),
        }
    }
}

/// Fetches, tests and takes rules; tells what is then in force.
fn update_aside(care: &Arc<Care>, tell: Sender<Option<Release>>) -> io::Result<()> {
    let care = Arc::clone(care);
    let work = move || {
        let (launch, store) = (&care.launch, &care.store);
        let test = TestWith { program: &launch.program, yaml: &launch.yaml };
        let result = match store.update(&care.sources, &test, unix_secs()) {
            Ok(Updated::Same(_)) => RuleUpdate::Same,
            Ok(Updated::New(release)) => match reload_or_rollback(store, &launch.run_dir.join(SOCKET), &release) {
                Ok(()) => {
                    let (rules, left_out) = (release.rules, release.left_out);
                    tracing::info!(release = release.number, rules, left_out, "Suricata runs with new rules");
                    RuleUpdate::New
                }
                Err((error, back)) => {
                    tracing::warn!(release = release.number, "new rules are not taken: {error}; {back}");
                    RuleUpdate::Refused
                }
            },
            Err(error) => {
                tracing::warn!("rules are not updated: {error}");
                RuleUpdate::Refused
            }
        };
        care.metrics.count_update(result);
        // Nobody waits for it where Suricata has ended meanwhile.
        let _ = tell.send(store.current());
    };
    thread::Builder::new().name("rules".to_owned()).spawn(work).map(|_| ())
}
