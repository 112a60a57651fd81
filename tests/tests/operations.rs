//! `docs/operations.md` names every signature and every metric.
#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that fails")]

use std::path::Path;

use ids_agent::{
    alert::SIGNATURES,
    config::Category,
    detect::{Class, Severity, Witness, intel::Kind},
    eve::{EveStats, EveTotals},
    http::{AttachState, EveGauge, Metrics, QueueGauge, Snapshot, family},
    intel::FeedStatus,
    sink::SinkStats,
};

fn page() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations.md")).unwrap()
}

#[test]
fn every_signature_is_documented() {
    let page = page();
    for known in &SIGNATURES {
        let row = format!("| {} | {} | {} | {} |", known.id, known.class.name(), known.kind, known.text);
        assert!(page.contains(&row), "{row}");
    }
}

#[test]
fn every_metric_is_documented() {
    let metrics = Metrics::new().unwrap();
    let attached = AttachState { interface: "a".into(), mode: "tc", direction: "ingress", attached: true };
    let queue = QueueGauge { sink: "alerts", lines_max: 1, stats: SinkStats::default() };
    metrics.update(&Snapshot {
        flows_ended: vec![("fin", 1)],
        forgotten: vec![("hosts", 1)],
        silenced: vec![("allow", 1)],
        attached: vec![attached],
        queues: vec![queue],
        ..Snapshot::default()
    });
    let feed = FeedStatus { name: "a".to_owned(), ..FeedStatus::default() };
    metrics.show_feeds(&[feed], [(Category::Malware, Kind::Domain, 1)].into_iter());
    let totals = EveTotals { suricata: Some((1, EveStats::default())), ..EveTotals::default() };
    metrics.show_eve(&EveGauge { totals: &totals, readable: true, wall_ns: 1 });
    metrics.enforcement().unwrap().show(1, 1);
    metrics.count_alert(Class::Flood, Severity::High);
    metrics.observe_judge(Witness::Anomaly, std::time::Duration::ZERO);
    let (page, text) = (page(), metrics.render().unwrap());
    let names: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ids_")?.split(' ').next()).collect();
    assert!(names.len() > 30, "{names:?}");
    for name in names {
        assert!(page.contains(&format!("`ids_{name}")), "ids_{name} is not documented");
    }
    for family in family::ALL {
        assert!(page.contains(&format!("`{}", family.name)), "{} is not documented", family.name);
    }
}
