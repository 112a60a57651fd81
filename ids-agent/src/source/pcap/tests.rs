//! Captures in all their forms, whole and damaged.
#![expect(clippy::unwrap_used, reason = "a failing test may panic")]

use std::io::{Cursor, Write};

use ids_common::counter::Counter;

use super::*;
use crate::source::SlotState;

const SEC: u64 = 1_000_000_000;

/// Ethernet, IPv4, UDP, `payload` bytes.
fn frame(port: u16, payload: usize) -> Vec<u8> {
    let mut bytes = vec![0; 12];
    bytes.extend([0x08, 0x00, 0x45, 0]);
    bytes.extend((28 + payload as u16).to_be_bytes());
    bytes.extend([0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    bytes.extend(port.to_be_bytes());
    bytes.extend(53u16.to_be_bytes());
    bytes.extend((8 + payload as u16).to_be_bytes());
    bytes.extend([0, 0]);
    bytes.extend(std::iter::repeat_n(0x61, payload));
    bytes
}

#[derive(Clone, Copy)]
struct Pcap {
    magic: u32,
    big_endian: bool,
    link: u32,
}

const MICROS: Pcap = Pcap { magic: 0xa1b2_c3d4, big_endian: false, link: 1 };

impl Pcap {
    fn word(self, value: u32) -> [u8; 4] {
        if self.big_endian { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    fn file(self, packets: &[(u32, u32, &[u8])]) -> Vec<u8> {
        let mut file = self.word(self.magic).to_vec();
        file.extend(if self.big_endian { [0, 2, 0, 4] } else { [2, 0, 4, 0] });
        for value in [0, 0, 65_535, self.link] {
            file.extend(self.word(value));
        }
        for (secs, fraction, bytes) in packets {
            for value in [*secs, *fraction, bytes.len() as u32, bytes.len() as u32] {
                file.extend(self.word(value));
            }
            if self.magic == 0xa1b2_cd34 {
                file.extend([0; 8]);
            }
            file.extend_from_slice(bytes);
        }
        file
    }
}

/// A pcapng section of one interface, little-endian.
fn pcapng(link: u16, resolution: u8, ticks: &[u64], bytes: &[u8]) -> Vec<u8> {
    fn block(kind: u32, body: &[u8]) -> Vec<u8> {
        let mut body = body.to_vec();
        body.resize(body.len().next_multiple_of(4), 0);
        let len = (body.len() as u32 + 12).to_le_bytes();
        [&kind.to_le_bytes()[..], &len, &body, &len].concat()
    }
    let mut section = 0x1a2b_3c4du32.to_le_bytes().to_vec();
    section.extend([1, 0, 0, 0]);
    section.extend(u64::MAX.to_le_bytes());
    let mut interface = link.to_le_bytes().to_vec();
    interface.extend([0; 6]);
    interface.extend([9, 0, 1, 0, resolution, 0, 0, 0, 0, 0, 0, 0]);
    let mut file = [block(0x0a0d_0d0a, &section), block(1, &interface)].concat();
    for ticks in ticks {
        let mut packet = 0u32.to_le_bytes().to_vec();
        packet.extend(((ticks >> 32) as u32).to_le_bytes());
        packet.extend((*ticks as u32).to_le_bytes());
        packet.extend((bytes.len() as u32).to_le_bytes());
        packet.extend((bytes.len() as u32).to_le_bytes());
        packet.extend_from_slice(bytes);
        file.extend(block(6, &packet));
    }
    file
}

fn open(file: Vec<u8>) -> Result<PcapSource, CaptureError> {
    let settings = PacketSettings::new(&FlowSettings::default(), &SampleSettings::default());
    PcapSource::from_read("test", Box::new(Cursor::new(file)), &settings, SEC / 2)
}

/// Replays to the end: the facts, flow packets and the number of ticks.
fn replay(file: Vec<u8>) -> (CaptureFacts, u64, u64) {
    let mut source = open(file).unwrap();
    let mut batch = Batch::default();
    let (mut ticks, mut closed) = (0, 0);
    loop {
        let progress = source.next_batch(&mut batch).unwrap();
        ticks += 1;
        let last_words = batch.slots.iter().filter(|update| update.state == SlotState::Closed);
        closed += last_words.map(|update| update.slot.packets).sum::<u64>();
        if progress == Progress::End {
            break;
        }
    }
    let totals = *source.totals();
    let facts = source.facts();
    assert_eq!(totals.counter(Counter::PacketsSeen), facts.packets);
    assert_eq!(totals.counter(Counter::FlowPackets) + totals.skipped_all(), facts.packets);
    assert_eq!(totals.counter(Counter::FlowPackets), closed);
    (facts, closed, ticks)
}

#[test]
fn every_pcap_byte_order_and_resolution_gives_the_same_times() {
    let frame = frame(1_000, 5);
    for (pcap, fraction) in [
        (MICROS, 7),
        (Pcap { big_endian: true, ..MICROS }, 7),
        (Pcap { magic: 0xa1b2_3c4d, ..MICROS }, 7_000),
        (Pcap { magic: 0xa1b2_3c4d, big_endian: true, ..MICROS }, 7_000),
        (Pcap { magic: 0xa1b2_cd34, ..MICROS }, 7),
    ] {
        let (facts, packets, _) = replay(pcap.file(&[(5, fraction, &frame), (6, fraction, &frame)]));
        assert_eq!((facts.first_ns, facts.last_ns), (Some(5 * SEC + 7_000), Some(6 * SEC + 7_000)));
        assert_eq!((facts.packets, packets, facts.note), (2, 2, None));
    }
}

#[test]
fn pcapng_resolutions_are_powers_of_ten_or_two() {
    let frame = frame(1_000, 6);
    for (resolution, ticks, ns) in [
        (6, 5_000_007, 5 * SEC + 7_000),
        (9, 5 * SEC + 7, 5 * SEC + 7),
        (3, 5_007, 5 * SEC + 7_000_000),
        (0x80 | 10, 5 * 1_024 + 512, 5 * SEC + SEC / 2),
        (12, 5_000_000_007_000, 5 * SEC + 7),
    ] {
        let (facts, packets, _) = replay(pcapng(1, resolution, &[ticks], &frame));
        assert_eq!((facts.first_ns, packets), (Some(ns), 1), "resolution {resolution}");
    }
}

#[test]
fn compressed_captures_are_unpacked() {
    let frame = frame(1_000, 100);
    let file = MICROS.file(&[(5, 0, &frame[..]); 50]);
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(&file).unwrap();
    let gz = gz.finish().unwrap();
    assert_eq!(replay(gz.clone()).0.packets, 50);
    assert_eq!(replay(zstd::encode_all(&file[..], 1).unwrap()).0.packets, 50);

    let (facts, ..) = replay(gz[..gz.len() - 12].to_vec());
    assert!(facts.note.unwrap().starts_with("damaged compression at byte"));
}

#[test]
fn a_file_cut_anywhere_gives_what_stands_before_the_cut() {
    let frame = frame(1_000, 5);
    for file in [MICROS.file(&[(5, 0, &frame), (5, 1, &frame)]), pcapng(1, 6, &[5_000_000, 5_000_001], &frame)] {
        for cut in 24..file.len() {
            let (facts, packets, _) = replay(file[..cut].to_vec());
            assert_eq!(facts.packets, packets);
            assert!(packets < 2);
        }
    }
    let cut = MICROS.file(&[(5, 0, &frame), (5, 1, &frame)]);
    let (facts, ..) = replay(cut[..cut.len() - 1].to_vec());
    assert_eq!(facts.note.unwrap(), format!("truncated at byte {} after 1 packets", cut.len() - 1));
    let (facts, ..) = replay(cut[..10].to_vec());
    assert_eq!(facts.note.unwrap(), "truncated inside its header, at byte 10 after 0 packets");
}

#[test]
fn a_record_that_claims_more_than_can_be_is_where_the_file_ends() {
    let frame = frame(1_000, 5);
    let mut file = MICROS.file(&[(5, 0, &frame), (5, 1, &frame)]);
    let second = 24 + 16 + frame.len();
    file[second + 8..second + 12].copy_from_slice(&u32::MAX.to_le_bytes());
    let (facts, ..) = replay(file);
    assert_eq!(facts.packets, 1);
    assert!(facts.note.unwrap().contains("more than 64 MiB"));
}

#[test]
fn what_is_no_capture_is_named() {
    let error_of = |bytes: &[u8]| open(bytes.to_vec()).err().unwrap().to_string();
    assert_eq!(error_of(b""), "`test` is no pcap or pcapng capture: it is empty");
    assert!(error_of(b"PK\x03\x04 and so on").ends_with("a zip archive: unpack it first"));
    assert!(error_of(b"alert tcp any any -> any any").ends_with("plain text"));
    assert!(error_of(&[0xde, 0xad, 0xbe, 0xef, 1]).ends_with("(it begins with de ad be ef)"));
}

#[test]
fn other_link_types_are_counted_by_name() {
    let frame = frame(1_000, 5);
    let (facts, packets, _) = replay(Pcap { link: 127, ..MICROS }.file(&[(5, 0, &frame), (5, 0, &frame)]));
    assert_eq!((facts.links_unsupported, packets), (vec![("ieee802_11_radiotap".into(), 2)], 0));
    for link in [12, 101, 228] {
        let (_, packets, _) = replay(Pcap { link, ..MICROS }.file(&[(5, 0, &frame[14..])]));
        assert_eq!(packets, 1);
    }
}

#[test]
fn times_never_run_backwards() {
    let frame = frame(1_000, 5);
    let (facts, packets, _) = replay(MICROS.file(&[(9, 0, &frame), (5, 0, &frame), (9, 1, &frame)]));
    assert_eq!((facts.times_clamped, packets), (1, 3));
    assert_eq!((facts.first_ns, facts.last_ns), (Some(9 * SEC), Some(9 * SEC + 1_000)));
}

#[test]
fn ticks_are_aligned_and_long_silences_are_cut_short() {
    let frame = frame(1_000, 5);
    let mut source =
        open(MICROS.file(&[(5, 700_000, &frame), (6, 0, &frame), (7, 0, &frame), (4_000_000, 0, &frame)])).unwrap();
    let mut batch = Batch::default();
    let mut ends = Vec::new();
    while source.next_batch(&mut batch).unwrap() == Progress::Tick {
        ends.push(batch.now_ns);
    }
    assert_eq!(ends[..3], [6 * SEC, 6 * SEC + SEC / 2, 7 * SEC]);
    assert!(ends.iter().all(|end| end % (SEC / 2) == 0));
    assert_eq!(ends.len(), 4 + 1_200);
    assert_eq!(batch.now_ns, 4_000_000 * SEC + 1);
}

#[test]
fn slots_are_sampled_and_silences_cut_them() {
    let (first, other) = (frame(1_000, 2_000), frame(1_001, 9));
    let packets: Vec<(u32, u32, &[u8])> =
        vec![(5, 0, &first), (5, 1, &first), (5, 2, &other), (5, 3, &first), (5, 4, &first), (20, 0, &first)];
    let mut source = open(MICROS.file(&packets)).unwrap();
    let mut batch = Batch::default();
    source.next_batch(&mut batch).unwrap();
    let sampled: Vec<_> = batch.samples.iter().map(|s| (s.key.src_port, s.index, s.payload_len, s.captured)).collect();
    assert_eq!(
        sampled,
        [(1_000, 0, 2_000, 1_024), (1_000, 1, 2_000, 1_024), (1_001, 0, 9, 9), (1_000, 2, 2_000, 1_024)]
    );
    assert_eq!(batch.payload(&batch.samples[2]), [0x61; 9]);
    let mut closed = Vec::new();
    while source.next_batch(&mut batch).unwrap() == Progress::Tick {
        closed.extend(batch.slots.iter().map(|update| (update.state, update.slot.packets)));
    }
    assert_eq!(closed, [(SlotState::Closed, 4), (SlotState::Closed, 1)]);
    assert_eq!((batch.slots.len(), batch.slots[0].slot.packets), (1, 1));
}

#[test]
fn a_full_table_lets_the_oldest_slot_go() {
    let settings =
        PacketSettings { slots_max: 2, ..PacketSettings::new(&FlowSettings::default(), &SampleSettings::default()) };
    let frames: Vec<Vec<u8>> = (0..5).map(|port| frame(port, 1)).collect();
    let packets: Vec<(u32, u32, &[u8])> = frames.iter().map(|frame| (5, 0, &frame[..])).collect();
    let file = MICROS.file(&packets);
    let mut source = PcapSource::from_read("test", Box::new(Cursor::new(file)), &settings, SEC / 2).unwrap();
    let mut batch = Batch::default();
    assert_eq!(source.next_batch(&mut batch).unwrap(), Progress::End);
    let ports: Vec<u16> = batch.slots.iter().map(|update| update.slot.key.src_port).collect();
    assert_eq!(ports.len(), 5);
    assert_eq!(source.totals().counter(Counter::SlotsEvicted), 3);
}
