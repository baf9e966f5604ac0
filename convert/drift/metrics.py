"""Drift of one output, per task: the numbers behind a verdict.

A missing or impossible metric raises; it never reads as a drift of zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from edgeward.convert.drift.bootstrap import upper_bound
from edgeward.convert.drift.gate import PairedCounts, judge, required_samples
from edgeward.runtime.arrays import Array, Floats
from edgeward.runtime.errors import InvalidDataError
from edgeward.runtime.specs import OutputSpec
from edgeward.runtime.tasks import MAX_PSNR, METRIC, check_targets, decide, evaluate, psnr

__all__ = ["SEVERITY", "Decisions", "OutputDrift", "measure_drift", "worst_of"]

CALIBRATION_BINS = 15

SEVERITY = ("pass", "unverified", "inconclusive", "refused")


@dataclass(frozen=True)
class Decisions:
    """What is known beside the drop where the output is a decision.

    Attributes:
        lost: Samples that only the float model has right.
        gained: Samples that only the artifact has right.
        flip_rate: Share of samples with another decision, right or wrong.
        per_class_drop: Class -> drop of its recall; classes without samples are left out.
        calibration_error: Expected calibration error of the artifact (15 bins), None without
            probabilities.
        reference_calibration_error: The float model's.
        auc: Area under the ROC curve of the artifact, for ``binary`` only.
        reference_auc: The float model's.
        confusion: Confusion matrix of the artifact, rows are true classes.
        reference_confusion: The float model's.
    """

    lost: int
    gained: int
    flip_rate: float
    per_class_drop: dict[str, float]
    calibration_error: float | None
    reference_calibration_error: float | None
    auc: float | None
    reference_auc: float | None
    confusion: list[list[int]]
    reference_confusion: list[list[int]]


@dataclass(frozen=True)
class OutputDrift:
    """Drift of one output of one artifact in one runtime.

    Attributes:
        output: Name of the output.
        task: Its task.
        metric: Name of the metric.
        reference: The float model's metric; for ``psnr`` that of the float model with itself.
        value: The artifact's.
        drop: How much worse the artifact is: difference of accuracies, ratio of errors minus 1,
            or dB lost.
        upper_bound: One-sided 95 % upper bound of the drop.
        budget: Largest upper bound allowed.
        samples: Number of samples.
        verdict: ``pass``, ``refused`` or ``inconclusive``.
        needed: Samples that would be enough when inconclusive, else None.
        decisions: More about classification and binary outputs, else None.
    """

    output: str
    task: str
    metric: str
    reference: float
    value: float
    drop: float
    upper_bound: float
    budget: float
    samples: int
    verdict: str
    needed: int | None = None
    decisions: Decisions | None = field(default=None)


def measure_drift(
    output: str,
    spec: OutputSpec,
    reference: Floats,
    values: Floats,
    targets: Array,
    budget: float,
) -> OutputDrift:
    """Compare an artifact with the float model, sample by sample.

    Args:
        output: Name of the output.
        spec: The output.
        reference: The float model's values after postprocessing, ``[N, ...]``.
        values: The artifact's.
        targets: Targets, see ``runtime.tasks.check_targets``.
        budget: Largest upper bound of the drop that is allowed.

    Raises:
        InvalidDataError: Arrays that do not fit, or values that are not finite.
    """
    if reference.shape != values.shape:
        raise InvalidDataError(
            "The artifact's outputs have another shape than the float model's.",
            received=list(values.shape),
            expected=list(reference.shape),
        )
    metric = METRIC[spec.task]
    before, after = (evaluate(spec, v, targets) for v in (reference, values))
    was, now = before[metric], after[metric]
    needed, decisions = None, None
    if spec.task in ("classification", "binary"):
        decisions = _decisions(output, spec, reference, values, targets)
        decisions = replace(decisions, auc=after.get("auc"), reference_auc=before.get("auc"))
        counts = PairedCounts(len(values), decisions.lost, decisions.gained)
        drop = counts.drop
        bound, verdict = judge(counts, budget)
        needed = required_samples(counts, budget) if bound > budget else None
        if verdict == "pass" and not all(map(any, decisions.confusion)):
            # What happens to a class that no sample has is unknown: an artifact that always gives
            # the only class of a test split would be perfect.
            verdict = "inconclusive"
    else:
        if spec.task == "regression":
            drop, bound = _ratio_of_errors(reference, values, targets)
        else:
            # Pairs from the same input: the float model's own image is the one to match.
            each = psnr(values, reference)
            was, now = MAX_PSNR, float(each.mean())
            drop = was - now
            bound = upper_bound(MAX_PSNR - each[:, None], lambda means: means[:, 0])
        verdict = "pass" if bound <= budget else "refused" if drop > budget else "inconclusive"
    return OutputDrift(
        output=output,
        task=spec.task,
        metric=metric,
        reference=was,
        value=now,
        drop=drop,
        upper_bound=bound,
        budget=budget,
        samples=len(values),
        verdict=verdict,
        needed=needed,
        decisions=decisions,
    )


def _ratio_of_errors(reference: Floats, values: Floats, targets: Array) -> tuple[float, float]:
    """Return the ratio of root mean squared errors minus 1, and its upper bound."""
    wanted = targets.reshape(len(targets), -1).astype(np.float64)
    errors = np.stack(
        [np.square(v.reshape(len(v), -1) - wanted).mean(axis=1) for v in (reference, values)],
        axis=1,
    )
    # A perfect float model has no error to be a multiple of; half a float32 step stands for it.
    floor = (np.finfo(np.float32).eps * max(1.0, float(np.abs(wanted).max()))) ** 2

    def ratio(means: Array) -> Array:
        return np.sqrt(np.maximum(means[:, 1], floor) / np.maximum(means[:, 0], floor)) - 1

    return float(ratio(errors.mean(axis=0)[None])[0]), upper_bound(errors, ratio)


def _decisions(
    output: str, spec: OutputSpec, reference: Floats, values: Floats, targets: Array
) -> Decisions:
    """Compare decisions pair by pair; the areas under the ROC curves are left open."""
    binary = spec.task == "binary"
    width = reference.reshape(len(reference), -1).shape[1]
    if spec.labels is not None and not binary and len(spec.labels) != width:
        raise InvalidDataError(
            f"Output {output!r} does not have as many values as there are labels.",
            received=f"{width} values",
            expected=f"{len(spec.labels)} labels",
        )
    classes = 2 if binary else reference.reshape(len(reference), -1).shape[1]
    truth = check_targets(spec, targets, classes)
    decided_before, decided_after = decide(spec, reference), decide(spec, values)
    right_before, right_after = decided_before == truth, decided_after == truth
    return Decisions(
        lost=int(np.count_nonzero(right_before & ~right_after)),
        gained=int(np.count_nonzero(~right_before & right_after)),
        flip_rate=float(np.mean(decided_before != decided_after)),
        per_class_drop=_per_class(spec, truth, right_before, right_after, classes),
        calibration_error=_calibration_error(values, right_after, decided_after, binary),
        reference_calibration_error=_calibration_error(
            reference, right_before, decided_before, binary
        ),
        auc=None,
        reference_auc=None,
        confusion=_confusion(truth, decided_after, classes),
        reference_confusion=_confusion(truth, decided_before, classes),
    )


def _per_class(
    spec: OutputSpec, truth: Array, before: Array, after: Array, classes: int
) -> dict[str, float]:
    drops: dict[str, float] = {}
    for index in range(classes):
        mine = truth == index
        if mine.any():
            name = spec.labels[index] if spec.labels else str(index)
            drops[name] = float(before[mine].mean() - after[mine].mean())
    return drops


def _calibration_error(values: Floats, right: Array, decided: Array, binary: bool) -> float | None:
    """Return the expected calibration error (Guo et al., ICML 2017), equal-width bins."""
    flat = values.reshape(len(values), -1).astype(np.float64)
    if flat.min() < 0 or flat.max() > 1.001:
        return None
    positive = flat[:, 0]
    confidence = np.where(decided == 1, positive, 1 - positive) if binary else flat.max(axis=1)
    bins = np.clip((confidence * CALIBRATION_BINS).astype(int), 0, CALIBRATION_BINS - 1)
    error = 0.0
    for index in np.unique(bins):
        mine = bins == index
        error += mine.mean() * abs(right[mine].mean() - confidence[mine].mean())
    return float(error)


def _confusion(truth: Array, decided: Array, classes: int) -> list[list[int]]:
    flat = np.bincount(truth * classes + decided, minlength=classes * classes)
    return [[int(v) for v in row] for row in flat.reshape(classes, classes)]


def worst_of(drifts: Mapping[str, Sequence[OutputDrift]]) -> list[OutputDrift]:
    """Return the drift of each output in the runtime in which it is worst.

    Args:
        drifts: Runtime -> drift there of each output.
    """
    every = [drift for of_runtime in drifts.values() for drift in of_runtime]
    return [
        max(
            (drift for drift in every if drift.output == output),
            key=lambda drift: (SEVERITY.index(drift.verdict), drift.upper_bound),
        )
        for output in dict.fromkeys(drift.output for drift in every)
    ]
