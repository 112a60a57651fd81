//! The store and the witness over flows made up here.
#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

use ids_common::wire::{PROTO_TCP, PROTO_UDP};

use super::*;
use crate::{
    fabricated::{Back, Fabricated, SEC, There, host, key},
    features::FeatureVector,
    flow::FlowEnd,
    payload::{DnsFacts, DnsQuestion, HttpFacts, TlsFacts},
};

const C2: [u8; 16] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 203, 0, 113, 7];

fn store(entries: &[(Category, &str)], allow: &[&str]) -> Store {
    let fingerprints = Fingerprints::new(7);
    let mut builder = SegmentBuilder::new(fingerprints.clone(), 1_000);
    for (category, text) in entries {
        let tag = builder.tag(*category, category.confidence(), "family");
        builder.add(text, tag);
    }
    assert_eq!(builder.census().garbage, 0);
    let allow: Vec<String> = allow.iter().map(|text| (*text).to_owned()).collect();
    let allowed = Arc::new(Allowed::new(&allow, &fingerprints).unwrap());
    Store::new(fingerprints, allowed, vec![Arc::new(builder.build("feed".into(), 0))])
}

fn names(store: &Store, asked: &str) -> Option<String> {
    store.domain(asked).map(|hit| hit.indicator)
}

#[test]
fn a_name_stands_for_those_below_it_and_for_no_other() {
    let store = store(&[(Category::Malware, "evil.net"), (Category::Malware, "b.a.other.net")], &[]);
    for below in ["evil.net", "a.evil.net", "x.y.EVIL.net.", "1.2.3.4.5.6.7.8.9.10.11.12.evil.net"] {
        assert_eq!(names(&store, below).as_deref(), Some("evil.net"), "{below}");
    }
    for apart in ["notevil.net", "evil.net.org", "net", "a.other.net", "", ".", "evil"] {
        assert_eq!(names(&store, apart), None, "{apart}");
    }
    assert_eq!(names(&store, &"a.".repeat(200)), None);
}

#[test]
fn below_a_shared_service_a_host_stands_for_itself_alone() {
    let store = store(
        &[
            (Category::Malware, "bad.ddns.net"),
            (Category::Malware, "d1.cloudfront.net"),
            (Category::Malware, "somebody.github.io"),
            (Category::Malware, "ddns.net"),
            (Category::Malware, "github.io"),
        ],
        &[],
    );
    assert_eq!(names(&store, "bad.ddns.net").as_deref(), Some("bad.ddns.net"));
    assert_eq!(names(&store, "d1.cloudfront.net").as_deref(), Some("d1.cloudfront.net"));
    for innocent in ["good.ddns.net", "ddns.net", "x.bad.ddns.net", "other.github.io", "github.io", "d2.cloudfront.net"]
    {
        assert_eq!(names(&store, innocent), None, "{innocent}");
    }
}

#[test]
fn what_is_allowed_is_asked_first() {
    let bad = [
        (Category::Malware, "evil.net"),
        (Category::Malware, "203.0.113.7"),
        (Category::Malware, "198.51.100.0/24"),
        (Category::Malware, "evil.org/gate.php"),
        (Category::Malware, "e7d705a3286e19ea42f587b344ee6865"),
    ];
    let open = store(&bad, &[]);
    let shut = store(
        &bad,
        &["good.evil.net", "203.0.113.0/28", "evil.org", "e7d705a3286e19ea42f587b344ee6865", "198.51.100.9"],
    );
    assert!(open.domain("a.good.evil.net").is_some() && shut.domain("a.good.evil.net").is_none());
    assert!(shut.domain("evil.net").is_some());
    assert!(open.address(C2, None).is_some() && shut.address(C2, None).is_none());
    let near = |last| mapped([198, 51, 100, last].into());
    assert!(open.address(near(9), None).is_some() && shut.address(near(9), None).is_none());
    assert!(shut.address(near(8), None).is_some());
    assert!(open.url("evil.org", 80, "/gate.php").is_some() && shut.url("evil.org", 80, "/gate.php").is_none());
    let hash = "e7d705a3286e19ea42f587b344ee6865";
    assert!(open.ja3(hash).is_some() && shut.ja3(hash).is_none());
    assert!(Allowed::new(&["no such thing".to_owned()], &Fingerprints::new(1)).is_err());
}

