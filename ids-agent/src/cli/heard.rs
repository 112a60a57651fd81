//! What Suricata added to a replay: who saw what, and what became of its alerts. For people and as JSON.

use std::collections::BTreeMap;

use serde::Serialize;

use super::table::{grouped, number, table};
use crate::detect::{
    Class, Incident, Verdict, Witness, WitnessScore,
    signature::{JoinStats, Orphan},
};

/// Totals over all captures of a run.
#[derive(Debug, Default, Serialize)]
pub(super) struct Heard {
    #[serde(skip)]
    spoke: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rules_loaded: Option<u64>,
    alerts: u64,
    joined: u64,
    join_rate: f64,
    orphans: u64,
    orphans_by_reason: BTreeMap<&'static str, u64>,
    /// Signatures of flows that are worth telling by themselves.
    worth_telling: u64,
    /// Flows that were called an attack, by class and by who named it.
    flows: BTreeMap<&'static str, Sides>,
    /// Incidents that opened, likewise.
    incidents: BTreeMap<&'static str, Sides>,
    #[serde(skip)]
    join: JoinStats,
}

/// Who named something.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Sides {
    agent_only: u64,
    suricata_only: u64,
    both: u64,
}

impl Sides {
    fn count(&mut self, class: Class, witnesses: &[WitnessScore]) {
        let mut named = [false; 2];
        for said in witnesses.iter().filter(|said| said.supports(class) && said.decides()) {
            named[usize::from(said.witness == Witness::Signature)] = true;
        }
        let [agent, suricata] = named;
        match (agent, suricata) {
            (true, true) => self.both += 1,
            (false, true) => self.suricata_only += 1,
            (true, false) | (false, false) => self.agent_only += 1,
        }
    }
}

impl Heard {
    pub(super) fn is_silent(&self) -> bool {
        !self.spoke
    }

    pub(super) fn count_verdict(&mut self, verdict: &Verdict) {
        if verdict.class != Class::Benign {
            self.flows.entry(verdict.class.name()).or_default().count(verdict.class, &verdict.witnesses);
        }
    }

    pub(super) fn count_incident(&mut self, incident: &Incident) {
        self.incidents.entry(incident.class.name()).or_default().count(incident.class, &incident.witnesses);
    }

    pub(super) fn add(&mut self, join: &JoinStats) {
        self.spoke = true;
        let all = &mut self.join;
        all.alerts += join.alerts;
        all.joined_by_id += join.joined_by_id;
        all.joined_by_tuple += join.joined_by_tuple;
        all.waiting += join.waiting;
        all.worth_telling += join.worth_telling;
        for (sum, more) in all.orphans.iter_mut().zip(join.orphans) {
            *sum += more;
        }
    }

    pub(super) fn close(&mut self) {
        let join = &self.join;
        self.alerts = join.alerts;
        self.joined = join.joined();
        self.join_rate = join.join_rate();
        self.orphans = join.orphans_all();
        self.worth_telling = join.worth_telling;
        self.orphans_by_reason = Orphan::ALL
            .iter()
            .zip(join.orphans)
            .filter(|(_, count)| *count > 0)
            .map(|(why, n)| (why.label(), n))
            .collect();
    }

    /// At the end of a replay no alert waits any more.
    pub(super) fn is_conserved(&self) -> bool {
        self.join.is_conserved() && self.join.waiting == 0
    }

    /// Tables of who saw what, line by line; nothing where Suricata was not heard.
    pub(super) fn show(&self, line: &mut impl FnMut(String)) {
        if !self.spoke {
            return;
        }
        let mut seen = table(&["seen by", "agent only", "Suricata only", "both"]);
        for (what, classes) in [("flows", &self.flows), ("alerts", &self.incidents)] {
            for (class, sides) in classes {
                let name = format!("{what}: {class}");
                seen.add_row(vec![
                    name.into(),
                    number(sides.agent_only),
                    number(sides.suricata_only),
                    number(sides.both),
                ]);
            }
        }
        if !(self.flows.is_empty() && self.incidents.is_empty()) {
            line(seen.to_string());
        }
        let reasons: Vec<String> =
            self.orphans_by_reason.iter().map(|(reason, count)| format!("{} {reason}", grouped(*count))).collect();
        let orphans = if reasons.is_empty() { String::new() } else { format!(" ({})", reasons.join(", ")) };
        let rules = self.rules_loaded.map_or(String::new(), |rules| format!(", {} rules", grouped(rules)));
        line(format!(
            "Suricata: {} alerts = {} joined + {} orphans{orphans}; {:.2} % joined, {} signatures of flows worth telling{rules}",
            grouped(self.alerts),
            grouped(self.joined),
            grouped(self.orphans),
            100.0 * self.join_rate,
            grouped(self.worth_telling),
        ));
    }
}
