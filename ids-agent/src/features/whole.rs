//! Features of the flow as a whole: rates, ratios, how it began and ended, protocol and service.

use ids_common::{
    flow::{FlowSlot, Tunnel},
    wire,
};

use super::{FeatureSpec, Scale, feature_table};
use crate::flow::FlowRecord;

feature_table! {
    static SPECS = "";
    fn values(record: &FlowRecord) let flow = { Whole::new(record) };

    {
        duration_ms: "ms", Log, 0 to 1e12, "last packet - first packet of either direction" => flow.secs * 1e3;
        packets_per_sec: "packets/s", Log, 0 to 1e12, "packets of both directions / duration; 0 for a duration of 0"
            => flow.per_sec(flow.packets);
        bytes_per_sec: "bytes/s", Log, 0 to 1e15, "bytes of both directions / duration; 0 for a duration of 0"
            => flow.per_sec(flow.bytes);
        fwd_packets_per_sec: "packets/s", Log, 0 to 1e12, "fwd_packets / duration; 0 for a duration of 0"
            => flow.per_sec(flow.forward.packets as f64);
        bwd_packets_per_sec: "packets/s", Log, 0 to 1e12, "bwd_packets / duration; 0 for a duration of 0"
            => flow.per_sec(flow.backward(|slot| slot.packets));
        fwd_packet_share: "share", Linear, 0 to 1, "fwd_packets / packets of both directions"
            => flow.forward.packets as f64 / flow.packets.max(1.0);
        fwd_byte_share: "share", Linear, 0 to 1, "fwd_bytes / bytes of both directions"
            => flow.forward.bytes as f64 / flow.bytes.max(1.0);
        fwd_payload_share: "share", Linear, 0 to 1, "fwd_payload_bytes / payload of both directions; 0 without payload"
            => flow.forward.payload_bytes as f64 / flow.payload_bytes.max(1.0);
        payload_share: "share", Linear, 0 to 1, "payload of both directions / bytes of both directions"
            => flow.payload_bytes / flow.bytes.max(1.0);
        payload_per_packet: "bytes", Linear, 0 to 65535, "payload of both directions / packets of both directions"
            => flow.payload_bytes / flow.packets.max(1.0);
        answered: "flag", Linear, 0 to 1, "1 if there was a packet back" => flag(flow.answer.is_some());
        answer_delay: "us", Log, 0 to 1e11, "first packet back - first packet; 0 without an answer" => flow.answer_delay_us();
        starts_with_syn: "flag", Linear, 0 to 1, "1 if the initiator's first packet has SYN and not ACK"
            => flag(is_syn(flow.forward));
        handshake_answered: "flag", Linear, 0 to 1, "1 if it starts with SYN and the first packet back has SYN and ACK"
            => flag(is_syn(flow.forward) && flow.answer.is_some_and(is_syn_ack));
        refused: "flag", Linear, 0 to 1, "1 if the first packet back has RST"
            => flag(flow.answer.is_some_and(|slot| slot.first_flags & wire::TCP_RST != 0));
        syn_only: "flag", Linear, 0 to 1, "1 if every packet of the initiator has SYN"
            => flag(flow.forward.syn > 0 && u64::from(flow.forward.syn) == flow.forward.packets);
        closed_by_fin: "flag", Linear, 0 to 1, "1 if both directions have FIN"
            => flag(flow.forward.fin > 0 && flow.answer.is_some_and(|slot| slot.fin > 0));
        closed_by_rst: "flag", Linear, 0 to 1, "1 if either direction has RST"
            => flag(flow.forward.rst > 0 || flow.answer.is_some_and(|slot| slot.rst > 0));
        odd_start: "flag", Linear, 0 to 1,
            "1 for TCP whose first packet has none of SYN, ACK and RST, or SYN with FIN or RST (null, FIN, Xmas probes)"
            => flag(flow.is_tcp() && has_odd_start(flow.forward.first_flags));
        is_tcp: "flag", Linear, 0 to 1, "1 for TCP" => flag(flow.is_tcp());
        is_udp: "flag", Linear, 0 to 1, "1 for UDP" => flag(flow.proto() == wire::PROTO_UDP);
        is_icmp: "flag", Linear, 0 to 1, "1 for ICMP and ICMPv6"
            => flag(matches!(flow.proto(), wire::PROTO_ICMP | wire::PROTO_ICMPV6));
        is_other: "flag", Linear, 0 to 1, "1 for any other protocol"
            => flag(!matches!(flow.proto(), wire::PROTO_TCP | wire::PROTO_UDP | wire::PROTO_ICMP | wire::PROTO_ICMPV6));
        is_fragment: "flag", Linear, 0 to 1, "1 for fragments behind the first" => flag(flow.forward.key.is_later_fragment());
        is_tunnel: "flag", Linear, 0 to 1, "1 for GRE, VXLAN, Geneve and IP in IP"
            => flag(!matches!(flow.forward.key.tunnel(), Tunnel::None));
        port_system: "flag", Linear, 0 to 1, "1 for a target port from 1 to 1,023" => flow.port_in(1..=1_023);
        port_user: "flag", Linear, 0 to 1, "1 for a target port from 1,024 to 49,151" => flow.port_in(1_024..=49_151);
        port_dynamic: "flag", Linear, 0 to 1, "1 for a target port from 49,152" => flow.port_in(49_152..=65_535);
        service_web: "flag", Linear, 0 to 1, "1 for target port 80, 443, 8000, 8080, 8081, 8443 or 8888"
            => flow.port_of(&[80, 443, 8_000, 8_080, 8_081, 8_443, 8_888]);
        service_login: "flag", Linear, 0 to 1, "1 for target port 21, 22, 23, 2222, 3389 or 5900"
            => flow.port_of(&[21, 22, 23, 2_222, 3_389, 5_900]);
        service_mail: "flag", Linear, 0 to 1, "1 for target port 25, 110, 143, 465, 587, 993 or 995"
            => flow.port_of(&[25, 110, 143, 465, 587, 993, 995]);
        service_name: "flag", Linear, 0 to 1, "1 for target port 53, 137, 853, 5353 or 5355"
            => flow.port_of(&[53, 137, 853, 5_353, 5_355]);
        service_file: "flag", Linear, 0 to 1, "1 for target port 20, 69, 111, 135, 139, 445, 873 or 2049"
            => flow.port_of(&[20, 69, 111, 135, 139, 445, 873, 2_049]);
        service_database: "flag", Linear, 0 to 1, "1 for target port 1433, 1521, 3306, 5432, 6379, 9200, 11211 or 27017"
            => flow.port_of(&[1_433, 1_521, 3_306, 5_432, 6_379, 9_200, 11_211, 27_017]);
        service_house: "flag", Linear, 0 to 1, "1 for target port 67, 68, 123, 161, 546, 547, 1883, 1900 or 3702"
            => flow.port_of(&[67, 68, 123, 161, 546, 547, 1_883, 1_900, 3_702]);
    }
}

