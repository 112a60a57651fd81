//! The engine from batches to incidents: deterministic, and every flow gets its verdict.
#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that is not as it must be")]

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use ids_agent::{
    config::{BehaviourSettings, Config, DetectSettings},
    detect::{Class, Detector, Engine, EngineParts, EngineStats, Outcome, Stage, Subject, behaviour::Behaviour},
    models,
    source::{Batch, FlowSource, Progress, Totals, pcap::PcapSource},
};
use ids_tests::{archive, capture, cases};

fn detectors() -> Vec<Box<dyn Detector>> {
    let models_dir = Some(archive::root().join("models"));
    let mut detectors = models::load(&DetectSettings { models_dir, ..DetectSettings::default() }).unwrap();
    detectors.push(Box::new(Behaviour::new(&BehaviourSettings::default(), 1)));
    detectors
}

/// How the slots of a tick reach the engine.
#[derive(Clone, Copy)]
enum Cut {
    Whole,
    /// In two batches of the same time, cut after so many hundredths of the slots.
    Parts(usize),
}

struct Judged {
    outcome: Outcome,
    stats: EngineStats,
    totals: Totals,
}

fn judge(capture: &Path, tick_millis: u64, cut: Cut) -> Judged {
    let mut config = Config::default();
    config.flow.tick_millis = tick_millis;
    let mut engine = Engine::new(EngineParts {
        flow: config.flow,
        window: config.window,
        payload: config.payload,
        fuse: config.fuse.clone(),
        detectors: detectors(),
        exhibits_max: 0,
    });
    let mut source = PcapSource::open(capture, &config.flow, &config.sample).unwrap();
    let (mut batch, mut outcome) = (Batch::default(), Outcome::default());
    loop {
        let progress = source.next_batch(&mut batch).unwrap();
        if let Cut::Parts(hundredths) = cut {
            let rest = batch.slots.split_off(batch.slots.len() * hundredths / 100);
            engine.step(&batch, &mut outcome);
            let now_ns = batch.now_ns;
            batch.clear();
            (batch.slots, batch.now_ns) = (rest, now_ns);
        }
        engine.step(&batch, &mut outcome);
        if progress == Progress::End {
            break;
        }
    }
    engine.finish(&mut outcome);
    Judged { outcome, stats: engine.stats(), totals: *source.totals() }
}

/// Runs `check` on the capture file of every case.
fn each_case(check: impl Fn(&str, &Path)) {
    let dir = tempfile::tempdir().unwrap();
    for (name, frames) in cases::cases() {
        let path = dir.path().join(format!("{name}.pcap"));
        capture::write_pcap(&path, capture::ETHERNET, &frames);
        check(name, &path);
    }
}

/// What an operator is left with: each incident as it was told last, whichever of its findings came first.
fn reported(judged: &Judged) -> BTreeSet<(Class, &'static str, Option<Subject>)> {
    let host = |subject| match subject {
        // The flow that shows it best is one of many.
        Subject::Flow { .. } => None,
        Subject::Source { .. } | Subject::Target { .. } | Subject::Pair { .. } | Subject::Service { .. } => {
            Some(subject)
        }
    };
    let mut last = BTreeMap::new();
    for incident in judged.outcome.incidents.iter().filter(|incident| incident.stage != Stage::Summary) {
        last.insert(incident.id, (incident.class, incident.kind, host(incident.subject)));
    }
    last.into_values().collect()
}

#[test]
fn every_flow_ends_in_one_verdict_and_no_packet_is_lost_on_the_way() {
    each_case(|name, path| {
        let judged = judge(path, 500, Cut::Whole);
        let verdicts = &judged.outcome.verdicts;
        assert_eq!(judged.stats.flow.started, verdicts.len() as u64, "{name}");
        assert_eq!(judged.stats.ended, verdicts.len() as u64, "{name}");
        assert_eq!(judged.stats.fuse.verdicts, verdicts.len() as u64, "{name}");
        let ids: BTreeSet<u64> = verdicts.iter().map(|verdict| verdict.record.id).collect();
        assert_eq!(ids.len(), verdicts.len(), "{name}");
        let packets: u64 = verdicts.iter().map(|verdict| verdict.record.packets()).sum();
        let seen = judged.totals.counter(ids_common::counter::Counter::PacketsSeen);
        assert_eq!(packets + judged.totals.skipped_all(), seen, "{name}");
        for (witness, stats) in &judged.stats.detectors {
            assert_eq!(stats.failed, 0, "{name} {witness:?}");
            assert_eq!(stats.judged, judged.stats.judged, "{name} {witness:?}");
        }
    });
}

#[test]
fn the_same_capture_gives_the_same_outcome_to_the_last_bit() {
    each_case(|name, path| {
        let told = || format!("{:?}", judge(path, 500, Cut::Whole).outcome);
        assert!(told() == told(), "{name}");
    });
}

#[test]
fn it_does_not_matter_how_ticks_are_cut() {
    each_case(|name, path| {
        let whole = reported(&judge(path, 500, Cut::Whole));
        for cut in [Cut::Parts(10), Cut::Parts(50), Cut::Parts(90)] {
            assert_eq!(reported(&judge(path, 500, cut)), whole, "{name}");
        }
    });
}

#[test]
fn attacks_are_named_and_a_client_that_browses_raises_nothing() {
    each_case(|name, path| {
        let judged = judge(path, 500, Cut::Whole);
        let classes: BTreeSet<Class> = reported(&judged).into_iter().map(|(class, _, _)| class).collect();
        let expected = match name {
            "port_scan" | "sweep" => Some(Class::PortScan),
            "syn_flood" => Some(Class::Flood),
            "ssh_brute_force" => Some(Class::BruteForce),
            "benign_browsing" => None,
            _ => return,
        };
        match expected {
            Some(class) => assert!(classes.contains(&class), "{name}: {classes:?}"),
            None => assert!(classes.is_empty(), "{name}: {classes:?}"),
        }
        let attacked = judged.outcome.verdicts.iter().filter(|verdict| verdict.class != Class::Benign).count();
        assert_eq!(attacked > 0, expected.is_some(), "{name}");
    });
}
