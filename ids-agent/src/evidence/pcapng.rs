//! A small pcapng file of sampled payloads (draft-ietf-opsawg-pcapng). Headers are rebuilt from the flow's key and say so in
//! a comment: addresses, ports and payload are what was seen; hardware addresses, TTL and TCP sequence numbers are not.

use ids_common::{flow::FlowKey, wire};

use crate::payload::SampledPacket;

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const ENHANCED_PACKET: u32 = 6;
const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;
const LINK_ETHERNET: u16 = 1;
const OPTION_COMMENT: u16 = 1;
const OPTION_RESOLUTION: u16 = 9;
/// Times in units of ten to the minus nine seconds.
const NANOSECONDS: u8 = 9;
const COMMENT: &str = "Rebuilt by ids-agent from payload samples. Addresses, ports, payload and times are as seen. Hardware \
                       addresses, TTL, TCP sequence numbers and flags are made up; handshakes and packets without payload are missing.";

/// Hardware addresses of the locally administered range: nobody's.
const INITIATOR: [u8; 6] = [2, 0, 0, 0, 0, 1];
const RESPONDER: [u8; 6] = [2, 0, 0, 0, 0, 2];

/// The file with `packets` of the flow that `key` began.
pub fn capture(key: &FlowKey, packets: &[SampledPacket]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut section = Vec::new();
    section.extend_from_slice(&BYTE_ORDER_MAGIC.to_le_bytes());
    section.extend_from_slice(&1u16.to_le_bytes());
    section.extend_from_slice(&0u16.to_le_bytes());
    section.extend_from_slice(&u64::MAX.to_le_bytes());
    option(&mut section, OPTION_COMMENT, COMMENT.as_bytes());
    option(&mut section, 0, &[]);
    block(&mut out, SECTION_HEADER, &section);

    let mut interface = Vec::new();
    interface.extend_from_slice(&LINK_ETHERNET.to_le_bytes());
    interface.extend_from_slice(&[0; 6]);
    option(&mut interface, OPTION_RESOLUTION, &[NANOSECONDS]);
    option(&mut interface, 0, &[]);
    block(&mut out, INTERFACE, &interface);

    // Where each side's stream stands; the initiator's is first.
    let mut sent = [1u32; 2];
    for packet in packets {
        let side = usize::from(packet.key != *key);
        let (seq, ack) = if side == 0 { (sent[0], sent[1]) } else { (sent[1], sent[0]) };
        let frame = Frame { packet, is_initiator: side == 0, seq, ack };
        let (headers, missing) = (frame.headers(), packet.payload_len.saturating_sub(packet.bytes.len() as u32));
        let captured = headers.len() + packet.bytes.len();
        let mut body = Vec::with_capacity(captured + 20);
        body.extend_from_slice(&0u32.to_le_bytes());
        body.extend_from_slice(&((packet.seen_ns >> 32) as u32).to_le_bytes());
        body.extend_from_slice(&(packet.seen_ns as u32).to_le_bytes());
        body.extend_from_slice(&(captured as u32).to_le_bytes());
        body.extend_from_slice(&(captured as u32).saturating_add(missing).to_le_bytes());
        body.extend_from_slice(&headers);
        body.extend_from_slice(&packet.bytes);
        block(&mut out, ENHANCED_PACKET, &body);
        if let Some(place) = sent.get_mut(side) {
            *place = place.wrapping_add(packet.payload_len);
        }
    }
    out
}

/// A block with its length in front and behind, padded to four bytes.
fn block(out: &mut Vec<u8>, kind: u32, body: &[u8]) {
    let padded = body.len().next_multiple_of(4);
    let length = (padded as u32).saturating_add(12).to_le_bytes();
    out.extend_from_slice(&kind.to_le_bytes());
    out.extend_from_slice(&length);
    out.extend_from_slice(body);
    out.resize(out.len() + padded - body.len(), 0);
    out.extend_from_slice(&length);
}

