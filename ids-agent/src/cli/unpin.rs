//! `unpin`: takes off what an agent that pinned left behind.

use std::path::PathBuf;

use super::{Failure, print};
use crate::{config::Pin, kernel::Kernel};
use clap::Args;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ids-agent unpin
  ids-agent unpin /sys/fs/bpf/other-agent

Refused while an agent uses the directory.")]
pub(super) struct UnpinArgs {
    /// The directory of the pins
    #[arg(value_name = "DIR", default_value = Pin::DIR)]
    dir: PathBuf,
}

pub(super) fn run(args: &UnpinArgs) -> Result<(), Failure> {
    let dir = args.dir.display();
    if !args.dir.is_dir() {
        return Err(Failure::Other(format!("nothing is pinned in `{dir}`: there is no such directory")));
    }
    let (links, maps) = Kernel::unpin(&args.dir).map_err(Failure::other)?;
    print(format!("{links} links and {maps} maps are taken out of {dir}; their programs end\n").as_bytes())
}
