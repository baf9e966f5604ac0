"""The representative dataset: checked before the converter sees it.

A converter takes any samples without a word: zeros or a wrong range destroy the accuracy, an empty
set silently makes a different model, a NaN is a segmentation fault.
"""

from __future__ import annotations

import numpy as np

from edgeward.convert.samples.check import check_samples
from edgeward.convert.samples.leakage import find_leakage
from edgeward.convert.source.source import Source
from edgeward.runtime.samples import Samples

__all__ = ["DEFAULT_COUNT", "choose_calibration"]

DEFAULT_COUNT = 500


def choose_calibration(source: Source, count: int = DEFAULT_COUNT) -> Samples:
    """Return the first ``count`` calibration samples; all that there are have been checked.

    Raises:
        InvalidDataError: A sample with a value that is not finite, a wrong dtype or a wrong shape,
            named; or too many of the samples are test samples too.
    """
    # All of them, although ``count`` calibrate now: repair may calibrate with more.
    check_samples(
        source,
        Samples(source.calibration.inputs),
        f"calibration samples ({source.calibration_name})",
        fix="calibrate on raw samples of the training split, as python -m train writes them",
    )
    find_leakage(source)
    return source.calibration.take(np.arange(min(count, len(source.calibration))))
