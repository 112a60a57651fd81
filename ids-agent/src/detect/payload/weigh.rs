//! What the signs of one flow amount to: a class, how sure, how severe. The only place that knows what a kind means.

use crate::{
    detect::{Class, Severity},
    payload::{FlowSigns, Sign, SignKind},
};

/// How far beyond its own flow a sign reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    Flow,
    /// Everything between the two hosts at the time is part of it.
    Pair,
}

/// The verdict of the bytes on one flow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Weighed<'a> {
    pub(super) class: Class,
    pub(super) severity: Severity,
    /// In percent.
    pub(super) sureness: u8,
    pub(super) reach: Reach,
    /// The sign that shows it best, and the next of the same class.
    pub(super) sign: &'a Sign,
    pub(super) beside: Option<&'a Sign>,
    pub(super) from_initiator: bool,
}

/// What a kind means by itself.
struct Meaning {
    class: Class,
    severity: Severity,
    reach: Reach,
}

const fn meaning(kind: SignKind) -> Meaning {
    use SignKind as K;
    let (class, severity, reach) = match kind {
        K::SqlInjection
        | K::NosqlInjection
        | K::PathTraversal
        | K::FileInclusion
        | K::ExternalEntity
        | K::RequestForgery
        | K::WebShell
        | K::Deserialization
        | K::CommandInjection
        | K::CodeInjection
        | K::TemplateInjection
        | K::JndiLookup
        | K::Shellshock
        | K::FileLeak => (Class::WebAttack, Severity::High, Reach::Flow),
        K::CrossSiteScripting | K::ExploitPath | K::ScanTool | K::MalformedRequest | K::SqlError => {
            (Class::WebAttack, Severity::Medium, Reach::Flow)
        }
        K::ManyRanges => (Class::AppDos, Severity::High, Reach::Flow),
        K::SlowHeaders => (Class::AppDos, Severity::Medium, Reach::Flow),
        K::Discovery => (Class::PortScan, Severity::Low, Reach::Flow),
        K::MaliciousPage
        | K::Shellcode
        | K::FormatString
        | K::SmbExploit
        | K::RpcExploit
        | K::Heartbleed
        | K::Worm
        | K::CommandOutput
        | K::BotLoader
        | K::ExploitKit => (Class::Exploit, Severity::High, Reach::Flow),
        K::Zerologon => (Class::Exploit, Severity::High, Reach::Pair),
        K::OverlongField | K::ByteRun | K::ProtocolViolation | K::RepeatedCommand | K::ServiceLoop | K::RiskyFile => {
            (Class::Exploit, Severity::Medium, Reach::Flow)
        }
        K::DirectoryTheft | K::Coercion => (Class::Infiltration, Severity::High, Reach::Flow),
        K::RemoteExecution | K::DirectorySearch | K::UnknownAccount | K::WeakTicket | K::StrongCipher => {
            (Class::Infiltration, Severity::Medium, Reach::Flow)
        }
        K::RemoteShell | K::Stager | K::RatHello | K::BotChat | K::C2Profile => {
            (Class::C2, Severity::High, Reach::Flow)
        }
        K::Miner | K::SpamBot | K::DisguisedProgram | K::ProgramDownload | K::AddressHost => {
            (Class::C2, Severity::Medium, Reach::Flow)
        }
    };
    Meaning { class, severity, reach }
}

/// The surest class. What both hosts show is independent: a probe, and the answer to it. Signs of one class in one
/// direction support each other at half their weight: odder than one alone, and less than two that are independent.
pub(super) fn weigh(signs: &FlowSigns) -> Option<Weighed<'_>> {
    let all = || {
        let forward = signs.forward.iter().map(|sign| (sign, true));
        forward.chain(signs.backward.iter().map(|sign| (sign, false)))
    };
    let (sign, from_initiator) =
        all().max_by_key(|(sign, forward)| (sign.sureness, *forward, std::cmp::Reverse(sign.kind)))?;
    let Meaning { class, severity, reach } = meaning(sign.kind);
    let mut doubt = 100.0 - f32::from(sign.sureness.min(100));
    let mut beside: Option<&Sign> = None;
    let supports = |other: SignKind| {
        // What was asked for well says something of the answer alone.
        let fits = other != SignKind::StrongCipher || sign.kind == SignKind::WeakTicket;
        fits && other != sign.kind && meaning(other).class == class
    };
    for (other, forward) in all().filter(|(other, _)| supports(other.kind)) {
        let weight = if forward == from_initiator { 200.0 } else { 100.0 };
        doubt *= 1.0 - f32::from(other.sureness.min(100)) / weight;
        if beside.is_none_or(|known| other.sureness > known.sureness) {
            beside = Some(other);
        }
    }
    // Rounded to a whole percent, so that the same signs weigh the same everywhere.
    let sureness = (100.0 - doubt).round().clamp(0.0, 100.0) as u8;
    let severity = if sureness < 80 && severity == Severity::High { Severity::Medium } else { severity };
    Some(Weighed { class, severity, sureness, reach, sign, beside, from_initiator })
}
