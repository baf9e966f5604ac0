"""Drift of an output: right numbers, and errors instead of a silent zero."""

from __future__ import annotations

import numpy as np
import pytest

from edgeward.convert.drift.metrics import measure_drift
from edgeward.runtime.errors import InvalidDataError
from edgeward.runtime.specs import OutputSpec

SPEC = OutputSpec("classification", ("a", "b", "c"))


def one_hot(decisions: list[int]) -> np.ndarray:
    return np.eye(3, dtype=np.float32)[decisions]


TRUTH = np.array([0, 0, 1, 1, 2, 2])
FLOAT = one_hot([0, 0, 1, 2, 2, 2])
ARTIFACT = one_hot([0, 1, 1, 1, 2, 0])


def test_paired_counts_flips_and_classes_are_counted() -> None:
    drift = measure_drift("y", SPEC, FLOAT, ARTIFACT, TRUTH, 0.005)
    assert drift.decisions is not None
    assert (drift.decisions.lost, drift.decisions.gained, drift.samples) == (2, 1, 6)
    assert drift.drop == pytest.approx(1 / 6)
    assert drift.decisions.flip_rate == pytest.approx(3 / 6)
    assert drift.decisions.per_class_drop == {"a": 0.5, "b": -0.5, "c": 0.5}
    assert drift.verdict == "refused"
    assert np.array(drift.decisions.confusion).sum() == 6
    assert drift.decisions.confusion[0] == [1, 1, 0]


def test_drop_is_the_difference_of_the_metrics() -> None:
    drift = measure_drift("y", SPEC, FLOAT, ARTIFACT, TRUTH, 0.005)
    assert drift.drop == pytest.approx(drift.reference - drift.value)


def test_class_without_samples_leaves_the_verdict_open() -> None:
    """An artifact that always answers the only class of a test split would be perfect."""
    ones = np.ones(5000, int)
    always = one_hot([1] * 5000)
    drift = measure_drift("y", SPEC, always, always, ones, 0.005)
    assert (drift.drop, drift.verdict) == (0, "inconclusive")
    mixed = np.arange(5000) % 3
    drift = measure_drift("y", SPEC, one_hot(list(mixed)), one_hot(list(mixed)), mixed, 0.005)
    assert drift.verdict == "pass"


def test_labels_that_do_not_fit_the_output_are_refused() -> None:
    for labels in (("a", "b"), ("a", "b", "c", "d")):
        with pytest.raises(InvalidDataError, match="labels"):
            measure_drift("y", OutputSpec("classification", labels), FLOAT, FLOAT, TRUTH, 0.005)


def test_identical_outputs_have_no_drift() -> None:
    drift = measure_drift("y", SPEC, FLOAT, FLOAT, TRUTH, 0.5)
    made = drift.decisions
    assert (drift.drop, made.lost, made.gained, made.flip_rate) == (0, 0, 0, 0)
    assert drift.verdict == "pass"


def test_calibration_error_of_a_sure_and_right_model_is_zero_and_of_a_wrong_one_is_not() -> None:
    right = measure_drift("y", SPEC, one_hot([0, 0, 1, 1, 2, 2]), ARTIFACT, TRUTH, 0.5)
    assert right.decisions.reference_calibration_error == pytest.approx(0)
    assert right.decisions.calibration_error == pytest.approx(2 / 6)


def test_logits_have_no_calibration_error() -> None:
    drift = measure_drift("y", SPEC, 9 * FLOAT - 4, 9 * ARTIFACT - 4, TRUTH, 0.5)
    assert drift.decisions.calibration_error is None


def test_binary_drift_reports_the_area_under_the_curve() -> None:
    spec = OutputSpec("binary", None, 0.5)
    truth = np.array([0, 0, 1, 1])
    good = np.float32([[0.1], [0.2], [0.8], [0.9]])
    bad = np.float32([[0.1], [0.85], [0.8], [0.9]])
    drift = measure_drift("y", spec, good, bad, truth, 0.005)
    assert drift.decisions.reference_auc == 1.0
    assert drift.decisions.auc == pytest.approx(0.75)
    assert drift.decisions.lost == 1


