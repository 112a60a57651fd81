//! Detection end to end: every folder of `tests/cases` replays through the command line, and the
//! alert lines, reduced to what an operator acts on, are those that are expected.
#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that fails")]

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use ids_tests::{
    archive,
    replay::{assert_conserved, replay_file},
};
use serde_json::{Value, json};

/// The content of a `case.toml`.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// What happens in the capture, and what must come of it.
    description: String,
    /// Packets in the capture.
    packets: u64,
    /// Packets that are in no flow, by reason.
    #[serde(default)]
    skipped: BTreeMap<String, u64>,
    /// The agent's configuration, as in its own file.
    #[serde(default)]
    settings: toml::Table,
}

fn folders() -> Vec<PathBuf> {
    let mut folders: Vec<_> =
        fs::read_dir(archive::root().join("tests/cases")).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    folders
}

fn read(folder: &Path) -> Case {
    toml::from_str(&fs::read_to_string(folder.join("case.toml")).unwrap()).unwrap()
}

/// What came of a replay through the command line.
struct Lines {
    alerts: Vec<Value>,
    flows: Vec<Value>,
}

fn run(folder: &Path, settings: &toml::Table) -> Lines {
    let out = tempfile::tempdir().unwrap();
    let [config, alerts, flows] = ["config.toml", "alerts.ndjson", "flows.ndjson"].map(|name| out.path().join(name));
    fs::write(&config, toml::to_string(settings).unwrap()).unwrap();
    let arguments: [OsString; 9] = [
        "ids-agent".into(),
        "replay".into(),
        folder.join("traffic.pcap").into(),
        "--config".into(),
        config.into(),
        "--alerts".into(),
        alerts.clone().into(),
        "--flows".into(),
        flows.clone().into(),
    ];
    assert_eq!(ids_agent::cli::main(arguments), 0, "{}", folder.display());
    let lines = |path: &Path| {
        let text = fs::read_to_string(path).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    Lines { alerts: lines(&alerts), flows: lines(&flows) }
}

/// What an operator acts on.
fn reduced(alert: &Value) -> Value {
    json!({
        "signature": alert["alert"]["signature"],
        "severity": alert["alert"]["severity"],
        "class": alert["ids"]["class"],
        "src_ip": alert["src_ip"],
        "dest_ip": alert["dest_ip"],
    })
}

fn expected(folder: &Path) -> Vec<Value> {
    let text = fs::read_to_string(folder.join("expected.ndjson")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Counts of the flow lines against the replay's own: every flow has one line, every packet is in one.
fn assert_lines_conserved(folder: &Path, case: &Case, flows: &[Value]) {
    let what = folder.display().to_string();
    let replayed = replay_file(&folder.join("traffic.pcap")).unwrap();
    assert_conserved(&replayed, &what);
    assert_eq!(replayed.facts.packets, case.packets, "{what}");
    let skipped: BTreeMap<_, _> = ids_common::counter::Skip::ALL
        .into_iter()
        .map(|skip| (skip.label().to_owned(), replayed.totals.skipped(skip)))
        .filter(|(_, count)| *count > 0)
        .collect();
    assert_eq!(skipped, case.skipped, "{what}");

    let count = |line: &Value, name: &str| line["flow"][name].as_u64().unwrap();
    let packets: u64 = flows.iter().map(|line| count(line, "pkts_toserver") + count(line, "pkts_toclient")).sum();
    assert_eq!(packets + replayed.totals.skipped_all(), case.packets, "{what}: packets in flow lines");
    assert_eq!(flows.len(), replayed.ended.len(), "{what}: one line a flow");
}

#[test]
fn every_case_raises_the_alerts_it_should_and_no_other() {
    let mut faults = Vec::new();
    let folders = folders();
    assert!(folders.len() >= 6);
    for folder in &folders {
        let case = read(folder);
        let lines = run(folder, &case.settings);
        assert_lines_conserved(folder, &case, &lines.flows);
        let alerts: Vec<_> = lines.alerts.iter().map(reduced).collect();
        if alerts != expected(folder) {
            let found: Vec<_> = alerts.iter().map(|alert| format!("{alert}\n")).collect();
            faults.push(format!("{}: {}\nraised:\n{}", folder.display(), case.description, found.concat()));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn a_case_replays_to_the_same_bytes_every_time() {
    let folder = archive::root().join("tests/cases/port_scan");
    let settings = read(&folder).settings;
    let (one, other) = (run(&folder, &settings), run(&folder, &settings));
    assert_eq!((one.alerts, one.flows), (other.alerts, other.flows));
}
