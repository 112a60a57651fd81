//! How cost grows: a packet in the kernel program and in user space's table against the number of flows, and the kernel
//! program on one CPU and on two at a time. Needs root; sends no packet.

use std::{sync::Barrier, thread, time::Duration};

use ids_agent::{
    config::{CaptureSettings, FlowSettings, SampleSettings},
    flow::FlowTable,
    kernel::test_run::{Entry, TestRun},
    source::{
        Batch, SlotState,
        packets::{PacketSettings, PacketTable},
    },
};
use ids_common::parse::{Frame, Link};
use ids_tests::frame;
use serde_json::{Map, Value, json};

use crate::rounds::{over, secs, spread};

const ROUNDS: usize = 5;
const REPEAT: u32 = 500_000;
const FLOWS: [(&str, u32); 4] = [("1k", 1 << 10), ("16k", 1 << 14), ("128k", 1 << 17), ("1m", 1 << 20)];
/// Packets of a round in user space.
const PACKETS: u32 = 1 << 20;

pub(crate) fn run() -> Value {
    // Asked before anything is loaded: a run of the program ties this thread to its CPU.
    let cpus = thread::available_parallelism().map_or(1, usize::from);
    let mut parts = Map::new();
    let mut ratios = Map::new();
    against_flows(&mut parts, &mut ratios);
    user_against_flows(&mut parts, &mut ratios);
    if cpus > 1 {
        let (one, two) = on_cpus();
        ratios.insert("kernel_two_cpus_over_one".to_owned(), spread(over(&two, &one)));
        parts.insert("kernel_ns_one_cpu".to_owned(), spread(one));
        parts.insert("kernel_ns_two_cpus".to_owned(), spread(two));
    }
    json!({ "ratios": ratios, "ns_per_packet": parts })
}

fn frame() -> Vec<u8> {
    let segment = frame::Tcp::ports(40_000, 443, 0x10).wrap(&[0; 64]);
    frame::ethernet(0x0800, &frame::Ipv4::between([10, 0, 0, 1], [10, 0, 0, 2], 6).wrap(&segment))
}

fn loaded(sets_per_cpu: u32) -> TestRun {
    let sample = SampleSettings { packets: 0, heads: 0, bytes: 0 };
    let capture = CaptureSettings { sets_per_cpu, ..CaptureSettings::default() };
    TestRun::with_live_clock(&capture, &FlowSettings::default(), &sample).expect("loading")
}

/// Beyond what the table holds, the last makes room in every packet.
fn against_flows(parts: &mut Map<String, Value>, ratios: &mut Map<String, Value>) {
    let frame = frame();
    let mut run = loaded(16_384);
    let mut batch = Batch::default();
    let mut taken = vec![Vec::new(); FLOWS.len()];
    for _ in 0..ROUNDS {
        for ((_, flows), taken) in FLOWS.iter().zip(&mut taken) {
            run.set_random_mask(flows - 1);
            run.run(Entry::Random, &frame, flows * 4).expect("warming");
            run.sweep(u64::MAX, SlotState::Open, &mut batch);
            taken.push(ns(run.run(Entry::Random, &frame, REPEAT).expect("running")));
        }
    }
    record("kernel", &taken, parts, ratios);
}

/// From frames to records of flows; every packet is of another flow than the last.
fn user_against_flows(parts: &mut Map<String, Value>, ratios: &mut Map<String, Value>) {
    let mut taken = vec![Vec::new(); FLOWS.len()];
    for _ in 0..ROUNDS {
        for ((_, flows), taken) in FLOWS.iter().zip(&mut taken) {
            taken.push(in_user_space(*flows));
        }
    }
    record("user", &taken, parts, ratios);
}

fn in_user_space(flows: u32) -> f64 {
    let mut bytes = frame();
    let settings = FlowSettings::default();
    let mut packets = PacketTable::new(&PacketSettings::new(&settings, &SampleSettings::default()));
    let mut table = FlowTable::new(&settings);
    let (mut batch, mut due) = (Batch::default(), Vec::new());
    let mut now_ns = 1_700_000_000_000_000_000;
    let taken = secs(|| {
        for number in 0..PACKETS {
            // The source address of an IPv4 header behind an Ethernet header.
            let source = number.wrapping_mul(0x9e37_79b1) >> 4 & (flows - 1);
            bytes[27..30].copy_from_slice(&source.to_be_bytes()[1..]);
            now_ns += 10_000;
            packets.packet(&Frame::new(&bytes, bytes.len()), Link::Ethernet, now_ns, &mut batch);
            if number % 100_000 == 99_999 {
                packets.tick(now_ns, &mut batch);
                table.absorb(&batch);
                table.due(now_ns, &mut due);
                due.clear();
                batch.clear();
            }
        }
    });
    taken * 1e9 / f64::from(PACKETS)
}

/// Nanoseconds a packet on one CPU, and on two that run at the same time.
fn on_cpus() -> (Vec<f64>, Vec<f64>) {
    let frame = frame();
    let (mut one, mut two) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        one.extend(at_once(&frame, 1));
        let both = at_once(&frame, 2);
        two.push(both.iter().sum::<f64>() / both.len() as f64);
    }
    (one, two)
}

/// Runs the program over many flows on so many CPUs at once; each has its own part of one table.
fn at_once(frame: &[u8], cpus: usize) -> Vec<f64> {
    let mut run = loaded(8_192);
    run.set_random_mask((1 << 14) - 1);
    let (programs, _sweeps) = run.race();
    let barrier = Barrier::new(cpus);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..cpus)
            .map(|cpu| {
                let barrier = &barrier;
                scope.spawn(move || {
                    let mut set = rustix::thread::CpuSet::new();
                    set.set(cpu);
                    rustix::thread::sched_setaffinity(None, &set).expect("a CPU");
                    programs.run(Entry::Random, frame, REPEAT / 10).expect("warming");
                    barrier.wait();
                    ns(programs.run(Entry::Random, frame, REPEAT).expect("running"))
                })
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().expect("a worker")).collect()
    })
}

fn record(who: &str, taken: &[Vec<f64>], parts: &mut Map<String, Value>, ratios: &mut Map<String, Value>) {
    for ((name, _), ns) in FLOWS.iter().zip(taken) {
        parts.insert(format!("{who}_ns_at_{name}_flows"), spread(ns.clone()));
        ratios.insert(format!("{who}_{name}_over_1k_flows"), spread(over(ns, &taken[0])));
    }
}

fn ns(duration: Duration) -> f64 {
    duration.as_nanos() as f64
}
