"""Sabotaged conversions of real nets: what costs accuracy is refused, and the cause is found.

What does no harm passes, and the verdict says by how much. The table of docs/drift.md is what
``pytest -s -m "" tests/convert/test_sabotage.py`` prints.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import numpy as np
import pytest
from damage import scale_channel, shift_range, shift_zero_point
from sabotage import BUDGET, Outcome, Workbench
from support import REPOSITORY

from edgeward.convert.measure.reproduce import reproduce
from edgeward.convert.samples.calibration import choose_calibration
from edgeward.convert.source.open import open_source
from edgeward.convert.source.source import Source
from edgeward.runtime.arrays import Array
from edgeward.runtime.errors import ReproductionError
from edgeward.runtime.samples import Samples
from edgeward.runtime.specs import InputSpec
from edgeward.runtime.steps import Affine

DOCS = REPOSITORY / "docs" / "drift.md"
TFLITE, ONNX = "tflite-int8", "onnx-int8"


@pytest.fixture(scope="module")
def table() -> Iterator[list[str]]:
    """Rows of the table; printed at the end."""
    rows: list[str] = []
    yield rows
    print(
        "\n| damage | artifact | drop | bound | verdict | cause found |\n|---|---|---|---|---|---|"
    )
    print("\n".join(rows))


@pytest.fixture(scope="module")
def digits(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Workbench:
    return Workbench(open_source(run), tmp_path_factory.mktemp("digits"))


def coloured(images: Array) -> Array:
    """Real digits in three channels of different ranges, float32 0..1."""
    gray = np.asarray(images, np.float32) / 255
    return np.concatenate([gray, 0.25 * gray, 0.6 + 0.1 * gray], axis=-1)


@pytest.fixture(scope="module")
def colours(digits: Workbench, tmp_path_factory: pytest.TempPathFactory) -> Workbench:
    """A net of three channels, trained here for some seconds."""
    source, folder = digits.source, tmp_path_factory.mktemp("colours")
    validation = source.validation()
    assert validation is not None
    both = (source.calibration, validation)
    images = np.concatenate([np.asarray(samples.inputs["image"]) for samples in both])
    targets = np.concatenate([samples.targets["digit"] for samples in both])
    keras.utils.set_random_seed(1)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((28, 28, 3), name="image"),
            layers.Conv2D(8, 3, strides=2, activation="relu"),
            layers.Conv2D(16, 3, strides=2, activation="relu"),
            layers.Flatten(),
            layers.Dense(10, activation="softmax", name="digit"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(coloured(images), targets, epochs=4, batch_size=32, verbose=0)
    model.save(folder / "colours.keras")

    def painted(samples: Samples) -> Samples:
        return Samples({"image": coloured(np.asarray(samples.inputs["image"]))}, samples.targets)

    own = replace(
        source,
        model=folder / "colours.keras",
        inputs={"image": InputSpec("tensor", "float32", (28, 28, 3), ())},
        calibration=painted(source.calibration),
        test=painted(source.test),
        validation_file=None,
    )
    return Workbench(own, folder)


def note(table: list[str], damage: str, artifact_id: str, outcome: Outcome, cause: str) -> None:
    drift = outcome.drift
    table.append(
        f"| {damage} | {artifact_id} | {100 * drift.drop:+.2f} | {100 * drift.upper_bound:.2f} | "
        f"{drift.verdict} | {cause or '-'} |"
    )
    # The verdict is that of the numbers, and the documentation shows it.
    allowed = "pass" if drift.upper_bound <= BUDGET else ("refused", "inconclusive")
    assert drift.verdict in allowed
    assert (drift.verdict == "refused") == (drift.drop > BUDGET)
    shown = [line for line in DOCS.read_text().splitlines() if line.startswith(f"| {damage} |")]
    assert any(f"| {artifact_id} |" in line and f"| {drift.verdict} |" in line for line in shown)


def check(outcome: Outcome, verdict: str, cause: str) -> None:
    assert outcome.drift.verdict == verdict
    assert cause in outcome.causes


# ---- calibration


@dataclass(frozen=True)
class Calibration:
    """Damaged calibration samples: of raw images ``x`` and their digits ``y``."""

    name: str
    net: str
    change: Callable[[Array, Array], Array]
    verdict: str
    cause: str


def slow_where(case: Calibration, artifact_id: str) -> object:
    """One format is enough for most days, and so is one of two cases that are alike."""
    fast = artifact_id == TFLITE and case.name not in ("x 0.01 (floats)", "channels rotated")
    marks = () if fast else (pytest.mark.slow,)
    return pytest.param(case, artifact_id, marks=marks, id=f"{case.name}-{artifact_id}")


CALIBRATIONS = [
    Calibration("undamaged", "digits", lambda x, y: x, "pass", ""),
    Calibration("undamaged, 3 channels", "colours", lambda x, y: x, "pass", ""),
    Calibration("zeros", "digits", lambda x, y: x * 0, "refused", "as if nothing had been loaded"),
    Calibration("x 0.01 (bytes)", "digits", lambda x, y: (x * 0.01).astype(np.uint8), "refused",
                "divided by 100 once more"),
    Calibration("x 0.01 (floats)", "colours", lambda x, y: x * np.float32(0.01), "refused",
                "divided by 100 once more"),
    Calibration("0..255 for 0..1", "colours", lambda x, y: x * np.float32(255), "refused",
                "left out of a division by 255"),
    Calibration("BGR for RGB", "colours", lambda x, y: x[..., ::-1].copy(), "pass",
                "2 -> 0, 0 -> 2 would fit"),
    Calibration("channels rotated", "colours", lambda x, y: np.roll(x, 1, axis=-1), "pass",
                "stand in another order"),
    Calibration("NCHW for NHWC", "colours",
                lambda x, y: x.transpose(0, 3, 1, 2).reshape(x.shape).copy(), "pass",
                "of another layout?"),
    Calibration("transposed", "digits", lambda x, y: x.swapaxes(1, 2).copy(), "pass",
                "transposed (height and width exchanged)"),
    Calibration("one class", "digits", lambda x, y: x[y == 1], "pass", "of one class only"),
    Calibration("one sample", "digits", lambda x, y: x[:1], "pass", "only 1 calibration samples"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("case", "artifact_id"),
    [slow_where(case, artifact_id) for artifact_id in (TFLITE, ONNX) for case in CALIBRATIONS],
)
def test_damaged_calibration(
    case: Calibration, artifact_id: str, table: list[str], request: pytest.FixtureRequest
) -> None:
    bench: Workbench = request.getfixturevalue(case.net)
    good = choose_calibration(bench.source)
    images, targets = np.asarray(good.inputs["image"]), good.targets["digit"]
    samples = case.change(images, targets)
    data = bench.make(artifact_id, samples)
    outcome = bench.judge(artifact_id, data, Samples({"image": samples}))
    note(table, case.name, artifact_id, outcome, "calibration" if case.cause else "")
    check(outcome, case.verdict, case.cause)
    if not case.cause:
        assert outcome.causes == ""
    if case.verdict == "refused":
        assert "range" in outcome.layer


def test_one_class_is_named_where_the_file_has_targets(digits: Workbench) -> None:
    good = choose_calibration(digits.source)
    ones = good.take(np.flatnonzero(good.targets["digit"] == 1))
    artifact = digits.twin(TFLITE)
    outcome = digits.judge("tflite-fp32", artifact, ones, layers=False)
    assert outcome.doubts[0].startswith("the calibration samples are of class 1 of 'digit' only")


# ---- the file


@dataclass(frozen=True)
class Damage:
    """A file damaged in one layer."""

    name: str
    change: Callable[[str, bytes], bytes]
    verdict: str
    cause: str
    formats: tuple[str, ...] = (TFLITE, ONNX)


def zero_point(shift: int) -> Callable[[str, bytes], bytes]:
    return lambda artifact_id, data: shift_zero_point(artifact_id, data, shift)


DAMAGES = [
    Damage("weights of a channel of the first layer x 2",
           lambda a, data: scale_channel(a, data, 2, last=False), "pass",
           "weights of channel 0 (1 of 32)"),
    Damage("weights of a channel of the last layer x 100",
           lambda a, data: scale_channel(a, data, 100, last=True), "refused",
           "weights of channel 0 (1 of 10)"),
    Damage("zero point read 1 too high", zero_point(1), "pass", "zero point differs"),
    Damage("zero point read 3 too high", zero_point(3), "inconclusive", "layer flatten"),
    Damage("zero point read 10 too high", zero_point(10), "refused", "layer flatten"),
    *(
        Damage(f"zero point moved by {shift}, for writer and reader",
               lambda a, data, shift=shift: shift_range(data, shift), "pass", "", (TFLITE,))
        for shift in (1, 3, 10)
    ),
]  # fmt: skip


@pytest.fixture(scope="module")
def healthy(digits: Workbench) -> dict[str, bytes]:
    """The undamaged int8 artifacts."""
    images = np.asarray(choose_calibration(digits.source).inputs["image"])
    return {artifact_id: digits.make(artifact_id, images) for artifact_id in (TFLITE, ONNX)}


@pytest.mark.parametrize(
    ("case", "artifact_id"),
    [(case, artifact_id) for case in DAMAGES for artifact_id in case.formats],
    ids=lambda value: getattr(value, "name", value),
)
def test_damaged_file(
    case: Damage,
    artifact_id: str,
    digits: Workbench,
    healthy: dict[str, bytes],
    table: list[str],
) -> None:
    damaged = case.change(artifact_id, healthy[artifact_id])
    assert damaged != healthy[artifact_id]
    good = choose_calibration(digits.source)
    outcome = digits.judge(artifact_id, damaged, good)
    note(table, case.name, artifact_id, outcome, "layer" if case.cause else "")
    check(outcome, case.verdict, case.cause)
    # Calibration is not accused of it.
    assert outcome.doubts == ()


# ---- the run: float model and artifact are wrong alike, and the metric of training tells


def permuted(source: Source) -> Source:
    """Class 0 is called 1, and so on."""
    targets = (source.test.targets["digit"] + 1) % 10
    return replace(source, test=Samples(source.test.inputs, {"digit": targets}))


def scaled(source: Source) -> Source:
    """Preprocessing divides by 25.5 for 255."""
    spec = source.inputs["image"]
    steps = tuple(
        replace(step, scale=10 * step.scale) if isinstance(step, Affine) else step
        for step in spec.preprocessing
    )
    assert steps != spec.preprocessing
    return replace(source, inputs={"image": replace(spec, preprocessing=steps)})


def transposed(source: Source) -> Source:
    """Images of the test split lie on their side."""
    images = np.asarray(source.test.inputs["image"]).swapaxes(1, 2).copy()
    return replace(source, test=Samples({"image": images}, source.test.targets))


@pytest.mark.parametrize(
    ("name", "change", "cause", "words"),
    [
        ("labels permuted", permuted, "labels",
         "if the targets meant other classes (0 -> 9, 1 -> 0"),
        ("preprocessing x 10", scaled, "preprocessing or data", "preprocessing"),
        ("layout transposed", transposed, "preprocessing or data", "test.npz"),
    ],
)  # fmt: skip
def test_damaged_run_does_not_reproduce_its_metric(
    name: str,
    change: Callable[[Source], Source],
    cause: str,
    words: str,
    digits: Workbench,
    healthy: dict[str, bytes],
    table: list[str],
) -> None:
    damaged = change(digits.source)
    float_ = digits.values("tflite-fp32", digits.twin(TFLITE), damaged)
    with pytest.raises(ReproductionError) as caught:
        reproduce(damaged, float_)
    assert caught.value.exit_code == 5
    assert words in str(caught.value)
    assert ("other classes" in str(caught.value)) == (cause == "labels")
    row = f"| {name} | all | - | - | exit 5 | {cause} |"
    table.append(row)
    assert row in DOCS.read_text()
    # The twin: the undamaged run does, and of the two models the damage shows no drift at all.
    reproduce(digits.source, digits.values("tflite-fp32", digits.twin(TFLITE)))
    target = damaged.test.targets["digit"]
    right = [
        np.mean(values["digit"].argmax(axis=1) == target)
        for values in (float_, digits.values(TFLITE, healthy[TFLITE], damaged))
    ]
    assert right[0] - right[1] < BUDGET
