//! What the line is told of the interfaces, tick by tick.

use crate::{http::AttachState, pipeline::SourceState, source::live::LiveSource};

pub(super) fn observe(source: &LiveSource) -> SourceState {
    let kernel = source.kernel();
    let attached = kernel.ways().into_iter().map(|(interface, mode, direction, attached)| AttachState {
        interface: interface.to_owned(),
        mode,
        direction,
        attached,
    });
    SourceState {
        attached: attached.collect(),
        blind: kernel.blind(),
        gap_packets: kernel.gap_packets(),
        ring_bytes: u64::from(kernel.ring_bytes()),
        ring_used_bytes: kernel.stats().ring_fill_bytes,
        map_bytes: kernel.map_bytes(),
        run_time: kernel.run_time(),
    }
}
