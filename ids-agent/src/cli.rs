//! The command line: its grammar, what each verb does, and the exit code. Verbs live in `cli/`.

use std::{
    ffi::OsString,
    fmt,
    io::{self, IsTerminal, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    str::FromStr,
};

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use tracing_subscriber::EnvFilter;

use crate::config::{
    self, AlertFormat, Category, Config, ConfigError, Direction, FeedKind, LogFormat, LogSettings, Mode,
};

mod calibrate;
mod check;
mod devices;
mod doctor;
mod explain;
mod features;
mod feedback;
mod inputs;
mod intel;
mod parts;
mod replay;
mod run;
mod selftest;
mod summary;
mod table;

/// Read where --config names no other.
const CONFIG_DEFAULT: &str = "/etc/ids-agent/config.toml";

/// How a verb can fail, by exit code.
#[derive(Debug)]
enum Failure {
    /// 64: the command line cannot be meant.
    Usage(String),
    /// 78: the configuration is wrong.
    Config(String),
    /// 1: everything else.
    Other(String),
    /// 1, and everything there is to say has been said.
    Silent,
}

impl Failure {
    fn other(error: impl fmt::Display) -> Self {
        Self::Other(error.to_string())
    }

    fn message(&self) -> String {
        match self {
            Self::Usage(message) | Self::Config(message) | Self::Other(message) => message.clone(),
            Self::Silent => String::new(),
        }
    }

    const fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 64,
            Self::Config(_) => 78,
            Self::Other(_) | Self::Silent => 1,
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Config(error.to_string())
    }
}

/// Watches a network's packets with XDP, finds attacks, and says why.
#[derive(Debug, Parser)]
#[command(name = "ids-agent", version, disable_help_subcommand = true, max_term_width = 100)]
#[command(after_help = "Examples:
  ids-agent run --interface eth0                 watch an interface; alerts on standard output
  ids-agent replay capture.pcap                  judge a capture file
  ids-agent features capture.pcap --out f.csv    one row of features a flow
  ids-agent doctor --interface eth0              what will work on this machine, and what will not

