//! The agent under test: started, looked at from outside, and treated badly. Starts it anew as a service manager would.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use rustix::process::Signal;
use serde_json::Value;

use super::stage::Stage;
use crate::{
    metrics::Metrics,
    process::{Group, Interrupt},
};

/// Loading models and verifying programs takes seconds on a busy machine.
const READY_MAX: Duration = Duration::from_secs(90);
/// The agent names who is still at work after ten seconds.
const STOP_MAX: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(50);
const REFUSED: &str = "reload refused";

pub(crate) struct Sensor<'a> {
    stage: &'a Stage,
    binary: PathBuf,
    group: Group,
}

/// What came of reading everything again.
#[derive(Debug)]
pub(crate) enum Reloaded {
    Done { changed: bool },
    Refused(String),
}

/// What a process holds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Holdings {
    pub(crate) rss_bytes: f64,
    pub(crate) descriptors: f64,
    pub(crate) threads: f64,
}

impl<'a> Sensor<'a> {
    /// Starts it and waits until it says that it is ready.
    pub(crate) fn start(stage: &'a Stage, binary: PathBuf, interrupt: &Interrupt) -> Result<Self> {
        let group = begin(stage, &binary)?;
        let mut sensor = Self { stage, binary, group };
        sensor.await_ready(interrupt)?;
        Ok(sensor)
    }

    /// Starts it anew, after it ended; gives the time that took until it was ready.
    pub(crate) fn again(&mut self, interrupt: &Interrupt) -> Result<Duration> {
        let asked = Instant::now();
        self.group = begin(self.stage, &self.binary)?;
        self.await_ready(interrupt)?;
        Ok(asked.elapsed())
    }

    fn await_ready(&mut self, interrupt: &Interrupt) -> Result<()> {
        let deadline = Instant::now() + READY_MAX;
        while !matches!(self.get("/readyz"), Ok((200, _))) {
            interrupt.check()?;
            self.check()?;
            ensure!(Instant::now() < deadline, "the agent is not ready after {} s", READY_MAX.as_secs());
            thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    /// Fails if it ended by itself.
    pub(crate) fn check(&mut self) -> Result<()> {
        if let Some(status) = self.group.ended()? {
            let said = self.log();
            let lines: Vec<&str> = said.lines().collect();
            bail!(
                "the agent ended by itself ({status}); it said:\n{}",
                lines[lines.len().saturating_sub(15)..].join("\n")
            );
        }
        Ok(())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.group.signal(signal);
    }

    /// Kills it and waits until it is gone.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.group.signal(Signal::KILL);
        let deadline = Instant::now() + STOP_MAX;
        while self.group.ended()?.is_none() {
            ensure!(Instant::now() < deadline, "the agent survives SIGKILL");
            thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    /// Ends it as a service manager does.
    pub(crate) fn stop(&mut self) -> Result<ExitStatus> {
        self.group.stop(STOP_MAX)
    }

    /// Asks over the control socket to read everything again.
    pub(crate) fn reload(&self) -> Result<Reloaded> {
        let mut command = Command::new(&self.binary);
        command.args(["reload", "--json", "--socket"]).arg(self.stage.path("control.sock")).env("NO_COLOR", "1");
        let output = command.output().context("`ids-agent reload` does not start")?;
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        match output.status.code() {
            Some(0) => {
                let done: Value = serde_json::from_slice(&output.stdout).context("`reload --json` is not JSON")?;
                let is_none = |key: &str| done[key].as_array().is_some_and(Vec::is_empty);
                Ok(Reloaded::Done { changed: !(is_none("changed") && is_none("rebuilt") && is_none("needs_restart")) })
            }
            Some(1) => Ok(Reloaded::Refused(said)),
            _ => bail!("`ids-agent reload` ended with {}: {said}", output.status),
        }
    }

    /// How many reloads its log says were refused.
    pub(crate) fn refusals(&self) -> usize {
        self.log().matches(REFUSED).count()
    }

    /// The last refusal in its log.
    pub(crate) fn last_refusal(&self) -> String {
        self.log().lines().rfind(|line| line.contains(REFUSED)).unwrap_or_default().to_owned()
    }

    fn log(&self) -> String {
        let bytes = fs::read(self.stage.path("agent.log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    pub(crate) fn page(&self) -> Result<Metrics> {
        match self.get("/metrics")? {
            (200, text) => Ok(Metrics { text }),
            (code, _) => bail!("the page of metrics says {code}"),
        }
    }

    fn get(&self, path: &str) -> Result<(u16, String)> {
        let gateway = &self.stage.gateway;
        thread::scope(|scope| {
            let asking = scope.spawn(move || -> Result<(u16, String)> {
                gateway.enter()?;
                let address: SocketAddr = Stage::pages().parse()?;
                let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2))?;
                stream.set_read_timeout(Some(Duration::from_secs(5)))?;
                write!(stream, "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")?;
                let mut answer = String::new();
                stream.read_to_string(&mut answer)?;
                let (head, body) = answer.split_once("\r\n\r\n").context("half an answer")?;
                let code = head.split(' ').nth(1).context("no answer")?.parse()?;
                Ok((code, body.to_owned()))
            });
            asking.join().map_err(|_| anyhow!("asking the agent failed"))?
        })
    }

    /// Of the process itself: `nsenter` became the program it started.
    pub(crate) fn holdings(&self) -> Result<Holdings> {
        let pid = self.group.pid();
        let status = fs::read_to_string(format!("/proc/{pid}/status")).context("the agent is gone")?;
        let number = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let word = line.and_then(|line| line.split_whitespace().next());
            word.and_then(|word| word.parse::<f64>().ok()).with_context(|| format!("no {name} in /proc"))
        };
        let open = fs::read_dir(format!("/proc/{pid}/fd")).context("the agent is gone")?.count();
        Ok(Holdings {
            rss_bytes: number("VmRSS:")? * 1_024.0,
            descriptors: u32::try_from(open).map(f64::from)?,
            threads: number("Threads:")?,
        })
    }
}

fn begin(stage: &Stage, binary: &Path) -> Result<Group> {
    let path = stage.path("agent.log");
    let log: File = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .with_context(|| format!("`{}` cannot be written", path.display()))?;
    let mut command = stage.gateway.command(binary);
    command
        .args(["run", "--config"])
        .arg(stage.path("config.toml"))
        .env("NO_COLOR", "1")
        .stdout(Stdio::from(log.try_clone()?))
        .stderr(Stdio::from(log));
    Group::start("ids-agent", &mut command)
}
