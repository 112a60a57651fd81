//! What watches the agent, as files: they are those that are generated, the programs that read them take them, and every
//! alert comes when it should and stays away when it should.
#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that fails")]

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use ids_agent::{
    deploy::{self, AlertRule, GeneratedFile, Monitoring},
    http::family::{self, Family, label},
};
use ids_tests::{
    probe::{Need, can_run},
    program::{self, Ran},
};
use serde_json::{Value, json};

const AGENT: &str = env!("CARGO_BIN_EXE_agent");

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Compares with what is in the project; `UPDATE=1` writes it anew.
#[track_caller]
fn is_in_the_project(path: &Path, wanted: &str) {
    if env::var_os("UPDATE").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, wanted).unwrap();
    }
    let found = fs::read_to_string(path).unwrap_or_default();
    assert!(found == wanted, "{} is stale: run this test with UPDATE=1", path.display());
}

#[test]
fn the_files_of_the_project_are_those_that_are_generated() {
    let files = deploy::compose(&Monitoring::default());
    let folder = root().join("deploy");
    for file in &files {
        is_in_the_project(&folder.join(file.path), &file.text);
    }
    let mut there = BTreeSet::new();
    walk(&folder, &mut there);
    let generated: BTreeSet<PathBuf> = files.iter().map(|file| folder.join(file.path)).collect();
    // Made by whoever starts the containers, and no part of the project.
    there.remove(&folder.join("grafana_admin_password"));
    // Written by hand: what makes a Debian package.
    there.retain(|path| !path.starts_with(folder.join("debian")));
    assert_eq!(there, generated, "nothing else lies there");
}

fn walk(folder: &Path, into: &mut BTreeSet<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, into);
        } else {
            into.insert(path);
        }
    }
}

#[test]
fn the_page_on_monitoring_has_every_panel_and_alert() {
    let path = root().join("docs/monitoring.md");
    let page = fs::read_to_string(&path).unwrap();
    let mut wanted = page.clone();
    for (name, part) in [("panels", deploy::panels_page()), ("alerts", deploy::runbook_page())] {
        let (begin, end) = (format!("<!-- {name}: generated -->\n"), format!("<!-- {name}: end -->\n"));
        let (before, rest) = wanted.split_once(&begin).unwrap();
        let (_, after) = rest.split_once(&end).unwrap();
        wanted = format!("{before}{begin}\n{part}\n{end}{after}");
    }
    is_in_the_project(&path, &wanted);
}

fn written(files: &[GeneratedFile]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for file in files {
        let path = dir.path().join(file.path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, &file.text).unwrap();
    }
    dir
}

/// Every setting another than by default, with what could upset a file.
fn unusual() -> Monitoring {
    Monitoring {
        targets: vec!["[2001:db8::1]:9469".to_owned(), "gateway.example.org:9469".to_owned()],
        scrape_interval_secs: 5,
        alertmanager: "[::1]:9093".to_owned(),
        prometheus_url: "https://prometheus.example.org/p?a=b&c=%20d#e".to_owned(),
        docs_url: Some("https://docs.example.org/ids/".to_owned()),
    }
}

fn says_yes(program: &str, args: &[&Path]) {
    let ran = Ran::of(&Command::new(program).args(args).output().unwrap());
    assert_eq!(ran.code, Some(0), "{ran:?}");
}

#[test]
fn prometheus_takes_its_configuration_and_rules() {
    if !can_run("the check of Prometheus's files", &[Need::Tool("promtool")]) {
        return;
    }
    for settings in [Monitoring::default(), unusual()] {
        let dir = written(&deploy::compose(&settings));
        let [check, config, rules] = ["check", "config", "rules"].map(Path::new);
        says_yes("promtool", &[check, config, &dir.path().join("prometheus/prometheus.yml")]);
        let lint = Path::new("--lint-fatal");
        says_yes("promtool", &[check, rules, lint, &dir.path().join("prometheus/rules/ids-agent.yml")]);
    }
}

#[test]
fn alertmanager_takes_its_configuration() {
    if !can_run("the check of Alertmanager's file", &[Need::Tool("amtool")]) {
        return;
    }
    let dir = written(&deploy::compose(&Monitoring::default()));
    says_yes("amtool", &[Path::new("check-config"), &dir.path().join("alertmanager/alertmanager.yml")]);
}

