"""Emulated ARM gives what x86 gives, on real samples; and damage is noticed on each device."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from edgeward.runtime.artifact import Artifact
from edgeward.runtime.backends import BACKENDS
from scripts.devices import android, arm, emulate, host, tflm
from scripts.devices.damage import damaged, noticed
from scripts.devices.judge import judge, largest_difference
from scripts.devices.page import score
from scripts.devices.roots import ROOTS
from scripts.devices.subject import Device, Measured, Subject

# Minutes, most of them for downloads and the training of two small models.
pytestmark = [pytest.mark.device, pytest.mark.slow]

EMULATED = [(name, backend) for name, root in ROOTS.items() for backend in root.runtimes]
DEVICES = {d.name: d for module in (host, arm, android, tflm) for d in module.devices()}
ARM = [device.name for device in arm.devices()]
DEFAULT = {"tflite": "tflite-int8", "litert": "tflite-int8", "onnx": "onnx-int8"}
# The step between two processors that FORMAT.md, section 7, defines for float outputs.
FLOAT_STEP = 1
# The steps of a recurrent net add up: 2.3e-5 on armv7.
FLOAT_LIMITS = {"mnist_cnn": 1e-5, "text_lstm": 6e-5}
Measure = Callable[[str, str], dict[str, Measured]]


@pytest.fixture(scope="session")
def measure(subjects: dict[str, Subject]) -> Measure:
    """Measurements of a bundle on a device by artifact, each made once."""
    done: dict[tuple[str, str], dict[str, Measured]] = {}

    def call(device: str, model: str) -> dict[str, Measured]:
        if (device, model) not in done:
            found = DEVICES[device].measure(subjects[model])
            done[device, model] = {one.artifact: one for one in found}
        return done[device, model]

    return call


def spoiled(found: Measured) -> Measured:
    """The same measurement with one value one step off."""
    name, values = next(iter(found.outputs.items()))
    other = values.copy()
    at = other.reshape(len(other), -1)[7]
    if other.dtype.kind == "f":
        at[0] += np.float32(1e-3)
    else:
        at[0] += 1 if at[0] < 0 else -1
    return replace(found, outputs={**found.outputs, name: other})


def shifted(found: Measured) -> Measured:
    """The same measurement, each answer given to another sample."""
    name, values = next(iter(found.outputs.items()))
    return replace(found, outputs={**found.outputs, name: np.roll(values, 1, axis=0)})


@pytest.mark.parametrize("model", ["mnist_cnn", "text_lstm"])
@pytest.mark.parametrize("name", [n for n in ARM if n.endswith("tflite-runtime")])
def test_tflite_runtime_on_arm_computes_integers_as_on_x86(
    name: str, model: str, measure: Measure, subjects: dict[str, Subject]
) -> None:
    device, subject = DEVICES[name], subjects[model]
    here, there = measure(str(device.baseline), model), measure(name, model)
    assert {"tflite-fp32", "tflite-int8"} <= set(there)
    for artifact, found in there.items():
        assert found.runtime == here[artifact].runtime == "tflite-runtime 2.14.0", found.error
        assert found.check is not None
        row = judge(device, subject, found, here[artifact])
        assert row.flips == 0
        if row.artifact.variant == "fp32":
            assert largest_difference(found, here[artifact]) <= FLOAT_LIMITS[model]
        else:
            assert row.passed, row
            assert found.check.verdict != "wrong"
            assert found.check.compared_with == "tflite-runtime 2.14.0"
            assert row.differing == 0
            assert row.values >= 100
        # The twin: one value, one step.
        assert judge(device, subject, spoiled(found), here[artifact]).passed is False


@pytest.mark.parametrize("model", ["mnist_cnn", "text_lstm"])
@pytest.mark.parametrize(
    "name", ["aarch64 ai-edge-litert", "aarch64 onnxruntime", *(d.name for d in android.devices())]
)
def test_other_runtimes_stay_within_the_tolerance_of_the_bundle(
    name: str, model: str, measure: Measure, subjects: dict[str, Subject]
) -> None:
    device, subject = DEVICES[name], subjects[model]
    here, there = measure(str(device.baseline), model), measure(name, model)
    assert len(there) >= 2
    for artifact, found in there.items():
        assert found.runtime.partition(" ")[0] == device.runtime, found.error
        if device.group != "android":
            assert found.runtime == here[artifact].runtime
        assert score(found.metrics) == score(here[artifact].metrics) != ""
        row = judge(device, subject, found, here[artifact])
        assert row.lsb <= allowed(row.artifact), row
        assert row.flips == 0
        # The twin: as far off as no kernel is.
        assert judge(device, subject, shifted(found), here[artifact]).passed is False


def allowed(artifact: Artifact) -> int:
    floats = all(tensor.dtype == "float32" for tensor in artifact.outputs)
    return max(artifact.max_lsb, FLOAT_STEP if floats else 0)


@pytest.mark.parametrize("name", ARM)
def test_command_line_on_arm_says_what_its_answers_are(
    name: str, measure: Measure, subjects: dict[str, Subject], monkeypatch: pytest.MonkeyPatch
) -> None:
    device, subject = DEVICES[name], replace(subjects["mnist_cnn"], commands=True)
    backend = next(b for machine, b in EMULATED if name == f"{machine} {BACKENDS[b][0]}")
    answered: list[dict[str, Any]] = []

    def answer(*words: Any) -> dict[str, Any]:
        answered.append(emulate.answer(*words))
        return answered[-1]

    monkeypatch.setattr(arm, "answer", answer)
    found = {one.artifact: one for one in device.measure(subject)}
    assert [one.error for one in found.values()] == [""] * len(found)
    assert [set(one) for one in answered] == [
        {"checks", "verdict"},
        {"artifact", "runtime", "samples", "seconds", "metrics"},
    ]
    assert answered[1]["artifact"] == DEFAULT[backend]
    assert answered[1]["samples"] == len(subject.samples)
    assert answered[1]["metrics"]["digit"]["accuracy"] > 0.9
    here = measure(f"host {BACKENDS[backend][0]}", "mnist_cnn")[DEFAULT[backend]].metrics
    assert answered[1]["metrics"]["digit"]["accuracy"] == here["digit"]["accuracy"]
    # The twin: a command line that scores something else.
    answered[1]["metrics"]["digit"]["accuracy"] -= 0.01
    monkeypatch.setattr(arm, "answer", lambda *words: answered[words[2] == "evaluate"])
    wrong = arm._with_commands(found[DEFAULT[backend]], subject, "aarch64", backend)
    assert "python -m runtime says" in wrong.error
    assert judge(device, subject, wrong, None).passed is False


def test_nothing_but_numpy_and_one_interpreter_is_there() -> None:
    code = "import importlib.util as u; print([n for n in NAMES if u.find_spec(n)])"
    names = ["tensorflow", "keras", "onnxruntime", "ai_edge_litert", "PIL", "tflite_runtime"]
    done = emulate.run("aarch64", "tflite", "-c", f"NAMES = {names}; {code}")
    assert done.stdout.strip() == "['tflite_runtime']"


# ---- the twins: damage, on the device itself


@pytest.fixture(scope="session")
def spoilt(
    subjects: dict[str, Subject], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, Subject]]:
    """Damage -> damaged bundle, for each model."""
    folder = tmp_path_factory.mktemp("damaged")
    return {name: damaged(subject, folder / name) for name, subject in subjects.items()}


# What the command line says of each damage: its exit code and its words.
SAID = {
    "flipped bit": (5, "is damaged"),
    "exchanged weights": (3, "does not compute what was measured"),
    "changed golden vector": (3, "does not compute what was measured"),
}


@pytest.mark.parametrize(("machine", "backend"), EMULATED)
def test_the_command_line_on_arm_notices_damage(
    machine: str,
    backend: str,
    subjects: dict[str, Subject],
    spoilt: dict[str, dict[str, Subject]],
) -> None:
    def selftest(subject: Subject) -> subprocess.CompletedProcess[str]:
        options = ("--artifact", DEFAULT[backend], "--backend", backend)
        command = ("-m", "runtime", "selftest", subject.bundle.path, *options)
        return emulate.run(machine, backend, *command)

    intact = selftest(subjects["mnist_cnn"])
    assert intact.returncode == 0, intact.stderr
    assert set(spoilt["mnist_cnn"]) == set(SAID)
    for damage, subject in spoilt["mnist_cnn"].items():
        code, words = SAID[damage]
        done = selftest(subject)
        assert done.returncode == code, (damage, done.stdout, done.stderr)
        assert words in done.stderr
        assert DEFAULT[backend] in done.stderr


@pytest.mark.parametrize("model", ["mnist_cnn", "text_lstm"])
@pytest.mark.parametrize("name", list(DEVICES))
def test_every_device_notices_every_damage_of_every_artifact(
    name: str, model: str, measure: Measure, spoilt: dict[str, dict[str, Subject]]
) -> None:
    right = {id_ for id_, found in measure(name, model).items() if found.check is not None}
    if (name, model) == ("host tflite-micro", "text_lstm"):
        assert right == set()  # TFLM has no op for the embedding
        return
    device = DEVICES[name]
    found = {damage: device.measure(copy) for damage, copy in spoilt[model].items()}
    rows = noticed(device, model, found, sorted(right))
    assert len(rows) == len(SAID) * len(right) >= 3
    assert [row for row in rows if not row.passed] == []


@pytest.mark.parametrize("name", ["host ai-edge-litert", "host tflite-micro"])
def test_an_intact_bundle_is_not_called_damaged(name: str, subjects: dict[str, Subject]) -> None:
    subject = subjects["mnist_cnn"]
    found = dict.fromkeys(SAID, DEVICES[name].measure(subject))
    rows = noticed(DEVICES[name], "mnist_cnn", found, ["tflite-int8"])
    assert [row.passed for row in rows] == [False] * 3
    assert {row.said for row in rows} <= {f"exact, {n} LSB" for n in range(1)} | {
        f"within tolerance, {n} LSB" for n in range(1, 20)
    }


def test_a_device_that_dies_is_no_device_that_passed(subjects: dict[str, Subject]) -> None:
    def die(subject: Subject) -> list[Measured]:
        return [Measured("tflite-int8", error="exit code -11")]

    device = Device("dead", "dead", "tflite-runtime", die, "host tflite-runtime", True)
    subject = subjects["mnist_cnn"]
    row = judge(device, subject, device.measure(subject)[0], None)
    assert row.passed is False
    assert row.verdict == "wrong"
