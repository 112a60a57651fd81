//! Packets as an attacker makes them, from any source: IPv4 with TCP or UDP, into the namespace of the calling thread alone.

use std::net::{Ipv4Addr, SocketAddrV4};

use anyhow::{Context, Result};
use rustix::{
    fd::OwnedFd,
    net::{AddressFamily, SendFlags, SocketFlags, SocketType, ipproto, sendto, socket_with},
};

const TCP: u8 = 6;
const UDP: u8 = 17;
const SYN: u8 = 2;

/// A socket that sends packets as they are given.
pub(crate) struct Raw {
    socket: OwnedFd,
}

impl Raw {
    pub(crate) fn open() -> Result<Self> {
        let socket = socket_with(AddressFamily::INET, SocketType::RAW, SocketFlags::CLOEXEC, Some(ipproto::RAW))
            .context("a raw socket")?;
        Ok(Self { socket })
    }

    /// Whether the kernel took it.
    pub(crate) fn send(&self, target: Ipv4Addr, packet: &[u8]) -> bool {
        sendto(&self.socket, packet, SendFlags::empty(), &SocketAddrV4::new(target, 0)).is_ok()
    }
}

/// The first packet of a connection.
pub(super) fn syn(source: SocketAddrV4, target: SocketAddrV4, sequence: u32) -> Vec<u8> {
    let mut segment = [ports(source, target).as_slice(), &sequence.to_be_bytes(), &[0; 4]].concat();
    // Five words of header, a window, no checksum yet, and nothing urgent.
    segment.extend([5 << 4, SYN, 0xfa, 0xf0, 0, 0, 0, 0]);
    wrap(source, target, TCP, segment, 16)
}

/// A datagram.
pub(crate) fn datagram(source: SocketAddrV4, target: SocketAddrV4, payload: &[u8]) -> Vec<u8> {
    let mut segment = ports(source, target).to_vec();
    segment.extend(u16::try_from(8 + payload.len()).unwrap_or(u16::MAX).to_be_bytes());
    segment.extend([0, 0]);
    segment.extend(payload);
    wrap(source, target, UDP, segment, 6)
}

fn ports(source: SocketAddrV4, target: SocketAddrV4) -> [u8; 4] {
    let ([a, b], [c, d]) = (source.port().to_be_bytes(), target.port().to_be_bytes());
    [a, b, c, d]
}

/// Fills in the checksum, at this place of the segment, and puts the header before it.
fn wrap(source: SocketAddrV4, target: SocketAddrV4, protocol: u8, mut segment: Vec<u8>, at: usize) -> Vec<u8> {
    let length = u16::try_from(segment.len()).unwrap_or(u16::MAX);
    let mut pseudo = [source.ip().octets(), target.ip().octets()].concat();
    pseudo.extend([0, protocol]);
    pseudo.extend(length.to_be_bytes());
    pseudo.extend(&segment);
    let sum = checksum(&pseudo);
    segment[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    // The kernel fills in the identification and the header's own checksum.
    let mut packet = vec![0x45, 0];
    packet.extend((20 + length).to_be_bytes());
    packet.extend([0, 0, 0x40, 0, 64, protocol, 0, 0]);
    packet.extend(source.ip().octets());
    packet.extend(target.ip().octets());
    packet.extend(segment);
    packet
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let sum: u32 = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddrV4};

    use super::{checksum, datagram, syn};

    #[test]
    fn segments_have_right_checksums_and_lengths() {
        let [source, target] =
            [(45, 80), (10, 443)].map(|(a, port)| SocketAddrV4::new(Ipv4Addr::new(a, 1, 2, 3), port));
        for (packet, protocol) in [(syn(source, target, 7), 6), (datagram(source, target, b"odd"), 17)] {
            let length = u16::from_be_bytes([packet[2], packet[3]]);
            assert_eq!(usize::from(length), packet.len());
            let pseudo = [&packet[12..20], &[0, protocol], &(length - 20).to_be_bytes(), &packet[20..]].concat();
            assert_eq!(checksum(&pseudo), 0, "{packet:?}");
        }
    }
}
