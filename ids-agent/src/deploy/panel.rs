//! Panels in the words of this dashboard, and how they become Grafana's. Pure.

use serde_json::{Map, Value, json};

use super::{
    model::{Colour, Field, FieldConfig, Mapping, Panel, Place, Source, Step, Target, Thresholds},
    query::Query,
};

/// Grafana divides a dashboard's width into so many columns.
pub(super) const COLUMNS: u32 = 24;

pub(super) const SOURCE: Source = Source { kind: "prometheus", uid: "${datasource}" };

/// How it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// One large figure, coloured.
    Figure,
    /// Lines over time.
    Lines,
    /// Areas that add up.
    Areas,
    /// A bar for each series, as it stands now.
    Bars,
    /// Bands of colour over time, one for each series.
    Bands,
    /// A row for each series.
    Table,
}

/// Grafana's names of units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Count,
    PerSec,
    PacketsPerSec,
    BitsPerSec,
    BytesPerSec,
    Bytes,
    Seconds,
    /// From 0 to 1.
    Share,
    Cpus,
    Nanoseconds,
    Celsius,
    Plain,
}

impl Unit {
    const fn id(self) -> &'static str {
        match self {
            Self::Count => "short",
            Self::PerSec => "cps",
            Self::PacketsPerSec => "pps",
            Self::BitsPerSec => "bps",
            Self::BytesPerSec => "binBps",
            Self::Bytes => "bytes",
            Self::Seconds => "s",
            Self::Share | Self::Cpus => "percentunit",
            Self::Nanoseconds => "ns",
            Self::Celsius => "celsius",
            Self::Plain => "none",
        }
    }
}

/// What is shown, of what, and what it means.
#[derive(Clone, Debug)]
pub(super) struct View {
    title: &'static str,
    description: &'static str,
    shape: Shape,
    unit: Unit,
    asked: Vec<(Query, &'static str)>,
    steps: Vec<Step>,
    words: Vec<(i64, &'static str, &'static str)>,
    width: u32,
    height: u32,
    /// What stands there where nothing is to be shown; empty where that never is.
    nothing: &'static str,
}

pub(super) const GREEN: &str = "green";
pub(super) const ORANGE: &str = "orange";
pub(super) const RED: &str = "red";
const BLUE: &str = "blue";

/// A panel that says nothing of itself and has nothing to show yet.
pub(super) fn view(shape: Shape, title: &'static str, unit: Unit) -> View {
    let (width, height) = match shape {
        Shape::Figure => (4, 4),
        Shape::Lines | Shape::Areas => (8, 8),
        Shape::Bars | Shape::Bands | Shape::Table => (8, 8),
    };
    View {
        title,
        description: "",
        shape,
        unit,
        asked: Vec::new(),
        steps: vec![Step { value: None, color: if shape == Shape::Figure { BLUE } else { GREEN } }],
        words: Vec::new(),
        width,
        height,
        nothing: "",
    }
}

impl View {
    /// What it shows and what that means, in whole sentences.
    pub(super) const fn about(mut self, description: &'static str) -> Self {
        self.description = description;
        self
    }

    /// One query, and the name of its series.
    pub(super) fn ask(mut self, query: Query, legend: &'static str) -> Self {
        self.asked.push((query, legend));
        self
    }

    /// Green below, orange and red from these values on.
    pub(super) fn bad_from(mut self, orange: f64, red: f64) -> Self {
        self.steps = vec![
            Step { value: None, color: GREEN },
            Step { value: Some(orange), color: ORANGE },
            Step { value: Some(red), color: RED },
        ];
        self
    }

    /// Red below, green from this value on.
    pub(super) fn good_from(mut self, green: f64) -> Self {
        self.steps = vec![Step { value: None, color: RED }, Step { value: Some(green), color: GREEN }];
        self
    }

    /// Red below the one, orange below the other.
    pub(super) fn bad_below(mut self, red: f64, orange: f64) -> Self {
        self.steps = vec![
            Step { value: None, color: RED },
            Step { value: Some(red), color: ORANGE },
            Step { value: Some(orange), color: GREEN },
        ];
        self
    }

    /// Words and colours for values.
    pub(super) fn words(mut self, words: &[(i64, &'static str, &'static str)]) -> Self {
        self.words = words.to_vec();
        self
    }

    /// Words and colours for 0 and 1.
    pub(super) fn no_yes(self, no: &'static str, yes: &'static str) -> Self {
        self.words(&[(0, no, RED), (1, yes, GREEN)]).good_from(1.0)
    }

    /// It is well where there is nothing to show, and this stands there.
    pub(super) fn or_says(mut self, nothing: &'static str) -> Self {
        self.nothing = nothing;
        self
    }

    pub(super) fn queries(&self) -> impl Iterator<Item = &Query> {
        self.asked.iter().map(|(query, _)| query)
    }

    pub(super) const fn title(&self) -> &'static str {
        self.title
    }

