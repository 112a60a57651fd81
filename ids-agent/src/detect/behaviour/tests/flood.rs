//! Floods by one flow, by few sources, over many ports and by connections, and the look-alikes that must stay quiet.

use super::*;
use crate::payload::ByteFacts;

/// One flow of datagrams of these sizes, a packet every `gap_ns`, shown as it grows.
fn stream(sizes: &[u32], packets: u64, gap_ns: u64, alike: u8) -> Vec<Flow> {
    let forward = ByteFacts { bytes: 54, alike, ..ByteFacts::default() };
    let payload = PayloadFacts { forward, ..PayloadFacts::default() };
    let mut flow = udp(attacker(), 40_000, victim(), 9_987, 10 * SEC);
    let mut shown = Vec::new();
    for (packet, size) in (1..=packets).zip(sizes.iter().cycle()) {
        flow = flow.packet(There, 0, *size).wait(gap_ns);
        if packet % 50 == 0 || packet == packets {
            shown.push((flow.clone(), payload.clone()));
        }
    }
    shown
}

#[test]
fn one_datagram_again_and_again_is_a_flood() {
    let subject = Subject::Service { src: attacker(), dst: victim(), dst_port: 9_987, proto: PROTO_UDP };
    let flood = [(Class::Flood, "udp_repeated", subject)];
    check(&stream(&[18], 2_000, 4 * MS, 3), &flood);
    check(&stream(&[0], 2_000, 4 * MS, 0), &flood);
}

#[test]
fn calls_streams_and_heartbeats_are_no_floods() {
    // Speech and television number their packets, exporters of metrics vary in length, heartbeats are few.
    check_quiet(&stream(&[172], 3_000, 20 * MS, 0));
    check_quiet(&stream(&[1_316], 20_000, MS, 0));
    check_quiet(&stream(&[40, 60, 90], 3_000, 4 * MS, 3));
    check_quiet(&stream(&[32], 600, 50 * MS, 3));
}

fn pings(packets: u64, gap_ns: u64, size: u32) -> Vec<Flow> {
    let mut flow = Fabricated::new(key(attacker(), 8, victim(), 0, PROTO_ICMP), 10 * SEC);
    for _ in 0..packets {
        flow = flow.packet(There, 0, size).packet(Back, 0, size).wait(gap_ns);
    }
    vec![bare(flow)]
}

#[test]
fn echoes_without_a_pause_are_a_flood_and_watching_a_host_is_not() {
    check(&pings(500, 18 * MS, 16), &[(Class::Flood, "icmp", pair(attacker(), victim()))]);
    check_quiet(&pings(500, 200 * MS, 56));
    // Long ones carry something.
    let long = findings(&pings(500, 18 * MS, 1_400));
    assert!(long.iter().all(|finding| finding.class != Class::Flood), "{:#?}", long.first());
}

fn answers(reflectors: u8, port: u16, payload: u32) -> Vec<Flow> {
    (0..1_200u16)
        .map(|n| {
            let reflector = host(9, 9, (n % u16::from(reflectors)) as u8);
            let flow = udp(reflector, port, victim(), 20_000 + n, 10 * SEC + u64::from(n) * 2 * MS);
            bare(flow.packet(There, 0, payload))
        })
        .collect()
}

#[test]
fn answers_from_few_reflectors_are_a_flood_of_the_target() {
    let flood = [(Class::Flood, "reflected_udp", Subject::Target { dst: victim() })];
    check(&answers(4, 53, 231), &flood);
    check(&answers(1, 123, 440), &flood);
}

#[test]
fn a_scan_from_the_port_of_a_service_is_no_flood() {
    let found = findings(&answers(1, 53, 12));
    assert!(found.iter().all(|finding| finding.class != Class::Flood), "{:#?}", found.first());
}

#[test]
fn answers_to_a_search_of_the_neighbourhood_are_no_flood() {
    let found = findings(&answers(12, 1_900, 320));
    assert!(found.iter().all(|finding| finding.kind != "reflected_udp"), "{:#?}", found.first());
}

#[test]
fn a_syn_flood_that_turns_from_port_to_port_is_no_scan() {
    let flows = |tries: u16| -> Vec<Flow> {
        (0..3_000u16)
            .map(|n| {
                let at_ns = 10 * SEC + u64::from(n) * MS;
                bare(tcp(attacker(), 1_024 + n, victim(), 7_000 + n / tries, at_ns).refused())
            })
            .collect()
    };
    check(&flows(25), &[(Class::Flood, "syn", pair(attacker(), victim()))]);
    check(&flows(2), &[(Class::PortScan, "syn_scan", pair(attacker(), victim()))]);
}

