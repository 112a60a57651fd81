"""Fits one group of boosted trees for each class against all other flows. Knows no files.

What a head may look at, and in which direction a feature may only speak, is stated here and not left to the data:
what tells the networks of the training apart (sizes and times to the byte, windows of a stack) transfers to no other.
"""

import re
from dataclasses import dataclass, field

import lightgbm
import numpy as np

START = [
    "starts_with_syn", "handshake_answered", "answered", "refused", "syn_only", "odd_start", "is_tcp", "is_udp", "is_icmp",
    "is_other", "is_fragment", "closed_by_.*",
]  # fmt: skip


@dataclass
class Head:
    """What a class's trees see: patterns of feature names."""

    sees: list
    rises: list = field(default_factory=list)  # more of it never makes the class less likely
    falls: list = field(default_factory=list)


HEADS = {
    "port_scan": Head(
        START
        + ["src_.*", "pair_.*", "dst_(ports|unanswered|syn_only|empty|flows)_.*", "fwd_packets", "bwd_packets"]
        + ["(fwd|bwd)_payload_bytes", "duration_ms", "port_.*", "service_flows_.*", "fwd_(syn|rst|fin)", "bwd_rst"],
    ),
    "flood": Head(
        START
        + ["(src|dst|pair)_.*", "service_(flows_.*|open|name)", "fwd_packets", "bwd_packets", "(fwd|bwd)_payload_bytes"]
        + ["fwd_(packet|byte)_share", "payload_per_packet", "(fwd|bwd)_len_(mean|std)", "(fwd_)?packets_per_sec"]
        + ["duration_ms", "port_.*"],
        rises=["(src|dst|pair|service)_(flows|packets)_.*", "dst_sources_.*", "(src|dst)_syn_only_.*", "(fwd_)?packets_per_sec"],
        falls=["bwd_payload_bytes"],
    ),
    "app_dos": Head(
        START
        + ["service_(flows|size|secs|open|login).*", "service_web", "src_(flows|packets|bytes|ports|peers)_.*"]
        + ["dst_(flows|bytes|sources|packets).*", "pair_(flows|ports)_.*", "http_.*", "app_.*"]
        + ["(fwd|bwd)_(packets|payload_bytes|payload_packets|idle_count|idle_max_secs|active_share)", "duration_ms"]
        + ["fwd_payload_share", "payload_per_packet", "tls_.*"],
    ),
    "brute_force": Head(
        START
        + ["service_(flows|login|failed|size|secs|open).*", "login_failed", "src_peers_60s", "pair_ports_60s"]
        + ["(fwd|bwd)_payload_bytes", "fwd_packets", "service_login", "http_(authorized|refused|post)"],
        rises=["service_(flows|login|failed_logins)_.*", "login_failed", "http_authorized"],
        falls=["service_size_spread_60s"],
    ),
    "dns_tunnel": Head(
        ["dns_.*", "app_dns", "app_unknown", "service_name", "is_(tcp|udp|icmp|other)", "fwd_payload_share"]
        + ["(fwd|bwd)_(entropy|printable|packets|payload_bytes|len_mean|len_max|len_std)", "service_(flows_.*|open|secs_60s)"]
        + ["pair_flows_.*", "src_(flows_.*|bytes_per_flow_60s)", "duration_ms", "packets_per_sec", "payload_per_packet"],
        rises=["dns_(name_len|label_len|names|bulk_type)", "app_dns", "service_flows_60s"],
    ),
}
# The other classes see what the flow carried and how its source behaves, without sizes and times of single packets.
OTHER = Head(
    START
    + ["(src|dst|pair)_.*", "service_.*", "app_.*", "dns_.*", "http_.*", "tls_.*", "login_failed", "port_.*", "duration_ms"]
    + ["(fwd|bwd)_(packets|payload_bytes|payload_packets|entropy|printable|idle_count|idle_max_secs|active_share)"]
    + ["fwd_payload_share", "payload_per_packet"],
)


@dataclass
class Trees:
    """Trees as (feature, value, left) arrays; feature -1 is a leaf, which adds its value."""

    trees: list
    booster: object  # what they were taken from: judges many rows faster
    sees: list


def columns(names, patterns) -> list:
    return [at for at, name in enumerate(names) if any(re.fullmatch(pattern, name) for pattern in patterns)]


def fit(x, is_class, weight, names, head: Head, params, seed) -> Trees:
    sees = columns(names, head.sees)
    rises, falls = set(columns(names, head.rises)), set(columns(names, head.falls))
    told = {
        "objective": "binary",
        "learning_rate": params["rate"],
        "num_leaves": params["leaves"],
        "min_data_in_leaf": 20,
        "lambda_l2": 5.0,
        "bagging_fraction": 0.7,
        "bagging_freq": 1,
        "feature_fraction": 0.5,
        "max_bin": 63,
        "monotone_constraints": [int(at in rises) - int(at in falls) for at in sees],
        "use_missing": False,
        "boost_from_average": True,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,
        "seed": seed,
        "verbose": -1,
    }
    data = lightgbm.Dataset(x[:, sees], is_class.astype(int), weight=weight, free_raw_data=True, params={"verbose": -1})
    booster = lightgbm.train(told, data, num_boost_round=params["rounds"])
    # The average that boosting starts from is within the first tree's leaves.
    return Trees([flat(tree["tree_structure"], sees) for tree in booster.dump_model()["tree_info"]], booster, sees)


def flat(root, sees):
    """A tree in the order of `model.trees`: both children of a node stand side by side, behind it."""
    feature, value, left = [], [], []
    row = [root]
    while row:
        after = []
        base = len(feature) + len(row)
        for node in row:
            if "leaf_value" in node:
                feature.append(-1)
                value.append(np.float32(node["leaf_value"]))
                left.append(0)
                continue
            assert node["decision_type"] == "<="
            feature.append(sees[node["split_feature"]])
            value.append(at_most(node["threshold"]))
            left.append(base + len(after))
            after += [node["left_child"], node["right_child"]]
        row = after
    return np.array(feature), np.array(value, dtype=np.float32), np.array(left)


def at_most(threshold: float) -> np.float32:
    """The highest 32-bit float that is not above `threshold`: for 32-bit features both decide alike."""
    near = np.float32(threshold)
    return near if float(near) <= threshold else np.nextafter(near, np.float32(-np.inf))


def raw(trees: Trees, x) -> np.ndarray:
    """The sum of the leaves, added up as the agent adds them: in 32 bits, tree by tree."""
    total = np.zeros(len(x), dtype=np.float32)
    every = np.arange(len(x))
    for feature, value, left in trees.trees:
        at = np.zeros(len(x), dtype=np.int64)
        while True:
            inner = feature[at] >= 0
            if not inner.any():
                break
            rows = every[inner]
            node = at[rows]
            at[rows] = left[node] + (x[rows, feature[node]] > value[node])
        total += value[at]
    return total


def near(trees: Trees, x) -> np.ndarray:
    """`raw` to within rounding, and much sooner."""
    return trees.booster.predict(x[:, trees.sees], raw_score=True, num_threads=1).astype(np.float32)
