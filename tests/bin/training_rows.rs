//! Turns labelled captures into rows to train on: what the agent's own engine puts before its
//! detectors, with the label of the flow. Used by `cargo xtask train`.
//!
//! A row holds the features of a flow each time it is judged; with `--bytes` the first payload bytes of both directions of
//! an ended flow instead, and whether the payload witness named it.
//!
//! Writes `schema.json`, `captures.tsv`, `rows.tsv` and `rows.f32` (32-bit floats, little endian).

use std::{
    collections::{BTreeMap, BTreeSet},
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
    detect::{
        Detector, DetectorStats, Engine, EngineParts, Finding, Judged, Outcome, Subject, Witness, payload::Payload,
    },
    features::{SCHEMA, schema_hash},
    flow::FlowState,
    source::{Batch, FlowSource, Progress, pcap::PcapSource},
};
use ids_common::flow::FlowKey;
use ids_tests::{
    archive,
    labels::{self, Filter, Label},
};

/// Payload bytes of a direction that make a row of bytes; packets beyond `sample.packets` are not looked at.
const BYTES: usize = 256;
/// A place behind the end of what a direction sent.
const NOTHING: f32 = -1.0;

type AnyError = Box<dyn Error + Send + Sync>;

/// One judgement of one flow.
struct Row {
    flow: u64,
    label: FlowLabel,
    hosts: [[u8; 16]; 2],
    ended: bool,
    packets: u64,
    values: Vec<f32>,
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

/// What a row holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Columns {
    Features,
    Bytes,
}

/// The first payload bytes of each direction.
type FirstBytes = BTreeMap<FlowKey, Vec<u8>>;

/// What a recorder shares with the loop that feeds it.
#[derive(Default)]
struct Notes {
    rows: Vec<Row>,
    bytes: FirstBytes,
}

/// A witness that finds nothing and writes everything down.
struct Recorder {
    columns: Columns,
    filter: Filter,
    notes: Arc<Mutex<Notes>>,
    /// Flows that the payload witness named.
    named: BTreeSet<u64>,
}

impl Detector for Recorder {
    fn witness(&self) -> Witness {
        Witness::Classifier
    }

