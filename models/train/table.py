"""Reads the labelled feature rows, weighs them and splits them by source. Trains nothing."""

import csv
import hashlib
import json
from collections import Counter
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np

import packed
import said

# Families of LABELS.tsv to classes of the agent; None: labels a scenario and not its flows, so it is not trained on.
CLASS_OF_FAMILY = {
    "BENIGN": "benign",
    "PORT_SCAN": "port_scan",
    "DOS_FLOOD": "flood",
    "DDOS": "flood",
    "DOS_APP": "app_dos",
    "BRUTE_SSH": "brute_force",
    "BRUTE_FTP": "brute_force",
    "BRUTE_WEB": "brute_force",
    "BRUTE_OTHER": "brute_force",
    "WEB_ATTACK": "web_attack",
    "BOT_C2": "c2",
    "DNS_TUNNEL": "dns_tunnel",
    "EXFILTRATION": "exfiltration",
    "EXPLOIT": "exploit",
    "INFILTRATION": "infiltration",
    "MALWARE_MIXED": None,
}
CLASSES = [
    "benign",
    "port_scan",
    "flood",
    "app_dos",
    "brute_force",
    "web_attack",
    "c2",
    "dns_tunnel",
    "exfiltration",
    "exploit",
    "infiltration",
]

# What `training-rows` says of a flow.
BACKGROUND, ATTACK, RELATED, BESIDE = 0, 1, 2, 3
# What comes to nothing beside such an attack came to nothing because of it, and looks like a part of it.
OVERWHELMING = ("flood", "app_dos")

# A capture with more attack flows, or more others, than this is thinned: one flood must not drown the rest.
ATTACKS_PER_CAPTURE_MAX = 300
OTHERS_PER_CAPTURE_MAX = 800
# A flow that is judged more often is taken at its first judgements, its last, and evenly between.
ROWS_PER_FLOW_MAX = 4
# Sources of this kind were made by the lab: all that is no attack there is benign by construction. Everywhere else
# what ran beside an attack is unlabelled, and left out.
LAB = "lab+"
# A class with more than this share of its flows from one source cannot be measured by leaving that source out:
# nothing would be left to learn it from. Its captures are left out in turn instead, and the card says so.
ONE_SOURCE = 0.9


@dataclass
class Table:
    """One row for each time a flow was up for judgement; the columns go with the rows."""

    x: np.ndarray  # float32, rows by features
    y: np.ndarray  # index into CLASSES
    flow: np.ndarray  # index of the flow the row belongs to
    source: np.ndarray  # index into sources
    capture: np.ndarray  # index into captures
    schema_hash: str
    schema: list  # of {"name", "unit", "low", "high"}
    sources: list
    captures: list  # paths
    data_sha256: str
    notes: list  # what was skipped or looks wrong, in sentences

    def __len__(self):
        return len(self.y)

    def take(self, rows):
        by_row = {field.name: getattr(self, field.name)[rows] for field in fields(self)[:5]}
        return replace(self, **by_row)

    def renumbered(self):
        _, flow = np.unique(self.flow, return_inverse=True)
        return replace(self, flow=flow.reshape(-1))

    def names(self):
        return [spec["name"] for spec in self.schema]


class Refused(Exception):
    """Rows that cannot be meant; says which and what to do."""


def load(folder: Path, packed_tables: list, seed: int, feedback: list = ()) -> Table:
    """The rows that `training-rows` wrote to `folder`, those of tables that were packed earlier, and those of labels that
    people gave."""
    schema = json.loads((folder / "schema.json").read_text())
    table = labelled(read_rows(folder, schema), schema, seed)
    for path in packed_tables:
        more = packed.read(path)
        if more["schema_hash"] != schema["hash"]:
            raise Refused(
                f"{path} holds rows of feature schema {more['schema_hash']}, the agent computes {schema['hash']}: make it "
                "anew from its captures with `cargo xtask train --add-table DIR`"
            )
        table = joined(table, labelled(more, schema, seed))
    if feedback:
        table = joined(table, of_feedback(feedback, schema, seed))
    return table