/// What Alertmanager keeps by default (`--data.retention`); it tells again what it has forgotten.
const REMEMBERED_HOURS: u64 = 120;

#[test]
fn what_was_told_is_told_again_before_alertmanager_forgets_it() {
    let files = deploy::compose(&Monitoring::default());
    let text = &files.iter().find(|file| file.path == "alertmanager/alertmanager.yml").unwrap().text;
    let route = &yaml(text)["route"];
    let routes = route["routes"].as_array().unwrap().iter().chain([route]);
    let hours: Vec<u64> = routes
        .map(|route| {
            let told = route["repeat_interval"].as_str().unwrap();
            let (number, hours) = told.strip_suffix('d').map_or((told.trim_end_matches('h'), 1), |days| (days, 24));
            number.parse::<u64>().unwrap() * hours
        })
        .collect();
    assert_eq!(hours.len(), 3, "{route}");
    assert!(hours.iter().all(|hours| *hours <= REMEMBERED_HOURS), "{hours:?}");
}

#[test]
fn the_program_writes_these_files_and_refuses_what_is_no_target() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("a/b");
    let generate = |what: &str, more: &[&str]| {
        let args = [&["generate", what, "--out", out.to_str().unwrap()], more].concat();
        Ran::of(&program::command(AGENT, &args).output().unwrap())
    };
    let settings = unusual();
    let interval = settings.scrape_interval_secs.to_string();
    let docs = settings.docs_url.as_deref().unwrap();
    let mut more = vec!["--scrape-interval-secs", &interval, "--docs-url", docs];
    more.extend(["--alertmanager", &settings.alertmanager, "--prometheus-url", &settings.prometheus_url]);
    more.extend(settings.targets.iter().flat_map(|target| ["--target", target]));
    let ran = generate("compose", &more);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    for file in deploy::compose(&settings) {
        assert_eq!(fs::read_to_string(out.join(file.path)).unwrap(), file.text, "{}", file.path);
    }
    // Without a target it is the agent of the configuration.
    let config = dir.path().join("config.toml");
    fs::write(&config, "[metrics]\nlisten = \"127.0.0.1:9999\"\n").unwrap();
    let ran = generate("prometheus", &["--config", config.to_str().unwrap()]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let text = fs::read_to_string(out.join("prometheus/prometheus.yml")).unwrap();
    assert_eq!(yaml(&text)["scrape_configs"][0]["static_configs"][0]["targets"], json!(["127.0.0.1:9999"]));

    let ran = generate("prometheus", &["--target", "http://gateway:9469/metrics"]);
    assert!(ran.code == Some(64) && ran.err.contains("HOST:PORT"), "{ran:?}");
    let ran = generate("grafana", &["--prometheus-url", "gateway"]);
    assert!(ran.code == Some(64) && ran.err.contains("http://"), "{ran:?}");
    fs::write(dir.path().join("file"), "").unwrap();
    let taken = dir.path().join("file");
    let ran =
        Ran::of(&program::command(AGENT, &["generate", "grafana", "--out", taken.to_str().unwrap()]).output().unwrap());
    ran.fails(1, &["cannot write", taken.to_str().unwrap()]);
}

fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap()
}

