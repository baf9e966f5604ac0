"""What an output means: decoding it and scoring many of them, per task.

Training, conversion and the device use these same functions, so an accuracy is the same thing
everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edgeward.runtime.arrays import Array, Floats
from edgeward.runtime.errors import InvalidDataError
from edgeward.runtime.specs import OutputSpec

__all__ = [
    "MAX_PSNR",
    "METRIC",
    "Decoded",
    "check_targets",
    "decide",
    "decode",
    "evaluate",
    "evaluate_all",
    "psnr",
]


# The metric that is judged, per task.
METRIC = {
    "classification": "accuracy",
    "binary": "accuracy",
    "regression": "rmse",
    "generation": "psnr",
}
# Identical outputs have an infinite ratio, which is no JSON number and no mean.
MAX_PSNR = 100.0


@dataclass(frozen=True)
class Decoded:
    """One output of one sample.

    Attributes:
        values: float32 values after postprocessing.
        index: Class index for ``classification``, 0 or 1 for ``binary``, else None.
        label: Name of the class, or None.
        score: Value of the chosen class (the positive class's for ``binary``), or None.
    """

    values: Floats
    index: int | None = None
    label: str | None = None
    score: float | None = None


def decide(spec: OutputSpec, values: Array) -> Array:
    """Return the decision for each of N samples: class index, or 1 where >= threshold.

    Args:
        spec: An output of task ``classification`` or ``binary``.
        values: ``[N, classes]``, or N values for ``binary``.
    """
    if spec.task == "binary":
        return (values.reshape(len(values), -1)[:, 0] >= np.float32(spec.threshold)).astype(
            np.int64
        )
    return values.reshape(len(values), -1).argmax(axis=1)


def decode(spec: OutputSpec, values: Floats) -> Decoded:
    """Decode one output, ``values`` without batch dimension.

    Raises:
        InvalidDataError: A value is NaN or infinite: there is no decision in it.
    """
    if not np.isfinite(values).all():
        raise InvalidDataError("The model's output is not finite.", expected="finite numbers")
    if spec.task not in ("classification", "binary"):
        return Decoded(values)
    index = int(decide(spec, values[None])[0])
    score = float(values.reshape(-1)[index if spec.task == "classification" else 0])
    label = spec.labels[index] if spec.labels is not None and index < len(spec.labels) else None
    return Decoded(values, index, label, score)


def check_targets(spec: OutputSpec, targets: Array, classes: int | None = None) -> Array:
    """Check N targets against the task.

    Args:
        spec: The output.
        targets: Class indices (integers ``[N]``) for classification and binary; finite numbers
            for regression; the float model's own outputs for generation.
        classes: Number of classes; taken from the labels when None.

    Returns:
        int64 ``[N]`` class indices, or float32 values.

    Raises:
        InvalidDataError: Wrong dtype, a label out of range, a value that is not finite.
    """
    if spec.task in ("classification", "binary"):
        flat = targets.reshape(len(targets), -1)
        if targets.dtype.kind not in "iu" or flat.shape[1] != 1:
            raise InvalidDataError(
                "The targets are no class indices.",
                received=f"{targets.dtype} {list(targets.shape)}",
                expected="integers [N]",
            )
        count = 2 if spec.task == "binary" else classes or (len(spec.labels) if spec.labels else 0)
        indices = flat[:, 0].astype(np.int64)
        bad = np.flatnonzero((indices < 0) | (indices >= count)) if count else indices[:0]
        if len(bad):
            raise InvalidDataError(
                f"The target of sample {bad[0]} is out of range.",
                received=int(indices[bad[0]]),
                expected=f"0..{count - 1}",
            )
        return indices
    if targets.dtype.kind not in "iuf":
        raise InvalidDataError(
            "The targets are no numbers.", received=str(targets.dtype), expected="numbers"
        )
    with np.errstate(over="ignore"):
        values = targets.astype(np.float32)
    bad = np.flatnonzero(~np.isfinite(values).reshape(len(values), -1).all(axis=1))
    if len(bad):
        raise InvalidDataError(f"The target of sample {bad[0]} is not finite.")
    return values


def evaluate_all(
    specs: Mapping[str, OutputSpec], values: Mapping[str, Floats], targets: Mapping[str, Array]
) -> dict[str, dict[str, float]]:
    """Score every output of a model, each as ``evaluate`` does; output name -> metrics."""
    return {name: evaluate(spec, values[name], targets[name]) for name, spec in specs.items()}


def evaluate(spec: OutputSpec, outputs: Floats, targets: Array) -> dict[str, float]:
    """Score N outputs against N targets.

    Args:
        spec: The output.
        outputs: float32 ``[N, ...]`` after postprocessing.
        targets: See ``check_targets``.

    Returns:
        Metric name -> value: ``accuracy`` (0..1), with ``auc`` (0..1) for ``binary`` where both
        classes occur; ``rmse`` (unit of the target); ``psnr`` (dB, at most MAX_PSNR).

    Raises:
        InvalidDataError: Outputs that are not finite or do not fit the targets.
    """
    if len(outputs) != len(targets) or len(outputs) == 0:
        raise InvalidDataError(
            "Outputs and targets differ in number.",
            received=f"{len(outputs)} outputs, {len(targets)} targets",
            expected="the same number, at least 1",
        )
    if not np.isfinite(outputs).all():
        bad = int(np.argwhere(~np.isfinite(outputs))[0][0])
        raise InvalidDataError(f"The output for sample {bad} is not finite.")
    if spec.task in ("classification", "binary"):
        classes = outputs.reshape(len(outputs), -1).shape[1]
        truth = check_targets(spec, targets, classes)
        metrics = {"accuracy": float((decide(spec, outputs) == truth).mean())}
        if spec.task == "binary" and 0 < truth.sum() < len(truth):
            metrics["auc"] = _auc(outputs.reshape(len(outputs), -1)[:, 0], truth)
        return metrics
    wanted = check_targets(spec, targets).reshape(len(outputs), -1)
    found = outputs.reshape(len(outputs), -1)
    if wanted.shape != found.shape:
        raise InvalidDataError(
            "Outputs and targets differ in shape.",
            received=f"targets {list(targets.shape)}",
            expected=list(outputs.shape),
        )
    if spec.task == "regression":
        error = found.astype(np.float64) - wanted
        return {"rmse": float(np.sqrt(np.square(error).mean()))}
    return {"psnr": float(psnr(found, wanted).mean())}


def psnr(values: Array, reference: Array) -> Array:
    """Return the peak signal-to-noise ratio of each of N pairs, in dB, at most MAX_PSNR.

    The peak is the range of all reference values together, so that a dark image is not judged
    more strictly than a bright one.

    Args:
        values: ``[N, ...]``.
        reference: The same shape.
    """
    wide = reference.astype(np.float64).reshape(len(reference), -1)
    peak = float(wide.max() - wide.min()) or 1.0
    error = np.square(values.reshape(len(values), -1) - wide).mean(axis=1)
    floor = peak**2 * 10 ** (-MAX_PSNR / 10)
    return 10 * np.log10(peak**2 / np.maximum(error, floor))


def _auc(scores: Array, truth: Array) -> float:
    """Return the area under the ROC curve: the share of pairs in the right order, ties half."""
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks = (last - (counts - 1) / 2)[inverse]
    positives = int(truth.sum())
    rank_sum = float(ranks[truth == 1].sum())
    pairs = positives * (len(truth) - positives)
    return (rank_sum - positives * (positives + 1) / 2) / pairs
