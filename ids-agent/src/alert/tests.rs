//! The three forms against golden files, and strict EVE against the keys of Suricata's schema.
#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::{collections::BTreeSet, fs, net::IpAddr, path::PathBuf};

use ids_common::{
    flow::{Continuity, FlowSlot},
    parse::PacketMeta,
};
use serde_json::Value;

use super::*;
use crate::{
    detect::{Class, Witness},
    features::{FEATURES, FeatureVector},
    payload::{AppProto, CertificateFacts, DnsFacts, HttpFacts, SshFacts, TlsFacts},
};

const FLOW_ID: u64 = (1 << 52) - 1;
const START_NS: u64 = 1_499_257_434_000_000_000;

fn mapped(text: &str) -> [u8; 16] {
    match text.parse().unwrap() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

fn key(src: &str, dst: &str, proto: u8, ports: (u16, u16)) -> FlowKey {
    let (src_port, dst_port) = ports;
    FlowKey { src: mapped(src), dst: mapped(dst), proto, src_port, dst_port, ..PacketMeta::default().key }
}

fn slot(key: FlowKey, at_ns: u64, lens: &[u32]) -> FlowSlot {
    let meta = |len: u32| PacketMeta { key, len, tcp_flags: 0x12, ttl: 64, ..PacketMeta::default() };
    let mut slot = FlowSlot::begin(&meta(lens[0]), at_ns, Continuity::Continues);
    for (number, len) in (1..).zip(&lens[1..]) {
        slot.update(&meta(*len), at_ns + number * 1_000_000);
    }
    slot
}

fn record(key: FlowKey) -> FlowRecord {
    FlowRecord {
        id: FLOW_ID,
        key,
        forward: slot(key, START_NS, &[60, 52, 700]),
        backward: Some(slot(key.reversed(), START_NS + 400_000, &[60, 1_500])),
        start_ns: START_NS,
        end_ns: START_NS + 2_345_678_901,
        state: FlowState::Ended(FlowEnd::Fin),
    }
}

fn payload() -> PayloadFacts {
    PayloadFacts {
        app: AppProto::Tls,
        tls: Some(Box::new(TlsFacts {
            sni: Some("evil\u{1b}[31m.example".into()),
            alpn: Some("h2".into()),
            ja4: Some("t13d1516h2_8daaf6152771_02713d6af862".into()),
            ja3: Some("ada70206e40642a3e4461f35503241d5".into()),
            ja3s: Some("15af977ce25de452b96affa2addb1036".into()),
            certificate: Some(Box::new(CertificateFacts {
                subject: "CN=a.example".into(),
                issuer: "C=US, O=Example".into(),
                self_signed: false,
                not_before_secs: Some(1_577_836_800),
                not_after_secs: Some(1_893_456_000),
            })),
            version_chosen: Some(0x0304),
            ..TlsFacts::default()
        })),
        http: Some(Box::new(HttpFacts {
            method: Some("GET".into()),
            host: Some("shop.example".into()),
            path: Some("/?id=1%27".into()),
            user_agent: Some("curl/8".into()),
            status: Some(200),
            ..HttpFacts::default()
        })),
        dns: Some(Box::new(DnsFacts {
            query: Some("a.example".into()),
            qtype: Some("TXT".into()),
            rcode: Some(3),
            queries: 2,
            responses: 1,
            ..DnsFacts::default()
        })),
        ssh: Some(Box::new(SshFacts { client: Some("SSH-2.0-OpenSSH_9.2p1 x".into()), server: None })),
        ..PayloadFacts::default()
    }
}

fn incident() -> Incident {
    let key = key("10.0.0.7", "10.0.0.9", 6, (40_000, 443));
    Incident {
        id: 0x1234,
        stage: Stage::Opened,
        class: Class::PortScan,
        kind: "syn_scan",
        score: 0.987_654,
        agreement: 0.5,
        severity: Severity::Medium,
        subject: Subject::Pair { src: key.src, dst: key.dst },
        source: Some(key.src),
        target: Some(key.dst),
        key,
        flow_id: FLOW_ID,
        community_id: "1:wCb3OG7yAFWelaUydu0D+125CLM=".to_owned(),
        record: Some(record(key)),
        payload: payload(),
        reason: "10.0.0.7 tried 120 ports of 10.0.0.9 in 10 s".to_owned(),
        evidence: vec![Evidence {
            feature: "pair_ports_10s",
            value: 120.000_000_1,
            normal_low: 0.0,
            normal_high: 8.0,
            unit: "ports",
        }],
        witnesses: vec![WitnessScore {
            witness: Witness::Behaviour,
            class: Class::PortScan,
            kind: "syn_scan",
            score: 0.9,
        }],
        first_ns: START_NS,
        last_ns: START_NS + 1_500_000_000,
        suppressed: 0,
        flows: 120,
        matched: smallvec::SmallVec::new(),
        exhibit: None,
    }
}

fn verdict() -> Verdict {
    Verdict {
        record: record(key("2001:db8::7", "2001:db8::9", 6, (40_000, 443))),
        features: FeatureVector { values: [0.0; FEATURES] },
        payload: payload(),
        class: Class::PortScan,
        kind: "syn_scan",
        confidence: 0.75,
        witnesses: incident().witnesses,
        incident: Some(0x1234),
    }
}

fn renderer(format: AlertFormat) -> Renderer {
    Renderer::new(
        format,
        Provenance {
            agent_version: "0.0.0-test",
            host: Some("gateway".into()),
            interfaces: vec!["eth0".into()],
            models: vec![ModelInfo {
                name: "flow".into(),
                version: "1".into(),
                sha256: "ab".repeat(32).into(),
                backend: "tract",
            }],
            axis: Axis::Wall,
        },
    )
}

fn parsed(line: &[u8]) -> Value {
    assert_eq!(line.iter().filter(|byte| byte.is_ascii_control()).count(), 1, "the line end alone");
    serde_json::from_slice(line).unwrap()
}

/// Compares with `tests/golden/NAME`; `IDS_BLESS=1` writes it anew.
fn check(name: &str, line: &[u8]) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/golden").join(name);
    let found = format!("{}\n", serde_json::to_string_pretty(&parsed(line)).unwrap());
    if std::env::var_os("IDS_BLESS").is_some() {
        fs::write(&path, &found).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap();
    assert!(found == expected, "{name} is now\n{found}\nand was\n{expected}");
}

#[test]
fn the_native_form_is_as_documented() {
    check("alert.native.json", &renderer(AlertFormat::Native).alert(&incident()));
    check("flow.native.json", &renderer(AlertFormat::Native).flow(&verdict()));
}

#[test]
fn the_eve_form_is_as_documented() {
    check("alert.eve.json", &renderer(AlertFormat::Eve).alert(&incident()));
    check("flow.eve.json", &renderer(AlertFormat::Eve).flow(&verdict()));
}

#[test]
fn the_ecs_form_is_as_documented() {
    check("alert.ecs.json", &renderer(AlertFormat::Ecs).alert(&incident()));
    check("flow.ecs.json", &renderer(AlertFormat::Ecs).flow(&verdict()));
}

/// Keys that Suricata's `etc/schema.json` (8.0.7) allows where our lines have objects. A dot leads
/// into an object; `alert.metadata` takes any key whose value is an array of strings.
const EVE_KEYS: &str = "timestamp flow_id in_iface event_type src_ip src_port dest_ip dest_port proto icmp_type \
    icmp_code app_proto vlan community_id host \
    alert.action alert.gid alert.signature_id alert.rev alert.signature alert.category alert.severity \
    flow.pkts_toserver flow.pkts_toclient flow.bytes_toserver flow.bytes_toclient flow.start flow.end flow.age \
    flow.state flow.reason flow.alerted metadata.flowbits \
    tcp.syn tcp.fin tcp.rst tcp.psh tcp.ack \
    tls.sni tls.version tls.ja4 tls.client_alpns tls.ja3 tls.ja3.hash tls.ja3s tls.ja3s.hash tls.subject tls.issuerdn \
    tls.notbefore tls.notafter \
    http.hostname http.url http.http_user_agent http.http_method http.status \
    ssh.client.proto_version ssh.client.software_version ssh.server.proto_version ssh.server.software_version";

fn leaves(prefix: &str, value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) if prefix == "alert.metadata" => {
            for (name, values) in map {
                let strings = values.as_array().filter(|all| !all.is_empty() && all.iter().all(Value::is_string));
                assert!(strings.is_some(), "alert.metadata.{name} is no array of strings: {values}");
            }
        }
        Value::Object(map) => {
            for (name, inner) in map {
                let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
                leaves(&path, inner, found);
            }
        }
        _ => {
            found.insert(prefix.to_owned());
        }
    }
}

