"""The representative dataset: checked before the converter sees it.

A converter takes any samples without a word: zeros or a wrong range destroy the accuracy, an empty
set silently makes a different model, a NaN is a segmentation fault.
"""

from __future__ import annotations

import numpy as np

from convert.leakage import find_leakage
from convert.source import Source
from convert.suspicion import suspect_channels, suspect_classes, suspect_input
from convert.usable import check_samples
from runtime.arrays import Array, Column
from runtime.preprocessing import preprocess_batch
from runtime.samples import Samples

__all__ = ["DEFAULT_COUNT", "choose_calibration", "suspicions"]

DEFAULT_COUNT = 500
# Fewer samples than this leave the range of an activation to chance.
FEW = 20
# Statistics of the test samples need no more numbers than these.
_ENOUGH = 1000
_ENOUGH_NUMBERS = 5 * 10**7


def choose_calibration(source: Source, count: int = DEFAULT_COUNT) -> Samples:
    """Return the first ``count`` calibration samples; all that there are have been checked.

    Raises:
        InvalidDataError: A sample with a value that is not finite, a wrong dtype or a wrong shape,
            named; or too many of the samples are test samples too.
    """
    # All of them, although ``count`` calibrate now: repair may calibrate with more.
    check_samples(
        *(source, Samples(source.calibration.inputs)),
        f"calibration samples ({source.calibration_name})",
        fix="calibrate on raw samples of the training split, as python -m train writes them",
    )
    find_leakage(source)
    return source.calibration.take(np.arange(min(count, len(source.calibration))))


def suspicions(source: Source, chosen: Samples) -> list[str]:
    """Return what looks wrong with the calibration samples, for the message of a refusal.

    Compares them with the test samples after preprocessing; decides nothing: the drift gate does.
    """
    found: list[str] = []
    leakage = find_leakage(source)
    if leakage.indices:
        found += leakage.notes
    if len(chosen) < FEW:
        found.append(
            f"there are only {len(chosen)} calibration samples: a few hundred show the range of "
            "every activation"
        )
    test = source.test.take(_spread(len(source.test), _ENOUGH))
    classes = [
        suspect_classes(name, chosen.targets[name], source.test.targets[name])
        for name, spec in source.outputs.items()
        if spec.task in ("classification", "binary")
        and name in chosen.targets
        and name in source.test.targets
    ]
    found += filter(None, classes)
    for name, spec in source.inputs.items():
        column = chosen.inputs[name]
        if len(chosen) > 1 and _all_equal(column):
            found.append(f"all {len(chosen)} calibration samples of input {name!r} are the same")
        order = _channels(name, column, test.inputs[name])
        if order:
            found.append(order)
            continue
        calibrated = preprocess_batch(spec, column, source.vocabularies)
        size = max(1, calibrated[0].size)
        few = test.take(_spread(len(test), max(FEW, _ENOUGH_NUMBERS // size)))
        tested = preprocess_batch(spec, few.inputs[name], source.vocabularies)
        # Ids of tokens are no quantities. Images of one image in another size cannot be compared.
        if calibrated.dtype.kind != "i" and calibrated.shape[1:] == tested.shape[1:]:
            doubt = suspect_input(name, calibrated, tested, only_range=any(classes))
            found += [doubt] if doubt else []
    return found


def _channels(name: str, column: Column, tested: Column) -> str:
    if not isinstance(column, np.ndarray) or not isinstance(tested, np.ndarray):
        return ""
    # Ids of tokens are no quantities.
    return "" if column.dtype.kind == "i" else suspect_channels(name, column, tested)


def _spread(count: int, most: int) -> Array:
    """Return up to ``most`` indices all over the samples, which may be sorted by class."""
    return np.linspace(0, count - 1, min(count, most)).astype(np.int64)


def _all_equal(column: Column) -> bool:
    return all(np.array_equal(column[0], other) for other in column[1:])
