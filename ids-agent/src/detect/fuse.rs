//! Joins findings: one verdict for each ended flow, one incident for findings that belong together.
//!
//! Pure and bounded. Confidence is a noisy-or over witnesses, `1 - product(1 - weight * score)`: each
//! witness can be wrong by itself, and two that agree are worth more than either.

use std::collections::{HashMap, VecDeque};

use foldhash::quality::FixedState;
use smallvec::SmallVec;

use super::{Class, Finding, Judged, Outcome, Subject, Verdict, Witness, WitnessScore, signature::TOLD_FROM};
use crate::{
    bounded::BoundedMap,
    config::{AllowEntry, FuseSettings},
    flow::FlowState,
    payload::SignKind,
};

mod cover;
mod incidents;
mod ledger;

use cover::Covers;
use incidents::Incidents;
use ledger::Ledger;

/// Verdicts held back at once. Beyond it the oldest is given early.
pub const HELD_MAX: usize = 8_192;
/// Verdicts given early at once, when fewer may be held back: twice as many as come in meanwhile.
const EARLY_AT_ONCE: usize = 2_048;
/// Open flows whose findings are remembered until they end.
pub const MARKS_MAX: usize = 16_384;

/// Running totals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FuseStats {
    /// Findings taken in, and those of them that an allow entry silenced.
    pub findings: u64,
    pub findings_allowed: u64,
    /// Findings that were silenced because somebody called their like false.
    pub findings_by_feedback: u64,
    /// Findings folded into an incident that was already told.
    pub findings_suppressed: u64,
    /// Reports given, by stage.
    pub opened: u64,
    pub escalated: u64,
    pub summaries: u64,
    /// Incidents in the table now, told or still gathering evidence.
    pub incidents: u64,
    /// Incidents that had to leave early because the table was full.
    pub incidents_evicted: u64,
    /// Verdicts given, held now, and given early because too many were held.
    pub verdicts: u64,
    pub held: u64,
    pub verdicts_early: u64,
    /// Findings on open flows, and on hosts, that were forgotten early.
    pub marks_evicted: u64,
    pub covers_evicted: u64,
    /// Hosts whose past was forgotten early.
    pub hosts_evicted: u64,
}

/// How much a witness's word counts by itself.
///
/// Behaviour counts what happened; the classifier was measured on sources it had not seen; the
/// autoencoder only knows that something is unusual.
const fn weight(witness: Witness) -> f32 {
    match witness {
        Witness::Behaviour => 0.95,
        Witness::Payload | Witness::Intel => 0.9,
        Witness::Classifier => 0.8,
        // Its score is already the share of the matches that are attacks.
        Witness::Signature => 0.95,
        Witness::Anomaly => 0.3,
    }
}

/// The strongest score of each witness, joined. What is merely unusual supports every class.
pub fn confidence(scores: &[WitnessScore], class: Class) -> f32 {
    let mut doubt = 1.0;
    for witness in Witness::ALL {
        let speaks = |said: &&WitnessScore| said.witness == witness && said.supports(class);
        let best = scores.iter().filter(speaks).map(|said| said.score).fold(0.0, f32::max);
        doubt *= 1.0 - weight(witness) * best.clamp(0.0, 1.0);
    }
    1.0 - doubt
}

/// Signs that name who sent something, and not what was done.
const TOOL_MARKS: [SignKind; 2] = [SignKind::ScanTool, SignKind::Discovery];

/// How far a saying names what was done.
fn plainness(said: &WitnessScore) -> u8 {
    match (said.class, said.witness, said.kind) {
        (Class::Anomaly, _, _) => 0,
        (_, Witness::Payload, kind) if TOOL_MARKS.iter().any(|mark| mark.name() == kind) => 1,
        _ => 2,
    }
}

/// What was said of one flow, with the incident it went into.
#[derive(Clone, Copy, Debug)]
struct Said {
    score: WitnessScore,
    incident: u64,
}

type Sayings = SmallVec<[Said; 2]>;

/// Sayings kept of one flow: a witness and class each, so that this is seldom reached.
const SAYINGS_MAX: usize = 8;

