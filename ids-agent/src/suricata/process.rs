//! Suricata's process: begun, looked at, waited for, and brought to its end.

use std::{
    fs, io,
    io::PipeReader,
    os::unix::process::{CommandExt, ExitStatusExt},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use super::share::{Held, Share};
use crate::clock::Stopwatch;

/// Why Suricata did not begin.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    #[error("there is no program `{}`: install Suricata, or set suricata.program", program.display())]
    NotFound { program: PathBuf },
    #[error("`{}` cannot be started: {source}", program.display())]
    Start { program: PathBuf, source: io::Error },
}

/// How to begin.
#[derive(Clone, Debug)]
pub struct Launch {
    pub program: PathBuf,
    pub yaml: PathBuf,
    pub run_dir: PathBuf,
    pub share: Share,
}

impl Launch {
    /// Begins it. What it says comes out of the second value, which must be read to its end.
    pub fn start(&self) -> Result<(Running, PipeReader), ProcessError> {
        let failed = |source| ProcessError::Start { program: self.program.clone(), source };
        let (said, says) = io::pipe().map_err(failed)?;
        let also_says = says.try_clone().map_err(failed)?;
        let mut socket = std::ffi::OsString::from("unix-command.filename=");
        socket.push(self.run_dir.join(super::SOCKET));
        let child = begin(&self.program, |command| {
            command
                .arg("-c")
                .arg(&self.yaml)
                .arg("--af-packet")
                .arg("-l")
                .arg(&self.run_dir)
                .arg("--pidfile")
                .arg(self.run_dir.join(super::PID))
                // A configuration of the operator's own may say otherwise.
                .args(["--set", "unix-command.enabled=yes", "--set"])
                .arg(socket)
                .stdout(also_says)
                .stderr(says);
        })?;
        let held = self.share.hold(Pid::from_child(&child));
        Ok((Running { child, held }, said))
    }

    /// Ends a Suricata that an agent left behind when it was killed: two of them would write the same eve.json. Tells
    /// its process, where there was one.
    pub fn orphan(&self) -> Option<Pid> {
        let text = fs::read_to_string(self.run_dir.join(super::PID)).ok()?;
        let pid = Pid::from_raw(text.trim().parse().ok()?)?;
        let line = fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).ok()?;
        let mut words = line.split(|byte| *byte == 0);
        // The file may be old, and its number somebody else's by now.
        let ours = words.any(|word| word == self.yaml.as_os_str().as_encoded_bytes());
        ours.then_some(pid)
    }
}

/// Begins a program that ends with the agent, even with one that is killed. `configure` gives it its arguments, and says
/// where its words go.
pub(super) fn begin(program: &Path, configure: impl FnOnce(&mut Command)) -> Result<Child, ProcessError> {
    let path = found(program).ok_or_else(|| ProcessError::NotFound { program: program.to_owned() })?;
    let mut command = match found(Path::new("setpriv")) {
        Some(setpriv) => {
            let mut command = Command::new(setpriv);
            command.args(["--pdeathsig", "TERM", "--"]).arg(path);
            command
        }
        None => Command::new(path),
    };
    configure(&mut command);
    // A Ctrl-C at the agent's terminal is not for it: the agent ends it in its own time.
    let begun = command.stdin(Stdio::null()).process_group(0).spawn();
    begun.map_err(|source| ProcessError::Start { program: program.to_owned(), source })
}

/// How often a process is looked at that is about to end.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Waits until a process ends, but not beyond `patience`.
pub(super) fn wait_for(child: &mut Child, patience: Duration) -> io::Result<Option<ExitStatus>> {
    let watch = Stopwatch::start();
    loop {
        match child.try_wait()? {
            None if watch.elapsed() < patience => thread::sleep(LOOK_EVERY),
            ended => return Ok(ended),
        }
    }
}

/// A program by its path, or by its name where programs are.
pub(super) fn found(program: &Path) -> Option<PathBuf> {
    if program.components().count() > 1 {
        return program.is_file().then(|| program.to_owned());
    }
    let path = std::env::var_os("PATH")?;
    // Debian keeps Suricata in the second, which users' paths often lack.
    let folders = std::env::split_paths(&path).chain(["/usr/bin", "/usr/sbin"].map(PathBuf::from));
    folders.map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// The first version that takes the configuration that the agent writes.
pub const VERSION_MIN: u32 = 7;

/// Whether there is a program of this name.
pub fn installed(program: &str) -> bool {
    found(Path::new(program)).is_some()
}

/// The first number of a Suricata's version, and the whole of it.
pub fn version(program: &Path) -> Option<(u32, String)> {
    let output = Command::new(found(program)?).arg("-V").stdin(Stdio::null()).output().ok()?;
    let said = String::from_utf8_lossy(&output.stdout);
    let whole = said.split_whitespace().skip_while(|word| *word != "version").nth(1)?;
    Some((whole.split('.').next()?.parse().ok()?, whole.to_owned()))
}

/// Whether a process is there that is nobody's child of ours.
pub fn is_there(pid: Pid) -> bool {
    test_kill_process(pid).is_ok()
}

/// Sends a signal; a process that has ended already is no failure.
pub fn signal(pid: Pid, signal: Signal) {
    // It may have ended in this moment.
    let _ = kill_process(pid, signal);
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending(ExitStatus);

impl std::fmt::Display for Ending {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.0.code(), self.0.signal()) {
            (Some(code), _) => write!(out, "exit code {code}"),
            (None, Some(signal)) => write!(out, "signal {signal}"),
            (None, None) => write!(out, "{}", self.0),
        }
    }
}

