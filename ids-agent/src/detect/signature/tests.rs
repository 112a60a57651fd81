//! Alerts of Suricata and flows, in every order of arrival.
#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that fails")]

use ids_common::flow::FlowKey;

use super::*;
use crate::{
    eve::{EveTls, EveType, StatedConfidence, StatedSeverity},
    fabricated::{self, Fabricated},
    features::FeatureVector,
    flow::{FlowEnd, FlowState, community_id},
};

const SEC: u64 = 1_000_000_000;

fn host(last: u8) -> [u8; 16] {
    fabricated::host(0, 0, last)
}

fn key(src: [u8; 16], dst: [u8; 16], src_port: u16, dst_port: u16) -> FlowKey {
    fabricated::key(src, src_port, dst, dst_port, 6)
}

fn flow_at(key: FlowKey, id: u64, start_secs: u64, end_secs: u64, state: FlowState) -> FlowRecord {
    FlowRecord {
        id,
        key,
        start_ns: start_secs * SEC,
        end_ns: end_secs * SEC,
        state,
        ..Fabricated::new(key, start_secs * SEC).syn().record()
    }
}

fn alert(signature: &str) -> EveAlert {
    EveAlert {
        gid: 1,
        sid: 2_024_364,
        rev: 3,
        signature: signature.into(),
        category: "A Network Trojan was detected".into(),
        severity: 1,
        blocked: false,
        techniques: Vec::new(),
        stated_severity: Some(StatedSeverity::Major),
        stated_confidence: Some(StatedConfidence::High),
        flow: None,
    }
}

fn event(key: &FlowKey, at_ns: u64) -> EveEvent {
    EveEvent {
        at_ns,
        tuple: Some(EveTuple {
            src: key.src,
            dst: key.dst,
            src_port: key.src_port,
            dst_port: key.dst_port,
            proto: key.proto,
            vlan: key.vlan,
        }),
        community_id: Some(community_id(key).into()),
        flow_start_ns: None,
        flow_id: 1,
        kind: EveType::Alert,
        detail: EveDetail::Alert(Box::new(alert("ET MALWARE Loader Checkin"))),
        app: None,
    }
}

struct Rig {
    signature: Signature,
}

impl Rig {
    fn new() -> Self {
        Self { signature: Signature::new(Vec::new(), 7) }
    }

    fn judge(&mut self, records: &[FlowRecord], now_secs: u64) -> Vec<Finding> {
        let (features, payload) = (FeatureVector::ZERO, PayloadFacts::default());
        let judged: Vec<_> =
            records.iter().map(|record| Judged { record, features: &features, payload: &payload }).collect();
        let mut findings = Vec::new();
        self.signature.judge(&judged, now_secs * SEC, &mut findings);
        let join = self.join();
        assert!(join.is_conserved(), "{join:?}");
        findings
    }

    fn hear(&mut self, events: &[EveEvent], now_secs: u64) {
        self.signature.hear(events, now_secs * SEC);
    }

    fn join(&self) -> JoinStats {
        self.signature.stats().join.unwrap()
    }
}

fn web() -> FlowKey {
    key(host(1), host(2), 50_000, 80)
}

#[test]
fn an_alert_joins_the_flow_that_is_first_seen_in_the_same_tick() {
    let mut rig = Rig::new();
    rig.hear(&[event(&web(), 10 * SEC)], 11);
    let found = rig.judge(&[flow_at(web(), 5, 10, 11, FlowState::Open)], 11);
    assert_eq!(found.len(), 1);
    let Finding { witness, class, subject, exemplar_id, severity, .. } = &found[0];
    assert_eq!((*witness, *class, *exemplar_id, *severity), (Witness::Signature, Class::C2, 5, Severity::High));
    assert_eq!(*subject, Subject::Flow { id: 5 });
    assert!(found[0].reason.contains("2024364"), "{}", found[0].reason);
    assert_eq!((rig.join().joined_by_id, rig.join().orphans_all()), (1, 0));
}

#[test]
fn an_answers_alert_belongs_to_the_flow_of_its_initiator() {
    let mut rig = Rig::new();
    rig.judge(&[flow_at(web(), 5, 10, 11, FlowState::Open)], 11);
    rig.hear(&[event(&web().reversed(), 12 * SEC)], 12);
    let found = rig.judge(&[], 12);
    assert_eq!(found[0].exemplar, web());
    assert!(found[0].reason.contains("what 10.0.0.2 sent to 10.0.0.1"), "{}", found[0].reason);
}

#[test]
fn an_alert_that_is_minutes_late_finds_the_flow_that_has_ended() {
    let mut rig = Rig::new();
    rig.judge(&[flow_at(web(), 5, 10, 20, FlowState::Ended(FlowEnd::Fin))], 20);
    rig.hear(&[event(&web(), 15 * SEC)], 500);
    let found = rig.judge(&[], 500);
    assert_eq!(found[0].exemplar_id, 5);
    assert_eq!(rig.join().lag_ns, 485 * SEC);
}

