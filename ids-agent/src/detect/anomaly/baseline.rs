//! All devices of the site: who is one, what it is known for, and whether a flow is unusual for it.
//!
//! A device is an inside address in the role it has in a flow. Flows teach once they have ended and have waited in
//! quarantine; time is the flows' own.

use std::{
    hash::{BuildHasher, Hash},
    net::Ipv6Addr,
};

use foldhash::quality::FixedState;

use super::{
    super::{
        Finding, StateError,
        saved::{AxisShift, Saved, Saver},
    },
    Role,
    device::{Device, Enough, Quantity},
    habits::{New, Service},
    lesson::{Lesson, Quarantine},
    votes::{Standing, quantity},
};
use crate::{bounded::BoundedMap, config::SiteSettings};

/// A device, as the table knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct DeviceKey {
    pub(super) address: [u8; 16],
    pub(super) role: Role,
}

// A device takes a few kilobytes, far below the 64 KiB that a gateway can spare for each of 512.
const _: () = assert!(size_of::<Device>() <= 4_096);

/// A limit learned for the error is trusted only so far from the one that holds for everybody.
const ERROR_LIMITS: std::ops::RangeInclusive<f32> = 0.5..=4.0;

/// One way in which a flow, or the hour it is part of, is unusual for a device.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Oddity {
    /// A quantity beyond its limit: what it is, what is usual, and from where to where.
    Much { quantity: Quantity, value: f64, usual: f64, low: f64, high: f64 },
    /// Something that it never spoke.
    New { new: New, service: Service },
}

/// What is unusual about a flow for one device.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Unusual {
    pub(super) device: DeviceKey,
    pub(super) peer: [u8; 16],
    /// Hours that were learned from.
    pub(super) hours: u32,
    pub(super) oddities: Vec<Oddity>,
    /// How much the oddities weigh together, from 2.
    pub(super) weight: u32,
}

/// What the devices of a flow make of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Opinion {
    /// No end of it is a device that is known well enough.
    None,
    /// Usual for the devices that are known.
    Usual,
    Unusual(Unusual),
}

/// The weight from which a flow is worth a finding.
const WEIGHT_MIN: u32 = 2;

/// The devices of a site.
pub(super) struct Baseline {
    home: Vec<crate::config::Prefix>,
    enough: Enough,
    devices: BoundedMap<DeviceKey, Device>,
    quarantine: Quarantine,
    /// Keys sketches; saved, because a sketch only counts under the key it was begun with.
    sketch_seed: u64,
    /// The error from which a flow is unusual for everybody.
    threshold: f32,
    /// The latest end of a flow.
    high_ns: i64,
}

impl Baseline {
    pub(super) fn new(settings: &SiteSettings, threshold: f32) -> Self {
        Self {
            home: settings.home_networks.clone(),
            enough: Enough { hours: settings.learn_hours, flows: settings.learn_flows },
            devices: BoundedMap::new(settings.devices_max, settings.hash_seed),
            quarantine: Quarantine::new(settings.hash_seed),
            sketch_seed: settings.hash_seed.rotate_left(29) ^ 0x243f_6a88,
            threshold,
            high_ns: 0,
        }
    }

    /// Learns from all flows whose quarantine was over when this one ended.
    pub(super) fn advance(&mut self, lesson: &Lesson) {
        self.high_ns = self.high_ns.max(lesson.end_ns);
        self.release();
    }

    /// Learns from what waits after a long silence, in which no flow ends that could tell the time.
    pub(super) fn idle(&mut self, now_ns: u64) {
        let now_ns = i64::try_from(now_ns).unwrap_or(i64::MAX);
        if now_ns.saturating_sub(self.high_ns) > 2 * super::lesson::QUARANTINE_NS {
            self.high_ns = now_ns;
            self.release();
        }
    }

    fn release(&mut self) {
        let hash = sketch(self.sketch_seed);
        while let Some(lesson) = self.quarantine.release(self.high_ns) {
            for key in keys(&self.home, &lesson) {
                // Only what has come twice holds its place; see `BoundedMap`.
                let device = self.devices.touch_or_insert(&key, || Device::NEW);
                device.learn(&lesson, key.role, self.enough, &hash);
            }
        }
    }

    /// What the devices at both ends make of the flow.
    pub(super) fn opinion(&self, lesson: &Lesson) -> Opinion {
        let mut opinion = Opinion::None;
        for key in keys(&self.home, lesson) {
            let known = self.devices.peek(&key).filter(|device| device.standing(self.enough) == Standing::Known);
            let Some(device) = known else { continue };
            let theirs = self.unusual(key, device, lesson);
            opinion = match (opinion, theirs) {
                (Opinion::Unusual(ours), Some(theirs)) if ours.weight >= theirs.weight => Opinion::Unusual(ours),
                (_, Some(theirs)) => Opinion::Unusual(theirs),
                (Opinion::Unusual(ours), None) => Opinion::Unusual(ours),
                (Opinion::None | Opinion::Usual, None) => Opinion::Usual,
            };
        }
        opinion
    }

