"""Fits the scorer of generated domain names: python models/train/dga.py --intel DIR --out models/dga

DIR is the unpacked threat intelligence of the training data: names made by algorithms and names made by people, the
public suffix list, and lists by family for measuring. Needs nothing but Python. The same data gives the same files.

The scorer is a logistic regression over the label that somebody registered: two and three characters at a time, hashed
into a table of signed bytes, and seven figures of the whole label. `ids-agent/src/detect/dga/names.rs` computes the same.
"""

import argparse
import array
import csv
import hashlib
import math
import pathlib
import random
import re

BUCKETS = 1 << 14
EPOCHS = 8
RATE = 0.15
DECAY = 1e-5
# Shorter labels say too little.
LABEL_MIN = 7
DENSE = ["length", "digits", "vowels", "consonant_run", "distinct", "hexadecimal", "hyphens"]
# Where anybody can have a name of his own, and malware often has.
DYNAMIC = {
    "chickenkiller.com", "ddns.net", "duckdns.org", "dyndns.org", "dynserv.com", "dynu.net", "hopto.org", "mooo.com",
    "myftp.org", "no-ip.biz", "no-ip.info", "no-ip.org", "redirectme.net", "servebeer.com", "serveftp.com", "sytes.net",
    "yi.org", "zapto.org",
}
FAMILIES = [
    "bamital", "conficker", "dircrypt", "dyreza", "fobber", "matsnu", "necurs", "nymaim", "simda", "tinba", "vawtrak", "zloader",
]


def suffixes(path):
    """The public suffix list: rules, wildcards and exceptions; private ones apart."""
    rules, private, section = {}, set(), "icann"
    for line in path.read_text(encoding="utf-8").splitlines():
        if "BEGIN PRIVATE" in line:
            section = "private"
        rule = line.strip()
        if not rule or rule.startswith("//"):
            continue
        rules[rule] = True
        if section == "private":
            private.add(rule.lstrip("*.!"))
    return rules, private


def label(name, rules, private):
    """The label that somebody registered, or None where that is not to be judged."""
    parts = name.lower().strip().rstrip(".").split(".")
    for at in range(len(parts)):
        rule = ".".join(parts[at:])
        wild = ".".join(["*"] + parts[at + 1:])
        if "!" + rule in rules:
            at += 1
        elif rule not in rules and not (wild in rules and len(parts) - at >= 2):
            continue
        suffix = ".".join(parts[at:])
        if at == 0 or (suffix in private and suffix not in DYNAMIC):
            return None
        return parts[at - 1] if re.fullmatch(r"[a-z0-9-]{%d,63}" % LABEL_MIN, parts[at - 1]) and not parts[at - 1].startswith("xn--") else None
    return None


def bucket(gram):
    """FNV-1a, folded to the table's size."""
    value = 0x811C9DC5
    for byte in gram:
        value = ((value ^ byte) * 0x01000193) & 0xFFFFFFFF
    return (value ^ (value >> 14)) % BUCKETS


def grams(text):
    marked = b"^" + text.encode() + b"$"
    found = [bucket(marked[at:at + 2]) for at in range(len(marked) - 1)]
    return found + [bucket(marked[at:at + 3]) for at in range(len(marked) - 2)]


def dense(text):
    letters = sum(c.isalpha() for c in text)
    vowels = sum(c in "aeiouy" for c in text)
    run = longest = 0
    for c in text:
        run = run + 1 if c.isalpha() and c not in "aeiouy" else 0
        longest = max(longest, run)
    return [
        len(text) / 20.0,
        sum(c.isdigit() for c in text) / len(text),
        vowels / letters if letters else 0.0,
        longest / 8.0,
        len(set(text)) / len(text),
        1.0 if all(c in "0123456789abcdef" for c in text) else 0.0,
        text.count("-") / len(text),
    ]


def features(text):
    found = grams(text)
    return found, 1.0 / math.sqrt(len(found)), dense(text)


