//! Begins blocking where the settings turn it on; where they do not, nothing stays blocked from an earlier run.

use super::{Failure, kernel_failure};
use crate::{
    cli::parts::Seed,
    config::{Config, Direction, Fsync},
    enforce::{DryRun, Enforcer, audit::Effect},
    http::Metrics,
    kernel::Kernel,
    pipeline::{AtStop, EnforceParts, Enforcement, Sinks},
    sink::{FileSettings, FileSink, Overflow},
    supervisor::Roster,
};

pub(super) fn start(
    config: &Config,
    kernel: &mut Kernel,
    sinks: &mut Sinks,
    metrics: &Metrics,
    roster: &Roster,
) -> Result<Option<Enforcement>, Failure> {
    let settings = &config.enforce;
    let mut blocks = kernel.take_blocks().map_err(kernel_failure)?;
    let drops = settings.enabled && !settings.dry_run;
    if !drops {
        for (key, _) in blocks.entries().map_err(kernel_failure)? {
            blocks.remove(&key).map_err(kernel_failure)?;
        }
    }
    if !settings.enabled {
        return Ok(None);
    }
    if config.capture.direction == Direction::Egress {
        return Err(Failure::Config(
            "enforce.enabled = true needs the packets that arrive: set capture.direction to both or ingress".to_owned(),
        ));
    }
    let (enforcer, effect): (Box<dyn Enforcer>, Effect) =
        if drops { (Box::new(blocks), Effect::Real) } else { (Box::new(DryRun::default()), Effect::Dry) };
    // Nothing is blocked without a trace: no audit, no start.
    let kept = FileSettings {
        rotate_bytes: config.alert.rotate_bytes,
        rotate_keep: config.alert.rotate_keep,
        fsync: Fsync::Batch,
    };
    let file = FileSink::open("blocks", &settings.audit, kept).map_err(Failure::other)?;
    let audit = sinks
        .start(Box::new(file), config.alert.queue_max, Overflow::DropLeast, roster)
        .map_err(|error| Failure::Other(format!("cannot start thread `blocks`: {error}")))?;
    tracing::info!(dry_run = !drops, audit = %settings.audit.display(), "blocking");
    let parts = EnforceParts {
        settings: settings.clone(),
        home: config.site.home_networks.clone(),
        enforcer,
        effect,
        at_stop: if config.capture.pin.dir().is_some() { AtStop::Leave } else { AtStop::End },
        audit,
        metrics: metrics.enforcement().map_err(Failure::other)?,
        hash_seed: Seed::Random.draw(),
    };
    Enforcement::start(parts, roster)
        .map(Some)
        .map_err(|error| Failure::Other(format!("cannot start thread `enforcer`: {error}")))
}
