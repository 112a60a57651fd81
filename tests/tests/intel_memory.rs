//! What 1.8 million indicators cost a process: while they are read, in force, and while they are replaced.
//! Alone in its file: memory is that of the whole process.
#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that fails")]

use std::{fmt::Write, fs, path::Path};

use ids_agent::{
    config::{FeedKind, FeedSettings, IntelSettings},
    intel::{Feeds, Outcome, Refresh},
};

const INDICATORS: u64 = 1_800_000;
const MIB: f64 = 1_048_576.0;

/// The most memory this process ever held, and what it holds now, in bytes.
fn memory() -> (f64, f64) {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let of = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim_matches(|c: char| !c.is_ascii_digit()).parse::<f64>().unwrap() * 1_024.0
    };
    (of("VmHWM:"), of("VmRSS:"))
}

/// Files as maltrail has them: many families, mostly names, addresses with ports among them.
fn write(folder: &Path, salt: u64) {
    for family in 0..60 {
        let mut text = String::from("# Aliases: somebody\n\n");
        for n in 0..INDICATORS / 60 {
            let id = (family * 1_000_003 + n).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ salt;
            match n % 6 {
                5 => writeln!(text, "45.{}.{}.{}:{}", id as u8, (id >> 8) as u8, n as u8, 1 + (n >> 8)),
                _ => writeln!(text, "h{:x}.example{}.net", id >> 16, n % 97),
            }
            .unwrap();
        }
        fs::write(folder.join(format!("family{family}.txt")), text).unwrap();
    }
}

#[test]
fn a_large_feed_is_read_held_and_replaced_within_eighty_mebibytes() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), 0);
    let feed = FeedSettings {
        name: "large".to_owned(),
        path: folder.path().to_owned(),
        kind: FeedKind::Auto,
        category: None,
        trust: 1.0,
    };
    let settings = IntelSettings { feeds: vec![feed], ..IntelSettings::default() };
    let (_, before) = memory();
    let mut feeds = Feeds::new(&settings, 1).unwrap();
    let loaded = |outcome: &Outcome| matches!(outcome, Outcome::Loaded { indicators } if *indicators as u64 > INDICATORS * 98 / 100);
    assert!(loaded(&feeds.refresh(Refresh::All)[0].1));
    let (peak_once, held) = memory();
    write(folder.path(), 0x5555_5555_5555);
    assert!(loaded(&feeds.refresh(Refresh::Changed)[0].1));
    let (peak, held_after) = memory();
    println!(
        "{:.1} MiB in force, {:.1} while read, {:.1} while replaced, {:.1} after",
        (held - before) / MIB,
        (peak_once - before) / MIB,
        (peak - before) / MIB,
        (held_after - before) / MIB,
    );
    assert!(peak - before < 80.0 * MIB, "{:.1} MiB", (peak - before) / MIB);
    assert!(held - before < 40.0 * MIB, "{:.1} MiB", (held - before) / MIB);
}
