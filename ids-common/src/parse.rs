//! The only parser of the project: from a frame to what flow accounting needs to know of it.
//!
//! Every read is bounded by the frame, every walk by `limits`. A frame that cannot be counted in
//! a flow gives the reason; nothing is guessed, and later fragments get no ports.

mod plain;
mod transport;

pub use transport::{Fragment, icmp_counterpart, transport};
use zerocopy::{FromBytes, Immutable, KnownLayout, transmute};

use crate::{
    counter::Skip,
    flow::FlowKey,
    limits::{EXTENSION_HEADERS_MAX, VLAN_TAGS_MAX},
    wire,
};

/// Access to one frame: a packet in the kernel, or bytes from a file.
pub trait PacketRead: Sized {
    /// Why a walk ended early: the reason, or what a kernel program counts it by.
    type Stop: From<Skip>;

    /// Copies the `T` at byte `at`; `None` where the frame ends before it.
    fn read<T: FromBytes + Immutable + KnownLayout + Copy>(&self, at: usize) -> Option<T>;

    /// Bytes of the frame that `read` can reach.
    fn readable_len(&self) -> usize;

    /// Bytes the frame had on the wire. Never smaller than `readable_len`; larger where a capture
    /// was cut short or the kernel keeps the tail in fragments.
    fn wire_len(&self) -> usize;

    /// The same offset. A BPF verifier follows every way in which an offset can come about; the
    /// kernel's reader makes it forget the ways behind, so that the walk over headers stays
    /// affordable. Offsets are at most `OFFSET_MAX`.
    fn offset(&self, at: usize) -> usize {
        at
    }

    /// Reads one extension header. The kernel's reader calls this and the next as functions that are verified by
    /// themselves, once, instead of anew for every way to them.
    #[inline(always)]
    fn extension(&self, head: Head) -> Result<Extension, Self::Stop> {
        Ok(extension(self, head)?)
    }

    /// Reads the transport header, of which `len` bytes lie inside the packet.
    #[inline(always)]
    fn transport(&self, head: Head, len: u32, meta: &mut PacketMeta) -> Result<(), Self::Stop> {
        Ok(transport(self, head, len, meta)?)
    }

    /// The VLAN id that the NIC stripped from the frame, if it did.
    fn stripped_vlan(&self) -> Option<u16> {
        None
    }

    /// Segments this frame stands for and the payload of each but the last, where segmentation
    /// offload folded them into one.
    fn segments(&self) -> (u16, u16) {
        (1, 0)
    }
}

/// What the first byte of a frame belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    Ethernet,
    /// An IP packet without a link header; the version field tells which.
    RawIp,
    /// Linux cooked capture v1 (LINKTYPE_LINUX_SLL).
    LinuxSll,
    /// Linux cooked capture v2 (LINKTYPE_LINUX_SLL2).
    LinuxSll2,
    /// BSD loopback with a four-byte address family in either byte order (LINKTYPE_NULL, LOOP).
    Loopback,
}

/// One packet, as flow accounting sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct PacketMeta {
    pub key: FlowKey,
    /// Network-layer bytes: the IP header and all behind it, without link padding.
    pub len: u32,
    /// Offset of the transport payload in the frame.
    pub payload_at: u32,
    /// Transport payload bytes on the wire.
    pub payload_len: u32,
    pub segments: u16,
    pub segment_payload: u16,
    /// TCP window, zero for other protocols.
    pub window: u16,
    /// TCP flags, zero for other protocols.
    pub tcp_flags: u8,
    /// TTL or hop limit.
    pub ttl: u8,
}

impl Default for PacketMeta {
    fn default() -> Self {
        Self {
            key: FlowKey { src: [0; 16], dst: [0; 16], src_port: 0, dst_port: 0, proto: 0, kind: 0, vlan: 0 },
            len: 0,
            payload_at: 0,
            payload_len: 0,
            segments: 1,
            segment_payload: 0,
            window: 0,
            tcp_flags: 0,
            ttl: 0,
        }
    }
}

