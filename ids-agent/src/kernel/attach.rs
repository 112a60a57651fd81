//! Puts the programs on one interface: which hook for which mode and direction, what is gone on with of an earlier agent's
//! links, and what a refusal means. Never replaces another's program.

use std::{io, path::PathBuf};

use aya::{
    Ebpf,
    programs::{
        ProgramError, SchedClassifier, TcAttachType, Xdp, XdpMode,
        links::{FdLink, LinkError, PinnedLink},
        tc::{self, NlOptions, SchedClassifierLink, TcAttachOptions, TcError, TcHandle},
    },
    sys::SyscallError,
};
use rustix::io::Errno;

use super::{
    KernelError, facts,
    interface::{self, Layer},
    pin::{self, PinDir, PinnedHook},
};
use crate::{
    clock,
    config::{Direction, Mode},
};

pub(super) const XDP_PROGRAM: &str = "ids_xdp";
pub(super) const TC_INGRESS_PROGRAM: &str = "ids_tc_ingress";
pub(super) const TC_EGRESS_PROGRAM: &str = "ids_tc_egress";
pub(super) const TC_IP_INGRESS_PROGRAM: &str = "ids_tc_ip_in";
pub(super) const TC_IP_EGRESS_PROGRAM: &str = "ids_tc_ip_out";
/// All programs of the traffic control hooks.
pub(super) const TC_PROGRAMS: [&str; 4] =
    [TC_INGRESS_PROGRAM, TC_EGRESS_PROGRAM, TC_IP_INGRESS_PROGRAM, TC_IP_EGRESS_PROGRAM];

/// Where our filter stands among those of `clsact`: behind what others put there without a wish of their own, at a place
/// where a later agent finds it again.
const FILTER_PRIORITY: u16 = 50_149;
const FILTER_HANDLE: TcHandle = TcHandle::new(0, 1);

/// How long the end of a link is waited for.
const LINK_END_NS: u64 = 500_000_000;

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

/// What attaching takes beside the interface.
pub(super) struct Attacher<'a> {
    pub(super) ebpf: &'a mut Ebpf,
    pub(super) pins: Option<&'a PinDir>,
    pub(super) tc: TcKind,
    pub(super) mode: Mode,
    pub(super) direction: Direction,
}

/// How programs are attached to the traffic control hooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TcKind {
    /// By links, from Linux 6.6 on.
    Tcx,
    /// By filters of the `clsact` queueing discipline. They outlive the process that made them.
    Clsact,
}

impl TcKind {
    pub(super) fn of_this_kernel() -> Self {
        if facts::kernel_is_at_least(facts::KERNEL_WITH_TCX) { Self::Tcx } else { Self::Clsact }
    }
}

/// A program on a hook. Dropped, it detaches, but where it is pinned.
#[derive(Debug)]
pub(super) struct Hook {
    pub(super) mode: Mode,
    pub(super) direction: Direction,
    /// Whether an earlier agent had attached it, so that no packet passed unseen.
    pub(super) adopted: bool,
    held: Option<Held>,
    pin: Option<PathBuf>,
}

#[derive(Debug)]
enum Held {
    Link(FdLink),
    Filter(SchedClassifierLink),
}

impl Hook {
    /// Takes the program off, pinned or not.
    pub(super) fn detach(mut self) {
        if let Some(path) = self.pin.take()
            && let Err(error) = pin::remove(&path)
        {
            tracing::warn!(path = %path.display(), %error, "cannot remove a pinned link");
        }
    }

    /// Whether the program still runs on the interface.
    pub(super) fn is_on(&self, link: &interface::Link) -> bool {
        match &self.held {
            Some(Held::Link(held)) => {
                let Ok(program) = held.info().map(|info| info.program_id()) else { return false };
                match self.mode {
                    // Where the kernel does not say, the link is there as long as its interface is.
                    Mode::Tc => facts::tcx_programs_of(&link.name, self.direction)
                        .is_none_or(|programs| programs.contains(&program)),
                    Mode::Native | Mode::Generic | Mode::Auto => link.xdp_programs.contains(&program),
                }
            }
            // Filters go with their interface.
            Some(Held::Filter(_)) => true,
            None => false,
        }
    }
}

