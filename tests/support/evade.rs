//! Disguises the attack flows of a capture, as an attacker would who knows that flows are judged. Changes packets and
//! times; judges nothing. Checksums are not mended: the agent does not read them.

use std::{collections::BTreeMap, path::Path};

use ids_agent::source::pcap::{Frames, LinkType};
use ids_common::{
    flow::FlowKey,
    parse::{Frame, PacketMeta, parse},
    wire::{PROTO_SCTP, PROTO_TCP, PROTO_UDP},
};
use pcap_file::DataLink;

use crate::capture::{Timed, write_pcap};

/// Ways to look unlike oneself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trick {
    /// Up to 200 random bytes behind every payload that the attacker sends.
    Padding,
    /// Twice, ten times, sixty times the time between packets.
    Slow2,
    Slow10,
    Slow60,
    /// One packet of random payload for every five of the flow.
    Dummies,
    /// Flows of eight packets and more come as four, from four source ports, each with its own handshake.
    Split,
}

impl Trick {
    pub const ALL: [Self; 6] = [Self::Padding, Self::Slow2, Self::Slow10, Self::Slow60, Self::Dummies, Self::Split];

    pub fn name(self) -> &'static str {
        match self {
            Self::Padding => "padding",
            Self::Slow2 => "iat_x2",
            Self::Slow10 => "iat_x10",
            Self::Slow60 => "iat_x60",
            Self::Dummies => "dummies_20",
            Self::Split => "split_x4",
        }
    }
}

/// Payload bytes that padding and dummies have at most.
const EXTRA_BYTES_MAX: u64 = 200;
/// A frame stays within what an Ethernet of 1,500 bytes carries.
const NETWORK_BYTES_MAX: u32 = 1_500;
/// One dummy for so many packets.
const PACKETS_PER_DUMMY: u64 = 5;
const PARTS: usize = 4;
const SPLIT_FROM_PACKETS: usize = 8;

/// A flow as packets name it: addresses, ports and protocol, in its initiator's direction.
type Tuple = ([u8; 16], [u8; 16], u16, u16, u8);

/// Only these have ports in the agent's lines.
const WITH_PORTS: [u8; 3] = [PROTO_TCP, PROTO_UDP, PROTO_SCTP];

fn tuple(key: &FlowKey) -> Tuple {
    let ports = if WITH_PORTS.contains(&key.proto) { (key.src_port, key.dst_port) } else { (0, 0) };
    (key.src, key.dst, ports.0, ports.1, key.proto)
}

/// The flows to disguise.
#[derive(Clone, Debug, Default)]
pub struct Attacks(BTreeMap<Tuple, usize>);

/// Which way a packet of an attack flow goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Forward,
    Backward,
}

