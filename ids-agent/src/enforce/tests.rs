//! The rules of blocking, one by one: who is spared, the caps, repeaters, what is taken back, and what proves a source.
#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::net::IpAddr;

use ids_common::{
    block::{BlockEntry, BlockKey},
    flow::{FlowKey, FlowSlot},
    wire,
};

use super::{
    audit::{self, Effect},
    forwarding::{Forwarded, Forwarding},
    never::octets,
    propose::conversed,
    surroundings::Surroundings,
    *,
};
use crate::{
    clock::WallOffset,
    config::EnforceSettings,
    detect::Severity,
    flow::{FlowEnd, FlowRecord, FlowState},
    source::{Batch, SlotState, SlotUpdate},
};

const SECOND: u64 = 1_000_000_000;
const NOW: u64 = 1_000 * SECOND;

fn address(text: &str) -> [u8; 16] {
    octets(text.parse::<IpAddr>().unwrap())
}

fn source(text: &str) -> BlockKey {
    BlockKey::source(address(text))
}

fn settings() -> EnforceSettings {
    EnforceSettings { enabled: true, ..EnforceSettings::default() }
}

fn guard(settings: EnforceSettings) -> Guard {
    let around = Surroundings {
        own: vec![("192.0.2.1".parse().unwrap(), 24), ("2001:db8::1".parse().unwrap(), 64)],
        gateways: vec!["198.51.100.1".parse().unwrap()],
        resolvers: vec!["198.51.100.53".parse().unwrap()],
        leased: vec!["198.51.100.67".parse().unwrap()],
    };
    let never = NeverList::new(&settings, &[], &around);
    Guard::new(settings, never, Box::new(DryRun::default()), 7, NOW)
}

fn proposal(source: &str) -> Box<Proposal> {
    Box::new(Proposal {
        source: address(source),
        target: None,
        incident: 42,
        class: "brute_force",
        kind: "ssh",
        severity: Severity::High,
        confidence: 0.97,
        witnesses: vec!["classifier", "behaviour"],
        reason: "400 attempts".to_owned(),
    })
}

/// What became of each proposal or order: the action, the source, and what was said.
fn told(guard: &mut Guard) -> Vec<(Action, String, Option<&'static str>)> {
    let told =
        |event: Event| (event.action, never::shown(&event.key.src).to_string(), event.refusal.map(Refusal::label));
    guard.take_events().into_iter().map(told).collect()
}

#[test]
fn nobody_on_the_never_list_is_blocked_by_a_verdict_or_by_hand() {
    let mut guard = guard(EnforceSettings {
        never: vec!["203.0.113.128/25".parse().unwrap()],
        management: vec!["203.0.113.5".parse().unwrap()],
        ..settings()
    });
    let spared = [
        ("127.0.0.1", "special"),
        ("0.0.0.0", "special"),
        ("224.0.0.251", "special"),
        ("255.255.255.255", "special"),
        ("::1", "special"),
        ("ff02::1", "special"),
        ("fe80::1", "link_local"),
        ("169.254.7.7", "link_local"),
        ("192.0.2.1", "own"),
        ("192.0.2.255", "own"),
        ("2001:db8::1", "own"),
        ("198.51.100.1", "gateway"),
        ("198.51.100.53", "resolver"),
        ("198.51.100.67", "lease"),
        ("203.0.113.5", "management"),
        ("203.0.113.200", "listed"),
        ("10.1.2.3", "home"),
        ("172.31.0.1", "home"),
        ("192.168.7.7", "home"),
        ("100.64.0.9", "home"),
        ("fd00::9", "home"),
    ];
    for (address, why) in spared {
        guard.consider(proposal(address), 1_000, NOW);
        assert!(guard.add(source(address), 60, 0, String::new(), NOW).is_err(), "{address} by hand");
        for event in guard.take_events() {
            let Some(Refusal::Never(spared)) = event.refusal else { panic!("{address}: {event:?}") };
            assert_eq!((event.action, spared.label()), (Action::Refuse, why), "{address}");
        }
    }
    assert!(guard.is_empty());
    guard.consider(proposal("203.0.113.9"), 1_000, NOW);
    assert_eq!(told(&mut guard), [(Action::Add, "203.0.113.9".to_owned(), None)]);
}

