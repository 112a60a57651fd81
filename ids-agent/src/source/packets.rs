//! The flow table of user space: packets in, slots out, by the accounting that the kernel program
//! uses. Knows nothing of files and ticks nobody: time comes with each packet.

use std::collections::VecDeque;

use hashbrown::HashTable;
use ids_common::{
    counter::{Counter, Skip},
    flow::{Continuity, FlowSlot},
    hash::{HashSecret, hash},
    message,
    parse::{Frame, Link, PacketMeta, parse},
};

use crate::{
    config::{FlowSettings, SampleSettings},
    source::{Batch, Sample, SlotState, SlotUpdate, Totals},
};

/// Slots held at once by default: 25 MiB, what four CPUs hold in the kernel.
pub const SLOTS_MAX_DEFAULT: usize = 1 << 17;

/// Partition that a slot of this table says it comes from.
const CPU: u32 = 0;

/// Bounds and rules of a table; both worlds take them from the same settings.
#[derive(Clone, Copy, Debug)]
pub struct PacketSettings {
    /// The longest silence that a slot spans.
    pub slot_silence_ns: u64,
    /// Payload packets sampled of each slot.
    pub sample_packets: u32,
    /// Payload packets of each slot among which those that begin a message are sampled too.
    pub sample_heads: u32,
    /// Bytes kept of each sampled payload.
    pub sample_bytes: u32,
    /// Slots held at once; the oldest leaves for the next one.
    pub slots_max: usize,
}

impl PacketSettings {
    pub fn new(flow: &FlowSettings, sample: &SampleSettings) -> Self {
        Self {
            slot_silence_ns: flow.slot_silence_ns(),
            sample_packets: sample.packets,
            sample_heads: sample.heads,
            sample_bytes: sample.bytes,
            slots_max: SLOTS_MAX_DEFAULT,
        }
    }
}

impl PacketSettings {
    /// Payload packets of a slot of which any are sampled.
    fn sample_among(&self) -> u32 {
        self.sample_packets.max(self.sample_heads)
    }
}

fn begins_message(frame: &Frame<'_>, meta: &PacketMeta) -> bool {
    let front = frame.payload(meta, message::FRONT_BYTES);
    front.try_into().is_ok_and(|front| message::begins(u64::from_le_bytes(front), meta.key.proto))
}

/// Slots of the directions that spoke lately.
pub struct PacketTable {
    settings: PacketSettings,
    index: HashTable<u32>,
    slots: Vec<FlowSlot>,
    /// The tick in which each slot last changed.
    changed_in: Vec<u32>,
    free: Vec<u32>,
    tick: u32,
    /// Slots that changed in this tick, in the order of their first change.
    changed: Vec<u32>,
    /// Where the search for a victim among this tick's slots goes on.
    victims_tried: usize,
    /// Slots by the tick they changed in, oldest first; an entry is void if its slot changed since.
    ageing: VecDeque<Ageing>,
    last_tick_ns: u64,
    totals: Totals,
}

#[derive(Clone, Copy)]
struct Ageing {
    slot: u32,
    tick: u32,
    tick_end_ns: u64,
}

impl PacketTable {
    pub fn new(settings: &PacketSettings) -> Self {
        Self {
            settings: PacketSettings { slots_max: settings.slots_max.clamp(1, u32::MAX as usize), ..*settings },
            index: HashTable::new(),
            slots: Vec::new(),
            changed_in: Vec::new(),
            free: Vec::new(),
            tick: 1,
            changed: Vec::new(),
            victims_tried: 0,
            ageing: VecDeque::new(),
            last_tick_ns: 0,
            totals: Totals::default(),
        }
    }

    /// Counts one frame: its samples, and slots that it displaced, go to `batch` at once.
    ///
    /// `now_ns` never decreases from call to call.
    #[inline]
    pub fn packet(&mut self, frame: &Frame<'_>, link: Link, now_ns: u64, batch: &mut Batch) {
        self.totals.add(Counter::PacketsSeen, 1);
        match parse(frame, link) {
            Ok(meta) => self.count(frame, &meta, now_ns, batch),
            Err(skip) => self.totals.add_skip(skip),
        }
    }

    /// Counts a frame that nothing can parse, for the reason given.
    pub fn skip(&mut self, reason: Skip) {
        self.totals.add(Counter::PacketsSeen, 1);
        self.totals.add_skip(reason);
    }

