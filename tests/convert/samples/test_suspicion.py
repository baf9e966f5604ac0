"""Odd samples are compared without an error, and an error costs no result."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeward.convert.samples import suspicion
from edgeward.convert.samples.suspicion import (
    suspect_channels,
    suspect_classes,
    suspect_input,
    suspicions,
)
from edgeward.convert.source.source import Source
from edgeward.runtime.arrays import Array
from edgeward.runtime.samples import Samples
from edgeward.runtime.specs import InputSpec, OutputSpec
from edgeward.runtime.steps import Affine

NO_NUMBER = re.compile(r"\b(nan|inf)\b", re.IGNORECASE)

NUMBER = InputSpec("tensor", "float32", (3,), ())
CLASSES = OutputSpec("classification", labels=("a", "b"))
RANDOM = np.random.default_rng(5)


def of(calibration: Samples, test: Samples, spec: InputSpec = NUMBER) -> Source:
    """A source of samples alone: nothing here reads its files."""
    return Source(
        name="n",
        run="r",
        model=Path("m.keras"),
        model_sha256="",
        data_sha256="",
        inputs=dict.fromkeys(calibration.inputs, spec),
        outputs={"y": CLASSES},
        calibration=calibration,
        calibration_name="calibration.npz",
        test=test,
        test_file=Path("test.npz"),
        expected={},
        budget=0.01,
        vocabularies={},
    )


def told(columns: Mapping[str, tuple[Array, Array]], spec: InputSpec = NUMBER) -> list[str]:
    """What is told of inputs, each with its calibration and its test samples."""
    calibration = Samples({name: column for name, (column, _) in columns.items()})
    test = Samples({name: column for name, (_, column) in columns.items()})
    notes: list[str] = []
    doubts = suspicions(of(calibration, test, spec), calibration, notes)
    assert notes == []
    return doubts


def varied(count: int = 60) -> Array:
    return RANDOM.uniform(0, 1, (count, 3)).astype(np.float32)


@pytest.mark.parametrize("value", [0, 0.1, -1e30])
def test_an_input_that_is_constant_in_the_test_samples_alone_is_told(value: float) -> None:
    same = np.full((60, 3), value, np.float32)
    (said,) = told({"x": (varied(), same)})
    assert f"over {np.float32(value):.4g}..{np.float32(value):.4g} in the test samples: " in said
    assert "it is the same in all of them" in said
    # The other way round it is another mistake; and what is constant in both is none.
    alike, unlike = told({"x": (same, varied())})
    assert "60 calibration samples of input 'x' are the same" in alike
    assert "as if nothing had been loaded" in unlike
    assert told({"x": (same, same)}) == ["all 60 calibration samples of input 'x' are the same"]


def test_values_that_preprocessing_makes_infinite_are_told() -> None:
    spec = InputSpec("tensor", "float32", (3,), (Affine(1e30, 0.0),))
    large = varied() + np.float32(1e12)
    said = told({"x": (large, varied())}, spec)[-1]
    assert "too large for float32 in the calibration samples" in said
    said = told({"x": (large[::-1], large)}, spec)[-1]
    assert "in the calibration and test samples" in said
    assert told({"x": (varied(), varied())}, spec) == []


KINDS = ("constant", "zero", "one differs", "huge", "negative", "tiny", "random", "columns")
SHAPES = ((), (1,), (2,), (3,), (4, 1), (3, 3), (3, 4, 1), (4, 4, 3), (5, 3, 2))


def samples(kind: str, count: int, shape: tuple[int, ...], dtype: str, seed: int) -> Array:
    """Samples of one odd kind."""
    random = np.random.default_rng(seed)
    low, high = (-1e3, 1e3) if dtype == "float32" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    values = random.uniform(low, high, (count, *shape))
    if kind in ("constant", "zero", "one differs"):
        values[...] = 0 if kind == "zero" else random.uniform(low, high)
        if kind == "one differs":
            values.flat[random.integers(values.size)] = random.uniform(low, high)
    elif kind == "negative":
        values = -np.abs(values) if low < 0 else values
    elif kind == "columns":
        values[...] = random.uniform(low, high, shape)
    elif dtype == "float32":
        values *= {"huge": 3.3e35, "tiny": 1e-45 / 1e3, "random": 1.0}[kind]
    return values.astype(dtype)


@settings(max_examples=400, deadline=None)
@given(
    kinds=st.tuples(st.sampled_from(KINDS), st.sampled_from(KINDS)),
    counts=st.tuples(st.integers(1, 30), st.integers(1, 30)),
    shape=st.sampled_from(SHAPES),
    dtype=st.sampled_from(("float32", "uint8", "int8", "int32", "int64")),
    seed=st.integers(0, 2**32 - 1),
)
def test_odd_samples_are_compared_without_an_error(
    kinds: tuple[str, str], counts: tuple[int, int], shape: tuple[int, ...], dtype: str, seed: int
) -> None:
    calibrated, tested = (
        samples(kind, count, shape, dtype, seed + i)
        for i, (kind, count) in enumerate(zip(kinds, counts, strict=True))
    )
    with np.errstate(all="raise", under="ignore"):
        said = [suspect_input("x", calibrated, tested), suspect_channels("x", calibrated, tested)]
        classes = suspect_classes("y", calibrated, tested)
    assert not [text for text in [*said, classes] if NO_NUMBER.search(text)]


def test_targets_that_are_no_classes_are_not_named() -> None:
    """Nothing checks the targets of calibration samples of a run."""
    assert suspect_classes("y", np.full(90, np.nan), np.arange(2)) == ""
    assert "of class 1 of 'y' only" in suspect_classes("y", np.ones(90, int), np.arange(2))
    # The twin.
    assert NO_NUMBER.search("over nan..1")


def test_an_error_becomes_a_note_and_what_was_found_before_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    few = {"x": varied(7), "z": varied(7)}
    source = of(Samples(few), Samples(few))

    def run() -> tuple[list[str], list[str]]:
        notes: list[str] = []
        return suspicions(source, source.calibration, notes), notes

    (only,) = run()[0]
    assert "only 7 calibration samples" in only
    assert run() == ([only], [])

    def fail(name: str, *_: Any, **__: Any) -> str:
        if name == "z":
            raise MemoryError
        return "x is odd"

    monkeypatch.setattr(suspicion, "suspect_input", fail)
    assert run() == ([only, "x is odd"], ["calibration not compared: MemoryError"])
