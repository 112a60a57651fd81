//! The rows that stand open: is it working, what is it blind to, what did it find.

use super::{RANGE, RATE, Row, attached, in_range_by, rate, rate_by};
use crate::{
    deploy::{
        panel::{GREEN, ORANGE, RED, Shape, Unit, view},
        query::{all, chosen, foreign},
        recorded::{ALERTS_PER_HOUR, LOST_SHARE},
    },
    detect::Severity,
    http::family::{self, label},
};

pub(super) fn working() -> Row {
    let firing = all(foreign::ALERTS).is("alertstate", "firing").like("alertname", "Ids.*");
    Row {
        title: "Is it working?",
        question: "Does the agent run, see the interfaces it should, and keep up? All green: yes.",
        open: true,
        views: vec![
            view(Shape::Figure, "Agent", Unit::Plain)
                .about("Whether Prometheus reaches the agent. Down: nothing is watched; traffic passes all the same.")
                .ask(chosen(foreign::UP).now().min(&[]), "")
                .no_yes("down", "up"),
            view(Shape::Figure, "Interfaces", Unit::Plain)
                .about(
                    "Whether a program sees every watched interface. Blind: one was detached or is gone; the row \
                     below says which.",
                )
                .ask(attached().now().min(&[]), "")
                .no_yes("blind", "all watched"),
            view(Shape::Figure, "Traffic", Unit::PacketsPerSec)
                .about(
                    "Packets that the programs see. None at all, on a network in use, means that it looks in the \
                     wrong place.",
                )
                .ask(rate(family::PACKETS_SEEN), "")
                .good_from(0.001),
            view(Shape::Figure, "A tick takes", Unit::Seconds)
                .about(
                    "What 99 of 100 ticks take at most to judge. Ticks come every half second: from there on \
                     verdicts come late.",
                )
                .ask(chosen(family::ENGINE_STEP_SECONDS).quantile(0.99, RATE, &[]).max(&[]), "")
                .bad_from(0.25, 0.5),
            view(Shape::Figure, "Alerts of Prometheus", Unit::Plain)
                .about(
                    "Conditions of the agent itself that want attention; the runbook at the end says what to do \
                     on each.",
                )
                .ask(firing.now().count(&[]).or_zero(), "")
                .bad_from(1.0, 3.0),
            view(Shape::Figure, "Runs for", Unit::Seconds)
                .about(
                    "Since the agent was last started. Short, again and again: it crashes, or its watchdog ends \
                     it.",
                )
                .ask(chosen(foreign::PROCESS_START_TIME_SECONDS).now().age().min(&[]), ""),
            view(Shape::Lines, "Packets", Unit::PacketsPerSec)
                .about(
                    "Seen: frames that reached a program. Unfolded: packets that a large one stood for, as \
                     network cards join them. In flows: counted in flows; the rest is skipped, by reason below.",
                )
                .ask(rate(family::PACKETS_SEEN), "seen")
                .ask(rate(family::SEGMENTS_UNFOLDED), "unfolded")
                .ask(rate(family::PACKETS_IN_FLOWS), "in flows"),
            view(Shape::Lines, "Bandwidth", Unit::BitsPerSec)
                .about("What was counted in flows, both directions together.")
                .ask(rate(family::BYTES_IN_FLOWS).times(8.0), "in flows"),
            view(Shape::Lines, "Flows", Unit::Count)
                .about(
                    "Conversations in progress, and how many begin and are judged each second. A steep rise of \
                     beginnings is a scan or a flood.",
                )
                .ask(chosen(family::FLOWS_ACTIVE).now().sum(&[]), "in progress")
                .ask(rate(family::FLOWS_STARTED), "began each second")
                .ask(rate(family::FLOWS_JUDGED), "judged each second"),
        ],
    }
}

