//! The windows of scans, floods, logins and hosts, counted by hand.

use ids_common::wire::{PROTO_ICMP, PROTO_UDP};

use super::*;
use crate::{
    fabricated::{Back, Fabricated, MS, SEC, There, host, host6, key},
    flow::FlowEnd,
    payload::AppProto,
};

fn windows() -> HostWindows {
    HostWindows::new(&WindowSettings::default())
}

fn tcp(src: u8, dst: u8, dst_port: u16, at_ns: u64) -> Fabricated {
    Fabricated::new(key(host(0, 0, src), 40_000, host(0, 0, dst), dst_port, wire::PROTO_TCP), at_ns)
}

fn observe(windows: &mut HostWindows, flows: &[Fabricated]) {
    for flow in flows {
        windows.observe(&flow.record(), Spoken::default());
    }
}

#[test]
fn a_scan_shows_at_source_target_and_pair() {
    let mut windows = windows();
    let scan: Vec<_> = (0..100).map(|n| tcp(7, 1, n + 1, 100 * SEC + u64::from(n) * 20 * MS).syn()).collect();
    observe(&mut windows, &scan);
    let facts = windows.facts(&scan[99].record());
    assert_eq!((facts.src_flows_10s, facts.dst_flows_10s, facts.pair_flows_10s), (100.0, 100.0, 100.0));
    assert_eq!((facts.src_peers_10s, facts.dst_sources_10s), (1.0, 1.0));
    for ports in [facts.src_ports_10s, facts.dst_ports_60s, facts.pair_ports_10s] {
        assert!((88.0..112.0).contains(&ports), "{ports}");
    }
    assert_eq!((facts.src_unanswered_10s, facts.src_syn_only_10s, facts.pair_unanswered_60s), (1.0, 1.0, 1.0));
    assert_eq!(facts.service_flows_60s, 1.0);
}

#[test]
fn a_flow_that_ends_by_silence_is_seen_among_its_own_times() {
    let mut windows = windows();
    let scan: Vec<_> = (0..20).map(|n| tcp(7, 1, n + 1, 100 * SEC).syn()).collect();
    observe(&mut windows, &scan);
    let before = windows.facts(&scan[0].record());
    // A minute later the same source makes one ordinary connection, and the scan's flows end.
    observe(&mut windows, &[tcp(7, 2, 443, 161 * SEC).handshake()]);
    let ended = scan[0].clone().ended(FlowEnd::Idle).record();
    windows.observe(&ended, Spoken::default());
    let after = windows.facts(&ended);
    assert_eq!((after.src_flows_10s, after.src_ports_10s, after.src_unanswered_10s), (20.0, 20.0, 1.0));
    assert_eq!(before.dst_flows_60s, after.dst_flows_60s);
    let later = windows.facts(&tcp(7, 2, 443, 161 * SEC).handshake().record());
    assert_eq!((later.src_flows_10s, later.src_flows_60s), (1.0, 21.0));
}

#[test]
fn a_flow_judged_many_times_counts_once() {
    let mut windows = windows();
    let flow = tcp(1, 2, 80, 50 * SEC).syn();
    observe(&mut windows, std::slice::from_ref(&flow));
    assert_eq!(windows.facts(&flow.record()).src_unanswered_10s, 1.0);
    let flow = flow.wait(MS).packet(Back, wire::TCP_SYN | wire::TCP_ACK, 0).packet(There, wire::TCP_ACK, 0);
    observe(&mut windows, &[flow.clone(), flow.clone()]);
    let facts = windows.facts(&flow.record());
    assert_eq!((facts.src_flows_10s, facts.src_unanswered_10s, facts.src_syn_only_10s), (1.0, 0.0, 0.0));
    assert_eq!((facts.src_packets_10s, facts.service_open), (2.0, 1.0));
    let flow = flow.exchange(500, 3_000).closed();
    observe(&mut windows, std::slice::from_ref(&flow));
    let facts = windows.facts(&flow.record());
    assert_eq!((facts.src_flows_10s, facts.src_packets_10s, facts.src_empty_60s), (1.0, 4.0, 0.0));
    assert_eq!(facts.service_open, 0.0);
    assert_eq!(windows.marks.len(), 0);
}

#[test]
fn refusals_are_told_from_silence() {
    let mut windows = windows();
    let flows = [tcp(1, 2, 1, SEC).refused(), tcp(1, 2, 2, SEC).refused(), tcp(1, 2, 3, SEC).syn()];
    observe(&mut windows, &flows);
    let facts = windows.facts(&flows[2].record());
    assert!((facts.src_refused_10s - 2.0 / 3.0).abs() < 1e-6);
    assert!((facts.src_unanswered_10s - 1.0 / 3.0).abs() < 1e-6);
}

