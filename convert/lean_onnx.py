"""ONNX graphs without what the path from Keras leaves behind. Runs in the worker process.

onnxslim folds constants and shapes that are known (Keras' ``Flatten`` asks for the batch size at
run time); what it does not know of is done here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxslim
from onnx import numpy_helper

from runtime.errors import TargetError

__all__ = ["expand_erfc", "lean"]

# Ops whose initial states are zeros where they are left out: op -> places of those inputs.
_STATES = {"LSTM": (5, 6), "GRU": (5,), "RNN": (5,)}
# What a tensor of one value is filled with.
_FILLS = ("Expand", "ConstantOfShape")
_MOVES = ("Unsqueeze", "Reshape", "Squeeze", "Transpose", "Identity", "Cast")


def lean(proto: Any) -> Any:
    """Return the same graph with fewer nodes: same names at its edges, same answers.

    Args:
        proto: An ``onnx.ModelProto``; it is not changed.

    Raises:
        TargetError: The result is no valid graph, or has other edges.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    _drop_zero_states(copy.graph)
    slim = onnxslim.slim(copy)
    edges = [[value.name for value in side] for side in (proto.graph.input, proto.graph.output)]
    have = [[value.name for value in side] for side in (slim.graph.input, slim.graph.output)]
    try:
        onnx.checker.check_model(slim)
    except Exception as error:  # the checker's classes differ between versions
        raise TargetError("onnxslim made an invalid graph.", received=error) from None
    if have != edges:
        raise TargetError("onnxslim renamed an edge.", received=have, expected=edges)
    slim.doc_string, slim.graph.name = proto.doc_string, proto.graph.name
    return slim


def expand_erfc(graph: Any) -> None:
    """Write Erfc, which ONNX does not have, as 1 - Erf, in place; Keras' exact GELU needs it."""
    if not any(node.op_type == "Erfc" for node in graph.node):
        return
    graph.initializer.append(numpy_helper.from_array(np.array(1.0, np.float32), "erfc/one"))
    nodes = []
    for node in graph.node:
        if node.op_type != "Erfc":
            nodes.append(node)
            continue
        erf = f"{node.output[0]}/erf"
        nodes.append(onnx.helper.make_node("Erf", node.input, [erf], name=f"{node.name}/erf"))
        nodes.append(
            onnx.helper.make_node("Sub", ["erfc/one", erf], node.output, name=f"{node.name}/sub")
        )
    del graph.node[:]
    graph.node.extend(nodes)


def _drop_zero_states(graph: Any) -> None:
    """Leave out initial states that are zeros for each sample: they are what no input means."""
    makers = {name: node for node in graph.node for name in node.output}
    constants = {tensor.name: tensor for tensor in graph.initializer}

    def is_zero(name: str) -> bool:
        if name in constants:
            return not np.any(numpy_helper.to_array(constants[name]))
        node = makers.get(name)
        if node is None:
            return False
        if node.op_type == "ConstantOfShape":
            values = [a.t for a in node.attribute if a.name == "value"]
            return not values or not np.any(numpy_helper.to_array(values[0]))
        if node.op_type == "Constant":
            tensors = [a.t for a in node.attribute if a.name == "value"]
            return bool(tensors) and not np.any(numpy_helper.to_array(tensors[0]))
        return node.op_type in (*_FILLS, *_MOVES) and is_zero(node.input[0])

    for node in graph.node:
        for place in _STATES.get(node.op_type, ()):
            if place < len(node.input) and node.input[place] and is_zero(node.input[place]):
                node.input[place] = ""
