//! Hosts that ask for names, judged with the shipped scorer.
#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

use ids_common::wire::PROTO_UDP;

use super::*;
use crate::{
    fabricated::{Back, Fabricated, There, host, key},
    features::FeatureVector,
    payload::{DnsFacts, TlsFacts},
};

const MANIFEST: &str = include_str!("../../../../models/dga/manifest.toml");
const TABLE: &[u8] = include_bytes!("../../../../models/dga/table.bin");
const GOLDEN: &str = include_str!("../../../../models/dga/golden.csv");

fn scorer() -> Scorer {
    Scorer::new(MANIFEST, TABLE, GOLDEN).unwrap()
}

/// Twelve letters each, as Tinba makes them.
fn generated(n: u64) -> String {
    let mut state = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut label = String::new();
    for _ in 0..12 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        label.push(char::from(b'a' + ((state >> 33) % 26) as u8));
    }
    format!("{label}.xyz")
}

/// The kinds of findings on queries one second apart, by the number of the query.
struct Asking {
    dga: Dga,
    at: u64,
    told: Vec<u64>,
}

impl Asking {
    fn new() -> Self {
        Self { dga: Dga::new(scorer(), 1), at: 0, told: Vec::new() }
    }

    fn judge(&mut self, record: &FlowRecord, payload: &PayloadFacts) {
        let mut findings = Vec::new();
        self.dga.judge(&[Judged { record, features: &FeatureVector::ZERO, payload }], 0, &mut findings);
        assert!(findings.iter().all(|found| (found.class, found.kind) == (Class::C2, "dga")));
        self.told.extend(findings.iter().map(|found| found.first_ns / SEC));
    }

    fn ask(&mut self, name: &str, rcode: u16) {
        let question = key(host(0, 0, 1), 1_024 + (self.at % 60_000) as u16, host(0, 0, 53), 53, PROTO_UDP);
        let record = Fabricated::new(question, self.at * SEC).packet(There, 0, 40).packet(Back, 0, 90).record();
        let payload = |rcode: Option<u16>| PayloadFacts {
            dns: Some(Box::new(DnsFacts {
                query: Some(name.into()),
                rcode,
                answers: u32::from(rcode == Some(0)),
                ..DnsFacts::default()
            })),
            ..PayloadFacts::default()
        };
        // The question first, then the answer, then once more.
        self.judge(&record, &payload(None));
        self.judge(&record, &payload(Some(rcode)));
        self.judge(&record, &payload(Some(rcode)));
        self.at += 1;
    }
}

#[test]
fn the_shipped_scorer_is_what_was_fitted() {
    let scorer = scorer();
    let like = |name| scorer.registered(name).map(|named| named.likeness);
    for made in ["rkpiqcmmmbue.xyz", "www.kb2d27ba3fc6d1d301e7e6843e5f5d2266.cc", "wn3j5jwbu6ox3fi.ddns.net"] {
        assert_eq!(like(made), Some(Likeness::Generated), "{made}");
    }
    for chosen in
        ["www.example.com", "wikipedia.org", "stackoverflow.com", "bbc.co.uk", "update.microsoft.com", "github.io"]
    {
        assert!(like(chosen).is_none_or(|like| like == Likeness::Ordinary), "{chosen}");
    }
    // Machines hand these out, or nobody registers them.
    for handed in ["d3k81ch9hvuctc.cloudfront.net", "xn--80ak6aa92e.com", "ec2-203-0-113-7.compute-1.amazonaws.com"] {
        assert!(like(handed).is_none_or(|like| like == Likeness::Ordinary), "{handed}");
    }
    for none in ["7.113.0.203.in-addr.arpa", "b.e.f.ip6.arpa", "_googlecast._tcp.local", "wpad", "localhost", "", "."] {
        assert_eq!(scorer.registered(none), None, "{none}");
    }
}

#[test]
fn a_scorer_that_was_changed_is_refused() {
    let mut table = TABLE.to_vec();
    table[7] ^= 1;
    assert!(matches!(Scorer::new(MANIFEST, &table, GOLDEN), Err(ScorerError::Digest { .. })));
    assert!(matches!(Scorer::new(MANIFEST, &table[1..], GOLDEN), Err(ScorerError::Size { .. })));
    let golden = "label,score\nwikipedia,0.99\n";
    assert!(matches!(Scorer::new(MANIFEST, TABLE, golden), Err(ScorerError::Golden { .. })));
    assert!(matches!(Scorer::new("name = 3", TABLE, GOLDEN), Err(ScorerError::Manifest(_))));
}

#[test]
fn a_host_that_asks_for_generated_names_is_told_with_those_queries_alone() {
    let mut asking = Asking::new();
    for n in 0..60 {
        if n % 6 == 5 { asking.ask("www.wikipedia.org", 0) } else { asking.ask(&generated(n), 3) }
    }
    assert!(asking.told.len() >= 45, "{} of 50", asking.told.len());
    assert!(asking.told.iter().all(|at| at % 6 != 5), "{:?}", asking.told);
    // Each query is told once, those before the threshold too.
    let mut once = asking.told.clone();
    once.dedup();
    assert_eq!(once, asking.told);
    assert!(asking.told[0] <= 2);
}

