//! The agent under observation: started on the gateway's LAN port, read through its alert file and its metrics.

use std::{
    fs::{self, File},
    io::{Read, Seek, SeekFrom},
    net::{IpAddr, Ipv6Addr},
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::{
    Options,
    network::{LAN_PORT, Network, Space},
};
use crate::{
    metrics::Metrics,
    process::{Group, Interrupt, quiet},
    setup::tools_environment,
};

/// On loopback inside the gateway's namespace, where nothing else listens.
pub(super) const METRICS: &str = "127.0.0.1:9477";

/// Verifying the kernel programs takes seconds on a busy machine.
const READY_MAX: Duration = Duration::from_secs(60);

pub(super) struct Agent {
    group: Group,
    log: PathBuf,
}

impl Agent {
    /// Starts `binary` on the LAN port with native XDP and waits until it says that it is ready.
    pub(super) fn start(network: &Network, options: &Options, interrupt: &Interrupt) -> Result<Self> {
        let (binary, models, dir) = (&options.binary, &options.models, &options.results);
        let log = dir.join("agent.log");
        let log_file = File::create(&log).with_context(|| format!("`{}` cannot be written", log.display()))?;
        // Almost empty, so that the lab shows the defaults. Whatever this machine's own agent is told, and has learned, is left
        // alone.
        let config = dir.join("config.toml");
        let [state, run_dir, rules_dir] = ["state", "suricata", "rules"].map(|name| dir.join(name));
        fs::create_dir_all(&state).with_context(|| format!("`{}` cannot be made", state.display()))?;
        let own = format!("[state]\ndir = {state:?}\n[control]\npath = {:?}\n", control_socket(dir));
        let suricata = match options.suricata {
            true => format!("[suricata]\nmanage = true\nrun_dir = {run_dir:?}\nrules_dir = {rules_dir:?}\n"),
            false => String::new(),
        };
        fs::write(&config, own + &suricata).with_context(|| format!("`{}` cannot be written", config.display()))?;
        let mut command = network.command(Space::Gateway, binary);
        command
            .args(["run", "--interface", LAN_PORT, "--mode", "native", "--metrics", METRICS])
            .arg("--config")
            .arg(&config)
            .arg("--alerts")
            .arg(alerts_file(dir))
            .arg("--flows")
            .arg(flows_file(dir))
            .arg("--models")
            .arg(models)
            .env("NO_COLOR", "1")
            .envs(tools_environment()?)
            .stdout(Stdio::from(log_file.try_clone()?))
            .stderr(Stdio::from(log_file));
        let mut agent = Self { group: Group::start("ids-agent", &mut command)?, log };
        let deadline = Instant::now() + READY_MAX;
        while fetch(network, "/readyz").is_err() {
            agent.check()?;
            interrupt.check()?;
            if Instant::now() >= deadline {
                bail!("the agent is not ready after {} s; it said:\n{}", READY_MAX.as_secs(), agent.said());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(agent)
    }

    /// Fails if the agent has ended.
    pub(super) fn check(&mut self) -> Result<()> {
        if let Some(status) = self.group.ended()? {
            bail!("the agent ended ({status}); it said:\n{}", self.said());
        }
        Ok(())
    }

    /// Ends it as systemd would, and fails if it does not leave in good order.
    pub(super) fn stop(mut self) -> Result<Duration> {
        let asked = Instant::now();
        let status = self.group.stop(Duration::from_secs(15))?;
        if !status.success() {
            bail!("the agent stopped with {status}; it said:\n{}", self.said());
        }
        Ok(asked.elapsed())
    }

    pub(super) fn pid(&self) -> u32 {
        self.group.pid()
    }

    fn said(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }
}

pub(super) fn alerts_file(dir: &Path) -> PathBuf {
    dir.join("alerts.ndjson")
}

pub(super) fn flows_file(dir: &Path) -> PathBuf {
    dir.join("flows.ndjson")
}

/// Where one asks it.
pub(super) fn control_socket(dir: &Path) -> PathBuf {
    dir.join("control.sock")
}

/// The metrics page, as Prometheus would read it.
pub(super) fn metrics(network: &Network) -> Result<Metrics> {
    Ok(Metrics { text: fetch(network, "/metrics")? })
}

fn fetch(network: &Network, path: &str) -> Result<String> {
    let mut command = network.command(Space::Gateway, Path::new("curl"));
    quiet(command.args(["-sSf", "--max-time", "5", "--noproxy", "*"]).arg(format!("http://{METRICS}{path}")))
}

/// Reads the lines that were added to a file, whole lines only.
pub(super) struct Follow {
    path: PathBuf,
    at: u64,
}

impl Follow {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, at: 0 }
    }

    pub(super) fn new_lines(&mut self) -> Result<Vec<String>> {
        let Ok(mut file) = File::open(&self.path) else {
            // The agent makes it with the first alert.
            return Ok(Vec::new());
        };
        file.seek(SeekFrom::Start(self.at))?;
        let mut text = String::new();
        file.read_to_string(&mut text).with_context(|| format!("`{}` is unreadable", self.path.display()))?;
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        self.at += whole as u64;
        Ok(text[..whole].lines().map(str::to_owned).collect())
    }
}

/// What the lab reads of an alert line.
pub(super) struct Alert {
    value: Value,
}

impl Alert {
    pub(super) fn parse(line: &str) -> Result<Self> {
        let value = serde_json::from_str(line).with_context(|| format!("an alert line is not JSON: {line}"))?;
        Ok(Self { value })
    }

    pub(super) fn class(&self) -> &str {
        self.text("/ids/class")
    }

    /// What `explain` and `feedback` know it by.
    pub(super) fn id(&self) -> &str {
        self.text("/ids/incident")
    }

    /// Whether it is about what the agent itself sees, and about no traffic.
    pub(super) fn is_notice(&self) -> bool {
        self.class() == "visibility"
    }

    /// Whether its source is the machine with these addresses.
    pub(super) fn is_from(&self, machine: [&str; 2]) -> bool {
        let Ok(source) = self.text("/src_ip").parse::<IpAddr>() else { return false };
        machine.iter().filter_map(|address| address.parse::<IpAddr>().ok()).any(|address| same(address, source))
    }

    /// One line for a person.
    pub(super) fn line(&self) -> String {
        let severity = match self.value.pointer("/alert/severity").and_then(Value::as_u64) {
            Some(1) => "high",
            Some(2) => "medium",
            Some(3) => "low",
            _ => "info",
        };
        let (source, technique) = (self.text("/src_ip"), self.text("/ids/attack/id"));
        let hosts = match source.is_empty() {
            true => String::new(),
            false => format!("{source} -> {}  ", self.text("/dest_ip")),
        };
        format!(
            "{severity:<6} {:<12} {hosts}{}{}",
            self.class(),
            self.text("/ids/reason"),
            if technique.is_empty() { String::new() } else { format!(" [{technique}]") },
        )
    }

    fn text(&self, pointer: &str) -> &str {
        self.value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }
}

fn same(a: IpAddr, b: IpAddr) -> bool {
    let wide = |address| match address {
        IpAddr::V4(four) => four.to_ipv6_mapped(),
        IpAddr::V6(six) => six,
    };
    let (a, b): (Ipv6Addr, Ipv6Addr) = (wide(a), wide(b));
    a == b
}

#[cfg(test)]
mod tests {
    use super::Alert;

    #[test]
    fn a_notice_names_no_hosts() -> anyhow::Result<()> {
        let alert = Alert::parse(r#"{"alert":{"severity":2},"ids":{"class":"visibility","reason":"less is seen"}}"#)?;
        assert!(alert.is_notice() && !alert.is_from(["192.168.77.66", "fd77:1::66"]));
        assert_eq!(alert.line(), "medium visibility   less is seen");
        Ok(())
    }

    #[test]
    fn an_address_is_the_same_however_it_is_written() -> anyhow::Result<()> {
        let alert = Alert::parse(r#"{"src_ip":"fd77:0001:0000:0000:0000:0000:0000:0066"}"#)?;
        assert!(alert.is_from(["192.168.77.66", "fd77:1::66"]));
        assert!(!alert.is_from(["192.168.77.10", "fd77:1::10"]));
        Ok(())
    }
}
