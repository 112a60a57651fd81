//! What must hold for every way to cut and deliver the same packets.
#![expect(clippy::unwrap_used, reason = "a failing test may panic")]

use std::collections::{BTreeMap, BTreeSet};

use ids_common::{
    flow::Continuity,
    parse::{PacketMeta, ipv4_mapped},
};
use proptest::prelude::*;

use super::*;
use crate::source::{Batch, SlotState};

const MS: u64 = 1_000_000;
const SEC: u64 = 1_000 * MS;

const SYN: u8 = wire::TCP_SYN;
const ACK: u8 = wire::TCP_ACK;
const SYN_ACK: u8 = SYN | ACK;
const FIN_ACK: u8 = wire::TCP_FIN | ACK;
const RST: u8 = wire::TCP_RST;

type Packet = (u64, PacketMeta);

fn settings() -> FlowSettings {
    FlowSettings::default()
}

fn key(pair: u8, backward: bool) -> FlowKey {
    let (client, server) =
        (ipv4_mapped(u32::from_be_bytes([pair, 0, 0, 10])), ipv4_mapped(u32::from_be_bytes([pair, 1, 0, 10])));
    let key = FlowKey { src: client, dst: server, src_port: 40_000, dst_port: 443, proto: 6, kind: 0, vlan: 0 };
    if backward { key.reversed() } else { key }
}

fn packet(at_ns: u64, backward: bool, flags: u8) -> Packet {
    packet_of(0, at_ns, backward, flags, 52)
}

fn packet_of(pair: u8, at_ns: u64, backward: bool, flags: u8, len: u32) -> Packet {
    let payload_len = len - 52;
    (
        at_ns,
        PacketMeta {
            key: key(pair, backward),
            len,
            payload_len,
            tcp_flags: flags,
            ttl: 64,
            window: 512,
            ..Default::default()
        },
    )
}

/// How a source cuts and delivers: none of it may show in the ended records.
#[derive(Clone, Debug)]
struct Delivery {
    tick_ns: u64,
    phase_ns: u64,
    cpus: u32,
    /// Packets after which every slot leaves the table.
    cuts: BTreeSet<usize>,
    /// Whether silent slots are told to be closed, or just forgotten.
    tells_closed: bool,
    /// What the table gives up, tick by tick: halvings of its size, and seconds of silence.
    eased: Vec<(u8, u64)>,
}

impl Delivery {
    fn plain() -> Self {
        Self { tick_ns: 500 * MS, phase_ns: 0, cpus: 1, cuts: BTreeSet::new(), tells_closed: true, eased: Vec::new() }
    }
}

