//! What forwarding costs with the agent on the gateway: the throughput of a TCP transfer through it and the CPU time of the
//! whole machine, with no program, with the agent in each mode, and with programs that do nothing in the same places. One
//! gateway each, between a client and a server in namespaces of their own; rounds are interleaved.

use std::{
    fs,
    io::{ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};
use serde_json::{Map, Value, json};

use super::{
    agent::{Agent, pause},
    rounds::{over, spread},
    wire::hold_empty,
};
use crate::{
    netns::{self, Namespace},
    process::{Group, Interrupt, quiet},
    workspace,
};

const ROUNDS: usize = 7;
const TRANSFER: Duration = Duration::from_millis(1_200);
const BLOCK: usize = 256 << 10;
const PORT: u16 = 5_001;
const SERVER: &str = "10.87.0.2";
/// Throughput that the agent in its best mode may take of what a program that does nothing leaves there.
const OVER_EMPTY_MAX: f64 = 0.05;
/// What a distance of shares counts as noise, whose limit is a quarter.
const NOISE_PER_SHARE: f64 = 5.0;

const WAYS: [&str; 7] = ["none", "native", "generic", "tc", "empty_native", "empty_generic", "empty_tc"];

/// A client, a gateway that forwards, and a server.
struct Route {
    client: Namespace,
    gateway: Namespace,
    server: Namespace,
}

/// What is on the gateway.
enum Held<'a> {
    Nothing,
    Agent(Agent<'a>),
    Empty(Group),
}

impl Route {
    fn make(label: &str) -> Result<Self> {
        let [client, gateway, server] =
            ["client", "gateway", "server"].map(|role| Namespace::make(&format!("{label}-{role}")));
        let (client, gateway, server) = (client?, gateway?, server?);
        gateway.pair("lan0", &client, "eth0")?;
        gateway.pair("wan0", &server, "eth0")?;
        gateway.ip(&["address", "add", "10.86.0.1/24", "dev", "lan0"])?;
        gateway.ip(&["address", "add", "10.87.0.1/24", "dev", "wan0"])?;
        client.ip(&["address", "add", "10.86.0.2/24", "dev", "eth0"])?;
        server.ip(&["address", "add", "10.87.0.2/24", "dev", "eth0"])?;
        for (space, interface) in [(&gateway, "lan0"), (&gateway, "wan0"), (&client, "eth0"), (&server, "eth0")] {
            space.ip(&["link", "set", interface, "up"])?;
        }
        client.ip(&["route", "add", "default", "via", "10.86.0.1"])?;
        server.ip(&["route", "add", "default", "via", "10.87.0.1"])?;
        quiet(gateway.command(Path::new("sh")).args(["-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"]))?;
        Ok(Self { client, gateway, server })
    }

    fn hold(&self, way: &str, bench: &Path, binary: &Path, dir: &Path, interrupt: &Interrupt) -> Result<Held<'_>> {
        Ok(match way {
            "none" => Held::Nothing,
            "empty_native" => Held::Empty(hold_empty(&self.gateway, bench, "native")?),
            "empty_generic" => Held::Empty(hold_empty(&self.gateway, bench, "generic")?),
            "empty_tc" => {
                // A classic program of one instruction: take the packet whole.
                let filter = "tc qdisc add dev lan0 clsact; for way in ingress egress; do \
                              tc filter add dev lan0 $way bpf da bytecode '1,6 0 0 4294967295'; done";
                quiet(self.gateway.command(Path::new("sh")).args(["-ec", filter]))?;
                Held::Nothing
            }
            mode => Held::Agent(Agent::start(&self.gateway, binary, mode, "", &dir.join(mode), interrupt)?),
        })
    }

    /// Bytes a second through the gateway, and the CPU seconds of the machine a gigabyte.
    fn transfer(&self) -> Result<(f64, f64)> {
        let busy = busy_secs()?;
        let (bytes, secs) = thread::scope(|scope| {
            let receiver = scope.spawn(|| receive(&self.server));
            let sender = scope.spawn(|| send(&self.client));
            let sent = sender.join().map_err(|_| anyhow!("the sender panicked"))?;
            let received = receiver.join().map_err(|_| anyhow!("the receiver panicked"))?;
            sent.and(received)
        })?;
        Ok((bytes / secs, (busy_secs()? - busy) * 1e9 / bytes))
    }
}

