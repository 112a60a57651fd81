//! What is unusual: by the autoencoder, which was fitted on benign flows of many networks, and by each device's own
//! past once that is known. It says "unusual", never what it is, and never more than low severity.

use std::net::IpAddr;

use serde::Serialize;

use super::{
    Class, ClassOutput, Detector, DetectorStats, Finding, Judged, ModelInfo, Severity, StateError, Subject, Witness,
    model::{Inference, Model, ModelError, ModelFiles, ModelKind},
    saved::{AxisShift, Saved, SavedPart, Saver},
};
use crate::{
    budget::{Effort, Sense, Share},
    config::SiteSettings,
    features::{FEATURES, FeatureVector},
};

mod baseline;
mod device;
mod habits;
mod lesson;
mod say;
#[cfg(test)]
mod tests;
mod votes;

use baseline::{Baseline, Opinion, Unusual};
use device::Quantity;
use lesson::Lesson;
use votes::Standing;

/// Findings explained in one tick.
const EXPLAINED_PER_TICK_MAX: usize = 2;
/// Without a past to judge by, the error has to be so many thresholds: networks differ more than devices.
const CAUTION: f32 = 1.5;
/// The error, in thresholds, from which an unusual flow is of low severity instead of a mere note.
const LOW_FROM: f32 = 4.0;
/// The weight of oddities from which a flow that is unusual for its device is.
const LOW_FROM_WEIGHT: u32 = 3;
/// Names the layout of the saved state.
pub const STATE: &str = "device_baselines/1";

/// Which side of a flow a device is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Role {
    Client,
    Server,
}

pub struct Anomaly {
    model: Model,
    memory: Memory,
    stats: DetectorStats,
    learning: Learning,
    matrix: Vec<f32>,
    errors: Vec<f32>,
}

impl Anomaly {
    pub fn new(
        files: &ModelFiles,
        inference: &Inference,
        rows_max: usize,
        site: &SiteSettings,
    ) -> Result<Self, ModelError> {
        let model = Model::new(files, inference, rows_max)?;
        match (model.manifest().kind, model.manifest().threshold) {
            (ModelKind::Autoencoder, Some(threshold)) => Ok(Self {
                memory: Memory::new(site, threshold, &model.info().sha256),
                model,
                stats: DetectorStats::default(),
                learning: Learning::Goes,
                matrix: Vec::new(),
                errors: Vec::new(),
            }),
            (ModelKind::Autoencoder | ModelKind::Classifier, _) => {
                Err(ModelError::Kind { found: "a classifier", expected: "an autoencoder" })
            }
        }
    }

    fn finding(&mut self, flow: &Judged<'_>, said: Said, explain: bool) -> Finding {
        let mut evidence = match &said {
            Said::ForAll { .. } => Vec::new(),
            Said::ForDevice(unusual) => say::evidence(unusual),
        };
        if explain {
            evidence.extend(self.model.explain(&flow.features.values, 0, |error| error));
        }
        said.into_finding(flow, evidence)
    }
}

/// Whether devices are learned from what is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Learning {
    Goes,
    /// A share of the flows says nothing of how many there usually are.
    Rests,
}

/// What is unusual about a flow, and by which measure.
#[derive(Clone, Debug, PartialEq)]
enum Said {
    /// By what holds for everybody: the error, in thresholds.
    ForAll { error: f32, times: f32 },
    /// By its device's own past.
    ForDevice(Unusual),
}

impl Said {
    fn into_finding(self, flow: &Judged<'_>, evidence: Vec<super::Evidence>) -> Finding {
        let (kind, score, low, reason) = match self {
            Self::ForAll { error, times } => (
                "unusual_flow",
                // 0.5 at the threshold, towards 1 above it.
                1.0 - 0.5 / times.max(1.0),
                times >= LOW_FROM,
                format!(
                    "the flow is unlike benign traffic: reconstruction error {error:.3}, {times:.1} times the threshold"
                ),
            ),
            Self::ForDevice(unusual) => (
                "unusual_for_device",
                // 0.5 where it is just worth a word, towards 1 with each further oddity.
                1.0 - 1.0 / unusual.weight.max(2) as f32,
                unusual.weight >= LOW_FROM_WEIGHT,
                say::sentence(&unusual),
            ),
        };
        Finding {
            witness: Witness::Anomaly,
            class: Class::Anomaly,
            kind,
            score,
            severity: if low { Severity::Low } else { Severity::Info },
            subject: Subject::Flow { id: flow.record.id },
            exemplar: flow.record.key,
            exemplar_id: flow.record.id,
            first_ns: flow.record.start_ns,
            last_ns: flow.record.end_ns,
            reason,
            evidence,
            matched: None,
        }
    }
}

/// All that is remembered between flows, apart from the model.
struct Memory {
    site: SiteSettings,
    threshold: f32,
    /// The model whose errors are learned.
    model_sha256: String,
    baseline: Baseline,
}

impl Memory {
    fn new(site: &SiteSettings, threshold: f32, model_sha256: &str) -> Self {
        Self {
            site: site.clone(),
            threshold,
            model_sha256: model_sha256.to_owned(),
            baseline: Baseline::new(site, threshold),
        }
    }