#[test]
fn strict_eve_has_keys_of_suricatas_schema_alone() {
    let allowed: BTreeSet<String> = EVE_KEYS.split_whitespace().map(str::to_owned).collect();
    let renderer = renderer(AlertFormat::Eve);
    let mut summary = incident();
    (summary.stage, summary.suppressed, summary.record, summary.kind) = (Stage::Summary, 9, None, "");
    summary.witnesses.clear();
    summary.evidence.clear();
    for line in [renderer.alert(&incident()), renderer.alert(&summary), renderer.flow(&verdict())] {
        let mut found = BTreeSet::new();
        leaves("", &parsed(&line), &mut found);
        let foreign: Vec<_> = found.difference(&allowed).collect();
        assert!(foreign.is_empty(), "{foreign:?}");
    }
}

/// Where `SURICATA_SCHEMA` names a copy of Suricata's `etc/schema.json` and Python has jsonschema.
#[test]
fn suricatas_own_schema_accepts_strict_eve() {
    let Some(schema) = std::env::var_os("SURICATA_SCHEMA") else {
        eprintln!("skipped: SURICATA_SCHEMA names no copy of Suricata's etc/schema.json");
        return;
    };
    let script = "import sys, json, jsonschema\n\
        v = jsonschema.Draft7Validator(json.load(open(sys.argv[1])))\n\
        bad = [e.message for l in open(sys.argv[2]) for e in v.iter_errors(json.loads(l))]\n\
        sys.exit('\\n'.join(bad) or 0)";
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("eve.json");
    let renderer = renderer(AlertFormat::Eve);
    fs::write(&file, [renderer.alert(&incident()), renderer.flow(&verdict())].concat()).unwrap();
    let checked = std::process::Command::new("python3").args(["-c", script]).arg(schema).arg(&file).output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}

