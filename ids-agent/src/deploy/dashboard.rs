//! The dashboard: its rows put in place, with variables, marks and links around them. Pure.

use super::{
    Monitoring,
    model::{Annotation, Choice, Dashboard, Link, Listed, Panel, Place, SCHEMA_VERSION, Source, TimeRange, Variable},
    panel::{COLUMNS, SOURCE, View, row, words},
    query::{INSTANCE, Query, chosen, foreign},
    rows::{RATE, rows},
    runbook::runbook,
};
use crate::{
    detect::Severity,
    http::family::{self, label},
};

/// The data source's id, as provisioned.
pub(super) const DATASOURCE: &str = "ids-prometheus";

pub(super) fn queries() -> Vec<(&'static str, Query)> {
    let views = rows().into_iter().flat_map(|row| row.views);
    views.flat_map(|view| view.queries().map(|query| (view.title(), query.clone())).collect::<Vec<_>>()).collect()
}

/// A row as the docs tell of it.
pub(super) struct Told {
    pub(super) title: &'static str,
    pub(super) question: &'static str,
    /// Title and description of each panel.
    pub(super) panels: Vec<(&'static str, &'static str)>,
}

pub(super) fn described() -> Vec<Told> {
    let panels = |views: &[View]| views.iter().map(|view| (view.title(), view.description())).collect();
    rows().iter().map(|row| Told { title: row.title, question: row.question, panels: panels(&row.views) }).collect()
}

/// Panels from left to right, a new line where one does not fit; and the height of it all.
fn placed(views: &[View], mut id: u32, top: u32) -> (Vec<Panel>, u32) {
    let (mut x, mut y, mut tallest) = (0, top, 0);
    let mut panels = Vec::with_capacity(views.len());
    for view in views {
        let (width, height) = view.size();
        if x + width > COLUMNS || (x > 0 && height != tallest) {
            (x, y, tallest) = (0, y + tallest, 0);
        }
        panels.push(view.panel(id, x, y));
        (x, id, tallest) = (x + width, id + 1, tallest.max(height));
    }
    (panels, y + tallest - top)
}

pub(super) fn json(settings: &Monitoring) -> String {
    let (mut panels, mut id, mut y) = (Vec::new(), 1, 0);
    for part in rows() {
        let (inside, height) = placed(&part.views, id + 1, y + 1);
        let next = id + 1 + inside.len() as u32;
        if part.open {
            panels.push(row(id, part.title, y, None));
            panels.extend(inside);
            y += height;
        } else {
            panels.push(row(id, part.title, y, Some(inside)));
        }
        (id, y) = (next, y + 1);
    }
    let said = words(id + 1, "What to do", &runbook(), Place { x: 0, y: y + 1, w: COLUMNS, h: 24 });
    panels.push(row(id, "Runbook", y, Some(vec![said])));
    let dashboard = Dashboard {
        uid: "ids-agent",
        title: "ids-agent",
        description: "Is it working, what is it blind to, what did it find. Written by `ids-agent generate grafana`.",
        tags: vec!["ids", "security"],
        timezone: "browser",
        editable: false,
        graph_tooltip: 1,
        time: TimeRange { from: "now-6h", to: "now" },
        refresh: "30s",
        schema_version: SCHEMA_VERSION,
        templating: Listed { list: variables() },
        annotations: Listed { list: annotations() },
        links: links(settings),
        panels,
    };
    // A value of these types has no way to fail: no map with keys that are no text.
    let mut text = serde_json::to_string_pretty(&dashboard).unwrap_or_default();
    text.push('\n');
    text
}