def fit(rows, seed):
    """Logistic regression by AdaGrad."""
    table, squares = [0.0] * BUCKETS, [1e-6] * BUCKETS
    weights, weight_squares = [0.0] * (len(DENSE) + 1), [1e-6] * (len(DENSE) + 1)
    order = list(range(len(rows)))
    shuffle = random.Random(seed)
    for _ in range(EPOCHS):
        shuffle.shuffle(order)
        for at in order:
            (found, norm, figures), target = rows[at]
            sum_ = weights[-1] + norm * sum(map(table.__getitem__, found))
            for n, figure in enumerate(figures):
                sum_ += weights[n] * figure
            error = 1.0 / (1.0 + math.exp(-max(-30.0, min(30.0, sum_)))) - target
            step = error * norm
            for n in found:
                slope = step + DECAY * table[n]
                squares[n] += slope * slope
                table[n] -= RATE * slope / math.sqrt(squares[n])
            for n, figure in enumerate(figures + [1.0]):
                slope = error * figure
                weight_squares[n] += slope * slope
                weights[n] -= RATE * slope / math.sqrt(weight_squares[n])
    return table, weights


def quantised(table):
    """Signed bytes and the size of one step."""
    scale = max(abs(value) for value in table) / 127.0
    return array.array("b", [round(value / scale) for value in table]), scale


def score(text, table, scale, weights):
    found, norm, figures = features(text)
    sum_ = weights[-1] + norm * scale * sum(table[n] for n in found)
    sum_ += sum(weight * figure for weight, figure in zip(weights, figures))
    return 1.0 / (1.0 + math.exp(-max(-30.0, min(30.0, sum_))))


def shape(text):
    """What names of one algorithm have in common: the characters they are made of, and how many."""
    kind = "hex" if re.fullmatch(r"[0-9a-f]+", text) else "letters" if text.isalpha() else "hyphens" if "-" in text else "mixed"
    return kind, len(text)


def at_threshold(scores, threshold):
    return sum(value >= threshold for value in scores) / max(1, len(scores))


def threshold_for(scores, share):
    """The least score that at most this share of names made by people reach."""
    ordered = sorted(scores, reverse=True)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("--intel", type=pathlib.Path, required=True)
    arguments.add_argument("--out", type=pathlib.Path, required=True)
    arguments.add_argument("--seed", type=int, default=1)
    given = arguments.parse_args()
    folder = given.intel / "ntop+nDPI"
    rules, private = suffixes(folder / "lists/public_suffix_list.dat")

    def labels(path):
        lines = path.read_text(encoding="utf-8", errors="replace").split()
        return sorted({found for line in lines if (found := label(line, rules, private))})

    made, chosen = labels(folder / "tests/dga/test_dga.csv"), labels(folder / "tests/dga/test_non_dga.csv")
    both = set(made) & set(chosen)
    made, chosen = [n for n in made if n not in both], [n for n in chosen if n not in both]
    rows = [(features(text), 1.0) for text in made] + [(features(text), 0.0) for text in chosen]
    texts, targets = made + chosen, [1] * len(made) + [0] * len(chosen)
    print(f"dga: {len(made)} labels made by algorithms, {len(chosen)} by people")

    # Folds of generated names whose shape the fit has never seen; names made by people by their hash.
    shapes = sorted({shape(text) for text in made})
    random.Random(given.seed).shuffle(shapes)
    fold_of_shape = {cell: at % 5 for at, cell in enumerate(shapes)}
    folds = [
        fold_of_shape[shape(text)] if target else int(hashlib.sha256(text.encode()).hexdigest(), 16) % 5
        for text, target in zip(texts, targets)
    ]
    unseen = {0: [], 1: []}
    for fold in range(5):
        table, weights = fit([row for row, at in zip(rows, folds) if at != fold], given.seed)
        bytes_, scale = quantised(table)
        for text, target, at in zip(texts, targets, folds):
            if at == fold:
                unseen[target].append(score(text, bytes_, scale, weights))
    measured = []
    for share in (0.05, 0.01, 0.005, 0.001):
        threshold = threshold_for(unseen[0], share)
        measured.append((share, threshold, at_threshold(unseen[1], threshold)))
        print(f"dga: unseen shapes: {measured[-1][2]:.3f} found at {share} of names made by people (score {threshold:.3f})")

    table, weights = fit(rows, given.seed)
    bytes_, scale = quantised(table)
    threshold = measured[1][1]
    families = []
    trails = given.intel / "stamparm+maltrail/trails/static/malware"
    for family in FAMILIES:
        path = trails / f"{family}.txt"
        if not path.is_file():
            continue
        names = [line.split("#")[0].strip() for line in path.read_text(errors="replace").splitlines() if "." in line]
        found = sorted({text for name in names if re.fullmatch(r"[a-z0-9.-]+", name) and (text := label(name, rules, private))})
        found = [text for text in found if text not in set(made)]
        if len(found) >= 50:
            families.append((family, len(found), at_threshold([score(t, bytes_, scale, weights) for t in found], threshold)))
            print(f"dga: {family}: {families[-1][2]:.3f} of {len(found)}")
    write(given.out, bytes_, scale, weights, measured, families, (len(made), len(chosen)), made, chosen)


