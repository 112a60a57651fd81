//! The files of a checkout, as the rules read them, and what may stand at its root.

use std::{collections::BTreeMap, fs, process::Command};

use anyhow::{Context, Result};

use super::Breach;
use crate::{process::quiet, workspace};

/// Anything else goes into one of these.
const ROOT_ENTRIES: [&str; 14] = [
    "Cargo.toml",
    "Cargo.lock",
    "README.md",
    "LICENSE",
    "ids-common",
    "ids-ebpf",
    "ids-agent",
    "xtask",
    "models",
    "rules",
    "systemd",
    "deploy",
    "tests",
    "docs",
];

/// Path to content; what is no UTF-8 has none.
pub(super) struct Tree {
    files: BTreeMap<String, Option<String>>,
}

impl Tree {
    /// All files that git tracks or would track.
    pub(super) fn of_checkout() -> Result<Self> {
        let root = workspace::root()?;
        let list = quiet(Command::new("git").arg("-C").arg(&root).args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ]))
        .context("tidy asks git for the files of the project")?;
        let mut files = BTreeMap::new();
        for path in list.split('\0').filter(|path| !path.is_empty()) {
            // Listed and yet gone: deleted and not committed.
            let Ok(bytes) = fs::read(root.join(path)) else { continue };
            files.insert(path.to_owned(), String::from_utf8(bytes).ok());
        }
        Ok(Self { files })
    }

    #[cfg(test)]
    pub(super) fn of(files: &[(&str, &str)]) -> Self {
        let files = files.iter().map(|(path, text)| ((*path).to_owned(), Some((*text).to_owned()))).collect();
        Self { files }
    }

    pub(super) fn contains(&self, path: &str) -> bool {
        let folder = format!("{path}/");
        self.files.contains_key(path) || self.files.keys().any(|file| file.starts_with(&folder))
    }

    /// Every readable file.
    pub(super) fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files.iter().filter_map(|(path, text)| Some((path.as_str(), text.as_deref()?)))
    }

    /// Every file with one of these endings.
    pub(super) fn with_ending<'a>(&'a self, ending: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.texts().filter(move |(path, _)| path.ends_with(ending))
    }

    pub(super) fn check_root(&self, breaches: &mut Vec<Breach>) {
        let mut entries: Vec<&str> = self.files.keys().filter_map(|path| path.split('/').next()).collect();
        entries.dedup();
        for entry in entries {
            if !entry.starts_with('.') && !ROOT_ENTRIES.contains(&entry) {
                breaches.push(Breach::new(
                    entry,
                    0,
                    "does not belong at the root: move it into one of the folders there",
                ));
            }
        }
    }
}
