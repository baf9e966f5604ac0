"""Samples of the test split that calibration or repair have seen, and of what chooses a repair.

An artifact is made to fit what it was calibrated on, and a repair is chosen by the validation
samples; judged by the same samples it would look better than it is. So would a repair that is
chosen by what it was calibrated on. What is compared are the raw bytes of all inputs of a sample
together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgeward.convert.source.source import Source
from edgeward.runtime.arrays import Array, Floats
from edgeward.runtime.errors import InvalidDataError
from edgeward.runtime.samples import Samples

__all__ = ["Leakage", "find_leakage", "without_leaked"]

# Chance repeats a few samples (a short sentence, a row of a table); more is a mistake in the split.
FEW = 0.05

# Where test samples repeat each other as often, the inputs can take few values only.
_REPEATS = 2.0

_SHOWN = 5

_FIX = (
    "split the data before anything else; calibrate on samples of the training split alone, and "
    "remove duplicates"
)
_FIX_DISCRETE = (
    "these inputs are whole numbers (ids, categories), which may repeat by nature; then split by "
    "distinct input (np.unique(x, axis=0)), or leave what recurs out of the calibration and the "
    "validation samples. Else split the data before anything else"
)
# More whole numbers in a sample are an image or a text, and those do not repeat by nature.
_MOST_DISCRETE = 64


@dataclass(frozen=True)
class Leakage:
    """Samples that are found elsewhere too.

    Attributes:
        indices: Test samples that must not judge, sorted.
        notes: What to tell, one for each place.
        choosing: Validation samples that must not choose a repair, sorted.
    """

    indices: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()
    choosing: tuple[int, ...] = ()


def find_leakage(source: Source) -> Leakage:
    """Look for test samples among the calibration and the validation samples, and for the latter.

    Without targets nothing is judged, and nothing is looked for; validation samples without the
    targets of the test choose nothing.

    Raises:
        InvalidDataError: There are too many to go on without them.
    """
    if not source.test.targets:
        return Leakage()
    test = _Split("test", "the drift", source.test, source.test_digests)
    calibrating = f"calibration samples ({source.calibration_name})"
    calibration = source.calibration_digests
    notes: list[str] = []
    leaked = {*test.shared_with(calibrating, calibration, notes)}
    choosing: list[int] = []
    file = source.validation_file
    validation = source.validation() if file is not None and file.exists() else None
    if file is not None and validation is not None:
        digests = source.validation_digests
        leaked |= {*test.shared_with(f"validation samples ({file.name})", digests, notes)}
        if set(source.test.targets) <= set(validation.targets):
            split = _Split("validation", "what a repair is chosen by", validation, digests)
            choosing = split.shared_with(calibrating, calibration, notes)
    return Leakage(tuple(sorted(leaked)), tuple(notes), tuple(choosing))


@dataclass(frozen=True)
class _Split:
    """Samples that nothing else should have seen.

    Attributes:
        name: ``test`` or ``validation``.
        use: What its samples are for, and what some of them may be left out of.
        samples: The samples themselves.
        digests: A hash of each.
    """

    name: str
    use: str
    samples: Samples
    digests: Sequence[bytes]

    def shared_with(self, where: str, others: Sequence[bytes], notes: list[str]) -> list[int]:
        """Return which of these samples must not be used, because others are the same.

        Args:
            where: What the others are, for messages.
            others: A hash of each of them.
            notes: Gets what to tell.

        Raises:
            InvalidDataError: They are too many.
        """
        known, total = set(others), len(self.digests)
        shared = [i for i, digest in enumerate(self.digests) if digest in known]
        if not shared:
            return []
        count = f"{len(shared):,} of {total:,} {self.name} samples"
        more = ", ..." if len(shared) > _SHOWN else ""
        shown = f"{self.name} samples {', '.join(str(i) for i in shared[:_SHOWN])}{more}"
        if len(shared) <= FEW * total:
            notes.append(f"{count} among the {where}: {shown}; they are left out of {self.use}")
            return shared
        if len(shared) <= _REPEATS * _repeated(self.digests):
            # Such inputs meet again by nature, and without them only the rare ones would be left.
            notes.append(
                f"{count} among the {where}: {shown}; {self.name} samples repeat each other as "
                "often, so they are kept: inputs of few values repeat by nature"
            )
            return []
        discrete = _is_discrete(self.samples)
        if discrete and len(shared) <= _REPEATS * _expected(others, total):
            notes.append(
                f"{count} among the {where}: {shown}; the {where} repeat each other as often, so "
                "they are kept: whole numbers (ids, categories) repeat by nature"
            )
            return []
        raise InvalidDataError(
            f"{self.name.capitalize()} samples are found among the {where}.",
            received=f"{count}: {shown}",
            expected=f"none; up to {FEW:.0%} would be left out",
            fix=_FIX_DISCRETE if discrete else _FIX,
        )


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


def _is_discrete(samples: Samples) -> bool:
    """Tell whether the inputs are few whole numbers each, as ids and categories are."""
    columns = list(samples.inputs.values())
    if not all(isinstance(column, np.ndarray) for column in columns):
        return False
    arrays = [np.asarray(column).reshape(len(samples), -1) for column in columns]
    if sum(array.shape[1] for array in arrays) > _MOST_DISCRETE:
        return False
    return all(bool((array == np.floor(array)).all()) for array in arrays)


def _expected(digests: Sequence[bytes], count: int) -> float:
    """Return how many of ``count`` more samples of the same kind would be found among these.

    It is the share of these that are found among the others of them: had both been drawn from one
    source, that is what to expect.
    """
    return _repeated(digests) / len(digests) * count


def _repeated(digests: Sequence[bytes]) -> int:
    """Return how many samples have a twin among the others."""
    return sum(times for times in Counter(digests).values() if times > 1)
