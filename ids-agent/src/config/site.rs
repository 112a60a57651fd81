//! The site that is watched: its own networks, and how long its devices are learned.

use serde::{Deserialize, Serialize};

use super::Prefix;

/// What is the site's own, and how its devices are known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SiteSettings {
    /// Networks whose hosts are devices of the site, beside private, unique local and link-local addresses.
    pub home_networks: Vec<Prefix>,
    /// Devices remembered, each once as a client and once as a server; beyond it the idlest go, counted.
    pub devices_max: usize,
    /// Hours of activity, and flows, after which a device is judged by its own past.
    pub learn_hours: u32,
    pub learn_flows: u64,
    /// Keys the table and its sketches, whose keys peers choose: to be drawn at random where traffic is live.
    #[serde(skip)]
    pub hash_seed: u64,
}

impl Default for SiteSettings {
    fn default() -> Self {
        Self { home_networks: Vec::new(), devices_max: 512, learn_hours: 24, learn_flows: 200, hash_seed: 0 }
    }
}
