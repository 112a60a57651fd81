//! Frames onto one end of a veth pair, and the flows that the programs on its other end counted.

use ids_agent::{
    config::{CaptureSettings, Direction, FlowSettings, Mode, SampleSettings},
    flow::{FlowRecord, FlowTable},
    kernel::{Blocks, Kernel, KernelError},
    source::{Batch, FlowSource, Progress, Totals, live::LiveSource},
};
use ids_common::counter::Counter;
use smoltcp::{
    phy::{Device, Medium, RawSocket, TxToken},
    time::Instant,
};

use crate::link;

pub(crate) const WATCHED: &str = "watched0";
const PEER: &str = "peer0";
/// Frames between two looks of the reader: half of what a veth's queue takes.
const BURST: usize = 100;
/// Ticks to wait for the last frame, a tenth of a second each.
const TICKS_BEHIND: u32 = 50;

/// A veth pair with the programs on one end.
pub(crate) struct Wire {
    source: LiveSource,
    blocks: Option<Blocks>,
    sender: RawSocket,
    table: FlowTable,
    batch: Batch,
    ended: Vec<FlowRecord>,
}

impl Wire {
    pub(crate) fn new(mode: Mode, mtu: u32) -> Result<Self, KernelError> {
        link::pair(WATCHED, PEER, mtu);
        let capture = capture(mode);
        let flow = FlowSettings { tick_millis: 100, ..FlowSettings::default() };
        let mut kernel = Kernel::load(&capture, &flow, &SampleSettings::default())?;
        let used: Vec<Mode> = kernel.attach(&capture)?.iter().map(|attachment| attachment.mode).collect();
        assert_eq!(used, [mode]);
        let blocks = Some(kernel.take_blocks()?);
        Ok(Self {
            source: kernel.into_source(&flow),
            blocks,
            sender: RawSocket::new(PEER, Medium::Ethernet).unwrap(),
            table: FlowTable::new(&flow),
            batch: Batch::default(),
            ended: Vec::new(),
        })
    }

    /// Sends the frames in bursts, reading in between.
    pub(crate) fn send<'a>(&mut self, frames: impl IntoIterator<Item = &'a [u8]>) {
        for (at, frame) in frames.into_iter().enumerate() {
            if at % BURST == BURST - 1 {
                self.read();
            }
            let token = self.sender.transmit(Instant::ZERO).unwrap();
            token.consume(frame.len(), |buffer| buffer.copy_from_slice(frame));
        }
    }

    /// One tick of the reader.
    fn read(&mut self) -> Progress {
        let progress = self.source.next_batch(&mut self.batch).unwrap();
        self.table.absorb(&self.batch);
        let mut due = Vec::new();
        self.table.due(self.batch.now_ns, &mut due);
        if progress == Progress::End {
            self.table.finish(&mut due);
        }
        self.ended.extend(due.into_iter().filter(FlowRecord::is_ended));
        progress
    }

    /// What the programs drop; once.
    pub(crate) fn take_blocks(&mut self) -> Blocks {
        self.blocks.take().unwrap()
    }

    pub(crate) fn seen(&self) -> u64 {
        self.total(Counter::PacketsSeen)
    }

    pub(crate) fn total(&self, counter: Counter) -> u64 {
        self.batch.totals.counter(counter)
    }

    /// Reads until so many packets were seen since the start, or no more come.
    pub(crate) fn await_seen(&mut self, packets: u64) {
        for _ in 0..TICKS_BEHIND {
            self.read();
            if self.seen() >= packets {
                return;
            }
        }
    }

    /// Ends the source; gives every flow and the totals.
    pub(crate) fn finish(mut self) -> (Vec<FlowRecord>, Totals) {
        self.source.stop_handle().stop();
        while self.read() != Progress::End {}
        (self.ended, self.batch.totals)
    }
}

pub(crate) fn capture(mode: Mode) -> CaptureSettings {
    CaptureSettings {
        interfaces: vec![WATCHED.into()],
        mode,
        direction: Direction::Ingress,
        sets_per_cpu: 1_024,
        ..CaptureSettings::default()
    }
}