@pytest.mark.parametrize(
    "values",
    [
        np.full((6, 3), np.nan, np.float32),
        np.where(np.arange(18).reshape(6, 3) == 4, np.inf, FLOAT).astype(np.float32),
        FLOAT[:5],
        FLOAT[:, :2],
        FLOAT[:0],
    ],
)
def test_a_missing_metric_is_an_error_and_never_a_drift_of_zero(values: np.ndarray) -> None:
    with pytest.raises(InvalidDataError):
        measure_drift("y", SPEC, FLOAT, values, TRUTH, 0.005)


def test_targets_out_of_range_are_named() -> None:
    with pytest.raises(InvalidDataError, match="sample 4"):
        measure_drift("y", SPEC, FLOAT, FLOAT, np.array([0, 0, 1, 1, 3, 2]), 0.005)


def series(noise: float, count: int = 300) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Targets, a float forecast with errors of 1, and an artifact with that much noise more."""
    generator = np.random.default_rng(3)
    targets = generator.normal(50, 20, (count, 1)).astype(np.float32)
    reference = targets + generator.normal(0, 1, (count, 1)).astype(np.float32)
    return targets, reference, reference + generator.normal(0, noise, (count, 1)).astype(np.float32)


@pytest.mark.parametrize(
    ("noise", "verdict"), [(0.02, "pass"), (0.25, "inconclusive"), (1.0, "refused")]
)
def test_regression_drift_is_the_ratio_of_the_errors(noise: float, verdict: str) -> None:
    targets, reference, values = series(noise)
    drift = measure_drift("y", OutputSpec("regression"), reference, values, targets, 0.05)
    errors = [np.sqrt(np.mean((v - targets) ** 2)) for v in (reference, values)]
    assert drift.drop == pytest.approx(errors[1] / errors[0] - 1, abs=1e-5)
    assert drift.upper_bound > drift.drop
    assert drift.verdict == verdict


def test_regression_bound_covers_the_true_ratio() -> None:
    """The bound of the drop is above the true one in about 95 % of repetitions."""
    generator = np.random.default_rng(0)
    true = np.sqrt(1 + 0.3**2) - 1
    covered = []
    for _ in range(200):
        errors = generator.normal(0, 1, (400, 1))
        values = errors + generator.normal(0, 0.3, (400, 1))
        zeros = np.zeros_like(errors, np.float32)
        spec = OutputSpec("regression")
        drift = measure_drift("y", spec, errors.astype("f4"), values.astype("f4"), zeros, 0.5)
        covered.append(drift.upper_bound >= true)
    assert 0.89 <= np.mean(covered) <= 0.99


@pytest.mark.parametrize(("noise", "verdict"), [(0.0, "pass"), (0.01, "pass"), (0.1, "refused")])
def test_generation_drift_is_the_decibels_lost(noise: float, verdict: str) -> None:
    generator = np.random.default_rng(1)
    images = generator.random((40, 8, 8, 1), np.float32)
    values = images + generator.normal(0, noise, images.shape).astype(np.float32)
    drift = measure_drift("y", OutputSpec("generation"), images, values, images, 70.0)
    assert drift.verdict == verdict
    expected = 100.0 if noise == 0 else -20 * np.log10(noise)
    assert drift.value == pytest.approx(expected, abs=0.5)


@pytest.mark.parametrize("task", ["regression", "generation"])
def test_other_tasks_raise_as_well_where_numbers_are_missing(task: str) -> None:
    targets, reference, values = series(0.1)
    values[7] = np.nan
    with pytest.raises(InvalidDataError, match="sample 7"):
        measure_drift("y", OutputSpec(task), reference, values, targets, 0.05)
