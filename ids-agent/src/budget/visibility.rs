//! Says when the agent sees less than it should, and when it sees all again. Pure; `alert` gives a notice its shape.

use std::{collections::BTreeSet, sync::Arc};

use super::{Decision, Effort, Level, Sense, Tables, Why};
use crate::{config::SampleSettings, source::blind::BlindCause};

/// Losses count as going on until there were none for so long.
const LOSSES_END_NS: u64 = 10_000_000_000;

/// Why less is seen than should be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// The level, given up for the budget.
    Level(Level),
    /// Tables are smaller than the budget has room for, so that what is old is forgotten earlier.
    Tables(Tables),
    /// Evicted slots or samples are lost because the ring is full.
    RingFull,
    /// A detector that should judge does not: inference fails, or what it hears is not there.
    Detector(Sense),
    /// An interface that should be seen is not.
    Interface(Arc<str>, BlindCause),
    /// No tick was judged for long.
    Stalled,
}

impl Cause {
    /// The name in alerts and metrics.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Level(_) => "level",
            Self::Tables(_) => "tables",
            Self::RingFull => "ring_full",
            Self::Detector(_) => "detector",
            Self::Interface(..) => "interface",
            Self::Stalled => "stalled",
        }
    }

    pub const NAMES: [&'static str; 6] = ["level", "tables", "ring_full", "detector", "interface", "stalled"];

    fn words(&self, why: Option<Why>) -> String {
        match self {
            Self::Level(level) => {
                let why = match why {
                    Some(Why::Cpu) => ", for the CPU budget",
                    Some(Why::Pressure) => ", because others wait for CPUs",
                    Some(Why::Heat) => ", because the board is hot",
                    Some(Why::Behind) => ", because the engine does not keep up",
                    Some(Why::Memory) => ", for the memory budget",
                    None => "",
                };
                format!("level {} ({}){why}", level.number(), level.name())
            }
            Self::Tables(tables) => format!("tables at 1/{} of their size", 1u32 << tables.halvings()),
            Self::RingFull => "the ring is full and records are lost".to_owned(),
            Self::Detector(sense) => format!("{} does not judge", sense.name()),
            Self::Interface(name, cause) => format!("interface {name} is not seen ({})", cause.label()),
            Self::Stalled => "no tick is judged".to_owned(),
        }
    }
}

/// What is known at a moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sight {
    pub at_ns: u64,
    pub effort: Effort,
    pub why: Option<Why>,
    /// Records lost because the ring was full, since the start.
    pub ring_lost: u64,
    /// Detectors that should judge and do not.
    pub silent: Vec<Sense>,
    pub blind: Vec<(Arc<str>, BlindCause)>,
    pub stalled: bool,
}

impl Sight {
    /// A moment at which only the budget has its say.
    pub fn of(at_ns: u64, decision: &Decision) -> Self {
        Self { at_ns, effort: decision.effort, why: decision.over, ..Self::default() }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoticeStage {
    Degraded,
    Restored,
}

/// What the agent says of itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Notice {
    pub stage: NoticeStage,
    pub at_ns: u64,
    /// Since when not all is seen.
    pub since_ns: u64,
    pub effort: Effort,
    /// All causes at the moment, in words too; none where all is seen again.
    pub causes: Vec<Cause>,
    pub reason: String,
    /// How much each detector at work still sees, 0 to 1.
    pub coverage: Vec<(Sense, f64)>,
}

/// Remembers what was said.
#[derive(Clone, Debug)]
pub struct Visibility {
    sample: SampleSettings,
    /// The detectors that are at work.
    senses: Vec<Sense>,
    /// The tables that the budget has room for.
    tables: Tables,
    told: BTreeSet<Cause>,
    since_ns: Option<u64>,
    ring_lost: u64,
    lost_ns: Option<u64>,
}

impl Visibility {
    pub fn new(sample: SampleSettings, senses: impl IntoIterator<Item = Sense>) -> Self {
        let senses: BTreeSet<Sense> = senses.into_iter().collect();
        Self {
            sample,
            senses: senses.into_iter().collect(),
            tables: Tables::WHOLE,
            told: BTreeSet::new(),
            since_ns: None,
            ring_lost: 0,
            lost_ns: None,
        }
    }

    /// The same, where the budget has room for no larger tables than these.
    pub fn with_tables(self, tables: Tables) -> Self {
        Self { tables, ..self }
    }

