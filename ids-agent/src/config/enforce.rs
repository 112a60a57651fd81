//! Opt-in blocking: who may be blocked for what, for how long, and who never is.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Prefix;

/// What of an incident leads to a block, and what never does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EnforceSettings {
    /// Whether anything is blocked at all.
    pub enabled: bool,
    /// Says what would be blocked, and blocks nothing.
    pub dry_run: bool,
    /// Classes of incidents that lead to a block.
    pub classes: Vec<String>,
    /// The least severity that does.
    pub min_severity: BlockSeverity,
    /// The least confidence that does, 0 to 1.
    pub min_confidence: f64,
    /// Witnesses that must say so, each by itself.
    pub min_witnesses: usize,
    /// What is dropped: all that the source sends, or what it sends to the incident's target.
    pub scope: BlockScope,
    /// How long the first block of a source lasts; each further one within `repeat_secs` lasts twice as long.
    pub duration_secs: u64,
    /// The longest block, of a verdict or by hand.
    pub duration_max_secs: u64,
    /// After so long without a block a source counts as new.
    pub repeat_secs: u64,
    /// Blocks in force at once.
    pub entries_max: usize,
    /// Share of the hosts seen to converse that may be blocked at once, 0 to 1; one may always be.
    pub hosts_share_max: f64,
    /// Networks that are never blocked.
    pub never: Vec<Prefix>,
    /// Where the gateway is managed from; never blocked.
    pub management: Vec<Prefix>,
    /// Whether hosts of the home networks may be blocked.
    pub home: bool,
    /// How long forwarding is watched after a block; zero does not watch it.
    pub rollback_secs: u64,
    /// A block is taken back where less than this share of the others' traffic is left.
    pub rollback_share: f64,
    /// How long a source whose block was taken back is not blocked again.
    pub holdback_secs: u64,
    /// One line for each block that is added, refused, removed, or ends.
    pub audit: PathBuf,
}

impl Default for EnforceSettings {
    fn default() -> Self {
        Self {
            enabled: false,
            dry_run: false,
            classes: ["brute_force", "web_attack", "exploit"].map(str::to_owned).to_vec(),
            min_severity: BlockSeverity::High,
            min_confidence: 0.9,
            min_witnesses: 1,
            scope: BlockScope::Source,
            duration_secs: 600,
            duration_max_secs: 86_400,
            repeat_secs: 86_400,
            entries_max: 256,
            hosts_share_max: 0.1,
            never: Vec::new(),
            management: Vec::new(),
            home: false,
            rollback_secs: 10,
            rollback_share: 0.3,
            holdback_secs: 3_600,
            audit: PathBuf::from("/var/log/ids-agent/blocks.ndjson"),
        }
    }
}

/// How severe an incident must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BlockSeverity {
    #[default]
    High,
    Medium,
    Low,
}

/// What a block drops.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BlockScope {
    /// All that the source sends.
    #[default]
    Source,
    /// What the source sends to the target.
    Pair,
}

/// Classes whose evidence takes connections that both ends went on with. What a scan or a flood consists of anyone can
/// send in another's name, so neither is here; nor is what is merely unusual.
pub const BLOCKABLE: [&str; 7] =
    ["app_dos", "brute_force", "web_attack", "c2", "exfiltration", "exploit", "infiltration"];

/// The kernel's bound; a test compares it with `ids_common::limits`.
pub const BLOCKS_MAX: usize = 4_096;

impl EnforceSettings {
    /// The key that cannot be meant, its value, and what it takes.
    pub(super) fn fault(&self) -> Option<(&'static str, String, &'static str)> {
        if let Some(class) = self.classes.iter().find(|class| !BLOCKABLE.contains(&class.as_str())) {
            let takes = "app_dos, brute_force, web_attack, c2, exfiltration, exploit or infiltration; \
                         scans and floods can be sent in another's name";
            return Some(("enforce.classes", format!("\"{class}\""), takes));
        }
        let share = |value: f64| (0.0..=1.0).contains(&value);
        let checks: [(bool, &'static str, String, &'static str); 10] = [
            (share(self.min_confidence), "enforce.min_confidence", self.min_confidence.to_string(), "0 to 1"),
            ((1..=6).contains(&self.min_witnesses), "enforce.min_witnesses", self.min_witnesses.to_string(), "1 to 6"),
            (
                (1..=self.duration_max_secs).contains(&self.duration_secs),
                "enforce.duration_secs",
                self.duration_secs.to_string(),
                "1 to enforce.duration_max_secs",
            ),
            (
                (1..=2_592_000).contains(&self.duration_max_secs),
                "enforce.duration_max_secs",
                self.duration_max_secs.to_string(),
                "1 to 2592000",
            ),
            (self.repeat_secs <= 31_536_000, "enforce.repeat_secs", self.repeat_secs.to_string(), "0 to 31536000"),
            (
                (1..=BLOCKS_MAX).contains(&self.entries_max),
                "enforce.entries_max",
                self.entries_max.to_string(),
                "1 to 4096",
            ),
            (share(self.hosts_share_max), "enforce.hosts_share_max", self.hosts_share_max.to_string(), "0 to 1"),
            (
                self.rollback_secs == 0 || (3..=50).contains(&self.rollback_secs),
                "enforce.rollback_secs",
                self.rollback_secs.to_string(),
                "0 for never, or 3 to 50",
            ),
            (share(self.rollback_share), "enforce.rollback_share", self.rollback_share.to_string(), "0 to 1"),
            (
                self.holdback_secs <= 31_536_000,
                "enforce.holdback_secs",
                self.holdback_secs.to_string(),
                "0 to 31536000",
            ),
        ];
        checks.into_iter().find(|(holds, ..)| !holds).map(|(_, key, value, takes)| (key, value, takes))
    }
}
