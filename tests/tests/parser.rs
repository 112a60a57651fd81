//! The parser against an oracle that shares no code with it: every shape of frame, whole, cut at
//! every byte, and with every header byte changed.
#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that fails")]

use ids_common::{
    counter::Skip,
    parse::{Frame, Link, PacketMeta, parse, parse_any, parse_plain},
};
use ids_tests::{
    frame::{self, Ipv6},
    oracle::{self, Seen},
    shapes::{self, Shape},
};
use proptest::prelude::*;

fn check(link: Link, bytes: &[u8], wire_len: usize, what: impl Fn() -> String) {
    let seen = parse(&Frame::new(bytes, wire_len), link).map(|meta| Seen::from(&meta));
    let expected = oracle::read(link, bytes, wire_len);
    assert_eq!(seen, expected, "{}: {bytes:02x?}", what());
    let (plain, walked) = both_ways(link, bytes, wire_len);
    assert_eq!(walked.map(|meta| Seen::from(&meta)), expected, "{}, walked: {bytes:02x?}", what());
    if let Some(meta) = plain {
        assert_eq!(Ok(meta), walked, "{}, both ways: {bytes:02x?}", what());
    }
}

/// What the short way says, if anything, and what the walk does.
fn both_ways(link: Link, bytes: &[u8], wire_len: usize) -> (Option<PacketMeta>, Result<PacketMeta, Skip>) {
    let frame = Frame::new(bytes, wire_len);
    let mut meta = PacketMeta::default();
    let walked = parse_any(&frame, link, &mut meta);
    (parse_plain(&frame, link, |meta| meta), walked.map(|()| meta))
}

#[test]
fn the_shapes_of_nearly_all_frames_take_the_short_way() {
    let datagram = frame::udp(5_000, 53, None, &frame::payload(64));
    let segment = frame::Tcp::ports(5_000, 443, 0x10).wrap(&frame::payload(64));
    let mut packets = Vec::new();
    for (proto, body) in [(frame::UDP, &datagram), (frame::TCP, &segment)] {
        let ipv4 = frame::Ipv4::between([192, 0, 2, 1], [198, 51, 100, 1], proto).wrap(body);
        packets.extend([(frame::IPV4, ipv4), (frame::IPV6, Ipv6::of(proto).wrap(body))]);
    }
    for (ethertype, packet) in packets {
        let plain = frame::ethernet(ethertype, &packet);
        let mut tagged = plain.clone();
        tagged.splice(12..12, [0x81, 0x00, 0x20, 0x07]);
        for (link, bytes) in [(Link::Ethernet, plain), (Link::Ethernet, tagged), (Link::RawIp, packet)] {
            let (plain, walked) = both_ways(link, &bytes, bytes.len());
            assert_eq!(plain.map(Ok), Some(walked), "{link:?}: {bytes:02x?}");
            // A byte short of what the header claims: whether that is a lie or a cut is for the walk to say.
            assert_eq!(both_ways(link, &bytes[..bytes.len() - 1], bytes.len()).0, None, "{link:?}: {bytes:02x?}");
        }
    }
}

#[test]
fn every_shape_is_read_as_the_oracle_reads_it() {
    let shapes = shapes::matrix();
    let mut counted = 0;
    for Shape { name, link, bytes } in &shapes {
        check(*link, bytes, bytes.len(), || name.clone());
        counted += usize::from(parse(&Frame::new(bytes, bytes.len()), *link).is_ok());
    }
    println!("{} shapes, {counted} of them in flows", shapes.len());
    assert_eq!(counted, shapes.len(), "every well-formed shape is counted in a flow");
}

#[test]
fn ports_are_those_that_were_written() {
    let mut seen = 0;
    for Shape { name, link, bytes } in shapes::matrix() {
        let key = parse(&Frame::new(&bytes, bytes.len()), link).unwrap().key;
        let later = name.contains("middle fragment") || name.contains("last fragment");
        let ports = match name.rsplit(", ").next().unwrap() {
            _ if later => (0, 0),
            "udp" => (0xd431, 53),
            "udp empty" => (1, 0xffff),
            "sctp" => (2905, 2906),
            "vxlan" => (0xc111, 4789),
            "icmp echo" => (8, 0),
            "icmp echo reply" => (0, 8),
            "icmp unreachable" => (3, 3),
            "icmpv6 echo" => (128, 129),
            name if name.starts_with("tcp") => (0xc0d1, 443),
            "gre" | "ip in ip" | "ipv6 in ip" | "esp" | "igmp" | "unknown protocol" | "nothing" => (0, 0),
            _ => continue,
        };
        assert_eq!((key.src_port, key.dst_port), ports, "{name}");
        assert_eq!(key.is_later_fragment(), later, "{name}");
        seen += 1;
    }
    assert!(seen > 1_000);
}

