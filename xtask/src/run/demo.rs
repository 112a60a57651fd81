//! `run --lab`: a gateway, a client, a server and an attacker in network namespaces, and the agent on the gateway. Real
//! traffic, a real scan, and a verdict on what the agent said. Leaves nothing behind.

mod agent;
mod network;
mod traffic;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use serde_json::json;

use self::{
    agent::{Agent, Alert, Follow},
    network::{ATTACKER, CLIENT, Network, SERVER},
    traffic::{Client, Scan, Servers},
};
use crate::{metrics::Metrics, netns, process::Interrupt};

/// Benign traffic alone at first: nothing may be raised before something happened.
const QUIET: Duration = Duration::from_secs(12);
const TICK: Duration = Duration::from_millis(100);
const SETTLE: Duration = Duration::from_secs(2);
/// More than this share of failed requests means that the lab, or the agent, holds up traffic.
const FAILED_SHARE_MAX: f64 = 0.02;

/// What a shell reports of a program that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

pub(crate) struct Options {
    /// How long the traffic runs.
    pub(crate) seconds: u64,
    /// Goes on until Ctrl-C, and gives the verdict then.
    pub(crate) keep: bool,
    /// The verdict as JSON on standard output; the rest goes to standard error.
    pub(crate) json: bool,
    /// The agent runs Suricata beside itself.
    pub(crate) suricata: bool,
    pub(crate) binary: PathBuf,
    pub(crate) models: PathBuf,
    /// Where alerts, flows, metrics and the log are kept after the lab.
    pub(crate) results: PathBuf,
}

/// Runs the lab once. Everything it made is taken down on every way out, Ctrl-C included.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let interrupt = Interrupt::catch()?;
    let say = Say::new(options.json);
    for name in netns::remove_stale()? {
        say.line(&format!("lab: removed {name}, left by a lab that was ended by force"));
    }
    let results = &options.results;
    if results.exists() {
        fs::remove_dir_all(results).with_context(|| format!("`{}` cannot be emptied", results.display()))?;
    }
    fs::create_dir_all(results).with_context(|| format!("`{}` cannot be made", results.display()))?;
    // Keys and pages of the servers; the results stay, these go.
    let scratch = Scratch::make(results.join("scratch"))?;

    let network = Network::raise()?;
    let servers = Servers::start(&network, &scratch.0, &interrupt)?;
    let agent = Agent::start(&network, options, &interrupt)?;
    say.drawing(&agent);
    let outcome = observe(options, &network, agent, &scratch.0, &interrupt, &say);
    drop(servers);
    drop(network);
    if outcome.is_err() && interrupt.asked() {
        say.line("lab: interrupted; everything is taken down");
        return Ok(ExitCode::from(INTERRUPTED));
    }
    outcome
}

