//! How much of the machine the agent may take. What the machine has is not known here: `budget` checks against it.

use serde::{Deserialize, Serialize};

/// The share of the machine that the agent keeps to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BudgetSettings {
    /// Whether the agent gives up work when it takes more than its share.
    pub enabled: bool,
    /// CPU time of the agent, of its programs in the kernel and of a Suricata that it manages, in percent of `cpu_of`.
    pub cpu_percent: u32,
    pub cpu_of: CpuOf,
    /// Memory of the agent, its kernel maps, and a Suricata that it manages; without it a share of what the machine has.
    pub ram_mib: Option<u64>,
}

impl Default for BudgetSettings {
    fn default() -> Self {
        Self { enabled: true, cpu_percent: 70, cpu_of: CpuOf::All, ram_mib: None }
    }
}

/// What a percentage of CPU is of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CpuOf {
    /// One CPU: 200 percent are two.
    Core,
    /// All CPUs that the agent may use.
    #[default]
    All,
}

impl CpuOf {
    pub const fn label(self) -> &'static str {
        match self {
            Self::Core => "core",
            Self::All => "all",
        }
    }
}

/// What `cpu_percent` may be on any machine: 100 percent of all CPUs, and of one so many times that as there may be CPUs.
pub(super) const CPU_PERCENT_MAX: u32 = 100 * 1_024;