#[test]
fn made_up_sources_at_ever_new_ports_are_a_flood() {
    let flows: Vec<Flow> = (0..2_000u32)
        .map(|n| {
            let [_, b, c, d] = n.wrapping_mul(2_654_435_761).to_be_bytes();
            bare(tcp(host(b, c, d), 1_024, victim(), 1_000 + n as u16, 10 * SEC + u64::from(n) * MS).syn())
        })
        .collect();
    let told = told(&findings(&flows));
    assert!(told.contains(&(Class::Flood, "spoofed_syn", Subject::Target { dst: victim() })), "{told:?}");
}

#[test]
fn a_few_sources_together_flood_their_target() {
    let flows: Vec<Flow> = (0..1_500u16)
        .map(|n| {
            let src = host(3, 3, (n % 3) as u8);
            let at_ns = 10 * SEC + u64::from(n) * 2 * MS;
            bare(udp(src, 1_024 + n, victim(), 8_080, at_ns).packet(There, 0, 32))
        })
        .collect();
    check(&flows, &[(Class::Flood, "udp", Subject::Target { dst: victim() })]);
}

#[test]
fn consents_that_nobody_asked_for_are_a_reflected_flood() {
    let consents = |reflectors: u16| -> Vec<Flow> {
        (0..1_600u16)
            .map(|n| {
                let src = host(9, (n % reflectors / 200) as u8, (n % reflectors % 200) as u8);
                let flow = tcp(src, 443, victim(), 1_024 + n, 10 * SEC + u64::from(n) * MS);
                bare(flow.packet(There, TCP_SYN | TCP_ACK, 0))
            })
            .collect()
    };
    let flood = [(Class::Flood, "reflected_tcp", Subject::Target { dst: victim() })];
    check(&consents(400), &flood);
    check(&consents(4), &flood);
    // An agent that has just begun finds some connections half made.
    check_quiet(&consents(400)[..250]);
}

#[test]
fn packets_of_any_protocol_from_made_up_sources_are_a_flood() {
    const PROTO_ANY: u8 = 99;
    let packets = |sources: u32| -> Vec<Flow> {
        (0..800u32)
            .map(|n| {
                let [_, b, c, d] = (n % sources).wrapping_mul(2_654_435_761).to_be_bytes();
                let key = key(host(b, c, d), 0, victim(), 0, PROTO_ANY);
                bare(Fabricated::new(key, 10 * SEC + u64::from(n) * MS).packet(There, 0, 400))
            })
            .collect()
    };
    check(&packets(800), &[(Class::Flood, "spoofed_ip", Subject::Target { dst: victim() })]);
    check_quiet(&packets(5));
}

#[test]
fn connections_of_which_one_direction_is_seen_are_no_flood() {
    let flows: Vec<Flow> = (0..1_500u16)
        .map(|n| {
            let flow = tcp(host(4, 4, (n % 50) as u8), 10_000 + n, victim(), 80, 10 * SEC + u64::from(n) * MS);
            bare(flow.syn().packet(There, TCP_ACK, 0).packet(There, TCP_ACK | TCP_PSH, 300))
        })
        .collect();
    check_quiet(&flows);
}

/// Connections that are completed; each closes after `held_ns`.
fn connections(count: u16, gap_ns: u64, sources: u16, held_ns: u64) -> Vec<Flow> {
    let at = |n: u16| 10 * SEC + u64::from(n) * gap_ns;
    let begin = |n: u16| tcp(host(4, 4, (n % sources) as u8), 10_000 + n, victim(), 80, at(n)).handshake();
    let opened = (0..count).map(|n| bare(begin(n).packet(There, TCP_ACK, 0)));
    let closed = (0..count).map(|n| bare(begin(n).wait(held_ns).closed()));
    opened.chain(closed).collect()
}

#[test]
fn connections_over_which_nothing_is_said_are_a_flood() {
    let one = service(host(4, 4, 0), victim(), 80);
    check(&connections(700, 15 * MS, 1, 60 * SEC), &[(Class::Flood, "connect", one)]);
    check(&connections(2_000, MS, 1, MS), &[(Class::Flood, "connect", one)]);
    let target = Subject::Target { dst: victim() };
    check(&connections(600, 10 * MS, 30, MS), &[(Class::Flood, "connect", target)]);
}

#[test]
fn looking_whether_a_service_is_up_is_no_flood() {
    check_quiet(&connections(600, 6 * MS, 1, MS));
    check_quiet(&connections(600, 100 * MS, 20, MS));
}
