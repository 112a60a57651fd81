//! CPU time of the agent and of the Suricata that it manages, side by side over the same packets, by kind of traffic. Measured
//! from `/proc`, in namespaces of their own; what the kernel spends on handing packets over counts for neither.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value, json};

use super::{
    agent::{PORT, cpu_secs as cpu_secs_of, fetch, pause},
    rounds::{at_most, over, spread},
    traffic,
};
use crate::{
    metrics::Metrics,
    netns::{self, Namespace},
    process::{Group, Interrupt, find, must, quiet},
    workspace,
};

const READY_MAX: Duration = Duration::from_secs(120);
const ROUNDS: u32 = 5;
/// After the last packet, until both have dealt with it.
const SETTLE: Duration = Duration::from_secs(3);
const IDLE: Duration = Duration::from_secs(5);
/// What the agent may take of what Suricata takes.
const SHARE_MAX: f64 = 0.1;
const CPU_PERCENT: u32 = 50;
const RAM_MIB: u32 = 768;

/// One kind of traffic: its name, how fast it is sent, and its frames in a round.
struct Kind {
    name: &'static str,
    packets_per_sec: u32,
    frames: fn(u32) -> Vec<Vec<u8>>,
}

static KINDS: [Kind; 4] = [
    Kind { name: "pages", packets_per_sec: 8_000, frames: |round| traffic::pages(round, 2_000) },
    Kind { name: "tls_downloads", packets_per_sec: 8_000, frames: |round| traffic::downloads(round, 120) },
    Kind { name: "syn_flood", packets_per_sec: 20_000, frames: |round| traffic::syn_flood(round, 100_000) },
    Kind { name: "udp_flood", packets_per_sec: 20_000, frames: |round| traffic::udp_flood(round, 100_000) },
];

pub(super) fn measure(binary: &Path, rules: Option<&Path>, interrupt: &Interrupt) -> Result<Value> {
    ensure!(find("suricata").is_some(), "there is no suricata: install it, or leave this part out");
    netns::remove_stale()?;
    let dir = workspace::target_dir()?.join("bench/suricata");
    let _none = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).with_context(|| format!("`{}` cannot be made", dir.display()))?;
    let gateway = Namespace::make("gateway")?;
    let sender = Namespace::make("sender")?;
    gateway.pair("lan0", &sender, "out0")?;
    gateway.ip(&["address", "add", "192.168.77.1/16", "dev", "lan0"])?;
    gateway.ip(&["link", "set", "lan0", "up"])?;
    sender.ip(&["link", "set", "out0", "up"])?;

    let config = write_config(&dir)?;
    if let Some(rules) = rules {
        let mut update = gateway.command(binary);
        must(update.args(["rules", "update", "--config"]).arg(&config).arg("--source").arg(rules))?;
    }
    let mut agent = start(&gateway, binary, &config, &dir)?;
    wait_ready(&gateway, &mut agent, &dir, interrupt)?;
    let pids = [agent.pid(), suricata_pid(&dir)?];
    let before = cpu_secs(pids)?;
    pause(IDLE, interrupt)?;
    let idle = cpu_secs(pids)?;

    let (mut ratios, mut kinds) = (Map::new(), Map::new());
    for kind in &KINDS {
        let mut rounds = Vec::new();
        for round in 0..ROUNDS {
            rounds.push(play(&gateway, &sender, pids, kind, round, &dir, interrupt)?);
            ensure!(agent.ended()?.is_none(), "the agent ended under `{}`", kind.name);
        }
        let per_packet = |who: usize| spread(rounds.iter().map(|(packets, cpu)| 1e6 * cpu[who] / packets).collect());
        let of = |who: usize| rounds.iter().map(|(_, cpu)| cpu[who].max(0.01)).collect::<Vec<f64>>();
        ratios.insert(format!("{}_agent_us_per_packet", kind.name), per_packet(0));
        ratios.insert(format!("{}_suricata_us_per_packet", kind.name), per_packet(1));
        ratios.insert(format!("{}_agent_over_suricata", kind.name), at_most(over(&of(0), &of(1)), SHARE_MAX));
        kinds.insert(kind.name.to_owned(), json!(rounds));
    }
    let idle_share = |who: usize| (idle[who] - before[who]) / IDLE.as_secs_f64();
    let page = page(&gateway)?;
    let dropped = page.sum("ids_suricata_capture_dropped_total", &[]);
    agent.stop(Duration::from_secs(20))?;
    Ok(json!({
        "ratios": ratios,
        "packets_and_cpu_secs_of_agent_and_suricata": kinds,
        "idle_cpu_share_agent": idle_share(0),
        "idle_cpu_share_suricata": idle_share(1),
        "suricata_dropped": dropped,
        "rules": page.sum("ids_suricata_rules_in_force", &[("state", "loaded")]),
    }))
}

