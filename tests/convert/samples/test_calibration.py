"""What looks wrong with calibration samples is told, and good ones are not accused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgeward.convert.samples.calibration import choose_calibration
from edgeward.convert.samples.suspicion import (
    suspect_channels,
    suspect_classes,
    suspect_input,
    suspicions,
)
from edgeward.convert.source.open import open_source
from edgeward.convert.source.source import Source
from edgeward.runtime.samples import Samples


@pytest.fixture(scope="module")
def source(run: Path) -> Source:
    return open_source(run)


def doubts(source: Source, change: Callable[[np.ndarray], np.ndarray]) -> str:
    good = choose_calibration(source)
    images = change(np.asarray(good.inputs["image"])).astype(np.uint8)
    return "; ".join(suspicions(source, Samples({"image": images}, {}), []))


def test_samples_of_the_training_split_are_not_suspicious(source: Source) -> None:
    assert doubts(source, lambda images: images) == ""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda images: images * 0, "are the same"),
        (lambda images: images * 0, "0..0 in the calibration samples"),
        (lambda images: images // 100, "ranges over"),
        (lambda images: images // 100, "divided by 100 once more"),
        (lambda images: images // 255, "divided by 255 once more"),
        (lambda images: images // 3, "in the unit of the test samples"),
        (lambda images: images[:5], "only 5 calibration samples"),
        # A fifth of the range is missing: too little for the ratio, enough to clip.
        (lambda images: np.minimum(images, 200), "integers clip there"),
        (lambda images: images.swapaxes(1, 2), "transposed (height and width exchanged)"),
        (lambda images: np.rot90(images, axes=(1, 2)), "turned by"),
    ],
)
def test_samples_that_cannot_calibrate_are_told(
    source: Source, change: Callable[[np.ndarray], np.ndarray], said: str
) -> None:
    assert said in doubts(source, change)


def test_classes_that_are_missing_are_named(source: Source) -> None:
    good = choose_calibration(source)
    digits = good.targets["digit"]
    three = good.take(np.flatnonzero(np.isin(digits, (2, 5, 7))))
    (said,) = suspicions(source, three, [])
    assert "of class 2, 5, 7 of 'digit' only" in said
    assert suspicions(source, good, []) == []
    # By chance a few samples miss a few classes.
    assert suspicions(source, good.take(range(21)), []) == []
    assert suspect_classes("digit", np.arange(6).repeat(20), np.arange(10)) == ""


def test_samples_of_one_class_are_told_without_targets_too(source: Source) -> None:
    good = choose_calibration(source)
    ones = np.asarray(good.inputs["image"])[good.targets["digit"] == 1]
    assert "of one class only" in doubts(source, lambda images: ones)


RANDOM = np.random.default_rng(3)
MEANS = np.array([5.0, 1.0, -3.0, 40.0])


def columns(count: int) -> np.ndarray:
    return (MEANS + RANDOM.normal(size=(count, 4)) * [1, 2, 3, 4]).astype(np.float32)


def test_columns_of_a_table_in_another_order_are_told() -> None:
    test = columns(300)
    assert suspect_channels("t", columns(100), test) == ""
    said = suspect_channels("t", columns(100)[:, [1, 0, 2, 3]], test)
    assert "the columns of input 't'" in said
    assert "1 -> 0, 0 -> 1 would fit" in said


def test_channels_that_look_alike_are_not_accused() -> None:
    alike = RANDOM.uniform(size=(2, 200, 8, 8, 3)).astype(np.float32)
    assert suspect_channels("i", alike[0][..., ::-1], alike[1]) == ""
    assert suspect_input("i", alike[0], alike[1]) == ""


def test_other_images_than_in_the_test_are_no_order_of_channels() -> None:
    """A scale or a shift is another suspicion."""
    calibrated, tested = columns(100), columns(300)
    assert suspect_channels("t", calibrated * 255, tested) == ""
    assert "255 times as far" in suspect_input("t", calibrated * 255, tested)
    assert "100 times as far" in suspect_input("t", calibrated * 100, tested)


def test_series_that_rise_are_not_accused() -> None:
    """Training and test split of a series are other years."""
    years = np.arange(400, dtype=np.float32)
    windows = np.stack([np.sin(years[i : i + 22] / 5) + i / 800 for i in range(370)])[..., None]
    assert suspect_input("years", windows[:300], windows[300:]) == ""