impl PacketMeta {
    /// The packet as words of memory, for a kernel program that puts it there in as few steps.
    #[inline(always)]
    pub fn words(&self) -> [u64; 8] {
        let [a, b, c, d, e] = self.key.words();
        let segments = u64::from(self.segments) << 32 | u64::from(self.segment_payload) << 48;
        [
            a,
            b,
            c,
            d,
            e,
            u64::from(self.len) | u64::from(self.payload_at) << 32,
            u64::from(self.payload_len) | segments,
            u64::from(self.window) | u64::from(self.tcp_flags) << 16 | u64::from(self.ttl) << 24,
        ]
    }
}

/// A super-packet taken apart: every segment repeats the headers, and all but the last are full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segments {
    /// Segments before the last.
    pub full_count: u32,
    /// Network-layer bytes of each of those, and of the last.
    pub full_len: u32,
    pub last_len: u32,
}

impl PacketMeta {
    /// The segments that a super-packet stands for.
    #[inline(always)]
    pub fn unfold(&self) -> Segments {
        let headers = self.len.saturating_sub(self.payload_len);
        let full_count = u32::from(self.segments.max(1)) - 1;
        let full_payload = u32::from(self.segment_payload);
        let last_payload = self.payload_len.saturating_sub(full_count * full_payload);
        Segments {
            full_count,
            full_len: headers.saturating_add(full_payload),
            last_len: headers.saturating_add(last_payload),
        }
    }

    /// Network-layer bytes that the packet adds to its slot: those of every segment.
    #[inline(always)]
    pub fn bytes(&self) -> u64 {
        if self.segments <= 1 {
            return u64::from(self.len);
        }
        let Segments { full_count, full_len, last_len } = self.unfold();
        u64::from(full_count) * u64::from(full_len) + u64::from(last_len)
    }
}

/// A frame in memory.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    bytes: &'a [u8],
    wire_len: usize,
}

impl<'a> Frame<'a> {
    /// A frame of which `bytes` were captured and that had `wire_len` bytes on the wire; a
    /// `wire_len` below the captured length is taken as the captured length.
    pub fn new(bytes: &'a [u8], wire_len: usize) -> Self {
        Self { bytes, wire_len: wire_len.max(bytes.len()) }
    }

    /// Captured payload of a packet parsed from this frame, at most `max` bytes.
    pub fn payload(&self, meta: &PacketMeta, max: usize) -> &'a [u8] {
        let len = (meta.payload_len as usize).min(max);
        let tail = self.bytes.get(meta.payload_at as usize..).unwrap_or(&[]);
        tail.get(..len).unwrap_or(tail)
    }
}

impl PacketRead for Frame<'_> {
    type Stop = Skip;

    #[inline(always)]
    fn read<T: FromBytes + Immutable + KnownLayout + Copy>(&self, at: usize) -> Option<T> {
        let tail = self.bytes.get(at..)?;
        T::read_from_prefix(tail).ok().map(|(value, _)| value)
    }

    #[inline(always)]
    fn readable_len(&self) -> usize {
        self.bytes.len()
    }

    #[inline(always)]
    fn wire_len(&self) -> usize {
        self.wire_len
    }
}

/// Parses a frame down to its transport header.
#[inline(always)]
pub fn parse<P: PacketRead>(packet: &P, link: Link) -> Result<PacketMeta, P::Stop> {
    if let Some(meta) = parse_plain(packet, link, |meta| meta) {
        return Ok(meta);
    }
    let mut meta = PacketMeta::default();
    parse_any(packet, link, &mut meta)?;
    Ok(meta)
}

/// Parses a frame of the shape that nearly all have, and gives what `found` makes of it; `None` says that `parse_any` must
/// look, not that anything is wrong. `found` stands at the end of each way through, so that a kernel program need not bring
/// their registers together.
#[inline(always)]
pub fn parse_plain<P: PacketRead, R>(packet: &P, link: Link, found: impl Fn(PacketMeta) -> R) -> Option<R> {
    match link {
        Link::Ethernet => plain::ethernet(packet, found),
        Link::RawIp => plain::ip(packet, found),
        Link::LinuxSll | Link::LinuxSll2 | Link::Loopback => None,
    }
}

