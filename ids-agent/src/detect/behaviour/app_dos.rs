//! Denial of service above the transport: connections that stall, are hoarded, or ask under ever new names.

use std::hash::BuildHasher;

use foldhash::quality::FixedState;
use ids_common::{flow::FlowKey, wire};

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
/// A receive window so small keeps a server from sending; no browser opens with it.
const SLOW_WINDOW_MAX: u16 = 4_096;
/// Share of hoarded connections without a word from which on they are a flood of connections.
const MUTE_SHARE: f64 = 0.8;
/// A TLS client that says no more than this has asked for nothing behind the handshake.
const HANDSHAKE_PACKETS_MAX: u32 = 2;
const HANDSHAKE_BYTES_MAX: u64 = 2_500;
/// The same with a goodbye.
const PARTING_PACKETS_MAX: u32 = 3;
const PARTING_BYTES_MAX: u64 = 700;
/// An MQTT client that has said less is still greeting and subscribing.
const MESSAGES_MIN: u32 = 20;

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
    /// Those of them over which nothing was said at all.
    hoarded_mute: f64,
    /// Whether what is hoarded speaks HTTP or MQTT: there it takes fewer.
    named: bool,
    requests: Decayed,
    requests_60s: Decayed,
    agents: DistinctSecs,
    /// Names of first parameters.
    parameters: DistinctSecs,
    slow_reads: Decayed,
    handshakes: Decayed,
    /// MQTT packets from the client.
    messages: Decayed,
    /// The same by messages, where they are known to be several in a packet.
    packed: Decayed,
    run: Run,
}

/// A pattern that has reached its threshold.
struct Reached {
    class: Class,
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
        let app = sight.payload.app;
        let request = sight.payload.http.as_deref().filter(|http| http.method.is_some());
        let requested = request.is_some() && !sight.mark.requested;
        let slow_read = !sight.mark.slow_read
            && !sight.ended
            && !closing
            && backward.payload_bytes > 0
            && matches!(app, AppProto::Http | AppProto::Tls)
            && (1..=SLOW_WINDOW_MAX).contains(&forward.init_window)
            && lasted_ns >= self.settings.stalled_secs.saturating_mul(SEC);
        let handshake = !sight.mark.handshake
            && (sight.ended || closing)
            && app == AppProto::Tls
            && is_bare_handshake(forward.payload_packets, forward.payload_bytes);
        let talks = app == AppProto::Mqtt && forward.payload_packets >= MESSAGES_MIN;
        let messages = if talks { sight.forward_packets } else { 0 };
        let counts = [stalled, hoarded, requested, slow_read, handshake, messages > 0, sight.mark.hoarded];
        if counts.iter().all(|counts| !counts) {
            return;
        }

        let at_ns = record.end_ns;
        let service = self
            .services
            .touch_or_insert(&(key.src, key.dst, key.dst_port), || Service::new(key, record.id, record.start_ns));
        service.run.go_on(at_ns, SILENCE_NS, *key, record.id);
        if stalled && !sight.mark.stalled {
            service.stalled.add(at_ns, STALLED_TAU_SECS, 1.0);
            sight.mark.stalled = true;
        }
        if hoarded != sight.mark.hoarded {
            service.hoarded = (service.hoarded + if hoarded { 1.0 } else { -1.0 }).max(0.0);
            service.named = matches!(app, AppProto::Http | AppProto::Mqtt);
            sight.mark.hoarded = hoarded;
        }
        let mute = hoarded && payload_bytes == 0;
        if mute != sight.mark.hoarded_mute {
            service.hoarded_mute = (service.hoarded_mute + if mute { 1.0 } else { -1.0 }).max(0.0);
            sight.mark.hoarded_mute = mute;
        }
        if slow_read {
            service.slow_reads.add(at_ns, STALLED_TAU_SECS, 1.0);
            sight.mark.slow_read = true;
        }
        if handshake {
            service.handshakes.add(at_ns, REQUESTS_TAU_SECS, 1.0);
            sight.mark.handshake = true;
        }
        if messages > 0 {
            // Growth over more than the window counts as the part of it that falls into it.
            let spread_secs = if sight.before.is_some() { 0.0 } else { lasted_ns as f64 / SEC as f64 };
            let share = REQUESTS_TAU_SECS / spread_secs.max(REQUESTS_TAU_SECS);
            service.messages.add(at_ns, REQUESTS_TAU_SECS, messages as f64 * share);
            // Clients put as many messages into a packet as fit.
            let each_bytes = f64::from(sight.payload.message_bytes);
            if each_bytes > 0.0 {
                let packet_bytes = forward.payload_bytes as f64 / f64::from(forward.payload_packets.max(1));
                let packed = messages as f64 * (packet_bytes / each_bytes).max(1.0);
                service.packed.add(at_ns, REQUESTS_TAU_SECS, packed * share);
            }
        }
        if let Some(http) = request.filter(|_| requested) {
            sight.mark.requested = true;
            service.requests.add(record.start_ns, REQUESTS_TAU_SECS, 1.0);
            service.requests_60s.add(record.start_ns, STALLED_TAU_SECS, 1.0);
            service.agents.insert(self.hasher.hash_one(&http.user_agent), at_ns);
            if let Some(name) = http.path.as_deref().and_then(first_parameter) {
                service.parameters.insert(self.hasher.hash_one(name), at_ns);
            }
        }
        findings.extend(finding(service, sight, &self.settings, self.repeat_ns));
    }
}

