//! The promises, one function each: the detail of what was found, or why it does not hold.

use std::{thread, time::Duration};

use ids_agent::{
    config::{CaptureSettings, FlowSettings, Mode, SampleSettings},
    flow::FlowRecord,
    kernel::{
        Kernel, KernelError, facts,
        test_run::{Entry, TestRun},
    },
};
use ids_common::{
    block::{BlockEntry, BlockKey},
    counter::Counter,
};
use ids_tests::{
    capture,
    frame::{self, Ipv4},
    replay::{Replayed, replay_file},
    wire::{counted, frames},
};
use rustix::{
    process::{Gid, Uid, getuid},
    thread::{set_thread_res_gid, set_thread_res_uid},
    time::{ClockId, Timespec, clock_gettime, clock_settime},
};

use crate::{
    machine,
    wire::{self, Wire},
};

type Verdict = Result<String, String>;

/// Every program must be verified within this many instructions, on every kernel.
const VERIFIED_INSTRUCTIONS_MAX: u32 = 50_000;
const MTU: u32 = 1_500;
const DAY_SECS: i64 = 86_400;
/// Long enough for ten frames under emulation.
const BLOCK_NS: u64 = 3_000_000_000;
/// Whoever owns nothing.
const NOBODY: u32 = 65_534;

type Loads = fn(&CaptureSettings, &FlowSettings, &SampleSettings) -> Result<TestRun, KernelError>;

/// What is tried, by name.
type Check = (&'static str, fn() -> Verdict);

const PROMISED: [Check; 10] = [
    ("machine", machine_facts),
    ("load", load),
    ("native", || parity(Mode::Native)),
    ("generic", || parity(Mode::Generic)),
    ("tc", || parity(Mode::Tc)),
    ("drop", privileges),
    ("no-btf", no_btf),
    ("clock", clock_jump),
    ("jumbo", jumbo),
    ("block", block),
];
/// What a kernel that is too old shall do.
const TOO_OLD: [Check; 2] = [("machine", machine_facts), ("refusal", refusal)];

/// The checks that this kernel must stand.
pub(crate) fn wanted() -> Vec<&'static str> {
    let of = if facts::kernel_is_supported() { &PROMISED[..] } else { &TOO_OLD[..] };
    of.iter().map(|(name, _)| *name).collect()
}

pub(crate) fn run(name: &str) -> Verdict {
    let found = PROMISED.iter().chain(&TOO_OLD).find(|(known, _)| *known == name);
    found.ok_or_else(|| format!("there is no check `{name}`"))?.1()
}

fn told(error: KernelError) -> String {
    error.to_string()
}

fn machine_facts() -> Verdict {
    let btf = if facts::kernel_has_btf() { "yes" } else { "no" };
    Ok(format!("release={} page={} btf={btf}", facts::kernel_release(), rustix::param::page_size()))
}

/// The verifier accepts every program, for no more instructions than it is allowed.
fn load() -> Verdict {
    let (mut most, mut each) = (0, String::new());
    // Each clock is a branch that the verifier leaves out of the other's program.
    for (clock, with_clock) in [("live", TestRun::with_live_clock as Loads), ("test", TestRun::new)] {
        let run = with_clock(&wire::capture(Mode::Native), &FlowSettings::default(), &SampleSettings::default());
        let run = run.map_err(told)?;
        for entry in [Entry::Xdp, Entry::TcIngress, Entry::TcEgress, Entry::TcIpIngress, Entry::TcIpEgress] {
            let size = run.size(entry).map_err(told)?.verified_instructions;
            most = most.max(size);
            each.push_str(&format!(" {clock}-{entry:?}={size}"));
        }
    }
    let said = format!("instructions={most}{each}");
    if most > 0 && most <= VERIFIED_INSTRUCTIONS_MAX { Ok(said) } else { Err(said) }
}

/// The frames as a file, replayed.
fn replayed() -> Replayed {
    let path = std::env::temp_dir().join(format!("wire-{}.pcap", std::process::id()));
    capture::write_pcap(&path, capture::ETHERNET, &frames());
    replay_file(&path).unwrap()
}

