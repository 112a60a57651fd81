//! The classifier as a witness: names a class where its probability is above the class's threshold, calls a flow
//! unusual where only an attack of some class is sure, and abstains otherwise.

use super::{Inference, Model, ModelError, ModelFiles, ModelKind};
use crate::{
    detect::{Class, ClassOutput, Detector, DetectorStats, Finding, Judged, ModelInfo, Severity, Subject, Witness},
    features::{FEATURES, FeatureVector},
};

/// Findings explained in one tick; a flood of look-alikes needs no more, and each costs a batch.
const EXPLAINED_PER_TICK_MAX: usize = 4;

/// Judges single flows by their features.
pub struct Classifier {
    model: Model,
    stats: DetectorStats,
    matrix: Vec<f32>,
    probabilities: Vec<f32>,
    /// The last sentence, with what it says: in a flood the next one is the same.
    sentence: (Class, f32, String),
}

impl Classifier {
    pub fn new(files: &ModelFiles, inference: &Inference, rows_max: usize) -> Result<Self, ModelError> {
        let model = Model::new(files, inference, rows_max)?;
        match model.manifest().kind {
            ModelKind::Classifier => {
                let (stats, sentence) = (DetectorStats::default(), (Class::Benign, -1.0, String::new()));
                Ok(Self { model, stats, matrix: Vec::new(), probabilities: Vec::new(), sentence })
            }
            ModelKind::Autoencoder => Err(ModelError::Kind { found: "an autoencoder", expected: "a classifier" }),
        }
    }

    /// What `probabilities`, one for each class, let it say.
    fn decide(&self, probabilities: &[f32]) -> Decision {
        let manifest = self.model.manifest();
        let Some((benign, claims)) = probabilities.split_first() else { return Decision::Benign };
        let entries = manifest.class.iter().skip(1);
        let best = claims.iter().zip(entries).enumerate().max_by(|a, b| a.1.0.total_cmp(b.1.0));
        let Some((at, (score, entry))) = best else { return Decision::Benign };
        if *score >= entry.threshold {
            return Decision::Says(Said { column: at + 1, class: entry.name, score: *score });
        }
        let attack = 1.0 - benign;
        if manifest.attack_threshold.is_some_and(|threshold| attack >= threshold) {
            return Decision::Says(Said { column: 0, class: Class::Anomaly, score: attack });
        }
        if benign >= score { Decision::Benign } else { Decision::Abstains }
    }

    fn reason(&mut self, class: Class, score: f32) -> String {
        let (last_class, last_score, sentence) = &mut self.sentence;
        if (*last_class, *last_score) != (class, score) {
            *sentence = format!("the flow's statistics are those of {} with probability {score:.3}", phrase(class));
            (*last_class, *last_score) = (class, score);
        }
        sentence.clone()
    }

    fn finding(&mut self, flow: &Judged<'_>, said: &Said, explain: bool) -> Finding {
        let Said { column, class, score } = *said;
        let against_benign: fn(f32) -> f32 = |benign| -log_odds(benign);
        let strength = if class == Class::Anomaly { against_benign } else { log_odds };
        let evidence = if explain { self.model.explain(&flow.features.values, column, strength) } else { Vec::new() };
        Finding {
            witness: Witness::Classifier,
            class,
            kind: KIND,
            score,
            severity: severity(class),
            subject: Subject::Flow { id: flow.record.id },
            exemplar: flow.record.key,
            exemplar_id: flow.record.id,
            first_ns: flow.record.start_ns,
            last_ns: flow.record.end_ns,
            reason: self.reason(class, score),
            evidence,
            matched: None,
        }
    }
}

/// The kind of all findings of the classifier.
const KIND: &str = "flow_statistics";

enum Decision {
    Benign,
    Says(Said),
    Abstains,
}

struct Said {
    /// The output that was believed.
    column: usize,
    class: Class,
    score: f32,
}

impl Detector for Classifier {
    fn witness(&self) -> Witness {
        Witness::Classifier
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
        let mut probabilities = std::mem::take(&mut self.probabilities);
        if self.model.infer(&self.matrix, &mut probabilities).is_err() {
            self.stats.failed += flows.len() as u64;
            probabilities.clear();
        }
        let mut explained = 0;
        for (flow, row) in flows.iter().zip(probabilities.chunks(self.model.manifest().class.len().max(1))) {
            match self.decide(row) {
                Decision::Benign => {}
                Decision::Abstains => self.stats.abstained += 1,
                Decision::Says(said) => {
                    self.stats.findings += 1;
                    let explain = explained < EXPLAINED_PER_TICK_MAX;
                    explained += usize::from(explain);
                    findings.push(self.finding(flow, &said, explain));
                }
            }
        }
        self.probabilities = probabilities;
    }

    fn outputs(&mut self, features: &FeatureVector) -> Vec<ClassOutput> {
        let mut out = Vec::new();
        if self.model.infer(&features.values, &mut out).is_err() {
            return Vec::new();
        }
        let classes = out.iter().zip(&self.model.manifest().class);
        classes
            .map(|(value, entry)| ClassOutput { class: entry.name, value: *value, threshold: entry.threshold })
            .collect()
    }

    fn stats(&self) -> DetectorStats {
        self.stats
    }

    fn model(&self) -> Option<ModelInfo> {
        Some(self.model.info().clone())
    }
}

/// Probabilities near 1 hardly move when a feature is taken away; their log-odds do.
fn log_odds(probability: f32) -> f32 {
    let p = probability.clamp(1e-7, 1.0 - 1e-6);
    (p / (1.0 - p)).ln()
}

/// One flow alone is seldom proof; a second witness raises it in `fuse`.
fn severity(class: Class) -> Severity {
    match class {
        Class::C2 | Class::Exploit | Class::Exfiltration | Class::Infiltration => Severity::Medium,
        Class::Flood | Class::AppDos | Class::BruteForce | Class::DnsTunnel | Class::WebAttack => Severity::Medium,
        Class::PortScan => Severity::Low,
        Class::Anomaly | Class::Benign => Severity::Info,
    }
}

fn phrase(class: Class) -> &'static str {
    match class {
        Class::Benign => "ordinary traffic",
        Class::PortScan => "a port scan",
        Class::Flood => "a flood",
        Class::AppDos => "a denial of service against an application",
        Class::BruteForce => "password guessing",
        Class::WebAttack => "a web attack",
        Class::C2 => "a bot that talks to its controller",
        Class::DnsTunnel => "a tunnel in DNS",
        Class::Exfiltration => "data being carried out",
        Class::Exploit => "an exploit",
        Class::Infiltration => "an intruder at work",
        Class::Anomaly => "an attack that it cannot name",
    }
}
