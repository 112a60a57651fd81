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

use anyhow::{Context, Result, anyhow, ensure};

use crate::{
    musl::{self, Arch},
    process::quiet,
    setup::{self, Purpose},
    workspace,
};

/// How cargo builds what is shipped; Cargo.toml says what it means.
const PROFILE: &str = "shipped";
const PROGRAM: &str = "ids-agent";
/// A package must name somebody (Debian policy, 5.6.2). Nobody has this address (RFC 2606), so that no mail goes astray.
const NOBODY: &str = "nobody yet <ids-agent@example.invalid>";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Architectures to make; both when absent.
    #[arg(long, value_enum)]
    arch: Vec<Arch>,
    /// Takes the programs that were built last, and packs them alone.
    #[arg(long)]
    no_build: bool,
    /// Who answers for the packages, as `NAME <ADDRESS>`; DEBFULLNAME and DEBEMAIL say it where this does not.
    #[arg(long, value_name = "NAME <ADDRESS>", value_parser = maintainer)]
    maintainer: Option<String>,
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
    let variables = ["DEBFULLNAME", "DEBEMAIL"].map(|variable| std::env::var(variable).ok());
    let named = match (&args.maintainer, variables) {
        (Some(named), _) => Some(named.clone()),
        (None, [Some(name), Some(address)]) => Some(
            maintainer(&format!("{name} <{address}>"))
                .map_err(|wanted| anyhow!("DEBFULLNAME and DEBEMAIL: {wanted}"))?,
        ),
        (None, _) => None,
    };
    if named.is_none() {
        println!(
            "package: nobody is named as maintainer (--maintainer, or DEBFULLNAME and DEBEMAIL): for trials, not for others"
        );
    }
    let made = tree::Made::by(&programs, named.unwrap_or_else(|| NOBODY.to_owned()), &out)?;
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

/// One line, as dpkg wants it.
fn maintainer(text: &str) -> Result<String, String> {
    let parts = text.strip_suffix('>').and_then(|text| text.split_once(" <"));
    let is_one = parts.is_some_and(|(name, address)| {
        !name.trim().is_empty()
            && !name.contains(['<', '>', '\n'])
            && address.split_once('@').is_some_and(|(user, host)| !user.is_empty() && !host.is_empty())
            && !address.contains(['<', '>', ' ', '\n'])
    });
    if is_one { Ok(text.to_owned()) } else { Err("`NAME <USER@HOST>` is wanted".to_owned()) }
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

#[cfg(test)]
mod tests {
    use super::{NOBODY, maintainer};

    #[test]
    fn a_maintainer_has_a_name_and_an_address_on_one_line() {
        for good in ["A. Person <a@example.org>", NOBODY] {
            assert!(maintainer(good).is_ok(), "{good}");
        }
        for bad in ["", "A. Person", "<a@example.org>", "A <a>", "A <@b>", "A\nB: c <a@b>", "A <a@b\n>", "A <a@b> c"] {
            assert!(maintainer(bad).is_err(), "{bad:?}");
        }
    }
}
