//! `cargo xtask eval`: labelled captures through the agent and its models, scored against their labels. The replays and
//! the arithmetic are those of the program `eval`, which this verb builds and runs.

use std::{
    fs,
    path::PathBuf,
    process::{Command, ExitCode},
};

use anyhow::{Context, Result, ensure};

use crate::{
    page,
    process::{line, must},
    train, workspace,
};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Folder of captures with a LABELS.tsv; `../shared/data/captures-dev.tar.zst` when absent.
    #[arg(long, value_name = "DIR")]
    captures: Option<PathBuf>,
    /// Writes the figures as JSON to this file.
    #[arg(long, value_name = "PATH")]
    json: Option<PathBuf>,
    /// Folder of the models to judge by; `models` of this checkout when absent.
    #[arg(long, value_name = "DIR")]
    models: Option<PathBuf>,
    /// Judges every capture by models that were fitted without its source, thresholds included. Trains them first,
    /// which takes long; `cargo xtask train` must have run on these captures.
    #[arg(long, conflicts_with_all = ["models", "evasion"])]
    held_out: bool,
    /// Scores the attack captures in disguise: padded, slowed down, with dummy packets, split.
    #[arg(long)]
    evasion: bool,
    /// Scores the agent with Suricata beside it, and each alone.
    #[arg(long, conflicts_with_all = ["held_out", "evasion"])]
    suricata: bool,
    /// Rules for Suricata: a file, or a folder of them; those of this machine when absent.
    #[arg(long, value_name = "PATH", requires = "suricata")]
    suricata_rules: Option<PathBuf>,
    /// Writes the figures into docs/detection.md, between the marks of this name: `lab` for captures of the lab.
    #[arg(long, value_name = "NAME", num_args = 0..=1, default_missing_value = "")]
    write: Option<String>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let root = workspace::root()?;
    let target = workspace::target_dir()?;
    let captures = args.captures.as_deref().map(workspace::labelled).transpose()?;
    let models = args.models.clone().unwrap_or_else(|| root.join("models"));
    ensure!(models.is_dir(), "`{}` is no folder: name the folder that holds the models", models.display());

    must(workspace::cargo()?.arg("build").args(workspace::TEST_SET).args(["--bin", "ids-agent", "--bin", "eval"]))?;
    let out = target.join("eval");
    let mut command = Command::new(target.join("debug/eval"));
    command.arg(target.join("debug/ids-agent")).arg(&models).arg(&out).args(captures);
    let mut name = "eval";
    if args.held_out {
        name = "eval --held-out";
        for folder in train::without_sources()? {
            command.arg("--held-out").arg(folder);
        }
    }
    if args.evasion {
        command.arg("--evasion");
        name = "eval --evasion";
    }
    if args.suricata {
        command.arg("--suricata");
        name = "eval --suricata";
        if let Some(rules) = &args.suricata_rules {
            command.arg("--suricata-rules").arg(rules);
        }
    }
    println!("eval: {}", line(&command));
    must(&mut command)?;
    let stem = match (args.evasion, args.suricata) {
        (true, _) => "evasion",
        (false, true) => "suricata",
        (false, false) => "eval",
    };
    let file = |ending: &str| out.join(stem).with_extension(ending);
    if let Some(path) = &args.json {
        fs::copy(file("json"), path).with_context(|| format!("`{}` cannot be written", path.display()))?;
    }
    if let Some(block) = &args.write {
        let name = if block.is_empty() { name.to_owned() } else { format!("{name} --write {block}") };
        let tables = file("md");
        let tables = fs::read_to_string(&tables).with_context(|| format!("`{}` is unreadable", tables.display()))?;
        page::write(&root.join("docs/detection.md"), &name, &tables)?;
    }
    Ok(ExitCode::SUCCESS)
}
