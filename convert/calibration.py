"""The representative dataset: checked before the converter sees it.

A converter takes any samples without a word: zeros or a wrong range destroy the accuracy, an empty
set silently makes a different model, a NaN is a segmentation fault.
"""

from __future__ import annotations

import numpy as np

from convert.source import Source
from runtime.arrays import Column
from runtime.errors import InvalidDataError
from runtime.preprocessing import preprocess_batch
from runtime.samples import Samples

__all__ = ["DEFAULT_COUNT", "choose_calibration", "suspicions"]

DEFAULT_COUNT = 500
# Fewer samples than this leave the range of an activation to chance.
FEW = 20
# Test inputs that leave the calibrated range by more than this part of it are told.
_BEYOND = 0.05


def choose_calibration(source: Source, count: int = DEFAULT_COUNT) -> Samples:
    """Return the first ``count`` calibration samples, each one checked.

    Raises:
        InvalidDataError: A sample with a value that is not finite, a wrong dtype or a wrong shape;
            names the sample.
    """
    chosen = source.calibration.take(np.arange(min(count, len(source.calibration))))
    for name, spec in source.inputs.items():
        try:
            preprocess_batch(spec, chosen.inputs[name], source.vocabularies)
        except InvalidDataError as error:
            raise InvalidDataError(
                f"The calibration samples ({source.calibration_name}, input {name!r}) cannot be "
                f"used: {error.message}",
                received=error.received,
                expected=error.expected,
                fix="calibrate on raw samples of the training split, as python -m train writes "
                "them",
            ) from None
    return chosen


def suspicions(source: Source, chosen: Samples) -> list[str]:
    """Return what looks wrong with the calibration samples, for the message of a refusal.

    Compares them with the test inputs after preprocessing; decides nothing: the drift gate does.
    """
    found: list[str] = []
    if len(chosen) < FEW:
        found.append(f"there are only {len(chosen)} calibration samples")
    for name, spec in source.inputs.items():
        column = chosen.inputs[name]
        if len(chosen) > 1 and _all_equal(column):
            found.append(f"all {len(chosen)} calibration samples of input {name!r} are the same")
        test = source.test.inputs[name]
        calibrated = preprocess_batch(spec, column, source.vocabularies)
        tested = preprocess_batch(spec, test[:1000], source.vocabularies)
        if calibrated.dtype != np.float32:
            continue
        low, high = float(calibrated.min()), float(calibrated.max())
        test_low, test_high = float(tested.min()), float(tested.max())
        span, test_span = high - low, test_high - test_low
        if span < 0.5 * test_span or span > 2 * test_span:
            found.append(
                f"input {name!r} ranges over {low:.4g}..{high:.4g} in the calibration samples but "
                f"over {test_low:.4g}..{test_high:.4g} in the test samples"
            )
        elif test_low < low - _BEYOND * span or test_high > high + _BEYOND * span:
            found.append(
                f"the test samples of input {name!r} reach {test_low:.4g}..{test_high:.4g}, beyond "
                f"the {low:.4g}..{high:.4g} of the calibration samples: integers clip there; give "
                "calibration samples that reach as far as what the device will see"
            )
    return found


def _all_equal(column: Column) -> bool:
    return all(np.array_equal(column[0], other) for other in column[1:])
