//! `explain`: a page about one alert out of its stored evidence, which is judged a second time. Needs no network and no
//! running agent.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

use super::{
    Failure,
    options::{CommonArgs, effective},
    parts, print,
    table::{grouped, number, shown, table},
};
use crate::{
    alert::json,
    config::{Config, DetectSettings},
    detect::Detector,
    evidence::{self, Check, Direction, Document, ExhibitRecord, Outcome},
    features::SCHEMA,
    models,
};
use clap::Args;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ids-agent explain 0012ab34cd56ef78
  ids-agent replay --evidence evidence/ capture.pcap && ids-agent explain --evidence evidence/ 0012ab34cd56ef78
  ids-agent explain --json 0012ab34cd56ef78

The id stands in the alert as `ids.incident`. Exits with 1 when the evidence gives another result than was stored. What a
model gave is shown but not checked where the model at hand is another one.")]
pub(super) struct ExplainArgs {
    /// The alert's id: `ids.incident`, 16 hexadecimal digits
    #[arg(value_name = "ALERT_ID")]
    id: String,
    #[command(flatten)]
    common: CommonArgs,
    /// Folder with the evidence [default: evidence.dir, else `evidence` under state.dir]
    #[arg(long, value_name = "DIR")]
    evidence: Option<PathBuf>,
    /// Print everything as JSON
    #[arg(long)]
    json: bool,
}

/// Longest line of text shown of a document, in characters: it may quote what a peer sent.
const TEXT_MAX: usize = 600;
/// Longest cell of a table.
const CELL_MAX: usize = 120;

pub(super) fn run(args: &ExplainArgs) -> Result<(), Failure> {
    let config = effective(&args.common, None)?;
    let dir = args.evidence.clone().unwrap_or_else(|| parts::evidence_dir(&config));
    let (document, capture) = evidence::load(&dir, &args.id).map_err(Failure::other)?;
    let (mut detectors, why_none) = detectors(&config);
    let checks = evidence::check(&document, &mut detectors, why_none.as_deref());
    if args.json {
        let whole = Whole { document: &document, checks: &checks, capture: capture.as_deref() };
        print(&json::line(&whole))?;
    } else {
        print(page(&document, &checks, capture.as_ref()).as_bytes())?;
    }
    let differing: Vec<&str> =
        checks.iter().filter(|check| check.outcome == Outcome::Differs).map(|check| check.what.as_str()).collect();
    match differing.as_slice() {
        [] => Ok(()),
        some => Err(Failure::Other(format!("the evidence gives another result than was stored: {}", some.join(", ")))),
    }
}

/// Everything, for programs.
#[derive(Serialize)]
struct Whole<'a> {
    #[serde(flatten)]
    document: &'a Document,
    checks: &'a [Check],
    capture: Option<&'a Path>,
}

/// The models at hand, or why there are none.
fn detectors(config: &Config) -> (Vec<Box<dyn Detector>>, Option<String>) {
    let settings = DetectSettings { classifier: true, anomaly: true, ..config.detect.clone() };
    match models::load(&settings) {
        Ok(detectors) => (detectors, None),
        Err(error) => (Vec::new(), Some(error.to_string())),
    }
}

fn page(document: &Document, checks: &[Check], capture: Option<&PathBuf>) -> String {
    let mut page = Page::default();
    head(&mut page, document);
    measured(&mut page, document);
    witnesses(&mut page, document);
    reports(&mut page, document);
    if let Some(exhibit) = &document.exhibit {
        example(&mut page, document, exhibit);
    }
    again(&mut page, checks);
    match capture {
        Some(path) => page.line(&format!(
            "The sampled packets are in {} (pcapng; headers are rebuilt, as the file says).",
            shown(&path.display().to_string(), TEXT_MAX)
        )),
        None => page.line("No packets were sampled, so there is no capture."),
    }
    page.text
}

/// Text that grows line by line.
#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn title(&mut self, title: &str) {
        self.line("");
        self.line(title);
    }

    /// A named value; nothing where there is no value.
    fn entry(&mut self, name: &str, value: &str) {
        if !value.is_empty() {
            self.line(&format!("  {name:<11}{value}"));
        }
    }
}

/// A string of the alert, safe to show; empty where there is none.
fn text(alert: &Value, at: &str) -> String {
    match alert.pointer(at) {
        Some(Value::String(text)) => shown(text, TEXT_MAX),
        Some(Value::Number(number)) => number.to_string(),
        Some(Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_)) | None => String::new(),
    }
}

fn joined(parts: &[String]) -> String {
    parts.iter().filter(|part| !part.is_empty()).map(String::as_str).collect::<Vec<_>>().join(" ")
}

fn severity(level: u8) -> &'static str {
    match level {
        1 => "high",
        2 => "medium",
        3 => "low",
        _ => "info",
    }
}

