//! Takes away from the process what it needs no longer, once it is attached. The order is part of the meaning:
//!
//! 1. `enter`, on the first thread and before there are others, as every other thread inherits from it:
//!    no new privileges, then (as root) an empty bounding set, no further groups, and another user; then every
//!    capability but those for attaching anew, and those permitted but not in effect.
//! 2. A managed Suricata is begun: it and its children stand outside of what follows.
//! 3. `close`: Landlock, then the filter of system calls, which no longer lets Landlock be set.
//! 4. Threads begin. `source` puts the kept capabilities into effect (`hold`), every other thread gives them up for
//!    good (`surrender`), the first one too.
//!
//! Threads share their memory, so a capability that one of them keeps is out of reach for mistakes, not for somebody
//! who runs code in the process: `keep_reattach = false` keeps none. docs/hardening.md says what each part is worth.

use std::{
    collections::HashSet,
    fs,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
};

use caps::{CapSet, Capability, errors::CapsError};
use rustix::{
    process::{DumpableBehavior, set_dumpable_behavior},
    thread::{set_keep_capabilities, set_no_new_privs, set_thread_groups, set_thread_res_gid, set_thread_res_uid},
};

use crate::config::{SandboxSettings, SeccompMode};

mod calls;
mod paths;
mod user;

pub use paths::Reach;
pub use user::User;

/// What attaching a program that is loaded takes: NET_ADMIN for the interface, BPF for the call, PERFMON for what the
/// kernel asks of a program that computes with packet pointers when it is looked at again.
const REATTACH: [Capability; 3] = [Capability::CAP_NET_ADMIN, Capability::CAP_BPF, Capability::CAP_PERFMON];
/// What Suricata copies packets with.
const SURICATA: [Capability; 2] = [Capability::CAP_NET_RAW, Capability::CAP_NET_ADMIN];

/// Whether threads have something to give up.
static ENTERED: AtomicBool = AtomicBool::new(false);

/// Why a part could not be put up.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    #[error("sandbox.user `{name}` is no user of this machine: make it, or leave the setting out")]
    NoUser { name: String },
    #[error("user `{name}` cannot write {}: give it the folder, or set sandbox.user to another", path.display())]
    Unwritable { name: String, path: PathBuf },
    #[error("{what} is refused by the kernel: {cause}; sandbox.enabled = false runs without")]
    Refused { what: &'static str, cause: String },
}

fn refused<'a, E: ToString>(what: &'static str) -> impl FnOnce(E) -> SandboxError + use<'a, E> {
    move |cause| SandboxError::Refused { what, cause: cause.to_string() }
}

/// One part of the sandbox and whether it holds, as measured after it was put up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub name: &'static str,
    pub holds: bool,
    pub says: String,
}

/// What Suricata, where it is managed, needs beside the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beside {
    Nothing,
    Suricata,
}

/// Rights are given up; the walls still stand open.
#[derive(Debug)]
pub struct Entered {
    settings: SandboxSettings,
    reach: Reach,
    parts: Vec<Part>,
}

/// Gives up all rights but those for attaching anew. To be called while there is one thread.
pub fn enter(settings: &SandboxSettings, reach: Reach, beside: Beside) -> Result<Entered, SandboxError> {
    let mut entered = Entered { settings: settings.clone(), reach, parts: Vec::new() };
    if !settings.enabled {
        let says = "off: sandbox.enabled = false".to_owned();
        entered.parts.push(Part { name: "capabilities", holds: false, says });
        return Ok(entered);
    }
    set_no_new_privs(true).map_err(refused("no_new_privs"))?;
    entered.note(
        "no_new_privs",
        rustix::thread::no_new_privs().unwrap_or(false),
        "no program that is begun gains rights",
    );
    let as_root = rustix::process::geteuid().is_root();
    let mut keep: HashSet<Capability> = HashSet::new();
    if settings.keep_reattach {
        keep.extend(REATTACH);
    }
    if beside == Beside::Suricata {
        keep.extend(SURICATA);
    }
    if as_root {
        entered.leave_root(&mut keep)?;
    }
    entered.shed(&keep, beside)?;
    ENTERED.store(true, Ordering::Release);
    Ok(entered)
}

