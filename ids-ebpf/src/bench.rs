//! Programs for benches alone: the agent neither verifies nor attaches them.

use aya_ebpf::{bindings::xdp_action, macros::xdp, programs::XdpContext};

use crate::{blocks::Heading, flows, packet::XdpPacket};

/// What a run costs by itself.
#[xdp(frags)]
fn bench_empty(_ctx: XdpContext) -> u32 {
    xdp_action::XDP_PASS
}

/// Sends the packet out of the interface that it is said to have come from.
#[xdp(frags)]
fn bench_send(_ctx: XdpContext) -> u32 {
    xdp_action::XDP_TX
}

/// The whole program on a packet whose IPv4 source address is drawn anew each time.
#[xdp(frags)]
fn bench_random(ctx: XdpContext) -> u32 {
    XdpPacket::randomise_source(&ctx);
    flows::observe::<XdpPacket>(&ctx, Heading::In);
    xdp_action::XDP_PASS
}
