//! What happens in one run, as data: which servers, which attack, which flows are its own. Runs nothing; `stage` does.
//!
//! Words of a command may hold `{dir}`, the run's own folder, and `{lab}`, the folder of the lab's programs.

use super::{
    filter::Filter,
    rng::Rng,
    world::{Shape, World},
};

/// One kind of run, as `--list` shows it.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// A family of LABELS.tsv.
    pub(crate) family: &'static str,
    pub(crate) tools: &'static str,
    /// Programs it starts, each with the Debian package that brings it.
    pub(crate) needs: &'static [(&'static str, &'static str)],
    pub(crate) shape: Shape,
    pub(crate) plan: fn(&World, &mut Rng, &Wish) -> Plan,
}

impl Scenario {
    /// Whether benign life goes on around it: on all sites but the last, which is the attack's.
    pub(crate) fn has_background(&self) -> bool {
        self.family != "BENIGN" && self.shape.sites > 1
    }
}

/// What the command line asks of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish {
    /// How long a benign run lasts; an attack's life is its own.
    pub(crate) seconds: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// What training may leave out as a whole: `lab+ENVIRONMENT` is the capture's source.
    pub(crate) environment: String,
    /// Tool and mode.
    pub(crate) subtype: String,
    /// Paths relative to the run's folder, and what stands in them.
    pub(crate) files: Vec<(String, String)>,
    pub(crate) services: Vec<Service>,
    /// Started together when the capture runs, ended with the run. None of them is the attack.
    pub(crate) actors: Vec<Actor>,
    /// In the order in which they start.
    pub(crate) steps: Vec<Step>,
    /// The run goes on for so long at least.
    pub(crate) lasts_ms: u64,
    pub(crate) filter: Filter,
    pub(crate) proof: Proof,
}

impl Plan {
    /// Nothing happens yet.
    pub(crate) fn new(environment: impl Into<String>, subtype: impl Into<String>) -> Self {
        Self {
            environment: environment.into(),
            subtype: subtype.into(),
            files: Vec::new(),
            services: Vec::new(),
            actors: Vec::new(),
            steps: Vec::new(),
            lasts_ms: 0,
            filter: Filter::none(),
            proof: Proof::default(),
        }
    }

    /// What was typed, without the folders of this run.
    pub(crate) fn evidence(&self) -> String {
        let lines: Vec<String> = self.steps.iter().map(|step| step.words.join(" ")).collect();
        lines.join(" ; ").replace("{dir}/", "").replace("{lab}/", "").replace(['\t', '\n'], " ")
    }
}

/// A server: it must answer before the run begins, and still be there when it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Service {
    /// The host's name.
    pub(crate) on: String,
    pub(crate) words: Vec<String>,
    pub(crate) ready: Ready,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ready {
    /// Something listens on this port.
    Tcp(u16),
    Udp(u16),
    /// It prepares something and ends well; the next service starts after it.
    Ended,
}

/// A person or a thing that goes about its day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Actor {
    pub(crate) on: String,
    pub(crate) words: Vec<String>,
    pub(crate) at_ms: u64,
}

/// A part of the attack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) on: String,
    pub(crate) words: Vec<String>,
    /// After the start of the capture.
    pub(crate) at_ms: u64,
    /// It is ended after so long.
    pub(crate) ms_max: u64,
    pub(crate) ends: Ends,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ends {
    /// By itself, with success, in time.
    Well,
    /// By itself or at its deadline, whatever it says: many a tool's status says what it found.
    Anyhow,
}

/// What the capture must show of the attack, so that no attempt that went nowhere is labelled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Proof {
    /// Flows of the attack.
    pub(crate) flows: usize,
    /// Of these, flows in which the initiator sent payload.
    pub(crate) sent: usize,
    /// Of these, flows in which the target answered, with or without payload.
    pub(crate) answered: usize,
}

/// Splits a command line at its spaces; a word with a space in it is pushed by hand.
pub(crate) fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

impl Service {
    pub(crate) fn new(on: &str, line: &str, ready: Ready) -> Self {
        Self { on: on.to_owned(), words: words(line), ready }
    }
}

impl Actor {
    pub(crate) fn new(on: &str, line: &str, at_ms: u64) -> Self {
        Self { on: on.to_owned(), words: words(line), at_ms }
    }
}

impl Step {
    pub(crate) fn new(on: &str, line: &str, at_ms: u64, ms_max: u64, ends: Ends) -> Self {
        Self { on: on.to_owned(), words: words(line), at_ms, ms_max, ends }
    }
}
