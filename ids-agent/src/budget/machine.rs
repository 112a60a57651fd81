//! What the machine has and how it fares, out of proc and sys. The only reader of these files; what is not there is left out.
//!
//! Sources: proc(5), cgroups(7), Documentation/accounting/psi.rst, driver-api/thermal, hwmon/sysfs-interface, and the
//! `get_throttled` file of Raspberry Pi's firmware.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// CPUs and memory that there are, and limits that the agent is held to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Machine {
    /// CPUs that the process may run on.
    pub cpus: u32,
    /// CPU time a second that its control groups leave it, in CPUs.
    pub cpu_quota: Option<f64>,
    pub memory_bytes: u64,
    /// Memory beyond which its control groups kill it.
    pub memory_limit_bytes: Option<u64>,
}

impl Machine {
    /// CPU time a second that can be had at all.
    pub fn cpus_usable(&self) -> f64 {
        let cpus = f64::from(self.cpus.max(1));
        self.cpu_quota.map_or(cpus, |quota| quota.min(cpus))
    }

    pub fn memory_usable(&self) -> u64 {
        self.memory_limit_bytes.map_or(self.memory_bytes, |limit| limit.min(self.memory_bytes))
    }
}

/// What a process takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Since it began, of all its threads.
    pub cpu_ns: u64,
    pub resident_bytes: u64,
}

/// Percent of the last ten seconds in which somebody waited.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pressure {
    pub cpu: Option<f64>,
    pub memory: Option<f64>,
}

/// How warm the board is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Heat {
    /// The warmest sensor, in degrees Celsius.
    pub celsius: Option<f64>,
    /// Whether a sensor is at the mark from which its driver slows the board down, or the firmware does so.
    pub hot: bool,
}

/// Where proc and sys are; elsewhere in tests alone.
#[derive(Clone, Debug)]
pub struct Files {
    root: PathBuf,
}

impl Default for Files {
    fn default() -> Self {
        Self { root: PathBuf::from("/") }
    }
}

/// A sensor without marks of its own is hot from here.
const HOT_CELSIUS: f64 = 85.0;
/// Below the mark at which a board turns itself off by so much it is hot.
const BEFORE_CRITICAL_CELSIUS: f64 = 10.0;
/// Marks below this are no marks: some drivers leave zeros and negative numbers there.
const MARK_CELSIUS_MIN: f64 = 40.0;
/// The firmware says now: frequency capped, throttled, soft temperature limit.
const THROTTLED_NOW: u32 = 0b1110;
/// Trip points and sensors looked at of one device.
const MARKS_MAX: usize = 16;

