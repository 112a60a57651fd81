//! What Suricata says, joined with what the agent's own witnesses say: one alert, its severity, and what noise may not do.

use ids_agent::{
    config::{AllowEntry, Expiry, FuseSettings},
    detect::{Class, Finding, Incident, Judged, Outcome, Severity, Subject, Verdict, Witness, fuse::Fuse},
    eve::Matched,
    features::{FEATURES, FeatureVector},
    flow::{FlowEnd, FlowRecord, FlowState},
    payload::PayloadFacts,
};
use ids_common::flow::{FlowKey, FlowSlot};
use zerocopy::FromZeros;

const SEC: u64 = 1_000_000_000;

fn flow(id: u64, src: u8, dst: u8, at_secs: u64) -> FlowRecord {
    let host = |last| std::net::Ipv4Addr::new(192, 0, 2, last).to_ipv6_mapped().octets();
    let key = FlowKey { src: host(src), dst: host(dst), src_port: 40_000, dst_port: 80, proto: 6, kind: 0, vlan: 0 };
    let mut forward = FlowSlot::new_zeroed();
    forward.key = key;
    forward.packets = 1;
    let at_ns = at_secs * SEC;
    let state = FlowState::Ended(FlowEnd::Idle);
    FlowRecord { id, key, forward, backward: None, start_ns: at_ns, end_ns: at_ns, state }
}

fn said(witness: Witness, class: Class, flow: &FlowRecord, score: f32) -> Finding {
    let matched = Matched {
        gid: 1,
        sid: 2_024_364,
        rev: 1,
        signature: "a rule".into(),
        category: "".into(),
        priority: 1,
        worth: score,
        times: 1,
    };
    Finding {
        witness,
        class,
        kind: "test",
        score,
        severity: if score < 0.5 { Severity::Info } else { Severity::Low },
        subject: Subject::Flow { id: flow.id },
        exemplar: flow.key,
        exemplar_id: flow.id,
        first_ns: flow.start_ns,
        last_ns: flow.end_ns,
        reason: "because".to_owned(),
        evidence: Vec::new(),
        matched: (witness == Witness::Signature).then(|| Box::new(matched)),
    }
}

fn rule(class: Class, flow: &FlowRecord, worth: f32) -> Finding {
    said(Witness::Signature, class, flow, worth)
}

/// Steps at their times, each with flows and findings; then the end.
fn run(settings: &FuseSettings, steps: Vec<(u64, Vec<FlowRecord>, Vec<Finding>)>) -> (Vec<Incident>, Vec<Verdict>) {
    let mut fuse = Fuse::new(settings, 6, 60 * SEC);
    let mut out = Outcome::default();
    let (features, payload) = (FeatureVector { values: [0.0; FEATURES] }, PayloadFacts::default());
    let mut last = 0;
    for (at_secs, records, findings) in steps {
        let judged: Vec<Judged<'_>> =
            records.iter().map(|record| Judged { record, features: &features, payload: &payload }).collect();
        fuse.step(at_secs * SEC, &judged, findings, &mut out);
        last = at_secs;
    }
    fuse.finish((last + 1) * SEC, &mut out);
    (out.incidents, out.verdicts)
}

#[test]
fn a_signature_that_is_worth_telling_opens_an_incident_and_names_the_flow() {
    let flow = flow(1, 1, 2, 100);
    let steps = vec![(100, vec![flow.clone()], vec![rule(Class::C2, &flow, 0.9)])];
    let (told, verdicts) = run(&FuseSettings::default(), steps);
    assert_eq!((told.len(), told[0].class, told[0].matched[0].sid), (1, Class::C2, 2_024_364));
    assert_eq!((verdicts[0].class, verdicts[0].incident), (Class::C2, Some(told[0].id)));
}

#[test]
fn noise_opens_nothing_and_calls_no_flow_an_attack_however_often_it_comes() {
    let flows: Vec<FlowRecord> = (0..50).map(|id| flow(id + 1, 1, 2, 100)).collect();
    for worth in [0.02, 0.3, 0.49] {
        for class in [Class::Anomaly, Class::Exploit, Class::PortScan] {
            let findings = flows.iter().map(|flow| rule(class, flow, worth)).collect();
            let (told, verdicts) = run(&FuseSettings::default(), vec![(100, flows.clone(), findings)]);
            assert!(told.is_empty(), "{class:?} {worth}: {told:?}");
            assert!(verdicts.iter().all(|verdict| verdict.class == Class::Benign));
            assert_eq!(verdicts[0].witnesses.len(), 1, "the flow's line still has it");
        }
    }
}

#[test]
fn noise_after_an_alert_makes_no_summary_of_it() {
    let flows: Vec<FlowRecord> = (0..9).map(|id| flow(id + 1, 1, 2, 100)).collect();
    let mut findings = vec![said(Witness::Payload, Class::Exploit, &flows[0], 0.9)];
    findings.extend(flows.iter().map(|flow| rule(Class::Exploit, flow, 0.2)));
    let (told, _) = run(&FuseSettings::default(), vec![(100, flows.clone(), findings)]);
    assert_eq!(told.len(), 1, "{told:?}");
}

