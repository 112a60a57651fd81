//! Options that several verbs share, and what they make of the configuration.

use std::{
    io::{self, IsTerminal},
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

use super::Failure;
use crate::config::{self, AlertFormat, Config, LogFormat, LogSettings};

/// Read where --config names no other.
const CONFIG_DEFAULT: &str = "/etc/ids-agent/config.toml";

#[derive(Debug, Args)]
pub(super) struct CommonArgs {
    /// Configuration file [default: /etc/ids-agent/config.toml, where it exists]
    #[arg(short, long, value_name = "FILE", env = "IDS_CONFIG")]
    pub(super) config: Option<PathBuf>,
    /// Folder with the models
    #[arg(long, value_name = "DIR", env = "IDS_MODELS")]
    pub(super) models: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct OutputArgs {
    /// File for alerts, one JSON object a line; `-` is standard output
    #[arg(long, value_name = "FILE")]
    pub(super) alerts: Option<PathBuf>,
    /// File for one line per ended flow; `-` is standard output
    #[arg(long, value_name = "FILE")]
    pub(super) flows: Option<PathBuf>,
    /// Shape of alert and flow lines
    #[arg(long, value_enum)]
    pub(super) format: Option<FormatArg>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum FormatArg {
    /// EVE's field names plus an `ids` object
    Native,
    /// Strict Suricata EVE
    Eve,
    /// Elastic Common Schema
    Ecs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum LogShape {
    Text,
    Json,
}

/// What the command line says of logging.
pub(super) struct LogChoice {
    pub(super) level: Option<String>,
    pub(super) shape: Option<LogShape>,
}

impl LogChoice {
    /// Starts logging to standard error. `level` holds where neither file nor command line say otherwise.
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
        let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(colour);
        let json = match self.shape {
            Some(LogShape::Json) => true,
            Some(LogShape::Text) => false,
            None => settings.format == LogFormat::Json,
        };
        // A second start, in tests alone, keeps the first.
        let _ = if json { builder.json().try_init() } else { builder.with_target(false).try_init() };
        Ok(())
    }
}

/// Reads the configuration and applies what the command line says.
pub(super) fn effective(common: &CommonArgs, output: Option<&OutputArgs>) -> Result<Config, Failure> {
    let default = Path::new(CONFIG_DEFAULT);
    let mut config = match &common.config {
        Some(path) => config::load(path)?,
        None if default.exists() => config::load(default)?,
        None => Config::default(),
    };
    if let Some(models) = &common.models {
        config.detect.models_dir = Some(models.clone());
    }
    if let Some(output) = output {
        if let Some(path) = &output.alerts {
            config.alert.path.clone_from(path);
        }
        if let Some(path) = &output.flows {
            config.alert.flows_path = Some(path.clone());
        }
        if let Some(format) = output.format {
            config.alert.format = match format {
                FormatArg::Native => AlertFormat::Native,
                FormatArg::Eve => AlertFormat::Eve,
                FormatArg::Ecs => AlertFormat::Ecs,
            };
        }
    }
    Ok(config)
}
