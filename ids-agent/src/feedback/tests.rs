//! What is written is read back, says exactly the alert's pattern, and stays the same when said twice.
#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::net::IpAddr;

use super::*;
use crate::evidence::{ExhibitRecord, FORMAT, FlowIdentity, Said};

const NOW: u64 = 1_800_000_000_500_000_000;
const DAY: u64 = NS_PER_DAY;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn bytes(text: &str) -> [u8; 16] {
    match ip(text) {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// An alert about SSH password guessing that an odd flow was folded into.
fn document(number: u64) -> Document {
    let said = |class, kind: &str| Said { class, kind: kind.to_owned(), sid: None };
    Document {
        format: FORMAT,
        id: format!("{number:016x}"),
        pattern: Pattern {
            source: Some(ip("10.0.0.7")),
            target: Some(ip("10.0.0.9")),
            target_port: Some(22),
            class: Class::BruteForce,
            kind: "ssh".to_owned(),
            said: vec![
                said(Class::BruteForce, "flow_statistics"),
                said(Class::BruteForce, "ssh"),
                said(Class::Anomaly, "unusual_flow"),
            ],
        },
        confidence: 0.5,
        scores: Vec::new(),
        reports: Vec::new(),
        alert: serde_json::Value::Null,
        exhibit: Some(ExhibitRecord {
            agent_version: "0.0.0-test".to_owned(),
            schema_hash: "00".to_owned(),
            flow: FlowIdentity {
                id: 1,
                community_id: String::new(),
                src: ip("10.0.0.7"),
                src_port: 40_000,
                dst: ip("10.0.0.9"),
                dst_port: 22,
                proto: 6,
                vlan: 0,
                start_ns: 1,
                end_ns: 2,
            },
            findings: Vec::new(),
            models: Vec::new(),
            features: BTreeMap::from([("fwd_packets".to_owned(), 3.0)]),
            payload: serde_json::Value::Null,
            string_bytes_max: 256,
            packets: Vec::new(),
        }),
        seal: String::new(),
    }
}

fn saying(verdict: Verdict, note: &str, now_ns: u64) -> Saying {
    Saying { verdict, note: note.to_owned(), days: 90, now: Timestamp::from_unix_ns(now_ns) }
}

fn labels(dir: &Path) -> Vec<Label> {
    let text = fs::read_to_string(dir.join(LABELS)).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn what_was_called_false_is_silenced_until_it_ends_and_nothing_wider() {
    let dir = tempfile::tempdir().unwrap();
    record(dir.path(), &document(1), &saying(Verdict::False, "backup", NOW)).unwrap();
    let allow = Feedback::load(&dir.path().join(FILE)).unwrap().allow();
    let covers = |source: &str, target: &str, port: u16, class: &str, kind: &str, now_ns: u64| {
        let (source, target) = (bytes(source), bytes(target));
        allow.iter().any(|entry| entry.covers(Some(&source), Some(&target), port, class, kind, now_ns))
    };
    assert!(covers("10.0.0.7", "10.0.0.9", 22, "brute_force", "ssh", NOW));
    assert!(covers("10.0.0.7", "10.0.0.9", 22, "brute_force", "flow_statistics", NOW + 89 * DAY));
    assert!(!covers("10.0.0.7", "10.0.0.9", 22, "brute_force", "ssh", NOW + 90 * DAY), "it has ended");
    for (source, target, port, class, kind) in [
        ("10.0.0.8", "10.0.0.9", 22, "brute_force", "ssh"),
        ("10.0.0.7", "10.0.0.8", 22, "brute_force", "ssh"),
        ("10.0.0.7", "10.0.0.9", 23, "brute_force", "ssh"),
        ("10.0.0.9", "10.0.0.7", 22, "brute_force", "ssh"),
        ("10.0.0.7", "10.0.0.9", 22, "port_scan", "ssh"),
        ("10.0.0.7", "10.0.0.9", 22, "brute_force", "ftp"),
        ("10.0.0.7", "10.0.0.9", 22, "brute_force", ""),
        ("10.0.0.7", "10.0.0.9", 22, "anomaly", "unusual_flow"),
        ("10.0.0.7", "10.0.0.9", 22, "exploit", "flow_statistics"),
    ] {
        assert!(!covers(source, target, port, class, kind, NOW), "{source} {target} {port} {class} {kind}");
    }
}

#[test]
fn a_finding_about_many_hosts_is_not_silenced_for_one_of_them() {
    let dir = tempfile::tempdir().unwrap();
    record(dir.path(), &document(1), &saying(Verdict::False, "", NOW)).unwrap();
    let allow = Feedback::load(&dir.path().join(FILE)).unwrap().allow();
    let source = bytes("10.0.0.7");
    assert!(allow.iter().all(|entry| !entry.covers(Some(&source), None, 22, "brute_force", "ssh", NOW)));
}

#[test]
fn the_file_is_read_back_as_it_was_written_whatever_the_note_holds() {
    let dir = tempfile::tempdir().unwrap();
    let note = "it's \"mine\"\n[[alert]]\nid = 'x'\u{1b}[2J\u{202e} \\ ü";
    for (number, verdict) in [(1, Verdict::False), (2, Verdict::True)] {
        record(dir.path(), &document(number), &saying(verdict, note, NOW)).unwrap();
    }
    let read = Feedback::load(&dir.path().join(FILE)).unwrap();
    assert_eq!(read.alert.iter().map(|entry| entry.note.as_str()).collect::<Vec<_>>(), [note, note]);
    assert_eq!((read.alert[0].allow.len(), read.alert[1].allow.len()), (2, 0));
    assert_eq!(toml::from_str::<Feedback>(&read.text()).unwrap(), read);
}

#[test]
fn saying_it_twice_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let first = record(dir.path(), &document(1), &saying(Verdict::False, "backup", NOW)).unwrap();
    assert!(matches!(first, Recorded::New(_)));
    let written = fs::read(dir.path().join(FILE)).unwrap();
    let second = record(dir.path(), &document(1), &saying(Verdict::False, "backup", NOW + DAY / 2)).unwrap();
    assert!(matches!(second, Recorded::Already(_)), "{second:?}");
    assert_eq!(fs::read(dir.path().join(FILE)).unwrap(), written);
    assert_eq!(labels(dir.path()).len(), 1);
    let later = record(dir.path(), &document(1), &saying(Verdict::False, "backup", NOW + 60 * DAY)).unwrap();
    assert!(matches!(&later, Recorded::Replaced(entry) if entry.allow[0].until.ns() / DAY == (NOW + 150 * DAY) / DAY));
}

#[test]
fn a_changed_mind_lifts_the_silence_and_changes_the_label() {
    let dir = tempfile::tempdir().unwrap();
    record(dir.path(), &document(1), &saying(Verdict::False, "", NOW)).unwrap();
    assert_eq!(labels(dir.path())[0].class, Class::Benign);
    record(dir.path(), &document(1), &saying(Verdict::True, "", NOW)).unwrap();
    assert!(Feedback::load(&dir.path().join(FILE)).unwrap().allow().is_empty());
    let labels = labels(dir.path());
    assert_eq!((labels.len(), labels[0].class, labels[0].features["fwd_packets"]), (1, Class::BruteForce, 3.0));
}

#[test]
fn what_is_removed_is_told_again() {
    let dir = tempfile::tempdir().unwrap();
    for number in [1, 2] {
        record(dir.path(), &document(number), &saying(Verdict::False, "", NOW)).unwrap();
    }
    remove(dir.path(), "0000000000000001").unwrap();
    let left = Feedback::load(&dir.path().join(FILE)).unwrap();
    assert_eq!(left.alert.iter().map(|entry| entry.id.as_str()).collect::<Vec<_>>(), ["0000000000000002"]);
    assert_eq!(labels(dir.path()).iter().map(|label| label.id.as_str()).collect::<Vec<_>>(), ["0000000000000002"]);
    assert!(matches!(remove(dir.path(), "0000000000000001"), Err(FeedbackError::Unknown { .. })));
    let nowhere = dir.path().join("nowhere");
    assert!(matches!(remove(&nowhere, "0000000000000001"), Err(FeedbackError::Unknown { .. })));
}

#[test]
fn an_edit_that_would_silence_everybody_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE);
    let head = "[[alert]]\nid = \"a\"\nverdict = \"false\"\nsaid_at = \"\"\n";
    for (text, part) in [
        (format!("{head}[[alert.allow]]\nclass = \"flood\"\nuntil = 2027-01-31\nreason = \"x\"\n"), "neither source"),
        (format!("{head}[[alert.allow]]\nsource = \"10.0.0.1\"\nuntil = 2027-01-31\nreason = \" \"\n"), "no reason"),
        (format!("{head}[[alert.allow]]\nsource = \"10.0.0.1\"\nreason = \"x\"\n"), "missing field `until`"),
        (format!("{head}sauce = 1\n"), "unknown key `sauce`"),
    ] {
        fs::write(&path, text).unwrap();
        let error = Feedback::load(&path).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    assert_eq!(Feedback::load(&dir.path().join("none.toml")).unwrap(), Feedback::default());
}

#[test]
fn there_is_a_bound_and_it_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let mut full = Feedback::default();
    for number in 0..ENTRIES_MAX as u64 {
        full.alert.push(entry(&document(number), &saying(Verdict::True, "", NOW)));
    }
    fs::write(dir.path().join(FILE), full.text()).unwrap();
    let more = record(dir.path(), &document(5_000), &saying(Verdict::True, "", NOW));
    assert!(matches!(more, Err(FeedbackError::Full)), "{more:?}");
    assert!(record(dir.path(), &document(5), &saying(Verdict::False, "", NOW)).is_ok(), "a known one may change");
}
