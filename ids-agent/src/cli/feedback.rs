//! `feedback`: says of an alert whether it was right, so that the same false one is not told again.

use std::path::Path;
use std::path::PathBuf;

use super::{
    Failure,
    options::{CommonArgs, effective},
    parts, print,
    table::{shown, table},
};
use crate::{
    clock::{self, Timestamp},
    evidence,
    feedback::{self, Entry, FILE, Feedback, Recorded, Saying, Verdict},
};
use clap::{Args, ValueEnum};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ids-agent feedback 0012ab34cd56ef78 false --note 'the backup of the file server'
  ids-agent feedback 0012ab34cd56ef78 true
  ids-agent feedback --list
  ids-agent feedback --remove 0012ab34cd56ef78

`false` silences the alert's own pattern for 90 days: its source and target, its port where it is about one service, its class
and kinds; nothing wider. Both keep the judged vector with what was said of it, for training anew. The file may be edited.
An agent that runs takes it up on SIGHUP.")]
pub(super) struct FeedbackArgs {
    /// The alert's id: `ids.incident`, 16 hexadecimal digits
    #[arg(value_name = "ALERT_ID", requires = "verdict")]
    id: Option<String>,
    /// Whether the alert was right
    #[arg(value_name = "false|true", value_enum)]
    verdict: Option<VerdictArg>,
    /// Why, for those who read it later
    #[arg(long, value_name = "TEXT", requires = "id")]
    note: Option<String>,
    /// Days until a false alert may be told again
    #[arg(long, value_name = "N", default_value_t = 90, value_parser = clap::value_parser!(u64).range(1..=3_650))]
    days: u64,
    /// Show all feedback
    #[arg(long, conflicts_with_all = ["id", "remove"])]
    list: bool,
    /// Take back what was said of an alert
    #[arg(long, value_name = "ALERT_ID", conflicts_with = "id")]
    remove: Option<String>,
    #[command(flatten)]
    common: CommonArgs,
    /// Folder with feedback.toml [default: state.dir]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Folder with the evidence [default: evidence.dir, else `evidence` under state.dir]
    #[arg(long, value_name = "DIR")]
    evidence: Option<PathBuf>,
    /// Print the list as JSON
    #[arg(long, requires = "list")]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum VerdictArg {
    /// It was harmless
    False,
    /// It was an attack
    True,
}

/// Longest text shown of an entry.
const TEXT_MAX: usize = 200;

pub(super) fn run(args: &FeedbackArgs) -> Result<(), Failure> {
    let config = effective(&args.common, None)?;
    let state_dir = args.state.clone().unwrap_or_else(|| config.state.dir.clone());
    if args.list {
        return list(&state_dir, args.json);
    }
    if let Some(id) = &args.remove {
        let entry = feedback::remove(&state_dir, &id.trim().to_ascii_lowercase()).map_err(Failure::other)?;
        return print(format!("removed: {}\n{}\n", told(&entry), when()).as_bytes());
    }
    let (Some(id), Some(verdict)) = (&args.id, args.verdict) else {
        return Err(Failure::Usage("name an alert and say `false` or `true`, or use --list or --remove".to_owned()));
    };
    let evidence_dir = args.evidence.clone().unwrap_or_else(|| parts::evidence_dir(&config));
    let (document, _) = evidence::load(&evidence_dir, id).map_err(Failure::other)?;
    if !document.is_sealed() {
        return Err(Failure::Other(
            "the evidence was changed after it was written; what it says is not silenced".to_owned(),
        ));
    }
    let saying = Saying {
        verdict: match verdict {
            VerdictArg::False => Verdict::False,
            VerdictArg::True => Verdict::True,
        },
        note: args.note.clone().unwrap_or_default(),
        days: args.days,
        now: Timestamp::from_unix_ns(clock::wall_ns()),
    };
    let recorded = feedback::record(&state_dir, &document, &saying).map_err(Failure::other)?;
    let (how, entry) = match &recorded {
        Recorded::New(entry) => ("noted", entry),
        Recorded::Already(entry) => ("already noted", entry),
        Recorded::Replaced(entry) => ("noted instead of what was said before", entry),
    };
    let mut text = format!("{how}: {}\n", told(entry));
    for allow in &entry.allow {
        text.push_str(&format!("  silenced: {}\n", silenced(allow)));
    }
    if document.exhibit.is_none() {
        text.push_str("  no vector was kept with the evidence, so there is nothing to learn from\n");
    }
    if recorded != Recorded::Already(entry.clone()) {
        text.push_str(&format!("{}\n", when()));
    }
    print(text.as_bytes())
}

fn when() -> &'static str {
    "An agent that runs takes it up on SIGHUP: `systemctl reload ids-agent`, or `kill -HUP` with its process id."
}

fn told(entry: &Entry) -> String {
    let note = if entry.note.is_empty() { String::new() } else { format!(" ({})", shown(&entry.note, TEXT_MAX)) };
    format!("alert {} is {}{note}", shown(&entry.id, 16), entry.verdict.name())
}

/// An exception in words.
fn silenced(allow: &crate::config::AllowEntry) -> String {
    let part = |name: &str, value: Option<String>| value.map(|value| format!("{name} {value}"));
    let parts = [
        part("from", allow.source.map(|prefix| prefix.to_string())),
        part("to", allow.target.map(|prefix| prefix.to_string())),
        part("port", allow.target_port.map(|port| port.to_string())),
        part("class", allow.class.clone()),
        part("kind", allow.kind.clone().filter(|kind| !kind.is_empty())),
        part("until", Some(Timestamp::from_unix_ns(allow.until.ns()).rfc3339().to_string())),
    ];
    shown(&parts.into_iter().flatten().collect::<Vec<_>>().join(", "), TEXT_MAX)
}

fn list(state_dir: &Path, json: bool) -> Result<(), Failure> {
    let path = state_dir.join(FILE);
    let feedback = Feedback::load(&path).map_err(Failure::other)?;
    if json {
        return print(&crate::alert::json::line(&feedback));
    }
    if feedback.alert.is_empty() {
        return print(format!("no feedback in {}\n", shown(&path.display().to_string(), TEXT_MAX)).as_bytes());
    }
    let now_ns = clock::wall_ns();
    let mut rows = table(&["alert", "said", "at", "silences", "note"]);
    for entry in &feedback.alert {
        let ended = |allow: &crate::config::AllowEntry| if allow.until.ns() <= now_ns { " (ended)" } else { "" };
        let what: Vec<String> =
            entry.allow.iter().map(|allow| format!("{}{}", silenced(allow), ended(allow))).collect();
        rows.add_row(vec![
            shown(&entry.id, 16),
            entry.verdict.name().to_owned(),
            shown(&entry.said_at, 40),
            what.join("\n"),
            shown(&entry.note, TEXT_MAX),
        ]);
    }
    print(format!("{rows}\n").as_bytes())
}
