//! What a run comes to: every packet accounted for, every attack told or excused, every promise kept.

use std::{collections::BTreeMap, fmt::Write as _, sync::atomic::Ordering, time::Duration};

use super::{
    attack::{Attack, Attacks, Kind},
    heard::{Fate, Heard},
    schedule::Trouble,
    traffic::Traffic,
    wire::Counts,
};
use crate::{metrics::Metrics, span::shown};

/// Of the attacks, at least this share is alerted, or the agent said in time that it does not see all.
const TOLD_SHARE_MIN: f64 = 0.95;

/// A deleted interface takes packets a moment longer than it counts them: programs see those on their way out. At most so many
/// for each deletion, as many as a flood's answers in a tenth of a second.
const LAST_ONES_MAX: f64 = 1_500.0;

/// Packets, as different parties counted them.
#[derive(Debug)]
pub(crate) struct Packets {
    /// Of the interface itself, over all its lives.
    pub(crate) wire: Counts,
    pub(crate) seen: f64,
    in_flows: f64,
    skipped: f64,
    gap: f64,
    pub(super) slots_lost: f64,
}

impl Packets {
    pub(crate) fn read(wire: Counts, page: &Metrics) -> Self {
        let sum = |name| page.sum(name, &[]).unwrap_or_default();
        Self {
            wire,
            seen: sum("ids_packets_seen_total") + sum("ids_segments_unfolded_total"),
            in_flows: sum("ids_packets_in_flows_total"),
            skipped: sum("ids_packets_skipped_total") + sum("ids_table_missing_total"),
            gap: sum("ids_capture_gap_packets_total"),
            slots_lost: sum("ids_slots_lost_packets_total"),
        }
    }

    /// Packets that are nowhere.
    pub(crate) fn lost(&self) -> f64 {
        (self.wire.all() as f64 - self.seen - self.gap).max(0.0)
    }

    /// Packets that programs saw and the interface did not count.
    pub(crate) fn excess(&self) -> f64 {
        (self.seen + self.gap - self.wire.all() as f64).max(0.0)
    }

    pub(crate) fn is_conserved(&self) -> bool {
        self.seen > 0.0 && self.seen == self.in_flows + self.skipped
    }
}

/// All that is judged.
pub(super) struct Verdict<'a> {
    pub(super) seed: u64,
    pub(super) lasted: Duration,
    pub(super) befell: &'a [Trouble],
    pub(super) packets: Packets,
    pub(super) page: &'a Metrics,
    pub(super) traffic: &'a Traffic,
    pub(super) attacks: &'a Attacks,
    pub(super) heard: &'a Heard,
    pub(super) broken: &'a [String],
    pub(super) starts: u32,
    pub(super) attached: Duration,
    pub(super) ready: Duration,
}