#[test]
fn a_signature_id_never_changes_its_meaning() {
    let table: Vec<String> =
        SIGNATURES.iter().map(|s| format!("{} {} {} {}", s.id, s.class.name(), s.kind, s.text)).collect();
    let pinned = fs::read_to_string(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/signatures.txt"));
    assert_eq!(table.join("\n"), pinned.unwrap().trim_end(), "append to the table; never change or reuse a row");
    let ids: BTreeSet<u32> = SIGNATURES.iter().map(|signature| signature.id).collect();
    assert_eq!(ids.len(), SIGNATURES.len());
    assert!(ids.iter().all(|id| (1_900_001..2_000_000).contains(id)));
    for class in Class::ALL.into_iter().filter(|class| *class != Class::Benign) {
        assert_eq!(signature::of(class, "no such kind").class, class);
    }
}

#[test]
fn protocols_without_ports_name_none() {
    let mut ping = incident();
    ping.key = key("192.0.2.1", "192.0.2.2", 1, (8, 0));
    let line = parsed(&renderer(AlertFormat::Native).alert(&ping));
    assert_eq!(
        (line.get("src_port"), line["icmp_type"].as_u64(), line["proto"].as_str()),
        (None, Some(8), Some("ICMP"))
    );
}

#[test]
fn a_summary_says_how_much_it_stands_for() {
    let mut summary = incident();
    (summary.stage, summary.suppressed) = (Stage::Summary, 41);
    let line = parsed(&renderer(AlertFormat::Native).alert(&summary));
    assert!(line["alert"]["signature"].as_str().unwrap().ends_with("(suppressed 41)"));
    assert_eq!(line["ids"]["suppressed"], 41);
}

/// The reason of an alert about `subject` for which a detector gave `said`.
fn told(subject: Subject, said: &str) -> String {
    let alert = Incident { subject, reason: said.to_owned(), ..incident() };
    parsed(&renderer(AlertFormat::Native).alert(&alert))["ids"]["reason"].as_str().unwrap().to_owned()
}

#[test]
fn a_reason_without_addresses_is_told_with_them() {
    let key = incident().key;
    let flow = Subject::Flow { id: FLOW_ID };
    assert_eq!(told(flow, "it looks like a scan"), "10.0.0.7 to 10.0.0.9 port 443/tcp: it looks like a scan");
    assert_eq!(told(flow, "10.0.0.7 probes 10.0.0.9."), "10.0.0.7 probes 10.0.0.9.");
    assert_eq!(told(Subject::Source { src: key.src }, "it probes 10.0.0.70"), "10.0.0.7: it probes 10.0.0.70");
    assert_eq!(told(Subject::Target { dst: key.dst }, "10.0.0.9:443 is flooded"), "10.0.0.9:443 is flooded");
}

#[test]
fn a_long_reason_is_cut_at_a_character() {
    let long = format!("10.0.0.7 to 10.0.0.9 {}", "ü".repeat(4_000));
    let cut = told(incident().subject, &long);
    assert!(cut.len() <= REASON_BYTES_MAX && cut.ends_with('ü'));
}

#[test]
fn every_form_says_what_would_make_it_false_and_what_to_do() {
    let strings = [
        (AlertFormat::Native, ["/ids/false_if", "/ids/next"]),
        (AlertFormat::Eve, ["/alert/metadata/ids_false_if/0", "/alert/metadata/ids_next/0"]),
        (AlertFormat::Ecs, ["/ids/false_if", "/ids/next"]),
    ];
    for (format, [false_if, next]) in strings {
        let line = parsed(&renderer(format).alert(&incident()));
        let text = |at: &str| line.pointer(at).and_then(Value::as_str).unwrap_or_default().to_owned();
        assert!(text(false_if).starts_with("10.0.0.7 is a scanner"), "{line}");
        assert!(text(false_if).ends_with("`ids-agent feedback 0000000000001234 false`"), "{line}");
        assert!(text(next).contains("10.0.0.7"), "{line}");
    }
}

#[test]
fn a_live_alert_says_when_it_was_made_and_a_replayed_one_does_not() {
    let live = |format| {
        let mut renderer = renderer(format);
        renderer.provenance.axis = Axis::Boottime;
        renderer
    };
    for (format, at) in [
        (AlertFormat::Native, "/ids/emitted"),
        (AlertFormat::Eve, "/alert/metadata/ids_emitted/0"),
        (AlertFormat::Ecs, "/event/created"),
    ] {
        assert!(parsed(&renderer(format).alert(&incident())).pointer(at).is_none());
        assert!(parsed(&live(format).alert(&incident())).pointer(at).is_some_and(Value::is_string));
    }
}
