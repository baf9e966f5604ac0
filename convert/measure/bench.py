"""Lint, target check and measurement of every artifact that was made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from edgeward.convert.artifact.lint import describe
from edgeward.convert.artifact.locate import locate_ops
from edgeward.convert.layers.compare import compare_layers
from edgeward.convert.layers.parting import find_parting
from edgeward.convert.layers.report import LayerReport
from edgeward.convert.measure.measure import Measured, describe_artifact, measure
from edgeward.convert.source.source import Source
from edgeward.convert.targets.target import Target, min_runtimes
from edgeward.convert.variants import ArtifactId
from edgeward.convert.worker.conversion import Conversion
from edgeward.convert.worker.isolate import isolated
from edgeward.convert.worker.memory import is_transient
from edgeward.runtime.arrays import Floats
from edgeward.runtime.errors import EdgewardError, InvalidManifestError, TargetError
from edgeward.runtime.samples import Samples

__all__ = [
    "Bench",
    "measure_all",
    "measure_one",
]


@dataclass(frozen=True)
class Bench:
    """What every artifact is measured with.

    Attributes:
        folder: Work folder that holds the artifacts.
        source: The model's data and specs.
        values: Output name -> the float model's values on the test split.
        golden: The golden inputs.
        max_drop: Largest drift allowed; None takes the source's own budgets.
        targets: Format -> the runtimes that must accept its artifacts. Those that were named, and
            are installed in that version, are the only ones that are measured in.
        timeout: Seconds that measuring one artifact may take, in all its runtimes, and as many for
            comparing its layers; None is no limit.
        memory: Bytes that each of these may take, see ``convert.worker.isolate.isolated``.
    """

    folder: Path
    source: Source
    values: Mapping[str, Floats]
    golden: Samples
    max_drop: float | None
    targets: Mapping[str, Sequence[Target]]
    timeout: float | None = None
    memory: int | None = None


def measure_all(
    conversion: Conversion, bench: Bench, *, tolerant: bool, progress: Callable[[str], None]
) -> list[Measured]:
    """Measure each artifact in every installed runtime.

    Args:
        conversion: What was made; what fails here is added to ``missing`` when ``tolerant``.
        bench: What to measure with.
        tolerant: Go on where an artifact cannot be used.
        progress: Called with one line per artifact.

    Raises:
        TargetError: An artifact is not what its name says, does not fit its target, no runtime
            runs it, or one hangs; and not ``tolerant``.
    """
    every: list[Measured] = []
    for artifact_id, stateful in conversion.made.items():
        progress(f"measuring {artifact_id} on {len(bench.source.test):,} samples")
        twin_id = str(ArtifactId.parse(artifact_id).twin)
        twin = next((m.artifact.size for m in every if m.artifact.id == twin_id), None)
        try:
            measured, remark = measure_one(artifact_id, stateful, twin, bench)
            every.append(measured)
            conversion.notes += [remark] if remark else []
        except (InvalidManifestError, TargetError) as error:
            if not tolerant:
                raise
            conversion.fail(artifact_id, error)
            progress(f"not made: {artifact_id}")
    return every


def measure_one(
    artifact_id: str,
    stateful: bool,
    twin: int | None,
    bench: Bench,
    float_layers: Sequence[str] = (),
) -> tuple[Measured, str]:
    """Measure one artifact in every installed runtime.

    Args:
        artifact_id: Its id; the file is in the bench's folder.
        stateful: Whether it keeps state between invocations.
        twin: Size of its float32 twin; None where there is none.
        bench: What to measure with. Where its folder has the float32 twin too, the artifact is
            compared with it layer by layer.
        float_layers: What a mixed artifact was to leave in float.

    Returns:
        What was seen, and what the lint remarks.

    Raises:
        TargetError: It is not what its name says, does not fit its target, no runtime runs it, or
            one hangs.
    """
    known = ArtifactId.parse(artifact_id)
    data = (bench.folder / known.file).read_bytes()
    description = describe(artifact_id, data, twin, float_layers)
    targets = bench.targets.get(known.format.name, ())
    for target in targets:
        target.check(artifact_id, data)
    lowest = {**description.min_runtime, **min_runtimes(locate_ops(data))}
    description = replace(description, min_runtime=lowest)
    artifact = describe_artifact(artifact_id, known.file, data, description, stateful=stateful)
    measuring = partial(
        measure,
        artifact,
        data,
        nodes=description.nodes,
        source=bench.source,
        float_values=bench.values,
        golden=bench.golden,
        max_drop=bench.max_drop,
        named=[target.backend for target in targets if target.named and target.installed],
    )
    measured = isolated(
        f"measuring {artifact_id}", measuring, timeout=bench.timeout, memory=bench.memory
    )
    for target in targets:
        target.check_measured(artifact_id, measured.unusable)
    if measured.parting is not None:
        layer = find_parting(
            data,
            measured.parting.backends,
            bench.source,
            bench.golden,
            timeout=bench.timeout,
            memory=bench.memory,
        )
        measured = replace(measured, parting=replace(measured.parting, layer=layer))
    float_file = bench.folder / known.twin.file
    if float_file.exists():
        measured = _with_layers(measured, float_file.read_bytes(), bench)
    return measured, description.remark


def _with_layers(measured: Measured, twin: bytes, bench: Bench) -> Measured:
    """Return the artifact with its layers compared.

    That explains a verdict and makes none: where it fails the report says why, and all else stands.
    """
    try:
        layers = compare_layers(
            measured.artifact.id,
            measured.data,
            twin,
            bench.source,
            timeout=bench.timeout,
            memory=bench.memory,
        )
    except EdgewardError as error:
        received = "" if error.received is None else str(error.received)
        layers = LayerReport([], 0, 0, 0, skipped=f"{error.message} {received}".strip())
        return replace(measured, layers=layers, transient=is_transient(error))
    return replace(measured, layers=layers)
