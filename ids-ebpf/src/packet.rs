//! Reads packets where the kernel keeps them: the linear part of an XDP buffer or of an skb, and,
//! through helpers, what lies behind it. No decision about a packet is made here.
#![expect(unsafe_code, reason = "packet memory is reached through raw pointers")]

use core::mem::MaybeUninit;

use aya_ebpf::{
    EbpfContext as _,
    bindings::{__sk_buff, xdp_md},
    helpers::{bpf_skb_load_bytes, bpf_xdp_get_buff_len, bpf_xdp_load_bytes},
    programs::{TcContext, XdpContext},
};
use ids_common::{
    counter::Skip,
    limits::OFFSET_MAX,
    message::FRONT_BYTES,
    parse::{Link, PacketMeta, PacketRead, parse},
};
use zerocopy::{FromBytes, Immutable, KnownLayout};

use crate::{counters::Counters, maps};

/// A packet that a program was called with.
pub(crate) trait Packet {
    type Context<'a>;

    fn new(context: Self::Context<'_>, counters: Counters) -> Self;

    fn parse(&self) -> Result<PacketMeta, Skip>;

    /// Interface that the packet came in on, or goes out of.
    fn ifindex(&self) -> u32;

    /// Bytes that `copy` can reach.
    fn captured_len(&self) -> u32;

    /// The bytes from `at` on, if they are there.
    fn front(&self, at: u32) -> Option<[u8; FRONT_BYTES]>;

    /// Copies `len` bytes, 1 to `N`, from byte `at`; says whether they were there.
    fn copy<const N: usize>(&self, at: u32, len: u32, into: &mut [MaybeUninit<u8>; N]) -> bool;
}

/// The bytes between `data` and `data_end`, which programs read without a helper.
#[derive(Clone, Copy)]
struct Linear {
    data: usize,
    data_end: usize,
}

impl Linear {
    #[inline(always)]
    fn read<T: FromBytes + Copy>(self, at: usize) -> Option<T> {
        let start = self.data + at;
        if start + size_of::<T>() > self.data_end {
            return None;
        }
        // SAFETY: start + size_of::<T>() <= data_end was checked above, and any bytes are a valid
        // T: FromBytes. The architectures that the agent supports load from any address; the
        // verifier refuses the program where the kernel cannot.
        Some(unsafe { *(start as *const T) })
    }

    #[inline(always)]
    fn len(self) -> usize {
        self.data_end - self.data
    }
}

/// A packet before the stack sees it.
pub(crate) struct XdpPacket {
    ctx: *mut xdp_md,
    linear: Linear,
    counters: Counters,
}

impl XdpPacket {
    /// Overwrites the IPv4 source address of a plain Ethernet frame, for benches.
    #[inline(always)]
    pub(crate) fn randomise_source(context: &XdpContext) {
        const SOURCE_AT: usize = 14 + 12;
        let start = context.data() + SOURCE_AT;
        if start + size_of::<u32>() <= context.data_end() {
            // SAFETY: the four bytes lie inside the packet, as checked above.
            unsafe { *(start as *mut u32) = maps::random_source() };
        }
    }
}

impl PacketRead for XdpPacket {
    #[inline(always)]
    fn read<T: FromBytes + Immutable + KnownLayout + Copy>(&self, at: usize) -> Option<T> {
        self.linear.read(at)
    }

    #[inline(always)]
    fn offset(&self, at: usize) -> usize {
        self.counters.forget(at as u64) as usize & OFFSET_MAX
    }

    #[inline(always)]
    fn readable_len(&self) -> usize {
        self.linear.len()
    }

    #[inline(always)]
    fn wire_len(&self) -> usize {
        if let Some(len) = maps::test_wire_len() {
            return len as usize;
        }
        self.captured_len() as usize
    }
}

impl Packet for XdpPacket {
    type Context<'a> = &'a XdpContext;

    #[inline(always)]
    fn new(context: &XdpContext, counters: Counters) -> Self {
        Self { ctx: context.ctx, linear: Linear { data: context.data(), data_end: context.data_end() }, counters }
    }

