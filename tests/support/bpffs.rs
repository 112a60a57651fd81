//! A BPF file system in a folder of its own, which goes with the value that made it, and what is pinned in it.

use std::{path::PathBuf, process::Command};

use crate::netns::run;

/// A mounted BPF file system.
#[derive(Debug)]
pub struct BpfFs {
    folder: tempfile::TempDir,
}

impl Default for BpfFs {
    fn default() -> Self {
        let folder = tempfile::tempdir().unwrap();
        run(Command::new("mount").args(["-t", "bpf", "none"]).arg(folder.path()));
        Self { folder }
    }
}

impl BpfFs {
    /// A directory in it for one agent; the agent makes it.
    pub fn dir(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Drop for BpfFs {
    fn drop(&mut self) {
        if let Err(error) = Command::new("umount").arg(self.folder.path()).output() {
            eprintln!("cannot unmount {}: {error}", self.folder.path().display());
        }
    }
}
