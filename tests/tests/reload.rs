//! A running agent whose files change under it: what is sound comes into force, what is not is refused whole, and flows go
//! on either way.
#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that fails")]

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    thread,
    time::Duration,
};

use ids_tests::{
    pair::{NEEDS, PEER, Pair, SENSOR, WATCHED},
    probe::can_run,
    program::Ran,
    running::{Running, eventually, sum, value},
};
use rustix::process::Signal;
use serde_json::Value;

const AGENT: &str = env!("CARGO_BIN_EXE_agent");

struct Scene {
    pair: Pair,
}

impl Scene {
    fn new() -> Self {
        Self { pair: Pair::new("reload") }
    }

    /// Writes the configuration: what all tests need, and this behind it. Reloads wait for a tick, so ticks are short.
    fn configure(&self, detect: &str, rest: &str) {
        let text = format!(
            "[detect]\nclassifier = false\nanomaly = false\ndga = false\n{detect}\n[state]\nenabled = false\n[evidence]\n\
             keep = 0\n[flow]\ntick_millis = 100\n[control]\npath = {:?}\n{rest}\n",
            self.pair.path("control.sock")
        );
        self.pair.write("config.toml", &text);
    }

    fn start(&self) -> Running<'_> {
        let [config, alerts, flows] = ["config.toml", "alerts.ndjson", "flows.ndjson"].map(|name| self.pair.arg(name));
        self.pair.start_ready(AGENT, &["--config", &config, "--alerts", &alerts, "--flows", &flows])
    }

    fn ask(&self, args: &[&str]) -> Ran {
        self.pair.ask(AGENT, args)
    }

    fn reload(&self) -> Value {
        let ran = self.ask(&["reload", "--json"]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        serde_json::from_str(&ran.out).unwrap()
    }
}

fn allow() -> String {
    format!("[[fuse.allow]]\nsource = \"{PEER}\"\nuntil = 2099-01-01\nreason = \"weekly audit\"\n")
}

fn alerts_of_scans(page: &str) -> f64 {
    sum(page, "ids_alerts_total{class=\"port_scan\"")
}

#[test]
fn a_good_change_takes_effect_and_what_needs_a_restart_is_named() {
    if !can_run("reload", &NEEDS) {
        return;
    }
    let scene = Scene::new();
    scene.configure("", &allow());
    let mut agent = scene.start();
    scene.pair.knock(1_000..1_100);
    let page = agent.await_page("/metrics", |_, page| value(page, "ids_findings_silenced_total{by=\"allow\"}") >= 1.0);
    assert_eq!(alerts_of_scans(&page), 0.0, "the allow list holds");

    scene.configure("", "[capture]\nring_bytes = 65536\n[fuse]\ndedup_secs = 7\n");
    let done = scene.reload();

    assert_eq!(done["changed"], serde_json::json!(["fuse.allow", "fuse.dedup_secs"]), "{done}");
    assert_eq!(done["needs_restart"], serde_json::json!(["capture.ring_bytes"]), "{done}");
    assert_eq!(done["rebuilt"], serde_json::json!([]), "{done}");
    // Enough more that the scan has doubled, whatever of it was told before.
    scene.pair.knock(2_000..2_600);
    agent.await_page("/metrics", |_, page| alerts_of_scans(page) >= 1.0);

    // Behaviour's rules are a file of their own; the detector is built again when it changes.
    scene.configure("behaviour = false", "");
    assert_eq!(scene.reload()["rebuilt"], serde_json::json!(["behaviour"]));
    let told = scene.ask(&["reload"]);
    assert!(told.out.starts_with("reloaded; nothing that can change"), "{told:?}");
    assert_eq!(scene.ask(&["status"]).code, Some(0));
}

