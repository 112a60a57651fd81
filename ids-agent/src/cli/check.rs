//! `check-config`: the settings in force, or the one mistake.

use super::{Failure, print};
use crate::config;
use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ids-agent check-config /etc/ids-agent/config.toml
  ids-agent check-config --json config.toml")]
pub(super) struct CheckArgs {
    /// The configuration file
    file: PathBuf,
    /// Print the settings in force as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &CheckArgs) -> Result<(), Failure> {
    let config = config::load(&args.file)?;
    let text = if args.json {
        serde_json::to_string_pretty(&config).map_err(Failure::other)?
    } else {
        toml::to_string_pretty(&config).map_err(Failure::other)?
    };
    print(format!("{}\n", text.trim_end()).as_bytes())
}
