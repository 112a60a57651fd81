//! `status`, `reload` and `block`: ask the agent that runs, over its control socket.

use std::{net::IpAddr, path::PathBuf};

use clap::{Args, Subcommand};
use serde_json::Value;

use super::{
    Failure,
    options::{CommonArgs, effective},
    print,
    table::{grouped, shown, table},
};
use crate::{
    config::Config,
    control::{self, ClientError, Request},
};

mod left;
mod status;

use left::Left;

/// Which agent is asked, and how it is shown.
#[derive(Debug, Args)]
pub(super) struct SocketArgs {
    /// The agent's control socket [default: control.path of the configuration]
    #[arg(long, value_name = "FILE", env = "IDS_CONTROL")]
    socket: Option<PathBuf>,
    /// Configuration that names the socket [default: /etc/ids-agent/config.toml, where it exists]
    #[arg(short, long, value_name = "FILE", env = "IDS_CONFIG")]
    config: Option<PathBuf>,
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
}

impl SocketArgs {
    fn ask(&self, request: &Request) -> Result<Value, Failure> {
        control::ask(&self.path()?, request).map_err(Failure::other)
    }

    /// The same; where no agent runs, what one left pinned is opened.
    fn ask_or_open(&self, request: &Request) -> Result<Asked, Failure> {
        match control::ask(&self.path()?, request) {
            Ok(answer) => Ok(Asked::Answered(answer)),
            Err(error @ ClientError::NobodyThere { .. }) => match Left::open(self.settings()?)? {
                Some(left) => Ok(Asked::Nobody(Box::new(left))),
                None => Err(Failure::other(error)),
            },
            Err(error) => Err(Failure::other(error)),
        }
    }

    fn path(&self) -> Result<PathBuf, Failure> {
        self.socket.clone().map_or_else(|| Ok(self.settings()?.control.path), Ok)
    }

    fn settings(&self) -> Result<Config, Failure> {
        effective(&CommonArgs { config: self.config.clone(), models: None }, None)
    }

    fn show(&self, answer: &Value, people: impl FnOnce(&Value) -> String) -> Result<(), Failure> {
        let text =
            if self.json { serde_json::to_string_pretty(answer).map_err(Failure::other)? } else { people(answer) };
        print(format!("{}\n", text.trim_end()).as_bytes())
    }
}

