//! Denial of service above the transport: connections that stall, are hoarded, or ask under ever new names.

use std::hash::BuildHasher;

use foldhash::quality::FixedState;
use ids_common::wire;

use super::{
    Class, Finding, Keyed, Severity, Sight, Statement, Subject, address, evidence,
    track::{Decayed, DistinctSecs, Run, SEC, score, spoken_count, spoken_secs},
};
use crate::{
    bounded::BoundedMap,
    config::{AppDosSettings, BehaviourSettings},
    payload::AppProto,
};

const STALLED_TAU_SECS: f64 = 60.0;
const REQUESTS_TAU_SECS: f64 = 10.0;
const AGENTS_SECS: [u64; 2] = [60, 600];
/// Fewer connections than this say nothing about how often the agent changes.
const AGENTS_FLOWS_MIN: f64 = 15.0;
/// A stalled connection sends a few header lines at most.
const STALLED_PAYLOAD_BYTES_MAX: u64 = 8_192;
const SILENCE_NS: u64 = 120 * SEC;

pub(super) struct AppDos {
    hasher: FixedState,
    services: BoundedMap<([u8; 16], [u8; 16], u16), Service>,
    settings: AppDosSettings,
    repeat_ns: u64,
}

/// What one source does to one TCP service.
#[derive(Debug)]
struct Service {
    stalled: Decayed,
    hoarded: f64,
    requests: Decayed,
    requests_60s: Decayed,
    agents: DistinctSecs,
    run: Run,
}

/// A pattern that has reached its threshold.
struct Reached {
    kind: &'static str,
    count: f64,
    threshold: f64,
    feature: &'static str,
    what: String,
}

impl AppDos {
    pub(super) fn new(settings: &BehaviourSettings, keyed: &Keyed) -> Self {
        Self {
            hasher: keyed.hasher.clone(),
            services: keyed.map(settings.limits.services_max),
            settings: settings.app_dos.clone(),
            repeat_ns: settings.limits.repeat_secs.saturating_mul(SEC),
        }
    }

    pub(super) fn evicted(&self) -> u64 {
        self.services.evicted()
    }

    /// Looks at a flow, and notes in its mark what was counted of it.
    pub(super) fn see(&mut self, sight: &mut Sight<'_>, findings: &mut Vec<Finding>) {
        let record = sight.record;
        let key = &record.key;
        let Some(backward) = record.backward.as_ref().filter(|_| key.proto == wire::PROTO_TCP) else { return };
        let forward = &record.forward;
        if backward.rst > 0 && backward.syn == 0 && backward.payload_bytes == 0 {
            return;
        }
        let payload_bytes = forward.payload_bytes + backward.payload_bytes;
        let lasted_ns = record.end_ns - record.start_ns;
        let stalled = forward.payload_bytes > 0
            && backward.payload_bytes == 0
            && payload_bytes <= STALLED_PAYLOAD_BYTES_MAX
            && lasted_ns >= self.settings.stalled_secs.saturating_mul(SEC)
            && is_web_or_unknown(sight.payload.app);
        let closing = forward.fin > 0 || forward.rst > 0 || backward.fin > 0 || backward.rst > 0;
        let hoarded =
            !sight.ended && !closing && forward.ack > 0 && payload_bytes < self.settings.hoarded_payload_bytes;
        let request = sight.payload.http.as_deref().filter(|http| http.method.is_some());
        let requested = request.is_some() && !sight.mark.requested;
        if !(stalled || hoarded || requested || sight.mark.hoarded) {
            return;
        }

        let at_ns = record.end_ns;
        let new = || Service {
            stalled: Decayed::default(),
            hoarded: 0.0,
            requests: Decayed::default(),
            requests_60s: Decayed::default(),
            agents: DistinctSecs::new(AGENTS_SECS),
            run: Run::new(record.start_ns, *key, record.id),
        };
        let service = self.services.touch_or_insert(&(key.src, key.dst, key.dst_port), new);
        service.run.go_on(at_ns, SILENCE_NS, *key, record.id);
        if stalled && !sight.mark.stalled {
            service.stalled.add(at_ns, STALLED_TAU_SECS, 1.0);
            sight.mark.stalled = true;
        }
        if hoarded != sight.mark.hoarded {
            service.hoarded = (service.hoarded + if hoarded { 1.0 } else { -1.0 }).max(0.0);
            sight.mark.hoarded = hoarded;
        }
        if let Some(http) = request.filter(|_| requested) {
            sight.mark.requested = true;
            service.requests.add(record.start_ns, REQUESTS_TAU_SECS, 1.0);
            service.requests_60s.add(record.start_ns, STALLED_TAU_SECS, 1.0);
            service.agents.insert(self.hasher.hash_one(&http.user_agent), at_ns);
        }
        findings.extend(finding(service, sight, &self.settings, self.repeat_ns));
    }
}

