//! The parser as the kernel runs it: every shape of frame through the XDP and tc programs by
//! BPF_PROG_TEST_RUN leaves exactly the slot, or the skip, that the user path has for it.
#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that fails")]

use ids_agent::{
    config::{CaptureSettings, FlowSettings, SampleSettings},
    kernel::test_run::{Entry, FRAME_BYTES_MIN, TestRun},
    source::{Batch, SlotState, Totals},
};
use ids_common::{
    counter::{Counter, Skip},
    flow::{Continuity, FlowSlot},
    parse::{Frame, Link, parse},
};
use ids_tests::{
    probe::{Need, can_run},
    shapes::{self, Shape},
};

const SECOND: u64 = 1_000_000_000;
const LINK_AND_IP_BYTES: usize = 14 + 40;

/// The programs, and what they have counted so far.
struct Programs {
    run: TestRun,
    batch: Batch,
    now_ns: u64,
    seen: Totals,
    frames: u64,
    /// Frames that the kernel would not run tc programs on.
    refused: u64,
}

impl Programs {
    fn load() -> Self {
        let capture = CaptureSettings { sets_per_cpu: 64, ring_bytes: 1 << 20, ..CaptureSettings::default() };
        // The test sweeps after every frame, so ticks may be far apart.
        let flow = FlowSettings { tick_millis: 3_600_000, ..FlowSettings::default() };
        let run = TestRun::new(&capture, &flow, &SampleSettings::default()).unwrap();
        Self { run, batch: Batch::default(), now_ns: 1_000 * SECOND, seen: Totals::default(), frames: 0, refused: 0 }
    }

    /// Runs one frame and compares what it left with what the user path says.
    fn check(&mut self, entry: Entry, bytes: &[u8], wire_len: usize, what: impl Fn() -> String) {
        // Long enough a silence that no slot goes on: each packet leaves a slot of its own.
        self.now_ns += 3 * SECOND;
        let ran = self.run.feed(entry, self.now_ns, bytes, wire_len, |_| {}, &mut Batch::default());
        if ran.is_err() && entry != Entry::Xdp && bytes.len() < LINK_AND_IP_BYTES {
            // No skb is made of a frame that ends inside its network header.
            self.refused += 1;
            return;
        }
        ran.unwrap();
        self.run.sweep(self.now_ns + 1, SlotState::Open, &mut self.batch);
        self.frames += 1;

        let before = self.seen;
        self.seen = self.batch.totals;
        let more = |count: &dyn Fn(&Totals) -> u64| count(&self.seen) - count(&before);
        let slot = self.batch.slots.iter().find(|update| update.slot.first_seen_ns == self.now_ns);
        assert_eq!(more(&|totals| totals.counter(Counter::PacketsSeen)), 1, "{}", what());
        match parse(&Frame::new(bytes, wire_len), Link::Ethernet) {
            Ok(meta) => {
                let expected = FlowSlot::begin(&meta, self.now_ns, Continuity::Continues);
                assert_eq!(slot.map(|update| update.slot), Some(expected), "{}: {bytes:02x?}", what());
                assert_eq!(more(&|totals| totals.counter(Counter::FlowPackets)), 1, "{}", what());
                assert_eq!(more(&|totals| totals.counter(Counter::FlowBytes)), u64::from(meta.len), "{}", what());
                assert_eq!(more(&Totals::skipped_all), 0, "{}", what());
                if meta.payload_len > 0 && !meta.key.is_later_fragment() {
                    self.check_sample(bytes, wire_len, &what);
                }
            }
            Err(skip) => {
                let reasons: Vec<_> = Skip::ALL.into_iter().filter(|skip| more(&|t| t.skipped(*skip)) > 0).collect();
                assert_eq!(reasons, [skip], "{}: {bytes:02x?}", what());
                assert!(slot.is_none(), "{}: skipped, and yet counted", what());
            }
        }
    }

    fn report(&self) {
        println!("{} frames through the kernel programs, all equal; {} refused for tc", self.frames, self.refused);
        assert!(self.refused * 20 < self.frames);
    }

    fn check_sample(&self, bytes: &[u8], wire_len: usize, what: &impl Fn() -> String) {
        let frame = Frame::new(bytes, wire_len);
        let meta = parse(&frame, Link::Ethernet).unwrap();
        let payload = frame.payload(&meta, SampleSettings::default().bytes as usize);
        let sample = self.batch.samples.iter().find(|sample| sample.seen_ns == self.now_ns);
        assert_eq!(sample.map_or(&[][..], |sample| self.batch.payload(sample)), payload, "{}", what());
        if let Some(sample) = sample {
            assert_eq!((sample.key, sample.payload_len, sample.index), (meta.key, meta.payload_len, 0), "{}", what());
        }
    }
}

fn frames(shapes: Vec<Shape>) -> impl Iterator<Item = Shape> {
    shapes.into_iter().filter(|shape| shape.link == Link::Ethernet && shape.bytes.len() >= FRAME_BYTES_MIN)
}

const ENTRIES: [Entry; 3] = [Entry::Xdp, Entry::TcIngress, Entry::TcEgress];

#[test]
fn every_shape_leaves_the_slot_of_the_user_path() {
    if !can_run("the kernel parser matrix", &[Need::Root]) {
        return;
    }
    let mut programs = Programs::load();
    let broken = shapes::broken().into_iter().map(|(shape, _)| shape).collect();
    for shape in frames(shapes::matrix()).chain(frames(broken)) {
        for entry in ENTRIES {
            programs.check(entry, &shape.bytes, shape.bytes.len(), || format!("{} through {entry:?}", shape.name));
        }
    }
    programs.report();
}

#[test]
fn frames_cut_anywhere_leave_the_slot_of_the_user_path() {
    if !can_run("the kernel parser cut at every byte", &[Need::Root]) {
        return;
    }
    let mut programs = Programs::load();
    // The cuts of each shape are spread over the entries, and every byte of every tenth shape is changed.
    for (n, shape) in frames(shapes::samples()).enumerate() {
        for cut in FRAME_BYTES_MIN..shape.bytes.len() {
            let entry = ENTRIES[(n + cut) % ENTRIES.len()];
            let what = || format!("{} through {entry:?}, cut at {cut}", shape.name);
            let wire_len = if cut % 2 == 0 { cut } else { shape.bytes.len() };
            programs.check(entry, &shape.bytes[..cut], wire_len, what);
        }
        if n % 10 != 0 {
            continue;
        }
        let mut changed = shape.bytes.clone();
        for at in 12..changed.len().min(120) {
            for value in [0x00, 0xff, shape.bytes[at] ^ 0x10] {
                changed[at] = value;
                let entry = ENTRIES[(n + at) % ENTRIES.len()];
                let what = || format!("{} through {entry:?}, byte {at} set to {value:#04x}", shape.name);
                programs.check(entry, &changed, changed.len(), what);
            }
            changed[at] = shape.bytes[at];
        }
    }
    programs.report();
}
