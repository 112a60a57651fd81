//! Where a secret is kept. The secret itself stands in no configuration, so that printing one gives nothing away.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// `{ file = "/etc/ids-agent/token" }`, or `{ credential = "token" }` for one that systemd hands over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretPlace {
    /// A file that its owner alone may read.
    File(PathBuf),
    /// A name in the directory that systemd's `LoadCredential=` fills.
    Credential(String),
}
