"""The tolerance of an artifact forgives what was seen on the machine that made it, and no more."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np

from edgeward.convert.measure.tolerance import elsewhere, largest_difference, tolerance
from edgeward.runtime.golden import Expected, Golden
from edgeward.runtime.predictor import Runner
from edgeward.runtime.self_test import Check, check_runner
from edgeward.runtime.specs import InputSpec, OutputSpec

SPEC = OutputSpec("classification", labels=("a", "b", "c"))


def runner(answers: np.ndarray, max_lsb: int) -> Runner:
    """A runner of an int8 artifact that gives these answers, one after the other."""
    tensor = SimpleNamespace(name="y", shape=(1, 3), dtype="int8", scale=0.5, zero_point=0)
    edge = SimpleNamespace(name="x", shape=(1, 1), dtype="float32", scale=None, zero_point=None)
    artifact: Any = SimpleNamespace(
        id="tflite-int8", inputs=(edge,), outputs=(tensor,), max_lsb=max_lsb, batch="static",
        tolerance={},
    )  # fmt: skip

    class Fake:
        runtime, version = "fake", "1.0"

        def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
            return {"y": answers[int(inputs["x"][0, 0])][None]}

    return Runner(
        artifact, Fake(), {"x": InputSpec("tensor", "float32", (1,), ())}, {"y": SPEC}, {}
    )


def selftest(expected: np.ndarray, given: np.ndarray, max_lsb: int) -> Check:
    inputs = [{"x": np.float32([i])} for i in range(len(expected))]
    golden = Golden(inputs, [Expected("tflite-int8", "fake", "1.0", {"y": expected})])
    return check_runner(runner(given, max_lsb), golden, golden.expected[0])


def test_decision_that_two_values_tip_over_together_is_forgiven_where_it_was_seen() -> None:
    expected, other = np.array([[10, 6, 0]], np.int8), np.array([[7, 9, 0]], np.int8)
    seen = [{"y": expected}, {"y": other}]
    assert largest_difference(seen) == 3
    assert tolerance(runner(expected, 0), seen) == 4
    assert selftest(expected, other, 4).verdict == "within tolerance"
    # The twin: with the difference alone the machine that measured it would call it wrong.
    assert selftest(expected, other, 3).verdict == "wrong"


def test_runtimes_on_both_sides_of_the_first_are_compared_with_each_other() -> None:
    middle, high, low = (np.array([[10, value, 0]], np.int8) for value in (2, 4, -1))
    seen = [{"y": middle}, {"y": high}, {"y": low}]
    assert largest_difference(seen) == tolerance(runner(middle, 0), seen) == 5
    assert selftest(high, low, 5).verdict == "within tolerance"
    assert selftest(high, low, 3).verdict == "wrong"


def test_without_another_decision_the_difference_is_the_tolerance() -> None:
    expected, other = np.array([[10, 6, 0]], np.int8), np.array([[8, 7, 0]], np.int8)
    assert tolerance(runner(expected, 0), [{"y": expected}, {"y": other}]) == 2


def test_other_processors_may_differ_by_a_step_of_what_was_computed_in() -> None:
    def artifact(variant: str, dtype: str) -> Any:
        return SimpleNamespace(variant=variant, outputs=(SimpleNamespace(dtype=dtype),))

    assert elsewhere(artifact("int8", "int8")) == 1
    assert elsewhere(artifact("int16x8", "int16")) == 32
    assert elsewhere(artifact("fp32", "float32")) == 8
    assert elsewhere(artifact("int8-floatio", "float32")) == 1029
