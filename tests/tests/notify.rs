//! What the agent tells systemd, and what it does not tell it when a stage is stuck. The test is the service manager.
#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that fails")]

use std::{
    fs::{File, OpenOptions},
    io::Read,
    os::unix::{fs::OpenOptionsExt, net::UnixDatagram},
    time::{Duration, Instant},
};

use ids_tests::{
    netns::run,
    pair::{self, Pair, WATCHED},
    probe::{Need, can_run},
    running::Running,
};
use rustix::process::Signal;
use tempfile::TempDir;

const AGENT: &str = env!("CARGO_BIN_EXE_agent");
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

    fn start<'a>(&self, pair: &'a Pair, args: &[&str]) -> Running<'a> {
        let told = [("NOTIFY_SOCKET", self.path.as_str()), ("WATCHDOG_USEC", WATCHDOG_USEC)];
        Running::start_told(AGENT, &pair.sensor, WATCHED, args, &told)
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

#[test]
fn systemd_hears_of_readiness_progress_a_reload_and_the_end() {
    if !can_run("notify", &pair::NEEDS) {
        return;
    }
    let (manager, pair) = (Manager::new(), Pair::new("notify"));
    let config = pair.write("config.toml", pair::APART);
    let agent = manager.start(&pair, &["--config", &config, "--alerts", "/dev/null"]);
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

#[test]
fn the_watchdog_is_not_fed_while_a_sink_is_stuck_and_is_again_when_it_gets_on() {
    if !can_run("notify", &[&pair::NEEDS[..], &[Need::Tool("mkfifo")]].concat()) {
        return;
    }
    let (manager, pair) = (Manager::new(), Pair::new("notify"));
    let flows = pair.arg("flows");
    run(std::process::Command::new("mkfifo").arg(&flows));
    // Open for both, it is there and takes nothing out.
    let flags = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    let pipe = OpenOptions::new().read(true).write(true).custom_flags(flags).open(&flows).unwrap();
    let config = pair.write("config.toml", &format!("{}[fuse]\nverdict_hold_secs = 1\n", pair::APART));
    let mut agent = manager.start(&pair, &["--config", &config, "--alerts", "/dev/null", "--flows", &flows]);
    manager.await_word("READY=1");
    // More lines than the pipe takes.
    pair.knock(1_000..1_700);
    manager.await_word("STATUS=stuck: `flows` has made no progress");
    let page = agent.await_page("/healthz", |code, _| code == 503);
    assert!(page.contains("`flows`"), "{page}");
    // What was on its way when it got stuck has been heard.
    while manager.hear(Duration::from_millis(100)).is_some() {}
    // Silence takes time to be heard: four times as long as from one word to the next.
    let quiet = Instant::now();
    while quiet.elapsed() < Duration::from_secs(4) {
        let heard = manager.hear(Duration::from_millis(500)).unwrap_or_default();
        assert!(!heard.contains("WATCHDOG=1"), "it is fed although `flows` is stuck");
    }

    // Somebody reads again.
    await_word_and_read(&manager, &pipe, "WATCHDOG=1");
    agent.await_page("/healthz", |code, _| code == 200);
    agent.signal(Signal::KILL);
}

/// Empties the pipe until the word is said.
fn await_word_and_read(manager: &Manager, mut pipe: &File, wanted: &str) {
    let (mut bytes, deadline) = (vec![0; 65_536], Instant::now() + Duration::from_secs(90));
    while !manager.hear(Duration::from_millis(20)).is_some_and(|message| message.contains(wanted)) {
        assert!(Instant::now() < deadline, "`{wanted}` was never said");
        while pipe.read(&mut bytes).is_ok_and(|read| read > 0) {}
    }
}
