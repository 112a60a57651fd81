//! Feeds of every kind, written into files here and read back through the store.
#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::{fs, io::Write, path::Path};

use tempfile::TempDir;

use super::*;
use crate::{
    config::Category,
    detect::intel::{Kind, mapped},
};

fn feed(path: &Path, kind: FeedKind, category: Option<Category>) -> FeedSettings {
    FeedSettings { name: "feed".to_owned(), path: path.to_owned(), kind, category, trust: 1.0 }
}

/// The feeds of one file with this content.
fn feeds_of(name: &str, content: &[u8], category: Option<Category>) -> (TempDir, Feeds) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, content).unwrap();
    let settings = IntelSettings { feeds: vec![feed(&path, FeedKind::Auto, category)], ..IntelSettings::default() };
    let feeds = Feeds::new(&settings, 3).unwrap();
    (folder, feeds)
}

/// Reads one file, whose kind is told by its content.
fn load(name: &str, content: &str) -> (FeedStatus, Arc<Store>) {
    let (_folder, mut feeds) = feeds_of(name, content.as_bytes(), None);
    let outcomes = feeds.refresh(Refresh::Changed);
    assert!(matches!(outcomes.as_slice(), [(_, Outcome::Loaded { .. })]), "{outcomes:?}");
    (feeds.statuses().remove(0), feeds.shelf().store())
}

fn refusal(name: &str, content: &[u8]) -> String {
    let (_folder, mut feeds) = feeds_of(name, content, None);
    match feeds.refresh(Refresh::Changed).pop() {
        Some((_, Outcome::Refused(refusal))) => refusal.to_string(),
        other => panic!("{other:?}"),
    }
}

/// Category and family of a name, as `malware njrat`.
fn name(store: &Store, name: &str) -> Option<String> {
    store.domain(name).map(|hit| format!("{} {}", hit.tag.category, hit.tag.label).trim().to_owned())
}

fn address(store: &Store, text: &str, port: u16) -> Option<(Category, Kind)> {
    store.address(mapped(text.parse().unwrap()), Some(port)).map(|hit| (hit.tag.category, hit.kind))
}

#[test]
fn a_plain_list_may_hold_everything_with_comments() {
    let (status, store) = load(
        "malware.txt",
        "\u{feff}# Reference: https://example.com\r\nevil.net\r\n203.0.113.7:4444 # c2\n198.51.100.0/24 ; SBL1\n\n\
         site.org/wp/x.php\n||ads-evil.com^$third-party\naddress=/sunk-evil.com/0.0.0.0\n\
         e7d705a3286e19ea42f587b344ee6865\n/gate.php\n2001:db8::9\n",
    );
    assert_eq!((status.indicators, status.census.garbage, status.census.unused), (8, 0, 1));
    assert_eq!(name(&store, "www.evil.net").as_deref(), Some("malware"));
    assert_eq!(name(&store, "ads-evil.com").as_deref(), Some("malware"));
    assert_eq!(name(&store, "sunk-evil.com").as_deref(), Some("malware"));
    assert_eq!(address(&store, "203.0.113.7", 4444), Some((Category::Malware, Kind::AddressPort)));
    assert_eq!(address(&store, "198.51.100.77", 1), Some((Category::Malware, Kind::Prefix)));
    assert_eq!(address(&store, "2001:db8::9", 1), Some((Category::Malware, Kind::Address)));
    assert!(store.url("site.org", 80, "/wp/x.php").is_some());
    assert!(store.ja3("e7d705a3286e19ea42f587b344ee6865").is_some());
}

#[test]
fn a_list_of_nobody_knows_what_is_information() {
    let (_, store) = load("list.txt", "evil.net\n");
    assert_eq!(name(&store, "evil.net").as_deref(), Some("reputation"));
    let (_folder, mut feeds) = feeds_of("list.txt", b"evil.net\n", Some(Category::Phishing));
    feeds.refresh(Refresh::All);
    assert_eq!(name(&feeds.shelf().store(), "evil.net").as_deref(), Some("phishing"));
}

#[test]
fn ipsum_believes_an_address_by_the_number_of_its_lists() {
    let (status, store) = load("feed.txt", "# IPsum\n#\n203.0.113.7\t9\n203.0.113.8\t1\n");
    assert_eq!(status.indicators, 2);
    let sure = |text: &str| store.address(mapped(text.parse().unwrap()), None).unwrap().confidence();
    assert!(sure("203.0.113.7") > 0.4 && sure("203.0.113.8") < 0.2);
    assert_eq!(address(&store, "203.0.113.7", 1), Some((Category::Reputation, Kind::Address)));
}

