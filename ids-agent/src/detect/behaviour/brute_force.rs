//! Password guessing at one service: logins seen to fail, or one short session after another.

use std::hash::BuildHasher;

use foldhash::quality::FixedState;
use ids_common::wire;

use super::{
    Class, Finding, Keyed, Severity, Sight, Statement, Subject, address, evidence, is_inside,
    track::{Decayed, DistinctSecs, Run, SEC, score, spoken_count, spoken_secs},
};
use crate::{
    bounded::BoundedMap,
    config::{BehaviourSettings, BruteForceSettings},
    payload::{AppProto, Login},
};

const QUICK_TAU_SECS: f64 = 60.0;
const SLOW_TAU_SECS: f64 = 600.0;
const HOUR_TAU_SECS: f64 = 3600.0;
const SPREAD_SECS: [u64; 2] = [60, 600];
/// Guessing is another one after so long a silence.
const SILENCE_NS: u64 = 1800 * SEC;
/// A client that got in says more than this; one that tries three times says less.
const FTP_FAILED_PACKETS_MAX: u32 = 8;
const SPRAY_SECS: [u64; 2] = [600, 3600];

pub(super) struct BruteForce {
    hasher: FixedState,
    services: BoundedMap<([u8; 16], [u8; 16], u16, u8), Service>,
    targets: BoundedMap<([u8; 16], u16, u8), Target>,
    sprays: BoundedMap<([u8; 16], u16, u8), Spray>,
    settings: BruteForceSettings,
    repeat_ns: u64,
}

/// What one source does at one service.
#[derive(Debug)]
struct Service {
    failed: Decayed,
    failed_slow: Decayed,
    failed_hour: Decayed,
    web_tries: Decayed,
    sessions: Decayed,
    sessions_slow: Decayed,
    sessions_hour: Decayed,
    /// Plain counts of the run, for the reader.
    failed_all: u32,
    succeeded_all: u32,
    run: Run,
}

/// Failed logins of one source at the same service of many targets.
#[derive(Debug)]
struct Spray {
    targets: DistinctSecs,
    run: Run,
}

/// Failed logins at one service, whoever tried.
#[derive(Debug)]
struct Target {
    failed: Decayed,
    failed_slow: Decayed,
    /// Short sessions from outside, of which nothing shows how they went.
    sessions: Decayed,
    sources: DistinctSecs,
    run: Run,
}

/// A pattern that has reached its threshold.
struct Reached {
    count: f64,
    threshold: f64,
    feature: &'static str,
    what: String,
}

impl BruteForce {
    pub(super) fn new(settings: &BehaviourSettings, keyed: &Keyed) -> Self {
        Self {
            hasher: keyed.hasher.clone(),
            services: keyed.map(settings.limits.services_max),
            targets: keyed.map(settings.limits.targets_max),
            sprays: keyed.map(settings.limits.sources_max),
            settings: settings.brute_force.clone(),
            repeat_ns: settings.limits.repeat_secs.saturating_mul(SEC),
        }
    }

    pub(super) fn evicted(&self) -> u64 {
        self.services.evicted() + self.targets.evicted() + self.sprays.evicted()
    }

    /// Looks at a flow, and notes in its mark what was counted of it.
    pub(super) fn see(&mut self, sight: &mut Sight<'_>, findings: &mut Vec<Finding>) {
        let (record, payload) = (sight.record, sight.payload);
        let key = &record.key;
        let shown = if payload.login == Login::Failed { failures_of(sight) } else { 0 };
        let failures = shown.max(payload.refusals);
        let fresh = failures.saturating_sub(sight.mark.failures);
        let failed = fresh > 0;
        let succeeded = payload.login == Login::Succeeded && sight.ended;
        let tried_web = payload.app == AppProto::Http && payload.login != Login::None && !sight.mark.tried;
        let session = sight.ended && self.is_short_session(sight);
        if !(failed || succeeded || tried_web || session) {
            return;
        }
        let at_ns = record.end_ns;
        let new = || Service {
            failed: Decayed::default(),
            failed_slow: Decayed::default(),
            failed_hour: Decayed::default(),
            web_tries: Decayed::default(),
            sessions: Decayed::default(),
            sessions_slow: Decayed::default(),
            sessions_hour: Decayed::default(),
            failed_all: 0,
            succeeded_all: 0,
            run: Run::new(record.start_ns, *key, record.id),
        };
        let service = self.services.touch_or_insert(&(key.src, key.dst, key.dst_port, key.proto), new);
        let began_ns = service.run.first_ns;
        service.run.go_on(at_ns, SILENCE_NS, *key, record.id);
        if service.run.first_ns > began_ns {
            (service.failed_all, service.succeeded_all) = (0, 0);
        }
        if failed {
            sight.mark.failures = failures;
            service.failed.add(at_ns, QUICK_TAU_SECS, f64::from(fresh));
            service.failed_slow.add(at_ns, SLOW_TAU_SECS, f64::from(fresh));
            service.failed_hour.add(at_ns, HOUR_TAU_SECS, f64::from(fresh));
            service.failed_all += u32::from(fresh);
        }
        if tried_web {
            sight.mark.tried = true;
            service.web_tries.add(at_ns, QUICK_TAU_SECS, 1.0);
        }
        if session {
            service.sessions.add(at_ns, QUICK_TAU_SECS, 1.0);
            service.sessions_slow.add(at_ns, SLOW_TAU_SECS, 1.0);
            service.sessions_hour.add(at_ns, HOUR_TAU_SECS, 1.0);
        }
        service.succeeded_all += u32::from(succeeded);
        // A guess that hit is told at once, however lately the guessing was.
        let repeat_ns = if succeeded { 0 } else { self.repeat_ns };
        findings.extend(finding(service, sight, &self.settings, repeat_ns));
        if failed || (session && !is_inside(key.src)) {
            self.spread(sight, failed, findings);
        }
        if failed {
            self.spray(sight, findings);
        }
    }

