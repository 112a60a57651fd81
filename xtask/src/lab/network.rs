//! The lab's network as namespaces: a LAN behind a switch, a gateway, a provider and single hosts behind it. Knows no way out.
//!
//! ```text
//! client1 ──┐                                         ┌── site1
//! device1 ──┼─ switch ─── lan0  gateway  wan0 ── isp ─┼── site2
//! inside1 ──┘   (captured here)       rate     delay  └── outside1
//! ```
//!
//! The capture sees what a gateway sees whose LAN ports are a bridge: all that crosses the switch, once.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    net::IpAddr,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use super::{
    servers::PYTHON,
    world::{Host, LAN4_BITS, LAN6_BITS, World},
};
use crate::{
    netns::Namespace,
    process::{Group, quiet},
};

/// Where the capture is taken, in the switch.
pub(super) const TAP: &str = "br0";
const PROVIDER4: &str = "100.64.0.1";
const PROVIDER6: &str = "fe80::1";

/// The namespaces, taken down when this is dropped.
pub(super) struct Network {
    switch: Namespace,
    isp: Namespace,
    machines: BTreeMap<String, Namespace>,
    /// What the machines call themselves.
    hostnames: BTreeMap<String, String>,
    dir: PathBuf,
    programs: PathBuf,
    /// Ends with the network.
    _delay: Option<Group>,
}

impl Network {
    /// `run` tells this network's namespaces from those of others that stand beside it.
    pub(super) fn raise(world: &World, run: usize, dir: &Path, programs: &Path) -> Result<Self> {
        let make = |name: &str| Namespace::make(&format!("{run}-{name}"));
        let mut network = Self {
            switch: make("switch")?,
            isp: make("isp")?,
            machines: BTreeMap::new(),
            hostnames: world.hosts().map(|host| (host.name.clone(), host.hostname.clone())).collect(),
            dir: dir.to_path_buf(),
            programs: programs.to_path_buf(),
            _delay: None,
        };
        let gateway = make("gateway")?;
        network.wire_gateway(&gateway, world)?;
        network.machines.insert("gateway".to_owned(), gateway);
        for (number, host) in world.locals().enumerate() {
            let machine = make(&host.name)?;
            network.wire_local(&machine, host, world, number + 1)?;
            network.machines.insert(host.name.clone(), machine);
        }
        let ports = 0..=world.locals().count();
        let plug_in: Vec<String> = ports.map(|port| format!("link set port{port} master {TAP} up")).collect();
        network.switch.ip_batch(&[], &plug_in)?;
        for (number, host) in world.far().enumerate() {
            let machine = make(&host.name)?;
            network.wire_far(&machine, host, number + 1)?;
            network.machines.insert(host.name.clone(), machine);
        }
        network._delay = network.lengthen(world)?;
        Ok(network)
    }

    /// Puts a distance between the provider and those far away: packets go into a tun device and come back later.
    fn lengthen(&self, world: &World) -> Result<Option<Group>> {
        let distant: Vec<(usize, &Host)> = world.far().enumerate().filter(|(_, host)| host.delay_ms > 0).collect();
        if distant.is_empty() {
            return Ok(None);
        }
        if !Path::new("/dev/net/tun").exists() {
            println!("lab: this system has no tun devices, so nobody is far away");
            return Ok(None);
        }
        self.isp.ip_batch(
            &[],
            &lines(&[
                "tuntap add dev slow mode tun",
                "link set slow txqueuelen 5000 up",
                "route add default dev slow table 100",
                "route add ::/0 dev slow table 100",
            ]),
        )?;
        for (version, of_version) in [("-4", IpAddr::is_ipv4 as fn(&IpAddr) -> bool), ("-6", IpAddr::is_ipv6)] {
            let mut rules = Vec::new();
            for (number, host) in &distant {
                rules.push(format!("rule add iif far{} lookup 100", number + 1));
                let addresses = host.addresses().filter(of_version);
                rules.extend(addresses.map(|address| format!("rule add iif down0 to {address} lookup 100")));
            }
            self.isp.ip_batch(&[version], &rules)?;
        }
        let ready = self.dir.join("delay.ready");
        let log = self.dir.join("log/delay.log");
        let log = File::create(&log).with_context(|| format!("`{}` cannot be written", log.display()))?;
        let mut command = self.isp.command(Path::new(PYTHON));
        command.arg(self.programs.join("delay.py")).arg("slow").arg(&ready);
        command.args([world.seed.to_string(), world.loss_per_million.to_string()]);
        for (_, host) in distant {
            command.args(host.addresses().map(|address| format!("{address}={}", host.delay_ms)));
        }
        let mut group = Group::start("delay", command.stdout(Stdio::null()).stderr(log))?;
        let started = Instant::now();
        while !ready.exists() {
            ensure!(group.ended()?.is_none(), "the program that delays packets does not run");
            ensure!(started.elapsed() < Duration::from_secs(20), "the program that delays packets does not begin");
            thread::sleep(Duration::from_millis(10));
        }
        Ok(Some(group))
    }