impl Drop for Hook {
    fn drop(&mut self) {
        // Other links go by themselves, or stay where a file holds them.
        if let (Some(Held::Filter(_)), Some(_)) = (&self.held, &self.pin) {
            std::mem::forget(self.held.take());
        }
    }
}

impl Attacher<'_> {
    /// Attaches to an interface in every direction that is asked for, or in none.
    pub(super) fn attach(&mut self, link: &interface::Link) -> Result<Vec<Hook>, KernelError> {
        let mut hooks = Vec::new();
        for direction in directions(self.direction) {
            hooks.push(self.hook(link, *direction)?);
        }
        Ok(hooks)
    }

    fn hook(&mut self, link: &interface::Link, direction: Direction) -> Result<Hook, KernelError> {
        let mode = self.mode_for(link, direction)?;
        if let Some(hook) = self.adopt(link, mode, direction) {
            return Ok(hook);
        }
        match (mode, direction) {
            (Mode::Native, Direction::Ingress | Direction::Both) => self.attach_xdp(link, Mode::Native),
            (Mode::Generic, Direction::Ingress | Direction::Both) => self.attach_xdp(link, Mode::Generic),
            (Mode::Auto, Direction::Ingress | Direction::Both) => match self.attach_xdp(link, Mode::Native) {
                // docs/decisions/attach-mode.md: behind a driver without XDP, tc is the cheaper hook.
                Err(KernelError::NoNativeXdp { .. }) => self.attach_tc(link, direction),
                other => other,
            },
            (Mode::Tc, _) | (_, Direction::Egress) => self.attach_tc(link, direction),
        }
    }

    /// The mode that is asked for, where an interface without Ethernet headers leaves a choice.
    fn mode_for(&self, link: &interface::Link, direction: Direction) -> Result<Mode, KernelError> {
        match (link.layer, self.mode) {
            (Layer::Ethernet, mode) if direction == Direction::Ingress => Ok(mode),
            (Layer::Ethernet | Layer::Ip, Mode::Auto | Mode::Tc) | (Layer::Ethernet, _) => Ok(Mode::Tc),
            (Layer::Ip, Mode::Native | Mode::Generic) => Err(KernelError::NoEthernet { name: link.name.clone() }),
            (Layer::Other(kind), _) => Err(KernelError::LinkLayer { name: link.name.clone(), kind }),
        }
    }

    /// Goes on with the link of an earlier agent: the program behind it changes, and no packet passes between. Links of
    /// other modes go.
    fn adopt(&mut self, link: &interface::Link, mode: Mode, direction: Direction) -> Option<Hook> {
        let left = self.pins?.links();
        let mut adopted = None;
        for hook in left.into_iter().filter(|hook| hook.ifindex == link.ifindex && hook.direction == direction) {
            let fits = hook.mode == mode || mode == Mode::Auto && hook.mode != Mode::Generic;
            if adopted.is_none() && fits {
                adopted = self.take_over(link, &hook);
            }
            if adopted.as_ref().is_none_or(|adopted: &Hook| adopted.pin.as_ref() != Some(&hook.path)) {
                if let Err(error) = take_off(&hook) {
                    tracing::warn!(path = %hook.path.display(), %error, "cannot remove a pinned link");
                }
                await_end(link, &hook);
            }
        }
        adopted
    }

    fn take_over(&mut self, link: &interface::Link, hook: &PinnedHook) -> Option<Hook> {
        let held = match (hook.mode, self.tc) {
            (Mode::Tc, TcKind::Clsact) => {
                let attach = tc_hook(hook.direction);
                let filter = SchedClassifierLink::attached(&link.name, attach, FILTER_PRIORITY, FILTER_HANDLE, None);
                let program = classifier(self.ebpf, tc_program(link, hook.direction)).ok()?;
                let id = program.attach_to_link(filter.ok()?).ok()?;
                // The file held the earlier program, and with it its maps.
                if let Err(error) = pin::remove(&hook.path)
                    .map_err(|error| error.to_string())
                    .and_then(|()| program.pin(&hook.path).map_err(|error| error.to_string()))
                {
                    tracing::warn!(path = %hook.path.display(), %error, "cannot pin the program anew");
                }
                Held::Filter(program.take_link(id).ok()?)
            }
            (Mode::Tc, TcKind::Tcx) => {
                let earlier = FdLink::from(PinnedLink::from_pin(&hook.path).ok()?);
                let id = earlier.info().ok()?.program_id();
                if facts::tcx_programs_of(&link.name, hook.direction).is_some_and(|programs| !programs.contains(&id)) {
                    return None;
                }
                let program = classifier(self.ebpf, tc_program(link, hook.direction)).ok()?;
                let id = program.attach_to_link(earlier.try_into().ok()?);
                let id = id.inspect_err(|error| refused_update(link, hook, error)).ok()?;
                Held::Link(program.take_link(id).ok()?.try_into().ok()?)
            }
            (Mode::Native | Mode::Generic | Mode::Auto, _) => {
                let earlier = FdLink::from(PinnedLink::from_pin(&hook.path).ok()?);
                // A link whose interface is gone says nothing of it, but no interface runs its program.
                if !link.xdp_programs.contains(&earlier.info().ok()?.program_id()) {
                    return None;
                }
                let program = xdp(self.ebpf).ok()?;
                let id = program.attach_to_link(earlier.try_into().ok()?);
                let id = id.inspect_err(|error| refused_update(link, hook, error)).ok()?;
                Held::Link(program.take_link(id).ok()?.try_into().ok()?)
            }
        };
        Some(Hook {
            mode: hook.mode,
            direction: hook.direction,
            adopted: true,
            held: Some(held),
            pin: Some(hook.path.clone()),
        })
    }

    fn attach_xdp(&mut self, link: &interface::Link, mode: Mode) -> Result<Hook, KernelError> {
        let name = &link.name;
        // Looked at anew: a link of an earlier agent may have gone meanwhile.
        let now = interface::query_index(link.ifindex).ok().flatten();
        if let Some(id) = now.as_ref().unwrap_or(link).xdp_programs.first() {
            return Err(KernelError::OtherProgram { name: name.clone(), id: Some(*id) });
        }
        let program = xdp(self.ebpf)?;
        let flags = if mode == Mode::Generic { XdpMode::Skb } else { XdpMode::Driver };
        let failed =
            |error: &ProgramError| KernelError::Attach { name: name.clone(), mode: mode.label(), cause: plain(error) };
        match program.attach_to_if_index(link.ifindex, flags) {
            Ok(id) => {
                let held = program.take_link(id).map_err(|error| failed(&error))?;
                // Every kernel that the agent runs on makes links; what the library did by netlink instead is undone.
                let held = FdLink::try_from(held).map_err(|error| KernelError::Attach {
                    name: name.clone(),
                    mode: mode.label(),
                    cause: error.to_string(),
                })?;
                self.hold(link, mode, Direction::Ingress, Held::Link(held))
            }
            Err(error) => match os_error(&error) {
                // Somebody attached between the look and the attempt.
                Some(Errno::BUSY | Errno::EXIST) => {
                    let link = interface::query_index(link.ifindex).ok().flatten();
                    let id = link.and_then(|link| link.xdp_programs.first().copied());
                    Err(KernelError::OtherProgram { name: name.clone(), id })
                }
                Some(errno @ (Errno::OPNOTSUPP | Errno::NOTSUP | Errno::INVAL | Errno::RANGE | Errno::NOSYS))
                    if mode == Mode::Native =>
                {
                    Err(KernelError::NoNativeXdp { name: name.clone(), cause: io::Error::from(errno).to_string() })
                }
                _ => Err(failed(&error)),
            },
        }
    }

    /// Attaches behind all other programs of the hook, which go on working.
    fn attach_tc(&mut self, link: &interface::Link, direction: Direction) -> Result<Hook, KernelError> {
        let (name, hook) = (&link.name, tc_hook(direction));
        let failed = |cause: String| KernelError::Attach { name: name.clone(), mode: Mode::Tc.label(), cause };
        let program_name = tc_program(link, direction);
        let program = classifier(self.ebpf, program_name)?;
        // tcx links end with the process; filters outlive a killed one.
        let attached = match self.tc {
            TcKind::Tcx => program.attach(name, hook),
            TcKind::Clsact => {
                match tc::qdisc_add_clsact(name) {
                    Ok(()) | Err(TcError::AlreadyAttached) => {}
                    Err(error) if tc_errno(&error) == Some(Errno::EXIST) => {}
                    Err(error) => return Err(failed(error.to_string())),
                }
                // What a killed agent left behind; nothing there is no failure.
                tc::qdisc_detach_program(name, hook, program_name).ok();
                let options = NlOptions { priority: FILTER_PRIORITY, handle: FILTER_HANDLE, classid: None };
                program.attach_with_options(name, hook, TcAttachOptions::Netlink(options))
            }
        };
        let id = attached.map_err(|error| failed(plain(&error)))?;
        let held = program.take_link(id).map_err(|error| failed(plain(&error)))?;
        let held = match self.tc {
            TcKind::Tcx => Held::Link(held.try_into().map_err(|error: LinkError| failed(error.to_string()))?),
            TcKind::Clsact => Held::Filter(held),
        };
        self.hold(link, Mode::Tc, direction, held)
    }

    /// Keeps what was attached, and pins it where that is asked for.
    fn hold(
        &mut self,
        link: &interface::Link,
        mode: Mode,
        direction: Direction,
        held: Held,
    ) -> Result<Hook, KernelError> {
        let Some(pins) = self.pins else {
            return Ok(Hook { mode, direction, adopted: false, held: Some(held), pin: None });
        };
        let path = pins.link(link.ifindex, mode, direction);
        let failed = |cause: String| KernelError::Pin { dir: pins.path().to_path_buf(), cause };
        pin::remove(&path).map_err(|error| failed(error.to_string()))?;
        let held = match held {
            Held::Link(link) => Held::Link(link.pin(&path).map_err(|error| failed(error.to_string()))?.into()),
            Held::Filter(filter) => {
                // A filter has no link to pin: the program's file says whose it is.
                let program = classifier(self.ebpf, tc_program(link, direction))?;
                program.pin(&path).map_err(|error| failed(error.to_string()))?;
                Held::Filter(filter)
            }
        };
        Ok(Hook { mode, direction, adopted: false, held: Some(held), pin: Some(path) })
    }
}

