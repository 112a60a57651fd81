//! `check-config`: the settings in force, or the one mistake.

use super::{CheckArgs, Failure, print};
use crate::config;

pub(super) fn run(args: &CheckArgs) -> Result<(), Failure> {
    let config = config::load(&args.file)?;
    let text = if args.json {
        serde_json::to_string_pretty(&config).map_err(Failure::other)?
    } else {
        toml::to_string_pretty(&config).map_err(Failure::other)?
    };
    print(format!("{}\n", text.trim_end()).as_bytes())
}
