//! Frames made by hand, from the inside out: each function wraps the bytes it is given in one
//! header. Well-formed unless a field is set to lie; the parser under test has no part in it.

use std::net::{Ipv4Addr, Ipv6Addr};

pub const IPV4: u16 = 0x0800;
pub const ARP: u16 = 0x0806;
pub const VLAN: u16 = 0x8100;
pub const QINQ: u16 = 0x88a8;
pub const IPV6: u16 = 0x86dd;
pub const MPLS: u16 = 0x8847;
pub const PPPOE_SESSION: u16 = 0x8864;
pub const PPPOE_DISCOVERY: u16 = 0x8863;

pub const HOP_BY_HOP: u8 = 0;
pub const ICMP: u8 = 1;
pub const IPIP: u8 = 4;
pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
pub const IPV6_IN_IP: u8 = 41;
pub const ROUTING: u8 = 43;
pub const FRAGMENT: u8 = 44;
pub const GRE: u8 = 47;
pub const ESP: u8 = 50;
pub const AH: u8 = 51;
pub const ICMPV6: u8 = 58;
pub const NO_NEXT: u8 = 59;
pub const DESTINATION: u8 = 60;
pub const SCTP: u8 = 132;

pub const FIN: u8 = 0x01;
pub const SYN: u8 = 0x02;
pub const RST: u8 = 0x04;
pub const PSH: u8 = 0x08;
pub const ACK: u8 = 0x10;

/// Bytes that differ from their neighbours, so that a shifted read shows.
pub fn payload(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at as u8).wrapping_mul(37).wrapping_add(11)).collect()
}

pub fn ethernet(ethertype: u16, body: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x02, 0, 0, 0, 0, 2, 0x02, 0, 0, 0, 0, 1];
    frame.extend(ethertype.to_be_bytes());
    frame.extend(body);
    frame
}

/// Pads a frame with zeros to Ethernet's minimum of 60 bytes.
pub fn padded(mut frame: Vec<u8>) -> Vec<u8> {
    frame.resize(frame.len().max(60), 0);
    frame
}

/// A VLAN tag behind the EtherType that names it: its control word, then the next EtherType.
pub fn vlan(id: u16, ethertype: u16, body: &[u8]) -> Vec<u8> {
    // Priority 5 and the drop bit, so that an unmasked id shows.
    let mut tag = (0xb000 | id).to_be_bytes().to_vec();
    tag.extend(ethertype.to_be_bytes());
    tag.extend(body);
    tag
}

/// A PPPoE session header (behind EtherType 0x8864) around a PPP payload.
pub fn pppoe(ppp_protocol: u16, body: &[u8]) -> Vec<u8> {
    let mut header = vec![0x11, 0, 0x12, 0x34];
    header.extend((body.len() as u16 + 2).to_be_bytes());
    header.extend(ppp_protocol.to_be_bytes());
    header.extend(body);
    header
}

pub fn linux_sll(ethertype: u16, body: &[u8]) -> Vec<u8> {
    let mut header = vec![0, 0, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0];
    header.extend(ethertype.to_be_bytes());
    header.extend(body);
    header
}

pub fn linux_sll2(ethertype: u16, body: &[u8]) -> Vec<u8> {
    let mut header = ethertype.to_be_bytes().to_vec();
    header.extend([0, 0, 0, 0, 0, 7, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0]);
    header.extend(body);
    header
}

/// BSD loopback: the address family as written by a machine of the given byte order.
pub fn loopback(family: [u8; 4], body: &[u8]) -> Vec<u8> {
    [&family, body].concat()
}

/// An ARP request.
pub fn arp() -> Vec<u8> {
    let mut packet = vec![0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 10, 0, 0, 1];
    packet.extend([0; 6]);
    packet.extend([10, 0, 0, 2]);
    packet
}

/// An IPv4 header. `..Ipv4::default()` gives a plain TCP packet between two test addresses.
#[derive(Clone, Debug)]
pub struct Ipv4 {
    pub src: Ipv4Addr,
    pub dst: Ipv4Addr,
    pub proto: u8,
    pub ttl: u8,
    /// Option bytes; a multiple of four.
    pub options: Vec<u8>,
    pub id: u16,
    /// In units of eight bytes.
    pub fragment_offset: u16,
    pub more_fragments: bool,
    /// Total length, where it lies.
    pub total_len: Option<u16>,
    /// Version and header length, where they lie.
    pub version_ihl: Option<u8>,
}

impl Default for Ipv4 {
    fn default() -> Self {
        Self {
            src: Ipv4Addr::new(192, 0, 2, 17),
            dst: Ipv4Addr::new(198, 51, 100, 34),
            proto: TCP,
            ttl: 61,
            options: Vec::new(),
            id: 0x1d5,
            fragment_offset: 0,
            more_fragments: false,
            total_len: None,
            version_ihl: None,
        }
    }
}

