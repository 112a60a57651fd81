//! The governor of CPU and memory: samples of what the agent takes in, how much it gives up out. Pure: `budget/machine` reads
//! the files, `pipeline` asks every two seconds.
//!
//! ```text
//! machine ──▶ Sample ──▶ Governor ──▶ Effort { level, tables } ──▶ source (samples, ticks), engine (witnesses, timeouts, tables)
//!                                        └──▶ Sight ──▶ Visibility ──▶ Notice: "visibility degraded", "visibility restored"
//! ```

mod ladder;
pub mod machine;
mod plan;
#[cfg(test)]
mod tests;
mod visibility;

pub use ladder::{Effort, LADDER, Level, Rung, Sense, Share, Tables};
pub use plan::{BudgetError, Limits, Needs, plan};
pub use visibility::{Cause, Notice, NoticeStage, Sight, Visibility};

/// How often a sample is taken.
pub const SAMPLE_EVERY_NS: u64 = 2_000_000_000;

/// Samples over the budget, one after another, at which a level is given up; each further one gives up another.
const OVER_SAMPLES: u32 = 2;
/// Samples with room, one after another, at which a level is taken back; doubled each time that proves too early.
const ROOM_SAMPLES: u32 = 5;
const ROOM_SAMPLES_MAX: u32 = 40;
/// What counts as room: below so much of the budget.
const ROOM_LOAD: f64 = 0.7;
/// So little is taken that the cause is gone. Then a level is taken back sooner; and where levels went up and down before, all of
/// them at once, but later: within half a minute of relief either way.
const IDLE_LOAD: f64 = 0.3;
const IDLE_SAMPLES: u32 = 3;
const IDLE_SAMPLES_MAX: u32 = 12;
/// A level given up again so soon after it was taken back was taken back too early.
const TOO_EARLY_NS: u64 = 60_000_000_000;

/// Share of processes' time spent waiting for a CPU from which others suffer, if the agent takes its part in that.
const CPU_PRESSURE_MAX: f64 = 60.0;
const CPU_PRESSURE_LOAD: f64 = 0.5;
/// A board that slows itself down is helped by whoever takes this much of its budget.
const HOT_LOAD: f64 = 0.25;

/// Memory, in shares of the budget, above which tables are halved. Those that the budget has room for stay below it, so this is
/// for what nobody foresaw. They are doubled where what they then take at most still leaves this share.
const MEMORY_HIGH: f64 = 0.95;
const MEMORY_ROOM: f64 = 0.9;
/// Share of time in which somebody waits for memory, from which tables are halved too.
const MEMORY_PRESSURE_MAX: f64 = 20.0;
const MEMORY_ROOM_SAMPLES: u32 = 3;
const MEMORY_ROOM_SAMPLES_MAX: u32 = 24;

/// What was taken since the sample before, and how things stand.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sample {
    /// Time of it, on an axis that never jumps, and how long after the one before.
    pub at_ns: u64,
    pub over_ns: u64,
    /// CPU time of the agent and of a Suricata that it manages.
    pub cpu_ns: u64,
    /// CPU time that the programs in the kernel cost the machine.
    pub softirq_ns: u64,
    /// Resident memory, kernel maps, and a managed Suricata's memory.
    pub memory_bytes: u64,
    /// Percent of the last ten seconds in which somebody waited, where the kernel says so.
    pub cpu_pressure: Option<f64>,
    pub memory_pressure: Option<f64>,
    /// Whether the board slows itself down, or is about to.
    pub hot: bool,
    /// Whether the engine does not keep up with the source.
    pub behind: bool,
}

impl Sample {
    /// CPU time a second, in CPUs.
    pub fn cpus(&self) -> f64 {
        let taken = self.cpu_ns.saturating_add(self.softirq_ns);
        if self.over_ns == 0 { 0.0 } else { taken as f64 / self.over_ns as f64 }
    }
}

/// Why something was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Why {
    /// More CPU time than the budget.
    Cpu,
    /// Others wait for CPUs of which the agent takes its part.
    Pressure,
    Heat,
    /// The engine does not keep up.
    Behind,
    Memory,
}

impl Why {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Pressure => "pressure",
            Self::Heat => "heat",
            Self::Behind => "behind",
            Self::Memory => "memory",
        }
    }
}

/// What the governor makes of a sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decision {
    pub effort: Effort,
    /// What was over in this sample, the gravest.
    pub over: Option<Why>,
    /// CPU and memory in shares of the budget.
    pub cpu_load: f64,
    pub memory_load: f64,
}

/// Decides how much is given up. The same samples give the same decisions.
#[derive(Clone, Debug)]
pub struct Governor {
    limits: Limits,
    effort: Effort,
    cpu: Hysteresis,
    memory: Hysteresis,
}

/// Counts samples on either side.
#[derive(Clone, Copy, Debug)]
struct Hysteresis {
    over: u32,
    room: u32,
    patience: u32,
    patience_min: u32,
    patience_max: u32,
    /// When something was taken back last.
    back_ns: Option<u64>,
}

