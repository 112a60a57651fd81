//! Entries of the kernel programs: XDP, tc ingress and tc egress share one body, and every packet
//! passes whatever becomes of its record, unless its source is blocked. No packet access and no map access here.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod bench;
mod blocks;
mod counters;
mod flows;
mod maps;
mod packet;
mod samples;

use aya_ebpf::{
    bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC, xdp_action},
    macros::{classifier, xdp},
    programs::{TcContext, XdpContext},
};

use crate::{
    blocks::{Fate, Heading},
    counters::Counters,
    packet::{IpPacket, SkbPacket, XdpPacket},
};

#[xdp(frags)]
fn ids_xdp(ctx: XdpContext) -> u32 {
    match flows::observe::<XdpPacket>(&ctx, Heading::In) {
        Fate::Passes => xdp_action::XDP_PASS,
        Fate::Dropped => xdp_action::XDP_DROP,
    }
}

/// Leaves the decision on what is not blocked to whatever program or filter comes next.
#[classifier]
fn ids_tc_ingress(ctx: TcContext) -> i32 {
    match flows::observe::<SkbPacket>(&ctx, Heading::In) {
        Fate::Passes => TC_ACT_UNSPEC,
        Fate::Dropped => TC_ACT_SHOT,
    }
}

#[classifier]
fn ids_tc_egress(ctx: TcContext) -> i32 {
    flows::observe::<SkbPacket>(&ctx, Heading::Out);
    TC_ACT_UNSPEC
}

/// The same for interfaces without link headers.
#[classifier]
fn ids_tc_ip_in(ctx: TcContext) -> i32 {
    match flows::observe::<IpPacket>(&ctx, Heading::In) {
        Fate::Passes => TC_ACT_UNSPEC,
        Fate::Dropped => TC_ACT_SHOT,
    }
}

#[classifier]
fn ids_tc_ip_out(ctx: TcContext) -> i32 {
    flows::observe::<IpPacket>(&ctx, Heading::Out);
    TC_ACT_UNSPEC
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
