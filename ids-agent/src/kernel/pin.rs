//! The directory on a BPF file system that keeps maps and links while no agent runs: who may use it, what an earlier agent
//! left in it, and whether that can be gone on with.

use std::{
    fs::{self, File},
    io,
    os::{fd::AsFd as _, unix::fs::DirBuilderExt as _},
    path::{Path, PathBuf},
    sync::atomic::Ordering,
};

use aya::maps::{MapData, MapInfo};
use ids_common::abi::ABI_VERSION;
use rustix::fs::{FlockOperation, flock, statfs};

use super::{
    KernelError, WORD, handover,
    handover::HandoverWords,
    mapping::{Access, Mapping},
};
use crate::config::{Direction, Mode};

/// Maps that outlive the agent.
pub(super) const PINNED_MAPS: [&str; 6] = ["FLOWS", "COUNTERS", "SETTINGS", "RING", "BLOCKS", "HANDOVER"];

/// `BPF_FS_MAGIC` of linux/magic.h.
const BPF_FS: u64 = 0xcafe_4a11;
const LINK_PREFIX: &str = "link-";

/// The directory, which this process alone uses.
#[derive(Debug)]
pub(super) struct PinDir {
    path: PathBuf,
    /// Holds the lock.
    _directory: File,
}

/// Size of a map as the kernel tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) name: &'static str,
    pub(super) value_bytes: u32,
    pub(super) entries: u32,
}

/// What stands in the directory.
#[derive(Debug)]
pub(super) enum Left {
    Nothing,
    /// Maps of this layout, with the secret of their hash.
    Fitting {
        secret: [u64; 6],
    },
    /// Maps that this agent cannot go on with.
    Unfit {
        why: String,
        unread: Option<Unread>,
    },
}

/// Counters of maps that nobody will read again.
#[derive(Debug)]
pub(super) struct Unread {
    counters: Mapping,
    row_words: usize,
    handover: HandoverWords,
}

impl Unread {
    /// Packets that the programs saw and no agent read, and those that an earlier one missed.
    pub(super) fn packets(&self) -> u64 {
        let rows = self.counters.words().chunks(self.row_words.max(1));
        // The first word of a row counts frames, in every version.
        let seen: u64 = rows.filter_map(|row| row.first()).map(|word| word.load(Ordering::Acquire)).sum();
        seen.saturating_sub(self.handover.packets_read()).saturating_add(self.handover.gap_packets())
    }
}

/// A link in the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PinnedHook {
    pub(super) path: PathBuf,
    pub(super) ifindex: u32,
    pub(super) mode: Mode,
    pub(super) direction: Direction,
}