fn write_config(dir: &Path) -> Result<PathBuf> {
    let path = dir.join("config.toml");
    let text = format!(
        "[state]\nenabled = false\n[evidence]\nkeep = 0\n[control]\nenabled = false\n[alert]\npath = \"/dev/null\"\n[suricata]\nmanage = true\ncpu_percent = \
         {CPU_PERCENT}\nram_mib = {RAM_MIB}\nrun_dir = {:?}\nrules_dir = {:?}\n",
        dir.join("run"),
        dir.join("rules"),
    );
    fs::write(&path, text).with_context(|| format!("`{}` cannot be written", path.display()))?;
    Ok(path)
}

fn start(gateway: &Namespace, binary: &Path, config: &Path, dir: &Path) -> Result<Group> {
    let log = File::create(dir.join("agent.log")).context("the agent's log cannot be written")?;
    let mut command = gateway.command(binary);
    command
        .args(["run", "--interface", "lan0", "--mode", "native", "--metrics", PORT, "--models"])
        .arg(workspace::root()?.join("models"))
        .arg("--config")
        .arg(config)
        .stdout(Stdio::from(log.try_clone()?))
        .stderr(Stdio::from(log));
    Group::start("ids-agent", &mut command)
}

fn wait_ready(gateway: &Namespace, agent: &mut Group, dir: &Path, interrupt: &Interrupt) -> Result<()> {
    let deadline = Instant::now() + READY_MAX;
    let answers = || page(gateway).ok()?.sum("ids_suricata_process_answers", &[]);
    while answers() != Some(1.0) {
        interrupt.check()?;
        if let Some(status) = agent.ended()? {
            let said = fs::read_to_string(dir.join("agent.log")).unwrap_or_default();
            bail!("the agent ended ({status}); it said:\n{said}");
        }
        ensure!(Instant::now() < deadline, "Suricata does not answer after {} s", READY_MAX.as_secs());
        thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

/// Sends one round. Gives the packets that the agent saw, and the CPU seconds of both.
fn play(
    gateway: &Namespace,
    sender: &Namespace,
    pids: [u32; 2],
    kind: &Kind,
    round: u32,
    dir: &Path,
    interrupt: &Interrupt,
) -> Result<(f64, [f64; 2])> {
    let capture = dir.join("traffic.pcap");
    let frames = (kind.frames)(round);
    traffic::write(&capture, &frames)?;
    let (seen, cpu) = (packets(gateway)?, cpu_secs(pids)?);
    let mut player = sender.command(Path::new("tcpreplay"));
    player.args(["--quiet", "--preload-pcap", "--intf1", "out0", "--pps"]).arg(kind.packets_per_sec.to_string());
    quiet(player.arg(&capture))?;
    pause(SETTLE, interrupt)?;
    let (seen_now, cpu_now) = (packets(gateway)?, cpu_secs(pids)?);
    let passed = seen_now - seen;
    ensure!(
        passed >= 0.99 * frames.len() as f64,
        "{passed} of {} packets of `{}` passed the gateway",
        frames.len(),
        kind.name
    );
    let [ours, theirs] = [0, 1].map(|who| cpu_now[who] - cpu[who]);
    println!("  {}: {passed} packets, agent {ours:.2} s, Suricata {theirs:.2} s", kind.name);
    Ok((passed, [ours, theirs]))
}

fn page(gateway: &Namespace) -> Result<Metrics> {
    Ok(Metrics { text: fetch(gateway, "/metrics")? })
}

fn packets(gateway: &Namespace) -> Result<f64> {
    page(gateway)?.sum("ids_packets_seen_total", &[]).context("the agent counts no packets")
}

fn suricata_pid(dir: &Path) -> Result<u32> {
    let text = fs::read_to_string(dir.join("run/suricata.pid")).context("Suricata wrote no process id")?;
    text.trim().parse().context("Suricata's process id is no number")
}

/// CPU seconds of each process.
fn cpu_secs([one, other]: [u32; 2]) -> Result<[f64; 2]> {
    Ok([cpu_secs_of(one)?, cpu_secs_of(other)?])
}
