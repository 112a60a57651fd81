//! `calibrate`: from captures of a site's ordinary traffic to thresholds and devices of its own.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use serde::Serialize;

use super::{
    Failure, inputs,
    options::{CommonArgs, LogChoice, effective},
    parts,
    parts::Seed,
    print,
    replay::watched,
    say,
    table::{grouped, shown, table},
};
use crate::{
    budget::Effort,
    clock::{Axis, Timestamp},
    config::{Config, SiteFile, SiteFloor},
    detect::{
        Class, Detector, Engine, Outcome, Witness, anomaly,
        saved::{AxisShift, SavedPart},
        signature, site,
    },
    features::FeatureVector,
    intel::Feeds,
    pipeline::{Control, build_engine},
    source::{Batch, FlowSource, Progress, pcap::PcapSource},
    state::{self, StateImage},
};
use clap::Args;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ids-agent calibrate --captures week/ --out /etc/ids-agent/site
  ids-agent calibrate --captures monday.pcap --captures tuesday.pcap --out site --calls-per-day 0.5 --json

Writes site.toml, which people can read, and the devices' state beside it; `[site] file` names the first.
Refuses too little traffic, and leaves out what looks like an attack, by name. docs/devices.md says more.")]
pub(super) struct CalibrateArgs {
    /// Capture file or directory of them; may be given several times
    #[arg(long, required = true, value_name = "FILE|DIR")]
    captures: Vec<PathBuf>,
    /// Directory to write into
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Flows a day that each threshold may call something they are not
    #[arg(long, value_name = "N", default_value_t = 1.0)]
    calls_per_day: f64,
    #[command(flatten)]
    common: CommonArgs,
    /// Print what was found as JSON
    #[arg(long)]
    json: bool,
}

mod heard;

use heard::{Heard, Noted, Topic};

/// Less than this says too little about a site.
const FLOWS_MIN: u64 = 500;
const HOURS_MIN: f64 = 1.0;
/// From this share on, what looked like an attack is no exception.
const LEFT_OUT_MAX: f64 = 0.2;
/// Silence longer than this is not time that was seen.
const SILENCE_NS: u64 = 600_000_000_000;
/// Behind the last packet, so that all flows come out of quarantine.
const AFTER_NS: u64 = 3_600_000_000_000;
/// Flows that are remembered with their ends and times: 48 bytes each.
const FLOWS_MAX: usize = 4_000_000;
/// Suspects named; the rest is counted.
const NAMED_MAX: usize = 10;
const SITE_FILE: &str = "site.toml";
const SITE_STATE: &str = "site-state.bin";

pub(super) fn run(args: CalibrateArgs, log: &LogChoice) -> Result<(), Failure> {
    if !(args.calls_per_day >= 0.0 && args.calls_per_day <= 1_000.0) {
        return Err(Failure::Usage(format!("--calls-per-day {} is out of range: 0 to 1000", args.calls_per_day)));
    }
    let mut config = effective(&args.common, None)?;
    log.start(&config.log, Some("warn"))?;
    config.check_overrides()?;
    // A site is calibrated from what holds elsewhere, never from an earlier calibration.
    config.site.file = None;
    let captures = inputs::expand(&args.captures)?;
    let (json, calls_per_day) = (args.json, args.calls_per_day);
    let found = watched(Effort::default(), move |control| {
        let found = Calibration::read(&captures, &config, control)?.settle(&config, calls_per_day)?;
        found.write(&args.out)?;
        Ok(found)
    })?;
    for fault in &found.faults {
        say(fault);
    }
    let text = if json {
        format!("{}\n", serde_json::to_string_pretty(&found).map_err(Failure::other)?)
    } else {
        found.text()
    };
    print(text.as_bytes())
}

