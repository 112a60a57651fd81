//! Measures replay by its stages, in interleaved rounds, and prints medians as JSON: reading and
//! parsing alone, then down to slots, joined flows, features, and verdicts of all detectors.
//! `bench-replay [FILE.pcap]`; without a file it makes a capture of its own.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a bench stops at the first thing that fails")]

use std::{
    fs::File,
    hint::black_box,
    io::{BufWriter, Read, Write},
    path::{Path, PathBuf},
    time::Instant,
};

use ids_agent::{
    config::{
        BehaviourSettings, DetectSettings, FlowSettings, FuseSettings, PayloadSettings, SampleSettings, WindowSettings,
    },
    detect::{Detector, Engine, EngineParts, Outcome, behaviour::Behaviour},
    features::{extract, window::WindowFacts},
    flow::FlowTable,
    models,
    payload::PayloadFacts,
    source::{Batch, FlowSource, Progress, pcap::PcapSource},
};
use ids_common::parse::{Frame, Link, parse};
use ids_tests::frame;
use serde_json::{Map, Value, json};

const ROUNDS: usize = 7;
/// What each stage may cost at most, as a multiple of reading and parsing.
const FEATURES_BAR: f64 = 5.0;
const VERDICTS_BAR: f64 = 12.0;
/// Packets of the capture that is made where none is given.
const PACKETS: usize = 1_000_000;

type Stage = (&'static str, Option<f64>, fn(&Path) -> u64);

fn main() {
    let made = tempfile::tempdir().expect("a temporary directory");
    let path = std::env::args_os().nth(1).map(PathBuf::from).unwrap_or_else(|| {
        let path = made.path().join("made.pcap");
        make_capture(&path);
        path
    });
    let mut stages: Vec<Stage> = vec![
        ("bare", None, bare),
        ("slots", None, slots),
        ("flows", None, flows),
        ("flow_features", None, flow_features),
        ("features", Some(FEATURES_BAR), features),
    ];
    match models::load(&DetectSettings::default()) {
        Ok(_) => stages.push(("verdicts", Some(VERDICTS_BAR), verdicts)),
        Err(error) => eprintln!("verdicts are left out: {error}"),
    }
    // One round warms the page cache.
    let counts: Vec<u64> = stages.iter().map(|(_, _, run)| run(&path)).collect();
    let mut secs = vec![Vec::new(); stages.len()];
    for _ in 0..ROUNDS {
        for ((_, _, run), secs) in stages.iter().zip(&mut secs) {
            let begin = Instant::now();
            black_box(run(&path));
            secs.push(begin.elapsed().as_secs_f64());
        }
    }
    let packets = counts[0] as f64;
    let bare = secs[0].clone();
    let (mut times, mut ratios) = (Map::new(), Map::new());
    for ((name, bar, _), secs) in stages.iter().zip(&secs) {
        let ns: Vec<f64> = secs.iter().map(|secs| secs * 1e9 / packets).collect();
        times.insert((*name).to_owned(), json!({"ns_per_packet": spread(ns)}));
        if *name != "bare" {
            let ratio = spread(secs.iter().zip(&bare).map(|(secs, bare)| secs / bare).collect());
            let mut ratio = ratio.as_object().unwrap().clone();
            if let Some(bar) = bar {
                ratio.insert("bar".to_owned(), json!(bar));
            }
            ratios.insert((*name).to_owned(), Value::Object(ratio));
        }
    }
    let result = json!({
        "packets": counts[0],
        "flows": counts[2],
        "peak_rss_bytes": peak_rss_bytes(),
        "stages": times,
        "ratios": ratios,
    });
    println!("{}", serde_json::to_string_pretty(&result).unwrap());
}

fn spread(mut values: Vec<f64>) -> Value {
    values.sort_by(f64::total_cmp);
    let rounded = |value: f64| (value * 100.0).round() / 100.0;
    json!({
        "median": rounded(values[values.len() / 2]),
        "low": rounded(values[0]),
        "high": rounded(values[values.len() - 1]),
    })
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
    while source.next_batch(&mut batch).expect("a readable capture") == Progress::Tick {
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

fn verdicts(path: &Path) -> u64 {
    let mut detectors = models::load(&DetectSettings::default()).expect("models");
    detectors.push(Box::new(Behaviour::new(&BehaviourSettings::default(), 1)));
    judged(path, detectors)
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

fn peak_rss_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0 kB");
    line.trim().trim_end_matches(" kB").parse().map_or(0, |kib: u64| kib * 1_024)
}

/// One connection of the made capture.
struct Talk {
    client: [u8; 4],
    server: [u8; 4],
    ports: (u16, u16),
    sent: usize,
    length: usize,
}

/// Writes a mix of connections of all lengths, 300 at a time: three packets, or hundreds.
fn make_capture(path: &Path) {
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random >> 11) % below
    };
    let mut file = BufWriter::new(File::create(path).expect("a file for the capture"));
    let mut write = |bytes: &[u8]| file.write_all(bytes).expect("room for the capture");
    write(&[0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0]);
    let mut talks: Vec<Talk> = Vec::new();
    let mut at_us = 1_700_000_000_000_000_u64;
    for _ in 0..PACKETS {
        at_us += next(200);
        if talks.len() < 300 {
            let length = if next(3) == 0 { 3 + next(400) as usize } else { 2 + next(12) as usize };
            let port = [80, 443, 22, 53][next(4) as usize];
            let (client, server) = ([10, 0, 0, next(200) as u8], [10, 1, next(4) as u8, next(200) as u8]);
            talks.push(Talk { client, server, ports: (1_024 + next(60_000) as u16, port), sent: 0, length });
        }
        let chosen = next(talks.len() as u64) as usize;
        let payload = 40 + next(1_400) as usize;
        let bytes = packet(&talks[chosen], payload);
        talks[chosen].sent += 1;
        if talks[chosen].sent >= talks[chosen].length {
            talks.swap_remove(chosen);
        }
        for word in [at_us / 1_000_000, at_us % 1_000_000, bytes.len() as u64, bytes.len() as u64] {
            write(&(word as u32).to_le_bytes());
        }
        write(&bytes);
    }
    file.flush().expect("room for the capture");
}

/// The next packet of a connection: handshake, data in both directions, FIN.
fn packet(talk: &Talk, payload: usize) -> Vec<u8> {
    let backward = talk.sent % 2 == 1;
    let (src, dst) = if backward { (talk.server, talk.client) } else { (talk.client, talk.server) };
    let (from, to) = if backward { (talk.ports.1, talk.ports.0) } else { talk.ports };
    let request = b"GET /index.html HTTP/1.1\r\nHost: a.example\r\nUser-Agent: bench\r\n\r\n";
    let data = match (talk.ports.1, talk.sent) {
        (80, 2) => request.to_vec(),
        _ => frame::payload(payload),
    };
    let transport = if talk.ports.1 == 53 {
        frame::udp(from, to, None, &data)
    } else {
        let flags = match talk.sent {
            0 => frame::SYN,
            1 => frame::SYN | frame::ACK,
            sent if sent + 2 >= talk.length => frame::FIN | frame::ACK,
            _ => frame::ACK | frame::PSH,
        };
        let data: &[u8] = if talk.sent < 2 { &[] } else { &data };
        frame::Tcp::ports(from, to, flags).wrap(data)
    };
    let proto = if talk.ports.1 == 53 { frame::UDP } else { frame::TCP };
    frame::ethernet(frame::IPV4, &frame::Ipv4::between(src, dst, proto).wrap(&transport))
}
