//! The agent with Suricata beside it, against each of them alone: what `cargo xtask eval --suricata` prints.

use serde::{Deserialize, Serialize};

use super::{
    Band, Family, Report, Scored, Voice,
    reliability::{bands, reliability_table},
    report,
    report::{Figures, decimal, percent, table},
};

/// What a replay with Suricata said of its join, as `--json` has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct JoinCount {
    pub alerts: u64,
    pub joined: u64,
    pub orphans: u64,
    pub worth_telling: u64,
    /// Of the alerts that name a flow.
    pub join_rate: f64,
    pub orphans_by_reason: Orphans,
}

/// Alerts that name no flow are no loss of the join.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Orphans {
    pub no_tuple: u64,
}

/// One capture, judged with Suricata and without.
#[derive(Clone, Debug)]
pub struct Pair {
    pub alone: Scored,
    pub with: Scored,
    pub join: JoinCount,
}

/// All figures.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Joined {
    pub rules_loaded: u64,
    pub join: JoinCount,
    /// Every line of Suricata's in benign captures, told or not.
    pub suricata_benign_alerts: u64,
    pub suricata_alerts_per_1000_benign: Option<f64>,
    /// Whether the joint confidence is what it says, and that without Suricata.
    pub reliability: Vec<Band>,
    pub reliability_alone: Vec<Band>,
    pub with: Report,
    pub alone: Report,
}

impl Joined {
    pub fn new(pairs: Vec<Pair>, rules_loaded: u64) -> Self {
        let mut join = JoinCount::default();
        let mut benign_alerts = 0;
        for pair in &pairs {
            join.alerts += pair.join.alerts;
            join.joined += pair.join.joined;
            join.orphans += pair.join.orphans;
            join.worth_telling += pair.join.worth_telling;
            join.orphans_by_reason.no_tuple += pair.join.orphans_by_reason.no_tuple;
            benign_alerts += if pair.with.family == Family::Benign { pair.join.alerts } else { 0 };
        }
        let (alone, with): (Vec<_>, Vec<_>) = pairs.into_iter().map(|pair| (pair.alone, pair.with)).unzip();
        let (reliability, reliability_alone) = (bands(&with), bands(&alone));
        let (alone, with) = (report(&alone), report(&with));
        let share = |part: u64, whole: u64| (whole > 0).then(|| part as f64 / whole as f64);
        let named = join.joined + join.orphans - join.orphans_by_reason.no_tuple;
        join.join_rate = share(join.joined, named).unwrap_or(1.0);
        Self {
            rules_loaded,
            join,
            suricata_benign_alerts: benign_alerts,
            suricata_alerts_per_1000_benign: share(1_000 * benign_alerts, with.total.benign_flows),
            reliability,
            reliability_alone,
            with,
            alone,
        }
    }

    /// Suricata's word alone, ranked as the agent ranks it.
    fn suricata(&self) -> Option<&Figures> {
        self.with.witnesses.get(Voice::SURICATA.name()).map(|figures| &figures.total)
    }

    /// Who sees how much, as Markdown.
    pub fn tables(&self) -> String {
        let header = [
            "who speaks",
            "attack flows seen",
            "attack captures with a right alert",
            "benign flows called attack",
            "alerts in benign captures",
            "alerts per 1,000 benign flows",
        ];
        let row = |name: &str, figures: &Figures| {
            vec![
                name.to_owned(),
                format!("{} of {}", seen(figures), figures.attack_flows),
                percent(figures.captures_alerted),
                percent(figures.benign_fpr),
                figures.benign_alerts.to_string(),
                decimal(figures.alerts_per_1000_benign, 2),
            ]
        };
        let mut rows =
            vec![row("agent and Suricata", &self.with.total), row("agent without Suricata", &self.alone.total)];
        rows.extend(self.suricata().map(|figures| row("Suricata alone, ranked by the agent", figures)));
        let raw = self.suricata_benign_alerts.to_string();
        let every = decimal(self.suricata_alerts_per_1000_benign, 2);
        rows.push(vec!["Suricata alone, every alert".into(), "-".into(), "-".into(), "-".into(), raw, every]);
        let own = self.with.witnesses.iter().filter(|(name, _)| **name != Voice::SURICATA.name());
        rows.extend(own.map(|(name, figures)| row(&format!("{name} alone"), &figures.total)));
        let most = std::iter::once(&self.alone.total).chain(self.suricata()).map(seen).max().unwrap_or(0);
        let captures = |figures: &Figures| figures.captures_alerted.unwrap_or(0.0);
        let captures_most = std::iter::once(&self.alone.total).chain(self.suricata()).map(captures).fold(0.0, f64::max);
        let better = std::iter::once(&self.alone.total)
            .chain(self.suricata())
            .max_by(|a, b| captures(a).total_cmp(&captures(b)));
        let total = &self.with.total;
        let holds = |holds: bool| if holds { "yes" } else { "no" };
        let bars = [
            ("more attack flows seen than by either alone", seen(total) > most),
            ("more attack captures told than by either alone", captures(total) > captures_most),
            (
                "no more false alerts than the one of the two that tells more captures",
                better.is_none_or(|better| total.benign_alerts <= better.benign_alerts),
            ),
            ("at least 99 % of Suricata's alerts joined", self.join.join_rate >= 0.99),
        ];
        let bars = bars.map(|(what, met)| vec![what.to_owned(), holds(met).to_owned()]);
        [
            table(&header, rows.into_iter()),
            table(&["what", "met"], bars.into_iter()),
            reliability_table(&self.reliability, &self.reliability_alone),
            format!(
                "Suricata with {} rules gave {} alerts: {} joined; {} orphans, of which {} name no flow; {} of those that name \
                 one are joined. {} signatures of flows are worth telling by themselves.\n",
                self.rules_loaded,
                self.join.alerts,
                self.join.joined,
                self.join.orphans,
                self.join.orphans_by_reason.no_tuple,
                percent(Some(self.join.join_rate)),
                self.join.worth_telling,
            ),
        ]
        .join("\n")
    }
}

fn seen(figures: &Figures) -> u64 {
    (figures.attack_recall.unwrap_or(0.0) * figures.attack_flows as f64).round() as u64
}
