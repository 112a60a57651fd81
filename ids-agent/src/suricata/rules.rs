//! Suricata's rules: fetched into a staging folder, tested there, and only then put in the place of those in force, which
//! are kept for the way back. What is in force is always a whole release that Suricata has accepted.
//!
//! ```text
//! rules_dir/current  -> releases/7     swapped by renaming a link
//! rules_dir/previous -> releases/6
//! rules_dir/staging                    what is being made
//! rules_dir/download                   what suricata-update keeps
//! ```

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::process::found;

mod fetch;
mod test;

pub use fetch::Sources;
pub use test::Tested;

/// The files of a release that hold rules: those of the sources, and one's own.
pub(super) const FILES: [&str; 2] = ["suricata.rules", "local.rules"];
/// What is known of a release, in its folder.
const META: &str = "release.json";

/// Why rules stay as they are.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    #[error("cannot {what} {}: {source}", path.display())]
    Disk { what: &'static str, path: PathBuf, source: io::Error },
    #[error("rules in {} are being updated by somebody else", path.display())]
    Busy { path: PathBuf },
    #[error("`{source_text}` is no rule source: name a file, a folder, or a URL of http, https or file")]
    Source { source_text: String },
    #[error("`{source_text}` wants a secret: say where it is in suricata.rule_secret")]
    NoSecret { source_text: String },
    #[error("there are no rules in {}", path.display())]
    NoRules { path: PathBuf },
    #[error("there is no program `{program}`: install it{remedy}")]
    NoProgram { program: String, remedy: &'static str },
    #[error("suricata-update did not end within {secs} s")]
    FetchLate { secs: u64 },
    #[error("suricata-update failed: {said}")]
    Fetch { said: String },
    #[error("`suricata -T` refuses the rules: {said}; those before stay in force")]
    Refused { said: String },
    #[error("`suricata -T` did not end within {secs} s; the rules before stay in force")]
    TestLate { secs: u64 },
    #[error("there is no release before this one in {}", path.display())]
    NoPrevious { path: PathBuf },
}

fn disk<'a>(what: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> RulesError + use<'a> {
    move |source| RulesError::Disk { what, path: path.to_owned(), source }
}

/// Rules that Suricata accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    pub number: u64,
    /// When the sources were last seen to hold just these.
    pub checked_unix_secs: u64,
    pub rules: u64,
    /// Rules of the sources that this Suricata cannot compile.
    pub left_out: u64,
    pub sources: Vec<String>,
    /// SHA-256 over its rule files.
    pub digest: String,
}

/// What an update came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Updated {
    /// The sources hold what is in force.
    Same(Release),
    New(Release),
}

impl Updated {
    pub const fn release(&self) -> &Release {
        match self {
            Self::Same(release) | Self::New(release) => release,
        }
    }
}

/// The folder with the releases.
#[derive(Clone, Debug)]
pub struct RulesStore {
    dir: PathBuf,
}

impl RulesStore {
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// Where Suricata finds the rules in force.
    pub fn in_force(&self) -> PathBuf {
        self.dir.join("current")
    }

    pub fn current(&self) -> Option<Release> {
        read_meta(&self.in_force())
    }

    pub fn previous(&self) -> Option<Release> {
        read_meta(&self.dir.join("previous"))
    }

    /// Fetches the sources, tests what they hold together with one's own rules, and puts it in force. `now_unix_secs` is
    /// written down with it.
    pub fn update(&self, sources: &Sources, test: &TestWith<'_>, now_unix_secs: u64) -> Result<Updated, RulesError> {
        let _lock = self.lock()?;
        let staging = self.stage()?;
        fetch::fetch(sources, &staging, &self.dir.join("download"), test)?;
        self.accept(&staging, sources.names(), sources, test, now_unix_secs)
    }

    /// Puts one's own rules in force, where there are none yet: a first start needs no network.
    pub fn begin(&self, sources: &Sources, test: &TestWith<'_>, now_unix_secs: u64) -> Result<Updated, RulesError> {
        let _lock = self.lock()?;
        let staging = self.stage()?;
        self.accept(&staging, Vec::new(), sources, test, now_unix_secs)
    }

    /// Puts the release before in force again; what was in force becomes the one before.
    pub fn rollback(&self) -> Result<Release, RulesError> {
        let _lock = self.lock()?;
        let (current, previous) = (self.in_force(), self.dir.join("previous"));
        let release = self.previous().ok_or_else(|| RulesError::NoPrevious { path: self.dir.clone() })?;
        let (now, before) = (target(&current), target(&previous));
        if let (Some(now), Some(before)) = (now, before) {
            self.point(&before, &current)?;
            self.point(&now, &previous)?;
        }
        Ok(release)
    }