/// A capture over the wire gives the flows that its file gives.
fn parity(mode: Mode) -> Verdict {
    parity_while(mode, |_| ())
}

/// The same, with something that happens in the middle.
fn parity_while(mode: Mode, happens: impl Fn(u32)) -> Verdict {
    let (frames, file) = (frames(), replayed());
    let mut wire = Wire::new(mode, MTU).map_err(told)?;
    let (first, second) = frames.split_at(frames.len() / 2);
    wire.send(first.iter().map(|frame| frame.bytes.as_slice()));
    happens(0);
    wire.send(second.iter().map(|frame| frame.bytes.as_slice()));
    happens(1);
    wire.await_seen(frames.len() as u64);
    let (ended, totals) = wire.finish();
    let seen = totals.counter(Counter::PacketsSeen);
    if seen != frames.len() as u64 {
        return Err(format!("{seen} of {} packets seen", frames.len()));
    }
    let longest_ns = ended.iter().map(FlowRecord::duration_ns).max().unwrap_or(0);
    if longest_ns > 60_000_000_000 {
        return Err(format!("a flow of seconds lasted {} s", longest_ns / 1_000_000_000));
    }
    let (live, file) = (counted(&ended), counted(&file.ended));
    if live == file { Ok(format!("packets={seen} flows={}", live.len())) } else { Err(difference(&live, &file)) }
}

type Counted = std::collections::BTreeMap<ids_common::flow::FlowKey, (u64, u64, u64)>;

fn difference(live: &Counted, file: &Counted) -> String {
    let other = file.iter().find(|(key, counts)| live.get(key) != Some(counts));
    format!("{} flows live, {} in the file; first that differs: {other:?}", live.len(), file.len())
}

/// Loads and attaches with three capabilities alone; then counts with none, as nobody.
fn privileges() -> Verdict {
    use caps::{CapSet, Capability, CapsHashSet};
    let keep: CapsHashSet =
        [Capability::CAP_BPF, Capability::CAP_NET_ADMIN, Capability::CAP_PERFMON].into_iter().collect();
    let set = |set, to: &CapsHashSet| caps::set(None, set, to).map_err(|error| format!("{set:?}: {error}"));
    // The frames need CAP_NET_RAW, which is no part of the promise: their sender is opened at the start.
    let sending: CapsHashSet =
        keep.iter().copied().chain([Capability::CAP_NET_RAW, Capability::CAP_SETUID, Capability::CAP_SETGID]).collect();
    set(CapSet::Effective, &sending)?;
    set(CapSet::Permitted, &sending)?;
    let mut wire = Wire::new(Mode::Native, MTU).map_err(told)?;
    set_thread_res_gid(Gid::from_raw(NOBODY), Gid::from_raw(NOBODY), Gid::from_raw(NOBODY))
        .map_err(|e| e.to_string())?;
    set_thread_res_uid(Uid::from_raw(NOBODY), Uid::from_raw(NOBODY), Uid::from_raw(NOBODY))
        .map_err(|e| e.to_string())?;
    for which in [CapSet::Effective, CapSet::Permitted, CapSet::Inheritable] {
        set(which, &CapsHashSet::new())?;
    }
    if getuid() != Uid::from_raw(NOBODY) || facts::capabilities().iter().any(|capability| capability.held) {
        return Err("rights are still held".to_owned());
    }
    let frames = frames();
    wire.send(frames.iter().map(|frame| frame.bytes.as_slice()));
    wire.await_seen(frames.len() as u64);
    let (ended, totals) = wire.finish();
    let seen = totals.counter(Counter::PacketsSeen);
    let said = format!("packets={seen} flows={}", counted(&ended).len());
    if seen == frames.len() as u64 { Ok(said) } else { Err(said) }
}

/// The programs load without the kernel's type information.
fn no_btf() -> Verdict {
    machine::hide_btf();
    parity(Mode::Native)
}

/// The wall clock leaps a day ahead and two back; flows do not notice.
fn clock_jump() -> Verdict {
    parity_while(Mode::Native, |turn| {
        let now = clock_gettime(ClockId::Realtime);
        let by = if turn == 0 { DAY_SECS } else { -2 * DAY_SECS };
        clock_settime(ClockId::Realtime, Timespec { tv_sec: now.tv_sec + by, tv_nsec: now.tv_nsec }).unwrap();
    })
}

