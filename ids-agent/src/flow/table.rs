//! The table of joined flows: takes the slots of a batch, says which flows are due.
//!
//! Where a flow ends depends on packet times alone. A source cuts a direction's packets into slots
//! wherever it likes, but at least at every silence longer than the shortest that can end a flow
//! (`FlowSettings::slot_silence_ns`). Slots of one direction with no such silence between them are
//! therefore one chain, whatever the cuts, and a flow is a sequence of whole chains:
//!
//! * the next chain of either direction goes on with the flow unless both directions were silent
//!   for longer than the timeout before it, which is the linger after FIN in both directions or
//!   RST, and the idle timeout otherwise;
//! * a chain also ends where a TCP handshake packet follows other packets of its direction, and
//!   such a handshake begins a new flow. The other direction's chain stays with the old flow to
//!   its own end.

use std::hash::BuildHasher;

use foldhash::quality::FixedState;
use hashbrown::HashTable;
use ids_common::{
    flow::{FlowKey, FlowSlot},
    hash::{HashSecret, hash},
    wire,
};
use smallvec::SmallVec;

use crate::{
    config::FlowSettings,
    flow::{
        FlowEnd, FlowRecord, FlowState, FlowStats,
        expiry::Expiry,
        joined::{Flow, NONE, pair},
        oldest::{Oldest, Rank},
        orphans::Orphans,
        side::{Growth, Piece, Side},
    },
    source::{Batch, SlotState, SlotUpdate},
};

/// A flow that goes on is judged again at this age of its last judgement, if not sooner.
const REVIEW_NS: u64 = 10_000_000_000;

/// Slots of evicted flows remembered, for each place in the table: more than a source of the default
/// size holds, so that only a kernel that overwrites slots without a word can reach it.
const ORPHANS_PER_FLOW: usize = 4;
/// And at least so many, however small the table.
const ORPHANS_MIN: usize = 256;

/// Flows for which the index has room from the start: growing it touches every flow.
const INDEX_READY: usize = 1 << 15;
/// The bucket of a flow whose last record is being written.
const LEAVING: u64 = u64::MAX;

/// Flows that go on, by the pair of keys of their directions.
pub struct FlowTable {
    /// The idle timeout, and what the settings say of it.
    idle_ns: u64,
    idle_set_ns: u64,
    linger_ns: u64,
    silence_ns: u64,
    review_ns: u64,
    flows_max: usize,
    flows_set_max: usize,
    /// Whether more flows are held than `flows_max`, for a few ticks.
    shrinking: bool,
    tick_ns: u64,
    secret: HashSecret,
    /// End of the last batch.
    now_ns: u64,
    /// The newest flow of each pair of keys.
    index: HashTable<u32>,
    flows: Vec<Flow>,
    free: Vec<u32>,
    expiry: Expiry,
    oldest: Oldest,
    /// Flows that changed since the last call of `due`.
    changed: Vec<u32>,
    /// Slots of the batch that no flow knows yet.
    arrivals: Vec<Arrival>,
    due: Vec<Due>,
    buckets: Vec<(u64, Vec<u32>)>,
    evicted: Vec<FlowRecord>,
    /// Slots of evicted flows that may still grow.
    orphans: Orphans,
    stats: FlowStats,
}

/// A slot of the batch that no flow knew, by its place in the batch.
struct Arrival {
    first_seen_ns: u64,
    position: u32,
}

struct Due {
    start_ns: u64,
    flow: u32,
    state: FlowState,
}

/// Which records `due` writes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    All,
    Ended,
}

/// The fixed secret for seed zero, else one that only who knows the seed can foresee.
fn secret_of(seed: u64) -> HashSecret {
    if seed == 0 {
        return HashSecret::FIXED;
    }
    let hasher = FixedState::with_seed(seed);
    HashSecret { words: [0u8, 1, 2, 3, 4].map(|word| hasher.hash_one(word)), finish: hasher.hash_one(5u8) }
}

impl FlowTable {
    pub fn new(settings: &FlowSettings) -> Self {
        Self::keyed(settings, secret_of(settings.hash_seed))
    }

