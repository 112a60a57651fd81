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
    /// The same captures, tables and seed give the same models.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where the model folders are written; `models` of this checkout when absent.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Keeps the rows of the last run: for trying other networks on the same captures.
    #[arg(long)]
    keep_rows: bool,
    /// Fits nothing: packs the rows of these labelled captures into models/train/tables, where every later training finds
    /// them without the captures. For captures that not everybody can make again, as the lab's.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["captures", "keep_rows", "out", "check"])]
    add_table: Option<PathBuf>,
    /// Name of the packed table.
    #[arg(long, default_value = "lab", requires = "add_table")]
    table_name: String,
    /// Labels that `ids-agent feedback` kept, or a folder of them such as the agent's state: fitted with the captures. May be
    /// repeated. The agent's own feature schema alone is taken.
    #[arg(long, value_name = "FILE|DIR", conflicts_with_all = ["add_table", "dga"])]
    feedback: Vec<PathBuf>,
    /// Trains beside the models of this checkout and fails where a file comes out different.
    #[arg(long, conflicts_with = "out")]
    check: bool,
    /// Fits the scorer of generated domain names alone, on the names of this unpacked threat intelligence.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["captures", "keep_rows", "add_table", "check"])]
    dga: Option<PathBuf>,
    /// Fits nothing that ships: measures on these labelled captures what a model over the first payload bytes would see that
    /// the payload patterns do not. A quarter of an hour.
    #[arg(long, value_name = "DIR", num_args = 1.., conflicts_with_all = ["captures", "keep_rows", "add_table", "check", "dga"])]
    bytes: Vec<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let root = workspace::root()?;
    let work = workspace::target_dir()?.join("train");
    if let Some(names) = &args.dga {
        let out = args.out.clone().unwrap_or_else(|| root.join("models"));
        return fit_names(&root, names, &out, args.seed);
    }
    let python = environment(&root.join("models/train/requirements.txt"), &work)?;
    if let Some(captures) = &args.add_table {
        return add_table(&python, &workspace::labelled(captures)?, args);
    }
    if !args.bytes.is_empty() {
        return measure_bytes(&python, &work, args);
    }
    let rows = work.join("rows");
    let shipped = root.join("models");
    let out = if args.check { work.join("check") } else { args.out.clone().unwrap_or_else(|| shipped.clone()) };
    let captures = args.captures.as_deref().map(workspace::labelled).transpose()?;
    if !(args.keep_rows && rows.join("rows.f32").is_file()) {
        extract(captures.as_deref(), &rows, &[])?;
    }
    println!("train: fitting and measuring, some minutes of all cores");
    let mut command = fitting(&python, &rows, &out)?;
    for path in &args.feedback {
        ensure!(
            path.exists(),
            "`{}` is neither a file nor a folder: name the labels of `ids-agent feedback`",
            path.display()
        );
        command.arg("--feedback").arg(path);
    }
    must(command.args(["--seed", &args.seed.to_string()]))?;
    if args.check {
        return compare(&out, &shipped);
    }
    println!("train: wrote {} and {}", out.join("classifier").display(), out.join("autoencoder").display());
    Ok(ExitCode::SUCCESS)
}

/// The trainer over `rows` and all packed tables.
fn fitting(python: &Path, rows: &Path, out: &Path) -> Result<Command> {
    let train = workspace::root()?.join("models/train");
    let mut command = Command::new(python);
    command.arg(train.join("train.py")).arg("--rows").arg(rows).arg("--out").arg(out);
    for table in tables(&train.join("tables"))? {
        command.arg("--table").arg(table);
    }
    let jobs = std::thread::available_parallelism().map_or(1, |cores| cores.get().min(8));
    command.args(["--jobs", &jobs.to_string()]);
    Ok(command)
}

/// The packed tables, in the order of their names.
fn tables(folder: &Path) -> Result<Vec<PathBuf>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(folder).with_context(|| format!("`{}`", folder.display()))?;
    let mut found = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    found.retain(|path| path.extension().is_some_and(|extension| extension == "xz"));
    found.sort();
    Ok(found)
}

fn add_table(python: &Path, captures: &Path, args: &Args) -> Result<ExitCode> {
    let train = workspace::root()?.join("models/train");
    let rows = workspace::target_dir()?.join("train/table-rows");
    extract(Some(captures), &rows, &[])?;
    let out = train.join("tables").join(format!("{}.xz", args.table_name));
    let mut command = Command::new(python);
    command.arg(train.join("train.py")).arg("--pack").arg("--rows").arg(&rows).arg("--out").arg(&out);
    must(command.args(["--seed", &args.seed.to_string()]))?;
    Ok(ExitCode::SUCCESS)
}

fn measure_bytes(python: &Path, work: &Path, args: &Args) -> Result<ExitCode> {
    let mut command = Command::new(python);
    command.arg(workspace::root()?.join("models/train/bytes.py")).args(["--seed", &args.seed.to_string()]);
    for (at, captures) in args.bytes.iter().enumerate() {
        let rows = work.join(format!("bytes-{at}"));
        extract(Some(&workspace::labelled(captures)?), &rows, &["--bytes"])?;
        command.arg("--rows").arg(rows);
    }
    must(&mut command)?;
    Ok(ExitCode::SUCCESS)
}

/// Whether the trained folders are those of the checkout, byte for byte.
fn compare(trained: &Path, shipped: &Path) -> Result<ExitCode> {
    let mut same = true;
    for model in ["classifier", "autoencoder"] {
        for entry in fs::read_dir(trained.join(model)).with_context(|| format!("`{}`", trained.display()))? {
            let path = entry?.path();
            let Some(name) = path.file_name() else { continue };
            let ours = shipped.join(model).join(name);
            let equal = fs::read(&path)? == fs::read(&ours).unwrap_or_default();
            println!("train: {} {}", ours.display(), if equal { "comes out the same" } else { "comes out different" });
            same &= equal;
        }
    }
    Ok(if same { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Fits the scorer of names; plain Python is enough for it.
fn fit_names(root: &Path, names: &Path, out: &Path, seed: u64) -> Result<ExitCode> {
    println!("train: fitting and measuring the scorer of names, some minutes of one core");
    let mut command = Command::new("python3");
    command.arg(root.join("models/train/dga.py")).arg("--intel").arg(names).arg("--out").arg(out.join("dga"));
    must(command.args(["--seed", &seed.to_string()]))?;
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
        let mut command = fitting(&python, &rows, &out)?;
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

fn extract(captures: Option<&Path>, rows: &Path, options: &[&str]) -> Result<()> {
    must(workspace::cargo()?.arg("build").args(workspace::TEST_SET).args(["--bin", "training-rows"]))?;
    let mut command = Command::new(workspace::target_dir()?.join("debug/training-rows"));
    command.args(options).arg(rows).args(captures);
    println!("train: {}", line(&command));
    must(&mut command)
}
