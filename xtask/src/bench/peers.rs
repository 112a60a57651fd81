//! Other programs on the same capture, in the same run: packets a second from a capture file to flows or features, and peak
//! memory. Installs them first, by name; each runs in a namespace with nothing but a loopback.

use std::{
    env,
    ffi::OsString,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value, json};

use super::rounds::{at_least, over, spread};
use crate::{
    netns::{self, Namespace},
    process::{Group, Interrupt, must, quiet},
    setup::{self, Purpose},
    workspace,
};

const ROUNDS: usize = 5;
/// Packets of the captures that are made, for all, and for those that take minutes for that.
const PACKETS: u32 = 300_000;
const PACKETS_OF_THE_SLOW: u32 = 10_000;
const RUN_MAX: Duration = Duration::from_secs(180);
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Packages of the registry, as they were compared.
const PACKAGES: [&str; 2] = ["nfstream==6.6.0", "cicflowmeter==0.2.0"];
const NFSTREAM: &str = "import sys\nfrom nfstream import NFStreamer\n\
                        print(sum(1 for _ in NFStreamer(source=sys.argv[1], statistical_analysis=True)))";

/// A program and what it is to do with a capture.
struct Peer {
    name: &'static str,
    /// What our features must be faster by, if that is a bar.
    floor: Option<f64>,
    pace: Pace,
    program: PathBuf,
    args: Vec<OsString>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Pace {
    Fast,
    Slow,
}

/// One run: packets a second, and peak memory.
struct Ran {
    per_sec: f64,
    peak_mib: f64,
}

pub(super) fn measure(
    bench: &Path,
    agent: &Path,
    capture: Option<&Path>,
    rules: Option<&Path>,
    interrupt: &Interrupt,
) -> Result<Value> {
    setup::ensure(&[Purpose::Peers])?;
    let python = environment()?;
    netns::remove_stale()?;
    let dir = workspace::target_dir()?.join("bench/peers");
    let _none = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).with_context(|| format!("`{}` cannot be made", dir.display()))?;
    let captures = [(Pace::Fast, PACKETS), (Pace::Slow, PACKETS_OF_THE_SLOW)].map(|(pace, packets)| {
        let path = match (capture, pace) {
            (Some(given), Pace::Fast) => given.to_path_buf(),
            _ => dir.join(format!("made-{packets}.pcap")),
        };
        (pace, path, packets)
    });
    for (pace, path, packets) in &captures {
        if *pace == Pace::Slow || capture.is_none() {
            quiet(Command::new(bench).arg("capture").arg(path).arg(packets.to_string()))?;
        }
    }
    let space = Namespace::make("peers")?;
    let peers = peers(bench, agent, &python, rules, &dir)?;
    let mut packets = Map::new();
    let mut runs: Vec<Vec<Ran>> = peers.iter().map(|_| Vec::new()).collect();
    let mut failed: Vec<Option<String>> = vec![None; peers.len()];
    for round in 0..=ROUNDS {
        for ((peer, runs), failed) in peers.iter().zip(&mut runs).zip(&mut failed) {
            interrupt.check()?;
            if failed.is_some() {
                continue;
            }
            let (_, path, _) =
                captures.iter().find(|(pace, ..)| *pace == peer.pace).context("a capture for each pace")?;
            let count = count_of(bench, path, &mut packets)?;
            match peer.run(&space, path, count, &dir) {
                // The first warms the page cache.
                Ok(ran) if round > 0 => runs.push(ran),
                Ok(_) => {}
                Err(error) => {
                    println!("  {} is left out: {error:#}", peer.name);
                    *failed = Some(format!("{error:#}"));
                }
            }
        }
    }
    let per_sec: Vec<Vec<f64>> = runs.iter().map(|runs| runs.iter().map(|ran| ran.per_sec).collect()).collect();
    let ours = per_sec.first().filter(|ours| !ours.is_empty()).context("our own features were not measured")?;
    let (mut ratios, mut parts) = (Map::new(), Map::new());
    for (((peer, per_sec), runs), failed) in peers.iter().zip(&per_sec).zip(&runs).zip(&failed) {
        if let Some(why) = failed {
            parts.insert(peer.name.to_owned(), json!({ "left_out": why }));
            continue;
        }
        let peak = spread(runs.iter().map(|ran| ran.peak_mib).collect());
        parts.insert(peer.name.to_owned(), json!({ "packets_per_sec": spread(per_sec.clone()), "peak_rss_mib": peak }));
        ratios.insert(format!("{}_packets_per_sec", peer.name), spread(per_sec.clone()));
        if !peer.name.starts_with("ids_agent") {
            let share = over(ours, per_sec);
            let told = peer.floor.map_or_else(|| spread(share.clone()), |floor| at_least(share.clone(), floor));
            ratios.insert(format!("features_over_{}", peer.name), told);
        }
    }
    Ok(json!({ "ratios": ratios, "programs": parts, "packets": packets }))
}

