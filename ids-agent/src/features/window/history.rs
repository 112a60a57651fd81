//! What one host, pair or service did lately, in buckets of time. Knows no flow records.

use smallvec::SmallVec;

use super::{LONG, SHORT, Traits, distinct::Distinct};

/// Buckets kept: a flow that ends by the idle timeout, a minute after its last packet, still finds the minute
/// before it.
const HISTORY: u32 = 2 * LONG + 1;

/// Sums over flows of one bucket of time, or of several.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bucket {
    tick: u32,
    pub(super) flows: u32,
    pub(super) unanswered: u32,
    pub(super) refused: u32,
    pub(super) syn_only: u32,
    pub(super) empty: u32,
    packets: u64,
    bytes: u64,
    /// Distinct counts as they stood when the bucket closed, over the short and the long window.
    peers: [f32; 2],
    ports: [f32; 2],
}

impl Bucket {
    /// A single flow.
    pub(super) fn one() -> Self {
        Self { flows: 1, ..Self::default() }
    }

    /// Moves a flow from one set of traits to another.
    pub(super) fn add_traits(&mut self, before: Traits, now: Traits) {
        let shift = |count: &mut u32, before: bool, now: bool| {
            *count = (*count + u32::from(now)).saturating_sub(u32::from(before));
        };
        shift(&mut self.unanswered, before.unanswered, now.unanswered);
        shift(&mut self.refused, before.refused, now.refused);
        shift(&mut self.syn_only, before.syn_only, now.syn_only);
        shift(&mut self.empty, before.empty, now.empty);
    }

    pub(super) fn add_volume(&mut self, packets: u64, bytes: u64) {
        self.packets = self.packets.saturating_add(packets);
        self.bytes = self.bytes.saturating_add(bytes);
    }

    fn add(&mut self, other: &Self) {
        self.flows = self.flows.saturating_add(other.flows);
        self.unanswered = self.unanswered.saturating_add(other.unanswered);
        self.refused = self.refused.saturating_add(other.refused);
        self.syn_only = self.syn_only.saturating_add(other.syn_only);
        self.empty = self.empty.saturating_add(other.empty);
        self.add_volume(other.packets, other.bytes);
    }
}

/// Sums over a window, with distinct counts.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Window {
    pub(super) sums: Bucket,
    pub(super) peers: f32,
    pub(super) ports: f32,
}

impl Window {
    pub(super) fn flows(&self) -> f32 {
        self.sums.flows as f32
    }

    pub(super) fn packets(&self) -> f32 {
        self.sums.packets as f32
    }

    /// Share of the flows begun in the window; zero without flows.
    pub(super) fn share(&self, part: u32) -> f32 {
        part as f32 / self.sums.flows.max(1) as f32
    }

    pub(super) fn bytes_per_flow(&self) -> f32 {
        self.sums.bytes as f32 / self.sums.flows.max(1) as f32
    }
}

/// The past two minutes of a host in one role, or of a pair.
#[derive(Clone, Debug)]
pub(super) struct History {
    pub(super) peers: Distinct,
    pub(super) ports: Distinct,
    buckets: Buckets<Bucket>,
}

impl Default for History {
    fn default() -> Self {
        let windows = [SHORT as u16, LONG as u16];
        Self { peers: Distinct::new(windows), ports: Distinct::new(windows), buckets: Buckets::default() }
    }
}

impl History {
    /// Changes the bucket of `tick`; one that has left the history is gone.
    pub(super) fn change(&mut self, tick: u32, change: impl FnOnce(&mut Bucket)) {
        let (peers, ports) = (&self.peers, &self.ports);
        self.buckets.change(
            tick,
            |closed| {
                closed.peers = peers.counts(closed.tick);
                closed.ports = ports.counts(closed.tick);
            },
            change,
        );
    }

    /// The short and the long window in front of `tick`, its own bucket included. Distinct counts of the past are
    /// those of the last bucket that saw anything.
    pub(super) fn windows(&self, tick: u32) -> [Window; 2] {
        let [mut short, mut long] = [Window::default(); 2];
        let mut sums = Bucket::default();
        // From the newest on: what is in the short window is the beginning of what is in the long one.
        let (mut newest_short, mut newest_long) = (None, None);
        for bucket in self.buckets.held.iter().rev().skip_while(|bucket| bucket.tick > tick) {
            let age = tick - bucket.tick;
            if age > LONG {
                break;
            }
            sums.add(bucket);
            newest_long = newest_long.or(Some(bucket));
            if age <= SHORT {
                short.sums = sums;
                newest_short = newest_short.or(Some(bucket));
            }
        }
        long.sums = sums;
        if self.buckets.last_tick().is_some_and(|last| tick < last) {
            if let Some(Bucket { peers: [peers, _], ports: [ports, _], .. }) = newest_short {
                (short.peers, short.ports) = (*peers, *ports);
            }
            if let Some(Bucket { peers: [_, peers], ports: [_, ports], .. }) = newest_long {
                (long.peers, long.ports) = (*peers, *ports);
            }
        } else {
            [short.peers, long.peers] = self.peers.counts(tick);
            [short.ports, long.ports] = self.ports.counts(tick);
        }
        [short, long]
    }
}

