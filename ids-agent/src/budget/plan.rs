//! What the budget comes to on this machine, and whether that is possible at all. Pure: what the machine has is an argument.

use super::{Tables, machine::Machine};
use crate::config::{BudgetSettings, CpuOf};

const MIB: u64 = 1 << 20;

/// Without `ram_mib`: a quarter of what there is, and no more than so much; tables never fill more.
const RAM_SHARE: u64 = 4;
const RAM_DERIVED_MAX: u64 = 512 * MIB;
/// Of a limit that the kernel enforces by killing, so much is left alone.
const LEFT_OF_LIMIT: u64 = 10;

/// The program with its models and nothing in its tables; records that travel, batches and lines, while tables are at their
/// smallest; and what a flow takes with all that tables keep of it and of its hosts, at the default ratio of their sizes.
/// With room to spare over what `tests/tests/budget.rs` prints of an idle agent and of floods; `docs/budget.md` has the figures.
const PROGRAM_BYTES: u64 = 40 * MIB;
const TRAFFIC_BYTES: u64 = 28 * MIB;
const FLOW_BYTES: u64 = 2_560;

/// What is kept to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// CPU time a second, in CPUs.
    pub cpus: f64,
    pub memory_bytes: u64,
    /// The largest tables that fit in it, full as a flood makes them, and what whole ones take.
    pub tables: Tables,
    pub table_bytes: u64,
}

impl Limits {
    /// What tables of this size take when they are full, in shares of the memory budget: as much as doubling them adds.
    pub fn table_load(&self, tables: Tables) -> f64 {
        (self.table_bytes >> tables.halvings()) as f64 / (self.memory_bytes as f64).max(1.0)
    }
}

/// What the settings ask for whatever happens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Bytes of the kernel maps.
    pub map_bytes: u64,
    /// What a managed Suricata may take.
    pub suricata_bytes: u64,
    /// What the tables take when they are full and whole.
    pub table_bytes: u64,
}

impl Needs {
    /// The least memory that the agent runs in: with its tables at their smallest.
    pub const fn least_bytes(&self) -> u64 {
        self.bytes_with(Tables::SMALLEST)
    }

    const fn bytes_with(&self, tables: Tables) -> u64 {
        let table_bytes = self.table_bytes >> tables.halvings();
        PROGRAM_BYTES + TRAFFIC_BYTES + self.map_bytes + self.suricata_bytes + table_bytes
    }

    /// The largest tables with which all stays within a limit.
    const fn tables_within(&self, limit_bytes: u64) -> Tables {
        let mut tables = Tables::WHOLE;
        while self.bytes_with(tables) > limit_bytes && tables.halvings() < Tables::SMALLEST.halvings() {
            tables = tables.smaller();
        }
        tables
    }

    /// What the tables take that hold so many flows: what is kept of their hosts, services, words and verdicts is counted to them.
    pub const fn table_bytes(flows_max: u64) -> u64 {
        flows_max.saturating_mul(FLOW_BYTES)
    }
}

/// A budget that this machine does not have. `key` and `value` as the configuration writes them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key} = {value} is not possible: {want}")]
pub struct BudgetError {
    pub key: &'static str,
    pub value: String,
    pub want: String,
}

/// What the settings come to on this machine.
pub fn plan(settings: &BudgetSettings, machine: &Machine, needs: &Needs) -> Result<Limits, BudgetError> {
    let memory_bytes = memory(settings, machine, needs)?;
    Ok(Limits {
        cpus: cpus(settings, machine)?,
        memory_bytes,
        tables: needs.tables_within(memory_bytes),
        table_bytes: needs.table_bytes,
    })
}

fn cpus(settings: &BudgetSettings, machine: &Machine) -> Result<f64, BudgetError> {
    let share = f64::from(settings.cpu_percent) / 100.0;
    match settings.cpu_of {
        CpuOf::All => Ok(share * machine.cpus_usable()),
        // Whoever is held to less than that gets the same share of less.
        CpuOf::Core if settings.cpu_percent <= machine.cpus.saturating_mul(100) => Ok(share.min(machine.cpus_usable())),
        CpuOf::Core => Err(BudgetError {
            key: "budget.cpu_percent",
            value: settings.cpu_percent.to_string(),
            want: format!("this machine has {} CPUs, so at most {} percent of one", machine.cpus, machine.cpus * 100),
        }),
    }
}

fn memory(settings: &BudgetSettings, machine: &Machine, needs: &Needs) -> Result<u64, BudgetError> {
    let least = needs.least_bytes();
    let most = machine.memory_usable();
    let mib = |bytes: u64| bytes.div_ceil(MIB);
    let possible = || {
        let parts = format!(
            "{} MiB for the program and its models, {} for what travels, {} for kernel maps",
            PROGRAM_BYTES / MIB,
            TRAFFIC_BYTES / MIB,
            mib(needs.map_bytes)
        );
        let suricata = match needs.suricata_bytes {
            0 => String::new(),
            bytes => format!(", {} for Suricata", mib(bytes)),
        };
        format!("{parts}{suricata}")
    };
    let Some(ram_mib) = settings.ram_mib else {
        let share = (most / RAM_SHARE).min(RAM_DERIVED_MAX).saturating_add(needs.suricata_bytes);
        let limit = machine.memory_limit_bytes.map_or(u64::MAX, |limit| limit - limit / LEFT_OF_LIMIT);
        return Ok(share.max(least).min(limit));
    };
    let wanted = ram_mib.saturating_mul(MIB);
    let refuse = |want: String| Err(BudgetError { key: "budget.ram_mib", value: ram_mib.to_string(), want });
    if wanted > most {
        return refuse(format!("there are {} MiB here, and {} are the least: {}", most / MIB, mib(least), possible()));
    }
    if wanted < least {
        return refuse(format!(
            "these settings take {} MiB at the least: {}; capture.sets_per_cpu and capture.ring_bytes make the maps smaller",
            mib(least),
            possible()
        ));
    }
    Ok(wanted)
}
