"""Emulated ARM: a Raspberry Pi in 64 bit (Cortex-A72) and in 32 bit (Cortex-A15)."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path

from edgeward.runtime.backends import BACKENDS
from edgeward.runtime.bundle import Bundle
from edgeward.runtime.errors import EdgewardError
from edgeward.runtime.samples import save_samples
from scripts.devices.emulate import answer, run
from scripts.devices.host import fitting
from scripts.devices.roots import ROOTS
from scripts.devices.subject import Device, Measured, Subject, measured_by

__all__ = ["devices"]

PROBE = Path(__file__).with_name("child.py")


def devices() -> list[Device]:
    """Return every emulated processor with every runtime that exists for it.

    tflite-runtime's int8 kernels on ARM give what the reference kernels give, bit for bit (those
    for x86 do not: 85 of 392,000 values of mnist_gan). Those for int16 do not: one step in 11 of
    6,400 values of a dense layer, two of forecast_lstm. LiteRT and onnxruntime have kernels of
    their own for each processor. There what the manifest allows holds.
    """
    return [
        Device(
            f"{name} {BACKENDS[backend][0]}",
            name,
            BACKENDS[backend][0],
            functools.partial(_measure, machine=name, backend=backend),
            baseline=_baseline(backend),
            same_arithmetic=backend == "tflite",
            but_for=frozenset({"int16x8"}),
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
    done = run(machine, backend, *arguments, "--backend", backend, timeout=subject.timeout)
    found = measured_by(done, out, fitting(subject, backend))
    if not subject.commands:
        return found
    chosen = first_choice(subject.bundle, found)
    return [
        _with_commands(m, subject, machine, backend) if m.artifact == chosen else m for m in found
    ]


def first_choice(bundle: Bundle, found: list[Measured]) -> str:
    """Return the artifact that a user of this runtime would take: int8, else the smallest."""
    artifacts = [bundle.manifest.artifact(m.artifact) for m in found if m.check is not None]
    ordered = sorted(artifacts, key=lambda a: (a.variant != "int8", a.size))
    return ordered[0].id if ordered else ""


def _with_commands(found: Measured, subject: Subject, machine: str, backend: str) -> Measured:
    """Run ``python -m runtime selftest`` and ``evaluate`` there; they have to say what we say."""
    options = (subject.bundle.path, "--artifact", found.artifact, "--backend", backend)
    data = subject.folder / f"{machine}-{backend}-scored.npz"
    save_samples(data, subject.samples.take(range(len(next(iter(found.outputs.values()))))))
    try:
        check = answer(machine, backend, "selftest", *options)["checks"][0]
        scored = {}
        if subject.samples.targets:
            scored = answer(machine, backend, "evaluate", *options, "--data", data)["metrics"]
    except EdgewardError as error:
        return replace(found, check=None, error=str(error))
    ours = (found.check and found.check.verdict, found.metrics)
    theirs = (check["verdict"], scored)
    if ours == theirs:
        return found
    problem = f"python -m runtime says {theirs}, the same answers are {ours}"
    return replace(found, check=None, error=problem)