    fn unusual(&self, key: DeviceKey, device: &Device, lesson: &Lesson) -> Option<Unusual> {
        let mut oddities: Vec<Oddity> = Vec::new();
        let mut weight = 0;
        // Large flows are long ones as a rule, and answers follow requests: together they are one oddity.
        let mut volume = 0;
        for quantity in Quantity::OF_FLOW {
            let Some(odd) = self.much(device, quantity, quantity.in_flow(lesson, key.role)) else { continue };
            match quantity {
                Quantity::Error => weight += 1,
                Quantity::Sent | Quantity::Received | Quantity::Duration => volume = 1,
                Quantity::Flows | Quantity::Peers | Quantity::Services | Quantity::Unanswered => {}
            }
            oddities.push(odd);
        }
        weight += volume;
        match device.new_in(lesson) {
            New::Nothing => {}
            new => {
                let service = Service::new(lesson.proto, lesson.dst_port);
                weight += 1 + u32::from(takes_control(new, service));
                oddities.push(Oddity::New { new, service });
            }
        }
        if let Some(hour) = device.running.filter(|hour| !hour.told) {
            let odd: Vec<Oddity> = Quantity::OF_HOUR
                .into_iter()
                .filter_map(|quantity| self.much(device, quantity, hour.value(quantity)))
                .collect();
            // More flows are to more peers as a rule: two such quantities are one oddity and a half.
            weight += match odd.len() {
                0 => 0,
                1 => 1,
                _ => 2,
            };
            oddities.extend(odd);
        }
        let (_, peer) = lesson.ends(key.role);
        (weight >= WEIGHT_MIN).then_some(Unusual { device: key, peer, hours: device.hours, oddities, weight })
    }

    /// The oddity, where a value in nats lies beyond what is usual and is no trifle either.
    fn much(&self, device: &Device, quantity_of: Quantity, value: f32) -> Option<Oddity> {
        let votes = device.votes(quantity_of);
        // Errors are learned anew with a new model.
        if votes.weight() < 0.5 * self.enough.hours.min(48) as f32 {
            return None;
        }
        let limit = match quantity_of {
            Quantity::Error => {
                let of_all = |times: f32| quantity_of.voted(f64::from(self.threshold * times));
                votes.limit().clamp(of_all(*ERROR_LIMITS.start()), of_all(*ERROR_LIMITS.end()))
            }
            Quantity::Sent
            | Quantity::Received
            | Quantity::Duration
            | Quantity::Flows
            | Quantity::Peers
            | Quantity::Services
            | Quantity::Unanswered => votes.limit(),
        };
        let shown = |nats: f32| quantity_of.shown(quantity(nats));
        (value > limit && shown(value) >= trifle(quantity_of)).then(|| Oddity::Much {
            quantity: quantity_of,
            value: shown(value),
            usual: shown(votes.quantile(0.5)),
            low: shown(votes.quantile(0.05)),
            high: shown(limit),
        })
    }

    /// Counts an ended flow in the running hours of its devices, and lets it wait to teach.
    pub(super) fn ended(&mut self, lesson: &Lesson) {
        let hash = sketch(self.sketch_seed);
        let mut is_ours = false;
        for key in keys(&self.home, lesson) {
            is_ours = true;
            // Those that never taught anything are not made here: they may be spoofed.
            if let Some(device) = self.devices.peek_mut(&key) {
                device.live(lesson, key.role, &hash);
            }
        }
        if is_ours {
            self.quarantine.wait(*lesson);
        }
    }

    /// An hour is reported once.
    pub(super) fn told(&mut self, unusual: &Unusual) {
        let of_hour =
            |oddity: &Oddity| matches!(oddity, Oddity::Much { quantity, .. } if Quantity::OF_HOUR.contains(quantity));
        if unusual.oddities.iter().any(of_hour)
            && let Some(hour) = self.devices.peek_mut(&unusual.device).and_then(|device| device.running.as_mut())
        {
            hour.told = true;
        }
    }

    pub(super) fn suspect(&mut self, findings: &[Finding]) {
        self.quarantine.suspect(findings);
    }

    /// Devices being learned, and known.
    pub(super) fn standings(&self) -> (u64, u64) {
        let known = self.devices.by_age().filter(|(_, device, _)| device.standing(self.enough) == Standing::Known);
        let known = known.count() as u64;
        (self.devices.len() as u64 - known, known)
    }

