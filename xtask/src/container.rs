//! A booted Debian in systemd-nspawn with a network of its own: started, looked into, and powered off.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    debian::Debian,
    process::{Group, quiet},
};

/// What a container is not let do by default, and the agent does.
const CAPABILITIES: &str = "CAP_BPF,CAP_NET_ADMIN,CAP_PERFMON";
const CALLS: &str = "bpf perf_event_open seccomp landlock_create_ruleset landlock_add_rule landlock_restrict_self";
/// For systemd to begin, and to end.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Container {
    nspawn: Group,
    /// The container's first process, as this machine counts.
    leader: u32,
    console: PathBuf,
}

impl Container {
    /// Boots the Debian that lies in `root`; what it prints goes to `console`.
    pub(crate) fn boot(root: &Path, console: &Path) -> Result<Self> {
        let log = File::create(console).with_context(|| format!("`{}` cannot be made", console.display()))?;
        let mut command = Command::new("systemd-nspawn");
        command
            .args(["--quiet", "--boot", "--private-network", "--register=no", "--keep-unit", "--link-journal=no"])
            .arg(format!("--capability={CAPABILITIES}"))
            .arg(format!("--system-call-filter={CALLS}"))
            .arg("--directory")
            .arg(root)
            // So that there can be a BPF file system where systemd has one.
            .env("SYSTEMD_NSPAWN_API_VFS_WRITABLE", "1")
            .stdout(log.try_clone().context("a file cannot be opened twice")?)
            .stderr(log);
        let mut nspawn = Group::start("systemd-nspawn", &mut command)?;
        let began = Instant::now();
        let leader = loop {
            if let Some(leader) = leader_of(nspawn.pid()) {
                break leader;
            }
            if nspawn.ended()?.is_some() || began.elapsed() > PATIENCE {
                bail!("systemd does not begin in the container: {}", last_lines(console));
            }
            thread::sleep(Duration::from_millis(50));
        };
        Ok(Self { nspawn, leader, console: console.to_owned() })
    }

    /// Whether it has powered itself off.
    pub(crate) fn is_off(&mut self) -> Result<bool> {
        Ok(self.nspawn.ended()?.is_some())
    }

    /// Has systemd end everything.
    pub(crate) fn power_off(mut self) -> Result<()> {
        let began = Instant::now();
        self.says(&["systemctl", "--no-block", "poweroff"])?;
        while !self.is_off()? {
            ensure!(began.elapsed() < PATIENCE, "the container does not end: {}", last_lines(&self.console));
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

impl Debian for Container {
    fn says(&self, words: &[&str]) -> Result<String> {
        quiet(Command::new("nsenter").args(["--target", &self.leader.to_string(), "--all", "--"]).args(words))
    }
}

/// The child that has become systemd.
fn leader_of(nspawn: u32) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{nspawn}/task/{nspawn}/children")).ok()?;
    let named = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "systemd");
    children.split_whitespace().filter_map(|pid| pid.parse().ok()).find(named)
}

/// The end of what it printed.
fn last_lines(console: &Path) -> String {
    let text = fs::read(console).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().rev().take(5).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("; ")
}
