//! The site that is watched: its own networks, how long its devices are learned, and the file that calibration
//! writes about it.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{ConfigError, Prefix, parse_table};

/// What is the site's own, and how its devices are known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SiteSettings {
    /// What `ids-agent calibrate` found out about the site.
    pub file: Option<PathBuf>,
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
        Self {
            file: None,
            home_networks: Vec::new(),
            devices_max: 512,
            learn_hours: 24,
            learn_flows: 200,
            hash_seed: 0,
        }
    }
}

/// The form of site file this agent reads.
const FORMAT: u32 = 1;

/// What calibration found out about a site, to be read and changed by people.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SiteFile {
    pub format: u32,
    /// The time that was seen, as RFC 3339.
    pub seen_from: String,
    pub seen_until: String,
    pub hours: f64,
    pub captures: u64,
    pub flows: u64,
    /// Flows around conduct that looked like an attack: nothing was learned from them.
    pub flows_left_out: u64,
    /// What was allowed for each threshold.
    pub calls_per_day: f64,
    /// The devices as they were learned: a state file, beside this one if relative.
    #[serde(default)]
    pub state: Option<PathBuf>,
    /// Raised thresholds.
    #[serde(default)]
    pub floor: Vec<SiteFloor>,
}

/// A threshold that is higher here than elsewhere.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SiteFloor {
    pub witness: String,
    pub class: String,
    pub kind: String,
    pub measure: Measure,
    /// What holds elsewhere, and what holds here.
    pub was: f64,
    pub floor: f64,
    /// Flows of the site that were called so, and those that still are.
    pub flows: u64,
    pub still: u64,
}

/// What a floor is held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// The finding's score, 0 to 1.
    Score,
    /// The first evidence in multiples of its normal range's end. Spares what is of medium severity or above.
    Times,
}

impl SiteFile {
    pub const FORMAT: u32 = FORMAT;

    /// Where its state lies, given where the file does.
    pub fn state_path(&self, file: &Path) -> Option<PathBuf> {
        let state = self.state.as_ref()?;
        Some(file.parent().unwrap_or(Path::new("")).join(state))
    }
}

/// Reads and checks a site file.
pub fn load_site(path: &Path) -> Result<SiteFile, ConfigError> {
    let text =
        std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
    let site: SiteFile = parse_table(&text, path)?;
    let wrong = |message: String| Err(ConfigError::Wrong { path: path.to_owned(), line: 1, message });
    if site.format != FORMAT {
        return wrong(format!("format = {} is not {FORMAT}; calibrate again", site.format));
    }
    for floor in &site.floor {
        let most = match floor.measure {
            Measure::Score => 1.0,
            Measure::Times => 100.0,
        };
        if !(floor.floor >= 0.0 && floor.floor <= most) {
            let name = format!("{} {} {}", floor.witness, floor.class, floor.kind);
            return wrong(format!("floor = {} of {name} is out of range: 0 to {most}", floor.floor));
        }
    }
    Ok(site)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed step fails the test")]
    use super::*;

    fn file() -> SiteFile {
        SiteFile {
            format: FORMAT,
            seen_from: "2027-01-01T00:00:00Z".to_owned(),
            seen_until: "2027-01-08T00:00:00Z".to_owned(),
            hours: 168.0,
            captures: 3,
            flows: 40_000,
            flows_left_out: 12,
            calls_per_day: 1.0,
            state: Some(PathBuf::from("site-state.bin")),
            floor: vec![SiteFloor {
                witness: "classifier".to_owned(),
                class: "port_scan".to_owned(),
                kind: "flow_statistics".to_owned(),
                measure: Measure::Score,
                was: 0.9,
                floor: 0.97,
                flows: 30,
                still: 7,
            }],
        }
    }

    fn load(text: &str) -> Result<SiteFile, String> {
        let named = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(named.path(), text).unwrap();
        load_site(named.path()).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(load(&toml::to_string(&file()).unwrap()), Ok(file()));
        assert_eq!(file().state_path(Path::new("/etc/site.toml")), Some(PathBuf::from("/etc/site-state.bin")));
    }

    #[test]
    fn mistakes_are_told() {
        let of = |change: fn(&mut SiteFile)| {
            let mut site = file();
            change(&mut site);
            load(&toml::to_string(&site).unwrap()).unwrap_err()
        };
        assert!(of(|site| site.format = 2).contains("format = 2 is not 1; calibrate again"));
        assert!(
            of(|site| site.floor[0].floor = 1.2).contains("floor = 1.2 of classifier port_scan flow_statistics is")
        );
        assert!(of(|site| site.floor[0].floor = f64::NAN).contains("out of range"));
        assert!(load("format = 1\nflors = 3").unwrap_err().contains("unknown key"));
    }
}
