//! Values computed by hand, the schema's rules, and the page that is generated from it.
#![expect(clippy::unwrap_used, reason = "a failing test may panic")]

use std::collections::BTreeSet;

use ids_common::{
    flow::{Continuity, FlowKey, FlowSlot},
    parse::{PacketMeta, ipv4_mapped},
    wire::{TCP_ACK, TCP_FIN, TCP_PSH, TCP_SYN},
};
use proptest::prelude::*;

use super::*;
use crate::flow::{FlowEnd, FlowState};

fn key() -> FlowKey {
    FlowKey {
        src: ipv4_mapped(u32::from_ne_bytes([10, 0, 0, 1])),
        dst: ipv4_mapped(u32::from_ne_bytes([10, 0, 0, 2])),
        src_port: 40_000,
        dst_port: 443,
        proto: 6,
        kind: 0,
        vlan: 0,
    }
}

/// A slot of packets given as time in microseconds, length, payload and flags.
fn slot(key: FlowKey, packets: &[(u64, u32, u32, u8)]) -> FlowSlot {
    let meta = |&(_, len, payload_len, tcp_flags): &(u64, u32, u32, u8)| PacketMeta {
        key,
        len,
        payload_len,
        tcp_flags,
        ttl: 64,
        window: 8_191,
        ..Default::default()
    };
    let mut slot = FlowSlot::begin(&meta(&packets[0]), packets[0].0 * 1_000, Continuity::Continues);
    for packet in &packets[1..] {
        slot.update(&meta(packet), packet.0 * 1_000);
    }
    slot
}

fn record(forward: FlowSlot, backward: Option<FlowSlot>) -> FlowRecord {
    let slots = || [Some(forward), backward].into_iter().flatten();
    FlowRecord {
        id: 1,
        key: forward.key,
        forward,
        backward,
        start_ns: slots().map(|slot| slot.first_seen_ns).min().unwrap(),
        end_ns: slots().map(|slot| slot.last_seen_ns).max().unwrap(),
        state: FlowState::Ended(FlowEnd::Idle),
    }
}

fn vector(record: &FlowRecord) -> FeatureVector {
    extract(record, &WindowFacts::default(), &PayloadFacts::default())
}

fn quantity(vector: &FeatureVector, name: &str) -> f64 {
    let at = SCHEMA.iter().position(|spec| spec.name == name).unwrap_or_else(|| panic!("no feature `{name}`"));
    SCHEMA[at].quantity(vector.values[at])
}

#[test]
fn a_short_connection_gives_the_values_computed_by_hand() {
    let forward = slot(
        key(),
        &[
            (0, 60, 0, TCP_SYN),
            (20_480, 52, 0, TCP_ACK),
            (30_720, 552, 500, TCP_ACK | TCP_PSH),
            (2_078_720, 52, 0, TCP_ACK | TCP_FIN),
        ],
    );
    let backward = slot(
        key().reversed(),
        &[(10_240, 60, 0, TCP_SYN | TCP_ACK), (40_960, 1_500, 1_448, TCP_ACK), (51_200, 52, 0, TCP_ACK | TCP_FIN)],
    );
    let vector = vector(&record(forward, Some(backward)));
    let expected = [
        ("fwd_packets", 4.0),
        ("fwd_bytes", 716.0),
        ("fwd_payload_bytes", 500.0),
        ("fwd_header_bytes", 216.0),
        ("fwd_payload_packets", 1.0),
        ("fwd_len_min", 52.0),
        ("fwd_len_max", 552.0),
        ("fwd_len_mean", 179.0),
        // sqrt((60^2 + 52^2 + 552^2 + 52^2) / 4 - 179^2)
        ("fwd_len_std", 215.376_414_7),
        ("fwd_iat_min", 10_240.0),
        ("fwd_iat_max", 2_048_000.0),
        ("fwd_iat_mean", 692_906.666_7),
        // sqrt((20,480^2 + 10,240^2 + 2,048,000^2) / 3 - 692,906.67^2)
        ("fwd_iat_std", 958_204.804_5),
        ("fwd_fin", 1.0),
        ("fwd_syn", 1.0),
        ("fwd_rst", 0.0),
        ("fwd_psh_share", 0.25),
        ("fwd_ack_share", 0.75),
        ("fwd_init_window", 8_191.0),
        ("fwd_ttl_range", 0.0),
        ("fwd_idle_count", 1.0),
        // 2,048 ms are 1,953 whole ticks of 2^20 ns.
        ("fwd_idle_secs", 2.047_868_928),
        ("fwd_active_share", 1.0 - 2.047_868_928 / 2.078_72),
        ("fwd_size_1", 60.0),
        ("fwd_size_3", 552.0),
        ("fwd_size_5", 0.0),
        ("fwd_gap_2", 20_480.0),
        ("fwd_gap_4", 2_048_000.0),
        ("bwd_packets", 3.0),
        ("bwd_bytes", 1_612.0),
        ("bwd_size_2", 1_500.0),
        ("bwd_gap_2", 30_720.0),
        ("duration_ms", 2_078.72),
        ("packets_per_sec", 7.0 / 2.078_72),
        ("fwd_packet_share", 4.0 / 7.0),
        ("fwd_byte_share", 716.0 / 2_328.0),
        ("fwd_payload_share", 500.0 / 1_948.0),
        ("payload_share", 1_948.0 / 2_328.0),
        ("answered", 1.0),
        ("answer_delay", 10_240.0),
        ("starts_with_syn", 1.0),
        ("handshake_answered", 1.0),
        ("syn_only", 0.0),
        ("closed_by_fin", 1.0),
        ("closed_by_rst", 0.0),
        ("is_tcp", 1.0),
        ("port_system", 1.0),
        ("service_web", 1.0),
        ("service_login", 0.0),
    ];
    for (name, value) in expected {
        let found = quantity(&vector, name);
        assert!((found - value).abs() <= 2e-5 * value.abs().max(1e-3), "{name} is {found}, not {value}");
    }
}