    /// A table whose places an attacker cannot foresee, for a secret drawn at random.
    pub fn keyed(settings: &FlowSettings, secret: HashSecret) -> Self {
        Self {
            idle_ns: settings.idle_timeout_ns(),
            idle_set_ns: settings.idle_timeout_ns(),
            linger_ns: settings.closed_linger_ns().min(settings.idle_timeout_ns()),
            silence_ns: settings.slot_silence_ns(),
            review_ns: REVIEW_NS.min(settings.active_timeout_secs.saturating_mul(1_000_000_000)),
            flows_max: settings.flows_max.clamp(1, NONE as usize),
            flows_set_max: settings.flows_max.clamp(1, NONE as usize),
            shrinking: false,
            tick_ns: settings.tick_ns(),
            secret,
            now_ns: 0,
            index: HashTable::with_capacity(settings.flows_max.min(INDEX_READY)),
            flows: Vec::new(),
            free: Vec::new(),
            expiry: Expiry::new(settings.tick_ns()),
            oldest: Oldest::new(),
            changed: Vec::new(),
            arrivals: Vec::new(),
            due: Vec::new(),
            buckets: Vec::new(),
            evicted: Vec::new(),
            orphans: Orphans::new(secret),
            stats: FlowStats::default(),
        }
    }

    /// Takes the slots of one tick.
    pub fn absorb(&mut self, batch: &Batch) {
        self.shrink();
        let mut arrivals = std::mem::take(&mut self.arrivals);
        // Known slots grow first, so that every flow's end is known up to the tick's end when the
        // new slots, in the order of their beginnings, look for their flows.
        //
        // A slot silent for so long before the last batch was over was told then: this is its
        // leaving the source's table, and no news.
        let stale_before_ns = self.now_ns.saturating_sub(self.silence_ns);
        for (position, update) in (0u32..).zip(&batch.slots) {
            if update.slot.last_seen_ns < stale_before_ns {
                self.stats.slots_stale += 1;
            } else if !self.grow(update) {
                arrivals.push(Arrival { first_seen_ns: update.slot.first_seen_ns, position });
            }
        }
        // Slots of one key keep the batch's order; two keys that began at one time take a fixed one.
        arrivals.sort_by(|one, other| {
            let key = |arrival: &Arrival| batch.slots.get(arrival.position as usize).map(|update| update.slot.key);
            one.first_seen_ns.cmp(&other.first_seen_ns).then_with(|| key(one).cmp(&key(other)))
        });
        for arrival in arrivals.drain(..) {
            if let Some(update) = batch.slots.get(arrival.position as usize) {
                self.arrive(update);
            }
        }
        self.arrivals = arrivals;
        self.now_ns = batch.now_ns;
        self.orphans.expire(self.now_ns);
    }

    /// Writes the records that are up for judgement at `now_ns`, in the order of their flows'
    /// starts: flows that are new, that passed a checkpoint or were not judged for long, and those
    /// that ended.
    pub fn due(&mut self, now_ns: u64, out: &mut Vec<FlowRecord>) {
        self.write_due(now_ns, Wanted::All, out);
    }

    /// As `due`, for a reader who wants each flow once, when it has ended.
    pub fn ended(&mut self, now_ns: u64, out: &mut Vec<FlowRecord>) {
        self.write_due(now_ns, Wanted::Ended, out);
    }

    /// Has the newest flow of a key written by the next `due`, whatever it has grown by.
    pub fn review(&mut self, key: &FlowKey) {
        let at = self.find(&pair(key).0);
        if let Some(flow) = self.flows.get_mut(at as usize) {
            flow.asked_for = true;
            self.mark_changed(at);
        }
    }

    /// Ends all flows: the source has ended.
    pub fn finish(&mut self, out: &mut Vec<FlowRecord>) {
        self.write_evicted(out);
        self.changed.clear();
        for (at, flow) in (0u32..).zip(&self.flows) {
            if flow.bucket != 0 {
                let end = flow.closed.or(flow.retired).unwrap_or(FlowEnd::Stopped);
                self.due.push(Due { start_ns: flow.start_ns, flow: at, state: FlowState::Ended(end) });
            }
        }
        self.write_sorted(out);
        self.orphans.clear();
    }

