//! Finds the capture archives beside the repository and unpacks each once under `target/`.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The repository's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// Where `name` (as `captures-dev.tar.zst`) stands, whether it is there or not.
pub fn shared(name: &str) -> PathBuf {
    root().parent().unwrap().join("shared/data").join(name)
}

/// The folder that holds the archive's content; `None`, with a line that says so, where the archive
/// is absent.
pub fn unpacked(name: &str) -> Option<PathBuf> {
    let archive = shared(name);
    let Ok(found) = fs::metadata(&archive) else {
        eprintln!("skipped: {} is absent", archive.display());
        return None;
    };
    let captures = root().join("target/captures");
    let folder = captures.join(format!("{}-{}", name.trim_end_matches(".tar.zst"), found.len()));
    if folder.is_dir() {
        return Some(folder);
    }
    fs::create_dir_all(&captures).unwrap();
    // Two tests may unpack at once: each into its own folder, and the first to finish names it.
    let own = tempfile::tempdir_in(&captures).unwrap();
    extract(&archive, own.path()).unwrap_or_else(|error| panic!("{}: {error}", archive.display()));
    if fs::rename(own.path(), &folder).is_ok() {
        // The name the guard knows is gone; it would complain about nothing.
        let _ = own.keep();
    }
    Some(folder)
}

/// A folder of labelled captures: the one that is named, or the archive of captures to develop with.
pub fn labelled(named: Option<PathBuf>) -> Result<PathBuf, &'static str> {
    let own = || unpacked("captures-dev.tar.zst").map(|folder| folder.join("bundle_dev"));
    named.or_else(own).ok_or("there are no captures; name a folder of captures with their LABELS.tsv by --captures")
}

fn extract(archive: &Path, into: &Path) -> io::Result<()> {
    let mut tar = Command::new("tar").arg("-x").arg("-C").arg(into).stdin(Stdio::piped()).spawn()?;
    let mut stdin = tar.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
    zstd::stream::copy_decode(File::open(archive)?, &mut stdin)?;
    drop(stdin);
    let status = tar.wait()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("tar: {status}"))) }
}

/// Every file under a folder whose name has one of the endings, in a fixed order.
pub fn files(folder: &Path, endings: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if endings.iter().any(|ending| path.to_string_lossy().ends_with(ending)) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}
