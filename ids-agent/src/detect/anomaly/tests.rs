//! Devices through their days: learned, judged, attacked, restarted. Errors of the model are made up here; what the
//! model makes of real flows is the business of `tests/models.rs`.
#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

use proptest::prelude::*;

use super::*;
use crate::{
    detect::Severity,
    fabricated::{Fabricated, SEC, host, key},
    features::FeatureVector,
    flow::{FlowEnd, FlowRecord},
    payload::{AppProto, PayloadFacts},
};

const HOUR: u64 = 3_600 * SEC;
const THRESHOLD: f32 = 1.0;
const USUAL: f32 = 0.2;

fn site() -> SiteSettings {
    SiteSettings::default()
}

fn fresh() -> Memory {
    Memory::new(&site(), THRESHOLD, "model")
}

const CAMERA: u8 = 23;

/// A flow of 192.168.1.`device` (as 10.0.1.x) to a server outside.
#[derive(Clone, Debug)]
struct Talk {
    record: FlowRecord,
    app: AppProto,
    error: f32,
}

fn outside(last: u8) -> [u8; 16] {
    let mut address = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 203, 0, 113, 0];
    address[15] = last;
    address
}

fn talk(device: u8, peer: u8, port: u16, at_ns: u64, request: u32, answer: u32) -> Talk {
    let key = key(host(0, 1, device), 40_000 + (at_ns / SEC % 20_000) as u16, outside(peer), port, 6);
    let flow = Fabricated::new(key, at_ns).handshake().wait(SEC).exchange(request, answer).closed();
    let app = match port {
        23 => AppProto::Telnet,
        22 => AppProto::Ssh,
        _ => AppProto::Tls,
    };
    Talk { record: flow.record(), app, error: USUAL }
}

impl Talk {
    fn with_error(mut self, error: f32) -> Self {
        self.error = error;
        self
    }

    fn see(&self, memory: &mut Memory) -> Option<Said> {
        let payload = PayloadFacts { app: self.app, ..PayloadFacts::default() };
        let features = FeatureVector::ZERO;
        memory.see(&Judged { record: &self.record, features: &features, payload: &payload }, self.error, Learning::Goes)
    }
}

/// One hour of a camera's life: it reports every two minutes, and sends one recording.
fn hour_of_camera(start_ns: u64) -> Vec<Talk> {
    let reports = (0..28).map(|at| talk(CAMERA, 5, 443, start_ns + at * 120 * SEC, 600 + (at as u32 * 37) % 300, 400));
    let mut talks: Vec<Talk> = reports.collect();
    talks.insert(14, talk(CAMERA, 6, 443, start_ns + 1_700 * SEC, 90_000, 2_000));
    talks
}

/// A memory that has seen the camera for so many hours, from hour 1 on.
fn after(hours: u64) -> Memory {
    let mut memory = fresh();
    for hour in 1..=hours {
        for talk in hour_of_camera(hour * HOUR) {
            talk.see(&mut memory);
        }
    }
    memory
}

fn unusual(said: Option<Said>) -> Option<Unusual> {
    match said {
        Some(Said::ForDevice(unusual)) => Some(unusual),
        Some(Said::ForAll { .. }) | None => None,
    }
}

/// The camera as a client.
fn camera(memory: &Memory) -> (u32, u64, bool, Vec<f32>) {
    let found = memory.baseline.devices().find(|(key, ..)| key.role == Role::Client).unwrap();
    let (_, device, standing) = found;
    let limits = Quantity::ALL.iter().map(|quantity| device.votes(*quantity).limit()).collect();
    (device.hours, device.flows, standing == Standing::Known, limits)
}

#[test]
fn a_device_is_known_after_the_stated_hours_and_judged_by_all_others_measure_until_then() {
    let learning = after(20);
    let (hours, _, known, _) = camera(&learning);
    assert!(!known && hours < 24, "{hours}");
    let mut learning = learning;
    let odd = talk(CAMERA, 9, 23, 21 * HOUR, 50_000_000 / 50, 100);
    assert_eq!(odd.clone().see(&mut learning), None, "an ordinary error says nothing while learning");
    let odd = odd.with_error(CAUTION * THRESHOLD * 1.01);
    assert!(matches!(odd.see(&mut learning), Some(Said::ForAll { .. })));
    let (hours, flows, known, _) = camera(&after(26));
    assert!(known && hours >= 24 && flows >= 200, "{hours} {flows}");
}

