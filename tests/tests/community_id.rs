//! Community-id v1 of whole replays: the published vectors, and a real Suricata on the same capture.
#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that fails")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Cursor,
    net::IpAddr,
    path::Path,
    process::Command,
};

use ids_agent::{
    config::{FlowSettings, SampleSettings},
    flow::FlowRecord,
    source::{packets::PacketSettings, pcap::PcapSource},
};
use ids_tests::{
    capture::{self, Timed, pcap, write_pcap},
    cases,
    frame::{self, Ipv4, Ipv6, Tcp},
    netns::run,
    probe::{Need, can_run},
    replay::{replay, replay_file},
};

/// The one flow that a frame makes.
fn flow_of(frame: Vec<u8>) -> FlowRecord {
    let (flow, sample) = (FlowSettings::default(), SampleSettings::default());
    let file = pcap(capture::ETHERNET, &[Timed::new(1, frame)]);
    let settings = PacketSettings::new(&flow, &sample);
    let source = PcapSource::from_read("memory", Box::new(Cursor::new(file)), &settings, flow.tick_ns()).unwrap();
    replay(source, &flow).unwrap().ended.remove(0)
}

/// A frame between two addresses of either family.
fn between(src: &str, dst: &str, proto: u8, body: &[u8]) -> Vec<u8> {
    match (src.parse().unwrap(), dst.parse().unwrap()) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            frame::ethernet(frame::IPV4, &Ipv4 { src, dst, proto, ..Ipv4::default() }.wrap(body))
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            frame::ethernet(frame::IPV6, &Ipv6 { src, dst, next_header: proto, ..Ipv6::default() }.wrap(body))
        }
        _ => unreachable!("families differ"),
    }
}

#[test]
fn published_vectors_come_out_of_frames() {
    // Vectors of the specification (https://github.com/corelight/community-id-spec) and of its Python
    // reference; the last of ICMPv6 was computed from its pseudo-code with SHA-1 and base64 alone.
    let echo = |kind, code| frame::icmp(kind, code, &[0; 8]);
    let tcp = |src, dst| Tcp::ports(src, dst, frame::SYN).wrap(&[]);
    let (v6_a, v6_b) = ("fe80::200:86ff:fe05:80da", "fe80::260:97ff:fe07:69ea");
    let (mail_a, mail_b) = ("2001:470:e5bf:dead:4957:2174:e82c:4887", "2607:f8b0:400c:c03::1a");
    let vectors: [(&str, &str, u8, Vec<u8>, &str); 18] = [
        ("128.232.110.120", "66.35.250.204", frame::TCP, tcp(34_855, 80), "1:LQU9qZlK+B5F3KDmev6m5PMibrg="),
        ("66.35.250.204", "128.232.110.120", frame::TCP, tcp(80, 34_855), "1:LQU9qZlK+B5F3KDmev6m5PMibrg="),
        (mail_a, mail_b, frame::TCP, tcp(63_943, 25), "1:/qFaeAR+gFe1KYjMzVDsMv+wgU4="),
        (mail_b, mail_a, frame::TCP, tcp(25, 63_943), "1:/qFaeAR+gFe1KYjMzVDsMv+wgU4="),
        ("192.168.1.52", "8.8.8.8", frame::UDP, frame::udp(54_585, 53, None, &[]), "1:d/FP5EW3wiY1vCndhwleRRKHowQ="),
        ("8.8.8.8", "192.168.1.52", frame::UDP, frame::udp(53, 54_585, None, &[]), "1:d/FP5EW3wiY1vCndhwleRRKHowQ="),
        ("192.168.170.8", "192.168.170.56", frame::SCTP, frame::sctp(7, 80, &[]), "1:jQgCxbku+pNGw8WPbEc/TS/uTpQ="),
        ("192.168.170.56", "192.168.170.8", frame::SCTP, frame::sctp(80, 7, &[]), "1:jQgCxbku+pNGw8WPbEc/TS/uTpQ="),
        ("192.168.0.89", "192.168.0.1", frame::ICMP, echo(8, 0), "1:X0snYXpgwiv9TZtqg64sgzUn6Dk="),
        ("192.168.0.1", "192.168.0.89", frame::ICMP, echo(0, 0), "1:X0snYXpgwiv9TZtqg64sgzUn6Dk="),
        ("192.168.0.89", "192.168.0.1", frame::ICMP, echo(20, 0), "1:3o2RFccXzUgjl7zDpqmY7yJi8rI="),
        ("192.168.0.89", "192.168.0.1", frame::ICMP, echo(20, 1), "1:tz/fHIDUHs19NkixVVoOZywde+I="),
        (v6_a, v6_b, frame::ICMPV6, echo(135, 0), "1:dGHyGvjMfljg6Bppwm3bg0LO8TY="),
        (v6_b, v6_a, frame::ICMPV6, echo(136, 0), "1:dGHyGvjMfljg6Bppwm3bg0LO8TY="),
        (v6_a, v6_b, frame::ICMPV6, echo(3, 0), "1:eVTYsbhjYrpjym6zCITAinpoG/A="),
        ("10.1.24.4", "10.1.12.1", 46, vec![0; 8], "1:/nQI4Rh/TtY3mf0R2gJFBkVlgS4="),
        ("10.1.12.1", "10.1.24.4", 46, vec![0; 8], "1:/nQI4Rh/TtY3mf0R2gJFBkVlgS4="),
        ("10.1.12.1", "10.1.24.4", 46, vec![], "1:/nQI4Rh/TtY3mf0R2gJFBkVlgS4="),
    ];
    for (src, dst, proto, body, id) in vectors {
        assert_eq!(flow_of(between(src, dst, proto, &body)).community_id(), id, "{src} to {dst}, protocol {proto}");
    }
}

