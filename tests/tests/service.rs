//! The running agent: pages, signals, files, and an orderly end. In namespaces of its own.
#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that fails")]

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use ids_tests::{
    pair::{NEEDS, PEER, Pair, WATCHED},
    probe::{can_run, tool},
    program::{self, Ran},
    running::{PAGES, eventually, sum, value},
};
use rustix::process::Signal;

const AGENT: &str = env!("CARGO_BIN_EXE_agent");

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

#[test]
fn a_scan_is_alerted_files_follow_sighup_and_the_end_is_orderly() {
    if !can_run("service", &NEEDS) {
        return;
    }
    let pair = Pair::new("service");
    let [alerts, flows, moved] = ["alerts.ndjson", "flows.ndjson", "moved"].map(|name| pair.path(name));
    let args = ["--alerts", &pair.arg("alerts.ndjson"), "--flows", &pair.arg("flows.ndjson")];
    let mut agent = pair.start_ready(AGENT, &args);
    assert_eq!(agent.get("/healthz").map(|(code, _)| code), Some(200));
    assert_eq!(agent.get("/nothing").map(|(code, _)| code), Some(404));

    pair.knock(1_000..1_100);
    agent.await_page("/metrics", |_, page| sum(page, "ids_alerts_total{class=\"port_scan\"") >= 1.0);
    // The line is written a moment after it is counted.
    let names_the_attacker = format!("\"src_ip\":\"{PEER}\"");
    eventually("no alert names the attacker", || text(&alerts).contains(&names_the_attacker));

    fs::rename(&flows, &moved).unwrap();
    agent.signal(Signal::HUP);
    eventually("the file was not opened again", || flows.exists());
    pair.knock(2_000..2_010);
    let page = agent.await_page("/metrics", |_, page| value(page, "ids_flows_started_total") >= 110.0);
    let seen = value(&page, "ids_packets_seen_total") + value(&page, "ids_segments_unfolded_total");
    let counted = value(&page, "ids_packets_in_flows_total") + sum(&page, "ids_packets_skipped_total");
    assert_eq!(seen, counted, "{page}");
    assert_eq!(sum(&page, "ids_attached"), 2.0, "both directions: {page}");
    check_with_promtool(&page);

    agent.signal(Signal::TERM);
    let ran = agent.end();
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let lines = text(&moved).lines().count() + text(&flows).lines().count();
    assert!(ran.err.contains(&format!("offered={lines} written={lines} dropped=0")), "{lines} lines: {}", ran.err);
    assert!(text(&moved).lines().chain(text(&flows).lines()).all(|line| line.ends_with('}')), "whole lines alone");
    let links = pair.sensor.ip(&["link", "show", "dev", WATCHED]);
    assert!(!String::from_utf8_lossy(&links.stdout).contains("xdp"), "nothing stays attached");
}

fn check_with_promtool(page: &str) {
    if !tool("promtool") {
        eprintln!("skipped: promtool is not installed");
        return;
    }
    let mut child = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let ran = Ran::of(&child.wait_with_output().unwrap());
    assert!(ran.code == Some(0) && ran.out.is_empty() && ran.err.is_empty(), "{ran:?}");
}

#[test]
fn a_client_that_says_nothing_is_cut_off_and_disturbs_nobody() {
    if !can_run("service", &NEEDS) {
        return;
    }
    let pair = Pair::new("quiet");
    let agent = pair.start_ready(AGENT, &["--alerts", "/dev/null"]);
    let mut silent = pair.sensor.run(|| TcpStream::connect(PAGES).unwrap());
    silent.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    assert_eq!(agent.get("/healthz").map(|(code, _)| code), Some(200));
    let mut answer = Vec::new();
    silent.read_to_end(&mut answer).unwrap();
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 408"), "{}", String::from_utf8_lossy(&answer));
    agent.signal(Signal::INT);
    assert_eq!(agent.end().code, Some(0));
}

#[test]
fn an_address_in_use_stops_the_start_before_anything_is_attached() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let args = ["run", "--interface", "lo", "--metrics", &address, "--log", "error"];
    let ran = Ran::of(&program::command(AGENT, &args).output().unwrap());
    ran.fails(1, &[&address, "in use", "--metrics off"]);
}
