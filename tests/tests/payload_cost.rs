//! What reading payload costs: ordinary flows next to nothing, and hostile ones no more than their length.

use std::time::{Duration, Instant};

use ids_agent::{
    config::PayloadSettings,
    payload::PayloadTable,
    source::{Batch, Sample},
};
use ids_common::flow::FlowKey;

/// Flows of one measurement.
const FLOWS: u32 = 2_000;

/// What a flow costs whose initiator sends these bytes, in three samples as the agent takes them by default.
fn cost(payload: &[u8]) -> Duration {
    let mut batch = Batch::default();
    batch.payloads.extend_from_slice(payload);
    for flow in 0..FLOWS {
        let mut address = [0; 16];
        address[12..].copy_from_slice(&flow.to_be_bytes());
        let key = FlowKey { src: address, dst: [1; 16], src_port: 40_000, dst_port: 4_000, proto: 6, kind: 0, vlan: 0 };
        for (index, part) in payload.chunks(1_024).take(3).enumerate() {
            batch.samples.push(Sample {
                key,
                seen_ns: 0,
                slot_first_seen_ns: 0,
                payload_len: part.len() as u32,
                index: index as u32,
                payload_start: index as u32 * 1_024,
                captured: part.len() as u32,
            });
        }
    }
    let mut table = PayloadTable::new(&PayloadSettings::default());
    let start = Instant::now();
    table.absorb(&batch);
    start.elapsed() / FLOWS
}

#[test]
fn ordinary_flows_cost_little_and_hostile_ones_no_more_than_their_length() {
    let request = "GET /a/page.html?id=12&lang=en HTTP/1.1\r\nHost: www.example.org\r\nUser-Agent: Mozilla/5.0 (X11; Linux \
        x86_64; rv:109.0) Gecko/20100101 Firefox/115.0\r\nAccept: text/html,application/xhtml+xml\r\nAccept-Language: \
        en-US,en;q=0.5\r\nCookie: session=abcdef0123456789; theme=dark\r\n\r\n";
    let page = format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n{}", "<p>Hello, world.</p>\n".repeat(150));
    let noise: Vec<u8> = (0..3_072u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let ordinary: [(&str, &[u8]); 4] = [
        ("TLS records", &[&b"\x17\x03\x03\x0b\xfb"[..], &noise].concat()),
        ("unknown bytes", &noise),
        ("an HTTP request", request.as_bytes()),
        ("an HTTP page", page.as_bytes()),
    ];
    let hostile = [
        ("SQL", format!("GET /?a={} HTTP/1.1\r\n\r\n", "select from where union ' or ".repeat(100))),
        ("tags", format!("GET /?a={} HTTP/1.1\r\n\r\n", "<img onx".repeat(360))),
        ("percent signs", format!("GET /?a={} HTTP/1.1\r\n\r\n", "%2525".repeat(580))),
        ("a page of objects", format!("HTTP/1.1 200 OK\r\n\r\n{}", "clsid: createobject \"c:\\".repeat(120))),
        ("chat", "nick [a|b]privmsg :".repeat(150)),
        ("calls", "\u{5}\0\u{b}\u{3}\u{10}\0\0\0\u{18}\0".repeat(290)),
    ];
    // The first flow of a kind compiles the patterns that it needs.
    for (what, payload) in &ordinary {
        let _ = cost(payload);
        let cost = cost(payload);
        println!("{what}: {cost:?} a flow");
        // Far above what a slow and busy machine needs without optimisation.
        assert!(cost < Duration::from_millis(2), "{what}: {cost:?}");
    }
    for (what, payload) in &hostile {
        let cost = cost(payload.as_bytes());
        println!("hostile {what}: {cost:?} a flow");
        assert!(cost < Duration::from_millis(20), "{what}: {cost:?}");
    }
}
