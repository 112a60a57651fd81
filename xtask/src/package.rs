//! `cargo xtask package`: static programs and Debian packages for both architectures, the same bytes from the same commit.

mod deb;
mod tree;
mod try_out;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::Instant,
};

use anyhow::{Context, Result, ensure};

use crate::{
    musl::{self, Arch},
    process::quiet,
    setup::{self, Purpose},
    workspace,
};

/// How cargo builds what is shipped; Cargo.toml says what it means.
const PROFILE: &str = "shipped";
const PROGRAM: &str = "ids-agent";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Architectures to make; both when absent.
    #[arg(long, value_enum)]
    arch: Vec<Arch>,
    /// Takes the programs that were built last, and packs them alone.
    #[arg(long)]
    no_build: bool,
    /// Installs, runs, upgrades, removes and purges each package in a clean Debian. Takes root.
    #[arg(long)]
    test: bool,
}

/// A program with its architecture.
pub(crate) struct Program {
    pub(crate) arch: Arch,
    pub(crate) path: PathBuf,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let archs = if args.arch.is_empty() { Arch::ALL.to_vec() } else { args.arch.clone() };
    setup::ensure(&[Purpose::Build, Purpose::Package])?;
    let started = Instant::now();
    let programs = programs(&archs, args.no_build)?;
    println!("package: programs built in {} s", started.elapsed().as_secs());

    let started = Instant::now();
    let out = workspace::target_dir()?.join("package");
    fs::create_dir_all(&out).with_context(|| format!("`{}` cannot be made", out.display()))?;
    let made = tree::Made::by(&programs, &out)?;
    let version = tree::version()?;
    for program in &programs {
        let plain = out.join(format!("ids-agent-{version}-{}", program.arch.debian()));
        fs::copy(&program.path, &plain).with_context(|| format!("`{}` cannot be written", plain.display()))?;
        let deb = deb::build(program, &made, &version, &out)?;
        for file in [plain, deb] {
            let bytes = fs::metadata(&file).with_context(|| format!("`{}`", file.display()))?.len();
            println!("package: {} {:.1} MiB {}", file.display(), bytes as f64 / 1_048_576.0, sha256(&file)?);
        }
    }
    println!("package: packed in {} s", started.elapsed().as_secs());
    if !args.test {
        return Ok(ExitCode::SUCCESS);
    }
    try_out::run(&programs, &made, &version, &out)
}

/// Builds the programs, or finds those that were built.
fn programs(archs: &[Arch], no_build: bool) -> Result<Vec<Program>> {
    let paths: Vec<PathBuf> = if no_build {
        musl::built(PROFILE, PROGRAM, archs)?
    } else {
        let tools = musl::ensure_tools(archs)?;
        println!("package: building with the profile `{PROFILE}`; the inference engine takes minutes");
        tools.build(PROFILE, PROGRAM, PROGRAM, &[], archs)?
    };
    for path in &paths {
        check_static(path)?;
    }
    Ok(archs.iter().zip(paths).map(|(arch, path)| Program { arch: *arch, path }).collect())
}

/// A program that names an interpreter would need libraries of the machine.
fn check_static(path: &Path) -> Result<()> {
    let bytes = fs::read(path).with_context(|| format!("`{}` is unreadable", path.display()))?;
    let word = |at: usize, count: usize| {
        bytes
            .get(at..at + count)
            .map(|raw| raw.iter().rev().fold(0_usize, |value, byte| value << 8 | usize::from(*byte)))
    };
    // ELF, 64 bit: the table of segments, an entry's size, their count; PT_INTERP is 3.
    let table = || Some((word(32, 8)?, word(54, 2)?, word(56, 2)?));
    let (start, size, count) = table().with_context(|| format!("`{}` is no program", path.display()))?;
    let interpreted = (0..count).any(|at| word(start + at * size, 4) == Some(3));
    ensure!(bytes.starts_with(b"\x7fELF\x02") && !interpreted, "`{}` is not static", path.display());
    Ok(())
}

fn sha256(file: &Path) -> Result<String> {
    let said = quiet(Command::new("sha256sum").arg(file))?;
    Ok(said.split(' ').next().unwrap_or_default().to_owned())
}
