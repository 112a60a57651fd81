//! Interfaces that come, go and change under a live source: seen again within moments, blind meanwhile and saying so, and every
//! packet counted or in the gap.
#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that fails")]

use std::{
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use ids_agent::{
    config::{CaptureSettings, Direction, FlowSettings, Mode, SampleSettings},
    flow::FlowTable,
    kernel::{Kernel, facts},
    source::{Batch, FlowSource, Progress, blind::BlindCause, live::LiveSource},
};
use ids_common::counter::Counter;
use ids_tests::{
    datagrams::{introduce, send, sent_and_dropped},
    netns::{Namespace, run, veth},
    pair::NEEDS,
    probe::{Need, can_run},
};

const DEVICE: &str = "watched0";
const PEER: &str = "peer0";
const TO: &str = "10.77.0.1:9";

/// docs/capture.md promises it.
const SEEN_WITHIN: Duration = Duration::from_secs(2);

fn settings(interfaces: &[&str], mode: Mode, direction: Direction) -> CaptureSettings {
    let interfaces = interfaces.iter().map(|name| (*name).to_owned()).collect();
    CaptureSettings { interfaces, mode, direction, sets_per_cpu: 1_024, ..CaptureSettings::default() }
}

fn load(capture: &CaptureSettings) -> Kernel {
    Kernel::load(capture, &FlowSettings::default(), &SampleSettings::default()).unwrap()
}

/// A live source that is read.
struct Watching {
    source: LiveSource,
    batch: Batch,
    table: FlowTable,
}

impl Watching {
    fn start(capture: &CaptureSettings) -> Self {
        let flow = FlowSettings { tick_millis: 50, ..FlowSettings::default() };
        let mut kernel = load(capture);
        kernel.attach(capture).unwrap();
        Self { source: kernel.into_source(&flow), batch: Batch::default(), table: FlowTable::new(&flow) }
    }

    /// Reads until something is so; says how long that took.
    #[track_caller]
    fn until(&mut self, wanted: impl Fn(&Kernel) -> bool) -> Duration {
        let start = Instant::now();
        while !wanted(self.source.kernel()) {
            assert!(
                start.elapsed() < Duration::from_secs(30),
                "it never was: attached {:?}, blind {:?}, {} packets seen",
                self.source.kernel().attachments(),
                self.source.kernel().blind(),
                self.packets()
            );
            assert_eq!(self.source.next_batch(&mut self.batch).unwrap(), Progress::Tick);
            self.table.absorb(&self.batch);
        }
        start.elapsed()
    }

    fn packets(&self) -> u64 {
        self.source.kernel().totals().counter(Counter::PacketsSeen)
    }

    fn gap(&self) -> u64 {
        self.source.kernel().gap_packets()
    }

    /// Sends datagrams and waits until they are seen.
    #[track_caller]
    fn sees(&mut self, from: &Namespace, count: u32) {
        let before = self.packets();
        send(from, TO, count, 2_000);
        self.until(|kernel| kernel.totals().counter(Counter::PacketsSeen) >= before + u64::from(count));
        assert_eq!(self.packets(), before + u64::from(count));
    }

    fn blind(&self) -> Vec<(String, BlindCause)> {
        self.source.kernel().blind().iter().map(|blind| (blind.interface.to_string(), blind.cause)).collect()
    }
}

fn is_seen(kernel: &Kernel) -> bool {
    kernel.blind().is_empty()
}

fn connect(watched: &Namespace, device: &str, peer: &Namespace) {
    veth(watched, device, "10.77.0.1/24", peer, PEER, "10.77.0.2/24");
    introduce((watched, device, "10.77.0.1"), (peer, PEER, "10.77.0.2"));
}

#[test]
fn an_interface_that_is_absent_is_waited_for_and_one_that_is_deleted_is_seen_again() {
    if !can_run("interfaces that come and go", &NEEDS) {
        return;
    }
    for mode in [Mode::Native, Mode::Generic, Mode::Tc] {
        let (watched, peer) = (Namespace::new("watched"), Namespace::new("peer"));
        watched.run(|| {
            let mut watching = Watching::start(&settings(&[DEVICE], mode, Direction::Ingress));
            assert_eq!(watching.blind(), [(DEVICE.to_owned(), BlindCause::Absent)]);
            assert!(watching.source.kernel().attachments().is_empty());

            connect(&watched, DEVICE, &peer);
            let appeared = watching.until(is_seen);
            watching.sees(&peer, 100);

            let first = watching.source.kernel().attachments()[0].ifindex;
            watched.ip(&["link", "delete", DEVICE]);
            watching.until(|kernel| !kernel.blind().is_empty());
            assert_eq!(watching.blind(), [(DEVICE.to_owned(), BlindCause::Gone)]);
            assert_eq!(watching.source.kernel().ways().iter().filter(|way| way.3).count(), 0);
            connect(&watched, DEVICE, &peer);
            let came_back = watching.until(is_seen);
            println!("{mode:?}: seen {appeared:?} after it appeared, {came_back:?} after it came back");
            assert!(appeared.max(came_back) < SEEN_WITHIN, "{mode:?}");
            assert_ne!(watching.source.kernel().attachments()[0].ifindex, first);
            let gap = watching.gap();
            watching.sees(&peer, 100);
            assert_eq!(watching.packets(), 200, "counters went on");
            assert_eq!(watching.gap(), gap);
        });
    }
}

#[test]
fn what_passed_before_an_interface_was_seen_again_is_a_gap() {
    if !can_run("the gap", &NEEDS) {
        return;
    }
    let (watched, peer) = (Namespace::new("watched"), Namespace::new("peer"));
    watched.run(|| {
        let mut watching = Watching::start(&settings(&[DEVICE], Mode::Native, Direction::Ingress));
        // Under another name it is not looked for.
        connect(&watched, "other0", &peer);
        send(&peer, TO, 50, 2_000);
        watched.ip(&["link", "set", "other0", "down"]);
        watched.ip(&["link", "set", "other0", "name", DEVICE]);
        watching.until(is_seen);
        assert_eq!((watching.gap(), watching.packets()), (50, 0));
    });
}

#[test]
fn what_passes_while_programs_are_attached_is_counted_or_in_the_gap() {
    if !can_run("the gap under traffic", &NEEDS) {
        return;
    }
    for mode in [Mode::Native, Mode::Tc] {
        let (watched, peer) = (Namespace::new("watched"), Namespace::new("peer"));
        watched.run(|| {
            let mut watching = Watching::start(&settings(&[DEVICE], mode, Direction::Ingress));
            connect(&watched, DEVICE, &peer);
            thread::scope(|scope| {
                scope.spawn(|| send(&peer, TO, 4_000, 4_000));
                // Some pass before it is looked for.
                while sent_and_dropped(&peer, PEER).0 < 200 {
                    thread::sleep(Duration::from_millis(5));
                }
                watching.until(is_seen);
            });
            let (arrived, _) = sent_and_dropped(&peer, PEER);
            watching.until(|kernel| kernel.totals().counter(Counter::PacketsSeen) + kernel.gap_packets() >= arrived);
            println!("{mode:?}: {} seen and a gap of {}", watching.packets(), watching.gap());
            assert_eq!(watching.packets() + watching.gap(), arrived);
            assert!(watching.gap() >= 200 && watching.packets() > 0, "{} {}", watching.gap(), watching.packets());
        });
    }
}

#[test]
fn renaming_going_down_and_other_sizes_do_not_blind() {
    if !can_run("changes of interfaces", &[&NEEDS[..], &[Need::Tool("ping")]].concat()) {
        return;
    }
    let (watched, peer) = (Namespace::new("watched"), Namespace::new("peer"));
    connect(&watched, DEVICE, &peer);
    watched.run(|| {
        let mut watching = Watching::start(&settings(&[DEVICE], Mode::Native, Direction::Ingress));
        watching.sees(&peer, 20);

        watched.ip(&["link", "set", DEVICE, "down"]);
        watched.ip(&["link", "set", DEVICE, "name", "renamed0"]);
        watched.ip(&["link", "set", "renamed0", "up"]);
        introduce((&watched, "renamed0", "10.77.0.1"), (&peer, PEER, "10.77.0.2"));
        watching.sees(&peer, 20);
        assert!(is_seen(watching.source.kernel()), "{:?}", watching.blind());
        assert_eq!(watching.source.kernel().attachments()[0].interface, DEVICE, "under the name of the configuration");

        // Jumbo frames: the program declares fragments.
        watched.ip(&["link", "set", "renamed0", "mtu", "9000"]);
        peer.ip(&["link", "set", PEER, "mtu", "9000"]);
        let bytes = watching.source.kernel().totals().counter(Counter::FlowBytes);
        run(peer.command("ping").args(["-c", "3", "-i", "0.2", "-W", "5", "-M", "do", "-s", "8000", "10.77.0.1"]));
        watching.until(|kernel| kernel.totals().counter(Counter::FlowBytes) >= bytes + 3 * 8_028);
        assert_eq!(watching.source.kernel().totals().counter(Counter::FlowBytes), bytes + 3 * 8_028);

        // Offloads are switched on and off.
        run(watched.command("ethtool").args(["-K", "renamed0", "gro", "on"]));
        watching.sees(&peer, 20);

        // A pair has as many queues at most as the machine has CPUs, and one as it is made.
        if thread::available_parallelism().unwrap().get() > 1 {
            for queues in ["2", "1"] {
                run(peer.command("ethtool").args(["-L", PEER, "tx", "1"]));
                run(watched.command("ethtool").args(["-L", "renamed0", "rx", queues, "tx", queues]));
                watching.sees(&peer, 20);
                assert!(is_seen(watching.source.kernel()), "{queues} queues: {:?}", watching.blind());
            }
        }
        assert_eq!(watching.gap(), 0);

        // Another interface of the name is the one that is meant.
        let third = Namespace::new("third");
        veth(&watched, DEVICE, "10.78.0.1/24", &third, PEER, "10.78.0.2/24");
        let meant = facts::interface(DEVICE).unwrap().unwrap().ifindex;
        watching.until(|kernel| kernel.attachments().iter().any(|place| place.ifindex == meant));
        assert!(facts::interface("renamed0").unwrap().unwrap().xdp_programs.is_empty());
    });
}

#[test]
fn another_program_blinds_until_it_goes() {
    if !can_run("another program", &NEEDS) {
        return;
    }
    let (watched, peer) = (Namespace::new("watched"), Namespace::new("peer"));
    connect(&watched, "other0", &peer);
    watched.run(|| {
        let theirs = settings(&["other0"], Mode::Native, Direction::Ingress);
        let mut first = load(&theirs);
        first.attach(&theirs).unwrap();
        let mut watching = Watching::start(&settings(&[DEVICE], Mode::Auto, Direction::Both));
        watched.ip(&["link", "set", "other0", "down"]);
        watched.ip(&["link", "set", "other0", "name", DEVICE]);
        watched.ip(&["link", "set", DEVICE, "up"]);
        introduce((&watched, DEVICE, "10.77.0.1"), (&peer, PEER, "10.77.0.2"));
        let blind = [(DEVICE.to_owned(), BlindCause::OtherProgram)];
        watching.until(|kernel| kernel.blind().iter().any(|blind| blind.cause == BlindCause::OtherProgram));
        assert_eq!(watching.blind(), blind);
        assert_eq!(facts::interface(DEVICE).unwrap().unwrap().xdp_programs.len(), 1, "theirs is left alone");
        assert!(facts::tcx_programs(DEVICE).is_empty(), "all directions or none");

        drop(first);
        let seen = watching.until(is_seen);
        assert!(seen < SEEN_WITHIN, "seen {seen:?} after the other program went");
        let before = watching.packets();
        send(&peer, TO, 20, 2_000);
        watching.until(|kernel| kernel.totals().counter(Counter::PacketsSeen) >= before + 20);
    });
}

#[test]
fn flows_keep_the_index_of_their_place_in_the_configuration() {
    if !can_run("interfaces in order", &NEEDS) {
        return;
    }
    let (watched, peer, late) = (Namespace::new("watched"), Namespace::new("peer"), Namespace::new("late"));
    connect(&watched, DEVICE, &peer);
    watched.run(|| {
        let mut watching = Watching::start(&settings(&["late0", DEVICE], Mode::Native, Direction::Ingress));
        assert_eq!(watching.blind(), [("late0".to_owned(), BlindCause::Absent)]);
        watching.sees(&peer, 10);
        veth(&watched, "late0", "10.79.0.1/24", &late, PEER, "10.79.0.2/24");
        introduce((&watched, "late0", "10.79.0.1"), (&late, PEER, "10.79.0.2"));
        watching.until(is_seen);
        let before = watching.packets();
        send(&late, "10.79.0.1:7", 10, 1_000);
        watching.until(|kernel| kernel.totals().counter(Counter::PacketsSeen) >= before + 10);
        let stop = watching.source.stop_handle();
        stop.stop();
        let mut ended = Vec::new();
        assert_eq!(watching.source.next_batch(&mut watching.batch).unwrap(), Progress::End);
        watching.table.absorb(&watching.batch);
        watching.table.finish(&mut ended);
        let mut places: Vec<(u16, u8)> =
            ended.iter().map(|record| (record.key.dst_port, record.key.interface())).collect();
        places.sort_unstable();
        assert_eq!(places, [(7, 0), (9, 1)]);
    });
}

/// A process that ends with the value.
struct Ends(Child);

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_tunnel_without_ethernet_headers_is_seen_from_its_ip_headers_on() {
    let needs = [&NEEDS[..], &[Need::Tool("ping"), Need::Tool("socat"), Need::File("/dev/net/tun".as_ref())]].concat();
    if !can_run("a tun interface", &needs) {
        return;
    }
    let (here, there) = (Namespace::new("here"), Namespace::new("there"));
    connect(&here, DEVICE, &there);
    let tunnel = |space: &Namespace, own: &str, other: &str| {
        let device = format!("TUN:{own}/24,tun-name=tun0,tun-type=tun,iff-no-pi,iff-up");
        let wire = format!("UDP:{other}:5555,bind=:5555");
        // Bounded, in case that nobody ends it.
        let mut command = space.command("timeout");
        command.args(["120", "socat", &device, &wire]).stdout(Stdio::null()).stderr(Stdio::null());
        Ends(command.spawn().unwrap())
    };
    let _ends = [tunnel(&here, "10.99.0.1", "10.77.0.2"), tunnel(&there, "10.99.0.2", "10.77.0.1")];
    here.run(|| {
        let mut watching = Watching::start(&settings(&["tun0"], Mode::Auto, Direction::Both));
        watching.until(is_seen);
        let modes: Vec<(Mode, Direction)> =
            watching.source.kernel().attachments().iter().map(|place| (place.mode, place.direction)).collect();
        assert_eq!(modes, [(Mode::Tc, Direction::Ingress), (Mode::Tc, Direction::Egress)]);
        let before = watching.source.kernel().totals();
        run(there.command("ping").args(["-c", "5", "-i", "0.2", "-W", "5", "-s", "100", "10.99.0.1"]));
        let bytes = before.counter(Counter::FlowBytes) + 10 * 128;
        watching.until(|kernel| kernel.totals().counter(Counter::FlowBytes) >= bytes);
        let after = watching.source.kernel().totals();
        assert_eq!(after.counter(Counter::FlowBytes), bytes, "the IP packets and nothing else");
        assert_eq!(after.skipped_all(), before.skipped_all());

        for mode in [Mode::Native, Mode::Generic] {
            let capture = settings(&["tun0"], mode, Direction::Both);
            let refused = load(&capture).attach(&capture).map(<[_]>::len).unwrap_err().to_string();
            assert!(refused.contains("tun0") && refused.contains("no Ethernet headers"), "{refused}");
        }
    });
}

#[test]
fn a_bridge_is_seen_through_tc() {
    if !can_run("a bridge", &[&NEEDS[..], &[Need::Tool("ping")]].concat()) {
        return;
    }
    let (host, guest) = (Namespace::new("bridge"), Namespace::new("guest"));
    host.ip(&["link", "add", "br0", "type", "bridge"]);
    host.ip(&["address", "add", "10.98.0.1/24", "dev", "br0"]);
    host.ip(&["link", "set", "br0", "up"]);
    veth(&host, "port0", "", &guest, PEER, "10.98.0.2/24");
    host.ip(&["link", "set", "port0", "master", "br0"]);
    host.run(|| {
        let mut watching = Watching::start(&settings(&["br0"], Mode::Auto, Direction::Both));
        assert!(watching.source.kernel().attachments().iter().all(|place| place.mode == Mode::Tc));
        run(guest.command("ping").args(["-c", "3", "-i", "0.2", "-W", "5", "10.98.0.1"]));
        watching.until(|kernel| kernel.totals().counter(Counter::FlowPackets) >= 6);
    });
}
