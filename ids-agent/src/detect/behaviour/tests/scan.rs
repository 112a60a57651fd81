//! Scans that take their time or share the work, and what looks like them.

use ids_common::wire::{TCP_FIN, TCP_PSH, TCP_RST, TCP_URG};

use super::*;

#[test]
fn a_port_a_minute_is_told_within_the_hour_and_one_in_five_within_six() {
    for gap_secs in [60, 290] {
        let scan: Vec<Flow> = (0..70u16)
            .map(|n| bare(tcp(attacker(), 40_000, victim(), n + 1, 10 * SEC + u64::from(n) * gap_secs * SEC).syn()))
            .collect();
        check(&scan, &[(Class::PortScan, "syn_scan", pair(attacker(), victim()))]);
    }
}

#[test]
fn a_scan_shared_by_many_sources_is_told_of_its_target() {
    let scan: Vec<Flow> = (0..200u16)
        .map(|n| {
            let source = host(7, 0, (n % 40) as u8);
            bare(tcp(source, 40_000, victim(), n + 1, 10 * SEC + u64::from(n) * 100 * MS).refused())
        })
        .collect();
    check(&scan, &[(Class::PortScan, "distributed_scan", Subject::Target { dst: victim() })]);
}

#[test]
fn refusals_of_questions_in_fragments_tell_the_scan() {
    let denies = |src_port: u16, dst_port: u16, n: u64| {
        bare(tcp(victim(), src_port, attacker(), dst_port, 10 * SEC + n * 10 * MS).packet(There, TCP_RST | TCP_ACK, 0))
    };
    let scan: Vec<Flow> = (1..200u16).map(|port| denies(port, 35_074, u64::from(port))).collect();
    check(&scan, &[(Class::PortScan, "syn_scan", pair(attacker(), victim()))]);
    let farewells: Vec<Flow> = (0..200u16).map(|n| denies(40_000 + n, 443, u64::from(n))).collect();
    check_quiet(&farewells);
}

#[test]
fn strangers_that_knock_at_one_port_are_no_scan() {
    let knocks: Vec<Flow> = (0..200u16)
        .map(|n| {
            bare(tcp(host(7, 0, (n % 100) as u8), 40_000, victim(), 51_413, 10 * SEC + u64::from(n) * SEC).refused())
        })
        .collect();
    check_quiet(&knocks);
}

#[test]
fn a_device_with_many_services_tried_over_hours_is_quiet() {
    let flows: Vec<Flow> = (0..120u16)
        .map(|n| {
            let flow = tcp(attacker(), 20_000 + n, victim(), 1 + n % 60, 10 * SEC + u64::from(n) * 100 * SEC);
            bare(if n % 60 < 30 { flow.handshake().exchange(100, 100).closed() } else { flow.refused() })
        })
        .collect();
    check_quiet(&flows);
}

#[test]
fn flags_that_no_connection_has_tell_a_system_apart_and_one_kind_of_them_does_not() {
    let probe = |flags: u8, port: u16| {
        bare(tcp(attacker(), 40_000, victim(), port, 10 * SEC + u64::from(port) * SEC).packet(There, flags, 0))
    };
    let kinds = [probe(TCP_FIN, 1), probe(0, 2), probe(TCP_FIN | TCP_PSH | TCP_URG, 3)];
    check(&kinds, &[(Class::PortScan, "os_fingerprint", pair(attacker(), victim()))]);
    check_quiet(&kinds[..2]);
    check_quiet(&[probe(TCP_FIN, 1), probe(TCP_FIN, 2), probe(TCP_FIN, 3)]);
}