impl Attacks {
    /// Keys in the initiator's direction.
    pub fn new(keys: impl Iterator<Item = FlowKey>) -> Self {
        Self(keys.map(|key| (tuple(&key), 0)).collect())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn way(&self, key: &FlowKey) -> Option<(Tuple, Way)> {
        let (there, back) = (tuple(key), tuple(&key.reversed()));
        if self.0.contains_key(&there) {
            Some((there, Way::Forward))
        } else {
            self.0.contains_key(&back).then_some((back, Way::Backward))
        }
    }
}

/// One packet of the capture.
struct Packet {
    frame: Timed,
    link: LinkType,
    /// The attack flow it is part of, with its place among the flow's packets.
    part: Option<Part>,
}

#[derive(Clone, Copy)]
struct Part {
    flow: Tuple,
    way: Way,
    place: usize,
    layout: Layout,
}

/// Where the headers of a packet stand.
#[derive(Clone, Copy)]
struct Layout {
    meta: PacketMeta,
    network_at: usize,
    transport_at: usize,
    version: u8,
}

impl Layout {
    /// None for packets that are not plainly IP and transport: they stay as they are.
    fn of(bytes: &[u8], meta: PacketMeta) -> Option<Self> {
        let end = meta.payload_at.checked_add(meta.payload_len)?;
        let network_at = end.checked_sub(meta.len)? as usize;
        let first = *bytes.get(network_at)?;
        let transport_at = match first >> 4 {
            4 => network_at + usize::from(first & 15) * 4,
            6 if *bytes.get(network_at + 6)? == meta.key.proto => network_at + 40,
            _ => return None,
        };
        (transport_at <= meta.payload_at as usize).then_some(Self {
            meta,
            network_at,
            transport_at,
            version: first >> 4,
        })
    }
}

/// Writes the capture with its attack flows disguised. The same `seed` gives the same file.
///
/// False where nothing is written: a capture that the file form cannot hold (several link types), or whose attack is in
/// no packet that is plainly IP and transport. An unreadable capture is an error.
pub fn disguise(capture: &Path, mut attacks: Attacks, trick: Trick, seed: u64, out: &Path) -> Result<bool, String> {
    let packets = read(capture, &mut attacks)?;
    let link = packets.first().map_or(LinkType(1), |packet| packet.link);
    if packets.iter().any(|packet| packet.link != link) {
        return Ok(false);
    }
    let mut random = Random(seed);
    let began_ns = packets.iter().filter(|packet| packet.part.is_some()).map(|packet| packet.frame.at_ns).min();
    let Some(began_ns) = began_ns else { return Ok(false) };
    let mut frames = match trick {
        Trick::Padding => pad(packets, &mut random),
        Trick::Slow2 => stretch(packets, began_ns, 2),
        Trick::Slow10 => stretch(packets, began_ns, 10),
        Trick::Slow60 => stretch(packets, began_ns, 60),
        Trick::Dummies => add_dummies(packets, &mut random),
        Trick::Split => split(packets, &attacks),
    };
    frames.sort_by_key(|frame| frame.at_ns);
    write_pcap(out, DataLink::from(u32::from(link.0)), &frames);
    Ok(true)
}

fn read(capture: &Path, attacks: &mut Attacks) -> Result<Vec<Packet>, String> {
    let mut frames = Frames::open(capture).map_err(|error| error.to_string())?;
    let mut packets = Vec::new();
    let mut last_ns = 0;
    while let Some(frame) = frames.step().map_err(|error| error.to_string())? {
        last_ns = frame.at_ns.unwrap_or(last_ns);
        let meta = frame.link.link().and_then(|link| parse(&Frame::new(frame.bytes, frame.wire_len), link).ok());
        let part = meta.and_then(|meta| {
            let (flow, way) = attacks.way(&meta.key)?;
            let layout = Layout::of(frame.bytes, meta)?;
            let count = attacks.0.get_mut(&flow)?;
            *count += 1;
            Some(Part { flow, way, place: *count - 1, layout })
        });
        let wire_len = (frame.wire_len > frame.bytes.len()).then_some(frame.wire_len as u32);
        packets.push(Packet {
            frame: Timed { at_ns: last_ns, bytes: frame.bytes.to_vec(), wire_len },
            link: frame.link,
            part,
        });
    }
    Ok(packets)
}

fn pad(packets: Vec<Packet>, random: &mut Random) -> Vec<Timed> {
    let padded = packets.into_iter().map(|packet| {
        let Packet { mut frame, part, .. } = packet;
        if let Some(Part { way: Way::Forward, layout, .. }) = part
            && layout.meta.payload_len > 0
        {
            let room = u64::from(NETWORK_BYTES_MAX.saturating_sub(layout.meta.len));
            let extra = random.bytes(room.min(EXTRA_BYTES_MAX));
            lengthen(&mut frame, &layout, &extra);
        }
        frame
    });
    padded.collect()
}

fn stretch(packets: Vec<Packet>, began_ns: u64, times: u64) -> Vec<Timed> {
    let stretched = packets.into_iter().map(|packet| {
        let Packet { mut frame, part, .. } = packet;
        if part.is_some() {
            frame.at_ns = began_ns.saturating_add(frame.at_ns.saturating_sub(began_ns).saturating_mul(times));
        }
        frame
    });
    stretched.collect()
}

fn add_dummies(packets: Vec<Packet>, random: &mut Random) -> Vec<Timed> {
    let mut frames = Vec::with_capacity(packets.len() * 6 / 5);
    for Packet { frame, part, .. } in packets {
        let dummy = part.filter(|_| random.below(PACKETS_PER_DUMMY) == 0).map(|part| {
            let layout = part.layout;
            let mut dummy = Timed::new(frame.at_ns + 1_000, frame.bytes.clone());
            dummy.bytes.truncate(layout.meta.payload_at as usize);
            let headers = Layout { meta: PacketMeta { payload_len: 0, ..layout.meta }, ..layout };
            let extra = random.bytes(EXTRA_BYTES_MAX);
            lengthen(&mut dummy, &headers, &extra);
            set_network_len(&mut dummy.bytes, &layout, layout.meta.len - layout.meta.payload_len + extra.len() as u32);
            if layout.meta.key.proto == PROTO_TCP
                && let Some(flags) = dummy.bytes.get_mut(layout.transport_at + 13)
            {
                // PSH and ACK, whatever the packet before was.
                *flags = 0x18;
            }
            dummy
        });
        frames.push(frame);
        frames.extend(dummy);
    }
    frames
}

/// Each part of a flow but the first gets a source port of its own, and of TCP the flow's handshake again.
fn split(packets: Vec<Packet>, attacks: &Attacks) -> Vec<Timed> {
    let mut frames = Vec::with_capacity(packets.len());
    let mut handshakes: BTreeMap<Tuple, Vec<(Timed, Part)>> = BTreeMap::new();
    for Packet { frame, part, .. } in packets {
        let splits = |part: &Part| {
            matches!(part.flow.4, PROTO_TCP | PROTO_UDP)
                && attacks.0.get(&part.flow).is_some_and(|n| *n >= SPLIT_FROM_PACKETS)
        };
        let Some(part) = part.filter(splits) else {
            frames.push(frame);
            continue;
        };
        let count = attacks.0.get(&part.flow).copied().unwrap_or(1);
        let (now, before) = (part.place * PARTS / count, part.place.saturating_sub(1) * PARTS / count);
        let handshake = handshakes.entry(part.flow).or_default();
        if part.flow.4 == PROTO_TCP && part.layout.meta.payload_len == 0 && handshake.len() < 3 && now == 0 {
            handshake.push((frame.clone(), part));
        }
        if now > before {
            for (at, (opening, opener)) in handshake.iter().enumerate() {
                let at_ns = frame.at_ns.saturating_sub(3_000 - 1_000 * at as u64);
                frames.push(on_port(Timed { at_ns, ..opening.clone() }, opener, now));
            }
        }
        frames.push(on_port(frame, &part, now));
    }
    frames
}

/// The packet on the source port of part `number`.
fn on_port(mut frame: Timed, part: &Part, number: usize) -> Timed {
    let port = if number == 0 { part.flow.2 } else { 1_024 + (part.flow.2 % 15_000) * 4 + number as u16 };
    let at = part.layout.transport_at + if part.way == Way::Forward { 0 } else { 2 };
    if let Some(bytes) = frame.bytes.get_mut(at..at + 2) {
        bytes.copy_from_slice(&port.to_be_bytes());
    }
    frame
}

/// Adds payload behind the packet's own. Of a packet that the capture cut short only the lengths grow.
fn lengthen(frame: &mut Timed, layout: &Layout, extra: &[u8]) {
    let end = (layout.meta.payload_at + layout.meta.payload_len) as usize;
    match frame.wire_len {
        Some(wire_len) => frame.wire_len = Some(wire_len + extra.len() as u32),
        // What stands behind the payload is padding of the link.
        None => {
            frame.bytes.truncate(end);
            frame.bytes.extend_from_slice(extra);
        }
    }
    set_network_len(&mut frame.bytes, layout, layout.meta.len + extra.len() as u32);
}

fn set_network_len(bytes: &mut [u8], layout: &Layout, len: u32) {
    let (at, told) = match layout.version {
        4 => (layout.network_at + 2, len),
        _ => (layout.network_at + 4, len.saturating_sub(40)),
    };
    let mut set = |at: usize, value: u32| {
        if let Some(field) = bytes.get_mut(at..at + 2) {
            field.copy_from_slice(&(value.min(u32::from(u16::MAX)) as u16).to_be_bytes());
        }
    };
    set(at, told);
    if layout.meta.key.proto == PROTO_UDP {
        set(layout.transport_at + 4, len - (layout.transport_at - layout.network_at) as u32);
    }
}

/// SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }

