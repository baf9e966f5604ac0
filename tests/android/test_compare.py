"""The comparison of the app with Python: several inputs and outputs, and every difference seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeward.convert.bundle.write import write_bundle
from edgeward.runtime.arrays import Array
from edgeward.runtime.artifact import Artifact, Drift, TensorSpec
from edgeward.runtime.bundle import Bundle
from edgeward.runtime.errors import InvalidDataError
from edgeward.runtime.files import sha256_bytes
from edgeward.runtime.golden import Expected, Golden
from edgeward.runtime.manifest import Manifest, Source
from edgeward.runtime.predictor import Runner
from edgeward.runtime.specs import InputSpec, OutputSpec
from edgeward.runtime.steps import Affine
from scripts.android.compare import compare, ulps
from scripts.android.jvm import Java
from scripts.android.recording import (
    Answer,
    Outputs,
    Recorder,
    answering,
    opening,
    play,
    same_checks,
)

INPUTS = {
    "noise": InputSpec("tensor", "float32", (6,), (Affine(0.3, -0.1),)),
    "years": InputSpec("tensor", "int32", (2, 3), ()),
}
OUTPUTS = {
    "image": OutputSpec("generation", None, None, (Affine(127.5, 127.5),)),
    "mood": OutputSpec("classification", ("calm", "bright")),
}


def both(inputs: Mapping[str, Array]) -> Outputs:
    """A model made of Python: each output hangs on both inputs."""
    noise = inputs["noise"].astype(np.int64).reshape(-1)
    years = inputs["years"].astype(np.int64).reshape(-1)
    image = (noise * 31 + years * 17) % 256 - 128
    total = int(image.sum())
    return {
        "image": image.astype(np.int8).reshape(1, 2, 3, 1),
        "mood": np.float32([[total / 7, -total / 7]]),
    }


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle with two inputs and two outputs."""
    model = b"no model: what answers is recorded"
    drifts = tuple(
        Drift(name, spec.task, metric, 1.0, 1.0, 0.0, 0.0, 0.01, 8, "pass", "fake 1")
        for (name, spec), metric in zip(OUTPUTS.items(), ("psnr", "accuracy"), strict=True)
    )
    ins = (
        TensorSpec("noise", "noise", (1, 6), "int8", 0.01, 3),
        TensorSpec("years", "years", (1, 2, 3), "int32"),
    )
    outs = (
        TensorSpec("image", "image", (1, 2, 3, 1), "int8", 1 / 128, 0),
        TensorSpec("mood", "mood", (1, 2), "float32"),
    )
    artifact = Artifact(
        "tflite-int8", "m.tflite", len(model), sha256_bytes(model), "int8", ins, outs, (), {},
        "static", False, 1, drifts,
    )  # fmt: skip
    manifest = Manifest(
        "two", 1, {}, Source("r", "0" * 64, "0" * 64), artifact.id, INPUTS, OUTPUTS, (artifact,)
    )
    vectors = samples(8)
    runner = Runner(artifact, Recorder(both), INPUTS, OUTPUTS)
    given = [runner.invoke(vector) for vector in vectors]
    expected = {name: np.concatenate([one[name] for one in given]) for name in OUTPUTS}
    golden = Golden(vectors, [Expected(artifact.id, "fake", "1", expected)])
    path = tmp_path_factory.mktemp("two") / "two"
    files = {"manifest.json": manifest.to_bytes(), "golden.json": golden.to_bytes()}
    write_bundle(path, {**files, "m.tflite": model})
    return Bundle.open(path)


def samples(count: int) -> list[dict[str, Array]]:
    rng = np.random.default_rng(29)
    return [
        {
            "noise": rng.normal(size=6).astype(np.float32),
            "years": rng.integers(-(2**31), 2**31, (2, 3), np.int64).astype(np.int32),
        }
        for _ in range(count)
    ]


