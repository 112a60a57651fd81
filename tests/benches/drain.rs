//! What reading the kernel's table takes a slot, against a hash map of the same entries that is read by system calls: entry
//! by entry (next key, look up, delete) and in batches. Needs root; sends no packet.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use aya::maps::HashMap;
use ids_agent::{
    config::{CaptureSettings, FlowSettings, SampleSettings},
    kernel::test_run::{Entry, TestRun},
    source::{Batch, SlotState},
};
use ids_common::flow::{FlowKey, FlowSlot};
use ids_tests::frame;
use serde_json::{Value, json};

use crate::rounds::{bounded, over, secs, spread};

const ROUNDS: usize = 9;
/// Entries of every map, some more than what the table is asked to hold at once.
const ENTRIES: u32 = 32_768;
const SETS: u32 = 16_384;
/// Our time a slot, of what reading and deleting a hash map's entries takes one by one.
const OVER_ITERATED_MAX: f64 = 0.02;

type Key = [u8; size_of::<FlowKey>()];
type Slot = [u8; size_of::<FlowSlot>()];

pub(crate) fn run() -> Value {
    let frame = frame::ethernet(
        0x0800,
        &frame::Ipv4::between([10, 0, 0, 1], [10, 0, 0, 2], 6)
            .wrap(&frame::Tcp::ports(40_000, 443, 0x10).wrap(&[0; 64])),
    );
    let sample = SampleSettings { packets: 0, heads: 0, bytes: 0 };
    let capture = |sets_per_cpu| CaptureSettings { sets_per_cpu, ..CaptureSettings::default() };
    let mut table = TestRun::new(&capture(SETS), &FlowSettings::default(), &sample).expect("loading");
    let mut grace = TestRun::with_live_clock(&capture(64), &FlowSettings::default(), &sample).expect("loading");
    table.set_random_mask(ENTRIES - 1);
    let all = f64::from(table.kernel().sets_per_cpu() * table.kernel().cpus() * 4);
    let mut hash: HashMap<_, Key, Slot> = HashMap::create(ENTRIES, 0).expect("a hash map");
    let batches = Batches::find();
    let mut batch = Batch::default();
    let (mut changed, mut scanned, mut iterated, mut batched, mut waited) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        table.run(Entry::Random, &frame, ENTRIES * 8).expect("running");
        let taken = secs(|| table.sweep(0, SlotState::Open, &mut batch));
        let slots = batch.slots.len().max(1) as f64;
        assert!(slots > f64::from(ENTRIES) * 0.9, "{slots} slots changed");
        changed.push(taken * 1e9 / slots);
        scanned.push(secs(|| table.sweep(0, SlotState::Open, &mut batch)) * 1e9 / all);
        waited.push(secs(|| grace.sweep(0, SlotState::Open, &mut batch)) * 1e6);
        iterated.push(one_by_one(&mut hash) * 1e9 / f64::from(ENTRIES));
        if let Some(batches) = &batches {
            batched.push(batches.ns_per_entry());
        }
    }
    let mut ratios = json!({
        "over_iterated_hash": bounded(over(&changed, &iterated), OVER_ITERATED_MAX),
    });
    if batches.is_some() {
        ratios["over_batched_hash"] = spread(over(&changed, &batched));
    }
    json!({
        "entries": ENTRIES,
        "ratios": ratios,
        "changed_slot_ns": spread(changed),
        "unchanged_slot_ns": spread(scanned),
        "grace_period_us": spread(waited),
        "iterated_entry_ns": spread(iterated),
        "batched_entry_ns": if batches.is_some() { spread(batched) } else { Value::Null },
    })
}

/// Fills the map, then reads and deletes each of its entries; seconds that reading and deleting took.
fn one_by_one(hash: &mut HashMap<aya::maps::MapData, Key, Slot>) -> f64 {
    for number in 0..ENTRIES {
        let mut key: Key = [0; size_of::<FlowKey>()];
        key[..4].copy_from_slice(&number.to_ne_bytes());
        hash.insert(key, [1; size_of::<FlowSlot>()], 0).expect("an entry");
    }
    let mut bytes = 0;
    let taken = secs(|| {
        let keys: Vec<Key> = hash.keys().map(|key| key.expect("a key")).collect();
        for key in &keys {
            bytes += hash.get(key, 0).expect("a value").len();
            hash.remove(key).expect("an entry");
        }
    });
    assert_eq!(bytes, ENTRIES as usize * size_of::<FlowSlot>());
    taken
}

/// The same by the batch calls, which aya lacks: a small script calls the kernel itself.
struct Batches(&'static Path);

impl Batches {
    fn find() -> Option<Self> {
        let script = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/batched.py"));
        let found = Command::new("python3").arg("--version").stdout(Stdio::null()).status();
        if found.is_ok_and(|status| status.success()) {
            Some(Self(script))
        } else {
            eprintln!("batched reading is left out: there is no python3");
            None
        }
    }

    fn ns_per_entry(&self) -> f64 {
        let sizes = [ENTRIES as usize, size_of::<FlowKey>(), size_of::<FlowSlot>()].map(|size| size.to_string());
        let output =
            Command::new("python3").arg(self.0).args(sizes).stderr(Stdio::inherit()).output().expect("python3");
        assert!(output.status.success(), "{}", output.status);
        String::from_utf8_lossy(&output.stdout).trim().parse().expect("nanoseconds")
    }
}