/// Adds or strengthens; tells whether that ties the flow to an incident that is new to it.
fn add_saying(sayings: &mut Sayings, said: Said) -> bool {
    let new = sayings.iter().all(|earlier| earlier.incident != said.incident);
    let full = sayings.len() >= SAYINGS_MAX;
    let same = |earlier: &Said| earlier.score.witness == said.score.witness && earlier.score.class == said.score.class;
    match sayings.iter().position(same).and_then(|at| sayings.get_mut(at)) {
        Some(earlier) if earlier.score.score >= said.score.score => return false,
        Some(earlier) => *earlier = said,
        None if full => return false,
        None => sayings.push(said),
    }
    new
}

/// An ended flow whose verdict waits.
struct Held {
    /// Large, and moved more than once.
    verdict: Box<Verdict>,
    sayings: Sayings,
    release_ns: u64,
}

/// Joins findings into verdicts and incidents.
pub struct Fuse {
    allow: Vec<AllowEntry>,
    feedback: Vec<AllowEntry>,
    hold_ns: u64,
    covers: Covers,
    marks: Marks,
    held: VecDeque<Held>,
    held_max: usize,
    /// Numbers of the held verdicts by flow, counted from the first that ever was, and how many of them have gone.
    held_numbers: HashMap<u64, u64, FixedState>,
    released: u64,
    ledger: Ledger,
    incidents: Incidents,
    stats: FuseStats,
}

impl Fuse {
    /// `witnesses` is the number of witnesses at work; `idle_ns` is after how much silence flows end.
    pub fn new(settings: &FuseSettings, witnesses: usize, idle_ns: u64) -> Self {
        let hold_ns = settings.verdict_hold_secs.saturating_mul(1_000_000_000);
        let dedup_ns = settings.dedup_secs.saturating_mul(1_000_000_000);
        Self {
            allow: settings.allow.clone(),
            feedback: settings.feedback.clone(),
            hold_ns,
            covers: Covers::new(hold_ns, idle_ns, settings.hash_seed.rotate_left(24)),
            marks: Marks::new(settings.hash_seed.rotate_left(8)),
            held: VecDeque::new(),
            held_max: HELD_MAX,
            held_numbers: HashMap::with_hasher(FixedState::with_seed(settings.hash_seed.rotate_left(16))),
            released: 0,
            ledger: Ledger::new(settings.hash_seed),
            incidents: Incidents::new(dedup_ns, settings.incidents_max, witnesses),
            stats: FuseStats::default(),
        }
    }

