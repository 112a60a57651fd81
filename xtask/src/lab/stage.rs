//! One run: network up, servers, capture, actors, attack, and then the proof that what was planned did happen.

use std::{
    ffi::OsString,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use super::{
    benign,
    capture::{self, Summary},
    labels::{self, Row},
    network::{Network, TAP},
    plan::{Ends, Plan, Ready, Scenario, Service, Wish},
    rng::Rng,
    world::World,
};
use crate::process::{Group, Interrupt, quiet};

const POLL: Duration = Duration::from_millis(20);
const READY_WITHIN: Duration = Duration::from_secs(90);
/// After the last step, so that answers still arrive and flows end.
const TAIL: Duration = Duration::from_millis(1_500);
const GRACE: Duration = Duration::from_secs(2);
/// More than this share of packets lost by the capture, and it is no capture of what happened.
const LOST_SHARE_MAX: f64 = 0.01;
/// A tool that runs wild fills no disk: the capture ends here, and the run fails.
const PACKETS_MAX: u64 = 400_000;
/// A run that is meant to be long may have more.
const PACKETS_PER_SEC_MAX: u64 = 2_000;
/// Lines of a program's log that a failure shows.
const LOG_LINES: usize = 12;

/// What all runs of one command share.
pub(super) struct Shared<'a> {
    pub(super) out: &'a Path,
    /// The folder of the lab's programs.
    pub(super) programs: &'a Path,
    pub(super) wish: Wish,
    pub(super) environment: &'a [(&'static str, OsString)],
    pub(super) keep_logs: bool,
    pub(super) interrupt: &'a Interrupt,
}

/// Path of the capture relative to the folder of labels.
pub(super) fn capture_path(scenario: &Scenario, seed: u64) -> String {
    format!("{}/{name}-{seed}/{name}-{seed}.pcap", scenario.family, name = scenario.name)
}

/// Network and plan of a run: the seed decides both.
pub(super) fn planned(scenario: &Scenario, seed: u64, wish: &Wish) -> (World, Plan) {
    let world = World::new(seed, scenario.name, scenario.shape);
    let mut plan = (scenario.plan)(&world, &mut Rng::new(seed, scenario.name), wish);
    if scenario.has_background() {
        benign::accompany(&mut plan, &world, &mut Rng::new(seed, "background"));
    }
    (world, plan)
}

/// Runs the scenario and writes its capture and its label. Takes down what it made on every way out.
pub(super) fn run(scenario: &Scenario, seed: u64, shared: &Shared<'_>) -> Result<Summary> {
    let (world, plan) = planned(scenario, seed, &shared.wish);
    let path = capture_path(scenario, seed);
    let target = shared.out.join(&path);
    let folder = target.parent().context("the capture has no folder")?;
    let scratch = Scratch::make()?;
    write_files(&scratch.path, &world, &plan)?;

    let taken = scratch.path.join("taken.pcap");
    let played = play(&world, &plan, &scratch, &taken, shared);
    if shared.keep_logs {
        let logs = folder.join("logs");
        fs::create_dir_all(&logs).with_context(|| format!("`{}` cannot be made", logs.display()))?;
        quiet(Command::new("cp").arg("-rT").arg(scratch.path.join("log")).arg(&logs))?;
    }
    played?;
    let summary = capture::summarise(&taken, &plan.filter)?;
    check_proof(&plan, &summary)?;

    fs::create_dir_all(folder).with_context(|| format!("`{}` cannot be made", folder.display()))?;
    // A move where one disk holds both, since a long capture is large.
    fs::rename(&taken, &target)
        .or_else(|_| fs::copy(&taken, &target).map(drop))
        .with_context(|| format!("`{}` cannot be written", target.display()))?;
    let row = Row {
        path: &path,
        family: scenario.family,
        subtype: &plan.subtype,
        filter: plan.filter.to_string(),
        summary,
        evidence: &plan.evidence(),
        environment: &plan.environment,
    };
    labels::append(shared.out, &row)?;
    Ok(summary)
}

fn play(world: &World, plan: &Plan, scratch: &Scratch, taken: &Path, shared: &Shared<'_>) -> Result<()> {
    let network = Network::raise(world, scratch.number, &scratch.path, shared.programs)?;
    let stage = Stage { network: &network, scratch: &scratch.path, shared };
    let mut services = stage.serve_all(&plan.services)?;
    let packets_max = PACKETS_MAX + plan.lasts_ms / 1_000 * PACKETS_PER_SEC_MAX;
    let mut tap = Tap::open(&stage, taken, packets_max)?;
    let outcome = stage.attend(plan, &mut services);
    let closed = tap.close();
    outcome?;
    closed
    // Servers end first, then the namespaces with whatever still runs in them.
}

