//! Decides on every block: who is spared, how many there may be, how long they last, and what is taken back. Pure but
//! for the enforcer it writes to; each decision is an event for the audit.

use std::collections::{BTreeMap, BTreeSet};

use ids_common::block::{BlockEntry, BlockKey};
use serde::Serialize;

use super::{Enforcer, NeverList, Proposal, Spared, never::shown};
use crate::{bounded::BoundedMap, config::EnforceSettings};

/// Sources whose earlier blocks are remembered.
const OFFENDERS_MAX: usize = 4_096;
const SECOND_NS: u64 = 1_000_000_000;

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// A block begins.
    Add,
    /// A block was asked for and is not put in force.
    Refuse,
    /// A person, or a changed setting, ended it.
    Remove,
    /// Its time was over.
    Expire,
    /// Forwarding suffered, and it was taken back.
    Rollback,
    /// It was in force when the agent began.
    Adopt,
}

impl Action {
    pub const ALL: [Self; 6] = [Self::Add, Self::Refuse, Self::Remove, Self::Expire, Self::Rollback, Self::Adopt];

    pub const fn label(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Refuse => "refuse",
            Self::Remove => "remove",
            Self::Expire => "expire",
            Self::Rollback => "rollback",
            Self::Adopt => "adopt",
        }
    }
}

/// Why a block is not put in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    Never(Spared),
    /// What it rests on could have been sent in the source's name.
    Unproven,
    EntriesMax,
    HostsShare,
    /// A block of it was taken back a little before.
    HeldBack,
    /// The enforcer did not keep up.
    QueueFull,
    /// The kernel did not take it.
    Failed,
}

impl Refusal {
    /// As metrics have it.
    pub const LABELS: [&str; 7] =
        ["never", "unproven", "entries_max", "hosts_share", "held_back", "queue_full", "failed"];

    pub const fn label(self) -> &'static str {
        match self {
            Self::Never(_) => "never",
            Self::Unproven => "unproven",
            Self::EntriesMax => "entries_max",
            Self::HostsShare => "hosts_share",
            Self::HeldBack => "held_back",
            Self::QueueFull => "queue_full",
            Self::Failed => "failed",
        }
    }

    /// In a sentence behind the address.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Never(why) => why.words(),
            Self::Unproven => "may be forged: no connection shows that it is who it says",
            Self::EntriesMax => "is one too many: enforce.entries_max blocks are in force",
            Self::HostsShare => "is one too many: enforce.hosts_share_max of the hosts seen are blocked",
            Self::HeldBack => "is held back: forwarding suffered from its last block",
            Self::QueueFull => "waits behind too many others",
            Self::Failed => "could not be written to the block map",
        }
    }
}

/// Who asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// An incident.
    Verdict,
    /// A person at the control socket, by user id.
    Person(u32),
    /// The agent's own care.
    Agent,
}

/// One line of the audit.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    pub at_ns: u64,
    pub action: Action,
    pub key: BlockKey,
    pub by: By,
    /// When the block ends, or would have ended.
    pub until_ns: Option<u64>,
    pub refusal: Option<Refusal>,
    pub reason: String,
    /// The incident behind it, where one is.
    pub cause: Option<Box<Proposal>>,
    /// Which block of this source it is, within `repeat_secs`.
    pub offence: u32,
    /// What the entry dropped.
    pub packets: u64,
    pub bytes: u64,
}

/// A block in force.
#[derive(Clone, Debug, PartialEq)]
pub struct Listed {
    pub key: BlockKey,
    pub entry: BlockEntry,
    pub by: By,
    pub reason: String,
    pub cause: Option<Box<Proposal>>,
    pub offence: u32,
}

#[derive(Clone, Copy, Debug, Default)]
struct Offender {
    times: u32,
    /// When its last block ended, or was to end.
    last_until_ns: u64,
    held_back_until_ns: u64,
}