#[test]
fn a_hosts_file_names_hosts_and_not_its_own_machine() {
    let (status, store) = load(
        "hosts",
        "127.0.0.1 localhost\n::1 localhost\n0.0.0.0 0.0.0.0\n0.0.0.0 evil.net # why\n0.0.0.0 a-evil.com\n",
    );
    assert_eq!((status.indicators, status.census.unused, status.census.garbage), (2, 3, 0));
    assert!(name(&store, "evil.net").is_some() && name(&store, "a-evil.com").is_some());
}

#[test]
fn columns_are_found_by_their_header() {
    let (_, store) = load(
        "feodo.csv",
        "# abuse.ch Feodo Tracker\n# Terms of use, and more words\n#\n\
         # \"first_seen_utc\",\"dst_ip\",\"dst_port\",\"c2_status\",\"last_online\",\"malware\"\n\
         \"2026-01-01 00:00:00\",\"203.0.113.7\",\"443\",\"offline\",\"2026-02-01\",\"Emotet\"\n# Number of entries: 1\n",
    );
    assert_eq!(address(&store, "203.0.113.7", 443), Some((Category::Malware, Kind::AddressPort)));
    assert_eq!(address(&store, "203.0.113.7", 80), None);
    let (_, store) = load(
        "ja3.csv",
        "# ja3_md5,Firstseen,Lastseen,Listingreason\nb386946a5a44d1ddcc843bc75336dfce,2017-07-14,2019-07-27,Dridex\n",
    );
    assert_eq!(
        store.ja3("b386946a5a44d1ddcc843bc75336dfce").map(|hit| hit.tag.label.to_string()).as_deref(),
        Some("Dridex")
    );
}

#[test]
fn columns_without_a_header_are_told_by_what_is_in_them() {
    let (_, store) = load(
        "own.csv",
        "# IP/domain/ip range/ASN, Threat level, Description, Tag\n203.0.113.7,high,Simda CC\n\
         evil-site.info, critical, Variant.Zusy\nlow-site.info, low, Trojan\n",
    );
    let sure = |asked: &str| store.domain(asked).unwrap().confidence();
    assert!(sure("low-site.info") < sure("evil-site.info"));
    assert_eq!(name(&store, "evil-site.info").as_deref(), Some("reputation Variant.Zusy"));
    assert_eq!(name(&store, "low-site.info").as_deref(), Some("malware Trojan"));
}

#[test]
fn lists_of_programs_count_where_they_say_malware_and_nobody_else_shares_the_fingerprint() {
    let (_, store) = load(
        "mapping.csv",
        "Application,Library,Device,OS,ja4,ja4s,Notes\nChromium Browser,,,,t13d1516h2_8daaf6152771_02713d6af862,,\n\
         ,GoLang,,,t13d190900_9dc949149365_97f8aa674fd9,,\nSliver implant,GoLang,,,t13d190900_9dc949149365_97f8aa674fd9,x,\n\
         Cobalt Strike beacon,,,Windows 10,t12i190700_d83cc789557e_16bbda4055b2,x,\nsome C2 server,,,,,y,\n\
         Other Browser,,,,t13i1515h2_8daaf6152771_02713d6af862,,\n",
    );
    assert!(store.ja4("t12i190700_d83cc789557e_16bbda4055b2").is_some());
    for shared in ["t13d1516h2_8daaf6152771_02713d6af862", "t13d190900_9dc949149365_97f8aa674fd9"] {
        assert!(store.ja4(shared).is_none(), "{shared}");
    }
    let (_, store) = load(
        "prints.json",
        "# a comment\n{\"desc\":\"Adium\",\"ja3_hash\":\"93948924e733e9df15a3bb44404cd909\"}\n[\"prints.csv\"]\n\
         {\n\"desc\":\"Malware: Gootkit\",\n\"ja3_hash\":\"a34e8a810b5f390fc7aa5ed711fa6993 \"\n}\n",
    );
    assert!(store.ja3("a34e8a810b5f390fc7aa5ed711fa6993").is_some());
    assert!(store.ja3("93948924e733e9df15a3bb44404cd909").is_none());
}

