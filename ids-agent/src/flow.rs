//! Joins the slots of both directions into flow records. Pure: time comes with the batch.
//!
//! This file says what a record is; `flow/table.rs` how slots become records.

use std::{
    borrow::Cow,
    net::{IpAddr, Ipv6Addr},
};

use ids_common::{
    flow::{FlowKey, FlowSlot},
    wire,
};
use serde::Serialize;

mod expiry;
mod joined;
mod oldest;
mod orphans;
mod side;
mod table;

pub use table::FlowTable;

/// Why a flow's last record was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FlowEnd {
    /// FIN in both directions.
    Fin,
    /// RST in either direction.
    Rst,
    /// Silence longer than the idle timeout.
    Idle,
    /// A new connection took the same key.
    Reused,
    /// The table of joined flows was full.
    Evicted,
    /// The source ended, or the agent stopped.
    Stopped,
}

impl FlowEnd {
    pub const ALL: [Self; 6] = [Self::Fin, Self::Rst, Self::Idle, Self::Reused, Self::Evicted, Self::Stopped];

    /// The name in metrics, tables and JSON.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Fin => "fin",
            Self::Rst => "rst",
            Self::Idle => "idle",
            Self::Reused => "reused",
            Self::Evicted => "evicted",
            Self::Stopped => "stopped",
        }
    }
}

/// Whether a record is the flow's last word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FlowState {
    /// A record of a flow that goes on; counts are cumulative.
    Open,
    Ended(FlowEnd),
}

impl FlowState {
    /// `open`, or the reason of the end.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Ended(end) => end.label(),
        }
    }
}

/// A joined flow: cumulative statistics of both directions.
#[derive(Clone, Debug, PartialEq)]
pub struct FlowRecord {
    /// Names the flow within a run and on replay: derived from key and start, below 2^52, so that
    /// every JSON reader keeps it exact.
    pub id: u64,
    /// The initiator's direction.
    pub key: FlowKey,
    pub forward: FlowSlot,
    pub backward: Option<FlowSlot>,
    pub start_ns: u64,
    pub end_ns: u64,
    pub state: FlowState,
}

impl FlowRecord {
    pub fn duration_ns(&self) -> u64 {
        self.end_ns.saturating_sub(self.start_ns)
    }

    /// Packets of both directions.
    pub fn packets(&self) -> u64 {
        self.forward.packets.saturating_add(self.backward.as_ref().map_or(0, |slot| slot.packets))
    }

    /// Network-layer bytes of both directions.
    pub fn bytes(&self) -> u64 {
        self.forward.bytes.saturating_add(self.backward.as_ref().map_or(0, |slot| slot.bytes))
    }

    /// Transport payload bytes of both directions.
    pub fn payload_bytes(&self) -> u64 {
        self.forward.payload_bytes.saturating_add(self.backward.as_ref().map_or(0, |slot| slot.payload_bytes))
    }

    /// Whether the other side ever answered.
    pub fn has_reply(&self) -> bool {
        self.backward.is_some()
    }

    pub fn is_ended(&self) -> bool {
        matches!(self.state, FlowState::Ended(_))
    }

    pub fn src_addr(&self) -> IpAddr {
        address(&self.key, self.key.src)
    }

    pub fn dst_addr(&self) -> IpAddr {
        address(&self.key, self.key.dst)
    }

    /// The protocol's name as EVE writes it, or its number.
    pub fn proto_label(&self) -> Cow<'static, str> {
        proto_label(self.key.proto)
    }

    /// Community-id v1, see `community_id`.
    pub fn community_id(&self) -> String {
        community_id(&self.key)
    }
}

/// Community-id v1 with seed 0 (<https://github.com/corelight/community-id-spec>). Later fragments
/// count as a flow with ports zero.
pub fn community_id(key: &FlowKey) -> String {
    let ports = match key.proto {
        wire::PROTO_TCP | wire::PROTO_UDP | wire::PROTO_SCTP => true,
        wire::PROTO_ICMP | wire::PROTO_ICMPV6 => !key.is_later_fragment(),
        _ => false,
    };
    let (src_port, dst_port) = if ports { (Some(key.src_port), Some(key.dst_port)) } else { (None, None) };
    let (src, dst) = (address(key, key.src), address(key, key.dst));
    // The only refusals are a missing port and mixed families, and neither can be here.
    community_id::calculate_community_id(0, src, dst, src_port, dst_port, key.proto, false).unwrap_or_default()
}

/// The protocol's name as EVE writes it, or its number.
pub fn proto_label(proto: u8) -> Cow<'static, str> {
    match proto {
        wire::PROTO_ICMP => "ICMP".into(),
        wire::PROTO_IPIP => "IPIP".into(),
        wire::PROTO_TCP => "TCP".into(),
        wire::PROTO_UDP => "UDP".into(),
        wire::PROTO_IPV6 => "IPv6".into(),
        wire::PROTO_GRE => "GRE".into(),
        wire::PROTO_ICMPV6 => "IPv6-ICMP".into(),
        wire::PROTO_SCTP => "SCTP".into(),
        other => format!("{other:03}").into(),
    }
}

/// Both addresses of a key are of one family, even where one of two IPv6 addresses is mapped.
fn address(key: &FlowKey, bytes: [u8; 16]) -> IpAddr {
    let address = Ipv6Addr::from(bytes);
    match address.to_ipv4_mapped() {
        Some(v4) if key.is_ipv4() => v4.into(),
        _ => address.into(),
    }
}

/// What a table has done so far. `started = active + the sum of ended`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FlowStats {
    /// Flows held now.
    pub active: u64,
    pub started: u64,
    /// Flows that ended, in the order of `FlowEnd::ALL`.
    pub ended: [u64; FlowEnd::ALL.len()],
    /// Packets and bytes in ended records: at the end of a source, all that it counted in flows.
    pub packets_ended: u64,
    pub bytes_ended: u64,
    /// Slots that began before the previous one of their direction had ended: a direction spread
    /// over receive queues. Counts stay exact, gaps between such slots are taken as zero.
    pub slots_overlapping: u64,
    /// Slots whose last state was known before, and snapshots older than one already taken.
    pub slots_stale: u64,
    /// Slots that went on after their flow was evicted, and began another flow with the rest.
    pub slots_resumed: u64,
    /// Slots of evicted flows that were remembered no longer, for want of room: were one to go on, its
    /// packets would count twice.
    pub slots_forgotten: u64,
}

impl FlowStats {
    pub fn ended_by(&self, end: FlowEnd) -> u64 {
        self.ended.get(end as usize).copied().unwrap_or(0)
    }

    pub fn ended_all(&self) -> u64 {
        self.ended.iter().sum()
    }
}
