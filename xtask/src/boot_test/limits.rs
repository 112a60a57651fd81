//! The wall around the service, as a kernel keeps it: what the drop-in says is what the control group holds, and a flood does not
//! bring the service against it.

use std::{
    collections::BTreeMap,
    fmt, fs, thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use super::life::{Life, NEIGHBOUR, SENSOR};
use crate::{
    debian::{Debian, wait},
    workspace,
};

/// The drop-in that the project ships.
pub(super) const LIMITS: &str = "systemd/limits.conf";
const GROUP: &str = "/sys/fs/cgroup/system.slice/ids-agent.service";
const FLOOD: Duration = Duration::from_secs(12);
/// Of one CPU for whoever floods, so that it is the same share on any machine: some thousands of packets a second under emulation.
const FLOOD_PERCENT: u32 = 30;
const MEMORY: &str = "ids_budget_memory_bytes";
/// All is seen again by then.
const BACK_WITHIN: Duration = Duration::from_secs(30);

/// What the drop-in limits, in the words of the kernel's files.
pub(super) struct Wall {
    /// File of the control group and what it must hold.
    files: BTreeMap<&'static str, String>,
    memory_bytes: f64,
    /// Of one CPU.
    quota: f64,
}

impl Wall {
    /// As the drop-in has it.
    pub(super) fn written() -> Result<Self> {
        let path = workspace::root()?.join(LIMITS);
        let text = fs::read_to_string(&path).with_context(|| format!("`{}` is unreadable", path.display()))?;
        Self::of(&text)
    }

    fn of(text: &str) -> Result<Self> {
        let value = |key: &str| {
            let found = text.lines().filter_map(|line| line.split_once('=')).find(|(name, _)| *name == key);
            found.map(|(_, value)| value.trim()).with_context(|| format!("{LIMITS} has no {key}"))
        };
        let number = |key: &str, unit: &str| -> Result<u64> {
            let plain = value(key)?.strip_suffix(unit).and_then(|digits| digits.parse().ok());
            plain.with_context(|| format!("{key} in {LIMITS} is not in `{unit}`"))
        };
        let [high, max] = [number("MemoryHigh", "M")? << 20, number("MemoryMax", "M")? << 20];
        let percent = number("CPUQuota", "%")?;
        let files = BTreeMap::from([
            ("memory.high", high.to_string()),
            ("memory.max", max.to_string()),
            // Microseconds, in each tenth of a second.
            ("cpu.max", format!("{} 100000", percent * 1_000)),
            ("cpu.weight", number("CPUWeight", "")?.to_string()),
            ("pids.max", number("TasksMax", "")?.to_string()),
        ]);
        Ok(Self { files, memory_bytes: max as f64, quota: percent as f64 / 100.0 })
    }

    /// The kernel keeps to the same.
    pub(super) fn stands(&self, debian: &dyn Debian) -> Result<()> {
        for (file, wanted) in &self.files {
            let found = debian.says(&["cat", &format!("{GROUP}/{file}")])?;
            ensure!(found.trim() == wanted, "{file} is `{}`, the drop-in says `{wanted}`", found.trim());
        }
        Ok(())
    }
}

impl fmt::Display for Wall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files: Vec<String> = self.files.iter().map(|(file, value)| format!("{file} {value}")).collect();
        f.write_str(&files.join(", "))
    }
}

/// What the control group counts, `FILE.KEY`.
fn counted(debian: &dyn Debian) -> Result<BTreeMap<String, f64>> {
    let mut all = BTreeMap::new();
    for file in ["memory.events", "cpu.stat"] {
        let said = debian.says(&["cat", &format!("{GROUP}/{file}")])?;
        all.extend(said.lines().filter_map(|line| {
            let (key, value) = line.split_once(' ')?;
            Some((format!("{file}.{key}"), value.parse().ok()?))
        }));
    }
    let peak = debian.says(&["cat", &format!("{GROUP}/memory.peak")])?;
    all.insert("memory.peak".to_owned(), peak.trim().parse().context("memory.peak is no number")?);
    Ok(all)
}

