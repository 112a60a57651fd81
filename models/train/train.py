"""Fits, measures and writes both models from rows that `training-rows` made of labelled captures."""

import argparse
import json
import os
import sys
from pathlib import Path

# One thread: sums then come in one order, and the files come out the same every time.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import numpy as np

import card
import forest
import graph
import heads
import measure
import networks
import packed
import paper
import shortcut
from table import CLASSES, Refused, distinct, folds, load, read_rows, read_tsv, thin, weights

PARAMS = {"rounds": 80, "leaves": 12, "rate": 0.1}
# The autoencoder looks at what hosts did lately, and at nothing of the single flow: over all features every flow of an
# unknown network is strange, and over these it is the unusual host that stands out.
AUTOENCODER = {"hidden": [24, 8, 24], "alpha": 1e-3, "epochs": 15, "rows": 20_000, "sees": ["(src|dst|pair|service)_.*"]}
# Share of benign flows of unseen sources that the autoencoder may find unusual.
UNUSUAL_SHARE = 0.001
# A model that takes longer to load and to walk is not for a gateway.
MODEL_BYTES_MAX = 1 << 20


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=Path, required=True, help="folder with schema.json, captures.tsv, rows.*")
    parser.add_argument("--table", type=Path, action="append", default=[], help="packed table of more rows; may be repeated")
    parser.add_argument("--feedback", type=Path, action="append", default=[],
                        help="labels of `ids-agent feedback`, or a folder of them; may be repeated")  # fmt: skip
    parser.add_argument("--out", type=Path, required=True, help="folder that gets classifier/ and autoencoder/")
    parser.add_argument("--pack", action="store_true", help="fits nothing: packs the rows into the file --out")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1, help="how many trees' heads are fitted at a time; changes no result")
    parser.add_argument("--held-out", metavar="K/N", help="leaves the sources of fold K of N out of everything, thresholds "
                        "too, and lists their captures in held_out.txt: for judging captures by models that never saw them")
    args = parser.parse_args()
    if args.pack:
        pack(args)
        return
    try:
        table = load(args.rows, args.table, args.seed, args.feedback)
    except Refused as reason:
        sys.exit(f"refused: {reason}")
    for note in table.notes:
        print(f"note: {note}", flush=True)
    if args.held_out:
        table = hold_out(table, args)
    print(f"{len(table)} rows of {table.flow.max() + 1} flows from {len(np.unique(table.source))} sources", flush=True)
    train_classifier(table, args)
    train_autoencoder(table, args)


def pack(args):
    schema = json.loads((args.rows / "schema.json").read_text())
    rows = read_rows(args.rows, schema)
    kept = thin(rows["capture"], rows["flow"], rows["label"], args.seed) & np.isfinite(rows["x"]).all(axis=1)
    for name in ("x", "capture", "flow", "label"):
        rows[name] = rows[name][kept]
    rows["flow"] = distinct(rows["capture"], rows["flow"])
    size = packed.write(args.out, rows, schema["hash"])
    again = packed.read(args.out)
    assert all((again[name] == rows[name]).all() for name in ("flow", "label")), "the table reads otherwise than it was packed"
    assert (again["x"] == packed.rounded(rows["x"])).all(), "the table reads otherwise than it was packed"
    print(f"{args.out}: {kept.sum()} rows of {len(np.unique(rows['capture']))} captures in {size} bytes")


def hold_out(table, args):
    fold, count = (int(number) for number in args.held_out.split("/"))
    fold_of = folds(table, count)
    rows = read_tsv(args.rows / "captures.tsv")
    args.out.mkdir(parents=True, exist_ok=True)
    listed = [row["path"] for at, row in enumerate(rows) if fold_of_capture(table, fold_of, at, row["source"]) == fold]
    (args.out / "held_out.txt").write_text("".join(f"{path}\n" for path in listed))
    return table.take(fold_of != fold).renumbered()


def fold_of_capture(table, fold_of, capture, source):
    """A capture without labelled rows goes with most rows of its source."""
    rows = fold_of[table.capture == capture]
    if len(rows) == 0:
        rows = fold_of[table.source == table.sources.index(source)]
    return np.bincount(rows).argmax() if len(rows) else 0


