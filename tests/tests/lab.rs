//! The lab's own runs: captures that exist, labels that mean what they say, and nothing left behind.
#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that fails")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use ids_tests::{
    labels,
    probe::{Need, can_run},
    replay::replay_file,
};
use rustix::process::{Pid, Signal, kill_process};

const NEEDS: [Need<'static>; 7] = [
    Need::Root,
    Need::Tool("ip"),
    Need::Tool("nsenter"),
    Need::Tool("unshare"),
    Need::Tool("ethtool"),
    Need::Tool("tcpdump"),
    Need::Tool("nmap"),
];

/// The program of tasks, which the build of the tests puts beside them.
fn xtask() -> Option<PathBuf> {
    let here = std::env::current_exe().unwrap();
    let program = here.parent()?.parent()?.join("xtask");
    can_run("the lab", &[Need::File(&program)]).then_some(program)
}

fn start(program: &Path, out: &Path, words: &[&str]) -> Child {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    Command::new(program)
        .args(["lab", "--out"])
        .arg(out)
        .args(words)
        .current_dir(root)
        .env("CARGO_MANIFEST_DIR", root.join("xtask"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// What a lab of this process may leave: namespaces and a folder, both named after it.
fn left_by(pid: u32) -> Vec<String> {
    let prefix = format!("ids-lab-{pid}-");
    [Path::new("/run/netns"), &std::env::temp_dir()]
        .into_iter()
        .flat_map(|dir| fs::read_dir(dir).into_iter().flatten())
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with(&prefix))
        .collect()
}

#[test]
fn a_run_writes_a_capture_whose_label_picks_the_attack() {
    if !can_run("the lab", &NEEDS) {
        return;
    }
    let Some(program) = xtask() else { return };
    let dir = tempfile::tempdir().unwrap();
    let run = start(&program, dir.path(), &["--scenario", "scan-smoke", "--seed", "7"]);
    let pid = run.id();
    let output = run.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(left_by(pid), Vec::<String>::new());

    let labels = labels::of_folder(dir.path()).unwrap();
    assert_eq!(labels.len(), 1);
    let label = &labels[0];
    assert_eq!((label.family.as_str(), label.source.as_str()), ("PORT_SCAN", "lab+scan-smoke"));
    let replayed = replay_file(&dir.path().join(&label.path)).unwrap();
    let (attack, other): (Vec<_>, Vec<_>) = replayed.ended.iter().partition(|record| label.filter.matches(&record.key));
    // Forty ports were asked for, and some by two packets.
    assert!((40..=90).contains(&attack.len()), "{} flows of the attack", attack.len());
    let row = fs::read_to_string(dir.path().join("LABELS.tsv")).unwrap();
    let told: usize = row.lines().nth(1).unwrap().split('\t').nth(6).unwrap().parse().unwrap();
    assert!(attack.len().abs_diff(told) <= 5, "the row tells of {told}, the agent's flows are {}", attack.len());
    assert!(!other.is_empty(), "no machine says anything else");
}

#[test]
fn an_interrupted_run_leaves_nothing_behind() {
    if !can_run("the lab", &NEEDS) {
        return;
    }
    let Some(program) = xtask() else { return };
    let dir = tempfile::tempdir().unwrap();
    let run = start(&program, dir.path(), &["--scenario", "scan-smoke", "--seed", "7"]);
    let pid = run.id();
    let deadline = Instant::now() + Duration::from_secs(20);
    while left_by(pid).len() < 5 {
        assert!(Instant::now() < deadline, "the lab raises no network");
        thread::sleep(Duration::from_millis(50));
    }
    kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), Signal::INT).unwrap();
    let output = run.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    assert_eq!(left_by(pid), Vec::<String>::new());
    assert!(!dir.path().join("LABELS.tsv").exists(), "a run that was broken off is labelled");
}
