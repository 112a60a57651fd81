//! Suricata as a witness: joins what it said of flows with the flows that the agent knows, and weighs it.
//!
//! Every alert ends in exactly one place: joined with a flow, an orphan for a stated reason, or still waiting. Times are
//! those of the batch; what is late by minutes still finds its flow, and its incident, if not its verdict.

use std::{
    collections::VecDeque,
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

use ids_common::flow::FlowKey;
use serde::Serialize;

use super::{
    Class, Detector, DetectorStats, Evidence, Finding, HEARD_HELD_NS, Judged, Severity, StateError, Subject, Witness,
    saved::{AxisShift, Saved, Saver},
};
use crate::{
    bounded::BoundedMap,
    config::{AllowEntry, SidThreshold},
    eve::{EveAlert, EveApp, EveDetail, EveEvent, EveTuple, Matched},
    flow::FlowRecord,
    payload::PayloadFacts,
};

mod known;
mod meaning;
mod told;
mod waiting;
mod worth;

use known::{Asked, Flows, Known, Missing, When};
pub use meaning::TOLD_FROM;
use told::Told;
use waiting::Waiting;
use worth::Worths;

/// Alerts, and other events, that wait for their flow at once.
const ALERTS_WAITING_MAX: usize = 2_048;
const APPS_WAITING_MAX: usize = 1_024;
/// How long they wait: a flow is known a tick after its first packet, wherever that is seen.
const WAIT_NS: u64 = 15_000_000_000;
const _: () = assert!(WAIT_NS <= HEARD_HELD_NS);
/// Alerts whose agreement with others is not settled yet.
const UNSETTLED_MAX: usize = 4_096;
/// When it is: what is counted over a window takes a while to be told.
const SETTLE_NS: u64 = 60_000_000_000;
/// Hosts that others said something of, and how far around an alert that matters.
const ACCUSED_MAX: usize = 4_096;
const ACCUSED_NS: u64 = 300_000_000_000;
/// Sources counted against thresholds.
const RATES_MAX: usize = 4_096;
/// What a signature below its threshold is worth at most.
const BELOW_THRESHOLD_WORTH: f32 = 0.1;

/// Why an alert found no flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Orphan {
    /// It names no hosts.
    NoTuple,
    /// The agent never saw the flow, or has long forgotten it.
    NoFlow,
    /// It saw the same hosts and ports at another time: another sensor's clock, or an agent that began later.
    OtherTime,
    /// Too many waited at once.
    Crowded,
}

impl Orphan {
    pub const ALL: [Self; 4] = [Self::NoTuple, Self::NoFlow, Self::OtherTime, Self::Crowded];

    pub const fn label(self) -> &'static str {
        match self {
            Self::NoTuple => "no_tuple",
            Self::NoFlow => "no_flow",
            Self::OtherTime => "other_time",
            Self::Crowded => "crowded",
        }
    }
}

/// What became of Suricata's alerts. `alerts = joined_by_id + joined_by_tuple + orphans + waiting`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct JoinStats {
    pub alerts: u64,
    pub joined_by_id: u64,
    pub joined_by_tuple: u64,
    /// In the order of `Orphan::ALL`.
    pub orphans: [u64; Orphan::ALL.len()],
    pub waiting: u64,
    /// Joined alerts that are worth telling by themselves, and those of them that a threshold held back.
    pub worth_telling: u64,
    pub below_threshold: u64,
    /// Events with names, requests and files, and those of them whose flow was known.
    pub apps: u64,
    pub apps_joined: u64,
    /// How long after its packet the alert that was joined last was joined.
    pub lag_ns: u64,
}

impl JoinStats {
    pub fn joined(&self) -> u64 {
        self.joined_by_id + self.joined_by_tuple
    }

    pub fn orphans_all(&self) -> u64 {
        self.orphans.iter().sum()
    }

    /// Share of the settled alerts that found their flow, of those that name one: many of Suricata's decoder events are
    /// about a packet alone. 1 where there are none.
    pub fn join_rate(&self) -> f64 {
        let without = self.orphans.get(Orphan::NoTuple as usize).copied().unwrap_or(0);
        let settled = self.joined() + self.orphans_all() - without;
        if settled == 0 { 1.0 } else { self.joined() as f64 / settled as f64 }
    }

