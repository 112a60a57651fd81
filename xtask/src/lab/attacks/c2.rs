//! Bots and their masters: beacons, shells, chat, names by the hundred; from an infected machine in the LAN.

use super::{Needs, PlanFn};
use crate::lab::{
    filter::{Filter, Term},
    plan::{Ends, Plan, Proof, Ready, Scenario, Service, Step, Wish},
    rng::Rng,
    servers::{self, PYTHON},
    world::{Shape, World},
};

const OPENSSL: Needs = &[("openssl", "openssl")];
const DNS: Needs = &[("dnsmasq", "dnsmasq-base")];

pub(super) static SCENARIOS: &[Scenario] = &[
    scenario("c2-http", "script: beacons over HTTP, several profiles", &[], http),
    scenario("c2-https", "script: beacons over TLS, several profiles", OPENSSL, https),
    scenario("c2-slow", "script: beacons with half a minute between them", OPENSSL, slow),
    scenario("c2-tcp", "script: beacons over plain TCP and UDP, binary", &[], tcp),
    scenario("c2-shell", "script: reverse shell, commands and their output", &[], shell),
    scenario("c2-irc", "script: IRC bot that joins and obeys", &[], irc),
    scenario("c2-dga", "script: names made by a generator, mostly NXDOMAIN, then the master", DNS, dga),
];

const fn scenario(name: &'static str, tools: &'static str, needs: Needs, plan: PlanFn) -> Scenario {
    Scenario { name, family: "BOT_C2", tools, needs, shape: Shape::SMALL, plan }
}

/// The bot asks its master so often, for so long.
struct Beat {
    period_ms: u64,
    jitter_percent: u64,
    beats: u64,
}

fn beat(rng: &mut Rng) -> Beat {
    let period_ms = rng.pick(&[1_500, 2_500, 4_000, 5_500]);
    Beat { period_ms, jitter_percent: rng.pick(&[0, 0, 10, 25, 50]), beats: rng.range(13, 17) }
}

/// Master and bot speak the same dialect; the bot is a machine that also lives its own life elsewhere.
fn bot(world: &World, rng: &mut Rng, environment: &str, kind: &str, port: u16, beat: &Beat) -> Plan {
    let mut plan = Plan::new(environment, format!("script {kind}"));
    let master = &world.outside[0];
    let profile = rng.range(1, 6);
    let seed = rng.range(1, 99_999);
    if kind == "https" {
        servers::certificate(&mut plan, &master.name, world);
    }
    let common = format!("--kind {kind} --profile {profile} --seed {seed} --port {port}");
    let ready = if kind == "udp" { Ready::Udp(port) } else { Ready::Tcp(port) };
    plan.services.push(Service::new(
        &master.name,
        &format!("{PYTHON} {{lab}}/c2.py master {common} --tls {{dir}}/tls"),
        ready,
    ));
    let line = format!(
        "{PYTHON} {{lab}}/c2.py bot {common} --host {} --period-ms {} --jitter {} --beats {}",
        master.v4, beat.period_ms, beat.jitter_percent, beat.beats
    );
    let at_ms = rng.range(1_000, 5_000);
    let ms_max = beat.period_ms * beat.beats * 16 / 10 + 20_000;
    plan.steps.push(Step::new(&world.inside[0].name, &line, at_ms, ms_max, Ends::Well));
    plan.filter = Filter::all_of(&[Term::Dst(master.v4.into())]);
    plan.proof = Proof { flows: 1, sent: 1, answered: 1 };
    plan
}

fn http(world: &World, rng: &mut Rng, _: &Wish) -> Plan {
    let beat = beat(rng);
    let port = rng.pick(&[80, 8_080, 8_888]);
    let mut plan = bot(world, rng, "c2-http", "http", port, &beat);
    plan.proof = Proof { flows: 12, sent: 12, answered: 12 };
    plan
}

fn https(world: &World, rng: &mut Rng, _: &Wish) -> Plan {
    let beat = beat(rng);
    let port = rng.pick(&[443, 443, 4_443, 8_443]);
    let mut plan = bot(world, rng, "c2-https", "https", port, &beat);
    plan.proof = Proof { flows: 12, sent: 12, answered: 12 };
    plan
}

fn slow(world: &World, rng: &mut Rng, _: &Wish) -> Plan {
    let beat =
        Beat { period_ms: rng.pick(&[12_000, 20_000, 30_000]), jitter_percent: rng.pick(&[0, 10, 30]), beats: 13 };
    let (kind, port) = rng.pick(&[("https", 443), ("http", 80)]);
    let mut plan = bot(world, rng, &format!("c2-slow-{kind}"), kind, port, &beat);
    plan.proof = Proof { flows: 12, sent: 12, answered: 12 };
    plan
}

fn tcp(world: &World, rng: &mut Rng, _: &Wish) -> Plan {
    let beat = beat(rng);
    let kind = rng.pick(&["tcp", "udp"]);
    let port = rng.pick(&[4_444, 1_337, 5_555, 6_892, 9_001, 48_101]);
    let mut plan = bot(world, rng, &format!("c2-{kind}"), kind, port, &beat);
    plan.proof.flows = if kind == "tcp" { 12 } else { 1 };
    plan
}

fn shell(world: &World, rng: &mut Rng, _: &Wish) -> Plan {
    let beat = Beat { period_ms: rng.pick(&[800, 2_000, 3_500]), jitter_percent: 60, beats: rng.range(13, 18) };
    let port = rng.pick(&[4_444, 443, 53, 9_999, 1_234]);
    bot(world, rng, "c2-shell", "shell", port, &beat)
}

fn irc(world: &World, rng: &mut Rng, _: &Wish) -> Plan {
    let beat = Beat { period_ms: rng.pick(&[1_500, 3_000]), jitter_percent: 50, beats: rng.range(13, 18) };
    let port = rng.pick(&[6_667, 6_667, 7_000, 8_080]);
    bot(world, rng, "c2-irc", "irc", port, &beat)
}

/// The bot looks for its master under names that nobody else would ask for.
fn dga(world: &World, rng: &mut Rng, _: &Wish) -> Plan {
    let mut plan = Plan::new("c2-dga", "DGA lookups");
    let bot = &world.inside[0];
    // A resolver in the internet or the last site's; the bot asks it directly.
    let resolver = world.sites.last().unwrap_or(bot);
    let seed = rng.range(1, 99_999);
    let style = rng.pick(&["letters", "hex", "words", "vowels", "long"]);
    let count = rng.pick(&[60, 120, 250]);
    let line = format!(
        "dnsmasq --keep-in-foreground --conf-file=/dev/null --no-resolv --no-hosts --pid-file= --user=root --local=/#/ --host-record=www.{},{}",
        world.domain, world.sites[0].v4
    );
    plan.services.push(Service::new(&resolver.name, &line, Ready::Udp(53)));
    let line = format!(
        "{PYTHON} {{lab}}/dga.py --resolver {} --seed {seed} --style {style} --count {count} --pause-ms {}",
        resolver.v4,
        rng.pick(&[30, 120, 300])
    );
    plan.steps.push(Step::new(&bot.name, &line, rng.range(1_000, 5_000), 80_000, Ends::Well));
    plan.environment = format!("c2-dga-{style}");
    plan.filter = Filter::all_of(&[Term::Src(bot.v4.into()), Term::Udp, Term::DstPort(53)]);
    plan.proof = Proof { flows: 40, sent: 40, answered: 40 };
    plan
}
