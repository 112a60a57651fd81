//! One indicator of a feed, in the one form that lookups use. Reads no file and holds no list.

use std::net::IpAddr;

use super::shared;

/// What a feed names as bad.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Indicator {
    /// In lower case and without a last dot. Stands for the names below it too.
    Domain(String),
    /// `host/path`, without scheme and without the last slash. Stands for what lies below it too.
    Url(String),
    /// Network order, IPv4 mapped.
    Address([u8; 16]),
    AddressPort([u8; 16], u16),
    Prefix([u8; 16], u8),
    Ja3(String),
    Ja4(String),
}

/// What kind of thing an indicator is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Domain,
    Url,
    Address,
    AddressPort,
    Prefix,
    Ja3,
    Ja4,
}

impl Kind {
    pub const ALL: [Self; 7] =
        [Self::Domain, Self::Url, Self::Address, Self::AddressPort, Self::Prefix, Self::Ja3, Self::Ja4];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Domain => "domain",
            Self::Url => "url",
            Self::Address => "address",
            Self::AddressPort => "address_port",
            Self::Prefix => "prefix",
            Self::Ja3 => "ja3",
            Self::Ja4 => "ja4",
        }
    }

    /// What a hit is worth beside one on a name. Addresses change hands within days; many hosts share a prefix;
    /// programs that use the same TLS library share a fingerprint, JA3 more often than JA4.
    pub const fn weight(self) -> f32 {
        match self {
            Self::Domain | Self::Url => 1.0,
            Self::AddressPort => 0.95,
            Self::Address => 0.8,
            Self::Prefix | Self::Ja4 => 0.6,
            Self::Ja3 => 0.5,
        }
    }

    /// Its place in `ALL`.
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// Why a line gives no indicator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// Nothing that a feed would hold.
    Garbage,
    /// Well-formed, but nothing that can be looked for: a path without a host, a hash of a file.
    Unused,
    /// A public suffix, a service that everybody uses, a prefix of millions of addresses.
    TooBroad,
    /// A private, loopback or multicast address, or a public resolver.
    Reserved,
}

/// Longest name (RFC 1035 section 2.3.4), and longest URL kept.
const NAME_BYTES_MAX: usize = 253;
const URL_BYTES_MAX: usize = 2_048;
/// The widest prefixes that are believed.
const V4_BITS_MIN: u8 = 8;
const V6_BITS_MIN: u8 = 16;

impl Indicator {
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Domain(_) => Kind::Domain,
            Self::Url(_) => Kind::Url,
            Self::Address(_) => Kind::Address,
            Self::AddressPort(..) => Kind::AddressPort,
            Self::Prefix(..) => Kind::Prefix,
            Self::Ja3(_) => Kind::Ja3,
            Self::Ja4(_) => Kind::Ja4,
        }
    }

    /// Reads one value as feeds write it: defanged or not, with or without a scheme.
    pub fn parse(text: &str) -> Result<Self, Unfit> {
        let text = text.trim();
        if text.is_empty() || text.len() > URL_BYTES_MAX || text.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
            return Err(Unfit::Garbage);
        }
        if text.contains("[.]") || text.starts_with("hxxp") {
            let plain = text.replace("[.]", ".").replacen("hxxp", "http", 1);
            return Self::parse_plain(&plain);
        }
        Self::parse_plain(text)
    }

    fn parse_plain(text: &str) -> Result<Self, Unfit> {
        if text.starts_with('/') && text.len() > 1 {
            return Err(Unfit::Unused);
        }
        if let Some((scheme, rest)) = text.split_once("://") {
            let port = match scheme.to_ascii_lowercase().as_str() {
                "http" | "tcp" | "udp" => 80,
                "https" => 443,
                "ftp" => 21,
                _ => return Err(Unfit::Unused),
            };
            return Self::parse_url(rest, Some(port));
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return address_of(address).map(Self::Address);
        }
        if text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return match text.len() {
                32 => Ok(Self::Ja3(text.to_ascii_lowercase())),
                40 | 64 | 128 => Err(Unfit::Unused),
                _ => Err(Unfit::Garbage),
            };
        }
        if is_ja4(text) {
            return Ok(Self::Ja4(text.to_owned()));
        }
        if let Some((address, bits)) = text.split_once('/')
            && let (Ok(address), Ok(bits)) = (address.parse::<IpAddr>(), bits.parse::<u8>())
        {
            return prefix_of(address, bits);
        }
        if text.contains('/') {
            return Self::parse_url(text, None);
        }
        Self::parse_host(text, None)
    }

    /// `host[:port][/path]`, behind a scheme whose port is `default_port`.
    fn parse_url(text: &str, default_port: Option<u16>) -> Result<Self, Unfit> {
        let (authority, path) = text.split_once('/').map_or((text, ""), |(host, path)| (host, path));
        let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let path = path.split('#').next().unwrap_or_default().trim_end_matches('/');
        if path.is_empty() {
            return Self::parse_host(authority, default_port);
        }
        let (host, port) = split_port(authority);
        if port.is_none() && host.len() != authority.len() {
            return Err(Unfit::Garbage);
        }
        let host = match host.parse::<IpAddr>() {
            Ok(address) => address_of(address).map(|_| host.to_owned())?,
            Err(_) => match domain(host) {
                // A page of a shared service may well be bad.
                Ok(name) => name,
                Err(Unfit::TooBroad) => host.to_ascii_lowercase(),
                Err(unfit) => return Err(unfit),
            },
        };
        Ok(Self::Url(url_text(&host, port, path)))
    }

    /// A name or an address, with a port or without.
    fn parse_host(text: &str, default_port: Option<u16>) -> Result<Self, Unfit> {
        let (host, port) = split_port(text);
        if port.is_none() && host.len() != text.len() {
            return Err(Unfit::Garbage);
        }
        match host.parse::<IpAddr>() {
            Ok(address) => {
                let address = address_of(address)?;
                Ok(port.or(default_port).map_or(Self::Address(address), |port| Self::AddressPort(address, port)))
            }
            Err(_) => domain(host).map(Self::Domain),
        }
    }
}