#[test]
fn settings_stand_where_they_belong_and_containers_find_their_files() {
    let settings = unusual();
    let files = deploy::compose(&settings);
    let text = |path: &str| files.iter().find(|file| file.path == path).unwrap().text.as_str();
    let prometheus = yaml(text("prometheus/prometheus.yml"));
    assert_eq!(prometheus["scrape_configs"][0]["static_configs"][0]["targets"], json!(settings.targets));
    assert_eq!(prometheus["scrape_configs"][0]["job_name"], deploy::JOB);
    assert_eq!(prometheus["global"]["scrape_interval"], "5s");
    assert_eq!(prometheus["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"][0], settings.alertmanager);
    let source = yaml(text("grafana/provisioning/datasources/prometheus.yml"));
    assert_eq!(source["datasources"][0]["url"], settings.prometheus_url);
    let rules = yaml(text("prometheus/rules/ids-agent.yml"));
    assert_eq!(
        rules["groups"][1]["rules"][0]["annotations"]["runbook_url"],
        "https://docs.example.org/ids/monitoring.md#idsagentdown"
    );

    let compose = yaml(text("compose.yaml"));
    let services = compose["services"].as_object().unwrap();
    assert_eq!(services.len(), 3);
    for (name, service) in services {
        let (_, version) = service["image"].as_str().unwrap().rsplit_once(':').unwrap();
        assert!(version.contains('.') && version != "latest", "{name}");
        assert_eq!((&service["read_only"], &service["cap_drop"][0]), (&json!(true), &json!("ALL")), "{name}");
        for volume in service["volumes"].as_array().unwrap() {
            let (from, _) = volume.as_str().unwrap().split_once(':').unwrap();
            let there = match from.strip_prefix("./") {
                Some(folder) => files.iter().any(|file| file.path.starts_with(&format!("{folder}/"))),
                None => compose["volumes"].get(from).is_some(),
            };
            assert!(there, "{name} finds no {from}");
        }
    }
    // Nothing here listens to the network.
    for flag in ["prometheus", "alertmanager"] {
        let arguments = services[flag]["command"].as_array().unwrap();
        assert!(arguments.iter().any(|flag| flag.as_str().unwrap().starts_with("--web.listen-address=127.0.0.1:")));
    }
    assert_eq!(services["grafana"]["environment"]["GF_SERVER_HTTP_ADDR"], "127.0.0.1");
}

/// Reads the dashboard by Grafana's own types and writes it again: what they do not know gets lost on the way.
const GRAFANA: &str = r#"
import json, sys
from grafana_foundation_sdk.cog import encoder, plugins
from grafana_foundation_sdk.models import dashboard
plugins.register_default_plugins()
wrote = json.load(open(sys.argv[1]))
read = json.loads(encoder.JSONEncoder().encode(dashboard.Dashboard.from_json(wrote)))
def compare(wrote, read, at):
    if isinstance(wrote, dict) and isinstance(read, dict):
        for key, value in wrote.items():
            if key in read:
                compare(value, read[key], at + "." + key)
            else:
                print("unknown", at + "." + key)
    elif isinstance(wrote, list) and isinstance(read, list) and len(wrote) == len(read):
        for a, b in zip(wrote, read):
            compare(a, b, at)
    elif wrote != read:
        print("another value", at, wrote, read)
compare(wrote, read, "")
"#;

#[test]
fn grafana_knows_every_part_of_the_dashboard() {
    let Some(types) = env::var_os("IDS_GRAFANA_TYPES") else {
        return eprintln!("skipped: IDS_GRAFANA_TYPES names no folder with Grafana's types");
    };
    for settings in [Monitoring::default(), unusual()] {
        let dir = written(&deploy::grafana(&settings));
        let file = dir.path().join("grafana/dashboards/ids-agent.json");
        let mut command = Command::new("python3");
        command.args(["-c", GRAFANA]).arg(file).env("PYTHONPATH", &types);
        let ran = Ran::of(&command.output().unwrap());
        assert_eq!(ran.code, Some(0), "{ran:?}");
        // Grafana's source of Prometheus reads this of annotations; its types leave it out.
        let unknown: BTreeSet<&str> =
            ran.out.lines().filter(|line| *line != "unknown .annotations.list.titleFormat").collect();
        assert_eq!(unknown, BTreeSet::new());
    }
}

/// A series of an agent, as promtool writes one, and its values minute by minute.
fn series(name: &str, labels: &[(&str, &str)], values: &str) -> (String, String) {
    let labels = [("job", deploy::JOB), ("instance", "a:1")].into_iter().chain(labels.iter().copied());
    let labels: Vec<String> = labels.map(|(label, value)| format!("{label}=\"{value}\"")).collect();
    (format!("{name}{{{}}}", labels.join(",")), values.to_owned())
}

fn of(family: Family, labels: &[(&str, &str)], values: &str) -> (String, String) {
    let known: BTreeSet<&str> = family.labels.iter().copied().collect();
    assert!(labels.iter().all(|(label, _)| known.contains(label)), "{family:?}");
    series(family.name, labels, values)
}

/// What an alert sees, and whether it comes.
struct Trial {
    alert: &'static str,
    input: Vec<(String, String)>,
    /// So long after the beginning.
    at_mins: u32,
    fires: bool,
}

