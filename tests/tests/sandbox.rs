//! The walls around a running agent: which rights its threads have left, and that it goes on working behind them.
#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that fails")]

use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown, symlink},
    path::Path,
};

use ids_tests::{
    pair::{NEEDS, Pair, WATCHED},
    probe::can_run,
    running::{Running, eventually, sum, value},
};
use rustix::process::Signal;

const AGENT: &str = env!("CARGO_BIN_EXE_agent");
/// CAP_NET_ADMIN, CAP_PERFMON and CAP_BPF.
const REATTACH: u64 = 1 << 12 | 1 << 38 | 1 << 39;
/// The user `nobody` of every Debian.
const NOBODY: u32 = 65_534;

/// An agent with these settings of its sandbox, ready; it writes the lines of flows soon.
fn start<'a>(pair: &'a Pair, sandbox: &str) -> Running<'a> {
    let state = pair.path("state");
    fs::create_dir_all(&state).unwrap();
    let settings = format!(
        "[state]\ndir = {state:?}\n[control]\nenabled = false\n[fuse]\nverdict_hold_secs = 1\n[alert]\nrotate_bytes = 4096\n[sandbox]\n{sandbox}\n"
    );
    let config = pair.write("config.toml", &settings);
    let (alerts, flows) = (pair.arg("alerts.ndjson"), pair.arg("flows.ndjson"));
    pair.start_ready(AGENT, &["--config", &config, "--alerts", &alerts, "--flows", &flows])
}

/// What /proc says of one thread.
#[derive(Debug)]
struct Thread {
    name: String,
    effective: u64,
    permitted: u64,
    bounding: u64,
    uid: Vec<u32>,
    groups: String,
    status: String,
}

fn threads(agent: &Running<'_>) -> Vec<Thread> {
    let tasks = fs::read_dir(format!("/proc/{}/task", agent.pid().as_raw_nonzero())).unwrap();
    let threads: Vec<Thread> = tasks
        .filter_map(|task| {
            // One may just have ended.
            let status = fs::read_to_string(task.unwrap().path().join("status")).ok()?;
            let field = |name: &str| {
                status
                    .lines()
                    .find_map(|line| line.strip_prefix(name))
                    .unwrap_or_else(|| panic!("{status}"))
                    .trim()
                    .to_owned()
            };
            let hex = |name: &str| u64::from_str_radix(&field(name), 16).unwrap();
            Some(Thread {
                name: field("Name:"),
                effective: hex("CapEff:"),
                permitted: hex("CapPrm:"),
                bounding: hex("CapBnd:"),
                uid: field("Uid:").split_whitespace().map(|id| id.parse().unwrap()).collect(),
                groups: field("Groups:"),
                status: status.clone(),
            })
        })
        .collect();
    assert!(threads.len() >= 5, "{threads:?}");
    threads
}

/// Every thread stands behind the filter and cannot gain rights; one of them may have kept some.
#[track_caller]
fn check_threads(agent: &Running<'_>, kept: u64) {
    for thread in threads(agent) {
        let keeps = if thread.name == "source" { kept } else { 0 };
        assert_eq!((thread.effective, thread.permitted), (keeps, keeps), "{thread:?}");
        for line in ["NoNewPrivs:\t1", "Seccomp:\t2"] {
            assert!(thread.status.contains(line), "{line} is wanted of {thread:?}");
        }
    }
}

/// It counts, judges, rotates, reads feedback again, reopens its files and answers, all behind the walls.
fn check_life(pair: &Pair, agent: &mut Running<'_>) {
    pair.knock(1_000..1_060);
    agent.await_page("/metrics", |_, page| sum(page, "ids_alerts_total{class=\"port_scan\"") >= 1.0);
    let rotated = pair.path("flows.ndjson.1");
    eventually("the flow lines are rotated", || rotated.exists());
    let moved = pair.path("moved");
    fs::rename(pair.path("alerts.ndjson"), &moved).unwrap();
    fs::write(pair.path("state/feedback.toml"), "").unwrap();
    agent.signal(Signal::HUP);
    eventually("the alerts' file is opened again", || pair.path("alerts.ndjson").exists());
    let page = agent.await_page("/metrics", |_, page| value(page, "ids_flows_started_total") >= 60.0);
    assert_eq!(sum(&page, "ids_sink_lines_dropped_total"), 0.0, "{page}");
    assert!(value(&page, "process_open_fds") > 3.0, "it counts its own descriptors: {page}");
}

