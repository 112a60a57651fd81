//! What a device can learn from one flow, and the quarantine in which it waits until nobody has called the flow,
//! or what its hosts did around it, an attack.

use std::collections::VecDeque;

use super::{
    super::{
        Class, Finding, Judged, StateError, Subject, Witness,
        saved::{AxisShift, Saved, Saver},
        signature::TOLD_FROM,
    },
    Role,
};
use crate::{bounded::BoundedMap, payload::AppProto};

/// How long a flow waits, and how far around a finding nothing is learned.
pub(super) const QUARANTINE_NS: i64 = 600 * 1_000_000_000;
/// Flows that wait; beyond it the oldest go untaught, counted.
pub(super) const WAITING_MAX: usize = 8_192;
/// Hosts, pairs and flows under suspicion; beyond it the idlest go, counted.
pub(super) const SUSPECTS_MAX: usize = 4_096;

/// One flow, as far as devices learn from it or are judged by it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Lesson {
    pub(super) id: u64,
    pub(super) src: [u8; 16],
    pub(super) dst: [u8; 16],
    pub(super) dst_port: u16,
    pub(super) proto: u8,
    pub(super) app: AppProto,
    /// Whether the other side answered, and whether payload went both ways.
    pub(super) answered: bool,
    pub(super) spoken: bool,
    pub(super) start_ns: i64,
    pub(super) end_ns: i64,
    pub(super) forward_bytes: u64,
    pub(super) backward_bytes: u64,
    /// The autoencoder's error.
    pub(super) error: f32,
}

impl Lesson {
    pub(super) fn of(flow: &Judged<'_>, error: f32) -> Self {
        let (record, key) = (flow.record, flow.record.key);
        let signed = |ns: u64| i64::try_from(ns).unwrap_or(i64::MAX);
        let backward = record.backward.as_ref();
        let has_ports = matches!(key.proto, 6 | 17 | 132) && !key.is_later_fragment();
        Self {
            id: record.id,
            src: key.src,
            dst: key.dst,
            dst_port: if has_ports { key.dst_port } else { 0 },
            proto: key.proto,
            app: flow.payload.app,
            answered: record.has_reply(),
            spoken: record.forward.payload_bytes > 0 && backward.is_some_and(|slot| slot.payload_bytes > 0),
            start_ns: signed(record.start_ns),
            end_ns: signed(record.end_ns),
            forward_bytes: record.forward.bytes,
            backward_bytes: backward.map_or(0, |slot| slot.bytes),
            error,
        }
    }

    /// The address that has `role` in the flow, and the other one.
    pub(super) fn ends(&self, role: Role) -> ([u8; 16], [u8; 16]) {
        match role {
            Role::Client => (self.src, self.dst),
            Role::Server => (self.dst, self.src),
        }
    }

    /// Bytes that the side with `role` sent, and that it received.
    pub(super) fn sent_received(&self, role: Role) -> (u64, u64) {
        match role {
            Role::Client => (self.forward_bytes, self.backward_bytes),
            Role::Server => (self.backward_bytes, self.forward_bytes),
        }
    }
}

/// Who is under suspicion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Suspect {
    Host([u8; 16]),
    Target([u8; 16]),
    Pair([u8; 16], [u8; 16]),
    Flow(u64),
}

/// When, on the axis of the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    from_ns: i64,
    until_ns: i64,
}

/// Flows that wait to be learned from, and what stands against them.
pub(super) struct Quarantine {
    waiting: VecDeque<Lesson>,
    suspects: BoundedMap<Suspect, Span>,
    /// Flows that went untaught because too many waited, and because they were suspect.
    pub(super) overflowed: u64,
    pub(super) withheld: u64,
}

impl Quarantine {
    pub(super) fn new(hash_seed: u64) -> Self {
        Self {
            waiting: VecDeque::new(),
            suspects: BoundedMap::new(SUSPECTS_MAX, hash_seed),
            overflowed: 0,
            withheld: 0,
        }
    }