/// Takes one connection to its end; gives its bytes, and the time from the first to the last.
fn receive(space: &Namespace) -> Result<(f64, f64)> {
    space.enter()?;
    let listener = TcpListener::bind((SERVER, PORT)).context("nobody can listen")?;
    listener.set_nonblocking(true).context("a listener")?;
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut stream = loop {
        match listener.accept() {
            Ok((stream, _)) => break stream,
            Err(error) if error.kind() == ErrorKind::WouldBlock && Instant::now() < deadline => {
                thread::sleep(Duration::from_millis(2));
            }
            Err(error) => return Err(error).context("no connection came through the gateway"),
        }
    };
    stream.set_nonblocking(false).context("a connection")?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).context("a connection")?;
    let mut block = vec![0; BLOCK];
    let (begin, mut bytes) = (Instant::now(), 0.0);
    loop {
        match stream.read(&mut block).context("a broken transfer")? {
            0 => return Ok((bytes, begin.elapsed().as_secs_f64())),
            read => bytes += read as f64,
        }
    }
}

fn send(space: &Namespace) -> Result<()> {
    space.enter()?;
    let deadline = Instant::now() + Duration::from_secs(8);
    let mut stream = loop {
        match TcpStream::connect((SERVER, PORT)) {
            Ok(stream) => break stream,
            Err(_) if Instant::now() < deadline => thread::sleep(Duration::from_millis(5)),
            Err(error) => return Err(error).context("no way through the gateway"),
        }
    };
    let block = vec![0x5a; BLOCK];
    let end = Instant::now() + TRANSFER;
    while Instant::now() < end {
        stream.write_all(&block).context("a broken transfer")?;
    }
    Ok(())
}

/// Seconds that all CPUs of the machine worked (proc_stat(5)).
fn busy_secs() -> Result<f64> {
    let stat = fs::read_to_string("/proc/stat").context("no /proc/stat")?;
    let fields = stat.lines().next().unwrap_or_default().split_whitespace().skip(1);
    let ticks: Vec<f64> = fields.map(|field| field.parse().unwrap_or_default()).collect();
    // User, nice, system, then idle and waiting, then interrupts and soft interrupts.
    let busy: f64 = [0, 1, 2, 5, 6].iter().filter_map(|at| ticks.get(*at)).sum();
    Ok(busy / rustix::param::clock_ticks_per_second() as f64)
}

pub(super) fn measure(bench: &Path, binary: &Path, interrupt: &Interrupt) -> Result<Value> {
    netns::remove_stale()?;
    let dir = workspace::target_dir()?.join("bench/tax");
    let routes = WAYS.iter().map(|way| Route::make(way)).collect::<Result<Vec<_>>>()?;
    let mut held = Vec::new();
    for (way, route) in WAYS.iter().zip(&routes) {
        held.push(route.hold(way, bench, binary, &dir, interrupt)?);
    }
    pause(Duration::from_secs(2), interrupt)?;
    let mut rates = vec![Vec::new(); WAYS.len()];
    let mut cpu = vec![Vec::new(); WAYS.len()];
    for round in 0..=ROUNDS {
        for ((route, rates), cpu) in routes.iter().zip(&mut rates).zip(&mut cpu) {
            interrupt.check()?;
            let (rate, secs) = route.transfer()?;
            // The first warms what there is to warm.
            if round > 0 {
                rates.push(rate);
                cpu.push(secs);
            }
        }
    }
    for held in held {
        match held {
            Held::Nothing => {}
            Held::Agent(agent) => drop(agent.stop()?),
            Held::Empty(mut group) => drop(group.stop(Duration::from_secs(5))?),
        }
    }
    let rate_of = |way: &str| WAYS.iter().position(|other| *other == way).map_or(&[][..], |at| &rates[at]);
    let lost = |way: &str, against: &str| -> Vec<f64> {
        over(rate_of(way), rate_of(against)).into_iter().map(|share| 1.0 - share).collect()
    };
    let mut ratios = Map::new();
    let mut best: Option<(f64, Value)> = None;
    for way in ["native", "generic", "tc"] {
        ratios.insert(way.to_owned(), spread(lost(way, "none")));
        let against_empty = spread(lost(way, &format!("empty_{way}")));
        let median = against_empty["median"].as_f64().unwrap_or(1.0);
        if best.as_ref().is_none_or(|(least, _)| median < *least) {
            best = Some((median, against_empty.clone()));
        }
        ratios.insert(format!("{way}_over_empty"), against_empty);
    }
    if let Some((_, mut best)) = best {
        best["bar"] = json!(OVER_EMPTY_MAX);
        // A share that is next to nothing is not to be compared with its own size: quartiles five points apart are as far as
        // the bar itself.
        let quartiles = best["noise"].as_f64().unwrap_or(1.0) * best["median"].as_f64().unwrap_or(1.0).abs();
        best["noise"] = json!(quartiles * NOISE_PER_SHARE);
        ratios.insert("best_over_empty".to_owned(), best);
    }
    let of = |all: Vec<Vec<f64>>| -> Map<String, Value> {
        WAYS.iter().zip(all).map(|(way, rounds)| ((*way).to_owned(), spread(rounds))).collect()
    };
    Ok(json!({ "ratios": ratios, "bytes_per_sec": of(rates), "machine_cpu_secs_per_gigabyte": of(cpu) }))
}
