//! Findings become one verdict for each ended flow and few incidents, whatever comes in.

use std::collections::BTreeMap;

use ids_agent::{
    config::{AllowEntry, Expiry, FuseSettings},
    detect::{
        Class, Finding, Incident, Judged, Outcome, Severity, Stage, Subject, Verdict, Witness,
        fuse::{Fuse, HELD_MAX},
    },
    features::{FEATURES, FeatureVector},
    flow::{FlowEnd, FlowRecord, FlowState},
    payload::PayloadFacts,
};
use ids_common::flow::{FlowKey, FlowSlot};
use proptest::prelude::*;
use zerocopy::FromZeros;

const SEC: u64 = 1_000_000_000;
const IDLE: u64 = 60 * SEC;

fn host(last: u8) -> [u8; 16] {
    std::net::Ipv4Addr::new(192, 0, 2, last).to_ipv6_mapped().octets()
}

fn key(src: u8, dst: u8, dst_port: u16) -> FlowKey {
    FlowKey { src: host(src), dst: host(dst), src_port: 40_000, dst_port, proto: 6, kind: 0, vlan: 0 }
}

/// One SYN without an answer, seen at `at_ns`.
fn record(id: u64, key: FlowKey, at_ns: u64, state: FlowState) -> FlowRecord {
    let mut forward = FlowSlot::new_zeroed();
    forward.key = key;
    forward.packets = 1;
    FlowRecord { id, key, forward, backward: None, start_ns: at_ns, end_ns: at_ns, state }
}

fn ended(id: u64, key: FlowKey, at_ns: u64) -> FlowRecord {
    record(id, key, at_ns, FlowState::Ended(FlowEnd::Idle))
}

fn finding(witness: Witness, class: Class, subject: Subject, flow: &FlowRecord, score: f32) -> Finding {
    Finding {
        witness,
        class,
        kind: "test",
        score,
        severity: Severity::Low,
        subject,
        exemplar: flow.key,
        exemplar_id: flow.id,
        first_ns: flow.start_ns,
        last_ns: flow.end_ns,
        reason: "because".to_owned(),
        evidence: Vec::new(),
        matched: None,
    }
}

fn on_flow(class: Class, flow: &FlowRecord, score: f32) -> Finding {
    finding(Witness::Classifier, class, Subject::Flow { id: flow.id }, flow, score)
}

fn on_source(class: Class, flow: &FlowRecord) -> Finding {
    finding(Witness::Behaviour, class, Subject::Source { src: flow.key.src }, flow, 0.9)
}

/// A fuse with its outcome and its time.
struct Rig {
    fuse: Fuse,
    told: Vec<Incident>,
    verdicts: Vec<Verdict>,
}

impl Rig {
    fn new(settings: &FuseSettings) -> Self {
        Self { fuse: Fuse::new(settings, 3, IDLE), told: Vec::new(), verdicts: Vec::new() }
    }

    fn step(&mut self, now_secs: u64, records: &[FlowRecord], findings: Vec<Finding>) {
        let features = FeatureVector { values: [0.0; FEATURES] };
        let payload = PayloadFacts::default();
        let judged: Vec<Judged<'_>> =
            records.iter().map(|record| Judged { record, features: &features, payload: &payload }).collect();
        let mut out = Outcome::default();
        self.fuse.step(now_secs * SEC, &judged, findings, &mut out);
        self.keep(out);
    }

    fn finish(&mut self, now_secs: u64) {
        let mut out = Outcome::default();
        self.fuse.finish(now_secs * SEC, &mut out);
        self.keep(out);
    }

    fn keep(&mut self, out: Outcome) {
        self.told.extend(out.incidents);
        self.verdicts.extend(out.verdicts);
    }

    fn stages(&self) -> Vec<Stage> {
        self.told.iter().map(|incident| incident.stage).collect()
    }
}

