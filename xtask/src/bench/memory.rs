//! The agent's memory with its models loaded: idle, and over a long run of many flows. Measured from its own metrics and
//! from `/proc`, in namespaces of their own.

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::{
    metrics::Metrics,
    netns::{self, Namespace},
    process::{Group, Interrupt, quiet},
    workspace,
};

pub(super) const PORT: &str = "127.0.0.1:9478";
const READY_MAX: Duration = Duration::from_secs(60);
const IDLE: Duration = Duration::from_secs(10);
const SAMPLE_EVERY: Duration = Duration::from_secs(2);
/// Connections in the file that is played again and again with other addresses: more than the table holds.
const FLOWS: u32 = 60_000;
const RSS_MIB_MAX: f64 = 64.0;
const MAPS_MIB_MAX: f64 = 32.0;
/// Flat: the last quarter of the run needs no more than this times the second.
const GROWTH_MAX: f64 = 1.05;

pub(super) fn measure(binary: &Path, soak_secs: u64, interrupt: &Interrupt) -> Result<Value> {
    netns::remove_stale()?;
    let dir = workspace::target_dir()?.join("bench");
    fs::create_dir_all(&dir).with_context(|| format!("`{}` cannot be made", dir.display()))?;
    let gateway = Namespace::make("gateway")?;
    let sender = Namespace::make("sender")?;
    gateway.pair("lan0", &sender, "out0")?;
    gateway.ip(&["link", "set", "lan0", "up"])?;
    sender.ip(&["link", "set", "out0", "up"])?;

    let mut agent = start_agent(&gateway, binary, &dir)?;
    wait_ready(&gateway, &mut agent, &dir, interrupt)?;
    pause(IDLE, interrupt)?;
    let idle = rss_bytes(agent.pid())?;
    let before = page(&gateway)?;

    let capture = dir.join("soak.pcap");
    write_capture(&capture)?;
    let mut soak = soak(&gateway, &sender, &mut agent, &capture, soak_secs, interrupt)?;
    let after = page(&gateway)?;
    fs::write(dir.join("metrics.prom"), &after.text).context("the metrics cannot be written")?;
    let sent = packets_received(&gateway)?;
    let stopped = agent.stop(Duration::from_secs(20))?;
    fs::remove_file(&capture).with_context(|| format!("`{}` cannot be removed", capture.display()))?;

    let seen = after.sum("ids_packets_seen_total", &[]).unwrap_or_default();
    let lost = after.sum("ids_slots_lost_packets_total", &[]).unwrap_or_default();
    let maps = before.sum("ids_map_memory_bytes", &[]).context("the agent exports no `ids_map_memory_bytes`")?;
    let quarter = (soak.len() / 4).max(1);
    let second = median(&mut soak[quarter..2 * quarter]);
    let last_at = soak.len() - quarter;
    let last = median(&mut soak[last_at..]);
    let peak = soak.iter().copied().fold(idle, f64::max);
    Ok(json!({
        "ratios": {
            "rss_idle_of_bound": one(mib(idle) / RSS_MIB_MAX, 1.0),
            "map_memory_of_bound": one(mib(maps) / MAPS_MIB_MAX, 1.0),
            "rss_peak_of_bound": one(mib(peak) / RSS_MIB_MAX, 1.0),
            "rss_last_quarter_to_second": one(last / second, GROWTH_MAX),
        },
        "rss_idle_mib": mib(idle),
        "rss_peak_mib": mib(peak),
        "map_memory_mib": mib(maps),
        "soak_secs": soak_secs,
        "soak_packets_on_the_wire": sent,
        "soak_packets_seen_when_last_counted": seen,
        "soak_packets_lost_with_their_slots": lost,
        "stopped_in_good_order": stopped.success(),
    }))
}

fn start_agent(gateway: &Namespace, binary: &Path, dir: &Path) -> Result<Group> {
    let log = File::create(dir.join("agent.log")).context("the agent's log cannot be written")?;
    // What this machine's own agent is told, and has learned, is left alone.
    let config = dir.join("config.toml");
    fs::write(&config, "[state]\nenabled = false\n[evidence]\nkeep = 0\n[control]\nenabled = false\n")
        .with_context(|| format!("`{}` cannot be written", config.display()))?;
    let mut command = gateway.command(binary);
    command
        .args(["run", "--interface", "lan0", "--mode", "native", "--metrics", PORT, "--models"])
        .arg(workspace::root()?.join("models"))
        .args(["--alerts", "/dev/null", "--config"])
        .arg(&config)
        .stdout(Stdio::from(log.try_clone()?))
        .stderr(Stdio::from(log));
    Group::start("ids-agent", &mut command)
}

