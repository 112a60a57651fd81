//! Bounded per-host windows: what the hosts of a flow did around the time of the flow.
//!
//! Time is the packets' own. Each host's past two minutes are kept in buckets of five seconds, as
//! source and as target apart; `_10s` looks at the flow's bucket and the two before it, `_60s` at
//! the twelve before it, so they span 10 to 15 and 60 to 65 seconds. A flow's bucket is that of its
//! last packet so far; what happens later in the same bucket counts too once it is known, so an ended flow is
//! described by all of its surroundings, whatever the tick.

use std::hash::BuildHasher;

use foldhash::quality::FixedState;
use ids_common::{flow::FlowKey, wire};

use crate::{
    bounded::{BoundedMap, Place},
    config::WindowSettings,
    flow::{FlowRecord, FlowState},
    payload::{Login, Spoken},
};

pub mod distinct;
mod history;
#[cfg(test)]
mod tests;

use history::{Bucket, History, ServiceBucket, ServiceHistory, Window};

macro_rules! window_facts {
    ($($name:ident, $unit:literal, $low:literal, $high:literal, $doc:literal;)*) => {
        /// What is known of a flow's source, target and service around its time.
        #[derive(Clone, Copy, Debug, Default, PartialEq)]
        pub struct WindowFacts {
            $(#[doc = $doc] pub $name: f32,)*
        }

        impl WindowFacts {
            pub const COUNT: usize = [$(stringify!($name),)*].len();
            pub const NAMES: [&'static str; Self::COUNT] = [$(stringify!($name),)*];
            /// Name, unit, range and formula of each value, in the order of `values`.
            pub const SPECS: [WindowSpec; Self::COUNT] = [
                $(WindowSpec { name: stringify!($name), unit: $unit, low: $low, high: $high, doc: $doc },)*
            ];

            pub const fn values(&self) -> [f32; Self::COUNT] {
                [$(self.$name,)*]
            }
        }
    };
}

/// Describes one window value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WindowSpec {
    pub name: &'static str,
    pub unit: &'static str,
    pub low: f32,
    pub high: f32,
    pub doc: &'static str,
}

window_facts! {
    src_flows_10s, "flows", 0.0, 1e6, "flows that the source began";
    src_flows_60s, "flows", 0.0, 1e6, "flows that the source began";
    src_peers_10s, "hosts", 0.0, 2e3, "distinct targets of the source";
    src_peers_60s, "hosts", 0.0, 2e3, "distinct targets of the source";
    src_ports_10s, "ports", 0.0, 2e3, "distinct target ports of the source";
    src_ports_60s, "ports", 0.0, 2e3, "distinct target ports of the source";
    src_unanswered_10s, "share", 0.0, 1.0, "share of the source's flows without any packet back";
    src_unanswered_60s, "share", 0.0, 1.0, "share of the source's flows without any packet back";
    src_refused_10s, "share", 0.0, 1.0, "share of the source's flows answered by RST before any payload";
    src_refused_60s, "share", 0.0, 1.0, "share of the source's flows answered by RST before any payload";
    src_syn_only_10s, "share", 0.0, 1.0, "share of the source's flows in which it sent SYN and nothing but SYN or RST";
    src_empty_60s, "share", 0.0, 1.0, "share of the source's flows without payload in either direction";
    src_packets_10s, "packets", 0.0, 1e8, "packets that the source sent in flows it began";
    src_bytes_per_flow_60s, "bytes", 0.0, 1e9, "bytes the source sent, per flow it began";
    dst_flows_10s, "flows", 0.0, 1e6, "flows begun towards the target";
    dst_flows_60s, "flows", 0.0, 1e6, "flows begun towards the target";
    dst_sources_10s, "hosts", 0.0, 2e3, "distinct sources of flows towards the target";
    dst_sources_60s, "hosts", 0.0, 2e3, "distinct sources of flows towards the target";
    dst_ports_10s, "ports", 0.0, 2e3, "distinct ports tried on the target";
    dst_ports_60s, "ports", 0.0, 2e3, "distinct ports tried on the target";
    dst_unanswered_10s, "share", 0.0, 1.0, "share of flows towards the target without any packet back";
    dst_unanswered_60s, "share", 0.0, 1.0, "share of flows towards the target without any packet back";
    dst_syn_only_10s, "share", 0.0, 1.0, "share of flows towards the target with nothing but SYN or RST from their source";
    dst_empty_60s, "share", 0.0, 1.0, "share of flows towards the target without payload in either direction";
    dst_packets_10s, "packets", 0.0, 1e8, "packets sent to the target in flows begun towards it";
    dst_bytes_per_flow_60s, "bytes", 0.0, 1e9, "bytes sent to the target, per flow begun towards it";
    pair_flows_10s, "flows", 0.0, 1e6, "flows from this source to this target";
    pair_flows_60s, "flows", 0.0, 1e6, "flows from this source to this target";
    pair_ports_10s, "ports", 0.0, 2e3, "distinct ports this source tried on this target";
    pair_ports_60s, "ports", 0.0, 2e3, "distinct ports this source tried on this target";
    pair_unanswered_60s, "share", 0.0, 1.0, "share of flows from this source to this target without any packet back";
    service_flows_10s, "flows", 0.0, 1e6, "flows from this source to this port of this target";
    service_flows_60s, "flows", 0.0, 1e6, "flows from this source to this port of this target";
    service_login_60s, "flows", 0.0, 1e6, "those of them to a service that asks for a login";
    service_failed_logins_60s, "flows", 0.0, 1e6, "those of them in which a login in clear was seen to fail";
    service_open, "flows", 0.0, 1e6, "flows from this source to this port of this target that were answered and have not ended";
    service_size_spread_60s, "ratio", 0.0, 10.0, "standard deviation over mean of the source's bytes in those that ended; 0 for fewer than two";
    service_secs_60s, "s", 0.0, 3600.0, "mean duration of those that ended, at most an hour";
}

/// Length of a bucket. Both horizons are multiples of it.
const BUCKET_NS: u64 = 5_000_000_000;
/// Buckets before the flow's own that belong to the short and to the long window.
const SHORT: u32 = 2;
const LONG: u32 = 12;
/// Flows of one host per host of the bound: a mark per live flow keeps what was counted already.
const MARKS_PER_HOST: usize = 8;
/// Flows whose places in the tables are remembered from counting them to asking about them.
const RECENT: usize = 2_048;

/// The windows of all hosts. Bounded; the idlest host goes first, counted.
#[derive(Debug)]
pub struct HostWindows {
    sources: BoundedMap<[u8; 16], History>,
    targets: BoundedMap<[u8; 16], History>,
    pairs: BoundedMap<Pair, History>,
    services: BoundedMap<Service, ServiceHistory>,
    marks: BoundedMap<u64, Mark>,
    /// Flows counted last with their places, by the low bits of the flow's id.
    recent: Vec<(u64, Places)>,
    hasher: FixedState,
}

/// Where a flow's hosts, pair and service were last found. Hints: they may have gone since.
#[derive(Clone, Copy, Debug)]
struct Places {
    source: Place,
    target: Place,
    pair: Place,
    service: Place,
}

impl Places {
    const NOWHERE: Self =
        Self { source: Place::NOWHERE, target: Place::NOWHERE, pair: Place::NOWHERE, service: Place::NOWHERE };
}

type Pair = ([u8; 16], [u8; 16]);
type Service = ([u8; 16], [u8; 16], u16, u8);

/// What was counted of a live flow already, and in which bucket its beginning stands.
#[derive(Clone, Copy, Debug)]
struct Mark {
    places: Places,
    tick: u32,
    traits: Traits,
    login: bool,
    failed_login: bool,
    packets: u64,
    bytes: u64,
}

/// What a flow looks like so far. Each can change with its next packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Traits {
    unanswered: bool,
    refused: bool,
    syn_only: bool,
    empty: bool,
}

