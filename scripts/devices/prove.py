"""Prove one bundle on devices, several at a time, and then show that each of them can fail."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import TypeVar

from edgeward.runtime.console import say
from edgeward.runtime.errors import EdgewardError
from scripts.devices import app
from scripts.devices.damage import Noticed, damaged, noticed
from scripts.devices.judge import claimed, judge
from scripts.devices.subject import Device, Measured, Row, Subject

__all__ = ["prove", "prove_app_damage", "prove_damage"]

T = TypeVar("T")


def prove(subject: Subject, devices: Sequence[Device]) -> list[Row]:
    """Run one bundle on devices and give one row for each artifact and device.

    Args:
        subject: The bundle and its samples.
        devices: Those to run; the baselines they name must be among them.
    """
    found = _on_each(subject.name, devices, lambda device: _measured(device, subject))
    rows: list[Row] = []
    for device in devices:
        baselines = {m.artifact: m for m in found.get(device.baseline or "", [])}
        rows += [judge(device, subject, m, baselines.get(m.artifact)) for m in found[device.name]]
    return rows


def _measured(device: Device, subject: Subject) -> list[Measured]:
    """Measure; what a device is said to hold and does not answer is an error, never left out."""
    artifacts = subject.bundle.manifest.artifacts
    held = [a for a in artifacts if device.holds(a) and claimed(device, subject, a)]
    try:
        found = device.measure(subject)
    except Exception as error:  # whatever one device does, the others are still to be proven
        problem = f"{type(error).__name__}: {error}"
        return [Measured(artifact.id, error=problem) for artifact in held]
    answered = {one.artifact for one in found}
    silent = [artifact.id for artifact in held if artifact.id not in answered]
    return [*found, *(Measured(id_, error="no answer") for id_ in silent)]


def prove_damage(
    subject: Subject, devices: Sequence[Device], rows: Sequence[Row], folder: Path
) -> list[Noticed]:
    """Run damaged copies of a bundle on devices.

    Args:
        subject: The intact bundle.
        devices: Those to run.
        rows: What they gave for the intact bundle.
        folder: An empty folder for the copies.
    """
    try:
        copies = damaged(subject, folder)
    except EdgewardError as error:
        first = subject.bundle.manifest.artifacts[0].id
        return [Noticed("no device", subject.name, first, "any", False, f"cannot damage: {error}")]

    def notice(device: Device) -> list[Noticed]:
        intact = [r.artifact.id for r in rows if r.passed and r.device == device.name]
        found = {damage: _measured(device, copy) for damage, copy in copies.items() if intact}
        return noticed(device, subject.name, found, intact)

    found = _on_each(f"{subject.name}, damaged", devices, notice)
    return [row for device in devices for row in found[device.name]]


def prove_app_damage(subject: Subject, folder: Path) -> list[Noticed]:
    """Damage what the Android app is given (its artifact, golden vectors, answers), and the APK."""
    artifacts = [a for a in subject.bundle.manifest.artifacts if a.format == "tflite"]
    if not artifacts:
        return []
    default = subject.bundle.manifest.default
    chosen = next((a.id for a in artifacts if a.id == default), artifacts[0].id)
    found = [(app.LOGIC, name, seen) for name, seen in app.damage(subject, folder)]
    found += [(app.PACKAGE, name, seen) for name, seen in app.package_damage(subject)]
    return [
        Noticed(device, subject.name, chosen, name, seen, "" if seen else "not noticed")
        for device, name, seen in found
    ]


def _on_each(what: str, devices: Sequence[Device], run: Callable[[Device], T]) -> dict[str, T]:
    """Run something on every device; says which one has finished, because some take minutes."""
    done: dict[str, T] = {}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        futures = {pool.submit(run, device): device.name for device in devices}
        for future in as_completed(futures):
            done[futures[future]] = future.result()
            say(f"{what}: {len(done)} of {len(devices)} devices, {futures[future]}")
    return done
