//! Where the agent can be spoken to while it runs.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The socket behind `ids-agent status`, `reload` and `block`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ControlSettings {
    pub enabled: bool,
    /// A Unix socket, for root and for the agent's own user and group.
    pub path: PathBuf,
}

impl Default for ControlSettings {
    fn default() -> Self {
        Self { enabled: true, path: PathBuf::from("/run/ids-agent/control.sock") }
    }
}
