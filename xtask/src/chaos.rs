//! `cargo xtask chaos`: the agent under live traffic and planted attacks while one trouble after the other befalls it. What comes
//! when follows from the seed. Packets pass between namespaces of its own; nothing is left behind.

mod attack;
mod heard;
pub(crate) mod packet;
mod schedule;
pub(crate) mod sensor;
mod spoil;
pub(crate) mod stage;
pub(crate) mod traffic;
mod trouble;
pub(crate) mod verdict;
pub(crate) mod wire;
pub(crate) mod world;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::atomic::{AtomicU8, Ordering},
    thread,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context, Result, ensure};

use self::{
    schedule::Trouble,
    sensor::Sensor,
    stage::Stage,
    trouble::Scene,
    verdict::{Packets, Verdict},
    world::{Rates, World, inside},
};
use crate::{
    metrics::Metrics,
    page,
    process::{Interrupt, is_root, must},
    setup::{self, Purpose},
    span,
    workspace::{self, TEST_SET},
};

/// An attack every few seconds, so that each trouble meets some.
const RATES: Rates = Rates { datagrams_per_sec: 300, attack_apart_ms: (4_000, 8_000) };
/// Behind the last attack, so that verdicts that wait for more are told.
const SETTLE: Duration = Duration::from_secs(15);
/// Until the counters stand still.
const STILL_WITHIN: Duration = Duration::from_secs(30);
/// What a shell reports of a program that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// What follows from it: which troubles and attacks, in which order, when, for how long. Drawn and shown when absent.
    #[arg(long)]
    seed: Option<u64>,
    /// How long troubles go on.
    #[arg(long, default_value = "10m", value_parser = span::parse)]
    duration: Duration,
    /// Only this trouble, by its name in the table; may be given several times.
    #[arg(long, value_name = "TROUBLE", value_parser = clap::builder::PossibleValuesParser::new(Trouble::NAMES))]
    only: Vec<String>,
    /// The agent to try, in place of one that is built now.
    #[arg(long)]
    binary: Option<PathBuf>,
    /// Shows what would come when, and does nothing.
    #[arg(long)]
    plan: bool,
    /// Writes what was measured into docs/chaos.md.
    #[arg(long)]
    write: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let drawn = || SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs() % 1_000_000);
    let seed = args.seed.unwrap_or_else(drawn);
    println!("chaos: seed {seed}, {}", span::shown(args.duration));
    if args.plan {
        for event in schedule::planned(seed, args.duration, &args.only) {
            println!("{:>6.1} s  {:?}", event.at.as_secs_f32(), event.trouble);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let binary = agent(args.binary.as_deref())?;
    let interrupt = Interrupt::catch()?;
    let outcome = play(seed, args, &binary, &interrupt);
    if outcome.is_err() && interrupt.asked() {
        println!("chaos: interrupted; everything is taken down");
        return Ok(ExitCode::from(INTERRUPTED));
    }
    outcome
}

/// The program to try, built where none is named.
pub(crate) fn agent(named: Option<&Path>) -> Result<PathBuf> {
    ensure!(is_root(), "network namespaces and kernel programs take root: run as root");
    setup::ensure(&[Purpose::Build, Purpose::Lab])?;
    match named {
        Some(binary) => binary.canonicalize().with_context(|| format!("`{}`", binary.display())),
        None => {
            must(workspace::cargo()?.arg("build").args(TEST_SET).args(["--bin", "ids-agent"]))?;
            Ok(workspace::target_dir()?.join("debug/ids-agent"))
        }
    }
}

fn play(seed: u64, args: &Args, binary: &Path, interrupt: &Interrupt) -> Result<ExitCode> {
    let stage = Stage::raise()?;
    let world = World::default();
    let outcome = thread::scope(|scope| {
        let _ends = world.ends();
        world.begin(scope, &stage)?;
        let sensor = Sensor::start(&stage, binary.to_owned(), interrupt)?;
        world.live(scope, &stage, seed, RATES);
        let floods = AtomicU8::new(0);
        let flood = |per_sec, lasts| {
            let number = floods.fetch_add(1, Ordering::Relaxed) + 1;
            let (attacks, stop) = (&world.attacks, &world.stop_attacks);
            inside(scope, &stage.outside, move || attacks.flood(number, per_sec, lasts, stop));
        };
        let mut scene = Scene {
            stage: &stage,
            sensor,
            heard: &world.heard,
            wire: &world.wire,
            interrupt,
            flood: &flood,
            broken: Vec::new(),
            starts: 1,
            attached: Duration::ZERO,
            ready: Duration::ZERO,
        };
        endure(seed, args, &mut scene, &world)
    });
    let results = workspace::target_dir()?.join("chaos");
    stage.keep(&results)?;
    println!("chaos: alerts and log: {}", results.display());
    outcome
}

/// The troubles, and the reckoning.
fn endure(seed: u64, args: &Args, scene: &mut Scene<'_>, world: &World) -> Result<ExitCode> {
    let began = Instant::now();
    let mut befell = Vec::new();
    for event in schedule::planned(seed, args.duration, &args.only) {
        scene.pause((began + event.at).saturating_duration_since(Instant::now()))?;
        if began.elapsed() > args.duration {
            break;
        }
        scene.sensor.check()?;
        let at = began.elapsed();
        let said = scene.befall(event.trouble).with_context(|| format!("{:?}", event.trouble))?;
        println!("{:>6.1} s  {:<20} {said}", at.as_secs_f32(), event.trouble.name());
        befell.push(event.trouble);
    }
    scene.pause((began + args.duration).saturating_duration_since(Instant::now()))?;
    world.stop_attacks.store(true, Ordering::Relaxed);
    scene.pause(SETTLE)?;
    world.stop_traffic.store(true, Ordering::Relaxed);
    let (packets, page) = settled(scene, world)?;
    let lasted = began.elapsed();
    let status = scene.sensor.stop()?;
    if !status.success() {
        scene.broken.push(format!("at the end, the agent ended with {status}"));
    }
    let verdict = Verdict {
        seed,
        lasted,
        befell: &befell,
        packets,
        page: &page,
        traffic: &world.traffic,
        attacks: &world.attacks,
        heard: &world.heard,
        broken: &scene.broken,
        starts: scene.starts,
        attached: scene.attached,
        ready: scene.ready,
    };
    println!("\n{}", verdict.table());
    let checks = verdict.checks();
    for (name, holds) in &checks {
        println!("  {} {name}", if *holds { "ok  " } else { "FAIL" });
    }
    if args.write {
        page::write(&workspace::root()?.join("docs/chaos.md"), "chaos", &verdict.table())?;
    }
    let all_hold = checks.iter().all(|(_, holds)| *holds);
    println!("verdict: {}", if all_hold { "PASS" } else { "FAIL" });
    Ok(if all_hold { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What everybody counted, once nothing is under way any more.
fn settled(scene: &Scene<'_>, world: &World) -> Result<(Packets, Metrics)> {
    let deadline = Instant::now() + STILL_WITHIN;
    let mut before = None;
    loop {
        scene.pause(Duration::from_secs(2))?;
        let page = scene.sensor.page()?;
        let packets = Packets::read(world.wire.total(scene.stage)?, &page);
        let now = (packets.wire, packets.seen.to_bits());
        if before == Some(now) || Instant::now() > deadline {
            return Ok((packets, page));
        }
        before = Some(now);
    }
}
