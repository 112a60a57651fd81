//! A third opinion on well-formed frames: tshark dissects a capture of the whole matrix, and every
//! field that flow accounting reads must be equal.
#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that fails")]

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    process::Command,
};

use ids_common::parse::{Frame, Link, parse};
use ids_tests::{
    capture::{Timed, write_pcap},
    frame,
    netns::run,
    oracle::Seen,
    probe::{Need, can_run},
    shapes::{self, Shape},
};
use pcap_file::DataLink;

const FIELDS: [&str; 27] = [
    "frame.number",
    "frame.protocols",
    "vlan.id",
    "ip.src",
    "ip.dst",
    "ip.proto",
    "ip.len",
    "ip.ttl",
    "ipv6.src",
    "ipv6.dst",
    "ipv6.nxt",
    "ipv6.plen",
    "ipv6.hlim",
    "tcp.srcport",
    "tcp.dstport",
    "tcp.flags",
    "tcp.window_size_value",
    "tcp.len",
    "udp.srcport",
    "udp.dstport",
    "udp.length",
    "sctp.srcport",
    "sctp.dstport",
    "icmp.type",
    "icmp.code",
    "icmpv6.type",
    "icmpv6.code",
];

/// One frame's fields; where tshark found a field several times, in the order of the headers.
struct Dissected<'a>(Vec<&'a str>);

impl<'a> Dissected<'a> {
    fn all(&self, field: &str) -> Vec<&'a str> {
        let at = FIELDS.iter().position(|name| *name == field).unwrap();
        self.0[at].split(';').filter(|value| !value.is_empty()).collect()
    }

    /// The outermost value, as a number; hexadecimal where tshark prints it so.
    fn number(&self, field: &str) -> Option<u32> {
        let value = *self.all(field).first()?;
        Some(
            value
                .strip_prefix("0x")
                .map_or_else(|| value.parse().unwrap(), |hex| u32::from_str_radix(hex, 16).unwrap()),
        )
    }
}

/// Compares what both say of one frame; returns how many fields were compared.
fn compare(name: &str, seen: &Seen, dissected: &Dissected<'_>) -> usize {
    let mut fields = 0;
    let mut same = |field: &str, ours: u32, theirs: Option<u32>| {
        assert_eq!(Some(ours), theirs, "{name}: {field}");
        fields += 1;
    };
    let vlan = dissected.all("vlan.id").last().map_or(0, |id| id.parse().unwrap());
    same("vlan.id", seen.vlan.into(), Some(vlan));

    let protocols = dissected.all("frame.protocols")[0];
    let is_ipv4 = protocols.split(':').find(|name| ["ip", "ipv6"].contains(name)) == Some("ip");
    let (src, dst): (Ipv6Addr, Ipv6Addr) = if is_ipv4 {
        let address = |field| dissected.all(field)[0].parse::<Ipv4Addr>().unwrap().to_ipv6_mapped();
        same("ip.proto", seen.proto.into(), dissected.number("ip.proto"));
        same("ip.len", seen.len, dissected.number("ip.len"));
        same("ip.ttl", seen.ttl.into(), dissected.number("ip.ttl"));
        (address("ip.src"), address("ip.dst"))
    } else {
        let address = |field| dissected.all(field)[0].parse().unwrap();
        if !name.contains("ipv6 ") || name.contains(", ipv6, ") {
            same("ipv6.nxt", seen.proto.into(), dissected.number("ipv6.nxt"));
        }
        same("ipv6.plen", seen.len - 40, dissected.number("ipv6.plen"));
        same("ipv6.hlim", seen.ttl.into(), dissected.number("ipv6.hlim"));
        (address("ipv6.src"), address("ipv6.dst"))
    };
    assert_eq!((Ipv6Addr::from(seen.src), Ipv6Addr::from(seen.dst)), (src, dst), "{name}: addresses");

    if seen.later_fragment {
        // tshark shows no transport either.
        for field in ["tcp.srcport", "udp.srcport", "sctp.srcport", "icmp.type", "icmpv6.type"] {
            assert_eq!(dissected.number(field), None, "{name}: {field}");
        }
        return fields;
    }
    // tshark does not say how much of a segment or datagram a first fragment holds.
    let is_first_fragment = name.contains("first fragment") || name.contains("chain");
    match seen.proto {
        frame::TCP => {
            same("tcp.srcport", seen.src_port.into(), dissected.number("tcp.srcport"));
            same("tcp.dstport", seen.dst_port.into(), dissected.number("tcp.dstport"));
            same("tcp.flags", seen.tcp_flags.into(), dissected.number("tcp.flags"));
            same("tcp.window", seen.window.into(), dissected.number("tcp.window_size_value"));
            if !is_first_fragment {
                same("tcp.len", seen.payload_len, dissected.number("tcp.len"));
            }
        }
        frame::UDP => {
            same("udp.srcport", seen.src_port.into(), dissected.number("udp.srcport"));
            same("udp.dstport", seen.dst_port.into(), dissected.number("udp.dstport"));
            if !is_first_fragment {
                same("udp.length", seen.payload_len + 8, dissected.number("udp.length"));
            }
        }
        frame::SCTP => {
            same("sctp.srcport", seen.src_port.into(), dissected.number("sctp.srcport"));
            same("sctp.dstport", seen.dst_port.into(), dissected.number("sctp.dstport"));
        }
        frame::ICMP => same("icmp.type", seen.src_port.into(), dissected.number("icmp.type")),
        frame::ICMPV6 => same("icmpv6.type", seen.src_port.into(), dissected.number("icmpv6.type")),
        _ => {}
    }
    fields
}