/// Running totals of `HostWindows`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WindowStats {
    pub sources: u64,
    pub targets: u64,
    pub pairs: u64,
    pub services: u64,
    /// Entries that had to go before their time.
    pub sources_evicted: u64,
    pub targets_evicted: u64,
    pub pairs_evicted: u64,
    pub services_evicted: u64,
    /// Flows whose mark was lost, so that they may count twice.
    pub marks_evicted: u64,
}

impl HostWindows {
    pub fn new(settings: &WindowSettings) -> Self {
        let seed = settings.hash_seed;
        Self {
            sources: BoundedMap::new(settings.hosts_max, seed),
            targets: BoundedMap::new(settings.hosts_max, seed),
            pairs: BoundedMap::new(settings.services_max, seed),
            services: BoundedMap::new(settings.services_max, seed),
            marks: BoundedMap::new(settings.hosts_max.saturating_mul(MARKS_PER_HOST), seed),
            recent: vec![(u64::MAX, Places::NOWHERE); RECENT],
            hasher: FixedState::with_seed(seed.rotate_left(32) ^ 0x6a09_e667_f3bc_c908),
        }
    }

    /// Remembers so many halves less than the settings say.
    pub fn halve(&mut self, halvings: u8) {
        self.sources.halve(halvings);
        self.targets.halve(halvings);
        self.pairs.halve(halvings);
        self.services.halve(halvings);
        self.marks.halve(halvings);
    }

