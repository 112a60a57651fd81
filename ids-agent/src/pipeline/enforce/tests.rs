//! Incidents on their way to the enforcer: which of them ask for a block, and what happens when it does not keep up.
#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::sync::{Condvar, Mutex};

use ids_common::block::BlockEntry;

use super::*;
use crate::{
    config::{BlockScope, BlockSeverity},
    detect::{Class, Severity, Stage, Subject, Witness, WitnessScore},
    enforce::{DryRun, EnforceError},
    fabricated::{Fabricated, key},
    flow::FlowRecord,
    http::Metrics,
    payload::PayloadFacts,
    sink::{LineQueue, Work},
};

/// An address of the documentation's, which is in no home network.
fn outside(last: u32) -> [u8; 16] {
    std::net::Ipv4Addr::from(0xcb00_7100 + last).to_ipv6_mapped().octets()
}

fn target() -> [u8; 16] {
    std::net::Ipv4Addr::new(192, 0, 2, 1).to_ipv6_mapped().octets()
}

/// A login that both ends went on with.
fn session(source: u32) -> FlowRecord {
    Fabricated::new(key(outside(source), 40_000, target(), 22, 6), 1_000).handshake().exchange(100, 100).record()
}

fn said(witness: Witness, class: Class) -> WitnessScore {
    WitnessScore { witness, class, kind: "ssh", score: 0.9 }
}

fn incident(source: u32, record: Option<FlowRecord>) -> Incident {
    let key = session(source).key;
    Incident {
        id: u64::from(source) + 1,
        stage: Stage::Opened,
        class: Class::BruteForce,
        kind: "ssh",
        score: 0.95,
        agreement: 1.0,
        severity: Severity::High,
        subject: Subject::Pair { src: key.src, dst: key.dst },
        source: Some(key.src),
        target: Some(key.dst),
        key,
        flow_id: 1,
        community_id: String::new(),
        record,
        payload: PayloadFacts::default(),
        reason: "400 logins in 60 s".to_owned(),
        evidence: Vec::new(),
        witnesses: vec![said(Witness::Behaviour, Class::BruteForce), said(Witness::Classifier, Class::BruteForce)],
        first_ns: 0,
        last_ns: 0,
        suppressed: 0,
        flows: 400,
        matched: smallvec::SmallVec::new(),
        exhibit: None,
    }
}

fn settings() -> EnforceSettings {
    EnforceSettings { enabled: true, min_witnesses: 2, hosts_share_max: 1.0, ..EnforceSettings::default() }
}

#[test]
fn an_incident_asks_for_a_block_where_all_that_the_settings_want_is_there() {
    let asked = |incident: &Incident, settings: &EnforceSettings| match propose(incident, settings) {
        Proposed::Nothing => "nothing",
        Proposed::Unproven(_) => "unproven",
        Proposed::Block(proposal) if proposal.target.is_some() => "pair",
        Proposed::Block(_) => "source",
    };
    let whole = incident(9, Some(session(9)));
    assert_eq!(asked(&whole, &settings()), "source");
    assert_eq!(asked(&whole, &EnforceSettings { scope: BlockScope::Pair, ..settings() }), "pair");
    assert_eq!(asked(&Incident { severity: Severity::Medium, ..whole.clone() }, &settings()), "nothing");
    let lenient = EnforceSettings { min_severity: BlockSeverity::Medium, ..settings() };
    assert_eq!(asked(&Incident { severity: Severity::Medium, ..whole.clone() }, &lenient), "source");
    assert_eq!(asked(&Incident { score: 0.89, ..whole.clone() }, &settings()), "nothing");
    assert_eq!(asked(&Incident { class: Class::PortScan, ..whole.clone() }, &settings()), "nothing");
    assert_eq!(asked(&Incident { source: None, ..whole.clone() }, &settings()), "nothing");
    // The same witness twice is one, and one that speaks of something else is none.
    let alone = vec![said(Witness::Behaviour, Class::BruteForce), said(Witness::Behaviour, Class::BruteForce)];
    assert_eq!(asked(&Incident { witnesses: alone, ..whole.clone() }, &settings()), "nothing");
    let other = vec![said(Witness::Behaviour, Class::BruteForce), said(Witness::Anomaly, Class::Anomaly)];
    assert_eq!(asked(&Incident { witnesses: other, ..whole.clone() }, &settings()), "nothing");
    // Nothing shows that the source is who it says.
    assert_eq!(asked(&incident(9, None), &settings()), "unproven");
    let half_open = Fabricated::new(session(9).key, 1_000).syn().record();
    assert_eq!(asked(&incident(9, Some(half_open)), &settings()), "unproven");
    assert_eq!(asked(&incident(9, Some(session(8))), &settings()), "unproven", "another's connection proves nothing");
}

