//! Attacks on one service that are slow, spread or in disguise, and the look-alikes that must stay quiet.

use super::*;

fn asks(n: u16, path: String, at_ns: u64) -> Flow {
    let http = HttpFacts {
        method: Some("GET".into()),
        path: Some(path.into()),
        user_agent: Some("one".into()),
        ..HttpFacts::default()
    };
    let payload = PayloadFacts { http: Some(Box::new(http)), ..of(AppProto::Http) };
    (tcp(attacker(), 20_000 + n, victim(), 80, at_ns).handshake().exchange(300, 900).closed(), payload)
}

fn fails(src: [u8; 16], n: u16, dst: [u8; 16], at_ns: u64) -> Flow {
    let payload = PayloadFacts { login: Login::Failed, ..of(AppProto::Smb) };
    (tcp(src, 20_000 + n, dst, 445, at_ns).handshake().exchange(300, 300).closed(), payload)
}

#[test]
fn requests_with_parameters_of_random_names_are_told() {
    let flows: Vec<Flow> =
        (0..60u16).map(|n| asks(n, format!("/?p{n}x=1&b=2"), 10 * SEC + u64::from(n) * 100 * MS)).collect();
    check(&flows, &[(Class::AppDos, "random_parameters", service(attacker(), victim(), 80))]);
    let search: Vec<Flow> =
        (0..200u16).map(|n| asks(n, format!("/search?q=word{n}&page=1"), 10 * SEC + u64::from(n) * 100 * MS)).collect();
    check_quiet(&search);
    let versions: Vec<Flow> =
        (0..200u16).map(|n| asks(n, format!("/f{n}.css?13675{n}"), 10 * SEC + u64::from(n) * 100 * MS)).collect();
    check_quiet(&versions);
}

#[test]
fn answers_taken_in_tiny_bits_are_told() {
    let slow = |window: u16| -> Vec<Flow> {
        (0..60u16)
            .map(|n| {
                let mut flow = asks(n, "/big".to_owned(), 10 * SEC);
                flow.0 = tcp(attacker(), 20_000 + n, victim(), 80, 10 * SEC)
                    .window(window)
                    .handshake()
                    .exchange(300, 700)
                    .wait(8 * SEC)
                    .exchange(0, 700);
                flow
            })
            .collect()
    };
    check(&slow(1_024), &[(Class::AppDos, "slow_reads", service(attacker(), victim(), 80))]);
    check_quiet(&slow(64_240));
}

#[test]
fn handshakes_that_ask_for_nothing_are_told() {
    let flows = |request: u32| -> Vec<Flow> {
        (0..400u16)
            .map(|n| {
                let flow = tcp(attacker(), 20_000 + n, victim(), 443, 10 * SEC + u64::from(n) * 5 * MS).handshake();
                let flow = flow.exchange(517, 2_400).packet(There, TCP_ACK, 80);
                let flow = if request > 0 { flow.exchange(request, 900) } else { flow };
                (flow.closed(), of(AppProto::Tls))
            })
            .collect()
    };
    check(&flows(0), &[(Class::AppDos, "handshakes", service(attacker(), victim(), 443))]);
    check_quiet(&flows(400));
}

#[test]
fn a_flood_of_messages_is_told_and_a_chatty_sensor_is_not() {
    let publishes = |packets: u64, gap_ns: u64| -> Vec<Flow> {
        let mut flow = tcp(attacker(), 20_000, victim(), 1_883, 10 * SEC).handshake();
        for _ in 0..packets {
            flow = flow.packet(There, TCP_ACK | TCP_PSH, 60).wait(gap_ns);
        }
        vec![(flow, of(AppProto::Mqtt))]
    };
    check(&publishes(3_000, MS), &[(Class::AppDos, "message_flood", service(attacker(), victim(), 1_883))]);
    check_quiet(&publishes(3_000, 100 * MS));
    // Few packets of a thousand bytes, full of messages of 20 each; and the same full of one message.
    let packed = |message_bytes: u16| -> Vec<Flow> {
        let mut flow = tcp(attacker(), 20_000, victim(), 1_883, 10 * SEC).handshake();
        for _ in 0..400 {
            flow = flow.packet(There, TCP_ACK | TCP_PSH, 1_040).wait(10 * MS);
        }
        vec![(flow, PayloadFacts { message_bytes, ..of(AppProto::Mqtt) })]
    };
    check(&packed(20), &[(Class::AppDos, "message_flood", service(attacker(), victim(), 1_883))]);
    check_quiet(&packed(1_000));
    check_quiet(&packed(0));
}

#[test]
fn slow_guessing_is_told_within_the_hour() {
    for (gap_secs, guesses) in [(30, 40), (80, 60)] {
        let flows: Vec<Flow> =
            (0..guesses).map(|n| fails(attacker(), n, victim(), 10 * SEC + u64::from(n) * gap_secs * SEC)).collect();
        check(&flows, &[(Class::BruteForce, "smb", service(attacker(), victim(), 445))]);
    }
}

#[test]
fn somebody_who_mistypes_and_a_program_with_an_old_password_are_quiet() {
    let mistyped: Vec<Flow> =
        (0..5).map(|n| fails(attacker(), n, victim(), 10 * SEC + u64::from(n) * 8 * SEC)).collect();
    check_quiet(&mistyped);
    let program: Vec<Flow> =
        (0..60).map(|n| fails(attacker(), n, victim(), 10 * SEC + u64::from(n) * 240 * SEC)).collect();
    check_quiet(&program);
}

