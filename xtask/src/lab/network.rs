//! The lab's network: five namespaces that know no way out. Made and taken down here; nothing else is touched.
//!
//! ```text
//!   client ──┐
//!            ├─ switch ─── lan0  gateway  wan0 ─── server
//! attacker ──┘             (the agent)
//! ```
//!
//! The switch is a bridge in a namespace of its own, because native XDP attaches to a port of the gateway and not to a
//! bridge.

use std::{path::Path, process::Command};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

use crate::process::quiet;

/// Every namespace of every lab begins so; the process that made it follows.
const PREFIX: &str = "ids-lab-";

pub(super) const LAN_PORT: &str = "lan0";
pub(super) const CLIENT: [&str; 2] = ["192.168.77.10", "fd77:1::10"];
pub(super) const ATTACKER: [&str; 2] = ["192.168.77.66", "fd77:1::66"];
pub(super) const SERVER: [&str; 2] = ["10.77.0.80", "fd77:2::80"];
const GATEWAY_LAN: [&str; 2] = ["192.168.77.1", "fd77:1::1"];
const GATEWAY_WAN: [&str; 2] = ["10.77.0.1", "fd77:2::1"];
const LAN: [&str; 2] = ["192.168.77.0/24", "fd77:1::/64"];
const WAN: [&str; 2] = ["10.77.0.0/24", "fd77:2::/64"];
const PREFIX_LENGTHS: [&str; 2] = ["24", "64"];

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Space {
    Gateway,
    Switch,
    Client,
    Attacker,
    Server,
}

impl Space {
    const ALL: [Self; 5] = [Self::Gateway, Self::Switch, Self::Client, Self::Attacker, Self::Server];

    fn label(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Switch => "switch",
            Self::Client => "client",
            Self::Attacker => "attacker",
            Self::Server => "server",
        }
    }
}

/// The namespaces of this process, taken down when this is dropped.
pub(super) struct Network {
    prefix: String,
}

impl Network {
    pub(super) fn raise() -> Result<Self> {
        let network = Self { prefix: format!("{PREFIX}{}-", std::process::id()) };
        for space in Space::ALL {
            ip(&["netns", "add", &network.name(space)])?;
            network.ip(space, &["link", "set", "lo", "up"])?;
        }
        network.wire()?;
        Ok(network)
    }

    /// The namespace's name, as `ip netns` lists it.
    pub(super) fn name(&self, space: Space) -> String {
        format!("{}{}", self.prefix, space.label())
    }

    /// A command that will run inside `space`. By `nsenter`, since `ip netns exec` hides the BPF file system.
    pub(super) fn command(&self, space: Space, program: &Path) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.name(space))).arg("--").arg(program);
        command
    }

    fn wire(&self) -> Result<()> {
        self.ip(Space::Switch, &["link", "add", "br0", "type", "bridge"])?;
        self.ip(Space::Switch, &["link", "set", "br0", "up"])?;
        for (space, port, interface) in
            [(Space::Gateway, "port0", LAN_PORT), (Space::Client, "port1", "eth0"), (Space::Attacker, "port2", "eth0")]
        {
            let peer = self.name(space);
            self.ip(Space::Switch, &["link", "add", port, "type", "veth", "peer", "name", interface, "netns", &peer])?;
            self.ip(Space::Switch, &["link", "set", port, "master", "br0", "up"])?;
            self.offloads_off(Space::Switch, port)?;
        }
        let server = self.name(Space::Server);
        self.ip(Space::Gateway, &["link", "add", "wan0", "type", "veth", "peer", "name", "eth0", "netns", &server])?;
        self.address(Space::Gateway, LAN_PORT, GATEWAY_LAN)?;
        self.address(Space::Gateway, "wan0", GATEWAY_WAN)?;
        self.address(Space::Client, "eth0", CLIENT)?;
        self.address(Space::Attacker, "eth0", ATTACKER)?;
        self.address(Space::Server, "eth0", SERVER)?;
        for version in 0..2 {
            self.ip(Space::Client, &["route", "add", WAN[version], "via", GATEWAY_LAN[version]])?;
            self.ip(Space::Attacker, &["route", "add", WAN[version], "via", GATEWAY_LAN[version]])?;
            self.ip(Space::Server, &["route", "add", LAN[version], "via", GATEWAY_WAN[version]])?;
        }
        let forward = "echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding";
        quiet(self.command(Space::Gateway, Path::new("sh")).args(["-c", forward])).map(drop)
    }

    fn address(&self, space: Space, interface: &str, addresses: [&str; 2]) -> Result<()> {
        self.offloads_off(space, interface)?;
        for (address, length) in addresses.iter().zip(PREFIX_LENGTHS) {
            let with_length = format!("{address}/{length}");
            let mut args = vec!["address", "add", &with_length, "dev", interface];
            // Without this an IPv6 address is unusable for a second while duplicates are looked for.
            if address.contains(':') {
                args.push("nodad");
            }
            self.ip(space, &args)?;
        }
        self.ip(space, &["link", "set", interface, "up"])
    }

    /// Segmentation offload would hand the agent super-packets that never were on a wire.
    fn offloads_off(&self, space: Space, interface: &str) -> Result<()> {
        let off = ["-K", interface, "tso", "off", "gso", "off", "gro", "off", "tx", "off"];
        quiet(self.command(space, Path::new("ethtool")).args(off)).map(drop)
    }

    fn ip(&self, space: Space, args: &[&str]) -> Result<()> {
        let name = self.name(space);
        ip(&[&["-n", name.as_str()], args].concat())
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for space in Space::ALL {
            remove(&self.name(space));
        }
    }
}

/// Takes down what labs left that were ended by force. Gives the names of the namespaces removed.
pub(super) fn remove_stale() -> Result<Vec<String>> {
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

fn is_xtask(pid: u32) -> bool {
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
    quiet(Command::new("ip").args(args)).map(drop).context("the lab's network")
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
