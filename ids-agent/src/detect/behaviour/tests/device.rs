//! Devices against their own past: what is too much, what is new, what a restart keeps, and what it refuses.

use super::*;
use crate::detect::saved::AxisShift;

const HOUR: u64 = 3_600 * SEC;

fn outside() -> [u8; 16] {
    key([0; 16], 0, ids_common::parse::ipv4_mapped(u32::from_ne_bytes([203, 0, 113, 9])), 0, 6).dst
}

fn camera() -> [u8; 16] {
    host(0, 0, 40)
}

fn sends(hour: u64, megabytes: u32) -> Flow {
    let flow = tcp(camera(), 1_024 + hour as u16, outside(), 443, hour * HOUR + 60 * SEC).handshake();
    (flow.packet(There, TCP_ACK, megabytes << 20).packet(Back, TCP_ACK, 4_000).closed(), of(AppProto::Tls))
}

fn shown(behaviour: &mut Behaviour, flows: &[Flow]) -> Vec<Finding> {
    let features = FeatureVector { values: [0.0; FEATURES] };
    let mut found = Vec::new();
    for (flow, payload) in flows {
        let record = flow.record();
        let judged = Judged { record: &record, features: &features, payload };
        let first = found.len();
        behaviour.judge(&[judged], record.end_ns, &mut found);
        behaviour.learn(&found[first..]);
    }
    found
}

fn new() -> Behaviour {
    Behaviour::new(&BehaviourSettings::default(), 7)
}

fn month() -> Vec<Flow> {
    (0..40).map(|hour| sends(hour, 5 + (hour % 4) as u32)).collect()
}

#[test]
fn far_more_than_ever_is_told_once_an_hour() {
    let mut behaviour = new();
    assert_eq!(shown(&mut behaviour, &month()), []);
    let found = shown(&mut behaviour, &[sends(40, 90), sends(40, 95)]);
    assert_eq!(told(&found), [(Class::Exfiltration, "volume", pair(camera(), outside()))]);
    assert_eq!(found.len(), 1);
    assert!(found[0].reason.starts_with("10.0.0.40 sent about 90 MB out within the hour"), "{}", found[0].reason);
}

#[test]
fn nothing_is_told_before_enough_is_known() {
    let flows: Vec<Flow> = (0..20).map(|hour| sends(hour, 5)).chain([sends(20, 150)]).collect();
    assert_eq!(shown(&mut new(), &flows), []);
}

#[test]
fn a_daily_backup_becomes_usual_and_an_attack_does_not() {
    let mut behaviour = new();
    let backups: Vec<Flow> = (0..96).map(|hour| sends(hour, if hour % 24 == 3 { 150 } else { 5 })).collect();
    assert_eq!(shown(&mut behaviour, &backups), []);
    let mut attacked = new();
    shown(&mut attacked, &month());
    let leaks: Vec<Flow> = (40..60).map(|hour| sends(hour, 120)).collect();
    assert_eq!(shown(&mut attacked, &leaks).len(), 20, "each hour is as unusual as the first");
}

#[test]
fn an_upload_that_nothing_protects_is_told_even_of_a_stranger() {
    let upload = |app, megabytes: u32| {
        let flow = tcp(camera(), 30_000, outside(), 9_000, HOUR).handshake();
        (flow.packet(There, TCP_ACK, megabytes << 20).packet(Back, TCP_ACK, 9_000), of(app))
    };
    let found = shown(&mut new(), &[upload(AppProto::Unknown, 300)]);
    assert_eq!(found.iter().map(|f| (f.kind, f.severity)).collect::<Vec<_>>(), [("upload", Severity::Low)]);
    assert_eq!(shown(&mut new(), &[upload(AppProto::Tls, 300)]), []);
    assert_eq!(shown(&mut new(), &[upload(AppProto::Unknown, 100)]), []);
}

fn telnet_out() -> Flow {
    bare(tcp(camera(), 30_000, outside(), 23, 41 * 2 * HOUR + HOUR).handshake().exchange(20, 20))
}

fn days() -> Vec<Flow> {
    (0..41).map(|n| sends(2 * n, 5)).collect()
}

#[test]
fn a_simple_device_that_turns_to_telnet_is_told() {
    let mut behaviour = new();
    shown(&mut behaviour, &days());
    let found = shown(&mut behaviour, &[telnet_out(), telnet_out()]);
    assert_eq!(found.iter().map(|f| (f.class, f.kind)).collect::<Vec<_>>(), [(Class::Infiltration, "new_service")]);
    let mut young = new();
    shown(&mut young, &days()[30..]);
    assert_eq!(shown(&mut young, &[telnet_out()]), []);
}

#[test]
fn a_restart_changes_nothing_though_the_clock_begins_anew() {
    let mut saved = Vec::new();
    let mut before = new();
    shown(&mut before, &days());
    before.save(0, &mut saved);
    let mut after = new();
    assert_eq!(after.restore(&saved, AxisShift::NONE), Ok(()));
    assert_eq!(shown(&mut after, &[telnet_out()]), shown(&mut before, &[telnet_out()]));

    let mut rebooted = new();
    let back = -(i64::try_from(82 * HOUR).unwrap_or(0));
    assert_eq!(rebooted.restore(&saved, AxisShift::by_ns(back)), Ok(()));
    let later = bare(tcp(camera(), 30_000, outside(), 23, HOUR).handshake().exchange(20, 20));
    assert_eq!(shown(&mut rebooted, &[later]).len(), 1);
    assert_eq!(shown(&mut rebooted, &[sends(2, 90)]).len(), 1);
}

#[test]
fn torn_state_is_refused_and_too_much_of_it_cut() {
    let mut saved = Vec::new();
    let mut before = new();
    shown(&mut before, &days());
    before.save(0, &mut saved);
    for length in 0..saved.len() {
        assert!(new().restore(&saved[..length], AxisShift::NONE).is_err(), "{length} bytes");
    }
    let mut settings = BehaviourSettings::default();
    settings.limits.devices_max = 1;
    let mut small = Behaviour::new(&settings, 7);
    assert_eq!(small.restore(&saved, AxisShift::NONE), Ok(()));
    shown(&mut small, &[bare(tcp(host(0, 0, 41), 1, outside(), 443, 90 * HOUR).handshake().exchange(9, 9))]);
    assert_eq!(small.stats().forgotten, 1);
}

proptest! {
    #[test]
    fn any_bytes_are_refused_or_taken_within_bounds(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = new().restore(&bytes, AxisShift::NONE);
    }
}