#[test]
fn an_ended_flow_gets_its_verdict_after_the_hold_and_no_sooner() {
    let mut rig = Rig::new(&FuseSettings::default());
    rig.step(100, &[ended(1, key(1, 2, 80), 99 * SEC)], Vec::new());
    rig.step(109, &[], Vec::new());
    assert!(rig.verdicts.is_empty());
    rig.step(110, &[], Vec::new());
    assert_eq!(rig.verdicts.len(), 1);
    assert_eq!((rig.verdicts[0].class, rig.verdicts[0].incident), (Class::Benign, None));
}

#[test]
fn a_finding_on_the_source_reaches_flows_that_ended_shortly_before_and_those_that_end_later() {
    let mut rig = Rig::new(&FuseSettings::default());
    let flows: Vec<FlowRecord> = (0..20).map(|at| ended(at, key(1, 2, at as u16), 100 * SEC)).collect();
    rig.step(100, &flows, Vec::new());
    rig.step(102, &[], vec![on_source(Class::PortScan, &flows[19])]);
    // A probe of the scan that was never answered ends by silence a minute later.
    rig.step(161, &[ended(99, key(1, 2, 443), 101 * SEC)], Vec::new());
    rig.finish(162);
    assert_eq!(rig.verdicts.len(), 21);
    assert!(rig.verdicts.iter().all(|verdict| verdict.class == Class::PortScan));
    assert!(rig.verdicts.iter().all(|verdict| verdict.incident == Some(rig.told[0].id)));
}

#[test]
fn a_finding_on_the_source_leaves_other_sources_and_its_long_conversations_alone() {
    let mut rig = Rig::new(&FuseSettings::default());
    let probe = ended(1, key(1, 2, 22), 100 * SEC);
    let mut conversation = ended(2, key(1, 2, 80), 100 * SEC);
    conversation.forward.packets = 5_000;
    let other = ended(3, key(7, 2, 80), 100 * SEC);
    rig.step(101, &[probe.clone(), conversation, other], vec![on_source(Class::PortScan, &probe)]);
    rig.finish(102);
    let classes: BTreeMap<u64, Class> = rig.verdicts.iter().map(|verdict| (verdict.record.id, verdict.class)).collect();
    assert_eq!(classes, BTreeMap::from([(1, Class::PortScan), (2, Class::Benign), (3, Class::Benign)]));
}

#[test]
fn findings_on_an_open_flow_are_remembered_until_it_ends() {
    let mut rig = Rig::new(&FuseSettings::default());
    let open = record(1, key(1, 2, 80), 100 * SEC, FlowState::Open);
    rig.step(101, std::slice::from_ref(&open), vec![on_flow(Class::WebAttack, &open, 0.99)]);
    rig.step(200, &[ended(1, key(1, 2, 80), 100 * SEC)], Vec::new());
    rig.finish(201);
    assert_eq!(rig.verdicts[0].class, Class::WebAttack);
    assert_eq!(rig.stages(), [Stage::Opened]);
}

#[test]
fn one_incident_then_silence_then_a_summary_with_the_number() {
    let mut rig = Rig::new(&FuseSettings::default());
    let probe = ended(1, key(1, 2, 22), 100 * SEC);
    for second in 100..400 {
        rig.step(second, &[], vec![on_source(Class::PortScan, &probe)]);
    }
    rig.step(400, &[], Vec::new());
    assert_eq!(rig.stages(), [Stage::Opened, Stage::Summary]);
    assert_eq!(rig.told[1].suppressed, 299);
    assert_eq!(rig.told[0].id, rig.told[1].id);
    // Nothing since: the incident is over, and the next finding is news again.
    rig.step(701, &[], Vec::new());
    rig.step(702, &[], vec![on_source(Class::PortScan, &probe)]);
    assert_eq!(rig.stages(), [Stage::Opened, Stage::Summary, Stage::Opened]);
}

