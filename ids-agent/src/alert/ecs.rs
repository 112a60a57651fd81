//! Elastic Common Schema 8.17. What it has no field for stands under `ids`.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{
    Alert, Counts, Endpoints, EvidenceLine, FORM_VERSION, FlowLine, ModelLine, Provenance, REV, WitnessLine,
    agreement::{HeardLine, MatchedLine, agreement_kind},
    app::{AppObjects, Dns, login_name},
    rounded,
};
use crate::payload::PayloadFacts;

pub(super) const ECS_VERSION: &str = "8.17.0";

pub(super) fn alert(alert: &Alert<'_>) -> Value {
    let incident = alert.incident;
    let duration_ns = incident.last_ns.saturating_sub(incident.first_ns);
    let mut line = common(alert.at.rfc3339().to_string(), &alert.ends, alert.provenance, "ids.alert");
    put(&mut line, "message", json!(alert.reason));
    let mut event = json!({
            "kind": "alert",
            "category": ["intrusion_detection", "network"],
            "type": ["info"],
            "action": incident.class.name(),
            "module": "ids",
            "dataset": "ids.alert",
            "provider": "ids-agent",
            // A summary is an event of its own: its time tells it from the first report.
            "id": format!("{:016x}-{:x}", incident.id, incident.last_ns),
            "severity": alert.severity as u8,
            "risk_score": rounded(incident.score * 100.0),
            "start": alert.first.rfc3339().to_string(),
            "end": alert.at.rfc3339().to_string(),
            "duration": duration_ns,
            "reason": alert.reason,
    });
    if let Some(at) = alert.emitted {
        insert(&mut event, "created", json!(at.rfc3339().to_string()));
    }
    put(&mut line, "event", event);
    put(
        &mut line,
        "rule",
        json!({
            "id": alert.signature.id.to_string(),
            "name": alert.signature_text(),
            "category": alert.signature.category,
            "ruleset": "ids-agent",
            "version": REV.to_string(),
        }),
    );
    if let Some(technique) = alert.attack {
        let (parent, sub) = match technique.id.split_once('.') {
            Some((parent, _)) => (parent, json!({ "id": [technique.id], "name": [technique.name] })),
            None => (technique.id, Value::Null),
        };
        let mut object = json!({ "id": [parent] });
        if sub.is_null() {
            insert(&mut object, "name", json!([technique.name]));
        } else {
            insert(&mut object, "subtechnique", sub);
        }
        let tactic = json!({ "id": [technique.tactic_id], "name": [technique.tactic_name] });
        put(&mut line, "threat", json!({ "framework": "MITRE ATT&CK", "tactic": tactic, "technique": object }));
    }
    if let Some(counts) = &alert.flow {
        volumes(&mut line, counts);
    }
    let mut ids = json!({
        "version": FORM_VERSION,
        "class": incident.class.name(),
        "kind": incident.kind,
        "confidence": rounded(incident.score),
        "agreement": rounded(incident.agreement),
        "agreement_kind": agreement_kind(&incident.witnesses, incident.class),
        "witnesses": WitnessLine::all(&incident.witnesses),
        "false_if": alert.doubt.false_if,
        "next": alert.doubt.next,
        "evidence": EvidenceLine::all(&incident.evidence),
        "subject": alert.subject(),
        "incident": format!("{:016x}", incident.id),
        "stage": alert.stage(),
        "suppressed": incident.suppressed,
        "flows": incident.flows,
        "models": ModelLine::all(&alert.provenance.models),
    });
    if !incident.matched.is_empty() {
        insert(&mut ids, "suricata", json!(MatchedLine::all(&incident.matched)));
    }
    heard(&mut ids, &incident.payload);
    app_extras(&mut ids, &alert.ends);
    put(&mut line, "ids", ids);
    Value::Object(line)
}

pub(super) fn flow(flow: &FlowLine<'_>) -> Value {
    let verdict = flow.verdict;
    let mut line = common(flow.at.rfc3339().to_string(), &flow.ends, flow.provenance, "ids.flow");
    put(
        &mut line,
        "event",
        json!({
            "kind": "event",
            "category": ["network"],
            "type": ["connection", "end"],
            "action": "network_flow",
            "module": "ids",
            "dataset": "ids.flow",
            "provider": "ids-agent",
            "start": flow.counts.start.rfc3339().to_string(),
            "end": flow.counts.end.rfc3339().to_string(),
            "duration": flow.counts.duration_ns(),
            "reason": flow.counts.end_name(),
        }),
    );
    volumes(&mut line, &flow.counts);
    let mut ids = json!({
        "version": FORM_VERSION,
        "class": verdict.class.name(),
        "kind": verdict.kind,
        "confidence": rounded(verdict.confidence),
        "witnesses": WitnessLine::all(&verdict.witnesses),
    });
    if let Some(id) = verdict.incident {
        insert(&mut ids, "incident", json!(format!("{id:016x}")));
    }
    if let Some(heard) = verdict.payload.heard.as_deref().filter(|heard| !heard.signatures.is_empty()) {
        insert(&mut ids, "suricata", json!(MatchedLine::all(&heard.signatures)));
    }
    heard(&mut ids, &verdict.payload);
    app_extras(&mut ids, &flow.ends);
    put(&mut line, "ids", ids);
    Value::Object(line)
}

/// What Suricata saw pass in the flow.
fn heard(ids: &mut Value, payload: &PayloadFacts) {
    if let Some(heard) = HeardLine::of(payload.heard.as_deref()) {
        insert(ids, "heard", json!(heard));
    }
}

