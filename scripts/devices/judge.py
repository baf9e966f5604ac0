"""Compare what one device gave with what another one gave.

A device only measures; everything that judges is here, once for all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from edgeward.runtime.arrays import Array
from edgeward.runtime.artifact import Artifact
from edgeward.runtime.errors import InvalidDataError
from edgeward.runtime.golden import Expected, Golden
from edgeward.runtime.predictor import Runner
from edgeward.runtime.self_test import Check, check_runner
from edgeward.runtime.tasks import decide, evaluate_all
from scripts.devices.subject import Device, Measured, Row, Subject

__all__ = ["FLOAT_LIMIT", "claimed", "judge", "largest_difference", "runner_of"]

# Between two processors the same float32 graph differs in the order of its additions: 3e-6 were
# measured for a CNN, 2.3e-5 for LSTMs on armv7, whose steps add up. Eight steps of FORMAT.md,
# section 7, still far below any step of a quantised output.
FLOAT_LIMIT = 6e-5
FLOATS = ("fp32", "fp16")
INTEGERS = ("int8", "int16x8")


def judge(device: Device, subject: Subject, found: Measured, baseline: Measured | None) -> Row:
    """Compare and give the verdict."""
    artifact = subject.bundle.manifest.artifact(found.artifact)
    if found.check is None:
        return _not_run(device, subject, artifact, found.error)
    if device.baseline is not None and (baseline is None or not baseline.outputs):
        return _not_run(
            device, subject, artifact, f"{device.baseline} gave nothing to compare with"
        )
    golden = found.check
    problems = [_distance("golden vectors", golden)] if golden.verdict == "wrong" else []
    problems += _scores(subject, artifact, found)
    row = Row(
        device=device.name,
        bundle=subject.name,
        artifact=artifact,
        runtime=found.runtime,
        verdict="wrong" if problems else golden.verdict,
        passed=not problems,
        reason=", ".join(problems),
        golden=golden.verdict,
        differing=golden.differing,
        values=golden.values,
        lsb=golden.lsb,
        flips=golden.flips,
        metrics=found.metrics,
        given=len(subject.samples),
        seconds=found.seconds,
    )
    if baseline is None:
        return row
    # Whatever ran out of time gave the first samples only.
    count = min(_count(found), _count(baseline))
    found, baseline = _first(count, found), _first(count, baseline)
    check = _compare(subject, artifact, found, baseline)
    problems += _problems(device, artifact, check, largest_difference(found, baseline))
    exact = golden.verdict == "exact" and not check.differing
    return replace(
        row,
        verdict="wrong" if problems else "exact" if exact else "within tolerance",
        passed=not problems,
        reason=", ".join(problems),
        compared_with=device.baseline or "",
        differing=check.differing,
        values=check.values,
        samples=count,
        lsb=max(check.lsb, golden.lsb),
        flips=_label_flips(subject, artifact, found, baseline),
    )


def claimed(device: Device, subject: Subject, artifact: Artifact) -> bool:
    """Tell whether the bundle says that the runtime of a device holds an artifact."""
    return device.runtime in artifact.min_runtime or any(
        (entry.artifact, entry.runtime) == (artifact.id, device.runtime)
        for entry in subject.bundle.golden().expected
    )


def _scores(subject: Subject, artifact: Artifact, found: Measured) -> list[str]:
    """Score the device's answers here: it has to come to the same numbers."""
    targets = subject.samples.targets
    if not targets or not found.outputs:
        return []
    first = {name: column[: _count(found)] for name, column in targets.items()}
    values = runner_of(subject, artifact, found).values(found.outputs)
    try:
        wanted = evaluate_all(subject.bundle.manifest.outputs, values, first)
    except InvalidDataError as error:
        return [f"cannot be scored: {error.message}"]
    ours = {f"{o} {m}": value for o, one in wanted.items() for m, value in one.items()}
    theirs = {f"{o} {m}": value for o, one in found.metrics.items() for m, value in one.items()}
    same = ours.keys() == theirs.keys() and all(
        math.isclose(value, theirs[name], rel_tol=1e-6, abs_tol=1e-9)
        for name, value in ours.items()
    )
    return [] if same else [f"scores {theirs}, its answers score {ours}"]