/// Who takes an order about blocks.
enum Asked {
    Answered(Value),
    /// No agent runs: what one left pinned.
    Nobody(Box<Left>),
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ids-agent status
  ids-agent status --json")]
pub(super) struct StatusArgs {
    #[command(flatten)]
    socket: SocketArgs,
}

pub(super) fn status(args: &StatusArgs) -> Result<(), Failure> {
    args.socket.show(&args.socket.ask(&Request::Status {})?, status::shown)
}

#[derive(Debug, Args)]
#[command(after_help = "Example:
  ids-agent reload

Reads configuration, models, feeds, allow lists and rules again, as SIGHUP does, and says what came into force. With a
mistake in any of them all stays as it was, and the mistake is named.")]
pub(super) struct ReloadArgs {
    #[command(flatten)]
    socket: SocketArgs,
}

pub(super) fn reload(args: &ReloadArgs) -> Result<(), Failure> {
    args.socket.show(&args.socket.ask(&Request::Reload {})?, |done| {
        let list = |name: &str| {
            let words = done.get(name).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
            words.collect::<Vec<_>>().join(", ")
        };
        let mut lines = Vec::new();
        let (changed, rebuilt) = (list("changed"), list("rebuilt"));
        lines.push(match (changed.is_empty(), rebuilt.is_empty()) {
            (true, true) => "reloaded; nothing that can change while the agent runs is different".to_owned(),
            (true, false) => format!("reloaded; built anew: {rebuilt}"),
            (false, true) => format!("reloaded; in force: {changed}"),
            (false, false) => format!("reloaded; in force: {changed}; built anew: {rebuilt}"),
        });
        let waiting = list("needs_restart");
        if !waiting.is_empty() {
            lines.push(format!("these need a restart: {waiting}"));
        }
        lines.extend(Some(list("warnings")).filter(|warnings| !warnings.is_empty()));
        lines.join("\n")
    })
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ids-agent block list
  ids-agent block add 203.0.113.9 --secs 3600 --reason \"ticket 4711\"
  ids-agent block add 203.0.113.9 --target 192.0.2.1
  ids-agent block remove 203.0.113.9

Blocking is off unless enforce.enabled is set. Addresses on the never-block list (this machine, its gateways and name
servers, the home networks, enforce.management, enforce.never) cannot be blocked, by hand neither. Where no agent runs, and
one left its maps pinned (capture.pin), the verbs work on those.")]
pub(super) struct BlockArgs {
    #[command(subcommand)]
    verb: BlockVerb,
}

#[derive(Debug, Subcommand)]
enum BlockVerb {
    /// Lists the blocks in force
    List {
        #[command(flatten)]
        socket: SocketArgs,
    },
    /// Drops what an address sends, for a while
    Add {
        /// Whose packets are dropped
        source: IpAddr,
        /// Drop only what it sends to this address
        #[arg(long, value_name = "ADDRESS")]
        target: Option<IpAddr>,
        /// How long [default: enforce.duration_secs]
        #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
        secs: Option<u64>,
        /// Why, for the audit
        #[arg(long)]
        reason: Option<String>,
        #[command(flatten)]
        socket: SocketArgs,
    },
    /// Ends a block
    Remove {
        source: IpAddr,
        /// The block towards this address alone
        #[arg(long, value_name = "ADDRESS")]
        target: Option<IpAddr>,
        #[command(flatten)]
        socket: SocketArgs,
    },
}

pub(super) fn block(args: &BlockArgs) -> Result<(), Failure> {
    match &args.verb {
        BlockVerb::List { socket } => {
            let listed = match socket.ask_or_open(&Request::BlockList {})? {
                Asked::Answered(answer) => answer,
                Asked::Nobody(left) => left.list(),
            };
            socket.show(&listed, blocks)
        }
        BlockVerb::Add { source, target, secs, reason, socket } => {
            let (source, target, secs) = (*source, *target, *secs);
            let request = Request::BlockAdd { source, target, secs, reason: reason.clone() };
            let done = match socket.ask_or_open(&request)? {
                Asked::Answered(answer) => answer,
                Asked::Nobody(left) => left.add(source, target, secs, reason.clone())?,
            };
            socket.show(&done, |done| {
                let dry = done.get("dry_run").and_then(Value::as_bool) == Some(true);
                let towards = target.map(|target| format!(" towards {target}")).unwrap_or_default();
                if dry {
                    format!("{source}{towards} would be blocked: enforce.dry_run is set, and nothing is dropped")
                } else {
                    format!("{source}{towards} is blocked")
                }
            })
        }
        BlockVerb::Remove { source, target, socket } => {
            let done = match socket.ask_or_open(&Request::BlockRemove { source: *source, target: *target })? {
                Asked::Answered(answer) => answer,
                Asked::Nobody(left) => left.remove(*source, *target)?,
            };
            socket.show(&done, |_| format!("{source} is no longer blocked"))
        }
    }
}

fn blocks(answer: &Value) -> String {
    let blocks: Vec<&Value> = answer.get("blocks").and_then(Value::as_array).into_iter().flatten().collect();
    let dry = answer.get("dry_run").and_then(Value::as_bool) == Some(true);
    let note = if dry { "Dry run: nothing is dropped.\n" } else { "" };
    if blocks.is_empty() {
        return format!("{note}Nothing is blocked.");
    }
    let mut rows = table(&["source", "target", "left", "dropped", "by", "why"]);
    for block in blocks {
        let text = |name: &str| block.get(name).and_then(Value::as_str).unwrap_or("");
        let number = |name: &str| block.get(name).and_then(Value::as_u64).unwrap_or(0);
        let target = if text("target").is_empty() { "all" } else { text("target") };
        rows.add_row([
            shown(text("source"), 45),
            shown(target, 45),
            status::duration(number("seconds_left")),
            format!("{} packets", grouped(number("packets"))),
            shown(text("by"), 20),
            shown(text("reason"), 80),
        ]);
    }
    format!("{note}{rows}")
}
