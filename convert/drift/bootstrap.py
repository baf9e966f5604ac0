"""Bounds by resampling, for metrics that are no proportions.

The test samples of a series are neighbours in time and their errors alike, so blocks are drawn,
not samples (moving-block bootstrap; H. Künsch, Annals of Statistics 17, 1217-1241, 1989). For
independent samples blocks are merely a little conservative. SciPy's ``bootstrap`` has none.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgeward.runtime.arrays import Array

__all__ = ["RESAMPLES", "upper_bound"]

RESAMPLES = 2000


def upper_bound(
    samples: Array, statistic: Callable[[Array], Array], confidence: float = 0.95
) -> float:
    """Return the one-sided upper bound of a statistic, by percentile; the same on every call.

    Args:
        samples: ``[N, K]``: K numbers per sample, in the order of the test split.
        statistic: Maps means of the K numbers, ``[R, K]``, to ``[R]``.
        confidence: Probability that the bound is above the true value.
    """
    count = len(samples)
    length = max(1, round(count ** (1 / 3)))
    blocks = -(-count // length)
    # Sums of each possible block, around the end: a resample is then a sum of block sums.
    padded = np.concatenate([samples, samples[: length - 1]]).astype(np.float64)
    sums = np.cumsum(np.vstack([np.zeros(samples.shape[1]), padded]), axis=0)
    of_block = sums[length:] - sums[:-length]
    generator = np.random.default_rng(0)
    means = np.empty((RESAMPLES, samples.shape[1]))
    for row in range(RESAMPLES):
        drawn = of_block[generator.integers(0, count, blocks)]
        means[row] = drawn.sum(axis=0) / (blocks * length)
    return float(np.quantile(statistic(means), confidence))
