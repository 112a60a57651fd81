//! Reads packets where the kernel keeps them: the linear part of an XDP buffer or of an skb, and,
//! through helpers, what lies behind it. No decision about a packet is made here.
#![expect(unsafe_code, reason = "packet memory is reached through raw pointers")]

mod walk;

use core::mem::MaybeUninit;

use aya_ebpf::{
    EbpfContext as _,
    bindings::{__sk_buff, xdp_md},
    helpers::{bpf_skb_load_bytes, bpf_xdp_get_buff_len, bpf_xdp_load_bytes},
    programs::{TcContext, XdpContext},
};
use ids_common::{
    limits::OFFSET_MAX,
    message::FRONT_BYTES,
    parse::{Link, PacketMeta, parse_plain},
};
use zerocopy::{FromBytes, Immutable, KnownLayout};

use self::walk::{Here, Reader};
use crate::maps;

/// Parses a packet: what its headers say, or the index of the counter of its skip.
#[inline(always)]
pub(crate) fn parse<'a, P: Packet>(
    packet: &P,
    meta: &'a mut MaybeUninit<PacketMeta>,
) -> Result<&'a mut PacketMeta, usize> {
    let place = Place(meta.as_mut_ptr());
    match packet.parse(place) {
        0 => {
            maps::forget_place(place.0);
            // SAFETY: put down by either way of parsing.
            Ok(unsafe { meta.assume_init_mut() })
        }
        skip => Err(skip),
    }
}

/// Puts the interface's index into the key. A whole word is written, for it is read soon: a processor hands a load what a
/// store wrote only where the store wrote all of it.
#[inline(always)]
pub(crate) fn set_interface(meta: &mut PacketMeta, index: u8) {
    let [.., last] = meta.key.on_interface(index).words();
    // SAFETY: the key has five words.
    unsafe { (&raw mut meta.key).cast::<u64>().add(4).write_volatile(last) };
}

/// A packet that a program was called with.
pub(crate) trait Packet {
    type Context<'a>;

