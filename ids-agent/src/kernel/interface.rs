//! What the kernel says about one interface, through rtnetlink: its index, kind and XDP programs.
//! Asks in the network namespace of the calling thread, which /sys may not show.

use std::io;

use netlink_packet_core::{NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{InfoKind, LinkAttribute, LinkInfo, LinkMessage, LinkXdp},
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

/// One interface as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) ifindex: u32,
    /// `veth`, `bridge`, `vlan`...; none for hardware.
    pub(super) kind: Option<String>,
    pub(super) mtu: Option<u32>,
    /// Ids of the XDP programs attached, by whatever means.
    pub(super) xdp_programs: Vec<u32>,
}

/// Asks for an interface by name; `None` where there is none.
pub(super) fn query(name: &str) -> io::Result<Option<Link>> {
    let mut request = LinkMessage::default();
    request.attributes.push(LinkAttribute::IfName(name.to_string()));
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(RouteNetlinkMessage::GetLink(request)));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);

    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.send(&bytes, 0)?;
    let (reply, _) = socket.recv_from_full()?;
    let reply = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&reply).map_err(io::Error::other)?;
    match reply.payload {
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
    let mut link = Link { ifindex: message.header.index, kind: None, mtu: None, xdp_programs: Vec::new() };
    for attribute in &message.attributes {
        match attribute {
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