/// What it takes now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub resident_bytes: u64,
    /// Since it began, of all its threads.
    pub cpu_ns: u64,
}

/// A process that was begun and not yet seen to end.
#[derive(Debug)]
pub struct Running {
    child: Child,
    held: Held,
}

impl Running {
    /// A process that is held to no share.
    pub(super) fn unheld(child: Child) -> Self {
        Self { child, held: Held::default() }
    }

    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub fn held(&self) -> Held {
        self.held
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> io::Result<Option<Ending>> {
        Ok(self.child.try_wait()?.map(Ending))
    }

    /// Waits until it ends, but not beyond `patience`.
    pub fn wait(&mut self, patience: Duration) -> io::Result<Option<Ending>> {
        Ok(wait_for(&mut self.child, patience)?.map(Ending))
    }

    /// Asks it to write what it has and end.
    pub fn ask_end(&self) {
        signal(self.pid(), Signal::TERM);
    }

    /// Ends it without a word, and waits until it is gone.
    pub fn kill(&mut self) -> io::Result<()> {
        signal(self.pid(), Signal::KILL);
        self.child.wait().map(|_| ())
    }

    pub fn usage(&self) -> Option<Usage> {
        usage(&PathBuf::from(format!("/proc/{}", self.child.id())))
    }
}

/// Without this a killed agent's thread would leave it behind.
impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // Nobody is left to tell.
            let _ = self.kill();
        }
    }
}

/// Reads `stat` and `statm` of a process (proc(5)).
fn usage(folder: &Path) -> Option<Usage> {
    let statm = fs::read_to_string(folder.join("statm")).ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    let stat = fs::read_to_string(folder.join("stat")).ok()?;
    // The name may hold spaces and parentheses; what follows its last one does not.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let user: u64 = fields.nth(11)?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    let tick_ns = 1_000_000_000 / rustix::param::clock_ticks_per_second().max(1);
    Some(Usage {
        resident_bytes: pages.saturating_mul(rustix::param::page_size() as u64),
        cpu_ns: user.saturating_add(system).saturating_mul(tick_ns),
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

    use std::io::Read;

    use super::*;

    fn launch(folder: &Path, program: &str) -> Launch {
        Launch {
            program: PathBuf::from(program),
            yaml: folder.join("suricata.yaml"),
            run_dir: folder.to_owned(),
            share: Share { cpus: vec![0], private_bytes: 1 << 30 },
        }
    }

    /// A program that stands for Suricata: it says what limits it runs under.
    fn script(folder: &Path, text: &str) -> String {
        use std::os::unix::fs::PermissionsExt;
        let path = folder.join("program");
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path.to_string_lossy().into_owned()
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = launch(folder.path(), "/nowhere/suricata").start().unwrap_err().to_string();
        assert!(error.contains("no program `/nowhere/suricata`"), "{error}");
    }

    #[test]
    fn what_it_says_and_how_it_ends_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let program = script(folder.path(), "echo said; echo wrong >&2; exit 3");
        let (mut running, mut said) = launch(folder.path(), &program).start().unwrap();
        let mut text = String::new();
        said.read_to_string(&mut text).unwrap();
        assert_eq!(text, "said\nwrong\n");
        let ending = running.child.wait().unwrap();
        assert_eq!(Ending(ending).to_string(), "exit code 3");
    }

    #[test]
    fn a_process_is_held_to_its_share() {
        let folder = tempfile::tempdir().unwrap();
        // Reads only once the limits stand: they are set right after the start.
        let program = script(folder.path(), "sleep 0.3; ulimit -d; nproc; nice");
        let (mut running, mut said) = launch(folder.path(), &program).start().unwrap();
        assert_eq!(running.held(), Held { cpus: true, memory: true, nice: true });
        let mut text = String::new();
        said.read_to_string(&mut text).unwrap();
        assert_eq!(text.lines().collect::<Vec<_>>(), ["1048576", "1", "5"]);
        assert_eq!(running.child.wait().unwrap().code(), Some(0));
    }

    #[test]
    fn usage_of_this_process_is_read() {
        let usage = usage(Path::new("/proc/self")).unwrap();
        assert!(usage.resident_bytes > 1 << 20, "{usage:?}");
    }

    #[test]
    fn an_orphan_is_known_by_its_configuration() {
        let folder = tempfile::tempdir().unwrap();
        let program = script(folder.path(), "sleep 30");
        let launch = launch(folder.path(), &program);
        assert_eq!(launch.orphan(), None, "no pid file");
        fs::write(folder.path().join(super::super::PID), std::process::id().to_string()).unwrap();
        assert_eq!(launch.orphan(), None, "a process of another kind");
        let (mut running, _said) = launch.start().unwrap();
        fs::write(folder.path().join(super::super::PID), running.child.id().to_string()).unwrap();
        // The name of the program stands there only once the script runs.
        while launch.orphan().is_none() {
            assert_eq!(running.ended().unwrap(), None);
            thread::yield_now();
        }
        assert_eq!(launch.orphan(), Some(running.pid()));
        running.kill().unwrap();
        assert_eq!(launch.orphan(), None);
    }
}