def of_feedback(paths: list, schema, seed: int) -> Table:
    try:
        rows = said.read(paths, schema, said.families(CLASS_OF_FAMILY))
    except said.Wrong as reason:
        raise Refused(str(reason)) from reason
    notes = rows.pop("notes") + [f"feedback: {len(rows['x'])} labels"]
    if not rows["x"]:
        raise Refused("no label of the feedback is of this feature schema and of a class that is fitted")
    rows["x"] = np.array(rows["x"], dtype=np.float32)
    for name in ("capture", "flow", "label"):
        rows[name] = np.array(rows[name], dtype=np.int64)
    table = labelled(rows, schema, seed)
    return replace(table, notes=table.notes + notes)


def read_rows(folder: Path, schema) -> dict:
    rows = np.loadtxt(folder / "rows.tsv", dtype=np.int64, delimiter="\t", skiprows=1, ndmin=2)
    x = np.fromfile(folder / "rows.f32", dtype="<f4").reshape(-1, len(schema["features"]))
    whole = hashlib.sha256()
    for name in ("schema.json", "captures.tsv", "rows.tsv", "rows.f32"):
        whole.update((folder / name).read_bytes())
    return {
        "x": x,
        "capture": rows[:, 0],
        "flow": rows[:, 1],
        "label": rows[:, 2],
        "captures": read_tsv(folder / "captures.tsv"),
        "sha256": whole.hexdigest(),
    }


def labelled(rows: dict, schema, seed: int) -> Table:
    """Gives every row its class and leaves out what has none; says what it left out."""
    captures, capture, flow, label, x = (rows[name] for name in ("captures", "capture", "flow", "label", "x"))
    for at, row in enumerate(captures):
        if row["family"] not in CLASS_OF_FAMILY:
            raise Refused(f"{row['path']}: family `{row['family']}` is none of {', '.join(CLASS_OF_FAMILY)}")
        if not row["source"]:
            raise Refused(f"{row['path']}: no source is named, so it cannot be kept apart from what is like it")
        attacks = ((capture == at) & (label == ATTACK)).any() if row["family"] == "BENIGN" else False
        if attacks:
            raise Refused(f"{row['path']}: a benign capture whose filter picks attack flows")
    classes = np.array([class_index(row["family"]) for row in captures])
    of_lab = np.array([row["source"].startswith(LAB) for row in captures])
    y = np.where(label == ATTACK, classes[capture], 0)
    kept = (classes[capture] > 0) & (label == ATTACK)
    kept |= classes[capture] == 0
    overwhelmed = np.isin(classes, [CLASSES.index(name) for name in OVERWHELMING])[capture]
    served = x[:, [spec["name"] for spec in schema["features"]].index("bwd_payload_bytes")] > 0
    kept |= of_lab[capture] & ((label == BACKGROUND) | ((label == BESIDE) & (served | ~overwhelmed)))
    notes = []
    odd = ~np.isfinite(x).all(axis=1)
    for at in np.unique(capture[odd & kept]):
        notes.append(f"{captures[at]['path']}: {(odd & kept & (capture == at)).sum()} rows with values that are no numbers")
    kept &= ~odd
    of_attack = np.flatnonzero(classes > 0)
    empty = [at for at in of_attack if not (kept & (capture == at) & (label == ATTACK)).any()]
    notes += [f"{captures[at]['path']}: its filter picks no flow" for at in empty]
    counts = Counter(row["family"] for row in captures if CLASS_OF_FAMILY[row["family"]] is None)
    notes += [f"{count} captures of {family}: a scenario's label is no flow's" for family, count in sorted(counts.items())]
    kept &= thin(capture, flow, label, seed)

    sources = sorted({row["source"] for row in captures})
    source_of = np.array([sources.index(row["source"]) for row in captures])
    return Table(
        x=np.ascontiguousarray(x[kept]),
        y=y[kept],
        flow=distinct(capture[kept], flow[kept]),
        source=source_of[capture[kept]],
        capture=capture[kept],
        schema_hash=schema["hash"],
        schema=schema["features"],
        sources=sources,
        captures=[row["path"] for row in captures],
        data_sha256=rows["sha256"],
        notes=notes,
    )


def joined(one: Table, other: Table) -> Table:
    sources = sorted({*one.sources, *other.sources})
    place = lambda table: np.array([sources.index(source) for source in table.sources])[table.source]
    return replace(
        one,
        x=np.concatenate([one.x, other.x]),
        y=np.concatenate([one.y, other.y]),
        flow=np.concatenate([one.flow, other.flow + one.flow.max() + 1]),
        source=np.concatenate([place(one), place(other)]),
        capture=np.concatenate([one.capture, other.capture + len(one.captures)]),
        sources=sources,
        captures=one.captures + other.captures,
        data_sha256=hashlib.sha256((one.data_sha256 + other.data_sha256).encode()).hexdigest(),
        notes=one.notes + other.notes,
    )


