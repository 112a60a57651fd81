"""Writes what goes with a model: manifest, golden vectors."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime

from table import Table, weights

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
    "exfiltration": ["T1048"],
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
    "exfiltration": [],
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
    """What onnxruntime makes of a graph."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return session.run(None, {"features": x})[0]


@dataclass
class Paper:
    """What is written of a model beside its own bytes."""

    kind: str
    form: str  # "onnx" or "trees"
    outputs: list  # names of the golden columns
    card: str
    threshold: float | None = None  # of an autoencoder
    attack_threshold: float | None = None
    classes: list = ()  # (name, threshold) of each output of a classifier


FILES = {"onnx": "model.onnx", "trees": "model.trees"}


def write(folder: Path, model: bytes, x, told, table: Table, seed, paper: Paper):
    """Writes the four files of a model folder; `told` is what the model gives for `x`."""
    folder.mkdir(parents=True, exist_ok=True)
    assert np.isfinite(told).all(), "the exported model gives values that are not finite"
    lines = [",".join(table.names() + paper.outputs)]
    # Nine digits name a 32-bit float exactly.
    lines += [",".join(f"{value:.9g}" for value in np.concatenate(row)) for row in zip(x, told)]
    golden = "\n".join(lines) + "\n"

    manifest = [
        "# Written by `cargo xtask train`; do not edit.",
        "format = 1",
        f"name = {quote('ids-' + paper.kind)}",
        f"version = {quote(table.data_sha256[:8] + '-' + str(seed))}",
        f"kind = {quote(paper.kind)}",
        f"form = {quote(paper.form)}",
        f"schema_hash = {quote(table.schema_hash)}",
        f"sha256 = {quote(sha256(model))}",
        f"golden_sha256 = {quote(sha256(golden.encode()))}",
        f"tolerance = {number(TOLERANCE)}",
    ]
    for name in ("threshold", "attack_threshold"):
        if (value := getattr(paper, name)) is not None:
            manifest.append(f"{name} = {number(value)}")
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
    for name, threshold in paper.classes:
        manifest += [
            "",
            "[[class]]",
            f"name = {quote(name)}",
            f"threshold = {number(threshold)}",
            f"attack = [{', '.join(quote(technique) for technique in ATTACK.get(name, []))}]",
            f"labels = [{', '.join(quote(label) for label in LABELS[name])}]",
        ]
    (folder / FILES[paper.form]).write_bytes(model)
    (folder / "golden.csv").write_text(golden)
    (folder / "manifest.toml").write_text("\n".join(manifest) + "\n")
    (folder / "card.md").write_text(paper.card)
