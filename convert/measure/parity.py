"""One artifact on every runtime and kernel set of this machine: where do the answers differ?

Runtimes accelerate the same op in different ways: XNNPACK, the interpreter's own kernels, and the
reference kernels that define the result. What is compared are the raw outputs on the same test
samples, in LSB, and the decisions that follow from them. Other processors are ``make devices``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from edgeward.convert.formats import FORMATS
from edgeward.convert.measure.measure import Measured
from edgeward.convert.measure.records import Parity, ParityRow
from edgeward.convert.source.source import Source
from edgeward.convert.worker.isolate import isolated
from edgeward.convert.worker.memory import is_transient
from edgeward.runtime.arrays import Array
from edgeward.runtime.backends import available_backends, open_backend
from edgeward.runtime.errors import EdgewardError
from edgeward.runtime.predictor import Runner
from edgeward.runtime.samples import Samples
from edgeward.runtime.self_test import lsb_difference
from edgeward.runtime.tasks import decide

__all__ = ["parity"]

_SAMPLES = 200


def parity(
    measured: Sequence[Measured],
    source: Source,
    progress: Callable[[str], None],
    *,
    timeout: float | None = None,
    memory: int | None = None,
) -> Parity:
    """Run artifacts on every runtime and kernel set that is installed.

    Args:
        measured: The artifacts.
        source: The model's test samples and specs.
        progress: Called with one line per artifact.
        timeout: Seconds that one artifact may take on one set of kernels; None is no limit. What
            takes longer is a row that says so.
        memory: Bytes that it may take there, see ``convert.worker.isolate.isolated``.

    Returns:
        A row for each artifact, runtime and set of kernels.
    """
    count = len(source.test)
    samples = source.test.take(np.linspace(0, count - 1, min(count, _SAMPLES)).astype(int))
    rows: list[ParityRow] = []
    again = False
    for m in measured:
        progress(f"parity of {m.artifact.id} on {len(samples):,} samples")
        found = _compare_all(m, source, samples, timeout, memory)
        rows += found.rows
        again = again or found.again
    return Parity(rows, again=again)


def _compare_all(
    measured: Measured,
    source: Source,
    samples: Samples,
    timeout: float | None,
    memory: int | None,
) -> Parity:
    rows: list[ParityRow] = []
    again = False
    first: dict[str, Array] | None = None
    artifact = measured.artifact
    for backend in available_backends(artifact.format):
        for kernels in FORMATS[artifact.format].kernels:
            try:
                # A kernel that aborts the process, or hangs, is a row, and not the end.
                runtime, raw = isolated(
                    f"{artifact.id} on {backend}, {kernels} kernels",
                    _run,
                    measured,
                    source,
                    samples,
                    backend,
                    kernels,
                    timeout=timeout,
                    memory=memory,
                )
            except EdgewardError as error:
                name = f"{backend} ({kernels})"
                row = ParityRow(
                    artifact=artifact.id,
                    runtime=name,
                    kernels=kernels,
                    samples=0,
                    max_lsb=None,
                    differing=0.0,
                    flips=None,
                    detail=str(error),
                )
                rows.append(row)
                again = again or is_transient(error)
                continue
            first = first or raw
            rows.append(_compare(artifact.id, runtime, kernels, source, first, raw))
    return Parity(rows, again=again)


def _run(
    measured: Measured, source: Source, samples: Samples, backend: str, kernels: str
) -> tuple[str, dict[str, Array]]:
    loaded = open_backend(measured.artifact, measured.data, backend, kernels=kernels)
    specs = (source.inputs, source.outputs, source.vocabularies)
    runner = Runner(measured.artifact, loaded, *specs)
    raw = runner.invoke_batch(samples.inputs)
    values = {f"value {name}": value for name, value in runner.values(raw).items()}
    return f"{loaded.runtime} {loaded.version}", {**raw, **values}


def _compare(
    artifact_id: str,
    runtime: str,
    kernels: str,
    source: Source,
    first: dict[str, Array],
    raw: dict[str, Array],
) -> ParityRow:
    names = [name for name in raw if not name.startswith("value ")]
    differences = [lsb_difference(raw[name], first[name]).reshape(-1) for name in names]
    together = np.concatenate(differences)
    decided = [
        np.count_nonzero(decide(spec, raw[f"value {name}"]) != decide(spec, first[f"value {name}"]))
        for name, spec in source.outputs.items()
        if spec.task in ("classification", "binary")
    ]
    return ParityRow(
        artifact=artifact_id,
        runtime=runtime,
        kernels=kernels,
        samples=len(raw[names[0]]),
        max_lsb=int(together.max(initial=0)),
        differing=float(np.mean(together != 0)),
        flips=int(sum(decided)) if decided else None,
    )
