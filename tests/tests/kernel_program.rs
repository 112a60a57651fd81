//! The kernel programs as the verifier and the counters see them: accepted within the budget, and
//! every packet in a flow, in a skip, or in a named loss.
#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that fails")]

use std::collections::HashMap;

use ids_agent::{
    config::{CaptureSettings, FlowSettings, SampleSettings},
    kernel::test_run::{Entry, TestRun},
    source::{Batch, SlotState, Totals},
};
use ids_common::{
    counter::Counter,
    flow::{FlowKey, FlowSlot},
};
use ids_tests::{
    frame::{self, ACK, Ipv4, SYN, Tcp},
    probe::{Need, can_run},
};

const SECOND: u64 = 1_000_000_000;
const START_NS: u64 = 1_000 * SECOND;
const VERIFIED_INSTRUCTIONS_MAX: u32 = 50_000;

/// Last states of slots, as a reader of batches keeps them.
#[derive(Default)]
struct Slots {
    last: HashMap<(FlowKey, u32, u64), FlowSlot>,
}

impl Slots {
    fn absorb(&mut self, batch: &Batch) {
        for update in &batch.slots {
            let id = (update.slot.key, update.cpu, update.slot.first_seen_ns);
            let last = self.last.entry(id).or_insert(update.slot);
            assert!(last.packets <= update.slot.packets, "a slot went back: {last:?} then {:?}", update.slot);
            *last = update.slot;
        }
    }

    fn sum(&self, of: impl Fn(&FlowSlot) -> u64) -> u64 {
        self.last.values().map(of).sum()
    }

    fn packets_of(&self, src_port: u16) -> u64 {
        let of = self.last.values().filter(|slot| slot.key.src_port == src_port);
        of.map(|slot| slot.packets).sum()
    }
}

fn load(sets_per_cpu: u32, ring_bytes: u32) -> TestRun {
    let capture = CaptureSettings { sets_per_cpu, ring_bytes, ..CaptureSettings::default() };
    // Tests sweep when they want to.
    let flow = FlowSettings { tick_millis: 86_400_000, ..FlowSettings::default() };
    TestRun::new(&capture, &flow, &SampleSettings { packets: 0, heads: 0, bytes: 0 }).unwrap()
}

fn tcp(src: [u8; 4], src_port: u16, flags: u8, payload: &[u8]) -> Vec<u8> {
    let segment = Tcp::ports(src_port, 443, flags).wrap(payload);
    frame::ethernet(frame::IPV4, &Ipv4::between(src, [10, 0, 0, 1], frame::TCP).wrap(&segment))
}

fn assert_conserved(totals: &Totals, slots: &Slots) {
    let count = |counter| totals.counter(counter);
    let in_flows = count(Counter::FlowPackets);
    assert_eq!(count(Counter::PacketsSeen), in_flows + totals.skipped_all(), "seen = in flows + skipped");
    assert_eq!(count(Counter::TableMissing), 0);
    assert_eq!(in_flows, slots.sum(|slot| slot.packets) + count(Counter::SlotsLostPackets), "packets");
    assert_eq!(count(Counter::FlowBytes), slots.sum(|slot| slot.bytes) + count(Counter::SlotsLostBytes), "bytes");
}

#[test]
fn the_verifier_accepts_every_program_within_the_budget() {
    if !can_run("the verifier's budget", &[Need::Root]) {
        return;
    }
    // Each clock is a branch that the verifier leaves out of the other's program.
    let (capture, flow, sample) = (CaptureSettings::default(), FlowSettings::default(), SampleSettings::default());
    let of_test = TestRun::new(&capture, &flow, &sample).unwrap();
    let live = TestRun::with_live_clock(&capture, &flow, &sample).unwrap();
    for (run, clock) in [(&of_test, "the test's clock"), (&live, "the live clock")] {
        for entry in [Entry::Xdp, Entry::TcIngress, Entry::TcEgress, Entry::TcIpIngress, Entry::TcIpEgress] {
            let size = run.size(entry).unwrap();
            println!("{entry:?} with {clock}: {size:?}");
            assert!(
                (1..VERIFIED_INSTRUCTIONS_MAX).contains(&size.verified_instructions),
                "{entry:?}, {clock}: {size:?}"
            );
            assert!(size.jited_bytes > 0, "{entry:?}, {clock}, is interpreted: {size:?}");
        }
    }
}

