//! The document of one alert: what is kept of it, and the seal that shows whether it was changed.

use std::{collections::BTreeMap, net::IpAddr};

use ids_common::flow::FlowKey;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{
    alert::{self, Renderer},
    clock::WallOffset,
    detect::{Class, Exhibit, Finding, Incident, Stage, Subject, Witness, WitnessScore},
    features::{FEATURES, FeatureVector, SCHEMA, schema_hash},
    payload::SampledPacket,
};

/// The form of document this agent writes and reads.
pub const FORMAT: u32 = 1;
/// Reports kept of one alert: the first, and the latest.
const REPORTS_MAX: usize = 32;

/// All that is kept of one alert.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Document {
    pub format: u32,
    /// The incident's id, 16 hexadecimal digits.
    pub id: String,
    pub pattern: Pattern,
    /// Joint confidence of the witnesses, and what each said at most.
    pub confidence: f64,
    pub scores: Vec<ScoreRecord>,
    /// What was told of it, in order.
    pub reports: Vec<Report>,
    /// The alert in the native form, as it was told when the exhibit was taken.
    pub alert: Value,
    /// Absent where the example's flow was no longer at hand.
    pub exhibit: Option<ExhibitRecord>,
    /// SHA-256 over what the judgement rests on.
    pub seal: String,
}

/// What makes findings this one alert: enough to silence exactly them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pattern {
    /// Absent where the pattern has many of it.
    pub source: Option<IpAddr>,
    pub target: Option<IpAddr>,
    pub target_port: Option<u16>,
    pub class: Class,
    pub kind: String,
    /// Every class and kind that spoke for it.
    pub said: Vec<Said>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Said {
    pub class: Class,
    pub kind: String,
    /// The signature of Suricata, where one spoke.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sid: Option<u32>,
}

/// The strongest thing one witness said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScoreRecord {
    pub witness: String,
    pub class: Class,
    pub kind: String,
    pub score: f64,
}

/// One line that was written of the alert.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub stage: String,
    /// RFC 3339.
    pub at: String,
    /// EVE's scale: 1 is the highest.
    pub severity: u8,
    pub confidence: f64,
    pub flows: u64,
    pub suppressed: u64,
}

/// What the example's finding rested on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExhibitRecord {
    pub agent_version: String,
    pub schema_hash: String,
    pub flow: FlowIdentity,
    pub findings: Vec<FindingRecord>,
    pub models: Vec<ModelRecord>,
    /// The vector by feature, as the models saw it.
    pub features: BTreeMap<String, f64>,
    /// What the samples said.
    pub payload: Value,
    pub string_bytes_max: usize,
    pub packets: Vec<PacketRecord>,
}

/// The example flow, from its initiator's side. Times are nanoseconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowIdentity {
    pub id: u64,
    pub community_id: String,
    pub src: IpAddr,
    pub src_port: u16,
    pub dst: IpAddr,
    pub dst_port: u16,
    pub proto: u8,
    pub vlan: u16,
    pub start_ns: u64,
    pub end_ns: u64,
}

/// One witness's statement about the example.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FindingRecord {
    pub witness: String,
    pub class: Class,
    pub kind: String,
    pub score: f64,
    pub reason: String,
}

/// A model and what it gave for the vector.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelRecord {
    pub witness: String,
    pub name: String,
    pub version: String,
    pub sha256: String,
    pub backend: String,
    pub outputs: Vec<OutputRecord>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutputRecord {
    pub class: Class,
    pub value: f64,
    /// From here on the model says so; a threshold above what it can give means never.
    pub threshold: f64,
}

/// A sampled payload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PacketRecord {
    pub direction: Direction,
    pub slot_first_seen_ns: u64,
    pub seen_ns: u64,
    /// Which payload packet of its direction it is, from zero, counted anew behind each silence.
    #[serde(default)]
    pub index: u32,
    /// Bytes of payload on the wire; those kept may be fewer.
    pub payload_len: u32,
    /// Hexadecimal.
    pub bytes: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    ToServer,
    ToClient,
}

impl Document {
    pub(super) fn of(incident: &Incident, renderer: &Renderer, string_bytes_max: usize) -> Self {
        let offset = renderer.provenance().axis.offset();
        let exhibit = incident
            .exhibit
            .as_ref()
            .map(|exhibit| ExhibitRecord::of(exhibit, offset, renderer.provenance().agent_version, string_bytes_max));
        let mut document = Self {
            format: FORMAT,
            id: format!("{:016x}", incident.id),
            pattern: Pattern::of(incident),
            confidence: incident.score.into(),
            scores: incident.witnesses.iter().map(ScoreRecord::of).collect(),
            reports: vec![Report::of(incident, offset)],
            alert: renderer.record(incident),
            exhibit,
            seal: String::new(),
        };
        document.seal = document.digest();
        document
    }

