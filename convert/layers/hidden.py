"""Ops that lose the signal unseen: what the file alone says about them.

No runtime shows the inside of a fused LSTM, and the steps of an unrolled one have no counterpart in
the float twin, whose LSTM is a loop.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from edgeward.convert.artifact.limits import LSTM, broken_limits
from edgeward.convert.artifact.locate import locate_ops
from edgeward.convert.artifact.tflite import read_nodes
from edgeward.convert.layers.probe import Probe

__all__ = ["Hidden", "hidden_ops"]

# Exponent of the steps in which the integer LSTM holds the sums of its gates, whatever the file
# says, and what is few of them: a state this small comes from sums this small.
_GATES = -12

# The same of the answers of an int8 tanh.
_TANH = -7

_FEW = 64

_LSTM_COARSE = (
    "its state is too small for int8: its output stays within {reach:.2g}, {steps} of the steps of "
    "2^{exponent} that the op has for the sums of its gates; how to fix: --fallback, which leaves "
    "int8"
)
_TANH_COARSE = (
    "its values are too small for int8: they stay within {reach:.2g}, {steps} of the steps of "
    "2^{exponent} that TFLite gives the answers of a tanh; how to fix: --fallback, which leaves "
    "int8"
)

# What an LSTM is in the float twin, where the converter has not fused it.
_LOOPS = ("WHILE", LSTM)


@dataclass(frozen=True)
class Hidden:
    """An op that may lose the signal unseen.

    Attributes:
        op: The op.
        layer: Its layer, under the name that the float twin has for it.
        broken: Why its kernel cannot compute with the file's scales; mostly empty.
        coarse: Why the steps inside it are too coarse; mostly empty.
        steps: How many of them its values reach over, where they are too coarse.
    """

    op: str
    layer: str
    broken: str
    coarse: str = ""
    steps: int = _FEW


def hidden_ops(data: bytes, twin: bytes, probe: Probe) -> dict[str, Hidden]:
    """Find what may lose the signal unseen: fused LSTMs, a tanh of small values, broken limits.

    Args:
        data: A TFLite file.
        twin: Its float32 twin.
        probe: The same file as ``data``, for what its tensors can hold.

    Returns:
        Name of the tensor that the op writes -> op.
    """
    broken = {one.tensor: one for one in reversed(broken_limits(data))}
    found = {
        name: Hidden(one.op, one.layer, f"{one.sentence}; how to fix: {one.fix}")
        for name, one in broken.items()
    }
    loops = {one.layer for one in locate_ops(twin) if one.op in _LOOPS and not one.subgraph}
    for node, located in zip(read_nodes(data), locate_ops(data), strict=True):
        if node.op not in (LSTM, "TANH"):
            continue
        name, layer = node.outputs[0].name, located.layer
        why = found[name].broken if name in found else ""
        if node.op == LSTM:
            layer = next(iter(loops)) if len(loops) == 1 else layer
            reach = _reach(probe, name)
            steps = _steps(reach, _GATES)
            coarse = _LSTM_COARSE.format(reach=reach, steps=steps, exponent=_GATES)
        else:
            reach = _reach(probe, node.inputs[0].name)
            steps = _steps(2 * reach, _TANH) if node.outputs[0].dtype == "int8" else _FEW
            coarse = _TANH_COARSE.format(reach=reach, steps=steps, exponent=_TANH)
        if node.op == LSTM or steps < _FEW:
            found[name] = Hidden(node.op, layer, why, coarse if steps < _FEW else "", steps)
    return found


def _steps(reach: float, exponent: int) -> int:
    """Return over how many steps of a power of two values reach; no more than is few."""
    return math.ceil(min(math.ldexp(reach, -exponent), _FEW))


def _reach(probe: Probe, name: str) -> float:
    """Return the largest value that a tensor can hold; infinity for one of floats."""
    value = probe.values.get(name)
    if value is None or value.grid is None:
        return math.inf
    return max(abs(value.grid.low), abs(value.grid.high))
