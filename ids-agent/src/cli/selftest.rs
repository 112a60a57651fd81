//! `selftest`: built-in frames through the kernel program and through the user path, compared.

use ids_common::{
    counter::{Counter, Skip},
    flow::FlowSlot,
    parse::{Frame, Link},
};
use serde::Serialize;

use super::{
    Failure, print,
    table::{number, table},
};
use crate::{
    config::{CaptureSettings, FlowSettings, SampleSettings},
    kernel::{
        KernelError,
        test_run::{Entry, TestRun},
    },
    source::{
        Batch, Totals,
        packets::{PacketSettings, PacketTable},
    },
};
use clap::Args;

#[derive(Debug, Args)]
pub(super) struct SelftestArgs {
    /// Print the comparison as JSON
    #[arg(long)]
    json: bool,
}

mod frames;

/// When the first frame is seen, and the time between two.
const START_NS: u64 = 1_000_000_000_000;
const GAP_NS: u64 = 1_000_000;
/// A table this small is soon loaded.
const SETS_PER_CPU: u32 = 64;

/// What one path made of the frames.
struct Account {
    totals: Totals,
    /// Closed slots, by key.
    slots: Vec<FlowSlot>,
    /// Key bytes, index and payload of each sample, by key.
    samples: Vec<([u64; 5], u32, Vec<u8>)>,
}

impl Account {
    fn of(batches: Vec<Batch>, totals: Totals) -> Self {
        let mut slots = Vec::new();
        let mut samples = Vec::new();
        for batch in &batches {
            slots.extend(batch.slots.iter().map(|update| update.slot));
            samples.extend(
                batch.samples.iter().map(|sample| (sample.key.words(), sample.index, batch.payload(sample).to_vec())),
            );
        }
        slots.sort_by_key(|slot| (slot.key, slot.first_seen_ns));
        samples.sort();
        Self { totals, slots, samples }
    }
}

/// One figure of both paths.
#[derive(Debug, Serialize)]
struct Row {
    figure: String,
    user: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    kernel: Option<u64>,
}

/// The comparison, as it is printed.
#[derive(Debug, Serialize)]
struct Report {
    frames: usize,
    rows: Vec<Row>,
    /// Absent where the kernel program could not be asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    agree: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kernel_not_asked: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    differences: Vec<String>,
}

pub(super) fn run(args: &SelftestArgs) -> Result<(), Failure> {
    let frames = frames::all();
    let user = user_path(&frames);
    let (kernel, kernel_not_asked) = match kernel_path(&frames) {
        Ok(account) => (Some(account), None),
        Err(error @ (KernelError::Capability { .. } | KernelError::KernelTooOld { .. })) => {
            (None, Some(error.to_string()))
        }
        Err(error) => return Err(Failure::other(error)),
    };
    let differences = kernel.as_ref().map(|kernel| differences(&user, kernel)).unwrap_or_default();
    let report = Report {
        frames: frames.len(),
        rows: rows(&user, kernel.as_ref()),
        agree: kernel.as_ref().map(|_| differences.is_empty()),
        kernel_not_asked,
        differences,
    };
    if args.json {
        let text = serde_json::to_string_pretty(&report).map_err(Failure::other)?;
        print(format!("{text}\n").as_bytes())?;
    } else {
        print(text(&report, &frames).as_bytes())?;
    }
    if report.agree == Some(false) { Err(Failure::Silent) } else { Ok(()) }
}

fn user_path(frames: &[frames::Sample]) -> Account {
    let mut table = PacketTable::new(&PacketSettings::new(&FlowSettings::default(), &SampleSettings::default()));
    let mut batch = Batch::default();
    let mut now_ns = START_NS;
    for frame in frames {
        table.packet(&Frame::new(&frame.bytes, frame.bytes.len()), Link::Ethernet, now_ns, &mut batch);
        now_ns += GAP_NS;
    }
    table.finish(now_ns, &mut batch);
    let totals = *table.totals();
    Account::of(vec![batch], totals)
}

fn kernel_path(frames: &[frames::Sample]) -> Result<Account, KernelError> {
    let capture = CaptureSettings { sets_per_cpu: SETS_PER_CPU, ..CaptureSettings::default() };
    let mut program = TestRun::new(&capture, &FlowSettings::default(), &SampleSettings::default())?;
    let mut batch = Batch::default();
    let mut now_ns = START_NS;
    for frame in frames {
        // All frames lie within one tick, so no batch is handed out before the last.
        program.feed(Entry::Xdp, now_ns, &frame.bytes, frame.bytes.len(), |_| (), &mut batch)?;
        now_ns += GAP_NS;
    }
    program.finish(&mut batch);
    let totals = batch.totals;
    Ok(Account::of(vec![batch], totals))
}

