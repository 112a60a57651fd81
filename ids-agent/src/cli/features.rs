//! `features`: one row of features for every flow, as CSV or Parquet.

use std::{
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
};

use parquet::{
    basic::Compression,
    data_type::{ByteArray, ByteArrayType, FloatType, Int32Type, Int64Type},
    errors::ParquetError,
    file::{properties::WriterProperties, writer::SerializedFileWriter},
    schema::parser::parse_message_type,
};

use super::{
    Failure,
    hear::Ears,
    inputs,
    options::{CommonArgs, LogChoice, effective},
    replay::{CaptureConsumer, Work, watched},
};
use crate::{
    budget::Effort,
    clock::Stopwatch,
    detect::{Incident, Verdict},
    features::SCHEMA,
    pipeline::Consumer,
    sink::WholeFile,
};
use clap::Args;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ids-agent features capture.pcap --out features.csv
  ids-agent features captures/ --out features.parquet

docs/features.md states formula, unit and range of each column.")]
pub(super) struct FeaturesArgs {
    /// Capture files, directories of them, or `-` for standard input
    #[arg(required = true, value_name = "FILE|DIR")]
    inputs: Vec<PathBuf>,
    #[command(flatten)]
    common: CommonArgs,
    /// File to write: .csv or .parquet
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Print the summary as JSON
    #[arg(long)]
    json: bool,
}

/// Columns in front of the features, which name the flow and are no features.
const NAMES: [&str; 12] = [
    "capture",
    "flow_id",
    "community_id",
    "src_ip",
    "src_port",
    "dst_ip",
    "dst_port",
    "proto",
    "app_proto",
    "start_ns",
    "end_ns",
    "end",
];

pub(super) fn run(args: FeaturesArgs, log: &LogChoice) -> Result<(), Failure> {
    let config = effective(&args.common, None)?;
    log.start(&config.log, Some("warn"))?;
    config.check_overrides()?;
    let shape = Shape::of(&args.out)?;
    let captures = inputs::expand(&args.inputs)?;
    let json = args.json;
    let done = watched(Effort::default(), move |control| {
        let watch = Stopwatch::start();
        let mut rows = Rows::create(&args.out, shape)?;
        let work = Work { captures: &captures, config: &config, exhibits_max: 0, ears: Ears::None, control };
        // Nobody judges: the features alone are wanted.
        let mut done = work.run(&mut rows, &mut || Ok(Vec::new()))?;
        if done.read > 0 {
            rows.finish()?;
        }
        done.summary.close(&[], watch.elapsed());
        Ok(done)
    })?;
    done.show(json, false)
}

#[derive(Clone, Copy)]
enum Shape {
    Csv,
    Parquet,
}

impl Shape {
    fn of(path: &Path) -> Result<Self, Failure> {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("csv") => Ok(Self::Csv),
            Some("parquet") => Ok(Self::Parquet),
            Some(_) | None => Err(Failure::Usage(format!(
                "`{}` has no known ending: --out takes a name ending in .csv or .parquet",
                path.display()
            ))),
        }
    }
}

/// The rows of all flows, on their way into a file that appears when it is complete.
struct Rows {
    path: PathBuf,
    capture: Arc<str>,
    writer: Writer,
    /// The first failure; later rows are not written any more.
    failed: Option<Failure>,
}

enum Writer {
    Csv { file: WholeFile, line: Vec<u8> },
    Parquet(Box<Columns>),
}

impl Rows {
    fn create(path: &Path, shape: Shape) -> Result<Self, Failure> {
        let file = WholeFile::create(path).map_err(Failure::other)?;
        let writer = match shape {
            Shape::Csv => {
                let mut line = header().join(",").into_bytes();
                line.push(b'\n');
                let mut file = file;
                file.write_all(&line).map_err(|error| write_failure(path, &error))?;
                Writer::Csv { file, line }
            }
            Shape::Parquet => {
                Writer::Parquet(Box::new(Columns::new(file).map_err(|error| write_failure(path, &error))?))
            }
        };
        Ok(Self { path: path.to_owned(), capture: Arc::from(""), writer, failed: None })
    }

    fn finish(self) -> Result<(), Failure> {
        if let Some(failure) = self.failed {
            return Err(failure);
        }
        let mut file = match self.writer {
            Writer::Csv { file, .. } => file,
            Writer::Parquet(columns) => columns.finish().map_err(|error| write_failure(&self.path, &error))?,
        };
        file.commit().map_err(Failure::other)
    }
}

fn header() -> Vec<&'static str> {
    NAMES.into_iter().chain(SCHEMA.iter().map(|spec| spec.name)).collect()
}

fn write_failure(path: &Path, error: &dyn std::fmt::Display) -> Failure {
    Failure::Other(format!("cannot write to `{}`: {error}", path.display()))
}

impl CaptureConsumer for Rows {
    fn begin(&mut self, path: &Path) {
        self.capture = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into();
    }
}

impl Consumer for Rows {
    fn incident(&mut self, _incident: &Incident) {}

    fn verdict(&mut self, verdict: &Verdict) {
        if self.failed.is_some() {
            return;
        }
        let capture = &self.capture;
        let written: Result<(), Box<dyn std::error::Error>> = match &mut self.writer {
            Writer::Csv { file, line } => {
                line.clear();
                csv_row(line, capture, verdict);
                file.write_all(line).map_err(Into::into)
            }
            Writer::Parquet(columns) => columns.push(capture, verdict).map_err(Into::into),
        };
        if let Err(error) = written {
            self.failed = Some(write_failure(&self.path, &error));
        }
    }
}

