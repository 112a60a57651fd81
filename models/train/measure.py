"""Measures on sources that were not fitted on, and sets calibration and thresholds from that.

Two kinds of figures, never mixed: what a model is set by comes from folds of the sources it may see; what the card says of
it comes from sources that had no part in its trees, its calibration or its thresholds (`nested`).
"""

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import LogisticRegression

import forest
import heads
from table import CLASSES, Table, folds, weights

# Folds of sources: outer ones for the card, inner ones for setting a model.
OUTER, INNER = 5, 5
# Share of benign flows of unseen sources that the classifier may call an attack, all classes together. What it may call
# comes out higher on the next network than on those it was set by.
BENIGN_CALLED_MAX = 0.0006
# The same for one class: none may use up what the others need.
BENIGN_PER_CLASS_MAX = 0.0003
# A class is only said aloud where most of what it was said of on unseen sources was an attack of that class.
PRECISION_MIN = 0.6
RECALL_MIN = 0.02
NEVER = 1.5
# Share of benign flows that may be called unusual where no class is sure.
BENIGN_UNNAMED_MAX = 0.0001
# What an unnamed attack must add to be worth its false alarms, as a share of the attack flows of a class, averaged.
UNNAMED_GAIN_MIN = 0.01
# Benign captures hold a few hundred strange flows; the flow after the strangest is taken to be stranger yet by this much,
# in log-odds.
MARGIN = 0.3


@dataclass
class Setting:
    """What turns raw scores into words: calibration of each head, thresholds of each class."""

    spoken: list  # indices into CLASSES, in the order of the model's heads
    slope: np.ndarray
    offset: np.ndarray
    thresholds: np.ndarray  # for each of CLASSES; NEVER: silent
    attack: float  # threshold of an unnamed attack; NEVER: silent


def head_of(y):
    return heads.HEADS.get(CLASSES[y], heads.OTHER)


def fit_head(job):
    table, y, params, seed = job
    return heads.fit(table.x, table.y == y, weights(table), table.names(), head_of(y), params, seed)


class Fitter:
    """Fits heads, several at a time; the result does not depend on how many."""

    def __init__(self, params, seed, jobs):
        self.params, self.seed = params, seed
        self.pool = ProcessPoolExecutor(jobs) if jobs > 1 else None

    def all(self, jobs):
        jobs = [(table, y, self.params, self.seed) for table, y in jobs]
        return list((self.pool.map if self.pool else map)(fit_head, jobs))

    def unseen(self, table: Table, count: int) -> np.ndarray:
        """Raw scores of each row for each of CLASSES from heads fitted without the row's source."""
        fold_of = folds(table, count)
        raw = np.full((len(table), len(CLASSES)), -30.0, dtype=np.float32)
        for fold in range(count):
            held = fold_of == fold
            if not held.any():
                continue
            seen = table.take(~held).renumbered()
            present = [y for y in range(1, len(CLASSES)) if (seen.y == y).any()]
            for y, trees in zip(present, self.all([(seen, y) for y in present])):
                raw[held, y] = heads.near(trees, table.x[held])
        return raw

    def model(self, table: Table, setting: Setting):
        fitted = self.all([(table, y) for y in setting.spoken])
        return [forest.Calibrated(*parts) for parts in zip(fitted, setting.slope, setting.offset)]


def calibrate(table: Table, raw, y) -> tuple:
    """Slope and offset by which the raw scores of unseen sources come out as shares. A slope is never negative."""
    weight = weights(table)
    fitted = LogisticRegression(C=10.0).fit(raw[:, [y]].astype(np.float64), table.y == y, sample_weight=weight)
    slope, offset = float(fitted.coef_[0, 0]), float(fitted.intercept_[0])
    if slope <= 0.05:
        # Unseen sources contradict the head: it says what it would say of anything.
        share = weight[table.y == y].sum() / weight.sum()
        return 0.0, float(np.log(share / (1 - share)))
    return np.float32(slope), np.float32(offset)


def probabilities(raw, spoken, slope, offset) -> np.ndarray:
    """For each of CLASSES; those that are not spoken get 0."""
    claims = np.stack([forest.probability(raw[:, y], a, b) for y, a, b in zip(spoken, slope, offset)], axis=1)
    told = np.zeros((len(raw), len(CLASSES)), dtype=np.float32)
    told[:, [0, *spoken]] = forest.share_out(claims)
    return told


