//! Life that goes on whatever befalls the agent: numbered datagrams and their echoes, and pages asked for and served. It counts
//! what it sends, and is never to notice the agent.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use super::stage::{CLIENT, GATEWAY, Stage};
use crate::lab::rng::Rng;

const ECHO: u16 = 7_007;
pub(super) const WEB: u16 = 80;
/// Sent at once, fewer than a queue of the interface holds.
const BURST: u64 = 5;
const BETWEEN_PAGES_MS: (u64, u64) = (150, 1_500);
const PATIENCE: Duration = Duration::from_secs(3);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What was sent, and what came of it.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    /// Datagrams that the kernel took.
    pub(crate) sent: AtomicU64,
    pub(crate) echoed: AtomicU64,
    pub(crate) pages: AtomicU64,
    /// Pages that did not come although the interface was there all the while.
    pub(crate) failed: AtomicU64,
}

impl Traffic {
    /// Answers datagrams with themselves; on a thread in the gateway.
    pub(crate) fn echo(&self, stop: &AtomicBool) -> Result<()> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, ECHO)).context("the echo's port")?;
        socket.set_read_timeout(Some(LOOK_EVERY))?;
        let mut bytes = [0; 1_500];
        while !stop.load(Ordering::Relaxed) {
            if let Ok((length, from)) = socket.recv_from(&mut bytes) {
                // While the interface is away there is no way back.
                let _lost = socket.send_to(&bytes[..length], from);
            }
        }
        Ok(())
    }

    /// Sends so many datagrams a second; on a thread outside.
    pub(crate) fn datagrams(&self, per_sec: u64, stop: &AtomicBool) -> Result<()> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 41_000)).context("a port of the client")?;
        socket.set_nonblocking(true)?;
        let to = SocketAddrV4::new(GATEWAY.into(), ECHO);
        let (mut bytes, mut number) = ([0x5a; 200], 0_u64);
        let mut due = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            for _ in 0..BURST {
                number += 1;
                bytes[..8].copy_from_slice(&number.to_be_bytes());
                let length = 64 + usize::try_from(number % 100).unwrap_or_default();
                if socket.send_to(&bytes[..length], to).is_ok() {
                    self.sent.fetch_add(1, Ordering::Relaxed);
                }
            }
            let mut answer = [0; 1_500];
            while socket.recv_from(&mut answer).is_ok() {
                self.echoed.fetch_add(1, Ordering::Relaxed);
            }
            // What could not be sent in time is not made up for in one go.
            due = (due + Duration::from_secs_f64(BURST as f64 / per_sec as f64)).max(Instant::now() - LOOK_EVERY);
            thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        Ok(())
    }

    /// Serves pages; on a thread in the gateway, whose children are in it too.
    pub(crate) fn serve(&self, stop: &AtomicBool) -> Result<()> {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, WEB)).context("the port for pages")?;
        listener.set_nonblocking(true)?;
        thread::scope(|scope| {
            while !stop.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((stream, _)) => drop(scope.spawn(move || answer(stream))),
                    Err(_) => thread::sleep(Duration::from_millis(10)),
                }
            }
        });
        Ok(())
    }

    /// Asks for a page now and then; on a thread outside.
    pub(crate) fn browse(&self, stage: &Stage, mut rng: Rng, stop: &AtomicBool) -> Result<()> {
        let to = SocketAddr::V4(SocketAddrV4::new(GATEWAY.into(), WEB));
        while !stop.load(Ordering::Relaxed) {
            let before = stage.cuts();
            let path = rng.pick(&["/", "/index.html", "/news", "/img/logo.png", "/style.css"]);
            let came = TcpStream::connect_timeout(&to, PATIENCE).is_ok_and(|stream| ask(stream, path, "").is_ok());
            if before.is_multiple_of(2) && stage.cuts() == before {
                self.pages.fetch_add(1, Ordering::Relaxed);
                self.failed.fetch_add(u64::from(!came), Ordering::Relaxed);
            }
            thread::sleep(Duration::from_millis(rng.range(BETWEEN_PAGES_MS.0, BETWEEN_PAGES_MS.1)));
        }
        Ok(())
    }

    /// Whether it took place, and noticed nothing.
    pub(crate) fn went_on(&self) -> bool {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        count(&self.echoed) > 0 && count(&self.pages) > 0 && count(&self.failed) == 0
    }

    pub(crate) fn client() -> String {
        Ipv4Addr::from(CLIENT).to_string()
    }
}

/// Asks for a page and reads it to its end.
pub(super) fn ask(mut stream: TcpStream, path: &str, more: &str) -> Result<String> {
    stream.set_read_timeout(Some(PATIENCE))?;
    // In one piece, as programs send it.
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: www.site.test\r\nUser-Agent: Mozilla/5.0\r\n{more}Connection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes())?;
    let mut said = String::new();
    stream.read_to_string(&mut said)?;
    anyhow::ensure!(said.starts_with("HTTP/1.1 "), "no page");
    Ok(said)
}

/// One request and its answer; whoever fails at that has gone.
fn answer(mut stream: TcpStream) {
    let _patient = stream.set_nonblocking(false).and_then(|()| stream.set_read_timeout(Some(PATIENCE)));
    let mut request = Vec::new();
    let mut bytes = [0; 2_048];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") && request.len() < 16_384 {
        match stream.read(&mut bytes) {
            Ok(0) | Err(_) => return,
            Ok(length) => request.extend_from_slice(&bytes[..length]),
        }
    }
    let (status, page) = match request.starts_with(b"GET /login") {
        true => ("401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"site\"", "no".repeat(20)),
        false => ("200 OK", "The page that was asked for. ".repeat(40)),
    };
    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{page}", page.len());
    let _gone = stream.write_all(answer.as_bytes());
    let _gone = stream.shutdown(Shutdown::Write);
}
