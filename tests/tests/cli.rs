//! The command line as a user meets it: bad input, exit codes, replay, features, completions.
#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that fails")]

use std::{
    fs,
    io::Write,
    path::PathBuf,
    process::{Command, Stdio},
};

use ids_tests::{
    capture::{ETHERNET, pcap},
    probe::{Need, can_run},
    program::{self, Ran, names_in},
    running::eventually,
    scene::{Answer, Scene, end},
};
use rustix::{
    io::ioctl_fionread,
    process::{Pid, Signal, kill_process},
};
use serde_json::Value;
use tempfile::TempDir;

const AGENT: &str = env!("CARGO_BIN_EXE_agent");

fn ids(args: &[&str]) -> Ran {
    Ran::of(&program::command(AGENT, args).output().unwrap())
}

/// A scan of 200 ports, and a name server that answers a few questions.
fn scan() -> Vec<u8> {
    let mut scene = Scene::default();
    for number in 0..200u16 {
        let answer = if number % 50 == 7 { Answer::Open } else { Answer::Closed };
        let at_ns = u64::from(number) * 10_000_000;
        scene.probe(at_ns, end([10, 0, 0, 7], 40_000 + number), end([10, 0, 0, 9], 1 + number), answer);
    }
    for number in 0..5u16 {
        let at_ns = u64::from(number) * 300_000_000;
        scene.lookup(at_ns, end([10, 0, 0, 5], 50_000 + number), end([10, 0, 0, 1], 53), "a.example", [192, 0, 2, 1]);
    }
    pcap(ETHERNET, &scene.into_frames())
}

struct Place {
    dir: TempDir,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("in")).unwrap();
        fs::create_dir(dir.path().join("out")).unwrap();
        Self { dir }
    }

    fn write(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.dir.path().join("in").join(name);
        fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn out(&self, name: &str) -> String {
        self.out_dir().join(name).to_str().unwrap().to_owned()
    }

    fn out_dir(&self) -> PathBuf {
        self.dir.path().join("out")
    }

    /// Nothing was written, not even in part.
    #[track_caller]
    fn is_clean(&self) {
        assert_eq!(names_in(&self.out_dir()), Vec::<String>::new());
    }
}

