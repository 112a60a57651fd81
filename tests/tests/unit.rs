//! The files for systemd: nothing in them that it complains about, and how far they shut the service in.
#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that fails")]

use std::{fs, path::Path, process::Command};

use ids_tests::probe::{Need, can_run};
use tempfile::TempDir;

const AGENT: &str = env!("CARGO_BIN_EXE_agent");

/// The unit with these drop-ins, naming a program that is there.
fn unit(drop_ins: &[&str]) -> (TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let systemd = Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd");
    let text = fs::read_to_string(systemd.join("ids-agent.service")).unwrap().replace("/usr/bin/ids-agent", AGENT);
    let unit = dir.path().join("ids-agent.service");
    fs::write(&unit, text).unwrap();
    let folder = dir.path().join("ids-agent.service.d");
    fs::create_dir(&folder).unwrap();
    for name in drop_ins {
        fs::copy(systemd.join(name), folder.join(name)).unwrap();
    }
    (dir, unit.to_str().unwrap().to_owned())
}

/// It ends with 0 whatever it has to say, so what it says counts.
#[track_caller]
fn verify(drop_ins: &[&str]) {
    let (_dir, unit) = unit(drop_ins);
    let output = Command::new("systemd-analyze").args(["verify", "--man=no", &unit]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.trim().is_empty(), "with {drop_ins:?}: {said}");
}

#[test]
fn systemd_complains_about_nothing() {
    if !can_run("unit", &[Need::Tool("systemd-analyze")]) {
        return;
    }
    for drop_ins in [&[][..], &["limits.conf"], &["managed-suricata.conf"], &["limits.conf", "managed-suricata.conf"]] {
        verify(drop_ins);
    }
}

#[test]
fn the_service_is_exposed_by_two_points_of_ten_at_most() {
    if !can_run("unit", &[Need::Tool("systemd-analyze")]) {
        return;
    }
    let (_dir, unit) = unit(&[]);
    let output =
        Command::new("systemd-analyze").args(["security", "--offline=true", "--threshold=20", &unit]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
