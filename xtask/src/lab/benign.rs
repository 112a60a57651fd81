//! Benign life: long runs of it, and what goes on in the background of an attack. The programs are under `lab/benign`.
//!
//! In the background of an attack, `gateway`, `client*`, `device*`, `server2` and `site*` but the last are for benign
//! life; `server1`, the last site, `inside*` and `outside*` are for the attack.

use serde_json::{Value, json};

use super::{
    plan::{Actor, Ends, Plan, Ready, Scenario, Service, Step, Wish},
    rng::Rng,
    world::{Host, Shape, World},
};

/// Where `life.py` shows that all servers of a machine answer, on its loopback.
const SERVERS_READY: u16 = 5;

/// Until the last machine has written what it did.
const CHECK_AFTER_MS: u64 = 4_000;
const CHECK_MS_MAX: u64 = 20_000;

/// An attack ends its background before this.
const BACKGROUND_SECS: u64 = 240;

/// Real servers and clients; what is missing is installed before the run.
const NEEDS: &[(&str, &str)] = &[
    ("python3", "python3"),
    ("openssl", "openssl"),
    ("ssh-keygen", "openssh-client"),
    ("sshd", "openssh-server"),
    ("dropbear", "dropbear-bin"),
    ("nginx", "nginx-light"),
    ("apache2", "apache2-bin"),
    ("node", "nodejs"),
    ("curl", "curl"),
    ("dnsmasq", "dnsmasq-base"),
    ("unbound", "unbound"),
    ("named", "bind9"),
    ("mosquitto", "mosquitto"),
    ("mosquitto_pub", "mosquitto-clients"),
    ("smbd", "samba"),
    ("smbclient", "smbclient"),
    ("dovecot", "dovecot-imapd"),
    ("vsftpd", "vsftpd"),
    ("rsync", "rsync"),
    ("snmpd", "snmpd"),
    ("snmpget", "snmp"),
    ("traceroute", "traceroute"),
    ("ping", "iputils-ping"),
    ("aria2c", "aria2"),
    ("wrk", "wrk"),
    ("nc", "netcat-openbsd"),
    ("chromium", "chromium"),
];

pub(super) fn scenarios() -> impl Iterator<Item = &'static Scenario> {
    SCENARIOS.iter()
}

static SCENARIOS: &[Scenario] = &[
    scenario("benign-quiet-home", "two people, a television, bulbs, a printer", quiet_home, [2, 4, 1]),
    scenario("benign-busy-home", "five people, games, a router behind the router", busy_home, [5, 3, 1]),
    scenario("benign-small-office", "desks, servers, monitoring, an administrator", small_office, [5, 2, 2]),
    scenario("benign-iot-house", "sensors, cameras, a hub with its broker", iot_house, [2, 5, 1]),
];

const fn scenario(
    name: &'static str,
    tools: &'static str,
    plan: fn(&World, &mut Rng, &Wish) -> Plan,
    [clients, devices, servers]: [usize; 3],
) -> Scenario {
    let shape = Shape { clients, devices, servers, sites: 8, inside: 0, outside: 0 };
    Scenario { name, family: "BENIGN", tools, needs: NEEDS, shape, plan }
}

fn quiet_home(world: &World, rng: &mut Rng, wish: &Wish) -> Plan {
    life("quiet-home", world, rng, wish)
}

fn busy_home(world: &World, rng: &mut Rng, wish: &Wish) -> Plan {
    life("busy-home", world, rng, wish)
}

fn small_office(world: &World, rng: &mut Rng, wish: &Wish) -> Plan {
    life("small-office", world, rng, wish)
}

fn iot_house(world: &World, rng: &mut Rng, wish: &Wish) -> Plan {
    life("iot-house", world, rng, wish)
}

/// A day of a house in short: everything that is there lives until the run ends.
fn life(environment: &str, world: &World, rng: &mut Rng, wish: &Wish) -> Plan {
    let mut plan = Plan::new(environment, format!("life, {environment}, with look-alikes of attacks"));
    let locals: Vec<&Host> = world.locals().collect();
    let far: Vec<&Host> = world.sites.iter().collect();
    settle(
        &mut plan,
        world,
        rng,
        &House { environment, seconds: wish.seconds, light: false, locals: &locals, far: &far },
    );
    plan.lasts_ms = wish.seconds * 1_000;
    // A run in which little was done, or most of it failed, is labelled as nothing.
    let check = "python3 -B {lab}/benign/life.py check {dir}/life.json";
    plan.steps.push(Step::new("gateway", check, plan.lasts_ms + CHECK_AFTER_MS, CHECK_MS_MAX, Ends::Well));
    plan
}

/// Adds the life around an attack to its plan: fewer devices, no look-alikes, no browser's weight.
pub(super) fn accompany(plan: &mut Plan, world: &World, rng: &mut Rng) {
    let environment = rng.pick(&["quiet-home", "busy-home", "small-office", "iot-house"]);
    let locals: Vec<&Host> = world.clients.iter().chain(&world.devices).chain(world.servers.get(1)).collect();
    let far: Vec<&Host> = world.sites.iter().rev().skip(1).collect();
    if far.is_empty() {
        return;
    }
    let house = House { environment, seconds: BACKGROUND_SECS, light: true, locals: &locals, far: &far };
    settle(plan, world, rng, &house);
}

