"""Measures the networks on sources they were not fitted on, and sets thresholds from that."""

import numpy as np

import networks
from table import CLASSES, Table, folds, weights

FOLDS = 6
# Share of benign flows of unseen sources that the classifier may call an attack, all classes together. Below the
# half percent that is promised: the next network is stranger than these.
BENIGN_CALLED_MAX = 0.004
# The same for one class: none may use up what the others need.
BENIGN_PER_CLASS_MAX = 0.001
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
    """Thresholds that name most attacks, averaged over classes, within one budget of benign flows called an attack.

    A class that is mostly wrong where it speaks stays silent, and its part of the budget goes to the others.
    """
    thresholds = np.full(len(CLASSES), NEVER, dtype=np.float32)
    thresholds[0] = 0
    benign = flows.y == 0
    budget = int(BENIGN_CALLED_MAX * benign.sum())
    spoken = [y for y in range(1, len(CLASSES)) if (flows.y == y).any()]
    while True:
        for y in range(1, len(CLASSES)):
            thresholds[y] = NEVER
        for y, spent in share_out(flows, spoken, benign, budget).items():
            thresholds[y] = threshold(flows, y, benign, spent)
        called = flows.called(thresholds)
        wrong = [y for y in spoken if is_wrong(flows, called, y)]
        if not wrong:
            return thresholds
        # One at a time: silencing the worst may put others right.
        worst = min(wrong, key=lambda y: (((called == y) & (flows.y == y)).sum() / max((called == y).sum(), 1), y))
        spoken.remove(worst)


def is_wrong(flows: Flows, called, y) -> bool:
    right = ((called == y) & (flows.y == y)).sum()
    return right < PRECISION_MIN * (called == y).sum() or right < RECALL_MIN * (flows.y == y).sum()


def share_out(flows: Flows, spoken, benign, budget) -> dict:
    """How many benign flows each class may call, so that the sum of recalls is highest."""
    class_max = int(BENIGN_PER_CLASS_MAX * benign.sum())
    best, choice = np.zeros(budget + 1), []
    for y in spoken:
        of = flows.y == y
        scores = np.sort(flows.score[of, y])
        recall = np.array(
            [1 - np.searchsorted(scores, threshold(flows, y, benign, spent)) / len(scores) for spent in range(budget + 1)]
        )
        total = np.full(budget + 1, -1.0)
        taken = np.zeros(budget + 1, dtype=int)
        for spent in range(min(budget, class_max) + 1):
            gain = best[: budget + 1 - spent] + recall[spent]
            better = gain > total[spent:] + 1e-9
            total[spent:][better] = gain[better]
            taken[spent:][better] = spent
        best = total
        choice.append(taken)
    shares, left = {}, budget
    for y, taken in reversed(list(zip(spoken, choice))):
        shares[y] = int(taken[left])
        left -= shares[y]
    return shares


def threshold(flows: Flows, y, benign, budget):
    """The lowest threshold above which the class calls at most `budget` benign flows."""
    scores = np.sort(flows.score[benign, y])[::-1]
    over = scores[budget] if budget < len(scores) else 0.0
    lowest = max(float(over), 0.5, precise(flows, y))
    # Rounded up, so that the file and the measure agree.
    told = (np.floor(lowest * 1e5) + 1) / 1e5
    return np.float32(told if told < 1 else NEVER)


def precise(flows: Flows, y) -> float:
    """The score below which the class would be wrong more often than allowed, other attacks included."""
    order = np.argsort(-flows.score[:, y], kind="stable")
    share = np.cumsum(flows.y[order] == y) / np.arange(1, len(order) + 1)
    right = np.flatnonzero((share >= PRECISION_MIN) & (flows.score[order, y] > 0))
    if len(right) == 0:
        return 1.0
    behind = right[-1] + 1
    return float(flows.score[order[behind], y]) if behind < len(order) else 0.0


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
