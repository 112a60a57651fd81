//! One direction of a flow: its key, its statistics, and the two operations on them, `update` and
//! `merge`.
//!
//! Slots form a monoid over time: a direction cut anywhere into consecutive slots merges to what
//! one uncut slot would hold. All statistics are therefore integers. Sums saturate, which keeps
//! merging associative.

use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, transmute};

use crate::{
    limits::{FIRST_PACKETS, IDLE_GAP_NS},
    parse::{PacketMeta, Segments, icmp_counterpart},
    wire,
};

/// A kind of tunnel whose outer flow is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Tunnel {
    None = 0,
    Gre = 1,
    Vxlan = 2,
    Geneve = 3,
    /// IPv4 in IP (protocol 4).
    Ipip = 4,
    /// IPv6 in IP (protocol 41).
    Ipv6 = 5,
}

impl Tunnel {
    pub const fn label(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gre => "gre",
            Self::Vxlan => "vxlan",
            Self::Geneve => "geneve",
            Self::Ipip => "ipip",
            Self::Ipv6 => "ipv6",
        }
    }
}

/// One direction of a flow, as the sender wrote it.
///
/// ICMP has its type in `src_port` and, in `dst_port`, the type of the expected answer or, for
/// one-way messages, the code (the mapping of community-id v1), so that swapping a request's key
/// gives its reply's. Later fragments and protocols without ports have zero in both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C, align(8))]
pub struct FlowKey {
    /// Source address, network order; IPv4 is mapped into `::ffff:0:0/96`.
    pub src: [u8; 16],
    pub dst: [u8; 16],
    pub src_port: u16,
    pub dst_port: u16,
    /// IP protocol number.
    pub proto: u8,
    /// Bits 0-2 tunnel, bit 3 later fragment, bits 4-7 interface index.
    pub kind: u8,
    /// Innermost VLAN id, zero without a tag.
    pub vlan: u16,
}

const KIND_TUNNEL: u8 = 0x07;
const KIND_FRAGMENT: u8 = 0x08;
const KIND_INTERFACE_SHIFT: u8 = 4;
/// Bits below the kind in the last word of a key.
const KIND_WORD_SHIFT: u32 = if cfg!(target_endian = "little") { 40 } else { 16 };

impl FlowKey {
    /// The key as five words, for hashing and comparing.
    #[inline(always)]
    pub fn words(&self) -> [u64; 5] {
        transmute!(*self)
    }

    /// Equality word by word: comparing byte arrays becomes a call that a BPF program cannot afford.
    #[inline(always)]
    pub fn same(&self, other: &Self) -> bool {
        let [a, b, c, d, e] = self.words();
        let [v, w, x, y, z] = other.words();
        // The words that differ most come first.
        (e ^ z) | (b ^ w) | (d ^ y) | (a ^ v) | (c ^ x) == 0
    }

    /// The opposite direction's key.
    pub fn reversed(&self) -> Self {
        Self { src: self.dst, dst: self.src, src_port: self.dst_port, dst_port: self.src_port, ..*self }
    }

    pub fn tunnel(&self) -> Tunnel {
        match self.kind & KIND_TUNNEL {
            1 => Tunnel::Gre,
            2 => Tunnel::Vxlan,
            3 => Tunnel::Geneve,
            4 => Tunnel::Ipip,
            5 => Tunnel::Ipv6,
            _ => Tunnel::None,
        }
    }

    /// Whether the key stands for fragments behind the first, which carry no ports.
    pub fn is_later_fragment(&self) -> bool {
        self.kind & KIND_FRAGMENT != 0
    }

    /// Whether nothing answers this message: an ICMP type without a counterpart.
    #[inline]
    pub fn is_one_way(&self) -> bool {
        matches!(self.proto, wire::PROTO_ICMP | wire::PROTO_ICMPV6)
            && !self.is_later_fragment()
            && icmp_counterpart(self.proto, self.src_port as u8).is_none()
    }

    /// Index of the interface, in the order of the configuration.
    pub fn interface(&self) -> u8 {
        self.kind >> KIND_INTERFACE_SHIFT
    }

