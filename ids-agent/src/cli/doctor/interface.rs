//! What `doctor` says of an interface: in which mode it is seen, and why not in a better one; and of the place for pins.

use super::{Findings, State};
use crate::{
    config::Pin,
    kernel::facts::{self, InterfaceFacts, Layer},
};

pub(super) fn look(found: &mut Findings, name: &str) {
    let what = format!("interface {name}");
    match facts::interface(name) {
        Ok(Some(facts)) => {
            let (state, says) = judge(&facts);
            found.add(what, state, says);
        }
        Ok(None) => {
            found.add(
                what,
                State::Missing,
                "there is none of this name, and the agent would wait; `ip link` lists them",
            );
        }
        Err(error) => found.add(what, State::Missing, format!("the kernel would not say: {error}")),
    }
}

fn judge(facts: &InterfaceFacts) -> (State, String) {
    let driver = facts.driver.as_deref().unwrap_or("unknown");
    match facts.layer {
        Layer::Other(kind) => {
            let says = format!("frames of hardware type {kind} are not read: Ethernet and IP are");
            return (State::Missing, says);
        }
        Layer::Ip => {
            let says =
                format!("kind {driver}, without Ethernet headers, which XDP needs: seen by tc, from the IP header on");
            return (State::Works, says);
        }
        Layer::Ethernet => {}
    }
    if !facts.xdp_programs.is_empty() {
        let ids: Vec<String> = facts.xdp_programs.iter().map(u32::to_string).collect();
        let ids = ids.join(", ");
        return (
            State::Limited,
            format!("driver {driver}; XDP program {ids} is attached already: only --mode tc works"),
        );
    }
    let without = |because: &str| {
        (State::Limited, format!("driver {driver}: {because}; seen by tc, which costs more per packet"))
    };
    if facts.wireless {
        return without("Wi-Fi drivers have no native XDP");
    }
    match (driver, facts.native_xdp) {
        ("bridge", _) => without(
            "a bridge has no native XDP, and what it passes from port to port is seen at the ports alone: name those to see it",
        ),
        ("vlan", _) => without("a VLAN device has no native XDP; the device below sees its frames with their tags"),
        (_, Some(true)) => (State::Works, format!("driver {driver} has native XDP")),
        (_, Some(false)) => without("no native XDP"),
        (_, None) => (
            State::Limited,
            format!("driver {driver} is not on our list: --mode auto finds out whether it has native XDP"),
        ),
    }
}

/// Whether programs can be pinned where the configuration says.
pub(super) fn pins(found: &mut Findings, pin: &Pin) {
    let Some(dir) = pin.dir() else { return };
    let place = if dir.exists() { Some(dir) } else { dir.parent() };
    let (state, says) = match place.map(facts::is_bpf_file_system) {
        Some(Ok(true)) => (State::Works, format!("{}: the programs count on when the agent ends", dir.display())),
        Some(Ok(false)) => (
            State::Missing,
            format!("{} is not on a BPF file system; `mount -t bpf bpf /sys/fs/bpf` makes one", dir.display()),
        ),
        Some(Err(error)) => (State::Missing, format!("{}: {error}", dir.display())),
        None => (State::Missing, format!("{} cannot hold pins", dir.display())),
    };
    found.add("pins", state, says);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(driver: &str, layer: Layer, native_xdp: Option<bool>) -> InterfaceFacts {
        InterfaceFacts {
            name: "if0".to_owned(),
            ifindex: 2,
            layer,
            wireless: false,
            driver: Some(driver.to_owned()),
            mtu: Some(1_500),
            xdp_programs: Vec::new(),
            native_xdp,
        }
    }

    #[track_caller]
    fn check(facts: InterfaceFacts, state: State, parts: &[&str]) {
        let (found, says) = judge(&facts);
        assert_eq!(found, state, "{says}");
        for part in parts {
            assert!(says.contains(part), "`{part}` is not in: {says}");
        }
    }

    #[test]
    fn every_kind_of_interface_is_told_its_mode_and_why() {
        check(facts("veth", Layer::Ethernet, Some(true)), State::Works, &["native XDP"]);
        check(facts("wireguard", Layer::Ip, Some(false)), State::Works, &["without Ethernet", "tc"]);
        check(facts("ppp", Layer::Ip, None), State::Works, &["tc"]);
        check(facts("bridge", Layer::Ethernet, Some(false)), State::Limited, &["ports", "tc"]);
        check(facts("vlan", Layer::Ethernet, Some(false)), State::Limited, &["tags", "tc"]);
        check(facts("bcmgenet", Layer::Ethernet, Some(false)), State::Limited, &["no native XDP", "tc"]);
        check(facts("new", Layer::Ethernet, None), State::Limited, &["auto finds out"]);
        check(facts("ipoib", Layer::Other(32), None), State::Missing, &["hardware type 32"]);
        let wireless = InterfaceFacts { wireless: true, ..facts("brcmfmac", Layer::Ethernet, None) };
        check(wireless, State::Limited, &["Wi-Fi", "tc"]);
        let taken = InterfaceFacts { xdp_programs: vec![7], ..facts("veth", Layer::Ethernet, Some(true)) };
        check(taken, State::Limited, &["program 7", "only --mode tc"]);
    }
}
