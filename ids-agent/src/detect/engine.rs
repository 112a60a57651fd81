//! The line from a batch to an outcome: flows, payload facts, windows, features, witnesses, fusion.

use super::{
    Detector, DetectorStats, Exhibit, Finding, Incident, Judged, ModelInfo, ModelOutputs, Outcome, Stage, Witness,
    exhibit::Exhibits,
    fuse::{Fuse, FuseStats},
    renewal::{Renewal, Retired, parts_for, put_together},
    saved::{AxisShift, Restored, SavedPart},
};
use crate::{
    budget::{Effort, Share},
    config::{FlowSettings, FuseSettings, PayloadSettings, WindowSettings},
    features::{
        FeatureVector, Repeats,
        window::{HostWindows, WindowStats},
    },
    flow::{FlowRecord, FlowStats, FlowTable},
    payload::{PayloadFacts, PayloadStats, PayloadTable, Search},
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
    /// Flows whose exhibits wait for their incident to be told; zero keeps none.
    pub exhibits_max: usize,
}

/// Totals of all parts of an engine since its start.
#[derive(Clone, Debug)]
pub struct EngineStats {
    pub flow: FlowStats,
    pub window: WindowStats,
    pub payload: PayloadStats,
    pub fuse: FuseStats,
    /// Exhibits that had to go before their incident was told.
    pub exhibits_evicted: u64,
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
    retired: Retired,
    reads_open_features: bool,
    /// The detector that hears another sensor, by its place.
    teller: Option<usize>,
    fuse: Fuse,
    exhibits: Exhibits,
    judged: u64,
    ended: u64,
    now_ns: u64,
    effort: Effort,
    due: Vec<FlowRecord>,
    /// Records of `due` that are judged already.
    judged_of_due: usize,
    facts: Vec<PayloadFacts>,
    features: Vec<FeatureVector>,
    repeats: Repeats,
}

/// Flows judged together. A flood ends tens of thousands of flows in one tick; what is worked out
/// for each of them is ten times its record, so it is never worked out for all of them at once.
const CHUNK: usize = 1_024;
/// Room for so many times the records of the last tick is given back.
const SPARE_FACTOR: usize = 4;

/// Whether a tick has more flows to judge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judging {
    More,
    Done,
}

impl Engine {
    pub fn new(mut parts: EngineParts) -> Self {
        parts.detectors.iter_mut().for_each(|detector| detector.heed(&parts.fuse.feedback));
        let idle_ns = parts.flow.idle_timeout_secs.saturating_mul(1_000_000_000);
        Self {
            flows: FlowTable::new(&parts.flow),
            payloads: PayloadTable::new(&parts.payload),
            windows: HostWindows::new(&parts.window),
            fuse: Fuse::new(&parts.fuse, witnesses(&parts.detectors), idle_ns),
            teller: teller(&parts.detectors),
            reads_open_features: parts.detectors.iter().any(|detector| detector.reads_open_features()),
            detectors: parts.detectors,
            retired: Retired::default(),
            exhibits: Exhibits::new(parts.exhibits_max),
            judged: 0,
            ended: 0,
            now_ns: 0,
            effort: Effort::default(),
            due: Vec::new(),
            judged_of_due: 0,
            facts: Vec::new(),
            features: Vec::new(),
            repeats: Repeats::default(),
        }
    }

    /// Takes in one tick and appends what there is to say.
    pub fn step(&mut self, batch: &Batch, out: &mut Outcome) {
        self.absorb(batch);
        while self.judge(out) == Judging::More {}
    }

    /// Takes in one tick. `judge` then says what there is to say of it.
    pub fn absorb(&mut self, batch: &Batch) {
        self.now_ns = batch.now_ns;
        if batch.effort != self.effort {
            self.ease(batch.effort);
        }
        self.payloads.absorb(batch);
        self.flows.absorb(batch);
        for key in self.payloads.take_news() {
            self.flows.review(&key);
        }
        // A flood's tick takes megabytes, which the ticks behind it do not need.
        if self.due.capacity() > SPARE_FACTOR * self.due.len().max(CHUNK) {
            self.due = Vec::new();
        }
        self.due.clear();
        self.flows.due(batch.now_ns, &mut self.due);
        self.observe();
        for detector in &mut self.detectors {
            detector.hear(&batch.eve, batch.now_ns);
        }
    }

