//! Feature vectors of flows that look like the one before: in a flood or a scan most differ in nothing that a vector
//! holds. Gives what `extract` gives, to the last bit.

use ids_common::flow::{FlowKey, FlowSlot};

use super::{FeatureVector, extract, window::WindowFacts};
use crate::{flow::FlowRecord, payload::PayloadFacts};

/// Remembers the last flow that nobody answered and that showed no payload.
#[derive(Debug, Default)]
pub struct Repeats {
    last: Option<Box<Last>>,
}

#[derive(Debug)]
struct Last {
    forward: FlowSlot,
    window: WindowFacts,
    vector: FeatureVector,
}

impl Repeats {
    /// Computes the feature vector of a record, or takes that of the last one where it must be the same.
    pub fn extract(&mut self, record: &FlowRecord, window: &WindowFacts, payload: &PayloadFacts) -> FeatureVector {
        if record.backward.is_some() || !is_of_one_moment(record) || *payload != PayloadFacts::default() {
            return extract(record, window, payload);
        }
        if let Some(last) = &self.last
            && last.window == *window
            && last.forward == like(&record.forward, &last.forward)
        {
            return last.vector;
        }
        let vector = extract(record, window, payload);
        let last = Last { forward: record.forward, window: *window, vector };
        match &mut self.last {
            Some(place) => **place = last,
            place => *place = Some(Box::new(last)),
        }
        vector
    }
}

/// Whether all packets came at one time, as a single packet does: its duration is zero then, whatever the time.
fn is_of_one_moment(record: &FlowRecord) -> bool {
    let slot = &record.forward;
    record.start_ns == record.end_ns && slot.first_seen_ns == slot.last_seen_ns && slot.ttl_min == slot.ttl_max
}

/// `slot` with whatever no feature looks at as in `other`: addresses, the source's port, times, the TTL where it does not vary.
fn like(slot: &FlowSlot, other: &FlowSlot) -> FlowSlot {
    FlowSlot {
        key: FlowKey { src: other.key.src, dst: other.key.dst, src_port: other.key.src_port, ..slot.key },
        first_seen_ns: other.first_seen_ns,
        last_seen_ns: other.last_seen_ns,
        ttl_min: other.ttl_min,
        ttl_max: other.ttl_max,
        ..*slot
    }
}

#[cfg(test)]
mod tests {
    use ids_common::wire::{PROTO_TCP, TCP_ACK, TCP_SYN};

    use super::*;
    use crate::{
        fabricated::{Back, Fabricated, SEC, There, host, key},
        payload::{AppProto, ByteFacts},
    };

    /// Flows that differ from the one before in something that a vector holds, or in nothing of the kind.
    fn flows() -> Vec<FlowRecord> {
        let syn = |last: u8, port: u16, at_ns: u64| {
            Fabricated::new(key(host(0, 0, last), port, host(1, 0, 1), 80, PROTO_TCP), at_ns)
        };
        let other_port = Fabricated::new(key(host(0, 0, 1), 1_024, host(1, 0, 1), 22, PROTO_TCP), SEC);
        let mut records: Vec<FlowRecord> = [
            syn(1, 1_024, SEC).syn(),
            syn(2, 4_711, 2 * SEC).syn(),
            syn(2, 4_711, 2 * SEC).window(512).packet(There, TCP_SYN, 0),
            syn(3, 9, 3 * SEC).packet(There, TCP_ACK, 0),
            other_port.syn(),
            // Twice in a moment, and twice with a second between.
            syn(4, 9, 4 * SEC).syn().syn(),
            syn(5, 9, 5 * SEC).syn().wait(SEC).syn(),
            syn(6, 9, 6 * SEC).syn().wait(2 * SEC).syn(),
            syn(7, 9, 7 * SEC).syn().packet(Back, TCP_SYN | TCP_ACK, 0),
            syn(8, 9, 8 * SEC).syn(),
            syn(9, 9, 9 * SEC).packet(There, TCP_SYN, 40),
        ]
        .map(|flow| flow.record())
        .to_vec();
        let mut far = records[0].clone();
        (far.forward.ttl_min, far.forward.ttl_max) = (31, 31);
        records.push(far.clone());
        far.forward.ttl_max = 64;
        records.push(far);
        records
    }

    #[test]
    fn every_flow_gets_the_vector_that_it_gets_alone_whatever_came_before() {
        let windows = [1.0, 400.0].map(|flows| WindowFacts { dst_flows_10s: flows, ..WindowFacts::default() });
        let told = PayloadFacts {
            app: AppProto::Http,
            forward: ByteFacts { bytes: 9, ..ByteFacts::default() },
            ..PayloadFacts::default()
        };
        let payloads = [PayloadFacts::default(), told];
        let flows = flows();
        for one in &flows {
            for other in &flows {
                for (window, payload) in
                    windows.iter().flat_map(|window| payloads.iter().map(move |facts| (window, facts)))
                {
                    let mut repeats = Repeats::default();
                    repeats.extract(one, &windows[0], &payloads[0]);
                    let found = repeats.extract(other, window, payload);
                    assert_eq!(
                        found.values.map(f32::to_bits),
                        extract(other, window, payload).values.map(f32::to_bits)
                    );
                }
            }
        }
    }

    #[test]
    fn a_flood_is_worked_out_once() {
        let flows = flows();
        let mut repeats = Repeats::default();
        let window = WindowFacts::default();
        repeats.extract(&flows[0], &window, &PayloadFacts::default());
        // Told apart from a vector that was worked out anew.
        if let Some(last) = &mut repeats.last {
            last.vector.values[0] = 4_711.0;
        }
        assert_eq!(repeats.extract(&flows[1], &window, &PayloadFacts::default()).values[0], 4_711.0);
        assert_ne!(repeats.extract(&flows[2], &window, &PayloadFacts::default()).values[0], 4_711.0);
    }
}