    /// Adds what was told before. An exhibit stays until there is a new one, with the alert and the scores of its time.
    pub(super) fn after(mut self, earlier: Self) -> Self {
        let mut reports = earlier.reports;
        reports.append(&mut self.reports);
        while reports.len() > REPORTS_MAX {
            // The first tells when it began.
            reports.remove(1);
        }
        let mut said = earlier.pattern.said;
        said.append(&mut self.pattern.said);
        said.sort();
        said.dedup();
        let mut kept = if self.exhibit.is_some() || earlier.exhibit.is_none() {
            self
        } else {
            Self { alert: earlier.alert, exhibit: earlier.exhibit, ..self }
        };
        kept.reports = reports;
        kept.pattern.said = said;
        kept.seal = kept.digest();
        kept
    }

    /// Whether nothing was changed since it was written.
    pub fn is_sealed(&self) -> bool {
        self.seal == self.digest()
    }

    /// The scores as the fusion takes them; what names no witness of ours is left out.
    pub fn witness_scores(&self) -> Vec<WitnessScore> {
        let score = |one: &ScoreRecord| {
            let witness = Witness::ALL.into_iter().find(|witness| witness.name() == one.witness)?;
            Some(WitnessScore { witness, class: one.class, kind: "", score: one.score as f32 })
        };
        self.scores.iter().filter_map(score).collect()
    }

    /// Numbers go in as bits: their text may be written in more than one way.
    fn digest(&self) -> String {
        let mut hash = Sha256::new();
        let mut text = |text: &str| {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        };
        text(&self.id);
        text(&format!("{:?}", self.pattern));
        for score in &self.scores {
            text(&format!("{} {} {} {:08x}", score.witness, score.class.name(), score.kind, bits(score.score)));
        }
        text(&format!("{:08x}", bits(self.confidence)));
        if let Some(exhibit) = &self.exhibit {
            text(&format!("{} {} {:?}", exhibit.agent_version, exhibit.schema_hash, exhibit.flow));
            for (name, value) in &exhibit.features {
                text(&format!("{name} {:08x}", bits(*value)));
            }
            for model in &exhibit.models {
                text(&format!("{} {} {} {}", model.witness, model.name, model.version, model.sha256));
                for output in &model.outputs {
                    text(&format!("{} {:08x} {:08x}", output.class.name(), bits(output.value), bits(output.threshold)));
                }
            }
            for finding in &exhibit.findings {
                text(&format!("{} {} {:08x} ", finding.witness, finding.class.name(), bits(finding.score)));
                text(&finding.reason);
            }
            for packet in &exhibit.packets {
                text(&format!("{packet:?}"));
            }
        }
        hex(&hash.finalize())
    }
}

/// All numbers of a document are 32-bit ones.
fn bits(value: f64) -> u32 {
    (value as f32).to_bits()
}

impl Pattern {
    fn of(incident: &Incident) -> Self {
        let is_ipv4 = incident.key.is_ipv4();
        let target_port = match incident.subject {
            Subject::Service { dst_port, .. } if incident.target.is_some() => Some(dst_port),
            Subject::Service { .. }
            | Subject::Flow { .. }
            | Subject::Source { .. }
            | Subject::Target { .. }
            | Subject::Pair { .. } => None,
        };
        // A signature is told from others by its id: another one of the same kind is told as before.
        let mut all = Vec::new();
        let mut add = |class, kind: &str, sid| all.push(Said { class, kind: kind.to_owned(), sid });
        for score in incident.witnesses.iter().filter(|score| score.witness != Witness::Signature) {
            add(score.class, score.kind, None);
        }
        for score in incident.witnesses.iter().filter(|score| score.witness == Witness::Signature) {
            incident.matched.iter().for_each(|matched| add(score.class, score.kind, Some(matched.sid)));
        }
        if !all.iter().any(|said| said.class == incident.class && said.kind == incident.kind) {
            all.push(Said { class: incident.class, kind: incident.kind.to_owned(), sid: None });
        }
        all.sort();
        all.dedup();
        Self {
            source: incident.source.map(|bytes| address(bytes, is_ipv4)),
            target: incident.target.map(|bytes| address(bytes, is_ipv4)),
            target_port,
            class: incident.class,
            kind: incident.kind.to_owned(),
            said: all,
        }
    }
}

impl ScoreRecord {
    fn of(said: &WitnessScore) -> Self {
        Self {
            witness: said.witness.name().to_owned(),
            class: said.class,
            kind: said.kind.to_owned(),
            score: said.score.into(),
        }
    }
}

