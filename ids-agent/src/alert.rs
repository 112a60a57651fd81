//! Alerts and flow lines: what the engine decided, as one line of JSON. Knows no file and no socket.
//!
//! `Alert` and `FlowLine` gather the values once; `native`, `eve` and `ecs` give them their shapes.
//! Version 1 of the native form is described in `docs/alerts.md`; fields are added, never renamed.

use std::{borrow::Cow, net::IpAddr, sync::Arc};

use ids_common::flow::FlowKey;
use serde::Serialize;

use crate::{
    budget::Notice,
    clock::{Axis, Timestamp, WallOffset},
    config::AlertFormat,
    detect::{Evidence, Incident, ModelInfo, Severity, Stage, Subject, Verdict, WitnessScore},
    flow::{FlowEnd, FlowRecord, FlowState, proto_label},
    payload::PayloadFacts,
};

mod agreement;
mod app;
mod attack;
mod blocking;
mod doubt;
mod ecs;
mod eve;
pub(crate) mod json;
mod native;
mod notice;
mod signature;

pub use attack::Technique;
use doubt::Doubt;
pub use notice::NOTICE_SIGNATURES;
pub use signature::{GID, REV, SIGNATURES, Signature};

/// Version of the native form, as `ids.version`.
pub const FORM_VERSION: u32 = 1;

/// Who speaks: the same for every line of a run.
#[derive(Clone, Debug)]
pub struct Provenance {
    pub agent_version: &'static str,
    /// Name of the machine; absent on replay, where it says nothing about the traffic.
    pub host: Option<Arc<str>>,
    /// Names of the interfaces, in the order of the flow key's index; empty on replay.
    pub interfaces: Vec<Arc<str>>,
    pub models: Vec<ModelInfo>,
    pub axis: Axis,
}

/// Turns incidents and verdicts into lines.
#[derive(Debug)]
pub struct Renderer {
    format: AlertFormat,
    provenance: Provenance,
}

impl Renderer {
    pub fn new(format: AlertFormat, provenance: Provenance) -> Self {
        Self { format, provenance }
    }

    /// Names other models in the lines from now on.
    pub fn set_models(&mut self, models: &[ModelInfo]) {
        self.provenance.models = models.to_vec();
    }

    /// The line of an incident, with its line end.
    pub fn alert(&self, incident: &Incident) -> Vec<u8> {
        let alert = Alert::from_incident(incident, &self.provenance);
        match self.format {
            AlertFormat::Native => json::line(&native::alert(&alert)),
            AlertFormat::Eve => json::line(&eve::alert(&alert)),
            AlertFormat::Ecs => json::line(&ecs::alert(&alert)),
        }
    }

    /// The line that says of the agent itself that new blocks are refused, because so many proposals wait already.
    pub fn blocking_refused(&self, at_ns: u64, waiting_max: usize) -> Vec<u8> {
        match self.format {
            AlertFormat::Native => json::line(&blocking::native(at_ns, waiting_max, &self.provenance)),
            AlertFormat::Eve => json::line(&blocking::eve(at_ns, waiting_max, &self.provenance)),
            AlertFormat::Ecs => json::line(&blocking::ecs(at_ns, waiting_max, &self.provenance)),
        }
    }

    /// An incident in the native form, whatever the lines' form is.
    pub fn record(&self, incident: &Incident) -> serde_json::Value {
        // Maps with keys that are no strings are the one cause of failure, and the form has none.
        serde_json::to_value(native::alert(&Alert::from_incident(incident, &self.provenance))).unwrap_or_default()
    }

    /// The line of what the agent says of itself, with its line end.
    pub fn notice(&self, notice: &Notice) -> Vec<u8> {
        match self.format {
            AlertFormat::Native => json::line(&notice::native(notice, &self.provenance)),
            AlertFormat::Eve => json::line(&notice::eve(notice, &self.provenance)),
            AlertFormat::Ecs => json::line(&notice::ecs(notice, &self.provenance)),
        }
    }

    /// Who speaks in the lines.
    pub fn provenance(&self) -> &Provenance {
        &self.provenance
    }

    /// The line of an ended flow, with its line end.
    pub fn flow(&self, verdict: &Verdict) -> Vec<u8> {
        let flow = FlowLine::from_verdict(verdict, &self.provenance);
        match self.format {
            AlertFormat::Native => json::line(&native::flow(&flow)),
            AlertFormat::Eve => json::line(&eve::flow(&flow)),
            AlertFormat::Ecs => json::line(&ecs::flow(&flow)),
        }
    }
}