fn fires(alert: &'static str, at_mins: u32, input: Vec<(String, String)>) -> Trial {
    Trial { alert, input, at_mins, fires: true }
}

fn silent(alert: &'static str, at_mins: u32, input: Vec<(String, String)>) -> Trial {
    Trial { alert, input, at_mins, fires: false }
}

const DAY_MINS: u32 = 1_440;

fn trials() -> Vec<Trial> {
    let start = "process_start_time_seconds";
    let step = |le: &str, values: &str| series("ids_engine_step_seconds_bucket", &[("le", le)], values);
    assert_eq!(family::ENGINE_STEP_SECONDS.name, "ids_engine_step_seconds");
    let anomaly = [(label::WITNESS, "anomaly")];
    let feed = [(label::FEED, "feodo")];
    let alerts = |class, severity| [(label::CLASS, class), (label::SEVERITY, severity)];
    let packets = |fate, values: &str| of(family::SURICATA_PACKETS, &[(label::FATE, fate)], values);
    let place = [(label::INTERFACE, "eth0"), (label::MODE, "native"), (label::DIRECTION, "ingress")];
    let sink = [(label::SINK, "alerts"), (label::REASON, "queue_full")];
    vec![
        fires("IdsAgentDown", 3, vec![series("up", &[], "1 0x20")]),
        silent("IdsAgentDown", 10, vec![series("up", &[], "1x20")]),
        fires("IdsAgentMissing", 10, vec![("up{job=\"other\"}".to_owned(), "1x20".to_owned())]),
        silent("IdsAgentMissing", 10, vec![series("up", &[], "0x20")]),
        fires("IdsAgentRestarts", 20, vec![series(start, &[], "100x4 400x4 700x4 1000x20")]),
        silent("IdsAgentRestarts", 20, vec![series(start, &[], "100x4 400x4 700x30")]),
        fires("IdsNoPackets", 25, vec![of(family::PACKETS_SEEN, &[], "7x40")]),
        silent("IdsNoPackets", 25, vec![of(family::PACKETS_SEEN, &[], "0+1x40")]),
        fires("IdsInterfaceBlind", 5, vec![of(family::ATTACHED, &place, "1 0x20")]),
        silent("IdsInterfaceBlind", 5, vec![of(family::ATTACHED, &place, "1x20")]),
        fires("IdsPacketsLost", 12, vec![of(family::SLOTS_LOST_PACKETS, &[], "0x8 50x20")]),
        silent("IdsPacketsLost", 12, vec![of(family::SLOTS_LOST_PACKETS, &[], "50x30")]),
        fires(
            "IdsSamplesLost",
            25,
            vec![of(family::SAMPLES_LOST, &[], "0+200x40"), of(family::SAMPLES_SENT, &[], "0+9800x40")],
        ),
        silent(
            "IdsSamplesLost",
            25,
            vec![of(family::SAMPLES_LOST, &[], "0+5x40"), of(family::SAMPLES_SENT, &[], "0+9995x40")],
        ),
        fires("IdsCaptureGap", 12, vec![of(family::CAPTURE_GAP_PACKETS, &[], "0x8 40x20")]),
        silent("IdsCaptureGap", 12, vec![of(family::CAPTURE_GAP_PACKETS, &[], "40x30")]),
        fires("IdsLevelHigh", 25, vec![of(family::BUDGET_LEVEL, &[], "0 2x40")]),
        // It came back in time.
        silent("IdsLevelHigh", 25, vec![of(family::BUDGET_LEVEL, &[], "0 2x10 0x30")]),
        fires("IdsDetectorBlind", 10, vec![of(family::COVERAGE, &[(label::DETECTOR, "payload")], "1 0x20")]),
        silent("IdsDetectorBlind", 10, vec![of(family::COVERAGE, &[(label::DETECTOR, "payload")], "0.9x20")]),
        fires("IdsVisibilityDegraded", 10, vec![of(family::VISIBILITY_DEGRADED, &[(label::CAUSE, "level")], "0 1x20")]),
        silent("IdsVisibilityDegraded", 10, vec![of(family::VISIBILITY_DEGRADED, &[(label::CAUSE, "level")], "0x20")]),
        fires("IdsEngineBehind", 15, vec![of(family::ENGINE_QUEUE_FULL, &[], "0+1x40")]),
        silent("IdsEngineBehind", 15, vec![of(family::ENGINE_QUEUE_FULL, &[], "9x40")]),
        fires("IdsVerdictsSlow", 25, vec![step("0.5", "0+90x40"), step("2.5", "0+120x40"), step("+Inf", "0+120x40")]),
        silent("IdsVerdictsSlow", 25, vec![step("0.1", "0+120x40"), step("0.5", "0+120x40"), step("+Inf", "0+120x40")]),
        fires("IdsDetectorFails", 8, vec![of(family::INFERENCE_FAILED, &anomaly, "0x4 3x20")]),
        silent("IdsDetectorFails", 8, vec![of(family::INFERENCE_FAILED, &anomaly, "3x30")]),
        fires("IdsStateNotKept", 20, vec![of(family::STATE_LOST, &[(label::REASON, "write_failed")], "0x9 1x30")]),
        silent("IdsStateNotKept", 20, vec![of(family::STATE_LOST, &[(label::REASON, "write_failed")], "1x40")]),
        fires(
            "IdsFeedStale",
            3 * DAY_MINS + 90,
            vec![of(family::INTEL_FEED_MODIFIED_TIMESTAMP_SECONDS, &feed, "0x6000")],
        ),
        // Fetched again and again.
        silent(
            "IdsFeedStale",
            3 * DAY_MINS + 90,
            vec![of(family::INTEL_FEED_MODIFIED_TIMESTAMP_SECONDS, &feed, "0+60x6000")],
        ),
        fires(
            "IdsFeedRefused",
            12,
            vec![of(family::INTEL_REFUSALS, &feed, "0x8 1x20"), of(family::INTEL_LOADS, &feed, "1x30")],
        ),
        // Never taken since the start.
        fires(
            "IdsFeedRefused",
            12,
            vec![of(family::INTEL_REFUSALS, &feed, "1x30"), of(family::INTEL_LOADS, &feed, "0x30")],
        ),
        silent(
            "IdsFeedRefused",
            12,
            vec![of(family::INTEL_REFUSALS, &feed, "1x30"), of(family::INTEL_LOADS, &feed, "2x30")],
        ),
        fires("IdsSuricataDown", 10, vec![of(family::SURICATA_UP, &[], "1 0x20")]),
        silent("IdsSuricataDown", 10, vec![of(family::SURICATA_UP, &[], "1x20")]),
        fires("IdsSuricataMute", 10, vec![of(family::SURICATA_PROCESS_ANSWERS, &[], "1 0x20")]),
        silent("IdsSuricataMute", 10, vec![of(family::SURICATA_PROCESS_ANSWERS, &[], "0 0 1x20")]),
        fires("IdsSuricataDrops", 25, vec![packets("dropped", "0+50x40"), packets("seen", "0+1000x40")]),
        silent("IdsSuricataDrops", 25, vec![packets("dropped", "0+1x40"), packets("seen", "0+1000x40")]),
        fires("IdsEveUnreadable", 5, vec![of(family::EVE_READABLE, &[], "1 0x20")]),
        silent("IdsEveUnreadable", 5, vec![of(family::EVE_READABLE, &[], "1x20")]),
        fires("IdsEveLag", 10, vec![of(family::EVE_LAG_SECONDS, &[], "45x20"), of(family::SURICATA_UP, &[], "1x20")]),
        fires("IdsEveLag", 10, vec![of(family::EVE_BEHIND_BYTES, &[], "20000000x20")]),
        // A Suricata that is gone is another alert's business.
        silent("IdsEveLag", 10, vec![of(family::EVE_LAG_SECONDS, &[], "900x20"), of(family::SURICATA_UP, &[], "0x20")]),
        silent(
            "IdsEveLag",
            10,
            vec![
                of(family::EVE_LAG_SECONDS, &[], "8x20"),
                of(family::SURICATA_UP, &[], "1x20"),
                of(family::EVE_BEHIND_BYTES, &[], "4000x20"),
            ],
        ),
        fires(
            "IdsRulesOld",
            7 * DAY_MINS + 90,
            vec![of(family::SURICATA_RULES_CHECKED_TIMESTAMP_SECONDS, &[], "1x12000")],
        ),
        // Nobody ever fetched any: there is nothing that could be old.
        silent(
            "IdsRulesOld",
            7 * DAY_MINS + 90,
            vec![of(family::SURICATA_RULES_CHECKED_TIMESTAMP_SECONDS, &[], "0x12000")],
        ),
        fires(
            "IdsRulesRefused",
            12,
            vec![of(family::SURICATA_RULE_UPDATES, &[(label::RESULT, "refused")], "0x8 1x20")],
        ),
        silent("IdsRulesRefused", 12, vec![of(family::SURICATA_RULE_UPDATES, &[(label::RESULT, "same")], "0+1x30")]),
        fires("IdsSinkDropping", 8, vec![of(family::SINK_LINES_DROPPED, &sink, "0x5 4x20")]),
        silent("IdsSinkDropping", 8, vec![of(family::SINK_LINES_DROPPED, &sink, "4x30")]),
        fires("IdsAttack", 8, vec![of(family::ALERTS, &alerts("c2", "high"), "0x5 1x20")]),
        silent("IdsAttack", 8, vec![of(family::ALERTS, &alerts("c2", "medium"), "0x5 9x20")]),
        fires("IdsManyAlerts", 30, vec![of(family::ALERTS, &alerts("anomaly", "low"), "0+5x40")]),
        silent("IdsManyAlerts", 30, vec![of(family::ALERTS, &alerts("anomaly", "low"), "0+1x40")]),
    ]
}

