//! Writes capture files. Reading them is what is under test.

use std::{borrow::Cow, path::Path, time::Duration};

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
    std::fs::write(path, pcap(link, frames)).unwrap();
}

/// A little-endian pcap file with nanosecond times.
pub fn pcap(link: DataLink, frames: &[Timed]) -> Vec<u8> {
    let header = PcapHeader {
        datalink: link,
        ts_resolution: TsResolution::NanoSecond,
        endianness: Endianness::Little,
        snaplen: 262_144,
        ..PcapHeader::default()
    };
    let mut writer = PcapWriter::with_header(Vec::new(), header).unwrap();
    for frame in frames {
        let packet = PcapPacket {
            timestamp: Duration::from_nanos(frame.at_ns),
            orig_len: frame.wire_len.unwrap_or(frame.bytes.len() as u32),
            data: Cow::Borrowed(&frame.bytes),
        };
        writer.write_packet(&packet).unwrap();
    }
    writer.into_writer()
}

/// A pcapng block of either byte order, its length before and behind the body.
pub fn pcapng_block(order: Order, kind: u32, body: &[u8]) -> Vec<u8> {
    let padded = body.len().next_multiple_of(4);
    let len = order.u32(padded as u32 + 12);
    let mut block = [order.u32(kind).as_slice(), &len, body].concat();
    block.resize(8 + padded, 0);
    block.extend(len);
    block
}

/// Byte order of a pcapng section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    Little,
    Big,
}

impl Order {
    pub fn u16(self, value: u16) -> [u8; 2] {
        if self == Self::Little { value.to_le_bytes() } else { value.to_be_bytes() }
    }

    pub fn u32(self, value: u32) -> [u8; 4] {
        if self == Self::Little { value.to_le_bytes() } else { value.to_be_bytes() }
    }

    /// A section header of unknown length.
    pub fn section(self) -> Vec<u8> {
        let body = [&self.u32(0x1a2b_3c4d)[..], &self.u16(1), &self.u16(0), &[0xff; 8]].concat();
        pcapng_block(self, 0x0a0d_0d0a, &body)
    }

    /// An interface of a link type; times in powers of ten, or of two with the high bit set.
    pub fn interface(self, link: u16, resolution: u8) -> Vec<u8> {
        let option = [&self.u16(9)[..], &self.u16(1), &[resolution, 0, 0, 0], &[0; 4]].concat();
        pcapng_block(self, 1, &[&self.u16(link)[..], &[0, 0], &self.u32(0), &option].concat())
    }

    /// An enhanced packet block.
    pub fn packet(self, interface: u32, ticks: u64, bytes: &[u8]) -> Vec<u8> {
        let len = self.u32(bytes.len() as u32);
        let mut body = [self.u32(interface), self.u32((ticks >> 32) as u32), self.u32(ticks as u32), len, len].concat();
        body.extend(bytes);
        pcapng_block(self, 6, &body)
    }
}
