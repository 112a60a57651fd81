//! What an engine is made of, out of the configuration. Shared by the verbs that judge.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    path::{Path, PathBuf},
};

use super::Failure;
use crate::{
    clock::Axis,
    config::{
        self, BehaviourSettings, Config, DetectSettings, FlowSettings, FuseSettings, IntelSettings, PayloadSettings,
        SiteFile, SuricataSettings, WindowSettings,
    },
    detect::{
        Detector, EngineParts,
        behaviour::Behaviour,
        intel::Intel,
        signature::Signature,
        site::{Calibrated, Floor},
    },
    intel::{self, Feeds, Refresh},
    state::{self, StateImage},
};

mod groups;

pub(super) use groups::Group;

/// Builds the detectors that the settings ask for.
///
/// Without a models folder the agent goes on with what it has, and says so; a folder that was named
/// must be there, and a model that is there must be sound.
pub(super) fn detectors(config: &Config, seed: Seed) -> Result<Vec<Box<dyn Detector>>, Failure> {
    let mut detectors = Vec::new();
    for group in Group::ALL {
        detectors.extend(group.build(config, seed)?);
    }
    Ok(detectors)
}

/// What calibration wrote about the site, and where.
fn site_file(config: &Config) -> Result<Option<(PathBuf, SiteFile)>, Failure> {
    config.site.file.as_ref().map(|path| Ok((path.clone(), config::load_site(path)?))).transpose()
}

/// Detectors under the site's thresholds.
fn calibrated(
    detectors: Vec<Box<dyn Detector>>,
    path: &Path,
    site: &SiteFile,
) -> Result<Vec<Box<dyn Detector>>, Failure> {
    let mut floors = Vec::new();
    for entry in &site.floor {
        let floor = Floor::of(entry).ok_or_else(|| {
            let (witness, class) = (&entry.witness, &entry.class);
            Failure::Config(format!("{}: no witness `{witness}` or no class `{class}`", path.display()))
        })?;
        floors.push(floor);
    }
    Ok(detectors.into_iter().map(|inner| Box::new(Calibrated::new(inner, &floors)) as Box<dyn Detector>).collect())
}

/// The devices as calibration learned them.
pub(super) fn site_state(config: &Config) -> Result<Option<StateImage>, Failure> {
    let Some((file, site)) = site_file(config)? else { return Ok(None) };
    let Some(path) = site.state_path(&file) else { return Ok(None) };
    let shown = path.display();
    match state::read(&path) {
        Ok(Some(Ok(image))) => Ok(Some(image)),
        Ok(Some(Err(refusal))) => Err(Failure::Config(format!("cannot use {shown}: {refusal}; calibrate again"))),
        Ok(None) => Err(Failure::Config(format!("there is no {shown}, which {} names", file.display()))),
        Err(error) => Err(Failure::Config(format!("cannot read {shown}: {error}"))),
    }
}

/// Reads the feeds of threat intelligence, where there are any. One that is refused is told, and the others serve.
pub(super) fn feeds(settings: &IntelSettings, seed: Seed) -> Result<Option<Feeds>, Failure> {
    if settings.feeds.is_empty() {
        return Ok(None);
    }
    let mut feeds = Feeds::new(settings, seed.draw()).map_err(|error| Failure::Config(error.to_string()))?;
    intel::log(&feeds.refresh(Refresh::All));
    Ok(Some(feeds))
}

/// The witness that asks the feeds.
pub(super) fn intel(feeds: Option<&Feeds>, axis: Axis, seed: Seed) -> Option<Box<dyn Detector>> {
    feeds.map(|feeds| Box::new(Intel::new(feeds.shelf(), axis.offset().ns(), seed.draw())) as Box<dyn Detector>)
}

/// The witness that hears Suricata.
pub(super) fn signature(settings: &SuricataSettings, seed: Seed) -> Box<dyn Detector> {
    Box::new(Signature::new(settings.threshold.clone(), seed.draw()))
}

/// The settings of one engine; times of the configuration are moved onto the source's axis.
pub(super) fn engine_parts(config: &Config, detectors: Vec<Box<dyn Detector>>, axis: Axis, seed: Seed) -> EngineParts {
    EngineParts {
        flow: FlowSettings { hash_seed: seed.draw(), ..config.flow },
        window: WindowSettings { hash_seed: seed.draw(), ..config.window },
        payload: PayloadSettings { hash_seed: seed.draw(), ..config.payload },
        fuse: FuseSettings { hash_seed: seed.draw(), ..config.fuse.clone().on_axis(axis.offset().ns()) },
        detectors,
        exhibits_max: 0,
    }
}

/// Where `run` keeps what alerts rest on.
pub(super) fn evidence_dir(config: &Config) -> PathBuf {
    config.evidence.dir.clone().unwrap_or_else(|| config.state.dir.join("evidence"))
}

/// The behaviour detector with its thresholds.
fn behaviour(settings: &DetectSettings, hash_seed: u64) -> Result<Box<dyn Detector>, Failure> {
    let thresholds = match &settings.behaviour_rules {
        Some(path) => config::load_behaviour(path)?,
        None => BehaviourSettings::default(),
    };
    Ok(Box::new(Behaviour::new(&thresholds, hash_seed)))
}

/// Seeds the hashes of tables whose keys peers choose.
#[derive(Clone, Copy)]
pub(super) enum Seed {
    /// The same in every run: captures cannot learn from what they cause.
    Fixed,
    /// Drawn anew in every run: nobody can aim at a table's order.
    Random,
}

impl Seed {
    pub(super) fn draw(self) -> u64 {
        match self {
            Self::Fixed => 0,
            // The standard library keys each state with randomness of the operating system.
            Self::Random => RandomState::new().build_hasher().finish(),
        }
    }
}
