//! All feeds together: what is allowed is asked first, then each feed. Immutable, cheap to put together anew.

use std::{net::Ipv6Addr, sync::Arc};

use hashbrown::HashSet;

use super::{
    indicator::{Indicator, Kind, Unfit, url_text},
    ranges::Ranges,
    segment::{Fingerprints, Segment, Tag},
    shared,
};

/// Longest name looked up, and parts of a name or a path that are tried.
const NAME_BYTES_MAX: usize = 253;
const LABELS_MAX: usize = 8;
const PATH_PARTS_MAX: usize = 8;

/// What no feed can condemn.
#[derive(Debug, Default)]
pub struct Allowed {
    keys: HashSet<u64>,
    ranges: Ranges,
}

impl Allowed {
    /// Reads names, addresses, prefixes and fingerprints; names one that cannot be read.
    pub fn new(entries: &[String], fingerprints: &Fingerprints) -> Result<Self, String> {
        let mut allowed = Self::default();
        let mut prefixes = Vec::new();
        for entry in entries {
            let wanted = || format!("`{entry}` is not a name, an address, a prefix or a fingerprint");
            match Indicator::parse(entry) {
                Ok(Indicator::Prefix(address, bits)) => prefixes.push((address, bits, 0)),
                Ok(Indicator::Address(address)) => prefixes.push((address, 128, 0)),
                Ok(Indicator::AddressPort(address, port)) => {
                    allowed.keys.insert(fingerprints.address_port(address, port));
                }
                Ok(Indicator::Domain(text)) => {
                    allowed.keys.insert(fingerprints.text(Kind::Domain, text.as_bytes()));
                }
                Ok(Indicator::Url(text)) => {
                    allowed.keys.insert(fingerprints.text(Kind::Url, text.as_bytes()));
                }
                Ok(Indicator::Ja3(text)) => {
                    allowed.keys.insert(fingerprints.text(Kind::Ja3, text.as_bytes()));
                }
                Ok(Indicator::Ja4(text)) => {
                    allowed.keys.insert(fingerprints.text(Kind::Ja4, text.as_bytes()));
                }
                // Whole suffixes and services may be allowed, although they cannot be condemned.
                Err(Unfit::TooBroad) => {
                    let name = entry.trim_start_matches(['*', '.']).to_ascii_lowercase();
                    allowed.keys.insert(fingerprints.text(Kind::Domain, name.as_bytes()));
                }
                // Never matches anyhow.
                Err(Unfit::Reserved) => {}
                Err(Unfit::Garbage | Unfit::Unused) => return Err(wanted()),
            }
        }
        allowed.ranges = Ranges::new(prefixes);
        Ok(allowed)
    }
}

/// An indicator that something on the wire matches.
#[derive(Clone, Debug)]
pub struct Hit {
    pub feed: Arc<Segment>,
    pub kind: Kind,
    /// As the feed has it: the name, address or prefix that matched, not all that was looked up.
    pub indicator: String,
    pub tag: Tag,
}

impl Hit {
    /// How far it is believed, 0 to 1.
    pub fn confidence(&self) -> f32 {
        self.tag.confidence * self.kind.weight()
    }
}

/// Everything that is known as bad.
#[derive(Debug)]
pub struct Store {
    fingerprints: Fingerprints,
    allowed: Arc<Allowed>,
    segments: Vec<Arc<Segment>>,
}

impl Store {
    /// The feeds are asked in this order; of hits that are believed alike the first counts.
    pub fn new(fingerprints: Fingerprints, allowed: Arc<Allowed>, segments: Vec<Arc<Segment>>) -> Self {
        Self { fingerprints, allowed, segments }
    }

    pub fn segments(&self) -> &[Arc<Segment>] {
        &self.segments
    }

