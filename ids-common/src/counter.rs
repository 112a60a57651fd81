//! Counters: one enum is the index in the kernel's array, the metric's label and the reason's name.

/// Why a frame is not counted in a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum Skip {
    /// The frame ends inside its link header, VLAN tags or PPPoE header.
    LinkTruncated = 0,
    /// More VLAN tags than the bound.
    VlanDepth,
    /// ARP: counted, not a flow.
    Arp,
    /// An 802.3 length instead of an EtherType (LLC, spanning tree).
    Llc,
    /// MPLS labels.
    Mpls,
    /// PPPoE discovery, or a session frame that carries no IP (LCP, authentication).
    PppoeControl,
    /// Any other EtherType.
    NotIp,
    /// The frame ends inside its IP header.
    IpTruncated,
    /// The version field contradicts the EtherType, or is neither 4 nor 6.
    IpVersion,
    /// The header claims a length below its minimum.
    IpHeaderLength,
    /// The header claims more bytes than were on the wire, or fewer than itself.
    IpLength,
    /// More IPv6 extension headers than the bound.
    Ipv6Extensions,
    /// The packet ends inside its TCP, UDP, SCTP or ICMP header.
    TransportTruncated,
    /// The TCP data offset points before the header's end or past the packet's.
    TcpOffset,
    /// The UDP length contradicts the IP length.
    UdpLength,
    /// A capture file's link type that is not parsed.
    LinkType,
    /// IPv4-mapped addresses at both ends of an IPv6 header. They are for use inside a host only
    /// (RFC 4291, section 2.5.5.2), and such a packet's key would be that of an IPv4 flow.
    Ipv4Mapped,
}

impl Skip {
    pub const ALL: [Self; 17] = [
        Self::LinkTruncated,
        Self::VlanDepth,
        Self::Arp,
        Self::Llc,
        Self::Mpls,
        Self::PppoeControl,
        Self::NotIp,
        Self::IpTruncated,
        Self::IpVersion,
        Self::IpHeaderLength,
        Self::IpLength,
        Self::Ipv6Extensions,
        Self::TransportTruncated,
        Self::TcpOffset,
        Self::UdpLength,
        Self::LinkType,
        Self::Ipv4Mapped,
    ];

    /// The reason's name in metrics, tables and JSON.
    pub const fn label(self) -> &'static str {
        match self {
            Self::LinkTruncated => "link_truncated",
            Self::VlanDepth => "vlan_depth",
            Self::Arp => "arp",
            Self::Llc => "llc",
            Self::Mpls => "mpls",
            Self::PppoeControl => "pppoe_control",
            Self::NotIp => "not_ip",
            Self::IpTruncated => "ip_truncated",
            Self::IpVersion => "ip_version",
            Self::IpHeaderLength => "ip_header_length",
            Self::IpLength => "ip_length",
            Self::Ipv6Extensions => "ipv6_extensions",
            Self::TransportTruncated => "transport_truncated",
            Self::TcpOffset => "tcp_offset",
            Self::UdpLength => "udp_length",
            Self::LinkType => "link_type",
            Self::Ipv4Mapped => "ipv4_mapped",
        }
    }
}

/// Index of a counter in a CPU's row of the kernel's counter array. Skips follow the named ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Counter {
    /// Frames that reached a program.
    PacketsSeen = 0,
    /// Network-layer bytes of the packets counted in flows.
    FlowBytes,
    /// Packets counted in flows; a segmentation super-packet counts as its segments.
    FlowPackets,
    /// Frames that a super-packet stood for, beyond the one seen.
    SegmentsUnfolded,
    /// Slots sent to the ring to make room, or because their direction began a new record.
    SlotsEvicted,
    /// Slots, and the packets and bytes in them, lost because the ring was full.
    SlotsLost,
    SlotsLostPackets,
    SlotsLostBytes,
    /// Payload samples sent, and lost because the ring was full.
    SamplesSent,
    SamplesLost,
    /// Packets counted nowhere because a map lookup failed, which the layout rules out.
    TableMissing,
    /// Packets counted in flows and then dropped for a block entry, and their network-layer bytes.
    PacketsBlocked,
    BytesBlocked,
}

/// Counters before the skip reasons.
pub const COUNTERS_NAMED: usize = 13;
/// Counters in a CPU's row, padded to whole cache lines.
pub const COUNTERS: usize = 32;
/// The last word of a row counts nothing: the programs put values there to have them back.
pub const SCRATCH: usize = COUNTERS - 1;

const _: () = assert!(COUNTERS_NAMED + Skip::ALL.len() <= SCRATCH && COUNTERS.is_multiple_of(8));

impl Counter {
    #[inline(always)]
    pub const fn index(self) -> usize {
        self as usize
    }
}

impl Skip {
    /// Index of the reason in a CPU's row of counters.
    #[inline(always)]
    pub const fn index(self) -> usize {
        COUNTERS_NAMED + self as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_label_and_index() {
        let labels: std::collections::BTreeSet<_> = Skip::ALL.iter().map(|s| s.label()).collect();
        assert_eq!(labels.len(), Skip::ALL.len());
        for (position, skip) in Skip::ALL.iter().enumerate() {
            assert_eq!(skip.index(), COUNTERS_NAMED + position);
        }
        assert_eq!(Counter::BytesBlocked.index() + 1, COUNTERS_NAMED);
    }
}