impl Verdict<'_> {
    pub(super) fn checks(&self) -> Vec<(String, bool)> {
        let attacks = self.attacks.done();
        let fates = self.fates(&attacks);
        let missed = fates.iter().filter(|(_, fate)| *fate == Fate::Missed).count();
        let told = 1.0 - missed as f64 / attacks.len().max(1) as f64;
        let accused = self.heard.accused();
        let sum = |name, labels: &[(&str, &str)]| self.page.sum(name, labels).unwrap_or_default();
        let flows =
            sum("ids_flows_started_total", &[]) == sum("ids_flows_active", &[]) + sum("ids_flows_ended_total", &[]);
        let lines = sum("ids_sink_lines_offered_total", &[])
            == sum("ids_sink_lines_written_total", &[])
                + sum("ids_sink_lines_dropped_total", &[])
                + sum("ids_sink_queue_lines", &[]);
        let (_, torn) = self.heard.lines();
        let mut checks = vec![
            ("no packet lost without a name".to_owned(), self.packets.lost() == 0.0),
            ("no packet counted twice".to_owned(), self.packets.excess() <= LAST_ONES_MAX * self.deletions()),
            ("packets seen = in flows + skipped".to_owned(), self.packets.is_conserved()),
            ("flows started = active + ended".to_owned(), flows),
            ("alert lines offered = written + dropped + waiting".to_owned(), lines),
            ("every line of the alert file is whole".to_owned(), torn == 0),
            (
                format!("attacks alerted, or told in time that not all is seen: {:.1} %", 100.0 * told),
                !attacks.is_empty() && told >= TOLD_SHARE_MIN,
            ),
            ("who did nothing is accused of nothing".to_owned(), !accused.contains(&Traffic::client())),
            ("traffic was never held up".to_owned(), self.traffic.went_on()),
        ];
        checks.extend(self.broken.iter().map(|broken| (broken.clone(), false)));
        checks
    }

    fn deletions(&self) -> f64 {
        self.befell.iter().filter(|trouble| matches!(trouble, Trouble::Unplug { .. })).count() as f64
    }

    fn fates(&self, attacks: &[Attack]) -> Vec<(Kind, Fate)> {
        attacks.iter().map(|attack| (attack.kind, self.heard.fate(attack))).collect()
    }

    /// The run as tables, for a page and for people.
    pub(super) fn table(&self) -> String {
        let mut text = format!(
            "Seed {}, {}: {} troubles, {} starts of the agent.\n\n| trouble | times |\n|---|---:|\n",
            self.seed,
            shown(self.lasted),
            self.befell.len(),
            self.starts
        );
        for name in Trouble::NAMES {
            let times = self.befell.iter().filter(|trouble| trouble.name() == name).count();
            let _infallible = writeln!(text, "| {name} | {times} |");
        }
        text.push_str(&self.attack_rows());
        text.push_str(&self.packet_rows());
        text
    }

    fn attack_rows(&self) -> String {
        let attacks = self.attacks.done();
        let fates = self.fates(&attacks);
        let mut text = "\n| attack | planted | alerted | excused | missed | until the alert: median, worst |\n|---|---:|---:|---:|---:|---:|\n".to_owned();
        let row = |name: &str, wanted: &dyn Fn(Kind) -> bool| {
            let of: Vec<Fate> = fates.iter().filter(|(kind, _)| wanted(*kind)).map(|(_, fate)| *fate).collect();
            let count = |fate: Fate| of.iter().filter(|other| **other == fate).count();
            let mut delays: Vec<Duration> = of
                .iter()
                .filter_map(|fate| if let Fate::Alerted(delay) = fate { Some(*delay) } else { None })
                .collect();
            delays.sort();
            let secs = |at: usize| {
                delays.get(at).map_or_else(|| "-".to_owned(), |delay| format!("{:.1} s", delay.as_secs_f32()))
            };
            let (median, worst) = (secs(delays.len() / 2), secs(delays.len().saturating_sub(1)));
            let (excused, missed) = (count(Fate::Excused), count(Fate::Missed));
            format!("| {name} | {} | {} | {excused} | {missed} | {median}, {worst} |\n", of.len(), delays.len())
        };
        for kind in Kind::ALL {
            text.push_str(&row(kind.name(), &|other| other == kind));
        }
        text.push_str(&row("all", &|_| true));
        text
    }

    fn packet_rows(&self) -> String {
        let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let packets = &self.packets;
        let (notices, causes): (usize, BTreeMap<String, u32>) = self.heard.notices();
        let causes: Vec<String> = causes.iter().map(|(cause, times)| format!("{cause} {times}")).collect();
        let dropped = self.page.sum("ids_sink_lines_dropped_total", &[("sink", "alerts")]).unwrap_or_default();
        let rows = [
            ("datagrams of the traffic sent", count(&self.traffic.sent).to_string()),
            ("of these echoed", count(&self.traffic.echoed).to_string()),
            (
                "pages asked for while the interface was there, and failed",
                format!("{}, {}", count(&self.traffic.pages), count(&self.traffic.failed)),
            ),
            ("packets of attacks and floods sent", count(&self.attacks.packets).to_string()),
            (
                "packets that the interface counted, received and sent, over all its lives",
                packets.wire.all().to_string(),
            ),
            ("packets that the programs counted", packets.seen.to_string()),
            ("of these in flows, skipped for a reason", format!("{}, {}", packets.in_flows, packets.skipped)),
            ("packets that nobody saw, named as a gap", packets.gap.to_string()),
            ("packets nowhere", packets.lost().to_string()),
            ("packets seen that a deleted interface did not send any more", packets.excess().to_string()),
            ("packets counted in flows whose slots found the ring full", packets.slots_lost.to_string()),
            ("alert lines dropped and counted by the last agent", dropped.to_string()),
            ("times in which not all was seen", format!("{notices} ({})", causes.join(", "))),
            ("attached again after an interface was made, at worst", format!("{:.2} s", self.attached.as_secs_f32())),
            ("ready after a start, at worst", format!("{:.1} s", self.ready.as_secs_f32())),
        ];
        let mut text = "\n| measured | |\n|---|---:|\n".to_owned();
        for (name, value) in rows {
            let _infallible = writeln!(text, "| {name} | {value} |");
        }
        text
    }
}
