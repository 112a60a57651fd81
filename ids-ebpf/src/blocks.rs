//! Says whether a packet's source is blocked at its time, and counts what is dropped. Without an unexpired entry every
//! packet passes: an entry ends by the clock, whether or not the agent lives.

use ids_common::{block::BlockKey, counter::Counter, parse::PacketMeta};

use crate::{
    Counters,
    maps::{self, Tunables},
};

/// What becomes of a packet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Passes,
    Dropped,
}

/// Which way a packet goes; what leaves by an interface is never dropped.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heading {
    In,
    Out,
}

/// Decides for a packet that came in. Without any entry this reads one word.
#[inline(always)]
pub(crate) fn fate(meta: &PacketMeta, now_ns: u64, settings: &Tunables, counters: Counters) -> Fate {
    let blocks = settings.blocks();
    if blocks == 0 {
        return Fate::Passes;
    }
    // The lower half counts sources, the upper half pairs.
    let dropped = (blocks as u32 != 0 && maps::blocked(&BlockKey::source(meta.key.src), meta, now_ns))
        || (blocks >> 32 != 0 && maps::blocked(&BlockKey::pair(meta.key.src, meta.key.dst), meta, now_ns));
    if counters.forget(u64::from(dropped)) == 0 {
        return Fate::Passes;
    }
    counters.add(Counter::PacketsBlocked, u64::from(meta.segments.max(1)));
    counters.add(Counter::BytesBlocked, meta.bytes());
    Fate::Dropped
}
