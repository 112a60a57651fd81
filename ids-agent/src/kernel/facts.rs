//! What the machine offers, for `doctor`: kernel, BTF, capabilities, drivers. Changes nothing.

use std::{
    fs,
    path::{Path, PathBuf},
};

use aya::{
    maps::MapType,
    programs::{ProgramInfo, ProgramType, SchedClassifier, TcAttachType},
    sys::{is_map_supported, is_program_supported},
    util::KernelVersion,
};
use caps::{CapSet, Capability};

pub use super::interface::Layer;
use super::{KERNEL_MIN, interface};
use crate::config::Direction;

/// A capability that the agent needs, and whether it is effective.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldCapability {
    pub name: &'static str,
    pub purpose: &'static str,
    pub held: bool,
}

/// An ability of the kernel that the agent uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ability {
    pub name: &'static str,
    /// `None` where this process may not ask.
    pub present: Option<bool>,
    /// What is lost without it.
    pub without: &'static str,
}

/// One interface, as far as attaching goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceFacts {
    pub name: String,
    pub ifindex: u32,
    pub layer: Layer,
    /// Whether it is a Wi-Fi interface, as far as /sys shows it.
    pub wireless: bool,
    /// The driver of hardware, or the kind of a virtual interface.
    pub driver: Option<String>,
    pub mtu: Option<u32>,
    pub xdp_programs: Vec<u32>,
    /// Whether the driver is known to run XDP natively; `None` where it is not known.
    pub native_xdp: Option<bool>,
}

/// The running kernel's release.
pub fn kernel_release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// The first kernel with tcx links.
pub(super) const KERNEL_WITH_TCX: (u8, u8) = (6, 6);

/// A kernel whose version cannot be read is taken for a new one: it will speak for itself.
pub(super) fn kernel_is_at_least((major, minor): (u8, u8)) -> bool {
    KernelVersion::current().map_or(true, |current| current >= KernelVersion::new(major, minor, 0))
}

/// Whether the kernel is new enough.
pub fn kernel_is_supported() -> bool {
    kernel_is_at_least(KERNEL_MIN)
}

/// Whether the kernel carries its own type information. The programs do not need it.
pub fn kernel_has_btf() -> bool {
    Path::new("/sys/kernel/btf/vmlinux").exists()
}

/// Whether programs are compiled to machine code; interpreted ones are many times slower.
pub fn jit_is_on() -> Option<bool> {
    let value = fs::read_to_string("/proc/sys/net/core/bpf_jit_enable").ok()?;
    Some(value.trim() != "0")
}

/// The capabilities that loading and attaching need. CAP_SYS_ADMIN stands for CAP_BPF and
/// CAP_PERFMON, as in the kernel.
pub fn capabilities() -> Vec<HeldCapability> {
    let held = |capability| caps::has_cap(None, CapSet::Effective, capability).unwrap_or(false);
    let admin = held(Capability::CAP_SYS_ADMIN);
    vec![
        HeldCapability { name: "CAP_BPF", purpose: "load programs and maps", held: admin || held(Capability::CAP_BPF) },
        HeldCapability {
            name: "CAP_PERFMON",
            purpose: "programs that compute with packet pointers",
            held: admin || held(Capability::CAP_PERFMON),
        },
        HeldCapability {
            name: "CAP_NET_ADMIN",
            purpose: "attach to interfaces",
            held: held(Capability::CAP_NET_ADMIN),
        },
    ]
}

/// What a Suricata that the agent runs needs beside the agent's own capabilities.
pub fn may_copy_packets() -> HeldCapability {
    let held = caps::has_cap(None, CapSet::Effective, Capability::CAP_NET_RAW).unwrap_or(false);
    HeldCapability { name: "CAP_NET_RAW", purpose: "copy packets to Suricata", held }
}

/// What of the kernel the agent uses. Asking takes the capabilities above.
pub fn abilities() -> Vec<Ability> {
    let program = |kind| is_program_supported(kind).ok();
    let map = |kind| is_map_supported(kind).ok();
    vec![
        Ability { name: "XDP programs", present: program(ProgramType::Xdp), without: "only --mode tc works" },
        Ability {
            name: "tc programs",
            present: program(ProgramType::SchedClassifier),
            without: "packets that leave an interface are not seen",
        },
        Ability { name: "array maps", present: map(MapType::Array), without: "nothing works" },
        Ability { name: "ring buffer", present: map(MapType::RingBuf), without: "nothing works" },
        Ability {
            name: "tcx links",
            present: Some(kernel_is_at_least(KERNEL_WITH_TCX)),
            without: "a killed agent leaves its tc filter behind until the next start",
        },
        Ability {
            name: "membarrier",
            present: Some(super::reader::probe_grace() != super::reader::Grace::Unavailable),
            without: "every slot that makes room goes through the ring",
        },
    ]
}

