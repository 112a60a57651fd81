//! What a model says of itself: classes, thresholds, normal ranges, and what it must reproduce.
//! Reads text; opens no file.

use serde::{Deserialize, Serialize};

use super::ModelError;
use crate::{
    detect::Class,
    features::{FEATURES, SCHEMA, schema_hash},
};

/// The form of manifest this agent reads.
const FORMAT: u32 = 1;

/// What a model does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelKind {
    /// Gives the probability of each class.
    Classifier,
    /// Gives the error of rebuilding the vector.
    Autoencoder,
}

/// What a model is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelForm {
    /// A graph of plain operators.
    #[default]
    Onnx,
    /// Boosted trees, read by `trees`.
    Trees,
}

impl ModelForm {
    /// The file of a model folder that holds it.
    pub const fn file(self) -> &'static str {
        match self {
            Self::Onnx => "model.onnx",
            Self::Trees => "model.trees",
        }
    }
}

/// `manifest.toml`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    pub format: u32,
    pub name: String,
    pub version: String,
    pub kind: ModelKind,
    #[serde(default)]
    pub form: ModelForm,
    /// Hash of the feature schema the model was trained on.
    pub schema_hash: String,
    /// SHA-256 of the model's file, hex.
    pub sha256: String,
    /// SHA-256 of `golden.csv`, hex.
    pub golden_sha256: String,
    /// How far an output may be from its golden value.
    pub tolerance: f32,
    /// The autoencoder's error above which a flow is unusual.
    #[serde(default)]
    pub threshold: Option<f32>,
    /// The classifier's probability of any attack from which a flow is called unusual where no class is sure
    /// enough to be named; never without it.
    #[serde(default)]
    pub attack_threshold: Option<f32>,
    /// The classifier's outputs, in order.
    #[serde(default)]
    pub class: Vec<ClassEntry>,
    /// Normal ranges, in schema order.
    pub feature: Vec<FeatureEntry>,
    /// Where it comes from; not used for judging.
    pub training: Training,
}

/// One output of the classifier.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassEntry {
    pub name: Class,
    /// Probability from which the class is said aloud; above 1 it never is.
    pub threshold: f32,
    /// MITRE ATT&CK techniques.
    #[serde(default)]
    pub attack: Vec<String>,
    /// The labels of payload classifiers that the class stands for.
    #[serde(default)]
    pub labels: Vec<String>,
}

/// What is normal for one feature: quantiles over benign training flows.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureEntry {
    pub name: String,
    /// 5 %.
    pub low: f32,
    /// 50 %.
    pub median: f32,
    /// 95 %.
    pub high: f32,
}

/// What the model was made from.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Training {
    pub seed: u64,
    /// SHA-256 over the labels and the feature tables, hex.
    pub data_sha256: String,
    pub captures: u64,
    pub flows: u64,
    pub sources: u64,
}

impl Manifest {
    /// Reads and checks a manifest.
    pub fn parse(text: &str) -> Result<Self, ModelError> {
        let manifest: Self =
            toml::from_str(text).map_err(|error| ModelError::Manifest { reason: error.message().to_owned() })?;
        manifest.check()?;
        Ok(manifest)
    }

    /// The form that a manifest names, if it can be read at all; `parse` tells what is wrong with it.
    pub fn form_of(text: &str) -> ModelForm {
        #[derive(Deserialize)]
        struct Form {
            #[serde(default)]
            form: ModelForm,
        }
        toml::from_str::<Form>(text).map_or_else(|_| ModelForm::default(), |manifest| manifest.form)
    }

    /// Outputs a row has.
    pub fn outputs(&self) -> usize {
        match self.kind {
            ModelKind::Classifier => self.class.len(),
            ModelKind::Autoencoder => 1,
        }
    }

    fn check(&self) -> Result<(), ModelError> {
        let refuse = |reason: String| Err(ModelError::Manifest { reason });
        if self.format != FORMAT {
            return refuse(format!("format {} is not {FORMAT}", self.format));
        }
        if self.schema_hash != schema_hash() {
            return Err(ModelError::Schema { found: self.schema_hash.clone(), expected: schema_hash().to_owned() });
        }
        if self.feature.len() != FEATURES {
            return refuse(format!("it describes {} features, the schema has {FEATURES}", self.feature.len()));
        }
        for (entry, spec) in self.feature.iter().zip(&SCHEMA) {
            if entry.name != spec.name {
                return refuse(format!("feature `{}` stands where the schema has `{}`", entry.name, spec.name));
            }
            if !(entry.low <= entry.median && entry.median <= entry.high) {
                return refuse(format!("feature `{}` has quantiles out of order", entry.name));
            }
        }
        if !(self.tolerance > 0.0 && self.tolerance <= 0.01) {
            return refuse(format!("tolerance {} is not within 0 to 0.01", self.tolerance));
        }
        match self.kind {
            ModelKind::Classifier => self.check_classes(),
            ModelKind::Autoencoder => match self.threshold {
                Some(threshold) if threshold > 0.0 && threshold.is_finite() => Ok(()),
                Some(threshold) => refuse(format!("threshold {threshold} is not a positive number")),
                None => refuse("an autoencoder needs a threshold".to_owned()),
            },
        }
    }

    fn check_classes(&self) -> Result<(), ModelError> {
        let refuse = |reason: String| Err(ModelError::Manifest { reason });
        if self.class.first().map(|entry| entry.name) != Some(Class::Benign) {
            return refuse("the first class is not `benign`".to_owned());
        }
        if self.class.len() < 2 {
            return refuse("a classifier needs a class beside `benign`".to_owned());
        }
        if let Some(threshold) = self.attack_threshold.filter(|threshold| threshold.is_nan() || *threshold < 0.5) {
            return refuse(format!("attack_threshold {threshold} is below 0.5"));
        }
        for (at, entry) in self.class.iter().enumerate() {
            if self.class.iter().take(at).any(|earlier| earlier.name == entry.name) {
                return refuse(format!("class `{}` stands twice", entry.name.name()));
            }
            // A half keeps two classes from being said at once.
            if at > 0 && (entry.threshold.is_nan() || entry.threshold < 0.5) {
                return refuse(format!("threshold {} of `{}` is below 0.5", entry.threshold, entry.name.name()));
            }
        }
        Ok(())
    }
}
