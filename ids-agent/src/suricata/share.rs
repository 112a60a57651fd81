//! Holds a process to its share of the machine: what the kernel enforces, whatever the program does.
//!
//! The tables' caps in suricata.yaml come first; this is the wall behind them.

use rustix::{
    io::Errno,
    process::{Pid, Resource, Rlimit, prlimit, setpriority_process},
    thread::{CpuSet, sched_setaffinity},
};

/// What a process may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    pub cpus: Vec<u16>,
    /// Private memory: the program, its rules and tables, the stacks of its threads.
    pub private_bytes: u64,
}

/// What of a share the kernel took over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    pub cpus: bool,
    pub memory: bool,
    pub nice: bool,
}

/// A little behind everything else: where CPUs are short, the agent's own tick comes first.
const NICE: i32 = 5;

impl Share {
    /// Holds a process that has just begun: threads that it makes from now on inherit all of it.
    pub fn hold(&self, pid: Pid) -> Held {
        let mut cpus = CpuSet::new();
        for cpu in &self.cpus {
            cpus.set(usize::from(*cpu));
        }
        let memory = Rlimit { current: Some(self.private_bytes), maximum: Some(self.private_bytes) };
        let told = |what: &str, result: Result<(), Errno>| match result {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(%error, "Suricata's share of {what} cannot be held by the kernel");
                false
            }
        };
        Held {
            cpus: told("CPUs", sched_setaffinity(Some(pid), &cpus)),
            memory: told("memory", prlimit(Some(pid), Resource::Data, memory).map(|_| ())),
            nice: told("precedence", setpriority_process(Some(pid), NICE)),
        }
    }
}
