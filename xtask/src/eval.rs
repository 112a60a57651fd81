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
    workspace,
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
    /// Writes the figures into docs/detection.md.
    #[arg(long)]
    write: bool,
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
    println!("eval: {}", line(&command));
    must(&mut command)?;
    if let Some(path) = &args.json {
        fs::copy(out.join("eval.json"), path).with_context(|| format!("`{}` cannot be written", path.display()))?;
    }
    if args.write {
        let tables = out.join("eval.md");
        let tables = fs::read_to_string(&tables).with_context(|| format!("`{}` is unreadable", tables.display()))?;
        page::write(&root.join("docs/detection.md"), "eval", &tables)?;
    }
    Ok(ExitCode::SUCCESS)
}
