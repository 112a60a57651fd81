//! Every shape of frame that the parser must know, combined: link layers times network layers times
//! transports, and a list of broken ones with the reason each must be skipped for.

use ids_common::{counter::Skip, parse::Link};

use crate::frame::{self, Ipv4, Ipv6, Tcp};

/// A frame, how it is to be read, and its name.
#[derive(Clone, Debug)]
pub struct Shape {
    pub name: String,
    pub link: Link,
    pub bytes: Vec<u8>,
}

/// What stands behind the IP header: name, protocol number, bytes, and whether IPv4, IPv6 or both
/// carry it.
struct Transport {
    name: &'static str,
    proto: u8,
    body: Vec<u8>,
}

fn transports() -> Vec<Transport> {
    let inner_v4 = Ipv4::between([10, 1, 1, 1], [10, 2, 2, 2], frame::UDP).wrap(&frame::udp(111, 222, None, &[9; 8]));
    let inner_v6 = Ipv6::of(frame::TCP).wrap(&Tcp::ports(333, 444, frame::SYN).wrap(&[]));
    let inner_frame = frame::ethernet(frame::IPV4, &inner_v4);
    let timestamps = [2, 4, 5, 0xb4, 4, 2, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0, 1, 3, 3, 7].to_vec();
    let transport = |name, proto, body| Transport { name, proto, body };
    vec![
        transport("tcp syn", frame::TCP, Tcp { options: timestamps, ..Tcp::flags(frame::SYN) }.wrap(&[])),
        transport("tcp syn ack", frame::TCP, Tcp::flags(frame::SYN | frame::ACK).wrap(&[])),
        transport("tcp data", frame::TCP, Tcp::flags(frame::PSH | frame::ACK).wrap(&frame::payload(33))),
        transport(
            "tcp 40 option bytes",
            frame::TCP,
            Tcp { options: vec![1; 40], ..Tcp::flags(frame::FIN | frame::ACK) }.wrap(&frame::payload(5)),
        ),
        transport("tcp every flag", frame::TCP, Tcp::flags(0xff).wrap(&frame::payload(1))),
        transport("tcp no flag", frame::TCP, Tcp::flags(0).wrap(&[])),
        transport("udp", frame::UDP, frame::udp(0xd431, 53, None, &frame::payload(29))),
        transport("udp empty", frame::UDP, frame::udp(1, 0xffff, None, &[])),
        transport("udp with a tail", frame::UDP, frame::udp(1025, 1026, Some(12), &frame::payload(20))),
        transport("vxlan", frame::UDP, frame::udp(0xc111, 4789, None, &frame::vxlan(77, &inner_frame))),
        transport("geneve", frame::UDP, frame::udp(0xc112, 6081, None, &frame::geneve(78, &inner_frame))),
        transport("sctp", frame::SCTP, frame::sctp(2905, 2906, &frame::payload(10))),
        transport("icmp echo", frame::ICMP, frame::icmp(8, 0, &frame::payload(24))),
        transport("icmp echo reply", frame::ICMP, frame::icmp(0, 0, &frame::payload(24))),
        transport("icmp unreachable", frame::ICMP, frame::icmp(3, 3, &inner_v4)),
        transport("icmp timestamp", frame::ICMP, frame::icmp(13, 0, &[0; 12])),
        transport("icmpv6 echo", frame::ICMPV6, frame::icmp(128, 0, &frame::payload(24))),
        transport("icmpv6 solicitation", frame::ICMPV6, frame::icmp(135, 0, &[0xfe; 16])),
        transport("icmpv6 too big", frame::ICMPV6, frame::icmp(2, 0, &inner_v6)),
        transport("gre", frame::GRE, frame::gre(frame::IPV4, &inner_v4)),
        transport("ip in ip", frame::IPIP, inner_v4),
        transport("ipv6 in ip", frame::IPV6_IN_IP, inner_v6),
        transport("esp", frame::ESP, frame::payload(40)),
        transport("igmp", 2, vec![0x16, 0, 0xe9, 0xf5, 224, 0, 0, 9]),
        transport("unknown protocol", 253, frame::payload(12)),
        transport("nothing", 253, Vec::new()),
    ]
}

#[derive(Clone)]
enum Net {
    V4(Ipv4),
    V6(Vec<(u8, Vec<u8>)>),
}