/// A link type of capture files, and the shapes that have it.
type Group<'a> = (u32, &'a dyn Fn(&Shape) -> bool);

#[test]
fn every_well_formed_shape_is_read_as_tshark_reads_it() {
    if !can_run("the comparison with tshark", &[Need::Tool("tshark")]) {
        return;
    }
    let shapes = shapes::matrix();
    let groups: [Group<'_>; 6] = [
        (1, &|shape| shape.link == Link::Ethernet),
        (101, &|shape| shape.link == Link::RawIp),
        (113, &|shape| shape.link == Link::LinuxSll),
        (276, &|shape| shape.link == Link::LinuxSll2),
        (0, &|shape| shape.name.starts_with("loopback, ipv")),
        (108, &|shape| shape.name.starts_with("loopback, big-endian")),
    ];
    let folder = tempfile::tempdir().unwrap();
    let (mut frames, mut fields) = (0, 0);
    for (link_type, belongs) in groups {
        let group: Vec<_> = shapes.iter().filter(|shape| belongs(shape)).collect();
        let timed: Vec<_> =
            (1..).zip(&group).map(|(at, shape)| Timed::new(at * 1_000_000, shape.bytes.clone())).collect();
        let capture = folder.path().join(format!("{link_type}.pcap"));
        write_pcap(&capture, DataLink::from(link_type), &timed);

        let mut command = Command::new("tshark");
        command.arg("-r").arg(&capture).args(["-n", "-T", "fields", "-E", "occurrence=a", "-E", "aggregator=;"]);
        for preference in ["ip.defragment:FALSE", "ipv6.defragment:FALSE", "tcp.desegment_tcp_streams:FALSE"] {
            command.args(["-o", preference]);
        }
        for field in FIELDS {
            command.args(["-e", field]);
        }
        let output = String::from_utf8(run(&mut command).stdout).unwrap();
        assert_eq!(output.lines().count(), group.len(), "link type {link_type}");
        for (shape, line) in group.iter().zip(output.lines()) {
            let meta = parse(&Frame::new(&shape.bytes, shape.bytes.len()), shape.link).unwrap();
            fields += compare(&shape.name, &Seen::from(&meta), &Dissected(line.split('\t').collect()));
            frames += 1;
        }
    }
    println!("{frames} frames, {fields} fields equal to tshark's");
    assert_eq!(frames, shapes.len());
}
