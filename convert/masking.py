"""Masks of float steps in words that TFLite's quantiser knows. Runs in the worker process.

Keras' Masking layer compares its input with a value. NOT_EQUAL has no quantised form in the
converter, nor has the EQUAL that it makes of a negation: the comparison stays in float, with a
DEQUANTIZE before it, and keeps a whole model from int8. A distance greater than zero does not.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import graph_pb2
from tensorflow.python.framework import tensor_util

__all__ = ["without_inequalities"]


def without_inequalities(frozen: Any) -> Any:
    """Return a function that asks ``|a - b| > 0`` wherever ``frozen`` asks ``a != b`` of floats.

    It computes the same for all numbers; quantised, two are equal when their distance rounds to 0.

    Args:
        frozen: A concrete function without variables.

    Returns:
        A concrete function with the same names of inputs and outputs; ``frozen`` itself where
        there is nothing to change.
    """
    graph = frozen.graph.as_graph_def()
    floats = tf.float32.as_datatype_enum
    found = [node for node in graph.node if node.op == "NotEqual" and node.attr["T"].type == floats]
    if not found:
        return frozen
    zeros = {node.name for node in graph.node if node.op == "Const" and _is_zero(node)}
    fresh = graph_pb2.GraphDef()
    fresh.CopyFrom(graph)
    for node in [node for node in fresh.node if node.name in {one.name for one in found}]:
        left, right = node.input
        name, distance = node.name, left
        if right.split(":")[0] not in zeros:
            distance = _add(fresh, f"{name}/away", "Sub", left, right)
        size = _add(fresh, f"{name}/distance", "Abs", distance)
        node.CopyFrom(fresh.node.add(name=name, op="Greater", input=[size, f"{name}/zero"]))
        node.attr["T"].type = floats
        del fresh.node[-1]
        zero = fresh.node.add(name=f"{name}/zero", op="Const")
        zero.attr["dtype"].type = floats
        zero.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(np.float32(0)))
    wrapped = tf.compat.v1.wrap_function(lambda: tf.import_graph_def(fresh, name=""), [])
    return wrapped.prune(
        [wrapped.graph.get_tensor_by_name(tensor.name) for tensor in frozen.inputs],
        [wrapped.graph.get_tensor_by_name(tensor.name) for tensor in frozen.outputs],
    )


def _is_zero(node: Any) -> bool:
    if node.attr["dtype"].type != tf.float32.as_datatype_enum:
        return False
    return not tensor_util.MakeNdarray(node.attr["value"].tensor).any()


def _add(graph: Any, name: str, op: str, *inputs: str) -> str:
    node = graph.node.add(name=name, op=op, input=inputs)
    node.attr["T"].type = tf.float32.as_datatype_enum
    return name
