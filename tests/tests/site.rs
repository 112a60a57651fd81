//! A site of its own: calibrated on captures, its devices known to replay, its state kept by `run`'s rules.
#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that fails")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use ids_tests::{
    archive,
    capture::{ETHERNET, pcap},
    program::{self, Ran, names_in},
    scene::{Answer, MS, SECOND, Said, Scene, end},
};
use serde_json::Value;
use tempfile::TempDir;

const AGENT: &str = env!("CARGO_BIN_EXE_agent");
const HOUR: u64 = 3_600 * SECOND;
const CAMERA: [u8; 4] = [10, 0, 0, 23];

fn ids(args: &[&str]) -> Ran {
    Ran::of(&program::command(AGENT, args).output().unwrap())
}

/// Bytes without a pattern that anyone looks for.
fn noise(length: usize) -> Vec<u8> {
    (0..length as u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

/// A camera that reports to its maker now and then, without a beat, and sends a picture each hour.
fn ordinary(scene: &mut Scene, hours: u64) {
    for hour in 0..hours {
        for at in 0..25u64 {
            let start_ns = hour * HOUR + (at * 120 + (at * 7_919 + hour * 104_729) % 110) * SECOND;
            let port = 40_000 + (hour * 25 + at) as u16;
            let size = if at == 12 { 20_000 } else { 300 + (at as usize * 37) % 200 };
            let said = [Said::Client(noise(size)), Said::Server(noise(250))];
            scene.talk(start_ns, end(CAMERA, port), end([203, 0, 113, 5], 443), 30 * MS, &said);
        }
    }
}

/// Five uploads to a host and a port that the camera never spoke to.
fn odd() -> Vec<u8> {
    let mut scene = Scene::default();
    for at in 0..5u64 {
        let said = [Said::Client(noise(400_000)), Said::Server(noise(40))];
        let (client, server) = (end(CAMERA, 51_000 + at as u16), end([198, 51, 100, 9], 23));
        scene.talk(at * 5 * SECOND, client, server, 30 * MS, &said);
    }
    pcap(ETHERNET, &scene.into_frames())
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

    fn write(&self, name: &str, bytes: &[u8]) -> String {
        fs::write(self.path(name), bytes).unwrap();
        self.path(name)
    }

    fn ordinary(&self, hours: u64, more: impl FnOnce(&mut Scene)) -> String {
        let mut scene = Scene::default();
        ordinary(&mut scene, hours);
        more(&mut scene);
        self.write("ordinary.pcap", &pcap(ETHERNET, &scene.into_frames()))
    }

    fn calibrate(&self, capture: &str) -> Ran {
        let models = models();
        ids(&["calibrate", "--captures", capture, "--out", &self.path("site"), "--models", &models, "--json"])
    }

    /// Kinds that the anomaly witness gave to flows of `capture`.
    fn kinds(&self, capture: &str, config: &str) -> BTreeSet<String> {
        let config = self.write("config.toml", config.as_bytes());
        let flows = self.path("flows.ndjson");
        let ran = ids(&["replay", "--config", &config, "--models", &models(), "--flows", &flows, capture]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let text = fs::read_to_string(&flows).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines
            .flat_map(|line| line["ids"]["witnesses"].as_array().cloned().unwrap_or_default())
            .filter(|said| said["witness"] == "anomaly")
            .map(|said| said["kind"].as_str().unwrap().to_owned())
            .collect()
    }
}

fn models() -> String {
    let models: PathBuf = archive::root().join("models");
    models.to_str().unwrap().to_owned()
}

#[test]
fn a_calibrated_site_knows_its_devices_and_finds_what_is_unusual_for_them() {
    let place = Place::new();
    let capture = place.ordinary(30, |_| {});
    let ran = place.calibrate(&capture);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let found: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(found["site"]["flows"], 750);
    assert_eq!(found["devices_known"], 1, "{found}");
    assert_eq!(found["suspects_all"], 0, "{found}");
    assert_eq!(names_in(Path::new(&place.path("site"))), ["site-state.bin", "site.toml"]);
    // Twice the same, to the byte.
    let first = ["site.toml", "site-state.bin"].map(|name| fs::read(place.path("site") + "/" + name).unwrap());
    assert_eq!(place.calibrate(&capture).code, Some(0));
    let second = ["site.toml", "site-state.bin"].map(|name| fs::read(place.path("site") + "/" + name).unwrap());
    assert_eq!(first, second);

    let listed = ids(&["devices", "--state", &place.path("site/site-state.bin"), "--json"]);
    let listed: Value = serde_json::from_str(&listed.out).unwrap();
    let camera = &listed["devices"][0];
    assert_eq!((&camera["address"], &camera["role"]), (&Value::from("10.0.0.23"), &Value::from("client")));
    assert_eq!(camera["services"], serde_json::json!(["443/tcp"]));
    let table = ids(&["devices", "--state", &place.path("site/site-state.bin")]);
    assert!(table.code == Some(0) && table.out.contains("10.0.0.23") && table.out.contains("known"), "{table:?}");

    let odd = place.write("odd.pcap", &odd());
    let site = format!("[site]\nfile = \"{}\"\n", place.path("site/site.toml"));
    assert!(!place.kinds(&odd, "").contains("unusual_for_device"));
    assert!(place.kinds(&odd, &site).contains("unusual_for_device"));
    // Its own ordinary life is quiet under its own site.
    assert_eq!(place.kinds(&capture, &site), BTreeSet::new());
}

#[test]
fn too_little_is_refused_with_what_is_needed() {
    let place = Place::new();
    let ran = place.calibrate(&place.ordinary(2, |_| {}));
    ran.fails(1, &["too little to calibrate on: 50 flows", "at least 500 flows", "capture longer"]);
    assert!(!Path::new(&place.path("site")).exists());
}

#[test]
fn an_attack_in_the_captures_is_named_and_nothing_is_learned_around_it() {
    let place = Place::new();
    let capture = place.ordinary(30, |scene| {
        for number in 0..100u16 {
            let at_ns = 10 * HOUR + u64::from(number) * 20 * MS;
            scene.probe(at_ns, end([10, 0, 0, 66], 42_000 + number), end([10, 0, 0, 9], 1 + number), Answer::Closed);
        }
    });
    let ran = place.calibrate(&capture);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let found: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(found["site"]["flows_left_out"], 100, "{found}");
    assert_eq!(found["suspects"][0]["class"], "port_scan", "{found}");
    let listed = ids(&["devices", "--state", &place.path("site/site-state.bin")]);
    assert!(!listed.out.contains("10.0.0.66"), "{listed:?}");
}

#[test]
fn captures_that_are_mostly_attack_are_refused() {
    let place = Place::new();
    let capture = place.ordinary(30, |scene| {
        for number in 0..1_000u16 {
            let at_ns = 10 * HOUR + u64::from(number) * 20 * MS;
            scene.probe(at_ns, end([10, 0, 0, 66], 42_000 + number), end([10, 0, 0, 9], 1 + number), Answer::Closed);
        }
    });
    place.calibrate(&capture).fails(1, &["this traffic is not ordinary", "1000 of 1750 flows"]);
}

#[test]
fn a_site_file_that_is_wrong_or_misses_its_state_is_a_mistake_of_the_configuration() {
    let place = Place::new();
    let capture = place.ordinary(1, |_| {});
    let seen = "seen_from = ''\nseen_until = ''\nhours = 1.0\ncaptures = 1\nflows = 1\nflows_left_out = 0\n";
    let floor =
        "[[floor]]\nclass = 'flood'\nkind = 'syn'\nmeasure = 'times'\nwas = 1.0\nfloor = 2.0\nflows = 1\nstill = 0\n";
    for (text, part) in [
        (format!("format = 9\n{seen}calls_per_day = 1.0\n"), "format = 9 is not 1"),
        (format!("format = 1\n{seen}calls_per_day = 1.0\nstate = 'gone.bin'\n"), "gone.bin"),
        (format!("format = 1\n{seen}calls_per_day = 1.0\n{floor}witness = 'oracle'\n"), "no witness `oracle`"),
    ] {
        let site = place.write("site.toml", text.as_bytes());
        let config = place.write("config.toml", format!("[site]\nfile = \"{site}\"\n").as_bytes());
        let ran = ids(&["replay", "--config", &config, "--models", &models(), &capture]);
        ran.fails(78, &[part]);
    }
}
