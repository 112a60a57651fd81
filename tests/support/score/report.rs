//! Adds the scores of captures up: as a value for JSON, and as tables.

use std::collections::{BTreeMap, BTreeSet};

use comfy_table::{CellAlignment, Table, presets::ASCII_MARKDOWN};
use ids_agent::detect::Class;
use serde::Serialize;

use super::{
    Family, Said, Scored, Silence, Truth, Voice,
    figures::{Background, Confusion, median, share, wilson},
};

const DAY_SECS: f64 = 86_400.0;

/// All figures. A share or a mean of nothing is null.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    pub total: Figures,
    /// By the agent's name of the class.
    pub families: BTreeMap<&'static str, FamilyFigures>,
    pub sources: BTreeMap<String, Figures>,
    /// Each witness alone: a flow or alert is what this witness called it.
    pub witnesses: BTreeMap<&'static str, WitnessFigures>,
    pub captures: BTreeMap<String, CaptureFigures>,
    pub background: Background,
    /// Attack captures without a right alert, by why, and by family.
    pub missed: BTreeMap<&'static str, BTreeMap<&'static str, u64>>,
}

/// What one witness says, right and wrong.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WitnessFigures {
    #[serde(flatten)]
    pub total: Figures,
    pub families: BTreeMap<&'static str, FamilyFigures>,
}

/// What is measured over all families together.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figures {
    pub benign_flows: u64,
    pub attack_flows: u64,
    pub macro_f1: Option<f64>,
    pub attack_recall: Option<f64>,
    pub attack_precision: Option<f64>,
    pub benign_fpr: Option<f64>,
    pub benign_fpr_low95: Option<f64>,
    pub benign_fpr_high95: Option<f64>,
    /// Alert lines in benign captures, and capture time in which they came.
    pub benign_alerts: u64,
    pub benign_secs: f64,
    pub alerts_per_1000_benign: Option<f64>,
    pub alerts_per_benign_day: Option<f64>,
    pub attack_captures: u64,
    /// Share of attack captures with a right alert.
    pub captures_alerted: Option<f64>,
    pub first_alert_secs_p50: Option<f64>,
}

/// The figures of one family of captures.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FamilyFigures {
    pub captures: u64,
    pub flows: u64,
    /// Flows called this very family.
    pub recall: Option<f64>,
    pub precision: Option<f64>,
    pub f1: Option<f64>,
    /// Flows called any attack; of flows called this family, those that are any attack.
    pub attack_recall: Option<f64>,
    pub attack_precision: Option<f64>,
    pub captures_alerted: Option<f64>,
    pub first_alert_secs_p50: Option<f64>,
}

/// The figures of one capture.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CaptureFigures {
    pub family: &'static str,
    pub source: String,
    pub flows: u64,
    /// Flows that the label calls attack, those of them called so, and those called the right family.
    pub attack_flows: u64,
    pub attack_seen: u64,
    pub attack_right: u64,
    /// Other flows called attack.
    pub others_called_attack: u64,
    pub alerts: u64,
    pub alerted: bool,
    pub first_alert_secs: Option<f64>,
    /// Why no right alert came, where none did.
    pub missed: Option<&'static str>,
}

/// Adds up scored captures.
pub fn report(captures: &[Scored]) -> Report {
    let all: Vec<&Scored> = captures.iter().collect();
    let sources: BTreeSet<&str> = captures.iter().map(|capture| capture.source.as_str()).collect();
    let of_source = |source: &str| {
        let own: Vec<&Scored> = captures.iter().filter(|capture| capture.source == source).collect();
        (source.to_owned(), figures(&own, Voice::Together))
    };
    let speaks = |voice: Voice| captures.iter().any(|capture| capture.said(voice).spoke());
    let witnesses = Voice::ALL
        .into_iter()
        .filter(|voice| *voice != Voice::Together && (*voice != Voice::SURICATA || speaks(*voice)));
    let of_witness =
        |voice: Voice| (voice.name(), WitnessFigures { total: figures(&all, voice), families: families(&all, voice) });
    Report {
        total: figures(&all, Voice::Together),
        families: families(&all, Voice::Together),
        sources: sources.into_iter().map(of_source).collect(),
        witnesses: witnesses.map(of_witness).collect(),
        captures: captures.iter().map(|capture| (capture.path.clone(), of_capture(capture))).collect(),
        background: Confusion(&sum(&all, Voice::Together)).background(),
        missed: missed(captures),
    }
}

