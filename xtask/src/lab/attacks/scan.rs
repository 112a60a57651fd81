//! Port scans and sweeps: nmap in its modes, masscan, and a scanner of ordinary connections.

use std::net::IpAddr;

use super::{MS_MAX, Needs, PlanFn, attacker, listeners};
use crate::lab::{
    filter::Filter,
    plan::{Ends, Plan, Proof, Ready, Scenario, Service, Step, Wish},
    rng::Rng,
    servers::PYTHON,
    world::{Host, Shape, World},
};

const SWEEP: Shape = Shape { clients: 4, devices: 5, servers: 3, ..Shape::SMALL };
const NMAP: Needs = &[("nmap", "nmap")];
const MASSCAN: Needs = &[("masscan", "masscan"), ("ping", "iputils-ping")];

pub(super) static SCENARIOS: &[Scenario] = &[
    scenario("scan-syn", "nmap -sS, T3 to T5", NMAP, syn),
    scenario("scan-connect", "nmap -sT", NMAP, connect),
    scenario("scan-stealth", "nmap -sF, -sN, -sX, -sA, -sM, -sW", NMAP, stealth),
    scenario("scan-udp", "nmap -sU", NMAP, udp),
    scenario("scan-version", "nmap -sV, -O, -sC", NMAP, version),
    scenario("scan-slow", "nmap --scan-delay, up to seconds between probes", NMAP, slow),
    scenario("scan-decoy", "nmap -sS with decoys, padding or a trusted source port", NMAP, decoy),
    scenario("scan-ipv6", "nmap -6", NMAP, ipv6),
    Scenario { shape: SWEEP, ..scenario("scan-sweep", "nmap -sn; one port over all hosts", NMAP, sweep) },
    Scenario { shape: SWEEP, ..scenario("scan-masscan", "masscan, ports and hosts at random", MASSCAN, masscan) },
    Scenario { shape: SWEEP, ..scenario("scan-script", "connections of a script, as worms make them", &[], script) },
    Scenario {
        shape: Shape { sites: 1, ..Shape::SMALL },
        ..scenario("scan-smoke", "nmap -sT, forty ports, nobody else: seconds, for a test of the lab", NMAP, smoke)
    },
];

const fn scenario(name: &'static str, tools: &'static str, needs: Needs, plan: PlanFn) -> Scenario {
    Scenario { name, family: "PORT_SCAN", tools, needs, shape: Shape::SMALL, plan }
}

/// For nmap itself.
const SECS_MAX: u64 = 55;

/// One nmap at the LAN's server, which has some ports open.
struct Nmap {
    environment: &'static str,
    mode: String,
    rest: String,
    proof: Proof,
}

impl Nmap {
    fn plan(self, world: &World, rng: &mut Rng, from: &Host, target: IpAddr) -> Plan {
        let mut plan = Plan::new(self.environment, format!("nmap {}", self.mode));
        plan.services.extend(target_services(world, rng));
        let line = format!("nmap {} -n {} --host-timeout {SECS_MAX}s {target}", self.mode, self.rest);
        plan.steps.push(Step::new(&from.name, &line, rng.range(1_500, 6_000), MS_MAX, Ends::Anyhow));
        plan.filter = Filter::from_hosts(from.all_v4());
        plan.proof = self.proof;
        plan
    }
}

/// The server under attack: some ports open, the others closed or behind a firewall that says nothing.
fn target_services(world: &World, rng: &mut Rng) -> Vec<Service> {
    let server = &world.servers[0];
    let mut services = vec![listeners(&server.name, rng)];
    if rng.once_in(3) {
        let first = rng.pick(&[1_024, 3_390, 6_000]);
        for version in ["-4", "-6"] {
            // The answer finds no way out: to the other side, the packet was dropped.
            let line = format!("ip {version} rule add ipproto tcp sport {first}-65534 blackhole");
            services.push(Service::new(&server.name, &line, Ready::Ended));
        }
    }
    services
}

fn ports(rng: &mut Rng) -> String {
    match rng.range(1, 5) {
        1 => "-F".to_owned(),
        2 => format!("--top-ports {}", rng.pick(&[150, 300, 500, 1_000])),
        3 => format!("-p 1-{}", rng.range(300, 1_500)),
        4 => {
            let first = rng.range(1, 9_000);
            format!("-p 22,80,{first}-{}", first + rng.range(200, 1_000))
        }
        _ => String::new(),
    }
}

/// Half of all scans find out first whether somebody is there.
fn discovery(rng: &mut Rng) -> &'static str {
    rng.pick(&["-Pn", ""])
}

fn syn(world: &World, rng: &mut Rng, _: &Wish) -> Plan {
    let from = attacker(world, rng);
    let timing = rng.pick(&["-T3", "-T4", "-T4 --max-rate 300", "-T5 --max-rate 1500", "-T3 --max-rate 60"]);
    let nmap = Nmap {
        environment: "scan-nmap-syn",
        mode: "-sS".to_owned(),
        rest: format!("{} {} {timing}", discovery(rng), ports(rng)),
        proof: Proof { flows: 80, sent: 0, answered: 2 },
    };
    nmap.plan(world, rng, from, world.servers[0].v4.into())
}

