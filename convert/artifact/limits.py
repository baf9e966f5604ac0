"""Scales that TFLite's integer kernels cannot compute with, and do not refuse.

A kernel shifts integers by what the scales of its tensors ask for. Outside of the shifts that it
was written for it returns garbage, returns without writing, or ends the process; only a few check.
Each limit was read in TensorFlow Lite's kernels and then seen in tflite-runtime 2.14, LiteRT 2.3
(default and reference kernels) and TensorFlow Lite Micro. What a kernel checks when it loads is no
limit here: the runtime names it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from edgeward.convert.artifact.locate import locate_ops
from edgeward.convert.artifact.tflite import DTYPES, op_name, parse, text_of

__all__ = ["CELL_STATE", "CELL_STEPS", "LSTM", "BrokenLimit", "broken_limits"]

LSTM = "UNIDIRECTIONAL_SEQUENCE_LSTM"

# Input of the op that is its cell state.
CELL_STATE = 19

# Exponents of the cell state's step: tanh is written for 0 to 6 bits before the binary point of 16.
CELL_STEPS = (-15, -9)

# Exponents of two that the kernels round to; what is further off is no power of two.
_POWER = 1e-3

# The kernel scales differences of logits by 2^26 and ends the process at 1 or below.
_SOFTMAX_LOW = 2.0**-26

# 65,535 steps of 10/65,535 are shifted left in 32 bits: 15 places are the most.
_SOFTMAX_HIGH = 2.0**15 * 10 / 65_535

# Steps are scaled by 2^27 (int8, TFLM) and 3 * 2^43 (int16), which has to leave a multiplier.
_CURVE_INT8, _CURVE_INT16 = 2.0**-28, 2.0**-43 / 3

# Bits by which a sum is shifted left before it is scaled down: with a larger ratio than that of
# step in to step out nothing is left to scale down.
_SUM_BITS = {"int8": 20, "uint8": 20, "int16": 15}

# The same of the difference that is squared.
_SQUARE_BITS = 7

_LEAVE = "--dynamic, whose activations stay float"


@dataclass(frozen=True)
class BrokenLimit:
    """One op whose tensors have scales that its kernel cannot compute with.

    Attributes:
        op: The op.
        layer: Keras layer, where it can be read from the name; else what the name tells.
        tensor: Name of the tensor that the op writes.
        received: What the file has.
        expected: What the kernel needs.
        effect: What the kernel does instead.
        fix: What helps.
        everywhere: Whether a runtime of phones and computers is concerned; else TFLM alone.
    """

    op: str
    layer: str
    tensor: str
    received: str
    expected: str
    effect: str
    fix: str
    everywhere: bool = True

    @property
    def sentence(self) -> str:
        """What is wrong with the file, without the op."""
        return f"{self.received}, where the kernel needs {self.expected}: {self.effect}"


@dataclass(frozen=True)
class _Tensor:
    name: str
    dtype: str
    step: float


@dataclass(frozen=True)
class _Node:
    """An op with the one step of each tensor; 0 where a tensor has none, or one per channel."""

    op: str
    layer: str
    inputs: dict[int, _Tensor]
    output: _Tensor
    options: Any

    def breaks(
        self, *, received: str, expected: str, effect: str, fix: str, everywhere: bool
    ) -> BrokenLimit:
        """Return a limit that this op breaks."""
        return BrokenLimit(
            op=self.op,
            layer=self.layer,
            tensor=self.output.name,
            received=received,
            expected=expected,
            effect=effect,
            fix=fix,
            everywhere=everywhere,
        )


def broken_limits(data: bytes) -> tuple[BrokenLimit, ...]:
    """Return the ops of a TFLite file whose kernels cannot compute with their scales.

    Args:
        data: A TFLite file; one without integer activations has none.

    Raises:
        InvalidModelError: It is no TFLite file.

    >>> [(one.op, one.received) for one in broken_limits(data)]           # doctest: +SKIP
    [('UNIDIRECTIONAL_SEQUENCE_LSTM', 'a cell state in steps of 2^-19')]
    """
    model = parse(data)
    operators = [
        (graph, operator) for graph in model.subgraphs for operator in graph.operators or []
    ]
    nodes = [
        _node(model, graph, operator, located.layer)
        for (graph, operator), located in zip(operators, locate_ops(data), strict=True)
    ]
    return tuple(broken for node in nodes if node.op in _RULES for broken in _RULES[node.op](node))


def _node(model: Any, graph: Any, operator: Any, layer: str) -> _Node:
    inputs = [] if operator.inputs is None else [int(index) for index in operator.inputs]
    outputs = [] if operator.outputs is None else [int(index) for index in operator.outputs]
    return _Node(
        op=op_name(model.operatorCodes[operator.opcodeIndex]),
        layer=layer,
        inputs={i: _tensor(graph.tensors[index]) for i, index in enumerate(inputs) if index >= 0},
        output=_tensor(graph.tensors[outputs[0]]) if outputs else _Tensor("", "", 0.0),
        options=operator.builtinOptions,
    )


def _tensor(tensor: Any) -> _Tensor:
    scale = None if tensor.quantization is None else tensor.quantization.scale
    step = float(scale[0]) if scale is not None and len(scale) == 1 else 0.0
    return _Tensor(text_of(tensor.name), DTYPES[tensor.type], step)


def _lstm(node: _Node) -> Iterator[BrokenLimit]:
    cell = node.inputs.get(CELL_STATE)
    if cell is None or cell.dtype != "int16" or not cell.step > 0:
        return
    power = math.log2(cell.step)
    low, high = CELL_STEPS
    if abs(power - round(power)) > _POWER or not low <= round(power) <= high:
        yield node.breaks(
            received=f"a cell state in steps of {_in_powers(cell.step)}",
            expected=f"a power of two from 2^{low} to 2^{high}",
            effect="it computes no tanh of any other, and every answer is garbage",
            fix=f"convert again, which keeps the step within these; or {_LEAVE}",
            everywhere=True,
        )


def _softmax(node: _Node) -> Iterator[BrokenLimit]:
    logits, beta = node.inputs[0], float(getattr(node.options, "beta", 1.0))
    step = logits.step * beta
    if not step > 0:  # a tensor of floats has none
        return
    received = f"logits in steps of {_in_powers(step)}"
    if logits.dtype in ("int8", "uint8") and step <= _SOFTMAX_LOW:
        yield node.breaks(
            received=received,
            expected="more than 2^-26",
            effect="the reference kernels and those of microcontrollers end the process",
            fix=f"logits that differ from each other; or {_LEAVE}",
            everywhere=True,
        )
    if logits.dtype == "int16" and step >= _SOFTMAX_HIGH:
        yield node.breaks(
            received=received,
            expected=f"less than {_SOFTMAX_HIGH:.3g}",
            effect="it overflows, and the answers are garbage",
            fix="smaller logits (divide them in the model); or int8",
            everywhere=True,
        )


def _curve(node: _Node) -> Iterator[BrokenLimit]:
    """Logistic and tanh."""
    into = node.inputs[0]
    if not into.step > 0:
        return
    received = f"an input in steps of {_in_powers(into.step)}"
    if into.dtype == "int8" and into.step < _CURVE_INT8:
        yield node.breaks(
            received=received,
            expected="at least 2^-28",
            effect="that of microcontrollers gives its largest and smallest answer only",
            fix=f"larger inputs of this layer; or {_LEAVE}",
            everywhere=False,
        )
    if into.dtype == "int16" and into.step < _CURVE_INT16:
        yield node.breaks(
            received=received,
            expected=f"at least {_in_powers(_CURVE_INT16)}",
            effect="its multiplier is 0, and the answers are garbage",
            fix=f"larger inputs of this layer; or {_LEAVE}",
            everywhere=True,
        )


def _sum(node: _Node) -> Iterator[BrokenLimit]:
    """Sums and differences."""
    bits = _SUM_BITS.get(node.output.dtype)
    largest = max((tensor.step for tensor in node.inputs.values()), default=0.0)
    if bits is None or not (largest > 0 and node.output.step > 0):
        return
    if 2 * largest >= 2**bits * node.output.step:
        yield node.breaks(
            received=(
                f"an output in steps of {_in_powers(node.output.step)} from an input in steps of "
                f"{_in_powers(largest)}"
            ),
            expected=f"less than 2^{bits - 1} times as large steps in the input",
            effect="it ends the process, or the answers are garbage",
            fix=f"leave out what cancels to nothing here; or {_LEAVE}",
            everywhere=True,
        )


def _square(node: _Node) -> Iterator[BrokenLimit]:
    """Squared differences."""
    largest = max((tensor.step for tensor in node.inputs.values()), default=0.0)
    if node.output.dtype != "int8" or not (largest > 0 and node.output.step > 0):
        return
    if (2 * largest) ** 2 >= 2 ** (2 * _SQUARE_BITS) * node.output.step:
        yield node.breaks(
            received=(
                f"an output in steps of {_in_powers(node.output.step)} from an input in steps of "
                f"{_in_powers(largest)}"
            ),
            expected="an output in steps of more than "
            f"{_in_powers((2 * largest / 2**_SQUARE_BITS) ** 2)}",
            effect="it ends the process",
            fix=f"leave out the difference, which is next to nothing; or {_LEAVE}",
            everywhere=True,
        )


def _in_powers(step: float) -> str:
    power = math.log2(step)
    return f"2^{round(power)}" if abs(power - round(power)) <= _POWER else f"2^{power:.2f}"


_RULES: dict[str, Callable[[_Node], Iterator[BrokenLimit]]] = {
    LSTM: _lstm,
    "SOFTMAX": _softmax,
    "LOG_SOFTMAX": _softmax,
    "LOGISTIC": _curve,
    "TANH": _curve,
    "ADD": _sum,
    "SUB": _sum,
    "SQUARED_DIFFERENCE": _square,
}
