//! Whether confidence is what it says: of the alerts told with so much of it, how many were right.

use serde::Serialize;

use super::{
    Family, Scored,
    figures::share,
    report::{decimal, percent, table},
};

/// Where the bands of confidence begin; each ends where the next begins, the last at 1.
const BANDS: [f64; 6] = [0.0, 0.5, 0.6, 0.7, 0.8, 0.9];

/// One alert line: the confidence it was told with, and whether its class is that of the capture's family.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Told {
    pub confidence: f64,
    pub right: bool,
}

/// Alerts of one band.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Band {
    pub from: f64,
    pub alerts: u64,
    /// Mean of what they were told with.
    pub confidence: Option<f64>,
    /// Share of them in captures of attacks, whatever their class, and share that names the family as well.
    pub in_attack: Option<f64>,
    pub right: Option<f64>,
}

/// The alerts of all captures by what they were told with.
pub(super) fn bands(scored: &[Scored]) -> Vec<Band> {
    let told = scored.iter().flat_map(|one| one.told.iter().map(move |told| (one.family != Family::Benign, *told)));
    let told: Vec<(bool, Told)> = told.collect();
    let ends = BANDS.iter().skip(1).copied().chain([f64::INFINITY]);
    BANDS
        .iter()
        .zip(ends)
        .map(|(from, to)| {
            let within = |told: &&(bool, Told)| told.1.confidence >= *from && told.1.confidence < to;
            let alerts: Vec<&(bool, Told)> = told.iter().filter(within).collect();
            let count = |holds: &dyn Fn(&(bool, Told)) -> bool| alerts.iter().filter(|told| holds(told)).count() as u64;
            let all = alerts.len() as u64;
            let sum: f64 = alerts.iter().map(|(_, told)| told.confidence).sum();
            Band {
                from: *from,
                alerts: all,
                confidence: (all > 0).then(|| sum / all as f64),
                in_attack: share(count(&|(in_attack, _)| *in_attack), all),
                right: share(count(&|(_, told)| told.right), all),
            }
        })
        .collect()
}

/// As Markdown: with Suricata and without, band by band.
pub(super) fn reliability_table(with: &[Band], alone: &[Band]) -> String {
    let header = [
        "told with confidence from",
        "alerts with Suricata",
        "mean confidence",
        "in an attack capture",
        "of its family",
        "alerts without",
        "mean confidence",
        "in an attack capture",
        "of its family",
    ];
    let half = |band: &Band| {
        [band.alerts.to_string(), decimal(band.confidence, 2), percent(band.in_attack), percent(band.right)]
    };
    let rows = with.iter().zip(alone).map(|(with, alone)| {
        let mut row = vec![format!("{:.1}", with.from)];
        row.extend(half(with));
        row.extend(half(alone));
        row
    });
    table(&header, rows)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use ids_agent::detect::Class;

    fn scored(family: Family, told: &[(f64, bool)]) -> Scored {
        Scored {
            path: "a.pcap".into(),
            source: "lab".into(),
            family,
            benign_secs: 0.0,
            said: BTreeMap::new(),
            silence: None,
            told: told.iter().map(|(confidence, right)| Told { confidence: *confidence, right: *right }).collect(),
        }
    }

    #[test]
    fn alerts_are_counted_in_the_band_that_they_were_told_with() {
        let attack = scored(Family::Attack(Class::C2), &[(0.9, true), (1.0, true), (0.95, false), (0.5, true)]);
        let benign = scored(Family::Benign, &[(0.599, false)]);
        let bands = bands(&[attack, benign]);
        let alerts: Vec<u64> = bands.iter().map(|band| band.alerts).collect();
        assert_eq!(alerts, [0, 2, 0, 0, 0, 3]);
        assert_eq!((bands[1].in_attack, bands[1].right), (Some(0.5), Some(0.5)));
        assert_eq!((bands[5].in_attack, bands[5].right), (Some(1.0), Some(2.0 / 3.0)));
        assert_eq!((bands[0].confidence, bands[0].right), (None, None));
    }
}
