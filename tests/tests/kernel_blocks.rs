//! The block map as the kernel programs obey it: exactly what an entry names is dropped, until it ends, and every dropped
//! packet is in both accounts.
#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that fails")]

use std::net::Ipv6Addr;

use ids_agent::{
    config::{CaptureSettings, FlowSettings, SampleSettings},
    kernel::{
        Blocks,
        test_run::{Entry, TestRun},
    },
    source::{Batch, SlotState},
};
use ids_common::{
    block::{BlockEntry, BlockKey},
    counter::Counter,
};
use ids_tests::{
    frame::{self, ACK, Ipv4, Ipv6, SYN, Tcp},
    probe::{Need, can_run},
};

const SECOND: u64 = 1_000_000_000;
const START_NS: u64 = 1_000 * SECOND;
/// bpf.h and pkt_cls.h.
const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;
const TC_ACT_UNSPEC: u32 = u32::MAX;
const TC_ACT_SHOT: u32 = 2;

const ATTACKER: [u8; 4] = [203, 0, 113, 9];
const NEIGHBOUR: [u8; 4] = [203, 0, 113, 8];
const SERVER: [u8; 4] = [192, 0, 2, 1];
const OTHER_SERVER: [u8; 4] = [192, 0, 2, 2];

struct Bench {
    run: TestRun,
    blocks: Blocks,
}

impl Bench {
    fn new() -> Self {
        let capture = CaptureSettings { sets_per_cpu: 64, ring_bytes: 1 << 20, ..CaptureSettings::default() };
        // Tests sweep when they want to.
        let flow = FlowSettings { tick_millis: 86_400_000, ..FlowSettings::default() };
        let mut run = TestRun::new(&capture, &flow, &SampleSettings::default()).unwrap();
        let blocks = run.take_blocks().unwrap();
        run.set_now(START_NS);
        Self { run, blocks }
    }

    fn block(&mut self, key: BlockKey, secs: u64) {
        let entry = BlockEntry { until_ns: START_NS + secs * SECOND, placed_ns: START_NS, ..BlockEntry::default() };
        self.blocks.put(&key, &entry).unwrap();
    }

    fn xdp(&self, frame: &[u8]) -> u32 {
        self.run.action(Entry::Xdp, frame).unwrap()
    }

    fn counter(&mut self, counter: Counter) -> u64 {
        let mut batch = Batch::default();
        self.run.sweep(START_NS, SlotState::Open, &mut batch);
        batch.totals.counter(counter)
    }
}

fn mapped(address: [u8; 4]) -> [u8; 16] {
    std::net::Ipv4Addr::from(address).to_ipv6_mapped().octets()
}

fn packet(src: [u8; 4], dst: [u8; 4]) -> Vec<u8> {
    Ipv4::between(src, dst, frame::TCP).wrap(&Tcp::ports(40_000, 443, ACK).wrap(&frame::payload(80)))
}

fn tcp(src: [u8; 4], dst: [u8; 4]) -> Vec<u8> {
    frame::ethernet(frame::IPV4, &packet(src, dst))
}

fn ready() -> bool {
    can_run("the block map", &[Need::Root])
}

#[test]
fn exactly_the_named_source_is_dropped_and_never_on_its_way_out() {
    if !ready() {
        return;
    }
    let mut bench = Bench::new();
    let (theirs, others, back) = (tcp(ATTACKER, SERVER), tcp(NEIGHBOUR, SERVER), tcp(SERVER, ATTACKER));
    assert_eq!(bench.xdp(&theirs), XDP_PASS, "without an entry everything passes");

    bench.block(BlockKey::source(mapped(ATTACKER)), 60);

    assert_eq!((bench.xdp(&theirs), bench.xdp(&others), bench.xdp(&back)), (XDP_DROP, XDP_PASS, XDP_PASS));
    let tc = |entry, frame: &[u8]| bench.run.action(entry, frame).unwrap();
    assert_eq!((tc(Entry::TcIngress, &theirs), tc(Entry::TcIngress, &others)), (TC_ACT_SHOT, TC_ACT_UNSPEC));
    assert_eq!(tc(Entry::TcEgress, &theirs), TC_ACT_UNSPEC, "what leaves is never dropped");
    assert_eq!(bench.xdp(&frame::arp()), XDP_PASS, "what is no flow passes");

    assert!(bench.blocks.remove(&BlockKey::source(mapped(ATTACKER))).unwrap().is_some());
    assert_eq!(bench.xdp(&theirs), XDP_PASS, "a removed entry drops nothing");
}

#[test]
fn a_pair_is_dropped_towards_its_target_alone() {
    if !ready() {
        return;
    }
    let mut bench = Bench::new();
    bench.block(BlockKey::pair(mapped(ATTACKER), mapped(SERVER)), 60);
    assert_eq!(bench.xdp(&tcp(ATTACKER, SERVER)), XDP_DROP);
    assert_eq!(bench.xdp(&tcp(ATTACKER, OTHER_SERVER)), XDP_PASS);
    assert_eq!(bench.xdp(&tcp(SERVER, ATTACKER)), XDP_PASS);
}

