//! What following eve.json costs: lines a second that one thread reads, parses and counts, over the mix of a gateway.
//! `ids-bench eve [FILE]`; without a file it makes one of its own.

use std::{
    fs::File,
    hint::black_box,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use ids_agent::{
    config::EveFiletype,
    eve::{EveReader, Lines, Start},
};
use ids_tests::eve;
use serde_json::{Value, json};

use crate::rounds::{bounded, secs, spread};

const ROUNDS: usize = 9;
const LINES: u64 = 400_000;
const READ_BYTES: usize = 256 << 10;
/// Microseconds a line: 50,000 lines a second on one core.
const BAR_US: f64 = 20.0;

pub(crate) fn run(args: &[String]) -> Value {
    let made = tempfile::tempdir().unwrap();
    let path = args.first().map_or_else(|| make(&made.path().join("eve.json")), PathBuf::from);
    // One round warms the page cache.
    let (lines, bytes) = follow(&path);
    let (mut followed, mut alone) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        followed.push(timed(lines, || follow(&path)));
        alone.push(timed(lines, || cut(&path)));
    }
    json!({
        "lines": lines,
        "bytes_per_line": bytes / lines.max(1),
        "ratios": { "us_per_line": bounded(followed, BAR_US), "us_per_line_cut_alone": spread(alone) },
    })
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
    secs(|| assert_eq!(run().0, lines)) * 1e6 / lines as f64
}
