//! Tunnels through DNS and ICMP that have to be told, and name lookups that must not.

use super::*;
use crate::payload::{ByteFacts, DnsFacts, DnsQuestion};

fn asks(names: &[(&str, u16)], queries: u32) -> PayloadFacts {
    let question = |(name, qtype): &(&str, u16)| DnsQuestion { name: (*name).into(), qtype: *qtype };
    let dns = DnsFacts {
        queries,
        responses: queries,
        answers: queries,
        names: names.len() as u32,
        questions: names.iter().map(question).collect(),
        ..DnsFacts::default()
    };
    PayloadFacts { dns: Some(Box::new(dns)), ..of(AppProto::Dns) }
}

fn client() -> [u8; 16] {
    host(0, 0, 9)
}

fn resolver() -> [u8; 16] {
    host(0, 0, 53)
}

/// One question on a socket of its own.
fn lookup(n: u32, name: &str, qtype: u16, at_ns: u64) -> Flow {
    let flow = udp(client(), 20_000 + (n % 40_000) as u16, resolver(), 53, at_ns);
    (flow.packet(There, 0, 18 + name.len() as u32).wait(20 * MS).packet(Back, 0, 120), asks(&[(name, qtype)], 1))
}

/// Questions on one socket, of which the first three were sampled.
fn socket(sampled: &[(&str, u16)], questions: u32, bytes: u32, gap_ns: u64) -> Flow {
    let mut flow = udp(client(), 40_001, resolver(), 53, 10 * SEC);
    for _ in 0..questions {
        flow = flow.packet(There, 0, bytes).wait(gap_ns).packet(Back, 0, 140);
    }
    (flow, asks(sampled, 3))
}

fn dns_service() -> Subject {
    Subject::Service { src: client(), dst: resolver(), dst_port: 53, proto: PROTO_UDP }
}

/// Letters that look as if an encoder had made them, other ones for each `n`.
fn coded(n: u32, letters: usize) -> String {
    let mut state = n.wrapping_mul(2_654_435_761) | 1;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        char::from(b"0123456789abcdef"[state as usize % 16])
    };
    (0..letters).map(next).collect()
}

#[test]
fn a_tunnel_on_one_socket_is_told_as_that_flow() {
    let sampled = [
        ("9d21010f850c4193a64dd2006cff6ebacd.example.net", 15),
        ("27ef010f854f9f7d4e42d1006d9318ed32.example.net", 5),
        ("8d6e010f859b642465dbb3006efe41ac81.example.net", 16),
    ];
    let flow = socket(&sampled, 10, 70, SEC);
    let id = flow.0.record().id;
    check(&[flow], &[(Class::DnsTunnel, "odd_types", Subject::Flow { id })]);
    let found = findings(&[socket(&sampled, 10, 70, SEC)]);
    assert!(
        found[0].reason.starts_with("10.0.0.9 asks 10.0.0.53 for 10 names below example.net that carry data"),
        "{}",
        found[0].reason
    );
}

#[test]
fn types_that_no_one_asks_for_are_told_after_a_handful() {
    let sampled = [("yrbi02.example.net", 10), ("vaaaakardli.example.net", 10), ("lae2.example.net", 10)];
    let flow = socket(&sampled, 6, 30 + 11, MS);
    let id = flow.0.record().id;
    check(&[flow], &[(Class::DnsTunnel, "odd_types", Subject::Flow { id })]);
}

#[test]
fn a_tunnel_with_a_socket_for_each_question_is_told_of_the_client() {
    for (qtype, letters, questions, gap_ns) in [(16, 24, 40, 200 * MS), (1, 110, 20, SEC), (1, 34, 200, 100 * MS)] {
        let flows: Vec<Flow> = (0..questions)
            .map(|n| {
                let name = format!("{}.{}.t.example.net", coded(n, letters / 2), coded(n + 7_000, letters / 2));
                lookup(n, &name, qtype, 10 * SEC + u64::from(n) * gap_ns)
            })
            .collect();
        let kind = if qtype == 16 { "odd_types" } else { "long_names" };
        check(&flows, &[(Class::DnsTunnel, kind, dns_service())]);
    }
}

