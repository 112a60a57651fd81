//! Who is never blocked, whatever a verdict or a person says.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::surroundings::Surroundings;
use crate::config::{EnforceSettings, Prefix};

/// Why an address is spared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Spared {
    /// Unspecified, loopback, broadcast and multicast addresses: nobody sends from them.
    Special,
    /// Neighbour discovery and router advertisements come from here.
    LinkLocal,
    /// This machine's, and the broadcast addresses of its networks.
    Own,
    Gateway,
    Resolver,
    /// Told by a DHCP lease: its server, routers, name and time servers.
    Lease,
    Management,
    /// On the list of the settings.
    Listed,
    Home,
}

impl Spared {
    pub const fn label(self) -> &'static str {
        match self {
            Self::Special => "special",
            Self::LinkLocal => "link_local",
            Self::Own => "own",
            Self::Gateway => "gateway",
            Self::Resolver => "resolver",
            Self::Lease => "lease",
            Self::Management => "management",
            Self::Listed => "listed",
            Self::Home => "home",
        }
    }

    /// In a sentence that begins with the address.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Special => "is no host's address",
            Self::LinkLocal => "is link-local, which routers speak from",
            Self::Own => "is this machine's own",
            Self::Gateway => "is a gateway of this machine",
            Self::Resolver => "is a name server of this machine",
            Self::Lease => "is named by a DHCP lease of this machine",
            Self::Management => "is in enforce.management",
            Self::Listed => "is in enforce.never",
            Self::Home => "is in a home network, and enforce.home is false",
        }
    }
}

/// The never-block list as it stands.
#[derive(Clone, Debug, Default)]
pub struct NeverList {
    entries: Vec<(Prefix, Spared)>,
}

const SPECIAL: [&str; 7] = ["0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/4", "240.0.0.0/4", "::/128", "::1/128", "ff00::/8"];
const LINK_LOCAL: [&str; 2] = ["169.254.0.0/16", "fe80::/10"];
/// RFC 1918, RFC 6598 and RFC 4193.
const HOME: [&str; 5] = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"];

impl NeverList {
    /// `home` are the networks of the site beside private ones.
    pub fn new(settings: &EnforceSettings, home: &[Prefix], around: &Surroundings) -> Self {
        let fixed = |texts: &[&str], why: Spared| {
            // Each parses: a test looks for every one of them.
            texts.iter().filter_map(|text| text.parse().ok()).map(|prefix| (prefix, why)).collect::<Vec<_>>()
        };
        let hosts = |addresses: &[IpAddr], why: Spared| {
            addresses.iter().map(|address| (Prefix::host(*address), why)).collect::<Vec<_>>()
        };
        let mut entries = fixed(&SPECIAL, Spared::Special);
        entries.extend(fixed(&LINK_LOCAL, Spared::LinkLocal));
        for (address, bits) in &around.own {
            entries.push((Prefix::host(*address), Spared::Own));
            entries.extend(broadcast(*address, *bits).map(|broadcast| (Prefix::host(broadcast), Spared::Own)));
        }
        entries.extend(hosts(&around.gateways, Spared::Gateway));
        entries.extend(hosts(&around.resolvers, Spared::Resolver));
        entries.extend(hosts(&around.leased, Spared::Lease));
        entries.extend(settings.management.iter().map(|prefix| (*prefix, Spared::Management)));
        entries.extend(settings.never.iter().map(|prefix| (*prefix, Spared::Listed)));
        if !settings.home {
            entries.extend(fixed(&HOME, Spared::Home));
            entries.extend(home.iter().map(|prefix| (*prefix, Spared::Home)));
        }
        Self { entries }
    }

    /// Why an address is never blocked, if so. The first reason of those above.
    pub fn spares(&self, address: &[u8; 16]) -> Option<Spared> {
        self.entries.iter().find(|(prefix, _)| prefix.contains(address)).map(|(_, why)| *why)
    }
}

/// The broadcast address of an IPv4 network that has one.
fn broadcast(address: IpAddr, bits: u8) -> Option<IpAddr> {
    match address {
        IpAddr::V4(v4) if bits < 31 => {
            let hosts = u32::MAX.checked_shr(u32::from(bits)).unwrap_or(0);
            Some(IpAddr::V4(Ipv4Addr::from(u32::from(v4) | hosts)))
        }
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    }
}

/// Network order, IPv4 mapped, as keys have it.
pub fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// As people write it.
pub fn shown(address: &[u8; 16]) -> IpAddr {
    Ipv6Addr::from(*address).to_canonical()
}
