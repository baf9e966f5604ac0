"""Where the numbers of a convolution's map lie in the image."""

from __future__ import annotations

from dataclasses import dataclass

import keras
import numpy as np

from edgeward.runtime.arrays import Floats
from edgeward.train.explain.probe import Call

__all__ = ["Grid", "Map", "spread", "traced_map"]

_CONVOLUTIONS = (
    keras.layers.Conv2D,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv2D,
)

_POOLS = (keras.layers.MaxPooling2D, keras.layers.AveragePooling2D)

# As the last maps of the classic nets have it; a coarser one shows little more than the middle.
_SIDE = 7


@dataclass(frozen=True)
class Grid:
    """Centers of a map's numbers along one side of the image: ``first + i * step``, in pixels."""

    first: float
    step: float


@dataclass(frozen=True)
class Map:
    """A map of a convolution.

    Args:
        call: The layer that makes it: the convolution, or what follows without changing its size.
        grids: Of height and width.
    """

    call: Call
    grids: tuple[Grid, Grid]


def traced_map(calls: list[Call], shape: tuple[int, ...]) -> Map | None:
    """Return the map to look at: of the last convolution that is at least 7 x 7, or the largest.

    Args:
        calls: Of one run of the model.
        shape: Of the preprocessed image, [H, W, C].

    Returns:
        None for a model without a convolution whose map has more than one place.
    """
    ends = [
        _end(calls, at)
        for at, call in enumerate(calls)
        if isinstance(call.layer, _CONVOLUTIONS)
        and call.layer.data_format == "channels_last"
        and min(call.shape[1:3]) > 1
    ]
    if not ends:
        return None
    fine = [at for at in ends if min(calls[at].shape[1:3]) >= _SIDE]
    at = fine[-1] if fine else max(ends, key=lambda end: (calls[end].shape[1], end))
    height, width = _grids(calls[: at + 1], shape)
    return Map(calls[at], (height, width))


def spread(values: Floats, place: Map, shape: tuple[int, ...]) -> Floats:
    """Return a map [h, w] brought to the image's pixels [H, W]: bilinear between the centers."""
    for axis, grid in enumerate(place.grids):
        at = (np.arange(shape[axis]) - grid.first) / grid.step
        at = np.clip(at, 0, values.shape[axis] - 1)
        low = np.minimum(at.astype(np.int64), max(values.shape[axis] - 2, 0))
        high = np.minimum(low + 1, values.shape[axis] - 1)
        part = np.expand_dims((at - low).astype(np.float32), 1 - axis)
        values = values.take(low, axis) * (1 - part) + values.take(high, axis) * part
    return values.astype(np.float32)


def _end(calls: list[Call], at: int) -> int:
    """Return the last call from ``at`` on that leaves the map's size: BN, ReLU, Add and so on."""
    while (
        at + 1 < len(calls)
        and len(calls[at + 1].shape) == 4
        and calls[at + 1].shape[1:3] == calls[at].shape[1:3]
    ):
        at += 1
    return at


def _grids(calls: list[Call], shape: tuple[int, ...]) -> list[Grid]:
    """Follow kernels, strides and paddings to the last call; else spread the map evenly.

    It matters where nothing is padded: the outermost of the 4 x 4 places of two 5 x 5
    convolutions of stride 2 sees the middle of the image's rim, 6 pixels from its edge, not 3.
    """
    return [_grid(calls, axis, shape[axis]) for axis in (0, 1)]


def _grid(calls: list[Call], axis: int, pixels: int) -> Grid:
    size, first, step = pixels, 0.0, 1.0
    for call in calls:
        if len(call.taken) != 4 or len(call.shape) != 4:
            continue
        before, after = call.taken[1 + axis], call.shape[1 + axis]
        window = _window(call.layer, axis)
        if before != size or (window is None and after != before):
            break  # branches, or a layer that is not known here
        if window is not None:
            reach, stride = window.reach, window.stride
            lacking = max((after - 1) * stride + reach - before, 0) if window.padded else 0
            first += ((reach - 1) / 2 - lacking // 2) * step
            step *= stride
        size = after
    else:
        return Grid(first, step)
    even = pixels / calls[-1].shape[1 + axis]
    return Grid((even - 1) / 2, even)


@dataclass(frozen=True)
class _Window:
    """What one number of a map sees along one side: pixels of reach and stride, and the padding."""

    reach: int
    stride: int
    padded: bool


def _window(layer: keras.Layer, axis: int) -> _Window | None:
    """Return the window of a convolution or a pooling; None for other layers."""
    if isinstance(layer, _CONVOLUTIONS):
        # Not padding "causal": there is none in two dimensions.
        reach = (layer.kernel_size[axis] - 1) * layer.dilation_rate[axis] + 1
        return _Window(reach, layer.strides[axis], layer.padding == "same")
    if isinstance(layer, _POOLS):
        return _Window(layer.pool_size[axis], layer.strides[axis], layer.padding == "same")
    return None
