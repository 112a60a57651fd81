//! Features of one direction, from its slot: the same table for the initiator and for the answer.

use ids_common::flow::{FlowSlot, GAP_TICK_SHIFT, IDLE_TICK_SHIFT};

use super::{FeatureSpec, Scale, feature_table};

feature_table! {
    static FORWARD = "fwd_";
    static BACKWARD = "bwd_";
    fn values(slot: Option<&FlowSlot>) let (side, slot) = {
        let Some(slot) = slot else { return NOTHING };
        (Side::new(slot), slot)
    };

    {
        packets: "packets", Log, 0 to 1e12, "packets" => side.packets;
        bytes: "bytes", Log, 0 to 1e15, "network-layer bytes, IP headers included" => slot.bytes as f64;
        payload_bytes: "bytes", Log, 0 to 1e15, "transport payload bytes" => slot.payload_bytes as f64;
        header_bytes: "bytes", Log, 0 to 1e15, "bytes - payload_bytes" => slot.header_bytes() as f64;
        payload_packets: "packets", Log, 0 to 4.294967295e9, "packets with payload" => f64::from(slot.payload_packets);
        len_min: "bytes", Linear, 0 to 65535, "shortest packet" => f64::from(slot.len_min);
        len_max: "bytes", Linear, 0 to 65535, "longest packet" => f64::from(slot.len_max);
        len_mean: "bytes", Linear, 0 to 65535, "bytes / packets" => side.len_mean;
        len_std: "bytes", Linear, 0 to 65535, "sqrt(sum of squared lengths / packets - len_mean^2)"
            => std_dev(slot.len_sumsq as f64, side.packets, side.len_mean);
        iat_min: "us", Log, 0 to 4.4e9, "shortest time between consecutive packets; 0 for a single packet" => side.gap_min_us;
        iat_max: "us", Log, 0 to 4.4e9, "longest time between consecutive packets" => gap_us(slot.gap_max);
        iat_mean: "us", Log, 0 to 4.4e9, "(last packet - first packet) / (packets - 1); 0 for a single packet"
            => side.gap_mean_ticks * GAP_TICK_US;
        iat_std: "us", Log, 0 to 4.4e9, "sqrt(sum of squared times / (packets - 1) - iat_mean^2); 0 for a single packet"
            => std_dev(slot.gap_sumsq as f64, side.gaps, side.gap_mean_ticks) * GAP_TICK_US;
        fin: "packets", Log, 0 to 65535, "packets with FIN" => f64::from(slot.fin);
        syn: "packets", Log, 0 to 65535, "packets with SYN" => f64::from(slot.syn);
        rst: "packets", Log, 0 to 65535, "packets with RST" => f64::from(slot.rst);
        psh_share: "share", Linear, 0 to 1, "packets with PSH / packets" => f64::from(slot.psh) / side.packets;
        ack_share: "share", Linear, 0 to 1, "packets with ACK / packets" => f64::from(slot.ack) / side.packets;
        urg: "packets", Log, 0 to 255, "packets with URG" => f64::from(slot.urg);
        ecn: "packets", Log, 0 to 510, "packets with ECE + packets with CWR" => f64::from(slot.ece) + f64::from(slot.cwr);
        init_window: "bytes", Log, 0 to 65535, "TCP window of the first packet, unscaled" => f64::from(slot.init_window);
        ttl_range: "hops", Linear, 0 to 255, "largest TTL - smallest TTL"
            => f64::from(slot.ttl_max.saturating_sub(slot.ttl_min));
        idle_count: "silences", Log, 0 to 4.294967295e9, "silences longer than 1 s" => f64::from(slot.idle_count);
        idle_secs: "s", Log, 0 to 4.6e6, "sum of silences longer than 1 s" => idle_secs(slot.idle_sum);
        idle_max_secs: "s", Log, 0 to 4.6e6, "longest silence, if longer than 1 s" => idle_secs(slot.idle_max);
        active_share: "share", Linear, 0 to 1,
            "1 - idle_secs / (last packet - first packet); 1 where all packets came at one time"
            => side.active_share(slot);
        size_1: "bytes", Linear, 0 to 65535, "length of packet 1; 0 where there is none" => size(slot, 0);
        size_2: "bytes", Linear, 0 to 65535, "length of packet 2" => size(slot, 1);
        size_3: "bytes", Linear, 0 to 65535, "length of packet 3" => size(slot, 2);
        size_4: "bytes", Linear, 0 to 65535, "length of packet 4" => size(slot, 3);
        size_5: "bytes", Linear, 0 to 65535, "length of packet 5" => size(slot, 4);
        size_6: "bytes", Linear, 0 to 65535, "length of packet 6" => size(slot, 5);
        size_7: "bytes", Linear, 0 to 65535, "length of packet 7" => size(slot, 6);
        size_8: "bytes", Linear, 0 to 65535, "length of packet 8" => size(slot, 7);
        gap_2: "us", Log, 0 to 4.4e9, "time from packet 1 to packet 2; 0 where there is none" => gap(slot, 0);
        gap_3: "us", Log, 0 to 4.4e9, "time from packet 2 to packet 3" => gap(slot, 1);
        gap_4: "us", Log, 0 to 4.4e9, "time from packet 3 to packet 4" => gap(slot, 2);
        gap_5: "us", Log, 0 to 4.4e9, "time from packet 4 to packet 5" => gap(slot, 3);
        gap_6: "us", Log, 0 to 4.4e9, "time from packet 5 to packet 6" => gap(slot, 4);
        gap_7: "us", Log, 0 to 4.4e9, "time from packet 6 to packet 7" => gap(slot, 5);
        gap_8: "us", Log, 0 to 4.4e9, "time from packet 7 to packet 8" => gap(slot, 6);
    }
}

