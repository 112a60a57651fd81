//! Frames of the shape that nearly all have: Ethernet with at most one VLAN tag, or no link header; an IP header without
//! options or extensions; not a fragment; TCP or UDP. All of it lies at fixed offsets, so that two or three comparisons bound
//! every read. What is not surely of this shape, or not in order, is left to the walk in `parse`.

use zerocopy::{FromBytes, Immutable, KnownLayout, transmute};

use super::{
    Fragment, PacketMeta, PacketRead, ipv4_mapped, is_mapped, is_vlan,
    transport::{tcp, udp},
};
use crate::wire;

/// A link header and what follows.
#[derive(Clone, Copy, FromBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Front<L, N, T> {
    link: L,
    network: N,
    transport: T,
}

/// What stands in front of an IP header.
trait LinkHeader: FromBytes + Immutable + KnownLayout + Copy {
    /// Where a `Front` begins, so that IP's header lies aligned.
    const AT: usize;
    const LEN: usize;
}

/// An Ethernet header but for its first two bytes.
#[derive(Clone, Copy, FromBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Ethernet {
    addresses: [u8; 10],
    ethertype: wire::Be16,
}

impl LinkHeader for Ethernet {
    const AT: usize = 2;
    const LEN: usize = 14;
}

/// The same with a VLAN tag.
#[derive(Clone, Copy, FromBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Tagged {
    addresses: [u8; 10],
    tag_type: wire::Be16,
    tag: wire::VlanTag,
}

impl LinkHeader for Tagged {
    const AT: usize = 2;
    const LEN: usize = 18;
}

impl LinkHeader for () {
    const AT: usize = 0;
    const LEN: usize = 0;
}

const _: () = {
    assert!(size_of::<Ethernet>() == Ethernet::LEN - Ethernet::AT);
    assert!(size_of::<Tagged>() == Tagged::LEN - Tagged::AT);
    assert!(size_of::<Front<Ethernet, wire::Ipv4, wire::Udp>>() == 12 + wire::Ipv4::LEN + wire::Udp::LEN);
    assert!(size_of::<Front<(), wire::Ipv6, wire::Tcp>>() == wire::Ipv6::LEN + wire::Tcp::LEN);
};

#[inline(always)]
pub(super) fn ethernet<P: PacketRead, R>(packet: &P, found: impl Fn(PacketMeta) -> R) -> Option<R> {
    let front = packet.read::<Front<Ethernet, wire::Ipv4, wire::Udp>>(Ethernet::AT)?;
    let ethertype = front.link.ethertype.value();
    if is_vlan(ethertype) {
        return tagged(packet, found);
    }
    let vlan = packet.stripped_vlan().unwrap_or(0);
    match ethertype {
        wire::ETHERTYPE_IPV4 => ipv4(packet, &front, vlan, found),
        wire::ETHERTYPE_IPV6 => ipv6::<P, Ethernet, R>(packet, vlan, found),
        _ => None,
    }
}

/// One tag in the frame, and at most one that the NIC took: the one in the frame is the inner one.
#[inline(always)]
fn tagged<P: PacketRead, R>(packet: &P, found: impl Fn(PacketMeta) -> R) -> Option<R> {
    let front = packet.read::<Front<Tagged, wire::Ipv4, wire::Udp>>(Tagged::AT)?;
    let vlan = front.link.tag.vlan_id();
    match front.link.tag.ethertype() {
        wire::ETHERTYPE_IPV4 => ipv4(packet, &front, vlan, found),
        wire::ETHERTYPE_IPV6 => ipv6::<P, Tagged, R>(packet, vlan, found),
        _ => None,
    }
}

#[inline(always)]
pub(super) fn ip<P: PacketRead, R>(packet: &P, found: impl Fn(PacketMeta) -> R) -> Option<R> {
    let front = packet.read::<Front<(), wire::Ipv4, wire::Udp>>(<()>::AT)?;
    match front.network.version() {
        4 => ipv4(packet, &front, 0, found),
        6 => ipv6::<P, (), R>(packet, 0, found),
        _ => None,
    }
}

