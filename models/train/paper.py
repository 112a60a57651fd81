"""Writes what goes with a model: manifest, golden vectors, card."""

import hashlib
from pathlib import Path

import numpy as np
import onnxruntime

from table import CLASSES, Table, of_one_source, weights

TOLERANCE = 1e-3

# MITRE ATT&CK techniques, and the labels of payload classifiers, that a class stands for.
ATTACK = {
    "port_scan": ["T1046", "T1595"],
    "flood": ["T1498.001", "T1499.001"],
    "app_dos": ["T1499.002", "T1499.003"],
    "brute_force": ["T1110"],
    "web_attack": ["T1190"],
    "c2": ["T1071.001", "T1071.004"],
    "dns_tunnel": ["T1572", "T1071.004"],
    "exploit": ["T1210", "T1190"],
    "infiltration": ["T1021"],
}
LABELS = {
    "benign": ["Normal"],
    "port_scan": ["Port Scan", "Reconnaissance"],
    "flood": ["DDoS", "DoS"],
    "app_dos": ["DoS GoldenEye", "DoS Hulk", "DoS SlowHTTPTest", "DoS Slowloris"],
    "brute_force": ["FTP Patator", "SSH Patator", "Web Attack - Brute Force"],
    "web_attack": ["Web Attack - SQL Injection", "Web Attack - XSS", "Fuzzers", "Analysis"],
    "c2": ["Bot", "Backdoor"],
    "dns_tunnel": [],
    "exploit": ["Exploits", "Shellcode", "Heartbleed", "Worms", "Generic"],
    "infiltration": ["Infiltration"],
}


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def number(value) -> str:
    """Shortest text that gives the same 32-bit float, as TOML wants it."""
    text = np.format_float_positional(np.float32(value), unique=True, trim="0")
    return text


