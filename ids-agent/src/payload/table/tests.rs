//! Samples in, facts out: joins, gaps, bounds, and the same facts however batches are cut.

use ids_common::wire::{PROTO_TCP, PROTO_UDP};
use proptest::prelude::*;

use super::{
    super::{AppProto, Login, SignKind, dns, read, tls},
    *,
};
use crate::fabricated::{Back, Fabricated, SEC, There, host, key, samples};

fn tcp() -> FlowKey {
    key(host(0, 0, 1), 40_000, host(0, 0, 2), 443, PROTO_TCP)
}

/// A record of `key` that lasts from `start_ns` for ten seconds.
fn record(key: FlowKey, start_ns: u64) -> FlowRecord {
    Fabricated::new(key, start_ns).packet(There, 0, 1).packet(Back, 0, 1).wait(10 * SEC).packet(There, 0, 1).record()
}

fn facts(entries: &[(FlowKey, u64, u32, &[u8])]) -> PayloadFacts {
    let mut table = PayloadTable::new(&PayloadSettings::default());
    table.absorb(&samples(entries));
    let record = record(entries[0].0, entries[0].1);
    let facts = table.facts(&record);
    assert_eq!(table.spoken(&record), Spoken::from(&facts), "what the windows count is what the facts say");
    facts
}

#[test]
fn a_tls_flow_joins_both_hellos() {
    let (client, server) = (tls::tests::client_hello_record("www.example.net", 0), tls::tests::server_hello_record());
    let facts = facts(&[(tcp(), 0, 0, &client), (tcp().reversed(), 1, 0, &server)]);
    let tls = facts.tls.unwrap_or_default();
    assert_eq!(facts.app, AppProto::Tls);
    assert_eq!((tls.sni.as_deref(), tls.version_chosen), (Some("www.example.net"), Some(0x0304)));
    assert!(tls.ja4.is_some());
    assert_eq!(facts.forward.bytes as usize, client.len());
}

#[test]
fn a_hello_over_two_samples_is_put_together() {
    let client = tls::tests::client_hello_record("www.example.net", 1_200);
    let (front, back) = client.split_at(1_000);
    let facts = facts(&[(tcp(), 0, 0, front), (tcp(), 0, 1, back)]);
    let tls = facts.tls.unwrap_or_default();
    assert!(!tls.partial && tls.ja4.is_some());
}

#[test]
fn bytes_behind_a_gap_are_not_joined_to_those_before_it() {
    let client = tls::tests::client_hello_record("www.example.net", 1_200);
    let (front, back) = client.split_at(1_000);
    let mut table = PayloadTable::new(&PayloadSettings::default());
    table.absorb(&samples(&[(tcp(), 0, 0, front), (tcp(), 0, 2, back)]));
    let tls = table.facts(&record(tcp(), 0)).tls.unwrap_or_default();
    assert!(tls.partial);
    assert_eq!(table.stats().samples_unread, 1);
}

#[test]
fn a_cut_sample_ends_the_stream() {
    let mut batch = samples(&[(tcp(), 0, 0, b"GET / HTTP/1.1\r\nHost: a"), (tcp(), 0, 1, b"bc\r\n\r\n")]);
    batch.samples[0].payload_len += 10;
    let mut table = PayloadTable::new(&PayloadSettings::default());
    table.absorb(&batch);
    assert!(table.facts(&record(tcp(), 0)).http.unwrap_or_default().partial);
}

#[test]
fn dns_over_udp_gives_name_and_answer() {
    let key = key(host(0, 0, 1), 40_000, host(0, 0, 2), 53, PROTO_UDP);
    let (query, response) = (dns::tests::query("www.example.net", 16), dns::tests::response("www.example.net", 0, 1));
    let facts = facts(&[(key, 0, 0, &query), (key.reversed(), 1, 0, &response)]);
    let dns = facts.dns.unwrap_or_default();
    assert_eq!(facts.app, AppProto::Dns);
    assert_eq!((dns.query.as_deref(), dns.qtype.as_deref()), (Some("www.example.net"), Some("TXT")));
    assert_eq!((dns.rcode_label(), dns.answers), (Some("NOERROR"), 1));
}

#[test]
fn banners_are_told_by_side() {
    let facts = facts(&[(tcp(), 0, 0, b"SSH-2.0-libssh2_1.9\r\n"), (tcp().reversed(), 1, 0, b"SSH-2.0-x\x1b[0m\r\n")]);
    let ssh = facts.ssh.unwrap_or_default();
    assert_eq!(ssh.client.as_deref(), Some("SSH-2.0-libssh2_1.9"));
    assert_eq!(ssh.server.as_deref(), Some("SSH-2.0-x\\x1b[0m"));
}