    /// Gives up, or takes back, what an effort says.
    fn ease(&mut self, effort: Effort) {
        self.effort = effort;
        let (rung, halvings) = (effort.level.rung(), effort.tables.halvings());
        let search = if rung.looks_for_patterns() { Search::Patterns } else { Search::FactsAlone };
        self.payloads.ease(halvings, search);
        self.flows.bound_idle(rung.idle_timeout_secs_max.saturating_mul(1_000_000_000));
        self.flows.halve(halvings);
        self.windows.halve(halvings);
        self.fuse.halve(halvings);
        self.detectors.iter_mut().for_each(|detector| detector.ease(effort));
    }

    /// Goes on under other rules. What detectors that are replaced have learned passes to their successors.
    pub fn renew(&mut self, renewal: Renewal) -> Restored {
        let saved = self.save();
        let at_work = std::mem::take(&mut self.detectors);
        let (mut detectors, fresh) = put_together(at_work, renewal.detectors, &mut self.retired);
        for detector in &mut detectors {
            detector.heed(&renewal.fuse.feedback);
            detector.weigh(&renewal.thresholds);
            detector.ease(self.effort);
        }
        self.teller = teller(&detectors);
        self.reads_open_features = detectors.iter().any(|detector| detector.reads_open_features());
        self.fuse.renew(&renewal.fuse, witnesses(&detectors));
        let parts = parts_for(saved, &detectors, &fresh);
        self.detectors = detectors;
        self.restore(&parts, AxisShift::NONE)
    }

    /// Ends all flows, which `judge` then says its last word on.
    pub fn end(&mut self) {
        self.due.clear();
        self.flows.finish(&mut self.due);
        self.observe();
        self.detectors.iter_mut().for_each(|detector| detector.end(self.now_ns));
    }

    /// Ends all flows and appends what is left to say. The engine can be dropped then.
    pub fn finish(&mut self, out: &mut Outcome) {
        self.end();
        while self.judge(out) == Judging::More {}
        self.close(out);
    }

    /// Appends the verdicts and summaries that still waited for more, behind `end` and `judge`.
    pub fn close(&mut self, out: &mut Outcome) {
        let (reported, decided) = (out.incidents.len(), out.verdicts.len());
        self.fuse.finish(self.now_ns, out);
        if let Some(teller) = self.teller.and_then(|at| self.detectors.get(at)) {
            tell_late(teller.as_ref(), out, reported, decided);
        }
    }

    pub fn stats(&self) -> EngineStats {
        let mut detectors = self.detectors.iter().map(|detector| (detector.witness(), detector.stats())).collect();
        self.retired.add_to(&mut detectors);
        EngineStats {
            flow: self.flows.stats(),
            window: self.windows.stats(),
            payload: self.payloads.stats(),
            fuse: self.fuse.stats(),
            exhibits_evicted: self.exhibits.evicted(),
            judged: self.judged,
            ended: self.ended,
            detectors,
        }
    }

    /// The time of the last tick.
    pub fn now_ns(&self) -> u64 {
        self.now_ns
    }

    /// What the detectors want kept over a restart.
    pub fn save(&self) -> Vec<SavedPart> {
        let named = self.detectors.iter().filter_map(|detector| Some((detector, detector.state_name()?)));
        named
            .map(|(detector, name)| {
                let mut bytes = Vec::new();
                detector.save(self.now_ns, &mut bytes);
                SavedPart { name: name.to_owned(), bytes }
            })
            .collect()
    }

    /// Gives the detectors back what they saved; each takes what it can read of its own.
    pub fn restore(&mut self, parts: &[SavedPart], shift: AxisShift) -> Restored {
        let mut restored = Restored::default();
        for part in parts {
            let owner = self.detectors.iter_mut().find(|detector| detector.state_name() == Some(&part.name));
            match owner.map(|detector| (detector.state_name(), detector.restore(&part.bytes, shift))) {
                Some((name, Ok(()))) => restored.taken.extend(name),
                Some((_, Err(error))) => restored.refused.push(error),
                None => restored.unknown.push(part.name.clone()),
            }
        }
        restored
    }

    /// The models at work.
    pub fn models(&self) -> Vec<ModelInfo> {
        self.detectors.iter().filter_map(|detector| detector.model()).collect()
    }

    /// Shows the windows all flows of the tick, whatever their order, before any of them is judged.
    fn observe(&mut self) {
        self.judged_of_due = 0;
        for record in &self.due {
            self.windows.observe(record, self.payloads.spoken(record));
        }
    }

