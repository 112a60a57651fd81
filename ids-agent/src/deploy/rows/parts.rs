//! The rows below, closed until somebody asks: the parts of the agent.

use super::{RATE, Row, in_range_by, rate, rate_by, worst, worst_by};
use crate::{
    deploy::{
        panel::{Shape, Unit, view},
        query::{chosen, foreign},
    },
    http::family::{self, label},
};

pub(super) fn speed() -> Row {
    Row {
        title: "Speed and memory",
        question: "What does it cost, and which part?",
        open: false,
        views: vec![
            view(Shape::Lines, "CPU", Unit::Cpus)
                .about(
                    "CPU time of the agent and of a Suricata it manages; 100 % is one CPU. What the programs in \
                     the kernel take is not in it.",
                )
                .ask(rate(foreign::PROCESS_CPU_SECONDS), "agent")
                .ask(rate(family::SURICATA_PROCESS_CPU_SECONDS), "Suricata"),
            view(Shape::Lines, "Memory", Unit::Bytes)
                .about(
                    "Resident memory of the agent and of a Suricata it manages, memory of the maps in the kernel, \
                     and of threat lists.",
                )
                .ask(chosen(foreign::PROCESS_RESIDENT_MEMORY_BYTES).now().sum(&[]), "agent")
                .ask(chosen(family::SURICATA_PROCESS_RESIDENT_MEMORY_BYTES).now().sum(&[]), "Suricata")
                .ask(chosen(family::MAP_MEMORY_BYTES).now().sum(&[]), "kernel maps")
                .ask(chosen(family::INTEL_MEMORY_BYTES).now().sum(&[]), "threat lists"),
            view(Shape::Lines, "Time of a tick", Unit::Seconds)
                .about("How long ticks take to judge: half of them, and 99 of 100, at most.")
                .ask(chosen(family::ENGINE_STEP_SECONDS).quantile(0.5, RATE, &[]).max(&[]), "half")
                .ask(chosen(family::ENGINE_STEP_SECONDS).quantile(0.99, RATE, &[]).max(&[]), "99 of 100")
                .bad_from(0.25, 0.5),
            view(Shape::Lines, "Time of each detector", Unit::Seconds)
                .about(
                    "What 99 of 100 ticks take at most in each detector: whoever is high here is what a slow tick \
                     waits for.",
                )
                .ask(
                    chosen(family::INFERENCE_SECONDS).quantile(0.99, RATE, &[label::WITNESS]).max(&[label::WITNESS]),
                    "{{witness}}",
                ),
            view(Shape::Lines, "Ring buffer", Unit::Bytes)
                .about(
                    "How full the ring between kernel and agent was when it was last read, and its size. Full: \
                     samples and evicted slots are lost.",
                )
                .ask(worst(family::RING_USED_BYTES), "used {{instance}}")
                .ask(worst(family::RING_SIZE_BYTES), "size {{instance}}"),
            view(Shape::Lines, "Before the engine", Unit::Count)
                .about("Batches that wait to be judged, and how often reading waited for that.")
                .ask(worst(family::ENGINE_QUEUE_BATCHES), "waiting {{instance}}")
                .ask(rate(family::ENGINE_QUEUE_FULL), "times full each second"),
            view(Shape::Areas, "How flows end", Unit::PerSec)
                .about("By reason: closed, silent, or evicted because a table was full.")
                .ask(rate_by(family::FLOWS_ENDED, label::REASON), "{{reason}}"),
            view(Shape::Lines, "Samples", Unit::PerSec)
                .about("Payload samples through the ring, and slots that brought nothing new.")
                .ask(rate(family::SAMPLES_SENT), "samples")
                .ask(rate(family::SLOTS_STALE), "stale slots"),
            view(Shape::Table, "What runs", Unit::Plain)
                .about("Versions of the agent and of its models.")
                .ask(chosen(family::BUILD_INFO).now(), "")
                .ask(chosen(family::MODEL_INFO).now(), ""),
        ],
    }
}

