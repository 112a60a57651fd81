"""Measures the networks on sources they were not fitted on, and sets thresholds from that."""

import numpy as np

import networks
from table import CLASSES, Table, folds, weights

FOLDS = 6
# Share of benign flows of unseen sources that the classifier may call an attack, all classes together. Half of
# what is promised: the next network is stranger than these.
BENIGN_CALLED_MAX = 0.0025
# A class is only said aloud where most of what it was said of on unseen sources was an attack of that class.
PRECISION_MIN = 0.5
RECALL_MIN = 0.02
NEVER = 1.5
# Share of benign flows of unseen sources that the autoencoder may find unusual.
UNUSUAL_SHARE = 0.001


def unseen_probabilities(table: Table, params, seed):
    """Probabilities of every row from a network fitted without the row's source."""
    fold_of = folds(table, FOLDS)
    told = np.zeros((len(table), len(CLASSES)), dtype=np.float32)
    for fold in range(FOLDS):
        held = fold_of == fold
        if not held.any():
            continue
        seen = table.take(~held)
        network = networks.fit_classifier(seen.x, seen.y, weights(seen), len(CLASSES), params, seed)
        told[held] = networks.probabilities(network, table.x[held])
    return told


def unseen_errors(table: Table, params, seed):
    """Reconstruction error of every benign row from a network fitted without the row's source."""
    fold_of = folds(table, FOLDS)
    told = np.full(len(table), np.nan, dtype=np.float32)
    for fold in range(FOLDS):
        held = fold_of == fold
        benign = table.y == 0
        if not (held & benign).any():
            continue
        seen = table.take(~held & benign)
        network = networks.fit_autoencoder(seen.x, weights(seen), params, seed)
        told[held] = networks.errors(network, table.x[held])
    return told


class Flows:
    """Flows with the strongest score each class ever got as the likeliest one: as the agent decides."""

    def __init__(self, table: Table, told):
        self.count = table.flow.max() + 1
        self.y = np.zeros(self.count, dtype=int)
        self.y[table.flow] = table.y
        self.source = np.zeros(self.count, dtype=int)
        self.source[table.flow] = table.source
        self.score = np.zeros((self.count, len(CLASSES)), dtype=np.float32)
        best = told.argmax(axis=1)
        np.maximum.at(self.score, (table.flow, best), told[np.arange(len(told)), best])

    def called(self, thresholds):
        """The class each flow is called: the likeliest above its threshold, else benign."""
        above = np.where(self.score >= thresholds, self.score, 0)
        above[:, 0] = 0
        return np.where(above.max(axis=1) > 0, above.argmax(axis=1), 0)


def set_thresholds(flows: Flows):
    """Per class the lowest threshold that keeps to its part of the benign budget; silent where it is mostly wrong."""
    thresholds = np.full(len(CLASSES), NEVER, dtype=np.float32)
    thresholds[0] = 0
    benign = flows.y == 0
    told = [y for y in range(1, len(CLASSES)) if (flows.y == y).any()]
    for _ in range(2):
        spoken = [y for y in told if thresholds[y] < NEVER] or told
        budget = int(BENIGN_CALLED_MAX * benign.sum() / len(spoken))
        for y in spoken:
            thresholds[y] = threshold(flows, y, benign, budget)
        called = flows.called(thresholds)
        for y in spoken:
            right = ((called == y) & (flows.y == y)).sum()
            recall = right / max((flows.y == y).sum(), 1)
            if right < PRECISION_MIN * (called == y).sum() or recall < RECALL_MIN:
                thresholds[y] = NEVER
    return thresholds


def threshold(flows: Flows, y, benign, budget):
    scores = np.sort(flows.score[benign, y])[::-1]
    over = scores[budget] if budget < len(scores) else 0.0
    lowest = max(float(np.nextafter(np.float32(over), np.float32(2))), 0.5)
    # Rounded up, so that the file and the measure agree.
    return np.float32(min(np.ceil(lowest * 1e4) / 1e4, 0.9999) if lowest <= 0.9999 else NEVER)


def summary(flows: Flows, thresholds, sources):
    """Figures on unseen sources, for the card and for choosing."""
    called = flows.called(thresholds)
    benign = flows.y == 0
    per_class = []
    for y in range(1, len(CLASSES)):
        of = flows.y == y
        if not of.any():
            continue
        right = ((called == y) & of).sum()
        per_class.append(
            {
                "class": CLASSES[y],
                "flows": int(of.sum()),
                "sources": len(np.unique(flows.source[of])),
                "recall": float(right / of.sum()),
                "seen_as_attack": float((called[of] > 0).mean()),
                "precision": float(right / max((called == y).sum(), 1)),
                "benign_called": int(((called == y) & benign).sum()),
                "threshold": float(thresholds[y]),
            }
        )
    f1 = [2 * c["precision"] * c["recall"] / max(c["precision"] + c["recall"], 1e-9) for c in per_class]
    right = ((called == 0) & benign).sum()
    precision, recall = right / max((called == 0).sum(), 1), right / benign.sum()
    f1.append(2 * precision * recall / max(precision + recall, 1e-9))
    worst = {
        sources[s]: float((called[benign & (flows.source == s)] > 0).mean())
        for s in np.unique(flows.source[benign])
    }
    return {
        "classes": per_class,
        "macro_f1": float(np.mean(f1)),
        "attack_seen": float((called[~benign] > 0).mean()),
        "attack_seen_by_class": float(np.mean([c["seen_as_attack"] for c in per_class])),
        "benign_flows": int(benign.sum()),
        "benign_called": float((called[benign] > 0).mean()),
        "benign_by_source": worst,
    }