    /// Devices, suspects and waiting flows that had to go early.
    pub(super) fn forgotten(&self) -> u64 {
        self.devices.evicted() + self.quarantine.evicted() + self.quarantine.overflowed
    }

    pub(super) fn devices(&self) -> impl Iterator<Item = (DeviceKey, &Device, Standing)> {
        self.devices.by_age().map(|(key, device, _)| (*key, device, device.standing(self.enough)))
    }

    pub(super) fn save(&self, saver: &mut Saver<'_>) {
        saver.u64(self.sketch_seed);
        saver.i64(self.high_ns);
        saver.count(self.devices.len());
        for (key, device, proven) in self.devices.by_age() {
            saver.array(&key.address);
            saver.flag(key.role == Role::Server);
            saver.flag(proven);
            device.save(saver);
        }
        self.quarantine.save(saver);
    }

    /// Takes back what was saved into a baseline that is new; beyond this run's bound the idlest devices go.
    pub(super) fn restore(&mut self, saved: &mut Saved<'_>, shift: AxisShift) -> Result<(), StateError> {
        let sketch_seed = saved.u64()?;
        let high_ns = shift.moved(saved.i64()?);
        let mut devices = Vec::new();
        for _ in 0..saved.count(DEVICES_RESTORED_MAX)? {
            let address = saved.array()?;
            let role = if saved.flag()? { Role::Server } else { Role::Client };
            let proven = saved.flag()?;
            devices.push((DeviceKey { address, role }, Device::restore(saved, shift)?, proven));
        }
        self.quarantine.restore(saved, shift)?;
        self.devices.refill(devices);
        self.sketch_seed = sketch_seed;
        // Where nothing waits, a later run may begin at any time: captures come in any order.
        self.high_ns = if self.quarantine.is_empty() { 0 } else { high_ns };
        Ok(())
    }

    /// Forgets errors of another model.
    pub(super) fn forget_errors(&mut self) {
        let keys: Vec<DeviceKey> = self.devices.by_age().map(|(key, ..)| *key).collect();
        for key in keys {
            if let Some(device) = self.devices.peek_mut(&key) {
                device.forget_errors();
            }
        }
    }
}

/// More devices than any setting allows.
const DEVICES_RESTORED_MAX: usize = 16_384;

/// Below this a quantity is no cause for a word, however small it usually is.
fn trifle(quantity: Quantity) -> f64 {
    match quantity {
        Quantity::Error => 0.0,
        Quantity::Sent => 65_536.0,
        Quantity::Received => 1_048_576.0,
        // Seconds.
        Quantity::Duration => 600.0,
        Quantity::Flows => 60.0,
        Quantity::Peers => 20.0,
        Quantity::Services => 10.0,
        Quantity::Unanswered => 30.0,
    }
}

/// Whether who speaks it commands the other side.
fn takes_control(new: New, service: Service) -> bool {
    use crate::payload::AppProto;
    match new {
        New::Nothing => false,
        New::App(app) => {
            matches!(app, AppProto::Ssh | AppProto::Telnet | AppProto::Rdp | AppProto::Rfb | AppProto::Smb)
        }
        New::Port => {
            service.proto == 6 && matches!(service.port, 22 | 23 | 445 | 2_222 | 2_323 | 3_389 | 5_900 | 5_985)
        }
    }
}

/// The devices at the ends of a flow.
fn keys(home: &[crate::config::Prefix], lesson: &Lesson) -> impl Iterator<Item = DeviceKey> + use<> {
    let of = |role: Role| {
        let (address, _) = lesson.ends(role);
        is_inside(home, address).then_some(DeviceKey { address, role })
    };
    [of(Role::Client), of(Role::Server)].into_iter().flatten()
}

/// Private, unique local and link-local addresses, and those of the site's own networks.
fn is_inside(home: &[crate::config::Prefix], bytes: [u8; 16]) -> bool {
    let address = Ipv6Addr::from(bytes);
    let local = match address.to_ipv4_mapped() {
        Some(v4) => v4.is_private() || v4.is_link_local(),
        None => address.is_unique_local() || address.is_unicast_link_local(),
    };
    // The broadcast address of a network is nobody's; without masks, the last address of 256 stands for it.
    let broadcast = address.to_ipv4_mapped().is_some_and(|v4| v4.octets()[3] == 255);
    (local || home.iter().any(|prefix| prefix.contains(&bytes))) && !broadcast
}

fn sketch(seed: u64) -> impl Fn(&[u8]) -> u64 {
    let state = FixedState::with_seed(seed);
    move |bytes: &[u8]| state.hash_one(bytes)
}
