//! Has a running Suricata take the rules in force, and goes back to those before where it does not.

use std::{path::Path, time::Duration};

use super::{CommandError, Commands, Release, RulesError, RulesStore};

/// Why a running Suricata did not take new rules.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    #[error(transparent)]
    Command(#[from] CommandError),
    #[error("Suricata took {loaded} of {wanted} rules")]
    Few { loaded: u64, wanted: u64 },
    #[error("Suricata goes on with the rules it had")]
    Unchanged,
}

/// How long taking rules may last: 22,000 take some seconds of one CPU.
const PATIENCE: Duration = Duration::from_secs(180);
/// Suricata's test and Suricata itself may count a rule differently; far fewer mean that files were missing.
const TAKEN_PERCENT_MIN: u64 = 98;

/// Has the Suricata at `socket` read its rules anew, and sees to it that it did: it says `done` in any case.
pub fn reload(socket: &Path, release: &Release) -> Result<(), ReloadError> {
    let mut commands = Commands::connect(socket, PATIENCE)?;
    let before = commands.reloaded_at()?;
    commands.reload_rules()?;
    if commands.reloaded_at()? == before {
        return Err(ReloadError::Unchanged);
    }
    let loaded = commands.rule_counts()?.loaded;
    if loaded * 100 < release.rules * TAKEN_PERCENT_MIN {
        return Err(ReloadError::Few { loaded, wanted: release.rules });
    }
    Ok(())
}

/// The same for a release that has just been put in force: where Suricata does not take it, the one before comes back.
pub fn reload_or_rollback(store: &RulesStore, socket: &Path, release: &Release) -> Result<(), (ReloadError, Back)> {
    let Err(error) = reload(socket, release) else { return Ok(()) };
    let back = match store.rollback() {
        Ok(before) => match reload(socket, &before) {
            Ok(()) => Back::To(before.number),
            Err(_) => Back::OnDisk(before.number),
        },
        Err(error) => Back::Not(error),
    };
    Err((error, back))
}

/// What came of going back.
#[derive(Debug)]
pub enum Back {
    /// Suricata runs with this release again.
    To(u64),
    /// It is in force for the next start.
    OnDisk(u64),
    Not(RulesError),
}

impl std::fmt::Display for Back {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::To(number) => write!(out, "release {number} is in force again"),
            Self::OnDisk(number) => write!(out, "release {number} is in force when Suricata starts again"),
            Self::Not(error) => write!(out, "{error}"),
        }
    }
}
