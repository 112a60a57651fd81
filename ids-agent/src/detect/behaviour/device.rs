//! What a device of the house sends out and with whom it speaks, against its own past. The past survives a restart.

use std::collections::BTreeMap;

use ids_common::{flow::FlowKey, wire};

use super::{
    Class, Finding, Outcome, Severity, Sight, Statement, Subject, address, evidence, is_group, is_inside,
    track::{Run, SEC, score, spoken_count},
};
use crate::{
    config::{BehaviourSettings, DeviceSettings},
    detect::{
        StateError,
        saved::{AxisShift, Saved, Saver},
    },
    payload::AppProto,
};

/// Names the layout that `save` writes.
pub(super) const STATE: &str = "behaviour_devices/1";

const HOUR_NS: i64 = 3_600 * SEC as i64;
const DAY_NS: i64 = 24 * HOUR_NS;
/// Hours of the past that count: a week of a device that never sleeps.
const HOURS_MAX: usize = 168;
/// Services remembered of a device; one with more is no simple device.
const SERVICES_MAX: usize = 24;
/// So many make a device one whose new services are news.
const SIMPLE_SERVICES_MAX: usize = 8;
const MEGABYTE: f64 = 1_048_576.0;
/// An upload answers at most this share of what it sends.
const UPLOAD_ANSWER_SHARE: f64 = 0.05;

pub(super) struct Devices {
    devices: BTreeMap<[u8; 16], Device>,
    settings: DeviceSettings,
    devices_max: usize,
    forgotten: u64,
}

/// Times are signed: those from before a restart may lie before the start of the clock.
#[derive(Clone, Debug, PartialEq)]
struct Device {
    first_ns: i64,
    last_ns: i64,
    hour: i64,
    /// Bytes sent out in the current hour, and whether something bad was said of the device in it.
    sent: u64,
    tainted: bool,
    /// Whether too much was told of the current hour: once is enough.
    told: bool,
    /// Kilobytes of past hours in which anything was sent, and where the next goes.
    hours: Vec<u32>,
    next: usize,
    services: Vec<Service>,
    /// When a service was new for the last time.
    changed_ns: i64,
}

/// A service that a device uses, or offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Service {
    port: u16,
    proto: u8,
    role: Role,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Client,
    Server,
}

impl Device {
    fn new(at_ns: i64) -> Self {
        Self {
            first_ns: at_ns,
            last_ns: at_ns,
            hour: at_ns.div_euclid(HOUR_NS),
            sent: 0,
            tainted: false,
            told: false,
            hours: Vec::new(),
            next: 0,
            services: Vec::new(),
            changed_ns: at_ns,
        }
    }

    /// Closes the hour if it is over. What was said to be bad is not learned.
    fn enter(&mut self, at_ns: i64) {
        self.last_ns = self.last_ns.max(at_ns);
        let hour = at_ns.div_euclid(HOUR_NS);
        if hour <= self.hour {
            return;
        }
        let kilobytes = u32::try_from(self.sent / 1_024).unwrap_or(u32::MAX);
        if !self.tainted && self.sent > 0 {
            match self.hours.get_mut(self.next) {
                Some(place) => *place = kilobytes,
                None => self.hours.push(kilobytes),
            }
            self.next = (self.next + 1) % HOURS_MAX;
        }
        (self.hour, self.sent, self.tainted, self.told) = (hour, 0, false, false);
    }

    /// Bytes an hour that are still usual: the median and so many deviations, and more than there ever were.
    fn usual_max(&self, deviations: f64, times_max: f64) -> f64 {
        let median = |mut values: Vec<u32>| {
            values.sort_unstable();
            values.get(values.len() / 2).copied().unwrap_or(0)
        };
        let middle = median(self.hours.clone());
        let deviation = median(self.hours.iter().map(|hour| hour.abs_diff(middle)).collect());
        let most = self.hours.iter().max().copied().unwrap_or(0);
        // 1.4826 makes the median deviation that of a normal distribution.
        let usual = f64::from(middle) + deviations * 1.4826 * f64::from(deviation);
        1_024.0 * usual.max(times_max * f64::from(most))
    }
}

impl Devices {
    pub(super) fn new(settings: &BehaviourSettings) -> Self {
        Self {
            devices: BTreeMap::new(),
            settings: settings.device.clone(),
            devices_max: settings.limits.devices_max,
            forgotten: 0,
        }
    }

    pub(super) fn evicted(&self) -> u64 {
        self.forgotten
    }

    /// Something of weight was said of a source: what it does meanwhile is not taken for usual.
    pub(super) fn taint(&mut self, src: [u8; 16]) {
        if let Some(device) = self.devices.get_mut(&src) {
            device.tainted = true;
        }
    }