Exit codes: 0 success, 64 wrong usage, 78 wrong configuration, 1 anything else.")]
struct Cli {
    /// What to log on standard error: error, warn, info, debug, trace, or a filter
    #[arg(long, global = true, value_name = "LEVEL", env = "IDS_LOG")]
    log: Option<String>,
    /// Shape of log lines
    #[arg(long, global = true, value_name = "FORMAT", value_enum, env = "IDS_LOG_FORMAT")]
    log_format: Option<LogShape>,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Watches interfaces until it is stopped
    #[command(after_help = "Examples:
  ids-agent run --interface eth0
  ids-agent run --interface eth0 --interface wlan0 --alerts /var/log/ids-agent/alerts.ndjson
  ids-agent run --config /etc/ids-agent/config.toml --format eve

Needs root, or CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON. SIGHUP reopens the output files, SIGINT and
SIGTERM stop the agent; a second one stops it at once. Packets always pass.")]
    Run(RunArgs),
    /// Judges capture files through the same code as live traffic
    #[command(after_help = "Examples:
  ids-agent replay capture.pcap
  ids-agent replay --alerts alerts.ndjson --flows flows.ndjson monday.pcapng.zst
  tcpdump -w - -i lo | ids-agent replay -

Reads pcap and pcapng, plain or compressed with gzip or zstd; of a directory, every capture in it.
Each file is a capture of its own: flows and windows do not run on into the next.")]
    Replay(ReplayArgs),
    /// Says why an alert was given, out of its stored evidence, and judges that evidence again
    #[command(after_help = "Examples:
  ids-agent explain 0012ab34cd56ef78
  ids-agent replay --evidence evidence/ capture.pcap && ids-agent explain --evidence evidence/ 0012ab34cd56ef78
  ids-agent explain --json 0012ab34cd56ef78

The id stands in the alert as `ids.incident`. Exits with 1 when the evidence gives another result than was stored. What a
model gave is shown but not checked where the model at hand is another one.")]
    Explain(ExplainArgs),
    /// Says of an alert whether it was right; a false one is not told again
    #[command(after_help = "Examples:
  ids-agent feedback 0012ab34cd56ef78 false --note 'the backup of the file server'
  ids-agent feedback 0012ab34cd56ef78 true
  ids-agent feedback --list
  ids-agent feedback --remove 0012ab34cd56ef78

`false` silences the alert's own pattern for 90 days: its source and target, its port where it is about one service, its class
and kinds; nothing wider. Both keep the judged vector with what was said of it, for training anew. The file may be edited.
An agent that runs takes it up on SIGHUP.")]
    Feedback(FeedbackArgs),
    /// Writes one row of features for every flow of capture files
    #[command(after_help = "Examples:
  ids-agent features capture.pcap --out features.csv
  ids-agent features captures/ --out features.parquet

docs/features.md states formula, unit and range of each column.")]
    Features(FeaturesArgs),
    /// Checks a configuration file and shows the settings in force
    #[command(after_help = "Examples:
  ids-agent check-config /etc/ids-agent/config.toml
  ids-agent check-config --json config.toml")]
    CheckConfig(CheckArgs),
    /// Sets thresholds and learns devices from captures of a site's ordinary traffic
    #[command(after_help = "Examples:
  ids-agent calibrate --captures week/ --out /etc/ids-agent/site
  ids-agent calibrate --captures monday.pcap --captures tuesday.pcap --out site --calls-per-day 0.5 --json

Writes site.toml, which people can read, and the devices' state beside it; `[site] file` names the first.
Refuses too little traffic, and leaves out what looks like an attack, by name. docs/devices.md says more.")]
    Calibrate(CalibrateArgs),
    /// Lists the devices of the site, and how well each is known
    #[command(after_help = "Examples:
  ids-agent devices
  ids-agent devices --state /var/lib/ids-agent --json

Reads what `run` keeps in state.dir. docs/devices.md says what is learned and what is made of it.")]
    Devices(DevicesArgs),
    /// Says what will work on this machine and what will not
    #[command(after_help = "Examples:
  ids-agent doctor
  ids-agent doctor --interface eth0 --json

Exits with 1 when something essential is missing.")]
    Doctor(DoctorArgs),
    /// Looks into feeds of threat intelligence
    Intel(IntelArgs),
    /// Runs built-in frames through the kernel program and through the user path, and compares
    Selftest(SelftestArgs),
    /// Prints the completions of a shell
    #[command(after_help = "Example:
  ids-agent completions bash > /usr/share/bash-completion/completions/ids-agent")]
    Completions {
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Prints the manual page
    #[command(after_help = "Example:
  ids-agent man > ids-agent.1 && man -l ids-agent.1")]
    Man,
}

#[derive(Debug, Args)]
struct RunArgs {
    /// Interface to watch; may be given several times
    #[arg(short, long = "interface", value_name = "NAME", env = "IDS_INTERFACE", value_delimiter = ',')]
    interfaces: Vec<String>,
    #[command(flatten)]
    common: CommonArgs,
    /// Where in the receive path the program runs
    #[arg(long, value_enum)]
    mode: Option<ModeArg>,
    /// Which packets of an interface are seen
    #[arg(long, value_enum)]
    direction: Option<DirectionArg>,
    /// Address of the metrics and health pages, or `off`
    #[arg(long, value_name = "ADDRESS", env = "IDS_METRICS")]
    metrics: Option<MetricsArg>,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Args)]
