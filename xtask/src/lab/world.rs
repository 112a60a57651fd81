//! Who lives in the lab's network and how it is built, decided by the seed. Makes nothing; `network` does.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::rng::Rng;

/// How many hosts of each kind a scenario needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// People's machines.
    pub(crate) clients: usize,
    /// Things: cameras, bulbs, printers, televisions.
    pub(crate) devices: usize,
    /// Servers in the LAN.
    pub(crate) servers: usize,
    /// Servers in the internet.
    pub(crate) sites: usize,
    /// Machines in the LAN that do nothing but attack; nobody benign uses their addresses.
    pub(crate) inside: usize,
    /// Machines in the internet that do nothing but attack.
    pub(crate) outside: usize,
}

impl Shape {
    /// What most attack scenarios stand in.
    pub(crate) const SMALL: Self = Self { clients: 2, devices: 2, servers: 2, sites: 3, inside: 1, outside: 1 };
}

/// A machine with a network namespace of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Host {
    /// `client1`, `device2`, `server1`, `site3`, `inside1`, `outside1`.
    pub(crate) name: String,
    /// What it calls itself on the wire.
    pub(crate) hostname: String,
    pub(crate) v4: Ipv4Addr,
    pub(crate) v6: Ipv6Addr,
    /// More addresses of the same machine, for who wants to come from several.
    pub(crate) more: Vec<Ipv4Addr>,
    pub(crate) mac: String,
    pub(crate) ttl: u8,
    /// Windows sends no TCP timestamps, most others do.
    pub(crate) timestamps: bool,
    /// One way through the internet, on top of what the wires take. Zero in the LAN.
    pub(crate) delay_ms: u64,
}

/// The whole network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct World {
    pub(crate) seed: u64,
    /// The gateway's address in the LAN.
    pub(crate) gateway4: Ipv4Addr,
    pub(crate) gateway6: Ipv6Addr,
    pub(crate) lan4: Ipv4Addr,
    pub(crate) lan6: Ipv6Addr,
    pub(crate) clients: Vec<Host>,
    pub(crate) devices: Vec<Host>,
    pub(crate) servers: Vec<Host>,
    pub(crate) sites: Vec<Host>,
    pub(crate) inside: Vec<Host>,
    pub(crate) outside: Vec<Host>,
    /// Of the link between gateway and provider; PPPoE and tunnels have less than 1,500.
    pub(crate) wan_mtu: u16,
    pub(crate) down_mbit: u64,
    pub(crate) up_mbit: u64,
    /// Packets that the internet loses, of a million.
    pub(crate) loss_per_million: u64,
    /// Names that resolve nowhere else: `home.test`, `www.SITE.test`.
    pub(crate) domain: String,
    pub(crate) accounts: Vec<Account>,
}

/// A user of the machines in the lab, with a password that is right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) user: String,
    pub(crate) password: String,
}

pub(crate) const LAN4_BITS: u8 = 24;
pub(crate) const LAN6_BITS: u8 = 64;

const USERS: [&str; 20] = [
    "alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan", "judy", "mallory", "niaj", "olivia",
    "peggy", "rupert", "sybil", "trent", "victor", "walter", "zoe",
];
const WORDS: [&str; 16] = [
    "amber", "birch", "cobalt", "delta", "ember", "falcon", "garnet", "harbor", "indigo", "juniper", "kestrel",
    "linden", "maple", "nectar", "onyx", "pepper",
];
/// First octets with neither private, loopback, multicast nor reserved networks in them.
const PUBLIC: [u8; 24] =
    [5, 13, 18, 23, 31, 34, 37, 45, 52, 62, 77, 80, 85, 91, 93, 104, 109, 138, 142, 151, 176, 185, 193, 212];

