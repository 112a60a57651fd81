//! Flow records and samples made up for unit tests: what a flow looked like, said in one line.

use ids_common::{
    flow::{Continuity, FlowKey, FlowSlot},
    parse::{PacketMeta, ipv4_mapped},
    wire::{PROTO_TCP, TCP_ACK, TCP_FIN, TCP_PSH, TCP_RST, TCP_SYN},
};

use crate::{
    flow::{FlowEnd, FlowRecord, FlowState},
    source::{Batch, Sample},
};

pub(crate) const MS: u64 = 1_000_000;
pub(crate) const SEC: u64 = 1_000 * MS;

/// 10.`b`.`c`.`d`.
pub(crate) fn host(b: u8, c: u8, d: u8) -> [u8; 16] {
    ipv4_mapped(u32::from_ne_bytes([10, b, c, d]))
}

/// 2001:db8::`last`.
pub(crate) fn host6(last: u16) -> [u8; 16] {
    let mut address = [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    address[14..].copy_from_slice(&last.to_be_bytes());
    address
}

pub(crate) fn key(src: [u8; 16], src_port: u16, dst: [u8; 16], dst_port: u16, proto: u8) -> FlowKey {
    FlowKey { src, dst, src_port, dst_port, proto, kind: 0, vlan: 0 }
}

/// A flow under construction: packets go in one by one.
#[derive(Clone, Debug)]
pub(crate) struct Fabricated {
    key: FlowKey,
    forward: Option<FlowSlot>,
    backward: Option<FlowSlot>,
    now_ns: u64,
    state: FlowState,
    /// Tells flows of one key apart.
    salt: u64,
    window: u16,
}

/// Which way a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    There,
    Back,
}
pub(crate) use Way::{Back, There};

impl Fabricated {
    pub(crate) fn new(key: FlowKey, at_ns: u64) -> Self {
        Self { key, forward: None, backward: None, now_ns: at_ns, state: FlowState::Open, salt: at_ns, window: 64_240 }
    }

    pub(crate) fn wait(mut self, ns: u64) -> Self {
        self.now_ns += ns;
        self
    }

    /// The receive window that later packets announce.
    pub(crate) fn window(mut self, window: u16) -> Self {
        self.window = window;
        self
    }

    pub(crate) fn packet(mut self, way: Way, tcp_flags: u8, payload_len: u32) -> Self {
        let key = if way == There { self.key } else { self.key.reversed() };
        let meta = PacketMeta {
            key,
            len: payload_len + if self.key.proto == PROTO_TCP { 40 } else { 28 },
            payload_len,
            tcp_flags,
            ttl: 64,
            window: self.window,
            ..PacketMeta::default()
        };
        let slot = if way == There { &mut self.forward } else { &mut self.backward };
        match slot {
            Some(slot) => slot.update(&meta, self.now_ns),
            None => *slot = Some(FlowSlot::begin(&meta, self.now_ns, Continuity::Continues)),
        }
        self
    }

    /// A SYN that nobody answers.
    pub(crate) fn syn(self) -> Self {
        self.packet(There, TCP_SYN, 0)
    }

    /// A SYN answered by RST.
    pub(crate) fn refused(self) -> Self {
        self.syn().packet(Back, TCP_RST | TCP_ACK, 0).ended(FlowEnd::Rst)
    }

    pub(crate) fn handshake(self) -> Self {
        self.syn().packet(Back, TCP_SYN | TCP_ACK, 0).packet(There, TCP_ACK, 0)
    }

    /// A request and an answer of so many bytes, an exchange of its own.
    pub(crate) fn exchange(mut self, request: u32, answer: u32) -> Self {
        self = self.packet(There, TCP_ACK | TCP_PSH, request);
        let mut left = answer;
        while left > 0 {
            let part = left.min(1_400);
            self = self.packet(Back, TCP_ACK | TCP_PSH, part);
            left -= part;
        }
        self
    }

    /// FIN both ways.
    pub(crate) fn closed(self) -> Self {
        self.packet(There, TCP_FIN | TCP_ACK, 0).packet(Back, TCP_FIN | TCP_ACK, 0).ended(FlowEnd::Fin)
    }

    pub(crate) fn ended(mut self, end: FlowEnd) -> Self {
        self.state = FlowState::Ended(end);
        self
    }

    pub(crate) fn record(&self) -> FlowRecord {
        let forward = self.forward.or(self.backward).unwrap_or_else(|| {
            FlowSlot::begin(&PacketMeta { key: self.key, ..PacketMeta::default() }, self.now_ns, Continuity::Continues)
        });
        let slots = [Some(forward), self.backward];
        let starts = slots.iter().flatten().map(|slot| slot.first_seen_ns);
        let ends = slots.iter().flatten().map(|slot| slot.last_seen_ns);
        let words = self.key.words();
        let id = words.iter().fold(self.salt, |id, word| id.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ word);
        FlowRecord {
            id,
            key: self.key,
            forward,
            backward: self.backward,
            start_ns: starts.min().unwrap_or(0),
            end_ns: ends.max().unwrap_or(0),
            state: self.state,
        }
    }
}

/// A batch of samples alone. Each is key, time of its slot's first packet, index and payload.
pub(crate) fn samples(entries: &[(FlowKey, u64, u32, &[u8])]) -> Batch {
    let mut batch = Batch::default();
    for (key, slot_first_seen_ns, index, payload) in entries {
        let payload_start = batch.payloads.len() as u32;
        batch.payloads.extend_from_slice(payload);
        batch.samples.push(Sample {
            key: *key,
            seen_ns: slot_first_seen_ns + u64::from(*index),
            slot_first_seen_ns: *slot_first_seen_ns,
            payload_len: payload.len() as u32,
            index: *index,
            payload_start,
            captured: payload.len() as u32,
        });
    }
    batch
}
