//! A second opinion on frames: etherparse reads the headers, and the project's documented policies
//! (what is skipped, and as what) are applied outside it. Shares no code with the parser.

use etherparse::{
    EtherType, Icmpv6Slice, IpAuthHeaderSlice, IpNumber, Ipv4HeaderSlice, Ipv6FragmentHeaderSlice, Ipv6HeaderSlice,
    Ipv6RawExtHeaderSlice, LaxLinkExtSlice, LaxSlicedPacket, LinkSlice, TcpHeaderSlice, TransportSlice, UdpHeaderSlice,
    err::{ipv4::HeaderError as Ipv4Error, ipv4::HeaderSliceError as Ipv4SliceError},
};
use ids_common::{
    counter::Skip,
    flow::Tunnel,
    parse::{Link, PacketMeta},
};

use crate::frame;

/// What the parser must say of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub src: [u8; 16],
    pub dst: [u8; 16],
    pub proto: u8,
    pub src_port: u16,
    pub dst_port: u16,
    pub tunnel: &'static str,
    pub later_fragment: bool,
    pub vlan: u16,
    pub len: u32,
    pub payload_at: u32,
    pub payload_len: u32,
    pub tcp_flags: u8,
    pub window: u16,
    pub ttl: u8,
}

impl From<&PacketMeta> for Seen {
    fn from(meta: &PacketMeta) -> Self {
        Self {
            src: meta.key.src,
            dst: meta.key.dst,
            proto: meta.key.proto,
            src_port: meta.key.src_port,
            dst_port: meta.key.dst_port,
            tunnel: meta.key.tunnel().label(),
            later_fragment: meta.key.is_later_fragment(),
            vlan: meta.key.vlan,
            len: meta.len,
            payload_at: meta.payload_at,
            payload_len: meta.payload_len,
            tcp_flags: meta.tcp_flags,
            window: meta.window,
            ttl: meta.ttl,
        }
    }
}

/// The oracle's answer for a frame of which `captured` was kept and that had `wire_len` bytes.
pub fn read(link: Link, captured: &[u8], wire_len: usize) -> Result<Seen, Skip> {
    // The frame as it was on the wire, with zeros for what the capture lacks: lengths are judged on
    // this, and every header must lie in the captured part.
    let mut wire = captured.to_vec();
    wire.resize(wire_len.max(captured.len()), 0);
    let view = View { wire: &wire, captured: captured.len() };
    let (network, at, vlan) = link_layer(link, captured)?;
    let mut seen = match network {
        Network::Ipv4 => ipv4(view, at)?,
        Network::Ipv6 => ipv6(view, at)?,
    };
    seen.vlan = vlan;
    agree_with_etherparse_alone(link, captured, &seen);
    Ok(seen)
}

#[derive(Clone, Copy)]
struct View<'a> {
    wire: &'a [u8],
    captured: usize,
}

