"""Rare classes: where accuracy alone says little, and what is said beside it.

A model that never says "fall" is right in 99.7 % of all samples if 0.3 % are falls. So where
classes are rare, the share of the largest class stands beside the accuracy, with the recall of each
class and the area under the ROC curve.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgeward.runtime.arrays import Array, Floats
from edgeward.runtime.specs import OutputSpec
from edgeward.runtime.tasks import check_targets, decide, evaluate

__all__ = ["MAJORITY", "RECALL", "class_name", "describe", "rare_classes", "rare_metrics"]

MAJORITY = "majority"
# Followed by the class's name: ``recall:fall``.
RECALL = "recall:"
# Classes are rare if one is above the first, or one below the second and below half of what it
# would have if all were equal: of 30 equal classes each has 3.3 %, and none is rare.
_MOST = 0.8
_LEAST = 0.05
_WATCHED = 3


def rare_classes(spec: OutputSpec, targets: Array) -> tuple[int, ...]:
    """Return the rarest classes, at most three; none where classes are not rare.

    Args:
        spec: The output; of another task than ``classification`` or ``binary`` there are none.
        targets: Class indices of the training split, int [N] or [N, 1].
    """
    if spec.task not in ("classification", "binary"):
        return ()
    counts = np.bincount(check_targets(spec, targets))
    kinds = np.flatnonzero(counts)
    shares = counts[kinds] / counts.sum()
    equal = 1 / len(kinds)
    if shares.max() <= _MOST and shares.min() >= min(_LEAST, equal / 2):
        return ()
    order = np.argsort(shares, kind="stable")[:_WATCHED]
    return tuple(int(kinds[i]) for i in order if shares[i] < equal / 2)


def rare_metrics(spec: OutputSpec, outputs: Floats, targets: Array) -> dict[str, float]:
    """Return what stands beside the accuracy, all of 0..1.

    Args:
        spec: An output of task ``classification`` or ``binary``.
        outputs: float32 [N, ...] after postprocessing.
        targets: Class indices, int [N] or [N, 1].

    Returns:
        ``majority``, the share of the largest class, which is the accuracy of always answering
        it; ``balanced_accuracy``, the mean of the recalls; ``auc``, the mean over the classes of
        each against all others; ``recall:CLASS`` of each class that occurs.
    """
    flat = outputs.reshape(len(outputs), -1)
    truth = check_targets(spec, targets, flat.shape[1])
    answers = decide(spec, outputs)
    kinds, counts = np.unique(truth, return_counts=True)
    recalls = {int(kind): float((answers[truth == kind] == kind).mean()) for kind in kinds}
    metrics = {
        MAJORITY: float(counts.max() / len(truth)),
        "balanced_accuracy": float(np.mean(list(recalls.values()))),
    }
    if len(kinds) > 1:
        metrics["auc"] = _auc(spec, flat, truth, list(recalls))
    return metrics | {f"{RECALL}{class_name(spec, kind)}": value for kind, value in recalls.items()}


def _auc(spec: OutputSpec, flat: Floats, truth: Array, kinds: Sequence[int]) -> float:
    alone = OutputSpec("binary", threshold=0.5)
    if spec.task == "binary":
        return evaluate(alone, flat[:, 0], truth)["auc"]
    each = [evaluate(alone, flat[:, k], (truth == k).astype(np.int64))["auc"] for k in kinds]
    return float(np.mean(each))


def class_name(spec: OutputSpec, index: int) -> str:
    """Return the label of a class, or its number."""
    return str(index) if spec.labels is None else spec.labels[index]


def describe(spec: OutputSpec, targets: Array, rare: Sequence[int]) -> str:
    """Return one line for people about rare classes in the training split.

    Args:
        spec: The output.
        targets: Class indices of the training split.
        rare: From ``rare_classes``, not empty.
    """
    counts = np.bincount(check_targets(spec, targets))
    share = counts / counts.sum()
    largest = int(counts.argmax())
    few = ", ".join(f"{class_name(spec, k)!r} {share[k]:.2%} ({counts[k]:,} samples)" for k in rare)
    return (
        f"Classes are rare: {class_name(spec, largest)!r} is {share[largest]:.1%} of the training "
        f"samples, {few}. The accuracy says little; see recall, balanced accuracy and AUC."
    )