#[test]
fn addresses_match_whole_by_port_or_by_prefix() {
    let store = store(
        &[
            (Category::Malware, "203.0.113.7:4444"),
            (Category::Malware, "203.0.113.9"),
            (Category::Scanner, "198.51.100.0/24"),
            (Category::Malware, "2001:db8:1::/48"),
        ],
        &[],
    );
    let found = |text: &str, port| store.address(mapped(text.parse().unwrap()), port).map(|hit| hit.indicator);
    assert_eq!(found("203.0.113.7", Some(4444)).as_deref(), Some("203.0.113.7:4444"));
    assert_eq!(found("203.0.113.7", Some(80)), None);
    assert_eq!(found("203.0.113.7", None), None);
    assert_eq!(found("203.0.113.9", Some(80)).as_deref(), Some("203.0.113.9"));
    assert_eq!(found("198.51.100.200", None).as_deref(), Some("198.51.100.0/24"));
    assert_eq!(found("2001:db8:1::5", None).as_deref(), Some("2001:db8:1::/48"));
    assert_eq!(found("2001:db8:2::5", None), None);
}

#[test]
fn a_page_stands_for_itself_and_for_what_lies_below_it() {
    let store = store(
        &[
            (Category::Malware, "site.org/wp-content/g/"),
            (Category::Malware, "site.org/a.php?id=1"),
            (Category::Malware, "203.0.113.7:81/x.bin"),
        ],
        &[],
    );
    let found = |host: &str, port, path: &str| store.url(host, port, path).is_some();
    for below in ["/wp-content/g/", "/wp-content/g", "/wp-content/g/x/y.exe", "/wp-content/g/?a=b"] {
        assert!(found("Site.org", 80, below), "{below}");
    }
    for apart in ["/", "/wp-content/", "/wp-content/gg", "/a.php", "/a.php?id=2", ""] {
        assert!(!found("site.org", 80, apart), "{apart}");
    }
    assert!(found("site.org:80", 80, "/a.php?id=1"));
    assert!(!found("other.site.org", 80, "/wp-content/g/"));
    assert!(found("203.0.113.7:81", 81, "/x.bin") && !found("203.0.113.7", 80, "/x.bin"));
}

#[test]
fn a_fingerprint_that_a_feed_also_knows_as_harmless_is_dropped() {
    let fingerprints = Fingerprints::new(7);
    let mut builder = SegmentBuilder::new(fingerprints.clone(), 1_000);
    let (bad, both) = ("t12i190700_d83cc789557e_16bbda4055b2", "t13d190900_9dc949149365_97f8aa674fd9");
    let tag = builder.tag(Category::Malware, 0.9, "");
    builder.add(bad, tag);
    builder.add(both, tag);
    builder.add_harmless(&Indicator::parse(both).unwrap());
    let store = Store::new(fingerprints, Arc::default(), vec![Arc::new(builder.build("feed".into(), 0))]);
    assert!(store.ja4(bad).is_some() && store.ja4(both).is_none());
}

#[test]
fn of_several_tags_the_one_that_is_believed_most_stays() {
    let found =
        store(&[(Category::Suspicious, "evil.net"), (Category::Malware, "evil.net"), (Category::Tor, "evil.net")], &[]);
    assert_eq!(found.domain("evil.net").unwrap().tag.category, Category::Malware);
    assert_eq!(found.segments()[0].census().repeated, 2);
}

/// The findings on one flow from 10.0.0.1.
fn judged(store: Store, record: &FlowRecord, payload: &PayloadFacts) -> Vec<(Class, &'static str, Severity)> {
    let mut intel = Intel::new(Arc::new(Shelf::new(store)), 0, 1);
    let mut findings = Vec::new();
    let flow = Judged { record, features: &FeatureVector::ZERO, payload };
    // A flow is up for judgement more than once; it is told once.
    intel.judge(&[flow], 10 * SEC, &mut findings);
    let flow = Judged { record, features: &FeatureVector::ZERO, payload };
    intel.judge(&[flow], 11 * SEC, &mut findings);
    findings.into_iter().map(|finding| (finding.class, finding.kind, finding.severity)).collect()
}

fn talk(src: [u8; 16], dst: [u8; 16], port: u16, proto: u8) -> FlowRecord {
    Fabricated::new(key(src, 40_000, dst, port, proto), 0).packet(There, 0, 40).packet(Back, 0, 40).record()
}

