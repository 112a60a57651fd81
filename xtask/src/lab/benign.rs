//! Benign life: long runs of it, and what goes on in the background of an attack.
//!
//! In the background of an attack, `gateway`, `client*`, `device*`, `server2` and `site*` but the last are for benign
//! life; `server1`, the last site, `inside*` and `outside*` are for the attack.

use super::{
    plan::{Plan, Scenario},
    rng::Rng,
    world::World,
};

pub(super) fn scenarios() -> impl Iterator<Item = &'static Scenario> {
    SCENARIOS.iter()
}

static SCENARIOS: &[Scenario] = &[];

/// Adds the life around an attack to its plan.
pub(super) fn accompany(_plan: &mut Plan, _world: &World, _rng: &mut Rng) {}
