//! The body of every program: counts a packet in its direction's slot, makes room where there is
//! none, and hands payloads to `samples`. How a packet changes a slot is decided in
//! `ids_common::flow`.

use core::mem::MaybeUninit;

use ids_common::{
    counter::Counter,
    flow::{Continuity, FlowKey, FlowSlot},
    hash::{hash, tag},
    limits::WAYS,
    parse::PacketMeta,
};

use crate::{
    Counters,
    blocks::{self, Fate, Heading},
    maps::{self, Set, Tunables},
    packet::{self, Packet},
    samples::{self, Counted},
};

/// Sees one packet.
#[inline(always)]
pub(crate) fn observe<P: Packet>(context: P::Context<'_>, heading: Heading) -> Fate {
    let cpu = maps::cpu();
    let Some(counters) = Counters::of_cpu(cpu) else { return Fate::Passes };
    counters.add(Counter::PacketsSeen, 1);
    let packet = P::new(context);
    let mut place = MaybeUninit::uninit();
    match packet::parse(&packet, &mut place) {
        Ok(meta) => count(&packet, meta, cpu, counters, heading),
        Err(index) => {
            counters.skip(index);
            Fate::Passes
        }
    }
}

#[inline(always)]
fn count<P: Packet>(packet: &P, meta: &mut PacketMeta, cpu: u32, counters: Counters, heading: Heading) -> Fate {
    let Some(settings) = maps::settings() else { return missing(counters) };
    packet::set_interface(meta, settings.interface(packet.ifindex()));
    let hash = hash(&meta.key, &maps::hash_secret());
    let tag = tag(hash);
    let Some(mut set) = maps::flow_set(cpu, hash) else { return missing(counters) };
    set.expect();
    // After parsing, so that skipped frames do not pay for it; once, so that all agree on it.
    let now_ns = maps::now_ns();

    let (way, found) = match find(&set, tag, &meta.key, counters) {
        Some(way) => {
            let slot = set.slot(way);
            // What was handed over is not gone on with, however short the silence.
            let kept = slot.first_seen_ns >= settings.handed_over_ns();
            let silence_ns = counters.forget(if kept { settings.slot_silence_ns() } else { 0 });
            (way, Some(slot.continuity(meta, now_ns, silence_ns)))
        }
        None => (victim(&set, counters), None),
    };
    let (counted, begins) = match found {
        Some(Continuity::Continues) => {
            let slot = set.slot(way);
            let counted =
                Counted { slot_first_seen_ns: slot.first_seen_ns, payload_packets: slot.payload_packets, now_ns };
            (counted, None)
        }
        other => {
            if set.tag(way) != 0 {
                push_out(set.slot(way), cpu, &settings, counters);
            }
            let counted = Counted { slot_first_seen_ns: now_ns, payload_packets: 0, now_ns };
            (counted, Some(other.unwrap_or(Continuity::Continues)))
        }
    };
    set.count(way, tag, meta, now_ns, begins);
    counters.add(Counter::FlowPackets, u64::from(meta.segments.max(1)));
    counters.add(Counter::FlowBytes, meta.bytes());
    if meta.segments > 1 {
        counters.add(Counter::SegmentsUnfolded, u64::from(meta.segments) - 1);
    }
    // Behind the flow's account: what was dropped was seen, and is in both counts. Its payload goes nowhere, nor is it
    // sampled.
    if heading == Heading::In && blocks::fate(meta, now_ns, &settings, counters) == Fate::Dropped {
        return Fate::Dropped;
    }
    samples::sample(packet, meta, &counted, &settings, counters);
    Fate::Passes
}

/// The layout rules this out; the packet passes.
#[inline(always)]
fn missing(counters: Counters) -> Fate {
    counters.add(Counter::TableMissing, 1);
    Fate::Passes
}

/// The way that holds a key. Branches, although they cannot be predicted: computed without one, the
/// way would wait for the tags, and with them the loads of the slot behind it.
#[inline(always)]
fn find(set: &Set, tag: u32, key: &FlowKey, counters: Counters) -> Option<usize> {
    let way = (0..WAYS).find(|way| set.tag(*way) == tag && set.slot(*way).key.same(key))?;
    Some(counters.forget(way as u64) as usize)
}

/// The way that a new slot takes: an empty one, else the slot silent for longest among those that
/// never got beyond a probe, else among all.
#[inline(always)]
fn victim(set: &Set, counters: Counters) -> usize {
    const WAY_BITS: u64 = WAYS as u64 - 1;
    let mut oldest = u64::MAX;
    for way in 0..WAYS {
        let slot = set.slot(way);
        // Boot time in nanoseconds stays below 2^63 for 292 years. The way stands in the lowest bits,
        // where it decides between equals.
        let age = slot.last_seen_ns & !WAY_BITS | u64::from(slot.is_established()) << 63;
        let age = if set.tag(way) == 0 { 0 } else { age };
        // Otherwise the verifier walks every order of the four.
        oldest = oldest.min(counters.forget(age) | way as u64);
    }
    counters.forget(oldest & WAY_BITS) as usize
}

/// Saves the last state of a slot that is about to be overwritten, unless user space has it.
#[inline(always)]
fn push_out(slot: &FlowSlot, cpu: u32, settings: &Tunables, counters: Counters) {
    if slot.last_seen_ns < settings.swept_before_ns() {
        return;
    }
    if maps::send_slot(cpu, slot) {
        counters.add(Counter::SlotsEvicted, 1);
    } else {
        counters.add(Counter::SlotsLost, 1);
        counters.add(Counter::SlotsLostPackets, slot.packets);
        counters.add(Counter::SlotsLostBytes, slot.bytes);
    }
}
