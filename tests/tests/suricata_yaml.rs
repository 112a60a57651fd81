//! The suricata.yaml that `generate suricata` writes: Suricata takes it, and it says what it should.
#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that fails")]

use std::{fs, os::unix::net::UnixListener, path::Path, process::Command};

use ids_tests::{
    netns::{Namespace, run, veth},
    pair::NEEDS,
    probe::{Need, can_run},
    program::{self, Ran},
};
use serde_json::Value;

const AGENT: &str = env!("CARGO_BIN_EXE_agent");

fn ids(args: &[&str]) -> Ran {
    Ran::of(&program::command(AGENT, args).output().unwrap())
}

/// The file for two interfaces of a namespace, as text.
fn generated(folder: &Path, args: &[&str]) -> String {
    let (gateway, client) = (Namespace::new("yaml"), Namespace::new("yaml"));
    veth(&gateway, "lan0", "192.168.77.1/24", &client, "c0", "");
    veth(&gateway, "wan0", "203.0.113.9/24", &client, "c1", "");
    let out = folder.join("suricata.yaml");
    let mut command = gateway.command(AGENT);
    command.args(["generate", "suricata", "--interface", "lan0,wan0", "--out"]).arg(&out).args(args);
    run(command.env("NO_COLOR", "1"));
    fs::read_to_string(out).unwrap()
}

fn config(folder: &Path) -> String {
    let path = folder.join("config.toml");
    let (run_dir, rules) = (folder.join("run"), folder.join("rules"));
    let text = format!("[suricata]\nrun_dir = {run_dir:?}\nrules_dir = {rules:?}\n");
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_generated_file_says_what_the_join_needs_and_fits_the_share() {
    if !can_run("the generated suricata.yaml", &NEEDS) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let text =
        generated(folder.path(), &["--config", &config(folder.path()), "--ram-mib", "1024", "--cpu-percent", "1"]);
    let yaml: Value = serde_saphyr::from_str(&text).unwrap();
    assert_eq!(yaml["vars"]["address-groups"]["HOME_NET"], "[192.168.77.0/24,203.0.113.9/32]");
    let names: Vec<&Value> = yaml["af-packet"].as_array().unwrap().iter().map(|place| &place["interface"]).collect();
    assert_eq!(names, ["lan0", "wan0"]);
    assert_eq!(yaml["af-packet"][0]["threads"], 1, "one CPU at least, and no more than its share");
    assert_ne!(yaml["af-packet"][0]["cluster-id"], yaml["af-packet"][1]["cluster-id"]);
    let eve = &yaml["outputs"][0]["eve-log"];
    assert_eq!(eve["filename"].as_str(), folder.path().join("run/eve.json").to_str());
    assert_eq!((&eve["community-id"], &eve["filetype"]), (&Value::Bool(true), &Value::from("regular")));
    for wanted in ["alert", "anomaly", "http", "dns", "tls", "files", "ssh", "smb", "stats", "flow"] {
        let types = eve["types"].as_array().unwrap();
        assert!(types.iter().any(|entry| entry == wanted || entry.get(wanted).is_some()), "{wanted}: {types:?}");
    }
    let cap = |path: &[&str]| {
        let value = path.iter().fold(&yaml, |value, key| &value[*key]).as_str().unwrap();
        value.strip_suffix("mb").unwrap().parse::<u64>().unwrap()
    };
    let caps = [
        cap(&["flow", "memcap"]),
        cap(&["stream", "memcap"]),
        cap(&["stream", "reassembly", "memcap"]),
        cap(&["defrag", "memcap"]),
        cap(&["host", "memcap"]),
        cap(&["app-layer", "protocols", "http", "memcap"]),
    ];
    let sum: u64 = caps.iter().sum();
    assert!((300..=512).contains(&sum), "tables of {sum} MiB of 1024: {caps:?}");
}

#[test]
fn suricata_takes_the_generated_file() {
    if !can_run("Suricata on the generated file", &[NEEDS.as_slice(), &[Need::Tool("suricata")]].concat()) {
        return;
    }
    for args in [&["--ram-mib", "192"][..], &["--ram-mib", "4096", "--cpu-percent", "100"], &["--eve-socket"]] {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path());
        generated(folder.path(), &[&["--config", &config], args].concat());
        let (rules, log) = (folder.path().join("suricata.rules"), folder.path().join("run"));
        fs::create_dir(&log).unwrap();
        // With nobody there it says that it will try again.
        let _listener = args.contains(&"--eve-socket").then(|| UnixListener::bind(log.join("eve.json")).unwrap());
        fs::write(&rules, "alert ip any any -> any any (msg:\"any\"; sid:1999999; rev:1;)\n").unwrap();
        let mut command = Command::new("suricata");
        command.arg("-T").arg("-c").arg(folder.path().join("suricata.yaml")).arg("-l").arg(log);
        let said = run(command.arg("-S").arg(&rules).arg("--init-errors-fatal"));
        let said = String::from_utf8_lossy(&said.stderr).into_owned() + &String::from_utf8_lossy(&said.stdout);
        assert!(!said.lines().any(|line| line.starts_with("W:") || line.contains("Warning:")), "{args:?}: {said}");
    }
}

#[test]
fn an_interface_that_is_not_there_is_named() {
    ids(&["generate", "suricata", "--interface", "no-such-if0"]).fails(64, &["interface `no-such-if0` does not exist"]);
    let folder = tempfile::tempdir().unwrap();
    ids(&["generate", "suricata", "--config", &config(folder.path())]).fails(64, &["no interface to watch"]);
}
