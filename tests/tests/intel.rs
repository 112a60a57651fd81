//! Threat intelligence as a user meets it: feeds in the configuration, alerts that name them, and the verb that asks them.
#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that fails")]

use std::fs;

use ids_tests::{
    capture::{ETHERNET, pcap},
    program::{self, Ran},
    scene::{Scene, end},
};
use serde_json::Value;
use tempfile::TempDir;

const AGENT: &str = env!("CARGO_BIN_EXE_agent");

fn ids(args: &[&str]) -> Ran {
    Ran::of(&program::command(AGENT, args).output().unwrap())
}

struct Place {
    dir: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        fs::write(self.dir.path().join(name), bytes).unwrap();
        self.path(name)
    }

    fn lines(&self, name: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.dir.path().join(name)).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// A host that asks for an ordinary name, for one that a feed lists, and for one that is merely odd.
fn lookups() -> Vec<u8> {
    let mut scene = Scene::default();
    for (at, name) in ["www.example.org", "gate.evil-site.net", "odd-site.net"].into_iter().enumerate() {
        let port = 50_000 + at as u16;
        scene.lookup(at as u64 * 300_000_000, end([10, 0, 0, 5], port), end([10, 0, 0, 1], 53), name, [192, 0, 2, 1]);
    }
    pcap(ETHERNET, &scene.into_frames())
}

#[test]
fn a_replay_names_the_feed_and_leaves_the_other_flows_alone() {
    let place = Place::new();
    let capture = place.write("lookups.pcap", lookups());
    let bad = place.write("malware.txt", "# ours\nevil-site.net\n");
    let odd = place.write("suspicious.txt", "odd-site.net\nexample.org\n");
    let broken = place.write("broken.txt", "<html>not found</html>");
    let config = place.write(
        "config.toml",
        format!(
            "[detect]\nclassifier = false\nanomaly = false\n\
             [[intel.feeds]]\nname = \"ours\"\npath = \"{bad}\"\n\
             [[intel.feeds]]\nname = \"oddities\"\npath = \"{odd}\"\n\
             [[intel.feeds]]\nname = \"broken\"\npath = \"{broken}\"\n"
        ),
    );
    let (alerts, flows) = (place.path("alerts.ndjson"), place.path("flows.ndjson"));
    let ran = ids(&["replay", "--config", &config, "--alerts", &alerts, "--flows", &flows, &capture]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.err.contains("broken") && ran.err.contains("is a web page"), "{ran:?}");
    let classes: Vec<String> =
        place.lines("flows.ndjson").iter().map(|flow| flow["ids"]["class"].to_string()).collect();
    assert_eq!(classes.iter().filter(|class| *class == "\"c2\"").count(), 1, "{classes:?}");
    assert_eq!(classes.iter().filter(|class| *class == "\"benign\"").count(), 2, "{classes:?}");
    let alerts = place.lines("alerts.ndjson");
    assert_eq!(alerts.len(), 1, "{alerts:?}");
    let told = &alerts[0]["ids"];
    assert_eq!((told["class"].as_str(), told["kind"].as_str()), (Some("c2"), Some("known_domain")));
    let reason = told["reason"].as_str().unwrap();
    assert!(reason.contains("evil-site.net") && reason.contains("feed ours"), "{reason}");
}

#[test]
fn the_same_capture_is_silent_where_the_name_is_allowed() {
    let place = Place::new();
    let capture = place.write("lookups.pcap", lookups());
    let bad = place.write("malware.txt", "evil-site.net\n");
    let feed = format!("[[intel.feeds]]\nname = \"ours\"\npath = \"{bad}\"\n");
    let flows = place.path("flows.ndjson");
    for (allow, c2) in [("", 1), ("allow = [\"gate.evil-site.net\"]", 0)] {
        let config = place
            .write("config.toml", format!("[intel]\n{allow}\n{feed}[detect]\nclassifier = false\nanomaly = false\n"));
        let ran = ids(&["replay", "--config", &config, "--flows", &flows, &capture]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let found = place.lines("flows.ndjson").iter().filter(|flow| flow["ids"]["class"] == "c2").count();
        assert_eq!(found, c2, "{allow}");
    }
    let wrong = place.write("wrong.toml", format!("[intel]\nallow = [\"no such thing\"]\n{feed}"));
    assert_eq!(ids(&["replay", "--config", &wrong, &capture]).code, Some(78));
}

#[test]
fn feeds_are_checked_and_asked() {
    let place = Place::new();
    let bad = place.write("malware.txt", "evil-site.net\n203.0.113.7:443\n/gate.php\nplain words\n");
    let page = place.write("page.txt", "<!doctype html><title>404</title>");
    let ran = ids(&["intel", "check", "--json", &bad, &page]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let told: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(told[0]["indicators"], 2);
    assert_eq!((&told[0]["kinds"]["domain"], &told[0]["kinds"]["address_port"]), (&1.into(), &1.into()));
    assert_eq!((&told[0]["left_out"]["garbage"], &told[0]["left_out"]["unused"]), (&1.into(), &1.into()));
    assert!(told[1]["refused"].as_str().unwrap().contains("is a web page"));
    assert_eq!(ids(&["intel", "check", &bad]).code, Some(0));

    let ran = ids(&[
        "intel",
        "lookup",
        "--json",
        "--feed",
        &bad,
        "a.evil-site.net",
        "203.0.113.7:443",
        "203.0.113.7",
        "github.com",
    ]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let told: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((&told[0]["indicator"], &told[0]["category"]), (&"evil-site.net".into(), &"malware".into()));
    assert_eq!(told[1]["kind"], "address_port");
    assert!(told[2]["indicator"].is_null());
    assert!(told[3]["why"].as_str().unwrap().contains("never matches"));
    assert_eq!(ids(&["intel", "lookup", "--feed", &bad, "example.org"]).code, Some(1));
    assert_eq!(ids(&["intel", "lookup", "example.org", "--config", &place.write("empty.toml", "")]).code, Some(64));
}
