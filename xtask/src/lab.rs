//! `cargo xtask lab`: real attacks and a household's benign life between network namespaces, captured and labelled for
//! training and evaluation. Nothing of it leaves the namespaces.

mod attacks;
mod benign;
mod capture;
mod catalog;
mod filter;
mod labels;
mod network;
mod plan;
pub(crate) mod rng;
mod servers;
mod stage;
mod world;

use std::{
    collections::VecDeque,
    fs,
    io::{IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
    str::FromStr,
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use self::{
    plan::{Scenario, Wish},
    stage::Shared,
};
use crate::{
    netns,
    process::{Interrupt, is_root},
    setup::{self, Purpose},
    workspace,
};

/// What a shell reports of a program that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// What to run: names, families or beginnings such as `scan-*`, joined by commas, or `all`.
    #[arg(long, value_name = "NAMES", required_unless_present = "list")]
    scenario: Option<String>,
    /// Decides network, tools, targets, rates, times and passwords.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Every seed from A to B, both included, in place of one.
    #[arg(long, value_name = "A..B", conflicts_with = "seed")]
    seeds: Option<Seeds>,
    /// Where captures and LABELS.tsv go; rows are added to what is there.
    #[arg(long, value_name = "DIR", required_unless_present = "list")]
    out: Option<PathBuf>,
    /// How long a benign run lasts; an attack ends by itself.
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u64).range(5..=7_200))]
    seconds: u64,
    /// Runs at the same time, each in a network of its own.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=32))]
    jobs: u64,
    /// Runs again what DIR has already.
    #[arg(long)]
    again: bool,
    /// Keeps what the programs said beside each capture.
    #[arg(long)]
    logs: bool,
    /// Shows the scenarios.
    #[arg(long)]
    list: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seeds {
    first: u64,
    last: u64,
}

impl FromStr for Seeds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("`{text}` is no range of seeds such as 1..20");
        let (first, last) = text.split_once("..").ok_or_else(bad)?;
        let seeds = Self { first: first.parse().map_err(|_| bad())?, last: last.parse().map_err(|_| bad())? };
        if seeds.first > seeds.last { Err(bad()) } else { Ok(seeds) }
    }
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if args.list {
        catalog::show();
        return Ok(ExitCode::SUCCESS);
    }
    let names = args.scenario.as_deref().unwrap_or_default();
    let chosen = catalog::chosen(names)?;
    let seeds = args.seeds.unwrap_or(Seeds { first: args.seed, last: args.seed });
    ensure!(is_root(), "the lab makes network namespaces, which needs root: run it as root");
    setup::ensure(&[Purpose::Lab])?;
    let mut needs: Vec<_> = chosen.iter().flat_map(|scenario| scenario.needs.iter().copied()).collect();
    if chosen.iter().any(|scenario| scenario.has_background()) {
        // The life around an attack does without a browser.
        let life = benign::scenarios().flat_map(|scenario| scenario.needs.iter().copied());
        needs.extend(life.filter(|(program, _)| *program != "chromium"));
    }
    needs.sort_unstable();
    needs.dedup();
    setup::ensure_programs(&needs)?;

    let out = args.out.as_deref().context("no folder for the captures")?;
    fs::create_dir_all(out).with_context(|| format!("`{}` cannot be made", out.display()))?;
    let out = out.canonicalize().with_context(|| format!("`{}`", out.display()))?;
    let interrupt = Interrupt::catch()?;
    for name in netns::remove_stale()? {
        println!("lab: removed {name}, left by a lab that was ended by force");
    }
    stage::remove_stale_scratch(netns::is_xtask);

    let mut queue = VecDeque::new();
    for seed in seeds.first..=seeds.last {
        for scenario in &chosen {
            let there = labels::has(&out, &stage::capture_path(scenario, seed));
            if args.again || !there {
                queue.push_back((*scenario, seed));
            }
        }
    }
    let environment = setup::tools_environment()?;
    let programs = workspace::root()?.join("xtask/lab");
    let shared = Shared {
        out: &out,
        programs: &programs,
        wish: Wish { seconds: args.seconds },
        environment: &environment,
        keep_logs: args.logs,
        interrupt: &interrupt,
    };
    let board = Board::new(queue, args.jobs);
    thread::scope(|scope| {
        for _ in 0..args.jobs {
            scope.spawn(|| board.work(&shared));
        }
        scope.spawn(|| board.watch());
    });
    board.verdict(&interrupt)
}

