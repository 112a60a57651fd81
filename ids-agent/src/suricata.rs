//! Suricata as a program that the agent runs, beside live traffic or over captures: its configuration, its process, its
//! socket and its rules. What it says is read by `eve`; who looks after a live one, and when, stands in `pipeline`.

mod captures;
mod command;
mod log;
mod machine;
mod process;
mod reload;
mod rules;
mod share;
mod yaml;

pub use captures::{CaptureRules, CaptureSuricata, CapturesError};
pub use command::{CommandError, Commands, RuleCounts};
pub use log::{LogLine, LogTail, log_line};
pub use machine::{Machine, PlanError, local_rules, plan};
pub use process::{Ending, Launch, ProcessError, Running, Usage, VERSION_MIN, installed, is_there, signal, version};
pub use reload::{Back, ReloadError, reload, reload_or_rollback};
pub use rules::{Release, RulesError, RulesStore, Sources, TestWith, Tested, Updated};
pub use share::{Held, Share};
pub use yaml::{EveTo, Memory, Plan};

/// Names within the run directory.
pub const YAML: &str = "suricata.yaml";
pub const EVE: &str = "eve.json";
pub const SOCKET: &str = "command.socket";
pub const PID: &str = "suricata.pid";
