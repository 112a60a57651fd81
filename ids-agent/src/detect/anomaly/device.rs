//! What is known of one device in one role: hourly votes on its quantities, its habits, and the hour that runs.

use super::{
    super::{
        StateError,
        saved::{AxisShift, Saved, Saver},
    },
    Role,
    habits::{Habits, New, Service},
    lesson::Lesson,
    votes::{Standing, Votes, nats},
};

/// An hour of activity begins with a flow and lasts so long.
const HOUR_NS: i64 = 3_600 * 1_000_000_000;
/// The autoencoder's error is counted in thousandths, to make use of the bins.
const ERROR_SCALE: f64 = 1_000.0;

/// The quantities that hours vote on. The first four are the largest of the hour's flows, the rest its totals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quantity {
    Error,
    Sent,
    Received,
    Duration,
    Flows,
    Peers,
    Services,
    Unanswered,
}

impl Quantity {
    pub(super) const ALL: [Self; 8] = [
        Self::Error,
        Self::Sent,
        Self::Received,
        Self::Duration,
        Self::Flows,
        Self::Peers,
        Self::Services,
        Self::Unanswered,
    ];
    /// Those of a flow.
    pub(super) const OF_FLOW: [Self; 4] = [Self::Error, Self::Sent, Self::Received, Self::Duration];
    /// Those of an hour.
    pub(super) const OF_HOUR: [Self; 4] = [Self::Flows, Self::Peers, Self::Services, Self::Unanswered];

    /// The value in nats, as it is voted on, for `lesson` and the side with `role`.
    pub(super) fn in_flow(self, lesson: &Lesson, role: Role) -> f32 {
        let (sent, received) = lesson.sent_received(role);
        nats(match self {
            Self::Error => f64::from(lesson.error) * ERROR_SCALE,
            Self::Sent => sent as f64,
            Self::Received => received as f64,
            Self::Duration => lesson.end_ns.saturating_sub(lesson.start_ns) as f64 / 1e6,
            Self::Flows | Self::Peers | Self::Services | Self::Unanswered => 0.0,
        })
    }

    /// From the unit that is voted on to the one that is shown.
    pub(super) fn shown(self, quantity: f64) -> f64 {
        match self {
            Self::Error => quantity / ERROR_SCALE,
            Self::Duration => quantity / 1e3,
            Self::Sent | Self::Received | Self::Flows | Self::Peers | Self::Services | Self::Unanswered => quantity,
        }
    }

    pub(super) fn voted(self, shown: f64) -> f32 {
        nats(match self {
            Self::Error => shown * ERROR_SCALE,
            Self::Duration => shown * 1e3,
            Self::Sent | Self::Received | Self::Flows | Self::Peers | Self::Services | Self::Unanswered => shown,
        })
    }
}

/// Distinct things of an hour, counted by a linear sketch (Whang 1990): exact to a few percent up to 400.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Distinct {
    bits: [u64; 4],
}

impl Distinct {
    fn add(&mut self, hash: u64) {
        if let Some(word) = self.bits.get_mut((hash >> 6 & 3) as usize) {
            *word |= 1 << (hash & 63);
        }
    }

    fn count(&self) -> f64 {
        let free: u32 = self.bits.iter().map(|word| word.count_zeros()).sum();
        // A full sketch counts as one bit short of full.
        256.0 * (256.0 / f64::from(free.max(1))).ln()
    }
}

/// One hour of activity.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Hour {
    start_ns: i64,
    flows: u32,
    unanswered: u32,
    peers: Distinct,
    services: Distinct,
    /// The largest of each quantity of a flow, in nats.
    most: [f32; Quantity::OF_FLOW.len()],
    /// Whether the hour as such was reported.
    pub(super) told: bool,
}

impl Hour {
    /// Whether a flow that ended then belongs to another hour. So does one from before: a clock was set.
    fn is_over(&self, at_ns: i64) -> bool {
        at_ns < self.start_ns || at_ns >= self.start_ns.saturating_add(HOUR_NS)
    }

    fn add(&mut self, lesson: &Lesson, role: Role, hash: impl Fn(&[u8]) -> u64) {
        let (_, peer) = lesson.ends(role);
        self.flows = self.flows.saturating_add(1);
        self.unanswered = self.unanswered.saturating_add(u32::from(!lesson.answered));
        self.peers.add(hash(&peer));
        let [high, low] = lesson.dst_port.to_be_bytes();
        self.services.add(hash(&[lesson.proto, high, low]));
        for (most, quantity) in self.most.iter_mut().zip(Quantity::OF_FLOW) {
            *most = most.max(quantity.in_flow(lesson, role));
        }
    }

    /// The hour's value of a quantity, in nats.
    pub(super) fn value(&self, quantity: Quantity) -> f32 {
        let [error, sent, received, duration] = self.most;
        match quantity {
            Quantity::Error => error,
            Quantity::Sent => sent,
            Quantity::Received => received,
            Quantity::Duration => duration,
            Quantity::Flows => nats(f64::from(self.flows)),
            Quantity::Peers => nats(self.peers.count()),
            Quantity::Services => nats(self.services.count()),
            Quantity::Unanswered => nats(f64::from(self.unanswered)),
        }
    }

    fn save(&self, saver: &mut Saver<'_>) {
        saver.i64(self.start_ns);
        saver.u32(self.flows);
        saver.u32(self.unanswered);
        for word in self.peers.bits.iter().chain(&self.services.bits) {
            saver.u64(*word);
        }
        for most in self.most {
            saver.f32(most);
        }
        saver.flag(self.told);
    }

