//! The agent's own form: EVE's names, plus an `ids` object.

use std::net::IpAddr;

use serde::Serialize;

use super::{
    Alert, Counts, Endpoints, EvidenceLine, FORM_VERSION, FlowLine, GID, ModelLine, REV, WitnessLine,
    agreement::{HeardLine, MatchedLine, agreement_kind},
    app::{AppObjects, Dns, login_name},
    rounded,
};

#[derive(Debug, Serialize)]
pub(super) struct NativeAlert<'a> {
    timestamp: String,
    flow_id: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    in_iface: Option<&'a str>,
    event_type: &'static str,
    #[serde(flatten)]
    ends: EndsObject<'a>,
    alert: AlertObject,
    #[serde(flatten)]
    app: AppObjects<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dns: Option<Dns<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    flow: Option<FlowObject>,
    ids: IdsAlert<'a>,
}

/// The part of a line that says who spoke to whom.
#[derive(Debug, Serialize)]
pub(super) struct EndsObject<'a> {
    pub(super) src_ip: IpAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) src_port: Option<u16>,
    pub(super) dest_ip: IpAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) dest_port: Option<u16>,
    pub(super) proto: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) icmp_type: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) app_proto: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) vlan: Vec<u16>,
    pub(super) community_id: &'a str,
}