#[test]
fn every_packet_is_in_a_flow_or_in_a_skip() {
    if !can_run("conservation", &[Need::Root]) {
        return;
    }
    let mut run = load(1_024, 1 << 20);
    let (mut batch, mut slots) = (Batch::default(), Slots::default());
    let mut frames = vec![frame::arp(), frame::ethernet(frame::IPV4, &[0x45; 10]), frame::ethernet(0x88cc, &[0; 50])];
    for port in 0..200 {
        frames.push(tcp([192, 0, 2, 7], 10_000 + port, ACK, &[0; 100]));
    }
    for (at, frame) in frames.iter().cycle().take(2_000).enumerate() {
        let now_ns = START_NS + at as u64 * 1_000_000;
        run.feed(Entry::Xdp, now_ns, frame, frame.len(), |_| {}, &mut batch).unwrap();
        if at % 311 == 0 {
            run.sweep(now_ns, SlotState::Open, &mut batch);
            slots.absorb(&batch);
        }
    }
    run.finish(&mut batch);
    slots.absorb(&batch);
    let totals = batch.totals;
    assert_eq!(totals.counter(Counter::PacketsSeen), 2_000);
    assert!(totals.skipped_all() > 25, "{totals:?}");
    assert_conserved(&totals, &slots);
}

/// What a spoofed flood does to flows that were there before it.
fn flood(ring_bytes: u32, sweep_every: usize) -> Totals {
    const SETS: u32 = 64;
    const ESTABLISHED: u16 = 24;
    const FLOOD: u32 = SETS * 4 * 10;
    let mut run = load(SETS, ring_bytes);
    let (mut batch, mut slots) = (Batch::default(), Slots::default());
    let mut now_ns = START_NS;
    let mut sent = HashMap::new();
    let mut send = |run: &mut TestRun, frame: &[u8]| {
        now_ns += 10_000;
        run.feed(Entry::Xdp, now_ns, frame, frame.len(), |_| {}, &mut Batch::default()).unwrap();
        now_ns
    };
    let talk = |run: &mut TestRun, sent: &mut HashMap<u16, u64>, send: &mut dyn FnMut(&mut TestRun, &[u8]) -> u64| {
        for port in 0..ESTABLISHED {
            send(run, &tcp([192, 0, 2, 9], 20_000 + port, ACK, &[1; 80]));
            *sent.entry(20_000 + port).or_default() += 1;
        }
    };
    for _ in 0..5 {
        talk(&mut run, &mut sent, &mut send);
    }
    for at in 0..FLOOD {
        let [_, a, b, c] = at.wrapping_mul(2_654_435_761).to_be_bytes();
        let now_ns = send(&mut run, &tcp([100, a, b, c], 1_024 + (at % 4_000) as u16, SYN, &[]));
        if at % 100 == 0 {
            talk(&mut run, &mut sent, &mut send);
        }
        if at as usize % sweep_every == sweep_every - 1 {
            run.sweep(now_ns + 1, SlotState::Open, &mut batch);
            slots.absorb(&batch);
        }
    }
    run.finish(&mut batch);
    slots.absorb(&batch);
    assert_conserved(&batch.totals, &slots);
    for (port, packets) in sent {
        assert_eq!(slots.packets_of(port), packets, "established flow from port {port}");
    }
    batch.totals
}

#[test]
fn established_flows_stay_exact_through_a_flood_that_overruns_the_ring() {
    if !can_run("the flood", &[Need::Root]) {
        return;
    }
    // 64 KiB hold some 300 slots; nothing is read before the end.
    let totals = flood(65_536, usize::MAX);
    assert!(totals.counter(Counter::SlotsLost) > 1_000, "{totals:?}");
    assert_eq!(totals.counter(Counter::SlotsLost), totals.counter(Counter::SlotsLostPackets), "SYNs alone were lost");
}

#[test]
fn a_flood_that_is_swept_in_time_loses_nothing() {
    if !can_run("the swept flood", &[Need::Root]) {
        return;
    }
    let totals = flood(1 << 20, 200);
    assert_eq!(totals.counter(Counter::SlotsLost), 0);
    // What a sweep vouched for left without a trip through the ring.
    assert!(totals.counter(Counter::SlotsEvicted) < 2_000, "{totals:?}");
}