    /// Whether both addresses are IPv4.
    pub fn is_ipv4(&self) -> bool {
        const MAPPED: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];
        self.src.starts_with(&MAPPED) && self.dst.starts_with(&MAPPED)
    }

    #[inline(always)]
    pub(crate) fn set_tunnel(&mut self, tunnel: Tunnel) {
        self.kind = (self.kind & !KIND_TUNNEL) | tunnel as u8;
    }

    #[inline(always)]
    pub(crate) fn set_later_fragment(&mut self) {
        self.kind |= KIND_FRAGMENT;
    }

    /// The same key on interface `index`, of which the low four bits count.
    #[inline(always)]
    pub fn on_interface(self, index: u8) -> Self {
        let [a, b, c, d, last] = self.words();
        let index = u64::from(index & 0x0f) << (KIND_WORD_SHIFT + u32::from(KIND_INTERFACE_SHIFT));
        transmute!([a, b, c, d, last & !(0xf0 << KIND_WORD_SHIFT) | index])
    }
}

/// Statistics of one direction over one stretch of time: three cache lines, of which a packet in
/// an established flow touches the first two.
///
/// Lengths are network-layer bytes (IP header included). Gaps are silences between consecutive
/// packets in ticks of 1,024 ns; idle times are in ticks of 2^20 ns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C, align(8))]
pub struct FlowSlot {
    pub key: FlowKey,
    pub last_seen_ns: u64,
    pub first_seen_ns: u64,
    pub packets: u64,

    pub bytes: u64,
    pub payload_bytes: u64,
    /// Sum of squared packet lengths, in bytes squared.
    pub len_sumsq: u64,
    /// Sum of squared gaps, in ticks squared.
    pub gap_sumsq: u64,
    /// `u32::MAX` before the second packet.
    pub gap_min: u32,
    pub gap_max: u32,
    pub payload_packets: u32,
    pub ack: u32,
    pub psh: u32,
    pub len_min: u16,
    pub len_max: u16,
    pub fin: u16,
    pub syn: u16,
    pub rst: u16,
    pub ttl_min: u8,
    pub ttl_max: u8,

    /// TCP flags of the first packet.
    pub first_flags: u8,
    pub urg: u8,
    pub ece: u8,
    pub cwr: u8,
    /// Packets kept in `first_sizes`.
    pub first_count: u8,
    /// One where the stretch began with a TCP handshake packet after other traffic of the same key.
    pub restarted: u8,
    /// TCP window of the first packet.
    pub init_window: u16,
    /// Gaps above `IDLE_GAP_NS`.
    pub idle_count: u32,
    pub idle_sum: u32,
    pub idle_max: u32,
    /// Gap in front of each of the first packets but the very first.
    pub first_gaps: [u32; FIRST_PACKETS - 1],
    pub first_sizes: [u16; FIRST_PACKETS],
}

/// Bits to shift nanoseconds by for gap ticks, and for idle ticks.
pub const GAP_TICK_SHIFT: u32 = 10;
pub const IDLE_TICK_SHIFT: u32 = 20;

/// Whether a packet goes on with the record of its direction or begins a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Continuity {
    Continues,
    /// The direction was silent for longer than a slot may span.
    AfterSilence,
    /// A TCP handshake packet of a new connection that reuses the key.
    NewConnection,
}

impl FlowSlot {
    /// The slot of a direction's first packet.
    #[inline(always)]
    pub fn begin(meta: &PacketMeta, now_ns: u64, continuity: Continuity) -> Self {
        let mut slot = Self::new_zeroed();
        slot.begin_zeroed(meta, now_ns, continuity);
        slot.count(meta, 0);
        slot
    }

    /// Turns a slot of zeroes into the slot of a direction's first packet, which is still to count: in
    /// place, because the kernel program has no room to build a slot elsewhere.
    #[inline(always)]
    pub fn begin_zeroed(&mut self, meta: &PacketMeta, now_ns: u64, continuity: Continuity) {
        self.key = meta.key;
        self.last_seen_ns = now_ns;
        self.first_seen_ns = now_ns;
        self.gap_min = u32::MAX;
        self.len_min = u16::MAX;
        self.ttl_min = meta.ttl;
        self.ttl_max = meta.ttl;
        self.first_flags = meta.tcp_flags;
        self.restarted = matches!(continuity, Continuity::NewConnection) as u8;
        self.init_window = meta.window;
    }

