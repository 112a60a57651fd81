//! `replay`: capture files through the line, with alerts, flow lines and a summary.

use std::{
    io::{self, IsTerminal},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use indicatif::{ProgressBar, ProgressStyle};

use super::{
    Failure,
    hear::{Ears, HearArgs},
    inputs,
    inputs::is_dash,
    options::{CommonArgs, LogChoice, OutputArgs, effective},
    parts,
    parts::Seed,
    print, say,
    summary::Summary,
};
use crate::{
    alert::{Provenance, Renderer},
    budget::{Effort, Level},
    clock::{Axis, Stopwatch},
    config::Config,
    detect::{Detector, EXHIBITS_MAX, Engine, EngineParts, Incident, Verdict, saved::AxisShift},
    evidence::{EvidenceSink, Recorder},
    feedback::Feedback,
    pipeline::{
        Board, Consumer, Control, DRAIN_DEADLINE, Ended, EvidenceOutlet, Hangup, Lines, Outlet, PipelineError, Sinks,
        SourceState, Watch, build_engine, run_line, supervise,
    },
    sink::{AlertSink, Overflow, SinkError, StdoutSink, WholeSink},
    source::{
        pcap::{CaptureFacts, PcapSource},
        told::ToldSource,
    },
    state::StateImage,
};
use clap::Args;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ids-agent replay capture.pcap
  ids-agent replay --alerts alerts.ndjson --flows flows.ndjson monday.pcapng.zst
  tcpdump -w - -i lo | ids-agent replay -
  ids-agent replay --suricata --suricata-rules /etc/suricata/rules capture.pcap

Reads pcap and pcapng, plain or compressed with gzip or zstd; of a directory, every capture in it.
Each file is a capture of its own: flows and windows do not run on into the next.")]
pub(super) struct ReplayArgs {
    /// Capture files, directories of them, or `-` for standard input
    #[arg(required = true, value_name = "FILE|DIR")]
    inputs: Vec<PathBuf>,
    #[command(flatten)]
    common: CommonArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    hear: HearArgs,
    /// Folder for what alerts rest on, for `explain`; beyond [evidence] max_mib and keep the oldest go
    #[arg(long, value_name = "DIR")]
    evidence: Option<PathBuf>,
    /// File of feedback whose exceptions hold, as `feedback` writes it; without it none do
    #[arg(long, value_name = "FILE")]
    feedback: Option<PathBuf>,
    /// Give up what a level of the budget gives up, 0 to 3
    #[arg(long, value_name = "LEVEL", env = "IDS_LEVEL", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=3))]
    level: u8,
    /// Print the summary as JSON
    #[arg(long)]
    json: bool,
}

/// Lines that wait for a slow disk; then the engine waits.
const LINES_MAX: usize = 8_192;

pub(super) fn run(args: ReplayArgs, log: &LogChoice) -> Result<(), Failure> {
    let mut config = effective(&args.common, Some(&args.output))?;
    if let Some(path) = &args.feedback {
        config.fuse.feedback = Feedback::load(path).map_err(Failure::other)?.allow();
    }
    log.start(&config.log, Some("warn"))?;
    config.check_overrides()?;
    let captures = inputs::expand(&args.inputs)?;
    let to_stdout = [&args.output.alerts, &args.output.flows].into_iter().flatten().any(|path| is_dash(path));
    let (alerts, flows) = (args.output.alerts.clone(), args.output.flows.clone());
    let evidence = args.evidence;
    let exhibits_max = if evidence.is_some() { EXHIBITS_MAX } else { 0 };
    let json = args.json;
    let hear = args.hear;
    let level = Level::from_number(args.level).unwrap_or_default();
    config.sample = level.rung().sample(&config.sample);
    let summary = watched(Effort::at(level), move |control| {
        let ears = Ears::open(&hear, &captures, &config, control)?;
        let (hears, rules_loaded) = (ears.is_open(), ears.rules_loaded());
        // Read once: every capture is judged by the same feeds.
        let feeds = parts::feeds(&config.intel, Seed::Fixed)?;
        let build = || -> Result<Vec<Box<dyn Detector>>, Failure> {
            let mut detectors = parts::detectors(&config, Seed::Fixed)?;
            detectors.extend(parts::intel(feeds.as_ref(), Axis::Wall, Seed::Fixed));
            if hears {
                detectors.push(parts::signature(&config.suricata, Seed::Fixed));
            }
            Ok(detectors)
        };
        let detectors = build()?;
        let mut sinks = Sinks::default();
        let alerts = alerts.map(|path| open(&mut sinks, "alerts", &path, control)).transpose()?;
        let flows = match (&alerts, flows) {
            // One file for both kinds of lines.
            (Some(outlet), Some(path)) if args.output.alerts.as_ref() == Some(&path) => Some(outlet.clone()),
            (_, path) => path.map(|path| open(&mut sinks, "flows", &path, control)).transpose()?,
        };
        let provenance = Provenance {
            agent_version: env!("CARGO_PKG_VERSION"),
            host: None,
            interfaces: Vec::new(),
            models: detectors.iter().filter_map(|detector| detector.model()).collect(),
            axis: Axis::Wall,
        };
        let evidence =
            evidence.map(|dir| keep_evidence(&mut sinks, &dir, &config, &provenance, control)).transpose()?;
        let mut lines =
            Lines::new(Renderer::new(config.alert.format, provenance), alerts, flows).with_evidence(evidence);
        let mut fresh = Some(detectors);
        let work = Work { captures: &captures, config: &config, exhibits_max, ears, control };
        let mut next = || match fresh.take() {
            Some(detectors) => Ok(detectors),
            None => build(),
        };
        let watch = Stopwatch::start();
        let judged = work.run(&mut lines, &mut next);
        let settled = match &judged {
            Ok(done) if done.read > 0 => sinks.finish().map_err(Failure::other),
            Ok(_) | Err(_) => {
                drop(sinks);
                Ok(Vec::new())
            }
        };
        let mut done = judged?;
        done.summary.set_rules_loaded(rules_loaded);
        done.summary.close(&settled?, watch.elapsed());
        Ok(done)
    })?;
    summary.show(json, to_stdout)
}

/// What came of a run over captures.
pub(super) struct Done {
    pub(super) summary: Summary,
    /// Captures that could be read, in part at least.
    pub(super) read: usize,
    /// One line for each that could not.
    pub(super) failures: Vec<String>,
}

impl Done {
    /// Prints the summary: to standard error where standard output carries lines.
    pub(super) fn show(self, json: bool, to_stdout: bool) -> Result<(), Failure> {
        for failure in &self.failures {
            say(failure);
        }
        if self.read == 0 {
            return Err(Failure::Silent);
        }
        let text =
            if json { format!("{}\n", self.summary.json().map_err(Failure::other)?) } else { self.summary.text() };
        if to_stdout {
            // Nobody may be there to read it.
            let _ = io::Write::write_all(&mut io::stderr(), text.as_bytes());
        } else {
            print(text.as_bytes())?;
        }
        match self.summary.fault() {
            Some(fault) => Err(Failure::Other(fault)),
            None if self.failures.is_empty() => Ok(()),
            None => Err(Failure::Silent),
        }
    }
}

/// Runs work on the line's thread, so that Ctrl-C ends it in good order.
pub(super) fn watched<T: Send + 'static>(
    effort: Effort,
    work: impl FnOnce(&Control) -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let control = Control { board: Arc::new(Board::fixed(effort)), ..Control::default() };
    let stop = control.stop.clone();
    let watch = Watch {
        ask_stop: Box::new(move || stop.ask()),
        hangup: Hangup::Stop,
        reloaded: Box::new(|| true),
        reload: Box::new(|| {}),
        pages: None,
        health: None,
        roster: control.roster.clone(),
        deadline: DRAIN_DEADLINE,
    };
    let Ended { result, .. } = supervise(watch, move || work(&control)).map_err(Failure::other)?;
    result
}

