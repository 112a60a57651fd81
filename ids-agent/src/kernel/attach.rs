//! Puts the programs on interfaces: which hook for which mode and direction, and what a refusal
//! means. Never replaces another program.

use std::io;

use aya::{
    Ebpf,
    programs::{
        ProgramError, SchedClassifier, Xdp, XdpMode,
        tc::{self, NlOptions, TcAttachOptions, TcAttachType, TcError},
    },
    sys::SyscallError,
};
use ids_common::limits::{IFINDEX_BUCKETS, INTERFACES_MAX};
use rustix::io::Errno;

use super::{KernelError, facts, interface};
use crate::config::{CaptureSettings, Direction, Mode};

pub(super) const XDP_PROGRAM: &str = "ids_xdp";
pub(super) const TC_INGRESS_PROGRAM: &str = "ids_tc_ingress";
pub(super) const TC_EGRESS_PROGRAM: &str = "ids_tc_egress";

/// One program on one interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    pub interface: String,
    pub ifindex: u32,
    /// The mode in use, never `Auto`.
    pub mode: Mode,
    /// The direction that the program sees, never `Both`.
    pub direction: Direction,
}

/// Attaches to every interface, or to none.
pub(super) fn attach(ebpf: &mut Ebpf, capture: &CaptureSettings) -> Result<Vec<Attachment>, KernelError> {
    let attached = attach_all(ebpf, capture);
    if attached.is_err() {
        detach(ebpf);
    }
    attached
}

/// Detaches everything.
pub(super) fn detach(ebpf: &mut Ebpf) {
    // Links live in their programs; unloading drops them, and the programs are not needed again.
    for name in [XDP_PROGRAM, TC_INGRESS_PROGRAM, TC_EGRESS_PROGRAM] {
        let unloaded = match ebpf.program_mut(name) {
            Some(aya::programs::Program::Xdp(program)) => program.unload(),
            Some(aya::programs::Program::SchedClassifier(program)) => program.unload(),
            _ => continue,
        };
        match unloaded {
            Ok(()) | Err(ProgramError::NotLoaded) => {}
            Err(error) => tracing::warn!(program = name, %error, "cannot detach"),
        }
    }
}

/// The interfaces of attachments, in the order of the configuration.
pub(super) fn by_interface(attachments: &[Attachment]) -> Vec<(&str, u32)> {
    let mut interfaces: Vec<(&str, u32)> = Vec::new();
    for attachment in attachments {
        let interface = (attachment.interface.as_str(), attachment.ifindex);
        if !interfaces.contains(&interface) {
            interfaces.push(interface);
        }
    }
    interfaces
}

fn attach_all(ebpf: &mut Ebpf, capture: &CaptureSettings) -> Result<Vec<Attachment>, KernelError> {
    let targets = targets(&capture.interfaces)?;
    let mut attachments = Vec::new();
    for target in &targets {
        for direction in directions(capture.direction) {
            let mode = match direction {
                Direction::Egress => attach_tc(ebpf, target, Direction::Egress)?,
                Direction::Ingress | Direction::Both => attach_ingress(ebpf, target, capture.mode)?,
            };
            attachments.push(Attachment {
                interface: target.name.clone(),
                ifindex: target.link.ifindex,
                mode,
                direction: *direction,
            });
        }
    }
    Ok(attachments)
}

struct Target {
    name: String,
    link: interface::Link,
}

/// Looks the interfaces up before the first is touched.
fn targets(names: &[String]) -> Result<Vec<Target>, KernelError> {
    if names.is_empty() {
        return Err(KernelError::NoInterface);
    }
    if names.len() > INTERFACES_MAX {
        return Err(KernelError::TooManyInterfaces { found: names.len(), max: INTERFACES_MAX });
    }
    let mut targets: Vec<Target> = Vec::with_capacity(names.len());
    for name in names {
        let link = interface::query(name)
            .map_err(|cause| KernelError::InterfaceQuery { name: name.clone(), cause })?
            .ok_or_else(|| KernelError::UnknownInterface { name: name.clone() })?;
        for other in &targets {
            if other.link.ifindex == link.ifindex {
                return Err(KernelError::InterfaceTwice { name: name.clone() });
            }
            if other.link.ifindex as usize % IFINDEX_BUCKETS == link.ifindex as usize % IFINDEX_BUCKETS {
                return Err(KernelError::InterfaceBucket { first: other.name.clone(), second: name.clone() });
            }
        }
        targets.push(Target { name: name.clone(), link });
    }
    Ok(targets)
}

fn directions(direction: Direction) -> &'static [Direction] {
    match direction {
        Direction::Both => &[Direction::Ingress, Direction::Egress],
        Direction::Ingress => &[Direction::Ingress],
        Direction::Egress => &[Direction::Egress],
    }
}