#[test]
fn home_networks_are_blocked_only_where_that_is_asked_for() {
    let mut open = guard(EnforceSettings { home: true, ..settings() });
    open.consider(proposal("10.1.2.3"), 1_000, NOW);
    assert_eq!(told(&mut open), [(Action::Add, "10.1.2.3".to_owned(), None)]);
    open.consider(proposal("192.0.2.255"), 1_000, NOW);
    assert_eq!(told(&mut open), [(Action::Refuse, "192.0.2.255".to_owned(), Some("never"))]);
}

#[test]
fn repeaters_are_blocked_twice_as_long_each_time_up_to_the_cap() {
    let mut guard = guard(EnforceSettings { duration_secs: 100, duration_max_secs: 350, ..settings() });
    let mut now = NOW;
    let mut lasted = Vec::new();
    for _ in 0..5 {
        guard.consider(proposal("203.0.113.9"), 1_000, now);
        let added = guard.take_events().pop().unwrap();
        let secs = (added.until_ns.unwrap() - now) / SECOND;
        lasted.push(secs);
        guard.tick(now + secs * SECOND - 1);
        assert_eq!(guard.len(), 1, "not before its end");
        now += secs * SECOND;
        guard.tick(now);
        assert_eq!(told(&mut guard), [(Action::Expire, "203.0.113.9".to_owned(), None)]);
    }
    assert_eq!(lasted, [100, 200, 350, 350, 350]);
    // A day of peace later it counts as new.
    now += 86_401 * SECOND;
    guard.consider(proposal("203.0.113.9"), 1_000, now);
    assert_eq!(guard.take_events().pop().unwrap().until_ns, Some(now + 100 * SECOND));
}

#[test]
fn a_source_that_is_blocked_is_not_blocked_again() {
    let mut guard = guard(settings());
    guard.consider(proposal("203.0.113.9"), 1_000, NOW);
    guard.consider(proposal("203.0.113.9"), 1_000, NOW + 1);
    let towards = Proposal { target: Some(address("192.0.2.1")), ..*proposal("203.0.113.9") };
    guard.consider(Box::new(towards), 1_000, NOW + 2);
    assert_eq!(told(&mut guard).len(), 1);
}

#[test]
fn the_caps_on_entries_and_on_the_share_of_hosts_hold() {
    let mut few = guard(EnforceSettings { entries_max: 3, hosts_share_max: 1.0, ..settings() });
    for at in 0..5 {
        few.consider(proposal(&format!("203.0.113.{at}")), 1_000, NOW);
    }
    assert_eq!(few.len(), 3);
    assert_eq!(told(&mut few)[3..].iter().map(|told| told.2).collect::<Vec<_>>(), [Some("entries_max"); 2]);
    assert_eq!(few.add(source("203.0.113.77"), 60, 0, String::new(), NOW), Err(Refusal::EntriesMax), "by hand too");

    let mut share = guard(EnforceSettings { hosts_share_max: 0.1, ..settings() });
    for at in 0..5 {
        share.consider(proposal(&format!("203.0.113.{at}")), 25, NOW);
    }
    assert_eq!(share.len(), 2, "a tenth of 25");
    assert_eq!(told(&mut share)[2..].iter().map(|told| told.2).collect::<Vec<_>>(), [Some("hosts_share"); 3]);

    let mut lonely = guard(settings());
    lonely.consider(proposal("203.0.113.1"), 0, NOW);
    lonely.consider(proposal("203.0.113.2"), 0, NOW);
    assert_eq!(lonely.len(), 1, "one may always be");
}

