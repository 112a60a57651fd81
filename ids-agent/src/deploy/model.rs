//! A dashboard as Grafana stores it: as much of its JSON model as is used here. Pure.

use serde::Serialize;

/// Of the JSON model of Grafana 11.6; newer ones take it over by themselves.
pub(super) const SCHEMA_VERSION: u32 = 41;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Dashboard {
    pub(super) uid: &'static str,
    pub(super) title: &'static str,
    pub(super) description: &'static str,
    pub(super) tags: Vec<&'static str>,
    pub(super) timezone: &'static str,
    pub(super) editable: bool,
    pub(super) graph_tooltip: u8,
    pub(super) time: TimeRange,
    pub(super) refresh: &'static str,
    pub(super) schema_version: u32,
    pub(super) templating: Listed<Variable>,
    pub(super) annotations: Listed<Annotation>,
    pub(super) links: Vec<Link>,
    pub(super) panels: Vec<Panel>,
}

#[derive(Debug, Serialize)]
pub(super) struct TimeRange {
    pub(super) from: &'static str,
    pub(super) to: &'static str,
}

#[derive(Debug, Serialize)]
pub(super) struct Listed<T> {
    pub(super) list: Vec<T>,
}

/// Which data source is asked.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Source {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) uid: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Variable {
    pub(super) name: &'static str,
    pub(super) label: &'static str,
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) datasource: Option<Source>,
    /// The text of the query, or for a data source its kind.
    pub(super) query: String,
    pub(super) include_all: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) all_value: Option<&'static str>,
    pub(super) multi: bool,
    pub(super) current: Choice,
    /// 0 never, 1 when the dashboard opens, 2 when its time range changes.
    pub(super) refresh: u8,
    /// 0 shows name and choice.
    pub(super) hide: u8,
    pub(super) sort: u8,
}

#[derive(Debug, Serialize)]
pub(super) struct Choice {
    pub(super) text: &'static str,
    pub(super) value: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Annotation {
    pub(super) name: &'static str,
    pub(super) datasource: Source,
    pub(super) enable: bool,
    pub(super) icon_color: &'static str,
    pub(super) expr: String,
    pub(super) title_format: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Link {
    pub(super) title: String,
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) icon: &'static str,
    pub(super) tooltip: String,
    pub(super) url: String,
    pub(super) tags: Vec<&'static str>,
    pub(super) as_dropdown: bool,
    pub(super) target_blank: bool,
    pub(super) include_vars: bool,
    pub(super) keep_time: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Place {
    pub(super) x: u32,
    pub(super) y: u32,
    pub(super) w: u32,
    pub(super) h: u32,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Panel {
    pub(super) id: u32,
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) title: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) description: &'static str,
    pub(super) grid_pos: Place,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) collapsed: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) panels: Option<Vec<Panel>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) datasource: Option<Source>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) targets: Vec<Target>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) field_config: Option<FieldConfig>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) options: Option<serde_json::Value>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Target {
    pub(super) ref_id: String,
    pub(super) datasource: Source,
    pub(super) expr: String,
    pub(super) legend_format: String,
    /// One value for now, or
    pub(super) instant: bool,
    /// values over the time range.
    pub(super) range: bool,
    pub(super) format: &'static str,
}

#[derive(Debug, Serialize)]
pub(super) struct FieldConfig {
    pub(super) defaults: Field,
    pub(super) overrides: Vec<serde_json::Value>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Field {
    pub(super) unit: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) min: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) max: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) decimals: Option<f64>,
    /// What stands where there is nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) no_value: Option<&'static str>,
    pub(super) color: Colour,
    pub(super) thresholds: Thresholds,
    pub(super) mappings: Vec<Mapping>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) custom: Option<serde_json::Value>,
}

#[derive(Debug, Serialize)]
pub(super) struct Colour {
    pub(super) mode: &'static str,
}

#[derive(Debug, Serialize)]
pub(super) struct Thresholds {
    pub(super) mode: &'static str,
    pub(super) steps: Vec<Step>,
}

/// From this value on, this colour. The first has none: it begins at minus infinity.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Step {
    pub(super) value: Option<f64>,
    pub(super) color: &'static str,
}

/// Words for values.
#[derive(Debug, Serialize)]
pub(super) struct Mapping {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) options: serde_json::Map<String, serde_json::Value>,
}