def settle(table: Table, raw) -> Setting:
    """Calibration and thresholds from raw scores of unseen sources. A class that would not be right stays silent, and
    has no head."""
    candidates = [y for y in range(1, len(CLASSES)) if (table.y == y).any()]
    calibrations = {y: calibrate(table, raw, y) for y in candidates}
    while True:
        slope, offset = (np.array([calibrations[y][part] for y in candidates]) for part in (0, 1))
        told = probabilities(raw, candidates, slope, offset)
        flows = Flows(table, told)
        thresholds = set_thresholds(flows, candidates)
        spoken = [y for y in candidates if thresholds[y] < 1]
        if spoken == candidates:
            return Setting(spoken, slope, offset, thresholds, attack_threshold(flows, thresholds))
        # Without the silent heads the others' shares are others.
        candidates = spoken


class Flows:
    """Flows with the strongest score each class ever got as the likeliest one: as the agent decides."""

    def __init__(self, table: Table, told):
        self.count = table.flow.max() + 1
        self.y = np.zeros(self.count, dtype=int)
        self.y[table.flow] = table.y
        self.source = np.zeros(self.count, dtype=int)
        self.source[table.flow] = table.source
        self.score = np.zeros((self.count, len(CLASSES)), dtype=np.float32)
        best = told[:, 1:].argmax(axis=1) + 1
        np.maximum.at(self.score, (table.flow, best), told[np.arange(len(told)), best])
        self.attack = np.zeros(self.count, dtype=np.float32)
        np.maximum.at(self.attack, table.flow, 1 - told[:, 0])

    def called(self, thresholds):
        """The class each flow is called: the likeliest above its threshold, else benign."""
        above = np.where(self.score >= thresholds, self.score, 0)
        above[:, 0] = 0
        return np.where(above.max(axis=1) > 0, above.argmax(axis=1), 0)


def set_thresholds(flows: Flows, candidates):
    """Thresholds that name most attacks, averaged over classes, within one budget of benign flows called an attack.

    A class that is mostly wrong where it speaks stays silent, and its part of the budget goes to the others.
    """
    thresholds = np.full(len(CLASSES), NEVER, dtype=np.float32)
    thresholds[0] = 0
    benign = flows.y == 0
    budget = int(BENIGN_CALLED_MAX * benign.sum())
    spoken = list(candidates)
    while True:
        thresholds[1:] = NEVER
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


def recall_by_source(flows: Flows, y, named) -> float:
    """Share of a class's flows in `named`, each source counted once: one large source is one network."""
    of = flows.y == y
    return float(np.mean([named[of & (flows.source == source)].mean() for source in np.unique(flows.source[of])]))


def share_out(flows: Flows, spoken, benign, budget) -> dict:
    """How many benign flows each class may call, so that the sum of recalls is highest."""
    class_max = int(BENIGN_PER_CLASS_MAX * benign.sum())
    best, choice = np.zeros(budget + 1), []
    for y in spoken:
        by_spent = [recall_by_source(flows, y, flows.score[:, y] >= threshold(flows, y, benign, spent))
                    for spent in range(min(budget, class_max) + 1)]  # fmt: skip
        total = np.full(budget + 1, -1.0)
        taken = np.zeros(budget + 1, dtype=int)
        for spent, recall in enumerate(by_spent):
            gain = best[: budget + 1 - spent] + recall
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
    """The lowest threshold above which the class calls at most `budget` benign flows, and a margin."""
    scores = np.sort(flows.score[benign, y])[::-1]
    over = scores[budget] if budget < len(scores) else 0.0
    return rounded_up(max(stricter(float(over)), 0.5, precise(flows, y)))


def stricter(score: float) -> float:
    score = min(max(score, 1e-6), 1 - 1e-6)
    odds = np.log(score / (1 - score)) + MARGIN
    return 1 / (1 + np.exp(-odds))


def rounded_up(score: float):
    """So that the file and the measure agree."""
    told = (np.floor(score * 1e5) + 1) / 1e5
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


def attack_threshold(flows: Flows, thresholds) -> float:
    """From which probability of any attack a flow is called unusual; NEVER where that hardly adds anything."""
    silent = flows.called(thresholds) == 0
    benign = flows.y == 0
    scores = np.sort(flows.attack[benign & silent])[::-1]
    spent = int(BENIGN_UNNAMED_MAX * benign.sum())
    told = rounded_up(max(stricter(float(scores[spent])), 0.5))
    present = [y for y in range(1, len(CLASSES)) if (flows.y == y).any()]
    added = np.mean([recall_by_source(flows, y, silent & (flows.attack >= told)) for y in present])
    return told if added >= UNNAMED_GAIN_MIN else np.float32(NEVER)


