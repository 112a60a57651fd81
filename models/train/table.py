"""Reads the labelled feature rows, weighs them and splits them by source. Trains nothing."""

import csv
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

# Families of LABELS.tsv to classes of the agent. A family that is absent here is not trained on.
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
    "EXPLOIT": "exploit",
    "INFILTRATION": "infiltration",
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
    "exploit",
    "infiltration",
]

# An attack capture with more flows than this is thinned: one flood must not drown the rest.
FLOWS_PER_CAPTURE_MAX = 500
# A class with more than this share of its flows from one source cannot be measured by leaving that source out:
# nothing would be left to learn it from. Its captures are left out in turn instead, and the card says so.
ONE_SOURCE = 0.9


@dataclass
class Table:
    """One row for each time a flow was up for judgement; the columns go with the rows."""

    schema_hash: str
    schema: list  # of {"name", "unit", "low", "high"}
    x: np.ndarray  # float32, rows by features
    y: np.ndarray  # index into CLASSES
    flow: np.ndarray  # index of the flow the row belongs to
    source: np.ndarray  # index into sources
    capture: np.ndarray
    sources: list
    data_sha256: str

    def __len__(self):
        return len(self.y)

    def take(self, rows):
        return Table(
            self.schema_hash,
            self.schema,
            self.x[rows],
            self.y[rows],
            self.flow[rows],
            self.source[rows],
            self.capture[rows],
            self.sources,
            self.data_sha256,
        )


def load(folder: Path, seed: int) -> Table:
    """Loads what `training-rows` wrote, without the unlabelled background of attack captures."""
    schema = json.loads((folder / "schema.json").read_text())
    captures = read_tsv(folder / "captures.tsv")
    rows = np.loadtxt(folder / "rows.tsv", dtype=np.int64, delimiter="\t", skiprows=1, ndmin=2)
    width = len(schema["features"])
    x = np.fromfile(folder / "rows.f32", dtype="<f4").reshape(-1, width)
    capture, flow, attack = rows[:, 0], rows[:, 1], rows[:, 2] == 1

    sources = sorted({row["source"] for row in captures})
    classes = np.array([class_index(row["family"]) for row in captures])
    source_of = np.array([sources.index(row["source"]) for row in captures])
    y = classes[capture]
    kept = (y == 0) | ((y > 0) & attack)
    kept &= (y == 0) | thin(capture, flow, seed)
    table = Table(
        schema["hash"],
        schema["features"],
        x[kept],
        y[kept],
        flow[kept],
        source_of[capture[kept]],
        capture[kept],
        sources,
        digest(folder),
    )
    # Flows are numbered within a capture; make the numbers distinct over all.
    _, table.flow = np.unique(np.stack([table.capture, table.flow], axis=1), axis=0, return_inverse=True)
    table.flow = table.flow.reshape(-1)
    return table


def read_tsv(path: Path) -> list:
    with open(path, newline="") as lines:
        return list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))


def class_index(family: str) -> int:
    name = CLASS_OF_FAMILY.get(family)
    return -1 if name is None else CLASSES.index(name)


def digest(folder: Path) -> str:
    whole = hashlib.sha256()
    for name in ("schema.json", "captures.tsv", "rows.tsv", "rows.f32"):
        whole.update((folder / name).read_bytes())
    return whole.hexdigest()


def thin(capture, flow, seed) -> np.ndarray:
    """Keeps at most FLOWS_PER_CAPTURE_MAX whole flows of each capture."""
    kept = np.ones(len(flow), dtype=bool)
    rng = np.random.default_rng(seed)
    for at in np.unique(capture):
        rows = np.flatnonzero(capture == at)
        flows = np.unique(flow[rows])
        if len(flows) > FLOWS_PER_CAPTURE_MAX:
            chosen = rng.choice(flows, FLOWS_PER_CAPTURE_MAX, replace=False)
            kept[rows] = np.isin(flow[rows], chosen)
    return kept


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
        of_row[rows] = rank % count
    return of_row
