//! Judges flows: detectors give findings, the engine joins them into verdicts and alerts.
//!
//! Pure: no clock, no I/O, no tasks. The same batches give the same alerts in the same order.

use std::{cmp::Ordering, sync::Arc};

use ids_common::flow::FlowKey;
use serde::{Deserialize, Serialize};

use smallvec::SmallVec;

use crate::{
    budget::{Effort, Sense},
    config::{AllowEntry, SidThreshold},
    eve::{EveEvent, Matched},
    features::FeatureVector,
    flow::FlowRecord,
    payload::PayloadFacts,
};
use saved::AxisShift;

pub mod anomaly;
pub mod behaviour;
pub mod dga;
mod engine;
mod exhibit;
pub mod fuse;
pub mod intel;
pub mod model;
pub mod payload;
mod renewal;
pub mod saved;
pub mod signature;
pub mod site;

pub use engine::{Engine, EngineParts, EngineStats, Judging};
pub use exhibit::{ClassOutput, EXHIBITS_MAX, Exhibit, ModelOutputs};
pub use renewal::{Renewal, Renewed};

/// What a flow, or a host's conduct, is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    Benign,
    PortScan,
    Flood,
    AppDos,
    BruteForce,
    WebAttack,
    C2,
    DnsTunnel,
    Exfiltration,
    Exploit,
    Infiltration,
    Anomaly,
}

impl Class {
    pub const ALL: [Self; 12] = [
        Self::Benign,
        Self::PortScan,
        Self::Flood,
        Self::AppDos,
        Self::BruteForce,
        Self::WebAttack,
        Self::C2,
        Self::DnsTunnel,
        Self::Exfiltration,
        Self::Exploit,
        Self::Infiltration,
        Self::Anomaly,
    ];

    /// The name in alerts, metrics, manifests and the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Benign => "benign",
            Self::PortScan => "port_scan",
            Self::Flood => "flood",
            Self::AppDos => "app_dos",
            Self::BruteForce => "brute_force",
            Self::WebAttack => "web_attack",
            Self::C2 => "c2",
            Self::DnsTunnel => "dns_tunnel",
            Self::Exfiltration => "exfiltration",
            Self::Exploit => "exploit",
            Self::Infiltration => "infiltration",
            Self::Anomaly => "anomaly",
        }
    }

    /// The class of that name, as `name` gives it.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.name() == name)
    }
}

/// Who says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Witness {
    Classifier,
    Anomaly,
    Behaviour,
    /// What the sampled bytes say: attack patterns, odd handshakes.
    Payload,
    /// Lists of known bad addresses, names and fingerprints.
    Intel,
    /// Suricata, by the signatures that matched.
    Signature,
}

impl Witness {
    pub const ALL: [Self; 6] =
        [Self::Classifier, Self::Anomaly, Self::Behaviour, Self::Payload, Self::Intel, Self::Signature];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Classifier => "classifier",
            Self::Anomaly => "anomaly",
            Self::Behaviour => "behaviour",
            Self::Payload => "payload",
            Self::Intel => "intel",
            Self::Signature => "signature",
        }
    }
}

impl From<Witness> for Sense {
    fn from(witness: Witness) -> Self {
        match witness {
            Witness::Classifier => Self::Classifier,
            Witness::Anomaly => Self::Anomaly,
            Witness::Behaviour => Self::Behaviour,
            Witness::Payload => Self::Payload,
            Witness::Intel => Self::Intel,
            Witness::Signature => Self::Signature,
        }
    }
}

/// EVE's scale: 1 is the highest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    High = 1,
    Medium = 2,
    Low = 3,
    Info = 4,
}

/// What a finding is about. Addresses are network order, IPv4 mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    Flow {
        id: u64,
    },
    Source {
        src: [u8; 16],
    },
    Target {
        dst: [u8; 16],
    },
    Pair {
        src: [u8; 16],
        dst: [u8; 16],
    },
    /// A source that works on one service of one target.
    Service {
        src: [u8; 16],
        dst: [u8; 16],
        dst_port: u16,
        proto: u8,
    },
}

