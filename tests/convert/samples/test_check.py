"""Raw samples that cannot be used are named before anything is made of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeward.convert.samples.calibration import choose_calibration
from edgeward.convert.samples.check import check_samples, check_splits
from edgeward.convert.source.open import open_source
from edgeward.convert.source.source import Source
from edgeward.convert.source.specs import check_column
from edgeward.runtime.errors import InvalidDataError
from edgeward.runtime.samples import Samples, save_samples
from edgeward.runtime.specs import InputSpec, OutputSpec
from edgeward.runtime.steps import Lookup, Pad, Tokenize

SERIES = InputSpec("tensor", "float32", (4,), ())
NUMBER = InputSpec("tensor", "float32", (), ())
TEXT = InputSpec("text", "uint8", (None,), (Tokenize(), Lookup("v.txt", 1), Pad(3, 0, "right")))
WORDS = {"v.txt": b"\n[UNK]\ngood\n"}


@pytest.fixture(scope="module")
def source(run: Path) -> Source:
    return open_source(run)


@pytest.fixture
def series(source: Source) -> Source:
    """A model of series that gives a number; its own data are not looked at."""
    return replace(
        source,
        inputs={"series": SERIES},
        outputs={"next": OutputSpec("regression")},
        validation_file=None,
    )


def data(**targets: Any) -> Samples:
    return Samples({"series": np.ones((30, 4), np.float32)}, targets)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_samples_with_a_value_that_is_not_finite_are_counted(bad: float) -> None:
    column = np.ones((30, 4), np.float32)
    check_column(SERIES, column, {})
    column[7, 2] = column[7, 3] = column[29, 0] = bad
    with pytest.raises(InvalidDataError, match="2 of 30 samples hold a value") as caught:
        check_column(SERIES, column, {})
    assert caught.value.received == f"{bad} at [2] of sample 7"
    numbers = np.ones(30, np.float32)
    numbers[5] = bad
    with pytest.raises(InvalidDataError, match="1 of 30"):
        check_column(NUMBER, numbers, {})


def test_text_that_is_no_text_is_named() -> None:
    check_column(TEXT, [b"good", b"film"], WORDS)
    with pytest.raises(InvalidDataError, match="sample 1 is not UTF-8"):
        check_column(TEXT, [b"good", b"\xff"], WORDS)
    with pytest.raises(InvalidDataError, match="sample 0 is no text"):
        check_column(TEXT, np.zeros((2, 4), np.uint8), WORDS)


@pytest.mark.parametrize("dtype", [np.float64, np.int32])
def test_wrong_dtype_or_shape_is_told(dtype: Any) -> None:
    with pytest.raises(InvalidDataError, match="wrong dtype"):
        check_column(SERIES, np.ones((30, 4), dtype), {})
    with pytest.raises(InvalidDataError, match="wrong shape"):
        check_column(SERIES, np.ones((30, 5), np.float32), {})


def test_targets_that_are_no_numbers_are_named(series: Source) -> None:
    targets = np.ones((30, 1), np.float32)
    check_samples(series, data(next=targets), "samples (v.npz)", "mend them")
    targets[3] = np.nan
    with pytest.raises(InvalidDataError, match="targets of 'next', cannot be used") as caught:
        check_samples(series, data(next=targets), "samples (v.npz)", "mend them")
    assert "sample 3 is not finite" in caught.value.message
    assert caught.value.fix == "mend them"


def test_validation_file_is_checked_whole(source: Source, tmp_path: Path) -> None:
    check_splits(source)
    validation = source.validation()
    assert validation is not None
    images = np.asarray(validation.inputs["image"]).astype(np.float32)
    images[-1, 0, 0] = np.nan
    file = tmp_path / "v.npz"
    save_samples(file, Samples({"image": images}, validation.targets))
    with pytest.raises(InvalidDataError, match=r"validation samples \(v.npz\), input 'image'"):
        check_splits(replace(source, validation_file=file))
    digits = validation.targets["digit"].copy()
    digits[9] = 10
    save_samples(file, Samples(validation.inputs, {"digit": digits}))
    with pytest.raises(InvalidDataError, match=r"targets of 'digit'.*sample 9 is out of range"):
        check_splits(replace(source, validation_file=file))
    # There need not be any.
    check_splits(replace(source, validation_file=tmp_path / "none.npz"))


def test_calibration_samples_that_only_repair_would_use_are_checked_too(source: Source) -> None:
    images = np.asarray(source.calibration.inputs["image"]).astype(np.float32)
    images[600] = np.inf
    broken = replace(source, calibration=Samples({"image": images}))
    with pytest.raises(InvalidDataError, match=r"1 of [\d,]+ samples hold a value"):
        choose_calibration(broken, 500)
    assert len(choose_calibration(source, 500)) == 500
