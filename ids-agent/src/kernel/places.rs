//! The interfaces of the configuration and what became of each: seen through programs, or not seen and why. Attaches to what
//! appears, notices what goes, and counts what passed unseen.

use std::{collections::BTreeSet, sync::Arc};

use aya::Ebpf;
use ids_common::{
    counter::Counter,
    limits::{IFINDEX_BUCKETS, INTERFACES_MAX},
};

use super::{
    Attachment, KernelError,
    attach::{self, Attacher, Hook, TcKind},
    interface::{self, Link, Packets},
    pin::PinDir,
    reader::Reader,
    watch::Watch,
};
use crate::{
    config::{CaptureSettings, Direction, Mode},
    source::blind::{BlindCause, Blindness},
};

/// How often interfaces are looked at without news: some changes have none, such as a link that somebody detached.
const LOOK_EVERY_NS: u64 = 1_000_000_000;
/// News are heeded at most this often: containers that come and go make thousands.
const LOOK_AGAIN_NS: u64 = 100_000_000;
/// How often a moment is looked for in which nothing passes an interface.
const QUIET_TRIES: usize = 50;

/// All interfaces, in the order of the configuration, which is their index in flow keys.
#[derive(Debug)]
pub(super) struct Places {
    places: Vec<Place>,
    mode: Mode,
    direction: Direction,
    tc: TcKind,
    /// Without it, changes are noticed a second later.
    watch: Option<Watch>,
    looked_ns: u64,
    news: bool,
}

#[derive(Debug)]
struct Place {
    name: String,
    state: State,
    /// Every way in which it was attached, for gauges that fall to zero.
    ways: BTreeSet<(&'static str, &'static str)>,
}

#[derive(Debug)]
enum State {
    Seen(Seen),
    Blind { cause: BlindCause, since_ns: u64, said: String, packets: Unseen },
}

#[derive(Debug)]
struct Seen {
    ifindex: u32,
    /// The name last met: another than the configured one after a renaming.
    called: String,
    hooks: Vec<Hook>,
    /// What the interface had counted at the last look.
    packets: Packets,
}

/// Which packets of an interface that comes into sight count as a gap.
#[derive(Clone, Copy, Debug)]
enum Unseen {
    /// None: nobody looked before.
    None,
    /// All since the interface was made.
    All,
    /// Those since these counts, while it stays the interface of this index.
    Since(u32, Packets),
}

/// What looking takes beside the interfaces.
pub(super) struct Hands<'a> {
    pub(super) ebpf: &'a mut Ebpf,
    pub(super) reader: &'a Reader,
    pub(super) pins: Option<&'a PinDir>,
}

impl Places {
    /// Nothing is attached yet.
    pub(super) fn new(capture: &CaptureSettings, tc: TcKind) -> Result<Self, KernelError> {
        let names = &capture.interfaces;
        if names.is_empty() {
            return Err(KernelError::NoInterface);
        }
        if names.len() > INTERFACES_MAX {
            return Err(KernelError::TooManyInterfaces { found: names.len(), max: INTERFACES_MAX });
        }
        let mut places: Vec<Place> = Vec::with_capacity(names.len());
        for name in names {
            if places.iter().any(|place| place.name == *name) {
                return Err(KernelError::InterfaceTwice { name: name.clone() });
            }
            let state =
                State::Blind { cause: BlindCause::Absent, since_ns: 0, said: String::new(), packets: Unseen::None };
            places.push(Place { name: name.clone(), state, ways: BTreeSet::new() });
        }
        let watch = Watch::start()
            .inspect_err(|error| tracing::warn!(%error, "no news of interfaces: changes are noticed a second later"));
        let (mode, direction) = (capture.mode, capture.direction);
        Ok(Self { places, mode, direction, tc, watch: watch.ok(), looked_ns: 0, news: false })
    }

