//! The life of an alert on a running agent: told by a feed, explained out of its evidence, called false, and then silent.
#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that fails")]

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use ids_tests::{
    netns::Namespace,
    pair::{NEEDS, Pair, SENSOR},
    probe::can_run,
    program::{self, Ran},
    running::{eventually, value},
};
use rustix::process::Signal;
use serde_json::Value;

const AGENT: &str = env!("CARGO_BIN_EXE_agent");
const PORT: u16 = 8080;

/// A page of `host` is asked for; the answer says nothing.
fn browse(client: &Namespace, host: &str) {
    client.run(|| {
        let to = SocketAddr::new(SENSOR.parse().unwrap(), PORT);
        let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(20)).unwrap();
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nUser-Agent: curl/8.0\r\nAccept: */*\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    });
}

/// Answers `times` requests, then ends.
fn serve(space: &Namespace, times: usize) -> thread::JoinHandle<()> {
    let listener = space.run(|| TcpListener::bind((SENSOR, PORT)).unwrap());
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

/// The alerts that name `host`.
fn alerts_of(pair: &Pair, host: &str) -> Vec<Value> {
    pair.lines("alerts.ndjson").into_iter().filter(|alert| alert.to_string().contains(host)).collect()
}

fn ids(args: &[&str]) -> Ran {
    Ran::of(&program::command(AGENT, args).output().unwrap())
}

#[test]
fn an_alert_is_told_by_a_feed_explained_called_false_and_then_silent() {
    if !can_run("alert_life", &NEEDS) {
        return;
    }
    let pair = Pair::new("life");
    fs::create_dir(pair.path("state")).unwrap();
    let feed = pair.write("feed.txt", "panel.first-listed.top\n");
    let settings = format!(
        "[state]\ndir = {:?}\n[control]\nenabled = false\n[fuse]\ndedup_secs = 1\n[[intel.feeds]]\nname = \"panels\"\npath = {feed:?}\n\
         kind = \"list\"\ncategory = \"malware\"\n",
        pair.path("state")
    );
    let config = pair.write("config.toml", &settings);
    let server = serve(&pair.sensor, 3);
    let mut agent = pair.start_ready(AGENT, &["--config", &config, "--alerts", &pair.arg("alerts.ndjson")]);

    // Told at once, and nothing is told of a name that no feed holds.
    browse(&pair.peer, "panel.first-listed.top");
    browse(&pair.peer, "panel.second-listed.top");
    let of_the_first = || alerts_of(&pair, "panel.first-listed.top");
    eventually("no alert names the listed host", || !of_the_first().is_empty());
    let told = of_the_first().swap_remove(0);
    assert_eq!(told["ids"]["witnesses"][0]["witness"], "intel", "{told}");
    let id = told["ids"]["incident"].as_str().unwrap();

    // Its evidence gives the same result again. It may be a moment behind the alert.
    let explain = || ids(&["explain", "--config", &config, id]);
    eventually("there is no evidence", || explain().code == Some(0));
    let explained = explain();
    assert_eq!(explained.code, Some(0), "{explained:?}");
    assert!(explained.out.contains("panel.first-listed.top"), "{}", explained.out);

    // A feed that changed is taken up on SIGHUP, and so is what somebody says of an alert.
    fs::write(&feed, "panel.first-listed.top\npanel.second-listed.top\n").unwrap();
    let said = ids(&["feedback", "--config", &config, id, "false", "--note", "our own panel"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    agent.signal(Signal::HUP);
    agent.await_page("/metrics", |_, page| value(page, "ids_intel_loads_total{feed=\"panels\"}") >= 2.0);
    // Beyond `dedup_secs`, so that only feedback can keep it from being told as new.
    thread::sleep(Duration::from_secs(2));
    browse(&pair.peer, "panel.first-listed.top");
    agent.await_page("/metrics", |_, page| value(page, "ids_findings_silenced_total{by=\"feedback\"}") >= 1.0);
    server.join().unwrap();

    agent.signal(Signal::TERM);
    let ran = agent.end();
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let alerts = alerts_of(&pair, "first-listed");
    assert_eq!(alerts.iter().filter(|alert| alert["ids"]["stage"] == "opened").count(), 1, "{alerts:?}");
}