/// The smallest run that has everything: a server, a tool, a label.
fn smoke(world: &World, rng: &mut Rng, _: &Wish) -> Plan {
    let from = &world.outside[0];
    let mut plan = Plan::new("scan-smoke", "nmap -sT");
    plan.services.push(listeners(&world.servers[0].name, rng));
    let first = rng.range(50, 100);
    let line = format!("nmap -sT -n -Pn -T4 -p {first}-{} --max-retries 1 {}", first + 39, world.servers[0].v4);
    plan.steps.push(Step::new(&from.name, &line, 1_000, 20_000, Ends::Well));
    plan.lasts_ms = 4_000;
    plan.filter = Filter::from_hosts(from.all_v4());
    plan.proof = Proof { flows: 40, sent: 0, answered: 30 };
    plan
}

fn connect(world: &World, rng: &mut Rng, _: &Wish) -> Plan {
    let from = attacker(world, rng);
    let timing = rng.pick(&["-T3", "-T4", "-T4 --max-rate 200", "-T3 --scan-delay 20ms"]);
    let nmap = Nmap {
        environment: "scan-nmap-connect",
        mode: "-sT".to_owned(),
        rest: format!("{} {} {timing}", discovery(rng), ports(rng)),
        proof: Proof { flows: 80, sent: 0, answered: 2 },
    };
    nmap.plan(world, rng, from, world.servers[0].v4.into())
}

fn stealth(world: &World, rng: &mut Rng, _: &Wish) -> Plan {
    let from = attacker(world, rng);
    let mode = rng.pick(&["-sF", "-sN", "-sX", "-sA", "-sM", "-sW", "--scanflags URGPSH"]);
    let timing = rng.pick(&["-T4", "-T3", "-T4 --max-rate 250"]);
    let nmap = Nmap {
        environment: "scan-nmap-stealth",
        mode: mode.to_owned(),
        rest: format!("{} {} {timing} --max-retries 1", discovery(rng), ports(rng)),
        proof: Proof { flows: 80, sent: 0, answered: 1 },
    };
    nmap.plan(world, rng, from, world.servers[0].v4.into())
}

fn udp(world: &World, rng: &mut Rng, _: &Wish) -> Plan {
    let from = attacker(world, rng);
    let nmap = Nmap {
        environment: "scan-nmap-udp",
        mode: "-sU".to_owned(),
        rest: format!("-Pn --top-ports {} -T4 --max-retries {}", rng.pick(&[60, 120, 200]), rng.range(0, 1)),
        proof: Proof { flows: 20, sent: 3, answered: 0 },
    };
    nmap.plan(world, rng, from, world.servers[0].v4.into())
}

fn version(world: &World, rng: &mut Rng, _: &Wish) -> Plan {
    let from = attacker(world, rng);
    let mode = rng.pick(&["-sV", "-sV -O", "-sV --version-light", "-sC -sV", "-O"]);
    let nmap = Nmap {
        environment: "scan-nmap-version",
        mode: mode.to_owned(),
        rest: format!("{} --top-ports {} -T4", discovery(rng), rng.pick(&[100, 200, 400])),
        proof: Proof { flows: 80, sent: 0, answered: 2 },
    };
    nmap.plan(world, rng, from, world.servers[0].v4.into())
}

fn slow(world: &World, rng: &mut Rng, _: &Wish) -> Plan {
    let from = attacker(world, rng);
    let (delay_ms, count) = rng.pick(&[(400, 130), (800, 65), (1_500, 36), (2_500, 22)]);
    let nmap = Nmap {
        environment: "scan-nmap-slow",
        mode: rng.pick(&["-sS", "-sT"]).to_owned(),
        rest: format!("-Pn --top-ports {count} --scan-delay {delay_ms}ms --max-retries 0"),
        proof: Proof { flows: 15, sent: 0, answered: 2 },
    };
    nmap.plan(world, rng, from, world.servers[0].v4.into())
}

fn decoy(world: &World, rng: &mut Rng, _: &Wish) -> Plan {
    let from = attacker(world, rng);
    let decoys: Vec<String> = from.more.iter().take(2).map(ToString::to_string).collect();
    let mode = rng.pick(&["-sS --source-port 53", "-sS --data-length 24", "-sS"]);
    let nmap = Nmap {
        environment: "scan-nmap-decoy",
        mode: format!("{mode} -D {},ME", decoys.join(",")),
        rest: format!("-Pn {} -T4 --max-retries 1", ports(rng)),
        proof: Proof { flows: 80, sent: 0, answered: 1 },
    };
    nmap.plan(world, rng, from, world.servers[0].v4.into())
}

