//! What the kernels said, as a table: on the terminal, and in docs/kernels.md between two marks.

use std::{fs, path::Path};

use anyhow::{Context, Result};

use super::Report;

const BEGIN: &str = "<!-- kernels: begin -->";
const END: &str = "<!-- kernels: end -->";
/// Checks of a kernel that is new enough, as columns.
const COLUMNS: [&str; 8] = ["native", "generic", "tc", "drop", "no-btf", "clock", "jumbo", "block"];

/// For people at a terminal: a line a kernel, and why where something failed.
pub(super) fn text(reports: &[Report]) -> String {
    let mut text = String::new();
    for report in reports {
        let said: Vec<String> = report
            .checks
            .iter()
            .map(|(name, passed, detail)| match passed {
                true => format!("{name} ok"),
                false => format!("{name} FAILED ({detail})"),
            })
            .chain(report.broken.iter().map(|why| format!("BROKEN: {why}")))
            .collect();
        text.push_str(&format!("{:<16}{}\n", report.kernel.name, said.join(", ")));
    }
    text
}

/// Replaces what stands between the marks.
pub(super) fn write(page: &Path, reports: &[Report]) -> Result<()> {
    let text = fs::read_to_string(page).with_context(|| format!("`{}` is unreadable", page.display()))?;
    let (head, rest) = text.split_once(BEGIN).with_context(|| format!("`{}` has no {BEGIN}", page.display()))?;
    let (_, tail) = rest.split_once(END).with_context(|| format!("`{}` has no {END}", page.display()))?;
    let text = format!("{head}{BEGIN}\n{}{END}{tail}", markdown(reports));
    fs::write(page, text).with_context(|| format!("`{}` cannot be written", page.display()))
}

fn markdown(reports: &[Report]) -> String {
    let mut text = format!("| kernel | release | page | verified instructions | {} | seconds |\n", COLUMNS.join(" | "));
    text.push_str(&format!("{}|\n", "|---".repeat(COLUMNS.len() + 5)));
    for report in reports {
        let detail = |name: &str| report.checks.iter().find(|(known, _, _)| known == name);
        let word = |name: &str, key: &str| {
            let words = detail(name).map_or("", |(_, _, detail)| detail.as_str());
            words.split(' ').find_map(|word| word.strip_prefix(key)?.strip_prefix('=')).unwrap_or("-").to_owned()
        };
        let load = match detail("refusal") {
            Some((_, true, why)) => format!("refused: {why}"),
            Some((_, false, why)) => format!("**{why}**"),
            None => word("load", "instructions"),
        };
        let checks = COLUMNS.map(|name| match detail(name) {
            Some((_, true, _)) => "yes",
            Some((_, false, _)) => "**no**",
            None => "-",
        });
        text.push_str(&format!(
            "| {} | {} | {} | {load} | {} | {} |\n",
            report.kernel.name,
            word("machine", "release"),
            word("machine", "page"),
            checks.join(" | "),
            report.took.as_secs()
        ));
    }
    text
}