/// Everything an alert says, before it has a shape.
#[derive(Debug)]
struct Alert<'a> {
    at: Timestamp,
    first: Timestamp,
    /// When the line was made; absent on replay, which says the same at any time.
    emitted: Option<Timestamp>,
    ends: Endpoints<'a>,
    signature: &'static Signature,
    severity: Severity,
    attack: Option<Technique>,
    incident: &'a Incident,
    /// Why, naming who did it to whom.
    reason: Cow<'a, str>,
    doubt: Doubt,
    flow: Option<Counts>,
    provenance: &'a Provenance,
}

impl<'a> Alert<'a> {
    fn from_incident(incident: &'a Incident, provenance: &'a Provenance) -> Self {
        let ends = Endpoints::of(
            &incident.key,
            incident.flow_id,
            incident.community_id.clone(),
            &incident.payload,
            provenance,
        );
        let offset = provenance.axis.offset();
        Self {
            at: offset.wall(incident.last_ns),
            first: offset.wall(incident.first_ns),
            emitted: provenance.axis.now(),
            reason: reason(incident, &ends),
            doubt: Doubt::of(incident, ends.src, ends.dst),
            signature: signature::of(incident.class, incident.kind),
            severity: incident.severity,
            attack: attack::technique_of(incident.class, incident.kind, ends.src),
            flow: incident.record.as_ref().map(|record| Counts::of(record, offset)),
            ends,
            incident,
            provenance,
        }
    }

    /// What the incident is about: `flow`, `source`, `target`, `pair` or `service`.
    fn subject(&self) -> &'static str {
        match self.incident.subject {
            Subject::Flow { .. } => "flow",
            Subject::Source { .. } => "source",
            Subject::Target { .. } => "target",
            Subject::Pair { .. } => "pair",
            Subject::Service { .. } => "service",
        }
    }

    fn stage(&self) -> &'static str {
        match self.incident.stage {
            Stage::Opened => "opened",
            Stage::Escalated => "escalated",
            Stage::Summary => "summary",
        }
    }

    /// The signature's text; a summary says how much it stands for.
    fn signature_text(&self) -> String {
        match self.incident.stage {
            Stage::Summary => format!("{} (suppressed {})", self.signature.text, self.incident.suppressed),
            Stage::Opened | Stage::Escalated => self.signature.text.to_owned(),
        }
    }
}

/// What payload samples say, under EVE's names; `login` and `app_proto` where they say so.
pub fn facts(payload: &PayloadFacts) -> serde_json::Value {
    #[derive(Serialize)]
    struct Facts<'a> {
        #[serde(skip_serializing_if = "Option::is_none")]
        app_proto: Option<&'static str>,
        #[serde(flatten)]
        app: app::AppObjects<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        dns: Option<app::Dns<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        login: Option<&'static str>,
        bytes_toserver: u32,
        bytes_toclient: u32,
    }
    let facts = Facts {
        app_proto: payload.app.known().map(|app| app.label()),
        app: app::AppObjects::of(payload),
        dns: app::Dns::of(payload),
        login: app::login_name(payload),
        bytes_toserver: payload.forward.bytes,
        bytes_toclient: payload.backward.bytes,
    };
    serde_json::to_value(facts).unwrap_or_default()
}

/// Longest reason in a line, in bytes: a detector may quote what a peer sent.
const REASON_BYTES_MAX: usize = 1_024;

/// The incident's reason, with the parties in front where it does not name them itself.
fn reason<'a>(incident: &'a Incident, ends: &Endpoints<'_>) -> Cow<'a, str> {
    let text = capped(&incident.reason, REASON_BYTES_MAX);
    let (source, target) = (ends.src.to_string(), ends.dst.to_string());
    let parties = match incident.subject {
        Subject::Source { .. } if !names(text, &source) => source,
        Subject::Target { .. } if !names(text, &target) => target,
        Subject::Flow { .. } | Subject::Pair { .. } | Subject::Service { .. }
            if !(names(text, &source) && names(text, &target)) =>
        {
            match ends.ports {
                Some((_, port)) => format!("{source} to {target} port {port}/{}", ends.proto_name.to_ascii_lowercase()),
                None => format!("{source} to {target} by {}", ends.proto_name),
            }
        }
        _ => return Cow::Borrowed(text),
    };
    Cow::Owned(format!("{parties}: {text}"))
}

