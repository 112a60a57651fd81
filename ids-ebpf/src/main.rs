//! Entries of the kernel programs: XDP, tc ingress and tc egress share one body, and every packet
//! passes whatever becomes of its record. No packet access and no map access here.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod bench;
mod counters;
mod flows;
mod maps;
mod packet;
mod samples;

use aya_ebpf::{
    bindings::{TC_ACT_UNSPEC, xdp_action},
    macros::{classifier, xdp},
    programs::{TcContext, XdpContext},
};

use crate::{
    counters::Counters,
    packet::{SkbPacket, XdpPacket},
};

#[xdp(frags)]
fn ids_xdp(ctx: XdpContext) -> u32 {
    flows::observe::<XdpPacket>(&ctx);
    xdp_action::XDP_PASS
}

/// Leaves the decision to whatever program or filter comes next.
#[classifier]
fn ids_tc_ingress(ctx: TcContext) -> i32 {
    flows::observe::<SkbPacket>(&ctx);
    TC_ACT_UNSPEC
}

#[classifier]
fn ids_tc_egress(ctx: TcContext) -> i32 {
    flows::observe::<SkbPacket>(&ctx);
    TC_ACT_UNSPEC
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