#[test]
fn logins_are_counted_per_service() {
    let mut windows = windows();
    let facts = Spoken { app: AppProto::Ftp, login: Login::Failed };
    let session = |n: u64| tcp(1, 2, 2121, (10 + n) * SEC).handshake().exchange(30, 60).wait(500 * MS).closed();
    for n in 0..10 {
        windows.observe(&session(n).record(), facts);
    }
    let window = windows.facts(&session(9).record());
    assert_eq!(
        (window.service_flows_60s, window.service_login_60s, window.service_failed_logins_60s),
        (10.0, 10.0, 10.0)
    );
    assert_eq!((window.service_size_spread_60s, window.service_secs_60s), (0.0, 0.5));
}

#[test]
fn a_spoofed_flood_displaces_itself_and_the_target_stays_right() {
    let settings = WindowSettings { hosts_max: 64, services_max: 64, ..WindowSettings::default() };
    let mut windows = HostWindows::new(&settings);
    let steady = |at: u64| tcp(9, 8, 443, at).handshake();
    observe(&mut windows, &[steady(SEC), tcp(9, 8, 80, SEC).handshake()]);
    for n in 0..20_000u32 {
        let [_, b, c, d] = n.to_be_bytes();
        let key = key(host(b.wrapping_add(1), c, d), 1_024, host(0, 0, 1), 80, wire::TCP_SYN);
        let syn = Fabricated::new(FlowKey { proto: wire::PROTO_TCP, ..key }, 2 * SEC).syn();
        observe(&mut windows, &[syn]);
    }
    let stats = windows.stats();
    assert!(stats.sources <= 64 && stats.pairs <= 64 && stats.services <= 64);
    assert_eq!(stats.sources_evicted, 20_001 - 64);
    let flood = windows.facts(&tcp(200, 1, 80, 2 * SEC).syn().record());
    assert_eq!((flood.dst_flows_10s, flood.dst_syn_only_10s, flood.dst_unanswered_10s), (20_000.0, 1.0, 1.0));
    assert!(flood.dst_sources_10s > 1_000.0);
    assert_eq!((flood.src_flows_10s, flood.src_unanswered_10s), (1.0, 1.0));
    assert_eq!(windows.facts(&steady(SEC).record()).src_flows_10s, 2.0);
}

#[test]
fn protocols_without_ports_have_none_to_count() {
    let mut windows = windows();
    let ping = Fabricated::new(key(host6(1), 8, host6(2), 0, PROTO_ICMP), SEC).packet(There, 0, 56);
    observe(&mut windows, std::slice::from_ref(&ping));
    assert_eq!(windows.facts(&ping.record()).src_ports_10s, 0.0);
    let query = Fabricated::new(key(host6(1), 8, host6(2), 53, PROTO_UDP), SEC).packet(There, 0, 56);
    observe(&mut windows, std::slice::from_ref(&query));
    assert_eq!(windows.facts(&query.record()).src_ports_10s, 1.0);
}

#[test]
fn a_host_never_seen_counts_as_seen_once() {
    let facts = windows().facts(&tcp(1, 2, 80, SEC).syn().record());
    assert_eq!((facts.src_flows_10s, facts.dst_sources_60s, facts.pair_ports_10s), (1.0, 1.0, 1.0));
    assert_eq!((facts.src_unanswered_60s, facts.service_flows_10s), (1.0, 1.0));
}

#[test]
fn every_value_stays_in_its_range_at_the_ends_of_time() {
    let mut windows = windows();
    for at in [0, SEC, u64::MAX - SEC, 5, u64::MAX / 2] {
        let flow = tcp(1, 2, 80, at).handshake().exchange(100, 200_000).closed();
        observe(&mut windows, std::slice::from_ref(&flow));
        let facts = windows.facts(&flow.record());
        for (value, spec) in facts.values().into_iter().zip(WindowFacts::SPECS) {
            assert!((spec.low..=spec.high).contains(&value), "{} = {value}", spec.name);
        }
    }
}

#[test]
fn the_seed_moves_large_distinct_counts_within_their_error_alone() {
    let run = |hash_seed| {
        let mut windows = HostWindows::new(&WindowSettings { hash_seed, ..WindowSettings::default() });
        let scan: Vec<_> = (0..300).map(|n| tcp(7, 1, n + 1, SEC).syn()).collect();
        observe(&mut windows, &scan);
        windows.facts(&scan[0].record())
    };
    let (one, other) = (run(1), run(2));
    assert_eq!(one.src_flows_10s, other.src_flows_10s);
    assert!((one.src_ports_10s / other.src_ports_10s - 1.0).abs() < 0.3);
}
