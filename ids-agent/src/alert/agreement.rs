//! Which witnesses agree, in one word, and what Suricata said, as objects of a line.

use serde::Serialize;

use super::rounded;
use crate::{
    detect::{Class, Witness, WitnessScore},
    eve::{Heard, Matched},
};

/// Who names the class: one side alone, or both. What is merely unusual supports any class, and a signature that is
/// mostly noise none.
pub(super) fn agreement_kind(witnesses: &[WitnessScore], class: Class) -> &'static str {
    let speaks = |witness: Witness| {
        witnesses.iter().any(|said| said.witness == witness && said.supports(class) && said.decides())
    };
    let ml = speaks(Witness::Classifier) || speaks(Witness::Anomaly);
    let own = [
        (ml, "ml-only"),
        (speaks(Witness::Behaviour), "behaviour-only"),
        (speaks(Witness::Payload), "payload-only"),
        (speaks(Witness::Intel), "intel-only"),
    ];
    let ours = || own.iter().filter(|(speaks, _)| *speaks);
    match (speaks(Witness::Signature), ours().count()) {
        (true, 0) => "signature-only",
        (true, _) => "both",
        (false, 0) => "none",
        (false, 1) => ours().next().map_or("none", |(_, word)| word),
        (false, _) => "agent-only",
    }
}

/// A signature of Suricata that matched.
#[derive(Debug, Serialize)]
pub(super) struct MatchedLine<'a> {
    gid: u32,
    signature_id: u32,
    rev: u32,
    signature: &'a str,
    category: &'a str,
    severity: u8,
    worth: f64,
    times: u64,
}

impl<'a> MatchedLine<'a> {
    pub(super) fn all(matched: &'a [Matched]) -> Vec<Self> {
        let line = |one: &'a Matched| Self {
            gid: one.gid,
            signature_id: one.sid,
            rev: one.rev,
            signature: &one.signature,
            category: &one.category,
            severity: one.priority,
            worth: rounded(one.worth),
            times: one.times,
        };
        matched.iter().map(line).collect()
    }

    /// One of them as a sentence, for forms without a key for it.
    pub(super) fn words(one: &Matched) -> String {
        format!("{}:{}:{} {} ({} times, worth {:.2})", one.gid, one.sid, one.rev, one.signature, one.times, one.worth)
    }
}

/// Files and commands of file shares that Suricata saw in a flow.
#[derive(Debug, Serialize)]
pub(super) struct HeardLine<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    files: Vec<FileLine<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    smb: Vec<SmbLine<'a>>,
}

#[derive(Debug, Serialize)]
struct FileLine<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    filename: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    magic: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<&'a str>,
    size: u64,
}

#[derive(Debug, Serialize)]
struct SmbLine<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    share: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    filename: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'a str>,
}

impl<'a> HeardLine<'a> {
    /// Nothing where there is nothing of it.
    pub(super) fn of(heard: Option<&'a Heard>) -> Option<Self> {
        let heard = heard.filter(|heard| !heard.files.is_empty() || !heard.smb.is_empty())?;
        let files = heard.files.iter().map(|file| FileLine {
            filename: file.name.as_deref(),
            magic: file.magic.as_deref(),
            sha256: file.sha256.as_deref(),
            size: file.bytes,
        });
        let smb = heard.smb.iter().map(|smb| SmbLine {
            command: smb.command.as_deref(),
            share: smb.share.as_deref(),
            filename: smb.file.as_deref(),
            status: smb.status.as_deref(),
        });
        Some(Self { files: files.collect(), smb: smb.collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_says_which_sides_named_the_class() {
        let said = |witness, class, score| WitnessScore { witness, class, kind: "", score };
        let ml = said(Witness::Classifier, Class::Flood, 0.9);
        let odd = said(Witness::Anomaly, Class::Anomaly, 0.9);
        let counted = said(Witness::Behaviour, Class::Flood, 0.9);
        let rule = said(Witness::Signature, Class::Flood, 0.9);
        let noise = said(Witness::Signature, Class::Flood, 0.1);
        let other = said(Witness::Signature, Class::C2, 0.9);
        for (witnesses, word) in [
            (vec![ml], "ml-only"),
            (vec![ml, odd], "ml-only"),
            (vec![counted, noise], "behaviour-only"),
            (vec![counted, other], "behaviour-only"),
            (vec![counted, ml], "agent-only"),
            (vec![rule], "signature-only"),
            (vec![rule, ml], "both"),
            (vec![rule, counted, ml], "both"),
            (vec![], "none"),
        ] {
            assert_eq!(agreement_kind(&witnesses, Class::Flood), word, "{witnesses:?}");
        }
    }
}
