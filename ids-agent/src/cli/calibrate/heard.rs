//! What the witnesses said of a site's flows, flow by flow, and who has to be left out of it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    config::Measure,
    detect::{Class, Detector, DetectorStats, Finding, Judged, Severity, Subject, Witness, forward_to_inner, site},
};

/// Notes kept; a site of which more is said is under attack.
const NOTES_MAX: usize = 200_000;
/// Who looked like attacking, at most.
const SUSPECTS_MAX: usize = 4_096;
/// How far around conduct that looks like an attack nothing is learned.
const AROUND_NS: u64 = 600_000_000_000;

/// One thing that was said of one flow.
#[derive(Clone, Copy, Debug)]
struct Note {
    topic: Topic,
    flow: u64,
    value: f64,
    ends: [[u8; 16]; 2],
    span: [u64; 2],
}

/// Findings with one threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Topic {
    pub(super) witness: Witness,
    pub(super) class: Class,
    pub(super) kind: &'static str,
}

/// Conduct that looked like an attack.
#[derive(Clone, Debug)]
pub(super) struct Suspect {
    source: Option<[u8; 16]>,
    target: Option<[u8; 16]>,
    span: [u64; 2],
    pub(super) class: Class,
    pub(super) reason: String,
    pub(super) findings: u64,
}

/// All of it, bounded.
#[derive(Debug, Default)]
pub(super) struct Heard {
    notes: Vec<Note>,
    suspects: Vec<Suspect>,
    /// Whether there was more than is kept.
    pub(super) overflowed: bool,
}

impl Heard {
    fn hear(&mut self, finding: &Finding) {
        let grave = match (finding.witness, finding.severity) {
            (
                Witness::Behaviour | Witness::Payload | Witness::Intel | Witness::Signature,
                Severity::High | Severity::Medium,
            ) => true,
            (Witness::Classifier | Witness::Anomaly, _) | (_, Severity::Low | Severity::Info) => false,
        };
        if grave {
            self.suspect(finding);
            return;
        }
        if self.notes.len() >= NOTES_MAX {
            self.overflowed = true;
            return;
        }
        self.notes.push(Note {
            topic: Topic { witness: finding.witness, class: finding.class, kind: finding.kind },
            flow: finding.exemplar_id,
            value: site::measured(site::measure_of(finding.witness), finding),
            ends: [finding.exemplar.src, finding.exemplar.dst],
            span: [finding.first_ns, finding.last_ns],
        });
    }

    fn suspect(&mut self, finding: &Finding) {
        let key = &finding.exemplar;
        let (source, target) = match finding.subject {
            Subject::Flow { .. } => (Some(key.src), Some(key.dst)),
            Subject::Source { src } => (Some(src), None),
            Subject::Target { dst } => (None, Some(dst)),
            Subject::Pair { src, dst } | Subject::Service { src, dst, .. } => (Some(src), Some(dst)),
        };
        let same =
            |known: &&mut Suspect| known.source == source && known.target == target && known.class == finding.class;
        if let Some(known) = self.suspects.iter_mut().find(same) {
            known.span = [known.span[0].min(finding.first_ns), known.span[1].max(finding.last_ns)];
            known.findings += 1;
        } else if self.suspects.len() >= SUSPECTS_MAX {
            self.overflowed = true;
        } else {
            self.suspects.push(Suspect {
                source,
                target,
                span: [finding.first_ns, finding.last_ns],
                class: finding.class,
                reason: finding.reason.clone(),
                findings: 1,
            });
        }
    }

    pub(super) fn suspects(&self) -> &[Suspect] {
        &self.suspects
    }

    /// Whether a flow between `ends` at that time is to or from who looked like attacking, or to who looked attacked.
    pub(super) fn is_left_out(&self, ends: [[u8; 16]; 2], span: [u64; 2]) -> bool {
        self.suspects.iter().any(|suspect| {
            let near = span[0] <= suspect.span[1].saturating_add(AROUND_NS)
                && span[1].saturating_add(AROUND_NS) >= suspect.span[0];
            let source = suspect.source.is_none_or(|source| ends.contains(&source));
            let target = suspect.target.is_none_or(|target| ends.contains(&target));
            near && source && target
        })
    }

    /// For each topic, the largest value that was said of each flow that is not left out, in falling order.
    pub(super) fn values(&self) -> BTreeMap<Topic, Vec<f64>> {
        let mut flows: BTreeMap<(Topic, u64), f64> = BTreeMap::new();
        for note in self.notes.iter().filter(|note| !self.is_left_out(note.ends, note.span)) {
            let most = flows.entry((note.topic, note.flow)).or_insert(note.value);
            *most = most.max(note.value);
        }
        let mut values: BTreeMap<Topic, Vec<f64>> = BTreeMap::new();
        for ((topic, _), value) in flows {
            values.entry(topic).or_default().push(value);
        }
        for of_topic in values.values_mut() {
            of_topic.sort_by(|a, b| b.total_cmp(a));
        }
        values
    }
}