/// The values of a silent direction: every quantity is zero.
const NOTHING: [f32; COUNT] = {
    let mut values = [0.0; COUNT];
    let mut at = 0;
    while at < COUNT {
        values[at] = FORWARD[at].value(0.0);
        at += 1;
    }
    values
};

/// Microseconds in a tick of the slots' gaps.
const GAP_TICK_US: f64 = (1_u64 << GAP_TICK_SHIFT) as f64 / 1e3;

/// What several features need.
struct Side {
    packets: f64,
    /// Times between packets.
    gaps: f64,
    len_mean: f64,
    gap_mean_ticks: f64,
    gap_min_us: f64,
    span_secs: f64,
}

impl Side {
    fn new(slot: &FlowSlot) -> Self {
        let packets = slot.packets.max(1) as f64;
        let gaps = slot.packets.saturating_sub(1) as f64;
        let span_ns = slot.last_seen_ns.saturating_sub(slot.first_seen_ns) as f64;
        Self {
            packets,
            gaps,
            len_mean: slot.bytes as f64 / packets,
            gap_mean_ticks: if gaps > 0.0 { span_ns / gaps / (1_u64 << GAP_TICK_SHIFT) as f64 } else { 0.0 },
            gap_min_us: if slot.gap_min == u32::MAX { 0.0 } else { gap_us(slot.gap_min) },
            span_secs: span_ns / 1e9,
        }
    }

    fn active_share(&self, slot: &FlowSlot) -> f64 {
        if self.span_secs > 0.0 { 1.0 - idle_secs(slot.idle_sum) / self.span_secs } else { 1.0 }
    }
}

/// The standard deviation of `count` numbers of which sum of squares and mean are known.
fn std_dev(sum_of_squares: f64, count: f64, mean: f64) -> f64 {
    if count > 0.0 { (sum_of_squares / count - mean * mean).max(0.0).sqrt() } else { 0.0 }
}

fn gap_us(ticks: u32) -> f64 {
    f64::from(ticks) * GAP_TICK_US
}

fn idle_secs(ticks: u32) -> f64 {
    f64::from(ticks) * (1_u64 << IDLE_TICK_SHIFT) as f64 / 1e9
}

fn size(slot: &FlowSlot, at: usize) -> f64 {
    slot.first_sizes.get(at).copied().map_or(0.0, f64::from)
}

fn gap(slot: &FlowSlot, at: usize) -> f64 {
    slot.first_gaps.get(at).copied().map_or(0.0, gap_us)
}
