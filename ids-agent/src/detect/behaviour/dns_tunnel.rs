//! Tunnels through DNS: names below one domain, ever new, that carry data.
//!
//! Each question is weighed by how little it looks like one for a host, and counts once. A flow that keeps asking on one socket is sampled at
//! its first packets alone; what comes behind them is taken for more of the same.

use std::{fmt::Write as _, hash::BuildHasher};

use foldhash::quality::FixedState;
use ids_common::flow::FlowKey;
use smallvec::SmallVec;

use super::{
    Class, Finding, Keyed, Severity, Sight, Statement, Subject, address, evidence,
    names::{Asked, Form, Kind, asked},
    track::{Decayed, DistinctSecs, Run, SEC, score, spoken_count, spoken_secs},
};
use crate::{
    bounded::BoundedMap,
    config::{BehaviourSettings, DnsTunnelSettings},
    payload::{AppProto, DnsFacts, DnsQuestion},
};

/// Time constants of the weights, quick to slow.
const TAUS_SECS: [f64; 3] = [60.0, 600.0, 3600.0];
const SPREAD_SECS: [u64; 2] = [600, 3600];
const SPREAD_NS: u64 = SPREAD_SECS[0] * SEC;
const SILENCE_NS: u64 = 3600 * SEC;
/// Names remembered of a domain, so that a repeated question counts once.
const SEEN_MAX: usize = 64;
/// A socket that asks thrice below one domain, each time for something else, serves that domain alone.
const SOCKET_QUESTIONS_MIN: usize = 3;
const SOCKET_FACTOR: f64 = 2.0;
/// Bytes below the domain from which a name carries much.
const LONG_BYTES: usize = 40;
const FULL_BYTES: usize = 100;
/// Header of a message, root label, type and class: what a question has beside its name.
const QUESTION_BYTES: f64 = 12.0 + 2.0 + 4.0;
/// Names as long as this carry something out even if no answer holds a record.
const VAIN_BYTES_MIN: f64 = 40.0;
/// A tunnel moved so much that it is no handshake any more.
const BYTES_SEVERE: f64 = 20_000.0;
const SPREAD_DOMAINS_MIN: f64 = 3.0;
/// Characters that names are counted by: letters, digits, the hyphen, and the rest.
const LETTERS: usize = 38;

pub(super) struct DnsTunnel {
    hasher: FixedState,
    domains: BoundedMap<([u8; 16], u64), Domain>,
    sources: BoundedMap<[u8; 16], Spread>,
    settings: DnsTunnelSettings,
    repeat_ns: u64,
}

/// What one source asks below one domain.
#[derive(Debug)]
struct Domain {
    name: Box<str>,
    weights: [Decayed; TAUS_SECS.len()],
    /// Of the run: distinct names, those of odd types, bytes of the names and of the answers.
    names: f64,
    odd: f64,
    bytes_up: f64,
    bytes_down: f64,
    /// Sampled answers that held a record, and that held none.
    useful: u32,
    vain: u32,
    seen: SmallVec<[u32; 4]>,
    seen_at: usize,
    letters: Box<[u32; LETTERS]>,
    run: Run,
}

/// What one source asks of odd types below any domain.
#[derive(Debug)]
struct Spread {
    /// Distinct names of odd types, those of them that look coded or numbered, and all names.
    odd: DistinctSecs,
    telling: DistinctSecs,
    all: DistinctSecs,
    domains: DistinctSecs,
    /// Odd types, and when each was last asked for.
    types: SmallVec<[(u16, u64); 8]>,
    run: Run,
}

impl DnsTunnel {
    pub(super) fn new(settings: &BehaviourSettings, keyed: &Keyed) -> Self {
        Self {
            hasher: keyed.hasher.clone(),
            domains: keyed.map(settings.limits.services_max),
            sources: keyed.map(settings.limits.sources_max),
            settings: settings.dns_tunnel.clone(),
            repeat_ns: settings.limits.repeat_secs.saturating_mul(SEC),
        }
    }

