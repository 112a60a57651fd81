//! Frames that the benches send: floods, pages and downloads, with right lengths and checksums, in a classic capture file.
//! The same numbers give the same frames. Knows no interface.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::Path,
};

use anyhow::{Context, Result};

const TCP: u8 = 6;
const UDP: u8 = 17;
const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const PSH: u8 = 0x08;
const ACK: u8 = 0x10;
/// Payload of a full packet.
const SEGMENT: usize = 1_448;
const SERVER: [u8; 4] = [10, 77, 0, 80];

/// One side of a conversation.
type Peer = ([u8; 4], u16);

/// Writes a capture file of these frames, a microsecond apart.
pub(super) fn write(path: &Path, frames: &[Vec<u8>]) -> Result<()> {
    let file = File::create(path).with_context(|| format!("`{}` cannot be written", path.display()))?;
    let mut out = BufWriter::new(file);
    // Magic, version 2.4, zone, accuracy, bytes kept, Ethernet.
    for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65_535, 1] {
        out.write_all(&word.to_le_bytes())?;
    }
    for (at, frame) in (0_u32..).zip(frames) {
        let length = u32::try_from(frame.len()).context("a frame is too long")?;
        for word in [at / 1_000_000, at % 1_000_000, length, length] {
            out.write_all(&word.to_le_bytes())?;
        }
        out.write_all(frame)?;
    }
    out.flush().context("the capture cannot be written")
}

/// SYNs to one port, each of a source that sends no other.
pub(super) fn syn_flood(round: u32, packets: u32) -> Vec<Vec<u8>> {
    (0..packets)
        .map(|number| {
            let (source, word) = stranger(round, number);
            tcp(source, (SERVER, 80), [word, 0], SYN, &[])
        })
        .collect()
}

/// Datagrams of 64 random bytes, each of a source that sends no other.
pub(super) fn udp_flood(round: u32, packets: u32) -> Vec<Vec<u8>> {
    (0..packets)
        .map(|number| {
            let (source, word) = stranger(round, number);
            let payload: Vec<u8> = (0..16).flat_map(|at| mixed(word ^ at << 8).to_le_bytes()).collect();
            let mut segment = [source.1.to_be_bytes(), 9_000_u16.to_be_bytes()].concat();
            segment.extend((8 + payload.len() as u16).to_be_bytes());
            segment.extend([0, 0]);
            segment.extend(payload);
            packet(source.0, SERVER, UDP, segment, 6)
        })
        .collect()
}

/// Pages of 11 KiB, one after another, from twenty clients.
pub(super) fn pages(round: u32, pages: u32) -> Vec<Vec<u8>> {
    let body = "<p>All is well with the machines of the house today.</p>\n".repeat(200);
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    (0..pages)
        .flat_map(|number| {
            let request =
                format!("GET /page{number}.html HTTP/1.1\r\nHost: intranet.example\r\nUser-Agent: Mozilla/5.0\r\n\r\n");
            conversation(round, number, 80, &[request.into_bytes()], answer.as_bytes())
        })
        .collect()
}

/// Downloads of 300 KiB over TLS 1.2, as far as one sees from outside.
pub(super) fn downloads(round: u32, downloads: u32) -> Vec<Vec<u8>> {
    (0..downloads)
        .flat_map(|number| {
            let mut answer = record(22, &server_hello(number));
            answer.extend(record(20, &[1]));
            answer.extend(record(22, &random(number, 40)));
            for part in 0..20 {
                answer.extend(record(23, &random(number ^ part << 20, 15_360)));
            }
            let asked = [record(22, &client_hello(number)), record(23, &random(!number, 300))];
            conversation(round, number, 443, &asked, &answer)
        })
        .collect()
}

/// A connection of a client to the server: asked in one or more packets, answered at once.
fn conversation(round: u32, number: u32, port: u16, asked: &[Vec<u8>], answer: &[u8]) -> Vec<Vec<u8>> {
    let client: Peer = ([192, 168, 77, 10 + (number % 20) as u8], 32_768 + ((round * 8_192 + number) % 28_000) as u16);
    let server = (SERVER, port);
    let (mut ours, mut theirs) = (mixed(number ^ round << 24), mixed(!number));
    let mut frames = vec![tcp(client, server, [ours, 0], SYN, &[])];
    ours = ours.wrapping_add(1);
    frames.push(tcp(server, client, [theirs, ours], SYN | ACK, &[]));
    theirs = theirs.wrapping_add(1);
    frames.push(tcp(client, server, [ours, theirs], ACK, &[]));
    for part in asked {
        frames.push(tcp(client, server, [ours, theirs], PSH | ACK, part));
        ours = ours.wrapping_add(part.len() as u32);
    }
    for (at, part) in answer.chunks(SEGMENT).enumerate() {
        frames.push(tcp(server, client, [theirs, ours], ACK, part));
        theirs = theirs.wrapping_add(part.len() as u32);
        if at % 2 == 1 {
            frames.push(tcp(client, server, [ours, theirs], ACK, &[]));
        }
    }
    frames.push(tcp(server, client, [theirs, ours], FIN | ACK, &[]));
    theirs = theirs.wrapping_add(1);
    frames.push(tcp(client, server, [ours, theirs], FIN | ACK, &[]));
    frames.push(tcp(server, client, [theirs, ours.wrapping_add(1)], ACK, &[]));
    frames
}

