//! The flows that the agent knows, by community-id: those that are open, and those that ended lately. Bounded.

use ids_common::{
    flow::FlowKey,
    parse::icmp_counterpart,
    wire::{PROTO_ICMP, PROTO_ICMPV6},
};
use smallvec::SmallVec;

use crate::{
    bounded::BoundedMap,
    eve::EveTuple,
    flow::{FlowRecord, community_id},
};

/// Community-ids of which flows are remembered, open or ended.
pub(super) const IDS_MAX: usize = 49_152;
/// Flows remembered of one: ports used again, the same traffic on several VLANs.
const FLOWS_PER_ID_MAX: usize = 4;
/// Signatures remembered of one flow, so that each is found once.
const SAID_MAX: usize = 16;

/// Two clocks that read the same packet, and a queue between them, differ by less.
const SLACK_NS: u64 = 2_000_000_000;
/// How long an ended flow can still be spoken of: Suricata judges what is left of a stream when it times out.
const KEEP_NS: u64 = 15 * 60 * 1_000_000_000;

/// The first eight bytes of a community-id's digest.
pub(super) type IdHead = u64;

/// One flow as the join needs it.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) id: u64,
    pub(super) key: FlowKey,
    pub(super) start_ns: u64,
    pub(super) end_ns: u64,
    pub(super) ended: bool,
    /// Signatures that were found in it already.
    said: SmallVec<[u32; 2]>,
}

impl Known {
    /// Tells whether the signature is new to the flow.
    pub(super) fn say(&mut self, sid: u32) -> bool {
        if self.said.contains(&sid) {
            return false;
        }
        if self.said.len() < SAID_MAX {
            self.said.push(sid);
        }
        true
    }

    /// Whether an event of that time can be about this flow.
    fn fits(&self, when: &When) -> bool {
        let began = self.start_ns <= when.at_ns.saturating_add(SLACK_NS);
        let lives = !self.ended || when.at_ns <= self.end_ns.saturating_add(KEEP_NS);
        // Suricata's flow began after this one had ended: the ports were used again.
        let earlier =
            when.flow_start_ns.is_some_and(|start| self.ended && start > self.end_ns.saturating_add(SLACK_NS));
        began && lives && !earlier
    }

    /// Whether the event lies so long after its end that another flow may have taken its place.
    fn is_past(&self, when: &When) -> bool {
        self.ended && when.at_ns > self.end_ns.saturating_add(SLACK_NS)
    }
}

/// When and on which VLAN something happened.
#[derive(Clone, Copy, Debug)]
pub(super) struct When {
    pub(super) at_ns: u64,
    pub(super) flow_start_ns: Option<u64>,
    pub(super) vlan: u16,
}

/// Why no flow was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// The hosts and ports are unknown.
    Flow,
    /// They are known from another time.
    Time,
}

/// How sure the answer has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// A flow that has ended long before may have a successor that was not seen yet.
    Soon,
    /// Nothing better comes.
    Last,
}

#[derive(Debug)]
pub(super) struct Flows {
    flows: BoundedMap<IdHead, SmallVec<[Known; 1]>>,
}

impl Flows {
    pub(super) fn new(hash_seed: u64) -> Self {
        Self { flows: BoundedMap::new(IDS_MAX, hash_seed) }
    }

    pub(super) fn forgotten(&self) -> u64 {
        self.flows.evicted()
    }

    /// Takes in how a flow stands.
    pub(super) fn see(&mut self, record: &FlowRecord) -> IdHead {
        let head = head_of(&record.key);
        let known = self.flows.touch_or_insert(&head, SmallVec::new);
        match known.iter_mut().find(|known| known.id == record.id) {
            Some(known) => {
                known.end_ns = record.end_ns;
                known.ended = record.is_ended();
            }
            None => {
                if known.len() >= FLOWS_PER_ID_MAX {
                    known.remove(0);
                }
                known.push(Known {
                    id: record.id,
                    key: record.key,
                    start_ns: record.start_ns,
                    end_ns: record.end_ns,
                    ended: record.is_ended(),
                    said: SmallVec::new(),
                });
            }
        }
        head
    }

    /// The flow that an event is about: of those that fit, the one on its VLAN, then the one that began last.
    pub(super) fn find(&mut self, head: IdHead, when: &When, asked: Asked) -> Result<&mut Known, Missing> {
        let known = self.flows.peek_mut(&head).ok_or(Missing::Flow)?;
        let best = known
            .iter_mut()
            .filter(|known| known.fits(when))
            .max_by_key(|known| (known.key.vlan == when.vlan, known.start_ns))
            .ok_or(Missing::Time)?;
        if asked == Asked::Soon && best.is_past(when) { Err(Missing::Time) } else { Ok(best) }
    }
}

/// The head of a flow's community-id.
pub(super) fn head_of(key: &FlowKey) -> IdHead {
    // Ours are always well-formed.
    head_of_text(&community_id(key)).unwrap_or(0)
}

/// The head of a community-id as it is written: `1:` and a digest in base64.
pub(super) fn head_of_text(text: &str) -> Option<IdHead> {
    let digits = text.strip_prefix("1:")?.as_bytes();
    let mut head = 0_u128;
    for digit in digits.get(..11)? {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        head = head << 6 | u128::from(value);
    }
    // Eleven digits hold 66 bits.
    Some((head >> 2) as u64)
}

/// The key of the flow that a packet belongs to, as the packet's side sees it.
pub(super) fn key_of(tuple: &EveTuple) -> FlowKey {
    let is_icmp = matches!(tuple.proto, PROTO_ICMP | PROTO_ICMPV6);
    let counterpart = u8::try_from(tuple.src_port).ok().and_then(|kind| icmp_counterpart(tuple.proto, kind));
    let dst_port = match counterpart {
        Some(answer) if is_icmp => u16::from(answer),
        _ => tuple.dst_port,
    };
    FlowKey {
        src: tuple.src,
        dst: tuple.dst,
        src_port: tuple.src_port,
        dst_port,
        proto: tuple.proto,
        kind: 0,
        vlan: tuple.vlan,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_of_an_id_is_that_of_its_digest() {
        // 1:LQU9qZlK+B5F3KDmev6m5PMibrg= is 2d053da9994af81e45dca0e67afea6e4f3226eb8 in hex.
        assert_eq!(head_of_text("1:LQU9qZlK+B5F3KDmev6m5PMibrg="), Some(0x2d05_3da9_994a_f81e));
        for text in ["", "1:", "2:LQU9qZlK+B5F3KDmev6m5PMibrg=", "1:LQU9qZl", "1:LQU9qZl*+B5F3KDm"] {
            assert_eq!(head_of_text(text), None, "{text}");
        }
    }

    #[test]
    fn both_sides_of_an_echo_are_one_flow() {
        let [a, b] = [[1; 16], [2; 16]];
        let ping = EveTuple { src: a, dst: b, src_port: 8, dst_port: 0, proto: PROTO_ICMP, vlan: 0 };
        let pong = EveTuple { src: b, dst: a, src_port: 0, dst_port: 0, ..ping };
        assert_eq!(head_of(&key_of(&ping)), head_of(&key_of(&pong)));
    }
}
