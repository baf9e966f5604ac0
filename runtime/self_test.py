"""Run the golden vectors on this machine and say *exact*, *within tolerance* or *wrong*.

FORMAT.md, section 7. A file can be intact and still compute something else here: another runtime
version, other kernels, another processor.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgeward.runtime.arrays import Array
from edgeward.runtime.backends import BACKENDS, available_backends, open_backend
from edgeward.runtime.bundle import Bundle
from edgeward.runtime.errors import EdgewardError, InvalidBundleError, MissingExtraError, UsageError
from edgeward.runtime.golden import Expected, Golden
from edgeward.runtime.manifest import Artifact, OutputSpec
from edgeward.runtime.predictor import Runner
from edgeward.runtime.tasks import decide

__all__ = [
    "Check",
    "Comparison",
    "check_runner",
    "compare",
    "decisions",
    "lsb_difference",
    "margin_lsb",
    "selftest",
]


# The unit of difference for float outputs, relative to the largest expected magnitude: 7.6e-6,
# above the 2.9e-6 measured between x86 and ARM kernels, far below any quantisation step.
FLOAT_LSB = 2.0**-17


@dataclass(frozen=True)
class Check:
    """The verdict on one artifact in one runtime.

    Attributes:
        artifact: Artifact id.
        runtime: Runtime and version used here.
        compared_with: Runtime and version of the expected outputs.
        verdict: ``exact``, ``within tolerance`` or ``wrong``.
        lsb: Largest difference in LSB; -1 where it could not be run at all.
        max_lsb: Largest difference allowed.
        differing: Number of output values that differ.
        values: Number of output values compared.
        flips: Number of decisions that differ although the expected margin exceeds ``max_lsb``.
        crowded: Number of answers in which more values differ than the limits allow.
        detail: What went wrong where it could not be run.
    """

    artifact: str
    runtime: str
    compared_with: str
    verdict: str
    lsb: int
    max_lsb: int
    differing: int
    values: int
    flips: int
    detail: str = ""
    crowded: int = 0


def lsb_difference(actual: Array, expected: Array) -> Array:
    """Return the difference of two equally shaped outputs in whole LSB, rounded up.

    Raises:
        InvalidBundleError: They differ in dtype or shape.
    """
    if actual.dtype != expected.dtype or actual.shape != expected.shape:
        raise InvalidBundleError(
            "Outputs cannot be compared.",
            received=f"{actual.dtype} {list(actual.shape)}",
            expected=f"{expected.dtype} {list(expected.shape)}",
        )
    if expected.dtype.kind in "iu":
        return np.abs(actual.astype(np.int64) - expected.astype(np.int64))
    wide = expected.astype(np.float64)
    with np.errstate(invalid="ignore"):  # inf - inf
        difference = np.abs(actual.astype(np.float64) - wide)
    huge = float(2**31)
    steps = np.nan_to_num(difference / _float_unit(wide), nan=huge, posinf=huge)
    return np.ceil(np.minimum(steps, huge)).astype(np.int64)


def _float_unit(expected: Array) -> float:
    # An infinity among the expected values would be a unit that swallows every difference.
    finite = np.abs(expected[np.isfinite(expected)])
    return FLOAT_LSB * max(1.0, float(finite.max(initial=0.0)))


@dataclass(frozen=True)
class Comparison:
    """The answers to V golden inputs against the expected ones.

    Attributes:
        lsb: int64 ``[V]``, largest difference of each answer in LSB.
        differing: int64 ``[V]``, values of each that differ, bit for bit.
        flips: int64 ``[V]``, decisions that differ although their margin exceeds ``max_lsb``.
        crowded: bool ``[V]``, whether more values differ than a limit of the tolerance allows.
        values: Number of values compared.
        max_lsb: Largest difference allowed.
    """

    lsb: Array
    differing: Array
    flips: Array
    crowded: Array
    values: int
    max_lsb: int

    @property
    def wrong(self) -> Array:
        """bool ``[V]``, the answers that no tolerance forgives."""
        beyond = (self.lsb > self.max_lsb) | (self.flips > 0) | self.crowded
        return np.asarray(beyond & (self.differing > 0))

    @property
    def verdict(self) -> str:
        """``exact``, ``within tolerance`` or ``wrong``."""
        if not self.differing.any():
            return "exact"
        # NaN where NaN is expected is exact, but no tolerance holds it.
        within = self.lsb.max() <= self.max_lsb and not (self.flips.any() or self.crowded.any())
        return "within tolerance" if within else "wrong"


def compare(
    runner: Runner, found: Mapping[str, Array], expected: Mapping[str, Array]
) -> Comparison:
    """Compare the answers to the golden inputs with the expected ones.

    Args:
        runner: The artifact, which has the tolerance, and its outputs.
        found: Output name -> ``[V, ...]``, before dequantisation.
        expected: The same of ``golden.json``.

    Raises:
        InvalidBundleError: They differ in dtype or shape.
    """
    artifact = runner.artifact
    vectors = len(next(iter(expected.values())))
    lsb = np.zeros(vectors, np.int64)
    differing = np.zeros(vectors, np.int64)
    flips = np.zeros(vectors, np.int64)
    crowded = np.zeros(vectors, bool)
    values = 0
    for tensor in artifact.outputs:
        actual, wanted = found[tensor.name], expected[tensor.name]
        difference = lsb_difference(actual, wanted).reshape(vectors, -1)
        lsb = np.maximum(lsb, difference.max(axis=1, initial=0))
        for limit in artifact.tolerance.get(tensor.name, ()):
            crowded |= np.count_nonzero(difference > limit.lsb, axis=1) > limit.values
        # Bit for bit, so that a float difference below one LSB is not called exact.
        unequal = (_bits(actual) != _bits(wanted)).reshape(vectors, -1)
        differing += np.count_nonzero(unequal, axis=1)
        values += difference.size
        spec = runner.outputs[tensor.name]
        if spec.task in ("classification", "binary"):
            tipped = decisions(runner, tensor.name, actual) != decisions(
                runner, tensor.name, wanted
            )
            clear = margin_lsb(runner, tensor.name, spec, wanted) > artifact.max_lsb
            flips += tipped & clear
    return Comparison(lsb, differing, flips, crowded, values, artifact.max_lsb)


def check_runner(runner: Runner, golden: Golden, reference: Expected) -> Check:
    """Run the golden inputs one by one and compare with ``reference``."""
    artifact = runner.artifact
    answers = [runner.invoke(sample) for sample in golden.inputs]
    found = {
        tensor.name: np.concatenate([one[tensor.name] for one in answers])
        for tensor in artifact.outputs
    }
    seen = compare(runner, found, reference.outputs)
    return Check(
        artifact=artifact.id,
        runtime=f"{runner.backend.runtime} {runner.backend.version}",
        compared_with=f"{reference.runtime} {reference.version}",
        verdict=seen.verdict,
        lsb=int(seen.lsb.max()),
        max_lsb=artifact.max_lsb,
        differing=int(seen.differing.sum()),
        values=seen.values,
        flips=int(seen.flips.sum()),
        crowded=int(np.count_nonzero(seen.crowded)),
    )


def _bits(array: Array) -> Array:
    return np.ascontiguousarray(array).view(f"u{array.dtype.itemsize}")


def decisions(runner: Runner, name: str, raw: Array) -> Array:
    """Return the decision of each sample: int64 ``[N]``, from raw outputs ``[N, ...]``."""
    return decide(runner.outputs[name], runner.value(name, raw))


def margin_lsb(runner: Runner, name: str, spec: OutputSpec, raw: Array) -> Array:
    """Return how far each decision is from tipping over, in LSB of the raw output: ``[N]``."""
    flat = raw.reshape(len(raw), -1).astype(np.float64)
    unit = _float_unit(flat) if raw.dtype.kind == "f" else 1.0
    if spec.task == "binary" or flat.shape[1] < 2:
        # In the decoded value, the step of one LSB: the scale of the output.
        scale = next(t.scale for t in runner.artifact.outputs if t.name == name)
        decoded = runner.value(name, raw).reshape(len(raw), -1)[:, 0].astype(np.float64)
        # Both rounded as everywhere else: 0.3 of the JSON lies on the other side of a border.
        threshold = np.float64(np.float32(spec.threshold or 0.0))
        return np.abs(decoded - threshold) / (np.float64(np.float32(scale)) if scale else unit)
    ordered = np.sort(flat, axis=1)
    return (ordered[:, -1] - ordered[:, -2]) / unit


def selftest(
    bundle: Path | str | Bundle, *, artifact: str | None = None, backend: str | None = None
) -> list[Check]:
    """Check artifacts of a bundle in the runtimes that are installed here.

    Args:
        bundle: The bundle.
        artifact: One artifact id, or None for all.
        backend: One backend, or None for every installed one.

    Returns:
        One check for each artifact and runtime, never empty.

    Raises:
        InvalidBundleError: The bundle is damaged, or holds no golden vectors.
        MissingExtraError: No installed runtime can run any of the artifacts.
    """
    opened = bundle if isinstance(bundle, Bundle) else Bundle.open(bundle)
    manifest = opened.manifest
    golden = opened.golden()
    if not golden.inputs:
        raise InvalidBundleError(
            "The bundle holds no golden vectors, so nothing can be checked.",
            fix="convert with test data",
        )
    chosen = manifest.artifacts if artifact is None else (manifest.artifact(artifact),)
    if backend is not None and backend not in BACKENDS:
        raise UsageError("Unknown backend.", received=backend, expected=list(BACKENDS))
    checks: list[Check] = []
    for entry in chosen:
        backends = [backend] if backend is not None else available_backends(entry.format)
        installed = [name for name in backends if name in available_backends(entry.format)]
        found = {name: _check_one(opened, golden, entry, name) for name in installed}
        checks += _telling(found, {e.runtime for e in golden.expected if e.artifact == entry.id})
    if not checks:
        if backend is not None:
            fitting = [a for a in chosen if a.format == BACKENDS[backend][3]]
            open_backend((*fitting, *chosen)[0], b"", backend)  # raises the error that fits
        raise MissingExtraError("An interpreter for these artifacts", "litert")
    return checks


def _telling(found: Mapping[str, Check], measured: Set[str]) -> list[Check]:
    """Leave out runtimes that cannot run an artifact and never could, as long as another one can.

    An artifact for a newer runtime is not wrong because an older one is installed as well.

    Args:
        found: Backend -> check of one artifact.
        measured: Runtimes that the artifact was measured in when it was converted.
    """
    able = [
        check for name, check in found.items() if check.lsb >= 0 or BACKENDS[name][0] in measured
    ]
    return able or list(found.values())


def _check_one(bundle: Bundle, golden: Golden, artifact: Artifact, backend: str) -> Check:
    manifest = bundle.manifest
    data = bundle.artifact_bytes(artifact)
    try:
        loaded = open_backend(artifact, data, backend)
        runner = Runner(artifact, loaded, manifest.inputs, manifest.outputs, bundle.vocabularies())
        reference = golden.reference(artifact, loaded.runtime, loaded.version)
        if reference is None:
            raise UsageError(f"golden.json has no outputs for {artifact.id}.")
        return check_runner(runner, golden, reference)
    except EdgewardError as error:
        # One artifact that cannot run here must not hide the verdicts on the others.
        return Check(artifact.id, backend, "-", "wrong", -1, artifact.max_lsb, 0, 0, 0, str(error))
