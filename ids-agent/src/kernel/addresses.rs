//! The networks that interfaces are in, by the addresses they have. Asks in the namespace of the calling thread.

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
    let mut found = Vec::new();
    each(|address| found.extend((address.header.index == ifindex).then(|| read(address)).flatten()))?;
    Ok(found)
}

/// Addresses of all interfaces.
pub fn all_addresses() -> io::Result<Vec<(IpAddr, u8)>> {
    let mut found = Vec::new();
    each(|address| found.extend(read(address)))?;
    Ok(found)
}

fn each(mut take: impl FnMut(&AddressMessage)) -> io::Result<()> {
    dump(RouteNetlinkMessage::GetAddress(AddressMessage::default()), |message| {
        if let NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewAddress(address)) = message {
            take(address);
        }
    })
}

/// Has the kernel answer a request for all there is, message by message.
pub(super) fn dump(
    request: RouteNetlinkMessage,
    mut take: impl FnMut(&NetlinkPayload<RouteNetlinkMessage>),
) -> io::Result<()> {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(request));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);

    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.send(&bytes, 0)?;
    for _ in 0..ANSWERS_MAX {
        let (answer, _) = socket.recv_from_full()?;
        let mut rest = answer.as_slice();
        while !rest.is_empty() {
            let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest).map_err(io::Error::other)?;
            let length = usize::try_from(message.header.length).unwrap_or(usize::MAX);
            match message.payload {
                NetlinkPayload::Done(_) => return Ok(()),
                NetlinkPayload::Error(error) => return Err(error.to_io()),
                other => take(&other),
            }
            // Messages are padded to four bytes.
            rest = rest.get(length.next_multiple_of(4).max(4)..).unwrap_or_default();
        }
    }
    Ok(())
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
        assert!(all_addresses().unwrap_or_default().contains(&(IpAddr::from([127, 0, 0, 1]), 8)));
    }
}
