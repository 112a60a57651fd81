"""Measures on sources that were not fitted on, and sets calibration and thresholds from that.

Two kinds of figures, never mixed: what a model is set by comes from folds of the sources it may see; what the card says of
it comes from sources that had no part in its trees, its calibration or its thresholds (`nested`).
"""

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import numpy as np
from sklearn.linear_model import LogisticRegression

import forest
import heads
from table import CLASSES, LAB, Table, folds, weights

# Folds of sources: outer ones for the card, inner ones for setting a model.
OUTER, INNER = 4, 3
# Shares of benign flows of unseen sources that a class may call an attack; it gets the one that is worth most.
BENIGN_SHARES = [0.0, 0.0001, 0.0002, 0.0003]
# How many steps of that list all classes together may take. What they may call comes out higher on the next network
# than on those it was set by.
STEPS_MAX = 6
# A class is only said aloud where most of what it was said of on unseen sources was an attack of that class.
PRECISION_MIN = 0.6
RECALL_MIN = 0.05
NEVER = 1.5
# The raw score of a head that is not there.
SILENT = -30.0
# Share of benign flows that may be called unusual where no class is sure.
BENIGN_UNNAMED_MAX = 0.0001
# What an unnamed attack must add to be worth its false alarms, as a share of the attack flows of a class, averaged. With
# 0.01 it spoke, and called 67 of 24,117 benign flows of unseen sources an anomaly.
UNNAMED_GAIN_MIN = 0.25
# A class with less than this can be neither learned nor measured.
FLOWS_MIN, SOURCES_MIN = 100, 3
# How much stranger, in log-odds, an unknown network's benign flows are taken to be than the strangest of those that a
# threshold is set by. With 0.3 the card's share of benign flows called an attack was 2.9 % of those not made by the lab, with
# 1.0 it was 1.3 %, with 2.0 0.1 %: mostly one strange capture for each class, for which only a margin can be ready.
MARGIN = 2.0


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


# The table that worker processes share; they are forked from this one and are told rows of it, not values.
SHARED = None


def fit_head(job):
    """A head fitted on the rows `seen`; or, where rows are `held`, what it says of them."""
    seen, held, y, params, seed = job
    table = SHARED.take(seen).renumbered()
    trees = heads.fit(table.x, table.y == y, weights(table), table.names(), head_of(y), params, seed)
    return trees if held is None else heads.near(trees, SHARED.x[held])


class Fitter:
    """Fits heads on rows of one table, several at a time; the result does not depend on how many."""

    def __init__(self, table: Table, params, seed, jobs):
        global SHARED
        SHARED = table
        self.table, self.params, self.seed = table, params, seed
        self.pool = ProcessPoolExecutor(jobs, get_context("fork")) if jobs > 1 else None

    def all(self, jobs):
        jobs = [(*job, self.params, self.seed) for job in jobs]
        return list((self.pool.map if self.pool else map)(fit_head, jobs))

    def unseen(self, rows, count: int) -> np.ndarray:
        """Raw scores of `rows` for each of CLASSES from heads fitted on others of them, without the row's source."""
        of_rows = self.table.take(rows)
        fold_of = folds(of_rows, count)
        raw = np.full((len(rows), len(CLASSES)), SILENT, dtype=np.float32)
        places, jobs = [], []
        for fold in range(count):
            held, seen = fold_of == fold, fold_of != fold
            for y in range(1, len(CLASSES)):
                if held.any() and (of_rows.y[seen] == y).any():
                    places.append((held, y))
                    jobs.append((rows[seen], rows[held], y))
        for (held, y), told in zip(places, self.all(jobs)):
            raw[held, y] = told
        return raw

    def model(self, rows, setting: Setting):
        fitted = self.all([(rows, None, y) for y in setting.spoken])
        return [forest.Calibrated(*parts) for parts in zip(fitted, setting.slope, setting.offset)]


def calibrate(table: Table, raw, y) -> tuple:
    """Slope and offset by which the raw scores of unseen sources come out as shares, were every second flow of the
    class: how frequent attacks are is nothing that captures can tell. A slope is never negative."""
    weight = weights(table)
    of = table.y == y
    weight = np.where(of, weight / weight[of].sum(), weight / weight[~of].sum()) * len(table) / 2
    fitted = LogisticRegression(C=10.0).fit(raw[:, [y]].astype(np.float64), of, sample_weight=weight)
    slope, offset = float(fitted.coef_[0, 0]), float(fitted.intercept_[0])
    if slope <= 0.05:
        # Unseen sources contradict the head: it says what it would say of anything.
        return np.float32(0.0), np.float32(-5.0)
    return np.float32(slope), np.float32(offset)


def probabilities(raw, spoken, slope, offset) -> np.ndarray:
    """For each of CLASSES; those that are not spoken get 0."""
    if not spoken:
        told = np.zeros((len(raw), len(CLASSES)), dtype=np.float32)
        told[:, 0] = 1
        return told
    claims = np.stack([forest.probability(raw[:, y], a, b) for y, a, b in zip(spoken, slope, offset)], axis=1)
    told = np.zeros((len(raw), len(CLASSES)), dtype=np.float32)
    told[:, [0, *spoken]] = forest.with_benign(claims)
    return told


def settle(table: Table, raw) -> Setting:
    """Calibration and thresholds from raw scores of unseen sources. A class that would not be right stays silent, and
    has no head."""
    candidates = [y for y in range(1, len(CLASSES)) if is_enough(table, y)]
    calibrations = {y: calibrate(table, raw, y) for y in candidates}
    while True:
        slope, offset = (np.array([calibrations[y][part] for y in candidates]) for part in (0, 1))
        told = probabilities(raw, candidates, slope, offset)
        flows = Flows(table, told)
        thresholds = set_thresholds(flows, candidates)
        spoken = [y for y in candidates if thresholds[y] < 1]
        if spoken == candidates:
            return Setting(spoken, slope, offset, thresholds, attack_threshold(flows, thresholds))
        # Without the silent heads other classes are the likeliest.
        candidates = spoken


