//! A trained network: checked before it is believed, then asked for one matrix of rows at a time.
//!
//! Works on bytes; `crate::models` finds and reads the files. A model is refused, with the reason,
//! unless its hash, schema, shapes and golden vectors are all right.

use std::{collections::VecDeque, path::PathBuf, sync::Arc};

use sha2::{Digest, Sha256};

use crate::{
    detect::{Evidence, ModelInfo},
    features::{FEATURES, SCHEMA},
};

mod classifier;
mod golden;
#[cfg(feature = "tract")]
mod graph;
mod manifest;
mod memo;
#[cfg(feature = "ort")]
pub mod ort;
#[cfg(feature = "tract")]
mod tract;
mod trees;

pub use classifier::Classifier;
pub use manifest::{ClassEntry, FeatureEntry, Manifest, ModelForm, ModelKind, Training};
use memo::Memo;

/// A model file larger than this is refused: it would not fit a small gateway.
pub const MODEL_BYTES_MAX: usize = 4 << 20;
/// Features named as evidence.
const EVIDENCE_MAX: usize = 5;
/// Rows of which it is remembered what spoke for them: those of a flood are alike.
const EXPLAINED_MAX: usize = 8;

/// Why a model is not used.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    #[error("manifest.toml: {reason}; train again with `cargo xtask train`")]
    Manifest { reason: String },
    #[error(
        "the model is for feature schema {found}, this agent computes {expected}; take the models of this release, or \
         train again with `cargo xtask train`"
    )]
    Schema { found: String, expected: String },
    #[error("{file} has SHA-256 {found}, the manifest says {expected}; copy the model folder again")]
    Hash { file: &'static str, found: String, expected: String },
    #[error("{file} holds {found} bytes, limit is {max}; train a smaller model")]
    Size { file: &'static str, found: usize, max: usize },
    #[error("model.onnx: {reason}")]
    Graph { reason: String },
    #[error("model.trees: {reason}; copy the model folder again")]
    Trees { reason: String },
    #[error("model.onnx: `{name}` has shape {found} instead of [N, {columns}]")]
    Shape { name: String, found: String, columns: usize },
    #[error("model.onnx: weights `{name}` lie outside the file; export the model into one file")]
    ExternalData { name: String },
    #[error("model.onnx: weights `{name}` are not finite numbers; train again")]
    Weights { name: String },
    #[error("golden.csv: {reason}; copy the model folder again")]
    Golden { reason: String },
    #[error(
        "golden vector {row} gives {found} for output {column} where training gave {expected}; the {backend} backend or \
         the model cannot be trusted"
    )]
    Reproduction { backend: &'static str, row: usize, column: usize, found: f32, expected: f32 },
    #[error("{backend}: {reason}")]
    Backend { backend: &'static str, reason: String },
    #[error("{backend} gave a value that is not a finite number in row {row}")]
    NotFinite { backend: &'static str, row: usize },
    #[error("onnxruntime at {}: {reason}; install onnxruntime 1.24 or newer, or set detect.backend = \"tract\"", path.display())]
    Library { path: PathBuf, reason: String },
    #[error("the model is {found}, here {expected} is needed")]
    Kind { found: &'static str, expected: &'static str },
}

/// What computes a model's outputs.
pub trait Backend: Send {
    fn name(&self) -> &'static str;

    /// Appends the outputs of `rows` rows, row by row, to `out`.
    fn infer(&mut self, matrix: &[f32], rows: usize, out: &mut Vec<f32>) -> Result<(), ModelError>;
}

/// Which backend a graph shall run on; trees need none.
#[derive(Clone)]
pub enum Inference {
    Tract,
    #[cfg(feature = "ort")]
    Onnxruntime(ort::Library),
}

/// The content of a model folder.
#[derive(Clone, Debug)]
pub struct ModelFiles {
    pub model: Vec<u8>,
    pub manifest: String,
    pub golden: String,
}

/// A model that reproduced its golden vectors.
pub struct Model {
    manifest: Manifest,
    backend: Box<dyn Backend>,
    memo: Memo,
    /// What spoke for the rows explained last, each with its output.
    explained: VecDeque<Explained>,
    info: ModelInfo,
    rows_max: usize,
}

struct Explained {
    row: [f32; FEATURES],
    column: usize,
    evidence: Vec<Evidence>,
}

impl Model {
    /// Checks the files and readies them for inference with at most `rows_max` rows at once.
    pub fn new(files: &ModelFiles, inference: &Inference, rows_max: usize) -> Result<Self, ModelError> {
        let manifest = Manifest::parse(&files.manifest)?;
        let file = manifest.form.file();
        if files.model.len() > MODEL_BYTES_MAX {
            return Err(ModelError::Size { file, found: files.model.len(), max: MODEL_BYTES_MAX });
        }
        check_hash(file, &files.model, &manifest.sha256)?;
        check_hash("golden.csv", files.golden.as_bytes(), &manifest.golden_sha256)?;
        let golden = golden::Golden::parse(&files.golden, manifest.outputs())?;
        let backend = match manifest.form {
            ModelForm::Onnx => graph_backend(&files.model, manifest.outputs(), inference)?,
            ModelForm::Trees => Box::new(trees::Trees::new(&files.model, manifest.outputs())?),
        };
        let info = ModelInfo {
            name: Arc::from(manifest.name.as_str()),
            version: Arc::from(manifest.version.as_str()),
            sha256: Arc::from(manifest.sha256.as_str()),
            backend: backend.name(),
        };
        let memo = Memo::new(manifest.outputs());
        let mut model = Self { manifest, backend, memo, explained: VecDeque::new(), info, rows_max: rows_max.max(1) };
        model.reproduce(&golden)?;
        Ok(model)
    }

    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    pub fn info(&self) -> &ModelInfo {
        &self.info
    }

    /// Replaces `out` with the outputs of every row of `matrix`. Rows that are alike are worked out once.
    pub fn infer(&mut self, matrix: &[f32], out: &mut Vec<f32>) -> Result<(), ModelError> {
        out.clear();
        for chunk in matrix.chunks(self.rows_max * FEATURES) {
            self.memo.infer(self.backend.as_mut(), chunk, out)?;
        }
        self.check_finite(out)
    }

    /// The same, row by row, whatever is known of them.
    fn infer_anew(&mut self, matrix: &[f32], out: &mut Vec<f32>) -> Result<(), ModelError> {
        out.clear();
        for chunk in matrix.chunks(self.rows_max * FEATURES) {
            self.backend.infer(chunk, chunk.len() / FEATURES, out)?;
        }
        self.check_finite(out)
    }

    fn check_finite(&self, out: &[f32]) -> Result<(), ModelError> {
        match out.iter().position(|value| !value.is_finite()) {
            Some(at) => {
                Err(ModelError::NotFinite { backend: self.backend.name(), row: at / self.manifest.outputs().max(1) })
            }
            None => Ok(()),
        }
    }

    /// The features that spoke most for output `column` of `row`: those whose replacement by the
    /// benign median lowers it most, in units of `strength`, which is one for each column.
    pub fn explain(&mut self, row: &[f32; FEATURES], column: usize, strength: fn(f32) -> f32) -> Vec<Evidence> {
        if let Some(known) = self.explained.iter().find(|known| known.column == column && memo::same(&known.row, row)) {
            return known.evidence.clone();
        }
        let evidence = self.explain_anew(row, column, strength);
        if self.explained.len() >= EXPLAINED_MAX {
            self.explained.pop_front();
        }
        self.explained.push_back(Explained { row: *row, column, evidence: evidence.clone() });
        evidence
    }

    fn explain_anew(&mut self, row: &[f32], column: usize, strength: fn(f32) -> f32) -> Vec<Evidence> {
        let mut matrix = Vec::with_capacity((FEATURES + 1) * FEATURES);
        matrix.extend_from_slice(row);
        for (at, entry) in self.manifest.feature.iter().enumerate() {
            let start = matrix.len();
            matrix.extend_from_slice(row);
            if let Some(value) = matrix.get_mut(start + at) {
                *value = entry.median;
            }
        }
        let outputs = self.manifest.outputs();
        let mut out = Vec::new();
        if self.infer_anew(&matrix, &mut out).is_err() {
            return Vec::new();
        }
        let told: Vec<f32> =
            out.chunks(outputs).filter_map(|row| row.get(column)).map(|value| strength(*value)).collect();
        let Some((whole, without)) = told.split_first() else {
            return Vec::new();
        };
        let mut spoke: Vec<(f32, usize)> =
            without.iter().enumerate().map(|(at, less)| (whole - less, at)).filter(|(drop, _)| *drop > 0.0).collect();
        spoke.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        spoke.truncate(EVIDENCE_MAX);
        spoke.into_iter().filter_map(|(_, at)| self.evidence(row, at)).collect()
    }

    fn evidence(&self, row: &[f32], at: usize) -> Option<Evidence> {
        let (spec, entry, value) = (SCHEMA.get(at)?, self.manifest.feature.get(at)?, row.get(at)?);
        Some(Evidence {
            feature: spec.name,
            value: spec.quantity(*value),
            normal_low: spec.quantity(entry.low),
            normal_high: spec.quantity(entry.high),
            unit: spec.unit,
        })
    }

    fn reproduce(&mut self, golden: &golden::Golden) -> Result<(), ModelError> {
        let outputs = self.manifest.outputs();
        let mut found = Vec::new();
        self.infer_anew(&golden.inputs, &mut found)?;
        // Also one by one: a graph may mix up rows, or work for one number of rows only.
        let mut single = Vec::new();
        for (row, inputs) in golden.inputs.chunks(FEATURES).enumerate() {
            self.infer_anew(inputs, &mut single)?;
            self.compare(&single, golden.outputs.get(row * outputs..).unwrap_or(&[]), row)?;
        }
        self.compare(&found, &golden.outputs, 0)
    }

    fn compare(&self, found: &[f32], expected: &[f32], first_row: usize) -> Result<(), ModelError> {
        let outputs = self.manifest.outputs().max(1);
        for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
            // Relative for the autoencoder, whose errors reach far above 1.
            if (found - expected).abs() > self.manifest.tolerance * expected.abs().max(1.0) {
                return Err(ModelError::Reproduction {
                    backend: self.backend.name(),
                    row: first_row + at / outputs,
                    column: at % outputs,
                    found: *found,
                    expected: *expected,
                });
            }
        }
        Ok(())
    }
}

fn graph_backend(model: &[u8], outputs: usize, inference: &Inference) -> Result<Box<dyn Backend>, ModelError> {
    #[cfg(feature = "tract")]
    graph::check(model, FEATURES, outputs)?;
    Ok(match inference {
        #[cfg(feature = "tract")]
        Inference::Tract => Box::new(tract::Tract::new(model, outputs)?),
        #[cfg(not(feature = "tract"))]
        Inference::Tract => without_tract(model.len(), outputs)?,
        #[cfg(feature = "ort")]
        Inference::Onnxruntime(library) => Box::new(ort::Ort::new(library, model, outputs)?),
    })
}

/// Builds that leave the engine out, as those for emulated machines do, walk trees and nothing else.
#[cfg(not(feature = "tract"))]
fn without_tract(bytes: usize, outputs: usize) -> Result<Box<dyn Backend>, ModelError> {
    let reason = format!("left out of this build; the model has {bytes} bytes and {outputs} outputs");
    Err(ModelError::Backend { backend: "tract", reason })
}

fn check_hash(file: &'static str, bytes: &[u8], expected: &str) -> Result<(), ModelError> {
    let found: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    if found == expected { Ok(()) } else { Err(ModelError::Hash { file, found, expected: expected.to_owned() }) }
}
