//! Figures out of counts of flows: recall, precision, F1, intervals. Knows no capture and no file.

use ids_agent::detect::Class;
use serde::Serialize;

use super::{Said, Truth};

/// 95 % of the normal distribution lie within so many standard deviations.
const Z: f64 = 1.959_964;

/// Flows by what they are and what they were called.
pub(super) struct Confusion<'a>(pub(super) &'a Said);

impl Confusion<'_> {
    fn count(&self, is: impl Fn(Truth) -> bool, called: impl Fn(Class) -> bool) -> u64 {
        let counted = self.0.flows.iter().filter(|((truth, class), _)| is(*truth) && called(*class));
        counted.map(|(_, flows)| flows).sum()
    }

    /// Flows of this class, whatever they were called.
    pub(super) fn of(&self, class: Class) -> u64 {
        self.count(|truth| truth == Truth::Labelled(class), |_| true)
    }

    pub(super) fn right(&self, class: Class) -> u64 {
        self.count(|truth| truth == Truth::Labelled(class), |called| called == class)
    }

    /// Labelled flows that were called this.
    pub(super) fn called(&self, class: Class) -> u64 {
        self.count(is_labelled, |called| called == class)
    }

    /// Flows of this class that were called any attack.
    pub(super) fn seen(&self, class: Class) -> u64 {
        self.count(|truth| truth == Truth::Labelled(class), is_attack)
    }

    /// Attack flows that were called this.
    pub(super) fn called_of_attacks(&self, class: Class) -> u64 {
        self.count(is_labelled_attack, |called| called == class)
    }

    pub(super) fn attacks(&self) -> u64 {
        self.count(is_labelled_attack, |_| true)
    }

    pub(super) fn attacks_seen(&self) -> u64 {
        self.count(is_labelled_attack, is_attack)
    }

    pub(super) fn background(&self) -> Background {
        let flows = self.count(|truth| truth == Truth::Background, |_| true);
        let called_attack = self.count(|truth| truth == Truth::Background, is_attack);
        Background { flows, called_attack, share: share(called_attack, flows) }
    }

    pub(super) fn f1(&self, class: Class) -> Option<f64> {
        share(2 * self.right(class), self.of(class) + self.called(class))
    }

    /// Mean over the classes that have flows.
    pub(super) fn macro_f1(&self) -> Option<f64> {
        let f1s: Vec<f64> =
            Class::ALL.into_iter().filter(|class| self.of(*class) > 0).filter_map(|class| self.f1(class)).collect();
        (!f1s.is_empty()).then(|| f1s.iter().sum::<f64>() / f1s.len() as f64)
    }
}

/// Flows of attack captures that no label speaks of.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Background {
    pub flows: u64,
    pub called_attack: u64,
    pub share: Option<f64>,
}

fn is_labelled(truth: Truth) -> bool {
    match truth {
        Truth::Labelled(_) => true,
        Truth::Background | Truth::Scenario => false,
    }
}

fn is_labelled_attack(truth: Truth) -> bool {
    is_labelled(truth) && truth != Truth::Labelled(Class::Benign)
}

fn is_attack(class: Class) -> bool {
    class != Class::Benign
}

/// None of nothing.
pub(super) fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// The 95 % interval of a share by Wilson's score (J. Am. Stat. Assoc. 22, 1927).
pub(super) fn wilson(part: u64, whole: u64) -> Option<(f64, f64)> {
    let p = share(part, whole)?;
    let n = whole as f64;
    let centre = p + Z * Z / (2.0 * n);
    let spread = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + Z * Z / n;
    Some((((centre - spread) / scale).max(0.0), ((centre + spread) / scale).min(1.0)))
}

pub(super) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    let lower = *values.get((values.len() - 1) / 2)?;
    Some(f64::midpoint(lower, upper))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wilsons_interval_is_that_of_the_textbook() {
        assert_eq!(wilson(0, 0), None);
        // Newcombe 1998 (Stat. Med. 17), table I, method 3: 81 of 263, 15 of 148, 0 of 20, 1 of 29.
        for (part, whole, low, high) in
            [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)]
        {
            let found = wilson(part, whole).unwrap();
            assert!((found.0 - low).abs() < 6e-5 && (found.1 - high).abs() < 6e-5, "{part} of {whole}: {found:?}");
        }
    }

    #[test]
    fn the_median_of_an_even_count_lies_between_the_two_in_the_middle() {
        assert_eq!(median(Vec::new()), None);
        assert_eq!(median(vec![3.0]), Some(3.0));
        assert_eq!(median(vec![9.0, 1.0, 2.0, 4.0]), Some(3.0));
    }

    #[test]
    fn macro_f1_is_the_mean_over_classes_that_have_flows() {
        let flows = [
            ((Truth::Labelled(Class::Benign), Class::Benign), 90),
            ((Truth::Labelled(Class::Benign), Class::Flood), 10),
            ((Truth::Labelled(Class::PortScan), Class::PortScan), 6),
            ((Truth::Labelled(Class::PortScan), Class::Benign), 4),
            ((Truth::Background, Class::PortScan), 50),
            ((Truth::Scenario, Class::PortScan), 50),
        ];
        let said = Said { flows: flows.into_iter().collect(), ..Said::default() };
        let confusion = Confusion(&said);
        // Benign: precision 90/94, recall 90/100; port_scan: precision 6/6, recall 6/10.
        let (benign, scan) = (180.0 / 194.0, 12.0 / 16.0);
        assert_eq!(confusion.f1(Class::Benign), Some(benign));
        assert_eq!(confusion.f1(Class::PortScan), Some(scan));
        assert_eq!(confusion.macro_f1(), Some(f64::midpoint(benign, scan)));
        assert_eq!((confusion.attacks(), confusion.attacks_seen()), (10, 6));
        assert_eq!(confusion.background(), Background { flows: 50, called_attack: 50, share: Some(1.0) });
    }
}
