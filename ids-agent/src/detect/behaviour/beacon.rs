//! Beacons: connections of one source to one service that come like clockwork, and are odd in other ways too.
//!
//! Much that is healthy is periodic, so period alone is never told.

use ids_common::{flow::FlowKey, wire};
use smallvec::SmallVec;

use super::{
    Class, Finding, Keyed, Severity, Sight, Statement, Subject, address, evidence, is_inside,
    track::{Run, SEC, spoken_secs},
};
use crate::{
    bounded::BoundedMap,
    config::{BeaconSettings, BehaviourSettings},
    payload::AppProto,
};

/// Beats remembered: twice the hours of a day that comes every hour.
const BEATS_MAX: usize = 48;
/// Connections closer together than this, or than this share of the period, are one beat.
const BURST_NS: u64 = SEC;
/// A gap of up to so many periods is one with beats missed, if few gaps are so.
const MISSED_MAX: f64 = 4.0;
const MISSED_SHARE_MAX: f64 = 0.25;
/// Deviations, as shares of the period, that an eighth of the gaps at most may exceed.
const STRAY_DEVIATION: f64 = 0.6;
const STRAY_SHARE_MAX: f64 = 0.125;
/// With fewer gaps than this the rhythm has to be steadier, by this share.
const SURE_GAPS: usize = 12;
const FEW_GAPS_SHARE: f64 = 0.6;
/// Payload that says "I am here" and no more.
const SMALL_BYTES: u32 = 4_096;
/// Sizes within this share of their median are the same.
const SAME_SHARE: f64 = 0.05;
const SILENCE_NS: u64 = 86_400 * SEC;
/// Told once an hour: a beacon goes on for weeks.
const REPEAT_NS: u64 = 3_600 * SEC;

pub(super) struct Beacons {
    services: BoundedMap<([u8; 16], [u8; 16], u16), Service>,
    settings: BeaconSettings,
}

/// Connections of one source to one TCP service.
#[derive(Debug)]
struct Service {
    /// When the latest connections began, and what the source sent in them.
    beats: SmallVec<[(u64, u32); 2]>,
    /// Connections in a row with each oddity.
    unnamed: u32,
    foreign: u32,
    seen: u32,
    run: Run,
}

impl Beacons {
    pub(super) fn new(settings: &BehaviourSettings, keyed: &Keyed) -> Self {
        Self { services: keyed.map(settings.limits.services_max), settings: settings.beacon.clone() }
    }

    pub(super) fn evicted(&self) -> u64 {
        self.services.evicted()
    }

    /// Looks at a flow that has ended.
    pub(super) fn see(&mut self, sight: &Sight<'_>, findings: &mut Vec<Finding>) {
        let record = sight.record;
        let key = &record.key;
        if !sight.ended || key.proto != wire::PROTO_TCP || record.forward.payload_bytes == 0 || !record.has_reply() {
            return;
        }
        let sent = u32::try_from(record.forward.payload_bytes).unwrap_or(u32::MAX);
        let new = || Service {
            beats: SmallVec::new(),
            unnamed: 0,
            foreign: 0,
            seen: 0,
            run: Run::new(record.start_ns, *key, record.id),
        };
        let service = self.services.touch_or_insert(&(key.src, key.dst, key.dst_port), new);
        service.run.go_on(record.start_ns, SILENCE_NS, *key, record.id);
        service.seen = service.seen.saturating_add(1);
        service.unnamed = service.unnamed.saturating_add(u32::from(is_unnamed(sight)));
        service.foreign = service.foreign.saturating_add(u32::from(is_foreign(key, sight.payload.app)));
        service.beat(record.start_ns, sent);
        findings.extend(finding(service, sight, &self.settings));
    }
}

impl Service {
    fn beat(&mut self, at_ns: u64, sent: u32) {
        // Connections end in another order than they begin.
        let at = self.beats.iter().rposition(|(begun_ns, _)| *begun_ns <= at_ns).map_or(0, |at| at + 1);
        let near = |(begun_ns, _): &(u64, u32)| begun_ns.abs_diff(at_ns) < BURST_NS;
        if self.beats.get(at).is_some_and(near) || at.checked_sub(1).and_then(|at| self.beats.get(at)).is_some_and(near)
        {
            return;
        }
        self.beats.insert(at, (at_ns, sent));
        if self.beats.len() > BEATS_MAX {
            self.beats.remove(0);
        }
    }

    fn gaps_secs(&self) -> Vec<f64> {
        let pairs = self.beats.iter().zip(self.beats.iter().skip(1));
        pairs.map(|((one_ns, _), (next_ns, _))| (next_ns - one_ns) as f64 / SEC as f64).collect()
    }

