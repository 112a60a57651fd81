//! The rows of the dashboard: is it working, what is it blind to, what did it find; and below, closed, the parts. Pure.

use super::{
    panel::View,
    query::{INSTANCE, Query, Series, chosen},
};
use crate::http::family::{self, Family, label};

mod open;
mod parts;

/// Grafana's own: wide enough for four scrapes, and the whole range shown.
pub(super) const RATE: &str = "$__rate_interval";
const RANGE: &str = "$__range";
/// The variable for interfaces.
const INTERFACES: &str = "$interface";

pub(super) struct Row {
    pub(super) title: &'static str,
    /// The question that it answers, for the page of documentation.
    pub(super) question: &'static str,
    pub(super) open: bool,
    pub(super) views: Vec<View>,
}

/// Of all chosen agents together.
fn rate(family: Family) -> Query {
    chosen(family).rate(RATE).sum(&[])
}

fn rate_by(family: Family, by: &str) -> Query {
    chosen(family).rate(RATE).sum(&[by])
}

fn in_range_by(family: Family, by: &[&str]) -> Query {
    chosen(family).increase(RANGE).sum(by)
}

fn worst(family: Family) -> Query {
    chosen(family).now().max(&[INSTANCE])
}

fn worst_by(family: Family, by: &str) -> Query {
    chosen(family).now().max(&[by])
}

fn attached() -> Series {
    chosen(family::ATTACHED).like(label::INTERFACE, INTERFACES)
}

pub(super) fn rows() -> Vec<Row> {
    vec![
        open::working(),
        open::blind(),
        open::found(),
        parts::speed(),
        parts::budget(),
        parts::delivery(),
        parts::suricata(),
        parts::intel(),
        parts::blocking(),
    ]
}
