//! The runbook in Markdown: for the page of documentation and for the dashboard's last row. Pure.

use std::fmt::Write;

use super::{alerts::groups, dashboard};

/// Each alert with what it means and what to do.
pub(super) fn runbook() -> String {
    let mut out = String::new();
    for (_, alerts) in groups() {
        for alert in alerts {
            // Writing into a string fails for nobody.
            let _ = write!(out, "### {}\n\n{}\n\n{}\n\n", alert.name, alert.means, alert.act);
        }
    }
    out
}

/// The part of `docs/monitoring.md` on alerts: a table, and the runbook.
pub fn runbook_page() -> String {
    let mut out = String::from("| alert | urgency | after | when |\n|---|---|---|---|\n");
    for (_, alerts) in groups() {
        for alert in alerts {
            let holds = if alert.holds == "0m" { "at once" } else { alert.holds };
            let query = alert.query.text().replace('|', "\\|");
            let _ = writeln!(
                out,
                "| [{}](#{}) | {} | {holds} | `{query}` |",
                alert.name,
                alert.anchor(),
                alert.urgency.label()
            );
        }
    }
    out.push('\n');
    out.push_str(runbook().trim_end());
    out.push('\n');
    out
}

/// The part of `docs/monitoring.md` on the dashboard: each row with its question, each panel with what it says.
pub fn panels_page() -> String {
    let mut out = String::new();
    for dashboard::Told { title, question, panels } in dashboard::described() {
        let _ = write!(out, "### {title}\n\n{question}\n\n| panel | says |\n|---|---|\n");
        for (panel, description) in panels {
            let _ = writeln!(out, "| {panel} | {description} |");
        }
        out.push('\n');
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}
