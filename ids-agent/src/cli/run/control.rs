//! What a running agent does about requests at its control socket.

use std::{net::IpAddr, process, sync::Arc};

use ids_common::block::BlockKey;
use serde_json::json;

use super::reload::Reloader;
use crate::{
    clock::{self, Timestamp, WallOffset},
    config::ControlSettings,
    control::{Answer, Peer, Request, Socket},
    enforce::{audit, audit::Effect, never::octets},
    http::{Health, Metrics},
    pipeline::{Done, EnforceHandle, Order},
};

/// Longest reason that a person gives.
const REASON_CHARS_MAX: usize = 200;

/// What requests are about.
pub(super) struct Desk {
    pub(super) reloader: Reloader,
    pub(super) enforce: Option<EnforceHandle>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) health: Arc<Health>,
    pub(super) began_ns: u64,
}

/// The socket, where it can be had: the agent watches the network without it too.
pub(super) fn open(settings: &ControlSettings) -> Option<Socket> {
    if !settings.enabled {
        return None;
    }
    match Socket::open(&settings.path) {
        Ok(socket) => {
            tracing::info!(path = %socket.path().display(), "control socket");
            Some(socket)
        }
        Err(error) => {
            tracing::warn!("{error}; status, reload and block do not reach this agent, SIGHUP does");
            None
        }
    }
}

impl Desk {
    pub(super) fn handle(&mut self, request: Request, peer: Option<Peer>) -> Answer {
        let uid = peer.map_or(0, |peer| peer.uid);
        match request {
            Request::Status {} => Answer::done(self.status()),
            Request::Reload {} => match self.reloader.reload() {
                Ok(done) => Answer::done(done),
                Err(error) => Answer::refused(error),
            },
            Request::BlockList {} => self.order(Order::List),
            Request::BlockAdd { target: Some(target), .. } if target.is_unspecified() => {
                Answer::refused("no packet goes to such a target")
            }
            Request::BlockAdd { source, target, secs, reason } => {
                let reason = reason.unwrap_or_else(|| "by hand".to_owned());
                let reason = reason.chars().take(REASON_CHARS_MAX).collect();
                self.order(Order::Add { key: key(source, target), secs, uid, reason })
            }
            Request::BlockRemove { source, target } => self.order(Order::Remove { key: key(source, target), uid }),
        }
    }

    fn order(&self, order: Order) -> Answer {
        let Some(enforce) = &self.enforce else {
            return Answer::refused("blocking is off: set enforce.enabled = true and start the agent again");
        };
        let what = match &order {
            Order::List => None,
            Order::Add { key, .. } | Order::Remove { key, .. } => Some(*key),
        };
        match enforce.order(order) {
            None => Answer::refused("the enforcer is too busy; ask again"),
            Some(Done::Listed(blocks)) => {
                let (now_ns, offset) = (clock::boottime_ns(), WallOffset::of_boottime());
                let blocks: Vec<_> = blocks.iter().map(|block| audit::listed(block, now_ns, offset)).collect();
                Answer::done(json!({ "dry_run": enforce.effect() == Effect::Dry, "blocks": blocks }))
            }
            Some(Done::Added(Ok(()))) => Answer::done(json!({ "dry_run": enforce.effect() == Effect::Dry })),
            Some(Done::Added(Err(refusal))) => {
                let source = what.map(|key| crate::enforce::never::shown(&key.src).to_string()).unwrap_or_default();
                Answer::refused(format!("{source} {}", refusal.words()))
            }
            Some(Done::Removed(true)) => Answer::done(json!({})),
            Some(Done::Removed(false)) => Answer::refused("there is no such block"),
        }
    }

    fn status(&self) -> serde_json::Value {
        let now_ns = clock::boottime_ns();
        let began = WallOffset::of_boottime().wall(self.began_ns);
        let config = &self.reloader.applied;
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "pid": process::id(),
            "since": rfc3339(began),
            "uptime_secs": now_ns.saturating_sub(self.began_ns) / 1_000_000_000,
            "healthy": self.health.fault().is_none(),
            "fault": self.health.fault(),
            "not_ready": self.health.not_ready(),
            "blocking": match &self.enforce {
                None => "off",
                Some(enforce) if enforce.effect() == Effect::Dry => "dry run",
                Some(_) => "on",
            },
            "alerts_to": config.alert.path,
            "series": self.metrics.series(),
        })
    }
}

fn key(source: IpAddr, target: Option<IpAddr>) -> BlockKey {
    match target {
        None => BlockKey::source(octets(source)),
        Some(target) => BlockKey::pair(octets(source), octets(target)),
    }
}

fn rfc3339(at: Timestamp) -> String {
    at.rfc3339().to_string()
}