    #[inline(always)]
    fn parse(&self) -> Result<PacketMeta, Skip> {
        parse(self, Link::Ethernet)
    }

    #[inline(always)]
    fn ifindex(&self) -> u32 {
        // SAFETY: the context is valid while the program runs, and the verifier checks the offset.
        unsafe { (*self.ctx).ingress_ifindex }
    }

    #[inline(always)]
    fn captured_len(&self) -> u32 {
        // SAFETY: the context is valid while the program runs.
        unsafe { bpf_xdp_get_buff_len(self.ctx) as u32 }
    }

    #[inline(always)]
    fn front(&self, at: u32) -> Option<[u8; FRONT_BYTES]> {
        // Read anew: were the bounds kept from the parser on, all between would be verified for each depth that it reached.
        let context = XdpContext::new(self.ctx);
        let linear = Linear { data: context.data(), data_end: context.data_end() };
        linear.read(self.offset(at as usize))
    }

    #[inline(always)]
    fn copy<const N: usize>(&self, at: u32, len: u32, into: &mut [MaybeUninit<u8>; N]) -> bool {
        let Some(len) = bounded::<N>(len) else { return false };
        // SAFETY: `into` has N bytes and `len` is at most N; the helper checks `at` itself.
        unsafe { bpf_xdp_load_bytes(self.ctx, at, into.as_mut_ptr().cast(), len) == 0 }
    }
}

/// A packet inside the stack: it may be a super-packet, may have lost its VLAN tag to the NIC, and
/// keeps only as much in its linear part as its sender put there.
pub(crate) struct SkbPacket {
    skb: *mut __sk_buff,
    linear: Linear,
    len: u32,
    counters: Counters,
}

impl SkbPacket {
    #[inline(always)]
    fn wire_len(&self) -> usize {
        maps::test_wire_len().unwrap_or(self.len) as usize
    }

    #[inline(always)]
    fn stripped_vlan(&self) -> Option<u16> {
        // SAFETY: the context is valid while the program runs, and the verifier checks the offsets.
        let (present, tci) = unsafe { ((*self.skb).vlan_present, (*self.skb).vlan_tci) };
        (present != 0).then_some(tci as u16 & 0x0fff)
    }

    #[inline(always)]
    fn segments(&self) -> (u16, u16) {
        // SAFETY: the context is valid while the program runs, and the verifier checks the offset.
        let size = unsafe { (*self.skb).gso_size };
        if size == 0 {
            return (1, 0);
        }
        // SAFETY: as above. The count is missing on packets from a guest, which then count as one.
        let count = unsafe { (*self.skb).gso_segs };
        (count as u16, size as u16)
    }
}

/// The linear part of an skb.
struct SkbLinear<'a>(&'a SkbPacket);

impl PacketRead for SkbLinear<'_> {
    #[inline(always)]
    fn read<T: FromBytes + Immutable + KnownLayout + Copy>(&self, at: usize) -> Option<T> {
        self.0.linear.read(at)
    }

    #[inline(always)]
    fn offset(&self, at: usize) -> usize {
        self.0.counters.forget(at as u64) as usize & OFFSET_MAX
    }

    #[inline(always)]
    fn readable_len(&self) -> usize {
        self.0.linear.len()
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

/// All of an skb, a helper call for each read.
struct SkbWhole<'a>(&'a SkbPacket);