#[inline(always)]
fn ipv4<P: PacketRead, L: LinkHeader, R>(
    packet: &P,
    front: &Front<L, wire::Ipv4, wire::Udp>,
    vlan: u16,
    found: impl Fn(PacketMeta) -> R,
) -> Option<R> {
    let header = &front.network;
    let mut meta = PacketMeta { len: header.total_len(), ttl: header.ttl, ..PacketMeta::default() };
    if !header.is_plain() || !is_there::<P, L>(packet, meta.len) {
        return None;
    }
    let body_len = meta.len.checked_sub(wire::Ipv4::LEN as u32)?;
    meta.key.src = ipv4_mapped(header.src);
    meta.key.dst = ipv4_mapped(header.dst);
    meta.key.proto = header.proto;
    meta.key.vlan = vlan;
    let at = L::LEN + wire::Ipv4::LEN;
    match header.proto {
        wire::PROTO_TCP => {
            let header = packet.read::<Front<L, wire::Ipv4, wire::Tcp>>(L::AT)?.transport;
            plain_tcp(packet, &header, at, body_len, meta, found)
        }
        wire::PROTO_UDP => plain_udp(packet, &front.transport, at, body_len, meta, found),
        _ => None,
    }
}

#[inline(always)]
fn ipv6<P: PacketRead, L: LinkHeader, R>(packet: &P, vlan: u16, found: impl Fn(PacketMeta) -> R) -> Option<R> {
    let front = packet.read::<Front<L, wire::Ipv6, wire::Udp>>(L::AT)?;
    let header = &front.network;
    let body_len = header.payload_len();
    let len = body_len + wire::Ipv6::LEN as u32;
    let mut meta = PacketMeta { len, ttl: header.hop_limit, ..PacketMeta::default() };
    // Empty packets, jumbograms and super-packets without a length all claim zero.
    if header.version() != 6 || body_len == 0 || !is_there::<P, L>(packet, meta.len) {
        return None;
    }
    if is_mapped(&header.src) && is_mapped(&header.dst) {
        return None;
    }
    meta.key.src = transmute!(header.src);
    meta.key.dst = transmute!(header.dst);
    meta.key.proto = header.next_header;
    meta.key.vlan = vlan;
    let at = L::LEN + wire::Ipv6::LEN;
    match header.next_header {
        wire::PROTO_TCP => {
            let header = packet.read::<Front<L, wire::Ipv6, wire::Tcp>>(L::AT)?.transport;
            plain_tcp(packet, &header, at, body_len, meta, found)
        }
        wire::PROTO_UDP => plain_udp(packet, &front.transport, at, body_len, meta, found),
        _ => None,
    }
}

/// Whether the bytes that an IP header claims are in the frame.
#[inline(always)]
fn is_there<P: PacketRead, L: LinkHeader>(packet: &P, claimed: u32) -> bool {
    L::LEN + claimed as usize <= packet.readable_len()
}

#[inline(always)]
fn plain_tcp<P: PacketRead, R>(
    packet: &P,
    header: &wire::Tcp,
    at: usize,
    body_len: u32,
    mut meta: PacketMeta,
    found: impl Fn(PacketMeta) -> R,
) -> Option<R> {
    let header_len = tcp(header, body_len, &mut meta).ok()?;
    meta.payload_len = body_len - header_len;
    meta.payload_at = at as u32 + header_len;
    (meta.segments, meta.segment_payload) = packet.segments();
    Some(found(meta))
}

#[inline(always)]
fn plain_udp<P: PacketRead, R>(
    packet: &P,
    header: &wire::Udp,
    at: usize,
    body_len: u32,
    mut meta: PacketMeta,
    found: impl Fn(PacketMeta) -> R,
) -> Option<R> {
    if body_len < wire::Udp::LEN as u32 {
        return None;
    }
    (meta.segments, meta.segment_payload) = packet.segments();
    meta.payload_at = at as u32 + udp(header, body_len, Fragment::Whole, &mut meta).ok()?;
    Some(found(meta))
}
