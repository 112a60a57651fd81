//! The agent's memory with its models loaded: idle, with ten thousand flows at work, and over a run of ever new flows. Measured
//! from its own metrics and from `/proc`, in namespaces of their own.

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::agent::{Agent, packets_received, pause};
use crate::{
    netns::{self, Namespace},
    process::{Group, Interrupt},
    workspace,
};

const IDLE: Duration = Duration::from_secs(5);
const SAMPLE_EVERY: Duration = Duration::from_secs(2);
/// Flows that speak every two seconds, for so long.
const ACTIVE: u32 = 10_000;
const ACTIVE_PER_SEC: u32 = 5_000;
const ACTIVE_SECS: u64 = 20;
const ACTIVE_RSS_MIB_MAX: f64 = 48.0;
/// Flows in the file that is played again and again with other addresses: more than the table holds.
const FLOWS: u32 = 60_000;
const RSS_MIB_MAX: f64 = 64.0;
const MAPS_MIB_MAX: f64 = 32.0;
/// Flat: the last quarter of the run needs no more than this times the second.
const GROWTH_MAX: f64 = 1.05;

pub(super) fn measure(binary: &Path, soak_secs: u64, interrupt: &Interrupt) -> Result<Value> {
    netns::remove_stale()?;
    let dir = workspace::target_dir()?.join("bench/memory");
    fs::create_dir_all(&dir).with_context(|| format!("`{}` cannot be made", dir.display()))?;
    let gateway = Namespace::make("gateway")?;
    let sender = Namespace::make("sender")?;
    gateway.pair("lan0", &sender, "out0")?;
    gateway.ip(&["link", "set", "lan0", "up"])?;
    sender.ip(&["link", "set", "out0", "up"])?;

    let mut agent = Agent::start(&gateway, binary, "native", "", &dir, interrupt)?;
    pause(IDLE, interrupt)?;
    let idle = agent.rss_bytes()?;
    let capture = dir.join("flows.pcap");

    write_capture(&capture, ACTIVE, among_hosts)?;
    let paced = [format!("--pps={ACTIVE_PER_SEC}"), "--preload-pcap".to_owned()];
    let mut samples = play(&sender, &mut agent, &capture, &paced, ACTIVE_SECS, interrupt)?;
    let at = samples.len() / 2;
    let active = median(&mut samples[at..]);
    let page = agent.metrics()?;
    let flows = page.sum("ids_flows_active", &[]);
    let maps = page.sum("ids_map_memory_bytes", &[]).context("the agent exports no `ids_map_memory_bytes`")?;

    write_capture(&capture, FLOWS, ever_new)?;
    let flat_out = ["--topspeed", "--preload-pcap", "--unique-ip"].map(str::to_owned);
    let mut soak = play(&sender, &mut agent, &capture, &flat_out, soak_secs, interrupt)?;
    let after = agent.metrics()?;
    fs::write(dir.join("metrics.prom"), &after.text).context("the metrics cannot be written")?;
    let sent = packets_received(&gateway, "lan0")?;
    let stopped = agent.stop()?;
    fs::remove_file(&capture).with_context(|| format!("`{}` cannot be removed", capture.display()))?;

    let seen = after.sum("ids_packets_seen_total", &[]).unwrap_or_default();
    let lost = after.sum("ids_slots_lost_packets_total", &[]).unwrap_or_default();
    let quarter = (soak.len() / 4).max(1);
    let second = median(&mut soak[quarter..2 * quarter]);
    let last_at = soak.len() - quarter;
    let last = median(&mut soak[last_at..]);
    let peak = soak.iter().copied().fold(idle, f64::max);
    Ok(json!({
        "ratios": {
            "rss_mib": one(mib(active), ACTIVE_RSS_MIB_MAX),
            "maps_mib": one(mib(maps), MAPS_MIB_MAX),
            "rss_idle_of_bound": one(mib(idle) / RSS_MIB_MAX, 1.0),
            "rss_peak_of_bound": one(mib(peak) / RSS_MIB_MAX, 1.0),
            "rss_last_quarter_to_second": one(last / second, GROWTH_MAX),
        },
        "active_flows": flows,
        "bytes_per_active_flow": (active - idle) / f64::from(ACTIVE),
        "rss_idle_mib": mib(idle),
        "rss_peak_mib": mib(peak),
        "soak_secs": soak_secs,
        "soak_packets_on_the_wire": sent,
        "soak_packets_seen_when_last_counted": seen,
        "soak_packets_lost_with_their_slots": lost,
        "stopped_in_good_order": stopped,
    }))
}

