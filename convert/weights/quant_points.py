"""Where TFLite's int8 rounds: which tensors of a frozen graph, and which axes of its kernels.

TFLite computes a convolution or a dense layer together with its bias, its batch normalisation and
its ReLU; only what comes out at the end is rounded. Runs in the worker process.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import tensorflow as tf

__all__ = ["Kernel", "Points", "activation_points", "kernels", "layer_of"]

# Op -> axes of its kernel that have a scale of their own, counted from the end.
_CHANNELS: dict[str, tuple[int, ...]] = {
    "Conv2D": (-1,),
    "Conv3D": (-1,),
    "Conv2DBackpropInput": (-2,),
    "DepthwiseConv2dNative": (-2, -1),
    "MatMul": (-1,),
    # One scale for the whole tensor: what these become differs from case to case.
    "BatchMatMul": (),
    "BatchMatMulV2": (),
    "BatchMatMulV3": (),
    "Einsum": (),
    "GatherV2": (),
    "ResourceGather": (),
}

_LINEAR = tuple(op for op in _CHANNELS if "Gather" not in op)

_AFFINE = ("Add", "AddV2", "BiasAdd", "Mul", "Sub")

_RELU = ("Relu", "Relu6")

# Their output has the scale of their input.
_SAME_SCALE = (
    *("BatchToSpaceND", "DepthToSpace", "ExpandDims", "GatherV2", "Identity", "IdentityN"),
    *("MaxPool", "MirrorPad", "Pad", "PadV2", "PreventGradient", "ResizeNearestNeighbor"),
    *("Reshape", "ReverseV2", "Slice", "SpaceToBatchND", "SpaceToDepth", "Split", "SplitV"),
    *("Squeeze", "StopGradient", "StridedSlice", "Tile", "Transpose", "Unpack"),
)

_RESHAPES = ("ExpandDims", "Identity", "Reshape", "Squeeze")

# The loss looks at what stands before them.
_HEADS = ("Sigmoid", "Softmax")

# A small divisor rounded to zero is infinite here; TFLite's tables saturate.
_DIVIDES = ("Log", "Pow", "RealDiv", "Reciprocal", "Rsqrt", "Sqrt")


@dataclass(frozen=True)
class Kernel:
    """How a kernel is quantised.

    Attributes:
        op: Op that reads it.
        channels: Axes that have a scale of their own; empty is one scale for all.
    """

    op: str
    channels: tuple[int, ...]


@dataclass(frozen=True)
class Points:
    """Where activations are rounded.

    Attributes:
        points: Names of the nodes whose output is rounded.
        skipped: Those that stay float here, with the reason.
    """

    points: list[str]
    skipped: list[str]


def layer_of(node: str) -> str:
    """Return the layer that a node is in."""
    return node.rpartition("/")[0] or node


def kernels(graph: Any, variables: set[str]) -> tuple[dict[str, Kernel], list[str]]:
    """Return the variables that are kernels, by their node, and the kernels that are none.

    Args:
        graph: A frozen graph.
        variables: Names of the constants that were variables.
    """
    data = _data_ops(graph)
    found: dict[str, Kernel] = {}
    skipped = []
    for op in graph.get_operations():
        axes = _CHANNELS.get(op.type)
        if axes is None:
            continue
        for place, tensor in enumerate(op.inputs):
            if tensor.op.name in data or tensor.dtype != tf.float32:
                continue
            source = tensor.op
            while source.type in _RESHAPES:
                source = source.inputs[0].op
            if source.name not in variables:
                if op.name in data:
                    skipped.append(f"{layer_of(op.name)}: its kernel is computed, not a variable")
                continue
            rank = source.outputs[0].shape.rank
            channels = (-2,) if op.type == "MatMul" and _transposed(op, place) else axes
            kernel = Kernel(op.type, tuple(sorted(axis % rank for axis in channels)))
            found.setdefault(source.name, kernel)
    return found, skipped


def _transposed(op: Any, place: int) -> bool:
    return bool(op.get_attr("transpose_b" if place else "transpose_a"))


def activation_points(graph: Any) -> Points:
    """Return the tensors that int8 rounds, but for probabilities at the end."""
    data = _data_ops(graph)
    points, skipped = [], []
    in_linear: set[str] = set()
    for op in graph.get_operations():
        if op.name not in data or not op.outputs or op.outputs[0].dtype != tf.float32:
            continue
        sources = [tensor.op.name for tensor in op.inputs if tensor.op.name in data]
        readers = [reader for tensor in op.outputs for reader in tensor.consumers()]
        alone = readers[0] if len(readers) == 1 else None
        if op.type in _LINEAR or (
            op.type in (*_AFFINE, *_RESHAPES)
            and len(sources) == 1
            and sources[0] in in_linear
            and _only_reader(graph, sources[0])
        ):
            in_linear.add(op.name)
        linear = op.name in in_linear
        if not readers or (op.type in _SAME_SCALE and not linear):
            continue
        if op.type in _HEADS and all(_is_output(reader) for reader in readers):
            continue
        if alone is not None:
            fused = linear or op.type in _AFFINE
            goes_on = linear and alone.type in (*_AFFINE, *_RESHAPES) and _one_source(alone, data)
            if (fused and alone.type in _RELU) or goes_on:
                continue
        if any(reader.type in _DIVIDES for reader in readers):
            skipped.append(f"{op.name}: a divisor")
            continue
        points.append(op.name)
    return Points(points, skipped)


def _data_ops(graph: Any) -> set[str]:
    """Return the names of the ops that depend on the model's inputs."""
    found: set[str] = set()
    # The ops of a graph are in the order in which they were made: inputs before readers.
    for op in graph.get_operations():
        if op.type == "Placeholder" or any(tensor.op.name in found for tensor in op.inputs):
            found.add(op.name)
    return found


def _one_source(op: Any, data: set[str]) -> bool:
    return sum(tensor.op.name in data for tensor in op.inputs) == 1


def _only_reader(graph: Any, name: str) -> bool:
    op = graph.get_operation_by_name(name)
    return sum(len(tensor.consumers()) for tensor in op.outputs) == 1


def _is_output(op: Any) -> bool:
    """Whether nothing but the end of the graph reads an op's output."""
    return op.type == "Identity" and not any(tensor.consumers() for tensor in op.outputs)
