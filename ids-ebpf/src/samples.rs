//! Sends the first payloads of each direction, and the fronts of later messages, to user space, in one of a few fixed
//! sizes.

use ids_common::{
    counter::Counter,
    limits::SAMPLE_CLASSES,
    message,
    parse::PacketMeta,
    sample::{KIND_SAMPLE, SampleHeader},
};

use crate::{
    Counters,
    maps::{Sent, Tunables, send_sample},
    packet::Packet,
};

/// The slot that a packet was counted in, as it was before.
pub(crate) struct Counted {
    pub(crate) slot_first_seen_ns: u64,
    pub(crate) payload_packets: u32,
    pub(crate) now_ns: u64,
}

/// Samples the payload if the packet is one of the first of its slot to carry any, or if it is one of the first many and
/// begins a message.
#[inline(always)]
pub(crate) fn sample<P: Packet>(
    packet: &P,
    meta: &PacketMeta,
    counted: &Counted,
    settings: &Tunables,
    counters: Counters,
) {
    // Bulk data is past this bound, and pays no more than this.
    if meta.payload_len == 0 || counted.payload_packets >= settings.sample_among() || meta.key.is_later_fragment() {
        return;
    }
    // One word for both ways to here, so that what comes behind is verified once.
    let early = counters.forget(u64::from(counted.payload_packets < settings.sample_packets()));
    let wanted = if early != 0 { early } else { begins_message(packet, meta, counters) };
    if counters.forget(wanted) == 0 {
        return;
    }
    let reachable = packet.captured_len().saturating_sub(meta.payload_at);
    let captured = meta.payload_len.min(settings.sample_bytes()).min(reachable);
    let captured = counters.forget(u64::from(captured)) as u32;
    let [small, medium, _] = SAMPLE_CLASSES;
    let sent = if captured == 0 {
        return;
    } else if captured <= small as u32 {
        sample_class::<P, { SAMPLE_CLASSES[0] }>(packet, meta, counted, captured)
    } else if captured <= medium as u32 {
        sample_class::<P, { SAMPLE_CLASSES[1] }>(packet, meta, counted, captured)
    } else {
        sample_class::<P, { SAMPLE_CLASSES[2] }>(packet, meta, counted, captured)
    };
    match sent {
        Sent::Sent => counters.add(Counter::SamplesSent, 1),
        Sent::RingFull => counters.add(Counter::SamplesLost, 1),
        Sent::Unreadable => {}
    }
}

#[inline(always)]
fn begins_message<P: Packet>(packet: &P, meta: &PacketMeta, counters: Counters) -> u64 {
    // Behind a shorter payload stands padding, or nothing.
    if meta.payload_len < message::FRONT_BYTES as u32 {
        return 0;
    }
    let Some(front) = packet.front(counters.forget(u64::from(meta.payload_at)) as u32) else { return 0 };
    // How it was read is not followed up, nor what the parser knew of the protocol: all behind the parser would be verified
    // for each.
    let front = counters.forget(u64::from_le_bytes(front));
    let proto = counters.forget(u64::from(meta.key.proto)) as u8;
    u64::from(message::begins(front, proto))
}

#[inline(always)]
fn sample_class<P: Packet, const N: usize>(packet: &P, meta: &PacketMeta, counted: &Counted, captured: u32) -> Sent {
    let captured = captured.min(N as u32);
    let header = SampleHeader {
        kind: KIND_SAMPLE,
        captured,
        key: meta.key,
        seen_ns: counted.now_ns,
        slot_first_seen_ns: counted.slot_first_seen_ns,
        payload_len: meta.payload_len,
        index: counted.payload_packets,
    };
    send_sample::<P, N>(packet, meta.payload_at, header)
}