impl Ipv4 {
    pub fn of(proto: u8) -> Self {
        Self { proto, ..Self::default() }
    }

    pub fn between(src: [u8; 4], dst: [u8; 4], proto: u8) -> Self {
        Self { src: src.into(), dst: dst.into(), proto, ..Self::default() }
    }

    /// The header around `body`, with the checksums of both.
    pub fn wrap(&self, body: &[u8]) -> Vec<u8> {
        let header_len = 20 + self.options.len();
        let total_len = self.total_len.unwrap_or((header_len + body.len()) as u16);
        let mut packet = vec![self.version_ihl.unwrap_or(0x40 | (header_len / 4) as u8), 0x2e];
        packet.extend(total_len.to_be_bytes());
        packet.extend(self.id.to_be_bytes());
        let fragment = self.fragment_offset | if self.more_fragments { 0x2000 } else { 0 };
        packet.extend(fragment.to_be_bytes());
        packet.extend([self.ttl, self.proto, 0, 0]);
        packet.extend(self.src.octets());
        packet.extend(self.dst.octets());
        packet.extend(&self.options);
        let sum = checksum(&[&packet]);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
        let whole = self.fragment_offset == 0 && !self.more_fragments;
        packet.extend(if whole {
            with_checksum(self.proto, &self.src.octets(), &self.dst.octets(), body)
        } else {
            body.to_vec()
        });
        packet
    }
}

/// An IPv6 header. Extension headers are part of the body: see `extension`.
#[derive(Clone, Debug)]
pub struct Ipv6 {
    pub src: Ipv6Addr,
    pub dst: Ipv6Addr,
    pub next_header: u8,
    pub hop_limit: u8,
    /// Payload length, where it lies.
    pub payload_len: Option<u16>,
    /// Version and upper half of the traffic class, where they lie.
    pub version_class: Option<u8>,
}

impl Default for Ipv6 {
    fn default() -> Self {
        Self {
            src: Ipv6Addr::new(0x2001, 0xdb8, 1, 2, 3, 4, 5, 6),
            dst: Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0xb, 0xc, 0xd, 0xe, 0xf),
            next_header: TCP,
            hop_limit: 58,
            payload_len: None,
            version_class: None,
        }
    }
}

impl Ipv6 {
    pub fn of(next_header: u8) -> Self {
        Self { next_header, ..Self::default() }
    }

    pub fn wrap(&self, body: &[u8]) -> Vec<u8> {
        let mut packet = vec![self.version_class.unwrap_or(0x62), 0x45, 0x67, 0x89];
        packet.extend(self.payload_len.unwrap_or(body.len() as u16).to_be_bytes());
        packet.extend([self.next_header, self.hop_limit]);
        packet.extend(self.src.octets());
        packet.extend(self.dst.octets());
        packet.extend(with_checksum(self.next_header, &self.src.octets(), &self.dst.octets(), body));
        packet
    }

    /// The header around a chain of extension headers, each given as (number, bytes without the
    /// next-header byte), and the transport header behind them.
    pub fn wrap_chain(&self, chain: &[(u8, Vec<u8>)], proto: u8, body: &[u8]) -> Vec<u8> {
        let mut inner = with_checksum(proto, &self.src.octets(), &self.dst.octets(), body);
        let mut next = proto;
        for (number, rest) in chain.iter().rev() {
            inner = [&[next], rest.as_slice(), &inner].concat();
            next = *number;
        }
        Self { next_header: next, ..self.clone() }.wrap(&inner)
    }
}

/// An options-like extension header (hop-by-hop, destination, routing, mobility): `units` more
/// units of eight bytes, without its next-header byte.
pub fn extension(number: u8, units: u8) -> (u8, Vec<u8>) {
    let mut rest = vec![units];
    let options = 6 + usize::from(units) * 8;
    if number == ROUTING {
        // Type 253 (experiments, RFC 3692), no segments left.
        rest.extend([253, 0]);
        rest.extend(vec![0; options - 2]);
    } else {
        // One PadN option.
        rest.extend([1, options as u8 - 2]);
        rest.extend(vec![0; options - 2]);
    }
    (number, rest)
}

/// An IPv6 fragment header; the offset is in units of eight bytes.
pub fn fragment_header(offset: u16, more: bool) -> (u8, Vec<u8>) {
    let mut rest = vec![0];
    rest.extend((offset << 3 | u16::from(more)).to_be_bytes());
    rest.extend([0xde, 0xad, 0xbe, 0xef]);
    (FRAGMENT, rest)
}

/// An authentication header with a 12-byte check value.
pub fn auth_header() -> (u8, Vec<u8>) {
    let mut rest = vec![4, 0, 0, 0, 0, 1, 0, 0, 0, 0, 7];
    rest.extend([0x5a; 12]);
    (AH, rest)
}