    /// From one byte up to `max`.
    fn bytes(&mut self, max: u64) -> Vec<u8> {
        let len = (1 + self.below(max)).min(max);
        (0..len).map(|_| self.next() as u8).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Ipv4, Tcp, ethernet, udp};

    const ATTACKER: [u8; 4] = [192, 0, 2, 1];
    const TARGET: [u8; 4] = [192, 0, 2, 9];

    fn ip(src: [u8; 4], dst: [u8; 4], proto: u8, body: &[u8]) -> Vec<u8> {
        ethernet(0x0800, &Ipv4::between(src, dst, proto).wrap(body))
    }

    /// A handshake and twelve requests with their answers, a packet every millisecond; a DNS query beside it.
    fn capture() -> Vec<Timed> {
        let there = |flags, body: &[u8]| {
            ip(ATTACKER, TARGET, 6, &[&Tcp::ports(40_000, 80, flags).wrap(&[])[..], body].concat())
        };
        let back = |flags, body: &[u8]| {
            ip(TARGET, ATTACKER, 6, &[&Tcp::ports(80, 40_000, flags).wrap(&[])[..], body].concat())
        };
        let mut frames = vec![there(0x02, b""), back(0x12, b""), there(0x10, b"")];
        for _ in 0..12 {
            frames.extend([there(0x18, b"GET / HTTP/1.1"), back(0x18, b"HTTP/1.1 200 OK")]);
        }
        frames.push(ip([192, 0, 2, 5], TARGET, 17, &udp(5_000, 53, None, b"query")));
        frames
            .into_iter()
            .enumerate()
            .map(|(at, bytes)| Timed::new(1_000_000_000 + at as u64 * 1_000_000, bytes))
            .collect()
    }

