//! The intelligence witness: addresses, names, pages and fingerprints that somebody's feed names as bad.
//!
//! Pure: the edge reads the feeds and puts them on the shelf. What is merely suspicious is counted and never told.

use std::sync::{
    Arc, PoisonError, RwLock,
    atomic::{AtomicU64, Ordering},
};

use ids_common::wire;

use super::{Class, Detector, DetectorStats, Evidence, Finding, Judged, Severity, Subject, Witness};
use crate::{bounded::BoundedMap, config::Category, flow::FlowRecord, payload::PayloadFacts};

mod indicator;
mod ranges;
mod segment;
mod shared;
mod store;
#[cfg(test)]
mod tests;

pub use indicator::{Indicator, Kind, Unfit, mapped};
pub use segment::{Census, Fingerprints, Segment, SegmentBuilder, Tag};
pub use store::{Allowed, Hit, Store};

/// Open flows of which is remembered what was looked up already.
const FLOWS_MAX: usize = 16_384;
/// Pairs of host and indicator that were told lately, where a hit is mere information.
const TOLD_MAX: usize = 4_096;
/// Such a pair is told again after so long.
const TOLD_AGAIN_NS: u64 = 3_600 * 1_000_000_000;
/// Below this a hit is not told at all.
const CONFIDENCE_TOLD: f32 = 0.2;
/// From here on a hit says what the flow is; below it is information.
const CONFIDENCE_NAMED: f32 = 0.5;
const CONFIDENCE_MEDIUM: f32 = 0.6;
const CONFIDENCE_HIGH: f32 = 0.8;
/// What is left of a hit on an address when the flow names a host that no feed lists, and of one on who knocks.
const CONFIDENCE_UNDER_A_NAME: f32 = 0.3;

/// Where the store in force lies: the edge puts a fresh one there, the witness takes it.
#[derive(Debug)]
pub struct Shelf {
    store: RwLock<Arc<Store>>,
    generation: AtomicU64,
    hits: [[AtomicU64; Kind::ALL.len()]; Category::ALL.len()],
}

impl Shelf {
    pub fn new(store: Store) -> Self {
        Self { store: RwLock::new(Arc::new(store)), generation: AtomicU64::new(0), hits: Default::default() }
    }

    /// The old store goes when the last who looks something up lets go of it.
    pub fn put(&self, store: Store) {
        *self.store.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(store);
        self.generation.fetch_add(1, Ordering::Relaxed);
    }

    pub fn store(&self) -> Arc<Store> {
        Arc::clone(&self.store.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Hits so far by category and kind of indicator, those that were not told included.
    pub fn hits(&self) -> impl Iterator<Item = (Category, Kind, u64)> + '_ {
        Category::ALL.into_iter().zip(&self.hits).flat_map(|(category, kinds)| {
            Kind::ALL.into_iter().zip(kinds).map(move |(kind, hits)| (category, kind, hits.load(Ordering::Relaxed)))
        })
    }

    fn count(&self, hit: &Hit) {
        let place = self.hits.get(hit.tag.category as usize).and_then(|kinds| kinds.get(hit.kind.index()));
        if let Some(place) = place {
            place.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// How a flow comes to touch an indicator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Touch {
    /// It goes to the address.
    Reaches,
    /// It comes from the address.
    ComesFrom,
    Asks,
    Names,
    Fetches,
    Greets,
}

/// What a flow says of the host it goes to. Thousands of names share the addresses of content networks, and a feed that
/// lists one of those addresses means one of the names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Naming {
    /// Nothing, or an address, or a name that is listed itself.
    Silent,
    /// A name that no feed lists.
    Unlisted,
    /// A name of a service that everybody uses.
    Shared,
}

impl Naming {
    fn of(store: &Store, payload: &PayloadFacts) -> Self {
        let sni = payload.tls.as_ref().and_then(|tls| tls.sni.as_deref());
        let host = payload.http.as_ref().and_then(|http| http.host.as_deref());
        let Some(name) = sni.or(host).map(|name| name.split(':').next().unwrap_or(name)) else { return Self::Silent };
        match Indicator::parse(name) {
            _ if shared::is_below_parent(&name.to_ascii_lowercase()) => Self::Shared,
            Ok(Indicator::Domain(name)) if store.domain(&name).is_none() => Self::Unlisted,
            _ => Self::Silent,
        }
    }
}

/// What of a flow was looked up already.
#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    generation: u64,
    /// Looks before this one.
    looks: u8,
    addresses: bool,
    /// Questions looked up.
    questions: u8,
    sni: bool,
    http: bool,
    tls: bool,
}

/// The intelligence witness.
#[derive(Debug)]
pub struct Intel {
    shelf: Arc<Shelf>,
    flows: BoundedMap<u64, Mark>,
    told: BoundedMap<([u8; 16], String), u64>,
    /// Added to the engine's time it gives nanoseconds since the Unix epoch.
    epoch_offset_ns: u64,
    stats: DetectorStats,
}

impl Intel {
    /// `hash_seed` keys its tables: a secret where traffic is live.
    pub fn new(shelf: Arc<Shelf>, epoch_offset_ns: u64, hash_seed: u64) -> Self {
        Self {
            shelf,
            flows: BoundedMap::new(FLOWS_MAX, hash_seed),
            told: BoundedMap::new(TOLD_MAX, hash_seed.rotate_left(11)),
            epoch_offset_ns,
            stats: DetectorStats::default(),
        }
    }

