//! What Prometheus watches for: each alert with the condition, how long it must hold, and what to do when it comes. Pure.

use super::query::{INSTANCE, Query, all, foreign};
use crate::{
    detect::Severity,
    http::family::{self, label},
};

/// How soon somebody should look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// The sensor is blind, or an attack goes on: now.
    Critical,
    /// It sees less than it should: today.
    Warning,
    /// Worth knowing.
    Info,
}

impl Urgency {
    pub const fn label(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Warning => "warning",
            Self::Info => "info",
        }
    }
}

/// One alert of Prometheus, with its part of the runbook.
#[derive(Clone, Debug)]
pub struct AlertRule {
    pub name: &'static str,
    pub query: Query,
    /// How long the condition must hold, as Prometheus writes it.
    pub holds: &'static str,
    pub urgency: Urgency,
    /// What is so, with the labels that name where.
    pub summary: &'static str,
    /// What it means for whoever relies on the sensor.
    pub means: &'static str,
    /// What to do, in order.
    pub act: &'static str,
}

impl AlertRule {
    /// The name of its heading in the runbook, as Markdown makes it.
    pub fn anchor(&self) -> String {
        self.name.to_ascii_lowercase()
    }
}

const HOUR_SECS: f64 = 3_600.0;
const DAY_SECS: f64 = 24.0 * HOUR_SECS;
/// The length of a tick: a step that takes longer falls behind.
const TICK_SECS: f64 = 0.5;

/// Whether the agent works at all.
fn working() -> Vec<AlertRule> {
    vec![
        AlertRule {
            name: "IdsAgentDown",
            query: all(foreign::UP).now().equals(0.0),
            holds: "1m",
            urgency: Urgency::Critical,
            summary: "The agent on {{ $labels.instance }} does not answer",
            means: "Nothing is watched there. Traffic passes as before: the agent never holds a packet back.",
            act: "`systemctl status ids-agent` and `journalctl -u ids-agent -n 50` say why it ended; \
                  `ids-agent check-config` and `ids-agent doctor` say what stands in the way of a start.",
        },
        AlertRule {
            name: "IdsAgentMissing",
            query: all(foreign::UP).absent(),
            holds: "5m",
            urgency: Urgency::Critical,
            summary: "Prometheus scrapes no agent at all",
            means: "No target is configured under the agent's job name, so no other alert here can ever come.",
            act: "Look at the targets in prometheus.yml, and write it anew with `ids-agent generate prometheus \
                  --target HOST:PORT`.",
        },
        AlertRule {
            name: "IdsAgentRestarts",
            query: all(foreign::PROCESS_START_TIME_SECONDS).changes("30m").above(2.0),
            holds: "0m",
            urgency: Urgency::Warning,
            summary: "The agent on {{ $labels.instance }} was started {{ $value }} times in half an hour",
            means: "It crashes, or the watchdog ends it because a stage is stuck. It is blind for a moment each \
                    time.",
            act: "`journalctl -u ids-agent` names the stage or the error before each start; `coredumpctl list \
                  ids-agent` has the crashes.",
        },
        AlertRule {
            name: "IdsNoPackets",
            query: all(family::PACKETS_SEEN).rate("10m").sum(&[INSTANCE]).equals(0.0),
            holds: "10m",
            urgency: Urgency::Critical,
            summary: "The agent on {{ $labels.instance }} sees no packet",
            means: "It runs and is attached, and no traffic passes where it looks: a cable, a bridge or a route has \
                    moved, or it watches the wrong interface.",
            act: "`ip -s link` says which interface counts packets; set `capture.interfaces` to it and reload.",
        },
        AlertRule {
            name: "IdsInterfaceBlind",
            query: all(family::ATTACHED).now().equals(0.0),
            holds: "1m",
            urgency: Urgency::Critical,
            summary: "{{ $labels.interface }} on {{ $labels.instance }} is not watched ({{ $labels.direction }})",
            means: "The program was detached or the interface is gone; its traffic is judged by nobody.",
            act: "`ip link show dev {{ $labels.interface }}` says whether it exists and which program is on it; \
                  `ids-agent doctor --interface {{ $labels.interface }}` what will attach.",
        },
    ]
}