#[test]
fn a_known_device_is_told_apart_from_itself_in_one_sentence_with_values() {
    let mut memory = after(60);
    let said = talk(CAMERA, 9, 23, 61 * HOUR, 4_000_000, 100).see(&mut memory);
    let unusual = unusual(said).unwrap();
    let sentence = say::sentence(&unusual);
    assert_eq!(
        sentence,
        "10.0.1.23, talking to 203.0.113.9, sends 4.0 MB in one flow, 45 times what is usual and speaks telnet on port \
         23/tcp, which it never did; judged by 59 hours of its own past"
    );
    let evidence = say::evidence(&unusual);
    assert_eq!(evidence[0].feature, "device_sent_bytes");
    assert!(evidence[0].normal_low < 95_000.0 && evidence[0].normal_high < evidence[0].value, "{evidence:?}");
    assert_eq!((evidence[1].feature, evidence[1].value), ("device_new_service", 23.0));
    let record = talk(CAMERA, 9, 23, 61 * HOUR, 4_000_000, 100).record;
    let (features, payload) = (FeatureVector::ZERO, PayloadFacts::default());
    let flow = Judged { record: &record, features: &features, payload: &payload };
    let finding = Said::ForDevice(unusual).into_finding(&flow, evidence);
    assert_eq!((finding.severity, finding.class, finding.kind), (Severity::Low, Class::Anomaly, "unusual_for_device"));
}

#[test]
fn nothing_is_said_of_its_usual_day_nor_of_one_oddity_alone() {
    let mut memory = after(60);
    for hour in 61..200 {
        for talk in hour_of_camera(hour * HOUR) {
            assert_eq!(talk.see(&mut memory), None, "hour {hour}");
        }
    }
    // Much data by what it always spoke.
    assert_eq!(talk(CAMERA, 6, 443, 200 * HOUR, 4_000_000, 100).see(&mut memory), None);
    // An error that others would be told of, and that is this device's own manner.
    let mut odd = fresh();
    for hour in 1..60 {
        for talk in hour_of_camera(hour * HOUR) {
            talk.with_error(1.8).see(&mut odd);
        }
    }
    assert_eq!(talk(CAMERA, 5, 443, 60 * HOUR, 600, 400).with_error(1.8).see(&mut odd), None);
}

#[test]
fn an_hour_full_of_new_peers_is_told_once() {
    let mut memory = after(60);
    let mut told = 0;
    // Within one running hour, which began 721 s after the full one.
    for peer in 0..170u8 {
        for at in 0..4 {
            let start_ns = 61 * HOUR + (u64::from(peer) * 4 + at) * SEC;
            let said = talk(CAMERA, peer, 443, start_ns, 300, 300).see(&mut memory);
            if let Some(unusual) = unusual(said) {
                told += 1;
                let sentence = say::sentence(&unusual);
                assert!(
                    sentence.contains("flows within an hour") && sentence.contains("peers within an hour"),
                    "{sentence}"
                );
            }
        }
    }
    assert_eq!(told, 1);
}