    /// Attaches to every interface that is there; refused by the first that cannot be attached to. Gives the packets
    /// that passed unseen where a link of an earlier agent had to be made anew.
    pub(super) fn begin(&mut self, hands: &mut Hands<'_>, now_ns: u64) -> Result<u64, KernelError> {
        self.looked_ns = now_ns;
        let mut found: Vec<(usize, Link)> = Vec::new();
        for (at, place) in self.places.iter().enumerate() {
            let link = interface::query(&place.name)
                .map_err(|cause| KernelError::InterfaceQuery { name: place.name.clone(), cause })?;
            let Some(link) = link else { continue };
            for (other_at, other) in &found {
                let bucket = |link: &Link| link.ifindex as usize % IFINDEX_BUCKETS;
                let other_name = self.places.get(*other_at).map_or("", |place| &place.name);
                if other.ifindex == link.ifindex {
                    return Err(KernelError::InterfaceTwice { name: place.name.clone() });
                }
                if bucket(other) == bucket(&link) {
                    let (first, second) = (other_name.to_owned(), place.name.clone());
                    return Err(KernelError::InterfaceBucket { first, second });
                }
            }
            found.push((at, link));
        }
        let mut unseen = 0_u64;
        for (at, link) in found {
            let was_pinned: Vec<Direction> = hands.pins.map_or_else(Vec::new, |pins| {
                let links = pins.links().into_iter().filter(|hook| hook.ifindex == link.ifindex);
                links.map(|hook| hook.direction).collect()
            });
            let hooks = self.attach(hands, at, &link)?;
            for hook in hooks.iter().filter(|hook| !hook.adopted && was_pinned.contains(&hook.direction)) {
                let now = interface::query_index(link.ifindex).ok().flatten().map_or(link.packets, |now| now.packets);
                unseen = unseen.saturating_add(now.since(link.packets, hook.direction));
            }
            self.see(at, &link, hooks);
        }
        for place in self.places.iter_mut() {
            if let State::Blind { since_ns, packets, .. } = &mut place.state {
                (*since_ns, *packets) = (now_ns, Unseen::All);
                tracing::warn!(
                    interface = place.name,
                    "there is no such interface; it is waited for (`ip link` lists them)"
                );
            }
        }
        self.drop_strangers(hands.pins);
        Ok(unseen)
    }

    /// Looks at the interfaces where there is news or it is time; gives packets that passed unseen, `None` where nothing
    /// was looked at.
    pub(super) fn look(&mut self, hands: &mut Hands<'_>, now_ns: u64) -> Option<u64> {
        self.news |= self.watch.as_mut().is_some_and(Watch::has_news);
        let since_ns = now_ns.saturating_sub(self.looked_ns);
        if since_ns < LOOK_EVERY_NS && !(self.news && since_ns >= LOOK_AGAIN_NS) {
            return None;
        }
        (self.looked_ns, self.news) = (now_ns, false);
        Some((0..self.places.len()).map(|at| self.look_at(hands, at, now_ns)).fold(0, u64::saturating_add))
    }

    fn look_at(&mut self, hands: &mut Hands<'_>, at: usize, now_ns: u64) -> u64 {
        let Some(place) = self.places.get_mut(at) else { return 0 };
        // An interface that cannot be asked about is left as it is known.
        let Ok(named) = interface::query(&place.name) else { return 0 };
        if let State::Seen(seen) = &mut place.state {
            let Ok(known) = interface::query_index(seen.ifindex) else { return 0 };
            match lost(seen, known.as_ref(), named.as_ref()) {
                None => {
                    let Some(known) = known else { return 0 };
                    seen.packets = known.packets;
                    if known.name != seen.called {
                        tracing::warn!(
                            interface = place.name,
                            now = known.name,
                            "renamed; it is seen on, under its old name, until the agent starts anew"
                        );
                        seen.called = known.name;
                    }
                    return 0;
                }
                Some((cause, packets)) => {
                    let state = State::Blind { cause, since_ns: now_ns, said: String::new(), packets };
                    let before = std::mem::replace(&mut place.state, state);
                    if let State::Seen(seen) = before {
                        tracing::error!(interface = place.name, cause = cause.label(), "no longer seen");
                        seen.hooks.into_iter().for_each(Hook::detach);
                    }
                }
            }
        }
        match named {
            Some(link) => self.retry(hands, at, &link),
            None => 0,
        }
    }

