//! Entries of the allow list: who may do what, until when, and why.

use std::{fmt, net::IpAddr, str::FromStr};

use chrono::{DateTime, NaiveDate, NaiveTime};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use toml::value::Datetime;

/// One exception. Every part that is given must match; a part that is absent matches all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AllowEntry {
    /// Who acts: an address or a prefix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Prefix>,
    /// Who is acted upon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Prefix>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_port: Option<u16>,
    /// A class such as `port_scan`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// A kind within the class, such as `syn_scan`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// A signature of Suricata, by its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sid: Option<u32>,
    /// When the entry ends. Required: an exception without an end outlives its reason.
    pub until: Expiry,
    /// Why it is there. Required.
    pub reason: String,
}

impl AllowEntry {
    /// The same entry with its end on an axis whose zero lies `offset_ns` after the Unix epoch.
    pub fn on_axis(self, offset_ns: u64) -> Self {
        Self { until: self.until.earlier_by(offset_ns), ..self }
    }

    /// Whether the entry covers an incident of `class` from `source` to `target` at `now_ns`.
    /// Addresses are network order, IPv4 mapped; the clock is the axis `until` stands on.
    pub fn covers(
        &self,
        source: Option<&[u8; 16]>,
        target: Option<&[u8; 16]>,
        target_port: u16,
        class: &str,
        kind: &str,
        now_ns: u64,
    ) -> bool {
        let within = |prefix: &Option<Prefix>, address: Option<&[u8; 16]>| match (prefix, address) {
            (None, _) => true,
            (Some(prefix), Some(address)) => prefix.contains(address),
            (Some(_), None) => false,
        };
        now_ns < self.until.ns()
            && within(&self.source, source)
            && within(&self.target, target)
            && self.target_port.is_none_or(|port| port == target_port)
            && self.class.as_deref().is_none_or(|name| name == class)
            && self.kind.as_deref().is_none_or(|name| name == kind)
    }
}

/// An end in time: nanoseconds since the Unix epoch as read from the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiry {
    ns: u64,
}

impl Expiry {
    pub const fn at_ns(ns: u64) -> Self {
        Self { ns }
    }

    pub const fn ns(self) -> u64 {
        self.ns
    }

    pub(super) const fn earlier_by(self, offset_ns: u64) -> Self {
        Self { ns: self.ns.saturating_sub(offset_ns) }
    }
}

impl<'de> Deserialize<'de> for Expiry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Datetime::deserialize(deserializer)?.to_string();
        let seconds = match DateTime::parse_from_rfc3339(&text) {
            Ok(time) => Some(time.timestamp()),
            // A bare date ends with that day, in UTC.
            Err(_) => NaiveDate::from_str(&text)
                .ok()
                .and_then(|date| date.succ_opt())
                .map(|next| next.and_time(NaiveTime::MIN).and_utc().timestamp()),
        };
        let seconds = seconds.and_then(|secs| u64::try_from(secs).ok()).ok_or_else(|| {
            de::Error::custom(format!("`{text}` is not a date such as 2027-01-31 or 2027-01-31T12:00:00Z"))
        })?;
        Ok(Self { ns: seconds.saturating_mul(1_000_000_000) })
    }
}

impl Serialize for Expiry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let seconds = i64::try_from(self.ns / 1_000_000_000).unwrap_or(i64::MAX);
        match DateTime::from_timestamp(seconds, 0) {
            Some(time) => serializer.collect_str(&time.format("%Y-%m-%dT%H:%M:%SZ")),
            None => serializer.serialize_u64(self.ns),
        }
    }
}

/// An address with the number of its leading bits that count. IPv4 is held mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    address: [u8; 16],
    bits: u8,
}

impl Prefix {
    /// One address alone.
    pub const fn host(address: IpAddr) -> Self {
        let address = match address {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
            IpAddr::V6(v6) => v6.octets(),
        };
        Self { address, bits: 128 }
    }

