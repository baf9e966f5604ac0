"""From the values of an activation to the range that int8 is to cover: numpy alone.

TensorFlow's converter knows the extremes only, and onnxruntime's calibrators keep every value of
every sample in memory; here both formats get their ranges from the same arithmetic.
"""

from __future__ import annotations

import numpy as np

from edgeward.runtime.arrays import Array, Floats

__all__ = ["Histogram"]

BINS = 2048

_STEPS = 255

# Candidates for each end of the range: from the extreme down to 1/64 of it, 4 percent apart.
_SHRINK = np.geomspace(1.0, 1 / 64, 105)


class Histogram:
    """Counts the values of one activation.

    Args:
        low: The lowest value there will be; lower ones count as it.
        high: The highest.
    """

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = float(low), float(high)
        self._counts = np.zeros(BINS, np.int64)
        # Apart from the others: int8 represents zero exactly, and behind a ReLU most are zero.
        self._zeros = 0

    def add(self, values: Array) -> None:
        """Count values of any shape."""
        if self.high <= self.low:
            return
        flat = values.ravel()
        flat = flat[flat != 0]
        self._zeros += values.size - flat.size
        places = ((flat - self.low) * (BINS / (self.high - self.low))).astype(np.int64)
        self._counts += np.bincount(np.clip(places, 0, BINS - 1), minlength=BINS)

    def range(self, method: str) -> tuple[float, float]:
        """Return the range that a method of ``settings.METHODS`` chooses.

        Args:
            method: ``min-max``, ``percentile-P`` or ``mse``.

        Returns:
            Its lowest and highest value, within ``low`` and ``high``.
        """
        if method == "min-max" or self._counts.sum() + self._zeros == 0:
            return self.low, self.high
        if method == "mse":
            return self._least_error()
        return self._percentile(float(method.partition("-")[2]))

    def _edges(self) -> Floats:
        return np.linspace(self.low, self.high, BINS + 1)

    def _percentile(self, percent: float) -> tuple[float, float]:
        counts, edges = self._counts.copy(), self._edges()
        if self._zeros:
            counts[np.clip(np.searchsorted(edges, 0.0, "right") - 1, 0, BINS - 1)] += self._zeros
        reached = np.cumsum(counts) / counts.sum()
        cut = (100 - percent) / 200
        first = int(np.searchsorted(reached, cut, "right"))
        last = int(np.searchsorted(reached, 1 - cut, "left"))
        return float(edges[first]), float(edges[min(last, BINS - 1) + 1])

    def _least_error(self) -> tuple[float, float]:
        # Every quantiser stretches the range to hold zero.
        low, high = min(self.low, 0.0), max(self.high, 0.0)
        edges = self._edges()
        centres, counts = (edges[:-1] + edges[1:]) / 2, self._counts
        lows = low * (_SHRINK if low else np.ones(1))
        highs = high * (_SHRINK if high else np.ones(1))
        below = np.clip(lows[:, None] - centres, 0, None)
        above = np.clip(centres - highs[:, None], 0, None)
        clipped = (below**2 @ counts)[:, None] + (above**2 @ counts)[None, :]
        inside = counts.sum() - (((below > 0) @ counts)[:, None] + ((above > 0) @ counts)[None, :])
        # The error of rounding is spread evenly over one step.
        step = (highs[None, :] - lows[:, None]) / _STEPS
        row, column = np.unravel_index(np.argmin(clipped + inside * step**2 / 12), clipped.shape)
        return float(max(lows[row], self.low)), float(min(highs[column], self.high))
