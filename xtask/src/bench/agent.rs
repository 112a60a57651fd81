//! The agent as the benches run it, in a namespace of its own: started, asked, and measured from outside.

use std::{
    fs::{self, File},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{
    metrics::Metrics,
    netns::Namespace,
    process::{Group, Interrupt, quiet},
    workspace,
};

pub(super) const PORT: &str = "127.0.0.1:9478";
/// What keeps it from what this machine's own agent is told and has learned.
pub(super) const APART: &str = "[state]\nenabled = false\n[evidence]\nkeep = 0\n[control]\nenabled = false\n";
const READY_MAX: Duration = Duration::from_secs(60);

/// An agent on one interface of a namespace.
pub(super) struct Agent<'a> {
    gateway: &'a Namespace,
    group: Group,
}

impl<'a> Agent<'a> {
    /// Starts it and waits until it is ready; `dir` takes its configuration and its log.
    pub(super) fn start(
        gateway: &'a Namespace,
        binary: &Path,
        mode: &str,
        config: &str,
        dir: &Path,
        interrupt: &Interrupt,
    ) -> Result<Self> {
        fs::create_dir_all(dir).with_context(|| format!("`{}` cannot be made", dir.display()))?;
        let path = dir.join("config.toml");
        fs::write(&path, format!("{APART}{config}"))
            .with_context(|| format!("`{}` cannot be written", path.display()))?;
        let log = File::create(dir.join("agent.log")).context("the agent's log cannot be written")?;
        let mut command = gateway.command(binary);
        command
            .args(["run", "--interface", "lan0", "--mode", mode, "--metrics", PORT, "--models"])
            .arg(workspace::root()?.join("models"))
            .arg("--config")
            .arg(&path)
            .arg("--alerts")
            .arg(dir.join("alerts.ndjson"))
            .stdout(Stdio::from(log.try_clone()?))
            .stderr(Stdio::from(log));
        let _none = fs::remove_file(dir.join("alerts.ndjson"));
        let mut agent = Self { gateway, group: Group::start("ids-agent", &mut command)? };
        let deadline = Instant::now() + READY_MAX;
        while fetch(gateway, "/readyz").is_err() {
            interrupt.check()?;
            if let Some(status) = agent.group.ended()? {
                let said = fs::read_to_string(dir.join("agent.log")).unwrap_or_default();
                bail!("the agent ended ({status}); it said:\n{said}");
            }
            if Instant::now() >= deadline {
                bail!("the agent is not ready after {} s", READY_MAX.as_secs());
            }
            thread::sleep(Duration::from_millis(100));
        }
        Ok(agent)
    }

    pub(super) fn has_ended(&mut self) -> Result<bool> {
        Ok(self.group.ended()?.is_some())
    }

    pub(super) fn stop(mut self) -> Result<bool> {
        Ok(self.group.stop(Duration::from_secs(20))?.success())
    }

    pub(super) fn metrics(&self) -> Result<Metrics> {
        Ok(Metrics { text: fetch(self.gateway, "/metrics")? })
    }

    /// Packets that its programs saw since it began.
    pub(super) fn packets_seen(&self) -> Result<f64> {
        self.metrics()?.sum("ids_packets_seen_total", &[]).context("the agent counts no packets")
    }

    pub(super) fn rss_bytes(&self) -> Result<f64> {
        let status = fs::read_to_string(self.proc("status")).context("the agent is gone")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS in /proc")?;
        let kib: f64 = line.trim().trim_end_matches("kB").trim().parse().context("VmRSS is no number")?;
        Ok(kib * 1024.0)
    }

    /// CPU seconds of all its threads since it began.
    pub(super) fn cpu_secs(&self) -> Result<f64> {
        cpu_secs(self.group.pid())
    }

    /// How often its threads woke from waiting since it began.
    pub(super) fn wakes(&self) -> Result<f64> {
        let mut wakes = 0.0;
        for task in fs::read_dir(self.proc("task")).context("the agent is gone")? {
            // A thread may end while it is looked at.
            let status = fs::read_to_string(task?.path().join("status")).unwrap_or_default();
            let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            wakes += line.and_then(|count| count.trim().parse::<f64>().ok()).unwrap_or_default();
        }
        Ok(wakes)
    }

    /// `nsenter` became the program it started.
    fn proc(&self, name: &str) -> String {
        format!("/proc/{}/{name}", self.group.pid())
    }
}

/// CPU seconds of a process, all its threads (proc_pid_stat(5)).
pub(super) fn cpu_secs(pid: u32) -> Result<f64> {
    let ticks_per_sec = rustix::param::clock_ticks_per_second() as f64;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).context("a process that is measured is gone")?;
    let (_, rest) = stat.rsplit_once(')').context("/proc/PID/stat has no name")?;
    let ticks = rest.split_whitespace().skip(11).take(2).map(|field| field.parse::<f64>().unwrap_or(0.0));
    Ok(ticks.sum::<f64>() / ticks_per_sec)
}

/// As the interface itself counts them.
pub(super) fn packets_received(space: &Namespace, interface: &str) -> Result<f64> {
    let said = quiet(Command::new("ip").args(["-n", space.name(), "-s", "-j", "link", "show", interface]))?;
    let links: Value = serde_json::from_str(&said).context("`ip -j` is not JSON")?;
    links[0]["stats64"]["rx"]["packets"].as_f64().context("`ip -j` counts no packets")
}

pub(super) fn fetch(gateway: &Namespace, path: &str) -> Result<String> {
    let mut command = gateway.command(Path::new("curl"));
    quiet(command.args(["-sSf", "--max-time", "5", "--noproxy", "*"]).arg(format!("http://{PORT}{path}")))
}

pub(super) fn pause(long: Duration, interrupt: &Interrupt) -> Result<()> {
    let until = Instant::now() + long;
    while Instant::now() < until {
        interrupt.check()?;
        thread::sleep(Duration::from_millis(100).min(until - Instant::now()));
    }
    Ok(())
}
