//! The governor against made-up loads, and the reader of the machine against trees of files written here in the kernel's forms.
#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that fails")]

use std::{fs, path::Path, sync::Arc};

use super::{
    machine::{Files, Machine, Taken},
    *,
};
use crate::{
    config::{BudgetSettings, CpuOf, SampleSettings},
    source::blind::BlindCause,
};

const MIB: u64 = 1 << 20;
const SEC: u64 = 1_000_000_000;

fn limits() -> Limits {
    Limits { cpus: 1.0, memory_bytes: 100 * MIB, tables: Tables::WHOLE, table_bytes: 32 * MIB }
}

/// A governor with its clock: two seconds a sample.
struct Run {
    governor: Governor,
    at_ns: u64,
}

impl Run {
    fn new() -> Self {
        Self { governor: Governor::new(limits()), at_ns: 0 }
    }

    fn sample(&mut self, cpu: f64, memory_mib: u64, change: impl Fn(&mut Sample)) -> Decision {
        self.at_ns += SAMPLE_EVERY_NS;
        let mut sample = Sample {
            at_ns: self.at_ns,
            over_ns: SAMPLE_EVERY_NS,
            cpu_ns: (cpu * SAMPLE_EVERY_NS as f64) as u64,
            memory_bytes: memory_mib * MIB,
            ..Sample::default()
        };
        change(&mut sample);
        self.governor.step(&sample)
    }

    /// The levels that so many samples of this load lead through.
    fn levels(&mut self, cpu: f64, samples: usize) -> Vec<u8> {
        (0..samples).map(|_| self.sample(cpu, 10, |_| ()).effort.level.number()).collect()
    }
}

#[test]
fn a_level_goes_with_the_second_sample_over_and_each_one_behind_it() {
    let mut run = Run::new();
    assert_eq!(run.levels(1.2, 6), [0, 1, 2, 3, 3, 3]);
    let mut run = Run::new();
    assert_eq!(
        [run.levels(1.2, 1), run.levels(0.9, 1), run.levels(1.2, 1)].concat(),
        [0, 0, 0],
        "single samples do nothing"
    );
}

#[test]
fn levels_come_back_slowly_where_there_is_room_and_faster_where_nothing_is_taken() {
    let mut run = Run::new();
    run.levels(1.2, 4);
    assert_eq!(run.levels(0.5, 10), [3, 3, 3, 3, 2, 2, 2, 2, 2, 1]);
    assert_eq!(run.levels(0.8, 20), [1; 20], "between the marks nothing moves");
    let mut run = Run::new();
    run.levels(1.2, 4);
    let back = run.levels(0.02, 9);
    assert_eq!(back.last(), Some(&0), "{back:?}: within 18 s of relief");
}

#[test]
fn what_was_taken_back_too_early_takes_longer_the_next_time() {
    let mut run = Run::new();
    run.levels(1.2, 2);
    let mut waits = Vec::new();
    for _ in 0..5 {
        let wait = (1..).find(|_| run.levels(0.5, 1) == [0]).unwrap();
        waits.push(wait);
        run.levels(1.2, 2);
    }
    assert_eq!(waits, [5, 10, 20, 40, 40]);
    // The cause gone, all is back at once, within half a minute.
    run.levels(1.2, 2);
    assert_eq!(run.levels(0.02, 12), [[3; 11].as_slice(), &[0]].concat());
}

#[test]
fn softirq_time_counts_as_the_agents_own() {
    let mut run = Run::new();
    let decision = run.sample(0.6, 10, |sample| sample.softirq_ns = SAMPLE_EVERY_NS * 6 / 10);
    assert_eq!(decision.over, Some(Why::Cpu));
    assert!((decision.cpu_load - 1.2).abs() < 1e-6);
}

#[test]
fn heat_pressure_and_a_slow_engine_give_up_levels_only_where_the_agent_takes_part() {
    let over = |cpu: f64, change: fn(&mut Sample)| Run::new().sample(cpu, 10, change).over;
    assert_eq!(over(0.3, |sample| sample.hot = true), Some(Why::Heat));
    assert_eq!(over(0.1, |sample| sample.hot = true), None);
    assert_eq!(over(0.6, |sample| sample.cpu_pressure = Some(80.0)), Some(Why::Pressure));
    assert_eq!(over(0.3, |sample| sample.cpu_pressure = Some(80.0)), None);
    assert_eq!(over(0.0, |sample| sample.behind = true), Some(Why::Behind));
    assert_eq!(over(0.3, |sample| sample.memory_pressure = Some(50.0)), Some(Why::Memory));
}

