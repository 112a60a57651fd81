"""Looks for what gives the generator away instead of the attack: classes that two questions tell apart, and features
that tell the networks of the training apart."""

import numpy as np
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.metrics import balanced_accuracy_score
from sklearn.tree import DecisionTreeClassifier

from table import CLASSES, LAB, Table

# Balanced accuracy from which two questions are too few to be an attack's nature alone.
SUSPICIOUS = 0.98
# So many benign flows of each source are told apart, where it has enough.
FLOWS_MIN, FLOWS_MAX = 20, 300


def ended(table: Table) -> Table:
    """The last row of each flow."""
    last = np.zeros(table.flow.max() + 1, dtype=int)
    last[table.flow] = np.arange(len(table))
    return table.take(np.unique(last[table.flow]))


def two_questions(table: Table) -> list:
    """For each class of the lab: how well a tree of depth 2 tells it from the lab's benign flows, and by what."""
    of_lab = np.array([source.startswith(LAB) for source in table.sources])
    lab = ended(table.take(of_lab[table.source])) if of_lab[table.source].any() else None
    found = []
    for y in range(1, len(CLASSES)):
        if lab is None or (lab.y == y).sum() < 20:
            continue
        rows = lab.take((lab.y == y) | (lab.y == 0))
        tree = DecisionTreeClassifier(max_depth=2, class_weight="balanced", random_state=1).fit(rows.x, rows.y == y)
        share = balanced_accuracy_score(rows.y == y, tree.predict(rows.x))
        asked = [rows.schema[at]["name"] for at in tree.tree_.feature if at >= 0]
        found.append({"class": CLASSES[y], "balanced_accuracy": float(share), "asks": list(dict.fromkeys(asked)),
                      "suspicious": bool(share > SUSPICIOUS)})  # fmt: skip
    return found


def telltales(table: Table, seed: int, count: int = 12) -> list:
    """The features by which benign flows betray their source: how much of telling sources apart is lost when the
    feature's values are shuffled."""
    benign = ended(table.take((table.y == 0)))
    rng = np.random.default_rng(seed)
    fitted, held = [], []
    for source in np.unique(benign.source):
        rows = rng.permutation(np.flatnonzero(benign.source == source))[:FLOWS_MAX]
        if len(rows) >= FLOWS_MIN:
            fitted.append(rows[::2])
            held.append(rows[1::2])
    fitted, held = np.concatenate(fitted), np.concatenate(held)
    forest = ExtraTreesClassifier(60, min_samples_leaf=2, class_weight="balanced", random_state=seed, n_jobs=1)
    forest.fit(benign.x[fitted], benign.source[fitted])
    score = lambda x: balanced_accuracy_score(benign.source[held], forest.predict(x))
    whole = score(benign.x[held])
    lost = []
    for at in np.argsort(-forest.feature_importances_, kind="stable")[: 3 * count]:
        x = benign.x[held].copy()
        x[:, at] = rng.permutation(x[:, at])
        lost.append((benign.schema[at]["name"], float(whole - score(x))))
    return sorted(lost, key=lambda item: (-item[1], item[0]))[:count]
