//! `devices`: what the state file says of the site's devices.

use serde::Serialize;
use std::path::PathBuf;

use super::{
    Failure,
    options::{CommonArgs, effective},
    print,
    table::{grouped, table},
};
use crate::{
    clock::Timestamp,
    detect::anomaly::{self, DeviceLine},
    state,
};
use clap::Args;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ids-agent devices
  ids-agent devices --state /var/lib/ids-agent --json

Reads what `run` keeps in state.dir. docs/devices.md says what is learned and what is made of it.")]
pub(super) struct DevicesArgs {
    /// State file, or the directory that holds it [default: state.dir]
    #[arg(long, value_name = "PATH")]
    state: Option<PathBuf>,
    #[command(flatten)]
    common: CommonArgs,
    /// Print the devices as JSON
    #[arg(long)]
    json: bool,
}

/// What is printed.
#[derive(Debug, Serialize)]
struct Listing {
    /// When the state was saved.
    saved: String,
    learn_hours: u32,
    learn_flows: u64,
    devices: Vec<Row>,
}

#[derive(Debug, Serialize)]
struct Row {
    #[serde(flatten)]
    device: DeviceLine,
    last_seen: String,
}

pub(super) fn run(args: &DevicesArgs) -> Result<(), Failure> {
    let config = effective(&args.common, None)?;
    config.check_overrides()?;
    let path = match &args.state {
        Some(path) if path.is_dir() => path.join(state::FILE),
        Some(path) => path.clone(),
        None => config.state.dir.join(state::FILE),
    };
    let shown = path.display();
    let image = match state::read(&path) {
        Ok(Some(Ok(image))) => image,
        Ok(Some(Err(refusal))) => return Err(Failure::Other(format!("cannot use {shown}: {refusal}"))),
        Ok(None) => {
            return Err(Failure::Other(format!(
                "there is no {shown}; `run` writes it every state.every_secs seconds and when it ends"
            )));
        }
        Err(error) => return Err(Failure::Other(format!("cannot read {shown}: {error}"))),
    };
    let part = image.parts.iter().find(|part| part.name == anomaly::STATE);
    let lines = part.map(|part| anomaly::devices_of(part, &config.site)).transpose().map_err(Failure::other)?;
    // What the source's clock said when the wall clock said this.
    let wall = |source_ns: u64| image.wall_ns.saturating_sub(image.source_ns.saturating_sub(source_ns));
    let rows = lines
        .unwrap_or_default()
        .into_iter()
        .map(|device| Row { last_seen: Timestamp::from_unix_ns(wall(device.last_ns)).rfc3339().to_string(), device });
    let listing = Listing {
        saved: Timestamp::from_unix_ns(image.wall_ns).rfc3339().to_string(),
        learn_hours: config.site.learn_hours,
        learn_flows: config.site.learn_flows,
        devices: rows.collect(),
    };
    if args.json {
        let text = serde_json::to_string_pretty(&listing).map_err(Failure::other)?;
        return print(format!("{text}\n").as_bytes());
    }
    print(text(&listing).as_bytes())
}

fn text(listing: &Listing) -> String {
    let mut devices =
        table(&["device", "as", "standing", "hours", "flows", "usual bytes sent", "usual peers", "speaks"]);
    for row in &listing.devices {
        let device = &row.device;
        let standing = if device.known {
            "known".to_owned()
        } else {
            format!(
                "learning until {} hours, {} flows",
                listing.learn_hours.max(device.hours),
                listing.learn_flows.max(device.flows)
            )
        };
        let mut services = device.services.clone();
        let more = services.len().saturating_sub(SERVICES_SHOWN_MAX);
        services.truncate(SERVICES_SHOWN_MAX);
        if more > 0 {
            services.push(format!("and {more} more"));
        }
        devices.add_row([
            device.address.to_string(),
            device.role.to_owned(),
            standing,
            device.hours.to_string(),
            grouped(device.flows),
            range(device.sent_bytes, device.sent_bytes_limit),
            range(device.peers, device.peers_limit),
            services.join(" "),
        ]);
    }
    format!("{devices}\nSaved {}.\n", listing.saved)
}

fn range(usual: f64, limit: f64) -> String {
    format!("{} (limit {})", grouped(usual as u64), grouped(limit as u64))
}

/// Services named in a row; the rest is counted.
const SERVICES_SHOWN_MAX: usize = 6;