/// Counts of captures without a right alert, of those that were looked into.
fn missed(captures: &[Scored]) -> BTreeMap<&'static str, BTreeMap<&'static str, u64>> {
    let mut missed: BTreeMap<&'static str, BTreeMap<&'static str, u64>> = BTreeMap::new();
    for capture in captures {
        if let Some(silence) = capture.silence {
            *missed.entry(silence.name()).or_default().entry(capture.family.name()).or_default() += 1;
        }
    }
    missed
}

fn sum(captures: &[&Scored], voice: Voice) -> Said {
    let mut sum = Said::default();
    for capture in captures {
        let said = capture.said(voice);
        sum.alerts += said.alerts;
        for (cell, flows) in &said.flows {
            *sum.flows.entry(*cell).or_default() += flows;
        }
    }
    sum
}

fn figures(captures: &[&Scored], voice: Voice) -> Figures {
    let said = sum(captures, voice);
    let confusion = Confusion(&said);
    let (benign, attacks) = (confusion.of(Class::Benign), confusion.attacks());
    let false_flows = confusion.seen(Class::Benign);
    let interval = wilson(false_flows, benign);
    let benign_captures = || captures.iter().filter(|capture| capture.family == Family::Benign);
    let benign_alerts: u64 = benign_captures().map(|capture| capture.said(voice).alerts).sum();
    let benign_secs: f64 = benign_captures().map(|capture| capture.benign_secs).sum();
    let attack_captures: Vec<&Scored> =
        captures.iter().copied().filter(|capture| capture.family != Family::Benign).collect();
    Figures {
        benign_flows: benign,
        attack_flows: attacks,
        macro_f1: confusion.macro_f1(),
        attack_recall: share(confusion.attacks_seen(), attacks),
        attack_precision: share(confusion.attacks_seen(), confusion.attacks_seen() + false_flows),
        benign_fpr: share(false_flows, benign),
        benign_fpr_low95: interval.map(|(low, _)| low),
        benign_fpr_high95: interval.map(|(_, high)| high),
        benign_alerts,
        benign_secs,
        alerts_per_1000_benign: share(1_000 * benign_alerts, benign),
        alerts_per_benign_day: (benign_secs > 0.0).then(|| benign_alerts as f64 * DAY_SECS / benign_secs),
        attack_captures: attack_captures.len() as u64,
        captures_alerted: alerted(&attack_captures, voice),
        first_alert_secs_p50: delay(&attack_captures, voice),
    }
}

fn families(captures: &[&Scored], voice: Voice) -> BTreeMap<&'static str, FamilyFigures> {
    let said = sum(captures, voice);
    let confusion = Confusion(&said);
    let present: BTreeSet<Family> = captures.iter().map(|capture| capture.family).collect();
    let of = |family: Family| {
        let own: Vec<&Scored> = captures.iter().copied().filter(|capture| capture.family == family).collect();
        let class = match family {
            Family::Benign => Some(Class::Benign),
            Family::Attack(class) => Some(class),
            Family::Scenario => None,
        };
        let of_class = |figure: &dyn Fn(Class) -> Option<f64>| class.and_then(figure);
        let is_attack = family != Family::Benign;
        let figures = FamilyFigures {
            captures: own.len() as u64,
            flows: class.map_or(0, |class| confusion.of(class)),
            recall: of_class(&|class| share(confusion.right(class), confusion.of(class))),
            precision: of_class(&|class| share(confusion.right(class), confusion.called(class))),
            f1: of_class(&|class| confusion.f1(class)),
            attack_recall: of_class(&|class| share(confusion.seen(class), confusion.of(class))),
            attack_precision: of_class(&|class| share(confusion.called_of_attacks(class), confusion.called(class)))
                .filter(|_| is_attack),
            captures_alerted: alerted(&own, voice).filter(|_| is_attack),
            first_alert_secs_p50: delay(&own, voice),
        };
        (family.name(), figures)
    };
    present.into_iter().map(of).collect()
}