fn variables() -> Vec<Variable> {
    let all = Choice { text: "All", value: "$__all" };
    let of_label = |name, label, query| Variable {
        name,
        label,
        kind: "query",
        datasource: Some(SOURCE),
        query,
        include_all: true,
        all_value: Some(".*"),
        multi: true,
        current: Choice { ..all },
        refresh: 2,
        hide: 0,
        sort: 1,
    };
    vec![
        Variable {
            name: "datasource",
            label: "Prometheus",
            kind: "datasource",
            datasource: None,
            query: SOURCE.kind.to_owned(),
            include_all: false,
            all_value: None,
            multi: false,
            current: Choice { text: "Prometheus", value: DATASOURCE },
            refresh: 1,
            hide: 0,
            sort: 0,
        },
        of_label("instance", "Agent", format!("label_values({}, {INSTANCE})", family::BUILD_INFO.name)),
        of_label(
            "interface",
            "Interface",
            format!("label_values({}, {})", chosen(family::ATTACHED).now().text(), label::INTERFACE),
        ),
    ]
}

fn annotations() -> Vec<Annotation> {
    let high = chosen(family::ALERTS).is(label::SEVERITY, super::severity(Severity::High));
    let mark = |name, icon_color, query: Query, title_format| Annotation {
        name,
        datasource: Source { ..SOURCE },
        enable: true,
        icon_color,
        expr: query.text().to_owned(),
        title_format,
    };
    vec![
        mark(
            "High alerts",
            "red",
            high.increase(RATE).sum(&[INSTANCE, label::CLASS]).above(0.0),
            "{{class}} on {{instance}}",
        ),
        mark(
            "Starts",
            "blue",
            chosen(foreign::PROCESS_START_TIME_SECONDS).changes(RATE).above(0.0),
            "{{instance}} was started",
        ),
    ]
}

fn links(settings: &Monitoring) -> Vec<Link> {
    let Some(docs) = &settings.docs_url else { return Vec::new() };
    let link = |title: &str, page: &str, tooltip: &str| Link {
        title: title.to_owned(),
        kind: "link",
        icon: "doc",
        tooltip: tooltip.to_owned(),
        url: format!("{}/{page}", docs.trim_end_matches('/')),
        tags: Vec::new(),
        as_dropdown: false,
        target_blank: true,
        include_vars: false,
        keep_time: false,
    };
    vec![
        link("Runbook", "monitoring.md", "What each alert means and what to do"),
        link("Metrics", "operations.md#metrics", "What each figure counts"),
    ]
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed step fails the test")]
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    fn every_panel(panels: &[Value], into: &mut Vec<Value>) {
        for panel in panels {
            into.push(panel.clone());
            every_panel(panel["panels"].as_array().map_or(&[], Vec::as_slice), into);
        }
    }

    #[test]
    fn panels_have_ids_of_their_own_and_none_covers_another() {
        let dashboard: Value = serde_json::from_str(&json(&Monitoring::default())).unwrap();
        let mut panels = Vec::new();
        every_panel(dashboard["panels"].as_array().unwrap(), &mut panels);
        let ids: BTreeSet<u64> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
        assert_eq!(ids.len(), panels.len());
        // What is in a closed row stands where it opens, so only neighbours of one row are compared.
        let mut groups = vec![dashboard["panels"].as_array().unwrap().clone()];
        groups.extend(panels.iter().filter_map(|panel| panel["panels"].as_array().cloned()));
        for group in groups {
            let mut taken = BTreeSet::new();
            for panel in group {
                let of = |side: &str| panel["gridPos"][side].as_u64().unwrap();
                assert!(of("x") + of("w") <= u64::from(COLUMNS), "{panel}");
                for x in of("x")..of("x") + of("w") {
                    for y in of("y")..of("y") + of("h") {
                        assert!(taken.insert((x, y)), "{} covers another panel", panel["title"]);
                    }
                }
            }
        }
    }

    #[test]
    fn every_panel_asks_something_and_teaches() {
        for Told { panels, .. } in described() {
            for (title, description) in panels {
                assert!(description.len() > 20 && description.ends_with('.'), "{title}: {description}");
            }
        }
        assert!(rows().iter().flat_map(|row| &row.views).all(|view| view.queries().next().is_some()));
    }
}
