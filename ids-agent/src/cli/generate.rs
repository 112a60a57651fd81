//! `generate`: configuration files of programs beside the agent, fit to this machine.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};

mod monitoring;

use monitoring::MonitoringArgs;

use super::{
    Failure,
    inputs::is_dash,
    options::{CommonArgs, effective},
    print, say,
};
use crate::{
    config::{EveFiletype, SuricataSettings},
    deploy,
    suricata::{Machine, Plan, RulesStore, plan},
};

#[derive(Debug, Args)]
pub(super) struct GenerateArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Writes a suricata.yaml for this machine
    #[command(after_help = "Examples:
  ids-agent generate suricata --interface eth0
  ids-agent generate suricata --interface eth0 --out /etc/suricata/suricata.yaml
  suricata -T -c /etc/suricata/suricata.yaml && systemctl restart suricata

What it fits to the machine, each with its reason beside it in the file:
  interfaces     those named here, else capture.interfaces
  home networks  of the interfaces' addresses, and site.home_networks
  threads        one for each CPU in --cpu-percent of the machine
  memory         tables and rings cut so that --ram-mib holds them and 22,000 rules
  eve.json       in memory under suricata.run_dir, or where suricata.eve_path says, with community ids and the events that
                 the agent joins
  rules          those of `ids-agent rules`, else what is in /var/lib/suricata/rules

The file is for a Suricata that others start. With `[suricata] manage = true` the agent writes the same file and starts
Suricata itself. Nothing is started or changed here but FILE.")]
    Suricata(SuricataArgs),
    /// Writes scrape configuration, rules and alerts for Prometheus, and Alertmanager's routes
    #[command(after_help = "Examples:
  ids-agent generate prometheus --out /etc/ids-monitoring
  ids-agent generate prometheus --target gateway:9469 --target office:9469 --out .

DIR/prometheus/prometheus.yml, DIR/prometheus/rules/ids-agent.yml and DIR/alertmanager/alertmanager.yml. Where Prometheus runs
already, take the job of the first and the whole of the second.")]
    Prometheus(MonitoringArgs),
    /// Writes Grafana's data source and dashboard, to be provisioned by file
    #[command(after_help = "Example:
  ids-agent generate grafana --out /etc/ids-monitoring

DIR/grafana/provisioning and DIR/grafana/dashboards. Where Grafana runs already, import DIR/grafana/dashboards/ids-agent.json.")]
    Grafana(MonitoringArgs),
    /// Writes all of these, and a compose file that starts them beside the agent
    #[command(after_help = "Example:
  ids-agent generate compose --out /etc/ids-monitoring
  cd /etc/ids-monitoring && (umask 027; openssl rand -base64 18 > grafana_admin_password) && docker compose up -d")]
    Compose(MonitoringArgs),
}

#[derive(Debug, Args)]
struct SuricataArgs {
    /// Interface that Suricata watches; may be given several times [default: capture.interfaces]
    #[arg(short, long = "interface", value_name = "NAME", env = "IDS_INTERFACE", value_delimiter = ',')]
    interfaces: Vec<String>,
    /// File to write; standard output when absent
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Share of the machine's CPUs, in whole ones [default: suricata.cpu_percent, 50]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    cpu_percent: Option<u32>,
    /// Memory that Suricata may take [default: suricata.ram_mib, 768]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(192..=1_048_576))]
    ram_mib: Option<u64>,
    /// Where eve.json goes [default: suricata.eve_path, else eve.json in suricata.run_dir]
    #[arg(long, value_name = "FILE")]
    eve: Option<PathBuf>,
    /// `--eve` is a socket on which the agent listens; what Suricata says while nobody does is lost
    #[arg(long)]
    eve_socket: bool,
    #[command(flatten)]
    common: CommonArgs,
}

pub(super) fn run(args: &GenerateArgs) -> Result<(), Failure> {
    match &args.what {
        What::Suricata(args) => suricata(args),
        What::Prometheus(args) => monitoring::run(args, deploy::prometheus),
        What::Grafana(args) => monitoring::run(args, deploy::grafana),
        What::Compose(args) => monitoring::run(args, deploy::compose),
    }
}

/// Where Debian's suricata-update leaves rules.
const DEBIAN_RULES: &str = "/var/lib/suricata/rules";

fn suricata(args: &SuricataArgs) -> Result<(), Failure> {
    let config = effective(&args.common, None)?;
    let mut settings = config.suricata;
    settings.cpu_percent = args.cpu_percent.unwrap_or(settings.cpu_percent);
    settings.ram_mib = args.ram_mib.unwrap_or(settings.ram_mib);
    settings.eve_path = args.eve.clone().or(settings.eve_path);
    if args.eve_socket {
        settings.eve_filetype = EveFiletype::UnixStream;
    }
    let interfaces = if args.interfaces.is_empty() { &config.capture.interfaces } else { &args.interfaces };
    let usage = |error| Failure::Usage(format!("{error}"));
    let machine = Machine::look(interfaces).map_err(usage)?;
    let plan = planned(&settings, &config.site.home_networks, interfaces, &machine).map_err(usage)?;
    let text = plan.render();
    match args.out.as_deref().filter(|path| !is_dash(path)) {
        None => print(text.as_bytes()),
        Some(path) => {
            write_beside(path, &text)
                .map_err(|error| Failure::Other(format!("cannot write {}: {error}", path.display())))?;
            say(&format!(
                "wrote {}; `suricata -T -c {0}` tries it, and `[suricata] eve_path` has the agent follow what it says",
                path.display()
            ));
            Ok(())
        }
    }
}

/// A plan with the rules of `ids-agent rules`, or those that Debian's tools keep where there are none.
fn planned(
    settings: &SuricataSettings,
    home: &[crate::config::Prefix],
    interfaces: &[String],
    machine: &Machine,
) -> Result<Plan, crate::suricata::PlanError> {
    let store = RulesStore::new(&settings.rules_dir);
    if store.current().is_some() {
        return plan(settings, home, interfaces, machine, &store.in_force());
    }
    let plan = plan(settings, home, interfaces, machine, Path::new(DEBIAN_RULES))?;
    Ok(Plan { rule_files: vec!["suricata.rules".to_owned()], ..plan })
}

/// The old file or the new one, never half of it.
fn write_beside(path: &Path, text: &str) -> io::Result<()> {
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    fs::write(&fresh, text)?;
    fs::rename(&fresh, path)
}