/// One measured value that speaks for a finding, with the range that is normal for it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evidence {
    pub feature: &'static str,
    pub value: f64,
    pub normal_low: f64,
    pub normal_high: f64,
    pub unit: &'static str,
}

/// One witness's statement.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    pub witness: Witness,
    pub class: Class,
    /// Names the pattern within the class, in snake case: `syn_scan`, `ssh`, `spoofed`.
    pub kind: &'static str,
    /// Confidence, 0 to 1.
    pub score: f32,
    pub severity: Severity,
    pub subject: Subject,
    /// The flow that shows it best; alerts carry its addresses and community-id.
    pub exemplar: FlowKey,
    pub exemplar_id: u64,
    pub first_ns: u64,
    pub last_ns: u64,
    /// One plain sentence saying why.
    pub reason: String,
    pub evidence: Vec<Evidence>,
    /// The signature of Suricata that it rests on, where it is one.
    pub matched: Option<Box<Matched>>,
}

impl Finding {
    /// Orders findings by how well they show an incident: the more severe, then the one that counted flows, then the
    /// explained, then the surer one.
    pub fn shown_better(&self, other: &Self) -> Ordering {
        let rank = |one: &Self| (one.severity, matches!(one.subject, Subject::Flow { .. }), one.evidence.is_empty());
        rank(self).cmp(&rank(other)).then(other.score.total_cmp(&self.score))
    }
}

/// The strongest thing one witness said about one class.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct WitnessScore {
    pub witness: Witness,
    pub class: Class,
    pub kind: &'static str,
    pub score: f32,
}

impl WitnessScore {
    /// Whether it speaks for `class`: what is merely unusual supports every class.
    pub fn supports(&self, class: Class) -> bool {
        self.class == class || self.witness == Witness::Anomaly
    }

    /// Whether it names a class by itself. A signature that is worth little is one of the reasons beside others: it opens no
    /// incident, and no flow is called an attack for it.
    pub fn decides(&self) -> bool {
        self.witness != Witness::Signature || self.score >= signature::TOLD_FROM
    }
}

/// What is said of an ended flow; every ended flow gets exactly one.
///
/// It is held back for a while, so that a finding on its source, target or service made a little
/// later still covers it.
#[derive(Clone, Debug)]
pub struct Verdict {
    pub record: FlowRecord,
    pub features: FeatureVector,
    pub payload: PayloadFacts,
    pub class: Class,
    /// The kind of the strongest finding of `class`; empty for `benign`.
    pub kind: &'static str,
    /// Confidence in `class`, 0 to 1; for `benign` what is left after all suspicions.
    pub confidence: f32,
    pub witnesses: Vec<WitnessScore>,
    /// The incident that covers the flow.
    pub incident: Option<u64>,
}

/// Why an incident is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// It is new.
    Opened,
    /// A later finding made it more severe; the id is that of the first report.
    Escalated,
    /// `suppressed` further findings went into it since the last report.
    Summary,
}

/// Findings that belong together, as one report. Deduplicated per source, target and class.
#[derive(Clone, Debug)]
pub struct Incident {
    /// Derived from source, target, class and time of the first finding: replay gives it again.
    pub id: u64,
    pub stage: Stage,
    pub class: Class,
    pub kind: &'static str,
    /// Joint confidence of the witnesses, 0 to 1.
    pub score: f32,
    /// Share of the witnesses at work that speak for it.
    pub agreement: f32,
    pub severity: Severity,
    pub subject: Subject,
    /// Who acts and who is acted upon in all of its findings; absent where that is many.
    pub source: Option<[u8; 16]>,
    pub target: Option<[u8; 16]>,
    /// The exemplar flow, initiator's direction.
    pub key: FlowKey,
    pub flow_id: u64,
    pub community_id: String,
    /// The exemplar's record and payload facts where the engine still held them.
    pub record: Option<FlowRecord>,
    pub payload: PayloadFacts,
    pub reason: String,
    pub evidence: Vec<Evidence>,
    pub witnesses: Vec<WitnessScore>,
    pub first_ns: u64,
    pub last_ns: u64,
    /// Findings folded in since the last report of this incident.
    pub suppressed: u64,
    /// Flows the incident covers so far.
    pub flows: u64,
    /// Signatures of Suricata that matched in it, the first ones.
    pub matched: SmallVec<[Matched; 1]>,
    /// What the exemplar's finding rested on, where evidence is kept and it was at hand.
    pub exhibit: Option<Box<Exhibit>>,
}