    /// A command on a machine of the lab, in a mount namespace of its own. `{dir}` and `{lab}` in words become paths.
    pub(super) fn command(&self, host: &str, words: &[String]) -> Result<Command> {
        let machine =
            self.machines.get(host).with_context(|| format!("the scenario names a host `{host}` that is not there"))?;
        let mut command = machine.command(Path::new("unshare"));
        command.args(["--mount", "--uts", "--propagation", "private", "--"]);
        let hostname = self.hostnames.get(host).map_or("router", String::as_str);
        command.arg(self.programs.join("enclosed.sh")).arg(&self.dir).arg(self.home(host)).arg(hostname);
        let (dir, programs) = (self.dir.display().to_string(), self.programs.display().to_string());
        command.args(words.iter().map(|word| word.replace("{dir}", &dir).replace("{lab}", &programs)));
        Ok(command)
    }

    /// Where a machine's programs start, and what they take for their home.
    pub(super) fn home(&self, host: &str) -> PathBuf {
        self.dir.join("home").join(host)
    }

    /// A command at the capture point.
    pub(super) fn at_tap(&self, program: &str) -> Command {
        self.switch.command(Path::new(program))
    }

    /// Whether the process has arrived on the machine.
    pub(super) fn holds(&self, host: &str, pid: u32) -> bool {
        let net = |path: String| fs::metadata(path).map(|about| about.ino()).ok();
        let Some(machine) = self.machines.get(host) else { return false };
        let own = net(format!("/run/netns/{}", machine.name()));
        own.is_some() && own == net(format!("/proc/{pid}/ns/net"))
    }

    fn wire_gateway(&self, gateway: &Namespace, world: &World) -> Result<()> {
        // A switch does not speak.
        set(&self.switch, &[("net/ipv6/conf/all/disable_ipv6", "1"), ("net/ipv6/conf/default/disable_ipv6", "1")])?;
        self.switch.ip_batch(&[], &lines(&["link add br0 type bridge mcast_snooping 0", "link set br0 up"]))?;
        self.plug(gateway, "lan0", 0)?;
        gateway.pair("wan0", &self.isp, "down0")?;
        let World { gateway4, gateway6, lan4, lan6, wan_mtu, .. } = world;
        gateway.ip_batch(
            &[],
            &[
                format!("address add {gateway4}/{LAN4_BITS} broadcast + dev lan0"),
                format!("address add {gateway6}/{LAN6_BITS} dev lan0 nodad"),
                "address add 100.64.0.2/32 peer 100.64.0.1/32 dev wan0".to_owned(),
                "link set lan0 up".to_owned(),
                format!("link set wan0 mtu {wan_mtu} up"),
            ],
        )?;
        self.isp.ip_batch(
            &[],
            &[
                format!("address add {PROVIDER4}/32 peer 100.64.0.2/32 dev down0"),
                format!("address add {PROVIDER6}/64 dev down0 nodad"),
                format!("link set down0 mtu {wan_mtu} up"),
                format!("route add {lan4}/{LAN4_BITS} via 100.64.0.2 dev down0"),
                format!("route add {lan6}/{LAN6_BITS} via fe80::2 dev down0"),
                // Who was never there does not answer, and nobody says so.
                "route add blackhole default metric 4000".to_owned(),
                "route add blackhole ::/0 metric 4000".to_owned(),
            ],
        )?;
        gateway.ip_batch(
            &[],
            &[
                "address add fe80::2/64 dev wan0 nodad".to_owned(),
                format!("route add default via {PROVIDER4} dev wan0"),
                format!("route add ::/0 via {PROVIDER6} dev wan0"),
            ],
        )?;
        for router in [gateway, &self.isp] {
            set(router, &[("net/ipv4/ip_forward", "1"), ("net/ipv6/conf/all/forwarding", "1")])?;
        }
        limit(&self.isp, "down0", world.down_mbit)?;
        limit(gateway, "wan0", world.up_mbit)
    }