    fn judge(&mut self, flows: &[Judged<'_>], _now_ns: u64, findings: &mut Vec<Finding>) {
        let Ok(mut notes) = self.notes.lock() else { return };
        let Notes { rows, bytes } = &mut *notes;
        self.named.extend(findings.iter().filter_map(|finding| match finding.subject {
            Subject::Flow { id } => Some(id),
            _ => None,
        }));
        for flow in flows {
            let ended = flow.record.state != FlowState::Open;
            let values = match self.columns {
                Columns::Features => flow.features.values.to_vec(),
                Columns::Bytes if !ended => continue,
                Columns::Bytes => {
                    let key = flow.record.key;
                    let sent = [bytes.remove(&key), bytes.remove(&key.reversed())].map(Option::unwrap_or_default);
                    if sent.iter().all(Vec::is_empty) {
                        continue;
                    }
                    let named = if self.named.remove(&flow.record.id) { 1.0 } else { 0.0 };
                    let answered = if sent[1].is_empty() { 0.0 } else { 1.0 };
                    let mut values = vec![answered, named];
                    for direction in &sent {
                        values.extend(direction.iter().copied().map(f32::from));
                        values.extend(std::iter::repeat_n(NOTHING, BYTES - direction.len()));
                    }
                    values
                }
            };
            rows.push(Row {
                flow: flow.record.id,
                label: if self.filter.matches(&flow.record.key) { FlowLabel::Attack } else { FlowLabel::Background },
                hosts: [flow.record.key.src, flow.record.key.dst],
                ended,
                packets: flow.record.packets(),
                values,
            });
        }
    }

    fn stats(&self) -> DetectorStats {
        DetectorStats::default()
    }
}

fn main() -> Result<(), AnyError> {
    let (options, arguments): (Vec<_>, Vec<_>) =
        std::env::args_os().skip(1).partition(|argument| argument == "--bytes");
    let columns = if options.is_empty() { Columns::Features } else { Columns::Bytes };
    let mut arguments = arguments.into_iter().map(PathBuf::from);
    let out = arguments.next().ok_or("usage: training-rows [--bytes] OUT [CAPTURES]")?;
    let captures = archive::labelled(arguments.next())?;
    let labels = labels::of_folder(&captures)?;
    let rows = all_rows(&captures, &labels, columns)?;
    write(&out, &labels, &rows, columns)
}

/// Rows of one capture, or why it has none.
type Rows = Result<Vec<Row>, String>;

/// Rows of every capture, in the order of the labels.
fn all_rows(captures: &Path, labels: &[Label], columns: Columns) -> Result<Vec<Vec<Row>>, AnyError> {
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
                    let rows = rows(&captures.join(&label.path), &label.filter, columns);
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

fn rows(path: &Path, filter: &Filter, columns: Columns) -> Result<Vec<Row>, AnyError> {
    let config = Config::default();
    let notes = Arc::new(Mutex::new(Notes::default()));
    let recorder = Recorder { columns, filter: filter.clone(), notes: Arc::clone(&notes), named: BTreeSet::new() };
    let detectors: Vec<Box<dyn Detector>> = match columns {
        Columns::Features => vec![Box::new(recorder)],
        Columns::Bytes => vec![Box::new(Payload::new(0)), Box::new(recorder)],
    };
    let mut engine = Engine::new(EngineParts {
        flow: config.flow,
        window: config.window,
        payload: config.payload,
        fuse: config.fuse.clone(),
        detectors,
        exhibits_max: 0,
    });
    let mut outcome = Outcome::default();
    let mut source = PcapSource::open(path, &config.flow, &config.sample)?;
    let mut batch = Batch::default();
    loop {
        let progress = source.next_batch(&mut batch)?;
        if columns == Columns::Bytes {
            keep_first(&batch, &notes);
        }
        engine.step(&batch, &mut outcome);
        outcome.clear();
        match progress {
            Progress::Part | Progress::Tick => {}
            Progress::End => break,
        }
    }
    engine.finish(&mut outcome);
    drop(engine);
    let notes = Arc::into_inner(notes).ok_or("rows are still in use")?;
    let mut rows = notes.into_inner()?.rows;
    mark_related(&mut rows);
    Ok(rows)
}

fn keep_first(batch: &Batch, notes: &Mutex<Notes>) {
    let Ok(mut notes) = notes.lock() else { return };
    for sample in &batch.samples {
        let kept = notes.bytes.entry(sample.key).or_default();
        let room = BYTES - kept.len();
        kept.extend(batch.payload(sample).iter().take(room));
    }
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

/// The columns in the form of `schema.json`.
fn schema(columns: Columns) -> serde_json::Value {
    let column = |name: &str, unit: &str, low: f32, high: f32| serde_json::json!({"name": name, "unit": unit, "low": low, "high": high});
    match columns {
        Columns::Features => {
            let features: Vec<_> =
                SCHEMA.iter().map(|spec| column(spec.name, spec.unit, spec.low, spec.high)).collect();
            serde_json::json!({"hash": schema_hash(), "features": features})
        }
        Columns::Bytes => {
            let mut all = vec![column("bwd_payload_bytes", "0 or 1", 0.0, 1.0), column("named", "0 or 1", 0.0, 1.0)];
            for direction in ["fwd", "bwd"] {
                all.extend((0..BYTES).map(|at| column(&format!("{direction}_{at}"), "byte", NOTHING, 255.0)));
            }
            serde_json::json!({"hash": format!("bytes-{BYTES}"), "features": all})
        }
    }
}

fn write(out: &Path, labels: &[Label], rows: &[Vec<Row>], columns: Columns) -> Result<(), AnyError> {
    fs::create_dir_all(out)?;
    let schema = schema(columns);
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
            for value in &row.values {
                values.write_all(&value.to_le_bytes())?;
            }
            count += 1;
        }
    }
    table.flush()?;
    values.flush()?;
    println!("{count} rows from {} captures", labels.len());
    Ok(())
}