fn ipv6(world: &World, rng: &mut Rng, _: &Wish) -> Plan {
    // From outside: in the LAN, the attacker's neighbour solicitations would be labelled, too.
    let from = &world.outside[0];
    let mode = rng.pick(&["-6 -sS", "-6 -sT", "-6 -sF"]);
    let nmap = Nmap {
        environment: "scan-nmap-ipv6",
        mode: mode.to_owned(),
        rest: format!("-Pn {} -T4", ports(rng)),
        proof: Proof { flows: 80, sent: 0, answered: 1 },
    };
    let mut plan = nmap.plan(world, rng, from, world.servers[0].v6.into());
    plan.filter = Filter::from_hosts([from.v6]);
    plan
}

/// A whole LAN, from inside or from outside.
fn sweep(world: &World, rng: &mut Rng, _: &Wish) -> Plan {
    let (inside, outside) = (&world.inside[0], &world.outside[0]);
    let net = format!("{}/24", world.lan4);
    let (from, line, flows) = match rng.range(1, 4) {
        // In the LAN, nmap asks by ARP; with --send-ip it asks by IP those who answer the kernel's ARP.
        1 => (inside, format!("nmap -sn -n --send-ip --max-retries 1 -T4 {net}"), 10),
        2 => {
            let port = rng.pick(&[22, 23, 80, 443, 445, 3_389, 5_555, 8_080]);
            (inside, format!("nmap -sS -n -Pn -p {port} --max-retries 1 -T4 {net}"), 8)
        }
        3 => (outside, format!("nmap -sn -n -PE -PS22,443 --max-retries 1 -T4 {net}"), 100),
        _ => {
            let port = rng.pick(&[22, 23, 80, 445, 2_323, 7_547]);
            let rate = rng.pick(&[40, 150, 400]);
            (outside, format!("nmap -sS -n -Pn -p {port} --max-retries 0 --max-rate {rate} {net}"), 8)
        }
    };
    let mut plan = Plan::new("scan-nmap-sweep", "nmap host sweep");
    plan.services.push(listeners(&world.servers[0].name, rng));
    plan.services.push(listeners(&world.servers[2].name, rng));
    plan.steps.push(Step::new(&from.name, &line, rng.range(1_500, 6_000), MS_MAX, Ends::Anyhow));
    plan.filter = Filter::from_hosts(from.all_v4());
    plan.proof = Proof { flows: flows.min(8), sent: 0, answered: 2 };
    plan
}

fn masscan(world: &World, rng: &mut Rng, _: &Wish) -> Plan {
    let from = &world.outside[0];
    let rate = rng.pick(&[50, 120, 300, 800]);
    let (targets, ports) = if rng.once_in(2) {
        (world.servers[0].v4.to_string(), format!("1-{}", rng.range(600, 2_000)))
    } else {
        let ports = rng.pick(&["22,80", "23,2323", "80,443,8080", "445,3389", "5555,7547"]);
        (format!("{}/24", world.lan4), ports.to_owned())
    };
    let mut plan = Plan::new("scan-masscan", "masscan");
    plan.services.extend(target_services(world, rng));
    let seed = rng.range(1, 99_999);
    let line = format!("sh {{lab}}/masscan.sh {} --rate {rate} -p {ports} --seed {seed} --wait 3 {targets}", from.v4);
    plan.steps.push(Step::new(&from.name, &line, rng.range(1_500, 6_000), MS_MAX, Ends::Anyhow));
    plan.filter = Filter::from_hosts(from.all_v4());
    plan.proof = Proof { flows: 8, sent: 0, answered: 2 };
    plan
}

fn script(world: &World, rng: &mut Rng, _: &Wish) -> Plan {
    let from = attacker(world, rng);
    let mut plan = Plan::new("scan-script", "connect scan of a script");
    plan.services.extend(target_services(world, rng));
    plan.services.push(listeners(&world.servers[2].name, rng));
    let pause_ms = rng.pick(&[5, 20, 60, 150]);
    let count = 40_000 / (pause_ms + 40);
    let what = if rng.once_in(2) {
        format!("--hosts {} --ports 1-{}", world.servers[0].v4, count.clamp(120, 900))
    } else {
        let hosts: Vec<String> = world.locals().take(12).map(|host| host.v4.to_string()).collect();
        format!("--hosts {} --ports 21,22,23,25,80,110,139,143,443,445,1433,3306,3389,5555,5900,8080", hosts.join(","))
    };
    let line = format!("{PYTHON} {{lab}}/connect_scan.py --seed {} --pause-ms {pause_ms} {what}", rng.range(1, 99_999));
    plan.steps.push(Step::new(&from.name, &line, rng.range(1_500, 6_000), MS_MAX, Ends::Anyhow));
    plan.filter = Filter::from_hosts(from.all_v4());
    plan.proof = Proof { flows: 60, sent: 0, answered: 10 };
    plan
}
