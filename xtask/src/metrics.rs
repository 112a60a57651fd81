//! A page of metrics in Prometheus text, as the agent serves it, and sums over it.

/// One page of metrics.
pub(crate) struct Metrics {
    pub(crate) text: String,
}

impl Metrics {
    /// The sum over all series of `name` whose labels contain every one of `labels`, none if there is no such series.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let wanted: Vec<String> = labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
        let values: Vec<f64> = self
            .series(name)
            .filter(|(has, _)| wanted.iter().all(|label| has.contains(label)))
            .map(|(_, value)| value)
            .collect();
        (!values.is_empty()).then(|| values.iter().sum())
    }

    /// Labels and value of every series of `name`.
    pub(crate) fn series<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
        self.text.lines().filter_map(move |line| {
            let rest = line.strip_prefix(name)?;
            let (labels, value) = match rest.strip_prefix('{') {
                Some(labelled) => labelled.rsplit_once("} ")?,
                None => ("", rest.strip_prefix(' ')?),
            };
            Some((labels, value.trim().parse().ok()?))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Metrics;

    #[test]
    fn series_are_summed_by_exact_name_and_label() {
        let page = "ids_packets_total 7\nids_skips_total{reason=\"arp\"} 2\nids_skips_total{reason=\"vlan\"} 3\n";
        let metrics = Metrics { text: page.to_owned() };
        assert_eq!(metrics.sum("ids_packets_total", &[]), Some(7.0));
        assert_eq!(metrics.sum("ids_skips_total", &[]), Some(5.0));
        assert_eq!(metrics.sum("ids_skips_total", &[("reason", "arp")]), Some(2.0));
        assert_eq!(metrics.sum("ids_packets", &[]), None);
    }
}