    /// Counts what is new in a record since it was last seen.
    pub fn observe(&mut self, record: &FlowRecord, spoken: Spoken) {
        let ended = matches!(record.state, FlowState::Ended(_));
        let traits = Traits::of(record);
        let login = spoken.app.has_login() || spoken.login != Login::None || is_login_port(&record.key);
        let place = self.marks.place(&record.id);
        let before = place.and_then(|place| self.marks.at(place)).copied();
        let mut now = Mark {
            places: before.map_or(Places::NOWHERE, |before| before.places),
            tick: before.map_or_else(|| tick_of(record.start_ns), |before| before.tick),
            traits,
            login,
            failed_login: spoken.login == Login::Failed,
            packets: record.forward.packets,
            bytes: record.forward.bytes,
        };
        now.places = match &before {
            None => self.begin(record, &now),
            Some(before) => self.amend(record, before, &now),
        };
        if ended {
            self.end(record, &now);
            place.map(|place| self.marks.remove_at(place));
        } else {
            let (_, mark) = self.marks.touch_or_insert_near(place.unwrap_or(Place::NOWHERE), &record.id, || now);
            *mark = now;
        }
        if let Some(recent) = self.recent.get_mut(record.id as usize % RECENT) {
            *recent = (record.id, now.places);
        }
    }

    /// First sight of a flow.
    fn begin(&mut self, record: &FlowRecord, now: &Mark) -> Places {
        let key = &record.key;
        let end_tick = tick_of(record.end_ns);
        let port_hash = has_ports(key).then(|| self.hasher.hash_one((key.proto, key.dst_port)));
        let (src_hash, dst_hash) = (self.hasher.hash_one(key.src), self.hasher.hash_one(key.dst));

        let count = |history: &mut History, peer: Option<u64>| {
            history.change(now.tick, |bucket| {
                bucket.flows += 1;
                bucket.add_traits(Traits::default(), now.traits);
                if end_tick == now.tick {
                    bucket.add_volume(now.packets, now.bytes);
                }
            });
            if let Some(hash) = peer {
                history.peers.insert(hash, now.tick);
            }
            if let Some(hash) = port_hash {
                history.ports.insert(hash, now.tick);
            }
            if end_tick != now.tick {
                history.change(end_tick, |bucket| bucket.add_volume(now.packets, now.bytes));
            }
        };
        let hint = Place::NOWHERE;
        let (source, history) = self.sources.touch_or_insert_near(hint, &key.src, History::default);
        count(history, Some(dst_hash));
        let (target, history) = self.targets.touch_or_insert_near(hint, &key.dst, History::default);
        count(history, Some(src_hash));
        let (pair, history) = self.pairs.touch_or_insert_near(hint, &(key.src, key.dst), History::default);
        count(history, None);

        let (service, history) = self.services.touch_or_insert_near(hint, &service_of(key), ServiceHistory::default);
        history.open += u32::from(!now.traits.unanswered);
        history.change(now.tick, |bucket| {
            bucket.flows += 1;
            bucket.logins += u32::from(now.login);
            bucket.failed_logins += u32::from(now.failed_login);
        });
        Places { source, target, pair, service }
    }

