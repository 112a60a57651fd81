//! What this machine's network hangs on: its addresses, gateways, name servers, and what DHCP leases name. Read from the
//! kernel and from files; decides nothing.

use std::{
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
};

use crate::kernel;

/// Addresses that a block must not hit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// Of all interfaces, with their prefix lengths.
    pub own: Vec<(IpAddr, u8)>,
    pub gateways: Vec<IpAddr>,
    pub resolvers: Vec<IpAddr>,
    pub leased: Vec<IpAddr>,
}

/// systemd-resolved's own file names the servers behind its stub.
const RESOLVERS: [&str; 3] =
    ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf", "/run/NetworkManager/resolv.conf"];
/// systemd-networkd, dhclient, dhcpcd, NetworkManager.
const LEASES: [&str; 5] = [
    "/run/systemd/netif/leases",
    "/var/lib/dhcp",
    "/var/lib/dhcpcd",
    "/var/lib/NetworkManager",
    "/run/dhcpcd/resolv.conf",
];
const FILE_BYTES_MAX: u64 = 256 << 10;
const FILES_MAX: usize = 64;
const ADDRESSES_MAX: usize = 256;

impl Surroundings {
    /// As it is now. What cannot be read is told and left out.
    pub fn look() -> Self {
        let told = |what: &'static str| move |error: std::io::Error| tracing::warn!(%error, what, "the never-block list lacks these");
        let own = kernel::all_addresses().map_err(told("own addresses")).unwrap_or_default();
        let gateways = kernel::gateways().map_err(told("gateways")).unwrap_or_default();
        Self { own, gateways, ..Self::read(Path::new("/")) }
    }

    /// The part that stands in files below `root`.
    pub fn read(root: &Path) -> Self {
        let at = |path: &str| root.join(path.trim_start_matches('/'));
        let mut resolvers = Vec::new();
        for path in RESOLVERS {
            add(&mut resolvers, text(&at(path)).iter().flat_map(|text| name_servers(text)));
        }
        let mut leased = Vec::new();
        for path in LEASES {
            for file in files(&at(path)) {
                add(&mut leased, text(&file).iter().flat_map(|text| lease(text)));
            }
        }
        Self { resolvers, leased, ..Self::default() }
    }
}

fn add(into: &mut Vec<IpAddr>, more: impl Iterator<Item = IpAddr>) {
    for address in more {
        if into.len() < ADDRESSES_MAX && !into.contains(&address) {
            into.push(address);
        }
    }
}

/// The file itself, or those of the folder.
fn files(path: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(path) else { return vec![path.to_owned()] };
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    files.sort();
    files.truncate(FILES_MAX);
    files
}

fn text(path: &Path) -> Option<String> {
    let small = fs::metadata(path).is_ok_and(|data| data.len() <= FILE_BYTES_MAX);
    let bytes = small.then(|| fs::read(path).ok()).flatten()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// resolv.conf(5); an address may name its interface behind `%`.
fn name_servers(text: &str) -> impl Iterator<Item = IpAddr> {
    let server = |line: &str| {
        let mut words = line.split_whitespace();
        let address = words.next().filter(|word| *word == "nameserver").and_then(|_| words.next())?;
        address.split('%').next()?.parse().ok()
    };
    text.lines().filter_map(server)
}

/// What a lease says of servers and routers: `DNS=192.0.2.1 192.0.2.2`, `option routers 192.0.2.1;`,
/// `nameserver 192.0.2.1`.
fn lease(text: &str) -> impl Iterator<Item = IpAddr> {
    const NAMES: [&str; 13] = [
        "dns",
        "ntp",
        "router",
        "server_address",
        "next_server",
        "gateway",
        "routers",
        "domain-name-servers",
        "dhcp-server-identifier",
        "ntp-servers",
        "nameserver",
        "domain_name_servers",
        "dhcp_server_identifier",
    ];
    let named = |line: &str| NAMES.iter().any(|name| line.split([' ', '=', '\t']).any(|word| word == *name));
    let addresses = |line: String| {
        let words = line.split([' ', '=', ',', ';', '\'', '"', '\t']).filter_map(|word| word.parse().ok());
        words.collect::<Vec<IpAddr>>()
    };
    text.lines().map(str::to_ascii_lowercase).filter(move |line| named(line)).flat_map(addresses)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

    use super::*;

    fn addresses(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn name_servers_and_leases_are_read_from_the_files_of_several_programs() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write(
            "etc/resolv.conf",
            "# local\nsearch lan\nnameserver 192.0.2.53\nnameserver fe80::1%eth0\noptions rotate\n",
        );
        write("run/systemd/resolve/resolv.conf", "nameserver 2001:db8::53\nnameserver 192.0.2.53\n");
        write(
            "run/systemd/netif/leases/2",
            "ADDRESS=198.51.100.7\nROUTER=198.51.100.1\nSERVER_ADDRESS=198.51.100.2\nDNS=198.51.100.3 198.51.100.4\n",
        );
        write(
            "var/lib/dhcp/dhclient.eth0.leases",
            "lease {\n  fixed-address 203.0.113.9;\n  option routers 203.0.113.1;\n  \
             option domain-name-servers 203.0.113.2,203.0.113.3;\n  option dhcp-server-identifier 203.0.113.4;\n}\n",
        );
        let around = Surroundings::read(root.path());
        assert_eq!(around.resolvers, addresses(&["192.0.2.53", "fe80::1", "2001:db8::53"]));
        assert_eq!(
            around.leased,
            addresses(&[
                "198.51.100.1",
                "198.51.100.2",
                "198.51.100.3",
                "198.51.100.4",
                "203.0.113.1",
                "203.0.113.2",
                "203.0.113.3",
                "203.0.113.4"
            ])
        );
    }

    #[test]
    fn a_machine_without_such_files_names_nobody() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(Surroundings::read(root.path()), Surroundings::default());
    }
}
