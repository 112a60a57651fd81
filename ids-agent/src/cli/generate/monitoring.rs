//! `generate prometheus`, `grafana` and `compose`: writes what `deploy` builds into a folder.

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::Args;

use super::write_beside;
use crate::{
    cli::{
        Failure,
        options::{CommonArgs, effective},
        say,
    },
    deploy::{GeneratedFile, Monitoring},
};

#[derive(Debug, Args)]
pub(super) struct MonitoringArgs {
    /// Folder for the files; made where it is not there
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// An agent's pages; may be given several times [default: metrics.listen]
    #[arg(long = "target", value_name = "HOST:PORT", value_parser = host_and_port)]
    targets: Vec<String>,
    /// How often Prometheus looks
    #[arg(long, value_name = "SECS", default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..=300))]
    scrape_interval_secs: u32,
    /// Where Alertmanager listens
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9093", value_parser = host_and_port)]
    alertmanager: String,
    /// Where Grafana finds Prometheus
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9090", value_parser = url)]
    prometheus_url: String,
    /// Where the project's docs can be read in a browser: alerts and dashboard link to them
    #[arg(long, value_name = "URL", value_parser = url)]
    docs_url: Option<String>,
    #[command(flatten)]
    common: CommonArgs,
}

/// As Prometheus wants its targets: no scheme, no path.
fn host_and_port(text: &str) -> Result<String, String> {
    let wrong = || format!("`{text}` is no HOST:PORT, such as 192.0.2.1:9469 or gateway:9469");
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let bracketed = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let fit = match bracketed {
        Some(inner) => inner.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')),
    };
    if fit && port.parse::<u16>().is_ok_and(|port| port != 0) { Ok(text.to_owned()) } else { Err(wrong()) }
}

fn url(text: &str) -> Result<String, String> {
    let known =
        ["http://", "https://"].iter().any(|scheme| text.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty()));
    let plain = !text.chars().any(|c| c.is_whitespace() || c.is_control() || c == '"');
    if known && plain { Ok(text.to_owned()) } else { Err(format!("`{text}` is no http:// or https:// address")) }
}

pub(super) fn run(args: &MonitoringArgs, build: fn(&Monitoring) -> Vec<GeneratedFile>) -> Result<(), Failure> {
    let targets = if args.targets.is_empty() {
        vec![effective(&args.common, None)?.metrics.listen.to_string()]
    } else {
        args.targets.clone()
    };
    let settings = Monitoring {
        targets,
        scrape_interval_secs: args.scrape_interval_secs,
        alertmanager: args.alertmanager.clone(),
        prometheus_url: args.prometheus_url.clone(),
        docs_url: args.docs_url.clone(),
    };
    let files = build(&settings);
    for file in &files {
        write(&args.out, file)?;
    }
    say(&format!("wrote {} files to {}", files.len(), args.out.display()));
    Ok(())
}

fn write(out: &Path, file: &GeneratedFile) -> Result<(), Failure> {
    let path = out.join(file.path);
    let made = path.parent().map_or(Ok(()), fs::create_dir_all);
    made.and_then(|()| write_beside(&path, &file.text))
        .map_err(|error| Failure::Other(format!("cannot write {}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_hosts_with_ports() {
        for good in ["127.0.0.1:9469", "gateway.lan:9469", "[2001:db8::1]:9469"] {
            assert_eq!(host_and_port(good).as_deref(), Ok(good));
        }
        for wrong in
            ["gateway", "http://gateway:9469", "gateway:0", "gateway:99999", ":9469", "a b:1", "[gateway]:1", "a\"b:1"]
        {
            assert!(host_and_port(wrong).is_err(), "{wrong}");
        }
        assert!(
            url("https://docs.example.org/ids").is_ok() && url("docs.example.org").is_err() && url("http://").is_err()
        );
    }
}
