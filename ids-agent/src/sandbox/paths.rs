//! Which files the process may reach, told to the kernel's Landlock. A folder stands for all below it.

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible as _, PathBeneath, PathFd, Ruleset,
    RulesetAttr as _, RulesetCreatedAttr as _, RulesetError, RulesetStatus, Scope,
};

/// What is asked for; kernels that know less give what they know.
const WANTED: ABI = ABI::V6;

/// What every run reads: itself and the machine, names of users and zones, who its neighbours are, and what a package
/// brings.
const READ: [&str; 16] = [
    "/proc",
    "/sys",
    "/etc/ids-agent",
    "/etc/passwd",
    "/etc/localtime",
    "/etc/resolv.conf",
    "/run/systemd/resolve",
    "/run/systemd/netif",
    "/run/NetworkManager",
    "/run/dhcpcd",
    "/var/lib/dhcp",
    "/var/lib/dhcpcd",
    "/var/lib/NetworkManager",
    "/usr/share/ids-agent",
    "/usr/share/zoneinfo",
    "/dev/urandom",
];
const WRITE: [&str; 1] = ["/dev/null"];

/// What a run reaches, as its settings say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    pub read: Vec<PathBuf>,
    /// Folders that are written, and what is not in a folder of ours: pipes, devices.
    pub write: Vec<PathBuf>,
    /// Folders that are written where they can be: the run goes on without.
    pub hoped: Vec<PathBuf>,
    /// Files that were opened for writing before rights were given up.
    pub made: Vec<PathBuf>,
}

impl Reach {
    /// A file that is read, now or again after somebody has put another in its place: so its folder is meant.
    pub fn reads(&mut self, path: &Path) {
        let place = if path.is_dir() { path.to_owned() } else { folder_of(path) };
        push(&mut self.read, place);
    }

    /// A file that is written, and rotated within its folder.
    pub fn writes_file(&mut self, path: &Path) {
        // A pipe or a device is itself alone: nobody rotates it, and its folder holds what is none of ours.
        let special = path.metadata().is_ok_and(|found| !found.is_file() && !found.is_dir());
        push(&mut self.write, if special { path.to_owned() } else { folder_of(path) });
    }

    /// A file without which the run goes on.
    pub fn may_write_file(&mut self, path: &Path) {
        push(&mut self.hoped, folder_of(path));
    }

    /// Lets all below a folder be written.
    pub fn writes_folder(&mut self, path: &Path) {
        push(&mut self.write, path.to_owned());
    }
}

fn push(paths: &mut Vec<PathBuf>, path: PathBuf) {
    if !paths.contains(&path) {
        paths.push(path);
    }
}

fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        Some(_) | None => PathBuf::from("."),
    }
}

/// Restricts this thread, and those it will begin. Says whether it holds, and how.
pub(super) fn restrict(reach: &Reach) -> Result<(bool, String), RulesetError> {
    let read = AccessFs::from_read(WANTED) & !AccessFs::Execute;
    // Nothing is begun any more, whatever the path.
    let write = (AccessFs::from_all(WANTED) & !AccessFs::Execute) & !(AccessFs::MakeBlock | AccessFs::MakeChar);
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(WANTED))?
        // The pages' listener stands already, and the agent connects to nobody.
        .handle_access(AccessNet::BindTcp | AccessNet::ConnectTcp)?
        .scope(Scope::Signal)?
        .create()?;
    let mut read_paths: Vec<&Path> = READ.iter().map(Path::new).collect();
    read_paths.extend(reach.read.iter().map(PathBuf::as_path));
    let mut write_paths: Vec<&Path> = WRITE.iter().map(Path::new).collect();
    write_paths.extend(reach.write.iter().chain(&reach.hoped).map(PathBuf::as_path));
    let rules = rules(&read_paths, read).chain(rules(&write_paths, write));
    let status = ruleset.add_rules(rules)?.restrict_self()?;
    let folders =
        reach.write.iter().chain(&reach.hoped).map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
    Ok(match status.ruleset {
        RulesetStatus::FullyEnforced => (true, format!("nothing is written outside of {folders}")),
        RulesetStatus::PartiallyEnforced => {
            (true, format!("nothing is written outside of {folders}; this kernel knows files alone"))
        }
        RulesetStatus::NotEnforced => (false, "this kernel has no Landlock".to_owned()),
    })
}

/// Asked without being restricted.
pub(super) fn is_there() -> bool {
    let asked = Ruleset::default().set_compatibility(CompatLevel::HardRequirement).handle_access(AccessFs::ReadFile);
    asked.and_then(|ruleset| ruleset.create()).is_ok()
}

/// Rules for those of the paths that are there.
fn rules(
    paths: &[&Path],
    access: BitFlags<AccessFs>,
) -> impl Iterator<Item = Result<PathBeneath<PathFd>, RulesetError>> {
    let found: Vec<_> = paths
        .iter()
        .filter_map(|path| {
            let access = if path.is_dir() { access } else { access & AccessFs::from_file(WANTED) };
            Some(Ok(PathBeneath::new(PathFd::new(path).ok()?, access)))
        })
        .collect();
    found.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_stands_for_its_folder_and_a_device_for_itself() {
        let mut reach = Reach::default();
        reach.writes_file(Path::new("/dev/null"));
        reach.writes_file(Path::new("alerts.ndjson"));
        reach.writes_file(Path::new("/var/log/ids-agent/alerts.ndjson"));
        reach.writes_file(Path::new("/var/log/ids-agent/flows.ndjson"));
        assert_eq!(reach.write, ["/dev/null", ".", "/var/log/ids-agent"].map(PathBuf::from));
    }
}
