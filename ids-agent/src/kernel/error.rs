//! What keeps the kernel side from working, and what the operator can do.

use std::{io, path::PathBuf};

use aya::{EbpfError, maps::MapError, programs::ProgramError};
use ids_common::{
    abi::ABI_VERSION,
    limits::{IFINDEX_BUCKETS, SETS_PER_CPU_MAX, SETS_PER_CPU_MIN},
};
use thiserror::Error;

use super::KERNEL_MIN;

/// What keeps the kernel side from working.
#[derive(Debug, Error)]
pub enum KernelError {
    #[error("kernel {found} is too old: {}.{} or newer is needed", KERNEL_MIN.0, KERNEL_MIN.1)]
    KernelTooOld { found: String },
    #[error("missing capability {missing}: run as root, or give the process CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON")]
    Capability { missing: String },
    #[error("sets_per_cpu is {found}, must be a power of two from {SETS_PER_CPU_MIN} to {SETS_PER_CPU_MAX}")]
    SetsPerCpu { found: u32 },
    #[error("ring_bytes is {found}, must be a power of two and a multiple of 65536")]
    RingBytes { found: u32 },
    #[error("the embedded kernel object is of layout {found}, this agent needs {ABI_VERSION}: rebuild the agent")]
    Abi { found: u32 },
    #[error("the embedded kernel object lacks `{name}`: rebuild the agent")]
    Missing { name: &'static str },
    #[error("cannot load the kernel object: {cause}")]
    Load { cause: Box<EbpfError> },
    #[error("the kernel refuses program `{program}`: {reason}")]
    Refused { program: &'static str, reason: String },
    #[error("cannot read map `{name}`: {cause}")]
    Map { name: &'static str, cause: Box<MapError> },
    #[error("cannot map `{name}` into memory: {cause}")]
    Mapping { name: &'static str, cause: io::Error },
    #[error("cannot read random bytes from /dev/urandom: {cause}")]
    Random { cause: io::Error },
    #[error("cannot count the machine's CPUs: {cause}")]
    Cpus { cause: io::Error },
    #[error("no interface to attach to: name one with --interface or in [capture] interfaces")]
    NoInterface,
    #[error("{found} interfaces are named, the limit is {max}")]
    TooManyInterfaces { found: usize, max: usize },
    #[error("interface `{name}` is named twice")]
    InterfaceTwice { name: String },
    #[error(
        "interfaces `{first}` and `{second}` have indices equal modulo {IFINDEX_BUCKETS}: watch them with two agents"
    )]
    InterfaceBucket { first: String, second: String },
    #[error("cannot ask the kernel about interface `{name}`: {cause}")]
    InterfaceQuery { name: String, cause: io::Error },
    #[error(
        "interface `{name}` already runs XDP program {}: detach it (`ip link set dev {name} xdp off`) or use --mode tc",
        id.map_or_else(|| "of unknown id".to_string(), |id| format!("id {id}"))
    )]
    OtherProgram { name: String, id: Option<u32> },
    #[error("the driver of interface `{name}` has no native XDP ({cause}): use --mode auto, generic or tc")]
    NoNativeXdp { name: String, cause: String },
    #[error("cannot attach to interface `{name}` in {mode} mode: {cause}")]
    Attach { name: String, mode: &'static str, cause: String },
    #[error("interface `{name}` has no Ethernet headers, which XDP programs need: use --mode auto or tc")]
    NoEthernet { name: String },
    #[error("interface `{name}` carries frames of hardware type {kind}, which are not read: Ethernet and IP are")]
    LinkLayer { name: String, kind: u16 },
    #[error("cannot pin in `{}`: {cause}", dir.display())]
    Pin { dir: PathBuf, cause: String },
    #[error("a test run of the kernel program failed: {cause}")]
    TestRun { cause: Box<ProgramError> },
    #[error("cannot pin the test to one CPU: {cause}")]
    Affinity { cause: io::Error },
    #[error("a source stopped before: it gives no more batches")]
    Ended,
}