/// Parses a frame of any shape, by a walk over its headers, into `meta`: the default before, and a packet afterwards only
/// where there is no reason against it.
#[inline(always)]
pub fn parse_any<P: PacketRead>(packet: &P, link: Link, meta: &mut PacketMeta) -> Result<(), P::Stop> {
    let (network, at) = network_layer(packet, link, &mut meta.key.vlan)?;
    (meta.segments, meta.segment_payload) = packet.segments();
    let Body { head, len } = match network {
        Network::Ipv4 => ipv4(packet, at, meta)?,
        Network::Ipv6 => ipv6(packet, at, meta)?,
    };
    packet.transport(head, len, meta)
}

/// A header that another one announces.
#[derive(Clone, Copy)]
pub struct Head {
    pub proto: u8,
    pub fragment: Fragment,
    pub at: usize,
}

impl Head {
    /// Whether an extension header stands here; behind a later fragment's stands its part of the payload.
    #[inline(always)]
    fn is_extension(self) -> bool {
        is_extension(self.proto) && !matches!(self.fragment, Fragment::Later)
    }
}

/// What an IP header, with its extensions, says of what it carries.
struct Body {
    head: Head,
    /// Bytes from there to the end of the IP packet.
    len: u32,
}

/// What an IPv6 extension header says.
#[derive(Clone, Copy)]
pub struct Extension {
    pub len: u16,
    pub next: u8,
    pub fragment: Fragment,
}

#[derive(Clone, Copy)]
enum Network {
    Ipv4,
    Ipv6,
}

/// Walks the link layer: gives the network protocol and its offset.
#[inline(always)]
fn network_layer<P: PacketRead>(packet: &P, link: Link, vlan: &mut u16) -> Result<(Network, usize), Skip> {
    match link {
        Link::Ethernet => {
            let ethertype = packet.read::<wire::Be16>(12).ok_or(Skip::LinkTruncated)?.value();
            ethertype_walk(packet, ethertype, 14, vlan)
        }
        Link::LinuxSll => {
            let ethertype = packet.read::<wire::Be16>(14).ok_or(Skip::LinkTruncated)?.value();
            ethertype_walk(packet, ethertype, 16, vlan)
        }
        Link::LinuxSll2 => {
            packet.read::<[u8; 20]>(0).ok_or(Skip::LinkTruncated)?;
            let ethertype = packet.read::<wire::Be16>(0).ok_or(Skip::LinkTruncated)?.value();
            ethertype_walk(packet, ethertype, 20, vlan)
        }
        Link::RawIp => {
            // Two bytes: a verifier learns nothing of a packet from `start < end`, to which reading one comes down.
            match packet.read::<wire::Be16>(0).ok_or(Skip::IpTruncated)?.value() >> 12 {
                4 => Ok((Network::Ipv4, 0)),
                6 => Ok((Network::Ipv6, packet.offset(0))),
                _ => Err(Skip::IpVersion),
            }
        }
        Link::Loopback => {
            let family = packet.read::<wire::Word32>(0).ok_or(Skip::LinkTruncated)?.0;
            // The writer's byte order: the smaller reading is the meant one. AF_INET is 2
            // everywhere; AF_INET6 is 10 on Linux, 24, 28 or 30 on the BSDs and macOS.
            match family.min(family.swap_bytes()) {
                2 => Ok((Network::Ipv4, 4)),
                10 | 24 | 28 | 30 => Ok((Network::Ipv6, 4)),
                _ => Err(Skip::NotIp),
            }
        }
    }
}

