//! Lists of TLS fingerprints in JSON: objects one after the other, or an array of them, with comments between.

use std::io::{BufRead, Read};

use serde_json::{Deserializer, Value};

use super::{
    Fault, columns,
    origin::{Strictness, by_words},
    sink::{Says, Sink},
};
use crate::{config::Category, detect::intel::Indicator};

/// Such lists are small; they are read whole.
const LIST_BYTES_MAX: u64 = 32 << 20;
const HASHES: [&str; 6] = ["ja3_hash", "ja3", "ja3_md5", "ja4", "ja4_fingerprint", "ja4_hash"];
const NAMES: [&str; 8] = ["desc", "description", "application", "library", "device", "name", "malware", "notes"];

pub(super) fn read(reader: &mut impl BufRead, sink: &mut Sink<'_>) -> Result<(), Fault> {
    let mut bytes = Vec::new();
    reader.take(LIST_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LIST_BYTES_MAX {
        return Err(Fault::Malformed(format!("more than {LIST_BYTES_MAX} bytes in one file")));
    }
    let text = String::from_utf8_lossy(&bytes);
    // The widest spread list of this kind has comments, which JSON does not know.
    let plain: String =
        text.lines().filter(|line| !line.trim_start().starts_with('#')).flat_map(|l| [l, "\n"]).collect();
    for value in Deserializer::from_str(&plain).into_iter::<Value>() {
        match value.map_err(|error| Fault::Malformed(error.to_string()))? {
            Value::Array(items) => items.iter().try_for_each(|item| object(item, sink))?,
            value => object(&value, sink)?,
        }
    }
    Ok(())
}

fn object(value: &Value, sink: &mut Sink<'_>) -> Result<(), Fault> {
    let Some(object) = value.as_object() else { return sink.add_garbage() };
    let text = |key: &&str| object.get(*key).and_then(Value::as_str).map(str::trim).filter(|text| !text.is_empty());
    let names: Vec<&str> = NAMES.iter().filter_map(text).collect();
    let hashes: Vec<&str> = HASHES.iter().filter_map(text).collect();
    if hashes.is_empty() {
        return if names.is_empty() { sink.add_garbage() } else { sink.add_unused() };
    }
    let described = names.join(", ");
    let says = Says { category: category(&described), family: &described, sure: 1.0 };
    hashes.into_iter().try_for_each(|hash| columns::entry(Indicator::parse(hash), says, sink))
}

/// The list tells `Malware: Dridex` from `Firefox 24, Malware Test FP: some-traffic`: there a browser was tricked.
fn category(described: &str) -> Option<Category> {
    let lower = described.to_ascii_lowercase();
    match lower.split_once("malware test") {
        Some((before, _)) => by_words(before, Strictness::Descriptions),
        None => by_words(&lower, Strictness::Descriptions),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_that_was_seen_with_malware_is_a_browser() {
        assert_eq!(category("Malware: Dridex, Malware Test FP: dyre-traffic"), Some(Category::Malware));
        assert_eq!(category("Firefox/13.0-25.0, Malware Test FP: angler-ek-traffic-02"), None);
        assert_eq!(category("Tor Browser"), Some(Category::Tor));
        assert_eq!(category("iPhone OS 10_3_3 Safari"), None);
    }
}