/// `host:port`, `[v6]:port` and both without a port. A port that is none leaves `None` and a shorter host.
fn split_port(text: &str) -> (&str, Option<u16>) {
    if let Some(rest) = text.strip_prefix('[')
        && let Some((host, after)) = rest.split_once(']')
    {
        return (host, after.strip_prefix(':').and_then(|port| port.parse().ok()));
    }
    match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') => (host, port.parse().ok()),
        _ => (text, None),
    }
}

/// The key of a URL. Ports that go without saying are left out.
pub(super) fn url_text(host: &str, port: Option<u16>, path: &str) -> String {
    match port {
        None | Some(80 | 443) => format!("{host}/{path}"),
        Some(port) => format!("{host}:{port}/{path}"),
    }
}

/// Roots beside that of ICANN which malware is fond of.
const OTHER_ROOTS: [&str; 8] = ["bazar", "bit", "coin", "emc", "i2p", "lib", "libre", "onion"];

/// A name as the wire has it. Names outside ASCII are expected in their `xn--` form.
fn domain(text: &str) -> Result<String, Unfit> {
    let text = text.strip_suffix('.').unwrap_or(text);
    let text = text.strip_prefix("*.").or_else(|| text.strip_prefix('.')).unwrap_or(text);
    let fits = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(is_name_byte);
    if text.len() > NAME_BYTES_MAX || !text.split('.').all(fits) {
        return Err(Unfit::Garbage);
    }
    let name = text.to_ascii_lowercase();
    let Some((_, root)) = name.rsplit_once('.') else {
        // `.example`, a whole top-level domain, was written with a dot.
        let known = psl::suffix(name.as_bytes()).is_some_and(|suffix| suffix.is_known());
        return Err(if known { Unfit::TooBroad } else { Unfit::Garbage });
    };
    if OTHER_ROOTS.contains(&root) {
        return Ok(name);
    }
    let Some(suffix) = psl::suffix(name.as_bytes()).filter(|suffix| suffix.is_known()) else {
        return Err(Unfit::Garbage);
    };
    let broad = suffix.as_bytes().len() == name.len() || shared::is_parent(&name);
    if broad { Err(Unfit::TooBroad) } else { Ok(name) }
}

const fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

fn address_of(address: IpAddr) -> Result<[u8; 16], Unfit> {
    let octets = mapped(address);
    if shared::is_reserved(address) { Err(Unfit::Reserved) } else { Ok(octets) }
}

fn prefix_of(address: IpAddr, bits: u8) -> Result<Indicator, Unfit> {
    let (length, least, offset) = match address {
        IpAddr::V4(_) => (32, V4_BITS_MIN, 96),
        IpAddr::V6(_) => (128, V6_BITS_MIN, 0),
    };
    if bits > length {
        return Err(Unfit::Garbage);
    }
    if bits < least {
        return Err(Unfit::TooBroad);
    }
    let octets = address_of(address)?;
    if bits == length { Ok(Indicator::Address(octets)) } else { Ok(Indicator::Prefix(octets, bits + offset)) }
}

