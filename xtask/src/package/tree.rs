//! What a package holds and where each part goes: one list, for every architecture.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use super::Program;
use crate::{process::quiet, workspace};

/// Files of the checkout, where they go, and whether they are compressed there, as Debian wants of manuals and logs.
const FILES: [(&str, &str, Form); 16] = [
    ("systemd/ids-agent.service", "usr/lib/systemd/system/ids-agent.service", Form::Plain),
    ("systemd/ids-agent.sysusers", "usr/lib/sysusers.d/ids-agent.conf", Form::Plain),
    ("systemd/ids-agent.tmpfiles", "usr/lib/tmpfiles.d/ids-agent.conf", Form::Plain),
    ("systemd/ids-agent.logrotate", "etc/logrotate.d/ids-agent", Form::Plain),
    ("systemd/managed-suricata.conf", "usr/share/doc/ids-agent/examples/managed-suricata.conf", Form::Plain),
    ("systemd/limits.conf", "usr/share/doc/ids-agent/examples/limits.conf", Form::Plain),
    ("systemd/notify-reload.conf", "usr/share/doc/ids-agent/examples/notify-reload.conf", Form::Plain),
    ("deploy/debian/config.toml", "etc/ids-agent/config.toml", Form::Plain),
    ("deploy/debian/copyright", "usr/share/doc/ids-agent/copyright", Form::Plain),
    ("deploy/debian/lintian-overrides", "usr/share/lintian/overrides/ids-agent", Form::Plain),
    ("LICENSE", "usr/share/doc/ids-agent/LICENSE.gz", Form::Compressed),
    ("docs/CHANGELOG.md", "usr/share/doc/ids-agent/changelog.gz", Form::Compressed),
    ("docs/configuration.md", "usr/share/doc/ids-agent/configuration.md.gz", Form::Compressed),
    ("docs/operations.md", "usr/share/doc/ids-agent/operations.md.gz", Form::Compressed),
    ("docs/hardening.md", "usr/share/doc/ids-agent/hardening.md.gz", Form::Compressed),
    ("docs/alerts.md", "usr/share/doc/ids-agent/alerts.md.gz", Form::Compressed),
];
/// Folders of the checkout, taken whole, but for what makes models.
const FOLDERS: [(&str, &str); 2] = [("models", "usr/share/ids-agent/models"), ("rules", "usr/share/ids-agent/rules")];
const NOT_SHIPPED: &str = "models/train/";
/// What the program itself writes, by the words that make it do so.
const WRITTEN: [(&[&str], &str, Form); 4] = [
    (&["man"], "usr/share/man/man1/ids-agent.1.gz", Form::Compressed),
    (&["completions", "bash"], "usr/share/bash-completion/completions/ids-agent", Form::Plain),
    (&["completions", "zsh"], "usr/share/zsh/vendor-completions/_ids-agent", Form::Plain),
    (&["completions", "fish"], "usr/share/fish/vendor_completions.d/ids-agent.fish", Form::Plain),
];
pub(super) const PROGRAM: &str = "usr/bin/ids-agent";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Plain,
    /// By gzip, without name and time.
    Compressed,
}

/// The agent's version.
pub(super) fn version() -> Result<String> {
    // All crates of the project have one version.
    Ok(env!("CARGO_PKG_VERSION").to_owned())
}

/// What is the same for every architecture, made once.
pub(super) struct Made {
    dir: PathBuf,
    pub(super) maintainer: String,
}

impl Made {
    /// Lays the tree out, but for the program. Asks the program that runs here for its manual and completions.
    pub(super) fn by(programs: &[Program], maintainer: String, out: &Path) -> Result<Self> {
        let own = programs.iter().find(|program| program.arch.is_native());
        let own = own.context(
            "the manual and the completions come from the program for this machine: name its architecture, too",
        )?;
        let root = workspace::root()?;
        let dir = out.join("tree");
        if dir.exists() {
            fs::remove_dir_all(&dir).with_context(|| format!("`{}` cannot be removed", dir.display()))?;
        }
        let made = Self { dir, maintainer };
        for (from, to, form) in FILES {
            made.put(to, &read(&root.join(from))?, form)?;
        }
        let tracked = quiet(Command::new("git").arg("-C").arg(&root).args(["ls-files", "models", "rules"]))?;
        for path in tracked.lines().filter(|path| !path.starts_with(NOT_SHIPPED)) {
            for (from, to) in FOLDERS {
                if let Some(below) = path.strip_prefix(from).and_then(|rest| rest.strip_prefix('/')) {
                    made.put(&format!("{to}/{below}"), &read(&root.join(path))?, Form::Plain)?;
                }
            }
        }
        for (words, to, form) in WRITTEN {
            let output = Command::new(&own.path).args(words).output();
            let output = output.with_context(|| format!("`{}` does not start", own.path.display()))?;
            ensure!(output.status.success(), "`ids-agent {}` failed", words.join(" "));
            made.put(to, &output.stdout, form)?;
        }
        Ok(made)
    }

    /// Lays out a whole package in `into`, where nothing may be yet.
    pub(super) fn lay_out(&self, program: &Program, into: &Path) -> Result<()> {
        quiet(Command::new("cp").arg("-a").arg(&self.dir).arg(into))?;
        let to = into.join(PROGRAM);
        write(&to, &read(&program.path)?)?;
        fs::set_permissions(&to, fs::Permissions::from_mode(0o755)).with_context(|| format!("`{}`", to.display()))
    }

    fn put(&self, to: &str, content: &[u8], form: Form) -> Result<()> {
        let path = self.dir.join(to);
        match form {
            Form::Plain => write(&path, content),
            Form::Compressed => {
                let plain = path.with_extension("");
                write(&plain, content)?;
                quiet(Command::new("gzip").args(["-9", "-n", "-f"]).arg(&plain)).map(drop)
            }
        }
    }
}

/// All files below, as paths within, sorted.
pub(super) fn files(dir: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let mut todo = vec![dir.to_path_buf()];
    while let Some(folder) = todo.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("`{}` is unreadable", folder.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                todo.push(path);
            } else {
                found.push(path.strip_prefix(dir).unwrap_or(&path).to_string_lossy().into_owned());
            }
        }
    }
    found.sort();
    Ok(found)
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("`{}` is unreadable", path.display()))
}

/// Writes a file for everybody to read, with the folders above it.
pub(super) fn write(path: &Path, content: &[u8]) -> Result<()> {
    let folder = path.parent().context("a file has a folder")?;
    fs::create_dir_all(folder).with_context(|| format!("`{}` cannot be made", folder.display()))?;
    fs::write(path, content).with_context(|| format!("`{}` cannot be written", path.display()))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).with_context(|| format!("`{}`", path.display()))
}