    pub(super) fn evicted(&self) -> u64 {
        self.suspects.evicted()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn wait(&mut self, lesson: Lesson) {
        if self.waiting.len() >= WAITING_MAX {
            self.waiting.pop_front();
            self.overflowed += 1;
        }
        self.waiting.push_back(lesson);
    }

    /// Notes what all witnesses found. What is merely unusual is no suspicion: lasting change must be learned.
    pub(super) fn suspect(&mut self, findings: &[Finding]) {
        for finding in findings {
            match (finding.witness, finding.class) {
                (Witness::Anomaly, _) | (_, Class::Benign | Class::Anomaly) => continue,
                // A signature that is mostly noise must not keep a device from being learned.
                (Witness::Signature, _) if finding.score < TOLD_FROM => continue,
                (
                    Witness::Classifier | Witness::Behaviour | Witness::Payload | Witness::Intel | Witness::Signature,
                    Class::PortScan
                    | Class::Flood
                    | Class::AppDos
                    | Class::BruteForce
                    | Class::WebAttack
                    | Class::C2
                    | Class::DnsTunnel
                    | Class::Exfiltration
                    | Class::Exploit
                    | Class::Infiltration,
                ) => {}
            }
            let span = span_of(finding);
            let key = &finding.exemplar;
            match finding.subject {
                Subject::Flow { id } => {
                    self.note(Suspect::Flow(id), span);
                    self.note(pair(key.src, key.dst), span);
                }
                Subject::Source { src } => self.note(Suspect::Host(src), span),
                Subject::Target { dst } => self.note(Suspect::Target(dst), span),
                Subject::Pair { src, dst } | Subject::Service { src, dst, .. } => {
                    self.note(Suspect::Host(src), span);
                    self.note(pair(src, dst), span);
                }
            }
        }
    }

    fn note(&mut self, suspect: Suspect, span: Span) {
        let known = self.suspects.touch_or_insert(&suspect, || span);
        known.from_ns = known.from_ns.min(span.from_ns);
        known.until_ns = known.until_ns.max(span.until_ns);
    }

    /// The next flow whose time is over at `now_ns` and that nothing stands against.
    pub(super) fn release(&mut self, now_ns: i64) -> Option<Lesson> {
        loop {
            let due = |lesson: &Lesson| lesson.end_ns.saturating_add(QUARANTINE_NS) <= now_ns;
            let lesson = self.waiting.front().copied().filter(due)?;
            self.waiting.pop_front();
            if !self.is_suspect(&lesson) {
                return Some(lesson);
            }
            self.withheld += 1;
        }
    }

    /// What was to and from a suspect host, to a target, within a pair, or a suspect flow itself.
    fn is_suspect(&self, lesson: &Lesson) -> bool {
        let against = [
            Suspect::Flow(lesson.id),
            Suspect::Host(lesson.src),
            Suspect::Host(lesson.dst),
            Suspect::Target(lesson.dst),
            pair(lesson.src, lesson.dst),
        ];
        let overlaps = |span: &Span| lesson.start_ns <= span.until_ns && lesson.end_ns >= span.from_ns;
        against.iter().any(|suspect| self.suspects.peek(suspect).is_some_and(overlaps))
    }

    pub(super) fn save(&self, saver: &mut Saver<'_>) {
        saver.count(self.waiting.len());
        for lesson in &self.waiting {
            saver.u64(lesson.id);
            saver.array(&lesson.src);
            saver.array(&lesson.dst);
            saver.u16(lesson.dst_port);
            saver.u8(lesson.proto);
            saver.text(lesson.app.label());
            saver.flag(lesson.answered);
            saver.flag(lesson.spoken);
            saver.i64(lesson.start_ns);
            saver.i64(lesson.end_ns);
            saver.u64(lesson.forward_bytes);
            saver.u64(lesson.backward_bytes);
            saver.f32(lesson.error);
        }
        saver.count(self.suspects.len());
        for (suspect, span, proven) in self.suspects.by_age() {
            let (kind, one, other, id) = match *suspect {
                Suspect::Host(host) => (0, host, [0; 16], 0),
                Suspect::Target(host) => (1, host, [0; 16], 0),
                Suspect::Pair(one, other) => (2, one, other, 0),
                Suspect::Flow(id) => (3, [0; 16], [0; 16], id),
            };
            saver.u8(kind);
            saver.array(&one);
            saver.array(&other);
            saver.u64(id);
            saver.i64(span.from_ns);
            saver.i64(span.until_ns);
            saver.flag(proven);
        }
    }

    pub(super) fn restore(&mut self, saved: &mut Saved<'_>, shift: AxisShift) -> Result<(), StateError> {
        for _ in 0..saved.count(WAITING_MAX)? {
            let lesson = Lesson {
                id: saved.u64()?,
                src: saved.array()?,
                dst: saved.array()?,
                dst_port: saved.u16()?,
                proto: saved.u8()?,
                app: {
                    let label = saved.text(64)?;
                    AppProto::ALL.iter().copied().find(|app| app.label() == label).unwrap_or_default()
                },
                answered: saved.flag()?,
                spoken: saved.flag()?,
                start_ns: shift.moved(saved.i64()?),
                end_ns: shift.moved(saved.i64()?),
                forward_bytes: saved.u64()?,
                backward_bytes: saved.u64()?,
                error: saved.f32()?,
            };
            self.waiting.push_back(lesson);
        }
        let mut suspects = Vec::new();
        for _ in 0..saved.count(SUSPECTS_MAX)? {
            let (kind, one, other, id) = (saved.u8()?, saved.array()?, saved.array()?, saved.u64()?);
            let suspect = match kind {
                0 => Suspect::Host(one),
                1 => Suspect::Target(one),
                2 => Suspect::Pair(one, other),
                3 => Suspect::Flow(id),
                _ => return Err(saved.refuse("there is no such suspect")),
            };
            let span = Span { from_ns: shift.moved(saved.i64()?), until_ns: shift.moved(saved.i64()?) };
            suspects.push((suspect, span, saved.flag()?));
        }
        self.suspects.refill(suspects);
        Ok(())
    }
}

/// Either may have begun.
fn pair(one: [u8; 16], other: [u8; 16]) -> Suspect {
    Suspect::Pair(one.min(other), one.max(other))
}

fn span_of(finding: &Finding) -> Span {
    let signed = |ns: u64| i64::try_from(ns).unwrap_or(i64::MAX);
    Span {
        from_ns: signed(finding.first_ns).saturating_sub(QUARANTINE_NS),
        until_ns: signed(finding.last_ns).saturating_add(QUARANTINE_NS),
    }
}
