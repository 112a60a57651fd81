//! The attacks, one file a family. Each chooses tool, mode, target, rate and times from the seed.

mod brute;
mod c2;
mod dos;
mod flood;
mod lateral;
mod scan;
mod tunnel;
mod web;

use super::{
    plan::{Plan, Ready, Scenario, Service, Wish},
    rng::Rng,
    servers::PYTHON,
    world::{Host, World},
};

pub(super) fn scenarios() -> impl Iterator<Item = &'static Scenario> {
    scan::SCENARIOS
        .iter()
        .chain(brute::SCENARIOS)
        .chain(flood::SCENARIOS)
        .chain(dos::SCENARIOS)
        .chain(web::SCENARIOS)
        .chain(c2::SCENARIOS)
        .chain(tunnel::SCENARIOS)
        .chain(lateral::SCENARIOS)
}

type PlanFn = fn(&World, &mut Rng, &Wish) -> Plan;
/// Programs and their packages.
type Needs = &'static [(&'static str, &'static str)];

/// A tool is ended after so long, if it does not end by itself.
const MS_MAX: u64 = 65_000;

/// Who attacks: mostly somebody in the internet, sometimes a machine in the LAN.
fn attacker<'a>(world: &'a World, rng: &mut Rng) -> &'a Host {
    if rng.once_in(3) { &world.inside[0] } else { &world.outside[0] }
}

/// A machine with some ports open, as a home server has.
fn listeners(on: &str, rng: &mut Rng) -> Service {
    let common = [
        21, 22, 23, 25, 53, 80, 110, 139, 143, 443, 445, 631, 993, 1_883, 3_306, 5_000, 5_432, 5_900, 8_080, 8_443,
        9_000,
    ];
    let count = usize::try_from(rng.range(2, 9)).unwrap_or(2);
    let mut open: Vec<u16> = rng.shuffled(&common).into_iter().take(count).collect();
    open.push(rng.pick(&[22, 80]));
    open.sort_unstable();
    open.dedup();
    let words: Vec<String> = open.iter().map(ToString::to_string).collect();
    let ready = open.last().copied().unwrap_or(22);
    Service::new(on, &format!("{PYTHON} {{lab}}/listeners.py {}", words.join(" ")), Ready::Tcp(ready))
}