    pub(super) fn evicted(&self) -> u64 {
        self.domains.evicted() + self.sources.evicted()
    }

    /// Looks at a flow, and notes in its mark what was counted of it.
    pub(super) fn see(&mut self, sight: &mut Sight<'_>, findings: &mut Vec<Finding>) {
        let payload = sight.payload;
        let Some(dns) = payload.dns.as_deref().filter(|dns| payload.app == AppProto::Dns && dns.queries > 0) else {
            return;
        };
        // Seen from the middle on, a flow may seem to begin with the answer.
        if sight.record.key.src_port == 53 && sight.record.key.dst_port != 53 {
            return;
        }
        let new = dns.questions.get(usize::from(sight.mark.asked)..).unwrap_or(&[]);
        sight.mark.asked = u8::try_from(dns.questions.len()).unwrap_or(u8::MAX);
        let socket = self.socket(dns);
        let factor = if socket.is_some() { SOCKET_FACTOR } else { 1.0 };
        let mut touched = None;
        for question in new {
            let Some(asked) = asked(&question.name, question.qtype).filter(|asked| !self.is_allowed(asked.domain))
            else {
                continue;
            };
            self.spread(sight, question, &asked, findings);
            touched = Some(self.count(sight, &asked, factor * weight(&asked)));
        }
        let asked_all = u64::from(sight.record.forward.payload_packets);
        let more = asked_all.saturating_sub(sight.mark.questions.max(dns.questions.len() as u64));
        sight.mark.questions = asked_all;
        if let Some(socket) = socket.as_ref().filter(|_| more > 0) {
            touched = self.go_on(sight, socket, more as f64).or(touched);
        }
        let answers = dns.responses.saturating_sub(u32::from(sight.mark.answers));
        sight.mark.answers = u8::try_from(dns.responses).unwrap_or(u8::MAX);
        let Some(domain) = touched.and_then(|key| self.domains.peek_mut(&key)) else { return };
        let count = if dns.answers > 0 { &mut domain.useful } else { &mut domain.vain };
        *count = count.saturating_add(answers);
        findings.extend(finding(domain, sight, socket.is_some(), &self.settings, self.repeat_ns));
    }