/// What several features need.
struct Whole<'a> {
    forward: &'a FlowSlot,
    answer: Option<&'a FlowSlot>,
    packets: f64,
    bytes: f64,
    payload_bytes: f64,
    secs: f64,
}

impl<'a> Whole<'a> {
    fn new(record: &'a FlowRecord) -> Self {
        Self {
            forward: &record.forward,
            answer: record.backward.as_ref(),
            packets: record.packets() as f64,
            bytes: record.bytes() as f64,
            payload_bytes: record.payload_bytes() as f64,
            secs: record.duration_ns() as f64 / 1e9,
        }
    }

    fn backward(&self, field: impl Fn(&FlowSlot) -> u64) -> f64 {
        self.answer.map_or(0.0, |slot| field(slot) as f64)
    }

    fn per_sec(&self, quantity: f64) -> f64 {
        if self.secs > 0.0 { quantity / self.secs } else { 0.0 }
    }

    fn answer_delay_us(&self) -> f64 {
        let delay_ns = |slot: &FlowSlot| slot.first_seen_ns.saturating_sub(self.forward.first_seen_ns);
        self.answer.map_or(0.0, |slot| delay_ns(slot) as f64 / 1e3)
    }

    fn proto(&self) -> u8 {
        self.forward.key.proto
    }

    fn is_tcp(&self) -> bool {
        self.proto() == wire::PROTO_TCP
    }

    /// The target's port; none for ICMP, where the field holds something else.
    fn port(&self) -> Option<u16> {
        let has_ports = matches!(self.proto(), wire::PROTO_TCP | wire::PROTO_UDP | wire::PROTO_SCTP);
        has_ports.then_some(self.forward.key.dst_port)
    }

    fn port_in(&self, range: std::ops::RangeInclusive<u16>) -> f64 {
        flag(self.port().is_some_and(|port| range.contains(&port)))
    }

    /// Compares with all ports at once, which takes less than a search that may stop early.
    #[inline(always)]
    fn port_of<const N: usize>(&self, ports: &[u16; N]) -> f64 {
        flag(self.port().is_some_and(|port| ports.iter().fold(false, |found, known| found | (*known == port))))
    }
}

fn flag(holds: bool) -> f64 {
    f64::from(u8::from(holds))
}

fn is_syn(slot: &FlowSlot) -> bool {
    slot.first_flags & (wire::TCP_SYN | wire::TCP_ACK) == wire::TCP_SYN
}

fn is_syn_ack(slot: &FlowSlot) -> bool {
    slot.first_flags & (wire::TCP_SYN | wire::TCP_ACK) == wire::TCP_SYN | wire::TCP_ACK
}

fn has_odd_start(flags: u8) -> bool {
    let has = |flag: u8| flags & flag != 0;
    let names_no_state = !has(wire::TCP_SYN) && !has(wire::TCP_ACK) && !has(wire::TCP_RST);
    names_no_state || has(wire::TCP_SYN) && (has(wire::TCP_FIN) || has(wire::TCP_RST))
}
