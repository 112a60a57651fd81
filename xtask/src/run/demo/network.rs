//! The lab's network: five namespaces that know no way out.
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

use anyhow::Result;

use crate::{netns::Namespace, process::quiet};

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
    Client,
    Attacker,
    Server,
}

/// The namespaces, taken down when this is dropped.
pub(super) struct Network {
    switch: Namespace,
    gateway: Namespace,
    client: Namespace,
    attacker: Namespace,
    server: Namespace,
}

impl Network {
    pub(super) fn raise() -> Result<Self> {
        let network = Self {
            switch: Namespace::make("switch")?,
            gateway: Namespace::make("gateway")?,
            client: Namespace::make("client")?,
            attacker: Namespace::make("attacker")?,
            server: Namespace::make("server")?,
        };
        network.wire()?;
        Ok(network)
    }

    /// The namespace's name, as `ip netns` lists it.
    pub(super) fn name(&self, space: Space) -> &str {
        self.at(space).name()
    }

    /// A command that will run inside `space`.
    pub(super) fn command(&self, space: Space, program: &Path) -> Command {
        self.at(space).command(program)
    }

    fn at(&self, space: Space) -> &Namespace {
        match space {
            Space::Gateway => &self.gateway,
            Space::Client => &self.client,
            Space::Attacker => &self.attacker,
            Space::Server => &self.server,
        }
    }

    fn wire(&self) -> Result<()> {
        self.switch.ip(&["link", "add", "br0", "type", "bridge"])?;
        self.switch.ip(&["link", "set", "br0", "up"])?;
        for (machine, port, interface) in
            [(&self.gateway, "port0", LAN_PORT), (&self.client, "port1", "eth0"), (&self.attacker, "port2", "eth0")]
        {
            self.switch.pair(port, machine, interface)?;
            self.switch.ip(&["link", "set", port, "master", "br0", "up"])?;
        }
        self.gateway.pair("wan0", &self.server, "eth0")?;
        address(&self.gateway, LAN_PORT, GATEWAY_LAN)?;
        address(&self.gateway, "wan0", GATEWAY_WAN)?;
        address(&self.client, "eth0", CLIENT)?;
        address(&self.attacker, "eth0", ATTACKER)?;
        address(&self.server, "eth0", SERVER)?;
        for version in 0..2 {
            self.client.ip(&["route", "add", WAN[version], "via", GATEWAY_LAN[version]])?;
            self.attacker.ip(&["route", "add", WAN[version], "via", GATEWAY_LAN[version]])?;
            self.server.ip(&["route", "add", LAN[version], "via", GATEWAY_WAN[version]])?;
        }
        let forward = "echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding";
        quiet(self.gateway.command(Path::new("sh")).args(["-c", forward])).map(drop)
    }
}

fn address(machine: &Namespace, interface: &str, addresses: [&str; 2]) -> Result<()> {
    for (address, length) in addresses.iter().zip(PREFIX_LENGTHS) {
        let with_length = format!("{address}/{length}");
        let mut args = vec!["address", "add", &with_length, "dev", interface];
        // Without this an IPv6 address is unusable for a second while duplicates are looked for.
        if address.contains(':') {
            args.push("nodad");
        }
        machine.ip(&args)?;
    }
    machine.ip(&["link", "set", interface, "up"])
}
