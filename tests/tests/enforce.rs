//! Blocking on real interfaces: an attacker's packets stop, its neighbour's do not, blocks end without the agent, and what
//! must not be blocked is not.
#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that fails")]

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use ids_tests::{
    bpffs::BpfFs,
    pair::{NEAR, NEEDS, Pair, WATCHED},
    probe::{Need, can_run},
    program::Ran,
    running::{Running, eventually, sum, value},
};
use rustix::process::Signal;
use serde_json::Value;

const AGENT: &str = env!("CARGO_BIN_EXE_agent");
/// Documentation addresses, which are in no home network.
const GATEWAY: &str = "203.0.113.1";
const ATTACKER: &str = "203.0.113.2";
const NEIGHBOUR: &str = "203.0.113.3";
const WEB_PORT: u16 = 8_080;

/// The gateway is the pair's sensor; who attacks it is outside.
struct Scene {
    pair: Pair,
    stop: Arc<AtomicBool>,
}

impl Scene {
    fn new() -> Self {
        let pair = Pair::at("gateway", GATEWAY, ATTACKER);
        pair.peer.ip(&["address", "add", &format!("{NEIGHBOUR}/24"), "dev", NEAR]);
        let scene = Self { pair, stop: Arc::new(AtomicBool::new(false)) };
        scene.serve();
        scene
    }

    /// A web server that finds nothing, on a thread that ends with the scene.
    fn serve(&self) {
        let listener = self.pair.sensor.run(|| TcpListener::bind((GATEWAY, WEB_PORT)).unwrap());
        listener.set_nonblocking(true).unwrap();
        let stop = Arc::clone(&self.stop);
        thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let Ok((mut stream, _)) = listener.accept() else {
                    thread::sleep(Duration::from_millis(5));
                    continue;
                };
                stream.set_nonblocking(false).unwrap();
                stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
                let mut request = [0; 2_048];
                // A client that was cut off says nothing.
                let _ = stream.read(&mut request);
                let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            }
        });
    }

    /// Writes the configuration and starts the agent.
    fn start(&self, enforce: &str) -> Running<'_> {
        self.start_with("", enforce)
    }

    fn start_with(&self, capture: &str, enforce: &str) -> Running<'_> {
        let text = format!(
            "[capture]\n{capture}\n[detect]\nclassifier = false\nanomaly = false\ndga = false\n[state]\nenabled = false\n\
             [evidence]\nkeep = 0\n[control]\npath = {:?}\n[enforce]\nenabled = true\naudit = {:?}\nmin_witnesses = 1\n\
             min_severity = \"low\"\nmin_confidence = 0.3\n{enforce}\n",
            self.pair.path("control.sock"),
            self.pair.path("blocks.ndjson"),
        );
        let config = self.pair.write("config.toml", &text);
        self.pair.start_ready(AGENT, &["--config", &config, "--alerts", &self.pair.arg("alerts.ndjson")])
    }

    fn ask(&self, args: &[&str]) -> Ran {
        self.pair.ask(AGENT, args)
    }

    fn blocks(&self) -> Vec<Value> {
        let ran = self.ask(&["block", "list", "--json"]);
        let answer: Value = serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
        answer["blocks"].as_array().unwrap().clone()
    }

    /// Whether a connection from this address is accepted, if not at once, then when the SYN is repeated.
    fn reaches(&self, from: &str) -> bool {
        self.try_connect(from, Duration::from_millis(2_500)).is_some()
    }

    /// Whether neither a SYN from this address nor its repetition a second later is answered.
    fn is_cut_off(&self, from: &str) -> bool {
        self.try_connect(from, Duration::from_millis(1_500)).is_none()
    }

    fn try_connect(&self, from: &str, patience: Duration) -> Option<TcpStream> {
        let to: SocketAddr = format!("{GATEWAY}:{WEB_PORT}").parse().unwrap();
        let from: IpAddr = from.parse().unwrap();
        self.pair.peer.run(move || connect_from(from, to, patience))
    }

    /// Asks the web server for what only an attacker asks for.
    fn attack(&self, from: &str) {
        for path in [
            "/index.php?id=1%27%20UNION%20SELECT%20username,password%20FROM%20users--%20-",
            "/item?id=1%20AND%20SLEEP(5)--%20-",
            "/cgi-bin/../../../../../../etc/passwd",
            "/search?q=%3Cscript%3Ealert(document.cookie)%3C/script%3E",
        ] {
            let Some(mut stream) = self.try_connect(from, Duration::from_secs(3)) else { return };
            // At once: the server answers, and closes, what has begun.
            let request = format!("GET {path} HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: sqlmap/1.7\r\n\r\n");
            stream.write_all(request.as_bytes()).unwrap();
            let mut answer = String::new();
            stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
            // A block cuts it off.
            let _ = stream.read_to_string(&mut answer);
        }
    }

    fn audit(&self) -> Vec<Value> {
        self.pair.lines("blocks.ndjson")
    }

    /// Waits until the audit has a line of this action.
    #[track_caller]
    fn await_audit(&self, action: &str) -> Value {
        let find = || self.audit().into_iter().find(|line| line["action"] == action);
        eventually(&format!("no `{action}` in the audit"), || find().is_some());
        find().unwrap()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// std cannot bind a stream before it connects.
fn connect_from(from: IpAddr, to: SocketAddr, patience: Duration) -> Option<TcpStream> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};
    let socket =
        socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC, None)
            .unwrap();
    bind(&socket, &SocketAddr::new(from, 0)).unwrap();
    // It is under way.
    let _ = connect(&socket, &to);
    let stream = TcpStream::from(socket);
    let deadline = Instant::now() + patience;
    while Instant::now() < deadline {
        if stream.peer_addr().is_ok() {
            stream.set_nonblocking(false).unwrap();
            return Some(stream);
        }
        thread::sleep(Duration::from_millis(10));
    }
    None
}

