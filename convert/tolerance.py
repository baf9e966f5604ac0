"""How far the outputs of an artifact may differ between runtimes, kernels and processors."""

from __future__ import annotations

import math

from runtime.arrays import Array
from runtime.artifact import Artifact
from runtime.predictor import Runner
from runtime.selftest import FLOAT_LSB, decisions, lsb_difference, margin_lsb

__all__ = ["elsewhere", "largest_difference", "tolerance"]


def largest_difference(outputs: list[dict[str, Array]]) -> int:
    """Return the largest difference in LSB between the first of the outputs and the others."""
    first = outputs[0]
    return max(
        (
            int(lsb_difference(other[name], first[name]).max(initial=0))
            for other in outputs[1:]
            for name in first
        ),
        default=0,
    )


def tolerance(runner: Runner, outputs: list[dict[str, Array]]) -> int:
    """Return the smallest ``max_lsb`` under which the self-test forgives these outputs.

    Two values that move towards each other tip a decision over whose margin is above the difference
    of each.
    """
    seen = largest_difference(outputs)
    for name, spec in runner.outputs.items():
        if spec.task not in ("classification", "binary"):
            continue
        first = outputs[0][name]
        margins = margin_lsb(runner, name, spec, first)
        for other in outputs[1:]:
            flipped = decisions(runner, name, first) != decisions(runner, name, other[name])
            seen = max(seen, math.ceil(margins[flipped].max(initial=0)))
    return seen


def elsewhere(artifact: Artifact) -> int:
    """Return what the kernels of another processor may differ by, however alike they are here.

    One step of integers; 8 of the last bits of floats (5 were seen on emulated ARM:
    docs/devices.md); where floats come from int8 values one step of those, since a value on the
    edge of a step may fall to the other side: 2 / 255 of the largest one.
    """
    if not any(tensor.dtype == "float32" for tensor in artifact.outputs):
        return 1
    return 8 if artifact.variant in ("fp32", "fp16") else math.ceil(2 / 255 / FLOAT_LSB)
