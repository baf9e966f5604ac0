"""Samples of the test split that calibration or repair have seen.

An artifact is made to fit what it was calibrated on, and a repair is chosen by the validation
samples; judged by the same samples it would look better than it is. What is compared are the raw
bytes of all inputs of a sample together.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from edgeward.convert.source.source import Source
from edgeward.runtime.arrays import Array, Floats
from edgeward.runtime.errors import InvalidDataError
from edgeward.runtime.samples import Samples

__all__ = ["Leakage", "find_leakage", "sample_digests", "without_leaked"]

# Chance repeats a few samples (a short sentence, a row of a table); more is a mistake in the split.
FEW = 0.05

# Where test samples repeat each other as often, the inputs can take few values only.
_REPEATS = 2.0

_SHOWN = 5


@dataclass(frozen=True)
class Leakage:
    """Test samples that are found elsewhere too.

    Attributes:
        indices: Those that must not judge, sorted.
        notes: What to tell, one for each place.
    """

    indices: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()


def find_leakage(source: Source) -> Leakage:
    """Look for test samples among the calibration and the validation samples.

    Without targets nothing is judged, and nothing is looked for.

    Raises:
        InvalidDataError: There are too many to go on without them.
    """
    if not source.test.targets:
        return Leakage()
    mine = sample_digests(source.test)
    others = {f"calibration samples ({source.calibration_name})": source.calibration}
    if source.validation_file is not None and source.validation_file.exists():
        validation = source.validation()
        if validation is not None:
            others[f"validation samples ({source.validation_file.name})"] = validation
    leaked: set[int] = set()
    notes: list[str] = []
    for where, samples in others.items():
        known = set(sample_digests(samples))
        found = [i for i, digest in enumerate(mine) if digest in known]
        if not found:
            continue
        said = f"{_count(found, len(mine))} among the {where}: {_show(found)}"
        if len(found) <= FEW * len(mine):
            leaked.update(found)
            notes.append(f"{said}; they are left out of the drift")
        elif len(found) <= _REPEATS * _repeated(mine):
            # Such inputs meet again by nature, and without them only the rare ones would judge.
            notes.append(
                f"{said}; test samples repeat each other as often, so they are kept: inputs of "
                "few values repeat by nature"
            )
        else:
            raise InvalidDataError(
                f"Test samples are found among the {where}.",
                received=f"{_count(found, len(mine))}: {_show(found)}",
                expected=f"none; up to {FEW:.0%} would be left out",
                fix="split the data before anything else; calibrate on samples of the training "
                "split alone, and remove duplicates",
            )
    return Leakage(tuple(sorted(leaked)), tuple(notes))


def without_leaked(
    source: Source, values: Mapping[str, Floats]
) -> tuple[Source, dict[str, Floats], list[str]]:
    """Take out of the test split what leaked, to judge artifacts by the rest.

    Args:
        source: The source; its whole test split is for reproducing the metric of training.
        values: Output name -> the float model's values on the test split.

    Returns:
        Source and values without the leaked samples, and what to tell.

    Raises:
        InvalidDataError: Too many leaked.
    """
    leakage = find_leakage(source)
    if not leakage.indices:
        return source, dict(values), list(leakage.notes)
    kept: Array = np.delete(np.arange(len(source.test)), leakage.indices)
    clean = replace(source, test=source.test.take(kept))
    return clean, {name: array[kept] for name, array in values.items()}, list(leakage.notes)


def sample_digests(samples: Samples) -> list[bytes]:
    """Return a hash of each sample: of the raw bytes of all its inputs, not of its targets."""
    return [
        hashlib.blake2b(b"".join(_bytes(column[i]) for column in samples.inputs.values())).digest()
        for i in range(len(samples))
    ]


def _bytes(value: Array | bytes) -> bytes:
    data = value if isinstance(value, bytes) else np.ascontiguousarray(value).tobytes()
    # The length first: two texts are not the same as two others cut elsewhere.
    return len(data).to_bytes(8, "little") + data


def _repeated(digests: list[bytes]) -> int:
    """Return how many samples have a twin among the others."""
    return sum(times for times in Counter(digests).values() if times > 1)


def _count(found: list[int], total: int) -> str:
    return f"{len(found):,} of {total:,} test samples"


def _show(found: list[int]) -> str:
    more = ", ..." if len(found) > _SHOWN else ""
    return f"test samples {', '.join(str(i) for i in found[:_SHOWN])}{more}"