/// Gives the mode in use.
fn attach_ingress(ebpf: &mut Ebpf, target: &Target, mode: Mode) -> Result<Mode, KernelError> {
    match mode {
        Mode::Native => attach_xdp(ebpf, target, XdpMode::Driver).map(|()| Mode::Native),
        Mode::Generic => attach_xdp(ebpf, target, XdpMode::Skb).map(|()| Mode::Generic),
        Mode::Tc => attach_tc(ebpf, target, Direction::Ingress),
        Mode::Auto => match attach_xdp(ebpf, target, XdpMode::Driver) {
            Ok(()) => Ok(Mode::Native),
            // docs/decisions/attach-mode.md: behind a driver without XDP, tc is the cheaper hook.
            Err(KernelError::NoNativeXdp { .. }) => attach_tc(ebpf, target, Direction::Ingress),
            Err(other) => Err(other),
        },
    }
}

fn attach_xdp(ebpf: &mut Ebpf, target: &Target, mode: XdpMode) -> Result<(), KernelError> {
    if let Some(id) = target.link.xdp_programs.first() {
        return Err(KernelError::OtherProgram { name: target.name.clone(), id: Some(*id) });
    }
    let program = xdp(ebpf)?;
    let Err(error) = program.attach_to_if_index(target.link.ifindex, mode) else { return Ok(()) };
    let label = if matches!(mode, XdpMode::Driver) { Mode::Native.label() } else { Mode::Generic.label() };
    match os_error(&error) {
        // Somebody attached between the look and the attempt.
        Some(Errno::BUSY | Errno::EXIST) => {
            let link = interface::query(&target.name).ok().flatten();
            let id = link.and_then(|link| link.xdp_programs.first().copied());
            Err(KernelError::OtherProgram { name: target.name.clone(), id })
        }
        Some(errno @ (Errno::OPNOTSUPP | Errno::NOTSUP | Errno::INVAL | Errno::RANGE | Errno::NOSYS))
            if matches!(mode, XdpMode::Driver) =>
        {
            Err(KernelError::NoNativeXdp { name: target.name.clone(), cause: io::Error::from(errno).to_string() })
        }
        _ => Err(KernelError::Attach { name: target.name.clone(), mode: label, cause: plain(&error) }),
    }
}

/// Attaches behind all other programs of the hook, which go on working.
fn attach_tc(ebpf: &mut Ebpf, target: &Target, direction: Direction) -> Result<Mode, KernelError> {
    let (name, hook) = match direction {
        Direction::Egress => (TC_EGRESS_PROGRAM, TcAttachType::Egress),
        Direction::Ingress | Direction::Both => (TC_INGRESS_PROGRAM, TcAttachType::Ingress),
    };
    let failed = |cause: String| KernelError::Attach { name: target.name.clone(), mode: Mode::Tc.label(), cause };
    let program = classifier(ebpf, name)?;
    // tcx links (6.6) end with the process; filters outlive a killed one.
    let attached = if facts::kernel_is_at_least(facts::KERNEL_WITH_TCX) {
        program.attach(&target.name, hook)
    } else {
        match tc::qdisc_add_clsact(&target.name) {
            Ok(()) | Err(TcError::AlreadyAttached) => {}
            Err(error) if tc_errno(&error) == Some(Errno::EXIST) => {}
            Err(error) => return Err(failed(error.to_string())),
        }
        // What a killed agent left behind; nothing there is no failure.
        tc::qdisc_detach_program(&target.name, hook, name).ok();
        program.attach_with_options(&target.name, hook, TcAttachOptions::Netlink(NlOptions::default()))
    };
    attached.map(|_| Mode::Tc).map_err(|error| failed(plain(&error)))
}

fn xdp(ebpf: &mut Ebpf) -> Result<&mut Xdp, KernelError> {
    let program = ebpf.program_mut(XDP_PROGRAM).and_then(|program| program.try_into().ok());
    program.ok_or(KernelError::Missing { name: XDP_PROGRAM })
}

fn classifier<'a>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut SchedClassifier, KernelError> {
    let program = ebpf.program_mut(name).and_then(|program| program.try_into().ok());
    program.ok_or(KernelError::Missing { name })
}

/// The error number at the bottom of an aya error.
fn os_error(error: &ProgramError) -> Option<Errno> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        let io = error.downcast_ref::<io::Error>();
        let io = io.or_else(|| error.downcast_ref::<SyscallError>().map(|syscall| &syscall.io_error));
        if let Some(code) = io.and_then(io::Error::raw_os_error) {
            return Some(Errno::from_raw_os_error(code));
        }
        cause = error.source();
    }
    None
}

fn tc_errno(error: &TcError) -> Option<Errno> {
    match error {
        TcError::IoError(io) => io.raw_os_error().map(Errno::from_raw_os_error),
        other => {
            let io = std::error::Error::source(other)?.downcast_ref::<io::Error>()?;
            io.raw_os_error().map(Errno::from_raw_os_error)
        }
    }
}

/// The kernel's reason without the library's wrapping.
fn plain(error: &ProgramError) -> String {
    os_error(error).map_or_else(|| error.to_string(), |errno| io::Error::from(errno).to_string())
}
