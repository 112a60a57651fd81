//! Which captures the arguments name: files, every capture of a directory, or standard input.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use super::Failure;

/// Names by which captures in a directory are known, before a `.gz` or `.zst`.
const EXTENSIONS: [&str; 5] = ["pcap", "pcapng", "cap", "dmp", "ntar"];
/// Directories are walked to this depth.
const DEPTH_MAX: usize = 16;

/// The captures that the arguments name, in order; those of a directory by name.
pub(super) fn expand(inputs: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut captures = Vec::new();
    for input in inputs {
        if input.is_dir() {
            let mut found = BTreeSet::new();
            walk(input, DEPTH_MAX, &mut found)
                .map_err(|error| Failure::Other(format!("cannot read directory `{}`: {error}", input.display())))?;
            if found.is_empty() {
                return Err(Failure::Other(format!(
                    "directory `{}` holds no capture; their names end in {}, with or without .gz or .zst",
                    input.display(),
                    EXTENSIONS.map(|extension| format!(".{extension}")).join(", "),
                )));
            }
            captures.extend(found);
        } else {
            captures.push(input.clone());
        }
    }
    Ok(captures)
}

fn walk(dir: &Path, depth: usize, found: &mut BTreeSet<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let path = entry.path();
        // Links to directories are not followed: they may lead in circles.
        if entry.file_type()?.is_dir() {
            if depth > 0 {
                walk(&path, depth - 1, found)?;
            }
        } else if is_capture(&path) {
            found.insert(path);
        }
    }
    Ok(())
}

fn is_capture(path: &Path) -> bool {
    let Some(name) = path.file_name().map(|name| name.to_string_lossy().to_ascii_lowercase()) else { return false };
    let plain = name.strip_suffix(".gz").or_else(|| name.strip_suffix(".zst")).unwrap_or(&name);
    plain.rsplit_once('.').is_some_and(|(_, extension)| EXTENSIONS.contains(&extension))
}

/// Whether a path stands for a standard stream.
pub(super) fn is_dash(path: &Path) -> bool {
    path.as_os_str() == "-"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn captures_are_known_by_name() {
        for name in ["a.pcap", "a.b.PCAPNG", "a.pcap.gz", "x.cap.zst"] {
            assert!(is_capture(Path::new(name)), "{name}");
        }
        for name in ["pcap", "LABELS.tsv", "a.pcap.txt", "a.gz", "a.zst"] {
            assert!(!is_capture(Path::new(name)), "{name}");
        }
    }
}
