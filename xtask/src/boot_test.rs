//! `cargo xtask boot-test`: a clean Debian boots with the service enabled, and the service is treated as life treats it.
//! Packets pass in the container's own network and in a namespace made for it; this machine's interfaces are left alone.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    container::Container,
    metrics::Metrics,
    netns::Namespace,
    process::{find, is_root, must, quiet},
    root::{self, Scratch},
    setup::{self, Purpose},
    workspace::{self, TEST_SET},
};

/// systemd and what the unit's commands need; the rest of a Debian is of no account here.
const PACKAGES: [&str; 4] = ["systemd", "systemd-sysv", "libcap2-bin", "procps"];
const UNIT: &str = "ids-agent.service";
const SENSOR: &str = "10.85.0.1";
/// Shorter than the unit's, so that the test is.
const WATCHDOG_SECS: u64 = 6;
/// For each thing that is waited for, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(90);
/// What a thread that attaches anew keeps: CAP_NET_ADMIN, CAP_PERFMON, CAP_BPF.
const KEPT: u64 = 1 << 12 | 1 << 38 | 1 << 39;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The agent to install, in place of one that is built now.
    #[arg(long)]
    binary: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if let Some(why) = cannot() {
        bail!("{why}");
    }
    let binary = match &args.binary {
        Some(binary) => binary.clone(),
        None => {
            must(workspace::cargo()?.arg("build").args(TEST_SET).args(["--bin", "ids-agent"]))?;
            workspace::target_dir()?.join("debug/ids-agent")
        }
    };
    check(&binary)?;
    Ok(ExitCode::SUCCESS)
}

/// Why the test cannot run on this machine, if it cannot.
pub(crate) fn cannot() -> Option<&'static str> {
    if !is_root() {
        return Some("booting a container takes root");
    }
    // Both are packages of Debian that `setup` installs, where there is an apt.
    let there = |program| find(program).is_some() || find("apt-get").is_some();
    (!(there("debootstrap") && there("systemd-nspawn"))).then_some("there is no debootstrap or no systemd-nspawn")
}

/// Runs the whole; fails at the first thing that is not as it should be.
pub(crate) fn check(binary: &Path) -> Result<()> {
    setup::ensure(&[Purpose::Root, Purpose::Lab])?;
    let mut steps = Steps { began: Instant::now() };
    let clean = root::clean(&PACKAGES)?;
    let scratch = Scratch::over(&clean)?;
    install(&scratch.path(), binary)?;
    steps.done("install", "into a clean Debian, enabled at boot");

    let console = scratch.path().with_file_name("console");
    let container = Container::boot(&scratch.path(), &console)?;
    let outside = Outside::join(&container)?;
    let life = Life { container, outside };
    life.whole(&mut steps).map_err(|error| {
        let journal = life.container.says(&["journalctl", "--no-pager", "-n", "25", "-u", UNIT]).unwrap_or_default();
        error.context(format!("the service's last words:\n{journal}"))
    })?;
    let Life { container, outside } = life;
    drop(outside);
    container.power_off()?;
    steps.done("power off", "");
    println!("boot-test: all passed");
    Ok(())
}

/// Says how long each step took.
struct Steps {
    began: Instant,
}

impl Steps {
    fn done(&mut self, name: &str, says: &str) {
        println!("boot-test: {name:<10} {:>5.1} s  {says}", self.began.elapsed().as_secs_f32());
        self.began = Instant::now();
    }
}

