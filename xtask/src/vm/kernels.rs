//! Kernels of Debian: fetched by apt, which checks signatures and sums, with folders of its own outside the tree; unpacked, never
//! installed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result, ensure};

use crate::{
    musl::Arch,
    process::quiet,
    root::{cache_dir, mirror},
};

/// A kernel to be tried.
pub(crate) struct Kernel {
    pub(crate) name: &'static str,
    pub(crate) arch: Arch,
    suite: &'static str,
    /// The package that stands for the newest of its kind in the suite.
    package: &'static str,
}

pub(crate) const KERNELS: [Kernel; 7] = [
    Kernel { name: "5.10 amd64", arch: Arch::Amd64, suite: "bullseye", package: "linux-image-cloud-amd64" },
    Kernel { name: "6.1 amd64", arch: Arch::Amd64, suite: "bookworm", package: "linux-image-cloud-amd64" },
    Kernel { name: "6.12 amd64", arch: Arch::Amd64, suite: "trixie", package: "linux-image-cloud-amd64" },
    Kernel { name: "newest amd64", arch: Arch::Amd64, suite: "sid", package: "linux-image-cloud-amd64" },
    Kernel { name: "6.1 arm64", arch: Arch::Arm64, suite: "bookworm", package: "linux-image-cloud-arm64" },
    Kernel { name: "6.12 arm64", arch: Arch::Arm64, suite: "trixie", package: "linux-image-cloud-arm64" },
    Kernel { name: "6.12 arm64 16k", arch: Arch::Arm64, suite: "trixie", package: "linux-image-arm64-16k" },
];

const SUITES: [&str; 4] = ["bullseye", "bookworm", "trixie", "sid"];
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
const WEEK: Duration = Duration::from_secs(7 * 86_400);

/// Debian's lists of packages, for both architectures.
pub(crate) struct Archives {
    dir: PathBuf,
}

