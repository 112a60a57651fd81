//! A Prometheus that scrapes an agent at work: every panel of the dashboard has something to show, every rule can be
//! evaluated, and the end of the agent is noticed. In namespaces of its own.
#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that fails")]

use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use ids_agent::deploy::{self, Monitoring};
use ids_tests::{
    netns::Namespace,
    pair::{self, PEER, Pair, SENSOR},
    probe::{Need, can_run},
    program::{self, Ran},
    promql::Prometheus,
    running::{eventually, value},
};
use rustix::process::Signal;
use serde_json::Value;

const AGENT: &str = env!("CARGO_BIN_EXE_agent");
const RULE: &str = "alert udp any any -> any 53 (msg:\"a question\"; sid:1900901; rev:1;)\n";

struct Place {
    pair: Pair,
}

impl Place {
    fn path(&self, name: &str) -> PathBuf {
        self.pair.path(name)
    }

    /// Everything that has figures of its own: a managed Suricata, a feed, blocking that only says what it would do.
    fn config(&self) -> String {
        self.pair.write("local.rules", RULE);
        self.pair.write("feed.txt", &format!("198.51.100.7\n{PEER}\nlisted.example\n"));
        let text = format!(
            "[site]\nhome_networks = [\"{SENSOR}/32\"]\n[state]\ndir = {:?}\n[evidence]\nkeep = 0\n\
             [alert]\npath = {:?}\nflows_path = {:?}\n[control]\npath = {:?}\n\
             [suricata]\nmanage = true\nrun_dir = {:?}\nrules_dir = {:?}\nlocal_rules = {:?}\n\
             [enforce]\nenabled = true\ndry_run = true\naudit = {:?}\n\
             [[intel.feeds]]\nname = \"listed\"\npath = {:?}\nkind = \"list\"\ncategory = \"malware\"\n",
            self.pair.folder(),
            self.path("alerts.ndjson"),
            self.path("flows.ndjson"),
            self.path("control.sock"),
            self.path("run"),
            self.path("rules"),
            self.path("local.rules"),
            self.path("audit.ndjson"),
            self.path("feed.txt"),
        );
        self.pair.write("config.toml", &text)
    }

    /// A client's pages and questions, and a few ports tried that nobody listens on.
    fn live(&self, round: u16) {
        self.pair.peer.run(|| {
            let socket = UdpSocket::bind((PEER, 0)).unwrap();
            for number in 0..5u16 {
                let mut question = vec![number as u8, round as u8, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
                question.extend(b"\x06listed\x07example\x00\x00\x01\x00\x01");
                // Nobody listens there, and the kernel says so now and then.
                let _ = socket.send_to(&question, (SENSOR, 53));
                page(number);
            }
            for port in 0..60 {
                let to: SocketAddr = format!("{SENSOR}:{}", 2_000 + round % 500 * 60 + port).parse().unwrap();
                // Refused, which is what a scan sees.
                let _ = TcpStream::connect_timeout(&to, Duration::from_secs(2));
            }
        });
    }
}

fn page(number: u16) {
    let to: SocketAddr = format!("{SENSOR}:80").parse().unwrap();
    let Ok(mut stream) = TcpStream::connect_timeout(&to, Duration::from_secs(2)) else { return };
    let _ = write!(stream, "GET /page{number} HTTP/1.1\r\nHost: www.example\r\nConnection: close\r\n\r\n");
    stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    let _ = stream.read_to_end(&mut Vec::new());
}

/// A web server with one page, until it is told to stop.
fn serve(space: &Namespace, stop: &AtomicBool) {
    space.run(|| {
        let listener = TcpListener::bind((SENSOR, 80)).unwrap();
        listener.set_nonblocking(true).unwrap();
        while !stop.load(Ordering::Acquire) {
            let Ok((mut stream, _)) = listener.accept() else {
                thread::sleep(Duration::from_millis(5));
                continue;
            };
            stream.set_nonblocking(false).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
            let mut request = [0; 1_024];
            let _ = stream.read(&mut request);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nwell");
        }
    });
}

/// Every query of the dashboard as Grafana would ask it, by panel and letter.
fn queries(dashboard: &Value, into: &mut BTreeMap<String, String>) {
    for panel in dashboard["panels"].as_array().into_iter().flatten() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let name = format!("{} {}", panel["title"].as_str().unwrap(), target["refId"].as_str().unwrap());
            let text = target["expr"].as_str().unwrap();
            let text = text.replace("$__rate_interval", "20s").replace("$__range", "5m");
            let text = text.replace("$instance", ".*").replace("$interface", ".*");
            assert!(!text.contains('$'), "{text}");
            // Some panels of different rows bear one name.
            into.insert(format!("{name} ({})", panel["id"]), text);
        }
        queries(panel, into);
    }
}

