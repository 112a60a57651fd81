//! What the kernel says about one interface, through rtnetlink: its index, kind, link layer, counters and XDP programs.
//! Asks in the network namespace of the calling thread, which /sys may not show.

use std::io;

use netlink_packet_core::NetlinkPayload;
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{InfoKind, LinkAttribute, LinkInfo, LinkLayerType, LinkMessage, LinkXdp},
};

use super::netlink;
use crate::config::Direction;

/// One interface as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) name: String,
    pub(super) ifindex: u32,
    pub(super) layer: Layer,
    /// `veth`, `bridge`, `vlan`...; none for hardware.
    pub(super) kind: Option<String>,
    pub(super) mtu: Option<u32>,
    /// Ids of the XDP programs attached, by whatever means.
    pub(super) xdp_programs: Vec<u32>,
    /// What the interface itself counted.
    pub(super) packets: Packets,
}

/// What a frame of an interface begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    Ethernet,
    /// An IP header: WireGuard, PPP, tun, tunnels.
    Ip,
    /// Something that the parser does not read, by its ARP hardware type (`linux/if_arp.h`).
    Other(u16),
}

/// Packets since the interface was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Packets {
    pub(super) received: u64,
    pub(super) sent: u64,
}

impl Packets {
    /// Packets of a direction since `earlier`.
    pub(super) fn since(self, earlier: Self, direction: Direction) -> u64 {
        let received = self.received.saturating_sub(earlier.received);
        let sent = self.sent.saturating_sub(earlier.sent);
        match direction {
            Direction::Ingress => received,
            Direction::Egress => sent,
            Direction::Both => received.saturating_add(sent),
        }
    }
}

/// Asks for an interface by name; `None` where there is none.
pub(super) fn query(name: &str) -> io::Result<Option<Link>> {
    let mut request = LinkMessage::default();
    request.attributes.push(LinkAttribute::IfName(name.to_string()));
    ask(request)
}

/// Asks for an interface by its index.
pub(super) fn query_index(ifindex: u32) -> io::Result<Option<Link>> {
    let mut request = LinkMessage::default();
    request.header.index = ifindex;
    ask(request)
}

fn ask(request: LinkMessage) -> io::Result<Option<Link>> {
    match netlink::one(RouteNetlinkMessage::GetLink(request))? {
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) => Ok(Some(read(&link))),
        NetlinkPayload::Error(error) => {
            let error = error.to_io();
            let unknown = error.raw_os_error() == Some(rustix::io::Errno::NODEV.raw_os_error());
            if unknown { Ok(None) } else { Err(error) }
        }
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "the kernel answered something else")),
    }
}

fn read(message: &LinkMessage) -> Link {
    let mut link = Link {
        name: String::new(),
        ifindex: message.header.index,
        layer: layer(message.header.link_layer_type),
        kind: None,
        mtu: None,
        xdp_programs: Vec::new(),
        packets: Packets::default(),
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::Stats64(stats) => {
                link.packets = Packets { received: stats.rx_packets, sent: stats.tx_packets };
            }
            LinkAttribute::Mtu(mtu) => link.mtu = Some(*mtu),
            LinkAttribute::LinkInfo(infos) => {
                link.kind = infos.iter().find_map(|info| match info {
                    LinkInfo::Kind(kind) => Some(kind_name(kind)),
                    _ => None,
                });
            }
            LinkAttribute::Xdp(xdp) => link.xdp_programs = xdp.iter().filter_map(program_id).collect(),
            _ => {}
        }
    }
    link.xdp_programs.sort_unstable();
    link.xdp_programs.dedup();
    link
}

fn layer(kind: LinkLayerType) -> Layer {
    match kind {
        LinkLayerType::Ether | LinkLayerType::Loopback => Layer::Ethernet,
        LinkLayerType::None
        | LinkLayerType::Ppp
        | LinkLayerType::Rawip
        | LinkLayerType::Tunnel
        | LinkLayerType::Tunnel6
        | LinkLayerType::Sit
        | LinkLayerType::Ipgre
        | LinkLayerType::Ip6gre => Layer::Ip,
        other => Layer::Other(other.into()),
    }
}

fn kind_name(kind: &InfoKind) -> String {
    kind.to_string()
}

fn program_id(xdp: &LinkXdp) -> Option<u32> {
    match xdp {
        LinkXdp::ProgId(id) | LinkXdp::DrvProgId(id) | LinkXdp::SkbProgId(id) | LinkXdp::HwProgId(id) if *id != 0 => {
            Some(*id)
        }
        _ => None,
    }
}