#[test]
fn tables_are_halved_under_memory_pressure_and_levels_follow_when_they_cannot_shrink_further() {
    let mut run = Run::new();
    let mut seen = Vec::new();
    for _ in 0..8 {
        let effort = run.sample(0.1, 120, |_| ()).effort;
        seen.push((effort.tables.halvings(), effort.level.number()));
    }
    assert_eq!(seen, [(1, 0), (2, 0), (3, 0), (4, 0), (4, 0), (4, 1), (4, 2), (4, 3)]);
    let mut back = Vec::new();
    for _ in 0..12 {
        back.push(run.sample(0.1, 20, |_| ()).effort.tables.halvings());
    }
    assert_eq!(back, [4, 4, 3, 3, 3, 2, 2, 2, 1, 1, 1, 0], "24 s of relief");
    assert_eq!(run.governor.effort(), Effort::default());
}

#[test]
fn tables_are_never_larger_than_the_budget_has_room_for() {
    let small = Tables::halved(2);
    let mut run = Run::new();
    run.governor = Governor::new(Limits { tables: small, ..limits() });
    assert_eq!(run.governor.effort(), Effort { tables: small, ..Effort::default() });
    run.sample(0.1, 120, |_| ());
    assert_eq!(run.governor.effort().tables, small.smaller());
    for _ in 0..30 {
        run.sample(0.1, 20, |_| ());
    }
    assert_eq!(run.governor.effort().tables, small);
    // What was meant from the start is no loss of sight.
    let mut visibility = visibility().with_tables(small);
    let sight = |tables| Sight { effort: Effort { tables, ..Effort::default() }, ..at(1, Level::Full) };
    assert_eq!(visibility.look(&sight(small)), None);
    assert_eq!(visibility.look(&sight(small.smaller())).unwrap().causes, [Cause::Tables(small.smaller())]);
}

#[test]
fn budgets_that_the_machine_does_not_have_say_what_is_possible() {
    let machine = Machine { cpus: 2, memory_bytes: 1_024 * MIB, ..Machine::default() };
    let needs = Needs { map_bytes: 18 * MIB, suricata_bytes: 0, table_bytes: 64 * MIB };
    let default = BudgetSettings::default();
    let with = |settings: BudgetSettings| plan(&settings, &machine, &needs).map_err(|error| error.to_string());
    assert_eq!(
        with(default),
        Ok(Limits { cpus: 1.4, memory_bytes: 256 * MIB, tables: Tables::WHOLE, table_bytes: 64 * MIB })
    );
    let few = with(BudgetSettings { ram_mib: Some(20), ..default }).unwrap_err();
    assert!(few.starts_with("budget.ram_mib = 20 is not possible: these settings take 90 MiB at the least"), "{few}");
    let many = with(BudgetSettings { ram_mib: Some(2_000), ..default }).unwrap_err();
    assert!(many.contains("there are 1024 MiB here, and 90 are the least"), "{many}");
    let cpus = with(BudgetSettings { cpu_percent: 250, cpu_of: CpuOf::Core, ..default }).unwrap_err();
    assert!(cpus.contains("this machine has 2 CPUs, so at most 200 percent of one"), "{cpus}");
    assert_eq!(
        with(BudgetSettings { ram_mib: Some(96), cpu_of: CpuOf::Core, ..default }),
        Ok(Limits { cpus: 0.7, memory_bytes: 96 * MIB, tables: Tables::halved(3), table_bytes: 64 * MIB }),
        "10 MiB are left for tables of 64"
    );
}

#[test]
fn control_groups_make_the_budget_smaller_and_a_managed_suricata_makes_it_larger() {
    let machine =
        Machine { cpus: 4, cpu_quota: Some(0.2), memory_bytes: 8_192 * MIB, memory_limit_bytes: Some(100 * MIB) };
    let plan_of = |machine: &Machine, needs: Needs| plan(&BudgetSettings::default(), machine, &needs).unwrap();
    let limits = plan_of(&machine, Needs::default());
    assert!((limits.cpus - 0.14).abs() < 1e-9);
    assert_eq!(limits.memory_bytes, 68 * MIB, "below the limit at which the kernel kills");
    let free = Machine { cpu_quota: None, memory_limit_bytes: None, ..machine };
    let limits = plan_of(&free, Needs { suricata_bytes: 768 * MIB, ..Needs::default() });
    assert_eq!(limits.memory_bytes, (512 + 768) * MIB);
}

fn visibility() -> Visibility {
    Visibility::new(SampleSettings::default(), Sense::ALL)
}

fn at(secs: u64, level: Level) -> Sight {
    Sight { at_ns: secs * SEC, effort: Effort::at(level), why: Some(Why::Cpu), ..Sight::default() }
}