    pub fn stats(&self) -> FlowStats {
        FlowStats { active: (self.flows.len() - self.free.len()) as u64, ..self.stats }
    }

    /// Takes a snapshot of a slot that a flow holds; false where none does.
    fn grow(&mut self, update: &SlotUpdate) -> bool {
        let (key, direction) = pair(&update.slot.key);
        let head = self.find(&key);
        self.grow_among(head, direction, update)
    }

    fn grow_among(&mut self, head: u32, direction: usize, update: &SlotUpdate) -> bool {
        let mut at = head;
        while at != NONE {
            let flow = &mut self.flows[at as usize];
            match flow.sides[direction].grow(update) {
                None => at = flow.previous,
                Some(Growth::Nothing) => return true,
                Some(Growth::Packets) => {
                    flow.note(update);
                    self.mark_changed(at);
                    return true;
                }
            }
        }
        false
    }

    /// Finds the flow of a slot that is new to the table.
    fn arrive(&mut self, update: &SlotUpdate) {
        let slot = &update.slot;
        let (key, direction) = pair(&slot.key);
        let head = self.find(&key);
        // The batch may hold several snapshots of a new slot.
        if self.grow_among(head, direction, update) {
            self.stats.slots_stale += 1;
            return;
        }
        let mut piece = Piece::new(update);
        if let Some(orphan) = self.orphans.take(&slot.key, update.cpu, slot.first_seen_ns) {
            if slot.packets <= orphan.slot.packets {
                self.stats.slots_stale += 1;
                if update.state == SlotState::Open {
                    self.orphans.put_back(orphan);
                }
                return;
            }
            self.stats.slots_resumed += 1;
            piece = Piece::resumed(update, &orphan.slot);
        }
        let at = match self.place(head, direction, &piece.slot) {
            Some(at) => at,
            None => self.begin(&key, head, &piece.slot),
        };
        let flow = &mut self.flows[at as usize];
        let overlaps = flow.sides[direction].last_seen_ns() > Some(piece.slot.first_seen_ns);
        self.stats.slots_overlapping += u64::from(overlaps);
        flow.start_ns = flow.start_ns.min(piece.slot.first_seen_ns);
        flow.sides[direction].append(piece);
        flow.note(update);
        self.mark_changed(at);
    }

    /// The flow that a new slot goes on with, if there is one.
    fn place(&mut self, head: u32, direction: usize, slot: &FlowSlot) -> Option<u32> {
        let mut at = head;
        while at != NONE && self.flows[at as usize].sides[direction].is_empty() {
            at = self.flows[at as usize].previous;
        }
        let is_handshake = slot.first_flags & wire::TCP_SYN != 0;
        if at != NONE {
            let side = &self.flows[at as usize].sides[direction];
            let restarts = is_handshake && side.is_past_handshake();
            let silence_ns = slot.first_seen_ns.saturating_sub(side.last_seen_ns().unwrap_or(0));
            if silence_ns <= self.silence_ns && !restarts {
                return Some(at);
            }
        }
        if head == NONE {
            return None;
        }
        let (idle_ns, linger_ns) = (self.idle_ns, self.linger_ns);
        let flow = &mut self.flows[head as usize];
        if flow.retired.is_some() {
            return None;
        }
        let timeout_ns = if flow.closed.is_some() { linger_ns } else { idle_ns };
        if slot.first_seen_ns > flow.end_ns.saturating_add(timeout_ns) {
            flow.retired = Some(FlowEnd::Idle);
        } else if is_handshake && flow.sides[direction].is_past_handshake() {
            flow.retired = Some(FlowEnd::Reused);
        } else {
            return Some(head);
        }
        self.schedule(head);
        None
    }

