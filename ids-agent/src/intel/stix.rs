//! STIX 2.1 bundles: the patterns of their indicators, object by object as they are read.

use std::{fmt, io::Read};

use chrono::DateTime;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use super::{
    Fault,
    origin::{Strictness, by_words},
    sink::{Says, Sink},
};
use crate::config::Category;

/// What is read of an object; the rest is skipped.
#[derive(Debug, Deserialize)]
struct Object {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    pattern: String,
    #[serde(default)]
    pattern_type: Option<String>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    indicator_types: Vec<String>,
    #[serde(default)]
    labels: Vec<String>,
    #[serde(default)]
    confidence: Option<f32>,
    #[serde(default)]
    revoked: bool,
    #[serde(default)]
    valid_until: Option<String>,
}

pub(super) fn read(reader: &mut impl Read, sink: &mut Sink<'_>) -> Result<(), Fault> {
    let mut fault = None;
    let mut deserializer = serde_json::Deserializer::from_reader(reader);
    let read = Bundle { sink, fault: &mut fault }.deserialize(&mut deserializer);
    match (fault, read) {
        (Some(fault), _) => Err(fault),
        (None, Ok(())) => Ok(()),
        (None, Err(error)) => Err(Fault::Malformed(error.to_string())),
    }
}

/// Reads `{"type": "bundle", "objects": [...]}` without holding the objects.
struct Bundle<'a, 'b> {
    sink: &'a mut Sink<'b>,
    fault: &'a mut Option<Fault>,
}

impl<'de> DeserializeSeed<'de> for Bundle<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Bundle<'_, '_> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a STIX bundle with objects")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Bundle { sink, fault } = self;
        while let Some(key) = map.next_key::<String>()? {
            if key == "objects" {
                map.next_value_seed(Objects { sink: &mut *sink, fault: &mut *fault })?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

struct Objects<'a, 'b> {
    sink: &'a mut Sink<'b>,
    fault: &'a mut Option<Fault>,
}

impl<'de> DeserializeSeed<'de> for Objects<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Objects<'_, '_> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a list of STIX objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while let Some(object) = seq.next_element::<Object>()? {
            if let Err(fault) = take(&object, self.sink) {
                *self.fault = Some(fault);
                return Err(serde::de::Error::custom("given up"));
            }
        }
        Ok(())
    }
}

fn take(object: &Object, sink: &mut Sink<'_>) -> Result<(), Fault> {
    // Relations, reports and sightings stand beside the indicators.
    if object.kind != "indicator" {
        return Ok(());
    }
    let over = object.valid_until.as_deref().is_some_and(|until| has_passed(until, sink.now_unix_secs()));
    let kinds = || object.indicator_types.iter().chain(&object.labels).map(String::as_str);
    let foreign = object.pattern_type.as_deref().is_some_and(|kind| kind != "stix");
    if over || object.revoked || foreign || kinds().any(|kind| kind == "benign") {
        return sink.add_unused();
    }
    let values = match values(&object.pattern) {
        Pattern::Values(values) => values,
        Pattern::Other => return sink.add_unused(),
        Pattern::Broken => return sink.add_garbage(),
    };
    let words: Vec<&str> = kinds().chain(object.name.as_deref()).chain(object.description.as_deref()).collect();
    let category = match by_words(&words.join(" "), Strictness::Descriptions) {
        // An indicator is called malicious activity whatever it stands for.
        None | Some(Category::Malicious) => Category::Malicious,
        Some(named) => named,
    };
    let says = Says {
        category: Some(category),
        family: object.name.as_deref().unwrap_or_default(),
        sure: object.confidence.map_or(1.0, |percent| percent / 100.0),
    };
    values.iter().try_for_each(|value| sink.add(value, says))
}

fn has_passed(until: &str, now_unix_secs: u64) -> bool {
    DateTime::parse_from_rfc3339(until)
        .is_ok_and(|until| u64::try_from(until.timestamp()).is_ok_and(|until| until <= now_unix_secs))
}

