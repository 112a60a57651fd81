//! Replay: a capture file as a source of slots, on the capture's own time axis.
//!
//! A file that is cut short or damaged gives what stands before the damage, with a note; a file
//! that is no capture is an error.

use std::{borrow::Cow, collections::BTreeMap, io::Read, path::Path};

use ids_common::{counter::Skip, parse::Frame};

use crate::{
    config::{FlowSettings, SampleSettings},
    source::{
        Batch, FlowSource, Progress, Totals,
        packets::{PacketSettings, PacketTable},
    },
};

mod input;
mod link;
mod reader;

use input::Input;
pub use link::LinkType;
pub use reader::FileFrame;
use reader::Reader;

/// Empty ticks are skipped in a silence once they have lasted this long: every timeout has fired.
const SILENCE_TOLD_NS: u64 = 600_000_000_000;

#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    #[error("cannot open capture `{name}`: {source}")]
    Open { name: String, source: std::io::Error },
    #[error("`{name}` is a directory, not a capture")]
    Directory { name: String },
    #[error("cannot read capture `{name}` beyond byte {offset}: {source}")]
    Read { name: String, offset: u64, source: std::io::Error },
    #[error("`{name}` is no pcap or pcapng capture: it is {found}")]
    NotACapture { name: String, found: String },
}

/// The frames of a capture file, one by one, as they stand there.
pub struct Frames(Reader);

impl Frames {
    /// Opens a file, or standard input for `-`.
    pub fn open(path: &Path) -> Result<Self, CaptureError> {
        Ok(Self(Reader::new(path.display().to_string(), Input::open(path)?)?))
    }

    /// Steps to the next frame; none at the end of the file, or of what makes sense of it.
    pub fn step(&mut self) -> Result<Option<FileFrame<'_>>, CaptureError> {
        Ok(if self.0.advance()? { Some(self.0.frame()) } else { None })
    }
}

/// What a capture turned out to be, so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CaptureFacts {
    pub packets: u64,
    /// Captured bytes, link headers included.
    pub bytes: u64,
    pub first_ns: Option<u64>,
    pub last_ns: Option<u64>,
    /// Packets whose time lay before that of an earlier one, and was taken as that.
    pub times_clamped: u64,
    /// Packets of link types that are not parsed, by name.
    pub links_unsupported: Vec<(Cow<'static, str>, u64)>,
    /// What is wrong with the file, if anything is.
    pub note: Option<String>,
}

/// One capture file.
pub struct PcapSource {
    reader: Reader,
    table: PacketTable,
    tick_ns: u64,
    /// End of the tick that is being filled; zero before the first packet.
    tick_end_ns: u64,
    /// Length of the run of empty ticks.
    empty_ns: u64,
    /// Time of the last packet.
    last_ns: u64,
    /// The reader stands on a frame that belongs to a later tick.
    held: bool,
    ended: bool,
    facts: CaptureFacts,
    links_unsupported: BTreeMap<LinkType, u64>,
}

impl PcapSource {
    /// Opens a file, or standard input for `-`.
    pub fn open(path: &Path, flow: &FlowSettings, sample: &SampleSettings) -> Result<Self, CaptureError> {
        let name = if path.as_os_str() == "-" { "standard input".to_owned() } else { path.display().to_string() };
        Self::build(name, Input::open(path)?, &PacketSettings::new(flow, sample), flow.tick_ns())
    }

    /// A capture in any stream of bytes, called `name` in errors.
    pub fn from_read(
        name: &str,
        input: Box<dyn Read + Send>,
        settings: &PacketSettings,
        tick_ns: u64,
    ) -> Result<Self, CaptureError> {
        Self::build(name.to_owned(), Input::new(input, name)?, settings, tick_ns)
    }

    fn build(name: String, input: Input, settings: &PacketSettings, tick_ns: u64) -> Result<Self, CaptureError> {
        Ok(Self {
            reader: Reader::new(name, input)?,
            table: PacketTable::new(settings),
            tick_ns: tick_ns.max(1),
            tick_end_ns: 0,
            empty_ns: 0,
            last_ns: 0,
            held: false,
            ended: false,
            facts: CaptureFacts::default(),
            links_unsupported: BTreeMap::new(),
        })
    }

    /// Bytes read of the file so far, packed as they stand there.
    pub fn position_bytes(&self) -> u64 {
        self.reader.position()
    }

    pub fn totals(&self) -> &Totals {
        self.table.totals()
    }

    pub fn facts(&self) -> CaptureFacts {
        let named = self.links_unsupported.iter().map(|(link, packets)| (link.label(), *packets));
        CaptureFacts {
            links_unsupported: named.collect(),
            note: self.reader.note(self.facts.packets),
            ..self.facts.clone()
        }
    }

    /// Steps to the next frame and makes its time follow the last one's; false at the file's end.
    #[inline]
    fn advance(&mut self) -> Result<bool, CaptureError> {
        if !self.reader.advance()? {
            return Ok(false);
        }
        let frame = self.reader.frame();
        let at_ns = frame.at_ns.unwrap_or(self.last_ns);
        self.facts.packets += 1;
        self.facts.bytes += frame.bytes.len() as u64;
        if at_ns < self.last_ns {
            self.facts.times_clamped += 1;
        } else {
            self.last_ns = at_ns;
        }
        if self.facts.first_ns.is_none() {
            self.facts.first_ns = Some(self.last_ns);
            self.tick_end_ns = (self.last_ns - self.last_ns % self.tick_ns).saturating_add(self.tick_ns);
        }
        self.facts.last_ns = Some(self.last_ns);
        Ok(true)
    }

    #[inline]
    fn count(&mut self, batch: &mut Batch) {
        let frame = self.reader.frame();
        match frame.link.link() {
            Some(link) => {
                self.table.packet(&Frame::new(frame.bytes, frame.wire_len), link, self.last_ns, batch);
            }
            None => {
                *self.links_unsupported.entry(frame.link).or_default() += 1;
                self.table.skip(Skip::LinkType);
            }
        }
    }

    fn end(&mut self, batch: &mut Batch) -> Progress {
        self.ended = true;
        // Not the tick's end: what is still open when the last packet has come must not depend on
        // where ticks fall.
        let now_ns = if self.facts.packets == 0 { 0 } else { self.last_ns.saturating_add(1) };
        self.table.finish(now_ns, batch);
        Progress::End
    }
}

impl FlowSource for PcapSource {
    type Error = CaptureError;

    fn next_batch(&mut self, batch: &mut Batch) -> Result<Progress, CaptureError> {
        batch.clear();
        if self.ended {
            return Ok(self.end(batch));
        }
        let mut packets = 0;
        loop {
            if !self.held && !self.advance()? {
                return Ok(self.end(batch));
            }
            self.held = self.last_ns >= self.tick_end_ns;
            if self.held {
                break;
            }
            self.count(batch);
            packets += 1;
        }
        self.table.tick(self.tick_end_ns, batch);
        self.empty_ns = if packets == 0 { self.empty_ns + self.tick_ns } else { 0 };
        if self.empty_ns >= SILENCE_TOLD_NS {
            self.tick_end_ns = self.last_ns - self.last_ns % self.tick_ns;
        }
        self.tick_end_ns = self.tick_end_ns.saturating_add(self.tick_ns);
        Ok(Progress::Tick)
    }
}

#[cfg(test)]
mod tests;