fn alerted(captures: &[&Scored], voice: Voice) -> Option<f64> {
    let alerted = captures.iter().filter(|capture| capture.said(voice).alerted).count();
    share(alerted as u64, captures.len() as u64)
}

fn delay(captures: &[&Scored], voice: Voice) -> Option<f64> {
    median(captures.iter().filter_map(|capture| capture.said(voice).first_alert_secs).collect())
}

fn of_capture(capture: &Scored) -> CaptureFigures {
    let said = capture.said(Voice::Together);
    let count = |counts: &dyn Fn(Truth, Class) -> bool| {
        said.flows.iter().filter(|((truth, class), _)| counts(*truth, *class)).map(|(_, flows)| flows).sum()
    };
    let is_attack = |truth| match truth {
        Truth::Labelled(class) => class != Class::Benign,
        Truth::Background | Truth::Scenario => false,
    };
    CaptureFigures {
        family: capture.family.name(),
        source: capture.source.clone(),
        flows: count(&|_, _| true),
        attack_flows: count(&|truth, _| is_attack(truth)),
        attack_seen: count(&|truth, class| is_attack(truth) && class != Class::Benign),
        attack_right: count(&|truth, class| is_attack(truth) && truth == Truth::Labelled(class)),
        others_called_attack: count(&|truth, class| !is_attack(truth) && class != Class::Benign),
        alerts: said.alerts,
        alerted: said.alerted,
        first_alert_secs: said.first_alert_secs,
        missed: capture.silence.map(Silence::name),
    }
}

impl Scored {
    fn said(&self, voice: Voice) -> &Said {
        &self.said[&voice]
    }
}

impl Report {
    /// The whole and the families, as Markdown, which reads well on a terminal too.
    pub fn tables(&self) -> String {
        let background = format!(
            "Unlabelled background of attack captures: {} flows, of which {} were called an attack.\n",
            self.background.flows,
            percent(self.background.share)
        );
        let parts = [self.bars(), self.voices(), self.family_table(), self.witness_table(), background];
        parts.into_iter().chain(self.missed_table()).collect::<Vec<_>>().join("\n")
    }

    /// Why captures have no right alert, by family; none where all have one.
    fn missed_table(&self) -> Option<String> {
        let families: BTreeSet<&str> = self.missed.values().flat_map(BTreeMap::keys).copied().collect();
        let header: Vec<&str> =
            ["attack captures without a right alert", "all"].into_iter().chain(families.iter().copied()).collect();
        let row = |silence: Silence| {
            let counts = self.missed.get(silence.name())?;
            let of = |family: &&str| counts.get(family).map_or_else(String::new, u64::to_string);
            let all = counts.values().sum::<u64>().to_string();
            Some([silence.words().to_owned(), all].into_iter().chain(families.iter().map(of)).collect())
        };
        let rows: Vec<Vec<String>> = Silence::ALL.into_iter().filter_map(row).collect();
        (!rows.is_empty()).then(|| table(&header, rows.into_iter()))
    }

    /// What the project means to reach on networks that the models never saw, and where these captures stand.
    fn bars(&self) -> String {
        let recall = |family: &str| self.families.get(family).and_then(|figures| figures.recall);
        let total = &self.total;
        let at_least = |what: &str, figure: Option<f64>, bar: f64| {
            let holds = figure.map(|figure| figure >= bar);
            vec![what.to_owned(), decimal(figure, 3), format!("at least {bar}"), met(holds)]
        };
        let at_most = |what: &str, figure: Option<f64>, bar: f64| {
            let holds = figure.map(|figure| figure <= bar);
            vec![what.to_owned(), decimal(figure, 4), format!("at most {bar}"), met(holds)]
        };
        let rows = [
            at_least("macro-F1 over families", total.macro_f1, 0.6),
            at_least("attack flows seen as attack", total.attack_recall, 0.9),
            at_most("benign flows called attack", total.benign_fpr, 0.005),
            at_most("alerts per 1,000 benign flows", total.alerts_per_1000_benign, 2.0),
            at_least("attack captures with a right alert", total.captures_alerted, 0.8),
            at_least("recall of port_scan", recall("port_scan"), 0.95),
            at_least("recall of flood", recall("flood"), 0.95),
            at_least("recall of brute_force", recall("brute_force"), 0.8),
            at_least("recall of app_dos", recall("app_dos"), 0.8),
            at_most("median seconds to a right alert", total.first_alert_secs_p50, 2.0),
        ];
        table(&["what", "here", "bar", "met"], rows.into_iter())
    }