    fn new(context: Self::Context<'_>) -> Self;

    /// Puts down what the packet's headers say; gives the index of the counter of its skip, or zero.
    fn parse(&self, place: Place) -> usize;

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

/// The functions of one way to read a packet, and of one kind of context. They are global functions, which a verifier looks
/// at once and by themselves: whatever it has to tell apart on the way ends with them, and whatever stood before does not
/// matter in them.
macro_rules! functions {
    ($context:ty, $reader:expr, $walk:ident, $extension:ident, $transport:ident) => {
        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $walk(context: *mut $context, found: *mut PacketMeta, link: u64) -> u64 {
            // SAFETY: the verifier checks what callers give.
            let Some(found) = (unsafe { found.as_mut() }) else { return 0 };
            walk::walk($reader(context), if link == RAW_IP { Link::RawIp } else { Link::Ethernet }, found)
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $extension(context: *mut $context, head: u64) -> u64 {
            walk::read_extension($reader(context), head)
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $transport(context: *mut $context, found: *mut PacketMeta, head: u64, len: u64) -> u64 {
            // SAFETY: as in the walk.
            let Some(found) = (unsafe { found.as_mut() }) else { return 0 };
            walk::read_transport($reader(context), found, head, len)
        }
    };
}

const ETHERNET: u64 = 0;
const RAW_IP: u64 = 1;

functions!(xdp_md, XdpLinear::new, xdp_walk, xdp_extension, xdp_transport);
functions!(__sk_buff, SkbLinear::new, skb_walk, skb_extension, skb_transport);
functions!(__sk_buff, SkbWhole, whole_walk, whole_extension, whole_transport);

/// Where a packet's headers are put down. In memory, and the same for every way through the parser: brought together in
/// registers, they would be moved on and off the stack many times.
#[derive(Clone, Copy)]
pub(crate) struct Place(*mut PacketMeta);

impl Place {
    #[inline(always)]
    fn put(self, meta: PacketMeta) {
        for (at, word) in meta.words().into_iter().enumerate() {
            // SAFETY: a `PacketMeta` has room for its words.
            unsafe { self.0.cast::<u64>().add(at).write_volatile(word) };
        }
    }

    /// Puts there what a walk finds; says which counter counts its skip, zero for none.
    #[inline(always)]
    fn walk(self, walk: impl FnOnce(*mut PacketMeta) -> u64) -> usize {
        self.put(PacketMeta::default());
        // Opaque, for the compiler knows bounds of it that the verifier does not.
        let skip = maps::opaque(walk(self.0));
        for at in 0..size_of::<PacketMeta>() / size_of::<u64>() {
            // SAFETY: as in `put`. A verifier tells words written by a function from those written by an instruction.
            unsafe {
                let word = self.0.cast::<u64>().add(at);
                word.write_volatile(word.read_volatile());
            }
        }
        skip as usize
    }
}

/// A packet before the stack sees it.
pub(crate) struct XdpPacket {
    ctx: *mut xdp_md,
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

/// The linear part of an XDP buffer: all of it, but of packets larger than a page.
struct XdpLinear {
    ctx: *mut xdp_md,
    linear: Linear,
}

impl XdpLinear {
    #[inline(always)]
    fn new(ctx: *mut xdp_md) -> Self {
        let context = XdpContext::new(ctx);
        Self { ctx, linear: Linear { data: context.data(), data_end: context.data_end() } }
    }
}

impl Reader for XdpLinear {
    #[inline(always)]
    fn read<T: FromBytes + Immutable + KnownLayout + Copy>(&self, at: usize) -> Option<T> {
        self.linear.read(at)
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
        // SAFETY: the context is valid while the program runs.
        unsafe { bpf_xdp_get_buff_len(self.ctx) as usize }
    }

    #[inline(always)]
    fn stripped_vlan(&self) -> Option<u16> {
        None
    }

    #[inline(always)]
    fn segments(&self) -> (u16, u16) {
        (1, 0)
    }

    #[inline(always)]
    fn extension(&self, head: u64) -> u64 {
        xdp_extension(self.ctx, head)
    }

    #[inline(always)]
    fn transport(&self, found: *mut PacketMeta, head: u64, len: u64) -> u64 {
        xdp_transport(self.ctx, found, head, len)
    }
}

impl Packet for XdpPacket {
    type Context<'a> = &'a XdpContext;

    #[inline(always)]
    fn new(context: &XdpContext) -> Self {
        Self { ctx: context.ctx }
    }

    #[inline(always)]
    fn parse(&self, place: Place) -> usize {
        match parse_plain(&Here(XdpLinear::new(self.ctx)), Link::Ethernet, |meta| place.put(meta)) {
            Some(()) => 0,
            None => place.walk(|found| xdp_walk(self.ctx, found, ETHERNET)),
        }
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
        XdpLinear::new(self.ctx).read(at as usize & OFFSET_MAX)
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
}

impl SkbPacket {
    /// Headers are nearly always linear, whatever holds the payload; where they are not, the
    /// linear reader runs out and the packet is parsed again through helpers.
    #[inline(always)]
    fn parse_link(&self, link: Link, number: u64, place: Place) -> usize {
        let reader = SkbLinear::new(self.skb);
        let all_linear = reader.linear.len() >= reader.readable_len();
        if let Some(()) = parse_plain(&Here(reader), link, |meta| place.put(meta)) {
            return 0;
        }
        let skip = place.walk(|found| skb_walk(self.skb, found, number));
        if skip == 0 || all_linear {
            return skip;
        }
        place.walk(|found| whole_walk(self.skb, found, number))
    }
}

/// The linear part of an skb.
struct SkbLinear {
    skb: SkbWhole,
    linear: Linear,
}

impl SkbLinear {
    #[inline(always)]
    fn new(skb: *mut __sk_buff) -> Self {
        let context = TcContext::new(skb);
        Self { skb: SkbWhole(skb), linear: Linear { data: context.data(), data_end: context.data_end() } }
    }
}

impl Reader for SkbLinear {
    #[inline(always)]
    fn read<T: FromBytes + Immutable + KnownLayout + Copy>(&self, at: usize) -> Option<T> {
        self.linear.read(at)
    }

    /// Of all of the skb: what is claimed of the payload need not be linear.
    #[inline(always)]
    fn readable_len(&self) -> usize {
        self.skb.readable_len()
    }

    #[inline(always)]
    fn wire_len(&self) -> usize {
        self.skb.wire_len()
    }

    #[inline(always)]
    fn stripped_vlan(&self) -> Option<u16> {
        self.skb.stripped_vlan()
    }

    #[inline(always)]
    fn segments(&self) -> (u16, u16) {
        self.skb.segments()
    }

    #[inline(always)]
    fn extension(&self, head: u64) -> u64 {
        skb_extension(self.skb.0, head)
    }

    #[inline(always)]
    fn transport(&self, found: *mut PacketMeta, head: u64, len: u64) -> u64 {
        skb_transport(self.skb.0, found, head, len)
    }
}

/// All of an skb, a helper call for each read.
struct SkbWhole(*mut __sk_buff);

impl Reader for SkbWhole {
    #[inline(always)]
    fn read<T: FromBytes + Immutable + KnownLayout + Copy>(&self, at: usize) -> Option<T> {
        let mut value = MaybeUninit::<T>::uninit();
        // SAFETY: `value` has size_of::<T>() bytes, and the helper checks `at` against the packet.
        let result =
            unsafe { bpf_skb_load_bytes(self.0.cast(), at as u32, value.as_mut_ptr().cast(), size_of::<T>() as u32) };
        if result != 0 {
            return None;
        }
        // SAFETY: the helper wrote every byte, and any bytes are a valid T: FromBytes.
        Some(unsafe { value.assume_init() })
    }

    #[inline(always)]
    fn readable_len(&self) -> usize {
        TcContext::new(self.0).len() as usize
    }

    #[inline(always)]
    fn wire_len(&self) -> usize {
        maps::test_wire_len().map_or_else(|| self.readable_len(), |len| len as usize)
    }

    #[inline(always)]
    fn stripped_vlan(&self) -> Option<u16> {
        // SAFETY: the context is valid while the program runs, and the verifier checks the offsets.
        let (present, tci) = unsafe { ((*self.0).vlan_present, (*self.0).vlan_tci) };
        (present != 0).then_some(tci as u16 & 0x0fff)
    }

    #[inline(always)]
    fn segments(&self) -> (u16, u16) {
        // SAFETY: the context is valid while the program runs, and the verifier checks the offset.
        let size = unsafe { (*self.0).gso_size };
        if size == 0 {
            return (1, 0);
        }
        // SAFETY: as above. The count is missing on packets from a guest, which then count as one.
        let count = unsafe { (*self.0).gso_segs };
        (count as u16, size as u16)
    }

    #[inline(always)]
    fn extension(&self, head: u64) -> u64 {
        whole_extension(self.0, head)
    }

    #[inline(always)]
    fn transport(&self, found: *mut PacketMeta, head: u64, len: u64) -> u64 {
        whole_transport(self.0, found, head, len)
    }
}

impl Packet for SkbPacket {
    type Context<'a> = &'a TcContext;

    #[inline(always)]
    fn new(context: &TcContext) -> Self {
        Self { skb: context.as_ptr().cast() }
    }

    #[inline(always)]
    fn parse(&self, place: Place) -> usize {
        self.parse_link(Link::Ethernet, ETHERNET, place)
    }

    #[inline(always)]
    fn ifindex(&self) -> u32 {
        // SAFETY: the context is valid while the program runs, and the verifier checks the offset.
        unsafe { (*self.skb).ifindex }
    }

    #[inline(always)]
    fn captured_len(&self) -> u32 {
        TcContext::new(self.skb).len()
    }

    #[inline(always)]
    fn front(&self, at: u32) -> Option<[u8; FRONT_BYTES]> {
        let at = at as usize & OFFSET_MAX;
        // Read anew, as in `XdpPacket`.
        SkbLinear::new(self.skb).read(at).or_else(|| SkbWhole(self.skb).read(at))
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
    fn new(context: &TcContext) -> Self {
        Self(SkbPacket::new(context))
    }

    #[inline(always)]
    fn parse(&self, place: Place) -> usize {
        self.0.parse_link(Link::RawIp, RAW_IP, place)
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
