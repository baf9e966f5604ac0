"""How far the outputs of an artifact may differ between runtimes, kernels and processors."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgeward.convert.measure.power import Recorded, blind_spots
from edgeward.convert.measure.records import Parting
from edgeward.runtime.arrays import Array
from edgeward.runtime.artifact import Artifact, Limit
from edgeward.runtime.predictor import Runner
from edgeward.runtime.self_test import FLOAT_LSB, decisions, lsb_difference, margin_lsb

# Shares of an answer's values for which the bundle says by how much they may differ.
_SHARES = (0.001, 0.01, 0.1, 0.5)

__all__ = [
    "Answers",
    "Decided",
    "count_limits",
    "decide_tolerance",
    "elsewhere",
    "largest_difference",
    "tolerance",
]


@dataclass(frozen=True, eq=False)
class Answers:
    """What one kernel set of one runtime answered.

    Attributes:
        backend: Name of the backend.
        runtime: Runtime and version.
        kernels: ``default``, ``no-delegate`` or ``reference``.
        golden: Output name -> answers to the golden inputs, one by one.
        test: Those to the test samples, in batches; None where they were not asked for.
        scaled: Those to the golden inputs after the largest layer was multiplied by 1.25.
    """

    backend: str
    runtime: str
    kernels: str
    golden: dict[str, Array]
    test: dict[str, Array] | None = None
    scaled: Mapping[str, Array] | None = None


@dataclass(frozen=True)
class Decided:
    """The tolerance of an artifact.

    Attributes:
        artifact: The artifact with it.
        notes: What the user should know.
        parting: The two runtimes that lie farthest apart, where the self-test would not notice
            damage even so.
    """

    artifact: Artifact
    notes: tuple[str, ...] = ()
    parting: Parting | None = None


def decide_tolerance(runner: Runner, answers: Sequence[Answers]) -> Decided:
    """Return the tolerance that forgives what was seen, and under which damage is still noticed.

    Args:
        runner: The artifact, without tolerance, in one of its runtimes.
        answers: Of every runtime and kernel set, the runtimes' own (``default``) with test samples.
    """
    unseen = elsewhere(runner.artifact)
    shipping = [a for a in answers if a.kernels == "default"]
    recorded = [Recorded(a.runtime, a.golden, a.scaled) for a in shipping]
    kept = list(answers)
    notes: list[str] = []
    while True:
        candidate = _with(runner, kept, unseen)
        blind = blind_spots(candidate, recorded, unseen)
        if blind:
            # The largest difference alone cannot tell; how many values differ may.
            limits = count_limits(candidate.artifact, kept, unseen)
            candidate.artifact = replace(candidate.artifact, tolerance=limits)
            blind = blind_spots(candidate, recorded, unseen)
        if not blind:
            return Decided(candidate.artifact, tuple(notes))
        others = [a for a in kept if a.kernels != "default"]
        if not others:
            break
        # Kernels that no runtime takes by itself never refuse: the farthest leaves.
        far = max(others, key=lambda a: max(_limit(runner, (a, one)) for one in shipping))
        kept.remove(far)
        notes.append(
            f"the {far.kernels} kernels of {far.runtime} are not within the tolerance of "
            f"{runner.artifact.id}: it would forgive {', and '.join(blind)}"
        )
    # One runtime alone allows what no damage stays below: two there are.
    a, b = max(itertools.combinations(kept, 2), key=lambda pair: _limit(runner, pair))
    runtimes, backends = (a.runtime, b.runtime), (a.backend, b.backend)
    parting = Parting(runtimes, backends, _limit(runner, (a, b)), tuple(blind))
    return Decided(_with(runner, answers, unseen).artifact, parting=parting)


def _with(runner: Runner, answers: Sequence[Answers], unseen: int) -> Runner:
    fresh = copy.copy(runner)
    fresh.artifact = replace(runner.artifact, max_lsb=max(unseen, _limit(runner, answers)))
    return fresh


def count_limits(
    artifact: Artifact, answers: Sequence[Answers], unseen: int
) -> dict[str, tuple[Limit, ...]]:
    """Return how many values of an answer may differ by how much, by what was seen.

    Args:
        artifact: The artifact with its ``max_lsb``.
        answers: What its tolerance forgives.
        unseen: LSB that every tolerance allows.

    Returns:
        Output name -> limits as FORMAT.md, section 8.1, has them; outputs without are left out.
    """
    found: dict[str, tuple[Limit, ...]] = {}
    for tensor in artifact.outputs:
        golden = [a.golden[tensor.name] for a in answers]
        tested = [a.test[tensor.name] for a in answers if a.test is not None]
        # Few runtimes and kernel sets answer the whole split.
        envelope = _envelope(golden)
        envelope = np.maximum(envelope, _envelope(tested)) if tested else envelope
        size = len(envelope)
        counts = {math.ceil(size * share) for share in _SHARES}
        limits: list[Limit] = []
        for values in sorted((n for n in counts if n < size), reverse=True):
            lsb = max(unseen, int(envelope[values]))
            if limits and limits[-1].lsb == lsb:
                limits.pop()  # fewer values by no more: the stricter one says both
            if lsb < artifact.max_lsb:
                limits.append(Limit(lsb, values))
        if limits:
            found[tensor.name] = tuple(limits)
    return found


def _envelope(outputs: Sequence[Array]) -> Array:
    """Return the largest, second largest, ... difference in any answer of any two: int64 ``[N]``.

    Args:
        outputs: The same output of several kernel sets, ``[V, ...]``, at least one answer each.
    """
    first = outputs[0]
    envelope = np.zeros(first[0].size, np.int64)
    for reference, other in itertools.permutations(outputs, 2):
        apart = lsb_difference(other, reference).reshape(len(first), -1)
        for answer in apart:  # one by one: sorting a whole split would need its memory again
            np.maximum(envelope, np.sort(answer)[::-1], out=envelope)
    return envelope


def _limit(runner: Runner, answers: Sequence[Answers]) -> int:
    tested = [a.test for a in answers if a.test is not None]
    return max(tolerance(runner, tested), tolerance(runner, [a.golden for a in answers]))


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