#[test]
fn an_attacker_is_dropped_for_a_while_and_its_neighbour_is_not() {
    if !can_run("blocking", &NEEDS) {
        return;
    }
    let scene = Scene::new();
    let mut agent = scene.start("duration_secs = 8");
    assert!(scene.reaches(ATTACKER) && scene.reaches(NEIGHBOUR));

    scene.attack(ATTACKER);
    let added = scene.await_audit("add");

    assert_eq!((added["source"].as_str(), added["by"].as_str()), (Some(ATTACKER), Some("verdict")), "{added}");
    assert_eq!(added["cause"]["class"], "web_attack", "{added}");
    assert!(scene.is_cut_off(ATTACKER), "the attacker is dropped");
    assert!(scene.reaches(NEIGHBOUR), "its neighbour is not");
    let page = agent.await_page("/metrics", |_, page| value(page, "ids_packets_blocked_total") >= 1.0);
    assert_eq!(
        value(&page, "ids_packets_seen_total"),
        value(&page, "ids_packets_in_flows_total") + sum(&page, "ids_packets_skipped_total"),
        "what is dropped is counted in flows too"
    );
    let expired = scene.await_audit("expire");
    assert!(expired["packets"].as_u64().unwrap() >= 1, "{expired}");
    assert!(scene.reaches(ATTACKER), "the block is over");
    agent.signal(Signal::TERM);
    assert_eq!(agent.end().code, Some(0));
}

#[test]
fn a_block_ends_although_the_agent_hangs_and_all_end_with_it() {
    if !can_run("a hanging agent", &NEEDS) {
        return;
    }
    let scene = Scene::new();
    let agent = scene.start("");
    assert_eq!(scene.ask(&["block", "add", ATTACKER, "--secs", "6", "--reason", "ticket 4711"]).code, Some(0));
    assert!(scene.is_cut_off(ATTACKER));
    agent.signal(Signal::STOP);
    // Nobody takes the entry out of the map: it ends by the clock.
    eventually("the entry does not end", || scene.reaches(ATTACKER));
    agent.signal(Signal::CONT);
    let added = scene.await_audit("add");
    assert_eq!((added["by"].as_str(), added["reason"].as_str()), (Some("uid 0"), Some("ticket 4711")));
    scene.await_audit("expire");

    assert_eq!(scene.ask(&["block", "add", ATTACKER, "--secs", "3600"]).code, Some(0));
    assert!(scene.is_cut_off(ATTACKER));
    agent.signal(Signal::KILL);
    drop(agent);
    assert!(scene.reaches(ATTACKER), "a killed agent blocks nobody");
}

