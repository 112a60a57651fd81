//! A generator of frames, and a hook that does nothing: `ids-bench send INTERFACE FRAME_BYTES PACKETS` and
//! `ids-bench hold INTERFACE native|generic`. Called inside namespaces that `cargo xtask bench` makes; the generator is bounded in count.

use std::{
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use ids_agent::{
    config::{CaptureSettings, FlowSettings, SampleSettings},
    kernel::test_run::{TestRun, XdpHook},
};
use ids_tests::frame;
use rustix::net::{AddressFamily, SocketType, netdevice::name_to_index, socket};
use serde_json::json;

use crate::rounds::secs;

/// What one call sends at most: some minutes.
const PACKETS_MAX: u32 = 200_000_000;
/// The longest that a program stays on an interface.
const HELD_MAX: Duration = Duration::from_secs(900);
/// Ethernet's frame check sequence counts in the size of a frame, and is not among its bytes.
const CHECK_BYTES: usize = 4;

fn loaded() -> TestRun {
    let capture = CaptureSettings { sets_per_cpu: 64, ..CaptureSettings::default() };
    TestRun::new(&capture, &FlowSettings::default(), &SampleSettings::default()).expect("loading")
}

/// Sends UDP frames of one flow; prints how many, and the seconds it took. Every frame is handled on this CPU before the next ones
/// are made, so that what the receiver takes slows the sender, and nothing is lost.
pub(crate) fn send(args: &[String]) -> ExitCode {
    let [interface, bytes, packets] = args else {
        eprintln!("ids-bench send INTERFACE FRAME_BYTES PACKETS");
        return ExitCode::FAILURE;
    };
    let ifindex = ifindex(interface);
    let bytes: usize = bytes.parse().expect("bytes of a frame");
    let packets = packets.parse::<u32>().expect("a number of packets").min(PACKETS_MAX);
    let run = loaded();
    // Headers of Ethernet, IPv4 and UDP take 42 bytes.
    let payload = frame::payload(bytes.saturating_sub(42 + CHECK_BYTES));
    let datagram = frame::udp(40_000, 9, None, &payload);
    let bytes =
        frame::ethernet(frame::IPV4, &frame::Ipv4::between([10, 85, 0, 2], [10, 85, 0, 1], frame::UDP).wrap(&datagram));
    let begin = Instant::now();
    // What the receiver does with a frame runs on this thread's time, too.
    let cpu_secs = secs(|| run.send(ifindex, &bytes, packets).expect("sending"));
    println!("{}", json!({ "sent": packets, "secs": begin.elapsed().as_secs_f64(), "cpu_secs": cpu_secs }));
    ExitCode::SUCCESS
}

/// Keeps the program that does nothing on an interface until this process is ended.
pub(crate) fn hold(args: &[String]) -> ExitCode {
    let [interface, mode] = args else {
        eprintln!("ids-bench hold INTERFACE native|generic");
        return ExitCode::FAILURE;
    };
    let mode = if mode == "native" { XdpHook::Native } else { XdpHook::Generic };
    let mut run = loaded();
    run.attach_empty(interface, mode).expect("attaching");
    println!("held");
    thread::sleep(HELD_MAX);
    ExitCode::SUCCESS
}

fn ifindex(interface: &str) -> u32 {
    let socket = socket(AddressFamily::INET, SocketType::DGRAM, None).expect("a socket");
    name_to_index(socket, interface).expect("an interface of this namespace")
}
