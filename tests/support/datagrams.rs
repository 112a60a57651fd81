//! A stream of datagrams at a steady pace between two namespaces, each of which the receiving interface counts or drops with a
//! counter. Bounded in count and time.

use std::{
    net::UdpSocket,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use crate::netns::{Namespace, run};

/// Datagrams that are sent at once: fewer than a veth queue holds.
const BURST: u32 = 20;

/// Sends `count` datagrams to `to` at some `per_sec`, from a namespace.
pub fn send(from: &Namespace, to: &str, count: u32, per_sec: u32) {
    from.run(|| {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.connect(to).unwrap();
        let start = Instant::now();
        let mut sent = 0;
        while sent < count {
            for _ in 0..BURST.min(count - sent) {
                // Nobody listens: the kernel says so with the next datagram, which then was not sent.
                while socket.send(&[0x5a; 64]).is_err() {}
                sent += 1;
            }
            let due = Duration::from_secs_f64(f64::from(sent) / f64::from(per_sec));
            thread::sleep(due.saturating_sub(start.elapsed()));
        }
    });
}

/// Makes two ends know each other, so that no ARP is among the packets.
pub fn introduce(a: (&Namespace, &str, &str), b: (&Namespace, &str, &str)) {
    let mac = |(space, device, _): (&Namespace, &str, &str)| {
        let shown = space.ip(&["-j", "link", "show", "dev", device]);
        let shown: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
        shown[0]["address"].as_str().unwrap().to_owned()
    };
    for (here, there) in [(a, b), (b, a)] {
        let (space, device, _) = here;
        space.ip(&["neighbour", "replace", there.2, "lladdr", &mac(there), "dev", device, "nud", "permanent"]);
    }
}

/// What an interface sent and what it dropped on the way out: a veth drops where its peer's queue is full.
pub fn sent_and_dropped(space: &Namespace, device: &str) -> (u64, u64) {
    let shown = run(Command::new("ip").args(["-netns", space.name(), "-j", "-s", "link", "show", "dev", device]));
    let shown: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
    let tx = &shown[0]["stats64"]["tx"];
    (tx["packets"].as_u64().unwrap(), tx["dropped"].as_u64().unwrap())
}