#[test]
fn pinned_blocks_outlive_the_agent_and_end_by_the_clock_or_by_hand() {
    if !can_run("pinned blocks", &NEEDS) || !can_run("pinned blocks", &[Need::Tool("mount")]) {
        return;
    }
    let scene = Scene::new();
    let bpf = BpfFs::default();
    let pin = format!("pin = {:?}", bpf.dir("agent"));
    let alone = |verb: &[&str]| {
        // No socket is named: the configuration says where the maps are.
        let config = scene.pair.arg("config.toml");
        let args: Vec<&str> = verb.iter().copied().chain(["--config", &config]).collect();
        Ran::of(&scene.pair.sensor.command(AGENT).args(&args).output().unwrap())
    };
    let agent = scene.start_with(&pin, "");
    assert_eq!(scene.ask(&["block", "add", ATTACKER, "--secs", "6"]).code, Some(0));
    assert_eq!(scene.ask(&["block", "add", NEIGHBOUR, "--secs", "3600"]).code, Some(0));
    agent.signal(Signal::KILL);
    drop(agent);
    assert!(scene.is_cut_off(NEIGHBOUR), "the program goes on, and so do its blocks");
    eventually("a block does not end when nobody lives to end it", || scene.reaches(ATTACKER));

    let listed = alone(&["block", "list"]);
    assert!(listed.out.contains(NEIGHBOUR) && !listed.out.contains(ATTACKER), "{listed:?}");
    alone(&["block", "add", GATEWAY]).fails(1, &["is this machine's own"]);
    assert_eq!(alone(&["block", "remove", NEIGHBOUR]).code, Some(0));
    assert!(scene.reaches(NEIGHBOUR));
    assert_eq!(alone(&["block", "add", ATTACKER, "--secs", "3600"]).code, Some(0));
    assert!(scene.is_cut_off(ATTACKER));

    let mut agent = scene.start_with(&pin, "");
    agent.await_page("/metrics", |_, page| value(page, "ids_blocks") == 1.0);
    assert_eq!(scene.await_audit("adopt")["source"], ATTACKER);
    assert!(scene.is_cut_off(ATTACKER), "the next agent goes on with them");
    agent.signal(Signal::TERM);
    assert_eq!(agent.end().code, Some(0));
    assert!(scene.is_cut_off(ATTACKER));
    // Blocking that is turned off leaves nothing blocked.
    let agent = scene.start_with(&pin, "dry_run = true");
    assert!(scene.reaches(ATTACKER));
    drop(agent);
    let unpinned =
        scene.pair.sensor.command(AGENT).args(["unpin", bpf.dir("agent").to_str().unwrap()]).output().unwrap();
    assert!(unpinned.status.success(), "{unpinned:?}");
}

#[test]
fn nobody_on_the_never_list_is_blocked_by_hand_nor_by_attacking() {
    if !can_run("the never-block list", &NEEDS) {
        return;
    }
    let scene = Scene::new();
    scene.pair.sensor.ip(&["route", "add", "default", "via", "203.0.113.77"]);
    let mut agent = scene.start(&format!("never = [\"{ATTACKER}\"]\nmanagement = [\"203.0.113.64/30\"]"));
    for (address, why) in [
        (GATEWAY, "is this machine's own"),
        ("203.0.113.255", "is this machine's own"),
        ("203.0.113.77", "is a gateway of this machine"),
        ("203.0.113.66", "is in enforce.management"),
        (ATTACKER, "is in enforce.never"),
        ("192.168.1.7", "is in a home network"),
        ("127.0.0.1", "is no host's address"),
        ("ff02::1", "is no host's address"),
        ("fe80::1", "is link-local"),
    ] {
        scene.ask(&["block", "add", address]).fails(1, &[address, why]);
    }
    scene.attack(ATTACKER);
    agent.await_page("/metrics", |_, page| value(page, "ids_block_refused_total{reason=\"never\"}") >= 10.0);
    assert!(scene.blocks().is_empty());
    assert!(scene.reaches(ATTACKER));
    let refused = scene.audit().into_iter().rfind(|line| line["by"] == "verdict").unwrap();
    assert_eq!((refused["refused"].as_str(), refused["spared"].as_str()), (Some("never"), Some("listed")), "{refused}");
}