/// The blocks in force, and the rules they are under.
pub struct Guard {
    settings: EnforceSettings,
    never: NeverList,
    enforcer: Box<dyn Enforcer>,
    blocks: BTreeMap<BlockKey, Listed>,
    offenders: BoundedMap<[u8; 16], Offender>,
    /// Blocks whose effect on forwarding is still to be looked at.
    watched: Vec<BlockKey>,
    /// Blocks that could not be taken out of the map: told once, tried again.
    stuck: BTreeSet<BlockKey>,
    events: Vec<Event>,
}

impl Guard {
    /// Takes over what is in force already: an agent before this one put it there.
    pub fn new(
        settings: EnforceSettings,
        never: NeverList,
        enforcer: Box<dyn Enforcer>,
        hash_seed: u64,
        now_ns: u64,
    ) -> Self {
        let mut guard = Self {
            settings,
            never,
            enforcer,
            blocks: BTreeMap::new(),
            offenders: BoundedMap::new(OFFENDERS_MAX, hash_seed),
            watched: Vec::new(),
            stuck: BTreeSet::new(),
            events: Vec::new(),
        };
        guard.adopt(now_ns);
        guard
    }

    fn adopt(&mut self, now_ns: u64) {
        let entries = match self.enforcer.entries() {
            Ok(entries) => entries,
            Err(error) => return tracing::error!(%error, "earlier blocks cannot be read; they end by themselves"),
        };
        for (key, entry) in entries {
            let reason = "in force when the agent began".to_owned();
            let listed = Listed { key, entry, by: By::Agent, reason: reason.clone(), cause: None, offence: 1 };
            self.blocks.insert(key, listed);
            let until_ns = Some(entry.until_ns);
            self.events.push(Event { until_ns, ..event(now_ns, Action::Adopt, key, By::Agent, reason) });
        }
        self.spare(now_ns);
        self.tick(now_ns);
    }

    /// Other rules. What they spare is let go.
    pub fn renew(&mut self, settings: EnforceSettings, never: NeverList, now_ns: u64) {
        self.settings = settings;
        self.renew_never(never, now_ns);
    }

    /// The surroundings changed.
    pub fn renew_never(&mut self, never: NeverList, now_ns: u64) {
        self.never = never;
        self.spare(now_ns);
    }

    fn spare(&mut self, now_ns: u64) {
        let spared = |key: &BlockKey| self.never.spares(&key.src).map(|why| (*key, why));
        for (key, why) in self.blocks.keys().filter_map(spared).collect::<Vec<_>>() {
            let reason = format!("{} {}", shown(&key.src), why.words());
            self.end(&key, Action::Remove, By::Agent, reason, now_ns);
        }
    }

    /// Takes what the decisions so far have to be told of.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// The blocks in force, with what they dropped so far.
    pub fn list(&self) -> Vec<Listed> {
        let entries: BTreeMap<_, _> = self.enforcer.entries().unwrap_or_default().into_iter().collect();
        let with_counts = |listed: &Listed| {
            let entry = entries.get(&listed.key).copied().unwrap_or(listed.entry);
            Listed { entry, ..listed.clone() }
        };
        self.blocks.values().map(with_counts).collect()
    }

    pub fn len(&self) -> usize {
        self.blocks.len()
    }

    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Hears that an incident asked for a block it must not have.
    pub fn refuse(&mut self, proposal: Box<Proposal>, refusal: Refusal, now_ns: u64) {
        let key = key_of(&proposal);
        self.refused(key, By::Verdict, refusal, Some(proposal), now_ns);
    }

    /// Decides on a block that an incident asks for. `hosts` are those seen to converse.
    pub fn consider(&mut self, proposal: Box<Proposal>, hosts: usize, now_ns: u64) {
        let key = key_of(&proposal);
        let source_too = BlockKey::source(key.src);
        if self.blocks.contains_key(&key) || self.blocks.contains_key(&source_too) {
            return;
        }
        if let Some(refusal) = self.objection(&key, Some(hosts), now_ns) {
            return self.refused(key, By::Verdict, refusal, Some(proposal), now_ns);
        }
        let times = self.offences(&key.src, now_ns).saturating_add(1);
        let doubled = 1_u64.checked_shl(times - 1).unwrap_or(u64::MAX);
        let secs = self.settings.duration_secs.saturating_mul(doubled).min(self.settings.duration_max_secs);
        let reason = proposal.reason.clone();
        // The event tells.
        let _ = self.put(key, secs, By::Verdict, reason, Some(proposal), times, now_ns);
    }