    fn attack() -> Attacks {
        let mapped = |v4: [u8; 4]| std::net::Ipv4Addr::from(v4).to_ipv6_mapped().octets();
        let key = FlowKey {
            src: mapped(ATTACKER),
            dst: mapped(TARGET),
            src_port: 40_000,
            dst_port: 80,
            proto: 6,
            kind: 0,
            vlan: 0,
        };
        Attacks::new(std::iter::once(key))
    }

    /// What the project's parser reads in the disguised capture.
    fn disguised(trick: Trick) -> Vec<(u64, PacketMeta)> {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from.pcap"), folder.path().join("to.pcap"));
        write_pcap(&from, DataLink::ETHERNET, &capture());
        assert!(disguise(&from, attack(), trick, 7, &to).unwrap());
        let once = std::fs::read(&to).unwrap();
        assert!(disguise(&from, attack(), trick, 7, &to).unwrap());
        assert_eq!(once, std::fs::read(&to).unwrap(), "the same seed gives the same file");
        let mut frames = Frames::open(&to).unwrap();
        let mut packets = Vec::new();
        while let Some(frame) = frames.step().unwrap() {
            let link = frame.link.link().unwrap();
            packets.push((frame.at_ns.unwrap(), parse(&Frame::new(frame.bytes, frame.wire_len), link).unwrap()));
        }
        packets
    }

    fn payload(packets: &[(u64, PacketMeta)], from_port: u16) -> u32 {
        packets.iter().filter(|(_, meta)| meta.key.src_port == from_port).map(|(_, meta)| meta.payload_len).sum()
    }

    #[test]
    fn padding_lengthens_what_the_attacker_says_and_nothing_else() {
        let packets = disguised(Trick::Padding);
        assert_eq!(packets.len(), capture().len());
        assert!(payload(&packets, 40_000) > 12 * 14);
        assert_eq!((payload(&packets, 80), payload(&packets, 5_000)), (12 * 15, 5));
    }

    #[test]
    fn stretching_moves_the_attack_and_leaves_the_others_where_they_were() {
        let packets = disguised(Trick::Slow10);
        let last = |port| packets.iter().filter(|(_, meta)| meta.key.src_port == port).map(|(at, _)| *at).max();
        assert_eq!(last(80), Some(1_000_000_000 + 26 * 10_000_000));
        assert_eq!(last(5_000), Some(1_000_000_000 + 27 * 1_000_000));
    }

    #[test]
    fn dummies_are_whole_packets_of_the_flow() {
        let packets = disguised(Trick::Dummies);
        assert!(packets.len() > capture().len());
        let known = [40_000, 80, 5_000];
        assert!(packets.iter().all(|(_, meta)| known.contains(&meta.key.src_port)));
        let dummy = packets.iter().filter(|(at, _)| at % 1_000_000 != 0);
        assert!(dummy.into_iter().all(|(_, meta)| meta.payload_len > 0 && meta.tcp_flags == 0x18));
    }

    #[test]
    fn a_split_flow_comes_as_four_that_each_shake_hands() {
        let packets = disguised(Trick::Split);
        let syns: Vec<u16> = packets.iter().filter(|(_, m)| m.tcp_flags == 0x02).map(|(_, m)| m.key.src_port).collect();
        let mut ports = syns.clone();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!((syns.len(), ports.len()), (4, 4));
        assert_eq!(packets.len(), capture().len() + 9);
        let whole = ports.iter().map(|port| payload(&packets, *port)).sum::<u32>();
        assert_eq!(whole, 12 * 14);
    }
}
