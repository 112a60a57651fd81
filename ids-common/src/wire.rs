//! Header layouts as they stand on the wire. Fields keep network order; the accessors turn them.
//! Nothing here decides anything, and endianness goes no higher than this file.
//!
//! The fields have natural alignment, so that the kernel program reads each with one load; user
//! space reads these types by copy, from any address.

use zerocopy::{FromBytes, Immutable, KnownLayout};

pub const ETHERTYPE_IPV4: u16 = 0x0800;
pub const ETHERTYPE_ARP: u16 = 0x0806;
pub const ETHERTYPE_VLAN: u16 = 0x8100;
pub const ETHERTYPE_IPV6: u16 = 0x86dd;
pub const ETHERTYPE_MPLS: u16 = 0x8847;
pub const ETHERTYPE_MPLS_MULTICAST: u16 = 0x8848;
pub const ETHERTYPE_PPPOE_DISCOVERY: u16 = 0x8863;
pub const ETHERTYPE_PPPOE_SESSION: u16 = 0x8864;
pub const ETHERTYPE_QINQ: u16 = 0x88a8;
pub const ETHERTYPE_QINQ_OLD: u16 = 0x9100;
/// Smaller values are 802.3 lengths (IEEE 802.3, clause 3.2.6).
pub const ETHERTYPE_MIN: u16 = 0x0600;

pub const PPP_IPV4: u16 = 0x0021;
pub const PPP_IPV6: u16 = 0x0057;

pub const PROTO_HOP_BY_HOP: u8 = 0;
pub const PROTO_ICMP: u8 = 1;
pub const PROTO_IPIP: u8 = 4;
pub const PROTO_TCP: u8 = 6;
pub const PROTO_UDP: u8 = 17;
pub const PROTO_IPV6: u8 = 41;
pub const PROTO_ROUTING: u8 = 43;
pub const PROTO_FRAGMENT: u8 = 44;
pub const PROTO_GRE: u8 = 47;
pub const PROTO_AH: u8 = 51;
pub const PROTO_ICMPV6: u8 = 58;
pub const PROTO_DESTINATION: u8 = 60;
pub const PROTO_SCTP: u8 = 132;
pub const PROTO_MOBILITY: u8 = 135;
pub const PROTO_HIP: u8 = 139;
pub const PROTO_SHIM6: u8 = 140;

/// RFC 7348, section 5.
pub const PORT_VXLAN: u16 = 4789;
/// RFC 8926, section 3.3.
pub const PORT_GENEVE: u16 = 6081;

pub const TCP_FIN: u8 = 0x01;
pub const TCP_SYN: u8 = 0x02;
pub const TCP_RST: u8 = 0x04;
pub const TCP_PSH: u8 = 0x08;
pub const TCP_ACK: u8 = 0x10;
pub const TCP_URG: u8 = 0x20;
pub const TCP_ECE: u8 = 0x40;
pub const TCP_CWR: u8 = 0x80;

/// One unaligned 16-bit field in network order.
#[derive(Clone, Copy, FromBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Be16(u16);

impl Be16 {
    pub const LEN: usize = 2;

    #[inline(always)]
    pub fn value(self) -> u16 {
        u16::from_be(self.0)
    }
}

/// One 32-bit field, order decided by the reader.
#[derive(Clone, Copy, FromBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Word32(pub u32);

/// 802.1Q tag behind its EtherType, with the EtherType that follows.
#[derive(Clone, Copy, FromBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct VlanTag {
    tci: u16,
    ethertype: u16,
}

impl VlanTag {
    pub const LEN: usize = 4;

    #[inline(always)]
    pub fn vlan_id(self) -> u16 {
        u16::from_be(self.tci) & 0x0fff
    }

    #[inline(always)]
    pub fn ethertype(self) -> u16 {
        u16::from_be(self.ethertype)
    }
}

/// PPPoE session header with the PPP protocol behind it (RFC 2516, section 4).
#[derive(Clone, Copy, FromBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct PppoeSession {
    pub version_type: u8,
    pub code: u8,
    session: u16,
    length: u16,
    protocol: u16,
}

impl PppoeSession {
    pub const LEN: usize = 8;

    #[inline(always)]
    pub fn protocol(self) -> u16 {
        u16::from_be(self.protocol)
    }
}

/// Fixed part of an IPv4 header (RFC 791, section 3.1).
#[derive(Clone, Copy, FromBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Ipv4 {
    version_ihl: u8,
    tos: u8,
    total_len: u16,
    id: u16,
    fragment: u16,
    pub ttl: u8,
    pub proto: u8,
    checksum: u16,
    pub src: u32,
    pub dst: u32,
}

impl Ipv4 {
    pub const LEN: usize = 20;

    #[inline(always)]
    pub fn version(&self) -> u8 {
        self.version_ihl >> 4
    }

