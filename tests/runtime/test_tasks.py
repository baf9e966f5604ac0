"""Decoding and scoring: what an output means, and the metric that everything is measured with."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgeward.runtime.errors import InvalidDataError
from edgeward.runtime.specs import OutputSpec
from edgeward.runtime.tasks import check_targets, decide, decode, evaluate

CLASSES = OutputSpec("classification", ("a", "b", "c"))
BINARY = OutputSpec("binary", ("no", "yes"), 0.1)
NUMBER = OutputSpec("regression")
IMAGES = OutputSpec("generation")
VALUES = np.float32([[0.2, 0.5, 0.3], [0.4, 0.4, 0.2], [0.0, 0.1, 0.9], [0.1, 0.2, 0.7]])


def test_the_largest_value_decides_and_ties_take_the_lowest_index() -> None:
    assert decide(CLASSES, VALUES).tolist() == [1, 0, 2, 2]
    decoded = decode(CLASSES, VALUES[1])
    assert (decoded.index, decoded.label) == (0, "a")
    assert decoded.score == pytest.approx(0.4)


def test_positive_means_at_least_the_threshold_in_float32() -> None:
    values = np.float32([0.1, np.nextafter(np.float32(0.1), np.float32(0)), 0.2])[:, None]
    assert decide(BINARY, values).tolist() == [1, 0, 1]
    assert values[0, 0] != 0.1  # as doubles they differ; both sides are rounded to float32
    assert decode(BINARY, values[1]).label == "no"


def test_a_class_without_a_label_has_its_index_only() -> None:
    decoded = decode(OutputSpec("classification", ("a", "b")), VALUES[2])
    assert (decoded.index, decoded.label) == (2, None)


def test_values_are_values_where_there_is_nothing_to_decide() -> None:
    decoded = decode(NUMBER, VALUES[0])
    assert (decoded.index, decoded.label, decoded.score) == (None, None, None)
    assert decoded.values is not None


def test_accuracy_counts_the_right_ones() -> None:
    assert evaluate(CLASSES, VALUES, np.array([1, 0, 2, 2])) == {"accuracy": 1.0}
    assert evaluate(CLASSES, VALUES, np.array([1, 1, 2, 0])) == {"accuracy": 0.5}
    assert evaluate(CLASSES, VALUES, np.array([[1], [1], [2], [0]], np.uint8)) == {"accuracy": 0.5}
    assert evaluate(BINARY, np.float32([[0.3], [0.0]]), np.array([1, 1])) == {"accuracy": 0.5}


def test_rmse_is_the_root_of_the_mean_square() -> None:
    outputs = np.float32([[1.0], [2.0], [5.0]])
    assert evaluate(NUMBER, outputs, np.float32([1, 2, 5])) == {"rmse": 0.0}
    assert evaluate(NUMBER, outputs, np.array([1, 2, 2]))["rmse"] == pytest.approx(3**0.5)


@pytest.mark.parametrize(
    ("spec", "targets", "word"),
    [
        (CLASSES, np.array([0, 1, 2]), "number"),
        (CLASSES, np.array([0, 1, 2, 3]), "sample 3"),
        (CLASSES, np.array([0, -1, 2, 2]), "sample 1"),
        (CLASSES, np.array([0, 1, 2**63, 2], np.uint64), "sample 2"),
        (CLASSES, np.float32([0, 1, 2, 2]), "class indices"),
        (CLASSES, np.array(list("abca")), "class indices"),
        (CLASSES, np.array([True] * 4), "class indices"),
        (CLASSES, np.eye(4, 3, dtype=int), "class indices"),
        (NUMBER, np.float32([1, 2, np.nan, 3]), "sample 2"),
        (NUMBER, np.array([1, 2, 1e300, 3]), "sample 2"),
        (NUMBER, np.array(list("abca")), "numbers"),
        (NUMBER, np.zeros(4), "shape"),
        (NUMBER, np.zeros((4, 2)), "shape"),
        (IMAGES, np.zeros((4, 2)), "shape"),
    ],
)
def test_targets_that_do_not_fit_are_refused(spec: OutputSpec, targets: Any, word: str) -> None:
    with pytest.raises(InvalidDataError, match=word):
        evaluate(spec, VALUES, targets)


def test_auc_is_the_share_of_pairs_in_the_right_order() -> None:
    scores, truth = np.float32([0.1, 0.4, 0.35, 0.8, 0.4]), np.array([0, 0, 1, 1, 1])
    pairs = [(p > n) + 0.5 * (p == n) for p in scores[truth == 1] for n in scores[truth == 0]]
    assert evaluate(BINARY, scores[:, None], truth)["auc"] == pytest.approx(np.mean(pairs))
    assert evaluate(BINARY, -scores[:, None], truth)["auc"] == pytest.approx(1 - np.mean(pairs))
    assert "auc" not in evaluate(BINARY, scores[:, None], np.ones(5, int))


def test_psnr_is_high_for_equal_images_and_low_for_others() -> None:
    images = np.linspace(0, 1, 12, dtype=np.float32).reshape(2, 6)
    assert evaluate(IMAGES, images, images) == {"psnr": 100.0}
    assert evaluate(IMAGES, images + np.float32(0.1), images)["psnr"] == pytest.approx(20, abs=1e-3)


def test_outputs_that_are_not_finite_are_refused() -> None:
    for bad in (np.nan, np.inf):
        outputs = VALUES.copy()
        outputs[2, 1] = bad
        with pytest.raises(InvalidDataError, match="sample 2"):
            evaluate(CLASSES, outputs, np.array([1, 0, 2, 2]))
        with pytest.raises(InvalidDataError, match="not finite"):
            decode(CLASSES, outputs[2])


def test_binary_targets_are_0_and_1() -> None:
    assert check_targets(BINARY, np.array([0, 1])).tolist() == [0, 1]
    with pytest.raises(InvalidDataError, match=r"0\.\.1"):
        check_targets(BINARY, np.array([0, 2]))
