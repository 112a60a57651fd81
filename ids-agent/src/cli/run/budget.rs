//! What `run` needs to keep within its budget: the limits on this machine, and the governor's thread.

use std::{path::Path, sync::Arc};

use super::Failure;
use crate::{
    alert::{Provenance, Renderer},
    budget::{Effort, Governor, Limits, Needs, Sense, Visibility, machine::Files, plan},
    config::{self, Config},
    http::Metrics,
    kernel::cost::Counting,
    pipeline::{Board, Governing, GovernorParts, Outlet, SuricataKeeper},
    supervisor::Roster,
};

const MIB: u64 = 1 << 20;

/// What the budget comes to; none where it is off. A budget that cannot be kept here is refused where the file says it.
pub(super) fn limits(config: &Config, file: Option<&Path>, map_bytes: u64) -> Result<Option<Limits>, Failure> {
    if !config.budget.enabled {
        return Ok(None);
    }
    let suricata_bytes = if config.suricata.manage { config.suricata.ram_mib.saturating_mul(MIB) } else { 0 };
    let machine = Files::default().machine();
    let table_bytes = Needs::table_bytes(config.flow.flows_max as u64);
    match plan(&config.budget, &machine, &Needs { map_bytes, suricata_bytes, table_bytes }) {
        Ok(limits) => {
            tracing::info!(
                cpus = limits.cpus,
                of_cpus = machine.cpus_usable(),
                memory_mib = limits.memory_bytes / MIB,
                of_mib = machine.memory_usable() / MIB,
                tables = limits.tables.share(),
                "budget"
            );
            Ok(Some(limits))
        }
        Err(error) => Err(config::refused(file, error.key, &error.value, &error.want).into()),
    }
}

/// What holds from the first tick on.
pub(super) fn board(limits: Option<Limits>) -> Board {
    Board::fixed(limits.map(|limits| Effort { tables: limits.tables, ..Effort::default() }).unwrap_or_default())
}

/// What the governor is given beside its limits.
pub(super) struct Around<'a> {
    pub(super) config: &'a Config,
    pub(super) board: Arc<Board>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) suricata: Option<&'a SuricataKeeper>,
    pub(super) provenance: Provenance,
    pub(super) alerts: Option<Outlet>,
    /// Those that are at work.
    pub(super) senses: Vec<Sense>,
    /// Records lost under the agent before this one, whose maps are gone on with.
    pub(super) lost_before: u64,
    /// Asked for before what that takes is given up.
    pub(super) counting: Option<Counting>,
}

/// Begins to govern, and to say what is not seen.
pub(super) fn govern(limits: Option<Limits>, around: Around<'_>, roster: &Roster) -> Result<Governing, Failure> {
    let tables = limits.map(|limits| limits.tables).unwrap_or_default();
    let parts = GovernorParts {
        governor: limits.map(Governor::new),
        visibility: Visibility::new(around.config.sample, around.senses)
            .with_tables(tables)
            .behind_losses(around.lost_before),
        board: around.board,
        metrics: around.metrics,
        suricata: around.suricata.map(SuricataKeeper::meter),
        renderer: Renderer::new(around.config.alert.format, around.provenance),
        alerts: around.alerts,
        files: Files::default(),
        counting: around.counting,
    };
    Governing::start(parts, roster).map_err(|error| Failure::Other(format!("cannot start thread `budget`: {error}")))
}