    pub(super) const fn description(&self) -> &'static str {
        self.description
    }

    pub(super) const fn size(&self) -> (u32, u32) {
        (self.width, self.height)
    }

    pub(super) fn panel(&self, id: u32, x: u32, y: u32) -> Panel {
        let instant = matches!(self.shape, Shape::Figure | Shape::Bars | Shape::Table);
        let targets = self.asked.iter().zip('A'..).map(|((query, legend), letter)| Target {
            ref_id: letter.to_string(),
            datasource: SOURCE,
            expr: query.text().to_owned(),
            legend_format: (*legend).to_owned(),
            instant,
            range: !instant,
            format: if self.shape == Shape::Table { "table" } else { "time_series" },
        });
        Panel {
            id,
            kind: match self.shape {
                Shape::Figure => "stat",
                Shape::Lines | Shape::Areas => "timeseries",
                Shape::Bars => "bargauge",
                Shape::Bands => "state-timeline",
                Shape::Table => "table",
            },
            title: self.title.to_owned(),
            description: self.description,
            grid_pos: Place { x, y, w: self.width, h: self.height },
            collapsed: None,
            panels: None,
            datasource: Some(SOURCE),
            targets: targets.collect(),
            field_config: Some(FieldConfig { defaults: self.field(), overrides: Vec::new() }),
            options: Some(self.options()),
        }
    }

    fn field(&self) -> Field {
        let coloured = matches!(self.shape, Shape::Figure | Shape::Bars | Shape::Bands);
        let words: Map<String, Value> = self
            .words
            .iter()
            .enumerate()
            .map(|(index, (value, text, colour))| {
                (value.to_string(), json!({ "text": text, "color": colour, "index": index }))
            })
            .collect();
        Field {
            unit: self.unit.id(),
            min: (self.unit != Unit::Plain && self.shape != Shape::Figure).then_some(0.0),
            max: (self.unit == Unit::Share && self.shape == Shape::Bars).then_some(1.0),
            decimals: None,
            no_value: (!self.nothing.is_empty()).then_some(self.nothing),
            color: Colour { mode: if coloured { "thresholds" } else { "palette-classic" } },
            thresholds: Thresholds { mode: "absolute", steps: self.steps.clone() },
            mappings: if words.is_empty() { Vec::new() } else { vec![Mapping { kind: "value", options: words }] },
            custom: match self.shape {
                Shape::Lines => Some(json!({
                    "lineWidth": 1, "fillOpacity": 5, "showPoints": "never", "spanNulls": false,
                    "thresholdsStyle": { "mode": if self.steps.len() > 1 { "dashed" } else { "off" } },
                })),
                Shape::Areas => Some(json!({
                    "lineWidth": 1, "fillOpacity": 40, "showPoints": "never", "spanNulls": false,
                    "stacking": { "mode": "normal", "group": "A" },
                })),
                Shape::Bands => Some(json!({ "fillOpacity": 80, "lineWidth": 0 })),
                Shape::Figure | Shape::Bars | Shape::Table => None,
            },
        }
    }

    fn options(&self) -> Value {
        let last = json!({ "calcs": ["lastNotNull"], "fields": "", "values": false });
        match self.shape {
            Shape::Figure => json!({
                "reduceOptions": last, "colorMode": "background", "graphMode": "none", "justifyMode": "auto",
                "textMode": "auto", "orientation": "auto", "wideLayout": true,
            }),
            Shape::Lines | Shape::Areas => json!({
                "legend": { "displayMode": "list", "placement": "bottom", "showLegend": true, "calcs": [] },
                "tooltip": { "mode": "multi", "sort": "desc" },
            }),
            Shape::Bars => json!({
                "reduceOptions": last, "orientation": "horizontal", "displayMode": "basic", "valueMode": "color",
                "showUnfilled": true, "minVizWidth": 8, "minVizHeight": 16,
            }),
            Shape::Bands => json!({
                "showValue": "auto", "mergeValues": true, "alignValue": "left", "rowHeight": 0.8,
                "legend": { "displayMode": "list", "placement": "bottom", "showLegend": false, "calcs": [] },
                "tooltip": { "mode": "single", "sort": "none" },
            }),
            Shape::Table => json!({ "showHeader": true, "cellHeight": "sm" }),
        }
    }
}

/// A panel of words.
pub(super) fn words(id: u32, title: &str, markdown: &str, place: Place) -> Panel {
    Panel {
        id,
        kind: "text",
        title: title.to_owned(),
        description: "",
        grid_pos: place,
        collapsed: None,
        panels: None,
        datasource: None,
        targets: Vec::new(),
        field_config: None,
        options: Some(json!({ "mode": "markdown", "content": markdown })),
    }
}

/// A row: open with its panels below it, or closed with them inside.
pub(super) fn row(id: u32, title: &str, y: u32, inside: Option<Vec<Panel>>) -> Panel {
    Panel {
        id,
        kind: "row",
        title: title.to_owned(),
        description: "",
        grid_pos: Place { x: 0, y, w: COLUMNS, h: 1 },
        collapsed: Some(inside.is_some()),
        panels: Some(inside.unwrap_or_default()),
        datasource: None,
        targets: Vec::new(),
        field_config: None,
        options: None,
    }
}