impl Report {
    fn of(incident: &Incident, offset: WallOffset) -> Self {
        let stage = match incident.stage {
            Stage::Opened => "opened",
            Stage::Escalated => "escalated",
            Stage::Summary => "summary",
        };
        Self {
            stage: stage.to_owned(),
            at: offset.wall(incident.last_ns).rfc3339().to_string(),
            severity: incident.severity as u8,
            confidence: incident.score.into(),
            flows: incident.flows,
            suppressed: incident.suppressed,
        }
    }
}

impl ExhibitRecord {
    fn of(exhibit: &Exhibit, offset: WallOffset, agent_version: &str, string_bytes_max: usize) -> Self {
        let record = &exhibit.record;
        let packet = |packet: &SampledPacket| PacketRecord {
            direction: if packet.key == record.key { Direction::ToServer } else { Direction::ToClient },
            slot_first_seen_ns: offset.wall(packet.slot_first_seen_ns).unix_ns(),
            seen_ns: offset.wall(packet.seen_ns).unix_ns(),
            index: packet.index,
            payload_len: packet.payload_len,
            bytes: hex(&packet.bytes),
        };
        let model = |outputs: &crate::detect::ModelOutputs| ModelRecord {
            witness: outputs.witness.name().to_owned(),
            name: outputs.model.name.as_ref().to_owned(),
            version: outputs.model.version.as_ref().to_owned(),
            sha256: outputs.model.sha256.as_ref().to_owned(),
            backend: outputs.model.backend.to_owned(),
            outputs: outputs.values.iter().map(OutputRecord::of).collect(),
        };
        Self {
            agent_version: agent_version.to_owned(),
            schema_hash: schema_hash().to_owned(),
            flow: FlowIdentity {
                id: record.id,
                community_id: record.community_id(),
                src: address(record.key.src, record.key.is_ipv4()),
                src_port: record.key.src_port,
                dst: address(record.key.dst, record.key.is_ipv4()),
                dst_port: record.key.dst_port,
                proto: record.key.proto,
                vlan: record.key.vlan,
                start_ns: offset.wall(record.start_ns).unix_ns(),
                end_ns: offset.wall(record.end_ns).unix_ns(),
            },
            findings: exhibit.findings.iter().map(FindingRecord::of).collect(),
            models: exhibit.outputs.iter().map(model).collect(),
            features: SCHEMA
                .iter()
                .zip(&exhibit.features.values)
                .map(|(spec, value)| (spec.name.to_owned(), f64::from(*value)))
                .collect(),
            payload: alert::facts(&exhibit.payload),
            string_bytes_max,
            packets: exhibit.packets.iter().map(packet).collect(),
        }
    }

    /// The vector; none where the features are not this agent's.
    pub fn vector(&self) -> Option<FeatureVector> {
        if self.schema_hash != schema_hash() || self.features.len() != FEATURES {
            return None;
        }
        let mut vector = FeatureVector::ZERO;
        for (place, spec) in vector.values.iter_mut().zip(&SCHEMA) {
            *place = *self.features.get(spec.name)? as f32;
        }
        Some(vector)
    }

    /// The initiator's direction.
    pub fn key(&self) -> FlowKey {
        let flow = &self.flow;
        FlowKey {
            src: mapped(flow.src),
            dst: mapped(flow.dst),
            src_port: flow.src_port,
            dst_port: flow.dst_port,
            proto: flow.proto,
            kind: 0,
            vlan: flow.vlan,
        }
    }

    /// The samples; bytes that are no hexadecimal digits end them.
    pub fn samples(&self) -> Vec<SampledPacket> {
        let key = self.key();
        let sample = |packet: &PacketRecord| {
            Some(SampledPacket {
                key: match packet.direction {
                    Direction::ToServer => key,
                    Direction::ToClient => key.reversed(),
                },
                slot_first_seen_ns: packet.slot_first_seen_ns,
                seen_ns: packet.seen_ns,
                index: packet.index,
                payload_len: packet.payload_len,
                bytes: unhex(&packet.bytes)?.into(),
            })
        };
        self.packets.iter().map_while(sample).collect()
    }
}

impl FindingRecord {
    fn of(finding: &Finding) -> Self {
        Self {
            witness: finding.witness.name().to_owned(),
            class: finding.class,
            kind: finding.kind.to_owned(),
            score: finding.score.into(),
            reason: finding.reason.clone(),
        }
    }
}

impl OutputRecord {
    pub(super) fn of(output: &crate::detect::ClassOutput) -> Self {
        Self { class: output.class, value: output.value.into(), threshold: output.threshold.into() }
    }
}

fn address(bytes: [u8; 16], is_ipv4: bool) -> IpAddr {
    let address = IpAddr::from(bytes);
    if is_ipv4 { address.to_canonical() } else { address }
}

fn mapped(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    digits.chunks_exact(2).map(|pair| Some(digit(*pair.first()?)? << 4 | digit(*pair.last()?)?)).collect()
}