    /// Whether every alert ended in exactly one place.
    pub fn is_conserved(&self) -> bool {
        self.alerts == self.joined() + self.orphans_all() + self.waiting
    }
}

/// What an event is about, while it looks for its flow.
#[derive(Debug)]
struct Heard<T> {
    when: When,
    /// Names of its flow: the community-id as Suricata says it, and as its tuple gives it.
    heads: Heads,
    tuple: Option<EveTuple>,
    what: T,
}

/// An alert whose agreement with others is open.
#[derive(Debug)]
struct Unsettled {
    due_ns: u64,
    at_ns: u64,
    sid: worth::Sid,
    src: [u8; 16],
    dst: [u8; 16],
}

/// Suricata as a witness.
pub struct Signature {
    flows: Flows,
    alerts: Waiting<Heard<Box<EveAlert>>>,
    apps: Waiting<Heard<Box<EveApp>>>,
    told: Told,
    worths: Worths,
    unsettled: VecDeque<Unsettled>,
    accused: BoundedMap<[u8; 16], u64>,
    thresholds: Vec<SidThreshold>,
    rates: BoundedMap<(u32, [u8; 16]), (u64, u64)>,
    /// Found since the last judgement.
    findings: Vec<Finding>,
    stats: DetectorStats,
    join: JoinStats,
}

impl Signature {
    /// `hash_seed` keeps peers from choosing places in its tables.
    pub fn new(thresholds: Vec<SidThreshold>, hash_seed: u64) -> Self {
        Self {
            flows: Flows::new(hash_seed),
            alerts: Waiting::new(ALERTS_WAITING_MAX),
            apps: Waiting::new(APPS_WAITING_MAX),
            told: Told::new(hash_seed.rotate_left(8)),
            worths: Worths::new(hash_seed.rotate_left(24)),
            unsettled: VecDeque::new(),
            accused: BoundedMap::new(ACCUSED_MAX, hash_seed.rotate_left(32)),
            thresholds,
            rates: BoundedMap::new(RATES_MAX, hash_seed.rotate_left(40)),
            findings: Vec::new(),
            stats: DetectorStats::default(),
            join: JoinStats::default(),
        }
    }

    fn hear_alert(&mut self, event: &EveEvent, alert: &EveAlert, now_ns: u64) {
        self.join.alerts += 1;
        let heads = Heads::of(event);
        let heard = Heard { when: when(event), heads, tuple: event.tuple, what: Box::new(alert.clone()) };
        if heads.all() == [None; 2] {
            return self.orphan(heard, Orphan::NoTuple);
        }
        if let Ok(joined) = self.look_for(&heard, Asked::Soon) {
            return self.join(joined, &heard, now_ns);
        }
        if let Some(displaced) = self.alerts.put(heads.all(), heard, now_ns.saturating_add(WAIT_NS)) {
            self.orphan(displaced, Orphan::Crowded);
        }
    }

    /// The flow of an alert, by either name.
    fn look_for(&mut self, heard: &Heard<Box<EveAlert>>, asked: Asked) -> Result<Joined, Missing> {
        let mut missing = Missing::Flow;
        for head in heard.heads.all().into_iter().flatten() {
            match self.flows.find(head, &heard.when, asked) {
                Ok(known) => return Ok(Joined::new(known, heard.what.sid, heard.heads.said == Some(head))),
                Err(Missing::Time) => missing = Missing::Time,
                Err(Missing::Flow) => {}
            }
        }
        Err(missing)
    }

    fn hear_app(&mut self, event: &EveEvent, app: &EveApp, now_ns: u64) {
        self.join.apps += 1;
        let when = when(event);
        let heads = Heads::of(event);
        for head in heads.all().into_iter().flatten() {
            if let Ok(known) = self.flows.find(head, &when, Asked::Soon) {
                self.join.apps_joined += 1;
                return self.told.app(known.id, app);
            }
        }
        // What finds no flow in time is of no use to anybody, and not lost: eve.json still has it.
        let heard = Heard { when, heads, tuple: None, what: Box::new(app.clone()) };
        let _ = self.apps.put(heads.all(), heard, now_ns.saturating_add(WAIT_NS));
    }

