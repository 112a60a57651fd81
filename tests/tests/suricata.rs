//! A real Suricata with real rules on the labelled captures: its alerts find the agent's flows, and both give every flow
//! the same community-id.
#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that fails")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
};

use ids_agent::{
    config::{FlowSettings, SampleSettings},
    detect::{
        Detector, Judged,
        signature::{JoinStats, Signature},
    },
    eve::{EveEvent, EveType, parse_line},
    features::FeatureVector,
    flow::{FlowRecord, FlowTable},
    payload::PayloadFacts,
    source::{Batch, FlowSource, Progress, pcap::PcapSource, told::ToldSource},
    supervisor::StopFlag,
    suricata::{CaptureRules, CaptureSuricata},
};
use ids_tests::{
    archive, labels,
    probe::{Need, can_run},
};

/// Captures beyond this take Suricata long and show nothing new.
const CAPTURE_BYTES_MAX: u64 = 2 << 20;
/// Of the benign captures, one in so many.
const BENIGN_EVERY: usize = 8;

/// What is left of a replay: the last record of each flow, and what became of the alerts.
fn replay(capture: &Path, events: Vec<EveEvent>) -> (Vec<FlowRecord>, JoinStats) {
    let (flow, sample) = (FlowSettings::default(), SampleSettings::default());
    let mut source = ToldSource::new(PcapSource::open(capture, &flow, &sample).unwrap(), events);
    let mut table = FlowTable::new(&flow);
    let mut signature = Signature::new(Vec::new(), 1);
    let (mut batch, mut due, mut ended, mut findings) = (Batch::default(), Vec::new(), Vec::new(), Vec::new());
    let (features, payload) = (FeatureVector::ZERO, PayloadFacts::default());
    let mut judge = |signature: &mut Signature, due: &[FlowRecord], now_ns| {
        let judged = due.iter().map(|record| Judged { record, features: &features, payload: &payload });
        signature.judge(&judged.collect::<Vec<_>>(), now_ns, &mut findings);
    };
    loop {
        let progress = source.next_batch(&mut batch).unwrap();
        table.absorb(&batch);
        due.clear();
        table.due(batch.now_ns, &mut due);
        signature.hear(&batch.eve, batch.now_ns);
        judge(&mut signature, &due, batch.now_ns);
        ended.extend(due.iter().filter(|record| record.is_ended()).cloned());
        if progress == Progress::End {
            due.clear();
            table.finish(&mut due);
            signature.end(batch.now_ns);
            judge(&mut signature, &due, batch.now_ns);
            ended.append(&mut due);
            return (ended, signature.stats().join.unwrap());
        }
    }
}

/// Protocol and ends of a flow, whoever began it.
type Ends = (u8, BTreeSet<(IpAddr, u16)>);

fn ids_of_suricata(events: &[EveEvent]) -> BTreeMap<Ends, BTreeSet<String>> {
    let mut ids = BTreeMap::<_, BTreeSet<_>>::new();
    for event in events.iter().filter(|event| event.kind == EveType::Flow) {
        let (Some(tuple), Some(id)) = (event.tuple, &event.community_id) else { continue };
        let end = |bytes: [u8; 16], port| (std::net::Ipv6Addr::from(bytes).to_canonical(), port);
        let ends = [end(tuple.src, tuple.src_port), end(tuple.dst, tuple.dst_port)];
        ids.entry((tuple.proto, ends.into())).or_default().insert(id.to_string());
    }
    ids
}

/// Where ports are; ICMP has types, which Suricata tells of the first packet alone.
fn has_ports(proto: u8) -> bool {
    matches!(proto, 6 | 17 | 132)
}

/// Of a host that talks to itself the ports decide which end comes first, and Suricata compares them in the machine's byte
/// order, not as the specification and its reference do. Such flows are joined by their tuple.
fn is_of_one_host(ends: &Ends) -> bool {
    ends.1.iter().map(|(address, _)| address).collect::<BTreeSet<_>>().len() < 2
}

