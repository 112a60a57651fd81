//! The rows of the dashboard: is it working, what is it blind to, what did it find; and below, closed, the parts. Pure.

use super::{
    panel::{GREEN, ORANGE, RED, Shape, Unit, View, view},
    query::{INSTANCE, Query, all, chosen, foreign},
    recorded::{ALERTS_PER_HOUR, LOST_SHARE},
};
use crate::{
    detect::Severity,
    http::family::{self, Family, label},
};

/// Grafana's own: wide enough for four scrapes, and the whole range shown.
pub(super) const RATE: &str = "$__rate_interval";
const RANGE: &str = "$__range";
/// The variable for interfaces.
const INTERFACES: &str = "$interface";

pub(super) struct Row {
    pub(super) title: &'static str,
    /// The question that it answers, for the page of documentation.
    pub(super) question: &'static str,
    pub(super) open: bool,
    pub(super) views: Vec<View>,
}

/// Of all chosen agents together.
fn rate(family: Family) -> Query {
    chosen(family).rate(RATE).sum(&[])
}

fn rate_by(family: Family, by: &str) -> Query {
    chosen(family).rate(RATE).sum(&[by])
}

fn in_range_by(family: Family, by: &[&str]) -> Query {
    chosen(family).increase(RANGE).sum(by)
}

fn worst(family: Family) -> Query {
    chosen(family).now().max(&[INSTANCE])
}

fn worst_by(family: Family, by: &str) -> Query {
    chosen(family).now().max(&[by])
}

fn attached() -> super::query::Series {
    chosen(family::ATTACHED).like(label::INTERFACE, INTERFACES)
}

fn working() -> Row {
    let firing = all(foreign::ALERTS).is("alertstate", "firing").like("alertname", "Ids.*");
    Row {
        title: "Is it working?",
        question: "Does the agent run, see the interfaces it should, and keep up? All green: yes.",
        open: true,
        views: vec![
            view(Shape::Figure, "Agent", Unit::Plain, "Whether Prometheus reaches the agent. Down: nothing is watched; traffic passes all the same.")
                .ask(chosen(foreign::UP).now().min(&[]), "")
                .no_yes("down", "up"),
            view(Shape::Figure, "Interfaces", Unit::Plain, "Whether a program sees every watched interface. Blind: one was detached or is gone; the row below says which.")
                .ask(attached().now().min(&[]), "")
                .no_yes("blind", "all watched"),
            view(Shape::Figure, "Traffic", Unit::PacketsPerSec, "Packets that the programs see. None at all, on a network in use, means that it looks in the wrong place.")
                .ask(rate(family::PACKETS_SEEN), "")
                .good_from(0.001),
            view(Shape::Figure, "A tick takes", Unit::Seconds, "What 99 of 100 ticks take at most to judge. Ticks come every half second: from there on verdicts come late.")
                .ask(chosen(family::ENGINE_STEP_SECONDS).quantile(0.99, RATE, &[]).max(&[]), "")
                .bad_from(0.25, 0.5),
            view(Shape::Figure, "Alerts of Prometheus", Unit::Plain, "Conditions of the agent itself that want attention; the runbook at the end says what to do on each.")
                .ask(firing.now().count(&[]).or_zero(), "")
                .bad_from(1.0, 3.0),
            view(Shape::Figure, "Runs for", Unit::Seconds, "Since the agent was last started. Short, again and again: it crashes, or its watchdog ends it.")
                .ask(chosen(foreign::PROCESS_START_TIME_SECONDS).now().age().min(&[]), ""),
            view(Shape::Lines, "Packets", Unit::PacketsPerSec, "Seen: frames that reached a program. Unfolded: packets that a large one stood for, as network cards join them. In flows: counted in flows; the rest is skipped, by reason below.")
                .ask(rate(family::PACKETS_SEEN), "seen")
                .ask(rate(family::SEGMENTS_UNFOLDED), "unfolded")
                .ask(rate(family::PACKETS_IN_FLOWS), "in flows"),
            view(Shape::Lines, "Bandwidth", Unit::BitsPerSec, "What was counted in flows, both directions together.")
                .ask(rate(family::BYTES_IN_FLOWS).times(8.0), "in flows"),
            view(Shape::Lines, "Flows", Unit::Count, "Conversations in progress, and how many begin and are judged each second. A steep rise of beginnings is a scan or a flood.")
                .ask(chosen(family::FLOWS_ACTIVE).now().sum(&[]), "in progress")
                .ask(rate(family::FLOWS_STARTED), "began each second")
                .ask(rate(family::FLOWS_JUDGED), "judged each second"),
        ],
    }
}