    /// Says how a packet relates to this slot. The flow's own end is decided in user space from
    /// both directions; this rule only guarantees that no slot spans two flows.
    #[inline(always)]
    pub fn continuity(&self, meta: &PacketMeta, now_ns: u64, slot_silence_ns: u64) -> Continuity {
        if now_ns.saturating_sub(self.last_seen_ns) > slot_silence_ns {
            return Continuity::AfterSilence;
        }
        // A retransmitted SYN, or SYN and ACK, stays with a slot that holds only such packets.
        if meta.tcp_flags & wire::TCP_SYN != 0 && u64::from(self.syn) != self.packets && self.syn != u16::MAX {
            return Continuity::NewConnection;
        }
        Continuity::Continues
    }

    /// Counts one more packet (or the segments of one super-packet) of this direction.
    #[inline(always)]
    pub fn update(&mut self, meta: &PacketMeta, now_ns: u64) {
        let gap_ticks = self.advance(meta, now_ns);
        self.count(meta, gap_ticks);
    }

    /// Everything about one more packet that depends on time, and its hops; gives what `count` wants to know of it.
    #[inline(always)]
    pub fn advance(&mut self, meta: &PacketMeta, now_ns: u64) -> u32 {
        let gap_ns = now_ns.saturating_sub(self.last_seen_ns);
        self.gap(gap_ns);
        if now_ns > self.last_seen_ns {
            self.last_seen_ns = now_ns;
        }
        self.ttl_min = self.ttl_min.min(meta.ttl);
        self.ttl_max = self.ttl_max.max(meta.ttl);
        gap_ticks(gap_ns)
    }

    /// Adds a silence of `gap_ns` before a packet.
    #[inline(always)]
    fn gap(&mut self, gap_ns: u64) {
        let ticks = gap_ticks(gap_ns);
        self.gap_sumsq = self.gap_sumsq.saturating_add(u64::from(ticks) * u64::from(ticks));
        self.gap_min = self.gap_min.min(ticks);
        self.gap_max = self.gap_max.max(ticks);
        if gap_ns > IDLE_GAP_NS {
            let idle = clamp_u32(gap_ns >> IDLE_TICK_SHIFT);
            self.idle_count = self.idle_count.saturating_add(1);
            self.idle_sum = self.idle_sum.saturating_add(idle);
            self.idle_max = self.idle_max.max(idle);
        }
    }

    /// Everything about a packet that does not depend on time.
    #[inline(always)]
    pub fn count(&mut self, meta: &PacketMeta, gap_ticks: u32) {
        if meta.segments > 1 {
            self.count_segments(meta, gap_ticks);
            return;
        }
        let len = u64::from(meta.len);
        self.packets = self.packets.saturating_add(1);
        self.bytes = self.bytes.saturating_add(len);
        self.len_sumsq = self.len_sumsq.saturating_add(len * len);
        let short = clamp_u16(meta.len);
        self.len_min = self.len_min.min(short);
        self.len_max = self.len_max.max(short);
        if meta.payload_len > 0 {
            self.payload_bytes = self.payload_bytes.saturating_add(u64::from(meta.payload_len));
            self.payload_packets = self.payload_packets.saturating_add(1);
        }
        self.flags(meta.tcp_flags);
        // `first_count` says the same, but lies in the cache line that later packets leave alone.
        if self.packets <= FIRST_PACKETS as u64 {
            self.push_first(short, gap_ticks);
        }
    }

    #[inline(always)]
    fn flags(&mut self, flags: u8) {
        if flags & wire::TCP_ACK != 0 {
            self.ack = self.ack.saturating_add(1);
        }
        if flags & wire::TCP_PSH != 0 {
            self.psh = self.psh.saturating_add(1);
        }
        if flags & !(wire::TCP_ACK | wire::TCP_PSH) == 0 {
            return;
        }
        self.fin = self.fin.saturating_add((flags & wire::TCP_FIN != 0) as u16);
        self.syn = self.syn.saturating_add((flags & wire::TCP_SYN != 0) as u16);
        self.rst = self.rst.saturating_add((flags & wire::TCP_RST != 0) as u16);
        self.urg = self.urg.saturating_add((flags & wire::TCP_URG != 0) as u8);
        self.ece = self.ece.saturating_add((flags & wire::TCP_ECE != 0) as u8);
        self.cwr = self.cwr.saturating_add((flags & wire::TCP_CWR != 0) as u8);
    }

