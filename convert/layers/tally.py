"""Noise of one tensor, summed up sample by sample, and weights that are not the float model's."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edgeward.convert.drift.agreement import decibels
from edgeward.convert.layers.probe import Grid, Weight
from edgeward.runtime.arrays import Array

__all__ = ["Tally", "WeightError", "weight_errors"]

# Rounding errs by half a step, at the ends of the range by a little more.
_WEIGHT_STEPS = 0.75

# Relative size of an error that is worth a word: a bias has steps so fine that one is nothing.
_SHARE = 0.005

_MOST = 3


class Tally:
    """What was seen of one tensor so far; samples are not kept, a large model has gigabytes.

    Args:
        grid: What the artifact's tensor can hold; None for a float tensor.
    """

    def __init__(self, grid: Grid | None) -> None:
        self.grid = grid
        self.low = self.reference_low = self._needed_low = math.inf
        self.high = self.reference_high = self._needed_high = -math.inf
        self._count = self._clipped = self._clipped_here = 0
        self._signal = self._noise = self._signal_here = self._noise_here = 0.0
        self._error_here = self._clipping = self._rounding = self._product = 0.0

    def add(self, reference: Array, here: Array, value: Array) -> None:
        """Add one sample.

        Args:
            reference: What the float model has here.
            here: What the float model makes of the values that the artifact has before this
                tensor: the difference to ``value`` is noise of this place alone.
            value: What the artifact has here.
        """
        reference, here, value = (a.astype(np.float64) for a in (reference, here, value))
        self._count += value.size
        self._signal += float(np.square(reference).sum())
        self._noise += float(np.square(reference - value).sum())
        self._signal_here += float(np.square(here).sum())
        self._noise_here += float(np.square(here - value).sum())
        self._error_here += float((value - here).sum())
        self._product += float((value * here).sum())
        self.reference_low = min(self.reference_low, float(reference.min(initial=math.inf)))
        self.reference_high = max(self.reference_high, float(reference.max(initial=-math.inf)))
        self._needed_low = min(self._needed_low, float(here.min(initial=math.inf)))
        self._needed_high = max(self._needed_high, float(here.max(initial=-math.inf)))
        self.low = min(self.low, float(value.min(initial=math.inf)))
        self.high = max(self.high, float(value.max(initial=-math.inf)))
        if self.grid is not None:
            low, high, scale = self.grid.low, self.grid.high, self.grid.scale
            # Half a step beyond the end is rounding, not clipping.
            self._clipped += _beyond(reference, low - scale / 2, high + scale / 2)
            self._clipped_here += _beyond(here, low - scale / 2, high + scale / 2)
            inside = np.clip(here, low, high)
            self._clipping += float(np.square(here - inside).sum())
            self._rounding += float(np.square(inside - np.rint(inside / scale) * scale).sum())

    @property
    def sqnr(self) -> float:
        """Signal to quantisation noise ratio in dB against the float model."""
        return decibels(self._signal, self._noise)

    @property
    def own_sqnr(self) -> float:
        """The same for the noise that arises here alone."""
        return decibels(self._signal_here, self._noise_here)

    @property
    def clipped(self) -> float:
        """Share of the float model's values outside of what the artifact can hold."""
        return self._clipped / max(1, self._count)

    @property
    def clipped_here(self) -> float:
        """Share of the values that arise here outside of what the artifact can hold."""
        return self._clipped_here / max(1, self._count)

    @property
    def clipping(self) -> float:
        """Share of the noise of this place that clipping explains, 0..1."""
        return self._share(self._clipping)

    @property
    def rounding(self) -> float:
        """Share of the noise of this place that rounding to the grid explains, 0..1."""
        return self._share(self._rounding)

    @property
    def offset(self) -> float:
        """Mean error of this place, in steps; 0 where it explains less than half of the noise."""
        mean = self._error_here / max(1, self._count)
        if self.grid is None or self._share(mean * mean * self._count) < 0.5:
            return 0.0
        return mean / self.grid.scale

    @property
    def gain(self) -> float:
        """How much too large the values of this place are; 1 where that explains no half of it."""
        if not self._signal_here > 0:
            return 1.0
        gain = self._product / self._signal_here
        explained = (gain - 1) ** 2 * self._signal_here
        return gain if self._share(explained) >= 0.5 else 1.0

    @property
    def leaks(self) -> bool:
        """Whether values below zero come through where an activation should stop them."""
        if self.grid is None or not self._count:
            return False
        return self._needed_low >= 0 and self.low < -self.grid.scale / 2

    @property
    def used(self) -> int:
        """Number of steps that the values which arise here make use of."""
        if self.grid is None or not self._count:
            return 0
        low = max(self._needed_low, self.grid.low)
        high = min(self._needed_high, self.grid.high)
        return max(0, min(self.grid.steps, round((high - low) / self.grid.scale)))

    def _share(self, power: float) -> float:
        return min(1.0, power / self._noise_here) if self._noise_here > 0 else 0.0


def _beyond(values: Array, low: float, high: float) -> int:
    return int(np.count_nonzero((values < low) | (values > high)))


@dataclass(frozen=True)
class WeightError:
    """One constant that differs from the float model by more than rounding.

    Attributes:
        name: Its name in both files.
        text: Which channels differ and by how much, in words.
        share: Norm of the difference over the norm of the weight, in the worst channel.
    """

    name: str
    text: str
    share: float


def weight_errors(
    weights: Mapping[str, Weight], reference: Mapping[str, Weight]
) -> dict[str, WeightError]:
    """Compare constants by name and channel by channel.

    Args:
        weights: The artifact's.
        reference: The float twin's.

    Returns:
        Name -> error, for those that differ by more than rounding.
    """
    errors: dict[str, WeightError] = {}
    for name, weight in weights.items():
        float_ = reference.get(name)
        if float_ is None or float_.values.shape != weight.values.shape or not weight.values.ndim:
            continue
        difference = np.abs(weight.values - float_.values)
        beyond = _by_channel(difference > _WEIGHT_STEPS * weight.steps, weight.axis).any(axis=1)
        size = np.linalg.norm(_by_channel(float_.values, weight.axis), axis=1)
        # A channel of zeros is as large as the others when it comes to saying how far it is off.
        size = np.maximum(size, 1e-3 * size.max(initial=0.0)) + np.finfo(np.float32).tiny
        share = np.linalg.norm(_by_channel(difference, weight.axis), axis=1) / size
        bad = np.flatnonzero(beyond & (share > _SHARE))
        if len(bad):
            what = "bias" if weight.values.ndim == 1 else "weights"
            errors[name] = WeightError(name, _text(what, bad, share), float(share[bad].max()))
    return errors


def _by_channel(values: Array, axis: int) -> Array:
    return np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1)


def _text(what: str, bad: Array, share: Array) -> str:
    worst = bad[np.argsort(-share[bad], kind="stable")]
    channels = ", ".join(str(i) for i in worst[:_MOST])
    more = f" and {len(bad) - _MOST} more" if len(bad) > _MOST else ""
    whole = f"{len(bad)} of {len(share)}"
    return (
        f"{what} of channel{'s' if len(bad) > 1 else ''} {channels}{more} ({whole}) "
        f"{'differ' if what == 'weights' else 'differs'} from the float model's "
        f"by {100 * float(share[worst[0]]):.3g} %"
    )