def quote(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def quantiles(table: Table):
    """Benign 5 %, 50 % and 95 %, each flow counted once."""
    benign = table.take(table.y == 0)
    weight = weights(benign)
    told = np.zeros((benign.x.shape[1], 3), dtype=np.float32)
    for at in range(benign.x.shape[1]):
        order = np.argsort(benign.x[:, at], kind="stable")
        share = np.cumsum(weight[order]) / weight.sum()
        for to, q in enumerate((0.05, 0.5, 0.95)):
            told[at, to] = benign.x[order[min(np.searchsorted(share, q), len(order) - 1)], at]
    return told


def golden_inputs(table: Table, seed) -> np.ndarray:
    """At least 64 vectors: extremes, mixtures of extremes, and rows of every class."""
    rng = np.random.default_rng(seed)
    low = np.array([spec["low"] for spec in table.schema], dtype=np.float32)
    high = np.array([spec["high"] for spec in table.schema], dtype=np.float32)
    rows = [low, high, np.zeros_like(low), np.ones_like(low), (low + high) / 2]
    rows += [np.where(rng.random(len(low)) < 0.5, low, high) for _ in range(11)]
    for y in np.unique(table.y):
        of_class = np.flatnonzero(table.y == y)
        rows += list(table.x[rng.choice(of_class, min(8, len(of_class)), replace=False)])
    benign = np.flatnonzero(table.y == 0)
    while len(rows) < 64:
        rows.append(table.x[rng.choice(benign)])
    return np.array(rows, dtype=np.float32)


def run(model: bytes, x) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return session.run(None, {"features": x})[0]


def write(folder: Path, model: bytes, kind: str, table: Table, seed, outputs, threshold, card: str):
    """Writes the four files of a model folder. `threshold` is one number, or one for each class."""
    folder.mkdir(parents=True, exist_ok=True)
    x = golden_inputs(table, seed)
    told = run(model, x)
    assert np.isfinite(told).all(), "the exported model gives values that are not finite"
    names = [spec["name"] for spec in table.schema]
    lines = [",".join(names + outputs)]
    # Nine digits name a 32-bit float exactly.
    lines += [",".join(f"{value:.9g}" for value in np.concatenate(row)) for row in zip(x, told)]
    golden = "\n".join(lines) + "\n"

    name = f"ids-{kind}"
    manifest = [
        "# Written by `cargo xtask train`; do not edit.",
        "format = 1",
        f"name = {quote(name)}",
        f"version = {quote(table.data_sha256[:8] + '-' + str(seed))}",
        f"kind = {quote(kind)}",
        f"schema_hash = {quote(table.schema_hash)}",
        f"sha256 = {quote(sha256(model))}",
        f"golden_sha256 = {quote(sha256(golden.encode()))}",
        f"tolerance = {number(TOLERANCE)}",
    ]
    if kind == "autoencoder":
        manifest.append(f"threshold = {number(threshold)}")
    manifest += [
        "",
        "[training]",
        f"seed = {seed}",
        f"data_sha256 = {quote(table.data_sha256)}",
        f"captures = {len(np.unique(table.capture))}",
        f"flows = {len(np.unique(table.flow))}",
        f"sources = {len(np.unique(table.source))}",
    ]
    for spec, (low, median, high) in zip(table.schema, quantiles(table)):
        manifest += [
            "",
            "[[feature]]",
            f"name = {quote(spec['name'])}",
            f"low = {number(low)}",
            f"median = {number(median)}",
            f"high = {number(high)}",
        ]
    if kind == "classifier":
        for at, name in enumerate(CLASSES):
            manifest += [
                "",
                "[[class]]",
                f"name = {quote(name)}",
                f"threshold = {number(threshold[at])}",
                f"attack = [{', '.join(quote(technique) for technique in ATTACK.get(name, []))}]",
                f"labels = [{', '.join(quote(label) for label in LABELS[name])}]",
            ]
    (folder / "model.onnx").write_bytes(model)
    (folder / "golden.csv").write_text(golden)
    (folder / "manifest.toml").write_text("\n".join(manifest) + "\n")
    (folder / "card.md").write_text(card)


def classifier_card(table: Table, figures, params, seed) -> str:
    rows = [
        "| class | sources | flows | recall | called an attack | precision | benign flows called so | threshold |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for c in figures["classes"]:
        said = "silent" if c["threshold"] > 1 else f"{c['threshold']:.4f}"
        rows.append(
            f"| {c['class']} | {c['sources']} | {c['flows']} | {c['recall']:.2f} | {c['seen_as_attack']:.2f} "
            f"| {c['precision']:.2f} | {c['benign_called']} | {said} |"
        )
    worst = sorted(figures["benign_by_source"].items(), key=lambda item: (-item[1], item[0]))[:5]
    return "\n".join(
        [
            "# Classifier",
            "",
            "A small network over the features of one flow and of its hosts' windows. It names a class, or abstains.",
            "",
            f"Fitted on {len(np.unique(table.flow))} labelled flows of {len(np.unique(table.capture))} captures from "
            f"{len(np.unique(table.source))} sources (captures with many flows are thinned), seed {seed}, "
            f"hidden layers {params['hidden']}, weight decay {params['alpha']}, blur {params['blur']}, "
            f"{params['epochs']} epochs.",
            "",
            "## On sources it never saw",
            "",
            "Each figure is of a network fitted without the source of the flow it judges. A flow counts as called when "
            "any of its judgements is above the threshold.",
            "",
            *rows,
            "",
            f"Benign flows called an attack: {figures['benign_called']:.2%} of {figures['benign_flows']}. "
            f"Attack flows called an attack: {figures['attack_seen']:.2f} of all flows, "
            f"{figures['attack_seen_by_class']:.2f} averaged over classes. "
            f"Macro-F1 with benign: {figures['macro_f1']:.2f}.",
            "",
            "Sources with most benign flows called an attack: "
            + ", ".join(f"{name} {share:.2%}" for name, share in worst)
            + ".",
            "",
            *[
                f"{CLASSES[y]} comes almost from one source ({table.sources[source]}): there its captures, not the source, "
                "were left out in turn, so its recall says little about other networks.\n"
                for y, source in of_one_source(table).items()
            ],
            "The thresholds were chosen on these same flows, so that the share of benign flows called an attack is what "
            "was asked for and not a measure of the next network.",
            "",
            "## What it does not see",
            "",
            "* Classes marked silent: their flows look like other traffic on networks the model did not learn from. Other "
            "witnesses have to speak for them.",
            "* Content. Web attacks, exploits and command channels show in payloads, names and timing over hours, hardly in "
            "the statistics of one flow.",
            "* Classes that come from one source, of which it may have learned the network rather than the attack.",
            "",
        ]
    )


def autoencoder_card(table: Table, figures, params, seed) -> str:
    return "\n".join(
        [
            "# Autoencoder",
            "",
            "Rebuilds the scaled features of benign flows. What it rebuilds badly is unusual; it does not know what it is.",
            "",
            f"Fitted on the {figures['benign_flows']} benign flows, seed {seed}, hidden layers {params['hidden']}.",
            "",
            "## On sources it never saw",
            "",
            f"Threshold {figures['threshold']:.4f}: {figures['benign_unusual']:.2%} of benign flows of unseen sources lie "
            "above it, as was asked for when it was set on them.",
            "",
            "| class | share of flows above the threshold |",
            "|---|---|",
            *[f"| {name} | {share:.2f} |" for name, share in figures["above"].items()],
            "",
            "## What it does not see",
            "",
            "* Attacks made of ordinary flows: most scans, password guessing, web attacks.",
            "* It raises info or low severity only, and supports other witnesses.",
            "",
        ]
    )
