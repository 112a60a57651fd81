"""Packs feature rows of captures that not everybody can make again (the lab's) into one small file, and reads it.

A packed table is xz over one line of JSON (schema hash, captures with family and source, digest, counts) and then the
columns one after the other. Values keep 12 significant bits: what is left out is far below what differs between
two networks, and the file is a tenth of the size.
"""

import hashlib
import json
import lzma
from pathlib import Path

import numpy as np

MAGIC = "ids-agent rows 1"
# The file is committed.
BYTES_MAX = 20 << 20
KEPT_BITS = 12


def rounded(x) -> np.ndarray:
    """The nearest values with KEPT_BITS significant bits, the leading one counted in."""
    drop = np.uint32(24 - KEPT_BITS)
    bits = np.ascontiguousarray(x, dtype="<f4").view("<u4")
    half = np.uint32(1) << (drop - np.uint32(1))
    return (((bits + half) >> drop) << drop).view("<f4")


def write(path: Path, rows: dict, schema_hash: str):
    """`rows` as `table.read_rows` gives them, thinned by the caller."""
    used, capture = np.unique(rows["capture"], return_inverse=True)
    captures = [{name: rows["captures"][at][name] for name in ("path", "family", "source")} for at in used]
    x = rounded(rows["x"])
    # Bytes of one significance together: they are alike, and pack well.
    values = np.ascontiguousarray(x.T).view(np.uint8).reshape(x.shape[1], -1, 4).transpose(0, 2, 1)
    columns = [
        capture.reshape(-1).astype("<u4").tobytes(),
        rows["flow"].astype("<u4").tobytes(),
        rows["label"].astype("u1").tobytes(),
        np.ascontiguousarray(values).tobytes(),
    ]
    head = {
        "magic": MAGIC,
        "schema_hash": schema_hash,
        "rows": len(x),
        "features": x.shape[1],
        "captures": captures,
        "sha256": hashlib.sha256(b"".join(columns)).hexdigest(),
    }
    line = json.dumps(head, ensure_ascii=False, sort_keys=True).encode()
    data = lzma.compress(line + b"\n" + b"".join(columns), preset=6)
    if len(data) > BYTES_MAX:
        raise SystemExit(f"{path} would hold {len(data)} bytes, limit is {BYTES_MAX}; thin it")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return len(data)


def read(path: Path) -> dict:
    line, _, columns = lzma.decompress(path.read_bytes()).partition(b"\n")
    head = json.loads(line)
    if head.get("magic") != MAGIC:
        raise SystemExit(f"{path} is no table of rows; make it anew with `cargo xtask train --add-table DIR`")
    if hashlib.sha256(columns).hexdigest() != head["sha256"]:
        raise SystemExit(f"{path} is damaged: its digest does not fit; check it out again")
    count, features = head["rows"], head["features"]
    capture = np.frombuffer(columns, "<u4", count).astype(np.int64)
    flow = np.frombuffer(columns, "<u4", count, 4 * count).astype(np.int64)
    label = np.frombuffer(columns, "u1", count, 8 * count).astype(np.int64)
    values = np.frombuffer(columns, np.uint8, 4 * count * features, 9 * count).reshape(features, 4, count)
    x = np.ascontiguousarray(values.transpose(0, 2, 1)).view("<f4").reshape(features, count).T
    return {
        "x": np.ascontiguousarray(x),
        "capture": capture,
        "flow": flow,
        "label": label,
        "captures": head["captures"],
        "sha256": head["sha256"],
        "schema_hash": head["schema_hash"],
    }
