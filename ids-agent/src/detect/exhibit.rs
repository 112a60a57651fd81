//! Exhibits: what a finding rested on, kept until its incident is told. Bounded; knows no file.
//!
//! An incident is told when enough speaks for it, which may be ticks after the finding that shows it best. By then the
//! flow's bytes are gone and its vector is another, so both are put aside when the finding is made.

use std::collections::{BTreeMap, VecDeque};

use super::{Class, Finding, Judged, ModelInfo, Witness};
use crate::{
    features::FeatureVector,
    flow::FlowRecord,
    payload::{PayloadFacts, SampledPacket},
};

/// Flows whose exhibits are kept at once, for incidents that are still gathering evidence.
pub const EXHIBITS_MAX: usize = 512;
/// Exhibits put aside for the findings of one judgement: a flood gives a thousand that say the same.
const PER_JUDGEMENT_MAX: usize = 128;
/// Findings kept of one flow.
const FINDINGS_MAX: usize = 8;
/// Sampled bytes kept of one flow: both directions at the largest sample that can be set.
const PACKET_BYTES_MAX: usize = 2 * 16 * 1_536;

/// What was known of a flow when something was found in it.
#[derive(Clone, Debug)]
pub struct Exhibit {
    pub record: FlowRecord,
    /// The vector that the models judged.
    pub features: FeatureVector,
    pub payload: PayloadFacts,
    /// What was said of the flow in that judgement; of its hosts, where it was the example.
    pub findings: Vec<Finding>,
    /// Sampled packets of both directions, in order of time.
    pub packets: Vec<SampledPacket>,
    /// What each model gives for `features`.
    pub outputs: Vec<ModelOutputs>,
}

/// The outputs of one model for one vector.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelOutputs {
    pub witness: Witness,
    pub model: ModelInfo,
    pub values: Vec<ClassOutput>,
}

/// What a model gives for one class, and from what value on it says so aloud.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClassOutput {
    pub class: Class,
    pub value: f32,
    pub threshold: f32,
}

impl Exhibit {
    pub(super) fn new(flow: &Judged<'_>, mut packets: Vec<SampledPacket>) -> Self {
        packets.sort_by_key(|packet| packet.seen_ns);
        let mut room = PACKET_BYTES_MAX;
        packets.retain(|packet| {
            let fits = packet.bytes.len() <= room;
            room -= if fits { packet.bytes.len() } else { 0 };
            fits
        });
        Self {
            record: flow.record.clone(),
            features: *flow.features,
            payload: flow.payload.clone(),
            findings: Vec::new(),
            packets,
            outputs: Vec::new(),
        }
    }

    fn best_score(&self) -> f32 {
        self.findings.iter().map(|finding| finding.score).fold(0.0, f32::max)
    }
}

/// Exhibits of flows with findings, by flow.
#[derive(Debug, Default)]
pub(super) struct Exhibits {
    kept: BTreeMap<u64, Exhibit>,
    /// Flows in the order of their first exhibit.
    order: VecDeque<u64>,
    exhibits_max: usize,
    evicted: u64,
}

impl Exhibits {
    /// Keeps none where `exhibits_max` is zero.
    pub(super) fn new(exhibits_max: usize) -> Self {
        Self { exhibits_max, ..Self::default() }
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.exhibits_max > 0
    }

