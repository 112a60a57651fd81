//! What becomes of a service that has booted: who it is, what it sees, and how it takes reloads, ends by force, standing still and
//! being stopped. The same in a container and in a machine.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::{Steps, UNIT, WATCHDOG};
use crate::{
    debian::{Debian, wait},
    metrics::Metrics,
};

/// In the Debian's own network, with its peer in a namespace beside.
pub(super) const SENSOR: &str = "10.85.0.1";
pub(super) const NEIGHBOUR: &str = "neighbour";
const NETWORK: &str = "set -e
ip link set lo up
ip netns add neighbour
ip link add sensor0 type veth peer name near0 netns neighbour
# Without these no packet passes but those of the test.
ip link set sensor0 addrgenmode none
ip -n neighbour link set near0 addrgenmode none
ip address add 10.85.0.1/24 dev sensor0
ip link set sensor0 up
ip -n neighbour address add 10.85.0.2/24 dev near0
ip -n neighbour link set near0 up";
const PACKETS: &str = "ids_packets_in_flows_total";
/// What a thread that attaches anew keeps: CAP_NET_ADMIN, CAP_PERFMON, CAP_BPF.
const KEPT: u64 = 1 << 12 | 1 << 38 | 1 << 39;

pub(super) struct Life<'a> {
    pub(super) debian: &'a dyn Debian,
}