    /// A flow seen before: its beginning is judged anew, its growth counts where it ends by now.
    fn amend(&mut self, record: &FlowRecord, before: &Mark, now: &Mark) -> Places {
        let key = &record.key;
        let places = self.places(now.places, key);
        let packets = now.packets.saturating_sub(before.packets);
        let bytes = now.bytes.saturating_sub(before.bytes);
        let count = |history: Option<&mut History>| {
            let Some(history) = history else { return };
            if before.traits != now.traits {
                history.change(now.tick, |bucket| bucket.add_traits(before.traits, now.traits));
            }
            if packets > 0 {
                history.change(tick_of(record.end_ns), |bucket| bucket.add_volume(packets, bytes));
            }
        };
        count(self.sources.at_mut(places.source));
        count(self.targets.at_mut(places.target));
        count(self.pairs.at_mut(places.pair));

        if let Some(service) = self.services.at_mut(places.service) {
            service.open += u32::from(before.traits.unanswered && !now.traits.unanswered);
            let logins = u32::from(now.login && !before.login);
            let failed = u32::from(now.failed_login && !before.failed_login);
            if logins + failed > 0 {
                service.change(now.tick, |bucket| {
                    bucket.logins += logins;
                    bucket.failed_logins += failed;
                });
            }
        }
        places
    }

    fn end(&mut self, record: &FlowRecord, now: &Mark) {
        let Some(service) = self.services.at_mut(now.places.service) else { return };
        service.open = service.open.saturating_sub(u32::from(!now.traits.unanswered));
        let secs = record.end_ns.saturating_sub(record.start_ns) as f64 / 1e9;
        service.change(tick_of(record.end_ns), |bucket| bucket.add_ended(record.forward.bytes as f64, secs));
    }

    /// Where a flow's entries stand now; nowhere for those that have gone.
    fn places(&self, hints: Places, key: &FlowKey) -> Places {
        let or_nowhere = |place: Option<Place>| place.unwrap_or(Place::NOWHERE);
        Places {
            source: or_nowhere(self.sources.place_near(hints.source, &key.src)),
            target: or_nowhere(self.targets.place_near(hints.target, &key.dst)),
            pair: or_nowhere(self.pairs.place_near(hints.pair, &(key.src, key.dst))),
            service: or_nowhere(self.services.place_near(hints.service, &service_of(key))),
        }
    }

    /// The windows around a flow's time. A host that is not remembered counts as seen just once.
    pub fn facts(&self, record: &FlowRecord) -> WindowFacts {
        let key = &record.key;
        let tick = tick_of(record.end_ns);
        let recent = self.recent.get(record.id as usize % RECENT).filter(|(id, _)| *id == record.id);
        let places = self.places(recent.map_or(Places::NOWHERE, |(_, places)| *places), key);
        let windows = |history: Option<&History>| match history {
            Some(history) => history.windows(tick),
            None => [alone(record); 2],
        };
        let [src_10, src_60] = windows(self.sources.at(places.source));
        let [dst_10, dst_60] = windows(self.targets.at(places.target));
        let [pair_10, pair_60] = windows(self.pairs.at(places.pair));
        let service = self.services.at(places.service);
        let (service_flows_10s, service_60) =
            service.map_or_else(|| (1, ServiceBucket::one()), |service| service.windows(tick));
        WindowFacts {
            src_flows_10s: src_10.flows(),
            src_flows_60s: src_60.flows(),
            src_peers_10s: src_10.peers,
            src_peers_60s: src_60.peers,
            src_ports_10s: src_10.ports,
            src_ports_60s: src_60.ports,
            src_unanswered_10s: src_10.share(src_10.sums.unanswered),
            src_unanswered_60s: src_60.share(src_60.sums.unanswered),
            src_refused_10s: src_10.share(src_10.sums.refused),
            src_refused_60s: src_60.share(src_60.sums.refused),
            src_syn_only_10s: src_10.share(src_10.sums.syn_only),
            src_empty_60s: src_60.share(src_60.sums.empty),
            src_packets_10s: src_10.packets(),
            src_bytes_per_flow_60s: src_60.bytes_per_flow(),
            dst_flows_10s: dst_10.flows(),
            dst_flows_60s: dst_60.flows(),
            dst_sources_10s: dst_10.peers,
            dst_sources_60s: dst_60.peers,
            dst_ports_10s: dst_10.ports,
            dst_ports_60s: dst_60.ports,
            dst_unanswered_10s: dst_10.share(dst_10.sums.unanswered),
            dst_unanswered_60s: dst_60.share(dst_60.sums.unanswered),
            dst_syn_only_10s: dst_10.share(dst_10.sums.syn_only),
            dst_empty_60s: dst_60.share(dst_60.sums.empty),
            dst_packets_10s: dst_10.packets(),
            dst_bytes_per_flow_60s: dst_60.bytes_per_flow(),
            pair_flows_10s: pair_10.flows(),
            pair_flows_60s: pair_60.flows(),
            pair_ports_10s: pair_10.ports,
            pair_ports_60s: pair_60.ports,
            pair_unanswered_60s: pair_60.share(pair_60.sums.unanswered),
            service_flows_10s: service_flows_10s as f32,
            service_flows_60s: service_60.flows as f32,
            service_login_60s: service_60.logins as f32,
            service_failed_logins_60s: service_60.failed_logins as f32,
            service_open: service.map_or(0, |service| service.open) as f32,
            service_size_spread_60s: service_60.size_spread(),
            service_secs_60s: service_60.mean_secs().min(3_600.0),
        }
    }

