"""Measures whether a small model over the first payload bytes of a flow sees what the payload patterns do not.

Fits nothing that ships. Rows come from `training-rows --bytes`; every figure is of sources that had no part in fitting or in
the threshold. Two shapes that fit into 1 MiB and 20 us a flow are tried: a logistic regression over hashed runs of two and
three bytes, and boosted trees over byte counts and the first bytes.
"""

import argparse
from pathlib import Path

import lightgbm
import numpy as np
from scipy import sparse
from sklearn.linear_model import SGDClassifier

import table as tables
from measure import INNER, OUTER, is_enough
from table import CLASSES, folds, weights

# Two columns in front of the bytes: whether there was an answer, and whether the payload witness named the flow.
NAMED, FRONT = 1, 2
HASHED = 1 << 13
# Share of benign flows of unseen sources that a class may call an attack.
BENIGN_MAX = 0.0005
FIRST = 48
# Attacks that show in what is sent, and not in how much or how often.
IN_BYTES = ["web_attack", "c2", "exploit", "infiltration"]


def hashed_runs(x) -> sparse.csr_matrix:
    """Which runs of two and three bytes occur in each direction, hashed into HASHED columns."""
    rows, columns = [], []
    width = (x.shape[1] - FRONT) // 2
    for direction in range(2):
        sent = x[:, FRONT + direction * width :][:, :width].astype(np.int64)
        for run in (2, 3):
            parts = [sent[:, at : width - run + 1 + at] for at in range(run)]
            code = np.full(parts[0].shape, direction * 7 + run, dtype=np.int64)
            for part in parts:
                code = code * 257 + part + 1
            code = (code * 0x9E3779B97F4A7C1 & 0x7FFFFFFFFFFFFFFF) >> 20
            there = np.logical_and.reduce([part >= 0 for part in parts])
            row, _ = np.nonzero(there)
            rows.append(row)
            columns.append(code[there] % HASHED)
    rows, columns = np.concatenate(rows), np.concatenate(columns)
    found = sparse.csr_matrix((np.ones(len(rows), dtype=np.float32), (rows, columns)), shape=(len(x), HASHED))
    found.data[:] = 1.0
    return found


def counts(x) -> np.ndarray:
    """Shares of byte values in each direction, and the first bytes as they are."""
    width = (x.shape[1] - FRONT) // 2
    parts = []
    for direction in range(2):
        sent = x[:, FRONT + direction * width :][:, :width]
        length = np.maximum((sent >= 0).sum(axis=1), 1)
        share = np.zeros((len(x), 256), dtype=np.float32)
        row, at = np.nonzero(sent >= 0)
        np.add.at(share, (row, sent[row, at].astype(int)), 1)
        parts += [share / length[:, None], sent[:, :FIRST], length[:, None]]
    return np.concatenate(parts, axis=1).astype(np.float32)


def logistic(x, y, weight, seed):
    model = SGDClassifier(loss="log_loss", alpha=1e-5, max_iter=8, tol=None, average=True, random_state=seed)
    model.fit(x, y, sample_weight=weight)
    return model.decision_function


def trees(x, y, weight, seed):
    parameters = {
        "objective": "binary", "num_leaves": 15, "learning_rate": 0.1, "min_data_in_leaf": 20, "feature_fraction": 0.3,
        "lambda_l2": 10.0, "seed": seed, "deterministic": True, "force_row_wise": True, "verbosity": -1, "num_threads": 2,
    }
    model = lightgbm.train(parameters, lightgbm.Dataset(x, y, weight=weight), num_boost_round=60)
    return lambda rows: model.predict(rows, raw_score=True)


def unseen(rows, fit, x, table, y, count, seed) -> np.ndarray:
    """Scores of `rows` from models fitted without their source; not a number where there was nothing to fit on."""
    of_rows = table.take(rows)
    fold_of = folds(of_rows, count)
    told = np.full(len(rows), np.nan)
    for fold in range(count):
        held, seen = fold_of == fold, fold_of != fold
        if held.any() and (of_rows.y[seen] == y).any():
            part = of_rows.take(seen).renumbered()
            told[held] = fit(x[rows[seen]], part.y == y, weights(part), seed)(x[rows[held]])
    return told


def measure(fit, x, table, y, seed) -> np.ndarray:
    """Which rows a model fitted without their source, with a threshold set without it too, calls attacks of class y."""
    fold_of = folds(table, OUTER)
    called = np.zeros(len(table.y), dtype=bool)
    for fold in range(OUTER):
        held, seen = np.flatnonzero(fold_of == fold), np.flatnonzero(fold_of != fold)
        if not len(held) or not (table.y[seen] == y).any():
            continue
        inner = unseen(seen, fit, x, table, y, INNER, seed)
        benign = np.sort(inner[(table.y[seen] == 0) & np.isfinite(inner)])[::-1]
        if not len(benign):
            continue
        threshold = benign[min(int(BENIGN_MAX * len(benign)), len(benign) - 1)]
        part = table.take(seen).renumbered()
        called[held] = fit(x[seen], part.y == y, weights(part), seed)(x[held]) > threshold
    return called


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=Path, required=True, action="append", help="what `training-rows --bytes` wrote")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    table = tables.load(args.rows[0], [], args.seed)
    for more in args.rows[1:]:
        table = tables.joined(table, tables.load(more, [], args.seed))
    benign, named = table.y == 0, table.x[:, NAMED] > 0
    print(f"{len(table.y)} flows with payload of {len(np.unique(table.source))} sources, {benign.sum()} of them benign\n")
    shapes = {"runs of bytes": (logistic, hashed_runs(table.x)), "trees": (trees, counts(table.x))}
    print("| class | flows | sources | named by patterns | model | named by it | of them new | benign flows it calls an attack |")
    print("|---|---|---|---|---|---|---|---|")
    print(f"| (benign) | {benign.sum()} | {len(np.unique(table.source[benign]))} | {named[benign].mean():.2%} | | | | |")
    for y in (CLASSES.index(name) for name in IN_BYTES):
        if not is_enough(table, y):
            continue
        of = table.y == y
        for shape, (fit, x) in shapes.items():
            called = measure(fit, x, table, y, args.seed)
            # Every source counts alike: one with thousands of flows says no more of the next network than a small one.
            share = lambda hits: np.mean([hits[of & (table.source == at)].mean() for at in np.unique(table.source[of])])
            print(
                f"| {CLASSES[y]} | {of.sum()} | {len(np.unique(table.source[of]))} | {share(named):.1%} | {shape} "
                f"| {share(called):.1%} | {share(called & ~named):.1%} | {called[benign].mean():.2%} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
