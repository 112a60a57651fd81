//! One direction of a joined flow: the slots that make it up, merged in time order.

use ids_common::flow::FlowSlot;

use crate::source::{SlotState, SlotUpdate};

/// One slot of the source's table, in its latest snapshot.
#[derive(Clone)]
pub(super) struct Piece {
    pub(super) cpu: u32,
    pub(super) state: SlotState,
    /// With the CPU, names the slot among those of its key that are still in the table.
    pub(super) origin_ns: u64,
    pub(super) slot: FlowSlot,
    /// What an evicted flow already holds of this slot: `slot` is what came after.
    pub(super) before: Option<Box<FlowSlot>>,
}

impl Piece {
    pub(super) fn new(update: &SlotUpdate) -> Self {
        Self {
            cpu: update.cpu,
            state: update.state,
            origin_ns: update.slot.first_seen_ns,
            slot: update.slot,
            before: None,
        }
    }

    /// A slot of which `before` was counted elsewhere.
    pub(super) fn resumed(update: &SlotUpdate, before: &FlowSlot) -> Self {
        Self { slot: remainder(&update.slot, before), before: Some(Box::new(*before)), ..Self::new(update) }
    }

    /// The slot as the source's table holds it.
    pub(super) fn whole(&self) -> FlowSlot {
        let mut whole = self.slot;
        if let Some(before) = &self.before {
            whole = **before;
            whole.merge(&self.slot);
        }
        whole.first_seen_ns = self.origin_ns;
        whole
    }
}

/// What a snapshot of a known slot brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Growth {
    Packets,
    Nothing,
}

/// All slots of one direction.
#[derive(Clone, Default)]
pub(super) struct Side {
    latest: Option<Piece>,
    /// Slots that are final, merged.
    earlier: Option<Box<FlowSlot>>,
    /// Open slots of other CPUs, for a direction that is spread over receive queues.
    beside: Vec<Piece>,
}

impl Side {
    pub(super) fn is_empty(&self) -> bool {
        self.latest.is_none()
    }

    /// Takes a snapshot of a slot that this side holds; `None` where it holds no such slot.
    pub(super) fn grow(&mut self, update: &SlotUpdate) -> Option<Growth> {
        let piece = self.latest.iter_mut().chain(&mut self.beside).find(|piece| {
            piece.cpu == update.cpu && piece.origin_ns == update.slot.first_seen_ns && piece.state == SlotState::Open
        })?;
        piece.state = update.state;
        let known = piece.slot.packets + piece.before.as_ref().map_or(0, |before| before.packets);
        if update.slot.packets <= known {
            return Some(Growth::Nothing);
        }
        piece.slot = match &piece.before {
            None => update.slot,
            Some(before) => remainder(&update.slot, before),
        };
        Some(Growth::Packets)
    }

    /// Appends a slot. An older slot of the same CPU is final by that.
    pub(super) fn append(&mut self, piece: Piece) {
        let cpu = piece.cpu;
        let Some(previous) = self.latest.replace(piece) else { return };
        if previous.cpu == cpu && self.beside.is_empty() {
            self.fold(previous.slot);
            return;
        }
        self.beside.push(previous);
        let mut at = 0;
        while at < self.beside.len() {
            if self.beside[at].cpu == cpu || self.beside[at].state == SlotState::Closed {
                let done = self.beside.remove(at);
                self.fold(done.slot);
            } else {
                at += 1;
            }
        }
    }

    fn fold(&mut self, slot: FlowSlot) {
        match &mut self.earlier {
            None => self.earlier = Some(Box::new(slot)),
            Some(earlier) if slot.first_seen_ns < earlier.first_seen_ns => {
                let later = **earlier;
                **earlier = slot;
                earlier.merge(&later);
            }
            Some(earlier) => earlier.merge(&slot),
        }
    }

    /// The direction as one slot: the only one there is, or all of them merged in `room`.
    pub(super) fn merged<'a>(&'a self, room: &'a mut Option<FlowSlot>) -> Option<&'a FlowSlot> {
        let latest = &self.latest.as_ref()?.slot;
        if self.beside.is_empty() {
            return Some(match &self.earlier {
                None => latest,
                Some(earlier) => room.insert(in_order(earlier, latest)),
            });
        }
        let mut slots: Vec<&FlowSlot> = self.slots().collect();
        slots.sort_by_key(|slot| slot.first_seen_ns);
        let (first, rest) = slots.split_first()?;
        let merged = room.insert(**first);
        rest.iter().for_each(|slot| merged.merge(slot));
        Some(merged)
    }

    /// Every slot, final ones merged.
    pub(super) fn slots(&self) -> impl Iterator<Item = &FlowSlot> {
        let pieces = self.latest.iter().chain(&self.beside).map(|piece| &piece.slot);
        self.earlier.as_deref().into_iter().chain(pieces)
    }

    /// Slots of the source's table that may still grow.
    pub(super) fn open(&self) -> impl Iterator<Item = &Piece> {
        self.latest.iter().chain(&self.beside).filter(|piece| piece.state == SlotState::Open)
    }

    pub(super) fn last_seen_ns(&self) -> Option<u64> {
        self.slots().map(|slot| slot.last_seen_ns).max()
    }

    pub(super) fn packets(&self) -> u64 {
        self.slots().fold(0, |sum, slot| sum.saturating_add(slot.packets))
    }

    pub(super) fn has_fin(&self) -> bool {
        self.slots().any(|slot| slot.fin > 0)
    }

    /// Whether a handshake packet from this side begins another connection. The same rule as in
    /// `FlowSlot::continuity`, over all that was seen of the direction.
    pub(super) fn is_past_handshake(&self) -> bool {
        let syn = self.slots().fold(0u16, |sum, slot| sum.saturating_add(slot.syn));
        syn != u16::MAX && u64::from(syn) != self.packets()
    }
}

fn in_order(one: &FlowSlot, other: &FlowSlot) -> FlowSlot {
    let (mut first, second) = if other.first_seen_ns < one.first_seen_ns { (*other, one) } else { (*one, other) };
    first.merge(second);
    first
}

/// What a slot holds beyond its earlier snapshot. Sums are exact; extremes are those of the whole
/// slot, and the first packets stay with the earlier part.
fn remainder(whole: &FlowSlot, before: &FlowSlot) -> FlowSlot {
    FlowSlot {
        first_seen_ns: before.last_seen_ns,
        packets: whole.packets.saturating_sub(before.packets),
        bytes: whole.bytes.saturating_sub(before.bytes),
        payload_bytes: whole.payload_bytes.saturating_sub(before.payload_bytes),
        len_sumsq: whole.len_sumsq.saturating_sub(before.len_sumsq),
        gap_sumsq: whole.gap_sumsq.saturating_sub(before.gap_sumsq),
        payload_packets: whole.payload_packets.saturating_sub(before.payload_packets),
        ack: whole.ack.saturating_sub(before.ack),
        psh: whole.psh.saturating_sub(before.psh),
        fin: whole.fin.saturating_sub(before.fin),
        syn: whole.syn.saturating_sub(before.syn),
        rst: whole.rst.saturating_sub(before.rst),
        urg: whole.urg.saturating_sub(before.urg),
        ece: whole.ece.saturating_sub(before.ece),
        cwr: whole.cwr.saturating_sub(before.cwr),
        idle_count: whole.idle_count.saturating_sub(before.idle_count),
        idle_sum: whole.idle_sum.saturating_sub(before.idle_sum),
        first_flags: 0,
        first_count: 0,
        restarted: 0,
        init_window: 0,
        first_gaps: Default::default(),
        first_sizes: Default::default(),
        ..*whole
    }
}