#[test]
fn what_was_suppressed_is_told_at_the_end() {
    let mut rig = Rig::new(&FuseSettings::default());
    let probe = ended(1, key(1, 2, 22), 100 * SEC);
    rig.step(100, &[], vec![on_source(Class::PortScan, &probe), on_source(Class::PortScan, &probe)]);
    rig.step(101, &[], vec![on_source(Class::PortScan, &probe)]);
    rig.finish(102);
    assert_eq!(rig.stages(), [Stage::Opened, Stage::Summary]);
    assert_eq!(rig.told[1].suppressed, 1);
}

#[test]
fn a_more_severe_finding_is_told_again_under_the_same_id() {
    let mut rig = Rig::new(&FuseSettings::default());
    let probe = ended(1, key(1, 2, 22), 100 * SEC);
    rig.step(100, &[], vec![on_source(Class::PortScan, &probe)]);
    let severe = Finding { severity: Severity::High, ..on_source(Class::PortScan, &probe) };
    rig.step(101, &[], vec![severe.clone()]);
    rig.step(102, &[], vec![severe]);
    assert_eq!(rig.stages(), [Stage::Opened, Stage::Escalated]);
    assert_eq!(rig.told[0].id, rig.told[1].id);
    assert_eq!(rig.told[1].severity, Severity::High);
}

#[test]
fn one_flow_that_looks_like_a_scan_is_no_incident_and_five_are_one() {
    let mut rig = Rig::new(&FuseSettings::default());
    let flows: Vec<FlowRecord> = (0..5).map(|at| ended(at, key(1, at as u8 + 2, 22), 100 * SEC)).collect();
    // The same flow again and again is still one flow.
    for second in 100..110 {
        rig.step(second, &[], vec![on_flow(Class::PortScan, &flows[0], 0.9)]);
    }
    assert!(rig.told.is_empty());
    rig.step(110, &flows, flows.iter().map(|flow| on_flow(Class::PortScan, flow, 0.9)).collect());
    assert_eq!(rig.stages(), [Stage::Opened]);
    assert_eq!(rig.told[0].flows, 5);
}

#[test]
fn plain_evidence_in_one_flow_is_told_at_once_and_a_weak_sign_is_not() {
    for (score, told) in [(0.9, 1), (0.3, 0)] {
        let mut rig = Rig::new(&FuseSettings::default());
        let flow = ended(1, key(1, 2, 53), 100 * SEC);
        let sign = finding(Witness::Payload, Class::DnsTunnel, Subject::Flow { id: 1 }, &flow, score);
        rig.step(101, &[flow], vec![sign]);
        assert_eq!(rig.told.len(), told, "score {score}");
    }
}

#[test]
fn flows_named_one_by_one_join_what_was_told_of_their_hosts() {
    let mut rig = Rig::new(&FuseSettings::default());
    let flows: Vec<FlowRecord> = (0..9).map(|at| ended(at, key(1, 2, at as u16 + 20), 100 * SEC)).collect();
    let scan = Subject::Pair { src: host(1), dst: host(2) };
    rig.step(100, &flows[..1], vec![finding(Witness::Behaviour, Class::PortScan, scan, &flows[0], 0.9)]);
    rig.step(101, &flows[1..], flows[1..].iter().map(|flow| on_flow(Class::PortScan, flow, 0.9)).collect());
    rig.finish(102);
    // Two witnesses that agree are more severe than one.
    assert_eq!(rig.stages(), [Stage::Opened, Stage::Escalated]);
    assert!(rig.told.iter().all(|incident| incident.id == rig.told[0].id));
    assert_eq!(rig.told[1].flows, 9);
}

