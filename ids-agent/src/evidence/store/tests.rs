//! The folder's bounds, what a crash leaves, and what is told of alerts that are not there.
#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::net::IpAddr;

use super::*;
use crate::{
    detect::Class,
    evidence::{Direction, ExhibitRecord, FlowIdentity, PacketRecord, Pattern, Report},
    sink::Rank,
};

const MIB: u64 = 1 << 20;

/// A document with `payload` bytes of samples; unsealed, which the store does not mind.
fn document(number: u64, stage: &str, payload: usize) -> Document {
    let [src, dst] = [[10, 0, 0, 7], [10, 0, 0, 9]].map(IpAddr::from);
    let exhibit = ExhibitRecord {
        agent_version: "0.0.0-test".to_owned(),
        schema_hash: "00".to_owned(),
        flow: FlowIdentity {
            id: 1,
            community_id: String::new(),
            src,
            src_port: 40_000,
            dst,
            dst_port: 80,
            proto: 6,
            vlan: 0,
            start_ns: 1,
            end_ns: 2,
        },
        findings: Vec::new(),
        models: Vec::new(),
        features: BTreeMap::new(),
        payload: serde_json::Value::Null,
        string_bytes_max: 256,
        packets: vec![PacketRecord {
            direction: Direction::ToServer,
            slot_first_seen_ns: 1,
            seen_ns: 1,
            index: 0,
            payload_len: payload as u32,
            bytes: "61".repeat(payload),
        }],
    };
    Document {
        format: FORMAT,
        id: format!("{number:016x}"),
        pattern: Pattern {
            source: Some(src),
            target: Some(dst),
            target_port: None,
            class: Class::Exploit,
            kind: String::new(),
            said: Vec::new(),
        },
        confidence: 0.5,
        scores: Vec::new(),
        reports: vec![Report {
            stage: stage.to_owned(),
            at: String::new(),
            severity: 2,
            confidence: 0.5,
            flows: 1,
            suppressed: 0,
        }],
        alert: serde_json::json!({ "stage": stage }),
        exhibit: (payload > 0).then_some(exhibit),
        seal: String::new(),
    }
}

fn open(dir: &Path, max_mib: u64, keep: usize) -> EvidenceSink {
    EvidenceSink::open(dir, &EvidenceSettings { dir: None, max_mib, keep }).unwrap()
}

fn put(sink: &mut EvidenceSink, document: &Document) -> Delivery {
    sink.write(&[Line { rank: Rank::High, bytes: serde_json::to_vec(document).unwrap() }])
}

fn ids(dir: &Path) -> Vec<u64> {
    let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut ids: Vec<u64> =
        names.filter_map(|name| u64::from_str_radix(name.strip_suffix(".json")?, 16).ok()).collect();
    ids.sort_unstable();
    ids
}

fn bytes(dir: &Path) -> u64 {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
}

#[test]
fn no_more_alerts_are_kept_than_asked_for_and_the_oldest_go_counted() {
    let dir = tempfile::tempdir().unwrap();
    let mut sink = open(dir.path(), 64, 3);
    for number in 1..=7 {
        assert_eq!(put(&mut sink, &document(number, "opened", 10)).written, 1);
        assert!(ids(dir.path()).len() <= 3);
    }
    assert_eq!(ids(dir.path()), [5, 6, 7]);
    assert_eq!(sink.removed().load(Ordering::Relaxed), 4);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 6, "a document and a capture each");
}

#[test]
fn the_folder_never_grows_beyond_its_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let mut sink = open(dir.path(), 1, 1_000);
    for number in 1..=12 {
        put(&mut sink, &document(number, "opened", 100_000));
        assert!(bytes(dir.path()) <= MIB && sink.bytes == bytes(dir.path()));
    }
    let kept = ids(dir.path());
    assert!(kept.len() >= 3 && kept.last() == Some(&12), "{kept:?}");
    let alone = put(&mut sink, &document(99, "opened", 600_000));
    assert_eq!((alone.written, alone.dropped.iter().sum()), (0, 1u64), "more than the folder may hold");
    assert_eq!(ids(dir.path()), kept);
}

#[test]
fn bounds_hold_over_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut sink = open(dir.path(), 64, 10);
    for number in 1..=6 {
        put(&mut sink, &document(number, "opened", 10));
    }
    let sink = open(dir.path(), 64, 2);
    assert_eq!((ids(dir.path()).len(), sink.bytes), (2, bytes(dir.path())));
}

#[test]
fn a_crash_leaves_no_half_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut sink = open(dir.path(), 64, 10);
    put(&mut sink, &document(1, "opened", 10));
    let whole = fs::read(dir.path().join("0000000000000001.json")).unwrap();
    drop(sink);
    // As a crash leaves it: in the middle of a write, and between the capture and its document.
    fs::write(dir.path().join("0000000000000001.json.partial"), &whole[..whole.len() / 2]).unwrap();
    fs::write(dir.path().join("0000000000000002.pcapng"), b"x").unwrap();
    assert_eq!(load(dir.path(), "0000000000000001").unwrap().0.id, "0000000000000001");
    assert!(matches!(load(dir.path(), "0000000000000002"), Err(EvidenceError::NotFound { .. })));
    open(dir.path(), 64, 10);
    let mut names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["0000000000000001.json", "0000000000000001.pcapng"]);
}

#[test]
fn what_cannot_be_renamed_leaves_nothing_behind_and_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let mut sink = open(dir.path(), 64, 10);
    // A directory that holds something stands where the document should go.
    fs::create_dir_all(dir.path().join("0000000000000001.json/x")).unwrap();
    let delivery = put(&mut sink, &document(1, "opened", 0));
    assert_eq!((delivery.written, delivery.dropped.iter().sum()), (0, 1u64));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "the directory alone");
}

#[test]
fn later_reports_are_added_and_the_exhibit_stays() {
    let dir = tempfile::tempdir().unwrap();
    let mut sink = open(dir.path(), 64, 10);
    put(&mut sink, &document(1, "opened", 10));
    put(&mut sink, &document(1, "summary", 0));
    let (kept, capture) = load(dir.path(), "0000000000000001").unwrap();
    let stages: Vec<&str> = kept.reports.iter().map(|report| report.stage.as_str()).collect();
    assert_eq!(stages, ["opened", "summary"]);
    assert!(kept.exhibit.is_some() && kept.is_sealed() && capture.is_some());
    assert_eq!(kept.alert["stage"], "opened");
    for _ in 0..100 {
        put(&mut sink, &document(1, "summary", 0));
    }
    let (kept, _) = load(dir.path(), "0000000000000001").unwrap();
    assert!(kept.reports.len() <= 32 && kept.reports[0].stage == "opened");
}

#[test]
fn an_id_that_is_none_is_refused_before_any_file_is_opened() {
    let dir = tempfile::tempdir().unwrap();
    for wrong in ["", "12", "../../etc/passwd", "000000000000000g", "0000000000000001/", "00000000000000001"] {
        assert!(matches!(load(dir.path(), wrong), Err(EvidenceError::Id { .. })), "{wrong}");
    }
    fs::write(dir.path().join("0000000000000001.json"), b"{}").unwrap();
    assert!(matches!(load(dir.path(), "0000000000000001"), Err(EvidenceError::Foreign { .. })));
    let mut future = document(2, "opened", 0);
    future.format = 9;
    fs::write(dir.path().join("0000000000000002.json"), serde_json::to_vec(&future).unwrap()).unwrap();
    assert!(matches!(load(dir.path(), "0000000000000002"), Err(EvidenceError::Foreign { .. })));
}
