//! How long it takes from a packet to the alert that it causes, quiet and under a flood a hundred times the quiet traffic; and how often
//! the agent wakes and what CPU it takes meanwhile. Each probe is a packet from a host of the network to an address that a list of the
//! configuration names, no two of the same host or address.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{BufRead, BufReader},
    net::{Ipv4Addr, SocketAddrV4},
    path::Path,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::{Value, json};

use super::{
    agent::{Agent, pause},
    rounds::percentile,
    traffic,
};
use crate::{
    chaos::packet::{Raw, datagram},
    netns::{self, Namespace},
    process::{Group, Interrupt, quiet},
    workspace,
};

const PROBES: u16 = 200;
const BETWEEN: Duration = Duration::from_millis(97);
/// After the last probe. A probe that is not told by then counts as told that late.
const WAITED: Duration = Duration::from_secs(10);
const QUIET_PER_SEC: u32 = 300;
const FLOOD_PER_SEC: u32 = 100 * QUIET_PER_SEC;
const P99_QUIET_MAX_S: f64 = 1.0;
const P99_FLOOD_MAX_S: f64 = 2.0;
const WAKES_PER_SEC_MAX: f64 = 50.0;
/// Who probes whom in which of the two runs.
fn probe(run: u8, number: u16) -> (Ipv4Addr, Ipv4Addr) {
    let [high, low] = number.to_be_bytes();
    (Ipv4Addr::new(10, 88, 1 + 2 * run + high, low), Ipv4Addr::new(45, 90 + run, 1 + high, low))
}

/// What one run came to.
struct Heard {
    secs: Vec<f64>,
    told: usize,
    wakes_per_sec: f64,
    cpu_share: f64,
    us_per_packet: f64,
}

pub(super) fn measure(binary: &Path, interrupt: &Interrupt) -> Result<Value> {
    netns::remove_stale()?;
    let dir = workspace::target_dir()?.join("bench/alert");
    fs::create_dir_all(&dir).with_context(|| format!("`{}` cannot be made", dir.display()))?;
    let gateway = Namespace::make("gateway")?;
    let sender = Namespace::make("sender")?;
    gateway.pair("lan0", &sender, "out0")?;
    gateway.ip(&["address", "add", "10.88.0.1/16", "dev", "lan0"])?;
    gateway.ip(&["link", "set", "lan0", "up"])?;
    sender.ip(&["address", "add", "10.88.0.2/16", "dev", "out0"])?;
    sender.ip(&["link", "set", "out0", "up"])?;
    sender.ip(&["route", "add", "default", "via", "10.88.0.1"])?;
    quiet(sender.command(Path::new("ping")).args(["-c", "1", "-W", "2", "10.88.0.1"]))?;

    let feed = dir.join("malware.txt");
    let listed: Vec<String> =
        (0..2).flat_map(|run| (0..PROBES).map(move |number| probe(run, number).1.to_string())).collect();
    fs::write(&feed, listed.join("\n") + "\n").with_context(|| format!("`{}` cannot be written", feed.display()))?;
    let config = format!("[[intel.feeds]]\nname = \"bench\"\npath = {feed:?}\ncategory = \"malware\"\n");
    let mut agent = Agent::start(&gateway, binary, "native", &config, &dir, interrupt)?;
    let calm = run(0, &sender, &mut agent, &dir, interrupt)?;
    let flood = run(1, &sender, &mut agent, &dir, interrupt)?;
    agent.stop()?;

    let one = |mut heard: Vec<f64>, share: f64| percentile(&mut heard, share);
    let bounded = |value: f64, bar: f64| json!({ "median": value, "low": value, "high": value, "bar": bar });
    Ok(json!({
        "ratios": {
            "p99_quiet_s": bounded(one(calm.secs.clone(), 0.99), P99_QUIET_MAX_S),
            "p99_flood_s": bounded(one(flood.secs.clone(), 0.99), P99_FLOOD_MAX_S),
            "p50_quiet_s": one(calm.secs.clone(), 0.5),
            "p50_flood_s": one(flood.secs.clone(), 0.5),
            "wakes_per_sec_quiet": bounded(calm.wakes_per_sec, WAKES_PER_SEC_MAX),
            "wakes_per_sec_flood": flood.wakes_per_sec,
            "told_of_all_flood": flood.told as f64 / f64::from(PROBES),
        },
        "probes": PROBES,
        "told_quiet": calm.told,
        "told_flood": flood.told,
        "quiet_packets_per_sec": QUIET_PER_SEC,
        "flood_packets_per_sec": FLOOD_PER_SEC,
        "agent_cpu_share_quiet": calm.cpu_share,
        "agent_cpu_share_flood": flood.cpu_share,
        "agent_us_per_packet_flood": flood.us_per_packet,
    }))
}

