"""How far the outputs of an artifact may differ between runtimes, kernels and processors."""

from __future__ import annotations

import itertools
import math

from edgeward.runtime.arrays import Array
from edgeward.runtime.artifact import Artifact
from edgeward.runtime.predictor import Runner
from edgeward.runtime.self_test import FLOAT_LSB, decisions, lsb_difference, margin_lsb

__all__ = ["elsewhere", "largest_difference", "tolerance"]


def largest_difference(outputs: list[dict[str, Array]]) -> int:
    """Return the largest difference in LSB between any two of the outputs.

    A device is compared with its own runtime where that was measured: two of them may lie on
    different sides of the first.
    """
    return max(
        (
            int(lsb_difference(other[name], reference[name]).max(initial=0))
            for reference, other in itertools.permutations(outputs, 2)
            for name in reference
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
        decided = [decisions(runner, name, values[name]) for values in outputs]
        margins = [margin_lsb(runner, name, spec, values[name]) for values in outputs]
        for i, j in itertools.permutations(range(len(outputs)), 2):
            flipped = decided[i] != decided[j]
            seen = max(seen, math.ceil(margins[i][flipped].max(initial=0)))
    return seen


def elsewhere(artifact: Artifact) -> int:
    """Return what the kernels of another processor may differ by, however alike they are here.

    One step of int8, 32 of int16 (an eighth of a step of int8; 31 were seen between versions of
    TFLite); 8 of the last bits of floats (5 were seen on emulated ARM: docs/devices.md); where
    floats come from int8 values one step of those, since a value on the edge of a step may fall to
    the other side: 2 / 255 of the largest one.
    """
    dtypes = {tensor.dtype for tensor in artifact.outputs}
    if "float32" not in dtypes:
        return 32 if "int16" in dtypes else 1
    return 8 if artifact.variant in ("fp32", "fp16") else math.ceil(2 / 255 / FLOAT_LSB)