#[test]
fn a_slow_tunnel_is_told_within_the_hour() {
    let flows: Vec<Flow> = (0..60)
        .map(|n| lookup(n, &format!("{}.example.net", coded(n, 24)), 16, 10 * SEC + u64::from(n) * 40 * SEC))
        .collect();
    check(&flows, &[(Class::DnsTunnel, "odd_types", dns_service())]);
}

#[test]
fn a_tunnel_that_takes_turns_between_domains_is_told() {
    let flows: Vec<Flow> = (0..60u32)
        .map(|n| {
            let name = format!("102-{}-{n}.example{}.net", 12_000 + n, n % 6);
            lookup(n, &name, if n % 3 == 0 { 1 } else { 16 }, 10 * SEC + u64::from(n) * 5 * SEC)
        })
        .collect();
    let found = findings(&flows);
    assert!(
        found.iter().any(|finding| finding.kind == "many_domains" && finding.subject == dns_service()),
        "{found:#?}"
    );
}

#[test]
fn a_client_that_tries_one_type_after_another_is_told() {
    let flows: Vec<Flow> = [(5, "a"), (15, "b"), (16, "c"), (33, "d"), (6, "e"), (5, "f")]
        .into_iter()
        .enumerate()
        .map(|(n, (qtype, domain))| {
            let name = format!("8152.{domain}-example.net");
            lookup(n as u32, &name, qtype, 10 * SEC + n as u64 * 8 * SEC)
        })
        .collect();
    check(&flows, &[(Class::DnsTunnel, "many_domains", dns_service())]);
}

#[test]
fn lookups_of_a_household_are_quiet() {
    let mut flows = Vec::new();
    for n in 0..600u32 {
        let at_ns = 10 * SEC + u64::from(n) * SEC;
        let name = match n % 6 {
            0 => format!("www.example{n}.com"),
            1 => format!("r{}---sn-4g5e6n{}.videos.example", n % 20, n % 7),
            2 => format!("e{}.dscb.akamaiedge.net", 1_000 + n),
            3 => format!("{}.telemetry.example.org", coded(n / 60, 36)),
            4 => format!("api{}.cloud.example.net", n % 30),
            _ => format!("d{}.cloudfront.net", coded(n, 13)),
        };
        flows.push(lookup(n, &name, if n % 2 == 0 { 1 } else { 28 }, at_ns));
    }
    check_quiet(&flows);
}

#[test]
fn a_mail_server_and_its_block_lists_are_quiet() {
    let mut flows = Vec::new();
    for n in 0..1_200u32 {
        let at_ns = 10 * SEC + u64::from(n) * SEC / 2;
        let [_, b, c, d] = n.wrapping_mul(2_654_435_761).to_be_bytes();
        let (name, qtype) = match n % 8 {
            0 => (format!("{d}.{c}.{b}.19.bl.example.org"), if n % 3 == 0 { 16 } else { 1 }),
            1 => (format!("example{n}.com"), 15),
            2 => (format!("example{n}.com"), 16),
            3 => (format!("s{}._domainkey.example{n}.com", 20_230_000 + n), 16),
            4 => (format!("_dmarc.example{n}.com"), 16),
            5 => (format!("{}.{}.in-addr.arpa", n % 256, n / 256), 12),
            6 => (format!("{}.zen.spamhaus.org", coded(n, 40)), 16),
            _ => (format!("mx{}.example{n}.com", n % 3), 1),
        };
        flows.push(lookup(n, &name, qtype, at_ns));
    }
    check_quiet(&flows);
}

#[test]
fn a_socket_that_asks_for_hosts_is_quiet() {
    let sampled = [
        ("api.example.com.prod.svc.cluster.local", 1),
        ("api.example.com.svc.cluster.local", 1),
        ("api.example.com.cluster.local", 1),
    ];
    check_quiet(&[socket(&sampled, 5_000, 60, 100 * MS)]);
    let hosts = [("www.example.com", 1), ("mail.example.com", 1), ("shop.example.com", 1)];
    check_quiet(&[socket(&hosts, 5_000, 40, 100 * MS)]);
    let mixed =
        [("9d21010f850c4193a64d.example.net", 1), ("27ef010f854f9f7d4e.example.com", 1), ("www.example.org", 1)];
    check_quiet(&[socket(&mixed, 5_000, 60, 100 * MS)]);
}

