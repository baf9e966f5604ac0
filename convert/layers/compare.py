"""Where an int8 artifact loses the signal: each of its tensors against the float model.

Noise that arrives at a layer is told apart from noise that arises there. For that the float twin
is cut into pieces: each piece is fed what the *artifact* has before it, and the difference between
what it gives and what the artifact gives there is this layer's own doing.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from edgeward.convert.layers.hidden import Hidden
from edgeward.convert.layers.probe import Probe, Value
from edgeward.convert.layers.report import LayerDrift, LayerReport
from edgeward.convert.layers.tally import Tally, WeightError, weight_errors
from edgeward.convert.source.source import Source
from edgeward.convert.variants import ArtifactId, artifact_ids
from edgeward.convert.worker.isolate import isolated
from edgeward.runtime.arrays import Array
from edgeward.runtime.preprocessing import preprocess_batch

__all__ = ["COMPARABLE", "compare_layers", "layer_drift"]

# Artifacts whose activations are quantised, and which the comparison understands.
COMPARABLE = tuple(
    str(artifact) for artifact in artifact_ids()
    if artifact.variant.calibrated and artifact.format.probes
)  # fmt: skip

# Values to look at: 48 samples of a small model, 4 of a large one.
_VALUES = 20_000_000

_FEWEST = 4

# dB. Healthy int8 layers of the recipes keep 33 dB and more of what arrives; a range is to blame
# below the first of these, and what is no quantisation noise (a weight that differs) below the
# second: where a layer keeps more, it does no harm.
_NOISY, _SUSPECT = 25.0, 40.0

# Share of a layer's noise that explains it, and number of steps that is few.
_EXPLAINS = 0.5

_FEW_STEPS = 64

# Steps; rounding is off by none on average.
_OFFSET = 0.9

_COMPARED = 48


def layer_drift(
    artifact_id: str, data: bytes, twin: bytes, feeds: Mapping[str, Array]
) -> LayerReport:
    """Compare each tensor of an artifact with the float model.

    Tensors are matched by name; one that only one of the files has is left out, and the report
    says how many were matched. A fused LSTM hides its inside, and its float twin is a loop: what
    the file says of its steps is looked at instead.

    Args:
        artifact_id: One of ``COMPARABLE``.
        data: The artifact.
        twin: The float32 artifact of the same format from the same conversion.
        feeds: Input name -> preprocessed samples ``[N, ...]``; real values, or ids.

    Raises:
        EdgewardError: One of the files cannot be read or run.

    >>> report = layer_drift("tflite-int8", data, twin, {"image": images})   # doctest: +SKIP
    >>> report.layers[0].layer, round(report.layers[0].own_sqnr, 1)          # doctest: +SKIP
    ('digit', 36.8)
    """
    format_ = ArtifactId.parse(artifact_id).format
    artifact, reference = format_.probe(data), format_.probe(twin)
    first = _sample(feeds, 0)
    mine, theirs = artifact.run(first), reference.run(first)
    names = [
        name
        for name in artifact.values
        if name in mine and name in theirs and mine[name].shape == theirs[name].shape
    ]
    pieces = reference.cut(names)
    tallies = {name: Tally(artifact.values[name].grid) for name in names}
    size = sum(mine[name].size for name in names)
    count = min(len(next(iter(feeds.values()))), max(_FEWEST, _VALUES // max(1, size)))
    for i in range(count):
        feed = _sample(feeds, i)
        mine, theirs = artifact.run(feed), reference.run(feed)
        # Ids are no real values: every file gets them as they are.
        here = pieces.run({**feed, **{name: mine[name] for name in names}})
        # What an input becomes depends on nothing before it.
        here |= {name: feed[name] for name in names if name in feed}
        for name in names:
            tallies[name].add(theirs[name], here[name], mine[name])
    known = frozenset(names)
    errors = weight_errors(artifact.weights, reference.weights)
    hidden = format_.hidden_ops(data, twin, artifact)
    drifts = [
        _drift(
            name,
            artifact.values[name],
            tallies[name],
            _piece(artifact, name, known, errors, hidden),
        )
        for name in names
    ]
    computed = [name for name in mine if artifact.values[name].op != "INPUT"]
    return LayerReport(
        layers=sorted(drifts, key=lambda drift: drift.own_sqnr),
        matched=sum(name in names for name in computed),
        tensors=len(computed),
        samples=count,
    )


def _sample(feeds: Mapping[str, Array], i: int) -> dict[str, Array]:
    return {name: np.ascontiguousarray(array[i : i + 1]) for name, array in feeds.items()}


@dataclass(frozen=True)
class _Piece:
    """What lies between a tensor and the matched tensors before it."""

    errors: list[WeightError]
    unmatched: list[str]
    hidden: Hidden | None


def _piece(
    artifact: Probe,
    name: str,
    matched: Collection[str],
    errors: Mapping[str, WeightError],
    hidden: Mapping[str, Hidden],
) -> _Piece:
    seen, waiting = {name}, [name]
    damaged: list[WeightError] = []
    while waiting:
        value = artifact.values[waiting.pop()]
        damaged += [errors[weight] for weight in value.weights if weight in errors]
        before = {n for n in value.reads if n in artifact.values and n not in matched} - seen
        seen |= before
        waiting += sorted(before)
    damaged.sort(key=lambda error: -error.share)
    ops = {artifact.values[other].op for other in seen - {name}}
    inside = [hidden[other] for other in sorted(seen) if other in hidden]
    inside.sort(key=lambda one: (not one.broken, one.steps))
    return _Piece(damaged, sorted(ops - {"QUANTIZE", "DEQUANTIZE"}), next(iter(inside), None))


def _drift(name: str, value: Value, tally: Tally, piece: _Piece) -> LayerDrift:
    grid = tally.grid
    cause, hidden = _cause(tally, piece)
    return LayerDrift(
        tensor=name,
        layer=value.layer if hidden is None else hidden.layer,
        op=value.op if hidden is None else hidden.op,
        sqnr=tally.sqnr,
        own_sqnr=tally.own_sqnr,
        low=_finite(tally.low if grid is None else grid.low),
        high=_finite(tally.high if grid is None else grid.high),
        reference_low=_finite(tally.reference_low),
        reference_high=_finite(tally.reference_high),
        clipped=tally.clipped,
        steps=0 if grid is None else grid.steps,
        used=tally.used,
        cause=cause,
    )


def _cause(tally: Tally, piece: _Piece) -> tuple[str, Hidden | None]:
    """Say why the signal is lost here, and in which hidden op; nothing where it is not lost.

    A kernel that cannot compute explains everything behind it. What the grid does to the values is
    known exactly, so it comes next; what else differs explains the noise that is left.
    """
    if tally.own_sqnr >= _SUSPECT:
        return "", None
    noisy, hidden = tally.own_sqnr < _NOISY, piece.hidden
    if noisy and hidden is not None and hidden.broken:
        return hidden.broken, hidden
    cause = _seen_cause(tally, piece, noisy=noisy)
    if cause or not noisy or hidden is None:
        return cause or _other_cause(tally, piece, noisy=noisy), None
    return hidden.coarse or _other_cause(tally, piece, noisy=noisy), hidden


def _seen_cause(tally: Tally, piece: _Piece, *, noisy: bool) -> str:
    """Return a cause that can be seen in the tensor itself or in a weight."""
    if noisy and tally.clipping >= _EXPLAINS:
        return f"range too narrow: {100 * tally.clipped_here:.2g} % of the values clip"
    if noisy and tally.rounding >= _EXPLAINS and tally.used < _FEW_STEPS:
        steps = 0 if tally.grid is None else tally.grid.steps
        return f"range much too wide: {tally.used} of {steps} steps are used"
    return piece.errors[0].text if piece.errors else ""


def _other_cause(tally: Tally, piece: _Piece, *, noisy: bool) -> str:
    """Return what the noise looks like."""
    if tally.leaks:
        return "values below 0 come through, where the float model stops: a zero point differs"
    if abs(tally.offset) >= _OFFSET:
        return f"every value is off by {tally.offset:+.1f} steps: a zero point differs"
    if noisy and piece.unmatched:
        return f"lost on the way through {', '.join(piece.unmatched)}, which the float file lacks"
    if noisy and abs(tally.gain - 1) > 0.05:
        return f"every value is {tally.gain:.3g} times what it should be: a scale differs"
    return "more noise than range and weights explain" if noisy else ""


def _finite(value: float) -> float:
    """Return a number that JSON has."""
    if math.isnan(value):
        return 0.0
    return value if math.isfinite(value) else math.copysign(float(np.finfo(np.float32).max), value)


def compare_layers(
    artifact_id: str,
    data: bytes,
    twin: bytes,
    source: Source,
    *,
    timeout: float | None = None,
    memory: int | None = None,
) -> LayerReport | None:
    """Compare the tensors of an artifact with the float model's.

    Args:
        artifact_id: Its id.
        data: The file.
        twin: The float32 artifact of the same format from the same conversion.
        source: The model's test samples and specs.
        timeout: Seconds that it may take; None is no limit.
        memory: Bytes that it may take, see ``convert.worker.isolate.isolated``.

    Returns:
        None where the artifact has no quantised activations.

    Raises:
        EdgewardError: One of the files cannot be read or run, or it took too long.
    """
    if artifact_id not in COMPARABLE:
        return None
    count = len(source.test)
    # Spread over the split: the recipes' are shuffled, a user's may be sorted by class.
    chosen = source.test.take(np.linspace(0, count - 1, min(count, _COMPARED)).astype(int))
    feeds = {
        name: preprocess_batch(spec, chosen.inputs[name], source.vocabularies)
        for name, spec in source.inputs.items()
    }
    return isolated(
        f"comparing {artifact_id} layer by layer",
        layer_drift,
        artifact_id,
        data,
        twin,
        feeds,
        timeout=timeout,
        memory=memory,
    )
