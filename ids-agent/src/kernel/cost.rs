//! What the programs cost in CPU time, as the kernel counts it: nothing of it shows in the agent's own.

use std::os::fd::OwnedFd;

use aya::{
    programs::{SchedClassifier, Xdp},
    sys::{Stats, enable_stats},
};

use super::{Kernel, attach};

/// Time and runs of all programs since they were loaded, counted only while somebody asks the kernel to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunTime {
    pub ns: u64,
    pub runs: u64,
}

impl Kernel {
    pub fn run_time(&self) -> RunTime {
        let xdp: Option<&Xdp> = self.ebpf.program(attach::XDP_PROGRAM).and_then(|program| program.try_into().ok());
        let classifier = |name: &str| -> Option<&SchedClassifier> { self.ebpf.program(name)?.try_into().ok() };
        let xdp = xdp.and_then(|program| program.info().ok());
        let classifiers = attach::TC_PROGRAMS.iter().filter_map(|name| classifier(name)?.info().ok());
        xdp.into_iter().chain(classifiers).fold(RunTime::default(), |sum, info| RunTime {
            ns: sum.ns.saturating_add(u64::try_from(info.run_time().as_nanos()).unwrap_or(u64::MAX)),
            runs: sum.runs.saturating_add(info.run_count()),
        })
    }
}

/// Keeps the kernel counting, of all programs of the machine, until it is dropped. Counting takes two readings of the clock a run.
#[derive(Debug)]
pub struct Counting {
    _asked: OwnedFd,
}

impl Counting {
    /// None where the kernel does not let this process ask: that takes CAP_SYS_ADMIN, which a service does without.
    pub fn start() -> Option<Self> {
        enable_stats(Stats::RunTime).ok().map(|asked| Self { _asked: asked })
    }
}