    /// Looks at a flow, and notes in its mark what was told of it.
    pub(super) fn see(&mut self, sight: &mut Sight<'_>, outcome: Outcome, findings: &mut Vec<Finding>) {
        let key = &sight.record.key;
        if outcome != Outcome::Engaged || is_group(key.dst) || key.src == key.dst {
            return;
        }
        let at_ns = i64::try_from(sight.record.end_ns).unwrap_or(i64::MAX);
        let outside = !is_inside(key.dst);
        if is_inside(key.src) {
            let bytes = if outside { sight.forward_bytes } else { 0 };
            findings.extend(self.sends(sight, at_ns, bytes));
            findings.extend(self.meets(sight, key.src, Role::Client, at_ns));
        }
        if !outside {
            findings.extend(self.meets(sight, key.dst, Role::Server, at_ns));
        }
    }

    fn device(&mut self, address: [u8; 16], at_ns: i64) -> &mut Device {
        if self.devices.len() >= self.devices_max && !self.devices.contains_key(&address) {
            let idlest = self.devices.iter().min_by_key(|(address, device)| (device.last_ns, **address));
            if let Some(idlest) = idlest.map(|(address, _)| *address) {
                self.devices.remove(&idlest);
                self.forgotten += 1;
            }
        }
        let device = self.devices.entry(address).or_insert_with(|| Device::new(at_ns));
        device.enter(at_ns);
        device
    }

    /// Counts what goes out, and tells when it is far more than ever, or one upload that is odd by itself.
    fn sends(&mut self, sight: &mut Sight<'_>, at_ns: i64, bytes: u64) -> Option<Finding> {
        if bytes == 0 {
            return None;
        }
        let settings = self.settings.clone();
        let record = sight.record;
        let key = &record.key;
        let device = self.device(key.src, at_ns);
        device.sent = device.sent.saturating_add(bytes);
        let sent = device.sent as f64;
        let floor = settings.sent_mb_min * MEGABYTE;
        let learned = device.hours.len() as f64 >= settings.learn_hours;
        if learned && sent >= floor {
            let usual = device.usual_max(settings.sent_deviations, settings.sent_times_max);
            if sent > usual && !device.told {
                (device.tainted, device.told) = (true, true);
                let reason = format!(
                    "{} sent {} MB out within the hour, last to {}; its busiest of {} hours before stayed below {} MB",
                    address(key.src),
                    spoken_count((sent / MEGABYTE).round()),
                    address(key.dst),
                    device.hours.len(),
                    spoken_count((usual / settings.sent_times_max / MEGABYTE).ceil()),
                );
                let severity = if sent > 4.0 * usual { Severity::Medium } else { Severity::Low };
                let found = (sent / MEGABYTE, usual.max(floor) / MEGABYTE, "sent_megabytes_hour");
                return Some(exfiltration(sight, "volume", severity, found, reason));
            }
        }
        // In clear or in a protocol of its own: people upload over TLS, SSH or QUIC.
        let plain = matches!(sight.payload.app, AppProto::Unknown | AppProto::Ftp | AppProto::Tftp | AppProto::Telnet);
        let answered = record.backward.as_ref().map_or(0, |backward| backward.payload_bytes);
        let uploaded = record.forward.payload_bytes as f64;
        if sight.mark.uploaded
            || !plain
            || uploaded < settings.upload_mb_min * MEGABYTE
            || answered as f64 > UPLOAD_ANSWER_SHARE * uploaded
        {
            return None;
        }
        sight.mark.uploaded = true;
        let reason = format!(
            "{} sent {} MB to port {} of {} in one connection that no known protocol protects",
            address(key.src),
            spoken_count((uploaded / MEGABYTE).round()),
            key.dst_port,
            address(key.dst),
        );
        let found = (uploaded / MEGABYTE, settings.upload_mb_min, "uploaded_megabytes");
        Some(exfiltration(sight, "upload", Severity::Low, found, reason))
    }

    /// Notes a service, and tells one that is new to a simple device and that intruders are after.
    fn meets(&mut self, sight: &Sight<'_>, address_of: [u8; 16], role: Role, at_ns: i64) -> Option<Finding> {
        let key = &sight.record.key;
        // Data connections of FTP, and peers of calls and games, have ports of the moment.
        if key.dst_port == 0 || (key.dst_port >= 32_768 && role == Role::Client) || sight.before.is_some() {
            return None;
        }
        let days = self.settings.simple_days;
        let device = self.device(address_of, at_ns);
        let service = Service { port: key.dst_port, proto: key.proto, role };
        if device.services.contains(&service) {
            return None;
        }
        let settled = at_ns - device.first_ns >= days.saturating_mul(DAY_NS)
            && at_ns - device.changed_ns >= DAY_NS
            && device.services.len() <= SIMPLE_SERVICES_MAX;
        device.changed_ns = at_ns;
        if device.services.len() < SERVICES_MAX {
            device.services.push(service);
        }
        let news = settled && key.proto == wire::PROTO_TCP && is_sought(key.dst_port);
        if !news {
            return None;
        }
        let known = device.services.len() - 1;
        let (name, port, days) = (address(address_of), key.dst_port, (at_ns - device.first_ns) / DAY_NS);
        let does = match role {
            Role::Client => format!("{name} connects to TCP port {port} of {}", address(key.dst)),
            Role::Server => format!("{name} serves TCP port {port} to {}", address(key.src)),
        };
        let reason = format!("{does}, as it never did in {days} days; it keeps to {known} services");
        let statement = Statement {
            class: Class::Infiltration,
            kind: "new_service",
            score: 0.5,
            severity: Severity::Low,
            subject: Subject::Flow { id: sight.record.id },
            reason,
            evidence: vec![evidence("services_known", known as f64, SIMPLE_SERVICES_MAX as f64, "services")],
        };
        Some(statement.into_finding(&run_of(sight)))
    }