pub(super) fn budget() -> Row {
    Row {
        title: "Budget and service",
        question: "What may it take, what does it take, what did it give up for that, and do the walls around it hold?",
        open: false,
        views: vec![
            view(Shape::Lines, "CPU against the budget", Unit::Cpus)
                .about(
                    "CPU time of the agent, of its programs in the kernel and of a managed Suricata, and what \
                     they may take together. Above it, work is given up.",
                )
                .ask(chosen(family::BUDGET_CPUS).now().sum(&[label::BY]), "{{by}}")
                .ask(chosen(family::BUDGET_LIMIT_CPUS).now().sum(&[]), "limit"),
            view(Shape::Lines, "Memory against the budget", Unit::Bytes)
                .about(
                    "Memory of the agent, its maps and a managed Suricata, and what they may take. Near it, \
                     tables are made smaller.",
                )
                .ask(chosen(family::BUDGET_MEMORY_BYTES).now().sum(&[]), "taken")
                .ask(chosen(family::BUDGET_LIMIT_MEMORY_BYTES).now().sum(&[]), "limit"),
            view(Shape::Lines, "Share of the budget", Unit::Share)
                .about(
                    "What is taken of the budgets of CPU and memory, and how large the tables are, of what was \
                     configured.",
                )
                .ask(worst_by(family::BUDGET_LOAD_RATIO, label::OF), "{{of}}")
                .ask(chosen(family::BUDGET_TABLES_RATIO).now().min(&[]), "tables"),
            view(Shape::Lines, "Level", Unit::Count)
                .about(
                    "How much is given up: 0 nothing, 1 samples, 2 models, 3 nearly all; and how often that was \
                     told, and told to be over.",
                )
                .ask(worst(family::BUDGET_LEVEL), "level {{instance}}")
                .ask(chosen(family::VISIBILITY_NOTICES).now().sum(&[label::KIND]), "told: {{kind}}"),
            view(Shape::Bars, "Over the budget", Unit::Plain)
                .about(
                    "Samples in the time shown, one every two seconds, that were over the budget, by what was \
                     short.",
                )
                .ask(in_range_by(family::BUDGET_OVER, &[label::REASON]), "{{reason}}")
                .bad_from(0.5, 30.0),
            view(Shape::Lines, "Temperature", Unit::Celsius)
                .about("The board's warmest sensor; 0 where the board has none. A hot board slows itself down.")
                .ask(worst(family::BUDGET_TEMPERATURE_CELSIUS), "{{instance}}"),
            view(Shape::Lines, "A packet costs", Unit::Nanoseconds)
                .about(
                    "What the programs in the kernel take for each packet: measured, or assumed where the kernel \
                     does not tell.",
                )
                .ask(worst_by(family::BUDGET_PACKET_COST_NANOSECONDS, label::SOURCE), "{{source}}"),
            view(Shape::Bands, "Sandbox", Unit::Plain)
                .about(
                    "Whether each wall around the agent holds. One that the kernel does not have stays red, and \
                     the others hold.",
                )
                .ask(chosen(family::SANDBOX).now().min(&[label::PART]), "{{part}}")
                .no_yes("open", "holds"),
            view(Shape::Figure, "Not judged", Unit::Plain)
                .about("Flows in the time shown that a detector could not judge because its model failed.")
                .ask(in_range_by(family::INFERENCE_FAILED, &[]), "")
                .bad_from(1.0, 100.0),
            view(Shape::Figure, "Counted nowhere", Unit::Plain)
                .about(
                    "Packets that no counter has, since the agent's start. Always zero; anything else is a fault \
                     of ours.",
                )
                .ask(chosen(family::TABLE_MISSING).now().sum(&[]), "")
                .bad_from(1.0, 1.0),
        ],
    }
}

pub(super) fn delivery() -> Row {
    let fill = chosen(family::SINK_QUEUE_LINES)
        .now()
        .max(&[label::SINK])
        .per(chosen(family::SINK_QUEUE_LIMIT_LINES).now().max(&[label::SINK]).at_least(1.0));
    Row {
        title: "Delivery",
        question: "Does what was found get where it should, and is what was learned kept?",
        open: false,
        views: vec![
            view(Shape::Lines, "Lines", Unit::PerSec)
                .about("Offered = written + dropped + waiting, for each sink.")
                .ask(rate_by(family::SINK_LINES_OFFERED, label::SINK), "offered {{sink}}")
                .ask(rate_by(family::SINK_LINES_WRITTEN, label::SINK), "written {{sink}}"),
            view(Shape::Bars, "Dropped", Unit::Plain)
                .about("Lines in the time shown that are in no file, and why.")
                .ask(in_range_by(family::SINK_LINES_DROPPED, &[label::SINK, label::REASON]), "{{sink}} {{reason}}")
                .bad_from(0.5, 1.0),
            view(Shape::Bars, "Queues", Unit::Share)
                .about("How full each sink's queue is.")
                .ask(fill, "{{sink}}")
                .bad_from(0.5, 0.9),
            view(Shape::Lines, "Written", Unit::BytesPerSec)
                .about("Bytes written by each sink: what a disk or an SD card must bear.")
                .ask(rate_by(family::SINK_WRITTEN_BYTES, label::SINK), "{{sink}}"),
            view(Shape::Lines, "Rotations", Unit::Count)
                .about("Files rotated in the time shown so far.")
                .ask(chosen(family::SINK_ROTATIONS).now().sum(&[label::SINK]), "{{sink}}"),
            view(Shape::Lines, "State", Unit::Bytes)
                .about("Length of the file that keeps what was learned over a restart.")
                .ask(worst(family::STATE_SIZE_BYTES), "{{instance}}"),
            view(Shape::Bars, "State kept and not", Unit::Plain)
                .about("Times in the time shown that it was written, and that it was not, by reason.")
                .ask(in_range_by(family::STATE_WRITTEN, &[]), "written")
                .ask(in_range_by(family::STATE_LOST, &[label::REASON]), "not: {{reason}}"),
        ],
    }
}

