"""Reads what `ids-agent feedback` keeps for training: vectors of single flows with what somebody said of them.

Needs no package. As a program it says what would be trained on, one line of JSON.
"""

import hashlib
import json
import sys
from pathlib import Path

# A source of its own, so that what is measured on sources left out is measured without anybody's opinion.
SOURCE = "feedback"
# More opinions than this of one place would drown the captures.
LABELS_MAX = 10_000


class Wrong(Exception):
    """Labels that cannot be meant; says which and what to do."""


def files(path: Path) -> list:
    """The file itself, or all labels below a folder, such as a state's directory."""
    if path.is_dir():
        return sorted(path.rglob("*.ndjson"))
    return [path]


def read(paths: list, schema: dict, family_of: dict) -> dict:
    """One row a label, in the form of `table.read_rows` but for plain lists; `notes` says what was left out.

    `schema` is what `training-rows` wrote; `family_of` names a family of LABELS.tsv for each class."""
    names = [spec["name"] for spec in schema["features"]]
    found, skipped, whole = {}, [], hashlib.sha256()
    for file in (file for path in paths for file in files(Path(path))):
        text = file.read_text()
        whole.update(text.encode())
        for number, line in enumerate(filter(None, text.split("\n")), 1):
            try:
                label = json.loads(line)
                alert, of, features = label["id"], label["class"], label["features"]
                schema_hash = label["schema_hash"]
            except (ValueError, KeyError, TypeError) as reason:
                raise Wrong(f"{file}, line {number}: no label of `ids-agent feedback` ({reason})") from reason
            if schema_hash != schema["hash"] or set(features) != set(names):
                skipped.append(f"{alert}: its vector is of another feature schema; it cannot be made anew")
            elif of not in family_of:
                skipped.append(f"{alert}: `{of}` is no class that is fitted")
            else:
                # What was said last of an alert holds.
                found[alert] = (family_of[of], [float(features[name]) for name in names])
    if len(found) > LABELS_MAX:
        raise Wrong(f"{len(found)} labels, limit is {LABELS_MAX}: name fewer files")
    rows = [found[alert] for alert in sorted(found)]
    return {
        "x": [values for _, values in rows],
        "capture": list(range(len(rows))),
        "flow": [0] * len(rows),
        # As `training-rows` has it: 1 is an attack's flow, 0 any other.
        "label": [int(family != "BENIGN") for family, _ in rows],
        "captures": [
            {"path": f"{SOURCE}/{alert}", "family": found[alert][0], "source": SOURCE} for alert in sorted(found)
        ],
        "sha256": whole.hexdigest(),
        "notes": skipped,
    }


def families(class_of_family: dict) -> dict:
    """A family for each class: the first that stands for it."""
    return {of: family for family, of in reversed(class_of_family.items()) if of is not None}


def main():
    if len(sys.argv) < 3:
        sys.exit("usage: said.py SCHEMA_JSON LABELS...")
    schema = json.loads(Path(sys.argv[1]).read_text())
    classes = ["benign", "port_scan", "flood", "app_dos", "brute_force", "web_attack", "c2", "dns_tunnel", "exfiltration",
               "exploit", "infiltration"]  # fmt: skip
    try:
        rows = read(sys.argv[2:], schema, {name: "BENIGN" if name == "benign" else name for name in classes})
    except (Wrong, OSError) as reason:
        sys.exit(f"refused: {reason}")
    families_said = [row["family"] for row in rows["captures"]]
    print(json.dumps({"rows": len(rows["x"]), "values": [len(x) for x in rows["x"]], "families": families_said,
                      "labels": rows["label"], "notes": rows["notes"]}))  # fmt: skip


if __name__ == "__main__":
    main()
