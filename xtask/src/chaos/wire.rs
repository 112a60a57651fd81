//! What the watched interface itself counted, over all its lives: the kernel tells the last counters of one that is deleted.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use rustix::{
    io::Errno,
    net::{
        AddressFamily, RecvFlags, SocketFlags, SocketType, bind,
        netlink::SocketAddrNetlink,
        recv, socket_with,
        sockopt::{Timeout, set_socket_timeout},
    },
};
use serde_json::Value;

use super::stage::{Stage, WATCHED};
use crate::process::quiet;

/// RTMGRP_LINK and RTM_DELLINK of linux/rtnetlink.h.
const LINK_GROUP: u32 = 1;
const LINK_DELETED: u16 = 17;
/// IFLA_IFNAME and IFLA_STATS64 of linux/if_link.h.
const NAME: u16 = 3;
const COUNTERS: u16 = 23;
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Packets of an interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) received: u64,
    pub(crate) sent: u64,
    /// On their way out, after the programs saw them.
    pub(crate) unsent: u64,
}

impl Counts {
    fn plus(self, other: Self) -> Self {
        Self {
            received: self.received + other.received,
            sent: self.sent + other.sent,
            unsent: self.unsent + other.unsent,
        }
    }

    /// What programs on it should have counted.
    pub(crate) fn all(self) -> u64 {
        self.received + self.sent + self.unsent
    }
}

/// Adds up the interface's lives.
#[derive(Default)]
pub(crate) struct Wire {
    past: Mutex<Counts>,
    ends: AtomicU32,
}

impl Wire {
    /// Hears of deletions until `stop`; on a thread inside the gateway. `heard` is called once it listens.
    pub(crate) fn listen(&self, stop: &AtomicBool, heard: impl FnOnce()) -> Result<()> {
        // The protocol of number zero is NETLINK_ROUTE.
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)
            .context("a netlink socket")?;
        bind(&socket, &SocketAddrNetlink::new(0, LINK_GROUP)).context("messages of links")?;
        set_socket_timeout(&socket, Timeout::Recv, Some(LOOK_EVERY)).context("a netlink socket")?;
        heard();
        let mut buffer = vec![0; 1 << 16];
        while !stop.load(Ordering::Relaxed) {
            match recv(&socket, &mut buffer[..], RecvFlags::empty()) {
                Ok((_, length)) => {
                    for counts in deleted(&buffer[..length.min(buffer.len())], WATCHED) {
                        let mut past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
                        *past = past.plus(counts);
                        self.ends.fetch_add(1, Ordering::Relaxed);
                    }
                }
                // Nothing was said for a while.
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(error) => return Err(error).context("messages of links"),
            }
        }
        Ok(())
    }

    /// Lives that have ended.
    pub(crate) fn ends(&self) -> u32 {
        self.ends.load(Ordering::Relaxed)
    }

    /// All lives, the present one included.
    pub(crate) fn total(&self, stage: &Stage) -> Result<Counts> {
        let mut command = stage.gateway.command("ip".as_ref());
        let said = quiet(command.args(["-s", "-j", "link", "show", "dev", WATCHED]))?;
        let links: Value = serde_json::from_str(&said).context("`ip -j` is not JSON")?;
        let count = |pointer: &str| links.pointer(pointer).and_then(Value::as_u64).context("`ip -j` counts no packets");
        let now = Counts {
            received: count("/0/stats64/rx/packets")?,
            sent: count("/0/stats64/tx/packets")?,
            unsent: count("/0/stats64/tx/dropped")?,
        };
        ensure!(stage.cuts() == 2 * self.ends() + 2, "the end of an interface was not heard of");
        Ok(self.past.lock().unwrap_or_else(PoisonError::into_inner).plus(now))
    }
}

/// The last counters of the interface `name`, in messages that say that it is deleted.
fn deleted(mut messages: &[u8], name: &str) -> Vec<Counts> {
    let mut found = Vec::new();
    while let Some((length, kind)) = u32_at(messages, 0).zip(u16_at(messages, 4)) {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        // A header of 16 bytes, one of links of 16 bytes, attributes.
        let Some(mut attributes) = messages.get(32..length) else { break };
        let (mut is_ours, mut counts) = (false, None);
        while let Some((size, attribute)) = u16_at(attributes, 0).zip(u16_at(attributes, 2)) {
            let Some(value) = attributes.get(4..usize::from(size)) else { break };
            match attribute {
                NAME => is_ours = value.strip_suffix(&[0]) == Some(name.as_bytes()),
                COUNTERS => counts = counters(value),
                _ => {}
            }
            attributes = attributes.get(usize::from(size).next_multiple_of(4)..).unwrap_or_default();
        }
        if kind == LINK_DELETED && is_ours {
            found.extend(counts);
        }
        messages = messages.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    found
}

fn counters(value: &[u8]) -> Option<Counts> {
    let at = |index: usize| {
        let bytes = value.get(8 * index..8 * index + 8)?;
        bytes.try_into().ok().map(u64::from_ne_bytes)
    };
    Some(Counts { received: at(0)?, sent: at(1)?, unsent: at(7)? })
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_ne_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::{COUNTERS, Counts, LINK_DELETED, NAME, deleted};

    fn message(kind: u16, name: &str) -> Vec<u8> {
        let attribute = |kind: u16, value: &[u8]| {
            let mut bytes = u16::try_from(4 + value.len()).unwrap_or_default().to_ne_bytes().to_vec();
            bytes.extend(kind.to_ne_bytes());
            bytes.extend(value);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            bytes
        };
        let counters: Vec<u8> = [7_u64, 5, 700, 500, 0, 0, 1, 2].iter().flat_map(|count| count.to_ne_bytes()).collect();
        let mut body = vec![0; 16];
        body.extend(attribute(NAME, format!("{name}\0").as_bytes()));
        body.extend(attribute(COUNTERS, &counters));
        let mut bytes = u32::try_from(16 + body.len()).unwrap_or_default().to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.resize(16, 0);
        bytes.extend(body);
        bytes
    }

    #[test]
    fn only_the_end_of_the_interface_that_is_meant_counts() {
        let said = [message(16, "lan0"), message(LINK_DELETED, "lan00"), message(LINK_DELETED, "lan0")].concat();
        assert_eq!(deleted(&said, "lan0"), [Counts { received: 7, sent: 5, unsent: 2 }]);
        assert_eq!(deleted(&said[..said.len() - 1], "lan0"), [], "cut short");
        assert_eq!(deleted(&[], "lan0"), []);
    }
}
