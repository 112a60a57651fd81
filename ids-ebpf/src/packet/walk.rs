//! Walks over the headers of packets that are not of the plain shape. No access to packets here: a walk goes by a `Reader`.

use ids_common::{
    counter::Skip,
    limits::OFFSET_MAX,
    parse::{Extension, Fragment, Head, Link, PacketMeta, PacketRead, extension, parse_any, transport},
};
use zerocopy::{FromBytes, Immutable, KnownLayout};

use crate::{counters::Counters, maps};

/// One way to read a packet.
pub(super) trait Reader {
    fn read<T: FromBytes + Immutable + KnownLayout + Copy>(&self, at: usize) -> Option<T>;

    fn readable_len(&self) -> usize;

    fn wire_len(&self) -> usize;

    fn stripped_vlan(&self) -> Option<u16>;

    fn segments(&self) -> (u16, u16);

    /// `read_extension` and `read_transport` of this way, as functions that a verifier looks at by themselves.
    fn extension(&self, head: u64) -> u64;

    fn transport(&self, found: *mut PacketMeta, head: u64, len: u64) -> u64;
}

/// A packet of which one header is read, or several at fixed offsets.
pub(super) struct Here<R>(pub(super) R);

impl<R: Reader> PacketRead for Here<R> {
    type Stop = Skip;

    #[inline(always)]
    fn read<T: FromBytes + Immutable + KnownLayout + Copy>(&self, at: usize) -> Option<T> {
        self.0.read(at)
    }

    #[inline(always)]
    fn readable_len(&self) -> usize {
        self.0.readable_len()
    }

    #[inline(always)]
    fn wire_len(&self) -> usize {
        self.0.wire_len()
    }

    #[inline(always)]
    fn stripped_vlan(&self) -> Option<u16> {
        self.0.stripped_vlan()
    }

    #[inline(always)]
    fn segments(&self) -> (u16, u16) {
        self.0.segments()
    }
}

/// A packet whose headers are walked.
struct Walk<R> {
    reader: R,
    counters: Counters,
}

impl<R: Reader> PacketRead for Walk<R> {
    type Stop = Stop;

    #[inline(always)]
    fn read<T: FromBytes + Immutable + KnownLayout + Copy>(&self, at: usize) -> Option<T> {
        self.reader.read(at)
    }

    #[inline(always)]
    fn offset(&self, at: usize) -> usize {
        self.counters.forget(at as u64) as usize & OFFSET_MAX
    }

    #[inline(always)]
    fn extension(&self, head: Head) -> Result<Extension, Stop> {
        let found = maps::opaque(self.reader.extension(head_word(head)));
        match found >> 32 {
            0 => Ok(Extension { len: found as u16, next: (found >> 16) as u8, fragment: Fragment::of(found >> 24) }),
            skip => Err(Stop(skip)),
        }
    }

    #[inline(always)]
    fn transport(&self, head: Head, len: u32, meta: &mut PacketMeta) -> Result<(), Stop> {
        match maps::opaque(self.reader.transport(meta, head_word(head), u64::from(len))) {
            0 => Ok(()),
            skip => Err(Stop(skip)),
        }
    }

    #[inline(always)]
    fn readable_len(&self) -> usize {
        self.reader.readable_len()
    }

    #[inline(always)]
    fn wire_len(&self) -> usize {
        self.reader.wire_len()
    }

    #[inline(always)]
    fn stripped_vlan(&self) -> Option<u16> {
        self.reader.stripped_vlan()
    }

    #[inline(always)]
    fn segments(&self) -> (u16, u16) {
        self.reader.segments()
    }
}

/// Index of the counter of a skip.
struct Stop(u64);

impl From<Skip> for Stop {
    #[inline(always)]
    fn from(skip: Skip) -> Self {
        Self(skip.index() as u64)
    }
}

/// A header that another one announces, in the one word that a function takes.
#[inline(always)]
fn head_word(head: Head) -> u64 {
    u64::from(head.proto) | (head.fragment as u64) << 8 | (head.at as u64) << 16
}

#[inline(always)]
fn head_of(word: u64) -> Head {
    Head { proto: word as u8, fragment: Fragment::of(word >> 8 & 0xff), at: (word >> 16) as usize & OFFSET_MAX }
}

/// Walks the headers of a packet, and puts what they say to `meta`: zero, or the index of the counter of the skip.
#[inline(always)]
pub(super) fn walk<R: Reader>(reader: R, link: Link, meta: &mut PacketMeta) -> u64 {
    let Some(counters) = Counters::of_cpu(maps::cpu()) else { return 0 };
    match parse_any(&Walk { reader, counters }, link, meta) {
        Ok(()) => 0,
        Err(Stop(index)) => index,
    }
}

/// Reads one extension header: its length, what is next, and of which fragment, or the index of a counter above those.
#[inline(always)]
pub(super) fn read_extension<R: Reader>(reader: R, head: u64) -> u64 {
    match extension(&Here(reader), head_of(head)) {
        Ok(found) => u64::from(found.len) | u64::from(found.next) << 16 | (found.fragment as u64) << 24,
        Err(skip) => (skip.index() as u64) << 32,
    }
}

/// Reads a transport header and puts it to `meta`, as `walk` does.
#[inline(always)]
pub(super) fn read_transport<R: Reader>(reader: R, meta: &mut PacketMeta, head: u64, len: u64) -> u64 {
    match transport(&Here(reader), head_of(head), len as u32, meta) {
        Ok(()) => 0,
        Err(skip) => skip.index() as u64,
    }
}
