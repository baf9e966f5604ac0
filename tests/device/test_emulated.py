"""Emulated ARM gives what x86 gives, on real samples; and damage is noticed on each device."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime.artifact import Artifact
from runtime.files import sha256_bytes
from scripts.devices import arm, emulate, host
from scripts.devices.proof import Device, Measured, Subject, judge, largest_difference
from scripts.devices.roots import ROOTS

# Minutes, most of them for downloads and the training of two small models.
pytestmark = [pytest.mark.device, pytest.mark.slow]

EMULATED = [(name, backend) for name, root in ROOTS.items() for backend in root.runtimes]
DEVICES = {device.name: device for device in (*host.devices(), *arm.devices())}
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
@pytest.mark.parametrize("name", ["aarch64 ai-edge-litert", "aarch64 onnxruntime"])
def test_other_runtimes_on_arm_stay_within_the_tolerance_of_the_bundle(
    name: str, model: str, measure: Measure, subjects: dict[str, Subject]
) -> None:
    device, subject = DEVICES[name], subjects[model]
    here, there = measure(str(device.baseline), model), measure(name, model)
    assert len(there) >= 2
    for artifact, found in there.items():
        assert found.runtime == here[artifact].runtime, found.error
        row = judge(device, subject, found, here[artifact])
        assert row.lsb <= allowed(row.artifact), row
        assert row.flips == 0
        # The twin: as far off as no kernel is.
        name_, values = next(iter(found.outputs.items()))
        wrong = replace(found, outputs={name_: np.roll(values, 1, axis=0)})
        assert judge(device, subject, wrong, here[artifact]).passed is False


def allowed(artifact: Artifact) -> int:
    floats = all(tensor.dtype == "float32" for tensor in artifact.outputs)
    return max(artifact.max_lsb, FLOAT_STEP if floats else 0)


@pytest.mark.parametrize(("machine", "backend"), EMULATED)
def test_command_line_on_arm_gives_the_accuracy_of_x86(
    machine: str, backend: str, subjects: dict[str, Subject]
) -> None:
    subject = subjects["mnist_cnn"]
    options = ("--artifact", DEFAULT[backend], "--backend", backend)
    words = (subject.bundle.path, "--data", subject.folder / "labelled.npz", *options)
    there = emulate.answer(machine, backend, "evaluate", *words)
    command = [sys.executable, "-m", "runtime", "evaluate", *map(str, words), "--json"]
    here = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    assert there["runtime"] == here["runtime"]
    assert there["metrics"] == here["metrics"]
    assert there["metrics"]["digit"]["accuracy"] > 0.9


def test_nothing_but_numpy_and_one_interpreter_is_there() -> None:
    code = "import importlib.util as u; print([n for n in NAMES if u.find_spec(n)])"
    names = ["tensorflow", "keras", "onnxruntime", "ai_edge_litert", "PIL", "tflite_runtime"]
    done = emulate.run("aarch64", "tflite", "-c", f"NAMES = {names}; {code}")
    assert done.stdout.strip() == "['tflite_runtime']"


# ---- the twins: damage, on the device itself


def selftest(machine: str, backend: str, folder: Path) -> subprocess.CompletedProcess[str]:
    options = ("--artifact", DEFAULT[backend], "--backend", backend)
    return emulate.run(machine, backend, "-m", "runtime", "selftest", folder, *options)


@pytest.mark.parametrize(("machine", "backend"), EMULATED)
def test_damage_is_noticed_on_the_device(
    machine: str, backend: str, copy: Path, edit: Callable[..., None], bundle: Path
) -> None:
    id_ = DEFAULT[backend]
    intact = selftest(machine, backend, copy)
    assert intact.returncode == 0, intact.stderr

    golden = json.loads((bundle / "golden.json").read_bytes())
    edit(copy, "golden.json", lambda tree: change_outputs(tree, id_))
    wrong = selftest(machine, backend, copy)
    assert wrong.returncode == 3, wrong.stdout
    assert "does not compute what was measured" in wrong.stderr
    assert f"wrong: {id_}" in wrong.stderr
    edit(copy, "golden.json", lambda tree: tree.update(golden))
    assert selftest(machine, backend, copy).returncode == 0

    (file,) = copy.glob(f"{id_}.*")
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    damaged = selftest(machine, backend, copy)
    assert damaged.returncode == 5
    assert f"{file.name} is damaged" in damaged.stderr

    # With every hash made to fit, only the answers tell.
    data[len(data) // 3 : len(data) // 2] = bytes(len(data) // 2 - len(data) // 3)
    file.write_bytes(data)
    edit(copy, "manifest.json", lambda tree: rehash(tree, id_, bytes(data)))
    tampered = selftest(machine, backend, copy)
    assert tampered.returncode == 3, tampered.stdout
    assert f"wrong: {id_}" in tampered.stderr


def change_outputs(tree: Mapping[str, Any], artifact: str) -> None:
    """Exchange the expected outputs of the golden vectors, in all runtimes."""
    for entry in tree["expected"]:
        if entry["artifact"] == artifact:
            tensor = entry["outputs"]["digit"]
            array = np.frombuffer(base64.b64decode(tensor["base64"]), tensor["dtype"])
            rolled = np.roll(array.reshape(tensor["shape"]), 1, axis=1)
            tensor["base64"] = base64.b64encode(rolled.tobytes()).decode()


def rehash(tree: Mapping[str, Any], artifact: str, data: bytes) -> None:
    for entry in tree["artifacts"]:
        if entry["id"] == artifact:
            entry["sha256"] = sha256_bytes(data)


def test_a_device_that_dies_is_no_device_that_passed(subjects: dict[str, Subject]) -> None:
    def die(subject: Subject) -> list[Measured]:
        return [Measured("tflite-int8", error="exit code -11")]

    device = Device("dead", "dead", "tflite-runtime", die, "host tflite-runtime", True)
    subject = subjects["mnist_cnn"]
    row = judge(device, subject, device.measure(subject)[0], None)
    assert row.passed is False
    assert row.verdict == "wrong"