#[test]
fn a_connection_to_a_name_out_of_the_same_mould_is_told_too() {
    let mut asking = Asking::new();
    let meet = |asking: &mut Asking, name: &str| {
        let record =
            Fabricated::new(key(host(0, 0, 1), 9, host(1, 1, 1), 443, 6), asking.at * SEC).packet(There, 2, 0).record();
        let tls = TlsFacts { sni: Some(name.into()), ..TlsFacts::default() };
        asking.judge(&record, &PayloadFacts { tls: Some(Box::new(tls)), ..PayloadFacts::default() });
        asking.at += 1;
    };
    meet(&mut asking, &generated(99));
    assert_eq!(asking.told, [0u64; 0]);
    (0..20).for_each(|n| asking.ask(&generated(n), 3));
    let before = asking.told.len();
    meet(&mut asking, "www.wikipedia.org");
    assert_eq!(asking.told.len(), before);
    meet(&mut asking, &generated(99));
    assert_eq!(asking.told.len(), before + 1);
}

#[test]
fn ordinary_hosts_are_never_told() {
    // A browser: hundreds of names that exist, some odd ones among them, a few typing errors.
    let mut asking = Asking::new();
    for n in 0..600 {
        match n % 40 {
            7 => asking.ask(&generated(n), 0),
            19 => asking.ask(&format!("mistyped{n}.com"), 3),
            23 => asking.ask(&format!("{}.cloudfront.net", generated(n).trim_end_matches(".xyz")), 0),
            29 => asking.ask("7.113.0.203.in-addr.arpa", 3),
            _ => asking.ask(&format!("the-news-of-day-{n}.com"), 0),
        }
    }
    assert_eq!(asking.told, [0u64; 0]);
    // Random names below one domain: telemetry, tunnels, block lists.
    let mut asking = Asking::new();
    (0..600).for_each(|n| asking.ask(&format!("{}.telemetry-service.com", generated(n)), 3));
    assert_eq!(asking.told, [0u64; 0]);
    // Seven generated names are one too few.
    let mut asking = Asking::new();
    (0..7).for_each(|n| asking.ask(&generated(n), 3));
    assert_eq!(asking.told, [0u64; 0]);
    // A few an hour are never many within minutes.
    let mut asking = Asking::new();
    for n in 0..100 {
        asking.ask(&generated(n), 3);
        asking.at += 200;
    }
    assert_eq!(asking.told, [0u64; 0]);
}

#[test]
fn a_socket_that_asks_for_one_generated_name_after_another_is_told() {
    let ask = |names: &mut dyn Iterator<Item = String>, responses: u32, errors: u32| {
        let questions = names.map(|name| crate::payload::DnsQuestion { name: name.into(), qtype: 1 }).collect();
        let dns = DnsFacts { rcode: Some(3), responses, errors, questions, ..DnsFacts::default() };
        let payload = PayloadFacts { dns: Some(Box::new(dns)), ..PayloadFacts::default() };
        let question = key(host(0, 0, 1), 1_025, host(0, 0, 53), 53, PROTO_UDP);
        let record = Fabricated::new(question, 0).packet(There, 0, 40).packet(Back, 0, 90).record();
        let mut asking = Asking::new();
        // Looked at twice, it is counted once.
        asking.judge(&record, &payload);
        let told = asking.told.len();
        asking.judge(&record, &payload);
        (told > 0, asking.told.len() > told)
    };
    assert_eq!(ask(&mut (0..9).map(generated), 3, 3), (true, false));
    assert_eq!(ask(&mut (0..7).map(generated), 3, 3), (false, false));
    // A resolver for a house, of which one guest mistypes.
    let mixed = &mut (0..16).map(|n| if n % 4 == 0 { generated(n) } else { format!("the-news-of-day-{n}.com") });
    assert_eq!(ask(mixed, 3, 2), (false, false));
}

#[test]
fn where_every_name_resolves_it_takes_more_of_them() {
    let mut asking = Asking::new();
    (0..20).for_each(|n| asking.ask(&generated(n), 0));
    assert_eq!(asking.told, [0u64; 0]);
    (20..60).for_each(|n| asking.ask(&generated(n), 0));
    assert!(asking.told.len() > 50);
}

#[test]
fn the_tables_are_bounded() {
    let mut dga = Dga::new(scorer(), 1);
    let mut findings = Vec::new();
    for n in 0..5_000u64 {
        let source = host((n >> 16) as u8, (n >> 8) as u8, n as u8);
        let record = Fabricated::new(key(source, 1, host(9, 0, 53), 53, PROTO_UDP), n).packet(There, 0, 40).record();
        let dns = DnsFacts { query: Some(generated(n).into()), rcode: Some(3), ..DnsFacts::default() };
        let payload = PayloadFacts { dns: Some(Box::new(dns)), ..PayloadFacts::default() };
        dga.judge(&[Judged { record: &record, features: &FeatureVector::ZERO, payload: &payload }], n, &mut findings);
    }
    assert_eq!(dga.hosts.len(), HOSTS_MAX);
    assert!(dga.stats().forgotten >= 5_000 - HOSTS_MAX as u64);
    assert!(findings.is_empty());
}