    #[inline(always)]
    fn push_first(&mut self, len: u16, gap_ticks: u32) {
        let at = self.first_count as usize;
        if at >= FIRST_PACKETS {
            return;
        }
        if let Some(size) = self.first_sizes.get_mut(at) {
            *size = len;
        }
        if at > 0
            && let Some(gap) = self.first_gaps.get_mut(at - 1)
        {
            *gap = gap_ticks;
        }
        self.first_count = at as u8 + 1;
    }

    /// Unfolds a segmentation super-packet (TSO, GRO): every segment but the last carries
    /// `segment_payload` bytes, all are counted at one time, and FIN and PSH belong to the last.
    // Not `#[cold]`, which would put it into a section of its own: aya 0.14 tells functions apart by their offset alone.
    #[inline(never)]
    fn count_segments(&mut self, meta: &PacketMeta, gap_ticks: u32) {
        let Segments { full_count: before_last, full_len: full, last_len: last } = meta.unfold();
        // No frame comes near the bound, which keeps the products below 2^63: the BPF target has no
        // 128-bit product to saturate from.
        let square = |len: u32| u64::from(len.min(1 << 23)) * u64::from(len.min(1 << 23));
        let times = u64::from(before_last);

        self.packets = self.packets.saturating_add(times + 1);
        self.bytes = self.bytes.saturating_add(meta.bytes());
        self.len_sumsq = self.len_sumsq.saturating_add(times * square(full) + square(last));
        self.payload_bytes = self.payload_bytes.saturating_add(u64::from(meta.payload_len));
        self.payload_packets = self.payload_packets.saturating_add(u32::from(meta.segments));
        let (full16, last16) = (clamp_u16(full), clamp_u16(last));
        self.len_min = self.len_min.min(full16).min(last16);
        self.len_max = self.len_max.max(full16).max(last16);
        self.gap_min = 0;
        if meta.tcp_flags & wire::TCP_ACK != 0 {
            self.ack = self.ack.saturating_add(before_last);
        }
        self.flags(meta.tcp_flags);
        self.push_segments(full16, last16, meta.segments, gap_ticks);
    }

    /// Adds the sizes of a super-packet's segments. Each place is looked at in turn, so that every
    /// index is a constant once the loop is unrolled, as a BPF verifier likes it.
    #[inline(always)]
    fn push_segments(&mut self, full: u16, last: u16, segments: u16, gap_ticks: u32) {
        let taken = u16::from(self.first_count);
        for (place, size) in self.first_sizes.iter_mut().enumerate() {
            let Some(segment) = (place as u16).checked_sub(taken) else { continue };
            if segment >= segments {
                break;
            }
            *size = if segment + 1 == segments { last } else { full };
            if let Some(gap) = place.checked_sub(1).and_then(|before| self.first_gaps.get_mut(before)) {
                *gap = if segment == 0 { gap_ticks } else { 0 };
            }
        }
        self.first_count = taken.saturating_add(segments).min(FIRST_PACKETS as u16) as u8;
    }

    /// Appends `later`, a slot of the same direction that begins at or after this one's end.
    ///
    /// Where the two overlap in time (a direction spread over two receive queues) counts stay
    /// exact, and the gap between them is taken as zero.
    pub fn merge(&mut self, later: &Self) {
        let gap_ns = later.first_seen_ns.saturating_sub(self.last_seen_ns);
        self.gap(gap_ns);
        self.gap_sumsq = self.gap_sumsq.saturating_add(later.gap_sumsq);
        self.gap_min = self.gap_min.min(later.gap_min);
        self.gap_max = self.gap_max.max(later.gap_max);
        self.idle_count = self.idle_count.saturating_add(later.idle_count);
        self.idle_sum = self.idle_sum.saturating_add(later.idle_sum);
        self.idle_max = self.idle_max.max(later.idle_max);

        for at in 0..usize::from(later.first_count).min(FIRST_PACKETS) {
            let gap = match at.checked_sub(1) {
                None => gap_ticks(gap_ns),
                Some(before) => later.first_gaps.get(before).copied().unwrap_or(0),
            };
            self.push_first(later.first_sizes.get(at).copied().unwrap_or(0), gap);
        }

        self.first_seen_ns = self.first_seen_ns.min(later.first_seen_ns);
        self.last_seen_ns = self.last_seen_ns.max(later.last_seen_ns);
        self.packets = self.packets.saturating_add(later.packets);
        self.bytes = self.bytes.saturating_add(later.bytes);
        self.payload_bytes = self.payload_bytes.saturating_add(later.payload_bytes);
        self.len_sumsq = self.len_sumsq.saturating_add(later.len_sumsq);
        self.payload_packets = self.payload_packets.saturating_add(later.payload_packets);
        self.ack = self.ack.saturating_add(later.ack);
        self.psh = self.psh.saturating_add(later.psh);
        self.len_min = self.len_min.min(later.len_min);
        self.len_max = self.len_max.max(later.len_max);
        self.fin = self.fin.saturating_add(later.fin);
        self.syn = self.syn.saturating_add(later.syn);
        self.rst = self.rst.saturating_add(later.rst);
        self.urg = self.urg.saturating_add(later.urg);
        self.ece = self.ece.saturating_add(later.ece);
        self.cwr = self.cwr.saturating_add(later.cwr);
        self.ttl_min = self.ttl_min.min(later.ttl_min);
        self.ttl_max = self.ttl_max.max(later.ttl_max);
    }