/// Captures to be run through engines of their own.
pub(super) struct Work<'a> {
    pub(super) captures: &'a [PathBuf],
    pub(super) config: &'a Config,
    /// Flows whose exhibits wait for their incident to be told; zero keeps none.
    pub(super) exhibits_max: usize,
    /// Who else says something of the captures.
    pub(super) ears: Ears,
    pub(super) control: &'a Control,
}

impl Work<'_> {
    pub(super) fn run(
        &self,
        consumer: &mut dyn CaptureConsumer,
        detectors: &mut dyn FnMut() -> Result<Vec<Box<dyn Detector>>, Failure>,
    ) -> Result<Done, Failure> {
        let mut done = Done { summary: Summary::default(), read: 0, failures: Vec::new() };
        let progress = Progress::new(self.captures);
        let preset = parts::site_state(self.config)?;
        for path in self.captures {
            let shown = path.display().to_string();
            let source = match PcapSource::open(path, &self.config.flow, &self.config.sample) {
                Ok(source) => source,
                Err(error) => {
                    done.failures.push(error.to_string());
                    continue;
                }
            };
            progress.begin(path, &shown);
            let said = match self.ears.hear(path, self.control) {
                Ok(said) => said,
                Err(_) if self.control.stop.is_asked() => return Err(interrupted()),
                Err(error) => return Err(error),
            };
            let mut source = ToldSource::new(source, said.events);
            consumer.begin(path);
            let parts = EngineParts {
                exhibits_max: self.exhibits_max,
                ..parts::engine_parts(self.config, detectors()?, Axis::Wall, Seed::Fixed)
            };
            let mut engine = build_engine(parts, None);
            if let Some(image) = &preset {
                restore(&mut engine, image);
            }
            let before = done.summary.alerts_all();
            let mut counting = Counting { summary: &mut done.summary, inner: consumer };
            let observe = |source: &ToldSource<PcapSource>| {
                progress.at(source.inner().position_bytes());
                SourceState::default()
            };
            match run_line(&mut source, observe, engine, &mut counting, self.control) {
                Ok(report) if report.complete => {
                    let alerts = done.summary.alerts_all() - before;
                    done.summary.add(shown, &report, alerts, remark(&source.inner().facts(), said.skipped));
                    done.read += 1;
                }
                Ok(_) => return Err(interrupted()),
                Err(PipelineError::Source(error)) => done.failures.push(error.to_string()),
                Err(error) => return Err(Failure::other(error)),
            }
        }
        progress.finish();
        Ok(done)
    }
}