@dataclass
class Judged:
    """Flows of unseen sources with what a model said that was made without them in any way."""

    y: np.ndarray
    source: np.ndarray
    called: np.ndarray  # index into CLASSES, or UNNAMED
    claim: np.ndarray  # probability of the likeliest class, and of any attack: for the reliability curve
    attack: np.ndarray


UNNAMED = len(CLASSES)


def judge(table: Table, told, setting: Setting) -> Judged:
    flows = Flows(table, told)
    called = flows.called(setting.thresholds)
    called[(called == 0) & (flows.attack >= setting.attack)] = UNNAMED
    return Judged(flows.y, flows.source, called, flows.score[:, 1:].max(axis=1), flows.attack)


def nested(table: Table, fitter: Fitter) -> Judged:
    """Leaves each fold of sources out of trees, calibration and thresholds, and judges it."""
    fold_of = folds(table, OUTER)
    parts = []
    for fold in range(OUTER):
        held, seen = table.take(fold_of == fold).renumbered(), table.take(fold_of != fold).renumbered()
        setting = settle(seen, fitter.unseen(seen, INNER))
        model = fitter.model(seen, setting)
        raw = np.full((len(held), len(CLASSES)), -30.0, dtype=np.float32)
        for y, head in zip(setting.spoken, model):
            raw[:, y] = heads.near(head.trees, held.x)
        told = probabilities(raw, setting.spoken, setting.slope, setting.offset)
        parts.append(judge(held, told, setting))
        print(f"unseen fold {fold + 1} of {OUTER}: speaks of {', '.join(CLASSES[y] for y in setting.spoken)}", flush=True)
    return Judged(*(np.concatenate([getattr(part, name) for part in parts]) for name in Judged.__dataclass_fields__))


def summary(judged: Judged, sources) -> dict:
    benign = judged.y == 0
    classes = []
    for y in range(1, len(CLASSES)):
        of = judged.y == y
        if not of.any():
            continue
        said = judged.called == y
        classes.append(
            {
                "class": CLASSES[y],
                "flows": int(of.sum()),
                "recall": float(said[of].mean()),
                "seen_as_attack": float((judged.called[of] > 0).mean()),
                "precision": float((said & of).sum() / max(said.sum(), 1)),
                "benign_called": int((said & benign).sum()),
                "by_source": {
                    sources[at]: (float(said[of & (judged.source == at)].mean()), int((of & (judged.source == at)).sum()))
                    for at in np.unique(judged.source[of])
                },
            }
        )
    f1 = [2 * c["precision"] * c["recall"] / max(c["precision"] + c["recall"], 1e-9) for c in classes]
    right = ((judged.called == 0) & benign).sum()
    precision, recall = right / max((judged.called == 0).sum(), 1), right / benign.sum()
    f1.append(2 * precision * recall / max(precision + recall, 1e-9))
    return {
        "classes": classes,
        "macro_f1": float(np.mean(f1)),
        "attack_seen": float((judged.called[~benign] > 0).mean()),
        "attack_seen_by_class": float(np.mean([c["seen_as_attack"] for c in classes])),
        "benign_flows": int(benign.sum()),
        "benign_called": float((judged.called[benign] > 0).mean()),
        "unnamed_benign": int((judged.called[benign] == UNNAMED).sum()),
        "unnamed_attacks": int((judged.called[~benign] == UNNAMED).sum()),
        "benign_by_source": {
            sources[at]: (float((judged.called[benign & (judged.source == at)] > 0).mean()),
                          int((benign & (judged.source == at)).sum()))
            for at in np.unique(judged.source[benign])
        },
        "reliability": reliability(judged),
    }  # fmt: skip


def reliability(judged: Judged) -> list:
    """Probability of an attack as told, against the share that was one; in bins of told probability."""
    edges = [0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0]
    found = []
    for low, high in zip(edges, edges[1:]):
        within = (judged.attack >= low) & ((judged.attack < high) | (high == 1.0))
        if within.any():
            found.append((low, high, int(within.sum()), float(judged.attack[within].mean()), float((judged.y[within] > 0).mean())))
    return found
