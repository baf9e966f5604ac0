"""Emulated ARM: a Raspberry Pi in 64 bit (Cortex-A72) and in 32 bit (Cortex-A15)."""

from __future__ import annotations

import functools
from pathlib import Path

from runtime.backends import BACKENDS
from scripts.devices.emulate import run
from scripts.devices.host import fitting
from scripts.devices.proof import Device, Measured, Subject, measured_by
from scripts.devices.roots import ROOTS

__all__ = ["devices"]

PROBE = Path(__file__).with_name("probe.py")


def devices() -> list[Device]:
    """Return every emulated processor with every runtime that exists for it.

    tflite-runtime's integer kernels on ARM give what the reference kernels give, bit for bit
    (those for x86 do not: 85 of 392,000 values of mnist_gan). LiteRT and onnxruntime have kernels
    of their own for each processor: what the manifest allows holds.
    """
    return [
        Device(
            f"{name} {BACKENDS[backend][0]}",
            name,
            BACKENDS[backend][0],
            functools.partial(_measure, machine=name, backend=backend),
            baseline=_baseline(backend),
            same_arithmetic=backend == "tflite",
        )
        for name, root in ROOTS.items()
        for backend in root.runtimes
    ]


def _baseline(backend: str) -> str:
    kernels = ", reference kernels" if backend == "tflite" else ""
    return f"host {BACKENDS[backend][0]}{kernels}"


def _measure(subject: Subject, *, machine: str, backend: str) -> list[Measured]:
    out = subject.folder / f"{machine}-{backend}.npz"
    arguments = (PROBE, subject.bundle.path, subject.file, out, subject.seconds)
    done = run(machine, backend, *arguments, "--backend", backend)
    return measured_by(done, out, fitting(subject, backend))
