//! Puts a file in the place of another: whoever reads, and whatever crashes, there is the old one or the new one, never half of
//! one. For what fits into memory; what is written bit by bit is a sink's.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

/// Behind the name of a file that is not whole yet. A crash may leave one.
pub const PARTIAL: &str = "partial";

/// What is on disk for good when it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lasts {
    /// The bytes: a crash soon after may leave the old file, whole.
    Bytes,
    /// The new file under its name.
    Name,
}

/// Writes `bytes` beside `path`, makes them last, and renames. `mode` is the file's where it is new.
pub fn replace(path: &Path, mode: u32, lasts: Lasts, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_added_extension(PARTIAL);
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&beside)?;
        file.write_all(bytes)?;
        match lasts {
            Lasts::Bytes => file.sync_data()?,
            Lasts::Name => file.sync_all()?,
        }
        fs::rename(&beside, path)?;
        match lasts {
            Lasts::Bytes => Ok(()),
            // The rename lasts once the directory does.
            Lasts::Name => {
                File::open(path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new(".")))?
                    .sync_all()
            }
        }
    })();
    if written.is_err() {
        // The disk may be full: half a file must not stay. It may never have been made.
        let _ = fs::remove_file(&beside);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_put_in_place_leaves_the_old_file_and_nothing_beside_it() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("file");
        for lasts in [Lasts::Bytes, Lasts::Name] {
            replace(&path, 0o600, lasts, b"old")?;
            assert_eq!(fs::read(&path)?, b"old");
        }
        // A folder does not give way to a file.
        let folder = dir.path().join("folder");
        fs::create_dir(&folder)?;
        assert!(replace(&folder, 0o600, Lasts::Name, b"new").is_err());
        let mut left: Vec<_> =
            fs::read_dir(dir.path())?.map(|entry| entry.map(|one| one.file_name())).collect::<Result<_, _>>()?;
        left.sort();
        assert_eq!(left, ["file", "folder"]);
        Ok(())
    }
}
