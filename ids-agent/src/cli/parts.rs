//! What an engine is made of, out of the configuration. Shared by the verbs that judge.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    path::PathBuf,
};

use super::Failure;
use crate::{
    clock::Axis,
    config::{
        self, BehaviourSettings, Config, DetectSettings, FlowSettings, PayloadSettings, SiteSettings, WindowSettings,
    },
    detect::{Detector, EngineParts, behaviour::Behaviour, payload::Payload},
    models::{self, ModelsError},
};

/// Builds the detectors that the settings ask for.
///
/// Without a models folder the agent goes on with what it has, and says so; a folder that was named
/// must be there, and a model that is there must be sound.
pub(super) fn detectors(config: &Config, seed: Seed) -> Result<Vec<Box<dyn Detector>>, Failure> {
    let settings = &config.detect;
    let site = SiteSettings { hash_seed: seed.draw(), ..config.site.clone() };
    let mut detectors = match models::load_for(settings, &site) {
        Ok(detectors) => detectors,
        Err(error @ ModelsError::NotFound { .. }) if settings.models_dir.is_none() => {
            tracing::warn!("{error}; going on without models");
            Vec::new()
        }
        Err(error) => return Err(Failure::Config(error.to_string())),
    };
    if settings.behaviour {
        detectors.push(behaviour(settings, seed.draw())?);
    }
    if settings.payload {
        detectors.push(Box::new(Payload::new(seed.draw())));
    }
    Ok(detectors)
}

/// The settings of one engine; times of the configuration are moved onto the source's axis.
pub(super) fn engine_parts(config: &Config, detectors: Vec<Box<dyn Detector>>, axis: Axis, seed: Seed) -> EngineParts {
    EngineParts {
        flow: FlowSettings { hash_seed: seed.draw(), ..config.flow },
        window: WindowSettings { hash_seed: seed.draw(), ..config.window },
        payload: PayloadSettings { hash_seed: seed.draw(), ..config.payload },
        fuse: config.fuse.clone().on_axis(axis.offset().ns()),
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
    fn draw(self) -> u64 {
        match self {
            Self::Fixed => 0,
            // The standard library keys each state with randomness of the operating system.
            Self::Random => RandomState::new().build_hasher().finish(),
        }
    }
}
