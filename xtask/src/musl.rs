//! Static binaries for both architectures: musl, linked and its C compiled by zig, which carries every target in one program.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;

use crate::{
    process::{find, must, quiet},
    workspace,
};

/// An architecture that the agent is made for, by Debian's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Arch {
    Amd64,
    Arm64,
}

impl Arch {
    pub(crate) const ALL: [Self; 2] = [Self::Amd64, Self::Arm64];

    pub(crate) const fn debian(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    pub(crate) const fn triple(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64-unknown-linux-musl",
            Self::Arm64 => "aarch64-unknown-linux-musl",
        }
    }

    /// Whether this machine runs its programs without emulation.
    pub(crate) fn is_native(self) -> bool {
        match self {
            Self::Amd64 => cfg!(target_arch = "x86_64"),
            Self::Arm64 => cfg!(target_arch = "aarch64"),
        }
    }
}

/// The compiler and what makes cargo use it, as wheels of the Python index: name, version, hashes for x86-64 and arm64.
const WHEELS: [(&str, &str, [&str; 2]); 2] = [
    (
        "ziglang",
        "0.17.0",
        [
            "97079827064a7492cce5541ceb438ae8003ce1e54e399676da2d62fb7a5dc08b",
            "d2804f94f54f7fcf8169f4b212a619ad688a4e2e6592e976f0cf2e58e2cd8af3",
        ],
    ),
    (
        "cargo-zigbuild",
        "0.24.0",
        [
            "484412e39e4c6039474535ce97ee75a22bab22d58233056f8ec8a8f9034bb957",
            "6942e4320f7b05d8fb29e0a8ce5670bcbb3d254275100b85b5b7c86552f9a744",
        ],
    ),
];

/// Fetches what compiles for these targets, where it is missing.
pub(crate) fn ensure_tools(archs: &[Arch]) -> Result<Tools> {
    for arch in archs {
        ensure_target(arch.triple())?;
    }
    let dir = workspace::target_dir()?.join("tools/zig");
    let tools = Tools { zig: dir.join("ziglang/zig"), zigbuild: dir.join("bin/cargo-zigbuild") };
    let versions = WHEELS.map(|(name, version, _)| format!("{name} {version}")).join("\n");
    let stamp = dir.join("versions");
    if fs::read_to_string(&stamp).is_ok_and(|text| text == versions) {
        return Ok(tools);
    }
    println!("setup: missing, and fetched now: {} by pip into {}", versions.replace('\n', ", "), dir.display());
    fs::create_dir_all(&dir).with_context(|| format!("`{}` cannot be made", dir.display()))?;
    let list = dir.join("requirements.txt");
    let lines = WHEELS.map(|(name, version, hashes)| {
        let hashes = hashes.map(|hash| format!(" --hash=sha256:{hash}")).concat();
        format!("{name}=={version}{hashes}\n")
    });
    fs::write(&list, lines.concat()).with_context(|| format!("`{}` cannot be written", list.display()))?;
    let options = ["-m", "pip", "install", "--quiet", "--no-deps", "--only-binary=:all:", "--require-hashes"];
    quiet(Command::new("python3").args(options).args(["--upgrade", "--target"]).arg(&dir).arg("-r").arg(&list))?;
    ensure!(tools.zig.is_file() && tools.zigbuild.is_file(), "the wheels brought no zig into `{}`", dir.display());
    fs::write(&stamp, versions).with_context(|| format!("`{}` cannot be written", stamp.display()))?;
    Ok(tools)
}

fn ensure_target(triple: &str) -> Result<()> {
    let libraries = quiet(Command::new("rustc").args(["--print", "target-libdir", "--target", triple]))?;
    if Path::new(libraries.trim()).is_dir() {
        return Ok(());
    }
    ensure!(find("rustup").is_some(), "this Rust lacks the target {triple}, and there is no rustup to add it");
    println!("setup: missing, and fetched now: rustup target add {triple}");
    must(Command::new("rustup").args(["target", "add", triple]))
}

/// What compiles static binaries.
pub(crate) struct Tools {
    zig: PathBuf,
    zigbuild: PathBuf,
}

impl Tools {
    /// Builds the program of a package for each architecture; gives where they lie, in the same order.
    pub(crate) fn build(
        &self,
        profile: &str,
        package: &str,
        program: &str,
        more: &[&str],
        archs: &[Arch],
    ) -> Result<Vec<PathBuf>> {
        let cargo = workspace::cargo()?;
        let mut command = Command::new(&self.zigbuild);
        command.current_dir(workspace::root()?).env("CARGO", cargo.get_program());
        for (name, value) in cargo.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.env("CARGO_ZIGBUILD_ZIG_PATH", &self.zig);
        command.args(["zigbuild", "--locked", "--profile", profile, "--package", package, "--bin", program]).args(more);
        for arch in archs {
            command.args(["--target", arch.triple()]);
        }
        must(&mut command)?;
        built(profile, program, archs)
    }
}

/// Where the program of each architecture lies, in the same order.
pub(crate) fn built(profile: &str, program: &str, archs: &[Arch]) -> Result<Vec<PathBuf>> {
    let target = workspace::target_dir()?;
    let paths: Vec<PathBuf> = archs.iter().map(|arch| target.join(arch.triple()).join(profile).join(program)).collect();
    for path in &paths {
        ensure!(path.is_file(), "`{}` is not there: it was never built", path.display());
    }
    Ok(paths)
}
