"""Settings are validated, travel to the worker, and are refused where they would not be heeded."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeward.convert.formats import FORMATS
from edgeward.convert.settings import DEFAULT, METHODS, Settings, check_settings
from edgeward.convert.variants import ArtifactId, plan
from edgeward.convert.worker.job import Job
from edgeward.convert.worker.protocol import read, write
from edgeward.runtime.errors import TargetError, UsageError

MIXED = Settings("mse", 200, ("a/MatMul", "b/Conv;b/Relu"))
EQUAL = Settings(equalise=True)


@pytest.mark.parametrize("settings", [DEFAULT, Settings("percentile-99.9"), MIXED, EQUAL])
def test_settings_survive_json(settings: Settings, tmp_path: Path) -> None:
    write(tmp_path / "settings.json", settings)
    assert read(tmp_path / "settings.json", Settings) == settings


@pytest.mark.parametrize(
    "values", [{"method": "entropy"}, {"samples": 0}, {"float_layers": ("a", "a")}]
)
def test_settings_that_make_no_sense_cannot_exist(values: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="received"):
        Settings(**values)  # type: ignore[arg-type]


def test_settings_say_in_words_what_they_are() -> None:
    assert DEFAULT.describe() == "min-max ranges from all calibration samples"
    words = "mse ranges from 200 calibration samples; in float: a/MatMul, b/Conv;b/Relu"
    assert MIXED.describe() == words
    assert EQUAL.describe().endswith("all calibration samples; channels equalised")
    assert DEFAULT.method == METHODS[0]


def test_job_takes_settings_to_the_worker(tmp_path: Path) -> None:
    ids = ["tflite-int8", "tflite-int8-mixed"]
    settings = {"tflite-int8-mixed": MIXED}
    job = Job("m.keras", "test.npz", {}, ["y"], {}, ids, settings=settings)
    job.write(tmp_path)
    assert Job.read(tmp_path) == job


@pytest.mark.parametrize(
    ("settings", "artifact_id"),
    [
        (Settings("mse"), "tflite-fp32"),
        (Settings(samples=10), "tflite-dynamic"),
        (EQUAL, "onnx-dynamic"),
        (Settings("mse"), "tflite-int16x8"),
        (Settings(float_layers=("a",)), "tflite-int8"),
        (Settings(float_layers=("a",)), "onnx-int8"),
        (DEFAULT, "tflite-int8-mixed"),
    ],
)
def test_settings_that_an_artifact_would_not_heed_are_refused(
    settings: Settings, artifact_id: str
) -> None:
    with pytest.raises(TargetError, match=rf"{artifact_id} cannot have"):
        check_settings(settings, ArtifactId.parse(artifact_id))


def test_settings_that_an_artifact_heeds_are_taken() -> None:
    for method in METHODS:
        for format_ in FORMATS:
            check_settings(Settings(method, 50), ArtifactId.parse(f"{format_}-int8"))
        mixed = ArtifactId.parse("tflite-int8-mixed")
        check_settings(Settings(method, 50, ("a",)), mixed)
    check_settings(Settings(samples=50), ArtifactId.parse("tflite-int16x8"))


def test_mixed_is_never_planned_and_cannot_be_asked_for() -> None:
    ids, missing = plan([], ["tflite", "onnx"], everything=True)
    assert not [name for name in (*ids, *missing) if "mixed" in name]
    with pytest.raises(UsageError, match="int8-mixed"):
        plan(["int8-mixed"], ["tflite"])
