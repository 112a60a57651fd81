//! What joining Suricata's alerts with flows costs a flow: every flow is seen twice, begun and ended, and one in fifty has an
//! alert.

use std::{hint::black_box, time::Instant};

use ids_agent::{
    detect::{Detector, Judged, signature::Signature},
    eve::{EveAlert, EveDetail, EveEvent, EveTuple, EveType},
    features::FeatureVector,
    flow::{FlowEnd, FlowRecord, FlowState, community_id},
    payload::PayloadFacts,
};
use ids_common::{
    flow::{Continuity, FlowKey, FlowSlot},
    parse::PacketMeta,
};
use serde_json::{Value, json};

use crate::rounds::bounded;

const ROUNDS: usize = 9;
const FLOWS: u64 = 100_000;
/// Flows of one tick.
const TICK_FLOWS: usize = 1_000;
const ALERT_EVERY: u64 = 50;
/// Microseconds a flow.
const BAR_US: f64 = 2.0;

pub(crate) fn run() -> Value {
    let (records, events): (Vec<FlowRecord>, Vec<Option<EveEvent>>) = (0..FLOWS).map(flow).unzip();
    let rounds = (0..ROUNDS).map(|_| join(&records, &events)).collect();
    json!({ "flows": FLOWS, "alerts": FLOWS / ALERT_EVERY, "ratios": { "us_per_flow": bounded(rounds, BAR_US) } })
}

fn flow(number: u64) -> (FlowRecord, Option<EveEvent>) {
    let word = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut src = [0; 16];
    src[10..12].copy_from_slice(&[0xff, 0xff]);
    let mut dst = src;
    src[12..].copy_from_slice(&(word as u32).to_be_bytes());
    dst[12..].copy_from_slice(&[192, 0, 2, (number % 200) as u8]);
    let key = FlowKey { src, dst, src_port: (word >> 40) as u16, dst_port: 443, proto: 6, kind: 0, vlan: 0 };
    let at_ns = 1_767_225_600_000_000_000 + number * 500_000;
    let meta = PacketMeta { key, len: 60, tcp_flags: 2, ..PacketMeta::default() };
    let forward = FlowSlot::begin(&meta, at_ns, Continuity::Continues);
    let record = FlowRecord {
        id: word >> 12,
        key,
        forward,
        backward: None,
        start_ns: at_ns,
        end_ns: at_ns + 1_000_000,
        state: FlowState::Open,
    };
    let event = number.is_multiple_of(ALERT_EVERY).then(|| alert(&record));
    (record, event)
}

fn alert(record: &FlowRecord) -> EveEvent {
    let FlowKey { src, dst, src_port, dst_port, proto, .. } = record.key;
    let alert = EveAlert {
        gid: 1,
        sid: 2_024_000 + (record.id % 40) as u32,
        rev: 1,
        signature: "ET MALWARE Checkin".into(),
        category: "A Network Trojan was detected".into(),
        severity: 1,
        blocked: false,
        techniques: Vec::new(),
        stated_severity: None,
        stated_confidence: None,
        flow: None,
    };
    EveEvent {
        at_ns: record.start_ns,
        tuple: Some(EveTuple { src, dst, src_port, dst_port, proto, vlan: 0 }),
        community_id: Some(community_id(&record.key).into()),
        flow_start_ns: Some(record.start_ns),
        flow_id: record.id,
        kind: EveType::Alert,
        detail: EveDetail::Alert(Box::new(alert)),
        app: None,
    }
}

/// Microseconds a flow.
fn join(records: &[FlowRecord], events: &[Option<EveEvent>]) -> f64 {
    let mut signature = Signature::new(Vec::new(), 7);
    let (features, payload) = (FeatureVector::ZERO, PayloadFacts::default());
    let ended: Vec<FlowRecord> =
        records.iter().map(|record| FlowRecord { state: FlowState::Ended(FlowEnd::Fin), ..record.clone() }).collect();
    let events: Vec<Vec<EveEvent>> =
        events.chunks(TICK_FLOWS).map(|chunk| chunk.iter().flatten().cloned().collect()).collect();
    let mut findings = Vec::new();
    let begin = Instant::now();
    for ((begun, over), heard) in records.chunks(TICK_FLOWS).zip(ended.chunks(TICK_FLOWS)).zip(&events) {
        let now_ns = begun.last().unwrap().end_ns;
        signature.hear(heard, now_ns);
        for records in [begun, over] {
            let flows: Vec<Judged<'_>> =
                records.iter().map(|record| Judged { record, features: &features, payload: &payload }).collect();
            signature.judge(&flows, now_ns, &mut findings);
            for record in records {
                let mut facts = PayloadFacts::default();
                signature.tell(record, &mut facts);
                black_box(&facts);
            }
        }
    }
    let us = begin.elapsed().as_secs_f64() * 1e6 / records.len() as f64;
    let join = signature.stats().join.unwrap();
    assert!(join.is_conserved() && join.joined() == FLOWS / ALERT_EVERY, "{join:?}");
    assert_eq!(findings.len() as u64, FLOWS / ALERT_EVERY);
    us
}