/// The largest floors: beyond them a threshold would be as good as switched off.
const TIMES_MAX: f64 = 10.0;

/// A floor above all but `allowed` of `values`, which fall, with some room; none where none is needed.
pub(super) fn floor(measure: Measure, values: &[f64], allowed: usize) -> Option<f64> {
    let first_too_many = *values.get(allowed)?;
    Some(match measure {
        // A quarter of the way from there to certainty.
        Measure::Score => (first_too_many + (1.0 - first_too_many) * 0.25).clamp(0.0, 1.0),
        // A quarter more.
        Measure::Times => (first_too_many.max(1.0) * 1.25).min(TIMES_MAX),
    })
}

/// A detector whose findings are noted.
pub(super) struct Noted {
    inner: Box<dyn Detector>,
    heard: Arc<Mutex<Heard>>,
}

impl Noted {
    pub(super) fn new(inner: Box<dyn Detector>, heard: &Arc<Mutex<Heard>>) -> Self {
        Self { inner, heard: Arc::clone(heard) }
    }
}

impl Detector for Noted {
    forward_to_inner!();

    fn judge(&mut self, flows: &[Judged<'_>], now_ns: u64, findings: &mut Vec<Finding>) {
        let before = findings.len();
        self.inner.judge(flows, now_ns, findings);
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        for finding in findings.iter().skip(before) {
            heard.hear(finding);
        }
    }

    fn stats(&self) -> DetectorStats {
        self.inner.stats()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fabricated::{SEC, host, key};

    fn finding(witness: Witness, severity: Severity, from: u8, score: f32, flow: u64, at_ns: u64) -> Finding {
        let exemplar = key(host(0, 0, from), 1, host(0, 0, 99), 22, 6);
        Finding {
            witness,
            class: Class::BruteForce,
            kind: "ssh",
            score,
            severity,
            subject: Subject::Source { src: exemplar.src },
            exemplar,
            exemplar_id: flow,
            first_ns: at_ns,
            last_ns: at_ns,
            reason: "guesses".to_owned(),
            evidence: Vec::new(),
            matched: None,
        }
    }

    #[test]
    fn each_flow_counts_once_by_the_most_that_was_said_of_it() {
        let mut heard = Heard::default();
        for (flow, score) in [(1, 0.9), (1, 0.95), (2, 0.7), (1, 0.6)] {
            heard.hear(&finding(Witness::Classifier, Severity::Medium, 1, score, flow, SEC));
        }
        let values: Vec<Vec<f64>> = heard.values().into_values().collect();
        assert_eq!(values, [vec![f64::from(0.95f32), f64::from(0.7f32)]]);
    }

    #[test]
    fn what_is_said_around_an_attack_is_left_out_and_the_attack_is_named() {
        let mut heard = Heard::default();
        heard.hear(&finding(Witness::Classifier, Severity::Medium, 1, 0.9, 1, 100 * SEC));
        heard.hear(&finding(Witness::Classifier, Severity::Medium, 2, 0.8, 2, 100 * SEC));
        heard.hear(&finding(Witness::Classifier, Severity::Medium, 1, 0.7, 3, 9_000 * SEC));
        heard.hear(&finding(Witness::Behaviour, Severity::High, 1, 1.0, 4, 200 * SEC));
        heard.hear(&finding(Witness::Behaviour, Severity::High, 1, 1.0, 5, 210 * SEC));
        let values: Vec<Vec<f64>> = heard.values().into_values().collect();
        assert_eq!(values, [vec![f64::from(0.8f32), f64::from(0.7f32)]], "another source, and long after");
        assert_eq!(heard.suspects().len(), 1);
        assert_eq!((heard.suspects()[0].findings, heard.suspects()[0].reason.as_str()), (2, "guesses"));
        assert!(heard.is_left_out([host(0, 0, 1), host(0, 0, 7)], [300 * SEC, 301 * SEC]));
        assert!(!heard.is_left_out([host(0, 0, 3), host(0, 0, 7)], [300 * SEC, 301 * SEC]));
    }

    #[test]
    fn a_floor_lies_above_all_but_the_allowed() {
        let values = [0.98, 0.92, 0.9];
        assert_eq!(floor(Measure::Score, &values, 3), None);
        let one = floor(Measure::Score, &values, 1).unwrap_or_default();
        assert!(one > 0.92 && one < 0.98, "{one}");
        let none = floor(Measure::Score, &values, 0).unwrap_or_default();
        assert!(none > 0.98 && none < 1.0, "{none}");
        assert_eq!(floor(Measure::Times, &[3.0], 0), Some(3.75));
        assert_eq!(floor(Measure::Times, &[300.0], 0), Some(TIMES_MAX));
    }

    #[test]
    fn notes_are_bounded() {
        let mut heard = Heard::default();
        let said = finding(Witness::Anomaly, Severity::Info, 1, 0.5, 1, 0);
        for _ in 0..=NOTES_MAX {
            heard.hear(&said);
        }
        assert!(heard.overflowed && heard.notes.len() == NOTES_MAX);
    }
}