struct House<'a> {
    environment: &'a str,
    seconds: u64,
    /// One device a host, and none of the look-alikes.
    light: bool,
    locals: &'a [&'a Host],
    far: &'a [&'a Host],
}

/// Adds a house's servers and inhabitants to a plan.
fn settle(plan: &mut Plan, world: &World, rng: &mut Rng, house: &House<'_>) {
    plan.files.push(("life.json".to_owned(), settings(world, rng, house).to_string()));
    let life = |verb: &str, on: &str| format!("python3 -B {{lab}}/benign/life.py {verb} {{dir}}/life.json {on}");
    let mut serve = vec![Service::new("gateway", &life("prepare", "gateway"), Ready::Ended)];
    serve.extend(
        house.far.iter().map(|host| Service::new(&host.name, &life("serve", &host.name), Ready::Tcp(SERVERS_READY))),
    );
    serve.push(Service::new("gateway", &life("serve", "gateway"), Ready::Tcp(SERVERS_READY)));
    let near = house.locals.iter().filter(|host| !host.name.starts_with("client"));
    serve.extend(near.map(|host| Service::new(&host.name, &life("serve", &host.name), Ready::Tcp(SERVERS_READY))));
    plan.services.extend(serve);
    let living = house.locals.iter().zip((0..).step_by(300));
    plan.actors.extend(living.map(|(host, at_ms)| Actor::new(&host.name, &life("live", &host.name), at_ms)));
}

/// What the programs know of the run.
fn settings(world: &World, rng: &mut Rng, house: &House<'_>) -> Value {
    let person = world.accounts.first();
    let gateway = json!({
        "name": "gateway", "kind": "gateway", "v4": [world.gateway4.to_string()], "v6": [world.gateway6.to_string()],
    });
    let hosts: Vec<Value> = house.locals.iter().chain(house.far).copied().map(described).chain([gateway]).collect();
    json!({
        "seed": rng.next() >> 16,
        "environment": house.environment,
        "seconds": house.seconds,
        "light": house.light,
        "scratch": "{dir}",
        "person": person.map(|account| account.user.as_str()),
        "password": person.map(|account| account.password.as_str()),
        "hosts": hosts,
    })
}

fn described(host: &Host) -> Value {
    let kind = host.name.trim_end_matches(|letter: char| letter.is_ascii_digit());
    let v4: Vec<String> = host.all_v4().map(|address| address.to_string()).collect();
    json!({
        "name": host.name, "kind": kind, "v4": v4, "v6": [host.v6.to_string()], "mac": host.mac, "ttl": host.ttl,
        "timestamps": host.timestamps,
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

    use std::process::Command;

    use super::{SCENARIOS, Shape, World, accompany, scenarios};
    use crate::{
        lab::{
            plan::{Plan, Wish},
            rng::Rng,
        },
        process::{find, quiet},
        workspace,
    };

    #[test]
    fn the_background_of_an_attack_leaves_its_machines_to_the_attack() {
        let world = World::new(7, "x", Shape::SMALL);
        let mut plan = Plan::new("x", "y");
        accompany(&mut plan, &world, &mut Rng::new(7, "background"));
        assert!(!plan.actors.is_empty());
        let on = plan.services.iter().map(|service| &service.on).chain(plan.actors.iter().map(|actor| &actor.on));
        for host in on {
            assert!(!["server1", "site3", "inside1", "outside1"].contains(&host.as_str()), "{host}");
        }
    }

    #[test]
    fn the_programs_know_every_device_and_look_alike_and_a_seed_decides_them() {
        if find("python3").is_none() {
            println!("skipped: no python3");
            return;
        }
        let wish = Wish { seconds: 3_600 };
        let of = |seed| scenarios().map(|scenario| shown(&decided(scenario, seed, &wish))).collect::<Vec<_>>();
        let (first, other) = (of(3), of(4));
        assert!(first.iter().all(|text| text.contains("look ")), "{first:?}");
        assert!(first.iter().zip(&other).all(|(one, two)| one != two));
        assert_eq!(first[0], shown(&decided(&SCENARIOS[0], 3, &wish)));
    }

    /// The settings that the programs of a run get.
    fn decided(scenario: &super::Scenario, seed: u64, wish: &Wish) -> String {
        let world = World::new(seed, scenario.name, scenario.shape);
        let plan = (scenario.plan)(&world, &mut Rng::new(seed, scenario.name), wish);
        plan.files.iter().find(|(name, _)| name == "life.json").map(|(_, text)| text.clone()).unwrap()
    }

    fn shown(settings: &str) -> String {
        let dir = std::env::temp_dir().join(format!("ids-lab-test-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("life.json");
        std::fs::write(&path, settings).unwrap();
        let program = workspace::root().unwrap().join("xtask/lab/benign/life.py");
        let text = quiet(Command::new("python3").arg("-B").arg(program).arg("show").arg(&path));
        std::fs::remove_dir_all(&dir).unwrap();
        text.unwrap()
    }
}