    /// Ends a tick at `now_ns`: every slot that changed in it goes to `batch`, and slots that were
    /// silent for too long to go on leave the table.
    pub fn tick(&mut self, now_ns: u64, batch: &mut Batch) {
        self.expire(batch);
        for &at in &self.changed {
            batch.slots.push(SlotUpdate { cpu: CPU, state: SlotState::Open, slot: self.slots[at as usize] });
            self.ageing.push_back(Ageing { slot: at, tick: self.tick, tick_end_ns: now_ns });
        }
        self.changed.clear();
        self.victims_tried = 0;
        self.last_tick_ns = now_ns;
        self.tick = self.tick.wrapping_add(1).max(1);
        batch.now_ns = now_ns;
        batch.totals = self.totals;
    }

    /// Ends the last tick: every slot leaves the table, in the order in which they last changed.
    pub fn finish(&mut self, now_ns: u64, batch: &mut Batch) {
        while let Some(entry) = self.ageing.pop_front() {
            if self.changed_in[entry.slot as usize] == entry.tick {
                self.leave(entry.slot, batch);
            }
        }
        for at in std::mem::take(&mut self.changed) {
            self.leave(at, batch);
        }
        self.slots.clear();
        self.changed_in.clear();
        self.free.clear();
        self.tick(now_ns, batch);
    }

    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    /// Slots in the table.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    #[inline]
    fn count(&mut self, frame: &Frame<'_>, meta: &PacketMeta, now_ns: u64, batch: &mut Batch) {
        self.totals.add(Counter::FlowPackets, u64::from(meta.segments.max(1)));
        self.totals.add(Counter::FlowBytes, u64::from(meta.len));
        let hashed = hash(&meta.key, &HashSecret::FIXED);
        let found = self.index.find(hashed, |&at| self.slots[at as usize].key.same(&meta.key)).copied();
        let Some(at) = found else {
            let slot = FlowSlot::begin(meta, now_ns, Continuity::Continues);
            self.sample(frame, meta, now_ns, 0, now_ns, batch);
            self.insert(hashed, slot, batch);
            return;
        };
        let slot = &mut self.slots[at as usize];
        let payload_packets_before = match slot.continuity(meta, now_ns, self.settings.slot_silence_ns) {
            Continuity::Continues => {
                let before = slot.payload_packets;
                slot.update(meta, now_ns);
                before
            }
            reason @ (Continuity::AfterSilence | Continuity::NewConnection) => {
                batch.slots.push(SlotUpdate { cpu: CPU, state: SlotState::Closed, slot: *slot });
                self.totals.add(Counter::SlotsEvicted, 1);
                *slot = FlowSlot::begin(meta, now_ns, reason);
                0
            }
        };
        if meta.payload_len > 0 && payload_packets_before < self.settings.sample_among() {
            let slot_first_seen_ns = slot.first_seen_ns;
            self.sample(frame, meta, slot_first_seen_ns, payload_packets_before, now_ns, batch);
        }
        self.mark_changed(at);
    }

    #[inline]
    fn mark_changed(&mut self, at: u32) {
        let changed_in = &mut self.changed_in[at as usize];
        if *changed_in != self.tick {
            *changed_in = self.tick;
            self.changed.push(at);
        }
    }

    /// Copies the payload of a slot's first payload packets, and of those behind them that begin a message. Later
    /// fragments begin in the middle of one and are left out.
    fn sample(
        &mut self,
        frame: &Frame<'_>,
        meta: &PacketMeta,
        slot_first_seen_ns: u64,
        index: u32,
        now_ns: u64,
        batch: &mut Batch,
    ) {
        if meta.payload_len == 0 || index >= self.settings.sample_among() || meta.key.is_later_fragment() {
            return;
        }
        if index >= self.settings.sample_packets && !begins_message(frame, meta) {
            return;
        }
        let payload = frame.payload(meta, self.settings.sample_bytes as usize);
        let payload_start = batch.payloads.len() as u32;
        batch.payloads.extend_from_slice(payload);
        batch.samples.push(Sample {
            key: meta.key,
            seen_ns: now_ns,
            slot_first_seen_ns,
            payload_len: meta.payload_len,
            index,
            payload_start,
            captured: payload.len() as u32,
        });
        self.totals.add(Counter::SamplesSent, 1);
    }

    fn insert(&mut self, hashed: u64, slot: FlowSlot, batch: &mut Batch) {
        let at = self.room(batch);
        if let Some(place) = self.slots.get_mut(at as usize) {
            *place = slot;
        } else {
            self.slots.push(slot);
            self.changed_in.push(0);
        }
        let slots = &self.slots;
        self.index.insert_unique(hashed, at, |&at| hash(&slots[at as usize].key, &HashSecret::FIXED));
        self.mark_changed(at);
    }