/// Everything the attacker can do in so many minutes: huge, long, odd flows to many peers by many protocols.
fn attack(start_ns: u64, minutes: u64, flows: u64, seed: u64) -> Vec<Talk> {
    (0..flows)
        .map(|at| {
            let port = [22, 23, 443, 8_080, 6_667][(seed.wrapping_add(at) % 5) as usize];
            let when = start_ns + at * minutes * 60 * SEC / flows;
            let size = 1_000 << (seed.wrapping_mul(7).wrapping_add(at) % 14);
            talk(CAMERA, (at % 250) as u8, port, when, size, 200).with_error(3.0 + (at % 7) as f32)
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// The bound that is stated in docs/devices.md: 2 % for each hour that an attack touches.
    #[test]
    fn an_attack_that_nobody_recognises_moves_no_limit_by_more_than_two_percent_an_hour(
        minutes in 1u64..180,
        flows in 1u64..400,
        seed: u64,
    ) {
        let mut attacked = after(60);
        let (_, _, _, before) = camera(&attacked);
        for talk in attack(61 * HOUR, minutes, flows, seed) {
            talk.see(&mut attacked);
        }
        // Long after, so that everything has come out of quarantine and been voted on.
        let later = talk(CAMERA, 5, 443, 61 * HOUR + (minutes * 60 + 7_200) * SEC, 600, 400);
        later.see(&mut attacked);
        talk(CAMERA, 5, 443, 61 * HOUR + (minutes * 60 + 12_000) * SEC, 600, 400).see(&mut attacked);
        let (_, _, _, moved) = camera(&attacked);
        let hours_touched = (minutes / 60 + 2) as f32 + 1.0;
        for (before, moved) in before.iter().zip(&moved) {
            prop_assert!((moved - before).abs() <= hours_touched * votes::STEP_NATS + 1e-3, "{before} {moved}");
        }
        // And telnet has become no habit: attacks of up to two hours touch fewer hours than it takes.
        if minutes <= 120 {
            let again = talk(CAMERA, 9, 23, 61 * HOUR + (minutes * 60 + 12_060) * SEC, 4_000_000, 100);
            prop_assert!(unusual(again.see(&mut attacked)).is_some());
        }
    }

    #[test]
    fn bytes_that_are_no_state_are_refused_and_change_nothing(mut bytes in prop::collection::vec(any::<u8>(), 0..400), cut: u16, flip: u16) {
        let mut memory = fresh();
        prop_assert!(memory.restore(&bytes, AxisShift::NONE).is_err());
        let mut good = Vec::new();
        after(3).save(&mut good);
        bytes = good.clone();
        bytes.truncate(usize::from(cut) % good.len());
        prop_assert!(memory.restore(&bytes, AxisShift::NONE).is_err());
        prop_assert_eq!(memory.baseline.standings(), (0, 0));
        // A changed byte may still be state: either way nothing panics, and bounds hold.
        let at = usize::from(flip) % good.len();
        good[at] ^= 0x55;
        let _ = memory.restore(&good, AxisShift::NONE);
        prop_assert!(memory.baseline.standings().0 <= site().devices_max as u64);
    }
}

#[test]
fn flows_that_a_witness_called_an_attack_do_not_teach_nor_do_those_around_them() {
    let hour = |memory: &mut Memory, marked: bool| {
        for at in 0..40u64 {
            let talk = talk(CAMERA, 77, 6_667, 61 * HOUR + at * 10 * SEC, 500_000, 100);
            talk.see(memory);
            if marked && at == 30 {
                memory.baseline.suspect(&[beacon(&talk.record)]);
            }
        }
        // Something else, later, which lets the quarantine end.
        talk(CAMERA, 5, 443, 63 * HOUR, 600, 400).see(memory);
        camera(memory)
    };
    let (_, clean, ..) = hour(&mut after(60), false);
    let (_, marked, ..) = hour(&mut after(60), true);
    assert_eq!(clean - marked, 40, "none of the pair's flows taught");
}

fn beacon(record: &FlowRecord) -> Finding {
    Finding {
        witness: Witness::Behaviour,
        class: Class::C2,
        kind: "beacon",
        score: 0.5,
        severity: Severity::Info,
        subject: Subject::Pair { src: record.key.src, dst: record.key.dst },
        exemplar: record.key,
        exemplar_id: record.id,
        first_ns: record.start_ns,
        last_ns: record.end_ns,
        reason: String::new(),
        evidence: Vec::new(),
        matched: None,
    }
}

/// Two ordinary days with odd things in between, and an attack.
fn story() -> Vec<Talk> {
    let mut talks = Vec::new();
    for hour in 1..40 {
        talks.extend(hour_of_camera(hour * HOUR));
        if hour % 7 == 0 {
            talks.push(talk(CAMERA, 9, 23, hour * HOUR + 3_500 * SEC, 4_000_000, 100).with_error(2.0));
        }
        talks.push(talk(CAMERA + 1, 8, 22, hour * HOUR + 3_400 * SEC, 900, 9_000).with_error(0.7));
    }
    talks.extend(attack(40 * HOUR, 50, 300, 3));
    talks
}

#[test]
fn a_restart_changes_nothing_that_is_said_even_over_a_reboot() {
    let talks = story();
    let mut one = fresh();
    let expected: Vec<Option<Said>> = talks.iter().map(|talk| talk.see(&mut one)).collect();
    assert!(expected.iter().flatten().count() > 5);
    for restarts in [[300, 301, 800], [5, 700, 1_100]] {
        let mut memory = fresh();
        let mut said = Vec::new();
        // Each restart is a reboot: the clock begins anew, ten seconds before the next flow.
        let mut behind_ns = 0;
        for (at, talk) in talks.iter().enumerate() {
            if restarts.contains(&at) {
                let mut bytes = Vec::new();
                memory.save(&mut bytes);
                let now_behind_ns = talk.record.start_ns - 10 * SEC;
                let shift = AxisShift::by_ns(behind_ns as i64 - now_behind_ns as i64);
                behind_ns = now_behind_ns;
                memory = fresh();
                memory.restore(&bytes, shift).unwrap();
            }
            let mut talk = talk.clone();
            talk.record.start_ns -= behind_ns;
            talk.record.end_ns -= behind_ns;
            said.push(talk.see(&mut memory));
        }
        assert_eq!(said, expected, "{restarts:?}");
    }
}

#[test]
fn another_model_costs_what_was_learned_of_errors_and_nothing_else() {
    let mut bytes = Vec::new();
    after(60).save(&mut bytes);
    let mut other = Memory::new(&site(), THRESHOLD, "another model");
    other.restore(&bytes, AxisShift::NONE).unwrap();
    let (hours, _, known, limits) = camera(&other);
    assert!(known && hours > 50);
    assert_eq!(limits[0], 0.0);
    assert!(limits[1..].iter().all(|limit| *limit > 0.0), "{limits:?}");
    // A large error alone, judged by limits for everybody until it is learned anew, is not held against it.
    assert_eq!(talk(CAMERA, 5, 443, 61 * HOUR, 600, 400).with_error(3.0).see(&mut other), None);
}

#[test]
fn devices_and_what_waits_are_bounded_and_what_goes_is_counted() {
    let settings = SiteSettings { devices_max: 16, ..site() };
    let mut memory = Memory::new(&settings, THRESHOLD, "model");
    let mut count = 0u64;
    for address in 0..3_000u32 {
        let mut flow = talk(1, 5, 443, HOUR + u64::from(address) * SEC, 600, 400);
        flow.record.key.src[13] = (address >> 8) as u8;
        flow.record.key.src[14] = address as u8;
        flow.see(&mut memory);
        count += 1;
    }
    let (learning, known) = memory.baseline.standings();
    assert!(learning <= 16 && known == 0);
    // All but the last ten minutes' have been devices, for a while.
    assert_eq!(memory.baseline.forgotten(), count - 600 - 16);
    let mut bytes = Vec::new();
    memory.save(&mut bytes);
    assert!(bytes.len() < 200_000, "{}", bytes.len());
    for flow in 0..lesson::WAITING_MAX as u64 + 500 {
        talk(1, 5, 443, 9 * HOUR + flow * SEC / 100, 600, 400).see(&mut memory);
    }
    assert!(memory.baseline.forgotten() > count - 600 - 16, "the queue overflowed, counted");
}

#[test]
fn one_device_takes_less_than_four_kilobytes() {
    assert!(size_of::<device::Device>() < 4_096, "{}", size_of::<device::Device>());
    let mut bytes = Vec::new();
    after(60).save(&mut bytes);
    assert!(bytes.len() < 16_384, "{} bytes for one device and its quarantine", bytes.len());
}

#[test]
fn only_inside_addresses_in_their_role_are_devices() {
    let mut memory = fresh();
    for hour in 1..=3u64 {
        for at in 0..20 {
            talk(CAMERA, 5, 443, hour * HOUR + at * 100 * SEC, 600, 400).see(&mut memory);
            // Served within the house, by 10.0.1.23.
            let key = key(host(0, 1, 99), 50_000 + at as u16, host(0, 1, CAMERA), 554, 6);
            let flow = Fabricated::new(key, hour * HOUR + at * 100 * SEC).handshake().exchange(10, 10).closed();
            Talk { record: flow.record(), app: AppProto::Unknown, error: USUAL }.see(&mut memory);
        }
    }
    let mut found: Vec<(String, Role)> =
        memory.baseline.devices().map(|(key, ..)| (say::shown(key.address).to_string(), key.role)).collect();
    found.sort();
    let expected = [("10.0.1.23", Role::Client), ("10.0.1.23", Role::Server), ("10.0.1.99", Role::Client)];
    assert_eq!(found, expected.map(|(address, role)| (address.to_owned(), role)));
}

#[test]
fn the_sites_own_public_networks_are_inside_too() {
    let settings = SiteSettings { home_networks: vec!["203.0.113.0/24".parse().unwrap()], ..site() };
    let mut memory = Memory::new(&settings, THRESHOLD, "model");
    talk(CAMERA, 5, 443, HOUR, 600, 400).see(&mut memory);
    talk(CAMERA, 5, 443, 2 * HOUR, 600, 400).see(&mut memory);
    let servers = memory.baseline.devices().filter(|(key, ..)| key.role == Role::Server).count();
    assert_eq!(servers, 1);
}

#[test]
fn unanswered_flows_are_no_conversation() {
    let mut memory = after(60);
    let key = key(host(0, 1, CAMERA), 40_000, outside(9), 23, 6);
    let flow = Fabricated::new(key, 61 * HOUR).syn().ended(FlowEnd::Idle);
    assert_eq!(Talk { record: flow.record(), app: AppProto::Unknown, error: USUAL }.see(&mut memory), None);
}

#[test]
fn saved_devices_can_be_listed() {
    let mut bytes = Vec::new();
    after(60).save(&mut bytes);
    let part = SavedPart { name: STATE.to_owned(), bytes };
    let lines = devices_of(&part, &site()).unwrap();
    assert_eq!(lines.len(), 1);
    let line = &lines[0];
    assert_eq!((line.address.to_string().as_str(), line.role, line.known), ("10.0.1.23", "client", true));
    assert_eq!(line.services, ["443/tcp"]);
    assert!(line.sent_bytes > 50_000.0 && line.sent_bytes_limit > line.sent_bytes);
    assert!(devices_of(&SavedPart { name: "device_baselines/0".to_owned(), ..part }, &site()).is_err());
}