/// A flood of connections from sources that do not exist, each a new flow: the service stays within its wall, gives up work in
/// time, counts every packet, and has all of it back soon after.
pub(super) fn holds_under_a_flood(life: &Life<'_>, wall: &Wall) -> Result<String> {
    let debian = life.debian;
    wait(|| match level(life) {
        Ok(0.0) => Ok(()),
        other => Err(format!("the service does not come to rest: {other:?}")),
    })?;
    let pid = life.await_active(None)?;
    let before = counted(debian)?;
    let page = life.page()?;
    let [seen_before, idle] =
        ["ids_packets_seen_total", MEMORY].map(|series| page.sum(series, &[]).unwrap_or_default());
    // It has an end by itself, by count and by time; and no answer counts for it as a failure.
    let flood = format!(
        "ip netns exec {NEIGHBOUR} timeout {} hping3 -q --flood -c 2000000 --rand-source -S -p 80 {SENSOR} >/dev/null 2>&1 || true",
        FLOOD.as_secs()
    );
    let began = Instant::now();
    let bounds = [format!("RuntimeMaxSec={}", 2 * FLOOD.as_secs()), format!("CPUQuota={FLOOD_PERCENT}%")];
    debian.start("flood", &bounds, &["sh", "-c", &flood])?;
    let (mut highest, mut memory) = (0.0_f64, idle);
    while !debian.has_ended("flood")? {
        ensure!(began.elapsed() < FLOOD * 3, "the flood does not end");
        // Where the page does not come in time, the next may.
        if let Ok(page) = life.page() {
            highest = highest.max(page.sum("ids_budget_level", &[]).unwrap_or_default());
            memory = memory.max(page.sum(MEMORY, &[]).unwrap_or_default());
        }
        thread::sleep(Duration::from_millis(500));
    }
    let (relief, took) = (Instant::now(), began.elapsed());
    let during = counted(debian)?;
    let (back, page) = wait(|| {
        let page = life.page().map_err(|error| error.to_string())?;
        let all = |series: &str, wanted: f64| page.sum(series, &[]) == Some(wanted);
        let is_back = all("ids_budget_level", 0.0) && page.series("ids_coverage").all(|(_, share)| share == 1.0);
        if is_back { Ok((relief.elapsed(), page)) } else { Err("what was given up is not taken back".to_owned()) }
    })?;

    let grown = |key: &str| {
        let of = |all: &BTreeMap<String, f64>| all.get(key).copied().unwrap_or_default();
        of(&during) - of(&before)
    };
    let sum = |series: &str| page.sum(series, &[]).unwrap_or_default();
    let packets = sum("ids_packets_seen_total") - seen_before;
    let cpu = grown("cpu.stat.usage_usec") / took.as_secs_f64() / 1e6;
    let peak = during.get("memory.peak").copied().unwrap_or(f64::MAX);
    let said = format!(
        "{packets} packets in {:.0} s: level {highest}, back after {:.1} s; CPU {cpu:.2} of {:.2}; memory {:.0} MiB at rest, {:.0} of {:.0} at \
         most, {:.0} when it was back, {:.0} of {:.0} as the kernel counts it",
        took.as_secs_f32(),
        back.as_secs_f32(),
        wall.quota,
        idle / MIB,
        memory / MIB,
        sum("ids_budget_limit_memory_bytes") / MIB,
        sum(MEMORY) / MIB,
        peak / MIB,
        wall.memory_bytes / MIB,
    );
    ensure!(life.await_active(None)? == pid, "another process is there: {said}");
    ensure!(grown("memory.events.oom_kill") == 0.0 && grown("memory.events.max") == 0.0, "the wall was hit: {said}");
    ensure!(peak <= wall.memory_bytes && memory <= sum("ids_budget_limit_memory_bytes"), "too much memory: {said}");
    // The quota is of each tenth of a second, and the clocks of both sides are not read at once.
    ensure!(cpu <= wall.quota * 1.1, "too much time: {said}");
    ensure!(packets >= 20_000.0, "that is no flood: {said}");
    ensure!(highest >= 1.0, "no work was given up: {said}");
    ensure!(back <= BACK_WITHIN, "that is too late: {said}");
    let all = sum("ids_packets_seen_total") + sum("ids_segments_unfolded_total");
    let kept = sum("ids_packets_in_flows_total") + sum("ids_packets_skipped_total");
    ensure!(all == kept, "{all} packets were seen, {kept} are in flows or skipped: {said}");
    let alerts = debian.says(&["cat", "/var/log/ids-agent/alerts.ndjson"])?;
    for class in ["flood", "visibility"] {
        ensure!(alerts.contains(&format!("\"class\":\"{class}\"")), "no alert of class {class}: {said}");
    }
    Ok(said)
}

const MIB: f64 = 1_048_576.0;

fn level(life: &Life<'_>) -> Result<f64> {
    life.page()?.sum("ids_budget_level", &[]).context("no level is served")
}

#[cfg(test)]
mod tests {
    use super::Wall;

    #[test]
    fn a_drop_in_is_read_as_the_kernel_will_have_it() {
        let text =
            "[Service]\n# No key=value\nCPUQuota=70%\nCPUWeight=50\nMemoryHigh=384M\nMemoryMax=512M\nTasksMax=64\n";
        let wall = Wall::of(text).map(|wall| wall.to_string());
        let wanted = "cpu.max 70000 100000, cpu.weight 50, memory.high 402653184, memory.max 536870912, pids.max 64";
        assert_eq!(wall.ok().as_deref(), Some(wanted));
        assert!(Wall::of("[Service]\nMemoryMax=512M\n").is_err());
    }
}
