//! One flow while it goes on: its two sides, its end so far, and the record it gives. Does not know
//! the table that holds it.

use ids_common::{
    flow::{FlowKey, FlowSlot},
    hash::{HashSecret, hash},
    wire,
};

use crate::{
    flow::{FlowEnd, FlowRecord, FlowState, side::Side},
    source::SlotUpdate,
};

/// No flow.
pub(super) const NONE: u32 = u32::MAX;
/// Between reviews, a flow is judged when its packets have grown by this factor.
const CHECKPOINT_FACTOR: u64 = 4;

/// One flow: what stands in front fits in with the key that finds it.
pub(super) struct Flow {
    /// The smaller of the two directions' keys.
    pub(super) key: FlowKey,
    pub(super) id: u64,
    pub(super) start_ns: u64,
    pub(super) end_ns: u64,
    /// Why it will end after a short silence: FIN in both directions, or RST.
    pub(super) closed: Option<FlowEnd>,
    /// Set once no new chain can join it. It ends for this reason if it did not close before.
    pub(super) retired: Option<FlowEnd>,
    pub(super) changed: bool,
    /// Whether somebody wants it judged soon.
    pub(super) asked_for: bool,
    /// The bucket of `expiry` that counts; zero in a free place.
    pub(super) bucket: u64,
    /// The flow before it of the same keys that still waits for trailing packets.
    pub(super) previous: u32,
    /// Packets at which it is judged next.
    pub(super) checkpoint: u64,
    pub(super) judged_ns: u64,
    /// Index 0 is the direction of `key`.
    pub(super) sides: [Side; 2],
}

impl Flow {
    /// A flow of `key` without slots yet. `salt` tells apart flows of one key that begin at one time.
    pub(super) fn new(key: &FlowKey, first: &FlowSlot, salt: u64) -> Self {
        Self {
            key: *key,
            id: flow_id(key, first.first_seen_ns, salt),
            start_ns: first.first_seen_ns,
            end_ns: first.last_seen_ns,
            closed: None,
            retired: None,
            changed: false,
            asked_for: false,
            bucket: 0,
            previous: NONE,
            checkpoint: 1,
            judged_ns: 0,
            sides: Default::default(),
        }
    }

    /// Notes what a snapshot of one of its slots says about its end.
    pub(super) fn note(&mut self, update: &SlotUpdate) {
        self.end_ns = self.end_ns.max(update.slot.last_seen_ns);
        if update.slot.fin > 0 && self.sides.iter().all(Side::has_fin) {
            self.closed = Some(FlowEnd::Fin);
        } else if update.slot.rst > 0 && self.closed.is_none() {
            self.closed = Some(FlowEnd::Rst);
        }
    }

    pub(super) fn is_established(&self) -> bool {
        self.sides.iter().any(|side| side.packets() > 2)
    }

    /// Whether it is time to judge the flow though it goes on.
    pub(super) fn is_up(&mut self, now_ns: u64, review_ns: u64) -> bool {
        let packets = self.packets();
        let asked_for = std::mem::take(&mut self.asked_for);
        if !asked_for && packets < self.checkpoint && now_ns.saturating_sub(self.judged_ns) < review_ns {
            return false;
        }
        while self.checkpoint <= packets {
            self.checkpoint = self.checkpoint.saturating_mul(CHECKPOINT_FACTOR);
            if self.checkpoint == u64::MAX {
                break;
            }
        }
        self.judged_ns = now_ns;
        true
    }

    fn packets(&self) -> u64 {
        self.sides.iter().fold(0, |sum, side| sum.saturating_add(side.packets()))
    }

    /// The flow as it stands. A flow begins with its first slot and keeps it, so there is one.
    pub(super) fn record(&self, state: FlowState) -> Option<FlowRecord> {
        let mut rooms = [None, None];
        let [one_room, other_room] = &mut rooms;
        let (one, other) = (self.sides[0].merged(one_room), self.sides[1].merged(other_room));
        let (forward, backward) = match (one, other) {
            (Some(one), Some(other)) if initiates(other, one) => (other, Some(one)),
            (Some(one), other) => (one, other),
            (None, Some(other)) => (other, None),
            (None, None) => return None,
        };
        // Whether the handshake that began the flow came in a slot of its own is an accident of cuts.
        let whole = |slot: &FlowSlot| FlowSlot { restarted: 0, ..*slot };
        Some(FlowRecord {
            id: self.id,
            key: forward.key,
            forward: whole(forward),
            backward: backward.map(whole),
            start_ns: self.start_ns,
            end_ns: self.end_ns,
            state,
        })
    }
}

/// Whether `one` rather than `other` is the initiator's direction: a pure SYN before an answering
/// one, then the earlier, then a pure SYN, then the higher port.
fn initiates(one: &FlowSlot, other: &FlowSlot) -> bool {
    let handshake = |slot: &FlowSlot| slot.first_flags & (wire::TCP_SYN | wire::TCP_ACK);
    let is_syn = |slot: &FlowSlot| handshake(slot) == wire::TCP_SYN;
    let is_syn_ack = |slot: &FlowSlot| handshake(slot) == wire::TCP_SYN | wire::TCP_ACK;
    if is_syn(one) && is_syn_ack(other) {
        return true;
    }
    if is_syn(other) && is_syn_ack(one) {
        return false;
    }
    let rank = |slot: &FlowSlot| (slot.first_seen_ns, !is_syn(slot), u16::MAX - slot.key.src_port, slot.key);
    rank(one) < rank(other)
}

/// The smaller of a key and its reverse, and which of the two the key is. A message that nobody
/// answers is no reply to the same message the other way, so its key stands alone.
#[inline]
pub(super) fn pair(key: &FlowKey) -> (FlowKey, usize) {
    if key.is_one_way() {
        return (*key, 0);
    }
    if (&key.src, key.src_port) <= (&key.dst, key.dst_port) { (*key, 0) } else { (key.reversed(), 1) }
}

/// A number below 2^52 that depends on the flow's keys and start alone.
fn flow_id(key: &FlowKey, start_ns: u64, salt: u64) -> u64 {
    // The finaliser of SplitMix64 (Steele, Lea, Flood 2014) over both.
    let mut mixed = hash(key, &HashSecret::FIXED) ^ start_ns.wrapping_add(salt).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 31)) & ((1 << 52) - 1)
}