def distinct(capture, flow):
    """Flows are numbered within a capture; makes the numbers distinct over all."""
    _, number = np.unique(np.stack([capture, flow], axis=1), axis=0, return_inverse=True)
    return number.reshape(-1)


def read_tsv(path: Path) -> list:
    with open(path, newline="") as lines:
        return list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))


def class_index(family: str) -> int:
    name = CLASS_OF_FAMILY[family]
    return -1 if name is None else CLASSES.index(name)


def thin(capture, flow, label, seed) -> np.ndarray:
    """Keeps at most so many whole flows of each capture, and of each flow ROWS_PER_FLOW_MAX rows."""
    kept = np.ones(len(flow), dtype=bool)
    rng = np.random.default_rng(seed)
    for rows in groups(capture * 2 + (label == ATTACK)):
        most = ATTACKS_PER_CAPTURE_MAX if label[rows[0]] == ATTACK else OTHERS_PER_CAPTURE_MAX
        flows = np.unique(flow[rows])
        if len(flows) > most:
            kept[rows] = np.isin(flow[rows], rng.choice(flows, most, replace=False))
    for rows in groups(distinct(capture, flow)):
        if len(rows) > ROWS_PER_FLOW_MAX:
            chosen = np.unique(np.linspace(0, len(rows) - 1, ROWS_PER_FLOW_MAX).round().astype(int))
            kept[np.delete(rows, chosen)] = False
    return kept


def groups(key) -> list:
    """The rows of each value of `key`, in their order."""
    order = np.argsort(key, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(key[order])) + 1)


def weights(table: Table, benign_share: float = 0.4) -> np.ndarray:
    """Rows weigh so that flows count once, sources by the square root of their flows, and classes evenly
    beside a fixed share for benign. The mean is 1."""
    per_flow = 1.0 / np.bincount(table.flow, minlength=table.flow.max() + 1)[table.flow]
    weight = np.zeros(len(table))
    present = np.unique(table.y)
    for y in present:
        of_class = table.y == y
        for source in np.unique(table.source[of_class]):
            rows = of_class & (table.source == source)
            weight[rows] = per_flow[rows] / np.sqrt(per_flow[rows].sum())
        share = benign_share if y == 0 else (1 - benign_share) / max(len(present) - 1, 1)
        weight[of_class] *= share / weight[of_class].sum()
    return weight * len(table)


def of_one_source(table: Table) -> dict:
    """Classes that come almost from one source, with that source."""
    found = {}
    for y in np.unique(table.y[table.y > 0]):
        flows = [
            len(np.unique(table.flow[(table.y == y) & (table.source == source)])) for source in range(len(table.sources))
        ]
        if max(flows) > ONE_SOURCE * sum(flows):
            found[int(y)] = int(np.argmax(flows))
    return found


def folds(table: Table, count: int) -> np.ndarray:
    """Fold of each row, by source: every class's sources are spread over the folds, rarest class first."""
    fold = np.full(len(table.sources), -1)
    sizes = np.zeros((count, len(CLASSES)))
    flows = {}
    for y in range(len(CLASSES)):
        of_class = table.y == y
        for source in np.unique(table.source[of_class]):
            flows[(y, source)] = len(np.unique(table.flow[of_class & (table.source == source)]))
    rarest = sorted(range(len(CLASSES)), key=lambda y: (sum(1 for key in flows if key[0] == y), y))
    for y in rarest:
        for _, source in sorted((-n, source) for (of, source), n in flows.items() if of == y):
            if fold[source] < 0:
                fold[source] = min(range(count), key=lambda at: (sizes[at, y], sizes[at].sum(), at))
            sizes[fold[source], y] += flows[(y, source)]
    of_row = fold[table.source]
    for y, source in of_one_source(table).items():
        rows = (table.y == y) & (table.source == source)
        _, rank = np.unique(table.capture[rows], return_inverse=True)
        of_row[rows] = rank.reshape(-1) % count
    return of_row