/// Messages that nobody answers were once joined with the same message the other way, and both bore
/// the first one's id.
#[test]
fn one_way_messages_of_both_directions_are_two_flows() {
    let unreachable = frame::icmp(3, 3, &[0; 28]);
    let there = between("192.0.2.1", "198.51.100.2", frame::ICMP, &unreachable);
    let back = between("198.51.100.2", "192.0.2.1", frame::ICMP, &unreachable);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("both.pcap");
    write_pcap(&file, capture::ETHERNET, &[Timed::new(1, there), Timed::new(2, back)]);
    let ids: BTreeSet<_> = replay_file(&file).unwrap().ended.iter().map(FlowRecord::community_id).collect();
    assert_eq!(ids.len(), 2, "{ids:?}");
}

/// What names a flow for both: protocol and the two ends, in a fixed order.
type Ends = (String, BTreeSet<(IpAddr, u16)>);

const MINIMAL: &str = "%YAML 1.1
---
outputs:
  - eve-log:
      enabled: yes
      filetype: regular
      filename: eve.json
      community-id: true
      community-id-seed: 0
      types: [flow]
";

/// Runs Suricata without rules over a capture; gives the ids that it has for each flow.
fn suricata(capture: &Path, folder: &Path) -> BTreeMap<Ends, BTreeSet<String>> {
    let config = folder.join("suricata.yaml");
    fs::write(&config, MINIMAL).unwrap();
    run(Command::new("suricata")
        .arg("-c")
        .arg(&config)
        .args(["-S", "/dev/null", "-l"])
        .arg(folder)
        .arg("-r")
        .arg(capture));
    let mut flows = BTreeMap::<_, BTreeSet<_>>::new();
    for line in fs::read_to_string(folder.join("eve.json")).unwrap().lines() {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        let port = |name: &str| event[name].as_u64().unwrap_or(0) as u16;
        let ends = [("src_ip", "src_port"), ("dest_ip", "dest_port")];
        let ends = ends.map(|(address, number)| (text(address).parse().unwrap(), port(number)));
        flows.entry((text("proto"), ends.into())).or_default().insert(text("community_id"));
    }
    flows
}

fn ours(capture: &Path) -> BTreeMap<Ends, BTreeSet<String>> {
    let mut flows = BTreeMap::<_, BTreeSet<_>>::new();
    for record in replay_file(capture).unwrap().ended {
        // Suricata puts fragments together, and joins ICMP errors to the flow they speak of.
        if record.key.is_later_fragment() {
            continue;
        }
        let ported = [frame::TCP, frame::UDP, frame::SCTP].contains(&record.key.proto);
        let port = |port| if ported { port } else { 0 };
        let ends = [(record.src_addr(), port(record.key.src_port)), (record.dst_addr(), port(record.key.dst_port))];
        flows.entry((record.proto_label().into_owned(), ends.into())).or_default().insert(record.community_id());
    }
    flows
}

/// A capture of many flows of every kind that both can see, each between ends of its own.
fn varied() -> Vec<Timed> {
    let mut frames = Vec::new();
    for n in 0..1_200u32 {
        let word = n.wrapping_mul(0x9e37_79b1);
        let (low, high) = (word as u16, (word >> 16) as u16);
        let (left, right) = if n % 2 == 0 {
            (format!("10.{}.{}.1", n >> 8, n & 0xff), format!("{}.7.{}.9", 100 + n % 90, low & 0x7f))
        } else {
            (format!("2001:db8::{n:x}:{low:x}"), format!("2001:db8:{high:x}::{:x}", n + 1))
        };
        let (proto, there, back) = match n / 2 % 4 {
            0 => (
                frame::TCP,
                Tcp::ports(high | 1_024, low | 1, frame::SYN).wrap(&[]),
                Tcp::ports(low | 1, high | 1_024, frame::SYN | frame::ACK).wrap(&[]),
            ),
            1 => (frame::UDP, frame::udp(high, low | 1, None, &[1; 9]), frame::udp(low | 1, high, None, &[2; 9])),
            2 => (frame::SCTP, frame::sctp(high, low | 1, &[3; 8]), frame::sctp(low | 1, high, &[4; 8])),
            _ if n % 2 == 0 => (frame::ICMP, frame::icmp(8, 0, &[5; 16]), frame::icmp(0, 0, &[5; 16])),
            _ => (frame::ICMPV6, frame::icmp(128, 0, &[6; 16]), frame::icmp(129, 0, &[6; 16])),
        };
        let at = u64::from(n) * 1_000_000 + 1_700_000_000_000_000_000;
        frames.push(Timed::new(at, between(&left, &right, proto, &there)));
        // A third of the flows get no answer.
        if n % 3 != 0 {
            frames.push(Timed::new(at + 400_000, between(&right, &left, proto, &back)));
        }
    }
    frames
}

#[test]
fn every_flow_that_suricata_sees_too_has_its_id() {
    if !can_run("the comparison with Suricata", &[Need::Tool("suricata")]) {
        return;
    }
    let captures: Vec<_> =
        cases::cases().into_iter().filter(|(name, _)| *name != "malformed_mix").chain([("varied", varied())]).collect();
    let mut compared = 0;
    for (name, frames) in captures {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("traffic.pcap");
        write_pcap(&file, capture::ETHERNET, &frames);
        let (theirs, ours) = (suricata(&file, folder.path()), ours(&file));
        for (ends, ids) in &theirs {
            assert_eq!(ours.get(ends), Some(ids), "{name}: {ends:?}");
            compared += ids.len();
        }
        assert!(theirs.len() * 100 >= ours.len() * 95, "{name}: {} of our {} flows", theirs.len(), ours.len());
    }
    println!("{compared} flows with the id that Suricata gives them");
}
