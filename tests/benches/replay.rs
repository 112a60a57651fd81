//! Replay by its stages, in interleaved rounds: reading and parsing alone, then down to slots, joined flows, features, and
//! verdicts with each detector and with all of them. `ids-bench replay [FILE.pcap]`.

use std::{fs::File, hint::black_box, io::Read, path::Path};

use ids_agent::{
    config::{
        BehaviourSettings, DetectSettings, FlowSettings, FuseSettings, PayloadSettings, SampleSettings, WindowSettings,
    },
    detect::{Detector, Engine, EngineParts, Outcome, behaviour::Behaviour, dga::Dga, payload::Payload},
    features::{extract, window::WindowFacts},
    flow::FlowTable,
    models,
    payload::PayloadFacts,
    source::{Batch, FlowSource, Progress, pcap::PcapSource},
};
use ids_common::parse::{Frame, Link, parse};
use serde_json::{Map, Value, json};

use crate::{
    capture,
    rounds::{bounded, over, secs, spread},
};

const ROUNDS: usize = 7;
/// What features may cost at most as a multiple of reading and parsing, and all detectors as a multiple of features.
const FEATURES_OVER_BARE_MAX: f64 = 4.0;
const ALL_OVER_FEATURES_MAX: f64 = 2.5;

type Stage = (&'static str, fn(&Path) -> u64);

const STAGES: [Stage; 11] = [
    ("bare", bare),
    ("slots", slots),
    ("flows", flows),
    ("flow_features", flow_features),
    ("features", features),
    ("classifier", classifier),
    ("anomaly", anomaly),
    ("behaviour", behaviour),
    ("payload", payload),
    ("names", names),
    ("all", all),
];

pub(crate) fn run(args: &[String]) -> Value {
    let (path, _folder) = capture::given(args);
    let chosen = args.get(1);
    let stages: Vec<Stage> =
        STAGES.into_iter().filter(|(name, _)| chosen.is_none_or(|chosen| chosen == name)).collect();
    // One round warms the page cache. One stage alone is run once: for a profiler.
    let counts: Vec<u64> = stages.iter().map(|(_, run)| run(&path)).collect();
    if chosen.is_some() {
        return json!({ "counted": counts });
    }
    let mut taken = vec![Vec::new(); stages.len()];
    for _ in 0..ROUNDS {
        for ((_, run), taken) in stages.iter().zip(&mut taken) {
            taken.push(secs(|| {
                black_box(run(&path));
            }));
        }
    }
    let packets = counts[0] as f64;
    let of = |name: &str| &taken[stages.iter().position(|(other, _)| *other == name).unwrap()];
    let (mut times, mut ratios) = (Map::new(), Map::new());
    for ((name, _), secs) in stages.iter().zip(&taken) {
        let ns: Vec<f64> = secs.iter().map(|secs| secs * 1e9 / packets).collect();
        let per_sec: Vec<f64> = secs.iter().map(|secs| packets / secs).collect();
        times.insert((*name).to_owned(), json!({ "ns_per_packet": spread(ns), "packets_per_sec": spread(per_sec) }));
        let (ratio, told) = match *name {
            "bare" => continue,
            "features" => ("features_over_bare".to_owned(), bounded(over(secs, of("bare")), FEATURES_OVER_BARE_MAX)),
            "all" => ("all_over_features".to_owned(), bounded(over(secs, of("features")), ALL_OVER_FEATURES_MAX)),
            "slots" | "flows" | "flow_features" => (format!("{name}_over_bare"), spread(over(secs, of("bare")))),
            _ => (format!("{name}_over_features"), spread(over(secs, of("features")))),
        };
        ratios.insert(ratio, told);
    }
    json!({
        "packets": counts[0],
        "flows": counts[2],
        "peak_rss_mib": peak_rss_mib(),
        "stages": times,
        "ratios": ratios,
    })
}

/// `ids-bench bare FILE`: the first stage by itself, once.
pub(crate) fn bare_alone(args: &[String]) -> Value {
    let path = args.first().expect("a capture");
    json!({ "packets": bare(Path::new(path)) })
}

/// Reads a pcap file in large blocks and parses every frame: what no replay can do without.
fn bare(path: &Path) -> u64 {
    let mut file = File::open(path).unwrap();
    let mut bytes = vec![0; 1 << 20];
    let (mut start, mut end, mut packets) = (24, 0, 0);
    loop {
        let read = file.read(&mut bytes[end..]).unwrap();
        if read == 0 {
            return packets;
        }
        end += read;
        while let Some(header) = bytes[..end].get(start..start + 16) {
            let word = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().unwrap()) as usize;
            let (captured, wire_len) = (word(8), word(12));
            let Some(frame) = bytes[..end].get(start + 16..start + 16 + captured) else { break };
            let _ = black_box(parse(&Frame::new(frame, wire_len), Link::Ethernet));
            packets += 1;
            start += 16 + captured;
        }
        bytes.copy_within(start..end, 0);
        end -= start;
        start = 0;
    }
}