    fn see(&mut self, store: &Store, generation: u64, judged: &Judged<'_>, now_ns: u64, findings: &mut Vec<Finding>) {
        let (record, payload) = (judged.record, judged.payload);
        let mut mark = self.flows.peek(&record.id).copied().unwrap_or_default();
        if mark.generation != generation {
            mark = Mark { generation, looks: mark.looks, ..Mark::default() };
        }
        let naming = Naming::of(store, payload);
        for (touch, hit) in look_up(store, record, payload, naming, &mut mark) {
            self.shelf.count(&hit);
            match self.judge_hit(touch, &hit, naming, record, now_ns) {
                Some(finding) => findings.push(finding),
                None => self.stats.abstained += 1,
            }
        }
        if record.is_ended() {
            self.flows.remove(&record.id);
        } else {
            *self.flows.touch_or_insert(&record.id, || mark) = mark;
        }
    }

    fn judge_hit(
        &mut self,
        touch: Touch,
        hit: &Hit,
        naming: Naming,
        record: &FlowRecord,
        now_ns: u64,
    ) -> Option<Finding> {
        let confidence = match (touch, naming) {
            (Touch::Reaches | Touch::ComesFrom, Naming::Unlisted) => hit.confidence().min(CONFIDENCE_UNDER_A_NAME),
            (Touch::Reaches | Touch::ComesFrom, Naming::Shared) => return None,
            (_, _) => hit.confidence(),
        };
        if confidence < CONFIDENCE_TOLD || hit.tag.category == Category::Suspicious {
            return None;
        }
        let (class, kind, severity) = taken_for(touch, hit, record, confidence)?;
        if severity == Severity::Info && !self.is_news(record, hit) {
            return None;
        }
        let inbound = touch == Touch::ComesFrom;
        let key = &record.key;
        let age_secs =
            (now_ns.saturating_add(self.epoch_offset_ns) / 1_000_000_000).saturating_sub(hit.feed.modified_unix_secs());
        let age_days = age_secs as f64 / 86_400.0;
        Some(Finding {
            witness: Witness::Intel,
            class,
            kind,
            // Whoever knocks is noted on the flow; it takes another witness, or several flows, to tell of it.
            score: if inbound && severity == Severity::Info {
                confidence.min(CONFIDENCE_UNDER_A_NAME)
            } else {
                confidence
            },
            severity,
            subject: Subject::Flow { id: record.id },
            exemplar: *key,
            exemplar_id: record.id,
            first_ns: record.start_ns,
            last_ns: record.end_ns,
            reason: reason(touch, hit, record, age_days),
            evidence: vec![
                Evidence {
                    feature: "feed_confidence",
                    value: f64::from(confidence),
                    normal_low: 0.0,
                    normal_high: 0.0,
                    unit: "share",
                },
                Evidence { feature: "feed_age", value: age_days, normal_low: 0.0, normal_high: 2.0, unit: "days" },
            ],
            matched: None,
        })
    }

    /// Whether this host and indicator were not told within the hour.
    fn is_news(&mut self, record: &FlowRecord, hit: &Hit) -> bool {
        let at_ns = record.end_ns;
        let key = (record.key.src, hit.indicator.clone());
        if let Some(told_ns) = self.told.peek_mut(&key) {
            let news = told_ns.saturating_add(TOLD_AGAIN_NS) <= at_ns;
            if news {
                *told_ns = at_ns;
            }
            return news;
        }
        self.told.touch_or_insert(&key, || at_ns);
        true
    }
}

impl Detector for Intel {
    fn witness(&self) -> Witness {
        Witness::Intel
    }

