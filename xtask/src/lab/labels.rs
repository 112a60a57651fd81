//! Rows of LABELS.tsv. Several runs, and several labs, may write into one table.

use std::{
    fs::{self, OpenOptions},
    io::{Read, Seek, SeekFrom, Write},
    path::Path,
    process::Command,
};

use anyhow::{Context, Result};
use rustix::fs::{FlockOperation, flock};

use super::capture::Summary;
use crate::process::quiet;

const HEADER: &str = "path\tfamily\tsubtype\tattack_flow_filter\tpackets\tflows\tattack_flows\tduration_s\tlinktype\tsnaplen\tevidence\tsource\tlicence\tsha1";
/// Longer command lines are cut.
const EVIDENCE_CHARS_MAX: usize = 800;

pub(super) struct Row<'a> {
    /// Relative to the table.
    pub(super) path: &'a str,
    pub(super) family: &'a str,
    pub(super) subtype: &'a str,
    pub(super) filter: String,
    pub(super) summary: Summary,
    pub(super) evidence: &'a str,
    pub(super) environment: &'a str,
}

impl Row<'_> {
    fn line(&self, sha1: &str) -> String {
        let Summary { packets, flows, attack_flows, duration_secs, .. } = self.summary;
        let evidence: String = self.evidence.chars().take(EVIDENCE_CHARS_MAX).collect();
        format!(
            "{}\t{}\t{}\t{}\t{packets}\t{flows}\t{attack_flows}\t{duration_secs:.3}\t1\t\t{evidence}\tlab+{}\tgenerated\t{sha1}",
            self.path, self.family, self.subtype, self.filter, self.environment,
        )
    }
}

/// Writes the row into the table of `dir`, in place of an older one of the same path.
pub(super) fn append(dir: &Path, row: &Row<'_>) -> Result<()> {
    let sum = quiet(Command::new("sha1sum").arg("--").arg(dir.join(row.path)))?;
    let line = row.line(sum.split_whitespace().next().unwrap_or_default());
    let table = dir.join("LABELS.tsv");
    let context = || format!("`{}`", table.display());
    let mut file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&table).with_context(context)?;
    flock(&file, FlockOperation::LockExclusive).with_context(context)?;
    let mut text = String::new();
    file.read_to_string(&mut text).with_context(context)?;
    file.seek(SeekFrom::Start(0)).with_context(context)?;
    file.set_len(0).with_context(context)?;
    file.write_all(with_row(&text, row.path, &line).as_bytes()).with_context(context)
}

/// Whether the table of `dir` has a row for this path, and the capture is there.
pub(super) fn has(dir: &Path, path: &str) -> bool {
    let table = fs::read_to_string(dir.join("LABELS.tsv")).unwrap_or_default();
    dir.join(path).is_file() && table.lines().any(|line| is_of(line, path))
}

fn with_row(table: &str, path: &str, row: &str) -> String {
    let others = table.lines().skip(1).filter(|line| !is_of(line, path));
    let mut lines: Vec<&str> = std::iter::once(HEADER).chain(others).collect();
    lines.push(row);
    lines.join("\n") + "\n"
}

fn is_of(line: &str, path: &str) -> bool {
    line.split('\t').next() == Some(path)
}

#[cfg(test)]
mod tests {
    use super::{HEADER, with_row};

    #[test]
    fn a_row_takes_the_place_of_an_older_one_of_its_capture() {
        let table = with_row("", "a.pcap", "a.pcap\tone");
        let table = with_row(&table, "b.pcap", "b.pcap\tone");
        let table = with_row(&table, "a.pcap", "a.pcap\ttwo");
        assert_eq!(table, format!("{HEADER}\nb.pcap\tone\na.pcap\ttwo\n"));
    }
}