    /// Whether the direction has shown more than a probe: such slots are the last to be evicted,
    /// so that a spoofed flood displaces itself.
    #[inline(always)]
    pub fn is_established(&self) -> bool {
        self.packets > 2
    }

    /// Bytes of network and transport headers.
    pub fn header_bytes(&self) -> u64 {
        self.bytes.saturating_sub(self.payload_bytes)
    }
}

#[inline(always)]
fn gap_ticks(gap_ns: u64) -> u32 {
    clamp_u32(gap_ns >> GAP_TICK_SHIFT)
}

#[inline(always)]
fn clamp_u32(value: u64) -> u32 {
    if value > u32::MAX as u64 { u32::MAX } else { value as u32 }
}

#[inline(always)]
fn clamp_u16(value: u32) -> u16 {
    if value > u16::MAX as u32 { u16::MAX } else { value as u16 }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test stops at the first thing that fails")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packet(len: u32, payload_len: u32, tcp_flags: u8, segments: u16) -> PacketMeta {
        PacketMeta {
            len,
            payload_len,
            tcp_flags,
            segments,
            segment_payload: if segments > 1 { (payload_len / u32::from(segments)).max(1) as u16 } else { 0 },
            ttl: (len % 255) as u8,
            window: len as u16,
            ..PacketMeta::default()
        }
    }

    fn one_slot(packets: &[(u64, PacketMeta)]) -> Option<FlowSlot> {
        let ((first_at, first), rest) = packets.split_first()?;
        let mut slot = FlowSlot::begin(first, *first_at, Continuity::Continues);
        for (at, meta) in rest {
            slot.update(meta, *at);
        }
        Some(slot)
    }

    prop_compose! {
        fn traffic()(packets in prop::collection::vec((0u64..5_000_000_000, 60u32..2_000, 0u32..1_400, any::<u8>(), 0u16..5), 1..40)) -> Vec<(u64, PacketMeta)> {
            let mut at = 1_000;
            packets.into_iter().map(|(gap, len, payload, flags, segments)| {
                at += gap;
                (at, packet(len.max(payload + 40), payload, flags, segments))
            }).collect()
        }
    }

    #[test]
    fn an_interface_stands_in_its_four_bits_of_the_kind_alone() {
        let mut key = packet(100, 60, 0, 1).key;
        key.set_tunnel(Tunnel::Vxlan);
        key.set_later_fragment();
        let on = key.on_interface(0x2b);
        assert_eq!((on.interface(), on.tunnel(), on.is_later_fragment()), (0x0b, Tunnel::Vxlan, true));
        assert_eq!(on.on_interface(0), key);
    }

    proptest! {
        #[test]
        fn slots_cut_anywhere_merge_to_the_uncut_slot(packets in traffic(), cuts in prop::collection::vec(0usize..40, 0..6)) {
            let mut bounds: Vec<usize> = cuts.into_iter().map(|c| c % (packets.len() + 1)).collect();
            bounds.extend([0, packets.len()]);
            bounds.sort_unstable();
            let merged = bounds
                .windows(2)
                .filter_map(|pair| one_slot(&packets[pair[0]..pair[1]]))
                .reduce(|mut earlier, later| { earlier.merge(&later); earlier });
            prop_assert_eq!(merged, one_slot(&packets));
        }

        #[test]
        fn merging_is_associative(packets in traffic(), first in 1usize..13, second in 13usize..26) {
            let (first, second) = (first.min(packets.len()), second.min(packets.len()));
            let parts = [&packets[..first], &packets[first..second], &packets[second..]].map(one_slot);
            if let [Some(a), Some(b), Some(c)] = parts {
                let (mut left, mut tail, mut right) = (a, b, a);
                left.merge(&b);
                left.merge(&c);
                tail.merge(&c);
                right.merge(&tail);
                prop_assert_eq!(left, right);
            }
        }
    }

    proptest! {
        #[test]
        fn a_super_packet_counts_as_the_packets_it_stands_for(
            before in traffic(), segments in 2u16..80, mss in 1u16..1_461, last in 1u32..1_461,
            headers in 40u32..101, flags in any::<u8>(), gap in 0u64..3_000_000_000,
        ) {
            let last = last.min(u32::from(mss));
            let payload_len = (u32::from(segments) - 1) * u32::from(mss) + last;
            let whole = PacketMeta {
                len: headers + payload_len,
                payload_len,
                segments,
                segment_payload: mss,
                tcp_flags: flags,
                ttl: 9,
                ..PacketMeta::default()
            };
            let mut folded = one_slot(&before).unwrap();
            let mut unfolded = folded;
            let at = folded.last_seen_ns + gap;
            folded.update(&whole, at);
            for segment in 1..=segments {
                let payload_len = if segment == segments { last } else { u32::from(mss) };
                let tcp_flags = if segment == segments { flags } else { flags & wire::TCP_ACK };
                let one = PacketMeta { len: headers + payload_len, payload_len, segments: 1, segment_payload: 0, tcp_flags, ..whole };
                unfolded.update(&one, at);
            }
            prop_assert_eq!(folded, unfolded);
            let counted = folded.bytes - one_slot(&before).unwrap().bytes;
            prop_assert_eq!(whole.bytes(), counted);
        }
    }

    #[test]
    fn a_super_packet_counts_as_its_segments() {
        let meta = PacketMeta {
            len: 40 + 2_500,
            payload_len: 2_500,
            segments: 3,
            segment_payload: 1_000,
            tcp_flags: wire::TCP_ACK | wire::TCP_PSH,
            ..PacketMeta::default()
        };
        let slot = FlowSlot::begin(&meta, 7, Continuity::Continues);
        assert_eq!((slot.packets, slot.bytes, slot.payload_bytes), (3, 2_620, 2_500));
        assert_eq!((slot.len_min, slot.len_max), (540, 1_040));
        assert_eq!((slot.ack, slot.psh, slot.first_count), (3, 1, 3));
        assert_eq!(slot.first_sizes[..3], [1_040, 1_040, 540]);
        assert_eq!(slot.len_sumsq, 2 * 1_040 * 1_040 + 540 * 540);
    }

    #[test]
    fn a_new_handshake_on_an_old_key_begins_a_new_record() {
        let syn = packet(60, 0, wire::TCP_SYN, 0);
        let mut slot = FlowSlot::begin(&syn, 0, Continuity::Continues);
        assert_eq!(slot.continuity(&syn, 5, 100), Continuity::Continues);
        slot.update(&packet(52, 0, wire::TCP_ACK, 0), 6);
        assert_eq!(slot.continuity(&syn, 7, 100), Continuity::NewConnection);
        assert_eq!(slot.continuity(&packet(52, 0, wire::TCP_ACK, 0), 106, 100), Continuity::Continues);
        assert_eq!(slot.continuity(&packet(52, 0, wire::TCP_ACK, 0), 107, 100), Continuity::AfterSilence);
    }

    #[test]
    fn addresses_of_both_families_are_told_apart() {
        let v4 = crate::parse::ipv4_mapped(u32::from_ne_bytes([192, 0, 2, 1]));
        let key = FlowKey { src: v4, dst: v4, ..PacketMeta::default().key };
        assert!(key.is_ipv4());
        assert!(!FlowKey { dst: [0x20; 16], ..key }.is_ipv4());
    }
}
