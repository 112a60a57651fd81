//! Evidence and `explain`: what a replay keeps is judged again to the same result, and a changed vector is noticed.
#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that fails")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use ids_agent::features::{FEATURES, SCHEMA, schema_hash};
use ids_tests::{
    archive,
    program::{self, Ran, names_in},
};
use serde_json::Value;
use tempfile::TempDir;

const AGENT: &str = env!("CARGO_BIN_EXE_agent");

fn ids(args: &[&str]) -> Ran {
    Ran::of(&program::command(AGENT, args).output().unwrap())
}

fn capture(case: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases").join(case).join("traffic.pcap");
    path.to_str().unwrap().to_owned()
}

/// The evidence of one case's replay, and the alerts it gave.
struct Kept {
    dir: TempDir,
    alerts: Vec<Value>,
}

impl Kept {
    fn of(case: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (alerts, evidence) = (dir.path().join("alerts.ndjson"), dir.path().join("evidence"));
        let ran = ids(&[
            "replay",
            "--alerts",
            alerts.to_str().unwrap(),
            "--evidence",
            evidence.to_str().unwrap(),
            &capture(case),
        ]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let alerts = fs::read_to_string(&alerts).unwrap();
        let alerts = alerts.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        Self { dir, alerts }
    }

    fn evidence(&self) -> PathBuf {
        self.dir.path().join("evidence")
    }

    fn id(&self) -> String {
        self.alerts[0]["ids"]["incident"].as_str().unwrap().to_owned()
    }

    fn explain(&self, more: &[&str]) -> Ran {
        let (evidence, id) = (self.evidence(), self.id());
        ids(&[&["explain", "--evidence", evidence.to_str().unwrap(), &id], more].concat())
    }

    fn change(&self, change: impl FnOnce(&mut Value)) {
        let path = self.evidence().join(format!("{}.json", self.id()));
        let mut document: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        change(&mut document);
        fs::write(&path, serde_json::to_vec(&document).unwrap()).unwrap();
    }
}

/// The outcome of each check, by what was checked.
fn checks(ran: &Ran) -> Vec<(String, String)> {
    let all: Value = serde_json::from_str(&ran.out).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    all["checks"].as_array().unwrap().iter().map(|check| (text(&check["what"]), text(&check["outcome"]))).collect()
}

#[test]
fn stored_evidence_is_judged_again_to_the_same_result() {
    for case in ["ssh_brute_force", "port_scan"] {
        let kept = Kept::of(case);
        let ran = kept.explain(&["--json"]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let checks = checks(&ran);
        for wanted in ["seal", "joint confidence", "classifier", "anomaly"] {
            let outcome = checks.iter().find(|(what, _)| what.starts_with(wanted)).map(|(_, outcome)| outcome.as_str());
            assert_eq!(outcome, Some("same"), "{wanted} of {case}: {checks:?}");
        }
        let page = kept.explain(&[]);
        for wanted in ["Why ", "False if ", "Do next ", "What was measured", "When it was told", "Judged again"] {
            assert!(page.out.contains(wanted), "{wanted} is not in {}", page.out);
        }
        assert!(page.out.contains(kept.alerts[0]["src_ip"].as_str().unwrap()));
    }
}

#[test]
fn the_same_capture_leaves_the_same_evidence() {
    let files = |kept: &Kept| {
        let dir = kept.evidence();
        names_in(&dir).into_iter().map(|name| (fs::read(dir.join(&name)).unwrap(), name)).collect::<Vec<_>>()
    };
    let (one, other) = (files(&Kept::of("ssh_brute_force")), files(&Kept::of("ssh_brute_force")));
    assert!(!one.is_empty() && one == other);
}

#[test]
fn a_changed_vector_is_noticed_by_the_seal_and_by_the_model() {
    let kept = Kept::of("ssh_brute_force");
    kept.change(|document| {
        for (_, value) in document["exhibit"]["features"].as_object_mut().unwrap() {
            *value = Value::from(0.25);
        }
    });
    let ran = kept.explain(&["--json"]);
    assert_eq!(ran.code, Some(1));
    let differing: Vec<String> =
        checks(&ran).into_iter().filter(|(_, outcome)| outcome == "differs").map(|(what, _)| what).collect();
    assert!(differing.iter().any(|what| what == "seal"), "{differing:?}");
    assert!(differing.iter().any(|what| what.starts_with("classifier")), "{differing:?}");
    assert!(ran.err.contains("another result than was stored"), "{}", ran.err);
}

#[test]
fn another_model_is_said_to_be_another_and_the_stored_score_is_shown() {
    let kept = Kept::of("ssh_brute_force");
    kept.change(|document| {
        for model in document["exhibit"]["models"].as_array_mut().unwrap() {
            model["sha256"] = Value::from("00".repeat(32));
        }
    });
    let ran = kept.explain(&["--json"]);
    let outcome = |wanted: &str| checks(&ran).into_iter().find(|(what, _)| what.starts_with(wanted)).unwrap().1;
    assert_eq!((outcome("classifier").as_str(), outcome("seal").as_str()), ("not_checked", "differs"));
    assert!(ran.out.contains("the model at hand is another one"), "{}", ran.out);
}

#[test]
fn what_peers_sent_cannot_reach_the_terminal() {
    let kept = Kept::of("ssh_brute_force");
    let hostile = format!("\u{1b}[2J\u{202e}\u{9b}31m{}", "x".repeat(100_000));
    kept.change(|document| {
        for at in ["/alert/ids/reason", "/alert/ids/false_if", "/alert/alert/signature", "/reports/0/stage"] {
            *document.pointer_mut(at).unwrap() = Value::from(hostile.as_str());
        }
        document["exhibit"]["payload"]["app_proto"] = Value::from(hostile.as_str());
        document["exhibit"]["models"][0]["name"] = Value::from(hostile.as_str());
        document["exhibit"]["findings"][0]["reason"] = Value::from(hostile.as_str());
        document["scores"][0]["kind"] = Value::from(hostile.as_str());
    });
    let page = kept.explain(&[]);
    let unsafe_ones = |text: &str| {
        text.chars().filter(|c| (c.is_control() && *c != '\n') || ('\u{202a}'..='\u{202e}').contains(c)).count()
    };
    assert_eq!(unsafe_ones(&page.out) + unsafe_ones(&page.err), 0);
    assert!(page.out.len() < 40_000, "{} bytes", page.out.len());
    let json = kept.explain(&["--json"]);
    assert_eq!(unsafe_ones(&json.out), 0);
}

#[test]
fn an_alert_without_evidence_is_said_to_have_none() {
    let kept = Kept::of("ssh_brute_force");
    let dir = kept.evidence();
    let dir = dir.to_str().unwrap();
    ids(&["explain", "--evidence", dir, "00000000000000ff"]).fails(1, &["no evidence of alert 00000000000000ff"]);
    ids(&["explain", "--evidence", dir, "../../x"]).fails(1, &["is no alert id"]);
}

/// Replays a case with this state's feedback; the alerts.
fn replayed_with(case: &str, state: &Path) -> Vec<Value> {
    let (alerts, feedback) = (state.join("again.ndjson"), state.join("feedback.toml"));
    let ran = ids(&[
        "replay",
        "--alerts",
        alerts.to_str().unwrap(),
        "--feedback",
        feedback.to_str().unwrap(),
        &capture(case),
    ]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    fs::read_to_string(&alerts).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_false_alert_is_not_told_again_and_others_are() {
    let kept = Kept::of("ssh_brute_force");
    let state = tempfile::tempdir().unwrap();
    let (evidence, id) = (kept.evidence(), kept.id());
    let places = ["--evidence", evidence.to_str().unwrap(), "--state", state.path().to_str().unwrap()];
    let feedback = |args: &[&str]| ids(&[&["feedback"], args, &places].concat());
    let first = feedback(&[&id, "false", "--note", "my own script"]);
    assert_eq!(first.code, Some(0), "{first:?}");
    assert!(first.out.contains("silenced: from ") && first.out.contains("class brute_force"), "{}", first.out);
    assert!(feedback(&[&id, "false", "--note", "my own script"]).out.starts_with("already noted"));

    let told = |alerts: &[Value]| alerts.iter().filter(|alert| alert["ids"]["class"] == "brute_force").count();
    assert!(told(&kept.alerts) > 0);
    assert_eq!(told(&replayed_with("ssh_brute_force", state.path())), 0, "the capture is older than the end");
    let scans = replayed_with("port_scan", state.path()).len();
    assert_eq!(scans, Kept::of("port_scan").alerts.len(), "another pattern is told as before");

    assert!(feedback(&["--list"]).out.contains("my own script"));
    assert_eq!(feedback(&["--remove", &id]).code, Some(0));
    assert_eq!(told(&replayed_with("ssh_brute_force", state.path())), told(&kept.alerts));
}

#[test]
fn what_was_said_of_alerts_is_there_for_the_next_training() {
    if Command::new("python3").arg("--version").output().is_err() {
        eprintln!("skipped: python3 is absent");
        return;
    }
    let kept = Kept::of("ssh_brute_force");
    let state = tempfile::tempdir().unwrap();
    let (evidence, id) = (kept.evidence(), kept.id());
    let places = ["--evidence", evidence.to_str().unwrap(), "--state", state.path().to_str().unwrap()];
    let schema = state.path().join("schema.json");
    let features: Vec<Value> = SCHEMA.iter().map(|spec| serde_json::json!({"name": spec.name})).collect();
    let shape = |hash: &str| serde_json::json!({"hash": hash, "features": features}).to_string();
    let read = || {
        let script = archive::root().join("models/train/said.py");
        let output = Command::new("python3").args([&script, &schema, state.path()]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    fs::write(&schema, shape(schema_hash())).unwrap();
    for (verdict, family, label) in [("false", "BENIGN", 0), ("true", "brute_force", 1)] {
        assert_eq!(ids(&[&["feedback", id.as_str(), verdict], &places[..]].concat()).code, Some(0));
        let said = read();
        assert_eq!(said["rows"], 1, "{said}");
        assert_eq!(said["values"], serde_json::json!([FEATURES]));
        assert_eq!(said["families"], serde_json::json!([family]));
        assert_eq!(said["labels"], serde_json::json!([label]));
    }
    // A vector of other features cannot be made anew.
    fs::write(&schema, shape("another")).unwrap();
    let said = read();
    assert_eq!((&said["rows"], said["notes"].as_array().map(Vec::len)), (&serde_json::json!(0), Some(1)), "{said}");
}

#[test]
fn feedback_on_nothing_or_on_changed_evidence_is_refused() {
    let kept = Kept::of("ssh_brute_force");
    let state = tempfile::tempdir().unwrap();
    let (evidence, id) = (kept.evidence(), kept.id());
    let places = ["--evidence", evidence.to_str().unwrap(), "--state", state.path().to_str().unwrap()];
    let feedback = |args: &[&str]| ids(&[&["feedback"], args, &places].concat());
    feedback(&["00000000000000ff", "false"]).fails(1, &["no evidence of alert"]);
    feedback(&["../x", "true"]).fails(1, &["is no alert id"]);
    assert_eq!(feedback(&[]).code, Some(64));
    assert_eq!(feedback(&[&id]).code, Some(64));
    assert_eq!(feedback(&[&id, "perhaps"]).code, Some(64));
    kept.change(|document| document["pattern"]["source"] = Value::Null);
    feedback(&[&id, "false"]).fails(1, &["was changed after it was written"]);
    assert_eq!(names_in(state.path()), Vec::<String>::new());
}