    pub(super) fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Puts aside what the findings of one judgement rest on. `packets` gives a flow's sampled packets.
    pub(super) fn put_aside(
        &mut self,
        judged: &[Judged<'_>],
        findings: &[Finding],
        packets: impl Fn(&FlowRecord) -> Vec<SampledPacket>,
    ) {
        if !self.is_wanted() || findings.is_empty() {
            return;
        }
        let places: BTreeMap<u64, usize> = judged.iter().enumerate().map(|(at, flow)| (flow.record.id, at)).collect();
        let mut fresh: BTreeMap<u64, Exhibit> = BTreeMap::new();
        // Those that incidents take as their example come first.
        let mut sorted: Vec<&Finding> = findings.iter().collect();
        sorted.sort_by(|a, b| a.shown_better(b));
        for finding in sorted {
            let id = finding.exemplar_id;
            let Some(flow) = places.get(&id).and_then(|at| judged.get(*at)) else { continue };
            if !fresh.contains_key(&id) && fresh.len() >= PER_JUDGEMENT_MAX {
                continue;
            }
            let exhibit = fresh.entry(id).or_insert_with(|| Exhibit::new(flow, packets(flow.record)));
            if exhibit.findings.len() < FINDINGS_MAX {
                exhibit.findings.push(finding.clone());
            }
        }
        for (id, exhibit) in fresh {
            self.keep(id, exhibit);
        }
    }

    /// Of two exhibits of one flow the one with the surer finding stays.
    fn keep(&mut self, id: u64, exhibit: Exhibit) {
        if let Some(earlier) = self.kept.get_mut(&id) {
            if exhibit.best_score() > earlier.best_score() {
                *earlier = exhibit;
            }
            return;
        }
        if self.kept.len() >= self.exhibits_max
            && let Some(oldest) = self.order.pop_front()
        {
            self.kept.remove(&oldest);
            self.evicted += 1;
        }
        self.kept.insert(id, exhibit);
        self.order.push_back(id);
    }

    pub(super) fn of(&self, id: u64) -> Option<&Exhibit> {
        self.kept.get(&id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        detect::{Class, Severity, Subject},
        fabricated::{Fabricated, SEC, There, host, key},
    };

    fn record(port: u16) -> FlowRecord {
        Fabricated::new(key(host(0, 0, 1), port, host(0, 0, 2), 80, 6), SEC).packet(There, 0x18, 10).record()
    }

    fn finding(record: &FlowRecord, score: f32) -> Finding {
        Finding {
            witness: Witness::Classifier,
            class: Class::Exploit,
            kind: "flow_statistics",
            score,
            severity: Severity::Medium,
            subject: Subject::Flow { id: record.id },
            exemplar: record.key,
            exemplar_id: record.id,
            first_ns: record.start_ns,
            last_ns: record.end_ns,
            reason: String::new(),
            evidence: Vec::new(),
            matched: None,
        }
    }

    fn packets(record: &FlowRecord, lens: &[usize]) -> Vec<SampledPacket> {
        let packet = |(at, len): (usize, &usize)| SampledPacket {
            key: record.key,
            slot_first_seen_ns: record.start_ns,
            seen_ns: record.start_ns + 100 - at as u64,
            index: at as u32,
            payload_len: *len as u32,
            bytes: vec![b'x'; *len].into(),
        };
        lens.iter().enumerate().map(packet).collect()
    }

    fn put(exhibits: &mut Exhibits, record: &FlowRecord, score: f32) {
        let (features, payload) = (FeatureVector::ZERO, PayloadFacts::default());
        let judged = [Judged { record, features: &features, payload: &payload }];
        exhibits.put_aside(&judged, &[finding(record, score)], |record| packets(record, &[5]));
    }

    #[test]
    fn exhibits_are_bounded_and_the_oldest_goes_counted() {
        let mut exhibits = Exhibits::new(8);
        let records: Vec<FlowRecord> = (0..20).map(record).collect();
        for record in &records {
            put(&mut exhibits, record, 0.9);
            assert!(exhibits.kept.len() <= 8 && exhibits.order.len() == exhibits.kept.len());
        }
        assert_eq!(exhibits.evicted(), 12);
        assert!(exhibits.of(records[11].id).is_none() && exhibits.of(records[12].id).is_some());
    }

    #[test]
    fn the_surer_finding_keeps_its_exhibit() {
        let mut exhibits = Exhibits::new(8);
        let record = record(1);
        for score in [0.7, 0.9, 0.8] {
            put(&mut exhibits, &record, score);
        }
        assert_eq!(exhibits.of(record.id).map(Exhibit::best_score), Some(0.9));
    }

    #[test]
    fn nothing_is_kept_where_nobody_wants_it() {
        let mut exhibits = Exhibits::new(0);
        put(&mut exhibits, &record(1), 0.9);
        assert!(exhibits.kept.is_empty());
    }

    #[test]
    fn sampled_bytes_are_capped_and_stand_in_order_of_time() {
        let record = record(1);
        let (features, payload) = (FeatureVector::ZERO, PayloadFacts::default());
        let flow = Judged { record: &record, features: &features, payload: &payload };
        let exhibit = Exhibit::new(&flow, packets(&record, &[30_000, 30_000, 15_000]));
        let kept: Vec<usize> = exhibit.packets.iter().map(|packet| packet.bytes.len()).collect();
        assert_eq!(kept, [15_000, 30_000]);
    }
}
