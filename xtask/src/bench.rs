//! `cargo xtask bench`: what the agent costs, as ratios between things measured in the same run, with their spread. Writes
//! JSON, and the generated part of `docs/performance.md`.

mod agent;
mod alert;
mod memory;
mod peers;
mod report;
mod rounds;
mod suricata;
mod tax;
mod traffic;
mod wire;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use serde_json::Value;

use self::report::Results;
use crate::{
    page,
    process::{Interrupt, is_root, line, must},
    setup::{self, Purpose},
    test, workspace,
};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// What to measure; without a name all but `suricata` and `peers`.
    #[arg(value_enum)]
    parts: Vec<Part>,
    /// Installs peers and times them on the same capture, too.
    #[arg(long)]
    peers: bool,
    /// Writes the results as JSON to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// How long the memory of the agent is watched under traffic of ever new flows.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(10..=600))]
    soak_secs: u64,
    /// A capture for the parts that read one, in place of one that is made: an Ethernet pcap.
    #[arg(long, value_name = "FILE")]
    capture: Option<PathBuf>,
    /// Rules that Suricata has in its part and among the peers, beside the shipped ones: a file, or a folder of them.
    #[arg(long, value_name = "PATH")]
    suricata_rules: Option<PathBuf>,
    /// Writes the figures of the parts that were measured into docs/performance.md; the other parts stay as they are.
    #[arg(long)]
    write: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// The kernel program against an empty one.
    Kernel,
    /// Reading the kernel's table against reading hash maps.
    Drain,
    /// What the kernel program sends through the ring.
    Ring,
    /// How cost grows with flows and CPUs.
    Scale,
    /// Replay of a file against reading and parsing it alone.
    Replay,
    /// A row through each model.
    Inference,
    /// Suricata's eve.json, from its lines to events.
    Eve,
    /// The join of Suricata's alerts with flows.
    Join,
    /// Frames a second over an interface with the agent on it.
    Wire,
    /// From a packet to the alert that it causes.
    Alert,
    /// A TCP transfer through a gateway with the agent on it.
    Tax,
    /// Memory of the agent, idle and under traffic.
    Memory,
    /// CPU of the agent against that of the Suricata that it manages.
    Suricata,
    /// Other programs on the same capture.
    Peers,
}

impl Part {
    /// The part of the bench program that measures it; what the whole agent takes is measured from outside.
    fn program(self) -> Option<&'static str> {
        match self {
            Self::Kernel => Some("kernel"),
            Self::Drain => Some("drain"),
            Self::Ring => Some("ring"),
            Self::Scale => Some("scale"),
            Self::Replay => Some("replay"),
            Self::Inference => Some("models"),
            Self::Eve => Some("eve"),
            Self::Join => Some("join"),
            Self::Wire | Self::Alert | Self::Tax | Self::Memory | Self::Suricata | Self::Peers => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Drain => "drain",
            Self::Ring => "ring",
            Self::Scale => "scale",
            Self::Replay => "replay",
            Self::Inference => "inference",
            Self::Eve => "eve",
            Self::Join => "join",
            Self::Wire => "wire",
            Self::Alert => "alert",
            Self::Tax => "tax",
            Self::Memory => "memory",
            Self::Suricata => "suricata",
            Self::Peers => "peers",
        }
    }

    fn reads_a_capture(self) -> bool {
        matches!(self, Self::Ring | Self::Replay)
    }
}