fn option(out: &mut Vec<u8>, code: u16, value: &[u8]) {
    out.extend_from_slice(&code.to_le_bytes());
    out.extend_from_slice(&u16::try_from(value.len()).unwrap_or(0).to_le_bytes());
    out.extend_from_slice(value);
    out.resize(out.len().next_multiple_of(4), 0);
}

struct Frame<'a> {
    packet: &'a SampledPacket,
    is_initiator: bool,
    seq: u32,
    ack: u32,
}

impl Frame<'_> {
    /// Everything in front of the payload.
    fn headers(&self) -> Vec<u8> {
        let key = &self.packet.key;
        let transport = self.transport();
        let mut out = Vec::with_capacity(18 + 40 + transport.len());
        let (to, from) = if self.is_initiator { (RESPONDER, INITIATOR) } else { (INITIATOR, RESPONDER) };
        out.extend_from_slice(&to);
        out.extend_from_slice(&from);
        if key.vlan != 0 {
            out.extend_from_slice(&0x8100u16.to_be_bytes());
            out.extend_from_slice(&key.vlan.to_be_bytes());
        }
        let carried = (transport.len() as u32).saturating_add(self.packet.payload_len);
        let [_, _, _, _, _, _, _, _, _, _, _, _, src @ ..] = key.src;
        let [_, _, _, _, _, _, _, _, _, _, _, _, dst @ ..] = key.dst;
        if key.is_ipv4() {
            out.extend_from_slice(&0x0800u16.to_be_bytes());
            let total = u16::try_from(carried.saturating_add(20)).unwrap_or(u16::MAX).to_be_bytes();
            let mut header = [0x45, 0, total[0], total[1], 0, 0, 0x40, 0, 64, key.proto, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            header[12..16].copy_from_slice(&src);
            header[16..20].copy_from_slice(&dst);
            let sum = checksum(0, &header).to_be_bytes();
            header[10..12].copy_from_slice(&sum);
            out.extend_from_slice(&header);
        } else {
            out.extend_from_slice(&0x86ddu16.to_be_bytes());
            out.extend_from_slice(&[0x60, 0, 0, 0]);
            out.extend_from_slice(&u16::try_from(carried).unwrap_or(u16::MAX).to_be_bytes());
            out.extend_from_slice(&[key.proto, 64]);
            out.extend_from_slice(&key.src);
            out.extend_from_slice(&key.dst);
        }
        out.extend_from_slice(&transport);
        out
    }

    /// The transport's header; nothing for protocols whose samples hold it or that have none.
    fn transport(&self) -> Vec<u8> {
        let key = &self.packet.key;
        let mut header = Vec::with_capacity(20);
        header.extend_from_slice(&key.src_port.to_be_bytes());
        header.extend_from_slice(&key.dst_port.to_be_bytes());
        let sum_at = match key.proto {
            wire::PROTO_TCP => {
                header.extend_from_slice(&self.seq.to_be_bytes());
                header.extend_from_slice(&self.ack.to_be_bytes());
                // Five words of header, PSH and ACK, a full window.
                header.extend_from_slice(&[0x50, 0x18, 0xff, 0xff, 0, 0, 0, 0]);
                16
            }
            wire::PROTO_UDP => {
                let length = u16::try_from(self.packet.payload_len.saturating_add(8)).unwrap_or(u16::MAX);
                header.extend_from_slice(&length.to_be_bytes());
                header.extend_from_slice(&[0, 0]);
                6
            }
            _ => return Vec::new(),
        };
        // A sum over bytes that were not kept cannot be known; zero stands for none.
        if self.packet.bytes.len() as u32 == self.packet.payload_len {
            let sum = self.transport_sum(&header).to_be_bytes();
            if let Some(place) = header.get_mut(sum_at..sum_at + 2) {
                place.copy_from_slice(&sum);
            }
        }
        header
    }

    fn transport_sum(&self, header: &[u8]) -> u16 {
        let key = &self.packet.key;
        let length = (header.len() as u32).saturating_add(self.packet.payload_len);
        let sum = [length >> 16, length & 0xffff, u32::from(key.proto)].iter().sum();
        // A mapped address adds 0xffff, which is nothing in this arithmetic.
        let all = [&key.src[..], &key.dst[..], header, &self.packet.bytes[..]].concat();
        match checksum(sum, &all) {
            0 => 0xffff,
            sum => sum,
        }
    }
}

