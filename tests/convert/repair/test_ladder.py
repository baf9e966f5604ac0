"""What repair tries, in which order, and that everything it tries can be asked of the converter."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeward.convert.repair.ladder import (
    calibration_rung,
    fallback_rung,
    repairable_variant,
    stands_for,
    tuning_rung,
)
from edgeward.convert.settings import DEFAULT, METHODS, Settings, check_settings
from edgeward.convert.variants import ArtifactId
from edgeward.convert.worker.job import Attempt, Plan
from edgeward.runtime.errors import TargetError

INT8 = ("tflite-int8", "tflite-int8-floatio", "onnx-int8")
ISLANDS = [("net/relu/Relu;net/conv/convolution",), ("net/relu/Relu", "net/mean/Mean")]


def check(attempt: Attempt) -> None:
    check_settings(attempt.settings, ArtifactId.parse(attempt.artifact))


@pytest.mark.parametrize("artifact_id", INT8)
def test_calibration_comes_cheapest_first_and_equalising_before_all(artifact_id: str) -> None:
    rung = calibration_rung(artifact_id, 500, 2000)
    assert rung[0].settings == Settings(samples=500, equalise=True)
    assert rung[1].settings == Settings(samples=2000)
    assert {one.settings.method for one in rung} == set(METHODS)
    assert all(one.artifact == artifact_id and not one.tuned for one in rung)
    # What failed already is not tried again.
    assert Settings(samples=500) not in [one.settings for one in rung]


def test_all_samples_are_tried_only_where_there_are_more() -> None:
    assert len(calibration_rung("tflite-int8", 500, 500)) == 5
    assert len(calibration_rung("tflite-int8", 500, 501)) == 6


@pytest.mark.parametrize("artifact_id", ["tflite-dynamic", "tflite-int16x8", "onnx-fp16"])
def test_what_is_not_int8_has_no_rung_that_stays_int8(artifact_id: str) -> None:
    assert calibration_rung(artifact_id, 500, 2000) == []
    assert tuning_rung(artifact_id, 500, DEFAULT) == []


@pytest.mark.parametrize("best", [Settings(), Settings("mse", 200, equalise=True)])
def test_all_tuned_attempts_come_from_one_tuning(best: Settings) -> None:
    rung = tuning_rung("tflite-int8", 500, best)
    assert {one.settings.equalise for one in rung} == {best.equalise}
    assert [one.settings.method for one in rung] == list(dict.fromkeys([best.method, "mse"]))
    assert all(one.tuned and one.settings.samples == 500 for one in rung)


def test_fallback_loses_less_than_what_failed_and_is_not_there_yet() -> None:
    rung = fallback_rung("tflite-int8", 500, ISLANDS, ["tflite-fp32", "tflite-dynamic"])
    assert [one.artifact for one in rung] == [
        *("tflite-int8-mixed", "tflite-int8-mixed", "tflite-int16x8", "tflite-fp16")
    ]
    assert [one.artifact for one in fallback_rung("onnx-int8", 500, [], [])] == [
        *("onnx-dynamic", "onnx-fp16")
    ]
    left = fallback_rung("tflite-dynamic", 500, ISLANDS, [])
    assert [one.artifact for one in left] == ["tflite-fp16"]


def test_stand_in_has_the_same_format_and_loses_less() -> None:
    assert stands_for("tflite-int8", "tflite-int8-floatio")
    assert stands_for("tflite-int8-floatio", "tflite-fp16")
    for other in ("onnx-fp16", "tflite-int8", "tflite-fp32"):
        assert not stands_for("tflite-int8", other)
    assert not stands_for("tflite-int8-floatio", "tflite-int8")


def test_int8_is_repaired_always_and_others_with_leave() -> None:
    assert repairable_variant("int8", fallback=False)
    for variant in ("int16x8", "dynamic"):
        assert repairable_variant(variant, fallback=True)
        assert not repairable_variant(variant, fallback=False)
    assert not repairable_variant("fp16", fallback=True)


def test_converter_takes_every_attempt_and_no_two_share_a_folder() -> None:
    attempts = [
        one
        for artifact_id in INT8
        for rung in (
            calibration_rung(artifact_id, 500, 2000),
            tuning_rung(artifact_id, 500, Settings("percentile-99.9", 500, equalise=True)),
        )
        for one in rung
    ]
    attempts += fallback_rung("tflite-int8", 500, ISLANDS, [])
    attempts += fallback_rung("onnx-int8", 500, [], [])
    assert len({one.name for one in attempts}) == len(attempts)
    for one in attempts:
        check(one)
    # The twin: settings that the artifact would not heed are refused by the same check.
    with pytest.raises(TargetError, match="cannot have these settings"):
        check(Attempt("1", "tflite-fp16", Settings("mse")))


def test_user_is_told_a_number_and_words_instead_of_inner_names() -> None:
    labels = [one.label for one in calibration_rung("tflite-int8", 500, 2000)]
    assert labels[0] == (
        "tflite-int8, attempt 1: min-max ranges from 500 calibration samples; channels equalised"
    )
    assert labels[2].startswith("tflite-int8, attempt 3: percentile-99.99 ranges")
    assert len(set(labels)) == 6
    others = fallback_rung("tflite-int8", 500, ISLANDS, [])
    assert [one.label.partition(":")[0] for one in others] == [
        *("tflite-int8-mixed, attempt 1", "tflite-int8-mixed, attempt 2"),
        *("tflite-int16x8, attempt 1", "tflite-dynamic", "tflite-fp16"),
    ]


def test_plan_comes_back_from_its_file(tmp_path: Path) -> None:
    plan = Plan(
        (
            *fallback_rung("tflite-int8", 500, ISLANDS, []),
            *tuning_rung("onnx-int8", 500, Settings("mse", 500, equalise=True)),
        ),
        "samples.npz",
    )
    plan.write(tmp_path)
    assert Plan.read(tmp_path) == plan


def test_description_names_layers_and_not_every_op_that_was_fused() -> None:
    attempts = fallback_rung("tflite-int8", 500, ISLANDS, [])
    said = [one.describe() for one in attempts]
    assert said[0] == "min-max ranges from 500 calibration samples; in float: relu"
    assert said[1].endswith("; in float: relu, mean")
    assert said[3:] == ["dynamic", "fp16"]
    tuned = Attempt("1", "onnx-int8", Settings("mse", 9, equalise=True), tuned=True)
    assert tuned.describe() == (
        "fine-tuned, mse ranges from 9 calibration samples; channels equalised"
    )