/// What the capture shows must be what was planned: an attempt that went nowhere is no attack.
fn check_proof(plan: &Plan, summary: &Summary) -> Result<()> {
    let proof = plan.proof;
    let found = [
        ("flows", summary.attack_flows, proof.flows),
        ("flows with payload sent", summary.attack_sent, proof.sent),
        ("flows with an answer", summary.attack_answered, proof.answered),
    ];
    for (what, found, wanted) in found {
        ensure!(found >= wanted, "the attack shows {found} {what}, at least {wanted} were wanted: nothing is labelled");
    }
    ensure!(summary.packets > 0, "the capture is empty");
    Ok(())
}

struct Stage<'a> {
    network: &'a Network,
    scratch: &'a Path,
    shared: &'a Shared<'a>,
}

/// A program on the stage, and where its words go.
struct Running {
    group: Group,
    name: String,
    on: String,
    is_home: bool,
    log: PathBuf,
}

impl Stage<'_> {
    /// Starts the servers side by side. One that only prepares something is waited for, and so is all before it.
    fn serve_all(&self, services: &[Service]) -> Result<Vec<Running>> {
        let mut ready = Vec::new();
        let mut starting = Vec::new();
        for (number, service) in services.iter().enumerate() {
            if service.ready == Ready::Ended {
                ready.append(&mut starting);
                self.wait_for(&mut ready)?;
            }
            starting.push((self.start(&service.on, &service.words, &format!("service-{number}"))?, service.ready));
            if service.ready == Ready::Ended {
                self.wait_for(&mut starting)?;
                starting.clear();
            }
        }
        ready.append(&mut starting);
        self.wait_for(&mut ready)?;
        Ok(ready.into_iter().map(|(running, _)| running).collect())
    }

    /// Until every one of them answers, or ended well where that is what it is for.
    fn wait_for(&self, starting: &mut [(Running, Ready)]) -> Result<()> {
        let started = Instant::now();
        loop {
            self.shared.interrupt.check()?;
            let mut waits_for = None;
            for (running, ready) in &mut *starting {
                // For a moment a new program is still in this machine's own network, where others listen.
                running.is_home = running.is_home || self.network.holds(&running.on, running.group.pid());
                let pid = running.group.pid();
                let is_ready = match (running.group.ended()?, *ready) {
                    (Some(status), Ready::Ended) if status.success() => true,
                    (Some(status), _) => bail!("{} ended at once ({status}):\n{}", running.name, running.tail()),
                    (None, Ready::Tcp(port)) => running.is_home && listens(pid, "tcp", port),
                    (None, Ready::Udp(port)) => running.is_home && listens(pid, "udp", port),
                    (None, Ready::Ended) => false,
                };
                if !is_ready {
                    waits_for.get_or_insert(running);
                }
            }
            let Some(running) = waits_for else { return Ok(()) };
            if started.elapsed() >= READY_WITHIN {
                bail!("{} is not ready after {} s:\n{}", running.name, READY_WITHIN.as_secs(), running.tail());
            }
            thread::sleep(POLL);
        }
    }

    /// The run itself, from the first actor to the tail.
    fn attend(&self, plan: &Plan, services: &mut [Running]) -> Result<()> {
        let started = Instant::now();
        let mut actors = Vec::new();
        let mut to_come: Vec<_> = plan.actors.iter().enumerate().collect();
        let mut steps: Vec<_> = plan.steps.iter().enumerate().collect();
        let mut running = Vec::new();
        loop {
            self.shared.interrupt.check()?;
            let now_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
            for (number, actor) in take_due(&mut to_come, |(_, actor)| actor.at_ms <= now_ms) {
                actors.push(self.start(&actor.on, &actor.words, &format!("actor-{number}"))?);
            }
            for (number, step) in take_due(&mut steps, |(_, step)| step.at_ms <= now_ms) {
                let begun = self.start(&step.on, &step.words, &format!("step-{number}"))?;
                running.push((begun, step, Instant::now() + Duration::from_millis(step.ms_max)));
            }
            let mut still = Vec::new();
            for (mut begun, step, deadline) in running {
                match begun.group.ended()? {
                    Some(status) if status.success() || step.ends == Ends::Anyhow => {}
                    Some(status) => bail!("{} failed ({status}):\n{}", begun.name, begun.tail()),
                    None if Instant::now() < deadline => still.push((begun, step, deadline)),
                    None if step.ends == Ends::Anyhow => drop(begun.group.stop(GRACE)?),
                    None => bail!("{} still runs after {} ms:\n{}", begun.name, step.ms_max, begun.tail()),
                }
            }
            running = still;
            for service in services.iter_mut() {
                if let Some(status) = service.group.ended()? {
                    bail!("{} ended during the run ({status}):\n{}", service.name, service.tail());
                }
            }
            if steps.is_empty() && running.is_empty() && now_ms >= plan.lasts_ms {
                break;
            }
            thread::sleep(POLL);
        }
        thread::sleep(TAIL);
        Ok(())
    }

    fn start(&self, host: &str, words: &[String], name: &str) -> Result<Running> {
        let logs = self.scratch.join("log");
        let log = logs.join(format!("{name}.log"));
        let file = File::create(&log).with_context(|| format!("`{}` cannot be written", log.display()))?;
        let errors = file.try_clone().context("the log cannot be shared")?;
        let mut command = self.network.command(host, words)?;
        command.envs(self.shared.environment.iter().map(|(name, value)| (*name, value)));
        command.stdout(file).stderr(errors);
        let name = format!("`{}` on {host}", words.join(" "));
        let group = Group::start(name.clone(), &mut command)?;
        Ok(Running { group, name, on: host.to_owned(), is_home: false, log })
    }
}