fn csv_row(line: &mut Vec<u8>, capture: &str, verdict: &Verdict) {
    let record = &verdict.record;
    let (src_port, dst_port) = (record.key.src_port, record.key.dst_port);
    csv_text(line, capture);
    // Writing into memory cannot fail.
    let _ = write!(
        line,
        ",{},{},{},{src_port},{},{dst_port},{},{},{},{},{}",
        record.id,
        record.community_id(),
        record.src_addr(),
        record.dst_addr(),
        record.key.proto,
        verdict.payload.app.label(),
        record.start_ns,
        record.end_ns,
        record.state.label(),
    );
    for value in verdict.features.values {
        let _ = write!(line, ",{value}");
    }
    line.push(b'\n');
}

/// Quotes a field where RFC 4180 wants it.
fn csv_text(line: &mut Vec<u8>, text: &str) {
    if !text.contains(['"', ',', '\n', '\r']) {
        line.extend_from_slice(text.as_bytes());
        return;
    }
    line.push(b'"');
    line.extend_from_slice(text.replace('"', "\"\"").as_bytes());
    line.push(b'"');
}

/// Rows gathered by column, written in groups.
struct Columns {
    writer: SerializedFileWriter<WholeFile>,
    texts: [Vec<ByteArray>; 6],
    wides: [Vec<i64>; 3],
    shorts: [Vec<i32>; 3],
    features: Vec<Vec<f32>>,
}

/// Rows in a group: a few megabytes in memory.
const GROUP_ROWS: usize = 16_384;

impl Columns {
    fn new(file: WholeFile) -> Result<Self, ParquetError> {
        let mut message = String::from("message flows {\n");
        for name in NAMES {
            let kind = match column(name) {
                Column::Text(_) => "BYTE_ARRAY {} (UTF8)",
                Column::Wide(_) => "INT64 {}",
                Column::Short(_) => "INT32 {}",
            };
            message.push_str(&format!("required {};\n", kind.replace("{}", name)));
        }
        for spec in &SCHEMA {
            message.push_str(&format!("required FLOAT {};\n", spec.name));
        }
        message.push('}');
        let schema = Arc::new(parse_message_type(&message)?);
        let properties = Arc::new(WriterProperties::builder().set_compression(Compression::SNAPPY).build());
        Ok(Self {
            writer: SerializedFileWriter::new(file, schema, properties)?,
            texts: Default::default(),
            wides: Default::default(),
            shorts: Default::default(),
            features: vec![Vec::new(); SCHEMA.len()],
        })
    }

    fn push(&mut self, capture: &str, verdict: &Verdict) -> Result<(), ParquetError> {
        let record = &verdict.record;
        let texts = [
            capture.to_owned(),
            record.community_id(),
            record.src_addr().to_string(),
            record.dst_addr().to_string(),
            verdict.payload.app.label().to_owned(),
            record.state.label().to_owned(),
        ];
        for (column, text) in self.texts.iter_mut().zip(texts) {
            column.push(ByteArray::from(text.into_bytes()));
        }
        for (column, value) in self.wides.iter_mut().zip([record.id, record.start_ns, record.end_ns]) {
            column.push(i64::try_from(value).unwrap_or(i64::MAX));
        }
        let shorts = [record.key.src_port, record.key.dst_port, u16::from(record.key.proto)];
        for (column, value) in self.shorts.iter_mut().zip(shorts) {
            column.push(i32::from(value));
        }
        for (column, value) in self.features.iter_mut().zip(verdict.features.values) {
            column.push(value);
        }
        if self.wides.first().is_some_and(|rows| rows.len() >= GROUP_ROWS) { self.write_group() } else { Ok(()) }
    }

    fn write_group(&mut self) -> Result<(), ParquetError> {
        let mut group = self.writer.next_row_group()?;
        let places = NAMES.into_iter().map(Some).chain(std::iter::repeat_n(None, SCHEMA.len()));
        let mut features = self.features.iter_mut();
        for place in places {
            let Some(mut column) = group.next_column()? else { break };
            match place.map(self::column) {
                Some(Column::Text(at)) => {
                    if let Some(values) = self.texts.get_mut(at) {
                        column.typed::<ByteArrayType>().write_batch(values, None, None)?;
                        values.clear();
                    }
                }
                Some(Column::Wide(at)) => {
                    if let Some(values) = self.wides.get_mut(at) {
                        column.typed::<Int64Type>().write_batch(values, None, None)?;
                        values.clear();
                    }
                }
                Some(Column::Short(at)) => {
                    if let Some(values) = self.shorts.get_mut(at) {
                        column.typed::<Int32Type>().write_batch(values, None, None)?;
                        values.clear();
                    }
                }
                None => {
                    if let Some(values) = features.next() {
                        column.typed::<FloatType>().write_batch(values, None, None)?;
                        values.clear();
                    }
                }
            }
            column.close()?;
        }
        group.close()?;
        Ok(())
    }

    fn finish(mut self) -> Result<WholeFile, ParquetError> {
        if self.wides.first().is_some_and(|rows| !rows.is_empty()) {
            self.write_group()?;
        }
        self.writer.into_inner()
    }
}

/// Which array of `Columns` holds a naming column.
enum Column {
    Text(usize),
    Wide(usize),
    Short(usize),
}

fn column(name: &str) -> Column {
    match name {
        "capture" => Column::Text(0),
        "community_id" => Column::Text(1),
        "src_ip" => Column::Text(2),
        "dst_ip" => Column::Text(3),
        "app_proto" => Column::Text(4),
        "flow_id" => Column::Wide(0),
        "start_ns" => Column::Wide(1),
        "end_ns" => Column::Wide(2),
        "src_port" => Column::Short(0),
        "dst_port" => Column::Short(1),
        "proto" => Column::Short(2),
        _ => Column::Text(5),
    }
}
