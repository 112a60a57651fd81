//! `cargo xtask test`: every check and test that needs no emulator, in the order in which they fail fastest.

use std::{
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::{
    boot_test,
    process::{find, is_root, must, quiet},
    setup::{self, Purpose},
    tidy,
    workspace::{self, TEST_SET},
};

/// Its C interface is the one that the agent's `ort` feature asks for.
const ONNXRUNTIME: &str = "1.24.4";
/// Grafana's own types of a dashboard, of the Grafana that `deploy/compose.yaml` starts.
const GRAFANA_TYPES: &str = "1769699379!11.6.0";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Leaves out the lab and the boot test.
    #[arg(long)]
    no_lab: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let mut steps = Steps { done: Vec::new() };
    let outcome = steps.all(args);
    println!();
    for (name, took) in &steps.done {
        println!("{name:<10} {:>6.1} s", took.as_secs_f32());
    }
    outcome?;
    println!("test: all passed");
    Ok(ExitCode::SUCCESS)
}

struct Steps {
    done: Vec<(&'static str, Duration)>,
}

impl Steps {
    fn all(&mut self, args: &Args) -> Result<()> {
        self.step("setup", || setup::ensure(&[Purpose::Build, Purpose::Lab, Purpose::Test]))?;
        self.step("tidy", tidy::check)?;
        self.step("format", || must(workspace::cargo()?.args(["fmt", "--all", "--check"])))?;
        self.step("clippy", clippy)?;
        self.step("build", || must(workspace::cargo()?.arg("build").args(TEST_SET).args(["--bins", "--tests"])))?;
        let onnxruntime = self.step("fetch", onnxruntime)?;
        let grafana_types = self.step("fetch", grafana_types)?;
        self.step("tests", || tests(onnxruntime.as_deref(), grafana_types.as_deref()))?;
        if args.no_lab {
            return Ok(());
        }
        self.step("lab", lab)?;
        self.step("boot", boot)
    }

    fn step<T>(&mut self, name: &'static str, body: impl FnOnce() -> Result<T>) -> Result<T> {
        println!("test: {name}");
        let started = Instant::now();
        let outcome = body();
        self.done.push((name, started.elapsed()));
        outcome.with_context(|| format!("step `{name}` of the tests"))
    }
}

fn clippy() -> Result<()> {
    must(workspace::cargo()?.arg("clippy").args(TEST_SET).args(["--all-targets", "--quiet", "--", "-D", "warnings"]))
}

fn tests(onnxruntime: Option<&Path>, grafana_types: Option<&Path>) -> Result<()> {
    if !is_root() {
        println!("test: not root, so the kernel tests will skip");
    }
    let mut command = workspace::cargo()?;
    if find("cargo-nextest").is_some() {
        // Most of the long ones wait; `.config/nextest.toml` says which do not.
        let places = 2 * std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        command.args(["nextest", "run", "--no-fail-fast", "--test-threads", &places.to_string()]);
    } else {
        command.args(["test", "--no-fail-fast"]);
    }
    command.args(TEST_SET);
    if let Some(library) = onnxruntime {
        command.env("IDS_ORT_LIBRARY", library);
    }
    if let Some(folder) = grafana_types {
        command.env("IDS_GRAFANA_TYPES", folder);
    }
    command.envs(setup::tools_environment()?);
    must(&mut command)
}

/// The library for the tests of the `ort` feature, out of the Python wheel; without it they skip.
pub(crate) fn onnxruntime() -> Result<Option<PathBuf>> {
    let dir = workspace::target_dir()?.join(format!("onnxruntime-{ONNXRUNTIME}"));
    let library = dir.join(format!("onnxruntime/capi/libonnxruntime.so.{ONNXRUNTIME}"));
    if library.is_file() {
        return Ok(Some(library));
    }
    match fetch_wheel(&dir, "onnxruntime", ONNXRUNTIME) {
        Ok(()) if library.is_file() => Ok(Some(library)),
        Ok(()) => bail!("the wheel of onnxruntime {ONNXRUNTIME} holds no `{}`", library.display()),
        Err(error) => {
            println!("test: onnxruntime {ONNXRUNTIME} cannot be fetched, so its tests will skip: {error:#}");
            Ok(None)
        }
    }
}

/// Types that Grafana publishes, to check the dashboard by; without them that test skips.
fn grafana_types() -> Result<Option<PathBuf>> {
    let dir = workspace::target_dir()?.join(format!("grafana-types-{}", GRAFANA_TYPES.replace('!', "-")));
    if dir.join("grafana_foundation_sdk").is_dir() {
        return Ok(Some(dir));
    }
    match fetch_wheel(&dir, "grafana-foundation-sdk", GRAFANA_TYPES) {
        Ok(()) => Ok(Some(dir)),
        Err(error) => {
            println!("test: Grafana's types cannot be fetched, so their test will skip: {error:#}");
            Ok(None)
        }
    }
}

/// Unpacks a wheel of Python; nothing of it is installed.
fn fetch_wheel(dir: &Path, name: &str, version: &str) -> Result<()> {
    println!("test: fetching {name} {version} by pip into {}", dir.display());
    quiet(
        Command::new("python3")
            .args(["-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest"])
            .arg(dir)
            .arg(format!("{name}=={version}")),
    )?;
    for entry in std::fs::read_dir(dir).with_context(|| format!("`{}` is unreadable", dir.display()))? {
        let file = entry?.path();
        if file.extension().is_some_and(|extension| extension == "whl") {
            quiet(Command::new("python3").args(["-m", "zipfile", "-e"]).arg(&file).arg(dir))?;
            std::fs::remove_file(&file)?;
        }
    }
    Ok(())
}

/// The service in a Debian that boots, with the agent that was just built.
fn boot() -> Result<()> {
    if let Some(why) = boot_test::cannot() {
        println!("test: {why}, so the boot test is left out");
        return Ok(());
    }
    boot_test::in_container(&workspace::target_dir()?.join("debug/ids-agent"))
}

/// The newcomer's first command, with the agent that was just built.
fn lab() -> Result<()> {
    if !is_root() {
        println!("test: not root, so the lab is left out");
        return Ok(());
    }
    // Not this program's own path: the build of the tests has put another file in its place.
    let built = workspace::target_dir()?.join("debug");
    must(Command::new(built.join("xtask")).args(["run", "--lab", "--json", "--binary"]).arg(built.join("ids-agent")))
}
