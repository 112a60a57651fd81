//! Evidence: what an alert rests on, kept on disk so that it can be looked at, and judged anew, later.
//!
//! ```text
//! DIR/ID.json      the alert, its reports over time, and the exhibit: vector, outputs of the models, samples
//! DIR/ID.pcapng    the sampled packets, with headers rebuilt from the flow's key
//! ```
//!
//! `document` is the content, `store` the folder with its bounds, `pcapng` the capture, `reproduce` the second judgement.

mod document;
mod pcapng;
mod reproduce;
mod store;

pub use document::{
    Direction, Document, ExhibitRecord, FORMAT, FindingRecord, FlowIdentity, ModelRecord, OutputRecord, PacketRecord,
    Pattern, Report, Said, ScoreRecord,
};
pub use pcapng::capture;
pub use reproduce::{Check, Outcome, check};
pub use store::{EvidenceError, EvidenceSink, load};

use crate::{alert::Renderer, detect::Incident};

/// Turns incidents into documents.
#[derive(Debug)]
pub struct Recorder {
    pub renderer: Renderer,
    /// Longest string that payload parsing keeps: needed to read the samples again.
    pub string_bytes_max: usize,
}

impl Recorder {
    /// The document of an incident as one line.
    pub fn line(&self, incident: &Incident) -> Vec<u8> {
        crate::alert::json::line(&Document::of(incident, &self.renderer, self.string_bytes_max))
    }
}
