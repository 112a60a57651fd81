//! Judges stored evidence a second time: what comes out must be what was stored.

use serde::Serialize;

use super::document::{Document, ExhibitRecord, ModelRecord, OutputRecord};
use crate::{
    alert,
    detect::{Detector, fuse},
    payload,
};

/// How far a number may be from the stored one, beside its own size: another processor rounds otherwise.
const TOLERANCE: f64 = 1e-4;

/// One thing that was looked at again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    pub what: String,
    pub outcome: Outcome,
    /// What was found, in words.
    pub found: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Same,
    Differs,
    /// It could not be done again; the stored value stands.
    NotChecked,
}

impl Outcome {
    pub const fn label(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Differs => "DIFFERS",
            Self::NotChecked => "not checked",
        }
    }
}

/// Looks at everything again that can be: the seal, the joint confidence, each model and the payload. `detectors` are those
/// of the models at hand; `why_none` says why there are none.
pub fn check(document: &Document, detectors: &mut [Box<dyn Detector>], why_none: Option<&str>) -> Vec<Check> {
    let mut checks = vec![seal(document), confidence(document)];
    let Some(exhibit) = &document.exhibit else {
        checks.push(Check {
            what: "vector and samples".to_owned(),
            outcome: Outcome::NotChecked,
            found: "none were kept: the example's flow was no longer at hand".to_owned(),
        });
        return checks;
    };
    checks.extend(exhibit.models.iter().map(|stored| model(exhibit, stored, detectors, why_none)));
    checks.push(samples(exhibit));
    checks
}

fn seal(document: &Document) -> Check {
    let whole = document.is_sealed();
    Check {
        what: "seal".to_owned(),
        outcome: if whole { Outcome::Same } else { Outcome::Differs },
        found: if whole { "as it was written" } else { "it was changed after it was written" }.to_owned(),
    }
}

/// The witnesses' scores, joined again.
fn confidence(document: &Document) -> Check {
    let found = f64::from(fuse::confidence(&document.witness_scores(), document.pattern.class));
    Check {
        what: "joint confidence".to_owned(),
        outcome: if is_near(found, document.confidence) { Outcome::Same } else { Outcome::Differs },
        found: format!("{found:.4}, stored {:.4}", document.confidence),
    }
}

fn model(
    exhibit: &ExhibitRecord,
    stored: &ModelRecord,
    detectors: &mut [Box<dyn Detector>],
    why_none: Option<&str>,
) -> Check {
    let what = format!("{} `{}` {}", stored.witness, stored.name, stored.version);
    let not_checked = |why: String| Check {
        what: what.clone(),
        outcome: Outcome::NotChecked,
        found: format!("{why}; stored: {}", said(&stored.outputs)),
    };
    let Some(vector) = exhibit.vector() else {
        return not_checked("the vector is of another feature schema than this agent's".to_owned());
    };
    let witness = |detector: &&mut Box<dyn Detector>| detector.witness().name() == stored.witness;
    let Some(detector) = detectors.iter_mut().find(witness) else {
        return not_checked(why_none.unwrap_or("no such model is at hand").to_owned());
    };
    let hash = detector.model().map(|model| model.sha256.as_ref().to_owned()).unwrap_or_default();
    if hash != stored.sha256 {
        return not_checked(format!("the model at hand is another one ({})", hash.get(..12).unwrap_or(&hash)));
    }
    let found: Vec<OutputRecord> = detector.outputs(&vector).iter().map(OutputRecord::of).collect();
    let same = found.len() == stored.outputs.len()
        && found.iter().zip(&stored.outputs).all(|(a, b)| a.class == b.class && is_near(a.value, b.value));
    if same {
        Check { what, outcome: Outcome::Same, found: said(&found) }
    } else {
        Check { what, outcome: Outcome::Differs, found: format!("{}, stored: {}", said(&found), said(&stored.outputs)) }
    }
}

/// The strongest output, and whether the model says it aloud.
fn said(outputs: &[OutputRecord]) -> String {
    match outputs.iter().max_by(|a, b| a.value.total_cmp(&b.value)) {
        None => "no output".to_owned(),
        Some(best) => {
            let aloud = if best.value >= best.threshold { "at or above" } else { "below" };
            format!("{} {:.4}, {aloud} its threshold {:.4}", best.class.name(), best.value, best.threshold)
        }
    }
}

/// The samples, read again.
fn samples(exhibit: &ExhibitRecord) -> Check {
    let what = "payload".to_owned();
    if exhibit.packets.is_empty() {
        let found = "no payload was sampled, or it was let go before the alert".to_owned();
        return Check { what, outcome: Outcome::NotChecked, found };
    }
    let samples = exhibit.samples();
    let bytes: usize = samples.iter().map(|sample| sample.bytes.len()).sum();
    let facts = alert::facts(&payload::read(&exhibit.key(), &samples, exhibit.string_bytes_max));
    let same = facts == exhibit.payload && samples.len() == exhibit.packets.len();
    let found =
        format!("{} packets with {bytes} bytes say {}", samples.len(), if same { "the same" } else { "otherwise" });
    Check { what, outcome: if same { Outcome::Same } else { Outcome::Differs }, found }
}

fn is_near(found: f64, stored: f64) -> bool {
    (found - stored).abs() <= TOLERANCE * stored.abs().max(1.0)
}
