//! Measures the kernel program by BPF_PROG_TEST_RUN against an empty XDP program, in interleaved
//! rounds. Needs root; sends no packet.

use std::time::Duration;

use ids_agent::{
    config::{CaptureSettings, FlowSettings, SampleSettings},
    kernel::test_run::{Entry, TestRun},
    source::{Batch, SlotState},
};
use ids_common::block::{BlockEntry, BlockKey};
use ids_tests::frame;
use serde_json::{Value, json};

use crate::rounds::{over, spread};

const ROUNDS: usize = 9;
/// Programs stay small enough for every kernel's verifier.
const VERIFIED_INSTRUCTIONS_MAX: f64 = 50_000.0;
const REPEAT: u32 = 1_000_000;

/// A way to call a program.
struct Case {
    name: &'static str,
    entry: Entry,
    /// Flows that the runs choose from, a power of two.
    flows: u32,
    /// What the block map holds meanwhile.
    blocks: Holds,
    /// What it may cost at most, as a multiple of the empty program.
    bar: Option<f64>,
}

/// Entries of the block map.
#[derive(Clone, Copy)]
enum Holds {
    Nothing,
    /// A source and a pair, neither of them this packet's.
    Others,
    /// This packet's source.
    This,
}

const CASES: [Case; 10] = [
    Case { name: "empty", entry: Entry::Empty, flows: 1, blocks: Holds::Nothing, bar: None },
    Case { name: "hot", entry: Entry::Xdp, flows: 1, blocks: Holds::Nothing, bar: Some(3.5) },
    Case { name: "hot_others_blocked", entry: Entry::Xdp, flows: 1, blocks: Holds::Others, bar: None },
    Case { name: "hot_dropped", entry: Entry::Xdp, flows: 1, blocks: Holds::This, bar: None },
    Case { name: "tc_hot", entry: Entry::TcIngress, flows: 1, blocks: Holds::Nothing, bar: None },
    Case { name: "4k", entry: Entry::Random, flows: 4_096, blocks: Holds::Nothing, bar: None },
    Case { name: "16k", entry: Entry::Random, flows: 16_384, blocks: Holds::Nothing, bar: None },
    Case { name: "64k", entry: Entry::Random, flows: 65_536, blocks: Holds::Nothing, bar: Some(8.0) },
    Case { name: "new_flows_swept", entry: Entry::Random, flows: 1 << 24, blocks: Holds::Nothing, bar: None },
    Case { name: "new_flows_ring_full", entry: Entry::Random, flows: 1 << 24, blocks: Holds::Nothing, bar: None },
];

pub(crate) fn run(args: &[String]) -> Value {
    let repeat = args.first().map_or(REPEAT, |arg| arg.parse().expect("repeats: a number"));
    let frame = frame::ethernet(
        0x0800,
        &frame::Ipv4::between([10, 0, 0, 1], [10, 0, 0, 2], 6)
            .wrap(&frame::Tcp::ports(40_000, 443, 0x10).wrap(&[0; 64])),
    );
    let capture = CaptureSettings { sets_per_cpu: 32_768, ..CaptureSettings::default() };
    // Sampling is off: three packets a flow have no part in the steady state.
    let sample = SampleSettings { packets: 0, heads: 0, bytes: 0 };
    let runs: Vec<TestRun> = CASES
        .iter()
        .map(|case| {
            // The table of the last two is small, so that every new flow pushes another one out.
            let small = case.flows > 65_536;
            let capture = CaptureSettings { sets_per_cpu: if small { 1_024 } else { 32_768 }, ..capture.clone() };
            let mut run = TestRun::with_live_clock(&capture, &FlowSettings::default(), &sample).expect("loading");
            run.set_random_mask(case.flows - 1);
            block(&mut run, case.blocks);
            // Warms the table: later runs meet every flow again.
            run.run(case.entry, &frame, case.flows.min(65_536) * 16).expect("warming");
            run
        })
        .collect();
    let mut batch = Batch::default();
    let mut samples = vec![Vec::new(); CASES.len()];
    let mut runs = runs;
    for _ in 0..ROUNDS {
        for ((case, run), samples) in CASES.iter().zip(&mut runs).zip(&mut samples) {
            if case.name == "new_flows_swept" {
                run.sweep(u64::MAX, SlotState::Open, &mut batch);
            }
            samples.push(run.run(case.entry, &frame, repeat).expect("running"));
        }
    }
    let empty: Vec<f64> = samples.first().unwrap().iter().map(ns).collect();
    let mut ratios = serde_json::Map::new();
    let mut cases = serde_json::Map::new();
    for (case, samples) in CASES.iter().zip(&samples) {
        let ns: Vec<f64> = samples.iter().map(ns).collect();
        cases.insert(case.name.to_string(), json!({ "ns": spread(ns.clone()) }));
        if case.entry != Entry::Empty {
            let mut ratio = spread(over(&ns, &empty));
            ratio["bar"] = json!(case.bar);
            ratios.insert(format!("{}_over_empty", case.name), ratio);
        }
    }
    let size = |entry| {
        let size = runs.first().unwrap().size(entry).expect("program information");
        json!({ "verified_instructions": size.verified_instructions, "jited_bytes": size.jited_bytes })
    };
    let programs = json!({
        "xdp": size(Entry::Xdp),
        "tc_ingress": size(Entry::TcIngress),
        "tc_egress": size(Entry::TcEgress),
        "tc_ip_ingress": size(Entry::TcIpIngress),
        "tc_ip_egress": size(Entry::TcIpEgress),
    });
    for (name, program) in programs.as_object().unwrap() {
        let share = program["verified_instructions"].as_f64().unwrap() / VERIFIED_INSTRUCTIONS_MAX;
        ratios.insert(format!("{name}_verified_instructions_of_bound"), json!({ "median": share, "bar": 1.0 }));
    }
    json!({
        "unit": "ns a packet, gross, against the empty program in the same round",
        "rounds": ROUNDS,
        "repeat": repeat,
        "ratios": ratios,
        "cases": cases,
        "programs": programs,
    })
}

fn block(run: &mut TestRun, holds: Holds) {
    let address = |last| std::net::Ipv4Addr::new(10, 0, 0, last).to_ipv6_mapped().octets();
    let keys = match holds {
        Holds::Nothing => return,
        Holds::Others => vec![BlockKey::source(address(77)), BlockKey::pair(address(77), address(2))],
        Holds::This => vec![BlockKey::source(address(1))],
    };
    let mut blocks = run.take_blocks().expect("the block map");
    let entry = BlockEntry { until_ns: u64::MAX, ..BlockEntry::default() };
    keys.iter().for_each(|key| blocks.put(key, &entry).expect("blocking"));
}

fn ns(sample: &Duration) -> f64 {
    sample.as_nanos() as f64
}
