//! One Debian package, by dpkg-deb: the same bytes from the same files, whoever makes it and when.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use super::{
    Program,
    tree::{self, Made, files, read, write},
};
use crate::{process::quiet, workspace};

const SCRIPTS: [&str; 3] = ["postinst", "prerm", "postrm"];

/// Makes `ids-agent_VERSION_ARCH.deb`.
pub(super) fn build(program: &Program, made: &Made, version: &str, out: &Path) -> Result<PathBuf> {
    build_with(program, made, version, out, "-Zxz")
}

/// The package under another version, for an upgrade to be tried.
pub(super) fn build_next(program: &Program, made: &Made, out: &Path) -> Result<PathBuf> {
    build_with(program, made, &format!("{}+next", tree::version()?), out, "-Znone")
}

fn build_with(program: &Program, made: &Made, version: &str, out: &Path, packing: &str) -> Result<PathBuf> {
    let arch = program.arch.debian();
    let sources = workspace::root()?.join("deploy/debian");
    let dir = out.join(format!("tree-{arch}"));
    if dir.exists() {
        fs::remove_dir_all(&dir).with_context(|| format!("`{}` cannot be removed", dir.display()))?;
    }
    made.lay_out(program, &dir)?;
    let names = files(&dir)?;
    let bytes: u64 = names.iter().filter_map(|name| fs::metadata(dir.join(name)).ok()).map(|about| about.len()).sum();

    let about = dir.join("DEBIAN");
    let sums = quiet(Command::new("md5sum").current_dir(&dir).arg("--").args(&names))?;
    write(&about.join("md5sums"), sums.as_bytes())?;
    let settings: String =
        names.iter().filter(|name| name.starts_with("etc/")).map(|name| format!("/{name}\n")).collect();
    write(&about.join("conffiles"), settings.as_bytes())?;
    let control = String::from_utf8(read(&sources.join("control"))?).context("deploy/debian/control")?;
    let control = control
        .replace("@VERSION@", version)
        .replace("@MAINTAINER@", &made.maintainer)
        .replace("@ARCH@", arch)
        .replace("@SIZE@", &bytes.div_ceil(1_024).to_string());
    write(&about.join("control"), control.as_bytes())?;
    for script in SCRIPTS {
        let to = about.join(script);
        write(&to, &read(&sources.join(script))?)?;
        fs::set_permissions(&to, fs::Permissions::from_mode(0o755)).with_context(|| format!("`{}`", to.display()))?;
    }
    // What the umask of whoever runs this made of folders must not be seen.
    quiet(Command::new("find").arg(&dir).args(["-type", "d", "-exec", "chmod", "755", "{}", "+"]))?;

    let deb = out.join(format!("ids-agent_{version}_{arch}.deb"));
    let mut command = Command::new("dpkg-deb");
    command.args(["--root-owner-group", packing, "--build"]).arg(&dir).arg(&deb).env("SOURCE_DATE_EPOCH", epoch()?);
    quiet(&mut command)?;
    fs::remove_dir_all(&dir).with_context(|| format!("`{}` cannot be removed", dir.display()))?;
    Ok(deb)
}

/// The time that all files bear: the commit's.
fn epoch() -> Result<String> {
    if let Ok(given) = std::env::var("SOURCE_DATE_EPOCH") {
        return Ok(given);
    }
    let root = workspace::root()?;
    let said = quiet(Command::new("git").arg("-C").arg(&root).args(["log", "-1", "--format=%ct"]))?;
    Ok(said.trim().to_owned())
}