impl Life<'_> {
    /// From the boot to a service that counts.
    pub(super) fn begins(&self, steps: &mut Steps) -> Result<()> {
        // The agent waits for its interface; the kernel has them only once it has booted.
        self.debian.shell(NETWORK)?;
        self.await_active(None)?;
        steps.done("boot", "to READY=1");
        self.holds_little()?;
        steps.done("rights", "not root, one thread may attach, filter of system calls on all");
        self.counts()?;
        steps.done("counts", "native XDP and tc, every echo and its answer");
        self.speaks_to_the_journal()?;
        steps.done("journal", "fields are fields");
        Ok(())
    }

    /// All that it may have to take, and its end.
    pub(super) fn goes_on(&self, steps: &mut Steps) -> Result<()> {
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

    /// Waits until the service is up, with another process than `not`.
    pub(super) fn await_active(&self, not: Option<u32>) -> Result<u32> {
        wait(|| {
            let state =
                self.debian.unit(UNIT, &["ActiveState", "SubState", "MainPID", "NRestarts", "Result", "StatusText"]);
            // systemd may not listen yet.
            let state = state.unwrap_or_default();
            let pid = state.get("MainPID").and_then(|pid| pid.parse().ok());
            let pid = pid.filter(|pid| *pid != 0 && Some(*pid) != not);
            let is_active = state.get("ActiveState").is_some_and(|value| value == "active");
            pid.filter(|_| is_active).ok_or_else(|| format!("the service is not up: {state:?}"))
        })
    }

    fn main_pid(&self) -> Result<u32> {
        self.await_active(None)
    }

    /// Who it is and what each of its threads may do.
    fn holds_little(&self) -> Result<()> {
        let pid = self.main_pid()?;
        let said = self.debian.shell(&format!("cat /proc/{pid}/task/*/status"))?;
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

    pub(super) fn page(&self) -> Result<Metrics> {
        let text = self.debian.says(&["curl", "-fsS", "--max-time", "20", "http://127.0.0.1:9469/metrics"])?;
        Ok(Metrics { text })
    }

    /// Waits until a series has grown to `least`.
    pub(super) fn await_sum(&self, series: &str, least: f64) -> Result<f64> {
        wait(|| {
            let found = self.page().ok().and_then(|page| page.sum(series, &[])).unwrap_or_default();
            if found >= least { Ok(found) } else { Err(format!("{series} is {found}, {least} is wanted")) }
        })
    }

    fn packets(&self) -> Result<f64> {
        Ok(self.page()?.sum(PACKETS, &[]).unwrap_or_default())
    }

    /// Packets are seen where they are to be seen.
    pub(super) fn counts(&self) -> Result<()> {
        let link = self.debian.says(&["ip", "-d", "link", "show", "dev", "sensor0"])?;
        ensure!(link.contains("prog/xdp") && !link.contains("xdpgeneric"), "no native XDP: {link}");
        let before = self.packets()?;
        self.debian.says(&echoes("25"))?;
        self.await_sum(PACKETS, before + 50.0).map(drop)
    }

    fn speaks_to_the_journal(&self) -> Result<()> {
        wait(|| {
            // Not before the service has said something at all.
            let said = self.debian.says(&["journalctl", "--no-pager", "-o", "json", "-u", UNIT]).unwrap_or_default();
            let found = said.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
            let has = found.into_iter().any(|entry| entry["IDS_INTERFACE"] == "sensor0");
            if has { Ok(()) } else { Err(format!("no entry has a field IDS_INTERFACE: {said}")) }
        })
    }

    fn reloads(&self) -> Result<()> {
        let pid = self.main_pid()?;
        self.debian.says(&["systemctl", "reload", UNIT])?;
        self.await_words("reopened")?;
        ensure!(self.await_active(None)? == pid, "a reload began another process");
        Ok(())
    }

    /// Waits until the service's log holds `words`.
    fn await_words(&self, words: &str) -> Result<()> {
        wait(|| {
            let said = self.debian.says(&["journalctl", "--no-pager", "-o", "cat", "-u", UNIT]).unwrap_or_default();
            if said.contains(words) { Ok(()) } else { Err(format!("`{words}` is not in the journal")) }
        })
    }

    /// Ended by force under traffic, it comes back; where programs and maps are pinned, no packet is lost.
    fn survives_a_kill(&self) -> Result<String> {
        let pid = self.main_pid()?;
        let pinned = !self.debian.says(&["ls", "/sys/fs/bpf/ids-agent"]).unwrap_or_default().trim().is_empty();
        let before = self.packets()?;
        self.debian.start("echoes", &["RuntimeMaxSec=60".to_owned()], &echoes("600"))?;
        // Under traffic, with most of it still to come.
        self.await_sum(PACKETS, before + 100.0)?;
        self.debian.says(&["kill", "-9", &pid.to_string()])?;
        self.await_active(Some(pid))?;
        wait(|| match self.debian.has_ended("echoes") {
            Ok(true) => Ok(Ok(())),
            Ok(false) => Err("the echoes do not end".to_owned()),
            Err(error) => Ok(Err(error.context("the network suffered"))),
        })??;
        if !pinned {
            self.counts()?;
            return Ok("begun anew, and counts; nothing was pinned".to_owned());
        }
        // Each echo and its answer, and nothing else passed.
        let sent = f64::from(2 * 600);
        let counted = self.await_sum(PACKETS, before + sent)? - before;
        ensure!(counted <= sent, "{counted} packets were counted, {sent} passed");
        Ok(format!("begun anew; {counted} packets counted of {sent} that passed meanwhile"))
    }

    fn is_revived_by_the_watchdog(&self) -> Result<()> {
        let pid = self.main_pid()?;
        self.debian.says(&["kill", "-STOP", &pid.to_string()])?;
        let began = Instant::now();
        self.await_active(Some(pid))?;
        ensure!(began.elapsed() >= WATCHDOG / 3, "it ended before it was missed");
        self.await_words("Watchdog timeout")?;
        self.counts()
    }

    fn stops_in_order(&self) -> Result<Duration> {
        let began = Instant::now();
        self.debian.says(&["systemctl", "stop", UNIT])?;
        let took = began.elapsed();
        let state = self.debian.unit(UNIT, &["ActiveState", "Result"])?;
        let is = |name: &str, wanted: &str| state.get(name).is_some_and(|value| value == wanted);
        ensure!(is("ActiveState", "inactive") && is("Result", "success"), "it did not end well: {state:?}");
        let kept = self.debian.says(&["stat", "-c", "%U %a", "/var/lib/ids-agent/state.bin"])?;
        ensure!(kept.trim() == "ids-agent 600", "its state is kept as `{}`", kept.trim());
        Ok(took)
    }
}

/// So many echoes from the neighbour, a hundred a second, each answered.
fn echoes(count: &str) -> [&str; 11] {
    ["ip", "netns", "exec", NEIGHBOUR, "ping", "-q", "-c", count, "-i", "0.01", SENSOR]
}
