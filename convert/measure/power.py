"""What the self-test of an artifact can tell from its right answers.

A tolerance that is wide enough for every kernel may be wide enough for everything. So before an
artifact is bundled, its self-test is given answers that are wrong on purpose; what it does not call
*wrong* is named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgeward.runtime.arrays import Array
from edgeward.runtime.predictor import Runner
from edgeward.runtime.self_test import compare

__all__ = ["SCALED", "Recorded", "blind_spots"]

# What the weights of the largest layer are multiplied by.
SCALED = 1.25

# Of the pairs of inputs whose answers differ, the share whose exchange has to be noticed. Not all
# of them: half of the inputs are those with the smallest margin, whose answers are nearly alike.
_PAIRS = 0.5


@dataclass(frozen=True)
class Recorded:
    """What one runtime answered to the golden inputs.

    Attributes:
        runtime: Runtime and version.
        outputs: Output name -> ``[V, ...]``, before dequantisation.
        scaled: The same after the weights of the largest layer were multiplied by 1.25; None where
            the file has none, or does not run any more.
    """

    runtime: str
    outputs: Mapping[str, Array]
    scaled: Mapping[str, Array] | None = None


def blind_spots(runner: Runner, recorded: Sequence[Recorded], unseen: int) -> list[str]:
    """Return the damage that the self-test would not notice, in words; empty where it sees all.

    Args:
        runner: The artifact with the tolerance in question.
        recorded: The answers of each runtime; every one of them may be what a device is compared
            with.
        unseen: LSB that every tolerance allows, for processors that nobody measured. An answer
            that differs by no more is no other answer.
    """
    found = (spot for one in recorded for spot in _blind_spots(runner, one, unseen))
    return list(dict.fromkeys(found))


def _blind_spots(runner: Runner, recorded: Recorded, unseen: int) -> Iterator[str]:
    expected = recorded.outputs
    count = len(next(iter(expected.values())))
    # other[i, j], told[i, j]: the answer to j is another one than that to i, and is called wrong.
    other, told = np.zeros((2, count, count), bool)
    rows = np.arange(count)
    moved_unnoticed = False
    for shift in range(1, count):
        moved = {name: np.roll(array, -shift, axis=0) for name, array in expected.items()}
        seen = compare(runner, moved, expected)
        others = (rows + shift) % count
        other[rows, others], told[rows, others] = seen.lsb > unseen, seen.wrong
        moved_unnoticed |= bool((seen.lsb > unseen).any() and not seen.wrong.any())
    stuck = other.any(axis=0) & ~told.any(axis=0)
    if stuck.any() or any(
        _unnoticed(runner, constant, expected, unseen) for constant in _constants(runner, expected)
    ):
        yield "the same answer to every input"
    pairs = np.triu(other | other.T)
    noticed = pairs & (told | told.T)
    if moved_unnoticed or np.count_nonzero(noticed) < _PAIRS * np.count_nonzero(pairs):
        yield "the answers to other inputs"
    if recorded.scaled is not None and _unnoticed(runner, recorded.scaled, expected, unseen):
        yield f"the answers after the weights of the largest layer were multiplied by {SCALED}"


def _unnoticed(
    runner: Runner, found: Mapping[str, Array], expected: Mapping[str, Array], unseen: int
) -> bool:
    seen = compare(runner, found, expected)
    return bool((seen.lsb > unseen).any() and not seen.wrong.any())


def _constants(runner: Runner, expected: Mapping[str, Array]) -> Iterator[dict[str, Array]]:
    """Yield answers that do not depend on the input, and that a wide tolerance may forgive.

    The middle between the extremes is nearest to all answers at once, the median to most of them;
    zeros are what a kernel gives that computes nothing.
    """
    outputs = runner.artifact.outputs
    zeros = {tensor.name: np.array(tensor.zero_point or 0) for tensor in outputs}
    for constants in (_each(_middle, expected), _each(_median, expected), zeros):
        yield {
            name: np.broadcast_to(constants[name], array.shape).astype(array.dtype)
            for name, array in expected.items()
        }


def _each(average: Callable[[Array], Array], expected: Mapping[str, Array]) -> dict[str, Array]:
    return {name: average(array.astype(np.float64)) for name, array in expected.items()}


def _middle(answers: Array) -> Array:
    with np.errstate(invalid="ignore"):  # inf - inf
        return np.asarray((answers.max(axis=0) + answers.min(axis=0)) / 2)


def _median(answers: Array) -> Array:
    return np.asarray(np.median(answers, axis=0))
