//! What the machine offers, and the plan of a Suricata that fits its share of it.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    path::{Path, PathBuf},
};

use super::yaml::{EveTo, Memory, Plan};
use crate::{
    config::{EveFiletype, Prefix, SuricataSettings},
    kernel,
};

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    #[error("no interface to watch: name one with --interface, or set capture.interfaces")]
    NoInterface,
    #[error("interface `{name}` does not exist; `ip link` lists those that do")]
    UnknownInterface { name: String },
}

/// What was found on the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// CPUs that this process may use.
    pub cpus: Vec<u16>,
    /// Networks of the watched interfaces.
    pub networks: BTreeSet<String>,
}

impl Machine {
    /// Looks at the machine, in the namespace of the calling thread.
    pub fn look(interfaces: &[String]) -> Result<Self, PlanError> {
        let mut networks = BTreeSet::new();
        for name in interfaces {
            let Ok(Some(facts)) = kernel::facts::interface(name) else {
                return Err(PlanError::UnknownInterface { name: name.clone() });
            };
            match kernel::addresses(facts.ifindex) {
                Ok(addresses) => networks.extend(addresses.into_iter().filter_map(|(ip, bits)| network(ip, bits))),
                Err(error) => tracing::warn!(interface = %name, %error, "its addresses cannot be asked for"),
            }
        }
        Ok(Self { cpus: cpus(), networks })
    }
}

fn cpus() -> Vec<u16> {
    let Ok(allowed) = rustix::thread::sched_getaffinity(None) else { return vec![0] };
    (0..rustix::thread::CpuSet::MAX_CPU)
        .filter(|cpu| allowed.is_set(*cpu))
        .filter_map(|cpu| u16::try_from(cpu).ok())
        .collect()
}

/// The network of an address. Loopback and link-local ones are on every machine and say nothing. Around a public IPv4
/// address are the provider's other customers, so that it stands for itself alone.
fn network(address: IpAddr, bits: u8) -> Option<String> {
    match address {
        IpAddr::V4(v4) if !v4.is_private() => (!v4.is_loopback() && !v4.is_link_local()).then(|| format!("{v4}/32")),
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits.min(32))).unwrap_or(0);
            let network = std::net::Ipv4Addr::from(u32::from(v4) & mask);
            (bits > 0).then(|| format!("{network}/{bits}"))
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits.min(128))).unwrap_or(0);
            let network = std::net::Ipv6Addr::from(u128::from(v6) & mask);
            let local = v6.is_loopback() || v6.is_unicast_link_local();
            (!local && bits > 0).then(|| format!("{network}/{bits}"))
        }
    }
}

/// Inside, where an interface has no addresses: what no router of the internet carries.
const PRIVATE: [&str; 4] = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"];

/// Where Debian keeps what rules are classed by.
const ETC: &str = "/etc/suricata";

/// A plan for these interfaces. Rules and their classes are those of `rules_dir`.
pub fn plan(
    settings: &SuricataSettings,
    home: &[Prefix],
    interfaces: &[String],
    machine: &Machine,
    rules_dir: &Path,
) -> Result<Plan, PlanError> {
    if interfaces.is_empty() {
        return Err(PlanError::NoInterface);
    }
    let mut networks = machine.networks.clone();
    networks.extend(home.iter().map(ToString::to_string));
    if networks.is_empty() {
        networks.extend(PRIVATE.map(str::to_owned));
    }
    let eve = eve_file(settings);
    Ok(Plan {
        interfaces: interfaces.to_vec(),
        home_networks: networks.into_iter().collect(),
        cpus: share_of(&machine.cpus, settings.cpu_percent),
        memory: Memory::divide(settings.ram_mib),
        eve: match settings.eve_filetype {
            EveFiletype::Regular => EveTo::File(eve),
            EveFiletype::UnixStream => EveTo::Socket(eve),
        },
        run_dir: settings.run_dir.clone(),
        rules_dir: rules_dir.to_owned(),
        rule_files: super::rules::FILES.map(str::to_owned).to_vec(),
        // An update brings classes that newer rules need.
        classification: list("classification.config", Some(rules_dir)),
        reference: list("reference.config", None),
    })
}

