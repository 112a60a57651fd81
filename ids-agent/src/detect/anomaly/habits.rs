//! What a device usually speaks: the service ports and application protocols of its role, each with the number
//! of hours in which it was seen.

use super::super::{
    StateError,
    saved::{Saved, Saver},
};
use super::votes::{FADE, Standing};
use crate::payload::AppProto;

/// Ports remembered of one device; one that has more is at home with anything.
pub(super) const PORTS_MAX: usize = 32;
const APPS: usize = AppProto::ALL.len();
/// What is new to a known device has to come back in so many hours until it is a habit: more than an attack of two
/// hours can touch.
pub(super) const HABIT_HOURS: u8 = 4;
/// Ports from here on are drawn by machines; they count as one.
const DYNAMIC_FROM: u16 = 32_768;
/// Hours at the start in which everything is new and says nothing of how often new things come.
const BEGINNING_HOURS: u32 = 8;
/// New ports an hour up to which one more is worth a word, and how many there may be in any case.
const NOVELTY_MAX: f32 = 0.02;
const NOVELTIES_MAX: f32 = 1.5;
/// To a known device new ports count once in so many hours, or an attack could make it one that is used to new ports.
const NOVELTY_EVERY_HOURS: u32 = 24;

/// A port of a protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Service {
    pub(super) proto: u8,
    pub(super) port: u16,
}

impl Service {
    pub(super) fn new(proto: u8, port: u16) -> Self {
        Self { proto, port: port.min(DYNAMIC_FROM) }
    }

    const fn is_dynamic(self) -> bool {
        self.port >= DYNAMIC_FROM
    }
}

/// One port that was spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Habit {
    service: Service,
    /// Hours in which it was seen, up to 255.
    hours: u8,
    /// The hour in which it was seen last, counted as the device's hours are.
    last_hour: u32,
}

/// Habits of one device in one role.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Habits {
    ports: [Option<Habit>; PORTS_MAX],
    /// Hours in which each application protocol was seen, and the last of them.
    apps: [(u8, u32); APPS],
    /// Hours with new ports behind the beginning, and the last of them; fades like votes.
    novelties: f32,
    novel_hour: u32,
}

/// What of a conversation is new to a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum New {
    Nothing,
    /// A port that it never spoke to, by a protocol that it never spoke or that is not known.
    Port,
    /// An application protocol that it never spoke.
    App(AppProto),
}

impl Habits {
    pub(super) const NONE: Self =
        Self { ports: [None; PORTS_MAX], apps: [(0, 0); APPS], novelties: 0.0, novel_hour: 0 };

    /// What is new about speaking `app` to `service`. Nothing is to a device that keeps finding new ports.
    pub(super) fn new_in(&self, service: Service, app: AppProto, hours_weight: f32) -> New {
        let full = self.ports.iter().all(|place| place.is_some_and(|habit| habit.hours >= HABIT_HOURS));
        let often = self.novelties > NOVELTIES_MAX.max(NOVELTY_MAX * hours_weight);
        if full || often {
            return New::Nothing;
        }
        let knows_app = |app: AppProto| self.apps.get(app as usize).is_some_and(|(hours, _)| *hours >= HABIT_HOURS);
        match app.known() {
            Some(app) if knows_app(app) => New::Nothing,
            Some(app) => New::App(app),
            None if service.is_dynamic() => New::Nothing,
            None => {
                let known = self.ports.iter().flatten();
                let mut same = known.filter(|habit| habit.service == service);
                if same.any(|habit| habit.hours >= HABIT_HOURS) { New::Nothing } else { New::Port }
            }
        }
    }

    /// Learns from a conversation in the device's hour `hour`.
    pub(super) fn learn(&mut self, service: Service, app: AppProto, hour: u32, standing: Standing) {
        // What comes up while a device is being learned is a habit at once.
        let first = match standing {
            Standing::Learning => HABIT_HOURS,
            Standing::Known => 1,
        };
        if let Some((hours, last)) = self.apps.get_mut(app as usize).filter(|_| app.known().is_some()) {
            if *hours == 0 {
                (*hours, *last) = (first, hour);
            } else if *last != hour {
                (*hours, *last) = (hours.saturating_add(1), hour);
            }
        }
        let known = self.ports.iter_mut().flatten().find(|habit| habit.service == service);
        if let Some(habit) = known {
            if habit.last_hour != hour {
                habit.hours = habit.hours.saturating_add(1);
                habit.last_hour = hour;
            }
            return;
        }
        let pause = match standing {
            Standing::Learning => 1,
            Standing::Known => NOVELTY_EVERY_HOURS,
        };
        if hour > BEGINNING_HOURS && hour.saturating_sub(self.novel_hour) >= pause {
            self.novelties += 1.0;
            self.novel_hour = hour;
        }
        // A free place, or that of the oldest port that is no habit yet.
        let weak = |place: &&mut Option<Habit>| place.is_none_or(|habit| habit.hours < HABIT_HOURS);
        let age = |place: &&mut Option<Habit>| place.map_or((0, 0), |habit| (1, habit.last_hour));
        if let Some(place) = self.ports.iter_mut().filter(weak).min_by_key(age) {
            *place = Some(Habit { service, hours: first, last_hour: hour });
        }
    }

    /// An hour has passed.
    pub(super) fn fade(&mut self) {
        self.novelties *= FADE;
    }

