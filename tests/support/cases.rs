//! The traffic of each replay case in `tests/cases`, and the seeds of each fuzz corpus.
//! `cargo run -p ids-tests --example generate` writes them; a test compares them with what is committed.

use ids_agent::config::Config;
use ids_common::parse::Link;

use crate::{
    capture::{self, Order, Timed, pcap, pcapng_block},
    eve,
    frame::{self, Tcp},
    fuzz,
    scene::{Answer, End, MS, SECOND, START_NS, Said, Scene, client_hello, end, tls_data},
    shapes,
};

const ATTACKER: [u8; 4] = [203, 0, 113, 66];
const INSIDER: [u8; 4] = [10, 20, 0, 66];
const SERVER: [u8; 4] = [10, 20, 0, 10];
const CLIENT: [u8; 4] = [10, 20, 0, 21];
const RESOLVER: [u8; 4] = [10, 20, 0, 1];

/// Every case: its name and its frames.
pub fn cases() -> Vec<(&'static str, Vec<Timed>)> {
    vec![
        ("port_scan", port_scan()),
        ("syn_flood", syn_flood()),
        ("ssh_brute_force", ssh_brute_force()),
        ("sweep", sweep()),
        ("benign_browsing", benign_browsing()),
        ("malformed_mix", malformed_mix()),
    ]
}

/// A SYN scan of a thousand ports in ten seconds while a client browses.
fn port_scan() -> Vec<Timed> {
    let mut scene = Scene::default();
    browsing(&mut scene, CLIENT, 0, 12);
    for step in 0..1_000u16 {
        // Scanners shuffle: 7 has no factor in common with 1,000.
        let port = 1 + (u32::from(step) * 7 % 1_000) as u16;
        let answer = if [22, 80, 443].contains(&port) { Answer::Open } else { Answer::Closed };
        scene.probe(2 * SECOND + u64::from(step) * 10 * MS, end(ATTACKER, 41_873), end(SERVER, port), answer);
    }
    scene.into_frames()
}

/// SYNs from a thousand and more made-up sources to one port, of which the server answers the first.
fn syn_flood() -> Vec<Timed> {
    let mut scene = Scene::default();
    browsing(&mut scene, CLIENT, 0, 12);
    for n in 0..3_000u32 {
        let mixed = n.wrapping_mul(0x9e37_79b1);
        let source = [198, 18 + (mixed >> 31) as u8, (mixed >> 16) as u8, (mixed >> 8) as u8];
        let answer = if n < 200 { Answer::Open } else { Answer::Nothing };
        let from = end(source, 1_024 + (mixed >> 7) as u16 % 60_000);
        scene.probe(3 * SECOND + u64::from(n) * MS, from, end(SERVER, 80), answer);
    }
    scene.into_frames()
}

/// Sixty logins over SSH that fail, two a second and four at a time, beside one that succeeds.
fn ssh_brute_force() -> Vec<Timed> {
    let mut scene = Scene::default();
    browsing(&mut scene, CLIENT, 0, 8);
    for attempt in 0..60u32 {
        let at = SECOND + u64::from(attempt) * SECOND / 2;
        let client = end(ATTACKER, 50_000 + attempt as u16);
        scene.talk(at, client, end(SERVER, 22), 20 * MS, &ssh(b"SSH-2.0-libssh2_1.10.0\r\n", 6, attempt));
    }
    scene.talk(5 * SECOND, end(CLIENT, 51_111), end(SERVER, 22), MS, &ssh(b"SSH-2.0-OpenSSH_9.2\r\n", 120, 7));
    scene.into_frames()
}