fn open(path: &Path) -> PcapSource {
    PcapSource::open(path, &FlowSettings::default(), &SampleSettings::default()).expect("a capture")
}

/// Calls `step` with every batch of the capture.
fn each_batch(path: &Path, mut step: impl FnMut(&Batch)) {
    let mut source = open(path);
    let mut batch = Batch::default();
    while source.next_batch(&mut batch).expect("a readable capture") != Progress::End {
        step(&batch);
    }
    step(&batch);
}

fn slots(path: &Path) -> u64 {
    let mut slots = 0;
    each_batch(path, |batch| slots += batch.slots.len() as u64);
    slots
}

fn flows(path: &Path) -> u64 {
    let mut table = FlowTable::new(&FlowSettings::default());
    let (mut due, mut flows) = (Vec::new(), 0);
    each_batch(path, |batch| {
        table.absorb(batch);
        table.ended(batch.now_ns, &mut due);
        flows += due.len() as u64;
        due.clear();
    });
    table.finish(&mut due);
    flows + due.len() as u64
}

/// Features of ended flows, from their statistics alone.
fn flow_features(path: &Path) -> u64 {
    let mut table = FlowTable::new(&FlowSettings::default());
    let (window, payload) = (WindowFacts::default(), PayloadFacts::default());
    let (mut due, mut flows) = (Vec::new(), 0);
    each_batch(path, |batch| {
        table.absorb(batch);
        table.ended(batch.now_ns, &mut due);
        flows += due.len() as u64;
        for record in due.drain(..) {
            black_box(extract(&record, &window, &payload));
        }
    });
    table.finish(&mut due);
    for record in &due {
        black_box(extract(record, &window, &payload));
    }
    flows + due.len() as u64
}

/// The whole line but for detectors: payload facts, host windows, and every interim record too.
fn features(path: &Path) -> u64 {
    judged(path, Vec::new())
}

fn classifier(path: &Path) -> u64 {
    judged(path, network(|settings| settings.anomaly = false))
}

fn anomaly(path: &Path) -> u64 {
    judged(path, network(|settings| settings.classifier = false))
}

fn behaviour(path: &Path) -> u64 {
    judged(path, vec![Box::new(Behaviour::new(&BehaviourSettings::default(), 0))])
}

fn payload(path: &Path) -> u64 {
    judged(path, vec![Box::new(Payload::new(0))])
}

fn names(path: &Path) -> u64 {
    judged(path, scorer())
}

/// What `ids-agent replay` has where nothing is configured, in the same order.
fn all(path: &Path) -> u64 {
    let mut detectors = network(|_| {});
    detectors.push(Box::new(Behaviour::new(&BehaviourSettings::default(), 0)));
    detectors.push(Box::new(Payload::new(0)));
    detectors.extend(scorer());
    judged(path, detectors)
}

fn network(choose: fn(&mut DetectSettings)) -> Vec<Box<dyn Detector>> {
    let mut settings = DetectSettings::default();
    choose(&mut settings);
    models::load(&settings).expect("models")
}

fn scorer() -> Vec<Box<dyn Detector>> {
    let scorer = models::name_scorer(&DetectSettings::default()).expect("a sound scorer").expect("a scorer of names");
    vec![Box::new(Dga::new(scorer, 0))]
}

fn judged(path: &Path, detectors: Vec<Box<dyn Detector>>) -> u64 {
    let mut engine = Engine::new(EngineParts {
        flow: FlowSettings::default(),
        window: WindowSettings::default(),
        payload: PayloadSettings::default(),
        fuse: FuseSettings::default(),
        detectors,
        exhibits_max: 0,
    });
    let (mut out, mut verdicts) = (Outcome::default(), 0);
    each_batch(path, |batch| {
        engine.step(batch, &mut out);
        verdicts += out.verdicts.len() as u64;
        out = Outcome::default();
    });
    engine.finish(&mut out);
    verdicts + out.verdicts.len() as u64
}

fn peak_rss_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0 kB");
    line.trim().trim_end_matches(" kB").parse().map_or(0.0, |kib: f64| kib / 1_024.0)
}