fn wait_ready(gateway: &Namespace, agent: &mut Group, dir: &Path, interrupt: &Interrupt) -> Result<()> {
    let deadline = Instant::now() + READY_MAX;
    while fetch(gateway, "/readyz").is_err() {
        interrupt.check()?;
        if let Some(status) = agent.ended()? {
            let said = fs::read_to_string(dir.join("agent.log")).unwrap_or_default();
            bail!("the agent ended ({status}); it said:\n{said}");
        }
        if Instant::now() >= deadline {
            bail!("the agent is not ready after {} s", READY_MAX.as_secs());
        }
        thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// Resident bytes every so often while the capture is played at full speed.
fn soak(
    gateway: &Namespace,
    sender: &Namespace,
    agent: &mut Group,
    capture: &Path,
    secs: u64,
    interrupt: &Interrupt,
) -> Result<Vec<f64>> {
    let mut player = Group::start(
        "tcpreplay",
        sender
            .command(Path::new("tcpreplay"))
            .args(["--quiet", "--topspeed", "--preload-pcap", "--unique-ip", "--loop=0"])
            .arg(format!("--duration={secs}"))
            .args(["--intf1", "out0"])
            .arg(capture)
            .stdout(Stdio::null())
            .stderr(Stdio::null()),
    )?;
    let mut samples = Vec::new();
    let ends = Instant::now() + Duration::from_secs(secs);
    while Instant::now() < ends {
        pause(SAMPLE_EVERY, interrupt)?;
        if agent.ended()?.is_some() {
            bail!("the agent ended under traffic");
        }
        samples.push(rss_bytes(agent.pid())?);
    }
    player.stop(Duration::from_secs(5))?;
    // It must still answer.
    fetch(gateway, "/readyz")?;
    Ok(samples)
}

/// Of the agent itself: `nsenter` became the program it started.
fn rss_bytes(pid: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("the agent is gone")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS in /proc")?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse().context("VmRSS is no number")?;
    Ok(kib * 1024.0)
}

/// As the interface itself counts them.
fn packets_received(gateway: &Namespace) -> Result<f64> {
    let said = quiet(Command::new("ip").args(["-n", gateway.name(), "-s", "-j", "link", "show", "lan0"]))?;
    let links: Value = serde_json::from_str(&said).context("`ip -j` is not JSON")?;
    links[0]["stats64"]["rx"]["packets"].as_f64().context("`ip -j` counts no packets")
}

fn page(gateway: &Namespace) -> Result<Metrics> {
    Ok(Metrics { text: fetch(gateway, "/metrics")? })
}

pub(super) fn fetch(gateway: &Namespace, path: &str) -> Result<String> {
    let mut command = gateway.command(Path::new("curl"));
    quiet(command.args(["-sSf", "--max-time", "5", "--noproxy", "*"]).arg(format!("http://{PORT}{path}")))
}

pub(super) fn pause(long: Duration, interrupt: &Interrupt) -> Result<()> {
    let until = Instant::now() + long;
    while Instant::now() < until {
        interrupt.check()?;
        thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// A classic capture file of UDP datagrams, each of a flow of its own and some with payload.
fn write_capture(path: &Path) -> Result<()> {
    let file = File::create(path).with_context(|| format!("`{}` cannot be written", path.display()))?;
    let mut out = BufWriter::new(file);
    // Magic, version 2.4, zone, accuracy, bytes kept, Ethernet.
    for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65_535, 1] {
        out.write_all(&word.to_le_bytes())?;
    }
    for flow in 0..FLOWS {
        let payload = if flow % 8 == 0 { 200 } else { 18 };
        let frame = datagram(flow, payload);
        let length = u32::try_from(frame.len()).context("a frame is too long")?;
        for word in [flow / 1_000, (flow % 1_000) * 1_000, length, length] {
            out.write_all(&word.to_le_bytes())?;
        }
        out.write_all(&frame)?;
    }
    out.flush().context("the capture cannot be written")
}

fn datagram(flow: u32, payload: u16) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
    let mut ip = vec![0x45, 0];
    ip.extend((28 + payload).to_be_bytes());
    ip.extend([0, 0, 0, 0, 64, 17, 0, 0, 10]);
    ip.extend(&flow.to_be_bytes()[1..]);
    ip.extend([192, 0, 2, 1]);
    let sum: u32 = ip.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let checksum = !u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap_or_default();
    ip[10..12].copy_from_slice(&checksum.to_be_bytes());
    frame.extend(ip);
    let port = 1_024 + u16::try_from(flow % 60_000).unwrap_or_default();
    frame.extend(port.to_be_bytes());
    frame.extend(9_u16.to_be_bytes());
    frame.extend((8 + payload).to_be_bytes());
    frame.extend([0, 0]);
    frame.extend(std::iter::repeat_n(0x5a, usize::from(payload)));
    frame
}

fn one(value: f64, bar: f64) -> Value {
    json!({ "median": value, "low": value, "high": value, "bar": bar })
}

fn mib(bytes: f64) -> f64 {
    bytes / 1_048_576.0
}

fn median(samples: &mut [f64]) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::datagram;

    #[test]
    fn a_datagram_has_a_right_header_checksum_and_lengths() {
        let frame = datagram(70_000, 18);
        let ip = &frame[14..34];
        let sum: u32 = ip.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
        assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff);
        assert_eq!(usize::from(u16::from_be_bytes([ip[2], ip[3]])), frame.len() - 14);
        assert_eq!(usize::from(u16::from_be_bytes([frame[38], frame[39]])), 8 + 18);
    }
}
