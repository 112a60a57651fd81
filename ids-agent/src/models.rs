//! Finds model folders and reads them into detectors. Judges nothing; the checks are in
//! `detect::model`.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::{
    config::{DetectSettings, InferenceBackend, SiteSettings},
    detect::{
        Detector,
        anomaly::Anomaly,
        dga::{Scorer, ScorerError},
        model::{Classifier, Inference, MODEL_BYTES_MAX, Manifest, ModelError, ModelFiles},
    },
};

/// Where a package puts the models.
const INSTALLED: &str = "/usr/share/ids-agent/models";
/// A manifest or golden file larger than this is not ours.
const TEXT_BYTES_MAX: u64 = 8 << 20;

/// Why no models could be had.
#[derive(Debug, thiserror::Error)]
pub enum ModelsError {
    #[error("no models found in {}; set detect.models_dir, or switch detect.classifier and detect.anomaly off", tried.join(", "))]
    NotFound { tried: Vec<String> },
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} holds {found} bytes, limit is {max}", path.display())]
    Size { path: PathBuf, found: u64, max: u64 },
    #[error("model {} is refused: {source}", folder.display())]
    Refused { folder: PathBuf, source: ModelError },
    #[error("model {} is refused: {source}", folder.display())]
    ScorerRefused { folder: PathBuf, source: ScorerError },
    #[error(transparent)]
    Library(ModelError),
    #[error("this build has no onnxruntime backend; build with `--features ort`, or set detect.backend = \"tract\"")]
    NoOrt,
    #[error("detect.backend = \"ort\" needs the library's path; set detect.onnxruntime to libonnxruntime.so")]
    NoLibraryPath,
}

/// Loads the model detectors that `settings` ask for, in a fixed order, for a site of which nothing is said.
pub fn load(settings: &DetectSettings) -> Result<Vec<Box<dyn Detector>>, ModelsError> {
    load_for(settings, &SiteSettings::default())
}

/// The same, for `site`.
pub fn load_for(settings: &DetectSettings, site: &SiteSettings) -> Result<Vec<Box<dyn Detector>>, ModelsError> {
    let mut detectors: Vec<Box<dyn Detector>> = Vec::new();
    if !settings.classifier && !settings.anomaly {
        return Ok(detectors);
    }
    let dir = find(settings.models_dir.as_deref())?;
    let inference = inference(settings)?;
    let rows_max = settings.batch_max;
    if settings.classifier {
        let folder = dir.join("classifier");
        let files = read(&folder)?;
        let classifier =
            Classifier::new(&files, &inference, rows_max).map_err(|source| ModelsError::Refused { folder, source })?;
        detectors.push(Box::new(classifier));
    }
    if settings.anomaly {
        let folder = dir.join("autoencoder");
        let files = read(&folder)?;
        let anomaly = Anomaly::new(&files, &inference, rows_max, site)
            .map_err(|source| ModelsError::Refused { folder, source })?;
        detectors.push(Box::new(anomaly));
    }
    Ok(detectors)
}

/// Loads the scorer of generated names. A models folder without one, as older ones are, is no mistake.
pub fn name_scorer(settings: &DetectSettings) -> Result<Option<Scorer>, ModelsError> {
    let folder = find(settings.models_dir.as_deref())?.join("dga");
    if !folder.is_dir() {
        return Ok(None);
    }
    let table = read_bounded(&folder.join("table.bin"), MODEL_BYTES_MAX as u64)?;
    let scorer = Scorer::new(&read_text(&folder, "manifest.toml")?, &table, &read_text(&folder, "golden.csv")?);
    scorer.map(Some).map_err(|source| ModelsError::ScorerRefused { folder, source })
}

/// The configured folder, or else the first that exists of: `models` here, the package's, `models`
/// beside the executable or above it (a checkout's `target/` lies under it).
pub fn find(configured: Option<&Path>) -> Result<PathBuf, ModelsError> {
    if let Some(dir) = configured {
        return if dir.is_dir() {
            Ok(dir.to_owned())
        } else {
            Err(ModelsError::NotFound { tried: vec![dir.display().to_string()] })
        };
    }
    let mut tried = vec![PathBuf::from("models"), PathBuf::from(INSTALLED)];
    if let Ok(executable) = std::env::current_exe() {
        tried.extend(executable.ancestors().skip(1).take(EXECUTABLE_ANCESTORS).map(|dir| dir.join("models")));
    }
    match tried.iter().find(|dir| dir.join("classifier/manifest.toml").is_file()) {
        Some(dir) => Ok(dir.clone()),
        None => Err(ModelsError::NotFound { tried: tried.iter().map(|dir| dir.display().to_string()).collect() }),
    }
}

/// `target/TRIPLE/PROFILE/deps/NAME` is five below the checkout.
const EXECUTABLE_ANCESTORS: usize = 5;

/// Reads the three files of a model folder, bounded.
pub fn read(folder: &Path) -> Result<ModelFiles, ModelsError> {
    let manifest = read_text(folder, "manifest.toml")?;
    let file = Manifest::form_of(&manifest).file();
    Ok(ModelFiles {
        model: read_bounded(&folder.join(file), MODEL_BYTES_MAX as u64)?,
        golden: read_text(folder, "golden.csv")?,
        manifest,
    })
}

fn read_text(folder: &Path, name: &str) -> Result<String, ModelsError> {
    let bytes = read_bounded(&folder.join(name), TEXT_BYTES_MAX)?;
    String::from_utf8(bytes).map_err(|_| ModelsError::Read {
        path: folder.join(name),
        source: io::Error::new(io::ErrorKind::InvalidData, "not UTF-8 text"),
    })
}

fn read_bounded(path: &Path, max: u64) -> Result<Vec<u8>, ModelsError> {
    let failed = |source| ModelsError::Read { path: path.to_owned(), source };
    let found = fs::metadata(path).map_err(failed)?.len();
    if found > max {
        return Err(ModelsError::Size { path: path.to_owned(), found, max });
    }
    fs::read(path).map_err(failed)
}

fn inference(settings: &DetectSettings) -> Result<Inference, ModelsError> {
    match settings.backend {
        InferenceBackend::Tract => Ok(Inference::Tract),
        InferenceBackend::Ort => onnxruntime(settings.onnxruntime.as_deref().ok_or(ModelsError::NoLibraryPath)?),
    }
}

/// Loads the onnxruntime library at `path`.
#[cfg(feature = "ort")]
pub fn onnxruntime(path: &Path) -> Result<Inference, ModelsError> {
    let library = crate::detect::model::ort::Library::load(path).map_err(ModelsError::Library)?;
    Ok(Inference::Onnxruntime(library))
}

/// Loads the onnxruntime library at `path`; this build cannot.
#[cfg(not(feature = "ort"))]
pub fn onnxruntime(_path: &Path) -> Result<Inference, ModelsError> {
    Err(ModelsError::NoOrt)
}
