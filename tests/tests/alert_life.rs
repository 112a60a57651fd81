//! The life of an alert on a running agent: told by a feed, explained out of its evidence, called false, and then silent.
#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that fails")]

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use ids_tests::{
    netns::{Namespace, veth},
    probe::{Need, can_run},
    program::{self, Ran},
    running::{Running, value},
};
use rustix::process::Signal;
use serde_json::Value;

const AGENT: &str = env!("CARGO_BIN_EXE_agent");
const NEEDS: [Need<'static>; 4] = [Need::Root, Need::Tool("ip"), Need::Tool("nsenter"), Need::Tool("ethtool")];
const SERVER: &str = "10.82.0.1:8080";

/// A page of `host` is asked for; the answer says nothing.
fn browse(client: &Namespace, host: &str) {
    client.run(|| {
        let to: SocketAddr = SERVER.parse().unwrap();
        let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(5)).unwrap();
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nUser-Agent: curl/8.0\r\nAccept: */*\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    });
}

/// Answers `times` requests, then ends.
fn serve(space: &Namespace, times: usize) -> thread::JoinHandle<()> {
    let listener = space.run(|| TcpListener::bind(SERVER).unwrap());
    thread::spawn(move || {
        for _ in 0..times {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 512];
            let read = stream.read(&mut request).unwrap();
            assert!(read > 0);
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok").unwrap();
        }
    })
}

/// The alerts in a file that name `host`.
fn alerts_of(path: &Path, host: &str) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().filter(|line| line.contains(host)).map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[track_caller]
fn await_alert(path: &Path, host: &str) -> Value {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(alert) = alerts_of(path, host).into_iter().next() {
            return alert;
        }
        assert!(Instant::now() < deadline, "no alert names {host}");
        thread::sleep(Duration::from_millis(100));
    }
}

fn ids(args: &[&str]) -> Ran {
    Ran::of(&program::command(AGENT, args).output().unwrap())
}

#[test]
fn an_alert_is_told_by_a_feed_explained_called_false_and_then_silent() {
    if !can_run("alert_life", &NEEDS) {
        return;
    }
    let (sensor, client) = (Namespace::new("life"), Namespace::new("guest"));
    veth(&sensor, "sensor0", "10.82.0.1/24", &client, "guest0", "10.82.0.2/24");
    let dir = tempfile::tempdir().unwrap();
    let place = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (config, feed, alerts) = (place("config.toml"), place("feed.txt"), place("alerts.ndjson"));
    fs::create_dir(place("state")).unwrap();
    fs::write(&feed, "panel.first-listed.top\n").unwrap();
    fs::write(
        &config,
        format!(
            "[state]\ndir = {:?}\n[fuse]\ndedup_secs = 2\n[[intel.feeds]]\nname = \"panels\"\npath = {feed:?}\n\
             kind = \"list\"\ncategory = \"malware\"\n",
            place("state")
        ),
    )
    .unwrap();
    let server = serve(&sensor, 3);
    let mut agent = Running::start(AGENT, &sensor, "sensor0", &["--config", &config, "--alerts", &alerts]);
    agent.await_page("/readyz", |code, _| code == 200);

    // Told at once, and nothing is told of a name that no feed holds.
    browse(&client, "panel.first-listed.top");
    browse(&client, "panel.second-listed.top");
    let told = await_alert(alerts.as_ref(), "panel.first-listed.top");
    assert_eq!(told["ids"]["witnesses"][0]["witness"], "intel", "{told}");
    let id = told["ids"]["incident"].as_str().unwrap();

    // Its evidence gives the same result again. It may be a moment behind the alert.
    let deadline = Instant::now() + Duration::from_secs(20);
    let explained = loop {
        let ran = ids(&["explain", "--config", &config, id]);
        if ran.code == Some(0) || Instant::now() > deadline {
            break ran;
        }
        thread::sleep(Duration::from_millis(200));
    };
    assert_eq!(explained.code, Some(0), "{explained:?}");
    assert!(explained.out.contains("panel.first-listed.top"), "{}", explained.out);

    // A feed that changed is taken up on SIGHUP, and so is what somebody says of an alert.
    fs::write(&feed, "panel.first-listed.top\npanel.second-listed.top\n").unwrap();
    let said = ids(&["feedback", "--config", &config, id, "false", "--note", "our own panel"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    agent.signal(Signal::HUP);
    agent.await_page("/metrics", |_, page| value(page, "ids_intel_loads_total{feed=\"panels\"}") >= 2.0);
    // Beyond `dedup_secs`, so that only feedback can keep it from being told as new.
    thread::sleep(Duration::from_secs(3));
    browse(&client, "panel.first-listed.top");
    agent.await_page("/metrics", |_, page| value(page, "ids_findings_silenced_total{by=\"feedback\"}") >= 1.0);
    server.join().unwrap();

    agent.signal(Signal::TERM);
    let ran = agent.end();
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let alerts = alerts_of(alerts.as_ref(), "first-listed");
    assert_eq!(alerts.iter().filter(|alert| alert["ids"]["stage"] == "opened").count(), 1, "{alerts:?}");
}
