//! Settings of the join with Suricata. Without any of them nothing of it runs.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::SecretPlace;

/// A Suricata on the same traffic: what is read of it, and whether the agent runs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SuricataSettings {
    /// Where Suricata writes its eve.json: a file, a FIFO, or the socket on which the agent listens for it.
    pub eve_path: Option<PathBuf>,
    pub eve_filetype: EveFiletype,
    pub eve_begin: EveBegin,
    /// Whether the agent starts Suricata, watches it and stops it; else it only reads.
    pub manage: bool,
    /// The program: a path, or a name that is looked for where programs are.
    pub program: PathBuf,
    /// A suricata.yaml of one's own, in place of the one that the agent writes.
    pub config: Option<PathBuf>,
    /// Where a managed Suricata has its configuration, eve.json and socket: best in memory.
    pub run_dir: PathBuf,
    /// Its share of the machine's CPUs, rounded down to whole ones.
    pub cpu_percent: u32,
    /// Its share of memory: what its tables are cut to, and what it cannot go beyond.
    pub ram_mib: u64,
    /// Size at which a managed Suricata's eve.json is rotated; one predecessor is kept.
    pub eve_mib: u64,
    /// Where rules are kept, those before them too.
    pub rules_dir: PathBuf,
    /// Rules of one's own beside those of the sources: a file or a folder. Without it the shipped ones.
    pub local_rules: Option<PathBuf>,
    /// Where rules come from: URLs, and files or folders of this machine. Without any, ET Open.
    pub rule_sources: Vec<String>,
    /// What stands for `{secret}` in those URLs.
    pub rule_secret: Option<SecretPlace>,
    /// How often they are fetched; zero leaves it to `ids-agent rules update`.
    pub update_hours: u64,
    /// Signatures that are told only when one source matches them often enough.
    pub threshold: Vec<SidThreshold>,
}

impl SuricataSettings {
    /// What is to be followed, if anything.
    pub fn eve_file(&self) -> Option<PathBuf> {
        let managed = || self.manage.then(|| self.run_dir.join("eve.json"));
        self.eve_path.clone().or_else(managed)
    }
}

impl Default for SuricataSettings {
    fn default() -> Self {
        Self {
            eve_path: None,
            eve_filetype: EveFiletype::default(),
            eve_begin: EveBegin::default(),
            manage: false,
            program: PathBuf::from("suricata"),
            config: None,
            run_dir: PathBuf::from("/run/ids-agent/suricata"),
            cpu_percent: 50,
            ram_mib: 768,
            eve_mib: 16,
            rules_dir: PathBuf::from("/var/lib/ids-agent/suricata"),
            local_rules: None,
            rule_sources: Vec::new(),
            rule_secret: None,
            update_hours: 0,
            threshold: Vec::new(),
        }
    }
}

/// How often a source has to match a signature before it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SidThreshold {
    pub sid: u32,
    /// Matches of one source, at least this many...
    pub matches: u64,
    /// ... within so many seconds.
    pub secs: u64,
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