#[test]
fn root_without_a_user_to_become_keeps_one_thread_that_can_attach_and_works_on() {
    if !can_run("sandbox", &NEEDS) {
        return;
    }
    let pair = Pair::new("walls");
    let mut agent = start(&pair, "");
    check_threads(&agent, REATTACH);
    let bounding = threads(&agent).iter().map(|thread| thread.bounding).max().unwrap();
    assert_eq!(bounding & !(REATTACH | 1 << 1), 0, "what is gone comes back by no way: {bounding:x}");
    let page = agent.await_page("/metrics", |_, page| page.contains("ids_sandbox"));
    for part in ["no_new_privs", "capabilities", "seccomp"] {
        assert_eq!(value(&page, &format!("ids_sandbox{{part=\"{part}\"}}")), 1.0, "{part}: {page}");
    }
    let walled = value(&page, "ids_sandbox{part=\"landlock\"}") > 0.0;
    check_life(&pair, &mut agent);

    // Somebody leads the file elsewhere: the agent cannot follow, and keeps what it has.
    let elsewhere = tempfile::tempdir().unwrap();
    let target = elsewhere.path().join("taken.ndjson");
    fs::remove_file(pair.path("alerts.ndjson")).unwrap();
    symlink(&target, pair.path("alerts.ndjson")).unwrap();
    agent.signal(Signal::HUP);
    pair.knock(2_000..2_060);
    agent.await_page("/metrics", |_, page| value(page, "ids_flows_started_total") >= 120.0);
    agent.signal(Signal::TERM);
    let ran = agent.end();
    assert_eq!(ran.code, Some(0), "{ran:?}");
    if walled {
        assert!(ran.err.contains("kept the old file") && !target.exists(), "{}", ran.err);
    } else {
        eprintln!("skipped: this kernel has no Landlock");
    }
}

#[test]
fn root_becomes_the_user_of_the_settings() {
    if !can_run("sandbox", &NEEDS) {
        return;
    }
    let pair = Pair::new("walls");
    // The folder, and those to be made in it.
    fs::set_permissions(pair.folder(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(pair.path("state")).unwrap();
    for path in [pair.folder().to_owned(), pair.path("state")] {
        chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    let mut agent = start(&pair, "user = \"nobody\"");
    check_threads(&agent, REATTACH);
    for thread in threads(&agent) {
        assert!(thread.uid.iter().all(|uid| *uid == NOBODY) && thread.groups.is_empty(), "{thread:?}");
    }
    check_life(&pair, &mut agent);
    agent.signal(Signal::TERM);
    let ran = agent.end();
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(pair.path("state/state.bin").exists(), "{}", ran.err);
}

#[test]
fn nothing_is_kept_where_nothing_is_to_be_attached_again() {
    if !can_run("sandbox", &NEEDS) {
        return;
    }
    let pair = Pair::new("walls");
    let mut agent = start(&pair, "keep_reattach = false");
    check_threads(&agent, 0);
    check_life(&pair, &mut agent);
    agent.signal(Signal::TERM);
    assert_eq!(agent.end().code, Some(0));
    let links = pair.sensor.ip(&["link", "show", "dev", WATCHED]);
    assert!(!String::from_utf8_lossy(&links.stdout).contains("xdp"), "nothing stays attached");
}

#[test]
fn a_user_that_is_not_there_or_cannot_write_stops_the_start() {
    if !can_run("sandbox", &NEEDS) {
        return;
    }
    let pair = Pair::new("walls");
    fs::set_permissions(pair.folder(), fs::Permissions::from_mode(0o755)).unwrap();
    for (user, wanted) in [("nobody-by-this-name", "is no user"), ("nobody", "cannot write")] {
        let settings = format!("[state]\nenabled = false\n[sandbox]\nuser = \"{user}\"\n");
        let (config, alerts) = (pair.write("config.toml", &settings), pair.arg("alerts.ndjson"));
        let agent = pair.start(AGENT, &["--config", &config, "--alerts", &alerts, "--log", "error"]);
        let ran = agent.end();
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(ran.err.contains(wanted) && ran.err.contains("sandbox.user"), "{}", ran.err);
        assert!(!Path::new(&format!("/sys/fs/bpf/{user}")).exists());
    }
    let links = pair.sensor.ip(&["link", "show", "dev", WATCHED]);
    assert!(!String::from_utf8_lossy(&links.stdout).contains("xdp"), "nothing stays attached");
}
