//! What each fuzz target does with its bytes. The fuzzers call these, and a plain test calls them
//! with every file of the committed corpora.

use std::{io::Cursor, path::Path};

use ids_agent::{
    config::{self, FlowSettings, SampleSettings},
    eve::{EveDetail, EveTotals, FollowStats, Lines, parse_line},
    source::{packets::PacketSettings, pcap::PcapSource},
};
use ids_common::{
    flow::{Continuity, FlowSlot},
    parse::{Frame, Link, parse},
};

use crate::{
    oracle::{self, Seen},
    replay::{assert_conserved, replay},
};

const LINKS: [Link; 5] = [Link::Ethernet, Link::RawIp, Link::LinuxSll, Link::LinuxSll2, Link::Loopback];

/// The bytes of a frame target's input that stand for a frame, with a link and the bytes that a
/// short capture left out.
pub fn frame_input(link: Link, left_out: u16, bytes: &[u8]) -> Vec<u8> {
    let link = LINKS.iter().position(|known| *known == link).unwrap() as u8;
    [&[link], left_out.to_le_bytes().as_slice(), bytes].concat()
}

/// Parses a frame: equal to the oracle, its payload inside the frame, and counted like any packet.
pub fn frame(data: &[u8]) {
    let [link, low, high, bytes @ ..] = data else { return };
    let link = LINKS[usize::from(*link) % LINKS.len()];
    let wire_len = bytes.len() + usize::from(u16::from_le_bytes([*low, *high]));
    let frame = Frame::new(bytes, wire_len);
    let parsed = parse(&frame, link);
    assert_eq!(parsed.map(|meta| Seen::from(&meta)), oracle::read(link, bytes, wire_len));

    let Ok(meta) = parsed else { return };
    assert!(meta.payload_len <= meta.len && meta.len as usize <= wire_len);
    let payload = frame.payload(&meta, 64);
    assert!(payload.len() <= 64.min(meta.payload_len as usize));
    assert_eq!(meta.key.reversed().reversed(), meta.key);
    let mut uncut = FlowSlot::begin(&meta, 1, Continuity::Continues);
    let mut merged = uncut;
    uncut.update(&meta, 5_000_000_000);
    merged.merge(&FlowSlot::begin(&meta, 5_000_000_000, Continuity::Continues));
    assert_eq!(uncut, merged);
    assert_eq!((uncut.packets, uncut.bytes), (2, 2 * u64::from(meta.len)));
}

/// Replays a capture down to flow records: whatever the bytes, nothing is lost but by name.
pub fn capture_file(data: &[u8]) {
    // Long ticks, because a capture may claim years of silence between its packets; a small table, so
    // that slots are pushed out of it too.
    let flow = FlowSettings { tick_millis: 60_000, flows_max: 16, ..FlowSettings::default() };
    let settings = PacketSettings { slots_max: 24, ..PacketSettings::new(&flow, &SampleSettings::default()) };
    let input = Box::new(Cursor::new(data.to_vec()));
    let Ok(source) = PcapSource::from_read("fuzzed", input, &settings, flow.tick_ns()) else { return };
    // Bytes in memory cannot fail to be read, so an error here is a finding.
    assert_conserved(&replay(source, &flow).unwrap(), "fuzzed");
}

/// Reads a configuration: settings that hold what they promise, or one line that says why not.
pub fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match config::from_text(text, Path::new("fuzzed.toml")) {
        Ok(read) => {
            // What the agent prints of its settings must be what it would read.
            let printed = toml::to_string(&read).unwrap();
            assert_eq!(config::from_text(&printed, Path::new("printed.toml")).unwrap(), read);
        }
        Err(error) => {
            let line = error.to_string();
            assert!(!line.is_empty() && !line.contains('\n'), "{line:?}");
        }
    }
}

/// Follows a stream of eve lines: every byte and every line is accounted for, however the stream is cut, and no string of
/// an event is longer than it may be.
pub fn eve(data: &[u8]) {
    let read = |piece: usize| {
        let (mut lines, mut totals, mut events) = (Lines::default(), EveTotals::default(), Vec::new());
        for bytes in data.chunks(piece) {
            lines.push(bytes, |line| {
                let read = parse_line(line);
                totals.count(&read);
                events.extend(read);
            });
        }
        lines.end();
        totals.take_input(FollowStats { lines: lines.stats(), ..FollowStats::default() });
        (totals, events)
    };
    let (totals, events) = read(data.len().max(1));
    assert!(totals.is_conserved(), "{totals:?}");
    assert_eq!(totals.input.lines.bytes, data.len() as u64);
    assert_eq!(totals.input.lines.bytes_settled(), data.len() as u64);
    assert_eq!(events.len() as u64, totals.events_all());
    for event in &events {
        if let EveDetail::Alert(alert) = &event.detail {
            assert!(alert.signature.len() <= 256 && alert.category.len() <= 256 && alert.techniques.len() <= 4);
        }
    }
    let pieces = 1 + data.len() % 13;
    assert_eq!(read(pieces), (totals, events));
}