fn networks() -> Vec<(&'static str, Net)> {
    use frame::{DESTINATION, HOP_BY_HOP, ROUTING, auth_header, extension, fragment_header};
    let v4 = |change: fn(&mut Ipv4)| {
        let mut header = Ipv4::default();
        change(&mut header);
        Net::V4(header)
    };
    let long = (0..8).map(|_| extension(DESTINATION, 0)).collect();
    vec![
        ("ipv4", v4(|_| {})),
        ("ipv4 router alert", v4(|h| h.options = vec![148, 4, 0, 0])),
        ("ipv4 40 option bytes", v4(|h| h.options = vec![1; 40])),
        ("ipv4 first fragment", v4(|h| h.more_fragments = true)),
        ("ipv4 middle fragment", v4(|h| (h.more_fragments, h.fragment_offset) = (true, 185))),
        ("ipv4 last fragment", v4(|h| h.fragment_offset = 8_191)),
        ("ipv6", Net::V6(vec![])),
        ("ipv6 hop by hop", Net::V6(vec![extension(HOP_BY_HOP, 0)])),
        ("ipv6 long destination", Net::V6(vec![extension(DESTINATION, 3)])),
        ("ipv6 routing", Net::V6(vec![extension(ROUTING, 2)])),
        ("ipv6 auth", Net::V6(vec![auth_header()])),
        ("ipv6 atomic fragment", Net::V6(vec![fragment_header(0, false)])),
        ("ipv6 first fragment", Net::V6(vec![fragment_header(0, true)])),
        ("ipv6 middle fragment", Net::V6(vec![extension(HOP_BY_HOP, 0), fragment_header(90, true)])),
        ("ipv6 last fragment", Net::V6(vec![fragment_header(8_191, false)])),
        (
            "ipv6 chain",
            Net::V6(vec![
                extension(HOP_BY_HOP, 1),
                extension(DESTINATION, 0),
                extension(ROUTING, 0),
                fragment_header(0, true),
                auth_header(),
                extension(DESTINATION, 2),
            ]),
        ),
        ("ipv6 eight extensions", Net::V6(long)),
    ]
}

type Wrap = fn(u16, u16, &[u8]) -> Vec<u8>;

/// Each link layer: name, how to read it, and how to put it around a packet of an EtherType (or the
/// PPP protocol beside it).
fn links() -> Vec<(&'static str, Link, Wrap)> {
    use frame::{PPPOE_SESSION, QINQ, VLAN, ethernet, linux_sll, linux_sll2, loopback, padded, pppoe, vlan};
    vec![
        ("ethernet", Link::Ethernet, |ether, _, packet| ethernet(ether, packet)),
        ("ethernet padded", Link::Ethernet, |ether, _, packet| {
            let mut frame = padded(ethernet(ether, packet));
            // A trailer, as some switches and drivers leave behind.
            frame.extend([0xee; 6]);
            frame
        }),
        ("vlan", Link::Ethernet, |ether, _, packet| ethernet(VLAN, &vlan(1_234, ether, packet))),
        ("priority tag", Link::Ethernet, |ether, _, packet| ethernet(VLAN, &vlan(0, ether, packet))),
        ("qinq", Link::Ethernet, |ether, _, packet| ethernet(QINQ, &vlan(7, VLAN, &vlan(4_094, ether, packet)))),
        ("vlan in vlan", Link::Ethernet, |ether, _, packet| ethernet(VLAN, &vlan(7, VLAN, &vlan(8, ether, packet)))),
        ("old qinq", Link::Ethernet, |ether, _, packet| ethernet(0x9100, &vlan(9, VLAN, &vlan(10, ether, packet)))),
        ("pppoe", Link::Ethernet, |_, ppp, packet| ethernet(PPPOE_SESSION, &pppoe(ppp, packet))),
        ("pppoe in vlan", Link::Ethernet, |_, ppp, packet| {
            ethernet(VLAN, &vlan(7, PPPOE_SESSION, &pppoe(ppp, packet)))
        }),
        ("raw ip", Link::RawIp, |_, _, packet| packet.to_vec()),
        ("linux cooked", Link::LinuxSll, |ether, _, packet| linux_sll(ether, packet)),
        ("linux cooked, vlan", Link::LinuxSll, |ether, _, packet| linux_sll(VLAN, &vlan(99, ether, packet))),
        ("linux cooked v2", Link::LinuxSll2, |ether, _, packet| linux_sll2(ether, packet)),
        ("loopback", Link::Loopback, |ether, _, packet| {
            loopback([if ether == frame::IPV4 { 2 } else { 30 }, 0, 0, 0], packet)
        }),
        ("loopback, big-endian", Link::Loopback, |ether, _, packet| {
            loopback([0, 0, 0, if ether == frame::IPV4 { 2 } else { 24 }], packet)
        }),
    ]
}

/// Every well-formed combination.
pub fn matrix() -> Vec<Shape> {
    let mut shapes = Vec::new();
    for (link_name, link, wrap) in links() {
        for (net_name, net) in networks() {
            for transport in transports() {
                let (ether, ppp, packet) = match &net {
                    Net::V4(header) => {
                        (frame::IPV4, 0x21, Ipv4 { proto: transport.proto, ..header.clone() }.wrap(&transport.body))
                    }
                    Net::V6(chain) => {
                        (frame::IPV6, 0x57, Ipv6::default().wrap_chain(chain, transport.proto, &transport.body))
                    }
                };
                shapes.push(Shape {
                    name: format!("{link_name}, {net_name}, {}", transport.name),
                    link,
                    bytes: wrap(ether, ppp, &packet),
                });
            }
        }
    }
    shapes
}

