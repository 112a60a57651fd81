//! Bounded per-host windows: what the hosts of a flow did around the time of the flow.
//!
//! Time is the packets' own. Each host's past two minutes are kept in buckets of five seconds, as
//! source and as target apart; `_10s` looks at the flow's bucket and the two before it, `_60s` at
//! the twelve before it, so they span 10 to 15 and 60 to 65 seconds.

use crate::{config::WindowSettings, flow::FlowRecord, payload::PayloadFacts};

macro_rules! window_facts {
    ($($name:ident, $unit:literal, $low:literal, $high:literal, $doc:literal;)*) => {
        /// What is known of a flow's source, target and service around its time.
        #[derive(Clone, Copy, Debug, Default, PartialEq)]
        pub struct WindowFacts {
            $(#[doc = $doc] pub $name: f32,)*
        }

        impl WindowFacts {
            pub const COUNT: usize = [$(stringify!($name),)*].len();
            pub const NAMES: [&'static str; Self::COUNT] = [$(stringify!($name),)*];
            /// Name, unit, range and formula of each value, in the order of `values`.
            pub const SPECS: [WindowSpec; Self::COUNT] = [
                $(WindowSpec { name: stringify!($name), unit: $unit, low: $low, high: $high, doc: $doc },)*
            ];

            pub const fn values(&self) -> [f32; Self::COUNT] {
                [$(self.$name,)*]
            }
        }
    };
}

/// Describes one window value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WindowSpec {
    pub name: &'static str,
    pub unit: &'static str,
    pub low: f32,
    pub high: f32,
    pub doc: &'static str,
}

window_facts! {
    src_flows_10s, "flows", 0.0, 1e6, "flows that the source began";
    src_flows_60s, "flows", 0.0, 1e6, "flows that the source began";
    src_peers_10s, "hosts", 0.0, 2e3, "distinct targets of the source";
    src_peers_60s, "hosts", 0.0, 2e3, "distinct targets of the source";
    src_ports_10s, "ports", 0.0, 2e3, "distinct target ports of the source";
    src_ports_60s, "ports", 0.0, 2e3, "distinct target ports of the source";
    src_unanswered_10s, "share", 0.0, 1.0, "share of the source's flows without any packet back";
    src_unanswered_60s, "share", 0.0, 1.0, "share of the source's flows without any packet back";
    src_refused_10s, "share", 0.0, 1.0, "share of the source's flows answered by RST, or by an ICMP error, before any payload";
    src_refused_60s, "share", 0.0, 1.0, "share of the source's flows answered by RST, or by an ICMP error, before any payload";
    src_syn_only_10s, "share", 0.0, 1.0, "share of the source's flows in which it sent SYN and nothing but SYN or RST";
    src_empty_60s, "share", 0.0, 1.0, "share of the source's flows without payload in either direction";
    src_packets_10s, "packets", 0.0, 1e8, "packets that the source sent in flows it began";
    src_bytes_per_flow_60s, "bytes", 0.0, 1e9, "bytes the source sent, per flow it began";
    dst_flows_10s, "flows", 0.0, 1e6, "flows begun towards the target";
    dst_flows_60s, "flows", 0.0, 1e6, "flows begun towards the target";
    dst_sources_10s, "hosts", 0.0, 2e3, "distinct sources of flows towards the target";
    dst_sources_60s, "hosts", 0.0, 2e3, "distinct sources of flows towards the target";
    dst_ports_10s, "ports", 0.0, 2e3, "distinct ports tried on the target";
    dst_ports_60s, "ports", 0.0, 2e3, "distinct ports tried on the target";
    dst_unanswered_10s, "share", 0.0, 1.0, "share of flows towards the target without any packet back";
    dst_unanswered_60s, "share", 0.0, 1.0, "share of flows towards the target without any packet back";
    dst_syn_only_10s, "share", 0.0, 1.0, "share of flows towards the target with nothing but SYN or RST from their source";
    dst_empty_60s, "share", 0.0, 1.0, "share of flows towards the target without payload in either direction";
    dst_packets_10s, "packets", 0.0, 1e8, "packets sent to the target in flows begun towards it";
    dst_bytes_per_flow_60s, "bytes", 0.0, 1e9, "bytes sent to the target, per flow begun towards it";
    pair_flows_10s, "flows", 0.0, 1e6, "flows from this source to this target";
    pair_flows_60s, "flows", 0.0, 1e6, "flows from this source to this target";
    pair_ports_10s, "ports", 0.0, 2e3, "distinct ports this source tried on this target";
    pair_ports_60s, "ports", 0.0, 2e3, "distinct ports this source tried on this target";
    pair_unanswered_60s, "share", 0.0, 1.0, "share of flows from this source to this target without any packet back";
    service_flows_10s, "flows", 0.0, 1e6, "flows from this source to this port of this target";
    service_flows_60s, "flows", 0.0, 1e6, "flows from this source to this port of this target";
    service_login_60s, "flows", 0.0, 1e6, "those of them to a service that asks for a login";
    service_failed_logins_60s, "flows", 0.0, 1e6, "those of them in which a login in clear was seen to fail";
    service_open_60s, "flows", 0.0, 1e6, "those of them that carried payload and have not ended";
    service_size_spread_60s, "ratio", 0.0, 10.0, "standard deviation over mean of the source's bytes in those that ended; 0 for fewer than two";
    service_secs_60s, "s", 0.0, 300.0, "mean duration of those that ended";
}

/// The windows of all hosts. Bounded; the idlest host goes first, counted.
#[derive(Debug)]
pub struct HostWindows {}

/// Running totals of `HostWindows`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WindowStats {
    pub sources: u64,
    pub targets: u64,
    pub pairs: u64,
    pub services: u64,
    /// Entries that had to go before their time.
    pub sources_evicted: u64,
    pub targets_evicted: u64,
    pub pairs_evicted: u64,
    pub services_evicted: u64,
    /// Flows whose mark was lost, so that they may count twice.
    pub marks_evicted: u64,
}

impl HostWindows {
    pub fn new(_settings: &WindowSettings) -> Self {
        Self {}
    }

    /// Counts what is new in a record since it was last seen.
    pub fn observe(&mut self, _record: &FlowRecord, _payload: &PayloadFacts) {}

    /// The windows around a flow's time.
    pub fn facts(&self, _record: &FlowRecord) -> WindowFacts {
        WindowFacts::default()
    }

    pub fn stats(&self) -> WindowStats {
        WindowStats::default()
    }
}
