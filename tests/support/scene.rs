//! Conversations on a small network, packet by packet with their times: what the replay cases are
//! made of. Everything follows from the arguments, so a scene is the same every time.

use crate::{
    capture::Timed,
    frame::{self, ACK, FIN, Ipv4, PSH, RST, SYN, Tcp},
};

pub const MS: u64 = 1_000_000;
pub const SECOND: u64 = 1_000_000_000;
/// When scenes begin: 2026-03-01 12:00:00 UTC.
pub const START_NS: u64 = 1_772_366_400 * SECOND;

/// An address with a port.
#[derive(Clone, Copy, Debug)]
pub struct End {
    pub address: [u8; 4],
    pub port: u16,
}

pub fn end(address: [u8; 4], port: u16) -> End {
    End { address, port }
}

/// What one side says in a conversation.
#[derive(Clone, Debug)]
pub enum Said {
    Client(Vec<u8>),
    Server(Vec<u8>),
    /// Silence of so many nanoseconds.
    Pause(u64),
}

/// How a probed port answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Open,
    Closed,
    Nothing,
}

#[derive(Debug, Default)]
pub struct Scene {
    frames: Vec<Timed>,
}

impl Scene {
    /// The frames in the order of their times.
    pub fn into_frames(mut self) -> Vec<Timed> {
        self.frames.sort_by_key(|frame| frame.at_ns);
        self.frames
    }

    /// Adds a frame `at_ns` after the scene's start.
    pub fn frame(&mut self, at_ns: u64, bytes: Vec<u8>) {
        self.frames.push(Timed::new(START_NS + at_ns, bytes));
    }

    fn tcp(&mut self, at_ns: u64, from: End, to: End, segment: &Tcp, payload: &[u8]) {
        let ports = Tcp { src_port: from.port, dst_port: to.port, ..segment.clone() };
        let header = Ipv4 { ttl: ttl_of(from), ..Ipv4::between(from.address, to.address, frame::TCP) };
        self.frame(at_ns, frame::padded(frame::ethernet(frame::IPV4, &header.wrap(&ports.wrap(payload)))));
    }

    /// A SYN and its answer; an open port's handshake is broken off with RST, as a SYN scan does.
    pub fn probe(&mut self, at_ns: u64, from: End, to: End, answer: Answer) {
        let seq = (u32::from(from.port) << 16 | u32::from(to.port)).wrapping_mul(0x9e37_79b1);
        let mss = vec![2, 4, 5, 0xb4];
        self.tcp(at_ns, from, to, &Tcp { seq, window: 1_024, options: mss.clone(), ..Tcp::flags(SYN) }, &[]);
        let ack = seq.wrapping_add(1);
        match answer {
            Answer::Nothing => {}
            Answer::Closed => {
                self.tcp(at_ns + MS / 2, to, from, &Tcp { seq: 0, ack, window: 0, ..Tcp::flags(RST | ACK) }, &[]);
            }
            Answer::Open => {
                let open = Tcp { seq: 77, ack, window: 64_240, options: mss, ..Tcp::flags(SYN | ACK) };
                self.tcp(at_ns + MS / 2, to, from, &open, &[]);
                self.tcp(at_ns + MS, from, to, &Tcp { seq: ack, window: 0, ..Tcp::flags(RST) }, &[]);
            }
        }
    }

    /// A TCP conversation from handshake to FIN on both sides, with `rtt_ns` between the two;
    /// returns when it was over.
    pub fn talk(&mut self, at_ns: u64, client: End, server: End, rtt_ns: u64, said: &[Said]) -> u64 {
        const SEGMENT: usize = 1_448;
        let half = rtt_ns / 2;
        let mut now = at_ns;
        let (mut seq, mut ack) = (client_isn(client, server), client_isn(server, client));
        let options = vec![2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7];
        let (syn, open) = (Tcp { seq, window: 64_240, options: options.clone(), ..Tcp::flags(SYN) }, SYN | ACK);
        self.tcp(now, client, server, &syn, &[]);
        seq = seq.wrapping_add(1);
        self.tcp(
            now + half,
            server,
            client,
            &Tcp { seq: ack, ack: seq, window: 65_160, options, ..Tcp::flags(open) },
            &[],
        );
        ack = ack.wrapping_add(1);
        now += rtt_ns;
        self.tcp(now, client, server, &Tcp { seq, ack, window: 502, ..Tcp::flags(ACK) }, &[]);
        for part in said {
            match part {
                Said::Pause(ns) => now += ns,
                Said::Client(bytes) => {
                    for segment in bytes.chunks(SEGMENT) {
                        now += MS / 10;
                        self.tcp(now, client, server, &Tcp { seq, ack, window: 502, ..Tcp::flags(PSH | ACK) }, segment);
                        seq = seq.wrapping_add(segment.len() as u32);
                    }
                    now += half;
                    self.tcp(now, server, client, &Tcp { seq: ack, ack: seq, window: 509, ..Tcp::flags(ACK) }, &[]);
                }
                Said::Server(bytes) => {
                    for segment in bytes.chunks(SEGMENT) {
                        now += MS / 10;
                        let data = Tcp { seq: ack, ack: seq, window: 509, ..Tcp::flags(PSH | ACK) };
                        self.tcp(now, server, client, &data, segment);
                        ack = ack.wrapping_add(segment.len() as u32);
                    }
                    now += half;
                    self.tcp(now, client, server, &Tcp { seq, ack, window: 501, ..Tcp::flags(ACK) }, &[]);
                }
            }
        }
        now += MS;
        self.tcp(now, client, server, &Tcp { seq, ack, window: 501, ..Tcp::flags(FIN | ACK) }, &[]);
        seq = seq.wrapping_add(1);
        now += half;
        self.tcp(now, server, client, &Tcp { seq: ack, ack: seq, window: 509, ..Tcp::flags(FIN | ACK) }, &[]);
        now += half;
        self.tcp(now, client, server, &Tcp { seq, ack: ack.wrapping_add(1), window: 501, ..Tcp::flags(ACK) }, &[]);
        now
    }