fn ids_of_ours(ended: &[FlowRecord]) -> BTreeMap<Ends, BTreeSet<String>> {
    let mut ids = BTreeMap::<_, BTreeSet<_>>::new();
    for record in ended.iter().filter(|record| !record.key.is_later_fragment()) {
        let ends = [(record.src_addr(), record.key.src_port), (record.dst_addr(), record.key.dst_port)];
        ids.entry((record.key.proto, ends.into())).or_default().insert(record.community_id());
    }
    ids
}

fn captures(folder: &Path) -> Vec<PathBuf> {
    let labels = labels::of_folder(folder).unwrap();
    let (benign, attacks): (Vec<_>, Vec<_>) = labels.into_iter().partition(|label| label.family == "BENIGN");
    let some = benign.into_iter().step_by(BENIGN_EVERY).chain(attacks).map(|label| folder.join(label.path));
    some.filter(|path| path.metadata().is_ok_and(|facts| facts.len() <= CAPTURE_BYTES_MAX)).collect()
}

#[test]
fn every_alert_finds_its_flow_and_every_flow_has_suricatas_id() {
    if !can_run("the join with a real Suricata", &[Need::Tool("suricata")]) {
        return;
    }
    let (Some(labelled), Some(rules)) =
        (archive::unpacked("captures-dev.tar.zst"), archive::unpacked("rules-et-open.tar.zst"))
    else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let all = folder.path().join("all.rules");
    let text: Vec<Vec<u8>> = archive::files(&rules, &[".rules"]).iter().map(|file| fs::read(file).unwrap()).collect();
    fs::write(&all, text.join(&b'\n')).unwrap();
    let settings =
        CaptureRules { program: "suricata".into(), rules: Some(all), local_rules: None, home_networks: Vec::new() };
    let stop = StopFlag::default();
    let mut suricata = CaptureSuricata::start(&settings, &stop).unwrap();
    assert!(suricata.rules_loaded() > 10_000, "{} rules", suricata.rules_loaded());
    let (mut join, mut compared, mut orphans) = (JoinStats::default(), 0, Vec::new());
    let mut skipped = Vec::new();
    for capture in captures(&labelled.join("bundle_dev")) {
        let eve = suricata.judge(&capture, &stop).unwrap();
        let text = fs::read_to_string(&eve).unwrap_or_default();
        let events: Vec<EveEvent> = text.lines().filter_map(|line| parse_line(line.as_bytes()).ok()).collect();
        let unread = text.lines().filter_map(|line| Some((parse_line(line.as_bytes()).err()?, line)));
        skipped.extend(unread.map(|(why, line)| format!("{why:?}: {line}")));
        let theirs = ids_of_suricata(&events);
        let (ended, one) = replay(&capture, events);
        for (ends, ids) in ids_of_ours(&ended) {
            if let Some(theirs) = theirs.get(&ends).filter(|_| has_ports(ends.0) && !is_of_one_host(&ends)) {
                assert_eq!(*theirs, ids, "{}: {ends:?}", capture.display());
                compared += ids.len();
            }
        }
        assert!(one.is_conserved() && one.waiting == 0, "{}: {one:?}", capture.display());
        join.alerts += one.alerts;
        join.joined_by_id += one.joined_by_id;
        join.joined_by_tuple += one.joined_by_tuple;
        join.orphans.iter_mut().zip(one.orphans).for_each(|(sum, more)| *sum += more);
        if one.orphans_all() > 0 {
            orphans.push((capture, one.orphans));
        }
    }
    println!("{} alerts, {:.3} % joined, {compared} flows with the same id", join.alerts, 100.0 * join.join_rate());
    assert!(compared > 2_000, "{compared} flows were compared");
    assert!(skipped.is_empty(), "lines of Suricata's own gave no event: {skipped:?}");
    assert!(join.alerts > 5_000, "{} alerts", join.alerts);
    assert!(join.join_rate() >= 0.99, "{join:?}\n{orphans:?}");
}