impl View<'_> {
    fn need(self, end: usize, otherwise: Skip) -> Result<(), Skip> {
        if end <= self.captured { Ok(()) } else { Err(otherwise) }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Network {
    Ipv4,
    Ipv6,
}

fn link_layer(link: Link, captured: &[u8]) -> Result<(Network, usize, u16), Skip> {
    match link {
        Link::Ethernet => {
            let sliced = LaxSlicedPacket::from_ethernet(captured).map_err(|_| Skip::LinkTruncated)?;
            let Some(LinkSlice::Ethernet2(ethernet)) = &sliced.link else { return Err(Skip::LinkTruncated) };
            ether_types(ethernet.ether_type(), captured, 14)
        }
        Link::LinuxSll => {
            let header = captured.get(..16).ok_or(Skip::LinkTruncated)?;
            ether_types(EtherType(u16::from_be_bytes([header[14], header[15]])), captured, 16)
        }
        Link::LinuxSll2 => {
            let header = captured.get(..20).ok_or(Skip::LinkTruncated)?;
            ether_types(EtherType(u16::from_be_bytes([header[0], header[1]])), captured, 20)
        }
        Link::RawIp => match captured.get(..2).ok_or(Skip::IpTruncated)?[0] >> 4 {
            4 => Ok((Network::Ipv4, 0, 0)),
            6 => Ok((Network::Ipv6, 0, 0)),
            _ => Err(Skip::IpVersion),
        },
        Link::Loopback => match captured.get(..4).ok_or(Skip::LinkTruncated)? {
            [2, 0, 0, 0] | [0, 0, 0, 2] => Ok((Network::Ipv4, 4, 0)),
            [10 | 24 | 28 | 30, 0, 0, 0] | [0, 0, 0, 10 | 24 | 28 | 30] => Ok((Network::Ipv6, 4, 0)),
            _ => Err(Skip::NotIp),
        },
    }
}

fn ether_types(first: EtherType, captured: &[u8], start: usize) -> Result<(Network, usize, u16), Skip> {
    let sliced = LaxSlicedPacket::from_ether_type(first, &captured[start..]);
    let (mut last, mut at, mut vlan) = (first, start, 0);
    for (depth, ext) in sliced.link_exts.iter().enumerate() {
        let LaxLinkExtSlice::Vlan(tag) = ext else { break };
        if depth == 2 {
            return Err(Skip::VlanDepth);
        }
        vlan = tag.vlan_identifier().value();
        last = tag.ether_type();
        at += 4;
    }
    match last.0 {
        0x8100 | 0x88a8 | 0x9100 if at == start + 8 => Err(Skip::VlanDepth),
        0x8100 | 0x88a8 | 0x9100 => Err(Skip::LinkTruncated),
        frame::IPV4 => Ok((Network::Ipv4, at, vlan)),
        frame::IPV6 => Ok((Network::Ipv6, at, vlan)),
        frame::ARP => Err(Skip::Arp),
        0x8847 | 0x8848 => Err(Skip::Mpls),
        frame::PPPOE_DISCOVERY => Err(Skip::PppoeControl),
        // etherparse does not know PPPoE (RFC 2516, section 4; RFC 1661 for the protocol).
        frame::PPPOE_SESSION => match captured.get(at..at + 8).ok_or(Skip::LinkTruncated)? {
            [0x11, 0, _, _, _, _, 0x00, 0x21] => Ok((Network::Ipv4, at + 8, vlan)),
            [0x11, 0, _, _, _, _, 0x00, 0x57] => Ok((Network::Ipv6, at + 8, vlan)),
            _ => Err(Skip::PppoeControl),
        },
        0..0x600 => Err(Skip::Llc),
        _ => Err(Skip::NotIp),
    }
}

fn ipv4(view: View<'_>, at: usize) -> Result<Seen, Skip> {
    view.need(at + 20, Skip::IpTruncated)?;
    let available = &view.wire[at..];
    let header = Ipv4HeaderSlice::from_slice(available).map_err(|error| match error {
        Ipv4SliceError::Content(Ipv4Error::UnexpectedVersion { .. }) => Skip::IpVersion,
        Ipv4SliceError::Content(Ipv4Error::HeaderLengthSmallerThanHeader { .. }) => Skip::IpHeaderLength,
        // Twenty bytes are there, so the options claim more than the wire held.
        Ipv4SliceError::Len(_) => Skip::IpLength,
    })?;
    let header_len = header.slice().len();
    let len = match usize::from(header.total_len()) {
        0 => available.len(),
        claimed => claimed,
    };
    if len > available.len() || len < header_len {
        return Err(Skip::IpLength);
    }
    let seen = Seen {
        src: mapped(header.source()),
        dst: mapped(header.destination()),
        ttl: header.ttl(),
        len: len as u32,
        ..Seen::nothing(header.protocol().0)
    };
    let part = match (header.fragments_offset().value(), header.more_fragments()) {
        (0, false) => Part::Whole,
        (0, true) => Part::First,
        _ => Part::Later,
    };
    transport(view, at + header_len, at + len, part, seen)
}

fn ipv6(view: View<'_>, at: usize) -> Result<Seen, Skip> {
    view.need(at + 40, Skip::IpTruncated)?;
    let available = &view.wire[at..];
    let header = Ipv6HeaderSlice::from_slice(available).map_err(|_| Skip::IpVersion)?;
    let len = match usize::from(header.payload_length()) {
        // More than the field can say (RFC 2675, section 3) or not filled in yet by an offloading
        // sender; with any other next header the packet is empty.
        0 if [frame::HOP_BY_HOP, frame::TCP, frame::UDP].contains(&header.next_header().0) => available.len(),
        0 => 40,
        claimed => claimed + 40,
    };
    if len > available.len() {
        return Err(Skip::IpLength);
    }
    let (src, dst) = (header.source(), header.destination());
    if is_mapped(src) && is_mapped(dst) {
        return Err(Skip::Ipv4Mapped);
    }
    let (mut next, mut next_at, end) = (header.next_header(), at + 40, at + len);
    let (mut part, mut walked) = (Part::Whole, 0);
    while part != Part::Later && is_extension(next) {
        if walked == 8 {
            return Err(Skip::Ipv6Extensions);
        }
        view.need(next_at + 4, Skip::IpTruncated)?;
        // Past the claimed length everything is padding, so slices end there.
        let rest = view.wire.get(next_at..end).ok_or(Skip::IpLength)?;
        let (following, length) = match next {
            IpNumber::IPV6_FRAGMENTATION_HEADER => {
                let fragment = Ipv6FragmentHeaderSlice::from_slice(rest).map_err(|_| Skip::IpLength)?;
                match (fragment.fragment_offset().value(), fragment.more_fragments()) {
                    (0, false) => {}
                    (0, true) => part = Part::First,
                    _ => part = Part::Later,
                }
                (fragment.next_header(), 8)
            }
            IpNumber::AUTHENTICATION_HEADER => {
                if view.wire.get(next_at + 1) == Some(&0) {
                    return Err(Skip::IpHeaderLength);
                }
                let auth = IpAuthHeaderSlice::from_slice(rest).map_err(|_| Skip::IpLength)?;
                (auth.next_header(), auth.slice().len())
            }
            _ => {
                let raw = Ipv6RawExtHeaderSlice::from_slice(rest).map_err(|_| Skip::IpLength)?;
                (raw.next_header(), raw.slice().len())
            }
        };
        next = following;
        next_at += length;
        walked += 1;
    }
    let seen = Seen { src, dst, ttl: header.hop_limit(), len: len as u32, ..Seen::nothing(next.0) };
    transport(view, next_at, end, part, seen)
}

fn is_extension(number: IpNumber) -> bool {
    matches!(number, IpNumber::AUTHENTICATION_HEADER | IpNumber::IPV6_FRAGMENTATION_HEADER)
        || Ipv6RawExtHeaderSlice::header_type_supported(number)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Whole,
    First,
    Later,
}

impl Seen {
    fn nothing(proto: u8) -> Self {
        Self {
            src: [0; 16],
            dst: [0; 16],
            proto,
            src_port: 0,
            dst_port: 0,
            tunnel: Tunnel::None.label(),
            later_fragment: false,
            vlan: 0,
            len: 0,
            payload_at: 0,
            payload_len: 0,
            tcp_flags: 0,
            window: 0,
            ttl: 0,
        }
    }
}

fn transport(view: View<'_>, at: usize, end: usize, part: Part, mut seen: Seen) -> Result<Seen, Skip> {
    seen.tunnel = match seen.proto {
        frame::GRE => "gre",
        frame::IPIP => "ipip",
        frame::IPV6_IN_IP => "ipv6",
        _ => "none",
    };
    let body = &view.wire[at..end];
    let header_len = match (part, seen.proto) {
        (Part::Later, _) => {
            seen.later_fragment = true;
            0
        }
        (_, frame::TCP) => {
            need(view, body, at, 20, 20)?;
            let tcp = TcpHeaderSlice::from_slice(body).map_err(|_| Skip::TcpOffset)?;
            (seen.src_port, seen.dst_port) = (tcp.source_port(), tcp.destination_port());
            seen.window = tcp.window_size();
            let flags = [tcp.fin(), tcp.syn(), tcp.rst(), tcp.psh(), tcp.ack(), tcp.urg(), tcp.ece(), tcp.cwr()];
            seen.tcp_flags = flags.iter().rev().fold(0, |bits, flag| bits << 1 | u8::from(*flag));
            tcp.slice().len()
        }
        (_, frame::UDP) => {
            need(view, body, at, 8, 8)?;
            let udp = UdpHeaderSlice::from_slice(body).map_err(|_| Skip::TransportTruncated)?;
            (seen.src_port, seen.dst_port) = (udp.source_port(), udp.destination_port());
            let ports = [seen.src_port, seen.dst_port];
            if ports.contains(&4789) {
                seen.tunnel = "vxlan";
            } else if ports.contains(&6081) {
                seen.tunnel = "geneve";
            }
            let claimed = usize::from(udp.length());
            if part == Part::Whole && claimed != 0 {
                if claimed < 8 || claimed > body.len() {
                    return Err(Skip::UdpLength);
                }
                seen.payload_at = at as u32 + 8;
                seen.payload_len = claimed as u32 - 8;
                return Ok(seen);
            }
            8
        }
        (_, frame::SCTP) => {
            // RFC 9260, section 3.1; etherparse does not know SCTP.
            need(view, body, at, 12, 8)?;
            seen.src_port = u16::from_be_bytes([body[0], body[1]]);
            seen.dst_port = u16::from_be_bytes([body[2], body[3]]);
            12
        }
        (_, frame::ICMP | frame::ICMPV6) => {
            need(view, body, at, 8, 4)?;
            // The first bytes of ICMP and ICMPv6 are alike.
            let icmp = Icmpv6Slice::from_slice(body).map_err(|_| Skip::TransportTruncated)?;
            seen.src_port = u16::from(icmp.type_u8());
            seen.dst_port = icmp_answer(seen.proto, icmp.type_u8()).unwrap_or(icmp.code_u8()).into();
            8
        }
        _ => 0,
    };
    seen.payload_at = (at + header_len) as u32;
    seen.payload_len = (body.len() - header_len) as u32;
    Ok(seen)
}

/// A header of `len` bytes of which `read` are needed must lie in the packet, and those in the capture.
fn need(view: View<'_>, body: &[u8], at: usize, len: usize, read: usize) -> Result<(), Skip> {
    if body.len() < len {
        return Err(Skip::TransportTruncated);
    }
    view.need(at + read, Skip::TransportTruncated)
}

/// The table of community-id v1 (its specification's reference, in Python).
fn icmp_answer(proto: u8, kind: u8) -> Option<u8> {
    let pairs: &[(u8, u8)] = match proto {
        frame::ICMP => &[(8, 0), (10, 9), (13, 14), (15, 16), (17, 18)],
        _ => &[(128, 129), (130, 131), (133, 134), (135, 136), (139, 140), (144, 145)],
    };
    pairs.iter().find_map(|&(a, b)| match kind {
        _ if kind == a => Some(b),
        _ if kind == b => Some(a),
        _ => None,
    })
}

fn mapped(v4: [u8; 4]) -> [u8; 16] {
    std::net::Ipv4Addr::from(v4).to_ipv6_mapped().octets()
}

fn is_mapped(address: [u8; 16]) -> bool {
    std::net::Ipv6Addr::from(address).to_ipv4_mapped().is_some()
}

/// Where etherparse walks a whole captured frame by itself, it must see the same ports.
fn agree_with_etherparse_alone(link: Link, captured: &[u8], seen: &Seen) {
    let sliced = match link {
        Link::Ethernet => LaxSlicedPacket::from_ethernet(captured).ok(),
        Link::RawIp => LaxSlicedPacket::from_ip(captured).ok(),
        _ => None,
    };
    let ports = match sliced.and_then(|sliced| sliced.transport) {
        Some(TransportSlice::Tcp(tcp)) if seen.proto == frame::TCP => (tcp.source_port(), tcp.destination_port()),
        Some(TransportSlice::Udp(udp)) if seen.proto == frame::UDP => (udp.source_port(), udp.destination_port()),
        _ => return,
    };
    assert_eq!(ports, (seen.src_port, seen.dst_port), "the oracle disagrees with itself");
}