/// A frame of each link and network layer, with few transports: for tests that change every byte.
pub fn samples() -> Vec<Shape> {
    let kept = ["tcp data", "udp with a tail", "sctp", "icmp echo", "icmpv6 solicitation", "gre", "vxlan"];
    matrix().into_iter().filter(|shape| kept.iter().any(|name| shape.name.ends_with(&format!(", {name}")))).collect()
}

/// Frames that must be skipped, each with its reason: the expected values are written here by hand.
pub fn broken() -> Vec<(Shape, Skip)> {
    use frame::{DESTINATION, auth_header, ethernet, extension, fragment_header, udp, vlan};
    let tcp = Tcp::flags(frame::SYN).wrap(&frame::payload(8));
    let v4 = |header: Ipv4, body: &[u8]| ethernet(frame::IPV4, &header.wrap(body));
    let v6 = |header: Ipv6, body: &[u8]| ethernet(frame::IPV6, &header.wrap(body));
    let chain = |chain: &[(u8, Vec<u8>)], proto, body: &[u8]| {
        ethernet(frame::IPV6, &Ipv6::default().wrap_chain(chain, proto, body))
    };
    let mut tiny_auth = auth_header();
    tiny_auth.1[0] = 0;
    let mapped = |last| std::net::Ipv4Addr::new(192, 0, 2, last).to_ipv6_mapped();
    let ethernet_cases = [
        ("empty", vec![], Skip::LinkTruncated),
        ("thirteen bytes", vec![2; 13], Skip::LinkTruncated),
        ("arp", ethernet(frame::ARP, &frame::arp()), Skip::Arp),
        ("arp in a vlan", ethernet(frame::VLAN, &vlan(5, frame::ARP, &frame::arp())), Skip::Arp),
        ("spanning tree", ethernet(0x0026, &[0x42, 0x42, 3, 0, 0, 0]), Skip::Llc),
        ("mpls", ethernet(frame::MPLS, &[0, 1, 0x01, 64]), Skip::Mpls),
        ("mpls multicast", ethernet(0x8848, &[0, 1, 0x01, 64]), Skip::Mpls),
        ("lldp", ethernet(0x88cc, &[2, 7, 4]), Skip::NotIp),
        ("macsec", ethernet(0x88e5, &[0; 40]), Skip::NotIp),
        ("pppoe discovery", ethernet(frame::PPPOE_DISCOVERY, &[0x11, 9, 0, 0, 0, 0]), Skip::PppoeControl),
        ("pppoe lcp", ethernet(frame::PPPOE_SESSION, &frame::pppoe(0xc021, &[9, 1, 0, 8])), Skip::PppoeControl),
        ("pppoe version 2", ethernet(frame::PPPOE_SESSION, &[0x21, 0, 0, 1, 0, 2, 0, 0x21]), Skip::PppoeControl),
        ("pppoe cut", ethernet(frame::PPPOE_SESSION, &[0x11, 0, 0, 1, 0, 2, 0]), Skip::LinkTruncated),
        (
            "three tags",
            ethernet(frame::QINQ, &vlan(1, frame::VLAN, &vlan(2, frame::VLAN, &vlan(3, frame::IPV4, &[0; 40])))),
            Skip::VlanDepth,
        ),
        ("tag cut", ethernet(frame::VLAN, &[0, 1, 8]), Skip::LinkTruncated),
        ("ipv4 cut", ethernet(frame::IPV4, &Ipv4::default().wrap(&tcp)[..19]), Skip::IpTruncated),
        ("ipv4 says version 6", v4(Ipv4 { version_ihl: Some(0x65), ..Ipv4::default() }, &tcp), Skip::IpVersion),
        ("ipv6 says version 4", v6(Ipv6 { version_class: Some(0x45), ..Ipv6::default() }, &tcp), Skip::IpVersion),
        ("ipv4 says version 0", v4(Ipv4 { version_ihl: Some(0x05), ..Ipv4::default() }, &tcp), Skip::IpVersion),
        (
            "ipv4 header of 16 bytes",
            v4(Ipv4 { version_ihl: Some(0x44), ..Ipv4::default() }, &tcp),
            Skip::IpHeaderLength,
        ),
        ("ipv4 longer than the frame", v4(Ipv4 { total_len: Some(49), ..Ipv4::default() }, &tcp), Skip::IpLength),
        ("ipv4 shorter than its header", v4(Ipv4 { total_len: Some(19), ..Ipv4::default() }, &tcp), Skip::IpLength),
        ("ipv4 options past its end", v4(Ipv4 { version_ihl: Some(0x4f), ..Ipv4::default() }, &tcp), Skip::IpLength),
        ("ipv6 longer than the frame", v6(Ipv6 { payload_len: Some(29), ..Ipv6::default() }, &tcp), Skip::IpLength),
        (
            "ipv6 between mapped addresses",
            v6(Ipv6 { src: mapped(1), dst: mapped(2), ..Ipv6::default() }, &tcp),
            Skip::Ipv4Mapped,
        ),
        ("ipv6 extension past the end", v6(Ipv6::of(DESTINATION), &[frame::TCP, 9, 1, 4, 0, 0, 0, 0]), Skip::IpLength),
        ("ipv6 extension without a byte", v6(Ipv6::of(DESTINATION), &[]), Skip::IpTruncated),
        ("ipv6 auth header of 8 bytes", chain(&[tiny_auth], frame::TCP, &tcp), Skip::IpHeaderLength),
        (
            "ipv6 nine extensions",
            chain(&(0..9).map(|_| extension(DESTINATION, 0)).collect::<Vec<_>>(), frame::TCP, &tcp),
            Skip::Ipv6Extensions,
        ),
        ("tcp of 19 bytes", v4(Ipv4::default(), &tcp[..19]), Skip::TransportTruncated),
        (
            "tcp in 8 bytes of a first fragment",
            v4(Ipv4 { more_fragments: true, ..Ipv4::default() }, &tcp[..8]),
            Skip::TransportTruncated,
        ),
        (
            "tcp in 8 bytes of a first ipv6 fragment",
            chain(&[fragment_header(0, true)], frame::TCP, &tcp[..8]),
            Skip::TransportTruncated,
        ),
        (
            "tcp header only in the padding",
            frame::padded(v4(Ipv4 { total_len: Some(30), ..Ipv4::default() }, &tcp)),
            Skip::TransportTruncated,
        ),
        (
            "tcp offset of 16 bytes",
            v4(Ipv4::default(), &Tcp { offset: Some(4), ..Tcp::default() }.wrap(&[0; 8])),
            Skip::TcpOffset,
        ),
        (
            "tcp offset past the end",
            v4(Ipv4::default(), &Tcp { offset: Some(8), ..Tcp::default() }.wrap(&[0; 11])),
            Skip::TcpOffset,
        ),
        ("udp of 7 bytes", v4(Ipv4::of(frame::UDP), &udp(1, 2, None, &[])[..7]), Skip::TransportTruncated),
        ("udp length of 7", v4(Ipv4::of(frame::UDP), &udp(1, 2, Some(7), &[0; 4])), Skip::UdpLength),
        ("udp longer than its packet", v4(Ipv4::of(frame::UDP), &udp(1, 2, Some(13), &[0; 4])), Skip::UdpLength),
        ("sctp of 11 bytes", v4(Ipv4::of(frame::SCTP), &[7; 11]), Skip::TransportTruncated),
        ("icmp of 7 bytes", v4(Ipv4::of(frame::ICMP), &[8, 0, 0, 0, 0, 0, 0]), Skip::TransportTruncated),
        ("icmpv6 of 7 bytes", v6(Ipv6::of(frame::ICMPV6), &[128, 0, 0, 0, 0, 0, 0]), Skip::TransportTruncated),
    ];
    let mut cases: Vec<_> = ethernet_cases
        .into_iter()
        .map(|(name, bytes, skip)| (Shape { name: name.to_owned(), link: Link::Ethernet, bytes }, skip))
        .collect();
    let mut other = |name: &str, link, bytes, skip| cases.push((Shape { name: name.to_owned(), link, bytes }, skip));
    other("raw, empty", Link::RawIp, vec![], Skip::IpTruncated);
    other("raw, version 5", Link::RawIp, vec![0x55; 40], Skip::IpVersion);
    other("cooked, cut", Link::LinuxSll, vec![0; 15], Skip::LinkTruncated);
    other("cooked, arp", Link::LinuxSll, frame::linux_sll(frame::ARP, &frame::arp()), Skip::Arp);
    other("cooked v2, cut", Link::LinuxSll2, frame::linux_sll2(frame::IPV4, &[])[..19].to_vec(), Skip::LinkTruncated);
    other("loopback, cut", Link::Loopback, vec![2, 0, 0], Skip::LinkTruncated);
    other("loopback, appletalk", Link::Loopback, frame::loopback([16, 0, 0, 0], &[0x45; 40]), Skip::NotIp);
    other(
        "loopback, families disagree",
        Link::Loopback,
        frame::loopback([30, 0, 0, 0], &Ipv4::default().wrap(&tcp)),
        Skip::IpVersion,
    );
    cases
}