impl PinDir {
    /// Makes the directory where there is none, and takes it.
    pub(super) fn open(path: &Path) -> Result<Self, KernelError> {
        let failed = |cause: String| KernelError::Pin { dir: path.to_path_buf(), cause };
        match fs::DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed(format!("it cannot be made: {error}"))),
        }
        let directory = File::open(path).map_err(|error| failed(format!("it cannot be opened: {error}")))?;
        if !is_bpf_file_system(path).map_err(|error| failed(error.to_string()))? {
            return Err(failed("it is not on a BPF file system; `mount -t bpf bpf /sys/fs/bpf` makes one".to_owned()));
        }
        flock(&directory, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| failed("another agent uses it; give each agent a directory of its own".to_owned()))?;
        Ok(Self { path: path.to_path_buf(), _directory: directory })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn map(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Where the link of a hook stands. The BPF file system takes no dots, which names of interfaces may hold.
    pub(super) fn link(&self, ifindex: u32, mode: Mode, direction: Direction) -> PathBuf {
        self.path.join(format!("{LINK_PREFIX}{ifindex}-{}-{}", mode.label(), direction.label()))
    }

    /// Links in the directory, in order.
    pub(super) fn links(&self) -> Vec<PinnedHook> {
        let entries = fs::read_dir(&self.path).into_iter().flatten().flatten();
        let mut hooks: Vec<PinnedHook> = entries.filter_map(|entry| hook(entry.path())).collect();
        hooks.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        hooks
    }

    /// Looks at what an earlier agent left.
    pub(super) fn left(&self, wanted: &[Shape]) -> Left {
        let found: Vec<&str> = PINNED_MAPS.into_iter().filter(|name| self.map(name).exists()).collect();
        if found.is_empty() {
            return Left::Nothing;
        }
        let Some(handover) = self.handover() else {
            return Left::Unfit { why: "they hold no handover".to_owned(), unread: None };
        };
        let why = match self.misfit(&handover, &found, wanted) {
            None => return Left::Fitting { secret: handover.secret() },
            Some(why) => why,
        };
        Left::Unfit { why, unread: self.unread(handover) }
    }

    fn misfit(&self, handover: &HandoverWords, found: &[&str], wanted: &[Shape]) -> Option<String> {
        let version = handover.abi_version();
        if version == 0 || found.len() < PINNED_MAPS.len() {
            return Some("they are not complete".to_owned());
        }
        if version != u64::from(ABI_VERSION) {
            return Some(format!("they are of layout {version}, this agent's is {ABI_VERSION}"));
        }
        if handover.namespace() != handover::namespace() {
            return Some("they were made in another network namespace".to_owned());
        }
        wanted.iter().find_map(|shape| {
            let info = match MapInfo::from_pin(self.map(shape.name)) {
                Ok(info) => info,
                Err(error) => return Some(format!("map `{}` cannot be opened: {error}", shape.name)),
            };
            let found = (info.value_size(), info.max_entries());
            (found != (shape.value_bytes, shape.entries)).then(|| {
                let (bytes, entries) = found;
                let (wanted_bytes, wanted_entries) = (shape.value_bytes, shape.entries);
                format!(
                    "map `{}` has {entries} entries of {bytes} bytes, not {wanted_entries} of {wanted_bytes}",
                    shape.name
                )
            })
        })
    }

    fn handover(&self) -> Option<HandoverWords> {
        let map = MapData::from_pin(self.map("HANDOVER")).ok()?;
        HandoverWords::new(map.fd().as_fd(), Access::Read).ok()
    }

    fn unread(&self, handover: HandoverWords) -> Option<Unread> {
        let map = MapData::from_pin(self.map("COUNTERS")).ok()?;
        let info = map.info().ok()?;
        let bytes = info.value_size() as usize * info.max_entries() as usize;
        let counters = Mapping::new(map.fd().as_fd(), bytes, Access::Read).ok()?;
        Some(Unread { counters, row_words: info.value_size() as usize / WORD, handover })
    }

    /// Takes the maps out of the directory; programs that still run keep theirs.
    pub(super) fn remove_maps(&self) -> Result<(), KernelError> {
        for name in PINNED_MAPS {
            remove(&self.map(name)).map_err(|error| KernelError::Pin {
                dir: self.path.clone(),
                cause: format!("`{name}` cannot be removed: {error}"),
            })?;
        }
        Ok(())
    }

    /// How many maps stand in the directory.
    pub(super) fn maps(&self) -> usize {
        PINNED_MAPS.into_iter().filter(|name| self.map(name).exists()).count()
    }
}

pub(super) fn is_bpf_file_system(path: &Path) -> io::Result<bool> {
    // The type's width differs between machines; the number has 32 bits.
    Ok(statfs(path)?.f_type as u64 & 0xffff_ffff == BPF_FS)
}

/// What is not there is removed.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// A hook by the name of its link; `None` where the file is something else.
fn hook(path: PathBuf) -> Option<PinnedHook> {
    let mut parts = path.file_name()?.to_str()?.strip_prefix(LINK_PREFIX)?.split('-');
    let ifindex = parts.next()?.parse().ok()?;
    let mode = parts.next()?;
    let mode = [Mode::Native, Mode::Generic, Mode::Tc].into_iter().find(|known| known.label() == mode)?;
    let direction = parts.next()?;
    let direction = [Direction::Ingress, Direction::Egress].into_iter().find(|known| known.label() == direction)?;
    parts.next().is_none().then_some(PinnedHook { path, ifindex, mode, direction })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_tells_its_hook_by_its_name() {
        let named = |name: &str| hook(PathBuf::from("/pins").join(name));
        let native = named("link-12-native-ingress").map(|hook| (hook.ifindex, hook.mode, hook.direction));
        assert_eq!(native, Some((12, Mode::Native, Direction::Ingress)));
        let tc = named("link-3-tc-egress").map(|hook| (hook.ifindex, hook.mode, hook.direction));
        assert_eq!(tc, Some((3, Mode::Tc, Direction::Egress)));
        for other in
            ["FLOWS", "link-x-tc-egress", "link-3-auto-egress", "link-3-tc-both", "link-3-tc-egress-1", "link-3"]
        {
            assert_eq!(named(other), None, "{other}");
        }
    }
}