impl Entered {
    fn note(&mut self, name: &'static str, holds: bool, says: impl Into<String>) {
        self.parts.push(Part { name, holds, says: says.into() });
    }

    /// Becomes another user where there is a fitting one. Otherwise root stays, without root's capabilities.
    fn leave_root(&mut self, keep: &mut HashSet<Capability>) -> Result<(), SandboxError> {
        // While CAP_SETPCAP is still there: what is gone from this set comes back by no way.
        for capability in caps::all() {
            if !keep.contains(&capability) && capability != Capability::CAP_DAC_OVERRIDE {
                // Older kernels lack the newest.
                let _ = caps::drop(None, CapSet::Bounding, capability);
            }
        }
        let chosen = user::choose(self.settings.user.as_deref(), &self.reach.write)?;
        match chosen {
            Ok(user) => {
                for file in &self.reach.made {
                    // Made by root a moment ago; it is to be opened again by the user.
                    let owned = std::os::unix::fs::chown(file, Some(user.uid.as_raw()), Some(user.gid.as_raw()));
                    owned.map_err(refused("giving a file to the user"))?;
                }
                set_keep_capabilities(true).map_err(refused("keeping capabilities"))?;
                set_thread_groups(&[]).map_err(refused("leaving groups"))?;
                set_thread_res_gid(user.gid, user.gid, user.gid).map_err(refused("another group"))?;
                set_thread_res_uid(user.uid, user.uid, user.uid).map_err(refused("another user"))?;
                // The kernel takes this away with the user; /proc/self/fd is then root's, and descriptors uncounted.
                set_dumpable_behavior(DumpableBehavior::Dumpable).map_err(refused("looking at itself"))?;
                self.note("user", true, format!("`{}`, no longer root", user.name));
            }
            Err(why) => {
                if let Some(path) = self.reach.write.iter().find(|path| !user::may_write(path, &User::root())) {
                    keep.insert(Capability::CAP_DAC_OVERRIDE);
                    let folder = path.display();
                    self.note("user", false, format!("root, {why}; keeps CAP_DAC_OVERRIDE, as {folder} is another's"));
                } else {
                    self.note("user", false, format!("root without root's capabilities: {why}"));
                }
            }
        }
        Ok(())
    }

    /// Leaves `keep` permitted and nothing in effect.
    fn shed(&mut self, keep: &HashSet<Capability>, beside: Beside) -> Result<(), SandboxError> {
        let what = "giving up capabilities";
        let held = caps::read(None, CapSet::Permitted).map_err(refused(what))?;
        let kept: HashSet<Capability> = held.intersection(keep).copied().collect();
        // What a program that is begun would get.
        caps::clear(None, CapSet::Ambient).map_err(refused(what))?;
        caps::clear(None, CapSet::Effective).map_err(refused(what))?;
        caps::set(None, CapSet::Permitted, &kept).map_err(refused(what))?;
        caps::clear(None, CapSet::Inheritable).map_err(refused(what))?;
        if beside == Beside::Suricata {
            let theirs: HashSet<Capability> = SURICATA.into_iter().filter(|one| kept.contains(one)).collect();
            caps::set(None, CapSet::Inheritable, &theirs).map_err(refused(what))?;
            for capability in &theirs {
                caps::raise(None, CapSet::Ambient, *capability).map_err(refused(what))?;
            }
        }
        let everyday = kept.contains(&Capability::CAP_DAC_OVERRIDE);
        if everyday {
            caps::raise(None, CapSet::Effective, Capability::CAP_DAC_OVERRIDE).map_err(refused(what))?;
        }
        let mut names: Vec<String> = kept.iter().map(ToString::to_string).collect();
        names.sort();
        let says = if names.is_empty() {
            "none is left".to_owned()
        } else {
            format!("only {} are left, for the thread `source`", names.join(" "))
        };
        self.note("capabilities", !everyday, says);
        Ok(())
    }