impl World {
    pub(crate) fn new(seed: u64, name: &str, shape: Shape) -> Self {
        let mut rng = Rng::new(seed, &format!("world {name}"));
        let rng = &mut rng;
        let byte = |rng: &mut Rng| u8::try_from(rng.range(0, 254)).unwrap_or(1);
        let lan4 = match rng.range(1, 4) {
            1 => Ipv4Addr::new(10, byte(rng), byte(rng), 0),
            2 => Ipv4Addr::new(172, u8::try_from(rng.range(16, 31)).unwrap_or(16), byte(rng), 0),
            _ => Ipv4Addr::new(192, 168, byte(rng), 0),
        };
        // A provider's prefix, or one of the site's own.
        let first = if rng.once_in(3) { 0xfd00 + word(rng) % 0x100 } else { 0x2a00 + word(rng) % 8 };
        let lan6 = Ipv6Addr::new(first, word(rng), word(rng), word(rng) & 0xff, 0, 0, 0, 0);
        let (down_mbit, up_mbit) = rng.pick(&[(16, 4), (50, 10), (100, 40), (250, 40), (500, 100), (300, 300)]);

        let gateway_last = rng.pick(&[1, 1, 254]);
        let mut lasts = rng.shuffled(&(2..=253).collect::<Vec<u8>>());
        let mut local = |rng: &mut Rng, kind: &str, count: usize, addresses: usize| {
            let mut hosts = Vec::new();
            for number in 1..=count {
                let mut own: Vec<Ipv4Addr> = (0..addresses).filter_map(|_| Some(at4(lan4, lasts.pop()?))).collect();
                let v4 = own.pop().unwrap_or(lan4);
                let v6 = at6(rng, lan6);
                hosts.push(host(rng, format!("{kind}{number}"), v4, own, v6, 0));
            }
            hosts
        };
        let clients = local(rng, "client", shape.clients, 1);
        let devices = local(rng, "device", shape.devices, 1);
        let servers = local(rng, "server", shape.servers, 2);
        let inside = local(rng, "inside", shape.inside, 4);
        let mut firsts = rng.shuffled(&PUBLIC);
        let mut far = |rng: &mut Rng, kind: &str, count: usize, addresses: u8| {
            let mut hosts = Vec::new();
            for number in 1..=count {
                let octet = firsts.pop().unwrap_or_else(|| rng.pick(&PUBLIC));
                let net = Ipv4Addr::new(octet, byte(rng), byte(rng), 0);
                let last = u8::try_from(rng.range(1, 200)).unwrap_or(1);
                let own = (1..addresses).map(|more| at4(net, last + more)).collect();
                let prefix = Ipv6Addr::new(0x2600 + word(rng) % 0x600, word(rng), word(rng), word(rng), 0, 0, 0, 0);
                let delay_ms = rng.pick(&[2, 5, 8, 12, 18, 25, 40, 70]);
                let v6 = at6(rng, prefix);
                hosts.push(host(rng, format!("{kind}{number}"), at4(net, last), own, v6, delay_ms));
            }
            hosts
        };
        let sites = far(rng, "site", shape.sites, 2);
        let outside = far(rng, "outside", shape.outside, 4);

        let users = rng.shuffled(&USERS);
        let accounts = users[..4]
            .iter()
            .map(|user| Account {
                user: (*user).to_owned(),
                password: format!("{}{}{}", rng.pick(&WORDS), rng.pick(&["-", ".", "_"]), rng.range(100, 9_999)),
            })
            .collect();
        Self {
            seed,
            gateway4: at4(lan4, gateway_last),
            gateway6: at6_number(lan6, 1),
            lan4,
            lan6,
            clients,
            devices,
            servers,
            sites,
            inside,
            outside,
            wan_mtu: rng.pick(&[1_500, 1_500, 1_492, 1_460, 1_420]),
            down_mbit,
            up_mbit,
            loss_per_million: rng.pick(&[0, 0, 0, 200, 1_000, 3_000]),
            domain: format!("{}{}.test", rng.pick(&WORDS), rng.range(1, 99)),
            accounts,
        }
    }

    /// Those behind the gateway.
    pub(crate) fn locals(&self) -> impl Iterator<Item = &Host> {
        self.clients.iter().chain(&self.devices).chain(&self.servers).chain(&self.inside)
    }

    /// Those in the internet.
    pub(crate) fn far(&self) -> impl Iterator<Item = &Host> {
        self.sites.iter().chain(&self.outside)
    }

    pub(crate) fn hosts(&self) -> impl Iterator<Item = &Host> {
        self.locals().chain(self.far())
    }
}

impl Host {
    /// Its IPv4 addresses.
    pub(crate) fn all_v4(&self) -> impl Iterator<Item = Ipv4Addr> + '_ {
        std::iter::once(self.v4).chain(self.more.iter().copied())
    }

    pub(crate) fn addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.all_v4().map(IpAddr::from).chain([IpAddr::from(self.v6)])
    }
}

fn host(rng: &mut Rng, name: String, v4: Ipv4Addr, more: Vec<Ipv4Addr>, v6: Ipv6Addr, delay_ms: u64) -> Host {
    let windows = name.starts_with("client") && rng.once_in(2);
    let ttl = if windows { 128 } else { rng.pick(&[64, 64, 64, 255]) };
    let tail: Vec<String> = (0..5).map(|_| format!("{:02x}", rng.range(0, 255))).collect();
    let hostname = format!("{}{}{}", rng.pick(&WORDS), rng.pick(&["", "-", "-pc", "-srv"]), rng.range(1, 400));
    // The second bit of the first octet says that the address was not given by a maker.
    Host { name, hostname, v4, v6, more, mac: format!("02:{}", tail.join(":")), ttl, timestamps: !windows, delay_ms }
}

fn at4(net: Ipv4Addr, last: u8) -> Ipv4Addr {
    let [a, b, c, _] = net.octets();
    Ipv4Addr::new(a, b, c, last)
}

fn at6(rng: &mut Rng, net: Ipv6Addr) -> Ipv6Addr {
    // Servers are numbered by hand, others draw theirs.
    let number = if rng.once_in(3) { rng.range(2, 0xfff) } else { rng.next() | 1 << 57 };
    at6_number(net, number)
}

fn at6_number(net: Ipv6Addr, number: u64) -> Ipv6Addr {
    Ipv6Addr::from_bits(net.to_bits() | u128::from(number))
}

fn word(rng: &mut Rng) -> u16 {
    u16::try_from(rng.range(0, 0xffff)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{Shape, World};

    #[test]
    fn a_seed_decides_the_network_and_no_two_hosts_share_an_address() {
        let shape = Shape { clients: 6, devices: 6, servers: 3, sites: 8, inside: 2, outside: 3 };
        for seed in 0..50 {
            let world = World::new(seed, "x", shape);
            assert_eq!(world, World::new(seed, "x", shape));
            assert_ne!(world, World::new(seed + 1, "x", shape));
            let all: Vec<_> = world.hosts().flat_map(|host| host.addresses().collect::<Vec<_>>()).collect();
            let different: BTreeSet<_> = all.iter().collect();
            assert_eq!(all.len(), different.len());
            assert!(!all.contains(&world.gateway4.into()));
            assert!(world.locals().all(|host| host.v4.octets()[..3] == world.lan4.octets()[..3]));
        }
    }
}