/// A TCP header. `Tcp::flags(SYN)` gives one with test ports.
#[derive(Clone, Debug)]
pub struct Tcp {
    pub src_port: u16,
    pub dst_port: u16,
    pub seq: u32,
    pub ack: u32,
    pub flags: u8,
    pub window: u16,
    /// Option bytes; a multiple of four.
    pub options: Vec<u8>,
    /// Data offset in words, where it lies.
    pub offset: Option<u8>,
}

impl Default for Tcp {
    fn default() -> Self {
        Self {
            src_port: 0xc0d1,
            dst_port: 0x01bb,
            seq: 0x1122_3344,
            ack: 0,
            flags: ACK,
            window: 0xfaf0,
            options: Vec::new(),
            offset: None,
        }
    }
}

impl Tcp {
    pub fn flags(flags: u8) -> Self {
        Self { flags, ..Self::default() }
    }

    pub fn ports(src_port: u16, dst_port: u16, flags: u8) -> Self {
        Self { src_port, dst_port, flags, ..Self::default() }
    }

    pub fn wrap(&self, body: &[u8]) -> Vec<u8> {
        let words = self.offset.unwrap_or(((20 + self.options.len()) / 4) as u8);
        let mut segment = self.src_port.to_be_bytes().to_vec();
        segment.extend(self.dst_port.to_be_bytes());
        segment.extend(self.seq.to_be_bytes());
        segment.extend(self.ack.to_be_bytes());
        segment.extend([words << 4, self.flags]);
        segment.extend(self.window.to_be_bytes());
        segment.extend([0; 4]);
        segment.extend(&self.options);
        segment.extend(body);
        segment
    }
}

/// A UDP datagram; `len` where the length field lies.
pub fn udp(src_port: u16, dst_port: u16, len: Option<u16>, body: &[u8]) -> Vec<u8> {
    let mut datagram = src_port.to_be_bytes().to_vec();
    datagram.extend(dst_port.to_be_bytes());
    datagram.extend(len.unwrap_or(body.len() as u16 + 8).to_be_bytes());
    datagram.extend([0, 0]);
    datagram.extend(body);
    datagram
}

/// An SCTP packet with one DATA chunk.
pub fn sctp(src_port: u16, dst_port: u16, body: &[u8]) -> Vec<u8> {
    let mut packet = src_port.to_be_bytes().to_vec();
    packet.extend(dst_port.to_be_bytes());
    packet.extend([0xca, 0xfe, 0xba, 0xbe, 0, 0, 0, 0]);
    packet.extend([0, 3]);
    packet.extend((body.len() as u16 + 16).to_be_bytes());
    packet.extend([0, 0, 0, 1, 0, 1, 0, 1, 0, 0, 0, 0]);
    packet.extend(body);
    packet.resize(packet.len().next_multiple_of(4), 0);
    packet
}

/// An ICMP or ICMPv6 message.
pub fn icmp(kind: u8, code: u8, body: &[u8]) -> Vec<u8> {
    [&[kind, code, 0, 0, 0x12, 0x34, 0, 1], body].concat()
}

/// A GRE header (version 0, no options) around a payload of the given EtherType.
pub fn gre(ethertype: u16, body: &[u8]) -> Vec<u8> {
    [&[0, 0], ethertype.to_be_bytes().as_slice(), body].concat()
}

/// A VXLAN datagram's payload: header and inner frame.
pub fn vxlan(vni: u32, inner: &[u8]) -> Vec<u8> {
    [&[8, 0, 0, 0], (vni << 8).to_be_bytes().as_slice(), inner].concat()
}

/// A Geneve datagram's payload: header without options and inner frame.
pub fn geneve(vni: u32, inner: &[u8]) -> Vec<u8> {
    [&[0, 0, 0x65, 0x58], (vni << 8).to_be_bytes().as_slice(), inner].concat()
}

/// Fills in the transport checksum of a whole packet, where the body is long enough to hold it.
fn with_checksum(proto: u8, src: &[u8], dst: &[u8], body: &[u8]) -> Vec<u8> {
    let mut body = body.to_vec();
    let at = match proto {
        TCP => 16,
        UDP => 6,
        ICMP | ICMPV6 => 2,
        _ => return body,
    };
    if body.len() < at + 2 {
        return body;
    }
    body[at..at + 2].fill(0);
    let length = (body.len() as u32).to_be_bytes();
    let sum = match proto {
        ICMP => checksum(&[&body]),
        _ => checksum(&[src, dst, &[0, 0, 0, proto], &length, &body]),
    };
    // RFC 768: a computed zero is sent as ones.
    let sum = if sum == 0 && proto == UDP { 0xffff } else { sum };
    body[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    body
}

/// The Internet checksum (RFC 1071) over even-length parts and one last part of any length.
fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0u32;
    for part in parts {
        for pair in part.chunks(2) {
            sum += u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
