//! The networks that interfaces are in, by the addresses they have. Asks in the namespace of the calling thread.

use std::{io, net::IpAddr};

use netlink_packet_core::NetlinkPayload;
use netlink_packet_route::{
    RouteNetlinkMessage,
    address::{AddressAttribute, AddressMessage},
};

use super::netlink::dump;

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