#[test]
fn a_failed_login_shows() {
    let ftp = facts(&[
        (tcp(), 0, 0, b"USER root\r\n"),
        (tcp(), 0, 1, b"PASS x\r\n"),
        (tcp().reversed(), 1, 0, b"220 ready\r\n"),
        (tcp().reversed(), 1, 1, b"331 go on\r\n"),
        (tcp().reversed(), 1, 2, b"530 Login incorrect.\r\n"),
    ]);
    assert_eq!((ftp.app, ftp.login), (AppProto::Ftp, Login::Failed));
    let http = facts(&[
        (tcp(), 0, 0, b"GET / HTTP/1.1\r\nAuthorization: Basic eDp5\r\n\r\n"),
        (tcp().reversed(), 1, 0, b"HTTP/1.1 401 Unauthorized\r\n\r\n"),
    ]);
    assert_eq!(http.login, Login::Failed);
}

/// A request that says nothing, and one that is an attack.
const PLAIN: &[u8] = b"GET /a HTTP/1.1\r\nHost: a.example\r\n\r\n";
const ATTACK: &[u8] = b"GET /a?id=1+union+all+select+1,2,3-- HTTP/1.1\r\nHost: a.example\r\n\r\n";

#[test]
fn a_later_request_shows_its_signs_and_leaves_the_facts_as_they_were() {
    let early = [(tcp(), 0, 0, PLAIN), (tcp(), 0, 1, PLAIN), (tcp(), 0, 2, PLAIN)];
    let late = [&early[..], &[(tcp(), 0, 9, ATTACK)]].concat();
    let (before, after) = (facts(&early), facts(&late));
    assert!(before.signs.is_none());
    assert_eq!(
        after.signs.as_deref().and_then(|signs| signs.forward.first()).map(|s| s.kind),
        Some(SignKind::SqlInjection)
    );
    assert_eq!(PayloadFacts { signs: None, ..after }, before);
}

#[test]
fn what_comes_behind_a_silence_is_looked_at_too() {
    let after = facts(&[(tcp(), 0, 0, PLAIN), (tcp(), 5 * SEC, 0, ATTACK)]);
    assert_eq!(
        after.signs.as_deref().and_then(|signs| signs.forward.first()).map(|s| s.kind),
        Some(SignKind::SqlInjection)
    );
    assert_eq!(after.forward.bytes as usize, PLAIN.len());
}

#[test]
fn what_was_said_between_many_silences_is_kept_though_the_bytes_are_not() {
    let mut entries = vec![(tcp(), 0, 0, PLAIN), (tcp(), SEC, 0, ATTACK)];
    entries.extend((2..3 * SIDES_PER_KEY_MAX as u64).map(|at| (tcp(), SEC + at, 0, PLAIN)));
    let mut table = PayloadTable::new(&PayloadSettings::default());
    table.absorb(&samples(&entries));
    let facts = table.facts(&record(tcp(), 0));
    assert_eq!(
        facts.signs.as_deref().and_then(|signs| signs.forward.first()).map(|s| s.kind),
        Some(SignKind::SqlInjection)
    );
    assert_eq!(table.stats().bytes as usize, SIDES_PER_KEY_MAX * PLAIN.len());
}

#[test]
fn a_stream_that_was_told_stays_so_behind_a_silence() {
    // Encrypted bytes look like anything at all.
    let hello: &[u8] = b"SSH-2.0-a\r\n";
    let noise = [&[0x90; 64][..], b"\xeb\x10"].concat();
    assert!(facts(&[(tcp(), 0, 0, hello), (tcp(), 5 * SEC, 0, &noise)]).signs.is_none());
    assert!(facts(&[(tcp(), 0, 0, &noise)]).signs.is_some());
}

#[test]
fn signs_are_news_once() {
    let mut table = PayloadTable::new(&PayloadSettings::default());
    table.absorb(&samples(&[(tcp(), 0, 0, PLAIN)]));
    assert!(table.take_news().is_empty());
    table.absorb(&samples(&[(tcp(), 0, 5, ATTACK)]));
    assert_eq!(table.take_news(), [tcp()]);
    assert!(table.take_news().is_empty());
    table.absorb(&samples(&[(tcp(), 0, 6, PLAIN)]));
    assert!(table.take_news().is_empty());
}

#[test]
fn samples_of_all_stretches_are_given_back_and_read_to_the_same_facts() {
    let mut table = PayloadTable::new(&PayloadSettings::default());
    table.absorb(&samples(&[(tcp(), 5, 0, PLAIN), (tcp(), 5, 7, ATTACK), (tcp(), 5 * SEC, 0, PLAIN)]));
    let record = record(tcp(), 5);
    let packets = table.packets(&record);
    assert_eq!(packets.iter().map(|packet| packet.index).collect::<Vec<_>>(), [0, 7, 0]);
    assert_eq!(read(&record.key, &packets, 256), table.facts(&record));
}