fn observe(
    options: &Options,
    network: &Network,
    mut agent: Agent,
    scratch: &Path,
    interrupt: &Interrupt,
    say: &Say,
) -> Result<ExitCode> {
    let started = Instant::now();
    let mut client = Client::start(network)?;
    let mut follow = Follow::new(agent::alerts_file(&options.results));
    let mut scan: Option<Scan> = None;
    let mut scan_started: Option<Instant> = None;
    let mut found: Option<String> = None;
    let mut first_alert: Option<Duration> = None;
    let mut alerts: Vec<Alert> = Vec::new();

    let until = started + Duration::from_secs(options.seconds);
    let mut kept = false;
    loop {
        let over = Instant::now() >= until;
        if over && (!options.keep || interrupt.asked()) {
            break;
        }
        if over && !kept {
            kept = true;
            say.kept(network, options);
        }
        if !over {
            interrupt.check()?;
        }
        agent.check()?;
        client.tick(network, Instant::now())?;
        if scan_started.is_none() && started.elapsed() >= QUIET {
            say.event(started, &format!("attacker {} starts `{} {}`", ATTACKER[0], Scan::LINE, SERVER[0]));
            scan = Some(Scan::start(network, scratch)?);
            scan_started = Some(Instant::now());
        }
        if let Some((ports, took)) = scan.as_mut().map(Scan::done).transpose()?.flatten() {
            say.event(started, &format!("scan over after {:.1} s: {ports}", took.as_secs_f32()));
            found = Some(ports);
            scan = None;
        }
        read_alerts(&mut follow, &mut alerts, started, say)?;
        if first_alert.is_none() && alerts.iter().any(|alert| alert.is_from(ATTACKER)) {
            first_alert = scan_started.map(|at| at.elapsed());
        }
        thread::sleep(TICK);
    }
    let (requests, failed) = client.stop();
    // The agent reads the kernel's counters once a tick; without traffic they stand still.
    thread::sleep(SETTLE);
    let metrics = agent::metrics(network)?;
    fs::write(options.results.join("metrics.prom"), &metrics.text).context("the metrics cannot be written")?;
    let stopped = agent.stop()?;
    read_alerts(&mut follow, &mut alerts, started, say)?;

    let verdict = Verdict {
        scan_done: found.is_some(),
        scan_alerts: count(&alerts, |alert| alert.is_from(ATTACKER) && alert.class() == "port_scan"),
        attacker_alerts: count(&alerts, |alert| alert.is_from(ATTACKER)),
        client_alerts: count(&alerts, |alert| alert.is_from(CLIENT)),
        other_alerts: count(&alerts, |alert| !alert.is_notice() && !alert.is_from(CLIENT) && !alert.is_from(ATTACKER)),
        notices: count(&alerts, Alert::is_notice),
        requests,
        failed,
        conservation: Conservation::read(&metrics),
        mode_native: metrics.sum("ids_attached", &[("mode", "native")]).is_some_and(|value| value >= 1.0),
        first_alert,
        stopped,
        suricata: options.suricata.then(|| BesideIt::read(&metrics)),
        example: alerts.iter().find(|alert| !alert.is_notice()).map(|alert| alert.id().to_owned()),
    };
    verdict.show(options, &metrics, say);
    Ok(if verdict.passes() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn read_alerts(follow: &mut Follow, alerts: &mut Vec<Alert>, started: Instant, say: &Say) -> Result<()> {
    for line in follow.new_lines()? {
        let alert = Alert::parse(&line)?;
        say.alert(started, &alert);
        alerts.push(alert);
    }
    Ok(())
}

fn count(alerts: &[Alert], wanted: impl Fn(&Alert) -> bool) -> usize {
    alerts.iter().filter(|alert| wanted(alert)).count()
}

/// Seen = in flows + skipped, where a super-packet counts as its segments.
struct Conservation {
    seen: f64,
    in_flows: f64,
    skipped: f64,
}

impl Conservation {
    fn read(metrics: &Metrics) -> Self {
        Self {
            seen: metrics.sum("ids_packets_seen_total", &[]).unwrap_or_default()
                + metrics.sum("ids_segments_unfolded_total", &[]).unwrap_or_default(),
            in_flows: metrics.sum("ids_packets_in_flows_total", &[]).unwrap_or_default(),
            skipped: metrics.sum("ids_packets_skipped_total", &[]).unwrap_or_default()
                + metrics.sum("ids_table_missing_total", &[]).unwrap_or_default(),
        }
    }

    fn holds(&self) -> bool {
        self.seen > 0.0 && self.seen == self.in_flows + self.skipped
    }
}

struct Verdict {
    scan_done: bool,
    scan_alerts: usize,
    attacker_alerts: usize,
    client_alerts: usize,
    other_alerts: usize,
    /// What the agent said of itself: that it sees less for a while, on a machine that is slow or busy.
    notices: usize,
    requests: u32,
    failed: u32,
    conservation: Conservation,
    mode_native: bool,
    first_alert: Option<Duration>,
    stopped: Duration,
    suricata: Option<BesideIt>,
    /// An alert to have explained.
    example: Option<String>,
}

/// What became of the Suricata that the agent ran.
struct BesideIt {
    answers: bool,
    starts: f64,
    rules: f64,
    cpu_secs: f64,
    resident_bytes: f64,
}

impl BesideIt {
    fn read(metrics: &Metrics) -> Self {
        let sum = |name: &str, labels: &[(&str, &str)]| metrics.sum(name, labels).unwrap_or_default();
        Self {
            answers: sum("ids_suricata_process_answers", &[]) == 1.0,
            starts: sum("ids_suricata_process_starts_total", &[]),
            rules: sum("ids_suricata_rules_in_force", &[("state", "loaded")]),
            cpu_secs: sum("ids_suricata_process_cpu_seconds_total", &[]),
            resident_bytes: sum("ids_suricata_process_resident_memory_bytes", &[]),
        }
    }
}

impl Verdict {
    fn checks(&self) -> Vec<(&'static str, bool)> {
        let beside = self.suricata.as_ref().map(|it| ("Suricata ran from end to end", it.answers && it.starts == 1.0));
        let mut checks = vec![
            ("scan found and attacker named", self.scan_done && self.scan_alerts > 0),
            ("benign client raised nothing", self.client_alerts == 0),
            ("nobody else raised anything", self.other_alerts == 0),
            ("traffic was never held up", f64::from(self.failed) <= f64::from(self.requests) * FAILED_SHARE_MAX),
            ("every packet accounted for", self.conservation.holds()),
            ("native XDP attached", self.mode_native),
        ];
        checks.extend(beside);
        checks
    }

    fn passes(&self) -> bool {
        self.checks().iter().all(|(_, holds)| *holds)
    }

    fn show(&self, options: &Options, metrics: &Metrics, say: &Say) {
        if say.json {
            let checks: serde_json::Map<String, serde_json::Value> =
                self.checks().iter().map(|(name, holds)| ((*name).to_owned(), json!(holds))).collect();
            println!(
                "{}",
                json!({
                    "verdict": self.passes(),
                    "checks": checks,
                    "alerts": {
                        "port_scan_by_attacker": self.scan_alerts,
                        "by_attacker": self.attacker_alerts,
                        "by_client": self.client_alerts,
                        "by_others": self.other_alerts,
                        "notices": self.notices,
                    },
                    "requests": self.requests,
                    "requests_failed": self.failed,
                    "packets_seen": self.conservation.seen,
                    "packets_in_flows": self.conservation.in_flows,
                    "packets_skipped": self.conservation.skipped,
                    "first_alert_secs": self.first_alert.map(|delay| delay.as_secs_f64()),
                    "stop_secs": self.stopped.as_secs_f64(),
                    "results": options.results,
                })
            );
            return;
        }
        say.line("");
        for (name, holds) in self.checks() {
            say.line(&format!("  {} {name}", if holds { "ok  " } else { "FAIL" }));
        }
        let Conservation { seen, in_flows, skipped } = &self.conservation;
        say.line(&format!("  packets seen {seen} = in flows {in_flows} + skipped {skipped}"));
        say.line(&format!("  the client's requests: {}, failed: {}", self.requests, self.failed));
        if let Some(delay) = self.first_alert {
            say.line(&format!("  first alert {:.1} s after the scan began", delay.as_secs_f32()));
        }
        for (name, what) in
            [("process_resident_memory_bytes", "the agent"), ("ids_map_memory_bytes", "its maps in the kernel")]
        {
            if let Some(bytes) = metrics.sum(name, &[]) {
                say.line(&format!("  memory of {what}: {:.1} MiB", bytes / 1_048_576.0));
            }
        }
        if self.notices > 0 {
            say.line(&format!(
                "  the agent said {} times that it sees less, or all again: see `visibility`",
                self.notices
            ));
        }
        if let Some(it) = &self.suricata {
            say.line(&format!(
                "  Suricata: {} rules, {:.1} s of CPU, {:.0} MiB",
                it.rules,
                it.cpu_secs,
                it.resident_bytes / 1_048_576.0
            ));
        }
        let results = options.results.display();
        say.line(&format!(
            "  alerts, flows, metrics and log: {results}/alerts.ndjson flows.ndjson metrics.prom agent.log"
        ));
        if let Some(id) = &self.example {
            let (binary, models) = (options.binary.display(), options.models.display());
            say.line(&format!("  why: {binary} explain {id} --config {results}/config.toml --models {models}"));
        }
        say.line(if self.passes() { "verdict: PASS" } else { "verdict: FAIL" });
    }
}

/// Where the lab talks to: a person, or a program that wants nothing but JSON on standard output.
struct Say {
    json: bool,
}

impl Say {
    fn new(json: bool) -> Self {
        Self { json }
    }

    fn line(&self, text: &str) {
        if self.json {
            eprintln!("{text}");
        } else {
            println!("{text}");
        }
    }

    fn event(&self, started: Instant, text: &str) {
        self.line(&format!("{:>5.1} s  {text}", started.elapsed().as_secs_f32()));
    }

    fn alert(&self, started: Instant, alert: &Alert) {
        self.event(started, &format!("ALERT {}", alert.line()));
    }

    fn kept(&self, network: &Network, options: &Options) {
        self.line(&format!(
            "lab: kept until Ctrl-C; look around with `nsenter --net=/run/netns/{} curl -s {}/metrics`",
            network.name(network::Space::Gateway),
            agent::METRICS
        ));
        self.line(&format!(
            "lab: or with `{} status --socket {}`",
            options.binary.display(),
            agent::control_socket(&options.results).display()
        ));
    }

    fn drawing(&self, agent: &Agent) {
        self.line(&format!(
            "lab: client {} and attacker {} -- gateway with ids-agent (pid {}, native XDP on {}) -- server {}",
            CLIENT[0],
            ATTACKER[0],
            agent.pid(),
            network::LAN_PORT,
            SERVER[0]
        ));
        self.line(&format!(
            "lab: the client browses, downloads, looks up names and pings; the attack starts after {} s",
            QUIET.as_secs()
        ));
    }
}

struct Scratch(PathBuf);

impl Scratch {
    fn make(path: PathBuf) -> Result<Self> {
        fs::create_dir_all(&path).with_context(|| format!("`{}` cannot be made", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What remains is under target/ and emptied by the next lab.
        let _kept = fs::remove_dir_all(&self.0);
    }
}