    fn wire_local(&self, machine: &Namespace, host: &Host, world: &World, port: usize) -> Result<()> {
        self.plug(machine, "eth0", port)?;
        let mut batch = vec![format!("link set eth0 address {} up", host.mac)];
        batch.extend(host.all_v4().map(|v4| format!("address add {v4}/{LAN4_BITS} broadcast + dev eth0")));
        batch.push(format!("address add {}/{LAN6_BITS} dev eth0 nodad", host.v6));
        batch.push(format!("route add default via {} dev eth0", world.gateway4));
        batch.push(format!("route add ::/0 via {} dev eth0", world.gateway6));
        machine.ip_batch(&[], &batch)?;
        stack(machine, host)
    }

    fn wire_far(&self, machine: &Namespace, host: &Host, number: usize) -> Result<()> {
        let port = format!("far{number}");
        self.isp.pair(&port, machine, "eth0")?;
        let mut batch = vec!["link set eth0 up".to_owned()];
        batch.extend(host.all_v4().map(|v4| format!("address add {v4}/32 dev eth0")));
        batch.push(format!("address add {}/128 dev eth0 nodad", host.v6));
        batch.push(format!("route add {PROVIDER4}/32 dev eth0 src {}", host.v4));
        batch.push(format!("route add default via {PROVIDER4} dev eth0 src {}", host.v4));
        let mut at_isp = vec![
            format!("link set {port} up"),
            format!("address add {PROVIDER4}/32 dev {port}"),
            format!("address add {PROVIDER6}/64 dev {port} nodad"),
        ];
        at_isp.extend(host.all_v4().map(|v4| format!("route add {v4}/32 dev {port} src {PROVIDER4}")));
        at_isp.push(format!("route add {}/128 dev {port}", host.v6));
        self.isp.ip_batch(&[], &at_isp)?;
        batch.push(format!("route add ::/0 via {PROVIDER6} dev eth0 src {}", host.v6));
        machine.ip_batch(&[], &batch)?;
        stack(machine, host)
    }

    fn plug(&self, machine: &Namespace, interface: &str, number: usize) -> Result<()> {
        let port = format!("port{number}");
        self.switch.pair(&port, machine, interface)
    }
}

/// How the machine's own network stack behaves.
fn stack(machine: &Namespace, host: &Host) -> Result<()> {
    let ttl = host.ttl.to_string();
    let timestamps = if host.timestamps { "1" } else { "0" };
    set(
        machine,
        &[
            ("net/ipv4/ip_default_ttl", ttl.as_str()),
            ("net/ipv6/conf/eth0/hop_limit", ttl.as_str()),
            ("net/ipv4/tcp_timestamps", timestamps),
            // Any program may send echoes and listen on any port.
            ("net/ipv4/ping_group_range", "0 2147483647"),
            ("net/ipv4/ip_unprivileged_port_start", "0"),
        ],
    )
}

fn set(machine: &Namespace, values: &[(&str, &str)]) -> Result<()> {
    let script: Vec<String> = values.iter().map(|(path, value)| format!("echo {value} > /proc/sys/{path}")).collect();
    quiet(machine.command(Path::new("sh")).args(["-ec", &script.join("\n")])).map(drop)
}

fn limit(machine: &Namespace, interface: &str, mbit: u64) -> Result<()> {
    let rate = format!("{mbit}mbit");
    // A queue of 60 ms, as home routers have without queue management.
    let args = ["qdisc", "add", "dev", interface, "root", "tbf", "rate", &rate, "burst", "64kb", "latency", "60ms"];
    quiet(machine.command(Path::new("tc")).args(args)).map(drop)
}

fn lines(all: &[&str]) -> Vec<String> {
    all.iter().map(|line| (*line).to_owned()).collect()
}