#[test]
fn a_key_in_use_again_does_not_inherit() {
    let mut table = PayloadTable::new(&PayloadSettings::default());
    let (first, second) = (record(tcp(), SEC), record(tcp(), 20 * SEC));
    table.absorb(&samples(&[(tcp(), SEC, 0, b"SSH-2.0-a\r\n"), (tcp(), 20 * SEC, 0, b"GET / HTTP/1.1\r\n\r\n")]));
    assert_eq!(table.facts(&first).app, AppProto::Ssh);
    assert_eq!(table.facts(&second).app, AppProto::Http);
    table.forget(&first);
    assert_eq!(table.facts(&second).app, AppProto::Http);
    table.forget(&second);
    assert_eq!(table.facts(&second), PayloadFacts::default());
    assert_eq!((table.stats().directions, table.stats().bytes), (0, 0));
}

#[test]
fn held_samples_are_given_back_and_read_to_the_same_facts() {
    let (client, server) =
        (tls::tests::client_hello_record("www.example.net", 1_200), tls::tests::server_hello_record());
    let (front, back) = client.split_at(1_000);
    let mut batch = samples(&[(tcp(), 5, 0, front), (tcp().reversed(), 6, 0, &server), (tcp(), 5, 1, back)]);
    batch.samples[1].payload_len += 7;
    let mut table = PayloadTable::new(&PayloadSettings::default());
    table.absorb(&batch);
    let record = record(tcp(), 5);
    let packets = table.packets(&record);
    let shape: Vec<_> = packets.iter().map(|packet| (packet.key, packet.bytes.len(), packet.payload_len)).collect();
    let (len, server_len) = (client.len(), server.len());
    let cut = (tcp().reversed(), server_len, server_len as u32 + 7);
    assert_eq!(shape, [(tcp(), 1_000, 1_000), (tcp(), len - 1_000, len as u32 - 1_000), cut]);
    assert_eq!(packets.iter().map(|packet| packet.seen_ns / 1_000).collect::<Vec<_>>(), [0, 0, 0]);
    assert_eq!(read(&record.key, &packets, 256), table.facts(&record));
    table.forget(&record);
    assert!(table.packets(&record).is_empty());
}

#[test]
fn bounds_hold_and_are_counted() {
    let settings = PayloadSettings { flows_max: 8, bytes_max: 4_096, ..PayloadSettings::default() };
    let mut table = PayloadTable::new(&settings);
    for port in 0..1_000u16 {
        let key = FlowKey { src_port: port, ..tcp() };
        table.absorb(&samples(&[(key, 0, 0, &[b'x'; 700])]));
        assert!(table.stats().bytes <= 4_096 && table.stats().directions <= 16);
    }
    let stats = table.stats();
    assert_eq!(stats.flows_evicted, 1_000 - 16);
    assert!(stats.bytes_evicted > 900);
    assert!(table.holding.len() <= 2 * 16 * SIDES_PER_KEY_MAX + 1);
    // What was read of a side that let go of its bytes stays.
    let last = FlowKey { src_port: 990, ..tcp() };
    assert_eq!(table.facts(&record(last, 0)).forward.bytes, 700);
}

proptest! {
    #[test]
    fn batches_may_be_split_anywhere(payloads in prop::collection::vec((0u16..4, any::<bool>(), prop::collection::vec(any::<u8>(), 0..80)), 0..24), split in 0usize..24) {
        let settings = PayloadSettings { bytes_max: 400, ..PayloadSettings::default() };
        let entries: Vec<_> = payloads.iter().enumerate().map(|(at, (port, back, payload))| {
            let key = FlowKey { src_port: *port, ..tcp() };
            let key = if *back { key.reversed() } else { key };
            let index = payloads[..at].iter().filter(|(p, b, _)| (p, b) == (port, back)).count() as u32;
            (key, 0u64, index, payload.as_slice())
        }).collect();
        let split = split.min(entries.len());
        let (mut one, mut two) = (PayloadTable::new(&settings), PayloadTable::new(&settings));
        one.absorb(&samples(&entries));
        two.absorb(&samples(&entries[..split]));
        two.absorb(&samples(&entries[split..]));
        for port in 0..4 {
            let record = record(FlowKey { src_port: port, ..tcp() }, 0);
            prop_assert_eq!(one.facts(&record), two.facts(&record));
        }
        prop_assert_eq!(one.stats(), two.stats());
    }
}
