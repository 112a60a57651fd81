//! Drains the ring buffer into a batch: payload samples and slots that left the table.

use std::fmt;

use aya::maps::{MapData, RingBuf};
use ids_common::sample::{EvictedSlot, KIND_SAMPLE, KIND_SLOT, SampleHeader};
use zerocopy::FromBytes;

use crate::source::{Batch, Sample, SlotState, SlotUpdate};

/// The ring, with a count of what nobody understood.
pub(super) struct Ring {
    ring: RingBuf<MapData>,
    bytes: u32,
    /// Records of no known kind or of a wrong size. The ABI check rules them out.
    unknown: u64,
}

impl Ring {
    pub(super) fn new(ring: RingBuf<MapData>, bytes: u32) -> Self {
        Self { ring, bytes, unknown: 0 }
    }

    pub(super) fn bytes(&self) -> u32 {
        self.bytes
    }

    pub(super) fn unknown(&self) -> u64 {
        self.unknown
    }

    /// Appends up to `records_max` waiting records to the batch; says how many there were.
    pub(super) fn drain(&mut self, records_max: usize, batch: &mut Batch) -> usize {
        let mut drained = 0;
        while drained < records_max
            && let Some(record) = self.ring.next()
        {
            drained += 1;
            if append(&record, batch).is_none() {
                self.unknown += 1;
            }
        }
        drained
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring").field("unknown", &self.unknown).finish_non_exhaustive()
    }
}

/// Takes one record apart; `None` where it is none of ours.
fn append(record: &[u8], batch: &mut Batch) -> Option<()> {
    let (kind, _) = u32::read_from_prefix(record).ok()?;
    match kind {
        KIND_SLOT => {
            let (evicted, _) = EvictedSlot::read_from_prefix(record).ok()?;
            batch.slots.push(SlotUpdate { cpu: evicted.cpu, state: SlotState::Closed, slot: evicted.slot });
        }
        KIND_SAMPLE => {
            let (header, payload) = SampleHeader::read_from_prefix(record).ok()?;
            let payload = payload.get(..header.captured as usize)?;
            let payload_start = u32::try_from(batch.payloads.len()).ok()?;
            batch.payloads.extend_from_slice(payload);
            batch.samples.push(Sample {
                key: header.key,
                seen_ns: header.seen_ns,
                slot_first_seen_ns: header.slot_first_seen_ns,
                payload_len: header.payload_len,
                index: header.index,
                payload_start,
                captured: header.captured,
            });
        }
        _ => return None,
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_unknown_kind_or_wrong_size_are_refused() {
        let mut batch = Batch::default();
        assert_eq!(append(&[], &mut batch), None);
        assert_eq!(append(&9_u32.to_ne_bytes(), &mut batch), None);
        let mut cut = [0_u8; size_of::<SampleHeader>()];
        cut[..4].copy_from_slice(&KIND_SAMPLE.to_ne_bytes());
        cut[4..8].copy_from_slice(&7_u32.to_ne_bytes());
        assert_eq!(append(&cut, &mut batch), None);
        assert!(batch.samples.is_empty() && batch.slots.is_empty());
    }
}
