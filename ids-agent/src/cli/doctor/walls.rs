//! What `doctor` says of the sandbox: which of its walls this machine has.

use super::{Findings, State};
use crate::{
    config::{SandboxSettings, SeccompMode},
    sandbox,
};

pub(super) fn look(found: &mut Findings, settings: &SandboxSettings) {
    let what = "sandbox";
    if !settings.enabled {
        let says = "off by sandbox.enabled = false: the agent keeps the rights that it was started with";
        return found.add(what, State::Limited, says);
    }
    match (settings.landlock, sandbox::landlock_is_there()) {
        (true, true) => {
            found.add("Landlock", State::Works, "present: the agent reaches the files of its settings alone")
        }
        (true, false) => {
            found.add("Landlock", State::Limited, "absent: file permissions alone say what the agent reaches")
        }
        (false, _) => found.add("Landlock", State::Limited, "off by sandbox.landlock = false"),
    }
    let filters = sandbox::seccomp_is_there();
    match settings.seccomp {
        SeccompMode::Enforce if filters => {
            found.add("filter of system calls", State::Works, "present: calls the agent has no use for fail");
        }
        SeccompMode::Enforce | SeccompMode::Log if !filters => {
            found.add(
                "filter of system calls",
                State::Missing,
                "this kernel has no seccomp: set sandbox.seccomp = \"off\"",
            );
        }
        SeccompMode::Enforce | SeccompMode::Log => {
            found.add("filter of system calls", State::Limited, "it logs and lets pass: sandbox.seccomp = \"log\"");
        }
        SeccompMode::Off => found.add("filter of system calls", State::Limited, "off by sandbox.seccomp = \"off\""),
    }
    if rustix::process::geteuid().is_root() {
        match sandbox::user_for(settings) {
            Ok(user) => found.add(what, State::Works, format!("started by root, the agent becomes user `{user}`")),
            Err(why) => {
                found.add(what, State::Limited, format!("started by root, it stays root without root's rights: {why}"))
            }
        }
    }
    if settings.keep_reattach {
        let says = "one thread keeps CAP_NET_ADMIN, CAP_BPF and CAP_PERFMON, for interfaces that come back";
        found.add("rights kept", State::Works, says);
    }
}
