//! `cargo xtask run`: builds the agent and runs it, in a small lab or on an interface of this machine.

mod demo;

use std::{
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    process::{find, is_root, line, must},
    setup::{self, Purpose},
    workspace,
};

#[derive(clap::Args)]
#[command(group = clap::ArgGroup::new("where").required(true).args(["lab", "interface"]))]
pub(crate) struct Args {
    /// Runs in a lab of network namespaces: a gateway, a client, a server and an attacker. Needs root.
    #[arg(long)]
    lab: bool,
    /// Runs on this interface of this machine, until Ctrl-C.
    #[arg(long, value_name = "NAME")]
    interface: Option<String>,
    /// How long the lab's traffic runs.
    #[arg(long, requires = "lab", default_value_t = 45, value_parser = clap::value_parser!(u64).range(30..=600))]
    seconds: u64,
    /// Goes on until Ctrl-C, so that one can look around; the verdict comes then.
    #[arg(long, requires = "lab")]
    keep: bool,
    /// Has the agent run Suricata on the gateway too, with the local rules.
    #[arg(long, requires = "lab")]
    suricata: bool,
    /// Prints the lab's verdict as JSON.
    #[arg(long, requires = "lab")]
    json: bool,
    /// Uses this agent instead of building one.
    #[arg(long, requires = "lab", value_name = "FILE")]
    binary: Option<PathBuf>,
    /// More arguments for `ids-agent run`.
    #[arg(last = true, requires = "interface")]
    agent_args: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    match &args.interface {
        Some(interface) => on_interface(interface, &args.agent_args),
        None => in_lab(args),
    }
}

fn in_lab(args: &Args) -> Result<ExitCode> {
    ensure!(is_root(), "the lab makes network namespaces and loads kernel programs, which needs root: run it as root");
    setup::ensure(&[Purpose::Build, Purpose::Lab])?;
    if args.suricata {
        setup::ensure_suricata()?;
    }
    let target = workspace::target_dir()?;
    let binary = match &args.binary {
        Some(binary) => binary.clone(),
        None => {
            build(Profile::Dev)?;
            target.join("debug/ids-agent")
        }
    };
    demo::run(&demo::Options {
        seconds: args.seconds,
        keep: args.keep,
        json: args.json,
        suricata: args.suricata,
        binary,
        models: workspace::root()?.join("models"),
        results: target.join("lab"),
    })
}

fn on_interface(interface: &str, agent_args: &[String]) -> Result<ExitCode> {
    // Before a build of minutes, not after.
    if !Path::new("/sys/class/net").join(interface).exists() {
        bail!("this machine has no interface `{interface}`; it has: {}", interfaces().join(", "));
    }
    setup::ensure(&[Purpose::Build])?;
    build(Profile::Release)?;
    let binary = workspace::target_dir()?.join("release/ids-agent");
    let mut command = if is_root() {
        Command::new(&binary)
    } else {
        let sudo = find("sudo").with_context(|| {
            format!(
                "loading kernel programs needs root: run `{} run --interface {interface}` as root",
                binary.display()
            )
        })?;
        let mut command = Command::new(sudo);
        command.arg(&binary);
        command
    };
    command.args(["run", "--interface", interface, "--models"]).arg(workspace::root()?.join("models")).args(agent_args);
    println!("run: {}", line(&command));
    // In place of this process, so that signals reach the agent itself.
    Err(command.exec()).with_context(|| format!("{} does not start", line(&command)))
}

#[derive(Clone, Copy)]
enum Profile {
    Dev,
    Release,
}

fn build(profile: Profile) -> Result<()> {
    let mut command = workspace::cargo()?;
    command.args(["build", "--package", "ids-agent"]);
    match profile {
        Profile::Dev => println!("run: building the agent; the first time takes some minutes"),
        Profile::Release => {
            println!("run: building the agent with full optimisation; the first time takes several minutes");
            command.arg("--release");
        }
    }
    must(&mut command)
}

fn interfaces() -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir("/sys/class/net")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}