#[test]
fn a_stix_bundle_gives_what_is_still_in_force() {
    let indicator = |pattern: &str, more: &str| {
        format!("{{\"type\":\"indicator\",\"pattern_type\":\"stix\",\"pattern\":\"{pattern}\"{more}}}")
    };
    let objects = [
        "{\"type\":\"identity\",\"name\":\"somebody\"}".to_owned(),
        indicator("[domain-name:value = 'evil.net']", ",\"name\":\"Dridex C2\",\"confidence\":80"),
        indicator("[domain-name:value = 'over.net']", ",\"valid_until\":\"2020-01-01T00:00:00Z\""),
        indicator("[domain-name:value = 'revoked.net']", ",\"revoked\":true"),
        indicator("[domain-name:value = 'good.net']", ",\"indicator_types\":[\"benign\"]"),
        indicator("[ipv4-addr:value = '203.0.113.0/24']", ",\"indicator_types\":[\"malicious-activity\"]"),
    ];
    let (status, store) = load(
        "bundle.json",
        &format!("{{\"type\":\"bundle\",\"id\":\"bundle--1\",\"objects\":[{}]}}", objects.join(",")),
    );
    assert_eq!((status.indicators, status.census.unused), (2, 3));
    assert_eq!(name(&store, "evil.net").as_deref(), Some("malware Dridex C2"));
    assert_eq!(address(&store, "203.0.113.9", 1), Some((Category::Malicious, Kind::Prefix)));
    assert!(["over.net", "revoked.net", "good.net"].iter().all(|gone| name(&store, gone).is_none()));
    let torn = refusal("torn.json", b"{\"type\":\"bundle\",\"objects\":[{\"type\":\"indicator\",");
    assert!(torn.contains("no sound stix"), "{torn}");
}

