//! What the agent says of itself, in each form: that it sees less than it should, and that it sees all again. It is an alert
//! like the others, without a flow.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use super::{FORM_VERSION, GID, Provenance, REV, rounded};
use crate::{
    budget::{Notice, NoticeStage},
    clock::Timestamp,
    detect::Severity,
};

/// The class of notices. It is none of traffic, so no model and no allow list knows it.
const CLASS: &str = "visibility";
/// Suricata's words for what is no attack.
const CATEGORY: &str = "Misc activity";

/// Signatures of notices: id, kind and text, behind those of traffic.
pub static NOTICE_SIGNATURES: [(u32, &str, &str); 2] =
    [(1_901_201, "degraded", "IDS visibility degraded"), (1_901_202, "restored", "IDS visibility restored")];

/// Everything a notice says, before it has a shape.
struct Told<'a> {
    at: Timestamp,
    since: Timestamp,
    emitted: Option<Timestamp>,
    id: u32,
    kind: &'static str,
    text: &'static str,
    severity: Severity,
    next: &'static str,
    causes: Vec<&'static str>,
    coverage: BTreeMap<&'static str, f64>,
    notice: &'a Notice,
    provenance: &'a Provenance,
}

impl<'a> Told<'a> {
    fn of(notice: &'a Notice, provenance: &'a Provenance) -> Self {
        let [degraded, restored] = NOTICE_SIGNATURES;
        let ((id, kind, text), severity, next) = match notice.stage {
            NoticeStage::Degraded => (
                degraded,
                Severity::Medium,
                "see what takes the machine's time and memory, or raise [budget]; docs/budget.md says what each level gives up",
            ),
            NoticeStage::Restored => (restored, Severity::Info, "nothing; attacks in between may have gone unseen"),
        };
        let offset = provenance.axis.offset();
        let mut causes: Vec<&'static str> = notice.causes.iter().map(|cause| cause.name()).collect();
        causes.dedup();
        Self {
            at: offset.wall(notice.at_ns),
            since: offset.wall(notice.since_ns),
            emitted: provenance.axis.now(),
            id,
            kind,
            text,
            severity,
            next,
            causes,
            coverage: notice.coverage.iter().map(|(sense, share)| (sense.name(), rounded(*share as f32))).collect(),
            notice,
            provenance,
        }
    }

    fn level(&self) -> u8 {
        self.notice.effort.level.number()
    }

    fn tables(&self) -> f64 {
        self.notice.effort.tables.share()
    }

    fn alert(&self) -> Value {
        json!({
            "action": "allowed",
            "gid": GID,
            "signature_id": self.id,
            "rev": REV,
            "signature": self.text,
            "category": CATEGORY,
            "severity": self.severity as u8,
        })
    }
}

#[derive(Serialize)]
struct Native<'a> {
    timestamp: String,
    event_type: &'static str,
    alert: Value,
    ids: Ids<'a>,
}

#[derive(Serialize)]
struct Ids<'a> {
    version: u32,
    class: &'static str,
    kind: &'static str,
    level: u8,
    tables: f64,
    causes: &'a [&'static str],
    coverage: &'a BTreeMap<&'static str, f64>,
    reason: &'a str,
    next: &'static str,
    first_seen: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    emitted: Option<String>,
    agent_version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<&'a str>,
}

/// The native form.
pub(super) fn native(notice: &Notice, provenance: &Provenance) -> impl Serialize {
    let told = Told::of(notice, provenance);
    let ids = Ids {
        version: FORM_VERSION,
        class: CLASS,
        kind: told.kind,
        level: told.level(),
        tables: told.tables(),
        causes: &told.causes,
        coverage: &told.coverage,
        reason: &notice.reason,
        next: told.next,
        first_seen: told.since.eve().to_string(),
        emitted: told.emitted.map(|at| at.eve().to_string()),
        agent_version: provenance.agent_version,
        host: provenance.host.as_deref(),
    };
    let line = Native { timestamp: told.at.eve().to_string(), event_type: "alert", alert: told.alert(), ids };
    serde_json::to_value(line).unwrap_or_default()
}

/// Strict EVE: what Suricata writes of events without a packet, with the rest as metadata.
pub(super) fn eve(notice: &Notice, provenance: &Provenance) -> impl Serialize {
    let told = Told::of(notice, provenance);
    let mut metadata = json!({
        "ids_class": [CLASS],
        "ids_kind": [told.kind],
        "ids_level": [told.level().to_string()],
        "ids_tables": [told.tables().to_string()],
        "ids_reason": [notice.reason],
        "ids_next": [told.next],
        "ids_first_seen": [told.since.eve().to_string()],
        "ids_agent_version": [provenance.agent_version],
    });
    // The schema wants at least one element in an array.
    let mut put = |name: &str, values: Vec<String>| {
        if !values.is_empty()
            && let Value::Object(map) = &mut metadata
        {
            map.insert(name.to_owned(), json!(values));
        }
    };
    put("ids_causes", told.causes.iter().map(ToString::to_string).collect());
    put("ids_coverage", told.coverage.iter().map(|(sense, share)| format!("{sense} {share}")).collect());
    put("ids_emitted", told.emitted.map(|at| at.eve().to_string()).into_iter().collect());
    let mut alert = told.alert();
    if let Value::Object(map) = &mut alert {
        map.insert("metadata".to_owned(), metadata);
    }
    let mut line = json!({ "timestamp": told.at.eve().to_string(), "event_type": "alert", "alert": alert });
    if let (Value::Object(map), Some(host)) = (&mut line, provenance.host.as_deref()) {
        map.insert("host".to_owned(), json!(host));
    }
    line
}

