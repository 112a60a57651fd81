//! Questions to rtnetlink and their answers. Asks in the network namespace of the calling thread.

use std::io;

use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

/// Answers that are read at most: a dump ends with a message that says so.
const ANSWERS_MAX: usize = 1_024;

/// Has the kernel answer a request about one thing.
pub(super) fn one(request: RouteNetlinkMessage) -> io::Result<NetlinkPayload<RouteNetlinkMessage>> {
    let (reply, _) = ask(request, NLM_F_REQUEST)?.recv_from_full()?;
    let reply = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&reply).map_err(io::Error::other)?;
    Ok(reply.payload)
}

/// Has the kernel answer a request for all there is, message by message.
pub(super) fn dump(
    request: RouteNetlinkMessage,
    mut take: impl FnMut(&NetlinkPayload<RouteNetlinkMessage>),
) -> io::Result<()> {
    let socket = ask(request, NLM_F_REQUEST | NLM_F_DUMP)?;
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

/// Sends a request; the answer comes through the socket.
fn ask(request: RouteNetlinkMessage, flags: u16) -> io::Result<Socket> {
    let mut header = NetlinkHeader::default();
    header.flags = flags;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(request));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);

    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.send(&bytes, 0)?;
    Ok(socket)
}