/// Delivers packets as a source would, and gives the ended records with the table's last word.
fn deliver(settings: &FlowSettings, packets: &[Packet], how: &Delivery) -> (Vec<FlowRecord>, FlowStats) {
    let mut table = FlowTable::new(settings);
    let mut slots: BTreeMap<(FlowKey, u32), (FlowSlot, bool)> = BTreeMap::new();
    let mut out = Vec::new();
    let mut batch = Batch::default();
    let mut next = 0;
    let first_ns = packets.first().map_or(0, |packet| packet.0);
    let last_ns = packets.last().map_or(0, |packet| packet.0);
    let mut now_ns = first_ns - first_ns % how.tick_ns + how.phase_ns;
    if now_ns > first_ns {
        now_ns = now_ns.saturating_sub(how.tick_ns);
    }
    let close = |batch: &mut Batch, cpu: u32, slot: FlowSlot| {
        batch.slots.push(SlotUpdate { cpu, state: SlotState::Closed, slot });
    };
    let mut empty_ticks = 0;
    while let Some((next_ns, _)) = packets.get(next) {
        // Ten empty ticks are enough of each silence.
        empty_ticks = if *next_ns < now_ns + how.tick_ns { 0 } else { empty_ticks + 1 };
        now_ns += if empty_ticks > 10 { (next_ns - now_ns) / how.tick_ns * how.tick_ns } else { how.tick_ns };
        batch.clear();
        while let Some((at_ns, meta)) = packets.get(next).filter(|packet| packet.0 < now_ns) {
            let cpu = (next as u32 / 3) % how.cpus;
            match slots.get_mut(&(meta.key, cpu)) {
                None => {
                    slots.insert((meta.key, cpu), (FlowSlot::begin(meta, *at_ns, Continuity::Continues), true));
                }
                Some((slot, dirty)) => {
                    *dirty = true;
                    match slot.continuity(meta, *at_ns, settings.slot_silence_ns()) {
                        Continuity::Continues => slot.update(meta, *at_ns),
                        reason => {
                            close(&mut batch, cpu, *slot);
                            *slot = FlowSlot::begin(meta, *at_ns, reason);
                        }
                    }
                }
            }
            if how.cuts.contains(&next) {
                for ((_, cpu), (slot, _)) in std::mem::take(&mut slots) {
                    close(&mut batch, cpu, slot);
                }
            }
            next += 1;
        }
        slots.retain(|(_, cpu), (slot, _)| {
            let stays = now_ns - slot.last_seen_ns.min(now_ns) <= settings.slot_silence_ns() + how.tick_ns;
            if !stays && how.tells_closed {
                close(&mut batch, *cpu, *slot);
            }
            stays
        });
        for ((_, cpu), (slot, dirty)) in &mut slots {
            if std::mem::take(dirty) {
                batch.slots.push(SlotUpdate { cpu: *cpu, state: SlotState::Open, slot: *slot });
            }
        }
        batch.now_ns = now_ns.min(last_ns + 1);
        if let Some((halvings, idle_secs)) = how.eased.get(next % how.eased.len().max(1)) {
            table.halve(*halvings);
            table.bound_idle(idle_secs * SEC);
        }
        table.absorb(&batch);
        table.due(batch.now_ns, &mut out);
    }
    table.finish(&mut out);
    out.retain(FlowRecord::is_ended);
    out.sort_by_key(|record| (record.start_ns, record.key, record.end_ns, record.id));
    (out, table.stats())
}

fn ends(packets: &[Packet]) -> Vec<(FlowEnd, u64)> {
    let (records, _) = deliver(&settings(), packets, &Delivery::plain());
    records
        .iter()
        .map(|record| match record.state {
            FlowState::Ended(end) => (end, record.packets()),
            FlowState::Open => unreachable!(),
        })
        .collect()
}

prop_compose! {
    fn arbitrary_packet()(
        pair in 0u8..2,
        backward in any::<bool>(),
        flags in prop::sample::select(vec![SYN, SYN_ACK, ACK, ACK, ACK, FIN_ACK, RST]),
        len in 52u32..300,
        gap_ns in prop_oneof![
            4 => Just(0u64),
            8 => 0..900 * MS,
            2 => (2 * SEC - 2)..(2 * SEC + 3),
            3 => 900 * MS..5 * SEC,
            2 => (60 * SEC - 2)..(60 * SEC + 3),
            1 => 50 * SEC..80 * SEC,
        ],
    ) -> (u8, bool, u8, u32, u64) {
        (pair, backward, flags, len, gap_ns)
    }
}

/// One step of `arbitrary_packet`.
type Step = (u8, bool, u8, u32, u64);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(arbitrary_packet(), 1..60)
}

fn traffic(steps: &[Step]) -> Vec<Packet> {
    let mut at_ns = 1_700_000_000 * SEC;
    let mut packets = Vec::new();
    for &(pair, backward, flags, len, gap_ns) in steps {
        at_ns += gap_ns;
        packets.push(packet_of(pair, at_ns, backward, flags, len));
    }
    packets
}

