//! Writes capture files. Reading them is what is under test.

use std::{borrow::Cow, fs::File, io::BufWriter, path::Path, time::Duration};

use pcap_file::{
    DataLink, Endianness, TsResolution,
    pcap::{PcapHeader, PcapPacket, PcapWriter},
};

pub const ETHERNET: DataLink = DataLink::ETHERNET;

/// A frame with its capture time.
#[derive(Clone, Debug)]
pub struct Timed {
    pub at_ns: u64,
    pub bytes: Vec<u8>,
    /// Bytes on the wire, where the capture was cut short.
    pub wire_len: Option<u32>,
}

impl Timed {
    pub fn new(at_ns: u64, bytes: Vec<u8>) -> Self {
        Self { at_ns, bytes, wire_len: None }
    }
}

/// Writes a little-endian pcap file with nanosecond times.
pub fn write_pcap(path: &Path, link: DataLink, frames: &[Timed]) {
    let header = PcapHeader {
        datalink: link,
        ts_resolution: TsResolution::NanoSecond,
        endianness: Endianness::Little,
        snaplen: 262_144,
        ..PcapHeader::default()
    };
    let file = BufWriter::new(File::create(path).unwrap());
    let mut writer = PcapWriter::with_header(file, header).unwrap();
    for frame in frames {
        let packet = PcapPacket {
            timestamp: Duration::from_nanos(frame.at_ns),
            orig_len: frame.wire_len.unwrap_or(frame.bytes.len() as u32),
            data: Cow::Borrowed(&frame.bytes),
        };
        writer.write_packet(&packet).unwrap();
    }
}