    /// Whether an ended flow is a short visit to a service that asks who is there.
    fn is_short_session(&self, sight: &Sight<'_>) -> bool {
        let record = sight.record;
        let Some(backward) = &record.backward else { return false };
        let lasted_ns = record.end_ns - record.start_ns;
        record.key.proto == wire::PROTO_TCP
            && matches!(
                sight.payload.app,
                AppProto::Ssh | AppProto::Telnet | AppProto::Ftp | AppProto::Rdp | AppProto::Rfb
            )
            && sight.payload.login != Login::Succeeded
            && record.forward.payload_bytes > 0
            && record.forward.payload_bytes <= self.settings.session_bytes_max
            && backward.payload_bytes > 0
            && backward.payload_bytes <= self.settings.session_bytes_max
            && lasted_ns <= self.settings.session_secs_max.saturating_mul(SEC)
    }

    /// Guesses of one source at many targets, too few at each to be told there.
    fn spray(&mut self, sight: &Sight<'_>, findings: &mut Vec<Finding>) {
        let record = sight.record;
        let (key, at_ns) = (&record.key, record.end_ns);
        let new = || Spray { targets: DistinctSecs::new(SPRAY_SECS), run: Run::new(at_ns, *key, record.id) };
        let spray = self.sprays.touch_or_insert(&(key.src, key.dst_port, key.proto), new);
        spray.run.go_on(at_ns, SILENCE_NS, *key, record.id);
        spray.targets.insert(self.hasher.hash_one(key.dst), at_ns);
        let targets = spray.targets.count(spray.run.last_ns);
        if targets < self.settings.spray_targets_600s
            || !spray.run.pace.is_due(spray.run.last_ns, targets, self.repeat_ns)
        {
            return;
        }
        let reason = format!(
            "{} failed to log in at {} of {} hosts in {}",
            address(key.src),
            service_name(sight),
            spoken_count(targets),
            spoken_secs(spray.run.secs()),
        );
        let statement = Statement {
            class: Class::BruteForce,
            kind: "spray",
            score: score(targets, self.settings.spray_targets_600s),
            severity: Severity::High,
            subject: Subject::Source { src: key.src },
            reason,
            evidence: vec![evidence("login_targets_600s", targets, self.settings.spray_targets_600s, "hosts")],
        };
        findings.push(statement.into_finding(&spray.run));
    }

    /// Guesses at one service from many sources.
    fn spread(&mut self, sight: &Sight<'_>, failed: bool, findings: &mut Vec<Finding>) {
        let record = sight.record;
        let (key, at_ns) = (&record.key, record.end_ns);
        let new = || Target {
            failed: Decayed::default(),
            failed_slow: Decayed::default(),
            sessions: Decayed::default(),
            sources: DistinctSecs::new(SPREAD_SECS),
            run: Run::new(at_ns, *key, record.id),
        };
        let target = self.targets.touch_or_insert(&(key.dst, key.dst_port, key.proto), new);
        target.run.go_on(at_ns, SILENCE_NS, *key, record.id);
        if failed {
            target.failed.add(at_ns, QUICK_TAU_SECS, 1.0);
            target.failed_slow.add(at_ns, SLOW_TAU_SECS, 1.0);
        } else {
            target.sessions.add(at_ns, QUICK_TAU_SECS, 1.0);
        }
        target.sources.insert(self.hasher.hash_one(key.src), at_ns);
        let last_ns = target.run.last_ns;
        let quick = (target.failed.value_at(last_ns, QUICK_TAU_SECS), self.settings.spread_failed_60s);
        let slow = (target.failed_slow.value_at(last_ns, SLOW_TAU_SECS), self.settings.spread_failed_600s);
        let [sources, sources_slow] = target.sources.counts(last_ns);
        let sessions = (target.sessions.value_at(last_ns, QUICK_TAU_SECS), self.settings.spread_sessions_60s);
        let (failed, threshold, sources, what) = match (quick, sessions, slow) {
            ((failed, threshold), ..) if failed >= threshold => (failed, threshold, sources, "logins that failed"),
            (_, (sessions, threshold), _) if sessions >= threshold => (sessions, threshold, sources, "short sessions"),
            (.., (failed, threshold)) => (failed, threshold, sources_slow, "logins that failed"),
        };
        if failed < threshold
            || sources < self.settings.spread_sources
            || !target.run.pace.is_due(last_ns, failed, self.repeat_ns)
        {
            return;
        }
        let reason = format!(
            "{} {what} at {} of {} in {}, from {} sources",
            spoken_count(failed.round()),
            service_name(sight),
            address(key.dst),
            spoken_secs(target.run.secs()),
            spoken_count(sources),
        );
        let statement = Statement {
            class: Class::BruteForce,
            kind: "spread",
            score: score(failed, threshold),
            severity: Severity::High,
            subject: Subject::Target { dst: key.dst },
            reason,
            evidence: vec![
                evidence("guesses_decayed", failed, threshold, "logins"),
                evidence("sources", sources, self.settings.spread_sources, "hosts"),
            ],
        };
        findings.push(statement.into_finding(&target.run));
    }
}

