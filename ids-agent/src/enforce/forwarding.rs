//! Whether forwarding suffers from a block: the others' traffic a little later, held against what it was.
//!
//! Counted are directions of flows that moved, second by second, and for each host those that it has a part in. The
//! others of a host are all directions but its own: its attack, and the answers to it, are in neither side of the
//! comparison.

use crate::{bounded::BoundedMap, source::Batch};

/// Seconds that are remembered: a minute before a block, and what comes behind it.
const SECONDS: usize = 128;
/// Seconds before a block whose median is what is usual.
const BEFORE: u64 = 60;
/// Seconds of them that must be known, and what their median must reach, for a comparison to mean anything.
const BEFORE_MIN: usize = 15;
const USUAL_MIN: u32 = 4;
/// Hosts whose part is remembered; beyond it the idlest go, counted by the table.
const HOSTS_MAX: usize = 4_096;

const SECOND_NS: u64 = 1_000_000_000;

/// Directions that moved, second by second.
#[derive(Clone, Debug)]
struct Past {
    /// The latest second counted.
    latest: u64,
    moved: [u16; SECONDS],
}

impl Past {
    fn new(second: u64) -> Self {
        Self { latest: second, moved: [0; SECONDS] }
    }

    /// Comes to a second. Those in which nothing moved are zero, not what stood there a round ago.
    fn advance(&mut self, second: u64) {
        let from = self.latest.saturating_add(1).max(second.saturating_sub(SECONDS as u64 - 1));
        for silent in from..=second {
            self.moved[silent as usize % SECONDS] = 0;
        }
        self.latest = self.latest.max(second);
    }

    fn add(&mut self, second: u64) {
        self.advance(second);
        let at = &mut self.moved[second as usize % SECONDS];
        *at = at.saturating_add(1);
    }

    fn at(&self, second: u64) -> u32 {
        let remembered = second <= self.latest && self.latest - second < SECONDS as u64;
        if remembered { u32::from(self.moved[second as usize % SECONDS]) } else { 0 }
    }
}

/// What forwarding did after a block.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Forwarded {
    /// It is too early to say.
    Waiting,
    /// There was too little traffic before to say anything.
    TooLittle,
    /// The others go on.
    Well { usual: f64, now: f64 },
    /// Less than the share is left of the others.
    Suffers { usual: f64, now: f64 },
}

/// The last two minutes of what was forwarded.
#[derive(Debug)]
pub struct Forwarding {
    all: Past,
    hosts: BoundedMap<[u8; 16], Past>,
    /// The first second that was seen from its beginning.
    first: Option<u64>,
}

impl Forwarding {
    pub fn new(hash_seed: u64) -> Self {
        Self { all: Past::new(0), hosts: BoundedMap::new(HOSTS_MAX, hash_seed), first: None }
    }

    /// Takes in a tick.
    pub fn observe(&mut self, batch: &Batch) {
        // The tick's packets came before its end.
        let second = batch.now_ns.saturating_sub(1) / SECOND_NS;
        self.first.get_or_insert(second + 1);
        self.all.advance(second);
        for update in &batch.slots {
            let key = &update.slot.key;
            self.all.add(second);
            self.hosts.touch_or_insert(&key.src, || Past::new(second)).add(second);
            if key.dst != key.src {
                self.hosts.touch_or_insert(&key.dst, || Past::new(second)).add(second);
            }
        }
    }

    /// How the others of `host` fare `secs` after it was blocked at `placed_ns`. `share` is what must be left.
    pub fn after(&self, host: &[u8; 16], placed_ns: u64, secs: u64, share: f64) -> Forwarded {
        let placed = placed_ns / SECOND_NS;
        // The second of the block itself belongs to neither side.
        let behind = placed + 1..placed + 1 + secs;
        // A second is over when one behind it has begun.
        if self.all.latest < behind.end {
            return Forwarded::Waiting;
        }
        let Some(first) = self.first else { return Forwarded::Waiting };
        let own = self.hosts.peek(host);
        let others = |second: u64| self.all.at(second).saturating_sub(own.map_or(0, |past| past.at(second)));
        let oldest = self.all.latest.saturating_sub(SECONDS as u64 - 1);
        let mut before: Vec<u32> = (placed.saturating_sub(BEFORE).max(first).max(oldest)..placed).map(others).collect();
        before.sort_unstable();
        let median = before.get(before.len() / 2).copied().unwrap_or(0);
        if before.len() < BEFORE_MIN || median < USUAL_MIN {
            return Forwarded::TooLittle;
        }
        let sum: u64 = behind.map(|second| u64::from(others(second))).sum();
        let (usual, now) = (f64::from(median), sum as f64 / secs.max(1) as f64);
        if now < usual * share { Forwarded::Suffers { usual, now } } else { Forwarded::Well { usual, now } }
    }
}