    pub(super) fn save(&self, out: &mut Vec<u8>) {
        let mut saver = Saver::new(out);
        saver.count(self.devices.len());
        for (address, device) in &self.devices {
            saver.array(address);
            for time_ns in [device.first_ns, device.last_ns, device.changed_ns, device.hour.saturating_mul(HOUR_NS)] {
                saver.i64(time_ns);
            }
            saver.u64(device.sent);
            saver.flag(device.tainted);
            saver.flag(device.told);
            saver.count(device.hours.len());
            device.hours.iter().for_each(|hour| saver.u32(*hour));
            saver.u16(device.next as u16);
            saver.count(device.services.len());
            for service in &device.services {
                saver.u16(service.port);
                saver.u8(service.proto);
                saver.flag(service.role == Role::Server);
            }
        }
    }

    pub(super) fn restore(&mut self, saved: &[u8], shift: AxisShift) -> Result<(), StateError> {
        let mut saved = Saved::new(STATE, saved);
        let mut devices = BTreeMap::new();
        for _ in 0..saved.count(DEVICES_SAVED_MAX)? {
            let address: [u8; 16] = saved.array()?;
            let times = [saved.i64()?, saved.i64()?, saved.i64()?, saved.i64()?];
            let [first_ns, last_ns, changed_ns, hour_ns] = times.map(|time_ns| shift.moved(time_ns));
            let mut device = Device { last_ns, changed_ns, ..Device::new(first_ns) };
            device.hour = hour_ns.div_euclid(HOUR_NS);
            device.sent = saved.u64()?;
            device.tainted = saved.flag()?;
            device.told = saved.flag()?;
            for _ in 0..saved.count(HOURS_MAX)? {
                device.hours.push(saved.u32()?);
            }
            device.next = usize::from(saved.u16()?) % HOURS_MAX;
            for _ in 0..saved.count(SERVICES_MAX)? {
                let (port, proto) = (saved.u16()?, saved.u8()?);
                let role = if saved.flag()? { Role::Server } else { Role::Client };
                device.services.push(Service { port, proto, role });
            }
            if device.next > device.hours.len() {
                return Err(saved.refuse("its ring has a gap"));
            }
            devices.insert(address, device);
        }
        saved.end()?;
        while devices.len() > self.devices_max {
            let idlest = devices.iter().min_by_key(|(address, device)| (device.last_ns, **address));
            let Some(idlest) = idlest.map(|(address, _)| *address) else { break };
            devices.remove(&idlest);
            self.forgotten += 1;
        }
        self.devices = devices;
        Ok(())
    }
}

/// More were never saved.
const DEVICES_SAVED_MAX: usize = 65_536;

/// Ports of remote access, mail and file sharing: what a taken device turns to.
fn is_sought(port: u16) -> bool {
    matches!(port, 21..=23 | 25 | 135 | 139 | 445 | 1433 | 2222 | 2323 | 3306 | 3389 | 4444 | 5555 | 5900 | 6379 | 6667)
}

fn run_of(sight: &Sight<'_>) -> Run {
    let record = sight.record;
    let mut run = Run::new(record.start_ns, record.key, record.id);
    run.last_ns = record.end_ns;
    run
}

fn exfiltration(
    sight: &Sight<'_>,
    kind: &'static str,
    severity: Severity,
    (value, normal_high, feature): (f64, f64, &'static str),
    reason: String,
) -> Finding {
    let FlowKey { src, dst, .. } = sight.record.key;
    let subject = if kind == "upload" { Subject::Flow { id: sight.record.id } } else { Subject::Pair { src, dst } };
    let statement = Statement {
        class: Class::Exfiltration,
        kind,
        score: score(value, normal_high),
        severity,
        subject,
        reason,
        evidence: vec![evidence(feature, value, normal_high, "MB")],
    };
    statement.into_finding(&run_of(sight))
}
