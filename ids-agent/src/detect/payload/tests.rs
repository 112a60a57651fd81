//! Tests of the payload witness.

use ids_common::wire::PROTO_TCP;

use super::*;
use crate::{
    config::PayloadSettings,
    fabricated::{Back, Fabricated, There, host, key, samples},
    features::FeatureVector,
    payload::{PayloadFacts, PayloadTable},
};

fn web(port: u16) -> FlowKey {
    key(host(0, 0, 1), port, host(0, 0, 2), 80, PROTO_TCP)
}

/// Findings of one tick in which each flow sends a request and gets an answer.
fn judge(detector: &mut Payload, exchanges: &[(FlowKey, &[u8], &[u8])]) -> Vec<Finding> {
    let mut table = PayloadTable::new(&PayloadSettings::default());
    let mut records = Vec::new();
    for (key, request, answer) in exchanges {
        records.push(Fabricated::new(*key, 0).packet(There, 0, 1).packet(Back, 0, 1).closed().record());
        table.absorb(&samples(&[(*key, 0, 0, request), (key.reversed(), 0, 0, answer)]));
    }
    let facts: Vec<PayloadFacts> = records.iter().map(|record| table.facts(record)).collect();
    let judged: Vec<_> = records
        .iter()
        .zip(&facts)
        .map(|(record, payload)| Judged { record, features: &FeatureVector::ZERO, payload })
        .collect();
    let mut findings = Vec::new();
    detector.judge(&judged, 0, &mut findings);
    findings
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>hello</html>";

#[test]
fn a_request_with_an_injection_is_a_web_attack_that_quotes_it() {
    let request = b"GET /item?id=1%27%20UNION%20SELECT%20user,pass%20FROM%20users--%20 HTTP/1.1\r\nHost: a\r\n\r\n";
    let found = judge(&mut Payload::new(0), &[(web(1_000), request, OK)]);
    let [finding] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((finding.class, finding.kind, finding.severity), (Class::WebAttack, "sql_injection", Severity::High));
    assert!(finding.reason.contains("union select user,"), "{}", finding.reason);
    assert!(finding.score > 0.9);
}

#[test]
fn one_weak_sign_is_nothing_and_with_the_answer_to_it_it_is() {
    let probe = b"GET /item?id=1%27 HTTP/1.1\r\nHost: a\r\n\r\n";
    let error = b"HTTP/1.1 200 OK\r\n\r\nYou have an error in your SQL syntax near ''1'''";
    assert!(judge(&mut Payload::new(0), &[(web(1_000), probe, OK)]).is_empty());
    let harmless = b"GET /item?id=1 HTTP/1.1\r\nHost: a\r\n\r\n";
    assert!(judge(&mut Payload::new(0), &[(web(1_000), harmless, error)]).is_empty());
    assert_eq!(judge(&mut Payload::new(0), &[(web(1_000), probe, error)]).len(), 1);
}

#[test]
fn three_flows_with_signs_speak_for_their_service() {
    let request = b"GET /a?x=<script>alert(1)</script> HTTP/1.1\r\nHost: a\r\n\r\n";
    let exchanges: Vec<_> = (0..3).map(|at| (web(1_000 + at), request.as_slice(), OK)).collect();
    let found = judge(&mut Payload::new(0), &exchanges);
    let services = found.iter().filter(|finding| matches!(finding.subject, Subject::Service { .. })).count();
    assert_eq!((found.len(), services), (4, 1));
}

#[test]
fn many_odd_flows_speak_for_their_service_and_few_do_not() {
    let request = b"GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: Mozilla/5.0 zgrab/0.x\r\n\r\n";
    let exchanges: Vec<_> = (0..5).map(|at| (web(1_000 + at), request.as_slice(), OK)).collect();
    assert!(judge(&mut Payload::new(0), &exchanges[..4]).is_empty());
    let found = judge(&mut Payload::new(0), &exchanges);
    let [finding] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((finding.class, finding.severity), (Class::PortScan, Severity::Low));
}

#[test]
fn a_scanner_that_keeps_on_asking_one_application_attacks_it() {
    let request = b"GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: Mozilla/5.0 (compatible; Nmap Scripting Engine)\r\n\r\n";
    let exchanges: Vec<_> = (0..12).map(|at| (web(1_000 + at), request.as_slice(), OK)).collect();
    let classes = |count: usize| {
        let found = judge(&mut Payload::new(0), &exchanges[..count]);
        found.last().map(|finding| finding.class)
    };
    assert_eq!(classes(9), Some(Class::PortScan));
    assert_eq!(classes(12), Some(Class::WebAttack));
}

/// A request for a ticket in somebody's name.
fn ticket(name: &str) -> Vec<u8> {
    let name = [&[0x1b, name.len() as u8][..], name.as_bytes()].concat();
    [&[0x6a, 0x70, 0x30, 0x6e, 0xa1, 3, 2, 1, 5, 0xa2, 3, 2, 1, 10][..], &name, &[0x1b, 4], b"A.EX"].concat()
}

#[test]
fn names_that_a_domain_does_not_know_are_counted_once_each() {
    const UNKNOWN: &[u8] = &[0x7e, 0x64, 0x30, 0x62, 0xa0, 3, 2, 1, 5, 0xa1, 3, 2, 1, 30, 0xa6, 3, 2, 1, 6];
    let ask = |names: &[String]| {
        let requests: Vec<Vec<u8>> = names.iter().map(|name| ticket(name)).collect();
        let flow = |at: usize| key(host(0, 0, 1), 2_000 + at as u16, host(0, 0, 2), 88, ids_common::wire::PROTO_UDP);
        let exchanges: Vec<_> =
            requests.iter().enumerate().map(|(at, request)| (flow(at), request.as_slice(), UNKNOWN)).collect();
        let found = judge(&mut Payload::new(0), &exchanges);
        found.first().map(|finding| (finding.class, finding.kind))
    };
    let names: Vec<String> = (0..6).map(|at| format!("user{at}")).collect();
    assert_eq!(ask(&names), Some((Class::Infiltration, "unknown_account")));
    assert_eq!(ask(&names[..5]), None);
    // A program with a stale name asks for it all day.
    assert_eq!(ask(&vec!["stale".to_owned(); 40]), None);
}

#[test]
fn a_flow_is_told_once() {
    let request = b"GET /a?x=<script>alert(1)</script> HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut table = PayloadTable::new(&PayloadSettings::default());
    let record = Fabricated::new(web(1_000), 0).packet(There, 0, 1).packet(Back, 0, 1).record();
    table.absorb(&samples(&[(web(1_000), 0, 0, request)]));
    let payload = table.facts(&record);
    let mut detector = Payload::new(0);
    let mut findings = Vec::new();
    for _ in 0..3 {
        detector.judge(
            &[Judged { record: &record, features: &FeatureVector::ZERO, payload: &payload }],
            0,
            &mut findings,
        );
    }
    assert_eq!(findings.len(), 1);
}

#[test]
fn a_ticket_asked_for_in_aes_that_rc4_alone_opens_is_infiltration_and_an_old_client_is_not() {
    let ask = |ciphers: &[u8]| -> Vec<u8> {
        let list: Vec<u8> = ciphers.iter().flat_map(|cipher| [2, 1, *cipher]).collect();
        let length = list.len() as u8;
        let head = b"\xa1\x03\x02\x01\x05\xa2\x03\x02\x01\x0a\xa1\x080\x06\x1b\x04anna";
        let body = [&head[..], &[0xa8, length + 2, 0x30, length], &list].concat();
        [&[0, 0, 0, body.len() as u8 + 2, 0x6a, body.len() as u8][..], &body].concat()
    };
    let want = b"\0\0\0\x16\x7e\x14\xa6\x03\x02\x01\x19\xa1\x03\x02\x01\x13\x30\x07\x30\x05\xa0\x03\x02\x01\x17";
    let login = key(host(0, 0, 1), 40_000, host(0, 0, 2), 88, PROTO_TCP);
    let found = |ciphers: &[u8]| -> Vec<(Class, &str)> {
        let findings = judge(&mut Payload::new(1), &[(login, &ask(ciphers), want)]);
        findings.iter().map(|finding| (finding.class, finding.kind)).collect()
    };
    assert_eq!(found(&[18, 17, 23]), [(Class::Infiltration, "weak_ticket")]);
    assert_eq!(found(&[3, 1]), []);
}

#[test]
fn a_strong_cipher_is_no_sign_of_anything_else() {
    let mut ask = b"\0\0\0\x27\x6a\x25\xa1\x03\x02\x01\x05\xa2\x03\x02\x01\x0a\xa1\x080\x06\x1b\x04anna".to_vec();
    ask.extend([0xa8, 8, 0x30, 6, 2, 1, 18, 2, 1, 17]);
    // A name that the domain does not know.
    let answer = b"\0\0\0\x0a\x7e\x08\xa6\x03\x02\x01\x06\0\0\0";
    let login = key(host(0, 0, 1), 40_000, host(0, 0, 2), 88, PROTO_TCP);
    assert_eq!(judge(&mut Payload::new(1), &[(login, &ask, answer)]), []);
}
