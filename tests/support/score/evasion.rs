//! What is left of the figures when attacks come in disguise.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{
    Scored,
    report::{decimal, percent, report, table},
};
use crate::evade::Trick;

/// Figures of the attack captures as they are and under each trick.
#[derive(Clone, Debug, Serialize)]
pub struct Evasion {
    pub clean: Tried,
    /// By the trick's name.
    pub tricks: BTreeMap<&'static str, Tried>,
    /// Captures without attack flows that could be disguised.
    pub left_out: u64,
}

#[derive(Clone, Debug, Serialize)]
pub struct Tried {
    /// Share of attack flows seen as attack, and of that the part that was left; splitting makes more flows.
    pub attack_recall: Option<f64>,
    pub kept: Option<f64>,
    pub captures_alerted: Option<f64>,
    pub first_alert_secs_p50: Option<f64>,
    /// Share of each family's flows seen as attack.
    pub families: BTreeMap<&'static str, Option<f64>>,
}

impl Evasion {
    pub fn new(tried: impl Iterator<Item = (Option<Trick>, Scored)>, left_out: u64) -> Self {
        let mut by_trick: BTreeMap<Option<Trick>, Vec<Scored>> = BTreeMap::new();
        for (trick, scored) in tried {
            by_trick.entry(trick).or_default().push(scored);
        }
        let of = |trick: Option<Trick>| Tried::of(by_trick.get(&trick).map_or(&[], Vec::as_slice));
        let clean = of(None);
        let tricks = Trick::ALL.into_iter().map(|trick| {
            let mut tried = of(Some(trick));
            tried.kept = tried.attack_recall.zip(clean.attack_recall).map(|(now, before)| now / before);
            (trick.name(), tried)
        });
        Self { tricks: tricks.collect(), clean, left_out }
    }

    pub fn table(&self) -> String {
        let families: BTreeSet<&str> = self.clean.families.keys().copied().collect();
        let header: Vec<&str> = ["disguise", "attack flows seen", "kept", "captures alerted", "median s"]
            .into_iter()
            .chain(families)
            .collect();
        let row = |name: &str, tried: &Tried| {
            let told = [
                name.to_owned(),
                percent(tried.attack_recall),
                percent(tried.kept),
                percent(tried.captures_alerted),
                decimal(tried.first_alert_secs_p50, 2),
            ];
            told.into_iter().chain(tried.families.values().map(|share| percent(*share))).collect()
        };
        let tricks = Trick::ALL.into_iter().filter_map(|trick| Some(row(trick.name(), self.tricks.get(trick.name())?)));
        let told = table(&header, std::iter::once(row("none", &self.clean)).chain(tricks));
        let left_out = self.left_out;
        format!("{told}\nCaptures left out, since they hold no attack flow that can be disguised: {left_out}.\n")
    }
}

impl Tried {
    fn of(scored: &[Scored]) -> Self {
        let report = report(scored);
        Self {
            attack_recall: report.total.attack_recall,
            kept: None,
            captures_alerted: report.total.captures_alerted,
            first_alert_secs_p50: report.total.first_alert_secs_p50,
            families: report.families.into_iter().map(|(name, family)| (name, family.attack_recall)).collect(),
        }
    }
}