fn interrupted() -> Failure {
    Failure::Other("interrupted; nothing was written".to_owned())
}

/// Gives the engine the devices that calibration learned. Captures and calibration both count wall time.
fn restore(engine: &mut Engine, image: &StateImage) {
    for error in engine.restore(&image.parts, AxisShift::NONE).refused {
        tracing::warn!("{error}; calibrate again");
    }
}

/// A consumer that wants to know which capture is read.
pub(super) trait CaptureConsumer: Consumer {
    fn begin(&mut self, path: &Path);
}

impl CaptureConsumer for Lines {
    fn begin(&mut self, _path: &Path) {}
}

/// Counts what passes on its way to the consumer.
struct Counting<'a> {
    summary: &'a mut Summary,
    inner: &'a mut dyn CaptureConsumer,
}

impl Consumer for Counting<'_> {
    fn incident(&mut self, incident: &Incident) {
        self.summary.count_incident(incident);
        self.inner.incident(incident);
    }

    fn verdict(&mut self, verdict: &Verdict) {
        self.summary.count_verdict(verdict);
        self.inner.verdict(verdict);
    }
}

fn open(sinks: &mut Sinks, name: &'static str, path: &Path, control: &Control) -> Result<Outlet, Failure> {
    let sink: Box<dyn AlertSink> = if is_dash(path) {
        Box::new(StdoutSink::new(name))
    } else {
        Box::new(WholeSink::create(name, path).map_err(|error: SinkError| Failure::other(error))?)
    };
    sinks
        .start(sink, LINES_MAX, Overflow::Wait, &control.roster)
        .map_err(|error| Failure::Other(format!("cannot start thread `{name}`: {error}")))
}

/// The folder that `--evidence` names.
fn keep_evidence(
    sinks: &mut Sinks,
    dir: &Path,
    config: &Config,
    provenance: &Provenance,
    control: &Control,
) -> Result<EvidenceOutlet, Failure> {
    let sink = EvidenceSink::open(dir, &config.evidence).map_err(Failure::other)?;
    let removed = sink.removed();
    let outlet = sinks
        .start(Box::new(sink), LINES_MAX, Overflow::Wait, &control.roster)
        .map_err(|error| Failure::Other(format!("cannot start thread `evidence`: {error}")))?;
    let recorder = Recorder {
        renderer: Renderer::new(config.alert.format, provenance.clone()),
        string_bytes_max: config.payload.string_bytes_max,
    };
    Ok(EvidenceOutlet { recorder, outlet, removed })
}

/// A bar on a terminal, nothing elsewhere.
struct Progress {
    bar: ProgressBar,
    /// Length of the captures before this one, and of this one.
    before_bytes: AtomicU64,
    length_bytes: AtomicU64,
}

fn length(path: &Path) -> u64 {
    path.metadata().map_or(0, |facts| facts.len())
}

/// What is odd about a capture, in one line.
fn remark(facts: &CaptureFacts, eve_skipped: u64) -> Option<String> {
    let mut remarks: Vec<String> = facts.note.iter().cloned().collect();
    if eve_skipped > 0 {
        remarks.push(format!("{eve_skipped} lines of Suricata's gave no event"));
    }
    for (link, packets) in &facts.links_unsupported {
        remarks.push(format!("{packets} packets of link type {link} are not parsed"));
    }
    if facts.times_clamped > 0 {
        remarks.push(format!("{} packets were older than one before them", facts.times_clamped));
    }
    (!remarks.is_empty()).then(|| remarks.join("; "))
}

impl Progress {
    fn new(captures: &[PathBuf]) -> Self {
        let bytes: u64 = captures.iter().map(|path| length(path)).sum();
        let bar =
            if bytes == 0 || !io::stderr().is_terminal() { ProgressBar::hidden() } else { ProgressBar::new(bytes) };
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {bytes}/{total_bytes} {bytes_per_sec} {wide_msg}") {
            bar.set_style(style);
        }
        Self { bar, before_bytes: AtomicU64::new(0), length_bytes: AtomicU64::new(0) }
    }

    fn begin(&self, path: &Path, name: &str) {
        // What was read of the files before may be less than their length, where one was damaged.
        self.before_bytes.fetch_add(self.length_bytes.swap(length(path), Ordering::Relaxed), Ordering::Relaxed);
        self.bar.set_message(super::table::shown(name, 60));
    }

    fn at(&self, bytes: u64) {
        self.bar.set_position(self.before_bytes.load(Ordering::Relaxed) + bytes);
    }

    fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
