//! The files for Prometheus, Alertmanager and the containers, out of the alerts and the settings. Pure.

use super::{
    Monitoring,
    alerts::{AlertRule, Urgency, groups},
    query::JOB,
    recorded::recorded,
    yaml::{Flag, Yaml, map, text, texts},
};

/// Said at the head of every file.
fn head(what: &str, verb: &str) -> String {
    format!("{what}\nWritten by `ids-agent generate {verb}`; whoever edits it keeps it out of the way of the next run.")
}

pub(super) fn prometheus(settings: &Monitoring) -> String {
    let interval = format!("{}s", settings.scrape_interval_secs);
    let agents = map([("targets", texts(settings.targets.clone()))]);
    map([
        (
            "global",
            map([
                ("scrape_interval", text(&interval)),
                ("evaluation_interval", text(&interval).said("As often as there is something new to look at.")),
            ]),
        ),
        ("rule_files", texts(["rules/*.yml"])),
        (
            "alerting",
            map([(
                "alertmanagers",
                Yaml::List(vec![map([(
                    "static_configs",
                    Yaml::List(vec![map([("targets", texts([&settings.alertmanager]))])]),
                )])]),
            )]),
        ),
        (
            "scrape_configs",
            Yaml::List(vec![
                map([("job_name", text(JOB)), ("static_configs", Yaml::List(vec![agents]))])
                    .said("The agents. The rules and the dashboard know them by this job's name."),
            ]),
        ),
    ])
    .document(&head("Scrapes the agents, and has the rules watched.", "prometheus"))
}

pub(super) fn rules(settings: &Monitoring) -> String {
    let recording = recorded().into_iter().map(|rule| {
        map([("record", text(rule.family.name)), ("expr", text(rule.query.text()))]).said(rule.family.help)
    });
    let mut written = vec![map([("name", text("ids-agent recorded")), ("rules", Yaml::List(recording.collect()))])];
    for (name, alerts) in groups() {
        let alerts = alerts.iter().map(|alert| alert_rule(alert, settings)).collect();
        written.push(map([("name", text(name)), ("rules", Yaml::List(alerts))]));
    }
    map([("groups", Yaml::List(written))]).document(&head(
        "What is recorded, and what alerts are raised. docs/monitoring.md says what to do on each.",
        "prometheus",
    ))
}

fn alert_rule(alert: &AlertRule, settings: &Monitoring) -> Yaml {
    let mut annotations = vec![
        ("summary", text(alert.summary)),
        ("description", text(alert.means)),
        ("action", text(alert.act)),
        ("runbook", text(format!("docs/monitoring.md#{}", alert.anchor()))),
    ];
    if let Some(docs) = &settings.docs_url {
        let url = format!("{}/monitoring.md#{}", docs.trim_end_matches('/'), alert.anchor());
        annotations.push(("runbook_url", text(url)));
    }
    let mut entries = vec![("alert", text(alert.name)), ("expr", text(alert.query.text()))];
    if alert.holds != "0m" {
        entries.push(("for", text(alert.holds)));
    }
    entries.push(("labels", map([("severity", text(alert.urgency.label()))])));
    entries.push(("annotations", map(annotations)));
    map(entries)
}

pub(super) fn alertmanager() -> String {
    let severity = |urgency: Urgency| texts([format!("severity=\"{}\"", urgency.label())]);
    let down = |names: &[&str]| texts([format!("alertname=~\"{}\"", names.join("|"))]);
    map([
        (
            "route",
            map([
                ("receiver", text("nobody").said("Replace it with whom to tell: see the receivers below.")),
                ("group_by", texts(["alertname", "instance"])),
                ("group_wait", text("30s")),
                ("group_interval", text("5m")),
                ("repeat_interval", text("12h")),
                (
                    "routes",
                    Yaml::List(vec![
                        map([
                            ("matchers", severity(Urgency::Critical)),
                            ("receiver", text("nobody")),
                            ("group_wait", text("5s")),
                            ("repeat_interval", text("2h")),
                        ])
                        .said("Blind, or under attack: at once, and again until it is over."),
                        map([
                            ("matchers", severity(Urgency::Info)),
                            ("receiver", text("nobody")),
                            ("repeat_interval", text("5d")),
                        ])
                        .said("Worth knowing: as seldom as Alertmanager remembers by default; what it forgets it tells again."),
                    ]),
                ),
            ]),
        ),
        (
            "inhibit_rules",
            Yaml::List(vec![
                map([
                    ("source_matchers", down(&["IdsAgentDown"])),
                    ("target_matchers", down(&["Ids.+"])),
                    ("equal", texts(["instance"])),
                ])
                .said("Of an agent that is down, nothing else is worth saying."),
                map([
                    ("source_matchers", down(&["IdsSuricataDown", "IdsEveUnreadable"])),
                    ("target_matchers", down(&["IdsSuricataMute", "IdsSuricataDrops", "IdsEveLag"])),
                    ("equal", texts(["instance"])),
                ])
                .said("A Suricata that says nothing also lags and does not answer."),
            ]),
        ),
        (
            "receivers",
            Yaml::List(vec![map([("name", text("nobody"))]).said(
                "Tells nobody: Alertmanager's own page shows what is firing. For mail, beside `name`:\n\
                 \x20 email_configs:\n\
                 \x20   - to: me@example.org\n\
                 \x20     from: ids@example.org\n\
                 \x20     smarthost: mail.example.org:587\n\
                 \x20     auth_username: ids\n\
                 \x20     auth_password_file: /etc/alertmanager/mail_password",
            )]),
        ),
    ])
    .document(&head("Who is told of what, and how often.", "prometheus"))
}

