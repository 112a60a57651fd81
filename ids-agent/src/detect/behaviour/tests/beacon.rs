//! Beacons with jitter, bursts and missed beats, and the many things that are periodic and healthy.

use super::*;
use crate::payload::TlsFacts;

/// A server outside.
fn server() -> [u8; 16] {
    key([0; 16], 0, ids_common::parse::ipv4_mapped(u32::from_ne_bytes([203, 0, 113, 9])), 0, 6).dst
}

/// Connections `period_secs` apart, give or take `jitter` of it, as a seeded die falls.
fn beats(
    count: u64,
    period_secs: f64,
    jitter: f64,
    port: u16,
    payload: &PayloadFacts,
    size: impl Fn(u64) -> u32,
) -> Vec<Flow> {
    let (mut flows, mut at, mut state) = (Vec::new(), 10.0, 0x2545_f491_4f6c_dd1d_u64);
    for n in 0..count {
        let at_ns = (at * SEC as f64) as u64;
        let flow = tcp(attacker(), 20_000 + n as u16, server(), port, at_ns).handshake();
        flows.push((flow.exchange(size(n), 120).closed(), payload.clone()));
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let die = (state >> 33) as f64 / f64::from(1u32 << 31);
        at += period_secs * (1.0 + jitter * (2.0 * die - 1.0));
    }
    flows
}

fn unnamed_tls() -> PayloadFacts {
    PayloadFacts { tls: Some(Box::default()), ..of(AppProto::Tls) }
}

fn named_tls() -> PayloadFacts {
    let tls = TlsFacts { sni: Some("push.example.net".into()), ..TlsFacts::default() };
    PayloadFacts { tls: Some(Box::new(tls)), ..of(AppProto::Tls) }
}

#[test]
fn a_beacon_is_told_with_and_without_jitter() {
    for (period_secs, jitter) in [(5.0, 0.0), (60.0, 0.3), (60.0, 0.5), (600.0, 0.5)] {
        let flows = beats(40, period_secs, jitter, 4_444 + 1, &of(AppProto::Unknown), |_| 180);
        check(&flows, &[(Class::C2, "beacon", service(attacker(), server(), 4_445))]);
    }
    let found = findings(&beats(40, 60.0, 0.2, 9_443, &unnamed_tls(), |_| 517));
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!(found[0].severity, Severity::Low);
    assert!(found[0].reason.starts_with("10.0.0.7 connects to port 9443 of 203.0.113.9 every "), "{}", found[0].reason);
}

#[test]
fn a_protocol_of_its_own_at_a_port_that_others_have_is_odd_and_at_a_system_port_it_is_not() {
    let sizes = |n: u64| 60 + 40 * (n % 5) as u32;
    let short = beats(15, 5.5, 0.5, 5_555, &of(AppProto::Unknown), sizes);
    check(&short, &[(Class::C2, "beacon", service(attacker(), server(), 5_555))]);
    check_quiet(&beats(15, 5.5, 0.5, 902, &of(AppProto::Unknown), sizes));
}

#[test]
fn a_beacon_that_misses_beats_is_told() {
    let flows: Vec<Flow> = beats(60, 30.0, 0.1, 9_443, &unnamed_tls(), |_| 517)
        .into_iter()
        .enumerate()
        .filter(|(n, _)| n % 6 != 3)
        .map(|(_, flow)| flow)
        .collect();
    check(&flows, &[(Class::C2, "beacon", service(attacker(), server(), 9_443))]);
}

#[test]
fn periodic_and_healthy_is_quiet() {
    check_quiet(&beats(100, 60.0, 0.0, 443, &named_tls(), |_| 517));
    check_quiet(&beats(100, 30.0, 0.0, 8_883, &named_tls(), |_| 517));
    let http = HttpFacts {
        method: Some("GET".into()),
        host: Some("10.0.0.1:9100".into()),
        user_agent: Some("Prometheus/2.45".into()),
        ..HttpFacts::default()
    };
    let scrape = PayloadFacts { http: Some(Box::new(http)), ..of(AppProto::Http) };
    let scrapes: Vec<Flow> = (0..100u16)
        .map(|n| {
            let at_ns = 10 * SEC + u64::from(n) * 15 * SEC;
            let flow = tcp(attacker(), 20_000 + n, victim(), 9_100, at_ns).handshake();
            (flow.exchange(300, 40_000).closed(), scrape.clone())
        })
        .collect();
    check_quiet(&scrapes);
    check_quiet(&beats(100, 300.0, 0.05, 110, &of(AppProto::Pop3), |_| 60));
    check_quiet(&beats(9, 60.0, 0.0, 4_445, &of(AppProto::Unknown), |_| 180));
}

#[test]
fn what_comes_at_random_is_quiet() {
    let mut at = 10.0;
    let flows: Vec<Flow> = (0..200u64)
        .map(|n| {
            let die = (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 11) as f64 / (1u64 << 53) as f64;
            at += -60.0 * die.max(1e-6).ln();
            let flow = tcp(attacker(), 20_000 + n as u16, server(), 4_445, (at * SEC as f64) as u64).handshake();
            bare(flow.exchange(180, 120).closed())
        })
        .collect();
    check_quiet(&flows);
}