/// What it does not see.
fn blind() -> Vec<AlertRule> {
    let dropped = all(family::SAMPLES_LOST).rate("5m").sum(&[INSTANCE]);
    let sampled = all(family::SAMPLES_SENT).rate("5m").sum(&[INSTANCE]).plus(dropped.clone()).at_least(1.0);
    vec![
        AlertRule {
            name: "IdsPacketsLost",
            query: all(family::SLOTS_LOST_PACKETS).increase("10m").sum(&[INSTANCE]).above(0.0),
            holds: "0m",
            urgency: Urgency::Warning,
            summary: "{{ printf \"%.0f\" $value }} counted packets were lost on {{ $labels.instance }} because the \
                      ring was full",
            means: "Flows are missing packets, and may be missing altogether: a flood with forged sources, or a \
                    machine too busy to read.",
            act: "Look at flows started and CPU at that time. If it was no attack, raise `capture.sets_per_cpu`, \
                  then `capture.ring_bytes`.",
        },
        AlertRule {
            name: "IdsSamplesLost",
            query: dropped.per(sampled).above(0.01),
            holds: "10m",
            urgency: Urgency::Warning,
            summary: "{{ $value | humanizePercentage }} of the payload samples on {{ $labels.instance }} are lost",
            means: "Names, requests and attack patterns in those packets are not seen; counts of flows stay exact.",
            act: "Raise `capture.ring_bytes`, or take fewer samples with `sample.packets` and `sample.bytes`.",
        },
        AlertRule {
            name: "IdsCaptureGap",
            query: all(family::CAPTURE_GAP_PACKETS).increase("10m").sum(&[INSTANCE]).above(0.0),
            holds: "0m",
            urgency: Urgency::Warning,
            summary: "{{ printf \"%.0f\" $value }} packets passed {{ $labels.instance }} unseen",
            means: "An interface went on while no program was on it, or nobody read what the program counted.",
            act: "The agent's log says which interface and for how long. With `capture.pin`, as in the unit, what \
                  is counted outlives a restart.",
        },
        AlertRule {
            name: "IdsLevelHigh",
            query: all(family::BUDGET_LEVEL).now().above(0.0),
            holds: "15m",
            urgency: Urgency::Warning,
            summary: "The agent on {{ $labels.instance }} has been at level {{ $value }} for a quarter of an hour",
            means: "It gives work up to stay within its budget, more with each level; the dashboard says which \
                    detectors see less.",
            act: "The row \"Budget and service\" says what is short. A flood passes; for everyday traffic raise \
                  `budget.cpu_percent` or `budget.ram_mib`, or take a larger machine.",
        },
        AlertRule {
            name: "IdsDetectorBlind",
            query: all(family::COVERAGE).now().below(0.5),
            holds: "5m",
            urgency: Urgency::Warning,
            summary: "{{ $labels.detector }} on {{ $labels.instance }} sees {{ $value | humanizePercentage }} of what \
                      it could",
            means: "Attacks that this detector alone would find are missed.",
            act: "IdsVisibilityDegraded, or the dashboard's \"Why less is seen\", names the cause.",
        },
        AlertRule {
            name: "IdsVisibilityDegraded",
            query: all(family::VISIBILITY_DEGRADED).now().equals(1.0),
            holds: "5m",
            urgency: Urgency::Info,
            summary: "Less is seen on {{ $labels.instance }}: {{ $labels.cause }}",
            means: "Something keeps the agent from seeing all; its own alert \"visibility degraded\" says what, in \
                    words.",
            act: "By cause: `level` and `tables` as for IdsLevelHigh, `ring_full` as for IdsPacketsLost, \
                  `detector` as for IdsDetectorFails, `interface` as for IdsInterfaceBlind, `stalled` as for \
                  IdsEngineBehind.",
        },
        AlertRule {
            name: "IdsEngineBehind",
            query: all(family::ENGINE_QUEUE_FULL).increase("5m").sum(&[INSTANCE]).above(0.0),
            holds: "5m",
            urgency: Urgency::Warning,
            summary: "The engine on {{ $labels.instance }} does not keep up",
            means: "Reading waits for judging: verdicts come late, and when the ring fills, packets are lost.",
            act: "The row \"Speed and memory\" says which detector takes the time; `detect.*` turns one off, a \
                  larger machine helps all.",
        },
        AlertRule {
            name: "IdsVerdictsSlow",
            query: all(family::ENGINE_STEP_SECONDS).quantile(0.99, "5m", &[]).above(TICK_SECS),
            holds: "10m",
            urgency: Urgency::Warning,
            summary: "A tick on {{ $labels.instance }} takes {{ $value | humanizeDuration }} to judge",
            means: "One tick in a hundred takes longer than the time between two: alerts come late.",
            act: "As for IdsEngineBehind. Look for another process that takes the CPU, too.",
        },
        AlertRule {
            name: "IdsDetectorFails",
            query: all(family::INFERENCE_FAILED).increase("10m").sum(&[INSTANCE, label::WITNESS]).above(0.0),
            holds: "0m",
            urgency: Urgency::Warning,
            summary: "{{ $labels.witness }} on {{ $labels.instance }} could not judge {{ printf \"%.0f\" $value }} \
                      flows",
            means: "That witness says nothing of these flows; the others still do.",
            act: "`journalctl -u ids-agent` names the model and the error; `ids-agent selftest` tries the models.",
        },
        AlertRule {
            name: "IdsStateNotKept",
            query: all(family::STATE_LOST).increase("1h").sum(&[INSTANCE, label::REASON]).above(0.0),
            holds: "0m",
            urgency: Urgency::Warning,
            summary: "What the detectors on {{ $labels.instance }} learned is not kept ({{ $labels.reason }})",
            means: "After a restart they begin anew: devices are strangers again for days.",
            act: "`state.dir` must be writable and have room; a file set aside as `state.bin.refused` was of \
                  another format or torn.",
        },
    ]
}

