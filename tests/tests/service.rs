//! The running agent: pages, signals, files, and an orderly end. In namespaces of its own.
#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that fails")]

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use ids_tests::{
    netns::{Namespace, veth},
    probe::{Need, can_run, tool},
    program::{self, Ran},
    running::{PAGES, Running, value},
};
use rustix::process::Signal;

const AGENT: &str = env!("CARGO_BIN_EXE_agent");
const NEEDS: [Need<'static>; 4] = [Need::Root, Need::Tool("ip"), Need::Tool("nsenter"), Need::Tool("ethtool")];
const SENSOR: &str = "10.81.0.1";
const ATTACKER: &str = "10.81.0.2";

/// An agent on the sensor.
fn start<'a>(space: &'a Namespace, args: &[&str]) -> Running<'a> {
    Running::start(AGENT, space, "sensor0", args)
}

fn sum(page: &str, family: &str) -> f64 {
    page.lines()
        .filter(|line| line.strip_prefix(family).is_some_and(|rest| rest.starts_with(['{', ' '])))
        .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
        .sum()
}

fn knock(space: &Namespace, ports: std::ops::Range<u16>) {
    space.run(|| {
        for port in ports {
            let to: SocketAddr = format!("{SENSOR}:{port}").parse().unwrap();
            assert!(TcpStream::connect_timeout(&to, Duration::from_secs(2)).is_err(), "nobody listens there");
        }
    });
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

#[test]
fn a_scan_is_alerted_files_follow_sighup_and_the_end_is_orderly() {
    if !can_run("service", &NEEDS) {
        return;
    }
    let (sensor, attacker) = (Namespace::new("sensor"), Namespace::new("attacker"));
    veth(&sensor, "sensor0", "10.81.0.1/24", &attacker, "attack0", "10.81.0.2/24");
    let dir = tempfile::tempdir().unwrap();
    let (alerts, flows, moved) =
        (dir.path().join("alerts.ndjson"), dir.path().join("flows.ndjson"), dir.path().join("moved"));
    let mut agent = start(&sensor, &["--alerts", alerts.to_str().unwrap(), "--flows", flows.to_str().unwrap()]);
    agent.await_page("/readyz", |code, _| code == 200);
    assert_eq!(agent.get("/healthz").map(|(code, _)| code), Some(200));
    assert_eq!(agent.get("/nothing").map(|(code, _)| code), Some(404));

    knock(&attacker, 1_000..1_100);
    let found = "ids_alerts_total{class=\"port_scan\"";
    agent.await_page("/metrics", |_, page| page.lines().any(|line| line.starts_with(found) && !line.ends_with(" 0")));
    assert!(text(&alerts).contains(&format!("\"src_ip\":\"{ATTACKER}\"")), "{}", text(&alerts));

    fs::rename(&flows, &moved).unwrap();
    agent.signal(Signal::HUP);
    let deadline = Instant::now() + Duration::from_secs(20);
    while !flows.exists() {
        assert!(Instant::now() < deadline, "the file was not opened again");
        thread::sleep(Duration::from_millis(50));
    }
    knock(&attacker, 2_000..2_010);
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
    let links = sensor.ip(&["link", "show", "dev", "sensor0"]);
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
    let (sensor, other) = (Namespace::new("quiet"), Namespace::new("other"));
    veth(&sensor, "sensor0", "10.81.0.1/24", &other, "attack0", "10.81.0.2/24");
    let mut agent = start(&sensor, &["--alerts", "/dev/null"]);
    agent.await_page("/readyz", |code, _| code == 200);
    let mut silent = sensor.run(|| TcpStream::connect(PAGES).unwrap());
    silent.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
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
