//! What stands behind IP: ports, flags, the bounds of the payload, and what says that it is a tunnel.

use zerocopy::{FromBytes, Immutable, KnownLayout};

use super::{Head, PacketMeta, PacketRead};
use crate::{counter::Skip, flow::Tunnel, wire};

/// Which part of a packet an IP header stands in front of.
#[derive(Clone, Copy)]
pub enum Fragment {
    Whole = 0,
    First = 1,
    Later = 2,
}

impl Fragment {
    /// The part of this number.
    #[inline(always)]
    pub fn of(number: u64) -> Self {
        match number {
            0 => Self::Whole,
            1 => Self::First,
            _ => Self::Later,
        }
    }
}

/// Reads ports, flags and payload bounds; `body_len` counts from the header to the end of the IP packet.
#[inline(always)]
pub fn transport<P: PacketRead>(packet: &P, head: Head, body_len: u32, meta: &mut PacketMeta) -> Result<(), Skip> {
    let Head { proto, fragment, at } = head;
    meta.key.proto = proto;
    meta.payload_at = at as u32;
    meta.payload_len = body_len;
    match proto {
        wire::PROTO_GRE => meta.key.set_tunnel(Tunnel::Gre),
        wire::PROTO_IPIP => meta.key.set_tunnel(Tunnel::Ipip),
        wire::PROTO_IPV6 => meta.key.set_tunnel(Tunnel::Ipv6),
        _ => {}
    }
    if matches!(fragment, Fragment::Later) {
        meta.key.set_later_fragment();
        return Ok(());
    }
    let header_len = match proto {
        wire::PROTO_TCP => {
            let header = transport_header::<P, wire::Tcp>(packet, at, body_len, wire::Tcp::LEN as u32)?;
            tcp(&header, body_len, meta)?
        }
        wire::PROTO_UDP => {
            let header = transport_header::<P, wire::Udp>(packet, at, body_len, wire::Udp::LEN as u32)?;
            udp(&header, body_len, fragment, meta)?
        }
        wire::PROTO_SCTP => {
            let header = transport_header::<P, wire::Udp>(packet, at, body_len, wire::SCTP_LEN)?;
            meta.key.src_port = header.src_port();
            meta.key.dst_port = header.dst_port();
            wire::SCTP_LEN
        }
        wire::PROTO_ICMP | wire::PROTO_ICMPV6 => {
            let header = transport_header::<P, wire::Icmp>(packet, at, body_len, wire::Icmp::LEN)?;
            meta.key.src_port = u16::from(header.kind);
            meta.key.dst_port = icmp_counterpart(proto, header.kind).map_or(u16::from(header.code), u16::from);
            wire::Icmp::LEN
        }
        _ => 0,
    };
    meta.payload_at = at as u32 + header_len;
    // UDP set its own payload length: the datagram may end before the IP packet does.
    if proto != wire::PROTO_UDP {
        meta.payload_len = body_len - header_len;
    }
    Ok(())
}

/// Reads a transport header of which `min_len` bytes must lie inside the packet.
#[inline(always)]
fn transport_header<P: PacketRead, T: FromBytes + Immutable + KnownLayout + Copy>(
    packet: &P,
    at: usize,
    body_len: u32,
    min_len: u32,
) -> Result<T, Skip> {
    if body_len < min_len {
        return Err(Skip::TransportTruncated);
    }
    packet.read::<T>(at).ok_or(Skip::TransportTruncated)
}

#[inline(always)]
pub(super) fn tcp(header: &wire::Tcp, body_len: u32, meta: &mut PacketMeta) -> Result<u32, Skip> {
    let header_len = header.header_len();
    if header_len < wire::Tcp::LEN as u32 || header_len > body_len {
        return Err(Skip::TcpOffset);
    }
    meta.key.src_port = header.src_port();
    meta.key.dst_port = header.dst_port();
    meta.tcp_flags = header.flags;
    meta.window = header.window();
    Ok(header_len)
}

#[inline(always)]
pub(super) fn udp(header: &wire::Udp, body_len: u32, fragment: Fragment, meta: &mut PacketMeta) -> Result<u32, Skip> {
    let header_len = wire::Udp::LEN as u32;
    meta.payload_len = match (fragment, header.datagram_len()) {
        // A fragment holds less than the datagram; zero is a jumbogram (RFC 2675, section 4) or
        // segmentation offload.
        (Fragment::First, _) | (_, 0) => body_len - header_len,
        (_, len) if len < header_len || len > body_len && meta.segments <= 1 => return Err(Skip::UdpLength),
        (_, _) if meta.segments > 1 => body_len - header_len,
        (_, len) => len - header_len,
    };
    let (src_port, dst_port) = (header.src_port(), header.dst_port());
    meta.key.src_port = src_port;
    meta.key.dst_port = dst_port;
    if dst_port == wire::PORT_VXLAN || src_port == wire::PORT_VXLAN {
        meta.key.set_tunnel(Tunnel::Vxlan);
    } else if dst_port == wire::PORT_GENEVE || src_port == wire::PORT_GENEVE {
        meta.key.set_tunnel(Tunnel::Geneve);
    }
    Ok(header_len)
}

/// The type that answers an ICMP type, for the types that community-id v1 treats as two-way
/// (<https://github.com/corelight/community-id-spec>).
#[inline(always)]
pub fn icmp_counterpart(proto: u8, kind: u8) -> Option<u8> {
    Some(match (proto, kind) {
        (wire::PROTO_ICMP, 0) => 8,
        (wire::PROTO_ICMP, 8) => 0,
        (wire::PROTO_ICMP, 9) => 10,
        (wire::PROTO_ICMP, 10) => 9,
        (wire::PROTO_ICMP, 13) => 14,
        (wire::PROTO_ICMP, 14) => 13,
        (wire::PROTO_ICMP, 15) => 16,
        (wire::PROTO_ICMP, 16) => 15,
        (wire::PROTO_ICMP, 17) => 18,
        (wire::PROTO_ICMP, 18) => 17,
        (wire::PROTO_ICMPV6, 128) => 129,
        (wire::PROTO_ICMPV6, 129) => 128,
        (wire::PROTO_ICMPV6, 130) => 131,
        (wire::PROTO_ICMPV6, 131) => 130,
        (wire::PROTO_ICMPV6, 133) => 134,
        (wire::PROTO_ICMPV6, 134) => 133,
        (wire::PROTO_ICMPV6, 135) => 136,
        (wire::PROTO_ICMPV6, 136) => 135,
        (wire::PROTO_ICMPV6, 139) => 140,
        (wire::PROTO_ICMPV6, 140) => 139,
        (wire::PROTO_ICMPV6, 144) => 145,
        (wire::PROTO_ICMPV6, 145) => 144,
        _ => return None,
    })
}
