//! The gateways that this machine sends through, of all routing tables. Asks in the namespace of the calling thread.

use std::{io, net::IpAddr};

use netlink_packet_core::NetlinkPayload;
use netlink_packet_route::{
    RouteNetlinkMessage,
    route::{RouteAddress, RouteAttribute, RouteMessage, RouteVia},
};

use super::netlink::dump;

/// Addresses of next hops, each once.
pub fn gateways() -> io::Result<Vec<IpAddr>> {
    let mut found: Vec<IpAddr> = Vec::new();
    dump(RouteNetlinkMessage::GetRoute(RouteMessage::default()), |message| {
        if let NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewRoute(route)) = message {
            hops(&route.attributes, &mut found);
        }
    })?;
    Ok(found)
}

fn hops(attributes: &[RouteAttribute], found: &mut Vec<IpAddr>) {
    for attribute in attributes {
        let hop = match attribute {
            RouteAttribute::Gateway(RouteAddress::Inet(v4)) => Some(IpAddr::V4(*v4)),
            RouteAttribute::Gateway(RouteAddress::Inet6(v6)) => Some(IpAddr::V6(*v6)),
            RouteAttribute::Via(RouteVia::Inet(v4)) => Some(IpAddr::V4(*v4)),
            RouteAttribute::Via(RouteVia::Inet6(v6)) => Some(IpAddr::V6(*v6)),
            RouteAttribute::MultiPath(hops_of) => {
                hops_of.iter().for_each(|hop| hops(&hop.attributes, found));
                None
            }
            _ => None,
        };
        found.extend(hop.filter(|hop| !found.contains(hop)));
    }
}