impl Running {
    fn tail(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }
}

/// Whether something listens on the port in the network of this process. Asks the kernel, so no packet tells of it.
fn listens(pid: u32, protocol: &str, port: u16) -> bool {
    let tables = ["", "6"].map(|version| fs::read_to_string(format!("/proc/{pid}/net/{protocol}{version}")));
    tables.into_iter().flatten().any(|table| has_listener(&table, protocol, port))
}

/// Reads a table such as /proc/net/tcp: the second column ends with the port in hex, the fourth is the state.
fn has_listener(table: &str, protocol: &str, port: u16) -> bool {
    // TCP_LISTEN, or for UDP the state of a socket that is not connected.
    let state = if protocol == "tcp" { "0A" } else { "07" };
    let end = format!(":{port:04X}");
    table.lines().skip(1).any(|line| {
        let columns: Vec<&str> = line.split_whitespace().take(4).collect();
        columns.len() == 4 && columns[1].ends_with(&end) && columns[3] == state
    })
}

/// tcpdump on the switch.
struct Tap {
    group: Group,
    log: PathBuf,
    packets_max: u64,
}

impl Tap {
    fn open(stage: &Stage<'_>, file: &Path, packets_max: u64) -> Result<Self> {
        let log = stage.scratch.join("log/capture.log");
        let says = File::create(&log).with_context(|| format!("`{}` cannot be written", log.display()))?;
        let mut command = stage.network.at_tap("tcpdump");
        command.args(["-i", TAP, "-n", "-s", "262144", "-B", "32768", "-Z", "root", "-w"]).arg(file);
        command.args(["-c", &packets_max.to_string()]);
        let group = Group::start("tcpdump", command.stdout(Stdio::null()).stderr(says))?;
        let mut tap = Self { group, log, packets_max };
        let started = Instant::now();
        while !tap.said().contains("listening on") {
            stage.shared.interrupt.check()?;
            ensure!(tap.group.ended()?.is_none(), "tcpdump does not capture: {}", tap.said());
            ensure!(started.elapsed() < READY_WITHIN, "tcpdump does not begin to capture");
            thread::sleep(POLL);
        }
        Ok(tap)
    }