/// What the engine has to say after a tick. The caller takes it and clears it.
#[derive(Debug, Default)]
pub struct Outcome {
    pub incidents: Vec<Incident>,
    pub verdicts: Vec<Verdict>,
}

/// Room that an outcome keeps from one time to the next.
const ROOM_KEPT: usize = 1_024;

impl Outcome {
    /// Empties it, and gives back what one tick of a flood took.
    pub fn clear(&mut self) {
        self.incidents.clear();
        self.verdicts.clear();
        self.incidents.shrink_to(ROOM_KEPT);
        self.verdicts.shrink_to(ROOM_KEPT);
    }
}

/// Names a loaded model, for alerts and metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelInfo {
    pub name: Arc<str>,
    pub version: Arc<str>,
    /// SHA-256 of the model file, hex.
    pub sha256: Arc<str>,
    /// `tract` or `onnxruntime`.
    pub backend: &'static str,
}

/// One flow that is up for judgement in this tick, with all that is known of it.
#[derive(Clone, Copy, Debug)]
pub struct Judged<'a> {
    pub record: &'a FlowRecord,
    pub features: &'a FeatureVector,
    pub payload: &'a PayloadFacts,
}

/// How long a detector may sit on what it heard, waiting for the flow: a restart begins with what is younger.
pub const HEARD_HELD_NS: u64 = 30_000_000_000;

/// A witness. It sees every judged flow of a tick in a fixed order, then the tick itself.
pub trait Detector: Send {
    fn witness(&self) -> Witness;

