//! The line from a batch to an outcome: flows, payload facts, windows, features, witnesses, fusion.

use super::{
    Detector, DetectorStats, Finding, Judged, ModelInfo, Outcome, Witness,
    fuse::{Fuse, FuseStats},
};
use crate::{
    config::{FlowSettings, FuseSettings, PayloadSettings, WindowSettings},
    features::{
        FeatureVector, extract,
        window::{HostWindows, WindowStats},
    },
    flow::{FlowRecord, FlowState, FlowStats, FlowTable},
    payload::{PayloadFacts, PayloadStats, PayloadTable},
    source::Batch,
};

/// What an engine is made of.
pub struct EngineParts {
    pub flow: FlowSettings,
    pub window: WindowSettings,
    pub payload: PayloadSettings,
    pub fuse: FuseSettings,
    /// Asked in this order.
    pub detectors: Vec<Box<dyn Detector>>,
}

/// Totals of all parts of an engine since its start.
#[derive(Clone, Debug)]
pub struct EngineStats {
    pub flow: FlowStats,
    pub window: WindowStats,
    pub payload: PayloadStats,
    pub fuse: FuseStats,
    /// Records up for judgement; a flow counts each time.
    pub judged: u64,
    /// Ended flows, each of which gets one verdict.
    pub ended: u64,
    pub detectors: Vec<(Witness, DetectorStats)>,
}

/// Judges batches. The same batches give the same outcomes in the same order.
pub struct Engine {
    flows: FlowTable,
    payloads: PayloadTable,
    windows: HostWindows,
    detectors: Vec<Box<dyn Detector>>,
    fuse: Fuse,
    judged: u64,
    ended: u64,
    now_ns: u64,
    due: Vec<FlowRecord>,
    facts: Vec<PayloadFacts>,
    features: Vec<FeatureVector>,
}

impl Engine {
    pub fn new(parts: EngineParts) -> Self {
        let idle_ns = parts.flow.idle_timeout_secs.saturating_mul(1_000_000_000);
        let mut witnesses: Vec<Witness> = parts.detectors.iter().map(|detector| detector.witness()).collect();
        witnesses.sort_unstable();
        witnesses.dedup();
        Self {
            flows: FlowTable::new(&parts.flow),
            payloads: PayloadTable::new(&parts.payload),
            windows: HostWindows::new(&parts.window),
            fuse: Fuse::new(&parts.fuse, witnesses.len(), idle_ns),
            detectors: parts.detectors,
            judged: 0,
            ended: 0,
            now_ns: 0,
            due: Vec::new(),
            facts: Vec::new(),
            features: Vec::new(),
        }
    }

    /// Takes in one tick and appends what there is to say.
    pub fn step(&mut self, batch: &Batch, out: &mut Outcome) {
        self.now_ns = batch.now_ns;
        self.payloads.absorb(batch);
        self.flows.absorb(batch);
        self.due.clear();
        self.flows.due(batch.now_ns, &mut self.due);
        self.judge(out);
    }

    /// Ends all flows and appends what is left to say. The engine can be dropped then.
    pub fn finish(&mut self, out: &mut Outcome) {
        self.due.clear();
        self.flows.finish(&mut self.due);
        self.judge(out);
        self.fuse.finish(self.now_ns, out);
    }

    pub fn stats(&self) -> EngineStats {
        EngineStats {
            flow: self.flows.stats(),
            window: self.windows.stats(),
            payload: self.payloads.stats(),
            fuse: self.fuse.stats(),
            judged: self.judged,
            ended: self.ended,
            detectors: self.detectors.iter().map(|detector| (detector.witness(), detector.stats())).collect(),
        }
    }

    /// The models at work.
    pub fn models(&self) -> Vec<ModelInfo> {
        self.detectors.iter().filter_map(|detector| detector.model()).collect()
    }

    fn judge(&mut self, out: &mut Outcome) {
        self.facts.clear();
        self.features.clear();
        for record in &self.due {
            let facts = self.payloads.facts(record);
            self.windows.observe(record, &facts);
            self.facts.push(facts);
        }
        // Only now do the windows hold all of the tick, whatever the order of its flows.
        for (record, facts) in self.due.iter().zip(&self.facts) {
            self.features.push(extract(record, &self.windows.facts(record), facts));
            match record.state {
                FlowState::Open => {}
                FlowState::Ended(_) => {
                    self.ended += 1;
                    self.payloads.forget(record);
                }
            }
        }
        self.judged += self.due.len() as u64;
        let parts = self.due.iter().zip(&self.features).zip(&self.facts);
        let judged: Vec<Judged<'_>> =
            parts.map(|((record, features), payload)| Judged { record, features, payload }).collect();
        let mut findings: Vec<Finding> = Vec::new();
        for detector in &mut self.detectors {
            detector.judge(&judged, self.now_ns, &mut findings);
        }
        self.fuse.step(self.now_ns, &judged, findings, out);
    }
}