/// Slow attacks aim at web servers; a request that never ends may not be told as one.
fn is_web_or_unknown(app: AppProto) -> bool {
    matches!(app, AppProto::Http | AppProto::Unknown)
}

fn reached(service: &Service, settings: &AppDosSettings) -> Option<Reached> {
    let at_ns = service.run.last_ns;
    let stalled = service.stalled.value_at(at_ns, STALLED_TAU_SECS);
    if stalled >= settings.stalled_60s {
        return Some(Reached {
            kind: "slow_requests",
            count: stalled,
            threshold: settings.stalled_60s,
            feature: "stalled_connections_60s",
            what: format!("{} connections that send little and never finish a request", spoken_count(stalled.round())),
        });
    }
    if service.hoarded >= settings.hoarded {
        return Some(Reached {
            kind: "hoarded_connections",
            count: service.hoarded,
            threshold: settings.hoarded,
            feature: "hoarded_connections",
            what: format!("{} connections at once that carry next to nothing", spoken_count(service.hoarded)),
        });
    }
    let requests_60s = service.requests_60s.value_at(at_ns, STALLED_TAU_SECS);
    let agents = service.agents.count(at_ns).min(requests_60s);
    if agents >= settings.agents_60s
        && requests_60s >= AGENTS_FLOWS_MIN
        && agents >= settings.agents_share * requests_60s
    {
        return Some(Reached {
            kind: "changing_agents",
            count: agents,
            threshold: settings.agents_60s,
            feature: "user_agents_60s",
            what: format!(
                "{} requests under {} names of browsers",
                spoken_count(requests_60s.round()),
                spoken_count(agents)
            ),
        });
    }
    let requests = service.requests.value_at(at_ns, REQUESTS_TAU_SECS);
    (requests >= settings.requests_10s).then(|| Reached {
        kind: "request_flood",
        count: requests,
        threshold: settings.requests_10s,
        feature: "http_requests_10s",
        what: format!("{} connections with a request in ten seconds", spoken_count(requests.round())),
    })
}

fn finding(service: &mut Service, sight: &Sight<'_>, settings: &AppDosSettings, repeat_ns: u64) -> Option<Finding> {
    let reached = reached(service, settings)?;
    if !service.run.pace.is_due(service.run.last_ns, reached.count, repeat_ns) {
        return None;
    }
    let key = &sight.record.key;
    let reason = format!(
        "{} keeps TCP port {} of {} busy: {}, over {}",
        address(key.src),
        key.dst_port,
        address(key.dst),
        reached.what,
        spoken_secs(service.run.secs()),
    );
    let statement = Statement {
        class: Class::AppDos,
        kind: reached.kind,
        score: score(reached.count, reached.threshold),
        severity: Severity::High,
        subject: Subject::Service { src: key.src, dst: key.dst, dst_port: key.dst_port, proto: key.proto },
        reason,
        evidence: vec![evidence(reached.feature, reached.count, reached.threshold, "connections")],
    };
    Some(statement.into_finding(&service.run))
}
