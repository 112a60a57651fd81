//! `cargo xtask train`: labelled captures to feature rows by the agent's own engine, rows to models by pinned Python.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context, Result, ensure};

use crate::process::{line, must, quiet};
use crate::workspace;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Folder of captures with a LABELS.tsv; `../shared/data/captures-dev.tar.zst` when absent.
    #[arg(long, value_name = "DIR")]
    captures: Option<PathBuf>,
    /// The same captures and seed give the same models.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where the model folders are written; `models` of this checkout when absent.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Keeps the rows of the last run: for trying other networks on the same captures.
    #[arg(long)]
    keep_rows: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let root = workspace::root()?;
    let work = workspace::target_dir()?.join("train");
    let rows = work.join("rows");
    let out = args.out.clone().unwrap_or_else(|| root.join("models"));
    let captures = args.captures.as_deref().map(workspace::labelled).transpose()?;

    let python = environment(&root.join("models/train/requirements.txt"), &work)?;
    if !(args.keep_rows && rows.join("rows.f32").is_file()) {
        extract(captures.as_deref(), &rows)?;
    }
    println!("train: fitting and measuring, a few minutes of one core");
    must(
        Command::new(&python)
            .arg(root.join("models/train/train.py"))
            .arg("--rows")
            .arg(&rows)
            .arg("--out")
            .arg(&out)
            .args(["--seed", &args.seed.to_string()]),
    )?;
    println!("train: wrote {} and {}", out.join("classifier").display(), out.join("autoencoder").display());
    Ok(ExitCode::SUCCESS)
}

/// Folds of sources for judging captures by models that never saw their source.
const FOLDS: u32 = 4;

/// Fits models without each fold of sources in turn, on the rows of the last `cargo xtask train`; gives their folders.
pub(crate) fn without_sources() -> Result<Vec<PathBuf>> {
    let root = workspace::root()?;
    let work = workspace::target_dir()?.join("train");
    let rows = work.join("rows");
    ensure!(rows.join("rows.f32").is_file(), "there are no rows of features yet: run `cargo xtask train` first");
    let python = environment(&root.join("models/train/requirements.txt"), &work)?;
    let fold = |at: u32| {
        let out = work.join(format!("without-fold-{at}"));
        println!("train: fitting without fold {} of {FOLDS}", at + 1);
        let mut command = Command::new(&python);
        command.arg(root.join("models/train/train.py")).arg("--rows").arg(&rows).arg("--out").arg(&out);
        must(command.args(["--held-out", &format!("{at}/{FOLDS}")]))?;
        Ok(out)
    };
    (0..FOLDS).map(fold).collect()
}

/// A Python with the pinned packages, made once for each content of `requirements`.
fn environment(requirements: &Path, work: &Path) -> Result<PathBuf> {
    let wanted = fs::read_to_string(requirements).with_context(|| format!("`{}`", requirements.display()))?;
    let venv = work.join("venv");
    let python = venv.join("bin/python");
    let stamp = venv.join("requirements.txt");
    if python.is_file() && fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(python);
    }
    let version = quiet(Command::new("python3").args(["-c", "import sys; print('%d.%d' % sys.version_info[:2])"]))
        .context("Python is missing: install python3 and python3-venv, 3.11 or newer")?;
    let minor = version.trim().strip_prefix("3.").and_then(|minor| minor.parse::<u32>().ok());
    ensure!(minor.is_some_and(|minor| minor >= 11), "Python {} is too old: install 3.11 or newer", version.trim());
    println!("train: installing into {}:", venv.display());
    for package in wanted.lines().filter(|line| !line.starts_with('#')) {
        println!("  {package}");
    }
    must(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv))?;
    must(Command::new(&python).args(["-m", "pip", "install", "--quiet", "--requirement"]).arg(requirements))?;
    fs::write(&stamp, wanted).with_context(|| format!("`{}`", stamp.display()))?;
    Ok(python)
}

fn extract(captures: Option<&Path>, rows: &Path) -> Result<()> {
    must(workspace::cargo()?.arg("build").args(workspace::TEST_SET).args(["--bin", "training-rows"]))?;
    let mut command = Command::new(workspace::target_dir()?.join("debug/training-rows"));
    command.arg(rows).args(captures);
    println!("train: {}", line(&command));
    must(&mut command)
}
