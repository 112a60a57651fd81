//! What the kernel program sends through the ring: bytes a packet of a mix of connections, at the default sampling. Needs
//! root; sends no packet. `ids-bench ring [FILE.pcap]`.

use ids_agent::{
    config::{CaptureSettings, FlowSettings, SampleSettings},
    kernel::test_run::{Entry, TestRun},
    source::{Batch, SlotState, pcap::Frames},
};
use ids_common::counter::Counter;
use serde_json::{Value, json};

use crate::capture;

/// Packets run at most; each takes a system call.
const PACKETS_MAX: u64 = 300_000;
/// Packets between two looks, so that the ring is never full.
const BETWEEN: u64 = 1_000;
const BYTES_PER_PACKET_MAX: f64 = 8.0;

pub(crate) fn run(args: &[String]) -> Value {
    let (path, _folder) = capture::given(args);
    // No tick falls into the run, which would read the ring unseen.
    let flow = FlowSettings { tick_millis: u64::MAX / 1_000_000, ..FlowSettings::default() };
    let mut run = TestRun::new(&CaptureSettings::default(), &flow, &SampleSettings::default()).expect("loading");
    let mut frames = Frames::open(&path).expect("a capture");
    let mut batch = Batch::default();
    let (mut packets, mut bytes, mut samples, mut fill) = (0, 0_u64, 0, 0);
    while let Some(frame) = frames.step().expect("a readable capture") {
        // The programs take Ethernet frames, and the shortest that the kernel takes has fourteen bytes.
        if packets == PACKETS_MAX || frame.bytes.len() < 14 {
            break;
        }
        let now_ns = frame.at_ns.unwrap_or_default();
        run.feed(Entry::Xdp, now_ns, frame.bytes, frame.wire_len, |_| {}, &mut batch).expect("running");
        packets += 1;
        if packets % BETWEEN == 0 {
            run.sweep(now_ns, SlotState::Open, &mut batch);
            let waited = run.kernel().stats().ring_fill_bytes;
            bytes += waited;
            fill = fill.max(waited);
            samples += batch.samples.len();
        }
    }
    let lost = run.kernel().totals().counter(Counter::SamplesLost);
    assert_eq!(lost, 0, "the ring was full");
    let whole = packets / BETWEEN * BETWEEN;
    let per_packet = bytes as f64 / whole.max(1) as f64;
    json!({
        "packets": whole,
        "samples": samples,
        "samples_per_packet": samples as f64 / whole.max(1) as f64,
        "ratios": { "bytes_per_packet": { "median": per_packet, "bar": BYTES_PER_PACKET_MAX } },
    })
}
