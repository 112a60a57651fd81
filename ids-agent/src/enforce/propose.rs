//! Which incidents ask for a block, and whether what they rest on cannot have been sent in another's name.

use ids_common::{flow::FlowSlot, wire};

use crate::{
    config::{BlockScope, BlockSeverity, EnforceSettings},
    detect::{Incident, Severity, Witness},
    flow::FlowRecord,
};

/// A block that an incident asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Proposal {
    pub source: [u8; 16],
    /// Set where the block is of the source towards this target alone.
    pub target: Option<[u8; 16]>,
    pub incident: u64,
    pub class: &'static str,
    pub kind: &'static str,
    pub severity: Severity,
    pub confidence: f32,
    /// Those that said so, each once.
    pub witnesses: Vec<&'static str>,
    pub reason: String,
}

/// What an incident comes to.
#[derive(Clone, Debug, PartialEq)]
pub enum Proposed {
    /// The settings do not ask for a block.
    Nothing,
    /// They do, but nothing shows that the source is who it says.
    Unproven(Box<Proposal>),
    Block(Box<Proposal>),
}

/// Holds an incident against the settings.
pub fn propose(incident: &Incident, settings: &EnforceSettings) -> Proposed {
    let Some(source) = incident.source else { return Proposed::Nothing };
    let asked_for = settings.classes.iter().any(|class| class == incident.class.name())
        && incident.severity <= least(settings.min_severity)
        && f64::from(incident.score) >= settings.min_confidence;
    let says_so = |witness: &Witness| {
        incident.witnesses.iter().any(|said| said.witness == *witness && said.class == incident.class && said.decides())
    };
    let witnesses: Vec<&'static str> = Witness::ALL.into_iter().filter(says_so).map(|witness| witness.name()).collect();
    if !asked_for || witnesses.len() < settings.min_witnesses {
        return Proposed::Nothing;
    }
    let target = match settings.scope {
        BlockScope::Source => None,
        BlockScope::Pair => match incident.target {
            Some(target) => Some(target),
            // Without one target there is no pair, and more than was asked for is not dropped.
            None => return Proposed::Nothing,
        },
    };
    let proposal = Box::new(Proposal {
        source,
        target,
        incident: incident.id,
        class: incident.class.name(),
        kind: incident.kind,
        severity: incident.severity,
        confidence: incident.score,
        witnesses,
        reason: incident.reason.clone(),
    });
    let shows = |record: &FlowRecord| (record.key.src == source || record.key.dst == source) && conversed(record);
    if incident.record.as_ref().is_some_and(shows) { Proposed::Block(proposal) } else { Proposed::Unproven(proposal) }
}

const fn least(severity: BlockSeverity) -> Severity {
    match severity {
        BlockSeverity::High => Severity::High,
        BlockSeverity::Medium => Severity::Medium,
        BlockSeverity::Low => Severity::Low,
    }
}

/// Whether both ends of a connection showed that they received the other's first number: anyone can send a SYN, and a
/// blind ACK, in another's name, but the other end answers a wrong number with RST (RFC 9293, section 3.10.7) and goes on
/// only for the right one. Without TCP nothing shows it.
pub fn conversed(record: &FlowRecord) -> bool {
    let went_on = |slot: &FlowSlot| slot.syn > 0 && slot.packets > u64::from(slot.syn) + u64::from(slot.rst);
    record.key.proto == wire::PROTO_TCP && went_on(&record.forward) && record.backward.as_ref().is_some_and(went_on)
}