/// On which side of the budget a sample lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Over,
    Between,
    Room,
    /// Far below.
    Idle,
}

/// What follows from a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    GiveUp,
    Stay,
    TakeBack,
    TakeAllBack,
}

impl Hysteresis {
    const fn new(patience_min: u32, patience_max: u32) -> Self {
        Self { over: 0, room: 0, patience: patience_min, patience_min, patience_max, back_ns: None }
    }

    fn step(&mut self, side: Side, at_ns: u64) -> Step {
        match side {
            Side::Over => {
                self.room = 0;
                self.over += 1;
                if self.over < OVER_SAMPLES {
                    return Step::Stay;
                }
                let early = self.back_ns.take().is_some_and(|back_ns| at_ns.saturating_sub(back_ns) < TOO_EARLY_NS);
                if early {
                    self.patience = (self.patience * 2).min(self.patience_max);
                }
                Step::GiveUp
            }
            Side::Between => {
                (self.over, self.room) = (0, 0);
                Step::Stay
            }
            Side::Room | Side::Idle => {
                self.over = 0;
                self.room += 1;
                let unsteady = self.patience > self.patience_min;
                let enough = match side {
                    Side::Idle if unsteady => self.patience.min(IDLE_SAMPLES_MAX),
                    Side::Idle => IDLE_SAMPLES,
                    _ => self.patience,
                };
                if self.room < enough {
                    return Step::Stay;
                }
                let all = side == Side::Idle && unsteady;
                self.room = 0;
                if self.back_ns.is_some_and(|back_ns| at_ns.saturating_sub(back_ns) >= TOO_EARLY_NS) {
                    self.patience = self.patience_min;
                }
                self.back_ns = Some(at_ns);
                if all { Step::TakeAllBack } else { Step::TakeBack }
            }
        }
    }
}

impl Governor {
    pub fn new(limits: Limits) -> Self {
        Self {
            effort: Effort { tables: limits.tables, ..Effort::default() },
            limits,
            cpu: Hysteresis::new(ROOM_SAMPLES, ROOM_SAMPLES_MAX),
            memory: Hysteresis::new(MEMORY_ROOM_SAMPLES, MEMORY_ROOM_SAMPLES_MAX),
        }
    }

    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    pub fn effort(&self) -> Effort {
        self.effort
    }

    pub fn step(&mut self, sample: &Sample) -> Decision {
        let cpu_load = sample.cpus() / self.limits.cpus.max(f64::MIN_POSITIVE);
        let memory_load = sample.memory_bytes as f64 / (self.limits.memory_bytes as f64).max(1.0);
        let cpu = cpu_trouble(sample, cpu_load);
        let memory = memory_load > MEMORY_HIGH || sample.memory_pressure.is_some_and(|at| at > MEMORY_PRESSURE_MAX);

        let doubled = memory_load + self.limits.table_load(self.effort.tables);
        let side = match memory {
            true => Side::Over,
            false if doubled < MEMORY_ROOM => Side::Room,
            false => Side::Between,
        };
        if memory_load > 1.0 {
            // Beyond the budget itself there is no second sample to wait for.
            self.memory.over = self.memory.over.max(OVER_SAMPLES - 1);
        }
        let smallest = self.effort.tables == Tables::SMALLEST;
        let mut starved = false;
        match self.memory.step(side, sample.at_ns) {
            // Where tables can shrink no further, fewer flows are held.
            Step::GiveUp if smallest => starved = memory_load > 1.0,
            Step::GiveUp => self.effort.tables = self.effort.tables.smaller(),
            Step::TakeBack => self.effort.tables = self.effort.tables.larger().max(self.limits.tables),
            Step::TakeAllBack => self.effort.tables = self.limits.tables,
            Step::Stay => {}
        }

        let side = match cpu_load {
            _ if cpu.is_some() || starved => Side::Over,
            load if load < IDLE_LOAD => Side::Idle,
            // Room in memory is no room for what was given up for it.
            load if load < ROOM_LOAD && memory_load <= MEMORY_HIGH => Side::Room,
            _ => Side::Between,
        };
        match self.cpu.step(side, sample.at_ns) {
            Step::GiveUp => self.effort.level = self.effort.level.up(),
            Step::TakeBack => self.effort.level = self.effort.level.down(),
            Step::TakeAllBack => self.effort.level = Level::Full,
            Step::Stay => {}
        }
        let over = cpu.or((memory || starved).then_some(Why::Memory));
        Decision { effort: self.effort, over, cpu_load, memory_load }
    }
}

/// What is wrong with CPU time, if anything.
fn cpu_trouble(sample: &Sample, load: f64) -> Option<Why> {
    if load > 1.0 {
        return Some(Why::Cpu);
    }
    if sample.behind {
        return Some(Why::Behind);
    }
    if sample.hot && load > HOT_LOAD {
        return Some(Why::Heat);
    }
    let pressed = sample.cpu_pressure.is_some_and(|at| at > CPU_PRESSURE_MAX);
    (pressed && load > CPU_PRESSURE_LOAD).then_some(Why::Pressure)
}