def _not_run(device: Device, subject: Subject, artifact: Artifact, reason: str) -> Row:
    """Nothing was computed: a failure where the bundle says that this runtime holds it."""
    fails = claimed(device, subject, artifact)
    return Row(
        device=device.name,
        bundle=subject.name,
        artifact=artifact,
        runtime=device.runtime,
        verdict="wrong" if fails else "not held",
        passed=False if fails else None,
        reason=reason,
    )


def _problems(device: Device, artifact: Artifact, check: Check, largest: float) -> list[str]:
    parts = {artifact.variant, *(op.name for op in artifact.ops)}
    same = device.same_arithmetic and not device.but_for & parts
    if same and artifact.variant in INTEGERS:
        return [f"not bit-identical, {check.lsb} LSB"] if check.differing else []
    if same and artifact.variant in FLOATS:
        # Not "larger than": NaN is not.
        return [] if largest <= FLOAT_LIMIT else [f"float differs by {largest:.1e}"]
    return [_distance("samples", check)] if check.verdict == "wrong" else []


def _distance(where: str, check: Check) -> str:
    if check.flips:
        return f"{where}: {check.lsb} LSB, {check.flips} decisions"
    if check.crowded:
        return f"{where}: too many values differ in {check.crowded} answers"
    return f"{where}: {check.lsb} LSB where {check.max_lsb} are allowed"


class _Replay:
    """A backend that gives outputs again that were measured elsewhere, one sample at a time."""

    def __init__(self, found: Measured) -> None:
        self.runtime, _, self.version = found.runtime.partition(" ")
        self._outputs = found.outputs
        self._next = 0

    def run(self, _: Mapping[str, Array]) -> dict[str, Array]:
        """See ``runtime.backends.Backend``."""
        at = self._next
        self._next += 1
        return {name: values[at : at + 1] for name, values in self._outputs.items()}


def runner_of(subject: Subject, artifact: Artifact, found: Measured) -> Runner:
    """Return a runner that gives the answers of ``found`` again, to decode them."""
    manifest, vocabularies = subject.bundle.manifest, subject.bundle.vocabularies()
    return Runner(artifact, _Replay(found), manifest.inputs, manifest.outputs, vocabularies)


def _compare(subject: Subject, artifact: Artifact, found: Measured, baseline: Measured) -> Check:
    """Apply the self-test's own rules, the samples in place of the golden inputs."""
    columns = subject.samples.inputs
    inputs = [{n: column[i] for n, column in columns.items()} for i in range(_count(found))]
    runtime, _, version = baseline.runtime.partition(" ")
    expected = Expected(artifact.id, runtime, version, baseline.outputs)
    return check_runner(runner_of(subject, artifact, found), Golden(inputs, []), expected)


def _count(found: Measured) -> int:
    return len(next(iter(found.outputs.values())))


def _first(count: int, found: Measured) -> Measured:
    return replace(found, outputs={name: v[:count] for name, v in found.outputs.items()})


def largest_difference(found: Measured, baseline: Measured) -> float:
    """Return the largest difference of float outputs, relative to the largest value or to 1."""
    worst = 0.0
    for name, actual in found.outputs.items():
        wide = baseline.outputs[name].astype(np.float64)
        differs = float(np.abs(actual - wide).max() / max(1.0, np.abs(wide).max()))
        worst = max(worst, differs) if np.isfinite(differs) else np.inf
    return worst


def _label_flips(subject: Subject, artifact: Artifact, found: Measured, baseline: Measured) -> int:
    runner = runner_of(subject, artifact, found)
    flips = 0
    for name, spec in subject.bundle.manifest.outputs.items():
        if spec.task in ("classification", "binary"):
            ours, theirs = (
                decide(spec, runner.value(name, one.outputs[name])) for one in (found, baseline)
            )
            flips += int(np.count_nonzero(ours != theirs))
    return flips