#[test]
fn a_dry_run_says_what_it_would_do_and_drops_nothing() {
    if !can_run("the dry run", &NEEDS) {
        return;
    }
    let scene = Scene::new();
    let mut agent = scene.start("dry_run = true");
    scene.attack(ATTACKER);
    let added = scene.await_audit("add");
    assert_eq!((added["dry_run"].as_bool(), added["source"].as_str()), (Some(true), Some(ATTACKER)));
    assert!(scene.reaches(ATTACKER));
    let by_hand = scene.ask(&["block", "add", NEIGHBOUR]);
    assert!(by_hand.out.contains("would be blocked"), "{by_hand:?}");
    assert!(scene.reaches(NEIGHBOUR));
    let page = agent.await_page("/metrics", |_, page| value(page, "ids_blocks") == 2.0);
    assert_eq!(value(&page, "ids_packets_blocked_total"), 0.0);
}

#[test]
fn people_list_and_remove_blocks_and_a_pair_leaves_the_rest_alone() {
    if !can_run("blocks by hand", &NEEDS) {
        return;
    }
    let scene = Scene::new();
    let _agent = scene.start("");
    scene.pair.sensor.ip(&["address", "add", "198.51.100.1/32", "dev", WATCHED]);
    assert_eq!(scene.ask(&["block", "add", ATTACKER, "--target", "198.51.100.1"]).code, Some(0));
    assert!(scene.reaches(ATTACKER), "another target is not meant");
    assert_eq!(scene.ask(&["block", "add", ATTACKER]).code, Some(0));
    assert!(scene.is_cut_off(ATTACKER));
    let blocks = scene.blocks();
    let targets: Vec<_> = blocks.iter().map(|block| block["target"].as_str()).collect();
    assert_eq!(targets, [None, Some("198.51.100.1")], "{blocks:?}");
    assert!(blocks[0]["packets"].as_u64().unwrap() >= 1, "{blocks:?}");
    let shown = scene.ask(&["block", "list"]);
    assert!(shown.out.contains(ATTACKER) && shown.out.contains("uid 0"), "{shown:?}");
    assert_eq!(scene.ask(&["block", "remove", ATTACKER]).code, Some(0));
    assert!(scene.reaches(ATTACKER));
    scene.ask(&["block", "remove", ATTACKER]).fails(1, &["there is no such block"]);
}

#[test]
fn what_could_be_forged_blocks_nobody() {
    if !can_run("forged evidence", &NEEDS) {
        return;
    }
    let scene = Scene::new();
    let mut agent = scene.start("");
    // Attack patterns in datagrams and a scan: nothing of it takes the source's own address.
    scene.pair.peer.run(|| {
        let socket = UdpSocket::bind((ATTACKER, 0)).unwrap();
        for at in 0..60 {
            let text = format!("GET /?id={at}' UNION SELECT password FROM users-- - HTTP/1.1\r\n\r\n");
            socket.send_to(text.as_bytes(), (GATEWAY, 8_080)).unwrap();
        }
        for port in 1_000..1_200 {
            let to: SocketAddr = format!("{GATEWAY}:{port}").parse().unwrap();
            drop(connect_from(ATTACKER.parse().unwrap(), to, Duration::from_millis(10)));
        }
    });
    agent.await_page("/metrics", |_, page| sum(page, "ids_alerts_total{class=\"port_scan\"") >= 1.0);
    assert!(scene.blocks().is_empty(), "{:?}", scene.blocks());
    assert!(scene.reaches(ATTACKER));
    assert!(scene.audit().iter().all(|line| line["action"] == "refuse"), "{:?}", scene.audit());
}