    /// Period in seconds and the median deviation from it as its share, where the gaps have one.
    fn rhythm(&self, jitter_max: f64) -> Option<(f64, f64)> {
        let gaps = self.gaps_secs();
        let period = median(gaps.clone())?;
        let missed = gaps.iter().filter(|gap| **gap > 1.6 * period).count() as f64;
        if missed > MISSED_SHARE_MAX * gaps.len() as f64 {
            return None;
        }
        let deviation = |gap: &f64| {
            let periods = (gap / period).round().clamp(1.0, MISSED_MAX);
            (gap / periods - period).abs() / period
        };
        let deviations: Vec<f64> = gaps.iter().map(deviation).collect();
        let stray = deviations.iter().filter(|deviation| **deviation > STRAY_DEVIATION).count() as f64;
        let jitter = median(deviations)?;
        // A few gaps may look regular by chance.
        let jitter_max = if gaps.len() < SURE_GAPS { jitter_max * FEW_GAPS_SHARE } else { jitter_max };
        (jitter <= jitter_max && stray <= STRAY_SHARE_MAX * gaps.len() as f64).then_some((period, jitter))
    }

    /// The size all beats have, where they have one and it is small.
    fn size(&self) -> Option<u32> {
        let size = median(self.beats.iter().map(|(_, sent)| f64::from(*sent)).collect())?;
        let same = |(_, sent): &&(u64, u32)| (f64::from(*sent) - size).abs() <= SAME_SHARE * size;
        let same = self.beats.iter().filter(same).count();
        (same * 10 >= self.beats.len() * 9 && size <= f64::from(SMALL_BYTES)).then_some(size as u32)
    }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// Whether the server is reached by its bare address, as far as the flow shows.
fn is_unnamed(sight: &Sight<'_>) -> bool {
    let payload = sight.payload;
    let outside = !is_inside(sight.record.key.dst);
    if let Some(tls) = payload.tls.as_deref() {
        return tls.sni.is_none() && !tls.partial;
    }
    if let Some(http) = payload.http.as_deref() {
        let host = http.host.as_deref().unwrap_or_default();
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
        let bare = name.is_empty() || name.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok();
        return bare && (outside || http.user_agent.is_none());
    }
    payload.app == AppProto::Unknown
}

/// Whether the port is no common one, or another protocol than its own is spoken there.
fn is_foreign(key: &FlowKey, app: AppProto) -> bool {
    match key.dst_port {
        80 | 8080 => !matches!(app, AppProto::Http | AppProto::Http2),
        443 | 8443 => app != AppProto::Tls,
        // Above the system ports, one that strangers look for is common for its own protocol alone.
        port => !super::scan::is_service_port(port) || (port >= 1_024 && app == AppProto::Unknown),
    }
}

fn finding(service: &mut Service, sight: &Sight<'_>, settings: &BeaconSettings) -> Option<Finding> {
    // Within the house machines poll each other in protocols of their own.
    if (service.beats.len() as f64) < settings.beats_min || is_inside(sight.record.key.dst) {
        return None;
    }
    let nearly_all = |count: u32| u64::from(count) * 10 >= u64::from(service.seen) * 9;
    let (unnamed, foreign, size) = (nearly_all(service.unnamed), nearly_all(service.foreign), service.size());
    let mute = sight.payload.http.as_deref().is_some_and(|http| http.user_agent.is_none());
    let mut odd: SmallVec<[&str; 4]> = SmallVec::new();
    odd.extend(unnamed.then_some("its server has no name"));
    odd.extend(foreign.then_some("its port belongs to no such protocol"));
    odd.extend(size.map(|_| "each time as many bytes go out"));
    odd.extend(mute.then_some("it names no program"));
    // Whatever else is odd, a server with a name answers for it.
    if !unnamed || (odd.len() as f64) < settings.oddities_min {
        return None;
    }
    let (period, jitter) = service.rhythm(settings.jitter_max)?;
    let at_ns = service.run.last_ns;
    if !service.run.pace.is_due(at_ns, 1.0, REPEAT_NS) {
        return None;
    }
    let key = &sight.record.key;
    let beats = service.beats.len();
    let reason = format!(
        "{} connects to port {} of {} every {}, {beats} times so far within {:.0} % of it; {}",
        address(key.src),
        key.dst_port,
        address(key.dst),
        spoken_secs(period),
        100.0 * jitter,
        odd.join(", "),
    );
    let statement = Statement {
        class: Class::C2,
        kind: "beacon",
        score: (0.5 + 0.1 * odd.len() as f32 + 0.1 * (1.0 - jitter as f32)).min(0.9),
        severity: if odd.len() > 3 { Severity::Medium } else { Severity::Low },
        subject: Subject::Service { src: key.src, dst: key.dst, dst_port: key.dst_port, proto: key.proto },
        reason,
        evidence: vec![
            evidence("beats", beats as f64, settings.beats_min, "connections"),
            evidence("period", period, 0.0, "seconds"),
            evidence("jitter", jitter, settings.jitter_max, ""),
            evidence("oddities", odd.len() as f64, settings.oddities_min, ""),
        ],
    };
    Some(statement.into_finding(&service.run))
}