#[test]
fn of_two_flows_with_the_same_ports_the_one_of_that_time_is_meant() {
    let mut rig = Rig::new();
    rig.judge(&[flow_at(web(), 5, 10, 20, FlowState::Ended(FlowEnd::Fin))], 20);
    rig.judge(&[flow_at(web(), 6, 100, 110, FlowState::Open)], 110);
    rig.hear(&[event(&web(), 15 * SEC), event(&web(), 105 * SEC)], 111);
    let found: Vec<u64> = rig.judge(&[], 111).iter().map(|finding| finding.exemplar_id).collect();
    assert_eq!(found, [5, 6]);
}

#[test]
fn ports_that_are_used_again_in_this_tick_are_not_mistaken_for_those_before() {
    let mut rig = Rig::new();
    rig.judge(&[flow_at(web(), 5, 10, 20, FlowState::Ended(FlowEnd::Fin))], 20);
    // The flow is new, and heard of before it is judged.
    rig.hear(&[event(&web(), 60 * SEC)], 61);
    let found = rig.judge(&[flow_at(web(), 6, 60, 61, FlowState::Open)], 61);
    assert_eq!(found[0].exemplar_id, 6);
}

#[test]
fn what_suricata_says_when_a_stream_times_out_still_finds_its_flow() {
    let mut rig = Rig::new();
    rig.judge(&[flow_at(web(), 5, 10, 20, FlowState::Ended(FlowEnd::Fin))], 20);
    rig.hear(&[event(&web(), 85 * SEC)], 86);
    assert!(rig.judge(&[], 86).is_empty(), "it waits: a new flow may have begun");
    let found = rig.judge(&[], 102);
    assert_eq!(found[0].exemplar_id, 5);
    assert_eq!(rig.join().joined(), 1);
}

#[test]
fn the_flow_on_the_alerts_vlan_is_meant() {
    let mut rig = Rig::new();
    let on = |vlan| FlowKey { vlan, ..web() };
    rig.judge(&[flow_at(on(10), 5, 10, 20, FlowState::Open), flow_at(on(20), 6, 10, 20, FlowState::Open)], 20);
    rig.hear(&[event(&on(10), 15 * SEC)], 21);
    assert_eq!(rig.judge(&[], 21)[0].exemplar_id, 5);
}

#[test]
fn a_flow_seen_before_and_behind_nat_is_joined_once_by_each_tuple() {
    let mut rig = Rig::new();
    let behind = key(host(9), host(2), 61_000, 80);
    rig.judge(&[flow_at(web(), 5, 10, 20, FlowState::Open), flow_at(behind, 6, 10, 20, FlowState::Open)], 20);
    rig.hear(&[event(&behind, 15 * SEC)], 21);
    let found: Vec<u64> = rig.judge(&[], 21).iter().map(|finding| finding.exemplar_id).collect();
    assert_eq!(found, [6]);
}

#[test]
fn without_a_community_id_the_tuple_does() {
    let mut rig = Rig::new();
    rig.judge(&[flow_at(web(), 5, 10, 20, FlowState::Open)], 20);
    rig.hear(&[EveEvent { community_id: None, ..event(&web(), 15 * SEC) }], 21);
    // Another seed than ours.
    rig.hear(
        &[EveEvent { community_id: Some("1:AAAAAAAAAAAAAAAAAAAAAAAAAAA=".into()), ..event(&web(), 15 * SEC) }],
        21,
    );
    assert_eq!(rig.judge(&[], 21).len(), 1, "one finding, for it is one signature of one flow");
    assert_eq!((rig.join().joined_by_tuple, rig.join().joined_by_id), (2, 0));
}

#[test]
fn an_icmp_error_belongs_to_the_flow_it_is_about() {
    let mut rig = Rig::new();
    rig.judge(&[flow_at(web(), 5, 10, 20, FlowState::Open)], 20);
    let error = FlowKey { proto: 1, src_port: 3, dst_port: 3, ..web().reversed() };
    rig.hear(&[EveEvent { community_id: Some(community_id(&web()).into()), ..event(&error, 15 * SEC) }], 21);
    assert_eq!(rig.judge(&[], 21)[0].exemplar_id, 5);
}

#[test]
fn an_orphan_is_told_all_the_same_and_says_why_it_is_one() {
    let mut rig = Rig::new();
    rig.judge(&[flow_at(web(), 5, 1_000, 1_010, FlowState::Open)], 1_010);
    let unknown = key(host(3), host(4), 1, 2);
    rig.hear(
        &[
            event(&unknown, 1_000 * SEC),
            event(&web(), 10 * SEC),
            EveEvent { tuple: None, community_id: None, ..event(&unknown, 5) },
        ],
        1_011,
    );
    assert!(rig.judge(&[], 1_012).is_empty());
    assert_eq!(rig.join().waiting, 2);
    let found = rig.judge(&[], 1_030);
    assert_eq!(found.len(), 2);
    assert_eq!(found[0].exemplar, unknown);
    let orphans = rig.join().orphans;
    assert_eq!(orphans, [1, 1, 1, 0], "{:?}", Orphan::ALL);
    assert_eq!(rig.join().waiting, 0);
}