#[test]
fn what_gets_worse_is_told_at_once_and_what_gets_better_once_all_is_seen() {
    let mut visibility = visibility();
    assert_eq!(visibility.look(&at(1, Level::Full)), None);
    let told = visibility.look(&at(2, Level::Reduced)).unwrap();
    assert_eq!((told.stage, told.since_ns), (NoticeStage::Degraded, 2 * SEC));
    assert_eq!(told.reason, "level 2 (reduced), for the CPU budget; off: payload; judging less: anomaly");
    assert_eq!(visibility.look(&at(3, Level::Reduced)), None);
    assert_eq!(visibility.look(&at(4, Level::Lean)), None, "better, but not yet well");
    assert!(visibility.look(&at(5, Level::Bare)).is_some(), "worse than what held before");
    let back = visibility.look(&at(6, Level::Full)).unwrap();
    assert_eq!((back.stage, back.reason.as_str()), (NoticeStage::Restored, "all is seen again, after 4 s with less"));
    assert_eq!(visibility.look(&at(7, Level::Full)), None);
}

#[test]
fn losses_detectors_and_interfaces_are_told_and_losses_end_ten_seconds_behind_the_last() {
    let mut visibility = visibility();
    let lost = |secs, ring_lost| Sight { ring_lost, ..at(secs, Level::Full) };
    assert_eq!(visibility.look(&lost(1, 5)).unwrap().causes, [Cause::RingFull]);
    assert_eq!(visibility.look(&lost(5, 9)), None, "told already");
    assert_eq!(visibility.look(&lost(14, 9)), None);
    assert_eq!(visibility.look(&lost(15, 9)).unwrap().stage, NoticeStage::Restored);
    let silent = Sight { silent: vec![Sense::Signature], ..lost(16, 9) };
    let told = visibility.look(&silent).unwrap();
    assert_eq!(told.causes, [Cause::Detector(Sense::Signature)]);
    assert!(told.coverage.contains(&(Sense::Signature, 0.0)) && told.coverage.contains(&(Sense::Intel, 1.0)));
    let blind = Sight { blind: vec![(Arc::from("eth0"), BlindCause::Gone)], ..silent };
    let told = visibility.look(&blind).unwrap();
    assert!(told.reason.contains("interface eth0 is not seen (gone)"), "{}", told.reason);
}

#[test]
fn what_was_lost_under_the_agent_before_is_not_told_again() {
    let mut visibility = visibility().behind_losses(5);
    let lost = |secs, ring_lost| Sight { ring_lost, ..at(secs, Level::Full) };
    assert_eq!((visibility.look(&lost(0, 0)), visibility.look(&lost(1, 5))), (None, None));
    assert_eq!(visibility.look(&lost(2, 6)).unwrap().causes, [Cause::RingFull]);
}

#[test]
fn a_detector_that_is_not_at_work_is_no_cause() {
    let mut visibility = Visibility::new(SampleSettings::default(), [Sense::Behaviour]);
    assert_eq!(visibility.look(&Sight { silent: vec![Sense::Intel], ..at(1, Level::Full) }), None);
    assert_eq!(visibility.coverage(&at(1, Level::Bare)), [(Sense::Behaviour, 1.0)]);
}

/// Writes a tree of files.
fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    dir
}

fn files(dir: &tempfile::TempDir) -> Files {
    Files::under(dir.path())
}

/// As a Raspberry Pi 4 with Raspberry Pi OS has them: no memory controller, no pressure figures.
const PI_4: [(&str, &str); 9] = [
    ("proc/self/status", "Name:\tids agent\nVmRSS:\t   58400 kB\nRssAnon:\t    5652 kB\nCpus_allowed_list:\t0-3\n"),
    (
        "proc/self/stat",
        "711 (ids) agent) S 1 711 711 0 -1 4194560 6432 0 7 0 200 19 0 0 20 0 4 0 3596371 286404608 14557 184467440\n",
    ),
    ("proc/meminfo", "MemTotal:        3882020 kB\nMemFree:         2914132 kB\n"),
    ("proc/self/cgroup", "0::/system.slice/ids-agent.service\n"),
    (
        "proc/self/mountinfo",
        "25 30 0:22 / /proc rw - proc proc rw\n\
         33 24 0:28 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n",
    ),
    ("sys/fs/cgroup/system.slice/ids-agent.service/cpu.max", "max 100000\n"),
    ("sys/class/thermal/thermal_zone0/temp", "61342\n"),
    ("sys/class/thermal/thermal_zone0/trip_point_0_temp", "110000\n"),
    ("sys/class/thermal/thermal_zone0/trip_point_0_type", "critical\n"),
];

