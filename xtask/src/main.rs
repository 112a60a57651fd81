//! The project's tasks, one verb a file. Knows nothing of the agent's inside: it builds, runs and measures it from outside.

mod bench;
mod boot_test;
mod chaos;
mod container;
mod debian;
mod eval;
mod lab;
mod metrics;
mod musl;
mod netns;
mod package;
mod page;
mod process;
mod root;
mod run;
mod setup;
mod soak;
mod span;
mod test;
mod tidy;
mod train;
mod vm;
mod vm_test;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The tasks of ids-agent", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Checks what the build, the lab and the tests need, and installs what is missing.
    Setup(setup::Args),
    /// Runs the agent: in a lab of network namespaces with `--lab`, or on an interface of this machine.
    Run(run::Args),
    /// Runs every check and test that needs no emulator.
    Test(test::Args),
    /// Boots a clean Debian with the service enabled, in a container or a machine, and treats the service as life does. Needs root.
    BootTest(boot_test::Args),
    /// Runs the agent under live traffic while one trouble after the other befalls it. Needs root.
    Chaos(chaos::Args),
    /// Runs the agent at a home's rates for long, and fails where it grows. Needs root.
    Soak(soak::Args),
    /// Measures what the agent costs, as ratios.
    Bench(bench::Args),
    /// Makes labelled captures: real attacks and benign life between network namespaces. Needs root.
    Lab(lab::Args),
    /// Trains the models on labelled captures, with features from this agent, and writes them into `models/`.
    Train(train::Args),
    /// Scores the agent on labelled captures: what it finds, what it takes for an attack and is none, how soon it says so.
    Eval(eval::Args),
    /// Makes static programs and Debian packages, and with `--test` tries them in clean Debians.
    Package(package::Args),
    /// Boots every promised kernel under emulation and tries there what is promised.
    VmTest(vm_test::Args),
    /// Checks the rules of the house: what may stand where, and which way things depend.
    Tidy(tidy::Args),
}

fn main() -> ExitCode {
    match dispatch(Cli::parse().verb) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(verb: Verb) -> Result<ExitCode> {
    match verb {
        Verb::Setup(args) => setup::run(&args),
        Verb::Run(args) => run::run(&args),
        Verb::Test(args) => test::run(&args),
        Verb::BootTest(args) => boot_test::run(&args),
        Verb::Chaos(args) => chaos::run(&args),
        Verb::Soak(args) => soak::run(&args),
        Verb::Bench(args) => bench::run(&args),
        Verb::Lab(args) => lab::run(&args),
        Verb::Train(args) => train::run(&args),
        Verb::Eval(args) => eval::run(&args),
        Verb::Package(args) => package::run(&args),
        Verb::VmTest(args) => vm_test::run(&args),
        Verb::Tidy(args) => tidy::run(&args),
    }
}