    pub fn contains(&self, address: &[u8; 16]) -> bool {
        let ours = u128::from_be_bytes(self.address);
        let theirs = u128::from_be_bytes(*address);
        let mask = u128::MAX.checked_shl(128 - u32::from(self.bits)).unwrap_or(0);
        (ours ^ theirs) & mask == 0
    }
}

impl FromStr for Prefix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || format!("`{text}` is not an address or a prefix such as 192.0.2.0/24 or 2001:db8::/32");
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length.parse::<u8>().map_err(|_| wrong())?)),
            None => (text, None),
        };
        let (address, unmapped_bits) = match address.parse::<IpAddr>().map_err(|_| wrong())? {
            IpAddr::V4(v4) => (v4.to_ipv6_mapped().octets(), 96),
            IpAddr::V6(v6) => (v6.octets(), 0),
        };
        let bits = match length {
            None => 128,
            Some(length) if length <= 128 - unmapped_bits => length + unmapped_bits,
            Some(_) => return Err(wrong()),
        };
        Ok(Self { address, bits })
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = std::net::Ipv6Addr::from(self.address);
        match address.to_ipv4_mapped() {
            Some(v4) if self.bits >= 96 => write!(out, "{v4}/{}", self.bits - 96),
            _ => write!(out, "{address}/{}", self.bits),
        }
    }
}

impl<'de> Deserialize<'de> for Prefix {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl Serialize for Prefix {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> [u8; 16] {
        match text.parse::<IpAddr>() {
            Ok(IpAddr::V4(v4)) => v4.to_ipv6_mapped().octets(),
            Ok(IpAddr::V6(v6)) => v6.octets(),
            Err(error) => panic!("{text}: {error}"),
        }
    }

    fn contains(prefix: &str, host: &str) -> bool {
        prefix.parse::<Prefix>().is_ok_and(|prefix| prefix.contains(&address(host)))
    }

    #[test]
    fn prefixes_of_both_families_match_their_hosts_alone() {
        assert!(contains("192.0.2.0/24", "192.0.2.77"));
        assert!(!contains("192.0.2.0/24", "192.0.3.1"));
        assert!(contains("192.0.2.7", "192.0.2.7"));
        assert!(!contains("192.0.2.7", "192.0.2.6"));
        assert!(contains("0.0.0.0/0", "203.0.113.9"));
        assert!(!contains("0.0.0.0/0", "2001:db8::1"));
        assert!(contains("2001:db8::/32", "2001:db8:1::9"));
        assert!(contains("::/0", "192.0.2.1"));
        for wrong in ["192.0.2.0/33", "host", "192.0.2.0/", "::/129", ""] {
            assert!(wrong.parse::<Prefix>().is_err(), "{wrong}");
        }
        assert_eq!("192.0.2.0/24".parse::<Prefix>().map(|p| p.to_string()), Ok("192.0.2.0/24".to_owned()));
    }

    #[test]
    fn an_entry_covers_until_its_end_and_no_further() {
        let entry = AllowEntry {
            source: "192.0.2.9".parse().ok(),
            target: None,
            target_port: None,
            kind: None,
            sid: None,
            class: Some("port_scan".to_owned()),
            until: Expiry::at_ns(100),
            reason: "weekly audit".to_owned(),
        };
        let (admin, other) = (address("192.0.2.9"), address("192.0.2.8"));
        assert!(entry.covers(Some(&admin), Some(&other), 22, "port_scan", "syn_scan", 99));
        assert!(!entry.covers(Some(&admin), Some(&other), 22, "port_scan", "syn_scan", 100));
        assert!(!entry.covers(Some(&admin), Some(&other), 22, "flood", "syn_scan", 99));
        assert!(!entry.covers(Some(&other), Some(&admin), 22, "port_scan", "syn_scan", 99));
        assert!(!entry.covers(None, Some(&admin), 22, "port_scan", "syn_scan", 99));
    }
}