#[test]
fn names_made_up_for_a_load_test_are_quiet() {
    let flows: Vec<Flow> = (0..500)
        .map(|n| {
            let qtype = [1, 28, 5, 15, 16][n as usize % 5];
            let (flow, mut payload) = lookup(n, &format!("{}.example.net", coded(n, 20)), qtype, 10 * SEC);
            let dns = payload.dns.get_or_insert_default();
            (dns.rcode, dns.answers, dns.errors) = (Some(3), 0, 1);
            (flow, payload)
        })
        .collect();
    check_quiet(&flows);
}

#[test]
fn the_same_question_again_and_again_is_quiet() {
    let flows: Vec<Flow> = (0..500)
        .map(|n| lookup(n, "9d21010f850c4193a64dd2006cff6ebacd.example.net", 16, 10 * SEC + u64::from(n) * SEC))
        .collect();
    check_quiet(&flows);
}

#[test]
fn allowed_domains_are_quiet_and_only_those() {
    let names = |domain: &str| -> Vec<Flow> {
        (0..60).map(|n| lookup(n, &format!("{}.{domain}", coded(n, 40)), 16, 10 * SEC + u64::from(n) * SEC)).collect()
    };
    check_quiet(&names("x.sophosxl.net"));
    check(&names("notsophosxl.net"), &[(Class::DnsTunnel, "odd_types", dns_service())]);
}

#[test]
fn echoes_that_do_not_return_what_was_sent_are_a_tunnel() {
    let mut tunnel = Fabricated::new(key(client(), 8, victim(), 0, PROTO_ICMP), 10 * SEC);
    for n in 0..40 {
        tunnel = tunnel.packet(There, 0, 60 + n * 9).wait(100 * MS).packet(Back, 0, 900).packet(Back, 0, 1_200);
    }
    let id = tunnel.record().id;
    check(&[bare(tunnel)], &[(Class::DnsTunnel, "icmp_echo", Subject::Flow { id })]);
}

#[test]
fn packets_within_echoes_are_a_tunnel() {
    let mut tunnel = Fabricated::new(key(client(), 8, victim(), 0, PROTO_ICMP), 10 * SEC);
    for _ in 0..20 {
        tunnel = tunnel.packet(There, 0, 84).wait(SEC);
    }
    let inside = ByteFacts { bytes: 252, first: [0x45, 0, 0, 84, 0, 0, 0x40, 0], ..ByteFacts::default() };
    let id = tunnel.record().id;
    let payload = PayloadFacts { forward: inside, ..PayloadFacts::default() };
    check(&[(tunnel, payload)], &[(Class::DnsTunnel, "icmp_echo", Subject::Flow { id })]);
}

#[test]
fn pings_of_any_size_are_quiet() {
    let mut flows = Vec::new();
    for size in [56, 1_472] {
        let mut flow = Fabricated::new(key(client(), 8, host(0, 0, size as u8), 0, PROTO_ICMP), 10 * SEC);
        for n in 0..300 {
            flow = flow.packet(There, 0, size).wait(SEC);
            // Some are lost; some hosts give back no more than the front.
            flow = if n % 7 == 0 { flow } else { flow.packet(Back, 0, size.min(64)) };
        }
        flows.push(bare(flow));
    }
    let mut rising = Fabricated::new(key(client(), 8, host(0, 0, 3), 0, PROTO_ICMP), 10 * SEC);
    for size in 0..200 {
        rising = rising.packet(There, 0, size * 7).wait(200 * MS).packet(Back, 0, size * 7);
    }
    flows.push(bare(rising));
    check_quiet(&flows);
}

#[test]
fn more_than_anyone_pings_is_data_carried_out() {
    let pings = |count: u32, size: u32, gap_ns: u64| {
        let mut flow = Fabricated::new(key(client(), 8, victim(), 0, PROTO_ICMP), 10 * SEC);
        for _ in 0..count {
            flow = flow.packet(There, 0, size).packet(Back, 0, size).wait(gap_ns);
        }
        flow
    };
    let carried = pings(300, 800, 30 * MS);
    let id = carried.record().id;
    check(&[bare(carried)], &[(Class::Exfiltration, "icmp_volume", Subject::Flow { id })]);
    check_quiet(&[bare(pings(600, 1_472, SEC))]);
    check_quiet(&[bare(pings(600, 56, 50 * MS))]);
}
