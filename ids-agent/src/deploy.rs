//! What watches the agent: files for Prometheus, Alertmanager, Grafana and the containers they run in, all built from the
//! families that the agent shows. Pure; `cli/generate` writes them.

mod alerts;
mod dashboard;
mod files;
mod model;
mod panel;
mod query;
mod recorded;
mod rows;
mod runbook;
mod yaml;

pub use alerts::{AlertRule, Urgency};
pub use query::{JOB, Query};
pub use recorded::Recorded;
pub use runbook::{panels_page, runbook_page};

use crate::{detect::Severity, http::severity_label};

/// What differs from one site to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Monitoring {
    /// Where the agents' pages are, as `HOST:PORT`.
    pub targets: Vec<String>,
    pub scrape_interval_secs: u32,
    /// Where Alertmanager is, as `HOST:PORT`.
    pub alertmanager: String,
    /// Where Grafana finds Prometheus.
    pub prometheus_url: String,
    /// Where `docs/` can be read in a browser, if it can.
    pub docs_url: Option<String>,
}

impl Default for Monitoring {
    fn default() -> Self {
        Self {
            targets: vec!["127.0.0.1:9469".to_owned()],
            scrape_interval_secs: 15,
            alertmanager: "127.0.0.1:9093".to_owned(),
            prometheus_url: "http://127.0.0.1:9090".to_owned(),
            docs_url: None,
        }
    }
}

/// One file, at its place under the folder that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GeneratedFile {
    pub path: &'static str,
    pub text: String,
}

/// Scrape configuration, rules, and whom Alertmanager tells.
pub fn prometheus(settings: &Monitoring) -> Vec<GeneratedFile> {
    vec![
        GeneratedFile { path: "prometheus/prometheus.yml", text: files::prometheus(settings) },
        GeneratedFile { path: "prometheus/rules/ids-agent.yml", text: files::rules(settings) },
        GeneratedFile { path: "alertmanager/alertmanager.yml", text: files::alertmanager() },
    ]
}

/// The data source, the dashboard, and where Grafana finds it.
pub fn grafana(settings: &Monitoring) -> Vec<GeneratedFile> {
    vec![
        GeneratedFile { path: "grafana/provisioning/datasources/prometheus.yml", text: files::datasource(settings) },
        GeneratedFile { path: "grafana/provisioning/dashboards/ids-agent.yml", text: files::provider() },
        GeneratedFile { path: "grafana/dashboards/ids-agent.json", text: dashboard::json(settings) },
    ]
}

/// All of these, and what starts them in containers.
pub fn compose(settings: &Monitoring) -> Vec<GeneratedFile> {
    let mut files = prometheus(settings);
    files.extend(grafana(settings));
    files.push(GeneratedFile { path: "compose.yaml", text: files::compose() });
    files
}

/// Every alert of Prometheus.
pub fn alerts() -> Vec<AlertRule> {
    alerts::groups().into_iter().flat_map(|(_, alerts)| alerts).collect()
}

/// Everything that Prometheus keeps under a name of its own.
pub fn recorded() -> Vec<Recorded> {
    recorded::recorded()
}

/// Every query of the dashboard, by the title of its panel.
pub fn dashboard_queries() -> Vec<(&'static str, Query)> {
    dashboard::queries()
}

const fn severity(severity: Severity) -> &'static str {
    severity_label(severity)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::http::family;

    #[test]
    fn every_query_asks_for_families_and_labels_that_are_there() {
        let alerts = alerts().into_iter().map(|alert| (alert.name, alert.query));
        let recorded = recorded().into_iter().map(|rule| (rule.family.name, rule.query));
        for (name, query) in alerts.chain(recorded).chain(dashboard_queries()) {
            assert_eq!(query.faults(), Vec::<String>::new(), "{name}");
            for family in query.families().iter().filter(|family| family.name.starts_with("ids_")) {
                assert!(family::ALL.contains(family), "{name}: {family:?}");
            }
        }
    }

    #[test]
    fn every_name_stands_once_and_every_alert_says_what_to_do() {
        let alerts = alerts();
        let names: BTreeSet<&str> = alerts.iter().map(|alert| alert.name).collect();
        assert_eq!(names.len(), alerts.len());
        for alert in alerts {
            assert!(
                alert.name.starts_with("Ids") && alert.means.ends_with('.') && alert.act.ends_with('.'),
                "{alert:?}"
            );
        }
        let paths: BTreeSet<&str> = compose(&Monitoring::default()).iter().map(|file| file.path).collect();
        assert_eq!(paths.len(), compose(&Monitoring::default()).len());
    }

    /// A family that nobody looks at is either worth a panel or not worth showing.
    #[test]
    fn every_family_is_on_the_dashboard_or_in_an_alert() {
        let mut asked: BTreeSet<&str> = BTreeSet::new();
        for (_, query) in dashboard_queries() {
            asked.extend(query.families().iter().map(|family| family.name));
        }
        asked.extend(alerts().iter().flat_map(|alert| alert.query.families().to_vec()).map(|family| family.name));
        let missing: Vec<&str> =
            family::ALL.iter().map(|family| family.name).filter(|name| !asked.contains(name)).collect();
        assert_eq!(missing, Vec::<&str>::new());
    }
}