#[test]
fn a_block_that_was_taken_back_is_held_back_from_verdicts_and_not_from_people() {
    let mut guard = guard(settings());
    guard.consider(proposal("203.0.113.9"), 1_000, NOW);
    assert_eq!(guard.watched(), [(source("203.0.113.9"), NOW)]);
    guard.roll_back(&source("203.0.113.9"), "forwarding suffered".to_owned(), NOW + 10 * SECOND);
    assert!(guard.is_empty() && guard.watched().is_empty());
    guard.consider(proposal("203.0.113.9"), 1_000, NOW + 20 * SECOND);
    guard.consider(proposal("203.0.113.9"), 1_000, NOW + 3_700 * SECOND);
    let told = told(&mut guard);
    let actions: Vec<_> = told.iter().map(|(action, _, refusal)| (*action, *refusal)).collect();
    assert_eq!(
        actions,
        [(Action::Add, None), (Action::Rollback, None), (Action::Refuse, Some("held_back")), (Action::Add, None)]
    );
}

#[test]
fn what_becomes_spared_is_let_go() {
    let mut guard = guard(settings());
    guard.consider(proposal("203.0.113.9"), 1_000, NOW);
    let around = Surroundings { gateways: vec!["203.0.113.9".parse().unwrap()], ..Surroundings::default() };
    guard.renew_never(NeverList::new(&settings(), &[], &around), NOW + 1);
    assert!(guard.is_empty());
    assert_eq!(told(&mut guard)[1], (Action::Remove, "203.0.113.9".to_owned(), None));
}

#[test]
fn blocks_of_an_agent_before_this_one_are_taken_over() {
    let mut map = DryRun::default();
    let entry = |until_ns| BlockEntry { until_ns, packets: 5, ..BlockEntry::default() };
    map.put(&source("203.0.113.1"), &entry(NOW - 1)).unwrap();
    map.put(&source("203.0.113.2"), &entry(NOW + SECOND)).unwrap();
    map.put(&source("127.0.0.1"), &entry(NOW + SECOND)).unwrap();
    let never = NeverList::new(&settings(), &[], &Surroundings::default());
    let mut guard = Guard::new(settings(), never, Box::new(map), 7, NOW);
    let left: Vec<BlockKey> = guard.list().iter().map(|listed| listed.key).collect();
    assert_eq!(left, [source("203.0.113.2")], "neither what is over nor what is spared");
    let ended: Vec<_> = guard.take_events().into_iter().map(|event| (event.action, event.packets)).collect();
    assert_eq!(ended[3..], [(Action::Remove, 5), (Action::Expire, 5)]);
}

#[test]
fn the_audit_is_one_line_of_json_for_each_event() {
    let mut guard = guard(settings());
    guard.consider(proposal("203.0.113.9"), 1_000, NOW);
    guard.consider(proposal("127.0.0.1"), 1_000, NOW);
    let lines: Vec<serde_json::Value> = guard
        .take_events()
        .iter()
        .map(|event| {
            let line = audit::line(event, Effect::Dry, WallOffset::ZERO);
            assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
            serde_json::from_slice(&line).unwrap()
        })
        .collect();
    let [added, refused] = lines.as_slice() else { panic!("{lines:?}") };
    assert_eq!((added["action"].as_str(), added["dry_run"].as_bool()), (Some("add"), Some(true)));
    assert_eq!((added["source"].as_str(), added["by"].as_str()), (Some("203.0.113.9"), Some("verdict")));
    assert_eq!(added["until"].as_str(), Some("1970-01-01T00:26:40.000000Z"));
    assert_eq!(added["cause"]["witnesses"], serde_json::json!(["classifier", "behaviour"]));
    assert_eq!((refused["refused"].as_str(), refused["spared"].as_str()), (Some("never"), Some("special")));
    assert!(refused["reason"].as_str().unwrap().contains("127.0.0.1 is no host's address"));
}

