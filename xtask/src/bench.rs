//! `cargo xtask bench`: what the agent costs, as ratios between things measured in the same run, with their spread. Writes
//! JSON, and the generated part of `docs/performance.md`.

mod memory;
mod report;
mod suricata;
mod traffic;

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
    workspace,
};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// What to measure; everything when absent.
    #[arg(value_enum)]
    parts: Vec<Part>,
    /// Writes the results as JSON to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// How long the memory of the agent is watched under traffic.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(10..=600))]
    soak_secs: u64,
    /// Rules that Suricata has in its part, beside the shipped ones: a file, or a folder of them.
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
    /// Replay of a file against reading and parsing it alone.
    Replay,
    /// A row through each model.
    Models,
    /// Suricata's eve.json, from its lines to events.
    Eve,
    /// The join of Suricata's alerts with flows.
    Join,
    /// Memory of the agent, idle and under traffic.
    Memory,
    /// CPU of the agent against that of the Suricata that it manages.
    Suricata,
}

impl Part {
    /// The bench program that measures it; what the whole agent takes is measured from outside.
    fn program(self) -> Option<&'static str> {
        match self {
            Self::Kernel => Some("bench-kernel"),
            Self::Replay => Some("bench-replay"),
            Self::Models => Some("bench-models"),
            Self::Eve => Some("bench-eve"),
            Self::Join => Some("bench-join"),
            Self::Memory | Self::Suricata => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Replay => "replay",
            Self::Models => "models",
            Self::Eve => "eve",
            Self::Join => "join",
            Self::Memory => "memory",
            Self::Suricata => "suricata",
        }
    }
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    ensure!(is_root(), "the benches load kernel programs and make network namespaces, which needs root: run as root");
    setup::ensure(&[Purpose::Build, Purpose::Lab, Purpose::Test])?;
    let parts: &[Part] = if args.parts.is_empty() { Part::value_variants() } else { &args.parts };
    build(parts)?;
    let release = workspace::target_dir()?.join("release");
    let interrupt = Interrupt::catch()?;
    let mut results = Results::default();
    for part in parts {
        interrupt.check()?;
        println!("bench: {}", part.name());
        let agent = release.join("ids-agent");
        let found = match (part, part.program()) {
            (_, Some(program)) => measure(&release.join(program))?,
            (Part::Suricata, None) => suricata::measure(&agent, args.suricata_rules.as_deref(), &interrupt)?,
            (_, None) => memory::measure(&agent, args.soak_secs, &interrupt)?,
        };
        results.add(part.name(), &found)?;
    }
    print!("{}", results.table());
    if let Some(path) = &args.json {
        let text = serde_json::to_string_pretty(&results.json())?;
        fs::write(path, text + "\n").with_context(|| format!("`{}` cannot be written", path.display()))?;
    }
    if args.write {
        let path = workspace::root()?.join("docs/performance.md");
        for part in parts {
            page::write(&path, &format!("bench {}", part.name()), &results.table_of(part.name()))?;
        }
    }
    Ok(if results.all_within() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn build(parts: &[Part]) -> Result<()> {
    println!("bench: building with full optimisation; the first time takes several minutes");
    let mut command = workspace::cargo()?;
    command.args(["build", "--release"]).args(workspace::TEST_SET);
    for part in parts {
        command.args(["--bin", part.program().unwrap_or("ids-agent")]);
    }
    must(&mut command)
}

/// Runs one bench program; the last line of its output is its result.
fn measure(program: &Path) -> Result<Value> {
    let mut command = Command::new(program);
    command.current_dir(workspace::root()?).stderr(Stdio::inherit());
    let output = command.output().with_context(|| format!("{} does not start", line(&command)))?;
    ensure!(output.status.success(), "{} failed ({})", line(&command), output.status);
    let text = String::from_utf8_lossy(&output.stdout);
    // Some print one line, some print it over many.
    let start = text.find('{').with_context(|| format!("{} printed no JSON", line(&command)))?;
    serde_json::from_str(&text[start..]).with_context(|| format!("{} printed what is not JSON", line(&command)))
}
