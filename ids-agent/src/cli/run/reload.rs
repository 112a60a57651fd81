//! Reads the configuration again while the agent runs, and puts in force what can change: all of it, or nothing.

use std::{path::PathBuf, sync::Arc};

use serde_json::{Value, json};

use super::{Failure, RunArgs, keep_fresh};
use crate::{
    cli::parts::{self, Group, Seed},
    clock::Axis,
    config::{Config, FuseSettings, IntelSettings},
    detect::{Detector, Renewal, Renewed, intel::Fingerprints},
    feedback::Feedback,
    http::Metrics,
    intel,
    pipeline::{EnforceHandle, FeedKeeper, RenewalBox},
    supervisor::Roster,
};

/// Settings that come into force while the agent runs; a name that ends in a dot is a table's.
const LIVE: [&str; 7] =
    ["detect.", "site.", "intel.", "fuse.allow", "fuse.dedup_secs", "suricata.threshold", "enforce."];
/// Of those, what is decided at the start.
const NOT_LIVE: [&str; 3] = ["enforce.enabled", "enforce.dry_run", "enforce.audit"];

/// What the agent runs under, and the ways to change it.
pub(super) struct Reloader {
    pub(super) args: RunArgs,
    /// As the agent was started: what cannot change is held against it.
    pub(super) started: Config,
    /// As it is in force.
    pub(super) applied: Config,
    pub(super) groups: Vec<Built>,
    /// Whether feeds, and Suricata, have a witness behind the groups.
    pub(super) hears_feeds: bool,
    pub(super) hears_suricata: bool,
    pub(super) feedback: PathBuf,
    pub(super) feeds: Option<FeedKeeper>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) roster: Roster,
    pub(super) renewal: RenewalBox,
    pub(super) enforce: Option<EnforceHandle>,
}

/// A group of detectors at work.
pub(super) struct Built {
    group: Group,
    fingerprint: [u8; 32],
    detectors: usize,
}

/// Detectors in their order, and the groups that they are of.
type Groups = (Vec<Box<dyn Detector>>, Vec<Built>);

/// Builds every group, and remembers out of what.
pub(super) fn build_groups(config: &Config) -> Result<Groups, Failure> {
    let (mut detectors, mut groups) = (Vec::new(), Vec::new());
    for group in Group::ALL {
        // Taken first: what changes in between is built again at the next reload.
        let fingerprint = group.fingerprint(config);
        let built = group.build(config, Seed::Random)?;
        groups.push(Built { group, fingerprint, detectors: built.len() });
        detectors.extend(built);
    }
    Ok((detectors, groups))
}

impl Reloader {
    /// Says what came of it, or why all stays as it is.
    pub(super) fn reload(&mut self) -> Result<Value, String> {
        let told = self.attempt();
        match &told {
            Ok(done) => tracing::info!(%done, "configuration reloaded"),
            Err(error) => tracing::error!("reload refused, all stays as it was: {error}"),
        }
        told
    }

