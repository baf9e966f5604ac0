"""Where the ops of an artifact are: op, version and the layer that the user wrote.

TensorFlow names a tensor after the scopes it was traced in: ``model_1/dense_2/MatMul``. Keras 3
enters the scope of each layer twice, once to build and once to call, so that TensorFlow appends a
number to every scope: the layer above is ``dense``, or ``dense_2`` called ``dense_2_1``. One number
is taken off wherever the first scope, the model's, ends in one.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

import onnx

from edgeward.convert.artifact.tflite import Node, read_nodes
from edgeward.convert.formats import FORMATS, Format, format_of
from edgeward.runtime.errors import InvalidModelError

__all__ = [
    "CUSTOM",
    "ONNX",
    "ONNX_IR",
    "TFLITE",
    "LocatedOp",
    "locate_onnx",
    "locate_ops",
    "locate_tflite",
]

TFLITE, CUSTOM, ONNX, ONNX_IR = "tflite", "tflite-custom", "ai.onnx", "onnx-ir"

# What a piece of a fused name says when it comes from the op itself, not from what was folded in.
_TELLING = {
    "CONV_2D": ("convolution", "Conv2D"),
    "CONV_3D": ("convolution", "Conv3D"),
    "DEPTHWISE_CONV_2D": ("depthwise", "convolution"),
    "FULLY_CONNECTED": ("MatMul", "Tensordot"),
    "TRANSPOSE_CONV": ("conv_transpose", "conv2d_transpose"),
}

_NUMBERED = re.compile(r"(.+)_\d+", re.ASCII)

# Scopes of the call into a SavedModel, which no one wrote.
_CALLS = re.compile(r"(Stateful)?PartitionedCall(_\d+)?(:\d+)?|serving_default.*", re.ASCII)


@dataclass(frozen=True, order=True)
class LocatedOp:
    """One op of an artifact.

    Attributes:
        op: Its name; ``IR`` stands for the ONNX file itself.
        version: Its version; in ONNX the version of its opset, for ``IR`` that of the format.
        subgraph: Number of the subgraph (TFLite; loops have their own), 0 in ONNX.
        layer: Layer path, e.g. ``dense_1`` or ``encoder/query``; else the name of its output.
        domain: The ONNX domain (``ai.onnx``), or else a format's name, with more behind a dash
            where there are several: ``tflite``, ``tflite-custom``, ``onnx-ir``.
        traits: What some runtimes refuse whatever the version, see ``targets.remedies.DEMANDS``:
            ``dynamic`` (a dimension of a tensor is open), ``float16`` (reads a float16 tensor),
            ``hybrid`` (int8 weights on float activations), ``int-edge`` (reads an input or
            writes an output of the model as int8 or int16), ``variable`` (keeps state).
    """

    op: str
    version: int
    subgraph: int
    layer: str
    domain: str
    traits: tuple[str, ...] = ()

    @property
    def format(self) -> Format:
        """The format of the file: every domain that is not named after another one is ONNX's.

        >>> LocatedOp("FlexErf", 1, 0, "erf", CUSTOM).format.name
        'tflite'
        >>> LocatedOp("Gelu", 1, 0, "gelu", "com.microsoft").format.name
        'onnx'
        """
        return FORMATS.get(self.domain.partition("-")[0], FORMATS["onnx"])


def locate_ops(data: bytes, layers: Collection[str] = ()) -> tuple[LocatedOp, ...]:
    """Locate every op of a TFLite or ONNX file, in the order in which they run.

    Args:
        data: The file.
        layers: Names of the model's layers, where they are known: they settle what a number at
            the end of a scope means.

    Raises:
        InvalidModelError: It is neither a TFLite nor an ONNX file.

    >>> [(op.op, op.version, op.layer) for op in locate_ops(data)]       # doctest: +SKIP
    [('CONV_2D', 3, 'conv2d'), ('RESHAPE', 1, 'flatten'), ('FULLY_CONNECTED', 4, 'dense')]
    """
    return format_of(data).locate(data, frozenset(layers))


def locate_tflite(data: bytes, layers: frozenset[str]) -> tuple[LocatedOp, ...]:
    """Locate every op of a TFLite file, see ``locate_ops``."""
    made: dict[tuple[int, int], str] = {}
    located: list[LocatedOp] = []
    for node in read_nodes(data):
        layer = _layer_of_node(node, layers)
        if not layer:
            # The artifact's outputs have the manifest's names, and what the converter inserts has
            # none that tells: such an op belongs to what it follows.
            before = (made.get((node.subgraph, t.index), "") for t in node.inputs if not t.constant)
            outputs = (t.name for t in node.outputs)
            layer = next(filter(None, before), "") or next(outputs, node.op)
        made |= {(node.subgraph, tensor.index): layer for tensor in node.outputs}
        domain = CUSTOM if node.custom else TFLITE
        located.append(
            LocatedOp(node.op, node.version, node.subgraph, layer, domain, _traits(node))
        )
    return tuple(located)


def _layer_of_node(node: Node, layers: frozenset[str]) -> str:
    names = [tensor.name for tensor in node.outputs]
    names += [tensor.name for tensor in node.inputs if tensor.constant]
    pieces = [piece for name in names for piece in name.split(";")]
    telling = _TELLING.get(node.op, ())
    pieces.sort(key=lambda piece: not any(word in piece.rpartition("/")[2] for word in telling))
    return next(filter(None, (_layer(piece, layers) for piece in pieces)), "")


def _traits(node: Node) -> tuple[str, ...]:
    weights = any(t.constant and t.dtype in ("int4", "int8", "uint8") for t in node.inputs)
    tensors = (*node.inputs, *node.outputs)
    traits = {
        "dynamic": any(tensor.dynamic for tensor in tensors),
        "float16": any(tensor.dtype == "float16" for tensor in node.inputs),
        "hybrid": weights and node.inputs[0].dtype == "float32",
        "int-edge": any(tensor.edge and tensor.dtype in ("int8", "int16") for tensor in tensors),
        "variable": any(tensor.variable for tensor in node.inputs),
    }
    return tuple(name for name, has in traits.items() if has)


def locate_onnx(data: bytes, layers: frozenset[str]) -> tuple[LocatedOp, ...]:
    """Locate every op of an ONNX file, see ``locate_ops``."""
    try:
        model = onnx.load_model_from_string(data)
    except Exception as error:  # protobuf's classes differ between versions
        raise InvalidModelError("This is no TFLite or ONNX file.", received=error) from None
    opsets = {entry.domain or ONNX: int(entry.version) for entry in model.opset_import}
    located = [LocatedOp("IR", int(model.ir_version), 0, "the file", ONNX_IR)]
    for node in _nodes(model.graph):
        domain = node.domain or ONNX
        if domain not in opsets:
            raise InvalidModelError(
                f"Node {node.name!r} is of a domain that the file does not import.",
                received=domain, expected=sorted(opsets),
            )  # fmt: skip
        names = (node.name, *node.output)
        layer = next(filter(None, (_layer(name, layers) for name in names)), "")
        located.append(
            LocatedOp(node.op_type, opsets[domain], 0, layer or node.name or node.output[0], domain)
        )
    return tuple(located)


def _nodes(graph: onnx.GraphProto) -> Iterable[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _nodes(attribute.g)


def _layer(name: str, layers: frozenset[str]) -> str:
    """Return the layer path in the name of a tensor or node, or nothing where it tells none."""
    scopes = [scope for scope in name.split("/") if not _CALLS.fullmatch(scope)]
    # The first scope is the model, the last the op.
    if len(scopes) < 3:
        return ""
    numbered = _NUMBERED.fullmatch(scopes[0]) is not None
    path: list[str] = []
    for scope in scopes[1:-1]:
        plain = match[1] if (match := _NUMBERED.fullmatch(scope)) else ""
        if layers:
            choices = (plain, scope) if numbered else (scope, plain)
            layer = next((choice for choice in choices if choice in layers), "")
        else:
            # A scope without number inside a numbered model is an op's own: batchnorm, while.
            layer = plain if numbered else scope
        if not layer:
            break
        path.append(layer)
        if not layers and not numbered:
            # Nothing tells a nested layer from an op's scope.
            break
    return "/".join(path)
