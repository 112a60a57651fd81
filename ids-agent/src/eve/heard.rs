//! What Suricata said of one flow, as findings, verdicts and alerts carry it.

use std::sync::Arc;

use smallvec::SmallVec;

use super::app::{EveFile, EveSmb};

/// Signatures, files and commands kept of one flow; what is beyond is counted with the last.
pub const HEARD_SIGNATURES_MAX: usize = 8;
pub const HEARD_OBJECTS_MAX: usize = 4;

/// A signature that matched, and how often.
#[derive(Clone, Debug, PartialEq)]
pub struct Matched {
    pub gid: u32,
    pub sid: u32,
    pub rev: u32,
    pub signature: Arc<str>,
    pub category: Arc<str>,
    /// Suricata's priority: 1 is the highest.
    pub priority: u8,
    /// The share of its matches that are attacks, as far as is known here: 0 to 1.
    pub worth: f32,
    pub times: u64,
}

/// What Suricata said of one flow beyond what the agent's own samples show.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Heard {
    pub signatures: SmallVec<[Matched; 1]>,
    pub files: SmallVec<[EveFile; 1]>,
    pub smb: SmallVec<[EveSmb; 1]>,
}

impl Heard {
    pub fn is_empty(&self) -> bool {
        self.signatures.is_empty() && self.files.is_empty() && self.smb.is_empty()
    }
}

/// Adds a match to those that are known.
pub fn add_match(all: &mut SmallVec<[Matched; 1]>, matched: Matched) {
    if let Some(known) = all.iter_mut().find(|known| (known.gid, known.sid) == (matched.gid, matched.sid)) {
        known.times = known.times.saturating_add(matched.times);
        known.worth = matched.worth;
    } else if all.len() < HEARD_SIGNATURES_MAX {
        all.push(matched);
    } else if let Some(weakest) = all.iter_mut().min_by(|a, b| a.worth.total_cmp(&b.worth))
        && weakest.worth < matched.worth
    {
        // The weakest gives way: what matters is what is told.
        *weakest = matched;
    }
}
