//! Keeps how far eve.json was read over a restart, in a file of its own beside the detectors' state.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::follow::EvePosition;
use crate::{
    detect::saved::{Saved, SavedPart, Saver},
    state::{self, StateImage, StateWriteError},
};

/// The file within the state's directory.
const FILE: &str = "eve.bin";
/// Name of its one part, with the version of the layout.
const PART: &str = "eve/1";
const PATH_BYTES_MAX: usize = 4_096;
const HEAD_BYTES_MAX: usize = 4_096;
const POSITIONS_MAX: usize = 1_024;

/// What is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EveKept {
    /// None where a run ended before anything was done with.
    pub positions: Vec<EvePosition>,
    /// What the axis of the source was moved by. Lines that are read twice get the same times on the axis, and so the
    /// same ids, if this stays the same.
    pub offset_ns: u64,
}

/// Where it is kept.
#[derive(Clone, Debug)]
pub struct KeptPlace {
    file: PathBuf,
    /// Positions are those of this path and no other.
    followed: PathBuf,
}

impl KeptPlace {
    pub fn new(state_dir: &Path, followed: &Path) -> Self {
        Self { file: state_dir.join(FILE), followed: followed.to_owned() }
    }

    /// What an earlier run kept of this path. What cannot be read is as good as nothing, and said.
    pub fn load(&self) -> Option<EveKept> {
        let reason = match state::read(&self.file) {
            Ok(None) => return None,
            Ok(Some(Ok(image))) => match self.decode(&image) {
                Ok(kept) => return kept,
                Err(reason) => reason,
            },
            Ok(Some(Err(refusal))) => refusal.to_string(),
            Err(error) => error.to_string(),
        };
        tracing::warn!(file = %self.file.display(), reason, "how far eve.json was read is not known; begins as new");
        None
    }

    /// None where another path was followed.
    fn decode(&self, image: &StateImage) -> Result<Option<EveKept>, String> {
        let part = image.parts.iter().find(|part| part.name == PART).ok_or("it holds no positions")?;
        let mut saved = Saved::new(PART, &part.bytes);
        let read = (|| {
            let path = saved.text(PATH_BYTES_MAX)?.to_owned();
            let mut positions = Vec::new();
            for _ in 0..saved.count(POSITIONS_MAX)? {
                let head = (0..saved.count(HEAD_BYTES_MAX)?).map(|_| saved.u8()).collect::<Result<Vec<u8>, _>>()?;
                positions.push(EvePosition { head: head.into(), offset: saved.u64()?, modified_ns: saved.i64()? });
            }
            saved.end()?;
            Ok((path, positions))
        })();
        let (path, positions) = read.map_err(|error: crate::detect::StateError| error.to_string())?;
        let offset_ns = image.wall_ns.saturating_sub(image.source_ns);
        Ok((path == self.followed.to_string_lossy()).then_some(EveKept { positions, offset_ns }))
    }

    /// Writes it in place of what was kept before. `source_ns` is the time on the axis of the source.
    pub fn write(&self, kept: &EveKept, source_ns: u64) -> Result<(), StateWriteError> {
        let mut bytes = Vec::new();
        let mut saver = Saver::new(&mut bytes);
        saver.text(&self.followed.to_string_lossy());
        let positions = kept.positions.get(..kept.positions.len().min(POSITIONS_MAX)).unwrap_or(&[]);
        saver.count(positions.len());
        for position in positions {
            let head = position.head.get(..position.head.len().min(HEAD_BYTES_MAX)).unwrap_or(&[]);
            saver.count(head.len());
            head.iter().for_each(|byte| saver.u8(*byte));
            saver.u64(position.offset);
            saver.i64(position.modified_ns);
        }
        let parts = vec![SavedPart { name: PART.to_owned(), bytes }];
        let image = StateImage { source_ns, wall_ns: source_ns.saturating_add(kept.offset_ns), parts };
        let failed = |source: io::Error| StateWriteError::Write { path: self.file.clone(), source };
        state::replace(&self.file, &image.encode()).map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed step fails the test")]
    use std::fs;

    use super::*;

    fn kept() -> EveKept {
        let position = |offset| EvePosition { head: (*b"{\"timestamp\":").into(), offset, modified_ns: -5 };
        EveKept { positions: vec![position(0), position(u64::MAX)], offset_ns: 1_700_000_000_000_000_007 }
    }

    #[test]
    fn what_was_kept_of_a_path_is_read_back_for_that_path_alone() {
        let dir = tempfile::tempdir().unwrap();
        let place = KeptPlace::new(dir.path(), Path::new("/var/log/suricata/eve.json"));
        assert_eq!(place.load(), None);
        place.write(&kept(), 77).unwrap();
        assert_eq!(place.load(), Some(kept()));
        assert_eq!(KeptPlace::new(dir.path(), Path::new("/other/eve.json")).load(), None);
    }

    #[test]
    fn a_file_that_was_torn_or_changed_is_not_believed() {
        let dir = tempfile::tempdir().unwrap();
        let place = KeptPlace::new(dir.path(), Path::new("eve.json"));
        place.write(&kept(), 77).unwrap();
        let file = dir.path().join(FILE);
        let whole = fs::read(&file).unwrap();
        for length in 0..whole.len() {
            fs::write(&file, &whole[..length]).unwrap();
            assert_eq!(place.load(), None, "{length} bytes");
        }
        let foreign = StateImage { source_ns: 0, wall_ns: 0, parts: Vec::new() };
        fs::write(&file, foreign.encode()).unwrap();
        assert_eq!(place.load(), None);
    }
}