    /// Begins a flow with its first slot, which the caller appends. `head` is the newest flow of
    /// the same keys.
    fn begin(&mut self, key: &FlowKey, head: u32, slot: &FlowSlot) -> u32 {
        self.stats.started += 1;
        let start_ns = slot.first_seen_ns;
        // A clock that stands still must not give two flows of one key one name.
        let salt = match head {
            NONE => 0,
            head if self.flows[head as usize].start_ns == start_ns => self.flows[head as usize].id,
            _ => 0,
        };
        let flow = Flow::new(key, slot, salt);
        if self.flows.len() - self.free.len() >= self.flows_max {
            self.evict();
        }
        let at = match self.free.pop() {
            Some(at) => {
                self.flows[at as usize] = flow;
                at
            }
            None => {
                self.flows.push(flow);
                (self.flows.len() - 1) as u32
            }
        };
        self.enter(key, at);
        self.oldest.push(at, Rank::Probe);
        self.schedule(at);
        at
    }

    fn evict(&mut self) {
        let Some(at) = self.oldest.next() else { return };
        let record = self.flows[at as usize].record(FlowState::Ended(FlowEnd::Evicted));
        let mut orphans: SmallVec<[(u32, FlowSlot); 2]> = SmallVec::new();
        for piece in self.flows[at as usize].sides.iter().flat_map(Side::open) {
            let known = piece.whole();
            orphans.push((piece.cpu, known));
        }
        for (cpu, known) in orphans {
            let until_ns = known.last_seen_ns.max(self.now_ns).saturating_add(self.silence_ns);
            let orphans_max = self.flows_max.saturating_mul(ORPHANS_PER_FLOW).max(ORPHANS_MIN);
            self.stats.slots_forgotten += self.orphans.put(cpu, known, until_ns, orphans_max);
        }
        self.leave(at, FlowEnd::Evicted, record.as_ref());
        self.evicted.extend(record);
    }

    fn mark_changed(&mut self, at: u32) {
        let flow = &mut self.flows[at as usize];
        if !flow.changed {
            flow.changed = true;
            self.changed.push(at);
        }
    }

    fn deadline_ns(&self, flow: &Flow) -> u64 {
        let timeout_ns = match (flow.retired, flow.closed) {
            (Some(_), _) => self.silence_ns,
            (None, Some(_)) => self.linger_ns,
            (None, None) => self.idle_ns,
        };
        flow.end_ns.saturating_add(timeout_ns)
    }

    /// Has the flow looked at when its deadline has passed. A deadline that moved away is noticed
    /// when its bucket is due; only one that came nearer needs a new bucket.
    fn schedule(&mut self, at: u32) {
        let flow = &self.flows[at as usize];
        let bucket = self.expiry.bucket(self.deadline_ns(flow));
        if flow.bucket == 0 || bucket < flow.bucket {
            self.flows[at as usize].bucket = bucket;
            self.expiry.push(bucket, at);
        }
        let flows = &self.flows;
        self.expiry.bound(flows.len(), |bucket, flow| flows[flow as usize].bucket == bucket);
    }

    fn write_due(&mut self, now_ns: u64, wanted: Wanted, out: &mut Vec<FlowRecord>) {
        for position in 0..self.changed.len() {
            self.schedule_changed(self.changed[position]);
        }
        let mut buckets = std::mem::take(&mut self.buckets);
        buckets.extend(std::iter::from_fn(|| self.expiry.pop(now_ns)));
        for (bucket, flows) in buckets.drain(..) {
            for &at in &flows {
                self.look_at(at, bucket, now_ns);
            }
            self.expiry.recycle(flows);
        }
        self.buckets = buckets;
        let mut changed = std::mem::take(&mut self.changed);
        for at in changed.drain(..) {
            let flow = &mut self.flows[at as usize];
            if !flow.changed || flow.bucket == 0 {
                continue;
            }
            flow.changed = false;
            if wanted == Wanted::All && flow.is_up(now_ns, self.review_ns) {
                self.due.push(Due { start_ns: flow.start_ns, flow: at, state: FlowState::Open });
            }
        }
        self.changed = changed;
        self.write_evicted(out);
        self.write_sorted(out);
    }

    /// Hands over the records of flows that were evicted: the memory that holds them where it can, as a flood evicts megabytes.
    fn write_evicted(&mut self, out: &mut Vec<FlowRecord>) {
        if out.is_empty() && !self.evicted.is_empty() {
            *out = std::mem::take(&mut self.evicted);
        } else {
            out.append(&mut self.evicted);
        }
    }

