"""Heads with their calibration as one model: probabilities, and the bytes of `model.trees`."""

import struct
from dataclasses import dataclass

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper

LEAF = 0xFFFF


@dataclass
class Calibrated:
    """A head's raw score becomes the probability `1 / (1 + exp(-(slope * raw + offset)))`."""

    trees: object  # heads.Trees
    slope: float
    offset: float


def probability(raw, slope, offset):
    return (1 / (1 + np.exp(-(np.float32(slope) * raw.astype(np.float32) + np.float32(offset))))).astype(np.float32)


def with_benign(claims) -> np.ndarray:
    """Benign and the classes, `[rows, 1 + classes]`, from what each head claims. Benign is what none claims."""
    benign = np.prod(1 - claims, axis=1, dtype=np.float32, keepdims=True)
    return np.concatenate([benign, claims], axis=1).astype(np.float32)


def to_bytes(heads: list, features: int) -> bytes:
    """`model.trees`, as ids-agent/src/detect/model/trees.rs describes it."""
    parts = [b"idstree1", struct.pack("<II", features, len(heads))]
    for head in heads:
        parts.append(struct.pack("<ffI", head.slope, head.offset, len(head.trees.trees)))
        for feature, value, left in head.trees.trees:
            nodes = np.zeros(len(feature), dtype=[("value", "<f4"), ("feature", "<u2"), ("left", "<u2")])
            nodes["value"], nodes["left"] = value, left
            nodes["feature"] = np.where(feature < 0, LEAF, feature)
            parts += [struct.pack("<I", len(nodes)), nodes.tobytes()]
    return b"".join(parts)


def probabilities(heads_: list, raws: list) -> np.ndarray:
    """What the agent gives for rows whose raw scores are `raws`, one array for each head."""
    return with_benign(np.stack([probability(raw, head.slope, head.offset) for head, raw in zip(heads_, raws)], axis=1))


def to_onnx(heads_: list, features: int) -> bytes:
    """The same model as a graph, for other programs: `features [N, F]` to `probabilities [N, 1 + classes]`."""
    nodes = {name: [] for name in ("treeids", "nodeids", "featureids", "modes", "values", "truenodeids", "falsenodeids")}
    target = {name: [] for name in ("treeids", "nodeids", "ids", "weights")}
    tree_id = 0
    for at, head in enumerate(heads_):
        for feature, value, left in head.trees.trees:
            leaf = feature < 0
            nodes["treeids"] += [tree_id] * len(feature)
            nodes["nodeids"] += range(len(feature))
            nodes["featureids"] += np.maximum(feature, 0).tolist()
            nodes["modes"] += ["LEAF" if is_leaf else "BRANCH_LEQ" for is_leaf in leaf]
            nodes["values"] += np.where(leaf, 0, value).astype(np.float32).tolist()
            nodes["truenodeids"] += left.tolist()
            nodes["falsenodeids"] += np.where(leaf, 0, left + 1).tolist()
            target["treeids"] += [tree_id] * int(leaf.sum())
            target["nodeids"] += np.flatnonzero(leaf).tolist()
            target["ids"] += [at] * int(leaf.sum())
            target["weights"] += value[leaf].tolist()
            tree_id += 1
    trees = helper.make_node(
        "TreeEnsembleRegressor", ["features"], ["raw"], domain="ai.onnx.ml", n_targets=len(heads_), aggregate_function="SUM",
        **{f"nodes_{name}": values for name, values in nodes.items()},
        **{f"target_{name}": values for name, values in target.items()},
    )  # fmt: skip
    constant = lambda name, value: numpy_helper.from_array(np.asarray(value), name)
    weights = [
        constant("slope", np.array([head.slope for head in heads_], dtype=np.float32)),
        constant("offset", np.array([head.offset for head in heads_], dtype=np.float32)),
        constant("one", np.float32(1)),
    ]
    plain = [
        ("Mul", ["raw", "slope"], "steep", {}),
        ("Add", ["steep", "offset"], "odds", {}),
        ("Sigmoid", ["odds"], "claims", {}),
        ("Sub", ["one", "claims"], "unclaimed", {}),
        ("ReduceProd", ["unclaimed"], "benign", {"axes": [1], "keepdims": 1}),
        ("Concat", ["benign", "claims"], "probabilities", {"axis": 1}),
    ]
    graph = helper.make_graph(
        [trees] + [helper.make_node(kind, inputs, [output], **attributes) for kind, inputs, output, attributes in plain],
        "ids",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["N", features])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", len(heads_) + 1])],
        weights,
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    proto = helper.make_model(graph, opset_imports=opsets, producer_name="ids-agent")
    proto.ir_version = 8
    checker.check_model(proto)
    return proto.SerializeToString(deterministic=True)
