//! The command line: its grammar, what each verb does, and the exit code. Verbs live in `cli/`.

use std::{
    ffi::OsString,
    fmt,
    io::{self, Write},
};

use clap::{CommandFactory, Parser, Subcommand};

use crate::{config::ConfigError, memory};

mod ask;
mod calibrate;
mod check;
mod devices;
mod doctor;
mod explain;
mod features;
mod feedback;
mod generate;
mod hear;
mod heard;
mod inputs;
mod intel;
mod logging;
mod options;
mod parts;
mod replay;
mod rules;
mod run;
mod selftest;
mod summary;
mod table;
mod unpin;

use options::{LogChoice, LogShape};

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
    Run(run::RunArgs),
    /// Shows how the agent that runs fares
    Status(ask::StatusArgs),
    /// Has the agent that runs read its configuration, models and feeds again
    Reload(ask::ReloadArgs),
    /// Lists, adds and removes blocks of the agent that runs
    Block(ask::BlockArgs),
    /// Judges capture files through the same code as live traffic
    Replay(replay::ReplayArgs),
    /// Says why an alert was given, out of its stored evidence, and judges that evidence again
    Explain(explain::ExplainArgs),
    /// Says of an alert whether it was right; a false one is not told again
    Feedback(feedback::FeedbackArgs),
    /// Writes one row of features for every flow of capture files
    Features(features::FeaturesArgs),
    /// Checks a configuration file and shows the settings in force
    CheckConfig(check::CheckArgs),
    /// Sets thresholds and learns devices from captures of a site's ordinary traffic
    Calibrate(calibrate::CalibrateArgs),
    /// Lists the devices of the site, and how well each is known
    Devices(devices::DevicesArgs),
    /// Says what will work on this machine and what will not
    Doctor(doctor::DoctorArgs),
    /// Looks into feeds of threat intelligence
    Intel(intel::IntelArgs),
    /// Writes configuration files of programs beside the agent
    Generate(generate::GenerateArgs),
    /// Looks after Suricata's rules
    Rules(rules::RulesArgs),
    /// Takes off the programs that an agent with pins left counting
    Unpin(unpin::UnpinArgs),
    /// Runs built-in frames through the kernel program and through the user path, and compares
    Selftest(selftest::SelftestArgs),
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

/// Runs the verb that the arguments name; returns the exit code.
pub fn main(args: impl IntoIterator<Item = OsString>) -> u8 {
    memory::keep_little();
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
        Verb::Status(args) => ask::status(&args),
        Verb::Reload(args) => ask::reload(&args),
        Verb::Block(args) => ask::block(&args),
        Verb::Replay(args) => replay::run(args, &log),
        Verb::Explain(args) => explain::run(&args),
        Verb::Feedback(args) => feedback::run(&args),
        Verb::Features(args) => features::run(args, &log),
        Verb::CheckConfig(args) => check::run(&args),
        Verb::Calibrate(args) => calibrate::run(args, &log),
        Verb::Devices(args) => devices::run(&args),
        Verb::Doctor(args) => doctor::run(&args),
        Verb::Intel(args) => intel::run(&args),
        Verb::Generate(args) => generate::run(&args),
        Verb::Rules(args) => rules::run(&args, &log),
        Verb::Unpin(args) => unpin::run(&args),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_is_sound() {
        Cli::command().debug_assert();
    }
}