#[test]
fn a_folder_of_trails_sorts_its_files() {
    let folder = TempDir::new().unwrap();
    for (path, content) in [
        (
            "static/malware/njrat-1.txt",
            "# Aliases: bladabindi\n\nevil.net\n203.0.113.7:1177\nhttp://203.0.113.9\n/panel.php\n",
        ),
        ("static/suspicious/domain.txt", "odd.net\n.xyz\n"),
        ("static/mass_scanner.txt", "198.51.100.7 # probe\n"),
        ("static/LICENSE", "no feed, and full of words\n"),
        (".git/config.txt", "hidden.net\n"),
    ] {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    let settings = IntelSettings {
        feeds: vec![feed(folder.path(), FeedKind::Auto, Some(Category::Malicious))],
        ..IntelSettings::default()
    };
    let mut feeds = Feeds::new(&settings, 3).unwrap();
    feeds.refresh(Refresh::All);
    let store = feeds.shelf().store();
    assert_eq!(name(&store, "a.evil.net").as_deref(), Some("malware njrat"));
    assert_eq!(name(&store, "odd.net").as_deref(), Some("suspicious domain"));
    assert_eq!(address(&store, "203.0.113.9", 80), Some((Category::Malware, Kind::AddressPort)));
    assert_eq!(address(&store, "198.51.100.7", 22), Some((Category::Scanner, Kind::Address)));
    assert_eq!(name(&store, "hidden.net"), None);
    let census = feeds.statuses()[0].census;
    assert_eq!((census.unused, census.too_broad, census.garbage), (1, 1, 0));
}

#[test]
fn feeds_are_read_compressed_too() {
    let list = b"evil.net\n";
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(list).unwrap();
    for packed in [gz.finish().unwrap(), zstd::encode_all(&list[..], 1).unwrap()] {
        let (_folder, mut feeds) = feeds_of("malware.packed", &packed, None);
        feeds.refresh(Refresh::Changed);
        assert_eq!(name(&feeds.shelf().store(), "evil.net").as_deref(), Some("malware"));
        let (_folder, mut torn) = feeds_of("malware.packed", &packed[..packed.len() - 6], None);
        assert!(matches!(torn.refresh(Refresh::Changed)[0].1, Outcome::Refused(Refusal::Unreadable { .. })));
    }
}

#[test]
fn what_is_no_feed_is_refused_and_named() {
    for (content, why) in [
        (&b"<!DOCTYPE html>\n<html><body>404</body></html>"[..], "is a web page"),
        (b"\x7fELF\x02\x01\x01\x00\x00\x00", "is binary"),
        (b"one two three\nfour five six\nseven.net\n", "only 1 of 3 entries make sense"),
        (b"# nothing but words\n", "no indicator"),
        (b"", "no indicator"),
        (b"{\"error\": \"rate limit\"}", "only 0 of 1 entries"),
    ] {
        let said = refusal("feed.txt", content);
        assert!(said.contains(why), "{said}");
    }
    let settings = IntelSettings {
        feeds: vec![feed(Path::new("/nonexistent/feed.txt"), FeedKind::Auto, None)],
        ..IntelSettings::default()
    };
    let mut feeds = Feeds::new(&settings, 3).unwrap();
    assert!(matches!(feeds.refresh(Refresh::Changed)[0].1, Outcome::Refused(Refusal::Unreadable { .. })));
    assert_eq!(feeds.statuses()[0].refused, 1);
}

#[test]
fn a_list_read_as_another_kind_is_refused() {
    let (folder, _) = feeds_of("list.txt", b"evil.net\nevil.org\n203.0.113.7\n", None);
    for kind in [FeedKind::Ipsum, FeedKind::Hosts, FeedKind::Stix, FeedKind::Fingerprints] {
        let settings = IntelSettings {
            feeds: vec![feed(&folder.path().join("list.txt"), kind, None)],
            ..IntelSettings::default()
        };
        let outcome = Feeds::new(&settings, 3).unwrap().refresh(Refresh::All).remove(0).1;
        assert!(matches!(outcome, Outcome::Refused(_)), "{kind:?}: {outcome:?}");
    }
}

#[test]
fn a_feed_gone_bad_leaves_the_old_one_in_force() {
    let many: String = (0..1_000).map(|n| format!("evil{n}.net\n")).collect();
    let (folder, mut feeds) = feeds_of("malware.txt", many.as_bytes(), None);
    let path = folder.path().join("malware.txt");
    assert!(matches!(feeds.refresh(Refresh::Changed)[0].1, Outcome::Loaded { indicators: 1_000 }));
    assert!(matches!(feeds.refresh(Refresh::Changed)[0].1, Outcome::Unchanged));
    for (bad, times) in [("<html>gateway timeout</html>", 1), ("evil1.net\n", 2), ("no words of ours\n", 3)] {
        fs::write(&path, bad).unwrap();
        assert!(matches!(feeds.refresh(Refresh::Changed)[0].1, Outcome::Refused(_)), "{bad}");
        assert!(matches!(feeds.refresh(Refresh::Changed)[0].1, Outcome::Unchanged), "looked at once");
        assert_eq!(feeds.statuses()[0].refused, times);
        assert!(name(&feeds.shelf().store(), "evil999.net").is_some());
    }
    fs::remove_file(&path).unwrap();
    assert!(matches!(feeds.refresh(Refresh::Changed)[0].1, Outcome::Refused(Refusal::Unreadable { .. })));
    assert!(name(&feeds.shelf().store(), "evil999.net").is_some());
    let fresh: String = (0..900).map(|n| format!("other{n}.net\n")).collect();
    fs::write(&path, fresh).unwrap();
    assert!(matches!(feeds.refresh(Refresh::Changed)[0].1, Outcome::Loaded { indicators: 900 }));
    let store = feeds.shelf().store();
    assert!(name(&store, "evil999.net").is_none() && name(&store, "other1.net").is_some());
}

#[test]
fn a_million_lines_of_garbage_are_given_up_early() {
    let garbage: Vec<u8> =
        (0..1_000_000u32).flat_map(|n| format!("{n:x} not a feed at all {n}\n").into_bytes()).collect();
    let said = refusal("feed.txt", &garbage);
    assert!(said.contains("only 0 of 10000 entries"), "{said}");
    // And where half of it makes sense, every line is counted.
    let mixed: String =
        (0..100_000).map(|n| if n % 2 == 0 { format!("h{n}.net\n") } else { "a b c\n".to_owned() }).collect();
    let (status, _) = load("feed.txt", &mixed);
    assert_eq!((status.indicators, status.census.garbage), (50_000, 50_000));
}

#[test]
fn bounds_hold_and_what_is_beyond_is_counted() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("malware.txt");
    let mut content: String = (0..3_000).map(|n| format!("h{n}.net\n")).collect();
    content.push_str(&"x".repeat(100_000));
    fs::write(&path, content).unwrap();
    let settings = IntelSettings {
        feeds: vec![feed(&path, FeedKind::Auto, None)],
        indicators_max: 1_000,
        ..IntelSettings::default()
    };
    let mut feeds = Feeds::new(&settings, 3).unwrap();
    feeds.refresh(Refresh::All);
    let status = feeds.statuses().remove(0);
    assert_eq!((status.indicators, status.census.beyond, status.census.garbage), (1_000, 2_000, 1));
}
