//! The programs on real interfaces: a capture replayed over veth gives the flows that its file gives,
//! nothing foreign is replaced, and a killed agent leaves traffic flowing and nothing behind.
#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that fails")]

use std::{
    collections::BTreeMap,
    env,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use ids_agent::{
    config::{CaptureSettings, Direction, FlowSettings, Mode, SampleSettings},
    flow::{FlowRecord, FlowTable},
    kernel::{Kernel, KernelError, facts},
    source::{Batch, FlowSource, Progress, Totals},
};
use ids_common::counter::Counter;
use ids_tests::{
    capture::{self, Timed},
    frame::{self, Ipv4},
    netns::{Namespace, run, veth},
    probe::{Need, can_run},
    replay::replay_file,
    wire::{counted, frames},
};

const DEVICE: &str = "watched0";
const PEER: &str = "peer0";
const CHILD: &str = "IDS_TEST_ATTACH_UNTIL_KILLED";

fn capture_settings(mode: Mode, direction: Direction) -> CaptureSettings {
    CaptureSettings {
        interfaces: vec![DEVICE.into()],
        mode,
        direction,
        sets_per_cpu: 1_024,
        ..CaptureSettings::default()
    }
}

fn load(capture: &CaptureSettings) -> Kernel {
    Kernel::load(capture, &FlowSettings::default(), &SampleSettings::default()).unwrap()
}

/// Two namespaces: the watched end, and its peer.
fn pair(addresses: [&str; 2]) -> (Namespace, Namespace) {
    let (watched, peer) = (Namespace::new("watched"), Namespace::new("peer"));
    veth(&watched, DEVICE, addresses[0], &peer, PEER, addresses[1]);
    (watched, peer)
}

/// Replays a file into the watched device and reads the flows that the programs saw.
fn over_the_wire(mode: Mode, path: &Path, expected: u64) -> (Vec<FlowRecord>, Totals, Mode) {
    let (watched, peer) = pair(["", ""]);
    let flow = FlowSettings { tick_millis: 100, ..FlowSettings::default() };
    let (mut source, used) = watched.run(|| {
        let capture = capture_settings(mode, Direction::Ingress);
        let mut kernel = load(&capture);
        let used = kernel.attach(&capture).unwrap().first().unwrap().mode;
        (kernel.into_source(&flow), used)
    });
    let mut sender: Child = peer
        .command("tcpreplay")
        .args(["--quiet", "--pps=2000", "-i", PEER])
        .arg(path)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (mut table, mut batch, mut due, mut ended) = (FlowTable::new(&flow), Batch::default(), Vec::new(), Vec::new());
    let stop = source.stop_handle();
    let mut ticks_behind = 0;
    let totals = loop {
        let progress = source.next_batch(&mut batch).unwrap();
        table.absorb(&batch);
        table.due(batch.now_ns, &mut due);
        if progress == Progress::End {
            table.finish(&mut due);
            ended.extend(due.drain(..).filter(FlowRecord::is_ended));
            break batch.totals;
        }
        ended.extend(due.drain(..).filter(FlowRecord::is_ended));
        if sender.try_wait().unwrap().is_some() {
            ticks_behind += 1;
            // A second of ticks behind the last frame, or none where all have come.
            if ticks_behind > 10 || batch.totals.counter(Counter::PacketsSeen) >= expected {
                stop.stop();
            }
        }
    };
    assert!(sender.wait().unwrap().success());
    assert!(watched.run(|| facts::interface(DEVICE)).unwrap().unwrap().xdp_programs.is_empty(), "all is detached");
    (ended, totals, used)
}

fn check_wire(mode: Mode, used: Mode) {
    if !can_run("live capture", &[Need::Root, Need::Tool("tcpreplay"), Need::Tool("ethtool"), Need::Tool("nsenter")]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wire.pcap");
    let frames = frames();
    capture::write_pcap(&path, capture::ETHERNET, &frames);
    let file = replay_file(&path).unwrap();

    let (ended, totals, mode) = over_the_wire(mode, &path, frames.len() as u64);

    assert_eq!(mode, used);
    assert_eq!(totals.counter(Counter::PacketsSeen), frames.len() as u64, "packets seen");
    assert_eq!(totals.skipped_all(), file.totals.skipped_all(), "packets skipped");
    assert_eq!(totals.counter(Counter::FlowBytes), file.totals.counter(Counter::FlowBytes), "bytes");
    assert_eq!(counted(&ended), counted(&file.ended));
}

#[test]
fn a_capture_over_veth_gives_the_files_flows_through_native_xdp() {
    check_wire(Mode::Native, Mode::Native);
}

#[test]
fn a_capture_over_veth_gives_the_files_flows_through_generic_xdp() {
    check_wire(Mode::Generic, Mode::Generic);
}

#[test]
fn a_capture_over_veth_gives_the_files_flows_through_tc() {
    check_wire(Mode::Tc, Mode::Tc);
}

/// Sources that each send two packets, thousands of others' apart: more slots than the table has.
const SOURCES: u32 = 20_000;
/// What a batch may hold: 2,048 slots, and those of the set that fills it.
const SLOTS_A_BATCH: usize = 2_052;

#[test]
fn a_tick_that_is_too_much_for_one_batch_comes_in_parts_and_tells_every_packet_once() {
    if !can_run("ticks in parts", &[Need::Root, Need::Tool("tcpreplay"), Need::Tool("ethtool"), Need::Tool("nsenter")])
    {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("many.pcap");
    let frames: Vec<Timed> = (0..2 * SOURCES)
        .map(|number| {
            let [_, high, mid, low] = (number % SOURCES).to_be_bytes();
            let payload = frame::udp(4_000, 9_000, None, &[7; 20]);
            let packet = Ipv4::between([10, high, mid, low], [10, 200, 0, 1], frame::UDP).wrap(&payload);
            Timed::new(u64::from(number) * 10_000, frame::padded(frame::ethernet(frame::IPV4, &packet)))
        })
        .collect();
    capture::write_pcap(&path, capture::ETHERNET, &frames);
    let (watched, peer) = pair(["", ""]);
    let flow = FlowSettings::default();
    let mut source = watched.run(|| {
        let capture = capture_settings(Mode::Native, Direction::Ingress);
        let mut kernel = load(&capture);
        kernel.attach(&capture).unwrap();
        kernel.into_source(&flow)
    });
    let mut sender = peer.command("tcpreplay").args(["--quiet", "--pps=80000", "-i", PEER]).arg(&path).spawn().unwrap();

    let (mut table, mut batch, mut due) = (FlowTable::new(&flow), Batch::default(), Vec::new());
    let mut flows: BTreeMap<[u8; 16], Vec<u64>> = BTreeMap::new();
    let (mut parts, mut now_ns, mut ticks_behind) = (0, 0, 0);
    let stop = source.stop_handle();
    let totals = loop {
        let progress = source.next_batch(&mut batch).unwrap();
        assert!(batch.slots.len() <= SLOTS_A_BATCH, "{} slots", batch.slots.len());
        assert!(batch.slots.is_sorted_by_key(|update| update.slot.first_seen_ns));
        assert!(if progress == Progress::Part { batch.now_ns >= now_ns } else { batch.now_ns > now_ns });
        now_ns = batch.now_ns;
        parts += u32::from(progress == Progress::Part);
        table.absorb(&batch);
        table.due(batch.now_ns, &mut due);
        if progress == Progress::End {
            table.finish(&mut due);
        }
        for record in due.drain(..).filter(FlowRecord::is_ended) {
            flows.entry(record.key.src).or_default().push(record.packets());
        }
        if progress == Progress::End {
            break batch.totals;
        }
        if progress == Progress::Tick && sender.try_wait().unwrap().is_some() {
            ticks_behind += 1;
            if ticks_behind > 2 {
                stop.stop();
            }
        }
    };
    assert!(sender.wait().unwrap().success());
    assert!(parts > 0, "all of it in whole ticks");
    let lost = totals.counter(Counter::SlotsLostPackets);
    println!("{parts} parts, {lost} packets of slots that found the ring full");
    assert_eq!(totals.counter(Counter::PacketsSeen), u64::from(2 * SOURCES));
    assert_eq!(flows.values().flatten().sum::<u64>() + lost, u64::from(2 * SOURCES));
    if lost == 0 {
        assert_eq!(flows.len(), SOURCES as usize);
        assert!(flows.values().all(|packets| packets == &[2]), "{flows:?}");
    }
}

#[test]
fn auto_takes_native_xdp_where_the_driver_has_it_and_tc_elsewhere() {
    if !can_run("auto mode", &[Need::Root, Need::Tool("ethtool"), Need::Tool("nsenter")]) {
        return;
    }
    let (watched, _peer) = pair(["", ""]);
    // Loopback has no XDP in its driver, and every kernel has loopback.
    for (device, expected) in [(DEVICE, Mode::Native), ("lo", Mode::Tc)] {
        let capture =
            CaptureSettings { interfaces: vec![device.into()], ..capture_settings(Mode::Auto, Direction::Both) };
        let modes: Vec<(Mode, Direction)> = watched.run(|| {
            let mut kernel = load(&capture);
            kernel.attach(&capture).unwrap().iter().map(|attached| (attached.mode, attached.direction)).collect()
        });
        assert_eq!(modes, [(expected, Direction::Ingress), (Mode::Tc, Direction::Egress)], "{device}");
    }
}

#[test]
fn another_program_on_the_interface_is_named_and_left_alone() {
    if !can_run("the refusal", &[Need::Root, Need::Tool("ethtool"), Need::Tool("nsenter")]) {
        return;
    }
    let (watched, _peer) = pair(["", ""]);
    for (theirs, ours) in [(Mode::Native, Mode::Native), (Mode::Native, Mode::Auto), (Mode::Generic, Mode::Generic)] {
        watched.run(|| {
            let (theirs, ours) =
                (capture_settings(theirs, Direction::Ingress), capture_settings(ours, Direction::Both));
            let mut first = load(&theirs);
            first.attach(&theirs).unwrap();
            let before = facts::interface(DEVICE).unwrap().unwrap().xdp_programs;
            let refused = load(&ours).attach(&ours).map(<[_]>::len);
            assert_eq!(facts::interface(DEVICE).unwrap().unwrap().xdp_programs, before);
            let Err(KernelError::OtherProgram { name, id: Some(id) }) = refused else { panic!("{refused:?}") };
            assert_eq!((name.as_str(), before), (DEVICE, vec![id]));
            assert!(facts::tcx_programs(DEVICE).is_empty(), "the refusal left a tc program");
        });
    }
}

#[test]
fn interfaces_that_cannot_be_watched_are_refused_by_name() {
    if !can_run("refused interfaces", &[Need::Root]) {
        return;
    }
    let with = |interfaces: &[&str], mode| CaptureSettings {
        interfaces: interfaces.iter().map(ToString::to_string).collect(),
        ..capture_settings(mode, Direction::Both)
    };
    let namespace = Namespace::new("refused");
    let refused = |capture: CaptureSettings| {
        namespace.run(|| load(&capture).attach(&capture).map(<[_]>::len).unwrap_err().to_string())
    };
    assert!(refused(with(&[], Mode::Auto)).contains("no interface"));
    assert!(refused(with(&["lo", "lo"], Mode::Auto)).contains("named twice"));
    assert!(refused(with(&["lo"], Mode::Native)).contains("`lo` has no native XDP"));
}

#[test]
fn a_killed_agent_leaves_traffic_flowing_and_nothing_attached() {
    if !can_run("kill -9", &[Need::Root, Need::Tool("ethtool"), Need::Tool("nsenter"), Need::Tool("ping")]) {
        return;
    }
    let (watched, peer) = pair(["10.77.0.1/24", "10.77.0.2/24"]);
    let mut agent = watched
        .command(env::current_exe().unwrap().to_str().unwrap())
        .args(["--exact", "attaches_until_killed", "--nocapture"])
        .env(CHILD, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(agent.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("attached")), "the agent did not attach");
    let before = watched
        .run(|| (facts::interface(DEVICE).unwrap().unwrap().xdp_programs.len(), facts::tcx_programs(DEVICE).len()));
    assert_eq!(before, (1, 1));
    let ping = || run(peer.command("ping").args(["-c", "3", "-i", "0.2", "-W", "5", "10.77.0.1"]));
    ping();

    agent.kill().unwrap();
    agent.wait().unwrap();

    ping();
    let after = watched.run(|| (facts::interface(DEVICE).unwrap().unwrap().xdp_programs, facts::tcx_programs(DEVICE)));
    assert_eq!(after, (Vec::new(), Vec::new()));
}

/// Not a test by itself: the process that `a_killed_agent_...` kills.
#[test]
fn attaches_until_killed() {
    if env::var_os(CHILD).is_none() {
        return;
    }
    let capture = capture_settings(Mode::Native, Direction::Both);
    let mut kernel = load(&capture);
    kernel.attach(&capture).unwrap();
    println!("attached");
    // Bounded, in case that nobody kills it.
    run(Command::new("sleep").arg("60"));
}