fn blind() -> Row {
    let lost = || rate(family::SAMPLES_LOST);
    Row {
        title: "What is it blind to?",
        question: "What does it not see: lost packets, lost payload, interfaces without a program, detectors that do not judge, lists that are old?",
        open: true,
        views: vec![
            view(Shape::Figure, "Coverage", Unit::Share, "The share of what it could see that the worst off detector sees. Below 100 %, work was given up to stay within the budget, or something is missing: the bars say which detector, the bands why.")
                .ask(chosen(family::COVERAGE).now().min(&[]), "")
                .good_from(1.0),
            view(Shape::Figure, "Given up", Unit::Plain, "How much is given up to stay within the budget: from nothing to all but counters, behaviour and floods.")
                .ask(chosen(family::BUDGET_LEVEL).now().max(&[]), "")
                .words(&[(0, "nothing", GREEN), (1, "samples", ORANGE), (2, "models", RED), (3, "nearly all", RED)]),
            view(Shape::Figure, "Counted and lost", Unit::Share, "Share of the packets that were counted in the kernel and lost on the way, because the ring was full.")
                .ask(chosen(LOST_SHARE).now().max(&[]), "")
                .bad_from(0.000_1, 0.01),
            view(Shape::Figure, "Payload lost", Unit::Share, "Share of the payload samples that were lost: names, requests and attack patterns in them are not seen. Counts stay exact.")
                .ask(lost().per(rate(family::SAMPLES_SENT).plus(lost()).at_least(1.0)), "")
                .bad_from(0.001, 0.01),
            view(Shape::Figure, "Oldest feed", Unit::Seconds, "Age of the threat list that was fetched longest ago. What became bad since is not known.")
                .ask(chosen(family::INTEL_FEED_MODIFIED_TIMESTAMP_SECONDS).now().age().max(&[]), "")
                .bad_from(86_400.0, 259_200.0)
                .or_says("no feeds"),
            view(Shape::Figure, "Suricata", Unit::Plain, "Whether Suricata said anything in the last two minutes. Without it no signature is heard.")
                .ask(chosen(family::SURICATA_UP).now().min(&[]), "")
                .no_yes("silent", "heard")
                .or_says("not used"),
            view(Shape::Bands, "Watched interfaces", Unit::Plain, "Green while a program sees the interface. The mode says where: native in the driver, generic behind it, tc later still.")
                .ask(attached().now().min(&[label::INTERFACE, label::MODE, label::DIRECTION]), "{{interface}} {{mode}} {{direction}}")
                .no_yes("blind", "watched"),
            view(Shape::Bars, "What each detector sees", Unit::Share, "The share of what each detector could see that it sees, as it stands.")
                .ask(chosen(family::COVERAGE).now().min(&[label::DETECTOR]), "{{detector}}")
                .bad_below(0.5, 1.0),
            view(Shape::Bands, "Why less is seen", Unit::Plain, "Red while something keeps it from seeing all: a level that gives work up, tables made smaller, a full ring, a detector that fails, an interface without a program, a stage that is stuck.")
                .ask(chosen(family::VISIBILITY_DEGRADED).now().max(&[label::CAUSE]), "{{cause}}")
                .words(&[(0, "well", GREEN), (1, "less", RED)]),
            view(Shape::Areas, "Packets in no flow", Unit::PacketsPerSec, "Why packets are in no flow: protocols without flows, such as ARP, or frames that cannot be read.")
                .ask(rate_by(family::PACKETS_SKIPPED, label::REASON), "{{reason}}"),
            view(Shape::Lines, "Losses", Unit::PerSec, "What did not come through because a bound was reached. Evicted slots went through the ring and nothing is lost with them; lost ones found the ring full. Unseen packets passed a watched interface while no program was on it. Forgotten entries were let go early by a full table.")
                .ask(rate(family::SLOTS_EVICTED), "slots evicted")
                .ask(rate(family::SLOTS_LOST), "slots lost")
                .ask(rate(family::SLOTS_LOST_PACKETS), "packets lost")
                .ask(rate(family::SLOTS_LOST_BYTES), "bytes lost")
                .ask(lost(), "samples lost")
                .ask(rate(family::CAPTURE_GAP_PACKETS), "passed unseen")
                .ask(rate_by(family::ENTRIES_FORGOTTEN, label::TABLE), "forgotten: {{table}}"),
        ],
    }
}