/// Holds every block up until it is let go.
#[derive(Clone, Default)]
struct Gate {
    open: Arc<(Mutex<bool>, Condvar)>,
}

impl Gate {
    fn wait(&self) {
        let (open, changed) = &*self.open;
        drop(changed.wait_while(open.lock().unwrap(), |open| !*open).unwrap());
    }

    fn open(&self) {
        let (open, changed) = &*self.open;
        *open.lock().unwrap() = true;
        changed.notify_all();
    }
}

struct Slow {
    gate: Gate,
    inner: DryRun,
}

impl Enforcer for Slow {
    fn put(&mut self, key: &BlockKey, entry: &BlockEntry) -> Result<(), EnforceError> {
        self.gate.wait();
        self.inner.put(key, entry)
    }

    fn remove(&mut self, key: &BlockKey) -> Result<Option<BlockEntry>, EnforceError> {
        self.inner.remove(key)
    }

    fn entries(&self) -> Result<Vec<(BlockKey, BlockEntry)>, EnforceError> {
        self.inner.entries()
    }
}

/// Remembers how often it was told that blocks are refused.
#[derive(Default)]
struct Mute {
    refused: u32,
}

impl Consumer for Mute {
    fn incident(&mut self, _incident: &Incident) {}

    fn verdict(&mut self, _verdict: &Verdict) {}

    fn blocking_refused(&mut self, _at_ns: u64, waiting_max: usize) {
        assert_eq!(waiting_max, ASKS_MAX);
        self.refused += 1;
    }
}

#[test]
fn an_enforcer_that_does_not_keep_up_refuses_new_blocks_and_says_so_and_the_engine_never_waits() {
    const INCIDENTS: u32 = ASKS_MAX as u32 + 50;
    let gate = Gate::default();
    let queue = Arc::new(LineQueue::new(4_096, crate::sink::Overflow::DropLeast));
    let audit = Outlet { sink: "blocks", queue: Arc::clone(&queue) };
    let metrics = Metrics::new().unwrap();
    let parts = EnforceParts {
        settings: EnforceSettings { entries_max: 4_096, never: vec!["203.0.113.0/32".parse().unwrap()], ..settings() },
        home: Vec::new(),
        enforcer: Box::new(Slow { gate: gate.clone(), inner: DryRun::default() }),
        effect: Effect::Real,
        at_stop: AtStop::Leave,
        audit,
        metrics: metrics.enforcement().unwrap(),
        hash_seed: 3,
    };
    let enforcement = Enforcement::start(parts, &Roster::default()).unwrap();
    let (mut mute, handle) = (Mute::default(), enforcement.handle());
    let mut enforced = enforcement.around(&mut mute);
    handle.shared.hosts.store(10_000, Ordering::Relaxed);
    for source in 1..=INCIDENTS {
        enforced.incident(&incident(source, Some(session(source))));
    }
    assert!(handle.order(Order::List).is_none(), "people are told to ask again");
    drop(enforced);
    gate.open();
    enforcement.finish();
    assert_eq!(mute.refused, 1, "one alert, not one for each");

    queue.close();
    let (mut actions, mut lines) = (std::collections::BTreeMap::<String, u32>::new(), Vec::new());
    while queue.take(&mut lines, 256) == Work::Lines {
        for line in lines.drain(..) {
            let line: serde_json::Value = serde_json::from_slice(&line.bytes).unwrap();
            let what = line["refused"].as_str().unwrap_or(line["action"].as_str().unwrap()).to_owned();
            *actions.entry(what).or_default() += 1;
        }
        queue.settle(&crate::sink::Delivery::default());
    }
    let (added, refused) = (actions["add"], actions["queue_full"]);
    assert_eq!(added + refused, INCIDENTS, "each is blocked or refused by name: {actions:?}");
    // One more than the queue holds is in the enforcer's hands.
    assert!((1..=ASKS_MAX as u32 + 1).contains(&added) && refused >= INCIDENTS - ASKS_MAX as u32 - 1, "{actions:?}");
    let page = metrics.render().unwrap();
    assert!(page.contains(&format!("ids_block_refused_total{{reason=\"queue_full\"}} {refused}")), "{page}");
}