    /// Puts up the walls that every thread begun from now on stands behind.
    pub fn close(mut self) -> Result<Vec<Part>, SandboxError> {
        if !self.settings.enabled {
            return Ok(self.parts);
        }
        // Suricata has what it needs of them.
        caps::clear(None, CapSet::Ambient).map_err(refused("giving up capabilities"))?;
        caps::clear(None, CapSet::Inheritable).map_err(refused("giving up capabilities"))?;
        if self.settings.landlock {
            let (holds, says) = paths::restrict(&self.reach).map_err(refused("Landlock"))?;
            self.note("landlock", holds, says);
        } else {
            self.note("landlock", false, "off: sandbox.landlock = false");
        }
        match self.settings.seccomp {
            SeccompMode::Off => self.note("seccomp", false, "off: sandbox.seccomp = \"off\""),
            mode @ (SeccompMode::Enforce | SeccompMode::Log) => {
                let allowed = calls::restrict(mode).map_err(refused("the filter of system calls"))?;
                let works = mode == SeccompMode::Enforce && calls::is_enforced();
                self.note(
                    "seccomp",
                    works,
                    match mode {
                        SeccompMode::Log => {
                            format!("calls beside {allowed} are written to the kernel's log, and go through")
                        }
                        SeccompMode::Enforce | SeccompMode::Off => {
                            format!("{allowed} system calls are left, others fail")
                        }
                    },
                );
            }
        }
        Ok(self.parts)
    }
}

/// On the thread that attaches anew: puts what was kept for it into effect.
pub fn hold() {
    if !ENTERED.load(Ordering::Acquire) {
        return;
    }
    let kept = caps::read(None, CapSet::Permitted).unwrap_or_default();
    let ours: HashSet<Capability> = kept.into_iter().filter(|one| !SURICATA_ALONE.contains(one)).collect();
    let set = |which, value| caps::set(None, which, value);
    report(set(CapSet::Effective, &ours).and_then(|()| set(CapSet::Permitted, &ours)));
}

/// Kept for a managed Suricata, and for nobody else.
const SURICATA_ALONE: [Capability; 1] = [Capability::CAP_NET_RAW];

/// On every other thread: gives up what was kept, for good. Nothing happens where there is no sandbox.
pub fn surrender() {
    if !ENTERED.load(Ordering::Acquire) {
        return;
    }
    // Where root writes into another's folder, all who write need it; Landlock says where.
    let kept = caps::read(None, CapSet::Permitted).unwrap_or_default();
    let left: HashSet<Capability> = kept.into_iter().filter(|one| *one == Capability::CAP_DAC_OVERRIDE).collect();
    report(caps::set(None, CapSet::Effective, &left).and_then(|()| caps::set(None, CapSet::Permitted, &left)));
}

fn report(done: Result<(), CapsError>) {
    if let Err(error) = done {
        tracing::error!(%error, "capabilities of a thread cannot be changed");
    }
}

/// Whether this kernel has Landlock, switched on.
pub fn landlock_is_there() -> bool {
    paths::is_there()
}

/// Whether this kernel filters system calls.
pub fn seccomp_is_there() -> bool {
    fs::read_to_string("/proc/self/status").is_ok_and(|status| status.contains("\nSeccomp:"))
}

/// Who root would become, as far as the settings of the sandbox alone say, or why nobody.
pub fn user_for(settings: &SandboxSettings) -> Result<String, String> {
    match user::choose(settings.user.as_deref(), &[]) {
        Ok(chosen) => chosen.map(|user| user.name),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_given_up_where_the_sandbox_is_off() {
        let settings = SandboxSettings { enabled: false, ..SandboxSettings::default() };
        let before = caps::read(None, CapSet::Permitted).unwrap_or_default();
        let parts = enter(&settings, Reach::default(), Beside::Nothing).and_then(Entered::close).unwrap_or_default();
        surrender();
        assert!(parts.iter().all(|part| !part.holds) && !parts.is_empty(), "{parts:?}");
        assert_eq!(caps::read(None, CapSet::Permitted).unwrap_or_default(), before);
    }
}