/// Sums over flows of one service of one pair.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ServiceBucket {
    tick: u32,
    pub(super) flows: u32,
    pub(super) logins: u32,
    pub(super) failed_logins: u32,
    ended: u32,
    secs: f64,
    size: f64,
    size_squared: f64,
}

impl ServiceBucket {
    /// A service tried just once.
    pub(super) fn one() -> Self {
        Self { flows: 1, ..Self::default() }
    }

    pub(super) fn add_ended(&mut self, size: f64, secs: f64) {
        self.ended += 1;
        self.secs += secs;
        self.size += size;
        self.size_squared += size * size;
    }

    /// Standard deviation over mean of the sizes of ended flows.
    pub(super) fn size_spread(&self) -> f32 {
        if self.ended < 2 || self.size <= 0.0 {
            return 0.0;
        }
        let count = f64::from(self.ended);
        let mean = self.size / count;
        let variance = (self.size_squared / count - mean * mean).max(0.0);
        (variance.sqrt() / mean) as f32
    }

    pub(super) fn mean_secs(&self) -> f32 {
        (self.secs / f64::from(self.ended.max(1))) as f32
    }
}

/// The past two minutes of one service of one pair.
#[derive(Clone, Debug, Default)]
pub(super) struct ServiceHistory {
    /// Answered flows that have not ended.
    pub(super) open: u32,
    buckets: Buckets<ServiceBucket>,
}

impl ServiceHistory {
    pub(super) fn change(&mut self, tick: u32, change: impl FnOnce(&mut ServiceBucket)) {
        self.buckets.change(tick, |_| {}, change);
    }

    /// Flows in the short window, and the sums of the long one.
    pub(super) fn windows(&self, tick: u32) -> (u32, ServiceBucket) {
        let (mut flows_short, mut sums) = (0_u32, ServiceBucket::default());
        // In order of time: the order in which fractions are added shows in their last bits.
        for bucket in self.buckets.held.iter().filter(|bucket| bucket.tick <= tick && tick - bucket.tick <= LONG) {
            if tick - bucket.tick <= SHORT {
                flows_short = flows_short.saturating_add(bucket.flows);
            }
            sums.flows = sums.flows.saturating_add(bucket.flows);
            sums.logins = sums.logins.saturating_add(bucket.logins);
            sums.failed_logins = sums.failed_logins.saturating_add(bucket.failed_logins);
            sums.ended = sums.ended.saturating_add(bucket.ended);
            sums.secs += bucket.secs;
            sums.size += bucket.size;
            sums.size_squared += bucket.size_squared;
        }
        (flows_short, sums)
    }
}

trait Ticked: Copy + Default {
    fn at(tick: u32) -> Self;
    fn tick(&self) -> u32;
}

impl Ticked for Bucket {
    fn at(tick: u32) -> Self {
        Self { tick, ..Self::default() }
    }

    fn tick(&self) -> u32 {
        self.tick
    }
}

impl Ticked for ServiceBucket {
    fn at(tick: u32) -> Self {
        Self { tick, ..Self::default() }
    }

    fn tick(&self) -> u32 {
        self.tick
    }
}

/// Buckets in which something happened, in order of time, at most `HISTORY` of them.
#[derive(Clone, Debug, Default)]
struct Buckets<B: Ticked> {
    held: SmallVec<[B; 1]>,
}

impl<B: Ticked> Buckets<B> {
    fn last_tick(&self) -> Option<u32> {
        self.held.last().map(B::tick)
    }

    /// Changes the bucket of `tick`. `close` sees a bucket before a later one begins.
    fn change(&mut self, tick: u32, close: impl FnOnce(&mut B), change: impl FnOnce(&mut B)) {
        if let Some(last) = self.held.last_mut().filter(|last| last.tick() == tick) {
            change(last);
            return;
        }
        let last = self.last_tick();
        if last.is_some_and(|last| tick.saturating_add(HISTORY) <= last) {
            return;
        }
        let place = self.held.partition_point(|bucket| bucket.tick() < tick);
        if self.held.get(place).is_none_or(|bucket| bucket.tick() != tick) {
            if place == self.held.len()
                && let Some(closed) = self.held.last_mut()
            {
                close(closed);
            }
            let gone = self.held.partition_point(|bucket| bucket.tick().saturating_add(HISTORY) <= tick);
            self.held.drain(..gone);
            self.held.insert(place - gone, B::at(tick));
            if let Some(bucket) = self.held.get_mut(place - gone) {
                change(bucket);
            }
        } else if let Some(bucket) = self.held.get_mut(place) {
            change(bucket);
        }
    }
}