#[test]
fn a_raspberry_pi_is_read_as_it_is() {
    let dir = tree(&PI_4);
    let machine = files(&dir).machine();
    let expected = Machine { cpus: 4, cpu_quota: None, memory_bytes: 3_882_020 * 1_024, memory_limit_bytes: None };
    assert_eq!(machine, expected);
    let ticks = 1_000_000_000 / rustix::param::clock_ticks_per_second();
    assert_eq!(files(&dir).taken(), Some(Taken { cpu_ns: 219 * ticks, resident_bytes: 58_400 * 1_024 }));
    assert_eq!(files(&dir).pressure(), machine::Pressure::default());
    let heat = files(&dir).heat();
    assert_eq!((heat.celsius.map(f64::round), heat.hot), (Some(61.0), false));
}

#[test]
fn a_board_that_slows_itself_down_is_hot() {
    let throttled = |text: &str| {
        let dir = tree(&[("sys/devices/platform/soc/soc:firmware/get_throttled", text)]);
        files(&dir).heat().hot
    };
    assert!(!throttled("0\n"));
    assert!(!throttled("50000\n"), "it was slow since the boot, and is not now");
    assert!(throttled("50005\n") && throttled("8\n") && throttled("e0008\n"));
    let zone = |temp: &str, kind: &str, mark: &str| {
        let at = "sys/class/thermal/thermal_zone3";
        let dir = tree(&[
            (&format!("{at}/temp"), temp),
            (&format!("{at}/trip_point_0_type"), kind),
            (&format!("{at}/trip_point_0_temp"), mark),
        ]);
        files(&dir).heat().hot
    };
    assert!(zone("80500", "passive", "80000") && !zone("79500", "passive", "80000"));
    assert!(zone("80500", "critical", "90000"), "ten degrees before it turns itself off");
    assert!(!zone("80500", "active", "50000"), "a fan is no trouble");
    assert!(zone("86000", "passive", "0") && !zone("84000", "passive", "-274000"), "without a mark of its own");
    let hwmon = |temp: &str| {
        let at = "sys/class/hwmon/hwmon1";
        files(&tree(&[(&format!("{at}/temp1_input"), temp), (&format!("{at}/temp1_max"), "75000")])).heat().hot
    };
    assert!(hwmon("75000") && !hwmon("74000"));
}

#[test]
fn limits_of_all_groups_above_hold_in_both_versions() {
    let two = tree(&[
        ("proc/self/cgroup", "0::/box/agent\n"),
        ("proc/self/mountinfo", "33 24 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"),
        ("sys/fs/cgroup/box/cpu.max", "20000 100000\n"),
        ("sys/fs/cgroup/box/agent/cpu.max", "max 100000\n"),
        ("sys/fs/cgroup/box/memory.max", "268435456\n"),
        ("sys/fs/cgroup/box/agent/memory.max", "100663296\n"),
        (
            "proc/pressure/cpu",
            "some avg10=61.50 avg60=3.00 avg300=1.00 total=99\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
        ),
    ]);
    let machine = files(&two).machine();
    assert_eq!((machine.cpu_quota, machine.memory_limit_bytes), (Some(0.2), Some(96 * MIB)));
    assert_eq!(files(&two).pressure(), machine::Pressure { cpu: Some(61.5), memory: None });

    let one = tree(&[
        ("proc/self/cgroup", "4:memory:/small\n2:cpu,cpuacct:/slow\n1:name=systemd:/\n0::/\n"),
        (
            "proc/self/mountinfo",
            "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
             32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct\n",
        ),
        ("sys/fs/cgroup/cpu,cpuacct/slow/cpu.cfs_quota_us", "150000\n"),
        ("sys/fs/cgroup/cpu,cpuacct/slow/cpu.cfs_period_us", "100000\n"),
        ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n"),
        ("sys/fs/cgroup/memory/small/memory.limit_in_bytes", "100663296\n"),
        ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
    ]);
    let machine = files(&one).machine();
    assert_eq!((machine.cpu_quota, machine.memory_limit_bytes), (Some(1.5), Some(96 * MIB)));
}

#[test]
fn a_machine_that_says_nothing_is_one_cpu_without_limits() {
    let machine = Files::under(Path::new("/no/such/folder")).machine();
    assert_eq!((machine.cpus, machine.cpu_quota, machine.memory_limit_bytes), (1, None, None));
    assert!(machine.memory_usable() > 1 << 40);
}

#[test]
fn this_machine_is_read() {
    let files = Files::default();
    let machine = files.machine();
    assert!(machine.cpus >= 1 && machine.memory_bytes > 64 * MIB, "{machine:?}");
    assert!(files.taken().unwrap().resident_bytes > 1 << 20);
}