    /// The same, behind an agent under whom so many records were lost: that was told then.
    pub fn behind_losses(self, ring_lost: u64) -> Self {
        Self { ring_lost, ..self }
    }

    /// How much each detector at work sees.
    pub fn coverage(&self, sight: &Sight) -> Vec<(Sense, f64)> {
        let rung = sight.effort.level.rung();
        let of = |sense: Sense| {
            // Where nothing is seen at all, nobody sees anything.
            let silent = sight.silent.contains(&sense) || sight.stalled;
            if silent { 0.0 } else { rung.coverage(sense, &self.sample) }
        };
        self.senses.iter().map(|sense| (*sense, of(*sense))).collect()
    }

    /// Says what is new: less is seen than was told, or all is seen again. A cause that goes while others stay is not told.
    pub fn look(&mut self, sight: &Sight) -> Option<Notice> {
        if sight.ring_lost > self.ring_lost {
            self.lost_ns = Some(sight.at_ns);
        }
        // Before the first tick is read, none are known of.
        self.ring_lost = self.ring_lost.max(sight.ring_lost);
        let causes = self.causes(sight);
        if causes.is_empty() {
            let since_ns = self.since_ns.take()?;
            self.told.clear();
            let secs = sight.at_ns.saturating_sub(since_ns) / 1_000_000_000;
            return Some(Notice {
                stage: NoticeStage::Restored,
                at_ns: sight.at_ns,
                since_ns,
                effort: sight.effort,
                causes: Vec::new(),
                reason: format!("all is seen again, after {secs} s with less"),
                coverage: self.coverage(sight),
            });
        }
        let worse = causes.iter().any(|cause| !self.is_told(cause));
        // What went may come back, and is told then; a level that fell may rise again likewise.
        self.told = causes.iter().cloned().collect();
        if !worse {
            return None;
        }
        let since_ns = *self.since_ns.get_or_insert(sight.at_ns);
        let coverage = self.coverage(sight);
        let words: Vec<String> = causes.iter().map(|cause| cause.words(sight.why)).collect();
        Some(Notice {
            stage: NoticeStage::Degraded,
            at_ns: sight.at_ns,
            since_ns,
            effort: sight.effort,
            causes,
            reason: format!("{}; {}", words.join("; "), blind_words(&coverage)),
            coverage,
        })
    }

    /// Why less is seen at a moment that was looked at.
    pub fn causes(&self, sight: &Sight) -> Vec<Cause> {
        let losing = self.lost_ns.is_some_and(|lost_ns| sight.at_ns.saturating_sub(lost_ns) < LOSSES_END_NS);
        let level = Some(Cause::Level(sight.effort.level)).filter(|_| sight.effort.level != Level::Full);
        let tables = Some(Cause::Tables(sight.effort.tables)).filter(|_| sight.effort.tables > self.tables);
        let silent = sight.silent.iter().filter(|sense| self.senses.contains(sense)).copied().map(Cause::Detector);
        let blind = sight.blind.iter().map(|(name, cause)| Cause::Interface(Arc::clone(name), *cause));
        level
            .into_iter()
            .chain(tables)
            .chain(losing.then_some(Cause::RingFull))
            .chain(silent)
            .chain(blind)
            .chain(sight.stalled.then_some(Cause::Stalled))
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect()
    }

    /// Whether this, or something graver of its kind, was told and still holds.
    fn is_told(&self, cause: &Cause) -> bool {
        self.told.iter().any(|told| match (told, cause) {
            (Cause::Level(told), Cause::Level(now)) => told >= now,
            (Cause::Tables(told), Cause::Tables(now)) => told >= now,
            (told, now) => told == now,
        })
    }
}

/// Who sees less, in words.
fn blind_words(coverage: &[(Sense, f64)]) -> String {
    let list = |wanted: &dyn Fn(f64) -> bool| {
        let names = coverage.iter().filter(|(_, share)| wanted(*share)).map(|(sense, _)| sense.name());
        names.collect::<Vec<_>>().join(", ")
    };
    let (none, part) = (list(&|share| share <= 0.0), list(&|share| share > 0.0 && share < 1.0));
    match (none.is_empty(), part.is_empty()) {
        (true, true) => "all detectors judge".to_owned(),
        (false, true) => format!("off: {none}"),
        (true, false) => format!("judging less: {part}"),
        (false, false) => format!("off: {none}; judging less: {part}"),
    }
}