/// Puts everything where a package puts it.
fn install(root: &Path, binary: &Path) -> Result<()> {
    let project = workspace::root()?;
    let put = |from: &Path, to: &str, mode: &str| {
        quiet(Command::new("install").args(["-D", "-m", mode]).arg(from).arg(root.join(to))).map(drop)
    };
    put(binary, "usr/bin/ids-agent", "0755")?;
    let systemd = project.join("systemd");
    put(&systemd.join(UNIT), "usr/lib/systemd/system/ids-agent.service", "0644")?;
    put(&systemd.join("ids-agent.sysusers"), "usr/lib/sysusers.d/ids-agent.conf", "0644")?;
    put(&systemd.join("ids-agent.tmpfiles"), "usr/lib/tmpfiles.d/ids-agent.conf", "0644")?;
    let share = root.join("usr/share/ids-agent");
    fs::create_dir_all(&share)?;
    quiet(Command::new("cp").arg("-r").arg(project.join("models")).arg(&share))?;
    let write = |path: &str, text: &str| -> Result<()> {
        let path = root.join(path);
        let folder = path.parent().context("a file without a folder")?;
        fs::create_dir_all(folder).with_context(|| format!("`{}` cannot be made", folder.display()))?;
        fs::write(&path, text).with_context(|| format!("`{}` cannot be written", path.display()))
    };
    write(
        "etc/ids-agent/config.toml",
        "[capture]\ninterfaces = [\"sensor0\"]\n\n[alert]\npath = \"/var/log/ids-agent/alerts.ndjson\"\n",
    )?;
    write(
        "etc/systemd/system/ids-agent.service.d/boot-test.conf",
        &format!("[Service]\nWatchdogSec={WATCHDOG_SECS}\n"),
    )?;
    // Outside of a container systemd does this by itself.
    write(
        "usr/lib/systemd/system/bpffs.service",
        "[Unit]\nDefaultDependencies=no\n[Service]\nType=oneshot\n\
         ExecStart=/bin/sh -c 'mkdir -p /sys/fs/bpf && mount -t bpf -o mode=700 bpf /sys/fs/bpf'\n\
         [Install]\nWantedBy=sysinit.target\n",
    )?;
    let mut at = std::ffi::OsString::from("--root=");
    at.push(root);
    quiet(Command::new("systemd-sysusers").arg(&at))?;
    quiet(Command::new("systemctl").arg(&at).args(["enable", UNIT, "bpffs.service"])).map(drop)
}

/// The neighbour from whom packets come.
struct Outside {
    space: Namespace,
}

impl Outside {
    /// Puts an interface into the container's network, with its peer here.
    fn join(container: &Container) -> Result<Self> {
        let space = Namespace::make("boot")?;
        let leader = container.leader().to_string();
        space.ip(&["link", "add", "near0", "type", "veth", "peer", "name", "sensor0", "netns", &leader])?;
        let inside = |words: &[&str]| quiet(container.in_network("ip").args(words)).map(drop);
        inside(&["address", "add", "10.85.0.1/24", "dev", "sensor0"])?;
        inside(&["link", "set", "sensor0", "up"])?;
        space.ip(&["address", "add", "10.85.0.2/24", "dev", "near0"])?;
        space.ip(&["link", "set", "near0", "up"])?;
        Ok(Self { space })
    }

    /// So many echoes, each answered, `apart_ms` apart.
    fn echoes(&self, count: u32, apart_ms: u32) -> Command {
        let mut ping = self.space.command(Path::new("ping"));
        let apart = format!("{}.{:03}", apart_ms / 1_000, apart_ms % 1_000);
        ping.args(["-q", "-c", &count.to_string(), "-i", &apart, SENSOR]);
        ping
    }
}

struct Life {
    container: Container,
    outside: Outside,
}

impl Life {
    fn whole(&self, steps: &mut Steps) -> Result<()> {
        self.is_ready_after_boot(steps)?;
        self.holds_little()?;
        steps.done("rights", "not root, one thread may attach, filter of system calls on all");
        self.counts()?;
        steps.done("counts", "native XDP and tc, every echo and its answer");
        self.speaks_to_the_journal()?;
        steps.done("journal", "fields are fields");
        self.reloads()?;
        steps.done("reload", "files opened again by the same process");
        let lost = self.survives_a_kill()?;
        steps.done("kill -9", &lost);
        self.is_revived_by_the_watchdog()?;
        steps.done("watchdog", "a process that stands still is ended and begun anew");
        let took = self.stops_in_order()?;
        steps.done("stop", &format!("in order, {:.1} s", took.as_secs_f32()));
        Ok(())
    }