    /// Blocks by hand. The never-block list and the cap on entries hold here too.
    pub fn add(&mut self, key: BlockKey, secs: u64, uid: u32, reason: String, now_ns: u64) -> Result<(), Refusal> {
        let by = By::Person(uid);
        let asked_again = self.blocks.contains_key(&key);
        let objection = self.objection(&key, None, now_ns);
        if let Some(refusal) = objection.filter(|refusal| !(asked_again && *refusal == Refusal::EntriesMax)) {
            self.refused(key, by, refusal, None, now_ns);
            return Err(refusal);
        }
        let times = self.offences(&key.src, now_ns).saturating_add(1);
        self.put(key, secs.min(self.settings.duration_max_secs), by, reason, None, times, now_ns)
    }

    /// Ends a block by hand; says whether there was one.
    pub fn remove(&mut self, key: &BlockKey, uid: u32, now_ns: u64) -> bool {
        self.end(key, Action::Remove, By::Person(uid), "by hand".to_owned(), now_ns)
    }

    /// Clears away what has ended: the programs let it pass already.
    pub fn tick(&mut self, now_ns: u64) {
        let over = |(key, listed): (&BlockKey, &Listed)| (!listed.entry.holds(now_ns)).then_some(*key);
        for key in self.blocks.iter().filter_map(over).collect::<Vec<_>>() {
            self.end(&key, Action::Expire, By::Agent, "its time was over".to_owned(), now_ns);
        }
    }

    /// Ends all, because the map goes too.
    pub fn end_all(&mut self, reason: &str, now_ns: u64) {
        self.tick(now_ns);
        for key in self.blocks.keys().copied().collect::<Vec<_>>() {
            self.end(&key, Action::Remove, By::Agent, reason.to_owned(), now_ns);
        }
    }

    /// Blocks whose effect is to be looked at, with when they were placed.
    pub fn watched(&self) -> Vec<(BlockKey, u64)> {
        self.watched.iter().filter_map(|key| Some((*key, self.blocks.get(key)?.entry.placed_ns))).collect()
    }

    /// The effect of a block is known and harmless, or cannot be known.
    pub fn cleared(&mut self, key: &BlockKey) {
        self.watched.retain(|watched| watched != key);
    }

    /// Takes a block back, and holds its source back for a while.
    pub fn roll_back(&mut self, key: &BlockKey, reason: String, now_ns: u64) {
        let until_ns = now_ns.saturating_add(self.settings.holdback_secs.saturating_mul(SECOND_NS));
        self.offenders.touch_or_insert(&key.src, Offender::default).held_back_until_ns = until_ns;
        self.end(key, Action::Rollback, By::Agent, reason, now_ns);
    }

    pub fn settings(&self) -> &EnforceSettings {
        &self.settings
    }

    /// What speaks against a block. A person is not bound by the share of hosts, nor by what was taken back.
    fn objection(&self, key: &BlockKey, hosts: Option<usize>, now_ns: u64) -> Option<Refusal> {
        if let Some(why) = self.never.spares(&key.src) {
            return Some(Refusal::Never(why));
        }
        if self.blocks.len() >= self.settings.entries_max {
            return Some(Refusal::EntriesMax);
        }
        let hosts = hosts?;
        if self.offenders.peek(&key.src).is_some_and(|offender| now_ns < offender.held_back_until_ns) {
            return Some(Refusal::HeldBack);
        }
        let mut sources: Vec<&[u8; 16]> = self.blocks.keys().map(|key| &key.src).collect();
        sources.dedup();
        let may_be = (hosts as f64 * self.settings.hosts_share_max).floor().max(1.0);
        let further = !sources.contains(&&key.src);
        (further && (sources.len() + 1) as f64 > may_be).then_some(Refusal::HostsShare)
    }

