//! What following eve.json costs: lines a second that one thread reads, parses and counts, over the mix of a gateway.
//! Prints JSON. `bench-eve [FILE]`; without a file it makes one of its own.
#![expect(clippy::unwrap_used, reason = "a bench stops at the first thing that fails")]

use std::{
    fs::File,
    hint::black_box,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    time::Instant,
};

use ids_agent::{
    config::EveFiletype,
    eve::{EveReader, Lines, Start},
};
use ids_tests::eve;
use serde_json::json;

const ROUNDS: usize = 9;
const LINES: u64 = 400_000;
const READ_BYTES: usize = 256 << 10;
/// Microseconds a line: 50,000 lines a second on one core.
const BAR_US: f64 = 20.0;

fn main() {
    let made = tempfile::tempdir().unwrap();
    let path = std::env::args_os().nth(1).map_or_else(|| make(&made.path().join("eve.json")), PathBuf::from);
    // One round warms the page cache.
    let (lines, bytes) = follow(&path);
    let mut followed: Vec<f64> = (0..ROUNDS).map(|_| timed(lines, || follow(&path))).collect();
    let mut cut: Vec<f64> = (0..ROUNDS).map(|_| timed(lines, || cut(&path))).collect();
    followed.sort_by(f64::total_cmp);
    cut.sort_by(f64::total_cmp);
    let ratio = |rounds: &[f64], bar: Option<f64>| {
        let mut told = json!({ "median": rounds[ROUNDS / 2], "low": rounds[0], "high": rounds[ROUNDS - 1] });
        if let Some(bar) = bar {
            told["bar"] = json!(bar);
        }
        told
    };
    let told = json!({
        "lines": lines,
        "bytes_per_line": bytes / lines.max(1),
        "lines_per_sec": (1e6 / followed[ROUNDS / 2]).round(),
        "ratios": { "us_per_line": ratio(&followed, Some(BAR_US)), "us_per_line_cut_alone": ratio(&cut, None) },
    });
    println!("{told}");
}

fn make(path: &Path) -> PathBuf {
    let mut file = BufWriter::new(File::create(path).unwrap());
    for number in 0..LINES {
        writeln!(file, "{}", eve::mixed(number, 1_767_225_600_000_000_000 + number * 20_000)).unwrap();
    }
    file.into_inner().unwrap();
    path.to_owned()
}

/// From the file to events, as the agent's thread does it.
fn follow(path: &Path) -> (u64, u64) {
    let mut reader = EveReader::new(path, EveFiletype::Regular, Start::Beginning);
    while reader.poll(0, READ_BYTES, |event| drop(black_box(event))).unwrap() {}
    let totals = reader.totals();
    assert!(totals.is_conserved() && totals.events_all() > 0, "{totals:?}");
    (totals.input.lines.lines, totals.input.lines.bytes)
}

/// Cutting into lines alone.
fn cut(path: &Path) -> (u64, u64) {
    let mut lines = Lines::default();
    lines.push(&std::fs::read(path).unwrap(), |line| {
        black_box(line);
    });
    (lines.stats().lines, lines.stats().bytes)
}

fn timed(lines: u64, run: impl FnOnce() -> (u64, u64)) -> f64 {
    let begin = Instant::now();
    let done = run();
    assert_eq!(done.0, lines);
    begin.elapsed().as_secs_f64() * 1e6 / lines as f64
}