#[test]
fn what_is_named_and_what_is_counted_of_one_source_in_one_tick_is_one_incident() {
    let mut rig = Rig::new(&FuseSettings::default());
    let flows: Vec<FlowRecord> = (0..9).map(|at| ended(at, key(1, 2, at as u16 + 20), 100 * SEC)).collect();
    let mut findings: Vec<Finding> = flows.iter().map(|flow| on_flow(Class::PortScan, flow, 0.9)).collect();
    let scan = Subject::Pair { src: host(1), dst: host(2) };
    findings.push(finding(Witness::Behaviour, Class::PortScan, scan, &flows[0], 0.9));
    rig.step(100, &flows, findings);
    rig.finish(200);
    assert_eq!(rig.stages(), [Stage::Opened]);
    assert_eq!(rig.told[0].witnesses.len(), 2);
    let told = Some(rig.told[0].id);
    assert!(rig.verdicts.iter().all(|verdict| verdict.incident == told), "every flow names it");
}

#[test]
fn a_flood_from_many_sources_is_one_incident_of_its_target() {
    let mut rig = Rig::new(&FuseSettings::default());
    let flows: Vec<FlowRecord> = (0..200).map(|at| ended(at, key(at as u8, 250, 80), 100 * SEC)).collect();
    rig.step(101, &flows, flows.iter().map(|flow| on_flow(Class::Flood, flow, 0.9)).collect());
    assert_eq!(rig.told.len(), 1);
    assert_eq!(rig.told[0].flows, 200);
}

#[test]
fn two_witnesses_are_surer_than_either_and_are_both_named() {
    let mut rig = Rig::new(&FuseSettings::default());
    let probe = ended(1, key(1, 2, 22), 100 * SEC);
    let findings = vec![on_flow(Class::PortScan, &probe, 0.8), on_source(Class::PortScan, &probe)];
    rig.step(101, std::slice::from_ref(&probe), findings);
    rig.finish(102);
    let verdict = &rig.verdicts[0];
    let expected = 1.0 - (1.0 - 0.8 * 0.8) * (1.0 - 0.95 * 0.9);
    assert!((verdict.confidence - expected).abs() < 1e-6, "{}", verdict.confidence);
    let witnesses: Vec<Witness> = verdict.witnesses.iter().map(|said| said.witness).collect();
    assert_eq!(witnesses, [Witness::Classifier, Witness::Behaviour]);
}

#[test]
fn the_mark_of_a_tool_does_not_outvote_what_was_done_with_it() {
    let mut rig = Rig::new(&FuseSettings::default());
    let guess = ended(1, key(1, 2, 80), 100 * SEC);
    let mut mark = finding(Witness::Payload, Class::WebAttack, Subject::Flow { id: 1 }, &guess, 0.99);
    mark.kind = "attack_tool";
    let counted = finding(Witness::Behaviour, Class::BruteForce, Subject::Source { src: host(1) }, &guess, 0.6);
    rig.step(101, &[guess], vec![mark, counted]);
    rig.finish(102);
    assert_eq!(rig.verdicts[0].class, Class::BruteForce);
}

#[test]
fn what_is_merely_unusual_never_outvotes_a_named_class() {
    let mut rig = Rig::new(&FuseSettings::default());
    let flow = ended(1, key(1, 2, 80), 100 * SEC);
    let unusual = finding(Witness::Anomaly, Class::Anomaly, Subject::Flow { id: 1 }, &flow, 1.0);
    rig.step(101, std::slice::from_ref(&flow), vec![unusual, on_flow(Class::C2, &flow, 0.1)]);
    rig.finish(102);
    assert_eq!(rig.verdicts[0].class, Class::C2);
}

#[test]
fn an_allow_entry_silences_until_it_ends_and_is_counted() {
    let admin = AllowEntry {
        sid: None,
        source: "192.0.2.1".parse().ok(),
        target: None,
        target_port: None,
        class: Some("port_scan".to_owned()),
        kind: None,
        until: Expiry::at_ns(200 * SEC),
        reason: "weekly audit".to_owned(),
    };
    let mut rig = Rig::new(&FuseSettings { allow: vec![admin], ..FuseSettings::default() });
    let allowed = ended(1, key(1, 2, 22), 199 * SEC);
    rig.step(199, std::slice::from_ref(&allowed), vec![on_source(Class::PortScan, &allowed)]);
    assert!(rig.told.is_empty());
    assert_eq!(rig.fuse.stats().findings_allowed, 1);
    // Another class, another source, and the same after the end.
    rig.step(199, &[], vec![on_source(Class::Flood, &allowed)]);
    rig.step(199, &[], vec![on_source(Class::PortScan, &ended(2, key(9, 2, 22), 199 * SEC))]);
    rig.step(200, &[], vec![on_source(Class::PortScan, &allowed)]);
    assert_eq!(rig.told.len(), 3);
    assert_eq!(rig.fuse.stats().findings_allowed, 1);
}

