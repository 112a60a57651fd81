//! Begins the Suricata that the agent runs, where the settings ask for one.

use crate::{
    cli::Failure,
    config::{Config, EveFiletype},
    http::Metrics,
    pipeline::{Care, SuricataKeeper},
    secret::Secret,
    supervisor::Roster,
    suricata::{self, EVE, Launch, Machine, Memory, RulesStore, Share, Sources, YAML, local_rules},
};

const MIB: u64 = 1 << 20;

/// Nothing where it is not managed.
pub(super) fn manage(config: &Config, metrics: &Metrics, roster: &Roster) -> Result<Option<SuricataKeeper>, Failure> {
    let settings = &config.suricata;
    if !settings.manage {
        return Ok(None);
    }
    let interfaces = &config.capture.interfaces;
    let machine = Machine::look(interfaces).map_err(Failure::other)?;
    let store = RulesStore::new(&settings.rules_dir);
    let plan = suricata::plan(settings, &config.site.home_networks, interfaces, &machine, &store.in_force())
        .map_err(Failure::other)?;
    let memory = Memory::divide(settings.ram_mib);
    // Two files of eve.json lie in memory too, where the run directory does.
    let apart = memory.rings + 2 * settings.eve_mib * MIB;
    let launch = Launch {
        program: settings.program.clone(),
        yaml: settings.config.clone().unwrap_or_else(|| settings.run_dir.join(YAML)),
        run_dir: settings.run_dir.clone(),
        share: Share { cpus: plan.cpus.clone(), private_bytes: memory.whole.saturating_sub(apart).max(64 * MIB) },
    };
    let secret = settings.rule_secret.as_ref().map(Secret::read).transpose().map_err(Failure::other)?;
    let sources = Sources { listed: settings.rule_sources.clone(), local: local_rules(settings), secret };
    let eve = settings.run_dir.join(EVE);
    let ours = settings.config.is_none() && settings.eve_filetype == EveFiletype::Regular;
    let ours = ours && settings.eve_file().as_deref() == Some(eve.as_path());
    let care = Care {
        launch,
        plan: settings.config.is_none().then_some(plan),
        store,
        sources,
        update_secs: settings.update_hours.saturating_mul(3_600),
        rotate: ours.then_some((eve, settings.eve_mib * MIB)),
        metrics: metrics.managed_suricata().map_err(Failure::other)?,
    };
    SuricataKeeper::start(care, roster.clone())
        .map(Some)
        .map_err(|error| Failure::Other(format!("cannot start thread `suricata`: {error}")))
}
