//! A capture to measure with where none is given: connections of all lengths, 300 at a time, drawn by numbers that are the
//! same in every run. As many packets a flow as in the homes of the lab: some 150.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use ids_tests::frame;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Packets of a capture that is made without a number.
const PACKETS: usize = 1_000_000;
/// Packets between two requests of a connection.
const REQUEST_EVERY: usize = 40;

/// The file that was named, or one that is made, with the folder that holds it.
pub(crate) fn given(args: &[String]) -> (PathBuf, Option<TempDir>) {
    if let Some(path) = args.first() {
        return (PathBuf::from(path), None);
    }
    let folder = tempfile::tempdir().expect("a temporary directory");
    let path = folder.path().join("made.pcap");
    write(&path, PACKETS);
    (path, Some(folder))
}

/// `ids-bench capture FILE [PACKETS]`.
pub(crate) fn run(args: &[String]) -> Value {
    let path = args.first().expect("a file to write");
    let packets = args.get(1).map_or(PACKETS, |packets| packets.parse().expect("a number of packets"));
    write(Path::new(path), packets);
    json!({ "packets": packets, "bytes": std::fs::metadata(path).map_or(0, |file| file.len()) })
}

/// One connection of the made capture.
struct Talk {
    number: u64,
    client: [u8; 4],
    server: [u8; 4],
    ports: (u16, u16),
    sent: usize,
    length: usize,
}

/// Numbers that look like chance, the same in every run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }
}

/// Writes a mix of connections of all lengths, 300 at a time: three packets, or hundreds.
fn write(path: &Path, packets: usize) {
    let mut chance = Chance(0x2545_f491_4f6c_dd1d);
    let mut file = BufWriter::new(File::create(path).expect("a file for the capture"));
    let mut write = |bytes: &[u8]| file.write_all(bytes).expect("room for the capture");
    write(&[0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0]);
    let noise: Vec<u8> = (0..65_536).map(|_| chance.below(256) as u8).collect();
    let mut talks: Vec<Talk> = Vec::new();
    let (mut at_us, mut number) = (1_700_000_000_000_000_u64, 0);
    for _ in 0..packets {
        at_us += chance.below(200);
        if talks.len() < 300 {
            number += 1;
            talks.push(Talk::begin(number, &mut chance));
        }
        let chosen = chance.below(talks.len() as u64) as usize;
        let bytes = talks[chosen].packet(&noise, &mut chance);
        talks[chosen].sent += 1;
        if talks[chosen].sent >= talks[chosen].length {
            talks.swap_remove(chosen);
        }
        for word in [at_us / 1_000_000, at_us % 1_000_000, bytes.len() as u64, bytes.len() as u64] {
            write(&(word as u32).to_le_bytes());
        }
        write(&bytes);
    }
    file.flush().expect("room for the capture");
}

impl Talk {
    fn begin(number: u64, chance: &mut Chance) -> Self {
        let port = [443, 443, 443, 443, 80, 80, 53, 53, 53, 22, 8_333][chance.below(11) as usize];
        let length = match port {
            53 => 2,
            _ if chance.below(3) == 0 => 5 + chance.below(1_200) as usize,
            _ => 3 + chance.below(12) as usize,
        };
        let client = [10, 0, 0, chance.below(200) as u8];
        let server = [10, 1, chance.below(4) as u8, chance.below(200) as u8];
        Self { number, client, server, ports: (1_024 + chance.below(60_000) as u16, port), sent: 0, length }
    }