pub(super) fn blind() -> Row {
    let lost = || rate(family::SAMPLES_LOST);
    Row {
        title: "What is it blind to?",
        question: "What does it not see: lost packets, lost payload, interfaces without a program, detectors that do \
                   not judge, lists that are old?",
        open: true,
        views: vec![
            view(Shape::Figure, "Coverage", Unit::Share)
                .about(
                    "The share of what it could see that the worst off detector sees. Below 100 %, work was given \
                     up to stay within the budget, or something is missing: the bars say which detector, the \
                     bands why.",
                )
                .ask(chosen(family::COVERAGE).now().min(&[]), "")
                .good_from(1.0),
            view(Shape::Figure, "Given up", Unit::Plain)
                .about(
                    "How much is given up to stay within the budget: from nothing to all but counters, behaviour \
                     and floods.",
                )
                .ask(chosen(family::BUDGET_LEVEL).now().max(&[]), "")
                .words(&[(0, "nothing", GREEN), (1, "samples", ORANGE), (2, "models", RED), (3, "nearly all", RED)]),
            view(Shape::Figure, "Counted and lost", Unit::Share)
                .about(
                    "Share of the packets that were counted in the kernel and lost on the way, because the ring \
                     was full.",
                )
                .ask(chosen(LOST_SHARE).now().max(&[]), "")
                .bad_from(0.000_1, 0.01),
            view(Shape::Figure, "Payload lost", Unit::Share)
                .about(
                    "Share of the payload samples that were lost: names, requests and attack patterns in them are \
                     not seen. Counts stay exact.",
                )
                .ask(lost().per(rate(family::SAMPLES_SENT).plus(lost()).at_least(1.0)), "")
                .bad_from(0.001, 0.01),
            view(Shape::Figure, "Oldest feed", Unit::Seconds)
                .about("Age of the threat list that was fetched longest ago. What became bad since is not known.")
                .ask(chosen(family::INTEL_FEED_MODIFIED_TIMESTAMP_SECONDS).now().age().max(&[]), "")
                .bad_from(86_400.0, 259_200.0)
                .or_says("no feeds"),
            view(Shape::Figure, "Suricata", Unit::Plain)
                .about("Whether Suricata said anything in the last two minutes. Without it no signature is heard.")
                .ask(chosen(family::SURICATA_UP).now().min(&[]), "")
                .no_yes("silent", "heard")
                .or_says("not used"),
            view(Shape::Bands, "Watched interfaces", Unit::Plain)
                .about(
                    "Green while a program sees the interface. The mode says where: native in the driver, generic \
                     behind it, tc later still.",
                )
                .ask(
                    attached().now().min(&[label::INTERFACE, label::MODE, label::DIRECTION]),
                    "{{interface}} {{mode}} {{direction}}",
                )
                .no_yes("blind", "watched"),
            view(Shape::Bars, "What each detector sees", Unit::Share)
                .about("The share of what each detector could see that it sees, as it stands.")
                .ask(chosen(family::COVERAGE).now().min(&[label::DETECTOR]), "{{detector}}")
                .bad_below(0.5, 1.0),
            view(Shape::Bands, "Why less is seen", Unit::Plain)
                .about(
                    "Red while something keeps it from seeing all: a level that gives work up, tables made \
                     smaller, a full ring, a detector that fails, an interface without a program, a stage that is \
                     stuck.",
                )
                .ask(chosen(family::VISIBILITY_DEGRADED).now().max(&[label::CAUSE]), "{{cause}}")
                .words(&[(0, "well", GREEN), (1, "less", RED)]),
            view(Shape::Areas, "Packets in no flow", Unit::PacketsPerSec)
                .about(
                    "Why packets are in no flow: protocols without flows, such as ARP, or frames that cannot be \
                     read.",
                )
                .ask(rate_by(family::PACKETS_SKIPPED, label::REASON), "{{reason}}"),
            view(Shape::Lines, "Losses", Unit::PerSec)
                .about(
                    "What did not come through because a bound was reached. Evicted slots went through the ring \
                     and nothing is lost with them; lost ones found the ring full. Unseen packets passed a \
                     watched interface while no program was on it. Forgotten entries were let go early by a full \
                     table.",
                )
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

pub(super) fn found() -> Row {
    Row {
        title: "What did it find?",
        question: "Which attacks, how many, who says so, and what was held back?",
        open: true,
        views: vec![
            view(Shape::Figure, "High", Unit::Plain)
                .about(
                    "Alerts of high severity in the time shown: witnesses agree, or a device inside is taken \
                     over.",
                )
                .ask(
                    chosen(family::ALERTS)
                        .is(label::SEVERITY, crate::deploy::severity(Severity::High))
                        .increase(RANGE)
                        .sum(&[]),
                    "",
                )
                .bad_from(0.5, 1.0),
            view(Shape::Figure, "Medium", Unit::Plain)
                .about("Alerts of medium severity in the time shown.")
                .ask(
                    chosen(family::ALERTS)
                        .is(label::SEVERITY, crate::deploy::severity(Severity::Medium))
                        .increase(RANGE)
                        .sum(&[]),
                    "",
                )
                .bad_from(0.5, 50.0),
            view(Shape::Figure, "Low and below", Unit::Plain)
                .about("Alerts of low severity and for information, in the time shown.")
                .ask(chosen(family::ALERTS).like(label::SEVERITY, "low|info").increase(RANGE).sum(&[]), ""),
            view(Shape::Figure, "Silenced", Unit::Plain)
                .about(
                    "Findings in the time shown that raised no alert: on the allow list, or called false by \
                     somebody.",
                )
                .ask(in_range_by(family::FINDINGS_SILENCED, &[]).or_zero(), ""),
            view(Shape::Figure, "Listed hosts", Unit::Plain)
                .about("Addresses and names of threat lists that were touched, in the time shown.")
                .ask(in_range_by(family::INTEL_HITS, &[]), "")
                .bad_from(0.5, 10.0)
                .or_says("none"),
            view(Shape::Figure, "Signatures", Unit::Plain)
                .about("Alerts of Suricata that were heard, in the time shown.")
                .ask(in_range_by(family::SURICATA_ALERTS, &[]), "")
                .or_says("not used"),
            view(Shape::Areas, "Alerts by class", Unit::Count)
                .about(
                    "Alerts of the last hour, at each moment, by what they say it is. A plateau is one attack \
                     that goes on; steps are several.",
                )
                .ask(chosen(ALERTS_PER_HOUR).now().sum(&[label::CLASS]), "{{class}}"),
            view(Shape::Bars, "Who says so", Unit::Plain)
                .about(
                    "Findings of each witness in the time shown. An alert rests on the findings of one or \
                     several.",
                )
                .ask(in_range_by(family::FINDINGS, &[label::WITNESS]), "{{witness}}"),
            view(Shape::Areas, "Verdicts of flows", Unit::PerSec)
                .about("Ended flows by the class they were given. Nearly all are benign, on a network in order.")
                .ask(rate_by(family::VERDICTS, label::CLASS), "{{class}}"),
            view(Shape::Bars, "Looked odd, not told", Unit::Plain)
                .about("Flows that a witness found odd, but not surely enough to say so.")
                .ask(in_range_by(family::ABSTAINED, &[label::WITNESS]), "{{witness}}"),
            view(Shape::Bars, "Touched lists", Unit::Plain)
                .about("What was touched of threat lists in the time shown, by category and kind.")
                .ask(in_range_by(family::INTEL_HITS, &[label::CATEGORY, label::KIND]), "{{category}} {{kind}}"),
            view(Shape::Lines, "Devices", Unit::Count)
                .about(
                    "Devices of the site: those still being learned, and those known by their own past and judged \
                     by it.",
                )
                .ask(chosen(family::DEVICES).now().sum(&[label::STANDING]), "{{standing}}"),
        ],
    }
}