impl Service {
    fn new(key: &FlowKey, id: u64, at_ns: u64) -> Self {
        Self {
            stalled: Decayed::default(),
            hoarded: 0.0,
            hoarded_mute: 0.0,
            named: false,
            requests: Decayed::default(),
            requests_60s: Decayed::default(),
            agents: DistinctSecs::new(AGENTS_SECS),
            parameters: DistinctSecs::new(AGENTS_SECS),
            slow_reads: Decayed::default(),
            handshakes: Decayed::default(),
            messages: Decayed::default(),
            packed: Decayed::default(),
            run: Run::new(at_ns, *key, id),
        }
    }
}

/// The name of the first parameter that has a value and is no number: a lone number is a file's version.
fn first_parameter(path: &str) -> Option<&str> {
    let (_, query) = path.split_once('?')?;
    let (name, _) = query.split('&').next()?.split_once('=')?;
    (!name.is_empty() && name.bytes().any(|byte| !byte.is_ascii_digit())).then_some(name)
}

fn is_bare_handshake(packets: u32, bytes: u64) -> bool {
    (packets <= HANDSHAKE_PACKETS_MAX && bytes <= HANDSHAKE_BYTES_MAX)
        || (packets <= PARTING_PACKETS_MAX && bytes <= PARTING_BYTES_MAX)
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
            class: Class::AppDos,
            kind: "slow_requests",
            count: stalled,
            threshold: settings.stalled_60s,
            feature: "stalled_connections_60s",
            what: format!("{} connections that send little and never finish a request", spoken_count(stalled.round())),
        });
    }
    let hoarded_max = if service.named { settings.hoarded_named } else { settings.hoarded };
    if service.hoarded >= hoarded_max {
        // Where nothing is said, no application is asked for anything: what is used up is the target's connections.
        let mute = service.hoarded_mute >= MUTE_SHARE * service.hoarded;
        return Some(Reached {
            class: if mute { Class::Flood } else { Class::AppDos },
            kind: if mute { "connect" } else { "hoarded_connections" },
            count: service.hoarded,
            threshold: hoarded_max,
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
            class: Class::AppDos,
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
    let parameters = service.parameters.count(at_ns).min(requests_60s);
    if parameters >= settings.parameters_60s && parameters >= settings.parameters_share * requests_60s {
        return Some(Reached {
            class: Class::AppDos,
            kind: "random_parameters",
            count: parameters,
            threshold: settings.parameters_60s,
            feature: "parameter_names_60s",
            what: format!(
                "{} requests with {} parameters of ever new names",
                spoken_count(requests_60s.round()),
                spoken_count(parameters)
            ),
        });
    }
    let simple = [
        (
            service.slow_reads.value_at(at_ns, STALLED_TAU_SECS),
            settings.slow_reads_60s,
            ("slow_reads", "slow_reads_60s", "connections that take an answer in tiny bits"),
        ),
        (
            service.handshakes.value_at(at_ns, REQUESTS_TAU_SECS),
            settings.handshakes_10s,
            ("handshakes", "tls_handshakes_10s", "TLS handshakes that ask for nothing"),
        ),
        (
            service.messages.value_at(at_ns, REQUESTS_TAU_SECS),
            settings.mqtt_packets_10s,
            ("message_flood", "mqtt_packets_10s", "packets with MQTT messages in ten seconds"),
        ),
        (
            service.packed.value_at(at_ns, REQUESTS_TAU_SECS),
            settings.mqtt_messages_10s,
            ("message_flood", "mqtt_messages_10s", "MQTT messages in ten seconds"),
        ),
    ];
    for (count, threshold, (kind, feature, what)) in simple {
        if count >= threshold {
            let what = format!("{} {what}", spoken_count(count.round()));
            return Some(Reached { class: Class::AppDos, kind, count, threshold, feature, what });
        }
    }
    let requests = service.requests.value_at(at_ns, REQUESTS_TAU_SECS);
    (requests >= settings.requests_10s).then(|| Reached {
        class: Class::AppDos,
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
        class: reached.class,
        kind: reached.kind,
        score: score(reached.count, reached.threshold),
        severity: Severity::High,
        subject: Subject::Service { src: key.src, dst: key.dst, dst_port: key.dst_port, proto: key.proto },
        reason,
        evidence: vec![evidence(reached.feature, reached.count, reached.threshold, "connections")],
    };
    Some(statement.into_finding(&service.run))
}
