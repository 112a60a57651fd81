//! Options that several verbs share, and what they make of the configuration.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::Failure;
pub(super) use super::logging::{LogChoice, LogShape};
use crate::config::{self, AlertFormat, Config};

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

impl CommonArgs {
    /// The file that is read, where there is one.
    pub(super) fn config_file(&self) -> Option<PathBuf> {
        let default = Path::new(CONFIG_DEFAULT);
        self.config.clone().or_else(|| default.exists().then(|| default.to_owned()))
    }
}

/// Reads the configuration and applies what the command line says.
pub(super) fn effective(common: &CommonArgs, output: Option<&OutputArgs>) -> Result<Config, Failure> {
    let mut config = match common.config_file() {
        Some(path) => config::load(&path)?,
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
