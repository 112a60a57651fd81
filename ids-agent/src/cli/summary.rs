//! What a replay did, for people and as JSON.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use ids_common::counter::{Counter, Skip};
use serde::Serialize;

use super::{
    heard::Heard,
    table::{grouped, number, shown, table},
};
use crate::{
    detect::{Class, Incident, Severity, Stage, Verdict},
    flow::FlowEnd,
    pipeline::LineReport,
    sink::SinkStats,
};

/// Alerts listed below the tables; the rest is counted.
const ALERTS_LISTED_MAX: usize = 20;

/// Totals over all captures of a run.
#[derive(Debug, Default, Serialize)]
pub(super) struct Summary {
    captures: Vec<CaptureLine>,
    packets: Packets,
    skipped: BTreeMap<&'static str, u64>,
    flows: Flows,
    verdicts: BTreeMap<&'static str, u64>,
    alerts: BTreeMap<&'static str, BTreeMap<&'static str, u64>>,
    outputs: BTreeMap<&'static str, Output>,
    conserved: bool,
    elapsed_secs: f64,
    packets_per_sec: f64,
    #[serde(skip_serializing_if = "Heard::is_silent")]
    suricata: Heard,
    #[serde(skip)]
    listed: Vec<ListedAlert>,
    #[serde(skip)]
    alerts_all: u64,
}

#[derive(Debug, Serialize)]
struct CaptureLine {
    path: String,
    packets: u64,
    flows: u64,
    alerts: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<String>,
}

/// Where every packet went.
#[derive(Debug, Default, Serialize)]
struct Packets {
    seen: u64,
    unfolded: u64,
    in_flows: u64,
    bytes_in_flows: u64,
    skipped: u64,
    in_ended_flows: u64,
    bytes_in_ended_flows: u64,
    lost: u64,
}

#[derive(Debug, Default, Serialize)]
struct Flows {
    started: u64,
    ended: BTreeMap<&'static str, u64>,
    verdicts: u64,
}

#[derive(Debug, Serialize)]
struct Output {
    offered: u64,
    written: u64,
    dropped: u64,
}

#[derive(Debug)]
struct ListedAlert {
    severity: Severity,
    class: Class,
    kind: &'static str,
    source: IpAddr,
    target: IpAddr,
    reason: String,
}

impl Summary {
    pub(super) fn count_incident(&mut self, incident: &Incident) {
        let severities = self.alerts.entry(incident.class.name()).or_default();
        *severities.entry(severity_name(incident.severity)).or_default() += 1;
        self.alerts_all += 1;
        if incident.stage == Stage::Opened {
            self.suricata.count_incident(incident);
        }
        if incident.stage == Stage::Opened && self.listed.len() < ALERTS_LISTED_MAX {
            self.listed.push(ListedAlert {
                severity: incident.severity,
                class: incident.class,
                kind: incident.kind,
                source: IpAddr::from(incident.key.src).to_canonical(),
                target: IpAddr::from(incident.key.dst).to_canonical(),
                reason: incident.reason.clone(),
            });
        }
    }

    pub(super) fn count_verdict(&mut self, verdict: &Verdict) {
        let class = verdict.class;
        self.suricata.count_verdict(verdict);
        *self.verdicts.entry(class.name()).or_default() += 1;
        self.flows.verdicts += 1;
    }

    pub(super) fn alerts_all(&self) -> u64 {
        self.alerts_all
    }

    /// Adds what a line did with one capture; `alerts` were raised by it.
    pub(super) fn add(&mut self, path: String, report: &LineReport, alerts: u64, fault: Option<String>) {
        let totals = &report.totals;
        let flow = &report.stats.flow;
        let packets = &mut self.packets;
        packets.seen += totals.counter(Counter::PacketsSeen);
        packets.unfolded += totals.counter(Counter::SegmentsUnfolded);
        packets.in_flows += totals.counter(Counter::FlowPackets);
        packets.bytes_in_flows += totals.counter(Counter::FlowBytes);
        packets.skipped += totals.skipped_all();
        packets.in_ended_flows += flow.packets_ended;
        packets.bytes_in_ended_flows += flow.bytes_ended;
        packets.lost += totals.counter(Counter::SlotsLostPackets);
        for skip in Skip::ALL {
            if totals.skipped(skip) > 0 {
                *self.skipped.entry(skip.label()).or_default() += totals.skipped(skip);
            }
        }
        self.flows.started += flow.started;
        for end in FlowEnd::ALL {
            if flow.ended_by(end) > 0 {
                *self.flows.ended.entry(end.label()).or_default() += flow.ended_by(end);
            }
        }
        for (_, stats) in &report.stats.detectors {
            if let Some(join) = &stats.join {
                self.suricata.add(join);
            }
        }
        self.captures.push(CaptureLine {
            path,
            packets: totals.counter(Counter::PacketsSeen),
            flows: flow.started,
            alerts,
            fault,
        });
    }

    pub(super) fn set_rules_loaded(&mut self, rules: Option<u64>) {
        self.suricata.rules_loaded = rules;
    }

