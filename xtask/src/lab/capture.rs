//! The capture at the LAN's switch: taken by tcpdump, and read back to see what really flowed.

use std::{
    collections::HashMap,
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::Path,
};

use anyhow::{Context, Result, ensure};

use super::filter::Filter;

/// One flow, in the direction of its first packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Flow {
    pub(crate) src: IpAddr,
    pub(crate) dst: IpAddr,
    pub(crate) src_port: u16,
    pub(crate) dst_port: u16,
    pub(crate) proto: u8,
}

impl Flow {
    fn reversed(self) -> Self {
        Self { src: self.dst, dst: self.src, src_port: self.dst_port, dst_port: self.src_port, proto: self.proto }
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    sent_bytes: u64,
    answers: u64,
}

/// What a row of LABELS.tsv tells of a capture.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Summary {
    pub(crate) packets: usize,
    pub(crate) flows: usize,
    pub(crate) attack_flows: usize,
    /// Of the attack's flows, those whose initiator sent payload.
    pub(crate) attack_sent: usize,
    /// Of the attack's flows, those in which something came back.
    pub(crate) attack_answered: usize,
    pub(crate) duration_secs: f64,
}

const FILE_HEADER: usize = 24;
const PACKET_HEADER: usize = 16;
/// Little-endian, microseconds: what tcpdump writes on every machine that we run on.
const MAGIC: [u8; 4] = [0xd4, 0xc3, 0xb2, 0xa1];

pub(crate) fn summarise(path: &Path, filter: &Filter) -> Result<Summary> {
    let bytes = fs::read(path).with_context(|| format!("`{}` is unreadable", path.display()))?;
    summarise_bytes(&bytes, filter).with_context(|| format!("`{}`", path.display()))
}

fn summarise_bytes(bytes: &[u8], filter: &Filter) -> Result<Summary> {
    ensure!(bytes.get(..4) == Some(&MAGIC), "no pcap of microseconds");
    let mut summary = Summary::default();
    let mut flows: HashMap<Flow, Seen> = HashMap::new();
    let (mut first_us, mut last_us) = (None, 0);
    let mut rest = bytes.get(FILE_HEADER..).unwrap_or_default();
    while let Some((header, after)) = rest.split_at_checked(PACKET_HEADER) {
        let number =
            |at: usize| u64::from(u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]));
        let length = usize::try_from(number(8)).unwrap_or(usize::MAX);
        // tcpdump ended by force leaves half a packet.
        let Some((frame, next)) = after.split_at_checked(length) else { break };
        rest = next;
        summary.packets += 1;
        last_us = number(0) * 1_000_000 + number(4);
        first_us.get_or_insert(last_us);
        let Some((flow, payload)) = read(frame) else { continue };
        if let Some(seen) = flows.get_mut(&flow) {
            seen.sent_bytes += payload;
        } else if let Some(seen) = flows.get_mut(&flow.reversed()) {
            seen.answers += 1;
        } else {
            flows.insert(flow, Seen { sent_bytes: payload, answers: 0 });
        }
    }
    summary.flows = flows.len();
    for seen in flows.iter().filter(|(flow, _)| filter.matches(flow)).map(|(_, seen)| seen) {
        summary.attack_flows += 1;
        summary.attack_sent += usize::from(seen.sent_bytes > 0);
        summary.attack_answered += usize::from(seen.answers > 0);
    }
    let span = last_us.saturating_sub(first_us.unwrap_or(last_us));
    summary.duration_secs = f64::from(u32::try_from(span / 1_000).unwrap_or(u32::MAX)) / 1_000.0;
    Ok(summary)
}