/// One test of promtool: whether the alert is firing then, and whether it still waited before.
fn tested(trial: &Trial, alert: &AlertRule) -> Value {
    let input: Vec<Value> =
        trial.input.iter().map(|(series, values)| json!({ "series": series, "values": values })).collect();
    let firing =
        format!("count by (alertname, severity) (ALERTS{{alertname=\"{}\",alertstate=\"firing\"}})", alert.name);
    let one = json!({
        "labels": format!("{{alertname=\"{}\",severity=\"{}\"}}", alert.name, alert.urgency.label()),
        "value": 1,
    });
    let samples = if trial.fires { vec![one] } else { Vec::new() };
    let mut wanted =
        vec![json!({ "expr": firing, "eval_time": format!("{}m", trial.at_mins), "exp_samples": samples })];
    if trial.fires && alert.holds != "0m" {
        // Too early, whatever the series say: it must have held for so long.
        let early = format!("{}s", duration_secs(alert.holds) - 15);
        wanted.push(json!({ "expr": firing, "eval_time": early, "exp_samples": [] }));
    }
    json!({ "interval": "1m", "input_series": input, "promql_expr_test": wanted })
}

fn duration_secs(text: &str) -> u32 {
    let (number, unit) = text.split_at(text.len() - 1);
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        _ => panic!("{text}"),
    };
    number.parse::<u32>().unwrap() * seconds
}

