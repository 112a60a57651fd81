"""Writes the models' cards: what each was made of, what it does on sources it never saw, and what it cannot see."""

import numpy as np

from table import CLASSES, Table, of_one_source


def made_of(table: Table, seed) -> str:
    return (
        f"{len(np.unique(table.flow))} labelled flows of {len(np.unique(table.capture))} captures from "
        f"{len(np.unique(table.source))} sources (captures with many flows are thinned), seed {seed}"
    )


def percent(share: float) -> str:
    return f"{share:.2%}"


def classifier(table: Table, figures, setting, params, suspects, telltales, seen, seed) -> str:
    spoken = [CLASSES[y] for y in setting.spoken]
    rows = [
        "| class | sources | flows | recall | mean over sources | called an attack | precision | benign flows called so | threshold now |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for c in figures["classes"]:
        y = CLASSES.index(c["class"])
        said = f"{setting.thresholds[y]:.4f}" if y in setting.spoken else "silent"
        mean = np.mean([recall for recall, _ in c["by_source"].values()])
        rows.append(
            f"| {c['class']} | {len(c['by_source'])} | {c['flows']} | {c['recall']:.2f} | {mean:.2f} | {c['seen_as_attack']:.2f} "
            f"| {c['precision']:.2f} | {c['benign_called']} | {said} |"
        )
    by_source = ["| class | source | flows | recall |", "|---|---|---|---|"]
    for c in figures["classes"]:
        by_source += [f"| {c['class']} | {name} | {flows} | {recall:.2f} |" for name, (recall, flows) in c["by_source"].items()]
    wrong = sorted(figures["benign_by_source"].items(), key=lambda item: (-item[1][0] * item[1][1], item[0]))
    wrong = [f"| {name} | {flows} | {round(share * flows)} | {percent(share)} |" for name, (share, flows) in wrong]
    curve = [
        f"| {low:g} to {high:g} | {count} | {told:.3f} | {found:.3f} | `{'#' * round(20 * found):<20}` |"
        for low, high, count, told, found in figures["reliability"]
    ]
    unnamed = (
        f"From a probability of {setting.attack:.4f} of any attack on it calls a flow an anomaly where no class is sure: "
        f"{figures['unnamed_attacks']} attack flows and {figures['unnamed_benign']} benign ones of unseen sources."
        if figures["unnamed_attacks"] + figures["unnamed_benign"] > 0 or setting.attack < 1
        else "It never says that a flow is an attack which it cannot name: on unseen sources that added nothing worth its errors."
    )
    return "\n".join(
        [
            "# Classifier",
            "",
            "Boosted trees over the features of one flow and of its hosts' windows, a group of them for each class. It names a "
            f"class, or abstains. It speaks of: {', '.join(spoken)}.",
            "",
            f"Fitted on {made_of(table, seed)}, {params['rounds']} trees of {params['leaves']} leaves a class at rate "
            f"{params['rate']}. Sources named `lab+` were made by `cargo xtask lab`.",
            "",
            "## On sources it never saw",
            "",
            "Each flow was judged by a model whose trees, calibration and thresholds were made without the flow's source "
            "(folds of sources; within each, more of them to set it). A flow counts as called when any of its judgements is "
            "above the threshold. The shipped model is made the same way from all sources; its own thresholds stand last.",
            "",
            *rows,
            "",
            f"Benign flows called an attack: {percent(figures['benign_called'])} of {figures['benign_flows']} ("
            + ", ".join(f"{kind} {called} of {flows}" for kind, flows, called in figures["benign_groups"])
            + "; the lab's networks resemble each other, so for unknown networks the others count). "
            f"Attack flows called an attack: {figures['attack_seen']:.2f} of all flows, "
            f"{figures['attack_seen_by_class']:.2f} averaged over classes. "
            f"Macro-F1 with benign: {figures['macro_f1']:.2f}.",
            "",
            unnamed,
            "",
            *[
                f"{CLASSES[y]} comes almost from one source ({table.sources[source]}): there its captures, not the source, "
                "were left out in turn, so its recall says little about other networks.\n"
                for y, source in of_one_source(table).items()
            ],
            "### By source",
            "",
            *by_source,
            "",
            "| benign source | flows | called an attack | share |",
            "|---|---|---|---|",
            *wrong,
            "",
            "## How far its probabilities can be believed",
            "",
            "Probability of an attack of any class, as told of flows of unseen sources, and the share of them that was one. "
            "Each head is calibrated as if every second flow were of its class, and the mix here is that of the training captures, "
            "in which attacks are far more frequent than on a quiet network: the order of two probabilities means something "
            "everywhere, the number only where attacks are as frequent.",
            "",
            "| told | flows | mean told | share of attacks | |",
            "|---|---|---|---|---|",
            *curve,
            "",
            "## Shortcuts",
            "",
            *shortcuts(suspects),
            "Benign flows betray their source most by these features (loss of balanced accuracy in telling sources apart when the "
            "feature is shuffled; who sees it):",
            "",
            "| feature | loss | seen by |",
            "|---|---|---|",
            *[f"| {name} | {loss:.3f} | {', '.join(seen.get(name, [])) or 'nobody'} |" for name, loss in telltales],
            "",
            "## What it does not see",
            "",
            f"* {', '.join(name for name in CLASSES[1:] if name not in spoken) or 'No class'}: it has no trees for these. On "
            "networks the model did not learn from, their flows look like other traffic, or there are too few to tell. Other "
            "witnesses have to speak for them.",
            "* Content. Web attacks, exploits and command channels show in payloads, names and timing over hours, hardly in "
            "the statistics of one flow.",
            "* What happens more slowly than its hosts' windows of 60 seconds.",
            "* Classes that come from one source, of which it may have learned the network rather than the attack.",
            "",
        ]
    )


def shortcuts(suspects) -> list:
    if not suspects:
        return ["No captures of the lab were among the sources.", ""]
    rows = ["Two questions (a tree of depth 2), fitted to the lab's flows of the class and its benign flows:", "",
            "| class | balanced accuracy | asks | |", "|---|---|---|---|"]  # fmt: skip
    for found in suspects:
        verdict = "suspicious: is this the attack's nature, or the generator's?" if found["suspicious"] else ""
        rows.append(f"| {found['class']} | {found['balanced_accuracy']:.3f} | {', '.join(found['asks'])} | {verdict} |")
    return [*rows, ""]


UNUSUAL = "0.1 %"


def autoencoder(figures, params, table, seed) -> str:
    return "\n".join(
        [
            "# Autoencoder",
            "",
            "Rebuilds what source, target, pair and service of a benign flow did lately, in scaled numbers. What it rebuilds badly "
            "is unusual; it does not know what it is. Sizes and times of the flow itself it does not look at: over all features "
            "every flow of an unknown network was strange, and no attack stood out.",
            "",
            f"Fitted on the {figures['benign_flows']} benign flows of the sources, seed {seed}, hidden layers {params['hidden']}.",
            "",
            "## On sources it never saw",
            "",
            f"Threshold {figures['threshold']:.4f}, set so that {UNUSUAL} of benign flows of unseen sources lie above it. With "
            "networks and thresholds made without the source of the flow they judge, it was "
            f"{figures['benign_unusual']:.2%} of {figures['benign_flows']} benign flows, and:",
            "",
            "| class | share of flows above the threshold | mean over sources |",
            "|---|---|---|",
            *[f"| {name} | {share:.2f} | {mean:.2f} |" for name, (share, mean) in figures["above"].items()],
            "",
            "## What it does not see",
            "",
            "* Attacks made of ordinary flows: most scans, password guessing, web attacks.",
            "* It raises info or low severity only, and supports other witnesses.",
            "",
        ]
    )
