"""The app's answers against Python's, byte for byte."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgeward.runtime.arrays import Array
from edgeward.runtime.errors import InvalidDataError
from edgeward.runtime.tasks import Decoded
from scripts.android.jvm import array
from scripts.android.recording import Answer

__all__ = ["Difference", "compare", "ulps"]


@dataclass
class Difference:
    """What differs between answers of the app and Python's.

    Attributes:
        values: Decoded values compared.
        differing: Those that differ bit for bit, or for which the app gave nothing.
        ulps: Largest difference of decoded values, in units of the last place.
        flips: Samples whose class or label differs.
        tensors: Samples for which the interpreter was handed other bytes.
        problems: What cannot be said in values: a sample refused on one side alone, a shape.
    """

    values: int = 0
    differing: int = 0
    ulps: int = 0
    flips: int = 0
    tensors: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def none(self) -> bool:
        """Nothing differs at all."""
        return not (self.differing or self.flips or self.tensors or self.problems)


def compare(answers: Sequence[Mapping[str, Any]], wanted: Sequence[Answer]) -> Difference:
    """Compare sample by sample: tensors handed over, decoded values, class, label and score.

    Args:
        answers: The app's, to the cases of ``recording.answering``.
        wanted: Python's.
    """
    found = Difference()
    if len(answers) != len(wanted):
        found.problems.append(f"{len(answers)} answers to {len(wanted)} samples")
    for i, (answer, python) in enumerate(zip(answers, wanted, strict=False)):
        problem = _one(found, answer, python)
        if problem:
            found.problems.append(f"sample {i}: {problem}")
    return found


def _one(found: Difference, answer: Mapping[str, Any], python: Answer) -> str:
    size = sum(output.values.size for output in python.outputs.values())
    found.values += size
    if "error" in answer:
        if python.refused and answer["error"] == "InvalidDataException":
            return ""
        found.differing += size
        return str(answer["message"])
    if python.refused:
        return f"answered, and Python refuses it: {python.refused}"
    found.tensors += answer["handed"] != python.handed
    if set(answer["outputs"]) != set(python.outputs):
        found.differing += size
        return f"outputs {sorted(answer['outputs'])}"
    said = [_output(found, answer["outputs"][name], o) for name, o in python.outputs.items()]
    return ", ".join(filter(None, said))


def _output(found: Difference, answer: dict[str, Any], python: Decoded) -> str:
    wanted = np.ascontiguousarray(python.values, np.float32)
    have = array(answer)
    if (have.dtype, have.shape) != (wanted.dtype, (1, *wanted.shape)):
        found.differing += wanted.size
        return f"values are {have.dtype} {list(have.shape)}"
    have = have[0]
    differing = int(np.count_nonzero(have.view(np.int32) != wanted.view(np.int32)))
    found.differing += differing
    index = -1 if python.index is None else python.index
    found.flips += (answer["index"], answer["label"]) != (index, python.label)
    # The score is one of the values, so that it differs where they do and nowhere else.
    scores = np.array([answer["score"], python.score or 0], np.float32)
    found.ulps = max(found.ulps, ulps(have, wanted), ulps(scores[:1], scores[1:]))
    alone = not differing and answer["score"] != (python.score or 0)
    return f"score {answer['score']}, Python {python.score}" if alone else ""


def ulps(a: Array, b: Array) -> int:
    """Return the largest distance of two float32 arrays in units of the last place.

    Denormal numbers count as 0: numpy's own exp is coarse there.

    Raises:
        InvalidDataError: Not float32, or not the same shape.
    """
    if (a.dtype, a.shape) != (b.dtype, b.shape) or a.dtype != np.float32:
        raise InvalidDataError("Only float32 of one shape has such a distance.")
    places = [_places(np.ascontiguousarray(values)) for values in (a, b)]
    return int(np.abs(places[0] - places[1]).max(initial=0))


def _places(values: Array) -> Array:
    bits = values.view(np.uint32).astype(np.int64)
    size = np.maximum(bits & 0x7FFFFFFF, 0x00800000) - 0x00800000
    return np.where(bits >> 31, -size, size)
