//! A host that takes orders from outside and then turns to services of the house by which machines are controlled: the step
//! from one machine to the next (ATT&CK TA0008). Neither is told by what its packets hold, and the order of both is.
//!
//! Dialogues of an infection in this order are what BotHunter correlates (Gu and others, USENIX Security 2007).

use ids_common::wire;

use super::{address, evidence, score};
use crate::{
    bounded::BoundedMap,
    detect::{Class, Finding, Severity, Subject, Witness, behaviour::is_inside},
    flow::FlowRecord,
};

/// Hosts remembered that were told, and for how long.
const HOSTS_MAX: usize = 1_024;
const TOLD_NS: u64 = 3_600_000_000_000;
/// Pairs of a host and a service of which it is remembered when they first met.
const PEERS_MAX: usize = 8_192;
/// In percent.
const SURENESS: u8 = 72;
/// SSH, endpoint mapper, NetBIOS, LDAP, SMB, LDAPS, global catalogue, RDP, VNC, WinRM.
const PORTS: [u16; 13] = [22, 135, 139, 389, 445, 636, 3268, 3269, 3389, 5900, 5985, 5986, 47_001];

#[derive(Debug)]
struct Told {
    at_ns: u64,
    /// Who gave the orders.
    by: [u8; 16],
}

#[derive(Debug)]
struct Met {
    at_ns: u64,
    said: bool,
}

#[derive(Debug)]
pub(super) struct Control {
    hosts: BoundedMap<[u8; 16], Told>,
    peers: BoundedMap<([u8; 16], [u8; 16], u16), Met>,
}

impl Control {
    pub(super) fn new(hash_seed: u64) -> Self {
        Self {
            hosts: BoundedMap::new(HOSTS_MAX, hash_seed),
            peers: BoundedMap::new(PEERS_MAX, hash_seed.rotate_left(8)),
        }
    }

    pub(super) fn evicted(&self) -> u64 {
        self.hosts.evicted() + self.peers.evicted()
    }

    /// Notes that a flow is a host of the house under control.
    pub(super) fn told(&mut self, record: &FlowRecord) {
        if is_inside(record.key.src) {
            let new = || Told { at_ns: record.start_ns, by: record.key.dst };
            let host = self.hosts.touch_or_insert(&record.key.src, new);
            if record.start_ns > host.at_ns.saturating_add(TOLD_NS) {
                *host = new();
            }
        }
    }

    /// Tells of a host under control that turns to a service it did not speak to before.
    pub(super) fn see(&mut self, record: &FlowRecord) -> Option<Finding> {
        let key = &record.key;
        let asks = key.proto == wire::PROTO_TCP && PORTS.contains(&key.dst_port);
        if !asks || !is_inside(key.src) || !is_inside(key.dst) || key.src == key.dst {
            return None;
        }
        let new = || Met { at_ns: record.start_ns, said: false };
        let met = self.peers.touch_or_insert(&(key.src, key.dst, key.dst_port), new);
        let Told { at_ns, by } = self.hosts.peek(&key.src)?;
        let behind_ns = met.at_ns.checked_sub(*at_ns).filter(|behind_ns| *behind_ns <= TOLD_NS)?;
        if met.said || *by == key.dst {
            return None;
        }
        met.said = true;
        Some(Finding {
            witness: Witness::Payload,
            class: Class::Infiltration,
            kind: "lateral_movement",
            score: score(SURENESS),
            severity: Severity::Medium,
            subject: Subject::Flow { id: record.id },
            exemplar: *key,
            exemplar_id: record.id,
            first_ns: record.start_ns,
            last_ns: record.end_ns,
            reason: format!(
                "{}, which {} gave orders {} s before, turns to port {} of {} for the first time",
                address(key.src),
                address(*by),
                behind_ns / 1_000_000_000,
                key.dst_port,
                address(key.dst),
            ),
            evidence: vec![evidence("payload_sureness", f64::from(SURENESS), "percent")],
            matched: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fabricated::{Fabricated, SEC, There, host, key};

    fn flow(dst: [u8; 16], port: u16, at_ns: u64) -> FlowRecord {
        Fabricated::new(key(host(0, 0, 1), 1_000, dst, port, wire::PROTO_TCP), at_ns).packet(There, 0, 40).record()
    }

    #[test]
    fn a_controlled_host_that_turns_to_the_house_is_told_once() {
        let mut control = Control::new(0);
        let (orders, server) = (host(9, 9, 9), host(0, 0, 2));
        // What it spoke to before it was controlled is its work.
        assert_eq!(control.see(&flow(host(0, 0, 3), 389, 0)), None);
        control.told(&flow(orders, 80, 10 * SEC));
        assert_eq!(control.see(&flow(host(0, 0, 3), 389, 20 * SEC)), None);
        let found = control.see(&flow(server, 445, 22 * SEC));
        assert_eq!(found.map(|found| (found.class, found.kind)), Some((Class::Infiltration, "lateral_movement")));
        assert_eq!(control.see(&flow(server, 445, 23 * SEC)), None);
        // Nor is a page, nor who gives the orders.
        assert_eq!(control.see(&flow(server, 80, 24 * SEC)), None);
        assert_eq!(control.see(&flow(orders, 22, 24 * SEC)), None);
    }

    #[test]
    fn what_was_told_fades_and_others_are_not_meant() {
        let mut control = Control::new(0);
        assert_eq!(control.see(&flow(host(0, 0, 2), 22, SEC)), None);
        control.told(&flow(host(9, 9, 9), 80, 10 * SEC));
        assert_eq!(control.see(&flow(host(0, 0, 4), 22, 10 * SEC + TOLD_NS + 1)), None);
        // A stranger is none of the house.
        let stranger = [&[0; 10][..], &[0xff, 0xff, 198, 51, 100, 7]].concat();
        let mut outside = flow(host(0, 0, 5), 22, 20 * SEC);
        outside.key.src = stranger.try_into().unwrap_or([0; 16]);
        assert_eq!(control.see(&outside), None);
    }
}
