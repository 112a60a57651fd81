//! Where the agent's own words go: standard error, or the journal by its own protocol where standard error leads there.

use std::{
    fs,
    io::{self, IsTerminal},
    os::unix::fs::MetadataExt as _,
};

use tracing_subscriber::{EnvFilter, layer::SubscriberExt as _, util::SubscriberInitExt as _};

mod journal;

use self::journal::Journal;
use super::Failure;
use crate::config::{LogFormat, LogSettings};

/// What the command line says of logging.
pub(super) struct LogChoice {
    pub(super) level: Option<String>,
    pub(super) shape: Option<LogShape>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(super) enum LogShape {
    Text,
    Json,
}

impl LogChoice {
    /// Starts logging. `level` holds where neither file nor command line say otherwise.
    pub(super) fn start(&self, settings: &LogSettings, level: Option<&str>) -> Result<(), Failure> {
        let unset = settings.level == LogSettings::default().level;
        let chosen = match (&self.level, level) {
            (Some(given), _) => given,
            (None, Some(quiet)) if unset => quiet,
            (None, _) => &settings.level,
        };
        let filter = EnvFilter::try_new(chosen).map_err(|_| {
            Failure::Config(format!("log level `{chosen}` is not known; use error, warn, info, debug or trace"))
        })?;
        let json = match self.shape {
            Some(LogShape::Json) => true,
            Some(LogShape::Text) => false,
            None => settings.format == LogFormat::Json,
        };
        // Who asks for a shape gets lines of that shape.
        if self.shape.is_none()
            && !json
            && stderr_is_the_journal()
            && let Ok(journal) = Journal::connect()
        {
            // A second start, in tests alone, keeps the first.
            let _ = tracing_subscriber::registry().with(filter).with(journal).try_init();
            return Ok(());
        }
        let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(colour);
        let _ = if json { builder.json().try_init() } else { builder.with_target(false).try_init() };
        Ok(())
    }
}

/// Whether standard error is the stream to the journal that systemd made, and not a file it was since led to.
fn stderr_is_the_journal() -> bool {
    let Some(named) = std::env::var_os("JOURNAL_STREAM") else { return false };
    fs::metadata("/proc/self/fd/2").is_ok_and(|found| is_stream(&named.to_string_lossy(), found.dev(), found.ino()))
}

/// `device:inode`, as systemd writes it.
fn is_stream(named: &str, device: u64, inode: u64) -> bool {
    named
        .split_once(':')
        .is_some_and(|(first, second)| first.parse::<u64>() == Ok(device) && second.parse::<u64>() == Ok(inode))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_journal_is_told_by_device_and_inode() {
        assert!(is_stream("8:4711", 8, 4_711));
        for other in ["8:4712", "9:4711", "8", "", "8:", "x:4711"] {
            assert!(!is_stream(other, 8, 4_711), "{other}");
        }
    }
}
