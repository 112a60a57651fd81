//! Attack patterns that have to be told, look-alikes that must not, bounds, and ticks that do not matter.

use ids_common::wire::{PROTO_ICMP, PROTO_TCP, PROTO_UDP, TCP_ACK, TCP_FIN, TCP_PSH, TCP_SYN, TCP_URG};
use proptest::prelude::*;

use super::*;
use crate::{
    fabricated::{Back, Fabricated, MS, SEC, There, host, host6, key},
    features::{FEATURES, FeatureVector},
    flow::FlowEnd,
    payload::{AppProto, HttpFacts, Login},
};

mod beacon;
mod bot;
mod device;
mod dns_tunnel;
mod flood;
mod scan;
mod service;

type Flow = (Fabricated, PayloadFacts);

/// Shows the flows to a detector tick by tick, each when it ends, and tells what was found.
fn findings(flows: &[Flow]) -> Vec<Finding> {
    findings_with(&BehaviourSettings::default(), flows, 500 * MS).0
}

fn findings_with(settings: &BehaviourSettings, flows: &[Flow], tick_ns: u64) -> (Vec<Finding>, DetectorStats) {
    let mut behaviour = Behaviour::new(settings, 7);
    let records: Vec<(FlowRecord, &PayloadFacts)> =
        flows.iter().map(|(flow, payload)| (flow.record(), payload)).collect();
    let features = FeatureVector { values: [0.0; FEATURES] };
    let last_ns = records.iter().map(|(record, _)| record.end_ns).max().unwrap_or(0);
    let first_ns = records.iter().map(|(record, _)| record.start_ns).min().unwrap_or(0);
    let mut found = Vec::new();
    let mut now_ns = first_ns / tick_ns * tick_ns;
    while now_ns <= last_ns + 5 * SEC {
        let tick = now_ns..now_ns + tick_ns;
        let due = records.iter().filter(|(record, _)| tick.contains(&record.end_ns));
        let judged: Vec<Judged<'_>> =
            due.map(|(record, payload)| Judged { record, features: &features, payload }).collect();
        now_ns += tick_ns;
        behaviour.judge(&judged, now_ns, &mut found);
    }
    (found, behaviour.stats())
}

/// Each thing found once: class, kind and subject.
fn told(findings: &[Finding]) -> Vec<(Class, &'static str, Subject)> {
    let mut told: Vec<_> = findings.iter().map(|finding| (finding.class, finding.kind, finding.subject)).collect();
    told.sort_unstable();
    told.dedup();
    told
}

