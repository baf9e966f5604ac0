"""The picture of what a generator makes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from runtime.arrays import Array

__all__ = ["plot_samples", "tile"]


def tile(images: Array, columns: int) -> Array:
    """Return one image of many: [N, H, W] becomes [rows * H, columns * W], row by row.

    N must be a multiple of ``columns``.
    """
    count, height, width = images.shape
    grid = images.reshape(count // columns, columns, height, width).swapaxes(1, 2)
    return np.asarray(grid.reshape(count // columns * height, columns * width))


def plot_samples(path: Path, images: Array, title: str, columns: int = 10) -> None:
    """Draw gray images in a grid.

    Args:
        path: PNG file to write.
        images: float32 [N, H, W, 1] of 0..1, N a multiple of ``columns``.
        title: Stands above the grid.
        columns: Images per row.
    """
    grid = tile(images[..., 0], columns)
    figure = Figure(figsize=(5, 5 * grid.shape[0] / grid.shape[1] + 0.4), layout="constrained")
    axes = figure.subplots()
    axes.imshow(grid, cmap="gray", vmin=0, vmax=1)
    axes.set_title(title)
    axes.set_axis_off()
    figure.savefig(path, dpi=120)
