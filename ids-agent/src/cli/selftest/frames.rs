//! The built-in frames: ordinary traffic, and headers that lie. Checksums are left at zero; nobody
//! checks them.

/// One frame and what it is.
pub(super) struct Sample {
    pub(super) name: &'static str,
    pub(super) bytes: Vec<u8>,
}

const CLIENT: [u8; 4] = [192, 0, 2, 1];
const SERVER: [u8; 4] = [198, 51, 100, 2];
const CLIENT_V6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
const SERVER_V6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const VLAN: u16 = 0x8100;
const QINQ: u16 = 0x88a8;

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const PSH: u8 = 8;
const ACK: u8 = 16;

/// The frames, in the order of their times.
pub(super) fn all() -> Vec<Sample> {
    let request = b"GET / HTTP/1.1\r\nHost: selftest.example\r\n\r\n";
    let there = |flags, payload: &[u8]| ipv4(CLIENT, SERVER, 6, &tcp(40_000, 80, flags, payload));
    let back = |flags, payload: &[u8]| ipv4(SERVER, CLIENT, 6, &tcp(80, 40_000, flags, payload));
    let six = |flags, payload: &[u8]| ipv6(CLIENT_V6, SERVER_V6, 6, &tcp(41_000, 443, flags, payload));
    let mut frames = vec![
        sample("TCP SYN", ether(IPV4, &there(SYN, b""))),
        sample("TCP SYN and ACK", ether(IPV4, &back(SYN | ACK, b""))),
        sample("TCP ACK", ether(IPV4, &there(ACK, b""))),
        sample("HTTP request", ether(IPV4, &there(ACK | PSH, request))),
        sample("HTTP response", ether(IPV4, &back(ACK | PSH, &[b'x'; 1_200]))),
        sample("TCP FIN", ether(IPV4, &there(FIN | ACK, b""))),
        sample("TCP RST", ether(IPV4, &back(RST, b""))),
        sample("UDP", ether(IPV4, &ipv4(CLIENT, SERVER, 17, &udp(5_353, 53, b"question")))),
        sample("ICMP echo request", ether(IPV4, &ipv4(CLIENT, SERVER, 1, &icmp(8)))),
        sample("ICMP echo reply", ether(IPV4, &ipv4(SERVER, CLIENT, 1, &icmp(0)))),
        sample("ICMPv6 echo request", ether(IPV6, &ipv6(CLIENT_V6, SERVER_V6, 58, &icmp(128)))),
        sample("TCP over IPv6", ether(IPV6, &six(SYN, b""))),
        sample("TCP payload over IPv6", ether(IPV6, &six(ACK | PSH, b"hello"))),
        sample("SCTP", ether(IPV4, &ipv4(CLIENT, SERVER, 132, &sctp(5_000, 5_001)))),
        sample("GRE", ether(IPV4, &ipv4(CLIENT, SERVER, 47, &[0, 0, 0x08, 0, 0x45, 0, 0, 20]))),
        sample("VLAN tag", ether(VLAN, &tagged(7, IPV4, &there(ACK, b"")))),
        sample("two VLAN tags", ether(QINQ, &tagged(8, VLAN, &tagged(9, IPV4, &there(ACK, b""))))),
        sample("three VLAN tags", ether(QINQ, &tagged(8, VLAN, &tagged(9, VLAN, &tagged(10, IPV4, &there(ACK, b"")))))),
        sample("later fragment", ether(IPV4, &fragment(&ipv4(CLIENT, SERVER, 17, &[1; 64])))),
        sample(
            "IPv6 hop-by-hop options",
            ether(IPV6, &ipv6(CLIENT_V6, SERVER_V6, 0, &hop_by_hop(17, &udp(9, 9, b"x")))),
        ),
        sample(
            "ARP",
            ether(0x0806, &[0, 1, 8, 0, 6, 4, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        ),
        sample("spanning tree", ether(0x0026, &[0x42, 0x42, 3, 0, 0, 0, 0, 0])),
        sample("unknown EtherType", ether(0x88b5, &[0; 32])),
        sample("IPv4 cut short", ether(IPV4, there(ACK, b"").get(..12).unwrap_or_default())),
        sample(
            "TCP cut short",
            ether(IPV4, &ipv4(CLIENT, SERVER, 6, tcp(40_000, 80, ACK, b"").get(..8).unwrap_or_default())),
        ),
        sample("IPv6 behind the EtherType of IPv4", ether(IPV4, &six(ACK, b""))),
    ];
    for (name, at, value) in [
        ("IPv4 header length below its minimum", 14, 0x42),
        ("IPv4 length beyond the frame", 16, 0xff),
        ("TCP data offset below its minimum", 14 + 20 + 12, 0x10),
    ] {
        let mut bytes = ether(IPV4, &there(ACK, b"payload"));
        if let Some(byte) = bytes.get_mut(at) {
            *byte = value;
        }
        frames.push(sample(name, bytes));
    }
    let mut bytes = ether(IPV4, &ipv4(CLIENT, SERVER, 17, &udp(1, 2, b"short")));
    if let Some(byte) = bytes.get_mut(14 + 20 + 5) {
        *byte = 200;
    }
    frames.push(sample("UDP length beyond the packet", bytes));
    frames
}

fn sample(name: &'static str, bytes: Vec<u8>) -> Sample {
    Sample { name, bytes }
}

fn ether(ethertype: u16, body: &[u8]) -> Vec<u8> {
    let addresses = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
    [&addresses[..], &ethertype.to_be_bytes(), body].concat()
}

fn tagged(id: u16, ethertype: u16, body: &[u8]) -> Vec<u8> {
    [&id.to_be_bytes()[..], &ethertype.to_be_bytes(), body].concat()
}

fn ipv4(src: [u8; 4], dst: [u8; 4], proto: u8, body: &[u8]) -> Vec<u8> {
    let total = (20 + body.len() as u16).to_be_bytes();
    let head = [0x45, 0, total[0], total[1], 0, 0, 0, 0, 64, proto, 0, 0];
    [&head[..], &src, &dst, body].concat()
}

/// The same packet as a fragment behind the first.
fn fragment(packet: &[u8]) -> Vec<u8> {
    let mut later = packet.to_vec();
    if let Some(offset) = later.get_mut(7) {
        *offset = 185;
    }
    later
}

fn ipv6(src: [u8; 16], dst: [u8; 16], next: u8, body: &[u8]) -> Vec<u8> {
    let payload = (body.len() as u16).to_be_bytes();
    let head = [0x60, 0, 0, 0, payload[0], payload[1], next, 64];
    [&head[..], &src, &dst, body].concat()
}

fn hop_by_hop(next: u8, body: &[u8]) -> Vec<u8> {
    // PadN fills the eight bytes of the smallest header.
    [&[next, 0, 1, 4, 0, 0, 0, 0][..], body].concat()
}

fn tcp(src_port: u16, dst_port: u16, flags: u8, payload: &[u8]) -> Vec<u8> {
    let rest = [0, 0, 0, 1, 0, 0, 0, 1, 0x50, flags, 0x20, 0, 0, 0, 0, 0];
    [&src_port.to_be_bytes()[..], &dst_port.to_be_bytes(), &rest, payload].concat()
}

fn udp(src_port: u16, dst_port: u16, payload: &[u8]) -> Vec<u8> {
    let len = (8 + payload.len() as u16).to_be_bytes();
    [&src_port.to_be_bytes()[..], &dst_port.to_be_bytes(), &len, &[0, 0], payload].concat()
}

fn icmp(kind: u8) -> Vec<u8> {
    [&[kind, 0, 0, 0, 0, 1, 0, 1][..], b"ping"].concat()
}

fn sctp(src_port: u16, dst_port: u16) -> Vec<u8> {
    [&src_port.to_be_bytes()[..], &dst_port.to_be_bytes(), &[0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 4]].concat()
}