fn check(flows: &[Flow], expected: &[(Class, &'static str, Subject)]) {
    let found = findings(flows);
    assert_eq!(told(&found), expected, "{:#?}", found.first());
}

fn check_quiet(flows: &[Flow]) {
    check(flows, &[]);
}

fn bare(flow: Fabricated) -> Flow {
    (flow, PayloadFacts::default())
}

fn tcp(src: [u8; 16], src_port: u16, dst: [u8; 16], dst_port: u16, at_ns: u64) -> Fabricated {
    Fabricated::new(key(src, src_port, dst, dst_port, PROTO_TCP), at_ns)
}

fn udp(src: [u8; 16], src_port: u16, dst: [u8; 16], dst_port: u16, at_ns: u64) -> Fabricated {
    Fabricated::new(key(src, src_port, dst, dst_port, PROTO_UDP), at_ns)
}

fn ping(src: [u8; 16], dst: [u8; 16], at_ns: u64) -> Fabricated {
    Fabricated::new(key(src, 8, dst, 0, PROTO_ICMP), at_ns).packet(There, 0, 56)
}

fn of(app: AppProto) -> PayloadFacts {
    PayloadFacts { app, ..PayloadFacts::default() }
}

fn pair(src: [u8; 16], dst: [u8; 16]) -> Subject {
    Subject::Pair { src, dst }
}

fn service(src: [u8; 16], dst: [u8; 16], dst_port: u16) -> Subject {
    Subject::Service { src, dst, dst_port, proto: PROTO_TCP }
}

const ATTACKER: u8 = 7;

fn attacker() -> [u8; 16] {
    host(0, 0, ATTACKER)
}

fn victim() -> [u8; 16] {
    host(0, 0, 1)
}

#[test]
fn a_syn_scan_is_told_as_one_pair() {
    let scan: Vec<Flow> = (0..400u16)
        .map(|n| {
            let flow = tcp(attacker(), 40_000, victim(), n + 1, 10 * SEC + u64::from(n) * 20 * MS);
            bare(if n % 20 == 0 { flow.syn() } else { flow.refused() })
        })
        .collect();
    check(&scan, &[(Class::PortScan, "syn_scan", pair(attacker(), victim()))]);
    let found = findings(&scan);
    let last = &found[found.len() - 1];
    assert!(found.len() < 12, "{}", found.len());
    assert_eq!(last.first_ns, 10 * SEC);
    assert!(last.score > 0.9);
    assert!(last.reason.starts_with("10.0.0.7 tried about "), "{}", last.reason);
    assert!(last.reason.contains("ports of 10.0.0.1 in ") && last.evidence[0].value > 150.0, "{}", last.reason);
}

#[test]
fn every_kind_of_scan_has_its_name() {
    let odd = |flags: u8| -> Vec<Flow> {
        (0..40u16)
            .map(|n| bare(tcp(host6(7), 50_000, host6(1), n + 1, 10 * SEC + u64::from(n) * MS).packet(There, flags, 0)))
            .collect()
    };
    let subject = pair(host6(7), host6(1));
    check(&odd(0), &[(Class::PortScan, "null_scan", subject)]);
    check(&odd(TCP_FIN), &[(Class::PortScan, "fin_scan", subject)]);
    check(&odd(TCP_FIN | TCP_PSH | TCP_URG), &[(Class::PortScan, "xmas_scan", subject)]);
    check(&odd(TCP_ACK), &[(Class::PortScan, "ack_scan", subject)]);
    let connects: Vec<Flow> =
        (0..40u16).map(|n| bare(tcp(host6(7), 50_000 + n, host6(1), n + 1, 10 * SEC).handshake().closed())).collect();
    check(&connects, &[(Class::PortScan, "connect_scan", subject)]);
    let datagrams: Vec<Flow> = (0..40u16)
        .map(|n| bare(udp(host6(7), 50_000, host6(1), n + 1, 10 * SEC + u64::from(n) * 10 * MS).packet(There, 0, 0)))
        .collect();
    check(&datagrams, &[(Class::PortScan, "udp_scan", subject)]);
}

#[test]
fn a_slow_scan_is_told_in_minutes() {
    let scan: Vec<Flow> =
        (0..40u16).map(|n| bare(tcp(attacker(), 40_000, victim(), n + 1, u64::from(n) * 15 * SEC).syn())).collect();
    check(&scan, &[(Class::PortScan, "syn_scan", pair(attacker(), victim()))]);
}

#[test]
fn sweeps_are_told_of_their_source() {
    let subject = Subject::Source { src: attacker() };
    let telnet: Vec<Flow> = (0..60u8)
        .map(|n| {
            bare(tcp(attacker(), 40_000 + u16::from(n), host(1, 0, n), 23, 10 * SEC + u64::from(n) * 100 * MS).syn())
        })
        .collect();
    check(&telnet, &[(Class::PortScan, "syn_sweep", subject)]);
    let pings: Vec<Flow> =
        (0..60u8).map(|n| bare(ping(attacker(), host(1, 0, n), 10 * SEC + u64::from(n) * 100 * MS))).collect();
    check(&pings, &[(Class::PortScan, "ping_sweep", subject)]);
    assert!(findings(&pings)[0].reason.starts_with("10.0.0.7 pinged 20 hosts in 2 s"));
}

#[test]
fn a_spoofed_syn_flood_is_told_of_its_target() {
    let flood: Vec<Flow> = (0..2_000u32)
        .map(|n| {
            let [_, b, c, d] = n.wrapping_mul(2_654_435_761).to_be_bytes();
            let flow = tcp(host(b, c, d), 1_024 + n as u16, victim(), 80, 10 * SEC + u64::from(n) * MS);
            bare(flow.syn().packet(Back, TCP_SYN | TCP_ACK, 0))
        })
        .collect();
    check(&flood, &[(Class::Flood, "spoofed_syn", Subject::Target { dst: victim() })]);
}

#[test]
fn floods_from_one_source_name_it() {
    let syns: Vec<Flow> = (0..2_000u16)
        .map(|n| bare(tcp(attacker(), 1_024 + n, victim(), 8_080, 10 * SEC + u64::from(n) * MS).refused()))
        .collect();
    check(&syns, &[(Class::Flood, "syn", service(attacker(), victim(), 8_080))]);
    let datagrams: Vec<Flow> = (0..2_000u16)
        .map(|n| bare(udp(attacker(), 1_024 + n, victim(), 0, 10 * SEC + u64::from(n) * MS / 10).packet(There, 0, 900)))
        .collect();
    check(&datagrams, &[(Class::Flood, "udp", pair(attacker(), victim()))]);
    let stray: Vec<Flow> = (0..2_000u16)
        .map(|n| bare(tcp(attacker(), 1_024 + n, victim(), 80, 10 * SEC + u64::from(n) * MS).packet(There, TCP_ACK, 0)))
        .collect();
    check(&stray, &[(Class::Flood, "tcp", service(attacker(), victim(), 80))]);
    let mut echo = ping(attacker(), victim(), 10 * SEC);
    for _ in 0..5_000 {
        echo = echo.wait(MS / 10).packet(There, 0, 1_400);
    }
    check(&[bare(echo)], &[(Class::Flood, "icmp", pair(attacker(), victim()))]);
}

#[test]
fn answers_to_questions_nobody_asked_are_a_reflected_flood() {
    let flood: Vec<Flow> = (0..2_000u16)
        .map(|n| {
            let reflector = host(9, (n / 200) as u8, (n % 200) as u8);
            bare(udp(reflector, 53, victim(), 20_000 + n, 10 * SEC + u64::from(n) * MS / 2).packet(There, 0, 1_400))
        })
        .collect();
    check(&flood, &[(Class::Flood, "reflected_udp", Subject::Target { dst: victim() })]);
}

#[test]
fn slow_requests_are_told() {
    let http = HttpFacts { method: Some("GET".into()), partial: true, ..HttpFacts::default() };
    let payload = PayloadFacts { app: AppProto::Http, http: Some(Box::new(http)), ..PayloadFacts::default() };
    let flows: Vec<Flow> = (0..60u16)
        .map(|n| {
            let flow = tcp(attacker(), 40_000 + n, victim(), 80, 10 * SEC).handshake().packet(There, TCP_ACK, 180);
            (flow.wait(12 * SEC).packet(There, TCP_ACK, 12), payload.clone())
        })
        .collect();
    check(&flows, &[(Class::AppDos, "slow_requests", service(attacker(), victim(), 80))]);
}

#[test]
fn hoarded_connections_are_told() {
    let flows: Vec<Flow> = (0..600u16)
        .map(|n| {
            let flow = tcp(attacker(), 10_000 + n, victim(), 1_883, 10 * SEC + u64::from(n) * MS).handshake();
            (flow.exchange(20, 4), of(AppProto::Mqtt))
        })
        .collect();
    check(&flows, &[(Class::AppDos, "hoarded_connections", service(attacker(), victim(), 1_883))]);
}

fn request(n: u16, agent: String, at_ns: u64) -> Flow {
    let http = HttpFacts { method: Some("GET".into()), user_agent: Some(agent.into()), ..HttpFacts::default() };
    let payload = PayloadFacts { app: AppProto::Http, http: Some(Box::new(http)), ..PayloadFacts::default() };
    (tcp(attacker(), 10_000 + n, victim(), 80, at_ns).handshake().exchange(300, 9_000).closed(), payload)
}

#[test]
fn requests_under_ever_new_names_are_told() {
    let flows: Vec<Flow> =
        (0..40u16).map(|n| request(n, format!("agent {}", n % 20), 10 * SEC + u64::from(n) * 200 * MS)).collect();
    check(&flows, &[(Class::AppDos, "changing_agents", service(attacker(), victim(), 80))]);
}

fn ssh_session(n: u16, at_ns: u64, answer: u32, secs: u64) -> Flow {
    let flow = tcp(attacker(), 10_000 + n, victim(), 22, at_ns).handshake().exchange(2_000, answer);
    (flow.wait(secs * SEC).closed(), of(AppProto::Ssh))
}

#[test]
fn guessing_at_ssh_is_told() {
    let flows: Vec<Flow> = (0..40u16).map(|n| ssh_session(n, 10 * SEC + u64::from(n) * SEC, 2_200, 2)).collect();
    check(&flows, &[(Class::BruteForce, "ssh", service(attacker(), victim(), 22))]);
    let reason = &findings(&flows)[0].reason;
    assert!(reason.starts_with("10.0.0.7 guesses at SSH (port 22) of 10.0.0.1: 10 short sessions within"), "{reason}");
}

#[test]
fn failed_logins_are_told_sooner() {
    let failed = PayloadFacts { login: Login::Failed, ..of(AppProto::Ftp) };
    let flows: Vec<Flow> = (0..8u16)
        .map(|n| {
            (
                tcp(attacker(), 10_000 + n, victim(), 21, u64::from(n) * SEC).handshake().exchange(30, 90).closed(),
                failed.clone(),
            )
        })
        .collect();
    check(&flows, &[(Class::BruteForce, "ftp", service(attacker(), victim(), 21))]);
    let tried = PayloadFacts { login: Login::Tried, ..of(AppProto::Http) };
    let flows: Vec<Flow> = (0..40u16)
        .map(|n| {
            (
                tcp(attacker(), 10_000 + n, victim(), 80, u64::from(n) * 100 * MS)
                    .handshake()
                    .exchange(300, 900)
                    .closed(),
                tried.clone(),
            )
        })
        .collect();
    check(&flows, &[(Class::BruteForce, "http", service(attacker(), victim(), 80))]);
}

#[test]
fn guessing_from_many_sources_is_told_of_the_target() {
    let failed = PayloadFacts { login: Login::Failed, ..of(AppProto::Mqtt) };
    let flows: Vec<Flow> = (0..90u8)
        .map(|n| {
            (
                tcp(host(3, 0, n % 30), 10_000, victim(), 1_883, u64::from(n) * 300 * MS)
                    .handshake()
                    .exchange(30, 4)
                    .closed(),
                failed.clone(),
            )
        })
        .collect();
    check(&flows, &[(Class::BruteForce, "spread", Subject::Target { dst: victim() })]);
}

#[test]
fn a_browser_is_quiet() {
    let flows: Vec<Flow> = (0..60u16)
        .map(|n| {
            let flow =
                tcp(host(0, 0, 20), 50_000 + n, host(80, 0, (n % 30) as u8), 443, 10 * SEC + u64::from(n) * 10 * MS);
            match n % 6 {
                // A connection opened ahead and never used, and one lost to a dead address.
                0 => bare(flow.handshake().wait(5 * SEC).closed()),
                1 => bare(flow.syn()),
                _ => (flow.handshake().exchange(600, 20_000).closed(), of(AppProto::Tls)),
            }
        })
        .collect();
    check_quiet(&flows);
}

#[test]
fn resolvers_time_keepers_and_discovery_are_quiet() {
    let mut flows: Vec<Flow> = Vec::new();
    for n in 0..400u16 {
        let at_ns = 10 * SEC + u64::from(n) * 50 * MS;
        let server = host(53, (n % 7) as u8, (n % 60) as u8);
        let asked = udp(host(0, 0, 53), 20_000 + n, server, 53, at_ns).packet(There, 0, 40);
        flows.push((if n % 10 == 0 { asked } else { asked.packet(Back, 0, 200) }, of(AppProto::Dns)));
        let mut group = host(0, 0, 251);
        group[12] = 224;
        flows.push((
            udp(host(0, 0, (n % 40) as u8), 5_353, group, 5_353, at_ns).packet(There, 0, 90),
            of(AppProto::Mdns),
        ));
    }
    check_quiet(&flows);
}

#[test]
fn a_backup_and_a_few_wrong_passwords_are_quiet() {
    let mut flows: Vec<Flow> = (0..3u16).map(|n| ssh_session(n, 10 * SEC + u64::from(n) * 8 * SEC, 2_400, 6)).collect();
    flows.extend((0..30u16).map(|n| ssh_session(100 + n, 100 * SEC + u64::from(n) * 2 * SEC, 900_000, 2)));
    check_quiet(&flows);
}

#[test]
fn monitoring_is_quiet() {
    let mut flows: Vec<Flow> = Vec::new();
    for round in 0..10u64 {
        for n in 0..100u8 {
            let at_ns = 60 * SEC * round + u64::from(n) * 100 * MS;
            flows.push(bare(ping(host(0, 0, 9), host(2, 0, n), at_ns).packet(Back, 0, 56)));
            let check = tcp(host(0, 0, 9), 20_000 + u16::from(n), host(2, 0, n), 443, at_ns).handshake();
            flows.push((check.exchange(300, 2_000).closed(), of(AppProto::Tls)));
        }
    }
    check_quiet(&flows);
}

#[test]
fn many_peers_that_come_and_go_are_quiet() {
    let flows: Vec<Flow> = (0..150u16)
        .map(|n| {
            let flow =
                tcp(host(0, 0, 30), 30_000 + n, host(90, (n % 3) as u8, n as u8), 20_000 + 37 * n, u64::from(n) * SEC);
            if n % 2 == 0 {
                bare(flow.syn())
            } else {
                (flow.handshake().exchange(100, 30_000).closed(), of(AppProto::Bittorrent))
            }
        })
        .collect();
    check_quiet(&flows);
}

#[test]
fn a_busy_server_and_passive_ftp_are_quiet() {
    let mut flows: Vec<Flow> = (0..3_000u32)
        .map(|n| {
            let [_, _, c, d] = (n % 900).to_be_bytes();
            let flow = tcp(host(60, c, d), 10_000 + n as u16, victim(), 80, 10 * SEC + u64::from(n) * 3 * MS);
            (flow.handshake().exchange(400, 8_000).closed(), of(AppProto::Http))
        })
        .collect();
    flows.extend((0..80u16).map(|n| {
        let data = tcp(host(0, 0, 31), 40_000 + n, host(0, 0, 21), 50_000 + 13 * n, 60 * SEC + u64::from(n) * 300 * MS);
        bare(data.handshake().exchange(0, 40_000).closed())
    }));
    check_quiet(&flows);
}

#[test]
fn a_stream_and_the_rest_of_a_conversation_are_quiet() {
    let mut flows: Vec<Flow> = Vec::new();
    let mut stream = udp(host(0, 0, 40), 5_004, host(0, 0, 41), 5_004, 10 * SEC);
    for _ in 0..4_000 {
        stream = stream.wait(MS).packet(There, 0, 1_300);
    }
    flows.push(bare(stream));
    // A server whose clients' side of old connections is not seen.
    flows.extend((0..200u16).map(|n| {
        bare(tcp(host(0, 0, 80), 443, host(0, 0, 81), 40_000 + n, u64::from(n) * 100 * MS).packet(
            There,
            TCP_FIN | TCP_ACK,
            0,
        ))
    }));
    check_quiet(&flows);
}

#[test]
fn traceroute_is_quiet() {
    let mut behaviour = Behaviour::new(&BehaviourSettings::default(), 7);
    let features = FeatureVector { values: [0.0; FEATURES] };
    let mut found = Vec::new();
    for n in 0..90u16 {
        let flow = udp(host(0, 0, 8), 40_000, host(99, 0, 1), 33_434 + n, u64::from(n) * 100 * MS).packet(There, 0, 32);
        let mut record = flow.record();
        record.forward.ttl_max = (n / 3 + 1) as u8;
        record.state = FlowState::Ended(FlowEnd::Idle);
        let payload = PayloadFacts::default();
        behaviour.judge(
            &[Judged { record: &record, features: &features, payload: &payload }],
            record.end_ns,
            &mut found,
        );
    }
    assert_eq!(found, []);
}

#[test]
fn a_refused_service_that_is_tried_again_and_again_is_no_scan() {
    let flows: Vec<Flow> = (0..100u16)
        .map(|n| bare(tcp(host(0, 0, 20), 30_000 + n, host(0, 0, 1), 5_432, u64::from(n) * SEC).refused()))
        .collect();
    check_quiet(&flows);
}

#[test]
fn state_is_bounded_and_what_is_forgotten_is_counted() {
    let mut settings = BehaviourSettings::default();
    let limits = &mut settings.limits;
    (limits.flows_max, limits.pairs_max, limits.sources_max, limits.targets_max, limits.services_max) =
        (64, 64, 64, 64, 64);
    let flood: Vec<Flow> = (0..20_000u32)
        .map(|n| {
            let [_, b, c, d] = n.to_be_bytes();
            bare(tcp(host(b + 1, c, d), 1_024, victim(), 80, 10 * SEC + u64::from(n) * MS / 10).syn())
        })
        .collect();
    let (found, stats) = findings_with(&settings, &flood, 500 * MS);
    assert!(stats.forgotten > 10_000);
    assert_eq!(stats.judged, 20_000);
    assert_eq!(stats.findings, found.len() as u64);
    assert!(told(&found).contains(&(Class::Flood, "spoofed_syn", Subject::Target { dst: victim() })));
}

#[test]
fn a_flow_judged_again_and_again_counts_once() {
    let mut behaviour = Behaviour::new(&BehaviourSettings::default(), 7);
    let features = FeatureVector { values: [0.0; FEATURES] };
    let payload = PayloadFacts { login: Login::Failed, ..of(AppProto::Ftp) };
    let mut found = Vec::new();
    let mut flow = tcp(attacker(), 1, victim(), 21, SEC).handshake();
    for n in 0..100 {
        flow = flow.wait(100 * MS).exchange(10, 30);
        let record = flow.record();
        behaviour.judge(&[Judged { record: &record, features: &features, payload: &payload }], n * SEC, &mut found);
    }
    assert_eq!(found, []);
}

fn mixed() -> Vec<Flow> {
    let mut flows: Vec<Flow> = (0..100u16)
        .map(|n| bare(tcp(attacker(), 40_000, victim(), n + 1, 10 * SEC + u64::from(n) * 30 * MS).syn()))
        .collect();
    flows.extend((0..30u16).map(|n| ssh_session(n, 11 * SEC + u64::from(n) * 700 * MS, 2_200, 1)));
    flows.extend((0..300u32).map(|n| {
        let [_, b, c, d] = n.wrapping_mul(2_654_435_761).to_be_bytes();
        bare(tcp(host(b, c, d), 1_024, host(0, 0, 2), 80, 12 * SEC + u64::from(n) * 5 * MS).syn())
    }));
    flows.extend((0..40u16).map(|n| request(n, format!("agent {n}"), 13 * SEC + u64::from(n) * 100 * MS)));
    flows
}

#[test]
fn the_length_of_a_tick_does_not_change_what_is_told() {
    let settings = BehaviourSettings::default();
    let expected = told(&findings_with(&settings, &mixed(), 500 * MS).0);
    assert_eq!(expected.len(), 4);
    for tick_ns in [50 * MS, 200 * MS, SEC, 7 * SEC] {
        assert_eq!(told(&findings_with(&settings, &mixed(), tick_ns).0), expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn flows_of_a_tick_may_be_judged_in_any_portions(cuts in prop::collection::vec(0usize..500, 0..6)) {
        let flows = mixed();
        let records: Vec<(FlowRecord, &PayloadFacts)> = flows.iter().map(|(flow, payload)| (flow.record(), payload)).collect();
        let features = FeatureVector { values: [0.0; FEATURES] };
        let judged: Vec<Judged<'_>> =
            records.iter().map(|(record, payload)| Judged { record, features: &features, payload }).collect();
        let run = |cuts: &[usize]| {
            let mut behaviour = Behaviour::new(&BehaviourSettings::default(), 7);
            let mut found = Vec::new();
            let mut bounds: Vec<usize> = cuts.iter().map(|cut| cut % judged.len()).collect();
            bounds.extend([0, judged.len()]);
            bounds.sort_unstable();
            for pair in bounds.windows(2) {
                behaviour.judge(&judged[pair[0]..pair[1]], 0, &mut found);
            }
            behaviour.judge(&[], 60 * SEC, &mut found);
            found
        };
        prop_assert_eq!(run(&cuts), run(&[]));
    }
}

#[test]
fn odd_protocols_and_odd_icmp_are_probes() {
    let protocols: Vec<Flow> = (140..180u8)
        .map(|proto| bare(Fabricated::new(key(attacker(), 0, victim(), 0, proto), 10 * SEC).packet(There, 0, 0)))
        .collect();
    check(&protocols, &[(Class::PortScan, "protocol_scan", pair(attacker(), victim()))]);
    let odd: Vec<Flow> = [(13, 14), (15, 16), (17, 18)]
        .into_iter()
        .map(|(asks, answers)| {
            let key = key(attacker(), asks, victim(), answers, PROTO_ICMP);
            bare(Fabricated::new(key, 10 * SEC).packet(There, 0, 12).packet(Back, 0, 12))
        })
        .collect();
    check(&odd, &[(Class::PortScan, "os_fingerprint", pair(attacker(), victim()))]);
    check_quiet(&odd[..1]);
}

#[test]
fn an_overlay_network_that_looks_for_peers_is_quiet() {
    let flows: Vec<Flow> = (0..90u8)
        .map(|n| bare(tcp(host(0, 0, 30), 30_000 + u16::from(n), host(90, 0, n), 6_346, u64::from(n) * SEC).syn()))
        .collect();
    check_quiet(&flows);
}

#[test]
fn many_short_lookups_over_tcp_are_quiet() {
    let flows: Vec<Flow> = (0..600u16)
        .map(|n| {
            let flow = tcp(host(0, 0, 30), 30_000 + n, host(0, 0, 53), 53, 10 * SEC + u64::from(n) * MS).handshake();
            // Closed, yet not taken as ended before the linger is over.
            (flow.exchange(40, 90).packet(There, TCP_FIN | TCP_ACK, 0), of(AppProto::Dns))
        })
        .collect();
    check_quiet(&flows);
}
