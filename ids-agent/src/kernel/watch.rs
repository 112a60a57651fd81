//! Tells when something about the interfaces of this namespace changed, through rtnetlink. What changed is asked for
//! elsewhere: messages may be lost, the interfaces themselves are not.

use std::{fmt, io};

use netlink_sys::{Socket, protocols::NETLINK_ROUTE};
use rustix::io::Errno;

/// Messages about interfaces (`RTNLGRP_LINK`).
const GROUP_LINK: u32 = 1;
/// Messages that are read at once; what is left is read the next time.
const MESSAGES_MAX: usize = 256;

/// A subscription to changes of interfaces.
pub(super) struct Watch {
    socket: Socket,
    message: Vec<u8>,
}

impl Watch {
    /// Subscribes in the namespace of the calling thread, and stays in it.
    pub(super) fn start() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.add_membership(GROUP_LINK)?;
        socket.set_non_blocking(true)?;
        Ok(Self { socket, message: Vec::with_capacity(16_384) })
    }

    /// Whether anything changed since it was asked last.
    pub(super) fn has_news(&mut self) -> bool {
        let mut news = false;
        for _ in 0..MESSAGES_MAX {
            self.message.clear();
            match self.socket.recv(&mut self.message, 0) {
                Ok(_) => news = true,
                // Messages were lost.
                Err(error) if error.raw_os_error() == Some(Errno::NOBUFS.raw_os_error()) => news = true,
                Err(_) => break,
            }
        }
        news
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}