/// FTP connections from `src`, in each of which so many packets went out and a login failed.
fn ftp_refusals(count: u16, packets: u32) -> Vec<Flow> {
    let payload = PayloadFacts { login: Login::Failed, ..of(AppProto::Ftp) };
    (0..count)
        .map(|n| {
            let mut flow = tcp(attacker(), 20_000 + n, victim(), 21, 10 * SEC + u64::from(n) * 12 * SEC).handshake();
            for _ in 0..packets {
                flow = flow.exchange(14, 30).wait(SEC);
            }
            (flow.closed(), payload.clone())
        })
        .collect()
}

#[test]
fn three_refusals_in_one_ftp_connection_count_as_three() {
    check(&ftp_refusals(5, 7), &[(Class::BruteForce, "ftp", service(attacker(), victim(), 21))]);
    check_quiet(&ftp_refusals(5, 3));
    // Who went on to work got in.
    check_quiet(&ftp_refusals(5, 30));
}

#[test]
fn few_short_sessions_from_outside_are_guesses_and_those_of_the_house_are_work() {
    let stranger = ids_common::parse::ipv4_mapped(u32::from_ne_bytes([203, 0, 113, 9]));
    let visits = |source: [u8; 16], count: u16, gap_secs: u64| -> Vec<Flow> {
        (0..count)
            .map(|n| {
                let at_ns = 10 * SEC + u64::from(n) * gap_secs * SEC;
                let flow = tcp(source, 20_000 + n, victim(), 22, at_ns).handshake().exchange(1_500, 2_200);
                (flow.closed(), of(AppProto::Ssh))
            })
            .collect()
    };
    let told = [(Class::BruteForce, "ssh", service(stranger, victim(), 22))];
    for (count, gap_secs) in [(9, 4), (20, 30), (90, 60)] {
        check(&visits(stranger, count, gap_secs), &told);
        check_quiet(&visits(attacker(), count.min(20), gap_secs));
    }
    // Now and then somebody calls in.
    check_quiet(&visits(stranger, 5, 10));
    check_quiet(&visits(stranger, 60, 300));
}

#[test]
fn one_password_tried_at_many_hosts_is_a_spray() {
    let flows: Vec<Flow> =
        (0..12u16).map(|n| fails(attacker(), n, host(3, 0, n as u8), 10 * SEC + u64::from(n) * 20 * SEC)).collect();
    check(&flows, &[(Class::BruteForce, "spray", Subject::Source { src: attacker() })]);
}

#[test]
fn guessing_from_many_sources_is_told_though_it_is_slow() {
    let flows: Vec<Flow> = (0..200u16)
        .map(|n| fails(host(7, 0, (n % 40) as u8), n, victim(), 10 * SEC + u64::from(n) * 4 * SEC))
        .collect();
    check(&flows, &[(Class::BruteForce, "spread", Subject::Target { dst: victim() })]);
}

#[test]
fn short_sessions_from_many_strangers_are_guesses_and_those_of_the_house_are_work() {
    let outside = |n: u16| ids_common::parse::ipv4_mapped(u32::from_ne_bytes([203, 0, 113, (n % 14) as u8]));
    let visits = |source: &dyn Fn(u16) -> [u8; 16]| -> Vec<Flow> {
        (0..70u16)
            .map(|n| {
                let flow = tcp(source(n), 20_000 + n, victim(), 22, 10 * SEC + u64::from(n) * 500 * MS).handshake();
                (flow.exchange(1_500, 2_200).closed(), of(AppProto::Ssh))
            })
            .collect()
    };
    check(&visits(&outside), &[(Class::BruteForce, "spread", Subject::Target { dst: victim() })]);
    check_quiet(&visits(&|n| host(5, 0, (n % 14) as u8)));
}

#[test]
fn a_few_reflectors_that_answer_on_and_on_are_a_flood() {
    let answers = |port: u16, packets: u64| -> Vec<Flow> {
        (1..5u8)
            .map(|n| {
                let mut flow = udp(host(9, 0, n), port, victim(), 47_683, 10 * SEC);
                for _ in 0..packets {
                    flow = flow.packet(There, 0, 250).wait(20 * MS);
                }
                bare(flow)
            })
            .collect()
    };
    check(&answers(53, 200), &[(Class::Flood, "reflected_udp", Subject::Target { dst: victim() })]);
    check_quiet(&answers(40_000, 200));
    check_quiet(&answers(53, 10));
}

#[test]
fn a_mail_program_with_an_old_password_is_quiet() {
    let flows: Vec<Flow> =
        (0..24u16).map(|n| fails(attacker(), n, victim(), 10 * SEC + u64::from(n) * 300 * SEC)).collect();
    check_quiet(&flows);
    let at_once: Vec<Flow> = (0..6u16).map(|n| fails(attacker(), n, victim(), 10 * SEC + u64::from(n) * SEC)).collect();
    check_quiet(&at_once);
}

#[test]
fn a_guess_that_hits_is_told_at_once() {
    let mut flows: Vec<Flow> =
        (0..9u16).map(|n| fails(attacker(), n, victim(), 10 * SEC + u64::from(n) * SEC)).collect();
    let (flow, mut payload) = fails(attacker(), 9, victim(), 20 * SEC);
    payload.login = Login::Succeeded;
    flows.push((flow, payload));
    let found = findings(&flows);
    let last = found.last().map(|finding| (finding.severity, finding.reason.contains("1 that succeeded")));
    assert_eq!(last, Some((Severity::High, true)), "{found:#?}");
}