    /// Gives what waits for a flow to it.
    fn greet(&mut self, record: &FlowRecord, now_ns: u64) {
        let head = self.flows.see(record);
        if !self.alerts.is_empty() {
            let flows = &mut self.flows;
            let fitting = self.alerts.take(head, |heard| flows.find(head, &heard.when, Asked::Soon).is_ok());
            for heard in fitting {
                let Ok(known) = self.flows.find(head, &heard.when, Asked::Soon) else { continue };
                let joined = Joined::new(known, heard.what.sid, heard.heads.said == Some(head));
                self.join(joined, &heard, now_ns);
            }
        }
        if !self.apps.is_empty() {
            let flows = &mut self.flows;
            let fitting = self.apps.take(head, |heard| flows.find(head, &heard.when, Asked::Soon).is_ok());
            for heard in fitting {
                let Ok(known) = self.flows.find(head, &heard.when, Asked::Soon) else { continue };
                self.join.apps_joined += 1;
                self.told.app(known.id, &heard.what);
            }
        }
    }

    /// Decides on what has waited long enough: all of it where `now_ns` is the end.
    fn give_up_waiting(&mut self, now_ns: u64, clock_ns: u64) {
        while let Some(heard) = self.alerts.pop_due(now_ns) {
            match self.look_for(&heard, Asked::Last) {
                Ok(joined) => self.join(joined, &heard, clock_ns),
                Err(Missing::Flow) => self.orphan(heard, Orphan::NoFlow),
                Err(Missing::Time) => self.orphan(heard, Orphan::OtherTime),
            }
        }
        while self.apps.pop_due(now_ns).is_some() {}
    }

    fn join(&mut self, joined: Joined, heard: &Heard<Box<EveAlert>>, now_ns: u64) {
        let alert = &heard.what;
        if joined.by_id {
            self.join.joined_by_id += 1;
        } else {
            self.join.joined_by_tuple += 1;
        }
        self.join.lag_ns = now_ns.saturating_sub(heard.when.at_ns);
        let (meaning, matched) = self.weigh(alert, joined.key.src, heard.when.at_ns);
        self.told.signature(joined.flow_id, matched.clone());
        if !joined.is_new {
            return;
        }
        self.join.worth_telling += u64::from(matched.worth >= TOLD_FROM);
        self.settle_later(alert, &joined.key, heard.when.at_ns, now_ns);
        let (src, dst) = heard.tuple.map_or((joined.key.src, joined.key.dst), |tuple| (tuple.src, tuple.dst));
        let subject = Subject::Flow { id: joined.flow_id };
        let span = (joined.start_ns.min(heard.when.at_ns), heard.when.at_ns);
        self.find(subject, joined.key, joined.flow_id, (src, dst), span, meaning, matched);
    }

    /// Tells an alert without a flow all the same: Suricata saw something.
    fn orphan(&mut self, heard: Heard<Box<EveAlert>>, why: Orphan) {
        if let Some(count) = self.join.orphans.get_mut(why as usize) {
            *count += 1;
        }
        let alert = &heard.what;
        let Some(tuple) = alert.flow.or(heard.tuple) else { return };
        let key = known::key_of(&tuple);
        let (meaning, matched) = self.weigh(alert, key.src, heard.when.at_ns);
        let (from, to) = heard.tuple.map_or((key.src, key.dst), |packet| (packet.src, packet.dst));
        // No flow of the agent's has the head of a community-id for its id: those are below 2^52.
        let id = known::head_of(&key) >> 12;
        let at_ns = heard.when.at_ns;
        self.find(Subject::Flow { id }, key, id, (from, to), (at_ns, at_ns), meaning, matched);
    }