    /// Tries to see an interface that is there.
    fn retry(&mut self, hands: &mut Hands<'_>, at: usize, link: &Link) -> u64 {
        let others = self.places.iter().enumerate().filter(|(other, _)| *other != at);
        let clash = others.filter_map(|(_, place)| match &place.state {
            State::Seen(seen) => Some((seen.ifindex, place.name.clone())),
            State::Blind { .. } => None,
        });
        let clash =
            clash.filter(|(ifindex, _)| *ifindex as usize % IFINDEX_BUCKETS == link.ifindex as usize % IFINDEX_BUCKETS);
        // With others in sight, what the programs count is not of this one alone.
        let is_alone = !self.places.iter().any(|place| matches!(place.state, State::Seen(_)));
        let before = counted(hands.reader);
        let attached = match clash.map(|(_, name)| name).next() {
            Some(first) => Err(KernelError::InterfaceBucket { first, second: link.name.clone() }),
            None => self.attach(hands, at, link),
        };
        match attached {
            Ok(hooks) => {
                let unseen = self.places.get(at).map_or(0, |place| match is_alone {
                    true => place.unseen_alone(link, &hooks, || counted(hands.reader).saturating_sub(before)),
                    false => place.unseen(link, &hooks),
                });
                self.see(at, link, hooks);
                unseen
            }
            Err(error) => {
                if let Some(Place { state: State::Blind { cause, said, .. }, name, .. }) = self.places.get_mut(at) {
                    let told = error.to_string();
                    *cause = match error {
                        KernelError::OtherProgram { .. } => BlindCause::OtherProgram,
                        _ => BlindCause::Refused,
                    };
                    if *said != told {
                        tracing::error!(interface = *name, "{told}; tried again every second");
                        *said = told;
                    }
                }
                0
            }
        }
    }

    fn attach(&self, hands: &mut Hands<'_>, at: usize, link: &Link) -> Result<Vec<Hook>, KernelError> {
        let (mode, direction, tc) = (self.mode, self.direction, self.tc);
        let mut attacher = Attacher { ebpf: &mut *hands.ebpf, pins: hands.pins, tc, mode, direction };
        // Before the first packet asks for it.
        hands.reader.set_interface(link.ifindex, at as u8);
        attacher.attach(link)
    }

    fn see(&mut self, at: usize, link: &Link, hooks: Vec<Hook>) {
        let Some(place) = self.places.get_mut(at) else { return };
        for hook in &hooks {
            tracing::info!(
                interface = place.name,
                mode = hook.mode.label(),
                direction = hook.direction.label(),
                adopted = hook.adopted,
                "attached"
            );
            place.ways.insert((hook.mode.label(), hook.direction.label()));
        }
        let packets = interface::query_index(link.ifindex).ok().flatten().map_or(link.packets, |now| now.packets);
        place.state = State::Seen(Seen { ifindex: link.ifindex, called: link.name.clone(), hooks, packets });
    }

    /// Takes off what an earlier agent left on interfaces that are watched no more.
    fn drop_strangers(&self, pins: Option<&PinDir>) {
        let ours: Vec<_> =
            self.attachments().iter().map(|place| (place.ifindex, place.mode, place.direction)).collect();
        for hook in pins.into_iter().flat_map(PinDir::links) {
            if !ours.contains(&(hook.ifindex, hook.mode, hook.direction))
                && let Err(error) = attach::take_off(&hook)
            {
                tracing::warn!(path = %hook.path.display(), %error, "cannot remove a pinned link");
            }
        }
    }

    /// Takes all programs off, pinned or not.
    pub(super) fn detach(&mut self) {
        for place in &mut self.places {
            let gone = State::Blind {
                cause: BlindCause::Gone,
                since_ns: self.looked_ns,
                said: String::new(),
                packets: Unseen::None,
            };
            if let State::Seen(seen) = std::mem::replace(&mut place.state, gone) {
                seen.hooks.into_iter().for_each(Hook::detach);
            }
        }
    }

