//! `docs/configuration.md` names every key with its default, and no other.
#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that fails")]

use std::{collections::BTreeMap, path::Path};

use ids_agent::config::{self, Config};
use serde_json::Value;

/// Key to default, as the page's tables say; the keys of `[[...]]` apart.
fn documented() -> (BTreeMap<String, String>, BTreeMap<String, Vec<String>>) {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (mut keys, mut entries) = (BTreeMap::new(), BTreeMap::<String, Vec<String>>::new());
    let mut section = String::new();
    for line in page.lines() {
        if let Some(title) = line.strip_prefix("### `") {
            section = title.trim_end_matches('`').to_owned();
        } else if let Some(row) = line.strip_prefix("| `").filter(|_| !section.is_empty()) {
            let mut cells = row.split(" | ");
            let key = cells.next().unwrap().trim_matches('`').to_owned();
            let default = cells.next().unwrap().trim_matches('`').to_owned();
            match section.as_str() {
                list if list.starts_with("[[") => entries.entry(list.to_owned()).or_default().push(key),
                table => {
                    let table = table.trim_matches(['[', ']']);
                    assert!(keys.insert(format!("{table}.{key}"), default).is_none(), "{key} stands there twice");
                }
            }
        }
    }
    (keys, entries)
}

#[test]
fn every_key_is_documented_with_its_default() {
    let Value::Object(tables) = serde_json::to_value(Config::default()).unwrap() else { panic!("no tables") };
    let mut known = BTreeMap::new();
    for (table, keys) in tables {
        for (key, default) in keys.as_object().unwrap() {
            let default = if default.is_null() { "unset".to_owned() } else { default.to_string() };
            known.insert(format!("{table}.{key}"), default);
        }
    }
    let (documented, _) = documented();
    assert_eq!(documented, known);
}

#[test]
fn an_entry_of_the_allow_list_takes_the_documented_keys() {
    let keys = documented().1.remove("[[fuse.allow]]").unwrap();
    let values = BTreeMap::from([
        ("source", "\"192.0.2.0/24\""),
        ("target", "\"2001:db8::1\""),
        ("target_port", "22"),
        ("class", "\"port_scan\""),
        ("kind", "\"syn_scan\""),
        ("sid", "2024364"),
        ("until", "2027-01-31"),
        ("reason", "\"audit\""),
    ]);
    let mut text = String::from("[[fuse.allow]]\n");
    for key in &keys {
        text.push_str(&format!("{key} = {}\n", values.get(key.as_str()).unwrap()));
    }
    let config: Config = config::parse_table(&text, Path::new("page.toml")).unwrap();
    let Value::Object(entry) = serde_json::to_value(&config.fuse.allow).unwrap()[0].clone() else { panic!("no entry") };
    assert_eq!(entry.len(), keys.len(), "{entry:?}");
}

#[test]
fn a_feed_takes_the_documented_keys() {
    let keys = documented().1.remove("[[intel.feeds]]").unwrap();
    let values = BTreeMap::from([
        ("name", "\"trails\""),
        ("path", "\"/var/lib/feeds\""),
        ("kind", "\"list\""),
        ("category", "\"malware\""),
        ("trust", "0.5"),
    ]);
    let lines: Vec<String> =
        keys.iter().map(|key| format!("{key} = {}\n", values.get(key.as_str()).unwrap())).collect();
    let text = format!("[intel.confidence]\nmalware = 0.9\n[[intel.feeds]]\n{}", lines.concat());
    let config = config::from_text(&text, Path::new("page.toml")).unwrap();
    let Value::Object(feed) = serde_json::to_value(&config.intel.feeds).unwrap()[0].clone() else { panic!("no feed") };
    assert_eq!(feed.len(), keys.len(), "{feed:?}");
    for wrong in ["name = \"a b\"\npath = \"x\"", "name = \"a\"\npath = \"x\"\ntrust = 2.0", "path = \"x\""] {
        assert!(config::from_text(&format!("[[intel.feeds]]\n{wrong}\n"), Path::new("page.toml")).is_err(), "{wrong}");
    }
}