    fn restore(saved: &mut Saved<'_>, shift: AxisShift) -> Result<Self, StateError> {
        let mut hour = Self {
            start_ns: shift.moved(saved.i64()?),
            flows: saved.u32()?,
            unanswered: saved.u32()?,
            ..Self::default()
        };
        for word in hour.peers.bits.iter_mut().chain(&mut hour.services.bits) {
            *word = saved.u64()?;
        }
        for most in &mut hour.most {
            *most = saved.f32()?;
        }
        hour.told = saved.flag()?;
        Ok(hour)
    }
}

/// How much a device must have been seen before it is judged by its own past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Enough {
    pub(super) hours: u32,
    pub(super) flows: u64,
}

/// One device in one role.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Device {
    votes: [Votes; Quantity::ALL.len()],
    habits: Habits,
    /// The hour that is being learned, behind the quarantine, and the one that runs.
    lesson_hour: Option<Hour>,
    pub(super) running: Option<Hour>,
    /// Hours of activity learned from, and flows.
    pub(super) hours: u32,
    pub(super) flows: u64,
    /// When it was seen last.
    pub(super) last_ns: i64,
}

impl Device {
    pub(super) const NEW: Self = Self {
        votes: [Votes::NONE; Quantity::ALL.len()],
        habits: Habits::NONE,
        lesson_hour: None,
        running: None,
        hours: 0,
        flows: 0,
        last_ns: 0,
    };

    pub(super) fn standing(&self, enough: Enough) -> Standing {
        if self.hours >= enough.hours && self.flows >= enough.flows { Standing::Known } else { Standing::Learning }
    }

    /// A flow of it has ended: counts in the hour that runs.
    pub(super) fn live(&mut self, lesson: &Lesson, role: Role, hash: impl Fn(&[u8]) -> u64) {
        self.last_ns = self.last_ns.max(lesson.end_ns);
        let fresh = Hour { start_ns: lesson.end_ns, ..Hour::default() };
        let running = self.running.get_or_insert(fresh);
        if running.is_over(lesson.end_ns) {
            *running = fresh;
        }
        running.add(lesson, role, hash);
    }

    /// Learns from a flow that has come out of quarantine.
    pub(super) fn learn(&mut self, lesson: &Lesson, role: Role, enough: Enough, hash: impl Fn(&[u8]) -> u64) {
        if let Some(hour) = self.lesson_hour.take_if(|hour| hour.is_over(lesson.end_ns)) {
            self.vote(&hour, enough);
        }
        let hour = self.lesson_hour.get_or_insert(Hour { start_ns: lesson.end_ns, ..Hour::default() });
        hour.add(lesson, role, hash);
        let standing = self.standing(enough);
        self.flows = self.flows.saturating_add(1);
        if lesson.spoken {
            let service = Service::new(lesson.proto, lesson.dst_port);
            self.habits.learn(service, lesson.app, self.hours.saturating_add(1), standing);
        }
    }

    fn vote(&mut self, hour: &Hour, enough: Enough) {
        let standing = self.standing(enough);
        for (votes, quantity) in self.votes.iter_mut().zip(Quantity::ALL) {
            votes.vote(hour.value(quantity), standing);
        }
        self.habits.fade();
        self.hours = self.hours.saturating_add(1);
    }

    pub(super) fn votes(&self, quantity: Quantity) -> &Votes {
        let [error, sent, received, duration, flows, peers, services, unanswered] = &self.votes;
        match quantity {
            Quantity::Error => error,
            Quantity::Sent => sent,
            Quantity::Received => received,
            Quantity::Duration => duration,
            Quantity::Flows => flows,
            Quantity::Peers => peers,
            Quantity::Services => services,
            Quantity::Unanswered => unanswered,
        }
    }

    /// Forgets errors of another model: they say nothing about this one's.
    pub(super) fn forget_errors(&mut self) {
        let [error, ..] = &mut self.votes;
        *error = Votes::NONE;
        for hour in [&mut self.lesson_hour, &mut self.running].into_iter().flatten() {
            let [error, ..] = &mut hour.most;
            *error = 0.0;
        }
    }

    /// What of a conversation is new to it.
    pub(super) fn new_in(&self, lesson: &Lesson) -> New {
        if !lesson.spoken {
            return New::Nothing;
        }
        let hours = self.votes(Quantity::Flows).weight();
        self.habits.new_in(Service::new(lesson.proto, lesson.dst_port), lesson.app, hours)
    }

    pub(super) fn habits(&self) -> &Habits {
        &self.habits
    }

    pub(super) fn save(&self, saver: &mut Saver<'_>) {
        for votes in &self.votes {
            votes.save(saver);
        }
        self.habits.save(saver);
        for hour in [&self.lesson_hour, &self.running] {
            saver.flag(hour.is_some());
            if let Some(hour) = hour {
                hour.save(saver);
            }
        }
        saver.u32(self.hours);
        saver.u64(self.flows);
        saver.i64(self.last_ns);
    }

    pub(super) fn restore(saved: &mut Saved<'_>, shift: AxisShift) -> Result<Self, StateError> {
        let mut device = Self::NEW;
        for votes in &mut device.votes {
            *votes = Votes::restore(saved)?;
        }
        device.habits = Habits::restore(saved)?;
        for hour in [&mut device.lesson_hour, &mut device.running] {
            *hour = if saved.flag()? { Some(Hour::restore(saved, shift)?) } else { None };
        }
        device.hours = saved.u32()?;
        device.flows = saved.u64()?;
        device.last_ns = shift.moved(saved.i64()?);
        Ok(device)
    }
}
