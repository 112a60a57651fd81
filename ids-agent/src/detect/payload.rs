//! The bytes as a witness: what the samples of a flow show of an attack, and what several flows with signs show of
//! the rest. Reads signs alone; finding them is `payload`'s work.

use std::{
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

use ids_common::flow::FlowKey;
use smallvec::SmallVec;

use super::{Class, Detector, DetectorStats, Evidence, Finding, Judged, Severity, Subject, Witness};
use crate::{
    bounded::BoundedMap,
    flow::FlowRecord,
    payload::{FlowSigns, SignKind},
};

mod control;
mod weigh;

use control::Control;
use weigh::{Reach, Weighed, weigh};

/// Sureness from which a flow is called an attack, in percent.
const CALLED_FROM: u8 = 70;
/// Open flows of which it is remembered what was said.
const FLOWS_MAX: usize = 8_192;
/// Services of which flows with signs are counted.
const SERVICES_MAX: usize = 4_096;
/// Flows called attacks from one source to one service from which its other requests are taken for part of the attack;
/// and flows that are merely odd, all of the same class, from which it is called one.
const SERVICE_FLOWS_MIN: u32 = 3;
const SERVICE_ODD_FLOWS_MIN: u32 = 5;
/// Distinct names that a domain does not know from which somebody looks for accounts; a program with a stale name asks for one.
const UNKNOWN_ACCOUNTS_MIN: u32 = 6;
/// Requests by a scanner of applications to one of them from which they are an attack on it; one or two ask what it is.
const SCANNER_FLOWS_MIN: u32 = 10;
/// Sureness from which a flow counts as odd.
const ODD_FROM: u8 = 62;
/// Flows with signs count together if no more than this lies between one and the next.
const SERVICE_PAUSE_NS: u64 = 30_000_000_000;

/// What was said of an open flow.
#[derive(Debug, Default)]
struct Said {
    sureness: u8,
    /// Whether it counts among its service's flows.
    counted: bool,
}

/// Flows with signs of one class from one source to one service.
#[derive(Debug)]
struct Service {
    /// Of the surest flow, as a name and in words.
    kind: &'static str,
    words: &'static str,
    /// All of them, and those that are called attacks by themselves.
    flows: u32,
    called: u32,
    first_ns: u64,
    last_ns: u64,
    sureness: u8,
    /// Distinct names that were asked for, where that is what counts.
    names: SmallVec<[Arc<str>; 1]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct ServiceKey {
    src: [u8; 16],
    dst: [u8; 16],
    port: u16,
    proto: u8,
    class: Class,
}

/// The witness of what the sampled bytes say.
pub struct Payload {
    said: BoundedMap<u64, Said>,
    services: BoundedMap<ServiceKey, Service>,
    control: Control,
    stats: DetectorStats,
}

impl Payload {
    /// `hash_seed` keeps peers from choosing places in its tables.
    pub fn new(hash_seed: u64) -> Self {
        Self {
            said: BoundedMap::new(FLOWS_MAX, hash_seed),
            services: BoundedMap::new(SERVICES_MAX, hash_seed.rotate_left(32)),
            control: Control::new(hash_seed.rotate_left(16)),
            stats: DetectorStats::default(),
        }
    }

    fn flow(&mut self, record: &FlowRecord, signs: &FlowSigns, findings: &mut Vec<Finding>) {
        let Some(weighed) = weigh(signs) else { return };
        if weighed.sureness < ODD_FROM {
            self.stats.abstained += 1;
            return;
        }
        self.stats.forgotten += u64::from(self.said.peek(&record.id).is_none() && self.said.make_room().is_some());
        let said = self.said.touch_or_insert(&record.id, Said::default);
        let surer = weighed.sureness > said.sureness;
        let counted = std::mem::replace(&mut said.counted, true);
        if !surer && counted {
            return;
        }
        said.sureness = said.sureness.max(weighed.sureness);
        if weighed.sureness >= CALLED_FROM {
            findings.push(of_flow(record, &weighed));
            if weighed.class == Class::C2 {
                self.control.told(record);
            }
            if weighed.reach == Reach::Pair {
                let subject = Subject::Pair { src: record.key.src, dst: record.key.dst };
                findings.push(Finding { subject, ..of_flow(record, &weighed) });
            }
        } else {
            self.stats.abstained += 1;
        }
        if !counted {
            self.count(record, signs, &weighed, findings);
        }
    }

    fn count(&mut self, record: &FlowRecord, signs: &FlowSigns, weighed: &Weighed<'_>, findings: &mut Vec<Finding>) {
        let FlowKey { src, dst, dst_port: port, proto, .. } = record.key;
        let key = ServiceKey { src, dst, port, proto, class: weighed.class };
        self.stats.forgotten += u64::from(self.services.peek(&key).is_none() && self.services.make_room().is_some());
        let new = || Service {
            kind: weighed.sign.kind.name(),
            words: weighed.sign.kind.words(),
            flows: 0,
            called: 0,
            first_ns: record.start_ns,
            last_ns: record.start_ns,
            sureness: 0,
            names: SmallVec::new(),
        };
        let service = self.services.touch_or_insert(&key, new);
        if record.start_ns > service.last_ns.saturating_add(SERVICE_PAUSE_NS) {
            *service = new();
        }
        if weighed.sign.kind == SignKind::UnknownAccount {
            let name = signs.forward.iter().find(|sign| sign.kind == SignKind::UnknownAccount).map(|sign| &sign.what);
            match name {
                Some(name) if !service.names.contains(name) => {
                    if service.names.len() < UNKNOWN_ACCOUNTS_MIN as usize {
                        service.names.push(name.clone());
                    }
                }
                _ => return,
            }
        }
        service.flows = service.flows.saturating_add(1);
        service.called = service.called.saturating_add(u32::from(weighed.sureness >= CALLED_FROM));
        service.first_ns = service.first_ns.min(record.start_ns);
        service.last_ns = service.last_ns.max(record.end_ns);
        if weighed.sureness > service.sureness {
            service.sureness = weighed.sureness;
            service.kind = weighed.sign.kind.name();
            service.words = weighed.sign.kind.words();
        }
        let kind = weighed.sign.kind;
        let enough = match kind {
            SignKind::UnknownAccount => service.flows >= UNKNOWN_ACCOUNTS_MIN,
            _ => service.called >= SERVICE_FLOWS_MIN || service.flows >= SERVICE_ODD_FLOWS_MIN,
        };
        if enough {
            let class = match kind {
                SignKind::Discovery if service.flows >= SCANNER_FLOWS_MIN => Class::WebAttack,
                _ => weighed.class,
            };
            findings.push(of_service(record, class, service));
        }
    }
}

impl Detector for Payload {
    fn witness(&self) -> Witness {
        Witness::Payload
    }

    fn judge(&mut self, flows: &[Judged<'_>], _now_ns: u64, findings: &mut Vec<Finding>) {
        let before = findings.len();
        for flow in flows {
            self.stats.judged += 1;
            if let Some(signs) = flow.payload.signs.as_deref() {
                self.flow(flow.record, signs, findings);
                if flow.record.is_ended() {
                    self.said.remove(&flow.record.id);
                }
            }
            findings.extend(self.control.see(flow.record));
        }
        self.stats.findings += (findings.len() - before) as u64;
    }

    fn reads_open_features(&self) -> bool {
        false
    }

    fn stats(&self) -> DetectorStats {
        DetectorStats { forgotten: self.stats.forgotten + self.control.evicted(), ..self.stats }
    }
}

fn of_flow(record: &FlowRecord, weighed: &Weighed<'_>) -> Finding {
    let Weighed { class, severity, sureness, sign, from_initiator, .. } = *weighed;
    let (from, to) = if from_initiator {
        (address(record.key.src), address(record.key.dst))
    } else {
        (address(record.key.dst), address(record.key.src))
    };
    let aside = match weighed.beside {
        Some(beside) => format!(", and {} (`{}`)", beside.kind.words(), beside.what),
        None => String::new(),
    };
    Finding {
        witness: Witness::Payload,
        class,
        kind: sign.kind.name(),
        score: score(sureness),
        severity,
        subject: Subject::Flow { id: record.id },
        exemplar: record.key,
        exemplar_id: record.id,
        first_ns: record.start_ns,
        last_ns: record.end_ns,
        reason: format!(
            "what {from} sent to {to} (port {}) shows {}: `{}`{aside}",
            record.key.dst_port,
            sign.kind.words(),
            sign.what
        ),
        evidence: vec![evidence("payload_sureness", f64::from(sureness), "percent")],
        matched: None,
    }
}

fn of_service(record: &FlowRecord, class: Class, service: &Service) -> Finding {
    let key = &record.key;
    Finding {
        witness: Witness::Payload,
        class,
        kind: service.kind,
        score: score(service.sureness),
        severity: match service.called {
            0 => Severity::Low,
            1..=9 => Severity::Medium,
            10.. => Severity::High,
        },
        subject: Subject::Service { src: key.src, dst: key.dst, dst_port: key.dst_port, proto: key.proto },
        exemplar: *key,
        exemplar_id: record.id,
        first_ns: service.first_ns,
        last_ns: service.last_ns,
        reason: format!(
            "{} connections from {} to port {} of {} carry the marks of attack tools or patterns, the plainest: {}",
            service.flows,
            address(key.src),
            key.dst_port,
            address(key.dst),
            service.words
        ),
        evidence: vec![Evidence {
            feature: "flows_with_signs",
            value: f64::from(service.flows),
            normal_low: 0.0,
            normal_high: f64::from(SERVICE_FLOWS_MIN),
            unit: "flows",
        }],
        matched: None,
    }
}

fn evidence(feature: &'static str, value: f64, unit: &'static str) -> Evidence {
    Evidence { feature, value, normal_low: 0.0, normal_high: f64::from(CALLED_FROM), unit }
}

fn score(sureness: u8) -> f32 {
    f32::from(sureness.min(99)) / 100.0
}

fn address(bytes: [u8; 16]) -> IpAddr {
    Ipv6Addr::from(bytes).to_canonical()
}

#[cfg(test)]
mod tests;