fn found() -> Row {
    Row {
        title: "What did it find?",
        question: "Which attacks, how many, who says so, and what was held back?",
        open: true,
        views: vec![
            view(Shape::Figure, "High", Unit::Plain, "Alerts of high severity in the time shown: witnesses agree, or a device inside is taken over.")
                .ask(chosen(family::ALERTS).is(label::SEVERITY, super::severity(Severity::High)).increase(RANGE).sum(&[]), "")
                .bad_from(0.5, 1.0),
            view(Shape::Figure, "Medium", Unit::Plain, "Alerts of medium severity in the time shown.")
                .ask(chosen(family::ALERTS).is(label::SEVERITY, super::severity(Severity::Medium)).increase(RANGE).sum(&[]), "")
                .bad_from(0.5, 50.0),
            view(Shape::Figure, "Low and below", Unit::Plain, "Alerts of low severity and for information, in the time shown.")
                .ask(chosen(family::ALERTS).like(label::SEVERITY, "low|info").increase(RANGE).sum(&[]), ""),
            view(Shape::Figure, "Silenced", Unit::Plain, "Findings in the time shown that raised no alert: on the allow list, or called false by somebody.")
                .ask(in_range_by(family::FINDINGS_SILENCED, &[]).or_zero(), ""),
            view(Shape::Figure, "Listed hosts", Unit::Plain, "Addresses and names of threat lists that were touched, in the time shown.")
                .ask(in_range_by(family::INTEL_HITS, &[]), "")
                .bad_from(0.5, 10.0)
                .or_says("none"),
            view(Shape::Figure, "Signatures", Unit::Plain, "Alerts of Suricata that were heard, in the time shown.")
                .ask(in_range_by(family::SURICATA_ALERTS, &[]), "")
                .or_says("not used"),
            view(Shape::Areas, "Alerts by class", Unit::Count, "Alerts of the last hour, at each moment, by what they say it is. A plateau is one attack that goes on; steps are several.")
                .ask(chosen(ALERTS_PER_HOUR).now().sum(&[label::CLASS]), "{{class}}"),
            view(Shape::Bars, "Who says so", Unit::Plain, "Findings of each witness in the time shown. An alert rests on the findings of one or several.")
                .ask(in_range_by(family::FINDINGS, &[label::WITNESS]), "{{witness}}"),
            view(Shape::Areas, "Verdicts of flows", Unit::PerSec, "Ended flows by the class they were given. Nearly all are benign, on a network in order.")
                .ask(rate_by(family::VERDICTS, label::CLASS), "{{class}}"),
            view(Shape::Bars, "Looked odd, not told", Unit::Plain, "Flows that a witness found odd, but not surely enough to say so.")
                .ask(in_range_by(family::ABSTAINED, &[label::WITNESS]), "{{witness}}"),
            view(Shape::Bars, "Touched lists", Unit::Plain, "What was touched of threat lists in the time shown, by category and kind.")
                .ask(in_range_by(family::INTEL_HITS, &[label::CATEGORY, label::KIND]), "{{category}} {{kind}}"),
            view(Shape::Lines, "Devices", Unit::Count, "Devices of the site: those still being learned, and those known by their own past and judged by it.")
                .ask(chosen(family::DEVICES).now().sum(&[label::STANDING]), "{{standing}}"),
        ],
    }
}