@pytest.fixture(scope="module")
def asked(
    java: Java, opened: Bundle, tmp_path_factory: pytest.TempPathFactory
) -> tuple[list[dict[str, Any]], list[Answer]]:
    """The app's answers and Python's; the last sample is one that no side can use."""
    record = tmp_path_factory.mktemp("record") / "record.json"
    broken = {"noise": np.float32([np.nan] * 6), "years": np.zeros((2, 3), np.int32)}
    some = [*samples(100), broken]
    played = play(opened, record, samples=some, interpreter=both)
    verdicts, *answers = java.answers([opening(opened, record), *map(answering, some)])
    assert same_checks(verdicts, played.checks)
    assert played.checks["tflite-int8"].verdict == "exact"
    return answers, list(played.answers)


def test_several_inputs_and_outputs_are_pythons(
    asked: tuple[list[dict[str, Any]], list[Answer]],
) -> None:
    found = compare(*asked)
    assert found.none
    assert found.values == 100 * (6 + 2)
    assert asked[1][-1].refused
    assert {answer.outputs["mood"].label for answer in asked[1][:-1]} == {"calm", "bright"}


def changed(answer: dict[str, Any], name: str, **fields: Any) -> dict[str, Any]:
    outputs = {**answer["outputs"], name: {**answer["outputs"][name], **fields}}
    return {**answer, "outputs": outputs}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda a, _: {**a, "handed": "0" * 64}, "tensors"),
        (lambda a, b: changed(a, "image", base64=b["outputs"]["image"]["base64"]), "differing"),
        (lambda a, _: changed(a, "mood", label="dull"), "flips"),
        (lambda a, _: changed(a, "mood", index=2), "flips"),
        (lambda a, _: changed(a, "image", index=0), "flips"),
        (lambda a, _: changed(a, "mood", score=a["outputs"]["mood"]["score"] + 1), "problems"),
        (lambda a, _: changed(a, "image", shape="1,3,2,1"), "problems"),
        (lambda a, _: {**a, "outputs": {"mood": a["outputs"]["mood"]}}, "problems"),
        (lambda a, _: {"error": "InvalidDataException", "message": "no"}, "problems"),
        (lambda a, _: {"error": "NeverGiven", "message": "no"}, "differing"),
    ],
)
def test_every_difference_is_seen(
    asked: tuple[list[dict[str, Any]], list[Answer]],
    change: Callable[[dict[str, Any], dict[str, Any]], dict[str, Any]],
    field: str,
) -> None:
    answers, wanted = asked
    found = compare([*answers[:5], change(answers[5], answers[6]), *answers[6:]], wanted)
    assert not found.none
    assert getattr(found, field)


@pytest.mark.parametrize("error", ["NeverGiven", ""])
def test_what_python_refuses_the_app_must_refuse(
    asked: tuple[list[dict[str, Any]], list[Answer]], error: str
) -> None:
    answers, wanted = asked
    last = {"error": error, "message": "no"} if error else answers[0]
    assert compare([*answers[:-1], last], wanted).problems
    assert compare(answers[:-1], wanted).problems


def test_distances_are_counted_in_units_of_the_last_place() -> None:
    one = np.float32([1.0, -1.0, 0.0, 1e-40, 3.0])
    assert ulps(one, one) == 0
    assert ulps(one, np.nextafter(one, np.float32(4))) == 1
    # Denormal numbers are 0, but 0 is far from what is not.
    assert ulps(np.float32([1e-40]), np.float32([-1e-41])) == 0
    assert ulps(np.float32([0]), np.float32([1e-30])) > 1000
    assert ulps(np.float32([1e-30]), np.float32([-1e-30])) > 1000
    with pytest.raises(InvalidDataError):
        ulps(one, one.astype(np.float64))
    with pytest.raises(InvalidDataError):
        ulps(one, one[:1])


def test_a_record_holds_the_tensors_of_both_inputs(opened: Bundle, tmp_path: Path) -> None:
    some = samples(3)
    played = play(opened, tmp_path / "record", samples=some, interpreter=both)
    swapped = [{**some[0], "years": some[1]["years"]}]
    again = play(opened, tmp_path / "other", samples=swapped, interpreter=both)
    assert again.answers[0].handed not in {answer.handed for answer in played.answers}