#[test]
fn a_block_after_which_the_others_go_silent_is_taken_back() {
    if !can_run("the rollback", &NEEDS) {
        return;
    }
    let scene = Scene::new();
    let mut agent = scene.start("rollback_secs = 3\nholdback_secs = 60");
    // Eight conversations of the neighbour's.
    let quiet = Arc::new(AtomicBool::new(false));
    let hush = Arc::clone(&quiet);
    let (echo, talk) = (
        scene.pair.sensor.run(|| UdpSocket::bind((GATEWAY, 7_007)).unwrap()),
        scene.pair.peer.run(|| (0..8).map(|_| UdpSocket::bind((NEIGHBOUR, 0)).unwrap()).collect::<Vec<_>>()),
    );
    let talker = thread::spawn(move || {
        // Bounded, in case that nobody hushes it.
        for _ in 0..600 {
            if hush.load(Ordering::Relaxed) {
                return;
            }
            for socket in &talk {
                socket.send_to(b"hello", (GATEWAY, 7_007)).unwrap();
                let mut bytes = [0; 16];
                let (_, from) = echo.recv_from(&mut bytes).unwrap();
                echo.send_to(b"hello", from).unwrap();
            }
            thread::sleep(Duration::from_millis(200));
        }
    });
    agent.await_page("/metrics", |_, page| value(page, "ids_flows_active") >= 8.0);
    // What is usual is known from fifteen whole seconds on.
    thread::sleep(Duration::from_secs(17));
    // A harmless block first: the others go on, for the three seconds in which it is watched and those that they begin in.
    assert_eq!(scene.ask(&["block", "add", "203.0.113.99"]).code, Some(0));
    thread::sleep(Duration::from_secs(5));
    assert_eq!(scene.blocks().len(), 1, "{:?}", scene.audit());

    assert_eq!(scene.ask(&["block", "add", ATTACKER, "--secs", "3600"]).code, Some(0));
    quiet.store(true, Ordering::Relaxed);
    talker.join().unwrap();
    let taken_back = scene.await_audit("rollback");

    assert_eq!(taken_back["source"], ATTACKER);
    assert!(taken_back["reason"].as_str().unwrap().starts_with("forwarding suffered"), "{taken_back}");
    assert!(scene.reaches(ATTACKER));
    assert_eq!(scene.blocks().len(), 1, "the harmless one stays");
    // A verdict does not bring it back.
    scene.attack(ATTACKER);
    agent.await_page("/metrics", |_, page| value(page, "ids_block_refused_total{reason=\"held_back\"}") >= 1.0);
}

#[test]
fn without_an_audit_or_without_what_arrives_nothing_starts() {
    if !can_run("refused starts", &NEEDS) {
        return;
    }
    let scene = Scene::new();
    let refused = |enforce: &str, parts: &[&str], code: i32| {
        let config = scene.pair.write("bad.toml", enforce);
        let mut command = scene.pair.sensor.command(AGENT);
        command.args(["run", "--interface", WATCHED, "--metrics", "off", "--log", "error", "--config", &config]);
        let ran = Ran::of(&command.output().unwrap());
        assert_eq!(ran.code, Some(code), "{ran:?}");
        parts.iter().for_each(|part| assert!(ran.err.contains(part), "`{part}` is not in: {}", ran.err));
    };
    let small =
        "[detect]\nclassifier = false\nanomaly = false\ndga = false\n[state]\nenabled = false\n[evidence]\nkeep = 0\n";
    let nowhere = Path::new("/nonexistent/blocks.ndjson");
    refused(&format!("{small}[enforce]\nenabled = true\naudit = {nowhere:?}\n"), &["/nonexistent/blocks.ndjson"], 1);
    let audit = scene.pair.path("blocks.ndjson");
    refused(
        &format!("{small}[capture]\ndirection = \"egress\"\n[enforce]\nenabled = true\naudit = {audit:?}\n"),
        &["enforce.enabled", "capture.direction"],
        78,
    );
}
