"""What a TFLite file holds, and what is not as its name says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from edgeward.convert.artifact.limits import BrokenLimit, broken_limits
from edgeward.convert.artifact.lint import Description
from edgeward.convert.artifact.tflite import (
    DTYPES,
    Graph,
    GraphTensor,
    op_name,
    parse,
    read_graph,
    text_of,
)
from edgeward.convert.variants import INT8_MIXED, Variant
from edgeward.runtime.artifact import TensorSpec
from edgeward.runtime.errors import TargetError

__all__ = ["island_around", "lint_mixed", "lint_tflite"]

# Ops whose second input is a weight.
_WEIGHT_OPS = {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV", "CONV_3D"}

# Bytes. The converter leaves constants below 1,024 elements in float32, and so are biases.
_SMALL = 4 * 1024

_INTEGERS = {"int8", "uint8", "int16", "int32", "int64", "bool"}

# Broken limits that are told.
_MOST = 3

# Ops that only change how a value is written.
_BRIDGES = ("QUANTIZE", "DEQUANTIZE")


def lint_tflite(
    data: bytes, variant: Variant, float_layers: Sequence[str] = ()
) -> tuple[Description, list[str]]:
    """Return what a TFLite file holds, and what is wrong with it.

    Args:
        data: The file.
        variant: What it is to be.
        float_layers: What the settings of an ``int8-mixed`` artifact left in float.

    Raises:
        InvalidModelError: It is no TFLite file.
        TargetError: It has scales that TFLite's kernels cannot compute with.
    """
    remarks = _check_limits(variant, broken_limits(data))
    graph = read_graph(data)
    problems = _problems(graph, variant)
    if variant is INT8_MIXED:
        problems += lint_mixed(data, float_layers)
    description = Description(
        inputs=tuple(_edge(tensor) for tensor in graph.inputs),
        outputs=tuple(_edge(tensor) for tensor in graph.outputs),
        ops=graph.ops,
        min_runtime={"tflite": graph.min_runtime} if graph.min_runtime else {},
        nodes=len(graph.tensors),
        remark="; ".join(remarks),
    )
    return description, problems


def _check_limits(variant: Variant, broken: Sequence[BrokenLimit]) -> list[str]:
    """Refuse what no kernel computes; return what only microcontrollers do not."""
    # An unrolled loop breaks a limit once each step; the layer is named once.
    texts = {
        f"{one.op} of layer {one.layer} has {one.sentence}": one
        for one in sorted(broken, key=lambda one: not one.everywhere)
    }
    wrong = {text: one for text, one in texts.items() if one.everywhere}
    if not wrong:
        return [f"{variant.id} as TFLite: {text}" for text in list(texts)[:_MOST]]
    first = next(iter(wrong.values()))
    raise TargetError(
        f"{variant.id} as TFLite has scales that TFLite's kernels cannot compute with.",
        received="; ".join(list(wrong)[:_MOST]),
        expected=first.expected,
        fix=first.fix,
    )


def _problems(graph: Graph, variant: Variant) -> list[str]:
    problems = [f"op {name} is no builtin op" for name in graph.custom_ops]
    weights = [t for t in graph.tensors if t.size and set(t.used_by) & _WEIGHT_OPS]
    edges = [("input", t) for t in graph.inputs] + [("output", t) for t in graph.outputs]
    problems += [
        f"{what} {t.name!r} is {t.dtype}, not {variant.edges}"
        for what, t in edges
        # Ids of tokens are integers already; there is nothing to quantise.
        if t.dtype != variant.edges and not (what == "input" and t.dtype in ("int32", "int64"))
    ]
    if variant.weights == "float32":
        problems += [
            f"tensor {t.name!r} is quantised ({t.dtype})" for t in graph.tensors if t.scales
        ]
        problems += [f"op {op.name}" for op in graph.ops if op.name in ("QUANTIZE", "DEQUANTIZE")]
        return problems + _other_dtypes(graph, ("float16",))
    if variant.weights == "float16":
        problems += [f"weight {t.name!r} is {t.dtype}" for t in weights if t.dtype == "int8"]
        halves = [t for t in graph.tensors if t.size and t.dtype == "float16"]
        return problems + _big_in(graph, "float32") + ([] if halves else ["no weight is float16"])
    big = [t for t in weights if t.dtype == "int8"]
    if not variant.calibrated:
        ints = [t for t in graph.tensors if t.size and t.dtype == "int8"]
        problems += [] if ints else ["no weight is int8"]
        problems += [f"{t.name!r} is int8 without a scale" for t in ints if not t.scales]
        problems += [
            f"activation {t.name!r} is int8: its range was fixed by calibration"
            for t in graph.tensors
            if not t.size
            and t.dtype == "int8"
            and t.scales
            # Rows that a GATHER takes out of an embedding keep the scale of its weights.
            and t.scales not in {weight.scales for weight in ints}
        ]
        return problems + _big_in(graph, "float32")
    if weights and not big:
        problems.append("no weight is int8")
    problems += [f"{t.name!r} is int8 without a scale" for t in big if not t.scales]
    if variant is INT8_MIXED:
        return problems
    own = {t.name for _, t in edges} if variant.edges == "float32" else set()
    return problems + [
        f"float island: tensor {t.name!r} is {t.dtype}"
        for t in graph.tensors
        if t.dtype not in _INTEGERS and t.name not in own
    ]


def _big_in(graph: Graph, dtype: str) -> list[str]:
    """Complain about large constants of a dtype that quantising should have left nowhere."""
    return [
        f"weight {t.name!r} is {t.dtype}"
        for t in graph.tensors
        if t.dtype == dtype and t.size > _SMALL
    ]


def _other_dtypes(graph: Graph, dtypes: tuple[str, ...]) -> list[str]:
    return [f"tensor {t.name!r} is {t.dtype}" for t in graph.tensors if t.dtype in dtypes]


def _edge(tensor: GraphTensor) -> TensorSpec:
    quantised = len(tensor.scales) == 1
    return TensorSpec(
        tensor.name,
        tensor.name,
        tensor.shape,
        tensor.dtype,
        tensor.scales[0] if quantised else None,
        tensor.zero_points[0] if quantised else None,
    )


def island_around(data: bytes, name: str) -> tuple[str, ...]:
    """Return the ops that must stay float for one activation to stay float.

    One op alone gains little: what it reads and what it writes is still rounded to int8 for its
    neighbours. The op that writes the activation and all that read it make an island inside of
    which it is never rounded.

    Args:
        data: The float32 TFLite artifact.
        name: An activation of it, also an input or output of the model.

    Returns:
        Names of the tensors that those ops write, for ``Settings.float_layers``; empty where
        no op writes or reads an activation of this name.
    """
    return tuple(
        written
        for _, read, writes in _ops(parse(data))
        for written in writes
        if name in (*read, *writes)
    )


def lint_mixed(data: bytes, float_layers: Sequence[str]) -> list[str]:
    """Return what is wrong with the mixture of an ``int8-mixed`` file; empty where nothing is.

    Args:
        data: A TFLite file.
        float_layers: Names of the tensors whose ops were to stay float; where there are some, no
            other op may be. Without any it is unchecked which they are.
    """
    model = parse(data)
    dtypes = {
        text_of(tensor.name): DTYPES[tensor.type]
        for graph in model.subgraphs
        for tensor in graph.tensors
    }
    written = {name for kind, _, writes in _ops(model) for name in writes if kind not in _BRIDGES}
    floats = {name for name in written if dtypes[name].startswith("float")}
    problems = []
    if not any(dtypes[name] == "int8" for name in written):
        problems.append("no op computes in int8")
    if not floats:
        problems.append("no op computes in float: it is plain int8-floatio")
    if float_layers:
        missing = [name for name in float_layers if name not in floats]
        islands = sorted(floats.difference(float_layers))
        problems += [f"no float op writes {name!r}, which was to stay float" for name in missing]
        problems += [f"float island: {name!r}, which was not to stay float" for name in islands]
    return problems


def _ops(model: Any) -> Iterator[tuple[str, list[str], list[str]]]:
    """Yield name, tensors read and tensors written of each op."""
    for graph in model.subgraphs:
        names = [text_of(tensor.name) for tensor in graph.tensors]
        for operator in graph.operators:
            yield (
                op_name(model.operatorCodes[operator.opcodeIndex]),
                [names[index] for index in operator.inputs if index >= 0],
                [names[index] for index in operator.outputs],
            )