/// The fields that every line has.
fn common(
    timestamp: String,
    ends: &Endpoints<'_>,
    provenance: &Provenance,
    dataset: &'static str,
) -> Map<String, Value> {
    let mut line = Map::new();
    put(&mut line, "@timestamp", json!(timestamp));
    put(&mut line, "ecs", json!({ "version": ECS_VERSION }));
    put(&mut line, "data_stream", json!({ "type": "logs", "dataset": dataset, "namespace": "default" }));
    let mut source = json!({ "ip": ends.src, "address": ends.src });
    let mut destination = json!({ "ip": ends.dst, "address": ends.dst });
    if let Some((src_port, dst_port)) = ends.ports {
        insert(&mut source, "port", json!(src_port));
        insert(&mut destination, "port", json!(dst_port));
    }
    put(&mut line, "source", source);
    put(&mut line, "destination", destination);
    put(&mut line, "related", json!({ "ip": BTreeSet::from([ends.src, ends.dst]) }));

    let mut network = json!({
        "community_id": ends.community_id,
        "transport": ends.proto_name.to_ascii_lowercase(),
        "iana_number": ends.proto.to_string(),
        "type": if ends.src.is_ipv4() { "ipv4" } else { "ipv6" },
    });
    if let Some(app) = ends.app_name() {
        insert(&mut network, "protocol", json!(app));
    }
    if let Some(vlan) = ends.vlan {
        insert(&mut network, "vlan", json!({ "id": vlan.to_string() }));
    }
    put(&mut line, "network", network);

    let mut observer = json!({ "type": "ids", "product": "ids-agent", "version": provenance.agent_version });
    if let Some(host) = &provenance.host {
        insert(&mut observer, "hostname", json!(host.as_ref()));
    }
    if let Some(interface) = ends.interface {
        insert(&mut observer, "ingress", json!({ "interface": { "name": interface } }));
    }
    put(&mut line, "observer", observer);

    let payload = ends.payload;
    if let Some(tls) = &payload.tls {
        let mut object = json!({});
        let mut client = json!({});
        if let Some(sni) = &tls.sni {
            insert(&mut client, "server_name", json!(sni.as_ref()));
        }
        if let Some(ja3) = &tls.ja3 {
            insert(&mut client, "ja3", json!(ja3.as_ref()));
        }
        insert_filled(&mut object, "client", client);
        let mut server = json!({});
        if let Some(ja3s) = &tls.ja3s {
            insert(&mut server, "ja3s", json!(ja3s.as_ref()));
        }
        if let Some(certificate) = &tls.certificate {
            insert(&mut server, "subject", json!(certificate.subject.as_ref()));
            insert(&mut server, "issuer", json!(certificate.issuer.as_ref()));
        }
        insert_filled(&mut object, "server", server);
        // ECS wants the bare number: `1.3`.
        if let Some(version) = tls.version_label().and_then(|label| label.strip_prefix("TLS ")) {
            insert(&mut object, "version", json!(version));
            insert(&mut object, "version_protocol", json!("tls"));
        }
        put(&mut line, "tls", object);
    }
    if let Some(http) = &payload.http {
        if let Some(agent) = &http.user_agent {
            put(&mut line, "user_agent", json!({ "original": agent.as_ref() }));
        }
        if let Some(path) = &http.path {
            put(&mut line, "url", json!({ "original": path.as_ref(), "domain": http.host.as_deref() }));
        }
        let mut object = json!({});
        if let Some(method) = &http.method {
            insert(&mut object, "request", json!({ "method": method.as_ref() }));
        }
        if let Some(status) = http.status {
            insert(&mut object, "response", json!({ "status_code": status }));
        }
        put(&mut line, "http", object);
    }
    if let Some(dns) = Dns::of(payload)
        && let Some(name) = dns.rrname
    {
        put(&mut line, "dns", json!({ "question": { "name": name, "type": dns.rrtype }, "response_code": dns.rcode }));
    }
    line
}

/// Packets and bytes of both sides and of the flow.
fn volumes(line: &mut Map<String, Value>, counts: &Counts) {
    let [to_server, to_client] = [0, 1].map(|side: usize| {
        (counts.packets.get(side).copied().unwrap_or(0), counts.bytes.get(side).copied().unwrap_or(0))
    });
    for (name, (packets, bytes)) in [
        ("source", to_server),
        ("destination", to_client),
        ("network", (to_server.0.saturating_add(to_client.0), to_server.1.saturating_add(to_client.1))),
    ] {
        if let Some(object) = line.get_mut(name) {
            insert(object, "packets", json!(packets));
            insert(object, "bytes", json!(bytes));
        }
    }
}

/// Application facts without a field in ECS.
fn app_extras(ids: &mut Value, ends: &Endpoints<'_>) {
    if let Some(ja4) = ends.payload.tls.as_ref().and_then(|tls| tls.ja4.as_deref()) {
        insert(ids, "ja4", json!(ja4));
    }
    if let Some(ssh) = AppObjects::of(ends.payload).ssh {
        insert(ids, "ssh", json!(ssh));
    }
    if let Some(login) = login_name(ends.payload) {
        insert(ids, "login", json!(login));
    }
}

fn put(line: &mut Map<String, Value>, name: &str, value: Value) {
    line.insert(name.to_owned(), value);
}

/// An object without members is no member.
fn insert_filled(object: &mut Value, name: &str, value: Value) {
    if value.as_object().is_some_and(|map| !map.is_empty()) {
        insert(object, name, value);
    }
}

fn insert(object: &mut Value, name: &str, value: Value) {
    if let Value::Object(map) = object {
        map.insert(name.to_owned(), value);
    }
}