/// The Internet checksum (RFC 1071).
fn checksum(start: u32, bytes: &[u8]) -> u16 {
    let mut sum = start;
    for pair in bytes.chunks(2) {
        let word = [pair.first().copied().unwrap_or(0), pair.get(1).copied().unwrap_or(0)];
        sum = sum.wrapping_add(u32::from(u16::from_be_bytes(word)));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed step fails the test")]
    use super::*;
    use crate::{
        config::{FlowSettings, SampleSettings},
        fabricated::{host, host6, key},
        source::{Batch, FlowSource, Progress, pcap::PcapSource},
    };

    fn packet(key: FlowKey, seen_ns: u64, bytes: &[u8], missing: u32) -> SampledPacket {
        let payload_len = bytes.len() as u32 + missing;
        SampledPacket { key, slot_first_seen_ns: 0, seen_ns, index: 0, payload_len, bytes: bytes.into() }
    }

    /// What the project's own reader samples of a capture: key, time and payload.
    fn read_back(bytes: &[u8]) -> Vec<(FlowKey, u64, Vec<u8>)> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.pcapng");
        std::fs::write(&file, bytes).unwrap();
        let (flow, sample) = (FlowSettings::default(), SampleSettings::default());
        let mut source = PcapSource::open(&file, &flow, &sample).unwrap();
        let (mut batch, mut found) = (Batch::default(), Vec::new());
        loop {
            let progress = source.next_batch(&mut batch).unwrap();
            found.extend(batch.samples.iter().map(|s| (s.key, s.seen_ns, batch.payload(s).to_vec())));
            if progress == Progress::End {
                return found;
            }
        }
    }

    #[test]
    fn what_was_sampled_is_read_back_from_the_capture() {
        for (src, dst) in [(host(0, 0, 1), host(0, 0, 2)), (host6(1), host6(2))] {
            for (proto, vlan) in [(wire::PROTO_TCP, 0), (wire::PROTO_UDP, 7)] {
                let key = FlowKey { vlan, ..key(src, 40_000, dst, 80, proto) };
                let packets = [
                    packet(key, 1_700_000_000_000_000_001, b"GET / HTTP/1.1\r\n\r\n", 0),
                    packet(key.reversed(), 1_700_000_000_000_500_000, b"HTTP/1.1 200 OK", 300),
                    packet(key, 1_700_000_000_001_000_000, b"odd", 0),
                ];
                let expected: Vec<_> = packets.iter().map(|p| (p.key, p.seen_ns, p.bytes.to_vec())).collect();
                assert_eq!(read_back(&capture(&key, &packets)), expected);
            }
        }
    }

    #[test]
    fn whole_packets_have_right_checksums_and_the_file_says_what_is_made_up() {
        let key = key(host(0, 0, 1), 40_000, host(0, 0, 2), 80, wire::PROTO_TCP);
        let sample = packet(key, 1, b"abc", 0);
        let frame = Frame { packet: &sample, is_initiator: true, seq: 1, ack: 1 }.headers();
        assert_eq!(checksum(0, &frame[14..34]), 0, "a right IPv4 header sums to zero");
        let segment = [&frame[34..], b"abc"].concat();
        let pseudo = u32::from(wire::PROTO_TCP) + segment.len() as u32;
        assert_eq!(checksum(pseudo, &[&frame[26..34], &segment].concat()), 0);
        let file = capture(&key, &[sample]);
        assert!(String::from_utf8_lossy(&file).contains("TCP sequence numbers and flags are made up"));
    }
}
