//! The table of joined flows when more comes than it holds: bounded, and counted.
#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that fails")]

use ids_agent::{
    config::FlowSettings,
    flow::{FlowEnd, FlowRecord, FlowTable},
    source::{Batch, SlotState, SlotUpdate},
};
use ids_common::{
    flow::{Continuity, FlowSlot},
    parse::{Frame, Link, parse},
};
use ids_tests::frame::{self, Ipv4, Tcp};

const TICK_NS: u64 = 500_000_000;

/// The slot of one SYN from a source that comes once.
fn spoofed(n: u32, at_ns: u64) -> SlotUpdate {
    let source = (0x0b00_0000 + n).to_be_bytes();
    let packet = Ipv4::between(source, [10, 0, 0, 1], frame::TCP).wrap(&Tcp::ports(9, 80, frame::SYN).wrap(&[]));
    let meta = parse(&Frame::new(&packet, packet.len()), Link::RawIp).unwrap();
    SlotUpdate { cpu: 0, state: SlotState::Open, slot: FlowSlot::begin(&meta, at_ns, Continuity::Continues) }
}

/// The kernel overwrites slots that were read without a last word; what is kept of each was once
/// unbounded for four seconds.
#[test]
fn slots_of_evicted_flows_are_remembered_within_bounds_and_every_packet_counts_once() {
    let settings = FlowSettings { flows_max: 16, ..FlowSettings::default() };
    let mut table = FlowTable::new(&settings);
    let (mut batch, mut out) = (Batch::default(), Vec::new());
    for tick in 0..40u64 {
        batch.clear();
        batch.now_ns = (tick + 1) * TICK_NS;
        batch.slots.extend((0..200).map(|n| spoofed(tick as u32 * 200 + n, tick * TICK_NS + u64::from(n))));
        table.absorb(&batch);
        table.due(batch.now_ns, &mut out);
        assert!(table.stats().active <= 16);
    }
    table.finish(&mut out);
    let stats = table.stats();
    assert_eq!((stats.started, stats.packets_ended), (8_000, 8_000));
    assert_eq!(stats.ended_all(), 8_000);
    assert_eq!(stats.ended_by(FlowEnd::Evicted), 8_000 - 16);
    assert!(stats.slots_forgotten > 6_000, "{stats:?}");
    assert_eq!(out.iter().filter(|record| record.is_ended()).map(FlowRecord::packets).sum::<u64>(), 8_000);
}
