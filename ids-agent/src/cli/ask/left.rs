//! `block` where no agent runs: the map that an agent which is gone left pinned is read and changed under the same rules,
//! and with the same audit.

use std::net::IpAddr;

use ids_common::block::BlockKey;
use serde_json::{Value, json};

use crate::{
    cli::{Failure, parts::Seed},
    clock::{self, WallOffset},
    config::{Config, Fsync},
    enforce::{Action, Event, Guard, NeverList, audit, audit::Effect, never::octets, surroundings::Surroundings},
    kernel::Blocks,
    sink::{AlertSink as _, FileSettings, FileSink, Line, Rank},
};

/// The map with the rules it is under.
pub(super) struct Left {
    guard: Guard,
    config: Config,
}

impl Left {
    /// Nothing where nothing is pinned.
    pub(super) fn open(config: Config) -> Result<Option<Self>, Failure> {
        let Some(dir) = config.capture.pin.dir() else { return Ok(None) };
        let Some(blocks) = Blocks::left_in(dir).map_err(Failure::other)? else { return Ok(None) };
        let never = NeverList::new(&config.enforce, &config.site.home_networks, &Surroundings::look());
        let seed = Seed::Random.draw();
        let mut guard = Guard::new(config.enforce.clone(), never, Box::new(blocks), seed, clock::boottime_ns());
        // That they were found is nothing that happened to them.
        let ended = guard.take_events().into_iter().filter(|event| event.action != Action::Adopt).collect();
        let left = Self { guard, config };
        left.write(ended)?;
        Ok(Some(left))
    }

    pub(super) fn list(&self) -> Value {
        let (now_ns, offset) = (clock::boottime_ns(), WallOffset::of_boottime());
        let blocks: Vec<Value> = self.guard.list().iter().map(|block| audit::listed(block, now_ns, offset)).collect();
        json!({ "dry_run": false, "blocks": blocks })
    }

    pub(super) fn add(
        mut self,
        source: IpAddr,
        target: Option<IpAddr>,
        secs: Option<u64>,
        reason: Option<String>,
    ) -> Result<Value, Failure> {
        if !self.config.enforce.enabled || self.config.enforce.dry_run {
            return Err(Failure::Other("blocking is off: set enforce.enabled = true".to_owned()));
        }
        let secs = secs.unwrap_or(self.config.enforce.duration_secs);
        let reason = reason.unwrap_or_else(|| "by hand".to_owned());
        let added = self.guard.add(key(source, target), secs, uid(), reason, clock::boottime_ns());
        let events = self.guard.take_events();
        self.write(events)?;
        match added {
            Ok(()) => Ok(json!({ "dry_run": false })),
            Err(refusal) => Err(Failure::Other(format!("{source} {}", refusal.words()))),
        }
    }

    pub(super) fn remove(mut self, source: IpAddr, target: Option<IpAddr>) -> Result<Value, Failure> {
        let removed = self.guard.remove(&key(source, target), uid(), clock::boottime_ns());
        let events = self.guard.take_events();
        self.write(events)?;
        if removed { Ok(json!({})) } else { Err(Failure::Other("there is no such block".to_owned())) }
    }

    fn write(&self, events: Vec<Event>) -> Result<(), Failure> {
        if events.is_empty() {
            return Ok(());
        }
        // The agent rotates it.
        let kept = FileSettings { rotate_bytes: 0, rotate_keep: 1, fsync: Fsync::Batch };
        let mut file = FileSink::open("blocks", &self.config.enforce.audit, kept).map_err(Failure::other)?;
        let offset = WallOffset::of_boottime();
        let line = |event: &Event| Line { rank: Rank::High, bytes: audit::line(event, Effect::Real, offset) };
        let lines: Vec<Line> = events.iter().map(line).collect();
        let written = file.write(&lines).written;
        if written == lines.len() as u64 {
            Ok(())
        } else {
            Err(Failure::Other(format!("cannot write to {}", self.config.enforce.audit.display())))
        }
    }
}

fn key(source: IpAddr, target: Option<IpAddr>) -> BlockKey {
    target.map_or_else(|| BlockKey::source(octets(source)), |target| BlockKey::pair(octets(source), octets(target)))
}

fn uid() -> u32 {
    rustix::process::getuid().as_raw()
}
