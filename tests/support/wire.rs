//! Conversations to be sent over a wire within a second, and what flows counted of them.

use std::collections::BTreeMap;

use ids_agent::flow::FlowRecord;
use ids_common::flow::FlowKey;

use crate::{
    capture::Timed,
    frame::{self, ACK, FIN, Ipv4, PSH, SYN, Tcp},
};

/// Conversations of three kinds, all within a second.
pub fn frames() -> Vec<Timed> {
    let mut frames = Vec::new();
    let mut add = |bytes: Vec<u8>| {
        let at_ns = 1_700_000_000_000_000_000 + frames.len() as u64 * 500_000;
        frames.push(Timed::new(at_ns, frame::padded(bytes)));
    };
    for at in 0..60_u8 {
        let (client, server) = ([198, 51, 100, at], [203, 0, 113, at % 7]);
        let port = 30_000 + u16::from(at);
        let there = |flags, body: &[u8]| {
            let segment = Tcp::ports(port, 443, flags).wrap(body);
            frame::ethernet(frame::IPV4, &Ipv4::between(client, server, frame::TCP).wrap(&segment))
        };
        let back = |flags, body: &[u8]| {
            let segment = Tcp::ports(443, port, flags).wrap(body);
            frame::ethernet(frame::IPV4, &Ipv4::between(server, client, frame::TCP).wrap(&segment))
        };
        add(there(SYN, &[]));
        add(back(SYN | ACK, &[]));
        add(there(ACK, &[]));
        add(there(ACK | PSH, &frame::payload(200 + usize::from(at))));
        for _ in 0..at % 5 {
            add(back(ACK, &frame::payload(1_400)));
        }
        add(there(ACK | FIN, &[]));
        add(back(ACK | FIN, &[]));
        add(there(ACK, &[]));
        let query = frame::udp(port, 53, None, &frame::payload(30));
        add(frame::ethernet(frame::IPV4, &Ipv4::between(client, server, 17).wrap(&query)));
        let ping = Ipv4::between(client, server, 1).wrap(&frame::icmp(8, 0, &[0; 20]));
        add(frame::ethernet(frame::VLAN, &frame::vlan(42, frame::IPV4, &ping)));
        add(frame::arp());
    }
    frames
}

/// Flows by key with what they counted: how many, their packets, their bytes.
pub fn counted(ended: &[FlowRecord]) -> BTreeMap<FlowKey, (u64, u64, u64)> {
    let mut flows = BTreeMap::new();
    for record in ended {
        let entry: &mut (u64, u64, u64) = flows.entry(record.key).or_default();
        entry.0 += 1;
        entry.1 += record.packets();
        entry.2 += record.bytes();
    }
    flows
}