impl Files {
    pub fn under(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    fn text(&self, path: impl AsRef<Path>) -> Option<String> {
        fs::read_to_string(self.at(path)).ok()
    }

    fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    pub fn machine(&self) -> Machine {
        let status = self.text("proc/self/status").unwrap_or_default();
        let cpus = field(&status, "Cpus_allowed_list:").map_or(1, cpus_in).max(1);
        let meminfo = self.text("proc/meminfo").unwrap_or_default();
        let groups = self.groups();
        let least = |limits: Vec<f64>| limits.into_iter().min_by(f64::total_cmp);
        Machine {
            cpus,
            cpu_quota: least(groups.iter().filter_map(|group| self.cpu_quota(group)).collect()),
            memory_bytes: field(&meminfo, "MemTotal:").and_then(kib).unwrap_or(u64::MAX),
            memory_limit_bytes: groups.iter().filter_map(|group| self.memory_limit(group)).min(),
        }
    }

    /// What the agent itself takes.
    pub fn taken(&self) -> Option<Taken> {
        let stat = self.text("proc/self/stat")?;
        // The name may hold spaces and parentheses; what follows its last one does not.
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
        let user: u64 = fields.nth(11)?.parse().ok()?;
        let system: u64 = fields.next()?.parse().ok()?;
        let tick_ns = 1_000_000_000 / rustix::param::clock_ticks_per_second().max(1);
        let status = self.text("proc/self/status")?;
        Some(Taken {
            cpu_ns: user.saturating_add(system).saturating_mul(tick_ns),
            resident_bytes: field(&status, "VmRSS:").and_then(kib)?,
        })
    }

    /// Absent where the kernel has no such figures, or was told to keep none.
    pub fn pressure(&self) -> Pressure {
        let some = |of: &str| {
            let text = self.text(Path::new("proc/pressure").join(of))?;
            let line = text.lines().find(|line| line.starts_with("some "))?;
            let average = line.split_whitespace().find_map(|word| word.strip_prefix("avg10="))?;
            average.parse().ok()
        };
        Pressure { cpu: some("cpu"), memory: some("memory") }
    }

    pub fn heat(&self) -> Heat {
        let mut heat = Heat { celsius: None, hot: self.is_throttled() };
        for zone in self.entries("sys/class/thermal", "thermal_zone") {
            let Some(celsius) = millidegrees(&zone.join("temp")) else { continue };
            heat.take(celsius, zone_mark(&zone));
        }
        for device in self.entries("sys/class/hwmon", "hwmon") {
            for sensor in 1..=MARKS_MAX {
                let mark = |of: &str| millidegrees(&device.join(format!("temp{sensor}_{of}"))).filter(is_mark);
                let Some(celsius) = millidegrees(&device.join(format!("temp{sensor}_input"))) else { continue };
                heat.take(celsius, mark("max").or_else(|| mark("crit").map(|at| at - BEFORE_CRITICAL_CELSIUS)));
            }
        }
        heat
    }

    /// What the firmware of a Raspberry Pi says, where there is one.
    fn is_throttled(&self) -> bool {
        let boards = self.entries("sys/devices/platform", "");
        let firmware = boards.iter().flat_map(|board| {
            let inner = list(board).into_iter().filter(|entry| entry.to_string_lossy().ends_with(":firmware"));
            inner.chain(std::iter::once(board.clone()))
        });
        firmware
            .filter_map(|folder| fs::read_to_string(folder.join("get_throttled")).ok())
            .filter_map(|text| u32::from_str_radix(text.trim().trim_start_matches("0x"), 16).ok())
            .any(|bits| bits & THROTTLED_NOW != 0)
    }

    fn entries(&self, folder: &str, prefix: &str) -> Vec<PathBuf> {
        let named = |entry: &PathBuf| entry.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix));
        list(&self.at(folder)).into_iter().filter(named).collect()
    }

    /// The folders of the control groups that the process is in, from its own to the topmost, of all controllers.
    fn groups(&self) -> Vec<PathBuf> {
        let (Some(own), Some(mounts)) = (self.text("proc/self/cgroup"), self.text("proc/self/mountinfo")) else {
            return Vec::new();
        };
        let mut found = Vec::new();
        for line in own.lines() {
            let mut parts = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
            let Some((top, mount)) = mount_of(&mounts, controllers) else { continue };
            let inside = Path::new(path).strip_prefix(top).or_else(|_| Path::new(path).strip_prefix("/"));
            let mut group = self.at(mount).join(inside.unwrap_or(Path::new("")));
            let top = self.at(mount);
            while group.starts_with(&top) {
                found.push(group.clone());
                if !group.pop() {
                    break;
                }
            }
        }
        found
    }

    fn cpu_quota(&self, group: &Path) -> Option<f64> {
        let number = |name: &str| fs::read_to_string(group.join(name)).ok()?.trim().parse::<f64>().ok();
        let (quota, period) = match fs::read_to_string(group.join("cpu.max")) {
            Ok(text) => {
                let (quota, period) = text.trim().split_once(' ')?;
                (quota.parse().ok()?, period.parse().ok()?)
            }
            Err(_) => (number("cpu.cfs_quota_us")?, number("cpu.cfs_period_us")?),
        };
        (quota > 0.0 && period > 0.0).then(|| quota / period)
    }

    fn memory_limit(&self, group: &Path) -> Option<u64> {
        let number = |name: &str| fs::read_to_string(group.join(name)).ok()?.trim().parse::<u64>().ok();
        // Version 1 writes the largest number of pages for none.
        number("memory.max").or_else(|| number("memory.limit_in_bytes")).filter(|limit| *limit < 1 << 60)
    }
}

impl Heat {
    fn take(&mut self, celsius: f64, mark: Option<f64>) {
        self.celsius = Some(self.celsius.map_or(celsius, |warmest| warmest.max(celsius)));
        self.hot |= celsius >= mark.unwrap_or(HOT_CELSIUS);
    }
}

/// The lowest mark from which a zone's driver acts.
fn zone_mark(zone: &Path) -> Option<f64> {
    let marks = (0..MARKS_MAX).filter_map(|at| {
        let kind = fs::read_to_string(zone.join(format!("trip_point_{at}_type"))).ok()?;
        let celsius = millidegrees(&zone.join(format!("trip_point_{at}_temp"))).filter(is_mark)?;
        match kind.trim() {
            "passive" | "hot" => Some(celsius),
            "critical" => Some(celsius - BEFORE_CRITICAL_CELSIUS),
            _ => None,
        }
    });
    marks.min_by(f64::total_cmp)
}

fn is_mark(celsius: &f64) -> bool {
    *celsius >= MARK_CELSIUS_MIN
}

fn millidegrees(path: &Path) -> Option<f64> {
    let text = fs::read_to_string(path).ok()?;
    Some(f64::from(text.trim().parse::<i32>().ok()?) / 1_000.0)
}

fn list(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    paths
}

/// Where the hierarchy of these controllers is mounted: what of it, and where. Version 2 has no controllers in its line.
fn mount_of<'a>(mounts: &'a str, controllers: &str) -> Option<(&'a str, &'a str)> {
    mounts.lines().find_map(|line| {
        let (place, kind) = line.split_once(" - ")?;
        let mut place = place.split(' ').skip(3);
        let (top, mount) = (place.next()?, place.next()?);
        let mut kind = kind.split(' ');
        let (filesystem, options) = (kind.next()?, kind.nth(1)?);
        let ours = match controllers {
            "" => filesystem == "cgroup2",
            some => filesystem == "cgroup" && some.split(',').all(|one| options.split(',').any(|other| other == one)),
        };
        ours.then_some((top, mount))
    })
}

/// What stands behind a field's name.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
}

fn kib(value: &str) -> Option<u64> {
    let number: u64 = value.strip_suffix("kB")?.trim().parse().ok()?;
    number.checked_mul(1_024)
}

/// CPUs in a list such as `0-3,6`.
fn cpus_in(list: &str) -> u32 {
    let count = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        last.checked_sub(first)?.checked_add(1)
    };
    list.split(',').filter_map(count).sum()
}