#[test]
fn every_alert_comes_when_it_should_and_only_then() {
    if !can_run("the test of the alerts", &[Need::Tool("promtool")]) {
        return;
    }
    let (alerts, trials) = (deploy::alerts(), trials());
    for alert in &alerts {
        for fires in [true, false] {
            let tried = trials.iter().any(|trial| trial.alert == alert.name && trial.fires == fires);
            assert!(
                tried,
                "{} is not tried where it is {}",
                alert.name,
                if fires { "to fire" } else { "to be silent" }
            );
        }
    }
    let dir = written(&deploy::prometheus(&Monitoring::default()));
    let rules = dir.path().join("prometheus/rules/ids-agent.yml");
    // Days are gone through in larger steps.
    for (name, slow, every) in [("fast", false, "15s"), ("slow", true, "4m")] {
        let chosen = trials.iter().filter(|trial| (trial.at_mins >= DAY_MINS) == slow);
        let tests: Vec<Value> = chosen
            .map(|trial| {
                let alert = alerts.iter().find(|alert| alert.name == trial.alert);
                tested(trial, alert.unwrap_or_else(|| panic!("there is no alert {}", trial.alert)))
            })
            .collect();
        assert!(!tests.is_empty());
        let file = dir.path().join(format!("{name}.yml"));
        // JSON is YAML.
        let text = json!({ "rule_files": [rules], "evaluation_interval": every, "tests": tests });
        fs::write(&file, text.to_string()).unwrap();
        says_yes("promtool", &[Path::new("test"), Path::new("rules"), &file]);
    }
}
