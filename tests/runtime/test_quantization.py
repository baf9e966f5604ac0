"""Quantise and dequantise: section 5 of FORMAT.md."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeward.runtime.errors import InvalidDataError
from edgeward.runtime.quantization import dequantize, quantize

RANGES = {"int8": (-128, 127), "uint8": (0, 255), "int16": (-32768, 32767)}
quick = settings(max_examples=200, deadline=None, database=None, derandomize=True)
float32s = st.floats(width=32, allow_nan=False)


def slow_quantize(x: float, scale: float, zero_point: int, dtype: str) -> int:
    """FORMAT.md, section 5, one number at a time."""
    low, high = RANGES[dtype]
    with np.errstate(over="ignore"):
        quotient = float(np.float32(x) / np.float32(scale))
    if math.isinf(quotient):
        return high if quotient > 0 else low
    return min(max(round(quotient) + zero_point, low), high)  # Python's round is half to even


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.5, 0), (1.5, 2), (2.5, 2), (3.5, 4), (-0.5, 0), (-1.5, -2), (-2.5, -2), (0.50001, 1)],
)
def test_a_half_is_rounded_to_the_even_neighbour(value: float, expected: int) -> None:
    assert quantize(np.float32([value]), 1.0, 0, "int8").tolist() == [expected]


def test_rounding_half_up_would_be_noticed() -> None:
    halves = np.float32([0.5, 2.5, -1.5])
    half_up = np.floor(halves + np.float32(0.5)).astype(np.int8)
    assert quantize(halves, 1.0, 0, "int8").tolist() != half_up.tolist()


@pytest.mark.parametrize(("dtype", "limits"), RANGES.items())
def test_values_beyond_the_range_are_clipped_and_never_wrap(
    dtype: str, limits: tuple[int, int]
) -> None:
    values = np.float32([-np.inf, -3e38, -1e6, 1e6, 3e38, np.inf])
    for scale, zero_point in ((1.0, 0), (1e-30, limits[0] if limits[0] else 7), (0.25, limits[1])):
        found = quantize(values, scale, zero_point, dtype)
        assert found.dtype == dtype
        assert found.tolist() == [limits[0]] * 3 + [limits[1]] * 3


def test_a_bare_cast_would_wrap() -> None:
    brightest = np.float32([128.0])
    assert brightest.astype(np.int32).astype(np.int8).tolist() == [-128]
    assert quantize(brightest, 1.0, 0, "int8").tolist() == [127]


@pytest.mark.parametrize("place", [0, 3])
def test_a_nan_is_refused_wherever_it_is(place: int) -> None:
    values = np.zeros(4, np.float32)
    assert quantize(values, 0.5, 0, "int8").tolist() == [0] * 4
    values[place] = np.nan
    with pytest.raises(InvalidDataError, match="NaN"):
        quantize(values, 0.5, 0, "int8")


@quick
@given(
    st.lists(float32s, min_size=1, max_size=20),
    st.floats(2.0**-126, 2.0**100, width=32),
    st.integers(0, 65535),
    st.sampled_from(sorted(RANGES)),
)
def test_every_value_is_what_the_format_says(
    values: list[float], scale: float, step: int, dtype: str
) -> None:
    low, high = RANGES[dtype]
    zero_point = low + step % (high - low + 1)
    found = quantize(np.float32(values), scale, zero_point, dtype)
    assert found.tolist() == [slow_quantize(x, scale, zero_point, dtype) for x in values]


@quick
@given(
    st.floats(2.0**-20, 2.0**20, width=32),
    st.sampled_from(sorted(RANGES)),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_a_round_trip_is_within_half_a_scale(
    scale: float, dtype: str, where_zero: float, where: float
) -> None:
    low, high = RANGES[dtype]
    zero_point = low + round(where_zero * (high - low))
    real = np.float32(scale * (low - zero_point + where * (high - low)))
    back = dequantize(quantize(real[None], scale, zero_point, dtype), scale, zero_point)[0]
    assert abs(float(back) - float(real)) <= 0.5 * scale * (1 + 1e-5) + abs(float(real)) * 2**-22


def test_a_round_trip_with_another_scale_is_not() -> None:
    real = np.float32([3.0])
    assert abs(dequantize(quantize(real, 0.5, 0, "int8"), 0.6, 0)[0] - real[0]) > 0.3


@pytest.mark.parametrize("dtype", sorted(RANGES))
def test_every_integer_survives_the_way_there_and_back(dtype: str) -> None:
    low, high = RANGES[dtype]
    every = np.arange(low, high + 1).astype(dtype)
    for scale, zero_point in ((1 / 255, low), (0.1, 0), (7.3e-5, high)):
        real = dequantize(every, scale, zero_point)
        assert real.dtype == np.float32
        assert np.array_equal(quantize(real, scale, zero_point, dtype), every)


def test_dequantising_does_not_overflow_the_integer() -> None:
    assert dequantize(np.int8([-128, 127]), 1.0, 127).tolist() == [-255.0, 0.0]
    assert dequantize(np.uint8([0]), 0.5, 255).tolist() == [-127.5]


def test_the_scale_is_rounded_to_float32_before_use() -> None:
    scale = 0.1
    for q in range(-128, 128):
        expected = np.float32(np.float32(q) * np.float32(scale))
        assert dequantize(np.int8([q]), scale, 0)[0] == expected
