"""This machine: each installed runtime, with its kernels and with others."""

from __future__ import annotations

import functools
import subprocess
import sys
from pathlib import Path

from edgeward.runtime.backends import BACKENDS, available_backends
from scripts.devices.subject import Device, Measured, Subject, measured_by

__all__ = ["devices", "fitting"]

PROBE = Path(__file__).with_name("child.py")
# Kernels -> what the table calls them.
OTHERS = {"reference": "reference kernels", "no-delegate": "no XNNPACK"}


def devices() -> list[Device]:
    """Return the runtimes installed here, the one that the others are compared with first."""
    found: list[Device] = []
    for backend in (*available_backends("tflite"), *available_backends("onnx")):
        name = f"host {BACKENDS[backend][0]}"
        first = f"host {BACKENDS[available_backends(BACKENDS[backend][3])[0]][0]}"
        found.append(_device(name, backend, "default", None if name == first else first))
        if backend == "onnx":
            found.append(_device(f"{name}, unoptimised graph", backend, "reference", name))
            continue
        found += [_device(f"{name}, {text}", backend, key, name) for key, text in OTHERS.items()]
    return found


def _device(name: str, backend: str, kernels: str, baseline: str | None) -> Device:
    measure = functools.partial(_measure, backend=backend, kernels=kernels)
    return Device(name, "host", BACKENDS[backend][0], measure, baseline)


def fitting(subject: Subject, backend: str) -> list[str]:
    """Return the ids of the artifacts in a backend's format."""
    format_ = BACKENDS[backend][3]
    return [a.id for a in subject.bundle.manifest.artifacts if a.format == format_]


def _measure(subject: Subject, *, backend: str, kernels: str) -> list[Measured]:
    out = subject.folder / f"host-{backend}-{kernels}.npz"
    options = (out, subject.seconds, "--backend", backend, "--kernels", kernels)
    command = (sys.executable, PROBE, subject.bundle.path, subject.file, *options)
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, timeout=subject.timeout
    )
    return measured_by(done, out, fitting(subject, backend))