/// Resident bytes every so often while the capture is played again and again.
fn play(
    sender: &Namespace,
    agent: &mut Agent<'_>,
    capture: &Path,
    pace: &[String],
    secs: u64,
    interrupt: &Interrupt,
) -> Result<Vec<f64>> {
    let mut player = Group::start(
        "tcpreplay",
        sender
            .command(Path::new("tcpreplay"))
            .args(["--quiet", "--loop=0", "--intf1", "out0"])
            .arg(format!("--duration={secs}"))
            .args(pace)
            .arg(capture)
            .stdout(Stdio::null())
            .stderr(Stdio::null()),
    )?;
    let mut samples = Vec::new();
    let ends = Instant::now() + Duration::from_secs(secs);
    while Instant::now() < ends {
        pause(SAMPLE_EVERY, interrupt)?;
        if agent.has_ended()? {
            bail!("the agent ended under traffic");
        }
        samples.push(agent.rss_bytes()?);
    }
    player.stop(Duration::from_secs(5))?;
    // It must still answer.
    agent.metrics()?;
    ensure!(!samples.is_empty(), "a run of {secs} s is too short");
    Ok(samples)
}

/// A classic capture file of UDP datagrams, each of a flow of its own and some with payload.
fn write_capture(path: &Path, flows: u32, frame_of: fn(u32) -> Vec<u8>) -> Result<()> {
    let file = File::create(path).with_context(|| format!("`{}` cannot be written", path.display()))?;
    let mut out = BufWriter::new(file);
    // Magic, version 2.4, zone, accuracy, bytes kept, Ethernet.
    for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65_535, 1] {
        out.write_all(&word.to_le_bytes())?;
    }
    for flow in 0..flows {
        let frame = frame_of(flow);
        let length = u32::try_from(frame.len()).context("a frame is too long")?;
        for word in [flow / 1_000, (flow % 1_000) * 1_000, length, length] {
            out.write_all(&word.to_le_bytes())?;
        }
        out.write_all(&frame)?;
    }
    out.flush().context("the capture cannot be written")
}

/// Each from a source of its own, to one host.
fn ever_new(flow: u32) -> Vec<u8> {
    let [_, a, b, c] = flow.to_be_bytes();
    let port = 1_024 + u16::try_from(flow % 60_000).unwrap_or_default();
    datagram([10, a, b, c], [192, 0, 2, 1], port, if flow.is_multiple_of(8) { 200 } else { 18 })
}

/// Between 250 hosts of a network and 40 outside of it.
fn among_hosts(flow: u32) -> Vec<u8> {
    let [client, server] = [flow % 250 + 1, flow / 250 + 1].map(|host| host.to_le_bytes()[0]);
    let port = 20_000 + u16::try_from(flow % 40_000).unwrap_or_default();
    datagram([192, 168, 7, client], [198, 51, 100, server], port, if flow.is_multiple_of(8) { 200 } else { 18 })
}

fn datagram(src: [u8; 4], dst: [u8; 4], port: u16, payload: u16) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
    let mut ip = vec![0x45, 0];
    ip.extend((28 + payload).to_be_bytes());
    ip.extend([0, 0, 0, 0, 64, 17, 0, 0]);
    ip.extend(src);
    ip.extend(dst);
    let sum: u32 = ip.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let checksum = !u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap_or_default();
    ip[10..12].copy_from_slice(&checksum.to_be_bytes());
    frame.extend(ip);
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
    samples.get(samples.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{among_hosts, ever_new};

    #[test]
    fn a_datagram_has_a_right_header_checksum_and_lengths() {
        for frame in [ever_new(70_001), among_hosts(9_999)] {
            let ip = &frame[14..34];
            let sum: u32 = ip.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
            assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff);
            assert_eq!(usize::from(u16::from_be_bytes([ip[2], ip[3]])), frame.len() - 14);
            assert_eq!(usize::from(u16::from_be_bytes([frame[38], frame[39]])), 8 + 18);
        }
    }
}
