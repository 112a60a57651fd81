//! The walls around a running agent: which rights its threads have left, and that it goes on working behind them.
#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that fails")]

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    os::unix::fs::{PermissionsExt, chown, symlink},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use ids_tests::{
    netns::{Namespace, veth},
    probe::{Need, can_run},
    running::{Running, value},
};
use rustix::process::Signal;
use tempfile::TempDir;

const AGENT: &str = env!("CARGO_BIN_EXE_agent");
const NEEDS: [Need<'static>; 4] = [Need::Root, Need::Tool("ip"), Need::Tool("nsenter"), Need::Tool("ethtool")];
const SENSOR: &str = "10.83.0.1";
/// CAP_NET_ADMIN, CAP_PERFMON and CAP_BPF.
const REATTACH: u64 = 1 << 12 | 1 << 38 | 1 << 39;
/// The user `nobody` of every Debian.
const NOBODY: u32 = 65_534;

/// A sensor with a neighbour, and a folder for what the agent writes.
struct Place {
    sensor: Namespace,
    neighbour: Namespace,
    dir: TempDir,
}

impl Place {
    fn new() -> Self {
        let (sensor, neighbour) = (Namespace::new("walls"), Namespace::new("near"));
        veth(&sensor, "sensor0", "10.83.0.1/24", &neighbour, "near0", "10.83.0.2/24");
        Self { sensor, neighbour, dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// An agent with these settings of its sandbox, ready.
    fn start(&self, sandbox: &str) -> Running<'_> {
        fs::create_dir_all(self.path("state")).unwrap();
        let settings =
            format!("[state]\ndir = {:?}\n[alert]\nrotate_bytes = 4096\n[sandbox]\n{sandbox}\n", self.path("state"));
        let config = self.path("config.toml");
        fs::write(&config, settings).unwrap();
        let (alerts, flows) = (self.path("alerts.ndjson"), self.path("flows.ndjson"));
        let args = [("--config", &config), ("--alerts", &alerts), ("--flows", &flows)];
        let args: Vec<&str> = args.iter().flat_map(|(option, path)| [*option, path.to_str().unwrap()]).collect();
        let mut agent = Running::start(AGENT, &self.sensor, "sensor0", &args);
        agent.await_page("/readyz", |code, _| code == 200);
        agent
    }

    fn knock(&self, ports: std::ops::Range<u16>) {
        self.neighbour.run(|| {
            for port in ports {
                let to: SocketAddr = format!("{SENSOR}:{port}").parse().unwrap();
                assert!(TcpStream::connect_timeout(&to, Duration::from_secs(2)).is_err(), "nobody listens there");
            }
        });
    }
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

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        thread::sleep(Duration::from_millis(100));
    }
}

/// It counts, judges, rotates, reads feedback again, reopens its files and answers, all behind the walls.
fn check_life(place: &Place, agent: &mut Running<'_>) {
    place.knock(1_000..1_060);
    agent.await_page("/metrics", |_, page| page.contains("ids_alerts_total{class=\"port_scan\""));
    let rotated = place.path("flows.ndjson.1");
    eventually("the flow lines are rotated", || rotated.exists());
    let moved = place.path("moved");
    fs::rename(place.path("alerts.ndjson"), &moved).unwrap();
    fs::write(place.path("state/feedback.toml"), "").unwrap();
    agent.signal(Signal::HUP);
    eventually("the alerts' file is opened again", || place.path("alerts.ndjson").exists());
    let page = agent.await_page("/metrics", |_, page| value(page, "ids_flows_started_total") >= 60.0);
    let lost: f64 = page
        .lines()
        .filter(|line| line.starts_with("ids_sink_lines_dropped_total"))
        .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
        .sum();
    assert_eq!(lost, 0.0, "{page}");
    assert!(value(&page, "process_open_fds") > 3.0, "it counts its own descriptors: {page}");
}

#[test]
fn root_without_a_user_to_become_keeps_one_thread_that_can_attach_and_works_on() {
    if !can_run("sandbox", &NEEDS) {
        return;
    }
    let place = Place::new();
    let mut agent = place.start("");
    check_threads(&agent, REATTACH);
    let bounding = threads(&agent).iter().map(|thread| thread.bounding).max().unwrap();
    assert_eq!(bounding & !(REATTACH | 1 << 1), 0, "what is gone comes back by no way: {bounding:x}");
    let page = agent.await_page("/metrics", |_, page| page.contains("ids_sandbox"));
    for part in ["no_new_privs", "capabilities", "seccomp"] {
        assert_eq!(value(&page, &format!("ids_sandbox{{part=\"{part}\"}}")), 1.0, "{part}: {page}");
    }
    let walled = value(&page, "ids_sandbox{part=\"landlock\"}") > 0.0;
    check_life(&place, &mut agent);

    // Somebody leads the file elsewhere: the agent cannot follow, and keeps what it has.
    let elsewhere = tempfile::tempdir().unwrap();
    let target = elsewhere.path().join("taken.ndjson");
    fs::remove_file(place.path("alerts.ndjson")).unwrap();
    symlink(&target, place.path("alerts.ndjson")).unwrap();
    agent.signal(Signal::HUP);
    place.knock(2_000..2_060);
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
    let place = Place::new();
    // The folder, and those to be made in it.
    fs::set_permissions(place.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(place.path("state")).unwrap();
    for path in [place.dir.path().to_owned(), place.path("state")] {
        chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    let mut agent = place.start("user = \"nobody\"");
    check_threads(&agent, REATTACH);
    for thread in threads(&agent) {
        assert!(thread.uid.iter().all(|uid| *uid == NOBODY) && thread.groups.is_empty(), "{thread:?}");
    }
    check_life(&place, &mut agent);
    agent.signal(Signal::TERM);
    let ran = agent.end();
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(place.path("state/state.bin").exists(), "{}", ran.err);
}

#[test]
fn nothing_is_kept_where_nothing_is_to_be_attached_again() {
    if !can_run("sandbox", &NEEDS) {
        return;
    }
    let place = Place::new();
    let mut agent = place.start("keep_reattach = false");
    check_threads(&agent, 0);
    check_life(&place, &mut agent);
    agent.signal(Signal::TERM);
    assert_eq!(agent.end().code, Some(0));
    let links = place.sensor.ip(&["link", "show", "dev", "sensor0"]);
    assert!(!String::from_utf8_lossy(&links.stdout).contains("xdp"), "nothing stays attached");
}

#[test]
fn a_user_that_is_not_there_or_cannot_write_stops_the_start() {
    if !can_run("sandbox", &NEEDS) {
        return;
    }
    let place = Place::new();
    fs::set_permissions(place.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    for (user, wanted) in [("nobody-by-this-name", "is no user"), ("nobody", "cannot write")] {
        let config = place.path("config.toml");
        fs::write(&config, format!("[state]\nenabled = false\n[sandbox]\nuser = \"{user}\"\n")).unwrap();
        let alerts = place.path("alerts.ndjson");
        let agent = Running::start(
            AGENT,
            &place.sensor,
            "sensor0",
            &["--config", config.to_str().unwrap(), "--alerts", alerts.to_str().unwrap(), "--log", "error"],
        );
        let ran = agent.end();
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(ran.err.contains(wanted) && ran.err.contains("sandbox.user"), "{}", ran.err);
        assert!(!Path::new(&format!("/sys/fs/bpf/{user}")).exists());
    }
    let links = place.sensor.ip(&["link", "show", "dev", "sensor0"]);
    assert!(!String::from_utf8_lossy(&links.stdout).contains("xdp"), "nothing stays attached");
}
