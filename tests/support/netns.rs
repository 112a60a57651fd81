//! Network namespaces and veth pairs that vanish with the value that made them. Touches nothing
//! outside the namespaces it made.

use std::{
    fs::File,
    path::PathBuf,
    process::{Command, Output},
    sync::atomic::{AtomicU32, Ordering},
    thread,
};

use rustix::{
    fd::AsFd,
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

/// A named network namespace with loopback up and IPv6 autoconfiguration off, so that nothing
/// sends a packet on its own.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes a namespace whose name holds `label`, the process and a count.
    pub fn new(label: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("ids-{label}-{}-{count}", std::process::id());
        run(Command::new("ip").args(["netns", "add", &name]));
        let namespace = Self { name };
        for family in ["all", "default"] {
            namespace.sysctl(&format!("net/ipv6/conf/{family}/disable_ipv6"), "1");
        }
        namespace.ip(&["link", "set", "lo", "up"]);
        namespace
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn path(&self) -> PathBuf {
        PathBuf::from("/run/netns").join(&self.name)
    }

    /// A command inside the namespace. `ip netns exec` would remount /sys and hide bpffs.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path().display())).arg("--").arg(program);
        command
    }

    /// `ip` in the namespace; panics with its message where it fails.
    pub fn ip(&self, args: &[&str]) -> Output {
        run(Command::new("ip").args(["-netns", &self.name]).args(args))
    }

    /// Sets /proc/sys/PATH as the namespace sees it.
    pub fn sysctl(&self, path: &str, value: &str) {
        run(self.command("sh").args(["-c", &format!("echo {value} > /proc/sys/{path}")]));
    }

    /// Runs `work` on a thread inside the namespace.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let file = File::open(self.path()).expect("namespace exists while its value does");
        thread::scope(|scope| {
            let inside = scope.spawn(move || {
                move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
                    .expect("entering a namespace");
                work()
            });
            inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Interfaces inside go with it, and with them their peers.
        if let Err(error) = Command::new("ip").args(["netns", "delete", &self.name]).output() {
            eprintln!("cannot delete namespace {}: {error}", self.name);
        }
    }
}

/// Joins two namespaces with a veth pair, both ends up, addressed as given (`10.0.0.1/24`; an empty
/// string gives none), and with segmentation offloads off, so that frames pass as they were written.
pub fn veth(a: &Namespace, a_device: &str, a_address: &str, b: &Namespace, b_device: &str, b_address: &str) {
    run(Command::new("ip").args([
        "link",
        "add",
        a_device,
        "netns",
        a.name(),
        "type",
        "veth",
        "peer",
        "name",
        b_device,
        "netns",
        b.name(),
    ]));
    for (namespace, device, address) in [(a, a_device, a_address), (b, b_device, b_address)] {
        if !address.is_empty() {
            namespace.ip(&["address", "add", address, "dev", device]);
        }
        run(namespace.command("ethtool").args(["-K", device, "tso", "off", "gso", "off", "gro", "off"]));
        namespace.ip(&["link", "set", device, "up"]);
    }
}

/// Runs a command to its end; panics with what it printed where it fails.
pub fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    output
}
