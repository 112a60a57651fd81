//! `cargo xtask soak`: the agent for long at a home's rates, with attacks now and then; what it holds of memory, descriptors and
//! threads must not grow. Packets pass between namespaces of its own; nothing is left behind.

mod samples;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::atomic::Ordering,
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;

use self::samples::{Sample, Samples};
use crate::{
    chaos::{
        agent,
        sensor::Sensor,
        stage::Stage,
        verdict::Packets,
        world::{Rates, World},
    },
    page,
    process::Interrupt,
    span, workspace,
};

/// A home that streams and plays, and is looked at by strangers.
const RATES: Rates = Rates { datagrams_per_sec: 200, attack_apart_ms: (20_000, 60_000) };
const SAMPLE_EVERY: Duration = Duration::from_secs(10);
/// Tables fill for half an hour before memory can be said to grow or not.
const JUDGED_FROM: Duration = Duration::from_secs(3_600);
const RSS_SLOPE_MAX: f64 = 1.0;
const STILL: Duration = Duration::from_secs(5);
const INTERRUPTED: u8 = 130;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How long it goes on; the slope of memory is judged from an hour on.
    #[arg(long, default_value = "1h", value_parser = span::parse)]
    duration: Duration,
    /// What pages are asked for and which attacks come, and when, follows from it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The agent to try, in place of one that is built now.
    #[arg(long)]
    binary: Option<PathBuf>,
    /// Writes what was measured into docs/chaos.md.
    #[arg(long)]
    write: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    println!("soak: {}, seed {}", span::shown(args.duration), args.seed);
    let binary = agent(args.binary.as_deref())?;
    let interrupt = Interrupt::catch()?;
    let outcome = soak(args, &binary, &interrupt);
    if outcome.is_err() && interrupt.asked() {
        println!("soak: interrupted; everything is taken down");
        return Ok(ExitCode::from(INTERRUPTED));
    }
    outcome
}

fn soak(args: &Args, binary: &Path, interrupt: &Interrupt) -> Result<ExitCode> {
    let stage = Stage::raise()?;
    let world = World::default();
    let outcome = thread::scope(|scope| {
        let _ends = world.ends();
        world.begin(scope, &stage)?;
        let mut sensor = Sensor::start(&stage, binary.to_owned(), interrupt)?;
        world.live(scope, &stage, args.seed, RATES);
        let samples = watch(args.duration, &mut sensor, interrupt)?;
        for stop in [&world.stop_attacks, &world.stop_traffic] {
            stop.store(true, Ordering::Relaxed);
        }
        pause(STILL, interrupt)?;
        let packets = Packets::read(world.wire.total(&stage)?, &sensor.page()?);
        let status = sensor.stop()?;
        reckon(args, &samples, &packets, status.success())
    });
    let results = workspace::target_dir()?.join("soak");
    stage.keep(&results)?;
    println!("soak: alerts and log: {}", results.display());
    outcome
}

fn watch(duration: Duration, sensor: &mut Sensor<'_>, interrupt: &Interrupt) -> Result<Samples> {
    let began = Instant::now();
    let mut samples = Samples::default();
    let mut due = Duration::ZERO;
    while due < duration {
        due += SAMPLE_EVERY;
        pause((began + due).saturating_duration_since(Instant::now()), interrupt)?;
        sensor.check()?;
        let sample = Sample {
            secs: began.elapsed().as_secs_f64(),
            holdings: sensor.holdings()?,
            is_conserved: conserved(&sensor.page()?),
        };
        samples.add(sample);
        if samples.len().is_multiple_of(6) {
            println!("{:>6.0} s  {}", sample.secs, sample.line());
        }
    }
    Ok(samples)
}

/// On a page that is made between two ticks, whatever passes meanwhile.
fn conserved(page: &crate::metrics::Metrics) -> bool {
    let sum = |name| page.sum(name, &[]).unwrap_or_default();
    sum("ids_packets_seen_total") + sum("ids_segments_unfolded_total")
        == sum("ids_packets_in_flows_total") + sum("ids_packets_skipped_total") + sum("ids_table_missing_total")
}

fn reckon(args: &Args, samples: &Samples, packets: &Packets, ended_well: bool) -> Result<ExitCode> {
    let slope = samples.rss_slope_mib_per_hour();
    let is_judged = args.duration >= JUDGED_FROM;
    let mut text = format!(
        "Seed {}, {}: {} packets on the interface, {} counted, {} nowhere; memory {slope:+.2} MiB an hour over the second half{}.\n\n",
        args.seed,
        span::shown(args.duration),
        packets.wire.all(),
        packets.seen,
        packets.lost(),
        if is_judged { "" } else { ", which is not judged of less than an hour" },
    );
    text.push_str(&samples.table());
    println!("\n{text}\n{}\n", samples.plot());
    let checks = [
        (format!("memory grows by less than {RSS_SLOPE_MAX} MiB an hour"), !is_judged || slope < RSS_SLOPE_MAX),
        ("descriptors do not grow".to_owned(), !samples.grows(|holdings| holdings.descriptors)),
        ("threads do not grow".to_owned(), !samples.grows(|holdings| holdings.threads)),
        ("packets seen = in flows + skipped, in every sample".to_owned(), samples.all_conserved()),
        (
            "no packet lost without a name".to_owned(),
            packets.lost() + packets.excess() == 0.0 && packets.is_conserved(),
        ),
        ("it ended in good order".to_owned(), ended_well),
    ];
    for (name, holds) in &checks {
        println!("  {} {name}", if *holds { "ok  " } else { "FAIL" });
    }
    if args.write {
        page::write(&workspace::root()?.join("docs/chaos.md"), "soak", &text)?;
    }
    let all_hold = checks.iter().all(|(_, holds)| *holds);
    println!("verdict: {}", if all_hold { "PASS" } else { "FAIL" });
    Ok(if all_hold { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn pause(lasts: Duration, interrupt: &Interrupt) -> Result<()> {
    let until = Instant::now() + lasts;
    while Instant::now() < until {
        interrupt.check()?;
        thread::sleep(until.saturating_duration_since(Instant::now()).min(Duration::from_millis(100)));
    }
    Ok(())
}