/// A list that rules refer to: with the rules, Suricata's own, or the shipped one.
fn list(name: &str, rules_dir: Option<&Path>) -> PathBuf {
    let own = rules_dir.map(|dir| dir.join(name)).filter(|file| file.is_file());
    let theirs = Path::new(ETC).join(name);
    own.or_else(|| (!theirs.is_file()).then(|| shipped(name)).flatten()).unwrap_or(theirs)
}

/// Where Suricata writes what the agent follows.
fn eve_file(settings: &SuricataSettings) -> PathBuf {
    settings.eve_path.clone().unwrap_or_else(|| settings.run_dir.join(super::EVE))
}

/// Where a package puts the shipped rules, in which folder of a checkout they are, and their file.
const INSTALLED: &str = "/usr/share/ids-agent/rules";
const CHECKOUT: &str = "rules";
/// `target/PROFILE/deps/NAME` is four below the checkout.
const EXECUTABLE_ANCESTORS: usize = 5;
const SHIPPED: &str = "ids-agent.rules";

/// Rules of one's own: those configured, else the shipped ones, where they are found.
pub fn local_rules(settings: &SuricataSettings) -> Option<PathBuf> {
    if settings.local_rules.is_some() {
        return settings.local_rules.clone();
    }
    shipped(SHIPPED)
}

/// A file of the shipped folder, in the package's or a checkout's.
fn shipped(name: &str) -> Option<PathBuf> {
    let mut tried = vec![PathBuf::from(INSTALLED)];
    if let Ok(executable) = std::env::current_exe() {
        tried.extend(executable.ancestors().skip(1).take(EXECUTABLE_ANCESTORS).map(|dir| dir.join(CHECKOUT)));
    }
    // A folder named `rules` may be anybody's.
    tried.into_iter().filter(|dir| dir.join(SHIPPED).is_file()).map(|dir| dir.join(name)).find(|file| file.is_file())
}

/// Whole CPUs, rounded down, and one at least: the last ones, as interrupts often begin with the first.
fn share_of(cpus: &[u16], percent: u32) -> Vec<u16> {
    let wanted = (cpus.len() * percent.min(100) as usize / 100).max(1);
    let first = cpus.len().saturating_sub(wanted);
    let share = cpus.get(first..).unwrap_or_default().to_vec();
    if share.is_empty() { vec![0] } else { share }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_of_cpus_is_rounded_down_to_one_at_least() {
        assert_eq!(share_of(&[0, 1, 2, 3], 50), [2, 3]);
        assert_eq!(share_of(&[0, 1, 2, 3], 99), [1, 2, 3]);
        assert_eq!(share_of(&[4, 9], 1), [9]);
        assert_eq!(share_of(&[4, 9], 100), [4, 9]);
        assert_eq!(share_of(&[], 50), [0]);
    }

    #[test]
    fn a_network_is_the_address_without_its_host() {
        let network = |text: &str, bits| network(text.parse().unwrap_or(IpAddr::from([0; 4])), bits);
        assert_eq!(network("192.168.77.5", 24).as_deref(), Some("192.168.77.0/24"));
        assert_eq!(network("203.0.113.9", 24).as_deref(), Some("203.0.113.9/32"));
        assert_eq!(network("2001:db8:1:2::5", 64).as_deref(), Some("2001:db8:1:2::/64"));
        assert_eq!(network("127.0.0.1", 8), None);
        assert_eq!(network("fe80::1", 64), None);
        assert_eq!(network("10.0.0.1", 0), None);
    }

    #[test]
    fn without_addresses_private_networks_are_the_inside() {
        let settings = SuricataSettings::default();
        let machine = Machine { cpus: vec![0], networks: BTreeSet::new() };
        let plan = |machine: &Machine| {
            plan(&settings, &[], &["lan0".to_owned()], machine, Path::new("/rules")).map(|plan| plan.home_networks)
        };
        assert_eq!(plan(&machine).ok().map(|networks| networks.len()), Some(4));
        let machine = Machine { networks: BTreeSet::from(["192.0.2.0/24".to_owned()]), ..machine };
        assert_eq!(plan(&machine).ok(), Some(vec!["192.0.2.0/24".to_owned()]));
    }
}