const COUNTERS: [(Counter, &str); 5] = [
    (Counter::PacketsSeen, "frames seen"),
    (Counter::FlowPackets, "packets in flows"),
    (Counter::FlowBytes, "bytes in flows"),
    (Counter::SamplesSent, "payload samples"),
    (Counter::SlotsLost, "slots lost"),
];

fn rows(user: &Account, kernel: Option<&Account>) -> Vec<Row> {
    let mut rows: Vec<Row> = COUNTERS
        .iter()
        .map(|(counter, name)| Row {
            figure: (*name).to_owned(),
            user: user.totals.counter(*counter),
            kernel: kernel.map(|account| account.totals.counter(*counter)),
        })
        .collect();
    for skip in Skip::ALL {
        let count = user.totals.skipped(skip);
        let theirs = kernel.map(|account| account.totals.skipped(skip));
        if count > 0 || theirs.is_some_and(|count| count > 0) {
            rows.push(Row { figure: format!("skipped: {}", skip.label()), user: count, kernel: theirs });
        }
    }
    rows.push(Row {
        figure: "flow directions".to_owned(),
        user: user.slots.len() as u64,
        kernel: kernel.map(|account| account.slots.len() as u64),
    });
    rows
}

/// Where the two differ: every counter, every byte of every slot, every sample.
fn differences(user: &Account, kernel: &Account) -> Vec<String> {
    let mut found: Vec<String> = rows(user, Some(kernel))
        .into_iter()
        .filter(|row| row.kernel != Some(row.user))
        .map(|row| format!("{}: user path {}, kernel program {}", row.figure, row.user, row.kernel.unwrap_or(0)))
        .collect();
    for (ours, theirs) in user.slots.iter().zip(&kernel.slots).filter(|(ours, theirs)| ours != theirs) {
        found.push(format!("slot of {:?}: user path {ours:?}, kernel program {theirs:?}", ours.key));
    }
    if user.samples != kernel.samples {
        found.push(format!(
            "payload samples: user path {}, kernel program {}",
            user.samples.len(),
            kernel.samples.len()
        ));
    }
    found
}

fn text(report: &Report, frames: &[frames::Sample]) -> String {
    let mut shape = table(&["", "user path", "kernel program"]);
    for row in &report.rows {
        let kernel = row.kernel.map_or_else(|| "not run".into(), number);
        shape.add_row(vec![row.figure.as_str().into(), number(row.user), kernel]);
    }
    let names: Vec<&str> = frames.iter().map(|frame| frame.name).collect();
    let mut text = format!("{} frames: {}\n{shape}\n", report.frames, names.join(", "));
    for difference in &report.differences {
        text.push_str(&format!("DIFFERENT: {difference}\n"));
    }
    text.push_str(&match (report.agree, &report.kernel_not_asked) {
        (Some(true), _) => "Both paths agree, to the last bit of every flow.\n".to_owned(),
        (Some(false), _) => "THE PATHS DIFFER; please report this as a bug.\n".to_owned(),
        (None, Some(why)) => format!("The kernel program was not run: {why}\n"),
        (None, None) => String::new(),
    });
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_frames_reach_flows_and_every_common_skip() {
        let frames = frames::all();
        let account = user_path(&frames);
        let totals = &account.totals;
        assert_eq!(totals.counter(Counter::PacketsSeen), frames.len() as u64);
        assert_eq!(totals.counter(Counter::FlowPackets) + totals.skipped_all(), frames.len() as u64);
        for skip in [
            Skip::Arp,
            Skip::Llc,
            Skip::NotIp,
            Skip::VlanDepth,
            Skip::IpTruncated,
            Skip::IpVersion,
            Skip::IpHeaderLength,
            Skip::IpLength,
            Skip::TransportTruncated,
            Skip::TcpOffset,
            Skip::UdpLength,
        ] {
            assert!(totals.skipped(skip) > 0, "{}", skip.label());
        }
    }

    #[test]
    fn a_difference_in_one_slot_is_told() {
        let (user, mut other) = (user_path(&frames::all()), user_path(&frames::all()));
        assert!(differences(&user, &other).is_empty());
        if let Some(slot) = other.slots.first_mut() {
            slot.ack += 1;
        }
        assert_eq!(differences(&user, &other).len(), 1);
    }
}