/// A session of so many exchanges behind the key exchange.
fn ssh(banner: &[u8], exchanges: u32, seed: u32) -> Vec<Said> {
    let mut said = vec![
        Said::Server(b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n".to_vec()),
        Said::Client(banner.to_vec()),
        Said::Client(key_exchange(seed)),
        Said::Server(key_exchange(seed + 1)),
    ];
    for exchange in 0..exchanges {
        said.push(Said::Client(tls_data(60, seed ^ exchange << 8)[5..].to_vec()));
        said.push(Said::Server(tls_data(44, seed ^ exchange << 9)[5..].to_vec()));
        said.push(Said::Pause(if exchanges > 50 { 150 * MS } else { 200 * MS }));
    }
    said
}

/// SSH_MSG_KEXINIT (RFC 4253, section 7.1) with the lists of a common client.
fn key_exchange(seed: u32) -> Vec<u8> {
    let lists = [
        "curve25519-sha256,ecdh-sha2-nistp256",
        "ssh-ed25519,rsa-sha2-512",
        "aes128-ctr,aes256-ctr",
        "aes128-ctr,aes256-ctr",
        "hmac-sha2-256",
        "hmac-sha2-256",
        "none",
        "none",
        "",
        "",
    ];
    let mut body = vec![20];
    body.extend(&tls_data(16, seed)[5..]);
    for list in lists {
        body.extend((list.len() as u32).to_be_bytes());
        body.extend(list.as_bytes());
    }
    body.extend([0; 5]);
    let padding = 8 - (body.len() + 5) % 8 + 4;
    let mut packet = ((body.len() + padding + 1) as u32).to_be_bytes().to_vec();
    packet.push(padding as u8);
    packet.extend(body);
    packet.resize(packet.len() + padding, 0);
    packet
}

/// One inside host asks every neighbour for file sharing; few exist.
fn sweep() -> Vec<Timed> {
    let mut scene = Scene::default();
    browsing(&mut scene, CLIENT, 0, 8);
    for host in 1..=250u16 {
        let at = SECOND + u64::from(host) * 30 * MS;
        let target = [10, 20, 1, host as u8];
        let answer = if host % 50 == 7 { Answer::Closed } else { Answer::Nothing };
        scene.probe(at, end(INSIDER, 40_000 + host), end(target, 445), answer);
    }
    scene.into_frames()
}

/// Three clients for two minutes: names, pages over TLS, an update over HTTP, time, a printer's
/// multicast, a mistyped login.
fn benign_browsing() -> Vec<Timed> {
    let mut scene = Scene::default();
    for (which, client) in [CLIENT, [10, 20, 0, 22], [10, 20, 0, 23]].into_iter().enumerate() {
        browsing(&mut scene, client, which as u64 * 3 * SECOND, 40);
        for minute in 0..2 {
            let at = minute * 64 * SECOND + which as u64 * SECOND;
            scene.datagram(at, end(client, 123), end([192, 0, 2, 123], 123), &ntp(3));
            scene.datagram(at + 18 * MS, end([192, 0, 2, 123], 123), end(client, 123), &ntp(4));
        }
    }
    for n in 0..12 {
        scene.datagram(n * 10 * SECOND, end([10, 20, 0, 40], 5_353), end([224, 0, 0, 251], 5_353), &mdns());
    }
    for (n, exchanges) in [(0, 3), (1, 80)] {
        let at = 20 * SECOND + n * 9 * SECOND;
        let said = ssh(b"SSH-2.0-OpenSSH_9.2\r\n", exchanges, 3 + n as u32);
        scene.talk(at, end(CLIENT, 52_000 + n as u16), end(SERVER, 22), MS, &said);
    }
    let request = b"GET /debian/dists/stable/InRelease HTTP/1.1\r\nHost: updates.example\r\nUser-Agent: apt\r\n\r\n";
    let mut answer = b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n".to_vec();
    answer.extend(tls_data(60_000, 99));
    let said = [Said::Client(request.to_vec()), Said::Server(answer)];
    scene.talk(45 * SECOND, end([10, 20, 0, 22], 53_001), end([192, 0, 2, 80], 80), 14 * MS, &said);
    scene.into_frames()
}

/// A host looks up names and fetches pages over TLS for so many seconds, at a person's pace.
fn browsing(scene: &mut Scene, client: [u8; 4], start: u64, seconds: u64) {
    let sites = ["www.example.com", "news.example.org", "static.example.net", "mail.example.com", "maps.example.org"];
    let mut port = 43_000 + u16::from(client[3]) * 40;
    for visit in 0..seconds.div_ceil(4) {
        let at = start + visit * 4 * SECOND + visit % 3 * 317 * MS;
        let pick = (visit as usize + usize::from(client[3])) % sites.len();
        let site = [192, 0, 2, 100 + pick as u8];
        scene.lookup(at, end(client, port), end(RESOLVER, 53), sites[pick], site);
        for connection in 0..1 + visit % 2 {
            port += 1;
            page(scene, at + (20 + connection * 5) * MS, end(client, port), end(site, 443), sites[pick]);
        }
        port += 1;
    }
}

fn page(scene: &mut Scene, at: u64, client: End, server: End, name: &str) {
    let seed = u32::from(client.port);
    let mut hello = vec![22, 3, 3, 0, 90];
    hello.extend(&tls_data(90, seed)[5..95]);
    let said = [
        Said::Client(client_hello(name)),
        Said::Server([hello, tls_data(2_900, seed)].concat()),
        Said::Client(tls_data(64, seed + 1)),
        Said::Client(tls_data(380, seed + 2)),
        Said::Pause(35 * MS),
        Said::Server(tls_data(4_000 + (seed as usize * 131) % 9_000, seed + 3)),
        Said::Pause(600 * MS + u64::from(seed % 7) * 90 * MS),
        Said::Client(tls_data(290, seed + 4)),
        Said::Server(tls_data(1_500 + (seed as usize * 57) % 4_000, seed + 5)),
        Said::Pause(SECOND),
    ];
    scene.talk(at, client, server, 18 * MS, &said);
}

fn ntp(mode: u8) -> Vec<u8> {
    let mut packet = vec![0x20 | mode, 2, 6, 0xe9];
    packet.extend(frame::payload(44));
    packet
}

fn mdns() -> Vec<u8> {
    let mut question = vec![0; 12];
    question[5] = 1;
    question.extend(b"\x04_ipp\x04_tcp\x05local\x00\x00\x0c\x00\x01");
    question
}

/// Every broken frame beside a few sound ones: nothing to alert on, everything to count.
fn malformed_mix() -> Vec<Timed> {
    let mut scene = Scene::default();
    browsing(&mut scene, CLIENT, 0, 8);
    let broken = shapes::broken().into_iter().filter(|(shape, _)| shape.link == Link::Ethernet);
    for (n, (shape, _)) in (0u64..).zip(broken) {
        scene.frame(SECOND + n * 100 * MS, shape.bytes);
    }
    let mut frames = scene.into_frames();
    // A capture cut short: enough for the ports, not for the payload.
    let whole = frame::ethernet(
        frame::IPV4,
        &frame::Ipv4::between(CLIENT, SERVER, frame::TCP).wrap(&Tcp::ports(4_000, 80, frame::ACK).wrap(&[7; 600])),
    );
    let mut cut = Timed::new(START_NS + 9 * SECOND, whole[..96].to_vec());
    cut.wire_len = Some(whole.len() as u32);
    frames.push(cut);
    frames
}

/// Seeds of every fuzz target.
pub fn seeds() -> Vec<(&'static str, Vec<Vec<u8>>)> {
    vec![("frame", frame_seeds()), ("capture_file", capture_seeds()), ("config", config_seeds()), ("eve", eve_seeds())]
}

fn capture_seeds() -> Vec<Vec<u8>> {
    let mut scene = Scene::default();
    scene.lookup(0, end(CLIENT, 40_000), end(RESOLVER, 53), "www.example.com", [192, 0, 2, 100]);
    scene.talk(SECOND, end(CLIENT, 40_001), end(SERVER, 80), MS, &[Said::Client(vec![b'x'; 90])]);
    // Longer than any timeout.
    scene.ping(900 * SECOND, CLIENT, SERVER, true);
    let frames = scene.into_frames();
    let bytes: Vec<_> = frames.iter().map(|frame| frame.bytes.clone()).collect();
    let sound = pcap(capture::ETHERNET, &frames);
    let classic = |magic: [u8; 4], order: Order, link: u32| {
        let mut file =
            [&magic[..], &order.u16(2), &order.u16(4), &[0; 8], &order.u32(65_535), &order.u32(link)].concat();
        for (n, bytes) in (0u32..).zip(&bytes) {
            let len = order.u32(bytes.len() as u32);
            file.extend([order.u32(1_700_000_000 + n), order.u32(n * 7), len, len].concat());
            file.extend(bytes);
        }
        file
    };
    let modern = |order: Order| {
        let mut file = [order.section(), order.interface(1, 6), order.interface(101, 0x80 | 20)].concat();
        for (n, bytes) in (0u64..).zip(&bytes) {
            let micros = START_NS / 1_000 + n * 2_500_000;
            file.extend(order.packet(0, micros, bytes));
            file.extend(order.packet(1, (micros / 1_000_000) << 20, &bytes[14..]));
        }
        file
    };
    let little = Order::Little;
    let simple = [&little.u32(60)[..], &bytes[0]].concat();
    vec![
        sound.clone(),
        sound[..sound.len() - 30].to_vec(),
        sound[..24].to_vec(),
        sound[..13].to_vec(),
        classic([0xd4, 0xc3, 0xb2, 0xa1], Order::Little, 1),
        classic([0xa1, 0xb2, 0x3c, 0x4d], Order::Big, 1),
        // Radiotap: a link type that is counted, not parsed.
        classic([0xa1, 0xb2, 0xc3, 0xd4], Order::Big, 127),
        [&sound[..24], &[0xff; 16], &sound[24..]].concat(),
        modern(Order::Little),
        modern(Order::Big),
        // Both byte orders in one file, then a block of length zero.
        [modern(Order::Big), modern(Order::Little), vec![6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]].concat(),
        // A packet of an interface that was never described, an unknown block, a simple packet, and a
        // time past the end of the axis.
        [
            little.section(),
            little.packet(3, 5, &bytes[0]),
            little.interface(1, 9),
            pcapng_block(little, 0x0bad, &[1, 2, 3]),
            pcapng_block(little, 3, &simple),
            little.packet(0, u64::MAX, &bytes[1]),
            little.packet(0, 7, &bytes[2]),
        ]
        .concat(),
        zstd::encode_all(sound.as_slice(), 3).unwrap(),
        b"#!/bin/sh\n".to_vec(),
        Vec::new(),
    ]
}

fn config_seeds() -> Vec<Vec<u8>> {
    let texts = [
        toml::to_string(&Config::default()).unwrap(),
        String::new(),
        "[capture]\ninterfaces = [\"eth0\", \"br-lan\"]\nmode = \"native\"\n".into(),
        "[capture]\nmode = \"fast\"\n".into(),
        "[flow]\nidle_timeout_sec = 60\n".into(),
        "[flow]\nidle_timeout_secs = 18446744073709551615\n".into(),
        "flow.tick_millis = -1\nflow.tick_millis = 2\n".into(),
        "[sample]\npackets = 3.5\nbytes = 0x400\n".into(),
        "[[fuse.allow]]\nsource = \"10.0.0.0/8\"\nreason = \"backup\"\nexpires = \"2027-01-01\"\n".into(),
        "[\"\u{fc}ml\u{e4}ut\"]\n\u{1f980} = '''\nlines\n'''\n".into(),
        "[metrics]\nlisten = \"127.0.0.1:9000\" # loopback\n[log".into(),
        // The error once broke off in the middle of a line.
        "[capture]\nmode = '''\nlines\n'''\n".into(),
    ];
    texts.into_iter().map(String::into_bytes).collect()
}

fn eve_seeds() -> Vec<Vec<u8>> {
    let line = |number| eve::mixed(number, START_NS);
    let alert = line(18);
    let texts = [
        (0..20).map(|number| line(number) + "\n").collect(),
        alert.clone(),
        line(19 + 400) + "\r\n\r\n" + &eve::stats(3, START_NS),
        alert.replace("\"TCP\"", "\"132\"").replace("\"src_ip\":\"10.0.0.18\"", "\"src_ip\":\"2001:db8::1\""),
        alert.replace("\"signature_id\":", "\"signature_id\":-"),
        alert.replace("+0000", "-9999"),
        alert.replace("ET EXPLOIT", "\\u0000\\ud83e\\udd80\\ud83e"),
        alert.replace("\"metadata\":{", "\"metadata\":[{").replace("\"event_type\"", "\"event_type\":7,\"event_type\""),
        line(0).replace(":12", ":12e400"),
        "[".repeat(300) + "\n{\"timestamp\":null}\n{}\nnull\n\"\"",
        "{\"timestamp\":\"2026-02-30T25:00:00.1+0\",\"event_type\":\"stats\"}\n".to_owned(),
    ];
    let mut seeds: Vec<Vec<u8>> = texts.into_iter().map(String::into_bytes).collect();
    let mut bytes = alert.into_bytes();
    bytes[200] = 0xc3;
    seeds.push(bytes);
    seeds
}

/// Seeds of the fuzz target `frame`.
fn frame_seeds() -> Vec<Vec<u8>> {
    // Every hundredth or so well-formed one: 97 has no factor in common with the counts of the matrix.
    let sound = shapes::matrix().into_iter().step_by(97);
    let broken = shapes::broken().into_iter().map(|(shape, _)| shape);
    sound
        .chain(broken)
        .map(|shape| {
            let left_out = if shape.bytes.len() % 5 == 0 { 40 } else { 0 };
            fuzz::frame_input(shape.link, left_out, &shape.bytes)
        })
        .collect()
}