    /// The next packet: handshake, a request now and then with an answer of many segments, FIN.
    fn packet(&self, noise: &[u8], chance: &mut Chance) -> Vec<u8> {
        let behind = self.sent.saturating_sub(2);
        let says = match (self.ports.1, self.sent) {
            (53, sent) if sent % 2 == 0 => Says::Request,
            (53, _) | (_, 1) => Says::Answer,
            (_, 0) => Says::Request,
            (22, 2) => Says::Request,
            (22, 3) => Says::Answer,
            _ if behind.is_multiple_of(REQUEST_EVERY) => Says::Request,
            _ if behind % REQUEST_EVERY == 1 => Says::Answer,
            // Every second segment is acknowledged.
            _ if behind.is_multiple_of(3) => Says::Nothing,
            _ => Says::More,
        };
        let backward = matches!(says, Says::Answer | Says::More);
        let (src, dst) = if backward { (self.server, self.client) } else { (self.client, self.server) };
        let (from, to) = if backward { (self.ports.1, self.ports.0) } else { self.ports };
        if self.ports.1 == 53 {
            let datagram = frame::udp(from, to, None, &name_message(self.number, backward));
            return frame::ethernet(frame::IPV4, &frame::Ipv4::between(src, dst, frame::UDP).wrap(&datagram));
        }
        let (flags, data) = match self.sent {
            0 => (frame::SYN, Vec::new()),
            1 => (frame::SYN | frame::ACK, Vec::new()),
            sent if sent + 2 >= self.length => (frame::FIN | frame::ACK, Vec::new()),
            _ => (frame::ACK, self.data(says, noise, chance)),
        };
        let segment = frame::Tcp::ports(from, to, flags).wrap(&data);
        frame::ethernet(frame::IPV4, &frame::Ipv4::between(src, dst, frame::TCP).wrap(&segment))
    }

    fn data(&self, says: Says, noise: &[u8], chance: &mut Chance) -> Vec<u8> {
        let length = match says {
            Says::Request => 40 + chance.below(300) as usize,
            Says::Answer | Says::More => 700 + chance.below(748) as usize,
            Says::Nothing => return Vec::new(),
        };
        let at = chance.below((noise.len() - length) as u64) as usize;
        let noise = &noise[at..at + length];
        match (self.ports.1, self.sent, says) {
            (443, 2, _) => tls_record(22, &client_hello(self.number, noise)),
            (443, 3, _) => [tls_record(22, &server_hello(noise)), tls_record(20, &[1]), tls_record(23, noise)].concat(),
            (443, _, Says::Request) => tls_record(23, noise),
            (80, sent, Says::Request) => format!(
                "GET /page/{}/{sent}.html HTTP/1.1\r\nHost: site{}.example\r\nUser-Agent: Mozilla/5.0\r\nAccept: text/html\r\n\r\n",
                self.number,
                self.number % 500
            )
            .into_bytes(),
            (80, _, Says::Answer) => {
                format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 40000\r\n\r\n{}", text(length))
                    .into_bytes()
            }
            (80, ..) => text(length).into_bytes(),
            (22, 2 | 3, _) => b"SSH-2.0-OpenSSH_9.2p1\r\n".to_vec(),
            _ => noise.to_vec(),
        }
    }
}

/// What a packet carries.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Says {
    Request,
    Answer,
    /// The answer goes on.
    More,
    /// The client acknowledges.
    Nothing,
}

fn text(length: usize) -> String {
    "<p>All is well with the machines of the house today.</p>\n".repeat(length / 57)
}

fn tls_record(kind: u8, content: &[u8]) -> Vec<u8> {
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

fn client_hello(number: u64, noise: &[u8]) -> Vec<u8> {
    let name = format!("host{}.site.example", number % 900);
    let mut content = vec![3, 3];
    content.extend(&noise[..32]);
    // No session, three suites, no compression, one extension: the server's name.
    content.extend([0, 0, 6, 0xc0, 0x2f, 0xc0, 0x30, 0x00, 0x9c, 1, 0]);
    let length = name.len() as u16;
    for word in [length + 9, 0, length + 5, length + 3] {
        content.extend(word.to_be_bytes());
    }
    content.push(0);
    content.extend(length.to_be_bytes());
    content.extend(name.as_bytes());
    handshake(1, &content)
}

fn server_hello(noise: &[u8]) -> Vec<u8> {
    let mut content = vec![3, 3];
    content.extend(&noise[..32]);
    content.extend([0, 0xc0, 0x2f, 0]);
    handshake(2, &content)
}

/// A question for an address, or its answer.
fn name_message(number: u64, answered: bool) -> Vec<u8> {
    let mut message = (number as u16).to_be_bytes().to_vec();
    message.extend(if answered { [0x81, 0x80] } else { [0x01, 0x00] });
    message.extend([0, 1, 0, u8::from(answered), 0, 0, 0, 0]);
    let host = format!("host{}", number % 900);
    for label in [host.as_str(), "site", "example"] {
        message.push(label.len() as u8);
        message.extend(label.as_bytes());
    }
    message.extend([0, 0, 1, 0, 1]);
    if answered {
        // The name as above, an address, five minutes.
        message.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 1, 0x2c, 0, 4, 192, 0, 2, number as u8]);
    }
    message
}
