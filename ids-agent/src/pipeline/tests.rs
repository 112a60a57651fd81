//! The line with sources made by hand: hand-overs, failures, stops.

use std::io;

use ids_common::counter::Counter;

use super::*;
use crate::{
    config::{FlowSettings, FuseSettings, PayloadSettings, WindowSettings},
    detect::{
        StateError, Witness,
        saved::{AxisShift, Saved, SavedPart, Saver},
    },
};

/// Gives `ticks` empty ticks, then what `then` says.
struct Ticks {
    ticks: u64,
    given: u64,
    then: Then,
}

#[derive(Clone, Copy)]
enum Then {
    End,
    Fail,
    Panic,
}

impl FlowSource for Ticks {
    type Error = io::Error;

    fn next_batch(&mut self, batch: &mut Batch) -> Result<Progress, io::Error> {
        batch.clear();
        self.given += 1;
        batch.now_ns = self.given * 500_000_000;
        batch.totals = Totals::default();
        batch.totals.add(Counter::PacketsSeen, self.given);
        match self.then {
            _ if self.given <= self.ticks => Ok(Progress::Tick),
            Then::End => Ok(Progress::End),
            Then::Fail => Err(io::Error::other("the disk is on fire")),
            Then::Panic => panic!("on purpose"),
        }
    }
}

#[derive(Default)]
struct Nobody;

impl Consumer for Nobody {
    fn incident(&mut self, _incident: &Incident) {}

    fn verdict(&mut self, _verdict: &Verdict) {}
}

fn parts() -> EngineParts {
    EngineParts {
        flow: FlowSettings::default(),
        window: WindowSettings::default(),
        payload: PayloadSettings::default(),
        fuse: FuseSettings::default(),
        detectors: Vec::new(),
        exhibits_max: 0,
    }
}

fn engine() -> Engine {
    Engine::new(parts())
}

fn run(ticks: u64, then: Then, control: &Control) -> Result<LineReport, PipelineError<io::Error>> {
    let mut source = Ticks { ticks, given: 0, then };
    run_line(&mut source, |_| SourceState::default(), engine(), &mut Nobody, control)
}

#[test]
fn every_batch_that_is_sent_is_judged() {
    let report = run(100, Then::End, &Control::default());
    let counts = report
        .map(|line| (line.batches_sent, line.batches_judged, line.complete, line.totals.counter(Counter::PacketsSeen)));
    assert!(matches!(counts, Ok((101, 101, true, 101))), "{counts:?}");
}

#[test]
fn a_failing_source_ends_the_line_with_its_error() {
    let report = run(3, Then::Fail, &Control::default());
    assert!(matches!(report, Err(PipelineError::Source(error)) if error.to_string() == "the disk is on fire"));
}

#[test]
fn a_panicking_source_is_an_error_that_names_it() {
    let control = Control::default();
    let report = run(3, Then::Panic, &control);
    assert!(matches!(report, Err(PipelineError::Panicked { name: "source" })));
    assert!(control.roster.running().is_empty());
}

#[test]
fn a_stop_ends_an_endless_source() {
    let control = Control::default();
    control.stop.ask();
    let report = run(u64::MAX, Then::End, &control);
    assert!(matches!(report, Ok(LineReport { complete: false, .. })), "{report:?}");
}

/// Counts ticks, and keeps the count.
#[derive(Default)]
struct Tally {
    ticks: u64,
}

impl Detector for Tally {
    fn witness(&self) -> Witness {
        Witness::Behaviour
    }

    fn judge(&mut self, _flows: &[Judged<'_>], _now_ns: u64, _findings: &mut Vec<Finding>) {
        self.ticks += 1;
    }

    fn stats(&self) -> DetectorStats {
        DetectorStats::default()
    }

    fn state_name(&self) -> Option<&'static str> {
        Some("tally/1")
    }

    fn save(&self, _now_ns: u64, out: &mut Vec<u8>) {
        Saver::new(out).u64(self.ticks);
    }

    fn restore(&mut self, saved: &[u8], _shift: AxisShift) -> Result<(), StateError> {
        let mut saved = Saved::new("tally/1", saved);
        self.ticks = saved.u64()?;
        saved.end()
    }
}

#[test]
fn state_is_written_while_the_line_runs_and_taken_up_by_the_next() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let mut expected = 0;
    for round in 0..3 {
        let metrics = Arc::new(Metrics::new()?);
        // Ticks are half a second apart.
        let store = Arc::new(StateStore::open(dir.path(), 5_000_000_000)?);
        let gauges = Gauges { metrics: Some(Arc::clone(&metrics)), health: None };
        let control = Control { state: Some(Arc::clone(&store)), gauges, ..Control::default() };
        let mut parts = parts();
        parts.detectors.push(Box::new(Tally::default()));
        let mut engine = build_engine(parts, Some(&metrics));
        if let Some(image) = store.load() {
            let restored = engine.restore(&image.parts, AxisShift::NONE);
            assert_eq!(restored.taken, ["tally/1"]);
        }
        let mut source = Ticks { ticks: 100, given: 0, then: Then::End };
        let report = run_line(&mut source, |_| SourceState::default(), engine, &mut Nobody, &control);
        assert!(report.is_ok(), "round {round}");
        // One judgement a tick, and one at the end.
        expected += 102;
        let mut bytes = Vec::new();
        Saver::new(&mut bytes).u64(expected);
        let kept = store.load().map(|image| image.parts);
        assert_eq!(kept, Some(vec![SavedPart { name: "tally/1".to_owned(), bytes }]));
        let stats = store.stats();
        // Every ten ticks, and at the end; the writer may be busy now and then.
        assert_eq!(stats.written + stats.skipped, 11);
        assert_eq!((stats.failed, stats.refused), (0, 0));
    }
    Ok(())
}

#[test]
fn metrics_follow_the_line() -> Result<(), prometheus::Error> {
    let metrics = Arc::new(Metrics::new()?);
    let health = Arc::new(Health::starting(&Roster::default()));
    assert!(health.not_ready().is_some());
    let gauges = Gauges { metrics: Some(Arc::clone(&metrics)), health: Some(Arc::clone(&health)) };
    let report = run(9, Then::End, &Control { gauges, ..Control::default() });
    assert!(report.is_ok());
    let text = metrics.render()?;
    assert!(text.contains("ids_packets_seen_total 10") && text.contains("ids_engine_step_seconds_count 10"), "{text}");
    assert_eq!((health.not_ready(), health.fault()), (None, None));
    Ok(())
}