/// Follows VLAN tags and PPPoE from an EtherType whose header ends at `at`.
#[inline(always)]
fn ethertype_walk<P: PacketRead>(
    packet: &P,
    first: u16,
    start: usize,
    vlan: &mut u16,
) -> Result<(Network, usize), Skip> {
    let (mut ethertype, mut at, mut tags) = (first, start, 0);
    if let Some(id) = packet.stripped_vlan() {
        *vlan = id;
        tags = 1;
    }
    // The common case costs one comparison.
    if ethertype == wire::ETHERTYPE_IPV4 {
        return Ok((Network::Ipv4, at));
    }
    // A count, so that the compiler unrolls it: Linux 6.1 refuses a loop that is entered in its middle.
    for _ in 0..VLAN_TAGS_MAX {
        if !is_vlan(ethertype) || tags >= VLAN_TAGS_MAX {
            break;
        }
        let tag = packet.read::<wire::VlanTag>(at).ok_or(Skip::LinkTruncated)?;
        *vlan = tag.vlan_id();
        ethertype = tag.ethertype();
        at += wire::VlanTag::LEN;
        tags += 1;
    }
    if is_vlan(ethertype) {
        return Err(Skip::VlanDepth);
    }
    let at = packet.offset(at);
    match ethertype {
        wire::ETHERTYPE_IPV4 => Ok((Network::Ipv4, at)),
        wire::ETHERTYPE_IPV6 => Ok((Network::Ipv6, at)),
        wire::ETHERTYPE_ARP => Err(Skip::Arp),
        wire::ETHERTYPE_MPLS | wire::ETHERTYPE_MPLS_MULTICAST => Err(Skip::Mpls),
        wire::ETHERTYPE_PPPOE_DISCOVERY => Err(Skip::PppoeControl),
        wire::ETHERTYPE_PPPOE_SESSION => pppoe(packet, at),
        0..wire::ETHERTYPE_MIN => Err(Skip::Llc),
        _ => Err(Skip::NotIp),
    }
}

#[inline(always)]
fn is_vlan(ethertype: u16) -> bool {
    matches!(ethertype, wire::ETHERTYPE_VLAN | wire::ETHERTYPE_QINQ | wire::ETHERTYPE_QINQ_OLD)
}

#[inline(always)]
fn pppoe<P: PacketRead>(packet: &P, at: usize) -> Result<(Network, usize), Skip> {
    let header = packet.read::<wire::PppoeSession>(at).ok_or(Skip::LinkTruncated)?;
    let behind = packet.offset(at + wire::PppoeSession::LEN);
    if header.version_type != 0x11 || header.code != 0 {
        return Err(Skip::PppoeControl);
    }
    match header.protocol() {
        wire::PPP_IPV4 => Ok((Network::Ipv4, behind)),
        wire::PPP_IPV6 => Ok((Network::Ipv6, behind)),
        _ => Err(Skip::PppoeControl),
    }
}

#[inline(always)]
fn ipv4<P: PacketRead>(packet: &P, at: usize, meta: &mut PacketMeta) -> Result<Body, Skip> {
    let header = packet.read::<wire::Ipv4>(at).ok_or(Skip::IpTruncated)?;
    if header.version() != 4 {
        return Err(Skip::IpVersion);
    }
    let header_len = header.header_len();
    if header_len < wire::Ipv4::LEN {
        return Err(Skip::IpHeaderLength);
    }
    // A zero length is a super-packet captured before segmentation offload filled it in.
    meta.len = claimed_len(packet, at, header.total_len())?;
    if (meta.len as usize) < header_len {
        return Err(Skip::IpLength);
    }
    meta.ttl = header.ttl;
    meta.key.src = ipv4_mapped(header.src);
    meta.key.dst = ipv4_mapped(header.dst);
    let fragment = match (header.fragment_offset(), header.more_fragments()) {
        (0, false) => Fragment::Whole,
        (0, true) => Fragment::First,
        _ => Fragment::Later,
    };
    let head = Head { proto: header.proto, fragment, at: at + header_len };
    Ok(Body { head, len: meta.len - header_len as u32 })
}

