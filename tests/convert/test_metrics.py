"""Drift of an output: right numbers, and errors instead of a silent zero."""

from __future__ import annotations

import numpy as np
import pytest

from convert.drift.metrics import measure_drift
from runtime.errors import InvalidDataError, TargetError
from runtime.specs import OutputSpec

SPEC = OutputSpec("classification", ("a", "b", "c"))


def one_hot(decisions: list[int]) -> np.ndarray:
    return np.eye(3, dtype=np.float32)[decisions]


TRUTH = np.array([0, 0, 1, 1, 2, 2])
FLOAT = one_hot([0, 0, 1, 2, 2, 2])
ARTIFACT = one_hot([0, 1, 1, 1, 2, 0])


def test_paired_counts_flips_and_classes_are_counted() -> None:
    drift = measure_drift("y", SPEC, FLOAT, ARTIFACT, TRUTH, 0.005)
    assert (drift.lost, drift.gained, drift.samples) == (2, 1, 6)
    assert drift.drop == pytest.approx(1 / 6)
    assert drift.flip_rate == pytest.approx(3 / 6)
    assert drift.per_class_drop == {"a": 0.5, "b": -0.5, "c": 0.5}
    assert drift.verdict == "refused"
    assert np.array(drift.confusion).sum() == 6
    assert drift.confusion[0] == [1, 1, 0]


def test_drop_is_the_difference_of_the_metrics() -> None:
    drift = measure_drift("y", SPEC, FLOAT, ARTIFACT, TRUTH, 0.005)
    assert drift.drop == pytest.approx(drift.reference - drift.value)


def test_identical_outputs_have_no_drift() -> None:
    drift = measure_drift("y", SPEC, FLOAT, FLOAT, TRUTH, 0.5)
    assert (drift.drop, drift.lost, drift.gained, drift.flip_rate) == (0, 0, 0, 0)
    assert drift.verdict == "pass"


def test_calibration_error_of_a_sure_and_right_model_is_zero_and_of_a_wrong_one_is_not() -> None:
    right = measure_drift("y", SPEC, one_hot([0, 0, 1, 1, 2, 2]), ARTIFACT, TRUTH, 0.5)
    assert right.reference_calibration_error == pytest.approx(0)
    assert right.calibration_error == pytest.approx(2 / 6)


def test_logits_have_no_calibration_error() -> None:
    drift = measure_drift("y", SPEC, 9 * FLOAT - 4, 9 * ARTIFACT - 4, TRUTH, 0.5)
    assert drift.calibration_error is None


def test_binary_drift_reports_the_area_under_the_curve() -> None:
    spec = OutputSpec("binary", None, 0.5)
    truth = np.array([0, 0, 1, 1])
    good = np.float32([[0.1], [0.2], [0.8], [0.9]])
    bad = np.float32([[0.1], [0.85], [0.8], [0.9]])
    drift = measure_drift("y", spec, good, bad, truth, 0.005)
    assert drift.reference_auc == 1.0
    assert drift.auc == pytest.approx(0.75)
    assert drift.lost == 1


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


def test_a_task_without_drift_is_refused() -> None:
    with pytest.raises(TargetError):
        measure_drift("y", OutputSpec("generation"), FLOAT, FLOAT, TRUTH, 0.005)