/// Threat intelligence and Suricata.
fn sources() -> Vec<AlertRule> {
    let suricata_dropped = all(family::SURICATA_PACKETS).is(label::FATE, "dropped").increase_of_gauge("10m");
    let suricata_seen = all(family::SURICATA_PACKETS).is(label::FATE, "seen").increase_of_gauge("10m");
    let share = suricata_dropped.sum(&[INSTANCE]).per(suricata_seen.sum(&[INSTANCE]).at_least(1.0));
    vec![
        AlertRule {
            name: "IdsFeedStale",
            query: all(family::INTEL_FEED_MODIFIED_TIMESTAMP_SECONDS).now().age().above(3.0 * DAY_SECS),
            holds: "1h",
            urgency: Urgency::Warning,
            summary: "The feed {{ $labels.feed }} on {{ $labels.instance }} is {{ $value | humanizeDuration }} old",
            means: "Addresses and names that became bad since are not known.",
            act: "Whatever fetches it has stopped: look at its timer and log (`systemctl list-timers`), and fetch \
                  it once by hand.",
        },
        AlertRule {
            name: "IdsFeedRefused",
            query: all(family::INTEL_REFUSALS).increase("1h").sum(&[INSTANCE, label::FEED]).above(0.0).or(all(
                family::INTEL_LOADS,
            )
            .now()
            .sum(&[INSTANCE, label::FEED])
            .equals(0.0)),
            holds: "0m",
            urgency: Urgency::Warning,
            summary: "The feed {{ $labels.feed }} on {{ $labels.instance }} was refused",
            means: "The last good one stays in force, or none where there never was one.",
            act: "`ids-agent intel check FILE` says what is wrong with the file.",
        },
        AlertRule {
            name: "IdsSuricataDown",
            query: all(family::SURICATA_UP).now().equals(0.0),
            holds: "5m",
            urgency: Urgency::Critical,
            summary: "Suricata on {{ $labels.instance }} says nothing",
            means: "No signature is heard. The agent's own witnesses go on.",
            act: "`systemctl status suricata`, or the agent's log where it manages Suricata; `ids-agent doctor` \
                  looks at eve.json.",
        },
        AlertRule {
            name: "IdsSuricataMute",
            query: all(family::SURICATA_PROCESS_ANSWERS).now().equals(0.0),
            holds: "3m",
            urgency: Urgency::Warning,
            summary: "The managed Suricata on {{ $labels.instance }} does not answer at its socket",
            means: "It is starting, stuck, or ended; rules cannot be given to it.",
            act: "The agent starts it again by itself and logs why it ended: `journalctl -u ids-agent | grep -i \
                  suricata`.",
        },
        AlertRule {
            name: "IdsSuricataDrops",
            query: share.above(0.01),
            holds: "10m",
            urgency: Urgency::Warning,
            summary: "Suricata on {{ $labels.instance }} drops {{ $value | humanizePercentage }} of the packets",
            means: "Signatures miss what is in them. Forwarding is not touched.",
            act: "Give it more with `suricata.cpu_percent` and `suricata.ram_mib`, or fewer rules.",
        },
        AlertRule {
            name: "IdsEveUnreadable",
            query: all(family::EVE_READABLE).now().equals(0.0),
            holds: "2m",
            urgency: Urgency::Critical,
            summary: "The agent on {{ $labels.instance }} cannot read eve.json",
            means: "Nothing that Suricata finds is heard.",
            act: "The file must exist and be readable to the agent's user: `ids-agent doctor` tries it and says \
                  which is missing.",
        },
        AlertRule {
            name: "IdsEveLag",
            query: all(family::EVE_LAG_SECONDS)
                .now()
                .above(30.0)
                .where_agent(all(family::SURICATA_UP).now().equals(1.0))
                .or(all(family::EVE_BEHIND_BYTES).now().above(f64::from(1 << 24))),
            holds: "5m",
            urgency: Urgency::Warning,
            summary: "What Suricata says on {{ $labels.instance }} is heard late",
            means: "Its alerts come after the flows they belong to were forgotten, and are told alone or not at all.",
            act: "Is the disk or the CPU busy? Is Suricata's clock right? `suricata.run_dir` in memory takes the \
                  disk out of it.",
        },
        AlertRule {
            name: "IdsRulesOld",
            query: all(family::SURICATA_RULES_CHECKED_TIMESTAMP_SECONDS).now().above(0.0).age().above(7.0 * DAY_SECS),
            holds: "1h",
            urgency: Urgency::Warning,
            summary: "Suricata's rules on {{ $labels.instance }} were last fetched {{ $value | humanizeDuration }} ago",
            means: "Attacks that became known since have no rule.",
            act: "`ids-agent rules status`, then `ids-agent rules update`: its error says which source fails.",
        },
        AlertRule {
            name: "IdsRulesRefused",
            query: all(family::SURICATA_RULE_UPDATES)
                .is(label::RESULT, "refused")
                .increase("1d")
                .sum(&[INSTANCE])
                .above(0.0),
            holds: "0m",
            urgency: Urgency::Info,
            summary: "New rules were refused on {{ $labels.instance }}",
            means: "A source holds rules that Suricata does not take; those in force stay.",
            act: "`ids-agent rules update` shows the first of them.",
        },
    ]
}