#[test]
fn broken_frames_are_skipped_for_the_reason_they_are_broken() {
    for (Shape { name, link, bytes }, skip) in shapes::broken() {
        assert_eq!(parse(&Frame::new(&bytes, bytes.len()), link), Err(skip), "{name}");
        check(link, &bytes, bytes.len(), || name.clone());
    }
}

#[test]
fn frames_cut_at_any_byte_are_never_misread() {
    for Shape { name, link, bytes } in shapes::samples() {
        for cut in 0..bytes.len() {
            let what = || format!("{name}, cut at {cut}");
            // A short capture of a whole frame, and a frame that was short on the wire.
            check(link, &bytes[..cut], bytes.len(), what);
            check(link, &bytes[..cut], cut, what);
        }
    }
}

#[test]
fn a_cut_capture_keeps_what_it_read_of_the_whole() {
    for Shape { name, link, bytes } in shapes::samples() {
        let whole = parse(&Frame::new(&bytes, bytes.len()), link);
        for cut in 0..bytes.len() {
            let part = parse(&Frame::new(&bytes[..cut], bytes.len()), link);
            let cut_off = [Skip::LinkTruncated, Skip::IpTruncated, Skip::TransportTruncated];
            assert!(part == whole || part.is_err_and(|skip| cut_off.contains(&skip)), "{name}, cut at {cut}: {part:?}");
        }
    }
}

#[test]
fn any_header_byte_may_change() {
    for Shape { name, link, bytes } in shapes::samples() {
        let mut changed = bytes.clone();
        for at in 0..bytes.len().min(160) {
            for value in [0x00, 0xff, bytes[at] ^ 0x01, bytes[at] ^ 0x80, bytes[at].wrapping_add(0x11)] {
                changed[at] = value;
                check(link, &changed, changed.len(), || format!("{name}, byte {at} set to {value:#04x}"));
            }
            changed[at] = bytes[at];
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn frames_changed_at_random_are_read_alike(
        pick in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        cut in any::<prop::sample::Index>(),
        more in 0usize..3_000,
    ) {
        thread_local!(static SAMPLES: Vec<Shape> = shapes::samples());
        let Shape { name, link, mut bytes } = SAMPLES.with(|samples| pick.get(samples).clone());
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        let kept = cut.index(bytes.len() + 1);
        check(link, &bytes, bytes.len(), || name.clone());
        check(link, &bytes[..kept], kept + more, || name.clone());
    }

    #[test]
    fn noise_is_read_alike(bytes in prop::collection::vec(any::<u8>(), 0..200), link in 0usize..5) {
        let link = [Link::Ethernet, Link::RawIp, Link::LinuxSll, Link::LinuxSll2, Link::Loopback][link];
        check(link, &bytes, bytes.len(), || "noise".to_owned());
    }
}

/// The six bytes of link padding behind an empty packet were once counted as its payload.
#[test]
fn padding_behind_an_ipv6_packet_without_payload_is_not_payload() {
    for next_header in [frame::NO_NEXT, frame::ESP, 253] {
        let bytes = frame::padded(frame::ethernet(frame::IPV6, &Ipv6::of(next_header).wrap(&[])));
        let meta = parse(&Frame::new(&bytes, bytes.len()), Link::Ethernet).unwrap();
        assert_eq!((meta.len, meta.payload_len), (40, 0));
        check(Link::Ethernet, &bytes, bytes.len(), || format!("empty, next header {next_header}"));
    }
}

/// A second fragment header that claims a whole packet once made a first fragment whole, and its UDP
/// length, which counts the fragments to come, was taken for a lie.
#[test]
fn a_second_fragment_header_does_not_complete_a_fragment() {
    let datagram = frame::udp(5_000, 5_001, Some(1_400), &frame::payload(64));
    let chain = [frame::fragment_header(0, true), frame::fragment_header(0, false)];
    let bytes = frame::ethernet(frame::IPV6, &Ipv6::default().wrap_chain(&chain, frame::UDP, &datagram));
    let meta = parse(&Frame::new(&bytes, bytes.len()), Link::Ethernet).unwrap();
    assert_eq!((meta.key.src_port, meta.key.dst_port, meta.payload_len), (5_000, 5_001, 64));
    check(Link::Ethernet, &bytes, bytes.len(), || "two fragment headers".to_owned());
}
