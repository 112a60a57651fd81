//! Settings of the walls that the agent puts around itself once it is attached.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What `run` gives up after it has attached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SandboxSettings {
    pub enabled: bool,
    /// Who the agent becomes where root starts it. Without it `ids-agent`, where there is such a user who may write what
    /// the agent writes.
    pub user: Option<String>,
    /// Whether the thread that reads keeps what attaching anew takes.
    pub keep_reattach: bool,
    pub seccomp: SeccompMode,
    /// Whether the kernel is asked to show the process the files alone that the settings name.
    pub landlock: bool,
    /// Further files and folders that may be read, such as those that a later configuration will name.
    pub read: Vec<PathBuf>,
    /// Further folders that may be written.
    pub write: Vec<PathBuf>,
}

impl Default for SandboxSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            user: None,
            keep_reattach: true,
            seccomp: SeccompMode::Enforce,
            landlock: true,
            read: Vec::new(),
            write: Vec::new(),
        }
    }
}

/// What becomes of a system call that the agent has no use for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SeccompMode {
    /// It fails with EPERM.
    #[default]
    Enforce,
    /// It goes through, and the kernel writes it down.
    Log,
    Off,
}
