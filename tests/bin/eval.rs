//! Replays labelled captures through the agent's program and scores what it says. Used by
//! `cargo xtask eval`; knows nothing of the agent's inside but the names of its classes.
//!
//! Writes `eval.json` and `eval.md` (`evasion.json` and `evasion.md` with `--evasion`, `suricata.json` and
//! `suricata.md` with `--suricata`), and prints the tables.

use std::{
    collections::BTreeMap,
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

use clap::Parser;
use ids_agent::{
    config::SuricataSettings,
    supervisor::StopFlag,
    suricata::{CaptureRules, CaptureSuricata, local_rules},
};
use ids_tests::{
    archive,
    evade::{self, Attacks, Trick},
    labels::{self, Label},
    program,
    score::{self, Evasion, Family, JoinCount, Joined, Pair, Scored, Silence, Voice},
};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Deserialize;

type AnyError = Box<dyn Error + Send + Sync>;

/// What to score, by whose models.
#[derive(Parser)]
struct Args {
    agent: PathBuf,
    /// Folder of the models.
    models: PathBuf,
    /// Folder for what is written.
    out: PathBuf,
    /// Folder with LABELS.tsv; the captures to develop with when absent.
    captures: Option<PathBuf>,
    /// Folders of models, each with a held_out.txt that names the captures it is to judge.
    #[arg(long, value_name = "DIR")]
    held_out: Vec<PathBuf>,
    /// Scores the attack captures in disguise too, and compares.
    #[arg(long)]
    evasion: bool,
    /// Scores the agent with Suricata beside it too, and compares.
    #[arg(long, conflicts_with = "evasion")]
    suricata: bool,
    /// Rules for Suricata: a file, or a folder of them; those of this machine when absent.
    #[arg(long, value_name = "PATH", requires = "suricata")]
    suricata_rules: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("eval: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<(), AnyError> {
    let captures = archive::labelled(args.captures.clone())?;
    let mut labels = labels::of_folder(&captures)?;
    check(&captures, &labels)?;
    fs::create_dir_all(&args.out)?;
    let scratch = tempfile::tempdir_in(&args.out)?;
    let held_out = HeldOut::read(&args.held_out)?;
    let program = Program {
        agent: &args.agent,
        models: &args.models,
        held_out: &held_out,
        captures: &captures,
        scratch: scratch.path(),
    };
    let write = |name: &str, text: &str| fs::write(args.out.join(name), text);
    if args.evasion {
        labels.retain(|label| matches!(Family::of(&label.family), Some(Family::Attack(_))));
        let tried = each(&labels, |label, worker| program.evade(label, worker))?;
        let left_out = tried.iter().filter(|tried| tried.is_empty()).count();
        let evasion = Evasion::new(tried.into_iter().flatten(), left_out as u64);
        write("evasion.json", &(serde_json::to_string_pretty(&evasion)? + "\n"))?;
        write("evasion.md", &evasion.table())?;
        println!("{}", evasion.table());
        return Ok(());
    }
    if args.suricata {
        let settings = CaptureRules {
            program: PathBuf::from("suricata"),
            rules: args.suricata_rules.clone(),
            local_rules: local_rules(&SuricataSettings::default()),
            home_networks: Vec::new(),
        };
        // Its rules are loaded once; captures go through it one after the other.
        let stop = StopFlag::default();
        let suricata = CaptureSuricata::start(&settings, &stop)?;
        let rules_loaded = suricata.rules_loaded();
        let suricata = Mutex::new(suricata);
        let pairs = each(&labels, |label, worker| program.with_suricata(label, worker, &suricata, &stop))?;
        let joined = Joined::new(pairs, rules_loaded);
        write("suricata.json", &(serde_json::to_string_pretty(&joined)? + "\n"))?;
        write("suricata.md", &joined.tables())?;
        println!("{}", joined.tables());
        return Ok(());
    }
    let scored = each(&labels, |label, worker| {
        let Replayed { mut scored, flows, .. } = program.replay(label, worker, None, None)?;
        if scored.is_missed() {
            scored.silence = Some(match scored.said[&Voice::Together].alerts {
                0 => score::silence_of(&captures.join(&label.path), &score::attack_flows(label, &flows)?)?,
                _ => Silence::OtherClass,
            });
        }
        Ok(scored)
    })?;
    let report = score::report(&scored);
    write("eval.json", &(serde_json::to_string_pretty(&report)? + "\n"))?;
    write("eval.md", &report.tables())?;
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

/// Does the work for every capture, in the order of the labels.
fn each<T: Send>(
    labels: &[Label],
    work: impl Fn(&Label, usize) -> Result<T, AnyError> + Sync,
) -> Result<Vec<T>, AnyError> {
    // Hidden where standard error is no terminal.
    let bar = ProgressBar::new(labels.len() as u64)
        .with_style(ProgressStyle::with_template("{bar:30} {pos}/{len} captures, {eta} left {wide_msg}")?);
    let next = AtomicUsize::new(0);
    let done: Vec<Mutex<Option<Result<T, String>>>> = labels.iter().map(|_| Mutex::new(None)).collect();
    let workers = thread::available_parallelism().map_or(1, |cores| cores.get().min(2));
    thread::scope(|scope| {
        for worker in 0..workers {
            let (next, done, bar, work) = (&next, &done, &bar, &work);
            scope.spawn(move || {
                while let Some((label, slot)) = {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    labels.get(at).zip(done.get(at))
                } {
                    bar.set_message(label.path.clone());
                    let result = work(label, worker).map_err(|error| format!("{}: {error}", row(label)));
                    if result.is_err() {
                        // Nothing after it counts any more.
                        next.store(labels.len(), Ordering::Relaxed);
                    }
                    *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
                    bar.inc(1);
                }
            });
        }
    });
    bar.finish_and_clear();
    let results = done.into_iter().filter_map(|slot| slot.into_inner().unwrap_or_else(PoisonError::into_inner));
    let results = results.collect::<Result<Vec<_>, String>>()?;
    if results.len() == labels.len() { Ok(results) } else { Err("a capture was not scored".into()) }
}

/// Which models judge a capture that they must not have seen.
struct HeldOut(BTreeMap<String, PathBuf>);

impl HeldOut {
    fn read(folders: &[PathBuf]) -> Result<Self, AnyError> {
        let mut models = BTreeMap::new();
        for folder in folders {
            let list = folder.join("held_out.txt");
            let text = fs::read_to_string(&list).map_err(|error| format!("cannot read {}: {error}", list.display()))?;
            models.extend(text.lines().map(|path| (path.to_owned(), folder.clone())));
        }
        Ok(Self(models))
    }
}

/// The agent's program and what it is run on.
struct Program<'a> {
    agent: &'a Path,
    models: &'a Path,
    held_out: &'a HeldOut,
    captures: &'a Path,
    scratch: &'a Path,
}

/// What came of one replay.
struct Replayed {
    scored: Scored,
    flows: String,
    join: JoinCount,
}

/// What is read of the summary that `--json` prints.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Summary {
    suricata: JoinCount,
}

impl Program<'_> {
    /// Replays a capture, or a disguised one in its place.
    fn replay(
        &self,
        label: &Label,
        worker: usize,
        disguised: Option<&Path>,
        eve: Option<&Path>,
    ) -> Result<Replayed, AnyError> {
        let file = |name: &str| self.scratch.join(format!("{worker}-{name}"));
        let (config, alerts, flows) = (file("config.toml"), file("alerts.ndjson"), file("flows.ndjson"));
        // Empty: what this machine is configured to must not show.
        fs::write(&config, "")?;
        let capture = disguised.map_or_else(|| self.captures.join(&label.path), Path::to_path_buf);
        let models = match self.held_out.0.get(&label.path) {
            Some(models) => models,
            None if self.held_out.0.is_empty() => self.models,
            None => return Err("no models hold this capture out".into()),
        };
        let arguments: [(&str, &Path); 4] =
            [("--config", &config), ("--models", models), ("--alerts", &alerts), ("--flows", &flows)];
        let output = program::command(&self.agent.to_string_lossy(), &["replay", "--format", "native", "--json"])
            .args(arguments.iter().flat_map(|(name, value)| [OsStr::new(name), value.as_os_str()]))
            .args(eve.iter().flat_map(|eve| [OsStr::new("--eve"), eve.as_os_str()]))
            .arg("--")
            .arg(&capture)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .output()
            .map_err(|error| format!("`{}` does not start: {error}", self.agent.display()))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(format!("{} ({})", said.trim(), output.status).into());
        }
        let flows = fs::read_to_string(&flows)?;
        let scored = score::score(label, &flows, &fs::read_to_string(&alerts)?)?;
        let summary: Summary = serde_json::from_slice(&output.stdout)?;
        Ok(Replayed { scored, flows, join: summary.suricata })
    }

    /// The capture judged without Suricata, and with what it says of it.
    fn with_suricata(
        &self,
        label: &Label,
        worker: usize,
        suricata: &Mutex<CaptureSuricata>,
        stop: &StopFlag,
    ) -> Result<Pair, AnyError> {
        let eve = self.scratch.join(format!("{worker}-eve.json"));
        {
            let mut suricata = suricata.lock().unwrap_or_else(PoisonError::into_inner);
            let said = suricata.judge(&self.captures.join(&label.path), stop)?;
            // Nothing is written of a capture that it cannot read.
            if said.is_file() {
                fs::rename(&said, &eve).or_else(|_| fs::copy(&said, &eve).map(|_| ()))?
            } else {
                fs::write(&eve, "")?
            }
        }
        let alone = self.replay(label, worker, None, None)?;
        let with = self.replay(label, worker, None, Some(&eve))?;
        Ok(Pair { alone: alone.scored, with: with.scored, join: with.join })
    }

    /// The score of the capture as it is, and of each disguise of its attack flows. Empty where there are none, or none
    /// that can be disguised.
    fn evade(&self, label: &Label, worker: usize) -> Result<Vec<(Option<Trick>, Scored)>, AnyError> {
        let clean = self.replay(label, worker, None, None)?;
        let attacks = Attacks::new(score::attack_flows(label, &clean.flows)?.into_iter());
        if attacks.is_empty() {
            return Ok(Vec::new());
        }
        let disguised = self.scratch.join(format!("{worker}-disguised.pcap"));
        let mut tried = vec![(None, clean.scored)];
        for trick in Trick::ALL {
            let capture = self.captures.join(&label.path);
            if !evade::disguise(&capture, attacks.clone(), trick, label.line as u64, &disguised)? {
                return Ok(Vec::new());
            }
            tried.push((Some(trick), self.replay(label, worker, Some(&disguised), None)?.scored));
        }
        Ok(tried)
    }
}