/// Network order, IPv4 mapped.
pub fn mapped(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// `t13d1516h2_8daaf6152771_02713d6af862`: transport, version, SNI, counts, ALPN, two truncated hashes.
fn is_ja4(text: &str) -> bool {
    let mut parts = text.split('_');
    let (Some(head), Some(ciphers), Some(extensions), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    let hash = |part: &str| part.len() == 12 && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let head = head.as_bytes();
    head.len() == 10
        && matches!(head.first(), Some(b't' | b'q' | b'd'))
        && matches!(head.get(3), Some(b'd' | b'i'))
        && head.get(4..8).is_some_and(|counts| counts.iter().all(u8::is_ascii_digit))
        && head.iter().all(u8::is_ascii_alphanumeric)
        && hash(ciphers)
        && hash(extensions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn reads(text: &str, wanted: &str) {
        let found = match Indicator::parse(text) {
            Ok(Indicator::Domain(name)) => format!("domain {name}"),
            Ok(Indicator::Url(url)) => format!("url {url}"),
            Ok(Indicator::Address(address)) => format!("address {}", shown(address)),
            Ok(Indicator::AddressPort(address, port)) => format!("address {} port {port}", shown(address)),
            Ok(Indicator::Prefix(address, bits)) => format!("prefix {} {bits}", shown(address)),
            Ok(Indicator::Ja3(hash)) => format!("ja3 {hash}"),
            Ok(Indicator::Ja4(hash)) => format!("ja4 {hash}"),
            Err(unfit) => format!("{unfit:?}"),
        };
        assert_eq!(found, wanted, "{text}");
    }

    fn shown(address: [u8; 16]) -> String {
        std::net::Ipv6Addr::from(address).to_canonical().to_string()
    }

    #[test]
    fn values_are_read_as_feeds_write_them() {
        reads("Evil.Example.COM.", "domain evil.example.com");
        reads("evil[.]example[.]com", "domain evil.example.com");
        reads("*.evil-site.net", "domain evil-site.net");
        reads("_srv.evil-site.net", "domain _srv.evil-site.net");
        reads("oxthiefsvzp3qifmkrpwcllwscyu7jvmdxmd2coz2rxpem6ohut6x5qd.onion", {
            "domain oxthiefsvzp3qifmkrpwcllwscyu7jvmdxmd2coz2rxpem6ohut6x5qd.onion"
        });
        reads("evil-site.net/a/b.php", "url evil-site.net/a/b.php");
        reads("hxxps://evil-site[.]net/a/", "url evil-site.net/a");
        reads("http://evil-site.net:8080/a?b=c", "url evil-site.net:8080/a?b=c");
        reads("http://evil-site.net/", "domain evil-site.net");
        reads("203.0.113.7", "address 203.0.113.7");
        reads("203.0.113.7:4444", "address 203.0.113.7 port 4444");
        reads("http://203.0.113.7", "address 203.0.113.7 port 80");
        reads("203.0.113.7:81/x.bin", "url 203.0.113.7:81/x.bin");
        reads("2001:db8::7", "address 2001:db8::7");
        reads("[2001:db8::7]:443", "address 2001:db8::7 port 443");
        reads("203.0.113.0/24", "prefix 203.0.113.0 120");
        reads("2001:db8::/32", "prefix 2001:db8:: 32");
        reads("203.0.113.7/32", "address 203.0.113.7");
        reads("e7d705a3286e19ea42f587b344ee6865", "ja3 e7d705a3286e19ea42f587b344ee6865");
        reads("t12i190700_d83cc789557e_16bbda4055b2", "ja4 t12i190700_d83cc789557e_16bbda4055b2");
    }

    #[test]
    fn what_would_match_everybody_is_no_indicator() {
        for broad in ["com", "co.uk", "github.io", "github.com", "ddns.net", "10.0.0.0/4", "2000::/3", ".xyz"] {
            reads(broad, "TooBroad");
        }
        for reserved in ["192.168.1.1", "127.0.0.1", "10.2.0.0/16", "224.0.0.251", "0.0.0.0", "fe80::1", "8.8.8.8"] {
            reads(reserved, "Reserved");
        }
        reads("github.com/somebody/bad.zip", "url github.com/somebody/bad.zip");
    }

    #[test]
    fn what_names_nothing_is_told_from_what_cannot_be_used() {
        for garbage in ["", "plain words here", "a..b.com", "<html>", "notadomain", "1.2.3.4.5", "x.nosuchroot", "a:b"]
        {
            reads(garbage, "Garbage");
        }
        for garbage in ["203.0.113.0/33", "203.0.113.7:99999", "deadbeef"] {
            reads(garbage, "Garbage");
        }
        for unused in ["/gate.php", "magnet://x", "da39a3ee5e6b4b0d3255bfef95601890afd80709"] {
            reads(unused, "Unused");
        }
        reads(&"a".repeat(3_000), "Garbage");
    }
}
