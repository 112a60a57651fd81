//! The budget on a running agent: levels move under a flood, are told, and come back; memory stays within its bound; floods
//! hide nothing. In namespaces and control groups of their own.
#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that fails")]

use std::{
    collections::BTreeMap,
    fs,
    net::{Ipv4Addr, UdpSocket},
    path::Path,
    process::Child,
    thread,
    time::{Duration, Instant},
};

use ids_tests::{
    capture::{self, Timed},
    cgroup::Group,
    flood::Flood,
    frame::{self, Ipv4, SYN, Tcp},
    netns::{Namespace, veth},
    pair::APART,
    probe::{Need, can_run},
    program::{self, Ran},
    running::{Running, sum, value},
    scene::{Answer, MS, SECOND, Said, Scene, end},
};
use rustix::process::Signal;
use serde_json::Value;

const AGENT: &str = env!("CARGO_BIN_EXE_agent");
const NEEDS: [Need<'static>; 5] =
    [Need::Root, Need::Tool("ip"), Need::Tool("nsenter"), Need::Tool("ethtool"), Need::Tool("tcpreplay")];
const VICTIM: [u8; 4] = [10, 83, 0, 1];
/// A degraded view is told by then, and all is back by then.
const TOLD_WITHIN: Duration = Duration::from_secs(5);
const BACK_WITHIN: Duration = Duration::from_secs(30);

/// A sensor and whoever floods it.
fn pair() -> (Namespace, Namespace) {
    let (sensor, attacker) = (Namespace::new("budget"), Namespace::new("flooder"));
    veth(&sensor, "sensor0", "10.83.0.1/24", &attacker, "attack0", "10.83.0.2/24");
    (sensor, attacker)
}

fn notices(path: &Path, kind: &str) -> Vec<Value> {
    let lines = fs::read_to_string(path).unwrap_or_default();
    let all = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    all.filter(|line| line["ids"]["class"] == "visibility" && line["ids"]["kind"] == kind).collect()
}

/// Every packet is in a flow or skipped for a reason.
#[track_caller]
fn check_conservation(page: &str) {
    let seen = value(page, "ids_packets_seen_total") + value(page, "ids_segments_unfolded_total");
    let counted = value(page, "ids_packets_in_flows_total") + sum(page, "ids_packets_skipped_total");
    assert_eq!(seen, counted, "{page}");
}

/// Memory that counts to the budget.
fn mib(page: &str) -> f64 {
    value(page, "ids_budget_memory_bytes") / 1_048_576.0
}

/// Looks now and then while a flood goes on; looking often costs the agent its budget.
fn while_it_floods(flood: &mut Child, agent: &Running<'_>, mut look: impl FnMut(&str)) {
    while flood.try_wait().unwrap().is_none() {
        if let Some((200, page)) = agent.get("/metrics") {
            look(&page);
        }
        thread::sleep(Duration::from_millis(400));
    }
}

/// More than a seventh of a CPU can judge, on any machine.
const CPU_FLOOD_PER_SEC: u32 = 30_000;

#[test]
fn in_a_fifth_of_a_cpu_levels_move_under_a_flood_are_told_and_come_back() {
    if !can_run("the CPU budget", &NEEDS) {
        return;
    }
    let Some(group) = Group::cpu(20) else {
        eprintln!("skipped: no control group can be made that limits CPU time");
        return;
    };
    let (sensor, attacker) = pair();
    let dir = tempfile::tempdir().unwrap();
    let alerts = dir.path().join("alerts.ndjson");
    let config = dir.path().join("config.toml");
    fs::write(&config, APART).unwrap();
    let args = ["--alerts", alerts.to_str().unwrap(), "--config", config.to_str().unwrap()];
    let mut agent = Running::start_in(&group, AGENT, &sensor, "sensor0", &args);
    agent.await_page("/readyz", |code, _| code == 200);
    // The start itself takes more than a fourteenth of a CPU.
    let page = agent.await_page("/metrics", |_, page| value(page, "ids_budget_limit_cpus") > 0.0);
    assert!((value(&page, "ids_budget_limit_cpus") - 0.14).abs() < 1e-9, "70 % of what the group leaves: {page}");
    agent.await_page("/metrics", |_, page| value(page, "ids_budget_load_ratio{of=\"cpu\"}") > 0.0);
    agent.await_page("/metrics", |_, page| value(page, "ids_budget_level") == 0.0);
    let told_before = notices(&alerts, "degraded").len();

    let mut flood = Flood::new(dir.path(), VICTIM, 80).start(&attacker, "attack0", CPU_FLOOD_PER_SEC, 30);
    let (mut level, mut rose, mut told) = (0.0_f64, None, None);
    while_it_floods(&mut flood, &agent, |page| {
        level = level.max(value(page, "ids_budget_level"));
        if level > 0.0 && rose.is_none() {
            rose = Some(Instant::now());
        }
        if told.is_none() && notices(&alerts, "degraded").len() > told_before {
            told = Some(Instant::now());
        }
    });
    let relief = Instant::now();
    assert!(level >= 1.0, "a flood of {CPU_FLOOD_PER_SEC} packets a second took no level");
    let waited = told.unwrap().saturating_duration_since(rose.unwrap());
    assert!(waited < TOLD_WITHIN, "told {waited:?} behind the rise");
    let notice = notices(&alerts, "degraded").pop().unwrap();
    assert_eq!((&notice["event_type"], &notice["alert"]["severity"]), (&Value::from("alert"), &Value::from(2)));
    assert_eq!(agent.get("/healthz").map(|(code, _)| code), Some(200));

    agent.await_page("/metrics", |_, page| value(page, "ids_budget_level") == 0.0);
    assert!(relief.elapsed() < BACK_WITHIN, "back after {:?}", relief.elapsed());
    let page = agent.await_page("/metrics", |_, page| value(page, "ids_coverage{detector=\"payload\"}") == 1.0);
    assert!(!notices(&alerts, "restored").is_empty());
    assert!(value(&page, "ids_packets_seen_total") >= f64::from(CPU_FLOOD_PER_SEC) * 30.0, "{page}");
    check_conservation(&page);
    assert_eq!(
        value(&page, "ids_flows_started_total"),
        value(&page, "ids_flows_active") + sum(&page, "ids_flows_ended_total")
    );
    agent.signal(Signal::TERM);
    assert_eq!(agent.end().code, Some(0));
}

/// Packets a second of the flood: a hundred times the 200 that a busy home makes over the day, each one a new flow, of which a
/// home makes one every two seconds.
const FLOOD_PER_SEC: u32 = 20_000;
/// And one that fills the kernel's table and the ring with every tick, and more than one CPU can judge.
const MEMORY_FLOOD_PER_SEC: u32 = 80_000;

#[test]
fn in_96_mib_tables_are_smaller_a_flood_stays_within_and_nothing_is_killed() {
    if !can_run("the memory budget", &NEEDS) {
        return;
    }
    const LIMIT: u64 = 96 << 20;
    // Where the kernel limits nothing, the agent still keeps to what it is told.
    let group = Group::memory(LIMIT);
    let (sensor, attacker) = pair();
    let dir = tempfile::tempdir().unwrap();
    let alerts = dir.path().join("alerts.ndjson");
    let config = dir.path().join("config.toml");
    fs::write(&config, format!("{APART}[budget]\nram_mib = 96\n")).unwrap();
    let args = ["--alerts", alerts.to_str().unwrap(), "--config", config.to_str().unwrap()];
    let mut agent = match &group {
        Some(group) => Running::start_in(group, AGENT, &sensor, "sensor0", &args),
        None => Running::start(AGENT, &sensor, "sensor0", &args),
    };
    agent.await_page("/readyz", |code, _| code == 200);
    let page = agent.await_page("/metrics", |_, page| value(page, "ids_budget_memory_bytes") > 0.0);
    assert_eq!(value(&page, "ids_budget_limit_memory_bytes"), LIMIT as f64);
    let idle = mib(&page);
    let before = value(&page, "ids_budget_tables_ratio");
    assert!(before < 1.0, "whole tables take more");

    let mut flood = Flood::new(dir.path(), VICTIM, 80).start(&attacker, "attack0", MEMORY_FLOOD_PER_SEC, 30);
    let (mut most, mut tables, mut level) = (0.0_f64, 1.0_f64, 0.0_f64);
    while_it_floods(&mut flood, &agent, |page| {
        most = most.max(value(page, "ids_budget_memory_bytes"));
        tables = tables.min(value(page, "ids_budget_tables_ratio"));
        level = level.max(value(page, "ids_budget_level"));
    });
    let relief = Instant::now();
    eprintln!("idle {idle:.1} MiB, most {:.1} MiB, tables down to {tables}, level up to {level}", most / 1_048_576.0);
    assert!(most <= LIMIT as f64, "{} MiB", most / 1_048_576.0);
    agent.await_page("/healthz", |code, _| code == 200);
    agent.await_page("/metrics", |_, page| {
        value(page, "ids_budget_tables_ratio") == before && value(page, "ids_budget_level") == 0.0
    });
    assert!(relief.elapsed() < BACK_WITHIN, "back after {:?}", relief.elapsed());
    let page = agent.get("/metrics").unwrap().1;
    check_conservation(&page);
    assert_eq!(
        value(&page, "ids_flows_started_total"),
        value(&page, "ids_flows_active") + sum(&page, "ids_flows_ended_total")
    );
    agent.signal(Signal::TERM);
    assert_eq!(agent.end().code, Some(0));
}

/// Sends numbered datagrams to an echo and waits for each: what both sides count is known.
fn converse(client: &Namespace, number: u32) {
    client.run(|| {
        let socket = UdpSocket::bind((Ipv4Addr::new(10, 83, 0, 2), 41_000)).unwrap();
        socket.connect((Ipv4Addr::from(VICTIM), 7_007)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut answer = [0; 64];
        for turn in 0..number {
            socket.send(&turn.to_be_bytes()).unwrap();
            assert_eq!(socket.recv(&mut answer).unwrap(), 4);
            thread::sleep(Duration::from_millis(20));
        }
    });
}

const TURNS: u32 = 800;
const SCANS: u8 = 24;
/// From a scan's first packet to its alert, each time.
const ALERTED_WITHIN_SECS: f64 = 2.0;

#[test]
fn a_flood_hides_neither_scans_nor_what_established_flows_carry() {
    if !can_run("detection under a flood", &NEEDS) {
        return;
    }
    let (sensor, attacker) = pair();
    let dir = tempfile::tempdir().unwrap();
    let (alerts, flows) = (dir.path().join("alerts.ndjson"), dir.path().join("flows.ndjson"));
    let config = dir.path().join("config.toml");
    // Lines of the flood's flows must not crowd out the one that is looked at, and their ends are not waited for in full.
    fs::write(&config, format!("{APART}[alert]\nqueue_max = 262144\n[flow]\nidle_timeout_secs = 15\n")).unwrap();
    let args = ["--alerts", alerts.to_str().unwrap(), "--flows", flows.to_str().unwrap()];
    let args = [args.as_slice(), &["--config", config.to_str().unwrap()]].concat();
    let mut agent = Running::start(AGENT, &sensor, "sensor0", &args);
    agent.await_page("/readyz", |code, _| code == 200);
    let page = agent.await_page("/metrics", |_, page| value(page, "ids_budget_memory_bytes") > 0.0);
    let (idle, mut most) = (mib(&page), 0.0_f64);
    // Scanners of their own, each with a few dozen ports of a target of its own: of one target they would be told as one
    // scan by many.
    let scan = |scanner: u8| {
        let frames: Vec<_> = (0..60_u16)
            .map(|port| {
                let segment = Tcp::ports(50_000, 2_000 + port, SYN).wrap(&[]);
                let packet = Ipv4::between([45, 33, 7, scanner], [10, 83, 0, 100 + scanner], frame::TCP).wrap(&segment);
                Timed::new(u64::from(port) * 2 * MS, frame::padded(frame::ethernet(frame::IPV4, &packet)))
            })
            .collect();
        let file = dir.path().join(format!("scan-{scanner}.pcap"));
        capture::write_pcap(&file, capture::ETHERNET, &frames);
        file
    };
    let scans: Vec<_> = (1..=SCANS).map(scan).collect();

    thread::scope(|scope| {
        scope.spawn(|| {
            sensor.run(|| {
                let echo = UdpSocket::bind((Ipv4Addr::from(VICTIM), 7_007)).unwrap();
                echo.set_read_timeout(Some(Duration::from_secs(40))).unwrap();
                let mut bytes = [0; 64];
                for _ in 0..TURNS {
                    let (len, from) = echo.recv_from(&mut bytes).unwrap();
                    echo.send_to(&bytes[..len], from).unwrap();
                }
            });
        });
        let mut flood = Flood::new(dir.path(), VICTIM, 80).start(&attacker, "attack0", FLOOD_PER_SEC, 30);
        scope.spawn(|| converse(&attacker, TURNS));
        // Behind the flood's own beginning.
        thread::sleep(Duration::from_secs(3));
        for scan in &scans {
            let mut sent = attacker.command("tcpreplay");
            let sent = sent.args(["--quiet", "--pps=500", "-i", "attack0"]).arg(scan).output().unwrap();
            assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
            thread::sleep(Duration::from_millis(700));
        }
        while_it_floods(&mut flood, &agent, |page| most = most.max(mib(page)));
    });
    eprintln!("whole tables: idle {idle:.1} MiB, most {most:.1} MiB");
    let page = agent.await_page("/metrics", |_, page| {
        value(page, "ids_packets_seen_total") >= f64::from(FLOOD_PER_SEC) * 30.0
            && value(page, "ids_flows_active") < 50.0
    });
    check_conservation(&page);
    agent.signal(Signal::TERM);
    assert_eq!(agent.end().code, Some(0));

    let lines = fs::read_to_string(&alerts).unwrap();
    let alerts: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(alerts.iter().any(|alert| alert["ids"]["class"] == "flood"), "{lines}");
    let delays = delays(&alerts);
    let blind: Vec<&Value> = alerts.iter().filter(|alert| alert["ids"]["class"] == "visibility").collect();
    assert_eq!(delays.len(), usize::from(SCANS), "scans alerted: {delays:?}; said of visibility: {blind:#?}");
    let mut sorted: Vec<f64> = delays.values().copied().collect();
    sorted.sort_by(f64::total_cmp);
    eprintln!(
        "delay from a scan's first packet to its alert: median {:.2} s, worst {:.2} s",
        sorted[sorted.len() / 2],
        sorted[sorted.len() - 1]
    );

    let flows = fs::read_to_string(&flows).unwrap();
    let theirs: Vec<Value> = flows
        .lines()
        .filter(|line| line.contains("\"dest_port\":7007"))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let packets = |side: &str| theirs.iter().map(|line| line["flow"][side].as_u64().unwrap()).sum::<u64>();
    assert_eq!((packets("pkts_toserver"), packets("pkts_toclient")), (u64::from(TURNS), u64::from(TURNS)));
    assert_eq!(theirs.len(), 1, "an established flow stays one: {theirs:?}");
    assert!(sorted[sorted.len() - 1] < ALERTED_WITHIN_SECS, "{sorted:?}");
}

/// From the first packet of each scan to the time at which its first alert was made.
fn delays(alerts: &[Value]) -> BTreeMap<String, f64> {
    let secs = |value: &Value| {
        let text = value.as_str().unwrap();
        let parts: Vec<f64> = text[11..26].split(':').map(|part| part.parse().unwrap()).collect();
        parts[0] * 3_600.0 + parts[1] * 60.0 + parts[2]
    };
    let mut delays = BTreeMap::new();
    for alert in alerts.iter().filter(|alert| alert["ids"]["class"] == "port_scan") {
        let source = alert["src_ip"].as_str().unwrap().to_owned();
        if source.starts_with("45.33.7.") {
            let delay = (secs(&alert["ids"]["emitted"]) - secs(&alert["ids"]["first_seen"])).rem_euclid(86_400.0);
            delays.entry(source).or_insert(delay);
        }
    }
    delays
}

#[test]
fn a_budget_that_cannot_be_kept_is_refused_with_file_key_and_what_is_possible() {
    if !can_run("refused budgets", &NEEDS) {
        return;
    }
    let space = Namespace::new("refused-budget");
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("config.toml");
    let refused = |text: &str, said: &[&str]| {
        fs::write(&config, text).unwrap();
        let mut command = space.command(AGENT);
        command.args(["run", "--interface", "lo", "--metrics", "off", "--log", "error", "--config"]).arg(&config);
        Ran::of(&command.output().unwrap()).fails(78, said);
        let links = space.ip(&["link", "show", "dev", "lo"]);
        assert!(!String::from_utf8_lossy(&links.stdout).contains("xdp"), "nothing is attached");
    };
    refused("[budget]\ncpu_percent = 0\n", &["config.toml:2", "budget.cpu_percent = 0", "1 to 100"]);
    refused("[budget]\nram_mib = 0\n", &["config.toml:2", "budget.ram_mib = 0"]);
    refused("[budget]\n\nram_mib = 12\n", &["config.toml:3", "budget.ram_mib = 12", "at the least", "kernel maps"]);
    refused("[budget]\nram_mib = 99999999\n", &["config.toml:2", "there are", "are the least"]);
    refused(
        "[budget]\ncpu_of = \"core\"\ncpu_percent = 99900\n",
        &["config.toml:3", "this machine has", "percent of one"],
    );
}

#[test]
fn replay_at_any_level_counts_the_same_packets() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("mixed.pcap");
    let mut scene = Scene::default();
    for number in 0..40_u8 {
        let (client, server) = (end([192, 168, 1, number], 40_000), end([203, 0, 113, number % 5], 80));
        let request = format!("GET /page?id={number} HTTP/1.1\r\nHost: www.example\r\nUser-Agent: a\r\n\r\n");
        // Silences on either side of every level's timeout.
        let pause = Said::Pause(u64::from(number) * 2 * SECOND);
        let said =
            [Said::Client(request.clone().into()), pause, Said::Client(request.into()), Said::Server(vec![65; 3_000])];
        scene.talk(u64::from(number) * SECOND, client, server, 20 * MS, &said);
        scene.probe(
            u64::from(number) * SECOND,
            client,
            end([192, 168, 1, 250], 1_000 + u16::from(number)),
            Answer::Closed,
        );
        scene.lookup(u64::from(number) * SECOND, client, end([192, 168, 1, 1], 53), "www.example", [203, 0, 113, 1]);
    }
    capture::write_pcap(&file, capture::ETHERNET, &scene.into_frames());
    let counted = |level: &str| {
        let args = ["replay", "--json", "--level", level, file.to_str().unwrap()];
        let ran = Ran::of(&program::command(AGENT, &args).output().unwrap());
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let summary: Value = serde_json::from_str(&ran.out).unwrap();
        assert_eq!(summary["packets"]["in_flows"], summary["packets"]["in_ended_flows"]);
        (summary["packets"].clone(), summary["skipped"].clone())
    };
    let full = counted("0");
    assert!(full.0["in_flows"].as_u64().unwrap() > 500, "{full:?}");
    for level in ["1", "2", "3"] {
        assert_eq!(counted(level), full, "level {level}");
    }
    let ran = Ran::of(&program::command(AGENT, &["replay", "--level", "4", "x"]).output().unwrap());
    assert_eq!(ran.code, Some(64), "{ran:?}");
}