/// A made-up source in 172.16.0.0/12, another one for each number and round, and a word of its own.
fn stranger(round: u32, number: u32) -> (Peer, u32) {
    // Odd, so that no two numbers give the same one.
    let word = (round << 18 ^ number).wrapping_mul(0x9e37_79b1);
    let [a, b, c, d] = word.to_be_bytes();
    (([172, 16 | a & 15, b, c], 1_024 + (u16::from(d) << 4 | u16::from(a >> 4))), word)
}

fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    let mut record = vec![kind, 3, 3];
    record.extend((content.len() as u16).to_be_bytes());
    record.extend(content);
    record
}

fn handshake(kind: u8, content: &[u8]) -> Vec<u8> {
    let mut message = vec![kind, 0];
    message.extend((content.len() as u16).to_be_bytes());
    message.extend(content);
    message
}

fn client_hello(number: u32) -> Vec<u8> {
    let name = b"files.intranet.example";
    let mut content = vec![3, 3];
    content.extend(random(number, 32));
    // No session, three suites, no compression.
    content.extend([0, 0, 6, 0xc0, 0x2f, 0xc0, 0x30, 0x00, 0x9c, 1, 0]);
    let mut names = vec![0, 0];
    names.extend((name.len() as u16 + 5).to_be_bytes());
    names.extend((name.len() as u16 + 3).to_be_bytes());
    names.push(0);
    names.extend((name.len() as u16).to_be_bytes());
    names.extend(name);
    content.extend((names.len() as u16).to_be_bytes());
    content.extend(names);
    handshake(1, &content)
}

fn server_hello(number: u32) -> Vec<u8> {
    let mut content = vec![3, 3];
    content.extend(random(!number, 32));
    content.extend([0, 0xc0, 0x2f, 0]);
    handshake(2, &content)
}

fn random(seed: u32, bytes: usize) -> Vec<u8> {
    (0..bytes.div_ceil(4) as u32).flat_map(|at| mixed(seed ^ at.rotate_left(12)).to_le_bytes()).take(bytes).collect()
}

/// The finish of MurmurHash3: as good as chance.
fn mixed(mut word: u32) -> u32 {
    word = (word ^ (word >> 16)).wrapping_mul(0x85eb_ca6b);
    word = (word ^ (word >> 13)).wrapping_mul(0xc2b2_ae35);
    word ^ (word >> 16)
}

fn tcp(from: Peer, to: Peer, [seq, ack]: [u32; 2], flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut segment = [from.1.to_be_bytes(), to.1.to_be_bytes()].concat();
    segment.extend(seq.to_be_bytes());
    segment.extend(ack.to_be_bytes());
    segment.extend([0x50, flags]);
    segment.extend(64_240_u16.to_be_bytes());
    segment.extend([0, 0, 0, 0]);
    segment.extend(payload);
    packet(from.0, to.0, TCP, segment, 16)
}

/// An Ethernet frame; `checksum_at` is where the segment's checksum belongs.
fn packet(src: [u8; 4], dst: [u8; 4], proto: u8, mut segment: Vec<u8>, checksum_at: usize) -> Vec<u8> {
    let length = segment.len() as u16;
    let pseudo = [&src[..], &dst[..], &[0, proto], &length.to_be_bytes()[..]].concat();
    let sum = checksum(&[&pseudo, &segment]);
    segment[checksum_at..checksum_at + 2].copy_from_slice(&sum.to_be_bytes());
    let mut header = vec![0x45, 0];
    header.extend((20 + length).to_be_bytes());
    header.extend([0, 0, 0x40, 0, 64, proto, 0, 0]);
    header.extend(src);
    header.extend(dst);
    let sum = checksum(&[&header]);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
    frame.extend(header);
    frame.extend(segment);
    frame.resize(frame.len().max(60), 0);
    frame
}

/// RFC 1071; all parts but the last are of even length.
fn checksum(parts: &[&[u8]]) -> u16 {
    let words = parts.iter().flat_map(|part| part.chunks(2));
    let sum: u32 = words.map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !(((folded & 0xffff) + (folded >> 16)) as u16)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{SERVER, checksum, downloads, pages, syn_flood, udp_flood};

    #[test]
    fn headers_and_segments_add_up_and_no_frame_is_longer_than_the_wire_takes() {
        for frame in [pages(0, 2), downloads(1, 2), syn_flood(2, 3), udp_flood(3, 3)].concat() {
            let ip = &frame[14..34];
            assert_eq!(checksum(&[ip]), 0);
            let length = usize::from(u16::from_be_bytes([ip[2], ip[3]]));
            assert!(length <= 1_500 && frame.len() >= 14 + length, "{length}");
            let segment = &frame[34..14 + length];
            let pseudo = [&ip[12..20], &[0, ip[9]], &(segment.len() as u16).to_be_bytes()[..]].concat();
            assert_eq!(checksum(&[&pseudo, segment]), 0);
        }
    }

    #[test]
    fn every_packet_of_a_flood_is_a_flow_of_its_own_in_every_round() {
        let floods = (0..3).flat_map(|round| syn_flood(round, 20_000));
        let sources: BTreeSet<Vec<u8>> = floods.map(|frame| [&frame[26..30], &frame[34..36]].concat()).collect();
        assert_eq!(sources.len(), 60_000);
        assert_eq!(syn_flood(0, 1)[0][30..34], SERVER);
    }
}
