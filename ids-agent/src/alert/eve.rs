//! Strict EVE: keys of Suricata's own schema and no others. What it has no key for goes into
//! `alert.metadata`, whose values are arrays of strings, and, for flows, into `metadata.flowbits`.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    Alert, FlowLine,
    agreement::{MatchedLine, agreement_kind},
    app::AppObjects,
    native::{AlertObject, EndsObject, FlowObject, TcpObject},
};

#[derive(Debug, Serialize)]
pub(super) struct EveAlert<'a> {
    timestamp: String,
    flow_id: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    in_iface: Option<&'a str>,
    event_type: &'static str,
    #[serde(flatten)]
    ends: EndsObject<'a>,
    alert: EveAlertObject,
    #[serde(flatten)]
    app: AppObjects<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    flow: Option<FlowObject>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct EveAlertObject {
    #[serde(flatten)]
    plain: AlertObject,
    metadata: BTreeMap<&'static str, Vec<String>>,
}

pub(super) fn alert<'a>(alert: &'a Alert<'a>) -> EveAlert<'a> {
    EveAlert {
        timestamp: alert.at.eve().to_string(),
        flow_id: alert.ends.flow_id,
        in_iface: alert.ends.interface,
        event_type: "alert",
        ends: EndsObject::of(&alert.ends),
        alert: EveAlertObject { plain: AlertObject::of(alert), metadata: metadata(alert) },
        app: AppObjects::of(alert.ends.payload),
        flow: alert.flow.as_ref().map(|counts| FlowObject::of(counts, true)),
        host: alert.provenance.host.as_deref(),
    }
}

fn metadata(alert: &Alert<'_>) -> BTreeMap<&'static str, Vec<String>> {
    let incident = alert.incident;
    let mut metadata = BTreeMap::from([
        ("ids_class", vec![incident.class.name().to_owned()]),
        ("ids_confidence", vec![format!("{:.4}", incident.score)]),
        ("ids_agreement_kind", vec![agreement_kind(&incident.witnesses, incident.class).to_owned()]),
        ("ids_reason", vec![alert.reason.clone().into_owned()]),
        ("ids_false_if", vec![alert.doubt.false_if.clone()]),
        ("ids_next", vec![alert.doubt.next.clone()]),
        ("ids_incident", vec![format!("{:016x}", incident.id)]),
        ("ids_stage", vec![alert.stage().to_owned()]),
        ("ids_suppressed", vec![incident.suppressed.to_string()]),
        ("ids_flows", vec![incident.flows.to_string()]),
        ("ids_agent_version", vec![alert.provenance.agent_version.to_owned()]),
    ]);
    // The schema wants at least one element in an array, so empty ones stay out.
    let mut put = |name, values: Vec<String>| {
        if !values.is_empty() {
            metadata.insert(name, values);
        }
    };
    put("ids_emitted", alert.emitted.map(|at| at.eve().to_string()).into_iter().collect());
    put("ids_kind", Some(incident.kind.to_owned()).filter(|kind| !kind.is_empty()).into_iter().collect());
    put(
        "ids_witnesses",
        incident
            .witnesses
            .iter()
            .map(|said| format!("{} {} {:.4}", said.witness.name(), said.class.name(), said.score))
            .collect(),
    );
    put(
        "ids_evidence",
        incident
            .evidence
            .iter()
            .map(|one| {
                format!("{} {} {} (normal {} to {})", one.feature, one.value, one.unit, one.normal_low, one.normal_high)
            })
            .collect(),
    );
    put("ids_suricata", incident.matched.iter().map(MatchedLine::words).collect());
    put("ids_models", alert.provenance.models.iter().map(|model| format!("{} {}", model.name, model.sha256)).collect());
    if let Some(technique) = alert.attack {
        put("mitre_technique_id", vec![technique.id.to_owned()]);
        put("mitre_technique_name", vec![technique.name.replace(' ', "_")]);
        put("mitre_tactic_id", vec![technique.tactic_id.to_owned()]);
        put("mitre_tactic_name", vec![technique.tactic_name.replace(' ', "_")]);
    }
    metadata
}

#[derive(Debug, Serialize)]
pub(super) struct EveFlow<'a> {
    timestamp: String,
    flow_id: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    in_iface: Option<&'a str>,
    event_type: &'static str,
    #[serde(flatten)]
    ends: EndsObject<'a>,
    flow: FlowObject,
    metadata: FlowMetadata,
    #[serde(skip_serializing_if = "Option::is_none")]
    tcp: Option<TcpObject>,
    #[serde(flatten)]
    app: AppObjects<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct FlowMetadata {
    flowbits: Vec<String>,
}

pub(super) fn flow<'a>(line: &'a FlowLine<'a>) -> EveFlow<'a> {
    let verdict = line.verdict;
    let mut flowbits = vec![format!("ids.class.{}", verdict.class.name())];
    if let Some(id) = verdict.incident {
        flowbits.push(format!("ids.incident.{id:016x}"));
    }
    EveFlow {
        timestamp: line.at.eve().to_string(),
        flow_id: line.ends.flow_id,
        in_iface: line.ends.interface,
        event_type: "flow",
        ends: EndsObject::of(&line.ends),
        flow: FlowObject::of(&line.counts, verdict.incident.is_some()),
        metadata: FlowMetadata { flowbits },
        tcp: TcpObject::of(&line.counts),
        app: AppObjects::of(line.ends.payload),
        host: line.provenance.host.as_deref(),
    }
}
