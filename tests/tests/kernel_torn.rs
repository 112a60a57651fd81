//! Sweeps against a program that writes at full speed: no torn slot reaches a batch.
#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that fails")]

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use ids_agent::{
    config::{CaptureSettings, FlowSettings, SampleSettings},
    kernel::test_run::{Entry, TestRun},
    source::Batch,
};
use ids_common::flow::FlowSlot;
use ids_tests::{
    frame::{self, ACK, Ipv4, PSH, Tcp},
    probe::{Need, can_run},
};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

const PAYLOAD: u64 = 77;
const LENGTH: u64 = 20 + 20 + PAYLOAD;

/// What holds for every slot of equal packets with ACK and PSH, whatever their number.
fn assert_whole(slot: &FlowSlot) {
    let packets = slot.packets;
    assert!(packets > 0, "{slot:?}");
    assert_eq!((slot.bytes, slot.len_sumsq), (packets * LENGTH, packets * LENGTH * LENGTH), "{slot:?}");
    assert_eq!((slot.payload_bytes, u64::from(slot.payload_packets)), (packets * PAYLOAD, packets), "{slot:?}");
    assert_eq!((u64::from(slot.ack), u64::from(slot.psh)), (packets, packets), "{slot:?}");
    assert_eq!(u64::from(slot.first_count), packets.min(8), "{slot:?}");
    let first = &slot.first_sizes[..usize::from(slot.first_count)];
    assert!(first.iter().all(|size| u64::from(*size) == LENGTH), "{slot:?}");
    assert_eq!((slot.key.src_port, slot.key.dst_port, slot.key.dst[15]), (40_000, 443, 1), "{slot:?}");
}

/// The CPUs of this process, of which one writes and another reads.
fn two_cpus() -> Option<[usize; 2]> {
    let allowed = sched_getaffinity(None).unwrap();
    let mut cpus = (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu));
    Some([cpus.next()?, cpus.next()?])
}

fn stay_on(cpu: usize) {
    let mut set = CpuSet::new();
    set.set(cpu);
    sched_setaffinity(None, &set).unwrap();
}

/// Sweeps for a while beside the running program; says how many slots were read, and how many put off.
fn race(entry: Entry, sets_per_cpu: u32, random_mask: u32, states_min: u64) -> Option<(u64, u64)> {
    let Some([writer_cpu, reader_cpu]) = two_cpus() else {
        eprintln!("skipped: a race takes two CPUs");
        return None;
    };
    stay_on(writer_cpu);
    let capture = CaptureSettings { sets_per_cpu, ring_bytes: 1 << 20, ..CaptureSettings::default() };
    let sample = SampleSettings { packets: 0, heads: 0, bytes: 0 };
    let mut run = TestRun::new(&capture, &FlowSettings::default(), &sample).unwrap();
    run.set_random_mask(random_mask);
    let segment = Tcp::ports(40_000, 443, ACK | PSH).wrap(&[5; PAYLOAD as usize]);
    let frame = frame::ethernet(frame::IPV4, &Ipv4::between([10, 0, 0, 2], [10, 0, 0, 1], frame::TCP).wrap(&segment));

    let (programs, mut sweeps) = run.race();
    let stop = AtomicBool::new(false);
    let read = thread::scope(|scope| {
        scope.spawn(|| {
            stay_on(writer_cpu);
            while !stop.load(Ordering::Relaxed) {
                programs.run(entry, &frame, 20_000).unwrap();
            }
        });
        stay_on(reader_cpu);
        let (mut batch, mut read) = (Batch::default(), 0);
        // Three seconds, and longer where so few states are read in them.
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(3) || read < states_min && began.elapsed() < Duration::from_secs(60)
        {
            sweeps.sweep(0, &mut batch);
            for update in &batch.slots {
                // A panic inside the scope would wait for the writer for ever.
                let whole = std::panic::catch_unwind(|| assert_whole(&update.slot));
                if let Err(torn) = whole {
                    stop.store(true, Ordering::Relaxed);
                    std::panic::resume_unwind(torn);
                }
            }
            read += batch.slots.len() as u64;
        }
        stop.store(true, Ordering::Relaxed);
        read
    });
    Some((read, sweeps.stats().slots_busy))
}

#[test]
fn a_slot_that_is_written_all_the_time_is_never_read_torn() {
    if !can_run("the race on one slot", &[Need::Root]) {
        return;
    }
    if let Some((read, busy)) = race(Entry::Xdp, 64, 0, 1_000) {
        println!("{read} states read, {busy} put off");
        assert!(read >= 1_000, "{read} states read");
    }
}

#[test]
fn slots_that_change_hands_all_the_time_are_never_read_torn() {
    if !can_run("the race on a full table", &[Need::Root]) {
        return;
    }
    if let Some((read, busy)) = race(Entry::Random, 64, 0xff_ffff, 10_000) {
        println!("{read} states read, {busy} put off");
        assert!(read >= 10_000, "{read} states read");
    }
}
