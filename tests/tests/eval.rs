//! The evaluation over a small labelled folder: figures worked out by hand, and rows that are wrong.
#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that fails")]

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Output,
};

use ids_tests::{
    archive,
    capture::{ETHERNET, write_pcap},
    program,
    scene::{Answer, MS, SECOND, Scene, end},
};
use serde_json::{Value, json};
use tempfile::TempDir;

const HEADER: &str = "path\tfamily\tattack_flow_filter\tsource\n";

struct Folder {
    dir: TempDir,
    rows: String,
}

impl Folder {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), rows: HEADER.to_owned() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn row(&mut self, path: &str, family: &str, filter: &str, source: &str) {
        self.rows.push_str(&[path, family, filter, source].join("\t"));
        self.rows.push('\n');
    }

    fn capture(&mut self, path: &str, family: &str, filter: &str, source: &str, scene: Scene) {
        write_pcap(&self.path(path), ETHERNET, &scene.into_frames());
        self.row(path, family, filter, source);
    }

    fn eval(&self, out: &str) -> Output {
        self.eval_with(out, &[])
    }

    fn eval_with(&self, out: &str, options: &[&OsStr]) -> Output {
        fs::write(self.path("LABELS.tsv"), &self.rows).unwrap();
        let models = archive::root().join("models");
        let paths = [Path::new(env!("CARGO_BIN_EXE_agent")), &models, &self.path(out), self.dir.path()];
        program::command(env!("CARGO_BIN_EXE_eval"), &[]).args(paths).args(options).output().unwrap()
    }

    /// A copy of the shipped models that is to judge these captures alone.
    fn models_for(&self, name: &str, captures: &[&str]) -> PathBuf {
        let folder = self.path(name);
        for model in ["classifier", "autoencoder", "dga"] {
            let from = archive::root().join("models").join(model);
            fs::create_dir_all(folder.join(model)).unwrap();
            for entry in fs::read_dir(&from).unwrap() {
                let path = entry.unwrap().path();
                fs::copy(&path, folder.join(model).join(path.file_name().unwrap())).unwrap();
            }
        }
        fs::write(folder.join("held_out.txt"), captures.join("\n")).unwrap();
        folder
    }

    #[track_caller]
    fn fails(&self, parts: &[&str]) {
        let output = self.eval("out");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        for part in parts {
            assert!(said.contains(part), "`{part}` is not in: {said}");
        }
        assert!(!self.path("out/eval.json").exists(), "no figures of half the rows");
    }
}

/// So many lookups, one a second.
fn lookups(scene: &mut Scene, count: u16) {
    for number in 0..count {
        let client = end([10, 0, 0, 5], 50_000 + number);
        scene.lookup(u64::from(number) * SECOND, client, end([10, 0, 0, 1], 53), "a.example", [192, 0, 2, 1]);
    }
}

/// A scan of 200 closed ports among five lookups; 40 lookups; three quiet probes that are labelled a
/// flood; and a scenario in which nothing shows.
fn folder() -> Folder {
    let mut folder = Folder::new();
    let mut scan = Scene::default();
    lookups(&mut scan, 5);
    for port in 1..=200u16 {
        let at_ns = SECOND + u64::from(port) * 10 * MS;
        scan.probe(at_ns, end([10, 0, 0, 7], 40_000), end([10, 0, 0, 9], port), Answer::Closed);
    }
    folder.capture("scan.pcap", "PORT_SCAN", "src host 10.0.0.7 and tcp", "one", scan);
    let mut names = Scene::default();
    lookups(&mut names, 40);
    folder.capture("names.pcap", "BENIGN", "none", "two", names);
    let mut quiet = Scene::default();
    for number in 0..3u8 {
        let from = end([10, 0, 1, number], 40_000);
        quiet.probe(u64::from(number) * SECOND, from, end([10, 0, 0, 9], 80), Answer::Closed);
    }
    folder.capture("quiet.pcap", "DDOS", "dst port 80", "one", quiet);
    let mut scenario = Scene::default();
    lookups(&mut scenario, 2);
    folder.capture("scenario.pcap", "MALWARE_MIXED", "udp", "two", scenario);
    folder
}

fn near(found: &Value, wanted: f64) -> bool {
    found.as_f64().is_some_and(|found| (found - wanted).abs() < 1e-9)
}

