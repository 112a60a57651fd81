//! Replays a capture down to flow records, and states the law that every replay obeys.

use std::path::Path;

use ids_agent::{
    config::{FlowSettings, SampleSettings},
    flow::{FlowRecord, FlowStats, FlowTable},
    source::{
        Batch, FlowSource, Progress, Totals,
        pcap::{CaptureError, CaptureFacts, PcapSource},
    },
};
use ids_common::counter::Counter;

/// What a replay came to.
#[derive(Debug)]
pub struct Replayed {
    pub facts: CaptureFacts,
    pub totals: Totals,
    pub stats: FlowStats,
    /// The last record of every flow.
    pub ended: Vec<FlowRecord>,
    pub samples: u64,
}

/// Replays a file with default settings.
pub fn replay_file(path: &Path) -> Result<Replayed, CaptureError> {
    let (flow, sample) = (FlowSettings::default(), SampleSettings::default());
    replay(PcapSource::open(path, &flow, &sample)?, &flow)
}

/// Replays a source to its end.
pub fn replay(mut source: PcapSource, flow: &FlowSettings) -> Result<Replayed, CaptureError> {
    let mut table = FlowTable::new(flow);
    let (mut batch, mut due, mut ended) = (Batch::default(), Vec::new(), Vec::new());
    let (mut samples, mut last_ns) = (0, 0);
    loop {
        let progress = source.next_batch(&mut batch)?;
        assert!(batch.now_ns >= last_ns, "ticks go back from {last_ns} to {}", batch.now_ns);
        last_ns = batch.now_ns;
        samples += batch.samples.len() as u64;
        for sample in &batch.samples {
            assert_eq!(batch.payload(sample).len(), sample.captured as usize);
            assert!(sample.captured <= sample.payload_len);
        }
        table.absorb(&batch);
        table.due(batch.now_ns, &mut due);
        if progress == Progress::End {
            table.finish(&mut due);
        }
        ended.extend(due.drain(..).filter(FlowRecord::is_ended));
        if progress == Progress::End {
            return Ok(Replayed {
                facts: source.facts(),
                totals: *source.totals(),
                stats: table.stats(),
                ended,
                samples,
            });
        }
    }
}

/// Seen = in flows + skipped by reason, and what is in flows is in ended records, once.
pub fn assert_conserved(replayed: &Replayed, what: &str) {
    let Replayed { facts, totals, stats, ended, samples } = replayed;
    let in_flows = totals.counter(Counter::FlowPackets);
    assert_eq!(totals.counter(Counter::PacketsSeen), facts.packets, "{what}: packets seen");
    assert_eq!(facts.packets, in_flows + totals.skipped_all(), "{what}: in flows or skipped");
    assert_eq!(totals.counter(Counter::SlotsLost), 0, "{what}: nothing is lost on replay");
    assert_eq!(totals.counter(Counter::SamplesSent), *samples, "{what}: samples");

    let packets: u64 = ended.iter().map(FlowRecord::packets).sum();
    let bytes: u64 = ended.iter().map(FlowRecord::bytes).sum();
    assert_eq!(
        (packets, bytes),
        (in_flows, totals.counter(Counter::FlowBytes)),
        "{what}: packets and bytes in records"
    );
    assert_eq!((stats.packets_ended, stats.bytes_ended), (packets, bytes), "{what}: the table's own count");
    assert_eq!((stats.started, stats.active), (ended.len() as u64, 0), "{what}: every flow ends once");
    assert_eq!(stats.ended_all(), stats.started, "{what}: every end has a reason");
    for record in ended {
        assert!(record.start_ns <= record.end_ns, "{what}: {record:?}");
        assert!(record.packets() > 0, "{what}: {record:?}");
    }
}