/// What the captures have shown so far.
struct Calibration {
    heard: Arc<Mutex<Heard>>,
    /// Ends and span of each ended flow.
    flows: Vec<([[u8; 16]; 2], [u64; 2])>,
    captures: u64,
    faults: Vec<String>,
    /// Detectors' state, handed from capture to capture.
    parts: Vec<SavedPart>,
    /// Thresholds that hold elsewhere.
    thresholds: BTreeMap<(Witness, Class), f64>,
}

impl Calibration {
    fn read(captures: &[PathBuf], config: &Config, control: &Control) -> Result<Self, Failure> {
        let mut seen = Self {
            heard: Arc::default(),
            flows: Vec::new(),
            captures: 0,
            faults: Vec::new(),
            parts: Vec::new(),
            thresholds: BTreeMap::new(),
        };
        let feeds = parts::feeds(&config.intel, Seed::Fixed)?;
        for path in captures {
            let mut source = match PcapSource::open(path, &config.flow, &config.sample) {
                Ok(source) => source,
                Err(error) => {
                    seen.faults.push(error.to_string());
                    continue;
                }
            };
            let mut engine = seen.engine(config, feeds.as_ref())?;
            match seen.run(&mut source, &mut engine, control) {
                Ok(()) => {
                    seen.captures += 1;
                    seen.parts = engine.save();
                }
                Err(Stop::Asked) => return Err(Failure::Other("interrupted; nothing was written".to_owned())),
                Err(Stop::TooMany) => {
                    return Err(Failure::Other(format!(
                        "more than {FLOWS_MAX} flows, as many as can be held; calibrate on fewer captures"
                    )));
                }
                Err(Stop::Capture(fault)) => seen.faults.push(fault),
            }
        }
        Ok(seen)
    }

    fn engine(&mut self, config: &Config, feeds: Option<&Feeds>) -> Result<Engine, Failure> {
        let mut detectors = parts::detectors(config, Seed::Fixed)?;
        detectors.extend(parts::intel(feeds, Axis::Wall, Seed::Fixed));
        for detector in &mut detectors {
            let witness = detector.witness();
            for output in detector.outputs(&FeatureVector::ZERO) {
                self.thresholds.insert((witness, output.class), f64::from(output.threshold));
            }
        }
        let noted =
            detectors.into_iter().map(|inner| Box::new(Noted::new(inner, &self.heard)) as Box<dyn Detector>).collect();
        let mut engine = build_engine(parts::engine_parts(config, noted, Axis::Wall, Seed::Fixed), None);
        let restored = engine.restore(&self.parts, AxisShift::NONE);
        match restored.refused.first() {
            Some(error) => Err(Failure::other(error)),
            None => Ok(engine),
        }
    }

    fn run(&mut self, source: &mut PcapSource, engine: &mut Engine, control: &Control) -> Result<(), Stop> {
        let (mut batch, mut outcome) = (Batch::default(), Outcome::default());
        loop {
            if control.stop.is_asked() {
                return Err(Stop::Asked);
            }
            let progress = source.next_batch(&mut batch).map_err(|error| Stop::Capture(error.to_string()))?;
            engine.step(&batch, &mut outcome);
            self.count(&mut outcome);
            if self.flows.len() > FLOWS_MAX {
                return Err(Stop::TooMany);
            }
            if progress == Progress::End {
                break;
            }
        }
        engine.finish(&mut outcome);
        batch.clear();
        batch.now_ns = engine.now_ns().saturating_add(AFTER_NS);
        engine.step(&batch, &mut outcome);
        self.count(&mut outcome);
        Ok(())
    }

    fn count(&mut self, outcome: &mut Outcome) {
        for verdict in &outcome.verdicts {
            let record = &verdict.record;
            self.flows.push(([record.key.src, record.key.dst], [record.start_ns, record.end_ns]));
        }
        outcome.clear();
    }