/// What is compared; our own come first.
fn peers(bench: &Path, agent: &Path, python: &Path, rules: Option<&Path>, dir: &Path) -> Result<Vec<Peer>> {
    let words = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
    let models = workspace::root()?.join("models");
    let out = dir.join("out");
    fs::create_dir_all(&out).with_context(|| format!("`{}` cannot be made", out.display()))?;
    let csv = dir.join("features.csv").into_os_string();
    let suricata = |rules: &Path| -> Vec<OsString> {
        let mut args = words(&["-k", "none", "-S"]);
        args.push(rules.into());
        args.extend([OsString::from("-l"), out.clone().into(), OsString::from("-r")]);
        args
    };
    let none = dir.join("none.rules");
    fs::write(&none, "").with_context(|| format!("`{}` cannot be written", none.display()))?;
    let mut peers = Vec::new();
    let mut add = |name, floor, pace, program: PathBuf, args: Vec<OsString>| {
        peers.push(Peer { name, floor, pace, program, args });
    };
    let mut features = words(&["features", "--out"]);
    features.push(csv.clone());
    features.push("--models".into());
    features.push(models.clone().into());
    add("ids_agent_features", None, Pace::Fast, agent.to_owned(), features);
    let mut all = words(&["replay", "--alerts", "/dev/null", "--models"]);
    all.push(models.into());
    add("ids_agent_all", None, Pace::Fast, agent.to_owned(), all);
    add("bare", None, Pace::Fast, bench.to_owned(), words(&["bare"]));
    add("suricata_without_rules", Some(15.0), Pace::Fast, setup::tool("suricata")?, suricata(&none));
    if let Some(rules) = rules {
        let one = dir.join("all.rules");
        together(rules, &one)?;
        add("suricata_with_rules", None, Pace::Fast, setup::tool("suricata")?, suricata(&one));
    }
    add(
        "softflowd",
        None,
        Pace::Fast,
        setup::tool("softflowd")?,
        words(&["-d", "-n", "127.0.0.1:9995", "-v", "9", "-r"]),
    );
    let mut nfpcapd = words(&["-l"]);
    nfpcapd.push(out.clone().into());
    nfpcapd.push("-r".into());
    add("nfpcapd", None, Pace::Fast, setup::tool("nfpcapd")?, nfpcapd);
    add("ndpi_reader", None, Pace::Fast, setup::tool("ndpiReader")?, words(&["-q", "-i"]));
    let tshark = words(&["-n", "-q", "-z", "conv,tcp", "-z", "conv,udp", "-r"]);
    add("tshark", None, Pace::Fast, setup::tool("tshark")?, tshark);
    add("nfstream", Some(15.0), Pace::Fast, python.join("python"), words(&["-c", NFSTREAM]));
    let cic = python.join("cicflowmeter");
    let mut args = words(&["-c", "-f"]);
    // The output comes last.
    args.push(OsString::from("CAPTURE"));
    args.push(dir.join("cic.csv").into());
    add("cicflowmeter_python", None, Pace::Slow, cic, args);
    Ok(peers)
}

impl Peer {
    fn run(&self, space: &Namespace, capture: &Path, packets: f64, dir: &Path) -> Result<Ran> {
        let log = File::create(dir.join(format!("{}.log", self.name))).context("a log cannot be written")?;
        let mut command = space.command(&self.program);
        if self.args.iter().any(|arg| arg == "CAPTURE") {
            command.args(self.args.iter().map(|arg| if arg == "CAPTURE" { capture.as_os_str() } else { arg }));
        } else {
            command.args(&self.args).arg(capture);
        }
        command.envs(setup::tools_environment()?).current_dir(dir);
        command.stdout(Stdio::from(log.try_clone()?)).stderr(Stdio::from(log));
        let begin = Instant::now();
        let mut group = Group::start(self.name, &mut command)?;
        let mut peak_kib: f64 = 0.0;
        let status = loop {
            if let Some(status) = group.ended()? {
                break status;
            }
            if begin.elapsed() > RUN_MAX {
                bail!("it takes longer than {} s", RUN_MAX.as_secs());
            }
            peak_kib = peak_kib.max(resident_kib(group.pid()));
            thread::sleep(LOOK_EVERY);
        };
        let secs = begin.elapsed().as_secs_f64();
        ensure!(status.success(), "it failed ({status}); see {}.log", self.name);
        Ok(Ran { per_sec: packets / secs, peak_mib: peak_kib / 1_024.0 })
    }
}

/// Peak memory of a process, without its children.
fn resident_kib(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse().ok()).unwrap_or_default()
}

/// Packets of a capture, counted once.
fn count_of(bench: &Path, capture: &Path, known: &mut Map<String, Value>) -> Result<f64> {
    let name = capture.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if let Some(count) = known.get(&name).and_then(Value::as_f64) {
        return Ok(count);
    }
    let said = quiet(Command::new(bench).args(["bare"]).arg(capture))?;
    let told: Value = serde_json::from_str(&said).context("the bench program says what is not JSON")?;
    let count = told["packets"].as_f64().context("the bench program counts no packets")?;
    known.insert(name, json!(count));
    Ok(count)
}

/// All rules of a file or folder in one file.
fn together(rules: &Path, into: &Path) -> Result<()> {
    let mut files = if rules.is_dir() {
        let entries = fs::read_dir(rules).with_context(|| format!("`{}` is unreadable", rules.display()))?;
        entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?
    } else {
        vec![rules.to_path_buf()]
    };
    files.sort();
    let mut text = Vec::new();
    for file in files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "rules")) {
        text.extend(fs::read(file).with_context(|| format!("`{}` is unreadable", file.display()))?);
        text.push(b'\n');
    }
    fs::write(into, text).with_context(|| format!("`{}` cannot be written", into.display()))
}

/// The programs of a Python environment of our own, with the peers of the package registry.
fn environment() -> Result<PathBuf> {
    let dir = workspace::target_dir()?.join("tools/peers");
    let programs = dir.join("bin");
    if !programs.join("cicflowmeter").is_file() {
        println!("setup: missing, and fetched now into {}: {}", dir.display(), PACKAGES.join(", "));
        let python = env::var_os("PYTHON").unwrap_or_else(|| "python3".into());
        must(Command::new(python).args(["-m", "venv"]).arg(&dir))?;
        let pip = ["install", "--quiet", "--disable-pip-version-check"];
        must(Command::new(programs.join("pip")).args(pip).args(PACKAGES))?;
    }
    Ok(programs)
}