pub(super) fn datasource(settings: &Monitoring) -> String {
    let source = map([
        ("name", text("Prometheus")),
        ("uid", text(super::dashboard::DATASOURCE)),
        ("type", text("prometheus")),
        ("access", text("proxy")),
        ("url", text(&settings.prometheus_url)),
        ("isDefault", Yaml::Flag(Flag::Yes)),
        (
            "jsonData",
            map([
                ("httpMethod", text("POST")),
                (
                    "timeInterval",
                    text(format!("{}s", settings.scrape_interval_secs))
                        .said("How often Prometheus scrapes: rates are taken over no less than four of these."),
                ),
            ]),
        ),
    ]);
    map([("apiVersion", Yaml::Number(1)), ("datasources", Yaml::List(vec![source]))])
        .document(&head("Where Grafana asks.", "grafana"))
}

pub(super) fn provider() -> String {
    let provider = map([
        ("name", text("ids-agent")),
        ("type", text("file")),
        ("disableDeletion", Yaml::Flag(Flag::Yes)),
        ("allowUiUpdates", Yaml::Flag(Flag::No).said("What is changed in the browser would be lost: save a copy.")),
        ("options", map([("path", text("/var/lib/grafana/dashboards"))])),
    ]);
    map([("apiVersion", Yaml::Number(1)), ("providers", Yaml::List(vec![provider]))])
        .document(&head("Where Grafana finds the dashboard.", "grafana"))
}

/// Images by version, so that what was tested is what starts.
const PROMETHEUS_IMAGE: &str = "docker.io/prom/prometheus:v2.53.4";
const ALERTMANAGER_IMAGE: &str = "docker.io/prom/alertmanager:v0.27.0";
const GRAFANA_IMAGE: &str = "docker.io/grafana/grafana:11.6.0";

pub(super) fn compose() -> String {
    let service = |image: &str, command: Vec<String>, volumes: &[&str], mebibytes: u32| {
        let mut entries = vec![
            ("image", text(image)),
            ("network_mode", text("host").said("The agent's pages and all of these listen on this machine alone.")),
            ("restart", text("unless-stopped")),
            ("read_only", Yaml::Flag(Flag::Yes)),
            ("cap_drop", texts(["ALL"])),
            ("security_opt", texts(["no-new-privileges:true"])),
            ("tmpfs", texts(["/tmp"])),
            ("mem_limit", text(format!("{mebibytes}m"))),
        ];
        if !command.is_empty() {
            entries.push(("command", texts(command)));
        }
        entries.push(("volumes", texts(volumes.iter().copied())));
        entries
    };
    let arguments = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<String>>();
    let prometheus = service(
        PROMETHEUS_IMAGE,
        arguments(&[
            "--config.file=/etc/prometheus/prometheus.yml",
            "--storage.tsdb.path=/prometheus",
            "--storage.tsdb.retention.time=30d",
            "--storage.tsdb.retention.size=2GB",
            "--web.listen-address=127.0.0.1:9090",
        ]),
        &["./prometheus:/etc/prometheus:ro", "prometheus:/prometheus"],
        512,
    );
    let alertmanager = service(
        ALERTMANAGER_IMAGE,
        arguments(&[
            "--config.file=/etc/alertmanager/alertmanager.yml",
            "--storage.path=/alertmanager",
            "--web.listen-address=127.0.0.1:9093",
            "--cluster.listen-address=",
        ]),
        &["./alertmanager:/etc/alertmanager:ro", "alertmanager:/alertmanager"],
        64,
    );
    let mut grafana = service(
        GRAFANA_IMAGE,
        Vec::new(),
        &[
            "./grafana/provisioning:/etc/grafana/provisioning:ro",
            "./grafana/dashboards:/var/lib/grafana/dashboards:ro",
            "grafana:/var/lib/grafana",
        ],
        256,
    );
    grafana.push((
        "environment",
        map([
            ("GF_SERVER_HTTP_ADDR", text("127.0.0.1")),
            ("GF_SECURITY_ADMIN_PASSWORD__FILE", text("/run/secrets/grafana_admin_password")),
            ("GF_ANALYTICS_REPORTING_ENABLED", text("false")),
            ("GF_ANALYTICS_CHECK_FOR_UPDATES", text("false")),
            ("GF_USERS_ALLOW_SIGN_UP", text("false")),
            ("GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH", text("/var/lib/grafana/dashboards/ids-agent.json")),
        ]),
    ));
    grafana.push(("secrets", texts(["grafana_admin_password"])));
    grafana.push(("depends_on", texts(["prometheus"])));
    map([
        ("name", text("ids-agent-monitoring")),
        (
            "services",
            map([("prometheus", map(prometheus)), ("alertmanager", map(alertmanager)), ("grafana", map(grafana))]),
        ),
        (
            "secrets",
            map([(
                "grafana_admin_password",
                map([("file", text("./grafana_admin_password"))])
                    .said("Make it first, as root: Grafana reads it by the group, nobody else at all. Without it Grafana does not start."),
            )]),
        ),
        (
            "volumes",
            map(["prometheus", "alertmanager", "grafana"].map(|name| (name, map::<&str>([])))),
        ),
    ])
    .document(&head(
        "Prometheus, Alertmanager and Grafana beside an agent that runs on this machine.\n\
         Start: (umask 027; openssl rand -base64 18 > grafana_admin_password) && docker compose up -d",
        "compose",
    ))
}