/// Who, what, when, why, and what to make of it.
fn head(page: &mut Page, document: &Document) {
    let (alert, pattern) = (&document.alert, &document.pattern);
    let worst = document.reports.iter().map(|report| report.severity).min().unwrap_or(4);
    page.line(&format!(
        "Alert {}: {}, severity {}, confidence {:.2}",
        shown(&document.id, 16),
        text(alert, "/alert/signature"),
        severity(worst),
        document.confidence
    ));
    page.line("");
    let service = match text(alert, "/dest_port") {
        port if port.is_empty() => text(alert, "/proto"),
        port => joined(&[format!("port {port}"), text(alert, "/proto"), text(alert, "/app_proto")]),
    };
    let many = |address: &Option<std::net::IpAddr>| address.map_or("many".to_owned(), |address| address.to_string());
    page.entry("Why", &text(alert, "/ids/reason"));
    page.entry("Who", &many(&pattern.source));
    page.entry("To whom", &format!("{}; the example: {}, {service}", many(&pattern.target), text(alert, "/dest_ip")));
    // EVE writes UTC as +0000, reports as Z.
    page.entry("From", &text(alert, "/ids/first_seen").replace("+0000", "Z"));
    page.entry("To", &document.reports.last().map_or(String::new(), |report| shown(&report.at, 40)));
    let tactic = match text(alert, "/ids/attack/tactic") {
        tactic if tactic.is_empty() => tactic,
        tactic => format!("({tactic})"),
    };
    page.entry("ATT&CK", &joined(&[text(alert, "/ids/attack/id"), text(alert, "/ids/attack/name"), tactic]));
    page.entry("False if", &text(alert, "/ids/false_if"));
    page.entry("Do next", &text(alert, "/ids/next"));
}

/// The values that spoke most.
fn measured(page: &mut Page, document: &Document) {
    let Some(Value::Array(evidence)) = document.alert.pointer("/ids/evidence") else { return };
    if evidence.is_empty() {
        return;
    }
    page.title("What was measured");
    let mut rows = table(&["value", "measured", "normal", "unit", "which is"]);
    for one in evidence.iter().take(32) {
        let name = text(one, "/feature");
        let what = SCHEMA.iter().find(|spec| spec.name == name).map_or("", |spec| spec.doc);
        let normal = format!("{} to {}", text(one, "/normal/0"), text(one, "/normal/1"));
        let cells = [name, text(one, "/value"), normal, text(one, "/unit"), what.to_owned()];
        rows.add_row(cells.map(|cell| shown(&cell, CELL_MAX)).to_vec());
    }
    page.line(&rows.to_string());
}

fn witnesses(page: &mut Page, document: &Document) {
    page.title("Who spoke");
    let mut rows = table(&["witness", "says", "kind", "score"]);
    for said in document.scores.iter().take(32) {
        rows.add_row(vec![
            shown(&said.witness, CELL_MAX),
            said.class.name().to_owned(),
            shown(&said.kind, CELL_MAX),
            format!("{:.4}", said.score),
        ]);
    }
    page.line(&rows.to_string());
}

fn reports(page: &mut Page, document: &Document) {
    page.title("When it was told");
    let mut rows = table(&["time", "report", "severity", "confidence", "flows", "further findings"]);
    for report in &document.reports {
        rows.add_row(vec![
            shown(&report.at, 40).into(),
            shown(&report.stage, CELL_MAX).into(),
            severity(report.severity).into(),
            format!("{:.4}", report.confidence).into(),
            number(report.flows),
            number(report.suppressed),
        ]);
    }
    page.line(&rows.to_string());
}

/// The flow that shows it best.
fn example(page: &mut Page, document: &Document, exhibit: &ExhibitRecord) {
    let (alert, flow) = (&document.alert, &exhibit.flow);
    let is_alerts = alert.pointer("/flow_id").and_then(Value::as_u64) == Some(flow.id);
    page.title(if is_alerts {
        "The example"
    } else {
        "The example: another flow of the same hosts, for its own was gone"
    });
    page.entry(
        "Flow",
        &format!(
            "{} port {} to {} port {}, {}, community-id {}",
            flow.src,
            flow.src_port,
            flow.dst,
            flow.dst_port,
            text(alert, "/proto"),
            shown(&flow.community_id, 40)
        ),
    );
    let counts = ["/flow/pkts_toserver", "/flow/bytes_toserver", "/flow/pkts_toclient", "/flow/bytes_toclient"];
    if let [Some(there), Some(bytes_there), Some(back), Some(bytes_back)] =
        counts.map(|at| alert.pointer(at).and_then(Value::as_u64).map(grouped))
    {
        page.entry("Sent", &format!("{there} packets, {bytes_there} bytes; back {back} packets, {bytes_back} bytes"));
    }
    if let Value::Object(facts) = &exhibit.payload {
        for (name, value) in facts.iter().filter(|(_, value)| value.is_object() || value.is_string()) {
            page.entry(&shown(name, 10), &shown(&value.to_string(), TEXT_MAX));
        }
    }
    for finding in exhibit.findings.iter().take(8) {
        page.entry(&shown(&finding.witness, 10), &shown(&finding.reason, TEXT_MAX));
    }
    let bytes = |wanted: Direction| {
        let of_side = exhibit.packets.iter().filter(|packet| packet.direction == wanted);
        grouped(of_side.map(|packet| packet.bytes.len() as u64 / 2).sum())
    };
    page.entry(
        "Samples",
        &format!(
            "{} packets, {} bytes of payload there and {} back",
            exhibit.packets.len(),
            bytes(Direction::ToServer),
            bytes(Direction::ToClient)
        ),
    );
    page.entry("Schema", &shown(exhibit.schema_hash.get(..12).unwrap_or_default(), 12));
    for model in exhibit.models.iter().take(8) {
        let hash = shown(model.sha256.get(..12).unwrap_or_default(), 12);
        page.entry("Model", &format!("{} {}, SHA-256 {hash}…", shown(&model.name, 40), shown(&model.version, 40)));
    }
    page.entry("Agent", &shown(&exhibit.agent_version, 40));
}

/// What came of judging it again.
fn again(page: &mut Page, checks: &[Check]) {
    page.title("Judged again");
    let mut rows = table(&["what", "result", "found"]);
    for check in checks {
        rows.add_row(vec![
            shown(&check.what, CELL_MAX),
            check.outcome.label().to_owned(),
            shown(&check.found, 2 * CELL_MAX),
        ]);
    }
    page.line(&rows.to_string());
}
