//! What the Debian package brings: its configuration is sound, watches nothing yet, and shows defaults that are the defaults.
#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that fails")]

use std::{fs, path::PathBuf};

use ids_agent::config;

fn shipped() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../deploy/debian/config.toml")
}

#[test]
fn the_packages_configuration_is_sound_and_leaves_the_interfaces_to_the_operator() {
    let config = config::load(&shipped()).unwrap();
    assert!(config.capture.interfaces.is_empty());
    assert_eq!(config.alert.path.to_str(), Some("/var/log/ids-agent/alerts.ndjson"));
}

#[test]
fn what_the_packages_configuration_shows_behind_a_hash_can_be_switched_on() {
    let text = fs::read_to_string(shipped()).unwrap();
    // A setting stands right behind its hash, a remark behind a space.
    let on: String = text
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(setting) if !setting.starts_with(' ') => setting,
            Some(_) | None => line,
        })
        .flat_map(|line| [line, "\n"])
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    fs::write(&path, &on).unwrap();
    let config = config::load(&path).unwrap();
    assert_eq!((config.fuse.allow.len(), config.intel.feeds.len()), (1, 1), "{on}");
    assert!(config.alert.flows_path.is_some() && config.suricata.eve_path.is_some());
}