#[test]
fn a_signature_that_comes_while_the_verdict_is_held_still_counts_in_it() {
    let flow = flow(1, 1, 2, 100);
    let steps = vec![(100, vec![flow.clone()], Vec::new()), (105, Vec::new(), vec![rule(Class::Exploit, &flow, 0.8)])];
    let (told, verdicts) = run(&FuseSettings::default(), steps);
    assert_eq!((verdicts.len(), verdicts[0].class), (1, Class::Exploit));
    assert_eq!(verdicts[0].incident, Some(told[0].id));
}

#[test]
fn one_that_comes_minutes_later_reaches_the_incident_alone() {
    let flow = flow(1, 1, 2, 100);
    let late = (400, Vec::new(), vec![rule(Class::Exploit, &flow, 0.8)]);
    let steps = vec![(100, vec![flow.clone()], Vec::new()), (120, Vec::new(), Vec::new()), late];
    let (told, verdicts) = run(&FuseSettings::default(), steps);
    assert_eq!((told.len(), verdicts[0].class), (1, Class::Benign));
}

#[test]
fn suricata_and_a_witness_of_the_agents_make_one_alert_that_is_surer_and_graver() {
    let flow = flow(1, 1, 2, 100);
    let alone = run(&FuseSettings::default(), vec![(100, vec![flow.clone()], vec![rule(Class::Exploit, &flow, 0.8)])]);
    let both = vec![rule(Class::Exploit, &flow, 0.8), said(Witness::Payload, Class::Exploit, &flow, 0.8)];
    let both = run(&FuseSettings::default(), vec![(100, vec![flow.clone()], both)]);
    assert_eq!((alone.0.len(), both.0.len()), (1, 1));
    assert!(both.0[0].score > alone.0[0].score + 0.1);
    assert_eq!((alone.0[0].severity, both.0[0].severity), (Severity::Low, Severity::Medium));
}

#[test]
fn a_scan_then_a_signature_of_the_same_source_is_graver() {
    let (probe, attack) = (flow(1, 1, 2, 100), flow(2, 1, 2, 200));
    let scan = Finding {
        subject: Subject::Source { src: probe.key.src },
        ..said(Witness::Behaviour, Class::PortScan, &probe, 0.9)
    };
    let steps = vec![
        (100, vec![probe.clone()], vec![scan]),
        (200, vec![attack.clone()], vec![rule(Class::Exploit, &attack, 0.8)]),
    ];
    let (told, _) = run(&FuseSettings::default(), steps);
    assert_eq!(told.iter().map(|told| told.severity).collect::<Vec<_>>(), [Severity::Low, Severity::Medium]);
    assert!(told[1].reason.contains("told shortly before: a scan by 192.0.2.1"), "{}", told[1].reason);
}

#[test]
fn a_rule_for_bots_speaks_of_the_bots_other_connections_to_its_controller_as_well() {
    let (before, named, after) = (flow(1, 1, 2, 96), flow(2, 1, 2, 100), flow(3, 1, 2, 104));
    let mut elsewhere = flow(4, 1, 2, 101);
    (elsewhere.key.dst_port, elsewhere.forward.key.dst_port) = (443, 443);
    let (stranger, later) = (flow(5, 3, 2, 101), flow(6, 1, 2, 180));
    let classes = |class, worth| {
        let steps = vec![
            (96, vec![before.clone()], Vec::new()),
            (101, vec![named.clone(), elsewhere.clone(), stranger.clone()], vec![rule(class, &named, worth)]),
            (104, vec![after.clone()], Vec::new()),
            (180, vec![later.clone()], Vec::new()),
        ];
        let (told, verdicts) = run(&FuseSettings::default(), steps);
        assert!(told.len() <= 1, "{told:?}");
        let mut called: Vec<u64> =
            verdicts.iter().filter(|verdict| verdict.class == class).map(|verdict| verdict.record.id).collect();
        called.sort_unstable();
        called
    };
    assert_eq!(classes(Class::C2, 0.9), [1, 2, 3]);
    assert_eq!(classes(Class::C2, 0.4), [0_u64; 0], "what tells nothing by itself says nothing of others");
    assert_eq!(classes(Class::Exploit, 0.9), [2], "one request of many may be the attack");
}

#[test]
fn an_allow_entry_may_name_a_signature_and_silences_no_other() {
    let entry = |sid| AllowEntry {
        source: None,
        target: None,
        target_port: None,
        class: None,
        kind: None,
        sid: Some(sid),
        until: Expiry::at_ns(u64::MAX),
        reason: "known".to_owned(),
    };
    let flow = flow(1, 1, 2, 100);
    let told = |sid, finding: Finding| {
        let settings = FuseSettings { allow: vec![entry(sid)], ..FuseSettings::default() };
        run(&settings, vec![(100, vec![flow.clone()], vec![finding])]).0.len()
    };
    assert_eq!(told(2_024_364, rule(Class::C2, &flow, 0.9)), 0);
    assert_eq!(told(2_024_365, rule(Class::C2, &flow, 0.9)), 1);
    assert_eq!(told(2_024_364, said(Witness::Payload, Class::C2, &flow, 0.9)), 1);
}
