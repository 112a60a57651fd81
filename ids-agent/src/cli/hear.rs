//! `replay --suricata` and `--eve`: what Suricata says of the captures that are replayed.

use std::{
    cell::RefCell,
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use clap::Args;

use super::Failure;
use crate::{
    config::Config,
    eve::{EveDetail, EveEvent, Lines, parse_line},
    pipeline::{CaptureRules, CaptureSuricata, CapturesError, Control},
};

#[derive(Debug, Args)]
pub(super) struct HearArgs {
    /// Run Suricata on the same captures, and join what it says with what the agent sees
    #[arg(long)]
    pub(super) suricata: bool,
    /// Rules for Suricata: a file, or a folder of them [default: those of this machine]
    #[arg(long, value_name = "PATH", requires = "suricata")]
    pub(super) suricata_rules: Option<PathBuf>,
    /// Join what Suricata said of the capture in this eve.json
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
            program: PathBuf::from("suricata"),
            rules: args.suricata_rules.clone(),
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
    let failed = |error: std::io::Error| Failure::Other(format!("cannot read `{}`: {error}", path.display()));
    let mut file = File::open(path).map_err(failed)?;
    let (mut lines, mut said) = (Lines::default(), Said { events: Vec::new(), skipped: 0 });
    let mut buffer = vec![0; 256 << 10];
    loop {
        let length = file.read(&mut buffer).map_err(failed)?;
        if length == 0 {
            return Ok(said);
        }
        lines.push(buffer.get(..length).unwrap_or(&[]), |line| match parse_line(line) {
            Ok(event) if !matches!(event.detail, EveDetail::Alert(_)) && event.app.is_none() => {}
            Ok(event) if said.events.len() < EVENTS_MAX => said.events.push(event),
            Ok(_) | Err(_) => said.skipped += 1,
        });
    }
}