    pub fn stats(&self) -> WindowStats {
        WindowStats {
            sources: self.sources.len() as u64,
            targets: self.targets.len() as u64,
            pairs: self.pairs.len() as u64,
            services: self.services.len() as u64,
            sources_evicted: self.sources.evicted(),
            targets_evicted: self.targets.evicted(),
            pairs_evicted: self.pairs.evicted(),
            services_evicted: self.services.evicted(),
            marks_evicted: self.marks.evicted(),
        }
    }
}

impl Traits {
    fn of(record: &FlowRecord) -> Self {
        let forward = &record.forward;
        let tcp = record.key.proto == wire::PROTO_TCP;
        let replied = record.backward.as_ref().filter(|backward| backward.packets > 0);
        let payload = forward.payload_bytes + replied.map_or(0, |backward| backward.payload_bytes);
        Self {
            unanswered: replied.is_none(),
            refused: tcp && payload == 0 && replied.is_some_and(|backward| backward.rst > 0),
            syn_only: tcp && forward.syn > 0 && forward.ack == 0,
            empty: payload == 0,
        }
    }
}

/// The window of a host that did nothing but this flow.
fn alone(record: &FlowRecord) -> Window {
    let mut sums = Bucket::one();
    sums.add_traits(Traits::default(), Traits::of(record));
    sums.add_volume(record.forward.packets, record.forward.bytes);
    Window { sums, peers: 1.0, ports: if has_ports(&record.key) { 1.0 } else { 0.0 } }
}

fn tick_of(at_ns: u64) -> u32 {
    u32::try_from(at_ns / BUCKET_NS).unwrap_or(u32::MAX)
}

fn service_of(key: &FlowKey) -> Service {
    (key.src, key.dst, if has_ports(key) { key.dst_port } else { 0 }, key.proto)
}

/// ICMP keeps its type where others have ports.
fn has_ports(key: &FlowKey) -> bool {
    matches!(key.proto, wire::PROTO_TCP | wire::PROTO_UDP | wire::PROTO_SCTP) && !key.is_later_fragment()
}

/// Ports of services that ask for a login: the samples of an encrypted or unanswered one do not say.
fn is_login_port(key: &FlowKey) -> bool {
    const PORTS: [u16; 26] = [
        21, 22, 23, 25, 110, 139, 143, 389, 445, 465, 587, 636, 993, 995, 1433, 1521, 1883, 2222, 2323, 3306, 3389,
        5432, 5900, 6379, 8883, 27017,
    ];
    key.proto == wire::PROTO_TCP && PORTS.binary_search(&key.dst_port).is_ok()
}