/// Whether `address` stands in `text` as itself, not as part of a longer one.
fn names(text: &str, address: &str) -> bool {
    let joins = |character: char| character.is_ascii_alphanumeric();
    text.match_indices(address).any(|(at, _)| {
        let before = text.get(..at).and_then(|part| part.chars().next_back());
        let mut after = text.get(at + address.len()..).unwrap_or_default().chars();
        let goes_on = match after.next() {
            // The end of a sentence is none of an address; `10.0.0.7:80` names it.
            Some('.') => after.next().is_some_and(joins),
            Some(':') => address.contains(':') && after.next().is_some_and(joins),
            next => next.is_some_and(joins),
        };
        !goes_on && !before.is_some_and(|character| joins(character) || matches!(character, '.' | ':'))
    })
}

/// The front of `text`, at most `bytes_max` bytes of it.
fn capped(text: &str, bytes_max: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes_max)).unwrap_or(text)
}

/// Everything a flow line says, before it has a shape.
#[derive(Debug)]
struct FlowLine<'a> {
    at: Timestamp,
    ends: Endpoints<'a>,
    counts: Counts,
    verdict: &'a Verdict,
    provenance: &'a Provenance,
}

impl<'a> FlowLine<'a> {
    fn from_verdict(verdict: &'a Verdict, provenance: &'a Provenance) -> Self {
        let record = &verdict.record;
        let offset = provenance.axis.offset();
        Self {
            at: offset.wall(record.end_ns),
            ends: Endpoints::of(&record.key, record.id, record.community_id(), &verdict.payload, provenance),
            counts: Counts::of(record, offset),
            verdict,
            provenance,
        }
    }
}

/// Who spoke to whom, from the initiator's side.
#[derive(Debug)]
struct Endpoints<'a> {
    flow_id: u64,
    community_id: String,
    src: IpAddr,
    dst: IpAddr,
    /// Absent where the protocol has no ports, and in later fragments.
    ports: Option<(u16, u16)>,
    icmp_type: Option<u16>,
    proto: u8,
    proto_name: Cow<'static, str>,
    vlan: Option<u16>,
    interface: Option<&'a str>,
    payload: &'a PayloadFacts,
}

impl<'a> Endpoints<'a> {
    fn of(
        key: &FlowKey,
        flow_id: u64,
        community_id: String,
        payload: &'a PayloadFacts,
        provenance: &'a Provenance,
    ) -> Self {
        let has_ports = matches!(key.proto, TCP | UDP | SCTP) && !key.is_later_fragment();
        let is_icmp = matches!(key.proto, ICMP | ICMPV6) && !key.is_later_fragment();
        Self {
            flow_id,
            community_id,
            src: address(key, key.src),
            dst: address(key, key.dst),
            ports: has_ports.then_some((key.src_port, key.dst_port)),
            icmp_type: is_icmp.then_some(key.src_port),
            proto: key.proto,
            proto_name: proto_label(key.proto),
            vlan: (key.vlan != 0).then_some(key.vlan),
            interface: provenance.interfaces.get(usize::from(key.interface())).map(AsRef::as_ref),
            payload,
        }
    }

    fn app_name(&self) -> Option<&'static str> {
        self.payload.app.known().map(|app| app.label())
    }
}

/// Both addresses of a key are of one family, even where one of two IPv6 addresses is mapped.
fn address(key: &FlowKey, bytes: [u8; 16]) -> IpAddr {
    let address = IpAddr::from(bytes);
    if key.is_ipv4() { address.to_canonical() } else { address }
}

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;
const SCTP: u8 = 132;

/// A flow's counts; forward is towards the server.
#[derive(Clone, Copy, Debug)]
struct Counts {
    packets: [u64; 2],
    bytes: [u64; 2],
    start: Timestamp,
    end: Timestamp,
    /// Whether packets went both ways.
    answered: bool,
    state: FlowState,
    tcp: Option<TcpCounts>,
}

/// Packets with a flag set, per direction.
#[derive(Clone, Copy, Debug)]
struct TcpCounts {
    syn: [u16; 2],
    fin: [u16; 2],
    rst: [u16; 2],
    psh: [u32; 2],
    ack: [u32; 2],
}

