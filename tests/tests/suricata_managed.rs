//! Suricata run by the agent: started, watched, started again, given new rules, and ended. In namespaces of its own.
#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that fails")]

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, UdpSocket},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use ids_tests::{
    pair::{self, APART, PEER, Pair, SENSOR},
    probe::{Need, can_run},
    program::{self, Ran},
    running::{Running, eventually, value},
};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::Value;

const AGENT: &str = env!("CARGO_BIN_EXE_agent");

fn needs() -> Vec<Need<'static>> {
    [&pair::NEEDS[..], &[Need::Tool("suricata")]].concat()
}

const DNS_RULE: &str = "alert udp any any -> any 53 (msg:\"a question\"; threshold:type limit, track by_src, count 1, seconds 600; sid:1900901; rev:1;)\n";

struct Place {
    pair: Pair,
}

impl Place {
    fn new() -> Self {
        let pair = Pair::new("managed");
        pair.write("local.rules", DNS_RULE);
        Self { pair }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.pair.path(name)
    }

    /// A configuration with these lines under `[suricata]`.
    fn config(&self, lines: &str) -> String {
        let text = format!(
            "{APART}[alert]\npath = {:?}\n[suricata]\nmanage = true\nrun_dir = {:?}\nrules_dir = {:?}\nlocal_rules = {:?}\n{lines}\n",
            self.path("alerts.ndjson"),
            self.path("run"),
            self.path("rules"),
            self.path("local.rules"),
        );
        self.pair.write("config.toml", &text)
    }

    fn agent(&self, config: &str) -> Running<'_> {
        self.pair.start(AGENT, &["--config", config])
    }

    fn suricata(&self) -> Pid {
        let text = fs::read_to_string(self.path("run/suricata.pid")).unwrap();
        Pid::from_raw(text.trim().parse().unwrap()).unwrap()
    }

    /// Asks the sensor for names.
    fn ask(&self, names: std::ops::Range<u32>) {
        self.pair.peer.run(|| {
            let socket = UdpSocket::bind((PEER, 0)).unwrap();
            for number in names {
                let mut question = vec![(number >> 8) as u8, number as u8, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
                question.extend(format!("\x09n{number:08}\x07example\x00").bytes());
                question.extend([0, 1, 0, 1]);
                // Nobody listens there, and the kernel says so now and then.
                let _ = socket.send_to(&question, (SENSOR, 53));
                if number.is_multiple_of(100) {
                    thread::sleep(Duration::from_millis(20));
                }
            }
        });
    }

    fn alerts(&self) -> usize {
        let files =
            ["run/eve.json.1", "run/eve.json"].map(|name| fs::read_to_string(self.path(name)).unwrap_or_default());
        files.iter().flat_map(|text| text.lines()).filter(|line| line.contains("\"event_type\":\"alert\"")).count()
    }
}

fn ids(args: &[&str]) -> Ran {
    Ran::of(&program::command(AGENT, args).output().unwrap())
}

/// How many an update says it put in force: suricata-update adds the event rules that Suricata's package brings.
fn rules_of(ran: &Ran) -> f64 {
    let (before, _) = ran.out.split_once(" rules").unwrap();
    before.rsplit(' ').next().unwrap().replace(',', "").parse().unwrap()
}

fn answers(page: &str, starts: f64, rules: f64) -> bool {
    value(page, "ids_suricata_process_answers") == 1.0
        && value(page, "ids_suricata_process_starts_total") == starts
        && value(page, "ids_suricata_rules_in_force{state=\"loaded\"}") == rules
}

