"""At which layer two runtimes part that are given the same file."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np

from edgeward.convert.layers.probe import Value
from edgeward.convert.layers.tflite_probe import TfliteProbe
from edgeward.convert.source.source import Source
from edgeward.convert.worker.isolate import isolated
from edgeward.runtime.arrays import Array
from edgeward.runtime.errors import EdgewardError
from edgeward.runtime.preprocessing import preprocess_batch
from edgeward.runtime.samples import Samples

__all__ = ["find_parting", "parting_layer"]

# A float tensor has no steps; 256 of its largest value make its differences comparable.
_FLOAT_STEPS = 256

# The layer at which the difference arises, and not one that makes it a little larger.
_MOST = 0.5


def find_parting(
    data: bytes,
    backends: tuple[str, str],
    source: Source,
    samples: Samples,
    *,
    timeout: float | None = None,
    memory: int | None = None,
) -> str:
    """Return in words where two runtimes part; empty where that cannot be seen.

    It explains a refusal and makes none: where it fails, the refusal stands without it.

    Args:
        data: A TFLite file.
        backends: Names of the two backends.
        source: The model's specs.
        samples: Raw samples on which they differ.
        timeout: Seconds that it may take; None is no limit.
        memory: Bytes that it may take, see ``convert.worker.isolate.isolated``.
    """
    feeds = {
        name: preprocess_batch(spec, samples.inputs[name], source.vocabularies)
        for name, spec in source.inputs.items()
    }
    comparing = partial(parting_layer, data, backends, feeds)
    try:
        return isolated(
            "comparing two runtimes layer by layer", comparing, timeout=timeout, memory=memory
        )
    except EdgewardError:
        return ""


def parting_layer(data: bytes, backends: tuple[str, str], feeds: Mapping[str, Array]) -> str:
    """Compare each tensor of a file between two runtimes, both with their default kernels.

    Args:
        data: A TFLite file.
        backends: Names of the two backends.
        feeds: Input name -> preprocessed samples ``[N, ...]``.

    Raises:
        EdgewardError: One of them cannot run the file with all tensors shown.
    """
    first, second = (TfliteProbe(data, backend) for backend in backends)
    apart = dict.fromkeys(first.values, 0.0)
    for i in range(len(next(iter(feeds.values())))):
        feed = {name: np.ascontiguousarray(array[i : i + 1]) for name, array in feeds.items()}
        mine, theirs = first.run(feed), second.run(feed)
        for name in mine.keys() & theirs.keys():
            steps = _steps_apart(mine[name], theirs[name], first.values[name])
            apart[name] = max(apart[name], steps)
    arisen = {
        name: steps - max((apart.get(read, 0.0) for read in first.values[name].reads), default=0.0)
        for name, steps in apart.items()
    }
    most = max(arisen.values(), default=0.0)
    if most <= 0:
        return ""
    # In the order of the file: what comes after it inherits the difference.
    name = next(name for name, steps in arisen.items() if steps >= _MOST * most)
    value = first.values[name]
    before = apart[name] - arisen[name]
    return (
        f"layer {value.layer!r} ({value.op}): what it reads differs by {before:.3g} steps, what it "
        f"gives by {apart[name]:.3g}"
    )


def _steps_apart(mine: Array, theirs: Array, value: Value) -> float:
    if value.grid is None:
        step = max(float(np.abs(mine).max(initial=0)), 1e-30) / _FLOAT_STEPS
    else:
        step = value.grid.scale
    difference = float(np.abs(mine.astype(np.float64) - theirs).max(initial=0))
    # NaN in one of them is as far apart as can be; an infinity could not be subtracted.
    return min(difference / step, 1e9) if np.isfinite(difference) else 1e9