    fn schedule_changed(&mut self, at: u32) {
        let flow = &self.flows[at as usize];
        if !flow.changed || flow.bucket == 0 {
            return;
        }
        let rank = if flow.is_established() { Rank::Established } else { Rank::Probe };
        if rank == Rank::Established {
            self.oldest.renew(at, rank);
        }
        self.schedule(at);
    }

    /// Ends the flow if its deadline has passed.
    fn look_at(&mut self, at: u32, bucket: u64, now_ns: u64) {
        let flow = &self.flows[at as usize];
        if flow.bucket != bucket {
            return;
        }
        if self.deadline_ns(flow) < now_ns {
            let end = flow.closed.or(flow.retired).unwrap_or(FlowEnd::Idle);
            self.due.push(Due { start_ns: flow.start_ns, flow: at, state: FlowState::Ended(end) });
            // It must not be judged as open in the same tick, nor end twice: it may stand in a
            // bucket twice, if its deadline came nearer and moved away again.
            self.flows[at as usize].changed = false;
            self.flows[at as usize].bucket = LEAVING;
        } else {
            self.flows[at as usize].bucket = 0;
            self.schedule(at);
        }
    }

    /// Writes what is due, and lets go of what has ended.
    fn write_sorted(&mut self, out: &mut Vec<FlowRecord>) {
        let mut due = std::mem::take(&mut self.due);
        due.sort_by(|one, other| {
            one.start_ns
                .cmp(&other.start_ns)
                .then_with(|| self.flows[one.flow as usize].key.cmp(&self.flows[other.flow as usize].key))
        });
        out.reserve_exact(due.len());
        for Due { flow: at, state, .. } in due.drain(..) {
            let record = self.flows[at as usize].record(state);
            if let FlowState::Ended(end) = state {
                self.leave(at, end, record.as_ref());
            }
            out.extend(record);
        }
        self.due = due;
    }

    /// Frees a flow's place.
    fn leave(&mut self, at: u32, end: FlowEnd, record: Option<&FlowRecord>) {
        self.stats.ended[end as usize] += 1;
        self.stats.packets_ended = self.stats.packets_ended.saturating_add(record.map_or(0, FlowRecord::packets));
        self.stats.bytes_ended = self.stats.bytes_ended.saturating_add(record.map_or(0, FlowRecord::bytes));
        self.unlink(at);
        self.oldest.remove(at);
        let flow = &mut self.flows[at as usize];
        flow.bucket = 0;
        flow.changed = false;
        flow.sides = Default::default();
        self.free.push(at);
    }

    /// The newest flow of a pair of keys.
    fn find(&self, key: &FlowKey) -> u32 {
        let hashed = hash(key, &self.secret);
        let same = |&at: &u32| self.flows[at as usize].key.same(key);
        self.index.find(hashed, same).copied().unwrap_or(NONE)
    }

    /// Makes `at` the newest flow of its keys.
    fn enter(&mut self, key: &FlowKey, at: u32) {
        let hashed = hash(key, &self.secret);
        let (flows, secret) = (&self.flows, &self.secret);
        match self.index.find_mut(hashed, |&other| flows[other as usize].key.same(key)) {
            Some(head) => {
                let previous = std::mem::replace(head, at);
                self.flows[at as usize].previous = previous;
            }
            None => {
                self.index.insert_unique(hashed, at, |&other| hash(&flows[other as usize].key, secret));
            }
        }
    }

    fn unlink(&mut self, at: u32) {
        let (key, previous) = (self.flows[at as usize].key, self.flows[at as usize].previous);
        let hashed = hash(&key, &self.secret);
        let flows = &self.flows;
        let Ok(mut entry) = self.index.find_entry(hashed, |&other| flows[other as usize].key.same(&key)) else {
            return;
        };
        let mut newer = *entry.get();
        if newer == at {
            match previous {
                NONE => {
                    entry.remove();
                }
                previous => *entry.get_mut() = previous,
            }
            return;
        }
        while newer != NONE && self.flows[newer as usize].previous != at {
            newer = self.flows[newer as usize].previous;
        }
        if newer != NONE {
            self.flows[newer as usize].previous = previous;
        }
    }
}

mod ease;

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