    /// Takes in a flow with its error, and says what is unusual about it.
    fn see(&mut self, flow: &Judged<'_>, error: f32, learning: Learning) -> Option<Said> {
        let lesson = Lesson::of(flow, error);
        if learning == Learning::Goes {
            self.baseline.advance(&lesson);
            if flow.record.is_ended() {
                self.baseline.ended(&lesson);
            }
        }
        match self.baseline.opinion(&lesson) {
            Opinion::None => {
                let times = error / self.threshold;
                (times >= CAUTION).then_some(Said::ForAll { error, times })
            }
            Opinion::Usual => None,
            Opinion::Unusual(unusual) => {
                self.baseline.told(&unusual);
                Some(Said::ForDevice(unusual))
            }
        }
    }

    fn save(&self, out: &mut Vec<u8>) {
        let mut saver = Saver::new(out);
        saver.text(&self.model_sha256);
        self.baseline.save(&mut saver);
    }

    fn restore(&mut self, bytes: &[u8], shift: AxisShift) -> Result<(), StateError> {
        let mut saved = Saved::new(STATE, bytes);
        let same_model = saved.text(256)? == self.model_sha256;
        let mut baseline = Baseline::new(&self.site, self.threshold);
        baseline.restore(&mut saved, shift)?;
        saved.end()?;
        if !same_model {
            baseline.forget_errors();
        }
        self.baseline = baseline;
        Ok(())
    }
}

/// One device as its saved past describes it, for people.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DeviceLine {
    pub address: IpAddr,
    /// `client` or `server`.
    pub role: &'static str,
    /// Whether it is judged by its own past.
    pub known: bool,
    /// Hours of activity and flows learned from.
    pub hours: u32,
    pub flows: u64,
    /// When it was seen last, on the axis of the run that saved; before its zero it is zero.
    pub last_ns: u64,
    /// What it speaks, the usual first: `443/tcp`.
    pub services: Vec<String>,
    /// What its largest flow of an hour usually sends, and beyond how much that is unusual.
    pub sent_bytes: f64,
    pub sent_bytes_limit: f64,
    /// Its peers in an hour, likewise.
    pub peers: f64,
    pub peers_limit: f64,
}

/// The devices in a saved state, by address; they count as known by the settings of `site`.
pub fn devices_of(part: &SavedPart, site: &SiteSettings) -> Result<Vec<DeviceLine>, StateError> {
    let mut saved = Saved::new(STATE, &part.bytes);
    if part.name != STATE {
        return Err(saved.refuse("it is of another layout"));
    }
    saved.text(256)?;
    let mut baseline = Baseline::new(site, 1.0);
    baseline.restore(&mut saved, AxisShift::NONE)?;
    saved.end()?;
    let mut lines: Vec<DeviceLine> = baseline
        .devices()
        .map(|(key, device, standing)| {
            let usual = |quantity: Quantity| {
                let votes = device.votes(quantity);
                (votes::quantity(votes.quantile(0.5)), votes::quantity(votes.limit()))
            };
            let ((sent_bytes, sent_bytes_limit), (peers, peers_limit)) =
                (usual(Quantity::Sent), usual(Quantity::Peers));
            DeviceLine {
                address: say::shown(key.address),
                role: match key.role {
                    Role::Client => "client",
                    Role::Server => "server",
                },
                known: standing == Standing::Known,
                hours: device.hours,
                flows: device.flows,
                last_ns: u64::try_from(device.last_ns).unwrap_or(0),
                services: device.habits().ports().into_iter().map(say::service).collect(),
                sent_bytes,
                sent_bytes_limit,
                peers,
                peers_limit,
            }
        })
        .collect();
    lines.sort_by_key(|line| (line.address, line.role));
    Ok(lines)
}

impl Detector for Anomaly {
    fn witness(&self) -> Witness {
        Witness::Anomaly
    }

    fn judge(&mut self, flows: &[Judged<'_>], now_ns: u64, findings: &mut Vec<Finding>) {
        if flows.is_empty() {
            self.memory.baseline.idle(now_ns);
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
            let Some(said) = self.memory.see(flow, *error, self.learning) else { continue };
            self.stats.findings += 1;
            let explain = explained < EXPLAINED_PER_TICK_MAX;
            explained += usize::from(explain);
            findings.push(self.finding(flow, said, explain));
        }
        self.errors = errors;
    }

    fn ease(&mut self, effort: Effort) {
        let whole = effort.level.rung().share(Sense::Anomaly) == Share::All;
        self.learning = if whole { Learning::Goes } else { Learning::Rests };
    }

    fn learn(&mut self, findings: &[Finding]) {
        self.memory.baseline.suspect(findings);
    }

    fn outputs(&mut self, features: &FeatureVector) -> Vec<ClassOutput> {
        let mut out = Vec::new();
        if self.model.infer(&features.values, &mut out).is_err() {
            return Vec::new();
        }
        let threshold = self.memory.threshold;
        out.into_iter().map(|value| ClassOutput { class: Class::Anomaly, value, threshold }).collect()
    }

    fn stats(&self) -> DetectorStats {
        let (devices_learning, devices_known) = self.memory.baseline.standings();
        DetectorStats { devices_learning, devices_known, forgotten: self.memory.baseline.forgotten(), ..self.stats }
    }

    fn state_name(&self) -> Option<&'static str> {
        Some(STATE)
    }

    fn save(&self, _now_ns: u64, out: &mut Vec<u8>) {
        self.memory.save(out);
    }

    fn restore(&mut self, saved: &[u8], shift: AxisShift) -> Result<(), StateError> {
        self.memory.restore(saved, shift)
    }

    fn model(&self) -> Option<ModelInfo> {
        Some(self.model.info().clone())
    }
}