/// Probes while others talk: pages, or with them a flood.
fn run(run: u8, sender: &Namespace, agent: &mut Agent<'_>, dir: &Path, interrupt: &Interrupt) -> Result<Heard> {
    let lasts = BETWEEN * u32::from(PROBES);
    let secs = lasts.as_secs() + 3;
    let mut others = vec![player(sender, dir, "pages", &traffic::pages(9, 300), QUIET_PER_SEC, secs)?];
    if run > 0 {
        others.push(player(sender, dir, "flood", &traffic::syn_flood(0, 100_000), FLOOD_PER_SEC, secs)?);
    }
    pause(Duration::from_secs(2), interrupt)?;
    let alerts = dir.join("alerts.ndjson");
    let (wakes, cpu, seen, began) = (agent.wakes()?, agent.cpu_secs()?, agent.packets_seen()?, Instant::now());
    let (sent, told) = thread::scope(|scope| {
        let probing = scope.spawn(|| probes(run, sender, interrupt));
        let listening = scope.spawn(|| listen(&alerts, lasts + WAITED));
        let sent = probing.join().map_err(|_| anyhow!("the prober panicked"))?;
        let spent = (agent.wakes()?, agent.cpu_secs()?, agent.packets_seen()?, began.elapsed().as_secs_f64());
        let told = listening.join().map_err(|_| anyhow!("the listener panicked"))?;
        Ok::<_, anyhow::Error>(((sent?, spent), told?))
    })?;
    for mut other in others {
        other.stop(Duration::from_secs(5))?;
    }
    ensure!(!agent.has_ended()?, "the agent ended");
    let (sent, (wakes_now, cpu_now, seen_now, took)) = sent;
    let after = |target: &str, at: Instant| told.get(target).map(|heard| heard.saturating_duration_since(at));
    let secs: Vec<f64> = sent.iter().map(|(target, at)| after(target, *at).unwrap_or(WAITED).as_secs_f64()).collect();
    let told = sent.iter().filter(|(target, _)| told.contains_key(target)).count();
    println!("  {told} of {} probes were told", sent.len());
    Ok(Heard {
        secs,
        told,
        wakes_per_sec: (wakes_now - wakes) / took,
        cpu_share: (cpu_now - cpu) / took,
        us_per_packet: (cpu_now - cpu) * 1e6 / (seen_now - seen).max(1.0),
    })
}

fn player(sender: &Namespace, dir: &Path, name: &str, frames: &[Vec<u8>], per_sec: u32, secs: u64) -> Result<Group> {
    let capture = dir.join(format!("{name}.pcap"));
    traffic::write(&capture, frames)?;
    let mut command = sender.command(Path::new("tcpreplay"));
    command
        .args(["--quiet", "--preload-pcap", "--loop=0", "--intf1", "out0"])
        .arg(format!("--pps={per_sec}"))
        .arg(format!("--duration={secs}"))
        .arg(&capture)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Group::start("tcpreplay", &mut command)
}

/// When each probe left, by its target.
fn probes(run: u8, sender: &Namespace, interrupt: &Interrupt) -> Result<Vec<(String, Instant)>> {
    sender.enter()?;
    let raw = Raw::open()?;
    let begin = Instant::now();
    let mut sent = Vec::new();
    for number in 0..PROBES {
        interrupt.check()?;
        let due = begin + BETWEEN * u32::from(number);
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let (source, target) = probe(run, number);
        let packet = datagram(SocketAddrV4::new(source, 40_000 + number), SocketAddrV4::new(target, 4_444), b"hello");
        let at = Instant::now();
        ensure!(raw.send(target, &packet), "a probe could not be sent");
        sent.push((target.to_string(), at));
    }
    Ok(sent)
}

/// When each address was first named by an alert.
fn listen(alerts: &Path, long: Duration) -> Result<HashMap<String, Instant>> {
    let mut told = HashMap::new();
    let file = File::open(alerts).with_context(|| format!("`{}` cannot be read", alerts.display()))?;
    let mut lines = BufReader::new(file);
    let deadline = Instant::now() + long;
    let mut line = String::new();
    while Instant::now() < deadline {
        let read = lines.read_line(&mut line).context("the alerts cannot be read")?;
        if read == 0 || !line.ends_with('\n') {
            thread::sleep(Duration::from_millis(2));
            continue;
        }
        let now = Instant::now();
        let alert: Value = serde_json::from_str(&line).context("an alert is not JSON")?;
        let target = ["dest_ip", "target"].iter().find_map(|name| alert.get(*name)?.as_str());
        if let Some(target) = target {
            told.entry(target.to_owned()).or_insert(now);
        }
        line.clear();
    }
    Ok(told)
}
