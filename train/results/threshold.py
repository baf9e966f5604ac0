"""From which chance on a binary answer is positive: chosen on the validation split."""

from __future__ import annotations

import math

import numpy as np

from edgeward.runtime.arrays import Array
from edgeward.runtime.errors import InvalidDataError

__all__ = ["choose_threshold", "worth_choosing"]

# Standard errors by which a recall has to be worse than it could be, before that is said.
_NOISE = 2.0
# Of fewer samples of the rarer class nothing is known.
_LEAST = 5


def choose_threshold(values: Array, truth: Array) -> float:
    """Return the threshold with the largest mean of both classes' recalls (Youden's index).

    It lies in the middle between two neighbouring values; of equal ones it is the one nearest to
    0.5. The share of the classes has no part in it.

    Args:
        values: Chances of the positive class, float32 [N] or [N, 1].
        truth: 0 or 1, int [N] or [N, 1].

    Returns:
        A number that float32 holds exactly, as devices compare.

    Raises:
        InvalidDataError: A class is missing, or all values are equal.
    """
    scores, positive = values.reshape(-1).astype(np.float32), truth.reshape(-1) == 1
    found = np.unique(scores)
    if not 0 < positive.sum() < len(positive) or len(found) < 2:
        raise InvalidDataError(
            "The validation split cannot choose a threshold.",
            received=f"{int(positive.sum())} positive of {len(positive)} samples, "
            f"{len(found)} different answers",
            expected="samples of both classes, with answers that differ",
            fix="--set threshold=0.5, or more samples",
        )
    middle = ((found[:-1].astype(np.float64) + found[1:]) / 2).astype(np.float32)
    # Neighbours in float32 have no middle: the larger one is a threshold for its own value.
    middle = np.where(middle <= found[:-1], found[1:], middle)
    recall = 1 - np.searchsorted(np.sort(scores[positive]), middle) / positive.sum()
    other = np.searchsorted(np.sort(scores[~positive]), middle) / (~positive).sum()
    youden = recall + other
    best = np.flatnonzero(youden >= youden.max() - 1e-12)
    return float(middle[best[np.abs(middle[best] - 0.5).argmin()]])


def worth_choosing(values: Array, truth: Array, threshold: float) -> str:
    """Tell what another threshold would do for the rarer class; empty where that may be chance.

    Args:
        values: See ``choose_threshold``.
        truth: See ``choose_threshold``.
        threshold: The one in use.
    """
    scores, classes = values.reshape(-1), truth.reshape(-1)
    positives = int((classes == 1).sum())
    if not 0 < positives < len(classes) or len(np.unique(scores)) < 2:
        return ""
    rare = int(positives <= len(classes) - positives)
    chosen = choose_threshold(scores, classes)

    def recall(limit: float) -> float:
        return float(((scores >= np.float32(limit)) == rare)[classes == rare].mean())

    now, then = recall(threshold), recall(chosen)
    count = int((classes == rare).sum())
    # Agresti and Coull's share of both together, so that 0 of 5 has a noise too.
    share = ((now + then) * count + 2) / (2 * count + 4)
    noise = math.sqrt(2 * share * (1 - share) / count)
    if count < _LEAST or then - now <= _NOISE * noise:
        return ""
    return (
        f"On the validation split the threshold {threshold:g} finds {now:.1%} of the rarer class, "
        f"{chosen:.3g} would find {then:.1%} (of {count:,}): --set threshold=validation."
    )
