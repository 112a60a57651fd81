//! What was told of each host before: an attack that goes on from step to step weighs more than its steps. Bounded; what
//! is old fades.

use std::net::Ipv6Addr;

use crate::{
    bounded::BoundedMap,
    detect::{Class, Incident, Severity, Stage},
};

/// Hosts remembered.
pub(super) const HOSTS_MAX: usize = 4_096;
/// Half of what is remembered is gone after so long: a step an hour still adds up, yesterday's scan does not.
const HALF_LIFE_SECS: f64 = 3_600.0;
/// What is left of a step's confidence for it to count.
const COUNTS_FROM: f64 = 0.2;

/// The steps of an attack, each of which several classes stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Looking for what is there.
    Recon,
    /// Getting in.
    Access,
    /// Being in, and spoken to.
    Foothold,
    /// Taking away, or putting out of order.
    Impact,
}

const STEPS: [(Step, &str); 4] = [
    (Step::Recon, "a scan"),
    (Step::Access, "attempts to get in"),
    (Step::Foothold, "traffic of an intruder"),
    (Step::Impact, "theft or disruption"),
];

impl Step {
    /// What is merely unusual is no step.
    const fn of(class: Class) -> Option<Self> {
        match class {
            Class::PortScan => Some(Self::Recon),
            Class::BruteForce | Class::WebAttack | Class::Exploit => Some(Self::Access),
            Class::C2 | Class::DnsTunnel | Class::Infiltration => Some(Self::Foothold),
            Class::Exfiltration | Class::Flood | Class::AppDos => Some(Self::Impact),
            Class::Anomaly | Class::Benign => None,
        }
    }
}

/// How surely each step was told of a host, and when.
#[derive(Clone, Copy, Debug, Default)]
struct Past {
    steps: [(f64, u64); STEPS.len()],
}

impl Past {
    fn weight(&self, step: usize, now_ns: u64) -> f64 {
        let (weight, at_ns) = self.steps.get(step).copied().unwrap_or_default();
        weight * (-(now_ns.saturating_sub(at_ns) as f64 / 1e9) / HALF_LIFE_SECS).exp2()
    }

    fn note(&mut self, step: Step, confidence: f64, now_ns: u64) {
        let weight = self.weight(step as usize, now_ns).max(confidence);
        if let Some(place) = self.steps.get_mut(step as usize) {
            *place = (weight, now_ns);
        }
    }
}

#[derive(Debug)]
pub(super) struct Ledger {
    hosts: BoundedMap<[u8; 16], Past>,
}

impl Ledger {
    pub(super) fn new(hash_seed: u64) -> Self {
        Self { hosts: BoundedMap::new(HOSTS_MAX, hash_seed) }
    }

    pub(super) fn evicted(&self) -> u64 {
        self.hosts.evicted()
    }

