//! Floods of beginnings over TCP: half-open connections, packets without a connection, connections for nothing.

use std::hash::BuildHasher;

use foldhash::quality::FixedState;

use super::{
    super::{
        Attempt, Finding, Keyed, Outcome, Probe, Subject, address,
        track::{Decayed, DistinctSecs, Run, SEC, spoken_count, spoken_secs},
    },
    Reached, SILENCE_NS, TAU_SECS, TRIES_PER_PORT, WINDOWS_SECS, is_several, spoken_sources, subject_of,
};
use crate::{
    bounded::BoundedMap,
    config::{BehaviourSettings, FloodSettings},
};

/// Share of beginnings that come from a source of their own where sources are made up.
const SPOOFED_SHARE: f64 = 0.5;

pub(super) struct Beginnings {
    hasher: FixedState,
    services: BoundedMap<([u8; 16], u16), Service>,
    /// Half-open connections and consents apart.
    hosts: BoundedMap<([u8; 16], bool), Host>,
    settings: FloodSettings,
    repeat_ns: u64,
}

/// What comes to one port of a target.
#[derive(Debug)]
struct Service {
    begun: Decayed,
    half_open: Decayed,
    stray: Decayed,
    /// Completed, and nothing was said.
    mute: Decayed,
    refused: Decayed,
    sources: DistinctSecs,
    run: Run,
}

/// What comes to all ports of a target that get little each.
#[derive(Debug)]
struct Host {
    begun: Decayed,
    ports: DistinctSecs,
    sources: DistinctSecs,
    run: Run,
}

impl Beginnings {
    pub(super) fn new(settings: &BehaviourSettings, keyed: &Keyed) -> Self {
        Self {
            hasher: keyed.hasher.clone(),
            services: keyed.map(settings.limits.services_max),
            hosts: keyed.map(settings.limits.targets_max),
            settings: settings.flood.clone(),
            repeat_ns: settings.limits.repeat_secs.saturating_mul(SEC),
        }
    }

    pub(super) fn evicted(&self) -> u64 {
        self.services.evicted() + self.hosts.evicted()
    }

    pub(super) fn attempt(&mut self, attempt: &Attempt, findings: &mut Vec<Finding>) {
        let (key, at_ns) = (&attempt.key, attempt.at_ns);
        let service = self.services.touch_or_insert(&(key.dst, key.dst_port), || Service::new(attempt));
        // A later and better outcome takes back what was counted.
        let weight = if attempt.before.is_some() { -1.0 } else { 1.0 };
        let counts = match attempt.before {
            None => attempt.outcome != Outcome::Engaged,
            Some(before) => before != Outcome::Engaged && attempt.outcome == Outcome::Engaged,
        };
        if attempt.before.is_none() {
            service.run.go_on(at_ns, SILENCE_NS, *key, attempt.id);
            service.begun.add(at_ns, TAU_SECS, 1.0);
            service.sources.insert(self.hasher.hash_one(key.src), at_ns);
            service.refused.add(at_ns, TAU_SECS, f64::from(u8::from(attempt.outcome == Outcome::Refused)));
        }
        if !counts {
            return;
        }
        let half_open = attempt.probe == Probe::Syn && attempt.half_open;
        match attempt.probe {
            Probe::Syn if half_open => service.half_open.add(at_ns, TAU_SECS, weight),
            // Where no packet came back, what the target said went another way.
            Probe::Connect if attempt.before.unwrap_or(attempt.outcome) == Outcome::Idle => {
                service.mute.add(at_ns, TAU_SECS, weight);
            }
            Probe::Fin | Probe::Null | Probe::Xmas | Probe::Ack | Probe::Denial | Probe::Consent | Probe::Stray => {
                service.stray.add(at_ns, TAU_SECS, weight);
            }
            _ => {}
        }
        findings.extend(service_finding(service, attempt, &self.settings, self.repeat_ns));
        // What its port tells of needs no telling of the host.
        let alone = service.half_open.peak() < self.settings.half_open_10s
            && service.stray.peak() < self.settings.stray_10s.min(self.settings.stray_one_source_10s);
        if (half_open || attempt.probe == Probe::Consent) && weight > 0.0 && alone {
            self.host(attempt, half_open, findings);
        }
    }

    /// Half-open connections, and consents nobody asked for, that turn from port to port, each of which gets too few to be
    /// told for itself.
    fn host(&mut self, attempt: &Attempt, half_open: bool, findings: &mut Vec<Finding>) {
        let (key, at_ns) = (&attempt.key, attempt.at_ns);
        let host = self.hosts.touch_or_insert(&(key.dst, half_open), || Host::new(attempt));
        host.run.go_on(at_ns, SILENCE_NS, *key, attempt.id);
        host.begun.add(at_ns, TAU_SECS, 1.0);
        host.ports.insert(self.hasher.hash_one(key.dst_port), at_ns);
        host.sources.insert(self.hasher.hash_one(key.src), at_ns);
        findings.extend(if half_open {
            half_open_finding(host, attempt, &self.settings, self.repeat_ns)
        } else {
            consent_finding(host, attempt, &self.settings, self.repeat_ns)
        });
    }
}

impl Service {
    fn new(attempt: &Attempt) -> Self {
        Self {
            begun: Decayed::default(),
            half_open: Decayed::default(),
            stray: Decayed::default(),
            mute: Decayed::default(),
            refused: Decayed::default(),
            sources: DistinctSecs::new(WINDOWS_SECS),
            run: Run::new(attempt.at_ns, attempt.key, attempt.id),
        }
    }
}