/// Takes off what an earlier agent pinned.
pub(super) fn take_off(hook: &PinnedHook) -> io::Result<()> {
    // A filter does not go with its file.
    if hook.mode == Mode::Tc
        && FdLink::from(PinnedLink::from_pin(&hook.path).map_err(io::Error::other)?).info().is_err()
        && let Some(link) = interface::query_index(hook.ifindex)?
    {
        for program in TC_PROGRAMS {
            // Nothing there is no failure.
            tc::qdisc_detach_program(&link.name, tc_hook(hook.direction), program).ok();
        }
    }
    pin::remove(&hook.path)
}

/// The kernel takes the program of a link off a moment after the link's file went.
fn await_end(link: &interface::Link, hook: &PinnedHook) {
    if hook.mode == Mode::Tc {
        return;
    }
    let end_ns = clock::boottime_ns() + LINK_END_NS;
    let is_there = || {
        let link = interface::query_index(link.ifindex).ok().flatten();
        link.is_some_and(|link| !link.xdp_programs.is_empty())
    };
    while is_there() && clock::boottime_ns() < end_ns {
        clock::sleep_until_boottime(clock::boottime_ns() + LINK_END_NS / 100);
    }
}

fn refused_update(link: &interface::Link, hook: &PinnedHook, error: &ProgramError) {
    tracing::warn!(
        interface = link.name,
        mode = hook.mode.label(),
        direction = hook.direction.label(),
        reason = plain(error),
        "the link of the earlier agent cannot be taken over; it is made anew"
    );
}

fn directions(direction: Direction) -> &'static [Direction] {
    match direction {
        Direction::Both => &[Direction::Ingress, Direction::Egress],
        Direction::Ingress => &[Direction::Ingress],
        Direction::Egress => &[Direction::Egress],
    }
}

fn tc_hook(direction: Direction) -> TcAttachType {
    match direction {
        Direction::Egress => TcAttachType::Egress,
        Direction::Ingress | Direction::Both => TcAttachType::Ingress,
    }
}

fn tc_program(link: &interface::Link, direction: Direction) -> &'static str {
    match (link.layer, direction) {
        (Layer::Ip, Direction::Egress) => TC_IP_EGRESS_PROGRAM,
        (Layer::Ip, Direction::Ingress | Direction::Both) => TC_IP_INGRESS_PROGRAM,
        (_, Direction::Egress) => TC_EGRESS_PROGRAM,
        (_, Direction::Ingress | Direction::Both) => TC_INGRESS_PROGRAM,
    }
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