def train_classifier(table, args):
    fitter = measure.Fitter(table, PARAMS, args.seed, args.jobs)
    every = np.arange(len(table))
    setting = measure.settle(table, fitter.unseen(every, measure.INNER))
    print("speaks of", json.dumps({CLASSES[y]: round(float(setting.thresholds[y]), 4) for y in setting.spoken}), flush=True)
    model = fitter.model(every, setting)
    text = "# Classifier\n\nA model for judging sources that were left out of it; measured by `cargo xtask eval`.\n"
    if not args.held_out:
        figures = measure.summary(measure.nested(fitter), table.sources)
        print(json.dumps({name: value for name, value in figures.items() if isinstance(value, float)}), flush=True)
        for entry in figures["classes"]:
            print(json.dumps(entry), flush=True)
        suspects = shortcut.two_questions(table)
        for found in suspects:
            print("two questions:", json.dumps(found), flush=True)
        seen = {}
        for y in setting.spoken:
            for at in heads.columns(table.names(), measure.head_of(y).sees):
                seen.setdefault(table.names()[at], []).append(CLASSES[y])
        told = shortcut.telltales(table, args.seed)
        text = card.classifier(table, figures, setting, PARAMS, suspects, told, seen, args.seed)
    write_classifier(table, model, setting, text, args)


def write_classifier(table, model, setting, text, args):
    x = paper.golden_inputs(table, args.seed)
    raws = [heads.raw(head.trees, x) for head in model]
    told = forest.probabilities(model, raws)
    for head, raw in zip(model, raws):
        assert np.abs(raw - heads.near(head.trees, x)).max() < 1e-3, "the trees differ from those that were fitted"
    data = forest.to_bytes(model, x.shape[1])
    assert len(data) <= MODEL_BYTES_MAX, f"model.trees holds {len(data)} bytes"
    outputs = ["benign"] + [CLASSES[y] for y in setting.spoken]
    thresholds = [0.0] + [setting.thresholds[y] for y in setting.spoken]
    written = paper.Paper("classifier", "trees", outputs, text, classes=list(zip(outputs, thresholds)),
                          attack_threshold=setting.attack if setting.attack < 1 else None)  # fmt: skip
    paper.write(args.out / "classifier", data, x, told, table, args.seed, written)
    exchanged = forest.to_onnx(model, x.shape[1])
    assert np.abs(paper.run(exchanged, x) - told).max() < paper.TOLERANCE, "the graph says something else than the trees"
    (args.out / "classifier" / "model.onnx").write_bytes(exchanged)


def train_autoencoder(table, args):
    told, fold_of = unseen_errors(table, args.seed)
    count = table.flow.max() + 1
    highest = np.zeros(count, dtype=np.float32)
    np.maximum.at(highest, table.flow, told)
    y, source, fold = (np.zeros(count, dtype=int) for _ in range(3))
    y[table.flow], source[table.flow], fold[table.flow] = table.y, table.source, fold_of
    threshold = unusual_from(highest[y == 0])
    # For the card, each fold is judged by a threshold that the other folds set.
    unusual = np.zeros(count, dtype=bool)
    for at in np.unique(fold):
        unusual[fold == at] = highest[fold == at] >= unusual_from(highest[(y == 0) & (fold != at)])
    by_source = lambda at: [float(unusual[(y == at) & (source == s)].mean()) for s in np.unique(source[y == at])]
    figures = {
        "threshold": float(threshold),
        "benign_flows": int((y == 0).sum()),
        "benign_unusual": float(unusual[y == 0].mean()),
        "above": {CLASSES[at]: (float(unusual[y == at].mean()), float(np.mean(by_source(at))))
                  for at in range(1, len(CLASSES)) if (y == at).any()},
    }  # fmt: skip
    print(json.dumps(figures), flush=True)
    benign = table.take(table.y == 0)
    network = fit_autoencoder(benign, args.seed)
    model = graph.autoencoder(network)
    x = paper.golden_inputs(table, args.seed)
    text = card.autoencoder(figures, AUTOENCODER, table, args.seed)
    written = paper.Paper("autoencoder", "onnx", ["error"], text, threshold=threshold)
    paper.write(args.out / "autoencoder", model, x, paper.run(model, x), table, args.seed, written)


def fit_autoencoder(benign, seed):
    sees = heads.columns(benign.names(), AUTOENCODER["sees"])
    return networks.fit_autoencoder(benign.x, weights(benign), sees, AUTOENCODER, seed)


def unusual_from(benign):
    """The error above which the agreed share of benign flows lies."""
    threshold = np.float32(np.quantile(benign, 1 - UNUSUAL_SHARE, method="higher"))
    return np.nextafter(threshold, np.float32(np.inf))


def unseen_errors(table, seed):
    """Reconstruction error of every row from a network fitted without the row's source, and the row's fold."""
    fold_of = folds(table, measure.OUTER)
    told = np.zeros(len(table), dtype=np.float32)
    for fold in range(measure.OUTER):
        held = fold_of == fold
        seen = table.take(~held & (table.y == 0)).renumbered()
        told[held] = networks.errors(fit_autoencoder(seen, seed), table.x[held])
    return told, fold_of


if __name__ == "__main__":
    main()
