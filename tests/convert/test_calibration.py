"""What looks wrong with calibration samples is told, and good ones are not accused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from convert.calibration import choose_calibration, suspicions
from convert.source import Source, open_source
from runtime.samples import Samples


@pytest.fixture(scope="module")
def source(run: Path) -> Source:
    return open_source(run)


def doubts(source: Source, change: Callable[[np.ndarray], np.ndarray]) -> str:
    good = choose_calibration(source)
    images = change(np.asarray(good.inputs["image"])).astype(np.uint8)
    return "; ".join(suspicions(source, Samples({"image": images}, {})))


def test_samples_of_the_training_split_are_not_suspicious(source: Source) -> None:
    assert doubts(source, lambda images: images) == ""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda images: images * 0, "are the same"),
        (lambda images: images // 100, "ranges over"),
        (lambda images: images[:5], "only 5 calibration samples"),
        # A fifth of the range is missing: too little for the ratio, enough to clip.
        (lambda images: np.minimum(images, 200), "integers clip there"),
    ],
)
def test_samples_that_cannot_calibrate_are_told(
    source: Source, change: Callable[[np.ndarray], np.ndarray], said: str
) -> None:
    assert said in doubts(source, change)