/// What a pattern asks for.
#[derive(Debug, PartialEq, Eq)]
enum Pattern {
    /// Any of these.
    Values(Vec<String>),
    /// Something we do not look for, or several things at once.
    Other,
    Broken,
}

/// Reads comparisons of addresses, names and URLs that are joined by OR.
fn values(pattern: &str) -> Pattern {
    let mut values = Vec::new();
    let mut other = false;
    let mut rest = pattern.trim();
    if !rest.starts_with('[') {
        return Pattern::Broken;
    }
    while let Some(start) = rest.find('\'') {
        let (before, quoted) = (rest.get(..start).unwrap_or_default(), rest.get(start + 1..).unwrap_or_default());
        let Some((value, after)) = unquoted(quoted) else { return Pattern::Broken };
        let words: Vec<&str> =
            before.split(|c: char| c.is_whitespace() || "[]()".contains(c)).filter(|w| !w.is_empty()).collect();
        let looks = ["ipv4-addr:value", "ipv6-addr:value", "domain-name:value", "url:value"];
        let joined = words.iter().any(|word| matches!(*word, "AND" | "FOLLOWEDBY" | "NOT" | "LIKE" | "MATCHES"));
        let compares = words.iter().any(|word| matches!(*word, "=" | "ISSUBSET" | "IN"))
            || words.last().is_some_and(|word| word.ends_with('='));
        let ours = words.iter().any(|word| looks.iter().any(|look| word.strip_suffix('=').unwrap_or(word) == *look));
        if joined || !compares || !ours {
            other = true;
        } else {
            values.push(value);
        }
        rest = after;
    }
    match (values.is_empty(), other || rest.contains("AND") || rest.contains("FOLLOWEDBY")) {
        (false, false) => Pattern::Values(values),
        (true, false) => Pattern::Broken,
        (_, true) => Pattern::Other,
    }
}

/// A quoted string with its escapes resolved, and what stands behind it.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, character)) = chars.next() {
        match character {
            '\\' => value.push(chars.next()?.1),
            '\'' => return Some((value, text.get(at + 1..)?)),
            plain => value.push(plain),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_give_their_values() {
        let given = |pattern: &str, wanted: &[&str]| {
            assert_eq!(values(pattern), Pattern::Values(wanted.iter().map(|v| (*v).to_owned()).collect()), "{pattern}");
        };
        given("[ipv4-addr:value = '203.0.113.7']", &["203.0.113.7"]);
        given("[domain-name:value='evil.net']", &["evil.net"]);
        given("[ipv4-addr:value ISSUBSET '203.0.113.0/24']", &["203.0.113.0/24"]);
        given("[domain-name:value = 'a.net' OR url:value = 'http://b.net/it\\'s']", &["a.net", "http://b.net/it's"]);
        given("[domain-name:value = 'a.net'] OR [ipv6-addr:value = '2001:db8::1']", &["a.net", "2001:db8::1"]);
        for other in [
            "[file:hashes.'SHA-256' = 'aa']",
            "[ipv4-addr:value = '203.0.113.7' AND network-traffic:dst_port = 80]",
            "[domain-name:value LIKE '%.net']",
            "[domain-name:value = 'a.net'] FOLLOWEDBY [domain-name:value = 'b.net']",
        ] {
            assert_eq!(values(other), Pattern::Other, "{other}");
        }
        for broken in ["", "evil.net", "[domain-name:value = 'evil.net", "[]"] {
            assert_eq!(values(broken), Pattern::Broken, "{broken}");
        }
    }

    #[test]
    fn an_indicator_ends() {
        assert!(has_passed("2020-01-01T00:00:00Z", 1_700_000_000));
        assert!(!has_passed("2038-01-01T00:00:00.000Z", 1_700_000_000));
        assert!(!has_passed("soon", 1_700_000_000));
    }
}
