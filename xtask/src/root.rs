//! Clean Debian roots for tests: made once by debootstrap, kept outside the tree, and handed out as copies on write.

use std::{
    env,
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};

use crate::process::{is_root, quiet};

/// The oldest Debian whose kernel the agent runs on.
const SUITE: &str = "bookworm";
const MIRROR: &str = "http://deb.debian.org/debian";

/// Where what is costly to fetch or to make is kept between runs.
pub(crate) fn cache_dir() -> Result<PathBuf> {
    let base = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|dir| dir.is_absolute())
        .or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")))
        .context("neither XDG_CACHE_HOME nor HOME says where a cache may lie")?;
    let dir = base.join("ids-agent");
    fs::create_dir_all(&dir).with_context(|| format!("`{}` cannot be made", dir.display()))?;
    Ok(dir)
}

/// The mirror that this machine's apt uses for Debian.
pub(crate) fn mirror() -> String {
    let targets = ["indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"];
    let said = quiet(Command::new("apt-get").args(targets)).unwrap_or_default();
    let own = said.lines().map(|line| line.trim_end_matches('/')).find(|uri| uri.ends_with("/debian"));
    own.unwrap_or(MIRROR).to_owned()
}

/// A root of this machine's own architecture with these packages on top of a minimal Debian. It is made at the first call;
/// nobody may change it: see `Scratch`.
pub(crate) fn clean(packages: &[&str]) -> Result<PathBuf> {
    ensure!(is_root(), "making a Debian root takes root");
    let mut packages = packages.to_vec();
    packages.sort_unstable();
    packages.dedup();
    let dir = cache_dir()?.join("roots");
    fs::create_dir_all(&dir).with_context(|| format!("`{}` cannot be made", dir.display()))?;
    let root = dir.join([&[SUITE], packages.as_slice()].concat().join("+"));
    let _one_at_a_time = lock(&dir)?;
    if root.is_dir() {
        return Ok(root);
    }
    let partial = dir.join(format!("partial-{}", std::process::id()));
    remove(&partial)?;
    println!("root: making a clean Debian {SUITE} with {}: about a minute, once", packages.join(", "));
    let mut command = Command::new("debootstrap");
    command.arg("--variant=minbase");
    if !packages.is_empty() {
        command.arg(format!("--include={}", packages.join(",")));
    }
    if let Err(error) = quiet(command.arg(SUITE).arg(&partial).arg(mirror())) {
        // What it was about is in its log, which goes with the root.
        let log = fs::read_to_string(partial.join("debootstrap/debootstrap.log")).unwrap_or_default();
        let last: Vec<&str> = log.lines().rev().take(5).collect();
        remove(&partial)?;
        bail!("{error:#}: {}", last.into_iter().rev().collect::<Vec<_>>().join("; "));
    }
    // Packages that were unpacked are not needed again.
    quiet(Command::new("chroot").arg(&partial).args(["apt-get", "clean"]))?;
    fs::rename(&partial, &root).with_context(|| format!("`{}` cannot be put in its place", root.display()))?;
    Ok(root)
}

/// Held while a root is made.
fn lock(dir: &Path) -> Result<File> {
    let path = dir.join("lock");
    let file = File::create(&path).with_context(|| format!("`{}` cannot be made", path.display()))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            println!("root: waiting for another run that makes one");
            file.lock().with_context(|| format!("`{}` cannot be locked", path.display()))?;
        }
        Err(TryLockError::Error(error)) => {
            return Err(error).with_context(|| format!("`{}` cannot be locked", path.display()));
        }
    }
    Ok(file)
}

pub(crate) fn remove(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("`{}` cannot be removed", dir.display()))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// A root to be changed at will: an overlay over a clean one, gone when dropped.
pub(crate) struct Scratch {
    dir: PathBuf,
}

impl Scratch {
    /// Lays an overlay over `clean`, which stays as it is.
    pub(crate) fn over(clean: &Path) -> Result<Self> {
        let dir = cache_dir()?.join(format!("scratch-{}", std::process::id()));
        remove(&dir)?;
        let scratch = Self { dir };
        for part in ["upper", "work", "root"] {
            let part = scratch.dir.join(part);
            fs::create_dir_all(&part).with_context(|| format!("`{}` cannot be made", part.display()))?;
        }
        let dir = scratch.dir.display();
        let options = format!("lowerdir={},upperdir={dir}/upper,workdir={dir}/work", clean.display());
        quiet(Command::new("mount").args(["-t", "overlay", "overlay", "-o", &options]).arg(scratch.path()))?;
        Ok(scratch)
    }

    /// Where the root is.
    pub(crate) fn path(&self) -> PathBuf {
        self.dir.join("root")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Where it is still busy the files stay: removing them would reach through the mount.
        let unmounted = quiet(Command::new("umount").arg(self.path()));
        if let Err(error) = unmounted.and_then(|_| remove(&self.dir)) {
            eprintln!("root: `{}` is left behind: {error:#}", self.dir.display());
        }
    }
}
