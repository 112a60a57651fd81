//! Settings of threat intelligence: which feeds are read, and how far each category is believed.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use serde::{Deserialize, Serialize};

/// Lists of known bad addresses, names and fingerprints. Without feeds nobody asks them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IntelSettings {
    pub feeds: Vec<FeedSettings>,
    /// Names (with all below them), addresses, prefixes and fingerprints that never match.
    pub allow: Vec<String>,
    /// How far a category is believed, 0 to 1, where the built-in figure is not wanted.
    pub confidence: BTreeMap<Category, f32>,
    /// How often the files are looked at; zero leaves it to SIGHUP.
    pub poll_secs: u64,
    /// Indicators kept of each feed; what is beyond is counted and left out.
    pub indicators_max: usize,
}

impl Default for IntelSettings {
    fn default() -> Self {
        Self {
            feeds: Vec::new(),
            allow: Vec::new(),
            confidence: BTreeMap::new(),
            poll_secs: 60,
            indicators_max: 4_000_000,
        }
    }
}

/// One file, or one folder of files, that somebody else keeps fresh.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeedSettings {
    /// Names it in alerts and metrics.
    pub name: String,
    pub path: PathBuf,
    #[serde(default)]
    pub kind: FeedKind,
    /// What its indicators are, where the file does not say it itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<Category>,
    /// How far the feed is believed, 0 to 1: the categories' own confidence is multiplied by it.
    #[serde(default = "full")]
    pub trust: f32,
}

const fn full() -> f32 {
    1.0
}

/// How a feed is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FeedKind {
    /// Told by the first lines of each file.
    #[default]
    Auto,
    /// One indicator a line, with comments; maltrail's trails and block lists for browsers too.
    List,
    /// `address TAB number of lists`.
    Ipsum,
    /// `0.0.0.0 name`.
    Hosts,
    /// Columns with a header, or with an indicator in the first ones.
    Csv,
    /// JSON with `ja3_hash` or `ja4` and a description.
    Fingerprints,
    /// A STIX 2.1 bundle.
    Stix,
}

impl FeedKind {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::List => "list",
            Self::Ipsum => "ipsum",
            Self::Hosts => "hosts",
            Self::Csv => "csv",
            Self::Fingerprints => "fingerprints",
            Self::Stix => "stix",
        }
    }
}

/// What an indicator stands for, from the gravest to the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Category {
    /// Servers and names that malware calls or comes from.
    Malware,
    /// Attack tools, exploit kits, gates to them.
    Malicious,
    Phishing,
    /// Addresses that many lists name.
    Reputation,
    /// Who scans the whole internet.
    Scanner,
    Tor,
    /// What may be unwanted and is no attack: never told by itself.
    Suspicious,
}

impl Category {
    pub const ALL: [Self; 7] =
        [Self::Malware, Self::Malicious, Self::Phishing, Self::Reputation, Self::Scanner, Self::Tor, Self::Suspicious];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Malware => "malware",
            Self::Malicious => "malicious",
            Self::Phishing => "phishing",
            Self::Reputation => "reputation",
            Self::Scanner => "scanner",
            Self::Tor => "tor",
            Self::Suspicious => "suspicious",
        }
    }

    /// How far it is believed where the settings say nothing.
    pub const fn confidence(self) -> f32 {
        match self {
            Self::Malware => 0.95,
            Self::Malicious => 0.85,
            Self::Phishing => 0.7,
            // Multiplied by what the number of lists says.
            Self::Reputation => 0.6,
            Self::Scanner | Self::Tor => 0.4,
            Self::Suspicious => 0.1,
        }
    }
}

impl fmt::Display for Category {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

impl IntelSettings {
    /// How far a category of a feed is believed.
    pub fn confidence_of(&self, feed: &FeedSettings, category: Category) -> f32 {
        let own = self.confidence.get(&category).copied().unwrap_or(category.confidence());
        (own * feed.trust).clamp(0.0, 1.0)
    }
}

/// Feeds that may be configured: their names are labels of metrics.
pub const FEEDS_MAX: usize = 32;