fn speed() -> Row {
    Row {
        title: "Speed and memory",
        question: "What does it cost, and which part?",
        open: false,
        views: vec![
            view(Shape::Lines, "CPU", Unit::Cpus, "CPU time of the agent and of a Suricata it manages; 100 % is one CPU. What the programs in the kernel take is not in it.")
                .ask(rate(foreign::PROCESS_CPU_SECONDS), "agent")
                .ask(rate(family::SURICATA_PROCESS_CPU_SECONDS), "Suricata"),
            view(Shape::Lines, "Memory", Unit::Bytes, "Resident memory of the agent and of a Suricata it manages, memory of the maps in the kernel, and of threat lists.")
                .ask(chosen(foreign::PROCESS_RESIDENT_MEMORY_BYTES).now().sum(&[]), "agent")
                .ask(chosen(family::SURICATA_PROCESS_RESIDENT_MEMORY_BYTES).now().sum(&[]), "Suricata")
                .ask(chosen(family::MAP_MEMORY_BYTES).now().sum(&[]), "kernel maps")
                .ask(chosen(family::INTEL_MEMORY_BYTES).now().sum(&[]), "threat lists"),
            view(Shape::Lines, "Time of a tick", Unit::Seconds, "How long ticks take to judge: half of them, and 99 of 100, at most.")
                .ask(chosen(family::ENGINE_STEP_SECONDS).quantile(0.5, RATE, &[]).max(&[]), "half")
                .ask(chosen(family::ENGINE_STEP_SECONDS).quantile(0.99, RATE, &[]).max(&[]), "99 of 100")
                .bad_from(0.25, 0.5),
            view(Shape::Lines, "Time of each detector", Unit::Seconds, "What 99 of 100 ticks take at most in each detector: whoever is high here is what a slow tick waits for.")
                .ask(chosen(family::INFERENCE_SECONDS).quantile(0.99, RATE, &[label::WITNESS]).max(&[label::WITNESS]), "{{witness}}"),
            view(Shape::Lines, "Ring buffer", Unit::Bytes, "How full the ring between kernel and agent was when it was last read, and its size. Full: samples and evicted slots are lost.")
                .ask(worst(family::RING_USED_BYTES), "used {{instance}}")
                .ask(worst(family::RING_SIZE_BYTES), "size {{instance}}"),
            view(Shape::Lines, "Before the engine", Unit::Count, "Batches that wait to be judged, and how often reading waited for that.")
                .ask(worst(family::ENGINE_QUEUE_BATCHES), "waiting {{instance}}")
                .ask(rate(family::ENGINE_QUEUE_FULL), "times full each second"),
            view(Shape::Areas, "How flows end", Unit::PerSec, "By reason: closed, silent, or evicted because a table was full.")
                .ask(rate_by(family::FLOWS_ENDED, label::REASON), "{{reason}}"),
            view(Shape::Lines, "Samples", Unit::PerSec, "Payload samples through the ring, and slots that brought nothing new.")
                .ask(rate(family::SAMPLES_SENT), "samples")
                .ask(rate(family::SLOTS_STALE), "stale slots"),
            view(Shape::Table, "What runs", Unit::Plain, "Versions of the agent and of its models.")
                .ask(chosen(family::BUILD_INFO).now(), "")
                .ask(chosen(family::MODEL_INFO).now(), ""),
        ],
    }
}

