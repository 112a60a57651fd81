//! `replay --suricata` and `--eve`: what Suricata says of the captures that are replayed.

use std::{
    cell::RefCell,
    path::{Path, PathBuf},
};

use clap::Args;

use super::Failure;
use crate::{
    config::Config,
    eve::{EveDetail, EveEvent, read_whole},
    pipeline::Control,
    suricata::{CaptureRules, CaptureSuricata, CapturesError, local_rules},
};

#[derive(Debug, Args)]
pub(super) struct HearArgs {
    /// Run Suricata on the same captures, and join what it says with what the agent sees
    #[arg(long)]
    pub(super) suricata: bool,
    /// Rules for Suricata beside the shipped ones: a file, or a folder of them [default: those of this machine]
    #[arg(long, value_name = "PATH", requires = "suricata")]
    pub(super) suricata_rules: Option<PathBuf>,
    /// Join what Suricata said of the capture in this eve.json, plain or packed with gzip or zstd
    #[arg(long, value_name = "FILE", conflicts_with = "suricata")]
    pub(super) eve: Option<PathBuf>,
}

/// Events kept of one capture; more are left out, counted.
const EVENTS_MAX: usize = 4_000_000;

/// Where Suricata's events come from.
#[derive(Default)]
pub(super) enum Ears {
    /// From nowhere: the agent is alone.
    #[default]
    None,
    File(PathBuf),
    Suricata(Box<RefCell<CaptureSuricata>>),
}

/// What was heard of one capture.
pub(super) struct Said {
    pub(super) events: Vec<EveEvent>,
    /// Lines that gave no event, and events that were too many.
    pub(super) skipped: u64,
}

impl Ears {
    pub(super) fn open(
        args: &HearArgs,
        captures: &[PathBuf],
        config: &Config,
        control: &Control,
    ) -> Result<Self, Failure> {
        if let Some(path) = &args.eve {
            return match captures {
                [_] => Ok(Self::File(path.clone())),
                _ => Err(Failure::Usage("--eve tells of one capture: name no more than that".to_owned())),
            };
        }
        if !args.suricata {
            return Ok(Self::None);
        }
        if captures.iter().any(|path| super::inputs::is_dash(path)) {
            return Err(Failure::Usage(CapturesError::StandardInput.to_string()));
        }
        let settings = CaptureRules {
            program: config.suricata.program.clone(),
            rules: args.suricata_rules.clone(),
            local_rules: local_rules(&config.suricata),
            home_networks: config.site.home_networks.iter().map(ToString::to_string).collect(),
        };
        let suricata = CaptureSuricata::start(&settings, &control.stop).map_err(Failure::other)?;
        Ok(Self::Suricata(Box::new(RefCell::new(suricata))))
    }

    pub(super) fn is_open(&self) -> bool {
        !matches!(self, Self::None)
    }

    /// Rules that are in force, where a Suricata of ours has them.
    pub(super) fn rules_loaded(&self) -> Option<u64> {
        match self {
            Self::None | Self::File(_) => None,
            Self::Suricata(suricata) => Some(suricata.borrow().rules_loaded()),
        }
    }

    pub(super) fn hear(&self, capture: &Path, control: &Control) -> Result<Said, Failure> {
        match self {
            Self::None => Ok(Said { events: Vec::new(), skipped: 0 }),
            Self::File(path) => read(path),
            Self::Suricata(suricata) => {
                let eve = suricata.borrow_mut().judge(capture, &control.stop).map_err(Failure::other)?;
                // Of a capture that it cannot read, Suricata writes nothing.
                if eve.is_file() { read(&eve) } else { Ok(Said { events: Vec::new(), skipped: 0 }) }
            }
        }
    }
}

/// The events of a file that bear on flows.
fn read(path: &Path) -> Result<Said, Failure> {
    let mut said = Said { events: Vec::new(), skipped: 0 };
    let totals = read_whole(path, |event| {
        if !matches!(event.detail, EveDetail::Alert(_)) && event.app.is_none() {
            return;
        }
        if said.events.len() < EVENTS_MAX {
            said.events.push(event);
        } else {
            said.skipped += 1;
        }
    })
    .map_err(|error| Failure::Other(format!("cannot read `{}`: {error}", path.display())))?;
    said.skipped += totals.skipped.iter().sum::<u64>();
    Ok(said)
}
