"""Agreement with the float model: right numbers, and errors instead of a silent 100 %."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest

from edgeward.convert.drift.agreement import MAX_SQNR, Agreement, measure_agreement
from edgeward.runtime.artifact import Drift
from edgeward.runtime.errors import InvalidDataError, InvalidManifestError
from edgeward.runtime.specs import OutputSpec

KIND = OutputSpec("classification", ("a", "b", "c"))
YES = OutputSpec("binary", threshold=0.5)
SIZE = OutputSpec("regression")
RANDOM = np.random.default_rng(3)


def f32(values: object) -> np.ndarray:
    return np.asarray(values, np.float32)


@pytest.mark.parametrize("scale", [1.0, 1e30, 1e-30, 1e-40])
def test_sqnr_is_that_of_known_noise_at_any_scale(scale: float) -> None:
    reference = f32(RANDOM.normal(size=(500, 4)) * scale)
    noise = RANDOM.normal(size=reference.shape) * scale / 100
    values = f32(reference + noise)
    found = measure_agreement("y", SIZE, reference, values).sqnr
    signal = reference.astype(np.float64)
    wanted = 10 * np.log10((signal**2).sum() / ((signal - values.astype(np.float64)) ** 2).sum())
    assert found == pytest.approx(wanted, abs=1e-6)
    assert found == pytest.approx(40, abs=1)
    # The twin: ten times the noise is 20 dB less.
    worse = measure_agreement("y", SIZE, reference, f32(reference + 10 * noise)).sqnr
    assert worse == pytest.approx(20, abs=1)


def test_equal_outputs_have_the_cap_and_one_last_bit_does_not() -> None:
    reference = f32(RANDOM.normal(size=(1000, 10)))
    assert measure_agreement("y", SIZE, reference, reference.copy()).sqnr == MAX_SQNR
    values = reference.copy()
    values[7, 3] = np.nextafter(values[7, 3], np.float32(9))
    found = measure_agreement("y", SIZE, reference, values)
    assert 100 < found.sqnr < MAX_SQNR
    assert found.largest_difference == pytest.approx(abs(float(values[7, 3] - reference[7, 3])))


def test_noise_on_nothing_is_the_lower_cap_and_nothing_on_nothing_is_equal() -> None:
    nothing = f32(np.zeros((9, 2)))
    assert measure_agreement("y", SIZE, nothing, nothing).sqnr == MAX_SQNR
    assert measure_agreement("y", SIZE, nothing, nothing + f32(1e-3)).sqnr == -MAX_SQNR


def test_decisions_that_agree_are_counted() -> None:
    reference = f32(np.eye(3)[[0, 1, 2, 0]])
    values = f32(np.eye(3)[[0, 1, 2, 1]])
    assert measure_agreement("y", KIND, reference, values).decisions == 0.75
    assert measure_agreement("y", KIND, reference, reference).decisions == 1
    sure, unsure = f32([[0.9], [0.1]]), f32([[0.9], [0.5]])
    assert measure_agreement("y", YES, sure, unsure).decisions == 0.5
    assert measure_agreement("y", SIZE, sure, unsure).decisions is None


@pytest.mark.parametrize(
    ("reference", "values", "words"),
    [
        (np.ones((4, 2)), np.ones((4, 3)), r"cannot be compared"),
        (np.ones((4, 2)), np.ones((3, 2)), r"cannot be compared"),
        (np.ones((0, 2)), np.ones((0, 2)), r"at least one sample"),
        (np.ones((4, 2)), [[1, 1], [1, 1], [1, np.nan], [1, 1]], r"artifact's .* sample 2 "),
        ([[1.0], [np.inf]], np.ones((2, 1)), r"float model's .* sample 1 "),
    ],
)
def test_what_cannot_be_compared_is_an_error(reference: object, values: object, words: str) -> None:
    with pytest.raises(InvalidDataError, match=words):
        measure_agreement("y", SIZE, f32(reference), f32(values))


def test_manifest_entry_has_no_number_and_no_other_verdict() -> None:
    found = measure_agreement("y", KIND, f32(np.eye(3)), f32(np.eye(3)))
    drift = found.to_drift(0.005, "ai-edge-litert 2.3.0")
    assert (drift.reference, drift.value, drift.drop, drift.upper_bound) == (None,) * 4
    assert (drift.verdict, drift.samples, drift.metric) == ("unverified", 3, "accuracy")
    text = json.loads(json.dumps(asdict(drift), allow_nan=False))
    assert Drift.from_json(text, "drift") == drift
    # The twins: the same entry with a number, or called a pass.
    for change in ({"value": 1.0}, {"verdict": "pass"}):
        with pytest.raises(InvalidManifestError):
            Drift.from_json({**text, **change}, "drift")


def test_agreement_is_json() -> None:
    worst = measure_agreement("y", SIZE, f32(np.zeros((9, 2))), f32(np.ones((9, 2))))
    assert Agreement(**json.loads(json.dumps(asdict(worst), allow_nan=False))) == worst