#[track_caller]
fn holds(report: &Value, pointer: &str, wanted: f64) {
    let found = report.pointer(pointer).unwrap_or(&Value::Null);
    assert!(near(found, wanted), "{pointer}: {wanted} is wanted, found {found}");
}

#[test]
fn figures_are_those_worked_out_by_hand() {
    let folder = folder();
    let output = folder.eval("out");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&fs::read(folder.path("out/eval.json")).unwrap()).unwrap();

    let keys =
        |pointer: &str| report.pointer(pointer).unwrap().as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys("/families"), ["benign", "flood", "malware_mixed", "port_scan"]);
    assert_eq!(keys("/sources"), ["one", "two"]);
    assert_eq!(keys("/witnesses"), ["anomaly", "behaviour", "classifier", "intel", "payload"]);
    assert_eq!(keys("/captures"), ["names.pcap", "quiet.pcap", "scan.pcap", "scenario.pcap"]);
    for key in [
        "macro_f1",
        "attack_recall",
        "benign_fpr",
        "benign_fpr_high95",
        "alerts_per_1000_benign",
        "captures_alerted",
        "first_alert_secs_p50",
    ] {
        assert!(report["total"][key].is_f64(), "total.{key}: {}", report["total"]);
    }

    // What is counted does not hang on any verdict.
    assert_eq!(report["total"]["benign_flows"], json!(40));
    assert_eq!(report["total"]["attack_flows"], json!(203));
    assert_eq!(report["total"]["attack_captures"], json!(3));
    assert_eq!(report["background"]["flows"], json!(5));
    assert_eq!(report["captures"]["scan.pcap"]["attack_flows"], json!(200));
    assert_eq!(report["captures"]["scenario.pcap"]["attack_flows"], json!(0));
    // What was not told says why: refused probes hold no byte, lookups hold names.
    assert_eq!(report["captures"]["scan.pcap"]["missed"], Value::Null);
    assert_eq!(report["captures"]["quiet.pcap"]["missed"], json!("no_payload"));
    assert_eq!(report["missed"], json!({"no_payload": {"flood": 1}, "unseen": {"malware_mixed": 1}}));
    // 39 seconds to the last lookup, whose answer takes 12 ms.
    holds(&report, "/total/benign_secs", 39.012);

    // Behaviour counts, so that its word does not change with the models: it calls the scan alone.
    let behaviour = "/witnesses/behaviour";
    let of = |name: &str| format!("{behaviour}/{name}");
    holds(&report, &of("benign_fpr"), 0.0);
    holds(&report, &of("benign_fpr_low95"), 0.0);
    // Wilson's upper end of 0 of 40: z² / (40 + z²).
    holds(&report, &of("benign_fpr_high95"), 1.959_964f64.powi(2) / (40.0 + 1.959_964f64.powi(2)));
    holds(&report, &of("alerts_per_1000_benign"), 0.0);
    holds(&report, &of("alerts_per_benign_day"), 0.0);
    holds(&report, &of("attack_recall"), 200.0 / 203.0);
    holds(&report, &of("attack_precision"), 1.0);
    // Benign: 40 right, 3 of the flood called so too. Scan: all. Flood: none.
    holds(&report, &of("macro_f1"), (80.0 / 83.0 + 1.0 + 0.0) / 3.0);
    holds(&report, &of("captures_alerted"), 1.0 / 3.0);
    // The first probe is sent at 1.01 s; the tick that ends at 1.5 s brings 49 refusals.
    holds(&report, &of("first_alert_secs_p50"), 0.49);
    holds(&report, &of("families/port_scan/recall"), 1.0);
    holds(&report, &of("families/port_scan/precision"), 1.0);
    holds(&report, &of("families/port_scan/captures_alerted"), 1.0);
    holds(&report, &of("families/flood/recall"), 0.0);
    holds(&report, &of("families/flood/captures_alerted"), 0.0);
    assert_eq!(report.pointer(&of("families/malware_mixed/recall")), Some(&Value::Null));
    holds(&report, &of("families/malware_mixed/captures_alerted"), 0.0);
    // An autoencoder names no family.
    holds(&report, "/witnesses/anomaly/families/port_scan/recall", 0.0);

    let tables = fs::read_to_string(folder.path("out/eval.md")).unwrap();
    assert!(tables.contains("| port_scan") && tables.contains("| behaviour alone"), "{tables}");
    folder.eval("again");
    let read = |path: &str| fs::read_to_string(folder.path(path)).unwrap();
    assert_eq!(read("out/eval.json"), read("again/eval.json"), "the same captures give the same figures");
}