    /// A datagram.
    pub fn datagram(&mut self, at_ns: u64, from: End, to: End, payload: &[u8]) {
        let header = Ipv4 { ttl: ttl_of(from), ..Ipv4::between(from.address, to.address, frame::UDP) };
        let datagram = frame::udp(from.port, to.port, None, payload);
        self.frame(at_ns, frame::padded(frame::ethernet(frame::IPV4, &header.wrap(&datagram))));
    }

    /// A DNS question for an address and its answer.
    pub fn lookup(&mut self, at_ns: u64, client: End, resolver: End, name: &str, address: [u8; 4]) {
        let question = dns_question(client.port, name);
        self.datagram(at_ns, client, resolver, &question);
        let mut answer = question;
        answer[2..4].copy_from_slice(&[0x81, 0x80]);
        answer[7] = 1;
        answer.extend([0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 1, 44, 0, 4]);
        answer.extend(address);
        self.datagram(at_ns + 12 * MS, resolver, client, &answer);
    }

    /// An echo request and its reply.
    pub fn ping(&mut self, at_ns: u64, from: [u8; 4], to: [u8; 4], answered: bool) {
        let echo = frame::icmp(8, 0, &frame::payload(48));
        self.frame(at_ns, frame::ethernet(frame::IPV4, &Ipv4::between(from, to, frame::ICMP).wrap(&echo)));
        if answered {
            let reply = frame::icmp(0, 0, &frame::payload(48));
            self.frame(at_ns + MS, frame::ethernet(frame::IPV4, &Ipv4::between(to, from, frame::ICMP).wrap(&reply)));
        }
    }
}

/// Inside hosts are one hop away, others several.
fn ttl_of(from: End) -> u8 {
    if from.address[0] == 10 { 64 } else { 52 }
}

fn client_isn(from: End, to: End) -> u32 {
    let word = u32::from_be_bytes(from.address) ^ u32::from_be_bytes(to.address).rotate_left(7);
    (word ^ u32::from(from.port) << 16 ^ u32::from(to.port)).wrapping_mul(0x85eb_ca6b)
}

fn dns_question(id: u16, name: &str) -> Vec<u8> {
    let mut question = id.to_be_bytes().to_vec();
    question.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        question.push(label.len() as u8);
        question.extend(label.as_bytes());
    }
    question.extend([0, 0, 1, 0, 1]);
    question
}

/// A TLS 1.3 ClientHello as a browser sends it: SNI, ALPN, supported versions.
pub fn client_hello(name: &str) -> Vec<u8> {
    fn extension(kind: u16, body: &[u8]) -> Vec<u8> {
        [kind.to_be_bytes().as_slice(), &(body.len() as u16).to_be_bytes(), body].concat()
    }
    fn sized(body: &[u8]) -> Vec<u8> {
        [(body.len() as u16).to_be_bytes().as_slice(), body].concat()
    }
    let server_name = sized(&[&[0], sized(name.as_bytes()).as_slice()].concat());
    let extensions = [
        extension(0, &server_name),
        extension(10, &sized(&[0, 29, 0, 23, 0, 24])),
        extension(11, &[1, 0]),
        extension(13, &sized(&[4, 3, 8, 4, 4, 1, 5, 3, 8, 5, 5, 1, 8, 6, 6, 1])),
        extension(16, &sized(b"\x02h2\x08http/1.1")),
        extension(43, &[4, 3, 4, 3, 3]),
        extension(51, &sized(&[&[0, 29, 0, 32], frame::payload(32).as_slice()].concat())),
    ]
    .concat();
    let ciphers = [0x13, 0x01, 0x13, 0x02, 0x13, 0x03, 0xc0, 0x2b, 0xc0, 0x2f, 0xc0, 0x2c, 0xc0, 0x30];
    let hello = [
        &[3, 3],
        frame::payload(32).as_slice(),
        &[32],
        &frame::payload(32),
        &sized(&ciphers),
        &[1, 0],
        &sized(&extensions),
    ]
    .concat();
    let handshake = [&[1, 0], sized(&hello).as_slice()].concat();
    [&[22, 3, 1], sized(&handshake).as_slice()].concat()
}

/// So many bytes of TLS application data, in one record per 8 KiB, looking encrypted.
pub fn tls_data(len: usize, seed: u32) -> Vec<u8> {
    let mut state = seed | 1;
    let body: Vec<u8> = (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            (state >> 11) as u8
        })
        .collect();
    body.chunks(8_192)
        .flat_map(|chunk| [&[23, 3, 3], (chunk.len() as u16).to_be_bytes().as_slice(), chunk].concat())
        .collect()
}
