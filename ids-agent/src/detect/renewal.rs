//! What a running engine may be told anew between two ticks: lists, thresholds, detectors. Flows, windows and open
//! incidents stay as they are.

use std::collections::BTreeMap;

use super::{Detector, DetectorStats, Witness, saved::SavedPart};
use crate::config::{FuseSettings, SidThreshold};

/// Other rules for an engine.
pub struct Renewal {
    /// Its allow list, its feedback and its time of deduplication hold from now on, ends on the axis of the source.
    pub fuse: FuseSettings,
    pub thresholds: Vec<SidThreshold>,
    /// The detectors in their order.
    pub detectors: Vec<Renewed>,
}

/// Where a detector of a renewed engine comes from.
pub enum Renewed {
    /// It is the one at this place now.
    Kept(usize),
    /// It takes over what the one of the same state's name saves.
    New(Box<dyn Detector>),
}

/// What detectors that were replaced have counted: totals go on.
#[derive(Default)]
pub(super) struct Retired {
    stats: BTreeMap<Witness, DetectorStats>,
}

impl Retired {
    fn add(&mut self, detector: &dyn Detector) {
        let gone = detector.stats();
        let sum = self.stats.entry(detector.witness()).or_default();
        sum.judged += gone.judged;
        sum.findings += gone.findings;
        sum.abstained += gone.abstained;
        sum.failed += gone.failed;
        sum.forgotten += gone.forgotten;
    }

    /// Adds them to the first detector of each witness, and names witnesses that are no more.
    pub(super) fn add_to(&self, stats: &mut Vec<(Witness, DetectorStats)>) {
        for (witness, gone) in &self.stats {
            match stats.iter_mut().find(|(other, _)| other == witness) {
                Some((_, now)) => {
                    now.judged += gone.judged;
                    now.findings += gone.findings;
                    now.abstained += gone.abstained;
                    now.failed += gone.failed;
                    now.forgotten += gone.forgotten;
                }
                None => stats.push((*witness, *gone)),
            }
        }
    }
}

/// Puts detectors together out of those at work and new ones. Gives them with the places of the new ones.
pub(super) fn put_together(
    at_work: Vec<Box<dyn Detector>>,
    wanted: Vec<Renewed>,
    retired: &mut Retired,
) -> (Vec<Box<dyn Detector>>, Vec<usize>) {
    let mut at_work: Vec<Option<Box<dyn Detector>>> = at_work.into_iter().map(Some).collect();
    let (mut detectors, mut fresh) = (Vec::new(), Vec::new());
    for one in wanted {
        match one {
            Renewed::Kept(at) => detectors.extend(at_work.get_mut(at).and_then(Option::take)),
            Renewed::New(detector) => {
                fresh.push(detectors.len());
                detectors.push(detector);
            }
        }
    }
    at_work.iter().flatten().for_each(|gone| retired.add(gone.as_ref()));
    (detectors, fresh)
}

/// The parts that new detectors can take over.
pub(super) fn parts_for(saved: Vec<SavedPart>, detectors: &[Box<dyn Detector>], fresh: &[usize]) -> Vec<SavedPart> {
    let wanted = |part: &SavedPart| {
        let takes = |at: &usize| detectors.get(*at).and_then(|detector| detector.state_name()) == Some(&part.name);
        fresh.iter().any(takes)
    };
    saved.into_iter().filter(wanted).collect()
}