    /// Looks at the flows of one tick and appends what it finds.
    fn judge(&mut self, flows: &[Judged<'_>], now_ns: u64, findings: &mut Vec<Finding>);

    /// Takes in what another sensor said since the last tick, before the tick is judged. Times are those of the batch.
    /// What there is to find in an event is found within `HEARD_HELD_NS`.
    fn hear(&mut self, _events: &[EveEvent], _now_ns: u64) {}

    /// Adds what another sensor told of a flow to what its own samples show.
    fn tell(&self, _record: &FlowRecord, _facts: &mut PayloadFacts) {}

    /// Takes the feedback that holds from now on.
    fn heed(&mut self, _feedback: &[AllowEntry]) {}

    /// Takes the thresholds of signatures that hold from now on.
    fn weigh(&mut self, _thresholds: &[SidThreshold]) {}

    /// What it looks at, by which the budget decides whether it is asked.
    fn sense(&self) -> Sense {
        Sense::from(self.witness())
    }

    /// Hears how much is given up from now on. Whether it is asked is decided elsewhere.
    fn ease(&mut self, _effort: Effort) {}

    /// Hears that no more comes: what it still waits for is decided, and found in the next judgement.
    fn end(&mut self, _now_ns: u64) {}

    /// Hears what all witnesses found in the flows it has just judged, itself included: what was called an attack must
    /// not be learned as ordinary.
    fn learn(&mut self, _findings: &[Finding]) {}

    /// Whether `judge` looks at the features of flows that have not ended. Where no detector does,
    /// they are not computed, and are all zero.
    fn reads_open_features(&self) -> bool {
        true
    }

    /// What its model gives for one vector, unjudged; nothing where it has no model.
    fn outputs(&mut self, _features: &FeatureVector) -> Vec<ClassOutput> {
        Vec::new()
    }

    /// Running totals since the start.
    fn stats(&self) -> DetectorStats;

    /// Names the part of the state file that `save` fills, and the layout of it: `device_baselines/1`. None where
    /// nothing is worth keeping over a restart.
    fn state_name(&self) -> Option<&'static str> {
        None
    }

    /// Appends what must survive a restart, best through `saved::Saver`. Times are those of `now_ns`'s axis;
    /// `restore` is told how it moved.
    fn save(&self, _now_ns: u64, _out: &mut Vec<u8>) {}

    /// Takes back what `save` wrote, bounded like everything else, best through `saved::Saved`. Every time in it has
    /// to go through `shift`. On an error the detector stays as new.
    fn restore(&mut self, _saved: &[u8], _shift: AxisShift) -> Result<(), StateError> {
        Ok(())
    }

    /// The model behind it, where there is one.
    fn model(&self) -> Option<ModelInfo> {
        None
    }
}

/// All of a `Detector` but `judge` and `stats`, passed on to the detector that `self.inner` wraps.
macro_rules! forward_to_inner {
    () => {
        fn witness(&self) -> $crate::detect::Witness {
            self.inner.witness()
        }

        fn hear(&mut self, events: &[$crate::eve::EveEvent], now_ns: u64) {
            self.inner.hear(events, now_ns);
        }

        fn tell(&self, record: &$crate::flow::FlowRecord, facts: &mut $crate::payload::PayloadFacts) {
            self.inner.tell(record, facts);
        }

        fn heed(&mut self, feedback: &[$crate::config::AllowEntry]) {
            self.inner.heed(feedback);
        }

        fn weigh(&mut self, thresholds: &[$crate::config::SidThreshold]) {
            self.inner.weigh(thresholds);
        }

        fn end(&mut self, now_ns: u64) {
            self.inner.end(now_ns);
        }

        fn sense(&self) -> $crate::budget::Sense {
            self.inner.sense()
        }

        fn ease(&mut self, effort: $crate::budget::Effort) {
            self.inner.ease(effort);
        }

        fn learn(&mut self, findings: &[$crate::detect::Finding]) {
            self.inner.learn(findings);
        }

        fn reads_open_features(&self) -> bool {
            self.inner.reads_open_features()
        }

        fn outputs(&mut self, features: &$crate::features::FeatureVector) -> Vec<$crate::detect::ClassOutput> {
            self.inner.outputs(features)
        }

        fn state_name(&self) -> Option<&'static str> {
            self.inner.state_name()
        }

        fn save(&self, now_ns: u64, out: &mut Vec<u8>) {
            self.inner.save(now_ns, out);
        }

        fn restore(
            &mut self,
            saved: &[u8],
            shift: $crate::detect::saved::AxisShift,
        ) -> Result<(), $crate::detect::StateError> {
            self.inner.restore(saved, shift)
        }

        fn model(&self) -> Option<$crate::detect::ModelInfo> {
            self.inner.model()
        }
    };
}
pub(crate) use forward_to_inner;

/// Saved state that is not taken back. The detector then starts as new.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("saved state `{name}` is unreadable at byte {at}: {reason}")]
pub struct StateError {
    pub name: &'static str,
    pub at: usize,
    pub reason: &'static str,
}

/// What a detector has done since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DetectorStats {
    /// Flows looked at; a flow counts each time it is up for judgement.
    pub judged: u64,
    pub findings: u64,
    /// Flows that looked odd, but not surely enough to say so.
    pub abstained: u64,
    /// Flows that could not be judged because inference failed.
    pub failed: u64,
    /// Entries of its own bounded state that had to go early.
    pub forgotten: u64,
    /// Devices whose past it is still learning, and whose past it knows, now.
    pub devices_learning: u64,
    pub devices_known: u64,
    /// What became of Suricata's alerts, where it is heard.
    pub join: Option<signature::JoinStats>,
}
