//! Findings on hosts and services that are in force, and the flows they concern.

use std::collections::{BTreeMap, HashMap};

use foldhash::quality::FixedState;
use smallvec::SmallVec;

use super::Said;
use crate::{
    detect::{Class, Subject},
    flow::FlowRecord,
};

/// Hosts and services with a finding in force.
pub(super) const COVERS_MAX: usize = 4_096;

const TCP: u8 = 6;
const UDP: u8 = 17;
/// A flow of more packets is a conversation, whatever else its source is up to.
const PROBE_PACKETS_MAX: u64 = 100;

#[derive(Clone, Copy, Debug)]
struct Cover {
    said: Said,
    first_ns: u64,
    last_ns: u64,
}

#[derive(Default)]
struct Entry {
    covers: SmallVec<[Cover; 1]>,
    /// When the last of them ends to matter: the entry's place in `ends`.
    end_ns: u64,
}

pub(super) struct Covers {
    /// Never walked through: their order is nobody's.
    subjects: HashMap<Subject, Entry, FixedState>,
    /// How many of them are sources, targets, pairs and services: most flows are asked of in vain.
    kinds: [usize; 4],
    ends: BTreeMap<(u64, Subject), ()>,
    slack_ns: u64,
    keep_ns: u64,
    evicted: u64,
}

impl Covers {
    /// A finding reaches `slack_ns` beyond its own span. It is kept until the last flow that it
    /// concerns has fallen silent for `idle_ns` and ended.
    pub(super) fn new(slack_ns: u64, idle_ns: u64, hash_seed: u64) -> Self {
        let keep_ns = slack_ns.saturating_mul(2).saturating_add(idle_ns);
        let subjects = HashMap::with_hasher(FixedState::with_seed(hash_seed));
        Self { subjects, kinds: [0; 4], ends: BTreeMap::new(), slack_ns, keep_ns, evicted: 0 }
    }

    pub(super) fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Puts a finding in force; tells whether it reaches flows that no earlier one reached.
    pub(super) fn add(&mut self, subject: Subject, said: Said, (first_ns, last_ns): (u64, u64)) -> bool {
        let end_ns = last_ns.saturating_add(self.keep_ns);
        if !self.subjects.contains_key(&subject) && self.subjects.len() >= COVERS_MAX {
            self.evict();
        }
        let kind = kind_of(subject);
        let kinds = &mut self.kinds;
        let entry = self.subjects.entry(subject).or_insert_with(|| {
            count(kinds, kind, 1);
            Entry::default()
        });
        if end_ns > entry.end_ns {
            self.ends.remove(&(entry.end_ns, subject));
            self.ends.insert((end_ns, subject), ());
            entry.end_ns = end_ns;
        }
        let same = |cover: &&mut Cover| {
            cover.said.score.witness == said.score.witness && cover.said.score.class == said.score.class
        };
        match entry.covers.iter_mut().find(same) {
            Some(cover) => {
                let reaches_back = first_ns < cover.first_ns;
                cover.first_ns = cover.first_ns.min(first_ns);
                cover.last_ns = cover.last_ns.max(last_ns);
                if said.score.score >= cover.said.score.score {
                    cover.said = said;
                }
                cover.said.incident = said.incident;
                reaches_back
            }
            None => {
                entry.covers.push(Cover { said, first_ns, last_ns });
                true
            }
        }
    }

    /// Calls `tell` with every finding in force that concerns the flow.
    pub(super) fn of(&self, record: &FlowRecord, mut tell: impl FnMut(Said)) {
        let key = &record.key;
        let subjects = [
            Subject::Source { src: key.src },
            Subject::Target { dst: key.dst },
            Subject::Pair { src: key.src, dst: key.dst },
            Subject::Service { src: key.src, dst: key.dst, dst_port: key.dst_port, proto: key.proto },
        ];
        for (subject, _) in subjects.into_iter().zip(self.kinds).filter(|(_, known)| *known > 0) {
            for cover in self.subjects.get(&subject).into_iter().flat_map(|entry| &entry.covers) {
                if self.concerns(subject, cover.said.score.class, (cover.first_ns, cover.last_ns), record) {
                    tell(cover.said);
                }
            }
        }
    }

    /// Whether a finding of `class` on `subject` over `span` is about this flow.
    pub(super) fn concerns(&self, subject: Subject, class: Class, span: (u64, u64), record: &FlowRecord) -> bool {
        let key = &record.key;
        let about = match subject {
            Subject::Flow { id } => record.id == id,
            Subject::Source { src } => key.src == src,
            Subject::Target { dst } => key.dst == dst,
            Subject::Pair { src, dst } => key.src == src && key.dst == dst,
            Subject::Service { src, dst, dst_port, proto } => {
                key.src == src && key.dst == dst && key.dst_port == dst_port && key.proto == proto
            }
        };
        about
            && record.start_ns <= span.1.saturating_add(self.slack_ns)
            && record.end_ns.saturating_add(self.slack_ns) >= span.0
            && takes_part(subject, class, record)
    }

    pub(super) fn expire(&mut self, now_ns: u64) {
        while let Some(((end_ns, subject), ())) = self.ends.first_key_value()
            && *end_ns <= now_ns
        {
            let (end_ns, subject) = (*end_ns, *subject);
            self.ends.remove(&(end_ns, subject));
            self.remove(subject);
        }
    }

    fn remove(&mut self, subject: Subject) {
        if self.subjects.remove(&subject).is_some() {
            count(&mut self.kinds, kind_of(subject), -1);
        }
    }

    fn evict(&mut self) {
        if let Some(((_, subject), ())) = self.ends.pop_first() {
            self.remove(subject);
            self.evicted += 1;
        }
    }
}

/// Its place among the kinds that are asked of; a flow has none, for what is said of one is no cover.
const fn kind_of(subject: Subject) -> usize {
    match subject {
        Subject::Source { .. } => 0,
        Subject::Target { .. } => 1,
        Subject::Pair { .. } => 2,
        Subject::Service { .. } => 3,
        Subject::Flow { .. } => usize::MAX,
    }
}

fn count(kinds: &mut [usize; 4], kind: usize, change: isize) {
    if let Some(known) = kinds.get_mut(kind) {
        *known = known.saturating_add_signed(change);
    }
}

/// Whether a flow of the right hosts looks like part of the pattern. A scanner also browses, and a
/// flooded server still serves; their conversations are not called attacks.
fn takes_part(subject: Subject, class: Class, record: &FlowRecord) -> bool {
    let backward_payload = record.backward.as_ref().map_or(0, |slot| slot.payload_bytes);
    let converses = matches!(record.key.proto, TCP | UDP) && record.forward.payload_bytes > 0 && backward_payload > 0;
    let packets = record.forward.packets + record.backward.as_ref().map_or(0, |slot| slot.packets);
    match (class, subject) {
        (Class::PortScan, _) => packets <= PROBE_PACKETS_MAX,
        (Class::Flood, Subject::Target { .. }) => !converses,
        (
            Class::Flood
            | Class::Benign
            | Class::AppDos
            | Class::BruteForce
            | Class::WebAttack
            | Class::C2
            | Class::DnsTunnel
            | Class::Exfiltration
            | Class::Exploit
            | Class::Infiltration
            | Class::Anomaly,
            _,
        ) => true,
    }
}
