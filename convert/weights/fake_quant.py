"""A model as a function of its weights, with the rounding of int8 where TFLite will round.

The frozen graph is what the converter itself starts from. Working on it, not on layers, serves
every model that converts: functional, Sequential, nested, subclassed, and a SavedModel, whose
layers are gone. Runs in the worker process.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf
from tensorflow.core.framework import graph_pb2
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from edgeward.convert.model.graph import function_of
from edgeward.convert.model.loaded import LoadedModel
from edgeward.convert.weights.quant_points import Kernel, activation_points, kernels
from edgeward.runtime.errors import TargetError

__all__ = ["Graph", "Weight", "quantised_kernel"]

# What fake quantisation cannot look into, and gradients cannot pass.
_OPAQUE = {
    **dict.fromkeys(("Enter", "Merge", "StatelessWhile", "Switch", "While"), "a loop or a branch"),
    **dict.fromkeys(("If", "StatelessIf"), "a branch"),
    # Keras compiles a convolution with groups, and what is to be compiled is never inlined.
    **dict.fromkeys(("PartitionedCall", "StatefulPartitionedCall"), "a compiled function"),
}


@dataclass(frozen=True)
class Weight:
    """A variable of the model.

    Attributes:
        node: Name of its constant in the graph.
        name: What the user knows it by.
        variable: The ``tf.Variable``.
        place: Its place among the model's weights.
        kernel: How its kernel is quantised; None for biases and normalisation.
    """

    node: str
    name: str
    variable: Any
    place: int
    kernel: Kernel | None


class Graph:
    """The inference graph of a model, its variables taken out.

    Args:
        loaded: The model. Recurrent layers have to be unrolled.
        activations: Whether to round activations, or weights alone.

    Attributes:
        weights: What can be trained: kernels, and what the model itself marks as trainable.
        points: Nodes whose output TFLite quantises.
        skipped: What int8 rounds and this does not, with the reason.
        heads: Output name -> ``softmax``, ``sigmoid`` or ``linear``, for the loss.

    Raises:
        TargetError: Loops, or no kernel that can be trained.
    """

    def __init__(self, loaded: LoadedModel, *, activations: bool = True) -> None:
        self._loaded = loaded
        concrete = tf.function(lambda *tensors: loaded.call(*tensors)).get_concrete_function(
            *loaded.signature(None)
        )
        frozen = convert_variables_to_constants_v2(concrete)
        self._def = frozen.graph.as_graph_def()
        for node in self._def.node:
            if node.op in _OPAQUE:
                raise TargetError(
                    "The model cannot be fine-tuned for int8.",
                    received=f"{_OPAQUE[node.op]}: {node.name}",
                    expected="a graph without control flow and without compiled functions",
                    fix="the Keras file instead of a SavedModel where the layer is recurrent; "
                    "another layer instead of a convolution with groups",
                )
        self._inputs = [tensor.name for tensor in frozen.inputs]
        # A function gives the values of a dict sorted by its keys.
        self._outputs = dict(
            zip(sorted(loaded.outputs), [tensor.name for tensor in frozen.outputs], strict=True)
        )
        self.weights, self.skipped = self._find_weights(concrete, frozen.graph)
        if not any(weight.kernel for weight in self.weights):
            raise TargetError(
                "The model cannot be fine-tuned for int8.",
                received="no variable that is the kernel of a convolution or a dense layer",
                fix="a model whose weights are variables; frozen constants cannot be trained",
            )
        found = activation_points(frozen.graph)
        self.points = found.points if activations else []
        # A fused LSTM keeps 16 bits between its gates: rounding them to 8 would train for another.
        reason = ["activations: the net is recurrent"]
        self.skipped += found.skipped if activations else reason
        tails = {name: _tail(frozen.graph, tensor) for name, tensor in self._outputs.items()}
        self.heads = {name: kind for name, (kind, _) in tails.items()}
        self._scores = {name: tensor for name, (_, tensor) in tails.items()}

    def _find_weights(self, concrete: Any, frozen: Any) -> tuple[list[Weight], list[str]]:
        # Freezing keeps the name of each captured handle for the constant that replaces it.
        handles = {id(handle): inner.op.name for handle, inner in concrete.graph.captures}
        found, skipped = kernels(frozen, set(handles.values()))
        weights = []
        for place, variable in enumerate(self._loaded.variables):
            inner = variable.value
            node = handles.get(id(inner.handle)) if hasattr(inner, "handle") else None
            # Statistics of a normalisation are no weights: a variance must stay positive. The
            # kernels of layers that the user froze do change: they will be rounded as well.
            wanted = node in found or variable.trainable
            if node is not None and wanted and inner.dtype == tf.float32:
                weights.append(Weight(node, variable.name, inner, place, found.get(node)))
        return weights, skipped

    def function(self, *, quantised: bool) -> Callable[..., Any]:
        """Return ``f(inputs, values, ranges) -> {output: scores}``; differentiable.

        Scores are what stands before a final softmax or sigmoid. ``values`` are those of
        ``weights``; ``ranges`` is float32 ``[len(points), 2]``, read only where ``quantised``.
        """
        fresh = self._open(set(self.points) if quantised else set())
        names, ends = list(self._scores), list(self._scores.values())
        if quantised:
            ends = [_rounded(tensor, self.points) for tensor in ends]
        feeds = [*self._inputs, *(f"{weight.node}:0" for weight in self.weights)]
        if quantised and self.points:
            feeds.append("edgeward_ranges:0")
        pruned = function_of(fresh, feeds, ends)

        def call(inputs: Sequence[Any], values: Sequence[Any], ranges: Any) -> dict[str, Any]:
            tail = [ranges] if quantised and self.points else []
            return dict(zip(names, tf.nest.flatten(pruned(*inputs, *values, *tail)), strict=True))

        return call

    def ranges(self) -> Callable[..., Any]:
        """Return ``f(inputs, values) -> float32 [len(points), 2]``: min and max in a batch."""
        feeds = [*self._inputs, *(f"{weight.node}:0" for weight in self.weights)]
        pruned = function_of(
            self._open(set()), feeds, [f"{point}:0" for point in self.points], _extremes
        )
        return lambda inputs, values: tf.reshape(
            tf.stack(tf.nest.flatten(pruned(*inputs, *values))), (-1, 2)
        )

    def with_values(self, values: Sequence[Any]) -> Callable[..., dict[str, Any]]:
        """Return ``f(*inputs) -> {output: values}`` with these weights as constants."""
        fresh = graph_pb2.GraphDef()
        fresh.CopyFrom(self._def)
        nodes = {node.name: node for node in fresh.node}
        for weight, value in zip(self.weights, values, strict=True):
            nodes[weight.node].attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value))
        pruned = function_of(fresh, self._inputs, list(self._outputs.values()))
        return lambda *inputs: dict(
            zip(self._outputs, tf.nest.flatten(pruned(*inputs)), strict=True)
        )

    def _open(self, points: set[str]) -> Any:
        """Return the graph with placeholders for weights and fake quantisation at the points."""
        fresh = graph_pb2.GraphDef()
        fresh.versions.CopyFrom(self._def.versions)
        fresh.library.CopyFrom(self._def.library)
        weights = {weight.node for weight in self.weights}
        # What read the rounded tensor before reads the fake-quantised one.
        renamed = {name: f"{name}/fake_quant" for name in points}
        for node in self._def.node:
            if node.name in weights:
                made = fresh.node.add(name=node.name, op="Placeholder")
                made.attr["dtype"].type = tf.float32.as_datatype_enum
                shape = node.attr["value"].tensor.tensor_shape
                made.attr["shape"].shape.CopyFrom(shape)
                continue
            made = fresh.node.add()
            made.CopyFrom(node)
            for place, name in enumerate(made.input):
                made.input[place] = renamed.get(name.removesuffix(":0"), name)
        if points:
            ranges = fresh.node.add(name="edgeward_ranges", op="Placeholder")
            ranges.attr["dtype"].type = tf.float32.as_datatype_enum
        for number, name in enumerate(self.points if points else ()):
            _add_fake_quant(fresh, name, renamed[name], number)
        return fresh


def _rounded(tensor: str, points: Sequence[str]) -> str:
    name = tensor.removesuffix(":0")
    return f"{name}/fake_quant:0" if name in points else tensor


def _add_fake_quant(fresh: Any, source: str, name: str, number: int) -> None:
    ends = []
    for column, end in enumerate(("min", "max")):
        index = fresh.node.add(name=f"{name}/{end}_at", op="Const")
        index.attr["dtype"].type = tf.int32.as_datatype_enum
        index.attr["value"].tensor.CopyFrom(tf.make_tensor_proto([number, column], tf.int32))
        read = fresh.node.add(name=f"{name}/{end}", op="GatherNd")
        read.input.extend(["edgeward_ranges", index.name])
        read.attr["Tparams"].type = tf.float32.as_datatype_enum
        read.attr["Tindices"].type = tf.int32.as_datatype_enum
        # A range is measured, not learned: the converter measures it again.
        held = fresh.node.add(name=f"{name}/{end}_held", op="StopGradient", input=[read.name])
        held.attr["T"].type = tf.float32.as_datatype_enum
        ends.append(held.name)
    made = fresh.node.add(name=name, op="FakeQuantWithMinMaxVars", input=[source, *ends])
    made.attr["num_bits"].i = 8


def _extremes(tensor: Any) -> list[Any]:
    return [tf.reduce_min(tensor), tf.reduce_max(tensor)]


def quantised_kernel(value: Any, kernel: Kernel) -> Any:
    """Round a kernel to int8 and back: symmetric, one scale per channel; straight-through.

    A batch normalisation needs no folding first. Folding multiplies each output channel by one
    number, which multiplies that channel's scale alike: rounding before or after is the same.
    """
    over = [axis for axis in range(len(value.shape)) if axis not in kernel.channels]
    largest = tf.reduce_max(tf.abs(value), axis=over, keepdims=True)
    scale = tf.stop_gradient(tf.maximum(largest, 1e-30) / 127)
    rounded = tf.round(value / scale) * scale
    return value + tf.stop_gradient(rounded - value)


def _tail(graph: Any, tensor: str) -> tuple[str, str]:
    """Return what an output ends in, and the tensor before it."""
    op = graph.get_tensor_by_name(tensor).op
    while op.type == "Identity":
        op = op.inputs[0].op
    kinds = {"Softmax": "softmax", "Sigmoid": "sigmoid"}
    return (kinds[op.type], op.inputs[0].name) if op.type in kinds else ("linear", tensor)