    /// Finds a place for one more slot, at the expense of the oldest where the table is full.
    fn room(&mut self, batch: &mut Batch) -> u32 {
        if let Some(at) = self.free.pop() {
            return at;
        }
        if self.slots.len() < self.settings.slots_max {
            return self.slots.len() as u32;
        }
        let at = self.oldest();
        self.totals.add(Counter::SlotsEvicted, 1);
        self.leave(at, batch);
        at
    }

    /// The slot that changed longest ago; among those of one tick, the one that changed first.
    fn oldest(&mut self) -> u32 {
        while let Some(entry) = self.ageing.pop_front() {
            if self.changed_in[entry.slot as usize] == entry.tick {
                return entry.slot;
            }
        }
        // Every slot changed in this tick: take them in turn, for each is as old as the next.
        let at = self.changed[self.victims_tried % self.changed.len()];
        self.victims_tried += 1;
        at
    }

    fn expire(&mut self, batch: &mut Batch) {
        // One tick more than needed, so that readers know by its age alone that a slot brings no news.
        while let Some(entry) = self.ageing.front().copied()
            && self.last_tick_ns.saturating_sub(entry.tick_end_ns) >= self.settings.slot_silence_ns
        {
            self.ageing.pop_front();
            if self.changed_in[entry.slot as usize] == entry.tick {
                self.leave(entry.slot, batch);
                self.changed_in[entry.slot as usize] = 0;
                self.free.push(entry.slot);
            }
        }
    }

    /// Emits a slot's last state and forgets its key. Its place is the caller's.
    fn leave(&mut self, at: u32, batch: &mut Batch) {
        let slot = self.slots[at as usize];
        batch.slots.push(SlotUpdate { cpu: CPU, state: SlotState::Closed, slot });
        if let Ok(entry) = self.index.find_entry(hash(&slot.key, &HashSecret::FIXED), |&other| other == at) {
            entry.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An Ethernet frame with a TCP segment from one port.
    fn frame(port: u16, payload: &[u8]) -> Vec<u8> {
        let total = (40 + payload.len()) as u16;
        let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
        frame.extend([0x45, 0, total.to_be_bytes()[0], total.to_be_bytes()[1], 0, 0, 0x40, 0, 64, 6, 0, 0]);
        frame.extend([10, 0, 0, 1, 10, 0, 0, 2]);
        frame.extend(port.to_be_bytes());
        frame.extend([0, 80, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x18, 1, 0, 0, 0, 0, 0]);
        frame.extend_from_slice(payload);
        // What Ethernet adds to short frames is no payload.
        frame.resize(frame.len().max(60), b'G');
        frame
    }

    /// Which payload packets of a slot are sampled.
    fn sampled(sample: &SampleSettings, payloads: &[&[u8]]) -> Vec<u32> {
        let mut table = PacketTable::new(&PacketSettings::new(&FlowSettings::default(), sample));
        let mut batch = Batch::default();
        for (at, payload) in (0u64..).zip(payloads) {
            let bytes = frame(40_000, payload);
            table.packet(&Frame::new(&bytes, bytes.len()), Link::Ethernet, 1_000 + at, &mut batch);
        }
        assert_eq!(table.totals().counter(Counter::SamplesSent), batch.samples.len() as u64);
        batch.samples.iter().map(|sample| sample.index).collect()
    }

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\n\r\n";
    const DATA: &[u8] = b"some more of the same body, as it comes";

    #[test]
    fn beyond_the_first_packets_those_that_begin_a_message_are_sampled_up_to_a_bound() {
        let payloads = [DATA, DATA, REQUEST, DATA, REQUEST, b"GET ", DATA, REQUEST, REQUEST, REQUEST];
        let sample = SampleSettings { packets: 2, heads: 9, bytes: 64 };
        assert_eq!(sampled(&sample, &payloads), [0, 1, 2, 4, 7, 8]);
        assert_eq!(sampled(&SampleSettings { heads: 0, ..sample }, &payloads), [0, 1]);
        assert_eq!(sampled(&SampleSettings { packets: 0, ..sample }, &payloads), [2, 4, 7, 8]);
        assert_eq!(sampled(&SampleSettings { packets: 4, heads: 3, ..sample }, &payloads), [0, 1, 2, 3]);
    }
}