fn side(packets: u64, syn: u16, rst: u16) -> FlowSlot {
    FlowSlot { packets, syn, rst, ..zeroed() }
}

fn zeroed() -> FlowSlot {
    zerocopy::FromZeros::new_zeroed()
}

fn record(proto: u8, forward: FlowSlot, backward: Option<FlowSlot>) -> FlowRecord {
    let key = FlowKey { proto, ..zeroed().key };
    FlowRecord { id: 1, key, forward, backward, start_ns: 0, end_ns: 0, state: FlowState::Ended(FlowEnd::Idle) }
}

#[test]
fn only_a_connection_that_both_ends_went_on_with_shows_who_somebody_is() {
    let tcp = wire::PROTO_TCP;
    let genuine = record(tcp, side(6, 1, 0), Some(side(5, 1, 0)));
    assert!(conversed(&genuine));
    for (what, forged) in [
        ("a SYN", record(tcp, side(1, 1, 0), None)),
        ("a SYN and its answer", record(tcp, side(1, 1, 0), Some(side(1, 1, 0)))),
        ("a blind ACK, refused", record(tcp, side(9, 1, 0), Some(side(3, 1, 2)))),
        ("blind data without an answer", record(tcp, side(9, 1, 0), None)),
        ("data into another's connection", record(tcp, side(9, 0, 0), Some(side(9, 0, 0)))),
        ("UDP, answered", record(wire::PROTO_UDP, side(9, 0, 0), Some(side(9, 0, 0)))),
        ("ICMP, answered", record(wire::PROTO_ICMP, side(9, 0, 0), Some(side(9, 0, 0)))),
    ] {
        assert!(!conversed(&forged), "{what}");
    }
}

/// A tick at the end of half a second, in which `pairs` moved, each in both directions.
fn tick(half_seconds: u64, pairs: &[(u8, u8)]) -> Batch {
    let slots = pairs.iter().flat_map(|&(a, b)| {
        let key = FlowKey { src: [a; 16], dst: [b; 16], ..zeroed().key };
        [key, key.reversed()].map(|key| SlotUpdate {
            cpu: 0,
            state: SlotState::Open,
            slot: FlowSlot { key, ..zeroed() },
        })
    });
    Batch { now_ns: half_seconds * SECOND / 2, slots: slots.collect(), ..Batch::default() }
}

/// Forwarding of 40 seconds, a block of host 9 at its end, and 12 seconds behind it.
fn after(before: &[(u8, u8)], behind: &[(u8, u8)]) -> Forwarded {
    let mut forwarding = Forwarding::new(3);
    for half in 200..280 {
        forwarding.observe(&tick(half, before));
    }
    let placed_ns = 140 * SECOND;
    for half in 281..306 {
        assert!(half > 300 || forwarding.after(&[9; 16], placed_ns, 10, 0.3) == Forwarded::Waiting, "{half}");
        forwarding.observe(&tick(half, behind));
    }
    forwarding.after(&[9; 16], placed_ns, 10, 0.3)
}

#[test]
fn a_block_after_which_the_others_go_silent_is_found_and_the_attacks_own_end_is_not() {
    let others = [(1, 2), (1, 3), (4, 5), (6, 7)];
    let attack: Vec<(u8, u8)> = others.iter().copied().chain((20..60).map(|target| (9, target))).collect();
    assert!(matches!(after(&attack, &others), Forwarded::Well { .. }), "{:?}", after(&attack, &others));
    assert!(matches!(after(&attack, &others[..1]), Forwarded::Suffers { .. }), "{:?}", after(&attack, &others[..1]));
    assert!(matches!(after(&attack, &[]), Forwarded::Suffers { .. }));
    assert_eq!(after(&[(9, 20), (9, 21)], &[]), Forwarded::TooLittle, "nobody else was there");
}