    /// What the alert means, with what its signature is worth by now.
    fn weigh(&mut self, alert: &EveAlert, src: [u8; 16], at_ns: u64) -> (meaning::Meaning, Matched) {
        let meaning = meaning::of(alert);
        let mut worth = self.worths.of((alert.gid, alert.sid), meaning.worth);
        if worth >= TOLD_FROM && !self.reaches_threshold(alert, src, at_ns) {
            self.join.below_threshold += 1;
            worth = BELOW_THRESHOLD_WORTH;
        }
        let matched = Matched {
            gid: alert.gid,
            sid: alert.sid,
            rev: alert.rev,
            signature: Arc::from(&*alert.signature),
            category: Arc::from(&*alert.category),
            priority: alert.severity,
            worth,
            times: 1,
        };
        (meaning, matched)
    }

    /// Whether a source matched often enough, where the configuration wants more than once.
    fn reaches_threshold(&mut self, alert: &EveAlert, src: [u8; 16], at_ns: u64) -> bool {
        let Some(threshold) = self.thresholds.iter().find(|threshold| threshold.sid == alert.sid) else { return true };
        let (since_ns, matches) = self.rates.touch_or_insert(&(alert.sid, src), || (at_ns, 0));
        if at_ns > since_ns.saturating_add(threshold.secs.saturating_mul(1_000_000_000)) {
            (*since_ns, *matches) = (at_ns, 0);
        }
        *matches += 1;
        *matches >= threshold.matches
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one finding, all different")]
    fn find(
        &mut self,
        subject: Subject,
        key: FlowKey,
        flow_id: u64,
        (from, to): ([u8; 16], [u8; 16]),
        (first_ns, last_ns): (u64, u64),
        meaning: meaning::Meaning,
        matched: Matched,
    ) {
        self.stats.findings += 1;
        let worth = matched.worth;
        let reason = format!(
            "Suricata's signature {} `{}` ({}, priority {}) matched what {} sent to {} (port {})",
            matched.sid,
            matched.signature,
            if matched.category.is_empty() { "no class" } else { &matched.category },
            matched.priority,
            address(from),
            address(to),
            key.dst_port,
        );
        self.findings.push(Finding {
            witness: Witness::Signature,
            class: meaning.class,
            kind: meaning.kind,
            score: worth,
            severity: meaning::Meaning::severity(meaning.class, matched.priority, worth),
            subject,
            exemplar: key,
            exemplar_id: flow_id,
            first_ns,
            last_ns,
            reason,
            evidence: vec![Evidence {
                feature: "signature_worth",
                value: (f64::from(worth) * 1_000.0).round() / 1_000.0,
                normal_low: 0.0,
                normal_high: f64::from(TOLD_FROM),
                unit: "share",
            }],
            matched: Some(Box::new(matched)),
        });
    }

    fn settle_later(&mut self, alert: &EveAlert, key: &FlowKey, at_ns: u64, now_ns: u64) {
        if self.unsettled.len() >= UNSETTLED_MAX {
            self.unsettled.pop_front();
            self.stats.forgotten += 1;
        }
        let sid = (alert.gid, alert.sid);
        let due_ns = now_ns.saturating_add(SETTLE_NS);
        self.unsettled.push_back(Unsettled { due_ns, at_ns, sid, src: key.src, dst: key.dst });
    }

    /// Counts whether others suspected the hosts of alerts that have had their time.
    fn settle(&mut self, now_ns: u64) {
        while self.unsettled.front().is_some_and(|one| one.due_ns <= now_ns) {
            let Some(one) = self.unsettled.pop_front() else { return };
            let accused =
                |host: &[u8; 16]| self.accused.peek(host).is_some_and(|at_ns| at_ns.abs_diff(one.at_ns) <= ACCUSED_NS);
            let agreed = accused(&one.src) || accused(&one.dst);
            self.worths.count(one.sid, one.src, now_ns, agreed);
        }
    }
}

impl Detector for Signature {
    fn witness(&self) -> Witness {
        Witness::Signature
    }

    fn hear(&mut self, events: &[EveEvent], now_ns: u64) {
        for event in events {
            if let EveDetail::Alert(alert) = &event.detail {
                self.hear_alert(event, alert, now_ns);
            }
            if let Some(app) = &event.app {
                self.hear_app(event, app, now_ns);
            }
        }
    }

    fn weigh(&mut self, thresholds: &[SidThreshold]) {
        self.thresholds = thresholds.to_vec();
    }