impl PacketRead for SkbWhole<'_> {
    #[inline(always)]
    fn read<T: FromBytes + Immutable + KnownLayout + Copy>(&self, at: usize) -> Option<T> {
        let mut value = MaybeUninit::<T>::uninit();
        // SAFETY: `value` has size_of::<T>() bytes, and the helper checks `at` against the packet.
        let result = unsafe {
            bpf_skb_load_bytes(self.0.skb.cast(), at as u32, value.as_mut_ptr().cast(), size_of::<T>() as u32)
        };
        if result != 0 {
            return None;
        }
        // SAFETY: the helper wrote every byte, and any bytes are a valid T: FromBytes.
        Some(unsafe { value.assume_init() })
    }

    #[inline(always)]
    fn offset(&self, at: usize) -> usize {
        self.0.counters.forget(at as u64) as usize & OFFSET_MAX
    }

    #[inline(always)]
    fn readable_len(&self) -> usize {
        self.0.len as usize
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

impl Packet for SkbPacket {
    type Context<'a> = &'a TcContext;

    #[inline(always)]
    fn new(context: &TcContext, counters: Counters) -> Self {
        Self {
            skb: context.as_ptr().cast(),
            linear: Linear { data: context.data(), data_end: context.data_end() },
            len: context.len(),
            counters,
        }
    }

    /// Headers are nearly always linear, whatever holds the payload; where they are not, the
    /// linear reader runs out and the packet is parsed again through helpers.
    #[inline(always)]
    fn parse(&self) -> Result<PacketMeta, Skip> {
        match parse(&SkbLinear(self), Link::Ethernet) {
            Err(_) if self.linear.len() < self.len as usize => parse(&SkbWhole(self), Link::Ethernet),
            outcome => outcome,
        }
    }

    #[inline(always)]
    fn ifindex(&self) -> u32 {
        // SAFETY: the context is valid while the program runs, and the verifier checks the offset.
        unsafe { (*self.skb).ifindex }
    }

    #[inline(always)]
    fn captured_len(&self) -> u32 {
        self.len
    }

    #[inline(always)]
    fn front(&self, at: u32) -> Option<[u8; FRONT_BYTES]> {
        let at = self.counters.forget(u64::from(at)) as usize & OFFSET_MAX;
        // Read anew, as in `XdpPacket`.
        let context = TcContext::new(self.skb);
        let linear = Linear { data: context.data(), data_end: context.data_end() };
        linear.read(at).or_else(|| SkbWhole(self).read(at))
    }

    #[inline(always)]
    fn copy<const N: usize>(&self, at: u32, len: u32, into: &mut [MaybeUninit<u8>; N]) -> bool {
        let Some(len) = bounded::<N>(len) else { return false };
        // SAFETY: `into` has N bytes and `len` is at most N; the helper checks `at` itself.
        unsafe { bpf_skb_load_bytes(self.skb.cast(), at, into.as_mut_ptr().cast(), len) == 0 }
    }
}

/// A packet inside the stack of an interface without link headers: WireGuard, PPP, tun.
pub(crate) struct IpPacket(SkbPacket);

impl Packet for IpPacket {
    type Context<'a> = &'a TcContext;

    #[inline(always)]
    fn new(context: &TcContext, counters: Counters) -> Self {
        Self(SkbPacket::new(context, counters))
    }

    /// Through helpers alone: both ways would take more than the verifier's budget, and what a tunnel costs by itself is
    /// many times that of a few calls.
    #[inline(always)]
    fn parse(&self) -> Result<PacketMeta, Skip> {
        parse(&SkbWhole(&self.0), Link::RawIp)
    }

    #[inline(always)]
    fn ifindex(&self) -> u32 {
        self.0.ifindex()
    }

    #[inline(always)]
    fn captured_len(&self) -> u32 {
        self.0.captured_len()
    }

    #[inline(always)]
    fn front(&self, at: u32) -> Option<[u8; FRONT_BYTES]> {
        self.0.front(at)
    }

    #[inline(always)]
    fn copy<const N: usize>(&self, at: u32, len: u32, into: &mut [MaybeUninit<u8>; N]) -> bool {
        self.0.copy(at, len, into)
    }
}

/// A length from 1 to `N`, in a form that the verifier sees: the compiler knows the bounds from
/// elsewhere and would drop the comparison that the verifier needs here.
#[inline(always)]
fn bounded<const N: usize>(len: u32) -> Option<u32> {
    // Verifiers before Linux 6.8 learn no lower bound from a comparison with zero, so the length is compared less one.
    let below = maps::opaque(u64::from(len.wrapping_sub(1)));
    (below < N as u64).then(|| below as u32 + 1)
}