#[test]
fn suricata_is_started_started_again_and_ended_with_the_agent() {
    if !can_run("the managed Suricata", &needs()) {
        return;
    }
    let place = Place::new();
    let config = place.config("eve_mib = 1");
    let mut agent = place.agent(&config);
    let page = agent.await_page("/metrics", |_, page| answers(page, 1.0, 1.0));
    assert_eq!(value(&page, "ids_suricata_process_running"), 1.0);
    assert!(value(&page, "ids_suricata_process_resident_memory_bytes") > 10e6, "{page}");
    assert!(value(&page, "ids_suricata_process_cpu_seconds_total") > 0.0, "{page}");
    place.ask(0..3);
    eventually("no alert in eve.json", || place.alerts() == 1);

    // About 300 bytes for each question.
    place.ask(0..6_000);
    agent.await_page("/metrics", |_, page| value(page, "ids_suricata_eve_rotated_total") >= 1.0);
    eventually("eve.json was not opened again", || {
        place.path("run/eve.json").exists() && place.path("run/eve.json.1").exists()
    });

    // Somebody else's rules, while it runs; then a mistake, which changes nothing; then the way back.
    let more = place.path("more.rules");
    fs::write(&more, "alert udp any any -> any 5353 (msg:\"more\"; sid:1900902; rev:1;)\n").unwrap();
    if can_run("the update of rules", &[Need::Tool("suricata-update")]) {
        let update = || ids(&["rules", "update", "--source", more.to_str().unwrap(), "--config", &config]);
        let ran = update();
        assert!(ran.code == Some(0) && ran.out.contains("taken by the Suricata that runs"), "{ran:?}");
        let rules = rules_of(&ran);
        assert!(rules >= 2.0, "{ran:?}");
        agent.await_page("/metrics", |_, page| answers(page, 1.0, rules));
        let wrong = |number| format!("alert udp any any -> any 5353 (msg:\"more\"; nonsense; sid:{number}; rev:1;)\n");
        fs::write(&more, (1_901_000..1_901_050).map(wrong).collect::<String>()).unwrap();
        update().fails(1, &["`suricata -T` refuses the rules", "nonsense", "stay in force"]);
        let ran = ids(&["rules", "rollback", "--config", &config]);
        assert!(ran.code == Some(0) && ran.out.contains("1 rules; taken by the Suricata that runs"), "{ran:?}");
        agent.await_page("/metrics", |_, page| answers(page, 1.0, 1.0));
    }

    let first = place.suricata();
    kill_process(first, Signal::KILL).unwrap();
    agent.await_page("/metrics", |_, page| answers(page, 2.0, 1.0));
    let second = place.suricata();
    assert_ne!(first, second);
    agent.signal(Signal::TERM);
    let ran = agent.end();
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.err.contains("ended by itself with signal 9"), "{}", ran.err);
    assert!(test_kill_process(second).is_err(), "it outlived the agent");
}

#[test]
fn a_killed_agent_takes_suricata_with_it_and_the_next_one_starts_anew() {
    if !can_run("the managed Suricata after a kill", &needs()) {
        return;
    }
    let place = Place::new();
    let config = place.config("");
    let mut agent = place.agent(&config);
    agent.await_page("/metrics", |_, page| answers(page, 1.0, 1.0));
    let first = place.suricata();
    agent.signal(Signal::KILL);
    drop(agent);
    let mut agent = place.agent(&config);
    agent.await_page("/metrics", |_, page| answers(page, 1.0, 1.0));
    eventually("two of them run", || test_kill_process(first).is_err());
    agent.signal(Signal::TERM);
    assert_eq!(agent.end().code, Some(0));
}

#[test]
fn without_suricata_and_with_one_that_fails_at_once_detection_goes_on() {
    if !can_run("the agent without Suricata", &pair::NEEDS) {
        return;
    }
    let place = Place::new();
    let broken = place.path("broken");
    fs::write(&broken, "#!/bin/sh\necho 'E: af-packet: it is broken'\nexit 7\n").unwrap();
    fs::set_permissions(&broken, fs::Permissions::from_mode(0o755)).unwrap();
    for (program, starts, says) in [
        (Path::new("/nowhere/suricata"), 0.0, "there is no program `/nowhere/suricata`"),
        (&broken, 2.0, "ended by itself with exit code 7"),
    ] {
        let config = place.config(&format!("program = {program:?}"));
        let mut agent = place.agent(&config);
        agent.await_page("/readyz", |code, _| code == 200);
        let page = agent.await_page("/metrics", |_, page| value(page, "ids_suricata_process_starts_total") >= starts);
        assert_eq!(value(&page, "ids_suricata_process_answers"), 0.0);
        place.ask(0..20);
        agent.await_page("/metrics", |_, page| value(page, "ids_flows_started_total") >= 1.0);
        assert_eq!(agent.get("/healthz").map(|(code, _)| code), Some(200));
        agent.signal(Signal::TERM);
        let ran = agent.end();
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert!(ran.err.contains(says), "{}", ran.err);
        if starts > 0.0 {
            assert!(ran.err.contains("it is broken"), "{}", ran.err);
        }
    }
}