    /// What is attached now.
    pub(super) fn attachments(&self) -> Vec<Attachment> {
        let seen = self.places.iter().filter_map(|place| match &place.state {
            State::Seen(seen) => Some((place, seen)),
            State::Blind { .. } => None,
        });
        seen.flat_map(|(place, seen)| {
            seen.hooks.iter().map(|hook| Attachment {
                interface: place.name.clone(),
                ifindex: seen.ifindex,
                mode: hook.mode,
                direction: hook.direction,
            })
        })
        .collect()
    }

    /// Every way in which an interface was attached since the start, and whether it is so now.
    pub(super) fn ways(&self) -> Vec<(&str, &'static str, &'static str, bool)> {
        let now: Vec<Attachment> = self.attachments();
        let is_now = |name: &str, mode: &str, direction: &str| {
            now.iter()
                .any(|one| one.interface == name && one.mode.label() == mode && one.direction.label() == direction)
        };
        let all = self
            .places
            .iter()
            .flat_map(|place| place.ways.iter().map(move |(mode, direction)| (place.name.as_str(), *mode, *direction)));
        all.map(|(name, mode, direction)| (name, mode, direction, is_now(name, mode, direction))).collect()
    }

    pub(super) fn blind(&self) -> Vec<Blindness> {
        let blind = self.places.iter().filter_map(|place| match &place.state {
            State::Seen(_) => None,
            State::Blind { cause, since_ns, .. } => {
                Some(Blindness { interface: Arc::from(place.name.as_str()), cause: *cause, since_ns: *since_ns })
            }
        });
        blind.collect()
    }
}

impl Place {
    /// Packets of an interface that comes into sight that nobody saw.
    fn unseen(&self, link: &Link, hooks: &[Hook]) -> u64 {
        let since = match &self.state {
            State::Blind { packets: Unseen::All, .. } => Packets::default(),
            State::Blind { packets: Unseen::Since(ifindex, since), .. } if *ifindex == link.ifindex => *since,
            // The interface was made while another of its name was out of sight.
            State::Blind { packets: Unseen::Since(..), .. } => Packets::default(),
            State::Blind { packets: Unseen::None, .. } | State::Seen(_) => return 0,
        };
        hooks.iter().map(|hook| link.packets.since(since, hook.direction)).fold(0, u64::saturating_add)
    }

    /// The same, with what passed while programs were being attached: all that the interface counted, less what they did.
    /// Both are read in a moment in which nothing passes; where none comes, as it stood before attaching.
    fn unseen_alone(&self, link: &Link, hooks: &[Hook], counted: impl Fn() -> u64) -> u64 {
        let before = self.unseen(link, hooks);
        let read = || {
            let link = interface::query_index(link.ifindex).ok().flatten()?;
            Some((self.unseen(&link, hooks), counted()))
        };
        for _ in 0..QUIET_TRIES {
            let (Some(first), Some(second)) = (read(), read()) else { break };
            if first == second {
                let (all, seen) = first;
                return all.saturating_sub(seen).max(before);
            }
        }
        before
    }
}

/// Frames that reached a program, as an interface counts them.
fn counted(reader: &Reader) -> u64 {
    let totals = reader.totals();
    totals.counter(Counter::PacketsSeen).saturating_add(totals.counter(Counter::SegmentsUnfolded))
}

/// Whether an interface that was seen is so no more: why, and what counts as unseen from here on.
fn lost(seen: &Seen, known: Option<&Link>, named: Option<&Link>) -> Option<(BlindCause, Unseen)> {
    let Some(known) = known else { return Some((BlindCause::Gone, Unseen::All)) };
    // After a renaming another interface may have got the name: that one is meant.
    if named.is_some_and(|named| named.ifindex != seen.ifindex) {
        return Some((BlindCause::Gone, Unseen::All));
    }
    if seen.hooks.iter().all(|hook| hook.is_on(known)) {
        return None;
    }
    let ours_gone = if known.xdp_programs.is_empty() { BlindCause::Refused } else { BlindCause::OtherProgram };
    Some((ours_gone, Unseen::Since(seen.ifindex, seen.packets)))
}
