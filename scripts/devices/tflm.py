"""TensorFlow Lite Micro, the library of microcontrollers, on this machine's processor."""

from __future__ import annotations

import subprocess
import venv
from pathlib import Path

from edgeward.runtime.artifact import Artifact
from scripts.devices.cache import built
from scripts.devices.packages import own_package, pinned, pip
from scripts.devices.subject import Device, Measured, Subject, measured_by

__all__ = ["devices"]

RUNTIME = "tflite-micro"
# No release but development wheels; this one is what the op tables of convert/targets are from.
PIN = f"{RUNTIME}==0.dev20261023182759"
PROBE = Path(__file__).with_name("tflm_probe.py")
INTEGERS = ("int8", "int16x8")


def devices() -> list[Device]:
    """Return TFLM, which has the arithmetic of TFLite's reference kernels.

    Of those of tflite-runtime: LiteRT's have changed since. Its LSTM is its own (1 LSB), and so is
    something in int16 (1 LSB in 1 of 5,000 values of mnist_edge).
    """
    baseline = "host tflite-runtime, reference kernels"
    own = frozenset({"UNIDIRECTIONAL_SEQUENCE_LSTM", "int16x8"})
    return [Device("host tflite-micro", "tflm", RUNTIME, _measure, baseline, True, own, _integer)]


def _measure(subject: Subject) -> list[Measured]:
    artifacts = [a for a in subject.bundle.manifest.artifacts if _integer(a)]
    held = [a.id for a in artifacts if RUNTIME in a.min_runtime]
    reason = "an op that TFLM does not have, says the manifest"
    left = [Measured(a.id, error=reason) for a in artifacts if a.id not in held]
    if not held:
        return left
    python = built("tflm", [PIN, pinned("numpy")], _build) / "bin" / "python"
    out = subject.folder / "tflm.npz"
    command = (python, PROBE, subject.bundle.path, subject.file, out, subject.seconds, *held)
    done = subprocess.run(
        list(map(str, command)),
        env={"PYTHONPATH": str(own_package() / "site"), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=subject.timeout,
    )
    return [*measured_by(done, out, held), *left]


def _integer(artifact: Artifact) -> bool:
    # A float edge is what browsers want; a microcontroller gets the file without it.
    return artifact.format == "tflite" and artifact.id.removeprefix("tflite-") in INTEGERS


def _build(folder: Path) -> None:
    venv.create(folder, with_pip=False, symlinks=True)
    pip("--python", folder / "bin" / "python", "install", "--quiet", PIN, pinned("numpy"))