/// What the parts are measured with.
struct Bench<'a> {
    args: &'a Args,
    /// The bench program and the agent.
    program: PathBuf,
    agent: PathBuf,
    interrupt: Interrupt,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    ensure!(is_root(), "the benches load kernel programs and make network namespaces, which needs root: run as root");
    setup::ensure(&[Purpose::Build, Purpose::Lab, Purpose::Test])?;
    let parts = chosen(args);
    build(&parts)?;
    let release = workspace::target_dir()?.join("release");
    let bench = Bench {
        args,
        program: release.join("ids-bench"),
        agent: release.join("ids-agent"),
        interrupt: Interrupt::catch()?,
    };
    let mut results = Results::default();
    let mut left_out = Vec::new();
    for part in &parts {
        bench.interrupt.check()?;
        println!("bench: {}", part.name());
        // What the others say stands, whatever became of one.
        match bench.quietly(*part) {
            Ok(Ok(found)) => results.add(part.name(), &found)?,
            Ok(Err(why)) => left_out.push(format!("{}: the machine was too noisy: {why}", part.name())),
            Err(error) => left_out.push(format!("{}: {error:#}", part.name())),
        }
    }
    print!("{}", results.table());
    if let Some(path) = &args.json {
        let text = serde_json::to_string_pretty(&results.json())?;
        fs::write(path, text + "\n").with_context(|| format!("`{}` cannot be written", path.display()))?;
    }
    if args.write {
        let path = workspace::root()?.join("docs/performance.md");
        for part in parts.iter().filter(|part| results.has(part.name())) {
            page::write(&path, &format!("bench {}", part.name()), &results.table_of(part.name()))?;
        }
    }
    for why in &left_out {
        eprintln!("bench: not reported: {why}");
    }
    Ok(if left_out.is_empty() && results.all_within() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn chosen(args: &Args) -> Vec<Part> {
    let mut parts = args.parts.clone();
    if parts.is_empty() && !args.peers {
        let asked_for = [Part::Suricata, Part::Peers];
        parts.extend(Part::value_variants().iter().filter(|part| !asked_for.contains(part)));
    }
    if args.peers && !parts.contains(&Part::Peers) {
        parts.push(Part::Peers);
    }
    parts
}

fn build(parts: &[Part]) -> Result<()> {
    println!("bench: building with full optimisation; the first time takes several minutes");
    let mut command = workspace::cargo()?;
    command.args(["build", "--release"]).args(workspace::TEST_SET).args(["--bin", "ids-bench"]);
    if parts.iter().any(|part| part.program().is_none()) {
        command.args(["--bin", "ids-agent"]);
    }
    must(&mut command)
}

impl Bench<'_> {
    /// Measures a part, and once more if the machine was too noisy; then it says why there is no figure.
    fn quietly(&self, part: Part) -> Result<Result<Value, String>> {
        let first = self.measure(part)?;
        let Some(why) = report::noise(&first) else { return Ok(Ok(first)) };
        println!("  once more: {why}");
        let second = self.measure(part)?;
        Ok(match report::noise(&second) {
            Some(why) => Err(why),
            None => Ok(second),
        })
    }

    fn measure(&self, part: Part) -> Result<Value> {
        let (program, agent, interrupt) = (&self.program, &self.agent, &self.interrupt);
        let rules = self.args.suricata_rules.as_deref();
        match part {
            Part::Wire => wire::measure(program, agent, interrupt),
            Part::Alert => alert::measure(agent, interrupt),
            Part::Tax => tax::measure(program, agent, interrupt),
            Part::Memory => memory::measure(agent, self.args.soak_secs, interrupt),
            Part::Suricata => suricata::measure(agent, rules, interrupt),
            Part::Peers => peers::measure(program, agent, self.args.capture.as_deref(), rules, interrupt),
            Part::Kernel
            | Part::Drain
            | Part::Ring
            | Part::Scale
            | Part::Replay
            | Part::Inference
            | Part::Eve
            | Part::Join => {
                let capture = self.args.capture.as_deref().filter(|_| part.reads_a_capture());
                inside(program, part, capture)
            }
        }
    }
}

/// Runs one part of the bench program.
fn inside(program: &Path, part: Part, capture: Option<&Path>) -> Result<Value> {
    let mut command = Command::new(program);
    command.args(part.program()).args(capture).stderr(Stdio::inherit());
    command.current_dir(workspace::root()?);
    if part == Part::Inference
        && let Some(library) = test::onnxruntime()?
    {
        command.env("IDS_ORT_LIBRARY", library);
    }
    let output = command.output().with_context(|| format!("{} does not start", line(&command)))?;
    ensure!(output.status.success(), "{} failed ({})", line(&command), output.status);
    let text = String::from_utf8_lossy(&output.stdout);
    let start = text.find('{').with_context(|| format!("{} printed no JSON", line(&command)))?;
    serde_json::from_str(&text[start..]).with_context(|| format!("{} printed what is not JSON", line(&command)))
}
