//! Turns labelled captures into rows to train on: what the agent's own engine puts before its
//! detectors, with the label of the flow. Used by `cargo xtask train`.
//!
//! Writes `schema.json`, `captures.tsv`, `rows.tsv` and `rows.f32` (32-bit floats, little endian).

use std::{
    collections::BTreeSet,
    error::Error,
    fs::{self, File},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use ids_agent::{
    config::Config,
    detect::{Detector, DetectorStats, Engine, EngineParts, Finding, Judged, Outcome, Witness},
    features::{FEATURES, SCHEMA, schema_hash},
    flow::FlowState,
    source::{Batch, FlowSource, Progress, pcap::PcapSource},
};
use ids_tests::{
    archive,
    labels::{self, Filter, Label},
};

type AnyError = Box<dyn Error + Send + Sync>;

/// One judgement of one flow.
struct Row {
    flow: u64,
    label: FlowLabel,
    hosts: [[u8; 16]; 2],
    ended: bool,
    packets: u64,
    values: [f32; FEATURES],
}

/// What the row of `LABELS.tsv` says of a flow, with its number in `rows.tsv`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum FlowLabel {
    /// Between hosts that no attack flow came from.
    Background = 0,
    Attack = 1,
    /// From or to an attacker or begun by a victim, but not picked by the filter: what an attack caused, or an
    /// attacker's own errands.
    Related = 2,
    /// To a host that attack flows went to, from somebody else.
    Beside = 3,
}

/// A witness that finds nothing and writes everything down.
struct Recorder {
    filter: Filter,
    rows: Arc<Mutex<Vec<Row>>>,
}

impl Detector for Recorder {
    fn witness(&self) -> Witness {
        Witness::Classifier
    }

    fn judge(&mut self, flows: &[Judged<'_>], _now_ns: u64, _findings: &mut Vec<Finding>) {
        let Ok(mut rows) = self.rows.lock() else { return };
        rows.extend(flows.iter().map(|flow| Row {
            flow: flow.record.id,
            label: if self.filter.matches(&flow.record.key) { FlowLabel::Attack } else { FlowLabel::Background },
            hosts: [flow.record.key.src, flow.record.key.dst],
            ended: flow.record.state != FlowState::Open,
            packets: flow.record.packets(),
            values: flow.features.values,
        }));
    }

    fn stats(&self) -> DetectorStats {
        DetectorStats::default()
    }
}

fn main() -> Result<(), AnyError> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let out = arguments.next().ok_or("usage: training-rows OUT [CAPTURES]")?;
    let captures = archive::labelled(arguments.next())?;
    let labels = labels::of_folder(&captures)?;
    let rows = all_rows(&captures, &labels)?;
    write(&out, &labels, &rows)
}

/// Rows of one capture, or why it has none.
type Rows = Result<Vec<Row>, String>;

/// Rows of every capture, in the order of the labels.
fn all_rows(captures: &Path, labels: &[Label]) -> Result<Vec<Vec<Row>>, AnyError> {
    let next = AtomicUsize::new(0);
    let done: Vec<Mutex<Option<Rows>>> = labels.iter().map(|_| Mutex::new(None)).collect();
    let workers = thread::available_parallelism().map_or(1, |cores| cores.get().min(2));
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some((label, slot)) = {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    labels.get(at).zip(done.get(at))
                } {
                    let rows = rows(&captures.join(&label.path), &label.filter);
                    let rows = rows.map_err(|error| format!("{}: {error}", label.path));
                    if let Ok(mut slot) = slot.lock() {
                        *slot = Some(rows);
                    }
                }
            });
        }
    });
    let rows = |slot: Mutex<Option<Result<Vec<Row>, String>>>| match slot.into_inner() {
        Ok(Some(rows)) => rows.map_err(AnyError::from),
        Ok(None) | Err(_) => Err("a capture was not read to its end".into()),
    };
    done.into_iter().map(rows).collect()
}

fn rows(path: &Path, filter: &Filter) -> Result<Vec<Row>, AnyError> {
    let config = Config::default();
    let rows = Arc::new(Mutex::new(Vec::new()));
    let recorder = Recorder { filter: filter.clone(), rows: Arc::clone(&rows) };
    let mut engine = Engine::new(EngineParts {
        flow: config.flow,
        window: config.window,
        payload: config.payload,
        fuse: config.fuse.clone(),
        detectors: vec![Box::new(recorder)],
        exhibits_max: 0,
    });
    let mut outcome = Outcome::default();
    let mut source = PcapSource::open(path, &config.flow, &config.sample)?;
    let mut batch = Batch::default();
    loop {
        let progress = source.next_batch(&mut batch)?;
        engine.step(&batch, &mut outcome);
        outcome.clear();
        match progress {
            Progress::Tick => {}
            Progress::End => break,
        }
    }
    engine.finish(&mut outcome);
    drop(engine);
    let rows = Arc::into_inner(rows).ok_or("rows are still in use")?;
    let mut rows = rows.into_inner()?;
    mark_related(&mut rows);
    Ok(rows)
}

fn mark_related(rows: &mut [Row]) {
    let attacks = |rows: &[Row], side: usize| -> BTreeSet<[u8; 16]> {
        rows.iter().filter(|row| row.label == FlowLabel::Attack).map(|row| row.hosts[side]).collect()
    };
    let (attackers, victims) = (attacks(rows, 0), attacks(rows, 1));
    for row in rows.iter_mut().filter(|row| row.label == FlowLabel::Background) {
        let by_attacker = row.hosts.iter().any(|host| attackers.contains(host));
        if by_attacker || victims.contains(&row.hosts[0]) {
            row.label = FlowLabel::Related;
        } else if victims.contains(&row.hosts[1]) {
            row.label = FlowLabel::Beside;
        }
    }
}

fn write(out: &Path, labels: &[Label], rows: &[Vec<Row>]) -> Result<(), AnyError> {
    fs::create_dir_all(out)?;
    let features: Vec<serde_json::Value> = SCHEMA
        .iter()
        .map(|spec| serde_json::json!({"name": spec.name, "unit": spec.unit, "low": spec.low, "high": spec.high}))
        .collect();
    let schema = serde_json::json!({"hash": schema_hash(), "features": features});
    fs::write(out.join("schema.json"), serde_json::to_string_pretty(&schema)?)?;

    let mut captures = BufWriter::new(File::create(out.join("captures.tsv"))?);
    writeln!(captures, "path\tfamily\tsource")?;
    for label in labels {
        writeln!(captures, "{}\t{}\t{}", label.path, label.family, label.source)?;
    }
    captures.flush()?;

    let mut table = BufWriter::new(File::create(out.join("rows.tsv"))?);
    let mut values = BufWriter::new(File::create(out.join("rows.f32"))?);
    writeln!(table, "capture\tflow\tlabel\tended\tpackets")?;
    let mut count = 0_usize;
    for (capture, rows) in rows.iter().enumerate() {
        for row in rows {
            let (label, ended) = (row.label as u8, u8::from(row.ended));
            // Signed, as numpy reads it.
            writeln!(table, "{capture}\t{}\t{label}\t{ended}\t{}", row.flow >> 1, row.packets)?;
            for value in row.values {
                values.write_all(&value.to_le_bytes())?;
            }
            count += 1;
        }
    }
    table.flush()?;
    values.flush()?;
    println!("{count} rows of {FEATURES} features from {} captures", labels.len());
    Ok(())
}
