//! Thresholds of the site: what calibration found to be ordinary here is not told. Raises alone; what it silences is
//! counted as abstained.

use super::{Class, Detector, DetectorStats, Finding, Judged, Severity, Witness, forward_to_inner};
use crate::config::{Measure, SiteFloor};

/// A threshold that is higher here than elsewhere.
#[derive(Clone, Debug, PartialEq)]
pub struct Floor {
    witness: Witness,
    class: Class,
    kind: String,
    measure: Measure,
    floor: f64,
}

impl Floor {
    /// None where the file names a witness or a class that there is not.
    pub fn of(site: &SiteFloor) -> Option<Self> {
        let witness = Witness::ALL.into_iter().find(|witness| witness.name() == site.witness)?;
        let class = Class::from_name(&site.class)?;
        Some(Self { witness, class, kind: site.kind.clone(), measure: site.measure, floor: site.floor })
    }

    fn silences(&self, finding: &Finding) -> bool {
        let concerns = self.witness == finding.witness && self.class == finding.class && self.kind == finding.kind;
        let spared = match (self.measure, finding.severity) {
            (Measure::Score, _) | (Measure::Times, Severity::Low | Severity::Info) => false,
            (Measure::Times, Severity::High | Severity::Medium) => true,
        };
        concerns && !spared && measured(self.measure, finding) < self.floor
    }
}

/// The value of a finding that a floor is held against.
pub fn measured(measure: Measure, finding: &Finding) -> f64 {
    match measure {
        Measure::Score => f64::from(finding.score),
        Measure::Times => match finding.evidence.first() {
            Some(first) if first.normal_high > 0.0 => first.value / first.normal_high,
            Some(_) | None => 1.0,
        },
    }
}

/// What a witness's findings are held against: models give scores, the others count.
pub const fn measure_of(witness: Witness) -> Measure {
    match witness {
        Witness::Classifier | Witness::Anomaly | Witness::Signature => Measure::Score,
        Witness::Behaviour | Witness::Payload | Witness::Intel => Measure::Times,
    }
}

/// A detector at this site.
pub struct Calibrated {
    inner: Box<dyn Detector>,
    floors: Vec<Floor>,
    silenced: u64,
}

impl Calibrated {
    /// `inner` under those of `floors` that concern it.
    pub fn new(inner: Box<dyn Detector>, floors: &[Floor]) -> Self {
        let witness = inner.witness();
        let floors = floors.iter().filter(|floor| floor.witness == witness).cloned().collect();
        Self { inner, floors, silenced: 0 }
    }
}

impl Detector for Calibrated {
    forward_to_inner!();

    fn judge(&mut self, flows: &[Judged<'_>], now_ns: u64, findings: &mut Vec<Finding>) {
        let mut ours = Vec::new();
        self.inner.judge(flows, now_ns, &mut ours);
        let found = ours.len();
        ours.retain(|finding| !self.floors.iter().any(|floor| floor.silences(finding)));
        self.silenced += (found - ours.len()) as u64;
        findings.append(&mut ours);
    }

    fn stats(&self) -> DetectorStats {
        let stats = self.inner.stats();
        DetectorStats {
            findings: stats.findings.saturating_sub(self.silenced),
            abstained: stats.abstained + self.silenced,
            ..stats
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        detect::{Evidence, Subject},
        fabricated::{host, key},
    };

    /// Says the same each tick.
    struct Says(Finding);

    impl Detector for Says {
        fn witness(&self) -> Witness {
            self.0.witness
        }

        fn judge(&mut self, _flows: &[Judged<'_>], _now_ns: u64, findings: &mut Vec<Finding>) {
            findings.push(self.0.clone());
        }

        fn stats(&self) -> DetectorStats {
            DetectorStats { findings: 1, ..DetectorStats::default() }
        }
    }

    fn finding(witness: Witness, score: f32, times: f64, severity: Severity) -> Finding {
        Finding {
            witness,
            class: Class::PortScan,
            kind: "syn_scan",
            score,
            severity,
            subject: Subject::Source { src: host(0, 0, 1) },
            exemplar: key(host(0, 0, 1), 1, host(0, 0, 2), 2, 6),
            exemplar_id: 1,
            first_ns: 0,
            last_ns: 0,
            reason: String::new(),
            evidence: vec![Evidence {
                feature: "ports_tried",
                value: 12.0 * times,
                normal_low: 0.0,
                normal_high: 12.0,
                unit: "ports",
            }],
            matched: None,
        }
    }

    fn is_told(finding: Finding, measure: Measure, floor: f64) -> bool {
        let site = SiteFloor {
            witness: finding.witness.name().to_owned(),
            class: "port_scan".to_owned(),
            kind: "syn_scan".to_owned(),
            measure,
            was: 0.0,
            floor,
            flows: 0,
            still: 0,
        };
        let floors: Vec<Floor> = Floor::of(&site).into_iter().collect();
        assert_eq!(floors.len(), 1);
        let mut calibrated = Calibrated::new(Box::new(Says(finding)), &floors);
        let mut told = Vec::new();
        calibrated.judge(&[], 0, &mut told);
        assert_eq!(calibrated.stats().findings + calibrated.stats().abstained, 1);
        assert_eq!(calibrated.stats().findings, told.len() as u64);
        !told.is_empty()
    }

    #[test]
    fn a_finding_below_the_sites_floor_is_not_told_and_counted() {
        let scored = |score| finding(Witness::Classifier, score, 1.0, Severity::Medium);
        assert!(!is_told(scored(0.94), Measure::Score, 0.95));
        assert!(is_told(scored(0.96), Measure::Score, 0.95));
        let counted = |times| finding(Witness::Behaviour, 0.9, times, Severity::Low);
        assert!(!is_told(counted(1.9), Measure::Times, 2.0));
        assert!(is_told(counted(2.1), Measure::Times, 2.0));
    }

    #[test]
    fn a_counted_finding_of_medium_severity_is_told_whatever_the_floor() {
        assert!(is_told(finding(Witness::Behaviour, 0.9, 1.0, Severity::Medium), Measure::Times, 100.0));
    }

    #[test]
    fn floors_of_other_kinds_and_witnesses_silence_nothing() {
        let site = SiteFloor {
            witness: "classifier".to_owned(),
            class: "port_scan".to_owned(),
            kind: "flow_statistics".to_owned(),
            measure: Measure::Score,
            was: 0.0,
            floor: 1.0,
            flows: 0,
            still: 0,
        };
        let floors: Vec<Floor> = Floor::of(&site).into_iter().collect();
        for witness in [Witness::Classifier, Witness::Behaviour] {
            let mut told = Vec::new();
            let inner = Box::new(Says(finding(witness, 0.1, 1.0, Severity::Low)));
            Calibrated::new(inner, &floors).judge(&[], 0, &mut told);
            assert_eq!(told.len(), 1);
        }
        assert_eq!(Floor::of(&SiteFloor { witness: "oracle".to_owned(), ..site.clone() }), None);
        assert_eq!(Floor::of(&SiteFloor { class: "mischief".to_owned(), ..site }), None);
    }
}