    /// Header length in bytes, options included.
    #[inline(always)]
    pub fn header_len(&self) -> usize {
        ((self.version_ihl & 0x0f) as usize) << 2
    }

    #[inline(always)]
    pub fn total_len(&self) -> u32 {
        u32::from(u16::from_be(self.total_len))
    }

    /// Whether this is version 4 without options, and the whole of a packet.
    #[inline(always)]
    pub fn is_plain(&self) -> bool {
        self.version_ihl == 0x45 && self.fragment & u16::to_be(0x3fff) == 0
    }

    /// Fragment offset in units of eight bytes.
    #[inline(always)]
    pub fn fragment_offset(&self) -> u16 {
        u16::from_be(self.fragment) & 0x1fff
    }

    #[inline(always)]
    pub fn more_fragments(&self) -> bool {
        u16::from_be(self.fragment) & 0x2000 != 0
    }
}

/// IPv6 header (RFC 8200, section 3).
#[derive(Clone, Copy, FromBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Ipv6 {
    version_class_flow: u32,
    payload_len: u16,
    pub next_header: u8,
    pub hop_limit: u8,
    pub src: [u32; 4],
    pub dst: [u32; 4],
}

impl Ipv6 {
    pub const LEN: usize = 40;

    #[inline(always)]
    pub fn version(&self) -> u8 {
        (u32::from_be(self.version_class_flow) >> 28) as u8
    }

    #[inline(always)]
    pub fn payload_len(&self) -> u32 {
        u32::from(u16::from_be(self.payload_len))
    }
}

/// Head that IPv6 extension headers share (RFC 8200, section 4).
#[derive(Clone, Copy, FromBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Ipv6Extension {
    pub next_header: u8,
    pub len: u8,
    /// Offset and flags of a fragment header; other headers put other things here.
    fragment: u16,
}

impl Ipv6Extension {
    /// Fragment offset in units of eight bytes.
    #[inline(always)]
    pub fn fragment_offset(&self) -> u16 {
        u16::from_be(self.fragment) >> 3
    }

    #[inline(always)]
    pub fn more_fragments(&self) -> bool {
        u16::from_be(self.fragment) & 1 != 0
    }
}

/// Fixed part of a TCP header (RFC 9293, section 3.1).
#[derive(Clone, Copy, FromBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Tcp {
    src_port: u16,
    dst_port: u16,
    seq: u32,
    ack: u32,
    offset: u8,
    pub flags: u8,
    window: u16,
    checksum: u16,
    urgent: u16,
}

impl Tcp {
    pub const LEN: usize = 20;

    #[inline(always)]
    pub fn src_port(&self) -> u16 {
        u16::from_be(self.src_port)
    }

    #[inline(always)]
    pub fn dst_port(&self) -> u16 {
        u16::from_be(self.dst_port)
    }

    /// Header length in bytes, options included.
    #[inline(always)]
    pub fn header_len(&self) -> u32 {
        u32::from(self.offset >> 4) << 2
    }

    #[inline(always)]
    pub fn window(&self) -> u16 {
        u16::from_be(self.window)
    }
}

/// UDP header (RFC 768), or the ports of an SCTP common header (RFC 9260) with four bytes more.
#[derive(Clone, Copy, FromBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Udp {
    src_port: u16,
    dst_port: u16,
    len: u16,
    checksum: u16,
}

impl Udp {
    pub const LEN: usize = 8;

    #[inline(always)]
    pub fn src_port(&self) -> u16 {
        u16::from_be(self.src_port)
    }

    #[inline(always)]
    pub fn dst_port(&self) -> u16 {
        u16::from_be(self.dst_port)
    }

    #[inline(always)]
    pub fn datagram_len(&self) -> u32 {
        u32::from(u16::from_be(self.len))
    }
}

/// Bytes of an SCTP common header.
pub const SCTP_LEN: u32 = 12;

/// Head that ICMP (RFC 792) and ICMPv6 (RFC 4443) share.
#[derive(Clone, Copy, FromBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Icmp {
    pub kind: u8,
    pub code: u8,
    checksum: u16,
}

impl Icmp {
    /// Type, code, checksum and the four bytes that every message has behind them.
    pub const LEN: u32 = 8;
}

const _: () = {
    assert!(size_of::<VlanTag>() == VlanTag::LEN);
    assert!(size_of::<PppoeSession>() == PppoeSession::LEN);
    assert!(size_of::<Ipv4>() == Ipv4::LEN);
    assert!(size_of::<Ipv6>() == Ipv6::LEN);
    assert!(size_of::<Ipv6Extension>() == 4);
    assert!(size_of::<Tcp>() == Tcp::LEN);
    assert!(size_of::<Udp>() == Udp::LEN);
    assert!(size_of::<Icmp>() == 4);
};
