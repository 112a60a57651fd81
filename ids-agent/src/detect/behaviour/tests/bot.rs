//! What infected devices do, and what busy but healthy hosts do.

use super::*;
use crate::payload::ByteFacts;

fn datagram(n: u16, first: [u8; 8], port: u16) -> Flow {
    let [high, low] = n.to_be_bytes();
    let flow = udp(attacker(), 57_312, host(200, high, low), port, 10 * SEC + u64::from(n) * MS);
    let forward = ByteFacts { bytes: 27, first, ..ByteFacts::default() };
    (flow.packet(There, 0, 27), PayloadFacts { forward, ..PayloadFacts::default() })
}

fn mail(src: [u8; 16], n: u16) -> Flow {
    let [high, low] = n.to_be_bytes();
    let at_ns = 10 * SEC + u64::from(n) * 500 * MS;
    (tcp(src, 30_000 + n, host(200, high, low), 25, at_ns).handshake().exchange(900, 300).closed(), of(AppProto::Smtp))
}

#[test]
fn one_datagram_to_a_whole_range_is_an_announcement_and_no_sweep() {
    let flows: Vec<Flow> = (0..300).map(|n| datagram(n, *b"hi012345", 6_892)).collect();
    check(&flows, &[(Class::C2, "announcement", Subject::Source { src: attacker() })]);
}

#[test]
fn datagrams_to_services_are_still_sweeps() {
    let flows: Vec<Flow> = (0..300).map(|n| datagram(n, *b"hi012345", 1_900 - 1_747)).collect();
    check(&flows, &[(Class::PortScan, "udp_sweep", Subject::Source { src: attacker() })]);
}

#[test]
fn peers_that_are_asked_something_else_each_or_answer_are_quiet() {
    let flows: Vec<Flow> = (0..300u16).map(|n| datagram(n, u64::from(n).to_le_bytes(), 6_892)).collect();
    check_quiet(&flows);
    let answered: Vec<Flow> = (0..300)
        .map(|n| {
            let (flow, payload) = datagram(n, *b"getinfo ", 27_015);
            (if n % 3 == 0 { flow } else { flow.packet(Back, 0, 200) }, payload)
        })
        .collect();
    check_quiet(&answered);
}

#[test]
fn a_device_that_tries_ports_of_worms_on_strangers_is_recruiting() {
    let stranger = |n: u16| ids_common::parse::ipv4_mapped(u32::from_ne_bytes([203, (n >> 4) as u8, 113, n as u8]));
    let tries = |src: [u8; 16], dst: &dyn Fn(u16) -> [u8; 16], port: u16| -> Vec<Flow> {
        let flow = |n: u16| tcp(src, 30_000 + n, dst(n), port, 10 * SEC + u64::from(n) * SEC).syn();
        (0..40).map(|n| bare(flow(n))).collect()
    };
    let recruits = (Class::C2, "recruiting", Subject::Source { src: attacker() });
    for port in [23, 2_323, 37_215] {
        assert!(told(&findings(&tries(attacker(), &stranger, port))).contains(&recruits), "{port}");
    }
    // A stranger who does it is a scanner, as is who looks around within the house, or for web servers.
    let scans = |flows: &[Flow]| findings(flows).iter().all(|finding| finding.class == Class::PortScan);
    assert!(scans(&tries(stranger(9), &|n| host(1, 0, n as u8), 23)));
    assert!(scans(&tries(attacker(), &|n| host(1, 0, n as u8), 23)));
    assert!(scans(&tries(attacker(), &stranger, 443)));
    // Somebody who looks after devices of others gets answers.
    let served: Vec<Flow> = (0..40u16)
        .map(|n| {
            let flow = tcp(attacker(), 30_000 + n, stranger(n), 23, 10 * SEC + u64::from(n) * SEC).handshake();
            (flow.exchange(40, 900).closed(), of(AppProto::Telnet))
        })
        .collect();
    assert!(findings(&served).iter().all(|finding| finding.class != Class::C2));
}

#[test]
fn mail_to_one_server_after_another_is_spam_unless_a_mail_server_sends_it() {
    let flows: Vec<Flow> = (0..90).map(|n| mail(attacker(), n)).collect();
    check(&flows, &[(Class::C2, "spam", Subject::Source { src: attacker() })]);
    let mut served = vec![(
        tcp(host(9, 9, 9), 40_000, attacker(), 25, SEC).handshake().exchange(900, 300).closed(),
        of(AppProto::Smtp),
    )];
    served.extend(flows);
    check_quiet(&served);
    let few: Vec<Flow> = (0..90).map(|n| mail(attacker(), n % 12)).collect();
    check_quiet(&few);
}
