"""Graphs in words that TFLite's quantiser knows. Runs in the worker process.

Two ops keep a whole model from int8 although what they compute is simple: NEG has no quantised
kernel (Keras' LayerNormalization uses it), and a SPLIT of which one output is never read (the
forget gate of an unrolled LSTM's first step) gets no range for that output and stays float.

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
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from edgeward.convert.model.graph import function_of
from edgeward.convert.model.loaded import LoadedModel

__all__ = ["freeze", "quantisable", "without_inequalities"]


def quantisable(frozen: Any, *, slices: bool) -> Any:
    """Return a function that computes the same, bit for bit, with ops that can be quantised.

    Args:
        frozen: A concrete function without variables.
        slices: Also write each Split as one slice per part: slower in float.

    Returns:
        A concrete function with the same names of inputs and outputs; ``frozen`` itself where
        there is nothing to change.
    """
    graph = frozen.graph.as_graph_def()
    fresh = graph_pb2.GraphDef()
    fresh.versions.CopyFrom(graph.versions)
    fresh.library.CopyFrom(graph.library)
    constants = {node.name: node for node in graph.node if node.op == "Const"}
    alone = _lone_negations(frozen.graph)
    # Where other nodes read "split:2", they read "split/part_2" afterwards.
    renamed: dict[str, str] = {}
    for node in graph.node:
        if node.name in alone:
            _add_negation(fresh, node)
        elif slices and node.op == "Split" and (parts := _parts(node, frozen.graph, constants)):
            _add_slices(fresh, node, parts, renamed)
        else:
            fresh.node.add().CopyFrom(node)
    if len(fresh.node) == len(graph.node):
        return frozen
    for node in fresh.node:
        for place, name in enumerate(node.input):
            node.input[place] = renamed.get(name, name)
    return function_of(
        fresh,
        [tensor.name for tensor in frozen.inputs],
        [renamed.get(tensor.name, tensor.name) for tensor in frozen.outputs],
    )


def _lone_negations(graph: Any) -> set[str]:
    """Return the names of the negations that TFLite does not fuse into a GELU or a PRELU."""

    def readers(op: Any) -> list[Any]:
        return [reader for tensor in op.outputs for reader in tensor.consumers()]

    def is_fused(op: Any) -> bool:
        near = readers(op)
        # x * erfc(-x / sqrt(2)) / 2, and relu(x) + alpha * -relu(-x).
        kinds = {reader.type for reader in [*near, *(r for n in near for r in readers(n))]}
        around = {op.inputs[0].op.type, *(reader.type for reader in near)}
        return "Erfc" in kinds or "Relu" in around

    negations = [op for op in graph.get_operations() if op.type == "Neg"]
    return {op.name for op in negations if op.inputs[0].dtype == tf.float32 and not is_fused(op)}


def _add_negation(fresh: Any, node: Any) -> None:
    minus = _constant(fresh, f"{node.name}/minus_one", np.array(-1.0, np.float32))
    product = fresh.node.add(name=node.name, op="Mul", input=[node.input[0], minus])
    product.attr["T"].type = tf.float32.as_datatype_enum


def _parts(node: Any, graph: Any, constants: dict[str, Any]) -> list[tuple[list[int], list[int]]]:
    """Return begin and size of each part; empty where they are not known."""
    axis_node = constants.get(node.input[0].split(":")[0])
    source = graph.get_operation_by_name(node.name).inputs[1]
    if axis_node is None or source.shape.rank is None:
        return []
    axis = int(tensor_util.MakeNdarray(axis_node.attr["value"].tensor)) % source.shape.rank
    count, length = node.attr["num_split"].i, source.shape[axis]
    if length is None:
        return []
    parts = []
    for number in range(count):
        begin, size = [0] * source.shape.rank, [-1] * source.shape.rank
        begin[axis], size[axis] = number * length // count, length // count
        parts.append((begin, size))
    return parts


def _add_slices(
    fresh: Any, node: Any, parts: list[tuple[list[int], list[int]]], renamed: dict[str, str]
) -> None:
    for number, (begin, size) in enumerate(parts):
        name = f"{node.name}/part_{number}"
        inputs = [
            node.input[1],
            _constant(fresh, f"{name}/begin", np.array(begin, np.int32)),
            _constant(fresh, f"{name}/size", np.array(size, np.int32)),
        ]
        part = fresh.node.add(name=name, op="Slice", input=inputs)
        part.attr["T"].CopyFrom(node.attr["T"])
        part.attr["Index"].type = tf.int32.as_datatype_enum
        renamed[f"{node.name}:{number}"] = name
        if number == 0:
            renamed[node.name] = name


def _constant(fresh: Any, name: str, value: Any) -> str:
    node = fresh.node.add(name=name, op="Const")
    node.attr["dtype"].type = tf.as_dtype(value.dtype).as_datatype_enum
    node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value))
    return name


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
            distance = _add_op(fresh, f"{name}/away", "Sub", left, right)
        size = _add_op(fresh, f"{name}/distance", "Abs", distance)
        node.CopyFrom(fresh.node.add(name=name, op="Greater", input=[size, f"{name}/zero"]))
        node.attr["T"].type = floats
        del fresh.node[-1]
        zero = fresh.node.add(name=f"{name}/zero", op="Const")
        zero.attr["dtype"].type = floats
        zero.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(np.float32(0)))
    return function_of(
        fresh,
        [tensor.name for tensor in frozen.inputs],
        [tensor.name for tensor in frozen.outputs],
    )


def _is_zero(node: Any) -> bool:
    if node.attr["dtype"].type != tf.float32.as_datatype_enum:
        return False
    return not tensor_util.MakeNdarray(node.attr["value"].tensor).any()


def _add_op(graph: Any, name: str, op: str, *inputs: str) -> str:
    node = graph.node.add(name=name, op=op, input=inputs)
    node.attr["T"].type = tf.float32.as_datatype_enum
    return name


def freeze(loaded: LoadedModel) -> Any:
    """Trace the model with a batch of 1 and turn its variables into constants.

    Without freezing, TensorFlow 2.21 writes TFLite files that hold no weights.
    """
    concrete = tf.function(lambda *tensors: loaded.call(*tensors)).get_concrete_function(
        *loaded.signature(1)
    )
    return without_inequalities(convert_variables_to_constants_v2(concrete))