    fn voices(&self) -> String {
        let header = [
            "who speaks",
            "macro-F1",
            "attack flows seen",
            "benign flows called attack (95 %)",
            "alerts per 1,000 benign flows",
            "alerts per benign day",
            "attack captures with a right alert",
            "median s to it",
        ];
        let row = |name: &str, total: &Figures| {
            let interval = format!(
                "{} ({} to {})",
                percent(total.benign_fpr),
                percent(total.benign_fpr_low95),
                percent(total.benign_fpr_high95)
            );
            vec![
                name.to_owned(),
                decimal(total.macro_f1, 3),
                percent(total.attack_recall),
                interval,
                decimal(total.alerts_per_1000_benign, 2),
                decimal(total.alerts_per_benign_day, 1),
                percent(total.captures_alerted),
                decimal(total.first_alert_secs_p50, 2),
            ]
        };
        let alone = self.witnesses.iter().map(|(name, figures)| row(&format!("{name} alone"), &figures.total));
        table(&header, std::iter::once(row("all together", &self.total)).chain(alone))
    }

    fn family_table(&self) -> String {
        let header = [
            "family",
            "captures",
            "flows",
            "recall",
            "precision",
            "F1",
            "seen as attack",
            "precision as attack",
            "captures alerted",
            "median s",
        ];
        let row = |(name, family): (&&str, &FamilyFigures)| {
            vec![
                (*name).to_owned(),
                family.captures.to_string(),
                family.flows.to_string(),
                percent(family.recall),
                percent(family.precision),
                decimal(family.f1, 3),
                percent(family.attack_recall),
                percent(family.attack_precision),
                percent(family.captures_alerted),
                decimal(family.first_alert_secs_p50, 2),
            ]
        };
        table(&header, self.families.iter().map(row))
    }

    /// Recall of each witness alone.
    fn witness_table(&self) -> String {
        let names = self.witnesses.keys().map(|name| format!("{name}: exact / as attack"));
        let header: Vec<String> = std::iter::once("family".to_owned()).chain(names).collect();
        let header: Vec<&str> = header.iter().map(String::as_str).collect();
        let row = |family: &&'static str| {
            let of = |figures: &WitnessFigures| {
                let of = figures.families.get(family);
                let exact = of.and_then(|figures| figures.recall);
                let attack = of.and_then(|figures| figures.attack_recall);
                format!("{} / {}", percent(exact), percent(attack))
            };
            std::iter::once((*family).to_owned()).chain(self.witnesses.values().map(of)).collect()
        };
        let flows = self.families.iter().filter(|(_, figures)| figures.flows > 0);
        table(&header, flows.map(|(name, _)| row(name)))
    }

    /// One row a source.
    pub fn source_table(&self) -> String {
        let header = [
            "source",
            "benign flows",
            "called attack (95 %)",
            "alerts",
            "attack flows",
            "seen as attack",
            "attack captures",
            "alerted",
        ];
        let row = |(name, figures): (&String, &Figures)| {
            let interval = match figures.benign_fpr {
                Some(_) => format!(
                    "{} ({} to {})",
                    percent(figures.benign_fpr),
                    percent(figures.benign_fpr_low95),
                    percent(figures.benign_fpr_high95)
                ),
                None => percent(None),
            };
            vec![
                name.clone(),
                figures.benign_flows.to_string(),
                interval,
                figures.benign_alerts.to_string(),
                figures.attack_flows.to_string(),
                percent(figures.attack_recall),
                figures.attack_captures.to_string(),
                percent(figures.captures_alerted),
            ]
        };
        table(&header, self.sources.iter().map(row))
    }
}

pub(super) fn table(header: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN).force_no_tty();
    table.set_header(header);
    table.add_rows(rows);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    format!("{table}\n")
}

fn met(holds: Option<bool>) -> String {
    match holds {
        Some(true) => "yes",
        Some(false) => "no",
        None => "-",
    }
    .to_owned()
}

pub(super) fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "-".to_owned(), |share| format!("{:.2} %", share * 100.0))
}

pub(super) fn decimal(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
}