/// Serves one file to whoever asks, so often.
fn serve(listener: TcpListener, body: &'static str, times: usize) {
    for stream in listener.incoming().take(times) {
        let mut stream = stream.unwrap();
        let mut request = [0; 1_024];
        let read = stream.read(&mut request).unwrap_or(0);
        let found = request[..read].starts_with(b"GET /x.rules ");
        let (status, body) = if found { ("200 OK", body) } else { ("404 Not Found", "") };
        let length = body.len();
        // It may not wait for the answer.
        let _ = write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
    }
}

#[test]
fn rules_are_fetched_tested_swapped_and_taken_back() {
    if !can_run("the update of rules", &[Need::Tool("suricata"), Need::Tool("suricata-update")]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("config.toml");
    let (rules, local) = (dir.path().join("rules"), dir.path().join("local.rules"));
    fs::write(&local, DNS_RULE).unwrap();
    let text = format!("[suricata]\nrun_dir = {:?}\nrules_dir = {rules:?}\nlocal_rules = {local:?}\n", dir.path());
    fs::write(&config, text).unwrap();
    let config = config.to_str().unwrap();
    let status =
        || -> Value { serde_json::from_str(&ids(&["rules", "status", "--json", "--config", config]).out).unwrap() };
    assert_eq!(status()["current"], Value::Null);
    ids(&["rules", "rollback", "--config", config]).fails(1, &["no release before this one"]);

    // Of a server on this machine.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/x.rules", listener.local_addr().unwrap());
    // It also asks for a checksum beside the file.
    thread::spawn(|| serve(listener, "alert tcp any any -> any 7 (msg:\"seven\"; sid:1900903; rev:1;)\n", 4));
    let ran = ids(&["rules", "update", "--source", &url, "--config", config]);
    assert!(ran.code == Some(0) && ran.out.starts_with("release 1: "), "{ran:?}");
    assert!(ran.out.contains("taken when Suricata starts") && rules_of(&ran) >= 2.0, "{ran:?}");
    let first = rules_of(&ran);
    assert!(fs::read_to_string(rules.join("current/suricata.rules")).unwrap().contains("sid:1900903"));
    assert!(fs::read_to_string(rules.join("current/local.rules")).unwrap().contains("sid:1900901"));

    // One in a hundred that this Suricata cannot compile is left out; the rest is taken.
    let folder = dir.path().join("source");
    fs::create_dir(&folder).unwrap();
    let rule = |number: u32, extra: &str| {
        format!("alert tcp any any -> any {number} (msg:\"n\"; {extra}sid:{}; rev:1;)\n", 1_901_000 + number)
    };
    let mut many: String = (1..=100).map(|number| rule(number, "")).collect();
    many.push_str(&rule(101, "nonsense; "));
    fs::write(folder.join("many.rules"), &many).unwrap();
    let update = || ids(&["rules", "update", "--source", folder.to_str().unwrap(), "--config", config]);
    let ran = update();
    assert!(ran.code == Some(0) && ran.out.contains("rules, 1 left out"), "{ran:?}");
    assert_eq!(rules_of(&ran), first + 99.0, "a hundred in place of one");
    assert!(update().out.contains("the sources hold what is in force"));
    let now = status();
    assert_eq!((&now["current"]["release"], &now["current"]["left_out"]), (&Value::from(2), &Value::from(1)));
    assert_eq!(now["previous"]["release"], 1);

    // Many are a mistake of whoever made them, and a mistake of one's own is always one: nothing changes.
    for number in 102..=150 {
        many.push_str(&rule(number, "nonsense; "));
    }
    fs::write(folder.join("many.rules"), &many).unwrap();
    update().fails(1, &["refuses the rules", "stay in force"]);
    fs::write(folder.join("many.rules"), rule(1, "")).unwrap();
    fs::write(&local, rule(2, "nonsense; ")).unwrap();
    update().fails(1, &["refuses the rules", "stay in force"]);
    ids(&["rules", "update", "--source", "http://127.0.0.1:9/x.rules", "--config", config])
        .fails(1, &["suricata-update failed"]);
    assert_eq!(status()["current"]["release"], 2);

    let ran = ids(&["rules", "rollback", "--config", config]);
    assert!(ran.out.starts_with("release 1: ") && rules_of(&ran) == first, "{ran:?}");
    let now = status();
    assert_eq!((&now["current"]["release"], &now["previous"]["release"]), (&Value::from(1), &Value::from(2)));
    assert!(fs::read_to_string(rules.join("current/suricata.rules")).unwrap().contains("sid:1900903"));
}
