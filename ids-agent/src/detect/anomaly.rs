//! The autoencoder as a witness: a flow that it cannot rebuild is unlike the benign traffic it
//! learned. It says "unusual", never what it is, and never more than low severity.

use super::{
    Class, ClassOutput, Detector, DetectorStats, Finding, Judged, ModelInfo, Severity, Subject, Witness,
    model::{Inference, Model, ModelError, ModelFiles, ModelKind},
};
use crate::features::{FEATURES, FeatureVector};

/// Findings explained in one tick.
const EXPLAINED_PER_TICK_MAX: usize = 2;
/// The error, in thresholds, from which an unusual flow is of low severity instead of a mere note.
const LOW_FROM: f32 = 4.0;

pub struct Anomaly {
    model: Model,
    threshold: f32,
    stats: DetectorStats,
    matrix: Vec<f32>,
    errors: Vec<f32>,
}

impl Anomaly {
    pub fn new(files: &ModelFiles, inference: &Inference, rows_max: usize) -> Result<Self, ModelError> {
        let model = Model::new(files, inference, rows_max)?;
        match (model.manifest().kind, model.manifest().threshold) {
            (ModelKind::Autoencoder, Some(threshold)) => {
                Ok(Self { model, threshold, stats: DetectorStats::default(), matrix: Vec::new(), errors: Vec::new() })
            }
            (ModelKind::Autoencoder | ModelKind::Classifier, _) => {
                Err(ModelError::Kind { found: "a classifier", expected: "an autoencoder" })
            }
        }
    }

    fn finding(&mut self, flow: &Judged<'_>, error: f32, explain: bool) -> Finding {
        let times = error / self.threshold;
        let evidence = if explain { self.model.explain(&flow.features.values, 0, |error| error) } else { Vec::new() };
        Finding {
            witness: Witness::Anomaly,
            class: Class::Anomaly,
            kind: "unusual_flow",
            // 0.5 at the threshold, towards 1 above it.
            score: 1.0 - 0.5 / times.max(1.0),
            severity: if times >= LOW_FROM { Severity::Low } else { Severity::Info },
            subject: Subject::Flow { id: flow.record.id },
            exemplar: flow.record.key,
            exemplar_id: flow.record.id,
            first_ns: flow.record.start_ns,
            last_ns: flow.record.end_ns,
            reason: format!(
                "the flow is unlike benign traffic: reconstruction error {error:.3}, {times:.1} times the threshold"
            ),
            evidence,
        }
    }
}

impl Detector for Anomaly {
    fn witness(&self) -> Witness {
        Witness::Anomaly
    }

    fn judge(&mut self, flows: &[Judged<'_>], _now_ns: u64, findings: &mut Vec<Finding>) {
        if flows.is_empty() {
            return;
        }
        self.matrix.clear();
        self.matrix.reserve(flows.len() * FEATURES);
        for flow in flows {
            self.matrix.extend_from_slice(&flow.features.values);
        }
        self.stats.judged += flows.len() as u64;
        let mut errors = std::mem::take(&mut self.errors);
        if self.model.infer(&self.matrix, &mut errors).is_err() {
            self.stats.failed += flows.len() as u64;
            errors.clear();
        }
        let mut explained = 0;
        for (flow, error) in flows.iter().zip(&errors) {
            if *error < self.threshold {
                continue;
            }
            self.stats.findings += 1;
            let explain = explained < EXPLAINED_PER_TICK_MAX;
            explained += usize::from(explain);
            findings.push(self.finding(flow, *error, explain));
        }
        self.errors = errors;
    }

    fn outputs(&mut self, features: &FeatureVector) -> Vec<ClassOutput> {
        let mut out = Vec::new();
        if self.model.infer(&features.values, &mut out).is_err() {
            return Vec::new();
        }
        let threshold = self.threshold;
        out.into_iter().map(|value| ClassOutput { class: Class::Anomaly, value, threshold }).collect()
    }

    fn stats(&self) -> DetectorStats {
        self.stats
    }

    fn model(&self) -> Option<ModelInfo> {
        Some(self.model.info().clone())
    }
}
