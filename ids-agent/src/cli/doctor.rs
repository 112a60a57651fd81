//! `doctor`: what will work on this machine and what will not, in plain words. Changes nothing.

mod eve;
mod interface;
mod managed;
mod walls;

use serde::Serialize;

use super::{
    Failure,
    options::{CommonArgs, LogChoice, effective},
    parts,
    parts::Seed,
    print,
    table::{shown, table},
};
use crate::{
    config::Config,
    kernel::{KERNEL_MIN, facts},
};
use clap::Args;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ids-agent doctor
  ids-agent doctor --interface eth0 --json

Exits with 1 when something essential is missing.")]
pub(super) struct DoctorArgs {
    /// Interface to look at; may be given several times. Without it, all of them
    #[arg(short, long = "interface", value_name = "NAME")]
    interfaces: Vec<String>,
    #[command(flatten)]
    common: CommonArgs,
    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
}

/// How a finding bears on the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Works,
    /// The agent runs, with less.
    Limited,
    /// The agent does not run, or is blind.
    Missing,
}

impl State {
    const fn label(self) -> &'static str {
        match self {
            Self::Works => "works",
            Self::Limited => "limited",
            Self::Missing => "MISSING",
        }
    }
}

#[derive(Debug, Serialize)]
struct Finding {
    what: String,
    state: State,
    says: String,
}

#[derive(Debug, Default, Serialize)]
struct Findings {
    findings: Vec<Finding>,
}

impl Findings {
    fn add(&mut self, what: impl Into<String>, state: State, says: impl Into<String>) {
        self.findings.push(Finding { what: what.into(), state, says: says.into() });
    }

    fn is_runnable(&self) -> bool {
        self.findings.iter().all(|finding| finding.state != State::Missing)
    }
}

pub(super) fn run(args: &DoctorArgs) -> Result<(), Failure> {
    let mut found = Findings::default();
    let config = match effective(&args.common, None) {
        Ok(config) => {
            let which = match &args.common.config {
                Some(path) => format!("`{}` is sound", path.display()),
                None => "sound".to_owned(),
            };
            found.add("configuration", State::Works, which);
            config
        }
        Err(failure) => {
            found.add("configuration", State::Missing, failure.message());
            Config::default()
        }
    };
    // Only what goes wrong matters here, and the findings say it.
    LogChoice { level: Some("off".to_owned()), shape: None }.start(&config.log, None)?;
    kernel(&mut found);
    let named = if args.interfaces.is_empty() { &config.capture.interfaces } else { &args.interfaces };
    if named.is_empty() {
        for name in facts::interfaces() {
            interface::look(&mut found, &name);
        }
    } else {
        for name in named {
            interface::look(&mut found, name);
        }
    }
    interface::pins(&mut found, &config.capture.pin);
    models(&mut found, &config);
    eve::look(&mut found, &config.suricata);
    managed::look(&mut found, &config.suricata);
    walls::look(&mut found, &config.sandbox);

    let runnable = found.is_runnable();
    if args.json {
        let value = serde_json::json!({ "runnable": runnable, "findings": found.findings });
        print(format!("{value:#}\n").as_bytes())?;
    } else {
        let mut shape = table(&["", "", "what this means"]);
        for finding in &found.findings {
            shape.add_row(vec![shown(&finding.what, 40), finding.state.label().to_owned(), shown(&finding.says, 300)]);
        }
        let verdict = if runnable {
            "The agent can run here."
        } else {
            "The agent cannot run here as it is: see what is missing."
        };
        print(format!("{shape}\n{verdict}\n").as_bytes())?;
    }
    if runnable { Ok(()) } else { Err(Failure::Silent) }
}

fn kernel(found: &mut Findings) {
    let release = facts::kernel_release();
    if facts::kernel_is_supported() {
        found.add("kernel", State::Works, format!("Linux {release}"));
    } else {
        let (major, minor) = KERNEL_MIN;
        found.add("kernel", State::Missing, format!("Linux {release} is too old: {major}.{minor} or newer is needed"));
    }
    let btf = if facts::kernel_has_btf() { "present" } else { "absent; the agent does not need it" };
    found.add("kernel type information (BTF)", State::Works, btf);
    match facts::jit_is_on() {
        Some(true) => found.add("compiler of kernel programs", State::Works, "on"),
        Some(false) => found.add(
            "compiler of kernel programs",
            State::Limited,
            "off: packets cost several times more; `sysctl net.core.bpf_jit_enable=1` turns it on",
        ),
        None => found.add("compiler of kernel programs", State::Works, "built in, or not shown by this kernel"),
    }
    let mut may_ask = true;
    for capability in facts::capabilities() {
        may_ask &= capability.held;
        if capability.held {
            found.add(capability.name, State::Works, format!("held: {}", capability.purpose));
        } else {
            found.add(
                capability.name,
                State::Missing,
                format!("not held, needed to {}: run as root, or with this capability", capability.purpose),
            );
        }
    }
    if !may_ask {
        found.add("kernel abilities", State::Limited, "not asked: that takes the capabilities above");
        return;
    }
    for ability in facts::abilities() {
        match ability.present {
            Some(true) => found.add(ability.name, State::Works, "present"),
            Some(false) if ability.without.contains("nothing works") => {
                found.add(ability.name, State::Missing, "absent: nothing works without it");
            }
            Some(false) => found.add(ability.name, State::Limited, format!("absent: {}", ability.without)),
            None => found.add(ability.name, State::Limited, "unknown: the kernel would not say"),
        }
    }
}

fn models(found: &mut Findings, config: &Config) {
    match parts::detectors(config, Seed::Fixed) {
        Ok(detectors) => {
            let models: Vec<String> = detectors
                .iter()
                .filter_map(|detector| detector.model())
                .map(|model| format!("{} {} ({})", model.name, model.version, model.backend))
                .collect();
            let wanted = config.detect.classifier || config.detect.anomaly;
            if models.is_empty() && wanted {
                found.add(
                    "models",
                    State::Limited,
                    "none found: only behaviour is judged; name a folder with --models",
                );
            } else if models.is_empty() {
                found.add("models", State::Works, "switched off by the configuration");
            } else {
                found.add("models", State::Works, format!("{}; golden vectors reproduce", models.join(", ")));
            }
        }
        Err(failure) => found.add("models", State::Missing, failure.message()),
    }
}