impl<'a> EndsObject<'a> {
    pub(super) fn of(ends: &'a Endpoints<'a>) -> Self {
        Self {
            src_ip: ends.src,
            src_port: ends.ports.map(|(src, _)| src),
            dest_ip: ends.dst,
            dest_port: ends.ports.map(|(_, dst)| dst),
            proto: &ends.proto_name,
            icmp_type: ends.icmp_type,
            app_proto: ends.app_name(),
            vlan: ends.vlan.into_iter().collect(),
            community_id: &ends.community_id,
        }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct AlertObject {
    pub(super) action: &'static str,
    pub(super) gid: u32,
    pub(super) signature_id: u32,
    pub(super) rev: u32,
    pub(super) signature: String,
    pub(super) category: &'static str,
    pub(super) severity: u8,
}

impl AlertObject {
    pub(super) fn of(alert: &Alert<'_>) -> Self {
        Self {
            // The agent watches; it never blocks on its own.
            action: "allowed",
            gid: GID,
            signature_id: alert.signature.id,
            rev: REV,
            signature: alert.signature_text(),
            category: alert.signature.category,
            severity: alert.severity as u8,
        }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct FlowObject {
    pub(super) pkts_toserver: u64,
    pub(super) pkts_toclient: u64,
    pub(super) bytes_toserver: u64,
    pub(super) bytes_toclient: u64,
    pub(super) start: String,
    pub(super) end: String,
    /// Whole seconds.
    pub(super) age: u64,
    pub(super) state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<&'static str>,
    pub(super) alerted: bool,
}

impl FlowObject {
    pub(super) fn of(counts: &Counts, alerted: bool) -> Self {
        Self {
            pkts_toserver: counts.packets[0],
            pkts_toclient: counts.packets[1],
            bytes_toserver: counts.bytes[0],
            bytes_toclient: counts.bytes[1],
            start: counts.start.eve().to_string(),
            end: counts.end.eve().to_string(),
            age: counts.duration_ns() / 1_000_000_000,
            state: counts.state_name(),
            reason: counts.reason(),
            alerted,
        }
    }
}

#[derive(Debug, Serialize)]
struct IdsAlert<'a> {
    version: u32,
    class: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    kind: &'static str,
    confidence: f64,
    agreement: f64,
    agreement_kind: &'static str,
    witnesses: Vec<WitnessLine>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    suricata: Vec<MatchedLine<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    heard: Option<HeardLine<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attack: Option<AttackObject>,
    reason: &'a str,
    false_if: &'a str,
    next: &'a str,
    evidence: Vec<EvidenceLine>,
    subject: &'static str,
    /// 16 hexadecimal digits: a number this long would be cut by readers that hold doubles.
    incident: String,
    stage: &'static str,
    suppressed: u64,
    flows: u64,
    first_seen: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    emitted: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    login: Option<&'static str>,
    models: Vec<ModelLine<'a>>,
    agent_version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct AttackObject {
    id: &'static str,
    name: &'static str,
    tactic: &'static str,
}

pub(super) fn alert<'a>(alert: &'a Alert<'a>) -> NativeAlert<'a> {
    let incident = alert.incident;
    NativeAlert {
        timestamp: alert.at.eve().to_string(),
        flow_id: alert.ends.flow_id,
        in_iface: alert.ends.interface,
        event_type: "alert",
        ends: EndsObject::of(&alert.ends),
        alert: AlertObject::of(alert),
        app: AppObjects::of(alert.ends.payload),
        dns: Dns::of(alert.ends.payload),
        flow: alert.flow.as_ref().map(|counts| FlowObject::of(counts, true)),
        ids: IdsAlert {
            version: FORM_VERSION,
            class: incident.class.name(),
            kind: incident.kind,
            confidence: rounded(incident.score),
            agreement: rounded(incident.agreement),
            agreement_kind: agreement_kind(&incident.witnesses, incident.class),
            witnesses: WitnessLine::all(&incident.witnesses),
            suricata: MatchedLine::all(&incident.matched),
            heard: HeardLine::of(incident.payload.heard.as_deref()),
            attack: alert.attack.map(|technique| AttackObject {
                id: technique.id,
                name: technique.name,
                tactic: technique.tactic_name,
            }),
            reason: &alert.reason,
            false_if: &alert.doubt.false_if,
            next: &alert.doubt.next,
            evidence: EvidenceLine::all(&incident.evidence),
            subject: alert.subject(),
            incident: format!("{:016x}", incident.id),
            stage: alert.stage(),
            suppressed: incident.suppressed,
            flows: incident.flows,
            first_seen: alert.first.eve().to_string(),
            emitted: alert.emitted.map(|at| at.eve().to_string()),
            login: login_name(alert.ends.payload),
            models: ModelLine::all(&alert.provenance.models),
            agent_version: alert.provenance.agent_version,
            host: alert.provenance.host.as_deref(),
        },
    }
}

#[derive(Debug, Serialize)]
pub(super) struct NativeFlow<'a> {
    timestamp: String,
    flow_id: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    in_iface: Option<&'a str>,
    event_type: &'static str,
    #[serde(flatten)]
    ends: EndsObject<'a>,
    flow: FlowObject,
    #[serde(skip_serializing_if = "Option::is_none")]
    tcp: Option<TcpObject>,
    #[serde(flatten)]
    app: AppObjects<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dns: Option<Dns<'a>>,
    ids: IdsFlow<'a>,
}

/// Which TCP flags were seen, from either side.
#[derive(Debug, Serialize)]
pub(super) struct TcpObject {
    pub(super) syn: bool,
    pub(super) fin: bool,
    pub(super) rst: bool,
    pub(super) psh: bool,
    pub(super) ack: bool,
}

impl TcpObject {
    pub(super) fn of(counts: &Counts) -> Option<Self> {
        counts.tcp.map(|tcp| Self {
            syn: tcp.syn != [0; 2],
            fin: tcp.fin != [0; 2],
            rst: tcp.rst != [0; 2],
            psh: tcp.psh != [0; 2],
            ack: tcp.ack != [0; 2],
        })
    }
}

#[derive(Debug, Serialize)]
struct IdsFlow<'a> {
    version: u32,
    class: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    kind: &'static str,
    confidence: f64,
    witnesses: Vec<WitnessLine>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    suricata: Vec<MatchedLine<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    heard: Option<HeardLine<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    incident: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<&'static str>,
    duration_ns: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    login: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<&'a str>,
}

pub(super) fn flow<'a>(line: &'a FlowLine<'a>) -> NativeFlow<'a> {
    let verdict = line.verdict;
    NativeFlow {
        timestamp: line.at.eve().to_string(),
        flow_id: line.ends.flow_id,
        in_iface: line.ends.interface,
        event_type: "flow",
        ends: EndsObject::of(&line.ends),
        flow: FlowObject::of(&line.counts, verdict.incident.is_some()),
        tcp: TcpObject::of(&line.counts),
        app: AppObjects::of(line.ends.payload),
        dns: Dns::of(line.ends.payload),
        ids: IdsFlow {
            version: FORM_VERSION,
            class: verdict.class.name(),
            kind: verdict.kind,
            confidence: rounded(verdict.confidence),
            witnesses: WitnessLine::all(&verdict.witnesses),
            suricata: verdict.payload.heard.as_deref().map_or(Vec::new(), |heard| MatchedLine::all(&heard.signatures)),
            heard: HeardLine::of(verdict.payload.heard.as_deref()),
            incident: verdict.incident.map(|id| format!("{id:016x}")),
            end: line.counts.end_name(),
            duration_ns: line.counts.duration_ns(),
            login: login_name(line.ends.payload),
            host: line.provenance.host.as_deref(),
        },
    }
}