    /// Judges the next flows of the tick, at most `CHUNK`, and appends what there is to say of them.
    /// A tick without flows is judged once, for the detectors that wait for time to pass.
    pub fn judge(&mut self, out: &mut Outcome) -> Judging {
        let end = self.due.len().min(self.judged_of_due + CHUNK);
        let chunk = self.due.get(self.judged_of_due..end).unwrap_or(&[]);
        self.facts.clear();
        self.features.clear();
        let rung = self.effort.level.rung();
        for record in chunk {
            let mut facts = self.payloads.facts(record);
            let wanted = (self.reads_open_features || record.is_ended()) && rung.needs_features();
            self.features.push(if wanted {
                self.repeats.extract(record, &self.windows.facts(record), &facts)
            } else {
                FeatureVector::ZERO
            });
            // Behind the features: those are the same with and without another sensor.
            if let Some(teller) = self.teller.and_then(|at| self.detectors.get(at)) {
                teller.tell(record, &mut facts);
            }
            self.facts.push(facts);
        }
        self.judged += chunk.len() as u64;
        let parts = chunk.iter().zip(&self.features).zip(&self.facts);
        let judged: Vec<Judged<'_>> =
            parts.map(|((record, features), payload)| Judged { record, features, payload }).collect();
        let mut findings: Vec<Finding> = Vec::new();
        for detector in &mut self.detectors {
            match rung.share(detector.sense()) {
                Share::All | Share::LessPayload => detector.judge(&judged, self.now_ns, &mut findings),
                share => {
                    // Time passes for those who see nothing, too.
                    let theirs: Vec<Judged<'_>> =
                        judged.iter().filter(|flow| share.takes(flow.record.id)).copied().collect();
                    detector.judge(&theirs, self.now_ns, &mut findings);
                }
            }
        }
        for detector in &mut self.detectors {
            detector.learn(&findings);
        }
        let payloads = &self.payloads;
        self.exhibits.put_aside(&judged, &findings, |record| payloads.packets(record));
        let (reported, decided) = (out.incidents.len(), out.verdicts.len());
        self.fuse.step(self.now_ns, &judged, findings, out);
        if let Some(teller) = self.teller.and_then(|at| self.detectors.get(at)) {
            tell_late(teller.as_ref(), out, reported, decided);
        }
        let wanted = self.exhibits.is_wanted();
        let news = |incident: &&mut Incident| wanted && incident.stage != Stage::Summary;
        for incident in out.incidents.iter_mut().skip(reported).filter(news) {
            let id = incident.flow_id;
            let (source, target) = (incident.source, incident.target);
            let of_its_hosts = |flow: &&Judged<'_>| {
                let key = &flow.record.key;
                source.is_none_or(|source| source == key.src) && target.is_none_or(|target| target == key.dst)
            };
            // The example may have ended long ago; another flow of the same hosts shows much the same.
            let at_hand = || {
                let example = judged.iter().find(|flow| flow.record.id == id);
                example.or_else(|| judged.iter().find(of_its_hosts))
            };
            let mut exhibit = match self.exhibits.of(id) {
                Some(exhibit) => exhibit.clone(),
                None => match at_hand() {
                    Some(flow) => Exhibit::new(flow, payloads.packets(flow.record)),
                    None => continue,
                },
            };
            exhibit.outputs = outputs(&mut self.detectors, &exhibit);
            incident.exhibit = Some(Box::new(exhibit));
        }
        // Only now: what is told of a flow may need its bytes.
        for record in chunk.iter().filter(|record| record.is_ended()) {
            self.ended += 1;
            self.payloads.forget(record);
        }
        self.judged_of_due = end;
        if end < self.due.len() { Judging::More } else { Judging::Done }
    }
}

/// How many witnesses there are, each once.
fn witnesses(detectors: &[Box<dyn Detector>]) -> usize {
    let mut witnesses: Vec<Witness> = detectors.iter().map(|detector| detector.witness()).collect();
    witnesses.sort_unstable();
    witnesses.dedup();
    witnesses.len()
}

fn teller(detectors: &[Box<dyn Detector>]) -> Option<usize> {
    detectors.iter().position(|detector| detector.witness() == Witness::Signature)
}

/// Adds what was told of flows after they were judged: a sensor that reads files is late.
fn tell_late(teller: &dyn Detector, out: &mut Outcome, reported: usize, decided: usize) {
    for verdict in out.verdicts.iter_mut().skip(decided) {
        teller.tell(&verdict.record, &mut verdict.payload);
    }
    for incident in out.incidents.iter_mut().skip(reported) {
        if let Some(record) = &incident.record {
            teller.tell(record, &mut incident.payload);
        }
    }
}

/// What each model gives for the exhibit's vector.
fn outputs(detectors: &mut [Box<dyn Detector>], exhibit: &Exhibit) -> Vec<ModelOutputs> {
    let of = |detector: &mut Box<dyn Detector>| {
        let model = detector.model()?;
        Some(ModelOutputs { witness: detector.witness(), model, values: detector.outputs(&exhibit.features) })
    };
    detectors.iter_mut().filter_map(of).collect()
}
