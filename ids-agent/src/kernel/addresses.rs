//! The networks that an interface is in, by the addresses it has. Asks in the namespace of the calling thread.

use std::{io, net::IpAddr};

use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::{
    RouteNetlinkMessage,
    address::{AddressAttribute, AddressMessage},
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

/// Answers that are read at most: a dump ends with a message that says so.
const ANSWERS_MAX: usize = 1_024;

/// Addresses of the interface with their prefix lengths, in the kernel's order.
pub fn addresses(ifindex: u32) -> io::Result<Vec<(IpAddr, u8)>> {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let request = RouteNetlinkMessage::GetAddress(AddressMessage::default());
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(request));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);

    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.send(&bytes, 0)?;
    let mut found = Vec::new();
    for _ in 0..ANSWERS_MAX {
        let (answer, _) = socket.recv_from_full()?;
        let mut rest = answer.as_slice();
        while !rest.is_empty() {
            let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest).map_err(io::Error::other)?;
            let length = usize::try_from(message.header.length).unwrap_or(usize::MAX);
            match message.payload {
                NetlinkPayload::Done(_) => return Ok(found),
                NetlinkPayload::Error(error) => return Err(error.to_io()),
                NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewAddress(address))
                    if address.header.index == ifindex =>
                {
                    found.extend(read(&address));
                }
                _ => {}
            }
            // Messages are padded to four bytes.
            rest = rest.get(length.next_multiple_of(4).max(4)..).unwrap_or_default();
        }
    }
    Ok(found)
}

/// On a line between two ends `Local` is ours and `Address` the other's; elsewhere both are the same.
fn read(message: &AddressMessage) -> Option<(IpAddr, u8)> {
    let mut address = None;
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(local) => return Some((*local, message.header.prefix_len)),
            AddressAttribute::Address(other) => address = Some((*other, message.header.prefix_len)),
            _ => {}
        }
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_has_its_address() {
        let addresses = addresses(1).unwrap_or_default();
        assert!(addresses.contains(&(IpAddr::from([127, 0, 0, 1]), 8)), "{addresses:?}");
    }
}