fn budget() -> Row {
    Row {
        title: "Budget and service",
        question: "What may it take, what does it take, what did it give up for that, and do the walls around it hold?",
        open: false,
        views: vec![
            view(Shape::Lines, "CPU against the budget", Unit::Cpus, "CPU time of the agent, of its programs in the kernel and of a managed Suricata, and what they may take together. Above it, work is given up.")
                .ask(chosen(family::BUDGET_CPUS).now().sum(&[label::BY]), "{{by}}")
                .ask(chosen(family::BUDGET_LIMIT_CPUS).now().sum(&[]), "limit"),
            view(Shape::Lines, "Memory against the budget", Unit::Bytes, "Memory of the agent, its maps and a managed Suricata, and what they may take. Near it, tables are made smaller.")
                .ask(chosen(family::BUDGET_MEMORY_BYTES).now().sum(&[]), "taken")
                .ask(chosen(family::BUDGET_LIMIT_MEMORY_BYTES).now().sum(&[]), "limit"),
            view(Shape::Lines, "Share of the budget", Unit::Share, "What is taken of the budgets of CPU and memory, and how large the tables are, of what was configured.")
                .ask(worst_by(family::BUDGET_LOAD_RATIO, label::OF), "{{of}}")
                .ask(chosen(family::BUDGET_TABLES_RATIO).now().min(&[]), "tables"),
            view(Shape::Lines, "Level", Unit::Count, "How much is given up: 0 nothing, 1 samples, 2 models, 3 nearly all; and how often that was told, and told to be over.")
                .ask(worst(family::BUDGET_LEVEL), "level {{instance}}")
                .ask(chosen(family::VISIBILITY_NOTICES).now().sum(&[label::KIND]), "told: {{kind}}"),
            view(Shape::Bars, "Over the budget", Unit::Plain, "Samples in the time shown, one every two seconds, that were over the budget, by what was short.")
                .ask(in_range_by(family::BUDGET_OVER, &[label::REASON]), "{{reason}}")
                .bad_from(0.5, 30.0),
            view(Shape::Lines, "Temperature", Unit::Celsius, "The board's warmest sensor; 0 where the board has none. A hot board slows itself down.")
                .ask(worst(family::BUDGET_TEMPERATURE_CELSIUS), "{{instance}}"),
            view(Shape::Lines, "A packet costs", Unit::Nanoseconds, "What the programs in the kernel take for each packet: measured, or assumed where the kernel does not tell.")
                .ask(worst_by(family::BUDGET_PACKET_COST_NANOSECONDS, label::SOURCE), "{{source}}"),
            view(Shape::Bands, "Sandbox", Unit::Plain, "Whether each wall around the agent holds. One that the kernel does not have stays red, and the others hold.")
                .ask(chosen(family::SANDBOX).now().min(&[label::PART]), "{{part}}")
                .no_yes("open", "holds"),
            view(Shape::Figure, "Not judged", Unit::Plain, "Flows in the time shown that a detector could not judge because its model failed.")
                .ask(in_range_by(family::INFERENCE_FAILED, &[]), "")
                .bad_from(1.0, 100.0),
            view(Shape::Figure, "Counted nowhere", Unit::Plain, "Packets that no counter has, since the agent's start. Always zero; anything else is a fault of ours.")
                .ask(chosen(family::TABLE_MISSING).now().sum(&[]), "")
                .bad_from(1.0, 1.0),
        ],
    }
}

fn delivery() -> Row {
    let fill = chosen(family::SINK_QUEUE_LINES)
        .now()
        .max(&[label::SINK])
        .per(chosen(family::SINK_QUEUE_LIMIT_LINES).now().max(&[label::SINK]).at_least(1.0));
    Row {
        title: "Delivery",
        question: "Does what was found get where it should, and is what was learned kept?",
        open: false,
        views: vec![
            view(Shape::Lines, "Lines", Unit::PerSec, "Offered = written + dropped + waiting, for each sink.")
                .ask(rate_by(family::SINK_LINES_OFFERED, label::SINK), "offered {{sink}}")
                .ask(rate_by(family::SINK_LINES_WRITTEN, label::SINK), "written {{sink}}"),
            view(Shape::Bars, "Dropped", Unit::Plain, "Lines in the time shown that are in no file, and why.")
                .ask(in_range_by(family::SINK_LINES_DROPPED, &[label::SINK, label::REASON]), "{{sink}} {{reason}}")
                .bad_from(0.5, 1.0),
            view(Shape::Bars, "Queues", Unit::Share, "How full each sink's queue is.")
                .ask(fill, "{{sink}}")
                .bad_from(0.5, 0.9),
            view(
                Shape::Lines,
                "Written",
                Unit::BytesPerSec,
                "Bytes written by each sink: what a disk or an SD card must bear.",
            )
            .ask(rate_by(family::SINK_WRITTEN_BYTES, label::SINK), "{{sink}}"),
            view(Shape::Lines, "Rotations", Unit::Count, "Files rotated in the time shown so far.")
                .ask(chosen(family::SINK_ROTATIONS).now().sum(&[label::SINK]), "{{sink}}"),
            view(Shape::Lines, "State", Unit::Bytes, "Length of the file that keeps what was learned over a restart.")
                .ask(worst(family::STATE_SIZE_BYTES), "{{instance}}"),
            view(
                Shape::Bars,
                "State kept and not",
                Unit::Plain,
                "Times in the time shown that it was written, and that it was not, by reason.",
            )
            .ask(in_range_by(family::STATE_WRITTEN, &[]), "written")
            .ask(in_range_by(family::STATE_LOST, &[label::REASON]), "not: {{reason}}"),
        ],
    }
}