#[test]
fn at_the_end_nothing_waits_any_more() {
    let mut rig = Rig::new();
    rig.hear(&[event(&web(), 10 * SEC)], 11);
    rig.judge(&[], 11);
    rig.signature.end(11 * SEC);
    assert_eq!(rig.judge(&[], 11).len(), 1);
    assert_eq!((rig.join().waiting, rig.join().orphans_all()), (0, 1));
}

#[test]
fn a_flood_of_alerts_that_fit_nothing_is_bounded_and_counted() {
    let mut rig = Rig::new();
    let many = 3 * ALERTS_WAITING_MAX;
    for number in 0..many {
        let unknown = FlowKey { src_port: number as u16, dst_port: (number >> 16) as u16, ..web() };
        rig.hear(&[event(&unknown, 10 * SEC)], 11);
    }
    let join = rig.join();
    assert_eq!((join.alerts, join.waiting), (many as u64, ALERTS_WAITING_MAX as u64));
    assert_eq!(join.orphans[Orphan::Crowded as usize], (many - ALERTS_WAITING_MAX) as u64);
    assert!(join.is_conserved());
}

#[test]
fn a_signature_below_its_threshold_is_not_told_by_itself() {
    let thresholds = vec![SidThreshold { sid: 2_024_364, matches: 3, secs: 60 }];
    let mut rig = Rig { signature: Signature::new(thresholds, 7) };
    let mut scores = Vec::new();
    for number in 0..4_u16 {
        let key = FlowKey { src_port: number, ..web() };
        rig.judge(&[flow_at(key, 5 + u64::from(number), 10, 11, FlowState::Open)], 11);
        rig.hear(&[event(&key, 11 * SEC)], 11);
        scores.push(rig.judge(&[], 12)[0].score >= TOLD_FROM);
    }
    assert_eq!(scores, [false, false, true, true]);
    assert_eq!(rig.join().below_threshold, 2);
}

#[test]
fn what_suricata_reads_of_a_flow_fills_what_the_samples_lack_and_no_more() {
    let mut rig = Rig::new();
    let flow = flow_at(web(), 5, 10, 20, FlowState::Open);
    rig.judge(std::slice::from_ref(&flow), 20);
    let tls = EveTls { sni: Some("theirs.example".into()), ja4: Some("t13d1516h2".into()), ..EveTls::default() };
    let app = EveApp { tls: Some(tls), ..EveApp::default() };
    rig.hear(&[EveEvent { app: Some(Box::new(app)), ..event(&web(), 15 * SEC) }], 21);
    let ours = crate::payload::TlsFacts { sni: Some("ours.example".into()), ..Default::default() };
    let mut facts = PayloadFacts { tls: Some(Box::new(ours)), ..PayloadFacts::default() };
    rig.signature.tell(&flow, &mut facts);
    let tls = facts.tls.unwrap();
    assert_eq!((tls.sni.as_deref(), tls.ja4.as_deref()), (Some("ours.example"), Some("t13d1516h2")));
    let heard = facts.heard.unwrap();
    assert_eq!((heard.signatures[0].sid, heard.signatures[0].times), (2_024_364, 1));
}

#[test]
fn others_that_agree_raise_what_a_signature_is_worth() {
    let scores = [true, false].map(|agree| {
        let mut rig = Rig::new();
        let mut score = 0.0;
        for turn in 0..20_u64 {
            let key = FlowKey { src: host(turn as u8 + 1), ..web() };
            let at = 10 + turn * 100;
            rig.judge(&[flow_at(key, 5 + turn, at, at, FlowState::Open)], at);
            let weak = EveAlert { stated_confidence: Some(StatedConfidence::Low), ..alert("ET MALWARE maybe") };
            rig.hear(&[EveEvent { detail: EveDetail::Alert(Box::new(weak)), ..event(&key, at * SEC) }], at);
            let found = rig.judge(&[], at + 1);
            score = found[0].score;
            if agree {
                let other = Finding { witness: Witness::Behaviour, score: 0.9, ..found[0].clone() };
                rig.signature.learn(&[other]);
            }
        }
        score
    });
    assert!(scores[0] > scores[1] + 0.1, "{scores:?}");
}

#[test]
fn it_stays_within_its_memory() {
    let entry = size_of::<Known>() + 64;
    let waiting = size_of::<Heard<Box<EveAlert>>>() + size_of::<EveAlert>() + 2 * 256 + 128;
    let bytes = known::IDS_MAX * entry
        + ALERTS_WAITING_MAX * waiting
        + APPS_WAITING_MAX * (size_of::<EveApp>() + 1_024)
        + told::TOLD_BYTES_MAX
        + told::TOLD_MAX * 128
        + worth::SIDS_MAX * 64
        + worth::COUNTED_MAX * 72
        + UNSETTLED_MAX * size_of::<Unsettled>()
        + (ACCUSED_MAX + RATES_MAX) * 80;
    assert!(bytes <= 16 << 20, "{bytes} bytes");
}
