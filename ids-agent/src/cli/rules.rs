//! `rules`: Suricata's rules, fetched, tested, put in force and taken back.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{Args, Subcommand};
use serde_json::json;

use super::{
    Failure,
    options::{CommonArgs, LogChoice, effective},
    print,
    table::{grouped, shown, table},
};
use crate::{
    clock::{self, Timestamp},
    config::{Config, SuricataSettings},
    secret::Secret,
    suricata::{
        Commands, Machine, Release, RulesStore, SOCKET, Sources, TestWith, Updated, local_rules, plan, reload,
        reload_or_rollback,
    },
};

#[derive(Debug, Args)]
pub(super) struct RulesArgs {
    #[command(subcommand)]
    verb: RulesVerb,
}

#[derive(Debug, Subcommand)]
enum RulesVerb {
    /// Fetches rules, has Suricata test them, and puts them in force
    #[command(after_help = "Examples:
  ids-agent rules update
  ids-agent rules update --source https://rules.example/emerging.rules.tar.gz
  ids-agent rules update --source rules/mine.rules --source /srv/rules

Fetches with suricata-update: suricata.rule_sources, or ET Open. Adds suricata.local_rules. Then `suricata -T` must take
them: a few that this Suricata cannot compile are left out and counted, more than two of a hundred and nothing changes. A
Suricata that the agent runs takes them at once, without a restart; where it does not, those before come back. /etc/suricata
holds the filters of suricata-update (disable.conf and others), which hold here too.")]
    Update(UpdateArgs),
    /// Says which rules are in force, since when, and which were before
    #[command(after_help = "Examples:
  ids-agent rules status
  ids-agent rules status --json")]
    Status(StatusArgs),
    /// Puts the rules before in force again
    #[command(after_help = "Example:
  ids-agent rules rollback

A second time takes it back.")]
    Rollback(RollbackArgs),
}

#[derive(Debug, Args)]
struct UpdateArgs {
    /// A URL, file or folder in place of suricata.rule_sources; may be given several times
    #[arg(long = "source", value_name = "SOURCE")]
    sources: Vec<String>,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Debug, Args)]
struct StatusArgs {
    #[command(flatten)]
    common: CommonArgs,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct RollbackArgs {
    #[command(flatten)]
    common: CommonArgs,
}

pub(super) fn run(args: &RulesArgs, log: &LogChoice) -> Result<(), Failure> {
    match &args.verb {
        RulesVerb::Update(args) => update(args, log),
        RulesVerb::Status(args) => status(args),
        RulesVerb::Rollback(args) => rollback(args),
    }
}

fn update(args: &UpdateArgs, log: &LogChoice) -> Result<(), Failure> {
    let config = effective(&args.common, None)?;
    log.start(&config.log, Some("warn"))?;
    let settings = &config.suricata;
    let listed = if args.sources.is_empty() { &settings.rule_sources } else { &args.sources };
    let secret = settings.rule_secret.as_ref().map(Secret::read).transpose().map_err(Failure::other)?;
    let sources = Sources { listed: listed.clone(), local: local_rules(settings), secret };
    let store = RulesStore::new(&settings.rules_dir);
    let yaml = Yaml::of(&config)?;
    let test = TestWith { program: &settings.program, yaml: yaml.path() };
    let updated = store.update(&sources, &test, clock::wall_ns() / 1_000_000_000).map_err(Failure::other)?;
    let release = match updated {
        Updated::Same(release) => {
            return print(format!("release {}: the sources hold what is in force\n", release.number).as_bytes());
        }
        Updated::New(release) => release,
    };
    let reached = match running(settings) {
        None => "taken when Suricata starts",
        Some(socket) => {
            reload_or_rollback(&store, &socket, &release)
                .map_err(|(error, back)| Failure::Other(format!("new rules are not taken: {error}; {back}")))?;
            "taken by the Suricata that runs"
        }
    };
    let left_out = match release.left_out {
        0 => String::new(),
        left_out => format!(", {} left out that this Suricata cannot compile", grouped(left_out)),
    };
    let rules = grouped(release.rules);
    print(format!("release {}: {rules} rules{left_out}; {reached}\n", release.number).as_bytes())
}

/// The configuration that rules are tested under: the operator's own, or one made for the moment.
enum Yaml {
    Own(PathBuf),
    Made(PathBuf),
}

impl Yaml {
    fn of(config: &Config) -> Result<Self, Failure> {
        let settings = &config.suricata;
        if let Some(own) = &settings.config {
            return Ok(Self::Own(own.clone()));
        }
        let store = RulesStore::new(&settings.rules_dir);
        let lo = ["lo".to_owned()];
        let interfaces = if config.capture.interfaces.is_empty() { &lo[..] } else { &config.capture.interfaces };
        // Networks of interfaces make no difference to whether a rule compiles.
        let machine = Machine::default();
        let plan = plan(settings, &config.site.home_networks, interfaces, &machine, &store.in_force());
        let path = settings.rules_dir.join("test.yaml");
        let failed = |error| Failure::Other(format!("cannot write {}: {error}", path.display()));
        std::fs::create_dir_all(&settings.rules_dir).map_err(failed)?;
        std::fs::write(&path, plan.map_err(Failure::other)?.render()).map_err(failed)?;
        Ok(Self::Made(path))
    }