    /// Raises the severity of a report whose source was told for other steps before, and says so; then remembers it.
    pub(super) fn enter(&mut self, incident: &mut Incident) {
        let (Some(step), false) = (Step::of(incident.class), incident.stage == Stage::Summary) else { return };
        let now_ns = incident.last_ns;
        // From a foothold on, the other end is the attacker's own.
        let other = incident.target.filter(|_| matches!(step, Step::Foothold | Step::Impact));
        let mut before: Vec<(usize, [u8; 16])> = Vec::new();
        for host in incident.source.into_iter().chain(other) {
            let Some(past) = self.hosts.peek(&host) else { continue };
            let counts = |at: &usize| *at != step as usize && past.weight(*at, now_ns) >= COUNTS_FROM;
            for at in (0..STEPS.len()).filter(counts) {
                if !before.iter().any(|(known, _)| *known == at) {
                    before.push((at, host));
                }
            }
        }
        if !before.is_empty() {
            incident.severity = match (incident.severity, before.len()) {
                (Severity::Info | Severity::Low, 1) => Severity::Medium,
                (Severity::Info | Severity::Low | Severity::Medium | Severity::High, _) => Severity::High,
            };
            before.sort_unstable();
            let told = |(at, host): &(usize, [u8; 16])| {
                let words = STEPS.get(*at).map_or("", |(_, words)| words);
                format!("{words} by {}", Ipv6Addr::from(*host).to_canonical())
            };
            let told: Vec<String> = before.iter().map(told).collect();
            incident.reason = format!("{}; told shortly before: {}", incident.reason, told.join(", "));
        }
        // Who is broken into may be the one that speaks next.
        let victim = incident.target.filter(|_| step == Step::Access);
        for host in incident.source.into_iter().chain(victim) {
            self.hosts.touch_or_insert(&host, Past::default).note(step, f64::from(incident.score), now_ns);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fabricated::{Fabricated, host, key};

    const MINUTE: u64 = 60_000_000_000;

    fn told(ledger: &mut Ledger, class: Class, from: u8, to: u8, severity: Severity, at_ns: u64) -> Incident {
        let key = key(host(0, 0, from), 40_000, host(0, 0, to), 80, 6);
        let record = Fabricated::new(key, at_ns).syn().record();
        let mut incident = Incident {
            id: 1,
            stage: Stage::Opened,
            class,
            kind: "",
            score: 0.9,
            agreement: 0.2,
            severity,
            subject: crate::detect::Subject::Pair { src: key.src, dst: key.dst },
            source: Some(key.src),
            target: Some(key.dst),
            key,
            flow_id: record.id,
            community_id: String::new(),
            record: None,
            payload: Default::default(),
            reason: "it was so".to_owned(),
            evidence: Vec::new(),
            witnesses: Vec::new(),
            first_ns: at_ns,
            last_ns: at_ns,
            suppressed: 0,
            flows: 1,
            matched: smallvec::SmallVec::new(),
            exhibit: None,
        };
        ledger.enter(&mut incident);
        incident
    }

    #[test]
    fn a_scan_then_guesses_then_a_download_rise() {
        let mut ledger = Ledger::new(1);
        let scan = told(&mut ledger, Class::PortScan, 7, 9, Severity::Low, MINUTE);
        assert_eq!((scan.severity, scan.reason.as_str()), (Severity::Low, "it was so"));
        let guesses = told(&mut ledger, Class::BruteForce, 7, 9, Severity::Low, 10 * MINUTE);
        assert_eq!(guesses.severity, Severity::Medium);
        assert!(guesses.reason.ends_with("told shortly before: a scan by 10.0.0.7"), "{}", guesses.reason);
        // The host that was broken into speaks to the one that broke in.
        let download = told(&mut ledger, Class::C2, 9, 7, Severity::Low, 20 * MINUTE);
        assert_eq!(download.severity, Severity::High);
        assert!(download.reason.contains("a scan by 10.0.0.7, attempts to get in by 10.0.0."), "{}", download.reason);
    }

    #[test]
    fn the_same_step_again_and_what_is_merely_unusual_raise_nothing() {
        let mut ledger = Ledger::new(1);
        told(&mut ledger, Class::PortScan, 7, 9, Severity::Low, MINUTE);
        assert_eq!(told(&mut ledger, Class::PortScan, 7, 9, Severity::Low, 2 * MINUTE).severity, Severity::Low);
        assert_eq!(told(&mut ledger, Class::Anomaly, 7, 9, Severity::Low, 3 * MINUTE).severity, Severity::Low);
        assert_eq!(told(&mut ledger, Class::BruteForce, 8, 9, Severity::Low, 3 * MINUTE).severity, Severity::Low);
    }

    #[test]
    fn what_is_old_no_longer_counts() {
        let mut ledger = Ledger::new(1);
        told(&mut ledger, Class::PortScan, 7, 9, Severity::Low, MINUTE);
        assert_eq!(told(&mut ledger, Class::BruteForce, 7, 9, Severity::Low, 300 * MINUTE).severity, Severity::Low);
    }

    #[test]
    fn a_flood_of_sources_stays_bounded_and_counted() {
        let mut ledger = Ledger::new(1);
        for from in 0..=255_u8 {
            for to in 0..40_u8 {
                let key = key(host(1, to, from), 1, host(0, 0, 9), 80, 6);
                ledger.hosts.touch_or_insert(&key.src, Past::default).note(Step::Recon, 0.9, MINUTE);
            }
        }
        assert_eq!(ledger.hosts.len(), HOSTS_MAX);
        assert!(ledger.evicted() > 0);
    }
}