    fn is_allowed(&self, domain: &str) -> bool {
        let covers = |allowed: &String| {
            domain.strip_suffix(allowed.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        self.settings.allow_domains.iter().any(covers)
    }

    /// What a flow is like that asks below one domain alone, each time for something else.
    fn socket(&self, dns: &DnsFacts) -> Option<Socket> {
        let repeats =
            |(at, question): (usize, &DnsQuestion)| dns.questions.iter().take(at).any(|q| q.name == question.name);
        let names = dns.questions.iter().enumerate().filter(|asked| !repeats(*asked)).count();
        if names < SOCKET_QUESTIONS_MIN {
            return None;
        }
        let mut socket = Socket { domain: String::new(), weight: 0.0, odd: 0.0 };
        for (at, question) in dns.questions.iter().enumerate() {
            let asked = asked(&question.name, question.qtype).filter(|asked| !self.is_allowed(asked.domain))?;
            if at > 0 && socket.domain != asked.domain {
                return None;
            }
            asked.domain.clone_into(&mut socket.domain);
            socket.weight += SOCKET_FACTOR * weight(&asked);
            socket.odd += f64::from(u8::from(asked.kind != Kind::Host));
        }
        let questions = dns.questions.len() as f64;
        Some(Socket { weight: socket.weight / questions, odd: socket.odd / questions, ..socket })
    }

    /// Counts a question that is new; gives the key of its domain.
    fn count(&mut self, sight: &Sight<'_>, asked: &Asked<'_>, weight: f64) -> Key {
        let at_ns = sight.record.start_ns;
        let hash = self.hasher.hash_one(asked.below) as u32;
        let (key, domain) = self.domain(sight, asked.domain, at_ns);
        if domain.seen.contains(&hash) {
            return key;
        }
        domain.remember(hash);
        for (counter, tau_secs) in domain.weights.iter_mut().zip(TAUS_SECS) {
            counter.add(at_ns, tau_secs, weight);
        }
        domain.names += 1.0;
        domain.odd += f64::from(u8::from(asked.kind != Kind::Host));
        domain.bytes_up += asked.below.len() as f64;
        domain.bytes_down += sight.backward_bytes as f64;
        for byte in asked.below.bytes() {
            if let Some(count) = domain.letters.get_mut(letter(byte)) {
                *count = count.saturating_add(1);
            }
        }
        key
    }

    /// Counts questions that were not sampled, on a socket that serves one domain alone.
    fn go_on(&mut self, sight: &Sight<'_>, socket: &Socket, more: f64) -> Option<Key> {
        let forward = &sight.record.forward;
        let below_bytes = forward.payload_bytes as f64 / f64::from(forward.payload_packets.max(1))
            - QUESTION_BYTES
            - socket.domain.len() as f64;
        if below_bytes < 2.0 {
            return None;
        }
        let at_ns = sight.record.end_ns;
        let (key, domain) = self.domain(sight, &socket.domain, at_ns);
        for (counter, tau_secs) in domain.weights.iter_mut().zip(TAUS_SECS) {
            counter.add(at_ns, tau_secs, more * socket.weight);
        }
        domain.names += more;
        domain.odd += more * socket.odd;
        domain.bytes_up += more * below_bytes;
        domain.bytes_down += sight.backward_bytes as f64;
        Some(key)
    }

    fn domain(&mut self, sight: &Sight<'_>, name: &str, at_ns: u64) -> (Key, &mut Domain) {
        let record = sight.record;
        let key = (record.key.src, self.hasher.hash_one(name));
        let domain = self.domains.touch_or_insert(&key, || Domain::new(name, record.key, record.id, at_ns));
        let began_ns = domain.run.first_ns;
        domain.run.go_on(at_ns, SILENCE_NS, record.key, record.id);
        if domain.run.first_ns > began_ns {
            *domain = Domain::new(name, record.key, record.id, at_ns);
        }
        (key, domain)
    }

    /// Counts what a source asks of all domains; a tunnel may take turns between several, and try one type after
    /// another.
    fn spread(&mut self, sight: &Sight<'_>, question: &DnsQuestion, asked: &Asked<'_>, findings: &mut Vec<Finding>) {
        let record = sight.record;
        let at_ns = record.start_ns;
        let spread = self.sources.touch_or_insert(&record.key.src, || Spread::new(&record.key, record.id, at_ns));
        let name = self.hasher.hash_one(&question.name);
        spread.all.insert(name, at_ns);
        if asked.kind == Kind::Host || asked.form == Form::Service {
            return;
        }
        spread.run.go_on(at_ns, SPREAD_NS, record.key, record.id);
        spread.odd.insert(name, at_ns);
        spread.domains.insert(self.hasher.hash_one(asked.domain), at_ns);
        if matches!(asked.form, Form::Coded | Form::Numbered) {
            spread.telling.insert(name, at_ns);
        }
        spread.note_type(question.qtype, at_ns);
        findings.extend(spread_finding(spread, &record.key, &self.settings, self.repeat_ns));
    }
}

impl Spread {
    fn new(key: &FlowKey, id: u64, at_ns: u64) -> Self {
        let [odd, telling, all, domains] = std::array::from_fn(|_| DistinctSecs::new(SPREAD_SECS));
        Self { odd, telling, all, domains, types: SmallVec::new(), run: Run::new(at_ns, *key, id) }
    }

    fn note_type(&mut self, qtype: u16, at_ns: u64) {
        self.types.retain(|(_, last_ns)| last_ns.saturating_add(SPREAD_NS) > at_ns);
        if let Some((_, last_ns)) = self.types.iter_mut().find(|(known, _)| *known == qtype) {
            *last_ns = at_ns.max(*last_ns);
        } else if self.types.len() < self.types.inline_size() {
            self.types.push((qtype, at_ns));
        }
    }
}

fn spread_finding(spread: &mut Spread, key: &FlowKey, settings: &DnsTunnelSettings, repeat_ns: u64) -> Option<Finding> {
    let at_ns = spread.run.last_ns;
    let counts = [&spread.odd, &spread.telling, &spread.all, &spread.domains];
    let [odd, telling, all, domains] = counts.map(|distinct| distinct.count(at_ns));
    let types = spread.types.len() as f64;
    let many = telling >= settings.spread_names_600s && telling >= settings.spread_share * all;
    let varied = types >= settings.types_600s && odd >= settings.types_names_600s && odd >= settings.types_share * all;
    let (count, threshold, what) = match (many, varied) {
        (true, _) => (telling, settings.spread_names_600s, "that carry data and are"),
        (false, true) => (odd, settings.types_names_600s, "that are"),
        (false, false) => return None,
    };
    if domains < SPREAD_DOMAINS_MIN || !spread.run.pace.is_due(at_ns, count, repeat_ns) {
        return None;
    }
    let reason = format!(
        "{} asks {} for {} names {what} of {types:.0} types few programs ask for, below {} domains in {}",
        address(key.src),
        address(key.dst),
        spoken_count(count),
        spoken_count(domains),
        spoken_secs(spread.run.secs()),
    );
    let statement = Statement {
        class: Class::DnsTunnel,
        kind: "many_domains",
        score: score(count, threshold),
        severity: Severity::Medium,
        subject: service(key),
        reason,
        evidence: vec![
            evidence("dns_odd_names_600s", odd, settings.types_names_600s, "names"),
            evidence("dns_odd_types_600s", types, settings.types_600s, "types"),
            evidence("dns_domains_600s", domains, SPREAD_DOMAINS_MIN, "domains"),
            evidence("dns_names_600s", all, odd / settings.types_share, "names"),
        ],
    };
    Some(statement.into_finding(&spread.run))
}

type Key = ([u8; 16], u64);

/// A flow that asks below one domain alone.
struct Socket {
    domain: String,
    /// Means over the sampled questions.
    weight: f64,
    odd: f64,
}

impl Domain {
    fn new(name: &str, key: FlowKey, id: u64, at_ns: u64) -> Self {
        Self {
            name: name.into(),
            weights: Default::default(),
            names: 0.0,
            odd: 0.0,
            bytes_up: 0.0,
            bytes_down: 0.0,
            useful: 0,
            vain: 0,
            seen: SmallVec::new(),
            seen_at: 0,
            letters: Box::new([0; LETTERS]),
            run: Run::new(at_ns, key, id),
        }
    }

    fn remember(&mut self, hash: u32) {
        if self.seen.len() < SEEN_MAX {
            self.seen.push(hash);
        } else if let Some(oldest) = self.seen.get_mut(self.seen_at) {
            *oldest = hash;
            self.seen_at = (self.seen_at + 1) % SEEN_MAX;
        }
    }

    /// Shannon entropy of the characters below the domain, in bits per character.
    fn entropy(&self) -> f64 {
        let all = self.letters.iter().map(|count| f64::from(*count)).sum::<f64>();
        let shares = self.letters.iter().filter(|count| **count > 0).map(|count| f64::from(*count) / all);
        shares.map(|share| -share * share.log2()).sum()
    }
}

fn letter(byte: u8) -> usize {
    match byte {
        b'a'..=b'z' => usize::from(byte - b'a'),
        b'0'..=b'9' => 26 + usize::from(byte - b'0'),
        b'-' => 36,
        _ => 37,
    }
}

/// How little a question looks like one for a host. The thresholds are sums of this.
fn weight(asked: &Asked<'_>) -> f64 {
    let bytes = asked.below.len();
    match (asked.kind, asked.form) {
        (Kind::Never, _) => 3.0,
        (Kind::Odd, _) if bytes >= FULL_BYTES => 3.0,
        (Kind::Odd, Form::Coded | Form::Numbered) => 2.0,
        (Kind::Odd, Form::Plain) => 0.7,
        (Kind::Odd, Form::Service) => 0.0,
        (Kind::Host, Form::Coded) if bytes >= FULL_BYTES => 2.0,
        (Kind::Host, Form::Coded) if bytes >= LONG_BYTES => 0.5,
        (Kind::Host, Form::Coded) => 0.3,
        (Kind::Host, Form::Numbered | Form::Plain) if bytes >= FULL_BYTES => 1.0,
        (Kind::Host, Form::Numbered | Form::Plain | Form::Service) => 0.0,
    }
}

fn finding(
    domain: &mut Domain,
    sight: &mut Sight<'_>,
    socket: bool,
    settings: &DnsTunnelSettings,
    repeat_ns: u64,
) -> Option<Finding> {
    let at_ns = domain.run.last_ns;
    let thresholds = [settings.weight_60s, settings.weight_600s, settings.weight_3600s];
    let windows = domain.weights.iter().zip(TAUS_SECS).zip(thresholds);
    let mut reached = windows.map(|((counter, tau_secs), threshold)| (counter.value_at(at_ns, tau_secs), threshold));
    let (weight, threshold) = reached.find(|(weight, threshold)| weight >= threshold)?;
    // Names made up at random, for a load test or to wear out a name server, are not known to it.
    let in_vain = domain.vain > domain.useful && domain.bytes_up < VAIN_BYTES_MIN * domain.names;
    if domain.names < settings.names_min || in_vain {
        return None;
    }
    // A flow of its own is the tunnel, or a part of it, and is told as such once.
    let untold = socket && !std::mem::replace(&mut sight.mark.tunnel, socket);
    if !domain.run.pace.is_due(at_ns, weight, repeat_ns) && !untold {
        return None;
    }
    let key = &sight.record.key;
    let below_bytes = domain.bytes_up / domain.names;
    let odd_share = domain.odd / domain.names;
    let mut reason =
        format!("{} asks {} for {} names ", address(key.src), address(key.dst), spoken_count(domain.names.round()),);
    // Writing to a string does not fail.
    let _ = match &*domain.name {
        "" => write!(reason, "without a top-level domain"),
        name => write!(reason, "below {}", name.get(..name.len().min(64)).unwrap_or(name)),
    };
    let _ = write!(
        reason,
        " that carry data, {below_bytes:.0} characters each and {:.0} % of odd types, in {}; {:.0} bytes went out and {:.0} came back",
        100.0 * odd_share,
        spoken_secs(domain.run.secs()),
        domain.bytes_up,
        domain.bytes_down,
    );
    let severe = weight >= 4.0 * threshold || domain.bytes_up + domain.bytes_down >= BYTES_SEVERE;
    let statement = Statement {
        class: Class::DnsTunnel,
        kind: if odd_share >= 0.5 { "odd_types" } else { "long_names" },
        score: score(weight, threshold),
        severity: if severe { Severity::High } else { Severity::Medium },
        subject: if socket { Subject::Flow { id: sight.record.id } } else { service(key) },
        reason,
        evidence: vec![
            evidence("dns_weight", weight, threshold, "names"),
            evidence("dns_names", domain.names, settings.names_min, "names"),
            evidence("dns_odd_type_share", odd_share, 0.1, ""),
            evidence("dns_subdomain_bytes", below_bytes, 24.0, "bytes"),
            evidence("dns_subdomain_entropy", domain.entropy(), 4.0, "bits"),
        ],
    };
    let mut finding = statement.into_finding(&domain.run);
    if socket {
        (finding.exemplar, finding.exemplar_id) = (*key, sight.record.id);
    }
    Some(finding)
}

fn service(key: &FlowKey) -> Subject {
    Subject::Service { src: key.src, dst: key.dst, dst_port: key.dst_port, proto: key.proto }
}
