"""Quantise and dequantise: the only copy of this arithmetic (FORMAT.md, section 5).

Rounding is half to even and always followed by a clip: a bare cast wraps 128 to -128, which turns
the brightest pixel into the darkest.
"""

from __future__ import annotations

import numpy as np

from edgeward.runtime.arrays import Array, Floats
from edgeward.runtime.errors import InvalidDataError

__all__ = ["dequantize", "quantize"]


def quantize(values: Floats, scale: float, zero_point: int, dtype: str) -> Array:
    """Return ``clip(round_half_even(values / scale) + zero_point)``.

    Args:
        values: float32, any shape.
        scale: Real value of one step; rounded to float32.
        zero_point: Integer that stands for 0.0.
        dtype: ``int8``, ``uint8`` or ``int16``.

    Raises:
        InvalidDataError: A value is NaN.

    >>> quantize(np.float32([-1.0, 0.0, 0.5, 9.0]), 0.5, 10, "int8").tolist()
    [8, 10, 11, 28]
    """
    with np.errstate(over="ignore"):  # infinity is clipped like any large value
        scaled = np.rint(np.asarray(values, np.float32) / np.float32(scale))
    if np.isnan(scaled).any():
        raise InvalidDataError("A NaN cannot be quantised.", expected="finite values")
    limits = np.iinfo(dtype)
    # Clipping the float first keeps infinities and huge values away from the undefined cast.
    shifted = np.clip(scaled, limits.min - zero_point, limits.max - zero_point) + zero_point
    return shifted.astype(dtype)


def dequantize(values: Array, scale: float, zero_point: int) -> Floats:
    """Return ``(values - zero_point) * scale`` in float32.

    >>> dequantize(np.int8([8, 10, 28]), 0.5, 10).tolist()
    [-1.0, 0.0, 9.0]
    """
    centred = (np.asarray(values, np.int32) - zero_point).astype(np.float32)
    return np.asarray(centred * np.float32(scale), np.float32)