impl Archives {
    /// Asks the mirror where there are no lists, where they are old, or when told to.
    pub(crate) fn open(refresh: bool) -> Result<Self> {
        let archives = Self { dir: cache_dir()?.join("kernels") };
        for arch in Arch::ALL {
            archives.configure(arch)?;
            let stamp = archives.dir.join(arch.debian()).join("updated");
            let age = fs::metadata(&stamp).and_then(|about| about.modified()).ok();
            let is_old = age.and_then(|at| SystemTime::now().duration_since(at).ok()).is_none_or(|age| age > WEEK);
            if refresh || is_old {
                println!("vm-test: asking {} for kernels of {}", mirror(), arch.debian());
                let update = quiet(archives.apt(arch, "apt-get").args(["update", "-qq"]));
                // Old lists are better than none where there is no network.
                match update {
                    Ok(_) => fs::write(&stamp, "").with_context(|| format!("`{}`", stamp.display()))?,
                    Err(error) if age.is_some() => println!("vm-test: going on with older lists: {error:#}"),
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(archives)
    }

    fn configure(&self, arch: Arch) -> Result<()> {
        let dir = self.dir.join(arch.debian());
        for part in ["lists/partial", "archives/partial", "sources", "preferences"] {
            let part = dir.join(part);
            fs::create_dir_all(&part).with_context(|| format!("`{}` cannot be made", part.display()))?;
        }
        let mirror = mirror();
        let sources = SUITES.map(|suite| format!("deb [signed-by={KEYRING}] {mirror} {suite} main\n")).concat();
        let (at, name) = (dir.display(), arch.debian());
        let settings = format!(
            "APT::Architecture \"{name}\";\nAPT::Architectures {{ \"{name}\"; }};\nAPT::Sandbox::User \"root\";\n\
             Dir::Etc::SourceList \"{at}/sources.list\";\nDir::Etc::SourceParts \"{at}/sources\";\n\
             Dir::Etc::Preferences \"{at}/none\";\nDir::Etc::PreferencesParts \"{at}/preferences\";\n\
             Dir::State::Lists \"{at}/lists\";\nDir::State::Status \"{at}/status\";\n\
             Dir::Cache \"{at}\";\nDir::Cache::Archives \"{at}/archives\";\n\
             Acquire::Languages \"none\";\nAcquire::IndexTargets::deb::DEP-11::DefaultEnabled \"false\";\n"
        );
        for (file, text) in [("sources.list", sources.as_str()), ("apt.conf", &settings), ("status", "")] {
            let file = dir.join(file);
            fs::write(&file, text).with_context(|| format!("`{}` cannot be written", file.display()))?;
        }
        Ok(())
    }

    fn apt(&self, arch: Arch, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("APT_CONFIG", self.dir.join(arch.debian()).join("apt.conf"));
        command
    }

    /// The newest kernel of its kind, unpacked.
    pub(crate) fn fetch(&self, kernel: &Kernel) -> Result<Fetched> {
        let meta = format!("{}/{}", kernel.package, kernel.suite);
        let image = self
            .depends(kernel.arch, &meta)?
            .into_iter()
            .find(|package| package.starts_with("linux-image-"))
            .with_context(|| format!("Debian's {meta} names no kernel"))?;
        let dir = self.dir.join(kernel.arch.debian()).join(&image);
        if dir.is_dir() {
            return Ok(Fetched { dir });
        }
        // Newer packages hold the kernel and its modules apart.
        let mut packages = vec![image.clone()];
        let parts = ["linux-binary-", "linux-modules-"];
        packages.extend(
            self.depends(kernel.arch, &image)?
                .into_iter()
                .filter(|package| parts.iter().any(|part| package.starts_with(part))),
        );
        println!("vm-test: fetching {}", packages.join(", "));
        let partial = self.dir.join(format!("partial-{}", std::process::id()));
        let tree = partial.join("tree");
        fs::create_dir_all(&tree).with_context(|| format!("`{}` cannot be made", tree.display()))?;
        quiet(self.apt(kernel.arch, "apt-get").current_dir(&partial).args(["download", "-qq"]).args(&packages))?;
        for entry in fs::read_dir(&partial).with_context(|| format!("`{}` is unreadable", partial.display()))? {
            let file = entry?.path();
            if file.extension().is_some_and(|extension| extension == "deb") {
                quiet(Command::new("dpkg-deb").arg("-x").arg(&file).arg(&tree))?;
            }
        }
        fs::rename(&tree, &dir).with_context(|| format!("`{}` cannot be put in its place", dir.display()))?;
        fs::remove_dir_all(&partial).with_context(|| format!("`{}` cannot be removed", partial.display()))?;
        Ok(Fetched { dir })
    }

    /// A program out of a package of a suite, as its bytes.
    pub(crate) fn program(&self, arch: Arch, package: &str, suite: &str, program: &str) -> Result<Vec<u8>> {
        let kept = self.dir.join(arch.debian()).join(program);
        if !kept.is_file() {
            let partial = self.dir.join(format!("partial-{}", std::process::id()));
            fs::create_dir_all(&partial).with_context(|| format!("`{}` cannot be made", partial.display()))?;
            let wanted = format!("{package}/{suite}");
            quiet(self.apt(arch, "apt-get").current_dir(&partial).args(["download", "-qq", &wanted]))?;
            let mut found = Vec::new();
            walk(&partial, &mut found)?;
            for deb in found.iter().filter(|path| path.extension().is_some_and(|extension| extension == "deb")) {
                quiet(Command::new("dpkg-deb").arg("-x").arg(deb).arg(&partial))?;
            }
            found.clear();
            walk(&partial, &mut found)?;
            // Other files bear its name, too.
            let file = found.iter().find(|path| path.ends_with(Path::new("bin").join(program)));
            let file = file.with_context(|| format!("Debian's {package} brought no `{program}`"))?;
            fs::copy(file, &kept).with_context(|| format!("`{}` cannot be written", kept.display()))?;
            fs::remove_dir_all(&partial).with_context(|| format!("`{}` cannot be removed", partial.display()))?;
        }
        fs::read(&kept).with_context(|| format!("`{}` is unreadable", kept.display()))
    }

    /// The packages that one depends on, by name.
    fn depends(&self, arch: Arch, package: &str) -> Result<Vec<String>> {
        let shown = quiet(self.apt(arch, "apt-cache").args(["show", package]))?;
        let list = shown.lines().find_map(|line| line.strip_prefix("Depends: ")).unwrap_or_default();
        Ok(list.split(", ").filter_map(|word| word.split(' ').next()).map(str::to_owned).collect())
    }
}

/// An unpacked kernel.
pub(crate) struct Fetched {
    dir: PathBuf,
}

impl Fetched {
    /// What the emulator starts.
    pub(crate) fn image(&self) -> Result<PathBuf> {
        let mut found = Vec::new();
        walk(&self.dir, &mut found)?;
        let image = found.into_iter().find(|path| file_name(path).starts_with("vmlinuz"));
        image.with_context(|| format!("`{}` holds no kernel", self.dir.display()))
    }

    /// These modules and what they depend on, in the order in which they load. Those that there are none of are part of the kernel.
    pub(crate) fn modules(&self, names: &[&str]) -> Result<Vec<(String, Vec<u8>)>> {
        let mut files = Vec::new();
        walk(&self.dir, &mut files)?;
        let mut order = Vec::new();
        for name in names {
            add(name, &files, &mut order)?;
        }
        Ok(order)
    }
}

fn add(name: &str, files: &[PathBuf], order: &mut Vec<(String, Vec<u8>)>) -> Result<()> {
    let file = format!("{name}.ko");
    if order.iter().any(|(known, _)| *known == file) {
        return Ok(());
    }
    // In names of files a hyphen may stand for an underscore.
    let is_it = |path: &&PathBuf| file_name(path).trim_end_matches(".xz").replace('-', "_") == file.replace('-', "_");
    let Some(path) = files.iter().find(is_it) else { return Ok(()) };
    let bytes = if path.extension().is_some_and(|extension| extension == "xz") {
        let output = Command::new("xz").arg("-dc").arg(path).output().context("`xz` does not start")?;
        ensure!(output.status.success(), "`{}` cannot be unpacked", path.display());
        output.stdout
    } else {
        fs::read(path).with_context(|| format!("`{}` is unreadable", path.display()))?
    };
    for needed in needs(&bytes) {
        add(&needed, files, order)?;
    }
    order.push((file, bytes));
    Ok(())
}

/// What a module says that it depends on.
fn needs(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(at) = module.windows(KEY.len()).position(|window| window == KEY) else { return Vec::new() };
    let list: Vec<u8> = module.iter().skip(at + KEY.len()).take_while(|byte| **byte != 0).copied().collect();
    let list = String::from_utf8_lossy(&list).into_owned();
    list.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

fn walk(dir: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("`{}` is unreadable", dir.display()))? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            walk(&entry.path(), found)?;
        } else {
            found.push(entry.path());
        }
    }
    Ok(())
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::needs;

    #[test]
    fn a_module_names_what_it_depends_on() {
        assert_eq!(needs(b"\x7fELF..\0license=GPL\0depends=jbd2,mbcache\0name=ext4\0"), ["jbd2", "mbcache"]);
        assert!(needs(b"\x7fELF..\0license=GPL\0depends=\0name=veth\0").is_empty());
        assert!(needs(b"\x7fELF").is_empty());
    }
}