pub(super) fn suricata() -> Row {
    let dropped = chosen(family::SURICATA_PACKETS).is(label::FATE, "dropped").increase_of_gauge(RATE).sum(&[]);
    let seen = chosen(family::SURICATA_PACKETS).is(label::FATE, "seen").increase_of_gauge(RATE).sum(&[]);
    Row {
        title: "Suricata",
        question: "Is the second witness there, does it keep up, is it heard in time, and do its alerts find their \
                   flows?",
        open: false,
        views: vec![
            view(Shape::Figure, "Dropped", Unit::Share)
                .about("Share of the packets that Suricata had no time for.")
                .ask(dropped.per(seen.at_least(1.0)), "")
                .bad_from(0.001, 0.01)
                .or_says("not used"),
            view(Shape::Figure, "Joined", Unit::Share)
                .about(
                    "Share of its alerts whose flow was found. Low: its clock is off, it sees another interface, \
                     or it speaks too late.",
                )
                .ask(chosen(family::SURICATA_JOIN_RATIO).now().min(&[]), "")
                .good_from(0.95)
                .or_says("not used"),
            view(Shape::Figure, "Heard after", Unit::Seconds)
                .about(
                    "Age of the newest thing it said. Its statistics come every 8 to 30 seconds when nothing else \
                     does.",
                )
                .ask(chosen(family::EVE_LAG_SECONDS).now().max(&[]), "")
                .bad_from(60.0, 120.0)
                .or_says("not used"),
            view(Shape::Figure, "eve.json", Unit::Plain)
                .about("Whether the file, pipe or socket could be read.")
                .ask(chosen(family::EVE_READABLE).now().min(&[]), "")
                .no_yes("unreadable", "read")
                .or_says("not used"),
            view(Shape::Figure, "Answers", Unit::Plain)
                .about("Whether a Suricata that the agent manages answers at its socket.")
                .ask(chosen(family::SURICATA_PROCESS_ANSWERS).now().min(&[]), "")
                .no_yes("mute", "answers")
                .or_says("not managed"),
            view(Shape::Figure, "Rules fetched", Unit::Seconds)
                .about("How long ago the rules' sources were last fetched.")
                .ask(chosen(family::SURICATA_RULES_CHECKED_TIMESTAMP_SECONDS).now().above(0.0).age().max(&[]), "")
                .bad_from(172_800.0, 604_800.0)
                .or_says("never"),
            view(Shape::Lines, "Its alerts", Unit::PerSec)
                .about("Heard, and what became of them: joined to a flow, by what names it, or orphans, by reason.")
                .ask(rate(family::SURICATA_ALERTS), "heard")
                .ask(rate_by(family::SURICATA_JOINED, label::BY), "joined by {{by}}")
                .ask(rate_by(family::SURICATA_ORPHANS, label::REASON), "orphan: {{reason}}")
                .ask(rate_by(family::SURICATA_SIGNATURES, label::WHAT), "signature {{what}}"),
            view(Shape::Areas, "What it says", Unit::PerSec)
                .about("Lines of eve.json by what they tell of.")
                .ask(rate_by(family::EVE_EVENTS, label::TYPE), "{{type}}"),
            view(Shape::Lines, "Reading", Unit::PerSec)
                .about("Lines read, and those that gave nothing, by reason.")
                .ask(rate(family::EVE_LINES), "lines")
                .ask(rate_by(family::EVE_LINES_SKIPPED, label::REASON), "skipped: {{reason}}")
                .ask(rate_by(family::EVE_REFUSED, label::WHAT), "refused: {{what}}")
                .ask(rate_by(family::EVE_ROTATIONS, label::KIND), "rotation: {{kind}}")
                .ask(rate(family::SURICATA_EVE_ROTATED), "rotated by the agent"),
            view(Shape::Lines, "Bytes", Unit::BytesPerSec)
                .about(
                    "Bytes of eve.json: in lines, lost in lines too long or cut, in empty ones; and those not \
                     read yet.",
                )
                .ask(rate_by(family::EVE_READ_BYTES, label::PART), "{{part}}")
                .ask(worst(family::EVE_BEHIND_BYTES), "not read yet {{instance}}"),
            view(Shape::Lines, "Events and flows", Unit::PerSec)
                .about(
                    "Names, requests and files by whether their flow was known; events of flows by whether they \
                     bore a community id, without which they are joined by addresses alone.",
                )
                .ask(rate_by(family::SURICATA_EVENTS, label::FLOW), "flow {{flow}}")
                .ask(rate_by(family::EVE_FLOW_EVENTS, label::COMMUNITY_ID), "community id: {{community_id}}"),
            view(Shape::Bars, "Rules", Unit::Count)
                .about("As its statistics and its socket count them. Failed ones protect from nothing.")
                .ask(chosen(family::SURICATA_RULES).now().max(&[label::STATE]), "{{state}}")
                .ask(chosen(family::SURICATA_RULES_IN_FORCE).now().max(&[label::STATE]), "in force: {{state}}"),
            view(Shape::Lines, "Waiting", Unit::Count)
                .about("Alerts that wait for their flow.")
                .ask(worst(family::SURICATA_WAITING_ALERTS), "{{instance}}"),
            view(Shape::Lines, "From packet to join", Unit::Seconds)
                .about("For the alert that was joined last.")
                .ask(worst(family::SURICATA_JOIN_LAG_SECONDS), "{{instance}}"),
            view(Shape::Lines, "Process", Unit::Count)
                .about(
                    "Whether the managed one runs, how often it was started, how long it runs in hours, and what \
                     became of new rules.",
                )
                .ask(chosen(family::SURICATA_PROCESS_RUNNING).now().min(&[]), "runs")
                .ask(chosen(family::SURICATA_PROCESS_STARTS).now().sum(&[]), "starts")
                .ask(chosen(family::SURICATA_UPTIME_SECONDS).now().min(&[]).times(1.0 / 3_600.0), "hours")
                .ask(chosen(family::SURICATA_RULE_UPDATES).now().sum(&[label::RESULT]), "rules: {{result}}"),
            view(Shape::Lines, "Its tables", Unit::Bytes)
                .about("Memory of its flows and streams, by its statistics.")
                .ask(worst(family::SURICATA_MEMORY_BYTES), "{{instance}}"),
        ],
    }
}

