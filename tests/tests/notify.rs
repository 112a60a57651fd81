//! What the agent tells systemd, and what it does not tell it when a stage is stuck. The test is the service manager.
#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that fails")]

use std::{
    fs::{self, OpenOptions},
    net::{SocketAddr, TcpStream},
    os::unix::{fs::OpenOptionsExt, net::UnixDatagram},
    path::Path,
    time::{Duration, Instant},
};

use ids_tests::{
    netns::{Namespace, run, veth},
    probe::{Need, can_run},
    running::Running,
};
use rustix::process::Signal;
use tempfile::TempDir;

const AGENT: &str = env!("CARGO_BIN_EXE_agent");
const NEEDS: [Need<'static>; 5] =
    [Need::Root, Need::Tool("ip"), Need::Tool("nsenter"), Need::Tool("ethtool"), Need::Tool("mkfifo")];
const SENSOR: &str = "10.84.0.1";
/// Fed every second, so that silence shows soon.
const WATCHDOG_USEC: &str = "3000000";

/// The far end of the service's socket.
struct Manager {
    socket: UnixDatagram,
    path: String,
    _dir: TempDir,
}

impl Manager {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify").to_str().unwrap().to_owned();
        let socket = UnixDatagram::bind(&path).unwrap();
        Self { socket, path, _dir: dir }
    }

    fn start<'a>(&self, space: &'a Namespace, args: &[&str]) -> Running<'a> {
        let told = [("NOTIFY_SOCKET", self.path.as_str()), ("WATCHDOG_USEC", WATCHDOG_USEC)];
        Running::start_told(AGENT, space, "sensor0", args, &told)
    }

    /// What is said next, if anything is within `patience`.
    fn hear(&self, patience: Duration) -> Option<String> {
        self.socket.set_read_timeout(Some(patience)).unwrap();
        let mut bytes = [0; 4_096];
        let length = self.socket.recv(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes[..length]).into_owned())
    }

    /// Waits for a message that holds `wanted`; gives those before it, and it.
    #[track_caller]
    fn await_word(&self, wanted: &str) -> Vec<String> {
        let deadline = Instant::now() + Duration::from_secs(90);
        let mut heard = Vec::new();
        while Instant::now() < deadline {
            let Some(message) = self.hear(Duration::from_secs(1)) else { continue };
            let found = message.lines().any(|line| line.starts_with(wanted));
            heard.push(message);
            if found {
                return heard;
            }
        }
        panic!("`{wanted}` was never said: {heard:?}");
    }
}

fn pair() -> (Namespace, Namespace) {
    let (sensor, other) = (Namespace::new("notify"), Namespace::new("other"));
    veth(&sensor, "sensor0", "10.84.0.1/24", &other, "other0", "10.84.0.2/24");
    (sensor, other)
}

#[test]
fn systemd_hears_of_readiness_progress_a_reload_and_the_end() {
    if !can_run("notify", &NEEDS) {
        return;
    }
    let (manager, (sensor, _other)) = (Manager::new(), pair());
    let agent = manager.start(&sensor, &["--alerts", "/dev/null"]);
    let before = manager.await_word("READY=1");
    assert!(before.iter().all(|message| !message.contains("WATCHDOG=1")), "{before:?}");
    manager.await_word("STATUS=");
    manager.await_word("WATCHDOG=1");
    manager.await_word("WATCHDOG=1");

    agent.signal(Signal::HUP);
    let reload = manager.await_word("RELOADING=1");
    assert!(reload.last().unwrap().contains("MONOTONIC_USEC="), "systemd 253 wants the time: {reload:?}");
    manager.await_word("READY=1");

    agent.signal(Signal::TERM);
    manager.await_word("STOPPING=1");
    assert_eq!(agent.end().code, Some(0));
}

/// Fills a pipe with flow lines until it takes no more.
fn flood(space: &Namespace) {
    space.run(|| {
        for port in 1_000..1_700 {
            let to: SocketAddr = format!("{SENSOR}:{port}").parse().unwrap();
            assert!(TcpStream::connect_timeout(&to, Duration::from_secs(5)).is_err(), "nobody listens there");
        }
    });
}

#[test]
fn the_watchdog_is_not_fed_while_a_sink_is_stuck_and_is_again_when_it_gets_on() {
    if !can_run("notify", &NEEDS) {
        return;
    }
    let (manager, (sensor, other)) = (Manager::new(), pair());
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("flows");
    run(std::process::Command::new("mkfifo").arg(&pipe));
    // Open for both, it is there and takes nothing out.
    let reader =
        OpenOptions::new().read(true).write(true).custom_flags(rustix::fs::OFlags::NONBLOCK.bits() as i32).open(&pipe);
    let reader = reader.unwrap();
    let mut agent = manager.start(&sensor, &["--alerts", "/dev/null", "--flows", pipe.to_str().unwrap()]);
    manager.await_word("READY=1");
    flood(&other);
    manager.await_word("STATUS=stuck: `flows` has made no progress");
    let page = agent.await_page("/healthz", |code, _| code == 503);
    assert!(page.contains("`flows`"), "{page}");
    // What was on its way when it got stuck has been heard.
    while manager.hear(Duration::from_millis(100)).is_some() {}
    let quiet = Instant::now();
    while quiet.elapsed() < Duration::from_secs(4) {
        let heard = manager.hear(Duration::from_millis(500)).unwrap_or_default();
        assert!(!heard.contains("WATCHDOG=1"), "it is fed although `flows` is stuck");
    }

    empty(&pipe);
    manager.await_word("WATCHDOG=1");
    agent.await_page("/healthz", |code, _| code == 200);
    drop(reader);
    agent.signal(Signal::KILL);
}

/// Reads what is in the pipe, and what comes, for a while.
fn empty(pipe: &Path) {
    use std::io::Read;
    let flags = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    let mut file = OpenOptions::new().read(true).custom_flags(flags).open(pipe).unwrap();
    let (mut bytes, until) = (vec![0; 65_536], Instant::now() + Duration::from_secs(5));
    while Instant::now() < until {
        if file.read(&mut bytes).is_err() {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    assert!(fs::metadata(pipe).is_ok());
}