    fn attempt(&mut self) -> Result<Value, String> {
        let fresh = self.args.effective().map_err(|failure| failure.message())?;
        let feedback = Feedback::load(&self.feedback).map_err(|error| error.to_string())?.allow();
        let mut replaced = Vec::new();
        let (mut wanted, mut groups) = (Vec::new(), Vec::new());
        let mut at = 0;
        for known in &self.groups {
            let fingerprint = known.group.fingerprint(&fresh);
            if fingerprint == known.fingerprint {
                wanted.extend((at..at + known.detectors).map(Renewed::Kept));
                groups.push(Built { detectors: known.detectors, fingerprint, group: known.group });
            } else {
                let built = known.group.build(&fresh, Seed::Random).map_err(|failure| failure.message())?;
                if built.is_empty() && known.detectors > 0 && asks_for(&fresh, known.group) {
                    return Err(format!("no {} are found any more; see the log", known.group.label()));
                }
                replaced.push(known.group.label());
                groups.push(Built { detectors: built.len(), fingerprint, group: known.group });
                wanted.extend(built.into_iter().map(Renewed::New));
            }
            at += known.detectors;
        }
        check_feeds(&fresh.intel)?;
        let mut other_feeds = None;
        if fresh.intel == self.applied.intel {
            wanted.extend(self.hears_feeds.then_some(Renewed::Kept(at)));
        } else {
            let feeds = parts::feeds(&fresh.intel, Seed::Random).map_err(|failure| failure.message())?;
            wanted.extend(parts::intel(feeds.as_ref(), Axis::Boottime, Seed::Random).map(Renewed::New));
            replaced.push("feeds");
            other_feeds = Some(feeds);
        }
        at += usize::from(self.hears_feeds);
        wanted.extend(self.hears_suricata.then_some(Renewed::Kept(at)));

        let fuse = FuseSettings { feedback, ..fresh.fuse.clone() }.on_axis(Axis::Boottime.offset().ns());
        let renewal = Renewal { fuse, thresholds: fresh.suricata.threshold.clone(), detectors: wanted };
        // The last thing that can fail.
        let keeper = match other_feeds {
            None => None,
            Some(feeds) => {
                Some(keep_fresh(feeds, &fresh, &self.metrics, &self.roster).map_err(|failure| failure.message())?)
            }
        };
        let restored = self.renewal.put(renewal).ok_or("the engine did not take the new rules in time")?;
        for error in &restored.refused {
            tracing::warn!("{error}; it is learned anew");
        }
        self.groups = groups;
        match keeper {
            Some(keeper) => {
                self.hears_feeds = keeper.is_some();
                self.feeds = keeper;
            }
            None => self.feeds.iter().for_each(FeedKeeper::ask_reload),
        }
        let mut warnings = Vec::new();
        let blocked = self.enforce.as_ref().is_none_or(|enforce| {
            let settings = crate::config::EnforceSettings {
                enabled: self.started.enforce.enabled,
                dry_run: self.started.enforce.dry_run,
                audit: self.started.enforce.audit.clone(),
                ..fresh.enforce.clone()
            };
            enforce.renew(&settings, &fresh.site.home_networks)
        });
        if !blocked {
            warnings.push("the enforcer is too busy: [enforce] stays as it was; reload again");
        }
        let changed: Vec<String> = differences(&self.applied, &fresh).into_iter().filter(|key| is_live(key)).collect();
        let waiting: Vec<String> = differences(&self.started, &fresh).into_iter().filter(|key| !is_live(key)).collect();
        self.applied = fresh;
        Ok(json!({
            "changed": changed, "rebuilt": replaced, "needs_restart": waiting, "warnings": warnings,
        }))
    }
}

/// Whether settings ask for a group that needs files.
const fn asks_for(config: &Config, group: Group) -> bool {
    match group {
        Group::Models => config.detect.classifier || config.detect.anomaly,
        Group::Names => config.detect.dga,
        Group::Behaviour | Group::Payload => false,
    }
}

/// Reads every feed to its end; the first that would be refused is named.
fn check_feeds(settings: &IntelSettings) -> Result<(), String> {
    let fingerprints = Fingerprints::new(Seed::Random.draw());
    for feed in &settings.feeds {
        intel::read_feed(feed, settings, &fingerprints)
            .map_err(|refusal| format!("intel.feeds: feed `{}`: {refusal}", feed.name))?;
    }
    Ok(())
}

fn is_live(key: &str) -> bool {
    let named = |name: &&'static str| if name.ends_with('.') { key.starts_with(*name) } else { key == *name };
    LIVE.iter().any(named) && !NOT_LIVE.contains(&key)
}

/// Keys whose values differ, dotted, in their order.
fn differences(one: &Config, other: &Config) -> Vec<String> {
    let value = |config: &Config| serde_json::to_value(config).unwrap_or_default();
    let mut found = Vec::new();
    let (Value::Object(one), Value::Object(other)) = (value(one), value(other)) else { return found };
    for (table, keys) in &one {
        let theirs = other.get(table);
        for (key, value) in keys.as_object().into_iter().flatten() {
            if theirs.and_then(|table| table.get(key)) != Some(value) {
                found.push(format!("{table}.{key}"));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_told_by_key_and_what_cannot_change_is_told_apart() {
        let (one, mut other) = (Config::default(), Config::default());
        assert_eq!(differences(&one, &other), Vec::<String>::new());
        other.capture.ring_bytes = 65_536;
        other.fuse.dedup_secs = 7;
        other.enforce.dry_run = true;
        other.enforce.duration_secs = 7;
        let differ = differences(&one, &other);
        assert_eq!(differ, ["capture.ring_bytes", "enforce.dry_run", "enforce.duration_secs", "fuse.dedup_secs"]);
        let live: Vec<bool> = differ.iter().map(|key| is_live(key)).collect();
        assert_eq!(live, [false, false, true, true]);
    }

    #[test]
    fn every_name_of_a_live_setting_is_a_setting() {
        let Ok(Value::Object(tables)) = serde_json::to_value(Config::default()) else { panic!("no tables") };
        for name in LIVE.iter().chain(&NOT_LIVE) {
            let (table, key) = name.split_once('.').unwrap_or((name, ""));
            let there = tables.get(table).is_some_and(|keys| key.is_empty() || keys.get(key).is_some());
            assert!(there, "{name}");
        }
    }
}