    fn offences(&self, source: &[u8; 16], now_ns: u64) -> u32 {
        let lasting_ns = self.settings.repeat_secs.saturating_mul(SECOND_NS);
        let offender =
            self.offenders.peek(source).filter(|known| now_ns < known.last_until_ns.saturating_add(lasting_ns));
        offender.map_or(0, |known| known.times)
    }

    #[expect(clippy::too_many_arguments, reason = "what a block is; each of them is told")]
    fn put(
        &mut self,
        key: BlockKey,
        secs: u64,
        by: By,
        reason: String,
        cause: Option<Box<Proposal>>,
        offence: u32,
        now_ns: u64,
    ) -> Result<(), Refusal> {
        let until_ns = now_ns.saturating_add(secs.saturating_mul(SECOND_NS));
        // Asked for again, a block goes on counting.
        let earlier =
            self.enforcer.entries().ok().and_then(|entries| entries.into_iter().find(|(known, _)| *known == key));
        let entry = BlockEntry { until_ns, placed_ns: now_ns, ..earlier.map(|(_, entry)| entry).unwrap_or_default() };
        if let Err(error) = self.enforcer.put(&key, &entry) {
            tracing::error!(%error, "cannot block");
            self.refused(key, by, Refusal::Failed, cause, now_ns);
            return Err(Refusal::Failed);
        }
        let offender = self.offenders.touch_or_insert(&key.src, Offender::default);
        offender.times = offence;
        offender.last_until_ns = until_ns;
        if self.settings.rollback_secs > 0 && !self.watched.contains(&key) {
            self.watched.push(key);
        }
        let told = Event {
            until_ns: Some(until_ns),
            cause: cause.clone(),
            offence,
            ..event(now_ns, Action::Add, key, by, reason.clone())
        };
        self.events.push(told);
        self.blocks.insert(key, Listed { key, entry, by, reason, cause, offence });
        Ok(())
    }

    fn refused(&mut self, key: BlockKey, by: By, refusal: Refusal, cause: Option<Box<Proposal>>, now_ns: u64) {
        let reason = format!("{} {}", shown(&key.src), refusal.words());
        let told = Event { refusal: Some(refusal), cause, ..event(now_ns, Action::Refuse, key, by, reason) };
        self.events.push(told);
    }

    fn end(&mut self, key: &BlockKey, action: Action, by: By, reason: String, now_ns: u64) -> bool {
        let Some(listed) = self.blocks.get(key).cloned() else { return false };
        let entry = match self.enforcer.remove(key) {
            Ok(entry) => entry.unwrap_or(listed.entry),
            Err(error) => {
                // It stays on the list, and is tried again at its end; the programs drop nothing beyond that.
                if self.stuck.insert(*key) {
                    tracing::error!(%error, source = %shown(&key.src), "cannot take a block out of the map");
                }
                return false;
            }
        };
        self.blocks.remove(key);
        self.stuck.remove(key);
        self.watched.retain(|watched| watched != key);
        self.events.push(Event {
            until_ns: Some(entry.until_ns),
            cause: listed.cause,
            offence: listed.offence,
            packets: entry.packets,
            bytes: entry.bytes,
            ..event(now_ns, action, *key, by, reason)
        });
        true
    }
}

fn key_of(proposal: &Proposal) -> BlockKey {
    match proposal.target {
        None => BlockKey::source(proposal.source),
        Some(target) => BlockKey::pair(proposal.source, target),
    }
}

fn event(at_ns: u64, action: Action, key: BlockKey, by: By, reason: String) -> Event {
    Event {
        at_ns,
        action,
        key,
        by,
        until_ns: None,
        refusal: None,
        reason,
        cause: None,
        offence: 0,
        packets: 0,
        bytes: 0,
    }
}