#[test]
fn flows_to_listed_places_are_command_and_control() {
    let inside = host(0, 0, 1);
    let web = mapped([198, 51, 100, 1].into());
    let malware = |text| store(&[(Category::Malware, text)], &[]);
    let nothing = PayloadFacts::default();
    let reaches = talk(inside, C2, 443, PROTO_TCP);
    assert_eq!(judged(malware("203.0.113.7:443"), &reaches, &nothing), [(Class::C2, "known_address", Severity::High)]);
    assert_eq!(judged(malware("203.0.113.7"), &reaches, &nothing), [(Class::C2, "known_address", Severity::Medium)]);
    assert_eq!(judged(malware("203.0.113.7:80"), &reaches, &nothing), []);
    let asks = PayloadFacts {
        dns: Some(Box::new(DnsFacts {
            questions: ["www.example.org", "a.evil.net"]
                .map(|name| DnsQuestion { name: name.into(), qtype: 1 })
                .into_iter()
                .collect(),
            ..DnsFacts::default()
        })),
        ..PayloadFacts::default()
    };
    let question = talk(inside, host(0, 0, 53), 53, PROTO_UDP);
    assert_eq!(judged(malware("evil.net"), &question, &asks), [(Class::C2, "known_domain", Severity::High)]);
    let greets = PayloadFacts {
        tls: Some(Box::new(TlsFacts {
            sni: Some("evil.net".into()),
            ja4: Some("t12i190700_d83cc789557e_16bbda4055b2".into()),
            ..TlsFacts::default()
        })),
        ..PayloadFacts::default()
    };
    let encrypted = talk(inside, web, 443, PROTO_TCP);
    assert_eq!(judged(malware("evil.net"), &encrypted, &greets), [(Class::C2, "known_domain", Severity::High)]);
    assert_eq!(
        judged(malware("t12i190700_d83cc789557e_16bbda4055b2"), &encrypted, &greets),
        [(Class::C2, "known_fingerprint", Severity::Low)]
    );
    // A library's fingerprint is shared by too many programs to name the flow.
    let library = PayloadFacts {
        tls: Some(Box::new(TlsFacts {
            ja3: Some("e7d705a3286e19ea42f587b344ee6865".into()),
            ja4: Some("t13d1516h2_8daaf6152771_02713d6af862".into()),
            ..TlsFacts::default()
        })),
        ..PayloadFacts::default()
    };
    assert_eq!(
        judged(malware("e7d705a3286e19ea42f587b344ee6865"), &encrypted, &library),
        [(Class::Anomaly, "listed", Severity::Info)]
    );
    let fetches = PayloadFacts {
        http: Some(Box::new(HttpFacts {
            host: Some("site.org".into()),
            path: Some("/gate.php".into()),
            ..HttpFacts::default()
        })),
        ..PayloadFacts::default()
    };
    let clear = talk(inside, web, 80, PROTO_TCP);
    assert_eq!(judged(malware("site.org/gate.php"), &clear, &fetches), [(Class::C2, "known_url", Severity::High)]);
}

#[test]
fn a_listed_address_under_a_name_that_nobody_lists_is_information() {
    let reaches = talk(host(0, 0, 1), C2, 443, PROTO_TCP);
    let under = |sni: &str| PayloadFacts {
        tls: Some(Box::new(TlsFacts { sni: Some(sni.into()), ..TlsFacts::default() })),
        ..PayloadFacts::default()
    };
    let listed = || store(&[(Category::Malware, "203.0.113.7:443"), (Category::Malware, "evil.net")], &[]);
    assert_eq!(judged(listed(), &reaches, &under("shop.net")), [(Class::Anomaly, "listed", Severity::Info)]);
    assert_eq!(judged(listed(), &reaches, &under("www.bing.com")), []);
    let both = [(Class::C2, "known_domain", Severity::High), (Class::C2, "known_address", Severity::High)];
    assert_eq!(judged(listed(), &reaches, &under("a.evil.net")), both);
    assert_eq!(judged(listed(), &reaches, &under("203.0.113.7")), both[1..]);
}