impl Counts {
    fn of(record: &FlowRecord, offset: WallOffset) -> Self {
        let (forward, backward) = (&record.forward, record.backward.as_ref());
        let tcp = (record.key.proto == TCP).then(|| TcpCounts {
            syn: [forward.syn, backward.map_or(0, |b| b.syn)],
            fin: [forward.fin, backward.map_or(0, |b| b.fin)],
            rst: [forward.rst, backward.map_or(0, |b| b.rst)],
            psh: [forward.psh, backward.map_or(0, |b| b.psh)],
            ack: [forward.ack, backward.map_or(0, |b| b.ack)],
        });
        Self {
            packets: [forward.packets, backward.map_or(0, |b| b.packets)],
            bytes: [forward.bytes, backward.map_or(0, |b| b.bytes)],
            start: offset.wall(record.start_ns),
            end: offset.wall(record.end_ns),
            answered: backward.is_some(),
            state: record.state,
            tcp,
        }
    }

    fn duration_ns(&self) -> u64 {
        self.end.unix_ns().saturating_sub(self.start.unix_ns())
    }

    /// EVE's flow state.
    fn state_name(&self) -> &'static str {
        match self.state {
            FlowState::Ended(FlowEnd::Fin | FlowEnd::Rst) => "closed",
            FlowState::Ended(FlowEnd::Idle | FlowEnd::Reused | FlowEnd::Evicted | FlowEnd::Stopped)
            | FlowState::Open => {
                if self.answered {
                    "established"
                } else {
                    "new"
                }
            }
        }
    }

    /// EVE's reason for writing the flow; none while it goes on.
    fn reason(&self) -> Option<&'static str> {
        match self.state {
            FlowState::Open => None,
            FlowState::Ended(FlowEnd::Fin | FlowEnd::Rst | FlowEnd::Idle) => Some("timeout"),
            FlowState::Ended(FlowEnd::Reused) => Some("tcp_reuse"),
            FlowState::Ended(FlowEnd::Evicted) => Some("forced"),
            FlowState::Ended(FlowEnd::Stopped) => Some("shutdown"),
        }
    }

    /// Our own, finer reason.
    fn end_name(&self) -> Option<&'static str> {
        match self.state {
            FlowState::Open => None,
            FlowState::Ended(end) => Some(end.label()),
        }
    }
}

/// Confidence with four decimals: more would feign precision.
fn rounded(value: f32) -> f64 {
    (f64::from(value) * 1e4).round() / 1e4
}

/// A value with six significant digits.
fn shortened(value: f64) -> f64 {
    format!("{value:.5e}").parse().unwrap_or(value)
}

/// A witness's score, as every form writes it.
#[derive(Debug, Serialize)]
struct WitnessLine {
    witness: &'static str,
    class: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    kind: &'static str,
    score: f64,
}

impl WitnessLine {
    fn all(scores: &[WitnessScore]) -> Vec<Self> {
        scores
            .iter()
            .map(|said| Self {
                witness: said.witness.name(),
                class: said.class.name(),
                kind: said.kind,
                score: rounded(said.score),
            })
            .collect()
    }
}

/// A measured value, as every form writes it.
#[derive(Debug, Serialize)]
struct EvidenceLine {
    feature: &'static str,
    value: f64,
    normal: [f64; 2],
    #[serde(skip_serializing_if = "str::is_empty")]
    unit: &'static str,
}

impl EvidenceLine {
    fn all(evidence: &[Evidence]) -> Vec<Self> {
        evidence
            .iter()
            .map(|one| Self {
                feature: one.feature,
                value: shortened(one.value),
                normal: [shortened(one.normal_low), shortened(one.normal_high)],
                unit: one.unit,
            })
            .collect()
    }
}

/// A model behind the agent, as every form writes it.
#[derive(Debug, Serialize)]
struct ModelLine<'a> {
    name: &'a str,
    version: &'a str,
    sha256: &'a str,
}

impl<'a> ModelLine<'a> {
    fn all(models: &'a [ModelInfo]) -> Vec<Self> {
        models.iter().map(|model| Self { name: &model.name, version: &model.version, sha256: &model.sha256 }).collect()
    }
}

#[cfg(test)]
mod tests;