#[test]
fn every_panel_shows_something_and_the_end_of_the_agent_is_noticed() {
    let tools = ["prometheus", "suricata", "suricata-update"].map(Need::Tool);
    if !can_run("Prometheus beside the agent", &[&pair::NEEDS[..], &tools].concat()) {
        return;
    }
    let place = Place { pair: Pair::new("prometheus") };
    let config = place.config();
    let local = place.pair.write("more.rules", "alert udp any any -> any 5353 (msg:\"more\"; sid:1900902; rev:1;)\n");
    let args = ["rules", "update", "--config", &config, "--source", &local];
    let ran = Ran::of(&program::command(AGENT, &args).output().unwrap());
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| serve(&place.pair.sensor, &stop));
        let watched = thread::scope(|inner| inner.spawn(|| watch(&place, &config)).join());
        stop.store(true, Ordering::Release);
        watched.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}

fn watch(place: &Place, config: &str) {
    let mut agent = place.pair.start(AGENT, &["--config", config]);
    agent.await_page("/metrics", |_, page| value(page, "ids_suricata_process_answers") == 1.0);

    let settings = Monitoring { scrape_interval_secs: 1, ..Monitoring::default() };
    let files = deploy::compose(&settings);
    for file in &files {
        let path = place.path(file.path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, &file.text).unwrap();
    }
    let text = fs::read_to_string(place.path("grafana/dashboards/ids-agent.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let mut open = BTreeMap::new();
    queries(&dashboard, &mut open);
    let asked = open.len();
    assert!(asked > 80, "{asked}");
    let prometheus =
        Prometheus::start(&place.pair.sensor, &place.path("prometheus/prometheus.yml"), &place.path("data"));

    // Suricata's statistics come every thirty seconds, and rates want several looks.
    let deadline = Instant::now() + Duration::from_secs(240);
    let mut round = 0;
    while !open.is_empty() {
        place.live(round);
        round += 1;
        let mut said = BTreeMap::new();
        open.retain(|name, query| match prometheus.ask(query) {
            // A witness that has not judged yet has no time it took.
            Ok(values) if values.iter().any(|value| value.is_finite()) => false,
            answer => {
                said.insert(name.clone(), format!("{answer:?} to {query}"));
                true
            }
        });
        assert!(Instant::now() < deadline, "{} of {asked} have nothing to show: {said:#?}", open.len());
        thread::sleep(Duration::from_millis(500));
    }
    println!("{asked} queries of the dashboard answered");

    check_variables(&prometheus, &dashboard);
    check_rules(&prometheus);

    agent.signal(Signal::TERM);
    assert_eq!(agent.end().code, Some(0));
    let pending = "ALERTS{alertname=\"IdsAgentDown\",instance=\"127.0.0.1:9469\"}";
    await_answer(&prometheus, pending, |values| values == [1.0]);
}

/// What a variable offers is there: its query is `label_values(SELECTOR, LABEL)`.
fn check_variables(prometheus: &Prometheus<'_>, dashboard: &Value) {
    let mut checked = 0;
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        let Some(text) = variable["query"].as_str().unwrap().strip_prefix("label_values(") else { continue };
        let (selector, label) = text.strip_suffix(')').unwrap().rsplit_once(", ").unwrap();
        let query = format!("count(count by ({label}) ({}))", selector.replace("$instance", ".*"));
        assert_eq!(prometheus.ask(&query), Ok(vec![1.0]), "{text}");
        checked += 1;
    }
    assert_eq!(checked, 2);
}

/// Every rule is evaluated, and nothing that should be quiet is not.
fn check_rules(prometheus: &Prometheus<'_>) {
    let answer = prometheus.get("/api/v1/rules").unwrap();
    let groups = answer["data"]["groups"].as_array().unwrap();
    let rules: Vec<&Value> = groups.iter().flat_map(|group| group["rules"].as_array().unwrap()).collect();
    assert_eq!(rules.len(), deploy::alerts().len() + deploy::recorded().len());
    for rule in rules {
        assert_eq!(rule["health"], "ok", "{rule}");
    }
    // The agent is well: what attacks bring aside, nothing fires.
    let quiet =
        ["IdsAgentDown", "IdsAgentMissing", "IdsInterfaceBlind", "IdsNoPackets", "IdsSinkDropping", "IdsSuricataDown"];
    let query = format!("ALERTS{{alertstate=\"firing\",alertname=~\"{}\"}}", quiet.join("|"));
    assert_eq!(prometheus.ask(&query), Ok(Vec::new()));
    await_answer(prometheus, "sum(ids_alerts_total{class=\"port_scan\"}) > 0", |values| !values.is_empty());
}

#[track_caller]
fn await_answer(prometheus: &Prometheus<'_>, query: &str, wanted: impl Fn(&[f64]) -> bool) {
    eventually(query, || prometheus.ask(query).is_ok_and(|values| wanted(&values)));
}
