//! The replay path by its instructions, which a busy machine does not change: what callgrind counts a packet, stage by stage, against
//! what `instructions.tsv` says.
#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that fails")]

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Command, Stdio},
    thread,
};

use ids_tests::probe::{Need, can_run};

const BENCH: &str = env!("CARGO_BIN_EXE_ids-bench");
const WRITTEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/instructions.tsv");
/// The difference of two captures is free of what starting takes.
const PACKETS: [u32; 2] = [4_000, 12_000];
/// How far a stage may be from what is written down.
const APART_MAX: f64 = 0.05;

#[test]
fn a_packet_takes_no_more_instructions_than_before() {
    let test = "a_packet_takes_no_more_instructions_than_before";
    if !can_run(test, &[Need::Tool("valgrind")]) {
        return;
    }
    // Counts are those of the tests' profile, on one kind of processor.
    if !cfg!(all(debug_assertions, target_arch = "x86_64")) {
        eprintln!("skipped: {test} knows the counts of the test profile on x86_64 alone");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let captures = PACKETS.map(|packets| {
        let path = folder.path().join(format!("{packets}.pcap"));
        let made =
            Command::new(BENCH).arg("capture").arg(&path).arg(packets.to_string()).stdout(Stdio::null()).status();
        assert!(made.unwrap().success());
        path
    });
    let written = written();
    let found: BTreeMap<&str, f64> = thread::scope(|scope| {
        let stages: Vec<_> = written
            .keys()
            .map(|stage| {
                let [small, large] = &captures;
                let counted = scope.spawn(|| instructions(large, stage) - instructions(small, stage));
                (stage.as_str(), counted)
            })
            .collect();
        let packets = f64::from(PACKETS[1] - PACKETS[0]);
        stages.into_iter().map(|(stage, counted)| (stage, counted.join().unwrap() / packets)).collect()
    });
    let told: String = found.iter().map(|(stage, count)| format!("{stage}\t{count:.0}\n")).collect();
    println!("{told}");
    let apart: Vec<&str> = found
        .iter()
        .filter(|(stage, count)| (*count / written[**stage] - 1.0).abs() > APART_MAX)
        .map(|(stage, _)| *stage)
        .collect();
    assert!(
        apart.is_empty(),
        "{apart:?} changed by more than {} %; if that is meant, write into {WRITTEN}:\n{told}",
        100.0 * APART_MAX
    );
}

/// Instructions a packet, by stage.
fn written() -> BTreeMap<String, f64> {
    let text = fs::read_to_string(WRITTEN).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (stage, count) = line.split_once('\t').unwrap();
            (stage.to_owned(), count.parse().unwrap())
        })
        .collect()
}

/// What a whole run takes.
fn instructions(capture: &Path, stage: &str) -> f64 {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", BENCH, "replay"])
        .arg(capture)
        .arg(stage)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    // `==4711== Collected : 123456`
    let line = said.lines().find_map(|line| line.split_once("Collected :")).unwrap();
    line.1.trim().parse().unwrap()
}
