//! What a live source should see and does not: said with every batch, so that an alert and a gauge can be made of it.
//! `pipeline::SourceState::blind` brings it to the thread of the engine, tick by tick; empty while all is seen.

use std::sync::Arc;

/// An interface that is not seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blindness {
    /// As the configuration names it.
    pub interface: Arc<str>,
    pub cause: BlindCause,
    /// Since when, on the axis of the batches.
    pub since_ns: u64,
}

/// Why an interface is not seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BlindCause {
    /// There has been none of this name since the agent started.
    Absent,
    /// It was deleted.
    Gone,
    /// Another XDP program is on it.
    OtherProgram,
    /// The kernel refuses to attach; the log says why.
    Refused,
}

impl BlindCause {
    pub const ALL: [Self; 4] = [Self::Absent, Self::Gone, Self::OtherProgram, Self::Refused];

    pub const fn label(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Gone => "gone",
            Self::OtherProgram => "other_program",
            Self::Refused => "refused",
        }
    }
}