    fn path(&self) -> &Path {
        match self {
            Self::Own(path) | Self::Made(path) => path,
        }
    }
}

impl Drop for Yaml {
    fn drop(&mut self) {
        if let Self::Made(path) = self {
            // It does no harm where it stays.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// The socket of a managed Suricata, where one runs.
fn running(settings: &SuricataSettings) -> Option<PathBuf> {
    let socket = settings.run_dir.join(SOCKET);
    // Where it is busy it is asked again, with more patience, when it is to take rules.
    Commands::connect(&socket, Duration::from_secs(5)).is_ok().then_some(socket)
}

fn status(args: &StatusArgs) -> Result<(), Failure> {
    let settings = effective(&args.common, None)?.suricata;
    let store = RulesStore::new(&settings.rules_dir);
    let (current, previous) = (store.current(), store.previous());
    let now_unix_secs = clock::wall_ns() / 1_000_000_000;
    if args.json {
        let told = |release: &Option<Release>| {
            release.as_ref().map(|release| {
                let age_secs = now_unix_secs.saturating_sub(release.checked_unix_secs);
                json!({
                    "release": release.number, "rules": release.rules, "left_out": release.left_out,
                    "sources": release.sources, "checked": checked(release), "age_secs": age_secs,
                })
            })
        };
        let value = json!({
            "dir": settings.rules_dir, "current": told(&current), "previous": told(&previous),
            "running": running(&settings).is_some(),
        });
        return print(format!("{value:#}\n").as_bytes());
    }
    let Some(current) = current else {
        let dir = settings.rules_dir.display();
        return print(format!("no rules in {dir} yet; `ids-agent rules update` fetches some\n").as_bytes());
    };
    let mut rows = table(&["", "release", "rules", "left out", "fetched", "sources"]);
    for (what, release) in [("in force", Some(current)), ("before", previous)] {
        let Some(release) = release else { continue };
        let sources = if release.sources.is_empty() { "local".to_owned() } else { release.sources.join(", ") };
        rows.add_row(vec![
            what.to_owned(),
            release.number.to_string(),
            grouped(release.rules),
            grouped(release.left_out),
            checked(&release),
            shown(&sources, 80),
        ]);
    }
    print(format!("{rows}\n").as_bytes())
}

fn checked(release: &Release) -> String {
    Timestamp::from_unix_ns(release.checked_unix_secs.saturating_mul(1_000_000_000)).rfc3339().to_string()
}

fn rollback(args: &RollbackArgs) -> Result<(), Failure> {
    let settings = effective(&args.common, None)?.suricata;
    let store = RulesStore::new(&settings.rules_dir);
    let release = store.rollback().map_err(Failure::other)?;
    let reached = match running(&settings) {
        None => "taken when Suricata starts",
        Some(socket) => {
            reload(&socket, &release).map_err(Failure::other)?;
            "taken by the Suricata that runs"
        }
    };
    let rules = grouped(release.rules);
    print(format!("release {}: {rules} rules; {reached}\n", release.number).as_bytes())
}