def write(out, bytes_, scale, weights, measured, families, sizes, made, chosen):
    out.mkdir(parents=True, exist_ok=True)
    (out / "table.bin").write_bytes(bytes_.tobytes())
    digest = hashlib.sha256(bytes_.tobytes()).hexdigest()
    figures = "\n".join(f"{name} = {weight!r}" for name, weight in zip(DENSE, weights))
    (out / "manifest.toml").write_text(
        f"""# Written by models/train/dga.py.
name = "dga-names"
version = "1"
sha256 = "{digest}"
label_min = {LABEL_MIN}
# The sum over the table is a step's size times its bytes, over the root of their number.
scale = {scale!r}
bias = {weights[-1]!r}
# The score that one in a hundred names made by people reaches, and one in twenty.
threshold_1_percent = {measured[1][1]!r}
threshold_5_percent = {measured[0][1]!r}

[figures]
{figures}
"""
    )
    with (out / "golden.csv").open("w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["label", "score"])
        for text in made[::997] + chosen[::997]:
            rows.writerow([text, f"{score(text, bytes_, scale, weights):.6f}"])
    folds = "\n".join(f"| {share:.1%} | {threshold:.3f} | {found:.1%} |" for share, threshold, found in measured)
    known = "\n".join(f"| {family} | {count} | {found:.1%} |" for family, count, found in families)
    (out / "card.md").write_text(
        f"""# Generated domain names

Says how likely an algorithm rather than a person made the label that somebody registered: `rkpiqcmmmbue` of
`rkpiqcmmmbue.xyz`. A logistic regression over hashed pairs and triples of characters and seven figures of the whole
label; {BUCKETS} signed bytes. Written, with every figure below, by `models/train/dga.py`, which `cargo xtask train --dga DIR` runs.

**Trained on** {sizes[0]:,} labels made by algorithms and {sizes[1]:,} made by people: the test lists of nDPI (LGPL-3.0),
names below dynamic DNS services included, names below other shared services, shorter than {LABEL_MIN} characters or
outside ASCII left out.

**Measured** on shapes never fitted (five folds; a shape is the kind of characters and their number; all names of a shape
are in one fold):

| of names made by people | score | of generated names |
|---|---|---|
{folds}

**Families** as maltrail lists them, at the score that one in a hundred names made by people reaches. Names that were
trained on are left out; names of the same algorithm may have been trained on, as the lists do not tell. The lists hold
other names of the malware too, so that all is never reached.

| family | labels | found |
|---|---|---|
{known}

**Does not see** algorithms that put words together (matsnu, suppobox, gozi, nymaim's later form): such names look like
names because they are made of them. Short labels. Names in other scripts. One score is no evidence: one in a hundred
names that people chose scores as high. The agent therefore asks for many such names from one host, most of which do not
exist (docs/detection.md).
"""
    )
    print(f"dga: wrote {out}")


if __name__ == "__main__":
    main()