#[test]
fn a_flow_of_one_packet_has_no_spread_and_no_rate() {
    let vector = vector(&record(slot(key(), &[(7, 60, 0, TCP_SYN)]), None));
    for name in
        ["fwd_iat_min", "fwd_iat_std", "fwd_len_std", "packets_per_sec", "bwd_packets", "bwd_len_min", "answered"]
    {
        assert_eq!(quantity(&vector, name), 0.0, "{name}");
    }
    assert_eq!(quantity(&vector, "syn_only"), 1.0);
    assert_eq!(quantity(&vector, "fwd_active_share"), 1.0);
}

#[test]
fn addresses_source_port_ttl_and_absolute_time_do_not_show() {
    let packets = [(0, 60, 0, TCP_SYN), (10, 52, 0, TCP_ACK)];
    let plain = vector(&record(slot(key(), &packets), None));
    let other_key = FlowKey { src: [7; 16], dst: [9; 16], src_port: 1, vlan: 5, ..key() };
    let later: Vec<_> = packets.iter().map(|p| (p.0 + 1_000_000_000, p.1, p.2, p.3)).collect();
    let mut other = slot(other_key, &later);
    (other.ttl_min, other.ttl_max) = (128, 128);
    assert_eq!(plain, vector(&record(other, None)));
}

#[test]
fn names_are_unique_and_ranges_hold_something() {
    let names: BTreeSet<&str> = SCHEMA.iter().map(|spec| spec.name).collect();
    assert_eq!(names.len(), FEATURES);
    for spec in &SCHEMA {
        assert!(spec.low < spec.high && spec.low.is_finite() && spec.high.is_finite(), "{}", spec.name);
        assert!(!spec.doc.is_empty() && !spec.unit.is_empty(), "{}", spec.name);
    }
    assert_eq!(schema_hash().len(), 64);
}

proptest! {
    #[test]
    fn every_value_is_within_its_range(
        numbers in prop::array::uniform24(prop_oneof![any::<u64>(), Just(0), Just(u64::MAX)]),
        dst_port in any::<u16>(),
        proto in any::<u8>(),
        answered in any::<bool>(),
    ) {
        let n = |at: usize| numbers[at];
        let key = FlowKey { dst_port, proto, ..key() };
        let wild = |from: usize| FlowSlot {
            last_seen_ns: n(from),
            first_seen_ns: n(from + 1),
            packets: n(from + 2),
            bytes: n(from + 3),
            payload_bytes: n(from + 4),
            len_sumsq: n(from + 5),
            gap_sumsq: n(from + 6),
            gap_min: n(from + 7) as u32,
            gap_max: n(from + 8) as u32,
            idle_sum: n(from + 9) as u32,
            psh: n(from + 10) as u32,
            ack: n(from + 11) as u32,
            ..slot(key, &[(0, 60, 0, 0)])
        };
        let vector = vector(&record(wild(0), answered.then(|| wild(12))));
        for (value, spec) in vector.values.iter().zip(&SCHEMA) {
            prop_assert!((spec.low..=spec.high).contains(value), "{} = {}", spec.name, value);
        }
    }
}

#[test]
fn the_page_of_features_is_generated_from_the_schema() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/features.md");
    let page = page();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &page).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == page, "docs/features.md is stale: run this test with UPDATE=1");
}

fn page() -> String {
    let mut page = format!(
        "# Features\n\n\
        Every flow becomes a vector of {FEATURES} numbers, in the order of this page. It is generated from the schema in\n\
        `ids-agent/src/features.rs`; the test `the_page_of_features_is_generated_from_the_schema` rewrites it with `UPDATE=1`.\n\n\
        Schema hash: `{}`. A model fits one hash only.\n\n\
        * `fwd_` is the initiator's direction, `bwd_` the answer's; all values of a silent direction are 0.\n\
        * Scale `log` means that the vector holds ln(1 + quantity); unit and formula are the quantity's, the range is\n  \
        the vector's. Values are held within their range and are never NaN.\n\
        * Lengths are network-layer bytes, IP header included. Times between packets are counted in steps of 1.024 us,\n  \
        silences longer than 1 s in steps of 1.05 ms.\n\
        * No address, no source port, no absolute time and no TTL but its spread is a feature.\n",
        schema_hash()
    );
    let mut at = 0;
    let tables: [(&str, usize); 5] = [
        ("The initiator's direction", side::COUNT),
        ("The answer's direction", side::COUNT),
        ("The flow as a whole", whole::COUNT),
        ("What the payload samples say", content::COUNT),
        ("What source, target and service did lately", WindowFacts::COUNT),
    ];
    for (title, count) in tables {
        page += &format!("\n## {title}\n\n| # | name | unit | scale | range | formula |\n|---|---|---|---|---|---|\n");
        for spec in &SCHEMA[at..at + count] {
            let FeatureSpec { name, unit, scale, low, high, doc } = spec;
            let doc = doc.replace('|', "\\|");
            page += &format!("| {at} | `{name}` | {unit} | {} | {low} to {high} | {doc} |\n", scale.label());
            at += 1;
        }
    }
    page
}
