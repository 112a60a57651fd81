//! Live is replay: the kernel programs, fed a capture's frames at the capture's times, give the same
//! flows with the same feature vectors, to the last bit, as the file does.
#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that fails")]

use std::{fs, path::Path};

use ids_agent::{
    config::{CaptureSettings, FlowSettings, FuseSettings, PayloadSettings, SampleSettings, WindowSettings},
    detect::{Engine, EngineParts, Outcome, Verdict},
    kernel::test_run::{Entry, FRAME_BYTES_MIN, TestRun},
    source::{Batch, FlowSource, Progress, pcap::PcapSource},
};
use ids_tests::{
    archive,
    capture::{self, Timed},
    cases,
    probe::{Need, can_run},
};
use pcap_file::{DataLink, pcap::PcapReader};

/// The kernel makes no skb of a frame that ends inside its network header.
const FRAME_BYTES_TC_MIN: usize = 14 + 40;
/// Captures of the archive that are compared, spread evenly over it, and their size.
const CAPTURES_MAX: usize = 80;
const CAPTURE_BYTES_MAX: u64 = 1 << 20;

fn engine() -> Engine {
    Engine::new(EngineParts {
        flow: FlowSettings::default(),
        window: WindowSettings::default(),
        payload: PayloadSettings::default(),
        fuse: FuseSettings::default(),
        detectors: Vec::new(),
        exhibits_max: 0,
    })
}

/// What must be equal: the flow, all its statistics, its features bit by bit, its payload facts.
fn told(verdict: &Verdict) -> String {
    let bits: Vec<u32> = verdict.features.values.iter().map(|value| value.to_bits()).collect();
    format!("{:?}\n{bits:x?}\n{:?}", verdict.record, verdict.payload)
}

fn by_file(path: &Path) -> Vec<String> {
    let (flow, sample) = (FlowSettings::default(), SampleSettings::default());
    let mut source = PcapSource::open(path, &flow, &sample).unwrap();
    let (mut engine, mut batch, mut outcome) = (engine(), Batch::default(), Outcome::default());
    while source.next_batch(&mut batch).unwrap() == Progress::Tick {
        engine.step(&batch, &mut outcome);
    }
    engine.step(&batch, &mut outcome);
    engine.finish(&mut outcome);
    outcome.verdicts.iter().map(told).collect()
}

fn by_kernel(entry: Entry, frames: &[Timed]) -> Vec<String> {
    let capture = CaptureSettings { sets_per_cpu: 8_192, ring_bytes: 8 << 20, ..CaptureSettings::default() };
    let mut run = TestRun::new(&capture, &FlowSettings::default(), &SampleSettings::default()).unwrap();
    let (mut engine, mut batch, mut outcome) = (engine(), Batch::default(), Outcome::default());
    let mut last_ns = 0;
    for frame in frames {
        last_ns = last_ns.max(frame.at_ns);
        let wire_len = frame.wire_len.map_or(frame.bytes.len(), |len| len as usize);
        let tick = |batch: &Batch| engine.step(batch, &mut outcome);
        let fed = run.feed(entry, last_ns, &frame.bytes, wire_len, tick, &mut batch);
        fed.unwrap_or_else(|error| panic!("{entry:?}, {} bytes: {error}", frame.bytes.len()));
    }
    run.finish(&mut batch);
    engine.step(&batch, &mut outcome);
    engine.finish(&mut outcome);
    outcome.verdicts.iter().map(told).collect()
}

fn assert_same(what: &str, entry: Entry, frames: &[Timed], path: &Path) -> usize {
    let (mut file, mut kernel) = (by_file(path), by_kernel(entry, frames));
    // Which of two flows that end in one tick is told first depends on where slots were cut.
    file.sort_unstable();
    kernel.sort_unstable();
    for (file, kernel) in file.iter().zip(&kernel) {
        assert_eq!(file, kernel, "{what} through {entry:?}");
    }
    assert_eq!(file.len(), kernel.len(), "{what} through {entry:?}: flows");
    file.len()
}

#[test]
fn made_captures_give_the_same_feature_vectors_live_and_from_a_file() {
    if !can_run("live = replay", &[Need::Root]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut flows = 0;
    for (name, mut frames) in cases::cases() {
        frames.retain(|frame| frame.bytes.len() >= FRAME_BYTES_TC_MIN);
        let path = folder.path().join(format!("{name}.pcap"));
        capture::write_pcap(&path, capture::ETHERNET, &frames);
        for entry in [Entry::Xdp, Entry::TcIngress, Entry::TcEgress] {
            flows += assert_same(name, entry, &frames, &path);
        }
    }
    println!("{flows} flows are equal");
    assert!(flows > 0);
}

#[test]
fn recorded_captures_give_the_same_feature_vectors_live_and_from_a_file() {
    if !can_run("live = replay of recordings", &[Need::Root]) {
        return;
    }
    let Some(folder) = archive::unpacked("captures-dev.tar.zst") else { return };
    let mut paths = archive::files(&folder, &[".pcap"]);
    paths.retain(|path| fs::metadata(path).unwrap().len() <= CAPTURE_BYTES_MAX);
    let step = (paths.len() / CAPTURES_MAX).max(1);
    let (mut flows, mut captures) = (0, 0);
    for path in paths.iter().step_by(step) {
        let Some(frames) = read(path) else { continue };
        captures += 1;
        flows += assert_same(&path.display().to_string(), Entry::Xdp, &frames, path);
    }
    println!("{flows} flows of {captures} captures are equal");
    assert!(flows > 0, "no capture of {} was compared", folder.display());
}

/// The frames of a classic capture of Ethernet frames; `None` for others.
fn read(path: &Path) -> Option<Vec<Timed>> {
    let mut reader = PcapReader::new(fs::File::open(path).ok()?).ok()?;
    if reader.header().datalink != DataLink::ETHERNET {
        return None;
    }
    let mut frames = Vec::new();
    while let Some(packet) = reader.next_packet() {
        let packet = packet.ok()?;
        let mut frame = Timed::new(packet.timestamp.as_nanos() as u64, packet.data.into_owned());
        frame.wire_len = Some(packet.orig_len);
        frames.push(frame);
    }
    (!frames.is_empty() && frames.iter().all(|frame| frame.bytes.len() >= FRAME_BYTES_MIN)).then_some(frames)
}