    fn judge(&mut self, flows: &[Judged<'_>], now_ns: u64, findings: &mut Vec<Finding>) {
        self.stats.judged += flows.len() as u64;
        for flow in flows {
            self.greet(flow.record, now_ns);
        }
        self.give_up_waiting(now_ns, now_ns);
        self.settle(now_ns);
        findings.append(&mut self.findings);
    }

    fn end(&mut self, now_ns: u64) {
        self.give_up_waiting(u64::MAX, now_ns);
    }

    fn learn(&mut self, findings: &[Finding]) {
        for finding in findings {
            let speaks = match finding.witness {
                Witness::Signature | Witness::Anomaly => false,
                Witness::Classifier | Witness::Behaviour | Witness::Payload | Witness::Intel => {
                    finding.score >= TOLD_FROM && finding.severity != Severity::Info
                }
            };
            if !speaks || matches!(finding.class, Class::Benign | Class::Anomaly) {
                continue;
            }
            let host = match finding.subject {
                Subject::Target { dst } => dst,
                Subject::Source { src } | Subject::Pair { src, .. } | Subject::Service { src, .. } => src,
                Subject::Flow { .. } => finding.exemplar.src,
            };
            *self.accused.touch_or_insert(&host, || 0) = finding.last_ns;
        }
    }

    fn heed(&mut self, feedback: &[AllowEntry]) {
        self.worths.heed(feedback.iter().filter_map(|entry| entry.sid));
    }

    fn tell(&self, record: &FlowRecord, facts: &mut PayloadFacts) {
        self.told.tell(record.id, facts);
    }

    fn reads_open_features(&self) -> bool {
        false
    }

    fn stats(&self) -> DetectorStats {
        let join = JoinStats { waiting: self.alerts.len() as u64, ..self.join };
        let forgotten = self.stats.forgotten + self.flows.forgotten() + self.told.forgotten() + self.worths.forgotten();
        DetectorStats { join: Some(join), forgotten, ..self.stats }
    }

    fn state_name(&self) -> Option<&'static str> {
        Some(STATE)
    }

    fn save(&self, _now_ns: u64, out: &mut Vec<u8>) {
        self.worths.save(&mut Saver::new(out));
    }

    fn restore(&mut self, saved: &[u8], _shift: AxisShift) -> Result<(), StateError> {
        let mut saved = Saved::new(STATE, saved);
        let mut worths = std::mem::replace(&mut self.worths, Worths::new(0));
        let restored = worths.restore(&mut saved).and_then(|()| saved.end());
        self.worths = worths;
        restored
    }
}

const STATE: &str = "signature_worth/1";

/// A flow that was found for an alert.
#[derive(Clone, Copy, Debug)]
struct Joined {
    flow_id: u64,
    key: FlowKey,
    start_ns: u64,
    /// Whether the signature is new to the flow.
    is_new: bool,
    by_id: bool,
}

impl Joined {
    fn new(known: &mut Known, sid: u32, by_id: bool) -> Self {
        Self { flow_id: known.id, key: known.key, start_ns: known.start_ns, is_new: known.say(sid), by_id }
    }
}

fn when(event: &EveEvent) -> When {
    When { at_ns: event.at_ns, flow_start_ns: event.flow_start_ns, vlan: event.tuple.map_or(0, |tuple| tuple.vlan) }
}

/// The names under which an event's flow is looked for. For an ICMP error they differ: the community-id is that of the
/// flow which the error is about.
#[derive(Clone, Copy, Debug)]
struct Heads {
    said: Option<known::IdHead>,
    counted: Option<known::IdHead>,
}

impl Heads {
    fn of(event: &EveEvent) -> Self {
        Self {
            said: event.community_id.as_deref().and_then(known::head_of_text),
            counted: event.tuple.as_ref().map(|tuple| known::head_of(&known::key_of(tuple))),
        }
    }

    /// Each of them once, what Suricata says first.
    fn all(self) -> [Option<known::IdHead>; 2] {
        if self.said == self.counted { [self.said, None] } else { [self.said, self.counted] }
    }
}

fn address(bytes: [u8; 16]) -> IpAddr {
    Ipv6Addr::from(bytes).to_canonical()
}

#[cfg(test)]
mod tests;