fn suricata() -> Row {
    let dropped = chosen(family::SURICATA_PACKETS).is(label::FATE, "dropped").increase_of_gauge(RATE).sum(&[]);
    let seen = chosen(family::SURICATA_PACKETS).is(label::FATE, "seen").increase_of_gauge(RATE).sum(&[]);
    Row {
        title: "Suricata",
        question: "Is the second witness there, does it keep up, is it heard in time, and do its alerts find their flows?",
        open: false,
        views: vec![
            view(Shape::Figure, "Dropped", Unit::Share, "Share of the packets that Suricata had no time for.")
                .ask(dropped.per(seen.at_least(1.0)), "")
                .bad_from(0.001, 0.01)
                .or_says("not used"),
            view(Shape::Figure, "Joined", Unit::Share, "Share of its alerts whose flow was found. Low: its clock is off, it sees another interface, or it speaks too late.")
                .ask(chosen(family::SURICATA_JOIN_RATIO).now().min(&[]), "")
                .good_from(0.95)
                .or_says("not used"),
            view(Shape::Figure, "Heard after", Unit::Seconds, "Age of the newest thing it said. Its statistics come every 8 to 30 seconds when nothing else does.")
                .ask(chosen(family::EVE_LAG_SECONDS).now().max(&[]), "")
                .bad_from(60.0, 120.0)
                .or_says("not used"),
            view(Shape::Figure, "eve.json", Unit::Plain, "Whether the file, pipe or socket could be read.")
                .ask(chosen(family::EVE_READABLE).now().min(&[]), "")
                .no_yes("unreadable", "read")
                .or_says("not used"),
            view(Shape::Figure, "Answers", Unit::Plain, "Whether a Suricata that the agent manages answers at its socket.")
                .ask(chosen(family::SURICATA_PROCESS_ANSWERS).now().min(&[]), "")
                .no_yes("mute", "answers")
                .or_says("not managed"),
            view(Shape::Figure, "Rules fetched", Unit::Seconds, "How long ago the rules' sources were last fetched.")
                .ask(chosen(family::SURICATA_RULES_CHECKED_TIMESTAMP_SECONDS).now().above(0.0).age().max(&[]), "")
                .bad_from(172_800.0, 604_800.0)
                .or_says("never"),
            view(Shape::Lines, "Its alerts", Unit::PerSec, "Heard, and what became of them: joined to a flow, by what names it, or orphans, by reason.")
                .ask(rate(family::SURICATA_ALERTS), "heard")
                .ask(rate_by(family::SURICATA_JOINED, label::BY), "joined by {{by}}")
                .ask(rate_by(family::SURICATA_ORPHANS, label::REASON), "orphan: {{reason}}")
                .ask(rate_by(family::SURICATA_SIGNATURES, label::WHAT), "signature {{what}}"),
            view(Shape::Areas, "What it says", Unit::PerSec, "Lines of eve.json by what they tell of.")
                .ask(rate_by(family::EVE_EVENTS, label::TYPE), "{{type}}"),
            view(Shape::Lines, "Reading", Unit::PerSec, "Lines read, and those that gave nothing, by reason.")
                .ask(rate(family::EVE_LINES), "lines")
                .ask(rate_by(family::EVE_LINES_SKIPPED, label::REASON), "skipped: {{reason}}")
                .ask(rate_by(family::EVE_REFUSED, label::WHAT), "refused: {{what}}")
                .ask(rate_by(family::EVE_ROTATIONS, label::KIND), "rotation: {{kind}}")
                .ask(rate(family::SURICATA_EVE_ROTATED), "rotated by the agent"),
            view(Shape::Lines, "Bytes", Unit::BytesPerSec, "Bytes of eve.json: in lines, lost in lines too long or cut, in empty ones; and those not read yet.")
                .ask(rate_by(family::EVE_READ_BYTES, label::PART), "{{part}}")
                .ask(worst(family::EVE_BEHIND_BYTES), "not read yet {{instance}}"),
            view(Shape::Lines, "Events and flows", Unit::PerSec, "Names, requests and files by whether their flow was known; events of flows by whether they bore a community id, without which they are joined by addresses alone.")
                .ask(rate_by(family::SURICATA_EVENTS, label::FLOW), "flow {{flow}}")
                .ask(rate_by(family::EVE_FLOW_EVENTS, label::COMMUNITY_ID), "community id: {{community_id}}"),
            view(Shape::Bars, "Rules", Unit::Count, "As its statistics and its socket count them. Failed ones protect from nothing.")
                .ask(chosen(family::SURICATA_RULES).now().max(&[label::STATE]), "{{state}}")
                .ask(chosen(family::SURICATA_RULES_IN_FORCE).now().max(&[label::STATE]), "in force: {{state}}"),
            view(Shape::Lines, "Waiting", Unit::Count, "Alerts that wait for their flow.")
                .ask(worst(family::SURICATA_WAITING_ALERTS), "{{instance}}"),
            view(Shape::Lines, "From packet to join", Unit::Seconds, "For the alert that was joined last.")
                .ask(worst(family::SURICATA_JOIN_LAG_SECONDS), "{{instance}}"),
            view(Shape::Lines, "Process", Unit::Count, "Whether the managed one runs, how often it was started, how long it runs in hours, and what became of new rules.")
                .ask(chosen(family::SURICATA_PROCESS_RUNNING).now().min(&[]), "runs")
                .ask(chosen(family::SURICATA_PROCESS_STARTS).now().sum(&[]), "starts")
                .ask(chosen(family::SURICATA_UPTIME_SECONDS).now().min(&[]).times(1.0 / 3_600.0), "hours")
                .ask(chosen(family::SURICATA_RULE_UPDATES).now().sum(&[label::RESULT]), "rules: {{result}}"),
            view(Shape::Lines, "Its tables", Unit::Bytes, "Memory of its flows and streams, by its statistics.")
                .ask(worst(family::SURICATA_MEMORY_BYTES), "{{instance}}"),
        ],
    }
}