/// Elastic Common Schema.
pub(super) fn ecs(notice: &Notice, provenance: &Provenance) -> impl Serialize {
    let told = Told::of(notice, provenance);
    let mut observer = json!({ "type": "ids", "product": "ids-agent", "version": provenance.agent_version });
    if let (Value::Object(map), Some(host)) = (&mut observer, told.provenance.host.as_deref()) {
        map.insert("hostname".to_owned(), json!(host));
    }
    let mut event = json!({
        "kind": "alert",
        "category": ["intrusion_detection"],
        "type": ["info"],
        "action": format!("{CLASS}_{}", told.kind),
        "module": "ids",
        "dataset": "ids.alert",
        "provider": "ids-agent",
        "severity": told.severity as u8,
        "start": told.since.rfc3339().to_string(),
        "end": told.at.rfc3339().to_string(),
        "reason": notice.reason,
    });
    if let (Value::Object(map), Some(at)) = (&mut event, told.emitted) {
        map.insert("created".to_owned(), json!(at.rfc3339().to_string()));
    }
    json!({
        "@timestamp": told.at.rfc3339().to_string(),
        "ecs": { "version": super::ecs::ECS_VERSION },
        "data_stream": { "type": "logs", "dataset": "ids.alert", "namespace": "default" },
        "message": notice.reason,
        "event": event,
        "rule": {
            "id": told.id.to_string(),
            "name": told.text,
            "category": CATEGORY,
            "ruleset": "ids-agent",
            "version": REV.to_string(),
        },
        "observer": observer,
        "ids": {
            "version": FORM_VERSION,
            "class": CLASS,
            "kind": told.kind,
            "level": told.level(),
            "tables": told.tables(),
            "causes": told.causes,
            "coverage": told.coverage,
            "next": told.next,
        },
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed step fails the test")]
    use super::*;
    use crate::{
        alert::Renderer,
        budget::{Effort, Level, Sight, Visibility, Why},
        clock::Axis,
        config::{AlertFormat, SampleSettings},
    };

    const AT_NS: u64 = 1_499_257_434_000_000_000;

    fn lines(format: AlertFormat) -> [Value; 2] {
        let provenance = Provenance {
            agent_version: "1.2.3",
            host: None,
            interfaces: Vec::new(),
            models: Vec::new(),
            axis: Axis::Wall,
        };
        let renderer = Renderer::new(format, provenance);
        let mut visibility = Visibility::new(SampleSettings::default(), crate::budget::Sense::ALL);
        let at = |secs: u64, level| Sight {
            at_ns: AT_NS + secs * 1_000_000_000,
            effort: Effort::at(level),
            why: Some(Why::Cpu),
            ..Sight::default()
        };
        [at(0, Level::Reduced), at(30, Level::Full)].map(|sight| {
            let line = renderer.notice(&visibility.look(&sight).unwrap());
            assert_eq!(line.last(), Some(&b'\n'));
            serde_json::from_slice(&line).unwrap()
        })
    }

    #[test]
    fn natively_a_notice_is_an_alert_with_level_causes_and_coverage() {
        let [degraded, restored] = lines(AlertFormat::Native);
        assert_eq!(degraded["event_type"], "alert");
        assert_eq!(degraded["timestamp"], "2017-07-05T12:23:54.000000+0000");
        assert_eq!(degraded["alert"]["signature"], "IDS visibility degraded");
        assert_eq!(degraded["alert"]["severity"], 2);
        assert_eq!((&degraded["ids"]["class"], &degraded["ids"]["kind"]), (&json!("visibility"), &json!("degraded")));
        assert_eq!((&degraded["ids"]["level"], &degraded["ids"]["causes"]), (&json!(2), &json!(["level"])));
        assert_eq!(
            (&degraded["ids"]["coverage"]["payload"], &degraded["ids"]["coverage"]["anomaly"]),
            (&json!(0.0), &json!(0.25))
        );
        assert_eq!(restored["ids"]["kind"], "restored");
        assert_eq!(restored["ids"]["first_seen"], degraded["timestamp"]);
        assert_eq!(restored["alert"]["severity"], 4);
    }

    #[test]
    fn strict_eve_has_everything_in_metadata_as_arrays_of_strings() {
        let [degraded, _] = lines(AlertFormat::Eve);
        let keys: Vec<&String> = degraded.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["alert", "event_type", "timestamp"]);
        let metadata = degraded["alert"]["metadata"].as_object().unwrap();
        for (name, values) in metadata {
            assert!(values.as_array().is_some_and(|all| !all.is_empty() && all.iter().all(Value::is_string)), "{name}");
        }
        assert_eq!(metadata["ids_level"], json!(["2"]));
        assert!(metadata["ids_coverage"].as_array().unwrap().contains(&json!("payload 0")), "{metadata:?}");
    }

    #[test]
    fn in_ecs_a_notice_is_an_event_of_the_alerts_stream() {
        let [degraded, restored] = lines(AlertFormat::Ecs);
        assert_eq!(degraded["event"]["action"], "visibility_degraded");
        assert_eq!(degraded["data_stream"]["dataset"], "ids.alert");
        assert_eq!(degraded["rule"]["id"], "1901201");
        assert_eq!(restored["event"]["reason"], "all is seen again, after 30 s with less");
        assert_eq!(restored["ids"]["coverage"]["payload"], json!(1.0));
    }
}