    /// Closes the account.
    pub(super) fn close(&mut self, outputs: &[(&'static str, SinkStats)], elapsed: Duration) {
        for (name, stats) in outputs {
            let output = Output { offered: stats.offered, written: stats.written, dropped: stats.dropped_all() };
            self.outputs.insert(name, output);
        }
        self.suricata.close();
        self.conserved = self.is_conserved()
            && self.suricata.is_conserved()
            && outputs.iter().all(|(_, stats)| stats.is_conserved());
        self.elapsed_secs = elapsed.as_secs_f64();
        self.packets_per_sec = if self.elapsed_secs > 0.0 { self.packets.seen as f64 / self.elapsed_secs } else { 0.0 };
    }

    /// Every packet is in a flow or skipped, every packet of a flow is in an ended record, and every
    /// ended flow has its verdict.
    fn is_conserved(&self) -> bool {
        let packets = &self.packets;
        let ended: u64 = self.flows.ended.values().sum();
        packets.seen + packets.unfolded == packets.in_flows + packets.skipped
            && packets.in_flows == packets.in_ended_flows + packets.lost
            && self.flows.started == ended
            && self.flows.verdicts == ended
    }

    pub(super) fn json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self)
    }

    /// The tables, ready to print.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        let mut line = |piece: String| {
            text.push_str(&piece);
            text.push('\n');
        };
        let mut all = table(&["", "count"]);
        all.add_row(vec!["captures".into(), number(self.captures.len() as u64)]);
        all.add_row(vec!["packets".into(), number(self.packets.seen)]);
        all.add_row(vec!["  in flows".into(), number(self.packets.in_flows)]);
        for (reason, count) in &self.skipped {
            all.add_row(vec![format!("  skipped: {reason}").into(), number(*count)]);
        }
        all.add_row(vec!["bytes in flows".into(), number(self.packets.bytes_in_flows)]);
        all.add_row(vec!["flows".into(), number(self.flows.started)]);
        for (class, count) in &self.verdicts {
            all.add_row(vec![format!("  {class}").into(), number(*count)]);
        }
        all.add_row(vec!["alerts".into(), number(self.alerts_all)]);
        for (class, severities) in &self.alerts {
            for (severity, count) in severities {
                all.add_row(vec![format!("  {class}, {severity}").into(), number(*count)]);
            }
        }
        line(all.to_string());
        if !self.listed.is_empty() {
            let mut alerts = table(&["severity", "alert", "from", "to", "why"]);
            for alert in &self.listed {
                let name = if alert.kind.is_empty() {
                    alert.class.name().to_owned()
                } else {
                    format!("{} {}", alert.class.name(), alert.kind)
                };
                alerts.add_row(vec![
                    severity_name(alert.severity).to_owned(),
                    name,
                    alert.source.to_string(),
                    alert.target.to_string(),
                    shown(&alert.reason, 200),
                ]);
            }
            line(alerts.to_string());
            let unlisted = self.alerts_all.saturating_sub(self.listed.len() as u64);
            if unlisted > 0 {
                line(format!("and {} more; --alerts FILE writes them all", grouped(unlisted)));
            }
        }
        self.suricata.show(&mut line);
        line(self.conservation());
        for capture in self.captures.iter().filter(|capture| capture.fault.is_some()) {
            let fault = capture.fault.as_deref().unwrap_or_default();
            line(format!("note: {}: {}", shown(&capture.path, 200), shown(fault, 300)));
        }
        line(format!(
            "{} packets in {:.2} s: {} packets/s",
            grouped(self.packets.seen),
            self.elapsed_secs,
            grouped(self.packets_per_sec as u64),
        ));
        text
    }

    fn conservation(&self) -> String {
        let packets = &self.packets;
        let unfolded =
            if packets.unfolded > 0 { format!(" + {} unfolded", grouped(packets.unfolded)) } else { String::new() };
        let sign = if self.conserved { "conservation holds" } else { "CONSERVATION BROKEN" };
        let mut line = format!(
            "{sign}: {} seen{unfolded} = {} in flows + {} skipped; {} in ended flows + {} lost",
            grouped(packets.seen),
            grouped(packets.in_flows),
            grouped(packets.skipped),
            grouped(packets.in_ended_flows),
            grouped(packets.lost),
        );
        for (name, output) in &self.outputs {
            line.push_str(&format!(
                "; {name}: {} = {} written + {} dropped",
                grouped(output.offered),
                grouped(output.written),
                grouped(output.dropped)
            ));
        }
        line
    }

    /// What is wrong with the account, if anything.
    pub(super) fn fault(&self) -> Option<String> {
        (!self.conserved).then(|| format!("{}; please report this as a bug", self.conservation()))
    }
}

pub(super) fn severity_name(severity: Severity) -> &'static str {
    match severity {
        Severity::High => "high",
        Severity::Medium => "medium",
        Severity::Low => "low",
        Severity::Info => "info",
    }
}