#[test]
fn an_entry_ends_at_its_time_though_nobody_removes_it() {
    if !ready() {
        return;
    }
    let mut bench = Bench::new();
    bench.block(BlockKey::source(mapped(ATTACKER)), 10);
    let frame = tcp(ATTACKER, SERVER);
    for (after_ns, action) in
        [(0, XDP_DROP), (10 * SECOND - 1, XDP_DROP), (10 * SECOND, XDP_PASS), (11 * SECOND, XDP_PASS)]
    {
        bench.run.set_now(START_NS + after_ns);
        assert_eq!(bench.xdp(&frame), action, "{after_ns} ns after");
    }
    assert_eq!(bench.blocks.entries().unwrap().len(), 1, "the entry is still there");
}

#[test]
fn vlans_fragments_and_the_second_family_are_no_way_around_it() {
    if !ready() {
        return;
    }
    let mut bench = Bench::new();
    let bad: Ipv6Addr = "2001:db8::bad".parse().unwrap();
    bench.block(BlockKey::source(mapped(ATTACKER)), 60);
    bench.block(BlockKey::source(bad.octets()), 60);
    let inner = packet(ATTACKER, SERVER);
    // The second half of a packet that was cut has no ports.
    let fragment = Ipv4 { fragment_offset: 10, more_fragments: true, ..Ipv4::between(ATTACKER, SERVER, frame::TCP) }
        .wrap(&[7; 64]);
    let segment = Tcp::ports(40_000, 443, SYN).wrap(&[]);
    let v6 = |src: Ipv6Addr| Ipv6 { src, ..Ipv6::of(frame::TCP) }.wrap(&segment);
    let tagged = |ethertype, body: &[u8]| frame::ethernet(frame::VLAN, &frame::vlan(42, ethertype, body));
    let inner_tag = frame::vlan(42, frame::IPV4, &inner);
    let tagged_twice = frame::ethernet(frame::QINQ, &frame::vlan(7, frame::VLAN, &inner_tag));
    for (what, frame) in [
        ("untagged", frame::ethernet(frame::IPV4, &inner)),
        ("tagged", tagged(frame::IPV4, &inner)),
        ("tagged twice", tagged_twice),
        ("a later fragment", frame::ethernet(frame::IPV4, &fragment)),
        ("IPv6", frame::ethernet(frame::IPV6, &v6(bad))),
        ("tagged IPv6", tagged(frame::IPV6, &v6(bad))),
    ] {
        assert_eq!(bench.xdp(&frame), XDP_DROP, "{what}");
        assert_eq!(bench.run.action(Entry::TcIngress, &frame).unwrap(), TC_ACT_SHOT, "{what}");
    }
    assert_eq!(bench.xdp(&frame::ethernet(frame::IPV6, &v6("2001:db8::600d".parse().unwrap()))), XDP_PASS);
}

#[test]
fn a_dropped_packet_is_counted_in_its_flow_and_as_blocked() {
    if !ready() {
        return;
    }
    let mut bench = Bench::new();
    let (theirs, others) = (tcp(ATTACKER, SERVER), tcp(NEIGHBOUR, SERVER));
    bench.xdp(&theirs);
    bench.block(BlockKey::source(mapped(ATTACKER)), 60);
    for _ in 0..30 {
        bench.xdp(&theirs);
        bench.xdp(&others);
    }
    let bytes = (theirs.len() - 14) as u64;
    assert_eq!(bench.counter(Counter::PacketsSeen), 61);
    assert_eq!(bench.counter(Counter::FlowPackets), 61, "seen = in flows, dropped or not");
    assert_eq!(bench.counter(Counter::PacketsBlocked), 30);
    assert_eq!(bench.counter(Counter::BytesBlocked), 30 * bytes);
    let entry = bench.blocks.entry(&BlockKey::source(mapped(ATTACKER))).unwrap().unwrap();
    assert_eq!((entry.packets, entry.bytes), (30, 30 * bytes));
    // The first payload packet passed and was sampled; those of the neighbour were, up to the bound.
    let samples = u64::from(SampleSettings::default().packets);
    assert_eq!(bench.counter(Counter::SamplesSent), 1 + samples, "what is dropped is not sampled");
}

#[test]
fn the_map_refuses_more_than_it_holds_and_goes_on() {
    if !ready() {
        return;
    }
    let mut bench = Bench::new();
    let entry = BlockEntry { until_ns: START_NS + SECOND, ..BlockEntry::default() };
    let address = |at: u32| mapped((0x0a00_0000 + at).to_be_bytes());
    let fits = (0..ids_common::limits::BLOCKS_MAX + 1)
        .take_while(|at| bench.blocks.put(&BlockKey::source(address(*at)), &entry).is_ok())
        .count();
    assert_eq!(fits, ids_common::limits::BLOCKS_MAX as usize);
    assert_eq!(bench.xdp(&tcp([10, 0, 0, 7], SERVER)), XDP_DROP);
    assert_eq!(bench.xdp(&tcp(NEIGHBOUR, SERVER)), XDP_PASS);
}
