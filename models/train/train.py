"""Fits, measures and writes both models from rows that `training-rows` made of labelled captures."""

import argparse
import json
import os
from pathlib import Path

# One thread: sums then come in one order, and the files come out the same every time.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import numpy as np

import graph
import measure
import networks
import paper
from table import CLASSES, folds, load, read_tsv, weights

CHOICES = [
    {"hidden": [48, 24], "members": 2, "alpha": alpha, "blur": 0.5, "dropped": 0.1, "copies": 1, "epochs": 5}
    for alpha in (1.0,)
]
AUTOENCODER = {"hidden": [32, 12, 32], "alpha": 1e-4, "epochs": 25, "rows": 40_000}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=Path, required=True, help="folder with schema.json, captures.tsv, rows.*")
    parser.add_argument("--out", type=Path, required=True, help="folder that gets classifier/ and autoencoder/")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--held-out", metavar="K/N", help="leaves the sources of fold K of N out of everything, thresholds "
                        "too, and lists their captures in held_out.txt: for judging captures by models that never saw them")
    args = parser.parse_args()
    table = load(args.rows, args.seed)
    if args.held_out:
        table = hold_out(table, args)
    print(f"{len(table)} rows of {table.flow.max() + 1} flows from {len(np.unique(table.source))} sources", flush=True)
    train_classifier(table, args)
    train_autoencoder(table, args)


def hold_out(table, args):
    fold, count = (int(number) for number in args.held_out.split("/"))
    fold_of = folds(table, count)
    rows = read_tsv(args.rows / "captures.tsv")
    args.out.mkdir(parents=True, exist_ok=True)
    listed = [row["path"] for at, row in enumerate(rows) if fold_of_capture(table, fold_of, at, row["source"]) == fold]
    (args.out / "held_out.txt").write_text("".join(f"{path}\n" for path in listed))
    seen = table.take(fold_of != fold)
    _, seen.flow = np.unique(seen.flow, return_inverse=True)
    return seen


def fold_of_capture(table, fold_of, capture, source):
    """A capture without labelled rows goes with most rows of its source."""
    rows = fold_of[table.capture == capture]
    if len(rows) == 0:
        rows = fold_of[table.source == table.sources.index(source)]
    return np.bincount(rows).argmax() if len(rows) else 0


def train_classifier(table, args):
    best = None
    for params in CHOICES:
        flows = measure.Flows(table, measure.unseen_probabilities(table, params, args.seed))
        thresholds = measure.set_thresholds(flows)
        figures = measure.summary(flows, thresholds, table.sources)
        print(json.dumps({"params": params, "macro_f1": round(figures["macro_f1"], 4),
                          "attack_seen_by_class": round(figures["attack_seen_by_class"], 4),
                          "benign_called": round(figures["benign_called"], 5)}), flush=True)
        if best is None or figures["macro_f1"] > best[0]["macro_f1"]:
            best = (figures, params, thresholds)
    figures, params, thresholds = best
    for entry in figures["classes"]:
        print(json.dumps(entry), flush=True)
    network = networks.fit_classifier(
        table.x, table.y, weights(table), len(CLASSES), params, args.seed
    )
    model = graph.classifier(network)
    card = paper.classifier_card(table, figures, params, args.seed)
    paper.write(args.out / "classifier", model, "classifier", table, args.seed, CLASSES, thresholds, card)


def train_autoencoder(table, args):
    told = measure.unseen_errors(table, AUTOENCODER, args.seed)
    highest = np.zeros(table.flow.max() + 1, dtype=np.float32)
    np.maximum.at(highest, table.flow, np.nan_to_num(told))
    y = np.zeros(len(highest), dtype=int)
    y[table.flow] = table.y
    threshold = np.float32(np.quantile(highest[y == 0], 1 - measure.UNUSUAL_SHARE, method="higher"))
    threshold = np.nextafter(threshold, np.float32(np.inf))
    figures = {
        "threshold": float(threshold),
        "benign_flows": int((y == 0).sum()),
        "benign_unusual": float((highest[y == 0] >= threshold).mean()),
        "above": {
            CLASSES[at]: float((highest[y == at] >= threshold).mean()) for at in range(1, len(CLASSES)) if (y == at).any()
        },
    }
    print(json.dumps(figures), flush=True)
    benign = table.take(table.y == 0)
    network = networks.fit_autoencoder(benign.x, weights(benign), AUTOENCODER, args.seed)
    model = graph.autoencoder(network)
    card = paper.autoencoder_card(table, figures, AUTOENCODER, args.seed)
    paper.write(args.out / "autoencoder", model, "autoencoder", table, args.seed, ["error"], threshold, card)


if __name__ == "__main__":
    main()