/// The runs to come, those that run, and what became of the others.
struct Board {
    state: Mutex<State>,
    total: usize,
}

struct State {
    queue: VecDeque<(&'static Scenario, u64)>,
    running: Vec<(String, Instant)>,
    workers: u64,
    done: usize,
    failed: Vec<String>,
}

impl Board {
    fn new(queue: VecDeque<(&'static Scenario, u64)>, workers: u64) -> Self {
        let total = queue.len();
        let state = State { queue, running: Vec::new(), workers, done: 0, failed: Vec::new() };
        Self { state: Mutex::new(state), total }
    }

    fn with<T>(&self, body: impl FnOnce(&mut State) -> T) -> T {
        body(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// One run after the other until none is left or somebody asked to stop.
    fn work(&self, shared: &Shared<'_>) {
        while !shared.interrupt.asked() {
            let next = self.with(|state| {
                let (scenario, seed) = state.queue.pop_front()?;
                state.running.push((format!("{}-{seed}", scenario.name), Instant::now()));
                Some((scenario, seed))
            });
            let Some((scenario, seed)) = next else { break };
            let name = format!("{}-{seed}", scenario.name);
            let outcome = stage::run(scenario, seed, shared);
            self.with(|state| {
                state.running.retain(|(running, _)| *running != name);
                match outcome {
                    Ok(summary) => {
                        state.done += 1;
                        let at = state.done + state.failed.len();
                        self.say(&format!(
                            "[{at}/{}] {name}: {} packets, {} flows, {} of the attack, {:.0} s",
                            self.total, summary.packets, summary.flows, summary.attack_flows, summary.duration_secs
                        ));
                    }
                    Err(_) if shared.interrupt.asked() => {}
                    Err(error) => {
                        self.say(&format!("{name} FAILED: {error:#}"));
                        state.failed.push(name);
                    }
                }
            });
        }
        self.with(|state| state.workers -= 1);
    }

    /// A line on the terminal that says what goes on.
    fn watch(&self) {
        let terminal = std::io::stderr().is_terminal();
        loop {
            let (over, line) = self.with(|state| {
                let running: Vec<String> = state
                    .running
                    .iter()
                    .map(|(name, since)| format!("{name} {} s", since.elapsed().as_secs()))
                    .collect();
                let ended = state.done + state.failed.len();
                (state.workers == 0, format!("lab: {ended}/{} done; {}", self.total, running.join(", ")))
            });
            if over {
                return;
            }
            if terminal {
                let line: String = line.chars().take(110).collect();
                eprint!("\r\x1b[2K{line}");
                let _shown = std::io::stderr().flush();
            }
            thread::sleep(Duration::from_millis(250));
        }
    }

    fn say(&self, line: &str) {
        if std::io::stderr().is_terminal() {
            eprint!("\r\x1b[2K");
        }
        println!("{line}");
    }

    fn verdict(&self, interrupt: &Interrupt) -> Result<ExitCode> {
        let (done, failed) = self.with(|state| (state.done, std::mem::take(&mut state.failed)));
        if interrupt.asked() {
            println!("lab: interrupted after {done} runs; everything is taken down");
            return Ok(ExitCode::from(INTERRUPTED));
        }
        println!("lab: {done} captures written and labelled");
        if !failed.is_empty() {
            bail!("{} of {} runs failed: {}", failed.len(), self.total, failed.join(", "));
        }
        Ok(ExitCode::SUCCESS)
    }
}

#[cfg(test)]
mod tests {
    use super::Seeds;

    #[test]
    fn a_range_of_seeds_holds_both_ends() {
        assert_eq!("3..9".parse(), Ok(Seeds { first: 3, last: 9 }));
        assert_eq!("4..4".parse(), Ok(Seeds { first: 4, last: 4 }));
        assert!("9..3".parse::<Seeds>().is_err());
        assert!("9".parse::<Seeds>().is_err());
    }
}