pub(super) fn intel() -> Row {
    Row {
        title: "Threat intelligence",
        question: "Which lists are in force, how old are they, and what of them is left out?",
        open: false,
        views: vec![
            view(Shape::Bars, "Indicators", Unit::Count)
                .about("Addresses, names and fingerprints in force, by feed.")
                .ask(chosen(family::INTEL_INDICATORS).now().max(&[label::FEED]), "{{feed}}"),
            view(Shape::Bars, "Age", Unit::Seconds)
                .about("How long ago each feed's newest file was changed.")
                .ask(chosen(family::INTEL_FEED_MODIFIED_TIMESTAMP_SECONDS).now().age().max(&[label::FEED]), "{{feed}}")
                .bad_from(86_400.0, 259_200.0),
            view(Shape::Bars, "Left out", Unit::Count)
                .about("Entries that are not in force, by reason: garbage, too broad, harmless, beyond the bound.")
                .ask(
                    chosen(family::INTEL_ENTRIES_LEFT_OUT).now().max(&[label::FEED, label::REASON]),
                    "{{feed}}: {{reason}}",
                ),
            view(Shape::Lines, "Taken and refused", Unit::Count)
                .about("How often each feed was taken, and refused, since the start.")
                .ask(chosen(family::INTEL_LOADS).now().sum(&[label::FEED]), "taken {{feed}}")
                .ask(chosen(family::INTEL_REFUSALS).now().sum(&[label::FEED]), "refused {{feed}}"),
        ],
    }
}

pub(super) fn blocking() -> Row {
    Row {
        title: "Blocking",
        question: "Where it is turned on: what is dropped, for whom, and what was refused?",
        open: false,
        views: vec![
            view(Shape::Lines, "Blocks", Unit::Count)
                .about(
                    "Blocks in force, and hosts that were seen to converse, of which blocks may touch a share \
                     only.",
                )
                .ask(chosen(family::BLOCKS).now().sum(&[]), "blocks")
                .ask(chosen(family::BLOCK_HOSTS).now().sum(&[]), "hosts"),
            view(Shape::Lines, "Dropped for a block", Unit::PacketsPerSec)
                .about("Packets that were counted in flows and then dropped. Zero, unless blocking is on.")
                .ask(rate(family::PACKETS_BLOCKED), "packets")
                .ask(rate(family::BYTES_BLOCKED), "bytes"),
            view(Shape::Lines, "What became of blocks", Unit::PerSec)
                .about("Put in force, ended, taken back; and refused, by reason.")
                .ask(rate_by(family::BLOCK_EVENTS, label::ACTION), "{{action}}")
                .ask(rate_by(family::BLOCK_REFUSED, label::REASON), "refused: {{reason}}"),
        ],
    }
}
