"""What a device is, what it measures, and what comes of it: one row of the table."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edgeward.runtime.arrays import Array
from edgeward.runtime.artifact import Artifact
from edgeward.runtime.bundle import Bundle
from edgeward.runtime.samples import Samples
from edgeward.runtime.self_test import Check

__all__ = ["Device", "Measured", "Metrics", "Row", "Subject", "measured_by"]

# Output -> metric -> value, as ``python -m runtime evaluate`` gives them.
Metrics = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Subject:
    """One bundle and the real samples it is run on.

    Args:
        bundle: The bundle.
        samples: N raw samples, with their targets where there are any.
        file: The same samples as an ``.npz``.
        folder: An empty folder for whatever the devices write.
        seconds: For the samples of one artifact on one device, which then runs fewer of them:
            an emulated LSTM takes half a second for each.
        commands: Devices with a command line run that as well, and it has to say the same.
    """

    bundle: Bundle
    samples: Samples
    file: Path
    folder: Path
    seconds: float = 10.0
    commands: bool = False

    @property
    def name(self) -> str:
        """The bundle's name."""
        return self.bundle.manifest.name

    @property
    def timeout(self) -> float:
        """Seconds after which a process that runs all artifacts is stuck."""
        return 600 + 2 * self.seconds * len(self.bundle.manifest.artifacts)


@dataclass(frozen=True)
class Measured:
    """What one artifact gave on one device.

    Args:
        artifact: Artifact id.
        runtime: Runtime and version; empty where it could not be run.
        seconds: Per sample.
        check: The self-test's verdict on the golden vectors.
        outputs: Output name -> raw outputs of the first samples.
        metrics: What these samples score, computed on the device; empty without targets.
        error: Why it could not be run.
    """

    artifact: str
    runtime: str = ""
    seconds: float = 0.0
    check: Check | None = None
    outputs: Mapping[str, Array] = field(default_factory=dict)
    metrics: Metrics = field(default_factory=dict)
    error: str = ""


@dataclass(frozen=True)
class Device:
    """One way to run artifacts.

    Args:
        name: Unique; what the table shows.
        group: What ``--devices`` selects by.
        runtime: Distribution name of its interpreter, as in ``golden.json``.
        measure: Runs every artifact that the device can hold.
        baseline: Device whose outputs it is compared with; None where the golden vectors are all
            there is to compare with.
        same_arithmetic: It computes as its baseline does: integer artifacts have to be
            bit-identical and float ones within ``judge.FLOAT_LIMIT``. Otherwise the manifest's
            ``max_lsb`` holds.
        but_for: Ops and variants that it computes in another way all the same: with one of them
            ``max_lsb`` holds.
        holds: Whether it is one for an artifact at all, its runtime apart.
    """

    name: str
    group: str
    runtime: str
    measure: Callable[[Subject], list[Measured]]
    baseline: str | None = None
    same_arithmetic: bool = False
    but_for: frozenset[str] = frozenset()
    holds: Callable[[Artifact], bool] = lambda _: True


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        golden: Verdict of the self-test.
        verdict: ``exact``, ``within tolerance``, ``wrong`` or ``not held``, over the golden
            vectors and all samples.
        differing: Values that differ from the baseline's, of ``values``.
        samples: Samples compared: fewer than given where the device ran out of time.
        lsb: Largest difference, golden vectors included.
        flips: Samples whose decision (label) differs, however small the margin.
        metrics: What the samples score on the device.
        given: Samples that there were.
        passed: None where the device does not claim to hold the artifact.
    """

    device: str
    bundle: str
    artifact: Artifact
    runtime: str
    verdict: str
    passed: bool | None
    reason: str = ""
    compared_with: str = "golden vectors"
    golden: str = ""
    differing: int = 0
    values: int = 0
    samples: int = 0
    lsb: int = 0
    flips: int = 0
    metrics: Metrics = field(default_factory=dict)
    given: int = 0
    seconds: float = 0.0


def measured_by(
    done: subprocess.CompletedProcess[str], out: Path, expected: Sequence[str]
) -> list[Measured]:
    """Read what ``child.py`` left.

    Args:
        done: The process.
        out: Its file of outputs.
        expected: Artifacts it was to run, for the case that it died.
    """
    if done.returncode:
        problem = f"exit code {done.returncode}: {done.stderr.strip()[-300:]}"
        return [Measured(name, error=problem) for name in expected]
    entries: list[dict[str, Any]] = json.loads(done.stdout)["artifacts"]
    with np.load(out, allow_pickle=False) as data:
        arrays = {key: data[key] for key in data.files}
    found = []
    for entry in entries:
        name = entry["artifact"]
        outputs = {k.partition("/")[2]: v for k, v in arrays.items() if k.startswith(f"{name}/")}
        check = Check(**entry["check"]) if "check" in entry else None
        found.append(
            Measured(
                *(name, entry.get("runtime", ""), entry.get("seconds", 0.0), check, outputs),
                entry.get("metrics", {}),
                entry.get("error", ""),
            )
        )
    return found
