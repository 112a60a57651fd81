//! Pinned programs count on while no agent runs, and the next agent goes on with them: no packet is lost or counted twice.
#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that fails")]

use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use ids_agent::{
    config::{CaptureSettings, Direction, FlowSettings, Mode, Pin, SampleSettings},
    kernel::{Kernel, facts},
    source::{Batch, FlowSource, Progress, live::LiveSource},
};
use ids_common::counter::Counter;
use ids_tests::{
    bpffs::BpfFs,
    datagrams::{introduce, send, sent_and_dropped},
    netns::{Namespace, veth},
    probe::{Need, can_run},
    program,
    running::{Running, eventually, sum, value},
};
use rustix::process::Signal;

const AGENT: &str = env!("CARGO_BIN_EXE_agent");
const NEEDS: [Need<'static>; 5] =
    [Need::Root, Need::Tool("ip"), Need::Tool("nsenter"), Need::Tool("ethtool"), Need::Tool("mount")];
const DEVICE: &str = "watched0";
const TO: &str = "10.77.0.1:9";
const DATAGRAMS: u32 = 20_000;

fn pair() -> (Namespace, Namespace) {
    let (watched, peer) = (Namespace::new("pinned"), Namespace::new("sender"));
    veth(&watched, DEVICE, "10.77.0.1/24", &peer, "peer0", "10.77.0.2/24");
    introduce((&watched, DEVICE, "10.77.0.1"), (&peer, "peer0", "10.77.0.2"));
    (watched, peer)
}

/// Datagrams in the lines of ended flows.
fn told(files: &[&Path]) -> u64 {
    let lines = files.iter().map(|file| fs::read_to_string(file).unwrap_or_default()).collect::<String>();
    let flows = lines.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    flows.filter(|flow| flow["dest_port"] == 9).map(|flow| flow["flow"]["pkts_toserver"].as_u64().unwrap()).sum()
}

/// Kills an agent, ends another and lets a third go on, all under traffic: every datagram that the interface received is
/// counted once, by the programs and in the lines of flows.
fn check_restart(mode: &str) {
    if !can_run("pinned programs", &NEEDS) {
        return;
    }
    let (watched, peer) = pair();
    let (bpf, folder) = (BpfFs::default(), tempfile::tempdir().unwrap());
    let pins = bpf.dir("agent");
    let files = ["first", "second", "third"].map(|name| folder.path().join(name));
    // A program begins another slot after a silence of `closed_linger_secs`, and what a killed agent had read of the one before
    // is lost with it (docs/capture.md). On a CPU that the sender leaves for so long the stream would be silent.
    let config = folder.path().join("config.toml");
    fs::write(&config, "[flow]\nclosed_linger_secs = 60\n").unwrap();
    let start = |flows: &Path| {
        let args = ["--config", config.to_str().unwrap(), "--mode", mode, "--direction", "ingress"];
        let places = ["--pin", pins.to_str().unwrap(), "--alerts", "/dev/null", "--flows", flows.to_str().unwrap()];
        Running::start(AGENT, &watched, DEVICE, &[&args[..], &places].concat())
    };
    let counted = "ids_packets_in_flows_total";
    let (before, _) = sent_and_dropped(&peer, "peer0");

    let mut agent = start(&files[0]);
    agent.await_page("/readyz", |code, _| code == 200);
    thread::scope(|scope| {
        let sender = scope.spawn(|| send(&peer, TO, DATAGRAMS, 2_500));
        agent.await_page("/metrics", |_, page| value(page, counted) > 1_000.0);
        agent.signal(Signal::KILL);
        drop(agent);
        // Nobody reads for a while.
        let (seen, _) = sent_and_dropped(&peer, "peer0");
        eventually("nothing is sent", || sent_and_dropped(&peer, "peer0").0 >= seen + 1_000);

        let mut agent = start(&files[1]);
        let page = agent.await_page("/metrics", |_, page| value(page, counted) > 2_000.0);
        assert_eq!(value(&page, "ids_slots_lost_packets_total"), 0.0);
        agent.signal(Signal::TERM);
        assert_eq!(agent.end().code, Some(0));

        let mut agent = start(&files[2]);
        sender.join().unwrap();
        let (after, dropped) = sent_and_dropped(&peer, "peer0");
        let arrived = after - before;
        assert_eq!(arrived + dropped, u64::from(DATAGRAMS), "{dropped} of them found the queue full");
        let page = agent.await_page("/metrics", |_, page| value(page, counted) >= arrived as f64);
        println!("{mode}: {} of {arrived} counted, {dropped} never arrived", value(&page, counted));
        assert_eq!(value(&page, counted), arrived as f64);
        let skipped = sum(&page, "ids_packets_skipped_total");
        assert_eq!(value(&page, "ids_packets_seen_total"), value(&page, counted) + skipped);
        assert_eq!(value(&page, "ids_capture_gap_packets_total"), 0.0);
        agent.signal(Signal::TERM);
        assert_eq!(agent.end().code, Some(0));
        assert_eq!(told(&[&files[0], &files[1], &files[2]]), arrived, "in the lines of flows");
    });

    let left =
        || watched.run(|| (facts::interface(DEVICE).unwrap().unwrap().xdp_programs, facts::tcx_programs(DEVICE)));
    assert_eq!(left().0.len() + left().1.len(), 1, "the program counts on");
    let unpinned = program::command(AGENT, &["unpin", pins.to_str().unwrap()]).output().unwrap();
    assert!(unpinned.status.success(), "{unpinned:?}");
    // The kernel takes programs off a moment after the last file and process let go of their link.
    eventually("something is left", || left() == (Vec::new(), Vec::new()));
}

#[test]
fn no_packet_is_lost_over_a_kill_and_a_stop_through_native_xdp() {
    check_restart("native");
}

#[test]
fn no_packet_is_lost_over_a_kill_and_a_stop_through_tc() {
    check_restart("tc");
}

fn settings(mode: Mode, pins: &Path, sets_per_cpu: u32) -> CaptureSettings {
    CaptureSettings {
        interfaces: vec![DEVICE.into()],
        mode,
        direction: Direction::Ingress,
        sets_per_cpu,
        pin: Pin::Dir(pins.to_path_buf()),
        ..CaptureSettings::default()
    }
}

fn load(capture: &CaptureSettings) -> Kernel {
    Kernel::load(capture, &FlowSettings::default(), &SampleSettings::default()).unwrap()
}

/// Datagrams of the flows in the batches until the source has seen `packets`, and the batch's totals then.
fn read_until(source: &mut LiveSource, packets: u64) -> u64 {
    let (mut batch, deadline) = (Batch::default(), Instant::now() + Duration::from_secs(60));
    loop {
        assert_eq!(source.next_batch(&mut batch).unwrap(), Progress::Tick);
        let seen = batch.totals.counter(Counter::PacketsSeen);
        if seen >= packets {
            return seen;
        }
        assert!(Instant::now() < deadline, "{seen} of {packets} seen");
    }
}

#[test]
fn maps_of_another_size_are_replaced_and_what_nobody_read_is_a_gap() {
    if !can_run("replaced maps", &NEEDS) {
        return;
    }
    for mode in [Mode::Native, Mode::Tc] {
        let (watched, peer) = pair();
        let bpf = BpfFs::default();
        let pins = bpf.dir("agent");
        watched.run(|| {
            let capture = settings(mode, &pins, 1_024);
            let mut kernel = load(&capture);
            kernel.attach(&capture).unwrap();
            let mut source = kernel.into_source(&FlowSettings::default());
            send(&peer, TO, 100, 1_000);
            assert_eq!(read_until(&mut source, 100), 100);
            // As if it were killed: nothing is told, nothing detached.
            drop(source);
            send(&peer, TO, 50, 1_000);

            let capture = settings(mode, &pins, 2_048);
            let mut kernel = load(&capture);
            kernel.attach(&capture).unwrap();
            assert_eq!(kernel.gap_packets(), 50, "{mode:?}");
            assert_eq!(kernel.totals().counter(Counter::PacketsSeen), 0, "new counters");
            send(&peer, TO, 10, 1_000);
            assert_eq!(kernel.totals().counter(Counter::PacketsSeen), 10);
            drop(kernel);

            // The gap is remembered with the maps.
            let mut kernel = load(&capture);
            kernel.attach(&capture).unwrap();
            assert_eq!((kernel.gap_packets(), kernel.totals().counter(Counter::PacketsSeen)), (50, 10));
            kernel.detach();
        });
        eventually("something stays attached", || {
            watched.run(|| facts::interface(DEVICE).unwrap().unwrap().xdp_programs.is_empty())
                && watched.run(|| facts::tcx_programs(DEVICE)).is_empty()
        });
    }
}

#[test]
fn maps_that_are_not_complete_are_replaced() {
    if !can_run("incomplete maps", &NEEDS) {
        return;
    }
    let (watched, peer) = pair();
    let bpf = BpfFs::default();
    let pins = bpf.dir("agent");
    let capture = settings(Mode::Native, &pins, 1_024);
    watched.run(|| {
        for missing in ["FLOWS", "RING", "HANDOVER"] {
            let mut kernel = load(&capture);
            kernel.attach(&capture).unwrap();
            drop(kernel);
            fs::remove_file(pins.join(missing)).unwrap();
            let mut kernel = load(&capture);
            kernel.attach(&capture).unwrap();
            send(&peer, TO, 10, 1_000);
            assert_eq!(kernel.totals().counter(Counter::PacketsSeen), 10, "{missing}");
        }
        Kernel::unpin(&pins).unwrap();
    });
}

#[test]
fn a_directory_serves_one_agent_and_must_be_on_a_bpf_file_system() {
    if !can_run("the pin directory", &NEEDS) {
        return;
    }
    let (bpf, plain) = (BpfFs::default(), tempfile::tempdir().unwrap());
    let refused = |capture: &CaptureSettings| {
        let loaded = Kernel::load(capture, &FlowSettings::default(), &SampleSettings::default());
        loaded.err().map(|error| error.to_string()).unwrap_or_default()
    };
    let capture = settings(Mode::Native, &bpf.dir("agent"), 64);
    let kernel = load(&capture);
    assert!(refused(&capture).contains("another agent uses it"), "{}", refused(&capture));
    assert!(Kernel::unpin(&bpf.dir("agent")).is_err(), "an agent runs");
    drop(kernel);
    assert_eq!(refused(&capture), "");
    let nowhere = refused(&settings(Mode::Native, &plain.path().join("pins"), 64));
    assert!(nowhere.contains("not on a BPF file system") && nowhere.contains("pins"), "{nowhere}");
    let deep = refused(&settings(Mode::Native, &plain.path().join("a/b"), 64));
    assert!(deep.contains("cannot be made"), "{deep}");
}

#[test]
fn filters_of_older_kernels_are_gone_on_with_too() {
    if !can_run("clsact filters", &[&NEEDS[..], &[Need::Tool("tc")]].concat()) {
        return;
    }
    let (watched, peer) = pair();
    let bpf = BpfFs::default();
    let capture = settings(Mode::Tc, &bpf.dir("agent"), 1_024);
    let filters = || {
        let shown = watched.command("tc").args(["filter", "show", "dev", DEVICE, "ingress"]).output().unwrap();
        String::from_utf8_lossy(&shown.stdout).matches("direct-action").count()
    };
    watched.run(|| {
        for round in 1..=3 {
            let mut kernel = load(&capture);
            kernel.use_clsact();
            kernel.attach(&capture).unwrap();
            assert_eq!((filters(), facts::tcx_programs(DEVICE)), (1, Vec::new()), "round {round}");
            send(&peer, TO, 10, 1_000);
            assert_eq!(kernel.totals().counter(Counter::PacketsSeen), 20 * round - 10);
            drop(kernel);
            // Nobody reads.
            send(&peer, TO, 10, 1_000);
        }
        let mut kernel = load(&capture);
        kernel.use_clsact();
        kernel.attach(&capture).unwrap();
        assert_eq!((kernel.totals().counter(Counter::PacketsSeen), kernel.gap_packets()), (60, 0));
        kernel.detach();
        assert_eq!(filters(), 0);

        // Without pins a filter goes with the agent that ends.
        let capture = CaptureSettings { pin: Pin::Switch(false), ..capture.clone() };
        let mut kernel = load(&capture);
        kernel.use_clsact();
        kernel.attach(&capture).unwrap();
        assert_eq!(filters(), 1);
        drop(kernel);
        assert_eq!(filters(), 0);
    });
}