#[test]
fn what_is_merely_listed_is_information_or_nothing() {
    let (inside, outside) = (host(0, 0, 1), C2);
    let listed = |category| store(&[(category, "203.0.113.7")], &[]);
    let nothing = PayloadFacts::default();
    let knocks = Fabricated::new(key(outside, 40_000, inside, 22, PROTO_TCP), 0).packet(There, 2, 0).record();
    let visits = talk(outside, inside, 443, PROTO_TCP);
    let reaches = talk(inside, outside, 443, PROTO_TCP);
    assert_eq!(judged(listed(Category::Malware), &knocks, &nothing), [(Class::Anomaly, "listed", Severity::Info)]);
    let scanner = [(Class::PortScan, "listed_scanner", Severity::Info)];
    assert_eq!(judged(listed(Category::Scanner), &knocks, &nothing), scanner);
    assert_eq!(judged(listed(Category::Scanner), &visits, &nothing), []);
    assert_eq!(judged(listed(Category::Scanner), &reaches, &nothing), []);
    assert_eq!(judged(listed(Category::Tor), &reaches, &nothing), [(Class::Anomaly, "tor", Severity::Info)]);
    for flow in [&knocks, &visits, &reaches] {
        assert_eq!(judged(listed(Category::Suspicious), flow, &nothing), []);
    }
}

#[test]
fn information_is_told_once_for_a_host_and_an_indicator() {
    let mut intel = Intel::new(Arc::new(Shelf::new(store(&[(Category::Tor, "203.0.113.7")], &[]))), 0, 1);
    let mut findings = Vec::new();
    for port in 0..500 {
        let record = Fabricated::new(key(host(0, 0, 1), port, C2, 443, PROTO_TCP), u64::from(port) * SEC)
            .packet(There, 2, 0)
            .ended(FlowEnd::Idle)
            .record();
        let flow = Judged { record: &record, features: &FeatureVector::ZERO, payload: &PayloadFacts::default() };
        intel.judge(&[flow], u64::from(port) * SEC, &mut findings);
    }
    assert_eq!(findings.len(), 1);
    assert_eq!(intel.stats().abstained, 499);
}

#[test]
fn a_fresh_store_is_asked_about_flows_that_go_on() {
    let shelf = Arc::new(Shelf::new(store(&[], &[])));
    let mut intel = Intel::new(Arc::clone(&shelf), 0, 1);
    let open = Fabricated::new(key(host(0, 0, 1), 1, C2, 443, PROTO_TCP), 0).packet(There, 2, 0).record();
    let mut findings = Vec::new();
    let payload = PayloadFacts::default();
    for fresh in [None, Some(store(&[(Category::Malware, "203.0.113.7")], &[])), None] {
        fresh.into_iter().for_each(|store| shelf.put(store));
        intel.judge(&[Judged { record: &open, features: &FeatureVector::ZERO, payload: &payload }], 0, &mut findings);
    }
    assert_eq!(findings.len(), 1);
    let hits: u64 = shelf.hits().map(|(.., hits)| hits).sum();
    assert_eq!(hits, 1);
}

/// 1.8 million names of the length that feeds have, without a list of them in memory.
fn many(count: u64) -> Store {
    let fingerprints = Fingerprints::new(7);
    let mut builder = SegmentBuilder::new(fingerprints.clone(), usize::MAX);
    let tags: Vec<u16> = (0..3_000).map(|n| builder.tag(Category::Malware, 0.9, &format!("family{n}"))).collect();
    for n in 0..count {
        builder.add(&name(n), tags[(n % 3_000) as usize]);
    }
    Store::new(fingerprints, Arc::default(), vec![Arc::new(builder.build("feed".into(), 0))])
}

fn name(n: u64) -> String {
    format!("host{:x}.example{}.com", n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20, n % 97)
}

#[test]
fn eighteen_hundred_thousand_indicators_take_twenty_megabytes_and_answer_within_a_microsecond() {
    let store = many(1_800_000);
    assert_eq!(store.len(), 1_800_000);
    assert!(store.bytes() < 24 << 20, "{} bytes", store.bytes());
    assert!((0..2_000).all(|n| store.domain(&name(n * 899)).is_some()));
    let asked: Vec<String> = (0..20_000).map(|n| format!("www.unlisted{n}.example{}.org", n % 89)).collect();
    // The best of many short rounds: other programs share the machine, and one of them may come between.
    let round = |names: &[String]| {
        let watch = crate::clock::Stopwatch::start();
        assert!(names.iter().all(|name| store.domain(name).is_none()));
        watch.elapsed().as_nanos() as f64 / names.len() as f64
    };
    let best = asked.chunks(200).map(round).fold(f64::MAX, f64::min);
    println!("{:.1} MiB, {best:.0} ns a name of three labels", store.bytes() as f64 / f64::from(1 << 20));
    assert!(best < 1_000.0, "{best} ns");
}