/// Frames of 8,000 bytes on an interface that takes 9,000, every byte counted.
fn jumbo() -> Verdict {
    const FRAMES: u64 = 20;
    const ETHERNET_BYTES: usize = 14;
    let datagram = frame::udp(4_000, 5_000, None, &frame::payload(8_000));
    let bytes = frame::ethernet(frame::IPV4, &Ipv4::between([198, 51, 100, 1], [203, 0, 113, 1], 17).wrap(&datagram));
    let mut wire = Wire::new(Mode::Native, 9_000).map_err(told)?;
    wire.send((0..FRAMES).map(|_| bytes.as_slice()));
    wire.await_seen(FRAMES);
    let (ended, _) = wire.finish();
    let (packets, counted) =
        ended.iter().fold((0, 0), |sum, record| (sum.0 + record.packets(), sum.1 + record.bytes()));
    // Flows count from the network header on.
    let sent = FRAMES * (bytes.len() - ETHERNET_BYTES) as u64;
    let said = format!("packets={packets} bytes={counted} of {sent}");
    if packets == FRAMES && counted == sent { Ok(said) } else { Err(said) }
}

/// A blocked source's packets are dropped and counted, another's pass, and the block ends at its time with nobody's help.
fn block() -> Verdict {
    const FRAMES: usize = 10;
    let from = |source: [u8; 4]| {
        let datagram = frame::udp(4_000, 5_000, None, &frame::payload(100));
        frame::ethernet(frame::IPV4, &Ipv4::between(source, [203, 0, 113, 1], frame::UDP).wrap(&datagram))
    };
    let (blocked, other) = (from([198, 51, 100, 1]), from([198, 51, 100, 2]));
    let mut wire = Wire::new(Mode::Native, MTU).map_err(told)?;
    let mut blocks = wire.take_blocks();
    let now_ns = boot_ns();
    let (key, until_ns) = (BlockKey::source(mapped([198, 51, 100, 1])), now_ns + BLOCK_NS);
    let entry = BlockEntry { until_ns, placed_ns: now_ns, ..BlockEntry::default() };
    blocks.put(&key, &entry).map_err(told)?;
    let both = || std::iter::repeat_n(blocked.as_slice(), FRAMES).chain(std::iter::repeat_n(other.as_slice(), FRAMES));
    wire.send(both());
    wire.await_seen(2 * FRAMES as u64);
    if boot_ns() >= until_ns {
        return Err("the machine is too slow: the block ended before it was tried".to_owned());
    }
    let dropped = wire.total(Counter::PacketsBlocked);
    let of_entry = blocks.entry(&key).map_err(told)?.map_or(0, |entry| entry.packets);
    while boot_ns() <= until_ns {
        thread::sleep(Duration::from_millis(50));
    }
    wire.send(both());
    wire.await_seen(4 * FRAMES as u64);
    let (seen, dropped_later) = (wire.seen(), wire.total(Counter::PacketsBlocked) - dropped);
    let said = format!("seen={seen} dropped={dropped} entry={of_entry} after-the-end={dropped_later}");
    let expected = FRAMES as u64;
    let holds = seen == 4 * expected && dropped == expected && of_entry == expected && dropped_later == 0;
    if holds { Ok(said) } else { Err(said) }
}

/// The clock by which blocks end.
fn boot_ns() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

fn mapped(address: [u8; 4]) -> [u8; 16] {
    std::net::Ipv4Addr::from(address).to_ipv6_mapped().octets()
}

/// Refuses, and says which kernel it needs.
fn refusal() -> Verdict {
    match Kernel::load(&wire::capture(Mode::Auto), &FlowSettings::default(), &SampleSettings::default()) {
        Err(error @ KernelError::KernelTooOld { .. }) => Ok(error.to_string()),
        Err(error) => Err(format!("refused for another reason: {error}")),
        Ok(_) => Err("it was not refused".to_owned()),
    }
}
