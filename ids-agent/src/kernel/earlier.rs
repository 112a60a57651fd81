//! What an earlier agent told of the slots in pinned maps: it is not told again. Pure: slots in, slots out.

use std::collections::BTreeMap;

use ids_common::flow::FlowKey;

use crate::source::SlotUpdate;

/// How far an earlier agent came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Earlier {
    /// Slots begun before were told whole by an agent that ended in good order.
    pub(super) handed_over_ns: u64,
    /// Its last sweep: what was silent for long enough by then had ended, and was judged.
    pub(super) swept_before_ns: u64,
    pub(super) idle_timeout_ns: u64,
    pub(super) closed_linger_ns: u64,
}

/// What both directions of a flow say of its end.
#[derive(Clone, Copy, Debug, Default)]
struct Signs {
    last_seen_ns: u64,
    fin: [bool; 2],
    rst: bool,
}

impl Signs {
    fn is_closed(&self) -> bool {
        self.rst || self.fin == [true, true]
    }
}

impl Earlier {
    /// Takes out what was told.
    pub(super) fn forget_told(&self, slots: &mut Vec<SlotUpdate>) {
        slots.retain(|update| update.slot.first_seen_ns >= self.handed_over_ns);
        let mut flows: BTreeMap<FlowKey, Signs> = BTreeMap::new();
        for SlotUpdate { slot, .. } in slots.iter() {
            let (key, side) = pair(&slot.key);
            let signs = flows.entry(key).or_default();
            signs.last_seen_ns = signs.last_seen_ns.max(slot.last_seen_ns);
            signs.fin[side] |= slot.fin > 0;
            signs.rst |= slot.rst > 0;
        }
        slots.retain(|update| flows.get(&pair(&update.slot.key).0).is_none_or(|signs| !self.had_ended(signs)));
    }

    /// Whether a flow had ended by the last sweep.
    fn had_ended(&self, signs: &Signs) -> bool {
        let silence_ns = self.swept_before_ns.saturating_sub(signs.last_seen_ns);
        silence_ns > self.idle_timeout_ns || signs.is_closed() && silence_ns > self.closed_linger_ns
    }
}

/// The same key for both directions, and which of them it was.
fn pair(key: &FlowKey) -> (FlowKey, usize) {
    let reversed = key.reversed();
    if reversed < *key { (reversed, 1) } else { (*key, 0) }
}

#[cfg(test)]
mod tests {
    use ids_common::{
        flow::{Continuity, FlowSlot},
        parse::PacketMeta,
    };

    use super::*;
    use crate::source::SlotState;

    const SECOND: u64 = 1_000_000_000;
    const EARLIER: Earlier = Earlier {
        handed_over_ns: 10 * SECOND,
        swept_before_ns: 200 * SECOND,
        idle_timeout_ns: 60 * SECOND,
        closed_linger_ns: 2 * SECOND,
    };

    fn slot(ports: (u16, u16), first_s: u64, last_s: u64, flags: u8) -> SlotUpdate {
        let mut meta = PacketMeta { tcp_flags: flags, ..PacketMeta::default() };
        meta.key.proto = 6;
        (meta.key.src_port, meta.key.dst_port) = ports;
        let mut slot = FlowSlot::begin(&meta, first_s * SECOND, Continuity::Continues);
        slot.last_seen_ns = last_s * SECOND;
        SlotUpdate { cpu: 0, state: SlotState::Open, slot }
    }

    fn kept(slots: &[SlotUpdate]) -> Vec<u16> {
        let mut slots = slots.to_vec();
        EARLIER.forget_told(&mut slots);
        slots.iter().map(|update| update.slot.key.src_port).collect()
    }

    #[test]
    fn what_was_handed_over_is_not_told_again() {
        assert_eq!(kept(&[slot((1, 80), 9, 199, 0), slot((2, 80), 10, 199, 0)]), [2]);
    }

    #[test]
    fn flows_that_had_ended_by_the_last_sweep_are_not_told_again() {
        const FIN: u8 = 1;
        const RST: u8 = 4;
        assert_eq!(kept(&[slot((1, 80), 20, 139, 0), slot((2, 80), 20, 141, 0)]), [2], "silence");
        assert_eq!(kept(&[slot((3, 80), 20, 190, RST), slot((4, 80), 20, 199, RST)]), [4], "RST, and its linger");
        let one_side = slot((5, 80), 20, 190, FIN);
        assert_eq!(kept(&[one_side]), [5], "half closed");
        assert_eq!(kept(&[one_side, slot((80, 5), 20, 191, FIN)]), [0; 0], "closed");
        assert_eq!(kept(&[one_side, slot((80, 5), 20, 199, FIN)]), [5, 80], "closed a moment ago");
    }
}
