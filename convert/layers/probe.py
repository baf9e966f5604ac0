"""What the comparison layer by layer needs of a file, whatever its format."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from edgeward.runtime.arrays import Array

__all__ = ["Grid", "Probe", "Value", "Weight", "dequantized_weight"]


@dataclass(frozen=True)
class Grid:
    """The numbers that a quantised tensor can hold.

    Attributes:
        scale: Real value of one step.
        zero_point: Integer that stands for 0.0.
        dtype: ``int8``, ``uint8``, ``int16``.
    """

    scale: float
    zero_point: int
    dtype: str

    @property
    def low(self) -> float:
        """The smallest of them."""
        return (int(np.iinfo(self.dtype).min) - self.zero_point) * self.scale

    @property
    def high(self) -> float:
        """The largest of them."""
        return (int(np.iinfo(self.dtype).max) - self.zero_point) * self.scale

    @property
    def steps(self) -> int:
        """Number of steps between them."""
        limits = np.iinfo(self.dtype)
        return int(limits.max) - int(limits.min)


@dataclass(frozen=True)
class Weight:
    """A constant with real values.

    Attributes:
        values: Real values, float64.
        steps: Real value of one step, in a shape that broadcasts with ``values``; 0 in float files.
        axis: Axis of the channels.
    """

    values: Array
    steps: Array
    axis: int


@dataclass(frozen=True)
class Value:
    """A tensor that an op of the file computes, or an input.

    Attributes:
        op: The op that computes it; ``INPUT`` for an input.
        layer: Layer that the op belongs to, as far as names tell.
        reads: Names of the values that the op reads.
        weights: Names of the weights that the op reads.
        grid: What it can hold; None where it is no quantised tensor.
    """

    op: str
    layer: str
    reads: tuple[str, ...]
    weights: tuple[str, ...]
    grid: Grid | None


class Probe(Protocol):
    """A file that shows each of its tensors.

    Attributes:
        values: Name -> tensor, in the order in which they are computed.
        weights: Name -> constant.
    """

    values: Mapping[str, Value]
    weights: Mapping[str, Weight]

    def run(self, feed: Mapping[str, Array]) -> dict[str, Array]:
        """Run one sample.

        Args:
            feed: Input name -> ``[1, ...]``, real values or ids; after ``cut`` also the value of
                each tensor that was cut.

        Returns:
            Name -> real values, float32, of each tensor that has such.
        """
        ...

    def cut(self, names: Collection[str]) -> Probe:
        """Return a copy whose ops read the tensors named here from the feed, not from each other.

        Each op then shows what it makes of given inputs.
        """
        ...


def dequantized_weight(values: Array, scales: Array, zero_points: Array, axis: int) -> Weight:
    """Return the real values of a constant, quantised as a whole or per channel along ``axis``.

    ``runtime.quantization`` has one scale for each tensor, and 32 bits; a bias may have 64.
    """
    shape = [1] * values.ndim
    if scales.size > 1:
        shape[axis] = scales.size
    steps = np.asarray(scales, np.float64).reshape(shape)
    zeros = np.asarray(zero_points, np.float64)
    zeros = zeros.reshape(shape) if zeros.size == scales.size else zeros.reshape(-1)[:1].sum()
    return Weight((values.astype(np.float64) - zeros) * steps, steps, axis)