    /// The ports spoken to in most hours.
    pub(super) fn ports(&self) -> Vec<Service> {
        let mut habits: Vec<Habit> = self.ports.iter().flatten().copied().collect();
        habits.sort_by_key(|habit| (u8::MAX - habit.hours, habit.service));
        habits.into_iter().map(|habit| habit.service).collect()
    }

    pub(super) fn save(&self, saver: &mut Saver<'_>) {
        saver.f32(self.novelties);
        saver.u32(self.novel_hour);
        saver.count(self.ports.iter().flatten().count());
        for habit in self.ports.iter().flatten() {
            saver.u8(habit.service.proto);
            saver.u16(habit.service.port);
            saver.u8(habit.hours);
            saver.u32(habit.last_hour);
        }
        // By name: numbers of protocols may change with a release.
        let seen = AppProto::ALL.iter().zip(&self.apps).filter(|(_, (hours, _))| *hours > 0);
        saver.count(seen.clone().count());
        for (app, (hours, last)) in seen {
            saver.text(app.label());
            saver.u8(*hours);
            saver.u32(*last);
        }
    }

    pub(super) fn restore(saved: &mut Saved<'_>) -> Result<Self, StateError> {
        let mut habits = Self { novelties: saved.f32()?.max(0.0), novel_hour: saved.u32()?, ..Self::NONE };
        for at in 0..saved.count(PORTS_MAX)? {
            let service = Service { proto: saved.u8()?, port: saved.u16()? };
            let habit = Habit { service, hours: saved.u8()?, last_hour: saved.u32()? };
            if let Some(place) = habits.ports.get_mut(at) {
                *place = Some(habit);
            }
        }
        for _ in 0..saved.count(256)? {
            let (label, hours, last) = (saved.text(64)?, saved.u8()?, saved.u32()?);
            // A protocol that this release does not know is none it can find new.
            let known = AppProto::ALL.iter().position(|app| app.label() == label);
            if let Some(place) = known.and_then(|at| habits.apps.get_mut(at)) {
                *place = (hours, last);
            }
        }
        Ok(habits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TCP: u8 = 6;

    fn camera() -> Habits {
        let mut habits = Habits::NONE;
        for hour in 1..=24 {
            habits.learn(Service::new(TCP, 443), AppProto::Tls, hour, Standing::Learning);
            habits.learn(Service::new(17, 123), AppProto::Ntp, hour, Standing::Learning);
        }
        habits
    }

    #[test]
    fn a_protocol_or_port_never_spoken_is_new_and_a_known_one_elsewhere_is_not() {
        let habits = camera();
        let new = |port, app| habits.new_in(Service::new(TCP, port), app, 24.0);
        assert_eq!(new(23, AppProto::Telnet), New::App(AppProto::Telnet));
        assert_eq!(new(2_323, AppProto::Unknown), New::Port);
        assert_eq!(new(8_443, AppProto::Tls), New::Nothing);
        assert_eq!(new(443, AppProto::Unknown), New::Nothing);
        assert_eq!(new(443, AppProto::Ssh), New::App(AppProto::Ssh));
        assert_eq!(new(50_123, AppProto::Unknown), New::Nothing, "ports drawn by machines say nothing");
    }

    #[test]
    fn what_is_new_becomes_a_habit_in_hours_and_not_by_numbers() {
        let mut habits = camera();
        let telnet = Service::new(TCP, 23);
        for hour in 25..28 {
            for _ in 0..10_000 {
                habits.learn(telnet, AppProto::Telnet, hour, Standing::Known);
            }
            assert_ne!(habits.new_in(telnet, AppProto::Telnet, 100.0), New::Nothing, "hour {hour}");
        }
        habits.learn(telnet, AppProto::Telnet, 28, Standing::Known);
        assert_eq!(habits.new_in(telnet, AppProto::Telnet, 100.0), New::Nothing);
    }

    #[test]
    fn nothing_is_new_to_a_device_that_keeps_finding_new_ports() {
        let mut habits = camera();
        for hour in 25..=29 {
            habits.learn(Service::new(TCP, 1_000 + hour as u16), AppProto::Unknown, hour, Standing::Learning);
            habits.fade();
        }
        assert_eq!(habits.new_in(Service::new(TCP, 9_999), AppProto::Unknown, 40.0), New::Nothing);
        let mut habits = camera();
        for hour in (30..600).step_by(30) {
            habits.learn(Service::new(TCP, 1_000 + hour as u16), AppProto::Unknown, hour, Standing::Known);
        }
        assert_eq!(habits.new_in(Service::new(TCP, 9_999), AppProto::Unknown, 240.0), New::Nothing);
    }

    #[test]
    fn a_flood_of_new_ports_neither_blinds_nor_displaces_habits() {
        let mut habits = camera();
        for hour in 25..28 {
            for port in 2_000..3_000 {
                habits.learn(Service::new(TCP, port), AppProto::Unknown, hour, Standing::Known);
            }
        }
        assert_eq!(habits.new_in(Service::new(TCP, 9_999), AppProto::Unknown, 27.0), New::Port);
        assert_eq!(habits.new_in(Service::new(TCP, 443), AppProto::Unknown, 27.0), New::Nothing);
        assert_eq!(habits.ports().len(), PORTS_MAX);
        assert_eq!(habits.ports()[0], Service::new(TCP, 443));
    }

    #[test]
    fn habits_are_saved_by_name_and_restored() {
        let habits = camera();
        let mut bytes = Vec::new();
        habits.save(&mut Saver::new(&mut bytes));
        assert_eq!(Habits::restore(&mut Saved::new("test/1", &bytes)), Ok(habits));
    }
}
