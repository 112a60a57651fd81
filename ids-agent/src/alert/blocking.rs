//! What the agent says of its own blocking, in each form: that it cannot keep up, and refuses new blocks. An alert like the
//! others, without a flow.

use serde_json::{Value, json};

use super::{FORM_VERSION, GID, Provenance, REV, ecs::ECS_VERSION};
use crate::{clock::Timestamp, detect::Severity};

/// The class of these alerts. It is none of traffic, so no model and no allow list knows it.
const CLASS: &str = "blocking";
const KIND: &str = "refused";
const ID: u32 = 1_901_301;
const TEXT: &str = "IDS blocking refused";
/// Suricata's words for what is no attack.
const CATEGORY: &str = "Misc activity";
const NEXT: &str = "see in the audit who was not blocked, and why the enforcer is slow; docs/blocking.md";

fn reason(waiting_max: usize) -> String {
    format!("{waiting_max} proposals wait for the enforcer, and new blocks are refused")
}

fn alert() -> Value {
    json!({
        "action": "allowed", "gid": GID, "signature_id": ID, "rev": REV, "signature": TEXT, "category": CATEGORY,
        "severity": Severity::High as u8,
    })
}

fn with_host(mut line: Value, name: &str, provenance: &Provenance) -> Value {
    if let (Value::Object(map), Some(host)) = (&mut line, provenance.host.as_deref()) {
        map.insert(name.to_owned(), json!(host));
    }
    line
}

/// The native form.
pub(super) fn native(at_ns: u64, waiting_max: usize, provenance: &Provenance) -> Value {
    let ids = json!({
        "version": FORM_VERSION, "class": CLASS, "kind": KIND, "reason": reason(waiting_max), "next": NEXT,
        "agent_version": provenance.agent_version,
    });
    let ids = with_host(ids, "host", provenance);
    json!({ "timestamp": wall(at_ns, provenance).eve().to_string(), "event_type": "alert", "alert": alert(), "ids": ids })
}

/// Strict EVE: what Suricata writes of events without a packet, with the rest as metadata.
pub(super) fn eve(at_ns: u64, waiting_max: usize, provenance: &Provenance) -> Value {
    let mut alert = alert();
    if let Value::Object(map) = &mut alert {
        let metadata = json!({
            "ids_class": [CLASS], "ids_kind": [KIND], "ids_reason": [reason(waiting_max)], "ids_next": [NEXT],
            "ids_agent_version": [provenance.agent_version],
        });
        map.insert("metadata".to_owned(), metadata);
    }
    let line = json!({ "timestamp": wall(at_ns, provenance).eve().to_string(), "event_type": "alert", "alert": alert });
    with_host(line, "host", provenance)
}

/// Elastic Common Schema.
pub(super) fn ecs(at_ns: u64, waiting_max: usize, provenance: &Provenance) -> Value {
    let at = wall(at_ns, provenance).rfc3339().to_string();
    let observer = json!({ "type": "ids", "product": "ids-agent", "version": provenance.agent_version });
    json!({
        "@timestamp": at,
        "ecs": { "version": ECS_VERSION },
        "data_stream": { "type": "logs", "dataset": "ids.alert", "namespace": "default" },
        "message": reason(waiting_max),
        "event": {
            "kind": "alert", "category": ["intrusion_detection"], "type": ["info"], "action": format!("{CLASS}_{KIND}"),
            "module": "ids", "dataset": "ids.alert", "provider": "ids-agent", "severity": Severity::High as u8,
            "reason": reason(waiting_max),
        },
        "rule": {
            "id": ID.to_string(), "name": TEXT, "category": CATEGORY, "ruleset": "ids-agent", "version": REV.to_string(),
        },
        "observer": with_host(observer, "hostname", provenance),
        "ids": { "version": FORM_VERSION, "class": CLASS, "kind": KIND, "next": NEXT },
    })
}

fn wall(at_ns: u64, provenance: &Provenance) -> Timestamp {
    provenance.axis.offset().wall(at_ns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Axis;

    #[test]
    fn each_form_names_the_signature_and_why() {
        let provenance = Provenance {
            agent_version: "0.0.0-test",
            host: Some("gateway".into()),
            interfaces: Vec::new(),
            models: Vec::new(),
            axis: Axis::Wall,
        };
        let [native, eve, ecs] = [native, eve, ecs].map(|form| form(1_499_257_434_123_456_789, 256, &provenance));
        assert_eq!((&native["alert"]["signature"], &native["ids"]["host"]), (&json!(TEXT), &json!("gateway")));
        assert_eq!(native["timestamp"], "2017-07-05T12:23:54.123456+0000");
        assert_eq!(eve["alert"]["metadata"]["ids_reason"], json!([reason(256)]));
        let mut keys: Vec<&str> = eve.as_object().into_iter().flatten().map(|(key, _)| key.as_str()).collect();
        keys.sort_unstable();
        assert_eq!(keys, ["alert", "event_type", "host", "timestamp"], "none that EVE does not know");
        assert_eq!((&ecs["rule"]["name"], &ecs["event"]["reason"]), (&json!(TEXT), &json!(reason(256))));
        assert_eq!(ecs["@timestamp"], "2017-07-05T12:23:54.123456Z");
    }
}