fn intel() -> Row {
    Row {
        title: "Threat intelligence",
        question: "Which lists are in force, how old are they, and what of them is left out?",
        open: false,
        views: vec![
            view(Shape::Bars, "Indicators", Unit::Count, "Addresses, names and fingerprints in force, by feed.")
                .ask(chosen(family::INTEL_INDICATORS).now().max(&[label::FEED]), "{{feed}}"),
            view(Shape::Bars, "Age", Unit::Seconds, "How long ago each feed's newest file was changed.")
                .ask(chosen(family::INTEL_FEED_MODIFIED_TIMESTAMP_SECONDS).now().age().max(&[label::FEED]), "{{feed}}")
                .bad_from(86_400.0, 259_200.0),
            view(
                Shape::Bars,
                "Left out",
                Unit::Count,
                "Entries that are not in force, by reason: garbage, too broad, harmless, beyond the bound.",
            )
            .ask(
                chosen(family::INTEL_ENTRIES_LEFT_OUT).now().max(&[label::FEED, label::REASON]),
                "{{feed}}: {{reason}}",
            ),
            view(
                Shape::Lines,
                "Taken and refused",
                Unit::Count,
                "How often each feed was taken, and refused, since the start.",
            )
            .ask(chosen(family::INTEL_LOADS).now().sum(&[label::FEED]), "taken {{feed}}")
            .ask(chosen(family::INTEL_REFUSALS).now().sum(&[label::FEED]), "refused {{feed}}"),
        ],
    }
}

fn blocking() -> Row {
    Row {
        title: "Blocking",
        question: "Where it is turned on: what is dropped, for whom, and what was refused?",
        open: false,
        views: vec![
            view(
                Shape::Lines,
                "Blocks",
                Unit::Count,
                "Blocks in force, and hosts that were seen to converse, of which blocks may touch a share only.",
            )
            .ask(chosen(family::BLOCKS).now().sum(&[]), "blocks")
            .ask(chosen(family::BLOCK_HOSTS).now().sum(&[]), "hosts"),
            view(
                Shape::Lines,
                "Dropped for a block",
                Unit::PacketsPerSec,
                "Packets that were counted in flows and then dropped. Zero, unless blocking is on.",
            )
            .ask(rate(family::PACKETS_BLOCKED), "packets")
            .ask(rate(family::BYTES_BLOCKED), "bytes"),
            view(
                Shape::Lines,
                "What became of blocks",
                Unit::PerSec,
                "Put in force, ended, taken back; and refused, by reason.",
            )
            .ask(rate_by(family::BLOCK_EVENTS, label::ACTION), "{{action}}")
            .ask(rate_by(family::BLOCK_REFUSED, label::REASON), "refused: {{reason}}"),
        ],
    }
}

pub(super) fn rows() -> Vec<Row> {
    vec![working(), blind(), found(), speed(), budget(), delivery(), suricata(), intel(), blocking()]
}