#[inline(always)]
fn ipv6<P: PacketRead>(packet: &P, at: usize, meta: &mut PacketMeta) -> Result<Body, P::Stop> {
    let header = packet.read::<wire::Ipv6>(at).ok_or(Skip::IpTruncated)?;
    if header.version() != 6 {
        return Err(Skip::IpVersion.into());
    }
    let claimed = match header.payload_len() {
        // A jumbogram (RFC 2675, section 3), or a super-packet whose length segmentation offload
        // fills in later. Behind any other header an empty packet is empty, and what follows is padding.
        0 => match header.next_header {
            wire::PROTO_HOP_BY_HOP | wire::PROTO_TCP | wire::PROTO_UDP => 0,
            _ => wire::Ipv6::LEN as u32,
        },
        len => len + wire::Ipv6::LEN as u32,
    };
    meta.len = claimed_len(packet, at, claimed)?;
    meta.ttl = header.hop_limit;
    meta.key.src = transmute!(header.src);
    meta.key.dst = transmute!(header.dst);
    if is_mapped(&header.src) && is_mapped(&header.dst) {
        return Err(Skip::Ipv4Mapped.into());
    }

    let (mut proto, mut fragment) = (header.next_header, Fragment::Whole);
    let (mut at, mut len) = (packet.offset(at + wire::Ipv6::LEN), meta.len - wire::Ipv6::LEN as u32);
    for _ in 0..EXTENSION_HEADERS_MAX {
        let head = Head { proto, fragment, at };
        if !head.is_extension() {
            return Ok(Body { head, len });
        }
        let extension = packet.extension(head)?;
        len = len.checked_sub(u32::from(extension.len)).ok_or(Skip::IpLength)?;
        at = packet.offset(at + usize::from(extension.len));
        (proto, fragment) = (extension.next, extension.fragment);
    }
    let head = Head { proto, fragment, at };
    if head.is_extension() { Err(Skip::Ipv6Extensions.into()) } else { Ok(Body { head, len }) }
}

/// Reads one extension header.
#[inline(always)]
pub fn extension<P: PacketRead>(packet: &P, head: Head) -> Result<Extension, Skip> {
    let Head { proto, mut fragment, at } = head;
    let header = packet.read::<wire::Ipv6Extension>(at).ok_or(Skip::IpTruncated)?;
    let len = match proto {
        wire::PROTO_FRAGMENT => {
            fragment = match (header.fragment_offset(), header.more_fragments()) {
                // A second header does not make the first one's fragment whole.
                (0, false) => fragment,
                (0, true) => Fragment::First,
                _ => Fragment::Later,
            };
            8
        }
        // RFC 4302, section 2.2: in units of four bytes, less two; the fixed part alone is three.
        wire::PROTO_AH if header.len == 0 => return Err(Skip::IpHeaderLength),
        wire::PROTO_AH => (u16::from(header.len) + 2) << 2,
        _ => (u16::from(header.len) + 1) << 3,
    };
    Ok(Extension { len, next: header.next_header, fragment })
}

#[inline(always)]
fn is_extension(proto: u8) -> bool {
    matches!(
        proto,
        wire::PROTO_HOP_BY_HOP
            | wire::PROTO_ROUTING
            | wire::PROTO_FRAGMENT
            | wire::PROTO_AH
            | wire::PROTO_DESTINATION
            | wire::PROTO_MOBILITY
            | wire::PROTO_HIP
            | wire::PROTO_SHIM6
    )
}

/// Checks the IP header's claim against the wire; zero claims the rest of the frame.
#[inline(always)]
fn claimed_len<P: PacketRead>(packet: &P, at: usize, claimed: u32) -> Result<u32, Skip> {
    // `wire_len` may cost a helper call in the kernel, so it is asked only where it decides.
    if claimed != 0 && at + claimed as usize <= packet.readable_len() {
        return Ok(claimed);
    }
    let available = packet.wire_len().saturating_sub(at);
    if claimed == 0 {
        return Ok(available as u32);
    }
    if claimed as usize > available {
        return Err(Skip::IpLength);
    }
    Ok(claimed)
}

/// Whether an IPv6 address, as read from the header, lies in `::ffff:0:0/96`.
#[inline(always)]
fn is_mapped(words: &[u32; 4]) -> bool {
    words[0] | words[1] == 0 && words[2] == u32::from_ne_bytes([0, 0, 0xff, 0xff])
}

/// An IPv4 address, as read from the header, in its IPv6-mapped form.
#[inline(always)]
pub fn ipv4_mapped(network_order: u32) -> [u8; 16] {
    let prefix = u32::from_ne_bytes([0, 0, 0xff, 0xff]);
    let words = [0u32, 0, prefix, network_order];
    transmute!(words)
}