    /// Ends the capture and fails if it missed too much.
    fn close(&mut self) -> Result<()> {
        ensure!(self.group.ended()?.is_none(), "more than {} packets: {}", self.packets_max, self.said());
        self.group.stop(GRACE * 5)?;
        let said = self.said();
        let count = |what: &str| -> f64 {
            let line = said.lines().find(|line| line.contains(what));
            line.and_then(|line| line.split_whitespace().next()).and_then(|n| n.parse().ok()).unwrap_or_default()
        };
        let (lost, seen) = (count("dropped by kernel"), count("received by filter"));
        ensure!(lost <= seen * LOST_SHARE_MAX, "the capture lost {lost} of {seen} packets: this machine is too busy");
        Ok(())
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

/// Takes those out that are due, in their order.
fn take_due<T: Copy>(from: &mut Vec<T>, due: impl Fn(&T) -> bool) -> Vec<T> {
    let taken = from.iter().copied().filter(|item| due(item)).collect();
    from.retain(|item| !due(item));
    taken
}

/// A folder of the run's own, gone with it.
struct Scratch {
    path: PathBuf,
    number: usize,
}

/// Followed by the process that made it.
const SCRATCH_PREFIX: &str = "ids-lab-";

impl Scratch {
    fn make() -> Result<Self> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("{SCRATCH_PREFIX}{}-{number}", std::process::id()));
        fs::create_dir_all(path.join("log")).with_context(|| format!("`{}` cannot be made", path.display()))?;
        Ok(Self { path, number })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _gone = fs::remove_dir_all(&self.path);
    }
}

/// Removes the folders of labs that were ended by force.
pub(super) fn remove_stale_scratch(is_alive: impl Fn(u32) -> bool) {
    for entry in fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.strip_prefix(SCRATCH_PREFIX).and_then(|rest| rest.split('-').next()?.parse().ok());
        if owner.is_some_and(|pid| !is_alive(pid)) {
            let _gone = fs::remove_dir_all(entry.path());
        }
    }
}

/// The scenario's files, a home for every host and user, and what the machines find under /etc.
fn write_files(dir: &Path, world: &World, plan: &Plan) -> Result<()> {
    for host in world.hosts().map(|host| host.name.as_str()).chain(["gateway"]) {
        let home = dir.join("home").join(host);
        fs::create_dir_all(&home).with_context(|| format!("`{}` cannot be made", home.display()))?;
    }
    let mut passwd = fs::read_to_string("/etc/passwd").context("the system's users")?;
    let mut shadow = fs::read_to_string("/etc/shadow").context("the system's passwords")?;
    for (uid, account) in (20_001..).zip(&world.accounts) {
        let home = dir.join("users").join(&account.user);
        fs::create_dir_all(&home).with_context(|| format!("`{}` cannot be made", home.display()))?;
        std::os::unix::fs::chown(&home, Some(uid), Some(100)).context("a user's home")?;
        // The salt need not be secret: the password is in the plan.
        let hash =
            quiet(Command::new("openssl").args(["passwd", "-6", "-salt", "laboratory", account.password.as_str()]))?;
        passwd.push_str(&format!("{}:x:{uid}:100::{}:/bin/sh\n", account.user, home.display()));
        shadow.push_str(&format!("{}:{}:20000:0:99999:7:::\n", account.user, hash.trim()));
    }
    let etc = dir.join("etc");
    fs::create_dir_all(&etc).with_context(|| format!("`{}` cannot be made", etc.display()))?;
    let resolv = format!("nameserver {}\noptions timeout:2 attempts:2\nsearch {}\n", world.gateway4, world.domain);
    // Servers look up their own name; what they ask of DNS otherwise is no traffic of the scenario.
    let own = world.hosts().map(|host| format!("{} {name}.{} {name}\n", host.v4, world.domain, name = host.hostname));
    let hosts = ["127.0.0.1 localhost\n::1 localhost\n".to_owned()].into_iter().chain(own).collect::<String>();
    let system = [("passwd", passwd), ("shadow", shadow), ("resolv.conf", resolv), ("hosts", hosts)];
    let system = system.into_iter().map(|(name, text)| (format!("etc/{name}"), text));
    for (name, text) in system.chain(plan.files.iter().cloned()) {
        let path = dir.join(&name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).with_context(|| format!("`{}` cannot be made", parent.display()))?;
        }
        let text = text.replace("{dir}", &dir.display().to_string());
        fs::write(&path, text).with_context(|| format!("`{}` cannot be written", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::has_listener;

    #[test]
    fn a_listener_is_told_from_a_connection_of_the_same_port() {
        let table = "  sl  local_address rem_address   st tx_queue\n\
                     0: 0100007F:0016 00000000:0000 0A 00000000:00000000\n\
                     1: 0100007F:0050 0100007F:C350 01 00000000:00000000\n";
        assert!(has_listener(table, "tcp", 22));
        assert!(!has_listener(table, "tcp", 80));
        assert!(!has_listener(table, "tcp", 0xC350));
        assert!(has_listener("sl\n 7: 00000000:0035 00000000:0000 07 0\n", "udp", 53));
    }
}