/// Facts of an interface in the calling thread's namespace; `None` where there is none.
pub fn interface(name: &str) -> std::io::Result<Option<InterfaceFacts>> {
    let Some(link) = interface::query(name)? else { return Ok(None) };
    let driver = link.kind.clone().or_else(|| hardware_driver(name, link.ifindex));
    let native_xdp = driver.as_deref().and_then(native_xdp);
    Ok(Some(InterfaceFacts {
        name: name.to_string(),
        ifindex: link.ifindex,
        layer: link.layer,
        wireless: is_wireless(name, link.ifindex),
        driver,
        mtu: link.mtu,
        xdp_programs: link.xdp_programs,
        native_xdp,
    }))
}

/// Ids of the tcx programs on an interface, ingress before egress; empty where the kernel has no tcx, or does not say.
pub fn tcx_programs(name: &str) -> Vec<u32> {
    let hooks = [Direction::Ingress, Direction::Egress].into_iter();
    hooks.flat_map(|hook| tcx_programs_of(name, hook).unwrap_or_default()).collect()
}

/// The same of one hook; `None` where the kernel does not say. The library asks for each program by its id, which takes
/// CAP_SYS_ADMIN.
pub(super) fn tcx_programs_of(name: &str, direction: Direction) -> Option<Vec<u32>> {
    let hook = if direction == Direction::Egress { TcAttachType::Egress } else { TcAttachType::Ingress };
    let (_, programs) = SchedClassifier::query_tcx(name, hook).ok()?;
    Some(programs.iter().map(ProgramInfo::id).collect())
}

/// Names of the interfaces in the calling thread's namespace, loopback left out.
pub fn interfaces() -> Vec<String> {
    let table = fs::read_to_string("/proc/thread-self/net/dev").unwrap_or_default();
    let names = table.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name.trim().to_string());
    names.filter(|name| name != "lo").collect()
}

/// Whether a directory is on a BPF file system, where maps and links can be pinned.
pub fn is_bpf_file_system(directory: &Path) -> std::io::Result<bool> {
    super::pin::is_bpf_file_system(directory)
}

fn is_wireless(name: &str, ifindex: u32) -> bool {
    shown_by_sys(name, ifindex).is_some_and(|directory| directory.join("phy80211").exists())
}

/// The interface's directory in /sys, where /sys shows this namespace.
fn shown_by_sys(name: &str, ifindex: u32) -> Option<PathBuf> {
    let directory = Path::new("/sys/class/net").join(name);
    let shown: u32 = fs::read_to_string(directory.join("ifindex")).ok()?.trim().parse().ok()?;
    (shown == ifindex).then_some(directory)
}

fn hardware_driver(name: &str, ifindex: u32) -> Option<String> {
    let directory = shown_by_sys(name, ifindex)?;
    let driver = fs::read_link(directory.join("device/driver")).ok()?;
    Some(driver.file_name()?.to_string_lossy().into_owned())
}

/// What mainline drivers are known to do (their `ndo_bpf`, Linux 6.1 to 6.18).
fn native_xdp(driver: &str) -> Option<bool> {
    const WITH: [&str; 34] = [
        "atlantic",
        "bnxt_en",
        "bonding",
        "bond",
        "cpsw",
        "dpaa_eth",
        "dpaa2-eth",
        "ena",
        "enetc",
        "fec",
        "gve",
        "hv_netvsc",
        "i40e",
        "iavf",
        "ice",
        "igb",
        "igc",
        "ixgbe",
        "ixgbevf",
        "mana",
        "mlx4_en",
        "mlx5_core",
        "mtk_soc_eth",
        "mvneta",
        "mvpp2",
        "netsec",
        "nfp",
        "octeontx2",
        "qede",
        "sfc",
        "stmmac",
        "tun",
        "veth",
        "virtio_net",
    ];
    const WITHOUT: [&str; 20] = [
        "asix",
        "ax88179_178a",
        "bcmgenet",
        "bridge",
        "brcmfmac",
        "cdc_ether",
        "dummy",
        "e1000",
        "e1000e",
        "ipvlan",
        "lan78xx",
        "macb",
        "macvlan",
        "r8152",
        "r8169",
        "smsc95xx",
        "tg3",
        "vlan",
        "vxlan",
        "wireguard",
    ];
    if WITH.contains(&driver) {
        return Some(true);
    }
    WITHOUT.contains(&driver).then_some(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_an_interface_and_nonsense_is_none() {
        let lo = interface("lo").ok().flatten();
        assert_eq!(lo.map(|facts| facts.name), Some("lo".to_string()));
        assert!(matches!(interface("no-such-if0"), Ok(None)));
    }

    #[test]
    fn drivers_of_raspberry_pis_are_known_to_lack_native_xdp() {
        for driver in ["bcmgenet", "macb", "lan78xx", "r8152"] {
            assert_eq!(native_xdp(driver), Some(false));
        }
        assert_eq!(native_xdp("veth"), Some(true));
        assert_eq!(native_xdp("something_new"), None);
    }
}