fn lines(path: &str) -> Vec<Value> {
    fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn wrong_usage_exits_with_64() {
    assert_eq!(ids(&["fly"]).code, Some(64));
    assert_eq!(ids(&["replay"]).code, Some(64));
    assert_eq!(ids(&["run", "--interface", "x", "--mode", "fast"]).code, Some(64));
    assert_eq!(ids(&["run", "--interface", "x", "--metrics", "here"]).code, Some(64));
    ids(&["run"]).fails(64, &["--interface"]);
    let place = Place::new();
    let capture = place.write("a.pcap", &scan());
    ids(&["features", &capture, "--out", &place.out("features.xls")]).fails(64, &["features.xls", ".csv or .parquet"]);
    place.is_clean();
}

#[test]
fn help_teaches_by_example_and_succeeds() {
    let help = ids(&["--help"]);
    assert_eq!(help.code, Some(0));
    assert!(help.out.contains("ids-agent replay capture.pcap"), "{}", help.out);
    for verb in ["run", "replay", "features", "check-config", "doctor", "completions", "man"] {
        let help = ids(&[verb, "--help"]);
        assert!(help.code == Some(0) && help.out.contains("Example"), "{verb}: {}", help.out);
    }
    assert!(ids(&["--version"]).out.starts_with("ids-agent "));
    assert!(ids(&["completions", "bash"]).out.contains("ids-agent"));
    assert!(ids(&["man"]).out.starts_with(".ie"));
}

#[test]
fn a_wrong_configuration_exits_with_78_and_names_file_line_and_key() {
    let place = Place::new();
    let config = place.write("c.toml", b"[flow]\nidle_timout_secs = 3\n");
    for args in [&["check-config", &config][..], &["replay", "--config", &config, "x.pcap"], &["run", "-c", &config]] {
        ids(args).fails(78, &["c.toml:2: ", "`idle_timout_secs`", "did you mean `idle_timeout_secs`?"]);
    }
    ids(&["check-config", "/nonexistent.toml"]).fails(78, &["/nonexistent.toml", "No such file"]);
    let range = place.write("r.toml", b"[sample]\nbytes = 9999\n");
    ids(&["check-config", &range]).fails(78, &["r.toml:2: ", "sample.bytes = 9999", "0 to 1536"]);
    let binary = place.write("b.toml", &[0xff, 0xfe, 0]);
    ids(&["check-config", &binary]).fails(78, &["b.toml"]);
}

#[test]
fn check_config_shows_the_settings_in_force() {
    let place = Place::new();
    let config = place.write("c.toml", b"[flow]\nidle_timeout_secs = 30\n");
    let shown: Value = serde_json::from_str(&ids(&["check-config", "--json", &config]).out).unwrap();
    assert_eq!((&shown["flow"]["idle_timeout_secs"], &shown["flow"]["active_timeout_secs"]), (&30.into(), &300.into()));
    let again = place.write("again.toml", ids(&["check-config", &config]).out.as_bytes());
    assert_eq!(ids(&["check-config", &again]).out, ids(&["check-config", &config]).out, "what it shows, it reads");
}

#[test]
fn a_public_metrics_address_is_refused() {
    ids(&["run", "--interface", "lo", "--metrics", "0.0.0.0:0"]).fails(78, &["0.0.0.0:0", "metrics.allow_public"]);
}

#[test]
fn a_missing_capability_is_named() {
    if !can_run("a missing capability", &[Need::Root, Need::Tool("setpriv")]) {
        return;
    }
    let caps = "-bpf,-net_admin,-perfmon,-sys_admin";
    let ran = Command::new("setpriv")
        .args(["--bounding-set", caps, "--inh-caps", caps, AGENT])
        .args(["run", "--interface", "lo", "--metrics", "off", "--log", "error"])
        .env("NO_COLOR", "1")
        .output()
        .unwrap();
    Ran::of(&ran).fails(1, &["CAP_BPF", "CAP_NET_ADMIN", "root"]);
}

#[test]
fn what_is_no_capture_is_named_and_nothing_is_written() {
    let place = Place::new();
    let text = place.write("notes.pcap", b"Dear diary, this is no capture at all.\n");
    let empty = place.write("empty.pcap", b"");
    for file in [text.as_str(), empty.as_str(), "/nonexistent.pcap"] {
        let ran = ids(&["replay", file, "--alerts", &place.out("a"), "--flows", &place.out("f"), "--log", "error"]);
        ran.fails(1, &[file]);
        ids(&["features", file, "--out", &place.out("f.csv"), "--log", "error"]).fails(1, &[file]);
        ids(&["features", file, "--out", &place.out("f.parquet"), "--log", "error"]).fails(1, &[file]);
        place.is_clean();
    }
    let dir = place.out_dir();
    ids(&["replay", dir.to_str().unwrap(), "--log", "error"]).fails(1, &["holds no capture", ".pcapng"]);
}

#[test]
fn an_unwritable_output_is_named() {
    let place = Place::new();
    let capture = place.write("a.pcap", &scan());
    let ran = ids(&["replay", &capture, "--alerts", "/nonexistent/alerts", "--log", "error"]);
    ran.fails(1, &["/nonexistent/alerts", "directory exists"]);
}

#[test]
fn a_truncated_capture_gives_what_stands_before_the_cut_and_says_so() {
    let place = Place::new();
    let whole = scan();
    let capture = place.write("cut.pcap", whole.get(..whole.len() - 11).unwrap());
    let ran = ids(&["replay", &capture, "--log", "error"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.out.contains("note: ") && ran.out.contains("cut.pcap"), "{}", ran.out);
    assert!(ran.out.contains("conservation holds"), "{}", ran.out);
}

#[test]
fn one_bad_file_among_good_ones_is_told_and_the_rest_is_read() {
    let place = Place::new();
    place.write("a.pcap", &scan());
    place.write("b.pcap", b"not a capture");
    let dir = place.dir.path().join("in");
    let ran = ids(&["replay", dir.to_str().unwrap(), "--alerts", &place.out("a.ndjson"), "--log", "error"]);
    ran.fails(1, &["b.pcap"]);
    assert!(!lines(&place.out("a.ndjson")).is_empty());
}

#[test]
fn a_scan_is_found_named_and_explained() {
    let place = Place::new();
    let capture = place.write("scan.pcap", &scan());
    let (alerts, flows) = (place.out("alerts.ndjson"), place.out("flows.ndjson"));
    let ran = ids(&["replay", &capture, "--alerts", &alerts, "--flows", &flows, "--json", "--log", "error"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let summary: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(summary["conserved"], true, "{summary}");
    assert_eq!(summary["verdicts"]["port_scan"], 200, "{summary}");
    assert_eq!(summary["verdicts"]["benign"], 5, "{summary}");

    let alerts = lines(&alerts);
    assert_eq!(summary["outputs"]["alerts"]["written"].as_u64(), Some(alerts.len() as u64));
    let first = alerts.iter().find(|alert| alert["ids"]["kind"] == "syn_scan").unwrap();
    assert_eq!((&first["src_ip"], &first["dest_ip"]), (&"10.0.0.7".into(), &"10.0.0.9".into()));
    assert_eq!(first["ids"]["attack"]["id"], "T1046");
    assert!(first["ids"]["reason"].as_str().unwrap().contains("10.0.0.7"), "{first}");
    assert!(!first["ids"]["evidence"].as_array().unwrap().is_empty());

    let flows = lines(&flows);
    assert_eq!(flows.len(), 205);
    assert!(flows.iter().all(|flow| flow["event_type"] == "flow" && flow["community_id"].is_string()));
    assert_eq!(flows.iter().filter(|flow| flow["ids"]["class"] == "port_scan").count(), 200);
}

#[test]
fn two_replays_are_equal_to_the_byte_and_a_table_is_printed() {
    let place = Place::new();
    let capture = place.write("scan.pcap", &scan());
    let run = |number: &str, format: &str| {
        let (alerts, flows) = (place.out(&format!("a{number}")), place.out(&format!("f{number}")));
        let args = ["replay", &capture, "--alerts", &alerts, "--flows", &flows, "--format", format, "--log", "error"];
        let ran = ids(&args);
        assert!(ran.code == Some(0) && ran.out.contains("conservation holds"), "{ran:?}");
        assert!(ran.out.contains("│ packets"), "{}", ran.out);
        (fs::read(&alerts).unwrap(), fs::read(&flows).unwrap())
    };
    for format in ["native", "eve", "ecs"] {
        let first = run("1", format);
        assert!(first == run("2", format), "{format}");
        assert!(!first.0.is_empty() && !first.1.is_empty(), "{format}");
    }
}

#[test]
fn standard_input_and_output_can_be_used() {
    let mut child = program::command(AGENT, &["replay", "-", "--alerts", "-", "--json", "--log", "error"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&scan()).unwrap();
    let ran = Ran::of(&child.wait_with_output().unwrap());
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.out.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "alerts alone: {}", ran.out);
    assert!(serde_json::from_str::<Value>(&ran.err).unwrap()["conserved"] == true, "the summary: {}", ran.err);
}

#[test]
fn an_interrupted_or_killed_replay_leaves_nothing_behind() {
    for signal in [Signal::INT, Signal::KILL] {
        let place = Place::new();
        let mut child = program::command(AGENT, &["replay", "-", "--alerts", &place.out("a"), "--log", "error"])
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let whole = scan();
        // Standard input stays open beyond the end, so that the replay cannot come to its own.
        let mut input = child.stdin.take().unwrap();
        input.write_all(whole.get(..whole.len() / 2).unwrap()).unwrap();
        eventually("the replay does not read", || ioctl_fionread(&input).unwrap() == 0);
        let pid = Pid::from_child(&child);
        // The first one is heard at the next packet, and none comes; another one does not wait for it.
        eventually("the replay goes on", || {
            // It may have ended between the look and the signal.
            let _ = kill_process(pid, signal);
            child.try_wait().unwrap().is_some()
        });
        assert!(!child.wait().unwrap().success());
        place.is_clean();
        drop(input);
    }
}

#[test]
fn features_come_as_csv_and_as_parquet_with_one_row_a_flow() {
    let place = Place::new();
    let capture = place.write("scan.pcap", &scan());
    let (csv, parquet) = (place.out("f.csv"), place.out("f.parquet"));
    assert_eq!(ids(&["features", &capture, "--out", &csv, "--log", "error"]).code, Some(0));
    assert_eq!(ids(&["features", &capture, "--out", &parquet, "--log", "error"]).code, Some(0));
    assert_eq!(names_in(&place.out_dir()), ["f.csv", "f.parquet"]);
    let text = fs::read_to_string(&csv).unwrap();
    let width = 12 + ids_agent::features::FEATURES;
    assert_eq!(text.lines().count(), 1 + 205);
    assert!(text.lines().all(|line| line.split(',').count() == width));
    assert!(text.starts_with("capture,flow_id,community_id,src_ip,"));
    let bytes = fs::read(&parquet).unwrap();
    assert!(bytes.starts_with(b"PAR1") && bytes.ends_with(b"PAR1"));
}

#[test]
fn parquet_and_csv_hold_the_same_values() {
    let place = Place::new();
    let probe = Command::new("python3").args(["-c", "import pyarrow"]).output();
    if !probe.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: parquet_and_csv_hold_the_same_values needs python3 with pyarrow");
        return;
    }
    let capture = place.write("scan.pcap", &scan());
    let (csv, parquet) = (place.out("f.csv"), place.out("f.parquet"));
    ids(&["features", &capture, "--out", &csv, "--log", "error"]);
    ids(&["features", &capture, "--out", &parquet, "--log", "error"]);
    let script = "import sys, csv, struct, pyarrow.parquet as p\n\
        rows = p.read_table(sys.argv[2]).to_pylist()\n\
        f = lambda v: struct.unpack('f', struct.pack('f', float(v)))[0]\n\
        wide = list(csv.DictReader(open(sys.argv[1])))\n\
        assert len(rows) == len(wide), (len(rows), len(wide))\n\
        for a, b in zip(rows, wide):\n\
        \x20   for k, v in a.items():\n\
        \x20       same = f(b[k]) == v if isinstance(v, float) else str(v) == b[k]\n\
        \x20       assert same, (k, v, b[k])\n";
    let output = Command::new("python3").args(["-c", script, &csv, &parquet]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn doctor_and_selftest_speak_json_and_exit_codes() {
    let doctor = ids(&["doctor", "--json", "--interface", "nosuchif0"]);
    let report: Value = serde_json::from_str(&doctor.out).unwrap();
    assert_eq!((doctor.code, &report["runnable"]), (Some(1), &false.into()));
    let findings = report["findings"].as_array().unwrap();
    assert!(findings.iter().any(|one| one["what"] == "interface nosuchif0" && one["state"] == "missing"));

    let selftest = ids(&["selftest", "--json"]);
    let report: Value = serde_json::from_str(&selftest.out).unwrap();
    assert_eq!(selftest.code, Some(0), "{report:#}");
    assert!(report["agree"] == true || report["kernel_not_asked"].is_string(), "{report:#}");
    if can_run("the kernel half of selftest", &[Need::Root]) {
        assert_eq!(report["agree"], true, "{report:#}");
    }
}