    /// Makes of it what is to be written, unless it says too little.
    fn settle(mut self, config: &Config, calls_per_day: f64) -> Result<Found, Failure> {
        let heard = std::mem::take(&mut *self.heard.lock().unwrap_or_else(PoisonError::into_inner));
        let left_out = self.flows.iter().filter(|(ends, span)| heard.is_left_out(*ends, *span)).count() as u64;
        let flows = self.flows.len() as u64;
        let hours = hours_seen(&mut self.flows);
        if self.captures == 0 {
            let faults = if self.faults.is_empty() { "there is none".to_owned() } else { self.faults.join("; ") };
            return Err(Failure::Other(format!("no capture could be read: {faults}")));
        }
        if flows < FLOWS_MIN || hours < HOURS_MIN {
            return Err(Failure::Other(format!(
                "too little to calibrate on: {flows} flows in {hours:.1} hours, at least {FLOWS_MIN} flows and {HOURS_MIN} \
                 hour are needed; capture longer, best a whole week"
            )));
        }
        if heard.overflowed || left_out as f64 > LEFT_OUT_MAX * flows as f64 {
            let named: Vec<&str> = heard.suspects().iter().take(3).map(|suspect| suspect.reason.as_str()).collect();
            return Err(Failure::Other(format!(
                "this traffic is not ordinary: {left_out} of {flows} flows are around what looks like attacks ({}); \
                 calibrate on quieter days",
                named.join("; ")
            )));
        }
        let allowed = (calls_per_day * hours / 24.0).floor() as usize;
        let floors = heard.values().into_iter().filter_map(|(topic, values)| self.floor(topic, &values, allowed));
        let (from_ns, until_ns) =
            self.flows.iter().fold((u64::MAX, 0), |(from, until), (_, span)| (from.min(span[0]), until.max(span[1])));
        let site = SiteFile {
            format: SiteFile::FORMAT,
            seen_from: Timestamp::from_unix_ns(from_ns).rfc3339().to_string(),
            seen_until: Timestamp::from_unix_ns(until_ns).rfc3339().to_string(),
            hours: (hours * 10.0).round() / 10.0,
            captures: self.captures,
            flows,
            flows_left_out: left_out,
            calls_per_day,
            state: Some(PathBuf::from(SITE_STATE)),
            floor: floors.collect(),
        };
        let devices = self.parts.iter().find(|part| part.name == anomaly::STATE);
        let devices =
            devices.map(|part| anomaly::devices_of(part, &config.site)).transpose().map_err(Failure::other)?;
        let devices = devices.unwrap_or_default();
        let known = devices.iter().filter(|device| device.known).count();
        let suspects = heard.suspects();
        Ok(Found {
            site,
            devices_known: known,
            devices_learning: devices.len() - known,
            suspects: suspects
                .iter()
                .take(NAMED_MAX)
                .map(|suspect| Named {
                    class: suspect.class.name(),
                    findings: suspect.findings,
                    reason: shown(&suspect.reason, 300),
                })
                .collect(),
            suspects_all: suspects.len(),
            faults: self.faults,
            // The axis of captures is wall time.
            image: StateImage { source_ns: until_ns, wall_ns: until_ns, parts: self.parts },
        })
    }

    fn floor(&self, topic: Topic, values: &[f64], allowed: usize) -> Option<SiteFloor> {
        let measure = site::measure_of(topic.witness);
        let floor = heard::floor(measure, values, allowed)?;
        // Of the anomaly witness the score is no probability: half at its threshold.
        let was = match topic.witness {
            Witness::Classifier => self.thresholds.get(&(topic.witness, topic.class)).copied().unwrap_or(0.0),
            Witness::Anomaly => 0.5,
            Witness::Signature => f64::from(signature::TOLD_FROM),
            Witness::Behaviour | Witness::Payload | Witness::Intel => 1.0,
        };
        // Thousandths are enough for people, and rounding up keeps what was promised.
        let floor = (floor * 1_000.0).ceil() / 1_000.0;
        Some(SiteFloor {
            witness: topic.witness.name().to_owned(),
            class: topic.class.name().to_owned(),
            kind: topic.kind.to_owned(),
            measure,
            was: (was * 10_000.0).round() / 10_000.0,
            floor,
            flows: values.len() as u64,
            still: values.iter().filter(|value| **value >= floor).count() as u64,
        })
    }
}

