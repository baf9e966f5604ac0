"""Paired non-inferiority: may an artifact be trusted to be at most this much worse?

Both models answer the same samples, so only the samples on which exactly one is right carry
information. Tango's score interval for the difference of paired proportions (T. Tango, Statistics
in Medicine 17, 891-908, 1998) gives the upper bound of the drop. McNemar's test would not do: it
tests for a difference of zero, and passes anything when samples are few.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy.optimize import brentq
from scipy.stats import norm

from runtime.errors import InvalidDataError

__all__ = ["CONFIDENCE", "PairedCounts", "judge", "required_samples", "tango_upper_bound"]

CONFIDENCE = 0.95
MAX_SAMPLES = 10**9


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


def _score(counts: PairedCounts, delta: float) -> float:
    """Return Tango's score statistic for the hypothesis that the true drop is ``delta``."""
    n, lost, gained = counts.samples, counts.lost, counts.gained
    # Maximum-likelihood estimate of P(gained) when the drop is delta: the root of a quadratic.
    a = 2 * n
    b = -lost - gained + (2 * n - lost + gained) * delta
    c = -gained * delta * (1 - delta)
    gained_rate = (math.sqrt(max(b * b - 4 * a * c, 0.0)) - b) / (2 * a)
    variance = n * (2 * gained_rate + delta * (1 - delta))
    return (lost - gained - n * delta) / math.sqrt(variance)


def tango_upper_bound(counts: PairedCounts, confidence: float = CONFIDENCE) -> float:
    """Return the one-sided upper bound of the drop in accuracy.

    Args:
        counts: Paired counts.
        confidence: Probability that the bound is above the true drop.

    Returns:
        The bound, -1..1; positive is a loss.

    >>> round(tango_upper_bound(PairedCounts(10_000, 0, 0)), 6)
    0.00027
    """
    z = float(norm.ppf(confidence))
    estimate = counts.drop
    if estimate >= 1:
        return 1.0
    edge = 1e-12
    low = estimate + edge
    if _score(counts, low) + z <= 0:
        return low
    return float(brentq(lambda delta: _score(counts, delta) + z, low, 1 - edge, xtol=1e-12))


def judge(counts: PairedCounts, budget: float) -> tuple[float, str]:
    """Judge an artifact.

    Args:
        counts: Paired counts.
        budget: Largest drop allowed, a fraction.

    Returns:
        The upper bound and the verdict: ``pass`` when the bound is within the budget, ``refused``
        when the measured drop itself is above it, else ``inconclusive``: too few samples to tell.
    """
    bound = tango_upper_bound(counts)
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
        return tango_upper_bound(scaled) <= budget

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
