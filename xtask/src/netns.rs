//! Network namespaces of this process's own, with unlike names, gone when dropped. Touches no other namespace.

use std::{
    fs::File,
    io::Write,
    os::fd::AsFd,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use rustix::{
    process::{Pid, Signal, kill_process},
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

use crate::process::quiet;

/// Every namespace of ours begins so; the process that made it follows.
const PREFIX: &str = "ids-lab-";

pub(crate) struct Namespace {
    name: String,
}

impl Namespace {
    pub(crate) fn make(label: &str) -> Result<Self> {
        let name = format!("{PREFIX}{}-{label}", std::process::id());
        ip(&["netns", "add", &name])?;
        let namespace = Self { name };
        namespace.ip(&["link", "set", "lo", "up"])?;
        Ok(namespace)
    }

    /// As `ip netns` lists it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// A command that will run inside. By `nsenter`, since `ip netns exec` hides the BPF file system.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.name)).arg("--").arg(program);
        command
    }

    /// Moves the calling thread inside, for as long as it lives.
    pub(crate) fn enter(&self) -> Result<()> {
        let path = format!("/run/netns/{}", self.name);
        let file = File::open(&path).with_context(|| format!("`{path}` cannot be opened"))?;
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
            .with_context(|| format!("`{path}` cannot be entered"))
    }

    /// Makes a pair of interfaces, this end here and the other end in `other`.
    pub(crate) fn pair(&self, here: &str, other: &Self, there: &str) -> Result<()> {
        self.ip(&["link", "add", here, "type", "veth", "peer", "name", there, "netns", &other.name])?;
        self.offloads_off(here)?;
        other.offloads_off(there)
    }

    pub(crate) fn ip(&self, args: &[&str]) -> Result<()> {
        ip(&[&["-n", self.name.as_str()], args].concat())
    }

    /// Many commands of `ip` at once, one a line; the first that fails ends them. `options` hold for all of them.
    pub(crate) fn ip_batch(&self, options: &[&str], lines: &[String]) -> Result<()> {
        let mut child = Command::new("ip")
            .args(["-n", &self.name])
            .args(options)
            .args(["-batch", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("`ip` does not start")?;
        if let Some(mut input) = child.stdin.take() {
            input.write_all((lines.join("\n") + "\n").as_bytes()).context("`ip` takes no commands")?;
        }
        let output = child.wait_with_output().context("`ip` cannot be waited for")?;
        ensure!(
            output.status.success(),
            "`ip -n {} -batch` failed: {}",
            self.name,
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(())
    }

    /// Segmentation offload would hand the agent super-packets that never were on a wire.
    pub(crate) fn offloads_off(&self, interface: &str) -> Result<()> {
        let off = ["-K", interface, "tso", "off", "gso", "off", "gro", "off", "tx", "off"];
        quiet(self.command(Path::new("ethtool")).args(off)).map(drop)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        remove(&self.name);
    }
}

/// Takes down what was left by runs that were ended by force. Gives the names of the namespaces removed.
pub(crate) fn remove_stale() -> Result<Vec<String>> {
    let list = quiet(Command::new("ip").args(["netns", "list"]))?;
    let mut removed = Vec::new();
    for name in list.lines().filter_map(|line| line.split_whitespace().next()) {
        if owner(name).is_some_and(|pid| !is_xtask(pid)) {
            remove(name);
            removed.push(name.to_owned());
        }
    }
    Ok(removed)
}

/// The process that made the namespace, if it is one of a lab.
fn owner(name: &str) -> Option<u32> {
    name.strip_prefix(PREFIX)?.split('-').next()?.parse().ok()
}

/// Whether the process is one of ours.
pub(crate) fn is_xtask(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "xtask")
}

/// Ends what still runs inside and removes the namespace; interfaces go with it.
fn remove(name: &str) {
    let inside = quiet(Command::new("ip").args(["netns", "pids", name])).unwrap_or_default();
    for pid in inside.lines().filter_map(|line| line.trim().parse().ok().and_then(Pid::from_raw)) {
        let _gone = kill_process(pid, Signal::KILL);
    }
    // A namespace that is gone already is what we want.
    let _gone = ip(&["netns", "delete", name]);
}

fn ip(args: &[&str]) -> Result<()> {
    quiet(Command::new("ip").args(args)).map(drop).context("the network namespaces")
}

#[cfg(test)]
mod tests {
    use super::owner;

    #[test]
    fn only_namespaces_of_a_lab_have_an_owner() {
        assert_eq!(owner("ids-lab-4711-gateway"), Some(4711));
        assert_eq!(owner("ids-lab-x-gateway"), None);
        assert_eq!(owner("other-4711-gateway"), None);
    }
}