/// The flow of a frame and how many bytes of payload it carries; nothing for what is no IP.
fn read(frame: &[u8]) -> Option<(Flow, u64)> {
    let packet = frame.get(14..)?;
    let (src, dst, proto, transport, length) = match (frame.get(12)?, frame.get(13)?) {
        (0x08, 0x00) => {
            let header = usize::from(packet.first()? & 0x0f) * 4;
            let total = usize::from(u16::from_be_bytes([*packet.get(2)?, *packet.get(3)?]));
            let src = Ipv4Addr::from(array::<4>(packet, 12)?);
            let dst = Ipv4Addr::from(array::<4>(packet, 16)?);
            // Later fragments have no ports to tell their flow by.
            if u16::from_be_bytes(array(packet, 6)?) & 0x1fff != 0 {
                return None;
            }
            (IpAddr::from(src), IpAddr::from(dst), *packet.get(9)?, packet.get(header..)?, total.checked_sub(header)?)
        }
        (0x86, 0xdd) => {
            let length = usize::from(u16::from_be_bytes(array(packet, 4)?));
            let src = Ipv6Addr::from(array::<16>(packet, 8)?);
            let dst = Ipv6Addr::from(array::<16>(packet, 24)?);
            (IpAddr::from(src), IpAddr::from(dst), *packet.get(6)?, packet.get(40..)?, length)
        }
        _ => return None,
    };
    let (ports, header) = match proto {
        // A fragment may hold the ports and no more of the header.
        6 => (true, transport.get(12).map_or(20, |offset| usize::from(offset >> 4) * 4)),
        17 => (true, 8),
        1 | 58 => (false, 8),
        _ => (false, 0),
    };
    let (src_port, dst_port) = if ports {
        (u16::from_be_bytes(array(transport, 0)?), u16::from_be_bytes(array(transport, 2)?))
    } else {
        (0, 0)
    };
    let payload = u64::try_from(length.saturating_sub(header)).ok()?;
    Some((Flow { src, dst, src_port, dst_port, proto }, payload))
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::{FILE_HEADER, MAGIC, summarise_bytes};
    use crate::lab::filter::Filter;

    const HOST: [u8; 4] = [192, 0, 2, 1];
    const SERVER: [u8; 4] = [192, 0, 2, 2];

    /// An IPv4 packet of TCP with so many bytes of header and payload.
    fn packet(src: [u8; 4], dst: [u8; 4], ports: [u8; 4], transport: usize) -> Vec<u8> {
        let mut frame = vec![0; 12];
        frame.extend([
            0x08,
            0x00,
            0x45,
            0,
            0,
            u8::try_from(20 + transport).unwrap_or_default(),
            0,
            0,
            0,
            0,
            64,
            6,
            0,
            0,
        ]);
        frame.extend(src.into_iter().chain(dst).chain(ports));
        frame.resize(34 + transport, 0);
        if transport > 12 {
            frame[34 + 12] = 5 << 4;
        }
        frame
    }

    fn capture(frames: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.resize(FILE_HEADER, 0);
        for (secs, frame) in (1_u32..).zip(frames) {
            let length = u32::try_from(frame.len()).unwrap_or_default();
            for number in [secs, 0, length, length] {
                bytes.extend(number.to_le_bytes());
            }
            bytes.extend(frame);
        }
        bytes
    }

    #[test]
    fn flows_are_told_by_the_direction_of_their_first_packet() {
        let filter = Filter::from_hosts([IpAddr::from(Ipv4Addr::from(HOST))]);
        let frames = [
            packet(HOST, SERVER, [200, 1, 0, 80], 20),
            packet(SERVER, HOST, [0, 80, 200, 1], 20),
            packet(HOST, SERVER, [200, 1, 0, 80], 30),
            // Half a header: a fragment.
            packet(HOST, SERVER, [200, 2, 0, 80], 8),
            packet(SERVER, HOST, [200, 3, 0, 22], 25),
        ];
        let summary = summarise_bytes(&capture(&frames), &filter).unwrap_or_default();
        assert_eq!((summary.packets, summary.flows, summary.attack_flows), (5, 3, 2));
        assert_eq!((summary.attack_sent, summary.attack_answered), (1, 1));
        assert!((summary.duration_secs - 4.0).abs() < 1e-9);
    }

    #[test]
    fn what_is_no_capture_is_an_error_and_a_cut_one_is_read_to_the_cut() {
        assert!(summarise_bytes(b"no capture", &Filter::none()).is_err());
        let whole = capture(&[packet(HOST, SERVER, [1, 1, 1, 1], 20), packet(HOST, SERVER, [1, 1, 1, 1], 20)]);
        let cut = summarise_bytes(&whole[..whole.len() - 7], &Filter::none()).unwrap_or_default();
        assert_eq!((cut.packets, cut.flows), (1, 1));
    }
}
