"""The numbers behind a verdict: paired counts, flips, per-class drop, calibration error."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from convert.drift.gate import PairedCounts, judge, required_samples
from runtime.arrays import Array, Floats
from runtime.errors import InvalidDataError, TargetError
from runtime.specs import OutputSpec
from runtime.tasks import METRIC, check_targets, decide, evaluate

__all__ = ["OutputDrift", "measure_drift"]

CALIBRATION_BINS = 15


@dataclass(frozen=True)
class OutputDrift:
    """Drift of one output of one artifact in one runtime.

    Attributes:
        output: Name of the output.
        task: Its task.
        metric: Name of the metric.
        reference: The float model's metric.
        value: The artifact's.
        drop: Reference minus value.
        upper_bound: One-sided 95 % upper bound of the drop.
        budget: Largest upper bound allowed.
        samples: Number of samples.
        verdict: ``pass``, ``refused`` or ``inconclusive``.
        needed: Samples that would be enough when inconclusive, else None.
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
    needed: int | None
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
        InvalidDataError: Arrays that do not fit, or values that are not finite: a missing metric
            never reads as a drift of 0.
        TargetError: A task whose drift this version cannot measure.
    """
    if spec.task not in ("classification", "binary"):
        raise TargetError(
            f"The drift of task {spec.task!r} cannot be measured by this version.",
            expected="classification or binary",
        )
    if reference.shape != values.shape:
        raise InvalidDataError(
            "The artifact's outputs have another shape than the float model's.",
            received=list(values.shape),
            expected=list(reference.shape),
        )
    metric = METRIC[spec.task]
    before = evaluate(spec, reference, targets)[metric]
    after = evaluate(spec, values, targets)[metric]
    classes = 2 if spec.task == "binary" else reference.reshape(len(reference), -1).shape[1]
    truth = check_targets(spec, targets, classes)
    decided_before, decided_after = decide(spec, reference), decide(spec, values)
    right_before, right_after = decided_before == truth, decided_after == truth
    counts = PairedCounts(
        len(truth),
        int(np.count_nonzero(right_before & ~right_after)),
        int(np.count_nonzero(~right_before & right_after)),
    )
    bound, verdict = judge(counts, budget)
    binary = spec.task == "binary"
    return OutputDrift(
        output=output,
        task=spec.task,
        metric=metric,
        reference=before,
        value=after,
        drop=counts.drop,
        upper_bound=bound,
        budget=budget,
        samples=counts.samples,
        verdict=verdict,
        needed=required_samples(counts, budget) if verdict == "inconclusive" else None,
        lost=counts.lost,
        gained=counts.gained,
        flip_rate=float(np.mean(decided_before != decided_after)),
        per_class_drop=_per_class(spec, truth, right_before, right_after, classes),
        calibration_error=_calibration_error(values, right_after, decided_after, binary),
        reference_calibration_error=_calibration_error(
            reference, right_before, decided_before, binary
        ),
        auc=_auc(values, truth) if binary else None,
        reference_auc=_auc(reference, truth) if binary else None,
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
    bins = np.minimum((confidence * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    error = 0.0
    for index in np.unique(bins):
        mine = bins == index
        error += mine.mean() * abs(right[mine].mean() - confidence[mine].mean())
    return float(error)


def _auc(values: Floats, truth: Array) -> float | None:
    """Return the area under the ROC curve, from the Mann-Whitney statistic."""
    from scipy.stats import mannwhitneyu

    flat = values.reshape(len(values), -1)[:, 0]
    positives, negatives = flat[truth == 1], flat[truth == 0]
    if len(positives) == 0 or len(negatives) == 0:
        return None
    statistic = mannwhitneyu(positives, negatives, method="asymptotic").statistic
    return float(statistic / (len(positives) * len(negatives)))


def _confusion(truth: Array, decided: Array, classes: int) -> list[list[int]]:
    flat = np.bincount(truth * classes + decided, minlength=classes * classes)
    return [[int(v) for v in row] for row in flat.reshape(classes, classes)]