struct ReplayArgs {
    /// Capture files, directories of them, or `-` for standard input
    #[arg(required = true, value_name = "FILE|DIR")]
    inputs: Vec<PathBuf>,
    #[command(flatten)]
    common: CommonArgs,
    #[command(flatten)]
    output: OutputArgs,
    /// Folder for what alerts rest on, for `explain`; beyond [evidence] max_mib and keep the oldest go
    #[arg(long, value_name = "DIR")]
    evidence: Option<PathBuf>,
    /// File of feedback whose exceptions hold, as `feedback` writes it; without it none do
    #[arg(long, value_name = "FILE")]
    feedback: Option<PathBuf>,
    /// Print the summary as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct FeaturesArgs {
    /// Capture files, directories of them, or `-` for standard input
    #[arg(required = true, value_name = "FILE|DIR")]
    inputs: Vec<PathBuf>,
    #[command(flatten)]
    common: CommonArgs,
    /// File to write: .csv or .parquet
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Print the summary as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct ExplainArgs {
    /// The alert's id: `ids.incident`, 16 hexadecimal digits
    #[arg(value_name = "ALERT_ID")]
    id: String,
    #[command(flatten)]
    common: CommonArgs,
    /// Folder with the evidence [default: evidence.dir, else `evidence` under state.dir]
    #[arg(long, value_name = "DIR")]
    evidence: Option<PathBuf>,
    /// Print everything as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct FeedbackArgs {
    /// The alert's id: `ids.incident`, 16 hexadecimal digits
    #[arg(value_name = "ALERT_ID", requires = "verdict")]
    id: Option<String>,
    /// Whether the alert was right
    #[arg(value_name = "false|true", value_enum)]
    verdict: Option<VerdictArg>,
    /// Why, for those who read it later
    #[arg(long, value_name = "TEXT", requires = "id")]
    note: Option<String>,
    /// Days until a false alert may be told again
    #[arg(long, value_name = "N", default_value_t = 90, value_parser = clap::value_parser!(u64).range(1..=3_650))]
    days: u64,
    /// Show all feedback
    #[arg(long, conflicts_with_all = ["id", "remove"])]
    list: bool,
    /// Take back what was said of an alert
    #[arg(long, value_name = "ALERT_ID", conflicts_with = "id")]
    remove: Option<String>,
    #[command(flatten)]
    common: CommonArgs,
    /// Folder with feedback.toml [default: state.dir]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Folder with the evidence [default: evidence.dir, else `evidence` under state.dir]
    #[arg(long, value_name = "DIR")]
    evidence: Option<PathBuf>,
    /// Print the list as JSON
    #[arg(long, requires = "list")]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum VerdictArg {
    /// It was harmless
    False,
    /// It was an attack
    True,
}

#[derive(Debug, Args)]
struct CheckArgs {
    /// The configuration file
    file: PathBuf,
    /// Print the settings in force as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct CalibrateArgs {
    /// Capture file or directory of them; may be given several times
    #[arg(long, required = true, value_name = "FILE|DIR")]
    captures: Vec<PathBuf>,
    /// Directory to write into
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Flows a day that each threshold may call something they are not
    #[arg(long, value_name = "N", default_value_t = 1.0)]
    calls_per_day: f64,
    #[command(flatten)]
    common: CommonArgs,
    /// Print what was found as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct DevicesArgs {
    /// State file, or the directory that holds it [default: state.dir]
    #[arg(long, value_name = "PATH")]
    state: Option<PathBuf>,
    #[command(flatten)]
    common: CommonArgs,
    /// Print the devices as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct DoctorArgs {
    /// Interface to look at; may be given several times. Without it, all of them
    #[arg(short, long = "interface", value_name = "NAME")]
    interfaces: Vec<String>,
    #[command(flatten)]
    common: CommonArgs,
    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct IntelArgs {
    #[command(subcommand)]
    verb: IntelVerb,
}

#[derive(Debug, Subcommand)]
enum IntelVerb {
    /// Says what feeds hold, what is left out and why, and which are refused
    #[command(after_help = "Examples:
  ids-agent intel check                                   the configured feeds
  ids-agent intel check feodo.csv maltrail/trails/static  files, and folders of them
  ids-agent intel check --kind hosts --category malware hosts.txt --json

A feed is refused whole when it cannot be read, is a web page, or more than half of it makes no
sense. Of a sound one these entries are left out:
  garbage     nothing that a feed would hold
  unused      nothing that shows on the wire: paths without a host, hashes of files
  too broad   public suffixes, services that everybody uses, prefixes of millions of addresses
  reserved    private addresses, public resolvers
  harmless    fingerprints that the feed itself ascribes to ordinary programs

Where no name, folder or option says what a list is about, it counts as reputation: information
that raises no alert by itself. Exits with 1 when a feed is refused.")]
    Check(IntelCheckArgs),
    /// Asks the feeds for names, addresses, pages and fingerprints, as a flow would
    #[command(after_help = "Examples:
  ids-agent intel lookup mail.evil.example 203.0.113.7:443
  ids-agent intel lookup --feed maltrail/trails/static http://site.example/wp-content/x.php

The allow list is asked first. A name is found by the names above it, an address by its prefix, a
page by those above it. Exits with 1 when nothing is known.")]
    Lookup(IntelLookupArgs),
}

#[derive(Debug, Args)]
struct IntelCheckArgs {
    /// Files or folders, or names of configured feeds; all configured ones when absent
    #[arg(value_name = "FEED")]
    feeds: Vec<PathBuf>,
    #[command(flatten)]
    common: CommonArgs,
    /// How the feeds are written, where it is not to be told by their first lines
    #[arg(long, value_enum)]
    kind: Option<FeedKindArg>,
    /// What the indicators are, where the files do not say it themselves
    #[arg(long, value_enum)]
    category: Option<CategoryArg>,
    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct IntelLookupArgs {
    /// What to ask for
    #[arg(required = true, value_name = "VALUE")]
    values: Vec<String>,
    /// File or folder to ask instead of the configured feeds; may be given several times
    #[arg(long = "feed", value_name = "FEED")]
    feeds: Vec<PathBuf>,
    #[command(flatten)]
    common: CommonArgs,
    /// What the indicators are, where the files do not say it themselves
    #[arg(long, value_enum)]
    category: Option<CategoryArg>,
    /// Print the answers as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum FeedKindArg {
    /// Told by the first lines
    Auto,
    /// One indicator a line
    List,
    /// Address, tab, number of lists
    Ipsum,
    /// 0.0.0.0 and a name
    Hosts,
    /// Columns, with or without a header
    Csv,
    /// JSON with TLS fingerprints
    Fingerprints,
    /// A STIX 2.1 bundle
    Stix,
}

impl From<FeedKindArg> for FeedKind {
    fn from(kind: FeedKindArg) -> Self {
        match kind {
            FeedKindArg::Auto => Self::Auto,
            FeedKindArg::List => Self::List,
            FeedKindArg::Ipsum => Self::Ipsum,
            FeedKindArg::Hosts => Self::Hosts,
            FeedKindArg::Csv => Self::Csv,
            FeedKindArg::Fingerprints => Self::Fingerprints,
            FeedKindArg::Stix => Self::Stix,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum CategoryArg {
    /// Servers and names of malware
    Malware,
    /// Attack tools, exploit kits and gates to them
    Malicious,
    Phishing,
    /// Addresses and names that lists complain about
    Reputation,
    /// Who scans the whole internet
    Scanner,
    Tor,
    /// What may be unwanted: never told by itself
    Suspicious,
}

impl From<CategoryArg> for Category {
    fn from(category: CategoryArg) -> Self {
        match category {
            CategoryArg::Malware => Self::Malware,
            CategoryArg::Malicious => Self::Malicious,
            CategoryArg::Phishing => Self::Phishing,
            CategoryArg::Reputation => Self::Reputation,
            CategoryArg::Scanner => Self::Scanner,
            CategoryArg::Tor => Self::Tor,
            CategoryArg::Suspicious => Self::Suspicious,
        }
    }
}

#[derive(Debug, Args)]
struct SelftestArgs {
    /// Print the comparison as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct CommonArgs {
    /// Configuration file [default: /etc/ids-agent/config.toml, where it exists]
    #[arg(short, long, value_name = "FILE", env = "IDS_CONFIG")]
    config: Option<PathBuf>,
    /// Folder with the models
    #[arg(long, value_name = "DIR", env = "IDS_MODELS")]
    models: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct OutputArgs {
    /// File for alerts, one JSON object a line; `-` is standard output
    #[arg(long, value_name = "FILE")]
    alerts: Option<PathBuf>,
    /// File for one line per ended flow; `-` is standard output
    #[arg(long, value_name = "FILE")]
    flows: Option<PathBuf>,
    /// Shape of alert and flow lines
    #[arg(long, value_enum)]
    format: Option<FormatArg>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogShape {
    Text,
    Json,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ModeArg {
    /// Native where the driver has it, else what measures cheaper
    Auto,
    /// XDP in the driver
    Native,
    /// XDP behind the driver
    Generic,
    /// The traffic control hooks
    Tc,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum DirectionArg {
    Both,
    Ingress,
    Egress,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum FormatArg {
    /// EVE's field names plus an `ids` object
    Native,
    /// Strict Suricata EVE
    Eve,
    /// Elastic Common Schema
    Ecs,
}

#[derive(Clone, Copy, Debug)]
enum MetricsArg {
    Off,
    Listen(SocketAddr),
}

impl FromStr for MetricsArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "off" {
            return Ok(Self::Off);
        }
        text.parse().map(Self::Listen).map_err(|_| "expected an address such as 127.0.0.1:9469, or `off`".to_owned())
    }
}

/// Runs the verb that the arguments name; returns the exit code.
pub fn main(args: impl IntoIterator<Item = OsString>) -> u8 {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no mistakes.
            let code = if error.use_stderr() { 64 } else { 0 };
            // Standard error may be closed; the code still tells.
            let _ = error.print();
            return code;
        }
    };
    match run(cli) {
        Ok(()) => 0,
        Err(failure) => {
            if !matches!(failure, Failure::Silent) {
                say(&failure.message());
            }
            failure.exit_code()
        }
    }
}

/// One line on standard error, whatever the message holds.
fn say(message: &str) {
    let mut line = String::from("ids-agent: ");
    for character in message.trim().chars() {
        match character {
            '\n' => line.push_str("; "),
            plain if !plain.is_control() => line.push(plain),
            control => line.extend(control.escape_default()),
        }
    }
    line.push('\n');
    // Nobody is left to tell.
    let _ = io::stderr().write_all(line.as_bytes());
}

fn run(cli: Cli) -> Result<(), Failure> {
    let log = LogChoice { level: cli.log, shape: cli.log_format };
    match cli.verb {
        Verb::Run(args) => run::run(args, &log),
        Verb::Replay(args) => replay::run(args, &log),
        Verb::Explain(args) => explain::run(&args),
        Verb::Feedback(args) => feedback::run(&args),
        Verb::Features(args) => features::run(args, &log),
        Verb::CheckConfig(args) => check::run(&args),
        Verb::Calibrate(args) => calibrate::run(args, &log),
        Verb::Devices(args) => devices::run(&args),
        Verb::Doctor(args) => doctor::run(&args),
        Verb::Intel(args) => intel::run(&args),
        Verb::Selftest(args) => selftest::run(&args),
        Verb::Completions { shell } => {
            let mut out = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "ids-agent", &mut out);
            print(&out)
        }
        Verb::Man => {
            let mut out = Vec::new();
            clap_mangen::Man::new(Cli::command()).render(&mut out).map_err(Failure::other)?;
            print(&out)
        }
    }
}

/// Writes to standard output; a reader that left early is content with what it has.
fn print(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(Failure::Other(format!("cannot write to standard output: {error}"))),
    }
}

/// What the command line says of logging.
struct LogChoice {
    level: Option<String>,
    shape: Option<LogShape>,
}

impl LogChoice {
    /// Starts logging to standard error. `level` holds where neither file nor command line say otherwise.
    fn start(&self, settings: &LogSettings, level: Option<&str>) -> Result<(), Failure> {
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
fn effective(common: &CommonArgs, output: Option<&OutputArgs>) -> Result<Config, Failure> {
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

impl RunArgs {
    fn effective(&self) -> Result<Config, Failure> {
        let mut config = effective(&self.common, Some(&self.output))?;
        if !self.interfaces.is_empty() {
            config.capture.interfaces.clone_from(&self.interfaces);
        }
        if let Some(mode) = self.mode {
            config.capture.mode = match mode {
                ModeArg::Auto => Mode::Auto,
                ModeArg::Native => Mode::Native,
                ModeArg::Generic => Mode::Generic,
                ModeArg::Tc => Mode::Tc,
            };
        }
        if let Some(direction) = self.direction {
            config.capture.direction = match direction {
                DirectionArg::Both => Direction::Both,
                DirectionArg::Ingress => Direction::Ingress,
                DirectionArg::Egress => Direction::Egress,
            };
        }
        match self.metrics {
            None => {}
            Some(MetricsArg::Off) => config.metrics.enabled = false,
            Some(MetricsArg::Listen(address)) => {
                config.metrics.enabled = true;
                config.metrics.listen = address;
            }
        }
        config.check_overrides()?;
        if config.capture.interfaces.is_empty() {
            return Err(Failure::Usage(
                "no interface to watch: name one with --interface, or set capture.interfaces".to_owned(),
            ));
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_is_sound() {
        Cli::command().debug_assert();
    }
}