#[test]
fn feedback_taken_up_while_running_silences_its_pattern_from_then_on_until_it_ends() {
    let harmless = AllowEntry {
        sid: None,
        source: "192.0.2.1".parse().ok(),
        target: "192.0.2.2".parse().ok(),
        target_port: None,
        class: Some("exploit".to_owned()),
        kind: Some("test".to_owned()),
        until: Expiry::at_ns(300 * SEC),
        reason: "feedback".to_owned(),
    };
    let settings = FuseSettings { dedup_secs: 0, ..FuseSettings::default() };
    let told_of = |class: Class, src: u8, dst: u8, now_secs: u64, feedback: &[AllowEntry]| {
        let mut rig = Rig::new(&settings);
        rig.fuse.set_feedback(feedback.to_vec());
        let flow = ended(1, key(src, dst, 80), (now_secs - 1) * SEC);
        rig.step(now_secs, std::slice::from_ref(&flow), vec![on_flow(class, &flow, 0.9)]);
        assert_eq!(rig.fuse.stats().findings_by_feedback, u64::from(rig.told.is_empty()));
        rig.told.len()
    };
    let silenced = [harmless];
    assert_eq!(told_of(Class::Exploit, 1, 2, 100, &[]), 1);
    assert_eq!(told_of(Class::Exploit, 1, 2, 100, &silenced), 0);
    assert_eq!(told_of(Class::Exploit, 1, 3, 100, &silenced), 1);
    assert_eq!(told_of(Class::Exploit, 2, 1, 100, &silenced), 1);
    assert_eq!(told_of(Class::WebAttack, 1, 2, 100, &silenced), 1);
    assert_eq!(told_of(Class::Exploit, 1, 2, 300, &silenced), 1, "it has ended");
}

#[test]
fn an_allow_entry_for_one_target_does_not_hide_a_sweep() {
    let one_target = AllowEntry {
        sid: None,
        source: None,
        target: "192.0.2.2".parse().ok(),
        target_port: Some(22),
        class: None,
        kind: None,
        until: Expiry::at_ns(u64::MAX),
        reason: "a honeypot".to_owned(),
    };
    let mut rig = Rig::new(&FuseSettings { allow: vec![one_target], ..FuseSettings::default() });
    let probe = ended(1, key(1, 2, 22), 100 * SEC);
    rig.step(100, &[], vec![on_source(Class::PortScan, &probe)]);
    assert_eq!(rig.told.len(), 1);
}

#[test]
fn too_many_held_verdicts_are_given_early_and_counted() {
    let mut rig = Rig::new(&FuseSettings::default());
    let flows: Vec<FlowRecord> = (0..HELD_MAX as u64 + 10).map(|at| ended(at, key(1, 2, 80), 100 * SEC)).collect();
    rig.step(100, &flows, Vec::new());
    assert_eq!(rig.verdicts.len(), 10);
    assert_eq!(rig.fuse.stats().verdicts_early, 10);
    rig.finish(101);
    assert_eq!(rig.verdicts.len(), flows.len());
}

/// One tick's happenings, in small numbers so that they meet.
#[derive(Clone, Debug)]
enum Event {
    Open(u64, u8, u8),
    End(u64, u8, u8),
    Flow(u64, u8, u8, usize),
    Source(u8, u8, usize),
    Target(u8, u8, usize),
    Silence(u64),
}