#[test]
fn a_missing_capture_is_an_error_that_names_its_row() {
    let mut folder = folder();
    folder.row("gone.pcap", "BENIGN", "none", "one");
    folder.fails(&["line 6", "`gone.pcap`", "missing"]);
}

#[test]
fn an_unreadable_capture_is_an_error_that_names_its_row() {
    let mut folder = folder();
    fs::write(folder.path("script.pcap"), "#!/bin/sh\nexit 0\n").unwrap();
    folder.row("script.pcap", "BENIGN", "none", "one");
    folder.fails(&["line 6", "`script.pcap`"]);
}

#[test]
fn a_row_that_cannot_be_meant_is_an_error_that_names_it() {
    let wrong = |path: &str, family: &str, filter: &str, parts: &[&str]| {
        let mut folder = folder();
        folder.row(path, family, filter, "one");
        folder.fails(parts);
    };
    wrong("names.pcap", "BENIGN", "none", &["line 6", "`names.pcap`", "a row already"]);
    wrong("other.pcap", "WORMS", "all", &["line 6", "`other.pcap`", "`WORMS`"]);
    wrong("other.pcap", "DDOS", "ether proto 5", &["line 6", "`ether proto 5`"]);
}

#[test]
fn labels_without_columns_or_rows_are_an_error() {
    Folder { rows: String::new(), ..Folder::new() }.fails(&["LABELS.tsv", "`path`"]);
    Folder::new().fails(&["LABELS.tsv", "no rows"]);
}

#[test]
fn attacks_in_disguise_are_scored_against_those_without() {
    let mut folder = folder();
    let mut none = Scene::default();
    lookups(&mut none, 2);
    folder.capture("none.pcap", "DDOS", "dst port 9", "one", none);
    let output = folder.eval_with("out", &["--evasion".as_ref()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&fs::read(folder.path("out/evasion.json")).unwrap()).unwrap();
    // The scan is seen; the three probes are not; a filter that picks no flow leaves nothing to disguise.
    holds(&report, "/clean/families/port_scan", 1.0);
    holds(&report, "/clean/families/flood", 0.0);
    holds(&report, "/clean/attack_recall", 200.0 / 203.0);
    holds(&report, "/left_out", 1.0);
    for trick in ["padding", "iat_x2", "iat_x10", "iat_x60", "dummies_20", "split_x4"] {
        // One packet has nothing that could be stretched or split, and a refusal stays one.
        holds(&report, &format!("/tricks/{trick}/families/port_scan"), 1.0);
        let kept = report.pointer(&format!("/tricks/{trick}/kept")).and_then(Value::as_f64);
        assert!(kept.is_some_and(|kept| kept > 0.9), "{trick}: {kept:?}");
    }
    let tables = fs::read_to_string(folder.path("out/evasion.md")).unwrap();
    assert!(tables.contains("| split_x4 "), "{tables}");
}

#[test]
fn each_capture_is_judged_by_the_models_that_hold_it_out() {
    let folder = folder();
    let one = folder.models_for("one", &["scan.pcap", "names.pcap"]);
    let two = folder.models_for("two", &["quiet.pcap", "scenario.pcap"]);
    let held_out: [&OsStr; 4] = ["--held-out".as_ref(), one.as_ref(), "--held-out".as_ref(), two.as_ref()];
    let output = folder.eval_with("out", &held_out);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    folder.eval("plain");
    let read = |path: &str| fs::read_to_string(folder.path(path)).unwrap();
    assert_eq!(read("out/eval.json"), read("plain/eval.json"), "the same models say the same");

    // Others are asked for the captures of the second folder alone.
    fs::remove_file(two.join("classifier/manifest.toml")).unwrap();
    let said = String::from_utf8_lossy(&folder.eval_with("broken", &held_out).stderr).into_owned();
    assert!(said.contains("quiet.pcap") || said.contains("scenario.pcap"), "{said}");
    let said = String::from_utf8_lossy(&folder.eval_with("partly", &held_out[..2]).stderr).into_owned();
    assert!(said.contains("no models hold this capture out"), "{said}");
}