prop_compose! {
    fn delivery(cpus_max: u32)(
        tick_ns in prop::sample::select(vec![10 * MS, 100 * MS, 500 * MS, 700 * MS, 1_900 * MS, 5 * SEC]),
        phase in 0u64..1_000,
        cpus in 1..=cpus_max,
        cuts in prop::collection::btree_set(0usize..60, 0..12),
        tells_closed in any::<bool>(),
    ) -> Delivery {
        Delivery { tick_ns, phase_ns: tick_ns * phase / 1_000, cpus, cuts, tells_closed, eased: Vec::new() }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn ended_records_do_not_depend_on_cuts_or_ticks(steps in steps(), how in delivery(1)) {
        let packets = traffic(&steps);
        let (plain, _) = deliver(&settings(), &packets, &Delivery::plain());
        let (other, stats) = deliver(&settings(), &packets, &how);
        let summary = |records: &[FlowRecord]| -> Vec<_> {
            records.iter().map(|r| (r.start_ns, r.end_ns, r.state, r.packets(), r.forward.packets)).collect()
        };
        prop_assert_eq!(summary(&plain), summary(&other));
        prop_assert!(plain == other, "statistics differ");
        prop_assert_eq!(stats.slots_overlapping, 0);
    }

    #[test]
    fn every_packet_is_in_one_ended_record(steps in steps(), how in delivery(3), flows_max in 1usize..6) {
        let packets = traffic(&steps);
        let settings = FlowSettings { flows_max, ..settings() };
        let (records, stats) = deliver(&settings, &packets, &how);
        check_conservation(&packets, &records, stats)?;
    }

    #[test]
    fn every_packet_is_in_one_ended_record_whatever_is_given_up(
        steps in steps(),
        how in delivery(3),
        flows_max in 1usize..6,
        eased in prop::collection::vec((0u8..5, 0u64..90), 1..8),
    ) {
        let packets = traffic(&steps);
        let settings = FlowSettings { flows_max, ..settings() };
        let (records, stats) = deliver(&settings, &packets, &Delivery { eased, ..how });
        check_conservation(&packets, &records, stats)?;
    }
}

fn check_conservation(packets: &[Packet], records: &[FlowRecord], stats: FlowStats) -> Result<(), TestCaseError> {
    let bytes: u64 = packets.iter().map(|(_, meta)| u64::from(meta.len)).sum();
    prop_assert_eq!(records.iter().map(FlowRecord::packets).sum::<u64>(), packets.len() as u64);
    prop_assert_eq!(records.iter().map(FlowRecord::bytes).sum::<u64>(), bytes);
    prop_assert_eq!((stats.packets_ended, stats.bytes_ended), (packets.len() as u64, bytes));
    prop_assert_eq!((stats.active, stats.started), (0, stats.ended_all()));
    Ok(())
}

#[test]
fn a_table_that_gives_up_ends_what_is_too_silent_or_too_much_and_takes_it_up_again() {
    let mut table = FlowTable::new(&settings());
    let open = |pair: u8, packets: &[Packet]| {
        let mut slot = FlowSlot::begin(&packets[0].1, packets[0].0, Continuity::Continues);
        packets[1..].iter().for_each(|(at_ns, meta)| slot.update(meta, *at_ns));
        assert_eq!(slot.key, key(pair, false));
        SlotUpdate { cpu: 0, state: SlotState::Open, slot }
    };
    let at = 1_000 * SEC;
    let mut batch = Batch { now_ns: at + SEC, ..Batch::default() };
    for pair in 0..200 {
        // Each fourth has more than a probe's packets.
        let packets: Vec<Packet> =
            (0..if pair % 4 == 0 { 5 } else { 1 }).map(|n| packet_of(pair, at + n, false, ACK, 60)).collect();
        batch.slots.push(open(pair, &packets));
    }
    let mut out = Vec::new();
    table.absorb(&batch);
    table.due(batch.now_ns, &mut out);
    assert_eq!((out.len(), table.stats().active), (200, 200));

    // A table of 32,768 flows, halved eleven times, is one of 16: the established stay while there are any.
    out.clear();
    table.halve(10);
    table.absorb(&Batch { now_ns: at + 2 * SEC, ..Batch::default() });
    table.due(at + 2 * SEC, &mut out);
    assert_eq!((table.stats().active, out.len()), (32, 168));
    assert!(out.iter().all(|record| record.state == FlowState::Ended(FlowEnd::Evicted)));
    assert_eq!(out.iter().filter(|record| record.packets() == 1).count(), 150);

    // A shorter silence ends the others at once, each in its own time.
    out.clear();
    table.bound_idle(5 * SEC);
    table.due(at + 6 * SEC, &mut out);
    assert_eq!((table.stats().active, out.len()), (0, 32));
    assert!(out.iter().all(|record| record.state == FlowState::Ended(FlowEnd::Idle) && record.packets() == 5));
    table.bound_idle(u64::MAX);
    table.halve(0);
    table.absorb(&Batch { now_ns: at + 7 * SEC, slots: batch.slots.clone(), ..Batch::default() });
    table.due(at + 7 * SEC, &mut out);
    assert_eq!(table.stats().ended_all(), 200);
}

#[test]
fn a_whole_connection_is_one_flow_that_ends_by_fin() {
    let packets = [
        packet(0, false, SYN),
        packet(10 * MS, true, SYN_ACK),
        packet(20 * MS, false, ACK),
        packet(30 * MS, false, FIN_ACK),
        packet(40 * MS, true, FIN_ACK),
        packet(50 * MS, false, ACK),
        // A trailing packet within the linger stays with its flow.
        packet(2_000 * MS, true, RST),
        packet(90 * SEC, false, SYN),
    ];
    assert_eq!(ends(&packets), [(FlowEnd::Fin, 7), (FlowEnd::Stopped, 1)]);
}

#[test]
fn fin_in_one_direction_does_not_end_a_flow() {
    let packets = [
        packet(0, false, SYN),
        packet(MS, true, SYN_ACK),
        packet(2 * MS, false, FIN_ACK),
        packet(30 * SEC, true, ACK),
        packet(100 * SEC, true, ACK),
    ];
    assert_eq!(ends(&packets), [(FlowEnd::Idle, 4), (FlowEnd::Stopped, 1)]);
}

#[test]
fn a_connection_after_a_reset_is_its_own_flow() {
    let packets = [
        packet(0, false, SYN),
        packet(MS, true, RST | ACK),
        packet(SEC, false, SYN),
        // Too late for the linger.
        packet(4 * SEC, false, SYN),
        packet(4 * SEC + MS, true, RST | ACK),
        packet(9 * SEC, false, ACK),
    ];
    assert_eq!(ends(&packets), [(FlowEnd::Rst, 3), (FlowEnd::Rst, 2), (FlowEnd::Stopped, 1)]);
}

#[test]
fn a_handshake_on_a_used_key_begins_a_new_flow_for_both_directions() {
    let packets = [
        packet(0, false, SYN),
        packet(MS, true, SYN_ACK),
        packet(2 * MS, false, ACK),
        packet(3 * MS, true, ACK),
        packet(100 * MS, false, SYN),
        // A straggler of the old connection, then the new one's answer.
        packet(101 * MS, true, ACK),
        packet(102 * MS, true, SYN_ACK),
        packet(103 * MS, false, ACK),
    ];
    assert_eq!(ends(&packets), [(FlowEnd::Reused, 5), (FlowEnd::Stopped, 3)]);
}

#[test]
fn silence_of_one_direction_does_not_end_a_flow() {
    let mut packets: Vec<Packet> = (0..20).map(|n| packet(n * 10 * SEC, true, ACK)).collect();
    packets.insert(0, packet(0, false, SYN));
    packets.push(packet(191 * SEC, false, ACK));
    assert_eq!(ends(&packets), [(FlowEnd::Stopped, 22)]);
    let (records, _) = deliver(&settings(), &packets, &Delivery::plain());
    assert_eq!(records[0].forward.gap_max, ((191 * SEC) >> 10) as u32);
    assert_eq!(records[0].backward.unwrap().idle_count, 19);
}

#[test]
fn the_initiator_is_who_sent_the_syn() {
    let forward_of = |packets: &[Packet]| {
        let (records, _) = deliver(&settings(), packets, &Delivery::plain());
        records[0].key
    };
    // Seen in the wrong order by two receive queues.
    assert_eq!(forward_of(&[packet(0, true, SYN_ACK), packet(1, false, SYN)]), key(0, false));
    assert_eq!(forward_of(&[packet(0, true, ACK), packet(0, false, ACK)]), key(0, false));
    assert_eq!(forward_of(&[packet(0, true, ACK), packet(1, false, ACK)]), key(0, true));
    assert_eq!(forward_of(&[packet(5, true, SYN_ACK)]), key(0, true));
}

#[test]
fn a_flow_is_judged_at_first_sight_at_checkpoints_and_at_least_every_ten_seconds() {
    let mut table = FlowTable::new(&settings());
    let mut batch = Batch::default();
    let mut judged = Vec::new();
    let mut slot: Option<FlowSlot> = None;
    for tick in 1..=60u64 {
        let now_ns = tick * 500 * MS;
        let (at_ns, meta) = packet(now_ns - MS, false, ACK);
        match &mut slot {
            None => slot = Some(FlowSlot::begin(&meta, at_ns, Continuity::Continues)),
            Some(slot) => slot.update(&meta, at_ns),
        }
        batch.clear();
        batch.slots.push(SlotUpdate { cpu: 0, state: SlotState::Open, slot: slot.unwrap() });
        batch.now_ns = now_ns;
        table.absorb(&batch);
        let mut due = Vec::new();
        table.due(now_ns, &mut due);
        judged.extend(due.iter().map(|record| record.packets()));
    }
    assert_eq!(judged, [1, 4, 16, 36, 56]);
}

#[test]
fn a_flow_that_is_asked_for_is_judged_at_once() {
    let mut table = FlowTable::new(&settings());
    let mut slot = None;
    let mut judged = Vec::new();
    for tick in 1..=60u64 {
        let now_ns = tick * 500 * MS;
        let (at_ns, meta) = packet(now_ns - MS, false, ACK);
        let slot = slot.get_or_insert_with(|| FlowSlot::begin(&meta, at_ns, Continuity::Continues));
        slot.update(&meta, at_ns);
        let mut batch = Batch { now_ns, ..Batch::default() };
        batch.slots.push(SlotUpdate { cpu: 0, state: SlotState::Open, slot: *slot });
        table.absorb(&batch);
        if tick == 10 {
            table.review(&key(0, true));
            // Whom nobody knows.
            table.review(&key(7, false));
        }
        let mut due = Vec::new();
        table.due(now_ns, &mut due);
        judged.extend(due.iter().map(|_| tick));
    }
    assert_eq!(judged, [1, 3, 10, 15, 35, 55]);
}

#[test]
fn a_full_table_drops_probes_before_established_flows() {
    let settings = FlowSettings { flows_max: 8, ..settings() };
    let mut packets: Vec<Packet> = (0..6).map(|n| packet_of(0, n * MS, n % 2 == 1, ACK, 60)).collect();
    for pair in 1..200u8 {
        packets.push(packet_of(pair, SEC + u64::from(pair) * 20 * MS, false, SYN, 52));
        packets.push(packet_of(0, SEC + u64::from(pair) * 20 * MS, false, ACK, 60));
    }
    let (records, stats) = deliver(&settings, &packets, &Delivery::plain());
    let kept = records.iter().find(|record| record.key == key(0, false)).unwrap();
    assert_eq!((kept.packets(), kept.state), (205, FlowState::Ended(FlowEnd::Stopped)));
    assert_eq!(stats.ended_by(FlowEnd::Evicted), 200 - 8);
    assert_eq!(stats.packets_ended, packets.len() as u64);
}

#[test]
fn ids_are_stable_and_exact_in_json() {
    let packets = [packet(0, false, SYN), packet(MS, true, SYN_ACK)];
    let (records, _) = deliver(&settings(), &packets, &Delivery::plain());
    let (again, _) = deliver(&settings(), &packets, &Delivery { phase_ns: 3, ..Delivery::plain() });
    assert_eq!(records[0].id, again[0].id);
    assert!(records[0].id < 1 << 52);
}

#[test]
fn community_ids_equal_the_published_ones() {
    // From the baseline of the specification's repository.
    let record = |src: &str, dst: &str, src_port, dst_port, proto| {
        let octets = |text: &str| match text.parse().unwrap() {
            std::net::IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
            std::net::IpAddr::V6(v6) => v6.octets(),
        };
        let key = FlowKey { src: octets(src), dst: octets(dst), src_port, dst_port, proto, kind: 0, vlan: 0 };
        let meta = PacketMeta { key, ..Default::default() };
        let forward = FlowSlot::begin(&meta, 0, Continuity::Continues);
        FlowRecord { id: 0, key, forward, backward: None, start_ns: 0, end_ns: 0, state: FlowState::Open }
            .community_id()
    };
    assert_eq!(record("128.232.110.120", "66.35.250.204", 34855, 80, 6), "1:LQU9qZlK+B5F3KDmev6m5PMibrg=");
    assert_eq!(record("66.35.250.204", "128.232.110.120", 80, 34855, 6), "1:LQU9qZlK+B5F3KDmev6m5PMibrg=");
    assert_eq!(record("192.168.1.52", "8.8.8.8", 54585, 53, 17), "1:d/FP5EW3wiY1vCndhwleRRKHowQ=");
    assert_eq!(record("192.168.0.89", "192.168.0.1", 8, 0, 1), "1:X0snYXpgwiv9TZtqg64sgzUn6Dk=");
}