/// How often a connection in which a login failed shows that one did.
fn failures_of(sight: &Sight<'_>) -> u8 {
    let packets = sight.record.forward.payload_packets;
    if sight.payload.app != AppProto::Ftp || packets > FTP_FAILED_PACKETS_MAX {
        return 1;
    }
    // A name and a word for each, and one packet more that begins, goes on or ends.
    u8::try_from(packets.saturating_sub(1) / 2).unwrap_or(1).max(1)
}

fn reached(service: &Service, settings: &BruteForceSettings) -> Option<Reached> {
    let at_ns = service.run.last_ns;
    // Those of the house work on each other's machines by programs as well.
    let (sessions_60s, sessions_600s, sessions_3600s) = if is_inside(service.run.exemplar.src) {
        (settings.sessions_60s, settings.sessions_600s, f64::INFINITY)
    } else {
        (settings.outside_sessions_60s, settings.outside_sessions_600s, settings.outside_sessions_3600s)
    };
    let count = |counter: &Decayed, tau_secs| counter.value_at(at_ns, tau_secs);
    let candidates = [
        (count(&service.failed, QUICK_TAU_SECS), settings.failed_60s, "failed_logins_60s", "logins that failed"),
        (count(&service.failed_slow, SLOW_TAU_SECS), settings.failed_600s, "failed_logins_600s", "logins that failed"),
        (
            count(&service.failed_hour, HOUR_TAU_SECS),
            settings.failed_3600s,
            "failed_logins_3600s",
            "logins that failed",
        ),
        (
            count(&service.web_tries, QUICK_TAU_SECS),
            settings.web_tries_60s,
            "web_logins_60s",
            "requests with credentials",
        ),
        (count(&service.sessions, QUICK_TAU_SECS), sessions_60s, "short_sessions_60s", "short sessions"),
        (count(&service.sessions_slow, SLOW_TAU_SECS), sessions_600s, "short_sessions_600s", "short sessions"),
        (count(&service.sessions_hour, HOUR_TAU_SECS), sessions_3600s, "short_sessions_3600s", "short sessions"),
    ];
    // Sums of decayed events fall short of whole numbers by a hair.
    let first = candidates.into_iter().find(|(count, threshold, ..)| *count + 0.5 >= *threshold);
    first.map(|(count, threshold, feature, what)| Reached {
        count,
        threshold,
        feature,
        what: format!("{} {what}", spoken_count(count.round())),
    })
}

fn finding(service: &mut Service, sight: &Sight<'_>, settings: &BruteForceSettings, repeat_ns: u64) -> Option<Finding> {
    let reached = reached(service, settings)?;
    if !service.run.pace.is_due(service.run.last_ns, reached.count, repeat_ns) {
        return None;
    }
    let key = &sight.record.key;
    let then = match service.succeeded_all {
        0 => String::new(),
        times => format!(", and {times} that succeeded"),
    };
    let reason = format!(
        "{} guesses at {} of {}: {} within {}{then}",
        address(key.src),
        service_name(sight),
        address(key.dst),
        reached.what,
        spoken_secs(service.run.secs()),
    );
    let severe = reached.count >= 4.0 * reached.threshold || (service.succeeded_all > 0 && service.failed_all > 0);
    let statement = Statement {
        class: Class::BruteForce,
        kind: sight.payload.app.known().unwrap_or_default().label(),
        score: score(reached.count, reached.threshold),
        severity: if severe { Severity::High } else { Severity::Medium },
        subject: Subject::Service { src: key.src, dst: key.dst, dst_port: key.dst_port, proto: key.proto },
        reason,
        evidence: vec![
            evidence(reached.feature, reached.count, reached.threshold, "connections"),
            evidence("failed_logins", f64::from(service.failed_all), settings.failed_60s, "logins"),
        ],
    };
    Some(statement.into_finding(&service.run))
}

/// `SSH (TCP port 22)`.
fn service_name(sight: &Sight<'_>) -> String {
    let app = sight.payload.app.label().to_uppercase();
    format!("{app} (port {})", sight.record.key.dst_port)
}