#[test]
fn a_bad_file_is_refused_whole_with_its_place_and_the_old_rules_stay() {
    if !can_run("refused reloads", &NEEDS) {
        return;
    }
    let scene = Scene::new();
    let (feed, rules, models) = (scene.pair.path("feed.txt"), scene.pair.path("rules.toml"), scene.pair.path("models"));
    scene.configure("", &allow());
    let mut agent = scene.start();
    let config = scene.pair.path("config.toml");
    let config = config.to_str().unwrap();
    fs::create_dir_all(models.join("classifier")).unwrap();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/classifier");
    for entry in fs::read_dir(shipped).unwrap().flatten().filter(|entry| entry.path().is_file()) {
        fs::copy(entry.path(), models.join("classifier").join(entry.file_name())).unwrap();
    }
    let golden = models.join("classifier/golden.csv");
    let text = fs::read_to_string(&golden).unwrap();
    // The last number of the last vector is another.
    fs::write(&golden, format!("{}9\n", text.trim_end())).unwrap();
    fs::write(&rules, "[scan]\nno_such_key = 1\n").unwrap();
    let refused = |parts: &[&str]| {
        let ran = scene.ask(&["reload"]);
        ran.fails(1, parts);
    };

    fs::write(config, "[detect\n").unwrap();
    refused(&["config.toml:1: not valid TOML"]);
    scene.configure("", "[fuse]\ndedup_sec = 7\n");
    refused(&["config.toml:", "unknown key `dedup_sec` in [fuse]; did you mean `dedup_secs`?"]);
    scene.configure("", "[fuse]\ndedup_secs = 700000\n");
    refused(&["config.toml:", "fuse.dedup_secs = 700000 is out of range"]);
    scene.configure(&format!("behaviour_rules = {rules:?}"), "");
    refused(&["rules.toml:2: unknown key `no_such_key`"]);
    scene.configure("", &format!("[[intel.feeds]]\nname = \"bad\"\npath = {feed:?}\n"));
    refused(&["intel.feeds: feed `bad`", "feed.txt"]);
    let config_with_model = fs::read_to_string(config).unwrap().replace("classifier = false", "classifier = true");
    fs::write(config, config_with_model.replace("dga = false", &format!("dga = false\nmodels_dir = {models:?}")))
        .unwrap();
    refused(&["model", "classifier", "is refused"]);
    fs::remove_file(config).unwrap();
    refused(&["cannot read configuration"]);
    // A signal is told no more than a socket.
    agent.signal(Signal::HUP);

    scene.pair.knock(1_000..1_100);
    let page = agent.await_page("/metrics", |_, page| value(page, "ids_findings_silenced_total{by=\"allow\"}") >= 1.0);
    assert_eq!(alerts_of_scans(&page), 0.0, "the allow list of the start still holds");
    // And a sound file is taken again.
    scene.configure("", "");
    assert_eq!(scene.reload()["changed"], serde_json::json!(["fuse.allow"]));
    agent.signal(Signal::TERM);
    let ran = agent.end();
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(ran.err.matches("reload refused, all stays as it was").count(), 8, "{}", ran.err);
}

#[test]
fn sighup_reads_the_configuration_too() {
    if !can_run("SIGHUP", &NEEDS) {
        return;
    }
    let scene = Scene::new();
    scene.configure("", &allow());
    let agent = scene.start();
    scene.configure("", "");
    agent.signal(Signal::HUP);
    // It is under way, and may take a while; what is scanned before it is done is still allowed.
    let mut ports = (1_000..60_000).step_by(100).cycle();
    eventually("the allow list was not read again", || {
        let first = ports.next().unwrap();
        scene.pair.knock(first..first + 100);
        // A few scans a second are enough.
        thread::sleep(Duration::from_millis(300));
        alerts_of_scans(&agent.get("/metrics").unwrap().1) > 0.0
    });
    agent.signal(Signal::TERM);
    assert_eq!(agent.end().code, Some(0));
}

#[test]
fn a_flow_that_spans_reloads_ends_with_every_packet() {
    if !can_run("flows across a reload", &NEEDS) {
        return;
    }
    let scene = Scene::new();
    scene.configure("", "");
    let mut agent = scene.start();
    let listener = scene.pair.sensor.run(|| TcpListener::bind((SENSOR, 7_000)).unwrap());
    let mut client = scene.pair.peer.run(|| TcpStream::connect((SENSOR, 7_000)).unwrap());
    let (mut server, _) = listener.accept().unwrap();
    let mut bytes = [0; 64];
    for round in 0..40 {
        client.write_all(&[round; 64]).unwrap();
        server.read_exact(&mut bytes).unwrap();
        server.write_all(&bytes).unwrap();
        client.read_exact(&mut bytes).unwrap();
        if round % 10 == 5 {
            scene.configure("", &format!("[fuse]\ndedup_secs = {}\n", 100 + round));
            assert_eq!(scene.reload()["changed"], serde_json::json!(["fuse.dedup_secs"]));
            scene.configure("payload = false", &format!("[fuse]\ndedup_secs = {}\n", 100 + round));
            assert_eq!(scene.reload()["rebuilt"], serde_json::json!(["payload"]));
            scene.configure("", &format!("[fuse]\ndedup_secs = {}\n", 100 + round));
            assert_eq!(scene.reload()["rebuilt"], serde_json::json!(["payload"]));
        }
    }
    drop((client, server));
    let page = agent.await_page("/metrics", |_, page| value(page, "ids_flows_ended_total{reason=\"fin\"}") >= 1.0);
    let in_flows = value(&page, "ids_packets_in_flows_total");
    assert!(in_flows >= 80.0, "{in_flows}");
    assert_eq!(value(&page, "ids_flows_started_total"), 1.0, "one flow");
    agent.signal(Signal::TERM);
    let ran = agent.end();
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let flows = scene.pair.lines("flows.ndjson");
    assert_eq!(flows.len(), 1, "{flows:?}");
    let side = |name: &str| flows[0]["flow"][name].as_u64().unwrap();
    assert_eq!((side("pkts_toserver") + side("pkts_toclient")) as f64, in_flows, "{flows:?}");
    // The device's own count, less what is no flow.
    let stats = scene.pair.sensor.ip(&["-j", "-s", "link", "show", WATCHED]);
    let stats: Value = serde_json::from_slice(&stats.stdout).unwrap();
    let device = ["rx", "tx"].map(|way| stats[0]["stats64"][way]["packets"].as_u64().unwrap());
    let arp = value(&page, "ids_packets_skipped_total{reason=\"arp\"}");
    assert!(device.iter().sum::<u64>() as f64 >= in_flows + arp, "{device:?} {in_flows} {arp}");
}
