//! What the service manager is told in one line, and which walls of the sandbox hold.

use prometheus::IntGaugeVec;

use super::{
    Metrics, Register,
    family::{self, Family},
};

#[derive(Debug)]
pub(super) struct ServiceMetrics {
    sandbox: IntGaugeVec,
}

impl ServiceMetrics {
    pub(super) fn new(register: &Register<'_>) -> Result<Self, prometheus::Error> {
        let sandbox = register.gauges_of(&family::SANDBOX)?;
        Ok(Self { sandbox })
    }
}

impl Metrics {
    /// Takes over which parts of the sandbox hold.
    pub fn show_sandbox(&self, parts: impl Iterator<Item = (&'static str, bool)>) {
        for (part, holds) in parts {
            self.service.sandbox.with_label_values(&[part]).set(i64::from(holds));
        }
    }

    /// What the agent does at the moment, for people: no address stands in it.
    pub fn status_line(&self) -> String {
        let sum = |of: &Family| -> f64 {
            let families = self.registry.gather();
            let family = families.iter().find(|family| family.name() == of.name);
            let value =
                |metric: &prometheus::proto::Metric| metric.get_counter().get_value() + metric.get_gauge().get_value();
            family.map_or(0.0, |family| family.get_metric().iter().map(value).sum())
        };
        format!(
            "{} of {} programs attached, {} packets seen, {} flows in progress, {} alerts",
            sum(&family::ATTACHED),
            self.attached_series(),
            sum(&family::PACKETS_SEEN),
            sum(&family::FLOWS_ACTIVE),
            sum(&family::ALERTS),
        )
    }

    fn attached_series(&self) -> usize {
        let families = self.registry.gather();
        families
            .iter()
            .find(|family| family.name() == family::ATTACHED.name)
            .map_or(0, |family| family.get_metric().len())
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

    use super::super::{AttachState, Snapshot};
    use super::*;

    #[test]
    fn the_status_line_says_what_is_seen() {
        let metrics = Metrics::new().unwrap();
        let place = |interface: &str, attached| AttachState {
            interface: interface.to_owned(),
            mode: "native",
            direction: "ingress",
            attached,
        };
        let attached = vec![place("eth0", true), place("eth1", false)];
        metrics.update(&Snapshot { attached, flows_active: 7, ..Snapshot::default() });
        let line = metrics.status_line();
        assert_eq!(line, "1 of 2 programs attached, 0 packets seen, 7 flows in progress, 0 alerts");
    }

    #[test]
    fn the_parts_of_the_sandbox_are_shown() {
        let metrics = Metrics::new().unwrap();
        metrics.show_sandbox([("seccomp", true), ("landlock", false)].into_iter());
        let text = metrics.render().unwrap();
        assert!(text.contains("ids_sandbox{part=\"seccomp\"} 1") && text.contains("ids_sandbox{part=\"landlock\"} 0"));
    }
}