impl Host {
    fn new(attempt: &Attempt) -> Self {
        Self {
            begun: Decayed::default(),
            ports: DistinctSecs::new(WINDOWS_SECS),
            sources: DistinctSecs::new(WINDOWS_SECS),
            run: Run::new(attempt.at_ns, attempt.key, attempt.id),
        }
    }
}

fn service_finding(
    service: &mut Service,
    attempt: &Attempt,
    settings: &FloodSettings,
    repeat_ns: u64,
) -> Option<Finding> {
    let at_ns = service.run.last_ns;
    // Counts only decay from what they stood at, which is nearly always too little.
    if service.half_open.peak() < settings.half_open_10s
        && service.mute.peak() < settings.mute_10s.min(settings.mute_one_source_10s)
        && service.stray.peak() < settings.stray_10s.min(settings.stray_one_source_10s)
    {
        return None;
    }
    let begun = service.begun.value_at(at_ns, TAU_SECS);
    let sources = service.sources.count(at_ns);
    let many = sources >= settings.sources_many;
    let stray_threshold = if many { settings.stray_10s } else { settings.stray_one_source_10s };
    let mute_threshold = if many { settings.mute_10s } else { settings.mute_one_source_10s };
    let candidates = [
        (&service.half_open, settings.half_open_10s, "half_open_10s", "half-open connections", ["syn", "spoofed_syn"]),
        (&service.stray, stray_threshold, "stray_10s", "packets without a connection", ["tcp", "spoofed_tcp"]),
        (&service.mute, mute_threshold, "mute_10s", "connections that say nothing", ["connect", "connect"]),
    ];
    let counted = candidates.map(|(count, ..)| count.value_at(at_ns, TAU_SECS));
    let mut reached = counted
        .into_iter()
        .zip(candidates)
        .filter(|(count, (_, threshold, ..))| *count >= *threshold && *count >= settings.half_open_share * begun);
    let (count, (_, threshold, feature, what, [one, spoofed])) = reached.next()?;
    if !service.run.pace.is_due(at_ns, count, repeat_ns) {
        return None;
    }
    let key = &attempt.key;
    let refused = service.refused.value_at(at_ns, TAU_SECS);
    let reason = format!(
        "TCP port {} of {} got {} {what} from {} in {}; {} were refused",
        key.dst_port,
        address(key.dst),
        spoken_count(count.round()),
        spoken_sources(sources, key),
        spoken_secs(service.run.secs().min(TAU_SECS)),
        spoken_count(refused.round()),
    );
    let subject = if is_several(sources) {
        Subject::Target { dst: key.dst }
    } else {
        Subject::Service { src: key.src, dst: key.dst, dst_port: key.dst_port, proto: key.proto }
    };
    let kind = if many { spoofed } else { one };
    let sources_many = settings.sources_many;
    let unit = "flows";
    let reached = Reached { kind, feature, count, threshold, unit, sources, sources_many, subject, reason };
    Some(reached.into_finding(&service.run))
}

fn half_open_finding(host: &mut Host, attempt: &Attempt, settings: &FloodSettings, repeat_ns: u64) -> Option<Finding> {
    if host.begun.peak() < settings.half_open_10s {
        return None;
    }
    let at_ns = host.run.last_ns;
    let half_open = host.begun.value_at(at_ns, TAU_SECS);
    if half_open < settings.half_open_10s {
        return None;
    }
    let [ports, _] = host.ports.counts(at_ns);
    let [sources, _] = host.sources.counts(at_ns);
    let comes_back = half_open >= TRIES_PER_PORT * ports;
    // Scanners want answers, and so have addresses of their own.
    let made_up = sources >= settings.sources_many && sources >= SPOOFED_SHARE * half_open;
    if !(comes_back || made_up) || !host.run.pace.is_due(at_ns, half_open, repeat_ns) {
        return None;
    }
    let key = &attempt.key;
    let reason = format!(
        "{} TCP ports of {} got {} half-open connections from {} in {}",
        spoken_count(ports),
        address(key.dst),
        spoken_count(half_open.round()),
        spoken_sources(sources, key),
        spoken_secs(host.run.secs().min(TAU_SECS)),
    );
    let reached = Reached {
        kind: if sources >= settings.sources_many { "spoofed_syn" } else { "syn" },
        feature: "half_open_10s",
        count: half_open,
        threshold: settings.half_open_10s,
        unit: "flows",
        sources,
        sources_many: settings.sources_many,
        subject: subject_of(sources, key),
        reason,
    };
    Some(reached.into_finding(&host.run))
}

fn consent_finding(host: &mut Host, attempt: &Attempt, settings: &FloodSettings, repeat_ns: u64) -> Option<Finding> {
    if host.begun.peak() < settings.stray_10s {
        return None;
    }
    let at_ns = host.run.last_ns;
    let count = host.begun.value_at(at_ns, TAU_SECS);
    let [sources, _] = host.sources.counts(at_ns);
    let threshold = if sources >= settings.sources_many { settings.stray_10s } else { settings.stray_one_source_10s };
    if count < threshold || !host.run.pace.is_due(at_ns, count, repeat_ns) {
        return None;
    }
    let key = &attempt.key;
    let reason = format!(
        "{} got {} consents to connections from {} in {}, and was not seen to ask for them",
        address(key.dst),
        spoken_count(count.round()),
        spoken_sources(sources, key),
        spoken_secs(host.run.secs().min(TAU_SECS)),
    );
    let reached = Reached {
        kind: "reflected_tcp",
        feature: "consents_10s",
        count,
        threshold,
        unit: "flows",
        sources,
        sources_many: settings.sources_many,
        subject: Subject::Target { dst: key.dst },
        reason,
    };
    Some(reached.into_finding(&host.run))
}