    fn accept(
        &self,
        staging: &Path,
        names: Vec<String>,
        sources: &Sources,
        test: &TestWith<'_>,
        now_unix_secs: u64,
    ) -> Result<Updated, RulesError> {
        fetch::gather_local(sources.local.as_deref(), &staging.join(FILES[1]))?;
        for file in FILES {
            let path = staging.join(file);
            if !path.exists() {
                File::create(&path).map_err(disk("make", &path))?;
            }
        }
        let before = self.current();
        let fetched = digest(staging)?;
        let tested = test::test(staging, test)?;
        let digest = if tested.left_out == 0 { fetched } else { digest(staging)? };
        if let Some(mut same) = before.clone().filter(|before| before.digest == digest) {
            same.checked_unix_secs = now_unix_secs;
            write_meta(&self.in_force(), &same)?;
            return Ok(Updated::Same(same));
        }
        let number = self.newest().map_or(1, |newest| newest + 1);
        let release = Release {
            number,
            checked_unix_secs: now_unix_secs,
            rules: tested.rules,
            left_out: tested.left_out,
            sources: names,
            digest,
        };
        write_meta(staging, &release)?;
        let releases = self.dir.join("releases");
        fs::create_dir_all(&releases).map_err(disk("make", &releases))?;
        let folder = releases.join(number.to_string());
        fs::rename(staging, &folder).map_err(disk("rename", staging))?;
        let (current, previous) = (self.in_force(), self.dir.join("previous"));
        let relative = |number: u64| Path::new("releases").join(number.to_string());
        if let Some(before) = before {
            self.point(&relative(before.number), &previous)?;
        }
        self.point(&relative(number), &current)?;
        self.forget()?;
        Ok(Updated::New(release))
    }

    /// One of us at a time.
    fn lock(&self) -> Result<File, RulesError> {
        fs::create_dir_all(&self.dir).map_err(disk("make", &self.dir))?;
        let path = self.dir.join("lock");
        let file = File::create(&path).map_err(disk("make", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(RulesError::Busy { path: self.dir.clone() }),
            Err(TryLockError::Error(source)) => Err(disk("lock", &path)(source)),
        }
    }

    /// An empty folder.
    fn stage(&self) -> Result<PathBuf, RulesError> {
        let staging = self.dir.join("staging");
        match fs::remove_dir_all(&staging) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(disk("clear", &staging)(error)),
            _ => {}
        }
        fs::create_dir_all(&staging).map_err(disk("make", &staging))?;
        Ok(staging)
    }

    /// Makes a link lead to a folder of the store, in one step.
    fn point(&self, folder: &Path, link: &Path) -> Result<(), RulesError> {
        let fresh = link.with_extension("new");
        match fs::remove_file(&fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(disk("remove", &fresh)(error)),
            _ => {}
        }
        std::os::unix::fs::symlink(folder, &fresh).map_err(disk("make", &fresh))?;
        fs::rename(&fresh, link).map_err(disk("rename", &fresh))
    }

    fn numbers(&self) -> Vec<u64> {
        let entries = fs::read_dir(self.dir.join("releases")).into_iter().flatten();
        let mut numbers: Vec<u64> =
            entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
        numbers.sort_unstable();
        numbers
    }

    fn newest(&self) -> Option<u64> {
        self.numbers().last().copied()
    }

    /// Removes what neither link leads to.
    fn forget(&self) -> Result<(), RulesError> {
        let kept: Vec<PathBuf> =
            ["current", "previous"].iter().filter_map(|link| target(&self.dir.join(link))).collect();
        for number in self.numbers() {
            let folder = Path::new("releases").join(number.to_string());
            if !kept.contains(&folder) {
                let folder = self.dir.join(folder);
                fs::remove_dir_all(&folder).map_err(disk("remove", &folder))?;
            }
        }
        Ok(())
    }
}

/// What rules are tested with.
#[derive(Clone, Copy, Debug)]
pub struct TestWith<'a> {
    pub program: &'a Path,
    /// The configuration that they are to run under.
    pub yaml: &'a Path,
}

impl TestWith<'_> {
    /// The program's whole path, which suricata-update wants.
    fn found(&self) -> Result<PathBuf, RulesError> {
        found(self.program).ok_or_else(|| RulesError::NoProgram {
            program: self.program.display().to_string(),
            remedy: ", or set suricata.program",
        })
    }
}

fn target(link: &Path) -> Option<PathBuf> {
    fs::read_link(link).ok()
}

fn read_meta(folder: &Path) -> Option<Release> {
    serde_json::from_slice(&fs::read(folder.join(META)).ok()?).ok()
}

fn write_meta(folder: &Path, release: &Release) -> Result<(), RulesError> {
    let path = folder.join(META);
    let fresh = path.with_extension("new");
    let text = serde_json::to_vec_pretty(release).map_err(io::Error::other).map_err(disk("write", &path))?;
    fs::write(&fresh, text).map_err(disk("write", &fresh))?;
    fs::rename(&fresh, &path).map_err(disk("rename", &fresh))
}

fn digest(folder: &Path) -> Result<String, RulesError> {
    let mut hash = Sha256::new();
    for file in FILES {
        let path = folder.join(file);
        let bytes = fs::read(&path).map_err(disk("read", &path))?;
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(&bytes);
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
