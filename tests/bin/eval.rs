//! Replays labelled captures through the agent's program and scores what it says. Used by
//! `cargo xtask eval`; knows nothing of the agent's inside but the names of its classes.
//!
//! Writes `eval.json` and `eval.md`, and prints the tables.

use std::{
    error::Error,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{ExitCode, Stdio},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use ids_tests::{
    archive,
    labels::{self, Label},
    program,
    score::{self, Family, Scored},
};
use indicatif::{ProgressBar, ProgressStyle};

type AnyError = Box<dyn Error + Send + Sync>;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("eval: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), AnyError> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let mut wanted = || arguments.next().ok_or("usage: eval AGENT MODELS OUT [CAPTURES]");
    let (agent, models, out) = (wanted()?, wanted()?, wanted()?);
    let captures = archive::labelled(arguments.next())?;
    let labels = labels::of_folder(&captures)?;
    check(&captures, &labels)?;
    fs::create_dir_all(&out)?;
    let scratch = tempfile::tempdir_in(&out)?;
    let program = Program { agent: &agent, models: &models, captures: &captures, scratch: scratch.path() };
    let scored = score_all(&program, &labels)?;
    let report = score::report(&scored);
    fs::write(out.join("eval.json"), serde_json::to_string_pretty(&report)? + "\n")?;
    fs::write(out.join("eval.md"), report.tables())?;
    println!("{}\n{}", report.source_table(), report.tables());
    Ok(())
}

/// A row that cannot be scored is told before hours are spent on the others.
fn check(captures: &Path, labels: &[Label]) -> Result<(), String> {
    let mut seen = std::collections::BTreeSet::new();
    for label in labels {
        let row = row(label);
        if Family::of(&label.family).is_none() {
            return Err(format!("{row}: `{}` is no family that is known", label.family));
        }
        if !captures.join(&label.path).is_file() {
            return Err(format!("{row}: the capture is missing from {}", captures.display()));
        }
        if !seen.insert(&label.path) {
            return Err(format!("{row}: the capture has a row already"));
        }
    }
    if labels.is_empty() {
        return Err(format!("LABELS.tsv of {} has no rows", captures.display()));
    }
    Ok(())
}

fn row(label: &Label) -> String {
    format!("LABELS.tsv, line {}, `{}`", label.line, label.path)
}

/// Scores every capture, in the order of the labels.
fn score_all(program: &Program<'_>, labels: &[Label]) -> Result<Vec<Scored>, AnyError> {
    // Hidden where standard error is no terminal.
    let bar = ProgressBar::new(labels.len() as u64)
        .with_style(ProgressStyle::with_template("{bar:30} {pos}/{len} captures, {eta} left {wide_msg}")?);
    let next = AtomicUsize::new(0);
    let done: Vec<Mutex<Option<Result<Scored, String>>>> = labels.iter().map(|_| Mutex::new(None)).collect();
    let workers = thread::available_parallelism().map_or(1, |cores| cores.get().min(2));
    thread::scope(|scope| {
        for worker in 0..workers {
            let (next, done, bar) = (&next, &done, &bar);
            scope.spawn(move || {
                while let Some((label, slot)) = {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    labels.get(at).zip(done.get(at))
                } {
                    bar.set_message(label.path.clone());
                    let scored = program.score(label, worker).map_err(|error| format!("{}: {error}", row(label)));
                    if scored.is_err() {
                        // Nothing after it counts any more.
                        next.store(labels.len(), Ordering::Relaxed);
                    }
                    *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(scored);
                    bar.inc(1);
                }
            });
        }
    });
    bar.finish_and_clear();
    let results = done.into_iter().filter_map(|slot| slot.into_inner().unwrap_or_else(PoisonError::into_inner));
    let scored = results.collect::<Result<Vec<_>, String>>()?;
    if scored.len() == labels.len() { Ok(scored) } else { Err("a capture was not scored".into()) }
}

/// The agent's program and what it is run on.
struct Program<'a> {
    agent: &'a Path,
    models: &'a Path,
    captures: &'a Path,
    scratch: &'a Path,
}

impl Program<'_> {
    fn score(&self, label: &Label, worker: usize) -> Result<Scored, AnyError> {
        let file = |name: &str| self.scratch.join(format!("{worker}-{name}"));
        let (config, alerts, flows) = (file("config.toml"), file("alerts.ndjson"), file("flows.ndjson"));
        // Empty: what this machine is configured to must not show.
        fs::write(&config, "")?;
        let capture = self.captures.join(&label.path);
        let arguments: [(&str, &Path); 4] =
            [("--config", &config), ("--models", self.models), ("--alerts", &alerts), ("--flows", &flows)];
        let output = program::command(&self.agent.to_string_lossy(), &["replay", "--format", "native", "--json"])
            .args(arguments.iter().flat_map(|(name, value)| [OsStr::new(name), value.as_os_str()]))
            .arg("--")
            .arg(&capture)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .output()
            .map_err(|error| format!("`{}` does not start: {error}", self.agent.display()))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(format!("{} ({})", said.trim(), output.status).into());
        }
        Ok(score::score(label, &fs::read_to_string(&flows)?, &fs::read_to_string(&alerts)?)?)
    }
}
