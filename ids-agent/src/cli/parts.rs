//! What an engine is made of, out of the configuration. Shared by the verbs that judge.

use super::Failure;
use crate::{
    clock::Axis,
    config::{Config, DetectSettings},
    detect::{Detector, EngineParts},
    models::{self, ModelsError},
};

/// Builds the detectors that the settings ask for.
///
/// Without a models folder the agent goes on with what it has, and says so; a folder that was named
/// must be there, and a model that is there must be sound.
pub(super) fn detectors(settings: &DetectSettings) -> Result<Vec<Box<dyn Detector>>, Failure> {
    let mut detectors = match models::load(settings) {
        Ok(detectors) => detectors,
        Err(error @ ModelsError::NotFound { .. }) if settings.models_dir.is_none() => {
            tracing::warn!("{error}; going on without models");
            Vec::new()
        }
        Err(error) => return Err(Failure::Config(error.to_string())),
    };
    if settings.behaviour {
        detectors.push(behaviour(settings)?);
    }
    Ok(detectors)
}

/// The settings of one engine; times of the configuration are moved onto the source's axis.
pub(super) fn engine_parts(config: &Config, detectors: Vec<Box<dyn Detector>>, axis: Axis) -> EngineParts {
    EngineParts {
        flow: config.flow,
        window: config.window,
        payload: config.payload,
        fuse: config.fuse.clone().on_axis(axis.offset().ns()),
        detectors,
    }
}

fn behaviour(_settings: &DetectSettings) -> Result<Box<dyn Detector>, Failure> {
    Err(Failure::Silent)
}
