//! Settings of the join with Suricata. Without any of them nothing of it runs.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What is read of a Suricata beside the agent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SuricataSettings {
    /// Where Suricata writes its eve.json: a file, a FIFO, or the socket on which the agent listens for it.
    pub eve_path: Option<PathBuf>,
    pub eve_filetype: EveFiletype,
    pub eve_begin: EveBegin,
}

/// How Suricata writes; the words are those of suricata.yaml.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EveFiletype {
    /// A file, or a FIFO where there is one of that name.
    #[default]
    Regular,
    /// Suricata connects to a socket that the agent makes.
    UnixStream,
}

impl EveFiletype {
    pub const fn label(self) -> &'static str {
        match self {
            Self::Regular => "regular",
            Self::UnixStream => "unix_stream",
        }
    }
}

/// Where an agent begins that never read the file before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EveBegin {
    /// With what is written from then on: what was written before tells of traffic that the agent never saw.
    #[default]
    End,
    /// With the first line that is there.
    Start,
}