def is_enough(table: Table, y) -> bool:
    of = table.y == y
    return len(np.unique(table.flow[of])) >= FLOWS_MIN and len(np.unique(table.source[of])) >= SOURCES_MIN


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
        # The lab's benign flows are many and alike. Neither they nor the others may use up the budget of both.
        of_lab = np.array([name.startswith(LAB) for name in table.sources])[self.source]
        self.benign = [group for group in ((self.y == 0) & ~of_lab, (self.y == 0) & of_lab) if group.any()]
        self.attack = np.zeros(self.count, dtype=np.float32)
        np.maximum.at(self.attack, table.flow, 1 - told[:, 0])

    def called(self, thresholds):
        """The class each flow is called: the likeliest above its threshold, else benign."""
        above = np.where(self.score >= thresholds, self.score, 0)
        above[:, 0] = 0
        return np.where(above.max(axis=1) > 0, above.argmax(axis=1), 0)


def set_thresholds(flows: Flows, candidates):
    """Thresholds that name most attacks, averaged over classes and sources, within one budget of benign flows called an
    attack.

    A class that is mostly wrong where it speaks stays silent, and its part of the budget goes to the others.
    """
    thresholds = np.full(len(CLASSES), NEVER, dtype=np.float32)
    thresholds[0] = 0
    spoken = list(candidates)
    while True:
        thresholds[1:] = NEVER
        for y, step in share_out(flows, spoken).items():
            thresholds[y] = threshold(flows, y, BENIGN_SHARES[step])
        called = flows.called(thresholds)
        wrong = [y for y in spoken if is_wrong(flows, called, y)]
        if not wrong:
            return thresholds
        # One at a time: silencing the worst may put others right.
        worst = min(wrong, key=lambda y: (((called == y) & (flows.y == y)).sum() / max((called == y).sum(), 1), y))
        spoken.remove(worst)


def is_wrong(flows: Flows, called, y) -> bool:
    right = ((called == y) & (flows.y == y)).sum()
    return right < PRECISION_MIN * (called == y).sum() or recall_by_source(flows, y, called == y) < RECALL_MIN


def recall_by_source(flows: Flows, y, named) -> float:
    """Share of a class's flows in `named`, each source counted once: one large source is one network."""
    of = flows.y == y
    return float(np.mean([named[of & (flows.source == source)].mean() for source in np.unique(flows.source[of])]))


def share_out(flows: Flows, spoken) -> dict:
    """Which of the shares of benign flows each class gets, so that the sum of recalls is highest."""
    best, choice = np.zeros(STEPS_MAX + 1), []
    for y in spoken:
        total = np.full(STEPS_MAX + 1, -1.0)
        taken = np.zeros(STEPS_MAX + 1, dtype=int)
        for step, share in enumerate(BENIGN_SHARES):
            recall = recall_by_source(flows, y, flows.score[:, y] >= threshold(flows, y, share))
            gain = best[: STEPS_MAX + 1 - step] + recall
            better = gain > total[step:] + 1e-9
            total[step:][better] = gain[better]
            taken[step:][better] = step
        best = total
        choice.append(taken)
    steps, left = {}, STEPS_MAX
    for y, taken in reversed(list(zip(spoken, choice))):
        steps[y] = int(taken[left])
        left -= steps[y]
    return steps


def threshold(flows: Flows, y, share):
    """The lowest threshold above which the class calls at most `share` of each group of benign flows, and a margin."""
    return rounded_up(max(0.5, precise(flows, y), *(above(flows.score[group, y], share) for group in flows.benign)))


def above(scores, share) -> float:
    """Just above the strongest of `scores` that must not be called."""
    return stricter(float(np.sort(scores)[::-1][int(share * len(scores))]))


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
    told = rounded_up(max(0.5, *(above(flows.attack[group & silent], BENIGN_UNNAMED_MAX) for group in flows.benign)))
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


def nested(fitter: Fitter) -> Judged:
    """Leaves each fold of sources out of trees, calibration and thresholds, and judges it."""
    table = fitter.table
    fold_of = folds(table, OUTER)
    parts = []
    for fold in range(OUTER):
        held, seen = np.flatnonzero(fold_of == fold), np.flatnonzero(fold_of != fold)
        setting = settle(table.take(seen).renumbered(), fitter.unseen(seen, INNER))
        raw = np.full((len(held), len(CLASSES)), SILENT, dtype=np.float32)
        for y, told in zip(setting.spoken, fitter.all([(seen, held, y) for y in setting.spoken])):
            raw[:, y] = told
        told = probabilities(raw, setting.spoken, setting.slope, setting.offset)
        parts.append(judge(table.take(held).renumbered(), told, setting))
        print(f"unseen fold {fold + 1} of {OUTER}: speaks of {', '.join(CLASSES[y] for y in setting.spoken)}", flush=True)
    return Judged(*(np.concatenate([getattr(part, name) for part in parts]) for name in Judged.__dataclass_fields__))


def summary(judged: Judged, sources) -> dict:
    benign = judged.y == 0
    of_lab = np.array([name.startswith(LAB) for name in sources])[judged.source]
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
        "benign_groups": [
            (kind, int(group.sum()), int((judged.called[group] > 0).sum()))
            for kind, group in (("captured elsewhere", benign & ~of_lab), ("made by the lab", benign & of_lab)) if group.any()
        ],
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