    /// Takes in what a tick brought: the judged flows and all findings.
    pub fn step(&mut self, now_ns: u64, judged: &[Judged<'_>], findings: Vec<Finding>, out: &mut Outcome) {
        self.incidents.expire(now_ns, &mut out.incidents);
        self.covers.expire(now_ns);
        let reported = out.incidents.len();
        for finding in findings {
            self.take(finding, now_ns);
        }
        for flow in judged {
            self.attach(flow, now_ns);
        }
        self.incidents.report(now_ns, &mut out.incidents);
        for incident in out.incidents.iter_mut().skip(reported) {
            self.ledger.enter(incident);
            self.incidents.raise(incident.id, incident.severity);
        }
        self.complete(out, reported, judged);
        self.release(now_ns, out);
    }

    /// Gives all verdicts and summaries that are left.
    pub fn finish(&mut self, now_ns: u64, out: &mut Outcome) {
        self.incidents.finish(now_ns, &mut out.incidents);
        self.release(u64::MAX, out);
    }

    pub fn stats(&self) -> FuseStats {
        FuseStats {
            held: self.held.len() as u64,
            marks_evicted: self.marks.0.evicted(),
            covers_evicted: self.covers.evicted(),
            hosts_evicted: self.ledger.evicted(),
            ..self.incidents.add_stats(self.stats)
        }
    }

    /// Holds back so many halves fewer verdicts; those beyond are given bit by bit.
    pub fn halve(&mut self, halvings: u8) {
        self.held_max = (HELD_MAX >> halvings.min(31)).max(1);
    }

    /// Takes other feedback; what was told stays told.
    pub fn set_feedback(&mut self, feedback: Vec<AllowEntry>) {
        self.feedback = feedback;
    }

    /// Other lists and another time of deduplication, with so many witnesses at work; what was told stays told.
    pub fn renew(&mut self, settings: &FuseSettings, witnesses: usize) {
        self.allow.clone_from(&settings.allow);
        self.set_feedback(settings.feedback.clone());
        self.incidents.renew(settings.dedup_secs.saturating_mul(1_000_000_000), witnesses);
    }

    fn take(&mut self, finding: Finding, now_ns: u64) {
        self.stats.findings += 1;
        if self.allow.iter().any(|entry| allows(entry, &finding, now_ns)) {
            self.stats.findings_allowed += 1;
            return;
        }
        if self.feedback.iter().any(|entry| allows(entry, &finding, now_ns)) {
            self.stats.findings_by_feedback += 1;
            return;
        }
        let score =
            WitnessScore { witness: finding.witness, class: finding.class, kind: finding.kind, score: finding.score };
        let subject = finding.subject;
        let span = (finding.first_ns, finding.last_ns);
        match subject {
            Subject::Flow { id } => {
                // What is told of a flow by another sensor may come when it has ended.
                let held = self.held_at(id);
                let service = service_of(&finding);
                let incident = self.incidents.fold(finding, now_ns, |incident| {
                    let said = Said { score, incident };
                    match held.and_then(|at| self.held.get_mut(at)) {
                        Some(held) => add_saying(&mut held.sayings, said),
                        None => self.marks.add(id, said),
                    }
                });
                if let Some(subject) = service {
                    self.cover(subject, Said { score, incident }, span);
                }
            }
            Subject::Source { .. } | Subject::Target { .. } | Subject::Pair { .. } | Subject::Service { .. } => {
                let incident = self.incidents.fold(finding, now_ns, |_| false);
                self.cover(subject, Said { score, incident }, span);
            }
        }
    }

    /// Puts a finding in force for the flows that it concerns, those to come and those whose verdict waits.
    fn cover(&mut self, subject: Subject, said: Said, span: (u64, u64)) {
        if self.covers.add(subject, said, span) {
            self.cover_held(subject, said, span);
        }
    }

    /// Where the verdict of a flow waits, if it does.
    fn held_at(&self, id: u64) -> Option<usize> {
        let number = self.held_numbers.get(&id)?;
        usize::try_from(number - self.released).ok()
    }

    /// Lets a new finding on a host or service reach back to flows that ended a little earlier.
    fn cover_held(&mut self, subject: Subject, said: Said, span: (u64, u64)) {
        for held in &mut self.held {
            if self.covers.concerns(subject, said.score.class, span, &held.verdict.record)
                && add_saying(&mut held.sayings, said)
            {
                self.incidents.count_flow(said.incident);
            }
        }
    }

    /// Gives a judged flow what is known of its hosts; an ended one waits from here for its verdict.
    fn attach(&mut self, flow: &Judged<'_>, now_ns: u64) {
        let record = flow.record;
        let ended = match record.state {
            FlowState::Open => false,
            FlowState::Ended(_) => true,
        };
        let mut sayings = if ended { self.marks.take(record.id) } else { Sayings::new() };
        let incidents = &mut self.incidents;
        let marks = &mut self.marks;
        self.covers.of(record, |said| {
            let new = if ended { add_saying(&mut sayings, said) } else { marks.add(record.id, said) };
            if new {
                incidents.count_flow(said.incident);
            }
        });
        if ended {
            self.hold(flow, sayings, now_ns);
        }
    }

    fn hold(&mut self, flow: &Judged<'_>, sayings: Sayings, now_ns: u64) {
        let verdict = Box::new(Verdict {
            record: flow.record.clone(),
            features: *flow.features,
            payload: flow.payload.clone(),
            class: Class::Benign,
            kind: "",
            confidence: 1.0,
            witnesses: Vec::new(),
            incident: None,
        });
        self.held_numbers.insert(flow.record.id, self.released + self.held.len() as u64);
        self.held.push_back(Held { verdict, sayings, release_ns: now_ns.saturating_add(self.hold_ns) });
    }

    fn release(&mut self, now_ns: u64, out: &mut Outcome) {
        let mut early = 0;
        while let Some(front) = self.held.front() {
            let due = front.release_ns <= now_ns;
            if !due && (self.held.len() <= self.held_max || early == EARLY_AT_ONCE) {
                break;
            }
            early += usize::from(!due);
            let Some(held) = self.held.pop_front() else { break };
            self.held_numbers.remove(&held.verdict.record.id);
            self.released += 1;
            self.stats.verdicts_early += u64::from(!due);
            self.stats.verdicts += 1;
            out.verdicts.push(self.decide(held));
        }
        if self.held.capacity() > 4 * self.held_max {
            self.held.shrink_to(self.held_max);
        }
    }

    /// The class with most confidence. What is merely unusual never outvotes a named class, nor does the mark of a tool,
    /// which does not say what it was used for.
    fn decide(&self, held: Held) -> Verdict {
        let mut verdict = *held.verdict;
        verdict.witnesses = held.sayings.iter().map(|said| said.score).collect();
        verdict.witnesses.sort_by_key(|said| (said.witness, said.class));
        let rank = |said: &Said| (plainness(&said.score), confidence(&verdict.witnesses, said.score.class));
        let order = |a: &&Said, b: &&Said| {
            let (a_rank, b_rank) = (rank(a), rank(b));
            a_rank
                .0
                .cmp(&b_rank.0)
                .then(a_rank.1.total_cmp(&b_rank.1))
                .then(a.score.score.total_cmp(&b.score.score))
                .then(b.score.class.cmp(&a.score.class))
        };
        if let Some(best) = held.sayings.iter().filter(|said| said.score.decides()).max_by(order) {
            verdict.class = best.score.class;
            verdict.kind = best.score.kind;
            verdict.confidence = confidence(&verdict.witnesses, best.score.class);
            verdict.incident = self.incidents.told_id(best.incident);
        }
        verdict
    }

    /// Adds the exemplar's record to the reports from `first` on, where it is still at hand.
    fn complete(&self, out: &mut Outcome, first: usize, judged: &[Judged<'_>]) {
        for incident in out.incidents.iter_mut().skip(first) {
            let id = incident.flow_id;
            if let Some(flow) = judged.iter().find(|flow| flow.record.id == id) {
                incident.record = Some(flow.record.clone());
                incident.payload = flow.payload.clone();
            } else if let Some(held) = self.held.iter().find(|held| held.verdict.record.id == id) {
                incident.record = Some(held.verdict.record.clone());
                incident.payload = held.verdict.payload.clone();
            }
        }
    }
}

/// The service that a signature of one flow speaks of as a whole: a bot talks to its controller, and a guesser to what he
/// guesses at, in many connections of which one may hold what the rule looks for.
fn service_of(finding: &Finding) -> Option<Subject> {
    let told = finding.witness == Witness::Signature && finding.score >= TOLD_FROM;
    if !told || !matches!(finding.class, Class::C2 | Class::BruteForce) {
        return None;
    }
    let key = &finding.exemplar;
    Some(Subject::Service { src: key.src, dst: key.dst, dst_port: key.dst_port, proto: key.proto })
}

/// An entry that names what the finding does not have never silences it.
fn allows(entry: &AllowEntry, finding: &Finding, now_ns: u64) -> bool {
    let key = &finding.exemplar;
    let (source, target, port) = match &finding.subject {
        Subject::Flow { .. } => (Some(&key.src), Some(&key.dst), Some(key.dst_port)),
        Subject::Source { src } => (Some(src), None, None),
        Subject::Target { dst } => (None, Some(dst), None),
        Subject::Pair { src, dst } => (Some(src), Some(dst), None),
        Subject::Service { src, dst, dst_port, .. } => (Some(src), Some(dst), Some(*dst_port)),
    };
    let sid = finding.matched.as_ref().map(|matched| matched.sid);
    (entry.target_port.is_none() || port.is_some())
        && (entry.sid.is_none() || entry.sid == sid)
        && entry.covers(source, target, port.unwrap_or(0), finding.class.name(), finding.kind, now_ns)
}

/// Findings on flows that have not ended, by flow; the flow that has been marked longest is forgotten first.
struct Marks(BoundedMap<u64, Sayings>);

impl Marks {
    fn new(hash_seed: u64) -> Self {
        Self(BoundedMap::new(MARKS_MAX, hash_seed))
    }

    /// Tells whether the incident is new to the flow.
    fn add(&mut self, id: u64, said: Said) -> bool {
        // Looked up without a touch, which would make it younger.
        if let Some(sayings) = self.0.peek_mut(&id) {
            return add_saying(sayings, said);
        }
        add_saying(self.0.touch_or_insert(&id, Sayings::new), said);
        true
    }

    fn take(&mut self, id: u64) -> Sayings {
        self.0.remove(&id).unwrap_or_default()
    }
}
