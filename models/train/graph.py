"""Writes the autoencoder as ONNX: plain operators, one input, one output, any number of rows."""

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper

from networks import CLIP, Network

OPSET = 17


def autoencoder(network: Network) -> bytes:
    """`features [N, F]` to `error [N, 1]`: the mean squared error of the scaled row."""
    nodes, weights, last = body(network)
    nodes.append(helper.make_node("Sub", [last, "z"], ["difference"]))
    nodes.append(helper.make_node("Mul", ["difference", "difference"], ["squared"]))
    nodes.append(helper.make_node("ReduceMean", ["squared"], ["error"], axes=[1], keepdims=1))
    return model(network, nodes, weights, "error", 1)


def body(network: Network):
    scale = network.scale
    # One product picks the columns and scales them: element by element over all features it took most of the time.
    pick = np.zeros((scale.features, len(scale.sees)), dtype=np.float32)
    pick[scale.sees, np.arange(len(scale.sees))] = scale.factor
    weights = [
        constant("pick", pick),
        constant("shift", scale.shift),
        constant("clip_low", np.float32(-CLIP)),
        constant("clip_high", np.float32(CLIP)),
    ]
    nodes = [
        helper.make_node("Gemm", ["features", "pick", "shift"], ["scaled"]),
        helper.make_node("Clip", ["scaled", "clip_low", "clip_high"], ["z"]),
    ]
    last = "z"
    for at, (w, b) in enumerate(network.layers):
        weights += [constant(f"w{at}", w), constant(f"b{at}", b)]
        nodes.append(helper.make_node("Gemm", [last, f"w{at}", f"b{at}"], [f"sum{at}"]))
        last = f"sum{at}"
        if at + 1 < len(network.layers):
            nodes.append(helper.make_node("Relu", [last], [f"layer{at}"]))
            last = f"layer{at}"
    return nodes, weights, last


def constant(name, value):
    return numpy_helper.from_array(np.asarray(value, dtype=np.float32), name)


def model(network, nodes, weights, output, columns) -> bytes:
    graph = helper.make_graph(
        nodes,
        "ids",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["N", network.scale.features])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["N", columns])],
        weights,
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="ids-agent")
    proto.ir_version = 8
    checker.check_model(proto, full_check=True)
    return proto.SerializeToString(deterministic=True)