    fn judge(&mut self, flows: &[Judged<'_>], now_ns: u64, findings: &mut Vec<Finding>) {
        if flows.is_empty() {
            return;
        }
        let generation = self.shelf.generation.load(Ordering::Relaxed);
        let store = self.shelf.store();
        let before = findings.len();
        for judged in flows {
            self.see(&store, generation, judged, now_ns, findings);
        }
        self.stats.judged += flows.len() as u64;
        self.stats.findings += (findings.len() - before) as u64;
    }

    fn reads_open_features(&self) -> bool {
        false
    }

    fn stats(&self) -> DetectorStats {
        DetectorStats { forgotten: self.flows.evicted() + self.told.evicted(), ..self.stats }
    }
}

/// Looks up what is new about a flow.
fn look_up(
    store: &Store,
    record: &FlowRecord,
    payload: &PayloadFacts,
    naming: Naming,
    mark: &mut Mark,
) -> Vec<(Touch, Hit)> {
    let key = &record.key;
    let mut hits = Vec::new();
    let mut add = |touch, hit: Option<Hit>| hits.extend(hit.map(|hit| (touch, hit)));
    // A connection may say on its second look which host it goes to.
    let ripe = key.proto != wire::PROTO_TCP || naming != Naming::Silent || mark.looks > 0 || record.is_ended();
    mark.looks = mark.looks.saturating_add(1);
    if ripe && !std::mem::replace(&mut mark.addresses, true) {
        let has_ports = matches!(key.proto, wire::PROTO_TCP | wire::PROTO_UDP) && !key.is_later_fragment();
        add(Touch::Reaches, store.address(key.dst, has_ports.then_some(key.dst_port)));
        add(Touch::ComesFrom, store.address(key.src, has_ports.then_some(key.src_port)));
    }
    if let Some(dns) = &payload.dns {
        for question in dns.questions.iter().skip(usize::from(mark.questions)) {
            add(Touch::Asks, store.domain(&question.name));
        }
        mark.questions = u8::try_from(dns.questions.len()).unwrap_or(u8::MAX);
    }
    if let Some(tls) = &payload.tls {
        if let Some(sni) = tls.sni.as_deref()
            && !std::mem::replace(&mut mark.sni, true)
        {
            add(Touch::Names, store.domain(sni));
        }
        if let Some(ja4) = tls.ja4.as_deref()
            && !std::mem::replace(&mut mark.tls, true)
        {
            add(Touch::Greets, store.ja4(ja4));
            add(Touch::Greets, tls.ja3.as_deref().and_then(|ja3| store.ja3(ja3)));
        }
    }
    if let Some(http) = &payload.http
        && let Some(host) = http.host.as_deref()
        && !std::mem::replace(&mut mark.http, true)
    {
        let page = http.path.as_deref().and_then(|path| store.url(host, key.dst_port, path));
        let name = host.split(':').next().unwrap_or(host);
        match page {
            Some(hit) => add(Touch::Fetches, Some(hit)),
            None => add(Touch::Names, store.domain(name)),
        }
    }
    hits
}

/// What a hit makes of the flow, if it is worth telling.
fn taken_for(touch: Touch, hit: &Hit, record: &FlowRecord, confidence: f32) -> Option<(Class, &'static str, Severity)> {
    let grave = match confidence {
        sure if sure >= CONFIDENCE_HIGH => Severity::High,
        likely if likely >= CONFIDENCE_MEDIUM => Severity::Medium,
        _ => Severity::Low,
    };
    let kind = match touch {
        Touch::Reaches | Touch::ComesFrom => "known_address",
        Touch::Asks | Touch::Names => "known_domain",
        Touch::Fetches => "known_url",
        Touch::Greets => "known_fingerprint",
    };
    // Whoever is listed may knock at every door: that makes no door a part of it. A service that
    // answers from a listed port is what the list is about, whoever was seen to begin.
    let inbound = touch == Touch::ComesFrom && hit.kind != Kind::AddressPort;
    match hit.tag.category {
        Category::Malware | Category::Malicious | Category::Phishing if !inbound && confidence >= CONFIDENCE_NAMED => {
            Some((Class::C2, kind, grave))
        }
        Category::Malware | Category::Malicious | Category::Phishing | Category::Reputation => {
            Some((Class::Anomaly, "listed", Severity::Info))
        }
        Category::Tor => Some((Class::Anomaly, "tor", Severity::Info)),
        Category::Scanner if inbound && !converses(record) => Some((Class::PortScan, "listed_scanner", Severity::Info)),
        Category::Scanner | Category::Suspicious => None,
    }
}

/// Payload went both ways: whatever else the peer does, this was a visit.
fn converses(record: &FlowRecord) -> bool {
    record.forward.payload_bytes > 0 && record.backward.as_ref().is_some_and(|slot| slot.payload_bytes > 0)
}

fn reason(touch: Touch, hit: &Hit, record: &FlowRecord, age_days: f64) -> String {
    let source = shown(record.key.src);
    let listed = match (hit.tag.category.name(), &*hit.tag.label) {
        (category, "") => category.to_owned(),
        (category, label) => format!("{category} ({label})"),
    };
    let indicator = &hit.indicator;
    let did = match touch {
        Touch::Reaches => format!("{source} connects to {}, and {indicator}", shown(record.key.dst)),
        Touch::ComesFrom => format!("{} hears from {source}, and {indicator}", shown(record.key.dst)),
        Touch::Asks => format!("{source} asks for a name at or below {indicator}, which"),
        Touch::Names => format!("{source} talks to a host named at or below {indicator}, which"),
        Touch::Fetches => format!("{source} fetches a page at or below {indicator}, which"),
        Touch::Greets => format!("{source} greets with the TLS fingerprint {indicator}, which"),
    };
    let age = match age_days {
        days if days < 1.0 => "less than a day old".to_owned(),
        days => format!("{days:.0} days old"),
    };
    format!("{did} is listed as {listed} by feed {}, {age}", hit.feed.name())
}

fn shown(address: [u8; 16]) -> String {
    std::net::Ipv6Addr::from(address).to_canonical().to_string()
}