fn event() -> impl Strategy<Value = Event> {
    let (id, host, class) = (0..200_u64, 0..40_u8, 1..Class::ALL.len());
    prop_oneof![
        (id.clone(), host.clone(), host.clone()).prop_map(|(id, src, dst)| Event::Open(id, src, dst)),
        (id.clone(), host.clone(), host.clone()).prop_map(|(id, src, dst)| Event::End(id, src, dst)),
        (id, host.clone(), host.clone(), class.clone())
            .prop_map(|(id, src, dst, class)| Event::Flow(id, src, dst, class)),
        (host.clone(), host.clone(), class.clone()).prop_map(|(src, dst, class)| Event::Source(src, dst, class)),
        (host.clone(), host, class).prop_map(|(src, dst, class)| Event::Target(src, dst, class)),
        (0..400_u64).prop_map(Event::Silence),
    ]
}

fn play(events: &[Event], settings: &FuseSettings) -> (Rig, u64) {
    let mut rig = Rig::new(settings);
    let (mut now, mut flows_ended) = (1_000, 0);
    for event in events {
        let at = now * SEC;
        match *event {
            Event::Open(id, src, dst) => {
                rig.step(now, &[record(id, key(src, dst, 80), at, FlowState::Open)], Vec::new());
            }
            Event::End(id, src, dst) => {
                flows_ended += 1;
                rig.step(now, &[ended(id, key(src, dst, 80), at)], Vec::new());
            }
            Event::Flow(id, src, dst, class) => {
                let flow = record(id, key(src, dst, 80), at, FlowState::Open);
                rig.step(now, &[], vec![on_flow(Class::ALL[class], &flow, 0.9)]);
            }
            Event::Source(src, dst, class) => {
                let flow = record(0, key(src, dst, 80), at, FlowState::Open);
                rig.step(now, &[], vec![on_source(Class::ALL[class], &flow)]);
            }
            Event::Target(src, dst, class) => {
                let flow = record(0, key(src, dst, 80), at, FlowState::Open);
                let target = Subject::Target { dst: flow.key.dst };
                rig.step(now, &[], vec![finding(Witness::Behaviour, Class::ALL[class], target, &flow, 0.7)]);
            }
            Event::Silence(secs) => now += secs,
        }
    }
    rig.finish(now);
    (rig, flows_ended)
}

proptest! {
    #[test]
    fn every_ended_flow_gets_one_verdict_and_every_finding_is_accounted_for(
        events in proptest::collection::vec(event(), 0..300),
        incidents_max in 1..8_usize,
    ) {
        let settings = FuseSettings { incidents_max, ..FuseSettings::default() };
        let (rig, flows_ended) = play(&events, &settings);
        let stats = rig.fuse.stats();
        prop_assert_eq!(rig.verdicts.len() as u64, flows_ended);
        prop_assert_eq!(stats.verdicts, flows_ended);
        prop_assert!(stats.incidents <= incidents_max as u64);
        prop_assert_eq!(stats.held, 0);
        let summed: u64 = rig.told.iter().map(|incident| incident.suppressed).sum();
        prop_assert!(summed <= stats.findings_suppressed);
        prop_assert_eq!(stats.opened + stats.escalated + stats.summaries, rig.told.len() as u64);
        for incident in &rig.told {
            prop_assert!((0.0..=1.0).contains(&incident.score));
            prop_assert!((0.0..=1.0).contains(&incident.agreement));
            prop_assert!(incident.id < 1 << 53);
        }
        for verdict in &rig.verdicts {
            prop_assert!((0.0..=1.0).contains(&verdict.confidence));
        }
    }

    #[test]
    fn the_same_events_give_the_same_reports(events in proptest::collection::vec(event(), 0..200)) {
        let told = |events: &[Event]| {
            let (rig, _) = play(events, &FuseSettings::default());
            (format!("{:?}", rig.told), format!("{:?}", rig.verdicts))
        };
        prop_assert_eq!(told(&events), told(&events));
    }
}