/// What it found, and whether that gets where it should.
fn found() -> Vec<AlertRule> {
    vec![
        AlertRule {
            name: "IdsSinkDropping",
            query: all(family::SINK_LINES_DROPPED)
                .increase("5m")
                .sum(&[INSTANCE, label::SINK, label::REASON])
                .above(0.0),
            holds: "0m",
            urgency: Urgency::Critical,
            summary: "{{ printf \"%.0f\" $value }} lines for {{ $labels.sink }} were dropped on {{ $labels.instance }} \
                      ({{ $labels.reason }})",
            means: "Alerts or flows that were found are in no file.",
            act: "Is the disk full (`df -h`), or the file's folder not writable? The counter's reason says which.",
        },
        AlertRule {
            name: "IdsAttack",
            query: all(family::ALERTS)
                .is(label::SEVERITY, super::severity(Severity::High))
                .increase("10m")
                .sum(&[INSTANCE, label::CLASS])
                .above(0.0),
            holds: "0m",
            urgency: Urgency::Critical,
            summary: "{{ $labels.class }} of high severity on {{ $labels.instance }}",
            means: "The witnesses agree that an attack goes on, or that a device inside is taken over.",
            act: "The alert's line names hosts, reason and what to do next; `ids-agent explain ALERT_ID` shows \
                  what it rests on.",
        },
        AlertRule {
            name: "IdsManyAlerts",
            query: all(family::ALERTS).increase("1h").sum(&[INSTANCE]).above(100.0),
            holds: "0m",
            urgency: Urgency::Warning,
            summary: "{{ printf \"%.0f\" $value }} alerts within an hour on {{ $labels.instance }}",
            means: "An attack on many hosts, or one habit of this network that is taken for an attack again and \
                    again.",
            act: "See which class it is. If it is a habit: `ids-agent feedback ALERT_ID false`, or `ids-agent \
                  calibrate` over a day of ordinary traffic.",
        },
    ]
}

/// Alerts in groups, by the question that they answer.
pub(super) fn groups() -> Vec<(&'static str, Vec<AlertRule>)> {
    vec![
        ("ids-agent working", working()),
        ("ids-agent blind", blind()),
        ("ids-agent sources", sources()),
        ("ids-agent found", found()),
    ]
}
