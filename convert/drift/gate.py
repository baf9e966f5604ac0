"""Paired non-inferiority: may an artifact be trusted to be at most this much worse?

Both models answer the same samples, so only the samples on which exactly one is right carry
information. Tango's score interval for the difference of paired proportions (T. Tango, Statistics
in Medicine 17, 891-908, 1998), made exact where pairs are few (``convert.drift.exact``), gives the
upper bound of the drop. McNemar's test would not do: it tests for a difference of zero, and passes
anything when samples are few.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgeward.convert.drift.exact import exact_p_value, tango_scores
from edgeward.runtime.errors import InvalidDataError

__all__ = [
    "CONFIDENCE",
    "PairedCounts",
    "judge",
    "required_samples",
    "tango_upper_bound",
    "upper_bound",
]

CONFIDENCE = 0.95

MAX_SAMPLES = 10**9

# With more discordant samples the normal approximation is as good: 5.003 % instead of 5 % at most.
MANY = 1000

# The exact bound is rounded up by at most this part of it.
_PRECISION = 1e-3

_EDGE = 1e-12


@dataclass(frozen=True)
class PairedCounts:
    """How two models did on the same samples.

    Attributes:
        samples: Number of samples.
        lost: The float model was right and the artifact wrong.
        gained: The artifact was right and the float model wrong.
    """

    samples: int
    lost: int
    gained: int

    def __post_init__(self) -> None:
        if self.samples < 1 or min(self.lost, self.gained) < 0:
            raise InvalidDataError("Counts must be positive.", received=self)
        if self.lost + self.gained > self.samples:
            raise InvalidDataError("More discordant samples than samples.", received=self)

    @property
    def drop(self) -> float:
        """Accuracy of the float model minus accuracy of the artifact."""
        return (self.lost - self.gained) / self.samples


def tango_upper_bound(counts: PairedCounts, confidence: float = CONFIDENCE) -> float:
    """Return Tango's one-sided upper bound of the drop in accuracy, as published.

    Args:
        counts: Paired counts.
        confidence: Probability that the bound is above the true drop, about.

    Returns:
        The bound, -1..1; positive is a loss.

    >>> round(tango_upper_bound(PairedCounts(10_000, 0, 0)), 6)
    0.00027
    """
    # Here, because it takes a second, and a conversion that was done before judges nothing.
    from scipy.optimize import brentq
    from scipy.stats import norm

    z = float(norm.ppf(confidence))
    estimate = counts.drop
    if estimate >= 1:
        return 1.0
    lost, gained = np.array(counts.lost), np.array(counts.gained)

    def beyond(delta: float) -> float:
        return float(tango_scores(counts.samples, lost, gained, delta)) + z

    low = estimate + _EDGE
    if beyond(low) <= 0:
        return low
    return float(brentq(beyond, low, 1 - _EDGE, xtol=_EDGE))


def upper_bound(counts: PairedCounts, confidence: float = CONFIDENCE) -> float:
    """Return the one-sided upper bound of the drop in accuracy that artifacts are judged by.

    Args:
        counts: Paired counts.
        confidence: Probability that the bound is above the true drop, at least.

    Returns:
        Tango's bound, or the exact one where that is larger; -1..1.

    >>> round(upper_bound(PairedCounts(10_000, 0, 0)), 4)
    0.0003
    """
    low = tango_upper_bound(counts, confidence)
    if low < 0 or _holds(counts, low, confidence):
        return low
    high, step = low, low * _PRECISION
    while not _holds(counts, high, confidence):
        if high == 1:
            return 1.0
        low, high, step = high, min(1.0, high + step), 2 * step
    while high - low > _PRECISION * high:
        middle = (low + high) / 2
        low, high = (low, middle) if _holds(counts, middle, confidence) else (middle, high)
    return high


def judge(counts: PairedCounts, budget: float) -> tuple[float, str]:
    """Judge an artifact.

    Args:
        counts: Paired counts.
        budget: Largest drop allowed, a fraction.

    Returns:
        The upper bound and the verdict: ``pass`` when the bound is within the budget, ``refused``
        when the measured drop itself is above it, else ``inconclusive``: too few samples to tell.
    """
    bound = upper_bound(counts)
    if bound <= budget:
        return bound, "pass"
    return bound, "refused" if counts.drop > budget else "inconclusive"


def required_samples(counts: PairedCounts, budget: float) -> int | None:
    """Return how many samples would make the bound fit, at the discordance seen.

    Returns:
        A number of samples; None where the drop itself is not below the budget.
    """
    if counts.drop >= budget:
        return None

    def fits(samples: int) -> bool:
        factor = samples / counts.samples
        lost = min(samples, round(counts.lost * factor))
        scaled = PairedCounts(samples, lost, min(samples - lost, round(counts.gained * factor)))
        return tango_upper_bound(scaled) <= budget and upper_bound(scaled) <= budget

    high = counts.samples
    while not fits(high):
        high *= 2
        if high > MAX_SAMPLES:
            return None
    low = high // 2
    while high - low > max(1, high // 100):
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    return high


def _holds(counts: PairedCounts, delta: float, confidence: float) -> bool:
    """Tell whether a true drop of ``delta`` is refuted also by the exact test, or needs none."""
    if delta >= 1 or counts.lost + counts.gained > MANY:
        return True
    p = exact_p_value(counts.samples, counts.lost, counts.gained, delta)
    return p <= 1 - confidence