    /// Distinct indicators of each feed, added up.
    pub fn len(&self) -> usize {
        self.segments.iter().map(|segment| segment.len()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn bytes(&self) -> usize {
        self.segments.iter().map(|segment| segment.bytes()).sum()
    }

    /// A name, or a name above it. `evil.example` stands for `a.evil.example` and never for `notevil.example`.
    pub fn domain(&self, name: &str) -> Option<Hit> {
        let name = name.strip_suffix('.').unwrap_or(name);
        let mut buffer = [0; NAME_BYTES_MAX];
        let lower = buffer.get_mut(..name.len())?;
        lower.copy_from_slice(name.as_bytes());
        lower.make_ascii_lowercase();
        let lower = std::str::from_utf8(lower).ok()?;
        let suffixes = suffixes(lower);
        let key = |name: &str| self.fingerprints.text(Kind::Domain, name.as_bytes());
        let keys: smallvec::SmallVec<[(u64, &str); LABELS_MAX]> =
            suffixes.map(|suffix| (key(suffix), suffix)).collect();
        if keys.iter().any(|(key, _)| self.allowed.keys.contains(key))
            || (!self.allowed.keys.is_empty() && self.root_allowed(lower))
        {
            return None;
        }
        // Below a shared service nobody answers for his neighbour.
        let tried = if keys.iter().any(|(_, suffix)| shared::is_parent(suffix)) { 1 } else { keys.len() };
        self.best(|segment| {
            let found = |(key, suffix): &(u64, &str)| segment.by_key(*key).map(|tag| (tag, (*suffix).to_owned()));
            keys.iter().take(tried).find_map(found).map(|(tag, name)| (Kind::Domain, tag, name))
        })
    }

    /// Whether a whole top-level domain is allowed.
    fn root_allowed(&self, name: &str) -> bool {
        let root = name.rsplit('.').next().unwrap_or(name);
        self.allowed.keys.contains(&self.fingerprints.text(Kind::Domain, root.as_bytes()))
    }

    /// An address, with the port of the same host where it is known: `port` is what a service is reached at.
    pub fn address(&self, address: [u8; 16], port: Option<u16>) -> Option<Hit> {
        let with_port = port.map(|port| (self.fingerprints.address_port(address, port), port));
        if self.allowed.ranges.find(address).is_some()
            || with_port.is_some_and(|(key, _)| self.allowed.keys.contains(&key))
            || shared::is_reserved(Ipv6Addr::from(address).into())
        {
            return None;
        }
        let plain = self.fingerprints.address(address);
        let shown = || Ipv6Addr::from(address).to_canonical();
        self.best(|segment| {
            if let Some((key, port)) = with_port
                && let Some(tag) = segment.by_key(key)
            {
                return Some((Kind::AddressPort, tag, std::net::SocketAddr::new(shown(), port).to_string()));
            }
            if let Some(tag) = segment.by_key(plain) {
                return Some((Kind::Address, tag, shown().to_string()));
            }
            segment.by_prefix(address).map(|(tag, bits)| (Kind::Prefix, tag, shown_prefix(address, bits)))
        })
    }

    /// A page, or one above it. `port` is the one the request went to.
    pub fn url(&self, host: &str, port: u16, path: &str) -> Option<Hit> {
        // The Host header may carry the port, and may name an IPv6 address.
        let host = match host.rsplit_once(':') {
            Some((name, digits)) if digits.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => host,
        };
        if host.is_empty() || host.len() > NAME_BYTES_MAX || !path.starts_with('/') {
            return None;
        }
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let path = path.trim_matches('/');
        let whole = path.trim_end_matches('/');
        let plain = path.split('?').next().unwrap_or_default().trim_end_matches('/');
        let mut tried: smallvec::SmallVec<[&str; PATH_PARTS_MAX]> = smallvec::smallvec![whole];
        if plain != whole {
            tried.push(plain);
        }
        let ends = plain.match_indices('/').map(|(at, _)| at).filter_map(|at| plain.get(..at));
        tried.extend(ends.take(PATH_PARTS_MAX - 2));
        let key = |text: &str| self.fingerprints.text(Kind::Url, text.as_bytes());
        let candidates: smallvec::SmallVec<[(u64, String); PATH_PARTS_MAX]> = tried
            .into_iter()
            .filter(|path| !path.is_empty())
            .map(|path| url_text(&host, Some(port), path))
            .map(|text| (key(&text), text))
            .collect();
        let host_allowed = suffixes(&host)
            .any(|name| self.allowed.keys.contains(&self.fingerprints.text(Kind::Domain, name.as_bytes())));
        if host_allowed || candidates.iter().any(|(key, _)| self.allowed.keys.contains(key)) {
            return None;
        }
        self.best(|segment| {
            candidates.iter().find_map(|(key, text)| segment.by_key(*key).map(|tag| (Kind::Url, tag, text.clone())))
        })
    }

    pub fn ja3(&self, hash: &str) -> Option<Hit> {
        self.fingerprint(Kind::Ja3, hash)
    }

    pub fn ja4(&self, hash: &str) -> Option<Hit> {
        self.fingerprint(Kind::Ja4, hash)
    }

    fn fingerprint(&self, kind: Kind, hash: &str) -> Option<Hit> {
        let key = self.fingerprints.text(kind, hash.as_bytes());
        if self.allowed.keys.contains(&key) {
            return None;
        }
        self.best(|segment| segment.by_key(key).map(|tag| (kind, tag, hash.to_owned())))
    }

    /// Asks each feed; the hit that is believed most counts.
    fn best<'a>(&'a self, ask: impl Fn(&'a Segment) -> Option<(Kind, &'a Tag, String)>) -> Option<Hit> {
        let mut best: Option<Hit> = None;
        for segment in &self.segments {
            if let Some((kind, tag, indicator)) = ask(segment) {
                let hit = Hit { feed: Arc::clone(segment), kind, indicator, tag: tag.clone() };
                if best.as_ref().is_none_or(|best| hit.confidence() > best.confidence()) {
                    best = Some(hit);
                }
            }
        }
        best
    }
}

/// The name itself, then those above it, down to two labels.
fn suffixes(name: &str) -> impl Iterator<Item = &str> {
    let starts = std::iter::once(0).chain(name.match_indices('.').map(|(at, _)| at + 1));
    let mut tails: smallvec::SmallVec<[&str; 16]> =
        starts.filter_map(|at| name.get(at..)).filter(|tail| tail.contains('.')).collect();
    // Of a name with very many labels, the whole and the last few.
    if tails.len() > LABELS_MAX {
        tails.drain(1..tails.len() - (LABELS_MAX - 1));
    }
    tails.into_iter()
}

fn shown_prefix(address: [u8; 16], bits: u8) -> String {
    let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
    let first = Ipv6Addr::from(u128::from_be_bytes(address) & mask);
    match first.to_ipv4_mapped() {
        Some(v4) if bits >= 96 => format!("{v4}/{}", bits - 96),
        _ => format!("{first}/{bits}"),
    }
}