/// Why a capture was not read to its end.
enum Stop {
    Asked,
    TooMany,
    Capture(String),
}

/// Hours in which flows began, without long silences.
fn hours_seen(flows: &mut [([[u8; 16]; 2], [u64; 2])]) -> f64 {
    flows.sort_unstable_by_key(|(ends, span)| (*span, *ends));
    let mut seen_ns = 0;
    for pair in flows.windows(2) {
        if let [(_, one), (_, next)] = pair {
            let gap_ns = next[0].saturating_sub(one[0]);
            seen_ns += if gap_ns <= SILENCE_NS { gap_ns } else { 0 };
        }
    }
    seen_ns as f64 / 3.6e12
}

/// What calibration has found out.
#[derive(Debug, Serialize)]
struct Found {
    site: SiteFile,
    devices_known: usize,
    devices_learning: usize,
    suspects: Vec<Named>,
    suspects_all: usize,
    faults: Vec<String>,
    #[serde(skip)]
    image: StateImage,
}

/// Conduct that looked like an attack.
#[derive(Debug, Serialize)]
struct Named {
    class: &'static str,
    findings: u64,
    reason: String,
}

impl Found {
    fn write(&self, dir: &Path) -> Result<(), Failure> {
        let fail = |path: &Path, error: &dyn std::fmt::Display| {
            Failure::Other(format!("cannot write {}: {error}; name a directory that can be written", path.display()))
        };
        fs::create_dir_all(dir).map_err(|error| fail(dir, &error))?;
        let state = dir.join(SITE_STATE);
        let bytes = self.image.encode();
        if bytes.len() > state::BYTES_MAX {
            return Err(fail(&state, &"too many devices; lower site.devices_max"));
        }
        state::replace(&state, &bytes).map_err(|error| fail(&state, &error))?;
        let file = dir.join(SITE_FILE);
        let text = toml::to_string(&self.site).map_err(Failure::other)?;
        let text = format!(
            "# Written by `ids-agent calibrate`. Named by `[site] file`. Every floor may be changed or taken out: a finding\n\
             # whose measure lies below it is not told. Scores go from 0 to 1, times are multiples of the threshold.\n{text}"
        );
        state::replace(&file, text.as_bytes()).map_err(|error| fail(&file, &error))
    }

    fn text(&self) -> String {
        let site = &self.site;
        let mut text = format!(
            "Seen: {} flows in {} captures, {} hours from {} until {}.\n",
            grouped(site.flows),
            grouped(site.captures),
            site.hours,
            site.seen_from,
            site.seen_until
        );
        text += &format!("Devices: {} known, {} still learned.\n", self.devices_known, self.devices_learning);
        if self.suspects_all > 0 {
            text += &format!(
                "Left out: {} flows around {} that looked like attacks:\n",
                grouped(site.flows_left_out),
                self.suspects_all
            );
            for named in &self.suspects {
                text += &format!("  {}: {} ({} findings)\n", named.class, named.reason, grouped(named.findings));
            }
        }
        if site.floor.is_empty() {
            text += "No threshold has to be raised: nothing of this was called more often than allowed.\n";
        } else {
            let mut floors =
                table(&["witness", "class", "kind", "measure", "was", "now", "flows called", "still called"]);
            for floor in &site.floor {
                floors.add_row([
                    floor.witness.clone(),
                    floor.class.clone(),
                    floor.kind.clone(),
                    format!("{:?}", floor.measure).to_lowercase(),
                    floor.was.to_string(),
                    floor.floor.to_string(),
                    grouped(floor.flows),
                    grouped(floor.still),
                ]);
            }
            text += &format!("{floors}\n");
        }
        text +=
            &format!("Written: {SITE_FILE} and {SITE_STATE}. Name the first in the configuration as `[site] file`.\n");
        text
    }
}
