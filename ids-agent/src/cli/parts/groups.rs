//! Detectors in groups that are built together, each with a fingerprint of all it is built from: a reload builds anew what
//! has changed, and nothing else.

use std::{
    fs,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use super::{Failure, Seed, behaviour, calibrated, site_file};
use crate::{
    config::{Config, SiteSettings},
    detect::{Detector, dga::Dga, payload::Payload},
    models::{self, ModelsError},
};

/// Detectors that come and go together, in the order in which they are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Group {
    Models,
    Behaviour,
    Payload,
    Names,
}

impl Group {
    pub(in crate::cli) const ALL: [Self; 4] = [Self::Models, Self::Behaviour, Self::Payload, Self::Names];

    /// In answers to people.
    pub(in crate::cli) const fn label(self) -> &'static str {
        match self {
            Self::Models => "models",
            Self::Behaviour => "behaviour",
            Self::Payload => "payload",
            Self::Names => "names",
        }
    }

    /// Its detectors, under the site's thresholds.
    pub(in crate::cli) fn build(self, config: &Config, seed: Seed) -> Result<Vec<Box<dyn Detector>>, Failure> {
        let detectors = self.bare(config, seed)?;
        match site_file(config)? {
            Some((path, site)) => calibrated(detectors, &path, &site),
            None => Ok(detectors),
        }
    }

    fn bare(self, config: &Config, seed: Seed) -> Result<Vec<Box<dyn Detector>>, Failure> {
        let settings = &config.detect;
        let mut detectors: Vec<Box<dyn Detector>> = Vec::new();
        match self {
            Self::Models => {
                let site = SiteSettings { hash_seed: seed.draw(), ..config.site.clone() };
                match models::load_for(settings, &site) {
                    Ok(models) => detectors = models,
                    Err(error @ ModelsError::NotFound { .. }) if settings.models_dir.is_none() => {
                        tracing::warn!("{error}; going on without models");
                    }
                    Err(error) => return Err(Failure::Config(error.to_string())),
                }
            }
            Self::Behaviour if settings.behaviour => detectors.push(behaviour(settings, seed.draw())?),
            Self::Payload if settings.payload => detectors.push(Box::new(Payload::new(seed.draw()))),
            Self::Names if settings.dga => match models::name_scorer(settings) {
                Ok(Some(scorer)) => detectors.push(Box::new(Dga::new(scorer, seed.draw()))),
                Ok(None) => {
                    tracing::debug!("no scorer of names beside the models; generated names are not looked for");
                }
                // Told with the models already.
                Err(ModelsError::NotFound { .. }) if settings.models_dir.is_none() => {}
                Err(error) => return Err(Failure::Config(error.to_string())),
            },
            Self::Behaviour | Self::Payload | Self::Names => {}
        }
        Ok(detectors)
    }

    /// Changes with every setting and file that the group is built from.
    pub(in crate::cli) fn fingerprint(self, config: &Config) -> [u8; 32] {
        let detect = &config.detect;
        let mut print = Print(Sha256::new());
        if let Some(file) = &config.site.file {
            print.setting(&config.site.file);
            print.file(file);
        }
        match self {
            Self::Models => {
                print.setting(&(&detect.models_dir, detect.backend, &detect.onnxruntime));
                print.setting(&(detect.classifier, detect.anomaly, detect.batch_max, &config.site));
                print.models(config, &["classifier", "autoencoder"]);
            }
            Self::Behaviour => {
                print.setting(&(detect.behaviour, &detect.behaviour_rules));
                detect.behaviour_rules.iter().for_each(|path| print.file(path));
            }
            Self::Payload => print.setting(&detect.payload),
            Self::Names => {
                print.setting(&(detect.dga, &detect.models_dir));
                print.models(config, &["dga"]);
            }
        }
        print.0.finalize().into()
    }
}

struct Print(Sha256);

impl Print {
    fn setting(&mut self, value: &impl serde::Serialize) {
        // Settings have no keys that JSON lacks.
        self.0.update(serde_json::to_vec(value).unwrap_or_default());
    }

    /// A file that cannot be read differs from each that can.
    fn file(&mut self, path: &Path) {
        self.0.update(path.as_os_str().as_encoded_bytes());
        match fs::read(path) {
            Ok(bytes) => {
                self.0.update(bytes.len().to_le_bytes());
                self.0.update(bytes);
            }
            Err(error) => self.0.update(error.to_string()),
        }
    }

    fn models(&mut self, config: &Config, folders: &[&str]) {
        let Ok(dir) = models::find(config.detect.models_dir.as_deref()) else { return self.0.update("none") };
        for folder in folders {
            let entries = fs::read_dir(dir.join(folder)).into_iter().flatten().flatten();
            let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| path.is_file()).collect();
            files.sort();
            files.iter().for_each(|path| self.file(path));
        }
    }
}