    fn is_ready_after_boot(&self, steps: &mut Steps) -> Result<()> {
        self.await_active(None)?;
        steps.done("boot", "to READY=1");
        Ok(())
    }

    /// Waits until the service is up, with another process than `not`.
    fn await_active(&self, not: Option<u32>) -> Result<u32> {
        let began = Instant::now();
        loop {
            // systemd may not listen yet.
            let state = self.properties().unwrap_or_default();
            let is = |name: &str, wanted: &str| state.get(name).is_some_and(|value| value == wanted);
            let pid =
                state.get("MainPID").and_then(|pid| pid.parse().ok()).filter(|pid| *pid != 0 && Some(*pid) != not);
            if is("ActiveState", "active")
                && let Some(pid) = pid
            {
                return Ok(pid);
            }
            ensure!(began.elapsed() < PATIENCE, "the service is not up after {PATIENCE:?}: {state:?}");
            thread::sleep(Duration::from_millis(100));
        }
    }

    fn properties(&self) -> Result<BTreeMap<String, String>> {
        let wanted = "--property=ActiveState,SubState,MainPID,NRestarts,Result,StatusText";
        let said = self.container.says(&["systemctl", "show", UNIT, wanted])?;
        Ok(said
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(key, value)| (key.into(), value.into()))
            .collect())
    }

    fn main_pid(&self) -> Result<u32> {
        self.await_active(None)
    }

    /// Who it is and what each of its threads may do.
    fn holds_little(&self) -> Result<()> {
        let pid = self.main_pid()?;
        let said = self.container.says(&["sh", "-c", &format!("cat /proc/{pid}/task/*/status")])?;
        let mut name = "";
        let mut threads = 0;
        for line in said.lines() {
            let Some((key, value)) = line.split_once(':') else { continue };
            let value = value.trim();
            match key {
                "Name" => (name, threads) = (value, threads + 1),
                "Uid" => ensure!(value.split_whitespace().all(|uid| uid != "0"), "thread `{name}` is root's"),
                "CapEff" | "CapPrm" => {
                    let held = u64::from_str_radix(value, 16).context("/proc shows no mask")?;
                    let may = if name == "source" { KEPT } else { 0 };
                    ensure!(held == may, "thread `{name}` has {key} {held:x}, {may:x} is promised");
                }
                "CapInh" | "CapAmb" => ensure!(value.chars().all(|c| c == '0'), "thread `{name}` has {key} {value}"),
                "NoNewPrivs" => ensure!(value == "1", "thread `{name}` may gain rights"),
                "Seccomp" => ensure!(value == "2", "thread `{name}` has no filter of system calls"),
                _ => {}
            }
        }
        ensure!(threads >= 5, "{threads} threads are too few: {said}");
        Ok(())
    }

    fn page(&self) -> Result<Metrics> {
        let text = quiet(self.container.in_network("curl").args(["-fsS", "http://127.0.0.1:9469/metrics"]))?;
        Ok(Metrics { text })
    }

    /// Waits until a series has grown to `least`.
    fn await_sum(&self, series: &str, least: f64) -> Result<f64> {
        let began = Instant::now();
        loop {
            let found = self.page().ok().and_then(|page| page.sum(series, &[])).unwrap_or_default();
            if found >= least {
                return Ok(found);
            }
            ensure!(began.elapsed() < PATIENCE, "{series} is {found} after {PATIENCE:?}, {least} is wanted");
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Packets are seen where they are to be seen.
    fn counts(&self) -> Result<()> {
        let link = quiet(self.container.in_network("ip").args(["-d", "link", "show", "dev", "sensor0"]))?;
        ensure!(link.contains("prog/xdp") && !link.contains("xdpgeneric"), "no native XDP: {link}");
        let before = self.page()?.sum("ids_packets_in_flows_total", &[]).unwrap_or_default();
        quiet(&mut self.outside.echoes(25, 10))?;
        self.await_sum("ids_packets_in_flows_total", before + 50.0)?;
        Ok(())
    }

    fn speaks_to_the_journal(&self) -> Result<()> {
        let began = Instant::now();
        loop {
            let said = self.container.says(&["journalctl", "--no-pager", "-o", "json", "-u", UNIT])?;
            let found = said.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
            let field = |entry: &serde_json::Value| entry["IDS_INTERFACE"] == "sensor0";
            if found.into_iter().any(|entry| field(&entry)) {
                return Ok(());
            }
            ensure!(began.elapsed() < PATIENCE, "no entry has a field IDS_INTERFACE: {said}");
            thread::sleep(Duration::from_millis(200));
        }
    }

    fn reloads(&self) -> Result<()> {
        let pid = self.main_pid()?;
        self.container.says(&["systemctl", "reload", UNIT])?;
        self.await_words("reopened")?;
        ensure!(self.await_active(None)? == pid, "a reload began another process");
        Ok(())
    }

    /// Waits until the service's log holds `words`.
    fn await_words(&self, words: &str) -> Result<()> {
        let began = Instant::now();
        while !self.container.says(&["journalctl", "--no-pager", "-o", "cat", "-u", UNIT])?.contains(words) {
            ensure!(began.elapsed() < PATIENCE, "`{words}` is not in the journal");
            thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    /// Ended by force under traffic, it comes back; where programs and maps are pinned, no packet is lost.
    fn survives_a_kill(&self) -> Result<String> {
        const ECHOES: u32 = 600;
        let pid = self.main_pid()?;
        let pinned = !self.container.says(&["ls", "/sys/fs/bpf/ids-agent"]).unwrap_or_default().trim().is_empty();
        let before = self.page()?.sum("ids_packets_in_flows_total", &[]).unwrap_or_default();
        let mut ping =
            self.outside.echoes(ECHOES, 10).stdout(Stdio::null()).spawn().context("`ping` does not start")?;
        // Under traffic, with most of it still to come.
        self.await_sum("ids_packets_in_flows_total", before + 100.0)?;
        self.container.says(&["kill", "-9", &pid.to_string()])?;
        self.await_active(Some(pid))?;
        ensure!(ping.wait()?.success(), "the container's network suffered");
        if !pinned {
            self.counts()?;
            return Ok("begun anew, and counts; nothing was pinned".to_owned());
        }
        // Each echo and its answer.
        let sent = f64::from(2 * ECHOES);
        let after = self.await_sum("ids_packets_in_flows_total", before + sent)?;
        Ok(format!("begun anew; {} packets counted of {sent} that passed meanwhile", (after - before).min(sent)))
    }

    fn is_revived_by_the_watchdog(&self) -> Result<()> {
        let pid = self.main_pid()?;
        self.container.says(&["kill", "-STOP", &pid.to_string()])?;
        let began = Instant::now();
        self.await_active(Some(pid))?;
        ensure!(began.elapsed() >= Duration::from_secs(WATCHDOG_SECS / 3), "it ended before it was missed");
        self.await_words("Watchdog timeout")?;
        self.counts()
    }

    fn stops_in_order(&self) -> Result<Duration> {
        let began = Instant::now();
        self.container.says(&["systemctl", "stop", UNIT])?;
        let took = began.elapsed();
        let state = self.properties()?;
        let is = |name: &str, wanted: &str| state.get(name).is_some_and(|value| value == wanted);
        ensure!(is("ActiveState", "inactive") && is("Result", "success"), "it did not end well: {state:?}");
        let kept = self.container.says(&["stat", "-c", "%U %a", "/var/lib/ids-agent/state.bin"])?;
        ensure!(kept.trim() == "ids-agent 600", "its state is kept as `{}`", kept.trim());
        Ok(took)
    }
}
