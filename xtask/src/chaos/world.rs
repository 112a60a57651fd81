//! Everything that goes on beside the agent: who counts, who answers, who sends, who attacks, each on a thread of its own.

use std::{
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::Scope,
    time::Duration,
};

use anyhow::{Context, Result};

use super::{attack::Attacks, heard::Heard, stage::Stage, traffic::Traffic, wire::Wire};
use crate::{lab::rng::Rng, netns::Namespace};

/// Everything that goes on beside the agent.
#[derive(Default)]
pub(crate) struct World {
    pub(crate) wire: Wire,
    pub(crate) heard: Heard,
    pub(crate) attacks: Attacks,
    pub(crate) traffic: Traffic,
    pub(crate) stop_attacks: AtomicBool,
    pub(crate) stop_traffic: AtomicBool,
    stop: AtomicBool,
}

/// How much goes on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rates {
    /// Each of which is answered.
    pub(crate) datagrams_per_sec: u64,
    /// From the begin of a planted attack to that of the next: least and most.
    pub(crate) attack_apart_ms: (u64, u64),
}

impl World {
    /// Ends all threads when it is dropped, whichever way the run ends.
    pub(crate) fn ends(&self) -> Ends<'_> {
        Ends(self)
    }

    /// Those who count and answer.
    pub(crate) fn begin<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>, stage: &'scope Stage) -> Result<()> {
        let (says, listens) = mpsc::channel();
        inside(scope, &stage.gateway, move || {
            self.wire.listen(&self.stop, || {
                // Whoever asked is gone only where the run is over.
                let _heard = says.send(());
            })
        });
        inside(scope, &stage.gateway, move || self.traffic.echo(&self.stop));
        inside(scope, &stage.gateway, move || self.traffic.serve(&self.stop));
        scope.spawn(move || self.heard.follow(&stage.alerts(), &self.stop));
        listens.recv_timeout(Duration::from_secs(10)).context("nobody listens for the end of interfaces")
    }

    /// Those who send.
    pub(crate) fn live<'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        stage: &'scope Stage,
        seed: u64,
        rates: Rates,
    ) {
        inside(scope, &stage.outside, move || self.traffic.datagrams(rates.datagrams_per_sec, &self.stop_traffic));
        inside(scope, &stage.outside, move || self.traffic.browse(stage, Rng::new(seed, "pages"), &self.stop_traffic));
        inside(scope, &stage.outside, move || {
            self.attacks.plant(Rng::new(seed, "attacks"), rates.attack_apart_ms, &self.stop_attacks)
        });
    }
}

pub(crate) struct Ends<'a>(&'a World);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        for stop in [&self.0.stop_attacks, &self.0.stop_traffic, &self.0.stop] {
            stop.store(true, Ordering::Relaxed);
        }
    }
}

/// Runs `work` on a thread of a namespace. What fails there fails the checks, since it is missing in what was counted.
pub(crate) fn inside<'scope>(
    scope: &'scope Scope<'scope, '_>,
    space: &'scope Namespace,
    work: impl FnOnce() -> Result<()> + Send + 'scope,
) {
    scope.spawn(move || {
        if let Err(error) = space.enter().and_then(|()| work()) {
            eprintln!("chaos: {error:#}");
        }
    });
}
